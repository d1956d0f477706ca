package mqtt

import (
	"encoding/binary"
	"time"

	"lar.home/mqtt/packet"
)

// A will is published for a client that went away, section 3.1.2.5.
type will struct {
	m      *Message
	delay  time.Duration
	expiry time.Duration // of the message, from when it is published; 0 never
	due    time.Time     // wall time, once the connection has ended; zero before
	timer  *deadline
}

func newWill(p *packet.Will, clientID string) *will {
	w := &will{
		m: &Message{Topic: p.Topic, Payload: p.Payload, QoS: p.QoS, Retain: p.Retain,
			Properties: p.Properties, ClientID: clientID},
		delay: time.Duration(p.Delay) * time.Second,
	}
	if p.HasExpiry {
		w.expiry = max(time.Nanosecond, time.Duration(p.Expiry)*time.Second)
	}
	return w
}

// willRecord encodes a will: delay and expiry in seconds, when it is due as
// wall milliseconds (0 while its client is connected), owner, message.
func willRecord(w *will, owner string) []byte {
	dst := binary.BigEndian.AppendUint32(nil, uint32(w.delay/time.Second))
	hasExpiry := byte(0)
	if w.expiry != 0 {
		hasExpiry = 1
	}
	dst = append(dst, hasExpiry)
	dst = binary.BigEndian.AppendUint32(dst, uint32(w.expiry/time.Second))
	due := uint64(0)
	if !w.due.IsZero() {
		due = uint64(w.due.UnixMilli())
	}
	dst = binary.BigEndian.AppendUint64(dst, due)
	dst = appendText(dst, owner)
	flags := byte(w.m.QoS)
	if w.m.Retain {
		flags |= 4
	}
	dst = append(dst, flags)
	dst = appendText(dst, w.m.Topic)
	dst = appendText(dst, w.m.ClientID)
	dst = appendText(dst, w.m.Properties)
	return append(dst, w.m.Payload...)
}

func readWill(value []byte) (w *will, owner string, err error) {
	r := recordReader{b: value}
	w = &will{delay: time.Duration(r.u32()) * time.Second}
	hasExpiry := r.byte() == 1
	w.expiry = time.Duration(r.u32()) * time.Second
	if hasExpiry && w.expiry == 0 {
		w.expiry = time.Nanosecond
	}
	if due := r.u64(); due != 0 {
		w.due = time.UnixMilli(int64(due))
	}
	owner = r.text()
	flags := r.byte()
	w.m = &Message{QoS: QoS(flags & 3), Retain: flags&4 != 0}
	w.m.Topic = r.text()
	w.m.ClientID = r.text()
	w.m.Properties = r.bytes()
	if !r.bad {
		w.m.Payload = append([]byte(nil), r.b...)
	}
	if w.m.QoS > ExactlyOnce {
		r.bad = true
	}
	return w, owner, r.err()
}

// cancelWill takes a will away unpublished.
func (b *Broker) cancelWill(t *Turn, s *session) {
	b.cancel(s.will.timer)
	if !s.will.due.IsZero() {
		t.durably(willKey(s.clientID), nil)
	} else {
		t.Lazy(willKey(s.clientID), nil)
	}
	s.will = nil
}

// scheduleWill publishes the will of a client whose connection was lost: at
// the end of its delay or of the session, whichever is first.
func (b *Broker) scheduleWill(t *Turn, s *session) {
	w := s.will
	if w.delay == 0 || s.version < packet.V5 {
		b.fireWill(t, s)
		return
	}
	w.due = t.Now.Wall.Add(w.delay)
	if end := s.offline.Add(time.Duration(s.expiry) * time.Second); end.Before(w.due) {
		w.due = end
	}
	t.alongside(willKey(s.clientID), willRecord(w, s.owner))
	b.armWill(t, s)
}

// armWill has the will of an offline session fire when it is due.
func (b *Broker) armWill(t *Turn, s *session) {
	w := s.will
	w.timer = b.at(max(t.Now.Run, t.Now.Run+w.due.Sub(t.Now.Wall)), func(t *Turn) {
		if s.will == w && s.conn == nil {
			b.fireWill(t, s)
		}
	})
}

// fireWill publishes a will, once: its record goes in the same turn.
func (b *Broker) fireWill(t *Turn, s *session) {
	w := s.will
	b.cancel(w.timer)
	s.will = nil
	t.durably(willKey(s.clientID), nil)
	if !b.mayPublish(s, w.m.Topic) {
		b.denied(s.clientID, MayPublish, w.m.Topic)
		return
	}
	m := *w.m
	if w.expiry != 0 {
		m.Expires = t.Now.Run + w.expiry
	}
	t.published = append(t.published, &m)
}
