package devices

import (
	"math"
	"strings"

	"lar.home/devices/template"
)

// temperatures are kept in °C, whatever the device counts in.
type temperatures struct{ fahrenheit bool }

func (t temperatures) celsius(f float64) float64 {
	if t.fahrenheit {
		return round((f-32)/1.8, 2)
	}
	return f
}

func (t temperatures) parse(text string) (Value, bool) {
	v, ok := number(text)
	if v.Known() {
		v.Num = t.celsius(v.Num)
	}
	return v, ok
}

func (t temperatures) send(v Value) template.Value {
	if t.fahrenheit {
		return template.FromNumber(round(v.Num*1.8+32, 1))
	}
	return template.FromNumber(v.Num)
}

// aspect is a temperature that can be set.
func (t temperatures) aspect(b *builder, name string, low, high float64) Aspect {
	if t.fahrenheit {
		low, high = math.Round(low*1.8+32), math.Round(high*1.8+32) // the usual bounds are °C
	}
	step := b.cfg.Number("temp_step", 1)
	// Zigbee2MQTT gives each set point bounds of its own.
	bound := func(key string, usual float64) float64 {
		return t.celsius(b.cfg.Number(key+"_"+name, b.cfg.Number(key, usual)))
	}
	if t.fahrenheit {
		step = round(step/1.8, 2)
	}
	return Aspect{Name: name, Type: Number, Unit: "°C", Precision: -1, Step: step,
		Min: bound("min_temp", low), Max: bound("max_temp", high)}
}

func temperaturesOf(b *builder) temperatures {
	return temperatures{strings.HasPrefix(strings.ToUpper(strings.TrimLeft(b.cfg.Text("temperature_unit", "C"), " °")), "F")}
}

// buildClimate: each property has its own topics; without mode_command_topic
// there is a set point only.
func buildClimate(b *builder) {
	c := b.cfg
	t := temperaturesOf(b)
	modes := c.Texts("modes", maxOptions)
	if modes == nil {
		modes = []string{"auto", "off", "cool", "heat", "dry", "fan_only"}
	}
	b.choice("mode", "set_mode", modes, "mode_state_topic", "mode_state_template", "mode_command_topic", "mode_command_template")
	b.property(property{aspect: Aspect{Name: "action", Type: Enum,
		Options: []string{"off", "heating", "cooling", "drying", "idle", "fan", "preheating", "defrosting"}},
		state: "action_topic", read: "action_template"})
	b.property(property{aspect: Aspect{Name: "current_temp", Type: Number, Unit: "°C", Precision: -1}, parse: t.parse,
		state: "current_temperature_topic", read: "current_temperature_template"})
	b.property(property{aspect: Aspect{Name: "current_humidity", Type: Number, Unit: "%", Precision: -1},
		state: "current_humidity_topic", read: "current_humidity_template"})
	for _, p := range [][2]string{{"target", "temperature"}, {"target_low", "temperature_low"}, {"target_high", "temperature_high"}} {
		b.property(property{aspect: t.aspect(b, p[0], 7, 35), parse: t.parse, encode: t.send,
			command: "set_" + p[0], state: p[1] + "_state_topic", read: p[1] + "_state_template",
			topic: p[1] + "_command_topic", write: p[1] + "_command_template"})
	}
	b.humidity(30, 99)
	fans := c.Texts("fan_modes", maxOptions)
	if fans == nil {
		fans = []string{"auto", "low", "medium", "high"}
	}
	b.choice("fan_mode", "set_fan_mode", fans, "fan_mode_state_topic", "fan_mode_state_template", "fan_mode_command_topic", "fan_mode_command_template")
	for _, p := range []string{"swing", "swing_horizontal"} {
		swings := c.Texts(p+"_modes", maxOptions)
		if swings == nil {
			swings = []string{"on", "off"}
		}
		key := p + "_mode"
		if p == "swing" && !c.Has(key+"_command_topic") && !c.Has(key+"_state_topic") {
			key = p // as older descriptions have it
		}
		b.choice(p+"_mode", "set_"+p+"_mode", swings, key+"_state_topic", key+"_state_template", key+"_command_topic", key+"_command_template")
	}
	if c.Has("preset_mode_command_topic") || c.Has("preset_mode_state_topic") {
		presets := append([]string{"none"}, c.Texts("preset_modes", maxOptions)...)
		b.choice("preset", "set_preset", presets, "preset_mode_state_topic", "preset_mode_value_template", "preset_mode_command_topic", "preset_mode_command_template")
	} else { // as older descriptions have it
		b.choice("preset", "set_preset", c.Texts("hold_modes", maxOptions), "hold_state_topic", "hold_state_template", "hold_command_topic", "hold_command_template")
	}
	on, off := c.Text("payload_on", "ON"), c.Text("payload_off", "OFF")
	for _, p := range []string{"away_mode", "aux"} { // older ones, too
		b.property(property{aspect: Aspect{Name: strings.TrimSuffix(p, "_mode"), Type: Bool}, command: "set_" + strings.TrimSuffix(p, "_mode"),
			parse: onOff(on, off),
			encode: func(v Value) template.Value {
				if v.Bool {
					return template.FromString(on)
				}
				return template.FromString(off)
			},
			state: p + "_state_topic", read: p + "_state_template", topic: p + "_command_topic", write: p + "_command_template"})
	}
	b.power(modes)
}

// choice adds a property with options.
func (b *builder) choice(name, command string, options []string, state, read, topic, write string) int {
	return b.property(property{aspect: Aspect{Name: name, Type: Enum, Options: options}, command: command,
		state: state, read: read, topic: topic, write: write})
}

// humidity adds the humidity to reach.
func (b *builder) humidity(low, high float64) {
	b.property(property{
		aspect: Aspect{Name: "target_humidity", Type: Number, Unit: "%", Step: 1,
			Min: b.cfg.Number("min_humidity", low), Max: b.cfg.Number("max_humidity", high)},
		command: "set_humidity", state: "target_humidity_state_topic", read: "target_humidity_state_template",
		topic: "target_humidity_command_topic", write: "target_humidity_command_template"})
}

// power adds turn_on and turn_off: by their own topic, or off by the mode.
func (b *builder) power(modes []string) {
	if b.cfg.Has("power_command_topic") {
		b.send("turn_on", "power_command_topic", "power_command_template", b.cfg.Text("payload_on", "ON"))
		b.send("turn_off", "power_command_topic", "power_command_template", b.cfg.Text("payload_off", "OFF"))
		return
	}
	for _, m := range modes {
		for _, a := range b.spec.commands {
			if m == "off" && a.Name == "set_mode" {
				b.command(Command{Name: "turn_off"}, func(c *call) error {
					c.args["mode"] = TextValue("off")
					return a.run(c)
				})
				return
			}
		}
	}
}

// buildWaterHeater is a climate with few properties.
func buildWaterHeater(b *builder) {
	t := temperaturesOf(b)
	modes := b.cfg.Texts("modes", maxOptions)
	if modes == nil {
		modes = []string{"off", "eco", "electric", "gas", "heat_pump", "high_demand", "performance"}
	}
	b.choice("mode", "set_mode", modes, "mode_state_topic", "mode_state_template", "mode_command_topic", "mode_command_template")
	b.property(property{aspect: Aspect{Name: "current_temp", Type: Number, Unit: "°C", Precision: -1}, parse: t.parse,
		state: "current_temperature_topic", read: "current_temperature_template"})
	b.property(property{aspect: t.aspect(b, "target", 43.3, 60), parse: t.parse, encode: t.send, command: "set_target",
		state: "temperature_state_topic", read: "temperature_state_template",
		topic: "temperature_command_topic", write: "temperature_command_template"})
	b.power(modes)
}

// buildHumidifier: on and off, a humidity to reach, and modes.
func buildHumidifier(b *builder) {
	c := b.cfg
	on, off := c.Text("payload_on", "ON"), c.Text("payload_off", "OFF")
	i := b.aspect(Aspect{Name: "on", Type: Bool})
	reports := b.value(i, "state_topic", "state_value_template", onOff(on, off))
	b.spec.assumed = b.assumed || !reports
	b.property(property{aspect: Aspect{Name: "action", Type: Enum, Options: []string{"off", "humidifying", "drying", "idle"}},
		state: "action_topic", read: "action_template"})
	b.property(property{aspect: Aspect{Name: "current_humidity", Type: Number, Unit: "%", Precision: -1},
		state: "current_humidity_topic", read: "current_humidity_template"})
	b.humidity(0, 100)
	b.choice("mode", "set_mode", c.Texts("modes", maxOptions), "mode_state_topic", "mode_state_template", "mode_command_topic", "mode_command_template")
	b.onOffCommands(i, on, off, b.spec.assumed)
}

// buildFan: speed is percent of the steps the device has.
func buildFan(b *builder) {
	c := b.cfg
	on, off := c.Text("payload_on", "ON"), c.Text("payload_off", "OFF")
	i := b.aspect(Aspect{Name: "on", Type: Bool})
	reports := b.value(i, "state_topic", "state_value_template", onOff(on, off))
	b.spec.assumed = b.assumed || !reports
	b.onOffCommands(i, on, off, b.spec.assumed)

	low, high := c.Number("speed_range_min", 1), c.Number("speed_range_max", 100)
	steps := max(high-low+1, 1)
	speed := Aspect{Name: "speed", Type: Number, Min: 0, Max: 100, Step: round(100/steps, 2), Unit: "%"}
	resetSpeed := c.Text("payload_reset_percentage", payloadNone)
	// What a Zigbee2MQTT calls its lowest speed is no stand-still: that is off.
	still := c.Flag("speed_zero_is_off", false)
	b.property(property{aspect: speed, command: "set_speed",
		parse: func(text string) (Value, bool) {
			v, ok := number(text)
			if text == resetSpeed {
				return Value{}, true
			}
			if v.Known() {
				v.Num = min(max(math.Floor((v.Num-(low-1))*100/steps), 0), 100)
			}
			return v, ok
		},
		encode: func(v Value) template.Value {
			n := math.Ceil(v.Num*steps/100 + low - 1)
			if still {
				n = max(n, low)
			}
			return template.FromNumber(n)
		},
		state: "percentage_state_topic", read: "percentage_value_template",
		topic: "percentage_command_topic", write: "percentage_command_template"})
	if still {
		b.stopAtZero()
	}
	b.namedSpeeds()
	resetPreset := c.Text("payload_reset_preset_mode", payloadNone)
	b.property(property{aspect: Aspect{Name: "preset", Type: Enum, Options: c.Texts("preset_modes", maxOptions)}, command: "set_preset",
		parse: func(text string) (Value, bool) {
			if text == resetPreset {
				return Value{}, true
			}
			return anyText(text)
		},
		state: "preset_mode_state_topic", read: "preset_mode_value_template",
		topic: "preset_mode_command_topic", write: "preset_mode_command_template"})
	swing, rest := c.Text("payload_oscillation_on", "oscillate_on"), c.Text("payload_oscillation_off", "oscillate_off")
	b.property(property{aspect: Aspect{Name: "oscillating", Type: Bool}, command: "oscillate", parse: onOff(swing, rest),
		encode: func(v Value) template.Value {
			if v.Bool {
				return template.FromString(swing)
			}
			return template.FromString(rest)
		},
		state: "oscillation_state_topic", read: "oscillation_value_template",
		topic: "oscillation_command_topic", write: "oscillation_command_template"})
	there, back := c.Text("payload_direction_forward", "forward"), c.Text("payload_direction_reverse", "reverse")
	b.property(property{aspect: Aspect{Name: "direction", Type: Enum, Options: []string{"forward", "reverse"}}, command: "set_direction",
		parse: words(map[string]string{there: "forward", back: "reverse"}),
		encode: func(v Value) template.Value {
			if v.Str == "forward" {
				return template.FromString(there)
			}
			return template.FromString(back)
		},
		state: "direction_state_topic", read: "direction_value_template",
		topic: "direction_command_topic", write: "direction_command_template"})
}

// stopAtZero has a speed of 0 turn the fan off.
func (b *builder) stopAtZero() {
	var off func(c *call) error
	for _, a := range b.spec.commands {
		if a.Name == "turn_off" {
			off = a.run
		}
	}
	for i, a := range b.spec.commands {
		if a.Name == "set_speed" && off != nil {
			b.spec.commands[i].run = func(c *call) error {
				if c.args["speed"].Num == 0 {
					return off(c)
				}
				return a.run(c)
			}
		}
	}
}

// namedSpeeds are what older descriptions have: low, medium, high, each with
// a payload.
func (b *builder) namedSpeeds() {
	var names []string
	payloads := map[string]string{}
	for _, s := range b.cfg.Texts("speeds", 20) {
		if s != "off" {
			names = append(names, s)
			payloads[s] = b.cfg.Text("payload_"+s+"_speed", s)
		}
	}
	if len(names) == 0 {
		return
	}
	b.property(property{aspect: Aspect{Name: "preset", Type: Enum, Options: names}, command: "set_preset",
		parse: func(text string) (Value, bool) {
			for _, s := range names {
				if payloads[s] == text {
					return TextValue(s), true
				}
			}
			return Value{}, text != ""
		},
		encode: func(v Value) template.Value { return template.FromString(payloads[v.Str]) },
		state:  "speed_state_topic", read: "speed_value_template", topic: "speed_command_topic"})
}
