package automations

import (
	"cmp"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/topic"
)

// An event is something that triggers a rule.
type event struct {
	scene          scene
	cause          Cause
	index          int    // of the trigger
	durable        bool   // the run must be on disk before what it sends leaves
	unconditional  bool   // by hand: conditions are not asked
	by             *link  // the run of this turn that set it off
	hop            int    // messages of this turn that led to it
	origin         origin // zero unless a repetition must be known again
	topic          string
	value          string
	valueIsPayload bool
	entity         string
	captured       map[string]string
	key            string // of Rule.Per
}

// A waiting is a run under way: between two turns it is one that waits.
type waiting struct {
	run     *Run
	rule    *rule
	def     *Rule // the version it follows to its end
	threads []*thread
	link    *link    // of this turn
	before  []string // the rules that led to it, in earlier turns
	told    []string // entities that it has commanded
	durable bool
	over    bool // it has ended
	kept    bool // there is a record of it
	// What the words of a publish action stand for.
	topic, entity  string
	payload, value []byte
	captured       map[string]string
	key            string         // of Rule.Per
	queued         bool           // it has not begun yet
	vars           map[string]any // of the run
	tooBig         bool           // payload and value were not kept over a wait
}

var errTooBig = fmt.Errorf("the payload that triggered the run was longer than %d bytes and was not kept over the wait", MaxPayload)

// trigger decides on a rule whose trigger has come true, and carries it out up
// to its end or its first wait. It returns nil if it did not run.
func (e *Engine) trigger(t *mqtt.Turn, r *rule, o *event) *Run {
	o.scene.house = e.house()
	o.scene.location = e.location
	o.scene.now = t.Now
	o.scene.home = e.home
	o.scene.trigger = o.cause.Trigger
	o.scene.engine = e
	known := func() *given {
		cause := o.cause // which need not outlast the turn
		g := &given{engine: e, now: t.Now, cause: &cause, topic: o.topic, payload: string(o.scene.payload), value: o.value, entity: o.entity,
			captured: o.captured, durable: r.vars}
		if o.valueIsPayload {
			g.value = g.payload
		}
		return g
	}
	r.seq++
	ordinal := e.now.ordinal
	e.now.ordinal++
	var seen []seen
	if !o.unconditional && len(r.def.Conditions) > 0 {
		var result Result
		result, seen = o.scene.judge(r.def.Conditions, e.seen[:0], known)
		e.seen = seen
		if result != Holds {
			e.skip(t, r, o, ordinal, seen, "")
			return nil
		}
	}
	if r.def.Per != "" {
		v, err := e.evaluate(r.def.Per, false, known())
		if o.key = textOf(v); err != nil || len(o.key) > MaxKey {
			e.skip(t, r, o, ordinal, seen, "What it counts per cannot be told: "+clip(r.def.Per)+".")
			return nil
		}
	}
	if why := e.refuse(r, o); why != "" {
		e.skip(t, r, o, ordinal, seen, why)
		return nil
	}
	if why := e.looping(t, r, o); why != "" {
		e.skip(t, r, o, ordinal, seen, why)
		e.pause(t, r, why)
		return nil
	}
	o.cause.say(o.scene.payload, o.value, o.valueIsPayload)
	run := &Run{
		ID:      runID(t.Number, ordinal),
		Rule:    r.id,
		Name:    r.def.Name,
		Version: r.def.Version,
		Started: t.Now.Wall.Round(0),
		Unsure:  !t.Now.Trusted,
		Trigger: o.cause,
		Seq:     r.seq,
	}
	if len(seen) > 0 {
		run.Conditions = wordsOf(seen, o.scene.payload)
	}
	if mode := r.def.Mode; mode == "" || mode == Restart {
		for _, w := range r.busy(o.key) {
			e.stop(t, w, "It was triggered again.")
		}
	}

	w := &waiting{run: run, rule: r, def: r.def, link: &link{rule: r, by: o.by}, durable: o.durable, topic: o.topic, entity: o.entity, payload: o.scene.payload, value: []byte(o.value),
		captured: o.captured, key: o.key}
	w.threads = []*thread{{waiting: w, at: []frame{{}}, due: o.cause.Planned}}
	if o.valueIsPayload {
		w.value = w.payload
	}
	if o.origin.Session != 0 {
		e.keepOrigin(t, r, o.origin)
	}
	if r.def.Mode == Queued && len(r.busy(o.key)) > 0 {
		w.queued, w.run.Outcome = true, Waiting
		w.keepPayload()
		r.waiting = append(r.waiting, w)
		e.keepWaiting(t, w)
		e.showRun(r, w.run)
		return w.run
	}
	e.advance(t, w.threads[0])
	return w.run
}

// busy lists the runs of a key that wait, those in line included.
func (r *rule) busy(key string) (list []*waiting) {
	for _, w := range r.waiting {
		if w.key == key {
			list = append(list, w)
		}
	}
	return list
}

// promote lets the run begin that is the next in line.
func (e *Engine) promote(t *mqtt.Turn, r *rule, key string) {
	list := r.busy(key)
	if len(list) == 0 || slices.ContainsFunc(list, func(w *waiting) bool { return !w.queued }) {
		return
	}
	w := list[0]
	w.queued = false
	th := w.threads[0]
	th.deadline, th.due = e.deadlineIn(t, 0, &deadline{waiting: th}), w.run.Started
	e.keepWaiting(t, w)
}

// refuse tells why no further run of a rule can begin now, or nothing.
func (e *Engine) refuse(r *rule, o *event) string {
	if err := e.ready(); err != nil && (o.durable || r.def.needsDisk()) {
		return "Nothing can be written to the disk now: " + clip(err.Error()) + "."
	}
	if n := len(r.busy(o.key)); n > 0 {
		switch {
		case r.def.Mode == Single:
			return "An earlier run is still waiting."
		case r.def.Mode == Parallel && n >= r.def.Max:
			return fmt.Sprintf("%d earlier runs are still waiting.", n)
		case r.def.Mode == Queued && n > r.def.Max:
			return fmt.Sprintf("%d runs wait in line.", n-1)
		}
	}
	waits := anyAction(r.def.Actions, (*Action).waits)
	if waits && e.countWaiting() >= MaxWaiting {
		return fmt.Sprintf("%d runs of all automations wait; more are not possible.", MaxWaiting)
	}
	if e.now.bytes > maxBytesInTurn {
		return "Too much was to be done at once."
	}
	return ""
}

// needsDisk tells whether a run is to be on disk before what it sends leaves,
// as far as the rule itself says.
func (r *Rule) needsDisk() bool {
	return r.Mode == Queued || len(r.Variables) > 0 || anyAction(r.Actions, func(a *Action) bool {
		return a.waits() || a.Notify != nil || a.HTTP != nil || a.Publish != nil && (a.Publish.QoS > mqtt.AtMostOnce || a.Publish.Retain)
	})
}

func (e *Engine) countWaiting() int {
	n := len(e.unplaced)
	for _, d := range e.deadlines.heap {
		if d.waiting != nil {
			n++
		}
	}
	return n
}

// whyNot is the sentence for a run whose conditions did not all hold.
func whyNot(seen []Seen) string {
	for _, s := range seen {
		if s.Depth > 0 || s.Result == Holds {
			continue
		}
		if s.Value == "" {
			return "A condition does not hold: " + s.Text + "."
		}
		return "A condition does not hold: " + s.Text + ", it is " + s.Value + "."
	}
	return "A condition does not hold."
}

func clipBytes(b []byte) string {
	if len(b) > maxShown {
		return clip(string(b[:maxShown+1]))
	}
	return clip(string(b))
}

// runID names a run by the turn it begins in. Turn numbers are never used
// twice.
func runID(turn uint64, ordinal int) string {
	id := strconv.FormatUint(turn, 36)
	if ordinal > 0 {
		id += "-" + strconv.Itoa(ordinal)
	}
	return id
}

// act carries out one action. What goes wrong in it, a panic included, is the
// run's alone.
func (e *Engine) act(t *mqtt.Turn, w *thread, a Action, step *Step) (err error) {
	step.Text = a.String()
	e.now.acting = w.link
	defer func() {
		e.now.acting = nil
		if p := recover(); p != nil {
			e.log.Error("action panicked", "rule", w.rule.id, "err", p, "stack", string(debug.Stack()))
			err = errors.New("of an error in Lar, which was logged")
			e.failed = w.rule
			t.Rebuild() // what it did before that may be done by half
		}
	}()
	in := e.given(w, t.Now)
	if in.tooBig && a.mentionsPayload() {
		return errTooBig
	}
	switch {
	case a.Command != nil:
		return e.command(t, w, a.Command, step)
	case a.Scene != nil && a.Scene.Capture != "":
		return e.capture(t, w, a.Scene)
	case a.Scene != nil:
		return e.applyScene(t, w, a.Scene.Apply)
	case a.Set != nil:
		return e.set(t, w, a.Set)
	case a.Call != nil, a.Enable != nil, a.Disable != nil:
		return e.other(t, w, &a)
	case a.Note != "":
		text, err := e.fill(a.Note, in)
		step.Text = "note " + clip(text)
		return err
	case a.Notify != nil, a.HTTP != nil:
		return e.leaves(t, w, &a, step)
	}
	p := a.Publish
	name, err := e.fill(p.Topic, in)
	if err != nil {
		return err
	}
	payload, err := e.payload(p, in)
	if err != nil {
		return err
	}
	step.Text = p.text(name, payload)
	if err := topic.ValidName(name); err != nil {
		return fmt.Errorf("this is no topic: %w", err)
	}
	if len(payload) > MaxSent {
		return fmt.Errorf("a payload has at most %d bytes", MaxSent)
	}
	m := &mqtt.Message{Topic: name, Payload: []byte(payload), QoS: p.QoS, Retain: p.Retain}
	if p.Expiry > 0 { // whole seconds, section 3.3.2.3.3
		m.Expires = t.Now.Run + (time.Duration(p.Expiry) + time.Second - 1).Truncate(time.Second)
	}
	t.Publish(m)
	return nil
}

// keepPayload makes what triggered the run last over a wait, as far as later
// actions ask for it. The bytes of a message are not ours for so long.
func (w *waiting) keepPayload() {
	needed := w.queued || w.def.mentionsPayload(w.threads[0].at[0].Index)
	switch {
	case !needed:
		w.payload, w.value = nil, nil
	case len(w.payload) > MaxPayload || len(w.value) > MaxPayload:
		w.payload, w.value, w.tooBig = nil, nil, true
	case !w.kept:
		w.payload, w.value = slices.Clone(w.payload), slices.Clone(w.value)
	}
}

// copyRun makes the trace one that may be changed: what was shown of it stays
// as it is.
func (w *waiting) copyRun() {
	run := *w.run
	run.Actions = slices.Clone(run.Actions)
	w.run = &run
}

// stop ends a run that waits before its time.
func (e *Engine) stop(t *mqtt.Turn, w *waiting, why string) {
	w.copyRun()
	for _, th := range w.threads {
		th.waited(t)
	}
	e.end(t, w, Stopped, why)
}

// end finishes a run. Its trace is written with the turn when the run had to
// be on disk before what it sent left, lazily otherwise.
func (e *Engine) end(t *mqtt.Turn, w *waiting, outcome Outcome, why string) {
	r := w.rule
	w.run.Outcome, w.run.Why, w.run.Ended = outcome, why, t.Now.Wall.Round(0)
	w.over = true
	for len(w.threads) > 0 {
		e.dropThread(w.threads[0])
	}
	if i := slices.Index(r.waiting, w); i >= 0 {
		r.waiting = slices.Delete(r.waiting, i, i+1)
	}
	if w.kept {
		e.write(t, key(recWaiting, r.id, []byte(w.run.ID)...), nil)
		w.durable = true
	}
	e.keepPledges(t, w, w.durable)
	if w.durable {
		if len(r.newRuns) == MaxRuns { // this run takes the slot of the oldest
			r.newRuns = r.newRuns[1:]
		}
		e.keepTraces(t, r, true) // those before it first, so that slots are in order
		k, v := r.runTrace(w.run)
		e.write(t, k, v)
	} else {
		r.newRuns = later(r.newRuns, w.run, MaxRuns)
		e.keepLater(t, r)
	}
	e.showRun(r, w.run)
	e.runEnded(w)
	e.stir()
	if r.def.Mode == Queued || w.def.Mode == Queued {
		e.promote(t, r, w.key)
	}
}

// keepWaiting writes a run that waits.
func (e *Engine) keepWaiting(t *mqtt.Turn, w *waiting) {
	w.kept = true
	e.keepPledges(t, w, true)
	e.write(t, key(recWaiting, w.rule.id, []byte(w.run.ID)...), encode(&waitingRecord{
		Format:   format,
		Run:      w.run,
		Threads:  w.threadRecords(),
		Before:   w.before,
		Told:     w.told,
		Key:      w.key,
		Queued:   w.queued,
		Captured: w.captured,
		Vars:     w.vars,
		Topic:    w.topic,
		Payload:  w.payload,
		Value:    w.value,
		Entity:   w.entity,
		TooBig:   w.tooBig,
	}))
}

// maxOrigins is how many QoS 1 messages that had a run a rule remembers.
const maxOrigins = 128

// keepOrigin remembers a QoS 1 message that has a run, in the turn of the run.
func (e *Engine) keepOrigin(t *mqtt.Turn, r *rule, o origin) {
	if i := slices.IndexFunc(r.origins, func(k origin) bool { return k.Origin == o.Origin }); i >= 0 {
		// The packet identifier serves another message now.
		e.setOrigin(t, r, i, o)
		return
	}
	if len(r.origins) < maxOrigins {
		r.origins = append(r.origins, origin{})
		e.setOrigin(t, r, len(r.origins)-1, o)
		return
	}
	e.setOrigin(t, r, r.nextOrigin, o)
	r.nextOrigin = (r.nextOrigin + 1) % maxOrigins
}

func (e *Engine) setOrigin(t *mqtt.Turn, r *rule, slot int, o origin) {
	r.origins[slot] = o
	e.write(t, key(recOrigin, r.id, byte(slot)), o.encode())
}

// pause takes a rule out of service until a person switches it on again.
func (e *Engine) pause(t *mqtt.Turn, r *rule, why string) {
	if r.paused != "" {
		return
	}
	r.paused = why
	for len(r.waiting) > 0 {
		e.stop(t, r.waiting[0], why)
	}
	e.forget(t, r)
	e.keepHead(t, r)
	e.rewire(t, r)
	e.show(r)
	e.log.Warn("automation paused", "rule", r.id, "err", why)
}

// other carries out an action on another rule.
func (e *Engine) other(t *mqtt.Turn, w *thread, a *Action) error {
	if a.Call == nil {
		target := cmp.Or(a.Enable, a.Disable)
		if target.Rule == w.rule.id && a.Disable != nil {
			return errors.New("an automation cannot switch itself off while it runs")
		}
		return e.SetEnabled(t, target.Rule, a.Enable != nil, "the automation "+w.rule.id)
	}
	r, err := e.find(a.Call.Rule)
	if err != nil {
		return err
	}
	if !r.live() {
		return errors.New("it is off")
	}
	e.trigger(t, r, &event{cause: Cause{Kind: ByRule, By: w.rule.id}, index: -1, durable: true, unconditional: !a.Call.Conditions, by: w.link, hop: t.Hop()})
	return nil
}
