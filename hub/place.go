package hub

import (
	"context"
	"errors"
	"strconv"
	"time"

	"lar.home/automations"
	"lar.home/hub/config"
	"lar.home/hub/settings"
	"lar.home/mqtt"
	"lar.home/ui"
)

// placeOf reads what the configuration says of the place of the home.
func placeOf(c config.Home) (p ui.Place, err error) {
	if (c.Latitude == "") != (c.Longitude == "") {
		return p, errors.New("the place of the home wants both latitude and longitude in [home]")
	}
	p = ui.Place{Known: c.Latitude != "", Zone: c.Zone}
	if p.Known {
		p.Latitude, _ = strconv.ParseFloat(c.Latitude, 64) // they were checked
		p.Longitude, _ = strconv.ParseFloat(c.Longitude, 64)
	}
	if err := settings.Check(p); err != nil {
		return p, errors.New("the place of the home: " + err.Error())
	}
	return p, nil
}

// rulesPlace is a place as automations know it.
func rulesPlace(p ui.Place) automations.Place {
	return automations.Place{Known: p.Known, Latitude: p.Latitude, Longitude: p.Longitude}
}

// moved tells the automations within the turn that changes the place.
func (h *Hub) moved(t *mqtt.Turn, p ui.Place, zone *time.Location) {
	h.rules.SetPlace(t, rulesPlace(p), zone)
	h.history.SetLocation(t, zone)
}

// delivered tells the automations what became of what was sent.
func (h *Hub) delivered(ctx context.Context, key string, failed error) error {
	return h.doDurable(ctx, func(t *mqtt.Turn) error {
		if err := t.Whole(); err != nil {
			return err
		}
		h.rules.Delivered(t, key, failed)
		return nil
	})
}

// hasChannel tells whether automations may notify by a name.
func (h *Hub) hasChannel(name string) bool {
	_, ok := h.settings.Channel(name)
	return ok
}
