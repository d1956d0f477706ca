package mqtt

import (
	"slices"
	"time"
)

// A publisher that is faster than a subscriber pauses: its next bytes are not
// read while a connected session it has just fed is more than half full
// (Limits.PausePercent) and goes on taking what fills it, so that a queue need
// not overflow where everybody does their best. A session that takes nothing
// slows nobody. One that is as full after the longest pause as before it has
// slowed others enough: for ten times as long nobody waits for it.

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
	for begun := b.clock().Run; b.worthWaiting(from, fed, begun); {
		time.Sleep(pauseStep)
	}
}

// worthWaiting tells whether one of the connections is more than half full, has
// taken of it lately, and has not been waited for long enough.
func (b *Broker) worthWaiting(from *Conn, fed []*Conn, since time.Duration) (worth bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now, l := b.clock().Run, b.limits()
	enough := now-since >= l.PauseLongest
	for _, c := range fed {
		if c.sess == nil || c == from || from.ended {
			continue
		}
		c.mu.Lock()
		queue, buffer := b.crowded(c.sess), l.crowding(c.unflushed, l.QueueBytes)
		// What is written empties the buffer, what is acknowledged the queue.
		taken := int64(0)
		if buffer {
			taken += c.written
		}
		if queue {
			taken += c.acked
		}
		if taken != c.takenThen {
			c.takenThen, c.tookAt = taken, now
		}
		if enough && (queue || buffer) {
			c.spared = now + 10*l.PauseLongest
		}
		worth = worth || (queue || buffer) && now >= c.spared && now-c.tookAt < l.PauseTakes
		c.mu.Unlock()
	}
	return worth
}
