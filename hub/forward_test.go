//go:build !race

package hub

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// The race detector makes pools forget at random: this is tested without it.

// furnish gives the house a sensor, and rules: one that answers in/rule, one
// whose condition does not hold.
func furnish(tb testing.TB, h *Hub) {
	tb.Helper()
	err := h.Do(tb.Context(), func(turn *mqtt.Turn) error {
		for _, r := range []automations.Rule{
			{Name: "Answers", Triggers: []automations.Trigger{{Message: &automations.MessageTrigger{Filter: "in/rule"}}},
				Actions: []automations.Action{{Publish: &automations.PublishAction{Topic: "out/rule", Payload: "{{payload}}"}}}},
			{Name: "Does not", Triggers: []automations.Trigger{{Message: &automations.MessageTrigger{Filter: "in/no"}}},
				Conditions: []automations.Condition{{Payload: &automations.Compare{Op: automations.Equal, Value: automations.Text("never")}}},
				Actions:    []automations.Action{{Publish: &automations.PublishAction{Topic: "out/no", Payload: "x"}}}},
		} {
			r.Enabled = true
			if _, err := h.rules.Save(turn, r, "Jo", 0); err != nil {
				return err
			}
		}
		turn.Publish(&mqtt.Message{Topic: "homeassistant/sensor/air/config", Retain: true, Payload: []byte(
			`{"name":"Air","uniq_id":"air","stat_t":"air/state","val_tpl":"{{ value_json.t }}","unit_of_meas":"°C"}`)})
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
}

// A deaf sink counts what it is given.
type deaf struct{ bytes int }

func (d *deaf) Write(p []byte) (int, error) { d.bytes += len(p); return len(p), nil }
func (d *deaf) WantWrite()                  {}
func (d *deaf) Kill()                       {}
func (d *deaf) Remote() string              { return "127.0.0.1:1" }

// TestForwardingThroughTheHouse holds a message that nobody in the whole hub
// wants to no allocation, and counts those of messages that it does want.
func TestForwardingThroughTheHouse(t *testing.T) {
	h, _ := start(t, t.TempDir())
	furnish(t, h)
	batch := &mqtt.Batch{}
	open := func(id string) (*mqtt.Conn, *deaf) {
		sink := &deaf{}
		c, err := h.broker.Open(sink)
		if err != nil {
			t.Fatal(err)
		}
		feed(t, h, c, batch, packet.Append(nil, packet.V311, &packet.Connect{Version: packet.V311, ClientID: id, CleanStart: true}))
		return c, sink
	}
	sub, heard := open("hears")
	feed(t, h, sub, batch, packet.Append(nil, packet.V311, &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: "#"}}}))
	pub, answered := open("says")
	tests := []struct {
		what, topic string
		payloads    [2]string
		qos         mqtt.QoS
		most        float64
	}{
		{"nobody in the house wants it", "garden/pump/level", [2]string{"1", "2"}, 0, 0},
		{"nobody in the house wants it, QoS 1", "garden/pump/level", [2]string{"1", "2"}, 1, 0},
		{"the state of a device, unchanged", "air/state", [2]string{`{"t":20}`, `{"t":20}`}, 0, 100},
		{"the state of a device, changed", "air/state", [2]string{`{"t":20}`, `{"t":21}`}, 0, 150},
		{"a rule whose condition does not hold", "in/no", [2]string{"1", "2"}, 0, 100},
	}
	for _, tt := range tests {
		var packets [2][]byte
		for i, p := range tt.payloads {
			packets[i] = packet.AppendPublish(nil, packet.V311, &packet.Publish{QoS: tt.qos, PacketID: 1, Topic: []byte(tt.topic), Payload: []byte(p)})
		}
		i := 0
		once := func() {
			i ^= 1
			feed(t, h, pub, batch, packets[i])
		}
		for range 100 {
			once()
		}
		before, acks := heard.bytes, answered.bytes
		n := testing.AllocsPerRun(1000, once)
		if n > tt.most {
			t.Errorf("%s: %v allocations a message, want %v at most", tt.what, n, tt.most)
		}
		t.Logf("%s: %v allocations a message", tt.what, n)
		if came := heard.bytes - before; came < 1000*len(tt.topic) {
			t.Errorf("%s: %d bytes came", tt.what, came)
		}
		if tt.qos > 0 && answered.bytes-acks < 4*1000 {
			t.Errorf("%s: %d bytes of acknowledgements", tt.what, answered.bytes-acks)
		}
	}
}

func feed(t *testing.T, h *Hub, c *mqtt.Conn, batch *mqtt.Batch, p []byte) {
	if err := h.broker.Feed(c, p, batch); err != nil {
		t.Fatal(err)
	}
	h.broker.Flush(batch)
}

// BenchmarkAnswer is a message in and another out, 500 times a second: by a
// rule, and by a client that subscribes and publishes, at the same hub. CPU is
// that of both ends of the sockets.
func BenchmarkAnswer(b *testing.B) {
	h, err := New(Config{Dir: b.TempDir(), MQTT: "127.0.0.1:0", HTTP: "127.0.0.1:0", Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- h.Run(ctx) }()
	defer func() {
		cancel()
		<-ended
	}()
	furnish(b, h)
	calm(b, h)
	dial := func(id string, filters ...string) *wire {
		nc, err := net.Dial("tcp", h.mqttLn.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		w := &wire{b: b, nc: nc, in: make([]byte, 4096)}
		w.write(packet.Append(nil, packet.V311, &packet.Connect{Version: packet.V311, ClientID: id, CleanStart: true}))
		w.next()
		for _, f := range filters {
			w.write(packet.Append(nil, packet.V311, &packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: f}}}))
			w.next()
		}
		return w
	}
	answers := dial("answers", "in/client")
	defer answers.nc.Close()
	go func() {
		for {
			body := answers.next()
			if body == nil {
				return
			}
			answers.write(packet.AppendPublish(nil, packet.V311, &packet.Publish{Topic: []byte("out/client"), Payload: body[2+len("in/client"):]}))
		}
	}()
	asks := dial("asks", "out/+")
	defer asks.nc.Close()
	for _, by := range []string{"rule", "client"} {
		b.Run(by, func(b *testing.B) {
			const gap = time.Second / 500
			var took []time.Duration
			cpu, begun := processTime(), time.Now()
			for i := range b.N {
				if wait := time.Until(begun.Add(time.Duration(i) * gap)); wait > 0 {
					time.Sleep(wait)
				}
				at := time.Now()
				asks.write(packet.AppendPublish(nil, packet.V311, &packet.Publish{Topic: []byte("in/" + by), Payload: fmt.Append(nil, i)}))
				asks.next()
				took = append(took, time.Since(at))
			}
			b.ReportMetric(float64((processTime()-cpu).Microseconds())/float64(b.N), "cpu-us/msg")
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2].Nanoseconds())/1e3, "p50-us")
			b.ReportMetric(float64(took[len(took)*99/100].Nanoseconds())/1e3, "p99-us")
		})
	}
}

// calm waits until a new hub has nothing more to prepare: its store has made
// its ballast.
func calm(b *testing.B, h *Hub) {
	b.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	late := time.After(time.Minute)
	for {
		// It has this name when all of it is on disk.
		if _, err := os.Stat(filepath.Join(h.cfg.Dir, "ballast")); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-late:
			b.Fatal("the store has made no ballast within a minute: is the disk full?")
		}
	}
}

// A wire is a client's connection, read packet by packet.
type wire struct {
	b    *testing.B
	nc   net.Conn
	in   []byte
	r, n int
}

func (w *wire) write(p []byte) {
	if _, err := w.nc.Write(p); err != nil {
		w.b.Error(err)
	}
}

// next returns the body of the next packet, nil at the end.
func (w *wire) next() []byte {
	for {
		if _, body, n, _ := packet.Split(w.in[w.r:w.n], 0); n > 0 {
			w.r += n
			return body
		}
		w.n = copy(w.in, w.in[w.r:w.n])
		w.r = 0
		n, err := w.nc.Read(w.in[w.n:])
		if err != nil {
			return nil
		}
		w.n += n
	}
}

func processTime() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
