package mqtt_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// filters makes a SUBSCRIBE of filters with the same QoS.
func filters(qos packet.QoS, all ...string) *packet.Subscribe {
	s := &packet.Subscribe{}
	for _, f := range all {
		s.Filters = append(s.Filters, packet.Subscription{Filter: f, QoS: qos})
	}
	return s
}

// TestSubscribe is about sections 3.8 to 3.11.
func TestSubscribe(t *testing.T) {
	showsBoth(t, "V5_3_8_4_1 V5_3_8_4_2 V5_3_8_4_5 V5_3_8_4_6 V5_3_8_4_7 V5_3_9_3_1 V5_3_9_3_2 V5_2_2_1_6", "V311_3_8_4_1 V311_3_8_4_2 V311_3_8_4_4 V311_3_8_4_5 V311_3_9_3_1 V311_3_9_3_2 V311_2_3_1_7",
		func(t *testing.T, h *house, v packet.Version) {
			c := h.connect(v, "c", clean)
			c.send(&packet.Subscribe{PacketID: 65535, Filters: []packet.Subscription{
				{Filter: "a", QoS: 2}, {Filter: "b", QoS: 0}, {Filter: "c", QoS: 1}, {Filter: "d", QoS: 1}, {Filter: "a", QoS: 1}}})
			want := &packet.Suback{PacketID: 65535, Reasons: []packet.Reason{2, 0, 1, packet.QuotaExceeded, 1}}
			if v == v311 {
				want.Reasons[3] = 0x80
			}
			c.expect(want)
			for _, topic := range []string{"a", "b", "c", "d"} {
				h.connect(v, "p", clean).publish(packet.ExactlyOnce, topic, "x")
			}
			for _, want := range []struct {
				topic string
				qos   packet.QoS
			}{{"a", 1}, {"b", 0}, {"c", 1}} {
				if p := c.receive(want.topic, "x"); p.QoS != want.qos {
					t.Errorf("got %s, want QoS %d", show(p), want.qos)
				}
			}
			c.expectNothing()
		}, limits(mqtt.Limits{Subscriptions: 3}))
	shows(t, "X5_SUB_9", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		if r := c.subscribeWith(filters(1, "a", "b", "a")); !slices.Equal(r, []packet.Reason{1, packet.QuotaExceeded, 1}) {
			t.Errorf("got %v", r)
		}
		c.unsubscribe("a")
		c.subscribe(1, "b")
	}, limits(mqtt.Limits{Subscriptions: 1}))
	showsBoth(t, "V5_3_8_4_8 V5_4_8_2_3", "V311_3_8_4_6", func(t *testing.T, h *house, v packet.Version) {
		p := h.connect(v, "p", clean)
		for granted := range packet.QoS(3) {
			c, shared := h.connect(v, "c", clean), h.connect(v5, "shared", clean)
			c.subscribe(granted, "a")
			shared.subscribe(granted, "$share/g/a")
			for qos := range packet.QoS(3) {
				p.publish(qos, "a", "x")
				for _, c := range []*client{c, shared} {
					if got := c.receive("a", "x"); got.QoS != min(qos, granted) {
						t.Errorf("published with %d, granted %d: got %s", qos, granted, show(got))
					}
				}
			}
		}
	})
	showsBoth(t, "V5_3_8_4_3", "V311_3_8_4_3", func(t *testing.T, h *house, v packet.Version) {
		p := h.connect(v, "p", clean)
		p.retain(1, "a/b", "kept")
		c := h.connect(v, "c", clean)
		for qos := range packet.QoS(3) {
			c.subscribe(qos, "a/#")
			if got := c.receive("a/b", "kept"); got.QoS != min(qos, 1) {
				t.Errorf("got %s", show(got))
			}
			p.publish(packet.ExactlyOnce, "a/b", "live")
			if got := c.receive("a/b", "live"); got.QoS != qos {
				t.Errorf("got %s", show(got))
			}
			c.expectNothing() // one subscription, one copy
		}
	})
	shows(t, "V5_3_8_4_3 V5_3_3_4_3", func(t *testing.T, h *house) {
		// The identifier is replaced too, and taken away.
		c, p := h.connect(v5, "c", clean), h.connect(v5, "p", clean)
		for _, id := range []uint32{0, 1, 268_435_455, 0} {
			s := filters(1, "a")
			s.SubscriptionID = id
			c.subscribeWith(s)
			p.publish(packet.AtLeastOnce, "a", "x")
			var want []uint32
			if id != 0 {
				want = []uint32{id}
			}
			if got := c.receive("a", "x"); !slices.Equal(got.SubscriptionIDs, want) {
				t.Errorf("got %s, want %d", show(got), want)
			}
		}
	})
	shows(t, "V5_3_3_4_2 V5_3_3_4_3 V5_3_3_4_4 V5_3_3_4_5 X5_SUB_1", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", expiry(1000))
		for i, f := range []string{"a/#", "a/+", "a/b", "#"} {
			s := filters(packet.QoS(i%3), f)
			s.SubscriptionID = uint32(i + 1)
			if f == "#" {
				s.SubscriptionID = 0
			}
			c.subscribeWith(s)
		}
		p := h.connect(v5, "p", clean)
		check := func(dup bool) {
			t.Helper()
			got := c.expectPublish("a/b", "x")
			slices.Sort(got.SubscriptionIDs)
			if got.QoS != 2 || got.Dup != dup || !slices.Equal(got.SubscriptionIDs, []uint32{1, 2, 3}) {
				t.Errorf("got %s", show(got))
			}
		}
		p.publish(packet.ExactlyOnce, "a/b", "x")
		check(false)
		c.expectNothing()
		c.cut()
		c = h.connect(v5, "c", expiry(1000))
		check(true)
		c.cut()
		h.kill(true)
		c = h.connect(v5, "c", expiry(1000))
		check(true)
		p = h.connect(v5, "p", clean)
		p.publish(packet.AtMostOnce, "a/c", "x")
		got := c.expectPublish("a/c", "x")
		slices.Sort(got.SubscriptionIDs)
		if !slices.Equal(got.SubscriptionIDs, []uint32{1, 2}) {
			t.Errorf("got %s", show(got))
		}
		p.retain(0, "r", "x")
		c.expectPublish("r", "x")
		s := filters(0, "r")
		s.SubscriptionID = 9
		c.subscribeWith(s)
		if got := c.expectPublish("r", "x"); !slices.Equal(got.SubscriptionIDs, []uint32{9}) {
			t.Errorf("retained: got %s", show(got))
		}
	})
	shows(t, "V311_3_3_5_1", func(t *testing.T, h *house) {
		c := h.connect(v311, "c", clean)
		c.subscribe(1, "a/#")
		c.subscribe(2, "a/+")
		c.subscribe(0, "a/b")
		h.connect(v311, "p", clean).publish(packet.ExactlyOnce, "a/b", "x")
		if got := c.receive("a/b", "x"); got.QoS != 2 {
			t.Errorf("got %s", show(got))
		}
		c.expectNothing()
	})
	shows(t, "V5_3_8_3_3", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", expiry(1000), will(packet.Will{Topic: "a/will", Payload: []byte("gone"), QoS: 1}))
		other := h.connect(v5, "other", clean)
		noLocal := func(filter string, id uint32) {
			c.subscribeWith(&packet.Subscribe{SubscriptionID: id,
				Filters: []packet.Subscription{{Filter: filter, QoS: 1, NoLocal: true}}})
		}
		noLocal("a/#", 1)
		for qos := range packet.QoS(3) {
			c.publish(qos, "a/b", "mine")
			other.publish(qos, "a/b", "other's")
			c.receive("a/b", "other's")
		}
		s := filters(0, "a/b")
		s.SubscriptionID = 2
		c.subscribeWith(s)
		c.publish(packet.AtLeastOnce, "a/b", "mine")
		// Only the subscription that takes it counts.
		if got := c.receive("a/b", "mine"); got.QoS != 0 || !slices.Equal(got.SubscriptionIDs, []uint32{2}) {
			t.Errorf("got %s", show(got))
		}
		c.cut() // and the will is the client's own
		other.subscribe(0, "a/will")
		c = h.connect(v5, "c", expiry(1000))
		c.expectNothing()
		c.publish(packet.AtLeastOnce, "a/c", "mine")
		c.expectNothing()
		noLocal("a/b", 2)
		c.publish(packet.AtLeastOnce, "a/b", "mine")
		c.expectNothing()
	})
	shows(t, "X3_CONN_3", func(t *testing.T, h *house) {
		// A bridge is not sent what it sent itself, and RETAIN is kept.
		bridge := func(p *packet.Connect) { p.Bridge = true }
		c, other := h.connect(v311, "c", bridge), h.connect(v311, "other", clean)
		c.subscribe(1, "#")
		for _, retain := range []bool{false, true} {
			c.publishWith(&packet.Publish{QoS: 1, Retain: retain, Topic: []byte("a"), Payload: []byte("mine")})
			p := &packet.Publish{QoS: 1, Retain: retain, Topic: []byte("a"), Payload: []byte("other's")}
			other.publishWith(p)
			if got := c.receive("a", "other's"); got.Retain != retain {
				t.Errorf("got %s", show(got))
			}
			c.expectNothing()
			c.cut()
			c = h.connect(v311, "c", bridge)
		}
		c.cut()
		c = h.connect(v311, "c") // and once it is none
		other.retain(1, "a", "x")
		if got := c.receive("a", "x"); got.Retain {
			t.Errorf("got %s", show(got))
		}
	})
	showsBoth(t, "V5_3_10_4_1 V5_3_10_4_2 V5_3_10_4_4 V5_3_10_4_5 V5_3_10_4_6 V5_3_11_3_1 V5_3_11_3_2", "V311_3_10_4_1 V311_3_10_4_2 V311_3_10_4_4 V311_3_10_4_5 V311_3_10_4_6",
		func(t *testing.T, h *house, v packet.Version) {
			c, p := h.connect(v, "c", expiry(100)), h.connect(v, "p", clean)
			c.subscribe(1, "a/+", "a/b", "$share/g/a/b")
			c.send(&packet.Unsubscribe{PacketID: 9, Filters: []string{"a/B", "a/#", "a/+", "a/+", "$share/h/a/b"}})
			want := &packet.Unsuback{PacketID: 9, Reasons: []packet.Reason{0x11, 0x11, 0, 0x11, 0x11}}
			if v == v311 {
				want.Reasons = nil
			}
			c.expect(want)
			p.publish(packet.AtLeastOnce, "a/b", "x")
			c.receive("a/b", "x")
			c.receive("a/b", "x")
			p.publish(packet.AtLeastOnce, "a/c", "x")
			c.expectNothing()
			c.unsubscribe("a/b")
			p.publish(packet.AtLeastOnce, "a/b", "x")
			c.receive("a/b", "x")
			c.unsubscribe("$share/g/a/b")
			c.cut()
			p.publish(packet.AtLeastOnce, "a/b", "x")
			h.kill(true)
			c = h.connect(v, "c", expiry(100))
			h.connect(v, "p", clean).publish(packet.AtLeastOnce, "a/b", "x")
			c.expectNothing()
		})
	showsBoth(t, "V5_3_10_4_3", "V311_3_10_4_3", func(t *testing.T, h *house, v packet.Version) {
		c, p := h.connect(v, "c", expiry(100)), h.connect(v, "p", clean)
		c.subscribe(2, "a")
		p.publish(packet.ExactlyOnce, "a", "x")
		p.publish(packet.AtLeastOnce, "a", "y")
		c.expectPublish("a", "x")
		c.expectPublish("a", "y")
		c.unsubscribe("a")
		c.cut()
		c = h.connect(v, "c", expiry(100))
		for _, payload := range []string{"x", "y"} {
			if got := c.receive("a", payload); !got.Dup {
				t.Errorf("got %s", show(got))
			}
		}
		c.expectNothing()
	})
	showsBoth(t, "V5_4_7_2_1 V5_4_7_3_4", "V311_4_7_2_1 V311_4_7_3_4", func(t *testing.T, h *house, v packet.Version) {
		p := h.connect(v, "p", clean)
		for _, tt := range []struct {
			filter string
			topics string // that it matches
		}{
			{"#", "a a/b /a a/ a//b A é e\u0301"},
			{"+", "a A é e\u0301"},
			{"+/+", "a/b /a a/"},
			{"a/#", "a a/b a/ a//b"},
			{"a/+", "a/b a/"},
			{"a//b", "a//b"},
			{"/+", "/a"},
			{"é", "é"},
			{"$x/#", "$x $x/a"},
			{"$x/+", "$x/a"},
			{"+/a", "/a"},
			{"$share/g/#", "a a/b /a a/ a//b A é e\u0301"},
		} {
			live := h.connect(v, "live", clean)
			live.subscribe(0, tt.filter)
			live.drain() // what is retained since the row before
			for _, topic := range strings.Fields("a a/b /a a/ a//b A é e\u0301 $x $x/a") {
				p.retain(1, topic, "x")
			}
			later := h.connect(v, "later", clean)
			later.subscribe(0, tt.filter)
			for _, c := range []*client{live, later} {
				var got []string
				for _, p := range c.drain() {
					got = append(got, string(p.(*packet.Publish).Topic))
				}
				want := strings.Fields(tt.topics)
				if c == later && strings.HasPrefix(tt.filter, "$share") {
					want = nil
				}
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("%s %s: got %q, want %q", c.name, tt.filter, got, want)
				}
				c.disconnect()
			}
		}
	})
	showsBoth(t, "V5_4_7_3_3 SEC_08", "V311_4_7_3_3 SEC_08", func(t *testing.T, h *house, v packet.Version) {
		c := h.connect(v, "c", clean)
		for _, topic := range []string{strings.Repeat("t", 4096), strings.Repeat("/", 200)} {
			c.subscribe(0, topic)
			c.publish(0, topic, "x")
			c.expectPublish(topic, "x")
		}
		for _, topic := range []string{strings.Repeat("t", 4097), strings.Repeat("/", 201)} {
			c := h.connect(v, "d", clean)
			c.publish(0, topic, "x")
			c.expectClosed(packet.MalformedPacket)
			c = h.connect(v, "d", clean)
			c.send(filters(0, topic))
			c.drain()
			if !c.isClosed() {
				t.Error("the connection is open")
			}
		}
	})
	showsBoth(t, "V5_3_1_3_2", "V311_3_1_3_2", func(t *testing.T, h *house, v packet.Version) {
		// SUBACK, then what is retained, in the order of the topics.
		p := h.connect(v, "p", clean)
		for i := range 300 {
			p.retain(packet.QoS(i%3), fmt.Sprintf("t/%03d", (i*7)%300), fmt.Sprint(i))
		}
		c := h.connect(v, "c", clean)
		c.subscribe(2, "t/#")
		for i := range 300 {
			got, ok := c.next().(*packet.Publish)
			if want := fmt.Sprintf("t/%03d", i); !ok || string(got.Topic) != want || !got.Retain {
				t.Fatalf("got %+v, want %s", got, want)
			}
			switch got.QoS {
			case 1:
				c.send(ack(packet.PUBACK, got.PacketID))
			case 2:
				c.send(ack(packet.PUBREC, got.PacketID))
				c.takeAck(packet.PUBREL, got.PacketID)
				c.send(ack(packet.PUBCOMP, got.PacketID))
			}
		}
		c.expectNothing()
	})
}

// TestShared is about shared subscriptions, section 4.8.2.
func TestShared(t *testing.T) {
	shows(t, "X5_SUB_6 X5_SUB_5 X3_SUB_1", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		var members []*client
		for i, v := range []packet.Version{v5, v311, v5} {
			c := h.connect(v, fmt.Sprint("m", i), clean)
			c.subscribe(1, "$share/g/a/#")
			members = append(members, c)
		}
		alone := h.connect(v5, "alone", clean)
		alone.subscribe(1, "$share/h/a/#")
		normal := h.connect(v5, "normal", clean)
		normal.subscribe(1, "a/#")
		both := h.connect(v5, "both", clean)
		both.subscribe(1, "a/+", "$share/i/a/#")
		for i := range 30 {
			p.publish(packet.AtLeastOnce, "a/b", fmt.Sprint(i))
			alone.receive("a/b", fmt.Sprint(i))
			normal.receive("a/b", fmt.Sprint(i))
			both.receive("a/b", fmt.Sprint(i))
			both.receive("a/b", fmt.Sprint(i))
		}
		for _, c := range append(members, alone, normal, both) {
			n := 0
			for _, p := range c.drain() {
				c.send(ack(packet.PUBACK, p.(*packet.Publish).PacketID))
				n++
			}
			if c.name[0] == 'm' && n != 10 || c.name[0] != 'm' && n != 0 {
				t.Errorf("%s got %d", c.name, n)
			}
		}
		members[0].unsubscribe("$share/g/a/#")
		members[1].disconnect()
		for range 4 {
			p.publish(packet.AtLeastOnce, "a/b", "x")
			members[2].receive("a/b", "x")
		}
		members[0].expectNothing()
	})
	shows(t, "X5_SUB_4", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		p.retain(1, "a", "x")
		for handling := range byte(3) {
			c := h.connect(v5, "c", clean)
			c.subscribeWith(&packet.Subscribe{Filters: []packet.Subscription{{Filter: "$share/g/a", RetainHandling: handling}}})
			c.expectNothing()
		}
	})
	shows(t, "X5_SUB_7", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		online, away := h.connect(v5, "online", expiry(100)), h.connect(v5, "away", expiry(100))
		online.subscribe(1, "$share/g/a")
		away.subscribe(1, "$share/g/a")
		away.cut()
		for range 5 {
			p.publish(packet.AtLeastOnce, "a", "x")
			online.receive("a", "x")
		}
		online.cut()
		p.publish(packet.AtLeastOnce, "a", "y") // nobody is there: it waits for one of them
		online, away = h.connect(v5, "online", expiry(100)), h.connect(v5, "away", expiry(100))
		if n := len(online.drain()) + len(away.drain()); n != 1 {
			t.Errorf("%d copies came, want 1", n)
		}
	})
	shows(t, "V5_4_8_2_4 V5_4_8_2_5", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		c := h.connect(v5, "c", expiry(100))
		c.subscribe(2, "$share/g/a")
		p.publish(packet.ExactlyOnce, "a", "x")
		c.expectPublish("a", "x")
		other := h.connect(v5, "other", clean)
		other.subscribe(2, "$share/g/a")
		c.cut()
		other.expectNothing()
		c = h.connect(v5, "c", expiry(100))
		c.expectPublish("a", "x")
		c.cut()
		c = h.connect(v5, "c", clean)
		c.expectNothing()
		other.expectNothing()
	})
	shows(t, "V5_3_3_4_3", func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		c := h.connect(v5, "c", clean)
		s := filters(1, "$share/g/a")
		s.SubscriptionID = 7
		s.Filters[0].RetainAsPublished = true
		c.subscribeWith(s)
		p.retain(1, "a", "x")
		if got := c.receive("a", "x"); !slices.Equal(got.SubscriptionIDs, []uint32{7}) || !got.Retain {
			t.Errorf("got %s", show(got))
		}
	})
}

// TestGoodbye is about DISCONNECT, section 3.14.
func TestGoodbye(t *testing.T) {
	showsBoth(t, "V5_3_14_4_1 V5_3_14_4_2", "V311_3_14_4_2", func(t *testing.T, h *house, v packet.Version) {
		w := h.connect(v, "w", clean)
		w.subscribe(0, "#")
		c := h.connect(v, "c", clean)
		b := packet.Append(nil, v, &packet.Disconnect{})
		b = packet.Append(b, v, pub(0, "a", "after goodbye"))
		b = packet.Append(b, v, &packet.Pingreq{})
		c.sendRaw(append(b, 0xff, 0xff))
		c.expectEnd()
		w.expectNothing()
	})
	shows(t, "V5_3_14_0_1", func(t *testing.T, h *house) {
		// While its CONNACK waits for the disk, a client that is taken over
		// gets no DISCONNECT.
		h.store.Hold()
		c := h.dial(v5)
		c.send(&packet.Connect{Version: v5, ClientID: "c", SessionExpiry: 100, RequestProblemInfo: true})
		h.dial(v5).send(&packet.Connect{Version: v5, ClientID: "c", SessionExpiry: 100, RequestProblemInfo: true})
		c.expectEnd()
		h.store.Resume()
	})
	shows(t, "V5_3_15_1_1 V5_3_15_2_1", func(t *testing.T, h *house) {
		for _, tt := range []struct{ stream, want string }{
			{"\xf1\x00", "DISCONNECT 0x81, close"},
			{"\xf0\x01\x01", "DISCONNECT 0x82, close"},
			{"\xf0\x00", "DISCONNECT 0x82, close"},
			{"\xf0\x02\x18\x00", "DISCONNECT 0x82, close"},
			{"\xf0\x02\x19\x00", "DISCONNECT 0x82, close"},
		} {
			c := h.connect(v5, "c", clean)
			c.sendRaw([]byte(tt.stream))
			if got := c.reaction(); got != tt.want {
				t.Errorf("%x was answered by %s, want %s", tt.stream, got, tt.want)
			}
		}
	})
}

// TestText is about the strings of every packet, sections 1.5.3 and 1.5.4: what
// is not UTF-8, or holds U+0000, is never passed on.
func TestText(t *testing.T) {
	showsBoth(t, "V5_1_5_4_1 V5_1_5_4_2 V5_3_1_3_4 V5_3_1_3_11 V5_3_1_3_12 V5_3_3_2_1 V5_3_8_3_1 V5_3_10_3_1", "V311_1_5_3_1 V311_1_5_3_2 V311_3_1_3_4 V311_3_1_3_10 V311_3_1_3_11 V311_3_3_2_1 V311_3_8_3_1 V311_3_10_3_1 V311_4_7_3_2 V311_3_1_4_1",
		func(t *testing.T, h *house, v packet.Version) {
			for _, text := range []string{"a\x00b", "\xff", "\xed\xa0\x80", "\xc0\x80", "\xf4\x90\x80\x80", "a\xe2\x82"} {
				for _, connect := range []option{
					func(p *packet.Connect) { p.ClientID = text },
					func(p *packet.Connect) { p.HasUsername, p.Username = true, text },
					will(packet.Will{Topic: text}),
				} {
					c := h.dial(v)
					a := c.connectAs("c", clean, connect)
					if v == v311 && a != nil || v == v5 && a != nil && a.Reason != packet.MalformedPacket && a.Reason != packet.ClientIDNotValid {
						t.Errorf("%q: got %+v", text, a)
					}
					c.expectEnd()
				}
				for _, p := range []packet.Packet{
					pub(0, text, "x"),
					&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: text}}},
					&packet.Unsubscribe{PacketID: 1, Filters: []string{text}},
				} {
					c := h.connect(v, "c", clean)
					c.send(p)
					if text == "a\x00b" {
						c.drain() // other codes are right for U+0000
						c.expectEnd()
					} else {
						c.expectClosed(packet.MalformedPacket)
					}
				}
			}
		})
	shows(t, "V311_1_5_3_3", func(t *testing.T, h *house) {
		c := h.connect(v311, "\xef\xbb\xbfc", clean)
		c.subscribe(0, "\xef\xbb\xbfa")
		c.publish(0, "a", "no")
		c.publish(0, "\xef\xbb\xbfa", "x")
		c.receive("\xef\xbb\xbfa", "x")
		c.expectNothing()
	})
	shows(t, "X5_UTF8_1 SEC_19", func(t *testing.T, h *house) {
		for _, text := range []string{"a\nb", "a\x7fb", "a\u0085b"} {
			c := h.dial(v5)
			if a := c.connectAs(text, clean); a == nil || a.Reason == 0 {
				t.Errorf("client identifier %q: got %+v", text, a)
			}
			c = h.connect(v5, "c", clean)
			c.send(pub(0, text, "x"))
			c.expectClosed(packet.MalformedPacket)
		}
	})
	shows(t, "SEC_04", func(t *testing.T, h *house) {
		// Client identifiers are keys and no patterns.
		for _, id := range []string{"+", "#", "a/b", "$share/a/b"} {
			c := h.connect(v5, id, expiry(100))
			c.subscribe(1, "x")
			c.cut()
		}
		h.kill(true)
		for _, id := range []string{"+", "#", "a/b", "$share/a/b"} {
			if c := h.connect(v5, id, expiry(100)); !c.connack.SessionPresent {
				t.Errorf("the session of %q is gone", id)
			}
		}
		if c := h.connect(v5, "a", expiry(100)); c.connack.SessionPresent {
			t.Error("a client got another's session")
		}
	})
}

// TestFormat is about packets that are cut or flagged wrongly, in 3.1.1, and
// what the vectors do not say of 5.0.
func TestFormat(t *testing.T) {
	connect := func(flags byte, payload string) []byte {
		body := "\x00\x04MQTT\x04" + string(flags) + "\x00\x3c" + payload
		return append([]byte{0x10, byte(len(body))}, body...)
	}
	for _, tt := range []struct {
		keys   string
		stream []byte
		after  bool // an accepted CONNECT
	}{
		{"V311_3_1_0_1", []byte("\xc0\x00"), false},
		{"V311_3_1_2_9", connect(0x06, "\x00\x01p"), false},
		{"V311_3_1_2_14", connect(0x1e, "\x00\x01p\x00\x01w\x00\x01w"), false},
		{"V311_3_1_2_15", connect(0x22, "\x00\x01p"), false},
		{"V311_3_1_2_18", connect(0x02, "\x00\x01p\x00\x01u"), false},
		{"V311_3_1_2_19", connect(0x82, "\x00\x01p"), false},
		{"V311_3_1_2_20", connect(0x82, "\x00\x01p\x00\x01u\x00\x01p"), false},
		{"V311_3_1_2_21", connect(0xc2, "\x00\x01p\x00\x01u"), false},
		{"V311_3_1_2_1", []byte("\x10\x0d\x00\x04MQTX\x04\x02\x00\x3c\x00\x01p"), false},
		{"V311_2_2_2_1 V311_2_2_2_2 V311_3_6_1_1", []byte("\x60\x02\x00\x01"), true},
		{"V311_3_8_1_1", []byte("\x80\x06\x00\x01\x00\x01a\x00"), true},
		{"V311_3_10_1_1", []byte("\xa0\x05\x00\x01\x00\x01a"), true},
		{"V311_3_3_1_4", []byte("\x36\x06\x00\x01a\x00\x01x"), true},
		{"X3_FRAME_1", []byte("\x30\xff\xff\xff\xff\x01"), true},
		{"X3_FRAME_2", []byte("\x00\x00"), true},
		{"X3_FRAME_3", []byte("\x82\x05\x00\x01\x00\x01a"), true},
		{"X3_FRAME_3", []byte("\x40\x03\x00\x01\x00"), true},
		{"X3_FRAME_4", []byte("\x20\x02\x00\x00"), true},
		{"X3_FRAME_4", []byte("\xb0\x02\x00\x01"), true},
		{"V311_4_7_1_3", []byte("\x82\x07\x00\x01\x00\x02a+\x00"), true},
		{"V311_4_7_3_1", []byte("\x82\x05\x00\x01\x00\x00\x00"), true},
	} {
		shows(t, tt.keys, func(t *testing.T, h *house) {
			c := h.dial(v311)
			if tt.after {
				c.connectAs("c", clean)
			}
			c.sendRaw(tt.stream)
			c.expectEnd()
		})
	}
	shows(t, "V311_3_1_2_2", func(t *testing.T, h *house) {
		for _, level := range []byte{0, 1, 2, 3} {
			c := h.dial(v311)
			c.sendRaw([]byte("\x10\x0d\x00\x04MQTT" + string(rune(level)) + "\x02\x00\x3c\x00\x01p"))
			if got := c.reaction(); got != "CONNACK 0x01, close" && got != "CONNACK 0x84, close" && got != "close" {
				t.Errorf("level %d was answered by %s", level, got)
			}
		}
	})
}
