package mqtt_test

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
)

// A rememberer is a consumer that wants one prefix and notes what is retained,
// and when the publisher of what is live had connected.
type rememberer struct {
	found []string
	since time.Duration
}

func (*rememberer) Wants(topic string) bool    { return strings.HasPrefix(topic, "r/") }
func (*rememberer) Prepare(string, []byte) any { return nil }
func (*rememberer) Wake(*mqtt.Turn)            {}
func (r *rememberer) Accept(_ *mqtt.Turn, m *mqtt.Message, _ any) {
	if m.Retained {
		r.found = append(r.found, m.Topic)
	} else {
		r.since = m.Connected
	}
}

// TestRecall has retained messages brought to a consumer that has had them, and
// only those it asks for, small and large, once for each time it asks.
func TestRecall(t *testing.T) {
	said, other := &rememberer{}, &rememberer{}
	inBubble(t, func(t *testing.T, h *house) {
		time.Sleep(time.Minute)
		p := h.connect(v5, "p", clean)
		p.retain(1, "r/a", "1")
		p.retain(1, "r/b", strings.Repeat("y", 100_000))
		p.retain(1, "r/c/d", "3")
		p.retain(1, "x/e", "4")
		if said.since < time.Minute {
			t.Errorf("the publisher connected at %v", said.since)
		}
		ask := func(filters ...string) string {
			said.found = nil
			h.Do(context.Background(), func(t *mqtt.Turn) error {
				for _, f := range filters {
					t.Recall(said, f)
				}
				t.Rewire()
				return nil
			})
			synctest.Wait()
			return strings.Join(said.found, " ")
		}
		for _, tt := range [][3]string{{"r/+", "", "r/a r/b"}, {"r/c/d", "x/#", "r/c/d"}, {"none", "", ""}, {"r/b", "#", "r/a r/b r/c/d"}} {
			if got := ask(tt[:2]...); got != tt[2] {
				t.Errorf("Recall(%q, %q) brings %q, want %q", tt[0], tt[1], got, tt[2])
			}
		}
		if len(other.found) > 0 {
			t.Errorf("a consumer that did not ask was brought %v", other.found)
		}
	}, func(c *mqtt.Config) { c.Consumers = []mqtt.Consumer{said, other} }, limits(mqtt.Limits{RetainedLargeBytes: 1 << 20}))
}

// TestShowGivesWay has other long work come up while all retained messages are
// brought to a consumer, and only one worker to do both, as on a small machine.
// It does not wait until the last message was brought.
func TestShowGivesWay(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	const all = 1000
	seen, seenByOther := 0, -1
	said := &asked{accept: func(t *mqtt.Turn) {
		if seen++; seen == 1 {
			t.Later(func() { seenByOther = seen }) // with one processor, nobody else looks
		}
	}}
	inBubble(t, func(t *testing.T, h *house) {
		p := h.connect(v5, "p", clean)
		for i := range all {
			p.retain(0, "r/"+strconv.Itoa(i), "x")
		}
		h.Do(context.Background(), func(t *mqtt.Turn) error {
			t.Recall(said, "r/#")
			seen = 0
			t.Rewire()
			return nil
		})
		synctest.Wait()
		if seen != all || seenByOther < 0 || seenByOther > all/2 {
			t.Errorf("of %d messages %d came, %d before the other work was done", all, seen, seenByOther)
		}
	}, func(c *mqtt.Config) { c.Consumers = []mqtt.Consumer{said} })
}

// An asked is a consumer that counts what is retained.
type asked struct{ accept func(t *mqtt.Turn) }

func (*asked) Wants(string) bool          { return true }
func (*asked) Prepare(string, []byte) any { return nil }
func (*asked) Wake(*mqtt.Turn)            {}
func (a *asked) Accept(t *mqtt.Turn, m *mqtt.Message, _ any) {
	if m.Retained {
		a.accept(t)
	}
}
