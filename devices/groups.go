package devices

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lar.home/mqtt"
)

// Bounds of what people make.
const (
	// MaxGroups is how many groups the house has at most.
	MaxGroups = 500
	// MaxMembers is how many entities a group has at most: each is told in the
	// same turn.
	MaxMembers = 100
	// MaxAreas is of how many rooms more is kept than their name.
	MaxAreas = 500
)

// A Group is a set of entities that a person shows and operates as one. It is
// never changed, only replaced.
type Group struct {
	ID        string   `json:"-"` // "group.reading_lamps"
	Name      string   `json:"name"`
	Area      string   `json:"area,omitempty"`
	Icon      string   `json:"icon,omitempty"`
	Members   []string `json:"members"` // IDs of entities, some of which may not be there
	Hidden    bool     `json:"hidden,omitempty"`
	Favourite bool     `json:"favourite,omitempty"`
}

// Group returns the group with an ID, or nil.
func (h *House) Group(id string) *Group {
	if h.layout == nil {
		return nil
	}
	return h.layout.byID[id]
}

// Groups returns the groups of the house, by name.
func (h *House) Groups() []*Group {
	if h.layout == nil {
		return nil
	}
	return h.layout.groups
}

// Members returns those entities of a group that are here, in its order.
func (h *House) Members(g *Group) []*Entity {
	var list []*Entity
	for _, id := range g.Members {
		if e := h.Entity(id); e != nil {
			list = append(list, e)
		}
	}
	return list
}

// InArea returns the primary entities of a room that are enabled, by ID.
func (h *House) InArea(name string) []*Entity {
	var list []*Entity
	for _, d := range h.Devices {
		for _, e := range d.Entities {
			if e.Area == name && e.Category == Primary && e.Enabled {
				list = append(list, e)
			}
		}
	}
	slices.SortFunc(list, func(a, b *Entity) int { return strings.Compare(a.ID, b.ID) })
	return list
}

// A layout is what people made of the house apart from its devices: groups,
// rooms and floors. It is immutable.
type layout struct {
	groups []*Group // by name
	byID   map[string]*Group
	areas  []*Area // by name
	byName map[string]*Area
}

// arrange makes the layout anew; the next House has it.
func (m *Model) arrange() {
	l := &layout{byID: m.memory.groups, byName: m.memory.areas}
	l.groups = slices.SortedFunc(maps.Values(l.byID), func(a, b *Group) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.ID, b.ID))
	})
	l.areas = slices.SortedFunc(maps.Values(l.byName), func(a, b *Area) int {
		return cmp.Or(strings.Compare(strings.ToLower(a.Name), strings.ToLower(b.Name)), strings.Compare(a.Name, b.Name))
	})
	// What readers hold is never changed.
	m.memory.groups, m.memory.areas = maps.Clone(l.byID), maps.Clone(l.byName)
	m.layout, m.c.layout = l, true
}

// check trims what was set, or says what is allowed.
func (g *Group) check() error {
	p := Personal{Name: g.Name, Area: g.Area, Icon: g.Icon}
	if err := p.check(); err != nil {
		return err
	}
	g.Name, g.Area, g.Icon = p.Name, p.Area, p.Icon
	if g.Name == "" {
		return errors.New("a group has a name")
	}
	var members []string
	for _, id := range g.Members {
		if id != "" && len(id) <= 2*maxName && !slices.Contains(members, id) {
			members = append(members, id)
		}
	}
	if g.Members = members; len(members) > MaxMembers {
		return fmt.Errorf("a group has at most %d members", MaxMembers)
	}
	return nil
}

// AddGroup makes a group and returns its ID.
func (m *Model) AddGroup(t *mqtt.Turn, g Group) (string, error) {
	if err := g.check(); err != nil {
		return "", err
	}
	if len(m.memory.groups) >= MaxGroups {
		return "", fmt.Errorf("the house has at most %d groups", MaxGroups)
	}
	base := "group." + cmp.Or(slugify(g.Name), "group")
	g.ID = base
	for i := 2; m.memory.groups[g.ID] != nil || m.nodes[g.ID] != nil; i++ {
		g.ID = base + "_" + strconv.Itoa(i)
	}
	m.putGroup(t, &g)
	return g.ID, nil
}

// SetGroup changes a group.
func (m *Model) SetGroup(t *mqtt.Turn, id string, g Group) error {
	if m.memory.groups[id] == nil {
		return fmt.Errorf("group %q: %w", cut(id, maxName), ErrUnknown)
	}
	if err := g.check(); err != nil {
		return err
	}
	g.ID = id
	m.putGroup(t, &g)
	return nil
}

func (m *Model) putGroup(t *mqtt.Turn, g *Group) {
	m.memory.groups[g.ID] = g
	write(t, 'g', g.ID, g)
	m.arrange()
	m.finish(t)
}

// RemoveGroup ends a group. Its members stay as they are.
func (m *Model) RemoveGroup(t *mqtt.Turn, id string) error {
	if m.memory.groups[id] == nil {
		return fmt.Errorf("group %q: %w", cut(id, maxName), ErrUnknown)
	}
	delete(m.memory.groups, id)
	t.Write(recordKey('g', id), nil)
	m.arrange()
	m.finish(t)
	return nil
}

// ungroup takes entities that were forgotten out of all groups.
func (m *Model) ungroup(t *mqtt.Turn, entities []string) {
	changed := false
	for id, g := range m.memory.groups {
		if !slices.ContainsFunc(g.Members, func(e string) bool { return slices.Contains(entities, e) }) {
			continue
		}
		next := *g
		next.Members = slices.DeleteFunc(slices.Clone(g.Members), func(e string) bool { return slices.Contains(entities, e) })
		m.memory.groups[id] = &next
		write(t, 'g', id, &next)
		changed = true
	}
	if changed {
		m.arrange()
	}
}

// CommandGroup tells all members of a group to do something; see CommandEach.
func (m *Model) CommandGroup(t *mqtt.Turn, id, command string, args map[string]Value) error {
	g := m.memory.groups[id]
	if g == nil {
		return fmt.Errorf("group %q: %w", cut(id, maxName), ErrUnknown)
	}
	_, err := m.CommandEach(t, g.Members, command, args)
	return err
}

// CommandEach tells several entities to do the same. Each is given those of the
// arguments that it takes: of a brightness, a plug just hears that it is to be
// on. Those that are not here or do not know the command are passed over. It
// returns how many were told, and an error if none was; if some could not be
// told for another reason, the error says it, and the others were told.
func (m *Model) CommandEach(t *mqtt.Turn, entities []string, command string, args map[string]Value) (told int, err error) {
	var errs []error
	for _, id := range entities[:min(len(entities), MaxMembers)] {
		n := m.nodes[id]
		if n == nil {
			continue
		}
		i := slices.IndexFunc(n.spec.commands, func(a action) bool { return a.Name == command })
		if i < 0 {
			continue
		}
		own := make(map[string]Value, len(args))
		for _, a := range n.spec.commands[i].Args {
			if v, ok := args[a.Name]; ok {
				own[a.Name] = v
			}
		}
		if err := m.Command(t, id, command, own); err != nil {
			errs = append(errs, err)
			continue
		}
		told++
	}
	if told == 0 && len(errs) == 0 {
		return 0, fmt.Errorf("nothing in it has a command %q", cut(command, maxName))
	}
	return told, errors.Join(errs...)
}

// GroupCommands returns the commands that a member of a group has, each once,
// with the arguments of the first that has it.
func (h *House) GroupCommands(g *Group) []Command {
	var list []Command
	for _, e := range h.Members(g) {
		for _, c := range e.Commands {
			if !slices.ContainsFunc(list, func(x Command) bool { return x.Name == c.Name }) {
				list = append(list, c)
			}
		}
	}
	return list
}
