package topic

import (
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestManyKeys grows and shrinks one filter past the point where an index is
// kept, against a plain map.
func TestManyKeys(t *testing.T) {
	var tree Tree[int, int]
	want := map[int]int{}
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 20_000 {
		key := random.IntN(100)
		// Waves: mostly sets, then mostly deletions.
		if random.IntN(10) < 2+8*(i/500%2) {
			old, ok := tree.Delete("a/#", key)
			if w, there := want[key]; old != w || ok != there {
				t.Fatalf("Delete(%d) = %d, %v, want %d, %v", key, old, ok, w, there)
			}
			delete(want, key)
		} else {
			old, ok := tree.Set("a/#", key, i)
			if w, there := want[key]; old != w || ok != there {
				t.Fatalf("Set(%d) = %d, %v, want %d, %v", key, old, ok, w, there)
			}
			want[key] = i
		}
		if tree.Len() != len(want) {
			t.Fatalf("Len() = %d, want %d", tree.Len(), len(want))
		}
		if i%100 == 0 {
			got := map[int]int{}
			tree.Match("a", func(k, v int) { got[k] = v })
			if !maps.Equal(got, want) {
				t.Fatalf("Match = %v, want %v", got, want)
			}
		}
	}
}

// TestDeepFilters shows that depth costs no more than length: the worst that
// the bounds let one client of 10,000 subscriptions make (SEC-08).
func TestDeepFilters(t *testing.T) {
	var tree Tree[int, bool]
	deep := strings.Repeat("+/", MaxSeparators) + "#"
	nodes := 0
	for i := range 1000 {
		// Filters that part from each other at every depth.
		at := 2 * (i % MaxSeparators)
		tree.Set(deep[:at]+string(rune('a'+i/MaxSeparators))+deep[at+1:], i, true)
	}
	var count func(n *node[int, bool])
	count = func(n *node[int, bool]) {
		nodes++
		for _, c := range n.literals {
			count(c)
		}
		for _, c := range []*node[int, bool]{n.plus, n.hash} {
			if c != nil {
				count(c)
			}
		}
	}
	count(&tree.root)
	if nodes > 2*tree.Len()+1 {
		t.Errorf("%d filters take %d nodes, want at most two each", tree.Len(), nodes)
	}
	matches := 0
	tree.Match(strings.Repeat("a/", MaxSeparators)+"a", func(int, bool) { matches++ })
	if want := MaxSeparators; matches != want {
		t.Errorf("%d matches, want %d", matches, want)
	}
}

func TestMatchStops(t *testing.T) {
	var names Names[int]
	for i, name := range []string{"$SYS/a", "a", "a-b/c", "a/b", "a/c", "a0", "b/c"} {
		names.Set(name, i)
	}
	var got []string
	next, done := names.Match("a/#", "", 100, func(name string, _ int) bool {
		got = append(got, name)
		return len(got) < 2
	})
	if next != "a/b" || done || strings.Join(got, " ") != "a a/b" {
		t.Errorf("Match stopped at %q, %v with %q", next, done, got)
	}
	names.Delete(next) // the place is kept even so
	next, done = names.Match("a/#", next, 100, func(name string, _ int) bool { got = append(got, name); return true })
	if !done || strings.Join(got, " ") != "a a/b a/c" {
		t.Errorf("Match went on to %q, %v with %q", next, done, got)
	}
	var visited []string
	names.Visit("a", func(name string, _ int) bool { visited = append(visited, name); return name != "a/c" })
	if got, want := strings.Join(visited, " "), "a-b/c a/c"; got != want {
		t.Errorf("Visit gives %q, want %q", got, want)
	}
}
