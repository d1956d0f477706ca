package devices

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// forgetBench is a house with a plug that is about to be forgotten, beside a
// gateway with two devices.
func forgetBench(t *testing.T) *bench {
	b := newBench(t)
	b.tell = true
	b.start()
	b.client = "plug-1"
	b.run(`retain homeassistant/switch/p/relay/config {"dev":{"ids":["p"],"name":"Plug"},"name":null,"uniq_id":"p1","stat_t":"p/state","cmd_t":"p/set","avty_t":"p/up"}`)
	b.run(`retain homeassistant/sensor/p/power/config {"dev":{"ids":["p"],"name":"Plug"},"name":"Power","uniq_id":"p2","stat_t":"p/power","unit_of_meas":"W"}`)
	b.run(`retain p/state ON`)
	b.run(`retain p/up online`)
	b.run(`pub p/power 12`)
	b.client = "gateway"
	b.run(`retain homeassistant/sensor/g1/config {"dev":{"ids":["g1"],"name":"G1"},"uniq_id":"g1","stat_t":"g/1","avty_t":"g/up"}`)
	b.run(`retain homeassistant/sensor/g2/config {"dev":{"ids":["g2"],"name":"G2"},"uniq_id":"g2","stat_t":"g/2","avty_t":"g/up"}`)
	b.run(`retain g/up online`)
	b.run(`retain g/1 7`)
	d := b.device("Plug")
	b.turn(func(t *mqtt.Turn) {
		if err := b.model.SetDevice(t, d, Personal{Name: "Kettle", Notes: "behind the toaster", Favourite: true}); err != nil {
			b.t.Fatal(err)
		}
	})
	return b
}

// left says what is left of a device that was forgotten.
func (b *bench) left(device string) (left []string) {
	if d := b.model.House().Device(device); d != nil {
		left = append(left, "the device")
	}
	for topic := range b.retained {
		if strings.HasPrefix(topic, "p/") || strings.Contains(topic, "/p/") {
			left = append(left, topic)
		}
	}
	for key, value := range b.records {
		if strings.Contains(key, device) || strings.Contains(key, "plug") || strings.Contains(string(value), "plug") {
			left = append(left, key)
		}
	}
	slices.Sort(left)
	return left
}

// TestForgetCut cuts the power after each turn in which a device is forgotten:
// however far it came, after the next start nothing is left of it, and who
// keeps something of it has been told.
func TestForgetCut(t *testing.T) {
	b := forgetBench(t)
	id := b.device("Kettle")
	type snapshot struct {
		records  map[string][]byte
		retained map[string]string
	}
	var cuts []snapshot
	b.run("forget Kettle")
	b.atTurn = func() { cuts = append(cuts, snapshot{maps.Clone(b.records), maps.Clone(b.retained)}) }
	b.atTurn()
	b.pass(3 * time.Minute)
	if len(cuts) < 3 {
		t.Fatalf("%d turns, want some", len(cuts))
	}
	want := Forgotten{Device: id, Entities: []string{"sensor.plug_power", "switch.plug"}, Client: "plug-1", Identity: "credential:plug-1"}
	if left := b.left(id); len(left) > 0 {
		t.Errorf("without a cut there is left %q", left)
	}
	for i, cut := range cuts {
		a := newBench(t)
		a.tell, a.records, a.retained = true, maps.Clone(cut.records), maps.Clone(cut.retained)
		a.start()
		if d := a.model.House().Device(id); d != nil {
			t.Errorf("cut %d: it is back at the start", i)
		}
		a.pass(3 * time.Minute)
		if left := a.left(id); len(left) > 0 {
			t.Errorf("cut %d: there is left %q", i, left)
		}
		told := append(slices.Clone(b.told), a.told...)
		if len(told) == 0 || !slices.ContainsFunc(told, func(f Forgotten) bool {
			return f.Device == want.Device && slices.Equal(f.Entities, want.Entities) && f.Client == want.Client && f.Identity == want.Identity
		}) {
			t.Errorf("cut %d: told %+v, want %+v", i, told, want)
		}
		if len(a.model.House().Devices) != 2 || a.retained["g/up"] != "online" || a.retained["g/1"] != "7" {
			t.Errorf("cut %d: others have %d devices and retained %q", i, len(a.model.House().Devices), a.retained)
		}
		// It stays gone until it speaks.
		a.client = "plug-1"
		a.run(`retain homeassistant/switch/p/relay/config {"dev":{"ids":["p"],"name":"Plug"},"name":null,"uniq_id":"p1","stat_t":"p/state","cmd_t":"p/set","avty_t":"p/up"}`)
		if d := a.model.House().Device(id); d == nil || d.Name != "Plug" || d.Personal != (Personal{}) {
			t.Errorf("cut %d: announced again it is %+v", i, d)
		}
	}
}

// TestForgetShared holds that the client of several devices stays when one of
// them is forgotten, and what they have in common.
func TestForgetShared(t *testing.T) {
	b := forgetBench(t)
	b.run("forget G1")
	b.pass(2 * time.Minute)
	if len(b.told) != 1 || b.told[0].Client != "" || b.told[0].Identity != "" || len(b.told[0].Entities) != 1 {
		t.Errorf("told %+v, want no client", b.told)
	}
	if _, has := b.retained["g/1"]; has || b.retained["g/up"] != "online" {
		t.Errorf("retained is %q", b.retained)
	}
	// Now the other is the only one.
	b.run("forget G2")
	b.pass(2 * time.Minute)
	if len(b.told) != 2 || b.told[1].Client != "gateway" {
		t.Errorf("told %+v, want the gateway", b.told)
	}
	if _, has := b.retained["g/up"]; has {
		t.Error("what only the last one read is still retained")
	}
}

// TestForgetAgain holds that who has not finished is told again, and that a
// device that was taken back is not swept.
func TestForgetAgain(t *testing.T) {
	b := forgetBench(t)
	b.model.forgotten = func(_ *mqtt.Turn, f Forgotten, _ func(*mqtt.Turn)) { b.told = append(b.told, f) }
	b.run("forget Kettle")
	b.pass(31 * time.Second)
	b.pass(2 * tellAgain)
	if len(b.told) != 3 {
		t.Errorf("told %d times, want 3", len(b.told))
	}
	b = forgetBench(t)
	b.run("forget Kettle")
	b.pass(29 * time.Second)
	b.run("undo")
	b.pass(2 * time.Minute)
	if d := b.model.House().Device(b.forgotten); len(b.told) != 0 || d == nil || d.Name != "Kettle" || b.retained["p/state"] != "ON" {
		t.Errorf("taken back it is %+v, told %+v", d, b.told)
	}
}
