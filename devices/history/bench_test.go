package history

import (
	"fmt"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// BenchmarkRecord is what a change costs that is kept, and one that is not
// wanted: a text.
func BenchmarkRecord(b *testing.B) {
	k := newKit(b)
	k.sensor("t", thermometer)
	k.sensor("text", "")
	k.say("t", "1")
	k.say("text", "a")
	now := k.now
	for _, name := range []string{"sensor.t", "sensor.text"} {
		e := k.model.House().Entity(name)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			i := 0
			t := &mqtt.Turn{Number: k.number + 1}
			changes := []devices.Change{{Entity: e, Aspect: "value", Available: true, News: true}}
			for b.Loop() {
				i++
				now.Run += time.Minute // within its share
				now.Wall = now.Wall.Add(time.Minute)
				t.Now = now
				changes[0].New = devices.NumberValue(float64(i % 30))
				if name == "sensor.text" {
					changes[0].New = devices.TextValue("b")
				}
				k.history.Changed(t, changes, false)
				if i%30 == 0 {
					b.StopTimer()
					*t = mqtt.Turn{Number: t.Number + 1, Now: now}
					k.history.Wake(t)
					for _, s := range k.history.list {
						s.stored = nil
					}
					b.StartTimer()
				}
			}
		})
	}
}

// TestUnwanted: what has no history costs no memory.
func TestUnwanted(t *testing.T) {
	k := newKit(t)
	k.sensor("text", "")
	k.say("text", "a")
	e := k.model.House().Entity("sensor.text")
	turn := &mqtt.Turn{Number: k.number + 1, Now: k.now}
	changes := []devices.Change{{Entity: e, Aspect: "value", New: devices.TextValue("b"), Available: true, News: true}}
	k.history.Changed(turn, changes, false)
	if n := testing.AllocsPerRun(100, func() { k.history.Changed(turn, changes, false) }); n != 0 {
		t.Errorf("a change of a text allocates %v times", n)
	}
	for i, topic := range []string{"text", "t", fmt.Sprint("homeassistant/", "x")} {
		if k.history.Wants(topic) {
			t.Errorf("topic %d is wanted", i)
		}
	}
}
