package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// dropUnfinished takes back the last transaction if a large value of it did not
// reach the disk. Its log may have done so by chance before a power cut,
// although nobody was told that it is durable; applied, it would put a value
// that cannot be read in the place of one that can.
func dropUnfinished(dir string) error {
	path, from, err := unfinished(dir)
	if err != nil || path == "" {
		return err
	}
	return blankFrom(path, from)
}

// unfinished returns the log in which that transaction stands and where it
// begins, or no path.
func unfinished(dir string) (path string, from int, err error) {
	logs, err := numberedFiles(dir, ".mem")
	if err != nil {
		return "", 0, err
	}
	var newest walk
	var version uint64
	for _, p := range logs {
		log, err := os.ReadFile(p)
		if err != nil || len(log) < logHeader {
			continue // inspect will say so
		}
		if w := walkLog(log); len(w.last) > 0 && w.last[0].version >= version {
			newest, version, path = w, w.last[0].version, p
		}
	}
	for _, e := range newest.last {
		if e.meta&metaPointer == 0 || len(e.value) != pointerSize {
			continue
		}
		at := decodePointer(e.value)
		f, err := os.Open(filepath.Join(dir, fmt.Sprintf("%06d.vlog", at.file)))
		if err != nil {
			continue // it was there when the transaction was written: damage
		}
		value := at.read(f)
		f.Close()
		if _, ok := readLogEntry(value, 0); ok {
			continue
		}
		whole := len(value) == int(at.size)
		if whole && !unwritten(value, int(at.offset)) {
			continue // damage: a write that was cut short leaves sectors blank
		}
		return path, newest.from, nil
	}
	return "", 0, nil
}

// blankFrom overwrites the rest of a file with zeros.
func blankFrom(path string, from int) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if _, err := f.WriteAt(make([]byte, info.Size()-int64(from)), int64(from)); err != nil {
		return err
	}
	return f.Sync()
}
