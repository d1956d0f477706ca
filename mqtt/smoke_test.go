package mqtt_test

import (
	"testing"
	"time"

	"lar.home/mqtt/packet"
)

// TestClient plays what every home does, over both transports and in both
// versions.
func TestClient(t *testing.T) {
	play := func(t *testing.T, h *house) {
		for _, v := range []packet.Version{v311, v5} {
			lamp := h.connect(v, "lamp", clean)
			lamp.subscribe(packet.AtLeastOnce, "lamp/set")
			phone := h.connect(v, "phone", clean)
			phone.publish(packet.AtMostOnce, "lamp/set", "on")
			phone.publish(packet.AtLeastOnce, "lamp/set", "off")
			phone.publish(packet.ExactlyOnce, "lamp/set", "on")
			lamp.expectPublish("lamp/set", "on")
			lamp.receive("lamp/set", "off")
			lamp.receive("lamp/set", "on")
			lamp.expectNothing()
			phone.disconnect()
			lamp.disconnect()
		}
	}
	t.Run("pipe", func(t *testing.T) { inBubble(t, play) })
	t.Run("TCP", func(t *testing.T) { play(t, newTCPHouse(t)) })
}

// TestClientAfterKill shows that a kept session outlives the broker.
func TestClientAfterKill(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		lamp := h.connect(v5, "lamp", clean, expiry(3600))
		lamp.subscribe(packet.AtLeastOnce, "lamp/set")
		lamp.cut()
		phone := h.connect(v5, "phone", clean)
		phone.publish(packet.AtLeastOnce, "lamp/set", "off")
		h.kill(false)
		time.Sleep(time.Minute)
		lamp = h.connect(v5, "lamp")
		if !lamp.connack.SessionPresent {
			t.Error("the session is gone")
		}
		lamp.receive("lamp/set", "off")
		lamp.expectNothing()
	})
}
