package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestRulesCommand(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	const rule = "name: Bell\ntriggers: [{message: {filter: door}}]\nactions: [{publish: {topic: bell}}]\n"
	good, bad := write("good.yaml", rule), write("bad.yaml", rule+"mod: single\n")
	passes := write("passes.yaml", "test: rings\ngiven: {rules: [good.yaml]}\nwhen: [{at: +1m, publish: door}]\nthen: [{at: +1m, expect: bell}]\n")
	fails := write("fails.yaml", "test: is still\ngiven: {rules: [good.yaml]}\nwhen: [{at: +1m, publish: door}]\nthen: [{forbid: bell}]\n")
	tests := []struct {
		args []string
		code int
		out  string
	}{
		{[]string{"rules", "check", good}, 0, "1 rule, 0 errors\n"},
		{[]string{"rules", "check", good, bad}, 1, `bad.yaml:4:1: mod: There is no key "mod" here; is it "mode"?` + "\n2 rules, 1 error\n"},
		{[]string{"rules", "check", "--json", bad}, 1, `"line":4,"column":1,"path":"mod","text":"There is no key \"mod\" here; is it \"mode\"?"}`},
		{[]string{"rules", "check", filepath.Join(dir, "none.yaml")}, 2, ""},
		{[]string{"rules", "check"}, 2, ""},
		{[]string{"rules", "chek", good}, 2, ""},
		{[]string{"rules", "test", passes}, 0, "passes.yaml:1: rings\n1 test, 0 failed\n"},
		{[]string{"rules", "test", passes, fails}, 1, "FAIL  " + fails + ":1: is still\n      " + fails + ":4:8: then[0]: forbid bell: it left at 2026-03-02 12:01:00\n" +
			"      left: 2026-03-02 12:01:00  bell\n      runs: 2026-03-02 12:01:00  bell  done: message on door\n2 tests, 1 failed\n"},
		{[]string{"rules", "test", "--json", fails}, 1, `"ok":false,"errors":[{"line":4,"column":8,"path":"then[0]"`},
		{[]string{"rules", "test", good}, 1, `There is no key "actions" here`},
	}
	for _, tt := range tests {
		var out, errs bytes.Buffer
		code := run(tt.args, nil, &out, &errs)
		if code != tt.code || !strings.Contains(out.String(), tt.out) || code == 2 && errs.Len() == 0 {
			t.Errorf("lar %s ends with %d and says\n%s%swant %d and\n%s", strings.Join(tt.args, " "), code, &out, &errs, tt.code, tt.out)
		}
	}
}
