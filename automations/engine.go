package automations

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/expr-lang/expr/vm"

	"lar.home/devices"
	"lar.home/mqtt"
)

// What the engine does at most in one turn; the rest waits for the next.
const (
	maxDueInTurn   = 16        // deadlines that are acted on
	maxBytesInTurn = 192 << 10 // written by runs; a turn holds 512 KiB in all
)

// retryAfter is how long the engine waits for a disk that takes nothing.
const retryAfter = time.Second

// Config is what an Engine needs.
type Config struct {
	// Scan reads the store, as mqtt.Store has it; nil is an empty store.
	Scan func(prefix, from []byte, fn func(key, value []byte) bool) error
	// Ready says why nothing can be written now, as mqtt.Store has it; nil is
	// always ready. Until it is again, runs that would need the disk do not
	// begin, what is due stays due, and changes of rules are refused.
	Ready func() error
	// Model is what rules see and command; nil is a house without devices.
	Model Model
	// Location is where times of day are taken; nil is time.Local.
	Location *time.Location
	// Place is where the home stands, for the sun.
	Place Place
	// Send is handed what leaves the house by another way than a message, once
	// it is on disk: at its turn, and all that is left at a start. It is called
	// outside the house's lock and does not block; what became of it is told
	// by Engine.Delivered, within a turn of its own. Nil sends nothing: what
	// is to be sent waits.
	Send func(o *Outgoing)
	// Channel tells whether there is a channel for notifications with a name;
	// nil takes every name. It is called under the house's lock.
	Channel func(name string) bool
	// Settle is how long after a start commands wait that follow from it, and
	// those that may not have left before it, so that devices are back to hear
	// them.
	Settle time.Duration
	Log    *slog.Logger
}

// A Place is a position on Earth, in degrees; the zero Place is not known.
type Place struct {
	Known               bool
	Latitude, Longitude float64 // north and east are positive
}

// An Engine decides what rules do. Its Accept, Wake and Changed, and the
// methods that take a turn, are called under the house's lock; all others may
// be called from anywhere at any time.
//
// The first Wake after New only puts the deadlines of runs that wait back in
// place. What is overdue is done in a turn of its own after it, when the
// devices have been found again.
type Engine struct {
	scan     func(prefix, from []byte, fn func(key, value []byte) bool) error
	ready    func() error
	model    Model
	location *time.Location
	home     Place
	send     func(o *Outgoing)
	channel  func(name string) bool
	log      *slog.Logger

	settleTime time.Duration

	decided // under the house's lock

	at     *rule          // that something is being done for; what panics there is told of it
	failed *rule          // at an action of which it panicked
	wrong  map[string]int // how often that was, by the rule's ID

	// For everyone.
	programsMu  sync.RWMutex
	programs    map[string]*vm.Program // compiled expressions
	index       atomic.Pointer[index]
	view        atomic.Pointer[view]
	revision    atomic.Uint64
	outgoing    atomic.Pointer[[]*Outgoing]
	scenesShown atomic.Pointer[[]*SceneKept]
}

// decided is what the engine has in memory of what it decides on, under the
// house's lock: all of it follows from the store.
type decided struct {
	rules     map[string]*rule
	order     []*rule         // by ID: the order in which they see what happens
	damaged   map[string]bool // IDs in the store that could not be read
	started   bool            // there was a Wake
	deadlines deadlines
	unplaced  []*deadline   // from before this start
	offset    time.Duration // of the wall clock to Run, as deadlines were last written
	asked     time.Duration // the time Wake was last asked for; -1 none
	traced    []*rule       // with traces yet to be written
	keepAt    time.Duration // when they are; -1 while there are none
	retryAt   time.Duration // not before is the disk tried again
	trackers  struct {      // of the house they were looked for in
		house House
		list  []string
	}
	machine   vm.VM         // calculates expressions
	seen      []seen        // of the conditions that are being judged
	unwritten []memoryOf    // memory that could not be written when it flipped
	purgeAt   time.Duration // when rules deleted long ago are looked for next
	// The wall clock as the deadlines that follow it were last placed.
	followed    bool
	wallOffset  time.Duration
	wallTrusted bool
	awaiting    []*thread     // runs that wait for conditions
	active      []*waiting    // runs that are being carried out, one within the other
	lookAt      time.Duration // when they are looked at next; -1 when an event tells
	now         turnState
	out         []*Outgoing // that waits to be sent, the oldest first
	scenes      map[string]*SceneKept
	told        map[string]told // entities that were commanded lately
	unconfirmed []*unconfirmed  // commands with a worth, the oldest first
	againAt     time.Duration   // when those from before the start are given again; -1 never
	starting    bool            // what is done follows from a deadline, not from what is heard
	againLater  bool            // some wait for a clock that can be trusted
	handed      bool            // Send was given what was left by the boot before
	rebuilt     bool            // it was read again, in the midst of a boot
	// starts are the Run times at which rules are to be triggered by the start
	// of the hub, of those that were still to come as it was read again.
	starts map[startOf]time.Duration
}

// turnState is what the engine counts within one turn.
type turnState struct {
	number   uint64
	known    bool
	ordinal  int          // of the runs that began
	outgoing int          // of what leaves
	pledged  int          // of the commands with a worth
	repeated *unconfirmed // the command that is being given again
	bytes    int          // written by runs
	again    bool         // there is more to do, in a turn of its own
	depth    int          // of calls into the engine that are under way
	later    []laterEvent // to be triggered as what is being done has ended
	changes  []change     // told while a call was under way
	acting   *link        // the run that is being carried out
	made     map[*mqtt.Message]*link
	stirred  bool          // what runs wait for may have come
	loops    map[*rule]int // runs that the same rule has set off
}

// A rule is what the engine keeps of a Rule.
type rule struct {
	id       string
	def      *Rule // the version that is on
	versions []*Rule
	enabled  bool
	paused   string
	deleted  *Saved
	plans    []schedule // of each trigger; nil for those that follow no clock
	memory   []memory   // of each trigger
	vars     map[string]any
	waiting  []*waiting

	runs                  []*Run          // newest first; the slice is never changed
	skips                 skips           // triggers that ran nothing
	runOrder, notRunOrder uint64          // of their next records
	newRuns               []*Run          // yet to be written, the oldest first
	newSkips              int             // noted since some were written
	slots                 [MaxRuns]uint64 // Seq of the run in each slot of records
	traced                bool            // it stands in Engine.traced
	traceAt               time.Duration   // not before are its traces written
	seq                   uint64
	selves                []time.Duration // Run times at which it set itself off
	selvesBefore          []time.Time     // those of before the start
	origins               []origin        // a ring, of runs for QoS 1 messages
	nextOrigin            int

	shown atomic.Pointer[shown]
}

// live tells whether triggers count.
func (r *rule) live() bool { return r.enabled && r.paused == "" && r.deleted == nil }

func (r *rule) version(n int) *Rule {
	i, ok := slices.BinarySearchFunc(r.versions, n, func(v *Rule, n int) int { return v.Version - n })
	if !ok {
		return nil
	}
	return r.versions[i]
}

var (
	_ mqtt.Consumer    = (*Engine)(nil)
	_ devices.Watcher  = (*Engine)(nil)
	_ devices.Listener = (*Engine)(nil)
)

// New returns an engine with what the store holds. A record that cannot be
// read is left where it is and logged; what depends on it is left out.
func New(c Config) (*Engine, error) {
	e := &Engine{
		scan:     c.Scan,
		ready:    c.Ready,
		model:    c.Model,
		location: c.Location,
		home:     c.Place,
		send:     c.Send,
		channel:  c.Channel,
		log:      c.Log,
		wrong:    map[string]int{},

		settleTime: c.Settle,
	}
	if e.ready == nil {
		e.ready = func() error { return nil }
	}
	if e.location == nil {
		e.location = time.Local
	}
	if e.log == nil {
		e.log = slog.New(slog.DiscardHandler)
	}
	if err := e.read(); err != nil {
		return nil, err
	}
	return e, nil
}

// read begins with what the store holds.
func (e *Engine) read() error {
	e.decided = decided{rules: map[string]*rule{}, damaged: map[string]bool{}, asked: -1, keepAt: -1, lookAt: -1, againAt: -1}
	if e.scan != nil {
		if err := e.load(); err != nil {
			return fmt.Errorf("load automations: %w", err)
		}
	}
	for _, r := range e.order {
		e.show(r)
	}
	e.showAll()
	x := newIndex(e.order)
	if old := e.index.Load(); old != nil {
		x.version += old.version + 1 // what was prepared by the old one is prepared again
		x.nothing = &prepared{version: x.version}
	}
	e.index.Store(x)
	return nil
}

// add takes a rule in, and remove takes it out.
func (e *Engine) add(r *rule) {
	e.rules[r.id] = r
	i, _ := slices.BinarySearchFunc(e.order, r.id, byID)
	e.order = slices.Insert(e.order, i, r)
}

func (e *Engine) remove(r *rule) {
	delete(e.rules, r.id)
	if i, ok := slices.BinarySearchFunc(e.order, r.id, byID); ok {
		e.order = slices.Delete(e.order, i, i+1)
	}
}

func byID(r *rule, id string) int { return strings.Compare(r.id, id) }

// house returns what is known of the devices; nil without a model.
func (e *Engine) house() House {
	if e.model == nil {
		return nil
	}
	if h := e.model.House(); h != nil {
		return h
	}
	return nil
}

// Wants implements mqtt.Consumer.
func (e *Engine) Wants(topic string) bool { return e.index.Load().wants(topic) }

// Prepare implements mqtt.Consumer.
func (e *Engine) Prepare(topic string, payload []byte) any {
	return e.index.Load().prepare(topic, payload)
}

// Accept implements mqtt.Consumer. A retained message is the past, not news.
func (e *Engine) Accept(t *mqtt.Turn, m *mqtt.Message, given any) {
	p, _ := given.(*prepared)
	if x := e.index.Load(); p == nil || p.version != x.version {
		p = x.prepare(m.Topic, m.Payload)
	}
	if len(p.refs) == 0 || m.Retained && !p.retained {
		return
	}
	e.enter(t)
	defer e.leave(t)
	var hear []hearing // before this message, not because of it
	for _, f := range p.refs {
		if f.wait != nil && !m.Retained {
			hear = e.listeners(f, hear)
		}
	}
	for _, f := range p.refs {
		if f.wait == nil {
			e.at = f.rule
			e.message(t, f, m, p.parts)
		}
	}
	for _, l := range hear {
		e.at = l.thread.rule
		e.hears(t, l, m, p.parts)
	}
	e.at = nil
}

// message triggers a rule by a message, if its payload is as asked for.
func (e *Engine) message(t *mqtt.Turn, f *ref, m *mqtt.Message, parts parts) {
	if !f.rule.live() || f.rule.def != f.def { // paused earlier in this very turn
		return
	}
	if f.def.Triggers[f.trigger].Silent != nil {
		if !m.Retained {
			e.hear(t, f.rule, f.trigger)
		}
		return
	}
	trigger := f.def.Triggers[f.trigger].Message
	if m.Dup && f.repeated(m) { // it had its run, or was seen
		return
	}
	if (m.Retained || trigger.remembers()) && !e.counts(t, f, m, parts) {
		return
	}
	var o event
	o.scene.payload, o.scene.parts, o.scene.message = m.Payload, parts, true
	if f.compare != nil {
		if r, _ := o.scene.compare(f.compare); r != Holds {
			return
		}
	}
	o.cause.Kind, o.cause.Topic, o.cause.Trigger = ByMessage, m.Topic, f.def.Triggers[f.trigger].ID
	o.index, o.by, o.hop, o.topic = f.trigger, e.madeBy(m), m.Hop(), m.Topic
	if o.repeats(f.rule, m) {
		return // it had its run
	}
	if p := trigger.place(); p != "" {
		o.value = parts[p]
	} else {
		o.valueIsPayload = true
	}
	if f.captures {
		o.captured = capture(trigger.Filter, m.Topic)
	}
	e.trigger(t, f.rule, &o)
}

// repeats tells whether a rule has run for a message already, and notes what
// is needed to know it again.
func (o *event) repeats(r *rule, m *mqtt.Message) bool {
	if m == nil {
		return false
	}
	o.durable = o.durable || m.QoS > mqtt.AtMostOnce
	if m.QoS != mqtt.AtLeastOnce || m.Origin.Session == 0 {
		return false
	}
	o.origin = origin{Origin: m.Origin, hash: hashOf(m.Topic, m.Payload)}
	return m.Dup && slices.Contains(r.origins, o.origin)
}

// repeated tells whether a message comes a second time that a rule had a run
// for.
func (f *ref) repeated(m *mqtt.Message) bool {
	var o event
	return o.repeats(f.rule, m)
}

// A change is a devices.Change that concerns a trigger.
type change struct {
	devices.Change
	ref *ref
	by  *link
}

// Changed implements devices.Watcher.
func (e *Engine) Changed(t *mqtt.Turn, changes []devices.Change, structure bool) {
	x := e.index.Load()
	entered := false
	if len(e.awaiting) > 0 && len(changes) > 0 {
		entered = true
		e.enter(t)
		defer e.leave(t)
		e.now.stirred = true
	}
	for i := range changes {
		c := &changes[i]
		if c.Entity == nil {
			continue
		}
		if c.Aspect != "" && (len(e.awaiting) > 0 || len(x.relied) > 0) {
			e.relied(t, c)
		}
		if len(e.unconfirmed) > 0 {
			e.reported(t, c.Entity, c.News)
		}
		refs := x.entities[c.Entity.ID]
		if c.Aspect != "" {
			refs = x.aspects[aspectKey{c.Entity.ID, c.Aspect}]
		}
		if len(refs) > 0 && !entered {
			entered = true
			e.enter(t)
			defer e.leave(t)
		}
		for _, f := range refs {
			// What a command of a run changes while that run is carried out is
			// decided after it, as everything that follows from a run is.
			of := change{Change: *c, ref: f, by: e.now.acting}
			if of.by == nil {
				of.by = e.madeBy(c.Message)
			}
			if of.by == nil && len(e.told) > 0 && c.Message != nil {
				of.by = e.answerTo(t, c.Entity.ID)
			}
			if c.Aspect == "" { // the availability: the value is what it was
				value, _ := reading(c.Entity, f.def.Triggers[f.trigger].State.Aspect)
				of.Old, of.New = devices.Value(value), devices.Value(value)
			}
			e.now.changes = append(e.now.changes, of)
		}
	}
}

// Wake implements mqtt.Consumer: what is due is done, in the order of the
// times it was due. One that goes wrong does not keep others from theirs.
func (e *Engine) Wake(t *mqtt.Turn) {
	e.enter(t)
	defer e.leave(t)
	e.asked, e.starting = -1, true
	// This is the turn that was asked for. It may have the number of the one
	// before, which then wrote nothing.
	e.now.again = false
	e.place(t)
	if !e.started {
		e.started = true
		e.now.again = true // what follows the clock, and what runs wait for, is looked at after the retained messages
		e.placeLimits(t)
		e.placeAgain(t)
		for _, o := range e.out {
			if !e.handed { // once more: nobody knows what became of it
				e.dispatch(t, o)
			}
		}
		e.handed = true
		return
	}
	if e.ready() != nil {
		e.retryAt = t.Now.Run + retryAfter
		return
	}
	e.writeMemory(t)
	e.followClock(t)
	first := !e.followed
	if e.follow(t); first {
		e.stir()
	}
	e.purge(t)
	e.keepDue(t)
	if e.lookAt >= 0 && e.lookAt <= t.Now.Run {
		e.lookAt = -1
		e.look(t)
		e.lookAgain(t)
	}
	for range maxDueInTurn {
		d := e.deadlines.first()
		if d == nil || d.due > t.Now.Run || e.now.bytes > maxBytesInTurn {
			break
		}
		e.deadlines.remove(d)
		if d.waiting != nil {
			e.at = d.waiting.rule
			e.resume(t, d.waiting)
		} else {
			e.at = d.rule
			e.due(t, d.rule, d.trigger)
		}
		e.at = nil
	}
	if e.againLater && t.Now.Trusted {
		e.placeAgain(t)
	}
	// After what is overdue, which may take the place of what was told before.
	if d := e.deadlines.first(); e.againAt >= 0 && e.againAt <= t.Now.Run && (d == nil || d.due > t.Now.Run) {
		e.giveAgain(t)
	}
}

// enter begins a call within a turn, and leave ends it: the outermost one
// decides what has changed meanwhile and asks for the next deadline. A turn
// that neither wrote nor sent may leave its number to the next one; then there
// is nothing of it to be forgotten either.
func (e *Engine) enter(t *mqtt.Turn) {
	if e.now.depth == 0 && t.Hop() == 0 {
		e.starting = false
	}
	if e.now.depth == 0 && (!e.now.known || e.now.number != t.Number) {
		clear(e.now.made)
		clear(e.now.loops)
		e.now = turnState{number: t.Number, known: true, changes: e.now.changes[:0], later: e.now.later[:0], made: e.now.made, loops: e.now.loops}
	}
	e.now.depth++
}

func (e *Engine) leave(t *mqtt.Turn) {
	if e.now.depth == 1 && e.at == nil { // otherwise it is a panic that leaves
		for i, j := 0, 0; ; { // the lists may grow meanwhile
			switch {
			case i < len(e.now.changes):
				c := e.now.changes[i]
				i++
				e.at = c.ref.rule
				e.state(t, &c)
				e.at = nil
				continue
			case j < len(e.now.later):
				l := e.now.later[j]
				j++
				e.at = l.ref.rule
				e.doLater(t, &l)
				e.at = nil
				continue
			case e.now.stirred:
				e.look(t)
				continue
			}
			break
		}
		clear(e.now.later)
		e.now.later = e.now.later[:0]
		clear(e.now.changes)
		e.now.changes = e.now.changes[:0]
		next := time.Duration(-1)
		if d := e.deadlines.first(); d != nil {
			next = max(d.due, t.Now.Run)
		}
		if e.keepAt >= 0 && (next < 0 || e.keepAt < next) {
			next = max(e.keepAt, t.Now.Run)
		}
		if e.lookAt >= 0 && (next < 0 || e.lookAt < next) {
			next = max(e.lookAt, t.Now.Run)
		}
		if e.againAt >= 0 && (next < 0 || e.againAt < next) {
			next = max(e.againAt, t.Now.Run)
		}
		if e.now.again || next < 0 && len(e.unwritten) > 0 {
			next = t.Now.Run
		}
		if next >= 0 {
			next = max(next, e.retryAt)
		}
		if next != e.asked {
			t.WakeAt(e, next)
			e.asked = next
		}
	}
	e.now.depth--
}

// write makes a record of a run durable with the turn, and counts it.
func (e *Engine) write(t *mqtt.Turn, key, value []byte) {
	e.now.bytes += len(key) + len(value)
	t.Write(key, value)
}
