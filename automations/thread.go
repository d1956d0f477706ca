package automations

import (
	"fmt"
	"slices"
	"time"

	"lar.home/mqtt"
)

// A thread is a place in a run where something goes on. A run has one, and one
// more for each branch of a parallel action that has not ended.
type thread struct {
	*waiting
	at   []frame // where it stands
	base int     // how many of these are those of its parent
	// Of a branch: what it branched from.
	parent *thread
	// While branches go on: how many, and why the first of them failed.
	open   int
	failed string

	deadline *deadline
	step     int       // of the trace: the wait that lasts, from 1; 0 none
	due      time.Time // what it does now was to be done then; zero: at once
}

// A frame is a place in a list of actions. A thread stands at a stack of them:
// all but the last are at an action that has lists of its own, in the branch
// that is being carried out.
type frame struct {
	Index  int    `json:"i"`
	Branch string `json:"b,omitempty"` // "then", "else", "do", "wait", or the number of an option or a branch
	Round  int    `json:"r,omitempty"` // of a repeat or a confirm, from 1
	// Of a repeat that has begun: how often, or over what.
	Count int   `json:"n,omitempty"`
	Items []any `json:"e,omitempty"`
	// Of a wait that has ended with a message: that message.
	Heard *heard `json:"m,omitempty"`
}

// heard is a message that a run has waited for.
type heard struct {
	Topic    string            `json:"t"`
	Payload  []byte            `json:"p,omitempty"`
	Value    []byte            `json:"v,omitempty"`
	Captured map[string]string `json:"c,omitempty"`
	TooBig   bool              `json:"big,omitempty"` // Payload was not kept
}

const (
	inThen = "then"
	inElse = "else"
	inDo   = "do"
	inWait = "wait" // of a confirm that waits for what it asks for
)

// branch returns a list of actions within one.
func (a *Action) branch(name string) []Action {
	numbered := func(count int) int {
		n := -1
		if _, err := fmt.Sscan(name, &n); err != nil || n >= count {
			return -1
		}
		return n
	}
	switch {
	case a.If != nil && name == inThen:
		return a.If.Then
	case a.If != nil:
		return a.If.Else
	case a.Choose != nil && name == inElse:
		return a.Choose.Else
	case a.Choose != nil:
		if n := numbered(len(a.Choose.Options)); n >= 0 {
			return a.Choose.Options[n].Then
		}
	case a.Parallel != nil:
		if n := numbered(len(a.Parallel.Branches)); n >= 0 {
			return a.Parallel.Branches[n]
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
	case a.Parallel != nil:
		for i, list := range a.Parallel.Branches {
			add(at("parallel.branches", i), list)
		}
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

// here returns the list that a thread stands in, the action there, and its
// frame; no action at the end of the list.
func (w *thread) here() (*Action, *frame) {
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

// valid tells whether a thread can stand where a record says.
func (w *thread) valid() bool {
	if len(w.at) == 0 || len(w.at) > MaxNested+1 || w.base < 0 || w.base >= len(w.at) {
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

// next moves a thread to the action after the one it stands at.
func (w *thread) next() {
	f := &w.at[len(w.at)-1]
	*f = frame{Index: f.Index + 1}
}

// enter moves a thread into a branch of the action it stands at; beyond it if
// there is nothing in the branch.
func (w *thread) enter(a *Action, branch string) {
	f := &w.at[len(w.at)-1]
	f.Branch = branch
	if len(a.branch(branch)) == 0 {
		w.next()
		return
	}
	w.at = append(w.at, frame{})
}

// side begins the branches of a parallel action, each up to its end or its
// first wait. What comes after is done as the last of them ends.
func (e *Engine) side(t *mqtt.Turn, w *thread, a *Action) {
	f := &w.at[len(w.at)-1]
	w.open, w.failed = len(a.Parallel.Branches), ""
	for i := range a.Parallel.Branches {
		f.Branch = fmt.Sprint(i)
		branch := &thread{waiting: w.waiting, at: append(slices.Clone(w.at), frame{}), base: len(w.at), parent: w, due: w.due}
		w.threads = append(w.threads, branch)
		e.advance(t, branch)
		if w.over {
			return
		}
	}
}

// sideEnded goes on as a branch has ended, when it was the last.
func (e *Engine) sideEnded(t *mqtt.Turn, w *thread, failed string) {
	parent := w.parent
	e.dropThread(w)
	if parent.failed == "" {
		parent.failed = failed
	}
	if parent.open--; parent.open > 0 {
		if w.kept {
			e.keepWaiting(t, w.waiting)
		}
		return
	}
	if parent.failed != "" {
		e.fail(t, parent, parent.failed)
		return
	}
	parent.next()
	e.advance(t, parent)
}

// dropThread ends a thread, with what it waits for.
func (e *Engine) dropThread(w *thread) {
	e.cancel(w.deadline)
	e.dropAwaiting(w)
	w.deadline = nil
	if i := slices.Index(w.threads, w); i >= 0 {
		w.threads = slices.Delete(w.threads, i, i+1)
	}
}

// fail ends a run, or the branch of it in which something went wrong.
func (e *Engine) fail(t *mqtt.Turn, w *thread, why string) {
	if w.parent != nil {
		e.sideEnded(t, w, why)
		return
	}
	e.end(t, w.waiting, Failed, why)
}

// A threadRecord is a thread as it is kept with a run that waits. Parents stand
// before their branches.
type threadRecord struct {
	At       []frame        `json:"at"`
	Base     int            `json:"base,omitempty"`
	Parent   int            `json:"parent,omitempty"` // its place in the list, from 1
	Open     int            `json:"open,omitempty"`
	Failed   string         `json:"failed,omitempty"`
	Step     int            `json:"step,omitempty"`
	Due      *time.Time     `json:"due,omitempty"`
	Deadline deadlineRecord `json:"deadline,omitzero"`
}

func (w *waiting) threadRecords() []threadRecord {
	list := make([]threadRecord, len(w.threads))
	for i, th := range w.threads {
		r := threadRecord{At: th.framesKept(), Base: th.base, Open: th.open, Failed: th.failed, Step: th.step}
		r.Parent = slices.Index(w.threads, th.parent) + 1
		if !th.due.IsZero() {
			r.Due = &th.due
		}
		if th.deadline != nil {
			r.Deadline = th.deadline.record()
		}
		list[i] = r
	}
	return list
}

// framesKept are the frames as they are written: a long message is not kept.
func (w *thread) framesKept() []frame {
	for i := range w.at {
		if h := w.at[i].Heard; h != nil && len(h.Payload)+len(h.Value) > 2*MaxPayload {
			short := *h
			short.Payload, short.Value, short.TooBig = nil, nil, true
			w.at[i].Heard = &short
		}
	}
	return w.at
}

// restoreThreads places the threads of a run that was kept.
func (e *Engine) restoreThreads(w *waiting, record *waitingRecord) error {
	records := record.Threads
	if len(records) == 0 { // as they were written before there were branches
		at := record.At
		if len(at) == 0 {
			at = []frame{{Index: record.Step}}
		}
		records = []threadRecord{{At: at, Deadline: record.Deadline}}
		if n := len(w.run.Actions); n > 0 && !w.run.Actions[n-1].Planned.IsZero() && w.run.Actions[n-1].Ended.IsZero() {
			records[0].Step = n
		}
	}
	for i, r := range records {
		th := &thread{waiting: w, at: r.At, base: r.Base, open: r.Open, failed: r.Failed, step: r.Step}
		if r.Due != nil {
			th.due = *r.Due
		}
		if !th.valid() || r.Parent < 0 || r.Parent > i || (r.Parent == 0) != (i == 0) || r.Step < 0 || r.Step > len(w.run.Actions) {
			return fmt.Errorf("it stands nowhere")
		}
		if r.Parent > 0 {
			th.parent = w.threads[r.Parent-1]
		}
		w.threads = append(w.threads, th)
	}
	for i, th := range w.threads {
		if th.open > 0 || w.queued {
			continue // its branches go on
		}
		if th.awaits() {
			e.awaiting = append(e.awaiting, th)
			e.lookAt = 0
		}
		th.deadline = e.restored(records[i].Deadline, &deadline{waiting: th})
	}
	return nil
}
