package ui

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

// TestBlocks holds, of each kind of block that holds others or is seldom asked
// for, that it is shown as such and comes back as it was.
func TestBlocks(t *testing.T) {
	h, _ := furnished(t)
	tests := []struct{ letter, kind, text string }{
		{"t", "sun", "sun: {elevation: -4.5, going: up, not_before: '06:00'}"},
		{"t", "state", "state: {entity: sensor.boiler_mode, to: [heating, 'hot, water'], from: [idle, off], for: 2m}"},
		{"t", "state", "state: {entity: switch.kettle, from: on}"},
		{"t", "message", "message: {filter: a/b, payload: {is: [open, on, '21', 21, '{{x}}']}}"},
		{"t", "message", "message: {filter: a/b, payload: {path: x, above: 3, at_most: 9}}"},
		{"t", "message", "message: {filter: a/b, payload: {path: x, below: 9, at_least: 3}}"},
		{"t", "message", "message: {filter: a/b, payload: {path: x, missing: true}}"},
		{"t", "message", "message: {filter: a/b, payload: {numeric: false}}"},
		{"t", "text", "message: {filter: a/b, settle: 2s}"},
		{"c", "state", "state: {entity: sensor.bath_sensor_temperature, is_not: [18, 19.5], for: 1m}"},
		{"c", "state", "state: {entity: sensor.bath_sensor_temperature, above: 18, below: 24}"},
		{"c", "payload", "payload: {path: action, is_not: [single, double]}"},
		{"c", "sun", "sun: {below: -0.5}"},
		{"c", "text", "sun: {below: -0.5, above: -6}"},
		{"c", "any", "any: [{home: {is: anyone}}, {expr: '1 < 2'}]"},
		{"c", "all", "all: [{not: {any: [{home: {is: anyone}}]}}]"},
		{"c", "not", "not: {state: {entity: switch.kettle, is: on}}"},
		{"c", "any", "any: [{trigger: [x]}]"},
		{"c", "text", "expr: \"1 <\\n2\""},
		{"a", "set", "set: {count: 1, on_it: on, word: 'on', number: '12', quoted: '\"a\"', spaced: ' a', sum: '{{ vars.a + 1 }}'}"},
		{"a", "text", "set: {lines: \"a\\nb\"}"},
		{"a", "note", "note: \"one\\ntwo\""},
		{"a", "http", "http: {url: 'https://a.example/{{ value }}', body: \"{\\n}\", headers: {A: b, C: '{{ payload }}'}, timeout: 30s}"},
		{"a", "http", "http: {url: 'http://a.example', method: POST}"},
		{"a", "stop", "stop: {why: enough}"},
		{"a", "stop", "fail: {}"},
		{"a", "capture", "scene: {capture: before, entities: [switch.kettle, light.gone, light.hall_lamp]}"},
		{"a", "many", "command: {entities: [switch.kettle, light.gone, light.hall_lamp], command: turn_on, worth: 5m}"},
		{"a", "confirm", "confirm: {do: [{command: {entity: switch.kettle, command: turn_on}}], until: [{state: {entity: switch.kettle, is: on}}], within: 5s, retries: 3, else: [{stop: {}}]}"},
		{"a", "confirm", "confirm: {do: [{note: a}], until: {message: {filter: b/+c, payload: {path: x, is: [1, 2]}}}, within: 5s}"},
		{"a", "until", "wait: {until: [{state: {entity: switch.kettle, is: on}}], within: 5s}"},
		{"a", "await", "wait: {until: [{state: {entity: switch.kettle, is: on}}], within: 5s, then: [{note: a}]}"},
		{"a", "await", "wait: {until: {message: {filter: b}}, within: 5s, else: [{note: a}]}"},
		{"a", "check", "check: [{state: {entity: sensor.boiler_mode, is: [heating, idle]}}]"},
		{"a", "checks", "check: [{home: {is: anyone}}]"},
		{"a", "if", "if: {when: [{home: {is: anyone}}, {not: {home: {is: everyone}}}], then: [{if: {when: [{expr: '1 < 2'}], then: [{note: a}]}}], else: [{note: b}, {note: c}]}"},
		{"a", "choose", "choose: {options: [{when: [{expr: '1 < 2'}], then: [{note: a}]}, {when: [{expr: '2 < 1'}], then: [{note: c}]}], else: [{note: b}]}"},
		{"a", "repeat", "repeat: {count: '{{ vars.n }}', do: [{note: a}]}"},
		{"a", "repeat", "repeat: {count: 3, max: 5, do: [{note: a}]}"},
		{"a", "repeat", "repeat: {while: [{expr: '1 < 2'}], do: [{wait: {for: 1s}}]}"},
		{"a", "repeat", "repeat: {until: [{expr: '1 < 2'}], do: [{wait: {for: 1s}}]}"},
		{"a", "repeat", "repeat: {each: ['{{ split(payload, \",\") }}'], do: [{note: a}]}"},
		{"a", "repeat", "repeat: {each: [a, '', ' b', 'c, d', 5, on, 'on'], do: [{note: a}]}"},
		{"a", "text", "repeat: {each: ['a \"b\", c'], do: [{note: a}]}"},
		{"a", "parallel", "parallel: {branches: [[{note: a}], [{note: b}, {parallel: {branches: [[{note: c}], [{note: d}]]}}], [{note: e}]]}"},
		{"a", "text", "if: {when: [{expr: '1 < 2'}], then: [{note: a}]}\non_error: continue"},
	}
	for _, tt := range tests {
		r := automations.Rule{Name: "x", Enabled: true, Mode: automations.Restart, Triggers: []automations.Trigger{{Hand: &automations.HandTrigger{}}}, Actions: []automations.Action{{Note: "x"}}}
		var problems []automations.TextProblem
		switch tt.letter {
		case "t":
			r.Triggers[0], problems = automations.ReadPart[automations.Trigger](tt.text)
		case "c":
			r.Conditions = make([]automations.Condition, 1)
			r.Conditions[0], problems = automations.ReadPart[automations.Condition](tt.text)
		case "a":
			r.Actions[0], problems = automations.ReadPart[automations.Action](tt.text)
		}
		if len(problems) > 0 {
			t.Errorf("%s: %v", tt.text, problems)
			continue
		}
		f := formOf(&r, h.model.House())
		list := map[string][]view.Block{"t": f.Triggers, "c": f.Conditions, "a": f.Actions}[tt.letter]
		if list[0].Kind != tt.kind {
			t.Errorf("%s is shown as %s %v, want %s", tt.text, list[0].Kind, list[0].Fields, tt.kind)
		}
		checkForm(t, h, tt.text, r)
	}
}

// TestEveryBlockOnThePage takes an automation with every block through its
// page as a browser does: it stays as it was written, comments included.
func TestEveryBlockOnThePage(t *testing.T) {
	h, b := furnished(t)
	h.announce("sensor", "mode", "Mode", "Boiler", "Kitchen", map[string]any{"device_class": "enum", "options": []string{"heating", "idle", "hot water"}})
	text := strings.Replace(everyBlock, "variables:", furtherSteps+"variables:", 1)
	text = strings.Replace(text, "- confirm:", "# until it is off\n  - confirm:", 1)
	text = strings.Replace(text, "        - {when: [{payload: {path: action, is: double}}", "        # pressed twice\n        - {when: [{payload: {path: action, is: double}}", 1)
	text = strings.Replace(text, "else: [{fail: {why: nobody knows}}]", "else: [{fail: {why: nobody knows}}] # not known", 1)
	err := h.Do(t.Context(), func(t *mqtt.Turn) error {
		h.rules.SetPlace(t, automations.Place{Known: true, Latitude: 52}, nil)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	b.get("/automations/import").fill("editor", "", "text", text).at("/automations")
	path := "/automations/every-block"
	b.get(path)
	choices := 0
	for n := range b.doc.Descendants() {
		if !slices.ContainsFunc(n.Attr, func(a html.Attribute) bool { return a.Key == "data-submit" }) {
			continue
		}
		choices++
		block := n
		for block != nil && !slices.Contains(strings.Fields(attr(block, "class")), "block") {
			block = block.Parent
		}
		if block == nil || !redraws(block) {
			t.Errorf("without script nothing follows from the choice of %s", attr(n, "name"))
		}
	}
	if choices < 20 {
		t.Errorf("there are %d choices that decide what else is asked", choices)
	}
	b.fill("editor", "refresh").fill("editor", "save").at(path).shows(200, "Saved as version 2.")
	if got := h.rules.Rule("every-block").YAML(); got != text {
		t.Errorf("saved as it was shown it is another:\n%s", lines(automations.Difference(text, got)))
	}
	b.fill("editor", "save", "a11_then_0.note", "dark", "a12_else_0.why", "it is unknown", "a12_then1_0.for", "2").shows(200, "Saved as version 3.")
	want := strings.NewReplacer("note: night", "note: dark", "nobody knows", "it is unknown", "then: [{wait: {for: 1m}}]", "then: [{wait: {for: 2m}}]").Replace(text)
	if got := h.rules.Rule("every-block").YAML(); got != want {
		t.Errorf("with three values changed it is another:\n%s", lines(automations.Difference(want, got)))
	}
}

// redraws tells whether a block has a button of its own that draws it anew.
func redraws(block *html.Node) bool {
	for n := range block.ChildNodes() {
		if attr(n, "value") == "refresh" || !slices.Contains(strings.Fields(attr(n, "class")), "block") && redraws(n) {
			return true
		}
	}
	return false
}

func lines(list []automations.Line) string {
	var s strings.Builder
	for _, l := range list {
		if l.Op == '+' || l.Op == '-' {
			s.WriteString(string(l.Op) + l.Text + "\n")
		}
	}
	return s.String()
}

// TestMakeRuleOfNestedBlocks makes an automation with branches as somebody
// without script does, with what is wrong said at its field.
func TestMakeRuleOfNestedBlocks(t *testing.T) {
	h, b := furnished(t)
	h.correspond()
	b.get("/automations/new").fill("editor", "refresh", "name", "Nested", "t.kind", "hand")
	b.fill("editor", "add a if").shows(200, "If all of these hold", "Then", "Otherwise")
	b.fill("editor", "add a0_when", "new a0_when", "any")
	b.fill("editor", "add a0_when_0_of", "new a0_when_0_of", "state")
	b.fill("editor", "refresh", "a0_when_0_of_0.what", "sensor.bath_sensor_temperature|value")
	b.fill("editor", "refresh", "a0_when_0_of_0.op", ">=..<=").shows(200, "Lower end, °C", "Upper end, °C")
	b.fill("editor", "add a0_when_0_of", "a0_when_0_of_0.value", "18", "new a0_when_0_of", "not")
	b.fill("editor", "add a0_then", "new a0_then", "repeat")
	b.fill("editor", "refresh", "a0_then_0.how", "each").shows(200, "Several, with commas between them.")
	b.fill("editor", "add a0_then_0_do", "a0_then_0.each", `hall, "21"`, "new a0_then_0_do", "publish")
	b.fill("editor", "add a0_then_0_do", "a0_then_0_do_0.topic", "lamp/+", "new a0_then_0_do", "set")
	b.fill("editor", "more a0_then_0_do_1", "a0_then_0_do_1.k0", "Count it", "a0_then_0_do_1.v0", "{{ 1 + }}")
	b.fill("editor", "add a0_else", "a0_then_0_do_1.k1", "", "a0_then_0_do_1.v1", "left", "new a0_else", "http")
	b.fill("editor", "add a choose").fill("editor", "more a1").fill("editor", "more a1").shows(200, "Remove this way")
	b.fill("editor", "add a1_when0", "new a1_when0", "home")
	b.fill("editor", "add a1_when2", "new a1_when2", "home")
	b.fill("editor", "less a1 1")
	b.fill("editor", "add a1_then1", "a1_when1_0.is", "nobody", "new a1_then1", "note")
	b.fill("editor", "add a parallel").fill("editor", "add a2_branch0", "new a2_branch0", "wait")
	b.fill("editor", "add a confirm")
	b.fill("editor", "refresh", "a3.by", "message").shows(200, "Done again at the most", "Topic")
	b.fill("editor", "add a3_do", "a3.retries", "many", "new a3_do", "stop")
	b.fill("editor", "add a capture")
	b.fill("editor", "add a many").fill("editor", "refresh", "a5.where", "list|").shows(200, "Which devices")
	b.fill("editor", "add c sun").fill("editor", "refresh", "c0.side", "below").shows(200, "Degrees above the horizon")
	b.fill("editor", "save", "c0.deg", "low").shows(422)
	for field, want := range map[string]string{
		"a0_when_0_of_0-value2": "Say which value.", "a0_when_0_of_1-of": "Give one condition.", "a0_then_0_do_0-topic": "A topic such as",
		"a0_then_0_do_1-k0": "A variable has a name of a-z", "a0_then_0_do_1-k1": "Give it a name.", "a0_else_0-url": "Say which address",
		"a1_then1_0-note": "Say what is to be noted.", "a2_branch0_0-for": "Say how long.", "a2-branch1": "Say what is done", "a3-retries": "Say how often",
		"a3-within": "Say how long at the most.", "a3-filter": "", "a4-scene": "Give the scene a name.", "a4-entity": "Choose what is remembered.", "a5-entity": "Choose the devices.", "a5-command": "Choose what it is told.", "c0-deg": "Say how high",
	} {
		if got := errorAt(b, field); got == "" || !strings.Contains(got, want) {
			t.Errorf("at %s is said %q, want %q", field, got, want)
		}
	}
	b.fill("editor", "remove c0").fill("editor", "remove a5").fill("editor", "remove a4").fill("editor", "remove a2")
	b.fill("editor", "remove a0_when_0_of_1", "a0_when_0_of_0.value2", "21,5")
	b.fill("editor", "down a0_then_0_do_0", "a0_then_0_do_0.topic", "lamp/{{ repeat.item }}", "a0_then_0_do_1.k0", "count", "a0_then_0_do_1.v0", "{{ 1 + 1 }}", "a0_then_0_do_1.k1", "kind")
	b.fill("editor", "save", "a0_else_0.url", "http://kitchen.local/on", "a1_then1_0.note", "Nobody.", "a2.retries", "2", "a2.within", "10", "a2.withinunit", "s", "a2.filter", "answer/+who",
		"a2.value", "yes").at("/automations/nested").shows(200, "Saved as version 1.")
	want := `id: nested
name: Nested
mode: restart
triggers:
- hand: {}
actions:
- if:
    when:
    - any:
      - state:
          entity: sensor.bath_sensor_temperature
          aspect: value
          at_least: 18
          at_most: 21.5
    then:
    - repeat:
        each: [hall, "21"]
        do:
        - set:
            count: "{{ 1 + 1 }}"
            kind: left
        - publish:
            topic: "lamp/{{ repeat.item }}"
    else:
    - http:
        url: "http://kitchen.local/on"
- choose:
    options:
    - when:
      - home:
          is: anyone
    - when:
      - home:
          is: nobody
      then:
      - note: Nobody.
- confirm:
    do:
    - stop: {}
    until:
      message:
        filter: answer/+who
        payload:
          is: yes
    within: 10s
    retries: 2
`
	// Alone, too, what is wrong deep within keeps it from being saved.
	b.fill("editor", "save", "a0_then_0_do_0.k1", "").shows(422)
	if got := errorAt(b, "a0_then_0_do_0-k1"); got != "Give it a name." {
		t.Errorf("of a value without a name is said %q", got)
	}
	b.get("/automations/nested").fill("editor", "add c not").fill("editor", "add c0_of", "new c0_of", "expr").fill("editor", "save", "c0_of_0.expr", "1 +").shows(422)
	if got := errorAt(b, "c0_of_0-expr"); !strings.Contains(got, "cannot be calculated") {
		t.Errorf("of what cannot be calculated is said %q: %s", got, pageText(b.doc))
	}
	if r := h.rules.Rule("nested"); r == nil {
		t.Error("it was not saved")
	} else if got := r.YAML(); got != want {
		t.Errorf("it is\n%s\nwhich differs by\n%s", got, lines(automations.Difference(want, got)))
	} else if back := automations.ParseYAML([]byte(got)); len(back[0].Problems) > 0 {
		t.Errorf("its text says %v", back[0].Problems)
	}
}

// TestBlockNames holds that the name of a block leads back to its place.
func TestBlockNames(t *testing.T) {
	for _, name := range []string{"t", "t1", "c0", "a12", "a1_then_0", "a1_when12_3_of_7"} {
		if key, i, ok := placeOf(name); !ok || blockName(key, i) != name {
			t.Errorf("placeOf(%q) = %q, %d, %v", name, key, i, ok)
		}
	}
	for _, name := range []string{"", "a", "t0", "a01", "a-1", "a1_then", "a1_then_", "a1_then_+1", "_", "_1", "ä1"} {
		if key, i, ok := placeOf(name); ok && slices.Contains([]string{"t", "c", "a"}, key) {
			t.Errorf("placeOf(%q) = %q, %d", name, key, i)
		}
	}
}
