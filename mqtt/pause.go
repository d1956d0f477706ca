package mqtt

import (
	"slices"
	"time"
)

// A publisher that is faster than a subscriber pauses: its next bytes are not
// read while a connected session it has just fed is more than half full and
// takes what it is sent, so that a queue need not overflow where everybody does
// their best. A session that takes nothing slows nobody.
const (
	longestPause = time.Second
	takesWithin  = 100 * time.Millisecond
	pauseStep    = 2 * time.Millisecond
)

// crowded tells whether a session is more than half full. The house's lock is
// held.
func (b *Broker) crowded(s *session) bool {
	return s.waiting > b.limits().QueueMessages/2 || s.waitingBytes > b.limits().QueueBytes/2
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
	for begun := b.clock().Run; b.clock().Run-begun < longestPause && b.worthWaiting(from, fed); {
		time.Sleep(pauseStep)
	}
}

// worthWaiting tells whether one of the connections is more than half full and
// has taken something lately.
func (b *Broker) worthWaiting(from *Conn, fed []*Conn) (worth bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := b.clock().Run
	for _, c := range fed {
		if c.sess == nil || c == from || from.ended {
			continue
		}
		c.mu.Lock()
		full := b.crowded(c.sess) || c.unflushed > b.limits().QueueBytes/2
		if c.written != c.writtenThen {
			c.writtenThen, c.tookAt = c.written, now
		}
		worth = worth || full && now-c.tookAt < takesWithin
		c.mu.Unlock()
	}
	return worth
}
