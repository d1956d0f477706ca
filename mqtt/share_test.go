package mqtt_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt/packet"
)

// take acknowledges what has come, and returns the payloads in their order.
func (c *client) take() (got []string) {
	c.t.Helper()
	for p := c.next(); p != nil; p = c.next() {
		pub, ok := p.(*packet.Publish)
		if !ok {
			c.t.Fatalf("client %q: got %s", c.name, show(p))
		}
		got = append(got, string(pub.Payload))
		switch pub.QoS {
		case packet.AtLeastOnce:
			c.send(ack(packet.PUBACK, pub.PacketID))
		case packet.ExactlyOnce:
			c.send(ack(packet.PUBREC, pub.PacketID))
			c.takeAck(packet.PUBREL, pub.PacketID)
			c.send(ack(packet.PUBCOMP, pub.PacketID))
		}
	}
	return got
}

// TestShareMemberLeaves has a member of a shared subscription leave with
// messages: table 6.4 of our notes on the standard.
func TestShareMemberLeaves(t *testing.T) {
	tests := []struct {
		name  string
		qos   packet.QoS
		kept  bool // the member's session outlives its connection
		other bool // the other member's session, too
		ends  bool // its session ends
		moves int  // of five messages, two of which were sent
	}{
		{"QoS 1, connection ends", 1, true, false, false, 3},
		{"QoS 1, session ends", 1, true, false, true, 5},
		{"QoS 1, session ends with the connection", 1, false, false, true, 5},
		{"QoS 2, connection ends", 2, true, false, false, 3},
		{"QoS 2, session ends", 2, true, false, true, 3},
		{"QoS 2, session ends with the connection", 2, false, true, true, 3},
		{"QoS 2, connection ends, to a kept session", 2, true, true, false, 3},
		{"QoS 1, session ends, to a kept session", 1, true, true, true, 5},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			shows(t, "V5_4_8_2_4 V5_4_8_2_5", func(t *testing.T, h *house) {
				options := []option{receiveMaximum(2)}
				if tt.kept {
					options = append(options, expiry(100))
				}
				member := h.connect(v5, "member", options...)
				member.subscribe(tt.qos, "$share/g/a")
				p := h.connect(v5, "p", clean)
				for i := range 5 {
					p.publish(tt.qos, "a", fmt.Sprint(i))
				}
				options = []option{clean}
				if tt.other {
					options = append(options, expiry(1000))
				}
				other := h.connect(v5, "other", options...)
				other.subscribe(tt.qos, "$share/g/a")
				member.cut()
				if tt.ends && tt.kept {
					time.Sleep(103 * time.Second)
				}
				time.Sleep(2 * time.Second)
				got := other.take()
				if len(got) != tt.moves || !slices.Contains(got, "4") {
					t.Errorf("the other member got %q, want %d of them", got, tt.moves)
				}
				member = h.connect(v5, "member", expiry(100))
				want := 5 - tt.moves
				if tt.ends {
					want = 0 // QoS 2 that was sent is dropped
				}
				if got := member.take(); len(got) != want {
					t.Errorf("the member got %q after it came back, want %d", got, want)
				}
				if tt.other {
					h.kill(true)
					if got := h.connect(v5, "other", expiry(1000)).take(); len(got) != 0 {
						t.Errorf("after a power cut the other member got %q again", got)
					}
				}
			})
		})
	}
}

// TestShareBacklogMoves leaves more than the broker holds in memory when the
// session of a member ends.
func TestShareBacklogMoves(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const messages = 900
		member := h.connect(v311, "member")
		member.subscribe(packet.ExactlyOnce, "$share/g/a")
		member.cut()
		p := h.connect(v5, "p", clean)
		for i := range messages {
			p.publish(packet.QoS(1+i%2), "a", fmt.Sprint(i))
		}
		other := h.connect(v5, "other", clean, expiry(100))
		other.subscribe(packet.ExactlyOnce, "$share/g/a")
		other.expectNothing() // they wait for the one that was chosen
		h.connect(v311, "member", clean)
		time.Sleep(5 * time.Second)
		for i, got := range other.take() {
			if got != fmt.Sprint(i) {
				t.Fatalf("message %d is %s", i, got)
			}
			if i == messages-1 {
				return
			}
		}
		t.Error("not all messages came")
	})
}

// TestShareBacklogMovesFromDisk has a member leave, but not its session, with
// more than the broker holds in memory: all that was not sent goes to one who
// is there, and comes back to nobody.
func TestShareBacklogMovesFromDisk(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		const messages, sent = 900, 2
		member := h.connect(v5, "member", expiry(1000), receiveMaximum(sent))
		member.subscribe(packet.ExactlyOnce, "$share/g/a")
		p := h.connect(v5, "p", clean)
		for i := range messages {
			p.publish(packet.QoS(1+i%2), "a", fmt.Sprint(i))
		}
		time.Sleep(2 * time.Second)
		other := h.connect(v5, "other", clean)
		other.subscribe(packet.ExactlyOnce, "$share/g/a")
		member.cut()
		time.Sleep(5 * time.Second)
		got := other.take()
		if len(got) != messages-sent || got[0] != fmt.Sprint(sent) || !slices.IsSortedFunc(got, byNumber) {
			t.Errorf("the other got %d messages, want the last %d in their order: %q", len(got), messages-sent, got[:min(10, len(got))])
		}
		other.disconnect()
		h.kill(true)
		member = h.connect(v5, "member", expiry(1000))
		if got := member.take(); !slices.Equal(got, []string{"0", "1"}) {
			t.Errorf("the member got %q, want the two it had been sent", got)
		}
	})
}

func byNumber(a, b string) int {
	var x, y int
	fmt.Sscan(a, &x)
	fmt.Sscan(b, &y)
	return x - y
}

// TestCutWhileShareMoves cuts the power around the moves: no message with QoS 1
// is lost, none with QoS 2 comes twice.
func TestCutWhileShareMoves(t *testing.T) {
	eachCut(t, 5, func(t *testing.T, h *house) {
		member, other := h.connect(v5, "member", expiry(100), receiveMaximum(1)), h.connect(v5, "other", expiry(1000))
		member.subscribe(packet.ExactlyOnce, "$share/g/a")
		p := h.connect(v5, "p", clean, expiry(1000))
		for i := range 4 {
			p.publish(packet.QoS(1+i%2), "a", fmt.Sprint(i))
		}
		other.subscribe(packet.ExactlyOnce, "$share/g/a")
		member.cut()
		time.Sleep(110 * time.Second)
	}, func(t *testing.T, h *house, turn int, last bool) {
		got := map[string]int{}
		for _, id := range []string{"other", "member"} {
			for _, m := range h.connect(v5, id, expiry(1000)).take() {
				got[m]++
			}
		}
		for i := range 4 {
			if n := got[fmt.Sprint(i)]; n > 1 || last && n == 0 {
				t.Errorf("message %d came %d times", i, n)
			}
		}
	})
}

// TestShareInTurn has members of two shared subscriptions get messages one
// after the other, beginning with who subscribed first; one that goes is passed
// over.
func TestShareInTurn(t *testing.T) {
	inBubble(t, func(t *testing.T, h *house) {
		members := make(map[string]*client)
		for _, name := range []string{"a", "b", "c"} {
			members[name] = h.connect(v5, name, clean)
			members[name].subscribe(packet.AtMostOnce, "$share/hall/lamp")
		}
		for _, name := range []string{"b", "a"} {
			members[name].subscribe(packet.AtMostOnce, "$share/attic/lamp")
		}
		p := h.connect(v5, "p", clean)
		round := func(first int, want ...string) {
			t.Helper()
			for i := range want {
				p.publish(packet.AtMostOnce, "lamp", fmt.Sprint(first+i))
			}
			for name, c := range members {
				var expect []string
				for i, who := range want {
					for range strings.Count(who, name) {
						expect = append(expect, fmt.Sprint(first+i))
					}
				}
				if got := c.take(); !slices.Equal(got, expect) {
					t.Errorf("%s got %q, want %q", name, got, expect)
				}
			}
		}
		round(1, "ab", "ba", "cb", "aa")
		members["b"].disconnect()
		delete(members, "b")
		round(5, "ca", "aa", "ca")
	})
}
