package hub_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "lar.home"

// root is the top of the source tree, seen from here.
const root = ".."

// order is the house from its ground up: a package may import what stands in
// front of it, never what comes after. A folder below one of these stands
// where the folder stands, unless it has a place of its own.
var order = []string{
	"mqtt/topic",
	"mqtt/packet",
	"mqtt",
	"devices",
	"automations",
	"ui/assets",
	"ui/view",
	"ui",
	"hub/store",
	"hub",
	"cmd",
	"packaging",
}

// outside says which folder may use a module of others. Tests may use any of
// them, and those with no folder are for tests only.
var outside = map[string][]string{
	"github.com/dgraph-io/badger/v4":      {"hub/store"},
	"github.com/a-h/templ":                {"ui"},
	"github.com/klauspost/compress":       {"hub/store"},
	"google.golang.org/protobuf":          {"hub/store"},
	"github.com/grandcat/zeroconf":        {"hub"},
	"github.com/miekg/dns":                {"hub"},
	"golang.org/x/crypto":                 {"hub"},
	"golang.org/x/net":                    {"hub", "mqtt", "ui"},
	"golang.org/x/sys":                    {"hub", "mqtt"},
	"go.yaml.in/yaml/v4":                  {"automations"},
	"github.com/pelletier/go-toml/v2":     {"hub/config"},
	"github.com/gorilla/websocket":        {"hub/listen"},
	"github.com/expr-lang/expr":           {"automations"},
	"github.com/chromedp/chromedp":        nil,
	"github.com/chromedp/cdproto":         nil,
	"github.com/eclipse/paho.golang":      nil,
	"github.com/eclipse/paho.mqtt.golang": nil,
}

// topLevel is what a newcomer sees first; dot-files come on top of it.
var topLevel = []string{
	"CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "Makefile", "README.md",
	"automations", "cmd", "devices", "go.mod", "go.sum", "hub", "mqtt", "packaging", "ui",
}

func TestImportOrder(t *testing.T) {
	for _, f := range sources(t) {
		for _, imported := range f.imports {
			if why := forbidden(f.dir, imported, f.test); why != "" {
				t.Errorf("%s imports %s: %s", f.name, imported, why)
			}
		}
	}
}

func TestForbidden(t *testing.T) {
	tests := []struct {
		dir, imported string
		test          bool
		ok            bool
	}{
		{"mqtt", "lar.home/mqtt/packet", false, true},
		{"mqtt/packet", "lar.home/mqtt", false, false},
		{"mqtt/topic", "lar.home/mqtt/packet", false, false},
		{"devices/homeassistant", "lar.home/devices", false, true},
		{"devices", "lar.home/devices/homeassistant", false, true},
		{"devices", "lar.home/automations", false, false},
		{"devices", "lar.home/automations", true, false},
		{"ui/view", "lar.home/automations", false, true},
		{"ui/view", "lar.home/ui", false, false},
		{"ui", "lar.home/hub/store", false, false},
		{"cmd/lar", "lar.home/hub", false, true},
		{"cmd/lar", "lar.home/hub/store", false, false},
		{"devices", "lar.home/mqtt/mqtttest", false, false},
		{"devices", "lar.home/mqtt/mqtttest", true, true},
		{"mqtt", "github.com/dgraph-io/badger/v4", false, false},
		{"hub", "github.com/dgraph-io/badger/v4/options", false, false},
		{"hub/store", "github.com/dgraph-io/badger/v4/options", false, true},
		{"ui", "github.com/chromedp/chromedp", false, false},
		{"ui", "github.com/chromedp/chromedp", true, true},
		{"ui", "github.com/nobody/knows", true, false},
		{"mqtt/packet", "encoding/binary", false, true},
	}
	for _, tt := range tests {
		if why := forbidden(tt.dir, tt.imported, tt.test); (why == "") != tt.ok {
			t.Errorf("forbidden(%q, %q, %v) = %q, want allowed: %v", tt.dir, tt.imported, tt.test, why, tt.ok)
		}
	}
}

func TestTopLevel(t *testing.T) {
	entries, err := os.ReadDir(root)
	if err != nil {
		t.Fatal(err)
	}
	made := []string{"bin", "lar", "lar-data"} // by make and go run; ignored by git
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || slices.Contains(made, name) ||
			strings.HasSuffix(name, ".test") || strings.HasSuffix(name, ".prof") {
			continue
		}
		if !slices.Contains(topLevel, name) {
			t.Errorf("%s stands at the top level, which holds %v", name, topLevel)
		}
	}
}

// forbidden says why a file in dir may not import a package; empty if it may.
func forbidden(dir, imported string, test bool) string {
	testOnly := strings.HasSuffix(path.Base(dir), "test")
	own, ok := strings.CutPrefix(imported, module+"/")
	if !ok {
		if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
			return "" // the standard library
		}
		for mod, dirs := range outside {
			if !within(imported, mod) {
				continue
			}
			if test || testOnly || slices.ContainsFunc(dirs, func(d string) bool { return within(dir, d) }) {
				return ""
			}
			return "only " + strings.Join(append(dirs, "tests"), ", ") + " may"
		}
		return "it is not in the table of modules"
	}
	if strings.HasSuffix(path.Base(own), "test") && !test && !testOnly {
		return "it is for tests only"
	}
	if own == "hub/store" && !within(dir, "hub") {
		return "only hub may"
	}
	from, to := place(dir), place(own)
	switch {
	case from < 0 || to < 0:
		return "it has no place in the order of packages"
	case to > from:
		return order[to] + " comes after " + order[from]
	}
	return ""
}

// place returns where a folder stands in the order, by its longest name there.
func place(dir string) int {
	best := -1
	for i, p := range order {
		if within(dir, p) && (best < 0 || len(p) > len(order[best])) {
			best = i
		}
	}
	return best
}

func within(dir, parent string) bool {
	return dir == parent || strings.HasPrefix(dir, parent+"/")
}

type source struct {
	name, dir string
	test      bool
	imports   []string
}

// sources returns every Go file of the module with what it imports.
func sources(t *testing.T) []source {
	t.Helper()
	var all []source
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		base := d.Name()
		if d.IsDir() && name != root && (strings.HasPrefix(base, ".") || base == "testdata" || base == "lar-data") {
			return filepath.SkipDir
		}
		if d.IsDir() || !strings.HasSuffix(base, ".go") {
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, name)
		if err != nil {
			return err
		}
		s := source{name: rel, dir: filepath.ToSlash(filepath.Dir(rel)), test: strings.HasSuffix(base, "_test.go")}
		for _, spec := range file.Imports {
			p, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			s.imports = append(s.imports, p)
		}
		all = append(all, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 10 {
		t.Fatalf("found %d Go files under %s, so this test looks in the wrong place", len(all), root)
	}
	return all
}
