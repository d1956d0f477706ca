package mqtt_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestLostLease plays the record of the leased numbers lost to damage: what is
// published then must not take the place of what waits for several sessions,
// whose messages are named after the turns that brought them.
func TestLostLease(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		away := []string{"one", "two"}
		for _, id := range away {
			c := h.connect(packet.V5, id, expiry(3600))
			c.subscribe(1, "news")
			c.disconnect()
		}
		p := h.connect(packet.V5, "publisher")
		var want []string
		say := func(n int, when string) {
			for i := range n {
				text := fmt.Sprintf("%s %d", when, i)
				p.publish(1, "news", text)
				want = append(want, text)
			}
		}
		say(30, "before")

		damaged := h.store.Reopen(true)
		damaged.Submit(1, []mqtt.Write{{Key: []byte("b")}}, true)
		synctest.Wait()
		damaged = damaged.Reopen(true)
		lost := true
		if err := damaged.Scan([]byte("b"), nil, func(_, _ []byte) bool { lost = false; return false }); err != nil || !lost {
			t.Fatalf("the record is still there: %v", err)
		}
		h.killTo(damaged)
		p = h.connect(packet.V5, "publisher")
		say(60, "after")
		for _, id := range away {
			c := h.connect(packet.V5, id, expiry(3600))
			for _, text := range want {
				c.receive("news", text)
			}
		}
	})
}
