package mqtt_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestHangingStore has the disk hang: what waits for it waits, in its order, and
// after a second what need not wait passes, but for messages of the same topic.
func TestHangingStore(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		pub := h.connect(v5, "pub", clean, expiry(1000))
		sub := h.connect(v5, "sub", clean)
		sub.subscribe(packet.ExactlyOnce, "t/#")

		h.store.Hold()
		pub.send(&packet.Publish{QoS: packet.ExactlyOnce, PacketID: 900, Topic: []byte("t/waits"), Payload: []byte("1")})
		pub.publish(packet.AtMostOnce, "t/behind", "2")
		synctest.Wait()
		sub.expectNothing()
		pub.expectNothing()

		time.Sleep(2 * time.Second)
		pub.publish(packet.AtMostOnce, "t/passes", "3")
		pub.publish(packet.AtMostOnce, "t/waits", "4")
		pub.publish(packet.AtMostOnce, "t/passes", "5")
		sub.expectPublish("t/passes", "3")
		sub.expectPublish("t/passes", "5")
		sub.expectNothing()

		h.store.Resume()
		synctest.Wait()
		sub.receive("t/waits", "1")
		sub.expectPublish("t/behind", "2")
		sub.expectPublish("t/waits", "4")
		if ack, ok := pub.next().(*packet.Ack); !ok || ack.Kind != packet.PUBREC {
			t.Errorf("no PUBREC came")
		}
	})
}

// TestFullStore refuses what needs the disk while there is no room, with the
// protocol's code, and goes on with the rest.
func TestFullStore(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		kept := h.connect(v5, "kept", clean, expiry(1000))
		kept.subscribe(packet.AtLeastOnce, "kept/#")
		kept.cut()
		pub := h.connect(v5, "pub", clean)
		old := h.connect(v311, "old", clean)
		live := h.connect(v5, "live", clean)
		live.subscribe(packet.AtLeastOnce, "live/#")

		h.store.Fail(errors.New("the disk is full"))
		for topic, want := range map[string]packet.Reason{"kept/t": packet.QuotaExceeded, "live/t": packet.Success} {
			if got := pub.publishWith(&packet.Publish{QoS: packet.AtLeastOnce, Topic: []byte(topic), Payload: []byte("x")}); got != want {
				t.Errorf("PUBLISH to %s: %v, want %v", topic, got, want)
			}
		}
		live.receive("live/t", "x")
		if got := pub.publishWith(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, Topic: []byte("live/r"), Payload: []byte("x")}); got != packet.QuotaExceeded {
			t.Errorf("retained PUBLISH: %v", got)
		}
		old.send(&packet.Publish{QoS: packet.AtLeastOnce, PacketID: 5, Topic: []byte("kept/t"), Payload: []byte("x")})
		old.expectEnd()
		if ack := h.dial(v5).connectAs("new", clean, expiry(1000)); ack.Reason != packet.QuotaExceeded {
			t.Errorf("CONNECT of a session to be kept: %v", ack.Reason)
		}

		h.store.Fail(nil)
		pub.publish(mqtt.AtLeastOnce, "kept/t", "y")
		kept = h.connect(v5, "kept", expiry(1000))
		kept.receive("kept/t", "y")
	})
}

// TestTurnReady tells those who take part in a turn that the disk is full.
func TestTurnReady(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		full := errors.New("the disk is full")
		for _, want := range []error{nil, full} {
			h.store.Fail(want)
			got := h.Do(t.Context(), func(t *mqtt.Turn) error { return t.Ready() })
			if got != want {
				t.Errorf("Ready says %v, want %v", got, want)
			}
		}
		h.store.Fail(nil)
	})
}

// TestCopiesOfQoS2Wait publishes with QoS 2 in a kept session: no copy leaves
// before the publish is on disk, whatever QoS was granted, or it would come
// again when the publisher sends it anew after a cut.
func TestCopiesOfQoS2Wait(t *testing.T) {
	for granted := range packet.QoS(3) {
		inBubble(t, func(t *testing.T, h *house) {
			pub := h.connect(v5, "pub", clean, expiry(1000))
			sub := h.connect(v5, "sub", clean, expiry(1000))
			sub.subscribe(granted, "t")
			h.store.Hold()
			pub.send(&packet.Publish{QoS: packet.ExactlyOnce, PacketID: 900, Topic: []byte("t"), Payload: []byte("x")})
			synctest.Wait()
			sub.expectNothing()
			h.store.Resume()
			synctest.Wait()
			sub.receive("t", "x")
		})
	}
}

// TestStartWithoutDisk starts on a store that shows what it holds and takes
// nothing: clients that need no disk are served at once, and what waited is
// kept when the store takes it.
func TestStartWithoutDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		pub := h.connect(v5, "pub", clean)
		pub.publishWith(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, Topic: []byte("t"), Payload: []byte("kept")})
		h.stop()
		h.store.Fail(errors.New("disk is read-only"))
		h.store.Hold()
		h.start()
		pub = h.connect(v5, "pub", clean)
		sub := h.connect(v5, "sub", clean)
		sub.subscribe(packet.AtMostOnce, "t")
		sub.receive("t", "kept")
		pub.publish(packet.AtMostOnce, "t", "live")
		sub.receive("t", "live")
		if got := pub.publishWith(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, Topic: []byte("t"), Payload: []byte("new")}); got != packet.QuotaExceeded {
			t.Errorf("PUBLISH of what would be kept: %v", got)
		}
		h.store.Fail(nil)
		h.store.Resume()
		if got := pub.publishWith(&packet.Publish{QoS: packet.AtLeastOnce, Retain: true, Topic: []byte("t"), Payload: []byte("new")}); got >= 0x80 {
			t.Errorf("PUBLISH once the disk takes it: %v", got)
		}
	})
}
