package topic

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// matchPlainly is the oracle: section 4.7 word for word.
func matchPlainly(filter, name string) bool {
	f, n := strings.Split(filter, "/"), strings.Split(name, "/")
	if strings.HasPrefix(name, "$") && (f[0] == "#" || f[0] == "+") {
		return false
	}
	for i := range f {
		if f[i] == "#" {
			return true
		}
		if i == len(n) || f[i] != "+" && f[i] != n[i] {
			return false
		}
	}
	return len(f) == len(n)
}

// text turns fuzz bytes into few different characters, so that names meet.
func text(b byte) string { return string("/a-0$%/"[b%7]) }

// FuzzIndexes plays sets, deletions and matches against a Tree, a Names and a
// plain map, and demands the same answers.
func FuzzIndexes(f *testing.F) {
	f.Add([]byte("\x00a/b\xffa/+\xfea/b\x01"))
	f.Add([]byte(strings.Repeat("0123456789", 20)))
	f.Fuzz(func(t *testing.T, script []byte) {
		if len(script) <= 400 {
			play(t, script)
		}
	})
}

// TestIndexes plays random scripts as FuzzIndexes does.
func TestIndexes(t *testing.T) {
	random := rand.NewChaCha8([32]byte{1})
	script := make([]byte, 300)
	for range 300 {
		random.Read(script)
		play(t, script)
	}
}

// play does what each six bytes of script say, and compares.
func play(t *testing.T, script []byte) {
	type at struct {
		filter string
		key    int
	}
	var tree Tree[int, int]
	var names Names[int]
	filters, stored := map[at]int{}, map[string]int{}
	for i := 0; i+6 <= len(script); i += 6 {
		op, key := script[i]%4, int(script[i]/4%20)
		var filter, name string
		for _, b := range script[i+1 : i+6] {
			switch c := b / 7 % 8; c {
			case 0:
				filter += "/+/"
			case 1:
				filter += "/#"
			default:
				filter += text(b)
			}
			name += text(b)
		}
		filter = strings.ReplaceAll(strings.TrimPrefix(filter, "/"), "//", "/")
		if ValidName(name) != nil {
			t.Fatalf("ValidName(%q) fails", name)
		}
		if ValidFilter(filter) == nil {
			old, there := filters[at{filter, key}]
			switch op {
			case 0:
				got, ok := tree.Delete(filter, key)
				if got != old || ok != there {
					t.Fatalf("Delete(%q, %d) = %d, %v, want %d, %v", filter, key, got, ok, old, there)
				}
				delete(filters, at{filter, key})
			default:
				got, ok := tree.Set(filter, key, i)
				if got != old || ok != there {
					t.Fatalf("Set(%q, %d) = %d, %v, want %d, %v", filter, key, got, ok, old, there)
				}
				filters[at{filter, key}] = i
			}
			got, ok := tree.Get(filter, key)
			if want, there := filters[at{filter, key}]; got != want || ok != there {
				t.Fatalf("Get(%q, %d) = %d, %v, want %d, %v", filter, key, got, ok, want, there)
			}
			if Match(filter, name) != matchPlainly(filter, name) {
				t.Fatalf("Match(%q, %q) = %v", filter, name, Match(filter, name))
			}
		}
		old, there := stored[name]
		if op == 1 {
			if got, ok := names.Delete(name); got != old || ok != there {
				t.Fatalf("Names.Delete(%q) = %d, %v, want %d, %v", name, got, ok, old, there)
			}
			delete(stored, name)
		} else {
			if got, ok := names.Set(name, i); got != old || ok != there {
				t.Fatalf("Names.Set(%q) = %d, %v, want %d, %v", name, got, ok, old, there)
			}
			stored[name] = i
		}
		checkTree(t, &tree.root, true)

		want, got := map[at]int{}, map[at]int{}
		for k, v := range filters {
			if matchPlainly(k.filter, name) {
				want[k] = v
			}
		}
		tree.Match(name, func(key, v int) {
			for k, w := range filters {
				if k.key == key && w == v {
					if _, twice := got[k]; twice {
						t.Fatalf("%v matched twice", k)
					}
					got[k] = v
				}
			}
		})
		if !maps.Equal(got, want) {
			t.Fatalf("Tree.Match(%q) = %v, want %v of %v", name, got, want, filters)
		}
		if ValidFilter(filter) == nil {
			checkNames(t, &names, stored, filter)
		}
	}
	if tree.Len() != len(filters) || names.Len() != len(stored) {
		t.Fatalf("lengths %d and %d, want %d and %d", tree.Len(), names.Len(), len(filters), len(stored))
	}
	for k := range filters {
		tree.Delete(k.filter, k.key)
	}
	if tree.root.children() != 0 || tree.Len() != 0 {
		t.Fatalf("a tree whose values are gone still has nodes")
	}
}

// checkTree demands that every node branches or holds values.
func checkTree(t *testing.T, n *node[int, int], root bool) {
	if !root && n.entries.len() == 0 && n.children() < 2 {
		t.Fatalf("node %q is idle", n.label)
	}
	children := slices.Collect(maps.Values(n.literals))
	for _, c := range append(children, n.plus, n.hash) {
		if c != nil {
			checkTree(t, c, false)
		}
	}
}

// checkNames demands that a match in one go and one in slices give, in order,
// what the oracle gives.
func checkNames(t *testing.T, names *Names[int], stored map[string]int, filter string) {
	var want, whole, sliced []string
	for _, name := range slices.Sorted(maps.Keys(stored)) {
		if matchPlainly(filter, name) {
			want = append(want, name)
		}
	}
	names.Match(filter, "", len(stored)+1, func(name string, _ int) bool {
		whole = append(whole, name)
		return true
	})
	after, done := "", false
	for calls := 0; !done; calls++ {
		if calls > 2*len(stored)+2 {
			t.Fatalf("Names.Match(%q) does not end", filter)
		}
		after, done = names.Match(filter, after, 1+calls%2, func(name string, _ int) bool {
			sliced = append(sliced, name)
			return len(sliced)%3 != 0
		})
	}
	if !slices.Equal(whole, want) || !slices.Equal(sliced, want) {
		t.Fatalf("Names.Match(%q) = %q and in slices %q, want %q", filter, whole, sliced, want)
	}
}

func FuzzValid(f *testing.F) {
	f.Add("a/+/#")
	f.Add("$share/g/a")
	f.Fuzz(func(t *testing.T, s string) {
		if ValidName(s) == nil {
			if ValidFilter(s) != nil && !strings.HasPrefix(s, "$share/") {
				t.Fatalf("%q is a name but no filter", s)
			}
			if !strings.HasPrefix(s, "$") && !(Match(s, s) && Match("#", s)) {
				t.Fatalf("%q does not match itself", s)
			}
		}
		if _, rest, shared, err := Share(s); err == nil && shared && (ValidFilter(s) == nil) != (ValidFilter(rest) == nil) && len(s) <= MaxLength && strings.Count(s, "/") <= MaxSeparators {
			if ValidFilter(rest) != nil || ValidName(strings.NewReplacer("+", "", "#", "").Replace(s)) == nil && !strings.HasPrefix(rest, "$share/") {
				t.Fatalf("%q: the shared filter and its rest are not equally valid", s)
			}
		}
	})
}

// TestNamesBlocks goes past many block boundaries both ways.
func TestNamesBlocks(t *testing.T) {
	var names Names[int]
	const n = 20_000
	for i := range n {
		k := i * 7919 % n
		names.Set(fmt.Sprintf("home/%05d/state", k), k)
	}
	i := 0
	names.Visit("", func(name string, v int) bool {
		if v != i {
			t.Fatalf("at %d: %q = %d", i, name, v)
		}
		i++
		return true
	})
	if i != n || names.Len() != n {
		t.Fatalf("visited %d of %d, want %d", i, names.Len(), n)
	}
	for i := range n {
		if i%50 != 0 {
			names.Delete(fmt.Sprintf("home/%05d/state", i))
		}
	}
	if got, want := len(names.blocks), 12; names.Len() != n/50 || got > want {
		t.Errorf("%d names in %d blocks, want %d in at most %d", names.Len(), got, n/50, want)
	}
	if v, ok := names.Get("home/00050/state"); !ok || v != 50 {
		t.Errorf("Get = %d, %v, want 50, true", v, ok)
	}
}
