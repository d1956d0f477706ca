package mqtt_test

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestTakeOverRace has many connections take each other's session over at the
// same time, while messages come.
func TestTakeOverRace(t *testing.T) {
	h := newTCPHouse(t, limits(mqtt.Limits{TakeOvers: 1 << 20}))
	c := h.connect(v5, "c", clean, expiry(1000))
	c.subscribe(packet.AtLeastOnce, "a")
	var wait sync.WaitGroup
	for i := range 8 {
		v := []packet.Version{v311, v5}[i%2]
		wait.Go(func() {
			for range 20 {
				nc, err := net.Dial("tcp", h.addr)
				if err != nil {
					t.Error(err)
					return
				}
				b := packet.Append(nil, v, &packet.Connect{Version: v, ClientID: "c", SessionExpiry: 1000, RequestProblemInfo: true})
				b = packet.Append(b, v, &packet.Publish{Topic: []byte("b"), Payload: []byte("x")})
				nc.Write(packet.Append(b, v, &packet.Pingreq{}))
				first := make([]byte, 1)
				if _, err := io.ReadFull(nc, first); err != nil || first[0] != 0x20 {
					// It may have been taken over before its CONNACK.
					if err == nil {
						t.Errorf("packet %x came first", first)
					}
				}
				nc.Close()
			}
		})
	}
	p := h.connect(v5, "p", clean)
	for i := range 200 {
		p.publish(packet.AtLeastOnce, "a", fmt.Sprint(i))
	}
	wait.Wait()
	c = h.connect(v5, "c", expiry(1000))
	if !c.connack.SessionPresent {
		t.Error("the session is gone")
	}
	// Nobody acknowledged anything: all are there, in order.
	for i := range 200 {
		c.receive("a", fmt.Sprint(i))
	}
	c.expectNothing()
}

// TestTCPSleeper floods a client that does not read: another gets everything,
// the sleeper whole packets, and it goes on when it wakes.
func TestTCPSleeper(t *testing.T) {
	h := newTCPHouse(t)
	sleeper, awake, p := h.connect(v5, "sleeper", clean), h.connect(v311, "awake", clean), h.connect(v311, "p", clean)
	sleeper.subscribe(packet.AtMostOnce, "a")
	sleeper.subscribe(packet.AtLeastOnce, "end") // which is not dropped
	awake.subscribe(packet.AtMostOnce, "a")
	sleeper.stopReading()
	payload := strings.Repeat("x", 20_000)
	const messages = 2000
	for i := range messages {
		p.publish(packet.AtMostOnce, "a", fmt.Sprint(i, payload))
		awake.expectPublish("a", fmt.Sprint(i, payload))
	}
	sleeper.startReading()
	p.publish(packet.AtLeastOnce, "end", "end")
	last, n := -1, 0
	for {
		got, ok := sleeper.next().(*packet.Publish)
		if !ok {
			t.Fatal("the connection ended")
		}
		if string(got.Payload) == "end" {
			break
		}
		var i int
		fmt.Sscan(string(got.Payload), &i)
		if i <= last || len(got.Payload) < len(payload) {
			t.Fatalf("message %d of %d bytes came after %d", i, len(got.Payload), last)
		}
		last, n = i, n+1
	}
	if n == messages {
		t.Errorf("all %d messages came: nothing was dropped", n)
	}
}

// TestTCPOrder has many publish to many over TCP at once: what one publisher
// sent with one QoS comes in its order, and all of it.
func TestTCPOrder(t *testing.T) {
	const publishers, subscribers, messages = 8, 8, 200 // a queue holds 1,000
	h := newTCPHouse(t)
	var subs []*client
	for i := range subscribers {
		c := h.connect([]packet.Version{v311, v5}[i%2], fmt.Sprint("s", i), clean)
		c.subscribe(packet.QoS(i%3), "a/#")
		subs = append(subs, c)
	}
	var wait sync.WaitGroup
	for i := range publishers {
		wait.Go(func() {
			nc, err := net.Dial("tcp", h.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer nc.Close()
			b := packet.Append(nil, v311, &packet.Connect{Version: v311, ClientID: fmt.Sprint("p", i), CleanStart: true})
			for j := range messages {
				b = packet.Append(b, v311, &packet.Publish{QoS: packet.QoS(j % 2), PacketID: uint16(j + 1),
					Topic: []byte(fmt.Sprint("a/", i)), Payload: []byte(fmt.Sprint(j))})
			}
			for len(b) > 0 { // cut anywhere
				n := min(len(b), 1+len(b)%1009)
				if _, err := nc.Write(b[:n]); err != nil {
					t.Error(err)
					return
				}
				b = b[n:]
			}
			// CONNACK and a PUBACK for every second one.
			if _, err := io.ReadFull(nc, make([]byte, 4+4*messages/2)); err != nil {
				t.Errorf("publisher %d: %v", i, err)
			}
		})
	}
	for _, c := range subs {
		last := make(map[string]int)
		for range publishers * messages {
			p, ok := c.next().(*packet.Publish)
			if !ok {
				t.Fatalf("%s: messages are missing", c.name)
			}
			var j int
			fmt.Sscan(string(p.Payload), &j)
			key := fmt.Sprint(string(p.Topic), j%2)
			if before, seen := last[key]; j > 1 && (!seen || j != before+2) {
				t.Fatalf("%s: %s: message %d came after %d", c.name, p.Topic, j, before)
			}
			last[key] = j
			if p.QoS == packet.AtLeastOnce {
				c.nc.Write(packet.Append(nil, c.v, ack(packet.PUBACK, p.PacketID)))
			}
		}
		c.expectNothing()
	}
	wait.Wait()
}

// TestLastWordsAreHeard has a client go on sending after it was told to leave, as
// one does that has not looked yet: it may read why, and no write of its fails
// before.
func TestLastWordsAreHeard(t *testing.T) {
	h := newTCPHouse(t, limits(mqtt.Limits{ReceiveMaximum: 1}))
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	b := packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "c", CleanStart: true})
	for id := range uint16(2) {
		b = packet.Append(b, v5, &packet.Publish{QoS: packet.ExactlyOnce, PacketID: id + 1, Topic: []byte("a")})
	}
	nc.Write(b)
	got, err := io.ReadAll(nc)
	if err != nil || !bytes.Contains(got, []byte{0xe0, 1, byte(packet.ReceiveMaximumExceeded)}) {
		t.Errorf("got %x, %v", got, err)
	}
	for range 10 {
		if _, err := nc.Write(packet.Append(nil, v5, ack(packet.PUBREL, 1))); err != nil {
			t.Fatalf("what was sent before the end was seen: %v", err)
		}
	}
}

// TestTakeOverByTheGone has clients ask for a session that changes hands too
// often, and leave while they have to wait: nobody gets it, and who has it stays.
func TestTakeOverByTheGone(t *testing.T) {
	h := newTCPHouse(t, limits(mqtt.Limits{TakeOvers: 2, TakeOverWait: 20 * time.Millisecond, Connections: 2}))
	connect := packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "c", CleanStart: true})
	for range 2 {
		h.connect(v5, "c", clean)
	}
	c := h.connect(v5, "c", clean)
	nc, err := net.Dial("tcp", h.addr)
	if err != nil {
		t.Fatal(err)
	}
	nc.Write(connect)
	nc.Close()
	for h.LimitsReached()["take_overs"] == 0 {
		runtime.Gosched()
	}
	// There is room for another connection as soon as that one is gone.
	other := packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "other", CleanStart: true})
	for first := []byte{0}; first[0] != 0x20; {
		nc, err := net.Dial("tcp", h.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		nc.Write(other)
		nc.Read(first)
	}
	c.expectNothing()
}

// TestReadyTogether has one client subscribe and then another publish, both
// before the broker gets to read, as it is on a busy machine. The runtime hands
// out last what came first; the message reaches the subscriber all the same.
func TestReadyTogether(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // nobody reads while this writes
	h := newTCPHouse(t)
	sub, pub := h.connect(v311, "s", clean), h.connect(v311, "p", clean)
	const rounds = 20
	got := 0
	for i := range rounds {
		time.Sleep(5 * time.Millisecond) // nothing goes on for a while
		topic := fmt.Sprint("t/", i)
		subscribe := packet.Append(nil, v311, &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: topic}}})
		publish := packet.Append(nil, v311, &packet.Publish{Topic: []byte(topic)})
		sub.nc.Write(subscribe)
		pub.nc.Write(publish)
		pub.nc.Write(packet.Append(nil, v311, &packet.Pingreq{}))
		pub.expect(&packet.Pingresp{})
		sub.nc.Write(packet.Append(nil, v311, &packet.Pingreq{}))
		for {
			p := sub.next()
			if _, ok := p.(*packet.Publish); ok {
				got++
			}
			if _, ok := p.(*packet.Pingresp); ok || p == nil {
				break
			}
		}
	}
	if got < rounds*3/4 { // nothing is promised, so some may be missed
		t.Errorf("of %d messages that were sent after the subscription %d came", rounds, got)
	}
}

// TestGoneWithLastBytes has a client leave, without a word or by breaking off,
// while the broker is still busy with what it sent before: its last bytes and
// its end are there together. Its will comes at once, not a keep-alive later.
func TestGoneWithLastBytes(t *testing.T) {
	tests := []struct {
		name, network string
		leave         func(nc net.Conn)
	}{
		{"closed", "tcp", func(nc net.Conn) { nc.Close() }},
		{"half closed", "tcp", func(nc net.Conn) { nc.(*net.TCPConn).CloseWrite() }},
		{"reset", "tcp", func(nc net.Conn) { nc.(*net.TCPConn).SetLinger(0); nc.Close() }},
		{"closed, Unix", "unix", func(nc net.Conn) { nc.Close() }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			busy, goOn := make(chan struct{}), make(chan struct{})
			h := newTCPHouse(t, func(cfg *mqtt.Config) {
				cfg.Authorize = func(_, _ string, a mqtt.Access, topic string) bool {
					if a == mqtt.MayPublish && topic == "busy" {
						close(busy)
						<-goOn
					}
					return true
				}
			})
			address := h.addr
			if tt.network == "unix" {
				address = t.TempDir() + "/mqtt.sock"
				ln, err := net.Listen("unix", address)
				if err != nil {
					t.Fatal(err)
				}
				go h.Serve(ln)
			}
			w := h.connect(v5, "w", clean)
			w.subscribe(packet.AtMostOnce, "#")
			nc, err := net.Dial(tt.network, address)
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			nc.Write(packet.Append(nil, v5, &packet.Connect{Version: v5, ClientID: "c", CleanStart: true,
				Will: &packet.Will{Topic: "will", Payload: []byte("gone")}}))
			if _, err := io.ReadFull(nc, make([]byte, 4)); err != nil {
				t.Fatal(err)
			}
			nc.Write(packet.Append(nil, v5, &packet.Publish{Topic: []byte("busy")}))
			<-busy
			nc.Write(packet.Append(nil, v5, &packet.Publish{Topic: []byte("last")}))
			tt.leave(nc)
			close(goOn)
			w.receive("busy", "")
			if tt.name != "reset" { // which may take the last bytes with it
				w.receive("last", "")
				w.receive("will", "gone")
				return
			}
			for p := w.next(); ; p = w.next() {
				if p, ok := p.(*packet.Publish); !ok || string(p.Topic) != "last" {
					if !ok || string(p.Topic) != "will" {
						t.Errorf("%v came in the place of the will", p)
					}
					return
				}
			}
		})
	}
}
