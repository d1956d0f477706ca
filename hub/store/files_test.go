package store

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// appendLogEntry writes an entry as Badger does.
func appendLogEntry(log []byte, meta byte, key string, version uint64, value string) []byte {
	from := len(log)
	log = append(log, meta, 0)
	log = binary.AppendUvarint(log, uint64(len(key)+versionSize))
	log = binary.AppendUvarint(log, uint64(len(value)))
	log = binary.AppendUvarint(log, 0)
	log = append(log, key...)
	log = binary.BigEndian.AppendUint64(log, math.MaxUint64-version)
	log = append(log, value...)
	return binary.BigEndian.AppendUint32(log, crc32.Checksum(log[from:], castagnoli))
}

// testLog is a log of transactions of four entries of 600 bytes each, numbered
// from 1, and where each entry begins. The last one ends with end.
func testLog(transactions int, end bool) (log []byte, at [][]int) {
	log = make([]byte, logHeader)
	for txn := 1; txn <= transactions; txn++ {
		var begins []int
		for e := range 4 {
			begins = append(begins, len(log))
			log = appendLogEntry(log, metaTxn, fmt.Sprintf("%d.%d", txn, e), uint64(txn), strings.Repeat("x", 600))
		}
		begins = append(begins, len(log))
		if end || txn < transactions {
			log = appendLogEntry(log, metaTxnEnd, "!badger!txn", uint64(txn), strconv.Itoa(txn))
		}
		at = append(at, append(begins, len(log)))
	}
	return append(log, make([]byte, 8<<10)...), at
}

func TestWalkLog(t *testing.T) {
	whole, at := testLog(3, true)
	change := func(do func(b []byte)) []byte {
		b := bytes.Clone(whole)
		do(b)
		return b
	}
	unfinished, _ := testLog(3, false)
	tests := []struct {
		name    string
		log     []byte
		want    string // entries
		damaged int
		torn    bool
		tail    bool
	}{
		{"whole", whole, "1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3 3.0 3.1 3.2 3.3", 0, false, false},
		{"empty", make([]byte, 8<<10), "", 0, false, false},
		{"last transaction without its end", unfinished, "1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3", 0, false, false},
		{"a byte of an entry", change(func(b []byte) { b[at[1][1]+50] ^= 1 }),
			"1.0 1.1 1.2 1.3 2.0 2.2 2.3 3.0 3.1 3.2 3.3", 1, false, false},
		{"head of an entry", change(func(b []byte) { b[at[1][1]+2] ^= 0x80 }),
			"1.0 1.1 1.2 1.3 2.0 2.2 2.3 3.0 3.1 3.2 3.3", 1, false, false},
		{"end of a transaction", change(func(b []byte) { b[at[1][4]+5] ^= 1 }),
			"1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3 3.0 3.1 3.2 3.3", 1, false, false},
		{"a place over two transactions", change(func(b []byte) { clear(b[at[0][3]+5 : at[1][0]+9]) }),
			"1.0 1.1 1.2 2.1 2.2 2.3 3.0 3.1 3.2 3.3", 1, false, false},
		{"blank sectors before later transactions", change(func(b []byte) { clear(b[at[1][0]:at[1][3]]) }),
			"1.0 1.1 1.2 1.3 2.3 3.0 3.1 3.2 3.3", 1, false, false},
		{"a byte of the last transaction", change(func(b []byte) { b[at[2][2]+50] ^= 1 }),
			"1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3 3.0 3.1 3.3", 1, false, false},
		{"blank sectors in the last transaction", change(func(b []byte) { clear(b[at[2][0]/512*512+512 : at[2][0]/512*512+1536]) }),
			"1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3", 0, true, false},
		{"blank sectors in two places of the last transaction", change(func(b []byte) {
			clear(b[at[2][0] : at[2][0]/512*512+512])
			clear(b[at[2][2]/512*512+512 : at[2][2]/512*512+1024])
		}), "1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3", 0, true, false},
		{"blank sectors in the last transaction, and its end too", change(func(b []byte) {
			clear(b[at[2][0] : at[2][0]/512*512+512])
			clear(b[at[2][3]+10:])
		}), "1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3", 0, true, true},
		{"last transaction begun at the end of a page", change(func(b []byte) { clear(b[at[2][0] : at[2][0]/512*512+512]) }),
			"1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3", 0, true, false},
		{"junk after the last transaction", change(func(b []byte) { b[at[2][5]+3] = 9 }),
			"1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3 3.0 3.1 3.2 3.3", 0, false, true},
		{"cut", whole[:at[2][2]+9], "1.0 1.1 1.2 1.3 2.0 2.1 2.2 2.3", 0, false, true},
	}
	for _, tt := range tests {
		w := walkLog(tt.log)
		var got []string
		for _, e := range w.entries {
			if e.meta&metaTxnEnd == 0 {
				got = append(got, string(e.key))
			}
		}
		if g := strings.Join(got, " "); g != tt.want {
			t.Errorf("%s: entries %s, want %s", tt.name, g, tt.want)
		}
		if len(w.damaged) != tt.damaged || w.torn != tt.torn || (w.tail < len(tt.log)) != tt.tail {
			t.Errorf("%s: damaged %v, torn %v, tail %v, want %d, %v, %v",
				tt.name, w.damaged, w.torn, w.tail < len(tt.log), tt.damaged, tt.torn, tt.tail)
		}
	}
}

// FuzzWalkLog: whatever happens to a log, what is read of it was written.
func FuzzWalkLog(f *testing.F) {
	f.Add(uint16(100), []byte{1, 2, 3}, uint16(9000))
	f.Add(uint16(1500), make([]byte, 3000), uint16(65535))
	f.Fuzz(func(t *testing.T, at uint16, over []byte, length uint16) {
		log, _ := testLog(3, true)
		copy(log[int(at)%len(log):], over)
		log = log[:min(len(log), int(length))]
		seen := map[string]bool{}
		for _, e := range walkLog(log).entries {
			if e.meta&metaTxnEnd != 0 {
				continue
			}
			var txn, n int
			if _, err := fmt.Sscanf(string(e.key), "%d.%d", &txn, &n); err != nil || txn > 3 || n > 3 || seen[string(e.key)] {
				t.Fatalf("entry %q was not written, or once only", e.key)
			}
			seen[string(e.key)] = true
		}
	})
}

// FuzzTable: a damaged table is an error, or gives what was written.
func FuzzTable(f *testing.F) {
	path := filepath.Join("testdata", "schema-1", "db")
	tables, err := numberedFiles(path, ".sst")
	if err != nil || len(tables) == 0 {
		f.Fatalf("no table in %s: %v", path, err)
	}
	var data []byte
	for _, path := range tables {
		if data, err = os.ReadFile(path); err != nil {
			f.Fatal(err)
		}
	}
	read := func(t testing.TB, data []byte) map[string]string {
		path := filepath.Join(t.TempDir(), "1.sst")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		table, err := readTable(path)
		if err != nil {
			return nil
		}
		all := map[string]string{}
		for i := range table.blocks() {
			table.entries(i, func(e entry) { all[string(e.key)] = string(e.value) })
		}
		return all
	}
	want := read(f, data)
	f.Add(uint32(0), []byte{1})
	f.Add(uint32(len(data)-2), []byte{0xff})
	f.Add(uint32(len(data)-30), []byte{1, 2, 3})
	f.Fuzz(func(t *testing.T, at uint32, over []byte) {
		b := bytes.Clone(data)
		copy(b[int(at)%len(b):], over)
		for k, v := range read(t, b) {
			if want[k] != v {
				t.Fatalf("%q = %q was not written", k, v)
			}
		}
	})
}
