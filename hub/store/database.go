package store

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// opensTried is how often an open may be begun and not finished before the
// database is held to be what ends the process. Power cuts may do it too, so
// once is not enough.
const opensTried = 3

// openDatabase opens the database. A damaged one is set aside, and a fresh one
// with what could be read of it takes its place. killed tells whether it was
// open when the process before ended.
func (s *Store) openDatabase(killed bool) error {
	dir := filepath.Join(s.options.Dir, "db")
	if err := finishRescue(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make database folder: %w", err)
	}
	options := badgerOptions(dir, s.log)

	noLog := killed && !hasLog(dir)
	values := mayHoldValues(dir)

	tries := attempts(filepath.Join(s.options.Dir, "opening"))
	var err error
	if tries.begun() >= opensTried {
		err = fmt.Errorf("the process ended %d times while opening it", opensTried)
	} else if err = errors.Join(s.sweep(dir), inspect(dir, options, s.options.Sync == SyncAlways)); err == nil {
		tries.begin()
		s.db, err = openBadger(options)
		if err == nil && values && s.options.Sync == SyncAlways {
			if err = checkValues(s.db); err != nil {
				s.db.Close()
				s.db = nil
			}
		}
	}
	if err == nil {
		tries.end()
		if noLog {
			s.logLost(dir)
		}
		return nil
	}
	err = brief(err)
	if errno := outside(err); errno != nil {
		return fmt.Errorf("%s: %w", strings.TrimSuffix(err.Error(), ": "+errno.Error()), errno)
	}
	if err := s.rescue(dir, options, err); err != nil {
		return err
	}
	if s.db, err = openBadger(options); err != nil {
		return fmt.Errorf("open a fresh database: %w", brief(err))
	}
	tries.end()
	return nil
}

// logLost reports that the write-ahead log of a database that was open is gone,
// or has become empty. There is nothing of it to be set aside but the report.
func (s *Store) logLost(dir string) {
	s.log.Error("store: the write-ahead log is gone: what was written last may be missing")
	folder, err := freeName(dir)
	if err == nil {
		if err = os.Mkdir(folder, 0o700); err == nil {
			err = (Report{Folder: folder, Lost: 1}).Save()
		}
	}
	if err != nil {
		s.log.Warn("store: no report of the damage", "err", err)
		return
	}
	s.setAside = append(s.setAside, folder)
	s.lost++
}

// sweep removes logs and value logs that are empty. A process that is killed
// as it makes one leaves it so, and also as it removes one (Badger empties it
// first); then Badger never opens the database again.
func (s *Store) sweep(dir string) error {
	for _, ext := range []string{".mem", ".vlog"} {
		files, err := numberedFiles(dir, ext)
		if err != nil {
			return err
		}
		for _, path := range files {
			if info, err := os.Stat(path); err != nil || info.Size() > 0 {
				continue
			}
			s.log.Warn("store: empty log removed", "file", filepath.Base(path))
			if err := os.Remove(path); err != nil {
				return err
			}
		}
	}
	return errors.Join(restoreValueLogs(dir), dropUnfinished(dir))
}

// rescue copies what can be read of the database into a fresh one and lets the
// two change places. A cut leaves either the old one or the finished new one.
func (s *Store) rescue(dir string, options badger.Options, why error) error {
	s.log.Error("store: database is damaged, reading what can be read", "err", why)
	fresh := dir + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return err
	}
	if err := os.Mkdir(fresh, 0o700); err != nil {
		return err
	}
	options.Dir, options.ValueDir = fresh, fresh
	db, err := openBadger(options)
	if err != nil {
		return fmt.Errorf("make a fresh database: %w", brief(err))
	}
	records, lost, err := salvage(dir, options, s.log, db)
	if err != nil {
		return fmt.Errorf("read the damaged database: %w", err)
	}
	if err := db.Close(); err != nil {
		return fmt.Errorf("close the fresh database: %w", brief(err))
	}
	if err := (Report{Folder: dir, Rescued: records, Lost: lost}).Save(); err != nil {
		s.log.Warn("store: no report of the damage", "err", err)
	}
	aside, err := setAside(dir)
	if err != nil {
		return fmt.Errorf("database is damaged (%w) and could not be set aside: %w", why, err)
	}
	if err := finishRescue(dir); err != nil {
		return err
	}
	s.setAside = append(s.setAside, aside)
	s.rescued, s.lost = records, lost
	s.log.Error("store: damaged database set aside", "as", aside, "records kept", s.rescued, "places lost", s.lost)
	return nil
}

// salvage copies what can be read of a database, and returns how many records
// this was, and how many records, blocks and files could not be read.
func salvage(dir string, options badger.Options, log *slog.Logger, into *badger.DB) (records, lost int, err error) {
	options.Dir, options.ValueDir = dir, dir
	v, err := newView(dir, options, log)
	if err != nil {
		return 0, 0, err
	}
	defer v.close()
	if records, err = v.salvage(into); err != nil {
		v.loses("the rest cannot be read", "err", err)
	}
	return records, int(v.lost.Load()), nil
}

// finishRescue puts the fresh database in place if the old one is out of it.
func finishRescue(dir string) error {
	if _, err := os.Lstat(dir); !errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err := os.Rename(dir+".new", dir); errors.Is(err, os.ErrNotExist) {
		return nil
	} else if err != nil {
		return err
	}
	return syncDir(filepath.Dir(dir))
}

// outside tells whether an error is none of the database's: it would meet a
// fresh one too. Badger hands on the text of errors only; outside gives back
// what the text says.
func outside(err error) error {
	for _, errno := range []unix.Errno{
		unix.EACCES, unix.EPERM, unix.EROFS, unix.ENOSPC, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EDQUOT,
	} {
		if strings.Contains(err.Error(), errno.Error()) {
			return errno
		}
	}
	return nil
}

// asideMark stands in the name of a database that was set aside.
const asideMark = ".broken-"

// setAside renames a damaged database. Nothing of it is ever deleted here:
// somebody may be able to read more of it than we are.
func setAside(dir string) (string, error) {
	aside, err := freeName(dir)
	if err != nil {
		return "", err
	}
	if err := os.Rename(dir, aside); err != nil {
		return "", err
	}
	return aside, syncDir(filepath.Dir(dir))
}

// freeName returns a name under which something can be set aside.
func freeName(dir string) (string, error) {
	base := dir + asideMark + time.Now().UTC().Format("20060102-150405")
	for i := 1; ; i++ {
		aside := base
		if i > 1 {
			aside += "-" + strconv.Itoa(i)
		}
		if _, err := os.Lstat(aside); errors.Is(err, os.ErrNotExist) {
			return aside, nil
		} else if err != nil {
			return "", err
		}
	}
}

// writable tells why no file can be made in dir, or nil.
func writable(dir string) error {
	f, err := os.CreateTemp(dir, ".try-*")
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// attempts counts, in a file, the opens that were begun and not finished:
// some damage ends the process in a way that cannot be recovered.
type attempts string

func (a attempts) begun() int {
	text, err := os.ReadFile(string(a))
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return n
}

// begin and end do their best: a full disk must not stop the start here.
func (a attempts) begin() {
	_ = os.WriteFile(string(a), []byte(strconv.Itoa(a.begun()+1)), 0o600)
}

func (a attempts) end() { _ = os.Remove(string(a)) }
