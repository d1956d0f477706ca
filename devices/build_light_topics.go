package devices

import (
	"strconv"
	"strings"

	"lar.home/devices/template"
)

// topics is the default schema: a topic for each property.
func (l *light) topics() {
	c := l.cfg
	on, off := c.Text("payload_on", "ON"), c.Text("payload_off", "OFF")
	reports := l.value(l.on, "state_topic", "state_value_template", onOff(on, off))
	if !c.Has("state_value_template") && c.Has("value_template") && reports {
		// As older descriptions have it.
		l.spec.reads = l.spec.reads[:len(l.spec.reads)-1]
		l.value(l.on, "state_topic", "value_template", onOff(on, off))
	}
	l.assumeOn = l.assumed || !reports
	l.spec.assumed = l.assumeOn

	if c.Has("brightness_command_topic") || c.Has("brightness_state_topic") {
		l.hasBrightness()
		l.value(l.brightness, "brightness_state_topic", "brightness_value_template", func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() {
				v = percent(v.Num, l.scale)
			}
			return v, ok
		})
	}
	if c.Has("color_temp_command_topic") || c.Has("color_temp_state_topic") {
		l.hasTemp()
		l.value(l.temp, "color_temp_state_topic", "color_temp_value_template", func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() {
				v = l.readTemp(v.Num)
			}
			return v, ok
		})
	}
	// Without a topic for it, brightness is that of the color.
	channels := ""
	for _, k := range []string{"rgb", "rgbw", "rgbww"} {
		if channels == "" && (c.Has(k+"_command_topic") || c.Has(k+"_state_topic")) {
			channels = k
		}
	}
	if l.byColor = channels != "" && !c.Has("brightness_command_topic"); l.byColor {
		l.hasBrightness()
	}
	split := l.byColor && !c.Has("brightness_state_topic")
	colors := []struct {
		name   string
		n      int
		decode func(f []float64) rgb
	}{
		{"rgb", 3, func(f []float64) rgb { return fromRGB(f[0], f[1], f[2]) }},
		{"rgbw", 4, func(f []float64) rgb { return fromRGB(f[0], f[1], f[2]) }},
		{"rgbww", 5, func(f []float64) rgb { return fromRGB(f[0], f[1], f[2]) }},
		{"hs", 2, func(f []float64) rgb { return fromHS(f[0], f[1]) }},
		{"xy", 2, func(f []float64) rgb { return fromXY(f[0], f[1]) }},
	}
	for _, k := range colors {
		if !c.Has(k.name+"_command_topic") && !c.Has(k.name+"_state_topic") {
			continue
		}
		l.hasColor()
		if k.n >= 3 && split {
			l.splitColor(k.name, k.n)
			continue
		}
		l.value(l.color, k.name+"_state_topic", k.name+"_value_template", func(text string) (Value, bool) {
			f := numbers(text, k.n)
			if f == nil {
				return Value{}, false
			}
			return TextValue(k.decode(f).String()), true
		})
	}
	if c.Has("white_command_topic") {
		l.hasWhite() // it is told and reports as the brightness
	}
	if c.Has("color_mode_state_topic") {
		l.mode = l.aspect(Aspect{Name: "color_mode", Type: Enum, Options: c.Texts("supported_color_modes", 16)})
		l.value(l.mode, "color_mode_state_topic", "color_mode_value_template", anyText)
	}
	if c.Has("effect_command_topic") || c.Has("effect_state_topic") {
		l.hasEffect()
		l.value(l.effect, "effect_state_topic", "effect_value_template", anyText)
	}
	l.topicCommands(on, off)
}

// splitColor reads a color that carries the brightness.
func (l *light) splitColor(name string, n int) {
	t, ok := l.builder.template(name + "_value_template")
	if !ok {
		return
	}
	l.read(name+"_state_topic", func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok {
			return out
		}
		if text == payloadNone {
			return append(out, update{aspect: l.color})
		}
		f := numbers(text, n)
		if f == nil {
			return out
		}
		c, brightness, ok := shine(f[0], f[1], f[2])
		if !ok {
			return out
		}
		return append(out, update{aspect: l.color, value: TextValue(c.String())}, update{aspect: l.brightness, value: brightness})
	})
}

// topicCommands: payload_on goes first or last, or is left out if brightness
// turns the light on (on_command_type).
func (l *light) topicCommands(on, off string) {
	topic := l.commandTopic("command_topic")
	if topic == "" {
		l.missing("command_topic", topic)
		return
	}
	order := l.cfg.Text("on_command_type", "last")
	var sends []func(c *call) error
	property := func(arg, key string, encode func(v Value) template.Value) {
		t := l.commandTopic(key + "_command_topic")
		enc, ok := l.encoder(key + "_command_template")
		if t == "" || !ok {
			return
		}
		sends = append(sends, func(c *call) error {
			v, given := c.args[arg]
			if !given {
				return nil
			}
			text, err := enc(encode(v), nil)
			if err == nil {
				c.publish(t, text)
			}
			return err
		})
	}
	text := func(parts ...float64) template.Value {
		var s []string
		for _, p := range parts {
			s = append(s, strconv.FormatFloat(p, 'f', -1, 64))
		}
		return template.FromString(strings.Join(s, ","))
	}
	named := func(names string, parts ...float64) map[string]template.Value {
		m := map[string]template.Value{}
		for i, n := range strings.Fields(names) {
			m[n] = template.FromNumber(parts[i])
		}
		return m
	}
	property("brightness", "brightness", func(v Value) template.Value { return template.FromNumber(ofScale(v, l.scale)) })
	property("color_temp", "color_temp", func(v Value) template.Value { return l.sendTemp(v) })
	kinds := []string{"hs", "xy", "rgb", "rgbw", "rgbww"}
	if l.byColor { // brightness is told by these alone
		kinds = []string{"rgb", "rgbw", "rgbww", "hs", "xy"}
	}
	for _, k := range kinds { // the first that there is
		if !l.cfg.Has(k + "_command_topic") {
			continue
		}
		t := l.commandTopic(k + "_command_topic")
		enc, ok := l.encoder(k + "_command_template")
		if t == "" || !ok {
			break
		}
		sends = append(sends, func(c *call) error {
			if !l.shines(c) {
				return nil
			}
			color, _ := parseRGB(c.args["color"].Str)
			r, g, b, w := l.channels(c)
			var parts []float64
			var names string
			switch k {
			case "hs":
				h, s := color.hs()
				parts, names = []float64{h, s}, "hue sat"
			case "xy":
				x, y := color.xy()
				parts, names = []float64{x, y}, "x y"
			case "rgb":
				parts, names = []float64{r, g, b}, "red green blue"
			case "rgbw":
				parts, names = []float64{r, g, b, w}, "red green blue white"
			default:
				parts, names = []float64{r, g, b, w, w}, "red green blue cold_white warm_white"
			}
			text, err := enc(text(parts...), named(names, parts...))
			if err == nil {
				c.publish(t, text)
			}
			return err
		})
		break
	}
	property("white", "white", func(v Value) template.Value { return template.FromNumber(ofScale(v, l.whiteScale)) })
	property("effect", "effect", func(v Value) template.Value { return template.FromString(v.Str) })
	byBrightness := order == "brightness" && l.brightness >= 0 && (l.cfg.Has("brightness_command_topic") || l.byColor)

	turnOff := func(c *call) error {
		c.publish(topic, off)
		l.assume(c, false)
		return nil
	}
	l.command(Command{Name: "turn_on", Args: l.args()}, func(c *call) error {
		if v, ok := c.args["brightness"]; ok && v.Num == 0 {
			return turnOff(c)
		}
		if byBrightness {
			if _, ok := c.args["brightness"]; !ok {
				v := c.now[l.brightness].Value
				if !v.Known() || v.Num == 0 {
					v = NumberValue(100)
				}
				c.args["brightness"] = v
			}
		} else if order == "first" {
			c.publish(topic, on)
		}
		for _, send := range sends {
			if err := send(c); err != nil {
				return err
			}
		}
		if !byBrightness && order != "first" {
			c.publish(topic, on)
		}
		l.assume(c, true)
		return nil
	})
	l.command(Command{Name: "turn_off"}, turnOff)
}

// template is the schema in which templates read and write whole messages.
// Brightness is 0 to 255.
func (l *light) template() {
	c := l.cfg
	l.scale = 255
	topic := "state_topic"
	reports := c.Has("state_template") && l.value(l.on, topic, "state_template", onOff("on", "off"))
	l.assumeOn = l.assumed || !reports
	l.spec.assumed = l.assumeOn
	onText := c.Text("command_on_template", "")
	mentions := func(name string) bool { return strings.Contains(onText, name) }

	if c.Has("brightness_template") || mentions("brightness") {
		l.hasBrightness()
	}
	if c.Has("brightness_template") {
		l.value(l.brightness, topic, "brightness_template", func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() {
				v = percent(v.Num, l.scale)
			}
			return v, ok
		})
	}
	if c.Has("color_temp_template") || mentions("color_temp") {
		l.hasTemp()
	}
	if c.Has("color_temp_template") {
		l.value(l.temp, topic, "color_temp_template", func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() {
				v = l.readTemp(v.Num)
			}
			return v, ok
		})
	}
	if c.Has("red_template") && c.Has("green_template") && c.Has("blue_template") {
		l.hasColor()
		l.readChannels(topic)
	} else if mentions("red") && mentions("green") && mentions("blue") || mentions("hue") && mentions("sat") {
		l.hasColor()
	}
	if c.Has("effect_template") || len(l.effects) > 0 {
		l.hasEffect()
	}
	if c.Has("effect_template") {
		l.value(l.effect, topic, "effect_template", anyText)
	}
	l.templateCommands()
}

// readChannels makes a color of three templates.
func (l *light) readChannels(topic string) {
	var channels [3]*template.Template
	for i, key := range []string{"red_template", "green_template", "blue_template"} {
		t, ok := l.builder.template(key)
		if !ok {
			return
		}
		channels[i] = t
	}
	l.read(topic, func(in *input, out []update) []update {
		var f [3]float64
		for i, t := range channels {
			text, ok := in.render(t)
			v, _ := number(text)
			if !ok || !v.Known() {
				return out
			}
			f[i] = v.Num
		}
		return append(out, update{aspect: l.color, value: TextValue(fromRGB(f[0], f[1], f[2]).String())})
	})
}

func (l *light) templateCommands() {
	topic := l.commandTopic("command_topic")
	onEnc, ok1 := l.encoder("command_on_template")
	offEnc, ok2 := l.encoder("command_off_template")
	if topic == "" || !ok1 || !ok2 || !l.cfg.Has("command_on_template") || !l.cfg.Has("command_off_template") {
		l.missing("command_topic", topic)
		l.missing("command_on_template", "")
		l.missing("command_off_template", "")
		return
	}
	send := func(c *call, enc encoder, on bool) error {
		named := map[string]template.Value{"state": template.FromBool(on)}
		for name, v := range c.args {
			switch name {
			case "brightness":
				named[name] = template.FromNumber(ofScale(v, l.scale))
			case "color_temp":
				named[name] = l.sendTemp(v)
			case "color":
				color, _ := parseRGB(v.Str)
				h, s := color.hs()
				for n, f := range map[string]float64{"red": float64(color.r), "green": float64(color.g), "blue": float64(color.b), "hue": h, "sat": s} {
					named[n] = template.FromNumber(f)
				}
			case "flash":
				named[name] = template.FromString(v.Str)
			default:
				named[name] = toTemplate(v)
			}
		}
		text, err := enc(template.Value{}, named)
		if err != nil {
			return err
		}
		c.publish(topic, text)
		l.assume(c, on)
		return nil
	}
	l.command(Command{Name: "turn_on", Args: l.args(transitionArg, flashArg)}, func(c *call) error {
		if v, ok := c.args["brightness"]; ok && v.Num == 0 {
			delete(c.args, "brightness")
			return send(c, offEnc, false)
		}
		return send(c, onEnc, true)
	})
	l.command(Command{Name: "turn_off", Args: []Aspect{transitionArg, flashArg}}, func(c *call) error {
		return send(c, offEnc, false)
	})
}
