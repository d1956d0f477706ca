// Package tasmota reads what Tasmota devices say of themselves on
// tasmota/discovery/<MAC>/config and …/sensors.
//
// [Describe] and [DescribeSensors] make entities of it: what they are in the
// words of the Home Assistant convention, as that is the language of which
// package devices builds its model, and where their values stand as [Source]s,
// as a Tasmota says the same thing on several topics. Unique IDs are those that
// a Tasmota itself gives when it speaks the other convention (SetOption19 1),
// so that an entity stays the same one whichever of the two is heard.
// Sources: arendst/Tasmota, xdrv_12_discovery.ino, xdrv_12_home_assistant.ino.
package tasmota

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lar.home/devices/template"
)

// Bounds of one device.
const (
	// MaxPayload is the largest message that is read, in bytes. A device does
	// not have the memory for more than a few thousand.
	MaxPayload = 64 << 10
	// MaxSensors is how many numbers one device may measure.
	MaxSensors = 100
	maxRelays  = 32
	maxInputs  = 32
	maxShutter = 16
	maxName    = 255
	maxKey     = 64 // bytes of a key on the way to a number
)

// prefix is the first part of discovery topics.
const prefix = "tasmota/discovery/"

// A Part of what a device says of itself has a topic of its own.
type Part string

// Parts.
const (
	ConfigPart  Part = "config"
	SensorsPart Part = "sensors"
)

// Topic returns the topic on which a device tells of a part.
func Topic(mac string, p Part) string { return prefix + mac + "/" + string(p) }

// ParseTopic takes a discovery topic apart. mac is as it stands there.
func ParseTopic(topic string) (mac string, p Part, ok bool) {
	rest, ok := strings.CutPrefix(topic, prefix)
	if !ok {
		return "", "", false
	}
	mac, name, _ := strings.Cut(rest, "/")
	p = Part(name)
	if _, err := strconv.ParseUint(mac, 16, 64); err != nil || len(mac) != 12 || p != ConfigPart && p != SensorsPart {
		return "", "", false
	}
	return mac, p, true
}

// Identifiers are what a device is known by: its address, and the last half of
// that, by which it calls itself in the other convention.
func Identifiers(mac string) []string {
	m := strings.ToLower(mac)
	return []string{
		"mac:" + m[:2] + ":" + m[2:4] + ":" + m[4:6] + ":" + m[6:8] + ":" + m[8:10] + ":" + m[10:],
		chip(mac),
	}
}

// chip is the last half of the address.
func chip(mac string) string { return strings.ToUpper(mac[6:]) }

// A Config is what a device is.
type Config struct {
	MAC                            string // as in the topic
	Name, Host, Model, Version, IP string
	Names                          []string // of relays and lights; empty where it has none
	Online, Offline                string   // texts of its last will
	Off, On, Toggle, Hold          string   // texts of states
	Relays                         []int    // relayNone…
	LightType                      int      // lightNone…
	Linked                         bool     // its color and its white are one light
	Tuya, Fan                      bool
	Sleeps                         bool     // it is mostly off, to save its battery
	Switches                       []int    // modes; -1: not there
	SwitchNames                    []string // keys of their values
	Buttons                        []bool
	ShutterOptions                 []int
	ShutterTilts                   [][2]float64 // the least and the most, the same if it cannot
	Options                        map[string]bool

	topics [3]string // beginnings of topics: commands, answers, telemetry

	// Hash is that of the message, whatever its spelling.
	Hash [sha256.Size]byte
}

// Kinds of relays in a Config.
const (
	relayNone = iota
	relaySwitch
	relayLight
	relayShutter
)

// Types of lights in a Config.
const (
	lightNone = iota
	lightSingle
	lightColdWarm
	lightRGB
	lightRGBW
	lightRGBCW
)

// SetOptions that matter here.
const (
	optionAnswers      = "4"   // an answer has the topic of its command
	optionSingle       = "13"  // buttons know only the single press
	optionNotLinked    = "20"  // a brightness does not turn the light on
	optionLights       = "30"  // each relay is a light
	optionChannels     = "68"  // each channel is a light of its own
	optionButtons      = "73"  // buttons are told, and do not switch the relay
	optionReducedCT    = "82"  // 200 to 380 mired
	optionFadeDuration = "117" // the speed is a time and not a rate
)

// read decodes a message: its JSON and the hash of that.
func read(payload []byte) (v template.Value, hash [sha256.Size]byte, err error) {
	if len(payload) > MaxPayload {
		return v, hash, fmt.Errorf("message of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	if v, err = template.Decode(string(payload)); err != nil {
		return v, hash, err
	}
	if v.Kind() != template.Dict {
		return v, hash, errors.New("it is not a JSON object")
	}
	canonical, err := v.AppendJSON(nil, true)
	return v, sha256.Sum256(canonical), err
}

// ParseConfig reads …/config of the device that the topic names.
func ParseConfig(mac string, payload []byte) (*Config, error) {
	v, hash, err := read(payload)
	if err != nil {
		return nil, err
	}
	if said, _ := v.Key("mac").Str(); !strings.EqualFold(said, mac) {
		return nil, fmt.Errorf("its topic has the address %s and it has %q", mac, cut(said))
	}
	c := &Config{
		MAC: mac, Hash: hash,
		Name: text(v.Key("dn"), "Tasmota "+chip(mac)), Host: text(v.Key("hn"), ""), Model: text(v.Key("md"), ""), Version: text(v.Key("sw"), ""),
		Online: text(v.Key("onln"), "Online"), Offline: text(v.Key("ofln"), "Offline"),
		LightType: integer(v.Key("lt_st")), Linked: truth(v.Key("lk")), Tuya: truth(v.Key("ty")), Fan: truth(v.Key("if")),
		Sleeps:  truth(v.Key("bat")) || truth(v.Key("dslp")),
		Names:   texts(v.Key("fn"), maxRelays),
		Options: map[string]bool{},
	}
	if ip, err := netip.ParseAddr(text(v.Key("ip"), "")); err == nil && !ip.IsUnspecified() {
		c.IP = ip.WithZone("").String()
	}
	states := texts(v.Key("state"), 4)
	for i, s := range []struct {
		to    *string
		usual string
	}{{&c.Off, "OFF"}, {&c.On, "ON"}, {&c.Toggle, "TOGGLE"}, {&c.Hold, "HOLD"}} {
		if *s.to = s.usual; i < len(states) && states[i] != "" {
			*s.to = states[i]
		}
	}
	for _, item := range items(v.Key("rl"), maxRelays) {
		c.Relays = append(c.Relays, integer(item))
	}
	for _, item := range items(v.Key("swc"), maxInputs) {
		c.Switches = append(c.Switches, integer(item))
	}
	c.SwitchNames = texts(v.Key("swn"), maxInputs)
	for _, item := range items(v.Key("btn"), maxInputs) {
		c.Buttons = append(c.Buttons, truth(item))
	}
	for _, item := range items(v.Key("sho"), maxShutter) {
		c.ShutterOptions = append(c.ShutterOptions, integer(item))
	}
	for _, item := range items(v.Key("sht"), maxShutter) {
		var tilt [2]float64
		for i, bound := range items(item, 2) {
			if f, ok := bound.Number(); ok && f >= -1000 && f <= 1000 {
				tilt[i] = f
			}
		}
		c.ShutterTilts = append(c.ShutterTilts, tilt)
	}
	for _, name := range []string{optionAnswers, optionSingle, optionNotLinked, optionLights, optionChannels, optionButtons, optionReducedCT, optionFadeDuration} {
		c.Options[name] = truth(v.Key("so").Key(name))
	}
	return c, c.spell(text(v.Key("ft"), "%prefix%/%topic%/"), text(v.Key("t"), ""), texts(v.Key("tp"), 3))
}

// spell makes the beginnings of the device's topics.
func (c *Config) spell(full, topic string, prefixes []string) error {
	usual := []string{"cmnd", "stat", "tele"}
	for i, p := range usual {
		if i < len(prefixes) && prefixes[i] != "" {
			p = prefixes[i]
		}
		s := strings.NewReplacer("%prefix%", p, "%topic%", topic, "%hostname%", c.Host, "%id%", chip(c.MAC)).Replace(full)
		if !strings.HasSuffix(s, "/") {
			s += "/"
		}
		c.topics[i] = s
	}
	if topic == "" && strings.Contains(full, "%topic%") {
		return errors.New("it has no topic")
	}
	for i, s := range c.topics {
		if strings.ContainsAny(s, "+#\x00") || strings.HasPrefix(s, "$") || s == "/" || len(s) > 4*maxName {
			return fmt.Errorf("its full topic makes %q, which is not a topic", cut(s))
		}
		if slices.Index(c.topics[:], s) != i {
			return errors.New("its full topic does not tell commands from answers")
		}
	}
	return nil
}

func (c *Config) command(name string) string { return c.topics[0] + name }
func (c *Config) answer(name string) string  { return c.topics[1] + name }
func (c *Config) tele(name string) string    { return c.topics[2] + name }

// Will is the topic of the device's last will.
func (c *Config) Will() string { return c.tele("LWT") }

// A Poll is what a device is asked when it comes.
type Poll struct{ Topic, Payload string }

// Polls returns what asks the device for all that it has to say.
func (c *Config) Polls() []Poll {
	return []Poll{{c.command("STATE"), ""}, {c.command("STATUS"), "10"}}
}

// A Sensors is what a device measures.
type Sensors struct {
	Leaves []Leaf
	Units  map[string]string // "TempUnit": "C"

	Hash [sha256.Size]byte
}

// A Leaf is one number.
type Leaf struct {
	Path []string // keys, and places in lists counted from 0
	List bool     // the last of Path is a place in a list
}

// ParseSensors reads …/sensors.
func ParseSensors(payload []byte) (*Sensors, error) {
	v, hash, err := read(payload)
	if err != nil {
		return nil, err
	}
	s := &Sensors{Hash: hash, Units: map[string]string{}}
	sn := v.Key("sn")
	for _, name := range []string{"TempUnit", "PressureUnit", "SpeedUnit"} {
		s.Units[name] = text(sn.Key(name), "")
	}
	s.leaves(nil, sn)
	return s, nil
}

// leaves collects the numbers of an object. What is null is one that cannot
// be measured now.
func (s *Sensors) leaves(path []string, v template.Value) {
	v.Pairs(func(key string, item template.Value) {
		if len(path) == 0 && (key == "Time" || s.Units[key] != "") || key == "" || len(key) > maxKey || !utf8.ValidString(key) {
			return
		}
		here := append(slices.Clone(path), strings.Clone(key))
		switch item.Kind() {
		case template.Int, template.Float:
			s.add(Leaf{Path: here})
		case template.None:
			if _, known := quantities[key]; known {
				s.add(Leaf{Path: here})
			}
		case template.List:
			for i, x := range item.Items() {
				if _, ok := x.Number(); ok && x.Kind() != template.String && i < 16 {
					s.add(Leaf{Path: append(slices.Clone(here), strconv.Itoa(i)), List: true})
				}
			}
		case template.Dict:
			if len(here) < 3 {
				s.leaves(here, item)
			}
		}
	})
}

func (s *Sensors) add(l Leaf) {
	if len(s.Leaves) < MaxSensors {
		s.Leaves = append(s.Leaves, l)
	}
}

// Readers of loose JSON: what is of another type than expected is the usual.

func text(v template.Value, usual string) string {
	if s, ok := v.Str(); ok && strings.TrimSpace(s) != "" && utf8.ValidString(s) {
		return cut(strings.TrimSpace(s))
	}
	return usual
}

func integer(v template.Value) int {
	if f, ok := v.Number(); ok && v.Kind() != template.String && f >= -1000 && f <= 1e6 {
		return int(f)
	}
	return 0
}

// truth tells whether a flag is set; a list of flags is if one of them is.
func truth(v template.Value) bool {
	for _, item := range items(v, 16) {
		if truth(item) {
			return true
		}
	}
	b, isBool := v.Bool()
	return isBool && b || integer(v) != 0
}

func items(v template.Value, most int) []template.Value {
	if v.Kind() != template.List {
		return nil
	}
	list := v.Items()
	return list[:min(len(list), most)]
}

func texts(v template.Value, most int) []string {
	var out []string
	for _, item := range items(v, most) {
		out = append(out, text(item, ""))
	}
	return out
}

func cut(s string) string {
	if len(s) > maxName {
		s = strings.ToValidUTF8(s[:maxName], "")
	}
	return strings.Clone(s)
}
