package hub

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"lar.home/hub/store"
)

// explain turns what keeps a data folder from being used into one sentence
// that says what to do.
func explain(dir string, err error) error {
	if locked, ok := errors.AsType[*store.LockedError](err); ok {
		who := "another Lar"
		if locked.PID != 0 {
			who = fmt.Sprintf("another Lar (process %d)", locked.PID)
		}
		return fmt.Errorf("%s is using data folder %s: stop it, or choose another folder with --data", who, dir)
	}
	if _, ok := errors.AsType[*store.FullError](err); ok {
		return err
	}
	if _, ok := errors.AsType[*store.SchemaError](err); ok {
		return err
	}
	switch {
	case errors.Is(err, store.ErrPlatform):
		return err
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("this user may not read and write data folder %s: change its owner, or choose another with --data", dir)
	case errors.Is(err, syscall.EROFS):
		return fmt.Errorf("data folder %s is on a read-only disk: make that writable, or choose another folder with --data", dir)
	case errors.Is(err, syscall.ENOTDIR), errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s is no folder: choose another with --data", dir)
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("the disk of data folder %s is full: free some space, or choose another folder with --data", dir)
	}
	return fmt.Errorf("data folder %s cannot be used (%w): repair it, or choose another with --data", dir, err)
}
