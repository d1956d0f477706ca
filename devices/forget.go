package devices

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lar.home/mqtt"
)

// UndoWithin is for how long a device that was forgotten can be taken back.
const UndoWithin = 30 * time.Second

const (
	// buryTopics is how many retained messages are cleared in one turn.
	buryTopics = 64
	// tellAgain is when who keeps something of a forgotten device is told again.
	tellAgain = time.Minute
	// buryPause is the time between two such turns.
	buryPause = 20 * time.Millisecond
	// maxTombs is how many forgotten devices are remembered.
	maxTombs = MaxDevices
)

// A tomb says that a device was forgotten: what is announced of it without its
// own doing does not bring it back, be it retained or in a gateway's list. It
// goes when the device speaks live. That of a device of discovery goes, too,
// once the messages that announced it are cleared.
type tomb struct {
	id     string
	at     time.Duration // when what was kept of it is swept
	topics []string      // on which it would speak

	Forgotten
	Retained []string `json:"retained,omitempty"` // its retained messages besides those that announce it
	Released bool     `json:"released,omitempty"` // others have ended what they kept of it

	Native bool `json:"native"` // a gateway has it in its list
	Buried bool `json:"buried"` // swept
}

// A Forgotten is a device that was forgotten, for who keeps something of it.
type Forgotten struct {
	Device   string   `json:"-"`
	Entities []string `json:"entities,omitempty"`
	// Client is the client that spoke for this device and for no other, and
	// Identity as whom it came; empty if there is none.
	Client   string `json:"client,omitempty"`
	Identity string `json:"who,omitempty"`
}

// spokenBy notes which client speaks for a device.
func (m *Model) spokenBy(t *mqtt.Turn, d *device, client string) {
	r, name := m.memory.devices[d.id], cut(client, maxName)
	if r == nil || r.Client == name {
		return
	}
	r.Client, r.Identity = name, ""
	if m.identity != nil {
		r.Identity = m.identity(client)
	}
	m.speaks(d, name)
	if value, err := json.Marshal(r); err == nil {
		t.Lazy(recordKey('d', d.id), value)
	}
}

// speaks sets which client speaks for a device in the house; "" for none, or
// when it goes.
func (m *Model) speaks(d *device, client string) {
	if d.client != "" {
		if m.spoken[d.client]--; m.spoken[d.client] == 0 {
			delete(m.spoken, d.client)
		}
	}
	if d.client = client; client != "" {
		m.spoken[client]++
	}
}

// alone tells whether a device is the only one for which its client speaks.
func (m *Model) alone(d *device) bool {
	return d.client != "" && m.spoken[d.client] == 1 && !d.gatewayed()
}

// ownRetained returns topics with retained messages that only this device's
// entities read.
func (m *Model) ownRetained(d *device) []string {
	var topics []string
	bytes, w := 0, m.wiring.Load()
	add := func(name string) {
		last, r := m.last[name], w.routes.get(name)
		if last == nil || !last.retain || r == nil || m.owned[name] != nil || strings.Contains(name, "/bridge/") ||
			len(topics) >= maxOwnRetained || bytes+len(name) > maxOwnBytes || slices.Contains(topics, name) {
			return
		}
		for _, b := range r.reads {
			if b.node.device != d {
				return
			}
		}
		for _, a := range r.avail {
			if slices.ContainsFunc(a.group.nodes, func(n *node) bool { return n.device != d }) {
				return
			}
		}
		if _, found := w.at(name); !found { // another may read it by a filter
			topics = append(topics, name)
			bytes += len(name)
		}
	}
	for _, n := range d.nodes {
		for i := range n.spec.reads {
			add(n.spec.reads[i].topic)
		}
		if n.group != nil {
			for i := range n.group.spec.sources {
				add(n.group.spec.sources[i].topic)
			}
		}
	}
	for _, name := range m.homieRetained(d) {
		if !slices.Contains(topics, name) {
			topics = append(topics, name)
		}
	}
	return topics
}

// maxOwnRetained is how many retained messages of a device, besides those that
// announce it, are cleared with it, and maxOwnBytes how long their topics are.
const (
	maxOwnRetained = 1000
	maxOwnBytes    = 64 << 10
)

// Forget takes a device out of the house as of this turn. For UndoWithin, Undo
// takes it back. Then its retained messages are cleared, for every hub that
// listens: those that announce it and those that only it was read from. What
// was set and learned of it is dropped, and Options.Forgotten is told. It stays
// gone, whatever is retained or in a gateway's list, until it speaks live
// itself.
func (m *Model) Forget(t *mqtt.Turn, deviceID string) error {
	d := m.devices[deviceID]
	switch {
	case d == nil:
		return fmt.Errorf("device %q: %w", cut(deviceID, maxName), ErrUnknown)
	case len(m.tombs) >= maxTombs:
		return errors.New("too many devices were forgotten")
	}
	tb := &tomb{id: d.id, at: t.Now.Run + UndoWithin, Native: d.gatewayed() || d.base == shellyBase, Retained: m.ownRetained(d)}
	for _, n := range d.nodes {
		tb.Entities = append(tb.Entities, n.id)
	}
	if r := m.memory.devices[d.id]; r != nil && m.alone(d) {
		tb.Client, tb.Identity = r.Client, r.Identity
	}
	m.tombs[d.id] = tb
	m.open = append(m.open, tb)
	write(t, 't', d.id, tb)
	dr := m.draft()
	for _, n := range slices.Clone(d.nodes) {
		if a := m.owned[n.topic]; a != nil {
			a.nodes = slices.DeleteFunc(a.nodes, func(x *node) bool { return x == n })
			m.shadow(t, dr, n.topic, a, d.id, []*spec{n.spec})
		}
		m.remove(t, dr, n)
	}
	m.commit(t, dr)
	m.finish(t)
	return nil
}

// Undo takes back a device that was forgotten less than UndoWithin ago.
func (m *Model) Undo(t *mqtt.Turn, deviceID string) error {
	tb := m.tombs[deviceID]
	if tb == nil || tb.Buried || t.Now.Run >= tb.at {
		return fmt.Errorf("device %q cannot be taken back any more: %w", cut(deviceID, maxName), ErrUnknown)
	}
	m.revive(t, tb)
	m.finish(t)
	return nil
}

// revive ends a tomb; nil is none.
func (m *Model) revive(t *mqtt.Turn, tb *tomb) {
	if tb == nil || m.tombs[tb.id] != tb {
		return
	}
	delete(m.tombs, tb.id)
	m.open = slices.DeleteFunc(m.open, func(x *tomb) bool { return x == tb })
	t.Write(recordKey('t', tb.id), nil)
	dr := m.draft()
	for _, topic := range tb.topics {
		r := m.route(dr, topic)
		r.tombs = slices.DeleteFunc(r.tombs, func(x *tomb) bool { return x == tb })
	}
	m.unveil(t, dr, tb.id)
	m.commit(t, dr)
}

// listen has a tomb hear the topics on which its device would speak, as far as
// its gateway announces it and not it itself.
func (m *Model) listen(dr *draft, tb *tomb, specs []*spec) {
	for _, s := range specs {
		if s.source != zigbeeSource {
			continue
		}
		for i := range s.reads {
			topic := s.reads[i].topic
			if strings.Contains(topic, "/bridge/") || slices.Contains(tb.topics, topic) {
				continue
			}
			tb.Native = true // if it was not when it was forgotten
			tb.topics = append(tb.topics, topic)
			r := m.route(dr, topic)
			r.tombs = append(r.tombs, tb)
		}
	}
}

// bury sweeps what was kept of forgotten devices whose time has come: some
// retained messages in each turn, then the rest.
func (m *Model) bury(t *mqtt.Turn) {
	for _, tb := range slices.Clone(m.open) {
		if t.Now.Run < tb.at {
			continue
		}
		id := tb.id
		var topics []string
		for _, topic := range m.shadows[id] {
			a := m.owned[topic]
			if a == nil {
				continue
			}
			for _, s := range a.shadow {
				if r := m.memory.ids[s.identity]; r != nil && m.nodes[r.ID] == nil {
					m.memory.forget(t, s.identity, r)
				}
			}
			if (a.base == "" || selfSpoken[a.base] != "") && len(topics) < buryTopics {
				topics = append(topics, topic)
			}
		}
		for len(tb.Retained) > 0 && len(topics) < buryTopics {
			topics = append(topics, tb.Retained[0])
			tb.Retained = tb.Retained[1:]
		}
		for _, topic := range topics {
			// It comes back to us and ends what was announced by it.
			t.Publish(&mqtt.Message{Topic: topic, Retain: true})
		}
		if len(topics) == buryTopics {
			tb.at = t.Now.Run + buryPause
			continue
		}
		if m.forgotten != nil && !tb.Released {
			tb.at = t.Now.Run + tellAgain
			f := tb.Forgotten
			f.Device = id
			m.forgotten(t, f, func(t *mqtt.Turn) {
				if m.tombs[id] == tb && !tb.Released {
					tb.Released, tb.at = true, t.Now.Run
					write(t, 't', id, tb)
					m.bury(t)
					m.finish(t)
				}
			})
			continue
		}
		m.open = slices.DeleteFunc(m.open, func(x *tomb) bool { return x == tb })
		m.ungroup(t, tb.Entities)
		delete(m.memory.healths, id)
		t.Lazy(recordKey('h', id), nil)
		m.memory.impersonal(t, id)
		if !tb.Native {
			delete(m.tombs, id)
			t.Write(recordKey('t', id), nil)
			if r := m.memory.devices[id]; r != nil {
				m.memory.forgetDevice(t, id, r)
			}
			continue
		}
		tb.Buried, tb.Entities, tb.Client, tb.Identity = true, nil, "", ""
		write(t, 't', id, tb)
	}
}
