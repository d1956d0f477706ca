package devices

import (
	"encoding/json"
	"strings"
	"sync/atomic"
	"time"

	"lar.home/mqtt"
)

// How a device's reporting interval is learned. It is the longest gap between
// two messages that is usual: a longer one is taken over at once, shorter ones
// bring it down slowly.
const (
	// minGap parts messages that belong together, as the topics of one report.
	minGap = time.Second
	// minGaps is how many gaps must have been seen before silence means
	// anything.
	minGaps = 8
	// fade is the share, one in so many, that a shorter gap brings it down.
	fade = 64
	// silentFactor and silentSlack: silent is who has said nothing for so many
	// times the usual, and a while.
	silentFactor = 3
	silentSlack  = 5 * time.Minute
	// keepHealth is how often that and what was learned is kept: after a power
	// cut, the time of the last message may be so old.
	keepHealth = 10 * time.Minute
	// lowBattery is where a battery should be changed, if the device does not
	// say so itself.
	lowBattery = 10
)

// A health is what is known of when a device speaks. Its times, in
// milliseconds, are read from anywhere.
type health struct {
	seen  atomic.Int64 // unix time of the last live message
	since atomic.Int64 // unix time from when on it could be heard in this run
	usual atomic.Int64 // the longest usual gap
	gaps  atomic.Int64 // how many there were

	run  time.Duration // of the last message of this run; 0: none yet
	kept time.Duration
}

// keptHealth is the record of a health.
type keptHealth struct {
	Seen  int64 `json:"seen"`
	Usual int64 `json:"usual,omitempty"`
	Gaps  int64 `json:"gaps,omitempty"`
}

// heard notes a live message.
func (h *health) heard(t *mqtt.Turn) {
	h.seen.Store(t.Now.Wall.UnixMilli())
	last := h.run
	h.run = max(t.Now.Run, 1)
	if last == 0 {
		return // how long it was silent while we were off, nobody knows
	}
	gap := (t.Now.Run - last).Milliseconds()
	if gap < minGap.Milliseconds() {
		return
	}
	usual, n := h.usual.Load(), h.gaps.Load()
	switch {
	case gap > usual && n >= minGaps && gap > silentAfter(usual):
		// It was away. That this is usual it must show more than once.
		usual += usual / 4
	case gap > usual:
		usual = gap
	default:
		usual -= (usual - gap) / fade
	}
	h.usual.Store(usual)
	h.gaps.Store(min(n+1, 1<<20))
}

func silentAfter(usual int64) int64 { return silentFactor*usual + silentSlack.Milliseconds() }

// keepHealth hands what was learned of a device that has spoken to the store,
// once an hour or, with all, now.
func (m *Model) keepHealth(t *mqtt.Turn, d *device, all bool) {
	h := d.health
	if h.run == 0 || !all && h.kept != 0 && t.Now.Run < h.kept+keepHealth {
		return
	}
	h.kept = max(t.Now.Run, 1)
	t.Lazy(recordKey('h', d.id), h.encode())
}

func (h *health) encode() []byte {
	value, err := json.Marshal(keptHealth{h.seen.Load(), h.usual.Load(), h.gaps.Load()})
	if err != nil {
		return nil // three numbers: it cannot happen
	}
	return value
}

// health returns what is known of a device that appears.
func (m *memory) health(t *mqtt.Turn, id string) *health {
	h := &health{}
	h.since.Store(t.Now.Wall.UnixMilli())
	var k keptHealth
	if value := m.healths[id]; value != nil && json.Unmarshal(value, &k) == nil {
		h.seen.Store(k.Seen)
		h.usual.Store(max(k.Usual, 0))
		h.gaps.Store(max(k.Gaps, 0))
	}
	delete(m.healths, id)
	return h
}

// Seen returns when the device last sent something live; zero if it never has.
func (d *Device) Seen() time.Time {
	if ms := d.health.seen.Load(); ms != 0 {
		return time.UnixMilli(ms)
	}
	return time.Time{}
}

// Usual returns the longest time for which the device is usually silent
// between two messages; 0 while that is not known.
func (d *Device) Usual() time.Duration {
	if d.health.gaps.Load() < minGaps {
		return 0
	}
	return time.Duration(d.health.usual.Load()) * time.Millisecond
}

// Silent tells whether the device has been silent for longer than usual. The
// time in which the hub did not run does not count.
func (d *Device) Silent(now time.Time) bool {
	usual := d.Usual()
	if usual == 0 {
		return false
	}
	from := max(d.health.seen.Load(), d.health.since.Load())
	return now.UnixMilli()-from > silentAfter(usual.Milliseconds())
}

// A Battery is how full the battery of a device is.
type Battery struct {
	Percent float64 // valid if HasPercent
	Low     bool    // to be changed soon
	At      time.Time

	HasPercent bool
}

// Battery returns what the device says of its battery; ok is false if it has
// none or has not said anything yet.
func (d *Device) Battery() (b Battery, ok bool) {
	if r, known := d.battery.reading(); known && r.Value.Type == Number {
		b.Percent, b.HasPercent, b.At, ok = r.Value.Num, true, r.At, true
		b.Low = r.Value.Num <= lowBattery
	}
	if r, known := d.batteryLow.reading(); known && r.Value.Type == Bool {
		b.Low, ok = r.Value.Bool, true
		if b.At.IsZero() {
			b.At = r.At
		}
	}
	return b, ok
}

// Signal returns how well the device is heard, and in which unit: "lqi", "dBm"
// or "%".
func (d *Device) Signal() (r Reading, unit string, ok bool) {
	r, ok = d.signal.reading()
	if !ok {
		return r, "", false
	}
	return r, d.signal.entity.Aspects[d.signal.aspect].Unit, true
}

// A fact is an aspect that says something of the device as a whole.
type fact struct {
	entity *Entity
	aspect int
}

func (f fact) reading() (Reading, bool) {
	if f.entity == nil {
		return Reading{}, false
	}
	r := f.entity.State().Readings[f.aspect]
	return r, r.Value.Known()
}

// findFacts finds the entities that tell of battery and signal.
func (d *Device) findFacts() {
	set := func(f *fact, e *Entity, aspect int) {
		if f.entity == nil {
			*f = fact{e, aspect}
		}
	}
	for _, e := range d.Entities {
		switch {
		case e.Kind == BinarySensor && e.DeviceClass == "battery":
			set(&d.batteryLow, e, 0)
		case e.Kind == Sensor && len(e.Aspects) > 0 && e.Aspects[0].Type == Number:
			switch unit := strings.ToLower(e.Aspects[0].Unit); {
			case e.DeviceClass == "battery" && unit == "%":
				set(&d.battery, e, 0)
			case e.DeviceClass == "signal_strength" || unit == "lqi" || unit == "dbm":
				set(&d.signal, e, 0)
			}
		case e.Kind == Vacuum || e.Kind == Tracker:
			for i, a := range e.Aspects {
				if a.Type == Number && (a.Name == "battery" || a.Name == "battery_level") {
					set(&d.battery, e, i)
				}
			}
		}
	}
}
