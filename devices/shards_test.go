package devices

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestShards holds the map to Go's own, and older versions to what they were.
func TestShards(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var s shards[int]
	want := map[string]int{}
	type version struct {
		s    shards[int]
		want map[string]int
	}
	var versions []version
	for range 200 {
		e := s.edit()
		next := map[string]int{}
		for k, v := range want {
			next[k] = v
		}
		for range r.IntN(20) {
			k, v := fmt.Sprint(r.IntN(500)), r.IntN(1000)
			if r.IntN(3) == 0 {
				e.delete(k)
				delete(next, k)
			} else {
				e.set(k, v)
				next[k] = v
			}
			if e.get(k) != next[k] {
				t.Fatalf("%s is %d in the edit, want %d", k, e.get(k), next[k])
			}
		}
		s, want = e.done(), next
		versions = append(versions, version{s, want})
	}
	for i, v := range versions {
		if v.s.len() != len(v.want) {
			t.Fatalf("version %d has %d keys, want %d", i, v.s.len(), len(v.want))
		}
		for k, n := range v.want {
			if v.s.get(k) != n {
				t.Fatalf("version %d: %s is %d, want %d", i, k, v.s.get(k), n)
			}
		}
	}
}
