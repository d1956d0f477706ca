package automations

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// TestSkippedSaysWhatWasThere states that a trace of what did not run says what
// was there then, whenever it is read: the message's bytes are used again, and
// the house has changed since.
func TestSkippedSaysWhatWasThere(t *testing.T) {
	k := newKit(t)
	k.device("sensor", "outside", "")
	say := func(topic, payload string) { k.publish(mqtt.Message{Topic: topic, Payload: []byte(payload)}) }
	r := simple("Rule", "home/hall/+what", 0)
	r.Conditions = []Condition{
		{Payload: &Compare{Path: "door", Op: Equal, Value: Text("open")}},
		{Not: &Condition{Payload: &Compare{Op: Equal, Value: Text("x")}}},
		{State: &StateCondition{Entity: "sensor.outside", Aspect: "value", Op: Less, Value: Number(5)}},
	}
	k.mustSave(r, 0)
	body := []byte(`{"door":"open"}`)
	say("dev/outside/state", "21.50")
	k.publish(mqtt.Message{Topic: "home/hall/door", Payload: body})
	copy(body, strings.Repeat("?", len(body)))
	say("dev/outside/state", "3")
	say("home/hall/bell", `{"door":"shut"}`)

	runs := k.engine.Runs("rule")
	if len(runs) != 2 {
		t.Fatalf("there are %d traces, want 2", len(runs))
	}
	for i, want := range []Run{
		{Why: "A condition does not hold: door == open, it is shut.", Trigger: Cause{Topic: "home/hall/bell", Payload: `{"door":"shut"}`},
			Conditions: []Seen{{"door == open", "shut", HoldsNot, 0}}},
		{Why: "A condition does not hold: sensor.outside value < 5, it is 21.50.", Trigger: Cause{Topic: "home/hall/door", Payload: `{"door":"open"}`},
			Conditions: []Seen{
				{"door == open", "open", Holds, 0},
				{"not", "", Holds, 0},
				{"payload == x", `{"door":"open"}`, HoldsNot, 1},
				{"sensor.outside value < 5", "21.50", HoldsNot, 0},
			}},
	} {
		got := runs[i]
		if got.Outcome != NotRun || got.Why != want.Why || got.Trigger.Topic != want.Trigger.Topic || got.Trigger.Payload != want.Trigger.Payload || got.Trigger.Value != want.Trigger.Payload {
			t.Errorf("trace %d: %s of %+v: %s; want %s of %+v", i, got.Outcome, got.Trigger, got.Why, want.Why, want.Trigger)
		}
		if !reflect.DeepEqual(got.Conditions, want.Conditions) {
			t.Errorf("trace %d saw %+v, want %+v", i, got.Conditions, want.Conditions)
		}
	}
}

// TestFloodIsNotWritten states that messages which trigger a rule but do not
// run it cost the disk next to nothing, however many they are, and that the
// newest are explained all the same, also after a restart.
func TestFloodIsNotWritten(t *testing.T) {
	k := newKit(t)
	r := simple("Rule", "power", 0)
	r.Conditions = []Condition{{Payload: &Compare{Op: Greater, Value: Number(2000)}}}
	k.mustSave(r, 0)
	const minutes = 10
	written, bytes := 0, 0
	for i := range minutes * 60 * 10 {
		k.publish(mqtt.Message{Topic: "power", Payload: fmt.Append(nil, i%2000)})
		k.until(k.wall.Add(100 * time.Millisecond))
		for _, v := range k.lazies {
			written++
			bytes += len(v)
		}
		k.flush()
	}
	if limit := (minutes + 1) * skipsKept; written == 0 || written > limit {
		t.Errorf("%d messages made %d writes, want 1 to %d", minutes*60*10, written, limit)
	}
	if perDay := bytes / minutes * 24 * 60; perDay > 5<<20 {
		t.Errorf("a flood writes %d bytes a day of traces", perDay)
	}
	if n := len(k.engine.Runs("rule")); n != MaxNotRuns {
		t.Errorf("%d traces can be read, want %d", n, MaxNotRuns)
	}
	k.kill()
	k.start()
	after := k.engine.Runs("rule")
	if len(after) == 0 || k.wall.Sub(after[0].Started) > keepTracesEvery+2*keepTracesAfter {
		t.Errorf("after a power cut %d traces are left, the newest is too old: %+v", len(after), after)
	}
}

// TestSkippedNowAndThen states that a rule which seldom does not run has the
// trace of it on disk in seconds.
func TestSkippedNowAndThen(t *testing.T) {
	k := newKit(t)
	r := simple("Rule", "door", 0)
	r.Conditions = []Condition{{Payload: &Compare{Op: Equal, Value: Text("open")}}}
	k.mustSave(r, 0)
	for range 3 {
		k.until(k.wall.Add(time.Hour))
		k.publish(mqtt.Message{Topic: "door", Payload: []byte("shut")})
		k.until(k.wall.Add(keepTracesAfter))
		k.flush()
	}
	k.kill()
	k.start()
	if n := len(k.engine.Runs("rule")); n != 3 {
		t.Errorf("%d traces are left after a power cut, want 3", n)
	}
}

// TestSkippedIsReadMeanwhile states that pages may ask for traces while
// messages come: each says what was there together.
func TestSkippedIsReadMeanwhile(t *testing.T) {
	k := newKit(t)
	r := simple("Rule", "power/+", 0)
	r.Conditions = []Condition{{Payload: &Compare{Op: Equal, Value: Text("on")}}}
	k.mustSave(r, 0)
	e, ended := k.engine, make(chan bool)
	go func() {
		defer close(ended)
		for n := range 2000 {
			m := &mqtt.Message{Topic: fmt.Sprint("power/", n), Payload: fmt.Append(nil, n)}
			e.Accept(&mqtt.Turn{Number: uint64(1000 + n), Now: mqtt.Now{Trusted: true}}, m, e.Prepare(m.Topic, m.Payload))
		}
	}()
	for reading := true; reading; {
		select {
		case <-ended:
			reading = false
		default:
		}
		for _, run := range e.Runs("rule") {
			n := strings.TrimPrefix(run.Trigger.Topic, "power/")
			if run.Trigger.Payload != n || run.Conditions[0].Value != n || run.Why != "A condition does not hold: payload == on, it is "+n+"." {
				t.Fatalf("a trace of %s says %+v", n, run)
			}
		}
	}
	if n := len(e.Runs("rule")); n != MaxNotRuns {
		t.Errorf("%d traces, want %d", n, MaxNotRuns)
	}
}
