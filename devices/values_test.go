package devices

import (
	"strings"
	"testing"
	"time"
)

// TestKeepValues: what changes now and then is kept within keepEvery, what
// changes all the time no more often than every keepAgain, and at a clean stop
// both are.
func TestKeepValues(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	for _, name := range []string{"door", "power"} {
		b.publish("homeassistant/sensor/"+name+"/config", `{"uniq_id":"`+name+`","obj_id":"`+name+`","name":"`+name+`","stat_t":"`+name+`","unit_of_meas":"W"}`, false)
	}
	kept := func(name string) string {
		value := string(b.records[string(recordKey('v', "sensor."+name))])
		_, rest, _ := strings.Cut(value, `"n":`)
		number, _, _ := strings.Cut(rest, ",")
		return number
	}
	b.publish("door", "1", false)
	writes, last := 0, ""
	for i := range 60 {
		b.publish("power", "1"+strings.Repeat("0", i%2), false)
		b.pass(time.Minute)
		if now := kept("power"); now != last {
			writes, last = writes+1, now
		}
		if got := kept("door"); got != "1" {
			t.Fatalf("after %d min, %q of the door is kept", i+1, got)
		}
	}
	if writes == 0 || writes > 7 {
		t.Errorf("what changes every minute was kept %d times in an hour, want 1 to 7", writes)
	}
	b.publish("power", "77", false)
	b.turn(b.model.Flush)
	if got := kept("power"); got != "77" {
		t.Errorf("after a clean stop %q is kept, want 77", got)
	}
}
