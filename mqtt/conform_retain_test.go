package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestRetain is about section 3.3.1.3.
func TestRetain(t *testing.T) {
	showsBoth(t, "V5_3_3_1_5 V5_3_3_1_6 V5_3_3_1_7 V5_3_3_1_8 V5_3_3_1_12", "V311_3_3_1_5 V311_3_3_1_6 V311_3_3_1_7 V311_3_3_1_8 V311_3_3_1_9 V311_3_3_1_10 V311_3_3_1_11 V311_3_3_1_12 V311_3_1_2_7",
		func(t *testing.T, h *house, v packet.Version) {
			live := h.connect(v, "live", clean)
			live.subscribe(packet.AtMostOnce, "#")
			later := func(want ...string) {
				t.Helper()
				w := h.connect(v, "w", clean)
				w.subscribe(packet.ExactlyOnce, "#")
				for _, payload := range want {
					if p := w.receive("a", payload); !p.Retain {
						t.Errorf("got %s, want RETAIN", show(p))
					}
				}
				w.expectNothing()
				w.disconnect()
			}
			c := h.connect(v, "c", clean)
			for qos := range packet.QoS(3) {
				c.retain(qos, "a", fmt.Sprint(qos))
				if p := live.receive("a", fmt.Sprint(qos)); p.Retain {
					t.Errorf("got %s, want no RETAIN", show(p))
				}
				later(fmt.Sprint(qos))
				c.publish(qos, "a", "live")
				live.receive("a", "live")
				later(fmt.Sprint(qos))
				c.publish(qos, "a", "")
				live.receive("a", "")
				later(fmt.Sprint(qos))
			}
			c.disconnect()
			c = h.connect(v, "c", clean)
			later("2") // the end of a session takes nothing away
			c.retain(0, "a", "")
			if p := live.receive("a", ""); p.Retain {
				t.Errorf("got %s, want no RETAIN", show(p))
			}
			later()
			c.retain(1, "a", "")
			live.receive("a", "")
			later()
		})
	shows(t, "V5_3_3_1_9 V5_3_3_1_10 V5_3_3_1_11 V5_3_8_4_4", func(t *testing.T, h *house) {
		h.connect(v5, "c", clean).retain(1, "a", "x")
		w := h.connect(v5, "w", expiry(10))
		subscribe := func(handling byte, comes bool) {
			t.Helper()
			w.subscribeWith(&packet.Subscribe{Filters: []packet.Subscription{{Filter: "a", QoS: 1, RetainHandling: handling}}})
			if comes {
				if p := w.receive("a", "x"); !p.Retain {
					t.Errorf("got %s, want RETAIN", show(p))
				}
			}
			w.expectNothing()
		}
		subscribe(2, false)
		subscribe(1, false)
		subscribe(0, true)
		subscribe(0, true)
		w.unsubscribe("a")
		subscribe(1, true)
		w.cut()
		w = h.connect(v5, "w", expiry(10))
		subscribe(1, false)
		w.cut()
		time.Sleep(12 * time.Second)
		w = h.connect(v5, "w", expiry(10))
		subscribe(1, true)
		w.cut()
		w = h.connect(v5, "w", clean)
		subscribe(1, true)
	})
	shows(t, "V5_3_3_1_13", func(t *testing.T, h *house) {
		c, w := h.connect(v5, "c", clean), h.connect(v5, "w", clean)
		w.subscribeWith(&packet.Subscribe{Filters: []packet.Subscription{{Filter: "a", QoS: 2, RetainAsPublished: true}}})
		for qos := range packet.QoS(3) {
			for _, retain := range []bool{false, true} {
				p := pub(qos, "a", "x")
				p.Retain = retain
				c.publishWith(p)
				if got := w.receive("a", "x"); got.Retain != retain {
					t.Errorf("got %s, want RETAIN %t", show(got), retain)
				}
			}
		}
	})
	shows(t, "X3_OUT_1", func(t *testing.T, h *house) {
		// A session of 5.0 that a 3.1.1 client goes on with.
		w := h.connect(v5, "w", expiry(100))
		w.subscribeWith(&packet.Subscribe{SubscriptionID: 5, Filters: []packet.Subscription{{Filter: "a", QoS: 1, RetainAsPublished: true}}})
		w.cut()
		w = h.connect(v311, "w")
		h.connect(v5, "c", clean).retain(1, "a", "x")
		if got := w.receive("a", "x"); got.Retain {
			t.Errorf("got %s, want no RETAIN", show(got))
		}
		w.send(&packet.Subscribe{PacketID: 1, Filters: make30()[:11]})
		if a, ok := w.next().(*packet.Suback); !ok || a.Reasons[10] != 0x80 {
			t.Errorf("got %+v, want 0x80 beyond the limit", a)
		}
	}, limits(mqtt.Limits{Subscriptions: 10}))
	showsBoth(t, "SEC_14", "SEC_14", func(t *testing.T, h *house, v packet.Version) {
		c := h.connect(v5, "c", clean)
		for i := range 6 {
			p := pub(1, fmt.Sprint("a/", i), "x")
			p.Retain = true
			want := packet.NoMatchingSubscribers
			if i > 4 {
				want = packet.QuotaExceeded
			}
			if r := c.publishWith(p); r != want {
				t.Errorf("retained message %d: %v, want %v", i, r, want)
			}
		}
		c.retain(1, "a/0", "")
		c.retain(1, "a/6", "x")
		p := pub(2, "a/1", strings.Repeat("x", 1000))
		p.Retain = true
		if r := c.publishWith(p); r != packet.QuotaExceeded {
			t.Errorf("1,000 bytes: %v", r)
		}
		w := h.connect(v, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		for _, topic := range []string{"a/1", "a/2", "a/3", "a/4", "a/6"} {
			w.receive(topic, "x")
		}
		w.expectNothing()
	}, limits(mqtt.Limits{RetainedTopics: 5, RetainedBytes: 900}))
}

// TestRetainedAfterKill cuts the power while a kept session is being shown
// what is retained: the rest comes when it is back.
func TestRetainedAfterKill(t *testing.T) {
	showsBoth(t, "V5_3_3_1_9", "V311_3_3_1_6", func(t *testing.T, h *house, v packet.Version) {
		p := h.connect(v, "p", clean)
		for i := range 40 {
			p.retain(1, fmt.Sprintf("t/%02d", i), "x")
		}
		connect := func() *client { return h.connect(v, "w", expiry(1000), receiveMaximum(3)) }
		w := connect()
		w.subscribe(1, "t/#")
		for i := range 10 {
			w.receive(fmt.Sprintf("t/%02d", i), "x")
		}
		time.Sleep(2 * time.Second)
		w.drain()
		h.kill(false)
		w = connect()
		for i := 10; i < 20; i++ {
			w.receive(fmt.Sprintf("t/%02d", i), "x")
		}
		w.cut()
		w = connect()
		for i := 20; i < 30; i++ {
			w.receive(fmt.Sprintf("t/%02d", i), "x")
		}
		w.send(&packet.Unsubscribe{PacketID: 9, Filters: []string{"t/#"}})
		for i := 30; i < 33; i++ { // three are in flight
			w.receive(fmt.Sprintf("t/%02d", i), "x")
		}
		if a, ok := w.next().(*packet.Unsuback); !ok || a.PacketID != 9 {
			t.Errorf("got %+v, want UNSUBACK", a)
		}
		w.expectNothing()
		h.kill(false)
		w = connect()
		for i := 30; i < 33; i++ { // deletes may be a second late
			w.receive(fmt.Sprintf("t/%02d", i), "x")
		}
		w.expectNothing()
	}, limits(mqtt.Limits{Window: 3}))
	shows(t, "V5_3_3_1_11", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		for i := range 10 {
			p.retain(1, fmt.Sprintf("t/%02d", i), "x")
		}
		connect := func() *client { return h.connect(v5, "w", expiry(1000), receiveMaximum(1)) }
		w := connect()
		w.subscribe(1, "t/#")
		w.receive("t/00", "x")
		w.send(&packet.Subscribe{PacketID: 9, Filters: []packet.Subscription{{Filter: "t/#", QoS: 1, RetainHandling: 2}}})
		w.receive("t/01", "x") // in flight already
		w.expect(&packet.Suback{PacketID: 9, Reasons: []packet.Reason{1}})
		w.expectNothing()
		time.Sleep(2 * time.Second)
		h.kill(false)
		w = connect()
		w.expectNothing()
	})
}
