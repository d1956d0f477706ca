package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestDurabilityPage checks that each test which durability.md and history.md
// in packaging/docs name exists: a promise without one is not a promise.
func TestDurabilityPage(t *testing.T) {
	root := filepath.Join("..", "..")
	var page []byte
	for _, name := range []string{"durability.md", "history.md"} {
		text, err := os.ReadFile(filepath.Join(root, "packaging", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		page = append(page, text...)
	}
	there := make(map[string]bool)
	definition := regexp.MustCompile(`(?m)^func (Test\w+)\(t \*testing\.T\)`)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		text, err := os.ReadFile(path)
		for _, m := range definition.FindAllSubmatch(text, -1) {
			there[string(m[1])] = true
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	named := 0
	for _, list := range regexp.MustCompile(`\[(Test[^\]]*)\]`).FindAllSubmatch(page, -1) {
		for name := range strings.SplitSeq(string(list[1]), ",") {
			named++
			if name = strings.TrimSpace(name); !there[name] {
				t.Errorf("the page names %s, which is no test", name)
			}
		}
	}
	if named < 20 {
		t.Errorf("the page names %d tests: they are not found in it", named)
	}
}
