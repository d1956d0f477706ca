package hub

import (
	"testing"

	"lar.home/automations"
	"lar.home/mqtt"
)

// TestRestartWithClockRule holds that a hub which comes back with a rule of
// the clock answers: the turn that plans it writes nothing, and must not ask
// for itself for ever.
func TestRestartWithClockRule(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	rule := automations.ParseYAML([]byte("name: Eight\ntriggers: [{time: {at: '20:00'}}]\nactions: [{publish: {topic: eight}}]\n"))[0]
	err := h.Do(t.Context(), func(turn *mqtt.Turn) error {
		_, err := h.rules.Save(turn, rule.Rule, "Anna", 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	stop()
	h, stop = start(t, dir)
	c := client(t, h, "lamp")
	heard := hears(t, c, "a")
	wait(t, c.Publish("a", 1, false, "b"))
	expect(t, heard, "a b")
	stop()
}
