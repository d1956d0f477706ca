package mqtt_test

import (
	"bufio"
	"net"
	"testing"
	"testing/synctest"
	"time"

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
