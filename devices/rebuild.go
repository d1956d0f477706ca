package devices

import "lar.home/mqtt"

// Rebuild begins anew with what the store holds, after a panic that may have
// left what is in memory half-changed. All that was written must be on disk;
// then the broker wakes the model and brings it what is retained, as at a
// start. Last values are taken over, also those that were to be kept in the next
// minutes: they are never changed, only replaced. After an error it is as it
// was.
func (m *Model) Rebuild(t *mqtt.Turn) error {
	was := m.decided
	if err := m.begin(); err != nil {
		m.decided = was
		return err
	}
	// It is the same boot: what answers our birth message is no news, and who
	// waits for a gateway is told.
	m.births, m.birth, m.memory.sweepAt = was.births, was.birth, was.memory.sweepAt
	m.requests, m.transactions = was.requests, was.transactions
	for id, n := range was.nodes {
		s := n.live.Load()
		if s == nil || len(s.Readings) != len(n.spec.aspects) {
			continue
		}
		m.memory.values[id] = encodeValues(t.Now, n)
		if n.dirty {
			t.Lazy(recordKey('v', id), m.memory.values[id])
		}
	}
	for id, d := range was.devices {
		if d.health != nil && d.health.run != 0 {
			m.memory.healths[id] = d.health.encode()
			t.Lazy(recordKey('h', id), m.memory.healths[id])
		}
	}
	return nil
}
