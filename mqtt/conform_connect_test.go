package mqtt_test

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestConnect is about sections 3.1 and 3.2: who is let in, to which session.
func TestConnect(t *testing.T) {
	showsBoth(t, "V5_3_1_4_5 V5_3_2_2_1 V5_3_2_2_2 V5_3_1_4_4 V5_3_2_0_2 V5_3_1_3_1 V5_3_1_3_3 V5_3_1_2_6 V5_3_2_2_8", "V311_3_1_4_4 V311_3_1_4_3 V311_3_1_3_1 V311_3_1_3_3 V311_3_2_2_1 V311_3_2_2_3",
		func(t *testing.T, h *house, v packet.Version) {
			for _, start := range []option{clean, func(*packet.Connect) {}} {
				c := h.connect(v, "new"+fmt.Sprint(start == nil), start)
				if c.connack.SessionPresent {
					t.Error("a new session is said to be present")
				}
				c.expectNothing()
				c.disconnect()
			}
		})
	showsBoth(t, "V5_3_1_2_5 V5_3_2_2_3 V5_3_1_2_23 V5_3_1_3_2 V5_4_5_0_1 V5_4_1_0_1", "V311_3_1_2_4 V311_3_2_2_2 V311_3_1_3_2 V311_3_1_2_5 V311_4_1_0_1 V311_4_1_0_2 V311_4_5_0_1",
		func(t *testing.T, h *house, v packet.Version) {
			a := h.connect(v, "a", expiry(3600))
			a.subscribe(packet.ExactlyOnce, "x/#")
			time.Sleep(80 * time.Minute) // its session does not expire while it is connected
			h.connect(v, "A").publish(packet.AtLeastOnce, "x/0", "other")
			a.receive("x/0", "other")
			a.cut()
			b := h.connect(v, "b", clean)
			b.publish(packet.AtLeastOnce, "x/1", "one")
			b.publish(packet.ExactlyOnce, "x/2", "two")
			b.publish(packet.AtMostOnce, "x/3", "not kept")
			a = h.connect(v, "a", expiry(3600))
			if !a.connack.SessionPresent {
				t.Error("the session is not present")
			}
			if p := a.receive("x/1", "one"); p.QoS != 1 || p.Dup {
				t.Errorf("got %s", show(p))
			}
			if p := a.receive("x/2", "two"); p.QoS != 2 || p.Dup {
				t.Errorf("got %s", show(p))
			}
			a.expectNothing()
		})
	showsBoth(t, "V5_3_1_2_4", "V311_3_1_2_6",
		func(t *testing.T, h *house, v packet.Version) {
			for range 2 {
				a := h.connect(v, "a", expiry(3600))
				a.subscribe(packet.AtLeastOnce, "x")
				a.cut()
				b := h.connect(v, "b", clean)
				b.publish(packet.AtLeastOnce, "x", "old")
				a = h.connect(v, "a", clean, func(p *packet.Connect) {
					if v == v5 {
						p.SessionExpiry = 3600
					}
				})
				if a.connack.SessionPresent {
					t.Error("the session is present in spite of a clean start")
				}
				b.publish(packet.AtLeastOnce, "x", "new")
				a.expectNothing()
				b.disconnect()
				a.disconnect()
				a = h.connect(v, "a", clean)
				a.expectNothing()
				a.disconnect()
			}
		})
	shows(t, "X5_CONN_4", func(t *testing.T, h *house) {
		a := h.connect(v5, "a")
		a.subscribe(packet.AtLeastOnce, "x")
		a.disconnect()
		if a = h.connect(v5, "a"); a.connack.SessionPresent {
			t.Error("a session without expiry outlived its connection")
		}
		a.disconnect()
		a = h.connect(v5, "a", expiry(0xFFFFFFFF))
		a.disconnect()
		time.Sleep(10 * 24 * time.Hour)
		if a = h.connect(v5, "a"); !a.connack.SessionPresent {
			t.Error("a session that never expires is gone")
		}
	}, limits(mqtt.Limits{OpenSessionExpiry: 0xFFFFFFFF * time.Second}))
	shows(t, "V5_4_1_0_2", func(t *testing.T, h *house) {
		for _, restart := range []bool{false, true} {
			a := h.connect(v5, "a", clean, expiry(100))
			a.subscribe(packet.AtLeastOnce, "x")
			a.cut()
			time.Sleep(50 * time.Second)
			if restart {
				h.restart()
			}
			time.Sleep(48 * time.Second)
			if a = h.connect(v5, "a", expiry(100)); !a.connack.SessionPresent {
				t.Error("the session is gone before its time")
			}
			a.cut()
			time.Sleep(50 * time.Second)
			if restart {
				h.kill(true)
			}
			time.Sleep(52 * time.Second)
			if a = h.connect(v5, "a"); a.connack.SessionPresent {
				t.Errorf("restart %t: the session has not expired", restart)
			}
			a.disconnect()
		}
	})
	shows(t, "X5_CONN_5 X3_SESS_1", func(t *testing.T, h *house) {
		a := h.connect(v5, "a", clean, expiry(100))
		if a.connack.SessionExpiry == nil || *a.connack.SessionExpiry != 60 {
			t.Errorf("CONNACK %+v, want a session expiry of 60", a.connack)
		}
		b := h.connect(v5, "b", clean, expiry(60))
		if b.connack.SessionExpiry != nil {
			t.Errorf("CONNACK %+v, want no session expiry", b.connack)
		}
		c := h.connect(v311, "c")
		a.disconnect()
		c.disconnect()
		time.Sleep(62 * time.Second)
		if h.connect(v5, "a").connack.SessionPresent || h.connect(v311, "c").connack.SessionPresent {
			t.Error("a session outlived the limit")
		}
	}, limits(mqtt.Limits{OpenSessionExpiry: time.Minute}))
	shows(t, "X5_DISC_2", func(t *testing.T, h *house) {
		a := h.connect(v5, "a", clean, expiry(1000))
		seconds := uint32(10)
		a.send(&packet.Disconnect{SessionExpiry: &seconds})
		a.expectEnd()
		time.Sleep(12 * time.Second)
		if a = h.connect(v5, "a", expiry(10)); a.connack.SessionPresent {
			t.Error("the session has not expired")
		}
		seconds = 1000
		a.send(&packet.Disconnect{SessionExpiry: &seconds})
		time.Sleep(12 * time.Second)
		if a = h.connect(v5, "a", expiry(10)); !a.connack.SessionPresent {
			t.Error("the session has expired")
		}
		seconds = 0
		a.send(&packet.Disconnect{SessionExpiry: &seconds})
		if a = h.connect(v5, "a", expiry(10)); a.connack.SessionPresent {
			t.Error("the session has not ended with its connection")
		}
	})
	shows(t, "V5_3_1_3_7 V5_3_2_2_16", func(t *testing.T, h *house) {
		// The source of randomness repeats itself: the broker has to look.
		a := h.connect(v5, "", clean, expiry(100))
		id := a.connack.AssignedClientID
		if len(id) < 20 {
			t.Fatalf("assigned client identifier %q", id)
		}
		a.disconnect()
		b := h.connect(v5, "", clean, expiry(100))
		if other := b.connack.AssignedClientID; other == id || other == "" {
			t.Errorf("the identifier %q was assigned twice", id)
		}
		if a = h.connect(v5, id); !a.connack.SessionPresent || a.connack.AssignedClientID != "" {
			t.Errorf("coming back with the assigned identifier: %+v", a.connack)
		}
	}, func(c *mqtt.Config) {
		c.Rand = bytes.NewReader(slicesRepeat(22, 'a', 'a', 'a', 'b'))
	})
	showsBoth(t, "V5_3_1_3_5", "V311_3_1_3_5", func(t *testing.T, h *house, v packet.Version) {
		for _, id := range []string{"0", "aZ9", "abcdefghijklmnopqrstuvw", "0123456789ABCDEFGHIJKLM", "NOPQRSTUVWXYZxyz"} {
			h.connect(v, id, clean)
		}
	})
	showsBoth(t, "V5_3_1_3_8 X5_CONN_7 V5_3_2_2_6 V5_3_2_2_7", "V311_3_2_2_4 V311_3_2_2_5", func(t *testing.T, h *house, v packet.Version) {
		h.connect(v, strings.Repeat("ü", 128), clean)
		c := h.dial(v)
		ack := c.connectAs(strings.Repeat("x", 257), clean)
		want := packet.ClientIDNotValid
		if v == v311 {
			want = 2
		}
		if ack == nil || ack.Reason != want || ack.SessionPresent {
			t.Errorf("a client identifier of 257 bytes was answered with %+v", ack)
		}
		c.expectEnd()
	})
	showsBoth(t, "V5_3_1_4_6", "V311_3_1_4_5", func(t *testing.T, h *house, v packet.Version) {
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		c := h.dial(v)
		var b []byte
		b = packet.Append(b, v, &packet.Connect{Version: v, ClientID: strings.Repeat("x", 257), CleanStart: true, RequestProblemInfo: true})
		b = packet.Append(b, v, &packet.Publish{Topic: []byte("x"), Payload: []byte("no")})
		c.sendRaw(b)
		if ack, ok := c.next().(*packet.Connack); !ok || ack.Reason == 0 {
			t.Errorf("got %+v", ack)
		}
		c.expectEnd()
		w.expectNothing()
	})
	shows(t, "V5_3_1_4_2 X3_CONN_4 SEC_20", func(t *testing.T, h *house) {
		for _, tt := range []struct {
			name   string
			v5     packet.Reason
			v311   packet.Reason
			accept bool
		}{
			{"bad", packet.BadUserNameOrPassword, 4, false},
			{"banned", packet.Banned, 5, false},
			{"stranger", packet.NotAuthorized, 5, false},
			{"busy", packet.ServerBusy, 3, false},
			{"good", packet.Success, 0, true},
		} {
			for _, v := range []packet.Version{v5, v311} {
				want := tt.v5
				if v == v311 {
					want = tt.v311
				}
				c := h.dial(v)
				if ack := c.connectAs("c", clean, user(tt.name, "secret")); ack == nil || ack.Reason != want {
					t.Errorf("%s: got %+v, want %v", tt.name, ack, want)
				}
				if !tt.accept {
					c.expectEnd()
				}
			}
		}
	}, func(c *mqtt.Config) {
		c.Authenticate = func(l mqtt.Login) (string, packet.Reason) {
			switch {
			case !l.HasPassword:
				return "", packet.BadUserNameOrPassword
			case l.Username == "bad":
				return "", packet.BadUserNameOrPassword
			case l.Username == "banned":
				return "", packet.Banned
			case l.Username == "stranger":
				return "", packet.NotAuthorized
			case l.Username == "busy":
				return "", packet.ServerBusy
			}
			return l.Username, packet.Success
		}
	})
	shows(t, "V311_3_2_2_6", func(t *testing.T, h *house) {
		c := h.dial(v311)
		if ack := c.connectAs("c", clean); ack != nil {
			t.Errorf("got %+v, want a closed connection", ack)
		}
		c.expectEnd()
	}, func(c *mqtt.Config) {
		c.Authenticate = func(mqtt.Login) (string, packet.Reason) { return "", packet.ImplementationSpecificError }
	})
	showsBoth(t, "SEC_05", "SEC_05", func(t *testing.T, h *house, v packet.Version) {
		a := h.connect(v, "lamp", user("ann", ""), expiry(1000))
		a.subscribe(packet.AtLeastOnce, "x")
		for _, start := range []option{clean, func(*packet.Connect) {}} {
			b := h.dial(v)
			if ack := b.connectAs("lamp", user("bob", ""), start); ack == nil || ack.Reason != packet.ClientIDNotValid && ack.Reason != 2 {
				t.Errorf("another identity got %+v", ack)
			}
			b.expectEnd()
			a.expectNothing()
		}
		a.cut()
		b := h.dial(v)
		if ack := b.connectAs("lamp", user("bob", ""), clean); ack == nil || ack.Reason == 0 {
			t.Errorf("another identity got %+v", ack)
		}
		h.restart()
		b = h.dial(v)
		if ack := b.connectAs("lamp", user("bob", ""), clean); ack == nil || ack.Reason == 0 {
			t.Errorf("another identity got %+v after a restart", ack)
		}
		if a = h.connect(v, "lamp", user("ann", "")); !a.connack.SessionPresent {
			t.Error("the session is gone")
		}
	}, byName)
	showsBoth(t, "V5_3_1_2_22 V5_3_2_2_22", "V311_3_1_2_24", func(t *testing.T, h *house, v packet.Version) {
		c := h.connect(v, "c", clean, keepAlive(60))
		if c.connack.ServerKeepAlive != nil {
			t.Errorf("CONNACK %+v, want no server keep alive", c.connack)
		}
		other := h.connect(v, "other", clean)
		for range 3 {
			time.Sleep(88 * time.Second)
			c.send(&packet.Pingreq{})
			c.expect(&packet.Pingresp{})
		}
		c.subscribe(packet.AtMostOnce, "x") // any packet counts
		time.Sleep(80 * time.Second)
		other.publish(packet.AtMostOnce, "x", "does not count")
		c.sendRaw([]byte{0x30, 100, 0}) // nor does half a packet
		time.Sleep(9 * time.Second)
		c.receive("x", "does not count")
		c.expectNothing()
		time.Sleep(2 * time.Second)
		c.expectClosed(packet.KeepAliveTimeout)
	})
	shows(t, "SEC_12", func(t *testing.T, h *house) {
		for _, asked := range []uint16{0, 3601, 65535} {
			c := h.connect(v5, "c", clean, keepAlive(asked))
			if c.connack.ServerKeepAlive == nil || *c.connack.ServerKeepAlive != 3600 {
				t.Errorf("keep alive %d: CONNACK %+v, want a server keep alive of 3600", asked, c.connack)
			}
			time.Sleep(5398 * time.Second)
			c.expectNothing()
			time.Sleep(4 * time.Second)
			c.expectClosed(packet.KeepAliveTimeout)
		}
		c := h.connect(v5, "c", clean, keepAlive(3600))
		if c.connack.ServerKeepAlive != nil {
			t.Errorf("CONNACK %+v, want no server keep alive", c.connack)
		}
	})
	showsBoth(t, "X5_CONN_6", "X3_CONN_1", func(t *testing.T, h *house, v packet.Version) {
		silent, slow := h.dial(v), h.dial(v)
		p := packet.Append(nil, v, &packet.Connect{Version: v, ClientID: "slow", CleanStart: true, RequestProblemInfo: true})
		for i := range 9 {
			slow.sendRaw(p[i : i+1])
			silent.expectNothing()
			slow.expectNothing()
			time.Sleep(time.Second)
		}
		time.Sleep(2 * time.Second)
		silent.expectEnd()
		slow.expectEnd()
	})
	shows(t, "SEC_13", func(t *testing.T, h *house) {
		far := &net.TCPAddr{IP: net.IPv4(192, 168, 1, 2), Port: 1}
		a, b := h.dialFrom(v5, far), h.dialFrom(v5, far)
		c := h.dialFrom(v5, far)
		c.awaitEnd()
		a.connectAs("a", clean)
		d := h.dialFrom(v5, far)
		d.connectAs("d", clean)
		b.connectAs("b", clean)
		h.connect(v5, "e", clean)
		f := h.dial(v5)
		f.awaitEnd()
		a.disconnect()
		h.connect(v5, "f", clean)
	}, limits(mqtt.Limits{Unauthenticated: 2, Connections: 4}))
	shows(t, "SEC_14", func(t *testing.T, h *house) {
		h.connect(v5, "a", clean, expiry(10))
		h.connect(v311, "b")
		for _, v := range []packet.Version{v5, v311} {
			c := h.dial(v)
			want := packet.QuotaExceeded
			if v == v311 {
				want = 3
			}
			if ack := c.connectAs("c", expiry(10)); ack == nil || ack.Reason != want {
				t.Errorf("got %+v, want %v", ack, want)
			}
			c.expectEnd()
			h.connect(v, "d", clean)
		}
		if a := h.connect(v5, "a", expiry(10)); !a.connack.SessionPresent {
			t.Error("the session is gone")
		}
	}, limits(mqtt.Limits{KeptSessions: 2}))
	showsBoth(t, "V5_3_2_0_1", "V311_3_2_0_1", func(t *testing.T, h *house, v packet.Version) {
		a := h.connect(v, "a", expiry(100))
		a.subscribe(packet.AtLeastOnce, "x")
		a.cut()
		b := h.connect(v, "b", clean)
		b.publish(packet.AtLeastOnce, "x", "1")
		h.store.Hold() // CONNACK has to wait, and what follows it waits too
		a = h.dial(v)
		p := packet.Append(nil, v, &packet.Connect{Version: v, ClientID: "a", SessionExpiry: 100, RequestProblemInfo: true})
		a.sendRaw(packet.Append(p, v, &packet.Pingreq{}))
		b.send(&packet.Publish{Topic: []byte("x"), Payload: []byte("2")})
		for _, p := range a.drain() {
			t.Errorf("%s came before CONNACK", show(p))
		}
		h.store.Resume()
		if ack, ok := a.next().(*packet.Connack); !ok || !ack.SessionPresent {
			t.Errorf("got %+v, want CONNACK", ack)
		}
		var rest []string
		for _, p := range a.drain() {
			rest = append(rest, p.Type().String())
		}
		if got := strings.Join(rest, " "); got != "PUBLISH PUBLISH PINGRESP" && got != "PINGRESP PUBLISH PUBLISH" {
			t.Errorf("after CONNACK came %s", got)
		}
	})
	shows(t, "V5_3_1_2_28 V5_4_12_0_6 V5_3_2_2_9 V5_3_2_2_10 V5_3_2_2_19 V5_3_2_2_20", func(t *testing.T, h *house) {
		for _, asks := range []bool{false, true} {
			c := h.connect(v5, "c", clean, maximumPacketSize(100), func(p *packet.Connect) { p.RequestResponseInfo = asks })
			ack := c.connack
			if ack.ResponseInformation != "" || ack.AuthenticationMethod != "" || ack.AuthenticationData != nil ||
				ack.MaximumQoS != nil || ack.ReasonString != "" || ack.UserProperties != nil {
				t.Errorf("CONNACK %+v says more than it should", ack)
			}
			if ack.ReceiveMaximum != 20 || ack.TopicAliasMaximum != 10 || ack.MaximumPacketSize != 8<<20 {
				t.Errorf("CONNACK %+v does not say what the broker takes", ack)
			}
		}
	})
	showsBoth(t, "X5_DISC_3", "V311_3_1_2_8", func(t *testing.T, h *house, v packet.Version) {
		c := h.connect(v, "c", clean, keepAlive(60))
		h.Shutdown(t.Context())
		c.expectClosed(packet.ServerShuttingDown)
	})
}

// byName lets everybody in as whom they say they are.
func byName(c *mqtt.Config) {
	c.Authenticate = func(l mqtt.Login) (string, packet.Reason) { return l.Username, packet.Success }
}

func slicesRepeat(n int, chars ...byte) (all []byte) {
	for _, c := range chars {
		all = append(all, bytes.Repeat([]byte{c}, n)...)
	}
	return all
}

// TestStoreNotReady plays a full disk: what needs it is refused, the rest goes
// on.
func TestStoreNotReady(t *testing.T) {
	showsBoth(t, "X5_PUB_11", "V311_4_8_0_2", func(t *testing.T, h *house, v packet.Version) {
		a := h.connect(v, "a", expiry(1000))
		a.subscribe(packet.AtLeastOnce, "x/#")
		b := h.connect(v, "b", clean)
		h.store.Fail(errors.New("the disk is full"))
		b.publish(packet.AtLeastOnce, "nobody/wants/it", "1")
		b.publish(packet.AtMostOnce, "x/0", "live")
		a.receive("x/0", "live")
		p := &packet.Publish{QoS: 1, Topic: []byte("x/1"), Payload: []byte("1"), PacketID: 77}
		if v == v5 {
			if r := b.publishWith(p); r != packet.QuotaExceeded {
				t.Errorf("PUBACK %v, want quota exceeded", r)
			}
			p.QoS, p.Retain = 2, true
			if r := b.publishWith(p); r != packet.QuotaExceeded {
				t.Errorf("PUBREC %v, want quota exceeded", r)
			}
			if r := a.subscribeWith(&packet.Subscribe{Filters: []packet.Subscription{{Filter: "y"}}}); r[0] != packet.QuotaExceeded {
				t.Errorf("SUBACK %v, want quota exceeded", r)
			}
		} else {
			b.send(p)
			b.expectEnd()
		}
		c := h.dial(v)
		if ack := c.connectAs("c", expiry(100)); ack == nil || ack.Reason == 0 {
			t.Errorf("a kept session was made: %+v", ack)
		}
		h.store.Fail(nil)
		a.expectNothing()
		b = h.connect(v, "b", clean)
		b.publish(packet.AtLeastOnce, "x/1", "2")
		a.receive("x/1", "2")
		a.subscribe(packet.AtMostOnce, "#")
		a.expectNothing()
	})
}
