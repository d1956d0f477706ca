package automations

import (
	"slices"
	"time"

	"lar.home/mqtt"
)

// Traces that nothing waits for are written some at a time, so that a rule
// that runs often costs neither time in its turns nor a write each: after a
// power cut the last seconds of them are missing.
const (
	keepTracesAfter = 2 * time.Second
	tracesInTurn    = 16
)

// later adds a trace to those yet to be written; of too many the oldest would
// be overwritten at once, and is left out.
func later(list []*Run, run *Run, limit int) []*Run {
	if len(list) == limit {
		copy(list, list[1:])
		list = list[:limit-1]
	}
	return append(list, run)
}

// keepLater asks for a turn in which the new traces of a rule are written.
func (e *Engine) keepLater(t *mqtt.Turn, r *rule) {
	if r.traced {
		return
	}
	r.traced = true
	e.traced = append(e.traced, r)
	if e.keepAt < 0 {
		e.keepAt = t.Now.Run + keepTracesAfter
	}
}

// keepDue writes traces whose time has come, some in a turn.
func (e *Engine) keepDue(t *mqtt.Turn) {
	if e.keepAt < 0 || t.Now.Run < e.keepAt {
		return
	}
	written := 0
	for len(e.traced) > 0 {
		if written >= tracesInTurn {
			e.now.again = true
			return
		}
		r := e.traced[0]
		written += len(r.newRuns) + len(r.newNotRuns)
		e.keepTraces(t, r, false)
		e.traced[0] = nil
		e.traced = e.traced[1:]
		r.traced = false
	}
	e.traced, e.keepAt = nil, -1
}

// Flush gives the store every trace that was to be written in the next
// seconds: the hub is about to stop.
func (e *Engine) Flush(t *mqtt.Turn) {
	e.enter(t)
	defer e.leave(t)
	for _, r := range e.traced {
		e.keepTraces(t, r, false)
		r.traced = false
	}
	e.traced, e.keepAt = nil, -1
}

// keepTraces writes the new traces of a rule lazily, or only those of runs.
func (e *Engine) keepTraces(t *mqtt.Turn, r *rule, onlyRuns bool) {
	for _, run := range r.newRuns {
		t.Lazy(r.runTrace(run))
	}
	clear(r.newRuns)
	r.newRuns = r.newRuns[:0]
	if onlyRuns {
		return
	}
	for _, run := range r.newNotRuns {
		k := key(recNotRun, r.id, byte(r.notRunOrder%MaxNotRuns))
		t.Lazy(k, encode(&runRecord{Format: format, Order: r.notRunOrder, Run: run}))
		r.notRunOrder++
	}
	clear(r.newNotRuns)
	r.newNotRuns = r.newNotRuns[:0]
}

// runTrace is the record of a run that ended. It takes the slot of the oldest.
func (r *rule) runTrace(run *Run) (k, v []byte) {
	k = key(recRun, r.id, byte(r.runOrder%MaxRuns))
	v = encode(&runRecord{Format: format, Order: r.runOrder, Run: run})
	r.slots[r.runOrder%MaxRuns] = run.Seq
	r.runOrder++
	return k, v
}

// dropTraces forgets what is yet to be written of a rule that is dropped.
func (e *Engine) dropTraces(r *rule) {
	r.newRuns, r.newNotRuns = nil, nil
	if i := slices.Index(e.traced, r); i >= 0 {
		e.traced = slices.Delete(e.traced, i, i+1)
	}
}
