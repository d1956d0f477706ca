package automations

import (
	"slices"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// steady is by how much the wall clock may drift from the time since start
// before the deadlines of the wall are placed anew.
const steady = 20 * time.Millisecond

// wrongAhead is how far in the future an instant that was done may lie; beyond
// it the clock was wrong then, and the instant is forgotten.
const wrongAhead = 25 * time.Hour

// follow places what follows the clock on the wall, and what counts from the
// start, when it has not been yet, and again when the clock was set or its
// trust has changed.
func (e *Engine) follow(t *mqtt.Turn) {
	first := !e.followed
	offset := t.Now.Wall.Sub(time.Unix(0, 0)) - t.Now.Run
	moved := (offset - e.wallOffset).Abs() > steady
	if !first && !moved && t.Now.Trusted == e.wallTrusted {
		return
	}
	e.followed, e.wallOffset, e.wallTrusted = true, offset, t.Now.Trusted
	for _, r := range e.order {
		if !r.live() {
			continue
		}
		if first && r.def.Mode == Queued {
			for _, w := range slices.Clone(r.waiting) { // the run before them may not have been read
				e.promote(t, r, w.key)
			}
		}
		for i := range r.def.Triggers {
			switch trigger := &r.def.Triggers[i]; {
			case r.plans[i] != nil:
				e.planNext(t, r, i)
			case trigger.Silent != nil && first:
				e.listen(t, r, i)
			case trigger.Start != nil && first:
				after := time.Duration(trigger.Start.After)
				if e.rebuilt {
					due, open := e.starts[startOf{r.id, r.def.Version, i}]
					if !open {
						continue
					}
					after = max(due-t.Now.Run, 0)
				}
				m := &r.memory[i]
				m.deadline = e.deadlineIn(t, after, &deadline{rule: r, trigger: i})
			}
		}
	}
}

// planNext places the next instant of a trigger of the clock. Without a clock
// to trust there is none.
func (e *Engine) planNext(t *mqtt.Turn, r *rule, trigger int) {
	m, now := &r.memory[trigger], t.Now.Wall
	e.cancel(m.deadline)
	m.deadline = nil
	if !t.Now.Trusted {
		return
	}
	if zero := m.last.IsZero(); zero || m.last.Sub(now) > wrongAhead {
		if m.known, m.last = true, now.Round(0); zero { // what came since, unknown while there was no clock to trust, was missed
			m.last = m.last.Add(m.since - t.Now.Run)
		}
		e.keepMemory(t, r, trigger)
	}
	at, ok := r.plans[trigger].next(m.last)
	if !ok {
		return
	}
	m.planned = at
	d := &deadline{rule: r, trigger: trigger, wall: at, trusted: true}
	d.due = t.Now.Run + max(at.Sub(now), 0)
	e.deadlines.add(d)
	m.deadline = d
}

// onTime acts on an instant of a trigger of the clock that has come. Of several
// that were missed only the last is done.
func (e *Engine) onTime(t *mqtt.Turn, r *rule, trigger int) {
	m, now := &r.memory[trigger], t.Now.Wall
	m.deadline = nil
	if !t.Now.Trusted {
		return
	}
	if m.planned.After(now) { // the clock goes a little slower than time
		e.planNext(t, r, trigger)
		return
	}
	planned := m.planned
	earlier := lastOf(r.plans[trigger], m.last, now, MaxNotRuns+1)
	if n := len(earlier); n > 0 {
		earlier, planned = earlier[:n-1], earlier[n-1]
	}
	m.known, m.last = true, planned.Round(0)
	e.keepMemory(t, r, trigger)
	e.planNext(t, r, trigger)
	for _, at := range earlier {
		e.missed(t, r, trigger, at, "It was missed; a later one counts.")
	}
	if now.Sub(planned) > r.def.CatchUp.limit(time.Hour) {
		e.missed(t, r, trigger, planned, "It was missed, and is too old to be done late.")
		return
	}
	e.trigger(t, r, &event{cause: e.causeOf(r, trigger, Cause{Kind: ByTime, Planned: planned}), index: trigger, durable: true})
}

// missed keeps a trace of an instant that was not acted on.
func (e *Engine) missed(t *mqtt.Turn, r *rule, trigger int, planned time.Time, why string) {
	r.seq++
	o := &event{cause: e.causeOf(r, trigger, Cause{Kind: ByTime, Planned: planned})}
	e.skip(t, r, o, e.now.ordinal, nil, why)
	e.now.ordinal++
}

func (e *Engine) causeOf(r *rule, trigger int, c Cause) Cause {
	c.Trigger, c.Of = r.def.Triggers[trigger].ID, r.def.Triggers[trigger].kind()
	if c.Of == string(c.Kind) {
		c.Of = ""
	}
	c.Planned = c.Planned.Round(0)
	return c
}

// listen begins the time of a silence anew.
func (e *Engine) listen(t *mqtt.Turn, r *rule, trigger int) {
	m := &r.memory[trigger]
	e.cancel(m.deadline)
	if m.holds && !m.last.IsZero() && e.heardSince(r.def.Triggers[trigger].Silent.Entity, m.last) {
		e.heardAgain(t, r, trigger)
	}
	m.heard = t.Now.Run
	m.deadline = e.deadlineIn(t, time.Duration(r.def.Triggers[trigger].Silent.For), &deadline{rule: r, trigger: trigger})
}

// heardSince tells whether something was heard of an entity after an instant;
// it is asked before retained messages come.
func (e *Engine) heardSince(id string, than time.Time) bool {
	h := e.house()
	if h == nil || h.Entity(id) == nil {
		return false
	}
	return slices.ContainsFunc(h.Entity(id).State().Readings, func(r devices.Reading) bool { return r.At.After(than) })
}

// hear notes that something live came on a topic.
func (e *Engine) hear(t *mqtt.Turn, r *rule, trigger int) {
	m := &r.memory[trigger]
	if m.heard = t.Now.Run; m.holds {
		e.heardAgain(t, r, trigger)
	}
}

// heardAgain notes that a silence has ended: another one counts.
func (e *Engine) heardAgain(t *mqtt.Turn, r *rule, trigger int) {
	m := &r.memory[trigger]
	m.known, m.holds = true, false
	e.keepMemory(t, r, trigger)
}

// silent looks whether a time has passed in silence. What was heard meanwhile
// moved the end of it on; that costs nothing as it is heard.
func (e *Engine) silent(t *mqtt.Turn, r *rule, trigger int) {
	s, m := r.def.Triggers[trigger].Silent, &r.memory[trigger]
	m.deadline = nil
	heard := m.heard
	if s.Entity != "" {
		if h := e.house(); h != nil {
			if entity := h.Entity(s.Entity); entity != nil {
				for _, reading := range entity.State().Readings {
					if !reading.Restored {
						heard = max(heard, reading.Heard)
					}
				}
			}
		}
	}
	again := heard > m.heard || heard > m.silentAt
	m.heard = heard
	if end := heard + time.Duration(s.For); end > t.Now.Run {
		if m.holds && again {
			e.heardAgain(t, r, trigger)
		}
		m.deadline = e.deadlineIn(t, end-t.Now.Run, &deadline{rule: r, trigger: trigger})
		return
	}
	m.deadline = e.deadlineIn(t, time.Duration(s.For), &deadline{rule: r, trigger: trigger})
	if m.holds {
		return
	}
	*m = memory{known: true, holds: true, heard: heard, silentAt: t.Now.Run, last: t.Now.Wall.Round(0), deadline: m.deadline}
	e.keepMemory(t, r, trigger)
	e.trigger(t, r, &event{cause: e.causeOf(r, trigger, Cause{Kind: BySilence, Entity: s.Entity, Topic: s.Filter, Held: s.For}), index: trigger, durable: true, entity: s.Entity})
}

// due acts on a deadline of a trigger.
func (e *Engine) due(t *mqtt.Turn, r *rule, trigger int) {
	switch at := &r.def.Triggers[trigger]; {
	case r.plans[trigger] != nil:
		e.onTime(t, r, trigger)
	case at.Silent != nil:
		e.silent(t, r, trigger)
	case at.Start != nil:
		r.memory[trigger].deadline = nil
		e.trigger(t, r, &event{cause: e.causeOf(r, trigger, Cause{Kind: ByStart}), index: trigger, durable: true})
	default:
		e.held(t, r, trigger)
	}
}

// plansOf returns the schedules of a version's triggers.
func (e *Engine) plansOf(def *Rule) []schedule {
	plans := make([]schedule, len(def.Triggers))
	for i := range def.Triggers {
		plans[i] = def.Triggers[i].plan(e.location, e.home)
	}
	return plans
}
