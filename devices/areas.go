package devices

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"lar.home/mqtt"
)

// An Area is a room of which more is kept than its name: the floor it is on,
// its icon. Rooms without a record are those that devices are in.
type Area struct {
	Name  string `json:"-"`
	Floor string `json:"floor,omitempty"`
	Icon  string `json:"icon,omitempty"`
}

// Areas returns the rooms that have a record, by name.
func (h *House) Areas() []*Area {
	if h.layout == nil {
		return nil
	}
	return h.layout.areas
}

// Area returns what is kept of a room; of one without a record just its name.
func (h *House) Area(name string) Area {
	if h.layout != nil && h.layout.byName[name] != nil {
		return *h.layout.byName[name]
	}
	return Area{Name: name}
}

// Floors returns the floors that rooms are on, by name.
func (h *House) Floors() []string {
	var list []string
	for _, a := range h.Areas() {
		if a.Floor != "" && !slices.Contains(list, a.Floor) {
			list = append(list, a.Floor)
		}
	}
	slices.Sort(list)
	return list
}

// maxMoved is how many devices, parts and groups one renaming of a room may
// move.
const maxMoved = 2000

// EditArea keeps floor and icon of a room and, if to.Name is another name,
// renames it: what is in it moves along, also what said itself that it is
// there. An empty name makes a new room.
func (m *Model) EditArea(t *mqtt.Turn, name string, to Area) error {
	p := Personal{Name: to.Name, Area: to.Floor, Icon: to.Icon}
	if err := p.check(); err != nil {
		return err
	}
	to.Name, to.Floor, to.Icon = p.Name, p.Area, p.Icon
	if to.Name == "" {
		return errors.New("a room has a name")
	}
	if m.memory.areas[to.Name] == nil && len(m.memory.areas) >= MaxAreas {
		return fmt.Errorf("the house has at most %d rooms", MaxAreas)
	}
	if name != "" && to.Name != name {
		if err := m.moveArea(t, name, to.Name, true); err != nil {
			return err
		}
		m.dropArea(t, name)
	}
	m.memory.areas[to.Name] = &to
	write(t, 'a', to.Name, &to)
	m.arrange()
	m.finish(t)
	return nil
}

// RemoveArea ends a room: what a person put there is nowhere. What says itself
// that it is there stays.
func (m *Model) RemoveArea(t *mqtt.Turn, name string) error {
	if err := m.moveArea(t, name, "", false); err != nil {
		return err
	}
	m.dropArea(t, name)
	m.arrange()
	m.finish(t)
	return nil
}

func (m *Model) dropArea(t *mqtt.Turn, name string) {
	if m.memory.areas[name] != nil {
		delete(m.memory.areas, name)
		t.Write(recordKey('a', name), nil)
	}
}

// moveArea puts what is in a room into another one; with all, also devices
// that are there by their own account.
func (m *Model) moveArea(t *mqtt.Turn, from, to string, all bool) error {
	var ids []string
	for id, p := range m.memory.persons {
		if p.Area == from {
			ids = append(ids, id)
		}
	}
	if all {
		for id, d := range m.devices {
			if d.public != nil && d.public.Area == from && !slices.Contains(ids, id) {
				ids = append(ids, id)
			}
		}
	}
	if len(ids) > maxMoved {
		return fmt.Errorf("there is too much in %q to move at once", from)
	}
	for _, id := range slices.Sorted(slices.Values(ids)) {
		p := Personal{}
		if old := m.memory.persons[id]; old != nil {
			p = *old
		}
		if p.Area = to; p == (Personal{}) {
			m.memory.impersonal(t, id)
		} else {
			m.memory.persons[id] = &p
			write(t, 'p', id, &p)
		}
		if d := m.devices[id]; d != nil {
			m.c.touch(d)
		} else if n := m.nodes[id]; n != nil {
			m.c.touch(n.device)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(m.memory.groups)) {
		if g := m.memory.groups[id]; g.Area == from {
			next := *g
			next.Area = to
			m.memory.groups[id] = &next
			write(t, 'g', id, &next)
		}
	}
	return nil
}
