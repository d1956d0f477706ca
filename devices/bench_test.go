package devices

import (
	"fmt"
	"testing"

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
