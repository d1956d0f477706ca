package mqtt

import (
	"errors"
	"slices"
	"time"
)

// A retained message with a payload over largePacket lies on disk. In memory
// it has topic and properties; a worker reads the payload when a cursor, or a
// consumer, comes to it, and those who wait for it at that moment share it.

// spillAfter is how long a large retained message of QoS 0 stays in memory: a
// camera that says a new one every few seconds need not write each of them.
const spillAfter = 10 * time.Second

// spillLater has a large retained message that is written lazily leave memory.
func (b *Broker) spillLater(t *Turn, kept *retainedMessage) {
	wait := spillAfter
	if b.crammed() {
		wait = time.Second
	}
	kept.spill = b.at(t.Now.Run+wait, func(t *Turn) {
		kept.spill = nil
		if b.store.Ready() != nil {
			b.spillLater(t, kept)
			return
		}
		t.alongside(retainedKey(kept.m.Topic), b.retainedRecord(t, kept.m))
		b.spillOnceDurable(t, kept)
	})
}

// spillOnceDurable has the payload leave memory once this turn is on disk.
func (b *Broker) spillOnceDurable(t *Turn, kept *retainedMessage) {
	b.laterThan(t, t.Number, func() {
		b.turnNow(func(*Turn) {
			if now, _ := b.retained.Get(kept.m.Topic); now != kept || kept.stored {
				return
			}
			full := kept.m
			kept.m = withoutPayload(full)
			kept.stored = true
			b.letGo(full)
		})
	})
}

func withoutPayload(m *Message) *Message {
	head := *m
	head.Payload, head.holders = nil, 0
	return &head
}

// fetchFor has a retained message read from the disk for a session whose
// cursor has come to it; the walk goes on then.
func (b *Broker) fetchFor(t *Turn, s *session, kept *retainedMessage) {
	if slices.Contains(kept.waiters, s) {
		return
	}
	if kept.waiters = append(kept.waiters, s); len(kept.waiters) == 1 {
		b.fetch(t, kept, 10)
	}
}

// fetch waits for room among the messages in memory, but so many seconds only.
func (b *Broker) fetch(t *Turn, kept *retainedMessage, patience int) {
	if b.crammed() && patience > 0 {
		b.at(t.Now.Run+time.Second, func(t *Turn) { b.fetch(t, kept, patience-1) })
		return
	}
	t.Later(func() {
		topic := kept.m.Topic
		m, err := b.readRetained(topic)
		if m == nil {
			b.log.Error("retained message not read", "topic", topic, "err", err)
		}
		for more := true; more; {
			b.turnNow(func(t *Turn) { more = b.serveFetched(t, kept, m) })
		}
	})
}

// serveFetched lets some of those who wait for a message take it, and tells
// whether there are more.
func (b *Broker) serveFetched(t *Turn, kept *retainedMessage, m *Message) (more bool) {
	if now, _ := b.retained.Get(kept.m.Topic); now == kept {
		if kept.fetched = m; m == nil {
			kept.unusable = true
		}
	}
	const atOnce = 16
	served := kept.waiters[:min(len(kept.waiters), atOnce)]
	kept.waiters = slices.Clone(kept.waiters[len(served):])
	for _, s := range served {
		if s.conn != nil {
			b.pump(t, s)
		}
	}
	kept.fetched = nil
	return len(kept.waiters) > 0
}

// readRetained reads a retained message from the disk. It runs outside the
// lock.
func (b *Broker) readRetained(topic string) (m *Message, err error) {
	key := retainedKey(topic)
	now := b.clock()
	scanErr := b.store.Scan(key, nil, func(k, value []byte) bool {
		if len(k) == len(key) {
			r := recordReader{b: value}
			if m = r.message(now); r.bad {
				m, err = nil, errRecord
			}
		}
		return false
	})
	if m == nil && err == nil && scanErr == nil {
		err = errors.New("its record is gone")
	}
	return m, errors.Join(err, scanErr)
}
