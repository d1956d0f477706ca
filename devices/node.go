package devices

import (
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lar.home/mqtt"
)

// A node is an entity as the model works with it.
type node struct {
	id     string
	topic  string // of its discovery message
	spec   *spec
	device *device
	group  *availability // nil: always available
	live   *atomic.Pointer[State]
	public *Entity

	offAt    time.Duration // off_delay ends; 0 if not running
	expireAt time.Duration // expire_after ends
	queued   time.Duration // place in the agenda; 0 if not there
	loose    bool          // its restored readings have times of a clock that was not
	lapsed   []Reading     // that expire_after has ended, until a live one comes; nil: none
	dirty    bool
	kept     time.Duration // when its readings were kept last; 0: not in this run
}

// due returns the earlier deadline of the node; 0 if it has none.
func (n *node) due() time.Duration {
	if n.offAt == 0 || n.expireAt != 0 && n.expireAt < n.offAt {
		return n.expireAt
	}
	return n.offAt
}

// A changeSet collects what a turn changes.
type changeSet struct {
	old     bool          // what is being applied was known before
	message *mqtt.Message // that is being applied
	changes []Change
	lent    []Change // to watchers
	nodes   []*node  // parallel to changes
	touched []*device
	layout  bool // groups or rooms are others
}

// take returns the changes and begins anew.
func (c *changeSet) take() []Change {
	for i := range c.changes {
		c.changes[i].Entity = c.nodes[i].public
	}
	c.changes, c.lent = c.lent[:0], c.changes
	c.nodes = c.nodes[:0]
	return c.lent
}

func (c *changeSet) add(n *node, ch Change) {
	ch.Message = c.message
	c.changes = append(c.changes, ch)
	c.nodes = append(c.nodes, n)
}

// touch marks a device whose description must be published again.
func (c *changeSet) touch(d *device) {
	if !slices.Contains(c.touched, d) {
		c.touched = append(c.touched, d)
	}
}

// apply sets values of an entity that a message brought.
func (m *Model) apply(t *mqtt.Turn, n *node, updates []update, past bool) {
	if len(updates) == 0 {
		return
	}
	if m.set(t, n, updates, past) && n.spec.expireAfter > 0 {
		n.expireAt = t.Now.Run + n.spec.expireAfter
		delete(m.unplaced, n.id)
		m.schedule(n)
	}
	if n.spec.offDelay > 0 {
		n.offAt = 0
		if updates[len(updates)-1].value.Bool {
			n.offAt = t.Now.Run + n.spec.offDelay
			m.schedule(n)
		}
	}
}

// set swaps in a state with new values and notes what has changed. It tells
// whether any was heard: of an entity whose values expire, what is retained and
// was known before was heard then.
func (m *Model) set(t *mqtt.Turn, n *node, updates []update, past bool) (heard bool) {
	if !past {
		n.lapsed = nil
	}
	before := n.live.Load()
	after := before.clone()
	for _, u := range updates {
		r := &after.Readings[u.aspect]
		old := r.Value
		if past && n.spec.expireAfter > 0 && (old == u.value || n.lapsed != nil && !old.Known() && n.lapsed[u.aspect].Value == u.value) {
			continue
		}
		heard = true
		n.loose = n.loose || past && !t.Now.Trusted
		// A press known from before the start and said again is no press.
		again := u.event && r.Restored && old == u.value && m.answers(t, 0)
		// A value from before the start may be older than what others have on
		// disk: the first live one is told, also when it is the same.
		first := r.Restored && !past
		r.Restored = past
		r.At, r.Heard = t.Now.Wall, t.Now.Run
		if old != u.value {
			u.value.Str = strings.Clone(u.value.Str) // it must not hold the whole message
			r.Value, r.Changed, r.Since, r.Placed = u.value, t.Now.Wall, t.Now.Run, true
		} else if !u.event && !first && (!n.spec.forced || past || u.aspect != 0) {
			continue
		}
		if u.event && past {
			continue // a button that was pressed once is not pressed now
		}
		if u.counter != 0 {
			if n := before.Readings[u.counter].Value; !n.Known() || n == after.Readings[u.counter].Value {
				continue
			}
		}
		m.c.add(n, Change{Aspect: n.spec.aspects[u.aspect].Name, Old: old, New: u.value,
			Available: after.Available, News: !m.c.old && !again, Event: u.event})
	}
	if !heard {
		return false
	}
	if n.spec.derive != nil {
		m.derive(t, n, after, past)
	}
	n.live.Store(after)
	m.remember(t, n)
	return true
}

// clone returns a copy to change. Most entities have one aspect: theirs is one
// piece of memory.
func (s *State) clone() *State {
	if len(s.Readings) == 1 {
		one := &struct {
			State
			reading [1]Reading
		}{}
		one.State, one.reading[0] = *s, s.Readings[0]
		one.Readings = one.reading[:]
		return &one.State
	}
	return &State{Available: s.Available, Readings: slices.Clone(s.Readings)}
}

// derive sets aspects that follow from others.
func (m *Model) derive(t *mqtt.Turn, n *node, s *State, past bool) {
	values := make([]Value, len(s.Readings))
	for i, r := range s.Readings {
		values[i] = r.Value
	}
	n.spec.derive(values)
	for i, v := range values {
		r := &s.Readings[i]
		if r.Value == v {
			continue
		}
		m.c.add(n, Change{Aspect: n.spec.aspects[i].Name, Old: r.Value, New: v, Available: s.Available, News: !m.c.old})
		*r = Reading{Value: v, At: t.Now.Wall, Changed: t.Now.Wall, Restored: past, Heard: t.Now.Run, Since: t.Now.Run, Placed: true}
	}
}

// expire does what is due at an entity.
func (m *Model) expire(t *mqtt.Turn, n *node) {
	now := t.Now.Run
	if n.offAt != 0 && n.offAt <= now {
		n.offAt = 0
		m.set(t, n, []update{{aspect: 0, value: BoolValue(false)}}, false)
	}
	if n.expireAt != 0 && n.expireAt <= now {
		n.expireAt = 0
		m.lapse(t, n)
	}
	m.schedule(n)
}

// lapse makes all values of an entity unknown.
func (m *Model) lapse(t *mqtt.Turn, n *node) {
	lapsed := n.live.Load().Readings
	updates := make([]update, len(lapsed))
	for i := range updates {
		updates[i].aspect = i
	}
	m.set(t, n, updates, false)
	n.lapsed = lapsed
}

// resumeExpiry places the end of expire_after of an entity that has values,
// counted from when the last of them came. What came before the start is placed
// by the time of day, once that can be trusted; if it could not be then, the
// whole time begins anew.
func (m *Model) resumeExpiry(t *mqtt.Turn, n *node) {
	now, whole := t.Now, n.spec.expireAfter
	state := n.live.Load()
	var at time.Time
	heard := time.Duration(0)
	for _, r := range state.Readings {
		switch {
		case !r.Value.Known():
		case r.Heard > 0:
			heard = max(heard, r.Heard)
		case r.At.After(at):
			at = r.At
		}
	}
	delete(m.unplaced, n.id)
	switch {
	case heard > 0:
		n.expireAt = heard + whole
	case n.loose:
		n.expireAt = now.Run + whole
	case !now.Trusted:
		n.expireAt, m.unplaced[n.id] = 0, n
	default:
		// Never longer than the whole time: the clock may have been wrong.
		left := min(max(whole-now.Wall.Sub(at), 0), whole)
		if left == 0 && n.public == nil { // nobody has seen its values yet
			n.lapsed = state.Readings
			n.live.Store(&State{Available: state.Available, Readings: make([]Reading, len(state.Readings))})
			m.remember(t, n)
			return
		}
		n.expireAt = max(now.Run+left, 1)
	}
	m.schedule(n)
}

// followClock places what has waited for a clock that can be trusted.
func (m *Model) followClock(t *mqtt.Turn) {
	if !t.Now.Trusted {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(m.unplaced)) {
		m.resumeExpiry(t, m.unplaced[id])
	}
}

// schedule puts the entity's next deadline on the agenda. A deadline that
// moves on stays where it is and is looked at again when it comes.
func (m *Model) schedule(n *node) {
	if at := n.due(); at != 0 && (n.queued == 0 || at < n.queued) {
		n.queued = at
		m.agenda.push(at, n)
	}
}

// An availability is what is known of a set of entities that declare theirs in
// the same way.
type availability struct {
	spec      *availSpec
	heard     []int // by source: availSilent, availYes, availNo
	latest    int
	available bool
	nodes     []*node
}

// heard notes what a source said of the entities of a group.
func (m *Model) heard(g *availability, source int, yes bool) {
	g.latest = availNo
	if yes {
		g.latest = availYes
	}
	g.heard[source] = g.latest
	available := false
	switch g.spec.mode {
	case "all":
		available = !slices.ContainsFunc(g.heard, func(h int) bool { return h != availYes })
	case "any":
		available = slices.Contains(g.heard, availYes)
	case "unless":
		available = !slices.Contains(g.heard, availNo)
	default:
		available = yes
	}
	if available == g.available {
		return
	}
	g.available = available
	for _, n := range g.nodes {
		m.reach(n, available)
	}
}

// reach swaps in a state with another availability.
func (m *Model) reach(n *node, available bool) {
	s := n.live.Load()
	if s.Available == available {
		return
	}
	n.live.Store(&State{Available: available, Readings: s.Readings})
	m.c.add(n, Change{Available: available, News: !m.c.old})
}

// An agenda is a heap of deadlines.
type agenda struct {
	items []appointment
}

type appointment struct {
	at   time.Duration
	node *node
}

func (a *agenda) push(at time.Duration, n *node) {
	a.items = append(a.items, appointment{at, n})
	for i := len(a.items) - 1; i > 0; {
		parent := (i - 1) / 2
		if a.items[parent].at <= a.items[i].at {
			break
		}
		a.items[parent], a.items[i] = a.items[i], a.items[parent]
		i = parent
	}
}

func (a *agenda) pop() appointment {
	top := a.items[0]
	n := len(a.items) - 1
	a.items[0] = a.items[n]
	a.items[n] = appointment{}
	a.items = a.items[:n]
	for i := 0; ; {
		child := 2*i + 1
		if child >= n {
			return top
		}
		if child+1 < n && a.items[child+1].at < a.items[child].at {
			child++
		}
		if a.items[i].at <= a.items[child].at {
			return top
		}
		a.items[i], a.items[child] = a.items[child], a.items[i]
		i = child
	}
}

// next returns the earliest deadline.
func (a *agenda) next() (time.Duration, bool) {
	for len(a.items) > 0 {
		top := a.items[0]
		if top.node.queued == top.at { // else replaced by an earlier one
			return top.at, true
		}
		a.pop()
	}
	return 0, false
}

// due takes the next entity whose deadline has come; those that have moved on
// are put back.
func (a *agenda) due(now time.Duration) (*node, bool) {
	for {
		at, ok := a.next()
		if !ok || at > now {
			return nil, false
		}
		n := a.pop().node
		n.queued = 0
		switch real := n.due(); {
		case real == 0:
		case real > now:
			n.queued = real
			a.push(real, n)
		default:
			return n, true
		}
	}
}
