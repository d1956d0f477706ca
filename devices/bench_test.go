package devices

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"lar.home/devices/homie"
	"lar.home/mqtt"
)

// BenchmarkChange is one message of a device with ten entities of which one
// changes: preparing, deciding and publishing the new state.
func BenchmarkChange(b *testing.B) {
	h := newBench(b)
	h.quiet = true
	for i := range 10 {
		h.feed(fmt.Sprintf("homeassistant/sensor/dev/s%d/config", i),
			fmt.Sprintf(`{"dev":{"ids":["dev"],"name":"Dev"},"uniq_id":"dev_%d","stat_t":"dev","unit_of_meas":"W","val_tpl":"{{ value_json[\"s%d\"] }}"}`, i, i))
	}
	payloads := [2][]byte{
		[]byte(`{"s0":1,"s1":2,"s2":3,"s3":4,"s4":5,"s5":6,"s6":7,"s7":8,"s8":9,"s9":10}`),
		[]byte(`{"s0":2,"s1":2,"s2":3,"s3":4,"s4":5,"s5":6,"s6":7,"s7":8,"s8":9,"s9":10}`),
	}
	for _, part := range []string{"prepare", "accept"} {
		b.Run(part, func(b *testing.B) {
			b.ReportAllocs()
			prepared := [2]any{h.model.Prepare("dev", payloads[0]), h.model.Prepare("dev", payloads[1])}
			i := 0
			for b.Loop() {
				i ^= 1
				if part == "prepare" {
					h.model.Prepare("dev", payloads[i])
					continue
				}
				t := &mqtt.Turn{Number: 1, Now: h.now}
				h.model.Accept(t, &mqtt.Message{Topic: "dev", Payload: payloads[i]}, prepared[i])
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

// BenchmarkHomie describes a device of version 4 with as many properties as
// one may have: it is done in a turn.
func BenchmarkHomie(b *testing.B) {
	attributes := map[string]string{"$homie": "4.0", "$nodes": "n"}
	var properties []string
	for i := range homie.MaxProperties {
		p := fmt.Sprint("p", i)
		properties = append(properties, p)
		attributes["n/"+p+"/$datatype"], attributes["n/"+p+"/$settable"] = "integer", "true"
	}
	attributes["n/$properties"] = strings.Join(properties, ",")
	m, err := New(Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		d, err := homie.Assemble("homie/x", attributes)
		if err != nil {
			b.Fatal(err)
		}
		m.homieSpecs(d)
	}
}
