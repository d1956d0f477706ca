package automations

import (
	"cmp"
	"strings"
	"time"

	"lar.home/mqtt"
)

// wrongTwice is why a rule is paused at which a panic came twice.
const wrongTwice = "Paused: something went wrong inside Lar twice while it was decided or carried out; the log says what."

// A startOf names a trigger for the start of the hub.
type startOf struct {
	rule             string
	version, trigger int
}

// Rebuild begins anew with what the store holds, after a panic that may have
// left what is in memory half-changed. All that was written must be on disk, and
// a Wake must follow. Runs that wait go on; the hub did not start, so nothing is
// triggered by that, and what was sent is not sent again. A rule at which it
// went wrong for the second time is paused. After an error it is as it was.
func (e *Engine) Rebuild(t *mqtt.Turn) error {
	was, culprit, failed := e.decided, e.at, e.failed
	if err := e.read(); err != nil {
		e.decided = was
		return err
	}
	e.at, e.failed, e.handed = nil, nil, was.handed
	e.rebuilt, e.starts = was.rebuilt || was.followed, was.starts
	if was.followed {
		e.starts = was.openStarts()
	}
	for _, c := range e.unconfirmed {
		c.again = c.Held || !e.rebuilt // others have left: devices were here
	}
	e.keepUnwritten(&was)
	dropped := ""
	if culprit != nil {
		dropped = runID(was.now.number, 0)
	}
	e.keepRuns(t, &was, dropped)
	if culprit = cmp.Or(culprit, failed); culprit == nil {
		return nil
	}
	e.wrong[culprit.id]++
	if r := e.rules[culprit.id]; r != nil && r.live() && e.wrong[r.id] > 1 {
		delete(e.wrong, r.id)
		e.pause(t, r, wrongTwice)
	}
	return nil
}

// openStarts returns what is still to be triggered by the start of the hub.
func (d *decided) openStarts() map[startOf]time.Duration {
	open := map[startOf]time.Duration{}
	for _, r := range d.order {
		for i := range min(len(r.memory), len(r.def.Triggers)) {
			if end := r.memory[i].deadline; end != nil && r.def.Triggers[i].Start != nil {
				open[startOf{r.id, r.def.Version, i}] = end.due
			}
		}
	}
	return open
}

// keepRuns takes over the traces that were to be written in the next seconds,
// but for those of the turn in which it went wrong: of these nothing was done.
func (e *Engine) keepRuns(t *mqtt.Turn, was *decided, dropped string) {
	for _, old := range was.traced {
		r := e.rules[old.id]
		if r == nil {
			continue
		}
		for _, run := range old.newRuns {
			if run == nil || run.ID == dropped || strings.HasPrefix(run.ID, dropped+"-") {
				continue
			}
			r.seq = max(r.seq, run.Seq)
			r.newRuns = later(r.newRuns, run, MaxRuns)
			e.showRun(r, run)
			e.keepLater(t, r)
		}
	}
}

// keepUnwritten takes over what triggers remember and the disk has not taken.
func (e *Engine) keepUnwritten(was *decided) {
	for _, of := range was.unwritten {
		r, i := e.rules[of.rule.id], of.trigger
		if r == nil || r.def.Version != of.rule.def.Version || i >= min(len(r.memory), len(of.rule.memory)) {
			continue
		}
		m, stored := of.rule.memory[i], r.memory[i]
		e.cancel(stored.deadline)
		if m.topics = stored.topics; m.deadline != nil {
			m.deadline = e.restored(m.deadline.record(), &deadline{rule: r, trigger: i})
		}
		r.memory[i] = m
		e.unwritten = append(e.unwritten, memoryOf{r, i})
	}
}
