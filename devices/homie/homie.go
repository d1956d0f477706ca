// Package homie reads what devices say of themselves by the Homie convention,
// versions 3, 4 and 5.
//
// In versions 3 and 4 each attribute of a device, of its nodes and of their
// properties has a retained topic of its own; [Assemble] makes a [Device] of
// them. In version 5 one JSON text has it all; [Parse] reads that. [Describe]
// makes entities of a device: what they are in the words of the Home Assistant
// convention, as that is the language of which package devices builds its
// model, and the properties of which each is made.
// Sources: homieiot/convention, versions 3.0.1, 4.0.0 and 5.0.0.
package homie

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lar.home/devices/template"
)

// Bounds of one device.
const (
	// MaxPayload is the largest description that is read, in bytes.
	MaxPayload = 256 << 10
	// MaxAttribute is the longest attribute of versions 3 and 4 that is read.
	MaxAttribute = 16 << 10
	// MaxProperties is how many properties one device may have.
	MaxProperties = 500
	maxNodes      = 200
	maxArray      = 64 // elements of a node that is an array
	maxOptions    = 500
	maxName       = 255
	maxID         = 128
)

// A Topic is a topic on which a device says something of itself.
type Topic struct {
	Base string // of the device: "homie/lamp", or "homie/5/lamp"
	// Attribute is what the topic has: "$state", "light/$name" for a node's,
	// "light/power/$unit" for a property's.
	Attribute string
	Five      bool // it is of version 5
}

// StateAttribute says whether a device is there; it is cleared when the device
// is removed.
const StateAttribute = "$state"

// DescriptionAttribute has all that a device of version 5 is.
const DescriptionAttribute = "$description"

// State is the topic of a device's state.
func State(base string) string { return base + "/" + StateAttribute }

// Attributes by how many levels of identifiers stand before them.
var attributes = [3]map[string]bool{
	{"$homie": true, "$name": true, "$state": true, "$nodes": true, "$mac": true, "$localip": true, "$implementation": true,
		"$fw/name": true, "$fw/version": true},
	{"$name": true, "$type": true, "$properties": true, "$array": true},
	{"$name": true, "$datatype": true, "$format": true, "$settable": true, "$retained": true, "$unit": true},
}

// ParseTopic takes a topic apart. Values of properties are no such topics.
func ParseTopic(topic string) (t Topic, ok bool) {
	at := strings.Index(topic, "/$")
	if at < 0 || topic[0] == '$' {
		return t, false
	}
	path, attribute := topic[:at], topic[at+1:]
	levels := strings.Split(path, "/")
	for _, l := range levels {
		if l == "" || len(l) > maxID {
			return t, false
		}
	}
	switch {
	case len(levels) == 3 && levels[1] == "5" && (attribute == StateAttribute || attribute == DescriptionAttribute):
		return Topic{Base: path, Attribute: attribute, Five: true}, true
	case len(levels) < 2 || len(levels) > 4 || !attributes[len(levels)-2][attribute] && !(len(levels) == 2 && statistic(attribute)):
		return t, false
	}
	base := levels[0] + "/" + levels[1]
	return Topic{Base: base, Attribute: topic[len(base)+1:]}, true
}

// A Datatype is the type of a property's values.
type Datatype string

// Datatypes.
const (
	Integer  Datatype = "integer"
	Float    Datatype = "float"
	Boolean  Datatype = "boolean"
	String   Datatype = "string"
	Enum     Datatype = "enum"
	Color    Datatype = "color"
	DateTime Datatype = "datetime"
	Duration Datatype = "duration"
	JSON     Datatype = "json"
)

// A Device is what a device says of itself.
type Device struct {
	Base                                       string
	Five                                       bool
	Name, MAC, Firmware, Version, Via, Program string
	Root                                       string // base of the device that it goes with; empty for none
	Nodes                                      []Node
	Statistics                                 []string // names of those that it tells: "battery"
}

// A Node is a part of a device.
type Node struct {
	ID, Name, Type string
	Properties     []Property
}

// A Property is one value.
type Property struct {
	ID, Name, Unit     string
	Datatype           Datatype
	Settable, Retained bool

	Min, Max, Step *float64 // of numbers
	Options        []string // of an Enum; of a Boolean its words for false and true
	Colors         []string // "rgb", "hsv", "xyz": the forms that it takes
}

// Hash is that of all that a device says.
func (d *Device) Hash() [sha256.Size]byte {
	text, err := json.Marshal(d)
	if err != nil {
		return [sha256.Size]byte{} // texts, flags and finite numbers: it cannot happen
	}
	return sha256.Sum256(text)
}

func (d *Device) count() int {
	n := 0
	for i := range d.Nodes {
		n += len(d.Nodes[i].Properties)
	}
	return n
}

// Parse reads the description of a device of version 5.
func Parse(base string, payload []byte) (*Device, error) {
	if len(payload) > MaxPayload {
		return nil, fmt.Errorf("description of %d bytes, at most %d are read", len(payload), MaxPayload)
	}
	v, err := template.Decode(string(payload))
	if err != nil {
		return nil, err
	}
	if v.Kind() != template.Dict {
		return nil, errors.New("it is not a JSON object")
	}
	if version := text(v.Key("homie")); version != "5" && !strings.HasPrefix(version, "5.") {
		return nil, fmt.Errorf("it is of version %q, and its topic of 5", version)
	}
	domain, id, _ := strings.Cut(base, "/5/")
	d := &Device{Base: base, Five: true, Name: text(v.Key("name")), MAC: hardware(id)}
	if root := text(v.Key("root")); identifier(root) && root != id {
		d.Root = domain + "/5/" + root
	}
	if parent := text(v.Key("parent")); identifier(parent) && parent != id {
		d.Via = domain + "/5/" + parent
	}
	if d.Via == "" {
		d.Via = d.Root
	}
	v.Key("nodes").Pairs(func(id string, node template.Value) {
		if !identifier(id) || len(d.Nodes) >= maxNodes || node.Kind() != template.Dict {
			return
		}
		n := Node{ID: strings.Clone(id), Name: text(node.Key("name")), Type: text(node.Key("type"))}
		node.Key("properties").Pairs(func(id string, p template.Value) {
			if !identifier(id) || d.count()+len(n.Properties) >= MaxProperties || p.Kind() != template.Dict {
				return
			}
			n.Properties = append(n.Properties, property(id, text(p.Key("name")), text(p.Key("datatype")), format(p.Key("format")),
				text(p.Key("unit")), flag(p.Key("settable"), false), flag(p.Key("retained"), true), true))
		})
		d.Nodes = append(d.Nodes, n)
	})
	return d, nil
}

// ErrIncomplete tells that more attributes are to come.
var ErrIncomplete = errors.New("its attributes are not complete")

// Assemble makes a device of its attributes in versions 3 and 4. It fails as
// long as they are not complete.
func Assemble(base string, attributes map[string]string) (*Device, error) {
	version := attributes["$homie"]
	major, _, _ := strings.Cut(version, ".")
	nodes, known := attributes["$nodes"]
	switch {
	case version == "" || !known:
		return nil, ErrIncomplete
	case major != "3" && major != "4":
		return nil, fmt.Errorf("version %q of Homie is not supported", cut(version))
	}
	_, id, _ := strings.Cut(base, "/")
	d := &Device{
		Base: base, Name: cut(strings.TrimSpace(attributes["$name"])), MAC: hardware(attributes["$mac"]),
		Firmware: cut(attributes["$fw/name"]), Version: cut(attributes["$fw/version"]), Program: cut(attributes["$implementation"]),
	}
	if d.MAC == "" {
		d.MAC = hardware(id)
	}
	for _, name := range list(nodes) {
		name, array := strings.CutSuffix(name, "[]")
		if !identifier(name) || len(d.Nodes) >= maxNodes {
			continue
		}
		properties, known := attributes[name+"/$properties"]
		if !known {
			return nil, ErrIncomplete
		}
		n := Node{ID: name, Name: cut(strings.TrimSpace(attributes[name+"/$name"])), Type: cut(attributes[name+"/$type"])}
		for _, p := range list(properties) {
			if !identifier(p) || d.count()+len(n.Properties) >= MaxProperties {
				continue
			}
			of := func(attribute string) string { return attributes[name+"/"+p+"/"+attribute] }
			n.Properties = append(n.Properties, property(p, cut(strings.TrimSpace(of("$name"))), of("$datatype"), of("$format"),
				cut(strings.TrimSpace(of("$unit"))), of("$settable") == "true", of("$retained") != "false", false))
		}
		if !array {
			d.Nodes = append(d.Nodes, n)
			continue
		}
		first, last, _ := strings.Cut(attributes[name+"/$array"], "-")
		from, err := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err != nil || err2 != nil {
			return nil, ErrIncomplete
		}
		for i := from; i <= to && i < from+maxArray && len(d.Nodes) < maxNodes && d.count()+len(n.Properties) <= MaxProperties; i++ {
			element := n
			element.ID = name + "_" + strconv.Itoa(i)
			element.Name = cut(strings.TrimSpace(attributes[element.ID+"/$name"]))
			if element.Name == "" && n.Name != "" {
				element.Name = n.Name + " " + strconv.Itoa(i)
			}
			d.Nodes = append(d.Nodes, element)
		}
	}
	for _, s := range statistics {
		if _, told := attributes["$stats/"+s.name]; told {
			d.Statistics = append(d.Statistics, s.name)
		}
	}
	return d, nil
}

// property reads the format of a property by its type.
func property(id, name, datatype, format, unit string, settable, retained, five bool) Property {
	p := Property{ID: strings.Clone(id), Name: name, Datatype: Datatype(datatype), Unit: unit, Settable: settable, Retained: retained}
	switch p.Datatype {
	case Integer, Float:
		bounds := strings.Split(format, ":")
		for i, to := range []**float64{&p.Min, &p.Max, &p.Step} {
			if i >= len(bounds) {
				break
			}
			if f, err := strconv.ParseFloat(strings.TrimSpace(bounds[i]), 64); err == nil && !math.IsNaN(f) && !math.IsInf(f, 0) {
				*to = &f
			}
		}
		if p.Min != nil && p.Max != nil && *p.Min >= *p.Max {
			p.Min, p.Max = nil, nil
		}
		if p.Step != nil && *p.Step <= 0 {
			p.Step = nil
		}
	case Enum:
		p.Options = enum(format, five)
	case Boolean:
		if o := enum(format, five); len(o) == 2 && five {
			p.Options = o
		}
	case Color:
		for f := range strings.SplitSeq(strings.ToLower(format), ",") {
			if f = strings.TrimSpace(f); (f == "rgb" || f == "hsv" || f == "xyz" && five) && !slices.Contains(p.Colors, f) {
				p.Colors = append(p.Colors, f)
			}
		}
		if len(p.Colors) == 0 {
			p.Colors = []string{"rgb"}
		}
	case DateTime, Duration, JSON:
		if !five && p.Datatype == JSON {
			p.Datatype = String
		}
	default:
		p.Datatype = String
	}
	return p
}

// enum reads the values of an enum. Before version 5 a comma in one of them is
// written twice.
func enum(format string, five bool) []string {
	const comma = "\x00"
	if !five {
		format = strings.ReplaceAll(format, ",,", comma)
	}
	var out []string
	for s := range strings.SplitSeq(format, ",") {
		s = cut(strings.TrimSpace(strings.ReplaceAll(s, comma, ",")))
		if s != "" && !slices.Contains(out, s) && len(out) < maxOptions {
			out = append(out, s)
		}
	}
	return out
}

// hardware returns a hardware address in one spelling; "" if it is none.
func hardware(s string) string {
	if len(s) != 12 && len(s) != 17 {
		return ""
	}
	digits := strings.ToLower(strings.ReplaceAll(strings.ReplaceAll(s, ":", ""), "-", ""))
	if _, err := strconv.ParseUint(digits, 16, 64); err != nil || len(digits) != 12 {
		return ""
	}
	return digits[:2] + ":" + digits[2:4] + ":" + digits[4:6] + ":" + digits[6:8] + ":" + digits[8:10] + ":" + digits[10:]
}

// identifier tells whether s can be a level of a topic. The convention has
// small letters, digits and hyphens; real devices also use others.
func identifier(s string) bool {
	return s != "" && len(s) <= maxID && utf8.ValidString(s) && s[0] != '$' &&
		!strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || strings.ContainsRune("+#/", r) })
}

// Identifier is what a device is known by besides its hardware address. It
// stays the same when the device goes over to another version.
func Identifier(base string) string {
	return "homie:" + strings.Replace(base, "/5/", "/", 1)
}

func list(s string) []string {
	var out []string
	seen := map[string]bool{}
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" && !seen[item] {
			seen[item] = true
			out = append(out, item)
		}
	}
	return out
}

// Readers of loose JSON: what is of another type than expected is the usual.

func text(v template.Value) string {
	if !v.Scalar() {
		return ""
	}
	return cut(strings.TrimSpace(v.Text()))
}

func format(v template.Value) string {
	s, _ := v.Str()
	if len(s) > MaxAttribute {
		return ""
	}
	return s
}

func flag(v template.Value, usual bool) bool {
	if b, ok := v.Bool(); ok {
		return b
	}
	return usual
}

func cut(s string) string {
	if len(s) > maxName {
		s = s[:maxName]
	}
	return strings.Clone(strings.ToValidUTF8(s, ""))
}
