package devices

import (
	"testing"
	"time"
)

// TestSilent: a sensor that speaks every ten minutes is missed after some of
// these, also over a restart; the time in which the hub was off does not
// count, and one long absence is not taken for a habit.
func TestSilent(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	b.run(`retain homeassistant/sensor/s/config {"name":"S","uniq_id":"s","stat_t":"s"}`)
	device := func() *Device { return b.model.House().Devices[0] }
	check := func(when string, silent bool) {
		t.Helper()
		if got := device().Silent(b.now.Wall); got != silent {
			t.Errorf("%s: silent %v, want %v (usual %v)", when, got, silent, device().Usual())
		}
	}
	if !device().Seen().IsZero() {
		t.Error("seen before it spoke")
	}
	b.run("pass 5h")
	check("never heard", false)
	for range minGaps {
		b.run("pub s 1")
		b.run("pass 10m")
	}
	check("too little known", false)
	b.run("pub s 2")
	if got := device().Usual(); got != 10*time.Minute {
		t.Errorf("usual gap %v, want 10m", got)
	}
	b.run("pass 34m")
	check("a little late", false)
	b.run("pass 2m")
	check("late", true)

	b.run("pass 5h")
	b.run("pub s 3")
	check("back", false)
	if got := device().Usual(); got != 12*time.Minute+30*time.Second {
		t.Errorf("usual gap after an absence %v, want 12m30s", got)
	}
	seen := device().Seen()

	b.run("restart")
	if got := device().Seen(); !got.Equal(seen) {
		t.Errorf("seen %v after the restart, want %v", got, seen)
	}
	b.now.Wall = b.now.Wall.Add(24 * time.Hour)
	b.run("restart")
	check("the hub was off", false)
	b.run("pass 1h")
	check("silent since the hub is back", true)
	b.run("pub s 4")
	check("back again", false)
	if got := device().Usual(); got != 12*time.Minute+30*time.Second {
		t.Errorf("usual gap after a restart %v, want 12m30s", got)
	}
	// Gone and back, it is known again.
	b.run("retain homeassistant/sensor/s/config")
	b.run(`retain homeassistant/sensor/s/config {"name":"S","uniq_id":"s","stat_t":"s"}`)
	if device().Usual() == 0 || device().Seen().IsZero() {
		t.Error("what was learned is lost")
	}
}

// TestFacts: battery and signal are facts of the device, whichever entity
// tells them.
func TestFacts(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	b.run(`retain homeassistant/sensor/b/config {"dev":{"ids":["d"]},"name":"B","uniq_id":"b","stat_t":"b","dev_cla":"battery","unit_of_meas":"%"}`)
	b.run(`retain homeassistant/sensor/v/config {"dev":{"ids":["d"]},"name":"V","uniq_id":"v","stat_t":"v","dev_cla":"voltage","unit_of_meas":"V"}`)
	b.run(`retain homeassistant/sensor/q/config {"dev":{"ids":["d"]},"name":"Q","uniq_id":"q","stat_t":"q","unit_of_meas":"lqi"}`)
	d := b.model.House().Devices[0]
	if _, ok := d.Battery(); ok {
		t.Error("a battery before it was heard")
	}
	if _, _, ok := d.Signal(); ok {
		t.Error("a signal before it was heard")
	}
	b.run("pub b 80")
	b.run("pub v 2.9")
	b.run("pub q 96")
	if got, ok := d.Battery(); !ok || got.Percent != 80 || got.Low || !got.HasPercent || got.At != b.now.Wall {
		t.Errorf("battery %+v %v", got, ok)
	}
	if r, unit, ok := d.Signal(); !ok || unit != "lqi" || r.Value.Num != 96 {
		t.Errorf("signal %+v %q %v", r, unit, ok)
	}
	b.run("pub b 10")
	if got, _ := d.Battery(); !got.Low {
		t.Errorf("battery %+v, want low", got)
	}
	b.run(`retain homeassistant/binary_sensor/l/config {"dev":{"ids":["d"]},"name":"L","uniq_id":"l","stat_t":"l","dev_cla":"battery"}`)
	b.run("pub l OFF")
	d = b.model.House().Devices[0]
	if got, _ := d.Battery(); got.Low || got.Percent != 10 {
		t.Errorf("battery %+v, want what the device says itself", got)
	}
}
