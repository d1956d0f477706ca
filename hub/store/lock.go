package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// LockedError reports a data folder that another Lar is using.
type LockedError struct {
	Dir string
	PID int // of the other Lar, 0 if it did not say
}

func (e *LockedError) Error() string {
	if e.PID == 0 {
		return fmt.Sprintf("data folder %s is in use by another Lar", e.Dir)
	}
	return fmt.Sprintf("data folder %s is in use by another Lar (process %d)", e.Dir, e.PID)
}

func lockFile(dir string) string { return filepath.Join(dir, "lock") }

// lock takes the lock file of a data folder, which the kernel gives back when the
// process ends in whatever way. The file names its holder; it is never removed,
// or two processes could hold two files of one name.
func lock(dir string) (*os.File, error) {
	f, err := os.OpenFile(lockFile(dir), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := take(dir, f); err != nil {
		return nil, err
	}
	return f, nil
}

// openMark stands in the lock file as long as the database is open: then there
// is always a write-ahead log.
const openMark = "open"

// mark writes its holder into the lock file, and whether the database is open.
// It does its best: a full disk must not stop the start here.
func mark(f *os.File, open bool) {
	text := strconv.Itoa(os.Getpid())
	if open {
		text += " " + openMark
	}
	if f.Truncate(0) == nil {
		f.WriteAt([]byte(text+"\n"), 0)
	}
}

// marked tells whether the database was open when the last holder ended.
func marked(f *os.File) bool {
	var text [32]byte
	n, _ := f.ReadAt(text[:], 0)
	return strings.Contains(string(text[:n]), openMark)
}

// lockReadOnly takes the lock of a folder in which no file can be made: the
// lock file if there is one, or else the folder itself.
func lockReadOnly(dir string) (*os.File, error) {
	f, err := os.Open(lockFile(dir))
	if errors.Is(err, os.ErrNotExist) {
		f, err = os.Open(dir)
	}
	if err != nil {
		return nil, err
	}
	if err := take(dir, f); err != nil {
		return nil, err
	}
	return f, nil
}

// take locks f, or closes it.
func take(dir string, f *os.File) error {
	err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 20))
		name, _, _ := strings.Cut(strings.TrimSpace(string(holder)), " ")
		pid, _ := strconv.Atoi(name)
		f.Close()
		return &LockedError{Dir: dir, PID: pid}
	}
	if err != nil {
		f.Close()
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}
