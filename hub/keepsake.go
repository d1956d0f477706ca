package hub

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
	"time"

	"lar.home/hub/store"
	"lar.home/mqtt"
)

// precious begins the keys of what people have made by hand and no device says
// again: rules and their versions, what people call devices and where these
// are, which were forgotten, and the names by which rules know devices and
// entities. People and credentials have a file of their own (package identity).
var precious = []string{"ur", "uv", "xl", "xn", "dp", "dt", "di", "dd"}

const (
	keepsakeFormat = 1
	maxKeepsake    = 64 << 20
	// keepsakeAfter gathers changes that come together into one file. A rule
	// is on disk in the store before; this is the copy.
	keepsakeAfter = 2 * time.Second
)

// A keepsake is the copy of the precious records beside the store, for the day
// on which the store is damaged. It looks on as the broker writes.
type keepsake struct {
	*store.Store
	file  string
	log   *slog.Logger
	dirty atomic.Bool
	poked chan struct{} // of capacity 1
}

type keepsakeFile struct {
	Format  int              `json:"format"`
	Records []keepsakeRecord `json:"records"`
}

// A keepsakeRecord is one of the store. Precious ones are all JSON.
type keepsakeRecord struct {
	Key   []byte          `json:"key"`
	Value json.RawMessage `json:"value"`
}

func newKeepsake(dir string, s *store.Store, log *slog.Logger) *keepsake {
	k := &keepsake{Store: s, file: keepsakeFileOf(dir), log: log, poked: make(chan struct{}, 1)}
	if _, err := os.Stat(k.file); err != nil {
		k.touched() // the first start with it
	}
	return k
}

func keepsakeFileOf(dir string) string { return filepath.Join(dir, "house.json") }

// Submit is the store's, and notes whether anything precious is written.
func (k *keepsake) Submit(number uint64, writes []mqtt.Write, soon bool) {
	for _, w := range writes {
		if isPrecious(w.Key) {
			k.touched()
			break
		}
	}
	k.Store.Submit(number, writes, soon)
}

func isPrecious(key []byte) bool {
	for _, p := range precious {
		if bytes.HasPrefix(key, []byte(p)) {
			return true
		}
	}
	return false
}

func (k *keepsake) touched() {
	k.dirty.Store(true)
	select {
	case k.poked <- struct{}{}:
	default:
	}
}

// watch writes the file a moment after each change until ctx ends.
func (k *keepsake) watch(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-k.poked:
		}
		timer := time.NewTimer(keepsakeAfter)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		if k.Stats().Waiting > 0 || k.Ready() != nil {
			k.touched() // not all of it can be read back yet, or there is no room
			continue
		}
		k.save()
	}
}

// save writes the file if something has changed. One that cannot be written
// now is written with the next change.
func (k *keepsake) save() {
	if !k.dirty.Swap(false) {
		return
	}
	f := keepsakeFile{Format: keepsakeFormat, Records: []keepsakeRecord{}}
	for _, p := range precious {
		err := k.Scan([]byte(p), nil, func(key, value []byte) bool {
			if json.Valid(value) {
				f.Records = append(f.Records, keepsakeRecord{bytes.Clone(key), bytes.Clone(value)})
			}
			return true
		})
		if err != nil {
			k.log.Error("copy of automations and names not written", "err", err)
			return
		}
	}
	data, err := json.MarshalIndent(f, "", "\t")
	data = append(data, '\n')
	if err == nil && len(data) > maxKeepsake {
		err = errors.New("it would be too large")
	}
	if old, readErr := os.ReadFile(k.file); err == nil && (readErr != nil || !bytes.Equal(old, data)) {
		err = store.Snapshot(k.file, data)
	}
	if err != nil {
		k.dirty.Store(true)
		k.log.Error("copy of automations and names not written", "file", k.file, "err", err)
	}
}

// missing returns the precious records that a damaged store has lost and the
// keepsake still has. What the store still has counts more: it is newer, or the
// same.
func missing(dir string, s *store.Store) (writes []mqtt.Write, err error) {
	name := keepsakeFileOf(dir)
	info, err := os.Stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if info.Size() > maxKeepsake {
		return nil, errors.New("it is too large to be what was written")
	}
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	var f keepsakeFile
	if err := json.Unmarshal(data, &f); err != nil {
		return nil, err
	}
	if f.Format != keepsakeFormat {
		return nil, fmt.Errorf("it has format %d", f.Format)
	}
	for _, r := range f.Records {
		if !isPrecious(r.Key) || len(r.Value) == 0 {
			continue
		}
		there := false
		if err := s.Scan(r.Key, nil, func(key, _ []byte) bool { there = bytes.Equal(key, r.Key); return false }); err != nil {
			return nil, err
		}
		if !there {
			var plain bytes.Buffer
			if json.Compact(&plain, r.Value) == nil {
				writes = append(writes, mqtt.Write{Key: r.Key, Value: plain.Bytes()})
			}
		}
	}
	return writes, nil
}

// restore writes records and waits until they are on disk.
func restore(s *store.Store, writes []mqtt.Write) error {
	done := make(chan struct{})
	s.Durable(func(uint64) { close(done) })
	s.Submit(1, writes, true)
	ctx, cancel := context.WithTimeout(context.Background(), restoreWithin)
	defer cancel()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return errors.New("the disk does not answer")
	}
}

// restoreWithin bounds how long a start waits for a slow disk here.
const restoreWithin = 30 * time.Second

// openStore opens the data folder. If its database is damaged, what people have
// made comes back from the keepsake. Of one that was set aside a report says
// so, until the owner has seen it; of one that cannot be written, the returned
// damage does.
func openStore(o store.Options) (s *store.Store, d damage, err error) {
	if s, err = store.Open(o); err != nil {
		return nil, d, err
	}
	_, d.lost = s.Rescued()
	aside := s.SetAside()
	if len(aside) == 0 && d.lost == 0 {
		return s, d, nil
	}
	writes, err := missing(o.Dir, s)
	readOnly := len(aside) == 0
	switch {
	case err != nil || len(writes) == 0:
	case readOnly:
		s.Supply(writes)
	default:
		err = restore(s, writes)
	}
	if err != nil {
		o.Log.Error("copy of automations and names not read", "file", keepsakeFileOf(o.Dir), "err", err)
	} else if len(writes) > 0 {
		d.restored = len(writes)
		o.Log.Warn("automations and names recovered from the copy beside the store", "records", d.restored)
	}
	if readOnly {
		return s, d, nil
	}
	for _, r := range store.Reports(o.Dir) {
		if r.Folder == aside[0] && d.restored > 0 {
			r.Restored = d.restored
			if err := r.Save(); err != nil {
				o.Log.Warn("no report of what came back", "err", err)
			}
		}
	}
	// Opened again, so that the numbers of turns begin anew for the broker.
	if err := s.Close(context.Background()); err != nil {
		return nil, damage{}, err
	}
	s, err = store.Open(o)
	return s, damage{}, err
}

// A damage is what the start has found of it in a folder that cannot be
// written, where nothing can be set aside.
type damage struct {
	lost     int // places that could not be read
	restored int // records that came back from the keepsake
}
