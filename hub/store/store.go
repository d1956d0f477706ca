// Package store keeps on disk what must survive a power cut. It is the only
// package that knows Badger.
//
// [Open] returns a [Store], which is an mqtt.Store: turns go in without
// waiting, a single committer makes them durable in groups of whole turns, and
// tells when they are. A data folder that is damaged does not stop the start:
// what cannot be read is set aside, never deleted, and reported.
package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"

	"lar.home/mqtt"
)

// reserved begins the keys of the store's own. Nobody else may write or scan
// them.
const reserved = '!'

// A Sync policy says when a commit counts as durable.
type Sync string

// The sync policies. With the last two, what was acknowledged survives the end
// of the process in whatever way, but not always a power cut.
const (
	SyncAlways   Sync = "always"   // once the disk says so; nothing is lost
	SyncInterval Sync = "interval" // once the kernel has it, which syncs every 100 ms
	SyncNever    Sync = "never"    // once the kernel has it, which syncs when it likes

	syncInterval = 100 * time.Millisecond
)

// Valid tells whether there is such a policy. The empty one is SyncAlways.
func (s Sync) Valid() bool {
	switch s {
	case "", SyncAlways, SyncInterval, SyncNever:
		return true
	}
	return false
}

// Options say where and how a store is kept. The zero value of all but Dir
// asks for what is usual.
type Options struct {
	Dir   string // the data folder, made if missing
	Sync  Sync
	Log   *slog.Logger
	Space Space

	migrations []migration            // in place of those of the package, for tests
	try        func(dir string) error // says why no file can be made in dir; for tests
}

// A Store is an open data folder. Its methods may be called from any
// goroutine.
type Store struct {
	options   Options
	log       *slog.Logger
	lock      *os.File
	db        *badger.DB
	disk      *diskSync
	backend   *badgerBackend
	committer *committer
	folder    folder
	space     *spaceGuard
	setAside  []string
	rescued   int
	lost      int
	damaged   damageLog
	io        ioCounter

	stop    chan struct{} // ends what runs beside the committer
	beside  sync.WaitGroup
	closing sync.Once
	closed  error
}

// Open opens the data folder, makes it if it is missing, and brings it to the
// present schema. A folder in use is a [*LockedError], one of a newer Lar a
// [*SchemaError]; damage is no error. A folder that cannot be written is read,
// if there is something in it, and Unwritable says so until it can be.
func Open(o Options) (*Store, error) {
	if err := platform(intBits); err != nil {
		return nil, err
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if !o.Sync.Valid() {
		return nil, fmt.Errorf("sync policy %q is none of always, interval, never", o.Sync)
	}
	o.Sync = cmp.Or(o.Sync, SyncAlways)
	if o.migrations == nil {
		o.migrations = migrations
	}
	if o.try == nil {
		o.try = writable
	}
	o.Space = o.Space.withDefaults()
	s := &Store{options: o, log: o.Log, stop: make(chan struct{})}
	s.damaged.log = s.log
	s.folder.resumed.L = &s.folder.mu
	s.space = newSpaceGuard(o.Dir, o.Space, s.log)
	s.space.idle = func() bool { return s.Unwritable() != nil }
	s.io = newIOCounter()
	if err := s.openFolder(); err != nil {
		s.lock.Close() // of a nil file: no harm
		return nil, err
	}
	s.committer = newCommitter(folderBackend{s}, s.log)
	s.beside.Go(func() { s.space.run(s.stop) })
	s.beside.Go(func() { s.collectGarbage() })
	if s.options.Sync == SyncInterval {
		s.beside.Go(func() { s.syncRegularly() })
	}
	go s.watchFolder()
	return s, nil
}

// openFolder opens the database, or reads it if nothing can be written.
func (s *Store) openFolder() error {
	err := os.MkdirAll(s.options.Dir, 0o700)
	if err != nil {
		err = fmt.Errorf("make data folder: %w", err)
	} else if s.lock, err = lock(s.options.Dir); err == nil {
		s.space.look()
		if err = s.folderWritable(); full(err) && s.space.giveUpBallast() {
			err = s.folderWritable()
		}
		if err == nil {
			if err = s.openWritable(); err == nil {
				return nil
			}
		}
	}
	if unwritable(err) {
		return s.openReadOnly(err)
	}
	return err
}

// openWritable opens the database for writing.
func (s *Store) openWritable() (err error) {
	defer func() {
		if err != nil {
			s.closeDatabase()
		}
	}()
	if s.lock.Name() == s.options.Dir { // no lock file could be made before
		l, err := lock(s.options.Dir)
		if err != nil {
			return err
		}
		s.lock.Close()
		s.lock = l
	}
	if s.folder.probe == nil {
		if s.folder.probe, err = os.OpenFile(lockFile(s.options.Dir), os.O_RDWR|os.O_CREATE, 0o600); err != nil {
			return err
		}
	}
	killed := marked(s.lock)
	mark(s.lock, false)
	if err := s.openDatabase(killed); err != nil {
		return err
	}
	if s.disk, err = newDiskSync(s.db.Opts().Dir); err != nil {
		return err
	}
	s.backend = newBadgerBackend(s.db, nil, s.space.count)
	s.backend.writable = s.stillWritable
	if s.options.Sync == SyncAlways {
		s.backend.disk = s.disk
	}
	if err := s.migrate(s.options.migrations); err != nil {
		return err
	}
	damaged, err := s.backend.finishLarge()
	if err != nil {
		return err
	}
	if damaged > 0 {
		s.damaged.add(largePrefix, errDamaged)
	}
	mark(s.lock, true)
	return nil
}

// closeDatabase takes an open back that came to nothing.
func (s *Store) closeDatabase() {
	if s.disk != nil {
		s.disk.close()
	}
	if s.db != nil {
		s.db.Close()
	}
	s.disk, s.db, s.backend = nil, nil, nil
}

// Scan visits committed records as mqtt.Store says. It shows the moment at
// which it began. fn should be quick: a scan keeps old versions alive.
func (s *Store) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if len(from) > 0 && !bytes.HasPrefix(from, prefix) {
		if bytes.Compare(from, prefix) > 0 {
			return nil
		}
		from = nil
	}
	if v := s.useView(); v != nil {
		defer s.doneView()
		s.scanView(v, prefix, from, fn)
		return nil
	}
	err := s.db.View(func(txn *badger.Txn) error {
		// Values lie beside their keys, so there is nothing to fetch ahead.
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, PrefetchSize: 16})
		defer it.Close()
		for it.Seek(from); it.Valid(); it.Next() {
			item := it.Item()
			if item.Key()[0] == reserved {
				continue
			}
			more := true
			err := item.Value(func(record []byte) error {
				key, value, err := decodeRecord(item.Key(), record)
				if err == nil {
					more = fn(key, value)
				}
				return err
			})
			if err != nil {
				s.damaged.add(item.Key(), err)
			}
			if !more {
				break
			}
		}
		return nil
	})
	if errors.Is(err, badger.ErrDBClosed) {
		return errClosed
	}
	return err
}

// Submit queues a turn as mqtt.Store says. A value may have [MaxValue] bytes.
func (s *Store) Submit(number uint64, writes []mqtt.Write, soon bool) {
	s.committer.submit(turn{number: number, writes: writes, soon: soon})
}

// MaxValue is the longest value that can be kept.
const MaxValue = maxValue

// Lazy merges writes as mqtt.Store says.
func (s *Store) Lazy(writes []mqtt.Write) { s.committer.giveLazy(writes) }

// Ready says why no new durable work can be taken, or nil.
func (s *Store) Ready() error {
	if err := s.Unwritable(); err != nil {
		return err
	}
	if err := s.committer.ready(); err != nil {
		return err
	}
	return s.space.ready()
}

// Settle commits all that was given, lazy writes too, and tells whether that
// was done within a time: Scan then shows the house as it is. It is for who
// sees to it that nothing is given meanwhile.
func (s *Store) Settle(within time.Duration) bool { return s.committer.settle(within) }

// Durable names who is told of commits, instead of who was told before.
func (s *Store) Durable(fn func(number uint64)) {
	s.committer.mu.Lock()
	defer s.committer.mu.Unlock()
	s.committer.durableFn = fn
}

// Low tells that little space is left: history and other work that can be
// spared should stop.
func (s *Store) Low() bool { return s.space.low.Load() }

// SetAside returns what Open set aside because it could not be read, as paths
// in the data folder.
func (s *Store) SetAside() []string { return s.setAside }

// Rescued returns how many records Open copied out of a database that it set
// aside, and how many records, or blocks and files of records, it could not
// read. Both are 0 if nothing was set aside. Of a folder that cannot be written
// nothing is copied, and what cannot be read is said.
func (s *Store) Rescued() (records, lost int) { return s.rescued, s.lost }

// Close commits what waits, lazy writes too, and closes the folder. If the
// disk does not answer until ctx is done, it leaves the folder as a power cut
// would.
func (s *Store) Close(ctx context.Context) error {
	s.closing.Do(func() { s.closed = s.close(ctx) })
	return s.closed
}

func (s *Store) close(ctx context.Context) error {
	close(s.stop)
	if s.Unwritable() != nil {
		return s.closeReadOnly(ctx)
	}
	if err := s.committer.close(ctx); err != nil {
		return err // the lock stays: the database is still open
	}
	s.beside.Wait()
	s.disk.close()
	mark(s.lock, false)
	done := make(chan error, 1)
	go func() { done <- s.db.Close() }()
	select {
	case err := <-done:
		return errors.Join(err, s.lock.Close())
	case <-ctx.Done():
		return fmt.Errorf("close the store: %w", ctx.Err())
	}
}

// syncRegularly is SyncInterval.
func (s *Store) syncRegularly() {
	tick := time.NewTicker(syncInterval)
	defer tick.Stop()
	var synced uint64
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		groups := s.Stats().Groups
		if groups == synced || s.Unwritable() != nil {
			continue
		}
		if err := s.disk.sync(true); err != nil {
			if errors.Is(err, unix.EROFS) {
				s.mayWrite(err)
				continue
			}
			s.log.Error("store: sync failed", "err", brief(err))
			continue
		}
		synced = groups
	}
}
