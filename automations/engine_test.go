package automations

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// simple returns a rule for a topic that publishes to another, after a wait if
// one is given.
func simple(name, filter string, wait time.Duration) Rule {
	r := Rule{Name: name, Enabled: true, Triggers: []Trigger{{Message: &MessageTrigger{Filter: filter}}}}
	if wait > 0 {
		r.Actions = append(r.Actions, Action{Wait: &WaitAction{For: Duration(wait)}})
	}
	r.Actions = append(r.Actions, Action{Publish: &PublishAction{Topic: "out/" + slug(name), Payload: "{{payload}}"}})
	return r
}

func (k *kit) mustSave(r Rule, basedOn int) *Rule {
	k.t.Helper()
	var saved *Rule
	if err := k.do(func(t *mqtt.Turn) (err error) { saved, err = k.engine.Save(t, r, "Anna", basedOn); return err }); err != nil {
		k.t.Fatal(err)
	}
	return saved
}

func TestSave(t *testing.T) {
	k := newKit(t)
	one := simple("Küche: Licht!", "a", 0)
	first := k.mustSave(one, 0)
	if first.ID != "kueche-licht" || first.Version != 1 || first.Saved != (Saved{By: "Anna", At: k.wall}) {
		t.Errorf("saved as %q, version %d, %+v", first.ID, first.Version, first.Saved)
	}
	if second := k.mustSave(one, 0); second.ID != "kueche-licht-2" {
		t.Errorf("the second of a name is %q", second.ID)
	}
	one.Triggers[0].Message.Filter = "changed by the caller afterwards"
	if got := k.engine.Rule(first.ID).Triggers[0].Message.Filter; got != "a" {
		t.Errorf("the rule follows its caller's: filter %q", got)
	}

	next := *k.engine.Rule(first.ID)
	next.Name = "Kitchen"
	if saved := k.mustSave(next, 1); saved.ID != first.ID || saved.Version != 2 || saved.Name != "Kitchen" {
		t.Errorf("second version is %+v", saved)
	}
	err := k.do(func(t *mqtt.Turn) error { _, err := k.engine.Save(t, next, "Ben", 1); return err })
	if stale, ok := errors.AsType[*StaleError](err); !ok || stale.Current.Version != 2 {
		t.Errorf("a save on version 1 gives %v, want a StaleError with version 2", err)
	}
	next.ID = "nobody"
	if err := k.do(func(t *mqtt.Turn) error { _, err := k.engine.Save(t, next, "Ben", 1); return err }); !errors.Is(err, ErrNotFound) {
		t.Errorf("a save of an unknown rule gives %v", err)
	}
	next.ID = first.ID
	if err := k.do(func(t *mqtt.Turn) error { _, err := k.engine.Save(t, next, "Ben", 0); return err }); !errors.Is(err, ErrIDTaken) {
		t.Errorf("a new rule with a used ID gives %v", err)
	}
	next.Actions = nil
	err = k.do(func(t *mqtt.Turn) error { _, err := k.engine.Save(t, next, "Ben", 2); return err })
	if invalid, ok := errors.AsType[*InvalidError](err); !ok || invalid.Problems[0].Path != "actions" {
		t.Errorf("a rule without actions gives %v", err)
	}

	before := k.engine.Versions(first.ID)
	k.kill()
	k.start()
	after := k.engine.Versions(first.ID)
	if len(after) != 2 || after[0].Version != 2 || !reflect.DeepEqual(before, after) {
		t.Errorf("versions after a restart are %+v, want %+v", after, before)
	}
	if k.engine.Rule("nobody") != nil || k.engine.Runs("nobody") != nil || k.engine.Run(first.ID, "x") != nil {
		t.Error("something is known of nobody")
	}
}

func TestVersionsAreBounded(t *testing.T) {
	k := newKit(t)
	r := simple("Often", "a", time.Hour)
	saved := k.mustSave(r, 0)
	k.publish(mqtt.Message{Topic: "a", Payload: []byte("x")}) // waits, with version 1
	r.ID = saved.ID
	for v := 1; v < MaxVersions+20; v++ {
		k.mustSave(r, v)
	}
	k.kill()
	k.start()
	versions := k.engine.Versions(saved.ID)
	if len(versions) != MaxVersions || versions[0].Version != MaxVersions+20 || versions[len(versions)-1].Version != 1 {
		t.Errorf("%d versions, from %d to %d", len(versions), versions[0].Version, versions[len(versions)-1].Version)
	}
	k.until(k.wall.Add(time.Hour))
	if !slices.Contains(k.sent, "publish out/often x") {
		t.Error("the run of the first version did not go on")
	}
}

func TestDeletedIsPurged(t *testing.T) {
	k := newKit(t)
	for i := range 3 {
		r := k.mustSave(simple(fmt.Sprint("Rule ", i), "a", 0), 0)
		k.publish(mqtt.Message{Topic: "a", QoS: 1, Origin: mqtt.Origin{Session: 1, PacketID: uint16(i + 1)}})
		if i > 0 {
			if err := k.do(func(t *mqtt.Turn) error { return k.engine.Delete(t, r.ID, "Anna") }); err != nil {
				t.Fatal(err)
			}
		}
	}
	if n := len(k.engine.Deleted()); n != 2 {
		t.Fatalf("%d are deleted", n)
	}
	k.until(k.wall.Add(KeepDeleted - time.Minute))
	k.kill()
	k.start()
	if n := len(k.engine.Deleted()); n != 2 {
		t.Errorf("%d are left before their time", n)
	}
	k.until(k.wall.Add(2 * time.Minute))
	k.kill()
	k.start()
	k.publish(mqtt.Message{Topic: "a"})
	k.until(k.wall.Add(time.Minute))
	if n := len(k.engine.Deleted()); n != 0 {
		t.Errorf("%d are left", n)
	}
	k.flush()
	for key := range k.disk {
		if strings.Contains(key, "rule-1") || strings.Contains(key, "rule-2") {
			t.Errorf("record %q is left", key)
		}
	}
}

// TestDamage destroys each record in turn: the engine starts all the same, and
// only the rule whose record it was may be affected.
func TestDamage(t *testing.T) {
	whole := newKit(t)
	whole.mustSave(simple("Hurt", "hurt", time.Hour), 0)
	whole.mustSave(simple("Well", "well", time.Hour), 0)
	for _, topic := range []string{"hurt", "well"} {
		whole.publish(mqtt.Message{Topic: topic, Payload: []byte("x"), QoS: 1, Origin: mqtt.Origin{Session: 1, PacketID: 9}})
	}
	n := 0
	for key := range whole.disk {
		if !strings.Contains(key, "hurt") {
			continue
		}
		n++
		for _, damage := range [][]byte{{}, []byte("{"), []byte("null"), []byte(`{"v":2}`), []byte(`{"v":1}`), []byte(`{"v":1,"rule":{},"run":{}}`)} {
			k := newKit(t)
			k.disk = cloneMap(whole.disk)
			k.disk[key] = damage
			k.start()
			if k.engine.Rule("well") == nil || len(k.engine.Runs("well")) != 1 {
				t.Errorf("with %q as %q, the other rule is gone", damage, key)
			}
			k.mustSave(simple("Hurt", "again", 0), 0) // does not collide
			k.until(k.wall.Add(2 * time.Hour))
			if !slices.Contains(k.sent, "publish out/well x") {
				t.Errorf("with %q as %q, the other rule's run did not go on", damage, key)
			}
		}
	}
	if n < 4 {
		t.Errorf("there are only %d records to damage", n)
	}
}

func cloneMap(m map[string][]byte) map[string][]byte {
	c := make(map[string][]byte, len(m))
	for k, v := range m {
		c[k] = slices.Clone(v)
	}
	return c
}

// TestManyAtOnce lets many runs with long payloads begin in one turn and fall
// due at one instant: turns stay within what a turn may hold, and everything
// is done or said not to be.
func TestManyAtOnce(t *testing.T) {
	k := newKit(t)
	const rules = 60
	for i := range rules {
		k.mustSave(simple(fmt.Sprintf("Rule %02d", i), "all", time.Minute), 0)
	}
	most := 0
	count := func(turn *mqtt.Turn) {
		size := 0
		for _, w := range turn.Writes() {
			size += len(w.Key) + len(w.Value)
		}
		most = max(most, size)
	}
	payload := []byte(strings.Repeat("x", MaxPayload))
	k.turn(func(turn *mqtt.Turn) {
		k.deliver(turn, &mqtt.Message{Topic: "all", Payload: payload})
		count(turn)
	})
	waiting, refused := 0, 0
	for _, r := range k.engine.Rules() {
		for _, run := range k.engine.Runs(r.ID) {
			switch {
			case run.Outcome == Waiting:
				waiting++
			case run.Outcome == NotRun && run.Why == "Too much was to be done at once.":
				refused++
			}
		}
	}
	if waiting == 0 || refused == 0 || waiting+refused != rules {
		t.Errorf("%d wait and %d were refused of %d", waiting, refused, rules)
	}
	k.kill()
	k.wall = k.wall.Add(time.Hour)
	k.start()
	k.until(k.wall)
	done := 0
	for _, r := range k.engine.Rules() {
		for _, run := range k.engine.Runs(r.ID) {
			if run.Outcome == Done {
				done++
			}
		}
	}
	if done != waiting {
		t.Errorf("%d of %d runs that waited were done", done, waiting)
	}
	if most > 400<<10 {
		t.Errorf("a turn wrote %d bytes", most)
	}
}

// A trap is a model that panics at a command, or refuses it.
type trap struct{ err error }

func (trap) House() *devices.House   { return &devices.House{} }
func (trap) Keep(*mqtt.Turn, string) {}
func (m trap) Command(*mqtt.Turn, string, string, map[string]devices.Value) error {
	if m.err != nil {
		return m.err
	}
	panic("trap")
}

func TestPanicHurtsOneRun(t *testing.T) {
	k := newKit(t)
	k.engine.model = trap{}
	bad := simple("Bad", "a", 0)
	bad.Actions = []Action{{Command: &CommandAction{Entity: "x.y", Command: "z"}}}
	k.mustSave(bad, 0)
	k.mustSave(simple("Good", "a", 0), 0)
	k.publish(mqtt.Message{Topic: "a", Payload: []byte("1")})
	if run := k.engine.Runs("bad")[0]; run.Outcome != Failed || !strings.Contains(run.Why, "an error in Lar") {
		t.Errorf("the run that panicked is %+v", run)
	}
	if !slices.Equal(k.sent, []string{"publish out/good 1"}) {
		t.Errorf("sent %q", k.sent)
	}
	k.publish(mqtt.Message{Topic: "a", Payload: []byte("2")}) // the engine is whole
	if len(k.sent) != 2 {
		t.Errorf("sent %q", k.sent)
	}
}

func TestEvents(t *testing.T) {
	k := newKit(t)
	button := &devices.Entity{ID: "event.button"}
	press := Text("press")
	r := simple("Button", "a", 0)
	r.Triggers = []Trigger{{State: &StateTrigger{Entity: button.ID, Aspect: "type", To: &press}}}
	k.mustSave(r, 0)
	m := &mqtt.Message{Topic: "b", Payload: []byte("press"), QoS: 1, Origin: mqtt.Origin{Session: 1, PacketID: 1}}
	dup := *m
	dup.Dup = true
	tests := []struct {
		value   string
		news    bool
		message *mqtt.Message
		runs    int
	}{
		{"press", true, nil, 1},
		{"press", true, nil, 2}, // once more
		{"hold", true, nil, 2},
		{"press", false, nil, 2},
		{"press", true, m, 3},
		{"press", true, &dup, 3},
	}
	for i, tt := range tests {
		k.turn(func(turn *mqtt.Turn) {
			k.engine.Changed(turn, []devices.Change{{Entity: button, Aspect: "type", Old: devices.TextValue(tt.value),
				New: devices.TextValue(tt.value), Available: true, News: tt.news, Event: true, Message: tt.message}}, false)
		})
		if n := len(k.engine.Runs("button")); n != tt.runs {
			t.Errorf("after event %d there are %d runs, want %d", i, n, tt.runs)
		}
	}
	k.kill()
	k.start()
	k.turn(func(turn *mqtt.Turn) {
		k.engine.Changed(turn, []devices.Change{{Entity: button, Aspect: "type", New: devices.TextValue("press"),
			Available: true, News: true, Event: true, Message: &dup}}, false)
	})
	if len(k.sent) != 3 {
		t.Errorf("a repetition after a restart ran: sent %q", k.sent)
	}
}

// TestShownIsNeverChanged reads from other goroutines while turns go on, which
// -race watches, and keeps what it was given.
func TestShownIsNeverChanged(t *testing.T) {
	k := newKit(t)
	r := k.mustSave(simple("Rule", "a", time.Minute), 0)
	k.publish(mqtt.Message{Topic: "a", Payload: []byte("x")})
	was := k.engine.Runs(r.ID)[0]
	copied := *was
	copied.Actions = slices.Clone(was.Actions)

	engine, stop := k.engine, make(chan struct{})
	var readers sync.WaitGroup
	readers.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
			}
			for _, r := range engine.Rules() {
				_ = fmt.Sprint(r.Status.Last, len(engine.Versions(r.ID)))
				for _, run := range engine.Runs(r.ID) {
					_ = engine.Run(r.ID, run.ID)
				}
			}
			engine.Prepare("nobody", nil)
			engine.Wants("a")
		}
	})
	for i := range 50 {
		k.until(k.wall.Add(time.Minute))
		k.publish(mqtt.Message{Topic: "a", Payload: []byte("x")})
		k.mustSave(simple(fmt.Sprint("Another ", i), "b", 0), 0)
	}
	close(stop)
	readers.Wait()
	if !reflect.DeepEqual(*was, copied) || was.Outcome != Waiting {
		t.Errorf("a run that was handed out is now %+v", was)
	}
	if n := len(k.engine.Runs(r.ID)); n != MaxRuns+1 {
		t.Errorf("%d runs are kept, want %d and the one that waits", n, MaxRuns)
	}
}

// TestTracesSurvive states that a clean stop, after which nothing is lazy any
// more, keeps all traces, and that their number stays bounded.
func TestTracesSurvive(t *testing.T) {
	k := newKit(t)
	r := simple("Rule", "a", 0)
	r.Conditions = []Condition{{Payload: &Compare{Op: Less, Value: Number(1000)}}}
	k.mustSave(r, 0)
	for i := range 3 * MaxRuns {
		k.publish(mqtt.Message{Topic: "a", Payload: fmt.Append(nil, i*15%2000)})
		if i%7 == 0 {
			k.until(k.wall.Add(keepTracesAfter))
		}
	}
	k.turn(k.engine.Flush)
	before := k.engine.Runs("rule")
	if len(before) != MaxRuns+MaxNotRuns {
		t.Errorf("%d traces are kept, want %d", len(before), MaxRuns+MaxNotRuns)
	}
	k.flush()
	k.kill()
	k.start()
	after := k.engine.Runs("rule")
	if !reflect.DeepEqual(before, after) {
		t.Errorf("after a restart there are %d traces, before %d", len(after), len(before))
	}
	ids := map[string]bool{}
	for _, run := range after {
		ids[run.ID] = true
		if k.engine.Run("rule", run.ID) != run {
			t.Errorf("run %s is not found by its ID", run.ID)
		}
	}
	if len(ids) != len(after) {
		t.Error("runs share an ID")
	}
}

// FuzzLoad states that whatever a record holds, the engine starts, and goes on
// with whatever could be read.
func FuzzLoad(f *testing.F) {
	whole := newKit(f)
	r := simple("Rule", "a", time.Minute)
	r.Conditions = []Condition{{Payload: &Compare{Op: NotEqual, Value: Text("no")}}}
	whole.mustSave(r, 0)
	on := On()
	r.Name, r.Conditions = "State", nil
	r.Triggers = []Trigger{{State: &StateTrigger{Entity: "a.b", Aspect: "on", To: &on, For: Duration(time.Minute)}}}
	whole.mustSave(r, 0)
	entity := &devices.Entity{ID: "a.b"}
	change := devices.Change{Entity: entity, Aspect: "on", New: devices.BoolValue(true), Available: true, News: true}
	whole.turn(func(t *mqtt.Turn) { whole.engine.Changed(t, []devices.Change{change}, false) })
	whole.publish(mqtt.Message{Topic: "a", Payload: []byte("x"), QoS: 1, Origin: mqtt.Origin{Session: 1, PacketID: 9}})
	whole.publish(mqtt.Message{Topic: "a", Payload: []byte("no")})
	whole.turn(whole.engine.Flush)
	whole.flush()
	for key, value := range whole.disk {
		f.Add([]byte(key), value)
	}
	f.Fuzz(func(t *testing.T, key, value []byte) {
		k := &kit{t: t, disk: cloneMap(whole.disk), lazies: map[string][]byte{}, wall: whole.wall.Add(time.Hour), trusted: true}
		k.disk[prefixed(key)] = value
		k.start()
		for _, r := range k.engine.Rules() {
			describe(r)
			for _, run := range k.engine.Runs(r.ID) {
				trace(run)
			}
		}
		k.turn(func(t *mqtt.Turn) { k.engine.Changed(t, []devices.Change{change}, false) })
		k.publish(mqtt.Message{Topic: "a", Payload: []byte("x")})
		k.do(func(t *mqtt.Turn) error { _, err := k.engine.RunNow(t, "rule", "Anna"); return err })
		k.do(func(t *mqtt.Turn) error { return k.engine.Delete(t, "rule", "Anna") })
		k.until(k.wall.Add(time.Hour))
	})
}

// prefixed makes any key one that the engine reads.
func prefixed(key []byte) string {
	if len(key) > 0 && key[0] == prefix {
		return string(key)
	}
	return string(rune(prefix)) + string(key)
}

// TestIndexFollows saves, changes, switches and deletes rules in many ways, and
// compares the index that followed each step with one made anew.
func TestIndexFollows(t *testing.T) {
	k := newKit(t)
	k.device("switch", "lamp", "")
	triggers := []string{
		`{"message": {"filter": "a/+/b"}}`, `{"message": {"filter": "a/#"}}`, `{"message": {"filter": "a/x/b", "payload": {"path": "n", "op": ">", "value": 1}}}`,
		`{"state": {"entity": "switch.lamp", "aspect": "on"}}`, `{"state": {"entity": "switch.lamp", "aspect": "on", "to": true}}`,
		`{"webhook": {"id": "bell"}}`, `{"webhook": {"id": "door"}}`, `{"rule": {"id": "rule-1"}}`, `{"scene": {"id": "evening"}}`,
		`{"silent": {"filter": "a/x/b", "for": "1h"}}`, `{"time": {"at": ["07:00"]}}`,
	}
	// said is what an index finds, in its order, but for what wakes runs: that
	// of one that has ended stays until its rule changes.
	said := func(x *index) string {
		var b strings.Builder
		list := func(name string, refs []*ref) {
			fmt.Fprintf(&b, "%s:", name)
			for _, f := range refs {
				if f.wait == nil {
					fmt.Fprintf(&b, " %s %d version %d %v,", f.rule.id, f.trigger, f.def.Version, f.paths)
				}
			}
			b.WriteString("\n")
		}
		for _, topic := range []string{"a/x/b", "a/y/b", "a/z", "c"} {
			list(topic, x.prepare(topic, nil).refs)
		}
		for _, m := range []map[string][]*ref{x.entities, x.hooks, x.ends, x.scenes} {
			for _, id := range slices.Sorted(maps.Keys(m)) {
				list(id, m[id])
			}
		}
		list("lamp on", x.aspects[aspectKey{"switch.lamp", "on"}])
		fmt.Fprintln(&b, x.listHooks(), len(x.aspects))
		return b.String()
	}
	random := rand.New(rand.NewPCG(1, 2))
	for step := range 400 {
		name := fmt.Sprintf("Rule %d", random.IntN(8))
		id := slug(name)
		k.do(func(t *mqtt.Turn) error {
			switch random.IntN(8) {
			case 0:
				return k.engine.SetEnabled(t, id, random.IntN(2) == 0, "Anna")
			case 1:
				return k.engine.Delete(t, id, "Anna")
			case 2:
				return k.engine.Restore(t, id, "Anna")
			case 3:
				_, err := k.engine.RunNow(t, id, "Anna")
				return err
			}
			return nil
		})
		if random.IntN(2) == 0 {
			var some []string
			for range 1 + random.IntN(4) {
				some = append(some, triggers[random.IntN(len(triggers))])
			}
			k.save(name, fmt.Sprintf(`{"enabled": %v, "triggers": [%s], "actions": [{"wait": {"message": {"filter": "a/%d"}, "within": "1h"}}]}`,
				random.IntN(4) > 0, strings.Join(some, ","), random.IntN(2)), Finish)
		}
		if got, want := said(k.engine.index.Load()), said(newIndex(k.engine.order)); got != want {
			t.Fatalf("after step %d the index says\n%s\nwant\n%s", step, got, want)
		}
	}
	for _, r := range k.engine.Rules() {
		k.do(func(t *mqtt.Turn) error { return k.engine.Delete(t, r.ID, "Anna") })
	}
	if x := k.engine.index.Load(); x.topics.Len() != 0 || len(x.of)+len(x.aspects)+len(x.entities)+len(x.hooks)+len(x.ends)+len(x.scenes) != 0 {
		t.Errorf("without rules there is left in the index: %+v", x.of)
	}
}
