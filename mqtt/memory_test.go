package mqtt_test

import (
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// heap returns the bytes of the heap that are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what pools held
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// deafSubscribers connects clients that subscribe and then take nothing.
// With piped set they come by a transport that is not a socket, as TLS is.
func deafSubscribers(t *testing.T, h *house, n int, qos packet.QoS, piped bool) {
	t.Helper()
	for i := range n {
		var nc net.Conn
		var err error
		if piped {
			var server net.Conn
			nc, server = net.Pipe()
			go h.ServeConn(server)
		} else if nc, err = net.Dial("tcp", h.addr); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		b := packet.Append(nil, v311, &packet.Connect{Version: v311, ClientID: fmt.Sprint("deaf", qos, piped, i), CleanStart: i%2 == 0})
		b = packet.Append(b, v311, identified(filters(qos, "big"), 1))
		if _, err := nc.Write(b); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(nc, make([]byte, 4+5)); err != nil { // CONNACK, SUBACK
			t.Fatal(err)
		}
	}
}

// TestLargeMessageForMany has a message of the largest size go to clients that
// take nothing: it is in memory once, whatever the transport, and somebody who
// reads gets it.
func TestLargeMessageForMany(t *testing.T) {
	h := newTCPHouse(t, limits(mqtt.Limits{WriteStall: time.Hour, ConnectSize: 1 << 20}))
	const each = 17
	for qos := range packet.QoS(3) {
		deafSubscribers(t, h, each, qos, false)
		deafSubscribers(t, h, each, qos, true)
	}
	good := h.connect(v5, "good", clean)
	good.subscribe(packet.AtLeastOnce, "big")
	p := h.connect(v5, "p", clean)
	before := heap()
	payload := strings.Repeat("x", 8<<20-100)
	for qos := range packet.QoS(3) {
		p.publish(qos, "big", payload)
		good.receive("big", payload)
	}
	h.store.Flush()
	// The test's own copies of what it sent and got, and the store's, which
	// is memory here, come to some 70 MB.
	if grown := heap() - before; grown > 150<<20 {
		t.Errorf("three messages of 8 MiB for 102 clients take %d MiB", grown>>20)
	}
	if counted, _ := h.Memory(); counted > 40<<20 {
		t.Errorf("%d MiB of messages are counted", counted>>20)
	}
}

// TestMemoryOfMessages fills the memory for messages in each of the ways there
// are, and looks that it keeps to its limit, and that a client that reads gets
// all that was acknowledged.
func TestMemoryOfMessages(t *testing.T) {
	const most, size, slack = 2 << 20, 100_000, 500_000
	inBubble(t, func(t *testing.T, h *house) {
		check := func(when string) {
			t.Helper()
			time.Sleep(3 * time.Second)
			if counted, _ := h.Memory(); counted > most+slack {
				t.Errorf("%s: %d bytes of messages in memory, want at most %d", when, counted, most)
			}
		}
		payload := func(i int) string { return fmt.Sprint(i, strings.Repeat("x", size)) }
		p := h.connect(v5, "p", clean)
		h.connect(v311, "away").subscribe(packet.ExactlyOnce, "t/#")
		h.clients[len(h.clients)-1].cut()
		for i := range 30 {
			deaf := h.connect(v311, fmt.Sprint("deaf", i), func(p *packet.Connect) { p.CleanStart = i%2 == 0 })
			deaf.subscribe(packet.QoS(i%3), "t/#")
			deaf.stopReading()
		}
		silent := h.connect(v311, "silent") // takes all and acknowledges nothing
		silent.subscribe(packet.AtLeastOnce, "t/#")
		check("before")
		good := h.connect(v311, "good")
		good.subscribe(packet.AtLeastOnce, "t/#")
		const messages = 60
		for i := range messages {
			p.publish(packet.QoS(1+i%2), "t/1", payload(i))
			good.receive("t/1", payload(i))
		}
		check("after QoS 1 and 2")
		for i := range messages {
			p.publish(packet.AtMostOnce, "t/0", payload(i))
			if m := good.expectPublish("t/0", payload(i)); m.QoS != 0 {
				t.Errorf("QoS %d came", m.QoS)
			}
		}
		check("after QoS 0")
		good.expectNothing()
		silent.cut()
		check("after a client has gone")
		silent = h.connect(v311, "silent")
		for i := range messages {
			if m := silent.receive("t/1", payload(i)); m.Dup != (i < 20) {
				t.Errorf("message %d came with DUP %v", i, m.Dup)
			}
		}
		away := h.connect(v311, "away")
		for i := range messages {
			if m := away.receive("t/1", payload(i)); m.Dup {
				t.Errorf("message %d for who was away came with DUP", i)
			}
		}
		check("after all")
	}, limits(mqtt.Limits{MessageBytes: most, WindowBytes: 2_010_000, WriteStall: time.Hour}))
}

// TestLargeRetainedOnDisk keeps large retained messages, which lie on disk and
// not in memory, and shows them to many clients, in both versions, before and
// after a restart.
func TestLargeRetainedOnDisk(t *testing.T) {
	said := &recorder{}
	inBubble(t, func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		payload := func(i int) string { return fmt.Sprint(i, strings.Repeat("y", 70_000+i)) }
		const topics = 9
		want := make([]string, topics)
		for i := range topics {
			want[i] = payload(i)
			p.retain(packet.QoS(i%3), fmt.Sprintf("r/%d", i), want[i])
		}
		p.retain(1, "r/small", "small")
		show := func(when string) {
			t.Helper()
			time.Sleep(20 * time.Second)
			if counted, _ := h.Memory(); counted != 0 {
				t.Errorf("%s: %d bytes are in memory", when, counted)
			}
			var clients []*client
			for i := range 40 {
				v := []packet.Version{v311, v5}[i%2]
				c := h.connect(v, fmt.Sprint(when, i), clean, receiveMaximum(2))
				c.subscribe(packet.QoS(i/2%3), "r/#")
				clients = append(clients, c)
			}
			time.Sleep(5 * time.Second)
			for i, c := range clients {
				for j, w := range want {
					if w == "" {
						continue
					}
					m := c.receive(fmt.Sprintf("r/%d", j), w)
					if !m.Retain || m.QoS != min(packet.QoS(j%3), packet.QoS(i/2%3)) {
						t.Errorf("%s: client %d got %s", when, i, m.Topic)
					}
				}
				c.receive("r/small", "small")
				c.expectNothing()
				c.disconnect()
			}
			found, _, more := h.Retained("r/#", "", 0)
			var got []string
			for _, m := range found {
				got = append(got, string(m.Payload))
			}
			if joined := strings.Join(append(want[:topics:topics], "small"), ""); more || strings.Join(got, "") != joined {
				t.Errorf("%s: browsing finds %d, more %v", when, len(found), more)
			}
		}
		show("first")
		h.restart()
		show("restarted")
		h.kill(true)
		show("after a cut")
		p = h.connect(v5, "p", clean)
		want[1], want[4], want[7] = "", payload(77), ""
		p.retain(0, "r/1", "")
		p.retain(1, "r/4", want[4])
		p.publishWith(&packet.Publish{QoS: 1, Retain: true, Topic: []byte("r/7"), Payload: []byte(payload(7)), HasExpiry: true, Expiry: 5})
		// While a client is shown what is retained, a live message replaces one
		// that lies on disk: nothing older comes behind it.
		c := h.connect(v5, "c", clean, receiveMaximum(1))
		c.subscribe(packet.AtLeastOnce, "r/#")
		want[5] = "new"
		p.retain(2, "r/5", "new")
		synctest.Wait()
		for m := c.next(); m != nil; m = c.next() {
			if m := m.(*packet.Publish); string(m.Topic) == "r/5" && string(m.Payload) != "new" {
				t.Error("an older message came after a newer one")
			} else if m.QoS == 1 {
				c.send(ack(packet.PUBACK, m.PacketID))
			}
		}
		show("changed")
		if said.large == 0 {
			t.Error("the house was not shown large retained messages")
		}
	}, func(c *mqtt.Config) { c.Consumers = []mqtt.Consumer{said} }, limits(mqtt.Limits{RetainedLargeBytes: 1 << 20}))
}

// A recorder is a consumer that looks at retained messages.
type recorder struct{ large int }

func (*recorder) Wants(topic string) bool    { return strings.HasPrefix(topic, "r/") }
func (*recorder) Prepare(string, []byte) any { return true }
func (*recorder) Wake(*mqtt.Turn)            {}
func (r *recorder) Accept(_ *mqtt.Turn, m *mqtt.Message, _ any) {
	if m.Retained && len(m.Payload) > 64<<10 && strings.HasSuffix(string(m.Payload), "yyy") {
		r.large++
	}
}
