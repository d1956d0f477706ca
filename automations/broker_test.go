package automations

import (
	"context"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/mqtttest"
)

// A listener is a consumer that notes what rules send, and when.
type listener struct {
	start time.Time
	heard []string
}

func (l *listener) Wants(topic string) bool {
	return strings.HasPrefix(topic, "out/") || topic == "echo"
}
func (l *listener) Prepare(string, []byte) any { return nil }
func (l *listener) Wake(*mqtt.Turn)            {}
func (l *listener) Accept(t *mqtt.Turn, m *mqtt.Message, _ any) {
	l.heard = append(l.heard, time.Since(l.start).String()+" "+m.Topic+" "+string(m.Payload))
}

// house starts a broker and an engine on a store.
func house(t *testing.T, store *mqtttest.Store, l *listener) (*mqtt.Broker, *Engine) {
	engine, err := New(Config{Scan: store.Scan, Ready: store.Ready, Location: time.UTC})
	if err != nil {
		t.Fatal(err)
	}
	b, err := mqtt.New(mqtt.Config{Store: store, Consumers: []mqtt.Consumer{l, engine}})
	if err != nil {
		t.Fatal(err)
	}
	return b, engine
}

// TestInTheBroker plays a wait, a cut in the middle of it, and a rule that
// sets itself off, in the turns of the real broker.
func TestInTheBroker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx := context.Background()
		l := &listener{start: time.Now()}
		store := mqtttest.NewStore()
		b, engine := house(t, store, l)
		echo := simple("Echo", "echo", 0)
		echo.Actions[0].Publish.Topic = "echo"
		err := b.Do(ctx, func(turn *mqtt.Turn) error {
			for _, r := range []Rule{simple("Tea", "ask/+", 3*time.Minute), echo} {
				if _, err := engine.Save(turn, r, "Anna", 0); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		say := func(topic, payload string) {
			t.Helper()
			err := b.Do(ctx, func(turn *mqtt.Turn) error {
				turn.Publish(&mqtt.Message{Topic: topic, Payload: []byte(payload)})
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		say("ask/one", "first")
		time.Sleep(time.Minute)
		say("ask/two", "second")
		time.Sleep(time.Minute)

		cut := store.Reopen(false)
		if err := b.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		b, engine = house(t, cut, l)
		if run := engine.Rule("tea").Status.Last; run == nil || run.Outcome != Waiting || run.Trigger.Payload != "second" {
			t.Fatalf("the run that waits is %+v", run)
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if want := []string{"4m0s out/tea second"}; !slices.Equal(l.heard, want) {
			t.Errorf("rules sent %q, want %q", l.heard, want)
		}

		l.heard = nil
		say("echo", "x")
		synctest.Wait()
		rule := engine.Rule("echo")
		if !strings.HasPrefix(rule.Status.Paused, "Paused: it sets itself off") {
			t.Errorf("a rule that sets itself off is %+v", rule.Status)
		}
		if n := len(l.heard); n < 2 || n > MaxHops+1 {
			t.Errorf("it sent %d messages", n)
		}
		if err := b.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	})
}
