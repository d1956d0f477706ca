package hub

import (
	"crypto/rand"
	"errors"
	"net/netip"

	"lar.home/hub/identity"
	"lar.home/hub/scram"
	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// A client shows who it is by its certificate, by user name and password, or
// by SCRAM-SHA-256. Passwords are those of the password file of the
// configuration, and of the credentials of the home.

var loopback = netip.AddrFrom4([4]byte{127, 0, 0, 1})

// from is the address that a login counts for.
func from(l mqtt.Login) netip.Addr {
	if l.Peer.Local {
		return loopback
	}
	return l.Remote.Addr()
}

// authenticate decides about a CONNECT without an Authentication Method.
func (h *Hub) authenticate(l mqtt.Login) (string, packet.Reason) {
	if l.Peer.Username != "" {
		return identity.OfUser(l.Peer.Username), packet.Success
	}
	if !l.HasUsername {
		return h.byPassword(l)
	}
	if !h.guard.enter(l.Username, from(l)) {
		return "", packet.ConnectionRateExceeded
	}
	who, reason := h.byPassword(l)
	if who != "" || reason != packet.Success { // not one of those for whom the house stands open
		h.guard.left(l.Username, from(l), reason == packet.Success)
	}
	return who, reason
}

func (h *Hub) byPassword(l mqtt.Login) (string, packet.Reason) {
	users := h.rights.Load().users
	if users != nil && l.HasUsername {
		if users.Verify(l.Username, l.Password) {
			return identity.OfUser(l.Username), packet.Success
		}
		if users.Has(l.Username) {
			return "", packet.BadUserNameOrPassword
		}
	}
	who, reason := h.people.Authenticate(l.HasUsername, l.Username, l.Password, from(l))
	if users != nil && who == "" && reason == packet.Success && !h.cfg.AllowAnonymous {
		if l.HasUsername {
			return "", packet.BadUserNameOrPassword
		}
		return "", packet.NotAuthorized
	}
	return who, reason
}

// enhanced begins an authentication by a method.
func (h *Hub) enhanced(method string, l mqtt.Login) mqtt.Exchange {
	if method != scram.Method {
		return nil
	}
	return &scramLogin{h: h, login: l, talk: scram.Start(h.verifier, rand.Reader)}
}

// verifier finds what is kept of a name's password. Who does not exist, or
// whose password is kept in a form that SCRAM cannot be done with, looks like
// anybody else until the end.
func (h *Hub) verifier(name string) (v scram.Verifier, exists bool) {
	counts := []int{scram.Iterations}
	if users := h.rights.Load().users; users != nil {
		if v, exists = users.Verifier(name); exists {
			return v, true
		}
		if counts = append(counts, users.Iterations()...); users.Has(name) {
			return scram.Nobody(h.people.Secret(), name, counts...), false
		}
	}
	if v, exists = h.people.Verifier(name); exists {
		return v, true
	}
	return scram.Nobody(h.people.Secret(), name, counts...), false
}

// A scramLogin is one SCRAM-SHA-256 of a client.
type scramLogin struct {
	h     *Hub
	login mqtt.Login
	talk  *scram.Conversation
}

// Next implements mqtt.Exchange.
func (s *scramLogin) Next(data []byte) (answer []byte, done bool, who string, reason packet.Reason) {
	begun := s.talk.Name() != ""
	answer, done, err := s.talk.Next(data)
	name := s.talk.Name()
	if !begun && name != "" && !s.h.guard.enter(name, from(s.login)) {
		return nil, false, "", packet.ConnectionRateExceeded
	}
	switch {
	case done:
		s.h.guard.left(name, from(s.login), true)
		if cert := s.login.Peer.Username; cert != "" && cert != name {
			return nil, false, "", packet.NotAuthorized
		}
		s.h.people.Seen(name)
		s.h.logins.note(s.login.ClientID, identity.OfUser(name))
		return answer, true, identity.OfUser(name), packet.Success
	case errors.Is(err, scram.ErrProof):
		s.h.guard.left(name, from(s.login), false)
		return nil, false, "", packet.BadUserNameOrPassword
	case err != nil:
		return nil, false, "", packet.NotAuthorized
	}
	return answer, false, "", packet.Success
}
