package store

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// A salvage copies what can be read of a damaged database into a fresh one. A
// deleted record may come back if the deletion stood in the damaged part.
type salvage struct {
	dir     string // of the damaged database
	log     *slog.Logger
	vlogs   map[uint64]*os.File
	records int // copied
	lost    int // records, blocks, files and places in logs that could not be read
}

// run copies all newest versions, in the order of their keys.
func (s *salvage) run(o badger.Options, into *badger.DB) error {
	tables, err := numberedFiles(s.dir, ".sst")
	if err != nil {
		return err
	}
	// Tables that the manifest does not name are left over from a compaction;
	// they are wanted only if the manifest is not whole.
	named, torn, err := manifest(s.dir, o)
	if err == nil && !torn {
		maps.DeleteFunc(tables, func(id uint64, _ string) bool { _, ok := named[id]; return !ok })
		for id := range named {
			if _, ok := tables[id]; !ok {
				s.loses("table is missing", "table", id)
			}
		}
	}
	var sources []*source
	for id, path := range tables {
		t, err := readTable(path)
		if err != nil {
			s.loses("table cannot be read", "table", id, "err", err)
			continue
		}
		// Only the index is needed from now on; blocks are read again.
		first, ok := t.firstKey()
		if !ok {
			s.loses("table cannot be read", "table", id)
			continue
		}
		sources = append(sources, &source{path: path, first: first})
	}
	logs, err := numberedFiles(s.dir, ".mem")
	if err != nil {
		return err
	}
	for _, path := range logs {
		sources = append(sources, s.logSource(path))
	}
	if err := s.openValueLogs(); err != nil {
		return err
	}
	defer func() {
		for _, f := range s.vlogs {
			f.Close()
		}
	}()
	return s.merge(sources, into)
}

// loses notes and logs what cannot be read.
func (s *salvage) loses(what string, args ...any) {
	s.lost++
	s.log.Error("store: "+what, args...)
}

// A source is a table or a log, as entries sorted by key, newest first. A
// table is opened when the merge reaches its first key and closed at its end,
// so that few are in memory at a time.
type source struct {
	path    string
	first   []byte
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

// logSource reads a write-ahead log, leaving out what is damaged.
func (s *salvage) logSource(path string) *source {
	src := &source{}
	log, err := os.ReadFile(path)
	if err != nil || len(log) < logHeader {
		s.loses("log cannot be read", "file", filepath.Base(path), "err", err)
		return src
	}
	w := walkLog(log)
	src.entries = w.entries
	for _, d := range w.damaged {
		s.loses("part of a log cannot be read", "file", filepath.Base(path), "from", d.from, "to", d.to)
	}
	if w.tail < len(log) {
		s.loses("end of a log cannot be read", "file", filepath.Base(path), "from", w.tail)
	}
	slices.SortStableFunc(src.entries, entry.compare)
	if len(src.entries) > 0 {
		src.first = src.entries[0].key
	}
	return src
}

// head returns the next entry of a source, or nil at its end.
func (s *salvage) head(src *source) *entry {
	for len(src.entries) == 0 && src.path != "" {
		if src.table == nil {
			t, err := readTable(src.path)
			if err != nil {
				s.loses("table cannot be read", "file", filepath.Base(src.path), "err", err)
				src.path = ""
				break
			}
			src.table = t
		}
		if src.block == src.table.blocks() {
			src.path, src.table = "", nil
			break
		}
		err := src.table.entries(src.block, func(e entry) {
			e.key, e.value = bytes.Clone(e.key), bytes.Clone(e.value)
			src.entries = append(src.entries, e)
		})
		if err != nil {
			s.loses("block cannot be read", "file", filepath.Base(src.path), "block", src.block, "err", err)
		}
		src.block++
	}
	if len(src.entries) == 0 {
		return nil
	}
	return &src.entries[0]
}

// merge copies the newest version of each key in all sources.
func (s *salvage) merge(sources []*source, into *badger.DB) error {
	batch := into.NewWriteBatch()
	defer batch.Cancel()
	slices.SortFunc(sources, func(a, b *source) int { return bytes.Compare(a.first, b.first) })
	var open []*source // those that the merge has reached
	for {
		// Take in every source that may hold the next key.
		var least *entry
		var from *source
		for i := 0; i < len(open); i++ {
			e := s.head(open[i])
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
			return batch.Flush()
		}
		newest := *least
		from.entries = from.entries[1:]
		for _, src := range open { // older versions, and copies of this one
			for e := s.head(src); e != nil && bytes.Equal(e.key, newest.key); e = s.head(src) {
				src.entries = src.entries[1:]
			}
		}
		if bytes.HasPrefix(newest.key, badgerKeys) || newest.meta&metaDelete != 0 {
			continue
		}
		record, err := s.record(newest)
		if err != nil {
			s.loses("record cannot be read", "err", err, "key", fmt.Sprintf("%.40q", newest.key))
			continue
		}
		if err := batch.Set(newest.key, record); err != nil {
			return brief(err)
		}
		s.records++
	}
}

// record returns the record of an entry if it is whole.
func (s *salvage) record(e entry) ([]byte, error) {
	record := e.value
	if e.meta&metaPointer != 0 {
		if len(record) != pointerSize {
			return nil, errDamaged
		}
		at := decodePointer(record)
		f, ok := s.vlogs[at.file]
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

func (s *salvage) openValueLogs() error {
	files, err := numberedFiles(s.dir, ".vlog")
	if err != nil {
		return err
	}
	s.vlogs = map[uint64]*os.File{}
	for id, path := range files {
		f, err := os.Open(path)
		if err != nil {
			s.loses("value log cannot be read", "file", filepath.Base(path), "err", err)
			continue
		}
		s.vlogs[id] = f
	}
	return nil
}
