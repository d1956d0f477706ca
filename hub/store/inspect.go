package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/sys/unix"
)

// inspect looks at a database before Badger does, and says what is damaged.
// Badger by itself ends the process on a damaged table, deletes the tables
// that a manifest with a torn end does not name, all of them if there is no
// manifest, and drops what follows a damaged place in a write-ahead log.
//
// A power cut leaves behind a log whose end is torn, in a transaction that
// nobody was told of. That is no damage. If commits were not synced it may tear
// any place, so logs are looked at only if they were.
func inspect(dir string, o badger.Options, synced bool) error {
	tables, err := numberedFiles(dir, ".sst")
	if err != nil {
		return err
	}
	named, torn, err := manifest(dir, o)
	if errors.Is(err, os.ErrNotExist) {
		if len(tables) > 0 {
			return errors.New("manifest is missing")
		}
	} else if err != nil {
		return fmt.Errorf("manifest: %w", brief(err))
	}
	if torn {
		return errors.New("manifest has a torn end")
	}
	for id := range named {
		path, ok := tables[id]
		if !ok {
			return fmt.Errorf("table %d is missing", id)
		}
		if err := inspectTable(path); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	logs, err := numberedFiles(dir, ".mem")
	if err != nil {
		return err
	}
	for _, path := range logs {
		if err := inspectLog(path, synced); err != nil {
			return fmt.Errorf("%s: %w", filepath.Base(path), err)
		}
	}
	return nil
}

// manifest returns the tables that the manifest names, and whether its end is
// torn.
func manifest(dir string, o badger.Options) (tables map[uint64]badger.TableManifest, torn bool, err error) {
	defer recovered(&err)
	f, err := os.Open(filepath.Join(dir, badger.ManifestFilename))
	if err != nil {
		return nil, false, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, false, err
	}
	m, end, err := badger.ReplayManifestFile(f, o.ExternalMagicVersion, o)
	if err != nil {
		return nil, false, err
	}
	return m.Tables, end != info.Size(), nil
}

func inspectTable(path string) error {
	t, err := readTable(path)
	if err != nil {
		return err
	}
	var buf [64 << 10]byte
	for i := range t.blocks() {
		if _, _, err := t.block(i, buf[:]); err != nil {
			return fmt.Errorf("block %d: %w", i, err)
		}
	}
	return nil
}

func inspectLog(path string, all bool) error {
	log, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if len(log) < logHeader {
		return errors.New("log is cut off")
	}
	if !all {
		return nil
	}
	w := walkLog(log)
	if len(w.damaged) > 0 {
		return fmt.Errorf("log is damaged at %d", w.damaged[0].from)
	}
	if w.tail < len(log) && !blank(log[len(log)-1:]) {
		return errors.New("log is cut off")
	}
	if len(w.entries) == 0 && w.tail < len(log) && !unwritten(log[w.tail:], w.tail) {
		return errors.New("log is damaged from its beginning")
	}
	return nil // at most, the last transaction was not finished
}

// hasLog tells whether there is a write-ahead log that was begun: Badger puts
// a random number into its head.
func hasLog(dir string) bool {
	logs, _ := filepath.Glob(filepath.Join(dir, "*.mem"))
	return slices.ContainsFunc(logs, func(path string) bool {
		f, err := os.Open(path)
		if err != nil {
			return true // not to be said from here
		}
		defer f.Close()
		var head [logHeader]byte
		_, err = io.ReadFull(f, head[:])
		return err == nil && !blank(head[:])
	})
}

// mayHoldValues tells whether large values were written, or a value log that
// may have held some is gone. Badger makes a value log large and empty, counts
// them from 1, and there is always one.
func mayHoldValues(dir string) bool {
	logs, err := numberedFiles(dir, ".vlog")
	tables, _ := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || logs[1] == "" && len(tables) > 0 {
		return true
	}
	for _, path := range logs {
		var st unix.Stat_t
		if unix.Stat(path, &st) != nil || st.Size < logHeader || st.Blocks*512 >= bigValue {
			return true
		}
	}
	return false
}

// checkValues says whether a large value cannot be read: Badger opens a
// database without looking at them.
func checkValues(db *badger.DB) error {
	return db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			item := it.Item()
			if item.EstimatedSize() < bigValue {
				continue // it stands beside its key
			}
			err := item.Value(func(record []byte) error {
				_, _, err := decodeRecord(item.Key(), record)
				return err
			})
			if err != nil {
				return fmt.Errorf("large value: %w", brief(err))
			}
		}
		return nil
	})
}
