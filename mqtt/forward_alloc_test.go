//go:build !race

package mqtt_test

import (
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// The race detector makes pools forget at random: this is tested without it.

// TestForwardingDoesNotAllocate holds the path of a message that nobody in the
// house wants to no allocation at all, acknowledgements included.
func TestForwardingDoesNotAllocate(t *testing.T) {
	for _, v := range []packet.Version{packet.V311, packet.V5} {
		for _, qos := range []mqtt.QoS{mqtt.AtMostOnce, mqtt.AtLeastOnce} {
			for _, subs := range []int{1, 10} { // 5.0 ones with topic aliases
				f := newForwarder(t, v, qos, subs, func(p *packet.Connect) { p.TopicAliasMaximum = uint16(subs) })
				for range 100 {
					f.once(t)
				}
				before := f.sinks[0].bytes
				if n := testing.AllocsPerRun(1000, func() { f.once(t) }); n > 0 {
					t.Errorf("version %d, QoS %d, %d subscribers: %v allocations a message", v, qos, subs, n)
				}
				if got := f.sinks[0].bytes - before; got < 1000*64 {
					t.Errorf("version %d, QoS %d, %d subscribers: %d bytes came", v, qos, subs, got)
				}
			}
		}
	}
}
