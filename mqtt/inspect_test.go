package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestSessions lists sessions, sends clients away and forgets them.
func TestSessions(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtLeastOnce, "will")
		gone := will(packet.Will{Topic: "will", Payload: []byte("gone")})
		began := time.Now()
		c := h.connect(v311, "c", gone)
		c.subscribe(packet.AtLeastOnce, "a", "b")
		time.Sleep(time.Second)
		for range 3 {
			w.publish(packet.AtLeastOnce, "a", "x")
		}
		info, ok := h.Session("c")
		if !ok || !info.Connected || !info.Kept || info.Version != 4 || info.Subscriptions != 2 || info.Queued != 2 ||
			info.InFlight != 2 || info.Dropped != 1 || info.QueuedBytes == 0 || !info.Since.Equal(began) || info.Expiry <= 0 {
			t.Errorf("got %+v", info)
		}
		if h.Kick("nobody") || !h.Kick("c") || h.Kick("c") {
			t.Error("Kick says the wrong thing")
		}
		w.receive("will", "gone")
		if info, ok := h.Session("c"); !ok || info.Connected || info.Remote != "" || info.InFlight != 0 || !info.Since.After(began) {
			t.Errorf("got %+v", info)
		}
		c = h.connect(v311, "c", gone)
		if !c.connack.SessionPresent || !h.Forget("c") || h.Forget("c") {
			t.Error("Forget says the wrong thing")
		}
		w.receive("will", "gone")
		h.kill(false)
		if c := h.connect(v311, "c"); c.connack.SessionPresent {
			t.Error("the session is there")
		}
		five := h.connect(v5, "five", clean)
		if !h.Forget("five") {
			t.Error("a session without a store was not found")
		}
		five.expectClosed(packet.AdministrativeAction)
		if _, ok := h.Session("five"); ok {
			t.Error("it is still there")
		}
	}, limits(mqtt.Limits{QueueMessages: 2}))
	inBubble(t, func(t *testing.T, h *house) {
		const sessions = 1010
		for i := range sessions {
			h.connect(v311, fmt.Sprintf("%04d", i), clean)
		}
		first := h.Sessions("", 0)
		rest := h.Sessions(first[len(first)-1].ClientID, 0)
		if len(first) != 1000 || len(rest) != 10 || rest[9].ClientID != "1009" || len(h.Sessions("0500", 5)) != 5 {
			t.Errorf("%d and %d", len(first), len(rest))
		}
	})
}

// TestBrowseRetained goes through retained messages and clears one.
func TestBrowseRetained(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		for i := range 25 {
			p.retain(packet.AtMostOnce, fmt.Sprintf("a/%02d", i), "x")
			p.retain(packet.AtMostOnce, fmt.Sprintf("b/%02d", i), "x")
		}
		p.publishWith(&packet.Publish{Retain: true, Topic: []byte("a/99"), Payload: []byte("x"), HasExpiry: true, Expiry: 1})
		time.Sleep(time.Second)
		var got []*mqtt.Message
		after, more := "", true
		for calls := 0; more; calls++ {
			var found []*mqtt.Message
			found, after, more = h.Retained("a/#", after, 10)
			if len(found) > 10 || calls > 3 {
				t.Fatalf("call %d: %d messages", calls, len(found))
			}
			got = append(got, found...)
		}
		if len(got) != 25 || got[0].Topic != "a/00" || got[24].Topic != "a/24" {
			t.Errorf("%d messages", len(got))
		}
		// To clear one is to publish nothing in its place.
		if err := h.Do(t.Context(), func(t *mqtt.Turn) error {
			t.Publish(&mqtt.Message{Topic: "a/07", Retain: true, QoS: packet.AtLeastOnce})
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		h.kill(true)
		if found, _, _ := h.Retained("a/07", "", 0); len(found) != 0 {
			t.Errorf("a/07 is still there")
		}
	})
}
