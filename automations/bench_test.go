package automations

import (
	"fmt"
	"testing"
	"time"

	"lar.home/mqtt"
)

// thousand returns an engine with 1,000 rules, each for a topic of its own and
// with a condition that never holds.
func thousand(tb testing.TB) *Engine {
	e, err := New(Config{Location: time.UTC})
	if err != nil {
		tb.Fatal(err)
	}
	t := &mqtt.Turn{Number: 1, Now: mqtt.Now{Wall: time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), Trusted: true}}
	for i := range 1000 {
		_, err := e.Save(t, Rule{
			Name:       fmt.Sprintf("Rule %d", i),
			Enabled:    true,
			Triggers:   []Trigger{{Message: &MessageTrigger{Filter: fmt.Sprintf("home/room%d/+/state", i)}}},
			Conditions: []Condition{{Payload: &Compare{Op: Greater, Value: Number(30)}}},
			Actions:    []Action{{Publish: &PublishAction{Topic: "home/fan/set", Payload: "on"}}},
		}, "Anna", 0)
		if err != nil {
			tb.Fatal(err)
		}
	}
	return e
}

// BenchmarkUnwanted is a message that no rule is for: what Wants answers is
// cached with the route, so this is paid once a topic.
func BenchmarkUnwanted(b *testing.B) {
	e := thousand(b)
	b.ReportAllocs()
	for b.Loop() {
		if e.Wants("home/garden/door/state") {
			b.Fatal("wanted")
		}
	}
}

// BenchmarkUnwantedDelivered is the same message, brought all the same.
func BenchmarkUnwantedDelivered(b *testing.B) {
	e := thousand(b)
	t := &mqtt.Turn{Number: 2}
	m := &mqtt.Message{Topic: "home/garden/door/state", Payload: []byte("21.5")}
	b.ReportAllocs()
	for b.Loop() {
		e.Accept(t, m, e.Prepare(m.Topic, m.Payload))
	}
}

// BenchmarkConditionFails is a message that matches a rule's filter, and not
// its condition, 500 times a second; what is written of it counts.
func BenchmarkConditionFails(b *testing.B) {
	conditionFails(b, Condition{Payload: &Compare{Op: Greater, Value: Number(30)}}, "21.5")
}

// BenchmarkPathFails is the same with a condition on a place in a JSON payload.
func BenchmarkPathFails(b *testing.B) {
	conditionFails(b, Condition{Payload: &Compare{Path: "temperature", Op: Greater, Value: Number(30)}}, `{"temperature":21.5,"humidity":40}`)
}

// BenchmarkExpressionFails is the same with an expression.
func BenchmarkExpressionFails(b *testing.B) {
	conditionFails(b, Condition{Expr: "number(payload) > 30"}, "21.5")
}

func conditionFails(b *testing.B, c Condition, payload string) {
	e := thousand(b)
	r := *e.Rule("rule-500")
	r.Conditions = []Condition{c}
	if _, err := e.Save(&mqtt.Turn{Number: 2}, r, "Anna", r.Version); err != nil {
		b.Fatal(err)
	}
	m := &mqtt.Message{Topic: "home/room500/air/state", Payload: []byte(payload)}
	n, wake := uint64(2), time.Duration(-1)
	b.ReportAllocs()
	for b.Loop() {
		n++
		t := &mqtt.Turn{Number: n, Now: mqtt.Now{Trusted: true, Run: time.Duration(n) * 2 * time.Millisecond}}
		e.Accept(t, m, e.Prepare(m.Topic, m.Payload))
		if at, asked := t.NextWake(e); asked {
			wake = at
		}
		if wake >= 0 && wake <= t.Now.Run {
			n++
			wake = -1
			t := &mqtt.Turn{Number: n, Now: t.Now}
			if e.Wake(t); len(t.Published()) > 0 {
				b.Fatal("it ran")
			}
			if at, asked := t.NextWake(e); asked {
				wake = at
			}
		}
	}
}

// BenchmarkRun is a message that a rule answers with another.
func BenchmarkRun(b *testing.B) {
	e := thousand(b)
	m := &mqtt.Message{Topic: "home/room500/air/state", Payload: []byte("31.5")}
	n := uint64(1)
	b.ReportAllocs()
	for b.Loop() {
		n++
		t := &mqtt.Turn{Number: n, Now: mqtt.Now{Trusted: true, Run: time.Duration(n) * 2 * time.Millisecond}}
		e.Accept(t, m, e.Prepare(m.Topic, m.Payload))
		if len(t.Published()) != 1 {
			b.Fatal("nothing published")
		}
	}
}

// BenchmarkSave is a form that changes one of 1,000 rules.
func BenchmarkSave(b *testing.B) {
	e := thousand(b)
	r := *e.Rule("rule-500")
	n := uint64(1)
	for b.Loop() {
		n++
		saved, err := e.Save(&mqtt.Turn{Number: n}, r, "Anna", r.Version)
		if err != nil {
			b.Fatal(err)
		}
		r.Version = saved.Version
	}
}

// BenchmarkSaveExpressions is a form that changes the expressions of one of
// 1,000 rules; what Compile does before it has the house's lock is not counted.
func BenchmarkSaveExpressions(b *testing.B) {
	e := thousand(b)
	r := *e.Rule("rule-500")
	forms := make([][]Condition, 20)
	for n := range forms {
		for i := range 10 {
			forms[n] = append(forms[n], Condition{Expr: fmt.Sprintf("number(payload) > %d && now.hour < %d", n, i)})
		}
		r.Conditions = forms[n]
		e.Compile(&r)
	}
	n := uint64(1)
	for b.Loop() {
		n++
		r.Conditions = forms[int(n)%len(forms)]
		saved, err := e.Save(&mqtt.Turn{Number: n}, r, "Anna", r.Version)
		if err != nil {
			b.Fatal(err)
		}
		r.Version = saved.Version
	}
}

// BenchmarkRename is a form that gives one of 1,000 rules another name.
func BenchmarkRename(b *testing.B) {
	e := thousand(b)
	r := *e.Rule("rule-500")
	n := uint64(1)
	for b.Loop() {
		n++
		r.Name = fmt.Sprintf("Rule %d", n)
		saved, err := e.Save(&mqtt.Turn{Number: n}, r, "Anna", r.Version)
		if err != nil {
			b.Fatal(err)
		}
		r.Version = saved.Version
	}
}

// BenchmarkList is the page that shows 1,000 rules.
func BenchmarkList(b *testing.B) {
	e := thousand(b)
	for b.Loop() {
		e.Rules()
	}
}

// BenchmarkNobodyHome is a message of which nothing comes because somebody is
// home, in a house of 1,000 devices.
func BenchmarkNobodyHome(b *testing.B) {
	k := newKit(b)
	for n := range 1000 {
		k.device("switch", fmt.Sprintf("plug_%d", n), "")
	}
	k.device("device_tracker", "anna", `{"payload_home": "home"}`)
	k.publish(mqtt.Message{Topic: "dev/anna/state", Payload: []byte("home")})
	r := simple("Rule", "a", 0)
	r.Conditions = []Condition{{Home: &HomeCondition{Is: Nobody}}}
	k.mustSave(r, 0)
	m := &mqtt.Message{Topic: "a", Payload: []byte("x")}
	n := k.number + 1
	b.ReportAllocs()
	for b.Loop() {
		n++
		t := &mqtt.Turn{Number: n, Now: mqtt.Now{Wall: k.wall, Trusted: true, Run: time.Duration(n) * 2 * time.Millisecond}}
		k.engine.Accept(t, m, k.engine.Prepare(m.Topic, m.Payload))
	}
	if runs := k.engine.Runs("rule"); runs[0].Outcome != NotRun || runs[0].Conditions[0].Value != "device_tracker.anna" {
		b.Errorf("it is %+v", runs[0])
	}
}
