package mqtt

import (
	"slices"

	"lar.home/mqtt/packet"
	"lar.home/mqtt/topic"
)

// maxConsumers is how many parts of the house can follow messages.
const maxConsumers = 4

// A subscription is a topic filter of a session and its options.
type subscription struct {
	packet.Subscription
	id    uint32 // Subscription Identifier, 0: none
	sess  *session
	group *shareGroup // of a shared subscription
}

// A route is where messages of one topic go. It is never changed; when
// subscriptions change, the generation does, and routes are made anew.
type route struct {
	generation uint64
	topic      string
	to         []delivery
	shares     []*shareGroup
	kept       int                   // kept sessions among them
	wants      uint8                 // consumers, a bit each
	denied     map[*session]struct{} // members of shares that may not receive it
}

// A delivery is what one session gets of a topic: one copy for all its
// subscriptions, [MQTT-3.3.4-2].
type delivery struct {
	sess              *session
	qos               QoS // the highest granted
	retainAsPublished bool
	noLocal           bool // one of them at least
	subIDs            []uint32
	subs              []*subscription // when noLocal
	share             *shareGroup     // of which it is a member
}

// withoutLocal returns what the session gets of its own messages. It stands
// alone so that its variables do not lie on the stacks of all connections.
//
//go:noinline
func (d *delivery) withoutLocal() (qos QoS, retainAsPublished bool, subIDs []uint32, any bool) {
	var own delivery
	for _, sub := range d.subs {
		if sub.NoLocal {
			continue
		}
		any = true
		own.add(sub)
	}
	return own.qos, own.retainAsPublished, own.subIDs, any
}

// add has a subscription count: the highest QoS, all identifiers, and RETAIN
// as published if any asks for it.
func (d *delivery) add(sub *subscription) {
	d.qos = max(d.qos, sub.QoS)
	d.retainAsPublished = d.retainAsPublished || sub.RetainAsPublished && sub.sess.knowsRetain()
	if sub.id != 0 {
		d.subIDs = append(d.subIDs, sub.id)
	}
}

// cachedRoutes and cachedLength, of a topic, bound the route cache. A home has
// few topics, and its topics are short.
const (
	cachedRoutes = 4096
	cachedLength = 512
)

// cachedRoute looks a topic up without the house's lock; nil if it is not
// cached.
func (b *Broker) cachedRoute(name []byte) *route {
	b.routesMu.RLock()
	r := b.routes[string(name)]
	b.routesMu.RUnlock()
	if r == nil || r.generation != b.generation.Load() {
		return nil
	}
	return r
}

// routeFor is cachedRoute for what a connection publishes, which is mostly the
// topic that it has published to before.
func (b *Broker) routeFor(c *Conn, name []byte) *route {
	if r := c.route; r != nil && r.topic == string(name) && r.generation == b.generation.Load() {
		return r
	}
	c.route = b.cachedRoute(name)
	return c.route
}

// wanted asks the consumers about a topic.
func (b *Broker) wanted(name string) (wants uint8) {
	for i, c := range b.consumers {
		if c.Wants(name) {
			wants |= 1 << i
		}
	}
	return wants
}

// route finds where a topic goes. The house's lock is held.
func (b *Broker) route(name string) *route {
	generation := b.generation.Load()
	b.routesMu.RLock()
	r := b.routes[name]
	b.routesMu.RUnlock()
	if r != nil && r.generation == generation {
		return r
	}
	r = &route{generation: generation, topic: name, wants: b.wanted(name)}
	at := make(map[*session]int)
	b.subs.Match(name, func(sub *subscription, _ struct{}) {
		if sub.group != nil {
			r.shares = append(r.shares, sub.group)
			return
		}
		i, seen := at[sub.sess]
		if !seen && !b.mayReceive(sub.sess, name) {
			return
		}
		if !seen {
			i = len(r.to)
			at[sub.sess] = i
			r.to = append(r.to, delivery{sess: sub.sess})
			if sub.sess.kept() {
				r.kept++
			}
		}
		d := &r.to[i]
		d.add(sub)
		d.noLocal = d.noLocal || sub.NoLocal
		d.subs = append(d.subs, sub)
	})
	for i := range r.to {
		if !r.to[i].noLocal {
			r.to[i].subs = nil
		}
	}
	for _, g := range r.shares {
		for i := range g.members {
			if s := g.members[i].sess; !b.mayReceive(s, name) {
				if r.denied == nil {
					r.denied = make(map[*session]struct{})
				}
				r.denied[s] = struct{}{}
			} else if s.kept() {
				r.kept++
			}
		}
	}
	if len(name) > cachedLength {
		return r
	}
	b.routesMu.Lock()
	if len(b.routes) >= cachedRoutes || b.routesOf != generation {
		b.routes = make(map[string]*route)
		b.routesOf = generation
	}
	b.routes[name] = r
	b.routesMu.Unlock()
	return r
}

// subscribe handles SUBSCRIBE, section 3.8.
func (b *Broker) subscribe(t *Turn, c *Conn, p *packet.Subscribe) {
	s := c.sess
	ack := &packet.Suback{PacketID: p.PacketID}
	var walks []*cursor
	notReady := error(nil)
	if s.kept() {
		notReady = b.store.Ready()
	}
	for _, f := range p.Filters {
		b.split(t)
		_, exists := s.subs[f.Filter]
		if limit := b.limits().exceededBy(f.Filter); limit != "" {
			b.reached(limit, s.clientID, nil)
			ack.Reasons = append(ack.Reasons, packet.TopicFilterInvalid)
			continue
		}
		f.QoS = min(f.QoS, b.limits().qos())
		full := !exists && len(s.subs) >= b.limits().Subscriptions
		if full {
			b.reached("subscriptions", s.clientID, nil)
		}
		if notReady != nil || full {
			ack.Reasons = append(ack.Reasons, packet.QuotaExceeded)
			continue
		}
		_, rest, shared, _ := topic.Share(f.Filter)
		if b.authorize != nil && !b.authorize(s.owner, s.clientID, MaySubscribe, rest) {
			b.denied(s.clientID, MaySubscribe, f.Filter)
			ack.Reasons = append(ack.Reasons, packet.NotAuthorized)
			continue
		}
		if isSys(rest) {
			b.tellFrom(t)
		}
		if s.bridge && !shared {
			f.NoLocal, f.RetainAsPublished = true, true // what level 0x83 and 0x84 ask for
		}
		sub := &subscription{Subscription: f, id: p.SubscriptionID, sess: s}
		if s.kept() && slices.ContainsFunc(s.cursors, func(w *cursor) bool { return w.sub.Filter == f.Filter }) {
			t.durably(cursorKey(s.id, f.Filter), nil) // that of the one it replaces
		}
		b.addSubscription(sub)
		if s.kept() {
			t.durably(subscriptionKey(s.id, f.Filter), subscriptionRecord(sub))
			s.lastWrite = t.Number
		}
		ack.Reasons = append(ack.Reasons, packet.Reason(f.QoS))
		if sub.group == nil && (f.RetainHandling == 0 || f.RetainHandling == 1 && !exists) { // [MQTT-3.3.1-9..11]
			walks = append(walks, &cursor{sub: sub})
		}
	}
	t.sendPacket(c, bothLanes, s.lastWrite, ack)
	for _, w := range walks {
		b.startWalk(t, w)
	}
	b.walk(t, s)
}

// addSubscription puts sub in the place of an older one for the same filter,
// [MQTT-3.8.4-3].
func (b *Broker) addSubscription(sub *subscription) {
	s := sub.sess
	if old := s.subs[sub.Filter]; old != nil {
		b.removeSubscription(old)
	}
	if s.subs == nil {
		s.subs = make(map[string]*subscription)
	}
	s.subs[sub.Filter] = sub
	b.generation.Add(1)
	name, rest, shared, _ := topic.Share(sub.Filter)
	if isSys(rest) {
		if b.sys.subs == nil {
			b.sys.subs = make(map[*subscription]struct{})
		}
		b.sys.subs[sub] = struct{}{}
	}
	if !shared {
		b.subs.Set(sub.Filter, sub, struct{}{})
		return
	}
	g := &shareGroup{name: name, filter: rest}
	if there := b.shares[g.key()]; there != nil {
		g = there
	} else {
		b.shares[g.key()] = g
		b.groupSubs[g] = &subscription{Subscription: packet.Subscription{Filter: rest}, group: g}
		b.subs.Set(rest, b.groupSubs[g], struct{}{})
	}
	sub.group = g
	d := delivery{sess: s, qos: sub.QoS, retainAsPublished: sub.RetainAsPublished, share: g}
	if sub.id != 0 {
		d.subIDs = []uint32{sub.id}
	}
	g.members = append(g.members, d)
}

func (b *Broker) removeSubscription(sub *subscription) {
	s := sub.sess
	delete(s.subs, sub.Filter)
	delete(b.sys.subs, sub)
	b.generation.Add(1)
	g := sub.group
	if g == nil {
		b.subs.Delete(sub.Filter, sub)
		b.deleteCursor(sub)
		return
	}
	for i := range g.members {
		if g.members[i].sess == s {
			g.members = append(g.members[:i:i], g.members[i+1:]...)
			break
		}
	}
	if len(g.members) == 0 {
		b.subs.Delete(g.filter, b.groupSubs[g])
		delete(b.groupSubs, g)
		delete(b.shares, g.key())
	}
}

// unsubscribe handles UNSUBSCRIBE, section 3.10.
func (b *Broker) unsubscribe(t *Turn, c *Conn, p *packet.Unsubscribe) {
	s := c.sess
	ack := &packet.Unsuback{PacketID: p.PacketID}
	for _, f := range p.Filters {
		b.split(t)
		sub := s.subs[f]
		if sub == nil {
			ack.Reasons = append(ack.Reasons, packet.NoSubscriptionExisted)
			continue
		}
		b.removeSubscription(sub)
		if s.kept() {
			t.durably(subscriptionKey(s.id, f), nil)
			t.durably(cursorKey(s.id, f), nil)
			s.lastWrite = t.Number
		}
		ack.Reasons = append(ack.Reasons, packet.Success)
	}
	t.sendPacket(c, ackLane, s.lastWrite, ack)
}
