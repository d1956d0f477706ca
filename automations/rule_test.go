package automations

import (
	"bytes"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
)

// good is a rule that is valid in any house.
const good = `{"name":"Night light","enabled":true,
 "triggers":[{"message":{"filter":"home/+/motion","payload":{"path":"state","op":"==","value":true}}}],
 "conditions":[{"any":[{"time":{"from":"22:00","to":"06:30","days":["fri","sat"]}},{"not":{"payload":{"op":">=","value":-1.5}}}]}],
 "actions":[{"publish":{"topic":"home/lamp/set","payload":"{{value}}","qos":1,"retain":true}},
            {"wait":{"for":"2m"}},
            {"command":{"entity":"light.hall","command":"turn_on","args":{"brightness":60}}}]}`

func TestDecode(t *testing.T) {
	r, err := Decode([]byte(good))
	if err != nil {
		t.Fatal(err)
	}
	if p := r.Validate(nil); len(p) > 0 {
		t.Errorf("problems %+v", p)
	}
	again, err := Decode(r.Encode())
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Errorf("%s decodes to %+v, %v, want %+v", r.Encode(), again, err, r)
	}
	for _, bad := range []string{
		``, `[]`, `{"name":"x"} {}`, `{"nam":"x"}`, `{"triggers":[{"telepathy":{}}]}`,
		`{"actions":[{"wait":{"for":"2 minutes"}}]}`, `{"actions":[{"wait":{"for":120}}]}`,
		`{"conditions":[{"time":{"from":"25:00"}}]}`, `{"conditions":[{"time":{"days":["monday"]}}]}`,
		`{"conditions":[{"payload":{"op":"==","value":[1]}}]}`,
		`{"name":"` + strings.Repeat("x", 2*MaxRuleBytes) + `"}`,
	} {
		if _, err := Decode([]byte(bad)); err == nil {
			t.Errorf("Decode(%.60s) has no error", bad)
		}
	}
}

func TestValidate(t *testing.T) {
	inf := math.Inf(1)
	low, high := 10.0, 20.0
	on := On()
	nested := Condition{Payload: &Compare{Op: Equal, Value: on}}
	for range MaxDepth {
		inner := nested
		nested = Condition{Not: &inner}
	}
	tests := []struct {
		change func(r *Rule)
		path   string // "" for a good rule
		text   string
	}{
		{func(r *Rule) {}, "", ""},
		{func(r *Rule) { r.Name = " " }, "name", "Give the automation a name."},
		{func(r *Rule) { r.Name = "a\nb" }, "name", "visible"},
		{func(r *Rule) { r.Name = strings.Repeat("ö", MaxName) }, "", ""},
		{func(r *Rule) { r.Name = strings.Repeat("ö", MaxName+1) }, "name", "at most 100"},
		{func(r *Rule) { r.ID = "../x" }, "id", "small letters"},
		{func(r *Rule) { r.Description = "a\nb" }, "", ""},
		{func(r *Rule) { r.Description = "\xff" }, "description", "UTF-8"},
		{func(r *Rule) { r.Mode = "shuffled" }, "mode", "restart, single, queued or parallel"},
		{func(r *Rule) { r.Mode = Queued }, "max", "Between 1 and 100"},
		{func(r *Rule) { r.Mode = Parallel }, "max", "Between 2 and 10"},
		{func(r *Rule) { r.Mode, r.Max = Parallel, 10 }, "", ""},
		{func(r *Rule) { r.Mode, r.Max = Single, 2 }, "max", "Only the modes parallel"},
		{func(r *Rule) { r.Triggers = nil }, "triggers", "add a trigger"},
		{func(r *Rule) { r.Triggers = slices.Repeat(r.Triggers, 21) }, "triggers", "at most 20"},
		{func(r *Rule) { r.Triggers[0] = Trigger{} }, "triggers[0]", "Choose a kind"},
		{func(r *Rule) { r.Triggers[0].State = &StateTrigger{Entity: "a", Aspect: "b"} }, "triggers[0]", "Only one kind"},
		{func(r *Rule) { r.Triggers[0].Message.Filter = "" }, "triggers[0].message.filter", "Give a topic"},
		{func(r *Rule) { r.Triggers[0].Message.Filter = "a/#/b" }, "triggers[0].message.filter", "wildcard"},
		{func(r *Rule) { r.Triggers[0].Message.Filter = "$share/g/a" }, "triggers[0].message.filter", "share"},
		{func(r *Rule) { r.Triggers[0].Message.Payload.Op = "~" }, "triggers[0].message.payload.op", "one of"},
		{func(r *Rule) { r.Triggers[0].Message.Payload.Op = Less }, "triggers[0].message.payload.op", "Only numbers"},
		{func(r *Rule) { r.Triggers[0].Message.Payload.Value = Value{} }, "triggers[0].message.payload.value", "Give a value"},
		{func(r *Rule) { r.Triggers[0].Message.Payload.Path = "a..b" }, "triggers[0].message.payload.path", "single dots"},
		{state(StateTrigger{Entity: "a", Aspect: "b"}), "", ""},
		{state(StateTrigger{Aspect: "b"}), "triggers[0].state.entity", "Choose an entity"},
		{state(StateTrigger{Entity: "a"}), "triggers[0].state.aspect", "Choose what"},
		{state(StateTrigger{Entity: "a", Aspect: "b", For: 1e9}), "triggers[0].state.for", "needs a value"},
		{state(StateTrigger{Entity: "a", Aspect: "b", To: &on, For: 1}), "triggers[0].state.for", "between 1ms and 366 days"},
		{state(StateTrigger{Entity: "a", Aspect: "b", To: &on, Above: &low}), "triggers[0].state", "either a value or a threshold"},
		{state(StateTrigger{Entity: "a", Aspect: "b", Above: &low, Below: &high, For: 1e9}), "", ""},
		{state(StateTrigger{Entity: "a", Aspect: "b", Above: &high, Below: &low}), "triggers[0].state.below", "Nothing is above"},
		{state(StateTrigger{Entity: "a", Aspect: "b", Above: &inf}), "triggers[0].state.above", "Give a value"},
		{func(r *Rule) { r.Conditions = []Condition{{}} }, "conditions[0]", "Choose a kind"},
		{func(r *Rule) { r.Conditions = []Condition{{All: []Condition{}}} }, "conditions[0].all", "no condition in this group"},
		{func(r *Rule) { r.Conditions = []Condition{nested} }, "conditions[0].not.not.not.not.not", "5 deep"},
		{func(r *Rule) { r.Conditions = []Condition{*nested.Not} }, "", ""},
		{func(r *Rule) { r.Conditions = make([]Condition, 1000) }, "conditions", "at most 50"},
		{func(r *Rule) { r.Conditions[0].Any[0].Time = &TimeCondition{To: 24 * 60} }, "conditions[0].any[0].time.to", "between 00:00 and 23:59"},
		{func(r *Rule) { r.Conditions[0].Any[0].Time.Days = []Weekday{1, 1} }, "conditions[0].any[0].time.days[1]", "twice"},
		{func(r *Rule) { r.Conditions[0].Any[0].Time.Days = []Weekday{-1} }, "conditions[0].any[0].time.days[0]", "not a day"},
		{func(r *Rule) { r.Actions = nil }, "actions", "add an action"},
		{func(r *Rule) { r.Actions = make([]Action, 201) }, "actions", "at most 200"},
		{func(r *Rule) { r.Actions[0] = Action{} }, "actions[0]", "Choose a kind"},
		{func(r *Rule) { r.Actions[0].Publish.Topic = "a/+" }, "actions[0].publish.topic", "without + and #"},
		{func(r *Rule) { r.Actions[0].Publish.Topic = "{{topic}}/set" }, "", ""},
		{func(r *Rule) { r.Actions[0].Publish.QoS = 3 }, "actions[0].publish.qos", "0, 1 or 2"},
		{func(r *Rule) { r.Actions[0].Publish.Payload = strings.Repeat("x", MaxPayload+1) }, "actions[0].publish.payload", "at most 16384"},
		{func(r *Rule) { r.Actions[1].Wait.For = 0 }, "actions[1].wait.for", "between"},
		{func(r *Rule) { r.Actions[1].Wait.For = Duration(MaxDuration) + 1 }, "actions[1].wait.for", "between"},
		{func(r *Rule) { r.Actions[2].Command.Entity = "" }, "actions[2].command.entity", "Choose an entity"},
		{func(r *Rule) { r.Actions[2].Command.Command = "" }, "actions[2].command.command", "told to do"},
		{func(r *Rule) { r.Actions[2].Command.Args["brightness"] = Number(inf) }, "actions[2].command.args.brightness", "Give a value"},
	}
	for i, tt := range tests {
		r, err := Decode([]byte(good))
		if err != nil {
			t.Fatal(err)
		}
		tt.change(&r)
		problems := r.Validate(nil)
		if tt.path == "" {
			if len(problems) > 0 {
				t.Errorf("%d: Validate = %+v, want no problem", i, problems)
			}
			continue
		}
		found := false
		for _, p := range problems {
			found = found || p.Path == tt.path && strings.Contains(p.Text, tt.text) && !p.Warning
		}
		if !found {
			t.Errorf("%d: Validate = %+v, want %q at %s", i, problems, tt.text, tt.path)
		}
	}
}

// state makes a state trigger the only one, and leaves no condition that asks
// for a payload.
func state(s StateTrigger) func(*Rule) {
	return func(r *Rule) { r.Triggers, r.Conditions = []Trigger{{State: &s}}, nil }
}

// FuzzRule states that whatever is decoded encodes to what decodes to the
// same, that checking it ends, and that a rule without problems can be saved,
// shown, loaded again and triggered.
func FuzzRule(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"name":"x","triggers":[{"state":{"entity":"a","aspect":"b","above":1,"for":"1s"}}],"actions":[{"wait":{"for":"1ms"}}]}`))
	files, _ := filepath.Glob("testdata/*.txt")
	for _, file := range files {
		b, _ := os.ReadFile(file)
		for _, part := range strings.Split(string(b), "\nrule ")[1:] {
			var text strings.Builder
			for _, line := range strings.Split(part, "\n")[1:] {
				if !strings.HasPrefix(line, "|") {
					break
				}
				text.WriteString(line[1:])
			}
			f.Add([]byte(`{"name":"x","enabled":true,` + strings.TrimSpace(text.String())[1:]))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := Decode(data)
		if err != nil {
			return
		}
		text := r.Encode()
		again, err := Decode(text)
		if err != nil {
			if len(text) > MaxRuleBytes {
				return
			}
			t.Fatalf("%s decodes, but %s does not: %v", data, text, err)
		}
		if b := again.Encode(); !bytes.Equal(b, text) {
			t.Fatalf("%s encodes to %s, then to %s", data, text, b)
		}
		problems := r.Validate(nil)
		for _, p := range problems {
			if p.Text == "" || !strings.HasSuffix(p.Text, ".") {
				t.Errorf("problem %+v is no sentence", p)
			}
		}
		if invalid(problems) {
			return
		}
		k := newKit(t)
		r.ID = ""
		saved, err := k.engine.Save(k.fresh(), r, "Anna", 0)
		if err != nil {
			t.Fatalf("%s is valid and cannot be saved: %v", text, err)
		}
		if _, err := k.engine.RunNow(k.fresh(), saved.ID, "Anna"); err != nil {
			t.Fatal(err)
		}
		for _, run := range k.engine.Runs(saved.ID) {
			trace(run)
		}
	})
}
