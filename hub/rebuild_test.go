package hub

import (
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
)

// fragileRules stand for rules that panic, when they are armed, as they are told
// of a lamp: at a point at which they have written a part of what they decided.
type fragileRules struct {
	armed  atomic.Bool
	panics atomic.Int32
}

func (f *fragileRules) Rebuild(*mqtt.Turn) error { return nil }

func (f *fragileRules) Changed(t *mqtt.Turn, changes []devices.Change, _ bool) {
	for _, c := range changes {
		if c.Aspect == "on" && c.News && f.armed.Load() {
			t.Write([]byte("zz half"), []byte("half"))
			t.Publish(&mqtt.Message{Topic: "out/half"})
			f.panics.Add(1)
			panic("fragile rules")
		}
	}
}

const fragileHouse = `
name: Wait
triggers: [{message: {filter: go}}]
actions: [{wait: {for: 3s}}, {publish: {topic: out/waited, qos: 1}}]
---
name: Start
triggers: [{start: {}}]
actions: [{publish: {topic: out/started, qos: 1}}]
---
name: Bell
triggers: [{message: {filter: bell/+}}]
actions: [{publish: {topic: out/bell, payload: "{{payload}}", qos: 1}}]
---
name: Hot
triggers: [{state: {entity: sensor.air, above: 25}}]
actions: [{publish: {topic: out/hot, qos: 1}}]
`

// saveRules saves automations from text.
func saveRules(t testing.TB, h *Hub, text string) {
	t.Helper()
	for _, r := range automations.ParseYAML([]byte(text)) {
		err := h.Do(t.Context(), func(turn *mqtt.Turn) error {
			_, err := h.rules.Save(turn, r.Rule, "Jo", 0)
			return err
		})
		if err != nil || len(r.Problems) > 0 {
			t.Fatal(err, r.Problems)
		}
	}
}

// houseText says what pages show of a house, but for when it was heard.
func houseText(h *Hub) string {
	var b strings.Builder
	for _, d := range h.model.House().Devices {
		fmt.Fprintf(&b, "%s %q in %q\n", d.ID, d.Name, d.Area)
		for _, e := range d.Entities {
			fmt.Fprintf(&b, "\t%s %q", e.ID, e.Name)
			for i, r := range e.State().Readings {
				fmt.Fprintf(&b, " %s=%v", e.Aspects[i].Name, r.Value)
			}
			fmt.Fprintln(&b)
		}
	}
	for _, r := range h.rules.Rules() {
		fmt.Fprintf(&b, "%s version %d on %v paused %q\n", r.ID, r.Version, r.Enabled, r.Status.Paused)
		for _, run := range h.rules.Runs(r.ID) {
			fmt.Fprintf(&b, "\t%s %s\n", run.ID, run.Outcome)
		}
	}
	return b.String()
}

// panicForm is a form that changes half of what it should, and panics.
func panicForm(t testing.TB, h *Hub, device string) {
	t.Helper()
	err := h.Do(t.Context(), func(turn *mqtt.Turn) error {
		if err := h.model.SetName(turn, device, "Half a name"); err != nil {
			return err
		}
		panic("a form")
	})
	if err == nil || !strings.Contains(err.Error(), "went wrong inside") {
		t.Fatalf("the form says %v", err)
	}
}

// TestRebuild has rules and a form panic half-way in a house that is in use: what
// was done of it is dropped, memory is what the disk has, a run that waits goes
// on, nothing is done twice, and who has nothing to do with it notices nothing.
func TestRebuild(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	_, password := moveIn(t, h, dir)
	saveRules(t, h, fragileHouse)
	err := h.Do(t.Context(), func(turn *mqtt.Turn) error {
		turn.Publish(&mqtt.Message{Topic: "homeassistant/sensor/air/config", Retain: true, QoS: 1, Payload: []byte(
			`{"name":"Air","uniq_id":"air","stat_t":"air/state","val_tpl":"{{ value_json.t }}"}`)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	entity(t, h, "Air")
	stop()

	h, stop = start(t, dir)
	device := entity(t, h, "Reading lamp").Device.ID
	fragile := &fragileRules{}
	if err := h.Do(t.Context(), func(*mqtt.Turn) error { h.model.Watch(fragile); return nil }); err != nil {
		t.Fatal(err)
	}
	lost := make(chan string, 10)
	lamp, _, err := as(t, h, "lamp", "lamp", password, lost)
	if err != nil {
		t.Fatal(err)
	}
	neighbour, _, err := as(t, h, "neighbour", "lamp", password, lost)
	if err != nil {
		t.Fatal(err)
	}
	out := hears(t, neighbour, "out/#")
	echo := hears(t, neighbour, "echo")
	wait(t, lamp.Publish("air/state", 0, false, `{"t": 21.5}`))
	wait(t, lamp.Publish("hall/state", 1, false, "ON"))
	wait(t, lamp.Publish("go", 1, false, ""))

	// What the rules do not take, those of whom it is take all the same.
	fragile.armed.Store(true)
	begun := time.Now()
	wait(t, lamp.Publish("hall/state", 1, false, "OFF")) // it is acknowledged
	wait(t, neighbour.Publish("echo", 1, false, "1"))
	expect(t, echo, "echo 1")
	t.Logf("the neighbour has its echo after %v", time.Since(begun))
	fragile.armed.Store(false)
	if n := fragile.panics.Load(); n != 1 {
		t.Errorf("it was brought to them %d times", n)
	}
	said := houseText(h)
	for _, want := range []string{`"Reading lamp"`, "on={bool false", "21.5", " waiting\n"} {
		if !strings.Contains(said, want) {
			t.Errorf("after the panic there is no %s in\n%s", want, said)
		}
	}
	for range 3 {
		panicForm(t, h, device)
		wait(t, neighbour.Publish("echo", 1, false, "2"))
		expect(t, echo, "echo 2")
		if now := houseText(h); now != said {
			t.Errorf("after a form that panicked the house is\n%s\nit was\n%s", now, said)
		}
	}

	// A kill finds what memory has: the house goes on from there, too.
	killed := t.TempDir()
	copyHome(t, dir, killed)
	if now := houseText(h); now != said {
		t.Errorf("meanwhile the house is\n%s\nit was\n%s", now, said)
	}

	// Rules decide as before: by message, by the edge of a value, by time.
	wait(t, lamp.Publish("bell/front", 1, false, "ding"))
	wait(t, lamp.Publish("air/state", 0, false, `{"t": 30}`))
	wait(t, lamp.Publish("air/state", 0, false, `{"t": 31}`))
	var heard []string
	for len(heard) < 3 {
		select {
		case m := <-out:
			heard = append(heard, m)
		case <-time.After(patience):
			t.Fatalf("heard only %q", heard)
		}
	}
	if want := []string{"out/bell ding", "out/hot ", "out/waited "}; !slices.Equal(heard, want) {
		t.Errorf("heard %q, want %q", heard, want)
	}
	wait(t, neighbour.Publish("out/end", 1, false, ""))
	expect(t, out, "out/end ") // and nothing before it
	if files := unseenMessages(dir); len(files) != 1 {
		t.Errorf("set aside is %q", files)
	}
	select {
	case who := <-lost:
		t.Errorf("%s lost its connection", who)
	default:
	}
	err = h.store.Scan([]byte("zz"), nil, func(key, _ []byte) bool {
		t.Errorf("%q is in the store", key)
		return true
	})
	if err != nil {
		t.Error(err)
	}

	// What is in memory is what a start reads.
	stop()
	told := houseText(h)
	h, stop = start(t, dir)
	entity(t, h, "Reading lamp")
	entity(t, h, "Air")
	started := func(text string) string { // each start has a run of its own
		i, j := strings.Index(text, "start version"), strings.Index(text, "wait version")
		return text[:i] + text[j:]
	}
	if now := houseText(h); started(now) != started(told) {
		t.Errorf("after a restart the house is\n%s\nit was\n%s", now, told)
	}
	stop()

	h, stop = start(t, killed)
	defer stop()
	entity(t, h, "Reading lamp")
	for begun := time.Now(); !strings.Contains(houseText(h), "wait version 1 on true paused \"\"\n\t"); {
		if time.Since(begun) > patience {
			t.Fatalf("after a kill the house is\n%s", houseText(h))
		}
	}
	for begun := time.Now(); ; time.Sleep(10 * time.Millisecond) {
		if runs := h.rules.Runs("wait"); len(runs) == 1 && runs[0].Outcome == automations.Done {
			break
		}
		if time.Since(begun) > patience {
			t.Fatalf("after a kill the run does not go on: %s", houseText(h))
		}
	}
}

// TestMissingAfterRebuild holds that devices are asked to announce themselves
// after a panic if one is missing, whose announcement was not retained.
func TestMissingAfterRebuild(t *testing.T) {
	t.Parallel() // it waits for seconds
	h, _ := start(t, t.TempDir())
	c := client(t, h, "bridge")
	births := hears(t, c, "homeassistant/status")
	wait(t, c.Publish("homeassistant/switch/hall/config", 1, true, lamp))
	device := entity(t, h, "Hall lamp").Device.ID
	before := h.model.House()
	panicForm(t, h, device)
	entity(t, h, "Hall lamp")
	if h.model.House() == before || notBack(before, h.model.House()) != nil {
		t.Error("the lamp is the one of before, or is said to be missing")
	}
	time.Sleep(time.Until(h.started.Add(birthAgain + time.Second))) // those of the start are over
	for len(births) > 0 {
		<-births
	}
	wait(t, c.Publish("homeassistant/switch/yard/config", 1, false, strings.NewReplacer("hall", "yard", "Hall", "Yard").Replace(lamp)))
	entity(t, h, "Yard lamp")
	panicForm(t, h, device)
	expect(t, births, "homeassistant/status online")
}

// TestRebuildPause holds the pause of a house of 200 devices and 100 automations
// to less than a second.
func TestRebuildPause(t *testing.T) {
	h, _ := start(t, t.TempDir())
	c := client(t, h, "bridge")
	for i := range 200 {
		id := fmt.Sprint("n", i)
		config := `{"device": {"identifiers": ["` + id + `"], "name": "Node ` + id + `"}, "state_topic": "` + id + `/state", `
		wait(t, c.Publish("homeassistant/switch/"+id+"/config", 1, true, config+`"name": "Switch", "unique_id": "s`+id+`", "command_topic": "`+id+`/set", "value_template": "{{ value_json.state }}"}`))
		for _, sensor := range []string{"power", "voltage", "energy"} {
			wait(t, c.Publish("homeassistant/sensor/"+id+"/"+sensor+"/config", 1, true,
				config+`"name": "`+sensor+`", "unique_id": "`+id+sensor+`", "value_template": "{{ value_json.`+sensor+` }}"}`))
		}
		wait(t, c.Publish(id+"/state", 1, true, `{"state": "ON", "power": 12.5, "voltage": 231, "energy": 4.25}`))
	}
	entities := func() (n int) {
		for _, d := range h.model.House().Devices {
			n += len(d.Entities)
		}
		return n
	}
	for begun := time.Now(); entities() < 800; time.Sleep(10 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("there are %d entities", entities())
		}
	}
	var rules strings.Builder
	for i := range 100 {
		fmt.Fprintf(&rules, "---\nname: Rule %d\ntriggers: [{state: {entity: switch.node_n%d_switch, to: false}}, {message: {filter: go/%d}}]\nactions: [{wait: {for: 1h}}, {publish: {topic: out, qos: 1}}]\n", i, i, i)
	}
	saveRules(t, h, rules.String())
	for i := range 100 {
		wait(t, c.Publish(fmt.Sprint("go/", i), 1, false, ""))
	}
	before := houseText(h)
	shortest := time.Hour
	for range 5 {
		panicForm(t, h, h.model.House().Devices[0].ID)
		begun := time.Now()
		if err := h.Do(t.Context(), func(*mqtt.Turn) error { return nil }); err != nil {
			t.Fatal(err)
		}
		took := time.Since(begun)
		t.Logf("the next turn comes after %v", took)
		shortest = min(shortest, took)
	}
	if shortest > time.Second {
		t.Errorf("the house pauses for %v", shortest)
	}
	if now := houseText(h); now != before {
		t.Errorf("the house is\n%s\nit was\n%s", now, before)
	}
}
