package mqtt_test

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestServedQoS serves less than the protocol can.
func TestServedQoS(t *testing.T) {
	one := packet.AtLeastOnce
	less := limits(mqtt.Limits{MaximumQoS: &one, NoRetained: true, ServerKeepAlive: 90 * time.Second})
	shows(t, "V5_3_2_2_11 V5_3_2_2_12 V5_3_2_2_13 V5_3_2_2_14", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		if a := c.connack; a.MaximumQoS == nil || *a.MaximumQoS != 1 || a.RetainAvailable == nil || *a.RetainAvailable || a.ServerKeepAlive == nil || *a.ServerKeepAlive != 90 {
			t.Errorf("got %+v", a)
		}
		if r := c.subscribeWith(filters(2, "a")); r[0] != packet.GrantedQoS1 {
			t.Errorf("QoS 2 was granted as %v", r)
		}
		c.publish(packet.AtLeastOnce, "a", "x")
		c.receive("a", "x")
		c.send(&packet.Publish{QoS: 2, PacketID: 9, Topic: []byte("a")})
		c.expectClosed(packet.QoSNotSupported)
		c = h.connect(v5, "c", clean)
		c.send(&packet.Publish{Retain: true, Topic: []byte("a")})
		c.expectClosed(packet.RetainNotSupported)
		for w, want := range map[*packet.Will]packet.Reason{
			{Topic: "w", QoS: 1}:       packet.Success,
			{Topic: "w", QoS: 2}:       packet.QoSNotSupported,
			{Topic: "w", Retain: true}: packet.RetainNotSupported,
		} {
			if a := h.dial(v5).connectAs("w", clean, will(*w)); a == nil || a.Reason != want {
				t.Errorf("%+v was answered with %+v", w, a)
			}
		}
		old := h.connect(v311, "old", clean)
		old.send(&packet.Publish{QoS: 2, PacketID: 9, Topic: []byte("a")})
		old.expectEnd()
	}, less)
}

// TestNamesAtTheLimit uses names at the limit, and one beyond.
func TestNamesAtTheLimit(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		for n, want := range map[int]packet.Reason{5: packet.Success, 6: packet.ClientIDNotValid} {
			if a := h.dial(v5).connectAs(strings.Repeat("c", n), clean); a == nil || a.Reason != want {
				t.Errorf("client identifier of %d: %+v", n, a)
			}
		}
		for n, want := range map[int]packet.Reason{7: packet.Success, 8: packet.BadUserNameOrPassword} {
			if a := h.dial(v5).connectAs("u", clean, user(strings.Repeat("u", n), "p")); a == nil || a.Reason != want {
				t.Errorf("user name of %d: %+v", n, a)
			}
		}
		c := h.connect(v5, "c", clean)
		for filter, want := range map[string]packet.Reason{
			strings.Repeat("x", 20): packet.Success, strings.Repeat("x", 21): packet.TopicFilterInvalid,
			"a/b/c/d": packet.Success, "a/b/c/d/e": packet.TopicFilterInvalid,
		} {
			if r := c.subscribeWith(filters(0, filter)); r[0] != want {
				t.Errorf("filter %q: %v", filter, r)
			}
		}
		c.publish(packet.AtLeastOnce, "a/b/c/d", "x")
		c.expectPublish("a/b/c/d", "x")
		c.send(&packet.Publish{Topic: []byte("a/b/c/d/e")})
		c.expectClosed(packet.MalformedPacket)
	}, limits(mqtt.Limits{ClientIDLength: 5, UsernameLength: 7, TopicLength: 20, TopicSeparators: 3}))
}

// TestKeptPerIdentity keeps as many sessions of a credential as are allowed,
// and asks for one more.
func TestKeptPerIdentity(t *testing.T) {
	shows(t, "SEC_14", func(t *testing.T, h *house) {
		far := &net.TCPAddr{IP: net.IPv4(10, 0, 0, 1), Port: 1}
		connect := func(id, name string, from net.Addr, options ...option) packet.Reason {
			c := h.dialFrom(v5, from)
			a := c.connectAs(id, append(options, user(name, ""))...)
			if a == nil {
				t.Fatal("no CONNACK")
			}
			c.cut()
			return a.Reason
		}
		for i := range 4 {
			want := packet.Success
			if i == 3 {
				want = packet.QuotaExceeded
			}
			if r := connect(fmt.Sprint(i), "ann", far, expiry(1000)); r != want {
				t.Errorf("session %d: %v", i, r)
			}
		}
		h.kill(true)
		for _, tt := range []struct {
			id, user string
			from     net.Addr
			seconds  uint32
			want     packet.Reason
		}{
			{"4", "ann", far, 10, packet.QuotaExceeded}, {"4", "ann", far, 0, packet.Success}, {"0", "ann", far, 1000, packet.Success},
			{"5", "bob", far, 10, packet.Success}, {"6", "ann", nil, 10, packet.Success},
		} {
			if r := connect(tt.id, tt.user, tt.from, expiry(tt.seconds)); r != tt.want {
				t.Errorf("%+v: %v", tt, r)
			}
		}
		connect("0", "ann", far, clean)
		connect("1", "ann", far, clean)
		if r := connect("7", "ann", far, expiry(10)); r != packet.Success {
			t.Errorf("after two have ended: %v", r)
		}
	}, limits(mqtt.Limits{KeptPerIdentity: 3}), func(c *mqtt.Config) {
		c.Authenticate = func(l mqtt.Login) (string, packet.Reason) { return l.Username, packet.Success }
	})
}

// TestAllQueues fills the queues of several sessions with what is allowed for
// all of them.
func TestAllQueues(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		for i := range 3 {
			c := h.connect(v5, fmt.Sprint("c", i), expiry(1000))
			c.subscribe(packet.AtLeastOnce, fmt.Sprint("t/", i))
			c.cut()
		}
		// A message weighs its topic, its payload and 48.
		payload := strings.Repeat("x", 1000-48-3)
		for i := range 10 {
			p.publish(packet.AtLeastOnce, fmt.Sprint("t/", i%2), payload)
		}
		p.publish(packet.AtLeastOnce, "t/2", "one more")
		p.publish(packet.AtLeastOnce, "t/0", "instead of its oldest")
		for i, want := range []int{5, 5, 0} {
			if got := h.connect(v5, fmt.Sprint("c", i), expiry(1000)).take(); len(got) != want {
				t.Errorf("session %d kept %d messages, want %d", i, len(got), want)
			}
		}
		p.publish(packet.AtLeastOnce, "t/2", "now there is room")
		if got := h.connect(v5, "c2", expiry(1000)).take(); len(got) != 1 {
			t.Errorf("session 2 got %q", got)
		}
	}, limits(mqtt.Limits{AllQueuesBytes: 10_000}))
}

// TestLargePackets has more large packets under way than there is room for:
// the reader of the next waits, and gives up in the end.
func TestLargePackets(t *testing.T) {
	shows(t, "SEC_01", func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		large := packet.Append(nil, v5, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, 99_000)})
		a, b, c := h.connect(v5, "a", clean), h.connect(v5, "b", clean), h.connect(v5, "c", clean)
		a.sendRaw(large[:1000])
		b.sendRaw(large[:1000]) // both fit
		go c.nc.Write(large)
		time.Sleep(5 * time.Second)
		w.expectNothing()
		a.sendRaw(large[1000:])
		if n := len(w.drain()); n != 2 {
			t.Fatalf("%d messages came, want that of a and that of c, which then has room", n)
		}
		go c.nc.Write(large[:1000])
		synctest.Wait()
		go a.nc.Write(large[:1000])
		w.publish(packet.AtMostOnce, "small", "x") // nobody else is disturbed
		w.expectPublish("small", "x")
		time.Sleep(2 * time.Second)
		b.expectClosed(packet.QuotaExceeded) // it has held room for long, and sent next to nothing
		a.sendRaw(large[1000:])
		if n := len(w.drain()); n != 1 {
			t.Fatalf("%d messages came, want that of a, which has room now", n)
		}
	}, limits(mqtt.Limits{LargeBytes: 200_000}))
}

// TestLargePacketsWait refuses a large packet that finds no room in time.
func TestLargePacketsWait(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		large := packet.Append(nil, v5, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, 99_000)})
		a, b := h.connect(v5, "a", clean), h.connect(v5, "b", clean)
		a.sendRaw(large[:1000])
		go b.nc.Write(large[:1000])
		time.Sleep(3 * time.Second)
		b.expectNothing()
		time.Sleep(2 * time.Second)
		b.expectClosed(packet.QuotaExceeded)
		a.sendRaw(large[1000:])
		a.expectNothing()
	}, limits(mqtt.Limits{LargeBytes: 150_000, PacketTimeout: 4 * time.Second}))
}

// TestPingPong has two clients with one client identifier that throw each
// other out as fast as they can.
func TestPingPong(t *testing.T) {
	shows(t, "SEC_28", func(t *testing.T, h *house) {
		begun := time.Now()
		for i := range 11 { // ten take-overs
			h.connect(v5, "c", clean)
			if time.Since(begun) != 0 {
				t.Fatalf("connection %d waited", i)
			}
		}
		last := h.clients[len(h.clients)-1]
		c := h.dial(v5)
		if a := c.connectAs("c", clean); a != nil {
			t.Fatalf("got %+v at once", a)
		}
		time.Sleep(4 * time.Second)
		last.expectNothing()
		time.Sleep(2 * time.Second)
		if a, ok := c.next().(*packet.Connack); !ok || a.Reason != packet.Success {
			t.Errorf("got %+v", a)
		}
		time.Sleep(time.Minute)
		begun = time.Now()
		h.connect(v5, "c", clean)
		if time.Since(begun) != 0 {
			t.Error("a client waited a minute later")
		}
	}, limits(mqtt.Limits{TakeOvers: 10}))
}

// TestReceiveMaximumQoS1 publishes more with QoS 1 than Receive Maximum allows
// while the disk takes its time: it is not read further, and nothing is lost.
func TestReceiveMaximumQoS1(t *testing.T) {
	shows(t, "V5_3_3_4_7", func(t *testing.T, h *house) {
		kept := h.connect(v5, "kept", expiry(100))
		kept.subscribe(packet.AtLeastOnce, "t")
		p := h.connect(v5, "p", clean)
		h.store.Hold()
		go func() {
			for i := range 30 {
				p.nc.Write(packet.Append(nil, v5, &packet.Publish{QoS: 1, PacketID: uint16(i + 1), Topic: []byte("t"), Payload: []byte(fmt.Sprint(i))}))
			}
		}()
		synctest.Wait()
		if n := len(kept.take()); n != 6 {
			t.Errorf("%d messages were read, want 5 and the one that made them too many", n)
		}
		h.store.Resume()
		synctest.Wait()
		if n := len(kept.take()); n != 24 {
			t.Errorf("then %d came, want the other 24", n)
		}
		if n := len(p.drain()); n != 30 {
			t.Errorf("%d acknowledgements", n)
		}
	}, limits(mqtt.Limits{ReceiveMaximum: 5}))
}

// TestUserPropertiesAtTheLimit sends as many user properties as are allowed,
// and one more, in each packet that has some: the decoder's own bounds, and
// lower ones that are set.
func TestUserPropertiesAtTheLimit(t *testing.T) {
	users := func(n, size int) (list []packet.UserProperty, encoded []byte) {
		for range n {
			u := packet.UserProperty{Key: "k", Value: strings.Repeat("v", size-1)}
			list = append(list, u)
			encoded = append(encoded, 0x26, 0, 1, 'k', byte((size-1)>>8), byte(size-1))
			encoded = append(encoded, u.Value...)
		}
		return list, encoded
	}
	for _, tt := range []struct {
		limits      mqtt.Limits
		count, size int
		fits        bool
	}{
		{mqtt.Limits{}, 64, 100, true}, {mqtt.Limits{}, 65, 100, false},
		{mqtt.Limits{}, 8, 1024, true}, {mqtt.Limits{}, 8, 1025, false},
		{mqtt.Limits{UserProperties: 3}, 3, 100, true}, {mqtt.Limits{UserProperties: 3}, 4, 100, false},
		{mqtt.Limits{UserPropertyBytes: 300}, 3, 100, true}, {mqtt.Limits{UserPropertyBytes: 300}, 3, 101, false},
	} {
		shows(t, "SEC_16", func(t *testing.T, h *house) {
			list, encoded := users(tt.count, tt.size)
			w := h.connect(v5, "w", clean)
			for what, p := range map[string]packet.Packet{
				"PUBLISH":     &packet.Publish{Topic: []byte("t"), Properties: encoded},
				"SUBSCRIBE":   &packet.Subscribe{PacketID: 1, Filters: filters(0, "t").Filters, UserProperties: list},
				"UNSUBSCRIBE": &packet.Unsubscribe{PacketID: 1, Filters: []string{"t"}, UserProperties: list},
				"PUBACK":      &packet.Ack{Kind: packet.PUBACK, PacketID: 1, UserProperties: list},
			} {
				c := h.connect(v5, "c", clean)
				c.send(p)
				if closed := c.isClosed(); closed == tt.fits {
					t.Errorf("%s with %d of %d bytes: closed %v", what, tt.count, tt.size, closed)
				}
				if !tt.fits {
					c.expectClosed(packet.QuotaExceeded)
				}
			}
			for what, option := range map[string]option{
				"CONNECT": func(p *packet.Connect) { p.UserProperties = list },
				"a will":  will(packet.Will{Topic: "t", Properties: encoded}),
			} {
				want := packet.Success
				if !tt.fits {
					want = packet.QuotaExceeded
				}
				if a := h.dial(v5).connectAs("d", clean, option); a == nil || a.Reason != want {
					t.Errorf("%s with %d of %d bytes: %+v", what, tt.count, tt.size, a)
				}
			}
			w.publish(packet.AtMostOnce, "t", "nobody else is disturbed")
		}, limits(tt.limits))
	}
}

// TestOldClients serves clients of 3.1, and refuses them where that is set.
func TestOldClients(t *testing.T) {
	shows(t, "X3_CONN_2", func(t *testing.T, h *house) {
		c := h.connect(packet.V31, "c", clean)
		c.subscribe(packet.AtMostOnce, "t")
		c.publish(packet.AtLeastOnce, "t", "x")
		c.receive("t", "x")
	})
	shows(t, "X3_CONN_2", func(t *testing.T, h *house) {
		c := h.dial(packet.V31)
		if a := c.connectAs("c", clean); a == nil || a.Reason != 1 {
			t.Errorf("got %+v", a)
		}
		c.expectEnd()
		h.connect(v311, "c", clean)
	}, limits(mqtt.Limits{NoOldClients: true}))
}

// TestPacketAtTheLimit has a packet come as slowly as is allowed, and one more
// slowly.
func TestPacketAtTheLimit(t *testing.T) {
	shows(t, "SEC_11", func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "t")
		whole := packet.Append(nil, v5, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, 990)})
		a, b := h.connect(v5, "a", clean), h.connect(v5, "b", clean)
		a.sendRaw(whole[:10])
		b.sendRaw(whole[:10])
		time.Sleep(14 * time.Second) // of 5, and 10 for a thousand bytes
		a.sendRaw(whole[10:])
		if n := len(w.drain()); n != 1 {
			t.Errorf("%d messages came, want the one that was in time", n)
		}
		b.expectNothing()
		time.Sleep(3 * time.Second)
		b.expectClosed(packet.UnspecifiedError)
		a.expectNothing()
	}, limits(mqtt.Limits{PacketTimeout: 5 * time.Second, PacketRate: 100}))
}
