package mqtt_test

import (
	"bufio"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// TestPublisherPauses has a publisher send far more than a queue holds, as
// fast as it is read, to a subscriber that takes a message a millisecond:
// nothing is dropped. A subscriber that takes nothing slows it by no more than
// a moment.
func TestPublisherPauses(t *testing.T) {
	for name, takes := range map[string]bool{"takes": true, "takes nothing": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, h *house) {
				const messages = 5000
				near, far := net.Pipe()
				go h.ServeConn(far)
				near.Write(packet.Append(nil, packet.V311, &packet.Connect{Version: packet.V311, ClientID: "slow", CleanStart: true}))
				near.Write(packet.Append(nil, packet.V311, &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "t", QoS: 1}}}))
				in := bufio.NewReader(near)
				head := make([]byte, 4+5)
				for n := 0; n < len(head); {
					m, err := in.Read(head[n:])
					if err != nil {
						t.Fatal(err)
					}
					n += m
				}
				came := make(chan int, 1)
				go func() {
					n := 0
					defer func() { came <- n }()
					publish := make([]byte, len(packet.Append(nil, packet.V311, &packet.Publish{QoS: 1, PacketID: 1, Topic: []byte("t"), Payload: []byte("x")})))
					for takes && n < messages {
						for got := 0; got < len(publish); {
							m, err := in.Read(publish[got:])
							if err != nil {
								return
							}
							got += m
						}
						n++
						time.Sleep(time.Millisecond)
						near.Write([]byte{0x40, 2, publish[5], publish[6]})
					}
				}()
				p := h.connect(v5, "p", clean)
				begun := time.Now()
				for range messages {
					p.send(&packet.Publish{QoS: packet.AtLeastOnce, PacketID: 1, Topic: []byte("t"), Payload: []byte("x")})
				}
				took := time.Since(begun)
				if takes {
					if n := <-came; n != messages {
						t.Errorf("%d messages came, want %d", n, messages)
					}
				} else if took > 10*time.Second {
					t.Errorf("a subscriber that takes nothing slowed the publisher by %v", took)
				}
				synctest.Wait()
				near.Close()
			})
		})
	}
}

// TestPauseAtTheLimit fills a queue to the part at which publishers pause, and
// with one message more, and measures how long who feeds it is not read: as
// long as the subscriber takes of it often enough, and never longer than is
// set. Once it was that long, nobody waits for that subscriber for a while.
func TestPauseAtTheLimit(t *testing.T) {
	ping, ack := packet.Append(nil, v5, &packet.Pingreq{}), packet.Append(nil, v5, &packet.Ack{Kind: packet.PUBREC, PacketID: 1})
	for _, tt := range []struct {
		sends []byte // by the subscriber, who has every message in flight
		every time.Duration
		want  time.Duration
	}{
		{nil, 0, 40 * time.Millisecond},
		{ack, 36 * time.Millisecond, 300 * time.Millisecond},
		{ack, 50 * time.Millisecond, 40 * time.Millisecond},
		{ping, 36 * time.Millisecond, 40 * time.Millisecond}, // busy with something else
	} {
		inBubble(t, func(t *testing.T, h *house) {
			s := h.connect(v5, "s", clean)
			s.subscribe(packet.ExactlyOnce, "t")
			p := h.connect(v5, "p", clean)
			read := func(messages int) time.Duration {
				begun := time.Now()
				for range messages {
					p.sendRaw(packet.Append(nil, v5, &packet.Publish{QoS: packet.ExactlyOnce, PacketID: p.nextID(), Topic: []byte("t")}))
				}
				p.sendRaw(ping) // is read once the pause is over
				return time.Since(begun)
			}
			if took := read(5); took != 0 {
				t.Errorf("a queue that is half full slowed the publisher by %v", took)
			}
			stop := make(chan struct{})
			if tt.every > 0 {
				go func() {
					for tick := time.NewTicker(tt.every); ; {
						select {
						case <-tick.C:
							s.nc.Write(tt.sends)
						case <-stop:
							return
						}
					}
				}()
			}
			if took := read(1); took < tt.want || took > tt.want+10*time.Millisecond {
				t.Errorf("%x came every %v: a pause of %v, want %v", tt.sends, tt.every, took, tt.want)
			}
			if tt.want == 300*time.Millisecond {
				if took := read(1); took > 10*time.Millisecond {
					t.Errorf("in vain once more: a pause of %v", took)
				}
				time.Sleep(3 * time.Second)
				if took := read(1); took < tt.want {
					t.Errorf("a while later: a pause of %v, want %v", took, tt.want)
				}
			}
			close(stop)
			time.Sleep(2 * time.Second)
			if n := len(s.drain()); n < 6 {
				t.Errorf("%d packets came, want 6 messages", n)
			}
		}, limits(mqtt.Limits{QueueMessages: 10, PausePercent: 50, PauseTakes: 40 * time.Millisecond, PauseLongest: 300 * time.Millisecond}))
	}
	inBubble(t, func(t *testing.T, h *house) {
		s := h.connect(v5, "s", clean)
		s.subscribe(packet.AtLeastOnce, "t")
		p := h.connect(v5, "p", clean)
		begun := time.Now()
		for range 10 {
			p.publish(packet.AtLeastOnce, "t", "x")
		}
		p.send(&packet.Pingreq{})
		if took := time.Since(begun); took != 0 {
			t.Errorf("with 100 percent the publisher paused %v", took)
		}
	}, limits(mqtt.Limits{QueueMessages: 10, PausePercent: 100}))
}
