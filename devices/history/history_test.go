package history

import (
	"testing"
	"time"
)

func TestPoints(t *testing.T) {
	k := newKit(t)
	k.sensor("t", thermometer)
	k.say("t", "21.5")
	k.pass(10 * time.Minute)
	k.say("t", "21.55") // below the threshold
	k.pass(5 * time.Minute)
	k.say("t", "21.7")
	k.pass(2 * time.Hour)
	k.say("t", "20")
	got := k.points("sensor.t", "value", begin.Add(-time.Hour), begin.Add(24*time.Hour))
	if want := "09:00:00 -, 10:00:00 21.5, 10:10:00 21.55, 10:15:00 21.7, 12:15:00 20"; got != want {
		t.Errorf("points are %q, want %q", got, want)
	}
	got = k.points("sensor.t", "value", begin.Add(time.Hour), begin.Add(2*time.Hour))
	if want := "11:00:00 21.7"; got != want {
		t.Errorf("in an hour without change, points are %q, want %q", got, want)
	}
}

func TestGaps(t *testing.T) {
	k := newKit(t)
	k.sensor("t", thermometer+`,"avty_t":"online"`)
	k.say("online", "online")
	k.say("t", "21")
	k.pass(10 * time.Minute)
	k.say("online", "offline") // cannot be reached
	k.pass(10 * time.Minute)
	k.say("t", "22") // what it says meanwhile does not count
	k.pass(10 * time.Minute)
	k.say("online", "online")
	k.pass(10 * time.Minute)
	k.say("t", "None") // unknown
	k.pass(10 * time.Minute)
	k.say("t", "23")
	k.pass(10 * time.Minute)
	k.stop()
	k.reboot(30 * time.Minute) // off
	k.sensor("t", thermometer+`,"avty_t":"online"`)
	k.say("online", "online")
	k.pass(5 * time.Minute)
	k.say("t", "23.0")
	k.pass(5 * time.Minute)
	k.say("homeassistant/sensor/t/config", "") // gone
	k.pass(5 * time.Minute)

	got := k.points("sensor.t", "value", begin, begin.Add(24*time.Hour))
	want := "10:00:00 21, 10:10:00 -, 10:30:00 22, 10:40:00 -, 10:50:00 23, 11:00:00 -, 11:35:00 23, 11:40:05 -"
	if got != want {
		t.Errorf("points are\n%q, want\n%q", got, want)
	}
	slots, err := k.history.Chart("sensor.t", "value", begin, begin.Add(2*time.Hour), 12, k.now.Wall)
	if err != nil {
		t.Fatal(err)
	}
	shape := ""
	for _, s := range slots {
		if s.Known {
			shape += "x"
		} else {
			shape += "-"
		}
	}
	if want := "x--x-x---xx-"; shape != want {
		t.Errorf("chart is known in %q, want %q", shape, want)
	}
}

func TestRetained(t *testing.T) {
	k := newKit(t)
	k.announce("binary_sensor", "door", "")
	k.say("door", "ON")
	k.pass(10 * time.Minute)
	k.stop()
	k.reboot(10 * time.Minute)
	k.announce("binary_sensor", "door", "")
	k.pass(10 * time.Minute)
	if got, want := k.points("binary_sensor.door", "on", begin, begin.Add(time.Hour)), "10:00:00 on, 10:10:00 -"; got != want {
		t.Errorf("what only the store knows makes %q, want %q", got, want)
	}
	k.stop()
	k.reboot(10 * time.Minute)
	k.announce("binary_sensor", "door", "")
	k.say("door", "ON", true) // retained, and as it was: no change is told
	k.pass(time.Minute)
	if got, want := k.points("binary_sensor.door", "on", begin, begin.Add(time.Hour)), "10:00:00 on, 10:10:00 -, 10:40:05 on"; got != want {
		t.Errorf("what is retained makes %q, want %q", got, want)
	}
}

func TestKinds(t *testing.T) {
	k := newKit(t)
	k.announce("binary_sensor", "door", "")
	k.sensor("mode", `,"dev_cla":"enum","options":["heat","cool"]`)
	k.sensor("words", "")
	for _, s := range []string{"ON", "OFF", "OFF", "ON"} {
		k.say("door", s)
		k.pass(time.Minute)
	}
	for _, s := range []string{"heat", "cool", "cool", "=1+1"} {
		k.say("mode", s)
		k.pass(time.Minute)
	}
	k.say("words", "hello")
	if got, want := k.points("binary_sensor.door", "on", begin, begin.Add(time.Hour)), "10:00:00 on, 10:01:00 off, 10:03:00 on"; got != want {
		t.Errorf("door: %q, want %q", got, want)
	}
	if got, want := k.points("sensor.mode", "value", begin.Add(4*time.Minute), begin.Add(time.Hour)), "10:04:00 heat, 10:05:00 cool, 10:07:00 '=1+1"; got != want {
		t.Errorf("mode: %q, want %q", got, want)
	}
	if got := k.points("sensor.words", "value", begin, begin.Add(time.Hour)); got != "no series" {
		t.Errorf("a text has a history: %q", got)
	}
	k.until(begin.Add(2 * time.Hour))
	for _, s := range k.slots(recHours, "sensor.mode", "value", begin, begin.Add(time.Hour)) {
		if len(s.States) != 3 || s.States[0].State != "=1+1" || s.States[0].For != 53*time.Minute || s.States[1] != (StateTime{"cool", 2 * time.Minute}) {
			t.Errorf("hour of words is %+v", s)
		}
	}
	on := k.slots(recHours, "binary_sensor.door", "on", begin, begin.Add(2*time.Hour))
	if len(on) != 2 || !near(on[0].Mean, 58.0/60) || on[0].Min != 0 || on[0].Max != 1 || on[1].Mean != 1 {
		t.Errorf("hours of the door are %+v", on)
	}
}

// TestUnit: what had another unit is not mixed in.
func TestUnit(t *testing.T) {
	k := newKit(t)
	k.sensor("t", thermometer)
	k.say("t", "20")
	k.pass(time.Minute)
	k.sensor("t", `,"dev_cla":"temperature","unit_of_meas":"°F"`)
	k.say("t", "68")
	k.pass(2 * time.Hour)
	if got, want := k.points("sensor.t", "value", begin, k.now.Wall), "10:00:00 -, 10:01:00 68"; got != want {
		t.Errorf("with a new unit: %q, want %q", got, want)
	}
	k.sensor("t", thermometer)
	k.say("t", "21")
	k.pass(time.Minute)
	if got, want := k.points("sensor.t", "value", begin, k.now.Wall), "10:00:00 20, 10:01:00 -, 12:01:00 21"; got != want {
		t.Errorf("with the old unit back: %q, want %q", got, want)
	}
	k.stop()
	k.reboot(0)
	if got, want := k.points("sensor.t", "value", begin, k.now.Wall.Add(time.Hour)), "10:00:00 20, 10:01:00 -, 12:01:00 21, 12:02:00 -"; got != want {
		t.Errorf("after a start: %q, want %q", got, want)
	}
}
