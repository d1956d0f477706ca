package devices

import (
	"slices"

	"lar.home/mqtt"
)

// A device that is known both from Zigbee2MQTT's own lists and from discovery
// messages has one owner, the former, whichever came first: nothing appears
// twice. What the other source says is kept aside until the owner is gone.
// Entities keep their IDs over a change of owner, as both sources give the
// same unique IDs.

// ownerOf returns the device that a native source has of those that specs of
// discovery belong to, or nil.
func (m *Model) ownerOf(specs []*spec) *device {
	if len(specs) == 0 || specs[0].source == zigbeeSource || specs[0].device == nil {
		return nil
	}
	for _, ident := range specs[0].device.Identifiers {
		if d := m.devices[m.memory.deviceID(ident)]; d != nil && d.native {
			return d
		}
	}
	return nil
}

// shadow keeps what a topic announces aside.
func (m *Model) shadow(t *mqtt.Turn, topic string, a *announcement, d *device, specs []*spec) {
	if len(m.shadows[d.id]) >= MaxEntities && !slices.Contains(m.shadows[d.id], topic) {
		m.reporter.report(t, m.log, "too many announcements of one device, the new one is left out", "topic", cut(topic, 200), "device", d.id)
		return
	}
	a.shadow, a.owner = append(a.shadow, specs...), d.id
	if !slices.Contains(m.shadows[d.id], topic) {
		m.shadows[d.id] = append(m.shadows[d.id], topic)
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
func (m *Model) claim(t *mqtt.Turn, dr *draft, found *discovery, nodes []*node) {
	for _, n := range nodes {
		d := n.device
		d.base, d.address = found.base, found.address
		if d.native {
			continue
		}
		d.native = true
		m.c.touch(d)
		for _, other := range slices.Clone(d.nodes) {
			if other.spec.source != zigbeeSource {
				m.cede(t, other)
				m.remove(t, dr, other)
			}
		}
	}
}

// cede keeps aside what discovery says of an entity that another source has
// from now on, or is gone for now.
func (m *Model) cede(t *mqtt.Turn, n *node) {
	a := m.owned[n.topic]
	if a == nil {
		return
	}
	a.nodes = slices.DeleteFunc(a.nodes, func(x *node) bool { return x == n })
	if n.spec.source != zigbeeSource {
		m.shadow(t, n.topic, a, n.device, []*spec{n.spec})
	}
}

// release gives devices that their native source has dropped back to
// discovery, if that still announces them.
func (m *Model) release(t *mqtt.Turn, dr *draft, old *announcement) {
	for _, n := range old.nodes {
		d := n.device
		if !d.native || n.spec.source != zigbeeSource {
			continue
		}
		d.native = false
		topics := m.shadows[d.id]
		delete(m.shadows, d.id)
		for _, topic := range topics {
			a := m.owned[topic]
			if a == nil || a.owner != d.id {
				continue
			}
			specs := a.shadow
			a.shadow, a.owner = nil, ""
			for _, s := range specs {
				if placed := m.place(t, dr, topic, s); placed != nil {
					a.nodes = append(a.nodes, placed)
				}
			}
		}
	}
}
