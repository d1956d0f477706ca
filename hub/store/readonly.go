package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"lar.home/mqtt"
)

// A data folder that cannot be written (ext4 makes a failing disk read-only;
// the folder may be another user's; the disk may be full) is read from its
// files, by a view: Badger opens nothing that it cannot write. Turns wait in
// the committer, which goes on trying; with the first try that succeeds the
// database is opened as ever and they are written, in their order.

// UnwritableError says why a data folder cannot be written.
type UnwritableError struct {
	Dir string
	Err error
}

func (e *UnwritableError) Error() string { return e.reason() }

func (e *UnwritableError) Unwrap() error { return e.Err }

func (e *UnwritableError) reason() string {
	switch {
	case errors.Is(e.Err, unix.EROFS):
		return "disk is read-only"
	case errors.Is(e.Err, fs.ErrPermission):
		return "this user may not write the data folder"
	case full(e.Err):
		return errSpace.Error()
	}
	return "data folder cannot be written: " + brief(e.Err).Error()
}

func full(err error) bool {
	_, ok := errors.AsType[*FullError](err)
	return ok || errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT)
}

// unwritable tells whether an error is that of a folder that can be read and
// not written.
func unwritable(err error) bool {
	return errors.Is(err, unix.EROFS) || errors.Is(err, fs.ErrPermission) || full(err)
}

// A folder is what a store knows of whether its data folder can be written.
type folder struct {
	why   atomic.Pointer[UnwritableError] // nil: it can
	probe *os.File                        // open for writing; nil as long as none can be

	opening sync.Mutex // held while the database is opened after the start, and taken by close
	ended   bool       // guarded by opening

	reading   atomic.Bool // there is a view
	mu        sync.Mutex  // guards what follows
	resumed   sync.Cond
	view      *view // nil: the database is open
	scans     int   // of the view, under way
	switching bool  // no scan may begin
	supplied  []mqtt.Write
}

// probeEvery is how often a folder that can be written is asked whether it
// still can: the kernel makes a disk read-only without telling anybody.
const probeEvery = time.Second

// Unwritable says why nothing can be written, or nil.
func (s *Store) Unwritable() error {
	if why := s.folder.why.Load(); why != nil {
		return why
	}
	return nil
}

// mayWrite notes whether the folder can be written, and tells the log of a
// change.
func (s *Store) mayWrite(err error) {
	if err == nil {
		if s.folder.why.Swap(nil) != nil {
			s.log.Info("store: data folder can be written again")
		}
		return
	}
	why := &UnwritableError{Dir: s.options.Dir, Err: err}
	if before := s.folder.why.Swap(why); before == nil || before.reason() != why.reason() {
		s.log.Error("store: data folder cannot be written, durable work is refused", "why", why.reason())
	}
}

// stillWritable asks the kernel whether a file that is open for writing can be
// written. It writes nothing: a write of no bytes fails on a disk that an error
// has made read-only, and the flags of the file system tell of one that was
// mounted so.
func (s *Store) stillWritable() error {
	if s.folder.probe == nil {
		return nil
	}
	conn, err := s.folder.probe.SyscallConn()
	if err != nil {
		return nil // closed
	}
	var failed error
	conn.Control(func(fd uintptr) {
		if _, err := unix.Pwrite(int(fd), nil, 0); err == unix.EROFS {
			failed = err
			return
		}
		var st unix.Statfs_t
		if unix.Fstatfs(int(fd), &st) == nil && st.Flags&unix.ST_RDONLY != 0 {
			failed = unix.EROFS
		}
	})
	return failed
}

// watchFolder asks again and again until the store is closed. Nobody waits for
// it: on a disk that hangs, a question may not return.
func (s *Store) watchFolder() {
	tick := time.NewTicker(probeEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		if s.folder.reading.Load() {
			continue
		}
		if err := s.stillWritable(); err != nil {
			s.mayWrite(err)
		} else if s.Unwritable() != nil && s.Stats().LastError == nil {
			s.mayWrite(nil) // what failed has succeeded since
		}
	}
}

// openReadOnly has the store read a folder that it cannot write.
func (s *Store) openReadOnly(why error) error {
	if s.lock == nil {
		var err error
		if s.lock, err = lockReadOnly(s.options.Dir); err != nil {
			return cmp.Or(ifLocked(err), why)
		}
	}
	v, err := s.newView()
	if err != nil {
		return fmt.Errorf("%w, and not be read: %w", why, err)
	}
	if v == nil {
		return why // there is nothing to read
	}
	s.folder.view = v
	s.folder.reading.Store(true)
	s.mayWrite(why)
	if err := s.checkSchema(why); err != nil {
		v.close()
		return err
	}
	return nil
}

// ifLocked returns err if it says that another Lar has the folder.
func ifLocked(err error) error {
	if _, ok := errors.AsType[*LockedError](err); ok {
		return err
	}
	return nil
}

// newView reads what can be read of the database; nil if nobody has put
// anything into the folder yet.
func (s *Store) newView() (*view, error) {
	dir := filepath.Join(s.options.Dir, "db")
	if _, err := os.Lstat(dir); errors.Is(err, fs.ErrNotExist) {
		if _, err := os.Lstat(dir + ".new"); err == nil {
			dir += ".new" // a rescue that was cut short between its renames
		} else if files, err := filepath.Glob(filepath.Join(s.options.Dir, "*.json")); err != nil || len(files) == 0 {
			return nil, err
		} else {
			s.log.Error("store: there is no database")
			s.lost = 1
			v := &view{quiet: true, log: s.log} // there are copies at least
			for _, w := range s.folder.supplied {
				v.lay(w)
			}
			return v, nil
		}
	}
	o := badgerOptions(dir, s.log)
	v, err := newView(dir, o, s.log)
	if err != nil {
		return nil, err
	}
	if err := inspect(dir, o, s.options.Sync == SyncAlways); err != nil {
		v.loses("database is damaged, reading what can be read", "err", brief(err))
	}
	s.lost = int(v.lost.Load())
	v.quiet = true
	v.finishLarge()
	for _, w := range s.folder.supplied {
		v.lay(w)
	}
	return v, nil
}

// lay puts a write over what the files say.
func (v *view) lay(w mqtt.Write) {
	e := entry{key: diskKey(w.Key), meta: metaDelete}
	if w.Value != nil {
		e.meta, e.value = 0, appendRecord(nil, w.Key, w.Value)
	}
	e.version = 1<<64 - 1
	at, there := slices.BinarySearchFunc(v.over, e, func(a, b entry) int { return bytes.Compare(a.key, b.key) })
	if there {
		v.over[at] = e
	} else {
		v.over = slices.Insert(v.over, at, e)
	}
}

// finishLarge is that of badgerBackend, for what is shown only.
func (v *view) finishLarge() {
	var writes []mqtt.Write
	v.scan(largePrefix, func(e entry) bool {
		if !bytes.HasPrefix(e.key, largePrefix) {
			return false
		}
		if record, err := v.record(e); err == nil {
			if _, record, err = decodeRecord(e.key, record); err == nil {
				writes, _ = decodeWrites(writes, record)
			}
		}
		return true
	})
	for _, w := range writes {
		v.lay(w)
	}
}

// checkSchema refuses a folder that this version cannot read as it is.
func (s *Store) checkSchema(why error) error {
	known := 1 + len(s.options.migrations)
	version, err := s.schema(s.folder.view.own)
	switch {
	case err != nil:
		return err
	case version > known:
		return &SchemaError{Dir: s.options.Dir, Have: version, Known: known}
	case version != 0 && version < known:
		return fmt.Errorf("data folder has to be brought to a new schema: %w", why)
	}
	return nil
}

// Supply adds records to what a store shows that cannot be written: those that
// a damaged database has lost and somebody else has a copy of. They are written
// when the folder can be. It is called before anything else uses the store.
func (s *Store) Supply(writes []mqtt.Write) {
	s.folder.mu.Lock()
	defer s.folder.mu.Unlock()
	s.folder.supplied = append(s.folder.supplied, writes...)
	for _, w := range writes {
		s.folder.view.lay(w)
	}
}

// useView returns the view if there is one; doneView must be called then.
func (s *Store) useView() *view {
	if !s.folder.reading.Load() {
		return nil
	}
	s.folder.mu.Lock()
	defer s.folder.mu.Unlock()
	for s.folder.switching {
		s.folder.resumed.Wait()
	}
	if s.folder.view != nil {
		s.folder.scans++
	}
	return s.folder.view
}

func (s *Store) doneView() {
	s.folder.mu.Lock()
	s.folder.scans--
	s.folder.mu.Unlock()
}

// scanView is Scan by the files.
func (s *Store) scanView(v *view, prefix, from []byte, fn func(key, value []byte) bool) {
	if len(from) == 0 {
		from = prefix
	}
	v.scan(from, func(e entry) bool {
		if !bytes.HasPrefix(e.key, prefix) {
			return false
		}
		if e.key[0] == reserved {
			return true
		}
		record, err := v.record(e)
		if err != nil {
			s.damaged.add(e.key, err)
			return true
		}
		key, value, err := decodeRecord(e.key, record)
		if err != nil {
			s.damaged.add(e.key, err)
			return true
		}
		return fn(key, value)
	})
}

// A folderBackend is the database of a store, once its folder can be written.
type folderBackend struct{ *Store }

// Apply implements backend: it gives a group to the database, and opens that
// first if it could not be before.
func (s folderBackend) Apply(g group, done func(error)) {
	if s.folder.reading.Load() {
		s.folder.opening.Lock()
		err := s.becomeWritable()
		s.folder.opening.Unlock()
		if err != nil {
			done(err)
			return
		}
	}
	err := s.backend.commit(g)
	if errors.Is(err, unix.EROFS) {
		s.mayWrite(err)
	}
	done(err)
}

// becomeWritable opens the database if the folder can be written now.
func (s *Store) becomeWritable() error {
	if s.folder.ended {
		return errClosed
	}
	if err := s.folderWritable(); err != nil {
		if unwritable(err) {
			s.mayWrite(err)
			return s.Unwritable()
		}
		return err
	}
	f := &s.folder
	f.mu.Lock()
	if f.scans > 0 {
		f.mu.Unlock()
		return errors.New("data folder is being read")
	}
	f.switching = true
	old := f.view
	f.mu.Unlock()

	err := s.openWritable()
	if err == nil && len(f.supplied) > 0 {
		var g group
		for _, w := range f.supplied {
			size, big := weigh(w)
			g.writes, g.size, g.big = append(g.writes, w), g.size+size, g.big+big
		}
		if err = s.backend.commit(g); err != nil {
			s.closeDatabase()
		}
	}
	next := (*view)(nil)
	if err != nil {
		// The files may have changed all the same.
		if next, _ = s.newView(); next == nil {
			next = old
		}
	}
	if next != old {
		old.close()
	}
	f.mu.Lock()
	f.view = next
	f.reading.Store(next != nil)
	f.switching = false
	f.resumed.Broadcast()
	f.mu.Unlock()
	if err == nil {
		f.supplied = nil
		s.mayWrite(nil)
	}
	return err
}

// folderWritable tries to make a file where files will have to be made.
func (s *Store) folderWritable() error {
	db := filepath.Join(s.options.Dir, "db")
	for _, dir := range []string{s.options.Dir, db} {
		if err := s.options.try(dir); err != nil && (dir != db || !errors.Is(err, fs.ErrNotExist)) {
			return err
		}
	}
	return s.space.enough()
}

// closeReadOnly closes a store that cannot write. What waits was promised to
// nobody.
func (s *Store) closeReadOnly(ctx context.Context) error {
	gone, cancel := context.WithCancel(ctx)
	cancel()
	if err := s.committer.close(gone); err != nil {
		s.log.Warn("store: closed without writing what waited; nobody was told that it is kept", "err", err)
	}
	s.folder.opening.Lock()
	defer s.folder.opening.Unlock()
	s.folder.ended = true
	if !s.folder.reading.Load() {
		// The database stays open, and with it the lock: its close would try to
		// write, without end. The end of the process is what a power cut is.
		return nil
	}
	s.beside.Wait()
	s.folder.view.close()
	return s.lock.Close()
}
