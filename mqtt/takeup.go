package mqtt

import (
	"encoding/binary"
	"fmt"
	"math"
	"time"
)

// leaseBlock is how many turn numbers are leased from the store at a time. A
// restart begins a new block, so that no number is ever used twice.
const leaseBlock = 1_000_000

func blockRecord(block uint64) []byte { return binary.BigEndian.AppendUint64(nil, block) }

// takeUp reads what the store holds and leases turn numbers. A record that
// cannot be read is left where it is and reported.
func (b *Broker) takeUp() error {
	now := b.clock()
	if err := b.store.Scan(blockKey, nil, func(key, value []byte) bool {
		if len(key) == 1 && len(value) == 8 {
			b.number = binary.BigEndian.Uint64(value)
		}
		return true
	}); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	connected := make(map[*session]bool)
	orphans := make(map[uint32]bool)
	scans := []struct {
		kind byte
		fn   func(key, value []byte) error
	}{
		{kindSession, func(key, value []byte) error {
			s, on, err := readSession(value)
			if err != nil || len(key) != 5 {
				return errRecord
			}
			s.id = binary.BigEndian.Uint32(key[1:])
			b.lastSession = max(b.lastSession, s.id)
			b.sessions[s.clientID] = s
			b.kept[s.id] = s
			b.countKept(s.owner, 1)
			connected[s] = on
			return nil
		}},
		{kindSubscription, func(key, value []byte) error {
			s := b.keptOf(key, orphans)
			if s == nil {
				return nil
			}
			sub, err := readSubscription(string(key[5:]), value)
			if err != nil {
				return err
			}
			sub.sess = s
			b.addSubscription(sub)
			return nil
		}},
		{kindCursor, func(key, value []byte) error {
			s := b.keptOf(key, orphans)
			if s == nil || s.subs[string(key[5:])] == nil {
				return nil
			}
			r := recordReader{b: value}
			after := r.text()
			b.addCursor(&cursor{sub: s.subs[string(key[5:])], after: after})
			return r.err()
		}},
		{kindReceipt, func(key, _ []byte) error {
			s := b.keptOf(key, orphans)
			if s == nil || len(key) != 7 {
				return nil
			}
			if s.received == nil {
				s.received = make(map[uint16]receipt)
			}
			s.received[binary.BigEndian.Uint16(key[5:])] = receipt{}
			return nil
		}},
		{kindRetained, func(key, value []byte) error {
			r := recordReader{b: value}
			m := r.message(now)
			if r.bad || m.Topic != string(key[1:]) {
				return errRecord
			}
			if m.Expires != 0 && m.Expires <= now.Run {
				return nil // overwritten or swept with the next of its topic
			}
			kept := newRetained(m)
			if kept.large {
				kept.m, kept.stored = withoutPayload(m), true
			}
			b.retained.Set(m.Topic, kept)
			b.countRetained(kept, 1)
			b.expireRetained(kept)
			return nil
		}},
		{kindQueue, func(key, value []byte) error {
			s := b.keptOf(key, orphans)
			if s == nil || len(key) != 13 {
				return nil
			}
			n := binary.BigEndian.Uint64(key[5:])
			e, err := readEntry(value, now)
			if err != nil {
				return err
			}
			if s.waiting == 0 {
				s.base, s.next = n, n
			}
			s.waiting++
			b.weigh(s, &e, 1)
			if e.share != nil {
				s.shared++
			}
			s.seq = max(s.seq, n+1)
			if e.body != 0 {
				b.refer(e.body, int(e.size))
				b.number = max(b.number, turnOfBody(e.body))
			}
			return nil
		}},
	}
	unreadable := func(key []byte, err error) {
		b.log.Error("a record cannot be read and is left aside", "kind", string(key[:1]), "key", fmt.Sprintf("%x", key), "err", err)
	}
	for _, scan := range scans {
		if err := b.store.Scan([]byte{scan.kind}, nil, func(key, value []byte) bool {
			if err := scan.fn(key, value); err != nil {
				unreadable(key, err)
			}
			return true
		}); err != nil {
			return fmt.Errorf("read the store: %w", err)
		}
	}
	if err := b.takeUpSpreads(now, unreadable); err != nil {
		return fmt.Errorf("read the store: %w", err)
	}
	// The lease is beyond all of these, unless its record was lost to damage:
	// then a number given again would put one message in the place of another.
	for _, s := range b.spreads {
		b.number = max(b.number, s.number)
	}
	wills, err := b.readWills()
	if err != nil {
		return err
	}
	b.number++ // 0 says "nothing to wait for"
	b.block = b.number + leaseBlock
	b.mu.Lock()
	batch := &Batch{}
	t := b.begin(batch)
	t.durably(blockKey, blockRecord(b.block))
	for _, s := range b.kept {
		b.takeUpSession(t, s, connected[s])
		b.split(t)
	}
	for _, w := range wills {
		b.takeUpWill(t, w.w, w.owner)
		b.split(t)
	}
	b.finish(t)
	number := b.submitted
	b.mu.Unlock()
	for id := range orphans {
		b.turnNow(func(t *Turn) { b.sweep(t, id, math.MaxUint64) })
	}
	b.waitForLease(number)
	return nil
}

// leaseAsk is how often a start asks whether the store takes anything.
const leaseAsk = 100 * time.Millisecond

// waitForLease waits until the turn that leases numbers is on disk, but not for
// a store that takes nothing now: what uses the numbers reaches the disk after
// that turn, and until then nobody is told of it.
func (b *Broker) waitForLease(number uint64) {
	done := make(chan struct{})
	b.onDurable(number, func() { close(done) })
	tick := time.NewTicker(leaseAsk)
	defer tick.Stop()
	for {
		if err := b.store.Ready(); err != nil {
			b.log.Warn("started without the disk", "err", err)
			return
		}
		select {
		case <-done:
			return
		case <-tick.C:
		}
	}
}

// keptOf returns the session that a record belongs to. One that belongs to
// none is the rest of a sweep that was cut off: it is noted, and its number is
// not given to another.
func (b *Broker) keptOf(key []byte, orphans map[uint32]bool) *session {
	if len(key) < 5 {
		return nil
	}
	id := binary.BigEndian.Uint32(key[1:])
	if b.kept[id] == nil {
		orphans[id] = true
		b.lastSession = max(b.lastSession, id)
	}
	return b.kept[id]
}

// takeUpSession makes a session whole that was read from the store.
func (b *Broker) takeUpSession(t *Turn, s *session, connected bool) {
	if s.waiting == 0 {
		s.base, s.next = s.seq, s.seq
	}
	if connected {
		// It was served when the hub stopped: what stood in its first window
		// may have reached the client.
		s.offline = t.Now.Wall
		s.again = max(s.again, min(s.seq, s.base+uint64(b.limits().Window)))
		t.alongside(sessionKey(s.id), sessionRecord(s))
	}
	s.again = min(s.again, s.seq)
	if s.expiry == 0 {
		// It ended with its connection: nobody is to be given what its will
		// waits for, or what others of a shared subscription could have.
		b.removeSession(t, s)
		return
	}
	if s.expiry != math.MaxUint32 {
		b.expireLater(t, s)
	}
}

type storedWill struct {
	w     *will
	owner string
}

func (b *Broker) readWills() (found []storedWill, err error) {
	err = b.store.Scan([]byte{kindWill}, nil, func(key, value []byte) bool {
		w, owner, err := readWill(value)
		if err != nil {
			b.log.Error("a will cannot be read and is left aside", "key", fmt.Sprintf("%x", key), "err", err)
			return true
		}
		found = append(found, storedWill{w, owner})
		return true
	})
	return found, err
}

// takeUpWill arms a will that was not settled when the hub stopped. That of a
// client that was connected goes out unless the client is back in time.
func (b *Broker) takeUpWill(t *Turn, w *will, owner string) {
	clientID := w.m.ClientID
	s := b.sessions[clientID]
	if s == nil {
		// Its session ended with the connection: one is made for the will to
		// wait in, and goes when it has gone out.
		s = &session{clientID: clientID, owner: owner, offline: t.Now.Wall}
		b.sessions[clientID] = s
	}
	s.will = w
	if w.due.IsZero() {
		w.due = t.Now.Wall.Add(max(b.limits().WillGrace, w.delay))
		// So that another cut does not begin the wait anew.
		t.alongside(willKey(clientID), willRecord(w, owner))
	}
	w.timer = b.at(max(t.Now.Run, t.Now.Run+w.due.Sub(t.Now.Wall)), func(t *Turn) {
		if s.will != w || s.conn != nil {
			return
		}
		b.fireWill(t, s)
		if !s.kept() {
			delete(b.sessions, clientID)
		}
	})
}
