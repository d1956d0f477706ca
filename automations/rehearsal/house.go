package rehearsal

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
)

// A house is the model and the engine on bare turns: a map for a disk, a clock
// that is moved by hand, and as much of a broker as messages of one house need.
// What a turn publishes comes back within it; a kill loses what was not on disk.
type house struct {
	home     automations.Place
	location *time.Location
	back     time.Duration // how long after a start commands are held

	model  *devices.Model
	engine *automations.Engine

	disk   map[string][]byte
	lazies map[string][]byte // given, not on disk yet
	lazyAt time.Time         // when the first of them was

	retained []*mqtt.Message                          // of the broker, on disk with their turn
	kept     int                                      // retained messages that came
	shown    map[*mqtt.Message]map[mqtt.Consumer]bool // retained messages that were brought

	number  uint64
	turns   int
	wall    time.Time     // the real time of day
	step    time.Duration // how wrong the hub's clock is
	trusted bool
	boot    time.Time
	off     bool
	full    error // why nothing can be written
	wakes   map[mqtt.Consumer]time.Duration

	last     lastTurn
	clients  map[string]*client
	awaiting []mqtt.Message // at their clients, for the hub to be back

	cutAt   int    // the turn after which the power fails, of a sweep; 0 none
	cutLose string // what is lost then
	eager   bool   // lazy writes reach the disk after each turn

	pending  []*automations.Outgoing // handed over, not answered yet
	answerAt time.Time               // when they are
	down     bool                    // nobody outside answers

	recording bool
	outs      []Out
	left      []Sent
	runs      []Ended
	revision  uint64
	known     map[string]automations.Outcome
	failed    error
}

// A lastTurn is what a cut before its commit takes away.
type lastTurn struct {
	before   map[string][]byte // what stood where it wrote
	held     int               // of left, from here on
	outs     int               // of outs, likewise
	wrote    bool
	retained []*mqtt.Message
	came     *mqtt.Message // its client sends it again
}

type client struct {
	session uint32
	packet  uint16
	since   time.Time // when it has connected; zero for the start of the hub
	last    *mqtt.Message
}

// A Sent is a message that a rule has published.
type Sent struct {
	At       time.Time
	Topic    string
	Payload  string
	QoS      mqtt.QoS
	Retain   bool
	withDisk bool // it waited for the disk
}

// An Out is a notification or a request that left, the first time.
type Out struct {
	At time.Time
	*automations.Outgoing
}

// answerAfter is how long it takes until what left is known to have arrived.
const answerAfter = time.Second

// send is what stands outside: everything arrives, once for a key.
func (h *house) send(o *automations.Outgoing) {
	h.pending = append(h.pending, o)
	if h.answerAt = h.wall.Add(answerAfter); h.down || h.givenUp(o) {
		return
	}
	h.arrive(o)
}

func (h *house) arrive(o *automations.Outgoing) {
	if !slices.ContainsFunc(h.outs, func(was Out) bool { return was.Key == o.Key }) {
		h.outs = append(h.outs, Out{h.wall, o})
	}
}

// How long is tried to send a notification and a request, see
// packaging/docs/notifications.md.
const (
	notifyFor  = 24 * time.Hour
	requestFor = time.Hour
)

// outside is whether anybody outside answers, from now on.
func (h *house) outside(ok bool) {
	h.down = !ok
	for _, o := range h.pending {
		if ok && !h.givenUp(o) {
			h.arrive(o)
		}
	}
	h.answerAt = h.wall.Add(answerAfter)
}

// givenUp tells whether something has been tried for too long.
func (h *house) givenUp(o *automations.Outgoing) bool {
	long := notifyFor
	if o.HTTP != nil {
		long = requestFor
	}
	return h.wall.Add(h.step).Sub(o.Made) > long
}

// answer says of one that left that it has arrived, or is given up.
func (h *house) answer() {
	o := h.pending[0]
	h.pending = h.pending[1:]
	var failed error
	if h.givenUp(o) {
		failed = errors.New("nobody answered")
	}
	h.turn(func(t *mqtt.Turn) { h.engine.Delivered(t, o.Key, failed) })
	h.cut()
}

// An Ended is a run that has ended, or did not run.
type Ended struct {
	At      time.Time
	Rule    string
	Outcome automations.Outcome
	Text    string
}

// maxTurns bounds what a test plays.
const maxTurns = 1_000_000

var errTooLong = fmt.Errorf("the house was busy for more than %d turns", maxTurns)

func newHouse(place automations.Place, location *time.Location, at time.Time, trusted bool) *house {
	return &house{
		home: place, location: location, wall: at, trusted: trusted,
		disk: map[string][]byte{}, lazies: map[string][]byte{}, clients: map[string]*client{},
		known: map[string]automations.Outcome{},
	}
}

func (h *house) scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(h.disk)) {
		if strings.HasPrefix(key, string(prefix)) && key >= string(from) && !fn([]byte(key), slices.Clone(h.disk[key])) {
			break
		}
	}
	return nil
}

// start is the start of the hub, as the broker has it: one Wake each, then the
// retained messages, then what is due.
func (h *house) start() error {
	h.off, h.boot, h.pending = false, h.wall, nil
	h.wakes, h.shown = map[mqtt.Consumer]time.Duration{}, map[*mqtt.Message]map[mqtt.Consumer]bool{}
	log := slog.New(slog.DiscardHandler)
	model, err := devices.New(devices.Options{Scan: h.scan, Log: log})
	if err != nil {
		return err
	}
	engine, err := automations.New(automations.Config{
		Scan: h.scan, Ready: func() error { return h.full }, Model: model, Location: h.location, Place: h.home, Log: log, Send: h.send,
		Settle: h.back,
	})
	if err != nil {
		return err
	}
	model.Watch(engine)
	h.model, h.engine = model, engine
	h.turn(h.wakeAll)
	h.show()
	h.settle()
	waiting := h.awaiting
	h.awaiting = nil
	for _, m := range waiting {
		m.Connected = 0
		h.come(m)
	}
	return nil
}

func (h *house) wakeAll(t *mqtt.Turn) {
	for _, c := range h.consumers() {
		c.Wake(t)
	}
}

func (h *house) consumers() []mqtt.Consumer { return []mqtt.Consumer{h.model, h.engine} }

// show brings retained messages to those that have come to want them.
func (h *house) show() {
	for again := true; again; {
		again = false
		for _, m := range h.retained {
			if h.shown[m] == nil {
				h.shown[m] = map[mqtt.Consumer]bool{}
			}
			for _, c := range h.consumers() {
				if h.shown[m][c] || !c.Wants(m.Topic) {
					continue
				}
				h.shown[m][c], again = true, true
				past := &mqtt.Message{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: true, Retained: true}
				h.turn(func(t *mqtt.Turn) { c.Accept(t, past, c.Prepare(m.Topic, m.Payload)) })
			}
		}
	}
}

func (h *house) deliver(t *mqtt.Turn, m *mqtt.Message) {
	for _, c := range h.consumers() {
		if c.Wants(m.Topic) {
			c.Accept(t, m, c.Prepare(m.Topic, m.Payload))
		}
	}
}

// turn decides a turn and all that follows from it.
func (h *house) turn(fn func(*mqtt.Turn)) {
	h.number++
	if h.turns++; h.turns > maxTurns {
		h.failed = errTooLong
		return
	}
	retained, kept := slices.Clone(h.retained), h.kept
	t := &mqtt.Turn{Number: h.number, Now: mqtt.Now{Wall: h.wall.Add(h.step), Trusted: h.trusted, Run: h.wall.Sub(h.boot)}}
	fn(t)
	t.Play(func(m *mqtt.Message) {
		if m.Retain {
			h.keep(m)
		}
		h.deliver(t, m)
	})
	for _, c := range h.consumers() {
		if at, ok := t.NextWake(c); ok {
			h.wakes[c] = at
		}
	}
	h.last = lastTurn{before: map[string][]byte{}, held: len(h.left), outs: len(h.outs), wrote: len(t.Writes()) > 0 || h.kept != kept, retained: retained}
	for _, w := range t.Writes() {
		k := string(w.Key)
		if !has(h.last.before, k) {
			h.last.before[k] = h.disk[k]
		}
		h.apply(k, w.Value)
		delete(h.lazies, k)
	}
	h.ride()
	for _, w := range t.Lazies() {
		if k := string(w.Key); !has(h.last.before, k) { // never on disk before its turn
			h.last.before[k] = h.disk[k]
		}
		if len(h.lazies) == 0 {
			h.lazyAt = h.wall
		}
		h.lazies[string(w.Key)] = w.Value
	}
	if h.recording {
		for _, m := range t.Published() {
			h.left = append(h.left, Sent{h.wall, m.Topic, string(m.Payload), m.QoS, m.Retain, h.last.wrote})
		}
	}
	h.note()
	if h.eager {
		h.flush()
	}
	durable, later := t.Deferred()
	for _, work := range append(durable, later...) {
		work()
	}
	if t.Rewired() {
		for m, to := range h.shown {
			for c := range to {
				if t.Recalled(c, m.Topic) {
					delete(to, c)
				}
			}
		}
		h.show()
	}
}

func has(m map[string][]byte, key string) bool {
	_, ok := m[key]
	return ok
}

func (h *house) apply(key string, value []byte) {
	if value == nil {
		delete(h.disk, key)
	} else {
		h.disk[key] = value
	}
}

// note writes down which runs have ended.
func (h *house) note() {
	if r := h.engine.Revision(); r == h.revision {
		return
	} else {
		h.revision = r
	}
	for _, r := range slices.Concat(h.engine.Rules(), h.engine.Deleted()) {
		for _, run := range slices.Backward(h.engine.Runs(r.ID)) {
			id := r.ID + "\x00" + run.ID
			if h.known[id] == run.Outcome {
				continue
			}
			h.known[id] = run.Outcome
			if h.recording && run.Outcome != automations.Waiting {
				text := run.Trigger.String()
				if run.Why != "" {
					text += ": " + run.Why
				}
				h.runs = append(h.runs, Ended{h.wall, r.ID, run.Outcome, text})
			}
		}
	}
}

// keep is the broker's part of a retained message.
func (h *house) keep(m *mqtt.Message) {
	h.kept++
	h.retained = slices.DeleteFunc(h.retained, func(old *mqtt.Message) bool { return old.Topic == m.Topic })
	if len(m.Payload) > 0 {
		h.retained = append(h.retained, m)
		if h.shown != nil {
			h.shown[m] = map[mqtt.Consumer]bool{}
			for _, c := range h.consumers() {
				h.shown[m][c] = c.Wants(m.Topic)
			}
		}
	}
}

// connect is that of a client which was away for a moment.
func (h *house) connect(name string) { h.client(name).since = h.wall }

func (h *house) client(name string) *client {
	c := h.clients[name]
	if c == nil {
		c = &client{session: uint32(len(h.clients) + 1)}
		h.clients[name] = c
	}
	return c
}

// publish is a message from a client.
func (h *house) publish(name string, m mqtt.Message) {
	c := h.client(name)
	m.ClientID, m.Connected = name, 0
	if c.since.After(h.boot) {
		m.Connected = c.since.Sub(h.boot)
	}
	if m.QoS > mqtt.AtMostOnce {
		c.packet++
		m.Origin = mqtt.Origin{Session: c.session, PacketID: c.packet}
	}
	kept := m
	c.last = &kept
	if h.off {
		if m.QoS > mqtt.AtMostOnce {
			h.awaiting = append(h.awaiting, m)
		}
		return
	}
	h.come(m)
}

// repeat sends the last message of a client once more, as a client does that
// has seen no acknowledgement.
func (h *house) repeat(name string) error {
	c := h.clients[name]
	if c == nil || c.last == nil || c.last.QoS != mqtt.AtLeastOnce {
		return errors.New("this client has published nothing with QoS 1")
	}
	m := *c.last
	m.Dup = true
	if h.off {
		h.awaiting = append(h.awaiting, m)
		return nil
	}
	h.come(m)
	return nil
}

func (h *house) come(m mqtt.Message) {
	h.turn(func(t *mqtt.Turn) {
		if m.Retain {
			h.keep(&m)
		}
		h.deliver(t, &m)
	})
	h.last.came = &m
	h.cut()
	h.settle()
}

// do is a form.
func (h *house) do(fn func(t *mqtt.Turn) error) error {
	var err error
	h.turn(func(t *mqtt.Turn) { err = fn(t) })
	if h.cut() { // whoever sent the form sees no answer, and sends it again
		h.turn(func(t *mqtt.Turn) { err = fn(t) })
	}
	h.settle()
	return err
}

// cut is the power cut of a sweep, if it is due; lost tells whether the last
// turn was never on disk.
func (h *house) cut() (lost bool) {
	if h.cutAt == 0 || h.turns < h.cutAt || h.off {
		return false
	}
	h.cutAt = 0
	lost = h.cutLose == "turn" && h.last.wrote
	h.kill(h.cutLose)
	if err := h.start(); err != nil {
		h.failed = err
	}
	return lost
}

// settle does what is due now.
func (h *house) settle() { h.until(h.wall) }

// until lets time pass.
func (h *house) until(at time.Time) {
	for !h.off && h.failed == nil {
		var next mqtt.Consumer
		for _, c := range h.consumers() {
			if due, ok := h.wakes[c]; ok && due >= 0 && (next == nil || due < h.wakes[next]) {
				next = c
			}
		}
		due := at.Add(1) // nothing is
		if next != nil {
			due = h.boot.Add(h.wakes[next])
		}
		if len(h.pending) > 0 && !h.down && !h.answerAt.After(at) && !h.answerAt.After(due) {
			h.wall = later(h.wall, h.answerAt)
			h.answer()
			continue
		}
		if due.After(at) {
			break
		}
		if due.After(h.wall) {
			h.wall = due
		}
		delete(h.wakes, next)
		h.turn(next.Wake)
		h.cut()
	}
	if at.After(h.wall) {
		h.wall = at
	}
}

// kill is the power cut.
func (h *house) kill(lose string) {
	h.ride()
	switch lose {
	case "nothing":
		h.flush()
	case "turn":
		for k, v := range h.last.before {
			h.apply(k, v)
		}
		if h.last.retained != nil || h.last.wrote {
			h.retained = h.last.retained
		}
		kept := h.left[:h.last.held]
		for _, s := range h.left[h.last.held:] {
			if !s.withDisk {
				kept = append(kept, s)
			}
		}
		h.left, h.outs = kept, h.outs[:h.last.outs]
		if m := h.last.came; m != nil && m.QoS > mqtt.AtMostOnce && h.last.wrote {
			again := *m
			again.Dup = m.QoS == mqtt.AtLeastOnce
			h.awaiting = append(h.awaiting, again)
		}
	}
	h.lazies = map[string][]byte{}
	h.off = true
}

// stop is a stop in good order.
func (h *house) stop() {
	h.turn(func(t *mqtt.Turn) {
		h.model.Flush(t)
		h.engine.Flush(t)
	})
	h.flush()
	h.off = true
}

// lazyPeriod is how long a lazy write waits, as in the store of the hub.
const lazyPeriod = 5 * time.Second

// ride takes to the disk what was given lazily and has waited its time.
func (h *house) ride() {
	if h.wall.Sub(h.lazyAt) >= lazyPeriod && h.full == nil {
		h.flush()
	}
}

func (h *house) flush() {
	for k, v := range h.lazies {
		h.apply(k, v)
	}
	h.lazies = map[string][]byte{}
}
