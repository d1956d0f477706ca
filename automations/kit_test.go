package automations

import (
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A kit is a house for tests: the devices and an engine on bare turns, a map
// for a disk, and a clock that is moved by hand. It stands for the broker: what a turn
// publishes comes back within it, a kill loses what was not on disk.
type kit struct {
	t      testing.TB
	engine *Engine
	model  *devices.Model

	retained []*mqtt.Message // the broker's, on disk at once
	shown    map[*mqtt.Message]bool

	disk   map[string][]byte
	lazies map[string][]byte // given, not on disk yet

	number  uint64
	wall    time.Time     // the real time of day
	step    time.Duration // how wrong the hub's clock is
	trusted bool
	boot    time.Time
	off     bool
	full    error // the disk is
	wakes   map[mqtt.Consumer]time.Duration

	sent  []string // all that was published by rules
	log   []string // of the turns since it was last read
	turns int
	// cut is the turn after which the power fails, 0 none; early tells that
	// it fails before that turn is on disk.
	cut   int
	early bool
	eager bool // lazy writes reach the disk after each turn
	lost  bool // the turn just decided never was
	// mendAt is the turn after which devices and engine are rebuilt, as after a
	// panic; 0 none.
	mendAt int
	// fault, if not nil, is called as the engine asks whether the disk takes
	// anything: it may panic. Such a turn is dropped.
	fault func()
}

func newKit(t testing.TB) *kit {
	k := &kit{
		t:       t,
		disk:    map[string][]byte{},
		lazies:  map[string][]byte{},
		wall:    time.Date(2026, 3, 2, 12, 0, 0, 0, time.UTC), // a Monday
		trusted: true,
	}
	k.start()
	return k
}

func (k *kit) scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	for _, key := range slices.Sorted(maps.Keys(k.disk)) {
		if strings.HasPrefix(key, string(prefix)) && key >= string(from) && !fn([]byte(key), slices.Clone(k.disk[key])) {
			break
		}
	}
	return nil
}

// start is the start of the hub, as the broker has it: one Wake each, then the
// retained messages, then what is due.
func (k *kit) start() {
	k.off, k.boot = false, k.wall
	k.wakes, k.shown = map[mqtt.Consumer]time.Duration{}, map[*mqtt.Message]bool{}
	log := slog.New(slog.NewTextHandler(logTo{k}, &slog.HandlerOptions{Level: slog.LevelError}))
	model, err := devices.New(devices.Options{Scan: k.scan, Log: log})
	if err != nil {
		k.t.Fatal(err)
	}
	engine, err := New(Config{Scan: k.scan, Ready: k.ready, Model: model, Location: time.UTC, Log: log})
	if err != nil {
		k.t.Fatal(err)
	}
	model.Watch(engine)
	k.model, k.engine = model, engine
	k.turn(func(t *mqtt.Turn) {
		for _, c := range k.consumers() {
			c.Wake(t)
		}
	})
	k.show()
	k.until(k.wall)
}

func (k *kit) consumers() []mqtt.Consumer { return []mqtt.Consumer{k.model, k.engine} }

// show brings retained messages to those that have come to want them.
func (k *kit) show() {
	for again := true; again; {
		again = false
		for _, m := range k.retained {
			if k.shown[m] || !k.model.Wants(m.Topic) && !k.engine.Wants(m.Topic) {
				continue
			}
			k.shown[m], again = true, true
			past := &mqtt.Message{Topic: m.Topic, Payload: m.Payload, QoS: m.QoS, Retain: true, Retained: true}
			k.turn(func(t *mqtt.Turn) { k.deliver(t, past) })
		}
	}
}

// logTo shows errors in the script.
type logTo struct{ k *kit }

func (l logTo) Write(b []byte) (int, error) {
	_, text, _ := strings.Cut(string(b), "msg=")
	text, _, _ = strings.Cut(text, " stack=")
	l.k.log = append(l.k.log, "log: "+strings.TrimSpace(text))
	return len(b), nil
}

// kill is kill -9: what was lazily given is lost. The hub is off until start.
func (k *kit) kill() {
	k.lazies = map[string][]byte{}
	k.off = true
}

// mend is what the broker does after a panic: all that was given is on disk
// first.
func (k *kit) mend() {
	k.flush()
	k.turn(func(t *mqtt.Turn) {
		for _, err := range []error{k.model.Rebuild(t), k.engine.Rebuild(t)} {
			if err != nil {
				k.t.Fatal(err)
			}
		}
	})
	k.shown = map[*mqtt.Message]bool{}
	k.turn(func(t *mqtt.Turn) {
		for _, c := range k.consumers() {
			c.Wake(t)
		}
	})
	k.show()
	k.until(k.wall)
}

// flush is what the store does every few seconds.
func (k *kit) flush() {
	k.apply(k.lazies)
	k.lazies = map[string][]byte{}
}

func (k *kit) apply(writes map[string][]byte) {
	for key, v := range writes {
		if v == nil {
			delete(k.disk, key)
		} else {
			k.disk[key] = v
		}
	}
}

// turn decides a turn and all that follows from it.
func (k *kit) turn(fn func(*mqtt.Turn)) {
	k.number++
	k.turns++
	t := &mqtt.Turn{Number: k.number, Now: mqtt.Now{Wall: k.wall.Add(k.step), Trusted: k.trusted, Run: k.wall.Sub(k.boot)}}
	b := k.states()
	if k.panics(t, fn) {
		k.mend()
		k.report(b)
		return
	}
	for _, c := range k.consumers() {
		if at, ok := t.NextWake(c); ok {
			k.wakes[c] = at
		}
	}
	k.lost = false
	if k.turns == k.cut && k.early && len(t.Writes()) > 0 {
		k.lost = true
		return
	}
	writes := map[string][]byte{}
	for _, w := range t.Writes() {
		if k.full != nil && w.Key[0] == prefix {
			k.t.Errorf("record %q was written to a full disk", w.Key)
		}
		writes[string(w.Key)] = w.Value
		delete(k.lazies, string(w.Key))
	}
	k.apply(writes)
	for _, w := range t.Lazies() {
		k.lazies[string(w.Key)] = w.Value
	}
	if k.eager {
		k.flush()
	}
	k.report(b)
	if t.Rebuilds() {
		defer k.mend()
	}
	for _, m := range t.Published() {
		line := (&PublishAction{QoS: m.QoS, Retain: m.Retain}).text(m.Topic, string(m.Payload))
		k.sent = append(k.sent, line)
		if len(t.Writes()) > 0 {
			line += " (held)"
		}
		k.log = append(k.log, line)
	}
}

// panics decides a turn and tells whether that panicked.
func (k *kit) panics(t *mqtt.Turn, fn func(*mqtt.Turn)) (did bool) {
	defer func() {
		did = k.fault != nil && recover() != nil
	}()
	fn(t)
	for i := 0; i < len(t.Published()) && i < 256; i++ {
		k.deliver(t, t.Published()[i])
	}
	return false
}

func (k *kit) ready() error {
	if k.fault != nil {
		k.fault()
	}
	return k.full
}

// deliver brings a message to the house.
func (k *kit) deliver(t *mqtt.Turn, m *mqtt.Message) {
	for _, c := range k.consumers() {
		if c.Wants(m.Topic) {
			c.Accept(t, m, c.Prepare(m.Topic, m.Payload))
		}
	}
}

// before is what pages show at the begin of a turn.
type before struct {
	runs   map[*Run]bool
	paused map[string]bool
}

func (k *kit) states() before {
	b := before{map[*Run]bool{}, map[string]bool{}}
	for _, r := range append(k.engine.Rules(), k.engine.Deleted()...) {
		b.paused[r.ID] = r.Status.Paused != ""
		for _, run := range k.engine.Runs(r.ID) {
			b.runs[run] = true
		}
	}
	return b
}

// report says which runs are new or have come further.
func (k *kit) report(b before) {
	for _, r := range append(k.engine.Rules(), k.engine.Deleted()...) {
		for _, run := range slices.Backward(k.engine.Runs(r.ID)) {
			if !b.runs[run] {
				k.log = append(k.log, r.ID+": "+k.outcome(run))
			}
		}
		if r.Status.Paused != "" && !b.paused[r.ID] {
			k.log = append(k.log, r.ID+" "+r.Status.Paused)
		}
	}
}

func (k *kit) outcome(run *Run) string {
	switch {
	case run.Outcome == Waiting && len(run.Actions) == 0:
		return "waiting in line"
	case run.Outcome == Waiting:
		return "waiting until " + run.Actions[len(run.Actions)-1].Planned.Format("15:04:05")
	case run.Why != "":
		return string(run.Outcome) + ": " + run.Why
	}
	return string(run.Outcome)
}

// until lets time pass; deadlines are met in their order.
func (k *kit) until(at time.Time) {
	if at.Before(k.wall) {
		k.t.Fatalf("%v is before %v", at, k.wall)
	}
	for !k.off {
		var next mqtt.Consumer
		for _, c := range k.consumers() {
			due, ok := k.wakes[c]
			if ok && due >= 0 && !k.boot.Add(due).After(at) && (next == nil || due < k.wakes[next]) {
				next = c
			}
		}
		if next == nil {
			break
		}
		if due := k.boot.Add(k.wakes[next]); due.After(k.wall) {
			k.wall = due
		}
		delete(k.wakes, next)
		k.turn(func(t *mqtt.Turn) { next.Wake(t) })
		k.cutNow()
	}
	k.wall = at
}

// cutNow is the power cut of a sweep, if it is due.
func (k *kit) cutNow() (lost bool) {
	if k.mendAt != 0 && k.turns >= k.mendAt {
		k.mendAt = 0
		k.mend()
	}
	if k.cut == 0 || k.turns != k.cut {
		return false
	}
	lost, k.cut = k.lost, 0
	k.kill()
	k.start()
	return lost
}

// publish is a message from a client. One whose turn was lost with QoS 1 comes
// again after the start, as does one that a client never saw acknowledged.
func (k *kit) publish(m mqtt.Message) {
	if m.Retain {
		k.retained = slices.DeleteFunc(k.retained, func(old *mqtt.Message) bool { return old.Topic == m.Topic })
		k.retained = append(k.retained, &m)
		k.shown[&m] = true
	}
	atCut := k.cut != 0 && k.turns+1 == k.cut
	k.turn(func(t *mqtt.Turn) { k.deliver(t, &m) })
	k.cutNow()
	if atCut && m.QoS == mqtt.AtLeastOnce {
		m.Dup = true
		k.turn(func(t *mqtt.Turn) { k.deliver(t, &m) })
	}
	k.until(k.wall)
}

// do is a form.
func (k *kit) do(fn func(t *mqtt.Turn) error) error {
	var err error
	k.turn(func(t *mqtt.Turn) { err = fn(t) })
	if k.cutNow() { // whoever sent the form sees no answer, and sends it again
		k.turn(func(t *mqtt.Turn) { err = fn(t) })
	}
	return err
}

// save stores a rule from JSON that may leave out the name.
func (k *kit) save(name, text string, fate Fate) error {
	var r Rule
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		return err
	}
	var probe struct{ Enabled *bool }
	json.Unmarshal([]byte(text), &probe)
	r.Name, r.Enabled = name, probe.Enabled == nil || *probe.Enabled
	return k.do(func(t *mqtt.Turn) error {
		basedOn := 0
		if old := k.engine.Rule(slug(name)); old != nil {
			r.ID, basedOn = old.ID, old.Version
		}
		_, err := k.engine.SaveAnd(t, r, "Anna", basedOn, fate)
		return err
	})
}

// fresh is a turn of which nothing is kept.
func (k *kit) fresh() *mqtt.Turn {
	k.number++
	return &mqtt.Turn{Number: k.number, Now: mqtt.Now{Wall: k.wall, Trusted: true, Run: k.wall.Sub(k.boot)}}
}

// device announces a device of one entity, whose topics are dev/NAME/state,
// dev/NAME/set and dev/NAME/available.
func (k *kit) device(kind, name, more string) {
	config := map[string]any{
		"name":        strings.ReplaceAll(name, "_", " "),
		"unique_id":   name,
		"state_topic": "dev/" + name + "/state",
	}
	switch kind {
	case "switch", "light":
		config["command_topic"] = "dev/" + name + "/set"
	case "button":
		config = map[string]any{"name": name, "unique_id": name, "state_topic": "dev/" + name + "/state", "event_types": []string{"press", "hold"}}
		kind = "event"
	}
	if more != "" {
		if err := json.Unmarshal([]byte(more), &config); err != nil {
			k.t.Fatal(err)
		}
	}
	payload, _ := json.Marshal(config)
	k.publish(mqtt.Message{Topic: "homeassistant/" + kind + "/" + name + "/config", Payload: payload, Retain: true})
}
