package store

import (
	"bytes"
	"log/slog"
	"os"
	"strconv"
	"sync"
	"time"
)

// Stats say what a store has done since it was opened.
type Stats struct {
	Groups uint64 // commits
	Turns  uint64
	Writes uint64 // records set or deleted, lazy ones too
	Lazies uint64 // of these, lazy
	Bytes  uint64 // of these records, as they were handed to the database
	Disk   uint64 // bytes the process sent to the disk, as the kernel counts; 0 if it does not

	Failures      uint64 // commits that failed and were tried again
	Refused       uint64 // writes and turns that no store could take
	LazyLost      uint64 // lazy writes refused for want of room
	Damaged       uint64 // damaged records left out of scans
	LastError     error  // of the commit that is being tried again, or nil
	LastCommit    time.Duration
	LongestCommit time.Duration

	Waiting    int64         // bytes not yet durable
	WaitingAge time.Duration // how long the oldest of them has waited
	LazyBytes  int           // of lazy writes in memory
	FreeBytes  uint64        // on the disk, when last looked
}

// Stats returns what the store has done so far.
func (s *Store) Stats() Stats {
	c := s.committer
	c.mu.Lock()
	st := c.stats
	st.LazyLost = c.lazy.lost
	st.LazyBytes = c.lazy.bytes
	c.mu.Unlock()
	st.Waiting = c.waiting.Load() + c.big.Load()
	if oldest := c.oldest.Load(); oldest != 0 {
		st.WaitingAge = time.Since(c.start) - time.Duration(oldest)
	}
	st.Damaged = s.damaged.count()
	st.FreeBytes = s.space.free.Load()
	st.Disk = s.io.written()
	return st
}

// damageLog counts damaged records and logs the first, and then one a minute.
type damageLog struct {
	log  *slog.Logger
	mu   sync.Mutex
	n    uint64
	last time.Time
}

func (d *damageLog) add(key []byte, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.n++
	if now := time.Now(); d.n == 1 || now.Sub(d.last) >= time.Minute {
		d.last = now
		d.log.Error("store: damaged record left out", "err", brief(err),
			"key", strconv.Quote(string(key[:min(len(key), 40)])), "count", d.n)
	}
}

func (d *damageLog) count() uint64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.n
}

// ioCounter is what the kernel had counted when the store was opened. It
// counts the process: the hub writes little besides its store.
type ioCounter struct{ start uint64 }

func newIOCounter() ioCounter { return ioCounter{start: diskWritten()} }

func (c ioCounter) written() uint64 {
	if now := diskWritten(); now > c.start {
		return now - c.start
	}
	return 0
}

// diskWritten reads write_bytes, which also counts memory-mapped pages, and
// not what never left the page cache because it was deleted before.
func diskWritten() uint64 {
	text, err := os.ReadFile("/proc/self/io")
	if err != nil {
		return 0
	}
	var written, cancelled uint64
	for line := range bytes.Lines(text) {
		name, value, _ := bytes.Cut(bytes.TrimSpace(line), []byte(": "))
		n, _ := strconv.ParseUint(string(value), 10, 64)
		switch string(name) {
		case "write_bytes":
			written = n
		case "cancelled_write_bytes":
			cancelled = n
		}
	}
	return written - min(written, cancelled)
}
