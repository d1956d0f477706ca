package mqtt_test

import (
	"fmt"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestAliasesToClients has clients that take topic aliases: never more than
// they say, none that was not told on the same connection, also for what is
// sent again, and none that makes a packet too large.
func TestAliasesToClients(t *testing.T) {
	aliases := func(n uint16) option { return func(p *packet.Connect) { p.TopicAliasMaximum = n } }
	shows(t, "V5_3_1_2_26 V5_3_1_2_27", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		for _, most := range []uint16{0, 2, 65535} {
			options := []option{expiry(100), aliases(most), receiveMaximum(1000)}
			c := h.connect(v5, "c", options...)
			c.subscribe(packet.AtLeastOnce, "topic/+")
			for round := range 2 {
				for i := range 6 {
					p.publish(packet.QoS(i%2), fmt.Sprint("topic/", i), "x")
				}
				known := map[uint16]string{}
				check := func(in []packet.Packet, want int) {
					t.Helper()
					n := 0
					for _, p := range in {
						p, ok := p.(*packet.Publish)
						if !ok {
							continue
						}
						n++
						if p.Alias > min(most, 4) {
							t.Errorf("maximum %d: alias %d", most, p.Alias)
						}
						if len(p.Topic) == 0 && known[p.Alias] == "" {
							t.Errorf("maximum %d: alias %d is not known", most, p.Alias)
						}
						if len(p.Topic) > 0 && p.Alias > 0 {
							known[p.Alias] = string(p.Topic)
						}
					}
					if n != want || len(known) != int(min(most, 4)) {
						t.Errorf("maximum %d, round %d: %d messages, want %d; aliases %v", most, round, n, want, known)
					}
				}
				check(c.drain(), 6)
				for i := range 6 {
					p.publish(packet.AtMostOnce, fmt.Sprint("topic/", i), "x")
				}
				check(c.drain(), 6)
				c.cut()
				c = h.connect(v5, "c", options...)
				clear(known)
				known = map[uint16]string{}
				in := c.drain()
				for _, p := range in {
					p := p.(*packet.Publish)
					if len(p.Topic) == 0 {
						t.Errorf("maximum %d: %s was sent again with an alias of before", most, show(p))
					}
					c.send(ack(packet.PUBACK, p.PacketID))
				}
				c.cut()
				c = h.connect(v5, "c", options...)
			}
			h.Forget("c")
		}
		// PUBLISH of 11 bytes of topic and 3 of payload: 2+2+11+1+3.
		c := h.connect(v5, "c", clean, aliases(5), maximumPacketSize(19))
		c.subscribe(packet.AtMostOnce, "#")
		for range 2 {
			p.publish(packet.AtMostOnce, "topic/fits!", "abc")
			if got := c.expectPublish("topic/fits!", "abc"); got.Alias != 0 {
				t.Errorf("got %s", show(got))
			}
		}
	}, limits(mqtt.Limits{TopicAliasMaximum: 4}))
}
