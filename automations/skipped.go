package automations

import (
	"cmp"
	"slices"
	"strconv"
	"sync"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A skipped is the trace of a trigger that ran nothing, as it was seen. It is
// put into words when somebody reads it or it is written: a rule that many
// messages concern costs next to nothing while its conditions do not hold.
type skipped struct {
	seq, turn uint64
	ordinal   int // of the triggers of its turn
	def       *Rule
	wall      time.Time
	unsure    bool
	cause     Cause  // but for what payload says
	payload   []byte // the head of the one that triggered
	value     string // but for that of the payload
	ofPayload bool   // value is the payload
	seen      []seen
	why       string // empty when a condition did not hold
	run       *Run   // in words, once somebody has asked
	kept      bool   // it was given to the store
}

// skips are the last MaxNotRuns of a rule, in memory for whoever asks. They are
// noted under the house's lock, and read outside of it.
type skips struct {
	mu   sync.Mutex
	list []skipped // a ring
	next int       // the place of the oldest, once it is full
}

// note makes room for one more and lets fill say what it is; what it is lent
// has the buffers of the one it replaces.
func (s *skips) note(fill func(k *skipped)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.list) < MaxNotRuns {
		s.list = append(s.list, skipped{})
		fill(&s.list[len(s.list)-1])
		return
	}
	fill(&s.list[s.next])
	s.next = (s.next + 1) % MaxNotRuns
}

// inOrder visits them from the oldest to the newest.
func (s *skips) inOrder(fn func(k *skipped)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list {
		fn(&s.list[(s.next+i)%len(s.list)])
	}
}

// runs returns them in words, the newest first.
func (s *skips) runs(r *rule) []*Run {
	var list []skipped
	s.inOrder(func(k *skipped) {
		own := *k // put into words when the lock is free again
		own.payload, own.seen = slices.Clone(k.payload), slices.Clone(k.seen)
		list = append(list, own)
	})
	worded := map[uint64]*Run{}
	for i := range list {
		worded[list[i].seq] = list[i].words(r.id)
	}
	runs := make([]*Run, 0, len(list))
	s.inOrder(func(k *skipped) {
		if run := worded[k.seq]; run != nil { // or it has come since
			k.run = cmp.Or(k.run, run)
			runs = append(runs, k.run)
		}
	})
	slices.Reverse(runs)
	return runs
}

// last returns the newest in words, or nil.
func (s *skips) last(r *rule) (run *Run) {
	if runs := s.runs(r); len(runs) > 0 {
		run = runs[0]
	}
	return run
}

// restore takes in what was found in the store, the newest first.
func (s *skips) restore(runs []*Run) {
	for _, run := range slices.Backward(runs) {
		s.note(func(k *skipped) { *k = skipped{seq: run.Seq, run: run, kept: true} })
	}
}

// skip keeps the trace of a trigger that ran nothing: of what was seen until a
// condition did not hold, or why else.
func (e *Engine) skip(t *mqtt.Turn, r *rule, o *event, ordinal int, saw []seen, why string) {
	r.skips.note(func(k *skipped) {
		*k = skipped{
			seq: r.seq, turn: t.Number, ordinal: ordinal, def: r.def, wall: t.Now.Wall, unsure: !t.Now.Trusted,
			cause: o.cause, value: o.value, ofPayload: o.valueIsPayload, why: why,
			payload: k.payload[:0], seen: append(k.seen[:0], saw...),
		}
		if o.cause.hasPayload() {
			k.payload = append(k.payload, o.scene.payload[:min(len(o.scene.payload), maxShown+1)]...)
		}
	})
	r.newSkips = min(r.newSkips+1, MaxNotRuns)
	e.keepLater(t, r)
	e.revision.Add(1)
}

// words are the trace as people read it.
func (k *skipped) words(rule string) *Run {
	if k.run != nil {
		return k.run
	}
	run := &Run{
		ID: runID(k.turn, k.ordinal), Rule: rule, Name: k.def.Name, Version: k.def.Version,
		Started: k.wall.Round(0), Ended: k.wall.Round(0), Unsure: k.unsure,
		Outcome: NotRun, Why: k.why, Trigger: k.cause, Seq: k.seq,
	}
	run.Trigger.say(k.payload, k.value, k.ofPayload)
	if len(k.seen) > 0 {
		run.Conditions = wordsOf(k.seen, k.payload)
	}
	if run.Why == "" {
		run.Why = whyNot(run.Conditions)
	}
	return run
}

// say adds what triggered brought.
func (c *Cause) say(payload []byte, value string, ofPayload bool) {
	if !c.hasPayload() {
		return
	}
	c.Payload = clipBytes(payload)
	if c.Value = c.Payload; !ofPayload {
		c.Value = clip(value)
	}
}

// A seen is a condition as it was found, before it is put into words.
type seen struct {
	condition *Condition
	result    Result
	depth     int
	saw       saw
}

// wordsOf puts what was seen into words; payload is the one that was looked at.
func wordsOf(list []seen, payload []byte) []Seen {
	words := make([]Seen, len(list))
	for i, s := range list {
		words[i] = Seen{Text: s.condition.String(), Value: s.saw.words(payload), Result: s.result, Depth: s.depth}
	}
	return words
}

// A saw is what a condition looked at.
type saw struct {
	how   how
	value Value
	since time.Duration
}

// A how says what a saw is about.
type how uint8

const (
	sawNothing     how = iota // the condition stands for others
	sawValue                  // as it is
	sawUnavailable            // the last one known
	sawSinceWhen              // and nobody knows since when it is so
	sawSince                  // and it was so for since
	sawPayload                // the whole of it
	sawClock                  // since the week began
	sawSun                    // its elevation
)

// said is a saw that says a text.
func said(text string) saw { return saw{how: sawValue, value: Text(clip(text))} }

// sawOf is one of a value.
func sawOf(how how, v Value) saw {
	if v.Type == devices.Text {
		v.Str = clip(v.Str) // not held in memory beyond what is shown
	}
	return saw{how: how, value: v}
}

// words are what was looked at as people read it.
func (s saw) words(payload []byte) string {
	switch s.how {
	case sawNothing:
		return ""
	case sawPayload:
		return clipBytes(payload)
	case sawClock:
		minutes := int(s.since / time.Minute)
		return Weekday(minutes/(24*60)).String() + " " + TimeOfDay(minutes%(24*60)).String()
	case sawSun:
		return strconv.FormatFloat(s.value.Num, 'f', 1, 64) + "°"
	}
	shown := clip(s.value.String())
	switch s.how {
	case sawUnavailable:
		return "unavailable, last " + shown
	case sawSinceWhen:
		return shown + ", nobody knows since when"
	case sawSince:
		return shown + " for " + span(s.since.Truncate(time.Second))
	}
	return shown
}

// skipsKept bounds how many traces of triggers that ran nothing are written of
// a rule at a time: of a flood, the newest tell what there is to know.
const skipsKept = 4

// keepSkips gives the newest of them to the store lazily, or all.
func (r *rule) keepSkips(t *mqtt.Turn, all bool) {
	var list []skipped
	r.skips.inOrder(func(k *skipped) {
		if !k.kept {
			list = append(list, *k) // the next one is noted under the house's lock, which is ours
		}
	})
	if !all {
		list = list[len(list)-min(len(list), r.newSkips, skipsKept):]
	}
	for i := range list {
		k := key(recNotRun, r.id, byte(r.notRunOrder%MaxNotRuns))
		t.Lazy(k, encode(&runRecord{Format: format, Order: r.notRunOrder, Run: list[i].words(r.id)}))
		r.notRunOrder++
	}
	r.skips.inOrder(func(k *skipped) {
		k.kept = k.kept || slices.ContainsFunc(list, func(w skipped) bool { return w.seq == k.seq })
	})
	r.newSkips = 0
}
