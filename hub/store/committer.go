package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/mqtt"
)

// A group is what one commit makes durable: whole turns in the order of their
// numbers, then lazy writes that are due. It is a plain value. Of several
// writes of a key the last one counts.
type group struct {
	number uint64 // one more than that of the group before
	time   time.Time
	writes []mqtt.Write
	size   int // of the records, as Badger counts, big values apart
	big    int // of the values that Badger keeps apart
}

// A backend makes groups durable, in the order in which they are given. Apply
// may block until it is so, or answer later: done is called once, on any
// goroutine. After an error the same group is given again, and none that comes
// later before it is done.
type backend interface {
	Apply(g group, done func(error))
}

// limits are those of design.md, "The turn".
const (
	groupWrites = 4000
	groupBytes  = 512 << 10
	groupBig    = 16 << 20

	// A lazy write that is due must find room also under constant load.
	lazyWrites = groupWrites / 8
	lazyBytes  = groupBytes / 8

	rideAlong  = time.Second     // a turn that is not soon waits this long at most
	lazyPeriod = 5 * time.Second // a lazy write waits about this long

	// Who waited for a commit often has the next message ready at once. The next
	// group waits for these, so that it is one and not two that take turns, which
	// halves the flushes of the disk: for as long as the commit took, and at most
	// for lingerLongest. If too few came, or as many come without waiting for
	// anything, the next few groups do not wait. With many on their way a flush is
	// little for each, and it is better to tell some while others are committed.
	lingerFrom    = 8    // turns that somebody waits for
	lingerMost    = 1000 // of them
	lingerLongest = 5 * time.Millisecond
	lingerRest    = 32 // groups at most that do not wait

	waitingBytes = 8 << 20  // more than this waiting: no new durable work
	waitingBig   = 64 << 20 // the same for big values
	waitingAge   = 5 * time.Second

	retryFirst = 100 * time.Millisecond
	retryLast  = 2 * time.Second
	failedSaid = time.Minute // the same failure again is logged after this

	// While the disk does not take anything, for weeks perhaps, turns that
	// were not refused (what ends, what is forgotten) wait in memory. From so
	// many writes on they become one turn that has the last of each key.
	mergeFrom = 4 * groupWrites
)

var errClosed = errors.New("store is closed")

// A turn is what one Submit gave.
type turn struct {
	number uint64
	writes []mqtt.Write
	size   int
	big    int
	at     time.Time
	soon   bool
}

// A committer gathers turns into groups while the group before is being made
// durable. One goroutine owns the order; nobody who gives work waits for it. Each
// hand-over to another goroutine wakes a processor, which for a small group
// costs as much as the group: it has the backend work here as well, and tells
// here, unless that would hold up the next group.
type committer struct {
	backend backend
	log     *slog.Logger
	wake    chan struct{} // of capacity 1: there may be work
	tells   chan *batch   // for the teller
	untold  atomic.Int32  // batches that the teller has
	stopped chan struct{} // closed when run has returned
	abandon chan struct{} // closed when close has given up

	// Read without the lock by ready, which is asked before every turn.
	waiting atomic.Int64 // bytes of turns not yet durable, big values apart
	big     atomic.Int64 // bytes of their big values
	oldest  atomic.Int64 // when the oldest of them was given, nanoseconds since start
	start   time.Time

	mu        sync.Mutex
	turns     []turn
	submitted uint64    // the number of the last turn given
	soon      int       // how many of turns are soon
	target    int       // the next group waits until so many of turns are soon
	until     time.Time // but not for longer
	rest      int       // so many groups do not wait
	vain      int       // what rest was last set to; it doubles
	size      int       // of turns
	writes    int       // of turns
	mergeAt   int       // writes from which turns that wait for long are merged
	said      string    // the failure last logged
	saidAt    time.Time
	lazy      lazies
	flying    bool          // a batch is at the backend
	hurry     chan struct{} // if somebody waits in settle: closed once nothing waits
	closing   bool
	durableFn func(uint64)
	stats     Stats
}

func newCommitter(b backend, log *slog.Logger) *committer {
	c := &committer{
		backend: b,
		log:     log,
		wake:    make(chan struct{}, 1),
		tells:   make(chan *batch, 1),
		stopped: make(chan struct{}),
		abandon: make(chan struct{}),
		start:   time.Now(),
		mergeAt: mergeFrom,
	}
	c.lazy.init()
	go c.run()
	return c
}

// submit queues a turn. It never blocks.
func (c *committer) submit(t turn) {
	t.at = time.Now()
	t.writes = c.possible(t.writes)
	for _, w := range t.writes {
		size, big := weigh(w)
		t.size += size
		t.big += big
	}
	c.mu.Lock()
	if c.closing {
		c.stats.Refused++
		c.mu.Unlock()
		c.log.Error("store: turn came after close", "turn", t.number)
		return
	}
	if t.number <= c.submitted {
		c.log.Error("store: turn came out of order", "turn", t.number, "after", c.submitted)
	}
	c.submitted = max(c.submitted, t.number)
	c.lazy.cancel(t.writes)
	first := len(c.turns) == 0
	c.turns = append(c.turns, t)
	c.size += t.size
	c.writes += len(t.writes)
	if t.soon {
		c.soon++
	}
	if c.writes >= c.mergeAt && t.at.Sub(c.turns[0].at) > waitingAge {
		c.merge()
	}
	look := t.soon && c.soon >= c.target || first || c.full()
	c.waiting.Add(int64(t.size))
	c.big.Add(int64(t.big))
	c.oldest.CompareAndSwap(0, c.nanos(t.at))
	c.mu.Unlock()
	if look {
		c.nudge()
	}
}

// full tells whether what waits fills a group. The lock is held.
func (c *committer) full() bool { return c.size >= groupBytes || c.writes >= groupWrites }

// merge makes one turn of all that wait. They become durable together then,
// which is no less than what they were given for.
func (c *committer) merge() {
	last := make(map[string]int, len(c.turns))
	n := 0
	for _, t := range c.turns {
		for _, w := range t.writes {
			last[string(w.Key)] = n
			n++
		}
	}
	merged := turn{number: c.turns[len(c.turns)-1].number, at: c.turns[0].at, soon: c.soon > 0}
	merged.writes = make([]mqtt.Write, 0, len(last))
	n = 0
	for _, t := range c.turns {
		for _, w := range t.writes {
			if last[string(w.Key)] == n {
				size, big := weigh(w)
				merged.size += size
				merged.big += big
				merged.writes = append(merged.writes, w)
			}
			n++
		}
		c.waiting.Add(-int64(t.size))
		c.big.Add(-int64(t.big))
	}
	c.waiting.Add(int64(merged.size))
	c.big.Add(int64(merged.big))
	c.turns = append([]turn(nil), merged)
	c.size, c.writes, c.soon = merged.size, len(merged.writes), min(c.soon, 1)
	c.mergeAt = max(mergeFrom, 2*c.writes)
}

// giveLazy merges lazy writes. It never blocks.
func (c *committer) giveLazy(writes []mqtt.Write) {
	writes = c.possible(writes)
	c.mu.Lock()
	if c.closing {
		c.mu.Unlock()
		return
	}
	first := c.lazy.add(writes, time.Now())
	c.mu.Unlock()
	if first {
		c.nudge()
	}
}

// settle has all that was given committed now, lazy writes too, and tells
// whether it was within a time. It is for one at a time, who gives nothing more
// meanwhile.
func (c *committer) settle(within time.Duration) bool {
	c.mu.Lock()
	if c.empty() {
		c.mu.Unlock()
		return true
	}
	settled := make(chan struct{})
	c.hurry = settled
	c.mu.Unlock()
	c.nudge()
	timer := time.NewTimer(within)
	defer timer.Stop()
	select {
	case <-settled:
		return true
	case <-timer.C:
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hurry = nil
	return c.empty()
}

// empty tells whether nothing waits and nothing is at the backend. The lock is
// held.
func (c *committer) empty() bool {
	return len(c.turns) == 0 && len(c.lazy.fresh) == 0 && len(c.lazy.ready) == 0 && !c.flying
}

// ready says why no new durable work can be taken, or nil.
func (c *committer) ready() error {
	oldest := c.oldest.Load()
	if oldest == 0 {
		return nil
	}
	if c.waiting.Load() > waitingBytes || c.big.Load() > waitingBig {
		return fmt.Errorf("disk is too slow: %d kB wait for it", (c.waiting.Load()+c.big.Load())>>10)
	}
	if age := time.Since(c.start) - time.Duration(oldest); age > waitingAge {
		return fmt.Errorf("disk has been stuck for %v", age.Truncate(time.Second))
	}
	return nil
}

// close commits what waits, lazy writes too, and ends the goroutine. With a
// backend that does not answer it gives up when ctx is done.
func (c *committer) close(ctx context.Context) error {
	c.mu.Lock()
	c.closing = true
	c.mu.Unlock()
	c.nudge()
	select {
	case <-c.stopped:
		return nil
	case <-ctx.Done():
		close(c.abandon)
		return fmt.Errorf("%d kB could not be written: %w", (c.waiting.Load()+c.big.Load())>>10, ctx.Err())
	}
}

func (c *committer) nudge() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// nanos is at as the atomic oldest holds it, where 0 means none.
func (c *committer) nanos(at time.Time) int64 { return max(1, int64(at.Sub(c.start))) }

// run takes groups and gives them to the backend, one at a time. Whoever waits
// for a group is told at once, or if the next one is there already, meanwhile.
func (c *committer) run() {
	defer close(c.stopped)
	var teller sync.WaitGroup
	teller.Go(func() {
		for b := range c.tells {
			c.tell(b)
			c.untold.Add(-1)
		}
	})
	defer teller.Wait()
	defer close(c.tells)
	var (
		answer = make(chan error, 1)
		number uint64
		flight *batch // at the backend
		retry  time.Duration
	)
	timer := time.NewTimer(0) // one for all waits; nothing is armed while nothing waits
	defer timer.Stop()
	apply := func(b *batch) {
		b.started = time.Now()
		c.backend.Apply(b.group, func(err error) {
			b.took = time.Since(b.started)
			answer <- err
		})
	}
	for {
		var tell *batch
		if flight != nil {
			var err error
			select {
			case err = <-answer:
			case <-c.abandon:
				return
			}
			if err != nil {
				retry = min(max(2*retry, retryFirst), retryLast)
				c.failed(flight, err, retry)
				timer.Reset(retry)
				select {
				case <-timer.C:
				case <-c.abandon:
					return
				}
				apply(flight)
				continue
			}
			if retry > 0 {
				c.log.Info("store: commits succeed again")
			}
			retry = 0
			tell, flight = flight, nil
			c.landed(tell)
		}
		next, wait, closed := c.next(time.Now())
		if tell != nil {
			if next != nil || c.untold.Load() > 0 {
				c.untold.Add(1)
				c.tells <- tell
			} else {
				c.tell(tell)
			}
		}
		if next != nil {
			number++
			next.group.number = number
			flight = next
			apply(flight)
			continue
		}
		if closed {
			return
		}
		if tell != nil {
			continue // what was told may have given new work
		}
		if wait > 0 {
			timer.Reset(wait)
		} else {
			timer.Stop()
		}
		select {
		case <-c.wake:
		case <-timer.C:
		}
	}
}

// A batch is a group and what the committer remembers of it.
type batch struct {
	group    group
	turns    []turn
	last     uint64 // number of the last turn
	soon     int    // of turns
	gathered bool   // it waited until those had come that it waited for
	lazies   int
	oldest   time.Time
	started  time.Time
	took     time.Duration
}

// next takes the group that should be committed now, or nil and how long to
// wait for one (0: until something comes). closed tells that there will be
// none any more.
func (c *committer) next(now time.Time) (b *batch, wait time.Duration, closed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()

	lazyDue := c.lazy.due(now, c.submitted, c.closing || c.hurry != nil)
	due := c.closing || c.hurry != nil && len(c.turns) > 0 || c.full() || lazyDue
	if !due && c.soon < c.target && now.Before(c.until) {
		return nil, c.until.Sub(now), false
	}
	gathered := c.target > 0 && c.soon >= c.target
	if c.soon < c.target && !now.Before(c.until) {
		c.learn(false)
	}
	c.target = 0 // from here on a turn that is soon is looked at at once
	due = due || c.soon > 0
	if !due && len(c.turns) > 0 {
		wait = rideAlong - now.Sub(c.turns[0].at)
		due = wait <= 0
	}
	if !due {
		if w := c.lazy.wait(now); w > 0 && (wait <= 0 || w < wait) {
			wait = w
		}
		return nil, wait, false
	}
	b = &batch{group: group{time: now}, gathered: gathered}
	c.takeTurns(b, lazyDue)
	c.takeLazies(b)
	if len(b.turns) == 0 && b.lazies == 0 {
		return nil, 0, c.closing
	}
	c.flying = true
	return b, 0, false
}

// linger decides, as b has landed, whether the next group waits for those who
// waited for it. The lock is held.
func (c *committer) linger(b *batch) {
	if b.gathered {
		c.learn(c.soon <= b.soon/4) // or they come all the time
	}
	all := b.soon + c.soon
	switch {
	case b.soon < lingerFrom || all > lingerMost:
	case c.rest > 0:
		c.rest--
	default:
		c.target = all - all/10
		c.until = time.Now().Add(min(b.took, lingerLongest))
	}
}

// learn notes whether it was good that a group waited. The lock is held.
func (c *committer) learn(good bool) {
	if good {
		c.vain = 0
		return
	}
	c.vain = min(max(1, 2*c.vain), lingerRest)
	c.rest = c.vain
}

// takeTurns moves as many waiting turns into b as one group holds, at least
// one. The backend knows what to do with a turn that is larger than a group.
func (c *committer) takeTurns(b *batch, lazyDue bool) {
	maxWrites, maxBytes := groupWrites, groupBytes
	if lazyDue {
		maxWrites, maxBytes = groupWrites-lazyWrites, groupBytes-lazyBytes
	}
	n, writes, size, big := 0, 0, 0, 0
	for _, t := range c.turns {
		if n > 0 && (writes+len(t.writes) > maxWrites || size+t.size > maxBytes || big+t.big > groupBig) {
			break
		}
		n++
		writes += len(t.writes)
		size += t.size
		big += t.big
	}
	if n == 0 {
		return
	}
	b.turns = append([]turn(nil), c.turns[:n]...)
	b.oldest = b.turns[0].at
	b.group.size, b.group.big = size, big
	if n == 1 {
		b.group.writes = b.turns[0].writes
	} else {
		b.group.writes = make([]mqtt.Write, 0, writes)
		for _, t := range b.turns {
			b.group.writes = append(b.group.writes, t.writes...)
		}
	}
	for _, t := range b.turns {
		b.last = max(b.last, t.number)
		if t.soon {
			b.soon++
		}
	}
	c.soon -= b.soon
	c.size -= size
	c.writes -= writes
	rest := copy(c.turns, c.turns[n:])
	clear(c.turns[rest:])
	c.turns = c.turns[:rest]
	if cap(c.turns) > 4*groupWrites && rest < groupWrites {
		c.turns = append(make([]turn, 0, groupWrites), c.turns...)
	}
}

// takeLazies fills b up with lazy writes that are due, unless a turn that was
// given before them still waits.
func (c *committer) takeLazies(b *batch) {
	if len(c.turns) > 0 && c.turns[0].number <= c.lazy.after {
		return
	}
	// Not to append into the writes of the only turn, which are its giver's.
	b.group.writes = b.group.writes[:len(b.group.writes):len(b.group.writes)]
	for key, value := range c.lazy.ready {
		w := mqtt.Write{Key: []byte(key), Value: value}
		size, big := weigh(w)
		full := len(b.group.writes) >= groupWrites || b.group.size+size > groupBytes || b.group.big+big > groupBig
		if full && len(b.group.writes) > 0 {
			return
		}
		b.group.writes = append(b.group.writes, w)
		b.group.size += size
		b.group.big += big
		b.lazies++
		c.lazy.took(key, value)
	}
}

// landed notes that a batch is on disk.
func (c *committer) landed(b *batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.flying = false
	size, big := 0, 0
	for _, t := range b.turns {
		size += t.size
		big += t.big
	}
	c.waiting.Add(-int64(size))
	c.big.Add(-int64(big))
	c.linger(b)
	if len(c.turns) > 0 {
		c.oldest.Store(c.nanos(c.turns[0].at))
	} else {
		c.oldest.Store(0)
	}
	c.stats.Groups++
	c.stats.Turns += uint64(len(b.turns))
	c.stats.Lazies += uint64(b.lazies)
	c.stats.Writes += uint64(len(b.group.writes))
	c.stats.Bytes += uint64(b.group.size + b.group.big)
	c.stats.LastCommit = b.took
	c.stats.LongestCommit = max(c.stats.LongestCommit, b.took)
	c.stats.LastError = nil
	if c.hurry != nil && c.empty() {
		close(c.hurry)
		c.hurry = nil
	}
}

// tell answers those who wait for a batch, outside every lock.
func (c *committer) tell(b *batch) {
	c.mu.Lock()
	fn := c.durableFn
	c.mu.Unlock()
	if len(b.turns) > 0 && fn != nil {
		fn(b.last)
	}
}

func (c *committer) failed(b *batch, err error, retry time.Duration) {
	c.mu.Lock()
	c.stats.Failures++
	c.stats.LastError = err
	again := err.Error() == c.said && time.Since(c.saidAt) < failedSaid
	if !again {
		c.said, c.saidAt = err.Error(), time.Now()
	}
	c.mu.Unlock()
	if again {
		return
	}
	c.log.Error("store: commit failed, will be tried again", "err", err, "in", retry,
		"turns", len(b.turns), "writes", len(b.group.writes))
}

// possible leaves out writes that no store can take: they would block all
// that come after them. Only a mistake in the program makes them.
func (c *committer) possible(writes []mqtt.Write) []mqtt.Write {
	for i, w := range writes {
		if possible(w) {
			continue
		}
		kept := append([]mqtt.Write(nil), writes[:i]...)
		for _, w := range writes[i:] {
			if possible(w) {
				kept = append(kept, w)
				continue
			}
			c.mu.Lock()
			c.stats.Refused++
			c.mu.Unlock()
			c.log.Error("store: write left out: no key, a reserved key, or too long",
				"key", len(w.Key), "value", len(w.Value))
		}
		return kept
	}
	return writes
}

func possible(w mqtt.Write) bool {
	return len(w.Key) > 0 && w.Key[0] != reserved && len(w.Key) <= maxKey && len(w.Value) <= maxValue
}

// weigh returns how many bytes of a transaction a write takes as Badger counts
// them, and the size of a value that is kept apart.
func weigh(w mqtt.Write) (size, big int) {
	const overhead = 2 + 10 // meta bytes; version
	n := 0
	if w.Value != nil {
		n = recordSize(w.Key, w.Value)
	}
	key := min(len(w.Key), longKeyDisk)
	if n >= bigValue {
		return key + pointerSize + overhead, n
	}
	return key + n + overhead, 0
}
