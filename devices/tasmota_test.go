package devices

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lar.home/mqtt"
)

const (
	plugTopic  = "tasmota/discovery/DC4F2249A3BC/"
	plugConfig = `{"dn":"Plug","fn":["Kettle","Second"],"mac":"DC4F2249A3BC","t":"plug","rl":[1,1],"so":{},"ver":1}`
	plugSensor = `{"sn":{"ENERGY":{"Power":3},"TempUnit":"C"},"ver":1}`
	plugOther  = `{"uniq_id":"49A3BC_RL_1","obj_id":"kettle","stat_t":"tele/plug/STATE","cmd_t":"cmnd/plug/POWER1","dev":{"ids":["49A3BC"],"name":"Plug"}}`
)

// TestTasmotaOrder: in whichever order a Tasmota announces itself, by both
// conventions, it is there once, has the same entities, and what was known by
// discovery keeps its ID; and when all is taken back nothing is left.
func TestTasmotaOrder(t *testing.T) {
	messages := [][2]string{
		{plugTopic + "config", plugConfig}, {plugTopic + "sensors", plugSensor}, {"homeassistant/switch/49A3BC_RL_1/config", plugOther},
	}
	orders := [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}}
	for _, order := range orders {
		b := newBench(t)
		b.quiet = true
		for _, i := range order {
			b.publish(messages[i][0], messages[i][1], true)
		}
		var ids []string
		for id := range b.model.nodes {
			ids = append(ids, id)
		}
		slices.Sort(ids)
		first := "switch.plug_kettle"
		if slices.Index(order, 2) < slices.Index(order, 0) {
			first = "switch.kettle"
		}
		want := []string{"sensor.plug_mqtt_connections", "sensor.plug_power", "sensor.plug_signal", "sensor.plug_status", "sensor.plug_uptime", first, "switch.plug_second"}
		slices.Sort(want)
		if !slices.Equal(ids, want) || len(b.model.devices) != 1 {
			t.Errorf("order %v: %q, want %q", order, ids, want)
		}
		if d := b.model.House().Devices[0]; d.Source != "tasmota" {
			t.Errorf("order %v: its source is %s", order, d.Source)
		}
		for _, i := range order {
			b.publish(messages[i][0], "", true)
		}
		b.tasmotaGone()
	}
}

// tasmotaGone checks that nothing is left of what was announced.
func (b *bench) tasmotaGone() {
	m := b.model
	if n := len(m.nodes) + len(m.devices) + len(m.slots) + len(m.shadows) + len(m.tasmotas) + len(m.wills) + m.wiring.Load().routes.len(); n != 0 {
		b.t.Errorf("%d things are left: %d entities, %d devices, %d kept aside, %d Tasmotas, %d wills, %d routes",
			n, len(m.nodes), len(m.devices), len(m.shadows), len(m.tasmotas), len(m.wills), m.wiring.Load().routes.len())
	}
}

// TestTasmotaLoose: what measures something and never says what it is does not
// fill the memory.
func TestTasmotaLoose(t *testing.T) {
	b := newBench(t)
	b.quiet = true
	for i := range maxLoose + 20 {
		b.publish(fmt.Sprintf("tasmota/discovery/%012X/sensors", i), plugSensor, false)
	}
	if n := len(b.model.tasmotas); n != maxLoose {
		t.Errorf("%d wait, want %d", n, maxLoose)
	}
	b.publish(plugTopic+"config", plugConfig, false)
	if n := len(b.model.devices); n != 1 {
		t.Errorf("%d devices, want 1", n)
	}
}

// FuzzTasmota: whatever a device says of itself and of its state, its commands
// go where commands may, and when it takes all back nothing is left.
func FuzzTasmota(f *testing.F) {
	f.Add(plugConfig, plugSensor, `{"POWER1":"ON","ENERGY":{"Power":1}}`)
	f.Add(`{"mac":"DC4F2249A3BC","t":"x","rl":[2],"lt_st":5,"lk":1,"so":{"4":1},"dn":"x"}`, "{}", `{"POWER":"ON","Dimmer":0,"HSBColor":"1,2,3","Color":"zzzzzz","White":1e300,"CT":-1,"Scheme":99}`)
	f.Add(`{"mac":"DC4F2249A3BC","t":"x","rl":[3,3,2],"if":1,"sht":[[-90,90]],"sho":[1],"swc":[5,13],"btn":[1],"so":{"73":1}}`, `{"sn":{"A":{"B":[1]}}}`, `{"Shutter1":{"Position":1e9,"Direction":1,"Tilt":7},"FanSpeed":2,"Button1":{"Action":"HOLD"},"A":{"B":1}}`)
	f.Fuzz(func(t *testing.T, config, sensors, state string) {
		b := newBench(t)
		b.quiet = true
		b.publish(plugTopic+"sensors", sensors, false)
		b.publish(plugTopic+"config", config, false)
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
		b.pass(time.Minute)
		b.turn(b.model.Flush)
		b.start()
		b.publish(plugTopic+"config", config, false)
		b.publish(plugTopic+"sensors", sensors, false)
		b.publish(plugTopic+"config", "", false)
		b.publish(plugTopic+"sensors", "", false)
		b.tasmotaGone()
	})
}
