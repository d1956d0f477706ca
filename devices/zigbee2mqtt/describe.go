package zigbee2mqtt

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"lar.home/devices/homeassistant"
	"lar.home/devices/template"
)

// An Entity is one entity of a device, in the words of the other convention.
type Entity struct {
	homeassistant.Config
	// Suffix ends the keys of a light that is one of several: "_l1".
	Suffix string
	// Expose is set for what the convention has no word for: texts that may
	// be missing from a state, actions, objects, lists.
	Expose *Expose
}

// A describer collects the entities of a device or group.
type describer struct {
	base, name, id string // id: the first part of unique IDs
	device         *homeassistant.Device
	effect         map[string]*Expose // by endpoint
	taken          map[string]bool    // components with their objects
	out            []Entity
}

// Identifier is what a device is known by: as Zigbee2MQTT itself has it when
// it speaks the other convention.
func Identifier(ieee string) string { return "zigbee2mqtt_" + ieee }

// BridgeIdentifier is what the bridge is known by.
func BridgeIdentifier(coordinator string) string { return "zigbee2mqtt_bridge_" + coordinator }

// Describe returns the entities of a device; none if it is disabled, not yet
// interviewed or the coordinator. coordinator is the address of that.
func Describe(base, coordinator string, d *Device) []Entity {
	if d.Disabled || d.Definition == nil || d.Type == "Coordinator" {
		return nil
	}
	s := &describer{base: base, name: d.Name, id: d.IEEE, effect: map[string]*Expose{}}
	s.device = &homeassistant.Device{
		Identifiers:  []string{Identifier(d.IEEE), "ieee:" + d.IEEE},
		Name:         cut(d.Name),
		Manufacturer: cut(d.Definition.Vendor),
		Model:        cut(d.Definition.Description),
		ModelID:      cut(d.Definition.Model),
		SWVersion:    cut(d.SoftwareBuildID),
	}
	if coordinator != "" {
		s.device.Via = BridgeIdentifier(coordinator)
	}
	s.exposes(d.Definition.Exposes)
	if d.Definition.OTA {
		s.update(d.IEEE)
	}
	for _, name := range slices.Sorted(maps.Keys(d.Endpoints)) {
		s.scenes(d.Endpoints[name].Scenes)
	}
	return s.out
}

// DescribeBridge returns the entities of the bridge itself.
func DescribeBridge(base, coordinator string) []Entity {
	s := &describer{base: base, name: "bridge", id: "bridge_" + coordinator}
	s.device = &homeassistant.Device{
		Identifiers: []string{BridgeIdentifier(coordinator)}, Name: "Zigbee2MQTT Bridge",
		Manufacturer: "Zigbee2MQTT", Model: "Bridge",
	}
	bridge := base + "/bridge/"
	s.add("binary_sensor", "connection_state", map[string]any{
		"name": "Connection state", "device_class": "connectivity", "entity_category": "diagnostic",
		"state_topic": bridge + "state", "value_template": onlineTemplate,
		"payload_on": "online", "payload_off": "offline", "availability": nil,
	})
	s.add("switch", "permit_join", map[string]any{
		"name": "Permit join", "icon": "mdi:human-greeting-proximity",
		"state_topic": bridge + "info", "value_template": "{{ value_json.permit_join }}", "state_on": "True", "state_off": "False",
		"command_topic": bridge + "request/permit_join", "payload_on": `{"time":254}`, "payload_off": `{"time":0}`,
	})
	s.add("sensor", "version", map[string]any{
		"name": "Version", "icon": "mdi:zigbee", "entity_category": "diagnostic",
		"state_topic": bridge + "info", "value_template": "{{ value_json.version }}",
	})
	s.add("button", "restart", map[string]any{
		"name": "Restart", "device_class": "restart", "entity_category": "config",
		"command_topic": bridge + "request/restart", "payload_press": "",
	})
	return s.out
}

// groupTypes are the kinds a group can be, the first that a member has.
var groupTypes = []string{"light", "cover", "lock", "switch"}

// Groupable returns those of a device's exposes that a group can have.
func Groupable(d *Device) []Expose {
	if d.Definition == nil {
		return nil
	}
	var out []Expose
	for _, e := range d.Definition.Exposes {
		if slices.Contains(groupTypes, e.Type) {
			out = append(out, e)
		}
	}
	return out
}

// DescribeGroup returns the entities of a group: it can what one of its
// members can.
func DescribeGroup(base, coordinator string, g *Group, members [][]Expose) []Entity {
	id := strconv.Itoa(g.ID)
	s := &describer{base: base, name: g.Name, id: id}
	s.device = &homeassistant.Device{
		Identifiers: []string{"zigbee2mqtt_" + hexName(base) + "_" + id}, Name: cut(g.Name),
		Manufacturer: "Zigbee2MQTT", Model: "Group",
	}
	if coordinator != "" {
		s.device.Via = BridgeIdentifier(coordinator)
	}
	for _, kind := range groupTypes {
		var all *Expose
		for _, exposes := range members {
			for _, e := range exposes {
				if e.Type != kind {
					continue
				}
				if all == nil {
					all = &Expose{Type: kind}
				}
				for _, f := range e.Features {
					f.Property = strings.TrimSuffix(f.Property, "_"+f.Endpoint)
					f.Endpoint = ""
					known := slices.ContainsFunc(all.Features, func(x Expose) bool { return x.Name == f.Name })
					if !known && slices.Contains(groupFeatures, f.Name) {
						all.Features = append(all.Features, f)
					}
				}
			}
		}
		if all != nil {
			s.exposes([]Expose{*all})
			break
		}
	}
	s.scenes(g.Scenes)
	return s.out
}

// groupFeatures are what a group is told as a whole.
var groupFeatures = []string{"state", "brightness", "color_temp", "color_xy", "color_hs", "position", "tilt"}

// hexName is how Zigbee2MQTT makes one number of the name of its base: the
// decimal codes of its letters, one after the other.
func hexName(base string) string {
	var b strings.Builder
	for _, c := range []byte(base) {
		b.WriteString(strconv.Itoa(int(c)))
	}
	return b.String()
}

// add adds an entity. Its description needs no topics of availability: those
// are the same for all.
func (s *describer) add(component, object string, options map[string]any) *Entity {
	if s.taken == nil {
		s.taken = map[string]bool{}
	}
	for first, n := object, 2; s.taken[component+"/"+object]; n++ {
		object = first + "_" + strconv.Itoa(n) // a property that is exposed twice
	}
	s.taken[component+"/"+object] = true
	options["unique_id"] = s.id + "_" + object + "_" + s.base
	if _, own := options["availability"]; !own {
		options["availability"] = []any{
			map[string]any{"topic": s.base + "/bridge/state", "value_template": onlineTemplate},
			map[string]any{"topic": s.base + "/" + s.name + "/availability", "value_template": onlineTemplate},
		}
		options["availability_mode"] = "unless"
	}
	for k, v := range options {
		if v == nil && k != "name" && !strings.HasPrefix(k, "payload_") {
			delete(options, k)
		}
	}
	value, err := template.Of(options)
	if err != nil {
		return &Entity{} // texts, numbers and lists of them: it cannot happen
	}
	s.out = append(s.out, Entity{Config: homeassistant.Config{
		// No topic of the other convention has a node with a slash in it.
		Topic:  homeassistant.Topic{Component: component, Node: s.base + "/" + s.id, Object: object},
		Device: s.device, Options: value,
	}})
	return &s.out[len(s.out)-1]
}

// onlineTemplate reads a state of bridge or device; older versions send the
// bare word.
const onlineTemplate = "{% if value_json is defined %}{{ value_json.state }}{% else %}{{ value }}{% endif %}"

func (s *describer) state() string { return s.base + "/" + s.name }
func (s *describer) set() string   { return s.base + "/" + s.name + "/set" }

// message makes the JSON that sets a property.
func message(property string, value any) string {
	text, _ := json.Marshal(map[string]any{property: value})
	return string(text)
}

// path makes the template that reads a property.
func path(property string) string { return "{{ value_json[" + quote(property) + "] }}" }

// sends makes the template of a command that sets a property to a text.
func sends(property, filter string) string {
	return "{" + quote(property) + ": {{ value" + filter + " }}}"
}

func quote(s string) string {
	text, _ := json.Marshal(s)
	return string(text)
}

// exposes describes what a device exposes.
func (s *describer) exposes(list []Expose) {
	for i := range list {
		if e := &list[i]; e.Name == "effect" && e.Type == "enum" && e.Settable() && s.effect != nil {
			s.effect[e.Endpoint] = e
		}
	}
	for i := range list {
		e := &list[i]
		switch e.Type {
		case "light":
			s.light(e)
		case "switch":
			s.toggle(e)
		case "cover":
			s.cover(e)
		case "lock":
			s.lock(e)
		case "climate":
			s.climate(e)
		case "fan":
			s.fan(e)
		default:
			s.generic(e)
		}
	}
}

// feature returns a feature by name, or nil.
func (e *Expose) feature(names ...string) *Expose {
	for _, n := range names {
		for i := range e.Features {
			if e.Features[i].Name == n {
				return &e.Features[i]
			}
		}
	}
	return nil
}

// firstOf returns the first feature that has one of the names, or nil.
func (e *Expose) firstOf(names ...string) *Expose {
	for i := range e.Features {
		if slices.Contains(names, e.Features[i].Name) {
			return &e.Features[i]
		}
	}
	return nil
}

// rest describes the features that a kind has no place for, each by itself.
func (s *describer) rest(e *Expose, used ...*Expose) {
	for i := range e.Features {
		if f := &e.Features[i]; !slices.Contains(used, f) {
			s.generic(f)
		}
	}
}

// object is the last part of the unique ID of a kind: with its endpoint if a
// device has several.
func (e *Expose) object() string {
	if e.Endpoint != "" {
		return e.Type + "_" + e.Endpoint
	}
	return e.Type
}

// main names the entity of a kind: after the device, or after its endpoint.
func (e *Expose) main(options map[string]any) map[string]any {
	options["name"] = nil
	if e.Endpoint != "" {
		options["name"] = sentence(e.Endpoint)
	}
	return options
}

func sentence(s string) string {
	s = strings.ReplaceAll(s, "_", " ")
	for i, r := range s {
		return s[:i] + string(unicode.ToUpper(r)) + s[i+len(string(r)):]
	}
	return s
}

// light: in the JSON schema, whose keys are Zigbee2MQTT's own.
func (s *describer) light(e *Expose) {
	state := e.feature("state")
	if state == nil || !state.Settable() {
		s.rest(e)
		return
	}
	o := e.main(map[string]any{"schema": "json", "command_topic": s.set()})
	if state.Published() {
		o["state_topic"] = s.state()
	}
	used := []*Expose{state}
	var modes []string
	brightness, temp := e.feature("brightness"), e.feature("color_temp")
	xy, hs := e.feature("color_xy"), e.feature("color_hs")
	if xy != nil {
		modes = append(modes, "xy")
	} else if hs != nil {
		modes = append(modes, "hs")
	}
	used = append(used, xy, hs)
	if temp != nil {
		modes = append(modes, "color_temp")
		if temp.Min != nil && temp.Max != nil {
			o["min_mireds"], o["max_mireds"] = *temp.Min, *temp.Max
		}
		used = append(used, temp)
	}
	if brightness != nil {
		o["brightness"], o["brightness_scale"] = true, 254
		if brightness.Max != nil && *brightness.Max >= 1 {
			o["brightness_scale"] = *brightness.Max
		}
		if len(modes) == 0 {
			modes = []string{"brightness"}
		}
		used = append(used, brightness)
	} else {
		o["brightness"] = false
	}
	if len(modes) == 0 {
		modes = []string{"onoff"}
	}
	o["supported_color_modes"] = modes
	if fx := s.effect[e.Endpoint]; fx != nil {
		o["effect"], o["effect_list"] = true, fx.Values
	}
	l := s.add("light", e.object(), o)
	l.Suffix = strings.TrimPrefix(state.Property, "state")
	s.rest(e, used...)
}

// binaryOptions are those of something that is on or off.
func (s *describer) binaryOptions(e *Expose, o map[string]any) map[string]any {
	on, off := e.onOff()
	o["command_topic"] = s.set()
	o["payload_on"], o["payload_off"] = message(e.Property, on), message(e.Property, off)
	if e.Published() {
		o["state_topic"], o["value_template"] = s.state(), path(e.Property)
		o["state_on"], o["state_off"] = on, off
	}
	return o
}

func (e *Expose) onOff() (on, off any) {
	on, off = e.ValueOn, e.ValueOff
	if on == nil && off == nil {
		return "ON", "OFF"
	}
	return on, off
}

func (s *describer) toggle(e *Expose) {
	state := e.feature("state")
	if state == nil || !state.Settable() {
		s.rest(e)
		return
	}
	object, o := e.object(), e.main(map[string]any{})
	if !strings.HasPrefix(state.Property, "state") {
		// One that is named after what it does, beside the device's own.
		object, o["name"] = state.Property, sentence(state.Property)
		if e.Label != "" {
			o["name"] = e.Label
		}
	}
	s.add("switch", object, s.binaryOptions(state, o))
	s.rest(e, state)
}

func (s *describer) cover(e *Expose) {
	state, position, tilt := e.feature("state"), e.feature("position"), e.feature("tilt")
	o := e.main(map[string]any{})
	if state != nil {
		if state.Published() {
			o["state_topic"], o["value_template"] = s.state(), path(state.Property)
			o["state_open"], o["state_closed"], o["state_stopped"] = "OPEN", "CLOSE", "STOP"
		}
		if state.Settable() {
			o["command_topic"] = s.set()
			for _, word := range []string{"open", "close", "stop"} {
				o["payload_"+word] = nil
				if v := strings.ToUpper(word); slices.Contains(state.Values, any(v)) || state.Type != "enum" && word != "stop" {
					o["payload_"+word] = message(state.Property, v)
				}
			}
		}
	}
	for f, keys := range map[*Expose][4]string{
		position: {"position_topic", "position_template", "set_position_topic", "set_position_template"},
		tilt:     {"tilt_status_topic", "tilt_status_template", "tilt_command_topic", "tilt_command_template"},
	} {
		if f == nil {
			continue
		}
		if f.Published() {
			o[keys[0]], o[keys[1]] = s.state(), path(f.Property)
		}
		if f.Settable() {
			o[keys[2]], o[keys[3]] = s.set(), sends(f.Property, "")
		}
	}
	s.add("cover", e.object(), o)
	s.rest(e, state, position, tilt)
}

func (s *describer) lock(e *Expose) {
	state := e.feature("state")
	if state == nil || !state.Settable() {
		s.rest(e)
		return
	}
	on, off := state.ValueOn, state.ValueOff
	if on == nil || off == nil {
		on, off = "LOCK", "UNLOCK"
	}
	o := e.main(map[string]any{"command_topic": s.set(),
		"payload_lock": message(state.Property, on), "payload_unlock": message(state.Property, off)})
	if state.Published() {
		o["state_topic"], o["value_template"] = s.state(), path(state.Property)
		o["state_locked"], o["state_unlocked"] = on, off
	}
	s.add("lock", e.object(), o)
	s.rest(e, state)
}

func (s *describer) climate(e *Expose) {
	o := e.main(map[string]any{"temperature_unit": "C"})
	var used []*Expose
	use := func(key, template, filter string, names ...string) *Expose {
		f := e.feature(names...)
		if f == nil {
			return nil
		}
		if f.Published() {
			o[key+"_state_topic"], o[template] = s.state(), path(f.Property)
		}
		if f.Settable() {
			o[key+"_command_topic"], o[key+"_command_template"] = s.set(), sends(f.Property, filter)
		}
		used = append(used, f)
		return f
	}
	heat := e.firstOf("occupied_heating_setpoint", "current_heating_setpoint")
	cool := e.feature("occupied_cooling_setpoint")
	first := heat
	switch {
	case heat != nil && cool != nil:
		use("temperature_low", "temperature_low_state_template", "", heat.Name)
		use("temperature_high", "temperature_high_state_template", "", cool.Name)
	case heat != nil:
		use("temperature", "temperature_state_template", "", heat.Name)
	case cool != nil:
		use("temperature", "temperature_state_template", "", cool.Name)
		first = cool
	}
	if first != nil {
		o["min_temp"], o["max_temp"] = lowest, highest
		if first.Min != nil {
			o["min_temp"] = *first.Min
			if cool != nil && cool.Min != nil {
				o["min_temp"] = min(*first.Min, *cool.Min)
			}
		}
		if first.Max != nil {
			o["max_temp"] = *first.Max
			if cool != nil && cool.Max != nil {
				o["max_temp"] = max(*first.Max, *cool.Max)
			}
		}
		if first.Step != nil {
			o["temp_step"] = *first.Step
		}
		if heat != nil && cool != nil {
			for name, f := range map[string]*Expose{"target_low": heat, "target_high": cool} {
				if f.Min != nil && f.Max != nil {
					o["min_temp_"+name], o["max_temp_"+name] = *f.Min, *f.Max
				}
			}
		}
	}
	o["modes"] = []any{}
	if f := use("mode", "mode_state_template", "|tojson", "system_mode"); f != nil {
		o["modes"] = f.Values
	}
	if f := use("fan_mode", "fan_mode_state_template", "|tojson", "fan_mode"); f != nil {
		o["fan_modes"] = f.Values
	}
	if f := use("swing_mode", "swing_mode_state_template", "|tojson", "swing_mode"); f != nil {
		o["swing_modes"] = f.Values
	}
	if f := use("preset_mode", "preset_mode_value_template", "|tojson", "preset"); f != nil {
		o["preset_modes"] = slices.DeleteFunc(slices.Clone(f.Values), func(v any) bool { return v == "none" })
	}
	if f := e.feature("local_temperature"); f != nil {
		o["current_temperature_topic"], o["current_temperature_template"] = s.state(), path(f.Property)
		// It is also a sensor by itself, to have a history as others.
	}
	if f := e.feature("running_state"); f != nil {
		o["action_topic"] = s.state()
		o["action_template"] = "{% set words = {'idle':'idle','heat':'heating','cool':'cooling','fan_only':'fan'} %}" +
			"{{ words[value_json[" + quote(f.Property) + "]]|default(value_json[" + quote(f.Property) + "]) }}"
		if !f.Settable() {
			used = append(used, f)
		}
	}
	s.add("climate", e.object(), o)
	s.rest(e, used...)
}

func (s *describer) fan(e *Expose) {
	state, mode, speed := e.feature("state"), e.feature("mode", "fan_mode"), e.feature("speed")
	if state == nil || !state.Settable() {
		s.rest(e)
		return
	}
	o := e.main(map[string]any{})
	on, off := state.onOff()
	o["payload_on"], o["payload_off"] = on, off
	o["command_topic"], o["command_template"] = s.set(), sends(state.Property, "|tojson")
	if state.Published() {
		o["state_topic"], o["state_value_template"] = s.state(), path(state.Property)
	}
	used := []*Expose{state}
	if speed != nil {
		used = append(used, speed)
		if speed.Min != nil && speed.Max != nil && *speed.Max > *speed.Min {
			o["speed_range_min"], o["speed_range_max"] = max(*speed.Min, 1), *speed.Max
			o["speed_zero_is_off"] = *speed.Min > 0
		}
		if speed.Published() {
			o["percentage_state_topic"], o["percentage_value_template"] = s.state(), path(speed.Property)
		}
		if speed.Settable() {
			o["percentage_command_topic"], o["percentage_command_template"] = s.set(), sends(speed.Property, "")
		}
	}
	if mode != nil {
		used = append(used, mode)
		o["preset_modes"] = mode.Values
		if mode.Published() {
			o["preset_mode_state_topic"], o["preset_mode_value_template"] = s.state(), path(mode.Property)
		}
		if mode.Settable() {
			o["preset_mode_command_topic"], o["preset_mode_command_template"] = s.set(), sends(mode.Property, "|tojson")
		}
	}
	s.add("fan", e.object(), o)
	s.rest(e, used...)
}

// Bounds of a number that declares none.
const (
	lowest  = -1 << 31
	highest = 1<<31 - 1
)

// generic describes an expose by its type and by what it can be used for.
func (s *describer) generic(e *Expose) {
	if e.Property == "" {
		return
	}
	o := s.common(e)
	object := e.Property
	switch {
	case e.Name == "action" && e.Type == "enum" && !e.Settable():
		o["icon"] = "mdi:gesture-double-tap"
		s.add("event", object, o).Expose = e
	case e.Type == "numeric" && e.Settable():
		if o["min"], o["max"] = 0, 0; e.Min != nil || e.Max != nil {
			o["min"], o["max"] = lowest, highest
			if e.Min != nil {
				o["min"] = *e.Min
			}
			if e.Max != nil {
				o["max"] = *e.Max
			}
		}
		if o["step"] = 0; e.Step != nil {
			o["step"] = *e.Step
		}
		o["command_template"] = sends(e.Property, "")
		s.add("number", object, o)
	case e.Type == "numeric":
		if o["unit_of_measurement"] == nil {
			o["unit_of_measurement"] = "" // a number all the same
		}
		o["range"] = e.bounds()
		s.add("sensor", object, o)
	case e.Type == "binary" && e.Settable():
		s.add("switch", "switch_"+object, s.binaryOptions(e, o))
	case e.Type == "binary":
		o["payload_on"], o["payload_off"] = e.onOff()
		s.add("binary_sensor", object, o)
	case e.Type == "enum" && e.Settable() && len(e.Values) == 1 && !e.Published():
		o["payload_press"] = message(e.Property, e.Values[0])
		s.add("button", object, o)
	case e.Type == "enum" && e.Settable():
		filter := "|tojson"
		if !slices.ContainsFunc(e.Values, func(v any) bool { _, ok := v.(float64); return !ok }) && len(e.Values) > 0 {
			filter = ""
		}
		o["options"], o["command_template"] = e.Values, sends(e.Property, filter)
		s.add("select", object, o)
	case e.Type == "enum":
		o["device_class"], o["options"] = "enum", e.Values
		s.add("sensor", object, o)
	case e.Type == "text" && !e.Settable():
		s.add("sensor", object, o)
	case e.Settable() || e.Type == "composite" && slices.ContainsFunc(e.Features, func(f Expose) bool { return f.Settable() }):
		s.add("text", object, o).Expose = e
	default:
		s.add("sensor", object, o).Expose = e
	}
}

// bounds are those of a number that is told, which the other convention has no
// word for: its lowest, its highest and its step, 0 where it says none.
func (e *Expose) bounds() []float64 {
	if e.Min == nil || e.Max == nil {
		return nil
	}
	b := []float64{*e.Min, *e.Max, 0}
	if e.Step != nil {
		b[2] = *e.Step
	}
	return b
}

// common are the options that each expose has.
func (s *describer) common(e *Expose) map[string]any {
	name := e.Label
	if name == "" {
		name = sentence(e.Name)
	}
	if e.Endpoint != "" && !strings.HasSuffix(strings.ToLower(name), strings.ToLower(e.Endpoint)) {
		name += " " + e.Endpoint
	}
	o := map[string]any{"name": name}
	if e.Unit != "" {
		o["unit_of_measurement"] = e.Unit
	}
	if e.Category == "config" || e.Category == "diagnostic" {
		o["entity_category"] = e.Category
	}
	if e.Published() {
		o["state_topic"], o["value_template"] = s.state(), path(e.Property)
	}
	if e.Settable() {
		o["command_topic"] = s.set()
	}
	for k, v := range usual(e) {
		if _, given := o[k]; !given {
			o[k] = v
		}
	}
	return o
}

// update is the device's own program, which Zigbee2MQTT brings it.
func (s *describer) update(ieee string) {
	s.add("update", "update", map[string]any{
		"name": nil, "device_class": "firmware", "entity_category": "config", "state_topic": s.state(),
		"command_topic":   s.base + "/bridge/request/device/ota_update/update",
		"payload_install": message("id", ieee),
	})
}

// scenes are recalled by number.
func (s *describer) scenes(list []Scene) {
	for i, sc := range list {
		if i == maxScenes {
			return
		}
		name := cut(sc.Name)
		if name == "" {
			name = fmt.Sprintf("Scene %d", sc.ID)
		}
		s.add("scene", "scene_"+strconv.Itoa(sc.ID), map[string]any{
			"name": name, "command_topic": s.set(), "payload_on": message("scene_recall", sc.ID),
		})
	}
}

// maxScenes is how many scenes of one endpoint or group are shown.
const maxScenes = 100

// Readable returns the properties of lights, switches, covers, locks, fans and
// climates that a device tells when it is asked.
func Readable(d *Device) []string {
	if d.Definition == nil || d.Disabled {
		return nil
	}
	var list []string
	for _, e := range d.Definition.Exposes {
		for _, f := range e.Features {
			if e.Type != "composite" && f.Access&(published|readable) == published|readable && len(f.Features) == 0 && !slices.Contains(list, f.Property) && len(list) < maxReadable {
				list = append(list, f.Property)
			}
		}
	}
	slices.Sort(list)
	return list
}

// maxReadable is how many properties a device is asked for at once.
const maxReadable = 16
