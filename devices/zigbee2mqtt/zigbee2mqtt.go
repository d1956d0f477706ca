// Package zigbee2mqtt reads what Zigbee2MQTT says of itself on <base>/bridge/…:
// its devices with their exposes, its groups, its state and its answers to
// requests.
//
// It puts each entity in the words of the Home Assistant convention, as that
// is the language of which package devices builds its model; what the
// convention has no word for (objects, lists) stays an [Expose]. Unique IDs
// are those that Zigbee2MQTT itself gives when it speaks the other convention,
// so that an entity stays the same one whichever of the two is heard.
// Sources: Koenkk/zigbee2mqtt 2.14, lib/extension/bridge.ts, homeassistant.ts.
package zigbee2mqtt

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Bounds of one message.
const (
	// MaxPayload is the largest message that is read, in bytes: about 2,000
	// devices.
	MaxPayload = 8 << 20
	// MaxDevices is how many devices or groups one list may have.
	MaxDevices = 2000
	// maxExposes is how many entities one device may have.
	maxExposes = 1000
	maxDepth   = 8 // of features within features
	maxText    = 255
)

// A Subject is what a topic of a bridge is about.
type Subject string

// Subjects.
const (
	State     Subject = "state"
	Info      Subject = "info"
	Devices   Subject = "devices"
	Groups    Subject = "groups"
	Responses Subject = "response"
)

// ParseTopic takes the topic of a bridge apart. A base of more than one level
// is known only if it is among those given, so that not each topic of the
// house that has "bridge" in it is taken for one.
func ParseTopic(topic string, bases []string) (base string, s Subject, rest string, ok bool) {
	base, after, ok := strings.Cut(topic, "/bridge/")
	if !ok || base == "" || base[0] == '$' || len(base) > maxText {
		return "", "", "", false
	}
	if strings.Contains(base, "/") {
		known := false
		for _, b := range bases {
			known = known || b == base
		}
		if !known {
			return "", "", "", false
		}
	}
	name, rest, _ := strings.Cut(after, "/")
	switch s = Subject(name); {
	case s == Responses && rest != "":
		return base, s, rest, true
	case rest == "" && after == name && (s == State || s == Info || s == Devices || s == Groups):
		return base, s, "", true
	}
	return "", "", "", false
}

// A Device is an entry of bridge/devices.
type Device struct {
	IEEE        string `json:"ieee_address"`
	Name        string `json:"friendly_name"`
	Type        string // Coordinator, Router, EndDevice
	Description string // what a person noted
	Disabled    bool
	Supported   bool

	InterviewState  string `json:"interview_state"`
	Interviewing    bool
	SoftwareBuildID string `json:"software_build_id"`
	PowerSource     string `json:"power_source"`
	Manufacturer    string
	ModelID         string `json:"model_id"`

	Definition *Definition
	Endpoints  map[string]Endpoint

	// Hash is that of the entry.
	Hash [sha256.Size]byte `json:"-"`
}

// A Definition says what devices of a kind are and can do.
type Definition struct {
	Model, Vendor, Description string
	Exposes                    []Expose
	OTA                        bool `json:"supports_ota"`
}

// An Endpoint of a device; only its scenes matter here.
type Endpoint struct {
	Scenes []Scene
}

// A Scene is kept in the devices themselves.
type Scene struct {
	ID   int
	Name string
}

// A Group is an entry of bridge/groups.
type Group struct {
	ID      int
	Name    string `json:"friendly_name"`
	Members []struct {
		IEEE string `json:"ieee_address"`
	}
	Scenes []Scene

	Hash [sha256.Size]byte `json:"-"`
}

// Access bits of an Expose.
const (
	published = 1
	settable  = 2
	readable  = 4
)

// An Expose is one thing a device can tell or be told; or, as a light or a
// climate, several that belong together.
type Expose struct {
	Type, Name, Label, Property, Endpoint string
	Unit, Category                        string
	Access                                int
	ValueOn                               any      `json:"value_on"`
	ValueOff                              any      `json:"value_off"`
	Min                                   *float64 `json:"value_min"`
	Max                                   *float64 `json:"value_max"`
	Step                                  *float64 `json:"value_step"`
	MinLength                             *float64 `json:"length_min"`
	MaxLength                             *float64 `json:"length_max"`
	Values                                []any
	Features                              []Expose
	ItemType                              *Expose `json:"item_type"`
}

// Published tells whether its value is in the device's states.
func (e *Expose) Published() bool { return e.Access&published != 0 }

// Settable tells whether it can be told something.
func (e *Expose) Settable() bool { return e.Access&settable != 0 }

// decode reads JSON into v. A value of another type than expected is left out
// and does not lose the rest.
func decode(payload []byte, v any) error {
	err := json.Unmarshal(payload, v)
	if _, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return nil
	}
	return err
}

// list reads a list of objects, each by itself.
func list[T any](payload []byte, fn func(item *T, hash [sha256.Size]byte)) error {
	if len(payload) > MaxPayload {
		return fmt.Errorf("list of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	var items []json.RawMessage
	if err := json.Unmarshal(payload, &items); err != nil {
		return err
	}
	if len(items) > MaxDevices {
		return fmt.Errorf("list of %d, at most %d are read", len(items), MaxDevices)
	}
	for _, raw := range items {
		item := new(T)
		if err := decode(raw, item); err != nil {
			return err
		}
		fn(item, sha256.Sum256(raw))
	}
	return nil
}

// ParseDevices reads bridge/devices. Entries without an address or a usable
// name are left out.
func ParseDevices(payload []byte) ([]*Device, error) {
	var all []*Device
	err := list(payload, func(d *Device, hash [sha256.Size]byte) {
		d.IEEE = strings.ToLower(d.IEEE)
		if !isIEEE(d.IEEE) || !isName(d.Name) {
			return
		}
		d.Hash = hash
		if d.Definition != nil {
			n := 0
			d.Definition.Exposes = prune(d.Definition.Exposes, 0, &n)
		}
		all = append(all, d)
	})
	return all, err
}

// ParseGroups reads bridge/groups.
func ParseGroups(payload []byte) ([]*Group, error) {
	var all []*Group
	err := list(payload, func(g *Group, hash [sha256.Size]byte) {
		if isName(g.Name) {
			g.Hash = hash
			all = append(all, g)
		}
	})
	return all, err
}

// prune bounds exposes in number and depth, and completes their properties.
func prune(list []Expose, depth int, n *int) []Expose {
	var out []Expose
	for _, e := range list {
		if *n++; *n > maxExposes || depth > maxDepth {
			break
		}
		if e.Property == "" {
			e.Property = e.Name
		}
		for _, s := range []*string{&e.Property, &e.Name, &e.Label, &e.Unit, &e.Endpoint} {
			*s = cut(*s)
		}
		e.Features = prune(e.Features, depth+1, n)
		if e.Type == "composite" && e.Access == 0 { // older ones say it of their fields alone
			for _, f := range e.Features {
				e.Access |= f.Access
			}
		}
		if e.ItemType != nil {
			items := prune([]Expose{*e.ItemType}, depth+1, n)
			e.ItemType = nil
			if len(items) == 1 {
				e.ItemType = &items[0]
			}
		}
		out = append(out, e)
	}
	return out
}

func isIEEE(s string) bool {
	if len(s) != 18 || s[:2] != "0x" {
		return false
	}
	_, err := strconv.ParseUint(s[2:], 16, 64)
	return err == nil
}

// isName tells whether a friendly name can be part of a topic.
func isName(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) && !strings.ContainsAny(s, "+#\x00")
}

func cut(s string) string {
	if len(s) > maxText {
		s = strings.ToValidUTF8(s[:maxText], "")
	}
	return strings.Clone(s)
}

// A BridgeInfo is what bridge/info says.
type BridgeInfo struct {
	Version         string
	PermitJoin      bool `json:"permit_join"`
	PermitJoinEnd   time.Time
	RestartRequired bool `json:"restart_required"`
	Coordinator     struct {
		IEEE string `json:"ieee_address"`
		Type string
	}
}

// ParseInfo reads bridge/info.
func ParseInfo(payload []byte) (*BridgeInfo, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("bridge/info of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	var i struct {
		BridgeInfo
		End float64 `json:"permit_join_end"` // unix milliseconds
	}
	if err := decode(payload, &i); err != nil {
		return nil, err
	}
	if i.End > 0 && i.End < 1e15 {
		i.PermitJoinEnd = time.UnixMilli(int64(i.End))
	}
	i.Version = cut(i.Version)
	return &i.BridgeInfo, nil
}

// ParseState reads bridge/state; older versions send the bare word.
func ParseState(payload []byte) (online, ok bool) {
	word := string(payload)
	var s struct{ State string }
	if len(payload) < 4096 && json.Unmarshal(payload, &s) == nil {
		word = s.State
	}
	return word == "online", word == "online" || word == "offline"
}

// A Response answers a request.
type Response struct {
	Status, Error string
	Transaction   string
}

// Err returns what went wrong, or nil.
func (r *Response) Err() error {
	switch {
	case r.Status == "ok":
		return nil
	case r.Error != "":
		return errors.New(cut(r.Error))
	}
	return errors.New("Zigbee2MQTT did not say why")
}

// ParseResponse reads a message of bridge/response/….
func ParseResponse(payload []byte) (*Response, error) {
	r := &Response{}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("response of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	return r, decode(payload, r)
}
