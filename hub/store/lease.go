package store

import (
	"encoding/binary"
	"errors"
	"sync"

	"github.com/dgraph-io/badger/v4"

	"lar.home/mqtt"
)

// LeaseSize is how many numbers a lease holds.
const LeaseSize = 1_000_000

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
		value, err := s.own(key)
		switch {
		case errors.Is(err, badger.ErrKeyNotFound):
			first = 1
		case err != nil:
			return 0, err
		case len(value) != 8:
			return 0, errDamaged
		default:
			first = binary.BigEndian.Uint64(value)
		}
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
