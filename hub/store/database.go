package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// opensTried is how often an open may be begun and not finished before the
// database is held to be what ends the process. A power cut may do it too, so
// once is not enough.
const opensTried = 3

// openDatabase opens the database. One that cannot be opened is set aside, and
// a fresh one takes its place.
func (s *Store) openDatabase() error {
	dir := filepath.Join(s.options.Dir, "db")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make database folder: %w", err)
	}
	options := badgerOptions(dir, s.options.Sync == SyncAlways, s.log, &s.syncFailed)

	tries := attempts(filepath.Join(s.options.Dir, "opening"))
	var err error
	if tries.begun() >= opensTried {
		err = fmt.Errorf("the process ended %d times while opening it", opensTried)
	} else {
		tries.begin()
		s.db, err = openBadger(options)
	}
	if err == nil {
		tries.end()
		return nil
	}
	if err := writable(s.options.Dir); err != nil {
		return fmt.Errorf("data folder %s cannot be written: %w", s.options.Dir, err)
	}
	aside, asideErr := setAside(dir, time.Now())
	if asideErr != nil {
		return fmt.Errorf("database is damaged (%w) and could not be set aside: %w", brief(err), asideErr)
	}
	s.setAside = append(s.setAside, aside)
	s.log.Error("store: database could not be opened, set aside", "err", brief(err), "as", aside)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	if s.db, err = openBadger(options); err != nil {
		return fmt.Errorf("open a fresh database: %w", brief(err))
	}
	tries.end()
	return nil
}

// setAside renames a damaged database. Nothing is ever deleted here: somebody
// may be able to read more of it than we are.
func setAside(dir string, now time.Time) (string, error) {
	base := dir + ".broken-" + now.UTC().Format("20060102-150405")
	for i := 1; ; i++ {
		aside := base
		if i > 1 {
			aside += "-" + strconv.Itoa(i)
		}
		if _, err := os.Lstat(aside); err == nil {
			continue
		}
		if err := os.Rename(dir, aside); err != nil {
			return "", err
		}
		return aside, syncDir(filepath.Dir(dir))
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
