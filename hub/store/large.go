package store

import (
	"encoding/binary"
	"errors"

	"github.com/dgraph-io/badger/v4"

	"lar.home/mqtt"
)

// A group that is too large for one transaction of Badger (a turn that was
// let grow beyond its limits) must still be durable whole or not at all. It is
// first written down under keys of the store's own as a few large values,
// which count next to nothing in a transaction, and then applied in parts. An
// open finishes what was interrupted. The parts are idempotent.

const largeChunk = 8 << 20

var largePrefix = []byte{reserved, 'g', '/'}

func largeKey(i int) []byte { return binary.BigEndian.AppendUint32(largePrefix[:3:3], uint32(i)) }

// commitLarge makes a group durable that no transaction holds.
func (b *badgerBackend) commitLarge(g group) error {
	var chunks []mqtt.Write
	var buf []byte
	flush := func() {
		// At least bigValue, so that it goes to the value log.
		for len(buf) < bigValue {
			buf = append(buf, 0)
		}
		chunks = append(chunks, mqtt.Write{Key: largeKey(len(chunks)), Value: buf})
		buf = nil
	}
	for _, w := range g.writes {
		if len(buf) > 0 && len(buf)+len(w.Key)+len(w.Value) > largeChunk {
			flush()
		}
		buf = appendWrite(buf, w)
	}
	flush()
	if err := b.commitWrites(chunks); err != nil {
		return err
	}
	return b.spread(g.writes, len(chunks))
}

// spread applies writes in parts and then forgets the chunks.
func (b *badgerBackend) spread(writes []mqtt.Write, chunks int) error {
	for from := 0; from < len(writes); {
		to, size, big := from, 0, 0
		for ; to < len(writes) && to-from < groupWrites; to++ {
			s, l := weigh(writes[to])
			if to > from && (size+s > groupBytes || big+l > groupBig) {
				break
			}
			size, big = size+s, big+l
		}
		if err := b.commitWrites(writes[from:to]); err != nil {
			return err
		}
		from = to
	}
	var forget []mqtt.Write
	for i := range chunks {
		forget = append(forget, mqtt.Write{Key: largeKey(i)})
	}
	return b.commitWrites(forget)
}

// finishLarge applies a large group that was written down but perhaps not
// applied when the process ended. It returns how many of its chunks were
// damaged: what the others hold is applied.
func (b *badgerBackend) finishLarge() (damaged int, err error) {
	var writes []mqtt.Write
	chunks := 0
	err = b.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{Prefix: largePrefix})
		defer it.Close()
		for it.Rewind(); it.Valid(); it.Next() {
			chunks++
			record, err := it.Item().ValueCopy(nil)
			if err == nil {
				_, record, err = decodeRecord(it.Item().Key(), record)
			}
			if err == nil {
				writes, err = decodeWrites(writes, record)
			}
			if err != nil {
				damaged++
			}
		}
		return nil
	})
	if err != nil || chunks == 0 {
		return damaged, err
	}
	return damaged, b.spread(writes, chunks)
}

// appendWrite appends a write as: length of key, key, length of value plus one
// or 0 for a delete, value.
func appendWrite(buf []byte, w mqtt.Write) []byte {
	buf = binary.AppendUvarint(buf, uint64(len(w.Key)))
	buf = append(buf, w.Key...)
	if w.Value == nil {
		return append(buf, 0)
	}
	buf = binary.AppendUvarint(buf, uint64(len(w.Value))+1)
	return append(buf, w.Value...)
}

// decodeWrites appends the writes in buf to writes. A key of no length ends
// them.
func decodeWrites(writes []mqtt.Write, buf []byte) ([]mqtt.Write, error) {
	take := func(n uint64) ([]byte, bool) {
		if n > uint64(len(buf)) {
			return nil, false
		}
		b := buf[:n:n]
		buf = buf[n:]
		return b, true
	}
	number := func() (uint64, bool) {
		n, used := binary.Uvarint(buf)
		if used <= 0 {
			return 0, false
		}
		buf = buf[used:]
		return n, true
	}
	bad := errors.New("large group is not readable")
	for len(buf) > 0 {
		n, ok := number()
		if ok && n == 0 {
			break
		}
		key, ok2 := take(n)
		v, ok3 := number()
		if !ok || !ok2 || !ok3 {
			return writes, bad
		}
		w := mqtt.Write{Key: key}
		if v > 0 {
			if w.Value, ok = take(v - 1); !ok {
				return writes, bad
			}
		}
		writes = append(writes, w)
	}
	return writes, nil
}
