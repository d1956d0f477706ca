// Package homeassistant reads the discovery messages of the Home Assistant
// convention: their topics, both forms (one component, or a whole device), the
// abbreviations, and what components of a device share.
//
// It says what a message says; what that means in the house is decided in
// package devices. Sources: home-assistant/core, components/mqtt (discovery.py,
// schemas.py, abbreviations.py).
package homeassistant

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lar.home/devices/template"
)

// Bounds of one message.
const (
	// MaxPayload is the largest discovery message that is read, in bytes.
	MaxPayload = 4 << 20
	// MaxComponents is how many components one device may announce at once.
	MaxComponents = 1000
	// maxIdentifiers is how many identifiers and connections of a device are
	// looked at.
	maxIdentifiers = 16
	// maxText is the longest name, model, version and so on that is kept.
	maxText = 255
)

// A Topic is the topic of a discovery message, taken apart:
// <prefix>/<component>/[<node>/]<object>/config.
type Topic struct {
	Component, Node, Object string
}

// Key identifies what the topic announces: messages with one key are about
// the same entity, in whichever form they come.
func (t Topic) Key() string { return t.Component + "/" + t.Node + "/" + t.Object }

// IsTopic tells whether a topic may be that of a discovery message; it is
// cheap, and ParseTopic is stricter.
func IsTopic(prefix, topic string) bool {
	return strings.HasSuffix(topic, "/config") && len(topic) > len(prefix) &&
		topic[len(prefix)] == '/' && topic[:len(prefix)] == prefix
}

// ParseTopic takes a topic apart.
func ParseTopic(prefix, topic string) (t Topic, ok bool) {
	if !IsTopic(prefix, topic) {
		return t, false
	}
	parts := strings.Split(topic[len(prefix)+1:], "/")
	switch len(parts) {
	case 3:
		t = Topic{Component: parts[0], Object: parts[1]}
	case 4:
		t = Topic{Component: parts[0], Node: parts[1], Object: parts[2]}
	default:
		return t, false
	}
	return t, id(t.Component) && id(t.Object) && (t.Node == "" && len(parts) == 3 || id(t.Node))
}

// id tells whether s can be a component, node or object identifier. The
// convention has [a-zA-Z0-9_-]+, but real programs also use spaces and dots.
func id(s string) bool {
	return s != "" && len(s) <= maxText && utf8.ValidString(s) &&
		!strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || strings.ContainsRune("+#/", r) })
}

// A Message is what one discovery message says.
type Message struct {
	Topic   Topic
	Remove  bool     // an empty payload: what the topic announced is gone
	Migrate bool     // hand the entities over to the other form
	Bundle  bool     // the whole device, with all its components
	Configs []Config // one, or those of the bundle in its order
	Hash    [sha256.Size]byte
}

// A Config is the description of one entity with its keys written out and
// topics completed.
type Config struct {
	Topic   Topic // as if announced alone
	Device  *Device
	Options template.Value // a Dict
	// Remove tells that the component was announced as removed.
	Remove bool
	// Err says why the description cannot be used; its device is not lost.
	Err error
}

// A Device is a device block.
type Device struct {
	// Identifiers are those given and, as "mac:…" in lower case, connections;
	// then the hardware addresses among them in one spelling, as programs
	// spell them differently.
	Identifiers []string

	Name, Manufacturer, Model, ModelID string
	SWVersion, HWVersion, Serial       string
	Area, ConfigURL, Via               string
}

// sharedKeys are inherited by the components of a device.
var sharedKeys = []string{
	"availability", "availability_mode", "availability_template", "availability_topic",
	"payload_available", "payload_not_available", "state_topic", "command_topic",
	"qos", "encoding",
}

// Parse reads a discovery message.
func Parse(topic Topic, payload []byte) (*Message, error) {
	m := &Message{Topic: topic}
	if len(payload) == 0 {
		m.Remove = true
		return m, nil
	}
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("discovery message of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	root, err := template.Decode(string(payload))
	if err != nil {
		return nil, err
	}
	if root.Kind() != template.Dict {
		return nil, errors.New("discovery message is not a JSON object")
	}
	canonical, err := root.AppendJSON(nil, true)
	if err != nil {
		return nil, err
	}
	m.Hash = sha256.Sum256(canonical)
	root = lengthen(root, abbreviations)
	if truth(root.Key("migrate_discovery")) {
		m.Migrate = true
		return m, nil
	}
	device := readDevice(root.Key("device"))
	if topic.Component == "device" {
		m.Bundle = true
		return m, m.bundle(root, device)
	}
	m.Configs = []Config{{Topic: topic, Device: device, Options: complete(root)}}
	return m, nil
}

// bundle reads the components of a device. What they share is merged into
// each; a "~" at the top holds for the top only.
func (m *Message) bundle(root template.Value, device *Device) error {
	components := root.Key("components")
	if components.Kind() != template.Dict {
		return errors.New("device message without components")
	}
	if device == nil {
		return errors.New("device message without identifiers or connections in its device block")
	}
	if n := components.Len(); n > MaxComponents {
		return fmt.Errorf("device message with %d components, at most %d are read", n, MaxComponents)
	}
	top := complete(root)
	components.Pairs(func(key string, options template.Value) {
		options = lengthen(options, abbreviations)
		c := Config{Device: device, Topic: Topic{Node: m.Topic.Object, Object: key}}
		if options.Kind() != template.Dict {
			c.Err = errors.New("component is not a JSON object")
			options, _ = template.Decode("{}")
		}
		c.Topic.Component = text(options.Key("platform"))
		switch {
		case !id(c.Topic.Component) || !id(key):
			c.Topic.Component = "unknown"
			c.Err = errors.New("component without a usable key and platform")
		case options.Len() == 1:
			c.Remove = true
		}
		// A component's own availability, in either form, replaces the shared one.
		own := options.Key("availability").Kind() != template.Undefined || options.Key("availability_topic").Kind() != template.Undefined
		for _, k := range sharedKeys {
			if own && (k == "availability" || k == "availability_topic" || k == "availability_template") {
				continue
			}
			if v := top.Key(k); v.Kind() != template.Undefined && options.Key(k).Kind() == template.Undefined {
				options = options.With(k, v)
			}
		}
		// A "~" that is left in what is shared is the component's.
		c.Options = complete(options)
		m.Configs = append(m.Configs, c)
	})
	return nil
}

// lengthen writes out the short keys of a dict. A long key wins over a short one.
func lengthen(v template.Value, table map[string]string) template.Value {
	short := false
	v.Pairs(func(k string, _ template.Value) { short = short || table[k] != "" })
	if !short {
		return v
	}
	return v.Rewrite(func(k string, value template.Value) (string, template.Value) {
		long := table[k]
		switch {
		case long == "" || long == k:
			return k, value
		case v.Key(long).Kind() != template.Undefined:
			return "", value
		}
		return long, value
	})
}

// complete writes out the short keys of availability entries and replaces a
// leading or trailing "~" in topics.
func complete(v template.Value) template.Value {
	base := text(v.Key("~"))
	if list := v.Key("availability"); list.Kind() == template.List {
		items := make([]template.Value, 0, list.Len())
		for _, entry := range list.Items() {
			entry = lengthen(entry, abbreviations)
			if entry.Kind() == template.Dict {
				entry = entry.With("topic", tilde(entry.Key("topic"), base))
			}
			items = append(items, entry)
		}
		v = v.With("availability", template.FromList(items))
	} else if list.Kind() == template.Dict { // one entry without the list around it
		entry := lengthen(list, abbreviations)
		entry = entry.With("topic", tilde(entry.Key("topic"), base))
		v = v.With("availability", template.FromList([]template.Value{entry}))
	}
	if base == "" {
		return v
	}
	return v.Rewrite(func(k string, value template.Value) (string, template.Value) {
		if k == "topic" || strings.HasSuffix(k, "_topic") {
			value = tilde(value, base)
		}
		return k, value
	})
}

func tilde(topic template.Value, base string) template.Value {
	s, ok := topic.Str()
	if !ok || base == "" {
		return topic
	}
	head, tail := strings.HasPrefix(s, "~"), len(s) > 1 && strings.HasSuffix(s, "~")
	if head {
		s = base + s[1:]
	}
	if tail {
		s = s[:len(s)-1] + base
	}
	return template.FromString(s)
}

// readDevice reads a device block; nil if it identifies nothing.
func readDevice(v template.Value) *Device {
	v = lengthen(v, deviceAbbreviations)
	d := &Device{
		Name:         short(v.Key("name")),
		Manufacturer: short(v.Key("manufacturer")),
		Model:        short(v.Key("model")),
		ModelID:      short(v.Key("model_id")),
		SWVersion:    short(v.Key("sw_version")),
		HWVersion:    short(v.Key("hw_version")),
		Serial:       short(v.Key("serial_number")),
		Area:         short(v.Key("suggested_area")),
		Via:          short(v.Key("via_device")),
	}
	if u := text(v.Key("configuration_url")); strings.HasPrefix(u, "http://") || strings.HasPrefix(u, "https://") {
		d.ConfigURL = strings.Clone(cut(u, 2048))
	}
	add := func(s string) {
		if s != "" && len(d.Identifiers) < maxIdentifiers {
			d.Identifiers = append(d.Identifiers, s)
		}
	}
	if ids := v.Key("identifiers"); ids.Kind() == template.List {
		for _, item := range ids.Items() {
			add(short(item))
		}
	} else {
		add(short(ids))
	}
	for _, pair := range v.Key("connections").Items() {
		if p := pair.Items(); len(p) == 2 && text(p[1]) != "" {
			add(strings.ToLower(short(p[0]) + ":" + short(p[1])))
		}
	}
	if len(d.Identifiers) == 0 {
		return nil
	}
	for _, ident := range d.Identifiers {
		if a := address(ident); a != "" && !slices.Contains(d.Identifiers, a) {
			add(a)
		}
	}
	return d
}

// address returns the hardware address that an identifier is, in one spelling:
// "mac:aa:bb:cc:dd:ee:ff" or "ieee:0x00158d0001020304"; "" if it is none. A
// name before it ("zigbee2mqtt_0x…", "mac:…") is left out, but not that of a
// bridge, which is another thing than the radio in it.
func address(ident string) string {
	s := strings.ToLower(ident)
	if strings.Contains(s, "bridge") {
		return ""
	}
	for _, kind := range []string{"mac:", "zigbee:", "bluetooth:", "ieee:"} {
		s = strings.TrimPrefix(s, kind)
	}
	prefixed := false
	if i := strings.LastIndexByte(s, '_'); i >= 0 {
		s, prefixed = s[i+1:], true
	}
	hex, marked := strings.CutPrefix(s, "0x")
	digits := strings.Map(func(r rune) rune {
		if r == ':' || r == '-' {
			return -1
		}
		return r
	}, hex)
	if _, err := strconv.ParseUint(digits, 16, 64); err != nil {
		return ""
	}
	switch separated := len(hex) - len(digits); {
	case len(digits) == 16 && (marked && separated == 0 || separated == 7 || !prefixed && separated == 0):
		return "ieee:0x" + digits
	case len(digits) == 12 && !marked && (separated == 5 || !prefixed && separated == 0):
		return "mac:" + digits[:2] + ":" + digits[2:4] + ":" + digits[4:6] + ":" + digits[6:8] + ":" + digits[8:10] + ":" + digits[10:]
	}
	return ""
}

// text returns a scalar as it prints, else "".
func text(v template.Value) string {
	if !v.Scalar() {
		return ""
	}
	return v.Text()
}

// short returns a scalar as a trimmed text of bounded length, and not as a
// part of the message, which it would keep.
func short(v template.Value) string { return strings.Clone(cut(strings.TrimSpace(text(v)), maxText)) }

func cut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

func truth(v template.Value) bool {
	b, ok := v.Bool()
	return ok && b
}
