package hub

import (
	"errors"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/hub/config"
	"lar.home/mqtt"
	"lar.home/ui"
)

// TestPlaceIsKept holds that the place is durable, that the configuration file
// counts more, and that a hub which knows it takes rules that follow the sun.
func TestPlaceIsKept(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	sun := automations.ParseYAML([]byte("name: Dusk\ntriggers: [{sun: {event: sunset}}]\nconditions: [{sun: {below: 3}}]\nactions: [{publish: {topic: lamp, payload: on}}]\n"))[0]
	save := func() error {
		return h.Do(t.Context(), func(turn *mqtt.Turn) error { _, err := h.rules.Save(turn, sun.Rule, "Anna", 0); return err })
	}
	if err := save(); err == nil {
		t.Fatal("a rule that follows the sun is taken where the home is not known")
	}
	if err := h.settings.SetPlace(t.Context(), ui.Place{Known: true, Latitude: 91}); !isSetting(err, "latitude") {
		t.Errorf("latitude 91: %v", err)
	}
	if err := h.settings.SetPlace(t.Context(), ui.Place{Zone: "Europe/Nowhere"}); !isSetting(err, "zone") {
		t.Errorf("no such zone: %v", err)
	}
	want := ui.Place{Known: true, Latitude: 52.52, Longitude: 13.405, Zone: "Asia/Kathmandu"}
	if err := h.settings.SetPlace(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if err := save(); err != nil {
		t.Fatal(err)
	}
	stop()

	h, stop = start(t, dir)
	if got := h.settings.Place(); got != want {
		t.Errorf("after a restart the place is %+v, want %+v", got, want)
	}
	if r := h.rules.Rule("dusk"); r == nil || len(r.Status.Problems) > 0 {
		t.Errorf("after a restart the rule is %+v", r)
	}
	stop()

	fixed, err := placeOf(config.Home{Latitude: "-36.8", Longitude: "174.7"})
	if err != nil {
		t.Fatal(err)
	}
	h, err = New(Config{Dir: dir, MQTT: "127.0.0.1:0", HTTP: config.Off, Home: config.Home{Latitude: "-36.8", Longitude: "174.7"}})
	if err != nil {
		t.Fatal(err)
	}
	defer h.abandon()
	if got := h.settings.Place(); got.Latitude != fixed.Latitude || !got.FixedPosition || got.FixedZone || got.Zone != want.Zone {
		t.Errorf("with a configuration file the place is %+v", got)
	}
	zone, _ := time.LoadLocation(want.Zone)
	if got := h.settings.Location().String(); got != zone.String() {
		t.Errorf("the zone is %s", got)
	}
	if _, err := placeOf(config.Home{Latitude: "5"}); err == nil {
		t.Error("a latitude alone is taken")
	}
	if _, err := placeOf(config.Home{Zone: "Mars/Base"}); err == nil {
		t.Error("a zone that does not exist is taken")
	}
}

func isSetting(err error, field string) bool {
	wrong, ok := errors.AsType[*ui.SettingError](err)
	return ok && wrong.Field == field
}
