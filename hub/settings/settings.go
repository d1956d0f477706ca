// Package settings keeps what the owner sets of the home on the pages: where
// it stands, its time zone, and the channels by which automations notify.
//
// [Settings] is what the pages ask. Readers take an immutable value and never
// wait; a change is a turn, and is durable when the method that makes it
// returns. What is wrong with a setting is an [ui.SettingError], which names
// the field it is about.
package settings

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync/atomic"
	"time"
	_ "time/tzdata" // zones, also where the machine has none

	"lar.home/mqtt"
	"lar.home/ui"
)

// Records stand under 'x' like those of package identity, with a byte for
// their kind: x l is the place, x n <name> a channel. Their values are JSON.
var placeKey = []byte("xl")

const channelPrefix = "xn"

// The secret of webhooks stands under x k, as it is.
var secretKey = []byte("xk")

const secretSize = 32

// A Config is what Settings need from the outside.
type Config struct {
	Scan func(prefix, from []byte, fn func(key, value []byte) bool) error
	// Do runs a change as a turn and returns when it is on disk.
	Do func(ctx context.Context, fn func(t *mqtt.Turn) error) error
	// Moved, if not nil, is called within the turn that changes the place.
	Moved func(t *mqtt.Turn, place ui.Place, zone *time.Location)
	// Fixed is what the configuration file says of the place; it counts more
	// than what is set on the pages, field by field: the position and the zone.
	Fixed ui.Place
	Log   *slog.Logger
}

// Settings are what the owner has set.
type Settings struct {
	cfg      Config
	state    atomic.Pointer[state]
	changing chan struct{} // holds one token while a change is made
	unsaved  []byte        // a secret that Load has made
}

// state is never changed, only replaced.
type state struct {
	secret   []byte   // of webhooks; nil until it is on disk
	place    ui.Place // as it was set
	channels map[string]ui.Channel
}

// A placeRecord is the place as it is stored.
type placeRecord struct {
	Known     bool    `json:"known,omitempty"`
	Latitude  float64 `json:"latitude,omitempty"`
	Longitude float64 `json:"longitude,omitempty"`
	Zone      string  `json:"zone,omitempty"`
}

// Load reads the settings. A record that cannot be read is logged and left out.
func Load(cfg Config) (*Settings, error) {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	if err := Check(cfg.Fixed); err != nil {
		return nil, err
	}
	s := &Settings{cfg: cfg, changing: make(chan struct{}, 1)}
	st := &state{channels: map[string]ui.Channel{}}
	err := cfg.Scan(placeKey, nil, func(_, value []byte) bool {
		var r placeRecord
		err := json.Unmarshal(value, &r)
		place := ui.Place{Known: r.Known, Latitude: r.Latitude, Longitude: r.Longitude, Zone: r.Zone}
		if err == nil {
			err = Check(place)
		}
		if err != nil {
			cfg.Log.Error("the home's place is not readable", "err", err)
			return false
		}
		st.place = place
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	err = cfg.Scan([]byte(channelPrefix), nil, func(key, value []byte) bool {
		var c ui.Channel
		err := json.Unmarshal(value, &c)
		if err == nil {
			c.Name = string(key[len(channelPrefix):])
			err = CheckChannel(&c)
		}
		if err != nil {
			cfg.Log.Error("channel not readable", "channel", string(key[len(channelPrefix):]), "err", err)
			return true
		}
		st.channels[c.Name] = c
		return true
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	err = cfg.Scan(secretKey, nil, func(_, value []byte) bool {
		if len(value) == secretSize {
			st.secret = bytes.Clone(value)
		}
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("read settings: %w", err)
	}
	if st.secret == nil {
		s.unsaved = make([]byte, secretSize)
		rand.Read(s.unsaved) // never fails
	}
	s.state.Store(st)
	return s, nil
}

// Save makes durable what Load had to make up. It can be called again
// after it has failed.
func (s *Settings) Save(ctx context.Context) error {
	if s.unsaved == nil || s.state.Load().secret != nil {
		return nil
	}
	return s.change(ctx, func(t *mqtt.Turn, next *state) {
		t.Write(secretKey, s.unsaved)
		next.secret = s.unsaved
	}, nil)
}

// HookKey returns the key of the webhook with an ID: 128 bits that nobody can
// guess who does not know another secret of this hub. It is empty while that
// secret is not on disk.
func (s *Settings) HookKey(id string) string {
	secret := s.state.Load().secret
	if secret == nil {
		return ""
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("webhook " + id))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil)[:16])
}

// Check says what is wrong with a place.
func Check(p ui.Place) error {
	switch {
	case p.Latitude != p.Latitude || p.Latitude < -90 || p.Latitude > 90:
		return &ui.SettingError{Field: "latitude", Text: "A latitude is from -90 to 90 degrees; north is positive."}
	case p.Longitude != p.Longitude || p.Longitude < -180 || p.Longitude > 180:
		return &ui.SettingError{Field: "longitude", Text: "A longitude is from -180 to 180 degrees; east is positive."}
	}
	if _, err := Zone(p.Zone); err != nil {
		return err
	}
	return nil
}

// Zone returns the time zone of a name such as "Europe/Berlin"; without one
// that of the machine.
func Zone(name string) (*time.Location, error) {
	if name == "" {
		return time.Local, nil
	}
	zone, err := time.LoadLocation(name)
	if err != nil || name == "Local" || len(name) > 64 {
		return nil, &ui.SettingError{Field: "zone", Text: "There is no time zone of that name. They are named like Europe/Berlin."}
	}
	return zone, nil
}

// Place returns where the home stands.
func (s *Settings) Place() ui.Place {
	p, fixed := s.state.Load().place, s.cfg.Fixed
	if fixed.Known {
		p.Known, p.Latitude, p.Longitude, p.FixedPosition = true, fixed.Latitude, fixed.Longitude, true
	}
	if fixed.Zone != "" {
		p.Zone, p.FixedZone = fixed.Zone, true
	}
	return p
}

// CheckPlace implements ui.Settings.
func (s *Settings) CheckPlace(p ui.Place) error { return Check(p) }

// Location returns the home's time zone.
func (s *Settings) Location() *time.Location {
	zone, err := Zone(s.Place().Zone)
	if err != nil { // it was checked
		return time.Local
	}
	return zone
}

// SetPlace sets where the home stands. What the configuration file says is not
// changed by it.
func (s *Settings) SetPlace(ctx context.Context, p ui.Place) error {
	if err := Check(p); err != nil {
		return err
	}
	p.FixedPosition, p.FixedZone = false, false
	return s.change(ctx, func(t *mqtt.Turn, next *state) {
		value, _ := json.Marshal(placeRecord{p.Known, p.Latitude, p.Longitude, p.Zone}) // finite numbers and a text
		t.Write(placeKey, value)
		next.place = p
	}, func(t *mqtt.Turn) {
		if s.cfg.Moved != nil {
			s.cfg.Moved(t, s.Place(), s.Location())
		}
	})
}

// change replaces the state in a turn, and then calls after in it.
func (s *Settings) change(ctx context.Context, edit func(t *mqtt.Turn, next *state), after func(t *mqtt.Turn)) error {
	select {
	case s.changing <- struct{}{}:
		defer func() { <-s.changing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.cfg.Do(ctx, func(t *mqtt.Turn) error {
		next := *s.state.Load()
		next.channels = maps.Clone(next.channels)
		edit(t, &next)
		s.state.Store(&next)
		if after != nil {
			after(t)
		}
		return nil
	})
}

// Channels returns the channels by name, secrets included.
func (s *Settings) Channels() []ui.Channel {
	st := s.state.Load()
	list := make([]ui.Channel, 0, len(st.channels))
	for _, name := range slices.Sorted(maps.Keys(st.channels)) {
		list = append(list, st.channels[name])
	}
	return list
}

// Channel returns the channel of a name.
func (s *Settings) Channel(name string) (ui.Channel, bool) {
	c, ok := s.state.Load().channels[name]
	return c, ok
}

// MaxChannels bounds the channels of a home.
const MaxChannels = 50

// SetChannel makes a channel, or changes the one of its name.
func (s *Settings) SetChannel(ctx context.Context, c ui.Channel) error {
	if err := CheckChannel(&c); err != nil {
		return err
	}
	if st := s.state.Load(); len(st.channels) >= MaxChannels {
		if _, there := st.channels[c.Name]; !there {
			return &ui.SettingError{Text: "There are 50 channels, more are not possible."}
		}
	}
	return s.change(ctx, func(t *mqtt.Turn, next *state) {
		value, _ := json.Marshal(c) // texts
		t.Write([]byte(channelPrefix+c.Name), value)
		next.channels[c.Name] = c
	}, nil)
}

// RemoveChannel ends a channel. What waits to go by it is given up.
func (s *Settings) RemoveChannel(ctx context.Context, name string) error {
	if _, there := s.state.Load().channels[name]; !there {
		return nil // pressed twice
	}
	return s.change(ctx, func(t *mqtt.Turn, next *state) {
		t.Write([]byte(channelPrefix+name), nil)
		delete(next.channels, name)
	}, nil)
}
