package mqtt

import "lar.home/mqtt/packet"

// revokeInTurn is how many sessions end in one turn of Revoke.
const revokeInTurn = 50

// Revoke ends everything of an identity that may not connect any more: its
// connections, with their wills, and its sessions, so that their client
// identifiers are free for the next credential. It returns once that is
// decided, some turns later.
func (b *Broker) Revoke(identity string) {
	b.eachOf(func(s *session) bool { return s.owner == identity }, b.revoke)
}

// SendAway ends the connections of an identity, which may come back if it
// shows again who it is: its password has changed. Its sessions stay. "" are
// those who came without a credential. It returns once that is decided.
func (b *Broker) SendAway(identity string) {
	b.eachOf(func(s *session) bool { return s.owner == identity && s.conn != nil }, func(t *Turn, s *session) {
		b.drop(t, s.conn, notAuthorized)
	})
}

// SendAwayRevoked ends the connections of clients whose certificates would not
// be taken any more. Their sessions stay, for who comes with another one. It
// returns once that is decided.
func (b *Broker) SendAwayRevoked() {
	b.eachOf(func(s *session) bool { return s.conn != nil && s.conn.revoked() }, func(t *Turn, s *session) {
		b.drop(t, s.conn, notAuthorized)
	})
}

// revoked tells whether the client's certificate would not be taken now.
func (c *Conn) revoked() bool { return c.peer.Revoked != nil && c.peer.Revoked() }

// notAuthorized is the error of a client that would not be let in now.
var notAuthorized = &packet.Error{Packet: "connection", Reason: packet.NotAuthorized}

// eachOf calls fn for sessions, some in each turn, until which says no to all.
func (b *Broker) eachOf(which func(s *session) bool, fn func(t *Turn, s *session)) {
	for more := true; more; {
		more = false
		b.turnNow(func(t *Turn) {
			if b.closed {
				return
			}
			n := 0
			for _, s := range b.sessions {
				if !which(s) {
					continue
				}
				if n++; n > revokeInTurn {
					more = true
					return
				}
				fn(t, s)
			}
		})
	}
}

func (b *Broker) revoke(t *Turn, s *session) {
	if c := s.conn; c != nil {
		if c.version == packet.V5 {
			c.sendNow(&packet.Disconnect{Reason: packet.NotAuthorized}, t.batch)
		}
		b.detach(t, c)
		c.end(t.batch)
	}
	b.log.Info("session ended with its credential", "client", s.clientID)
	b.removeSession(t, s)
}
