package mqtt_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// pub is a PUBLISH in short.
func pub(qos packet.QoS, topic, payload string) *packet.Publish {
	return &packet.Publish{QoS: qos, Topic: []byte(topic), Payload: []byte(payload)}
}

func ack(kind packet.Type, id uint16, reason ...packet.Reason) *packet.Ack {
	a := &packet.Ack{Kind: kind, PacketID: id}
	if len(reason) > 0 {
		a.Reason = reason[0]
	}
	return a
}

// TestOldRepeats has a client of MQTT 3.1 repeat what it had no answer to: DUP
// then also stands in PUBREL, SUBSCRIBE and UNSUBSCRIBE (3.1, section 2.1.3),
// which 3.1.1 does not know.
func TestOldRepeats(t *testing.T) {
	for _, tt := range []struct {
		name   string
		raw    []byte
		answer packet.Packet
	}{
		{"PUBREL", []byte{0x6a, 2, 0, 7}, ack(packet.PUBCOMP, 7)},
		{"SUBSCRIBE", []byte{0x8a, 6, 0, 7, 0, 1, 'a', 1}, &packet.Suback{PacketID: 7, Reasons: []packet.Reason{1}}},
		{"UNSUBSCRIBE", []byte{0xaa, 5, 0, 7, 0, 1, 'a'}, &packet.Unsuback{PacketID: 7}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				old := h.connect(packet.V31, "old", clean)
				old.sendRaw(tt.raw)
				old.expect(tt.answer)
				old.sendRaw(append([]byte{tt.raw[0] | 0x04}, tt.raw[1:]...)) // what never had a meaning
				old.expectEnd()
				c := h.connect(v311, "c", clean)
				c.sendRaw(tt.raw)
				c.expectEnd()
			})
		})
	}
}

// TestPublish is about section 3.3, from the publisher's side.
func TestPublish(t *testing.T) {
	showsBoth(t, "V5_3_3_4_1 V5_2_2_1_2 V5_2_2_1_5 V5_4_3_1_1 V5_4_3_2_2 V5_4_3_3_2 V5_3_3_2_3 V5_4_3_3_11 V5_4_3_3_4 V5_4_2_0_1",
		"V311_3_3_4_1 V311_2_3_1_5 V311_2_3_1_6 V311_4_3_1_1 V311_4_3_2_1 V311_4_3_3_1 V311_3_3_2_3 V311_7_1_1_1",
		func(t *testing.T, h *house, v packet.Version) {
			c, w := h.connect(v, "c", clean), h.connect(v, "w", clean)
			w.subscribe(packet.ExactlyOnce, "a/+")
			c.send(pub(0, "a/0", "x"))
			c.expectNothing()
			w.expect(pub(0, "a/0", "x"))
			p := pub(1, "a/1", "y")
			p.PacketID = 300
			c.send(p)
			c.expect(ack(packet.PUBACK, 300))
			got := w.expectPublish("a/1", "y")
			if got.QoS != 1 || got.Dup || got.Retain || got.PacketID == 0 {
				t.Errorf("got %s", show(got))
			}
			w.send(ack(packet.PUBACK, got.PacketID))
			p = pub(2, "a/2", "z")
			p.PacketID = 65535
			c.send(p)
			c.expect(ack(packet.PUBREC, 65535))
			c.send(ack(packet.PUBREL, 65535))
			c.expect(ack(packet.PUBCOMP, 65535))
			got = w.expectPublish("a/2", "z")
			if got.QoS != 2 || got.Dup || got.PacketID == 0 {
				t.Errorf("got %s", show(got))
			}
			w.send(ack(packet.PUBREC, got.PacketID))
			w.expect(ack(packet.PUBREL, got.PacketID))
			w.send(ack(packet.PUBCOMP, got.PacketID))
			w.expectNothing()
		})
	showsBoth(t, "V5_3_3_1_3", "V311_3_3_1_3", func(t *testing.T, h *house, v packet.Version) {
		c, w := h.connect(v, "c", clean), h.connect(v, "w", clean)
		w.subscribe(packet.ExactlyOnce, "#")
		for _, qos := range []packet.QoS{1, 2} {
			p := pub(qos, "a", "x")
			p.Dup = true
			c.publishWith(p)
			if got := w.receive("a", "x"); got.Dup {
				t.Errorf("got %s", show(got))
			}
		}
	})
	shows(t, "V311_3_3_1_2", func(t *testing.T, h *house) {
		w := h.connect(v311, "w", clean)
		w.subscribe(packet.ExactlyOnce, "#")
		c := h.connect(v311, "c", clean)
		c.sendRaw([]byte{0x38, 4, 0, 1, 'a', 'x'})
		c.expectEnd()
		w.expectNothing()
		h.connect(packet.V31, "old", clean).sendRaw([]byte{0x38, 4, 0, 1, 'a', 'x'}) // which knows no such rule
		if got := w.receive("a", "x"); got.Dup {
			t.Errorf("got %s", show(got))
		}
	})
	showsBoth(t, "V5_4_3_2_5 V5_4_3_2_4", "V311_4_3_2_2", func(t *testing.T, h *house, v packet.Version) {
		c, w := h.connect(v, "c", clean), h.connect(v, "w", expiry(100))
		w.subscribe(packet.ExactlyOnce, "#")
		h.store.Hold()
		p := pub(1, "a", "x")
		p.PacketID = 7
		c.send(p)
		c.expectNothing() // not before it is on disk
		h.store.Resume()
		c.expect(ack(packet.PUBACK, 7))
		w.receive("a", "x")
		for range 2 { // the same identifier is a new message, whatever DUP says
			p.Dup = true
			c.send(p)
			c.expect(ack(packet.PUBACK, 7))
			w.receive("a", "x")
		}
	})
	showsBoth(t, "V5_4_3_3_10 V5_4_3_3_8 V5_4_3_3_12", "V311_4_3_3_2", func(t *testing.T, h *house, v packet.Version) {
		w := h.connect(v, "w", expiry(1000))
		w.subscribe(packet.ExactlyOnce, "#")
		c := h.connect(v, "c", expiry(1000))
		p := pub(2, "a", "x")
		p.PacketID = 9
		h.store.Hold()
		c.send(p)
		c.expectNothing()
		w.expectNothing()
		h.store.Resume()
		c.expect(ack(packet.PUBREC, 9))
		w.receive("a", "x")
		p.Dup = true
		c.send(p)
		c.expect(ack(packet.PUBREC, 9))
		c.cut()
		c = h.connect(v, "c", expiry(1000))
		c.send(p)
		c.expect(ack(packet.PUBREC, 9))
		h.kill(false)
		w = h.connect(v, "w", expiry(1000))
		c = h.connect(v, "c", expiry(1000))
		c.send(p)
		c.expect(ack(packet.PUBREC, 9))
		w.expectNothing()
		c.send(ack(packet.PUBREL, 9))
		c.expect(ack(packet.PUBCOMP, 9))
		p.Dup = false
		c.send(p) // a new message by now
		c.expect(ack(packet.PUBREC, 9))
		w.receive("a", "x")
		w.expectNothing()
	})
	shows(t, "V5_4_3_3_10", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		p := pub(2, "a", "x")
		p.PacketID, p.Dup = 9, true
		c.send(p, p)
		c.expect(ack(packet.PUBREC, 9), ack(packet.PUBREC, 9))
		c.send(p)
		c.expectClosed(packet.ProtocolError)
	})
	shows(t, "V311_4_3_3_2", func(t *testing.T, h *house) {
		// A 3.1.1 client may retry on a live connection.
		c := h.connect(v311, "c", clean)
		p := pub(2, "a", "x")
		for i := range 5 {
			p.PacketID, p.Dup = 9, i > 0
			c.send(p)
			c.expect(ack(packet.PUBREC, 9))
		}
		c.expectNothing()
	})
	shows(t, "V5_2_2_1_3", func(t *testing.T, h *house) {
		c, w := h.connect(v5, "c", clean), h.connect(v5, "w", clean)
		w.subscribe(2, "a")
		for _, qos := range []packet.QoS{2, 1} {
			p := pub(qos, "a", fmt.Sprint(qos))
			p.PacketID = 9
			c.send(p)
		}
		c.expect(ack(packet.PUBREC, 9), ack(packet.PUBACK, 9, packet.PacketIDInUse))
		w.receive("a", "2")
		w.expectNothing()
	})
	shows(t, "V5_4_3_3_9 V5_4_4_0_2", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.ExactlyOnce, "#")
		for range 3 {
			p := pub(2, "$SYS/a", "x")
			p.PacketID = 9
			c.send(p)
			c.expect(ack(packet.PUBREC, 9, packet.NotAuthorized))
		}
		p := pub(2, "a", "x")
		p.PacketID = 9
		c.send(p)
		c.expect(ack(packet.PUBREC, 9))
		w.receive("a", "x")
	})
	showsBoth(t, "X5_PUB_4", "V311_3_3_5_2", func(t *testing.T, h *house, v packet.Version) {
		c := h.connect(v, "c", clean)
		w := h.connect(v, "w", clean)
		w.subscribe(packet.AtMostOnce, "#", "$SYS/a")
		want := packet.NotAuthorized
		if v == v311 {
			want = packet.Success
		}
		for qos := range packet.QoS(3) {
			p := pub(qos, "$SYS/a", "x")
			p.Retain = true
			if r := c.publishWith(p); qos > 0 && r != want {
				t.Errorf("QoS %d: %v", qos, r)
			}
		}
		w.expectNothing()
		w.subscribe(packet.AtMostOnce, "$SYS/a")
		w.expectNothing()
	})
	shows(t, "X5_PUB_3", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		for qos := range packet.QoS(3) {
			want := packet.Success // the same in a PUBREC that is sent again, later
			if qos == packet.AtLeastOnce {
				want = packet.NoMatchingSubscribers
			}
			if r := c.publishWith(pub(qos, "a", "x")); r != want {
				t.Errorf("QoS %d: %v", qos, r)
			}
		}
		h.connect(v5, "w", clean).subscribe(packet.AtMostOnce, "a")
		if r := c.publishWith(pub(1, "a", "x")); r != packet.Success {
			t.Errorf("with a subscriber: %v", r)
		}
	})
	shows(t, "X5_PUB_2 V5_3_3_4_7 SEC_17", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		send := func(n int) {
			for i := range n {
				p := pub(2, "a", "x")
				p.PacketID = uint16(i + 1)
				c.send(p)
				c.expect(ack(packet.PUBREC, p.PacketID))
			}
		}
		send(20)
		c.send(ack(packet.PUBREL, 20))
		c.expect(ack(packet.PUBCOMP, 20))
		p := pub(2, "a", "x")
		p.PacketID = 21
		c.send(p)
		c.expect(ack(packet.PUBREC, 21))
		p.PacketID = 22
		c.send(p)
		c.expectClosed(packet.ReceiveMaximumExceeded)
	})
	// The quota begins anew with each connection, section 4.9: who comes back
	// with PUBREL outstanding may send as many as ever; what is sent again
	// counts, what was only acknowledged before does not.
	shows(t, "V5_4_9_0_1", func(t *testing.T, h *house) {
		send := func(c *client, ids ...uint16) {
			for _, id := range ids {
				p := pub(2, "a", "x")
				p.PacketID = id
				c.send(p)
			}
		}
		c := h.connect(v5, "c", expiry(100))
		send(c, 1, 2, 3)
		c.expect(ack(packet.PUBREC, 1), ack(packet.PUBREC, 2), ack(packet.PUBREC, 3))
		c.cut()
		c = h.connect(v5, "c", expiry(100))
		send(c, 4, 5)
		c.expect(ack(packet.PUBREC, 4), ack(packet.PUBREC, 5))
		send(c, 1)
		c.expect(ack(packet.PUBREC, 1))
		c.send(ack(packet.PUBREL, 2))
		c.expect(ack(packet.PUBCOMP, 2))
		c.send(ack(packet.PUBREL, 4))
		c.expect(ack(packet.PUBCOMP, 4))
		send(c, 6)
		c.expect(ack(packet.PUBREC, 6))
		send(c, 7)
		c.expectClosed(packet.ReceiveMaximumExceeded)
	}, limits(mqtt.Limits{ReceiveMaximum: 3}))
	shows(t, "SEC_17", func(t *testing.T, h *house) {
		c := h.connect(v311, "c", clean)
		for i := range 11 {
			p := pub(2, "a", "x")
			p.PacketID = uint16(i + 1)
			c.send(p)
			if i < 10 {
				c.expect(ack(packet.PUBREC, p.PacketID))
			}
		}
		c.expectEnd()
	}, limits(mqtt.Limits{InboundQoS2: 10}))
	showsBoth(t, "V5_4_6_0_5 V5_4_6_0_6", "V311_4_6_0_5 V311_4_6_0_6", func(t *testing.T, h *house, v packet.Version) {
		// Live, through a full window, from the queue of an offline session,
		// and from what is on disk only: always in order.
		const messages = 700
		c := h.connect(v, "c", clean)
		w := h.connect(v, "w", expiry(1000), receiveMaximum(5))
		w.subscribe(packet.ExactlyOnce, "a")
		for i := range messages {
			switch i {
			case 100:
				w.cut()
			case 500:
				w = h.connect(v, "w", expiry(1000), receiveMaximum(5))
			}
			c.publish(packet.QoS(1+i/7%2), "a", fmt.Sprint(i))
		}
		next := 0
		for {
			p, ok := w.next().(*packet.Publish)
			if !ok {
				break
			}
			var n int
			fmt.Sscan(string(p.Payload), &n)
			if n == 0 {
				next = 0 // sent again
			}
			if n != next {
				t.Fatalf("message %d came where %d is due", n, next)
			}
			next++
			if p.QoS == 2 {
				w.send(ack(packet.PUBREC, p.PacketID))
				w.takeAck(packet.PUBREL, p.PacketID)
				w.send(ack(packet.PUBCOMP, p.PacketID))
			} else {
				w.send(ack(packet.PUBACK, p.PacketID))
			}
		}
		if next != messages {
			t.Errorf("%d messages came, want %d", next, messages)
		}
	})
	showsBoth(t, "V5_3_12_4_1 V5_4_9_0_3 V5_3_3_4_10", "V311_3_12_4_1", func(t *testing.T, h *house, v packet.Version) {
		w := h.connect(v, "w", clean, receiveMaximum(1))
		w.subscribe(packet.AtLeastOnce, "a")
		c := h.connect(v, "c", clean)
		for range 200 {
			c.publish(packet.AtLeastOnce, "a", "x")
		}
		first := w.drain()
		w.send(&packet.Pingreq{})
		w.expect(&packet.Pingresp{})
		c.publish(packet.AtMostOnce, "a", "y")
		w.expectPublish("a", "y")
		w.publish(packet.ExactlyOnce, "b", "x")
		w.subscribe(packet.AtLeastOnce, "c")
		w.unsubscribe("c")
		w.expectNothing()
		w.send(ack(packet.PUBACK, first[0].(*packet.Publish).PacketID))
		w.expectPublish("a", "x")
	})
}

// TestAlias is about topic aliases from clients, section 3.3.2.3.4.
func TestAlias(t *testing.T) {
	aliased := func(topic, payload string, alias uint16) *packet.Publish {
		p := pub(0, topic, payload)
		p.Alias = alias
		return p
	}
	shows(t, "V5_3_3_2_12 V5_3_3_2_7 X5_PUB_1 V5_3_2_2_17 V5_3_1_2_27 V5_3_1_2_26 V5_3_3_2_11", func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean, func(p *packet.Connect) { p.TopicAliasMaximum = 1 })
		w.subscribe(packet.AtMostOnce, "#")
		none := h.connect(v5, "none", clean)
		none.subscribe(packet.AtMostOnce, "#")
		c := h.connect(v5, "c", expiry(100))
		for alias := range c.connack.TopicAliasMaximum {
			c.publishWith(aliased(fmt.Sprint("a/", alias+1), "x", alias+1))
			c.publishWith(aliased("", "y", alias+1))
			c.publishWith(aliased(fmt.Sprint("b/", alias+1), "z", alias+1))
			c.publishWith(aliased("", "r", alias+1))
			for _, w := range []*client{w, none} {
				for _, want := range []string{"a x", "a y", "b z", "b r"} {
					p := w.next().(*packet.Publish)
					topic, payload, _ := strings.Cut(want, " ")
					if p.Alias > 1 || w == none && p.Alias != 0 ||
						string(p.Topic) != fmt.Sprint(topic, "/", alias+1) || string(p.Payload) != payload {
						t.Errorf("got %s, want %s", show(p), want)
					}
				}
			}
		}
		c.cut()
		c = h.connect(v5, "c", expiry(100))
		c.send(aliased("", "x", 1))
		c.expectClosed(packet.ProtocolError)
		w.expectNothing()
	})
	shows(t, "V5_3_2_2_18", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.send(aliased("a", "x", c.connack.TopicAliasMaximum+1))
		c.expectClosed(packet.TopicAliasInvalid)
	})
	shows(t, "SEC_15", func(t *testing.T, h *house) {
		// An alias that names what may not be published does not get around it.
		c := h.connect(v5, "c", clean)
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "$SYS/a")
		for _, topic := range []string{"$SYS/a", ""} {
			p := aliased(topic, "x", 1)
			p.QoS = 1
			if r := c.publishWith(p); r != packet.NotAuthorized {
				t.Errorf("%q: %v", topic, r)
			}
		}
		w.expectNothing()
	})
	shows(t, "V311_7_0_0_2 X3_OUT_1", func(t *testing.T, h *house) {
		// A retained message that came by an alias, with properties, to 3.1.1.
		c := h.connect(v5, "c", clean)
		p := aliased("a", "x", 1)
		p.Retain, p.Properties = true, []byte("\x26\x00\x01k\x00\x01v")
		c.publishWith(p)
		p = aliased("", "y", 1)
		p.Retain, p.HasExpiry, p.Expiry = true, true, 100
		c.publishWith(p)
		w := h.connect(v311, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		want := pub(0, "a", "y")
		want.Retain = true
		w.expect(want)
	})
}

// TestProperties forwards what belongs to the message, section 3.3.2.3.
func TestProperties(t *testing.T) {
	shows(t, "V5_3_3_2_4 V5_3_3_2_15 V5_3_3_2_16 V5_3_3_2_17 V5_3_3_2_18 V5_3_3_2_20 V5_3_3_2_13 V5_3_3_2_19 V5_1_5_4_3", func(t *testing.T, h *house) {
		props := "\x01\x01\x03\x00\x04\xef\xbb\xbfc\x08\x00\x03r/x\x09\x00\x02\x00\xff" +
			"\x26\x00\x01b\x00\x011\x26\x00\x01a\x00\x012\x26\x00\x01b\x00\x011"
		c := h.connect(v5, "c", clean)
		live := h.connect(v5, "live", clean)
		live.subscribe(packet.AtMostOnce, "#")
		away := h.connect(v5, "away", expiry(100))
		away.subscribe(packet.AtLeastOnce, "#")
		away.cut()
		p := pub(1, "\xef\xbb\xbft", "x")
		p.Retain, p.Properties = true, []byte(props)
		c.publishWith(p)
		h.connect(v311, "old", clean).subscribe(packet.AtMostOnce, "+")
		later := h.connect(v5, "later", clean)
		later.subscribe(packet.AtMostOnce, "#")
		away = h.connect(v5, "away", expiry(100))
		for _, w := range []*client{live, later, away} {
			if got := w.receive("\xef\xbb\xbft", "x"); string(got.Properties) != props {
				t.Errorf("%s got %q, want %q", w.name, got.Properties, props)
			}
		}
		h.kill(true)
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		if got := w.receive("\xef\xbb\xbft", "x"); string(got.Properties) != props {
			t.Errorf("after a kill got %q, want %q", got.Properties, props)
		}
	})
	shows(t, "V5_3_3_2_5 V5_3_3_2_6 X5_PUB_10", func(t *testing.T, h *house) {
		p := func(topic string, seconds uint32) *packet.Publish {
			p := pub(1, topic, "x")
			p.Retain, p.HasExpiry, p.Expiry = topic[0] == 'r', true, seconds
			return p
		}
		live := h.connect(v5, "live", clean)
		live.subscribe(packet.AtMostOnce, "#")
		for _, restart := range []bool{false, true} {
			away := h.connect(v5, "away", expiry(1000))
			away.subscribe(packet.AtLeastOnce, "q/#")
			away.cut()
			c := h.connect(v5, "c", clean)
			c.publishWith(p("q/short", 10))
			c.publishWith(p("q/long", 100))
			c.publishWith(p("r/short", 10))
			c.publishWith(p("r/long", 100))
			c.publishWith(p("r/now", 0))
			if !restart {
				for _, want := range []uint32{10, 100, 10, 100, 0} {
					if got := live.next().(*packet.Publish); got.Expiry != want || !got.HasExpiry {
						t.Errorf("live got %s, want expiry %d", show(got), want)
					}
				}
			}
			time.Sleep(30 * time.Second)
			if restart {
				h.restart()
				time.Sleep(time.Millisecond)
			}
			away = h.connect(v5, "away", expiry(1000))
			if got := away.receive("q/long", "x"); got.Expiry != 70 {
				t.Errorf("got %s, want expiry 70", show(got))
			}
			away.expectNothing()
			w := h.connect(v5, "w", clean)
			w.subscribe(packet.AtMostOnce, "r/#")
			if got := w.receive("r/long", "x"); got.Expiry != 70 {
				t.Errorf("got %s, want expiry 70", show(got))
			}
			w.expectNothing()
			time.Sleep(71 * time.Second)
			w.subscribe(packet.AtMostOnce, "r/#")
			w.expectNothing()
		}
	})
	shows(t, "V5_4_3_3_7 V5_4_3_3_13", func(t *testing.T, h *house) {
		// What was sent once is finished, though it expires meanwhile; what
		// waited for the window is not.
		c := h.connect(v5, "c", clean)
		w := h.connect(v5, "w", expiry(1000), receiveMaximum(1))
		w.subscribe(packet.ExactlyOnce, "a")
		for _, payload := range []string{"sent", "waits"} {
			p := pub(2, "a", payload)
			p.HasExpiry, p.Expiry = true, 10
			c.publishWith(p)
		}
		first := w.expectPublish("a", "sent")
		w.expectNothing()
		time.Sleep(20 * time.Second)
		w.cut()
		w = h.connect(v5, "w", expiry(1000), receiveMaximum(1))
		if again := w.expectPublish("a", "sent"); !again.Dup || again.PacketID != first.PacketID {
			t.Errorf("got %s", show(again))
		}
		w.send(ack(packet.PUBREC, first.PacketID))
		w.expect(ack(packet.PUBREL, first.PacketID))
		w.send(ack(packet.PUBCOMP, first.PacketID))
		w.expectNothing()
	})
	shows(t, "V5_3_1_2_29 V5_2_2_2_1 V5_3_4_2_1 V5_3_4_2_2 V5_3_4_2_3 V5_3_5_2_1 V5_3_5_2_2 V5_3_5_2_3 V5_3_6_2_2 V5_3_6_2_3 V5_3_7_2_1 V5_3_7_2_2 V5_3_7_2_3 V5_3_9_2_1 V5_3_9_2_2 V5_3_11_2_1 V5_3_11_2_2 V5_3_14_2_2 V5_3_14_2_3 V5_3_14_2_4", func(t *testing.T, h *house) {
		// Acknowledgements say a code and no more, which fits any limit and
		// Request Problem Information 0.
		for _, asks := range []bool{false, true} {
			c := h.connect(v5, "c", clean, maximumPacketSize(40), func(p *packet.Connect) { p.RequestProblemInfo = asks })
			c.sendRaw([]byte("\x82\x08\x00\x01\x00\x00\x02a\x00\x00"[:9]))
			c.send(&packet.Subscribe{PacketID: 1})
			c.expectClosed(packet.MalformedPacket)
			c = h.connect(v5, "c", clean, maximumPacketSize(40), func(p *packet.Connect) { p.RequestProblemInfo = asks })
			c.send(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "a", QoS: 2}}},
				&packet.Unsubscribe{PacketID: 2, Filters: []string{"b"}})
			p := pub(1, "$SYS/a", "")
			p.PacketID = 3
			q := pub(2, "$SYS/a", "")
			q.PacketID = 4
			c.send(p, q, ack(packet.PUBREL, 5), ack(packet.PUBREC, 6))
			c.expect(&packet.Suback{PacketID: 1, Reasons: []packet.Reason{2}},
				&packet.Unsuback{PacketID: 2, Reasons: []packet.Reason{packet.NoSubscriptionExisted}},
				ack(packet.PUBACK, 3, packet.NotAuthorized), ack(packet.PUBREC, 4, packet.NotAuthorized),
				ack(packet.PUBCOMP, 5, packet.PacketIDNotFound), ack(packet.PUBREL, 6, packet.PacketIDNotFound))
			h.connect(v5, "c", clean)
			c.expectClosed(packet.SessionTakenOver)
		}
	})
	shows(t, "X5_FRAME_5 V5_3_6_2_1", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.subscribe(packet.ExactlyOnce, "a")
		forms := [][]byte{{}, {0}, {0, 0}}
		for _, form := range forms {
			send := func(first byte, id uint16) {
				b := append([]byte{first, byte(2 + len(form)), byte(id >> 8), byte(id)}, form...)
				c.sendRaw(b)
			}
			p := pub(2, "a", "x")
			p.PacketID = 77
			c.send(p)
			c.takeAck(packet.PUBREC, 77)
			send(0x62, 77)
			c.takeAck(packet.PUBCOMP, 77)
			got := c.expectPublish("a", "x")
			send(0x50, got.PacketID)
			c.expect(ack(packet.PUBREL, got.PacketID))
			send(0x70, got.PacketID)
			c.expectNothing()
			p = pub(1, "a", "y")
			c.publishWith(p)
			got = c.expectPublish("a", "y")
			send(0x40, got.PacketID)
			c.expectNothing()
		}
		c.sendRaw([]byte{0x62, 3, 0, 1, 0x80})
		if r := c.reaction(); r != "DISCONNECT 0x81, close" && r != "DISCONNECT 0x82, close" {
			t.Errorf("PUBREL 0x80 was answered by %s", r)
		}
	})
}

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

// TestResend is about section 4.4: what is sent again, and when.
func TestResend(t *testing.T) {
	showsBoth(t, "V5_4_4_0_1 V5_4_6_0_1 V5_3_3_1_1 V5_4_3_2_3 V5_4_3_3_3 V5_4_3_3_5 V5_4_3_3_6", "V311_4_4_0_1 V311_4_6_0_1 V311_3_3_1_1", func(t *testing.T, h *house, v packet.Version) {
		for _, end := range []func(){func() {}, h.restart, func() { h.kill(false) }, func() { h.kill(true) }} {
			c := h.connect(v, "c", clean)
			w := h.connect(v, "w", clean)
			w.disconnect()
			w = h.connect(v, "w", expiry(1000))
			w.subscribe(packet.ExactlyOnce, "#")
			for i := range 6 {
				c.publish(packet.QoS(1+i%2), "a", fmt.Sprint(i))
			}
			var ids []uint16
			for i := range 6 {
				ids = append(ids, w.expectPublish("a", fmt.Sprint(i)).PacketID)
			}
			w.send(ack(packet.PUBREC, ids[3])) // out of order, as some clients do
			w.expect(ack(packet.PUBREL, ids[3]))
			w.send(ack(packet.PUBREC, ids[1]))
			w.expect(ack(packet.PUBREL, ids[1]))
			w.send(ack(packet.PUBACK, ids[2]))
			w.send(ack(packet.PUBCOMP, ids[1]))
			time.Sleep(30 * time.Minute) // on a live connection nothing is sent again
			w.expectNothing()
			w.cut()
			end()
			w = h.connect(v, "w", expiry(1000))
			var got []string
			for _, p := range w.drain() {
				switch p := p.(type) {
				case *packet.Publish:
					if !p.Dup || p.QoS == 0 {
						t.Errorf("got %s, want DUP", show(p))
					}
					got = append(got, fmt.Sprintf("%s:%d", p.Payload, p.PacketID))
				case *packet.Ack:
					got = append(got, fmt.Sprintf("%v:%d", p.Kind, p.PacketID))
				}
			}
			rel := fmt.Sprintf("PUBREL:%d", ids[3])
			if !slices.Contains(got, rel) {
				t.Errorf("got %v, want %s", got, rel)
			}
			got = slices.DeleteFunc(got, func(s string) bool { return s == rel })
			want := fmt.Sprintf("[0:%d 4:%d 5:%d]", ids[0], ids[4], ids[5])
			if fmt.Sprint(got) != want {
				t.Errorf("sent again: %v, want %v", got, want)
			}
			c = h.connect(v, "c", clean)
			c.publish(packet.AtLeastOnce, "a", "new")
			if p := w.expectPublish("a", "new"); p.Dup || slices.Contains(ids, p.PacketID) {
				t.Errorf("got %s", show(p))
			}
			w.disconnect()
		}
	})
	showsBoth(t, "V5_2_2_1_4 V5_4_3_2_1 V5_4_3_3_1", "V311_2_3_1_4", func(t *testing.T, h *house, v packet.Version) {
		// Past 65,535 while some are still in flight.
		for _, kept := range []uint32{0, 1000} {
			options := []option{expiry(kept)}
			if kept == 0 {
				options = append(options, clean)
			}
			c := h.connect(v, "c", clean)
			w := h.connect(v, "w", options...)
			w.subscribe(packet.ExactlyOnce, "a")
			open := make(map[uint16]bool)
			const batch = 50
			for i := 0; i < 66_000; i += batch {
				var publishes, acks []byte
				for j := range batch {
					publishes = packet.Append(publishes, v, &packet.Publish{QoS: 1, PacketID: 1, Topic: []byte("a"), Payload: []byte(fmt.Sprint(i + j))})
				}
				c.sendRaw(publishes)
				c.drain()
				got := w.drain()
				for j := range batch {
					p, ok := (got[j]).(*packet.Publish)
					if !ok || p.PacketID == 0 || open[p.PacketID] || string(p.Payload) != fmt.Sprint(i+j) {
						t.Fatalf("message %d: got %s", i+j, show(p))
					}
					if j == 0 && i%10_000 == 0 {
						open[p.PacketID] = true // stays in flight
						continue
					}
					acks = packet.Append(acks, v, ack(packet.PUBACK, p.PacketID))
				}
				if i == 65_000 { // the window spans almost all identifiers
					acks = packet.Append(acks, v, ack(packet.PUBACK, 1))
					delete(open, 1)
				}
				w.sendRaw(acks)
			}
			w.disconnect()
		}
	})
	shows(t, "V5_4_4_0_2 V5_4_8_2_6", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		w := h.connect(v5, "w", expiry(100), receiveMaximum(1))
		other := h.connect(v5, "other", clean)
		w.subscribe(packet.ExactlyOnce, "$share/g/a")
		for i, kind := range []packet.Type{packet.PUBACK, packet.PUBREC} {
			c.publish(packet.QoS(i+1), "a", "x")
			c.publish(packet.QoS(i+1), "a", "y")
			p := w.expectPublish("a", "x")
			other.subscribe(packet.ExactlyOnce, "$share/g/a")
			w.send(ack(kind, p.PacketID, packet.UnspecifiedError))
			w.receive("a", "y") // its place is free again
			w.cut()
			other.expectNothing()
			other.unsubscribe("$share/g/a")
			w = h.connect(v5, "w", expiry(100), receiveMaximum(1))
			w.expectNothing()
		}
	})
	shows(t, "X5_PUB_9", func(t *testing.T, h *house) {
		for qos := range packet.QoS(3) {
			if qos == 0 {
				continue
			}
			for _, kind := range []packet.Type{packet.PUBACK, packet.PUBREC, packet.PUBCOMP} {
				if qos == 1 && kind == packet.PUBACK || qos == 2 && kind == packet.PUBREC {
					continue
				}
				w := h.connect(v5, "w", expiry(100))
				w.subscribe(packet.ExactlyOnce, "a")
				h.connect(v5, "c", clean).publish(qos, "a", "x")
				p := w.expectPublish("a", "x")
				w.send(ack(kind, p.PacketID))
				w.expectClosed(packet.ProtocolError)
				w = h.connect(v5, "w", expiry(100))
				if again := w.receive("a", "x"); !again.Dup {
					t.Errorf("got %s", show(again))
				}
				w.expectNothing()
			}
		}
	})
	showsBoth(t, "V5_4_9_0_1 V5_4_9_0_2 V5_3_3_4_9", "V311_4_3_3_1", func(t *testing.T, h *house, v packet.Version) {
		c := h.connect(v5, "c", clean)
		for _, maximum := range []uint16{1, 3, 65535} {
			w := h.connect(v, "w", clean, receiveMaximum(maximum))
			w.subscribe(packet.ExactlyOnce, "a")
			for i := range 40 {
				c.publish(packet.QoS(1+i%2), "a", "x")
			}
			want := min(int(maximum), 10)
			if v == v311 {
				want = 10
			}
			var flying []packet.Packet
			got := w.drain()
			for total := 0; total < 40; {
				if len(flying)+len(got) != min(want, 40-total+len(flying)) {
					t.Fatalf("%d in flight, want %d", len(flying)+len(got), want)
				}
				total += len(got)
				flying = append(flying, got...)
				p := flying[0].(*packet.Publish)
				flying = flying[1:]
				if p.QoS == 2 {
					w.send(ack(packet.PUBREC, p.PacketID))
					w.expect(ack(packet.PUBREL, p.PacketID))
					w.expectNothing() // PUBREC frees no place
					w.send(ack(packet.PUBCOMP, p.PacketID))
				} else {
					w.send(ack(packet.PUBACK, p.PacketID))
				}
				got = w.drain()
			}
			w.disconnect()
		}
	}, limits(mqtt.Limits{Window: 10}))
}

// TestQueueLimit fills the queue of a session: the oldest is given up first.
func TestQueueLimit(t *testing.T) {
	for _, online := range []bool{true, false} {
		for _, kept := range []uint32{0, 1000} {
			if kept == 0 && !online {
				continue
			}
			t.Run(fmt.Sprintf("online %t expiry %d", online, kept), func(t *testing.T) {
				showsBoth(t, "SEC_09", "SEC_09", func(t *testing.T, h *house, v packet.Version) {
					options := []option{expiry(kept), receiveMaximum(10)}
					if kept == 0 {
						options = append(options, clean)
					}
					w := h.connect(v, "w", options...)
					w.subscribe(packet.AtLeastOnce, "a")
					if !online {
						w.cut()
					}
					c := h.connect(v5, "c", clean)
					p := pub(1, "a", "expires")
					p.HasExpiry, p.Expiry = true, 10
					c.publishWith(p)
					time.Sleep(20 * time.Second)
					for i := range 1500 {
						c.publish(packet.AtLeastOnce, "a", fmt.Sprint(i))
					}
					if !online {
						w = h.connect(v, "w", options...)
					}
					var got []string
					for {
						p, ok := w.next().(*packet.Publish)
						if !ok {
							break
						}
						got = append(got, string(p.Payload))
						w.send(ack(packet.PUBACK, p.PacketID))
					}
					first := 500
					if online {
						// The window is in flight already, and not given up.
						got = got[10:]
						first = 510
					}
					for i, payload := range got {
						if payload != fmt.Sprint(first+i) {
							t.Fatalf("message %d of %d is %s, want %d", i, len(got), payload, first+i)
						}
					}
					if got[len(got)-1] != "1499" {
						t.Errorf("the newest is %s", got[len(got)-1])
					}
				}, limits(mqtt.Limits{Window: 10}))
			})
		}
	}
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

// TestHeldAcknowledgements floods the broker while the disk is stuck: what it
// owes a client is bounded.
func TestHeldAcknowledgements(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v311, "c")
		h.store.Hold()
		c.send(identified(filters(1, "a"), 1)) // waits for the disk, and all that follows
		var b []byte
		for i := range 70_000 {
			b = packet.Append(b, v311, &packet.Publish{QoS: 1, PacketID: uint16(i) | 1, Topic: []byte("b")})
		}
		c.sendRaw(b[:len(b)/2])
		c.expectNothing()
		c.sendRaw(b[len(b)/2:])
		c.expectEnd()
		h.store.Resume()
		c = h.connect(v311, "c")
		c.publish(packet.AtLeastOnce, "a", "x")
		c.receive("a", "x")
	})
}

// TestPayloadFormat has a payload that is not what it says it is: it goes on as
// it came, section 3.3.2.3.2 lets the server choose.
func TestPayloadFormat(t *testing.T) {
	shows(t, "X5_PUB_5", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.subscribe(packet.AtMostOnce, "t")
		if r := c.publishWith(&packet.Publish{QoS: 1, Topic: []byte("t"), Properties: []byte{1, 1}, Payload: []byte{0xff, 0xfe}}); r != packet.Success {
			t.Errorf("answered %v", r)
		}
		if p := c.expectPublish("t", "\xff\xfe"); string(p.Properties) != "\x01\x01" {
			t.Errorf("got %s", show(p))
		}
	})
}
