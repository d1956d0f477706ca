package mqtt

import (
	"math"
	"strings"
)

// A shareGroup is a shared subscription, section 4.8.2: each message goes to
// one of its members.
type shareGroup struct {
	name, filter string
	members      []delivery
	turn         int // of the round robin, which begins with who came first
}

// key names a shared subscription: a share name has no slash.
func (g *shareGroup) key() string { return g.name + "/" + g.filter }

// groupOf returns what a key names, to be looked up among those there are.
func groupOf(key string) *shareGroup {
	name, filter, _ := strings.Cut(key, "/")
	return &shareGroup{name: name, filter: filter}
}

// choose returns the member whose turn it is: one that is connected, else, for
// a message that is kept and unless only connected ones are asked for, one that
// will come back. It is never the one that leaves, nor one that is denied it.
func (g *shareGroup) choose(qos QoS, leaves *session, connected bool, denied map[*session]struct{}) *delivery {
	for pass := range 2 {
		if pass == 1 && connected {
			break
		}
		for range g.members {
			d := &g.members[g.turn%len(g.members)]
			g.turn = (g.turn + 1) % len(g.members)
			if _, no := denied[d.sess]; no || d.sess == leaves {
				continue
			}
			if d.sess.conn != nil || pass == 1 && d.sess.kept() && min(qos, d.qos) > AtMostOnce {
				return d
			}
		}
	}
	return nil
}

// A stray is a message of a shared subscription whose member has left.
type stray struct {
	m     *Message
	share *shareGroup
}

// movable tells whether entry n of a session whose client has gone may go to
// another member: what was never sent, and at the end of the session also what
// was sent with QoS 1; QoS 2 that was sent never [MQTT-4.8.2-4],
// [MQTT-4.8.2-5].
func (e *entry) movable(n, sent uint64, ended bool) bool {
	return e.share != nil && e.state == entryWaiting && (n >= sent || ended && e.qos == AtLeastOnce)
}

// sent is the number of the first entry that was never sent.
func (s *session) sent() uint64 { return max(s.next, s.again) }

// pass gives a message to another member. It tells whether there was one.
func (b *Broker) pass(t *Turn, m stray, leaves *session, connected bool) bool {
	g := b.shares[m.share.key()]
	if g == nil {
		return false
	}
	d := g.choose(m.m.QoS, leaves, connected, b.route(m.m.Topic).denied)
	if d == nil {
		return false
	}
	if m.m.Expires != 0 && m.m.Expires <= t.Now.Run {
		return true
	}
	pub := &publication{m: m.m, topic: m.m.Topic, gathered: true, held: true}
	retain := m.m.Retain && d.retainAsPublished && d.sess.knowsRetain()
	t.soon = true // nobody gets it before its old place is given up
	b.deliver(t, d, pub, min(m.m.QoS, d.qos), retain, d.subIDs)
	return true
}

// passOn has what waits for a client that has gone, and was not sent, go to
// members that are there, in slices.
func (b *Broker) passOn(t *Turn, s *session) {
	if s.shared == 0 || s.passing {
		return
	}
	s.passing = true
	t.Later(func() {
		var found []storedEntry // on disk only, from number n on
		var visits int
		var dropped uint64
		for n, more := uint64(0), true; more; {
			ask := uint64(0)
			b.turnNow(func(t *Turn) {
				if visits != s.visits || dropped != s.dropped {
					found = nil // what was read may not be there any more
				}
				visits, dropped = s.visits, s.dropped
				n, ask, more = b.passSlice(t, s, n, found)
			})
			if found = nil; ask == 0 {
				continue
			}
			var err error
			if found, _, err = b.readEntries(s.id, n, ask, loadBytes); err != nil {
				b.log.Error("backlog not read", "client", s.clientID, "err", err)
			}
			if len(found) == 0 {
				n = ask
			}
		}
	})
}

// passSlice passes on what has number n or above. It returns where to go on,
// and if that is on disk only, up to where, to be called again with what was
// read there.
func (b *Broker) passSlice(t *Turn, s *session, n uint64, found []storedEntry) (next, ask uint64, more bool) {
	if s.conn != nil || b.sessions[s.clientID] != s || b.closed || s.loading {
		s.passing = false
		return n, 0, false
	}
	give := func(n uint64, e *entry) bool {
		return e.movable(n, s.sent(), false) && e.m != nil && b.pass(t, stray{e.m, e.share}, s, true)
	}
	for _, f := range found {
		if f.n < s.end() || f.n >= s.tailFirst() {
			break
		}
		if t.heavy() {
			return f.n, s.tailFirst(), true
		}
		if n = f.n + 1; give(f.n, &f.entry) {
			f.m = nil // it was not counted
			b.done(t, s, f.n, &f.entry)
			s.passed = t.Number
		}
	}
	for n = max(n, s.base); s.shared > 0 && n < s.seq; n++ {
		if t.heavy() {
			return n, 0, true
		}
		var e *entry
		switch {
		case n < s.end():
			e = s.queue.at(int(n - s.base))
		case n < s.tailFirst():
			return n, s.tailFirst(), true
		default:
			e = s.tail.at(int(n - s.tailFirst()))
		}
		if give(n, e) {
			b.done(t, s, n, e)
		}
	}
	s.passing = false
	b.leaveToDisk(t, s)
	return n, 0, false
}

// strays returns what a session that ends has in memory for other members.
func (s *session) strays() (found []stray) {
	for n := s.base; s.shared > 0 && n < s.end(); n++ {
		if e := s.queue.at(int(n - s.base)); e.movable(n, s.sent(), true) && e.m != nil {
			found = append(found, stray{e.m, e.share})
		}
	}
	for i := range s.tail.len() {
		if e := s.tail.at(i); e.movable(math.MaxUint64, 0, true) && e.m != nil {
			found = append(found, stray{e.m, e.share})
		}
	}
	return found
}

// passStrays gives what a session that was not kept has left to other members.
func (b *Broker) passStrays(t *Turn, left []stray) {
	if len(left) == 0 {
		return
	}
	t.Later(func() {
		for len(left) > 0 {
			b.turnNow(func(t *Turn) {
				for ; len(left) > 0 && !t.heavy(); left = left[1:] {
					b.pass(t, left[0], nil, false)
				}
			})
		}
	})
}
