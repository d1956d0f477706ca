package automations

import (
	"fmt"
	"sync"
	"testing"

	"lar.home/mqtt"
)

// TestIndexFollowsRules states that what is remembered of topics is as the
// rules are: after a rule came, was switched off or went, with more topics than
// are remembered, and while others ask.
func TestIndexFollowsRules(t *testing.T) {
	k := newKit(t)
	asked := make(chan struct{})
	var asking sync.WaitGroup
	for n := range 2 {
		asking.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-asked:
					return
				default:
					k.engine.Wants(fmt.Sprint("other/", n, i%100))
					k.engine.Prepare("home/1/state", []byte("x"))
				}
			}
		})
	}
	wants := func(want bool) {
		t.Helper()
		for i := range maxKnownTopics + 100 {
			if k.engine.Wants(fmt.Sprint("garden/", i)) {
				t.Fatal("a topic of nobody is wanted")
			}
		}
		for range 2 {
			if got := k.engine.Wants("home/1/state"); got != want {
				t.Fatalf("wanted is %v, want %v", got, want)
			}
			before := len(k.engine.Runs("rule"))
			k.publish(mqtt.Message{Topic: "home/1/state", Payload: []byte("x")})
			if after := len(k.engine.Runs("rule")); (after > before) != want {
				t.Fatalf("it ran %d times, wanted %v", after-before, want)
			}
		}
	}
	wants(false)
	r := k.mustSave(simple("Rule", "home/+/state", 0), 0)
	wants(true)
	k.turn(func(t *mqtt.Turn) { k.engine.SetEnabled(t, r.ID, false, "Anna") })
	wants(false)
	k.turn(func(t *mqtt.Turn) { k.engine.SetEnabled(t, r.ID, true, "Anna") })
	wants(true)
	r.Triggers = []Trigger{{Message: &MessageTrigger{Filter: "cellar/+"}}}
	r = k.mustSave(*r, r.Version)
	wants(false)
	close(asked)
	asking.Wait()
}
