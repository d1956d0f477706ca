package mqtt

import (
	"slices"
	"time"

	"lar.home/mqtt/topic"
)

// Now is an instant as the deciders of the house see it.
type Now struct {
	// Wall is the time of day. Wall deadlines ("at 02:30") wait until it is
	// Trusted: synchronised, or plausible against the last time stored.
	Wall    time.Time
	Trusted bool
	// Run is the time since the hub started. It never jumps; elapsed
	// deadlines ("for 10 minutes") follow it within a boot.
	Run time.Duration
}

// A Turn gathers what follows from one outside event: a packet, a deadline, a
// form, the start of the hub. It is decided under one lock at one instant,
// without I/O; its writes reach the disk together, after those of every turn
// before it. A Turn is valid only until the function it was given to returns.
//
// The zero Turn with Number and Now set can be used by itself: a test hands it
// to a decider and then asks for Writes, Published and so on.
type Turn struct {
	Number uint64
	Now    Now

	writes    []Write
	bytes     int  // of writes, keys and values
	slab      slab // small records of this turn and those before
	lazies    []Write
	published []*Message
	wakes     []wake
	later     []func()
	after     []func()
	sends     []send
	copy      send // see copyFor
	rewired   bool
	recalls   []recall
	soon      bool // somebody waits for the disk
	hop       int  // of the message being decided
	batch     *Batch
	consumed  bool // consumers were asked
	rebuild   bool // they are to be rebuilt
	ready     func() error
	panicked  func(r any, m *Message)
	broken    func(r any, m *Message)
	whole     func() error
}

type wake struct {
	consumer Consumer
	at       time.Duration
}

// Write sets a record, or deletes it when value is nil. The turn keeps both
// slices. All writes of a turn are on disk or none is.
func (t *Turn) Write(key, value []byte) { t.durably(key, value) }

// Lazy sets a record that may be some seconds old after a crash, or deletes it
// when value is nil. The turn keeps both slices. It holds nothing back.
func (t *Turn) Lazy(key, value []byte) {
	t.lazies = append(t.lazies, Write{Key: key, Value: value})
}

// Publish makes m the next message of this turn, after those already asked
// for. Its ClientID is empty and its Hop is set here. The turn keeps m. Every
// copy of it waits for the disk if this turn writes anything.
func (t *Turn) Publish(m *Message) {
	m.hop = t.hop + 1
	t.published = append(t.published, m)
}

// WakeAt asks that c.Wake be called in a turn of its own once Now.Run has
// reached at. It replaces what c asked for before; a negative time asks for
// nothing. Wake is also called, unasked, when the wall clock was set or its
// trust has changed.
func (t *Turn) WakeAt(c Consumer, at time.Duration) {
	for i := range t.wakes {
		if t.wakes[i].consumer == c {
			t.wakes[i].at = at
			return
		}
	}
	t.wakes = append(t.wakes, wake{c, at})
}

// Later asks for work that is too long for a turn (more than 100 µs). It runs
// on one of a few workers, outside the lock; what it finds it hands in by
// [Broker.Do].
func (t *Turn) Later(work func()) { t.later = append(t.later, work) }

// Durable asks that fn be called, outside the lock, once everything this turn
// wrote is on disk, at once if it wrote nothing. It is for what leaves the hub
// by another way than a message: a notification, an HTTP request, an answer.
func (t *Turn) Durable(fn func()) { t.after = append(t.after, fn) }

// Ready says why nothing durable can be written now (the disk is full or
// stuck), or nil. Whoever is about to write what somebody waits for asks first:
// a person's change is refused with this error, not left hanging.
func (t *Turn) Ready() error {
	if t.ready == nil {
		return nil
	}
	return t.ready()
}

// Whole says why consumers decide on nothing now: one of them panicked, and they
// could not begin anew yet; or nil. Whoever is about to call one asks first.
func (t *Turn) Whole() error {
	if t.whole == nil {
		return nil
	}
	return t.whole()
}

// Panicked reports what was recovered in a part of a consumer that must not take
// the others with it, and the message that it was about, if there is one: it is
// logged, counted and set aside. A turn without a broker panics with it.
func (t *Turn) Panicked(r any, m *Message) {
	if t.panicked == nil {
		panic(r)
	}
	t.panicked(r, m)
}

// A Mark is how much a turn had gathered at some moment.
type Mark struct{ writes, bytes, lazies, published, later, after, recalls int }

// Mark returns how much the turn has gathered until now.
func (t *Turn) Mark() Mark {
	return Mark{len(t.writes), t.bytes, len(t.lazies), len(t.published), len(t.later), len(t.after), len(t.recalls)}
}

// Broken reports what was recovered in a consumer, which may have left what it
// has in memory half-changed, and the message that it was about, if there is
// one. It is as [Turn.Panicked] says; what the consumer has gathered since a
// mark is dropped, and all consumers are rebuilt before the next turn.
func (t *Turn) Broken(r any, m *Message, since Mark) {
	t.back(since)
	if t.broken == nil {
		panic(r)
	}
	t.broken(r, m)
}

// Rebuild asks that all consumers be rebuilt before the next turn: one of them
// has recovered from a panic by itself, and what it has in memory may be
// half-changed. What the turn has gathered stands.
func (t *Turn) Rebuild() { t.rebuild = true }

// back drops what was gathered since a mark.
func (t *Turn) back(to Mark) {
	t.writes, t.bytes = t.writes[:min(to.writes, len(t.writes))], to.bytes
	t.lazies = t.lazies[:min(to.lazies, len(t.lazies))]
	t.published = t.published[:min(to.published, len(t.published))]
	t.later = t.later[:min(to.later, len(t.later))]
	t.after = t.after[:min(to.after, len(t.after))]
	t.recalls = t.recalls[:min(to.recalls, len(t.recalls))]
}

// Rewire says that Wants of a consumer has changed. Soon after the turn, in
// turns of their own, retained messages of topics that it did not want before
// come to it by Accept, with Retained set, unless something live of the same
// topic came first.
func (t *Turn) Rewire() { t.rewired = true }

// Recall asks, beside Rewire, that retained messages on topics that match a
// filter be brought to c, also if it wanted and got them before.
func (t *Turn) Recall(c Consumer, filter string) {
	t.recalls = append(t.recalls, recall{c, filter})
}

// A recall is what a consumer wants to see once more.
type recall struct {
	consumer Consumer
	filter   string
}

// of tells whether it speaks of a retained message.
func (r recall) of(c Consumer, name string) bool {
	return r.consumer == c && topic.Match(r.filter, name)
}

// Writes returns what the turn has written so far, for tests.
func (t *Turn) Writes() []Write { return t.writes }

// Lazies returns what the turn has written lazily so far, for tests.
func (t *Turn) Lazies() []Write { return t.lazies }

// Published returns the messages asked for so far, for tests.
func (t *Turn) Published() []*Message { return t.published }

// Rewired tells whether Rewire was called, for tests.
func (t *Turn) Rewired() bool { return t.rewired }

// Rebuilds tells whether Rebuild was called, for who plays a house without a
// broker.
func (t *Turn) Rebuilds() bool { return t.rebuild }

// Recalled tells whether a retained message was asked for with Recall, for who
// plays a house without a broker.
func (t *Turn) Recalled(c Consumer, name string) bool {
	return slices.ContainsFunc(t.recalls, func(r recall) bool { return r.of(c, name) })
}

// NextWake returns the time c last asked for in this turn and whether it did,
// for tests.
func (t *Turn) NextWake(c Consumer) (time.Duration, bool) {
	for _, w := range t.wakes {
		if w.consumer == c {
			return w.at, true
		}
	}
	return 0, false
}

// Play hands every message of the turn to deliver, in order and within the
// bounds of a turn, those included that are made meanwhile. It is the broker's
// part for who plays a house without one.
func (t *Turn) Play(deliver func(m *Message)) {
	for i := 0; i < len(t.published) && i < maxMessages; i++ {
		if m := t.published[i]; m.hop <= maxHops {
			t.hop = m.hop
			deliver(m)
		}
	}
	t.hop = 0
}

// Deferred returns what was asked for with Durable and with Later, for who
// plays a house without a broker.
func (t *Turn) Deferred() (durable, later []func()) { return t.after, t.later }

// Hop tells how many messages made inside this turn led to the one that is
// being decided: 0 for one from outside.
func (t *Turn) Hop() int { return t.hop }

// A Consumer takes part in the turn of every message it wants. The house has
// two, in this order: devices, then automations.
//
// Accept and Wake are called under the house's lock. They may use the turn;
// they may not block, start a goroutine, read a clock or reach a connection,
// and take less than 100 µs.
type Consumer interface {
	// Wants tells whether messages of a topic are to be brought here. It is
	// called from any goroutine, outside the lock, and its answer is cached
	// until the next Rewire: it reads immutable configuration.
	Wants(topic string) bool
	// Prepare does the heavy part of a message (JSON, templates) before the
	// turn, on the sender's goroutine, outside the lock. It reads topic,
	// payload and immutable configuration only, and keeps neither slice.
	Prepare(topic string, payload []byte) any
	// Accept decides. prepared is what Prepare returned, perhaps under an
	// older configuration (then Accept prepares again), or nil for a message
	// that was made inside a turn.
	Accept(t *Turn, m *Message, prepared any)
	// Wake is called when the time last asked for by WakeAt has come, and
	// when the wall clock or its trust has changed.
	Wake(t *Turn)
}

// A Message is one application message, free of any connection. It is shared
// and never changed once it has been handed in.
type Message struct {
	Topic   string
	Payload []byte
	QoS     QoS
	Retain  bool // as the publisher set it
	// Retained tells that this is a retained message brought by Rewire or at
	// the start: state from the past, not news.
	Retained bool
	// Dup tells that a QoS 1 publish came again that first came on an earlier
	// connection of the same session.
	Dup bool
	// Expires is the Run time after which the message is not delivered any
	// more; 0 never. Section 3.3.2.3.3.
	Expires time.Duration
	// Properties are encoded as in packet.Publish and forwarded unaltered.
	Properties []byte
	// ClientID names the publisher; empty when the hub itself is.
	ClientID string
	// Connected is the Run time at which the publisher's connection began; 0
	// for the hub, and for a will.
	Connected time.Duration
	// Origin identifies the delivery for those who must know it again after a
	// restart: session, packet identifier. Zero for QoS 0 and for the hub.
	Origin Origin

	hop     int
	holders int32 // places where it waits in memory; atomic
}

// An Origin names a QoS 1 or 2 publish of a kept session.
type Origin struct {
	Session  uint32 // 0: the session is not kept
	PacketID uint16
}

// Hop tells how many messages of the same turn led to this one.
func (m *Message) Hop() int { return m.hop }
