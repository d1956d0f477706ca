package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

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
