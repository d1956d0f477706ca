package devices

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// FuzzDiscovery: whatever is announced, the model does not panic, holds
// together, and is empty once it is taken back.
func FuzzDiscovery(f *testing.F) {
	for _, m := range readCorpus(f) {
		f.Add(strings.TrimSuffix(strings.TrimPrefix(m.Topic, "homeassistant/"), "/config"), string(m.Payload), `{"state":"ON","brightness":5}`)
	}
	f.Add("sensor/a b", `{"name":null,"stat_t":"s","dev":{"ids":[""]}}`, "1")
	f.Add("light/x", `{"schema":"json","cmd_t":"c","stat_t":"s","brightness_scale":0,"sup_clrm":["hs"],"bri":1}`, `{"brightness":1e400}`)
	f.Fuzz(func(t *testing.T, where, payload, state string) {
		b := newBench(t)
		b.quiet = true
		topic := "homeassistant/" + where + "/config"
		if !b.model.Wants(topic) {
			return
		}
		b.publish(topic, payload, false)
		for _, n := range b.model.nodes {
			for _, r := range n.spec.reads {
				b.publish(r.topic, state, true)
				b.publish(r.topic, "ON", false)
			}
			for _, cmd := range n.spec.commands {
				args := map[string]Value{}
				for _, arg := range cmd.Args {
					args[arg.Name] = sample(arg)
				}
				b.turn(func(turn *mqtt.Turn) {
					if b.model.Command(turn, n.id, cmd.Name, args) != nil {
						return
					}
					for _, out := range turn.Published() {
						if commandTopicProblem("homeassistant", out.Topic) != "" {
							t.Errorf("%s publishes to %q", cmd.Name, out.Topic)
						}
					}
				})
			}
			if e := b.model.House().Entity(n.id); e == nil || len(e.State().Readings) != len(e.Aspects) {
				t.Errorf("%s is not in the house as it should be", n.id)
			}
		}
		b.pass(time.Hour)
		b.turn(b.model.Flush)
		b.start()
		b.publish(topic, payload, false)
		b.publish(topic, "", false)
		if h := b.model.House(); len(h.Devices) != 0 || len(b.model.nodes) != 0 || b.model.wiring.Load().routes.len() != 0 {
			t.Errorf("%d devices, %d entities and %d routes are left", len(h.Devices), len(b.model.nodes), b.model.wiring.Load().routes.len())
		}
	})
}

// TestTooMany: beyond the bounds devices and entities are left out, and those
// that are there are not disturbed.
func TestTooMany(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	for i := range MaxEntities + 5 {
		b.feed(fmt.Sprintf("homeassistant/sensor/one/s%d/config", i), fmt.Sprintf(`{"dev":{"ids":["one"],"name":"One"},"uniq_id":"one%d","stat_t":"one/%d"}`, i, i))
	}
	if d := b.model.House().Devices; len(d) != 1 || len(d[0].Entities) != MaxEntities {
		t.Fatalf("%d devices, the first with %d entities, want 1 with %d", len(d), len(d[0].Entities), MaxEntities)
	}
	for i := range MaxDevices + 5 {
		b.feed(fmt.Sprintf("homeassistant/button/d%d/config", i), fmt.Sprintf(`{"name":"B%d","cmd_t":"b/%d"}`, i, i))
	}
	if n := len(b.model.House().Devices); n != MaxDevices {
		t.Errorf("%d devices, want %d", n, MaxDevices)
	}
	b.feed("one/7", "x")
	if got := b.model.House().Entity("sensor.one_sensor_8").State().Readings[0].Value; got != TextValue("x") {
		t.Errorf("an old entity shows %s", show(got))
	}
}

// A stubborn watcher switches back whatever it is told of.
type stubborn struct {
	m     *Model
	calls int
	seen  []bool
}

func (s *stubborn) Changed(t *mqtt.Turn, changes []Change, structure bool) {
	for _, c := range changes {
		s.seen = append(s.seen, c.New.Bool)
		if s.calls++; c.Aspect == "on" {
			if err := s.m.Command(t, c.Entity.ID, "toggle", nil); err != nil {
				panic(err)
			}
		}
		if c.Entity == nil || c.Aspect != "on" {
			panic("the changes were overwritten while being told")
		}
	}
}

// TestCommandWhileTold: a watcher may give commands; a loop of them ends.
func TestCommandWhileTold(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	s := &stubborn{m: b.model}
	b.model.Watch(s)
	b.feed("homeassistant/switch/x/config", `{"name":"X","cmd_t":"x/set"}`)
	b.turn(func(t *mqtt.Turn) { _ = b.model.Command(t, "switch.x", "turn_on", nil) })
	if s.calls != maxRounds {
		t.Errorf("told %d times, want %d", s.calls, maxRounds)
	}
	for i, on := range s.seen {
		if on != (i%2 == 0) {
			t.Fatalf("change %d is %v: out of order", i, on)
		}
	}
}

// TestGoneIsForgotten: what has been gone for long leaves no record; what is
// there keeps its own.
func TestGoneIsForgotten(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	b.publish("homeassistant/switch/stays/config", `{"name":"Stays","cmd_t":"s/set"}`, true)
	b.publish("homeassistant/switch/goes/config", `{"name":"Goes","cmd_t":"g/set"}`, true)
	b.publish("homeassistant/switch/goes/config", "", true)
	if len(b.records) != 4 {
		t.Errorf("%d records, want an ID and a device for both", len(b.records))
	}
	for range 3 { // noticed, then kept for a while, then forgotten
		b.pass(keepGone)
		b.turn(b.model.Wake)
	}
	for k := range b.records {
		if strings.Contains(k, "goes") {
			t.Errorf("%q is still there", k)
		}
	}
	if len(b.records) != 2 {
		t.Errorf("%d records, want 2", len(b.records))
	}
}

// BenchmarkBundle is a bundle of 100 components takes of the lock.
func BenchmarkBundle(b *testing.B) {
	var cmps []string
	for i := range 100 {
		cmps = append(cmps, fmt.Sprintf(`"c%d":{"p":"sensor","uniq_id":"u%d","val_tpl":"{{ value_json.a%d }}"}`, i, i, i))
	}
	payload := []byte(`{"dev":{"ids":["b"],"name":"B"},"o":{"name":"o"},"stat_t":"b/state","cmps":{` + strings.Join(cmps, ",") + `}}`)
	for b.Loop() {
		b.StopTimer()
		h := newBench(b)
		h.quiet = true
		msg := &mqtt.Message{Topic: "homeassistant/device/b/config", Payload: payload}
		prepared := h.model.Prepare(msg.Topic, msg.Payload)
		b.StartTimer()
		h.model.Accept(&mqtt.Turn{Number: 1, Now: h.now}, msg, prepared)
	}
}

// TestOneClientsShare: a client that announces without end leaves room for
// others, and for what it announced itself, however long its name is.
func TestOneClientsShare(t *testing.T) {
	for _, bad := range []string{"bad", strings.Repeat("bad", 100)} {
		b := newBench(t)
		b.quiet, b.model.share = true, 50
		announce := func(client string, n int) {
			name := fmt.Sprint(client[:3], n)
			msg := &mqtt.Message{Topic: "homeassistant/switch/" + name + "/config", ClientID: client,
				Payload: fmt.Appendf(nil, `{"uniq_id":%q,"cmd_t":"x/set","dev":{"ids":[%q]}}`, name, name)}
			b.number++
			b.model.Accept(&mqtt.Turn{Number: b.number, Now: b.now}, msg, b.model.Prepare(msg.Topic, msg.Payload))
		}
		for n := range 70 {
			announce(bad, n)
		}
		if n := len(b.model.House().Devices); n != 50 {
			t.Errorf("one client has %d devices, want 50", n)
		}
		announce("good", 1)
		announce(bad, 0) // again
		if n := len(b.model.House().Devices); n != 51 {
			t.Errorf("there are %d devices: another client finds no room", n)
		}
	}
}

// TestSpoken: how many devices a client speaks for is counted as they come, are
// taken over, go, are forgotten and taken back, and over a restart.
func TestSpoken(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	check := func(what string, want map[string]int) {
		got := map[string]int{}
		for _, d := range b.model.devices {
			if d.client != "" {
				got[d.client]++
			}
		}
		if !maps.Equal(got, want) || !maps.Equal(b.model.spoken, want) {
			t.Errorf("%s: %v speak, and %v are counted, want %v", what, got, b.model.spoken, want)
		}
	}
	announce := func(client, device, payload string) {
		b.client = client
		if payload == "" {
			payload = fmt.Sprintf(`{"uniq_id":%q,"stat_t":"state/%s","dev":{"ids":[%q],"name":%q}}`, device, device, device, device)
		}
		b.publish("homeassistant/sensor/"+device+"/config", payload, true)
	}
	for _, device := range []string{"one", "two", "three"} {
		announce("a", device, "")
	}
	announce("b", "four", "")
	check("announced", map[string]int{"a": 3, "b": 1})
	b.client = "b"
	b.publish("homeassistant/sensor/one/config", `{"uniq_id":"one","name":"x","stat_t":"state/one","dev":{"ids":["one"],"name":"one"}}`, true)
	check("taken over", map[string]int{"a": 2, "b": 2})
	b.publish("homeassistant/sensor/two/config", "", true)
	check("removed", map[string]int{"a": 1, "b": 2})
	b.run("forget three")
	check("forgotten", map[string]int{"b": 2})
	b.run("undo")
	check("taken back", map[string]int{"a": 1, "b": 2})
	b.run("restart")
	check("restarted", map[string]int{"a": 1, "b": 2})
}
