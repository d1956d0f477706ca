package automations

import (
	"slices"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A memory is what a state trigger remembers, so that an edge is one also when
// the hub was off in between. It is written in the turn in which it flips,
// never for each sample. A trigger for any change of a number is the
// exception: its memory is written lazily, so that after a power cut it may
// come true a second time for a value seen some seconds before.
type memory struct {
	known    bool
	holds    bool
	fired    bool           // since it holds
	value    string         // the last one, of a trigger for any change
	last     time.Time      // of a trigger of the clock: the instant that was acted on last; of a silence: when it came true last
	planned  time.Time      // the one that comes next
	since    time.Duration  // Run when the trigger began to count
	heard    time.Duration  // of a silence: Run when something was heard last
	silentAt time.Duration  // Run when it came true last
	topics   *topicMemories // of a trigger that compares what comes with what was there; nil while there is nothing
	// deadline is the end of the time it must hold, if that runs.
	deadline *deadline
}

// state feeds a change to a state trigger.
func (e *Engine) state(t *mqtt.Turn, c *change) {
	f, r, value := c.ref, c.ref.rule, Value(c.New)
	if !r.live() || r.def != f.def {
		return
	}
	s, m := r.def.Triggers[f.trigger].State, &r.memory[f.trigger]
	if m.holds && s.Hysteresis > 0 && s.holds(value, c.Available) == HoldsNot && !s.released(value) {
		return // not far enough back to cross it again
	}
	if c.Event {
		// The message is the point: a button pressed once more. There is
		// nothing to remember but that it had its run.
		if c.News && (s.Change() || s.holds(value, true) == Holds) {
			e.fire(t, c, false)
		}
		return
	}
	found := !c.News && brought(t, c)
	if !c.News && !found && m.known {
		// A value from before the start, stored lazily: it may be older than
		// what the trigger remembers, and decides nothing.
		return
	}
	// A retained state that is found is news if it differs from what the
	// trigger knew: it came while nobody listened.
	news := c.News || found && m.known
	if s.Change() {
		e.stateChanges(t, c, m, news)
		return
	}
	switch s.holds(value, c.Available) {
	case Unknown:
		if m.holds && !m.fired && c.News { // the time begins anew
			e.cancel(m.deadline)
			*m = memory{known: true}
			e.keepMemory(t, r, f.trigger)
		}
	case HoldsNot:
		if m.known && !m.holds {
			return
		}
		e.cancel(m.deadline)
		*m = memory{known: true}
		e.keepMemory(t, r, f.trigger)
	case Holds:
		if m.holds {
			return
		}
		*m = memory{known: true, holds: true, value: value.String(), fired: s.For == 0 || !news || !s.cameFrom(Value(c.Old))}
		if !m.fired {
			m.deadline = e.deadlineIn(t, time.Duration(s.For), &deadline{rule: r, trigger: f.trigger})
		}
		e.keepMemory(t, r, f.trigger)
		if s.For == 0 && news && s.cameFrom(Value(c.Old)) {
			e.fire(t, c, true)
		}
	}
}

// brought tells whether a value came with a message of this turn: a retained
// one, not one that was restored as its entity was described.
func brought(t *mqtt.Turn, c *change) bool {
	if c.Message == nil {
		return false
	}
	readings := c.Entity.State().Readings
	for i := range c.Entity.Aspects {
		if c.Entity.Aspects[i].Name == c.Aspect && i < len(readings) {
			return readings[i].At.Equal(t.Now.Wall)
		}
	}
	return false
}

// restored tells whether a value is from before the start, and from before an
// instant.
func restored(e *devices.Entity, aspect string, than time.Time) bool {
	readings := e.State().Readings
	for i := range e.Aspects {
		if e.Aspects[i].Name == aspect && i < len(readings) {
			return readings[i].Restored && readings[i].At.Before(than)
		}
	}
	return true
}

// stateChanges feeds a trigger for any change of a value.
func (e *Engine) stateChanges(t *mqtt.Turn, c *change, m *memory, news bool) {
	r, trigger, value := c.ref.rule, c.ref.trigger, Value(c.New)
	if !c.Available || !value.known() || m.known && m.value == value.String() {
		return
	}
	first := !m.known || !r.def.Triggers[trigger].State.cameFrom(Value(c.Old))
	*m = memory{known: true, value: value.String()}
	number := value.Type == devices.Number
	if number && len(t.Writes()) == 0 && (c.Message == nil || !c.Message.Retain) {
		t.Lazy(memoryRecordOf(r, trigger))
	} else {
		e.keepMemory(t, r, trigger)
	}
	if !first && news {
		e.fire(t, c, !number)
	}
}

// fire triggers a rule by a change.
func (e *Engine) fire(t *mqtt.Turn, c *change, durable bool) {
	s, value := c.ref.def.Triggers[c.ref.trigger].State, Value(c.New)
	o := &event{
		cause: Cause{
			Kind: ByState, Entity: s.Entity, Aspect: s.Aspect,
			Trigger: c.ref.def.Triggers[c.ref.trigger].ID,
			From:    clip(Value(c.Old).String()), To: clip(value.String()), Value: clip(value.String()),
		},
		index:   c.ref.trigger,
		durable: durable,
		by:      c.by,
		hop:     t.Hop(),
		value:   value.String(),
		entity:  s.Entity,
	}
	if !o.repeats(c.ref.rule, c.Message) {
		e.trigger(t, c.ref.rule, o)
	}
}

// held acts on a state that has held for as long as its trigger asks for.
func (e *Engine) held(t *mqtt.Turn, r *rule, trigger int) {
	s, m := r.def.Triggers[trigger].State, &r.memory[trigger]
	began := time.Time{}
	if d := m.deadline; d != nil {
		began = d.wall.Add(-d.after)
	}
	value := Text(m.value) // as it came to hold; what is restored may be older
	if h := e.house(); h != nil {
		if entity := h.Entity(s.Entity); entity != nil {
			is, available := reading(entity, s.Aspect)
			if !available { // since before the start: the time begins anew
				*m = memory{known: true}
				e.keepMemory(t, r, trigger)
				return
			}
			if m.value == "" || !restored(entity, s.Aspect, began) {
				value = is
			}
		}
	}
	m.deadline, m.fired = nil, true
	e.keepMemory(t, r, trigger)
	cause := Cause{Kind: ByState, Entity: s.Entity, Aspect: s.Aspect, To: thresholds(s), Value: clip(value.String()), Held: s.For, Trigger: r.def.Triggers[trigger].ID}
	if s.ToAny != nil {
		cause.To = clip(value.String())
	}
	if s.To != nil {
		value = *s.To
		cause.To, cause.Value = clip(value.String()), clip(value.String())
	}
	e.trigger(t, r, &event{cause: cause, index: trigger, durable: true, value: value.String(), entity: s.Entity})
}

// baseline sets what a trigger remembers to what there is now: only what
// happens from here on triggers.
func (e *Engine) baseline(t *mqtt.Turn, r *rule, trigger int) {
	m := &r.memory[trigger]
	e.cancel(m.deadline)
	forgetTopics(t, r, r.def, trigger, m.topics)
	*m = memory{since: t.Now.Run}
	if message := r.def.Triggers[trigger].Message; message != nil && (message.remembers() || message.retained()) {
		filter, _ := plainFilter(message.Filter)
		t.Recall(e, filter)
	}
	s := r.def.Triggers[trigger].State
	if s == nil {
		if silence := r.def.Triggers[trigger].Silent; silence != nil && e.followed {
			e.listen(t, r, trigger)
		} else if r.plans[trigger] != nil && e.followed {
			e.planNext(t, r, trigger)
		} else if r.plans[trigger] != nil || silence != nil {
			e.now.again = true
		}
		return
	}
	if h := e.house(); h != nil {
		if entity := h.Entity(s.Entity); entity != nil {
			value, available := reading(entity, s.Aspect)
			if s.Change() {
				*m = memory{known: available && value.known(), value: value.String()}
			} else if result := s.holds(value, available); result != Unknown {
				*m = memory{known: true, holds: result == Holds, fired: result == Holds}
			}
		}
	}
	e.keepMemory(t, r, trigger)
}

// released tells whether a value is so far back over the thresholds that they
// can be crossed again.
func (s *StateTrigger) released(value Value) bool {
	wide := *s
	if s.Above != nil {
		above := *s.Above - s.Hysteresis
		wide.Above = &above
	}
	if s.Below != nil {
		below := *s.Below + s.Hysteresis
		wide.Below = &below
	}
	return wide.holds(value, true) != Holds
}

// forget ends what triggers of a rule remember: it is off, and its triggers
// begin anew when it is switched on.
func (e *Engine) forget(t *mqtt.Turn, r *rule) {
	e.settleIf(t, func(c *unconfirmed) bool { return c.rule == r.id })
	for i := range r.memory {
		e.cancel(r.memory[i].deadline)
		if r.memory[i].known {
			t.Write(key(recMemory, r.id, byte(i)), nil)
		}
		forgetTopics(t, r, r.def, i, r.memory[i].topics)
		r.memory[i] = memory{}
	}
	if len(r.selves) > 0 {
		r.selves = nil
		t.Write(key(recLimit, r.id), nil)
	}
}

// keepMemory writes what a trigger remembers with the turn; while the disk
// takes nothing, as soon as it does again.
func (e *Engine) keepMemory(t *mqtt.Turn, r *rule, trigger int) {
	if of := (memoryOf{r, trigger}); e.ready() != nil {
		if !slices.Contains(e.unwritten, of) {
			e.unwritten = append(e.unwritten, of)
		}
		return
	}
	k, v := memoryRecordOf(r, trigger)
	e.write(t, k, v)
}

// A memoryOf names the memory of a trigger.
type memoryOf struct {
	rule    *rule
	trigger int
}

// writeMemory writes what could not be written when it flipped.
func (e *Engine) writeMemory(t *mqtt.Turn) {
	for _, of := range e.unwritten {
		if e.rules[of.rule.id] == of.rule && of.trigger < len(of.rule.memory) {
			k, v := memoryRecordOf(of.rule, of.trigger)
			e.write(t, k, v)
		}
	}
	e.unwritten = nil
}

func memoryRecordOf(r *rule, trigger int) (k, v []byte) {
	k, m := key(recMemory, r.id, byte(trigger)), &r.memory[trigger]
	if !m.known {
		return k, nil
	}
	record := &memoryRecord{Format: format, Holds: m.holds, Fired: m.fired, Value: m.value}
	if !m.last.IsZero() {
		record.Last = &m.last
	}
	if r.def.Triggers[trigger].State != nil && m.deadline != nil {
		d := m.deadline.record()
		record.Deadline = &d
	}
	return k, encode(record)
}
