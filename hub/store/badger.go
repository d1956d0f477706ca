package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand"
	randv2 "math/rand/v2"
	"runtime/debug"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"

	"lar.home/mqtt"
)

const (
	// bigValue is the size from which Badger keeps a record in its value log
	// and counts only a pointer to it.
	bigValue    = 64 << 10
	pointerSize = 12
	vlogSize    = 16 << 20

	// maxKey and maxValue bound one write. Badger takes no value beyond the
	// size of a value log file; the longest key made here is a topic name of
	// 65,535 bytes and what stands before it.
	maxKey   = 128 << 10
	maxValue = vlogSize - maxKey - 64

	// arenaKept is the largest buffer for records kept from group to group.
	arenaKept = 1 << 20
)

// badgerOptions are tuned for a Raspberry Pi with an SD card: a small memtable
// bounds memory and the time of a start after a crash. SyncWrites stays off: we
// sync by ourselves, with fewer flushes (diskSync).
//
// Badger's own checks of table checksums stay off. While opening, a damaged
// block makes it panic on a goroutine of its own, where nothing can recover
// it; while compacting, it silently drops the rest of the table. Our tables are
// checked before Badger sees them (inspect), and each record carries its sum.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.MemTableSize = 4 << 20
	o.NumMemtables = 2
	o.NumLevelZeroTables = 2
	o.NumLevelZeroTablesStall = 6
	o.BaseTableSize = 1 << 20
	o.BaseLevelSize = 8 << 20
	o.ValueLogFileSize = vlogSize
	o.ValueThreshold = bigValue
	o.Compression = options.Snappy
	o.BlockCacheSize = 4 << 20
	o.IndexCacheSize = 1 << 20
	o.NumCompactors = 2 // the least that is accepted
	o.NumGoroutines = 1
	o.MetricsEnabled = false
	o.DetectConflicts = false // there is one writer
	o.CompactL0OnClose = true
	o.SyncWrites = false
	o.VerifyValueChecksum = true
	o.ChecksumVerificationMode = options.NoVerification
	o.Logger = &badgerLog{log: log}
	return o
}

// openBadger opens a database. Badger panics on some damage.
func openBadger(o badger.Options) (db *badger.DB, err error) {
	defer func() {
		if r := recover(); r != nil {
			db, err = nil, fmt.Errorf("badger: %v", r)
			o.Logger.Debugf("%s", debug.Stack())
		}
	}()
	reseed(inStep)
	time.AfterFunc(time.Second, func() { reseed(int64(randv2.Uint64())) }) // they have drawn by then
	return badger.Open(o)
}

// inStep makes Badger's two compactors draw the same delay, after which they
// look for work 20 times a second each. Apart they are most of what wakes an
// idle hub; in step they wake it half as often.
const inStep = 90928

// reseed sets the one source of random numbers that Badger asks. It has an
// effect only in a program that says randseednop=0, as cmd/lar does.
func reseed(seed int64) {
	//lint:ignore SA1019 Badger offers no other way to say when it looks
	rand.Seed(seed)
}

// badgerBackend applies groups, each in one transaction.
type badgerBackend struct {
	db      *badger.DB
	disk    *diskSync       // nil: not synced at each commit
	wrote   func(bytes int) // is told of each transaction
	arena   []byte
	entries []badger.Entry

	// writable, if not nil, says why nothing can be written, or nil. It is
	// asked first: Badger writes through memory maps, and a kernel may end a
	// process that does so on a disk that has become read-only.
	writable func() error
}

func newBadgerBackend(db *badger.DB, disk *diskSync, wrote func(int)) *badgerBackend {
	return &badgerBackend{db: db, disk: disk, wrote: wrote}
}

// commit makes g durable.
func (b *badgerBackend) commit(g group) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("badger: %v", r)
		}
		if err != nil || cap(b.arena) > arenaKept {
			b.arena = nil // a failed transaction may still hold it
		}
		if err != nil || cap(b.entries) > 2*groupWrites {
			b.entries = nil
		}
	}()
	if b.writable != nil {
		if err := b.writable(); err != nil {
			return err
		}
	}
	if len(g.writes) >= int(b.db.MaxBatchCount()) || g.size >= int(b.db.MaxBatchSize()) {
		return b.commitLarge(g)
	}
	return b.commitWrites(g.writes)
}

// commitWrites makes writes durable in one transaction.
func (b *badgerBackend) commitWrites(writes []mqtt.Write) error {
	size, big := 0, false
	for _, w := range writes {
		if w.Value != nil {
			n := recordSize(w.Key, w.Value)
			size += n
			big = big || n >= bigValue
		}
	}
	if cap(b.arena) < size {
		b.arena = make([]byte, 0, size)
	}
	if cap(b.entries) < len(writes) {
		b.entries = make([]badger.Entry, len(writes))
	}
	arena, entries := b.arena[:0], b.entries[:len(writes)]

	txn := b.db.NewTransaction(true)
	defer txn.Discard()
	for i, w := range writes {
		key := diskKey(w.Key)
		var err error
		if w.Value == nil {
			err = txn.Delete(key)
		} else {
			from := len(arena)
			arena = appendRecord(arena, w.Key, w.Value)
			entries[i] = badger.Entry{Key: key, Value: arena[from:len(arena):len(arena)]}
			err = txn.SetEntry(&entries[i])
		}
		if err != nil {
			return brief(err)
		}
	}
	if err := txn.Commit(); err != nil {
		return brief(err)
	}
	b.wrote(size)
	if b.disk == nil {
		return nil
	}
	return b.disk.sync(big)
}

// brief cuts an error of Badger, which may hold a dump of the value.
func brief(err error) error {
	if text := err.Error(); len(text) > 200 || strings.Contains(text, "\n") {
		first, _, _ := strings.Cut(text, "\n")
		return errors.New(first[:min(len(first), 200)])
	}
	return err
}

// badgerLog hands Badger's messages to slog.
type badgerLog struct{ log *slog.Logger }

func (l *badgerLog) Errorf(format string, args ...any) {
	l.log.Error("badger: " + l.text(format, args))
}

func (l *badgerLog) Warningf(format string, args ...any) {
	l.log.Warn("badger: " + l.text(format, args))
}

func (l *badgerLog) Infof(format string, args ...any) { l.Debugf(format, args...) }

func (l *badgerLog) Debugf(format string, args ...any) {
	if l.log.Enabled(context.Background(), slog.LevelDebug) {
		l.log.Debug("badger: " + l.text(format, args))
	}
}

func (*badgerLog) text(format string, args []any) string {
	text := strings.TrimSpace(fmt.Sprintf(format, args...))
	return text[:min(len(text), 500)]
}
