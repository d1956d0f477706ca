package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// The store of the tests panics when a turn is larger than the store takes.
// These tests make turns large.

// TestManyFilters subscribes to as many filters at once as a client may.
func TestManyFilters(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean, expiry(1000))
		sub := &packet.Subscribe{}
		var filters []string
		for i := range 10_000 {
			filters = append(filters, fmt.Sprint("filter/", i))
			sub.Filters = append(sub.Filters, packet.Subscription{Filter: filters[i], QoS: 1})
		}
		for i, r := range c.subscribeWith(sub) {
			if r != packet.GrantedQoS1 {
				t.Fatalf("filter %d: %v", i, r)
			}
		}
		if r := c.subscribeWith(&packet.Subscribe{Filters: []packet.Subscription{{Filter: "one/more"}, {Filter: filters[7]}}}); r[0] != packet.QuotaExceeded || r[1] != packet.Success {
			t.Errorf("one more filter and an old one: %v", r)
		}
		h.kill(false)
		c = h.connect(v5, "c", expiry(1000))
		c.publish(packet.AtLeastOnce, filters[9999], "x")
		c.receive(filters[9999], "x")
		for i, r := range c.unsubscribe(filters...) {
			if r != packet.Success {
				t.Fatalf("filter %d: %v", i, r)
			}
		}
		c.publish(packet.AtLeastOnce, filters[9999], "x")
		c.expectNothing()
	})
}

// TestLongFilters subscribes to the longest filters there are.
func TestLongFilters(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean, expiry(1000))
		sub := &packet.Subscribe{}
		for i := range 500 {
			sub.Filters = append(sub.Filters, packet.Subscription{Filter: fmt.Sprintf("%04096d", i), QoS: 1})
		}
		for i, r := range c.subscribeWith(sub) {
			if r != packet.GrantedQoS1 {
				t.Fatalf("filter %d: %v", i, r)
			}
		}
	})
}

// TestLargeRetained shows large retained messages to a kept session.
func TestLargeRetained(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const messages = 150
		p := h.connect(v5, "p", clean)
		large := strings.Repeat("x", 60<<10)
		for i := range messages {
			p.retain(packet.AtLeastOnce, fmt.Sprintf("t/%03d", i), large)
		}
		c := h.connect(v311, "c")
		c.subscribe(packet.AtLeastOnce, "t/#")
		for i := range messages {
			c.receive(fmt.Sprintf("t/%03d", i), large)
		}
		c.expectNothing()
	})
}

// TestManyClientsAtPowerCut has more clients connected when the power fails,
// and when the hub stops, than a turn has writes.
func TestManyClientsAtPowerCut(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const clients = 4100
		for i := range clients {
			h.connect(v311, fmt.Sprint(i), will(packet.Will{Topic: "will", Payload: []byte("gone")}))
		}
		time.Sleep(10 * time.Second)
		h.kill(true)
		for i := range clients {
			if c := h.connect(v311, fmt.Sprint(i)); !c.connack.SessionPresent {
				t.Fatalf("session %d is gone", i)
			}
		}
		h.restart()
		h.connect(v311, "0")
	})
}

// TestWideFanout publishes to more kept sessions than a turn has room for, and
// cuts the store after each of the turns by which they are reached: everybody
// gets the message, once, in its order.
func TestWideFanout(t *testing.T) {
	const sessions = 5000
	for _, qos := range []packet.QoS{packet.AtLeastOnce, packet.ExactlyOnce} {
		inBubble(t, func(t *testing.T, h *house) {
			for i := range sessions {
				c := h.connect(v311, fmt.Sprint("s", i))
				c.subscribe(qos, "wide/#")
				c.cut()
			}
			p := h.connect(v5, "p", clean, expiry(1000))
			_, before := h.store.Last()
			for i := range 3 {
				p.publish(qos, "wide/t", fmt.Sprint("message ", i))
			}
			_, after := h.store.Last()
			turns := 0
			for _, n := range h.store.Turns() {
				if n <= before || n > after {
					continue
				}
				turns++
				if turns > 8 && turns%5 != 0 {
					continue // each restart takes a while
				}
				b := newBroker(t, h.store.At(n, false))
				// A turn that wrote the list promises all of it.
				for _, i := range []int{0, 1, 999, 1000, 2500, sessions - 1} {
					s := &peer{id: fmt.Sprint("s", i), open: map[uint16]bool{}, seen: map[uint16]string{}, everPresent: true}
					s.connect(t, b)
					settle(t, s)
					if len(s.delivered) == 0 || len(s.delivered) > 3 {
						t.Fatalf("QoS %d, cut after turn %d: session %d got %v", qos, n, i, s.delivered)
					}
					for k, d := range s.delivered {
						if want := fmt.Sprint("message ", k); d != want {
							t.Fatalf("QoS %d, cut after turn %d: session %d got %v", qos, n, i, s.delivered)
						}
					}
					s.cut()
				}
				stop(t, b)
			}
			if turns < 6 {
				t.Errorf("%d turns: the fan-out was not spread", turns)
			}
		})
	}
}

// TestUserProperties sends as many user properties as a packet may have, and
// one more.
func TestUserProperties(t *testing.T) {
	shows(t, "SEC_16", func(t *testing.T, h *house) {
		for _, n := range []int{64, 65} {
			c := h.connect(v5, "c", clean)
			c.publishWith(&packet.Publish{Topic: []byte("a"), Properties: []byte(strings.Repeat("\x26\x00\x01k\x00\x01v", n))})
			if n == 64 {
				c.expectNothing()
			} else {
				c.expectClosed(packet.QuotaExceeded)
			}
			s := &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "a"}}}
			for range n {
				s.UserProperties = append(s.UserProperties, packet.UserProperty{Key: "k", Value: "v"})
			}
			c = h.connect(v5, "c", clean)
			c.send(s)
			if n == 64 {
				c.expect(&packet.Suback{PacketID: 1, Reasons: []packet.Reason{0}})
			} else {
				c.expectClosed(packet.QuotaExceeded)
			}
		}
	})
}

// An echo publishes what it sees again, to the same topic and to one that is
// none.
type echo struct{ seen int }

func (*echo) Wants(topic string) bool    { return topic == "loop" }
func (*echo) Prepare(string, []byte) any { return nil }
func (*echo) Wake(*mqtt.Turn)            {}
func (e *echo) Accept(t *mqtt.Turn, m *mqtt.Message, _ any) {
	e.seen++
	t.Publish(&mqtt.Message{Topic: "loop", Payload: m.Payload, QoS: m.QoS})
	t.Publish(&mqtt.Message{Topic: "not/#/a/topic"})
	t.Publish(&mqtt.Message{})
}

// TestLoop has a consumer set itself off without end.
func TestLoop(t *testing.T) {
	e := &echo{}
	shows(t, "SEC_27", func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean, expiry(100))
		w.subscribe(packet.AtLeastOnce, "#")
		h.connect(v5, "p", clean).publish(packet.AtLeastOnce, "loop", "x")
		n := 0
		for _, p := range w.drain() {
			if p := p.(*packet.Publish); string(p.Topic) != "loop" {
				t.Errorf("got %s", show(p))
			}
			n++
		}
		if n != 9 || e.seen != 9 { // 8 hops after the one from outside
			t.Errorf("%d messages were forwarded and %d seen, want 9", n, e.seen)
		}
		h.connect(v5, "p", clean).publish(packet.AtLeastOnce, "a", "x")
		w.receive("a", "x")
	}, func(c *mqtt.Config) { c.Consumers = []mqtt.Consumer{e} })
}
