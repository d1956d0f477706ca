package homie

import (
	"maps"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"lar.home/devices/homeassistant"
	"lar.home/devices/template"
)

// An Entity is one entity of a device: its kind, name and class in the words
// of the other convention, and the properties of which it is made.
type Entity struct {
	homeassistant.Config
	Parts map[Role]*Part
	Five  bool
}

// A Role is what a property is in its entity.
type Role string

// Roles. An entity of one property has it as its Value.
const (
	Value       Role = "value"
	Power       Role = "power"
	Brightness  Role = "brightness"
	Tone        Role = "color"
	Temperature Role = "color_temp"
	Speed       Role = "speed"
	Move        Role = "move"
	Position    Role = "position"
)

// A Part is a property with its topics.
type Part struct {
	Property
	Topic  string // that has the value
	Set    string // to which it is told; empty if it cannot be
	Target string // that has the value it is on the way to; empty if there is none
}

// Empty is how an empty text is sent in version 5: a message without payload
// takes a retained one away.
const Empty = "\x00"

// A describer collects the entities of a device.
type describer struct {
	*Device
	block *homeassistant.Device
	out   []Entity
}

// Describe returns what a device has.
func Describe(d *Device) []Entity {
	x := &describer{Device: d, block: &homeassistant.Device{
		Identifiers: []string{Identifier(d.Base)}, Name: d.Name, Model: d.Firmware, SWVersion: d.Version, Manufacturer: d.Program,
	}}
	if d.MAC != "" {
		x.block.Identifiers = append(x.block.Identifiers, "mac:"+d.MAC)
	}
	if x.block.Name == "" {
		_, x.block.Name, _ = strings.Cut(strings.Replace(d.Base, "/5/", "/", 1), "/")
	}
	if d.Via != "" {
		x.block.Via = Identifier(d.Via)
	}
	for i := range d.Nodes {
		x.node(&d.Nodes[i])
	}
	x.statistics()
	return x.out
}

// reachable is what $state says of a device that can be reached. One that
// sleeps is no less there.
const reachable = "{{ 'online' if value in ['ready', 'alert', 'sleeping'] else 'offline' }}"

// add adds an entity. object is its place: "light/power".
func (x *describer) add(component, object, name string, options map[string]any) *Entity {
	sources := []any{map[string]any{"topic": State(x.Base), "value_template": reachable}}
	if x.Root != "" {
		sources = append(sources, map[string]any{"topic": State(x.Root), "value_template": reachable})
	}
	options["availability"], options["availability_mode"] = sources, "all"
	options["unique_id"] = Identifier(x.Base) + "/" + object
	options["name"] = nil // that of the device
	if name != "" && name != x.block.Name {
		options["name"] = name
	}
	value, err := template.Of(options)
	if err != nil {
		value = template.Value{} // texts, numbers and flags: it cannot happen
	}
	x.out = append(x.out, Entity{Five: x.Five, Parts: map[Role]*Part{}, Config: homeassistant.Config{
		// No topic of the other convention has a node with a slash in it.
		Topic:  homeassistant.Topic{Component: component, Node: x.Base, Object: object},
		Device: x.block, Options: value,
	}})
	return &x.out[len(x.out)-1]
}

func (x *describer) part(n *Node, p *Property) *Part {
	part := &Part{Property: *p, Topic: x.Base + "/" + n.ID + "/" + p.ID}
	if p.Settable {
		part.Set = part.Topic + "/set"
		if x.Five && p.Retained {
			part.Target = part.Topic + "/$target"
		}
	}
	return part
}

// node describes a node: what is a light, a fan or a cover first, then each
// other property by itself.
func (x *describer) node(n *Node) {
	left := make([]*Property, len(n.Properties))
	for i := range n.Properties {
		left[i] = &n.Properties[i]
	}
	for _, whole := range []func(*Node, []*Property) map[Role]*Property{light, fan, cover} {
		roles := whole(n, left)
		if len(roles) == 0 {
			continue
		}
		component := "light"
		switch {
		case roles[Speed] != nil:
			component = "fan"
		case roles[Move] != nil:
			component = "cover"
		}
		options := map[string]any{"qos": x.qos(true)}
		if p := roles[Temperature]; p != nil {
			options["color_temp_kelvin"] = kelvin(p.Unit)
			if p.Min != nil && p.Max != nil {
				low, high := "min_mireds", "max_mireds"
				if kelvin(p.Unit) {
					low, high = "min_kelvin", "max_kelvin"
				}
				options[low], options[high] = *p.Min, *p.Max
			}
		}
		e := x.add(component, n.ID, x.nodeName(n), options)
		for role, p := range roles {
			e.Parts[role] = x.part(n, p)
			left = slices.DeleteFunc(left, func(other *Property) bool { return other == p })
		}
	}
	for _, p := range left {
		x.property(n, p)
	}
}

// nodeName names what stands for a whole node: the only one of a device needs
// no name of its own.
func (x *describer) nodeName(n *Node) string {
	if len(x.Nodes) == 1 {
		return ""
	}
	if n.Name != "" {
		return n.Name
	}
	return sentence(n.ID)
}

// name names a property: by the node, too, where there are several.
func (x *describer) name(n *Node, p *Property) string {
	name := p.Name
	if name == "" {
		name = sentence(p.ID)
	}
	node := x.nodeName(n)
	switch {
	case node == "" || strings.HasPrefix(strings.ToLower(name)+" ", strings.ToLower(node)+" "):
		return name
	case len(n.Properties) == 1:
		return node
	}
	return node + " " + name
}

// qos is how a version tells properties: once, at least; an event must not
// come late or twice.
func (x *describer) qos(retained bool) int {
	switch {
	case x.Five && retained, !x.Five && !retained:
		return 2
	case x.Five:
		return 0
	}
	return 1
}

// property describes a property by itself.
func (x *describer) property(n *Node, p *Property) {
	object, name := n.ID+"/"+p.ID, x.name(n, p)
	options := map[string]any{"qos": x.qos(p.Retained)}
	part := x.part(n, p)
	if !p.Retained {
		x.momentary(object, name, part, options)
		return
	}
	component := ""
	switch p.Datatype {
	case Boolean:
		component = "binary_sensor"
		if p.Settable {
			component = "switch"
		} else if class := binaryClass(p, n); class != "" {
			options["device_class"] = class
		}
	case Integer, Float, Duration:
		component = "sensor"
		if p.Settable {
			component = "number"
		}
		class, state := numberClass(p)
		if class != "" {
			options["device_class"] = class
		}
		if !p.Settable {
			options["state_class"] = state
		}
		options["unit_of_measurement"] = unit(p)
	case Enum:
		component = "sensor"
		options["options"] = p.Options
		switch {
		case p.Settable && len(p.Options) == 1:
			component = "button"
		case p.Settable:
			component = "select"
		default:
			options["device_class"] = "enum"
		}
	case DateTime:
		component = "sensor"
		options["device_class"] = "timestamp"
		if p.Settable {
			component = "datetime"
			delete(options, "device_class")
		}
	default:
		component = "sensor"
		if p.Settable {
			component = "text"
		}
	}
	x.add(component, object, name, options).Parts[Value] = part
}

// momentary describes a property that is told in the moment only: what it
// publishes is an event, and what can be set is done at once.
func (x *describer) momentary(object, name string, part *Part, options map[string]any) {
	p := &part.Property
	button := p.Settable && (p.Datatype == Boolean || p.Datatype == Enum && len(p.Options) == 1)
	if button {
		x.add("button", object, name, options).Parts[Value] = part
		return
	}
	told := *part
	told.Set, told.Target = "", ""
	event := map[string]any{}
	switch p.Datatype {
	case Enum:
		event["event_types"] = p.Options
	case Boolean:
		event["event_types"] = []string{"true", "false"}
	}
	x.add("event", object, name, event).Parts[Value] = &told
	if !p.Settable {
		return
	}
	component := "text"
	switch p.Datatype {
	case Enum:
		component = "select"
		options["options"] = p.Options
	case Integer, Float, Duration:
		component = "number"
		options["unit_of_measurement"] = unit(p)
	case DateTime:
		component = "datetime"
	}
	e := x.add(component, object, name, options)
	only := *part
	only.Topic, only.Target = "", ""
	e.Parts[Value] = &only
}

// A find returns the first property with one of some names that fits.
func find(of []*Property, fits func(*Property) bool, names ...string) *Property {
	for _, name := range names {
		for _, p := range of {
			if plain(p.ID) == name && p.Retained && fits(p) {
				return p
			}
		}
	}
	return nil
}

func settableBool(p *Property) bool { return p.Settable && p.Datatype == Boolean }

// settableRange tells whether a property is a number of a known range that
// begins with 0, or a percentage.
func settableRange(p *Property) bool {
	number := p.Settable && (p.Datatype == Integer || p.Datatype == Float)
	if p.Min != nil && p.Max != nil {
		return number && *p.Min == 0
	}
	return number && p.Unit == "%"
}

var (
	powers       = []string{"power", "on", "onoff", "state", "switch", "light", "output"}
	brightnesses = []string{"brightness", "dim", "dimmer", "dimming", "intensity", "level", "luminosity"}
	temperatures = []string{"colortemperature", "colortemp", "ct", "whitetemperature"}
)

// light finds a light in a node: a color or a brightness, and what belongs to it.
func light(n *Node, of []*Property) map[Role]*Property {
	roles := map[Role]*Property{}
	add := func(role Role, p *Property) {
		if p != nil {
			roles[role] = p
		}
	}
	for _, p := range of {
		if p.Datatype == Color && p.Settable && p.Retained && roles[Tone] == nil {
			add(Tone, p)
		}
	}
	add(Brightness, find(of, settableRange, brightnesses...))
	add(Temperature, find(of, func(p *Property) bool {
		return p.Settable && (p.Datatype == Integer || p.Datatype == Float) && (p.Min != nil && p.Max != nil && *p.Min > 0 || p.Unit != "")
	}, temperatures...))
	add(Power, find(of, settableBool, powers...))
	lamp := strings.Contains(plain(n.Type), "light") || strings.Contains(plain(n.Type), "lamp") || strings.Contains(plain(n.Type), "dimm")
	power, brightness := roles[Power], roles[Brightness]
	switch {
	case power == nil && brightness == nil && (roles[Tone] == nil || !lamp): // a color alone is a color
		return nil
	case lamp || roles[Tone] != nil || roles[Temperature] != nil:
	case power == nil || brightness == nil || plain(brightness.ID) == "level": // it may be a volume
		return nil
	}
	return roles
}

// fan finds a fan: power and speed, and nothing else unless it is called so.
func fan(n *Node, of []*Property) map[Role]*Property {
	power, speed := find(of, settableBool, powers...), find(of, settableRange, "speed", "fanspeed")
	if power == nil || speed == nil || len(of) != 2 && !strings.Contains(plain(n.Type), "fan") {
		return nil
	}
	return map[Role]*Property{Power: power, Speed: speed}
}

// cover finds a cover: what can be told to open and to close, and its position.
func cover(n *Node, of []*Property) map[Role]*Property {
	for _, p := range of {
		if p.Datatype != Enum || !p.Settable {
			continue
		}
		open, shut, other := false, false, false
		for _, o := range p.Options {
			switch Movement(o) {
			case "open":
				open = true
			case "close":
				shut = true
			case "":
				other = true
			}
		}
		if !open || !shut || other {
			continue
		}
		roles := map[Role]*Property{Move: p}
		position := find(of, func(p *Property) bool {
			return settableRange(&Property{Datatype: p.Datatype, Unit: p.Unit, Min: p.Min, Max: p.Max, Settable: true})
		},
			"position", "level", "currentposition")
		if position != nil {
			roles[Position] = position
		}
		return roles
	}
	return nil
}

// Movement returns what a word does to a cover: "open", "close", "stop",
// "opening", "closing"; "" if it is no such word.
func Movement(word string) string {
	switch plain(word) {
	case "open", "up", "opened":
		return "open"
	case "close", "down", "closed":
		return "close"
	case "stop", "halt", "stopped":
		return "stop"
	case "opening":
		return "opening"
	case "closing":
		return "closing"
	}
	return ""
}

// plain makes "colortemp" of "Color-Temp".
func plain(s string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, s)
}

// sentence makes "Button short press" of "button-short-press".
func sentence(s string) string {
	s = strings.ReplaceAll(strings.ReplaceAll(s, "-", " "), "_", " ")
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + s[n:]
}

func kelvin(unit string) bool { return unit == "K" || unit == "°K" || unit == "" }

// unit is how a unit is written elsewhere. "#" is a count.
func unit(p *Property) string {
	switch {
	case p.Datatype == Duration:
		return "s"
	case p.Unit == "#":
		return ""
	}
	return p.Unit
}

// numberClass says what a number is, by its unit and its name.
func numberClass(p *Property) (class, state string) {
	name := plain(p.ID) + plain(p.Name)
	has := func(words ...string) bool {
		return slices.ContainsFunc(words, func(w string) bool { return strings.Contains(name, w) })
	}
	state = "measurement"
	switch p.Unit {
	case "°C", "°F", "K":
		if p.Unit != "K" || !has("color") {
			class = "temperature"
		}
	case "%":
		switch {
		case has("humidity"):
			class = "humidity"
		case has("battery"):
			class = "battery"
		case has("moisture"):
			class = "moisture"
		}
	case "V", "mV":
		class = "voltage"
	case "A", "mA":
		class = "current"
	case "W", "kW":
		class = "power"
	case "Wh", "kWh":
		class, state = "energy", "total_increasing"
	case "VA":
		class = "apparent_power"
	case "Hz":
		class = "frequency"
	case "lx":
		class = "illuminance"
	case "Pa", "hPa", "kPa", "psi", "mbar", "bar":
		class = "pressure"
	case "ppm":
		if has("co2", "carbondioxide") {
			class = "carbon_dioxide"
		}
	case "m³":
		if has("gas") {
			class, state = "gas", "total_increasing"
		} else if has("water") {
			class, state = "water", "total_increasing"
		}
	case "m/s", "km/h":
		if has("wind") {
			class = "wind_speed"
		} else {
			class = "speed"
		}
	case "dBm":
		class = "signal_strength"
	}
	if p.Datatype == Duration {
		class = "duration"
	}
	return class, state
}

// binaryClass says what a flag is, by its name or that of its node.
func binaryClass(p *Property, n *Node) string {
	for _, name := range []string{plain(p.ID), plain(n.Type), plain(n.ID)} {
		for _, c := range [][2]string{
			{"motion", "motion"}, {"occupancy", "occupancy"}, {"presence", "presence"}, {"door", "door"}, {"window", "window"},
			{"smoke", "smoke"}, {"leak", "moisture"}, {"flood", "moisture"}, {"tamper", "tamper"}, {"vibration", "vibration"},
			{"contact", "opening"}, {"lowbattery", "battery"}, {"batterylow", "battery"},
		} {
			if name == c[0] || name == c[0]+"sensor" || name == c[0]+"detected" {
				return c[1]
			}
		}
	}
	return ""
}

// A statisticKind is one of what devices of version 3, and those with the
// extension for it of version 4, tell of themselves.
type statisticKind struct {
	name, label string
	options     map[string]any
}

var statistics = []statisticKind{
	{"battery", "Battery", map[string]any{"device_class": "battery", "unit_of_measurement": "%"}},
	{"signal", "Signal", map[string]any{"unit_of_measurement": "%", "icon": "mdi:wifi"}},
	{"uptime", "Uptime", map[string]any{"device_class": "duration", "unit_of_measurement": "s", "enabled_by_default": false}},
	{"cputemp", "Processor temperature", map[string]any{"device_class": "temperature", "unit_of_measurement": "°C", "enabled_by_default": false}},
	{"cpuload", "Processor load", map[string]any{"unit_of_measurement": "%", "enabled_by_default": false}},
	{"freeheap", "Free memory", map[string]any{"device_class": "data_size", "unit_of_measurement": "B", "enabled_by_default": false}},
	{"supply", "Supply voltage", map[string]any{"device_class": "voltage", "unit_of_measurement": "V", "enabled_by_default": false}},
}

// statistic tells whether an attribute is one of the statistics.
func statistic(attribute string) bool {
	name, ok := strings.CutPrefix(attribute, "$stats/")
	return ok && slices.ContainsFunc(statistics, func(s statisticKind) bool { return s.name == name })
}

// Moments are the topics, besides those of properties, on which a device says
// how it is now.
func Moments(base string) []string {
	out := []string{State(base)}
	for _, s := range statistics {
		out = append(out, base+"/$stats/"+s.name)
	}
	return out
}

func (x *describer) statistics() {
	for _, s := range statistics {
		if !slices.Contains(x.Statistics, s.name) {
			continue
		}
		options := map[string]any{"entity_category": "diagnostic", "state_class": "measurement"}
		maps.Copy(options, s.options)
		x.add("sensor", "$stats/"+s.name, s.label, options).Parts[Value] = &Part{
			Property: Property{ID: s.name, Datatype: Float, Retained: true}, Topic: x.Base + "/$stats/" + s.name,
		}
	}
}
