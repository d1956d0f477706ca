package automations

import (
	"slices"
	"time"

	"lar.home/mqtt"
)

// Traces that nothing waits for are written some at a time, so that a rule
// that is triggered often costs neither time in its turns nor a write each:
// after a power cut the last seconds of them are missing, and of a rule that is
// triggered more often than once a minute, the last minute.
const (
	keepTracesAfter = 2 * time.Second
	keepTracesEvery = time.Minute // of a rule
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
	r.traceAt = max(r.traceAt, t.Now.Run+keepTracesAfter)
	e.traced = append(e.traced, r)
	if e.keepAt < 0 || r.traceAt < e.keepAt {
		e.keepAt = r.traceAt
	}
}

// keepDue writes traces whose time has come, some in a turn.
func (e *Engine) keepDue(t *mqtt.Turn) {
	if e.keepAt < 0 || t.Now.Run < e.keepAt {
		return
	}
	written, next := 0, time.Duration(-1)
	e.traced = slices.DeleteFunc(e.traced, func(r *rule) bool {
		if r.traceAt <= t.Now.Run && written < tracesInTurn {
			written += len(r.newRuns) + min(r.newSkips, skipsKept)
			e.keepTraces(t, r, false)
			r.traced, r.traceAt = false, t.Now.Run+keepTracesEvery
			return true
		}
		if next < 0 || r.traceAt < next {
			next = r.traceAt
		}
		return false
	})
	if e.keepAt = next; next > t.Now.Run { // those that come soon after it as well
		e.keepAt = max(next, t.Now.Run+keepTracesAfter)
	}
}

// Flush gives the store every trace that was to be written in the next
// seconds: the hub is about to stop.
func (e *Engine) Flush(t *mqtt.Turn) {
	e.enter(t)
	defer e.leave(t)
	for _, r := range e.order {
		e.keepTraces(t, r, true)
		r.keepSkips(t, true)
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
	r.keepSkips(t, false)
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
	r.newRuns, r.newSkips = nil, 0
	if i := slices.Index(e.traced, r); i >= 0 {
		e.traced = slices.Delete(e.traced, i, i+1)
	}
}
