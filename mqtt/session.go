package mqtt

import (
	"time"

	"lar.home/mqtt/packet"
)

// A session is what the broker keeps for a client across connections. All of
// it is guarded by the house's lock.
//
// Its messages have running numbers; a packet identifier is the number modulo
// 65,535, plus 1. Numbers [base, base+queue) are in memory, in order: the
// first of them up to next have been sent on this connection, and those not
// done among these are in flight. A kept session may have more than it is good
// to hold: then [base+queue, tailFirst) are on disk only, and tail follows.
type session struct {
	id       uint32 // of a kept session; 0: ends with its connection
	clientID string
	owner    string // the identity that made it
	version  packet.Version
	bridge   bool  // to another broker, which is not sent its own messages
	conn     *Conn // nil while offline

	expiry  uint32    // seconds after the connection ended; 0xFFFFFFFF never
	expires *deadline // while offline
	offline time.Time // since when, wall time
	will    *will

	subs    map[string]*subscription
	cursors []*cursor
	walksOn bool // walkOn was called, and its turn has not come yet

	base     uint64
	queue    ring[entry]
	next     uint64 // number of the first entry not sent on this connection
	inFlight int
	flying   int         // bytes of these
	tail     ring[entry] // not empty only behind a gap
	seq      uint64      // number of the next message to join
	loading  bool
	again    uint64 // entries below it were sent on an earlier connection

	forgot  uint64 // number of the last turn that took an entry off the disk
	leaving bool   // stands in Broker.leaving
	passing bool   // passOn is at work
	visits  int    // how often a client has connected

	waiting      int // messages queued and not done
	waitingBytes int
	ownBytes     int // of these, in records of its own
	dropped      uint64
	takeOverCount
	shared int    // of those waiting, came by a shared subscription
	passed uint64 // number of the last turn in which one on disk went to another member

	grantedLast string              // topic it may publish to, under the rights grantedAt
	granted     map[string]struct{} // all of them, if there are several
	grantedAt   uint32

	received  map[uint16]receipt // open inbound QoS 2 identifiers
	lastWrite uint64             // number of the last turn that wrote for it what somebody may wait for
}

// A receipt is the state of an inbound QoS 2 publish that waits for PUBREL.
type receipt struct {
	conn     *Conn // on which it came last
	repeated bool  // came twice there
}

func (s *session) kept() bool { return s.id != 0 }

// knowsRetain tells whether the client may be sent live messages with RETAIN.
// To an older one that means a message from the past, [MQTT-3.3.1-9] of 3.1.1.
func (s *session) knowsRetain() bool { return s.version >= packet.V5 || s.bridge }

// An entryState says how far the delivery of a message has come.
type entryState uint8

const (
	entryWaiting  entryState = iota // or sent, and not acknowledged
	entryReleased                   // PUBREC came: only PUBREL is sent
	entryDone                       // acknowledged, expired or dropped
)

// An entry is one message in the queue of a session.
type entry struct {
	m      *Message // nil once only PUBREL is left, or when it need not be sent again
	body   uint64   // of a shared record; 0: it has its own
	turn   uint64   // that wrote it last
	subIDs []uint32
	share  *shareGroup // by which it came; nil: by a subscription of the session's own
	size   int32
	qos    QoS
	retain bool
	state  entryState
	rights uint32 // Broker.rights when it was last asked whether the client may receive it
}

// packetID returns the identifier of the message with a running number.
func packetID(n uint64) uint16 { return uint16(n%65535) + 1 }

// find returns the entry in flight that a packet identifier names, or nil, and
// its number.
func (s *session) find(id uint16) (*entry, uint64) {
	if id == 0 || s.conn == nil {
		return nil, 0
	}
	ahead := (uint64(id-1) + 65535 - s.base%65535) % 65535
	n := s.base + ahead
	if n >= s.next {
		return nil, 0
	}
	e := s.queue.at(int(ahead))
	if e.state == entryDone {
		return nil, 0
	}
	return e, n
}

// end is the number behind the last entry of queue.
func (s *session) end() uint64 { return s.base + uint64(s.queue.len()) }

// tailFirst is the number of the first entry of tail.
func (s *session) tailFirst() uint64 { return s.seq - uint64(s.tail.len()) }

// gap tells whether entries are on disk only.
func (s *session) gap() bool { return s.end() < s.tailFirst() }

// memoryAhead is how many unsent messages of a kept session stay in memory
// before the rest is left to the disk.
const memoryAhead = 256

// join adds a message to the session's queue and sends it if it may go at
// once. pub lends the message; a copy is made only if it has to wait.
func (b *Broker) join(t *Turn, s *session, pub *publication, qos QoS, retain bool, subIDs []uint32, share *shareGroup) {
	e := entry{qos: qos, retain: retain, subIDs: subIDs, share: share, size: int32(pub.weight()), rights: b.rights}
	disk := 0 // bytes it takes in addition
	if s.kept() && pub.body == 0 {
		disk = int(e.size)
	}
	if !pub.fromCursor {
		if limit := b.queueFull(s, int(e.size), disk); limit != "" {
			b.reached(limit, s.clientID, nil)
			if !b.makeRoom(t, s, int(e.size), disk) {
				s.dropped++
				b.stats.dropped.Add(1)
				return
			}
		}
	}
	n := s.seq
	contiguous := s.tail.len() == 0 && !s.gap()
	s.seq++
	s.waiting++
	if share != nil {
		s.shared++
		e.m = pub.message() // should it have to go to another member
	}
	if s.kept() {
		b.record(t, s, n, pub, &e)
	}
	b.weigh(s, &e, 1)
	if s.conn != nil && b.crowded(s) {
		t.batch.crowd(s.conn)
	}
	direct := contiguous && s.conn != nil && s.next == n && n-s.base < 65535 && b.mayFly(s, int(e.size))
	if contiguous && (!s.kept() || direct || s.conn != nil && s.end()-s.next < memoryAhead && !b.crammed()) {
		if e.m == nil && !direct {
			e.m = pub.message()
		}
		b.put(&s.queue, &e)
		if direct {
			b.transmit(t, s, pub, s.queue.at(s.queue.len()-1))
		}
		return
	}
	b.put(&s.tail, &e)
	b.trim(s)
	b.leaveToDisk(t, s)
}

// record writes the record of a message that has joined the queue of a kept
// session.
func (b *Broker) record(t *Turn, s *session, n uint64, pub *publication, e *entry) {
	e.m = pub.message()
	e.turn = t.Number
	s.lastWrite = t.Number
	if pub.shared {
		e.body = b.shareBody(t, pub)
	}
	t.durably(t.queueKey(s.id, n), b.appendEntry(t, e))
}

// put puts an entry into a queue in memory.
func (b *Broker) put(q *ring[entry], e *entry) {
	if e.m != nil {
		b.hold(e.m)
	}
	q.push(*e)
}

// mayFly tells whether a message of some size may go out on the session's
// connection now.
func (b *Broker) mayFly(s *session, size int) bool {
	c := s.conn
	if s.inFlight >= c.window || s.inFlight > 0 && s.flying+size > b.limits().WindowBytes {
		return false // an acknowledgement makes room
	}
	if !b.crammed() {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.hasRoom() {
		return true
	}
	c.hungry = true // flush comes back
	return false
}

// weigh counts the bytes of an entry that comes to wait, by 1, or goes, by -1.
// A body that several sessions queue counts in all queues together once.
func (b *Broker) weigh(s *session, e *entry, by int) {
	bytes := by * int(e.size)
	s.waitingBytes += bytes
	if s.kept() && e.body == 0 {
		s.ownBytes += bytes
		b.queuedBytes += bytes
	}
}

// queueFull names the limit for which a message has no room in a session's
// queue, or in all of them together, of which it takes disk bytes; "" if it has
// room.
func (b *Broker) queueFull(s *session, size, disk int) (limit string) {
	switch l := b.limits(); {
	case s.waiting >= l.QueueMessages:
		return "queue_messages"
	case s.waitingBytes+size > l.QueueBytes:
		return "queue_bytes"
	case disk > 0 && b.queuedBytes+disk > l.AllQueuesBytes:
		return "all_queues_bytes"
	case !s.kept() && s.waitingBytes+size > ownRoom && b.crammed():
		return "message_bytes"
	}
	return ""
}

// transmitOwn transmits entry e with the message that it holds. It stands alone
// so that its variables do not lie on the stacks of all connections.
//
//go:noinline
func (b *Broker) transmitOwn(t *Turn, s *session, e *entry) {
	b.transmit(t, s, &publication{m: e.m, gathered: true}, e)
}

// transmit sends entry e, the one with number s.next.
func (b *Broker) transmit(t *Turn, s *session, pub *publication, e *entry) {
	n := s.next
	s.next++
	if e.state == entryReleased {
		s.inFlight++ // and no bytes
		t.sendAck(s.conn, e.turn, packet.PUBREL, packetID(n), packet.Success)
		return
	}
	if e.rights != b.rights {
		if !b.mayReceive(s, e.m.Topic) {
			b.done(t, s, n, e)
			b.stats.dropped.Add(1)
			return
		}
		e.rights = b.rights
	}
	if expired := pub.expires(); expired != 0 && t.Now.Run >= expired && n >= s.again || s.conn.tooLarge(pub, e.qos, e.subIDs) {
		b.done(t, s, n, e) // [MQTT-3.3.2-5], [MQTT-3.1.2-25]
		b.stats.dropped.Add(1)
		return
	}
	s.inFlight++
	s.flying += int(e.size)
	sd := t.copyFor(s.conn)
	sd.qos, sd.dup, sd.retain, sd.id, sd.subIDs = e.qos, n < s.again, e.retain, packetID(n), e.subIDs
	if pub.q2() {
		sd.after = e.turn // every copy of a QoS 2 publish waits for its turn
		sd.own = pub.p != nil
	}
	b.sendPublish(t, pub, sd)
	if !s.kept() && pub.p != nil && e.share == nil {
		b.letGo(e.m)
		e.m = nil // never sent again: the session ends with the connection
	}
}

// pump sends what may go now on the session's connection.
func (b *Broker) pump(t *Turn, s *session) {
	for s.conn != nil {
		for s.next < s.end() && s.next-s.base < 65535 {
			e := s.queue.at(int(s.next - s.base))
			if e.state == entryDone {
				s.next++
				continue
			}
			if !b.mayFly(s, int(e.size)) {
				break
			}
			b.transmitOwn(t, s, e)
		}
		s.advance()
		if s.next < s.end() || s.inFlight >= s.conn.window {
			return
		}
		if s.gap() {
			b.load(t, s)
			return
		}
		if s.tail.len() == 0 {
			break
		}
		for s.tail.len() > 0 {
			s.queue.push(s.tail.pop())
		}
	}
	if s.conn != nil {
		b.walk(t, s)
	}
}

// advance gives up the entries at the front that are done.
func (s *session) advance() {
	for s.queue.len() > 0 && s.queue.at(0).state == entryDone && s.base < s.next {
		s.queue.pop()
		s.base++
	}
}

// done ends the delivery of entry n: it leaves memory and disk.
func (b *Broker) done(t *Turn, s *session, n uint64, e *entry) {
	if s.kept() {
		t.forget(t.queueKey(s.id, n)) // no promise: nobody waits for it, later acknowledgements neither
		s.forgot = t.Number
		b.dropBody(t, e.body)
	}
	s.waiting--
	b.weigh(s, e, -1)
	if e.share != nil {
		s.shared--
	}
	b.letGo(e.m)
	*e = entry{state: entryDone, turn: t.Number}
}

// makeRoom drops what the policy of a full queue gives up first: what has
// expired, then the oldest that is not in flight. It tells whether there is
// room now.
func (b *Broker) makeRoom(t *Turn, s *session, size, disk int) bool {
	if size > b.limits().QueueBytes {
		return false
	}
	full := func() bool {
		return b.queueFull(s, size, disk) != ""
	}
	for n := max(s.next, s.base); n < s.end() && full(); n++ {
		if e := s.queue.at(int(n - s.base)); e.state == entryWaiting && e.m != nil && e.m.Expires != 0 && e.m.Expires <= t.Now.Run {
			b.done(t, s, n, e)
			b.stats.dropped.Add(1)
		}
	}
	for n := max(s.next, s.base); n < s.end() && full(); n++ {
		if e := s.queue.at(int(n - s.base)); e.state == entryWaiting && n >= s.again {
			b.done(t, s, n, e)
			s.dropped++
			b.stats.dropped.Add(1)
		}
	}
	if full() && s.gap() {
		// The oldest are on disk only: a worker brings them, and they are
		// dropped as they come. Until then the queue is a little too long.
		b.load(t, s)
		return b.queuedBytes+disk <= b.limits().AllQueuesBytes && s.waiting < 2*b.limits().QueueMessages && s.waitingBytes+size <= 2*b.limits().QueueBytes
	}
	if full() && !s.gap() {
		for i := 0; i < s.tail.len() && full(); i++ {
			if e := s.tail.at(i); e.state == entryWaiting {
				b.done(t, s, s.tailFirst()+uint64(i), e)
				s.dropped++
				b.stats.dropped.Add(1)
			}
		}
	}
	return !full()
}

// acknowledged handles PUBACK, PUBREC and PUBCOMP, sections 4.3.2 and 4.3.3.
func (b *Broker) acknowledged(t *Turn, c *Conn, kind packet.Type, id uint16, reason packet.Reason) error {
	s := c.sess
	e, n := s.find(id)
	if e == nil {
		if kind == packet.PUBREC && reason < 0x80 {
			t.sendAck(c, 0, packet.PUBREL, id, packet.PacketIDNotFound)
		}
		return nil
	}
	c.acked++
	switch {
	case kind == packet.PUBACK && e.qos == AtLeastOnce,
		kind == packet.PUBCOMP && e.state == entryReleased,
		kind == packet.PUBREC && e.qos == ExactlyOnce && e.state == entryWaiting && reason >= 0x80: // [MQTT-4.4.0-2]
		s.inFlight--
		s.flying -= int(e.size)
		b.done(t, s, n, e)
	case kind == packet.PUBREC && e.qos == ExactlyOnce:
		if e.state == entryWaiting {
			if s.kept() {
				t.durably(t.queueKey(s.id, n), releasedEntry)
				s.lastWrite = t.Number
				b.dropBody(t, e.body)
				e.turn = t.Number
			}
			b.weigh(s, e, -1)
			s.flying -= int(e.size)
			b.letGo(e.m)
			if e.share != nil {
				s.shared--
				e.share = nil
			}
			e.state, e.m, e.body, e.size = entryReleased, nil, 0, 0
		}
		t.sendAck(c, max(e.turn, s.lastWrite), packet.PUBREL, id, packet.Success)
		return nil
	default:
		return wrongAck(kind)
	}
	b.pump(t, s)
	return nil
}

// How much of a backlog is read from disk at a time: so many entries, and no
// more once they have so many bytes.
const (
	loadBatch = 256
	loadBytes = 1 << 20
)

// wrongAck is the error of an acknowledgement of the wrong kind.
func wrongAck(kind packet.Type) error {
	return &packet.Error{Packet: kind.String(), Field: "packet identifier", Reason: packet.ProtocolError}
}

// load has a worker read the next entries that are on disk only. What it finds
// it hands in as a turn.
func (b *Broker) load(t *Turn, s *session) {
	if s.loading {
		return
	}
	s.loading = true
	first, last := s.end(), s.tailFirst()
	// What was given to another member of a shared subscription is gone first.
	b.laterThan(t, s.passed, func() {
		bytes := loadBytes
		if b.crammed() {
			bytes = ownRoom
		}
		found, more, err := b.readEntries(s.id, first, last, bytes)
		b.turnNow(func(t *Turn) {
			s.loading = false
			if b.kept[s.id] != s || s.end() != first {
				return
			}
			if err != nil {
				b.log.Error("backlog not read", "client", s.clientID, "err", err)
				return
			}
			if more {
				last = found[len(found)-1].n + 1
			}
			b.handIn(t, s, found, last)
		})
	})
}

// handIn puts entries read from disk, up to the one before end, into the
// queue. Numbers that are missing were acknowledged before.
func (b *Broker) handIn(t *Turn, s *session, found []storedEntry, end uint64) {
	for _, f := range found {
		if f.n < s.end() {
			continue
		}
		if s.queue.len() == 0 {
			s.base = f.n
			s.next = f.n
		}
		for s.end() < f.n {
			s.queue.push(entry{state: entryDone})
		}
		b.put(&s.queue, &f.entry)
	}
	if s.queue.len() == 0 {
		s.base, s.next = end, end
	}
	for s.end() < end {
		s.queue.push(entry{state: entryDone})
	}
	if s.waiting > b.limits().QueueMessages || s.waitingBytes > b.limits().QueueBytes {
		b.makeRoom(t, s, 0, 0)
	}
	b.pump(t, s)
}

// tooLarge tells whether the client does not take so large a packet,
// [MQTT-3.1.2-24].
func (c *Conn) tooLarge(pub *publication, qos QoS, subIDs []uint32) bool {
	return c.maxPacket > 0 && pub.size(c.version, qos, subIDs) > c.maxPacket
}
