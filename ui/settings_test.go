package ui

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"
	_ "time/tzdata"
)

// settings are kept in memory.
type settings struct {
	mu       sync.Mutex
	place    Place
	channels []Channel
}

func (s *settings) Place() Place {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.place
}

func (s *settings) CheckPlace(p Place) error {
	if p.Latitude > 90 {
		return &SettingError{"latitude", "A latitude is from -90 to 90 degrees; north is positive."}
	}
	if _, err := time.LoadLocation(p.Zone); err != nil {
		return &SettingError{"zone", "There is no time zone of that name."}
	}
	return nil
}

func (s *settings) SetPlace(_ context.Context, p Place) error {
	if err := s.CheckPlace(p); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.place = p
	return nil
}

func (s *settings) Location() *time.Location {
	zone, err := time.LoadLocation(s.Place().Zone)
	if err != nil || s.Place().Zone == "" {
		return time.Local
	}
	return zone
}

func (s *settings) Channels() []Channel {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Channel(nil), s.channels...)
}

func (s *settings) SetChannel(_ context.Context, c Channel) error {
	if c.Name == "" {
		return &SettingError{"name", "A name has 1 to 48 of a-z, 0-9 and -, like family."}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.channels {
		if s.channels[i].Name == c.Name {
			s.channels[i] = c
			return nil
		}
	}
	s.channels = append(s.channels, c)
	return nil
}

func (s *settings) HookKey(id string) string { return "key-of-" + id }

func (s *settings) RemoveChannel(_ context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, c := range s.channels {
		if c.Name == name {
			s.channels = append(s.channels[:i], s.channels[i+1:]...)
			return nil
		}
	}
	return errors.New("none")
}

func TestPlacePage(t *testing.T) {
	h, b := furnished(t)
	b.get("/settings").shows(200, "Position not set. Time zone of the machine.")
	b.get("/settings/place").shows(200, "Where the home is")
	if got := b.last.Header.Get("Permissions-Policy"); got != "camera=(), geolocation=(self), microphone=()" {
		t.Errorf("Permissions-Policy %q", got)
	}
	b.post("/settings/place", "latitude", "north", "longitude", "13.4", "zone", "").shows(422, "Give degrees, like 52.52.")
	b.post("/settings/place", "latitude", "52.5", "longitude", "", "zone", "").shows(422, "Give degrees")
	b.post("/settings/place", "latitude", "95", "longitude", "1", "zone", "").shows(422, "from -90 to 90")
	b.post("/settings/place", "latitude", "52.5", "longitude", "13.4", "zone", "Europe/Nowhere").shows(422, "no time zone")
	if h.settings.Place().Known {
		t.Error("a place that was refused is stored")
	}
	b.post("/settings/place", "latitude", "52.52, 13.405", "longitude", "", "zone", "Pacific/Auckland").at("/settings").shows(200, "52.52, 13.405. Time zone Pacific/Auckland.")
	b.post("/settings/place", "latitude", "", "longitude", "", "zone", "").at("/settings").shows(200, "Position not set.")
}
