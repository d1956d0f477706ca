package devices

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"

	"lar.home/mqtt"
	"lar.home/mqtt/topic"
)

// A device is a Device as the model works with it.
type device struct {
	id     string
	public *Device
	nodes  []*node // by ID
	health *health
	client string // that speaks for it, if known

	// native tells that a Zigbee2MQTT has it, or that it is a Tasmota; base and
	// address are those.
	native        bool
	base, address string
}

// announce takes a discovery message into the model.
func (m *Model) announce(t *mqtt.Turn, topic string, d *discovery) {
	if d.err != nil {
		m.reporter.report(t, m.log, "discovery message not used", "topic", cut(topic, 200), "err", d.err)
		return
	}
	if d.live {
		m.speaker = d.client
		defer func() { m.speaker = "" }()
	}
	msg := d.message
	if d.live && !msg.Remove && !msg.Migrate {
		m.revive(t, m.tombs[m.heldBack(d.specs)]) // it lives
	}
	old := m.owned[topic]
	if old == nil && (msg.Remove || msg.Migrate) || old != nil && !msg.Remove && !msg.Migrate && old.hash == msg.Hash {
		return
	}
	dr := m.draft()
	if old != nil {
		m.unshadow(topic, old)
		old.nodes, old.before, old.rest = append(old.nodes, old.before...), nil, nil
	}
	if msg.Remove || msg.Migrate {
		delete(m.owned, topic)
		if old != nil {
			m.release(t, dr, old)
			m.dropAll(t, dr, topic, old.nodes, nil)
		}
		m.commit(t, dr)
		return
	}
	a := &announcement{hash: msg.Hash, base: d.base, address: d.address}
	m.owned[topic] = a
	if holder := m.heldBack(d.specs); holder != "" {
		m.shadow(t, dr, topic, a, holder, d.specs)
		if old != nil {
			m.dropAll(t, dr, topic, old.nodes, nil)
		}
		m.commit(t, dr)
		return
	}
	if a.rest = d.specs; d.live {
		a.client = d.client
	}
	if old != nil {
		// What the new version has not any more goes first, so that what it
		// has instead finds the place free.
		keep := make(map[string]bool, len(d.specs))
		for _, s := range d.specs {
			keep[s.identity] = true
		}
		a.before = slices.DeleteFunc(old.nodes, func(n *node) bool {
			if keep[n.spec.identity] {
				return false
			}
			m.drop(t, dr, topic, n)
			return true
		})
	}
	most := len(d.specs)
	if d.sliced {
		most = sliceEntities
	}
	m.placeSome(t, dr, topic, a, most)
	m.commit(t, dr)
}

// placeSome places the next entities of an announcement, and puts it in line
// for the others. It tells how many it has placed.
func (m *Model) placeSome(t *mqtt.Turn, dr *draft, topic string, a *announcement, most int) int {
	some := a.rest[:min(most, len(a.rest))]
	a.rest = a.rest[len(some):]
	for _, s := range some {
		n := m.place(t, dr, topic, s)
		if n == nil {
			continue
		}
		a.nodes = append(a.nodes, n)
		if a.client != "" {
			m.spokenBy(t, n.device, a.client)
		}
	}
	if a.base != "" {
		m.claim(t, dr, a)
	}
	if len(a.rest) > 0 {
		m.jobs = slices.Insert(m.jobs, 0, &job{key: topic, rest: a})
		return len(some)
	}
	m.dropAll(t, dr, topic, a.before, a.nodes)
	a.rest, a.before, a.client = nil, nil, ""
	return len(some)
}

// placeRest goes on with an announcement, if it is still in force. The device
// may have been forgotten meanwhile.
func (m *Model) placeRest(t *mqtt.Turn, j *job) (placed int) {
	a := j.rest
	if len(a.rest) == 0 {
		return 0
	}
	m.speaker = a.client
	defer func() { m.speaker = "" }()
	dr := m.draft()
	if holder := m.heldBack(a.rest); holder != "" {
		m.shadow(t, dr, j.key, a, holder, a.rest)
		m.dropAll(t, dr, j.key, a.before, a.nodes)
		a.rest, a.before, a.client = nil, nil, ""
	} else {
		placed = m.placeSome(t, dr, j.key, a, sliceEntities)
	}
	m.commit(t, dr)
	return placed
}

// dropAll removes entities that a topic announced and that are not among some.
func (m *Model) dropAll(t *mqtt.Turn, dr *draft, topic string, nodes, but []*node) {
	kept := make(map[*node]bool, len(but))
	for _, n := range but {
		kept[n] = true
	}
	for _, n := range nodes {
		if !kept[n] {
			m.drop(t, dr, topic, n)
		}
	}
}

// place finds or makes the entity of a spec. It returns nil if the house has
// too many.
func (m *Model) place(t *mqtt.Turn, dr *draft, topic string, s *spec) *node {
	if other := m.slots[s.key]; other != nil && other.spec.identity != s.identity {
		m.remove(t, dr, other)
	}
	n := m.nodes[m.memory.entityID(s.identity)]
	if n != nil && n.spec.identity == s.identity {
		if native(n.spec.source) && !native(s.source) && n.device.native {
			return nil // a device of another name has its unique ID
		}
		if s.source != n.spec.source {
			m.cede(t, dr, n)
		}
		n.topic = topic
		m.redescribe(t, dr, n, s)
		return n
	}
	d := m.deviceOf(t, s)
	switch {
	case d == nil:
		m.reporter.report(t, m.log, "too many devices, the new one is left out", "topic", cut(topic, 200), "limit", MaxDevices)
		return nil
	case len(d.nodes) >= MaxEntities || len(m.nodes) >= MaxEntitiesTotal:
		m.reporter.report(t, m.log, "too many entities, the new one is left out", "topic", cut(topic, 200), "device", d.id)
		m.leave(d)
		return nil
	}
	n = &node{topic: topic, spec: s, device: d, live: &atomic.Pointer[State]{}}
	name := ""
	if s.device != nil {
		if name = s.device.Name; name == "" && d.public != nil {
			name = d.public.Name
		}
	}
	n.id = m.memory.assign(t, s, name, m.taken)
	m.nodes[n.id] = n
	m.slots[s.key] = n
	state := &State{Available: true}
	state.Readings, n.lapsed, n.loose = m.memory.restore(n.id, s.aspects)
	n.live.Store(state)
	d.insert(n)
	m.attach(dr, n)
	m.resume(t, n)
	m.c.touch(d)
	return n
}

// taken tells whether an entity ID is in use.
func (m *Model) taken(id string) bool { return m.nodes[id] != nil }

// redescribe gives an entity another description. It keeps its ID and what of
// its values still has a place.
func (m *Model) redescribe(t *mqtt.Turn, dr *draft, n *node, s *spec) {
	m.detach(dr, n)
	if m.slots[n.spec.key] == n {
		delete(m.slots, n.spec.key)
	}
	old := n.spec
	n.spec = s
	m.slots[s.key] = n
	if d := m.deviceOf(t, s); d != nil && d != n.device && len(d.nodes) < MaxEntities {
		n.device.nodes = slices.DeleteFunc(n.device.nodes, func(x *node) bool { return x == n })
		m.leave(n.device)
		n.device = d
		d.insert(n)
	} else if d != nil {
		m.leave(d)
	}
	before := n.live.Load()
	after := &State{Available: true, Readings: make([]Reading, len(s.aspects))}
	for i, a := range s.aspects {
		j := slices.IndexFunc(old.aspects, func(o Aspect) bool { return o.Name == a.Name && o.Type == a.Type })
		if j >= 0 {
			after.Readings[i] = before.Readings[j]
		}
	}
	if !slices.EqualFunc(s.aspects, old.aspects, func(a, b Aspect) bool { return a.Name == b.Name && a.Type == b.Type }) {
		// Who still holds the Entity as it was goes on with states that fit it.
		n.live = &atomic.Pointer[State]{}
		n.lapsed = nil
	}
	n.live.Store(after)
	m.attach(dr, n)
	m.resume(t, n)
	m.c.touch(n.device)
}

// resume starts the delays of an entity that has values from before.
func (m *Model) resume(t *mqtt.Turn, n *node) {
	n.offAt, n.expireAt = 0, 0
	delete(m.unplaced, n.id)
	readings := n.live.Load().Readings
	if n.spec.expireAfter > 0 && slices.ContainsFunc(readings, func(r Reading) bool { return r.Value.Known() }) {
		m.resumeExpiry(t, n)
	}
	if n.spec.offDelay > 0 && len(readings) > 0 && readings[0].Value.Bool {
		n.offAt = t.Now.Run + n.spec.offDelay
	}
	m.schedule(n)
}

// drop removes an entity that a topic announced, unless another has it now.
func (m *Model) drop(t *mqtt.Turn, dr *draft, topic string, n *node) {
	if n.topic == topic && m.nodes[n.id] == n {
		m.remove(t, dr, n)
	}
}

// remove takes an entity out of the house. What people set and its ID are
// kept for a while, as gateways rename a device by removing it.
func (m *Model) remove(t *mqtt.Turn, dr *draft, n *node) {
	m.detach(dr, n)
	delete(m.nodes, n.id)
	if m.slots[n.spec.key] == n {
		delete(m.slots, n.spec.key)
	}
	n.offAt, n.expireAt = 0, 0
	delete(m.unplaced, n.id)
	m.memory.gone(t, n)
	n.device.nodes = slices.DeleteFunc(n.device.nodes, func(x *node) bool { return x == n })
	m.leave(n.device)
}

// leave takes a device out of the house once it has no entities.
func (m *Model) leave(d *device) {
	m.c.touch(d)
	if len(d.nodes) == 0 && m.devices[d.id] == d {
		delete(m.devices, d.id)
		m.speaks(d, "")
		if d.health.run != 0 {
			m.memory.healths[d.id] = d.health.encode()
		}
	}
}

func (d *device) insert(n *node) {
	i, _ := slices.BinarySearchFunc(d.nodes, n, func(a, b *node) int { return strings.Compare(a.id, b.id) })
	d.nodes = slices.Insert(d.nodes, i, n)
}

// deviceOf finds or makes the device that a spec belongs to; nil if there are
// too many.
func (m *Model) deviceOf(t *mqtt.Turn, s *spec) *device {
	identifiers := s.identifiers()
	id := ""
	for _, ident := range identifiers {
		if known := m.memory.deviceID(ident); known != "" && (id == "" || m.devices[id] == nil && m.devices[known] != nil) {
			id = known
		}
	}
	if d := m.devices[id]; d != nil {
		m.memory.identify(t, id, identifiers)
		return d
	}
	if len(m.devices) >= MaxDevices || m.speaker != "" && m.spoken[cut(m.speaker, maxName)] >= m.share {
		return nil
	}
	if id == "" {
		id = deviceID(identifiers[0])
	}
	m.memory.identify(t, id, identifiers)
	d := &device{id: id, health: m.memory.health(t, id)}
	m.devices[id] = d
	m.speaks(d, m.memory.devices[id].Client)
	if m.speaker != "" {
		m.spokenBy(t, d, m.speaker)
	}
	for _, ident := range identifiers { // those that hang on it know it now
		m.stale = append(m.stale, m.memory.takeWaiting(ident)...)
	}
	return d
}

// identifiers are those of the spec's device; one without has a device of its
// own.
func (s *spec) identifiers() []string {
	if s.device == nil {
		return []string{"entity:" + s.identity}
	}
	return s.device.Identifiers
}

// A draft collects changes to the wiring.
type draft struct {
	routes map[string]*route
	fresh  []bound      // reads that are new
	groups []availBound // sources of availability that are new
}

func (m *Model) draft() *draft { return &draft{routes: map[string]*route{}} }

// route returns the draft's own copy of a topic's route.
func (m *Model) route(dr *draft, topic string) *route {
	r := dr.routes[topic]
	if r == nil {
		r = &route{}
		if old := m.wiring.Load().declared(topic); old != nil {
			r.reads, r.avail, r.tombs = slices.Clone(old.reads), slices.Clone(old.avail), slices.Clone(old.tombs)
		}
		dr.routes[topic] = r
	}
	return r
}

// attach wires the reads and the availability of an entity.
func (m *Model) attach(dr *draft, n *node) {
	for i := range n.spec.reads {
		b := bound{n, &n.spec.reads[i]}
		if isFilter(b.read.topic) && m.full(dr, b.read.topic) {
			continue
		}
		r := m.route(dr, b.read.topic)
		if len(r.reads) >= MaxReads {
			continue
		}
		r.reads = append(r.reads, b)
		dr.fresh = append(dr.fresh, b)
	}
	if n.spec.avail == nil {
		return
	}
	g := m.groups[n.spec.avail.key]
	if g == nil {
		g = &availability{spec: n.spec.avail, heard: make([]int, len(n.spec.avail.sources)), available: n.spec.avail.mode == "unless"}
		m.groups[g.spec.key] = g
		for i := range g.spec.sources {
			r := m.route(dr, g.spec.sources[i].topic)
			r.avail = append(r.avail, availBound{g, i})
			dr.groups = append(dr.groups, availBound{g, i})
		}
	}
	n.group = g
	g.nodes = append(g.nodes, n)
	s := n.live.Load()
	n.live.Store(&State{Available: g.available, Readings: s.Readings})
}

// detach takes an entity out of the wiring.
func (m *Model) detach(dr *draft, n *node) {
	for i := range n.spec.reads {
		r := m.route(dr, n.spec.reads[i].topic)
		r.reads = slices.DeleteFunc(r.reads, func(b bound) bool { return b.node == n })
	}
	dr.fresh = slices.DeleteFunc(dr.fresh, func(b bound) bool { return b.node == n })
	g := n.group
	if g == nil {
		return
	}
	n.group = nil
	if i := slices.Index(g.nodes, n); i >= 0 {
		g.nodes = slices.Delete(g.nodes, i, i+1)
	}
	if len(g.nodes) > 0 {
		return
	}
	delete(m.groups, g.spec.key)
	for i := range g.spec.sources {
		r := m.route(dr, g.spec.sources[i].topic)
		r.avail = slices.DeleteFunc(r.avail, func(b availBound) bool { return b.group == g })
	}
	dr.groups = slices.DeleteFunc(dr.groups, func(b availBound) bool { return b.group == g })
}

// commit swaps in the wiring of a draft. New readers of a topic that is read
// already are given what it brought last; for new topics the broker brings
// what is retained.
func (m *Model) commit(t *mqtt.Turn, dr *draft) {
	if len(dr.routes) == 0 {
		return
	}
	w := m.wiring.Load()
	edit := w.routes.edit()
	filters := map[string]*route{}
	for name, r := range dr.routes {
		if isFilter(name) {
			if len(r.reads) == 0 {
				r = nil
			}
			if before := w.declared(name) != nil; before != (r != nil) {
				t.Rewire()
			}
			filters[name] = r
			continue
		}
		before := edit.get(name) != nil
		after := len(r.reads)+len(r.avail)+len(r.tombs) > 0
		switch {
		case after:
			edit.set(name, r)
		case before:
			edit.delete(name)
			m.retire(name)
		}
		if before != after {
			t.Rewire()
		}
	}
	next := &wiring{routes: edit.done(), wild: w.wild}
	if len(filters) > 0 {
		next.wild = m.rewild(next, filters)
	}
	m.wiring.Store(next)

	was := m.c.old
	m.c.old = true
	for _, a := range dr.groups {
		if last := m.last[a.group.spec.sources[a.source].topic]; last != nil && !last.long {
			in := newInput(last.payload)
			if h := a.group.spec.sources[a.source].extract(in); h != availSilent {
				m.heard(a.group, a.source, h == availYes)
			}
			in.done()
		}
	}
	for _, b := range dr.fresh {
		if isFilter(b.read.topic) {
			for _, name := range slices.Sorted(maps.Keys(m.filtered)) {
				if topic.Match(b.read.topic, name) {
					m.recall(t, b, name)
				}
			}
			continue
		}
		m.recall(t, b, b.read.topic)
	}
	m.c.old = was
}

// recall gives a new reader of a topic what that brought last.
func (m *Model) recall(t *mqtt.Turn, b bound, topic string) {
	if last := m.last[topic]; last != nil && !last.long {
		in := newInput(last.payload)
		m.apply(t, b.node, b.read.extract(in, nil), true)
		in.done()
	}
}

// full tells whether one more filter would be too many.
func (m *Model) full(dr *draft, filter string) bool {
	w := m.wiring.Load().wild
	if w == nil || dr.routes[filter] != nil || w.routes[filter] != nil {
		return false
	}
	return len(w.routes) >= MaxFilters
}

// maxRetired is how many topics that nobody reads any more keep what they
// brought last.
const maxRetired = 256

// retire notes that nobody reads a topic. What it brought last is kept for a
// while: gateways rename a device by removing it and adding it again.
func (m *Model) retire(topic string) {
	m.retired = append(m.retired, topic)
	if len(m.retired) <= maxRetired {
		return
	}
	oldest := m.retired[0]
	m.retired = m.retired[1:]
	if !m.wiring.Load().wants(oldest) && !slices.Contains(m.retired, oldest) {
		delete(m.last, oldest)
	}
}
