package mqtt

import (
	"slices"
	"time"
)

// A publisher that is faster than a subscriber pauses: its next bytes are not
// read while a connected session it has just fed is more than half full
// (Limits.PausePercent) and takes what it is sent, so that a queue need not
// overflow where everybody does their best. A session that takes nothing slows
// nobody.

// pauseStep is how often a publisher that pauses looks whether to go on.
const pauseStep = 2 * time.Millisecond

// crowded tells whether a session is more than half full. The house's lock is
// held.
func (b *Broker) crowded(s *session) bool {
	l := b.limits()
	return l.crowding(s.waiting, l.QueueMessages) || l.crowding(s.waitingBytes, l.QueueBytes)
}

// crowd notes that the batch has fed a connection that is more than half full.
func (t *Batch) crowd(c *Conn) {
	if !slices.Contains(t.crowded, c) {
		t.crowded = append(t.crowded, c)
	}
}

// pause waits, on the publisher's own goroutine, for the connections that its
// messages have crowded.
func (b *Broker) pause(from *Conn, t *Batch) {
	fed := t.crowded
	t.crowded = nil
	b.Flush(t)
	for begun := b.clock().Run; b.clock().Run-begun < b.limits().PauseLongest && b.worthWaiting(from, fed); {
		time.Sleep(pauseStep)
	}
}

// worthWaiting tells whether one of the connections is more than half full and
// has taken something lately.
func (b *Broker) worthWaiting(from *Conn, fed []*Conn) (worth bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, l := b.clock().Run, b.limits()
	for _, c := range fed {
		if c.sess == nil || c == from || from.ended {
			continue
		}
		c.mu.Lock()
		full := b.crowded(c.sess) || l.crowding(c.unflushed, l.QueueBytes)
		if c.written != c.writtenThen {
			c.writtenThen, c.tookAt = c.written, now
		}
		worth = worth || full && now-c.tookAt < l.PauseTakes
		c.mu.Unlock()
	}
	return worth
}
