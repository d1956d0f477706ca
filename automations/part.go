package automations

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v4"
)

// PartYAML writes a trigger, a condition or an action as it stands in the text
// of a rule.
func PartYAML[P Trigger | Condition | Action](part P) string {
	b, err := yaml.Dump(encodeNode(reflect.ValueOf(part)), yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil { // only for what no decoder yields
		return ""
	}
	return string(b)
}

// ReadPart reads one back. Whether it makes sense is for [Rule.Validate] to
// say.
func ReadPart[P Trigger | Condition | Action](text string) (part P, problems []TextProblem) {
	if strings.TrimSpace(text) == "" {
		return part, []TextProblem{{1, 1, Problem{Text: "There is nothing in it."}}}
	}
	_, problems = Document{Text: []byte(text), Line: 1}.Into(&part)
	return part, problems
}

// IDOf is the ID that a rule of a name gets, if no other has it.
func IDOf(name string) string { return slug(name) }
