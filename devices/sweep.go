package devices

import (
	"time"

	"lar.home/mqtt"
)

// Sweeping happens once an hour, at most sweepBatch records each of entities
// and devices, and not in the first hour, when not everything has come back.
const (
	sweepEvery = time.Hour
	sweepBatch = 200
)

// sweep forgets what has been gone for long. What did not come back after a
// start is gone from the first sweep on.
func (m *Model) sweep(t *mqtt.Turn) {
	if !t.Now.Trusted || t.Now.Run < m.memory.sweepAt+sweepEvery {
		return
	}
	m.memory.sweepAt = t.Now.Run
	now := t.Now.Wall.UnixMilli()
	limit := t.Now.Wall.Add(-keepGone).UnixMilli()
	left := sweepBatch
	for ident, r := range m.memory.ids {
		if left == 0 {
			break
		}
		switch {
		case m.nodes[r.ID] != nil:
		case r.Gone == 0:
			r.Gone = now
			write(t, 'i', ident, r)
			left--
		case r.Gone < limit:
			m.memory.forget(t, ident, r)
			left--
		}
	}
	left = sweepBatch
	for id, r := range m.memory.devices {
		if left == 0 {
			break
		}
		switch {
		case m.devices[id] != nil || len(m.shadows[id]) > 0:
		case r.Gone == 0:
			r.Gone = now
			write(t, 'd', id, r)
			left--
		case r.Gone < limit:
			m.memory.forgetDevice(t, id, r)
			left--
		}
	}
}

// forget drops an entity's ID and values.
func (m *memory) forget(t *mqtt.Turn, ident string, r *identity) {
	delete(m.ids, ident)
	for from, as := range m.aliases {
		if as == ident {
			delete(m.aliases, from)
			t.Write(recordKey('m', from), nil)
		}
	}
	delete(m.owners, r.ID)
	delete(m.values, r.ID)
	m.impersonal(t, r.ID)
	if m.forgot != nil {
		m.forgot(t, r.ID)
	}
	t.Write(recordKey('i', ident), nil)
	t.Write(recordKey('v', r.ID), nil)
}

// forgetDevice drops a device's identifiers and what a person set on it.
func (m *memory) forgetDevice(t *mqtt.Turn, id string, r *deviceRecord) {
	for _, ident := range r.Identifiers {
		if m.known[ident] == id {
			delete(m.known, ident)
		}
	}
	delete(m.devices, id)
	delete(m.healths, id)
	if m.tombs[id] != nil {
		delete(m.tombs, id)
		t.Write(recordKey('t', id), nil)
	}
	t.Write(recordKey('d', id), nil)
	t.Write(recordKey('h', id), nil)
	m.impersonal(t, id)
}

// impersonal drops what a person set on a device or an entity.
func (m *memory) impersonal(t *mqtt.Turn, id string) {
	if m.persons[id] != nil {
		delete(m.persons, id)
		t.Write(recordKey('p', id), nil)
	}
}
