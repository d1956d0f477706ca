package mqtt

import "encoding/binary"

// wideFanout is how many kept sessions one turn brings a message to. A publish
// that matches more writes the message and the list of its sessions as one
// record; turns that follow at once, and the next start if the power fails
// between them, bring it to the sessions.
const wideFanout = 1000

// A spread is a message on its way to more kept sessions than fit in a turn.
type spread struct {
	number uint64 // of the turn that wrote it
	index  int    // among those of that turn
	pub    publication
	to     []target
	next   int // of to
}

// A target is what one session gets of a spread.
type target struct {
	session uint32
	qos     QoS
	retain  bool
	subIDs  []uint32
	share   *shareGroup
}

// widely begins a spread. It delivers to sessions that are not kept at once.
func (b *Broker) widely(t *Turn, pub *publication, r *route, qos QoS, retain bool) {
	s := &spread{number: t.Number, index: len(b.spreads)}
	add := func(d *delivery, granted QoS, retain bool, subIDs []uint32) {
		if granted = min(qos, granted); granted > AtMostOnce && d.sess.kept() {
			s.to = append(s.to, target{d.sess.id, granted, retain, subIDs, d.share})
		} else {
			b.deliver(t, d, pub, granted, retain, subIDs)
		}
	}
	b.each(pub, r, qos, retain, add)
	s.pub = publication{m: pub.message(), topic: pub.topic, gathered: true, held: pub.held, shared: true}
	t.durably(spreadKey(s.number, s.index), b.spreadRecord(s, t.Now))
	b.spreads = append(b.spreads, s)
}

// spreadOut carries on what widely began, in turns of its own, before any
// other: so nothing overtakes it. The house's lock is held.
func (b *Broker) spreadOut(batch *Batch) {
	if b.spreading {
		return
	}
	b.spreading = true
	defer func() { b.spreading = false }() // also after a panic: then the next turn goes on behind it
	for i := 0; i < len(b.spreads); i++ {
		for s := b.spreads[i]; s.next >= 0; {
			t := b.begin(batch)
			for s.next < len(s.to) && !t.heavy() {
				to := &s.to[s.next]
				s.next++
				if sess := b.kept[to.session]; sess != nil {
					b.join(t, sess, &s.pub, to.qos, to.retain, to.subIDs, to.share)
				}
			}
			if s.next < len(s.to) {
				t.durably(spreadPlaceKey(s.number, s.index), binary.BigEndian.AppendUint32(nil, uint32(s.next)))
			} else {
				t.durably(spreadKey(s.number, s.index), nil)
				t.durably(spreadPlaceKey(s.number, s.index), nil)
				s.next = -1
			}
			b.finish(t)
		}
	}
	clear(b.spreads)
	b.spreads = b.spreads[:0]
}

func spreadKey(number uint64, i int) []byte {
	return append(binary.BigEndian.AppendUint64([]byte{kindSpread}, number), byte(i))
}

func spreadPlaceKey(number uint64, i int) []byte { return append(spreadKey(number, i), 'p') }

// spreadRecord encodes the targets of a spread, then its message.
func (b *Broker) spreadRecord(s *spread, now Now) []byte {
	dst := binary.AppendUvarint(nil, uint64(len(s.to)))
	for i := range s.to {
		to := &s.to[i]
		flags := byte(to.qos)
		if to.retain {
			flags |= 4
		}
		if to.share != nil {
			flags |= 8
		}
		dst = append(binary.BigEndian.AppendUint32(dst, to.session), flags)
		dst = binary.AppendUvarint(dst, uint64(len(to.subIDs)))
		for _, id := range to.subIDs {
			dst = binary.AppendUvarint(dst, uint64(id))
		}
		if to.share != nil {
			dst = appendText(dst, to.share.key())
		}
	}
	return b.appendMessage(dst, s.pub.m, now)
}

func readSpread(value []byte, now Now) (*spread, error) {
	r := recordReader{b: value}
	s := &spread{}
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		return nil, errRecord
	}
	for range n {
		to := target{session: r.u32()}
		flags := r.byte()
		to.qos, to.retain = QoS(flags&3), flags&4 != 0
		ids := r.uvarint()
		if ids > uint64(len(r.b)) || to.qos == AtMostOnce || to.qos > ExactlyOnce {
			return nil, errRecord
		}
		for range ids {
			to.subIDs = append(to.subIDs, uint32(r.uvarint()))
		}
		if flags&8 != 0 {
			to.share = groupOf(r.text())
		}
		s.to = append(s.to, to)
	}
	m := r.message(now)
	s.pub = publication{m: m, topic: m.Topic, gathered: true, shared: true}
	return s, r.err()
}

// takeUpSpreads finds the spreads that a cut has interrupted.
func (b *Broker) takeUpSpreads(now Now, damaged func(key []byte, err error)) error {
	return b.store.Scan([]byte{kindSpread}, nil, func(key, value []byte) bool {
		switch {
		case len(key) == 10:
			s, err := readSpread(value, now)
			if err != nil {
				damaged(key, err)
				return true
			}
			s.number = binary.BigEndian.Uint64(key[1:])
			s.index = int(key[9])
			b.spreads = append(b.spreads, s)
		case len(key) == 11 && len(value) == 4 && len(b.spreads) > 0:
			s := b.spreads[len(b.spreads)-1]
			if s.number == binary.BigEndian.Uint64(key[1:]) && s.index == int(key[9]) {
				s.next = min(int(binary.BigEndian.Uint32(value)), len(s.to))
			}
		}
		return true
	})
}
