package mqtt_test

import (
	"fmt"
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
