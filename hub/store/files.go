package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/dgraph-io/badger/v4/fb"
	"github.com/dgraph-io/badger/v4/pb"
	"github.com/dgraph-io/badger/v4/y"
	"github.com/klauspost/compress/snappy"
	"google.golang.org/protobuf/proto"
)

// This file reads the files of Badger 4 (manifest version 8) without Badger,
// which ends the process on many kinds of damage. Nothing here maps a file or
// trusts a length.

// Bits of an entry's meta byte, as in badger/value.go.
const (
	metaDelete  = 1 << 0
	metaPointer = 1 << 1
	metaTxn     = 1 << 6
	metaTxnEnd  = 1 << 7

	logHeader   = 20 // key identifier and initialisation vector, unused without encryption
	versionSize = 8

	maxTableFile = 64 << 20 // ours have 4 MiB at most
	maxBlock     = 32 << 20
)

// badgerKeys begins the keys that Badger writes for itself.
var badgerKeys = []byte("!badger!")

// An entry is one version of a key.
type entry struct {
	key     []byte // ours, without the version
	version uint64
	meta    byte
	value   []byte // or a pointer into the value log
}

// splitKey divides a key of Badger's into ours and the version.
func splitKey(k []byte) (key []byte, version uint64, ok bool) {
	if len(k) < versionSize {
		return nil, 0, false
	}
	n := len(k) - versionSize
	return k[:n:n], math.MaxUint64 - binary.BigEndian.Uint64(k[n:]), true
}

// numberedFiles returns the files in dir that are a number and ext, by number.
func numberedFiles(dir, ext string) (map[uint64]string, error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	files := map[uint64]string{}
	for _, f := range list {
		if name, ok := strings.CutSuffix(f.Name(), ext); ok {
			n, err := strconv.ParseUint(name, 10, 32)
			if err != nil {
				return nil, fmt.Errorf("%s has a strange name", f.Name())
			}
			files[n] = filepath.Join(dir, f.Name())
		}
	}
	return files, nil
}

// A tableFile is a sorted table (.sst) in memory.
type tableFile struct {
	data  []byte
	index *fb.TableIndex
}

var errTable = errors.New("table is damaged")

// readTable reads a table and checks its index, but not yet its blocks.
func readTable(path string) (t *tableFile, err error) {
	defer recovered(&err)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if info.Size() > maxTableFile {
		return nil, errTable
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	rest, sum, ok := cutSum(data)
	if !ok {
		return nil, errTable
	}
	rest, index, ok := cutSized(rest)
	if !ok || y.VerifyChecksum(index, sum) != nil {
		return nil, errTable
	}
	t = &tableFile{data: rest, index: fb.GetRootAsTableIndex(index, 0)}
	if t.index.OffsetsLength() == 0 {
		return nil, errTable
	}
	return t, nil
}

// cutSized cuts a piece off the end of b that is followed by its length.
func cutSized(b []byte) (rest, piece []byte, ok bool) {
	if len(b) < 4 {
		return nil, nil, false
	}
	n := uint64(binary.BigEndian.Uint32(b[len(b)-4:]))
	b = b[:len(b)-4]
	if n > uint64(len(b)) {
		return nil, nil, false
	}
	return b[:uint64(len(b))-n], b[uint64(len(b))-n:], true
}

// cutSum cuts a checksum off the end of b.
func cutSum(b []byte) (rest []byte, sum *pb.Checksum, ok bool) {
	rest, piece, ok := cutSized(b)
	sum = &pb.Checksum{}
	if !ok || proto.Unmarshal(piece, sum) != nil {
		return nil, nil, false
	}
	return rest, sum, true
}

func (t *tableFile) blocks() int { return t.index.OffsetsLength() }

// block returns the entries' part of block i and where each entry begins, and
// checks its sum. buf is used if it is large enough.
func (t *tableFile) block(i int, buf []byte) (data []byte, offsets []byte, err error) {
	defer recovered(&err)
	var at fb.BlockOffset
	if !t.index.Offsets(&at, i) {
		return nil, nil, errTable
	}
	from, n := uint64(at.Offset()), uint64(at.Len())
	if from+n > uint64(len(t.data)) {
		return nil, nil, errTable
	}
	packed := t.data[from : from+n]
	if size, err := snappy.DecodedLen(packed); err != nil || size > maxBlock {
		return nil, nil, errTable
	}
	block, err := snappy.Decode(buf[:cap(buf)], packed)
	if err != nil {
		return nil, nil, errTable
	}
	rest, sum, ok := cutSum(block)
	if !ok || y.VerifyChecksum(rest, sum) != nil || len(rest) < 4 {
		return nil, nil, errTable
	}
	count := uint64(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	rest = rest[:len(rest)-4]
	if 4*count > uint64(len(rest)) {
		return nil, nil, errTable
	}
	split := uint64(len(rest)) - 4*count
	return rest[:split], rest[split:], nil
}

// entries visits the entries of block i in order. They are only lent.
func (t *tableFile) entries(i int, fn func(entry)) (err error) {
	defer recovered(&err)
	data, offsets, err := t.block(i, nil)
	if err != nil {
		return err
	}
	var key []byte
	for n := 0; n < len(offsets); n += 4 {
		from, to := binary.NativeEndian.Uint32(offsets[n:]), uint32(len(data))
		if n+4 < len(offsets) {
			to = binary.NativeEndian.Uint32(offsets[n+4:])
		}
		e := data[from:to]
		overlap, diff := binary.NativeEndian.Uint16(e), binary.NativeEndian.Uint16(e[2:])
		base := data[4 : 4+binary.NativeEndian.Uint16(data[2:])]
		key = append(key[:0], base[:overlap]...)
		key = append(key, e[4:4+diff]...)
		var v y.ValueStruct
		v.Decode(e[4+diff:])
		k, version, ok := splitKey(key)
		if !ok {
			return errTable
		}
		fn(entry{key: k, version: version, meta: v.Meta, value: v.Value})
	}
	return nil
}

// recovered turns a panic of the one who defers it into an error: a sum may be
// right over nonsense.
func recovered(err *error) {
	if r := recover(); r != nil {
		*err = fmt.Errorf("%w: %v", errTable, r)
	}
}

// A logEntry is an entry of a log (.mem or .vlog) and where it ends.
type logEntry struct {
	entry
	end int
}

// readLogEntry reads the entry at offset of a log. ok is false if there is
// none that is whole.
func readLogEntry(log []byte, offset int) (e logEntry, ok bool) {
	b := log[offset:]
	if len(b) < 2 {
		return e, false
	}
	i := 2
	var n [3]uint64 // key length, value length, expiry
	for j := range n {
		v, used := binary.Uvarint(b[i:])
		if used <= 0 {
			return e, false
		}
		n[j] = v
		i += used
	}
	klen, vlen := n[0], n[1]
	if klen < versionSize || klen > 1<<16 || vlen > uint64(len(b)) || uint64(i)+klen+vlen+crc32.Size > uint64(len(b)) {
		return e, false
	}
	end := i + int(klen+vlen)
	if crc32.Checksum(b[:end], castagnoli) != binary.BigEndian.Uint32(b[end:]) {
		return e, false
	}
	e.key, e.version, _ = splitKey(b[i : i+int(klen)])
	e.meta = b[0]
	e.value = b[i+int(klen) : end : end]
	e.end = offset + end + crc32.Size
	return e, true
}

// A pointer leads to an entry in a value log.
type pointer struct {
	file         uint64
	size, offset uint32
}

func decodePointer(b []byte) pointer {
	return pointer{
		file:   uint64(binary.NativeEndian.Uint32(b)),
		size:   binary.NativeEndian.Uint32(b[4:]),
		offset: binary.NativeEndian.Uint32(b[8:]),
	}
}

// read returns what is there of the entry in its file.
func (p pointer) read(f *os.File) []byte {
	if p.size > 2*vlogSize {
		return nil
	}
	buf := make([]byte, p.size)
	n, _ := f.ReadAt(buf, int64(p.offset))
	return buf[:n]
}

// A walk is what there is in a write-ahead log.
type walk struct {
	entries []entry // of transactions that were finished
	damaged []span  // places that cannot be read, with something behind them
	whole   int     // transactions since the last of these places
	tail    int     // where a tail begins that is not read and not blank; the length if there is none
	torn    bool    // the last transaction was being written when the power failed

	last []entry // of the last transaction that was finished
	from int     // where it begins
}

type span struct{ from, to int }

// walkLog reads a write-ahead log. A transaction that has its end but is
// damaged inside gives what can be read of it, unless a power cut has done it.
func walkLog(log []byte) walk {
	w := walk{tail: len(log)}
	var txn []entry
	begin := logHeader
	last := 0             // entries before the last finished transaction
	spans, before := 0, 0 // damaged places before the present transaction, and before the last
	finish := func() {
		last = len(w.entries)
		spans, before = len(w.damaged), spans
		w.entries = append(w.entries, txn...)
		w.last, w.from = w.entries[last:], begin
		txn = txn[:0]
	}
	broken := false // the present transaction
	for offset := logHeader; offset < len(log); {
		e, ok := readLogEntry(log, offset)
		if !ok {
			next, more := nextEntry(log, offset)
			if !more {
				if !blank(log[offset:]) {
					w.tail = offset
				}
				break
			}
			w.damaged = append(w.damaged, span{offset, next})
			w.whole, broken = 0, true
			offset = next
			continue
		}
		if len(txn) > 0 && txn[0].version != e.version {
			finish() // its end is damaged, but a later one was begun
		}
		if len(txn) == 0 {
			begin = offset
		}
		offset = e.end
		if e.meta&metaTxnEnd == 0 {
			txn = append(txn, e.entry)
			if e.meta&metaTxn != 0 {
				continue
			}
		}
		finish()
		if !broken {
			w.whole++
		}
		broken = false
	}
	// One transaction is synced before the next is begun, so a power cut tears
	// the last one only: one that has its end, or one that has not.
	cut := func(places []span) bool {
		return slices.ContainsFunc(places, func(d span) bool { return unwritten(log[d.from:d.to], d.from) })
	}
	if w.torn = cut(w.damaged[spans:]); w.torn {
		w.damaged = w.damaged[:spans]
	} else if w.torn = w.whole == 0 && cut(w.damaged[before:spans]); w.torn {
		w.damaged = w.damaged[:before]
		w.entries, w.last = w.entries[:last], nil
	}
	return w
}

// blank tells whether b holds only zeros: a log is made full of them.
func blank(b []byte) bool {
	return len(bytes.TrimLeft(b, "\x00")) == 0
}

// unwritten tells whether a part of b did not reach the disk before a power
// cut: a sector, or as much of it as b has of it, is blank. b lies at an offset
// in a file that was made of zeros.
func unwritten(b []byte, offset int) bool {
	const sector = 512
	for len(b) > 0 {
		n := min(sector-offset%sector, len(b))
		if blank(b[:n]) {
			return true
		}
		b, offset = b[n:], offset+n
	}
	return false
}

// nextEntry looks for an entry of a transaction behind a place that cannot be
// read.
func nextEntry(log []byte, offset int) (int, bool) {
	for offset++; offset+5 < len(log); offset++ {
		switch log[offset] {
		case metaTxn, metaTxn | metaDelete, metaTxn | metaPointer, metaTxnEnd:
		default:
			continue
		}
		if log[offset+1] != 0 {
			continue
		}
		if e, ok := readLogEntry(log, offset); ok && len(e.value) <= bigValue {
			return offset, true
		}
	}
	return 0, false
}
