package store

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/fb"
)

// A view reads a database from its files, also one that is damaged or that
// nobody may write. It changes nothing. A deleted record may be shown if the
// deletion stood in a damaged part.
type view struct {
	dir    string // of the database
	log    *slog.Logger
	tables []tableRange
	logs   [][]entry // of the write-ahead logs, each sorted
	vlogs  map[uint64]*os.File
	over   []entry // sorted; hides what the files say of its keys
	lost   atomic.Int64
	quiet  bool // what cannot be read was logged before
}

// A tableRange is a table and the keys it holds.
type tableRange struct {
	path        string
	first, last []byte // last is nil if it is not known
}

// newView looks at the files of a database.
func newView(dir string, o badger.Options, log *slog.Logger) (*view, error) {
	v := &view{dir: dir, log: log}
	tables, err := numberedFiles(dir, ".sst")
	if err != nil {
		return nil, err
	}
	// Tables that the manifest does not name are left over from a compaction;
	// they are wanted only if the manifest is not whole.
	named, torn, err := manifest(dir, o)
	if err == nil && !torn {
		maps.DeleteFunc(tables, func(id uint64, _ string) bool { _, ok := named[id]; return !ok })
		for id := range named {
			if _, ok := tables[id]; !ok {
				v.loses("table is missing", "table", id)
			}
		}
	}
	for id, path := range tables {
		t, err := readTable(path)
		if errors.Is(err, fs.ErrPermission) {
			return nil, err // somebody else's, not damaged
		}
		if err != nil {
			v.loses("table cannot be read", "table", id, "err", err)
			continue
		}
		// Only the index is needed from now on; blocks are read again.
		first, ok := t.firstKey()
		if !ok {
			v.loses("table cannot be read", "table", id)
			continue
		}
		v.tables = append(v.tables, tableRange{path: path, first: first, last: t.lastKey()})
	}
	logs, err := numberedFiles(dir, ".mem")
	if err != nil {
		return nil, err
	}
	unfinished, from, err := unfinished(dir)
	if err != nil {
		return nil, err
	}
	for _, path := range logs {
		limit := math.MaxInt
		if path == unfinished {
			limit = from
		}
		entries, err := v.readLog(path, limit)
		if err != nil {
			return nil, err
		}
		if len(entries) > 0 {
			v.logs = append(v.logs, entries)
		}
	}
	return v, v.openValueLogs()
}

// close ends the use of the view; no scan may be under way.
func (v *view) close() {
	for _, f := range v.vlogs {
		f.Close()
	}
}

// loses notes and logs what cannot be read.
func (v *view) loses(what string, args ...any) {
	v.lost.Add(1)
	if v.quiet {
		return
	}
	v.log.Error("store: "+what, args...)
}

// salvage copies all newest versions, in the order of their keys, and returns
// how many records these were.
func (v *view) salvage(into *badger.DB) (records int, err error) {
	batch := into.NewWriteBatch()
	defer batch.Cancel()
	v.scan(nil, func(e entry) bool {
		record, bad := v.record(e)
		if bad != nil {
			v.loses("record cannot be read", "err", bad, "key", fmt.Sprintf("%.40q", e.key))
			return true
		}
		if err = batch.Set(e.key, record); err != nil {
			return false
		}
		records++
		return true
	})
	if err == nil {
		err = batch.Flush()
	}
	if err != nil {
		err = brief(err)
	}
	return records, err
}

// scan visits the newest version of each key that is there, from a key on,
// until fn says stop.
func (v *view) scan(from []byte, fn func(entry) bool) {
	var sources []*source
	for _, t := range v.tables {
		if t.last == nil || bytes.Compare(t.last, from) >= 0 {
			sources = append(sources, &source{path: t.path, first: later(t.first, from), from: from})
		}
	}
	for _, entries := range append(v.logs[:len(v.logs):len(v.logs)], v.over) {
		at, _ := slices.BinarySearchFunc(entries, from, func(e entry, from []byte) int { return bytes.Compare(e.key, from) })
		if entries = entries[at:]; len(entries) > 0 {
			sources = append(sources, &source{first: entries[0].key, entries: entries})
		}
	}
	v.merge(sources, fn)
}

func later(a, b []byte) []byte {
	if bytes.Compare(a, b) < 0 {
		return b
	}
	return a
}

// A source is a table or a log, as entries sorted by key, newest first. A
// table is opened when the merge reaches its first key and closed at its end,
// so that few are in memory at a time.
type source struct {
	path    string
	first   []byte
	from    []byte // earlier keys of the table are passed over
	table   *tableFile
	block   int // to be read next
	entries []entry
}

func (e entry) compare(o entry) int {
	return cmp.Or(bytes.Compare(e.key, o.key), cmp.Compare(o.version, e.version))
}

func (t *tableFile) firstKey() (first []byte, ok bool) {
	for i := 0; i < t.blocks() && !ok; i++ {
		t.entries(i, func(e entry) {
			if !ok {
				first, ok = bytes.Clone(e.key), true
			}
		})
	}
	return first, ok
}

// lastKey returns nil if the last block cannot be read.
func (t *tableFile) lastKey() (last []byte) {
	if t.entries(t.blocks()-1, func(e entry) { last = append(last[:0], e.key...) }) != nil {
		return nil
	}
	return last
}

// blockOf returns the block from which on a key may stand.
func (t *tableFile) blockOf(key []byte) (block int) {
	defer func() {
		if recover() != nil {
			block = 0 // the index has a right sum over nonsense
		}
	}()
	after := sort.Search(t.blocks(), func(i int) bool {
		var at fb.BlockOffset
		if !t.index.Offsets(&at, i) {
			return true
		}
		first, _, ok := splitKey(at.KeyBytes())
		return !ok || bytes.Compare(first, key) >= 0
	})
	return max(0, after-1)
}

// readLog reads a write-ahead log up to a limit, leaving out what is damaged.
func (v *view) readLog(path string, limit int) ([]entry, error) {
	log, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrPermission) {
		return nil, err
	}
	if err == nil && len(log) == 0 {
		return nil, nil // a process was killed as it made or removed it
	}
	if err != nil || len(log) < logHeader {
		v.loses("log cannot be read", "file", filepath.Base(path), "err", err)
		return nil, nil
	}
	w := walkLog(log[:min(len(log), limit)])
	for _, d := range w.damaged {
		v.loses("part of a log cannot be read", "file", filepath.Base(path), "from", d.from, "to", d.to)
	}
	if w.tail < len(log) && limit > len(log) {
		v.loses("end of a log cannot be read", "file", filepath.Base(path), "from", w.tail)
	}
	slices.SortStableFunc(w.entries, entry.compare)
	return w.entries, nil
}

// head returns the next entry of a source, or nil at its end.
func (v *view) head(src *source) *entry {
	for len(src.entries) == 0 && src.path != "" {
		if src.table == nil {
			t, err := readTable(src.path)
			if err != nil {
				v.loses("table cannot be read", "file", filepath.Base(src.path), "err", err)
				src.path = ""
				break
			}
			src.table = t
			if len(src.from) > 0 {
				src.block = t.blockOf(src.from)
			}
		}
		if src.block == src.table.blocks() {
			src.path, src.table = "", nil
			break
		}
		err := src.table.entries(src.block, func(e entry) {
			if bytes.Compare(e.key, src.from) < 0 {
				return
			}
			e.key, e.value = bytes.Clone(e.key), bytes.Clone(e.value)
			src.entries = append(src.entries, e)
		})
		if err != nil {
			v.loses("block cannot be read", "file", filepath.Base(src.path), "block", src.block, "err", err)
		}
		src.block++
	}
	if len(src.entries) == 0 {
		return nil
	}
	return &src.entries[0]
}

// merge visits the newest version of each key in all sources, but for those
// that are deleted.
func (v *view) merge(sources []*source, fn func(entry) bool) {
	slices.SortFunc(sources, func(a, b *source) int { return bytes.Compare(a.first, b.first) })
	var open []*source // those that the merge has reached
	for {
		// Take in every source that may hold the next key.
		var least *entry
		var from *source
		for i := 0; i < len(open); i++ {
			e := v.head(open[i])
			if e == nil {
				open = slices.Delete(open, i, i+1)
				i--
			} else if least == nil || e.compare(*least) < 0 {
				least, from = e, open[i]
			}
		}
		if len(sources) > 0 && (least == nil || bytes.Compare(sources[0].first, least.key) <= 0) {
			open = append(open, sources[0])
			sources = sources[1:]
			continue
		}
		if least == nil {
			return
		}
		newest := *least
		from.entries = from.entries[1:]
		for _, src := range open { // older versions, and copies of this one
			for e := v.head(src); e != nil && bytes.Equal(e.key, newest.key); e = v.head(src) {
				src.entries = src.entries[1:]
			}
		}
		if bytes.HasPrefix(newest.key, badgerKeys) || newest.meta&metaDelete != 0 {
			continue
		}
		if !fn(newest) {
			return
		}
	}
}

// record returns the record of an entry if it is whole.
func (v *view) record(e entry) ([]byte, error) {
	record := e.value
	if e.meta&metaPointer != 0 {
		if len(record) != pointerSize {
			return nil, errDamaged
		}
		at := decodePointer(record)
		f, ok := v.vlogs[at.file]
		if !ok {
			return nil, fmt.Errorf("value log %d is missing", at.file)
		}
		in, ok := readLogEntry(at.read(f), 0)
		if !ok || !bytes.Equal(in.key, e.key) {
			return nil, errDamaged
		}
		record = in.value
	}
	if _, _, err := decodeRecord(e.key, record); err != nil {
		return nil, err
	}
	return record, nil
}

// openValueLogs opens also those whose only name is that of a collection of
// garbage which was cut short.
func (v *view) openValueLogs() error {
	v.vlogs = map[uint64]*os.File{}
	for _, ext := range []string{".vlog", ".vlog" + keptExt} {
		files, err := numberedFiles(v.dir, ext)
		if err != nil {
			return err
		}
		for id, path := range files {
			if v.vlogs[id] != nil {
				continue
			}
			f, err := os.Open(path)
			if errors.Is(err, fs.ErrPermission) {
				return err
			}
			if err != nil {
				v.loses("value log cannot be read", "file", filepath.Base(path), "err", err)
				continue
			}
			v.vlogs[id] = f
		}
	}
	return nil
}
