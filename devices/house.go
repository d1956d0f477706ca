package devices

import (
	"cmp"
	"slices"
	"strings"
	"unicode/utf8"
)

// publish makes the touched devices anew and swaps in the house that has
// them. What was not touched is shared with the house before. It tells whether
// there is a new house.
func (m *Model) publish() bool {
	if len(m.c.touched) == 0 && !m.c.layout {
		return false
	}
	m.c.layout = false
	old := m.house.Load()
	devices, entities := old.devices.edit(), old.entities.edit()
	list := slices.Clone(old.Devices)
	var in []*Device
	for _, d := range m.c.touched {
		was := d.public
		if was != nil {
			for _, e := range d.public.Entities {
				// It may be another device's by now.
				if n := m.nodes[e.ID]; n == nil || n.public == e {
					entities.delete(e.ID)
				}
			}
		}
		if m.devices[d.id] != d {
			d.public = nil
			if m.devices[d.id] == nil {
				devices.delete(d.id)
			}
			list = replace(list, was, nil)
			continue
		}
		m.describe(d)
		list = replace(list, was, d.public)
		in = append(in, d.public)
		devices.set(d.id, d.public)
	}
	for _, d := range in {
		for _, e := range d.Entities {
			entities.set(e.ID, e)
		}
	}
	m.c.touched = m.c.touched[:0]

	m.house.Store(&House{Devices: list, layout: m.layout, devices: devices.done(), entities: entities.done()})
	return true
}

// replace puts a device in the place of another in a list by name; either may
// be nil.
func replace(list []*Device, was, is *Device) []*Device {
	if was != nil {
		i, found := slices.BinarySearchFunc(list, was, byName)
		if found && is != nil && is.sortKey == was.sortKey {
			list[i] = is
			return list
		}
		if found {
			list = slices.Delete(list, i, i+1)
		}
	}
	if is != nil {
		i, _ := slices.BinarySearchFunc(list, is, byName)
		list = slices.Insert(list, i, is)
	}
	return list
}

func byName(a, b *Device) int {
	return cmp.Or(strings.Compare(a.sortKey, b.sortKey), strings.Compare(a.ID, b.ID))
}

// describe makes the immutable Device of a device, with its entities. What
// its descriptions say differently is taken from the first that says it, in
// the order of entity IDs, so that the order of arrival does not matter.
func (m *Model) describe(d *device) {
	pub := &Device{ID: d.id, Source: "homeassistant", health: d.health}
	if d.gatewayed() {
		pub.Source = zigbeeSource
	} else if d.native {
		pub.Source = selfSpoken[d.base]
	}
	via := ""
	for _, n := range d.nodes {
		b := n.spec.device
		if b == nil {
			continue
		}
		for _, f := range []struct {
			to   *string
			from string
		}{
			{&pub.Name, b.Name}, {&pub.Manufacturer, b.Manufacturer}, {&pub.Model, cmp.Or(b.Model, b.ModelID)},
			{&pub.SWVersion, b.SWVersion}, {&pub.HWVersion, b.HWVersion}, {&pub.Serial, b.Serial},
			{&pub.Area, b.Area}, {&pub.ConfigURL, b.ConfigURL}, {&via, b.Via},
		} {
			if *f.to == "" {
				*f.to = f.from
			}
		}
	}
	own := pub.Name // as entity names may repeat it
	if pub.Name == "" {
		pub.Name = fallbackName(d, pub)
	}
	if p := m.memory.persons[d.id]; p != nil {
		pub.Personal = *p
		pub.Name, pub.Area = cmp.Or(p.Name, pub.Name), cmp.Or(p.Area, pub.Area)
	}
	if via != "" {
		if pub.Via = m.memory.deviceID(via); m.devices[pub.Via] == nil {
			pub.Via = ""
			m.memory.wait(via, d.id)
		}
	}
	pub.sortKey = strings.ToLower(pub.Name)
	pub.Entities = make([]*Entity, len(d.nodes))
	for i, n := range d.nodes {
		n.public = n.describe(pub, own, m.memory.persons[n.id])
		pub.Entities[i] = n.public
	}
	pub.findFacts()
	d.public = pub
}

func (n *node) describe(d *Device, own string, p *Personal) *Entity {
	s := n.spec
	e := &Entity{
		ID: n.id, Device: d, Kind: s.kind, Category: s.category,
		DeviceClass: s.deviceClass, StateClass: s.stateClass, Icon: s.icon,
		Enabled: s.enabled, Assumed: s.assumed, Problem: s.problem,
		Aspects: s.aspects, live: n.live,
	}
	e.Label = s.name
	if rest, ok := strings.CutPrefix(s.name, own); ok && own != "" {
		if rest = strings.TrimLeft(rest, " -_:"); rest != "" && len(rest) < len(s.name)-len(own) {
			_, n := utf8.DecodeRuneInString(rest)
			e.Label = strings.ToUpper(rest[:n]) + rest[n:]
		} else if rest == "" {
			e.Label = ""
		}
	}
	e.Name = d.Name
	switch {
	case s.device == nil && e.Label != "": // the device is named after it
	case e.Label != "":
		e.Name += " " + e.Label
	}
	if e.Label == "" {
		e.Label = d.Name
	}
	e.Area = d.Area
	if p != nil {
		e.Personal = *p
		e.Area, e.Icon = cmp.Or(p.Area, e.Area), cmp.Or(p.Icon, e.Icon)
		if p.Name != "" {
			e.Name, e.Label = p.Name, p.Name
		}
	}
	e.Commands = make([]Command, len(s.commands))
	for i := range s.commands {
		e.Commands[i] = s.commands[i].Command
	}
	return e
}

// fallbackName names a device whose descriptions have no name.
func fallbackName(d *device, pub *Device) string {
	if name := strings.TrimSpace(pub.Manufacturer + " " + pub.Model); name != "" {
		return name
	}
	for _, n := range d.nodes {
		if n.spec.device == nil && n.spec.name != "" {
			return n.spec.name
		}
	}
	if len(d.nodes) > 0 {
		_, object, _ := strings.Cut(d.nodes[0].id, ".")
		return object
	}
	return d.id
}
