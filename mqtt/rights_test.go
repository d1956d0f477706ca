package mqtt_test

import (
	"net"
	"sync"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// forbidden is what clients may not do, as "client access topic".
type forbidden struct {
	mu sync.Mutex // guards no
	no map[string]bool
}

func (f *forbidden) set(h *house, deny bool, lines ...string) {
	f.mu.Lock()
	if f.no == nil {
		f.no = make(map[string]bool)
	}
	for _, l := range lines {
		f.no[l] = deny
	}
	f.mu.Unlock()
	if h != nil {
		h.RightsChanged()
	}
}

func (f *forbidden) authorize(_, clientID string, a mqtt.Access, topic string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.no[clientID+" "+a.String()+" "+topic]
}

func (f *forbidden) config(c *mqtt.Config) { c.Authorize = f.authorize }

func TestRightToPublish(t *testing.T) {
	f := &forbidden{}
	f.set(nil, true, "pub publish a/secret")
	for _, v := range []packet.Version{v311, v5} {
		inBubble(t, func(t *testing.T, h *house) {
			sub, pub := h.connect(v, "sub"), h.connect(v, "pub")
			sub.subscribe(1, "a/#")
			for qos := range packet.QoS(3) {
				got := pub.publishWith(&packet.Publish{QoS: qos, Retain: true, Topic: []byte("a/secret"), Payload: []byte("x")})
				if want := packet.NotAuthorized; v == v5 && qos > 0 && got != want || v == v311 && got != packet.Success {
					t.Errorf("version %d, QoS %d: answered %v", v, qos, got)
				}
			}
			sub.expectNothing()
			pub.publish(1, "a/open", "1")
			sub.receive("a/open", "1")
			f.set(h, true, "pub publish a/open")
			pub.publish(1, "a/open", "2") // although its session knew it had the right
			sub.expectNothing()
			f.set(h, false, "pub publish a/open")
			pub.publish(1, "a/open", "3")
			sub.receive("a/open", "3")
		}, f.config)
	}
}

// TestRightOfWill shows SEC-03: the will passes at CONNECT and when it fires.
func TestRightOfWill(t *testing.T) {
	f := &forbidden{}
	f.set(nil, true, "bad publish door")
	for _, v := range []packet.Version{v311, v5} {
		inBubble(t, func(t *testing.T, h *house) {
			sub := h.connect(v, "sub")
			sub.subscribe(0, "#")
			w := will(packet.Will{Topic: "door", Payload: []byte("gone")})
			bad := h.dial(v)
			if ack := bad.connectAs("bad", w); ack == nil || ack.Reason != packet.NotAuthorized && (v == v5 || ack.Reason != 5) { // return code 5, section 3.2.2.3 of 3.1.1
				t.Errorf("version %d: a will without the right is answered %+v", v, ack)
			}
			good := h.connect(v, "good", w)
			good.cut()
			sub.receive("door", "gone")
			good = h.connect(v, "good", w)
			f.set(h, true, "good publish door")
			good.cut()
			sub.expectNothing()
			f.set(h, false, "good publish door")
		}, f.config)
	}
}

// TestRightToReceive shows SEC-06: what is live, queued, retained or shared is
// not sent to whoever has lost the right.
func TestRightToReceive(t *testing.T) {
	f := &forbidden{}
	shows(t, "SEC_06", func(t *testing.T, h *house) {
		pub := h.connect(v5, "pub")
		sub := h.connect(v5, "sub", expiry(3600))
		sub.subscribe(1, "a/+")
		pub.publish(1, "a/x", "live")
		sub.receive("a/x", "live")
		sub.cut()
		pub.publish(1, "a/x", "queued")
		pub.publish(1, "a/y", "other")
		pub.retain(1, "a/x", "kept")

		f.set(h, true, "sub receive a/x")
		sub = h.connect(v5, "sub", expiry(3600))
		sub.receive("a/y", "other") // which came after
		pub.publish(0, "a/x", "0")
		pub.publish(1, "a/x", "1")
		sub.expectNothing()
		sub.subscribe(1, "#")
		sub.expectNothing()

		a, b := h.connect(v5, "sub2"), h.connect(v5, "member")
		a.subscribe(0, "$share/g/s")
		b.subscribe(0, "$share/g/s")
		f.set(h, true, "sub2 receive s")
		for range 4 {
			pub.publish(0, "s", "m")
			b.receive("s", "m")
		}
		a.expectNothing()
	}, f.config)
}

// TestRightsAreAskedAfterRestart holds that what lies on disk is asked for, too.
func TestRightsAreAskedAfterRestart(t *testing.T) {
	f := &forbidden{}
	inBubble(t, func(t *testing.T, h *house) {
		sub := h.connect(v5, "sub", expiry(3600))
		sub.subscribe(1, "a/+")
		sub.cut()
		pub := h.connect(v5, "pub", expiry(3600), will(packet.Will{Topic: "door", Payload: []byte("gone"), Delay: 5}))
		pub.publish(1, "a/x", "1")
		pub.publish(1, "a/y", "2")
		pub.cut()
		f.set(nil, true, "sub receive a/x", "pub publish door")
		h.restart()
		sub = h.connect(v5, "sub", expiry(3600))
		sub.receive("a/y", "2")
		sub.subscribe(0, "door")
		time.Sleep(10 * time.Second)
		sub.expectNothing()
	}, f.config)
}

func TestRightToSubscribe(t *testing.T) {
	f := &forbidden{}
	f.set(nil, true, "c subscribe all/#")
	for _, v := range []packet.Version{v311, v5} {
		shows(t, "X5_SUB_3", func(t *testing.T, h *house) {
			c, pub := h.connect(v, "c"), h.connect(v, "pub")
			got := c.subscribeWith(&packet.Subscribe{Filters: []packet.Subscription{
				{Filter: "all/#"}, {Filter: "$share/g/all/#"}, {Filter: "some"}}})
			if len(got) != 3 || got[0] < 0x80 || got[1] < 0x80 || got[2] != 0 {
				t.Errorf("version %d: SUBSCRIBE is answered %v", v, got)
			}
			if v == v5 && got[0] != packet.NotAuthorized {
				t.Errorf("a filter without the right is answered %v", got[0])
			}
			pub.publish(0, "all/1", "x")
			c.expectNothing()
		}, f.config)
	}
}

// TestConnectionsPerAddress goes to the limit and one beyond.
func TestConnectionsPerAddress(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		far := &net.TCPAddr{IP: net.IPv4(192, 168, 1, 7), Port: 5}
		near := &net.TCPAddr{IP: net.IPv4(192, 168, 1, 8), Port: 5}
		h.dialFrom(v5, far)
		b := h.dialFrom(v5, far)
		if ack := h.dialFrom(v5, near).connectAs("near"); ack == nil {
			t.Error("another address suffers")
		}
		h.dialFrom(v5, far).awaitEnd() // one more than the limit
		b.cut()
		if ack := h.dialFrom(v5, far).connectAs("far"); ack == nil {
			t.Error("room that became free is not given again")
		}
	}, limits(mqtt.Limits{PerAddress: 2}))
}

// TestNewcomers has connections come before there is room for them. Each gets
// it as somebody leaves within a moment; who has waited in vain is turned away,
// and with those who come soon after nobody has patience.
func TestNewcomers(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		a, b := h.connect(v5, "a", clean), h.connect(v5, "b", clean)
		c, d := h.dial(v5), h.dial(v5)
		time.Sleep(20 * time.Millisecond)
		a.cut()
		time.Sleep(20 * time.Millisecond)
		b.cut()
		if c.connectAs("c") == nil || d.connectAs("d") == nil {
			t.Error("room that became free is not given")
		}
		turnedAway := func(after time.Duration) {
			t.Helper()
			begun := time.Now()
			h.dial(v5).awaitEnd()
			if took := time.Since(begun); took != after {
				t.Errorf("turned away after %v, want %v", took, after)
			}
		}
		turnedAway(50 * time.Millisecond)
		turnedAway(0)
		time.Sleep(time.Second)
		begun := time.Now()
		var crowd []*client
		for range 20 {
			crowd = append(crowd, h.dial(v5))
		}
		for _, c := range crowd {
			c.awaitEnd()
		}
		if took := time.Since(begun); took > 50*time.Millisecond {
			t.Errorf("of many the last is turned away after %v", took)
		}
		d.cut()
		h.connect(v5, "e", clean)
	}, limits(mqtt.Limits{Connections: 2}))
}
