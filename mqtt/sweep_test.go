package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"lar.home/mqtt/packet"
)

// TestSweepHoldsNobody removes many sessions with full queues while a client
// comes back for its own: it does not wait for the sweep.
func TestSweepHoldsNobody(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const sessions, messages = 40, 600
		for i := range sessions {
			c := h.connect(v5, fmt.Sprint("gone", i), clean, expiry(1000))
			c.subscribe(packet.AtLeastOnce, "t")
			c.cut()
		}
		back := h.connect(v5, "back", clean, expiry(1000))
		back.subscribe(packet.AtLeastOnce, "t")
		back.cut()
		p := h.connect(v5, "p", clean)
		for i := range messages {
			p.publish(packet.AtLeastOnce, "t", fmt.Sprint(i))
		}
		time.Sleep(2 * time.Second) // all of it is on disk only
		for i := range sessions {
			h.connect(v5, fmt.Sprint("gone", i), clean).disconnect()
		}
		begun := time.Now()
		back = h.connect(v5, "back", expiry(1000))
		for i := range messages {
			back.receive("t", fmt.Sprint(i))
		}
		if took := time.Since(begun); took > time.Second {
			t.Errorf("the backlog came within %v", took)
		}
	})
}
