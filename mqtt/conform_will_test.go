package mqtt_test

import (
	"fmt"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// willOf returns the will of the tests: delay seconds after its client is
// gone, "gone" to will/x.
func willOf(delay uint32) option {
	return will(packet.Will{Topic: "will/x", Payload: []byte("gone"), QoS: 1, Delay: delay})
}

// TestWill is table 6.1: what becomes of a will, in each version, with a delay
// and without, and whether the session lasts.
func TestWill(t *testing.T) {
	const now, late, sessionEnd, never = 0, 60, 30, -1
	for _, tt := range []struct {
		keys    string
		v       packet.Version
		delay   uint32
		expiry  uint32
		end     func(h *house, c *client)
		seconds int // until the will goes out; never
	}{
		{"V311_3_14_4_3 V311_3_1_2_10", v311, 0, 0, (*house).leave, never},
		{"V5_3_14_4_3 V5_3_1_2_10", v5, 0, 100, (*house).leave, never},
		{"V5_3_14_4_3 V5_3_1_2_10", v5, 60, 100, (*house).leave, never},
		{"X5_WILL_2", v5, 0, 100, (*house).leaveWithWill, now},
		{"X5_WILL_2", v5, 60, 100, (*house).leaveWithWill, late},
		{"V311_3_1_2_8", v311, 0, 0, (*house).lose, now},
		{"V5_3_1_2_8", v5, 0, 100, (*house).lose, now},
		{"V5_3_1_2_8", v5, 60, 100, (*house).lose, late},
		{"V5_3_1_2_8", v5, 60, 30, (*house).lose, sessionEnd},
		{"V5_3_1_2_8", v5, 60, 0, (*house).lose, now},
		{"V5_3_1_0_2", v5, 0, 0, (*house).offend, now},
		{"V5_3_1_0_2", v5, 60, 100, (*house).offend, late},
		{"V311_3_1_0_2", v311, 0, 0, (*house).offend, now},
		{"V311_3_14_1_1", v311, 0, 0, (*house).leaveBadly, now},
		{"V5_3_14_2_1", v5, 0, 0, (*house).leaveAsServer, now},
		{"V5_3_1_3_9", v5, 60, 100, (*house).comeBack, never},
		{"X5_WILL_1", v5, 60, 100, (*house).comeBackClean, 10},
		{"X5_WILL_1", v5, 0, 100, (*house).takeOver, now},
		{"X5_WILL_1", v5, 60, 100, (*house).takeOver, never},
		{"X5_WILL_1", v5, 60, 0, (*house).takeOver, now},
		{"X5_WILL_1", v5, 60, 100, (*house).takeOverClean, now},
		{"V311_3_1_4_2", v311, 0, 0, (*house).takeOver, now},
		{"V311_3_1_4_2", v311, 0, 0, (*house).takeOverClean, now},
		{"X5_WILL_4", v5, 60, 100, (*house).loseAndRestart, late},
		{"X5_WILL_4", v5, 60, 30, (*house).loseAndRestart, sessionEnd},
		{"X5_WILL_4", v5, 60, 100, (*house).restartWith, late},
		{"X5_DISC_3", v5, 0, 100, (*house).restartWith, -2},
		{"X5_DISC_3", v5, 60, 0, (*house).restartWith, -2},
		{"X5_DISC_3", v311, 0, 0, (*house).restartWith, -2},
	} {
		t.Run(fmt.Sprintf("delay %d expiry %d", tt.delay, tt.expiry), func(t *testing.T) {
			shows(t, tt.keys, func(t *testing.T, h *house) {
				w := h.connect(v5, "w", clean, expiry(1000))
				w.subscribe(packet.AtLeastOnce, "will/#")
				c := h.connect(tt.v, "c", clean, expiry(tt.expiry), willOf(tt.delay))
				w.expectNothing()
				began := time.Now()
				tt.end(h, c)
				if w.isClosed() { // after a restart
					w = h.connect(v5, "w", expiry(1000))
					w.expectNoWillUnless(t, tt.seconds == -2)
					if tt.seconds == -2 {
						return
					}
				}
				if tt.seconds != never {
					at := began.Add(time.Duration(tt.seconds) * time.Second)
					if early := time.Until(at) - time.Second; early > 0 {
						time.Sleep(early)
						w.expectNothing()
					}
					if wait := time.Until(at) + time.Second; tt.seconds > 0 {
						time.Sleep(wait)
					}
					if p := w.receive("will/x", "gone"); p.QoS != 1 || p.Retain {
						t.Errorf("got %s", show(p))
					}
				}
				time.Sleep(time.Hour)
				w.expectNothing()
			})
		})
	}
}

// expectNoWillUnless checks whether the will came.
func (c *client) expectNoWillUnless(t *testing.T, came bool) {
	t.Helper()
	if came {
		c.receive("will/x", "gone")
	}
	c.expectNothing()
}

func (h *house) leave(c *client) { c.disconnect() }
func (h *house) lose(c *client)  { c.cut() }

func (h *house) leaveWithWill(c *client) {
	c.send(&packet.Disconnect{Reason: packet.DisconnectWithWill})
	c.expectEnd()
}

// offend breaks the rules by a second CONNECT.
func (h *house) offend(c *client) {
	c.send(&packet.Connect{Version: c.v, ClientID: "c", CleanStart: true, RequestProblemInfo: true})
	c.expectClosed(packet.ProtocolError)
}

// leaveBadly sets a reserved bit of DISCONNECT.
func (h *house) leaveBadly(c *client) {
	c.sendRaw([]byte{0xe1, 0})
	c.expectEnd()
}

// leaveAsServer sends a reason that only a server may give.
func (h *house) leaveAsServer(c *client) {
	c.sendRaw([]byte{0xe0, 1, byte(packet.SessionTakenOver)})
	c.expectEnd()
}

func (h *house) comeBack(c *client) {
	c.cut()
	time.Sleep(10 * time.Second)
	h.connect(c.v, "c", expiry(100))
}

func (h *house) comeBackClean(c *client) {
	c.cut()
	time.Sleep(10 * time.Second)
	h.connect(c.v, "c", clean)
}

func (h *house) takeOver(c *client) {
	h.connect(c.v, "c", expiry(100))
	c.expectClosed(packet.SessionTakenOver)
}

func (h *house) takeOverClean(c *client) {
	h.connect(c.v, "c", clean)
	c.expectClosed(packet.SessionTakenOver)
}

func (h *house) loseAndRestart(c *client) {
	c.cut()
	time.Sleep(10 * time.Second)
	h.restart()
}

func (h *house) restartWith(*client) { h.restart() }

// TestWillMessage is about what a will says.
func TestWillMessage(t *testing.T) {
	showsBoth(t, "V5_3_1_2_7 V5_3_1_2_14", "V311_3_1_2_16 V311_3_1_2_12", func(t *testing.T, h *house, v packet.Version) {
		w := h.connect(v, "w", clean)
		w.subscribe(packet.ExactlyOnce, "#")
		for qos := range packet.QoS(3) {
			h.connect(v, "c", clean, will(packet.Will{Topic: "t", Payload: []byte("x"), QoS: qos})).cut()
			if p := w.receive("t", "x"); p.QoS != qos || p.Retain {
				t.Errorf("got %s, want QoS %d", show(p), qos)
			}
		}
		h.connect(v, "c", clean).cut()
		w.expectNothing()
		w.subscribe(packet.AtMostOnce, "#")
		w.expectNothing()
	})
	showsBoth(t, "V5_3_1_2_15", "V311_3_1_2_17", func(t *testing.T, h *house, v packet.Version) {
		h.connect(v, "c", clean, will(packet.Will{Topic: "t", Payload: []byte("x"), QoS: 1, Retain: true})).cut()
		w := h.connect(v, "w", clean)
		w.subscribe(packet.ExactlyOnce, "#")
		if p := w.receive("t", "x"); !p.Retain {
			t.Errorf("got %s, want a retained message", show(p))
		}
		h.connect(v, "c", clean, will(packet.Will{Topic: "t", Retain: true})).cut()
		w.receive("t", "")
		w.subscribe(packet.ExactlyOnce, "#")
		w.expectNothing()
	})
	shows(t, "X5_WILL_3 V5_3_1_3_10", func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		// Payload format 1, content type "c", response topic "r", correlation
		// data "d", user properties b=1, a=2, b=1.
		props := []byte("\x01\x01\x03\x00\x01c\x08\x00\x01r\x09\x00\x01d" +
			"\x26\x00\x01b\x00\x011\x26\x00\x01a\x00\x012\x26\x00\x01b\x00\x011")
		h.connect(v5, "c", clean, expiry(100), will(packet.Will{Topic: "t", Payload: []byte("x"), Properties: props,
			Delay: 10, HasExpiry: true, Expiry: 77})).cut()
		time.Sleep(11 * time.Second)
		p := w.receive("t", "x")
		if string(p.Properties) != string(props) || !p.HasExpiry || p.Expiry != 77 {
			t.Errorf("got %s", show(p))
		}
	})
	showsBoth(t, "SEC_03", "SEC_03", func(t *testing.T, h *house, v packet.Version) {
		c := h.dial(v)
		want := packet.NotAuthorized
		if v == v311 {
			want = 5
		}
		if ack := c.connectAs("c", clean, will(packet.Will{Topic: "$SYS/x"})); ack == nil || ack.Reason != want {
			t.Errorf("a will to $SYS was answered with %+v", ack)
		}
		c.expectEnd()
	})
	shows(t, "SEC_25", func(t *testing.T, h *house) {
		// All clients go at once, as when the access point does.
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		var all []*client
		for i := range 400 {
			all = append(all, h.connect(v311, fmt.Sprint(i), clean, will(packet.Will{Topic: "t", Payload: []byte("x")})))
		}
		for _, c := range all {
			c.nc.Close()
		}
		if n := len(w.drain()); n != 400 {
			t.Errorf("%d wills came, want 400", n)
		}
	})
}

// TestWillsAtStop shows that the wills of many clients go out when the hub
// stops.
func TestWillsAtStop(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const clients = 700
		w := h.connect(v5, "w", clean, expiry(1000))
		w.subscribe(packet.AtLeastOnce, "#")
		for i := range clients {
			h.connect(v311, fmt.Sprint(i), clean, will(packet.Will{Topic: "t", Payload: []byte("x"), QoS: 1}))
		}
		h.restart()
		w = h.connect(v5, "w", expiry(1000))
		for range clients {
			w.receive("t", "x")
		}
		w.expectNothing()
	})
}

// TestWillAfterKill shows that a client that is back soon after a power cut is
// not announced dead, and one that is not is.
func TestWillAfterKill(t *testing.T) {
	for _, v := range []packet.Version{v311, v5} {
		for _, kept := range []uint32{0, 100} {
			t.Run(fmt.Sprintf("%d expiry %d", v, kept), func(t *testing.T) {
				inBubble(t, func(t *testing.T, h *house) {
					options := []option{expiry(kept)}
					if kept == 0 {
						options = append(options, clean)
					}
					for _, id := range []string{"back", "away"} {
						h.connect(v, id, append(options, will(packet.Will{Topic: "will/" + id, Payload: []byte("gone")}))...)
					}
					time.Sleep(10 * time.Second) // wills are written lazily
					h.kill(true)
					w := h.connect(v5, "w", clean)
					w.subscribe(packet.AtMostOnce, "will/#")
					time.Sleep(30 * time.Second)
					back := h.connect(v, "back", options...)
					time.Sleep(25 * time.Second)
					w.expectNothing()
					time.Sleep(10 * time.Second)
					w.receive("will/away", "gone")
					w.expectNothing()
					back.cut() // it has no will this time
					time.Sleep(time.Hour)
					w.expectNothing()
				})
			})
		}
	}
}

// TestTakeOver is about a second connection with the same client identifier.
func TestTakeOver(t *testing.T) {
	for _, old := range []packet.Version{v311, v5} {
		for _, new := range []packet.Version{v311, v5} {
			shows(t, "V5_3_1_4_3 X5_CONN_8 V311_3_1_4_2 V5_3_14_4_1 V5_3_14_4_2", func(t *testing.T, h *house) {
				a := h.connect(old, "c", expiry(100))
				a.subscribe(packet.AtLeastOnce, "x")
				b := h.connect(new, "c", expiry(100))
				a.expectClosed(packet.SessionTakenOver)
				if !b.connack.SessionPresent {
					t.Error("the session was not taken over")
				}
				// What the old connection still does must not touch the new one.
				a.cut()
				time.Sleep(time.Hour)
				if old == v5 || new == v5 {
					b = h.connect(new, "c", expiry(100))
				}
				h.connect(v5, "p", clean).publish(packet.AtLeastOnce, "x", "1")
				b.receive("x", "1")
				b.expectNothing()
			})
		}
	}
	shows(t, "V5_3_1_4_3", func(t *testing.T, h *house) {
		// Two devices with one identifier: exactly one is connected.
		var last *client
		for range 20 {
			c := h.connect(v5, "c", expiry(100))
			if last != nil {
				last.expectClosed(packet.SessionTakenOver)
			}
			last = c
		}
		last.expectNothing()
	})
	shows(t, "V5_3_1_4_2", func(t *testing.T, h *house) {
		// A client that is refused disturbs nobody.
		a := h.connect(v5, "c", clean)
		b := h.dial(v5)
		b.connectAs("c", clean, will(packet.Will{Topic: "t", Payload: make([]byte, 200), Retain: true}))
		b.expectEnd()
		a.expectNothing()
	}, limits(mqtt.Limits{RetainedBytes: 100}))
}
