package automations

import (
	"strings"
	"testing"

	"lar.home/devices"
)

// TestExpressions calculates, and is told plainly what is wrong.
func TestExpressions(t *testing.T) {
	tests := []struct {
		template string
		want     string // the text; or after a ! a part of what is said
	}{
		{`{{ 0.1 + 0.2 }}`, "0.3"},
		{`{{ 100 * 1.1 }}`, "110"},
		{`{{ 9007199254740991 }}`, "9007199254740991"},
		{`{{ 1 / 3 }}`, "0.333333333333333"},
		{`{{ json({a: {b: "<"}}) }}!`, `{"a":{"b":"<"}}!`},
		{`{{ {a: {b: [0.1 + 0.2]}} }}`, `{"a":{"b":[0.30000000000000004]}}`},
		{`{{ vars.map.inner }} {{ vars.list[1] }}`, "5 b"},
		{`{{ vars.none }}{{ vars.none ?? "nothing" }}`, "nothing"},
		{`{{ 1 / 0 }}`, "!no finite number"},
		{`{{ vars.none + 1 }}`, "!a part of it is not there"},
		{`{{ upper(vars.none) }}`, "!a part of it is not there"},
		{`{{ data.a }}`, "!a part of it is not there"},
		{`{{ vars.text - 1 }}`, "!- does not go with a text and a number"},
		{`{{ vars.text.part }}`, "!a text has no parts"},
		{`{{ vars.list[7] }}`, "!there is no place 7 in the list"},
		{`{{ !vars.text }}`, "!a text where a value that is true or false"},
		{`{{ states("x") }}`, "!there is no word states; a text stands in quotes"},
		{`{{ 1 + sensor.x }}`, "!there is no word sensor; a text stands in quotes, at character 5"},
		{`{{ now() }}`, "!now is no function"},
		{`{{ now.noon }}`, "!now has no part noon"},
		{`{{ value = 5 }}`, "!write =="},
		{`{{ 1 + }}`, "!something is missing at its end"},
		{`{{ "a }}`, "!{{ is not closed"},
		{`{{ upper(5) }}`, "!upper takes a text, not a number"},
	}
	e := &Engine{}
	in := &given{engine: e, vars: map[string]any{"text": "x", "list": []any{"a", "b"}, "map": map[string]any{"inner": 5.0}}}
	for _, tt := range tests {
		got, err := e.fill(tt.template, in)
		if part, bad := strings.CutPrefix(tt.want, "!"); bad && (err == nil || !strings.Contains(err.Error(), part)) || !bad && (err != nil || got != tt.want) {
			t.Errorf("fill(%q) = %q, %v, want %q", tt.template, got, err, tt.want)
		}
	}
	if _, err := compile("5 + 5", true); err == nil || !strings.Contains(err.Error(), "neither true nor false, but a number") {
		t.Errorf("a number as a condition says %v", err)
	}
	for _, text := range []string{"vars.none", "vars.text", "vars.none > 5"} {
		s := &scene{engine: e}
		if r, _ := s.expression(text, func() *given { return in }); r != Unknown {
			t.Errorf("the condition %s is %v, want unknown", text, r)
		}
	}
}

// TestVariablesOfParts keeps lists and maps as JSON has them.
func TestVariablesOfParts(t *testing.T) {
	e := &Engine{}
	in := &given{engine: e, payload: `{"list": [1, {"a": "b"}]}`}
	v, err := e.resolveAny(Text("{{ data.list }}"), in)
	if list, ok := v.([]any); err != nil || !ok || len(list) != 2 || list[1].(map[string]any)["a"] != "b" {
		t.Errorf("a list is kept as %v, %v", v, err)
	}
	if _, err := e.resolveAny(Text(`{{ [replace("`+strings.Repeat("a", 1500)+`", "a", "bbb")] }}`), in); err == nil || !strings.Contains(err.Error(), "at most 4096 bytes") {
		t.Errorf("a long list says %v", err)
	}
	if v, err := e.resolveAny(Value(devices.TextValue("x{{ 1 }}")), in); v != "x1" || err != nil {
		t.Errorf("a text is kept as %v, %v", v, err)
	}
}
