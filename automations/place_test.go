package automations

import (
	"testing"
	"time"

	"lar.home/mqtt"
)

// TestSetPlace holds that a running engine follows the sun and the clock of
// the place it is told, and does nothing twice as the place changes.
func TestSetPlace(t *testing.T) {
	k := newKit(t)
	const sun = "name: Dusk\ntriggers: [{sun: {event: sunset}}]\nactions: [{publish: {topic: lamp, payload: on}}]\n"
	const clock = "name: Eight\ntriggers: [{time: {at: '20:00'}}]\nactions: [{publish: {topic: eight}}]\n"
	save := func(text string) error {
		given := ParseYAML([]byte(text))[0]
		if len(given.Problems) > 0 {
			t.Fatal(given.Problems)
		}
		return k.do(func(turn *mqtt.Turn) error { _, err := k.engine.Save(turn, given.Rule, "Anna", 0); return err })
	}
	if err := save(sun); err == nil {
		t.Fatal("a rule that follows the sun is taken where the home is not known")
	}
	if err := save(clock); err != nil {
		t.Fatal(err)
	}
	move := func(zone string, lat, lon float64) {
		location, err := time.LoadLocation(zone)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.do(func(turn *mqtt.Turn) error {
			k.engine.SetPlace(turn, Place{Known: true, Latitude: lat, Longitude: lon}, location)
			return nil
		}); err != nil {
			t.Fatal(err)
		}
	}
	ran := func(id string) (at []string) {
		for _, r := range k.engine.Runs(id) {
			if r.Outcome == Done {
				at = append(at, r.Started.UTC().Format("15:04"))
			}
		}
		return at
	}
	move("Europe/Berlin", 52.52, 13.405)
	if err := save(sun); err != nil {
		t.Fatal(err)
	}
	k.until(k.wall.Add(8 * time.Hour)) // 20:00 UTC; sunset in Berlin is at 16:47 UTC on 2 March
	if got := ran("dusk"); len(got) != 1 || got[0] < "16:45" || got[0] > "16:50" {
		t.Errorf("the sun set in Berlin at %v", got)
	}
	if got := ran("eight"); len(got) != 1 || got[0] != "19:00" {
		t.Errorf("it was eight in Berlin at %v UTC", got)
	}
	// To a place where the sun sets later, and 20:00 is later, today.
	move("America/New_York", 40.7, -74)
	k.until(k.wall.Add(10 * time.Hour))
	if got := ran("dusk"); len(got) != 2 || got[0] < "22:45" || got[0] > "22:52" {
		t.Errorf("the sun set in New York at %v", got)
	}
	if got := ran("eight"); len(got) != 2 || got[0] != "01:00" {
		t.Errorf("it was eight in New York at %v UTC", got)
	}
}
