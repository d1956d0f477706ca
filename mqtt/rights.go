package mqtt

import "errors"

// An Access is what a client asks a right for.
type Access uint8

const (
	// MayPublish to a topic: asked for each message, for the will at CONNECT,
	// and for the will again when it is published.
	MayPublish Access = iota
	// MaySubscribe to a topic filter; of a shared subscription, to what
	// follows the share name.
	MaySubscribe
	// MayReceive messages of a topic: asked where a message is routed, when
	// one that waited is sent, and for each retained one.
	MayReceive
)

func (a Access) String() string { return [...]string{"publish", "subscribe", "receive"}[a] }

// maxGranted bounds how many topics a session remembers that it may publish
// to. A device has few.
const maxGranted = 64

// RightsChanged says that Authorize answers differently from now on. What
// waits for a client is asked for again before it is sent.
func (b *Broker) RightsChanged() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.rights++
	b.generation.Add(1)
}

// mayPublish asks for a publisher's right; its session remembers the answer,
// so that a message of a topic it has used before costs a look-up.
func (b *Broker) mayPublish(s *session, topic string) bool {
	if b.authorize == nil {
		return true
	}
	if s.grantedAt != b.rights || len(s.granted) > maxGranted {
		clear(s.granted)
		s.grantedLast, s.grantedAt = "", b.rights
	}
	if topic == s.grantedLast {
		return true
	}
	if _, ok := s.granted[topic]; !ok {
		if !b.authorize(s.owner, s.clientID, MayPublish, topic) {
			return false
		}
		if s.grantedLast != "" { // most devices have one topic, and need no map
			if s.granted == nil {
				s.granted = make(map[string]struct{})
			}
			s.granted[s.grantedLast] = struct{}{}
			s.granted[topic] = struct{}{}
		}
	}
	s.grantedLast = topic
	return true
}

// mayReceive asks for a subscriber's right.
func (b *Broker) mayReceive(s *session, topic string) bool {
	return b.authorize == nil || b.authorize(s.owner, s.clientID, MayReceive, topic)
}

var errNoRight = errors.New("no right")

// denied logs, at a bounded rate, that somebody lacked a right.
func (b *Broker) denied(clientID string, a Access, topic string) {
	b.refuse("not allowed", errNoRight, "client", clientID, "access", a.String(), "topic", topic)
}
