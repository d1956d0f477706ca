package mqtt

import "lar.home/mqtt/packet"

// revokeInTurn is how many sessions end in one turn of Revoke.
const revokeInTurn = 50

// Revoke ends everything of an identity that may not connect any more: its
// connections, with their wills, and its sessions, so that their client
// identifiers are free for the next credential. It returns once that is
// decided, some turns later.
func (b *Broker) Revoke(identity string) {
	for more := true; more; {
		more = false
		b.turnNow(func(t *Turn) {
			if b.closed {
				return
			}
			n := 0
			for _, s := range b.sessions {
				if s.owner != identity {
					continue
				}
				if n++; n > revokeInTurn {
					more = true
					return
				}
				b.revoke(t, s)
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
