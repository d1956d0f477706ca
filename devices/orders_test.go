package devices

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// TestOrders announces, renames, clears, forgets and takes back devices of
// both conventions in many random orders: no entity is there twice, each is
// where its announcement says, and clearing all leaves nothing.
func TestOrders(t *testing.T) {
	device := func(address, name, exposes string) string {
		return `{"ieee_address":"` + address + `","friendly_name":"` + name + `","definition":{"vendor":"V","model":"M","description":"D","exposes":[` + exposes + `]}}`
	}
	const (
		a, b   = "0x00158d0000000001", "0x00158d0000000002"
		relay  = `{"type":"switch","features":[{"type":"binary","name":"state","property":"state","access":7,"value_on":"ON","value_off":"OFF"}]}`
		power  = `{"type":"numeric","name":"power","property":"power","access":1,"unit":"W"}`
		list   = "retain zigbee2mqtt/bridge/devices "
		groups = "retain zigbee2mqtt/bridge/groups "
	)
	config := func(kind, address, object, unique string) string {
		return "retain homeassistant/" + kind + "/" + address + "/" + object + `/config {"name":"` + object + `","unique_id":"` + unique +
			`","state_topic":"zigbee2mqtt/` + address + `","command_topic":"x/set","device":{"identifiers":["zigbee2mqtt_` + address + `"],"name":"n"}}`
	}
	lines := []string{
		list + "[" + device(a, "plug", relay+","+power) + "," + device(b, "two", power) + "]",
		list + "[" + device(a, "other/name", relay) + "]",
		list + "[" + device(b, "plug", relay) + "]",
		list + "[]",
		list,
		groups + `[{"id":1,"friendly_name":"all","members":[{"ieee_address":"` + a + `"}]}]`,
		groups,
		config("switch", a, "switch", a+"_switch_zigbee2mqtt"),
		config("switch", a, "switch", a+"_other"),
		config("sensor", a, "power", a+"_power_zigbee2mqtt"),
		config("sensor", b, "power", b+"_power_zigbee2mqtt"),
		config("sensor", b, "power", a+"_power_zigbee2mqtt"), // not its own
		`retain homeassistant/device/` + a + `/config {"dev":{"ids":["` + a + `"]},"o":{"name":"x"},"cmps":{"one":{"p":"sensor","uniq_id":"one","stat_t":"s"},"two":{"p":"sensor","uniq_id":"` + a + `_power_zigbee2mqtt","stat_t":"s"}}}`,
		"retain homeassistant/device/" + a + "/config",
		"retain homeassistant/switch/" + a + "/switch/config",
		"retain homeassistant/sensor/" + a + "/power/config",
		"retain homeassistant/sensor/" + b + "/power/config",
		`pub zigbee2mqtt/plug {"state":"ON","power":3}`,
		`pub zigbee2mqtt/` + a + ` {"state":"ON","power":3}`,
		"forget", "forget", "undo", "pass 10s", "pass 40s", "restart",
	}
	for seed := range uint64(150) {
		h := newBench(t)
		h.quiet = true
		random := rand.New(rand.NewPCG(seed, 1))
		var done []string
		do := func(line string) {
			done = append(done, line)
			if line == "forget" {
				if all := h.model.House().Devices; len(all) > 0 {
					h.run("forget " + all[random.IntN(len(all))].Name)
				}
				return
			}
			h.run(line)
			h.run("pass 10ms")
		}
		for range 60 {
			do(lines[random.IntN(len(lines))])
			if problem := h.inconsistent(); problem != "" {
				t.Fatalf("seed %d: %s after\n%s", seed, problem, strings.Join(done, "\n"))
			}
		}
		for _, line := range []string{lines[3], lines[4], lines[6], lines[13], lines[14], lines[15], lines[16], "pass 60s",
			"pub zigbee2mqtt/plug {}", "pub zigbee2mqtt/two {}", "pub zigbee2mqtt/other/name {}", "pub zigbee2mqtt/all {}"} {
			do(line)
		}
		h.empty()
		if n := len(h.model.open) + len(h.model.jobs); n > 0 || t.Failed() {
			t.Fatalf("seed %d: %d things are left after\n%s", seed, n, strings.Join(done, "\n"))
		}
	}
}

// inconsistent says what does not fit together; "" if all does.
func (b *bench) inconsistent() string {
	m := b.model
	placed := map[*node]bool{}
	for topic, a := range m.owned {
		for _, n := range a.nodes {
			if n.topic == topic && m.nodes[n.id] == n {
				if placed[n] {
					return n.id + " is announced twice"
				}
				placed[n] = true
			}
		}
		if a.owner != "" && !slices.Contains(m.shadows[a.owner], topic) {
			return topic + " is kept aside and lost"
		}
	}
	count := 0
	for id, n := range m.nodes {
		switch {
		case n.id != id || !placed[n]:
			return id + " is announced by nobody"
		case m.devices[n.device.id] != n.device || !slices.Contains(n.device.nodes, n):
			return id + " is in no device"
		case n.device.native != (n.spec.source == zigbeeSource):
			return fmt.Sprintf("%s is from %s by %s and its device native %v", id, n.spec.source, n.topic, n.device.native)
		case m.House().Entity(id) != n.public:
			return id + " is not in the house"
		}
	}
	for id, d := range m.devices {
		count += len(d.nodes)
		if len(d.nodes) == 0 || m.tombs[id] != nil {
			return id + " should not be there"
		}
	}
	for id, topics := range m.shadows {
		for _, topic := range topics {
			if a := m.owned[topic]; a == nil || a.owner != id {
				return topic + " is not kept aside for " + id
			}
		}
	}
	if count != len(m.nodes) || m.House().entities.len() != count {
		return "the numbers of entities differ"
	}
	return ""
}
