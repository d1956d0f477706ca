package devices

import (
	"encoding/json"
	"time"

	"lar.home/mqtt"
)

// Last values are kept lazily: gathered for keepEvery, then handed to the
// store, flushBatch entities at a time. Those of an entity that was kept less
// than keepAgain ago are gathered for as long: who changes every minute says
// it again a minute after a power cut, and 200 of them would write 40 MB a day.
const (
	keepEvery  = 30 * time.Second
	keepAgain  = 10 * time.Minute
	flushBatch = 200
	flushPause = 20 * time.Millisecond
)

// A keptValue is a reading as it is stored.
type keptValue struct {
	Bool    *bool    `json:"b,omitempty"`
	Num     *float64 `json:"n,omitempty"`
	Str     *string  `json:"s,omitempty"`
	At      int64    `json:"at,omitempty"` // unix milliseconds
	Changed int64    `json:"ch,omitempty"`
	Loose   bool     `json:"u,omitempty"` // At is of a clock that could not be trusted
	Ended   bool     `json:"e,omitempty"` // by expire_after: nobody knows it any more
}

// remember notes that an entity's readings are to be kept.
func (m *Model) remember(t *mqtt.Turn, n *node) {
	if n.dirty {
		return
	}
	n.dirty = true
	if n.kept != 0 && t.Now.Run < n.kept+keepAgain {
		m.often.add(n, t.Now.Run+keepAgain)
		return
	}
	m.dirty.add(n, t.Now.Run+keepEvery)
}

// An unkept is a list of entities whose readings are to be kept at a time.
type unkept struct {
	nodes []*node
	at    time.Duration // 0: there are none
}

func (u *unkept) add(n *node, at time.Duration) {
	u.nodes = append(u.nodes, n)
	if u.at == 0 {
		u.at = at
	}
}

func (u *unkept) due(now time.Duration) bool { return u.at > 0 && now >= u.at }

// Flush hands all last values that are not kept yet to the store: at a clean
// stop nothing is lost.
func (m *Model) Flush(t *mqtt.Turn) {
	m.flush(t, &m.dirty, len(m.dirty.nodes))
	m.flush(t, &m.often, len(m.often.nodes))
	for _, d := range m.devices {
		m.keepHealth(t, d, true)
	}
	m.finish(t)
}

// Keep writes the last values of an entity with the turn: somebody relies on
// them after a power cut. One that is not known has none.
func (m *Model) Keep(t *mqtt.Turn, entityID string) {
	if n := m.nodes[entityID]; n != nil {
		t.Write(recordKey('v', n.id), encodeValues(t.Now, n))
	}
}

func (m *Model) flush(t *mqtt.Turn, u *unkept, most int) {
	n := min(most, len(u.nodes))
	for _, node := range u.nodes[:n] {
		node.dirty = false
		if m.nodes[node.id] == node {
			node.kept = max(t.Now.Run, 1)
			t.Lazy(recordKey('v', node.id), encodeValues(t.Now, node))
			m.keepHealth(t, node.device, false)
		}
	}
	clear(u.nodes[:n])
	if u.nodes = u.nodes[n:]; len(u.nodes) > 0 {
		u.at = t.Now.Run + flushPause
		return
	}
	u.nodes, u.at = nil, 0
}

func encodeValues(now mqtt.Now, n *node) []byte {
	s := n.live.Load()
	kept := make(map[string]keptValue, len(n.spec.aspects))
	for i, a := range n.spec.aspects {
		r := s.Readings[i]
		ended := n.lapsed != nil && !r.Value.Known()
		if ended {
			r = n.lapsed[i]
		}
		k := keptValue{At: r.At.UnixMilli(), Changed: r.Changed.UnixMilli(), Loose: n.loose, Ended: ended}
		if !r.Restored {
			if k.Loose = !now.Trusted; now.Trusted { // the clock may have been set since
				k.At = now.Wall.Add(r.Heard - now.Run).UnixMilli()
			}
		}
		switch v := r.Value; v.Type {
		case Bool:
			k.Bool = &v.Bool
		case Number:
			k.Num = &v.Num
		case Text:
			if a.Secret || len(v.Str) > maxName {
				continue // a long text is not worth the card's wear
			}
			k.Str = &v.Str
		default:
			continue
		}
		kept[a.Name] = k
	}
	value, err := json.Marshal(kept)
	if err != nil {
		return nil // numbers are finite: it cannot happen
	}
	return value
}

// restore returns the readings of an entity that has just appeared: its last
// values, marked as from before, and used once. lapsed are those that had ended
// by then, nil if none had. loose tells that their times are of a clock that
// could not be trusted.
func (m *memory) restore(id string, aspects []Aspect) (readings, lapsed []Reading, loose bool) {
	readings = make([]Reading, len(aspects))
	value := m.values[id]
	delete(m.values, id)
	var kept map[string]keptValue
	if value == nil || json.Unmarshal(value, &kept) != nil {
		return readings, nil, false
	}
	for i, a := range aspects {
		k, ok := kept[a.Name]
		if !ok {
			continue
		}
		var v Value
		switch {
		case k.Bool != nil && a.Type == Bool:
			v = BoolValue(*k.Bool)
		case k.Num != nil && a.Type == Number:
			v = NumberValue(*k.Num)
		case k.Str != nil && a.Type != Bool && a.Type != Number:
			v = TextValue(*k.Str)
		default:
			continue
		}
		to := readings
		if k.Ended {
			if lapsed == nil {
				lapsed = make([]Reading, len(aspects))
			}
			to = lapsed
		}
		to[i] = Reading{Value: v, At: time.UnixMilli(k.At), Changed: time.UnixMilli(k.Changed), Restored: true}
		loose = loose || k.Loose
	}
	return readings, lapsed, loose
}
