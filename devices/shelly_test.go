package devices

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/devices/shelly"
	"lar.home/mqtt"
)

const (
	shellyInfo   = `{"name":"Lamp","id":"shellyplus1-aabbccddee21","mac":"AABBCCDDEE21","model":"SNSW-001X16EU","gen":2,"ver":"1.0","app":"Plus1"}`
	shellyConfig = `{"switch:0":{"id":0,"name":null},"input:0":{"id":0,"type":"button"}}`
	shellyStatus = `{"switch:0":{"id":0,"output":true,"apower":1},"input:0":{"id":0,"state":null},"sys":{}}`
	shellyElse   = `{"name":"Bulb","uniq_id":"u1","obj_id":"bulb","cmd_t":"plug/command/switch:0","stat_t":"plug/status/switch:0","val_tpl":"{{ value_json.output }}","dev":{"cns":[["mac","AA:BB:CC:DD:EE:21"]],"name":"Lamp"}}`
)

// A playedShelly answers what it is asked.
type playedShelly struct {
	prefix               string
	info, config, status string
	asked                map[string]int // by method
}

// answer plays the device for as long as it is asked something.
func (p *playedShelly) answer(b *bench) {
	type call struct {
		ID     int
		Source string `json:"src"`
		Method string
	}
	if p.asked == nil {
		p.asked = map[string]int{}
	}
	for line := range strings.Lines(b.out.String()) {
		rest, ok := strings.CutPrefix(line, "\tpublish "+p.prefix+"/rpc ")
		if !ok {
			continue
		}
		var c call
		if err := json.NewDecoder(strings.NewReader(rest)).Decode(&c); err != nil {
			b.t.Fatal(err)
		}
		result := map[string]string{"Shelly.GetDeviceInfo": p.info, "Shelly.GetConfig": p.config, "Shelly.GetStatus": p.status}[c.Method]
		p.asked[c.Method]++
		b.out.Reset()
		if result == "" {
			b.publish(c.Source+"/rpc", fmt.Sprintf(`{"id":%d,"src":"x","error":{"code":404,"message":"No handler"}}`, c.ID), false)
		} else {
			b.publish(c.Source+"/rpc", fmt.Sprintf(`{"id":%d,"src":"x","result":%s}`, c.ID, result), false)
		}
		p.answer(b)
		return
	}
}

// TestShellyOrder: whether discovery or the device itself tells of a Shelly
// first, it is there once, what was known by discovery keeps its ID, and when
// all is taken back nothing is left.
func TestShellyOrder(t *testing.T) {
	for _, first := range []bool{true, false} {
		b := newBench(t)
		p := &playedShelly{prefix: "plug", info: shellyInfo, config: shellyConfig, status: shellyStatus}
		if !first {
			b.publish("homeassistant/switch/bulb/config", shellyElse, true)
		}
		b.publish("plug/online", "true", true)
		b.pass(time.Second)
		p.answer(b)
		want := "switch.lamp"
		if !first {
			want = "switch.bulb"
		} else {
			b.publish("homeassistant/switch/bulb/config", shellyElse, true)
		}
		h := b.model.House()
		if len(h.Devices) != 1 || h.Devices[0].Source != "shelly" || h.Entity(want) == nil || len(h.Devices[0].Entities) != 6 {
			b.show()
			t.Errorf("Shelly first %v: want %s and five others:\n%s", first, want, b.out.String())
		} else if v := h.Entity(want).State().Readings[0].Value; v != BoolValue(true) {
			t.Errorf("Shelly first %v: it is %s, and on", first, show(v))
		}
		if p.asked["Shelly.GetDeviceInfo"] != 1 || p.asked["Shelly.GetStatus"] != 1 {
			t.Errorf("asked %v, want each once", p.asked)
		}
		b.publish("plug/online", "", true)
		b.publish("homeassistant/switch/bulb/config", "", true)
		b.shellyGone()
	}
}

// shellyGone checks that nothing is left of what was announced.
func (b *bench) shellyGone() {
	m := b.model
	h := &m.shellies
	if n := len(m.nodes) + len(m.devices) + len(m.slots) + len(m.shadows) + len(m.owned) + len(h.devices) + len(h.agenda) + len(h.quiet) + len(h.clients) + len(m.jobs) + m.wiring.Load().routes.len(); n != 0 {
		b.t.Errorf("%d things are left: %d entities, %d devices, %d kept aside, %d announcements, %d Shellys, %d routes",
			n, len(m.nodes), len(m.devices), len(m.shadows), len(m.owned), len(h.devices), m.wiring.Load().routes.len())
	}
	for key := range b.records {
		if strings.HasPrefix(key, "ds") {
			b.t.Errorf("a record is left: %q", key)
		}
	}
}

// TestShellyAgain: the same answers after a restart change nothing and write
// nothing, and values from before are there at once.
func TestShellyAgain(t *testing.T) {
	b := newBench(t)
	p := &playedShelly{prefix: "plug", info: shellyInfo, config: shellyConfig, status: shellyStatus}
	b.publish("plug/online", "true", true)
	b.pass(time.Second)
	p.answer(b)
	b.turn(b.model.Flush)
	record := string(b.records[string(recordKey('s', "plug"))])
	b.now.Run = time.Second
	b.start()
	b.turn(b.model.Birth)
	b.pass(50 * time.Millisecond)
	if e := b.model.House().Entity("switch.lamp"); e == nil || e.State().Readings[0].Value != BoolValue(true) || !e.State().Readings[0].Restored {
		t.Fatalf("it is not back before it is asked")
	}
	before := b.model.House()
	b.pass(time.Second)
	p.answer(b)
	if p.asked["Shelly.GetStatus"] != 2 {
		t.Errorf("asked %v, want each once more", p.asked)
	}
	if b.model.House() != before || string(b.records[string(recordKey('s', "plug"))]) != record || record == "" {
		t.Errorf("the same answers change what is known")
	}
}

// TestShellyApart: two relays that are told on one topic are not taken for each
// other when the device takes over from discovery.
func TestShellyApart(t *testing.T) {
	b := newBench(t)
	for i := range 2 {
		b.publish(fmt.Sprintf("homeassistant/switch/relay%d/config", i), fmt.Sprintf(`{"name":"Relay","uniq_id":"u%d","obj_id":"other_%d","cmd_t":"plug/rpc","pl_on":"%d on","pl_off":"%d off","dev":{"cns":[["mac","AA:BB:CC:DD:EE:21"]],"name":"Lamp"}}`, i, 1-i, i, i), true)
	}
	p := &playedShelly{prefix: "plug", info: shellyInfo, config: `{"switch:0":{"name":"Left"},"switch:1":{"name":"Right"}}`, status: `{"switch:0":{"output":false},"switch:1":{"output":true}}`}
	b.publish("plug/online", "true", true)
	b.pass(time.Second)
	p.answer(b)
	for id, want := range map[string]Value{"switch.lamp_left": BoolValue(false), "switch.lamp_right": BoolValue(true)} {
		if e := b.model.House().Entity(id); e == nil || e.State().Readings[0].Value != want {
			b.out.Reset()
			b.show()
			t.Fatalf("%s is not %s:\n%s", id, show(want), b.out.String())
		}
	}
}

// TestUnwanted: what other conventions and homes of one's own publish does not
// become a matter of the house by looking like something.
func TestUnwanted(t *testing.T) {
	b := newBench(t)
	for _, topic := range []string{
		"garden/pump/level", "plug/rpc", "plug/status/switch:0", "homie/lamp/light/power", "homie/5/lamp/light/power", "homie/lamp/light/power/set",
		"homie/5/lamp/$log/info", "homie/lamp/$stats/interval", "shellies/command", "shellies/x/relay/0/command", "shellies/x/settings", "a/b/c/d/e/f/$name",
		"online", "zwave/node/config", "esphome/debug",
	} {
		if b.model.Wants(topic) {
			t.Errorf("%s is wanted", topic)
		}
	}
	for _, topic := range []string{"plug/online", "a/b/c/events/rpc", "shellies/announce", "shellies/x/relay/0", "homie/lamp/$state", "homie/5/lamp/$description"} {
		if !b.model.Wants(topic) {
			t.Errorf("%s is not wanted", topic)
		}
	}
}

// TestShellyBounds: a client that says of many things that they are there does
// not take the room of others, and what never answers makes room.
func TestShellyBounds(t *testing.T) {
	b := newBench(t)
	b.quiet, b.client = true, "greedy"
	b.model.share = 20
	for i := range 50 {
		b.publish(fmt.Sprintf("thing%d/online", i), "true", false)
	}
	if n := len(b.model.shellies.devices); n != 20 {
		t.Errorf("%d wait for an answer, want 20", n)
	}
	b.pass(time.Hour)
	for i := range 30 {
		b.publish(fmt.Sprintf("other%d/online", i), "true", false)
	}
	if n := len(b.model.shellies.devices); n != 20 || b.model.shellies.devices["other0"] == nil {
		t.Errorf("%d are known, want the 20 that came last", n)
	}
	b.client = "honest"
	b.quiet = false
	b.publish("plug/online", "true", false)
	b.pass(time.Minute)
	p := &playedShelly{prefix: "plug", info: shellyInfo, config: shellyConfig, status: shellyStatus}
	p.answer(b)
	if n := len(b.model.devices); n != 1 {
		t.Errorf("%d devices, want 1", n)
	}
}

// FuzzShelly: whatever a device answers and says, its commands go where
// commands may, it is the same after a restart, and when it is taken back
// nothing is left.
func FuzzShelly(f *testing.F) {
	f.Add(shellyInfo, shellyConfig, shellyStatus, `{"method":"NotifyStatus","params":{"switch:0":{"output":false}}}`)
	f.Add(shellyInfo, `{"cct:0":{"ct_range":[5000,1]},"number:200":{"min":5,"max":1}}`, `{"cover:0":{"pos_control":true,"current_pos":-5},"cct:0":{"ct":1,"output":1},"rgbw:0":{"rgb":[1e300,0,-1],"white":1,"brightness":0},"number:200":{"value":null},"enum:1":{"value":"x"},"a:b":{},":":{},"input:0":{"state":1}}`,
		`{"params":{"events":[{"component":"input:0","event":"btn_up"}],"rgbw:0":{"rgb":[0,0,0]},"cover:0":{"state":"x","current_pos":"7"}}}`)
	f.Fuzz(func(t *testing.T, info, config, status, said string) {
		if strings.ContainsAny(info+config+status, "\r\n") {
			return // the bench reads lines
		}
		b := newBench(t)
		p := &playedShelly{prefix: "plug", info: info, config: config, status: status}
		b.publish("plug/online", "true", true)
		b.pass(time.Second)
		p.answer(b)
		b.quiet = true
		b.publish("plug/events/rpc", said, false)
		b.publish("plug/events/rpc", status, false)
		for _, n := range b.model.nodes {
			for _, r := range n.spec.reads {
				b.publish(r.topic, said, false)
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
						if out.Topic != "plug/rpc" || out.Retain || !json.Valid(out.Payload) {
							t.Errorf("%s publishes %s to %q", cmd.Name, out.Payload, out.Topic)
						}
					}
				})
			}
			if e := b.model.House().Entity(n.id); e == nil || len(e.State().Readings) != len(e.Aspects) {
				t.Errorf("%s is not in the house as it should be", n.id)
			}
		}
		entities := len(b.model.nodes)
		b.turn(b.model.Flush)
		b.start()
		b.turn(b.model.Birth)
		b.pass(50 * time.Millisecond)
		if n := len(b.model.nodes); n != entities {
			t.Errorf("%d entities after a restart, %d before", n, entities)
		}
		b.publish("plug/online", "", true)
		b.shellyGone()
	})
}

// FuzzOldShelly does the same for the first generation.
func FuzzOldShelly(f *testing.F) {
	f.Add("relay/0", "on", "light/0/status", `{"ison":true,"brightness":5,"temp":3000,"red":1,"gain":3}`, `{"ison":false,"effect":99}`)
	f.Add("roller/0", "open", "roller/0/pos", "-1", "101")
	f.Add("input_event/3", `{"event":"S","event_cnt":1}`, "info", `{"thermostats":[{}]}`, `{"thermostats":[{"target_t":{"value":"x"}}]}`)
	f.Fuzz(func(t *testing.T, part1, said1, part2, said2, then string) {
		b := newBench(t)
		b.quiet = true
		const prefix = "shellies/old"
		b.publish(prefix+"/"+part1, said1, false)
		b.publish("shellies/announce", `{"id":"old","model":"SHSW-1","mac":"AABBCCDDEE22","fw_ver":"x"}`, false)
		b.publish(prefix+"/"+part2, said2, false)
		b.pass(time.Second)
		for _, n := range b.model.nodes {
			for _, r := range n.spec.reads {
				b.publish(r.topic, then, false)
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
						if !strings.HasPrefix(out.Topic, prefix+"/") || out.Retain {
							t.Errorf("%s publishes to %q", cmd.Name, out.Topic)
						}
					}
				})
			}
		}
		b.pass(time.Second)
		entities := len(b.model.nodes)
		b.turn(b.model.Flush)
		b.start()
		b.turn(b.model.Birth)
		b.pass(50 * time.Millisecond)
		if n := len(b.model.nodes); n != entities {
			t.Errorf("%d entities after a restart, %d before", n, entities)
		}
		b.publish(shelly.OnlineTopic(prefix), "", true)
		b.shellyGone()
	})
}
