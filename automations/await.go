package automations

import (
	"slices"
	"time"

	"lar.home/mqtt"
)

// A MessageWait is a message that a run waits for.
type MessageWait struct {
	Filter  string   `json:"filter"` // with captures, as of a [MessageTrigger]
	Payload *Compare `json:"payload,omitempty"`
	Path    string   `json:"path,omitempty"`
}

// awaited returns the conditions, or the message, that a thread waits for; nil
// for both if it waits for time.
func (w *thread) awaited() ([]Condition, *MessageWait) {
	a, f := w.here()
	switch {
	case a == nil:
	case a.Wait != nil && f.Branch == "":
		return a.Wait.Until, a.Wait.Message
	case a.Confirm != nil && f.Branch == inWait:
		return a.Confirm.Until, a.Confirm.Message
	}
	return nil, nil
}

// awaits tells whether a thread waits for more than time.
func (w *thread) awaits() bool {
	until, message := w.awaited()
	return until != nil || message != nil
}

// pauseRun lets a thread wait; it returns false.
func (e *Engine) pauseRun(t *mqtt.Turn, w *thread, a *Action, after time.Duration, awaits bool) bool {
	w.deadline = e.deadlineIn(t, after, &deadline{waiting: w})
	w.run.Outcome = Waiting
	w.step = 0
	if after > 0 {
		w.trace(Step{Text: a.String(), At: t.Now.Wall.Round(0), Planned: w.deadline.wall})
		if n := len(w.run.Actions); n <= maxTraced {
			w.step = n
		}
	}
	w.keepPayload()
	if !slices.Contains(w.rule.waiting, w.waiting) {
		w.rule.waiting = append(w.rule.waiting, w.waiting)
	}
	if awaits {
		e.awaiting = append(e.awaiting, w)
		e.lookAgain(t)
		until, _ := w.awaited()
		e.relyOn(t, until)
	}
	w.before = w.link.rules()
	e.keepWaiting(t, w.waiting)
	e.showRun(w.rule, w.run)
	e.stir()
	return false
}

// stir has another look taken, at the end of this turn, at what runs wait for.
func (e *Engine) stir() {
	if len(e.awaiting) > 0 {
		e.now.stirred = true
	}
}

// lookAgain asks for another look at what runs wait for: what follows from the
// clock changes without an event.
func (e *Engine) lookAgain(t *mqtt.Turn) {
	if e.lookAt >= 0 {
		return
	}
	for _, w := range e.awaiting {
		timed := false
		until, _ := w.awaited()
		walkConditions(until, func(c *Condition) {
			timed = timed || c.Time != nil || c.Sun != nil || c.Expr != "" || c.State != nil && c.State.For != 0
		})
		if timed {
			e.lookAt = t.Now.Run + time.Second
			return
		}
	}
}

// look goes on with the runs whose conditions have come to hold. As the hub
// starts it waits for the retained messages: until they are read the house is
// partly as it was.
func (e *Engine) look(t *mqtt.Turn) {
	e.now.stirred = false
	if !e.followed {
		return
	}
	for _, w := range slices.Clone(e.awaiting) {
		e.at = w.rule
		if until, _ := w.awaited(); w.deadline != nil && until != nil && e.ready() == nil && e.holds(t, w, until, "") {
			e.wake(t, w)
			e.came(t, w, nil)
		}
		e.at = nil
	}
}

// came goes on with a thread that was waiting for what has come.
func (e *Engine) came(t *mqtt.Turn, w *thread, h *heard) {
	a, f := w.here()
	if a.Wait != nil {
		f.Heard = h
		w.enter(a, inThen)
	} else {
		e.confirmed(t, w, a.Confirm.Do)
		w.next()
	}
	e.advance(t, w)
}

// A hearing is a thread that waits for a message which is being brought.
type hearing struct {
	thread   *thread
	deadline *deadline // of this wait, and no later one
	wait     *MessageWait
}

// listeners returns the threads that wait for a message by a ref.
func (e *Engine) listeners(f *ref, list []hearing) []hearing {
	for _, w := range e.awaiting {
		if w.def != f.def || w.rule != f.rule {
			continue
		}
		if _, wait := w.awaited(); wait == f.wait {
			list = append(list, hearing{w, w.deadline, wait})
		}
	}
	return list
}

// hears brings a message to a thread that waits for one.
func (e *Engine) hears(t *mqtt.Turn, l hearing, m *mqtt.Message, p parts) {
	w := l.thread
	if w.deadline == nil || w.deadline != l.deadline || e.ready() != nil {
		return
	}
	s := scene{payload: m.Payload, parts: p, message: true}
	if l.wait.Payload != nil {
		if r, _ := s.compare(l.wait.Payload); r != Holds {
			return
		}
	}
	var o event
	if o.repeats(w.rule, m) {
		return // a run has had it
	}
	h := &heard{Topic: m.Topic, Payload: slices.Clone(m.Payload), Captured: capture(l.wait.Filter, m.Topic)}
	if h.Value = h.Payload; l.wait.Path != "" {
		h.Value = []byte(p[l.wait.Path])
	}
	if o.origin.Session != 0 {
		e.keepOrigin(t, w.rule, o.origin)
	}
	by := e.madeBy(m)
	e.wake(t, w)
	if by != nil {
		w.link = &link{rule: w.rule, by: by, before: w.link.before}
	}
	e.came(t, w, h)
}

// wake ends the wait of a thread.
func (e *Engine) wake(t *mqtt.Turn, w *thread) {
	w.copyRun()
	w.waited(t)
	e.cancel(w.deadline)
	e.dropAwaiting(w)
	w.deadline, w.durable, w.due = nil, true, time.Time{}
	w.link = &link{rule: w.rule, before: w.before}
}

// waited notes in the trace that a wait has ended.
func (w *thread) waited(t *mqtt.Turn) {
	if w.step > 0 && w.step <= len(w.run.Actions) {
		w.run.Actions[w.step-1].Ended = t.Now.Wall.Round(0)
	}
	w.step = 0
}

func (e *Engine) dropAwaiting(w *thread) {
	if i := slices.Index(e.awaiting, w); i >= 0 {
		e.awaiting = slices.Delete(e.awaiting, i, i+1)
	}
}

// resume goes on with a thread whose time is over.
func (e *Engine) resume(t *mqtt.Turn, w *thread) {
	late, due := time.Duration(0), w.due
	if d := w.deadline; d != nil && t.Now.Trusted && d.trusted {
		late = t.Now.Wall.Sub(d.wall)
		if d.after > 0 || due.IsZero() {
			due = d.wall
		}
	}
	until, message := w.awaited()
	e.wake(t, w)
	w.due = due
	if late > w.def.CatchUp.limit(1<<63-1) {
		e.end(t, w.waiting, Stopped, "It is overdue by "+span(late.Round(time.Second))+", more than the automation allows.")
		return
	}
	if until == nil && message == nil {
		e.advance(t, w)
		return
	}
	a, f := w.here()
	switch {
	case until != nil && e.holds(t, w, until, ""): // while the hub was off, or just now
		e.came(t, w, nil)
		return
	case a.Wait != nil:
		w.enter(a, inElse)
	case f.Round <= a.Confirm.Retries:
		*f = frame{Index: f.Index, Round: f.Round + 1}
		w.enter(a, inDo)
	case len(a.Confirm.Else) > 0:
		w.enter(a, inElse)
	default:
		e.fail(t, w, "It could not be confirmed within "+span(time.Duration(a.Confirm.Within))+".")
		return
	}
	e.advance(t, w)
}

// awaits returns the message that an action waits for, or nil.
func (a *Action) awaits() *MessageWait {
	switch {
	case a.Wait != nil:
		return a.Wait.Message
	case a.Confirm != nil:
		return a.Confirm.Message
	}
	return nil
}

// paths are the places in a payload that a wait asks for.
func (m *MessageWait) paths() (list []string) {
	if m.Path != "" {
		list = append(list, m.Path)
	}
	if m.Payload != nil && m.Payload.Path != "" && m.Payload.Path != m.Path {
		list = append(list, m.Payload.Path)
	}
	return list
}
