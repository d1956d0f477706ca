package mqtt_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"

	"lar.home/mqtt/packet"
)

// TestTakeOverRace has many connections take each other's session over at the
// same time, while messages come.
func TestTakeOverRace(t *testing.T) {
	h := newTCPHouse(t)
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
