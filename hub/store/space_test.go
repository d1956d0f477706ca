package store

import (
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"lar.home/mqtt"
)

// eventually waits for what another goroutine does at its own pace.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("%s: not within 20 s", what)
		}
	}
}

func TestSpaceGuard(t *testing.T) {
	var free atomic.Uint64
	o := testOptions(t, t.TempDir())
	o.Space = Space{
		Low: 4000, Critical: 2000, Minimum: 100, Ballast: 1 << 20, Every: time.Millisecond,
		Free: func(string) (uint64, error) { return free.Load(), nil },
	}
	ballast := filepath.Join(o.Dir, "ballast")
	size := func() int64 {
		info, err := os.Stat(ballast)
		if err != nil {
			return -1
		}
		return info.Size()
	}

	free.Store(5000) // enough, but not for a ballast
	s := open(t, o)
	if s.Ready() != nil || s.Low() {
		t.Errorf("Ready() = %v, Low() = %v with space", s.Ready(), s.Low())
	}
	free.Store(3000)
	eventually(t, "low", s.Low)
	if s.Ready() != nil {
		t.Errorf("Ready() = %v when space is low", s.Ready())
	}
	free.Store(1999)
	eventually(t, "not ready", func() bool { return s.Ready() != nil })
	if size() >= 0 {
		t.Error("a ballast was made without space")
	}
	free.Store(4000 + 2<<20)
	eventually(t, "ready again", func() bool { return s.Ready() == nil && !s.Low() })
	eventually(t, "ballast", func() bool { return size() == 1<<20 })
	commit(t, s, 1, set("a", "1"))
	shut(t, s)

	free.Store(1999) // the start needs the ballast
	s = open(t, o)
	if size() >= 0 {
		t.Error("the ballast was not given up")
	}
	if s.Ready() == nil {
		t.Error("ready without space")
	}
	if got := contents(t, s, "", ""); got != "a=1" {
		t.Errorf("records %q", got)
	}
	shut(t, s)

	free.Store(99)
	s = open(t, o) // too little to open the database: it is read
	if full, ok := errors.AsType[*FullError](s.Ready()); !ok || full.Free != 99 {
		t.Errorf("Ready() = %v of a full disk, want a FullError", s.Ready())
	}
	if got := contents(t, s, "", ""); got != "a=1" {
		t.Errorf("records %q on a full disk", got)
	}
	s.Submit(1, []mqtt.Write{set("b", "1")}, true)
	free.Store(5000)
	eventually(t, "ready again", func() bool { return s.Ready() == nil })
	commit(t, s, 2, set("c", "1"))
	if got := contents(t, s, "", ""); got != "a=1 b=1 c=1" {
		t.Errorf("records %q when there is space again", got)
	}
	shut(t, s)

	free.Store(99)
	o.Dir = t.TempDir()
	if _, err := Open(o); !full(err) {
		t.Errorf("Open of an empty folder on a full disk: %v, want a FullError", err)
	}
}

// TestSpaceOfAFastWriter: much that is written is looked after at once.
func TestSpaceOfAFastWriter(t *testing.T) {
	var looks atomic.Int32
	o := testOptions(t, t.TempDir())
	o.Space.Every = time.Hour
	o.Space.Free = func(string) (uint64, error) {
		if looks.Add(1) > 1 {
			return 50 << 20, nil
		}
		return 1 << 30, nil
	}
	s := open(t, o)
	number := uint64(0)
	for s.Ready() == nil && number < 100 {
		number++
		commit(t, s, number, mqtt.Write{Key: []byte("k"), Value: make([]byte, 1<<20)})
	}
	if number > 2*lookAfter>>20 {
		t.Errorf("%d MiB were written before the space was looked at", number)
	}
}

func TestBallastIsReallyWritten(t *testing.T) {
	o := testOptions(t, t.TempDir())
	o.Space = Space{Ballast: 1 << 20, Low: 1, Critical: 1, Minimum: 1}
	before, err := free(o.Dir)
	if err != nil {
		t.Fatal(err)
	}
	if before < 64<<20 {
		t.Fatalf("this disk has only %d bytes free", before)
	}
	s := open(t, o)
	path := filepath.Join(o.Dir, "ballast")
	eventually(t, "ballast", func() bool { _, err := os.Stat(path); return err == nil })
	shut(t, s)
	if n := blocks(t, path); n < 1<<20 {
		t.Errorf("the ballast takes %d bytes of the disk, want %d", n, 1<<20)
	}
}

func TestUnusableFolders(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{file, filepath.Join(file, "below"), "/proc/lar"} {
		if s, err := Open(testOptions(t, dir)); err == nil {
			t.Errorf("Open(%q) succeeded", dir)
			shut(t, s)
		}
	}
}

// blocks returns how many bytes of the disk a file takes.
func blocks(t *testing.T, path string) int64 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		t.Fatal(err)
	}
	return st.Blocks * 512
}
