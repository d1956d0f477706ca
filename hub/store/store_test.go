package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

var _ mqtt.Store = (*Store)(nil)

// testOptions open a folder on the real disk without a ballast.
func testOptions(t testing.TB, dir string) Options {
	return Options{Dir: dir, Space: Space{Ballast: -1}, Log: slog.New(slog.NewTextHandler(testWriter{t}, nil))}
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(strings.TrimSuffix(string(p), "\n"))
	return len(p), nil
}

func open(t testing.TB, o Options) *Store {
	t.Helper()
	s, err := Open(o)
	if err != nil {
		t.Fatalf("Open(%q): %v", o.Dir, err)
	}
	t.Cleanup(func() { s.Close(context.Background()) })
	return s
}

func shut(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(context.Background()); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func set(key, value string) mqtt.Write {
	return mqtt.Write{Key: []byte(key), Value: []byte(value)}
}

func del(key string) mqtt.Write { return mqtt.Write{Key: []byte(key)} }

// commit submits a turn and waits until it is durable.
func commit(t testing.TB, s *Store, number uint64, writes ...mqtt.Write) {
	t.Helper()
	done := make(chan struct{})
	s.Durable(func(n uint64) {
		if n == number {
			close(done)
		}
	})
	s.Submit(number, writes, true)
	select {
	case <-done:
	case <-time.After(30 * time.Second):
		t.Fatalf("turn %d is not durable after 30 s", number)
	}
	s.Durable(nil)
}

// contents returns what a scan visits, short values only.
func contents(t testing.TB, s *Store, prefix, from string) string {
	t.Helper()
	var got []string
	err := s.Scan([]byte(prefix), []byte(from), func(k, v []byte) bool {
		got = append(got, string(k)+"="+string(v[:min(len(v), 20)]))
		return true
	})
	if err != nil {
		t.Fatalf("Scan(%q, %q): %v", prefix, from, err)
	}
	return strings.Join(got, " ")
}

func TestReopen(t *testing.T) {
	o := testOptions(t, filepath.Join(t.TempDir(), "data"))
	s := open(t, o)
	commit(t, s, 1, set("a", "1"), set("b", "1"), set("c", ""))
	commit(t, s, 2, set("b", "2"), del("a"), set("d", "1"), del("d"))
	s.Submit(3, []mqtt.Write{set("e", "rides along")}, false)
	s.Lazy([]mqtt.Write{set("f", "lazy")})
	shut(t, s)

	s = open(t, o)
	if got, want := contents(t, s, "", ""), "b=2 c= e=rides along f=lazy"; got != want {
		t.Errorf("after reopening: %q, want %q", got, want)
	}
	if aside := s.SetAside(); len(aside) > 0 {
		t.Errorf("set aside %v", aside)
	}
}

func TestScan(t *testing.T) {
	s := open(t, testOptions(t, t.TempDir()))
	commit(t, s, 1, set("a", "0"), set("b/1", "1"), set("b/2", "2"), set("b/3", "3"), set("c", "4"))
	tests := []struct{ prefix, from, want string }{
		{"", "", "a=0 b/1=1 b/2=2 b/3=3 c=4"},
		{"b/", "", "b/1=1 b/2=2 b/3=3"},
		{"b/", "b/2", "b/2=2 b/3=3"},
		{"b/", "b/15", "b/2=2 b/3=3"},
		{"b/", "b/4", ""},
		{"b/", "a", "b/1=1 b/2=2 b/3=3"},
		{"b/", "c", ""},
		{"", "b/3", "b/3=3 c=4"},
		{"!", "", ""},
		{"x", "", ""},
	}
	for _, tt := range tests {
		if got := contents(t, s, tt.prefix, tt.from); got != tt.want {
			t.Errorf("Scan(%q, %q) visits %q, want %q", tt.prefix, tt.from, got, tt.want)
		}
	}
	n := 0
	s.Scan(nil, nil, func(k, v []byte) bool { n++; return n < 2 })
	if n != 2 {
		t.Errorf("a scan stopped at the second record visited %d", n)
	}
}

// TestManyValues writes well over 10 MB, so that memtables are flushed and
// tables merged, and looks at every value after a clean and an unclean end.
func TestManyValues(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	random := rand.New(rand.NewPCG(1, 2))
	want := map[string][]byte{}
	value := func(n int) []byte {
		v := make([]byte, n)
		for i := range v {
			v[i] = byte(random.Uint32())
		}
		return v
	}
	number := uint64(0)
	for number < 60 {
		number++
		var writes []mqtt.Write
		for range 200 {
			key := fmt.Sprintf("k%05d", random.IntN(20_000))
			w := mqtt.Write{Key: []byte(key), Value: value(100 + random.IntN(1900))}
			if random.IntN(4) == 0 {
				w.Value = nil
			}
			writes = append(writes, w)
			want[key] = w.Value
		}
		if number%10 == 0 { // and some that Badger keeps in its value log
			key := fmt.Sprintf("big%d", number%3)
			want[key] = value(bigValue + random.IntN(1<<20))
			writes = append(writes, mqtt.Write{Key: []byte(key), Value: want[key]})
		}
		s.Submit(number, writes, false)
	}
	number++
	commit(t, s, number, set("last", ""))
	want["last"] = []byte{}

	check := func(s *Store) {
		t.Helper()
		seen := 0
		s.Scan(nil, nil, func(k, v []byte) bool {
			if w, ok := want[string(k)]; !ok || w == nil || !bytes.Equal(v, w) {
				t.Errorf("%s has a wrong value of %d bytes, want %d", k, len(v), len(w))
			}
			seen++
			return true
		})
		live := 0
		for _, v := range want {
			if v != nil {
				live++
			}
		}
		if seen != live {
			t.Errorf("%d records, want %d", seen, live)
		}
	}
	check(s)
	shut(t, s)
	check(open(t, o))
}

func TestKeysAndValuesAtTheirLimits(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	long := strings.Repeat("x", longKey)
	topics := []string{long, long + "a", long + strings.Repeat("b", 5535), long + strings.Repeat("c", 6000)}
	var writes []mqtt.Write
	for _, topic := range topics {
		writes = append(writes, set("r/"+topic, "of "+topic[longKey:]))
	}
	commit(t, s, 1, writes...)
	commit(t, s, 2, mqtt.Write{Key: []byte("v"), Value: make([]byte, MaxValue)})
	commit(t, s, 3, del("r/"+topics[3]), set("", "no key"), set("!v", "reserved"),
		mqtt.Write{Key: []byte("w"), Value: make([]byte, MaxValue+1)}, set("z", "the rest of the turn"))
	shut(t, s)
	s = open(t, o)
	seen := map[string]int{}
	s.Scan(nil, nil, func(k, v []byte) bool {
		seen[string(k)] = len(v)
		return true
	})
	want := map[string]int{"v": MaxValue, "z": 20}
	for _, topic := range topics[:3] {
		want["r/"+topic] = len("of " + topic[longKey:])
	}
	if len(seen) != len(want) {
		t.Errorf("%d records, want %d", len(seen), len(want))
	}
	for k, n := range want {
		if seen[k] != n {
			t.Errorf("value of the key of %d bytes has %d bytes, want %d", len(k), seen[k], n)
		}
	}
}

// TestLargeTurn gives turns that no transaction of Badger holds.
func TestLargeTurn(t *testing.T) {
	tests := []struct {
		name          string
		writes, bytes int
	}{
		{"many writes", 20_000, 10},
		{"many bytes", 3000, 2000},
		{"big values", 40, 1 << 20},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := testOptions(t, t.TempDir())
			s := open(t, o)
			var writes []mqtt.Write
			for i := range tt.writes {
				writes = append(writes, mqtt.Write{Key: fmt.Appendf(nil, "k%06d", i), Value: bytes.Repeat([]byte{byte(i)}, tt.bytes)})
			}
			commit(t, s, 1, writes...)
			if n := s.Stats().Failures; n > 0 {
				t.Errorf("%d commits failed", n)
			}
			check := func(s *Store) {
				t.Helper()
				i := 0
				s.Scan(nil, nil, func(k, v []byte) bool {
					if !bytes.Equal(v, writes[i].Value) {
						t.Errorf("record %d is wrong", i)
					}
					i++
					return true
				})
				if i != len(writes) {
					t.Errorf("%d records, want %d", i, len(writes))
				}
			}
			check(s)

			// As after a cut between writing the turn down and applying it.
			last := writes[len(writes)-1]
			commit(t, s, 2, mqtt.Write{Key: last.Key})
			b := newBadgerBackend(s.db, nil, s.space.count)
			if err := b.commitWrites([]mqtt.Write{{Key: largeKey(0), Value: appendWrite(nil, last)}}); err != nil {
				t.Fatal(err)
			}
			shut(t, s)
			s = open(t, o)
			check(s)
			if _, err := s.own(largeKey(0)); err == nil {
				t.Error("the large group was not forgotten")
			}
		})
	}
}

func TestDamagedRecord(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	commit(t, s, 1, set("a", "1"), set("b", "2"), set("c", "3"))
	txn := s.db.NewTransaction(true)
	record := appendRecord(nil, []byte("b"), []byte("2"))
	record[len(record)-1] ^= 1
	txn.Set([]byte("b"), record)
	txn.Set([]byte("d"), appendRecord(nil, []byte("a"), []byte("1"))) // under a wrong key
	txn.Set([]byte("e"), []byte{9, 0, 0, 0, 0})                       // of a later format
	txn.Set([]byte("f"), []byte{1})
	if err := txn.Commit(); err != nil {
		t.Fatal(err)
	}
	if got, want := contents(t, s, "", ""), "a=1 c=3"; got != want {
		t.Errorf("records %q, want %q", got, want)
	}
	if got := s.Stats().Damaged; got != 4 {
		t.Errorf("%d damaged records counted, want 4", got)
	}
}

func TestLock(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	_, err := Open(o)
	locked, ok := errors.AsType[*LockedError](err)
	if !ok || locked.PID != os.Getpid() {
		t.Fatalf("second Open: %v, want a LockedError with our process", err)
	}
	shut(t, s)
	open(t, o)
}

// TestFolderStaysSmall has queues fill and empty, and large values replaced,
// many times over: the folder holds little more than what is there, and no file
// of it grows beyond its bound.
func TestFolderStaysSmall(t *testing.T) {
	t.Parallel()
	o := testOptions(t, t.TempDir())
	o.Sync = SyncNever // the same files, sooner
	s := open(t, o)
	const sessions, each, size, rounds = 20, 50, 1000, 50
	given, number := 0, uint64(0)
	largest := func() (most, all int64) {
		list, err := os.ReadDir(filepath.Join(o.Dir, "db"))
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range list {
			info, err := f.Info()
			if err != nil {
				continue // merged meanwhile
			}
			n := blocks(t, filepath.Join(o.Dir, "db", f.Name()))
			all += n
			if most = max(most, n); n > vlogSize+4<<20 || filepath.Ext(f.Name()) == ".sst" && info.Size() > 8<<20 {
				t.Errorf("%s has %d bytes", f.Name(), n)
			}
		}
		return most, all
	}
	for round := range rounds {
		var fill, empty []mqtt.Write
		for i := range sessions * each {
			key := fmt.Appendf(nil, "q%04d%06d", i%sessions, round*each+i/sessions)
			value := noisy(round*sessions*each+i, size)
			given += len(value)
			fill = append(fill, mqtt.Write{Key: key, Value: value})
			empty = append(empty, mqtt.Write{Key: key})
		}
		number++
		s.Submit(number, fill, false)
		number++
		commit(t, s, number, empty...)
		if round%2 == 0 {
			number++
			commit(t, s, number, mqtt.Write{Key: []byte("picture"), Value: noisy(round, 2<<20)})
			given += 2 << 20
		}
		if round%10 == 9 {
			largest()
			if err := s.collectOnce(); err != nil {
				t.Fatal(err)
			}
		}
	}
	const bound = 40 << 20
	_, all := largest()
	for end := time.Now().Add(time.Minute); all > bound && time.Now().Before(end); <-time.After(50 * time.Millisecond) { // tables are merged in the background
		if err := s.collectOnce(); err != nil {
			t.Fatal(err)
		}
		_, all = largest()
	}
	t.Logf("%d MB were written and deleted; the folder has %d MB", given>>20, all>>20)
	if all > bound {
		t.Errorf("the folder has %d MB while it is in use, of %d MB that were deleted", all>>20, given>>20)
	}
	shut(t, s)
	s = open(t, o)
	if err := s.collectOnce(); err != nil {
		t.Fatal(err)
	}
	shut(t, s)
	if _, all = largest(); all > bound {
		t.Errorf("the folder has %d MB after a new start, for a value of 2 MB", all>>20)
	}
}

func TestSyncPolicies(t *testing.T) {
	for _, policy := range []Sync{SyncAlways, SyncInterval, SyncNever} {
		o := testOptions(t, t.TempDir())
		o.Sync = policy
		s := open(t, o)
		commit(t, s, 1, set("a", "1"))
		shut(t, s)
		s = open(t, o)
		if got := contents(t, s, "", ""); got != "a=1" {
			t.Errorf("sync %s: %q after reopening", policy, got)
		}
	}
	if _, err := Open(Options{Dir: t.TempDir(), Sync: "sometimes"}); err == nil {
		t.Error("an unknown policy is accepted")
	}
}

func TestPlatform(t *testing.T) {
	if err := platform(64); err != nil {
		t.Errorf("64 bit: %v", err)
	}
	if err := platform(32); err == nil || !strings.Contains(err.Error(), "32-bit") {
		t.Errorf("32 bit: %v, want a refusal", err)
	}
	// The 32-bit build of these tests shows it, which CI runs.
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(Options{Dir: dir, Space: testOptions(t, dir).Space})
	if err == nil {
		shut(t, s)
	}
	if refused := errors.Is(err, ErrPlatform); refused != (intBits == 32) || err != nil && !refused {
		t.Errorf("a build of %d bits: Open says %v", intBits, err)
	}
	if _, err := os.Stat(dir); (err == nil) != (intBits == 64) {
		t.Errorf("a build of %d bits: the data folder: %v", intBits, err)
	}
}

func TestSnapshot(t *testing.T) {
	path := filepath.Join(t.TempDir(), "house.json")
	for _, data := range []string{"{}", `{"rules":[]}`} {
		if err := Snapshot(path, []byte(data)); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != data {
			t.Errorf("snapshot holds %q, %v, want %q", got, err, data)
		}
	}
	info, _ := os.Stat(path)
	if info.Mode().Perm() != 0o600 {
		t.Errorf("snapshot has mode %v", info.Mode())
	}
	if files, _ := os.ReadDir(filepath.Dir(path)); len(files) != 1 {
		t.Errorf("%d files are left, want 1", len(files))
	}
	if err := Snapshot(filepath.Join(path, "x"), nil); err == nil {
		t.Error("a snapshot under a file succeeded")
	}
}

func FuzzRecord(f *testing.F) {
	f.Add([]byte("key"), []byte("value"), uint16(3))
	f.Fuzz(func(t *testing.T, key, value []byte, damage uint16) {
		if len(key) == 0 {
			return
		}
		if damage%2 == 1 {
			key = bytes.Repeat(key, 1+longKey/len(key))
		}
		record := appendRecord(nil, key, value)
		if len(record) > recordSize(key, value) {
			t.Fatalf("record has %d bytes, %d were foretold", len(record), recordSize(key, value))
		}
		k, v, err := decodeRecord(diskKey(key), record)
		if err != nil || !bytes.Equal(k, key) || !bytes.Equal(v, value) {
			t.Fatalf("round trip of %d bytes under %d: %v", len(value), len(key), err)
		}
		record[int(damage)%len(record)] ^= byte(1 + damage>>8)
		if k, v, err := decodeRecord(diskKey(key), record); err == nil && (!bytes.Equal(k, key) || !bytes.Equal(v, value)) {
			t.Fatal("a damaged record is read as another one")
		}
	})
}

func FuzzWrites(f *testing.F) {
	f.Add(appendWrite(appendWrite(nil, set("a", "1")), del("b")))
	f.Add(binary.AppendUvarint(nil, 1<<63))
	f.Fuzz(func(t *testing.T, buf []byte) {
		writes, err := decodeWrites(nil, buf)
		if err != nil {
			return
		}
		var again []byte
		for _, w := range writes {
			again = appendWrite(again, w)
		}
		twice, err := decodeWrites(nil, again)
		if err != nil || len(twice) != len(writes) {
			t.Fatalf("%d writes became %d: %v", len(writes), len(twice), err)
		}
	})
}
