package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// A record is a value as it lies on disk:
//
//	format 1: 1, CRC32C of both, value
//	format 2: 2, CRC32C of both, length of the key's tail, tail, value
//
// Badger returns rotten bytes without an error, so every value carries its own
// sum. It is taken over the key too: a value under a wrong key is as bad.
// Format 2 is for keys longer than Badger takes (a topic name may have 65,535
// bytes): the key on disk then ends in the hash of its tail.
const (
	formatPlain   = 1
	formatLongKey = 2

	recordHeader = 1 + crc32.Size
	longKey      = 60_000
	longKeyDisk  = longKey + sha256.Size
)

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errDamaged = errors.New("record is damaged")
	errFormat  = errors.New("record has a format that this version does not know")
)

// recordSize returns how long the record of a write is on disk.
func recordSize(key, value []byte) int {
	n := recordHeader + len(value)
	if len(key) > longKey {
		n += binary.MaxVarintLen32 + len(key) - longKey
	}
	return n
}

// diskKey returns the key under which Badger keeps key.
func diskKey(key []byte) []byte {
	if len(key) <= longKey {
		return key
	}
	sum := sha256.Sum256(key[longKey:])
	return append(bytes.Clone(key[:longKey]), sum[:]...)
}

// appendRecord appends the record of a write to buf.
func appendRecord(buf, key, value []byte) []byte {
	format := byte(formatPlain)
	if len(key) > longKey {
		format = formatLongKey
	}
	buf = append(buf, format)
	buf = binary.LittleEndian.AppendUint32(buf, recordSum(key, value))
	if format == formatLongKey {
		buf = binary.AppendUvarint(buf, uint64(len(key)-longKey))
		buf = append(buf, key[longKey:]...)
	}
	return append(buf, value...)
}

// decodeRecord returns the key and the value that a record on disk stands for.
// They refer to the given slices where they can.
func decodeRecord(onDisk, record []byte) (key, value []byte, err error) {
	if len(record) < recordHeader {
		return nil, nil, errDamaged
	}
	key, value = onDisk, record[recordHeader:]
	switch record[0] {
	case formatPlain:
	case formatLongKey:
		n, used := binary.Uvarint(value)
		if used <= 0 || n > uint64(len(value)-used) || len(onDisk) != longKeyDisk {
			return nil, nil, errDamaged
		}
		tail := value[used : used+int(n)]
		key = append(bytes.Clone(onDisk[:longKey]), tail...)
		value = value[used+int(n):]
	default:
		return nil, nil, errFormat
	}
	if recordSum(key, value) != binary.LittleEndian.Uint32(record[1:]) {
		return nil, nil, errDamaged
	}
	return key, value, nil
}

// recordSum covers the length of the key too, or a byte could move between key
// and value unnoticed.
func recordSum(key, value []byte) uint32 {
	var n [4]byte
	binary.LittleEndian.PutUint32(n[:], uint32(len(key)))
	sum := crc32.Update(0, castagnoli, n[:])
	sum = crc32.Update(sum, castagnoli, key)
	return crc32.Update(sum, castagnoli, value)
}
