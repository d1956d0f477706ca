package shelly

import (
	"slices"
	"strconv"
	"strings"

	"lar.home/devices/template"
)

// A partKind is a form of topics of the first generation. "#" stands for a
// number.
type partKind struct {
	form, component string
	measure
	on, off string // of a flag
}

var partKinds = []partKind{
	{form: "relay/#", component: "switch", measure: measure{name: "relay"}},
	{form: "light/#/status", component: "light"},
	{form: "white/#/status", component: "light"},
	{form: "color/#/status", component: "light"},
	{form: "roller/#", component: "cover"},
	{form: "roller/#/pos"},
	{form: "input/#", component: "binary_sensor", measure: measure{name: "input", flag: true}, on: "1", off: "0"},
	{form: "input_event/#", component: "event", measure: measure{name: "button"}},
	{form: "info", component: "object"},
	{form: "status", component: "object"},

	{form: "@/power", component: "sensor", measure: measure{name: "power", unit: "W", class: "power"}},
	{form: "@/energy", component: "sensor", measure: measure{name: "energy", unit: "kWh", class: "energy", state: "total_increasing", scale: 1.0 / 60_000}},
	{form: "@/overpower_value", component: "sensor", measure: measure{name: "overload", unit: "W", class: "power", category: "diagnostic", hidden: true}},
	{form: "emeter/#/power", component: "sensor", measure: measure{name: "power", unit: "W", class: "power"}},
	{form: "emeter/#/reactive_power", component: "sensor", measure: measure{name: "reactive power", unit: "var", class: "reactive_power", hidden: true}},
	{form: "emeter/#/voltage", component: "sensor", measure: measure{name: "voltage", unit: "V", class: "voltage"}},
	{form: "emeter/#/current", component: "sensor", measure: measure{name: "current", unit: "A", class: "current"}},
	{form: "emeter/#/pf", component: "sensor", measure: measure{name: "power factor", class: "power_factor", hidden: true}},
	{form: "emeter/#/total", component: "sensor", measure: measure{name: "energy", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001}},
	{form: "emeter/#/total_returned", component: "sensor", measure: measure{name: "energy returned", unit: "kWh", class: "energy", state: "total_increasing", scale: 0.001}},
	{form: "temperature", component: "sensor", measure: measure{name: "device temperature", unit: "°C", class: "temperature", category: "diagnostic"}},
	{form: "overtemperature", component: "binary_sensor", measure: measure{name: "overheating", class: "heat", category: "diagnostic", flag: true}, on: "1", off: "0"},
	{form: "voltage", component: "sensor", measure: measure{name: "voltage", unit: "V", class: "voltage"}},
	{form: "voltage/#", component: "sensor", measure: measure{name: "voltage", unit: "V", class: "voltage"}},
	{form: "adc/#", component: "sensor", measure: measure{name: "voltage", unit: "V", class: "voltage"}},
	{form: "ext_temperature/#", component: "sensor", measure: measure{name: "temperature", unit: "°C", class: "temperature"}},
	{form: "ext_humidity/#", component: "sensor", measure: measure{name: "humidity", unit: "%", class: "humidity"}},
	{form: "ext_switch/#", component: "binary_sensor", measure: measure{name: "external switch", flag: true}, on: "1", off: "0"},

	{form: "sensor/temperature", component: "sensor", measure: measure{name: "temperature", unit: "°C", class: "temperature"}},
	{form: "sensor/humidity", component: "sensor", measure: measure{name: "humidity", unit: "%", class: "humidity"}},
	{form: "sensor/battery", component: "sensor", measure: measure{name: "battery", unit: "%", class: "battery", category: "diagnostic"}},
	{form: "sensor/lux", component: "sensor", measure: measure{name: "illuminance", unit: "lx", class: "illuminance"}},
	{form: "sensor/tilt", component: "sensor", measure: measure{name: "tilt", unit: "°"}},
	{form: "sensor/concentration", component: "sensor", measure: measure{name: "gas concentration", unit: "ppm"}},
	{form: "sensor/gas", component: "sensor", measure: measure{name: "gas", class: "enum", icon: "mdi:fire"}},
	{form: "sensor/illumination", component: "sensor", measure: measure{name: "illumination", class: "enum"}},
	{form: "sensor/motion", component: "binary_sensor", measure: measure{name: "motion", class: "motion", flag: true}, on: "true", off: "false"},
	{form: "sensor/vibration", component: "binary_sensor", measure: measure{name: "vibration", class: "vibration", flag: true}, on: "1", off: "0"},
	{form: "sensor/state", component: "binary_sensor", measure: measure{name: "opening", class: "opening", flag: true}, on: "open", off: "close"},
	{form: "sensor/flood", component: "binary_sensor", measure: measure{name: "leak", class: "moisture", flag: true}, on: "true", off: "false"},
	{form: "sensor/smoke", component: "binary_sensor", measure: measure{name: "smoke", class: "smoke", flag: true}, on: "true", off: "false"},
	{form: "sensor/charger", component: "binary_sensor", measure: measure{name: "charger", class: "plug", category: "diagnostic", flag: true}, on: "true", off: "false"},
}

// channels may stand for the "@" of a form.
var channels = []string{"relay", "light", "white", "color", "roller"}

// partOf finds the form of a topic, and its number; -1 if it has none.
func partOf(part string) (k *partKind, channel string, number int) {
	if len(part) > 60 {
		return nil, "", -1
	}
	levels := strings.Split(part, "/")
	number = -1
	form := part
	if len(levels) > 1 && levels[0] != "sensor" {
		n, err := strconv.Atoi(levels[1])
		if err != nil || n < 0 || n > 15 || strconv.Itoa(n) != levels[1] {
			return nil, "", -1
		}
		number = n
		levels[1] = "#"
		form = strings.Join(levels, "/")
		if channel = levels[0]; len(levels) == 3 && slices.Contains(channels, channel) {
			if rest := "@/" + levels[2]; slices.ContainsFunc(partKinds, func(k partKind) bool { return k.form == rest }) {
				form = rest
			}
		}
	}
	for i := range partKinds {
		if partKinds[i].form == form {
			return &partKinds[i], channel, number
		}
	}
	return nil, "", -1
}

// KnownPart tells whether a topic of a device has something to show.
func KnownPart(part string) bool {
	k, _, _ := partOf(part)
	return k != nil
}

// Learn returns a part as Old.Parts has it: with what a light can, which shows
// in its state; "" if nothing can be known yet.
func Learn(part string, payload []byte) string {
	k, _, _ := partOf(part)
	switch {
	case k == nil || len(payload) == 0 || len(payload) > MaxPayload:
		return ""
	case k.component != "light" && k.component != "object":
		return part
	}
	v, err := template.Decode(string(payload))
	if err != nil || v.Kind() != template.Dict {
		return ""
	}
	keys := []string{"brightness", "effect", "gain", "red", "temp", "white"}
	if k.component == "object" {
		if keys = []string{"bat", "lux", "motion", "vibration"}; len(v.Key("thermostats").Items()) > 0 {
			keys = []string{"bat", "thermostats"}
		} else if part == "info" {
			return "" // what is in it has topics of its own
		}
	}
	var can []string
	for _, key := range keys {
		if v.Key(key).Kind() != template.Undefined {
			can = append(can, key)
		}
	}
	if k.component == "object" && len(can) == 0 {
		return ""
	}
	return strings.TrimSpace(part + " " + strings.Join(can, " "))
}

// Add notes that a device has a part. It tells whether that is new. A light
// strip is either one of color or several of white: the other goes.
func (o *Old) Add(learned string) bool {
	name, _, _ := strings.Cut(learned, " ")
	apart := map[string]string{"color": "white", "white": "color"}[strings.SplitN(name, "/", 2)[0]]
	i, found := slices.BinarySearch(o.Parts, learned)
	if found {
		return false
	}
	if len(o.Parts) >= MaxParts {
		return false
	}
	o.Parts = slices.Insert(slices.Clone(o.Parts), i, learned)
	o.Parts = slices.DeleteFunc(o.Parts, func(p string) bool {
		other, _, _ := strings.Cut(p, " ")
		return p != learned && (other == name || apart != "" && strings.HasSuffix(name, "/status") && strings.HasPrefix(p, apart+"/"))
	})
	return true
}

// sleeps tells whether a device is mostly off: it has a battery.
func (o *Old) sleeps() bool { return slices.Contains(o.Parts, "sensor/battery") }

// inObject are what stands in the one object that some devices send.
var inObject = map[string]struct {
	component string
	measure
}{
	"bat":       {"sensor", measure{name: "battery", unit: "%", class: "battery", category: "diagnostic"}},
	"lux":       {"sensor", measure{name: "illuminance", unit: "lx", class: "illuminance"}},
	"motion":    {"binary_sensor", measure{name: "motion", class: "motion", flag: true}},
	"vibration": {"binary_sensor", measure{name: "vibration", class: "vibration", flag: true}},
}

// options are those of a measure.
func (m *measure) options(component string) map[string]any {
	options := map[string]any{}
	for key, v := range map[string]string{"unit_of_measurement": m.unit, "device_class": m.class, "entity_category": m.category, "icon": m.icon} {
		if v != "" {
			options[key] = v
		}
	}
	switch {
	case component != "sensor" || m.class == "enum":
	case m.state != "":
		options["state_class"] = m.state
	default:
		options["state_class"] = "measurement"
	}
	if m.hidden {
		options["enabled_by_default"] = false
	}
	return options
}

// object describes what stands in the one object that a device sends.
func (d *describer) object(topic, part string, keys []string) {
	valve := slices.Contains(keys, "thermostats")
	for _, key := range keys {
		if key == "thermostats" {
			d.add("climate", part, "", nil).Topic1 = topic
			continue
		}
		m := inObject[key]
		e := d.add(m.component, part+" "+key, sentence(m.name), m.options(m.component))
		e.Topic1, e.Field = topic, []string{key}
		if valve {
			e.Field = append(e.Field, "value")
		}
	}
}

// Clicks are the events of buttons of the first generation.
var Clicks = map[string]string{"S": "single_push", "SS": "double_push", "SSS": "triple_push", "L": "long_push", "SL": "single_long_push", "LS": "long_single_push"}

// DescribeOld returns what a device of the first generation has.
func DescribeOld(o *Old) []Entity {
	d := newDescriber(o.Prefix, o.ID, o.MAC, "", o.Model, o.Version, o.IP)
	d.sleeps = o.sleeps()
	counts := map[string]int{}
	for _, learned := range o.Parts {
		part, _, _ := strings.Cut(learned, " ")
		if k, channel, _ := partOf(part); k != nil && (k.form == "@/power" || k.form[0] != '@') {
			counts[k.form+" "+channel]++
		}
	}
	for _, learned := range o.Parts {
		part, can, _ := strings.Cut(learned, " ")
		k, channel, number := partOf(part)
		if k == nil || k.component == "" {
			continue
		}
		if k.component == "object" {
			d.object(o.Prefix+"/"+part, part, strings.Fields(can))
			continue
		}
		several := counts[k.form+" "+channel] > 1
		name := k.name
		if k.form[0] == '@' {
			several = counts["@/power "+channel] > 1
		}
		switch {
		case (k.component == "light" || k.component == "cover" || k.component == "switch") && !several:
			name = ""
		case k.component == "light":
			name = "light"
		case k.component == "cover":
			name = "roller"
		}
		if several {
			name += " " + strconv.Itoa(number+1)
		}
		options := k.options(k.component)
		switch k.component {
		case "binary_sensor":
			options["payload_on"], options["payload_off"] = k.on, k.off
		case "event":
			var types []string
			for _, name := range Clicks {
				types = append(types, name)
			}
			slices.Sort(types)
			options["event_types"] = types
		case "light":
			options["color_temp_kelvin"], options["min_kelvin"], options["max_kelvin"] = true, 2700, 6500
			if strings.Contains(can, "red") {
				options["min_kelvin"] = 3000
			}
		case "cover":
			options["device_class"] = "shutter"
		}
		if name != "" {
			name = sentence(name)
		}
		e := d.add(k.component, part, name, options)
		e.Topic1, e.Scale, e.Features = o.Prefix+"/"+part, k.scale, strings.Fields(can)
		if k.form == "roller/#" && slices.Contains(o.Parts, part+"/pos") {
			e.Features = []string{"pos"}
		}
	}
	return d.out
}
