package devices

import (
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestAnyOrder brings the retained messages of a house (announcements of both
// forms and of three conventions, lists, states, availability) in many random
// orders, as a broker does that has them all: the house is the same each time.
func TestAnyOrder(t *testing.T) {
	type message struct{ topic, payload string }
	var house []message
	add := func(topic string, payload any) {
		text, ok := payload.(string)
		if !ok {
			js, err := json.Marshal(payload)
			if err != nil {
				t.Fatal(err)
			}
			text = string(js)
		}
		house = append(house, message{topic, text})
	}
	// Devices that Zigbee2MQTT announces twice over, and some it announces in
	// the other convention alone.
	zigbee := readZigbee(t)
	zigbee = zigbee[:min(len(zigbee), 12)]
	known := map[string]int{}
	for _, d := range zigbee {
		known[d.IEEE] = 0
		if d.state != nil {
			add(d.base+"/"+d.Name, d.state)
		}
		add(d.base+"/"+d.Name+"/availability", `{"state":"online"}`)
	}
	for topic, payload := range deviceLists(zigbee) {
		add(topic, payload)
		add(strings.TrimSuffix(topic, "devices")+"state", `{"state":"online"}`)
		add(strings.TrimSuffix(topic, "devices")+"info", `{"version":"2.14.1","coordinator":{"ieee_address":"0x00124b0000000001"}}`)
	}
	last := map[string]string{}
	for _, m := range readCorpus(t) {
		f := strings.Split(m.Topic, "/")
		if f[1] == "device_automation" {
			continue
		}
		if _, ours := known[f[2]]; ours || len(known) < 40 {
			known[f[2]]++
			last[m.Topic] = string(m.Payload)
		}
	}
	for topic, payload := range last {
		add(topic, payload)
	}
	add("homeassistant/device/pump/config", `{"dev":{"ids":["pump"],"name":"Pump"},"o":{"name":"x"},"avty_t":"pump/status","stat_t":"pump/state","cmps":{"run":{"p":"switch","uniq_id":"pump_run","name":null,"cmd_t":"pump/set","val_tpl":"{{ value_json.run }}"},"flow":{"p":"sensor","uniq_id":"pump_flow","name":"Flow","unit_of_meas":"L/min","val_tpl":"{{ value_json.flow|float|round(1) }}"}}}`)
	add("homeassistant/sensor/pump_extra/config", `{"name":"Extra","uniq_id":"pump_extra","stat_t":"pump/extra","dev":{"ids":["pump"]}}`)
	add("pump/state", `{"run":"ON","flow":"3.25"}`)
	add("pump/extra", "5")
	add("pump/status", "online")
	add(plugTopic+"config", plugConfig)
	add(plugTopic+"sensors", plugSensor)
	add("homeassistant/switch/49A3BC_RL_1/config", plugOther)
	add("tele/plug/LWT", "Online")
	add("tele/plug/STATE", `{"POWER1":"ON","POWER2":"OFF"}`)
	add("tele/plug/SENSOR", `{"ENERGY":{"Power":7}}`)
	slices.SortFunc(house, func(a, b message) int { return strings.Compare(a.topic, b.topic) })

	var want map[string]string
	for seed := range uint64(12) {
		b := newBench(t)
		b.quiet = true
		order := slices.Clone(house)
		random := rand.New(rand.NewPCG(seed, 7))
		random.Shuffle(len(order), func(i, j int) { order[i], order[j] = order[j], order[i] })
		for _, m := range order {
			b.publish(m.topic, m.payload, true)
			b.pass(10 * time.Millisecond)
		}
		b.settle()
		got := b.picture()
		if want == nil {
			want = got
			t.Logf("%d messages, %d entities", len(house), len(want))
			continue
		}
		for _, id := range slices.Sorted(maps.Keys(want)) {
			if got[id] != want[id] {
				t.Errorf("seed %d: %s is\n%s\nand was\n%s", seed, id, got[id], want[id])
			}
		}
		for id := range got {
			if want[id] == "" {
				t.Errorf("seed %d: %s is new: %s", seed, id, got[id])
			}
		}
		if t.Failed() {
			return
		}
	}
}

// picture says of each entity, by its identity, all that a person sees of it,
// but whether its values are from before. Its ID is left out: it is made of the
// names that are known when it first appears, and then it stays.
func (b *bench) picture() map[string]string {
	out := map[string]string{}
	for _, d := range b.model.House().Devices {
		for _, e := range d.Entities {
			s := e.State()
			line := fmt.Sprintf("%s %s %s %s %s %s|%q %q %s %s %s %s %v %v %v %s", d.Name, d.Manufacturer, d.Model, d.SWVersion, d.Area, d.Source,
				e.Name, e.Label, e.Kind, e.Category, e.DeviceClass, e.Icon, e.Enabled, e.Assumed, s.Available, e.Problem)
			for i, a := range e.Aspects {
				line += fmt.Sprintf(" %s=%s%s", a.Name, show(s.Readings[i].Value), a.Unit)
			}
			for _, c := range e.Commands {
				line += " +" + c.Name
			}
			out[b.model.nodes[e.ID].spec.identity] = line
		}
	}
	return out
}
