package mqtt

import (
	"sync/atomic"
	"time"
)

// sharedPayload is the size above which a payload is not copied for each
// client that gets it: their connections write from the one message.
const sharedPayload = 16 << 10

// ownRoom is what a connection, and the queue of a session, may always have in
// memory, so that somebody who takes what is sent is served also while others
// have filled Limits.MessageBytes.
const ownRoom = 64 << 10

// A part is a run of bytes that go out on a connection: a buffer of its own,
// or the payload of m.
type part struct {
	b   []byte
	m   *Message
	cut bool // it was written in part
}

// free gives up what has been written.
func (p *part) free(b *Broker) {
	if p.m != nil {
		b.letGo(p.m)
	} else if p.b != nil && !p.cut {
		putBuffer(p.b)
	}
	*p = part{}
}

// share puts the payload of m behind what is encoded. c.mu is held.
func (c *Conn) share(m *Message) {
	c.parts.push(part{b: c.out})
	c.out = nil
	c.parts.push(part{b: m.Payload, m: m})
	c.unflushed += len(m.Payload)
	c.shared += len(m.Payload)
	c.b.hold(m)
	c.count()
}

// nextPart returns what is to be written next; it is empty if there is
// nothing. c.mu is held.
func (c *Conn) nextPart() (p part) {
	switch {
	case c.writing.b != nil:
		p, c.writing = c.writing, part{}
	case c.parts.len() > 0:
		p = c.parts.pop()
	default:
		p, c.out = part{b: c.out}, nil
	}
	return p
}

// discard forgets all that was to be written. c.mu is held.
func (c *Conn) discard() {
	c.writing.free(c.b)
	for c.parts.len() > 0 {
		p := c.parts.pop()
		p.free(c.b)
	}
	c.out = nil
	c.unflushed, c.shared = 0, 0
	c.count()
}

// count keeps account of what a connection that is backed up has in memory.
// What is written at once is not worth it. c.mu is held.
func (c *Conn) count() {
	n := 0
	if c.full {
		n = c.unflushed - c.shared
	}
	if n != c.counted {
		c.b.memory.Add(int64(n - c.counted))
		c.counted = n
	}
}

// hasRoom tells whether more may be put on a connection's buffer, as far as
// the memory for messages goes. c.mu is held.
func (c *Conn) hasRoom() bool { return c.unflushed <= ownRoom || !c.b.crammed() }

// crammed tells whether the messages that wait take all the memory they may.
func (b *Broker) crammed() bool { return b.memory.Load() > int64(b.limits().MessageBytes) }

// hold counts a message that comes to wait in memory, once however many wait
// for it. letGo is its opposite; nil is nothing.
func (b *Broker) hold(m *Message) {
	if atomic.AddInt32(&m.holders, 1) == 1 {
		b.memory.Add(m.weight())
	}
}

func (b *Broker) letGo(m *Message) {
	if m != nil && atomic.AddInt32(&m.holders, -1) == 0 {
		b.memory.Add(-m.weight())
	}
}

func (m *Message) weight() int64 {
	return int64(len(m.Topic) + len(m.Payload) + len(m.Properties) + 160)
}

// trim leaves to the disk what is there, of a session that cannot take it now.
func (b *Broker) trim(s *session) {
	durable, crammed := b.durable.Load(), b.crammed()
	for s.tail.len() > 0 && s.tail.at(0).turn <= durable && (s.conn == nil || s.tail.len() > memoryAhead || crammed) {
		e := s.tail.pop()
		b.letGo(e.m)
	}
	if s.conn != nil || !s.kept() || s.passing || max(s.forgot, s.lastWrite) > durable {
		return
	}
	// It has gone: it will find on disk what it has to be sent again, as after
	// a restart.
	bytes := 0
	for i := range s.queue.len() {
		if e := s.queue.at(i); e.m != nil {
			bytes += int(e.size)
		}
	}
	if bytes > ownRoom || crammed {
		b.empty(&s.queue)
		s.again = max(s.again, s.next)
		s.next = s.base
	}
}

// empty takes all out of a queue in memory.
func (b *Broker) empty(q *ring[entry]) {
	for q.len() > 0 {
		e := q.pop()
		b.letGo(e.m)
	}
}

// leaveToDisk has a session looked at again, once what it has is on disk: what
// is large, or of one whose client has gone, does not stay in memory.
func (b *Broker) leaveToDisk(t *Turn, s *session) {
	if s.leaving || !s.kept() || s.tail.len() == 0 && s.queue.len() == 0 {
		return
	}
	s.leaving = true
	if b.leaving = append(b.leaving, s); len(b.leaving) > 1 {
		return // somebody is on the way
	}
	t.Durable(b.trimSoon())
}

// trimPause is how long what is on disk stays in memory while there is room: to
// look after each commit would be a good part of what a commit costs.
const trimPause = 20 * time.Millisecond

// trimSoon returns what has trimLeaving called once there is something to trim.
func (b *Broker) trimSoon() func() {
	look := func() { b.jobs.add(func() { b.turnNow(b.trimLeaving) }) }
	if b.crammed() {
		return look
	}
	return func() { time.AfterFunc(trimPause, look) }
}

// trimLeaving trims those that leaveToDisk has named, as far as they are on
// disk, and comes back for the others.
func (b *Broker) trimLeaving(t *Turn) {
	named := b.leaving
	b.leaving = nil
	durable := b.durable.Load()
	last := uint64(0)
	for _, s := range named {
		if number := max(s.forgot, s.lastWrite); number > durable {
			last = max(last, number)
			b.leaving = append(b.leaving, s)
			continue
		}
		s.leaving = false
		b.trim(s)
	}
	if len(b.leaving) > 0 {
		b.onDurable(last, b.trimSoon())
	}
}

// laterThan has work done by a worker once turn number is on disk.
func (b *Broker) laterThan(t *Turn, number uint64, work func()) {
	if number <= b.durable.Load() {
		t.Later(work)
		return
	}
	b.onDurable(number, func() { b.jobs.add(work) })
}
