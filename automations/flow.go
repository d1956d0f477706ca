package automations

import (
	"fmt"
	"slices"
	"time"

	"lar.home/mqtt"
)

// A frame is a place in a list of actions. A run stands at a stack of them:
// all but the last are at an action that has lists of its own, in the branch
// that is being carried out.
type frame struct {
	Index  int    `json:"i"`
	Branch string `json:"b,omitempty"` // "then", "else", "do", "wait", or the number of an option
	Round  int    `json:"r,omitempty"` // of a repeat or a confirm, from 1
}

const (
	inThen = "then"
	inElse = "else"
	inDo   = "do"
	inWait = "wait" // of a confirm that waits for what it asks for
)

// branch returns a list of actions within one.
func (a *Action) branch(name string) []Action {
	switch {
	case a.If != nil && name == inThen:
		return a.If.Then
	case a.If != nil:
		return a.If.Else
	case a.Choose != nil && name == inElse:
		return a.Choose.Else
	case a.Choose != nil:
		n := 0
		if _, err := fmt.Sscan(name, &n); err == nil && n >= 0 && n < len(a.Choose.Options) {
			return a.Choose.Options[n].Then
		}
	case a.Repeat != nil:
		return a.Repeat.Do
	case a.Wait != nil && name == inThen:
		return a.Wait.Then
	case a.Wait != nil:
		return a.Wait.Else
	case a.Confirm != nil && name == inDo:
		return a.Confirm.Do
	case a.Confirm != nil && name == inElse:
		return a.Confirm.Else
	}
	return nil
}

// lists are all lists of actions within one, with their keys.
func (a *Action) lists() (all [][]Action, keys []string) {
	add := func(key string, list []Action) { all, keys = append(all, list), append(keys, key) }
	switch {
	case a.If != nil:
		add("if.then", a.If.Then)
		add("if.else", a.If.Else)
	case a.Choose != nil:
		for i := range a.Choose.Options {
			add(at("choose.options", i)+".then", a.Choose.Options[i].Then)
		}
		add("choose.else", a.Choose.Else)
	case a.Repeat != nil:
		add("repeat.do", a.Repeat.Do)
	case a.Wait != nil:
		add("wait.then", a.Wait.Then)
		add("wait.else", a.Wait.Else)
	case a.Confirm != nil:
		add("confirm.do", a.Confirm.Do)
		add("confirm.else", a.Confirm.Else)
	}
	return all, keys
}

// anyAction tells whether an action of a list, or within one, is so.
func anyAction(list []Action, is func(*Action) bool) bool {
	for i := range list {
		if is(&list[i]) {
			return true
		}
		inner, _ := list[i].lists()
		for _, l := range inner {
			if anyAction(l, is) {
				return true
			}
		}
	}
	return false
}

// waits tells whether a run of an action may last.
func (a *Action) waits() bool { return a.Wait != nil || a.Confirm != nil || a.Repeat != nil }

// here returns the list that a run stands in, the action there, and its frame;
// no action at the end of the list.
func (w *waiting) here() (*Action, *frame) {
	list := w.def.Actions
	for i := range w.at {
		f := &w.at[i]
		if f.Index < 0 || f.Index >= len(list) {
			return nil, f
		}
		if i == len(w.at)-1 {
			return &list[f.Index], f
		}
		list = list[f.Index].branch(f.Branch)
	}
	return nil, nil
}

// valid tells whether a run can stand where a record says.
func (w *waiting) valid() bool {
	if len(w.at) == 0 || len(w.at) > MaxNested+1 {
		return false
	}
	list := w.def.Actions
	for i, f := range w.at {
		if f.Index < 0 || f.Index > len(list) || f.Index == len(list) && i < len(w.at)-1 {
			return false
		}
		if i < len(w.at)-1 {
			list = list[f.Index].branch(f.Branch)
		}
	}
	return true
}

// next moves a run to the action after the one it stands at.
func (w *waiting) next() {
	f := &w.at[len(w.at)-1]
	*f = frame{Index: f.Index + 1}
}

// enter moves a run into a branch of the action it stands at; beyond it if
// there is nothing in the branch.
func (w *waiting) enter(a *Action, branch string) {
	f := &w.at[len(w.at)-1]
	f.Branch = branch
	if len(a.branch(branch)) == 0 {
		w.next()
		return
	}
	w.at = append(w.at, frame{})
}

// awaited returns the conditions a run waits for; nil if it waits for time.
func (w *waiting) awaited() []Condition {
	a, f := w.here()
	switch {
	case a == nil:
		return nil
	case a.Wait != nil && f.Branch == "":
		return a.Wait.Until
	case a.Confirm != nil && f.Branch == inWait:
		return a.Confirm.Until
	}
	return nil
}

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
func (e *Engine) given(w *waiting, now mqtt.Now) *given {
	g := &given{engine: e, now: now, cause: &w.run.Trigger, topic: w.topic, payload: string(w.payload), value: string(w.value), entity: w.entity,
		captured: w.captured, vars: w.vars, durable: w.rule.vars}
	list := w.def.Actions
	for i := range w.at {
		f := &w.at[i]
		if f.Index >= len(list) {
			break
		}
		a := &list[f.Index]
		if a.Repeat != nil && f.Round > 0 {
			g.index, g.item = f.Round, nil
			if f.Round <= len(a.Repeat.Each) {
				g.item = anyOf(a.Repeat.Each[f.Round-1])
			}
		}
		list = a.branch(f.Branch)
	}
	return g
}

// scene is what the conditions of a run are judged by.
func (e *Engine) scene(w *waiting, now mqtt.Now) *scene {
	s := &scene{now: now, location: e.location, house: e.house(), home: e.home, trigger: w.run.Trigger.Trigger,
		payload: w.payload, message: w.run.Trigger.hasPayload(), engine: e}
	s.given = func() *given { return e.given(w, now) }
	if s.message {
		s.parts = payloadParts(w.payload, w.def.allPaths())
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
func (e *Engine) holds(t *mqtt.Turn, w *waiting, list []Condition, what string) bool {
	result, seen := e.scene(w, t.Now).judge(list, nil)
	if what != "" {
		text := what + ": "
		for i, s := range seen {
			if s.Depth == 0 {
				if i > 0 {
					text += ", "
				}
				text += s.Text + " is " + string(s.Result)
			}
		}
		w.trace(Step{Text: clip(text), At: t.Now.Wall.Round(0)})
	}
	return result == Holds
}

// advance carries out a run's actions up to its end or its next wait.
func (e *Engine) advance(t *mqtt.Turn, w *waiting) {
	for steps := 0; ; steps++ {
		a, f := w.here()
		if a == nil {
			if len(w.at) == 1 {
				e.end(t, w, Done, "")
				return
			}
			w.at = w.at[:len(w.at)-1]
			if !e.after(t, w) {
				return
			}
			continue
		}
		if steps >= maxSteps { // in a turn of its own
			e.pauseRun(t, w, a, 0, nil)
			return
		}
		if !e.carryOut(t, w, a, f) {
			return
		}
	}
}

// after goes on behind a branch that has ended; false if the run waits or has
// ended.
func (e *Engine) after(t *mqtt.Turn, w *waiting) bool {
	a, f := w.here()
	switch {
	case a.Repeat != nil:
		if len(a.Repeat.Until) > 0 && e.holds(t, w, a.Repeat.Until, "") {
			w.next()
			return true
		}
		return e.round(t, w, a, f)
	case a.Confirm != nil && f.Branch == inDo:
		f.Branch = inWait
		if e.holds(t, w, a.Confirm.Until, "") {
			w.next()
			return true
		}
		return e.pauseRun(t, w, a, time.Duration(a.Confirm.Within), a.Confirm.Until)
	}
	w.next()
	return true
}

// round begins the next round of a repeat, if there is one.
func (e *Engine) round(t *mqtt.Turn, w *waiting, a *Action, f *frame) bool {
	r := a.Repeat
	most := r.Max
	if most == 0 {
		most = MaxRounds
	}
	switch {
	case r.Count > 0 && f.Round >= r.Count, len(r.Each) > 0 && f.Round >= len(r.Each),
		len(r.While) > 0 && !e.holds(t, w, r.While, ""):
		w.next()
		return true
	case r.Count == 0 && len(r.Each) == 0 && f.Round >= most:
		e.end(t, w, Failed, fmt.Sprintf("It repeated more than %d times.", most))
		return false
	}
	f.Round++
	f.Branch = inDo
	w.at = append(w.at, frame{})
	return true
}

// carryOut does one action; false if the run waits or has ended.
func (e *Engine) carryOut(t *mqtt.Turn, w *waiting, a *Action, f *frame) bool {
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
	case a.Check != nil:
		if !e.holds(t, w, a.Check, "check") {
			e.end(t, w, Done, "It went no further: a check did not hold.")
			return false
		}
		w.next()
	case a.Stop != nil, a.Fail != nil:
		outcome, why := Done, a.Stop
		if a.Fail != nil {
			outcome, why = Failed, a.Fail
		}
		text, err := e.fill(why.Why, e.given(w, t.Now))
		if err != nil {
			text = why.Why
		}
		e.end(t, w, outcome, clip(text))
		return false
	case a.Confirm != nil:
		*f = frame{Index: f.Index, Round: f.Round + 1}
		w.enter(a, inDo)
	case a.Wait != nil && len(a.Wait.Until) > 0:
		if e.holds(t, w, a.Wait.Until, "") {
			w.trace(Step{Text: a.String(), At: now, Ended: now})
			w.enter(a, inThen)
			return true
		}
		return e.pauseRun(t, w, a, time.Duration(a.Wait.Within), a.Wait.Until)
	case a.Wait != nil:
		w.next()
		return e.pauseRun(t, w, a, time.Duration(a.Wait.For), nil)
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
		if err != nil && a.OnError != "continue" {
			e.end(t, w, Failed, "It could not "+step.Text+": "+step.Err+".")
			return false
		}
		w.next()
	}
	return true
}

// pauseRun lets a run wait; it returns false.
func (e *Engine) pauseRun(t *mqtt.Turn, w *waiting, a *Action, after time.Duration, until []Condition) bool {
	w.deadline = e.deadlineIn(t, after, &deadline{waiting: w})
	w.run.Outcome = Waiting
	if after > 0 {
		w.trace(Step{Text: a.String(), At: t.Now.Wall.Round(0), Planned: w.deadline.wall})
	}
	w.keepPayload()
	if !slices.Contains(w.rule.waiting, w) {
		w.rule.waiting = append(w.rule.waiting, w)
	}
	if until != nil {
		e.await(t, w)
	}
	e.keepWaiting(t, w)
	e.showRun(w.rule, w.run)
	return false
}

// await notes that a run waits for conditions.
func (e *Engine) await(t *mqtt.Turn, w *waiting) {
	e.awaiting = append(e.awaiting, w)
	e.lookAgain(t)
}

// lookAgain asks for another look at what runs wait for: what follows from the
// clock changes without an event.
func (e *Engine) lookAgain(t *mqtt.Turn) {
	if e.lookAt >= 0 {
		return
	}
	for _, w := range e.awaiting {
		timed := false
		walkConditions(w.awaited(), func(c *Condition) {
			timed = timed || c.Time != nil || c.Sun != nil || c.Expr != "" || c.State != nil && c.State.For != 0
		})
		if timed {
			e.lookAt = t.Now.Run + time.Second
			return
		}
	}
}

// look goes on with the runs whose conditions have come to hold.
func (e *Engine) look(t *mqtt.Turn) {
	e.now.stirred = false
	for _, w := range slices.Clone(e.awaiting) {
		until := w.awaited()
		if w.deadline == nil || until == nil || !e.holds(t, w, until, "") {
			continue
		}
		e.wake(t, w)
		a, _ := w.here()
		if a.Wait != nil {
			w.enter(a, inThen)
		} else {
			w.next()
		}
		e.advance(t, w)
	}
}

// wake ends the wait of a run.
func (e *Engine) wake(t *mqtt.Turn, w *waiting) {
	w.copyRun()
	if n := len(w.run.Actions); n > 0 && !w.run.Actions[n-1].Planned.IsZero() {
		w.run.Actions[n-1].Ended = t.Now.Wall.Round(0)
	}
	e.cancel(w.deadline)
	e.dropAwaiting(w)
	w.deadline, w.durable, w.link = nil, true, &link{rule: w.rule}
}

func (e *Engine) dropAwaiting(w *waiting) {
	if i := slices.Index(e.awaiting, w); i >= 0 {
		e.awaiting = slices.Delete(e.awaiting, i, i+1)
	}
}

// resume goes on with a run whose time is over.
func (e *Engine) resume(t *mqtt.Turn, w *waiting) {
	late := time.Duration(0)
	if d := w.deadline; d != nil && t.Now.Trusted && d.trusted {
		late = t.Now.Wall.Sub(d.wall)
	}
	until := w.awaited()
	e.wake(t, w)
	if late > w.def.CatchUp.limit(1<<63-1) {
		e.end(t, w, Stopped, "It is overdue by "+span(late.Round(time.Second))+", more than the automation allows.")
		return
	}
	if until != nil {
		a, f := w.here()
		switch {
		case e.holds(t, w, until, ""): // while the hub was off, or just now
			if a.Wait != nil {
				w.enter(a, inThen)
			} else {
				w.next()
			}
		case a.Wait != nil:
			w.enter(a, inElse)
		case f.Round <= a.Confirm.Retries:
			*f = frame{Index: f.Index, Round: f.Round + 1}
			w.enter(a, inDo)
		case len(a.Confirm.Else) > 0:
			w.enter(a, inElse)
		default:
			e.end(t, w, Failed, "It could not be confirmed within "+span(time.Duration(a.Confirm.Within))+".")
			return
		}
	}
	e.advance(t, w)
}

// set gives variables their values.
func (e *Engine) set(t *mqtt.Turn, w *waiting, set map[string]Value) error {
	g := e.given(w, t.Now)
	values := map[string]any{}
	for _, name := range sortedKeys(set) {
		v, err := e.resolve(set[name], g)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		if len(v.Str) > MaxText {
			return fmt.Errorf("%s: a variable has at most %d bytes", name, MaxText)
		}
		values[name] = anyOf(v)
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
