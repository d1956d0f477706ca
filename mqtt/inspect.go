package mqtt

import (
	"slices"
	"time"
)

// A SessionInfo is what can be told of a session. It does not change.
type SessionInfo struct {
	ClientID  string
	Identity  string // that it belongs to; "" while it belongs to nobody
	Version   byte   // 3, 4 or 5, as the protocol counts
	Connected bool
	Remote    string        // address of the client, while connected
	Listener  string        // by which it came, while connected
	Since     time.Time     // when it connected, or was last there
	Kept      bool          // it outlives its connection
	Expiry    time.Duration // how long, once the connection has ended; negative: for ever

	Subscriptions int
	Queued        int // messages that wait or are in flight
	QueuedBytes   int
	InFlight      int
	Dropped       uint64 // messages that found no room, since the broker started
}

// maxListed bounds what one call of Sessions and Retained returns.
const maxListed = 1000

// Sessions returns sessions in order of their client identifiers, those behind
// after, at most limit of them and never more than 1,000. It is for people who
// look: it goes through all sessions under the house's lock.
func (b *Broker) Sessions(after string, limit int) []SessionInfo {
	limit = bounded(limit)
	b.mu.Lock()
	defer b.mu.Unlock()
	ids := make([]string, 0, len(b.sessions))
	for id := range b.sessions {
		if id > after {
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	found := make([]SessionInfo, 0, min(limit, len(ids)))
	for _, id := range ids[:min(limit, len(ids))] {
		found = append(found, b.sessions[id].info())
	}
	return found
}

// Session tells of one session.
func (b *Broker) Session(clientID string) (info SessionInfo, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if s := b.sessions[clientID]; s != nil {
		return s.info(), true
	}
	return info, false
}

func bounded(limit int) int {
	if limit <= 0 {
		return maxListed
	}
	return min(limit, maxListed)
}

func (s *session) info() SessionInfo {
	i := SessionInfo{ClientID: s.clientID, Identity: s.owner, Version: byte(s.version), Since: s.offline, Kept: s.expiry > 0,
		Expiry: time.Duration(s.expiry) * time.Second, Subscriptions: len(s.subs),
		Queued: s.waiting, QueuedBytes: s.waitingBytes, Dropped: s.dropped}
	if s.expiry == 1<<32-1 {
		i.Expiry = -1
	}
	if c := s.conn; c != nil {
		i.Connected, i.Remote, i.Listener, i.Since = true, c.remote, c.peer.Listener, c.since
		i.InFlight = s.inFlight
	}
	return i
}

// Kick ends the connection of a client, as if it had been lost: its will goes
// out, its session stays as long as it may, and it can connect again. It tells
// whether it was connected.
func (b *Broker) Kick(clientID string) (connected bool) {
	b.turnNow(func(t *Turn) {
		s := b.sessions[clientID]
		if s == nil || s.conn == nil || b.closed {
			return
		}
		connected = true
		b.drop(t, s.conn, kicked)
	})
	return connected
}

// Forget ends a session and, if its client is connected, the connection; its
// will goes out, section 6.1 of our notes on the standard. It tells whether
// there was one.
func (b *Broker) Forget(clientID string) (found bool) {
	b.turnNow(func(t *Turn) {
		s := b.sessions[clientID]
		if s == nil || b.closed {
			return
		}
		found = true
		if c := s.conn; c != nil {
			b.drop(t, c, kicked)
		}
		if b.sessions[clientID] == s { // it did not end with its connection
			b.removeSession(t, s)
		}
	})
	return found
}

// browseBytes is how much of large payloads one call of Retained brings.
const browseBytes = 8 << 20

// Retained returns retained messages that match a topic filter, in order of
// their topics, those behind after, and where to go on; more tells that there
// are more. It looks at some thousand topics at most in a call, and returns
// limit messages, never more than 1,000, and fewer where they are large. The
// messages are shared: nobody changes them.
func (b *Broker) Retained(filter, after string, limit int) (found []*Message, next string, more bool) {
	limit = bounded(limit)
	stored := make(map[*Message]bool) // whose payload is on disk
	b.mu.Lock()
	now := b.clock().Run
	room := browseBytes
	next, done := b.retained.Match(filter, after, 4*maxListed, func(_ string, kept *retainedMessage) bool {
		if kept.m.Expires == 0 || kept.m.Expires > now {
			found = append(found, kept.m)
			if kept.stored {
				stored[kept.m] = true
				room -= kept.size
			}
		}
		return len(found) < limit && room > 0
	})
	b.mu.Unlock()
	whole := found[:0]
	for _, m := range found {
		if stored[m] {
			if m, _ = b.readRetained(m.Topic); m == nil {
				continue // it has gone meanwhile
			}
		}
		whole = append(whole, m)
	}
	return whole, next, !done
}
