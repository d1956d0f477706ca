package mqtt

import (
	"encoding/binary"
	"errors"
	"math"
	"net/netip"
	"time"

	"lar.home/mqtt/packet"
)

// A Login is what a client says of itself when it connects.
type Login struct {
	ClientID    string
	HasUsername bool
	Username    string
	HasPassword bool
	Password    []byte
	Remote      netip.AddrPort // invalid when the transport has no address
	Peer        Peer
}

// A Peer is what a listener knows of the other end of a connection.
type Peer struct {
	// Listener names the listener it came by.
	Listener string
	// Remote is the address of the client where a proxy stands between;
	// empty: that of the transport.
	Remote string
	// Local tells that the client is on this machine, though its transport
	// has no address: a Unix socket.
	Local bool
	// Username is what a client certificate says, once it was verified.
	Username string
	// Revoked tells whether the certificate that was verified would not be
	// taken any more; nil: there is none. It is called under the house's lock,
	// at CONNECT and by SendAwayRevoked, and is quick.
	Revoked func() bool
}

// connect handles CONNECT, section 3.1, in the order of checks that lets a
// refused client disturb nobody.
func (b *Broker) connect(c *Conn, p *packet.Connect, batch *Batch) error {
	c.version = p.Version
	if p.ClientID == "" && (p.Version == packet.V31 || !p.CleanStart && p.Version < packet.V5) { // [MQTT-3.1.3-8]
		return refused(packet.ClientIDNotValid)
	}
	l := b.limits()
	var ofWill []byte
	if p.Will != nil {
		ofWill = p.Will.Properties
	}
	if limit := l.exceededByUsers(p.UserProperties, ofWill); limit != "" {
		return beyond(limit, packet.QuotaExceeded)
	}
	switch w := p.Will; {
	case l.NoOldClients && p.Version == packet.V31:
		return beyond("no_old_clients", packet.UnsupportedProtocolVersion)
	case len(p.ClientID) > l.ClientIDLength:
		return beyond("client_id_length", packet.ClientIDNotValid)
	case len(p.Username) > l.UsernameLength:
		return beyond("username_length", packet.BadUserNameOrPassword)
	case w == nil:
	case l.exceededBy(w.Topic) != "":
		return beyond(l.exceededBy(w.Topic), packet.TopicNameInvalid)
	case reserved(w.Topic):
		return refused(packet.NotAuthorized)
	case w.QoS > l.qos():
		return beyond("maximum_qos", packet.QoSNotSupported) // [MQTT-3.2.2-12]
	case w.Retain && l.NoRetained:
		return beyond("no_retained", packet.RetainNotSupported) // [MQTT-3.2.2-13]
	}
	if p.HasAuthenticationMethod {
		c.auth.method = p.AuthenticationMethod
		if !b.beginExchange(c, c.login(p)) {
			return refused(packet.BadAuthenticationMethod) // [MQTT-4.12.0-1]
		}
		c.auth.connect = p
		c.maxPacket = int(p.MaximumPacketSize)
		return b.authConnect(c, p.AuthenticationData, batch)
	}
	identity := ""
	if b.authenticate != nil {
		var reason packet.Reason
		if identity, reason = b.authenticate(c.login(p)); reason != packet.Success {
			return refused(reason)
		}
	}
	return b.enter(c, p, identity, nil, batch)
}

// enter admits a client that has shown who it is; proof is what it is told in
// the last step of an enhanced authentication.
func (b *Broker) enter(c *Conn, p *packet.Connect, identity string, proof []byte, batch *Batch) (err error) {
	if !b.damp(c, p.ClientID, identity) {
		return refused(packet.ServerBusy) // nobody hears it
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	defer b.rescue(c, &err)
	t := b.begin(batch)
	err = b.admit(t, c, p, identity, proof)
	b.finish(t)
	return err
}

// damp lets a client wait, on its own goroutine, that takes over a session which
// was taken over too often: two devices with one client identifier then change
// places slowly, and the one that is there gets something done (SEC-28). It
// tells whether the client is there still, as far as is known.
func (b *Broker) damp(c *Conn, clientID, identity string) bool {
	b.mu.Lock()
	now := b.clock().Run
	s := b.sessions[clientID]
	wait := s != nil && s.owner == identity && s.conn != nil &&
		s.takeOvers >= b.limits().TakeOvers && now-s.takeOversFrom < time.Minute
	log := wait && !s.damped
	if wait {
		s.damped = true
	}
	b.mu.Unlock()
	if !wait {
		return true
	}
	if log {
		b.reached("take_overs", clientID, errManyClients)
	} else {
		b.limitHits["take_overs"].count.Add(1)
	}
	select {
	case <-time.After(b.limits().TakeOverWait):
	case <-b.stopping:
	}
	peer, ok := c.sink.(interface{ Gone() bool })
	return !ok || !peer.Gone()
}

var errManyClients = errors.New("several clients use one client identifier")

// A takeOverCount is how often a session was taken over in a minute.
type takeOverCount struct {
	takeOvers     int
	takeOversFrom time.Duration // Run time
	damped        bool          // and that was logged
}

func (s *takeOverCount) countTakeOver(now time.Duration) {
	if now-s.takeOversFrom >= time.Minute {
		s.takeOvers, s.takeOversFrom, s.damped = 0, now, false
	}
	s.takeOvers++
}

// refused is the error of a CONNECT that is answered with a code.
func refused(reason packet.Reason) error {
	return &packet.Error{Packet: "CONNECT", Reason: reason}
}

// beyond is refused for what goes beyond a limit of ours.
func beyond(limit string, reason packet.Reason) error {
	return &packet.Error{Packet: "CONNECT", Reason: reason, Limit: limit}
}

// admit is the part of CONNECT that is decided under the lock.
func (b *Broker) admit(t *Turn, c *Conn, p *packet.Connect, identity string, proof []byte) error {
	if b.closed {
		return refused(packet.ServerShuttingDown)
	}
	if c.revoked() {
		return refused(packet.NotAuthorized)
	}
	open := identity == ""
	ack := &packet.Connack{AuthenticationMethod: c.auth.method, AuthenticationData: proof} // [MQTT-4.12.0-5]
	clientID := p.ClientID
	if clientID == "" {
		for clientID == "" || b.sessions[clientID] != nil { // [MQTT-3.2.2-16]
			clientID = b.newClientID()
		}
		ack.AssignedClientID = clientID
	}
	old := b.sessions[clientID]
	if old != nil && old.owner != identity && old.owner != "" {
		return refused(packet.ClientIDNotValid) // a session belongs to the identity that made it
	}
	if p.Will != nil && b.authorize != nil && !b.authorize(identity, clientID, MayPublish, p.Will.Topic) {
		b.denied(clientID, MayPublish, p.Will.Topic)
		return refused(packet.NotAuthorized)
	}
	expiry := p.SessionExpiry
	limit := b.limits().SessionExpiry
	if open {
		limit = b.limits().OpenSessionExpiry
	}
	longest := uint32(limit / time.Second)
	if p.Version < packet.V5 {
		expiry = 0
		if !p.CleanStart {
			expiry = longest
		}
	} else if expiry > longest {
		expiry = longest
		ack.SessionExpiry = &expiry
	}
	keep := expiry > 0
	wasKept := old != nil && old.kept()
	if keep || wasKept {
		if err := b.store.Ready(); err != nil {
			b.refuse("connection refused", err, "client", clientID)
			return refused(packet.QuotaExceeded)
		}
	}
	switch {
	case !keep || wasKept:
	case !open && !loopback(c.remote) && b.keptBy[identity] >= b.limits().KeptPerIdentity:
		return beyond("kept_per_identity", packet.QuotaExceeded)
	case len(b.kept) >= b.limits().KeptSessions && !b.evict(t):
		return beyond("kept_sessions", packet.QuotaExceeded)
	}
	if p.Will != nil && p.Will.Retain && len(p.Will.Payload) > 0 {
		if limit := b.retainRoom(p.Will.Topic, len(p.Will.Payload)); limit != "" {
			return beyond(limit, packet.QuotaExceeded)
		}
	}

	// From here on nothing refuses.
	var count takeOverCount
	if old != nil {
		if old.conn != nil {
			b.takeOver(t, old, p.CleanStart)
			old.countTakeOver(t.Now.Run)
		}
		count = old.takeOverCount // a new session under the same name goes on counting
	}
	if old != nil && old.conn == nil && old.expiry == 0 && old.will != nil {
		b.cancelWill(t, old) // of before a power cut: the client is back in time
	}
	if old != nil && (p.CleanStart || old.expiry == 0) { // which ended with its connection
		b.removeSession(t, old) // its will goes out first, section 6.1 of 3.1.4
		old = nil
	}
	s := old
	present := s != nil
	if s == nil {
		s = &session{clientID: clientID}
		b.sessions[clientID] = s
	}
	s.takeOverCount = count
	// One that was made while the house stood open belongs to nobody yet: a
	// device that has been given a credential since goes on with its session.
	if s.owner != identity && present && b.authorize != nil {
		b.rights++ // what waits for it is asked for anew
		b.generation.Add(1)
	}
	if s.kept() {
		b.countKept(s.owner, -1)
		b.countKept(identity, 1)
	}
	s.owner = identity
	b.cancel(s.expires)
	s.expires = nil
	if s.will != nil {
		b.cancelWill(t, s) // [MQTT-3.1.3-9]
	}
	if (s.version != p.Version || s.bridge != p.Bridge) && len(s.subs) > 0 {
		b.generation.Add(1) // what routes say of it depends on both
	}
	s.version, s.bridge = p.Version, p.Bridge
	s.expiry = expiry
	s.conn = c
	s.walksOn = false // or the turn that was to go on was dropped
	b.connected++
	b.sys.peak = max(b.sys.peak, b.connected)
	s.visits++
	if keep && !s.kept() {
		b.lastSession++
		s.id = b.lastSession
		b.kept[s.id] = s
		b.countKept(identity, 1)
	}
	c.identity, c.clientID = identity, clientID
	c.sess = s
	c.connected = true
	c.since, c.sinceRun = t.Now.Wall, t.Now.Run
	c.resumed = present
	c.problems = p.RequestProblemInfo || p.Version < packet.V5
	c.maxPacket = int(p.MaximumPacketSize)
	c.window = b.limits().Window
	if p.Version == packet.V5 {
		c.window = min(int(p.ReceiveMaximum), b.limits().Window)
		c.mu.Lock()
		c.aliasMax = min(int(p.TopicAliasMaximum), b.limits().TopicAliasMaximum)
		c.mu.Unlock()
	}
	c.limit = b.limits().PacketSize
	if open && !loopback(c.remote) {
		c.limit = min(c.limit, b.limits().OpenPacketSize)
	}
	c.keepAlive = time.Duration(p.KeepAlive) * time.Second
	if own := b.limits().ServerKeepAlive; p.Version == packet.V5 && (p.KeepAlive == 0 || c.keepAlive > b.limits().KeepAlive || own != 0) {
		c.keepAlive = b.limits().KeepAlive
		if own != 0 {
			c.keepAlive = own
		}
		told := uint16(min(c.keepAlive/time.Second, math.MaxUint16))
		ack.ServerKeepAlive = &told
	}
	b.unauthenticated--
	b.newcomers.room()
	b.watch(c)

	s.again = max(s.again, s.next)
	s.next, s.inFlight, s.flying = s.base, 0, 0
	if s.kept() {
		t.durably(sessionKey(s.id), sessionRecord(s))
		s.lastWrite = t.Number
	}
	if p.Will != nil {
		s.will = newWill(p.Will, clientID)
		t.Lazy(willKey(clientID), willRecord(s.will, s.owner))
	}
	ack.SessionPresent = present
	if p.Version == packet.V5 {
		ack.ReceiveMaximum = uint16(b.limits().ReceiveMaximum)
		ack.TopicAliasMaximum = uint16(b.limits().TopicAliasMaximum)
		ack.MaximumPacketSize = uint32(c.limit)
		if q := b.limits().qos(); q < ExactlyOnce {
			ack.MaximumQoS = &q // [MQTT-3.2.2-9]
		}
		if b.limits().NoRetained {
			ack.RetainAvailable = new(false)
		}
	}
	t.sendPacket(c, bothLanes, s.lastWrite, ack)
	b.stats.connects.Add(1)
	b.log.Debug("client connected", "client", clientID, "remote", c.remote, "version", int(p.Version), "resumed", present)
	b.pump(t, s)
	if len(b.sys.subs) > 0 && b.toldTo() {
		b.tellFrom(t)
	}
	return nil
}

// takeOver ends the connection of a session for the sake of a new one,
// [MQTT-3.1.4-3].
func (b *Broker) takeOver(t *Turn, s *session, clean bool) {
	c := s.conn
	if c.version == packet.V5 {
		c.sendNow(&packet.Disconnect{Reason: packet.SessionTakenOver}, t.batch)
	}
	b.log.Info("client taken over", "client", s.clientID, "remote", c.remote)
	b.detach(t, c)
	c.end(t.batch)
	if s.will == nil {
		return
	}
	// Published if its delay is 0 or the session ends, else cancelled by the
	// caller.
	if s.will.delay == 0 || s.version < packet.V5 || clean || s.expiry == 0 {
		b.fireWill(t, s)
	}
}

// detach parts a connection from its session.
func (b *Broker) detach(t *Turn, c *Conn) {
	s := c.sess
	c.ended = true
	c.sess = nil
	b.cancel(c.check)
	c.check = nil
	s.conn = nil
	b.connected--
	s.offline = t.Now.Wall
	if s.kept() {
		t.alongside(sessionKey(s.id), sessionRecord(s))
		b.leaveToDisk(t, s)
	}
}

// lost handles the end of a connection that did not say goodbye, and of one
// that did: then the will is gone already.
func (b *Broker) lost(t *Turn, c *Conn) {
	s := c.sess
	if s == nil {
		if !c.connected {
			b.unauthenticated--
		}
		b.cancel(c.check)
		return
	}
	b.detach(t, c)
	b.log.Debug("client gone", "client", s.clientID)
	if s.expiry == 0 {
		b.removeSession(t, s)
		return
	}
	b.passOn(t, s)
	b.expireLater(t, s)
	if s.will != nil {
		b.scheduleWill(t, s)
	}
}

// expireLater ends a session that nobody comes back to, [MQTT-4.1.0-2].
func (b *Broker) expireLater(t *Turn, s *session) {
	if s.expiry == math.MaxUint32 {
		return
	}
	at := t.Now.Run + s.offline.Add(time.Duration(s.expiry)*time.Second).Sub(t.Now.Wall)
	s.expires = b.at(max(at, t.Now.Run), func(t *Turn) {
		if s.conn == nil && b.sessions[s.clientID] == s {
			b.log.Info("session expired", "client", s.clientID)
			b.sys.expired++
			b.removeSession(t, s)
		}
	})
}

// removeSession ends a session: its will is due, everything it had goes.
func (b *Broker) removeSession(t *Turn, s *session) {
	if s.will != nil {
		b.fireWill(t, s)
	}
	b.cancel(s.expires)
	delete(b.sessions, s.clientID)
	for _, sub := range s.subs {
		b.removeSubscription(sub)
	}
	b.queuedBytes -= s.ownBytes
	strays := s.strays()
	b.empty(&s.queue)
	b.empty(&s.tail)
	if !s.kept() {
		b.passStrays(t, strays)
		return
	}
	delete(b.kept, s.id)
	b.countKept(s.owner, -1)
	t.durably(sessionKey(s.id), nil)
	b.sweep(t, s.id, s.sent())
}

// What a flood of random client identifiers leaves behind may give way to
// somebody who comes: a kept session of nobody's, which holds nothing, and
// whose client has been away for some time.
const (
	evictAfter = time.Minute
	evictTries = 500 // sessions looked at
)

// evict ends such a session, and tells whether there was one.
func (b *Broker) evict(t *Turn) bool {
	tries := evictTries
	for _, s := range b.kept { // in an order of chance
		if s.owner == "" && s.conn == nil && len(s.subs) == 0 && s.waiting == 0 && len(s.received) == 0 && s.will == nil &&
			t.Now.Wall.Sub(s.offline) >= evictAfter {
			b.removeSession(t, s)
			return true
		}
		if tries--; tries == 0 {
			break
		}
	}
	return false
}

// countKept counts the kept sessions of an identity.
func (b *Broker) countKept(identity string, by int) {
	if b.keptBy[identity] += by; b.keptBy[identity] == 0 {
		delete(b.keptBy, identity)
	}
}

// sweep has workers delete what a removed session left on disk, and give to
// other members what came by shared subscriptions and may still go to them;
// sent is the number of the first message that was never sent. The session's
// own record is gone already; should the hub stop before the end, the next
// start sweeps what has no session.
func (b *Broker) sweep(t *Turn, session uint32, sent uint64) {
	w := &sweeping{session: session, sent: sent, kinds: []byte{kindSubscription, kindReceipt, kindCursor, kindQueue}}
	// What is not on disk yet is not found.
	t.Durable(func() { b.jobs.add(func() { b.sweepOn(w) }) })
}

// A sweeping is how far the sweep of a session has come.
type sweeping struct {
	session uint32
	sent    uint64
	kinds   []byte     // of records, still to be looked at
	left    []leftover // found and not deleted yet
}

// sweepOn takes one step of a sweep. It does not wait for the disk: others want
// the worker, to feed clients that have come back.
func (b *Broker) sweepOn(w *sweeping) {
	for len(w.left) == 0 {
		if len(w.kinds) == 0 {
			return
		}
		var err error
		if w.left, err = b.leftovers(w.kinds[0], w.session, w.sent); err != nil {
			b.log.Error("session not swept", "err", err)
			return
		}
		if len(w.left) == 0 {
			w.kinds = w.kinds[1:]
		}
	}
	number := b.turnNow(func(t *Turn) {
		for ; len(w.left) > 0 && !t.heavy(); w.left = w.left[1:] {
			l := &w.left[0]
			t.forget(l.key)
			b.dropBody(t, l.body)
			if l.m != nil {
				b.pass(t, l.stray, nil, false)
			}
		}
	})
	b.onDurable(number, func() { b.jobs.add(func() { b.sweepOn(w) }) })
}

// A leftover is a record of a session that is gone.
type leftover struct {
	key  []byte
	body uint64
	stray
}

// leftovers reads records of a session that is gone, a few hundred at a time.
func (b *Broker) leftovers(kind byte, session uint32, sent uint64) (left []leftover, err error) {
	now := b.clock()
	scanErr := b.store.Scan(key32(kind, session), nil, func(key, value []byte) bool {
		l := leftover{key: append([]byte(nil), key...)}
		if kind == kindQueue && len(key) == 13 {
			if e, err := readEntry(value, now); err == nil {
				l.body = e.body
				if e.movable(binary.BigEndian.Uint64(key[5:]), sent, true) {
					l.stray = stray{e.m, e.share}
				}
			}
		}
		left = append(left, l)
		return len(left) < loadBatch
	})
	for i := range left {
		if l := &left[i]; l.share != nil && l.m == nil && scanErr == nil {
			if l.m, err = b.readBody(l.body, now); err != nil {
				return nil, err
			}
		}
	}
	return left, scanErr
}

// disconnect handles the client's goodbye, section 3.14.
func (b *Broker) disconnect(t *Turn, c *Conn, p *packet.Disconnect) error {
	s := c.sess
	if p.SessionExpiry != nil && c.version == packet.V5 {
		if s.expiry == 0 && *p.SessionExpiry != 0 {
			return &packet.Error{Packet: "DISCONNECT", Field: "session expiry interval", Reason: packet.ProtocolError}
		}
		limit := b.limits().SessionExpiry
		if c.identity == "" {
			limit = b.limits().OpenSessionExpiry
		}
		s.expiry = min(*p.SessionExpiry, uint32(limit/time.Second))
	}
	if p.Reason == packet.Success && s.will != nil { // [MQTT-3.14.4-3]
		b.cancelWill(t, s)
	}
	b.lost(t, c)
	return errGoodbye
}

// goodbye ends a connection because the hub stops: sessions that last keep
// their wills for after the restart, those that end have them published.
func (b *Broker) goodbye(t *Turn, c *Conn) {
	s := c.sess
	if c.version == packet.V5 {
		c.sendNow(&packet.Disconnect{Reason: packet.ServerShuttingDown}, t.batch)
	}
	if s.expiry > 0 && s.will != nil && s.version == packet.V5 && s.will.delay > 0 {
		b.detach(t, c)
		b.scheduleWill(t, s)
		return
	}
	b.lost(t, c)
}
