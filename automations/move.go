package automations

import (
	"bytes"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"lar.home/mqtt"
)

// A Fate is what becomes of the runs of a rule that wait as it is saved.
type Fate string

// Fates. The empty one is Finish.
const (
	Finish Fate = "finish" // each follows the version it began with
	Move   Fate = "move"   // they go on in the new version, if what they wait in is there
	Cancel Fate = "cancel" // they are stopped
)

// Fates are all of them, in the order a form shows them.
var Fates = []Fate{Finish, Move, Cancel}

// notMoved is why a run was stopped that was to be moved.
const notMoved = "It could not go on in the new version: what it waited in is not there any more."

// settle does with the runs that wait as a save asks.
func (e *Engine) settle(t *mqtt.Turn, r *rule, def *Rule, fate Fate) {
	switch fate {
	case Cancel:
		e.stopAll(t, r, "The automation was saved anew by "+def.Saved.By+", who asked for it.")
	case Move:
		for _, w := range slices.Clone(r.waiting) {
			if !slices.Contains(r.waiting, w) {
				continue
			}
			if !e.move(t, w, def) {
				e.stop(t, w, notMoved)
			}
		}
	}
}

// move lets a run that waits go on in another version: at the action it waits
// in, if that is there. A time that was changed counts from when the wait
// began.
func (e *Engine) move(t *mqtt.Turn, w *waiting, def *Rule) bool {
	if w.def == def {
		return true
	}
	begun := w.run.Version
	if !w.queued {
		at, whole := make([][]frame, len(w.threads)), make([]time.Duration, len(w.threads))
		for i, th := range w.threads {
			var ok bool
			if at[i], whole[i], ok = th.place(def); !ok || len(at[i]) != len(th.at) {
				return false
			}
		}
		for i, th := range w.threads {
			e.retime(t, th, whole[i])
			th.at = at[i]
		}
	}
	for _, th := range w.threads {
		e.dropAwaiting(th)
	}
	w.copyRun()
	w.def, w.run.Version = def, def.Version
	if w.run.Began == 0 {
		w.run.Began = begun
	}
	step := Step{Text: "moved from version " + strconv.Itoa(begun) + " to version " + strconv.Itoa(def.Version), At: t.Now.Wall.Round(0)}
	if first := w.threads[0]; len(w.threads) == 1 && first.step > 0 && first.step == len(w.run.Actions) && first.step < maxTraced && first.deadline != nil {
		last := w.run.Actions[first.step-1] // the wait goes on, and stays the last
		last.Planned = first.deadline.wall
		w.run.Actions = append(w.run.Actions[:first.step-1], step, last)
		first.step++
	} else {
		w.trace(step)
	}
	for _, th := range w.threads {
		if th.open == 0 && !w.queued && th.awaits() {
			e.awaiting = append(e.awaiting, th)
			e.lookAgain(t)
			e.stir() // the conditions may be others
		}
	}
	e.keepWaiting(t, w)
	e.showRun(w.rule, w.run)
	return true
}

// retime gives a wait whose length was changed its new end.
func (e *Engine) retime(t *mqtt.Turn, w *thread, whole time.Duration) {
	d := w.deadline
	if d == nil || d.at < 0 || whole < 0 || d.after == whole || d.after == 0 {
		return // none, one of an earlier boot that has no place yet, or the same
	}
	passed := d.after - (d.due - t.Now.Run)
	e.cancel(d)
	w.deadline = e.deadlineIn(t, max(whole-passed, 0), &deadline{waiting: w})
	w.deadline.after = whole
}

// place finds where a thread stands in another version; whole is how long the
// wait there lasts in all.
func (w *thread) place(def *Rule) (at []frame, whole time.Duration, ok bool) {
	old, list := w.def.Actions, def.Actions
	for i, f := range w.at {
		last := i == len(w.at)-1
		index := f.Index
		// A wait for time is left behind as it begins: the run stands after it.
		passed := last && f.Branch == "" && !w.awaits() && f.Index > 0 && f.Index <= len(old) && timed(&old[f.Index-1])
		if passed {
			index--
		}
		if index < 0 || index >= len(old) {
			return nil, 0, false
		}
		n, found := counterpart(old, list, index)
		if !found || (passed && !timed(&list[n])) {
			return nil, 0, false
		}
		a := &list[n]
		if last {
			whole = -1
			switch {
			case passed:
				whole, n = time.Duration(a.Wait.For), n+1
			case a.Wait != nil && f.Branch == "":
				whole = time.Duration(a.Wait.Within)
				if timed(a) {
					return nil, 0, false
				}
			case a.Confirm != nil && f.Branch == inWait:
				whole = time.Duration(a.Confirm.Within)
			}
			f.Index = n
			return append(at, f), whole, true
		}
		branch := f.Branch
		if a.Choose != nil { // the option may have another number
			if branch, found = option(&old[index], a, branch); !found {
				return nil, 0, false
			}
		}
		if a.Parallel != nil && len(a.Parallel.Branches) != len(old[index].Parallel.Branches) {
			return nil, 0, false
		}
		at = append(at, frame{Index: n, Branch: branch, Round: f.Round, Count: f.Count, Items: f.Items, Heard: f.Heard})
		old, list = old[index].branch(f.Branch), a.branch(branch)
	}
	return nil, 0, false
}

// timed tells whether an action is a wait for time.
func timed(a *Action) bool { return a.Wait != nil && len(a.Wait.Until) == 0 && a.Wait.Message == nil }

// option finds the option of a choice by its conditions.
func option(old, now *Action, branch string) (string, bool) {
	if branch == inElse {
		return branch, len(now.Choose.Else) > 0
	}
	for i := range old.Choose.Options {
		if strconv.Itoa(i) != branch {
			continue
		}
		for j := range now.Choose.Options {
			if same(old.Choose.Options[i].When, now.Choose.Options[j].When) {
				return strconv.Itoa(j), true
			}
		}
	}
	return "", false
}

// counterpart finds the action of one list in another: the same one as near as
// can be, or else the one that stands between the same neighbours and is of the
// same kind.
func counterpart(old, list []Action, index int) (int, bool) {
	// Lists have at most MaxActions actions: the table of the longest common
	// part stays small.
	keys := func(l []Action) [][]byte {
		k := make([][]byte, len(l))
		for i := range l {
			k[i], _ = json.Marshal(&l[i])
		}
		return k
	}
	a, b := keys(old), keys(list)
	common := make([][]int, len(a)+1)
	for i := range common {
		common[i] = make([]int, len(b)+1)
	}
	for i := len(a) - 1; i >= 0; i-- {
		for j := len(b) - 1; j >= 0; j-- {
			if bytes.Equal(a[i], b[j]) {
				common[i][j] = common[i+1][j+1] + 1
			} else {
				common[i][j] = max(common[i+1][j], common[i][j+1])
			}
		}
	}
	from := 0 // in list: behind what was found before index
	i, j := 0, 0
	for i < len(a) && j < len(b) {
		switch {
		case bytes.Equal(a[i], b[j]) && common[i][j] == common[i+1][j+1]+1:
			if i == index {
				return j, true
			}
			if i < index {
				from = j + 1
			} else { // the next that was found after index
				return changed(old, list, index, from, j)
			}
			i, j = i+1, j+1
		case common[i+1][j] >= common[i][j+1]:
			i++
		default:
			j++
		}
	}
	return changed(old, list, index, from, len(list))
}

// changed finds an action of the kind of old[index] that stands alone in its
// kind in a part of list.
func changed(old, list []Action, index, from, to int) (n int, ok bool) {
	for j := from; j < to; j++ {
		if kindOf(&list[j]) == kindOf(&old[index]) {
			if ok {
				return 0, false
			}
			n, ok = j, true
		}
	}
	return n, ok
}

// kindOf tells actions apart that have lists or waits.
func kindOf(a *Action) string {
	switch {
	case a.If != nil:
		return "if"
	case a.Choose != nil:
		return "choose"
	case a.Repeat != nil:
		return "repeat"
	case a.Parallel != nil:
		return "parallel"
	case a.Confirm != nil:
		return "confirm"
	case timed(a):
		return "wait"
	case a.Wait != nil && a.Wait.Message != nil:
		return "message"
	case a.Wait != nil:
		return "until"
	}
	b, _ := json.Marshal(a)
	return string(b)
}

func same(a, b any) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}
