package mqtt_test

import (
	"fmt"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// A forgetful store takes all that is given to it, and forgets it. It says at
// once that it is durable, or if it is held, when it is asked to.
type forgetful struct {
	durable func(uint64)
	last    uint64
	held    bool
}

func (*forgetful) Scan(_, _ []byte, _ func(k, v []byte) bool) error { return nil }
func (*forgetful) Lazy([]mqtt.Write)                                {}
func (*forgetful) Ready() error                                     { return nil }
func (f *forgetful) Durable(fn func(uint64))                        { f.durable = fn }

func (f *forgetful) Submit(number uint64, _ []mqtt.Write, _ bool) {
	if f.last = number; !f.held {
		go f.durable(number)
	}
}

// BenchmarkQueue is what the broker itself does for a message of QoS 1 to a
// client that is away: from the bytes that were read to the PUBACK, without
// network and disk. 20 messages come by one read, 80 are on their way to the
// disk.
func BenchmarkQueue(b *testing.B) {
	const sessions, publishers, window = 50, 4, 20
	store := &forgetful{}
	broker, err := mqtt.New(mqtt.Config{Store: store, Limits: mqtt.Limits{QueueMessages: 1 << 40, QueueBytes: 1 << 50, AllQueuesBytes: 1 << 50}})
	if err != nil {
		b.Fatal(err)
	}
	defer broker.Shutdown(b.Context())
	var batch mqtt.Batch
	feed := func(c *mqtt.Conn, p []byte) {
		if err := broker.Feed(c, p, &batch); err != nil {
			b.Fatal(err)
		}
		broker.Flush(&batch)
	}
	open := func(p *packet.Connect, more ...packet.Packet) (*mqtt.Conn, *sink) {
		s := &sink{}
		c, err := broker.Open(s)
		if err != nil {
			b.Fatal(err)
		}
		p.Version = packet.V311
		feed(c, packet.Append(nil, p.Version, p))
		for _, m := range more {
			feed(c, packet.Append(nil, p.Version, m))
		}
		return c, s
	}
	topic := func(i int) string { return fmt.Sprintf("house/queue/%d/state", i) }
	for i := range sessions {
		c, _ := open(&packet.Connect{ClientID: fmt.Sprint("away", i)},
			&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: topic(i), QoS: 1}}})
		broker.Close(c, &batch)
		broker.Flush(&batch)
	}
	conns, sinks := make([]*mqtt.Conn, publishers), make([]*sink, publishers)
	reads := make([][]byte, sessions)
	for i := range publishers {
		conns[i], sinks[i] = open(&packet.Connect{ClientID: fmt.Sprint("pub", i), CleanStart: true})
	}
	for i := range reads {
		for k := range window {
			reads[i] = packet.Append(reads[i], packet.V311, &packet.Publish{QoS: 1, PacketID: uint16(k + 1),
				Topic: []byte(topic((i*window + k) % sessions)), Payload: make([]byte, 64)})
		}
	}
	store.held = true
	defer func() { store.held = false }()
	before := sinks[0].bytes
	b.ReportAllocs()
	b.ResetTimer()
	for n := 0; n < b.N; n += publishers * window {
		for i, c := range conns {
			feed(c, reads[(n/window+i)%len(reads)])
		}
		store.durable(store.last)
	}
	b.StopTimer()
	if got, want := sinks[0].bytes-before, (b.N+publishers*window-1)/(publishers*window)*window*4; got != want {
		b.Fatalf("%d bytes of acknowledgements, want %d", got, want)
	}
}
