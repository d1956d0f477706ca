package hub

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
)

func TestClockIsTrusted(t *testing.T) {
	tests := []struct {
		name            string
		synced, battery bool
		stored          time.Duration // before now
		up, ran         time.Duration // the machine before the hub, and the hub
		want            bool
	}{
		{"synchronised", true, false, time.Hour, 0, 0, true},
		{"synchronised, to an earlier time", true, false, -time.Hour, 0, 0, true},
		{"battery", false, true, time.Hour, 0, 0, true},
		{"battery, but it runs late", false, true, -time.Hour, 0, 0, false},
		{"no battery, just started", false, false, time.Hour, 0, 0, false},
		{"no battery, no network for long", false, false, time.Hour, 0, settle, true},
		{"no battery, on a machine that has run for long", false, false, time.Hour, settle, 0, true},
		{"no battery, both together", false, false, time.Hour, settle / 2, settle / 2, true},
		{"no battery, shows an earlier time", false, false, -time.Hour, 0, settle, false},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(madeIn.AddDate(1, 0, 0)))
			c := &clock{
				started: time.Now(), up: tt.up, stored: time.Now().Add(-tt.stored),
				battery: tt.battery, synced: func() bool { return tt.synced },
			}
			time.Sleep(tt.ran)
			if tt.stored < 0 {
				c.stored = c.stored.Add(tt.ran) // it stays in the future
			}
			c.look()
			if got := c.now().Trusted; got != tt.want {
				t.Errorf("%s: trusted %v, want %v", tt.name, got, tt.want)
			}
		})
	}
}

func TestClockBeforeLarWasMade(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a bubble begins in the year 2000
		c := &clock{started: time.Now(), battery: true, synced: func() bool { return false }}
		c.look()
		if c.now().Trusted {
			t.Errorf("a clock that shows %v is trusted", time.Now())
		}
	})
}

func TestClockStoresTheTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &clock{started: time.Now(), synced: func() bool { return true }}
		c.look()
		store := mqtttest.NewStore()
		turn := &mqtt.Turn{Number: 1, Now: c.now()}
		if err := c.store(turn); err != nil {
			t.Fatal(err)
		}
		store.Lazy(turn.Lazies())
		store.Flush()
		again, err := newClock(store.Scan)
		if err != nil {
			t.Fatal(err)
		}
		if want := turn.Now.Wall.Truncate(time.Millisecond); !again.stored.Equal(want) {
			t.Errorf("stored %v, want %v", again.stored, want)
		}
		turn = &mqtt.Turn{Number: 2}
		if c.store(turn); len(turn.Lazies()) > 0 {
			t.Error("a time that is not to be trusted is stored")
		}
	})
}

func TestClockOfDamagedRecord(t *testing.T) {
	store := mqtttest.NewStore()
	store.Lazy([]mqtt.Write{{Key: timeKey, Value: binary.BigEndian.AppendUint32(nil, 1)}})
	store.Flush()
	if c, err := newClock(store.Scan); err != nil || !c.stored.IsZero() {
		t.Errorf("a damaged record is read as %v, %v", c.stored, err)
	}
}
