package store

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"lar.home/mqtt"
)

var update = flag.Bool("update", false, "write the data folder of the present schema version to testdata")

// fixture is what each folder in testdata holds. A folder of a schema version
// that was released is never written again: go test -run TestFixture -update
// makes the one of the present version, and only if it is missing.
func fixture() []mqtt.Write {
	writes := []mqtt.Write{
		set("s\x00\x00\x00\x01", "a session"),
		set("r/home/hall/lamp", "on"),
		set("r/home/kitchen/temperature", "21.5"),
		set("empty", ""),
		{Key: []byte("r/" + strings.Repeat("long/", longKey/4)), Value: []byte("of a long topic name")},
		{Key: []byte("m/big"), Value: []byte(strings.Repeat("big", 25_000))},
	}
	for i := range 50 {
		writes = append(writes, set(fmt.Sprintf("q\x00\x00\x00\x01%08d", i), fmt.Sprintf("message %d", i)))
	}
	return writes
}

func TestFixtures(t *testing.T) {
	present := filepath.Join("testdata", fmt.Sprintf("schema-%d", 1+len(migrations)))
	if _, err := os.Stat(present); *update && os.IsNotExist(err) {
		dir := t.TempDir()
		s := open(t, testOptions(t, dir))
		commit(t, s, 1, append(fixture(), set("gone", "1"))...)
		commit(t, s, 2, del("gone"))
		shut(t, s)
		// The lock names this process; the other is a megabyte of zeros. Both
		// are made again.
		for _, name := range []string{"lock", filepath.Join("db", "DISCARD")} {
			if err := os.Remove(filepath.Join(dir, name)); err != nil {
				t.Fatal(err)
			}
		}
		copyFolder(t, dir, present)
	}
	folders, _ := filepath.Glob(filepath.Join("testdata", "schema-*"))
	if len(folders) != 1+len(migrations) {
		t.Fatalf("%d folders in testdata, want one for each of %d versions", len(folders), 1+len(migrations))
	}
	for _, folder := range folders {
		dir := t.TempDir()
		copyFolder(t, folder, dir)
		s := open(t, testOptions(t, dir))
		if aside := s.SetAside(); len(aside) > 0 {
			t.Errorf("%s: set aside %v", folder, aside)
		}
		want := map[string]string{}
		for _, w := range fixture() {
			want[string(w.Key)] = string(w.Value)
		}
		n := 0
		s.Scan(nil, nil, func(k, v []byte) bool {
			n++
			if w, ok := want[string(k)]; !ok || w != string(v) {
				t.Errorf("%s: %.40q = %.40q, want %.40q", folder, k, v, w)
			}
			return true
		})
		if n != len(want) {
			t.Errorf("%s: %d records, want %d", folder, n, len(want))
		}
	}
}

func TestMigrations(t *testing.T) {
	o := testOptions(t, t.TempDir())
	s := open(t, o)
	commit(t, s, 1, set("a", "1"))
	shut(t, s)

	write := func(s *Store, key, value string) error {
		return s.db.Update(func(txn *badger.Txn) error {
			return txn.Set([]byte(key), appendRecord(nil, []byte(key), []byte(value)))
		})
	}
	failing := true
	o.migrations = []migration{
		func(db *badger.DB) error { return write(&Store{db: db}, "b", "of the first") },
		func(db *badger.DB) error {
			if failing {
				return errors.New("not today")
			}
			return write(&Store{db: db}, "c", "of the second")
		},
	}
	if s, err := Open(o); err == nil {
		s.Close(context.Background())
		t.Fatal("a migration that failed let the store open")
	}
	failing = false
	s = open(t, o)
	if got, want := contents(t, s, "", ""), "a=1 b=of the first c=of the second"; got != want {
		t.Errorf("after migration: %q, want %q", got, want)
	}
	shut(t, s)

	o.migrations = nil
	_, err := Open(o)
	newer, ok := errors.AsType[*SchemaError](err)
	if !ok || newer.Have != 3 || newer.Known != 1 {
		t.Fatalf("Open of a later schema: %v, want a SchemaError of 3 over 1", err)
	}
	if list, _ := filepath.Glob(filepath.Join(o.Dir, "db.broken*")); len(list) > 0 {
		t.Errorf("a later schema was set aside: %v", list)
	}
}
