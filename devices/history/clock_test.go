package history

import (
	"fmt"
	"testing"
	"time"

	"lar.home/mqtt"
)

// TestUntrusted: what comes before the clock is right is placed when it is.
func TestUntrusted(t *testing.T) {
	k := newKit(t)
	k.records, k.order = map[string][]byte{}, nil
	k.now.Wall, k.now.Trusted = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC), false
	k.start()
	k.sensor("t", thermometer)
	k.say("t", "1")
	k.pass(time.Minute)
	k.say("t", "2")
	k.pass(time.Minute)
	if got := k.points("sensor.t", "value", time.UnixMilli(0), begin.Add(time.Hour)); got != "00:00:00 -" {
		t.Errorf("without a clock there is %q", got)
	}
	k.now.Wall, k.now.Trusted = begin, true
	k.turn(k.history.Wake)
	k.pass(time.Minute)
	k.say("t", "3")
	want := "09:00:00 -, 09:58:00 1, 09:59:00 2, 10:01:00 3"
	if got := k.points("sensor.t", "value", begin.Add(-time.Hour), begin.Add(time.Hour)); got != want {
		t.Errorf("points are %q, want %q", got, want)
	}
	k.now.Trusted = false // a network gone bad: the time goes on
	k.pass(time.Minute)
	k.say("t", "4")
	if got, want := k.points("sensor.t", "value", begin, begin.Add(time.Hour)), "10:00:00 2, 10:01:00 3, 10:02:00 4"; got != want {
		t.Errorf("points are %q, want %q", got, want)
	}
}

// TestUntrustedBound: what waits for a clock is bounded, the last value stays.
func TestUntrustedBound(t *testing.T) {
	k := newKit(t)
	k.records, k.order = map[string][]byte{}, nil
	k.now.Trusted = false
	k.start()
	k.sensor("t", thermometer)
	k.sensor("other", thermometer)
	for i := range 3000 {
		k.say("t", fmt.Sprint(i))
		k.pass(time.Second)
	}
	k.say("other", "7")
	if h := k.history; h.early != maxEarlyEach+1 {
		t.Errorf("%d points wait", h.early)
	}
	k.now.Trusted = true
	k.turn(k.history.Wake)
	k.pass(time.Second)
	for name, want := range map[string]float64{"t": 2999, "other": 7} {
		last := Point{}
		k.history.Points("sensor."+name, "value", begin, k.now.Wall, k.now.Wall, func(p Point) error { last = p; return nil })
		if last.Num != want || last.Gap {
			t.Errorf("%s ends with %+v, want %v", name, last, want)
		}
	}
}

func TestSteps(t *testing.T) {
	step := func(k *kit, d time.Duration) {
		k.now.Wall = k.now.Wall.Add(d)
		k.turn(k.history.Wake)
	}
	tests := []struct {
		name string
		by   time.Duration
		want string
	}{
		{"some seconds", 5 * time.Second, "10:00:00 1, 10:10:05 2, 10:20:05 3"},
		{"an hour forward", time.Hour, "10:00:00 1, 10:05:00 -, 11:05:00 1, 11:10:00 2, 11:20:00 3"},
		{"a little back", -30 * time.Second, "10:00:00 1, 10:09:30 2, 10:19:30 3"},
		{"four minutes back", -4 * time.Minute, "10:00:00 1, 10:06:00 2, 10:16:00 3"},
	}
	for _, tt := range tests {
		k := newKit(t)
		k.sensor("t", thermometer)
		k.say("t", "1")
		k.pass(5 * time.Minute)
		step(k, tt.by)
		k.pass(5 * time.Minute)
		k.say("t", "2")
		k.pass(10 * time.Minute)
		k.say("t", "3")
		k.pass(time.Minute)
		if got := k.points("sensor.t", "value", begin, begin.Add(10*time.Hour)); got != tt.want {
			t.Errorf("%s: points are\n%q, want\n%q", tt.name, got, tt.want)
		}
		k.pass(24 * time.Hour)
		if got := k.points("sensor.t", "value", begin, begin.Add(10*time.Hour)); got != tt.want {
			t.Errorf("%s, on disk: points are\n%q, want\n%q", tt.name, got, tt.want)
		}
	}
}

// TestBack: what was kept under a clock that was ahead is not shown once the
// clock is right, not even when its time has come; also over a start.
func TestBack(t *testing.T) {
	for _, start := range []bool{false, true} {
		k := newKit(t)
		k.sensor("t", thermometer)
		k.say("t", "1")
		k.pass(5 * time.Minute)
		k.now.Wall = k.now.Wall.Add(30 * time.Hour)
		k.turn(k.history.Wake)
		k.pass(3 * time.Hour)
		k.say("t", "99")
		k.pass(2 * time.Hour)
		back := -32 * time.Hour
		if start {
			k.stop()
			k.reboot(back)
			k.sensor("t", thermometer)
		} else {
			k.now.Wall = k.now.Wall.Add(back)
			k.turn(k.history.Wake)
		}
		k.pass(time.Minute)
		k.say("t", "2")
		k.pass(time.Minute)
		now := k.now.Wall
		k.pass(60 * time.Hour)
		k.say("t", "3")
		k.pass(time.Minute)
		want := "10:00:00 1, 10:05:00 -, 13:05:00 99, 13:06:00 2, 01:07:00 3"
		if start {
			want = "10:00:00 1, 10:05:00 -, 13:06:00 2, 01:07:00 3"
		}
		if got := k.points("sensor.t", "value", begin, begin.AddDate(0, 0, 9)); got != want {
			t.Errorf("with a start %v: points are\n%q, want\n%q", start, got, want)
		}
		for _, s := range k.slots(recHours, "sensor.t", "value", now.Add(2*time.Hour), k.now.Wall.Add(-3*time.Hour)) {
			if s.Max != 2 || s.Min != 2 {
				t.Errorf("an hour that was ahead is shown: %+v", s)
			}
		}
		k.prune()
		if got := k.points("sensor.t", "value", begin, begin.AddDate(0, 0, 9)); got != want {
			t.Errorf("pruned: points are\n%q, want\n%q", got, want)
		}
	}
}

// TestDays: days have 23 and 25 hours where clocks change, and begin when the
// home's do.
func TestDays(t *testing.T) {
	tests := []struct {
		zone    string
		day     time.Time
		lengths [3]time.Duration
	}{
		{"Europe/Berlin", time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), [3]time.Duration{24, 23, 24}},
		{"Europe/Berlin", time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), [3]time.Duration{24, 25, 24}},
		{"Asia/Kathmandu", time.Date(2026, 3, 28, 0, 0, 0, 0, time.UTC), [3]time.Duration{24, 24, 24}},
		{"Africa/Cairo", time.Date(2026, 4, 23, 0, 0, 0, 0, time.UTC), [3]time.Duration{24, 23, 24}},     // no midnight
		{"Atlantic/Azores", time.Date(2026, 10, 24, 0, 0, 0, 0, time.UTC), [3]time.Duration{24, 25, 24}}, // 0:59 to 0:00
	}
	for _, tt := range tests {
		zone, err := time.LoadLocation(tt.zone)
		if err != nil {
			t.Fatal(err)
		}
		k := newKit(t)
		k.records, k.order, k.options.Location = map[string][]byte{}, nil, zone
		k.now.Wall = tt.day.Add(-30 * time.Hour)
		k.start()
		k.sensor("e", `,"dev_cla":"energy","unit_of_meas":"kWh","stat_cla":"total_increasing"`)
		from := tt.day.Add(-14 * time.Hour)
		for i := range 24 * 6 {
			k.say("e", fmt.Sprint(i))
			k.pass(time.Hour)
		}
		days, err := k.history.Days("sensor.e", "value", from, k.now.Wall, k.now.Wall)
		if err != nil {
			t.Fatal(err)
		}
		y, m, d := tt.day.Date()
		at := 0
		for at < len(days) && days[at].From.In(zone).Day() != d {
			at++
		}
		if len(days) < at+3 {
			t.Errorf("%s: days are %v", tt.zone, days)
			continue
		}
		for i, want := range tt.lengths {
			got := days[at+i]
			yy, mm, dd := got.From.In(zone).Date()
			wy, wm, wd := time.Date(y, m, d+i, 12, 0, 0, 0, zone).Date()
			if yy != wy || mm != wm || dd != wd || got.To.Sub(got.From) != want*time.Hour || got.Covered != want*time.Hour {
				t.Errorf("%s: day %d is %v to %v, known for %v, want %d h", tt.zone, i, got.From.In(zone), got.To.In(zone), got.Covered, want)
			}
			if got.Increase != float64(want) {
				t.Errorf("%s: day %d has %v kWh, want %d", tt.zone, i, got.Increase, want)
			}
		}
	}
}

// TestMove: a home that moves to another time zone loses no day.
func TestMove(t *testing.T) {
	k := newKit(t)
	k.sensor("t", thermometer)
	for i := range 60 {
		k.say("t", fmt.Sprint(i))
		k.pass(time.Hour)
	}
	west, err := time.LoadLocation("America/Los_Angeles")
	if err != nil {
		t.Fatal(err)
	}
	k.turn(func(t2 *mqtt.Turn) { k.history.SetLocation(t2, west) })
	for i := range 60 {
		k.say("t", fmt.Sprint(i))
		k.pass(time.Hour)
	}
	known := time.Duration(0)
	for _, s := range k.slots(recDay, "sensor.t", "value", begin.Add(-48*time.Hour), k.now.Wall) {
		known += s.Covered
	}
	if known != 120*time.Hour {
		t.Errorf("days are known for %v, want 120 h", known)
	}
	known = 0
	for _, s := range k.slots(recHours, "sensor.t", "value", begin, k.now.Wall) {
		known += s.Covered
	}
	if known != 120*time.Hour {
		t.Errorf("hours are known for %v, want 120 h", known)
	}
}
