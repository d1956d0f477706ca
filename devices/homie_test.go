package devices

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/devices/homie"
	"lar.home/mqtt"
)

const (
	homieFive = "homie/5/a4cf12aabb04/"
	homieText = `{"homie":"5.0","version":1,"name":"Lamp","nodes":{"light":{"name":"Light","type":"light","properties":{"power":{"datatype":"boolean","settable":true},"brightness":{"datatype":"integer","format":"0:100","settable":true}}}}}`
	homieElse = `{"name":"Bulb","uniq_id":"u1","obj_id":"bulb","cmd_t":"homie/5/a4cf12aabb04/light/power/set","stat_t":"homie/5/a4cf12aabb04/light/power","pl_on":"true","pl_off":"false","dev":{"cns":[["mac","A4:CF:12:AA:BB:04"]],"name":"Lamp"}}`
)

// TestHomieOrder: in whichever order a device announces itself, by Homie and
// by discovery, it is there once, what was known by discovery keeps its ID,
// and when all is taken back nothing is left.
func TestHomieOrder(t *testing.T) {
	messages := [][2]string{{homieFive + "$state", "ready"}, {homieFive + "$description", homieText}, {"homeassistant/light/bulb/config", homieElse}}
	for _, order := range [][]int{{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}} {
		b := newBench(t)
		b.quiet = true
		for _, i := range order {
			b.publish(messages[i][0], messages[i][1], true)
			b.pass(time.Second)
		}
		want := "light.lamp"
		if order[2] != 2 {
			want = "light.bulb"
		}
		h := b.model.House()
		if len(h.Devices) != 1 || len(h.Devices[0].Entities) != 1 || h.Devices[0].Entities[0].ID != want || h.Devices[0].Source != "homie" {
			b.out.Reset()
			b.quiet = false
			b.show()
			t.Errorf("order %v: want %s alone:\n%s", order, want, b.out.String())
		}
		for _, i := range order {
			b.publish(messages[i][0], "", true)
		}
		b.pass(time.Second)
		b.homieGone()
	}
}

// homieGone checks that nothing is left of what was announced.
func (b *bench) homieGone() {
	m := b.model
	h := &m.homies
	if n := len(m.nodes) + len(m.devices) + len(m.slots) + len(m.shadows) + len(m.owned) + len(h.devices) + len(h.dirty) + h.size + len(h.clients) + len(h.count) + m.wiring.Load().routes.len(); n != 0 {
		b.t.Errorf("%d things are left: %d entities, %d devices, %d kept aside, %d announcements, %d Homies, %d bytes, %d routes",
			n, len(m.nodes), len(m.devices), len(m.shadows), len(m.owned), len(h.devices), h.size, m.wiring.Load().routes.len())
	}
}

// TestHomieScattered: the attributes of a device of version 4 may come in any
// order, each while it is said to be ready: entities are those that they are in
// the end, from the first time on.
func TestHomieScattered(t *testing.T) {
	attributes := [][2]string{
		{"$state", "ready"}, {"$homie", "4.0"}, {"$name", "Box"}, {"$nodes", "a"}, {"a/$name", "A"}, {"a/$properties", "p,q"},
		{"a/p/$datatype", "boolean"}, {"a/p/$settable", "true"}, {"a/q/$datatype", "float"}, {"a/q/$unit", "W"},
	}
	for first := range attributes {
		b := newBench(t)
		b.quiet = true
		for i := range attributes {
			x := attributes[(first+i*3)%len(attributes)]
			b.publish("homie/box/"+x[0], x[1], true)
			b.pass(50 * time.Millisecond)
		}
		b.pass(time.Second)
		var ids []string
		for ident := range b.model.memory.ids {
			ids = append(ids, b.model.memory.ids[ident].ID)
		}
		slices.Sort(ids)
		if want := []string{"sensor.box_q", "switch.box_p"}; !slices.Equal(ids, want) {
			t.Errorf("beginning with %s: %q, want %q", attributes[first][0], ids, want)
		}
		for _, x := range attributes {
			b.publish("homie/box/"+x[0], "", true)
		}
		b.pass(time.Second)
		b.homieGone()
	}
}

// TestHomieBounds: one client does not take the room of all, with devices that
// it never completes or that say too much; and what it takes back is free.
func TestHomieBounds(t *testing.T) {
	b := newBench(t)
	b.quiet, b.client = true, "greedy"
	b.model.share = 20
	for i := range 30 {
		b.publish(fmt.Sprintf("homie/d%d/$homie", i), "4.0", false)
	}
	if n := len(b.model.homies.devices); n != 20 {
		t.Errorf("%d devices wait, want 20", n)
	}
	b.client = "honest"
	b.publish(homieFive+"$description", homieText, false)
	b.publish(homieFive+"$state", "ready", false)
	b.pass(time.Second)
	if n := len(b.model.devices); n != 1 {
		t.Errorf("%d devices, want 1", n)
	}
	b.publish(homieFive+"$description", "", false)
	b.publish(homieFive+"$state", "", false)
	b.client = "greedy"
	long := strings.Repeat("x", 16<<10)
	for i := range 300 {
		b.publish(fmt.Sprintf("homie/d0/n%d/$name", i), long, false)
	}
	if n := b.model.homies.size; n < maxHomieDevice/2 || n > maxHomieDevice+4096 {
		t.Errorf("one device has said %d bytes, want %d at most", n, maxHomieDevice)
	}
	b.publish("homie/d0/n/$name", long+"x", false)
	for i := range 30 {
		b.publish(fmt.Sprintf("homie/d%d/$homie", i), "", false)
	}
	for i := range 300 {
		b.publish(fmt.Sprintf("homie/d0/n%d/$name", i), "", false)
	}
	b.pass(time.Second)
	b.homieGone()
}

// FuzzHomie: whatever a device says of itself and of its state, its commands
// go where commands may, and when it takes all back nothing is left.
func FuzzHomie(f *testing.F) {
	f.Add(homieText, "true", "12")
	f.Add(`{"homie":"5.0","nodes":{"a":{"properties":{"c":{"datatype":"color","format":"xyz,hsv","settable":true},"power":{"datatype":"boolean","settable":true},"speed":{"datatype":"float","format":"0:1:0.25","settable":true}}}}}`, "rgb,1,2,3", "xyz,0.1,1e300")
	f.Add(`{"homie":"5.1","root":"x","parent":"a/b","nodes":{"a":{"properties":{"move":{"datatype":"enum","format":"up,down","settable":true},"position":{"datatype":"integer","format":"0:3"},"d":{"datatype":"duration","settable":true},"e":{"datatype":"enum","retained":false,"settable":true}}}}}`, "PT1H", "3")
	f.Fuzz(func(t *testing.T, description, one, two string) {
		b := newBench(t)
		b.quiet = true
		b.publish(homieFive+"$description", description, true)
		b.publish(homieFive+"$state", "ready", true)
		b.pass(time.Second)
		for _, n := range b.model.nodes {
			for _, r := range n.spec.reads {
				b.publish(r.topic, one, false)
				b.publish(r.topic, two, false)
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
						if commandTopicProblem("homeassistant", out.Topic) != "" || !strings.HasSuffix(out.Topic, "/set") || out.Retain {
							t.Errorf("%s publishes to %q", cmd.Name, out.Topic)
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
		b.pass(time.Second)
		if n := len(b.model.nodes); n != entities {
			t.Errorf("%d entities after a restart, %d before", n, entities)
		}
		b.publish(homieFive+"$state", "", true)
		b.publish(homieFive+"$description", "", true)
		b.pass(time.Second)
		b.homieGone()
	})
}

// TestHomieLarge: a device that says much of itself is described bit by bit.
func TestHomieLarge(t *testing.T) {
	h := newBench(t)
	h.quiet = true
	h.largeHomie(homie.MaxProperties)
}

// TestHomieBetween: whatever happens while a large device is being described,
// for the first time or again, in the end it is as if it had happened before
// or after.
func TestHomieBetween(t *testing.T) {
	const all = 120
	names := func(n int) string {
		var list []string
		for i := range n {
			list = append(list, fmt.Sprint("p", i))
		}
		return strings.Join(list, ",")
	}
	for what, want := range map[string]int{"nothing": all, "name": all, "fewer": 70, "gone": 0, "forgotten": 0, "undone": all} {
		met := 0 // slices that leave something for later
		for slice := 0; slice < 24; slice++ {
			again := slice >= 12
			b := newBench(t)
			b.quiet = true
			say := func(attribute, value string) { b.publish("homie/box/"+attribute, value, true) }
			step := func() bool {
				if b.now.Run += 100 * time.Millisecond; len(b.model.jobs)+len(b.model.homies.dirty) == 0 {
					return false
				}
				b.turn(b.model.Wake)
				return true
			}
			say("$homie", "4.0")
			say("$nodes", "n")
			for i := range all {
				say(fmt.Sprintf("n/p%d/$datatype", i), "integer")
			}
			say("n/$properties", names(all))
			say("$state", "ready")
			if again {
				for step() {
				}
				say("n/p0/$name", "First")
			}
			for i := 0; i < slice%12 && step(); i++ {
			}
			if a := b.model.owned["homie/box/$state"]; a != nil && len(a.rest) > 0 {
				met++
			}
			switch what {
			case "name":
				say("n/p110/$name", "Other")
			case "fewer":
				say("n/$properties", names(want))
			case "gone":
				say("$state", "")
			case "forgotten", "undone":
				for id := range b.model.devices {
					b.turn(func(turn *mqtt.Turn) {
						if err := b.model.Forget(turn, id); err != nil {
							t.Error(err)
						}
					})
					step()
					if n := len(b.model.nodes); n > 0 {
						t.Errorf("%d entities of a forgotten device in slice %d", n, slice)
					}
					if what == "undone" {
						b.turn(func(turn *mqtt.Turn) { _ = b.model.Undo(turn, id) })
					}
				}
			}
			for step() {
			}
			n := len(b.model.nodes)
			if len(b.model.tombs) == 0 && what == "forgotten" { // it was not there yet
				n -= all
			}
			if n != want || b.model.House().entities.len() != len(b.model.nodes) {
				t.Errorf("%s in slice %d: %d entities, want %d", what, slice, n, want)
			}
			for _, e := range b.model.nodes {
				if what == "name" && strings.HasSuffix(e.spec.key, "p110") && e.public.Label != "Other" {
					t.Errorf("in slice %d the name was lost: %q", slice, e.public.Label)
				}
			}
			if a := b.model.owned["homie/box/$state"]; a != nil && len(a.rest)+len(a.before) > 0 {
				t.Errorf("%s in slice %d: %d entities were left out", what, slice, len(a.rest))
			}
		}
		if met < 4 {
			t.Errorf("%s: %d slices in between, want 4 or more", what, met)
		}
	}
}
