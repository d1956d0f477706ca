package devices

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/devices/homie"
	"lar.home/mqtt"
)

// BenchmarkChange is one message of a device of which one value changes, in a
// house of 200 devices with 1,600 entities: what is done before the turn, and
// what in it.
func BenchmarkChange(b *testing.B) {
	for _, tt := range []struct {
		name     string
		announce func(h *bench)
		topic    string
		payloads [2]string
		entities int // that read it
	}{{
		name: "discovery",
		announce: func(h *bench) {
			for i := range 10 {
				h.feed(fmt.Sprintf("homeassistant/sensor/dev/s%d/config", i),
					fmt.Sprintf(`{"dev":{"ids":["dev"],"name":"Dev"},"uniq_id":"dev_%d","stat_t":"dev","unit_of_meas":"W","val_tpl":"{{ value_json[\"s%d\"] }}"}`, i, i))
			}
		},
		topic: "dev",
		payloads: [2]string{
			`{"s0":1,"s1":2,"s2":3,"s3":4,"s4":5,"s5":6,"s6":7,"s7":8,"s8":9,"s9":10}`,
			`{"s0":2,"s1":2,"s2":3,"s3":4,"s4":5,"s5":6,"s6":7,"s7":8,"s8":9,"s9":10}`,
		},
		entities: 10,
	}, {
		name: "zigbee2mqtt",
		announce: func(h *bench) {
			h.feed("zigbee2mqtt/bridge/devices", `[{"ieee_address":"0x0000000000000011","friendly_name":"plug","type":"Router","definition":{"vendor":"Acme","model":"ZP1","description":"Plug","supports_ota":true,"exposes":[`+
				`{"type":"switch","features":[{"type":"binary","name":"state","property":"state","access":7,"value_on":"ON","value_off":"OFF"}]},`+
				`{"type":"numeric","name":"power","property":"power","access":5,"unit":"W"},{"type":"numeric","name":"current","property":"current","access":5,"unit":"A"},`+
				`{"type":"numeric","name":"voltage","property":"voltage","access":5,"unit":"V"},{"type":"numeric","name":"energy","property":"energy","access":1,"unit":"kWh"},`+
				`{"type":"enum","name":"power_outage_memory","property":"power_outage_memory","access":7,"values":["on","off","restore"]},`+
				`{"type":"enum","name":"indicator_mode","property":"indicator_mode","access":7,"values":["off","off/on","on/off","on"]},`+
				`{"type":"lock","features":[{"type":"binary","name":"state","property":"child_lock","access":3,"value_on":"LOCK","value_off":"UNLOCK"}]},`+
				`{"type":"numeric","name":"linkquality","property":"linkquality","access":1,"unit":"lqi"}]}}]`)
			h.settle()
		},
		topic: "zigbee2mqtt/plug",
		payloads: [2]string{
			`{"child_lock":"UNLOCK","current":0.19,"energy":102.31,"indicator_mode":"off/on","linkquality":98,"power":41.5,"power_outage_memory":"restore","state":"ON","update":{"installed_version":77,"latest_version":77,"state":"idle"},"update_available":false,"voltage":231}`,
			`{"child_lock":"UNLOCK","current":0.19,"energy":102.31,"indicator_mode":"off/on","linkquality":98,"power":43.2,"power_outage_memory":"restore","state":"ON","update":{"installed_version":77,"latest_version":77,"state":"idle"},"update_available":false,"voltage":231}`,
		},
		entities: 10,
	}, {
		name: "tasmota",
		announce: func(h *bench) {
			h.feed("tasmota/discovery/A4CF12AABB02/config", `{"ip":"192.0.2.41","dn":"Plug","fn":["Plug",null],"hn":"plug-1234","mac":"A4CF12AABB02","md":"Acme plug","ty":0,"if":0,"ofln":"Offline","onln":"Online","state":["OFF","ON","TOGGLE","HOLD"],"sw":"14.2.0","t":"plug","ft":"%prefix%/%topic%/","tp":["cmnd","stat","tele"],"rl":[1,0],"swc":[-1],"swn":[null],"btn":[0,0],"so":{"4":0,"11":0,"13":0,"17":0,"20":0,"30":0,"68":0,"73":0,"82":0,"114":0,"117":0},"lk":0,"lt_st":0,"sho":[],"sht":[],"ver":1}`)
			h.feed("tasmota/discovery/A4CF12AABB02/sensors", `{"sn":{"Time":"2026-03-01T12:00:00","ENERGY":{"TotalStartTime":"2025-03-01T12:00:00","Total":102.311,"Yesterday":1.2,"Today":0.4,"Power":41,"ApparentPower":45,"ReactivePower":18,"Factor":0.91,"Voltage":231,"Current":0.195}},"ver":1}`)
		},
		topic: "tele/plug/SENSOR",
		payloads: [2]string{
			`{"Time":"2026-03-01T12:05:00","ENERGY":{"TotalStartTime":"2025-03-01T12:00:00","Total":102.311,"Yesterday":1.200,"Today":0.412,"Period":3,"Power":41,"ApparentPower":45,"ReactivePower":18,"Factor":0.91,"Voltage":231,"Current":0.195}}`,
			`{"Time":"2026-03-01T12:05:00","ENERGY":{"TotalStartTime":"2025-03-01T12:00:00","Total":102.311,"Yesterday":1.200,"Today":0.412,"Period":3,"Power":43,"ApparentPower":45,"ReactivePower":18,"Factor":0.91,"Voltage":231,"Current":0.195}}`,
		},
		entities: 9,
	}} {
		h := newBench(b)
		h.quiet = true
		for i := range 1600 {
			h.feed(fmt.Sprintf("homeassistant/sensor/other%d/config", i),
				fmt.Sprintf(`{"dev":{"ids":["other%d"],"name":"Other"},"uniq_id":"other_%d","stat_t":"other/%d","unit_of_meas":"W"}`, i/8, i, i))
		}
		tt.announce(h)
		m, payloads := h.model, [2][]byte{[]byte(tt.payloads[0]), []byte(tt.payloads[1])}
		if r, _ := m.wiring.Load().at(tt.topic); r == nil || len(r.reads) != tt.entities {
			b.Fatalf("%s: %+v is read, want %d", tt.name, r, tt.entities)
		}
		b.Run(tt.name+"/prepare", func(b *testing.B) {
			b.ReportAllocs()
			for i := 0; b.Loop(); i ^= 1 {
				m.Prepare(tt.topic, payloads[i])
			}
		})
		b.Run(tt.name+"/accept", func(b *testing.B) {
			b.ReportAllocs()
			prepared := [2]any{m.Prepare(tt.topic, payloads[0]), m.Prepare(tt.topic, payloads[1])}
			messages := [2]*mqtt.Message{{Topic: tt.topic, Payload: payloads[0]}, {Topic: tt.topic, Payload: payloads[1]}}
			t := &mqtt.Turn{Number: 1, Now: h.now} // the broker has one, too
			for i := 0; b.Loop(); i ^= 1 {
				m.Accept(t, messages[i], prepared[i])
			}
		})
	}
}

// BenchmarkHouse is 1,000 devices with 8,500 entities that announce themselves
// at once, each entity by a message of its own: all of it, the longest turn,
// which is how long another client may wait, and the memory that stays.
func BenchmarkHouse(b *testing.B) {
	const devices, entities = 1000, 8500
	messages := make([]*mqtt.Message, entities)
	for i := range messages {
		d := i % devices
		messages[i] = &mqtt.Message{Topic: fmt.Sprintf("homeassistant/sensor/dev%d/s%d/config", d, i), Retain: true, Payload: fmt.Appendf(nil,
			`{"dev":{"ids":["dev%d"],"name":"Device %d","mf":"Acme","mdl":"One"},"name":"Value %d","uniq_id":"dev%d_%d","stat_t":"dev/%d","unit_of_meas":"W","dev_cla":"power","stat_cla":"measurement","val_tpl":"{{ value_json[\"s%d\"] }}","avty":[{"t":"bridge/state"},{"t":"dev/%d/up"}],"avty_mode":"all"}`,
			d, d, i/devices, d, i, d, i/devices, d)}
	}
	var before, after runtime.MemStats
	var longest time.Duration
	var kept *bench
	for b.Loop() {
		kept = nil
		runtime.GC()
		runtime.ReadMemStats(&before)
		h := newBench(b)
		h.quiet = true
		longest = 0
		for _, msg := range messages {
			prepared := h.model.Prepare(msg.Topic, msg.Payload)
			h.number++
			t := &mqtt.Turn{Number: h.number, Now: h.now}
			start := time.Now()
			h.model.Accept(t, msg, prepared)
			longest = max(longest, time.Since(start))
		}
		kept = h
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if n := len(kept.model.nodes); n != entities {
		b.Fatalf("%d entities, want %d", n, entities)
	}
	b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/entities, "B/entity")
	b.ReportMetric(float64(longest.Microseconds())/1000, "ms/longest-turn")
	runtime.KeepAlive(kept)
}

// BenchmarkHomie is a device of version 4 with as many properties as one may
// have, that comes, changes a name and goes: the longest turn, which is how
// long another client may wait. Of each turn the best of the rounds counts, as
// others use the machine, too.
func BenchmarkHomie(b *testing.B) {
	var best []time.Duration
	for b.Loop() {
		h := newBench(b)
		h.quiet = true
		turns := h.largeHomie(homie.MaxProperties)
		if best == nil {
			best = turns
		}
		for i, d := range turns {
			best[i] = min(best[i], d)
		}
	}
	b.ReportMetric(float64(slices.Max(best).Microseconds())/1000, "ms/longest-turn")
}

// largeHomie has a device of n properties come, change and go, and checks that
// each turn does but some of that. It returns how long they took.
func (h *bench) largeHomie(n int) (turns []time.Duration) {
	timed := func(fn func(t *mqtt.Turn)) {
		h.number++
		t := &mqtt.Turn{Number: h.number, Now: h.now}
		start := time.Now()
		fn(t)
		turns = append(turns, time.Since(start))
	}
	say := func(attribute, value string) {
		msg := &mqtt.Message{Topic: "homie/x/" + attribute, Payload: []byte(value), Retain: true}
		prepared := h.model.Prepare(msg.Topic, msg.Payload)
		timed(func(t *mqtt.Turn) { h.model.Accept(t, msg, prepared) })
	}
	settle := func() {
		for h.now.Run += time.Second; len(h.model.homies.dirty)+len(h.model.jobs) > 0; h.now.Run += slicePause {
			before := len(h.model.nodes)
			timed(h.model.Wake)
			if some := len(h.model.nodes) - before; some > 2*sliceEntities || -some > 2*sliceEntities {
				h.t.Fatalf("%d entities in a turn", some)
			}
		}
	}
	var properties []string
	say("$homie", "4.0")
	say("$nodes", "n")
	for i := range n {
		p := fmt.Sprint("p", i)
		properties = append(properties, p)
		say("n/"+p+"/$datatype", "integer")
		say("n/"+p+"/$settable", "true")
	}
	say("n/$properties", strings.Join(properties, ","))
	say("$state", "ready")
	settle()
	if got := len(h.model.nodes); got != n {
		h.t.Fatalf("%d entities, want %d", got, n)
	}
	say("n/p0/$name", "First")
	settle()
	if got := len(h.model.nodes); got != n || h.model.House().Entity("number.x_p1") == nil {
		h.t.Fatalf("%d entities, want %d", got, n)
	}
	say("$state", "")
	settle()
	if got := len(h.model.nodes); got != 0 {
		h.t.Fatalf("%d entities are left", got)
	}
	return turns
}
