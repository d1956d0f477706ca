package mqtt

import (
	"encoding/binary"
	"errors"
	"time"

	"lar.home/mqtt/packet"
)

// Records of the store. Keys begin with a type byte; numbers are big-endian,
// so that key order is their order.
//
//	b/                          the number behind the leased block of turn numbers
//	f/<u32 session><filter>     a subscription
//	g/<u64 turn><u8>            a message on its way to very many sessions; with p behind it, how far it came
//	i/<u32 session><u16 id>     an inbound QoS 2 identifier that waits for PUBREL
//	m/<u64 body>                a message that several sessions queue
//	p/<u32 session><filter>     how far the retained messages of a subscription were sent
//	q/<u32 session><u64 number> a message in a session's queue, or a reference
//	r/<topic>                   a retained message
//	s/<u32 session>             a session
//	w/<client identifier>       a will that is not settled
const (
	kindBlock        = 'b'
	kindSubscription = 'f'
	kindSpread       = 'g'
	kindReceipt      = 'i'
	kindBody         = 'm'
	kindCursor       = 'p'
	kindQueue        = 'q'
	kindRetained     = 'r'
	kindSession      = 's'
	kindWill         = 'w'
)

var blockKey = []byte{kindBlock}

func key32(kind byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{kind}, n)
}

func queueKey(session uint32, n uint64) []byte {
	return appendQueueKey(nil, session, n)
}

const queueKeySize = 13

func appendQueueKey(k []byte, session uint32, n uint64) []byte {
	k = append(k, kindQueue)
	k = binary.BigEndian.AppendUint32(k, session)
	return binary.BigEndian.AppendUint64(k, n)
}

// A slab is memory for small records, of which there are many: they stand in it
// one behind the other, and none is an allocation of its own. It lasts until
// all of them are on disk.
type slab []byte

const (
	slabSize  = 4 << 10
	slabShare = slabSize / 8 // of a record at most
)

// room returns a slice of no length that has room for n bytes.
func (s *slab) room(n int) []byte {
	if n > slabShare {
		return make([]byte, 0, n)
	}
	from := len(*s)
	if cap(*s)-from < n {
		*s, from = make([]byte, 0, slabSize), 0
	}
	*s = (*s)[:from+n]
	return (*s)[from : from : from+n]
}

func sessionKey(session uint32) []byte { return key32(kindSession, session) }

func subscriptionKey(session uint32, filter string) []byte {
	return append(key32(kindSubscription, session), filter...)
}

func cursorKey(session uint32, filter string) []byte {
	return append(key32(kindCursor, session), filter...)
}

func receiptKey(session uint32, id uint16) []byte {
	return binary.BigEndian.AppendUint16(key32(kindReceipt, session), id)
}

func bodyKey(body uint64) []byte {
	return binary.BigEndian.AppendUint64([]byte{kindBody}, body)
}

func retainedKey(topic string) []byte { return append([]byte{kindRetained}, topic...) }

func willKey(clientID string) []byte { return append([]byte{kindWill}, clientID...) }

var receiptRecord = []byte{1}

// What an entry of a queue holds.
const (
	entryHere      = 1 // the message itself
	entryElsewhere = 2 // the number of its body
	entryPubrel    = 3 // nothing: PUBREC came, PUBREL is sent
)

var releasedEntry = []byte{entryPubrel}

// errRecord reports a record that cannot be read.
var errRecord = errors.New("a record of the store is damaged")

// A reader takes a record apart; its first failure sticks.
type recordReader struct {
	b   []byte
	bad bool
}

func (r *recordReader) take(n int) []byte {
	if r.bad || n < 0 || n > len(r.b) {
		r.bad = true
		return make([]byte, min(max(n, 0), 8))
	}
	v := r.b[:n]
	r.b = r.b[n:]
	return v
}

func (r *recordReader) byte() byte  { return r.take(1)[0] }
func (r *recordReader) u64() uint64 { return binary.BigEndian.Uint64(r.take(8)) }
func (r *recordReader) u32() uint32 { return binary.BigEndian.Uint32(r.take(4)) }

func (r *recordReader) uvarint() uint64 {
	v, n := binary.Uvarint(r.b)
	if n <= 0 {
		r.bad = true
		return 0
	}
	r.b = r.b[n:]
	return v
}

// bytes returns a copy of a length-prefixed field.
func (r *recordReader) bytes() []byte {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return nil
	}
	if n == 0 {
		return nil
	}
	return append([]byte(nil), r.take(int(n))...)
}

func (r *recordReader) text() string {
	n := r.uvarint()
	if r.bad || n > uint64(len(r.b)) {
		r.bad = true
		return ""
	}
	return string(r.take(int(n)))
}

func (r *recordReader) err() error {
	if r.bad {
		return errRecord
	}
	return nil
}

func appendText[T ~string | ~[]byte](b []byte, v T) []byte {
	b = binary.AppendUvarint(b, uint64(len(v)))
	return append(b, v...)
}

// appendMessage encodes a message: QoS and flags, expiry as wall time in
// milliseconds (0 never), topic, publisher, properties, payload.
func (b *Broker) appendMessage(dst []byte, m *Message, now Now) []byte {
	flags := byte(m.QoS)
	if m.Retain {
		flags |= 4
	}
	dst = append(dst, flags)
	dst = binary.BigEndian.AppendUint64(dst, wallOf(m.Expires, now))
	dst = appendText(dst, m.Topic)
	dst = appendText(dst, m.ClientID)
	dst = appendText(dst, m.Properties)
	return append(dst, m.Payload...)
}

// messageSize is room enough for appendMessage: beside what it names, flags,
// expiry and three lengths.
func messageSize(m *Message) int {
	return 1 + 8 + 2*binary.MaxVarintLen16 + binary.MaxVarintLen32 + len(m.Topic) + len(m.ClientID) + len(m.Properties) + len(m.Payload)
}

func (r *recordReader) message(now Now) *Message {
	m := &Message{}
	flags := r.byte()
	m.QoS, m.Retain = QoS(flags&3), flags&4 != 0
	if m.QoS > ExactlyOnce {
		r.bad = true
	}
	m.Expires = runOf(r.u64(), now)
	m.Topic = r.text()
	m.ClientID = r.text()
	m.Properties = r.bytes()
	if !r.bad {
		m.Payload = append([]byte(nil), r.b...)
		r.b = nil
	}
	return m
}

// wallOf turns a deadline in Run time into wall milliseconds; 0 never.
func wallOf(run time.Duration, now Now) uint64 {
	if run == 0 {
		return 0
	}
	return uint64(max(1, now.Wall.Add(run-now.Run).UnixMilli()))
}

// runOf is the opposite of wallOf. What is over is due at once.
func runOf(wall uint64, now Now) time.Duration {
	if wall == 0 {
		return 0
	}
	return max(1, now.Run+time.UnixMilli(int64(wall)).Sub(now.Wall))
}

// appendEntry encodes an entry of a queue, into memory of the turn.
func (b *Broker) appendEntry(t *Turn, e *entry) []byte {
	size, kind := 2+binary.MaxVarintLen32*(1+len(e.subIDs)), byte(entryElsewhere)
	if e.body == 0 {
		size, kind = size+messageSize(e.m), entryHere
	} else {
		size += 8 + binary.MaxVarintLen32
	}
	if e.share != nil {
		size += binary.MaxVarintLen32 + len(e.share.key())
	}
	dst := t.slab.room(size)
	flags := byte(e.qos)
	if e.retain {
		flags |= 4
	}
	if e.share != nil {
		flags |= 8
	}
	dst = append(dst, kind, flags)
	dst = binary.AppendUvarint(dst, uint64(len(e.subIDs)))
	for _, id := range e.subIDs {
		dst = binary.AppendUvarint(dst, uint64(id))
	}
	if e.share != nil {
		dst = appendText(dst, e.share.key())
	}
	if e.body != 0 {
		dst = binary.BigEndian.AppendUint64(dst, e.body)
		return binary.AppendUvarint(dst, uint64(e.size))
	}
	return b.appendMessage(dst, e.m, t.Now)
}

// readEntry decodes an entry of a queue. Its message is missing when it lies
// in a body of its own.
func readEntry(value []byte, now Now) (e entry, err error) {
	r := recordReader{b: value}
	kind := r.byte()
	if kind == entryPubrel {
		return entry{qos: ExactlyOnce, state: entryReleased}, r.err()
	}
	flags := r.byte()
	e.qos, e.retain = QoS(flags&3), flags&4 != 0
	if n := r.uvarint(); n > uint64(len(r.b)) {
		r.bad = true
	} else {
		for range n {
			e.subIDs = append(e.subIDs, uint32(r.uvarint()))
		}
	}
	if flags&8 != 0 {
		e.share = groupOf(r.text())
	}
	switch kind {
	case entryHere:
		e.m = r.message(now)
		e.size = int32((&publication{m: e.m}).weight())
	case entryElsewhere:
		e.body = r.u64()
		e.size = int32(r.uvarint())
	default:
		r.bad = true
	}
	if e.qos == 0 || e.qos > ExactlyOnce {
		r.bad = true
	}
	return e, r.err()
}

// shareBody writes the body of a message once in a turn and counts who refers
// to it.
func (b *Broker) shareBody(t *Turn, pub *publication) uint64 {
	if pub.body == 0 {
		b.bodiesOfTurn++
		pub.body = t.Number<<8 | uint64(b.bodiesOfTurn&0xff)
		m := pub.message()
		t.durably(bodyKey(pub.body), b.appendMessage(make([]byte, 0, messageSize(m)), m, t.Now))
	}
	b.refer(pub.body, pub.weight())
	return pub.body
}

// bodyRefs are the sessions that refer to a body, and its bytes.
type bodyRefs struct{ n, bytes int }

// refer counts a reference to a body.
func (b *Broker) refer(body uint64, bytes int) {
	r := b.bodies[body]
	if r.n == 0 {
		r.bytes = bytes
		b.queuedBytes += bytes
	}
	r.n++
	b.bodies[body] = r
}

// turnOfBody returns the number of the turn that wrote a body.
func turnOfBody(body uint64) uint64 { return body >> 8 }

// dropBody takes one reference to a body away, and the body with the last.
func (b *Broker) dropBody(t *Turn, body uint64) {
	if body == 0 {
		return
	}
	r := b.bodies[body]
	if r.n--; r.n <= 0 {
		b.queuedBytes -= r.bytes
		delete(b.bodies, body)
		t.forget(bodyKey(body))
		return
	}
	b.bodies[body] = r
}

// A storedEntry is an entry of a queue as it was found on disk.
type storedEntry struct {
	n uint64
	entry
}

// readEntries reads the next entries of a session's queue, with their messages:
// up to the one before last, a batch at most, and none beyond so many bytes but
// one. more says that there are more. It runs outside the lock.
func (b *Broker) readEntries(session uint32, first, last uint64, bytes int) (found []storedEntry, more bool, err error) {
	now := b.clock()
	scanErr := b.store.Scan(key32(kindQueue, session), queueKey(session, first), func(key, value []byte) bool {
		n := binary.BigEndian.Uint64(key[5:])
		if n >= last {
			return false
		}
		if more = len(found) == loadBatch || len(found) > 0 && bytes <= 0; more {
			return false
		}
		e, err := readEntry(value, now)
		if err != nil {
			return true // reported by the scan at start; the message is lost
		}
		found = append(found, storedEntry{n, e})
		bytes -= int(e.size)
		return true
	})
	if scanErr != nil {
		return nil, false, scanErr
	}
	shared := make(map[uint64]*Message)
	for i := range found {
		e := &found[i].entry
		if e.body == 0 || e.state == entryReleased {
			continue
		}
		m := shared[e.body]
		if m == nil {
			if m, err = b.readBody(e.body, now); err != nil {
				return nil, false, err
			}
			shared[e.body] = m
		}
		if e.m = m; m == nil {
			e.state = entryDone
		}
	}
	return found, more, nil
}

// readBody reads the message of a shared body; nil if it is gone.
func (b *Broker) readBody(body uint64, now Now) (m *Message, err error) {
	key := bodyKey(body)
	err = b.store.Scan(key, nil, func(_, value []byte) bool {
		r := recordReader{b: value}
		if m = r.message(now); r.bad {
			m = nil
		}
		return false
	})
	return m, err
}

// retainedRecord encodes a retained message.
func (b *Broker) retainedRecord(t *Turn, m *Message) []byte {
	return b.appendMessage(make([]byte, 0, messageSize(m)), m, t.Now)
}

func subscriptionRecord(s *subscription) []byte {
	flags := byte(s.QoS) | s.RetainHandling<<4
	if s.NoLocal {
		flags |= 4
	}
	if s.RetainAsPublished {
		flags |= 8
	}
	return binary.AppendUvarint([]byte{flags}, uint64(s.id))
}

func readSubscription(filter string, value []byte) (*subscription, error) {
	r := recordReader{b: value}
	flags := r.byte()
	s := &subscription{Subscription: packet.Subscription{Filter: filter, QoS: QoS(flags & 3),
		NoLocal: flags&4 != 0, RetainAsPublished: flags&8 != 0, RetainHandling: flags >> 4 & 3}}
	s.id = uint32(r.uvarint())
	if s.QoS > ExactlyOnce {
		r.bad = true
	}
	return s, r.err()
}

func cursorRecord(c *cursor) []byte { return appendText(nil, c.after) }

// sessionRecord encodes a session: protocol version, whether it is connected,
// expiry, since when it is offline, the next number and the first never sent,
// client identifier and owner.
func sessionRecord(s *session) []byte {
	connected := byte(0)
	if s.conn != nil {
		connected = 1
	}
	dst := []byte{byte(s.version), connected}
	dst = binary.BigEndian.AppendUint32(dst, s.expiry)
	dst = binary.BigEndian.AppendUint64(dst, uint64(s.offline.UnixMilli()))
	dst = binary.BigEndian.AppendUint64(dst, s.seq)
	dst = binary.BigEndian.AppendUint64(dst, max(s.next, s.again))
	dst = appendText(dst, s.clientID)
	return appendText(dst, s.owner)
}

func readSession(value []byte) (s *session, connected bool, err error) {
	r := recordReader{b: value}
	s = &session{version: packet.Version(r.byte())}
	connected = r.byte() == 1
	s.expiry = r.u32()
	s.offline = time.UnixMilli(int64(r.u64()))
	s.seq = r.u64()
	s.again = r.u64()
	s.clientID = r.text()
	s.owner = r.text()
	return s, connected, r.err()
}
