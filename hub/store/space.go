package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// Space sets the space guard. A full disk ends a process that uses Badger (it
// writes through memory maps), so the store stops before. The zero value asks
// for what is usual.
type Space struct {
	Low      uint64        // below it, Low: 128 MiB
	Critical uint64        // below it, not Ready: 64 MiB
	Minimum  uint64        // below it, Open is refused: 8 MiB
	Ballast  int64         // size of the file given up when space is critical at the start: 32 MiB; negative: none
	Every    time.Duration // how often to look: 10 s
	// Free returns the bytes that are free for dir; statfs if nil.
	Free func(dir string) (uint64, error)
}

func (s Space) withDefaults() Space {
	set := func(n *uint64, usual uint64) {
		if *n == 0 {
			*n = usual
		}
	}
	set(&s.Low, 128<<20)
	set(&s.Critical, 64<<20)
	set(&s.Minimum, 8<<20)
	if s.Ballast == 0 {
		s.Ballast = 32 << 20
	}
	if s.Every == 0 {
		s.Every = 10 * time.Second
	}
	if s.Free == nil {
		s.Free = free
	}
	return s
}

// FullError reports a disk on which a store cannot be opened.
type FullError struct {
	Dir  string
	Free uint64
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the disk of data folder %s is full (%d MB free): free some space, 64 MB at least",
		e.Dir, e.Free/1_000_000)
}

// errSpace is why a store is not ready when the disk is almost full.
var errSpace = errors.New("disk is almost full")

// A spaceGuard looks at the free space and keeps the ballast.
type spaceGuard struct {
	dir      string
	set      Space
	log      *slog.Logger
	low      atomic.Bool
	critical atomic.Bool
	free     atomic.Uint64
	wrote    atomic.Int64  // bytes since the last look
	hurry    chan struct{} // of capacity 1: look now
	idle     func() bool   // nothing can be written at all; nil for never
}

// lookAfter is how many bytes are committed before the space is looked at
// without waiting for the time: a fast writer fills what is left in seconds.
// What is written grows about fourfold on its way through the tables.
const lookAfter = 4 << 20

// count notes bytes that were committed.
func (g *spaceGuard) count(n int) {
	if g.wrote.Add(int64(n)) < lookAfter {
		return
	}
	g.wrote.Store(0)
	select {
	case g.hurry <- struct{}{}:
	default:
	}
}

func newSpaceGuard(dir string, set Space, log *slog.Logger) *spaceGuard {
	return &spaceGuard{dir: dir, set: set, log: log, hurry: make(chan struct{}, 1)}
}

// enough looks at the space before the database is opened, and gives the
// ballast up if opening might need it. It returns a [*FullError] if there is
// too little to open it.
func (g *spaceGuard) enough() error {
	g.look()
	if g.critical.Load() {
		g.giveUpBallast()
	}
	if free := g.free.Load(); free < g.set.Minimum {
		return &FullError{Dir: g.dir, Free: free}
	}
	return nil
}

// giveUpBallast removes the ballast, if there is one.
func (g *spaceGuard) giveUpBallast() bool {
	if os.Remove(g.ballast()) != nil {
		return false
	}
	g.log.Warn("store: disk is almost full, ballast given up", "free", g.free.Load())
	g.look()
	return true
}

func (g *spaceGuard) ballast() string { return filepath.Join(g.dir, "ballast") }

// ready says why no durable work can be taken for want of space, or nil.
func (g *spaceGuard) ready() error {
	if g.critical.Load() {
		return errSpace
	}
	return nil
}

// look notes how much space there is. If the system does not say, there is
// enough.
func (g *spaceGuard) look() {
	free, err := g.set.Free(g.dir)
	if err != nil {
		g.log.Warn("store: free space is unknown", "err", err)
		free = 2 * g.set.Low
	}
	g.free.Store(free)
	if critical := free < g.set.Critical; g.critical.Swap(critical) != critical {
		if critical {
			g.log.Error("store: disk is almost full, durable work is refused", "free", free)
		} else {
			g.log.Info("store: disk has space again", "free", free)
		}
	}
	if low := free < g.set.Low; g.low.Swap(low) != low && low {
		g.log.Warn("store: little space is left on the disk", "free", free)
	}
}

// run looks now and then until stop, and makes the ballast if there is room:
// in the background, so that the first start does not wait for it.
func (g *spaceGuard) run(stop <-chan struct{}) {
	tick := time.NewTicker(g.set.Every)
	defer tick.Stop()
	for {
		g.keepBallast(stop)
		select {
		case <-stop:
			return
		case <-tick.C:
			g.look()
		case <-g.hurry:
			g.look()
		}
	}
}

// keepBallast makes the ballast if it is missing and would not itself make
// space low.
func (g *spaceGuard) keepBallast(stop <-chan struct{}) {
	if g.idle != nil && g.idle() {
		return
	}
	if g.set.Ballast < 0 || g.free.Load() < g.set.Low+uint64(g.set.Ballast) {
		return
	}
	if info, err := os.Stat(g.ballast()); err == nil && info.Size() == g.set.Ballast {
		return
	}
	if err := g.writeBallast(stop); err != nil {
		os.Remove(g.ballast())
		g.log.Warn("store: no ballast", "err", err)
	}
}

// writeBallast writes the file a piece at a time, so that commits get through
// meanwhile. It is really written, and of bytes that no file system can
// compress: only then is there something to give up.
func (g *spaceGuard) writeBallast(stop <-chan struct{}) error {
	const piece = 512 << 10
	path := g.ballast() + ".new"
	f, err := os.OpenFile(path, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path) // of no use after the rename
	defer f.Close()
	pace := time.NewTicker(50 * time.Millisecond)
	defer pace.Stop()
	noise := noise(1)
	for left := g.set.Ballast; left > 0; {
		n, err := io.CopyN(f, &noise, min(left, piece))
		if err != nil {
			return err
		}
		if left -= n; left == 0 {
			break
		}
		select {
		case <-stop:
			return nil // the next start goes on
		case <-pace.C:
		}
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(path, g.ballast()); err != nil {
		return err
	}
	return syncDir(g.dir)
}

// noise is an endless reader of bytes without a pattern (xorshift64).
type noise uint64

func (x *noise) Read(p []byte) (int, error) {
	var word [8]byte
	s := uint64(*x)
	for n := 0; n < len(p); n += copy(p[n:], word[:]) {
		s ^= s << 13
		s ^= s >> 7
		s ^= s << 17
		binary.LittleEndian.PutUint64(word[:], s)
	}
	*x = noise(s)
	return len(p), nil
}

// free returns the bytes that an ordinary user may still write.
func free(dir string) (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return st.Bavail * uint64(st.Bsize), nil
}
