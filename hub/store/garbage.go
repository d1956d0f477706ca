package store

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// keptExt marks a second name of a value log while garbage is collected.
const keptExt = ".kept"

// collectGarbage frees, every hour, the space of large values that were
// deleted. Without such values there is one log file, which Badger is writing.
func (s *Store) collectGarbage() {
	tick := time.NewTicker(time.Hour)
	defer tick.Stop()
	for {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		if s.Unwritable() != nil {
			continue
		}
		if err := s.collectOnce(); err != nil {
			s.log.Error("store: garbage of large values", "err", brief(err))
		}
	}
}

// collectOnce lets Badger rewrite value logs of which half is garbage. Badger
// removes a log before what it moved out of it is synced, so each log has a
// second name until that is done; restoreValueLogs gives it its first again.
func (s *Store) collectOnce() error {
	dir := s.db.Opts().Dir
	files, err := numberedFiles(dir, ".vlog")
	if err != nil || len(files) < 2 {
		return err
	}
	var kept []string
	for _, path := range files {
		if err = os.Link(path, path+keptExt); err != nil && !errors.Is(err, os.ErrExist) {
			break
		}
		err = nil
		kept = append(kept, path+keptExt)
	}
	for range files {
		if err != nil || s.db.RunValueLogGC(0.5) != nil {
			break // nothing more to rewrite
		}
	}
	// The backend uses its own diskSync at the same time.
	disk, syncErr := newDiskSync(dir)
	if syncErr == nil {
		syncErr = disk.sync(true)
		disk.close()
	}
	if err = errors.Join(err, syncErr, syncDir(dir)); err != nil {
		return err
	}
	for _, path := range kept {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

// restoreValueLogs ends a collection that was cut short. A value log that was
// kept beyond need holds nothing but garbage.
func restoreValueLogs(dir string) error {
	kept, err := filepath.Glob(filepath.Join(dir, "*"+keptExt))
	for _, path := range kept {
		name := strings.TrimSuffix(path, keptExt)
		if _, statErr := os.Lstat(name); errors.Is(statErr, os.ErrNotExist) {
			err = errors.Join(err, os.Rename(path, name))
		} else {
			err = errors.Join(err, os.Remove(path))
		}
	}
	return err
}
