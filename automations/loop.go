package automations

import (
	"fmt"
	"slices"

	"lar.home/mqtt"
)

// A link tells which run of a turn set off which: a rule that sets itself off
// is found by it, and others that merely see what it does are left alone.
type link struct {
	rule *rule
	by   *link // nil: something from outside, or a deadline
	// before are the rules that led to it in earlier turns.
	before []string
}

// maxBefore bounds the rules that are remembered to have led to a run.
const maxBefore = 32

// rules are those that have led to what a run does, its own included.
func (l *link) rules() []string {
	var list []string
	add := func(id string) {
		if len(list) < maxBefore && !slices.Contains(list, id) {
			list = append(list, id)
		}
	}
	for ; l != nil; l = l.by {
		add(l.rule.id)
		for _, id := range l.before {
			add(id)
		}
	}
	return list
}

// earlier tells whether it began in an earlier turn.
func (l *link) earlier() bool {
	for ; l != nil; l = l.by {
		if len(l.before) > 0 {
			return true
		}
	}
	return false
}

// makes notes that a run has made a message in this turn.
func (e *Engine) makes(m *mqtt.Message, by *link) {
	if e.now.made == nil {
		e.now.made = map[*mqtt.Message]*link{}
	}
	e.now.made[m] = by
}

// madeBy returns the run of this turn that made a message, or nil.
func (e *Engine) madeBy(m *mqtt.Message) *link {
	if m == nil || len(e.now.made) == 0 {
		return nil
	}
	return e.now.made[m]
}

// looping tells why a rule must not be triggered once more in this turn, or
// nothing: it has set itself off, and the chain from one to the next is as
// long as a turn allows, or there were too many of them.
func (e *Engine) looping(t *mqtt.Turn, r *rule, o *event) string {
	length, own := 0, false
	for l := o.by; l != nil; l = l.by {
		length++
		own = own || l.rule == r || slices.Contains(l.before, r.id)
	}
	if !own {
		return ""
	}
	if e.now.loops == nil {
		e.now.loops = map[*rule]int{}
	}
	e.now.loops[r]++
	switch {
	case length >= MaxHops || o.hop >= MaxHops: // what it sends now is dropped by the broker
		return "Paused: it sets itself off without end."
	case e.now.loops[r] > MaxRunsInTurn:
		return fmt.Sprintf("Paused: it set itself off more than %d times at once.", MaxRunsInTurn)
	case e.overLimit(t, r, o.by):
		return "Paused: it set itself off more often than its limit allows."
	}
	return ""
}
