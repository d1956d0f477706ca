package devices

import (
	"strings"
	"testing"
)

// TestOwnerCorpus announces the same devices by both of Zigbee2MQTT's
// conventions, in both orders: each is there once, as its own gateway has it,
// and what was known by discovery keeps its ID.
func TestOwnerCorpus(t *testing.T) {
	zigbee := readZigbee(t)
	zigbee = zigbee[:min(len(zigbee), 400)]
	known := map[string]bool{}
	for _, d := range zigbee {
		known[d.IEEE] = true
	}
	var discovery []corpusMessage
	for _, m := range readCorpus(t) {
		if f := strings.Split(m.Topic, "/"); m.Source == "zigbee2mqtt" && len(f) == 5 && known[f[2]] {
			discovery = append(discovery, m)
		}
	}
	announce := func(b *bench) {
		for _, m := range discovery {
			b.feed(m.Topic, string(m.Payload))
		}
	}
	native := func(b *bench) {
		for topic, payload := range deviceLists(zigbee) {
			b.feed(topic, payload)
		}
		b.settle()
	}
	alone := newBench(t)
	alone.quiet = true
	native(alone)

	first, last := newBench(t), newBench(t)
	first.quiet, last.quiet = true, true
	native(first)
	announce(first)
	announce(last)
	before := map[string]string{} // IDs by identity
	for ident, r := range last.model.memory.ids {
		before[ident] = r.ID
	}
	native(last)
	for name, b := range map[string]*bench{"native first": first, "native last": last} {
		if got, want := len(b.model.nodes), len(alone.model.nodes); got != want {
			t.Errorf("%s: %d entities, want %d", name, got, want)
		}
		if got, want := len(b.model.devices), len(zigbee); got != want {
			t.Errorf("%s: %d devices, want %d", name, got, want)
		}
		for _, n := range b.model.nodes {
			if n.spec.source != zigbeeSource {
				t.Errorf("%s: %s is from %s", name, n.id, n.spec.source)
			}
		}
	}
	kept := 0
	for _, n := range last.model.nodes {
		if id := before[n.spec.identity]; id != "" {
			if kept++; id != n.id {
				t.Errorf("%s was %s", n.id, id)
			}
		}
	}
	if len(discovery) > 0 && kept*10 < len(discovery)*8 {
		for ident := range before {
			if n := last.model.nodes[before[ident]]; n == nil || n.spec.source != zigbeeSource {
				t.Log("not kept: ", ident)
			}
		}
		t.Errorf("%d of %d entities kept their ID", kept, len(discovery))
	}
	// The gateway goes: what discovery says is all there again.
	for topic := range deviceLists(zigbee) {
		last.feed(topic, "[]")
	}
	last.settle()
	for _, m := range discovery {
		if a := last.model.owned[m.Topic]; a == nil || len(a.nodes) == 0 {
			t.Errorf("%s did not come back", m.Topic)
		}
		last.feed(m.Topic, "")
	}
	if n := len(last.model.nodes) + len(last.model.devices) + len(last.model.shadows) + len(last.model.slots); n != 0 {
		t.Errorf("%d things are left", n)
	}
	t.Logf("%d discovery messages, %d entities, %d IDs kept", len(discovery), len(last.model.nodes), kept)
}
