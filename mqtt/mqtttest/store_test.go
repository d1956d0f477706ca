package mqtttest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
)

var _ mqtt.Store = (*Store)(nil)

func set(key, value string) mqtt.Write {
	return mqtt.Write{Key: []byte(key), Value: []byte(value)}
}

func dump(s *Store) string {
	var b strings.Builder
	s.Scan(nil, nil, func(k, v []byte) bool {
		fmt.Fprintf(&b, "%s=%s ", k, v)
		return true
	})
	return strings.TrimSpace(b.String())
}

func TestCommitsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := NewStore()
		var told []uint64
		s.Durable(func(n uint64) { told = append(told, n) })

		s.Submit(1, []mqtt.Write{set("a", "1")}, true)
		synctest.Wait()
		s.Submit(2, []mqtt.Write{set("b", "2")}, false)
		synctest.Wait()
		if got, want := dump(s), "a=1"; got != want {
			t.Errorf("before the ride along: %q, want %q", got, want)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		s.Lazy([]mqtt.Write{set("c", "3"), set("a", "old")})
		s.Submit(3, []mqtt.Write{set("a", "new")}, true)
		synctest.Wait()
		if got, want := dump(s), "a=new b=2"; got != want {
			t.Errorf("before the lazy write: %q, want %q", got, want)
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if got, want := dump(s), "a=new b=2 c=3"; got != want {
			t.Errorf("at the end: %q, want %q", got, want)
		}
		if want := []uint64{1, 2, 3}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
	})
}

func TestHoldAndRelease(t *testing.T) {
	s := NewStore()
	var told []uint64
	s.Durable(func(n uint64) { told = append(told, n) })
	s.Hold()
	for n := range uint64(5) {
		s.Submit(n+1, []mqtt.Write{set("n", fmt.Sprint(n+1))}, true)
	}
	s.Release(0)
	s.Release(3)
	if got, want := dump(s), "n=3"; got != want {
		t.Errorf("after Release(3): %q, want %q", got, want)
	}
	s.Resume()
	if want := []uint64{3, 5}; !slices.Equal(told, want) {
		t.Errorf("told %v, want %v", told, want)
	}
}

func TestCutAndReopen(t *testing.T) {
	s := NewStore()
	s.Hold()
	s.CutAfter(2)
	s.Submit(1, []mqtt.Write{set("a", "1"), set("z", "1")}, true)
	s.Submit(2, []mqtt.Write{set("a", "2"), {Key: []byte("z")}}, true)
	s.Lazy([]mqtt.Write{set("l", "2")})
	s.Submit(3, []mqtt.Write{set("a", "3")}, true)
	s.Lazy([]mqtt.Write{set("l", "3")})
	s.Flush()

	tests := []struct {
		name string
		got  *Store
		want string
	}{
		{"reopened with lazies", s.Reopen(true), "a=2 l=2"},
		{"reopened without", s.Reopen(false), "a=2"},
		{"at turn 1", s.At(1, false), "a=1 z=1"},
		{"at turn 3", s.At(3, true), "a=3 l=3"},
	}
	for _, tt := range tests {
		if got := dump(tt.got); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
	if got, want := s.Turns(), []uint64{1, 2, 3}; !slices.Equal(got, want) {
		t.Errorf("Turns() = %v, want %v", got, want)
	}
}

func TestStrictness(t *testing.T) {
	changed := []byte("1")
	tests := []struct {
		name string
		do   func(s *Store)
	}{
		{"numbers go back", func(s *Store) { s.Submit(2, nil, true); s.Submit(2, nil, true) }},
		{"no key", func(s *Store) { s.Submit(1, []mqtt.Write{{}}, true) }},
		{"too many writes", func(s *Store) { s.Submit(1, slices.Repeat([]mqtt.Write{set("a", "")}, MaxWrites+1), true) }},
		{"too many bytes", func(s *Store) {
			s.Submit(1, slices.Repeat([]mqtt.Write{set("a", strings.Repeat("x", 1<<10))}, 512), true)
		}},
		{"changed after Submit", func(s *Store) {
			s.Submit(1, []mqtt.Write{{Key: []byte("a"), Value: changed}}, true)
			changed[0] = '2'
			s.Flush()
		}},
	}
	for _, tt := range tests {
		s := NewStore()
		s.Hold()
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s: no panic", tt.name)
				}
			}()
			tt.do(s)
		}()
	}
}

func TestScan(t *testing.T) {
	s := NewStore()
	s.Submit(1, []mqtt.Write{set("a/1", ""), set("b/1", "x"), set("b/2", "y"), set("b/3", "z"), set("c", "")}, false)
	s.Flush()
	var got []string
	var kept []byte
	s.Scan([]byte("b/"), []byte("b/2"), func(k, v []byte) bool {
		got = append(got, string(k)+string(v))
		kept = v
		return len(got) < 2
	})
	if want := []string{"b/2y", "b/3z"}; !slices.Equal(got, want) {
		t.Errorf("Scan visited %v, want %v", got, want)
	}
	if string(kept) == "z" {
		t.Error("Scan lent a value that can be kept")
	}
	want := errors.New("full")
	if s.Fail(want); s.Ready() != want {
		t.Errorf("Ready() = %v, want %v", s.Ready(), want)
	}
}
