package mqtt

import (
	"slices"
	"time"

	"lar.home/mqtt/topic"
)

// A retainedMessage is the last message of a topic that was published with
// RETAIN, section 3.3.1.3.
type retainedMessage struct {
	m *Message
	// shown says which consumers had it, or something newer of its topic.
	shown   uint8
	live    uint64    // liveSeq when a message of its topic was last routed while cursors walked
	expires *deadline // nil: never

	// Of a large one, see retained_large.go.
	large    bool
	stored   bool // m has no payload: it lies on disk
	size     int  // bytes of the payload
	spill    *deadline
	fetched  *Message   // m with its payload, while waiters are served
	waiters  []*session // whose cursors have come to it
	unusable bool       // its record cannot be read

	aside bool // a consumer panicked at it: it is brought to none
}

// retainRoom names the limit for which one more retained message has no room,
// or "" if it has.
func (b *Broker) retainRoom(name string, size int) (limit string) {
	l := b.limits()
	small, large := b.retainedBytes, b.retainedLarge
	old, _ := b.retained.Get(name)
	switch {
	case old == nil && b.retainedCount() >= l.RetainedTopics:
		return "retained_topics"
	case old == nil:
		small += len(name)
	case old.large:
		large -= old.size
	default:
		small -= old.size
	}
	if size > largePacket {
		if b.crammed() && b.store.Ready() != nil {
			return "message_bytes" // it would have to stay in memory
		}
		if large+size > l.RetainedLargeBytes {
			return "retained_large_bytes"
		}
		size = 0 // in memory
	}
	if small+size > l.RetainedBytes {
		return "retained_bytes"
	}
	return ""
}

// countRetained counts a retained message that comes, by 1, or goes, by -1.
func (b *Broker) countRetained(kept *retainedMessage, by int) {
	b.retainedBytes += by * len(kept.m.Topic)
	if kept.large {
		b.retainedLarge += by * kept.size
	} else {
		b.retainedBytes += by * kept.size
	}
}

// dropRetained is the end of a retained message; the record is the caller's.
func (b *Broker) dropRetained(kept *retainedMessage) {
	b.countRetained(kept, -1)
	b.cancel(kept.expires)
	b.cancel(kept.spill)
	if kept.large && !kept.stored {
		b.letGo(kept.m)
	}
}

// retain keeps a message for those who subscribe later, or takes the old one
// away if the payload is empty, [MQTT-3.3.1-5..7]. What came with QoS 0 is
// written lazily: nobody was promised anything.
func (b *Broker) retain(t *Turn, pub *publication, qos QoS) {
	old, _ := b.retained.Get(pub.topic)
	if old != nil {
		b.dropRetained(old)
	}
	var record []byte
	var kept *retainedMessage
	if pub.empty() {
		if old == nil {
			return
		}
		b.retained.Delete(pub.topic)
	} else {
		m := pub.message()
		kept = newRetained(m)
		if old != nil {
			kept.live = old.live
		}
		b.retained.Set(m.Topic, kept)
		b.countRetained(kept, 1)
		record = b.retainedRecord(t, m)
		b.expireRetained(kept)
		if kept.large {
			b.hold(m)
		}
	}
	if qos == AtMostOnce && !pub.held {
		t.Lazy(retainedKey(pub.topic), record)
		if kept != nil && kept.large {
			b.spillLater(t, kept)
		}
		return
	}
	t.durably(retainedKey(pub.topic), record)
	if kept != nil && kept.large {
		b.spillOnceDurable(t, kept)
	}
}

func newRetained(m *Message) *retainedMessage {
	return &retainedMessage{m: m, size: len(m.Payload), large: len(m.Payload) > largePacket}
}

func (p *publication) empty() bool {
	if p.p != nil {
		return len(p.p.Payload) == 0
	}
	return len(p.m.Payload) == 0
}

// expireRetained takes a retained message away when its time has come.
func (b *Broker) expireRetained(kept *retainedMessage) {
	m := kept.m
	if m.Expires == 0 {
		return
	}
	kept.expires = b.at(m.Expires, func(t *Turn) {
		b.retained.Delete(m.Topic)
		b.dropRetained(kept)
		t.Lazy(retainedKey(m.Topic), nil)
	})
}

// A cursor walks the retained messages that a new subscription matches, in the
// order of their topics, as window and socket allow.
type cursor struct {
	sub   *subscription
	after string // the last topic that was sent
	begun uint64 // liveSeq when it began
}

// deleteCursor ends the walk of a subscription, if it is under way.
func (b *Broker) deleteCursor(sub *subscription) {
	s := sub.sess
	before := len(s.cursors)
	s.cursors = slices.DeleteFunc(s.cursors, func(c *cursor) bool { return c.sub == sub })
	b.walking -= before - len(s.cursors)
}

// addCursor begins a walk, or takes one up.
func (b *Broker) addCursor(w *cursor) {
	w.sub.sess.cursors = append(w.sub.sess.cursors, w)
	b.walking++
}

// showFirst brings the retained message of a topic to those whose cursors have
// not come to it, ahead of a live message: whoever subscribes never gets an
// older message of a topic after a newer one. The cursors then leave it out.
// What of it cannot wait for a client that is away (QoS 0) is superseded.
func (b *Broker) showFirst(t *Turn, name string, r *route) {
	kept, _ := b.retained.Get(name)
	if kept == nil {
		return
	}
	for i := range r.to {
		s := r.to[i].sess
		for _, w := range s.cursors {
			if w.passes(kept) && w.after < name && topic.Match(w.sub.Filter, name) {
				// A large one that lies on disk is superseded, too.
				if !kept.stored && (s.conn != nil || min(kept.m.QoS, w.sub.QoS) > AtMostOnce) {
					b.showTo(t, w, kept.m, false)
				}
			}
		}
	}
	b.liveSeq++
	kept.live = b.liveSeq
}

// passes tells whether a retained message is still to be shown by the cursor.
func (w *cursor) passes(kept *retainedMessage) bool { return kept.live <= w.begun }

// startWalk begins to send the retained messages for a subscription. That of a
// kept session with QoS above 0 goes on after a restart.
func (b *Broker) startWalk(t *Turn, w *cursor) {
	s := w.sub.sess
	any := false
	_, done := b.retained.Match(w.sub.Filter, "", walkSlice, func(string, *retainedMessage) bool {
		any = true
		return false
	})
	if done && !any {
		return
	}
	b.deleteCursor(w.sub)
	w.begun = b.liveSeq
	b.addCursor(w)
	if s.kept() && w.sub.QoS > AtMostOnce {
		t.durably(cursorKey(s.id, w.sub.Filter), cursorRecord(w))
		s.lastWrite = t.Number
	}
}

// A slice of a walk: what one turn sends at most, and how full the socket's
// buffer may be.
const (
	walkSlice   = 64
	walkBacklog = 256 << 10
)

// walk sends retained messages of the session's cursors until the slice, the
// window or the socket is full.
func (b *Broker) walk(t *Turn, s *session) {
	sent := 0
	for steps := walkSlice; len(s.cursors) > 0 && s.conn != nil; {
		w := s.cursors[0]
		window := func() bool {
			return w.sub.QoS == AtMostOnce || s.inFlight < s.conn.window && s.next == s.end()
		}
		unwritten, full := s.conn.backlog()
		if !window() || full {
			return // pump or Writable comes here again
		}
		room := func() bool { return window() && unwritten+sent < walkBacklog && !t.heavy() }
		if steps <= 0 || !room() {
			b.walkOn(t, s)
			return
		}
		var away *retainedMessage // that has to be fetched from the disk first
		before := w.after
		next, done := b.retained.Match(w.sub.Filter, w.after, steps, func(name string, kept *retainedMessage) bool {
			steps--
			if !w.passes(kept) || kept.unusable {
				before = name
				return true
			}
			m := kept.m
			if kept.stored {
				if m = kept.fetched; m == nil {
					away = kept
					return false
				}
			}
			before = name
			b.showTo(t, w, m, true)
			sent += len(name) + len(m.Payload) + len(m.Properties)
			return room()
		})
		if away != nil {
			next, done = before, false
		}
		if w.after == next && !done {
			steps = 0
		}
		w.after = next
		steps -= walkSlice / 8 // names looked at in vain cost too
		if done {
			b.deleteCursor(w.sub)
		}
		if s.kept() && w.sub.QoS > AtMostOnce {
			var record []byte
			if !done {
				record = cursorRecord(w)
			}
			t.durably(cursorKey(s.id, w.sub.Filter), record)
			s.lastWrite = t.Number
		}
		if away != nil {
			b.fetchFor(t, s, away)
			return
		}
	}
}

// walkOn has a walk go on in a turn of its own, beside others of its kind: they
// take turns among themselves, and the house's lock is theirs one at a time.
func (b *Broker) walkOn(t *Turn, s *session) {
	if s.walksOn {
		return
	}
	s.walksOn = true
	t.Later(func() {
		begun := b.run()
		b.turnNow(func(t *Turn) {
			s.walksOn = false
			b.pump(t, s)
		})
		time.Sleep(b.walkPace.rest(begun, b.run()))
	})
}

// showTo sends one retained message for a subscription, with RETAIN set.
// That of a cursor does not count in the queue's limits.
func (b *Broker) showTo(t *Turn, w *cursor, m *Message, fromCursor bool) {
	s, sub := w.sub.sess, w.sub
	if m.Expires != 0 && m.Expires <= t.Now.Run || !b.mayReceive(s, m.Topic) {
		return
	}
	var ids []uint32
	if sub.id != 0 {
		ids = []uint32{sub.id}
	}
	pub := &publication{m: m, topic: m.Topic, gathered: true, fromCursor: fromCursor}
	if qos := min(m.QoS, sub.QoS); qos > AtMostOnce {
		b.join(t, s, pub, qos, true, ids, nil)
	} else if !s.conn.tooLarge(pub, AtMostOnce, ids) {
		t.send(&send{c: s.conn, lanes: messageLane, retain: true, m: m, subIDs: ids})
	}
}

// A showing is how far it has come to bring retained messages to consumers that
// want them.
type showing struct {
	after   string           // the last name that was looked at
	recalls []recall         // what is brought again
	away    *retainedMessage // comes next and has to be read from the disk first
}

// showOn takes one step on a worker. Others want it, to feed clients, and there
// may be a single one.
func (b *Broker) showOn(w *showing) {
	if b.show(w) {
		b.jobs.add(func() { b.showOn(w) })
	}
}

// show brings some retained messages to consumers that have come to want them,
// and tells whether there are more.
func (b *Broker) show(w *showing) (more bool) {
	defer func() {
		if r := recover(); r != nil { // the next Rewire begins anew
			b.panicked(r)
			b.mu.Lock()
			b.showing, b.showAgain = false, false
			b.mu.Unlock()
			more = false
		}
	}()
	read := w.away // is brought now
	if w.away = nil; read != nil {
		m, err := b.readRetained(read.m.Topic)
		if m == nil {
			b.log.Error("retained message not read", "topic", read.m.Topic, "err", err)
		} else {
			b.turnNow(func(t *Turn) {
				if kept, _ := b.retained.Get(m.Topic); kept == read {
					b.showConsumers(t, kept, m)
				}
			})
		}
	}
	const slice = 128
	b.turnNow(func(t *Turn) {
		if w.after == "" {
			w.recalls, b.recalls = b.recalls, nil
		}
		next, done := b.retained.Match("#", w.after, slice, func(name string, kept *retainedMessage) bool {
			if kept != read {
				b.recall(w.recalls, kept, name)
			}
			if kept.stored && b.wanted(name)&^kept.shown != 0 {
				w.away = kept
				return false
			}
			b.showConsumers(t, kept, kept.m)
			return true
		})
		w.after, more = next, !done || w.away != nil
		if !more {
			if b.showAgain {
				b.showAgain = false
				w.after, more = "", true
			} else {
				b.showing = false
			}
		}
	})
	return more
}

// showConsumers brings a retained message to those who want it and have not
// had it.
func (b *Broker) showConsumers(t *Turn, kept *retainedMessage, msg *Message) {
	wants := b.wanted(msg.Topic)
	news := wants &^ kept.shown
	if kept.aside || b.broken.is {
		return
	}
	kept.shown = wants // who has come not to want it is shown it again
	if news == 0 {
		return
	}
	m := *msg
	m.Retained = true
	m.hop, m.holders = 0, 0
	for i, c := range b.consumers {
		if news&(1<<i) != 0 {
			b.accept(t, c, &m, nil)
		}
	}
}

// recall has a retained message shown again to those who asked for it.
func (b *Broker) recall(recalls []recall, kept *retainedMessage, name string) {
	for _, r := range recalls {
		for i, c := range b.consumers {
			if r.of(c, name) {
				kept.shown &^= 1 << i
			}
		}
	}
}

// rewire forgets what consumers want, and has retained messages of newly
// wanted topics brought to them.
func (b *Broker) rewire(t *Turn) {
	b.generation.Add(1)
	b.recalls = append(b.recalls, t.recalls...)
	if b.showing {
		b.showAgain = true
		return
	}
	b.showing = true
	t.Later(func() { b.showOn(&showing{}) })
}
