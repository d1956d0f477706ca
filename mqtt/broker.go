package mqtt

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"runtime"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/mqtt/packet"
	"lar.home/mqtt/topic"
)

// Config is what a broker is made of.
type Config struct {
	Store Store
	// Clock tells the time; nil: the machine's, trusted.
	Clock func() Now
	// Rand is where client identifiers that the broker assigns come from;
	// nil: crypto/rand.
	Rand io.Reader
	// Authenticate tells who a client is ("" for one without a credential) or
	// why it is refused. It may take its time: it is called outside the lock.
	// nil lets everybody in.
	Authenticate func(Login) (identity string, reason packet.Reason)
	// Enhanced begins an enhanced authentication, section 4.12; nil, or nil
	// as its answer: there is no such method. Without a method in CONNECT it
	// is Authenticate that is asked.
	Enhanced func(method string, l Login) Exchange
	// Authorize tells whether a client may do what it asks for. It is called
	// under the house's lock, so it reads an immutable value and is quick;
	// when its answers change, RightsChanged is called. nil allows everything.
	Authorize func(identity, clientID string, a Access, topic string) bool
	// Consumers take part in every turn, in this order.
	Consumers []Consumer
	Limits    Limits
	Log       *slog.Logger
	// SetAside is handed a message at which a consumer panicked, and the words
	// of the panic, on a worker of the broker's. Nil keeps neither.
	SetAside func(m *Message, why string)
	// Rebuild makes the consumers anew from the store, in a turn of its own, as
	// one of them has panicked. It is called under the house's lock. Nil: they
	// go on as they are.
	Rebuild func(t *Turn) error
	// Settled tells whether all that the store was given is on disk, lazy
	// writes too, having waited for it within a time. Nil: it always is.
	Settled func(within time.Duration) bool
	// Version is what the broker says of itself in $SYS/broker/version.
	Version string
}

// A Broker serves MQTT clients.
type Broker struct {
	store        Store
	clock        func() Now
	rand         io.Reader
	authenticate func(Login) (string, packet.Reason)
	enhanced     func(method string, l Login) Exchange
	authorize    func(identity, clientID string, a Access, topic string) bool
	consumers    []Consumer
	setAside     func(m *Message, why string)
	rebuild      func(t *Turn) error
	settled      func(within time.Duration) bool
	log          *slog.Logger
	version      string
	stats        counters
	limitsNow    atomic.Pointer[Limits]
	lastRare     atomic.Int64 // Run time of what was rare last, see afterYou
	lingering    atomic.Int32 // connections that do, see linger

	durable    atomic.Uint64 // number of the last turn on disk
	memory     atomic.Int64  // bytes of messages that wait in it, see memory.go
	generation atomic.Uint64 // of the routes
	walkPace   pace
	resting    atomic.Pointer[string]

	mu              sync.Mutex // the house's lock: it guards what follows, down to the blank line
	turn            Turn
	pub             publication
	number          uint64 // of the turn being decided, or of the next
	submitted       uint64 // of the last turn that wrote
	block           uint64 // turn numbers below it are leased
	lastNow         Now
	closed          bool
	sessions        map[string]*session
	kept            map[uint32]*session
	keptBy          map[string]int // kept sessions by identity
	queuedBytes     int            // of all kept sessions, shared bodies once
	leaving         []*session     // that have in memory what could lie on disk
	lastSession     uint32
	subs            topic.Tree[*subscription, struct{}]
	shares          map[string]*shareGroup
	groupSubs       map[*shareGroup]*subscription
	retained        topic.Names[*retainedMessage]
	retainedBytes   int    // in memory
	retainedLarge   int    // of payloads that lie on disk, or will
	walking         int    // cursors that have not come to their end
	liveSeq         uint64 // messages whose topic had a retained one, routed while cursors walked
	bodies          map[uint64]bodyRefs
	bodiesOfTurn    int
	spreads         []*spread
	spreading       bool
	deadlines       deadlines
	armed           uint64 // deadlines so far
	wakes           [maxConsumers]*deadline
	conns           map[*Conn]struct{}
	connsFrom       map[netip.Addr]int // per address, loopback aside
	connected       int                // clients
	sys             sys
	rights          uint32 // counts changes of what Authorize answers
	unauthenticated int
	showing         bool
	showAgain       bool
	recalls         []recall // to be shown again by the next pass
	broken          broken

	routesMu sync.RWMutex // taken after the house's lock, or alone
	routes   map[string]*route
	routesOf uint64

	heldMu sync.Mutex // taken after a connection's lock, or alone
	held   []*Conn

	attendMu   sync.Mutex // taken alone or after any other
	unattended []*Conn

	afterMu sync.Mutex // taken after the house's lock, or alone
	after   []afterTurn

	newcomers newcomers
	jobs      jobs
	large     budget
	listeners listeners
	hangups   hangups
	poked     chan struct{}
	stopping  chan struct{}
	timeEnded chan struct{}
	refusals  rateLimit
	limitHits map[string]*limitHit // by the name of the limit; never changed
}

// afterTurn is something to be done once a turn is on disk.
type afterTurn struct {
	number uint64
	fn     func()
}

// counters are what the broker counts, since it started.
type counters struct {
	received, sent, dropped, refused, connects, panics atomic.Uint64 // messages, but for the last three
	undecided                                          atomic.Uint64 // messages not brought to consumers that had panicked

	packetsIn         atomic.Uint64
	otherOut          atomic.Uint64 // packets sent that carry no message
	payloadIn         atomic.Uint64 // bytes of messages received, and so on
	payloadOut        atomic.Uint64
	bytesIn, bytesOut atomic.Uint64
	sockets           atomic.Uint64 // connections opened
}

func (s *counters) packetsOut() uint64 { return s.sent.Load() + s.otherOut.Load() }

// sentOne counts a message that goes out.
func (s *counters) sentOne(payload int) {
	s.sent.Add(1)
	s.payloadOut.Add(uint64(payload))
}

// New returns a broker that has taken up what the store holds. It serves
// nobody until Serve or Open is called.
func New(cfg Config) (*Broker, error) {
	if len(cfg.Consumers) > maxConsumers {
		return nil, fmt.Errorf("%d consumers: at most %d", len(cfg.Consumers), maxConsumers)
	}
	b := &Broker{
		store:        cfg.Store,
		clock:        cfg.Clock,
		rand:         cfg.Rand,
		authenticate: cfg.Authenticate,
		enhanced:     cfg.Enhanced,
		authorize:    cfg.Authorize,
		rights:       1,
		consumers:    cfg.Consumers,
		setAside:     cfg.SetAside,
		rebuild:      cfg.Rebuild,
		settled:      cfg.Settled,
		log:          cfg.Log,
		version:      cfg.Version,
		sessions:     make(map[string]*session),
		kept:         make(map[uint32]*session),
		keptBy:       make(map[string]int),
		shares:       make(map[string]*shareGroup),
		groupSubs:    make(map[*shareGroup]*subscription),
		bodies:       make(map[uint64]bodyRefs),
		conns:        make(map[*Conn]struct{}),
		connsFrom:    make(map[netip.Addr]int),
		routes:       make(map[string]*route),
		poked:        make(chan struct{}, 1),
		stopping:     make(chan struct{}),
		timeEnded:    make(chan struct{}),
		limitHits:    newLimitHits(),
		newcomers:    newNewcomers(),
	}
	b.SetLimits(cfg.Limits)
	if b.clock == nil {
		started := time.Now()
		b.clock = func() Now {
			now := time.Now()
			return Now{Wall: now, Trusted: true, Run: now.Sub(started)}
		}
	}
	if b.rand == nil {
		b.rand = rand.Reader
	}
	if b.log == nil {
		b.log = slog.New(slog.DiscardHandler)
	}
	b.jobs.do = b.safely
	b.jobs.limit = max(1, runtime.GOMAXPROCS(0)-1)
	b.lastNow = b.clock()
	b.turn.ready = b.store.Ready
	b.turn.panicked = b.consumerPanicked
	b.turn.broken = b.consumerBroke
	b.turn.whole = b.broken.whole
	b.store.Durable(b.committed)
	if err := b.takeUp(); err != nil {
		return nil, err
	}
	b.start()
	go b.keepTime()
	return b, nil
}

// start is the first turn: consumers place their deadlines and are shown the
// retained messages they want, before anybody connects.
func (b *Broker) start() {
	b.mu.Lock()
	b.showing = true // the loop below does it
	b.mu.Unlock()
	b.turnNow(func(t *Turn) {
		for _, c := range b.consumers {
			b.wake(t, c)
		}
	})
	for w := (&showing{}); b.show(w); {
	}
}

// Do runs fn as one turn: a form, a call of the API. It returns fn's error,
// having dropped what the turn had gathered, or nil once everything the turn
// wrote is on disk. When ctx ends first its error is returned; the turn stands
// all the same.
func (b *Broker) Do(ctx context.Context, fn func(t *Turn) error) error {
	batch := batches.Get().(*Batch)
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		batches.Put(batch)
		return errors.New("the hub is stopping")
	}
	t := b.begin(batch)
	err := b.try(t, fn)
	if err != nil {
		t.drop()
	}
	number := b.finish(t)
	b.mu.Unlock()
	b.Flush(batch)
	batches.Put(batch)
	if err != nil || number <= b.durable.Load() {
		return err
	}
	done := make(chan struct{})
	b.onDurable(number, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// try runs fn; a panic is an error of this turn only.
func (b *Broker) try(t *Turn, fn func(t *Turn) error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.panicked(r)
			b.toRebuild()
			err = errors.New("something went wrong inside; the log says what")
		}
	}()
	return fn(t)
}

// safely does work on a goroutine of the broker's own; a panic is the end of
// this work only.
func (b *Broker) safely(work func()) {
	defer func() {
		if r := recover(); r != nil {
			b.panicked(r)
		}
	}()
	work()
}

func (b *Broker) panicked(r any, args ...any) {
	b.stats.panics.Add(1)
	b.log.Error("panic", append([]any{"err", fmt.Sprint(r), "stack", string(debug.Stack())}, args...)...)
}

// consumerPanicked reports a panic of a consumer, whose message is set aside. It
// is not brought to it again; to its publisher it counts as received. Without a
// message (a deadline) what is set aside has no topic.
func (b *Broker) consumerPanicked(r any, m *Message) {
	if m == nil {
		m = &Message{}
	}
	b.panicked(r, "topic", m.Topic)
	if b.setAside == nil {
		return
	}
	aside := &Message{Topic: m.Topic, Payload: slices.Clone(m.Payload), QoS: m.QoS, Retain: m.Retain, Retained: m.Retained, ClientID: m.ClientID}
	why := fmt.Sprint(r)
	b.turn.Later(func() { b.setAside(aside, why) })
}

// turnNow runs fn as a turn and returns the number whose commit it waits for. A
// panic goes on to the caller; what the turn had gathered is dropped, and
// nobody else waits for the lock in vain.
func (b *Broker) turnNow(fn func(t *Turn)) (number uint64) {
	batch := batches.Get().(*Batch)
	b.mu.Lock()
	whole := false
	defer func() {
		if !whole {
			b.dropPanicked()
		}
		b.mu.Unlock()
		b.Flush(batch)
		batches.Put(batch)
	}()
	t := b.begin(batch)
	fn(t)
	number = b.finish(t)
	whole = true
	return number
}

// turnHere runs fn as a turn of the broker's own: a deadline, the end of a
// connection. A panic is the end of this turn only. The house's lock is held.
func (b *Broker) turnHere(batch *Batch, fn func(t *Turn)) {
	defer func() {
		if r := recover(); r != nil {
			b.panicked(r)
			b.dropPanicked()
		}
	}()
	t := b.begin(batch)
	fn(t)
	b.finish(t)
}

// begin starts a turn. The house's lock is held until finish.
func (b *Broker) begin(batch *Batch) *Turn {
	b.turn.Now = b.clock()
	return b.beginHere(batch)
}

// beginHere starts a turn at the instant of the one before.
func (b *Broker) beginHere(batch *Batch) *Turn {
	if b.broken.is {
		b.mend(batch)
	}
	t := &b.turn
	t.Number = b.number
	t.batch = batch
	t.consumed, t.rebuild = false, false
	b.bodiesOfTurn = 0
	return t
}

// Bounds of what one turn may set off.
const (
	maxHops     = 8
	maxMessages = 256
)

// finish ends a turn: the messages made in it are decided, its writes go to
// the store, what it sends goes out or waits. It returns the turn's number, or
// 0 if it wrote nothing.
func (b *Broker) finish(t *Turn) uint64 {
	for i := 0; i < len(t.published); i++ {
		m := t.published[i]
		if m.hop > maxHops || i >= maxMessages {
			b.log.Warn("messages set each other off without end; dropped", "topic", m.Topic)
			b.stats.dropped.Add(1)
			continue
		}
		if err := topic.ValidName(m.Topic); err != nil {
			b.log.Warn("message with a bad topic dropped", "topic", m.Topic, "err", err)
			continue
		}
		if reserved(m.Topic) { // to everybody alike (SEC-27)
			b.log.Warn("message to a topic of the broker's own dropped", "topic", m.Topic)
			b.stats.refused.Add(1)
			continue
		}
		t.hop = m.hop
		b.publishMade(t, m)
	}
	t.hop = 0
	number := uint64(0)
	if t.rewired {
		b.rewire(t)
	}
	if t.rebuild {
		b.toRebuild()
	}
	used := len(t.writes) > 0 || len(t.lazies) > 0 || len(t.published) > 0
	if len(t.writes) > 0 {
		number = t.Number
		b.submitted = number
		if b.block-b.number < leaseBlock/2 {
			b.block = b.number + leaseBlock
			t.writes = append(t.writes, Write{blockKey, blockRecord(b.block)})
		}
	}
	if used {
		b.number++
	}
	for i := range t.sends {
		s := &t.sends[i]
		after := s.after
		if s.own {
			after = max(after, number)
		}
		s.c.push(s, after, t.batch)
		*s = send{}
	}
	t.sends = t.sends[:0]
	t.copy.m = nil
	if number != 0 {
		b.store.Submit(number, t.take(), t.soon)
	}
	if len(t.lazies) > 0 {
		b.store.Lazy(t.lazies)
		t.lazies = nil
	}
	for _, fn := range t.after {
		if number == 0 {
			t.batch.after = append(t.batch.after, fn)
		} else {
			b.onDurable(number, fn)
		}
	}
	for _, w := range t.wakes {
		b.setWake(w)
	}
	for _, fn := range t.later {
		b.jobs.add(fn)
	}
	batch := t.batch
	t.reset()
	if len(b.spreads) > 0 {
		b.spreadOut(batch)
	}
	return number
}

// What a turn has gathered when split ends it: well below what the store takes
// at once, and below maxMessages.
const (
	splitWrites   = 1000
	splitBytes    = 128 << 10
	splitMessages = 64
)

// heavy tells whether a turn has grown so large that what remains to be done
// should be left to the next.
func (t *Turn) heavy() bool {
	return len(t.writes) >= splitWrites || t.bytes >= splitBytes || len(t.published) >= splitMessages
}

// split ends a turn that has grown large and begins the next one. It is for
// work whose parts may reach the disk one after the other, because what
// acknowledges it is sent in the last.
func (b *Broker) split(t *Turn) {
	if t.heavy() {
		batch := t.batch
		b.finish(t)
		b.begin(batch)
	}
}

// drop forgets what a turn has gathered.
func (t *Turn) drop() {
	if len(t.writes) > 0 {
		t.writes = nil
	}
	t.lazies, t.bytes = nil, 0
	t.sends = t.sends[:0]
	t.rewired, t.soon = false, false
	t.hop = 0
	t.recalls = t.recalls[:0]
	clear(t.published)
	clear(t.after)
	clear(t.later)
	t.published, t.after, t.later, t.wakes = t.published[:0], t.after[:0], t.later[:0], t.wakes[:0]
}

func (t *Turn) reset() {
	if len(t.published) > 0 || len(t.after) > 0 || len(t.later) > 0 || len(t.wakes) > 0 || t.rewired || t.soon {
		t.drop()
	}
}

// setWake arms the deadline that a consumer asked for.
func (b *Broker) setWake(w wake) {
	for i, c := range b.consumers {
		if c != w.consumer {
			continue
		}
		b.cancel(b.wakes[i])
		b.wakes[i] = nil
		if w.at >= 0 {
			b.wakes[i] = b.exactly(w.at, func(t *Turn) {
				b.wakes[i] = nil
				b.wake(t, c)
			})
		}
	}
}

// durably writes a record for which somebody waits.
func (t *Turn) durably(key, value []byte) {
	t.alongside(key, value)
	t.soon = true
}

// alongside writes a record for which nobody waits; it rides along within a
// second.
func (t *Turn) alongside(key, value []byte) {
	if cap(t.writes) == 0 {
		t.writes = make([]Write, 0, writesAtOnce)
	}
	t.writes = append(t.writes, Write{Key: key, Value: value})
	t.bytes += len(key) + len(value)
}

// writesAtOnce is for how many writes room is made: most turns have one.
const writesAtOnce = 32

// take takes the writes out of the turn. The next turn has the room behind
// them, unless they are large: it keeps them in memory.
func (t *Turn) take() []Write {
	n := len(t.writes)
	writes := t.writes[:n:n]
	t.writes = t.writes[n:]
	if t.bytes > slabSize {
		t.writes = nil
	}
	t.bytes = 0
	return writes
}

func (t *Turn) queueKey(session uint32, n uint64) []byte {
	return appendQueueKey(t.slab.room(queueKeySize), session, n)
}

// forget deletes a record; it rides along within a second.
func (t *Turn) forget(key []byte) { t.alongside(key, nil) }

// publishMade decides a message that was made in the turn. It stands alone so
// that its variables do not lie on the stacks of all connections.
//
//go:noinline
func (b *Broker) publishMade(t *Turn, m *Message) {
	b.publish(t, &publication{m: m, topic: m.Topic, gathered: true, held: true}, nil, nil)
}

// toSend adds an empty send for the end of the turn, to be filled in: a send is
// large, and the stacks of the connections, on which it would lie on its way,
// are most of what a connection takes.
func (t *Turn) toSend() *send {
	if n := len(t.sends); n < cap(t.sends) {
		t.sends = t.sends[:n+1]
	} else {
		t.sends = append(t.sends, send{})
	}
	s := &t.sends[len(t.sends)-1]
	*s = send{}
	return s
}

// send queues something for the end of the turn.
func (t *Turn) send(s *send) { *t.toSend() = *s }

// copyFor returns the send of a message to a connection, to be filled in and
// given to sendPublish, which does not keep it.
func (t *Turn) copyFor(c *Conn) *send {
	t.copy = send{}
	t.copy.c, t.copy.lanes = c, messageLane
	return &t.copy
}

// sendPacket queues a packet that nothing overtakes in its lanes.
func (t *Turn) sendPacket(c *Conn, l lanes, after uint64, p packet.Packet) {
	s := t.toSend()
	s.c, s.lanes, s.own, s.after, s.p = c, l, true, after, p
}

// sendAck queues PUBACK, PUBREC, PUBREL or PUBCOMP, which wait for turn after.
func (t *Turn) sendAck(c *Conn, after uint64, ack packet.Type, id uint16, reason packet.Reason) *send {
	s := t.toSend()
	s.c, s.lanes, s.after, s.ack, s.id, s.reason = c, ackLane, after, ack, id, reason
	return s
}

// list lists a connection that waits for a commit. c.mu is held.
func (b *Broker) list(c *Conn) {
	b.heldMu.Lock()
	b.held = append(b.held, c)
	b.heldMu.Unlock()
}

// onDurable has fn called once turn number is on disk.
func (b *Broker) onDurable(number uint64, fn func()) {
	b.afterMu.Lock()
	waiting := number > b.durable.Load()
	if waiting {
		b.after = append(b.after, afterTurn{number, fn})
	}
	b.afterMu.Unlock()
	if !waiting {
		b.safely(fn)
	}
}

// committed is called by the store: turns up to number are on disk. It takes
// only connections' locks.
func (b *Broker) committed(number uint64) {
	b.durable.Store(number)
	b.heldMu.Lock()
	waiting := b.held
	b.held = nil
	b.heldMu.Unlock()
	for _, c := range waiting {
		c.mu.Lock()
		c.release(number)
		c.listed = c.msgs.len() > 0 || c.acks.len() > 0
		if c.listed {
			b.list(c)
		}
		c.mu.Unlock()
		c.flush()
	}
	b.afterMu.Lock()
	var due []func()
	rest := b.after[:0]
	for _, a := range b.after {
		if a.number <= number {
			due = append(due, a.fn)
		} else {
			rest = append(rest, a)
		}
	}
	clear(b.after[len(rest):])
	b.after = rest
	b.afterMu.Unlock()
	for _, fn := range due {
		b.safely(fn)
	}
}

// refuse logs, at a bounded rate, that durable work was refused.
func (b *Broker) refuse(what string, err error, args ...any) {
	b.stats.refused.Add(1)
	if b.refusals.allow(b.clock().Run) {
		b.log.Warn(what, append([]any{"err", err}, args...)...)
	}
}

// A rateLimit lets one log line a second through.
type rateLimit struct{ last clockMark }

func (r *rateLimit) allow(now time.Duration) bool {
	last := r.last.at.Load()
	if last != 0 && now-time.Duration(last) < time.Second {
		return false
	}
	return r.last.at.CompareAndSwap(last, int64(max(1, now)))
}

// newClientID makes an identifier for a client that has none: 22 characters,
// 130 random bits.
func (b *Broker) newClientID() string {
	const letters = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
	raw := make([]byte, 22)
	if _, err := io.ReadFull(b.rand, raw); err != nil {
		rand.Read(raw) // never fails
	}
	for i := range raw {
		raw[i] = letters[int(raw[i])%len(letters)]
	}
	return string(raw)
}

func loopback(remote string) bool {
	ap, err := netip.ParseAddrPort(remote)
	return err != nil || ap.Addr().Unmap().IsLoopback()
}
