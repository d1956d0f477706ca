// Package mqtttest holds what tests of the house need in place of the outside
// world.
//
// [Store] is an [mqtt.Store] in memory: a sorted map that can be held back, be
// cut after any turn as a power cut would, and be opened again with what was
// on disk at that moment. It is strict where the real store is silent: it
// panics when its caller breaks the contract of [mqtt.Store].
package mqtttest

import (
	"bytes"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"time"

	"lar.home/mqtt"
)

const (
	// MaxWrites and MaxBytes bound one turn, as the real store does: keys and
	// values up to bigValue count together, larger values apart.
	MaxWrites   = 4000
	MaxBytes    = 512 << 10
	MaxBigBytes = 16 << 20

	bigValue   = 64 << 10
	rideAlong  = time.Second
	lazyPeriod = 5 * time.Second
)

// A Store is an [mqtt.Store] in memory. It commits by itself on a goroutine
// that lives only while there is work, so that it needs no Close and fits a
// synctest bubble: what has been submitted soon is durable after
// synctest.Wait, what rides along a second later, lazy writes after five.
type Store struct {
	durableFn func(uint64)
	commit    sync.Mutex // held over a commit and its call of durableFn

	mu         sync.Mutex
	disk       map[string][]byte
	waiting    []turn            // submitted, not yet committed, in order
	lazy       map[string][]byte // given, not yet committed
	lazyAfter  uint64            // the last turn submitted when lazy was given
	log        []turn            // all that was ever submitted or lazy, in order of calls
	forgetful  bool              // there is none
	start      map[string][]byte // what was on disk before the log
	submitted  uint64
	durable    uint64
	cut        uint64
	held       bool
	err        error
	committing bool
	rideTimer  bool
	lazyTimer  bool
	commits    int
}

type turn struct {
	number uint64
	writes []mqtt.Write // copied
	given  []mqtt.Write // as the caller gave them, to see whether it kept its word
	lazy   bool
	soon   bool
}

// NewStore returns an empty store that commits by itself.
func NewStore() *Store { return newStore(map[string][]byte{}) }

func newStore(disk map[string][]byte) *Store {
	return &Store{
		disk:  disk,
		start: maps.Clone(disk),
		lazy:  map[string][]byte{},
		cut:   math.MaxUint64,
	}
}

// Scan visits committed records as [mqtt.Store] says. What it lends is
// overwritten as soon as fn returns.
func (s *Store) Scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	s.mu.Lock()
	keys := make([]string, 0, len(s.disk))
	for k := range s.disk {
		if bytes.HasPrefix([]byte(k), prefix) && k >= string(from) {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	values := make([][]byte, len(keys))
	for i, k := range keys {
		values[i] = s.disk[k]
	}
	s.mu.Unlock()

	var key, value []byte
	for i := range keys {
		key = append(key[:0], keys[i]...)
		value = append(value[:0], values[i]...)
		more := fn(key, value)
		scribble(key)
		scribble(value)
		if !more {
			break
		}
	}
	return nil
}

func scribble(b []byte) {
	for i := range b {
		b[i] = 0xdb
	}
}

// Submit queues a turn as [mqtt.Store] says. It panics if turns do not come
// in the order of their numbers, or if one is larger than a turn may be.
func (s *Store) Submit(number uint64, writes []mqtt.Write, soon bool) {
	if err := check(writes); err != nil {
		panic(fmt.Sprintf("mqtttest: turn %d: %v", number, err))
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if number <= s.submitted {
		panic(fmt.Sprintf("mqtttest: turn %d submitted after turn %d", number, s.submitted))
	}
	s.submitted = number
	t := turn{number: number, writes: clone(writes), given: writes, soon: soon}
	s.note(t)
	for _, w := range t.writes {
		delete(s.lazy, string(w.Key))
	}
	s.waiting = append(s.waiting, t)
	switch {
	case s.held:
	case soon:
		s.wakeLocked()
	case !s.rideTimer:
		s.rideTimer = true
		time.AfterFunc(rideAlong, func() {
			s.mu.Lock()
			s.rideTimer = false
			held := s.held
			s.mu.Unlock()
			if !held {
				s.commitTo(math.MaxUint64, false)
			}
		})
	}
}

// Forget makes the store keep only what a disk holds, for a test that goes on
// for long: [Store.At], [Store.Turns] and [Store.Submitted] have nothing to
// answer from then.
func (s *Store) Forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.log, s.start, s.forgetful = nil, nil, true
}

func (s *Store) note(t turn) {
	if !s.forgetful {
		s.log = append(s.log, t)
	}
}

// Lazy merges writes as [mqtt.Store] says.
func (s *Store) Lazy(writes []mqtt.Write) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := turn{number: s.submitted, writes: clone(writes), given: writes, lazy: true}
	s.note(t)
	for _, w := range t.writes {
		s.lazy[string(w.Key)] = w.Value
	}
	s.lazyAfter = s.submitted
	if !s.held && !s.lazyTimer {
		s.lazyTimer = true
		time.AfterFunc(lazyPeriod, func() {
			s.mu.Lock()
			s.lazyTimer = false
			held := s.held
			s.mu.Unlock()
			if !held {
				s.commitTo(math.MaxUint64, true)
			}
		})
	}
}

// Ready returns what was given to Fail.
func (s *Store) Ready() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Durable names who is told of commits. Set it before the first Submit.
func (s *Store) Durable(fn func(number uint64)) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.durableFn = fn
}

// Fail makes Ready return err; nil ends it.
func (s *Store) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.err = err
}

// Hold stops commits: what is submitted from now on waits, as it does while a
// disk hangs, until Release or Resume.
func (s *Store) Hold() {
	s.commit.Lock() // after a commit that is under way
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.held = true
}

// Release commits, in one commit, the waiting turns up to and including the
// one numbered. It returns after durability was told. It is for a store that
// is held; on any other it just does what is done anyway.
func (s *Store) Release(number uint64) { s.commitTo(number, false) }

// Resume ends a Hold and commits what waits.
func (s *Store) Resume() {
	s.mu.Lock()
	s.held = false
	s.mu.Unlock()
	s.commitTo(math.MaxUint64, false)
}

// Flush commits everything that waits, also what rides along and lazy writes,
// and returns after durability was told. A Hold does not stop it, a cut does.
func (s *Store) Flush() { s.commitTo(math.MaxUint64, true) }

// CutAfter lets nothing become durable that comes after the turn numbered, as
// if the power failed then: later turns, and what was lazily written after the
// next one was submitted. What is durable already stays.
func (s *Store) CutAfter(number uint64) {
	s.commit.Lock()
	defer s.commit.Unlock()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = number
}

// Reopen returns a new store that holds what was durable in this one, as the
// next process would find it: all durable turns, and of the lazy writes given
// up to then either all that could be there, or none. The old store makes
// nothing durable any more, like a process that was killed.
func (s *Store) Reopen(lazies bool) *Store {
	s.CutAfter(0)
	s.mu.Lock()
	number := s.durable
	s.mu.Unlock()
	return s.At(number, lazies)
}

// At returns a new store that holds what the disk shows after the turn
// numbered, durable or not, and the earlier ones, with the lazy writes given up
// to then or without any. One run of a scenario thus yields the restart after
// each of its turns; see Turns.
func (s *Store) At(number uint64, lazies bool) *Store {
	s.mu.Lock()
	defer s.mu.Unlock()
	disk := maps.Clone(s.start)
	for _, t := range s.log {
		if t.number > number || t.lazy && !lazies {
			continue
		}
		apply(disk, t.writes)
	}
	return newStore(disk)
}

// Turns returns the numbers of the turns submitted so far.
func (s *Store) Turns() []uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	var numbers []uint64
	for _, t := range s.log {
		if !t.lazy {
			numbers = append(numbers, t.number)
		}
	}
	return numbers
}

// Submitted returns the writes of the turn numbered, nil if it had none.
func (s *Store) Submitted(number uint64) []mqtt.Write {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.log {
		if !t.lazy && t.number == number {
			return t.writes
		}
	}
	return nil
}

// Last returns the numbers of the last turn that is durable and of the last
// one submitted.
func (s *Store) Last() (durable, submitted uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.durable, s.submitted
}

// Commits returns how many commits there were.
func (s *Store) Commits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.commits
}

// Len returns how many records are on disk.
func (s *Store) Len() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.disk)
}

// Size returns about how many bytes of memory the records on disk take.
func (s *Store) Size() (n int) {
	const each = 96 // a string, a slice, their share of the map, and rounding
	s.mu.Lock()
	defer s.mu.Unlock()
	for k, v := range s.disk {
		n += len(k) + len(v) + each
	}
	return n
}

func (s *Store) wakeLocked() {
	if s.committing {
		return
	}
	s.committing = true
	go func() {
		for {
			s.commitTo(math.MaxUint64, false)
			s.mu.Lock()
			if s.held || !slices.ContainsFunc(s.waiting, func(t turn) bool { return t.soon && t.number <= s.cut }) {
				s.committing = false
				s.mu.Unlock()
				return
			}
			s.mu.Unlock()
		}
	}()
}

// commitTo commits waiting turns up to the one numbered, then lazy writes if
// asked to, and tells of it.
func (s *Store) commitTo(number uint64, lazies bool) {
	s.commit.Lock()
	defer s.commit.Unlock()

	s.mu.Lock()
	number = min(number, s.cut)
	before := s.durable
	changed := false
	for len(s.waiting) > 0 && s.waiting[0].number <= number {
		t := s.waiting[0]
		s.waiting = s.waiting[1:]
		if !same(t.writes, t.given) {
			s.mu.Unlock()
			panic(fmt.Sprintf("mqtttest: writes of turn %d were changed after Submit", t.number))
		}
		apply(s.disk, t.writes)
		s.durable = t.number
		changed = true
	}
	if lazies && len(s.lazy) > 0 && s.lazyAfter <= s.durable && s.lazyAfter <= s.cut {
		for k, v := range s.lazy {
			apply(s.disk, []mqtt.Write{{Key: []byte(k), Value: v}})
		}
		clear(s.lazy)
		changed = true
	}
	if changed {
		s.commits++
	}
	durable := s.durable
	s.mu.Unlock()

	if durable != before && s.durableFn != nil {
		s.durableFn(durable)
	}
}

func apply(disk map[string][]byte, writes []mqtt.Write) {
	for _, w := range writes {
		if w.Value == nil {
			delete(disk, string(w.Key))
		} else {
			disk[string(w.Key)] = w.Value
		}
	}
}

func check(writes []mqtt.Write) error {
	size, big := 0, 0
	for _, w := range writes {
		if len(w.Key) == 0 {
			return fmt.Errorf("a write has no key")
		}
		size += len(w.Key)
		if len(w.Value) > bigValue {
			big += len(w.Value)
		} else {
			size += len(w.Value)
		}
	}
	if len(writes) > MaxWrites || size > MaxBytes || big > MaxBigBytes {
		return fmt.Errorf("%d writes of %d bytes, and %d bytes in large values, are more than a turn may hold",
			len(writes), size, big)
	}
	return nil
}

func clone(writes []mqtt.Write) []mqtt.Write {
	c := make([]mqtt.Write, len(writes))
	for i, w := range writes {
		c[i] = mqtt.Write{Key: bytes.Clone(w.Key), Value: bytes.Clone(w.Value)}
	}
	return c
}

func same(a, b []mqtt.Write) bool {
	return slices.EqualFunc(a, b, func(a, b mqtt.Write) bool {
		return bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && (a.Value == nil) == (b.Value == nil)
	})
}
