package devices

import (
	"fmt"
	"strings"
	"testing"
	"time"
	"unsafe"

	"lar.home/mqtt"
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

// TestNumber: what a device writes as a number, and what it does not.
func TestNumber(t *testing.T) {
	for text, want := range map[string]string{
		"21.5": "21.5", " 7\n": "7", "-0": "-0", "1e3": "1000", "+5": "5", ".5": "0.5",
		"": "silent", " ": "silent", "unknown": "unknown", "nan": "unknown", "inf": "unknown", "1e999": "unknown",
		"0x10": "unknown", "0X1P4": "unknown", "-0x1p-2": "unknown", "1_000": "unknown", "0x_1p4": "unknown", "1,5": "unknown",
	} {
		v, ok := number(text)
		got := show(v)
		if !ok {
			got = "silent"
		}
		if got != want {
			t.Errorf("number(%q) = %s, want %s", text, got, want)
		}
	}
}

// TestPrepareMemory: a message with many values is prepared with hardly any
// new memory, however often its readers look into it.
func TestPrepareMemory(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	payload := "{"
	for i := range 20 {
		b.feed(fmt.Sprintf("homeassistant/sensor/s%d/config", i), fmt.Sprintf(`{"uniq_id":"s%d","stat_t":"dev","unit_of_meas":"W","val_tpl":"{{ value_json.a.s%d }}"}`, i, i))
		payload += fmt.Sprintf(`"s%d":%d.5,`, i, 1000+i)
	}
	message := []byte(`{"a":` + payload + `"list":[1,2,{"x":null}]}}`)
	if n := testing.AllocsPerRun(200, func() { b.model.Prepare("dev", message) }); n > 8 {
		t.Errorf("preparing 20 values takes %v allocations", n)
	}
}

// TestHeldMemory: a text that is kept does not hold the message it came in.
func TestHeldMemory(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	b.feed("homeassistant/sensor/s/config", `{"name":"s","uniq_id":"s","stat_t":"dev","val_tpl":"{{ value_json.a }}"}`)
	b.feed("dev", `{"a":"one","b":"`+strings.Repeat("x", 1000)+`"}`)
	p := b.model.Prepare("dev", []byte(`{"a":"two"}`)).(*prepared)
	b.turn(func(t *mqtt.Turn) { b.model.Accept(t, &mqtt.Message{Topic: "dev", Payload: []byte(`{"a":"two"}`)}, p) })
	kept := b.model.House().Entity("sensor.s").State().Readings[0].Value.Str
	if kept != "two" || unsafe.StringData(kept) == unsafe.StringData(p.updates[0].value.Str) {
		t.Errorf("%q is a part of the message", kept)
	}
}

// TestExpireOverRestart: expire_after is counted from when the value came, also
// over a restart, by a clock that can be trusted.
func TestExpireOverRestart(t *testing.T) {
	const after = 10 * time.Minute
	minutes := func(n int) time.Duration { return time.Duration(n) * time.Minute }
	for _, tt := range []struct {
		name            string
		retain          bool          // its message is retained
		before, off     time.Duration // since the value came, and for how long we are off
		loose, distrust bool          // the clock is not trusted before, and after, the restart
		back            time.Duration // by which it is set back meanwhile
		want            time.Duration // that it is known from then on; 0: not at all; -1: for ever
	}{
		{name: "in time", before: minutes(4), off: minutes(3), want: minutes(3)},
		{name: "retained", retain: true, before: minutes(4), off: minutes(3), want: minutes(3)},
		{name: "over", before: minutes(4), off: minutes(6)},
		{name: "over, retained", retain: true, before: minutes(4), off: minutes(16)},
		{name: "over before", before: minutes(12), off: minutes(1)},
		{name: "over before, retained", retain: true, before: minutes(12), off: minutes(1)},
		{name: "over before, not trusted now", retain: true, before: minutes(12), off: minutes(1), distrust: true},
		{name: "set back", before: minutes(1), off: minutes(1), back: time.Hour, want: after},
		{name: "not trusted then", before: minutes(4), off: minutes(3), loose: true, want: after},
		{name: "not trusted now", before: minutes(4), off: minutes(30), distrust: true, want: -1},
	} {
		b := newBench(t)
		b.quiet = true
		b.now.Trusted = !tt.loose
		b.publish("homeassistant/sensor/s/config", `{"uniq_id":"s","name":"s","stat_t":"s","unit_of_meas":"W","exp_aft":600}`, true)
		b.publish("s", "7", tt.retain)
		b.pass(tt.before)
		b.turn(b.model.Flush)
		b.now = mqtt.Now{Wall: b.now.Wall.Add(tt.off - tt.back), Trusted: !tt.distrust, Run: time.Second}
		b.start()
		known := func() bool { return b.model.House().Entity("sensor.s").State().Readings[0].Value.Known() }
		if known() != (tt.want != 0) {
			t.Errorf("%s: known at the start: %v", tt.name, known())
		}
		if tt.want < 0 {
			b.pass(time.Hour)
			if !known() {
				t.Errorf("%s: it is not known any more, and nobody knows the time", tt.name)
			}
			b.now.Trusted = true
			b.turn(b.model.Wake)
			if b.pass(time.Second); known() {
				t.Errorf("%s: it is known still, as the clock is", tt.name)
			}
		} else if tt.want > 0 {
			b.pass(tt.want - 2*time.Second)
			if !known() {
				t.Errorf("%s: it ends too soon", tt.name)
			}
			if b.pass(3 * time.Second); known() {
				t.Errorf("%s: it does not end", tt.name)
			}
		}
		// Described again, it stays unknown, whatever is retained, until it is heard.
		b.publish("homeassistant/sensor/s/config", `{"uniq_id":"s","name":"S","stat_t":"s","unit_of_meas":"W","exp_aft":600}`, true)
		if known() {
			t.Errorf("%s: a new description brings it back", tt.name)
		}
		b.publish("s", "7", tt.retain)
		b.pass(minutes(9))
		b.publish("homeassistant/sensor/s/config", `{"uniq_id":"s","name":"s","stat_t":"s","unit_of_meas":"W","exp_aft":600}`, true)
		if !known() {
			t.Errorf("%s: it does not come back", tt.name)
		}
		if b.pass(minutes(2)); known() {
			t.Errorf("%s: a new description gives it more time", tt.name)
		}
	}
}
