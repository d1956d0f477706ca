package store

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"lar.home/mqtt"
)

// A house of records for damage: small ones in tables and in the log, and a
// few in the value log. Record i of n is right if it is value(i).
const (
	damageSmall = 5000
	damageBig   = 6
)

func smallValue(i int) []byte { return noisy(i, 600) }

func bigOne(i int) []byte { return noisy(-i, bigValue+1000*i) }

func noisy(seed, size int) []byte {
	v := make([]byte, size)
	n := noise(uint64(seed+1000)*0x9e3779b97f4a7c15 | 1)
	n.Read(v)
	return v
}

// undamaged makes a data folder as a killed process leaves it: tables, a log
// that is not merged yet, a value log.
func undamaged(t *testing.T) string {
	t.Helper()
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	number := uint64(0)
	for i := 0; i < damageSmall; {
		var writes []mqtt.Write
		for range 500 {
			writes = append(writes, mqtt.Write{Key: fmt.Appendf(nil, "s%06d", i), Value: smallValue(i)})
			i++
		}
		number++
		s.Submit(number, writes, false)
	}
	for i := range damageBig {
		number++
		s.Submit(number, []mqtt.Write{{Key: fmt.Appendf(nil, "b%d", i), Value: bigOne(i)}}, false)
	}
	number++
	commit(t, s, number, set("gone", "1"))
	shut(t, s)

	s = open(t, o)
	for i := range 200 { // each in a transaction of its own
		number++
		commit(t, s, number, mqtt.Write{Key: fmt.Appendf(nil, "w%03d", i), Value: smallValue(i)})
	}
	number++
	commit(t, s, number, del("gone"))
	dir := t.TempDir()
	copyFolder(t, filepath.Join(o.Dir, "db"), filepath.Join(dir, "db"))
	shut(t, s)
	return dir
}

func copyFolder(t *testing.T, from, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
}

// kept counts the records of each kind, all of which must be right.
func kept(t *testing.T, s *Store) (small, big, log int) {
	t.Helper()
	s.Scan(nil, nil, func(k, v []byte) bool {
		var i int
		fmt.Sscan(strings.TrimLeft(string(k[1:]), "0")+" ", &i)
		want := smallValue(i)
		switch k[0] {
		case 's':
			small++
		case 'b':
			big++
			want = bigOne(i)
		case 'w':
			log++
		case 'n', 'g': // written afterwards; deleted, but by the log only
			return true
		default:
			t.Errorf("record %q should not be there", k)
			return true
		}
		if !bytes.Equal(v, want) {
			t.Errorf("record %q has a wrong value", k)
		}
		return true
	})
	return small, big, log
}

func TestDamage(t *testing.T) {
	flip := func(from, n int) func(b []byte) []byte {
		return func(b []byte) []byte {
			at := from
			if at < 0 {
				at += len(b)
			} else if at == 0 {
				at = len(b) / 2
			}
			for i := range n {
				b[at+i] ^= 0x55
			}
			return b
		}
	}
	cut := func(by int) func(b []byte) []byte { return func(b []byte) []byte { return b[:len(b)-by] } }
	empty := func([]byte) []byte { return []byte{} }
	remove := func([]byte) []byte { return nil }
	junk := func(b []byte) []byte {
		r := rand.New(rand.NewPCG(uint64(len(b)), 1))
		for i := range b {
			b[i] = byte(r.Uint32())
		}
		return b
	}
	const all = damageSmall
	tests := []struct {
		name   string
		glob   string // of the first file that is damaged
		damage func([]byte) []byte
		aside  bool
		// the least that must be kept
		small, big, log int
	}{
		{"nothing", "MANIFEST", func(b []byte) []byte { return b }, false, all, damageBig, 200},

		{"log: a place flipped", "*.mem", flip(4000, 64), true, all, damageBig, 195},
		{"log: its first entry flipped", "*.mem", flip(logHeader+3, 1), true, all, damageBig, 199},
		{"log: cut in an entry", "*.mem", func(b []byte) []byte { return b[:40_003] }, true, all, damageBig, 50},
		// A process killed as it makes or removes a log leaves it so.
		{"log: emptied", "*.mem", empty, false, all, damageBig, 0},
		{"log: cut in its head", "*.mem", func(b []byte) []byte { return b[:7] }, true, all, damageBig, 0},
		{"log: junk", "*.mem", junk, true, all, damageBig, 0},

		{"table: a block flipped", "*.sst", flip(0, 64), true, all - 100, damageBig, 200},
		{"table: one bit of a block", "*.sst", flip(5000, 1), true, all - 100, damageBig, 200},
		{"table: index flipped", "*.sst", flip(-300, 4), true, 1, 0, 200},
		{"table: its last bytes flipped", "*.sst", flip(-4, 4), true, 1, 0, 200},
		{"table: cut", "*.sst", cut(100), true, 1, 0, 200},
		{"table: emptied", "*.sst", empty, true, 1, 0, 200},
		{"table: missing", "*.sst", remove, true, 1, 0, 200},
		{"table: junk", "*.sst", junk, true, 1, 0, 200},

		{"manifest: flipped", "MANIFEST", flip(20, 3), true, all, damageBig, 200},
		{"manifest: head flipped", "MANIFEST", flip(2, 3), true, all, damageBig, 200},
		{"manifest: cut", "MANIFEST", cut(3), true, all, damageBig, 200},
		{"manifest: a tail of junk", "MANIFEST", func(b []byte) []byte { return append(b, "junk and more of it"...) }, true, all, damageBig, 200},
		{"manifest: emptied", "MANIFEST", empty, true, all, damageBig, 200},
		{"manifest: missing", "MANIFEST", remove, true, all, damageBig, 200},

		{"value log: a place flipped", "*1.vlog", flip(0, 64), true, all, damageBig - 1, 200},
		{"value log: cut", "*1.vlog", cut(100_000), true, all, damageBig - 2, 200},
		{"value log: missing", "*1.vlog", remove, true, all, 0, 200},
		{"value log: emptied", "*1.vlog", empty, true, all, 0, 200},

		{"key registry: junk", "KEYREGISTRY", junk, true, all, damageBig, 200},
		{"key registry: emptied", "KEYREGISTRY", empty, true, all, damageBig, 200},
		{"key registry: missing", "KEYREGISTRY", remove, false, all, damageBig, 200},
		{"statistics: junk", "DISCARD", junk, false, all, damageBig, 200},
		{"statistics: emptied", "DISCARD", empty, false, all, damageBig, 200},
		{"statistics: missing", "DISCARD", remove, false, all, damageBig, 200},
	}
	source := undamaged(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			copyFolder(t, source, dir)
			files, _ := filepath.Glob(filepath.Join(dir, "db", tt.glob))
			if len(files) == 0 {
				t.Fatalf("no file %s to damage", tt.glob)
			}
			slices.Sort(files)
			data, err := os.ReadFile(files[0])
			if err != nil {
				t.Fatal(err)
			}
			if data = tt.damage(data); data == nil {
				err = os.Remove(files[0])
			} else {
				err = os.WriteFile(files[0], data, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}

			o := testOptions(t, dir)
			s := open(t, o)
			small, big, log := kept(t, s)
			if small < tt.small || big < tt.big || log < tt.log {
				t.Errorf("kept %d, %d and %d records, want at least %d, %d and %d", small, big, log, tt.small, tt.big, tt.log)
			}
			aside := s.SetAside()
			if (len(aside) > 0) != tt.aside {
				t.Errorf("set aside %v, want any: %v", aside, tt.aside)
			}
			for _, path := range aside {
				if files, err := os.ReadDir(path); err != nil || len(files) == 0 {
					t.Errorf("nothing was kept at %s: %v", path, err)
				}
			}
			records, lost := s.Rescued()
			if missing := small < all || big < damageBig || log < 200; missing && lost == 0 && s.Stats().Damaged == 0 && tt.name != "log: emptied" {
				t.Errorf("records are missing and nothing says so: kept %d, %d, %d", small, big, log)
			}
			if len(aside) > 0 && records < small+big+log {
				t.Errorf("%d records are said to be rescued, %d are there", records, small+big+log)
			}

			// And it works, now and after another start.
			commit(t, s, 1, set("new", "1"))
			shut(t, s)
			s = open(t, o)
			if again, _, _ := kept(t, s); again != small || len(s.SetAside()) > 0 {
				t.Errorf("second start: %d records, set aside %v", again, s.SetAside())
			}
		})
	}
}
