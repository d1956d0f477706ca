package devices

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// person runs fn as a turn and wants no error.
func (b *bench) person(fn func(t *mqtt.Turn) error) {
	b.t.Helper()
	b.turn(func(t *mqtt.Turn) {
		if err := fn(t); err != nil {
			b.t.Errorf("refused: %v", err)
		}
	})
}

func groupBench(t *testing.T) *bench {
	b := newBench(t)
	b.run(`retain homeassistant/light/a/config {"name":"Lamp","uniq_id":"a","schema":"json","cmd_t":"a/set","stat_t":"a","brightness":true,"dev":{"ids":["a"],"name":"Lamp","sa":"Attic"}}`)
	b.run(`retain homeassistant/switch/b/config {"name":"Plug","uniq_id":"b","cmd_t":"b/set","stat_t":"b","dev":{"ids":["b"],"name":"Plug"}}`)
	b.run(`retain homeassistant/sensor/c/config {"name":"Power","uniq_id":"c","stat_t":"c","unit_of_meas":"W","dev":{"ids":["b"],"name":"Plug"}}`)
	b.person(func(t *mqtt.Turn) error { return b.model.SetArea(t, b.device("Plug"), "Attic") })
	return b
}

// TestGroups holds that a group is told as one, keeps what people set over a
// restart, and loses members that are forgotten.
func TestGroups(t *testing.T) {
	b := groupBench(t)
	var id string
	b.person(func(t *mqtt.Turn) (err error) {
		id, err = b.model.AddGroup(t, Group{Name: " Cosy ", Area: "Attic", Members: []string{"light.lamp_lamp", "light.lamp", "switch.plug", "switch.plug", "gone.one"}})
		return err
	})
	h := b.model.House()
	if g := h.Group(id); id != "group.cosy" || g == nil || g.Name != "Cosy" || len(g.Members) != 4 || len(h.Members(g)) != 2 {
		t.Fatalf("%q is %+v with %d members here", id, g, len(h.Members(g)))
	}
	b.out.Reset()
	b.person(func(t *mqtt.Turn) error {
		return b.model.CommandGroup(t, id, "turn_on", map[string]Value{"brightness": NumberValue(40)})
	})
	want := "\tpublish a/set {\"state\":\"ON\",\"brightness\":102}\n\tpublish b/set ON\n"
	if got := b.out.String(); got != want {
		t.Errorf("a group that is turned on says %q, want %q", got, want)
	}
	names := []string{}
	for _, c := range h.GroupCommands(h.Group(id)) {
		names = append(names, c.Name)
	}
	if got := strings.Join(names, " "); got != "turn_on turn_off toggle" {
		t.Errorf("a group has commands %q", got)
	}
	b.turn(func(t *mqtt.Turn) {
		for _, err := range []error{
			b.model.CommandGroup(t, id, "open", nil),
			b.model.CommandGroup(t, "group.none", "turn_on", nil),
			b.model.SetGroup(t, "group.none", Group{Name: "x"}),
			b.model.RemoveGroup(t, "group.none"),
			b.model.SetGroup(t, id, Group{}),
			b.model.SetGroup(t, id, Group{Name: "x", Icon: "lamp"}),
		} {
			if err == nil {
				b.t.Error("something that cannot be is taken")
			}
		}
		if n, err := b.model.CommandEach(t, []string{"light.lamp", "switch.plug"}, "turn_on", map[string]Value{"brightness": NumberValue(400)}); n != 1 || err == nil {
			b.t.Errorf("one that refuses: %d told, %v", n, err)
		}
	})
	if b.model.House().Group(id) != h.Group(id) {
		t.Error("what was refused changed the group")
	}

	b.run("restart")
	if g := b.model.House().Group(id); g == nil || g.Name != "Cosy" || g.Area != "Attic" || len(g.Members) != 4 {
		t.Fatalf("after a restart the group is %+v", g)
	}
	b.run("forget Plug")
	b.pass(time.Minute)
	if g := b.model.House().Group(id); len(g.Members) != 3 {
		t.Errorf("with a forgotten member it has %q", g.Members)
	}
	b.person(func(t *mqtt.Turn) error { return b.model.RemoveGroup(t, id) })
	b.run("restart")
	if len(b.model.House().Groups()) != 0 {
		t.Error("a group that was removed is back")
	}
}

// TestAreas holds that rooms have floors and icons, that what is in a room
// moves along when it is renamed, and all of it is kept.
func TestAreas(t *testing.T) {
	b := groupBench(t)
	b.person(func(t *mqtt.Turn) error {
		return b.model.EditArea(t, "Attic", Area{Name: "Attic", Floor: "Second floor", Icon: "mdi:home-roof"})
	})
	b.person(func(t *mqtt.Turn) error { return b.model.SetEntity(t, "sensor.plug_power", Personal{Area: "Cellar"}) })
	b.person(func(t *mqtt.Turn) error { _, err := b.model.AddGroup(t, Group{Name: "All", Area: "Attic"}); return err })
	at := func(what string, want ...string) {
		t.Helper()
		h := b.model.House()
		var got []string
		for _, d := range h.Devices {
			got = append(got, d.Name+"="+d.Area)
		}
		got = append(got, "power="+h.Entity("sensor.plug_power").Area, "group="+h.Groups()[0].Area, "floors="+strings.Join(h.Floors(), ","))
		if strings.Join(got, " ") != strings.Join(want, " ") {
			t.Errorf("%s: %q, want %q", what, got, want)
		}
	}
	at("first", "Lamp=Attic", "Plug=Attic", "power=Cellar", "group=Attic", "floors=Second floor")
	if n := len(b.model.House().InArea("Attic")); n != 2 {
		t.Errorf("%d entities in the attic, want 2", n)
	}
	b.person(func(t *mqtt.Turn) error { return b.model.EditArea(t, "Attic", Area{Name: "Studio", Floor: "Top"}) })
	at("renamed", "Lamp=Studio", "Plug=Studio", "power=Cellar", "group=Studio", "floors=Top")
	b.run("restart")
	at("restarted", "Lamp=Studio", "Plug=Studio", "power=Cellar", "group=Studio", "floors=Top")
	b.person(func(t *mqtt.Turn) error { return b.model.RemoveArea(t, "Studio") })
	at("removed", "Lamp=Attic", "Plug=", "power=Cellar", "group=", "floors=") // the lamp says itself where it is
	b.turn(func(t *mqtt.Turn) {
		if b.model.EditArea(t, "Attic", Area{}) == nil || b.model.EditArea(t, "Attic", Area{Name: "x", Icon: "y"}) == nil {
			b.t.Error("a room that cannot be is taken")
		}
		for i := range MaxAreas {
			if err := b.model.EditArea(t, "", Area{Name: fmt.Sprint("Room ", i)}); err != nil {
				b.t.Fatal(err)
			}
		}
		if b.model.EditArea(t, "", Area{Name: "one more"}) == nil {
			b.t.Error("there are too many rooms")
		}
	})
}
