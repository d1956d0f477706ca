package automations

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"time"

	"lar.home/mqtt"
)

// maxSteps is how many actions a run carries out in one turn; it goes on in
// the next.
const maxSteps = 200

// maxTraced is how many actions a trace keeps.
const maxTraced = 300

func (w *waiting) trace(s Step) {
	switch n := len(w.run.Actions); {
	case n < maxTraced:
		w.run.Actions = append(w.run.Actions, s)
	case n == maxTraced:
		w.run.Actions = append(w.run.Actions, Step{Text: "and more", At: s.At})
	}
}

// given is what the expressions of a run know.
func (e *Engine) given(w *thread, now mqtt.Now) *given {
	g := &given{engine: e, now: now, cause: &w.run.Trigger, topic: w.topic, payload: string(w.payload), value: string(w.value), entity: w.entity,
		captured: w.captured, vars: w.vars, durable: w.rule.vars, tooBig: w.tooBig}
	list := w.def.Actions
	for i := range w.at {
		f := &w.at[i]
		if f.Index >= len(list) {
			break
		}
		a := &list[f.Index]
		if a.Repeat != nil && f.Round > 0 {
			g.index, g.item = f.Round, nil
			if f.Round <= len(f.Items) {
				g.item = f.Items[f.Round-1]
			}
		}
		if h := f.Heard; h != nil {
			g.topic, g.payload, g.value, g.tooBig = h.Topic, string(h.Payload), string(h.Value), h.TooBig
			if len(h.Captured) > 0 {
				g.captured = h.Captured
			}
		}
		list = a.branch(f.Branch)
	}
	return g
}

// scene is what the conditions of a run are judged by.
func (e *Engine) scene(w *thread, now mqtt.Now) *scene {
	s := &scene{now: now, location: e.location, house: e.house(), home: e.home, trigger: w.run.Trigger.Trigger,
		payload: w.payload, message: w.run.Trigger.hasPayload() && !w.tooBig, engine: e}
	for i := range w.at {
		if h := w.at[i].Heard; h != nil {
			s.payload, s.message = h.Payload, !h.TooBig
		}
	}
	if s.message {
		s.parts = payloadParts(s.payload, w.def.allPaths())
	}
	return s
}

// allPaths lists the places that any condition of a rule asks for.
func (r *Rule) allPaths() []string {
	var paths []string
	walkConditions(r.allConditions(), func(c *Condition) {
		if c.Payload != nil && c.Payload.Path != "" && !slices.Contains(paths, c.Payload.Path) {
			paths = append(paths, c.Payload.Path)
		}
	})
	return paths
}

// allConditions lists those of the rule and of its actions.
func (r *Rule) allConditions() []Condition {
	list := slices.Clone(r.Conditions)
	anyAction(r.Actions, func(a *Action) bool {
		list = append(list, a.conditions()...)
		return false
	})
	return list
}

func (a *Action) conditions() (list []Condition) {
	list = append(list, a.Check...)
	switch {
	case a.If != nil:
		list = append(list, a.If.When...)
	case a.Choose != nil:
		for _, o := range a.Choose.Options {
			list = append(list, o.When...)
		}
	case a.Repeat != nil:
		list = append(append(list, a.Repeat.While...), a.Repeat.Until...)
	case a.Wait != nil:
		list = append(list, a.Wait.Until...)
	case a.Confirm != nil:
		list = append(list, a.Confirm.Until...)
	}
	return list
}

func walkConditions(list []Condition, fn func(*Condition)) {
	for i := range list {
		c := &list[i]
		fn(c)
		walkConditions(c.All, fn)
		walkConditions(c.Any, fn)
		if c.Not != nil {
			walkConditions([]Condition{*c.Not}, fn)
		}
	}
}

// holds judges conditions within a run, and says in a step what was seen.
func (e *Engine) holds(t *mqtt.Turn, w *thread, list []Condition, what string) bool {
	result, seen := e.scene(w, t.Now).judge(list, nil, func() *given { return e.given(w, t.Now) })
	if what != "" {
		text := what + ": "
		for i, s := range seen {
			if s.depth == 0 {
				if i > 0 {
					text += ", "
				}
				text += s.condition.String() + " is " + string(s.result)
			}
		}
		w.trace(Step{Text: clip(text), At: t.Now.Wall.Round(0)})
	}
	return result == Holds
}

// advance carries out a thread's actions up to its end or its next wait.
func (e *Engine) advance(t *mqtt.Turn, w *thread) {
	e.active = append(e.active, w.waiting)
	defer func() { e.active = e.active[:len(e.active)-1] }()
	rounds := 0
	for steps := 0; !w.over; steps++ {
		a, f := w.here()
		if a == nil {
			if len(w.at) == w.base+1 {
				if w.parent != nil {
					e.sideEnded(t, w, "")
				} else {
					e.end(t, w.waiting, Done, "")
				}
				return
			}
			w.at = w.at[:len(w.at)-1]
			if !e.after(t, w) {
				return
			}
			continue
		}
		if a.Repeat != nil || f.Round > 0 {
			rounds++
		}
		if steps >= maxSteps || rounds > MaxRounds { // in a turn of its own
			due := w.due
			e.pauseRun(t, w, a, 0, false)
			w.due = due
			return
		}
		if !e.carryOut(t, w, a, f) {
			return
		}
	}
}

// after goes on behind a branch that has ended; false if the thread waits or
// has ended.
func (e *Engine) after(t *mqtt.Turn, w *thread) bool {
	a, f := w.here()
	switch {
	case a.Repeat != nil:
		if len(a.Repeat.Until) > 0 && e.holds(t, w, a.Repeat.Until, "") {
			w.next()
			return true
		}
		f.Branch = ""
		return true // the next round, as an action of its own
	case a.Confirm != nil && f.Branch == inDo:
		f.Branch = inWait
		if len(a.Confirm.Until) > 0 && e.holds(t, w, a.Confirm.Until, "") {
			e.confirmed(t, w, a.Confirm.Do)
			w.next()
			return true
		}
		return e.pauseRun(t, w, a, time.Duration(a.Confirm.Within), true)
	}
	w.next()
	return true
}

// round begins the next round of a repeat, if there is one.
func (e *Engine) round(t *mqtt.Turn, w *thread, a *Action, f *frame) bool {
	r := a.Repeat
	if f.Round == 0 {
		if err := e.rounds(t, w, r, f); err != nil {
			e.fail(t, w, "It could not repeat: "+clip(err.Error())+".")
			return false
		}
	}
	most := r.Max
	if most == 0 {
		most = MaxRounds
	}
	limited := r.Max > 0 || len(r.While) > 0 || len(r.Until) > 0
	switch {
	case r.Each != nil && f.Round >= len(f.Items), r.Count.known() && f.Round >= f.Count,
		len(r.While) > 0 && !e.holds(t, w, r.While, ""):
		w.next()
		return true
	case limited && f.Round >= most:
		e.fail(t, w, fmt.Sprintf("It repeated more than %d times.", most))
		return false
	}
	f.Round++
	f.Branch = inDo
	w.at = append(w.at, frame{})
	return true
}

// rounds finds out how often, or over what, a repeat goes.
func (e *Engine) rounds(t *mqtt.Turn, w *thread, r *RepeatAction, f *frame) error {
	switch {
	case r.Count.known():
		v, err := e.resolve(r.Count, e.given(w, t.Now))
		if err != nil {
			return err
		}
		n, ok := numberOf(anyOf(v)).(float64)
		if !ok || n != math.Trunc(n) || n < 0 || n > maxCount {
			return fmt.Errorf("%s is no whole number up to %d", clip(v.String()), maxCount)
		}
		f.Count = int(n)
	case r.template() != "":
		in := e.given(w, t.Now)
		v, err := e.evaluate(r.template(), false, in)
		if err != nil {
			return err
		}
		list, ok := listOf(v)
		if !ok {
			return fmt.Errorf("%s is no list", clip(r.template()))
		}
		if len(list) > maxCount {
			return fmt.Errorf("there are more than %d items", maxCount)
		}
		if b, err := json.Marshal(list); err != nil || len(b) > MaxPayload {
			return fmt.Errorf("the items have more than %d bytes", MaxPayload)
		}
		f.Items = list
	default:
		for _, v := range r.Each {
			f.Items = append(f.Items, anyOf(v))
		}
	}
	return nil
}

// template returns the expression that is worth the list of a repeat; empty if
// the list stands there itself.
func (r *RepeatAction) template() string {
	if len(r.Each) != 1 {
		return ""
	}
	text, _ := wholeExpression(r.Each[0].Str)
	return text
}

// carryOut does one action; false if the thread waits or has ended.
func (e *Engine) carryOut(t *mqtt.Turn, w *thread, a *Action, f *frame) bool {
	now := t.Now.Wall.Round(0)
	switch {
	case a.If != nil:
		if e.holds(t, w, a.If.When, "if") {
			w.enter(a, inThen)
		} else {
			w.enter(a, inElse)
		}
	case a.Choose != nil:
		branch := inElse
		for i := range a.Choose.Options {
			if e.holds(t, w, a.Choose.Options[i].When, "choose "+fmt.Sprint(i+1)) {
				branch = fmt.Sprint(i)
				break
			}
		}
		w.enter(a, branch)
	case a.Repeat != nil:
		return e.round(t, w, a, f)
	case a.Parallel != nil:
		e.side(t, w, a)
		return false
	case a.Check != nil:
		if !e.holds(t, w, a.Check, "check") {
			e.end(t, w.waiting, Done, "It went no further: a check did not hold.")
			return false
		}
		w.next()
	case a.Stop != nil, a.Fail != nil:
		why := a.Stop
		if a.Fail != nil {
			why = a.Fail
		}
		text, err := e.fill(why.Why, e.given(w, t.Now))
		if err != nil {
			text = why.Why
		}
		if a.Fail != nil {
			e.fail(t, w, clip(text))
		} else {
			e.end(t, w.waiting, Done, clip(text))
		}
		return false
	case a.Confirm != nil:
		*f = frame{Index: f.Index, Round: f.Round + 1}
		w.enter(a, inDo)
	case a.Wait != nil && a.Wait.Message != nil:
		return e.pauseRun(t, w, a, time.Duration(a.Wait.Within), true)
	case a.Wait != nil && len(a.Wait.Until) > 0:
		if e.holds(t, w, a.Wait.Until, "") {
			w.trace(Step{Text: a.String(), At: now, Ended: now})
			w.enter(a, inThen)
			return true
		}
		return e.pauseRun(t, w, a, time.Duration(a.Wait.Within), true)
	case a.Wait != nil:
		w.next()
		return e.pauseRun(t, w, a, time.Duration(a.Wait.For), false)
	default:
		step := Step{At: now}
		before := len(t.Published())
		err := e.act(t, w, *a, &step)
		for _, m := range t.Published()[before:] {
			e.makes(m, w.link)
			if m.QoS > mqtt.AtMostOnce || m.Retain {
				w.durable = true
			}
		}
		if err != nil {
			step.Err = clip(err.Error())
		}
		w.trace(step)
		if w.over { // it has ended itself
			return false
		}
		if err != nil && a.OnError != "continue" {
			e.fail(t, w, "It could not "+step.Text+": "+step.Err+".")
			return false
		}
		w.next()
	}
	return true
}

// set gives variables their values.
func (e *Engine) set(t *mqtt.Turn, w *thread, set map[string]Value) error {
	g := e.given(w, t.Now)
	values := map[string]any{}
	for _, name := range sortedKeys(set) {
		v, err := e.resolveAny(set[name], g)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		values[name] = v
	}
	for name, v := range values {
		if _, ok := w.rule.def.Variables[name]; ok {
			if w.rule.vars == nil {
				w.rule.vars = map[string]any{}
			}
			w.rule.vars[name], w.durable = v, true
			continue
		}
		if w.vars == nil {
			w.vars = map[string]any{}
		}
		w.vars[name] = v
	}
	if w.durable {
		e.keepVariables(t, w.rule)
	}
	return nil
}

// keepVariables writes the durable variables of a rule with the turn.
func (e *Engine) keepVariables(t *mqtt.Turn, r *rule) {
	if len(r.vars) > 0 {
		e.write(t, key(recVariables, r.id), encode(&variablesRecord{Format: format, Values: r.vars}))
	}
}

// declare gives the durable variables of a version those values that they had
// under the same names, and others the ones they begin with.
func (r *rule) declare(def *Rule) {
	vars := map[string]any{}
	for name, v := range def.Variables {
		vars[name] = anyOf(v)
		if old, ok := r.vars[name]; ok {
			vars[name] = old
		}
	}
	r.vars = vars
}

// capture returns the levels of a topic that a filter captures.
func capture(filter, name string) map[string]string {
	_, captures := plainFilter(filter)
	if len(captures) == 0 {
		return nil
	}
	found := map[string]string{}
	levels := splitLevels(name)
	for _, c := range captures {
		switch {
		case c.level >= len(levels):
			found[c.name] = ""
		case c.rest:
			found[c.name] = joinLevels(levels[c.level:])
		default:
			found[c.name] = levels[c.level]
		}
	}
	return found
}
