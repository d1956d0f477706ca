package mqtt

import (
	"errors"
	"runtime"
	"time"

	"lar.home/mqtt/packet"
)

// An inbound is one packet of a read, taken apart before the lock is held.
type inbound struct {
	kind     packet.Type
	pub      packet.Publish // a PUBLISH
	topic    string
	route    *route
	prepared [maxConsumers]any
	id       uint16 // PUBACK, PUBREC, PUBREL, PUBCOMP
	reason   packet.Reason
	p        packet.Packet // any other
}

// errGoodbye ends a connection whose client said so.
var errGoodbye = errors.New("the client disconnected")

// lockSlice is after how many packets the house's lock is given up for others,
// lockTime after how long; it is looked at with every lockLook-th packet.
const (
	lockSlice = 128
	lockTime  = 200 * time.Microsecond
	lockLook  = 4
)

// Feed takes what a connection has read, cut anywhere. Replies and deliveries
// go to the connections' buffers; Flush writes them. An error ends the
// connection: what is to be said of it is in the buffer already.
func (b *Broker) Feed(c *Conn, p []byte, t *Batch) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = b.notTakenIn(c, r, t)
		}
	}()
	b.stats.bytesIn.Add(uint64(len(p)))
	borrowed, taken := true, false
	if len(c.partial) > 0 {
		c.partial = append(c.partial, p...)
		p, borrowed = c.partial, false
	}
	for len(p) > 0 {
		var rest []byte
		if rest, err = b.take(c, p, t); err != nil {
			break
		}
		if len(rest) == len(p) {
			break // the head of a packet
		}
		if !taken {
			c.packetDue.set(0) // it is whole; what follows may have to wait
		}
		p, taken = rest, true
		if len(t.crowded) > 0 {
			b.pause(c, t)
		}
		b.awaitAcks(c, t)
	}
	if taken || err != nil {
		b.unreserve(c)
	}
	if err != nil {
		c.partial = nil
		b.fail(c, err, t)
		return err
	}
	if len(p) == 0 {
		if c.partial != nil {
			c.partial = nil
			c.packetDue.set(0)
		}
		return nil
	}
	return b.keepHead(c, p, borrowed || taken, t)
}

// keepHead keeps p, the head of a packet, until the rest comes. It is news if
// something stood before it until now.
func (b *Broker) keepHead(c *Conn, p []byte, news bool, t *Batch) error {
	if news {
		c.partial = append(c.partial[:0], p...)
	}
	size, _, _ := packet.Size(p)
	if err := b.reserve(c, size, t); err != nil {
		c.partial = nil
		b.fail(c, err, t)
		return err
	}
	if c.reserved > 0 {
		c.largeCame.Store(int64(len(p)))
	}
	if news {
		c.begun = b.clock().Run
	}
	c.packetDue.set(c.begun + b.limits().timeFor(size))
	if c.connected {
		b.attend(c)
	}
	return nil
}

// notTakenIn ends a connection whose packet made the broker panic.
func (b *Broker) notTakenIn(c *Conn, r any, t *Batch) error {
	b.panicked(r, "remote", c.remote)
	b.fail(c, errNotTakenIn, t)
	return errNotTakenIn
}

var errNotTakenIn = errors.New("a packet could not be taken in")

// take parses whole packets from the head of p and decides them under one
// lock. It returns what it left.
func (b *Broker) take(c *Conn, p []byte, t *Batch) ([]byte, error) {
	t.in = t.in[:0]
	t.scratch = t.scratch[:0]
	var fault error
	for len(p) > 0 && len(t.in) < lockSlice {
		first, body, n, err := packet.Split(p, c.limit)
		if err != nil {
			fault = c.tooLong(err)
			break
		}
		if n == 0 {
			break
		}
		kind := packet.Type(first >> 4)
		if c.auth.connect != nil {
			return p[n:], b.takeBefore(c, first, body, t)
		}
		if !c.connected {
			return p[n:], b.takeConnect(c, first, body, t)
		}
		if kind == packet.AUTH {
			if len(t.in) > 0 {
				break // they first
			}
			return p[n:], b.takeAuth(c, first, body, t)
		}
		if len(t.in) == cap(t.in) {
			t.in = append(t.in, inbound{})
		} else {
			t.in = t.in[:len(t.in)+1]
		}
		in := &t.in[len(t.in)-1]
		if fault = b.parse(c, first, body, in); fault != nil {
			t.in = t.in[:len(t.in)-1]
			break
		}
		p = p[n:]
	}
	if len(t.in) == 0 {
		return p, fault
	}
	b.stats.packetsIn.Add(uint64(len(t.in)))
	b.mu.Lock()
	err := b.decide(c, t)
	b.mu.Unlock()
	clear(t.in)
	if err == nil {
		err = fault
	}
	return p, err
}

// tooLong says of a packet that is too long by which limit it is.
func (c *Conn) tooLong(err error) error {
	if wrong, ok := errors.AsType[*packet.Error](err); ok && wrong.Reason == packet.PacketTooLarge {
		switch {
		case !c.connected:
			wrong.Limit = "connect_size"
		case c.limit < c.b.limits().PacketSize:
			wrong.Limit = "open_packet_size"
		default:
			wrong.Limit = "packet_size"
		}
	}
	return err
}

// parse takes a packet apart and lets the consumers prepare a message, all
// before the turn.
func (b *Broker) parse(c *Conn, first byte, body []byte, in *inbound) error {
	*in = inbound{kind: packet.Type(first >> 4)}
	switch {
	case in.kind == packet.PUBLISH:
		if err := packet.DecodePublish(c.version, first&0x0f, body, &in.pub); err != nil {
			return err
		}
		if len(in.pub.Properties) > 0 {
			if limit := b.limits().exceededByUsers(nil, in.pub.Properties); limit != "" {
				return &packet.Error{Packet: "PUBLISH", Field: "user property", Reason: packet.QuotaExceeded, Limit: limit}
			}
		}
		if err := b.resolve(c, in); err != nil {
			return err
		}
		if in.topic == "" {
			in.route = b.routeFor(c, in.pub.Topic)
			if in.route != nil {
				in.topic = in.route.topic
			} else {
				in.topic = string(in.pub.Topic)
			}
		} else {
			in.route = b.cachedRoute([]byte(in.topic))
		}
		if in.route == nil {
			b.afterYou()
			if limit := b.limits().exceededBy(in.topic); limit != "" {
				return &packet.Error{Packet: "PUBLISH", Field: "topic name", Reason: packet.MalformedPacket, Limit: limit}
			}
		}
		b.prepare(in)
		return nil
	case in.kind >= packet.PUBACK && in.kind <= packet.PUBCOMP && len(body) == 2 && first&0x0f == ackFlags(in.kind):
		in.id = uint16(body[0])<<8 | uint16(body[1])
		if in.id == 0 {
			return &packet.Error{Packet: in.kind.String(), Field: "packet identifier", Reason: packet.ProtocolError}
		}
		return nil
	}
	p, err := packet.DecodeFromClient(c.version, first, body)
	if err == nil {
		err = b.limits().checkUsers(p)
	}
	if err != nil {
		return err
	}
	if ack, ok := p.(*packet.Ack); ok {
		in.id, in.reason = ack.PacketID, ack.Reason
		return nil
	}
	in.p = p
	return nil
}

// afterYou lets other connections go first that may have had something to say
// before a message whose topic is new, or the first since a subscription has
// changed. The runtime hands out last what became readable first, so that such a
// message would overtake the subscription that another client made for it, and
// not reach it. Once a millisecond is enough: what comes after a quiet time is
// seen together. It wakes another processor, which is too dear for each message.
func (b *Broker) afterYou() {
	const quiet = int64(time.Millisecond)
	now := int64(b.run())
	if now-b.lastRare.Swap(now) >= quiet {
		runtime.Gosched()
	}
}

func ackFlags(kind packet.Type) byte {
	if kind == packet.PUBREL {
		return 2
	}
	return 0
}

// resolve puts the topic in the place of a Topic Alias, section 3.3.2.3.4.
func (b *Broker) resolve(c *Conn, in *inbound) error {
	alias := in.pub.Alias
	if alias == 0 {
		return nil
	}
	if int(alias) > b.limits().TopicAliasMaximum {
		return &packet.Error{Packet: "PUBLISH", Field: "topic alias", Reason: packet.TopicAliasInvalid, Limit: "topic_alias_maximum"}
	}
	if len(in.pub.Topic) > 0 {
		if c.aliases == nil {
			c.aliases = make(map[uint16]string)
		}
		in.topic = string(in.pub.Topic)
		c.aliases[alias] = in.topic
		return nil
	}
	if in.topic = c.aliases[alias]; in.topic == "" {
		return &packet.Error{Packet: "PUBLISH", Field: "topic alias", Reason: packet.ProtocolError}
	}
	return nil
}

// prepare lets the consumers that want a message do their heavy part.
func (b *Broker) prepare(in *inbound) {
	wants := uint8(0)
	if in.route != nil {
		wants = in.route.wants
	} else {
		wants = b.wanted(in.topic)
	}
	for i, c := range b.consumers {
		if wants&(1<<i) != 0 {
			in.prepared[i] = c.Prepare(in.topic, in.pub.Payload)
		}
	}
}

// decide carries out the packets of a batch, each as a turn. The house's lock
// is held.
func (b *Broker) decide(c *Conn, batch *Batch) (err error) {
	defer b.rescue(c, &err)
	begun := b.tick() // one instant for what one read brought
	c.seen.set(begun)
	for i := range batch.in {
		if i%lockLook == lockLook-1 {
			if took := b.run() - begun; took >= lockTime {
				b.mu.Unlock() // a read that sets off much keeps nobody waiting
				c.hog.stepBack(took)
				b.mu.Lock()
				begun = b.tick()
			}
		}
		if c.ended {
			return errGoodbye // taken over or dropped meanwhile
		}
		t := b.beginHere(batch)
		err = b.handle(t, c, &batch.in[i])
		b.finish(t)
		if err != nil {
			return err
		}
	}
	return nil
}

// tick sets the instant at which turns are decided, and returns its Run time.
// Like run it stands alone so that a Now does not lie on the stacks of all
// connections.
//
//go:noinline
func (b *Broker) tick() time.Duration {
	b.turn.Now = b.clock()
	return b.turn.Now.Run
}

//go:noinline
func (b *Broker) run() time.Duration { return b.clock().Run }

// rescue, deferred, ends a connection whose packet made the broker panic, for
// the sake of all others: what the turn had gathered is dropped.
func (b *Broker) rescue(c *Conn, err *error) {
	if r := recover(); r != nil {
		b.panicked(r, "remote", c.remote)
		b.dropPanicked()
		*err = errors.New("a packet could not be decided")
	}
}

// handle decides one packet.
func (b *Broker) handle(t *Turn, c *Conn, in *inbound) error {
	switch in.kind {
	case packet.PUBLISH:
		return b.received(t, c, in)
	case packet.PUBACK, packet.PUBREC, packet.PUBCOMP:
		return b.acknowledged(t, c, in.kind, in.id, in.reason)
	case packet.PUBREL:
		b.released(t, c, in.id)
		return nil
	}
	switch p := in.p.(type) {
	case *packet.Subscribe:
		b.subscribe(t, c, p)
		return nil
	case *packet.Unsubscribe:
		b.unsubscribe(t, c, p)
		return nil
	case *packet.Pingreq:
		c.sendNow(&packet.Pingresp{}, t.batch)
		return nil
	case *packet.Disconnect:
		return b.disconnect(t, c, p)
	}
	// A second CONNECT, or what only a server sends.
	return &packet.Error{Packet: in.kind.String(), Reason: packet.ProtocolError}
}

// takeConnect handles the first packet of a connection.
func (b *Broker) takeConnect(c *Conn, first byte, body []byte, t *Batch) error {
	if kind := packet.Type(first >> 4); kind != packet.CONNECT {
		return &packet.Error{Packet: kind.String(), Field: "before CONNECT", Reason: packet.ProtocolError}
	}
	c.seen.set(b.clock().Run)
	b.stats.packetsIn.Add(1)
	p, err := packet.DecodeConnect(body)
	c.version = p.Version
	if wrong := packet.CheckConnect(first, p.Version); wrong != nil {
		return wrong
	}
	if err == nil {
		err = b.connect(c, p, t)
	}
	return err
}

// fail says why a connection ends, where the protocol has a word for it, and
// ends it.
func (b *Broker) fail(c *Conn, err error, t *Batch) {
	broken, isProtocol := errors.AsType[*packet.Error](err)
	switch {
	case !isProtocol:
	case broken.Limit != "":
		b.reached(broken.Limit, c.who(), err)
	case b.refusals.allow(b.clock().Run):
		b.log.Info("client refused", "remote", c.remote, "err", err)
	}
	b.mu.Lock() // somebody may be taking the session over
	defer b.mu.Unlock()
	if isProtocol && broken.Reason != packet.Success {
		switch {
		case !c.connected && (broken.Packet == "CONNECT" || c.auth.connect != nil) && answerable(c.version, broken.Reason):
			c.sendNow(&packet.Connack{Reason: broken.Reason}, t)
		case c.connected && c.version == packet.V5 && !c.ended:
			c.sendNow(&packet.Disconnect{Reason: broken.Reason}, t)
		}
	}
	c.end(t)
}

// answerable tells whether a CONNECT that fails for a reason is answered:
// older clients know five return codes only.
func answerable(v packet.Version, r packet.Reason) bool {
	if v >= packet.V5 {
		return true
	}
	switch r {
	case packet.UnsupportedProtocolVersion, packet.ClientIDNotValid, packet.ServerUnavailable, packet.ServerBusy,
		packet.BadUserNameOrPassword, packet.NotAuthorized, packet.QuotaExceeded, packet.ServerShuttingDown,
		packet.ConnectionRateExceeded, packet.Banned:
		return true
	}
	return false
}

// keepAliveTimeout is the error of a client that fell silent.
var keepAliveTimeout = &packet.Error{Packet: "PINGREQ", Field: "keep alive", Reason: packet.KeepAliveTimeout}

// kicked is the error of a client that somebody sends away.
var kicked = &packet.Error{Packet: "connection", Reason: packet.AdministrativeAction}

// packetTimeout is the error of a client whose packet trickles in.
var packetTimeout = &packet.Error{Packet: "packet", Field: "time", Reason: packet.UnspecifiedError, Limit: "packet_timeout"}

// drop ends a connection from the broker's side. The house's lock is held.
func (b *Broker) drop(t *Turn, c *Conn, why *packet.Error) {
	if c.version == packet.V5 {
		c.sendNow(&packet.Disconnect{Reason: why.Reason}, t.batch)
	}
	switch {
	case why.Limit != "":
		b.reached(why.Limit, c.who(), why)
	case why != keepAliveTimeout || b.refusals.allow(t.Now.Run): // thousands fall silent when a network does
		b.log.Info("client dropped", "remote", c.remote, "err", why)
	}
	b.lost(t, c)
	c.ended = true
	c.end(t.batch)
}

// Flush writes what the batch has put into connections' buffers.
func (b *Broker) Flush(t *Batch) {
	for i, c := range t.touched {
		t.touched[i] = nil
		c.flush()
	}
	t.touched = t.touched[:0]
	clear(t.crowded)
	t.crowded = t.crowded[:0]
	for i, fn := range t.after {
		t.after[i] = nil
		b.safely(fn)
	}
	t.after = t.after[:0]
	if cap(t.scratch) > 256<<10 {
		t.scratch = nil
	}
}

// Writable says that a connection's transport has room again.
func (b *Broker) Writable(c *Conn, t *Batch) {
	c.mu.Lock()
	c.full = false
	c.stalled = 0
	c.mu.Unlock()
	c.flush()
	b.mu.Lock()
	if c.sess != nil && len(c.sess.cursors) > 0 {
		b.turnHere(t, func(turn *Turn) { b.walkOn(turn, c.sess) })
	}
	b.mu.Unlock()
}
