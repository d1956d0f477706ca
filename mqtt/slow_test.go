package mqtt_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestSlowSender sends packets byte by byte.
func TestSlowSender(t *testing.T) {
	showsBoth(t, "SEC_11", "SEC_11", func(t *testing.T, h *house, v packet.Version) {
		w := h.connect(v5, "w", clean)
		w.subscribe(packet.AtMostOnce, "#")
		publish := func(size int) []byte {
			return packet.Append(nil, v, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, size)})
		}
		c := h.connect(v, "c", clean, will(packet.Will{Topic: "will", Payload: []byte("gone")}))
		// 100 kB may take 20 s, however they are cut.
		for range 3 {
			p := publish(100_000)
			c.sendRaw(p[:1])
			time.Sleep(9 * time.Second)
			c.sendRaw(p[1:50_000])
			time.Sleep(9 * time.Second)
			c.sendRaw(append(p[50_000:], 0xc0)) // and the next one begins
			w.expectPublish("t", string(make([]byte, 100_000)))
			time.Sleep(9 * time.Second)
			c.sendRaw([]byte{0})
			c.expect(&packet.Pingresp{})
		}
		for _, b := range publish(100)[:9] {
			c.sendRaw([]byte{b})
			time.Sleep(time.Second)
			c.expectNothing()
		}
		time.Sleep(2 * time.Second)
		c.expectClosed(packet.UnspecifiedError)
		w.receive("will", "gone")
	})
}

// TestSlowReader has a client that takes nothing. Nobody waits for it, it is
// owed no more than its limits say, and it is dropped in the end.
func TestSlowReader(t *testing.T) {
	showsBoth(t, "SEC_10 SEC_09", "SEC_10 SEC_09", func(t *testing.T, h *house, v packet.Version) {
		slow := h.connect(v, "slow", expiry(1000), will(packet.Will{Topic: "will", Payload: []byte("gone"), QoS: 1}))
		slow.subscribe(packet.AtLeastOnce, "t/#")
		quick := h.connect(v, "quick", clean)
		quick.subscribe(packet.AtLeastOnce, "#")
		p := h.connect(v, "p", clean)
		slow.stopReading()
		payload := strings.Repeat("x", 100_000)
		for i := range 300 {
			p.publish(packet.QoS(i%2), "t/"+fmt.Sprint(i), payload)
			quick.receive("t/"+fmt.Sprint(i), payload)
		}
		time.Sleep(14 * time.Second)
		quick.expectNothing()
		time.Sleep(3 * time.Second)
		quick.receive("will", "gone")
		slow.nc.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := slow.nc.Write([]byte{0xc0, 0}); err == nil {
			t.Error("the connection is still open")
		}
		slow = h.connect(v, "slow", expiry(1000))
		n := 0
		for _, p := range slow.drain() {
			p := p.(*packet.Publish)
			slow.send(&packet.Ack{Kind: packet.PUBACK, PacketID: p.PacketID})
			n++
		}
		for {
			p, ok := slow.next().(*packet.Publish)
			if !ok {
				break
			}
			slow.send(&packet.Ack{Kind: packet.PUBACK, PacketID: p.PacketID})
			n++
		}
		// 4 MiB hold 41 of them; 20 were in flight.
		if n < 20 || n > 41 {
			t.Errorf("%d messages were kept", n)
		}
		slow.expectNothing()
	}, limits(mqtt.Limits{QueueBytes: 4 << 20, Window: 20}))
	// The connection of a client that takes nothing ends soon when another
	// takes its session over.
	showsBoth(t, "V5_3_14_4_2", "V311_3_1_4_2", func(t *testing.T, h *house, v packet.Version) {
		slow := h.connect(v, "slow", clean)
		slow.subscribe(packet.AtMostOnce, "t")
		slow.stopReading()
		p := h.connect(v, "p", clean)
		for range 10 {
			p.publish(packet.AtMostOnce, "t", strings.Repeat("x", 10_000))
		}
		h.connect(v, "slow", clean)
		time.Sleep(5 * time.Second)
		slow.nc.SetWriteDeadline(time.Now().Add(time.Second))
		if _, err := slow.nc.Write([]byte{0xc0, 0}); err == nil {
			t.Error("the connection is still open")
		}
	})
}

// TestStuckStore floods a connection whose lane of messages waits for the
// disk.
func TestStuckStore(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.subscribe(packet.ExactlyOnce, "#")
		kept := h.connect(v5, "kept", clean, expiry(100))
		kept.subscribe(packet.ExactlyOnce, "#")
		p := h.connect(v5, "p", clean)
		h.store.Hold()
		p.send(&packet.Publish{QoS: 2, PacketID: 1, Topic: []byte("t"), Payload: []byte("held")})
		for range 2000 {
			p.send(&packet.Publish{Topic: []byte("t"), Payload: []byte("x")})
		}
		c.expectNothing()
		h.store.Resume()
		c.expectPublish("t", "held")
		if n := len(c.drain()); n != 999 {
			t.Errorf("%d messages waited, want 999", n)
		}
		p.publish(packet.AtMostOnce, "t", "y")
		c.expectPublish("t", "y")
	})
}

// TestRetainedInSlices shows more than a socket takes to a client of each QoS.
func TestRetainedInSlices(t *testing.T) {
	showsBoth(t, "SEC_26", "SEC_26", func(t *testing.T, h *house, v packet.Version) {
		const messages = 600
		p := h.connect(v5, "p", clean)
		large := strings.Repeat("x", 50<<10)
		for i := range messages {
			p.retain(packet.QoS(i%2), fmt.Sprintf("t/%03d", i), large)
		}
		for qos := range packet.QoS(3) {
			c := h.connect(v, "c", clean)
			c.subscribe(qos, "t/#")
			for i := range messages {
				c.receive(fmt.Sprintf("t/%03d", i), large)
			}
			c.expectNothing()
		}
	})
}

// TestRetainedDeadlines replaces a retained message that expires again and
// again: what expires no more is forgotten.
func TestRetainedDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		for range 100 {
			c.publishWith(&packet.Publish{Retain: true, Topic: []byte("t"), Payload: []byte("x"), HasExpiry: true, Expiry: 1e6})
		}
		if n := h.Deadlines(); n > 5 {
			t.Errorf("%d deadlines are armed", n)
		}
	})
}

// A fragileStore panics when it is asked whether it is ready.
type fragileStore struct {
	mqtt.Store
	broken bool
}

func (s *fragileStore) Ready() error {
	if s.broken {
		panic("the store is broken")
	}
	return nil
}

// TestPanic has the broker panic under the house's lock: one connection ends.
func TestPanic(t *testing.T) {
	showsBoth(t, "SEC_02", "SEC_02", func(t *testing.T, h *house, v packet.Version) {
		h.stop()
		store := &fragileStore{Store: h.store}
		h.config.Store = store
		b, err := mqtt.New(h.config)
		if err != nil {
			t.Fatal(err)
		}
		h.Broker = b
		a := h.connect(v, "a", expiry(100))
		a.subscribe(packet.AtLeastOnce, "t")
		p, q := h.connect(v, "p", clean), h.connect(v, "q", clean)
		store.broken = true
		p.send(&packet.Publish{QoS: 1, PacketID: 1, Topic: []byte("t")})
		p.expectEnd()
		h.dial(v).connectAs("new", expiry(100))
		store.broken = false
		q.publish(packet.AtLeastOnce, "t", "x")
		a.receive("t", "x")
		a.expectNothing()
	})
}

// TestPanicInLaterWork has work panic that a turn has put off: nobody else
// notices.
func TestPanicInLaterWork(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		c.subscribe(packet.AtMostOnce, "t")
		done := make(chan struct{})
		if err := h.Do(t.Context(), func(t *mqtt.Turn) error {
			t.Later(func() { panic("a mistake in a consumer") })
			t.Later(func() { close(done) })
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		<-done
		c.publish(packet.AtMostOnce, "t", "x")
		c.receive("t", "x")
	})
}

// TestMaximumPacketSize is about what a client takes, to the byte.
func TestMaximumPacketSize(t *testing.T) {
	size := func(p *packet.Publish) uint32 { return uint32(packet.PublishSize(v5, p)) }
	for _, online := range []bool{true, false} {
		for _, topic := range []string{"t", strings.Repeat("t", 100)} {
			for _, payload := range []int{25, 26, 30, 120, 121, 122, 16_276, 16_374} {
				shows(t, "V5_3_1_2_24 V5_3_1_2_25 V5_4_9_0_2", func(t *testing.T, h *house) {
					fits := &packet.Publish{QoS: 1, Topic: []byte(topic), Payload: make([]byte, payload), PacketID: 1}
					over := *fits
					over.Payload = make([]byte, payload+1)
					limit := size(fits)
					connect := func() *client {
						return h.connect(v5, "c", expiry(100), receiveMaximum(1), maximumPacketSize(limit))
					}
					c := connect()
					c.subscribe(packet.AtLeastOnce, "#")
					if !online {
						c.cut()
					}
					p := h.connect(v5, "p", clean)
					for range 3 {
						p.publish(packet.AtLeastOnce, topic, string(over.Payload))
						p.publish(packet.AtMostOnce, topic, string(over.Payload)+"xx")
						p.publish(packet.AtLeastOnce, topic, string(fits.Payload))
					}
					if !online {
						c = connect()
					}
					for range 3 {
						c.receive(topic, string(fits.Payload))
					}
					c.expectNothing()
				})
			}
		}
	}
	shows(t, "V5_3_1_2_24", func(t *testing.T, h *house) {
		c := h.dial(v5)
		if ack := c.connectAs("c", clean, maximumPacketSize(10)); ack != nil {
			t.Errorf("got a CONNACK that is too large: %+v", ack)
		}
		c.expectEnd()
		c = h.connect(v5, "c", clean, maximumPacketSize(30))
		c.send(&packet.Subscribe{PacketID: 1, Filters: make30()})
		c.expectEnd()
	})
	shows(t, "V5_3_2_2_15", func(t *testing.T, h *house) {
		c := h.connect(v5, "c", clean)
		limit := int(c.connack.MaximumPacketSize)
		overhead := packet.PublishSize(v5, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, limit-100)}) - (limit - 100)
		c.publish(packet.AtMostOnce, "t", string(make([]byte, limit-overhead)))
		c.expectNothing()
		c.publish(packet.AtMostOnce, "t", string(make([]byte, limit-overhead+1)))
		c.expectClosed(packet.PacketTooLarge)
	}, limits(mqtt.Limits{PacketSize: 20_000}))
}

// make30 returns filters whose SUBACK takes more than 30 bytes.
func make30() (filters []packet.Subscription) {
	for i := range 30 {
		filters = append(filters, packet.Subscription{Filter: fmt.Sprint(i)})
	}
	return filters
}

// TestDeletesHoldNothing shows that what a client acknowledges, which is
// deleted from disk within a second, does not hold what it is told next.
func TestDeletesHoldNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		c := h.connect(v5, "c", expiry(100))
		c.subscribe(packet.AtLeastOnce, "a")
		for range 5 {
			c.publish(packet.AtLeastOnce, "a", "x")
			c.receive("a", "x")
			c.publish(packet.AtLeastOnce, "nobody/wants/it", "x")
			c.unsubscribe("never/there")
		}
	})
}
