package store

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"lar.home/mqtt"
)

// LeaseSize is how many numbers a lease holds.
const LeaseSize = 1_000_000

// The next number is kept twice, in the database and in a file beside it: a
// database that lost it must not give numbers out again.

func (s *Store) leasePath(name string) string {
	return filepath.Join(s.options.Dir, "lease-"+url.PathEscape(name))
}

func (s *Store) leaseFile(name string) uint64 {
	text, err := os.ReadFile(s.leasePath(name))
	if err != nil {
		return 0
	}
	n, _ := strconv.ParseUint(strings.TrimSpace(string(text)), 10, 64)
	return n
}

func (s *Store) leaseRecord(key []byte) uint64 {
	value, err := s.own(key)
	if err != nil || len(value) != 8 {
		if !errors.Is(err, badger.ErrKeyNotFound) {
			s.damaged.add(key, errDamaged)
		}
		return 0
	}
	return binary.BigEndian.Uint64(value)
}

// leases remember, for each name, the first number not leased yet.
type leases struct {
	mu   sync.Mutex
	next map[string]uint64
}

// Lease returns the first of [LeaseSize] numbers under name that were never
// leased before, from 1 on. It waits until that is on disk, so it is called
// at the start, and outside every lock when a block is half used up.
func (s *Store) Lease(name string) (first uint64, err error) {
	if err := s.Ready(); err != nil {
		return 0, err
	}
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	key := append([]byte{reserved, 'l', '/'}, name...)
	first, ok := s.leases.next[name]
	if !ok {
		first = max(1, s.leaseFile(name), s.leaseRecord(key))
	}
	if err := Snapshot(s.leasePath(name), strconv.AppendUint(nil, first+LeaseSize, 10)); err != nil {
		return 0, fmt.Errorf("lease numbers: %w", err)
	}
	done := make(chan struct{})
	s.committer.submit(turn{
		writes: []mqtt.Write{{Key: key, Value: binary.BigEndian.AppendUint64(nil, first+LeaseSize)}},
		soon:   true,
		done:   func() { close(done) },
	})
	select {
	case <-done:
	case <-s.committer.stopped:
		return 0, errClosed
	}
	if s.leases.next == nil {
		s.leases.next = map[string]uint64{}
	}
	s.leases.next[name] = first + LeaseSize
	return first, nil
}
