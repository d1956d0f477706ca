// Package shelly reads what Shelly devices say of themselves.
//
// Those of the second and later generations do not announce what they are:
// they are asked by remote calls ([Request]), and [Build] makes a [Device] of
// the answers. Those of the first generation announce their model, and what
// they have shows in the topics on which they speak: [Old]. [Describe] and
// [DescribeOld] make entities: what they are in the words of the Home Assistant
// convention, as that is the language of which package devices builds its model.
// Source: shelly-api-docs.shelly.cloud.
package shelly

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"lar.home/devices/template"
)

// Bounds of one device.
const (
	// MaxPayload is the largest message that is read, in bytes.
	MaxPayload = 64 << 10
	// MaxComponents is how many components a device may have.
	MaxComponents = 200
	// MaxParts is how many topics a device of the first generation may have.
	MaxParts  = 120
	maxFields = 40
	maxName   = 255
	maxPrefix = 300
	maxValues = 100 // of a choice
)

// A Subject is what a topic is about.
type Subject int

// Subjects.
const (
	// Online says whether a device is there; it is cleared when the device is
	// removed.
	Online Subject = iota + 1
	// Events has notifications of what changes.
	Events
	// Answers has what a device answers us.
	Answers
	// Announce has what devices of the first generation are.
	Announce
	// Part is any other topic of one of these.
	Part
)

// A Topic is a topic of a device, taken apart.
type Topic struct {
	Subject Subject
	Prefix  string // of the device: "shellyplus1-a8032abe54dc", "shellies/shelly1-AABBCC"
	Part    string // "relay/0"
}

const (
	oldPrefix = "shellies/"
	// ours is the first part of the topics on which we are answered.
	ours = "lar/shelly/"
)

// OldCommand is the topic on which all devices of the first generation are
// told to announce themselves, and to say their states.
const OldCommand = oldPrefix + "command"

// ParseTopic takes a topic apart. Topics of a device's components are none.
func ParseTopic(topic string) (t Topic, ok bool) {
	if topic == "" || topic[0] == '$' || len(topic) > 2*maxPrefix {
		return t, false
	}
	prefix, found := strings.CutSuffix(topic, "/events/rpc")
	switch {
	case found && usable(prefix):
		return Topic{Subject: Events, Prefix: prefix}, true
	case strings.HasPrefix(topic, ours):
		prefix, found = strings.CutSuffix(topic[len(ours):], "/rpc")
		return Topic{Subject: Answers, Prefix: prefix}, found && usable(prefix)
	}
	if prefix, found = strings.CutSuffix(topic, "/online"); found && usable(prefix) {
		return Topic{Subject: Online, Prefix: prefix}, true
	}
	rest, found := strings.CutPrefix(topic, oldPrefix)
	if !found {
		return t, false
	}
	if rest == "announce" {
		return Topic{Subject: Announce}, true
	}
	id, part, found := strings.Cut(rest, "/")
	if !found || id == "" || !KnownPart(part) {
		return t, false
	}
	return Topic{Subject: Part, Prefix: oldPrefix + id, Part: part}, true
}

func usable(prefix string) bool {
	return prefix != "" && len(prefix) <= maxPrefix && prefix[0] != '/' && !strings.HasPrefix(prefix, ours)
}

// OnlineTopic is where a device says that it is there.
func OnlineTopic(prefix string) string { return prefix + "/online" }

// Source is how we name ourselves to a device: its answers come to a topic of
// their own.
func Source(prefix string) string { return ours + prefix }

// Identifiers are what a device is known by.
func Identifiers(mac, id string) []string {
	out := []string{"shelly:" + strings.ToLower(id)}
	if mac != "" {
		out = append(out, "mac:"+mac)
	}
	return out
}

// MAC returns the hardware address at the end of a device's ID, in lower case
// with colons; "" if there is none.
func MAC(id string) string {
	if i := strings.LastIndexByte(id, '-'); i >= 0 {
		id = id[i+1:]
	}
	digits := strings.ToLower(strings.ReplaceAll(id, ":", ""))
	if _, err := strconv.ParseUint(digits, 16, 64); err != nil || len(digits) != 12 {
		return ""
	}
	return digits[:2] + ":" + digits[2:4] + ":" + digits[4:6] + ":" + digits[6:8] + ":" + digits[8:10] + ":" + digits[10:]
}

// A Query is what a device is asked when it comes.
type Query int

// Queries, in their order.
const (
	AskInfo Query = iota + 1
	AskConfig
	AskStatus
	AskComponents // those that were made by people; all devices but the newest know none
	Command       // is none: something was to be done
)

var queries = map[Query]string{
	AskInfo: "Shelly.GetDeviceInfo", AskConfig: "Shelly.GetConfig", AskStatus: "Shelly.GetStatus", AskComponents: "Shelly.GetComponents",
}

// Request is the call that asks a device. offset is for AskComponents.
func Request(prefix string, q Query, offset int) (topic, payload string) {
	var params map[string]any
	if q == AskComponents {
		params = map[string]any{"dynamic_only": true, "include": []string{"config", "status"}, "offset": offset}
	}
	return prefix + "/rpc", Call(prefix, q, queries[q], params)
}

// Call is a remote call.
func Call(prefix string, q Query, method string, params map[string]any) string {
	text, err := json.Marshal(struct {
		ID     Query          `json:"id"`
		Source string         `json:"src"`
		Method string         `json:"method"`
		Params map[string]any `json:"params,omitempty"`
	}{q, Source(prefix), method, params})
	if err != nil {
		return "" // texts, numbers and flags: it cannot happen
	}
	return string(text)
}

// A Frame is a message of a device: a notification or an answer.
type Frame struct {
	ID     Query
	Source string // the device's own ID
	Method string
	Result template.Value
	Whole  template.Value
	Error  string
}

// ParseFrame reads a message of a device.
func ParseFrame(payload []byte) (*Frame, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("message of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	v, err := template.Decode(string(payload))
	if err != nil {
		return nil, err
	}
	if v.Kind() != template.Dict {
		return nil, errors.New("it is not a JSON object")
	}
	f := &Frame{ID: Query(integer(v.Key("id"))), Source: text(v.Key("src")), Method: text(v.Key("method")), Result: v.Key("result"), Whole: v}
	if e := v.Key("error"); e.Kind() == template.Dict {
		f.Error = Refusal(e)
	}
	return f, nil
}

// Refusal says what a device has against a call.
func Refusal(e template.Value) string {
	message := text(e.Key("message"))
	if message == "" {
		message = "it refused"
	}
	return cut(message + " (" + strconv.Itoa(integer(e.Key("code"))) + ")")
}

// A Device is what a device of the second or a later generation is. It is kept
// as JSON, as such a device does not say it again by itself.
type Device struct {
	Prefix     string      `json:"prefix"`
	ID         string      `json:"id"`
	MAC        string      `json:"mac"`
	Name       string      `json:"name,omitempty"`
	Model      string      `json:"model,omitempty"`
	App        string      `json:"app,omitempty"`
	Version    string      `json:"ver,omitempty"`
	IP         string      `json:"ip,omitempty"`
	Sleeps     bool        `json:"sleeps,omitempty"` // it is mostly off, to save its battery
	Components []Component `json:"components"`
}

// A Component is a part of a device.
type Component struct {
	Kind string `json:"kind"`
	// ID is that of several of a kind; -1 if there can be but one.
	ID     int      `json:"id"`
	Name   string   `json:"name,omitempty"`
	Fields []string `json:"fields,omitempty"` // of its status: "apower", "aenergy.total"

	Type    string   `json:"type,omitempty"`   // of an input or a thermostat
	Placed  bool     `json:"placed,omitempty"` // a cover knows its position
	Min     *float64 `json:"min,omitempty"`
	Max     *float64 `json:"max,omitempty"`
	Step    *float64 `json:"step,omitempty"`
	Unit    string   `json:"unit,omitempty"`
	Options []string `json:"options,omitempty"`
	Address string   `json:"addr,omitempty"` // of a Bluetooth device
	Object  int      `json:"obj,omitempty"`  // of a Bluetooth sensor
	Index   int      `json:"idx,omitempty"`
}

// Key is the name of a component in a status: "switch:0".
func (c *Component) Key() string {
	if c.ID < 0 {
		return c.Kind
	}
	return c.Kind + ":" + strconv.Itoa(c.ID)
}

// Has tells whether a component has a field in its status.
func (c *Component) Has(field string) bool { return slices.Contains(c.Fields, field) }

// Hash is that of all that a device is.
func (d *Device) Hash() [sha256.Size]byte {
	text, err := json.Marshal(d)
	if err != nil {
		return [sha256.Size]byte{} // texts, flags and finite numbers: it cannot happen
	}
	return sha256.Sum256(text)
}

// Build makes a device of what it has answered; components may be empty.
func Build(prefix string, info, config, status template.Value, components []template.Value) (*Device, error) {
	d := &Device{
		Prefix: prefix, ID: text(info.Key("id")), MAC: MAC(text(info.Key("mac"))), Name: text(info.Key("name")),
		Model: text(info.Key("model")), App: text(info.Key("app")), Version: text(info.Key("ver")),
	}
	if d.ID == "" || d.MAC == "" {
		return nil, errors.New("it has no ID and no hardware address")
	}
	if d.Name == "" {
		d.Name = text(config.Key("sys").Key("device").Key("name"))
	}
	d.IP = address(text(status.Key("wifi").Key("sta_ip")))
	if d.IP == "" {
		d.IP = address(text(status.Key("eth").Key("ip")))
	}
	d.Sleeps = integer(status.Key("sys").Key("wakeup_period")) > 0
	taken := map[string]bool{}
	add := func(key string, config, status template.Value) {
		kind, number, several := strings.Cut(key, ":")
		id := -1
		if several {
			n, err := strconv.Atoi(number)
			if err != nil || n < 0 || n > 100_000 || strconv.Itoa(n) != number {
				return
			}
			id = n
		}
		if taken[key] || len(d.Components) >= MaxComponents || !plainKind(kind) {
			return
		}
		taken[key] = true
		c := component(kind, id, config)
		c.fields("", status, 0)
		c.Placed, _ = status.Key("pos_control").Bool()
		d.Components = append(d.Components, c)
	}
	status.Pairs(func(key string, s template.Value) {
		if s.Kind() == template.Dict {
			add(key, config.Key(key), s)
		}
	})
	for _, item := range components {
		if key, ok := item.Key("key").Str(); ok {
			add(key, item.Key("config"), item.Key("status"))
		}
	}
	return d, nil
}

func plainKind(kind string) bool {
	return kind != "" && len(kind) <= 40 && !strings.ContainsFunc(kind, func(r rune) bool { return r < '0' || r > '9' && r < '_' || r > 'z' })
}

// component reads the configuration of a component.
func component(kind string, id int, config template.Value) Component {
	c := Component{Kind: kind, ID: id, Name: text(config.Key("name")), Type: text(config.Key("type"))}
	number := func(v template.Value) *float64 {
		if f, ok := v.Number(); ok && f > -1e12 && f < 1e12 {
			return &f
		}
		return nil
	}
	c.Min, c.Max = number(config.Key("min")), number(config.Key("max"))
	if r := config.Key("ct_range").Items(); len(r) == 2 {
		c.Min, c.Max = number(r[0]), number(r[1])
	}
	ui := config.Key("meta").Key("ui")
	c.Step, c.Unit = number(ui.Key("step")), text(ui.Key("unit"))
	for _, o := range config.Key("options").Items() {
		if s := text(o); s != "" && len(c.Options) < maxValues && !slices.Contains(c.Options, s) {
			c.Options = append(c.Options, s)
		}
	}
	if on, ok := config.Key("slat").Key("enable").Bool(); ok && on {
		c.Type = "slat"
	}
	c.Address, c.Object, c.Index = MAC(text(config.Key("addr"))), integer(config.Key("obj_id")), integer(config.Key("idx"))
	return c
}

// fields notes which of the fields that are shown a status has. What is null
// may have a value later.
func (c *Component) fields(path string, v template.Value, depth int) {
	v.Pairs(func(key string, item template.Value) {
		switch name := path + key; {
		case item.Kind() == template.Dict && depth == 0:
			c.fields(name+".", item, depth+1)
		case shown[name] && len(c.Fields) < maxFields:
			c.Fields = append(c.Fields, name)
		}
	})
	if depth == 0 {
		slices.Sort(c.Fields)
	}
}

// An Old is what a device of the first generation is.
type Old struct {
	Prefix  string   `json:"prefix"`
	ID      string   `json:"id"`
	MAC     string   `json:"mac"`
	Model   string   `json:"model,omitempty"`
	Version string   `json:"ver,omitempty"`
	IP      string   `json:"ip,omitempty"`
	Parts   []string `json:"parts"` // "relay/0"; "light/0/status brightness temp" with what it can
}

// ParseAnnounce reads what a device of the first generation announces. One of
// a later one may be made to do the same, and is left out.
func ParseAnnounce(payload []byte) (*Old, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("message of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	v, err := template.Decode(string(payload))
	if err != nil {
		return nil, err
	}
	o := &Old{
		ID: text(v.Key("id")), MAC: MAC(text(v.Key("mac"))), Model: text(v.Key("model")), Version: text(v.Key("fw_ver")), IP: address(text(v.Key("ip"))),
	}
	switch {
	case v.Key("gen").Kind() != template.Undefined:
		return nil, ErrLater
	case o.ID == "" || strings.ContainsAny(o.ID, "/+#") || o.MAC == "":
		return nil, errors.New("it has no ID and no hardware address")
	}
	o.Prefix = oldPrefix + o.ID
	return o, nil
}

// ErrLater tells that a device is of a later generation.
var ErrLater = errors.New("it is of a later generation")

// Hash is that of all that a device is.
func (o *Old) Hash() [sha256.Size]byte {
	text, err := json.Marshal(o)
	if err != nil {
		return [sha256.Size]byte{} // texts: it cannot happen
	}
	return sha256.Sum256(text)
}

// Readers of loose JSON: what is of another type than expected is the usual.

func text(v template.Value) string {
	if !v.Scalar() {
		return ""
	}
	return cut(strings.TrimSpace(v.Text()))
}

func integer(v template.Value) int {
	if f, ok := v.Number(); ok && v.Kind() != template.String && f >= -1e9 && f <= 1e9 {
		return int(f)
	}
	return 0
}

func address(s string) string {
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.IsUnspecified() {
		return ""
	}
	return ip.WithZone("").String()
}

func cut(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return strings.Clone(strings.ToValidUTF8(s, ""))
}
