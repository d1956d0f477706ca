package devices

import (
	"slices"

	"lar.home/mqtt"
)

// A device that is known both from a source of its own (a Zigbee2MQTT's lists,
// what a Tasmota says of itself) and from discovery messages has one owner, the
// former, whichever came first: nothing appears twice. What the other source
// says is kept aside until the owner is gone. Entities keep their IDs over a
// change of owner, as both sources give the same unique IDs.

// native tells whether a source is one of its own and not discovery.
func native(source string) bool { return source != "homeassistant" }

// selfSpoken has the sources of devices for which no gateway speaks, by what
// stands for its base.
var selfSpoken = map[string]string{tasmotaBase: tasmotaSource, homieBase: homieSource, shellyBase: shellySource}

// gatewayed tells whether another speaks for a device, and not it itself.
func (d *device) gatewayed() bool { return d.native && selfSpoken[d.base] == "" }

// heldBack returns the ID of the device of which specs are kept aside: one
// that was forgotten, or that a native source has; "" if they are not.
func (m *Model) heldBack(specs []*spec) string {
	if len(specs) == 0 {
		return ""
	}
	for _, ident := range specs[0].identifiers() {
		id := m.memory.deviceID(ident)
		if id == "" {
			continue
		}
		if m.tombs[id] != nil {
			return id
		}
		if d := m.devices[id]; d != nil && d.native && !native(specs[0].source) {
			return id
		}
	}
	return ""
}

// shadow keeps what a topic announces of a device aside.
func (m *Model) shadow(t *mqtt.Turn, dr *draft, topic string, a *announcement, id string, specs []*spec) {
	if len(m.shadows[id]) >= MaxEntities && !slices.Contains(m.shadows[id], topic) {
		m.reporter.report(t, m.log, "too many announcements of one device, the new one is left out", "topic", cut(topic, 200), "device", id)
		return
	}
	a.shadow, a.owner = append(a.shadow, specs...), id
	if !slices.Contains(m.shadows[id], topic) {
		m.shadows[id] = append(m.shadows[id], topic)
	}
	if tomb := m.tombs[id]; tomb != nil {
		m.listen(dr, tomb, specs)
	}
}

// unshadow forgets what was kept aside of a topic.
func (m *Model) unshadow(topic string, a *announcement) {
	if a.owner == "" {
		return
	}
	list := slices.DeleteFunc(m.shadows[a.owner], func(s string) bool { return s == topic })
	if m.shadows[a.owner] = list; len(list) == 0 {
		delete(m.shadows, a.owner)
	}
}

// claim makes a native source the owner of the device whose entities it has
// announced. What discovery says of it steps back.
func (m *Model) claim(t *mqtt.Turn, dr *draft, a *announcement) {
	for _, n := range a.nodes {
		d := n.device
		d.base, d.address = a.base, a.address
		if d.native {
			continue
		}
		d.native = true
		m.c.touch(d)
		for _, other := range slices.Clone(d.nodes) {
			if !native(other.spec.source) {
				m.cede(t, dr, other)
				m.remove(t, dr, other)
			}
		}
	}
}

// cede keeps aside what discovery says of an entity that another source has
// from now on, or is gone for now.
func (m *Model) cede(t *mqtt.Turn, dr *draft, n *node) {
	a := m.owned[n.topic]
	if a == nil {
		return
	}
	a.nodes = slices.DeleteFunc(a.nodes, func(x *node) bool { return x == n })
	if !native(n.spec.source) {
		m.shadow(t, dr, n.topic, a, n.device.id, []*spec{n.spec})
	}
}

// release gives devices that their native source has dropped back to
// discovery, if that still announces them.
func (m *Model) release(t *mqtt.Turn, dr *draft, old *announcement) {
	if old.base == "" {
		return
	}
	for _, n := range old.nodes {
		if n.device.native && native(n.spec.source) && n.device.base == old.base && n.device.address == old.address {
			n.device.native = false
			m.unveil(t, dr, n.device.id)
		}
	}
}

// unveil places what was kept aside of a device, its native source first.
func (m *Model) unveil(t *mqtt.Turn, dr *draft, id string) {
	topics := slices.DeleteFunc(m.shadows[id], func(topic string) bool { return m.owned[topic] == nil })
	delete(m.shadows, id)
	slices.SortStableFunc(topics, func(a, b string) int { return len(m.owned[b].address) - len(m.owned[a].address) })
	for _, topic := range topics {
		a := m.owned[topic]
		specs := a.shadow
		a.shadow, a.owner = nil, ""
		if holder := m.heldBack(specs); holder != "" {
			m.shadow(t, dr, topic, a, holder, specs)
			continue
		}
		for _, s := range specs {
			if placed := m.place(t, dr, topic, s); placed != nil {
				a.nodes = append(a.nodes, placed)
			}
		}
		if a.base != "" {
			m.claim(t, dr, a)
		}
	}
}
