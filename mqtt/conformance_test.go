package mqtt_test

import (
	"encoding/csv"
	"flag"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// update has the tests rewrite their files in testdata.
var update = flag.Bool("update", false, "rewrite testdata")

// shows runs a test of statements of the standard, in a bubble with a house.
// keys names them as column testkey of testdata/statements.tsv does, with
// spaces between; so the test is found by go test -run.
func shows(t *testing.T, keys string, test func(t *testing.T, h *house), change ...func(*mqtt.Config)) {
	t.Helper()
	t.Run(strings.ReplaceAll(keys, " ", ","), func(t *testing.T) { inBubble(t, test, change...) })
}

// showsBoth is shows for statements of 5.0 and what 3.1.1 says of the same.
func showsBoth(t *testing.T, keys5, keys311 string, test func(t *testing.T, h *house, v packet.Version), change ...func(*mqtt.Config)) {
	t.Helper()
	shows(t, keys5, func(t *testing.T, h *house) { test(t, h, v5) }, change...)
	shows(t, keys311, func(t *testing.T, h *house) { test(t, h, v311) }, change...)
}

// limits changes the limits of a house.
func limits(l mqtt.Limits) func(*mqtt.Config) {
	return func(c *mqtt.Config) { c.Limits = l }
}

// A statement is a row of testdata/statements.tsv.
type statement struct {
	key, text, priority, chapter string
	ofServer                     bool
}

func statements(t *testing.T) map[string]statement {
	f, err := os.Open("testdata/statements.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.LazyQuotes = '\t', true
	rows, err := r.ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	all := make(map[string]statement)
	for _, row := range rows[1:] {
		s := statement{key: row[9], text: row[4], priority: row[6], ofServer: row[3] != "client-only"}
		part := strings.Split(s.key, "_")
		s.chapter = part[0]
		if part[0][0] == 'V' {
			s.chapter += " " + part[1]
			if part[1] == "3" || part[1] == "4" {
				s.chapter += "." + part[2]
			}
		}
		all[s.key] = s
	}
	return all
}

var statementKey = regexp.MustCompile(`^(V5|V311|X5|X3|SEC)_[0-9A-Z_]+$`)

// namedStatements returns the keys that tests name, and where.
func namedStatements(t *testing.T, dirs ...string) map[string]string {
	named := make(map[string]string)
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range files {
			fset := token.NewFileSet()
			f, err := parser.ParseFile(fset, name, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(f, func(n ast.Node) bool {
				if lit, ok := n.(*ast.BasicLit); ok && lit.Kind == token.STRING {
					text, _ := strconv.Unquote(lit.Value)
					for _, word := range strings.Fields(text) {
						if statementKey.MatchString(word) {
							named[word] = fset.Position(lit.Pos()).String()
						}
					}
				}
				return true
			})
		}
	}
	for _, v := range vectors(t) {
		for _, key := range v.keys {
			named[key] = "testdata/vectors.tsv"
		}
	}
	return named
}

// TestCoverage counts which statements have a test, by chapter, and fails for
// one that does not exist. With -v it lists those without.
func TestCoverage(t *testing.T) {
	all := statements(t)
	if len(all) != 477 {
		t.Errorf("%d statements, want 477", len(all))
	}
	named := namedStatements(t, ".", "packet", "topic")
	for key, where := range named {
		if _, ok := all[key]; !ok {
			t.Errorf("%s: there is no statement %s", where, key)
		}
	}
	type count struct{ covered, total int }
	chapters := make(map[string]*count)
	priorities := make(map[string]*count)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		s := all[key]
		if !s.ofServer {
			continue
		}
		for _, c := range []struct {
			in   map[string]*count
			name string
		}{{chapters, s.chapter}, {priorities, s.priority}} {
			if c.in[c.name] == nil {
				c.in[c.name] = &count{}
			}
			c.in[c.name].total++
			if named[key] != "" {
				c.in[c.name].covered++
			}
		}
		if named[key] == "" && testing.Verbose() {
			t.Logf("%s %s: %s", s.priority, key, s.text)
		}
	}
	var line strings.Builder
	for _, in := range []map[string]*count{priorities, chapters} {
		for _, name := range slices.Sorted(maps.Keys(in)) {
			fmt.Fprintf(&line, "%s: %d/%d  ", name, in[name].covered, in[name].total)
		}
		line.WriteByte('\n')
	}
	t.Logf("statements with a test\n%s", line.String())
}
