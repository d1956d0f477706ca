package devices

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// FuzzBundle: a component that a device announces with all it has is the same
// as one that is announced by itself: what it is, what its states make of it,
// what its commands send. Announced again nothing changes, and without it in
// the next version nothing of it is left.
func FuzzBundle(f *testing.F) {
	for i, m := range readCorpus(f) {
		if topic := strings.Split(m.Topic, "/"); topic[1] != "device" && i%7 == 0 {
			f.Add(topic[1], string(m.Payload), `{"state":"ON","brightness":5}`)
		}
	}
	f.Add("vacuum", `{"name":"V","cmd_t":"~/c","stat_t":"s","~":"a","segments":["1.a"],"clean_segments_command_topic":"x~"}`, `{"state":"docked","fan_speed":1}`)
	f.Add("light", `{"name":null,"schema":"json","cmd_t":"c","stat_t":"s","brightness":false,"sup_clrm":["rgbw"]}`, `{"state":"ON","color":{"r":1,"g":0,"b":0,"w":9}}`)
	f.Add("climate", `{"unique_id":"c","temp_cmd_t":"t","temp_stat_t":"s","temp_unit":"F","min_temp":"45","avty":{"t":"up"}}`, `70.5`)
	f.Add("sensor", `{"stat_t":"s","avty_t":"up","pl_avail":"yes","val_tpl":"{% macro a(x) %}{{ x }}{% endmacro %}{{ a(value) }}"}`, "3")
	f.Fuzz(func(t *testing.T, component, payload, state string) {
		var options map[string]any
		if json.Unmarshal([]byte(payload), &options) != nil || builders[component] == nil {
			return
		}
		for _, key := range []string{"dev", "device", "o", "origin", "p", "platform", "cmps", "components", "migr_discvry", "migrate_discovery"} {
			delete(options, key)
		}
		if len(options) == 0 {
			return // that is a removal
		}
		device := map[string]any{"identifiers": "d", "name": "D"}
		options["device"] = device
		alone := jsonOf(options)
		delete(options, "device")
		options["platform"] = component
		other := map[string]any{"platform": "button", "unique_id": "other", "name": "Other", "command_topic": "other"}
		whole := map[string]any{"device": device, "origin": map[string]any{"name": "o"}, "components": map[string]any{"x": options, "other": other}}

		one, all := newBench(t), newBench(t)
		one.quiet, all.quiet = true, true
		one.publish("homeassistant/"+component+"/x/config", alone, true)
		all.publish("homeassistant/device/d/config", jsonOf(whole), true)
		a, b := one.fed(state), all.fed(state)
		if a != b {
			t.Errorf("alone it is\n%s\nand in its device\n%s", a, b)
		}
		house := all.model.House()
		all.publish("homeassistant/device/d/config", jsonOf(whole), true)
		if all.model.House() != house {
			t.Error("the same again changed the house")
		}
		delete(whole["components"].(map[string]any), "x")
		all.publish("homeassistant/device/d/config", jsonOf(whole), true)
		if n := len(all.model.nodes); n != 1 {
			t.Errorf("%d entities are left, want one", n)
		}
		all.publish("homeassistant/device/d/config", "", true)
		all.empty()
	})
}

func jsonOf(v any) string {
	text, _ := json.Marshal(v)
	return string(text)
}

// fed gives the first entity of the house, but for one called Other, a state on
// all its topics, and tells what it is and what its commands send.
func (b *bench) fed(state string) string {
	out := ""
	for _, n := range b.model.nodes {
		if n.spec.name == "Other" && n.spec.kind == Button {
			continue
		}
		for _, r := range n.spec.reads {
			b.publish(r.topic, state, false)
			b.publish(r.topic, "ON", false)
		}
		b.pass(time.Second)
		s := n.live.Load()
		out += string(n.spec.kind) + " " + n.spec.name + " " + n.spec.problem
		for i, a := range n.spec.aspects {
			out += "\n" + jsonOf(a) + " " + show(s.Readings[i].Value)
		}
		for _, cmd := range n.spec.commands {
			args := map[string]Value{}
			for _, arg := range cmd.Args {
				args[arg.Name] = sample(arg)
			}
			t := &mqtt.Turn{Number: 1, Now: b.now}
			err := b.model.Command(t, n.id, cmd.Name, args)
			out += "\n" + jsonOf(cmd)
			if err != nil {
				_, text, _ := strings.Cut(err.Error(), ": ")
				out += " " + text
			}
			var sent []string
			for _, msg := range t.Published() {
				sent = append(sent, msg.Topic+" "+string(msg.Payload))
			}
			slices.Sort(sent)
			out += "\n" + strings.Join(sent, "\n")
		}
		out += "\n"
	}
	return out
}
