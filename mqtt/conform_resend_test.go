package mqtt_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

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
