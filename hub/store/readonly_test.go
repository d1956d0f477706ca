package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"

	"lar.home/mqtt"
)

// readOnly returns options for a folder in which nothing can be written until
// the switch is thrown.
func readOnly(t testing.TB, dir string) (o Options, writableNow *atomic.Bool) {
	o = testOptions(t, dir)
	writableNow = new(atomic.Bool)
	o.try = func(dir string) error {
		if writableNow.Load() {
			return writable(dir)
		}
		return &os.PathError{Op: "open", Path: dir, Err: unix.EROFS}
	}
	return o, writableNow
}

// files returns what lies in a folder.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		found[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestReadOnlyFolder reads a folder as a killed process left it on a disk that
// has become read-only: all that is there, nothing of it changed; turns wait,
// and reach the disk once it can be written.
func TestReadOnlyFolder(t *testing.T) {
	dir := undamaged(t)
	if err := os.WriteFile(lockFile(dir), []byte("1\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	before := files(t, dir)
	o, writableNow := readOnly(t, dir)
	s := open(t, o)
	if small, big, log := kept(t, s); small != damageSmall || big != damageBig || log != 200 {
		t.Errorf("%d, %d and %d records are shown, want %d, %d and 200", small, big, log, damageSmall, damageBig)
	}
	for _, tt := range []struct {
		prefix, from, first string
		n                   int
	}{
		{"s", "", "s000000", 5000}, {"s", "s004990", "s004990", 10}, {"s0012", "", "s001200", 100}, {"s0012", "s001250x", "s001251", 49},
		{"w", "w199", "w199", 1}, {"gone", "", "", 0}, {"zzz", "", "", 0}, {"s", "t", "", 0}, {"b", "a", "b0", damageBig},
	} {
		n, first := 0, ""
		if err := s.Scan([]byte(tt.prefix), []byte(tt.from), func(k, _ []byte) bool {
			if n == 0 {
				first = string(k)
			}
			n++
			return true
		}); err != nil || n != tt.n || first != tt.first {
			t.Errorf("Scan(%q, %q) visits %d from %q, %v, want %d from %q", tt.prefix, tt.from, n, first, err, tt.n, tt.first)
		}
	}
	if err := s.Ready(); !errors.Is(err, unix.EROFS) || err.Error() != "disk is read-only" {
		t.Errorf("Ready: %v", err)
	}
	if other, err := Open(o); err == nil {
		shut(t, other)
		t.Error("a second store has opened the folder")
	} else if _, ok := errors.AsType[*LockedError](err); !ok {
		t.Errorf("a second store: %v, want a LockedError", err)
	}

	var durable atomic.Uint64
	s.Durable(func(n uint64) { durable.Store(n) })
	s.Submit(1, []mqtt.Write{set("new", "1"), {Key: []byte("w000")}}, true)
	s.Submit(2, []mqtt.Write{set("new", "2")}, false)
	eventually(t, "two tries", func() bool { return s.Stats().Failures >= 2 })
	if n := durable.Load(); n != 0 {
		t.Errorf("turn %d is said to be durable", n)
	}
	if after := files(t, dir); len(after) != len(before) {
		t.Errorf("%d files, there were %d", len(after), len(before))
	} else {
		for name, data := range after {
			if data != before[name] && filepath.Base(name) != "lock" { // which is no part of what is read
				t.Errorf("%s was changed", name)
			}
		}
	}

	writableNow.Store(true)
	eventually(t, "both turns on disk", func() bool { return durable.Load() == 2 && s.Ready() == nil })
	if got := contents(t, s, "new", ""); got != "new=2" {
		t.Errorf("records %q", got)
	}
	if small, big, log := kept(t, s); small != damageSmall || big != damageBig || log != 199 {
		t.Errorf("%d, %d and %d records afterwards, want %d, %d and 199", small, big, log, damageSmall, damageBig)
	}
	commit(t, s, 3, set("more", "1"))
	shut(t, s)
	s = open(t, testOptions(t, dir))
	if got := contents(t, s, "new", "") + " " + contents(t, s, "more", ""); got != "new=2 more=1" {
		t.Errorf("after a new start: %q", got)
	}
}

// TestReadOnlyAndDamaged shows of a damaged database what can be read, and what
// it lost and somebody else still has.
func TestReadOnlyAndDamaged(t *testing.T) {
	dir := undamaged(t)
	tables, _ := filepath.Glob(filepath.Join(dir, "db", "*.sst"))
	if len(tables) == 0 {
		t.Fatal("no table to damage")
	}
	slices.Sort(tables)
	data, err := os.ReadFile(tables[0])
	if err != nil {
		t.Fatal(err)
	}
	for i := range 64 {
		data[len(data)/2+i] ^= 0x55
	}
	if err := os.WriteFile(tables[0], data, 0o600); err != nil {
		t.Fatal(err)
	}
	o, writableNow := readOnly(t, dir)
	s := open(t, o)
	small, _, _ := kept(t, s)
	if small == damageSmall || small < damageSmall-100 {
		t.Errorf("%d records are shown of %d, a block of which is damaged", small, damageSmall)
	}
	if _, lost := s.Rescued(); lost == 0 {
		t.Error("nothing is said to be lost")
	}
	there := map[string]bool{}
	s.Scan([]byte("s"), nil, func(k, _ []byte) bool { there[string(k)] = true; return true })
	for i := range damageSmall {
		if key := fmt.Sprintf("s%06d", i); !there[key] {
			s.Supply([]mqtt.Write{{Key: []byte(key), Value: smallValue(i)}})
		}
	}
	if small, _, _ = kept(t, s); small != damageSmall {
		t.Errorf("%d records are shown with those supplied, want %d", small, damageSmall)
	}
	writableNow.Store(true)
	commit(t, s, 1, set("new", "1"))
	if small, big, log := kept(t, s); small != damageSmall || big != damageBig || log != 200 {
		t.Errorf("%d, %d and %d records once it can be written", small, big, log)
	}
	if len(s.SetAside()) != 1 {
		t.Errorf("set aside: %v", s.SetAside())
	}
}

// TestNothingToRead: a folder that cannot be written and holds nothing is no
// place to start in.
func TestNothingToRead(t *testing.T) {
	o, _ := readOnly(t, t.TempDir())
	if s, err := Open(o); !errors.Is(err, unix.EROFS) {
		t.Errorf("Open: %v, want that it is read-only", err)
		if err == nil {
			shut(t, s)
		}
	}
	if err := os.WriteFile(filepath.Join(o.Dir, "copy.json"), []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	s := open(t, o)
	if got := contents(t, s, "", ""); got != "" {
		t.Errorf("records %q of a folder without a database", got)
	}
	s.Supply([]mqtt.Write{set("a", "1")})
	if got := contents(t, s, "", ""); got != "a=1" {
		t.Errorf("records %q, want what was supplied", got)
	}
	shut(t, s)
}

// TestTurnsReadOnly has the disk become read-only under a store that is open.
func TestTurnsReadOnly(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	commit(t, s, 1, set("a", "1"))
	var bad atomic.Bool
	s.disk.logs.sync = func(f *os.File) error {
		if bad.Load() {
			return unix.EROFS
		}
		return fdatasync(f)
	}
	bad.Store(true)
	told := make(chan uint64, 1)
	s.Durable(func(n uint64) { told <- n })
	s.Submit(2, []mqtt.Write{set("b", "2")}, true)
	eventually(t, "refusal", func() bool { return errors.Is(s.Ready(), unix.EROFS) })
	bad.Store(false)
	if n := <-told; n != 2 {
		t.Errorf("told %d, want 2", n)
	}
	eventually(t, "no refusal", func() bool { return s.Ready() == nil })
}

// TestMerge has a disk take nothing for long while turns come that nobody
// refuses: memory holds the last write of each key, and all of it reaches the
// disk in the end.
func TestMerge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{hang: make(chan struct{})}
		c := newCommitter(d, testOptions(t, "").Log)
		last := uint64(0)
		c.durableFn = func(n uint64) { last = n }
		c.submit(turn{number: 1, writes: []mqtt.Write{set("first", "1")}, soon: true})
		pass(time.Second)
		const keys, rounds = 100, 500
		number := uint64(1)
		for n := range keys * rounds {
			number++
			c.submit(turn{number: number, writes: []mqtt.Write{
				{Key: fmt.Appendf(nil, "k%d", n%keys), Value: fmt.Append(nil, n)}, {Key: []byte("n"), Value: fmt.Append(nil, n)}}})
			if n == 0 {
				pass(2 * waitingAge)
			}
		}
		if c.writes > mergeFrom+1 || len(c.turns) > mergeFrom+1 {
			t.Errorf("%d writes in %d turns wait", c.writes, len(c.turns))
		}
		size := 0
		for _, t := range c.turns {
			size += t.size
		}
		if size != c.size || int64(size) >= c.waiting.Load() {
			t.Errorf("%d bytes wait, counted as %d and, with the group under way, %d", size, c.size, c.waiting.Load())
		}
		d.now(func() { close(d.hang); d.hang = nil })
		if err := c.close(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := c.waiting.Load(); n != 0 || last != number {
			t.Errorf("%d bytes are counted as waiting, turn %d of %d is told to be durable", n, last, number)
		}
		_, got := d.done()
		for k := range keys {
			if want := fmt.Sprint(keys*(rounds-1) + k); got[fmt.Sprint("k", k)] != want {
				t.Errorf("k%d is %s, want %s", k, got[fmt.Sprint("k", k)], want)
			}
		}
	})
}
