package mqtt_test

import (
	"testing"

	"lar.home/mqtt/packet"
)

// TestNotKept shows what is not promised: a message sent with QoS 0, and one
// for a client without a session that outlives its connection, are written
// nowhere, and gone when the hub is.
func TestNotKept(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		keeps := h.connect(v5, "keeps", clean, expiry(1000))
		keeps.subscribe(packet.AtLeastOnce, "none", "some")
		passing := h.connect(v5, "passing", clean)
		passing.subscribe(packet.AtLeastOnce, "once")
		p := h.connect(v5, "p", clean)
		h.store.Flush()
		turns, records := len(h.store.Turns()), h.store.Len()
		p.publish(packet.AtMostOnce, "none", "1")
		p.publish(packet.AtLeastOnce, "once", "2")
		keeps.receive("none", "1")
		passing.receive("once", "2")
		if h.store.Flush(); len(h.store.Turns()) != turns || h.store.Len() != records {
			t.Errorf("%d turns and %d records are written", len(h.store.Turns())-turns, h.store.Len()-records)
		}
		keeps.cut()
		passing.cut()
		p.publish(packet.AtMostOnce, "none", "3")
		p.publish(packet.AtLeastOnce, "once", "4")
		p.publish(packet.AtLeastOnce, "some", "5")
		h.kill(true)
		if passing, present := h.again("passing"); present {
			t.Error("a session that does not outlive its connection is there after a start")
		} else {
			passing.expectNothing()
		}
		keeps, present := h.again("keeps")
		if !present {
			t.Fatal("the session that is kept is gone")
		}
		keeps.receive("some", "5")
		keeps.expectNothing()
	})
}

// again connects a client that goes on with its session, if it is there.
func (h *house) again(id string) (*client, bool) {
	c := h.dial(v5)
	return c, c.connectAs(id, expiry(1000)).SessionPresent
}
