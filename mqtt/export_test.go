package mqtt

import "time"

// Deadlines tells how many deadlines are armed.
func (b *Broker) Deadlines() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.deadlines)
}

// Memory tells what is counted of messages in memory, and what there is: in
// the queues of sessions, and on connections, which may have some less.
func (b *Broker) Memory() (counted, queued int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	held := make(map[*Message]bool)
	for _, s := range b.sessions {
		for _, q := range []*ring[entry]{&s.queue, &s.tail} {
			for i := range q.len() {
				if m := q.at(i).m; m != nil && !held[m] {
					held[m] = true
					queued += m.weight()
				}
			}
		}
	}
	b.retained.Visit("", func(_ string, kept *retainedMessage) bool {
		if kept.large && !kept.stored && !held[kept.m] {
			held[kept.m] = true
			queued += kept.m.weight()
		}
		return true
	})
	return b.memory.Load(), queued
}

// PanicAt arms a deadline that panics.
func (b *Broker) PanicAt(at time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exactly(at, panicking)
}

// PanicAfter has the broker's own part panic when the consumers have had m.
func (b *Broker) PanicAfter(m *Message) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.exactly(0, func(t *Turn) {
		b.publishMade(t, m)
		panic("by the test")
	})
}

// PanicJob has a worker panic in the midst of a turn.
func (b *Broker) PanicJob() { b.jobs.add(func() { b.turnNow(panicking) }) }

func panicking(t *Turn) {
	t.Publish(&Message{Topic: "never/sent"})
	t.Write([]byte("never"), []byte("written"))
	panic("by the test")
}

// Panics tells how many panics were caught.
func (b *Broker) Panics() uint64 { return b.stats.panics.Load() }

// Conns returns how many connections there are.
func (b *Broker) Conns() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.conns)
}
