package mqtt_test

import (
	"fmt"
	"strings"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestLiveBehindRetained publishes while a client is shown what is retained:
// of no topic an older message comes after a newer one, none is left out and
// none is shown twice.
func TestLiveBehindRetained(t *testing.T) {
	for _, qos := range []packet.QoS{packet.AtMostOnce, packet.AtLeastOnce} {
		for _, away := range []bool{false, true} {
			t.Run(fmt.Sprintf("QoS %d away %v", qos, away), func(t *testing.T) {
				inBubble(t, func(t *testing.T, h *house) {
					const topics = 30
					name := func(i int) string { return fmt.Sprintf("t/%02d", i) }
					p := h.connect(v5, "p", clean)
					for i := range topics {
						p.retain(qos, name(i), "retained"+strings.Repeat(" ", 40_000))
					}
					c := h.connect(v5, "c", expiry(100), receiveMaximum(3))
					c.stopReading() // QoS 0: the socket is full; QoS 1: the window
					c.send(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "t/#", QoS: 1}}})
					if away {
						c.cut()
					}
					p.publish(packet.AtLeastOnce, name(20), "first")
					p.publish(packet.AtLeastOnce, name(20), "second")
					p.retain(packet.AtLeastOnce, name(25), "kept")
					p.publish(packet.AtLeastOnce, name(25), "third")
					p.retain(packet.AtLeastOnce, name(28), "")
					if away {
						c = h.connect(v5, "c", expiry(100), receiveMaximum(3))
					} else {
						c.startReading()
						if _, ok := c.next().(*packet.Suback); !ok {
							t.Fatal("no SUBACK")
						}
					}
					got := map[string][]string{}
					for p := c.next(); p != nil; p = c.next() {
						m := p.(*packet.Publish)
						got[string(m.Topic)] = append(got[string(m.Topic)], fmt.Sprintf("%s %v", strings.TrimSpace(string(m.Payload)), m.Retain))
						if m.QoS > 0 {
							c.send(ack(packet.PUBACK, m.PacketID))
						}
					}
					for i := range topics {
						want := []string{"retained true"}
						switch {
						case i == 20:
							want = append(want, "first false", "second false")
						case i == 25:
							want = append(want, "kept false", "third false")
						case i == 28:
							want = append(want, " false")
						}
						if qos == packet.AtMostOnce && away {
							if len(want) == 1 {
								continue // some were on their way when the connection ended
							}
							want = want[1:] // QoS 0 does not wait for who is away
						}
						if fmt.Sprint(got[name(i)]) != fmt.Sprint(want) {
							t.Errorf("%s: got %q, want %q", name(i), got[name(i)], want)
						}
					}
				}, limits(mqtt.Limits{Window: 3}))
			})
		}
	}
}
