package devices

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"lar.home/mqtt"
)

// A Personal is what somebody set on a device or an entity, apart from what it
// says itself; the zero Personal is nothing. It survives re-discovery, renames
// at the gateway, restarts, and 30 days of absence.
type Personal struct {
	Name      string `json:"name,omitempty"`
	Area      string `json:"area,omitempty"`
	Icon      string `json:"icon,omitempty"` // "mdi:lamp"
	Notes     string `json:"notes,omitempty"`
	Hidden    bool   `json:"hidden,omitempty"`
	Favourite bool   `json:"favourite,omitempty"`
}

// Bounds of what a person may set.
const (
	maxPersonalName = 100
	maxNotes        = 2000
)

// check trims what was set, or says what is allowed.
func (p *Personal) check() error {
	p.Name, p.Area = strings.TrimSpace(p.Name), strings.TrimSpace(p.Area)
	p.Icon, p.Notes = strings.TrimSpace(p.Icon), strings.TrimSpace(p.Notes)
	for _, s := range []string{p.Name, p.Area} {
		if err := checkName(s); err != nil {
			return err
		}
	}
	if name, ok := strings.CutPrefix(p.Icon, "mdi:"); p.Icon != "" && (!ok || name == "" || len(name) > 80 ||
		strings.ContainsFunc(name, func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' })) {
		return errors.New("an icon is written as mdi:lamp")
	}
	if !utf8.ValidString(p.Notes) || utf8.RuneCountInString(p.Notes) > maxNotes || strings.ContainsRune(p.Notes, 0) {
		return fmt.Errorf("notes have at most %d characters", maxNotes)
	}
	return nil
}

func checkName(s string) error {
	if utf8.RuneCountInString(s) > maxPersonalName || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("a name has at most %d characters, all on one line", maxPersonalName)
	}
	return nil
}

// SetName gives a device a name that holds whatever it calls itself; an empty
// one lets it speak for itself again.
func (m *Model) SetName(t *mqtt.Turn, deviceID, name string) error {
	return m.editDevice(t, deviceID, func(p *Personal) { p.Name = name })
}

// SetArea puts a device in a room; an empty one leaves it to the device.
func (m *Model) SetArea(t *mqtt.Turn, deviceID, area string) error {
	return m.editDevice(t, deviceID, func(p *Personal) { p.Area = area })
}

// SetDevice sets all that a person can set on a device; what is empty is left
// to the device.
func (m *Model) SetDevice(t *mqtt.Turn, deviceID string, to Personal) error {
	return m.editDevice(t, deviceID, func(p *Personal) { *p = to })
}

func (m *Model) editDevice(t *mqtt.Turn, deviceID string, change func(*Personal)) error {
	d := m.devices[deviceID]
	if d == nil {
		return fmt.Errorf("device %q: %w", cut(deviceID, maxName), ErrUnknown)
	}
	return m.personal(t, d, d.id, change)
}

// SetEntity sets all that a person can set on one entity: its name holds whole
// and is not put behind the device's; its area is where this part of the
// device is.
func (m *Model) SetEntity(t *mqtt.Turn, entityID string, to Personal) error {
	n := m.nodes[entityID]
	if n == nil {
		return fmt.Errorf("entity %q: %w", cut(entityID, maxName), ErrUnknown)
	}
	return m.personal(t, n.device, n.id, func(p *Personal) { *p = to })
}

// personal changes what a person set on a device or an entity of it. IDs of
// entities have a dot in them, those of devices have none.
func (m *Model) personal(t *mqtt.Turn, d *device, id string, change func(*Personal)) error {
	p := Personal{}
	if old := m.memory.persons[id]; old != nil {
		p = *old
	}
	was := p
	change(&p)
	if err := p.check(); err != nil {
		return err
	}
	switch {
	case p == was:
		return nil
	case p == Personal{}:
		m.memory.impersonal(t, id)
	default:
		m.memory.persons[id] = &p
		write(t, 'p', id, &p)
	}
	m.c.touch(d)
	m.finish(t)
	return nil
}
