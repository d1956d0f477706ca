package mqtt

import (
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"lar.home/mqtt/packet"
)

// A Sink is one transport, seen from the broker.
type Sink interface {
	// Write takes what goes out now; n < len(p) says that it is full.
	Write(p []byte) (n int, err error)
	// WantWrite is called once after a short write: Broker.Writable is to be
	// called when there is room again.
	WantWrite()
	// Kill ends the transport, from any goroutine; its reader then ends.
	Kill()
	// Remote names the other end, for the log and for who may connect.
	Remote() string
}

// A Conn is one network connection of a client.
type Conn struct {
	b      *Broker
	sink   Sink
	remote string
	from   netip.Addr // that counts against Limits.PerAddress
	peer   Peer

	// The reader's: only Feed touches these.
	partial  []byte        // head of a packet that is not whole yet
	begun    time.Duration // Run time when the partial one began
	aliases  map[uint16]string
	route    *route // of the topic published last
	reserved int    // of the budget for large packets
	limit    int    // bytes of a packet
	auth     authentication
	hog      hog

	// Set by the reader under the house's lock, read under it or by the reader.
	version   packet.Version
	identity  string
	clientID  string
	sess      *session      // nil before CONNECT and after the connection has ended
	connected bool          // a CONNECT was accepted
	ended     bool          // the house is done with it
	since     time.Time     // wall time of its CONNECT
	sinceRun  time.Duration // Run time of it
	resumed   bool          // CONNACK said Session Present
	openIn    int           // QoS 2 publishes that came on it and wait for PUBREL
	acked     int64         // acknowledgements that have come, of messages
	window    int           // QoS 1 and 2 messages in flight, at most
	maxPacket int           // bytes of a packet the client takes; 0 no limit
	problems  bool          // Request Problem Information
	keepAlive time.Duration
	check     *deadline

	seen       clockMark    // when the last whole packet came
	packetDue  clockMark    // when the partial one has to be whole; 0: none is under way
	waits      atomic.Bool  // the reader waits, not the client: what it sends is not read
	largeSince clockMark    // when it was given room for a large packet
	largeCame  atomic.Int64 // bytes of that one so far
	attended   atomic.Bool  // the keeper of deadlines knows of packetDue or stalled

	mu          sync.Mutex // guards what follows; taken after the house's lock, never before
	out         []byte     // encoded, to be written
	parts       ring[part] // that go before out: payloads that are not copied, and what stood before them
	writing     part       // what a short write left
	msgs        ring[*held]
	acks        ring[*held]
	listed      bool // stands in Broker.held
	dirty       bool // stands in a Batch
	flushing    bool // somebody is writing
	full        bool // waiting for Writable
	closing     bool // kill when all is written
	greeted     bool // CONNACK is encoded: others may follow
	dead        bool
	stalled     time.Duration // Run time since which the socket takes nothing
	aliasMax    int           // topic aliases the client takes; set before CONNACK
	sentAliases []string      // topics that have one: the first has alias 1
	ackRoom     chan struct{} // closed when no more than ackRoomAt acknowledgements wait
	ackRoomAt   int
	ackedIn     int           // acknowledgements sent since the connection began
	unflushed   int           // bytes in out, parts and writing
	shared      int           // of these, in payloads that other connections may have too
	counted     int           // of these, in Broker.memory
	hungry      bool          // messages wait in the queue for room here
	written     int64         // bytes the transport has taken
	takenThen   int64         // of what crowds it, when worthWaiting last looked and found more
	tookAt      time.Duration // Run time of that
	spared      time.Duration // Run time until which nobody waits for it again
}

// A send is something to be sent on a connection, as a turn decides it.
type send struct {
	c     *Conn
	lanes lanes
	own   bool   // waits for this turn, if it writes
	after uint64 // waits for that turn too

	m      *Message // a PUBLISH, when not nil
	qos    QoS
	dup    bool
	retain bool
	id     uint16
	subIDs []uint32

	ack    packet.Type // else PUBACK, PUBREC, PUBREL or PUBCOMP, when not 0
	reason packet.Reason

	p packet.Packet // else any packet
}

// lanes says in which order a send stands. A lane is never overtaken in;
// between the two there is no order. What stands in both is a barrier.
type lanes uint8

const (
	messageLane lanes = 1
	ackLane     lanes = 2
	bothLanes         = messageLane | ackLane
)

// held is a send that waits for its turn to reach the disk.
type held struct {
	send
	since time.Duration // Run time
}

// helds are those that wait no more: there is one for each acknowledgement.
var helds = sync.Pool{New: func() any { return new(held) }}

func (h *held) free() {
	*h = held{}
	helds.Put(h)
}

// A store that has not committed for stuckAfter is stuck. Messages that need
// not wait for it may then pass those that do, up to mostPassed, if they are of
// other topics: the house goes on while the disk hangs.
const (
	stuckAfter = time.Second
	mostPassed = 1000
)

// clear tells whether a message that waits for nothing may leave now. c.mu is
// held.
func (c *Conn) clear(topic string) bool {
	n := c.msgs.len()
	if n == 0 {
		return true
	}
	if n > mostPassed || c.b.clock().Run-(*c.msgs.at(0)).since < stuckAfter {
		return false
	}
	for i := range n {
		if h := *c.msgs.at(i); h.lanes == bothLanes || h.m.Topic == topic {
			return false
		}
	}
	return true
}

// push sends s, or lets it wait for turn after. The house's lock is held.
func (c *Conn) push(s *send, after uint64, t *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.closing {
		return
	}
	if s.m != nil && s.qos == AtMostOnce && c.congested() {
		return
	}
	durable := c.b.durable.Load()
	if after <= durable && (s.lanes&messageLane == 0 || c.msgs.len() == 0 || s.m != nil && c.clear(s.m.Topic)) && (s.lanes&ackLane == 0 || c.acks.len() == 0) {
		c.encode(s)
		c.touch(t)
		return
	}
	h := helds.Get().(*held)
	h.send, h.since = *s, c.b.turn.Now.Run
	h.after = after
	if c.acks.len() >= maxHeldAcks {
		// It goes on without waiting for any answer. It may come again when
		// the disk is back.
		c.closing = true
		c.msgs.clear()
		c.acks.clear()
		c.ackLeft()
		c.touch(t)
		return
	}
	if s.lanes&messageLane != 0 {
		c.msgs.push(h)
	}
	if s.lanes&ackLane != 0 {
		c.acks.push(h)
	}
	if !c.listed {
		c.listed = true
		c.b.list(c)
	}
	// A commit may have ended between the look above and the listing.
	if now := c.b.durable.Load(); now != durable {
		c.release(now)
		c.touch(t)
	}
}

// maxHeldAcks is how many acknowledgements wait for the disk on a connection:
// more than there are packet identifiers are not owed to anybody.
const maxHeldAcks = 1 << 16

// congested tells whether so much waits on a connection that a message of QoS 0
// is dropped, and counts it. c.mu is held.
func (c *Conn) congested() bool {
	limit := ""
	switch l := c.b.limits(); {
	case c.unflushed > l.QueueBytes:
		limit = "queue_bytes"
	case c.msgs.len() >= l.QueueMessages:
		limit = "queue_messages"
	case !c.hasRoom():
		limit = "message_bytes"
	default:
		return false
	}
	c.b.stats.dropped.Add(1)
	c.b.reached(limit, c.who(), nil)
	return true
}

// touch lists the connection once to be flushed. c.mu is held.
func (c *Conn) touch(t *Batch) {
	if !c.dirty {
		c.dirty = true
		t.touched = append(t.touched, c)
	}
}

// release encodes what waited for turns up to durable. c.mu is held.
func (c *Conn) release(durable uint64) {
	for progress := true; progress; {
		progress = false
		for c.msgs.len() > 0 {
			h := *c.msgs.at(0)
			if h.after > durable || h.lanes == bothLanes && (c.acks.len() == 0 || *c.acks.at(0) != h) {
				break
			}
			c.msgs.pop()
			if h.lanes == bothLanes {
				c.acks.pop()
			}
			c.encode(&h.send)
			h.free()
			progress = true
		}
		for c.acks.len() > 0 {
			h := *c.acks.at(0)
			if h.after > durable || h.lanes == bothLanes {
				break // a barrier leaves through the lane of messages
			}
			c.acks.pop()
			c.encode(&h.send)
			h.free()
			progress = true
		}
	}
	c.ackLeft()
}

// encode appends s to the bytes that go out. c.mu is held.
func (c *Conn) encode(s *send) {
	before := len(c.out)
	if c.out == nil {
		c.out = getBuffer()
	}
	switch {
	case s.m != nil:
		if c.encodeMessage(s) {
			c.unflushed += len(c.out) - before
			c.share(s.m)
			return
		}
	case s.ack != 0:
		c.b.stats.otherOut.Add(1)
		c.out = packet.AppendAck(c.out, c.version, s.ack, s.id, s.reason)
		if s.ack == packet.PUBACK || s.ack == packet.PUBCOMP || s.ack == packet.PUBREC && s.reason >= 0x80 {
			c.ackedIn++
		}
	default:
		c.b.stats.otherOut.Add(1)
		c.out = packet.Append(c.out, c.version, s.p)
		c.greeted = c.greeted || s.p.Type() == packet.CONNACK
		if c.maxPacket > 0 && len(c.out)-before > c.maxPacket {
			// It has to be sent and may not be [MQTT-3.1.2-24].
			c.out = c.out[:before]
			c.closing = true
		}
	}
	c.unflushed += len(c.out) - before
	c.count()
}

// encodeMessage appends a PUBLISH, or tells that its payload, which is long, is
// to follow as it is. c.mu is held.
//
//go:noinline
func (c *Conn) encodeMessage(s *send) (payloadFollows bool) {
	p := packet.Publish{Dup: s.dup, QoS: s.qos, Retain: s.retain, PacketID: s.id,
		Topic: []byte(s.m.Topic), Payload: s.m.Payload}
	if c.version == packet.V5 {
		p.Properties = s.m.Properties
		p.SubscriptionIDs = s.subIDs
		if s.m.Expires != 0 {
			left := s.m.Expires - c.b.clock().Run
			p.HasExpiry, p.Expiry = true, uint32(max(0, (left+time.Second-1)/time.Second))
		}
	}
	c.abbreviate(&p, s.m.Topic)
	if c.maxPacket > 0 && packet.PublishSize(c.version, &p) > c.maxPacket {
		return false // [MQTT-3.1.2-25]; its window slot is freed by tooLarge
	}
	c.b.stats.sentOne(len(p.Payload))
	if len(p.Payload) > sharedPayload {
		c.out = packet.AppendPublishHead(c.out, c.version, &p)
		return true
	}
	c.out = packet.AppendPublish(c.out, c.version, &p)
	return false
}

// shortTopic is the length up to which a topic is not worth an alias.
const shortTopic = 4

// abbreviate puts a topic alias in the place of the topic, if the client takes
// one, section 3.3.2.3.4. The first topics of a connection get them and keep
// them; never more than the client has said [MQTT-3.1.2-26]. c.mu is held, and
// p is encoded next.
func (c *Conn) abbreviate(p *packet.Publish, topic string) {
	if c.aliasMax == 0 || len(topic) <= shortTopic {
		return
	}
	for i, known := range c.sentAliases {
		if known == topic {
			p.Alias, p.Topic = uint16(i+1), nil
			return
		}
	}
	if len(c.sentAliases) >= c.aliasMax {
		return
	}
	p.Alias = uint16(len(c.sentAliases) + 1)
	if c.maxPacket > 0 && packet.PublishSize(c.version, p) > c.maxPacket {
		p.Alias = 0
		return
	}
	c.sentAliases = append(c.sentAliases, topic)
}

// sendNow queues a packet that waits for nothing: PINGRESP, AUTH, or the last
// one. Only a CONNACK that is held is never overtaken, [MQTT-3.2.0-1]: PINGRESP
// follows it, DISCONNECT is left out [MQTT-3.14.0-1].
func (c *Conn) sendNow(p packet.Packet, t *Batch) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.closing {
		return
	}
	if !c.greeted && p.Type() != packet.CONNACK && p.Type() != packet.AUTH {
		if p.Type() == packet.PINGRESP && c.acks.len() < maxHeldAcks {
			c.acks.push(&held{send: send{lanes: ackLane, p: p}})
		}
		return
	}
	c.encode(&send{p: p})
	c.touch(t)
}

// end lets what is encoded go out, drops what is held, and then closes, soon
// even if the other end takes nothing. The house's lock is held.
func (c *Conn) end(t *Batch) {
	c.mu.Lock()
	c.closing = true
	c.msgs.clear()
	c.acks.clear()
	c.ackLeft()
	c.touch(t)
	c.mu.Unlock()
	c.b.cancel(c.check)
	c.check = c.b.at(c.b.clock().Run+lastWords, func(*Turn) {
		c.check = nil
		c.sink.Kill()
	})
}

// backlog tells how many bytes wait to be written, and whether the transport
// is full: then Writable will be called.
func (c *Conn) backlog() (bytes int, full bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.unflushed, c.full
}

// flush writes what is encoded. One goroutine writes at a time; whoever comes
// meanwhile leaves it the work.
func (c *Conn) flush() {
	c.mu.Lock()
	c.dirty = false
	if c.flushing || c.full || c.dead {
		c.mu.Unlock()
		return
	}
	c.flushing = true
	kill, stuck := false, false
	for !c.dead {
		p := c.nextPart()
		if len(p.b) == 0 {
			p.free(c.b)
			break
		}
		c.mu.Unlock()
		n, err := c.sink.Write(p.b)
		c.mu.Lock()
		c.written += int64(n)
		c.b.stats.bytesOut.Add(uint64(n))
		if n > 0 {
			c.stalled = 0
		}
		if c.dead { // closed meanwhile
			p.free(c.b)
			break
		}
		c.unflushed -= n
		if p.m != nil {
			c.shared -= n
		}
		if err != nil {
			p.free(c.b)
			c.dead = true
			c.discard()
			kill = true
			break
		}
		if n < len(p.b) {
			p.b, p.cut = p.b[n:], true
			c.writing = p
			c.full = true
			if c.stalled == 0 {
				c.stalled = max(1, c.b.clock().Run)
			}
			stuck = true
			c.sink.WantWrite()
			break
		}
		p.free(c.b)
	}
	c.count()
	feed := c.hungry && !c.full && !c.dead
	if feed {
		c.hungry = false
	}
	c.flushing = false
	if c.closing && !c.full && c.unflushed == 0 && !c.dead {
		c.dead, kill = true, true
	}
	c.mu.Unlock()
	if kill {
		c.mu.Lock()
		c.ackLeft()
		c.mu.Unlock()
		c.sink.Kill()
	} else if stuck {
		c.b.attend(c)
	}
	if feed {
		c.b.jobs.add(func() { c.b.turnNow(c.pump) })
	}
}

// pump sends what waits for room on the connection.
func (c *Conn) pump(t *Turn) {
	if c.sess != nil {
		c.b.pump(t, c.sess)
	}
}

// A Batch is what one read brings and what it touches.
type Batch struct {
	Buf     []byte // for the reader
	in      []inbound
	touched []*Conn
	crowded []*Conn // sessions that are more than half full
	after   []func()
	scratch []byte
}

var batches = sync.Pool{New: func() any { return &Batch{Buf: make([]byte, 16<<10)} }}

// Buffers stand in the pools in boxes, so that putting one back allocates
// nothing.
type box struct{ b []byte }

var (
	buffers = sync.Pool{New: func() any { return &box{make([]byte, 0, 4<<10)} }}
	boxes   = sync.Pool{New: func() any { return &box{} }}
)

func getBuffer() []byte {
	x := buffers.Get().(*box)
	b := x.b
	x.b = nil
	boxes.Put(x)
	return b[:0]
}

// putBuffer gives a buffer back, unless it has grown large.
func putBuffer(b []byte) {
	if cap(b) <= 64<<10 {
		x := boxes.Get().(*box)
		x.b = b
		buffers.Put(x)
	}
}
