package mqtt_test

import (
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// A teller is a consumer that counts the messages of each topic in memory and in
// the store, and says the count. At some payloads it panics when it has done
// half of that. It is rebuilt from the store.
type teller struct {
	h                   *house // of its store
	counts              map[string]int
	seen                []string
	rebuilt             int
	wakes               int
	wakeBad             int // how many of the next wakes panic
	unreadable, settled atomic.Bool
	busy                atomic.Bool // the store, so that it never has all
}

func (*teller) Wants(topic string) bool    { return strings.HasPrefix(topic, "t/") }
func (*teller) Prepare(string, []byte) any { return nil }

func (c *teller) Wake(t *mqtt.Turn) {
	c.wakes++
	t.WakeAt(c, t.Now.Run+time.Minute)
	if c.wakeBad > 0 {
		c.wakeBad--
		t.Write([]byte("tally half"), []byte{1})
		panic("bad wake")
	}
}

func (c *teller) Accept(t *mqtt.Turn, m *mqtt.Message, _ any) {
	retained := ""
	if m.Retained {
		retained = " retained"
	}
	c.seen = append(c.seen, m.Topic+" "+string(m.Payload)+retained)
	c.counts[m.Topic]++
	t.Write([]byte("tally "+m.Topic), []byte{byte(c.counts[m.Topic])})
	t.Publish(&mqtt.Message{Topic: "count/" + m.Topic, Payload: fmt.Append(nil, c.counts[m.Topic])})
	if string(m.Payload) == "half" {
		t.Rebuild()
	}
	if strings.HasPrefix(string(m.Payload), "bad") {
		panic("bad message")
	}
}

// take returns what it has seen since the last time.
func (c *teller) take() (seen string) {
	c.h.Do(c.h.t.Context(), func(*mqtt.Turn) error {
		seen, c.seen = strings.Join(c.seen, ", "), nil
		return nil
	})
	return seen
}

// panicAtWakes has the next wakes panic.
func (c *teller) panicAtWakes(n int) {
	c.h.Do(c.h.t.Context(), func(*mqtt.Turn) error {
		c.wakeBad, c.wakes = n, 0
		return nil
	})
}

func (c *teller) stored() map[string]int {
	counts := map[string]int{}
	c.h.store.Scan([]byte("tally "), nil, func(key, value []byte) bool {
		counts[strings.TrimPrefix(string(key), "tally ")] = int(value[0])
		return true
	})
	return counts
}

func (c *teller) rebuild(t *mqtt.Turn) error {
	if c.unreadable.Load() {
		panic("bad record")
	}
	c.rebuilt++
	c.counts = c.stored()
	c.seen = append(c.seen, "rebuilt")
	return nil
}

// tell runs a test with a teller in a house. expect compares what it has seen
// since the last time, and what it has in memory with the store.
func tell(t *testing.T, test func(t *testing.T, h *house, c *teller, expect func(want ...string)), log *logbook) {
	t.Helper()
	c := &teller{}
	c.settled.Store(true)
	inBubble(t, func(t *testing.T, h *house) {
		c.h = h
		test(t, h, c, func(want ...string) {
			t.Helper()
			synctest.Wait()
			if got, want := c.take(), strings.Join(want, ", "); got != want {
				t.Errorf("it has seen %s\nwant %s", got, want)
			}
			if got, want := fmt.Sprint(c.counts), fmt.Sprint(c.stored()); got != want {
				t.Errorf("it has %s in memory, the store %s", got, want)
			}
		})
	}, func(cfg *mqtt.Config) {
		c.counts = map[string]int{}
		cfg.Consumers = []mqtt.Consumer{c}
		cfg.Rebuild = c.rebuild
		asked := false
		cfg.Settled = func(within time.Duration) bool {
			if c.busy.Load() {
				if within > time.Second { // by a worker, while others go on
					time.Sleep(within)
					return false
				}
				c.h.store.Flush()
				before := asked
				asked = true
				return before
			}
			if !c.settled.Load() && asked { // by a worker: the first time it is under the house's lock
				time.Sleep(within)
			}
			asked = true
			if c.settled.Load() {
				c.h.store.Flush()
			}
			return c.settled.Load()
		}
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	})
}

// TestRebuild has a consumer panic half-way in a message, in a deadline and in a
// form: what it had done of it is dropped, everybody else notices nothing, it is
// made anew from the store and shown what is retained, and goes on.
func TestRebuild(t *testing.T) {
	tell(t, func(t *testing.T, h *house, c *teller, expect func(want ...string)) {
		sub := h.connect(v5, "sub", clean, expiry(1000))
		sub.subscribe(packet.AtLeastOnce, "#")
		pub := h.connect(v311, "pub", clean)
		say := func(topic, payload string, retain bool, count string) {
			t.Helper()
			if retain {
				pub.retain(packet.AtLeastOnce, topic, payload)
			} else {
				pub.publish(packet.AtLeastOnce, topic, payload)
			}
			sub.receive(topic, payload)
			if count != "" {
				sub.receive("count/"+topic, count)
			}
			sub.expectNothing()
		}
		say("t/kept", "x", true, "1")
		say("t/a", "1", false, "1")
		expect("t/kept x", "t/a 1")

		pub.publish(packet.AtLeastOnce, "t/a", "bad") // it is acknowledged
		sub.receive("t/a", "bad")
		sub.receive("count/t/kept", "2") // it is brought again as it is retained
		sub.expectNothing()
		expect("t/a bad", "rebuilt", "t/kept x retained")
		say("t/a", "2", false, "2")
		expect("t/a 2")
		pub.publish(packet.AtLeastOnce, "t/a", "half") // what it did stands
		sub.receive("t/a", "half")
		sub.receive("count/t/a", "3")
		sub.receive("count/t/kept", "3")
		expect("t/a half", "rebuilt", "t/kept x retained")

		time.Sleep(10 * time.Minute)
		synctest.Wait()
		c.panicAtWakes(1)
		time.Sleep(time.Minute)
		sub.receive("count/t/kept", "4")
		expect("rebuilt", "t/kept x retained")
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		if c.wakes < 11 {
			t.Errorf("it was woken %d times in 11 minutes", c.wakes)
		}

		if err := h.Do(t.Context(), func(t *mqtt.Turn) error {
			c.counts["half"] = 7
			t.Write([]byte("tally half"), []byte{8})
			panic("bad form")
		}); err == nil {
			t.Error("the form went well")
		}
		sub.receive("count/t/kept", "5")
		expect("rebuilt", "t/kept x retained")

		h.PanicAfter(&mqtt.Message{Topic: "t/a", Payload: []byte("own")}) // what it had of it is dropped, too
		sub.receive("count/t/kept", "6")
		expect("t/a own", "rebuilt", "t/kept x retained")

		// A retained message at which it panics is not brought again, but after
		// a restart.
		pub.retain(packet.AtLeastOnce, "t/r", "bad")
		sub.receive("t/r", "bad")
		sub.receive("count/t/kept", "7")
		sub.expectNothing()
		expect("t/r bad", "rebuilt", "t/kept x retained")
		h.restart()
		expect("t/kept x retained", "t/r bad retained", "rebuilt", "t/kept x retained")
		if c.rebuilt != 7 {
			t.Errorf("it was rebuilt %d times", c.rebuilt)
		}
	}, &logbook{})
}

// TestPanicsDoNotLoop has a consumer panic at every message of a topic, and at
// every deadline: the topic is not brought to it any more, and when it is rebuilt
// too often it rests for a while, without the others being disturbed.
func TestPanicsDoNotLoop(t *testing.T) {
	log := &logbook{}
	tell(t, func(t *testing.T, h *house, c *teller, expect func(want ...string)) {
		sub := h.connect(v5, "sub", clean, expiry(1000))
		sub.subscribe(packet.AtLeastOnce, "t/+")
		pub := h.connect(v5, "pub", clean)
		for i := range 5 {
			payload := fmt.Sprint("bad", i)
			pub.publish(packet.AtLeastOnce, "t/a", payload)
			sub.receive("t/a", payload)
		}
		expect("t/a bad0", "rebuilt", "t/a bad1", "rebuilt", "t/a bad2", "rebuilt")
		time.Sleep(time.Hour)
		synctest.Wait()

		begun, before := time.Now(), c.rebuilt
		c.panicAtWakes(30)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		if n := c.rebuilt - before; n != 20 {
			t.Errorf("rebuilt %d times, want 20", n)
		}
		if log.count("consumers rest") != 1 || !strings.Contains(h.Resting(), "20 times") {
			t.Errorf("neither the log nor %q says that they rest", h.Resting())
		}
		c.take()
		pub.publish(packet.AtLeastOnce, "t/b", "meanwhile") // it is taken, for the others
		sub.receive("t/b", "meanwhile")
		if got := c.take(); got != "" {
			t.Errorf("while it rests it has seen %s", got)
		}
		time.Sleep(20*time.Minute - time.Since(begun))
		synctest.Wait()
		if c.wakeBad != 0 {
			t.Errorf("%d of the bad deadlines are left", c.wakeBad)
		}
		c.take()
		pub.publish(packet.AtLeastOnce, "t/b", "after")
		sub.receive("t/b", "after")
		expect("t/b after")
		if why := h.Resting(); why != "" {
			t.Errorf("they still rest: %s", why)
		}
	}, log)
}

// TestRebuildWithoutDisk has the store hang, or a record that cannot be read, as a
// consumer panics: until it is rebuilt nothing is decided on what it has in
// memory, no message that is for it for certain is acknowledged, and all others
// are served.
func TestRebuildWithoutDisk(t *testing.T) {
	for _, fault := range []string{"hangs", "cannot be read"} {
		tell(t, func(t *testing.T, h *house, c *teller, expect func(want ...string)) {
			sub := h.connect(v5, "sub", clean)
			sub.subscribe(packet.AtMostOnce, "#")
			pub := h.connect(v5, "pub", clean)
			c.settled.Store(fault != "hangs")
			c.unreadable.Store(fault != "hangs")
			pub.publish(packet.AtLeastOnce, "t/a", "bad")
			sub.receive("t/a", "bad")
			send := func(topic string, want packet.Reason) {
				t.Helper()
				if got := pub.publishWith(&packet.Publish{QoS: packet.AtLeastOnce, Topic: []byte(topic), Payload: []byte("1")}); got != want {
					t.Errorf("PUBLISH to %s is answered with %v, want %v", topic, got, want)
				}
			}
			send("t/a", packet.QuotaExceeded)
			if err := h.Do(t.Context(), func(t *mqtt.Turn) error { return t.Whole() }); err == nil {
				t.Error("a form is told that all is well")
			}
			send("other", packet.Success)
			sub.receive("other", "1")
			pub.publish(packet.AtMostOnce, "t/a", "live")
			sub.receive("t/a", "live")
			time.Sleep(5 * time.Second)
			synctest.Wait()
			if got := c.take(); got != "t/a bad" {
				t.Errorf("it has seen %s", got)
			}
			c.settled.Store(true)
			c.unreadable.Store(false)
			time.Sleep(2 * time.Second)
			send("t/a", packet.Success)
			sub.receive("t/a", "1")
			sub.receive("count/t/a", "1")
			expect("rebuilt", "t/a 1")
			if err := h.Do(t.Context(), func(t *mqtt.Turn) error { return t.Whole() }); err != nil {
				t.Error(err)
			}
		}, &logbook{})
	}
}

// TestRebuildUnderLoad has the store so much to do that it never has all while
// others go on, as a consumer panics: it is rebuilt once the store answers.
func TestRebuildUnderLoad(t *testing.T) {
	tell(t, func(t *testing.T, h *house, c *teller, expect func(want ...string)) {
		away := h.connect(v5, "away", clean, expiry(1000))
		away.subscribe(packet.AtLeastOnce, "load")
		away.disconnect()
		pub := h.connect(v5, "pub", clean)
		c.busy.Store(true)
		pub.publish(packet.AtLeastOnce, "t/a", "bad")
		for range 50 {
			pub.publish(packet.AtLeastOnce, "load", "x")
			time.Sleep(100 * time.Millisecond)
		}
		pub.publish(packet.AtLeastOnce, "t/a", "1")
		expect("t/a bad", "rebuilt", "t/a 1")
	}, &logbook{})
}
