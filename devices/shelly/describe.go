package shelly

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"lar.home/devices/homeassistant"
	"lar.home/devices/template"
)

// An Entity is one entity of a device: its kind, name and class in the words
// of the other convention, where its values stand, and how it is told.
type Entity struct {
	homeassistant.Config
	Prefix string
	// Component is the part of the device that it is, of the second and later
	// generations; nil for the first.
	Component *Component
	Role      Role
	Status    []Place // where the object of the component's status stands
	Field     []string
	Scale     float64 // by which a number is multiplied; 0: as it is
	Events    string  // topic of events
	Topic1    string  // of the first generation: the topic of its value
	Features  []string
}

// A Place is a place in the messages of a topic.
type Place struct {
	Topic string
	Path  []string // keys, and places in lists
}

// A Role is what an entity does with its component.
type Role int

// Roles.
const (
	Field Role = iota // a number, a flag or a text of the status
	SwitchRole
	LightRole
	CoverRole
	ClimateRole
	EventRole
	VirtualRole // made by people: a value that can be set
	ButtonRole  // calls Method
	UpdateRole
	RefusalRole // what the device had against the last command
)

// A describer collects the entities of a device.
type describer struct {
	block  *homeassistant.Device
	prefix string
	id     string // of the device, in unique IDs
	sleeps bool
	out    []Entity
}

func newDescriber(prefix, id, mac, name, model, version, ip string) *describer {
	d := &describer{prefix: prefix, id: strings.ToLower(id)}
	d.block = &homeassistant.Device{Identifiers: Identifiers(mac, id), Name: name, Manufacturer: "Shelly", Model: model, SWVersion: version}
	if name == "" {
		d.block.Name = id
	}
	if strings.Contains(ip, ":") {
		d.block.ConfigURL = "http://[" + ip + "]/"
	} else if ip != "" {
		d.block.ConfigURL = "http://" + ip + "/"
	}
	return d
}

// add adds an entity. object is its place in the device: "switch:0 apower".
func (d *describer) add(component, object, name string, options map[string]any) *Entity {
	if options == nil {
		options = map[string]any{}
	}
	options["unique_id"] = "shelly " + d.id + " " + object
	options["qos"] = 1
	options["name"] = nil // that of the device
	if name != "" && name != d.block.Name {
		options["name"] = name
	}
	if !d.sleeps {
		options["availability_topic"], options["payload_available"], options["payload_not_available"] = OnlineTopic(d.prefix), "true", "false"
		options["availability_mode"] = "unless" // who speaks is there, whatever was heard of it
	}
	value, err := template.Of(options)
	if err != nil {
		value = template.Value{} // texts, numbers and flags: it cannot happen
	}
	d.out = append(d.out, Entity{Prefix: d.prefix, Config: homeassistant.Config{
		// No topic of the other convention has a node with a slash in it.
		Topic:  homeassistant.Topic{Component: component, Node: "shelly/" + d.id, Object: object},
		Device: d.block, Options: value,
	}})
	return &d.out[len(d.out)-1]
}

// Describe returns what a device of the second or a later generation has.
func Describe(dev *Device) []Entity {
	model := dev.App
	if model == "" {
		model = dev.Model
	}
	d := newDescriber(dev.Prefix, dev.ID, dev.MAC, dev.Name, model, dev.Version, dev.IP)
	d.sleeps = dev.Sleeps
	counts := map[string]int{}
	for i := range dev.Components {
		counts[dev.Components[i].Kind]++
	}
	names := map[string]string{} // of Bluetooth devices, by address
	for i := range dev.Components {
		if c := &dev.Components[i]; c.Kind == "bthomedevice" && c.Address != "" {
			names[c.Address] = c.Name
		}
	}
	for i := range dev.Components {
		c := &dev.Components[i]
		x := &component2{describer: d, Component: c, name: c.Name}
		switch {
		case c.Kind == "bthomesensor" && c.Name == "" && names[c.Address] != "":
			x.name = names[c.Address] + " " + objects[c.Object].name
		case c.Name == "" && c.ID >= 0 && (counts[c.Kind] > 1 || !mains[c.Kind]):
			if x.name = sentence(c.Kind); labels[c.Kind] != "" {
				x.name = labels[c.Kind]
			}
			if counts[c.Kind] > 1 {
				x.suffix = " " + strconv.Itoa(c.ID%100+1)
			}
			if x.name = strings.TrimSpace(x.name); x.name != "" {
				x.name += x.suffix
			}
		}
		x.describe()
	}
	d.add("sensor", "refusal", "Last refusal", map[string]any{"entity_category": "diagnostic", "icon": "mdi:alert-circle-outline"}).Role = RefusalRole
	d.add("button", "reboot", "Restart", map[string]any{"entity_category": "config", "device_class": "restart"}).Role = ButtonRole
	return d.out
}

// mains are the kinds of which the only one has the name of the device.
var mains = map[string]bool{"switch": true, "light": true, "cct": true, "rgb": true, "rgbw": true, "rgbcct": true, "cover": true, "thermostat": true}

var labels = map[string]string{
	"em": "Meter", "em1": "Meter", "pm1": "Meter", "emdata": "Meter", "em1data": "Meter", "cct": "Light", "rgb": "Light", "rgbw": "Light", "rgbcct": "Light",
	"bthomedevice": "Bluetooth device", "bthomesensor": "Bluetooth sensor", "blutrv": "Radiator", "boolean": "Switch", "enum": "Choice",
	"temperature": " ", "humidity": " ", "devicepower": " ", "smoke": " ", "flood": " ", "illuminance": " ", "voltmeter": " ",
}

// A component2 is a component that is being described.
type component2 struct {
	*describer
	*Component
	name   string
	suffix string // " 2" where there are several and none has a name
}

// label names a part of a component.
func (x *component2) label(part string) string {
	name := strings.TrimSpace(x.name)
	if name == "" {
		return sentence(part) + x.suffix
	}
	return name + " " + part
}

func (x *component2) entity(component, object, part string, role Role, options map[string]any) *Entity {
	if object = strings.TrimSpace(x.Key() + " " + object); part != "" {
		part = x.label(part)
	} else {
		part = strings.TrimSpace(x.name)
	}
	e := x.add(component, object, part, options)
	e.Component, e.Role, e.Events = x.Component, role, x.prefix+"/events/rpc"
	e.Status = []Place{
		{x.prefix + "/events/rpc", []string{"params", x.Key()}},
		{Source(x.prefix) + "/rpc", []string{"result", x.Key()}},
		{x.prefix + "/status/" + x.Key(), nil},
	}
	return e
}

// describe describes a component: what it does, then what it measures.
func (x *component2) describe() {
	switch x.Kind {
	case "switch":
		x.entity("switch", "", "", SwitchRole, nil)
	case "light", "cct", "rgb", "rgbw", "rgbcct":
		options := map[string]any{"color_temp_kelvin": true}
		if x.Min != nil && x.Max != nil {
			options["min_kelvin"], options["max_kelvin"] = *x.Min, *x.Max
		} else {
			options["min_kelvin"], options["max_kelvin"] = 2700, 6500
		}
		x.entity("light", "", "", LightRole, options)
	case "cover":
		x.entity("cover", "", "", CoverRole, map[string]any{"device_class": "shutter"})
	case "thermostat", "blutrv":
		x.entity("climate", "", "", ClimateRole, nil)
	case "input":
		x.input()
		return
	case "boolean", "number", "text", "enum", "button":
		x.virtual()
		return
	case "bthomedevice":
		x.event("bthomedevice")
	case "bthomesensor":
		x.bluetooth()
		return
	case "sys":
		if x.Has("uptime") {
			x.measure(measure{field: "uptime", name: "uptime", unit: "s", class: "duration", category: "diagnostic", hidden: true})
		}
		x.entity("update", "update", "firmware", UpdateRole, map[string]any{"device_class": "firmware", "entity_category": "config"})
		return
	}
	for _, m := range measures {
		if x.Has(m.field) && (m.only == "" || m.only == x.Kind) && (m.only != "" || !kindsApart[x.Kind]) {
			x.measure(m)
		}
	}
	if x.Kind == "em" || x.Kind == "emdata" {
		for _, phase := range []string{"a", "b", "c", "n", "total"} {
			for _, m := range phases {
				m.field = phase + "_" + m.field
				m.name = "phase " + strings.ToUpper(phase) + " " + m.name
				switch phase {
				case "total":
					m.name = strings.TrimPrefix(m.name, "phase TOTAL ")
				case "n":
					m.name = "neutral " + strings.TrimPrefix(m.name, "phase N ")
				}
				if x.Has(m.field) {
					x.measure(m)
				}
			}
		}
	}
}

// shown are the fields of a status that are looked at.
var shown = func() map[string]bool {
	fields := map[string]bool{}
	for _, name := range []string{"state", "output", "brightness", "ct", "rgb", "white", "mode", "current_pos", "slat_pos", "target_C", "current_C",
		"enable", "uptime", "percent", "xpercent", "counts.xtotal", "value", "update"} {
		fields[name] = true
	}
	for _, m := range measures {
		fields[m.field] = true
	}
	for _, phase := range []string{"a", "b", "c", "n", "total"} {
		for _, m := range phases {
			fields[phase+"_"+m.field] = true
		}
	}
	return fields
}()

// kindsApart have measures of their own only.
var kindsApart = map[string]bool{"wifi": true, "devicepower": true, "bthomedevice": true, "thermostat": true, "blutrv": true, "sys": true, "smoke": true, "flood": true}

// A measure is a field of a status that is shown.
type measure struct {
	field, name, unit, class, state, category, icon string
	scale                                           float64
	flag, hidden                                    bool
	only                                            string // kind of component
}

var measures = []measure{
	{field: "apower", name: "power", unit: "W", class: "power"},
	{field: "act_power", name: "power", unit: "W", class: "power"},
	{field: "aprt_power", name: "apparent power", unit: "VA", class: "apparent_power", hidden: true},
	{field: "voltage", name: "voltage", unit: "V", class: "voltage"},
	{field: "xvoltage", name: "converted voltage"},
	{field: "current", name: "current", unit: "A", class: "current"},
	{field: "pf", name: "power factor", class: "power_factor", hidden: true},
	{field: "freq", name: "frequency", unit: "Hz", class: "frequency", hidden: true},
	{field: "aenergy.total", name: "energy", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "ret_aenergy.total", name: "energy returned", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "total_act_energy", name: "energy", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "total_act_ret_energy", name: "energy returned", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "total_act", name: "energy", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "total_act_ret", name: "energy returned", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "temperature.tC", name: "device temperature", unit: "°C", class: "temperature", category: "diagnostic"},
	{field: "tC", name: "temperature", unit: "°C", class: "temperature"},
	{field: "rh", name: "humidity", unit: "%", class: "humidity"},
	{field: "lux", name: "illuminance", unit: "lx", class: "illuminance"},
	{field: "illumination", name: "illumination", class: "enum"},
	{field: "counts.total", name: "count", state: "total_increasing"},
	{field: "battery.percent", name: "battery", unit: "%", class: "battery", category: "diagnostic", only: "devicepower"},
	{field: "battery.V", name: "battery voltage", unit: "V", class: "voltage", category: "diagnostic", hidden: true, only: "devicepower"},
	{field: "external.present", name: "external power", class: "power", category: "diagnostic", flag: true, only: "devicepower"},
	{field: "alarm", name: "smoke", class: "smoke", flag: true, only: "smoke"},
	{field: "alarm", name: "leak", class: "moisture", flag: true, only: "flood"},
	{field: "rssi", name: "signal", unit: "dBm", class: "signal_strength", category: "diagnostic", only: "wifi"},
	{field: "rssi", name: "signal", unit: "dBm", class: "signal_strength", category: "diagnostic", only: "bthomedevice"},
	{field: "battery", name: "battery", unit: "%", class: "battery", category: "diagnostic", only: "bthomedevice"},
	{field: "rssi", name: "signal", unit: "dBm", class: "signal_strength", category: "diagnostic", only: "blutrv"},
	{field: "battery", name: "battery", unit: "%", class: "battery", category: "diagnostic", only: "blutrv"},
	{field: "pos", name: "valve", unit: "%", icon: "mdi:valve", only: "blutrv"},
}

var phases = []measure{
	{field: "act_power", name: "power", unit: "W", class: "power"},
	{field: "aprt_power", name: "apparent power", unit: "VA", class: "apparent_power", hidden: true},
	{field: "voltage", name: "voltage", unit: "V", class: "voltage"},
	{field: "current", name: "current", unit: "A", class: "current"},
	{field: "pf", name: "power factor", class: "power_factor", hidden: true},
	{field: "freq", name: "frequency", unit: "Hz", class: "frequency", hidden: true},
	{field: "total_act_energy", name: "energy", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
	{field: "total_act_ret_energy", name: "energy returned", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001},
}

func (x *component2) measure(m measure) {
	component := "sensor"
	if m.flag {
		component = "binary_sensor"
	}
	e := x.entity(component, m.field, m.name, Field, m.options(component))
	e.Field, e.Scale = strings.Split(m.field, "."), m.scale
}

// Presses are the events of buttons.
var Presses = []string{"single_push", "double_push", "triple_push", "long_push", "long_double_push", "long_triple_push", "hold_press", "btn_down", "btn_up", "rotate_left", "rotate_right"}

func (x *component2) event(object string) {
	x.entity("event", object, "button", EventRole, map[string]any{"event_types": Presses})
}

// input: a button is told as events, a switch is on or off, and others count
// or measure.
func (x *component2) input() {
	switch x.Type {
	case "button":
		x.entity("event", "", "", EventRole, map[string]any{"event_types": Presses})
	case "switch", "":
		x.entity("binary_sensor", "state", "", Field, nil).Field = []string{"state"}
	default:
		for _, m := range []measure{
			{field: "percent", name: "level", unit: "%"}, {field: "xpercent", name: "converted level"},
			{field: "counts.total", name: "count", state: "total_increasing"}, {field: "counts.xtotal", name: "converted count", state: "total_increasing"},
			{field: "freq", name: "frequency", unit: "Hz", class: "frequency"},
		} {
			if x.Has(m.field) {
				x.measure(m)
			}
		}
	}
}

// virtual is a component that a person made: it has a value and no hardware.
func (x *component2) virtual() {
	options := map[string]any{}
	component := map[string]string{"boolean": "switch", "number": "number", "text": "text", "enum": "select", "button": "button"}[x.Kind]
	if x.Unit != "" {
		options["unit_of_measurement"] = x.Unit
	}
	if x.Kind == "button" {
		x.event("button")
	}
	x.entity(component, "", "", VirtualRole, options).Field = []string{"value"}
}

// bluetooth is what a gateway has heard of a sensor.
func (x *component2) bluetooth() {
	o, known := objects[x.Object]
	switch {
	case known && o.flag:
		options := map[string]any{}
		if o.class != "" {
			options["device_class"] = o.class
		}
		x.entity("binary_sensor", "value", "", Field, options).Field = []string{"value"}
	default:
		o.field, o.name = "value", ""
		x.measure(o)
	}
}

// objects are the sensors of BTHome by number.
var objects = map[int]measure{
	0x01: {name: "battery", unit: "%", class: "battery", category: "diagnostic"},
	0x02: {name: "temperature", unit: "°C", class: "temperature"}, 0x45: {name: "temperature", unit: "°C", class: "temperature"},
	0x03: {name: "humidity", unit: "%", class: "humidity"}, 0x2e: {name: "humidity", unit: "%", class: "humidity"},
	0x04: {name: "pressure", unit: "hPa", class: "atmospheric_pressure"},
	0x05: {name: "illuminance", unit: "lx", class: "illuminance"},
	0x0b: {name: "power", unit: "W", class: "power"}, 0x0a: {name: "energy", unit: "kWh", class: "energy", state: "total_increasing"},
	0x0c: {name: "voltage", unit: "V", class: "voltage"}, 0x12: {name: "CO2", unit: "ppm", class: "carbon_dioxide"},
	0x14: {name: "moisture", unit: "%", class: "moisture"}, 0x2f: {name: "moisture", unit: "%", class: "moisture"},
	0x3f: {name: "rotation", unit: "°"}, 0x40: {name: "distance", unit: "mm", class: "distance"}, 0x44: {name: "speed", unit: "m/s", class: "speed"},
	0x15: {name: "battery low", class: "battery", flag: true}, 0x1a: {name: "door", class: "door", flag: true},
	0x20: {name: "moisture", class: "moisture", flag: true}, 0x21: {name: "motion", class: "motion", flag: true},
	0x2d: {name: "window", class: "window", flag: true}, 0x29: {name: "smoke", class: "smoke", flag: true},
	0x23: {name: "occupancy", class: "occupancy", flag: true}, 0x2c: {name: "vibration", class: "vibration", flag: true},
	0x11: {name: "opening", class: "opening", flag: true}, 0x0f: {name: "state", flag: true}, 0x10: {name: "power", class: "power", flag: true},
}

// sentence makes "Device temperature" of "device temperature".
func sentence(s string) string {
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + s[n:]
}
