package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"lar.home/mqtt"
)

// TestOpensThatEndedTheProcess: damage that kills whoever opens the database is
// met by counting.
func TestOpensThatEndedTheProcess(t *testing.T) {
	for begun := range opensTried + 1 {
		o := testOptions(t, t.TempDir())
		s := open(t, o)
		commit(t, s, 1, set("a", "1"))
		shut(t, s)
		tries := attempts(filepath.Join(o.Dir, "opening"))
		for range begun {
			tries.begin()
		}
		s = open(t, o)
		if got, want := len(s.SetAside()) > 0, begun >= opensTried; got != want {
			t.Errorf("after %d opens that ended the process: set aside %v, want %v", begun, got, want)
		}
		if got := contents(t, s, "", ""); got != "a=1" {
			t.Errorf("after %d opens that ended the process: records %q", begun, got)
		}
		if n := tries.begun(); n != 0 {
			t.Errorf("%d opens are counted after one that succeeded", n)
		}
	}
}

// TestRescueCutShort: a rescue may end before, between and after its renames.
func TestRescueCutShort(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	commit(t, s, 1, set("a", "1"))
	shut(t, s)
	db := filepath.Join(o.Dir, "db")

	copyFolder(t, db, db+".new") // not finished: the old one is in its place
	if err := os.Remove(filepath.Join(db+".new", "MANIFEST")); err != nil {
		t.Fatal(err)
	}
	s = open(t, o)
	if got := contents(t, s, "", ""); got != "a=1" {
		t.Errorf("with an unfinished fresh database: %q", got)
	}
	shut(t, s)

	os.RemoveAll(db + ".new")
	if err := os.Rename(db, db+".new"); err != nil { // finished: the old one is aside
		t.Fatal(err)
	}
	s = open(t, o)
	if got := contents(t, s, "", ""); got != "a=1" {
		t.Errorf("with a finished fresh database: %q", got)
	}
}

func TestFailedSync(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	commit(t, s, 1, set("a", "1"))
	var fail atomic.Bool
	var failed atomic.Int32
	bad := errors.New("input/output error")
	s.disk.logs.sync = func(f *os.File) error {
		if fail.Load() {
			failed.Add(1)
			return bad
		}
		return fdatasync(f)
	}
	fail.Store(true)
	told := make(chan uint64, 1)
	s.Durable(func(n uint64) { told <- n })
	s.Submit(2, []mqtt.Write{set("b", "2")}, true)
	eventually(t, "two tries", func() bool { return failed.Load() >= 2 })
	select {
	case n := <-told:
		t.Errorf("turn %d was told to be durable", n)
	default:
	}
	if err := s.Stats().LastError; !errors.Is(err, bad) {
		t.Errorf("last error %v, want %v", err, bad)
	}
	fail.Store(false)
	if n := <-told; n != 2 {
		t.Errorf("told %d, want 2", n)
	}
	if got := contents(t, s, "", ""); got != "a=1 b=2" {
		t.Errorf("records %q", got)
	}
}

// TestGarbageOfLargeValues replaces large values until their logs are mostly
// garbage, and ends a collection in the middle.
func TestGarbageOfLargeValues(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	for n := range 60 {
		commit(t, s, uint64(n+1), mqtt.Write{Key: fmt.Appendf(nil, "k%d", n%4), Value: noisy(n, 1<<20)})
	}
	shut(t, s) // merges, which is what finds garbage
	s = open(t, o)
	logs := func() map[uint64]string {
		files, err := numberedFiles(filepath.Join(o.Dir, "db"), ".vlog")
		if err != nil {
			t.Fatal(err)
		}
		return files
	}
	check := func(when string) {
		t.Helper()
		n := 0
		s.Scan(nil, nil, func(k, v []byte) bool {
			if want := noisy(56+n, 1<<20); string(v) != string(want) {
				t.Errorf("%s: %s is wrong", when, k)
			}
			n++
			return true
		})
		if n != 4 {
			t.Errorf("%s: %d values, want 4", when, n)
		}
	}
	before := len(logs())
	if err := s.collectOnce(); err != nil {
		t.Fatal(err)
	}
	if after := len(logs()); after >= before {
		t.Errorf("%d value logs after a collection, %d before", after, before)
	}
	check("after a collection")
	shut(t, s)

	// As after a cut before what was moved reached the disk.
	for _, path := range logs() {
		if err := os.Rename(path, path+keptExt); err != nil {
			t.Fatal(err)
		}
	}
	s = open(t, o)
	check("after a collection that was cut short")
	if kept, _ := filepath.Glob(filepath.Join(o.Dir, "db", "*"+keptExt)); len(kept) > 0 {
		t.Errorf("left: %v", kept)
	}
}
