package automations

import (
	"strings"
	"testing"
)

// TestYAMLKeepsItsLooks holds that a rule which is changed by form keeps the
// way in which its text was written.
func TestYAMLKeepsItsLooks(t *testing.T) {
	for _, text := range []string{
		"name: Door # front\ntriggers:\n  - message: {filter: door}\n  # by hand, too\n  - hand: {}\nactions:\n  - publish: {topic: bell}\n",
		"name: Door # front\ntriggers:\n- message: {filter: door}\n# by hand, too\n- hand: {}\nactions:\n- publish: {topic: bell}\n",
	} {
		r := ParseYAML([]byte(text))[0].Rule
		r.Name = "Gate"
		if got, want := r.YAML(), strings.Replace(text, "Door", "Gate", 1); got != want {
			t.Errorf("it becomes\n%s\nwant\n%s", got, want)
		}
	}
}

// TestParts holds that a part of a rule is read back as it was written.
func TestParts(t *testing.T) {
	r := ParseYAML([]byte("name: A\ntriggers: [{message: {filter: a, payload: {is: [x, y]}}}]\nconditions: [{not: {sun: {below: -3}}}]\nactions: [{if: {when: [{expr: 'true'}], then: [{note: a}]}}]\n"))[0].Rule
	c, problems := ReadPart[Condition](PartYAML(r.Conditions[0]))
	if len(problems) > 0 || !same(c, r.Conditions[0]) {
		t.Errorf("%+v %v", c, problems)
	}
	a, problems := ReadPart[Action](PartYAML(r.Actions[0]))
	if len(problems) > 0 || !same(a, r.Actions[0]) {
		t.Errorf("%+v %v", a, problems)
	}
	for text, want := range map[string]string{"": "1:1: There is nothing in it.", "note: a\nnota: b": "2:1: nota: There is no key", "- a": "1:1: "} {
		if _, problems := ReadPart[Action](text); len(problems) == 0 || !strings.HasPrefix(problems[0].String(), want) {
			t.Errorf("%q: %v, want %s", text, problems, want)
		}
	}
}
