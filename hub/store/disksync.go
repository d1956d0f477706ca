package store

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"golang.org/x/sys/unix"
)

// A diskSync makes durable what a transaction of Badger wrote. It takes one
// flush of the disk; Badger's SyncWrites takes two, as it syncs the value log
// also if nothing was written there, and on an SD card a flush is what a
// commit costs.
//
// Badger writes a transaction through memory maps into its newest log (.mem)
// and large values into its newest value log. The files are numbered without
// a gap, and a log is removed only when its content is in tables, which Badger
// syncs by itself. A sync of the file writes mapped pages too.
type diskSync struct {
	logs   series
	values series
}

func newDiskSync(dir string) (*diskSync, error) {
	d := &diskSync{
		logs:   series{dir: dir, name: "%05d", ext: ".mem", sync: fdatasync},
		values: series{dir: dir, name: "%06d", ext: ".vlog", sync: fdatasync},
	}
	return d, errors.Join(d.logs.find(), d.values.find())
}

// sync returns when all that was written before is on disk. Large values are
// looked after only if some were written.
func (d *diskSync) sync(big bool) error {
	if big {
		if err := d.values.syncAll(); err != nil {
			return err
		}
	}
	return d.logs.syncAll()
}

func (d *diskSync) close() {
	d.logs.file.Close()
	d.values.file.Close()
}

func fdatasync(f *os.File) error { return unix.Fdatasync(int(f.Fd())) }

// A series is a row of numbered files of which the newest is written.
type series struct {
	dir, name, ext string
	sync           func(*os.File) error
	newest         uint64 // when last looked
	file           *os.File
	failed         bool
}

// find opens the newest file and syncs those before it.
func (s *series) find() error {
	files, err := numberedFiles(s.dir, s.ext)
	if err != nil {
		return err
	}
	if len(files) == 0 {
		return fmt.Errorf("no %s file in %s", s.ext, s.dir)
	}
	for _, n := range slices.Sorted(maps.Keys(files)) {
		f, err := os.OpenFile(files[n], os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone since
		}
		if err == nil {
			err = s.sync(f)
		}
		if err != nil {
			return err
		}
		s.file.Close() // of a nil file: no harm
		s.newest, s.file = n, f
	}
	return nil
}

// syncAll syncs the file that was the newest when last looked and those that
// were begun since.
func (s *series) syncAll() error {
	for {
		var st unix.Stat_t
		if err := unix.Fstat(int(s.file.Fd()), &st); err != nil {
			return err
		}
		if st.Nlink == 0 {
			// Gone, so some of its followers may be gone too.
			if err := s.find(); err != nil {
				return err
			}
		}
		if s.failed {
			if err := rewrite(s.file); err != nil {
				return err
			}
		}
		if err := s.sync(s.file); err != nil {
			s.failed = true
			return fmt.Errorf("sync %s: %w", filepath.Base(s.file.Name()), err)
		}
		s.failed = false
		next := filepath.Join(s.dir, fmt.Sprintf(s.name, s.newest+1)+s.ext)
		f, err := os.OpenFile(next, os.O_RDWR, 0)
		if errors.Is(err, os.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		s.file.Close()
		s.newest, s.file = s.newest+1, f
		// The name of a new file must last too.
		if err := syncDir(s.dir); err != nil {
			return err
		}
	}
}

// rewrite writes a file over itself: after a sync that failed the kernel
// holds its pages to be on disk, and the next sync would pass them over.
func rewrite(f *os.File) error {
	var buf [64 << 10]byte
	for at := int64(0); ; {
		n, err := f.ReadAt(buf[:], at)
		if n > 0 && !blank(buf[:n]) {
			if _, err := f.WriteAt(buf[:n], at); err != nil {
				return err
			}
		}
		at += int64(n)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
