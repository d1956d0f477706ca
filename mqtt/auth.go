package mqtt

import (
	"net/netip"
	"time"

	"lar.home/mqtt/packet"
)

// An Exchange is one enhanced authentication under way, section 4.12.
type Exchange interface {
	// Next takes the Authentication Data that the client sent, and returns
	// that of the answer. With done the client has shown who it is: identity
	// is as Authenticate returns it. A reason other than Success refuses it.
	// It may take its time: it is called outside the lock.
	Next(data []byte) (answer []byte, done bool, identity string, reason packet.Reason)
}

// An authentication is what a connection knows of its own. Only the reader
// touches it.
type authentication struct {
	method  string          // Authentication Method of CONNECT; empty: none
	connect *packet.Connect // that waits for the exchange to end
	under   Exchange        // way; nil: none
	until   time.Duration   // Run time by which it has to be over
	steps   int             // taken in it
}

// maxAuthSteps bounds an exchange.
const maxAuthSteps = 16

// login is what a client says of itself in CONNECT.
func (c *Conn) login(p *packet.Connect) Login {
	l := Login{ClientID: p.ClientID, HasUsername: p.HasUsername, Username: p.Username,
		HasPassword: p.HasPassword, Password: p.Password, Peer: c.peer}
	l.Remote, _ = netip.ParseAddrPort(c.remote)
	return l
}

// beginExchange starts an enhanced authentication by the method of the
// connection; it tells whether there is such a method.
func (b *Broker) beginExchange(c *Conn, l Login) bool {
	if b.enhanced == nil {
		return false
	}
	if c.auth.under = b.enhanced(c.auth.method, l); c.auth.under == nil {
		return false
	}
	c.auth.steps = 0
	c.auth.until = b.clock().Run + b.limits().ConnectTimeout
	return true
}

// step takes one message of an exchange.
func (b *Broker) step(c *Conn, data []byte) (answer []byte, done bool, identity string, reason packet.Reason) {
	if c.auth.steps++; c.auth.steps > maxAuthSteps || b.clock().Run > c.auth.until {
		return nil, false, "", packet.NotAuthorized
	}
	answer, done, identity, reason = c.auth.under.Next(data)
	if done || reason != packet.Success {
		c.auth.under = nil
	}
	return answer, done, identity, reason
}

// authConnect takes one message of the exchange that a CONNECT waits for.
func (b *Broker) authConnect(c *Conn, data []byte, batch *Batch) error {
	answer, done, identity, reason := b.step(c, data)
	switch {
	case reason != packet.Success:
		return refused(reason) // [MQTT-4.12.0-4]
	case !done:
		c.sendNow(c.authPacket(packet.ContinueAuthentication, answer), batch)
		return nil
	}
	p := c.auth.connect
	c.auth.connect = nil
	return b.enter(c, p, identity, answer, batch)
}

// authPacket makes an AUTH; each names the method [MQTT-4.12.0-5].
func (c *Conn) authPacket(reason packet.Reason, data []byte) *packet.Auth {
	return &packet.Auth{Reason: reason, Method: c.auth.method, HasMethod: true, Data: data}
}

// takeBefore handles what a client sends while its CONNECT waits for the end
// of the exchange: AUTH or DISCONNECT, [MQTT-3.1.2-30]. All that is wrong is
// said in the CONNACK.
func (b *Broker) takeBefore(c *Conn, first byte, body []byte, batch *Batch) error {
	if kind := packet.Type(first >> 4); kind != packet.AUTH && kind != packet.DISCONNECT {
		return refused(packet.ProtocolError)
	}
	decoded, err := packet.DecodeFromClient(c.version, first, body)
	if err != nil {
		return err
	}
	p, ok := decoded.(*packet.Auth)
	switch {
	case !ok:
		return errGoodbye
	case p.Reason != packet.ContinueAuthentication, !p.HasMethod: // [MQTT-4.12.0-3]
		return refused(packet.ProtocolError)
	case p.Method != c.auth.method: // [MQTT-4.12.0-5]
		return refused(packet.BadAuthenticationMethod)
	}
	return b.authConnect(c, p.Data, batch)
}

// takeAuth handles AUTH on a connection that stands: a client that shows again
// who it is, section 4.12.1. Whatever else it sends meanwhile goes on.
func (b *Broker) takeAuth(c *Conn, first byte, body []byte, batch *Batch) error {
	if c.auth.method == "" && c.version >= packet.V5 { // [MQTT-4.12.0-7], whatever is in it
		return &packet.Error{Packet: "AUTH", Field: "without a method in CONNECT", Reason: packet.ProtocolError}
	}
	decoded, err := packet.DecodeFromClient(c.version, first, body)
	if err != nil {
		return err
	}
	if err := b.limits().checkUsers(decoded); err != nil {
		return err
	}
	c.seen.set(b.clock().Run)
	wrong := func(reason packet.Reason, field string) error {
		return &packet.Error{Packet: "AUTH", Field: field, Reason: reason}
	}
	p := decoded.(*packet.Auth)
	again := p.Reason == packet.ReAuthenticate
	switch {
	case !p.HasMethod:
		return wrong(packet.ProtocolError, "authentication method")
	case p.Method != c.auth.method: // [MQTT-4.12.1-1]
		return wrong(packet.BadAuthenticationMethod, "authentication method")
	case again == (c.auth.under != nil): // a step of none, or another while one is under way
		return wrong(packet.ProtocolError, "reason code")
	}
	if again && !b.beginExchange(c, c.login(&packet.Connect{ClientID: c.clientID})) {
		return wrong(packet.NotAuthorized, "authentication method")
	}
	answer, done, identity, reason := b.step(c, p.Data)
	switch {
	case reason != packet.Success, done && identity != c.identity:
		return wrong(packet.NotAuthorized, "authentication data") // [MQTT-4.12.1-2]
	case done:
		c.sendNow(c.authPacket(packet.Success, answer), batch)
	default:
		c.sendNow(c.authPacket(packet.ContinueAuthentication, answer), batch)
	}
	return nil
}
