package hub

import (
	"context"
	"encoding/binary"
	"os"
	"sync/atomic"
	"time"

	"lar.home/mqtt"
)

const (
	// lookAtClock is how often the kernel is asked whether the clock is set.
	lookAtClock = 10 * time.Second
	// storeTime is how often the time of day is stored, to know after a cut
	// that a clock which shows an earlier one is wrong.
	storeTime = 10 * time.Minute
	// settle is how long a machine without a clock that runs on a battery
	// gets from its start to set it by the network before it is believed all
	// the same: a house without internet has to go on, and a hub that comes
	// back on a machine which has run for hours needs to wait for nothing.
	settle = 2 * time.Minute
)

// madeIn is a time that no clock which is right can show an earlier one than.
var madeIn = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// timeKey is where the time of day is stored; see package identity for the
// other records under 'x'.
var timeKey = []byte("xt")

// A clock tells the house the time.
type clock struct {
	started time.Time
	up      time.Duration // how long the machine had run by then
	stored  time.Time     // when the last hub was last known to run
	battery bool          // the machine has a clock that runs while it is off
	synced  func() bool
	trusted atomic.Bool
}

// newClock returns a clock that knows the last time the store has seen.
func newClock(scan func(prefix, from []byte, fn func(key, value []byte) bool) error) (*clock, error) {
	c := &clock{started: time.Now(), up: uptime(), synced: clockSynced}
	_, err := os.Stat("/dev/rtc0")
	c.battery = err == nil
	err = scan(timeKey, nil, func(_, value []byte) bool {
		if len(value) == 8 {
			c.stored = time.UnixMilli(int64(binary.BigEndian.Uint64(value)))
		}
		return false
	})
	c.look()
	return c, err
}

// now is what deciders are given.
func (c *clock) now() mqtt.Now {
	now := time.Now()
	return mqtt.Now{Wall: now.Round(0), Trusted: c.trusted.Load(), Run: now.Sub(c.started)}
}

// look decides anew whether the time of day is to be trusted: the kernel says
// it is synchronised, or it is plausible, that is not before the last time
// stored, and came from a battery or had time to be set.
func (c *clock) look() {
	now := time.Now()
	plausible := !now.Before(c.stored) && now.After(madeIn)
	c.trusted.Store(c.synced() || plausible && (c.battery || c.up+now.Sub(c.started) >= settle))
}

// watch looks at the clock and stores the time until ctx ends. The broker
// notices by itself that trust or time have changed.
func (c *clock) watch(ctx context.Context, do func(context.Context, func(*mqtt.Turn) error) error) {
	tick := time.NewTicker(lookAtClock)
	defer tick.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.look()
		if c.trusted.Load() && time.Since(last) >= storeTime {
			last = time.Now()
			do(ctx, c.store)
		}
	}
}

// store writes the time of day, if it is to be trusted.
func (c *clock) store(t *mqtt.Turn) error {
	if t.Now.Trusted {
		t.Lazy(timeKey, binary.BigEndian.AppendUint64(nil, uint64(t.Now.Wall.UnixMilli())))
	}
	return nil
}
