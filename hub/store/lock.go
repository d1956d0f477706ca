package store

import (
	"errors"
	"fmt"
	"io"
	"os"
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

// lock takes the lock file at path, which the kernel gives back when the
// process ends in whatever way. The file names its holder; it is never removed,
// or two processes could hold two files of one name.
func lock(dir, path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		holder, _ := io.ReadAll(io.LimitReader(f, 20))
		pid, _ := strconv.Atoi(strings.TrimSpace(string(holder)))
		f.Close()
		return nil, &LockedError{Dir: dir, PID: pid}
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	// The name is a courtesy: a full disk must not stop the start here.
	if f.Truncate(0) == nil {
		fmt.Fprintln(f, os.Getpid())
	}
	return f, nil
}
