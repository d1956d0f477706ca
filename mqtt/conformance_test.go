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
	"sync"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// update has the tests rewrite their files in testdata.
var update = flag.Bool("update", false, "rewrite testdata")

// shows runs a test of statements of the standard, in a bubble with a house.
// keys names them as column testkey of testdata/statements.tsv does, with
// spaces between; so the test is found by go test -run. A test in which no
// packet went to the broker and none came back shows nothing.
func shows(t *testing.T, keys string, test func(t *testing.T, h *house), change ...func(*mqtt.Config)) {
	t.Helper()
	t.Run(strings.ReplaceAll(keys, " ", ","), func(t *testing.T) {
		inBubble(t, func(t *testing.T, h *house) {
			test(t, h)
			if h.sent.Load() == 0 || h.got.Load() == 0 {
				t.Errorf("%d packets were sent and %d came back", h.sent.Load(), h.got.Load())
			}
		}, change...)
		shown.add(strings.Fields(keys)...)
	})
}

// shown are the keys whose tests have run.
var shown = shownKeys{keys: make(map[string]bool)}

type shownKeys struct {
	mu   sync.Mutex // guards keys
	keys map[string]bool
}

func (s *shownKeys) add(keys ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range keys {
		s.keys[k] = true
	}
}

// TestMain holds, when all tests were run, that the tests which name a
// statement were among them.
func TestMain(m *testing.M) {
	if name := os.Getenv("LAR_ATTACK"); name != "" {
		attackFromHere(name, os.Getenv("LAR_ATTACKED"))
		return
	}
	code := m.Run()
	all := true
	flag.Visit(func(f *flag.Flag) {
		switch f.Name {
		case "test.run", "test.skip", "test.list", "test.bench", "test.fuzz", "test.fuzzworker":
			all = all && (f.Value.String() == "" || f.Value.String() == "false")
		}
	})
	if code == 0 && all {
		for key, where := range namedIn(".") {
			if !shown.keys[key] {
				fmt.Printf("%s names %s, and no test that ran did\n", where, key)
				code = 1
			}
		}
	}
	os.Exit(code)
}

// notOurs are the statements about a server that are no duty of this one, and
// why.
var notOurs = map[string]string{
	"V311_3_8_3_2": "wildcards are served",
	"V311_7_0_0_1": "it is no client of other servers",
	"X5_SUB_8":     "shared subscriptions, wildcards and subscription identifiers are served",
}

// elsewhere are the packages whose tests name statements too: they need more
// than a broker.
var elsewhere = []string{"../hub"}

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

// namedIn returns the keys that tests of a package name, and where.
func namedIn(dir string) map[string]string {
	named := make(map[string]string)
	files, _ := filepath.Glob(filepath.Join(dir, "*_test.go"))
	for _, name := range files {
		if filepath.Base(name) == "conformance_test.go" {
			continue // which is about all
		}
		fset := token.NewFileSet()
		f, err := parser.ParseFile(fset, name, nil, 0)
		if err != nil {
			panic(err) // it was just compiled
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
	return named
}

// namedStatements returns the keys that tests name, and where.
func namedStatements(t *testing.T) map[string]string {
	named := namedIn(".")
	for _, dir := range elsewhere {
		more := namedIn(dir)
		if len(more) == 0 {
			t.Errorf("no test of %s names a statement", dir)
		}
		maps.Copy(named, more)
	}
	for _, v := range vectors(t) {
		for _, key := range v.keys {
			named[key] = vectorFile
		}
	}
	return named
}

// TestCoverage fails for a statement that is a server's and that no test shows,
// and for one that does not exist. testdata/coverage.txt says how many are
// shown of each chapter.
func TestCoverage(t *testing.T) {
	all := statements(t)
	if len(all) != 477 {
		t.Errorf("%d statements, want 477", len(all))
	}
	named := namedStatements(t)
	for key, where := range named {
		if _, ok := all[key]; !ok {
			t.Errorf("%s: there is no statement %s", where, key)
		}
	}
	type count struct{ covered, total, others int }
	chapters := make(map[string]*count)
	priorities := make(map[string]*count)
	for _, key := range slices.Sorted(maps.Keys(all)) {
		s := all[key]
		if !s.ofServer {
			continue
		}
		why, other := notOurs[key]
		switch {
		case named[key] == "" && !other:
			t.Errorf("no test shows %s %s: %s", s.priority, key, s.text)
		case named[key] != "" && other:
			t.Errorf("%s shows %s, which is said to be no duty of ours: %s", named[key], key, why)
		}
		for _, c := range []struct {
			in   map[string]*count
			name string
		}{{chapters, s.chapter}, {priorities, s.priority}} {
			if c.in[c.name] == nil {
				c.in[c.name] = &count{}
			}
			c.in[c.name].total++
			if other {
				c.in[c.name].others++
			} else if named[key] != "" {
				c.in[c.name].covered++
			}
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%-12s %7s %7s %s\n", "statements", "shown", "total", "no duty of ours")
	for _, in := range []map[string]*count{priorities, chapters} {
		for _, name := range slices.Sorted(maps.Keys(in)) {
			fmt.Fprintf(&b, "%-12s %7d %7d %d\n", name, in[name].covered, in[name].total, in[name].others)
		}
	}
	t.Logf("\n%s", b.String())
	const file = "testdata/coverage.txt"
	if *update {
		if err := os.WriteFile(file, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if want, err := os.ReadFile(file); err != nil || string(want) != b.String() {
		t.Errorf("%s says otherwise (%v): go test ./mqtt -run TestCoverage -update", file, err)
	}
}
