package automations

import (
	"strings"
	"testing"
)

const goodYAML = `# The hall at night.
name: Night light
triggers:
  # The one by the stairs.
  - state: {entity: binary_sensor.hall_motion, to: on, for: 2s} # a moment
conditions:
  - time: {from: "22:00", to: "06:30", days: [fri, sat]}
  - any:
      - payload: single
      - payload: {path: a.b, above: 3, at_most: 20.5}
      - not: {state: {entity: sensor.lux, is_not: [dark, "on"], for: 1d}}
actions:
  - command: {entity: light.hall_lamp, command: turn_on, args: {brightness: 20}}
  - wait: {for: 1m30s}
  - publish: # for the log
      topic: log/hall
      payload: {state: off, list: [1, "2", {x: 3}]}
      qos: 1
`

func TestParseYAML(t *testing.T) {
	rules := ParseYAML([]byte("# nothing\n---\n" + goodYAML + "---\n\n---\n" + goodYAML))
	if len(rules) != 2 || rules[0].Line != 3 || rules[1].Line != 24 {
		t.Fatalf("%d rules, want 2: %+v", len(rules), rules)
	}
	r := rules[0].Rule
	if !r.Enabled || r.Triggers[0].State.Aspect != "on" || r.Actions[2].Publish.Payload != `{"list":[1,"2",{"x":3}],"state":false}` {
		t.Errorf("got %s", r.Encode())
	}
	for _, p := range rules[0].Problems { // a payload needs a message
		if p.Path != "conditions[1].any[0].payload" && p.Path != "conditions[1].any[1].payload" {
			t.Errorf("problem %v", p)
		}
	}
	if r.Text != goodYAML || r.YAML() != goodYAML {
		t.Errorf("the text has become\n%s", r.YAML())
	}
}

func TestYAMLProblems(t *testing.T) {
	tests := []struct{ text, want string }{
		{"name: x\ntrigers: []\n", `2:1: trigers: There is no key "trigers" here; is it "triggers"?`},
		{"nam: x\n", `1:1: nam: There is no key "nam" here; is it "name"?`},
		{"name: x\nname: y\n", `2:1: name: The key "name" stands here twice.`},
		{"name: &a x\nid: *a\n", `1:7: Anchors (&name) cannot be used here.`},
		{"name: !!str x\n", `1:7: Tags (!name) cannot be used here.`},
		{"name: [x]\n", "1:7: name: A text is needed here."},
		{"- name\n", "1:1: Keys with values are needed here, as in name: value."},
		{"name: x\ntriggers:\n  - telepathy: {}\n", `3:5: triggers[0].telepathy: There is no key "telepathy" here; there are`},
		{"name: x\ntriggers:\n  - webhook: {id: A}\n", `3:15: triggers[0].webhook.id: An ID has 1 to 48`},
		{"name: x\ntriggers:\n  - webhook: {id: a, methods: [post]}\n", `3:32: triggers[0].webhook.methods[0]: A method is one of GET, POST, PUT, PATCH, DELETE.`},
		{"name: x\nactions:\n  - notify: {text: a}\n", `3:5: actions[0].notify.to: Name a channel`},
		{"name: x\nactions:\n  - notify: {to: a, text: a, urgency: loud}\n", `actions[0].notify.urgency: The urgency is low, normal or high.`},
		{"name: x\nactions:\n  - http: {url: 'ftp://x'}\n", `actions[0].http.url: A URL begins with http:// or https://`},
		{"name: x\nactions:\n  - http: {url: 'http://x', timeout: 2m}\n", `actions[0].http.timeout: A request waits at most 1m`},
		{"name: x\nactions:\n  - wait: {for: 5}\n", `3:17: actions[0].wait.for: "5" is no duration: write 500ms, 90s`},
		{"name: x\nactions:\n  - wait: {for: 400d}\n", `3:12: actions[0].wait.for: A time is between`},
		{"name: x\nactions:\n  - publish: {topic: a, qos: high}\n", "3:30: actions[0].publish.qos: A whole number is needed here."},
		{"name: x\nenabled: maybe\n", "2:10: enabled: Say true or false."},
		{"name: x\ntriggers:\n  - message: {filter: a, payload: {is: 1, above: 2}}\n", "3:43: triggers[0].message.payload.above: Only one comparison can stand here"},
		{"name: x\ntriggers:\n  - message: {filter: a, payload: null}\n", "3:35: triggers[0].message.payload: Give a value"},
		{"name: x\ntriggers:\n  - message: {filter: a, payload: {path: b}}\n", "triggers[0].message.payload.op: A comparison is one of"},
		{"name: \"x\n", "This is not YAML"},
		{"name: x\n\tid: y\n", "This is not YAML"},
		{"name: x\n\tid: y\n", "A tab stands here"},
		{"name: x: y\n", "A text with a colon stands in quotes"},
		{"name: x\nactions:\n  - note: x\n - note: y\n", "begin in the same column"},
		{"name: x\nactions:\n  - note: {{ value }}\n", `3:11: actions[0].note: A text with {{ … }} stands in quotes`},
		{"name: x\nactions:\n  - publish: {topic: a, payload: {{ value }}}\n", `3:34: actions[0].publish.payload: A text with {{ … }} stands in quotes`},
		{"name: x\nactions:\n  - note: {{ value }} is it\n", `A text with {{ … }} stands in quotes`},
		{"name: x\nactions:\n  - set: {a: {{ value }}}\n", `3:14: actions[0].set.a: A text with {{ … }} stands in quotes`},
		{"alias: x\n", `1:1: alias: There is no key "alias" here; is it "name"?`},
		{"name: x\nactions:\n  - delay: 5m\n", `There is no key "delay" here; is it "wait"?`},
		{"name: x\nconditions:\n  - or: []\n", `There is no key "or" here; is it "any"?`},
		{"name: \xff\n", "not UTF-8"},
		{"a: " + strings.Repeat("[", 40) + strings.Repeat("]", 40), "32 deep"},
	}
	for _, tt := range tests {
		var got []string
		found := false
		for _, r := range ParseYAML([]byte(tt.text)) {
			for _, p := range r.Problems {
				got = append(got, p.String())
				found = found || strings.Contains(p.String(), tt.want)
			}
		}
		if !found {
			t.Errorf("ParseYAML(%.60q) says\n%s\nwant %s", tt.text, strings.Join(got, "\n"), tt.want)
		}
	}
}

// TestYAMLMerge changes rules as a form does and finds the comments still there.
func TestYAMLMerge(t *testing.T) {
	r := ParseYAML([]byte(goodYAML))[0].Rule
	r.Name = "Hall"
	r.Actions = append([]Action{{Publish: &PublishAction{Topic: "first", Payload: "a: b"}}}, r.Actions...)
	r.Actions[2].Wait = &WaitAction{For: 60e9}
	r.Conditions = r.Conditions[1:]
	text := r.YAML()
	for _, part := range []string{"# The hall at night.", "# The one by the stairs.", "# a moment", "# for the log", "name: Hall", "for: 1m", "list: [1, \"2\", {x: 3}]"} {
		if !strings.Contains(text, part) {
			t.Errorf("%q is missing in\n%s", part, text)
		}
	}
	if again := ParseYAML([]byte(text)); len(again) != 1 || !again[0].Rule.sameAs(&r) {
		t.Errorf("it is read as another rule:\n%s", text)
	}
}

// TestYAMLUnsaid changes one thing in a text: whatever else is said in a short
// form stays so, and what went without saying is said if it does so no more.
func TestYAMLUnsaid(t *testing.T) {
	const text = `name: x
triggers:
  - state: {entity: light.a, from: off, to: on} # short
  - message: {filter: a, payload: single}
conditions:
  - state: {entity: switch.b, is: on}
actions:
  - wait: {until: {message: {filter: b}}, within: 1m}
  - repeat: {each: '{{ vars.list }}', do: [{note: off}]}
`
	tests := []struct {
		change func(*Rule)
		want   string
	}{
		{func(r *Rule) { r.Name = "y" }, strings.Replace(text, "name: x", "name: y", 1)},
		{func(r *Rule) { r.Conditions[0].State.For = Duration(60e9) }, strings.Replace(text, "switch.b, is: on}", "switch.b, is: on, for: 1m}", 1)},
		{func(r *Rule) { r.Conditions[0].State.Entity = "climate.b" }, strings.Replace(text, "switch.b, is: on}", `climate.b, is: on, aspect: "on"}`, 1)},
		{func(r *Rule) { r.Actions[0].Wait.Message.Filter = "c" }, strings.Replace(text, "filter: b", "filter: c", 1)},
		{func(r *Rule) { r.Actions[1].Repeat.Do[0].Note = "on" }, strings.Replace(text, "note: off", `note: "on"`, 1)},
	}
	for _, tt := range tests {
		r := ParseYAML([]byte(text))[0].Rule
		tt.change(&r)
		got := r.YAML()
		if back := ParseYAML([]byte(got)); !back[0].Rule.sameAs(&r) {
			t.Errorf("it is written as\n%s\nwhich says %s, want %s", got, back[0].Rule.Encode(), r.Encode())
		}
		if got != tt.want && !strings.Contains(tt.want, "climate") {
			t.Errorf("it is written as\n%s\nwant\n%s", got, tt.want)
		}
	}
}

// FuzzYAML states the laws of the two faces: what a text says, its rule
// written anew says too; and a text that is changed to say what another rule
// says, says that.
func FuzzYAML(f *testing.F) {
	f.Add(goodYAML, "name: other\nactions:\n  - wait: {for: 2s} # short\n")
	f.Add("name: \"on\"\nenabled: off\ndescription: \"a\\nb \"\n", goodYAML)
	f.Add("name: x\nconditions:\n- not:\n    not: {payload: \"21\"}\n", "name: x\nconditions:\n- all: [{payload: {missing: true}}]\n")
	f.Add("name: x\ntriggers:\n- id: a\n  state: {entity: light.a, from: off, to: [on, \"1\"]}\n", "name: x\nmode: queued\nmax: 2\nactions:\n- if:\n    when: [{expr: vars.a > 1}]\n    then: [{set: {a: \"{{ 1 }}\"}}] # why\n")
	f.Fuzz(func(t *testing.T, a, b string) {
		one, two := ParseYAML([]byte(a)), ParseYAML([]byte(b))
		if len(one) != 1 || len(two) != 1 || read(one[0]) || read(two[0]) {
			return
		}
		r := one[0].Rule
		r.Text = ""
		if again := ParseYAML([]byte(r.YAML())); len(again) != 1 || !again[0].Rule.sameAs(&r) {
			t.Fatalf("%s\nis written as\n%s\nwhich says %+v", r.Encode(), r.YAML(), again)
		}
		r = two[0].Rule
		r.Text = a
		if again := ParseYAML([]byte(r.YAML())); len(again) != 1 || !again[0].Rule.sameAs(&r) {
			t.Fatalf("%q changed to say %s is\n%s\nwhich says %+v", a, r.Encode(), r.YAML(), again)
		}
	})
}

// read tells whether a text could not be read at all.
func read(r RuleText) bool {
	return r.Rule.Text == ""
}
