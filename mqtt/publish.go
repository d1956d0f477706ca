package mqtt

import (
	"strings"
	"time"

	"lar.home/mqtt/packet"
)

// A publication is a message on its way through one turn. It borrows the bytes
// of the packet it came in; message makes an owned copy, if somebody needs one.
type publication struct {
	p     *packet.Publish // nil: m is all there is
	topic string          // owned; the route's, where there is one
	m     *Message
	from  *session // the publisher; nil: the hub
	conn  *Conn
	now   time.Duration

	gathered   bool // its copies are sent at the end of the turn
	held       bool // and wait for the turn, if it writes
	fromCursor bool
	shared     bool   // several kept sessions take it: one body
	body       uint64 // that was written for it in this turn

	encoded [2][3][2][]byte // by version, QoS and RETAIN; packet identifier 0
}

func (p *publication) message() *Message {
	if p.m == nil {
		m := &Message{
			Topic:   p.topic,
			Payload: append([]byte(nil), p.p.Payload...),
			QoS:     p.p.QoS,
			Retain:  p.p.Retain,
			Expires: p.expires(),
		}
		if len(p.p.Properties) > 0 {
			m.Properties = append([]byte(nil), p.p.Properties...)
		}
		if p.from != nil {
			m.ClientID = p.from.clientID
			if p.conn != nil {
				m.Connected = p.conn.sinceRun
			}
			if p.p.QoS > AtMostOnce {
				m.Origin = Origin{Session: p.from.id, PacketID: p.p.PacketID}
				m.Dup = p.p.Dup && p.conn.resumed
			}
		}
		p.m = m
	}
	return p.m
}

// expires returns the Run time after which nobody gets it; 0 never.
func (p *publication) expires() time.Duration {
	if p.p == nil || p.m != nil {
		return p.m.Expires
	}
	if !p.p.HasExpiry {
		return 0
	}
	return max(1, p.now+time.Duration(p.p.Expiry)*time.Second)
}

// weight is what the message counts in a queue.
func (p *publication) weight() int {
	if p.p != nil {
		return len(p.topic) + len(p.p.Payload) + len(p.p.Properties) + 48
	}
	return len(p.m.Topic) + len(p.m.Payload) + len(p.m.Properties) + 48
}

// size is the length of the packet that a client gets.
func (p *publication) size(v packet.Version, qos QoS, subIDs []uint32) int {
	q := packet.Publish{QoS: qos, SubscriptionIDs: subIDs, HasExpiry: p.expires() != 0, Topic: []byte(p.topic)}
	if p.p != nil {
		q.Payload, q.Properties = p.p.Payload, p.p.Properties
	} else {
		q.Topic = []byte(p.m.Topic)
		q.Payload, q.Properties = p.m.Payload, p.m.Properties
	}
	return packet.PublishSize(v, &q)
}

// publish routes a message to whoever gets it: sessions, the retained store,
// then the consumers.
func (b *Broker) publish(t *Turn, pub *publication, r *route, prepared *[maxConsumers]any) {
	qos, retain := pub.flags()
	if r == nil || r.generation != b.generation.Load() {
		r = b.route(pub.topic)
	}
	if pub.p != nil {
		pub.topic = r.topic
	}
	if b.walking > 0 {
		b.showFirst(t, pub.topic, r)
	}
	if !pub.shared && r.kept > 1 && qos > AtMostOnce {
		pub.shared = true
	}
	if qos > AtMostOnce && r.kept > 0 && r.kept+len(t.writes) > wideFanout {
		b.widely(t, pub, r, qos, retain)
	} else {
		b.each(pub, r, qos, retain, func(d *delivery, granted QoS, retain bool, subIDs []uint32) {
			b.deliver(t, d, pub, min(qos, granted), retain, subIDs)
		})
	}
	if retain {
		b.retain(t, pub, qos)
	}
	if r.wants == 0 {
		return
	}
	m := pub.message()
	if kept, _ := b.retained.Get(m.Topic); kept != nil {
		kept.shown |= r.wants // what is live need not be brought as retained
	}
	for i, c := range b.consumers {
		if r.wants&(1<<i) != 0 {
			var pre any
			if prepared != nil {
				pre = prepared[i]
			}
			b.accept(t, c, m, pre)
		}
	}
}

// isFrom tells whether a session's client is the publisher, be it by its will.
func (p *publication) isFrom(s *session) bool {
	return p.from == s || p.from == nil && p.m.ClientID == s.clientID
}

// each names the sessions that get a copy of pub, and what each is granted.
func (b *Broker) each(pub *publication, r *route, qos QoS, retain bool, fn func(d *delivery, granted QoS, retain bool, subIDs []uint32)) {
	for i := range r.to {
		d := &r.to[i]
		granted, asPublished, subIDs := d.qos, d.retainAsPublished, d.subIDs
		if d.noLocal && pub.isFrom(d.sess) {
			var any bool
			if granted, asPublished, subIDs, any = d.withoutLocal(); !any { // [MQTT-3.8.3-3]
				continue
			}
		}
		fn(d, granted, retain && asPublished, subIDs)
	}
	for _, g := range r.shares {
		if d := g.choose(qos, nil, false, r.denied); d != nil {
			fn(d, d.qos, retain && d.retainAsPublished && d.sess.knowsRetain(), d.subIDs)
		}
	}
}

func (p *publication) flags() (QoS, bool) {
	if p.p != nil {
		return p.p.QoS, p.p.Retain
	}
	return p.m.QoS, p.m.Retain
}

// accept brings m to a consumer. A consumer that panics loses this message.
func (b *Broker) accept(t *Turn, c Consumer, m *Message, prepared any) {
	if b.broken.off(m) {
		b.stats.undecided.Add(1)
		return
	}
	mark := t.Mark()
	defer func() {
		if r := recover(); r != nil {
			t.Broken(r, m, mark)
		}
	}()
	t.consumed = true
	if prepared == nil {
		prepared = c.Prepare(m.Topic, m.Payload)
	}
	c.Accept(t, m, prepared)
}

// deliver brings one copy to one session.
func (b *Broker) deliver(t *Turn, d *delivery, pub *publication, qos QoS, retain bool, subIDs []uint32) {
	s := d.sess
	if qos > AtMostOnce {
		b.join(t, s, pub, qos, retain, subIDs, d.share)
		return
	}
	c := s.conn
	if c == nil {
		return // QoS 0 is not kept for clients that are away
	}
	if c.tooLarge(pub, AtMostOnce, subIDs) {
		b.stats.dropped.Add(1)
		return
	}
	sd := t.copyFor(c)
	sd.own, sd.retain, sd.subIDs = pub.q2(), retain, subIDs
	b.sendPublish(t, pub, sd)
}

// q2 tells whether every copy of it waits for the disk: it is a QoS 2 publish.
func (p *publication) q2() bool {
	q, _ := p.flags()
	return q == ExactlyOnce
}

// sendPublish sends a copy: at once if nothing stands in its way, else at the
// end of the turn.
func (b *Broker) sendPublish(t *Turn, pub *publication, s *send) {
	s.own = s.own || pub.held
	if pub.gathered || s.own || s.after != 0 || len(t.sends) > 0 {
		s.m = pub.message()
		t.send(s)
		return
	}
	c := s.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dead || c.closing {
		return
	}
	if s.qos == AtMostOnce && c.congested() {
		return
	}
	if l := b.limits(); l.crowding(c.unflushed, l.QueueBytes) {
		t.batch.crowd(c)
	}
	if !c.clear(pub.topic) {
		s.m = pub.message()
		c.queueUp(s)
		return
	}
	before := len(c.out)
	if c.out == nil {
		c.out = getBuffer()
		before = 0
	}
	if len(s.subIDs) > 0 || s.dup || pub.p == nil || len(pub.p.Payload) > sharedPayload {
		s.m = pub.message()
		c.encode(s)
	} else if c.aliasMax > 0 {
		c.appendShort(pub, s)
		c.unflushed += len(c.out) - before
		b.stats.sentOne(len(pub.p.Payload))
	} else {
		enc := pub.encode(t.batch, c.version, s.qos, s.retain)
		c.out = append(c.out, enc...)
		if s.qos > AtMostOnce {
			packet.Readdress(c.out[before:], s.id, false)
		}
		c.unflushed += len(enc)
		b.stats.sentOne(len(pub.p.Payload))
	}
	c.count()
	c.touch(t.batch)
}

// queueUp has a message follow those that wait: in a lane nobody overtakes. The
// connection is listed already. c.mu is held.
func (c *Conn) queueUp(s *send) {
	c.msgs.push(&held{send: *s, since: c.b.turn.Now.Run})
}

// appendShort appends a PUBLISH, by an alias of its topic where there is one.
// c.mu is held.
//
//go:noinline
func (c *Conn) appendShort(pub *publication, s *send) {
	q := *pub.p
	q.Dup, q.QoS, q.Retain, q.PacketID, q.Alias, q.SubscriptionIDs = false, s.qos, s.retain, s.id, 0, nil
	if len(q.Topic) == 0 {
		q.Topic = []byte(pub.topic)
	}
	c.abbreviate(&q, pub.topic)
	c.out = packet.AppendPublish(c.out, c.version, &q)
}

// encode returns the packet in one layout, made once a turn.
func (p *publication) encode(t *Batch, v packet.Version, qos QoS, retain bool) []byte {
	five, r := 0, 0
	if v == packet.V5 {
		five = 1
	}
	if retain {
		r = 1
	}
	slot := &p.encoded[five][qos][r]
	if *slot == nil {
		q := *p.p
		q.Dup, q.QoS, q.Retain, q.PacketID, q.Alias, q.SubscriptionIDs = false, qos, retain, 0, 0, nil
		if len(q.Topic) == 0 {
			q.Topic = []byte(p.topic) // it came as an alias
		}
		from := len(t.scratch)
		t.scratch = packet.AppendPublish(t.scratch, v, &q)
		*slot = t.scratch[from:len(t.scratch):len(t.scratch)]
	}
	return *slot
}

// received handles a PUBLISH, section 3.3.
func (b *Broker) received(t *Turn, c *Conn, in *inbound) error {
	s, p := c.sess, &in.pub
	b.stats.received.Add(1)
	b.stats.payloadIn.Add(uint64(len(p.Payload)))
	if l := b.limits(); p.QoS > l.qos() {
		return &packet.Error{Packet: "PUBLISH", Field: "QoS", Reason: packet.QoSNotSupported, Limit: "maximum_qos"} // [MQTT-3.2.2-11]
	} else if p.Retain && l.NoRetained {
		return &packet.Error{Packet: "PUBLISH", Field: "RETAIN", Reason: packet.RetainNotSupported, Limit: "no_retained"} // [MQTT-3.2.2-14]
	}
	if p.QoS == ExactlyOnce {
		if again, err := b.receivedBefore(t, c, p); again || err != nil {
			return err
		}
	}
	if p.QoS == AtLeastOnce && len(s.received) > 0 && c.version >= packet.V5 {
		if _, open := s.received[p.PacketID]; open {
			b.refusePublish(t, c, p, packet.PacketIDInUse) // [MQTT-2.2.1-3]
			return nil
		}
	}
	topic := in.topic
	if reserved(topic) {
		b.refusePublish(t, c, p, packet.NotAuthorized)
		return nil
	}
	if !b.mayPublish(s, topic) {
		b.denied(s.clientID, MayPublish, topic)
		b.refusePublish(t, c, p, packet.NotAuthorized)
		return nil
	}
	pub := &b.pub
	*pub = publication{}
	pub.p, pub.topic, pub.from, pub.conn, pub.now = p, topic, s, c, t.Now.Run
	r := in.route
	if r == nil || r.generation != b.generation.Load() {
		r = b.route(topic)
	}
	if p.QoS > AtMostOnce {
		var err error
		if r.kept > 0 || p.Retain || p.QoS == ExactlyOnce && s.kept() {
			err = b.store.Ready()
		}
		if err == nil && r.wants != 0 {
			err = b.broken.refuses() // it would be acknowledged, and never decided on
		}
		if err != nil {
			b.refuse("publish refused", err, "client", c.sess.clientID)
			if c.version < packet.V5 {
				return &packet.Error{Packet: "PUBLISH", Reason: packet.QuotaExceeded}
			}
			b.refusePublish(t, c, p, packet.QuotaExceeded)
			return nil
		}
	}
	if p.Retain && len(p.Payload) > 0 {
		if limit := b.retainRoom(topic, len(p.Payload)); limit != "" {
			wrong := &packet.Error{Packet: "PUBLISH", Reason: packet.QuotaExceeded, Limit: limit}
			if c.version < packet.V5 {
				return wrong
			}
			b.reached(limit, s.clientID, wrong)
			b.refusePublish(t, c, p, packet.QuotaExceeded)
			return nil
		}
	}
	reason := packet.Success
	if len(r.to) == 0 && len(r.shares) == 0 && r.wants == 0 {
		reason = packet.NoMatchingSubscribers // in PUBACK; a PUBREC is the same when it is sent again
	}
	if p.QoS == ExactlyOnce {
		b.keepReceipt(t, c, p.PacketID)
	}
	b.publish(t, pub, r, &in.prepared)
	switch p.QoS {
	case AtLeastOnce:
		t.sendAck(c, s.lastWrite, packet.PUBACK, p.PacketID, reason).own = true
	case ExactlyOnce:
		t.sendAck(c, s.lastWrite, packet.PUBREC, p.PacketID, packet.Success).own = true
	}
	return nil
}

// receivedBefore handles a PUBLISH of QoS 2 whose identifier is in use: it is
// the one that came before, and is answered again. An error says that the
// client may not have more of them open.
func (b *Broker) receivedBefore(t *Turn, c *Conn, p *packet.Publish) (again bool, err error) {
	s := c.sess
	if r, open := s.received[p.PacketID]; open {
		if r.conn == c && r.repeated && c.version >= packet.V5 { // older clients may retry as they like
			return true, &packet.Error{Packet: "PUBLISH", Field: "packet identifier", Reason: packet.ProtocolError}
		}
		if r.repeated = r.conn == c; !r.repeated {
			r.conn = c
			c.openIn++
		}
		s.received[p.PacketID] = r
		t.sendAck(c, s.lastWrite, packet.PUBREC, p.PacketID, packet.Success) // [MQTT-4.3.3-10]
		return true, nil
	}
	switch {
	case c.version == packet.V5 && c.openIn >= b.limits().ReceiveMaximum: // begins anew with each connection, section 4.9
		return false, &packet.Error{Packet: "PUBLISH", Field: "receive maximum", Reason: packet.ReceiveMaximumExceeded, Limit: "receive_maximum"}
	case len(s.received) >= b.limits().InboundQoS2:
		return false, &packet.Error{Packet: "PUBLISH", Field: "packet identifier", Reason: packet.ReceiveMaximumExceeded, Limit: "inbound_qos2"}
	}
	return false, nil
}

// keepReceipt notes that a PUBLISH of QoS 2 is taken.
func (b *Broker) keepReceipt(t *Turn, c *Conn, id uint16) {
	s := c.sess
	if s.received == nil {
		s.received = make(map[uint16]receipt)
	}
	s.received[id] = receipt{conn: c}
	c.openIn++
	if s.kept() {
		t.durably(receiptKey(s.id, id), receiptRecord)
		s.lastWrite = t.Number
	}
}

// refusePublish answers a PUBLISH that is not accepted: 5.0 clients are told,
// older ones see it acknowledged, as the field's brokers do.
func (b *Broker) refusePublish(t *Turn, c *Conn, p *packet.Publish, reason packet.Reason) {
	b.stats.refused.Add(1)
	if c.version < packet.V5 {
		reason = packet.Success
	}
	switch p.QoS {
	case AtLeastOnce:
		t.sendAck(c, c.sess.lastWrite, packet.PUBACK, p.PacketID, reason)
	case ExactlyOnce:
		t.sendAck(c, c.sess.lastWrite, packet.PUBREC, p.PacketID, reason)
	}
}

// released handles a PUBREL: the sender has our PUBREC, section 4.3.3.
func (b *Broker) released(t *Turn, c *Conn, id uint16) {
	s := c.sess
	reason := packet.PacketIDNotFound
	if r, open := s.received[id]; open {
		delete(s.received, id)
		if r.conn == c {
			c.openIn--
		}
		reason = packet.Success
		if s.kept() {
			t.durably(receiptKey(s.id, id), nil)
			s.lastWrite = t.Number
		}
	}
	t.sendAck(c, s.lastWrite, packet.PUBCOMP, id, reason).own = true
}

// reserved tells whether a topic is the broker's own: clients may not publish
// there.
func reserved(topic string) bool {
	return len(topic) > 0 && topic[0] == '$' &&
		(topic == "$SYS" || strings.HasPrefix(topic, "$SYS/") || topic == "$share" || strings.HasPrefix(topic, "$share/"))
}
