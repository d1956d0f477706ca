package mqtt_test

import (
	"fmt"
	"testing"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
	"lar.home/mqtt/packet"
)

// A sink swallows what the broker writes, and notes the last packet
// identifier, so that a test can acknowledge without allocating.
type sink struct {
	bytes int
	id    uint16
	qos   mqtt.QoS
}

func (s *sink) Write(p []byte) (int, error) {
	s.bytes += len(p)
	if len(p) > 4 && packet.Type(p[0]>>4) == packet.PUBLISH && s.qos > 0 {
		at := 4 + int(p[2])<<8 + int(p[3])
		s.id = uint16(p[at])<<8 | uint16(p[at+1])
	}
	return len(p), nil
}
func (s *sink) WantWrite()     {}
func (s *sink) Kill()          {}
func (s *sink) Remote() string { return "127.0.0.1:1" }

// unconcerned is a consumer that wants no messages, as those of the house are
// for most topics.
type unconcerned struct{}

func (unconcerned) Wants(string) bool                     { return false }
func (unconcerned) Prepare(string, []byte) any            { return nil }
func (unconcerned) Accept(*mqtt.Turn, *mqtt.Message, any) {}
func (unconcerned) Wake(*mqtt.Turn)                       {}

// A forwarder is a publisher and its subscribers, without a network.
type forwarder struct {
	b     *mqtt.Broker
	batch mqtt.Batch
	pub   *mqtt.Conn
	subs  []*mqtt.Conn
	sinks []*sink
	bytes []byte
	ack   []byte
	qos   mqtt.QoS
}

func newForwarder(tb testing.TB, v packet.Version, qos mqtt.QoS, subs int, change ...option) *forwarder {
	b, err := mqtt.New(mqtt.Config{Store: mqtttest.NewStore(), Consumers: []mqtt.Consumer{unconcerned{}, unconcerned{}}})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { b.Shutdown(tb.Context()) })
	f := &forwarder{b: b, qos: qos, ack: []byte{0x40, 2, 0, 0}}
	open := func(id string, s *sink, more ...packet.Packet) *mqtt.Conn {
		c, err := b.Open(s)
		if err != nil {
			tb.Fatal(err)
		}
		p := &packet.Connect{Version: v, ClientID: id, CleanStart: true, ReceiveMaximum: 1000}
		for _, fn := range change {
			fn(p)
		}
		f.feed(tb, c, packet.Append(nil, v, p))
		for _, p := range more {
			f.feed(tb, c, packet.Append(nil, v, p))
		}
		s.qos = qos
		return c
	}
	f.pub = open("pub", &sink{})
	for i := range subs {
		s := &sink{}
		f.sinks = append(f.sinks, s)
		f.subs = append(f.subs, open(fmt.Sprint("sub", i), s,
			&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "house/hall/+", QoS: qos}}}))
	}
	f.bytes = packet.Append(nil, v, &packet.Publish{QoS: qos, PacketID: 7, Topic: []byte("house/hall/lamp"), Payload: make([]byte, 64)})
	return f
}

func (f *forwarder) feed(tb testing.TB, c *mqtt.Conn, p []byte) {
	if err := f.b.Feed(c, p, &f.batch); err != nil {
		tb.Fatal(err)
	}
	f.b.Flush(&f.batch)
}

// once publishes a message and acknowledges every copy of it.
func (f *forwarder) once(tb testing.TB) {
	f.feed(tb, f.pub, f.bytes)
	if f.qos == mqtt.AtMostOnce {
		return
	}
	for i, c := range f.subs {
		f.ack[2], f.ack[3] = byte(f.sinks[i].id>>8), byte(f.sinks[i].id)
		f.feed(tb, c, f.ack)
	}
}

func BenchmarkForward(b *testing.B) {
	for _, qos := range []mqtt.QoS{mqtt.AtMostOnce, mqtt.AtLeastOnce} {
		for _, subs := range []int{1, 100} {
			b.Run(fmt.Sprintf("qos=%d/subs=%d", qos, subs), func(b *testing.B) {
				f := newForwarder(b, packet.V311, qos, subs)
				b.ReportAllocs()
				for b.Loop() {
					f.once(b)
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*subs), "ns/copy")
			})
		}
	}
}
