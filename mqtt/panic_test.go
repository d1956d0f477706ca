package mqtt_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// A careless consumer has work done later that panics.
type careless struct{}

func (careless) Wants(topic string) bool    { return topic == "careless" }
func (careless) Prepare(string, []byte) any { return nil }
func (careless) Wake(*mqtt.Turn)            {}
func (careless) Accept(t *mqtt.Turn, m *mqtt.Message, _ any) {
	if len(m.Payload) > 0 {
		t.Write([]byte("kept"), m.Payload)
	}
	t.Later(func() { panic("later") })
	t.Durable(func() { panic("durable") })
}

// TestOwnPanics has the broker's own work panic: in a worker, in a deadline,
// and in what consumers have put off. Each is logged with its stack, nothing
// of its turn goes out, and the house goes on.
func TestOwnPanics(t *testing.T) {
	book := &logbook{}
	inBubble(t, func(t *testing.T, h *house) {
		w := h.connect(v5, "w", clean, expiry(1000))
		w.subscribe(packet.AtLeastOnce, "#")
		goesOn := func(want uint64) {
			t.Helper()
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if n := h.Panics(); n != want {
				t.Errorf("%d panics, want %d", n, want)
			}
			if n := book.count("level=ERROR msg=panic"); n != int(want) {
				t.Errorf("%d panics in the log, want %d", n, want)
			}
			w.publish(packet.AtLeastOnce, "own", "x")
			w.receive("own", "x")
			w.expectNothing()
		}
		h.PanicJob()
		goesOn(1)
		for range 10 { // no more than there are workers
			h.PanicJob()
		}
		goesOn(11)
		h.PanicAt(0)
		goesOn(12)
		for _, payload := range []string{"", "x"} { // a turn that writes nothing of its own, and one that does
			w.publish(packet.AtLeastOnce, "careless", payload)
			w.receive("careless", payload)
		}
		goesOn(16)
		p := h.connect(v5, "p", clean)
		p.publish(packet.AtMostOnce, "careless", "")
		w.receive("careless", "")
		goesOn(18)
		if book.count("panicking") < 12 {
			t.Error("the log does not say where")
		}
	}, func(c *mqtt.Config) {
		c.Log = slog.New(slog.NewTextHandler(book, nil))
		c.Consumers = []mqtt.Consumer{careless{}}
	})
}
