package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"lar.home/mqtt"
)

// A powerCut looks on as a store syncs its files, so that it can say what the
// disk would hold if the power failed just before a sync: of a log or value log
// what was synced last, with any pages written since that the kernel may have
// sent out by chance; of other files, which Badger syncs by itself, what is
// there.
type powerCut struct {
	dir    string
	random *rand.Rand
	mu     sync.Mutex
	synced map[string][]byte
	left   int // syncs until the next cut
	cut    func(image string)
}

func (p *powerCut) sync(f *os.File) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.left--; p.left == 0 {
		p.left = 1 + p.random.IntN(30)
		p.cut(p.image())
	}
	data, err := os.ReadFile(f.Name())
	if err == nil { // else it is gone, and its content is in tables
		p.synced[filepath.Base(f.Name())] = data
	}
	return nil
}

// image writes what the disk would hold to a new folder.
func (p *powerCut) image() string {
	to, err := os.MkdirTemp(filepath.Dir(p.dir), "image")
	if err != nil {
		panic(err)
	}
	for {
		manifest, _ := os.ReadFile(filepath.Join(p.dir, "MANIFEST"))
		files := map[string][]byte{}
		list, _ := os.ReadDir(p.dir)
		for _, f := range list {
			if data, err := os.ReadFile(filepath.Join(p.dir, f.Name())); err == nil {
				files[f.Name()] = data
			}
		}
		// A merge of tables in between would give a picture of no moment.
		again, _ := os.ReadFile(filepath.Join(p.dir, "MANIFEST"))
		if !bytes.Equal(manifest, again) {
			continue
		}
		files["MANIFEST"] = manifest
		os.MkdirAll(filepath.Join(to, "db"), 0o700)
		for name, data := range files {
			if ext := filepath.Ext(name); ext == ".mem" || ext == ".vlog" {
				data = p.mix(p.synced[name], data)
			}
			path := filepath.Join(to, "db", name) // made sparse, as it is
			if err := errors.Join(
				os.WriteFile(path, bytes.TrimRight(data, "\x00"), 0o600),
				os.Truncate(path, int64(len(data)))); err != nil {
				panic(err)
			}
		}
		return to
	}
}

// mix returns the synced content with some of the pages written since.
func (p *powerCut) mix(synced, now []byte) []byte {
	const page = 4096
	mixed := make([]byte, len(now))
	copy(mixed, synced)
	share := p.random.IntN(5) // of pages that went out: none to all
	for at := 0; at < len(now); at += page {
		end := min(at+page, len(now))
		if p.random.IntN(4) < share {
			copy(mixed[at:end], now[at:end])
		}
	}
	return mixed
}

// cutTurn overwrites a large value now and then, so that a value which did not
// reach the disk takes the place of one that did.
func cutTurn(n uint64) []mqtt.Write {
	writes := killTurn(n)
	if n%7 == 0 {
		writes = append(writes, mqtt.Write{Key: []byte("picture"), Value: noisy(int(n), bigValue+int(n))})
		writes = append(writes, mqtt.Write{Key: []byte("of"), Value: binary.BigEndian.AppendUint64(nil, n)})
	}
	return writes
}

func cutCheck(s *Store) (turn uint64, err error) {
	if turn, err = killCheck(s); err != nil {
		return turn, err
	}
	var of uint64
	s.Scan([]byte("of"), nil, func(_, v []byte) bool { of = binary.BigEndian.Uint64(v); return false })
	var picture []byte
	s.Scan([]byte("picture"), nil, func(_, v []byte) bool { picture = bytes.Clone(v); return false })
	if want := turn / 7 * 7; of != want || want > 0 && !bytes.Equal(picture, noisy(int(want), bigValue+int(want))) {
		err = fmt.Errorf("at turn %d, the picture is of %d and has %d bytes", turn, of, len(picture))
	}
	return turn, err
}

// TestPowerCut opens what a disk would hold after power cuts in the middle of
// commits: a whole turn, none that was acknowledged missing, nothing damaged.
func TestPowerCut(t *testing.T) {
	dir := t.TempDir()
	o := testOptions(t, filepath.Join(dir, "data"))
	s := open(t, o)
	var durable atomic.Uint64
	type image struct {
		dir          string
		acknowledged uint64
	}
	var mu sync.Mutex // guards images: syncs come from the store's goroutines
	var images []image
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	p := &powerCut{
		dir:    filepath.Join(o.Dir, "db"),
		random: rand.New(rand.NewPCG(seed, 0)),
		synced: map[string][]byte{},
		left:   3,
	}
	p.cut = func(dir string) {
		mu.Lock()
		defer mu.Unlock()
		images = append(images, image{dir, durable.Load()})
	}
	enough := func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(images) >= 10
	}
	for _, series := range []*series{&s.disk.logs, &s.disk.values} {
		files, err := numberedFiles(p.dir, series.ext)
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range files {
			p.synced[filepath.Base(path)], _ = os.ReadFile(path) // Open synced it
		}
		series.sync = p.sync
	}
	told := make(chan uint64, 100)
	s.Durable(func(n uint64) {
		durable.Store(n)
		told <- n
	})
	n := uint64(0)
	for last := uint64(0); !enough(); last = <-told {
		for n < last+40 {
			n++
			s.Submit(n, cutTurn(n), true)
		}
		if last < n {
			continue
		}
	}
	s.Durable(nil)
	shut(t, s)

	dropped := 0
	for i, image := range images {
		s := open(t, testOptions(t, image.dir))
		turn, err := cutCheck(s)
		if err != nil || turn < image.acknowledged {
			t.Errorf("image %d shows turn %d, %v; %d was acknowledged", i, turn, err, image.acknowledged)
		}
		if turn == image.acknowledged {
			dropped++
		}
		shut(t, s)
	}
	t.Logf("%d images after %d turns; in %d the commit under way was lost", len(images), n, dropped)
	if dropped == 0 {
		t.Error("no cut took the commit under way: the test does not cut")
	}
}
