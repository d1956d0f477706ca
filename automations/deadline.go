package automations

import (
	"container/heap"
	"time"

	"lar.home/mqtt"
)

// A deadline is the end of a run's wait, or of the time a state must hold.
// Within a boot it follows Now.Run whatever the wall clock does. Across a boot
// it is placed by the wall time it was written with, once the clock can be
// trusted; one written by a clock without trust goes on by that clock while it
// has none, and begins anew once it has.
type deadline struct {
	due   time.Duration // Now.Run; meaningless until placed
	after time.Duration // the whole time
	// As it was written.
	wall    time.Time
	trusted bool

	waiting *thread // whose wait it ends, or
	rule    *rule   // whose
	trigger int     // trigger holds until then

	order uint64 // of being made, for those that are due at once
	at    int    // in the heap; -1 when not in it
}

func (d *deadline) record() deadlineRecord {
	return deadlineRecord{Wall: d.wall, Trusted: d.trusted, After: Duration(d.after)}
}

// deadlines are those that are placed, the earliest first.
type deadlines struct {
	heap deadlineHeap
	made uint64
}

func (l *deadlines) first() *deadline {
	if len(l.heap) == 0 {
		return nil
	}
	return l.heap[0]
}

func (l *deadlines) add(d *deadline) {
	l.made++
	d.order = l.made
	heap.Push(&l.heap, d)
}

func (l *deadlines) remove(d *deadline) {
	if d.at >= 0 {
		heap.Remove(&l.heap, d.at)
	}
}

// deadlineIn makes a deadline and places it.
func (e *Engine) deadlineIn(t *mqtt.Turn, after time.Duration, d *deadline) *deadline {
	d.after = after
	d.due = t.Now.Run + after
	d.wall = t.Now.Wall.Add(after).Round(0)
	d.trusted = t.Now.Trusted
	e.deadlines.add(d)
	return d
}

// cancel forgets a deadline, nil included.
func (e *Engine) cancel(d *deadline) {
	if d == nil {
		return
	}
	e.deadlines.remove(d)
	for i, u := range e.unplaced {
		if u == d {
			e.unplaced = append(e.unplaced[:i:i], e.unplaced[i+1:]...)
			return
		}
	}
}

// place gives the deadlines of an earlier boot their time in this one.
func (e *Engine) place(t *mqtt.Turn) {
	if len(e.unplaced) == 0 {
		return
	}
	var later []*deadline
	for _, d := range e.unplaced {
		switch {
		case !d.trusted && !t.Now.Trusted && !t.Now.Wall.Before(d.wall.Add(-d.after)):
			// A clock that was wrong, and is still: the time that passed on it
			// is no longer than the time that passed. One that was set back
			// meanwhile tells nothing.
			d.due = t.Now.Run + max(d.wall.Sub(t.Now.Wall), 0)
		case !d.trusted:
			d.due = t.Now.Run + d.after
		case !t.Now.Trusted:
			later = append(later, d)
			continue
		default:
			// Never longer than the whole time: the clock may have been wrong.
			d.due = t.Now.Run + min(max(d.wall.Sub(t.Now.Wall), 0), d.after)
		}
		e.deadlines.add(d)
	}
	e.unplaced = later
}

// followClock writes deadlines anew when the wall clock was set, or has become
// trusted, since they were written: another boot must find the right time.
func (e *Engine) followClock(t *mqtt.Turn) {
	if !t.Now.Trusted {
		return
	}
	// Run times begin anew at each start, so that offset begins as 0 and the
	// first Wake looks at all deadlines.
	offset := t.Now.Wall.Sub(time.Unix(0, 0)) - t.Now.Run
	if (offset - e.offset).Abs() < time.Second {
		return
	}
	for _, d := range e.deadlines.heap {
		wall := t.Now.Wall.Add(d.due - t.Now.Run).Round(0)
		if d.trusted && wall.Sub(d.wall).Abs() < time.Second || d.due <= t.Now.Run {
			continue
		}
		if d.rule != nil && d.rule.def.Triggers[d.trigger].State == nil {
			continue // that of a clock is placed anew, the others end with the boot
		}
		if e.now.bytes > maxBytesInTurn {
			e.now.again = true
			return
		}
		d.wall, d.trusted = wall, true
		if w := d.waiting; w != nil {
			w.copyRun()
			if w.step > 0 {
				w.run.Actions[w.step-1].Planned = wall
			}
			e.keepWaiting(t, w.waiting)
			e.showRun(w.rule, w.run)
		} else {
			e.keepMemory(t, d.rule, d.trigger)
		}
	}
	e.offset = offset
}

// deadlineHeap implements heap.Interface.
type deadlineHeap []*deadline

func (h deadlineHeap) Len() int { return len(h) }
func (h deadlineHeap) Less(i, j int) bool {
	if h[i].due != h[j].due {
		return h[i].due < h[j].due
	}
	return h[i].order < h[j].order
}
func (h deadlineHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}
func (h *deadlineHeap) Push(x any) {
	d := x.(*deadline)
	d.at = len(*h)
	*h = append(*h, d)
}
func (h *deadlineHeap) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.at = -1
	return d
}
