package mqtt_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt/packet"
)

// eachCut plays a scenario once for each of its turns, cuts the power right
// after that turn, with and without what was lazily written by then, starts
// again on what the disk shows and lets verify look. from is the
// first turn to cut after, turn the number of the turn within the scenario; last tells that it was the last: all of it is on
// disk.
func eachCut(t *testing.T, from int, scenario func(t *testing.T, h *house), verify func(t *testing.T, h *house, turn int, last bool)) {
	turns := 2 // the first is the broker's own, at its start
	for i := 1 + from; i <= 1+from || i < turns; i++ {
		for _, lazies := range []bool{false, true} {
			t.Run(fmt.Sprintf("turn %d lazies %v", i-1, lazies), func(t *testing.T) {
				inBubble(t, func(t *testing.T, h *house) {
					scenario(t, h)
					synctest.Wait()
					all := h.store.Turns()
					turns = len(all)
					h.killTo(h.store.At(all[i], lazies))
					verify(t, h, i-1, i == turns-1)
				})
			})
		}
	}
}

// TestCutWithDelayedWill cuts around the loss of a client whose will is
// delayed: the will goes out once, and not at another time, unless the client
// comes back before.
func TestCutWithDelayedWill(t *testing.T) {
	for _, back := range []bool{false, true} {
		t.Run(fmt.Sprintf("back %v", back), func(t *testing.T) {
			w := will(packet.Will{Topic: "will", Payload: []byte("gone"), QoS: 1, Delay: 300})
			eachCut(t, 0, func(t *testing.T, h *house) {
				c := h.connect(v5, "c", clean, expiry(1000), w)
				time.Sleep(20 * time.Second) // longer than lazy writes take
				c.cut()
				time.Sleep(100 * time.Second)
			}, func(t *testing.T, h *house, turn int, last bool) {
				watcher := h.connect(v5, "watcher", clean)
				watcher.subscribe(packet.AtLeastOnce, "will")
				time.Sleep(180 * time.Second) // 280 s after the loss
				watcher.expectNothing()
				if back {
					h.connect(v5, "c", expiry(1000))
					time.Sleep(time.Hour)
					watcher.expectNothing()
					return
				}
				time.Sleep(22 * time.Second)
				if last {
					watcher.receive("will", "gone") // 300 s after the loss, whatever happened between
				} else {
					// The loss is not on disk: the delay begins with the start.
					time.Sleep(200 * time.Second)
					if in := watcher.drain(); len(in) > 1 {
						t.Fatalf("the will came %d times", len(in))
					}
				}
				time.Sleep(time.Hour)
				watcher.expectNothing()
			})
		})
	}
}

// TestCutWithSessionExpiry cuts while a session is offline: it ends when it
// would have ended, not later, [MQTT-4.1.0-2].
func TestCutWithSessionExpiry(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late %v", late), func(t *testing.T) {
			eachCut(t, 0, func(t *testing.T, h *house) {
				c := h.connect(v5, "c", clean, expiry(200))
				c.subscribe(packet.AtLeastOnce, "t")
				c.cut()
				time.Sleep(100 * time.Second)
			}, func(t *testing.T, h *house, turn int, last bool) {
				wait, want := 95*time.Second, true
				if late {
					wait, want = 105*time.Second, false
				}
				time.Sleep(wait)
				if !last && late {
					time.Sleep(100 * time.Second) // the loss is not on disk: counted from the start
				}
				got := h.connect(v5, "c", expiry(200)).connack.SessionPresent
				if got != want && !(turn == 0 && !got) {
					t.Errorf("session present: %v, want %v", got, want)
				}
			})
		})
	}
}

// TestCutWithMessageExpiry cuts while a message waits that expires: what it has
// left goes on shrinking, [MQTT-3.3.2-6].
func TestCutWithMessageExpiry(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("late %v", late), func(t *testing.T) {
			eachCut(t, 0, func(t *testing.T, h *house) {
				c := h.connect(v5, "c", clean, expiry(10_000))
				c.subscribe(packet.AtLeastOnce, "t")
				c.cut()
				p := h.connect(v5, "p", clean)
				p.publishWith(&packet.Publish{QoS: 1, Topic: []byte("t"), Payload: []byte("x"), HasExpiry: true, Expiry: 100})
				p.publishWith(&packet.Publish{QoS: 1, Retain: true, Topic: []byte("r"), Payload: []byte("y"), HasExpiry: true, Expiry: 100})
				time.Sleep(50 * time.Second)
			}, func(t *testing.T, h *house, turn int, last bool) {
				if !last {
					return
				}
				if late {
					time.Sleep(51 * time.Second)
				} else {
					time.Sleep(30 * time.Second)
				}
				c := h.connect(v5, "c", expiry(10_000))
				r := h.connect(v5, "r", clean)
				r.subscribe(packet.AtLeastOnce, "r")
				if late {
					c.expectNothing()
					r.expectNothing()
					return
				}
				for _, p := range []*packet.Publish{c.receive("t", "x"), r.receive("r", "y")} {
					if !p.HasExpiry || p.Expiry < 19 || p.Expiry > 20 {
						t.Errorf("%s: %d s are left, want 20", p.Topic, p.Expiry)
					}
				}
			})
		})
	}
}

// TestCutAfterUnsubscribe cuts around UNSUBSCRIBE: once it was answered nothing
// more is queued, [MQTT-3.10.4-2], and until then everything is.
func TestCutAfterUnsubscribe(t *testing.T) {
	eachCut(t, 0, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean, expiry(1000))
		c.subscribe(packet.AtLeastOnce, "a", "b")
		c.unsubscribe("a")
	}, func(t *testing.T, h *house, turn int, last bool) {
		p := h.connect(v5, "p", clean)
		for _, topic := range []string{"a", "b"} {
			p.publish(packet.AtLeastOnce, topic, "x")
		}
		c := h.connect(v5, "c", expiry(1000))
		switch turn {
		case 0:
			c.expectNothing() // only the CONNECT is on disk
		case 1:
			c.receive("a", "x")
			c.receive("b", "x")
		default:
			c.receive("b", "x")
		}
		c.expectNothing()
	})
}

// TestCutAtTakeOver cuts around a take-over: the session and what is in flight
// in it are there whatever the moment.
func TestCutAtTakeOver(t *testing.T) {
	eachCut(t, 0, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean, expiry(1000))
		c.subscribe(packet.ExactlyOnce, "t")
		p := h.connect(v5, "p", clean)
		p.publish(packet.AtLeastOnce, "t", "1")
		p.publish(packet.ExactlyOnce, "t", "2")
		c.expectPublish("t", "1")
		h.connect(v5, "c", expiry(1000))
		p.publish(packet.AtLeastOnce, "t", "3")
	}, func(t *testing.T, h *house, turn int, last bool) {
		c := h.connect(v5, "c", expiry(1000))
		if turn > 0 && !c.connack.SessionPresent {
			t.Fatal("the session is gone")
		}
		count := 0
		for i := 1; i <= 3; i++ {
			if in := c.next(); in != nil {
				p := in.(*packet.Publish)
				count++
				if string(p.Payload) != fmt.Sprint(i) || p.PacketID != uint16(i) {
					t.Errorf("%q came with identifier %d, want %d", p.Payload, p.PacketID, i)
				}
			}
		}
		if last && count != 3 {
			t.Errorf("%d messages came, want 3", count)
		}
	})
}

// TestCutAtExpiryOfASession cuts while a session that has ended is swept: it
// does not come back, and what it left belongs to no later one.
func TestCutAtExpiryOfASession(t *testing.T) {
	eachCut(t, 602, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean, expiry(100))
		c.subscribe(packet.AtLeastOnce, "t")
		c.cut()
		p := h.connect(v5, "p", clean)
		for i := range 600 {
			p.publish(packet.AtLeastOnce, "t", fmt.Sprint(i))
		}
		time.Sleep(200 * time.Second)
	}, func(t *testing.T, h *house, turn int, last bool) {
		if turn < 603 {
			return // the session was there until then
		}
		time.Sleep(time.Second)
		c := h.connect(v5, "c", expiry(100))
		if c.connack.SessionPresent {
			t.Fatal("the session is back")
		}
		c.expectNothing()
		p := h.connect(v5, "p", clean)
		p.publish(packet.AtLeastOnce, "t", "x")
		c.expectNothing()
		if last {
			for _, kind := range []string{"q", "f"} {
				h.store.Scan([]byte(kind), nil, func(key, _ []byte) bool {
					t.Errorf("%x is left", key)
					return false
				})
			}
		}
	})
}
