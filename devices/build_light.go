package devices

import (
	"math"
	"slices"
	"strconv"
	"strings"

	"lar.home/devices/template"
)

// A light has the aspects that its description gives it; -1 marks one it has
// not. Brightness is percent, color temperature kelvin, color "#rrggbb" at
// full brightness, in every schema.
type light struct {
	*builder
	on, brightness, temp, color, white, effect, mode int

	scale      float64    // of brightness as the device counts
	whiteScale float64    // of its white light alone
	mireds     [2]float64 // the least and the most it takes; 0 if not said
	kelvin     bool       // color temperature in kelvin and not in mired
	assumeOn   bool
	effects    []string
	byColor    bool               // it has no brightness but that of its red, green and blue
	rgb        bool               // has the older flag for plain red, green and blue
	flashes    map[string]float64 // seconds of a short and a long flash
}

// buildLight reads the three schemas: separate topics, JSON, templates.
func buildLight(b *builder) {
	l := &light{builder: b, brightness: -1, temp: -1, color: -1, white: -1, effect: -1, mode: -1}
	l.on = b.aspect(Aspect{Name: "on", Type: Bool})
	l.scale = b.cfg.Number("brightness_scale", 255)
	if l.scale < 1 {
		l.scale = 255
	}
	if l.whiteScale = b.cfg.Number("white_scale", 255); l.whiteScale < 1 {
		l.whiteScale = 255
	}
	l.kelvin = b.cfg.Flag("color_temp_kelvin", false)
	l.effects = b.cfg.Texts("effect_list", maxOptions)
	l.rgb = b.cfg.Flag("rgb", false)
	l.flashes = map[string]float64{"short": b.cfg.Number("flash_time_short", 2), "long": b.cfg.Number("flash_time_long", 10)}
	switch schema := b.cfg.Text("schema", "default"); schema {
	case "json":
		l.json()
	case "template":
		l.template()
	case "default", "basic":
		l.topics()
	default:
		b.problem("schema %q is not one of default, json, template", cut(schema, 80))
	}
	b.toggle(l.on)
}

// The aspects, each added once.

func (l *light) hasBrightness() {
	if l.brightness < 0 {
		l.brightness = l.aspect(Aspect{Name: "brightness", Type: Number, Min: 0, Max: 100, Step: 1, Unit: "%"})
	}
}

func (l *light) hasTemp() {
	if l.temp >= 0 {
		return
	}
	// Either end may be given in either unit; the one the light is told in
	// counts first.
	l.mireds = [2]float64{max(l.cfg.Number("min_mireds", 0), 0), max(l.cfg.Number("max_mireds", 0), 0)}
	end := func(inKelvin string, mired, usual float64) float64 {
		k := l.cfg.Number(inKelvin, 0)
		if k > 0 && (l.kelvin || mired == 0) {
			return k
		}
		if mired > 0 {
			return kelvin(mired)
		}
		return usual
	}
	lo, hi := end("min_kelvin", l.mireds[1], leastKelvin), end("max_kelvin", l.mireds[0], mostKelvin)
	if lo >= hi {
		lo, hi = leastKelvin, mostKelvin
	}
	l.temp = l.aspect(Aspect{Name: "color_temp", Type: Number, Min: lo, Max: hi, Step: 1, Unit: "K"})
}

// leastKelvin and mostKelvin bound a color temperature unless a description
// does.
const leastKelvin, mostKelvin = 2000, 6535

func (l *light) hasColor() {
	if l.color < 0 {
		l.color = l.aspect(Aspect{Name: "color", Type: Color})
	}
}

func (l *light) hasWhite() {
	if l.white < 0 {
		l.white = l.aspect(Aspect{Name: "white", Type: Number, Min: 0, Max: 100, Step: 1, Unit: "%"})
	}
}

func (l *light) hasEffect() {
	if l.effect < 0 {
		l.effect = l.aspect(Aspect{Name: "effect", Type: Enum, Options: l.effects})
	}
}

// args lists what turn_on takes, after the aspects.
func (l *light) args(more ...Aspect) []Aspect {
	var args []Aspect
	for _, i := range []int{l.brightness, l.temp, l.color, l.white, l.effect} {
		if i >= 0 {
			args = append(args, l.spec.aspects[i])
		}
	}
	return append(args, more...)
}

// percent converts from the device's scale. What is not zero stays so.
func percent(value, scale float64) Value {
	p := math.Round(min(max(value/scale, 0), 1) * 100)
	if value > 0 && p == 0 {
		p = 1
	}
	return NumberValue(p)
}

// ofScale converts to the device's scale. What is not zero stays so.
func ofScale(p Value, scale float64) float64 {
	n := math.Round(p.Num / 100 * scale)
	if p.Num > 0 && n == 0 {
		n = 1
	}
	return n
}

// readTemp and sendTemp convert color temperatures.
func (l *light) readTemp(f float64) Value {
	switch {
	case f <= 0:
		return Value{}
	case l.kelvin:
		return NumberValue(math.Round(f))
	}
	return NumberValue(kelvin(f))
}

func (l *light) sendTemp(v Value) template.Value {
	if l.kelvin {
		return template.FromNumber(math.Round(v.Num))
	}
	n := kelvin(v.Num)
	// Rounding to kelvin and back may go beyond.
	if l.mireds[0] > 0 && l.mireds[0] <= l.mireds[1] {
		n = min(max(n, l.mireds[0]), l.mireds[1])
	}
	return template.FromNumber(n)
}

// shine splits what a light by color shows into color and brightness; ok is
// false for black, which says nothing of the color.
func shine(r, g, b float64) (c rgb, brightness Value, ok bool) {
	top := max(r, g, b)
	if top <= 0 {
		return c, Value{}, false
	}
	return fromRGB(r/top*255, g/top*255, b/top*255), percent(top, 255), true
}

// channels is what a command makes of red, green and blue, and of the white
// channels beside them. Where the color carries the brightness, one that is
// not given stays as it is; a light of which no color is known shines white.
func (l *light) channels(c *call) (r, g, b, w float64) {
	v, given := c.args["color"]
	if !given {
		v = c.now[l.color].Value
	}
	color, known := parseRGB(v.Str)
	if !known {
		color, w = rgb{255, 255, 255}, 255
	}
	r, g, b = float64(color.r), float64(color.g), float64(color.b)
	if !l.byColor {
		return r, g, b, w
	}
	p, given := c.args["brightness"]
	if !given {
		p = c.now[l.brightness].Value
	}
	if !p.Known() || p.Num <= 0 {
		return r, g, b, w
	}
	scaled := func(f float64) float64 { return math.Round(f * p.Num / 100) }
	return scaled(r), scaled(g), scaled(b), scaled(w)
}

// shines tells whether a command sets the channels.
func (l *light) shines(c *call) bool {
	_, color := c.args["color"]
	_, brightness := c.args["brightness"]
	return color || brightness && l.byColor
}

// assume shows what was commanded, on a light that reports nothing.
func (l *light) assume(c *call, on bool) {
	if !l.assumeOn {
		return
	}
	c.set(l.on, BoolValue(on))
	for _, i := range []int{l.brightness, l.temp, l.color, l.white, l.effect} {
		if i < 0 {
			continue
		}
		if v, ok := c.args[l.spec.aspects[i].Name]; ok {
			c.set(i, v)
		}
	}
}

var (
	transitionArg = Aspect{Name: "transition", Type: Number, Min: 0, Max: 6553, Unit: "s"}
	flashArg      = Aspect{Name: "flash", Type: Enum, Options: []string{"short", "long"}}
)

// json: one topic each way, objects with state, brightness, color and so on.
func (l *light) json() {
	c := l.cfg
	modes := c.Texts("supported_color_modes", 16)
	has := func(list ...string) bool {
		return slices.ContainsFunc(list, func(m string) bool { return slices.Contains(modes, m) })
	}
	// Older descriptions have a flag for each instead of the list.
	old := len(modes) == 0
	if old {
		for _, m := range []string{"hs", "xy", "rgb"} {
			if c.Flag(m, false) {
				modes = append(modes, m)
			}
		}
		if c.Flag("color_temp", false) {
			modes = append(modes, "color_temp")
		}
	}
	without := c.Has("brightness") && !c.Flag("brightness", true) && !has("brightness")
	l.byColor = without && (has("rgb", "rgbw", "rgbww") || l.rgb && old) && !has("hs", "xy")
	if c.Flag("brightness", false) || l.byColor || !without && len(modes) > 0 && !(len(modes) == 1 && has("onoff")) {
		l.hasBrightness()
	}
	if has("color_temp") {
		l.hasTemp()
	}
	if has("hs", "xy", "rgb", "rgbw", "rgbww") {
		l.hasColor()
	}
	if has("white") {
		l.hasWhite()
	}
	if c.Flag("effect", false) || len(l.effects) > 0 {
		l.hasEffect()
	}
	if len(modes) > 1 {
		l.mode = l.aspect(Aspect{Name: "color_mode", Type: Enum, Options: modes})
	}
	reports := l.read("state_topic", l.readJSON)
	l.assumeOn = l.assumed || !reports
	l.spec.assumed = l.assumeOn

	topic := l.commandTopic("command_topic")
	if topic == "" {
		l.missing("command_topic", topic)
		return
	}
	l.command(Command{Name: "turn_on", Args: l.args(transitionArg, flashArg)}, func(c *call) error {
		l.sendJSON(c, topic, "ON", modes)
		return nil
	})
	l.command(Command{Name: "turn_off", Args: []Aspect{transitionArg, flashArg}}, func(c *call) error {
		l.sendJSON(c, topic, "OFF", modes)
		return nil
	})
}

func (l *light) readJSON(in *input, out []update) []update {
	js := in.json()
	switch s := js.Key("state" + l.suffix); {
	case s.Kind() == template.None:
		out = append(out, update{aspect: l.on})
	default:
		switch text, _ := s.Str(); text {
		case "ON":
			out = append(out, update{aspect: l.on, value: BoolValue(true)})
		case "OFF":
			out = append(out, update{aspect: l.on, value: BoolValue(false)})
		}
	}
	number := func(v template.Node, key string) float64 {
		f, ok := v.Key(key).Number()
		if !ok {
			return math.NaN()
		}
		return f
	}
	if f := number(js, "brightness"+l.suffix); l.brightness >= 0 && f >= 0 {
		out = append(out, update{aspect: l.brightness, value: percent(f, l.scale)})
	}
	if f := number(js, "color_temp"+l.suffix); l.temp >= 0 && f > 0 {
		out = append(out, update{aspect: l.temp, value: l.readTemp(f)})
	}
	if f := number(js, "white"+l.suffix); l.white >= 0 && f >= 0 {
		out = append(out, update{aspect: l.white, value: percent(f, l.whiteScale)})
	}
	mode, _ := js.Key("color_mode" + l.suffix).Str()
	if l.mode >= 0 && mode != "" {
		out = append(out, update{aspect: l.mode, value: TextValue(cut(mode, maxName))})
	}
	if l.color >= 0 {
		color := js.Key("color" + l.suffix)
		x, y := number(color, "x"), number(color, "y")
		h, s := number(color, "h"), number(color, "s")
		if math.IsNaN(h) {
			h, s = number(color, "hue"), number(color, "saturation")
		}
		r, g, b := number(color, "r"), number(color, "g"), number(color, "b")
		var c rgb
		known := true
		switch hasXY, hasHS, hasRGB := x+y >= 0, h+s >= 0, r+g+b >= 0; {
		case hasHS && (mode == "hs" || !hasXY && !hasRGB):
			c = fromHS(h, s)
		case hasRGB && (strings.HasPrefix(mode, "rgb") || !hasXY):
			c = fromRGB(r, g, b)
			if l.byColor {
				var p Value
				if c, p, known = shine(r, g, b); known {
					out = append(out, update{aspect: l.brightness, value: p})
				}
			}
		case hasXY:
			c = fromXY(x, y)
		default:
			known = false
		}
		if known {
			out = append(out, update{aspect: l.color, value: TextValue(c.String())})
		}
	}
	if effect, ok := js.Key("effect" + l.suffix).Str(); ok && l.effect >= 0 {
		out = append(out, update{aspect: l.effect, value: TextValue(cut(effect, maxName))})
	}
	return out
}

func (l *light) sendJSON(c *call, topic, state string, modes []string) {
	msg, _ := template.Decode("{}")
	add := func(key string, v template.Value) { msg = msg.With(key, v) }
	add("state"+l.suffix, template.FromString(state))
	if v, ok := c.args["brightness"]; ok {
		if v.Num == 0 { // brightness 0 is off
			add("state"+l.suffix, template.FromString("OFF"))
			delete(c.args, "brightness")
		} else if !l.byColor {
			add("brightness"+l.suffix, template.FromNumber(ofScale(v, l.scale)))
		}
	}
	if l.shines(c) {
		inner, _ := template.Decode("{}")
		put := func(key string, f float64) { inner = inner.With(key, template.FromNumber(f)) }
		color, _ := parseRGB(c.args["color"].Str)
		switch {
		case slices.Contains(modes, "hs"):
			h, s := color.hs()
			put("h", h)
			put("s", s)
		case slices.Contains(modes, "xy"):
			x, y := color.xy()
			put("x", x)
			put("y", y)
		default:
			r, g, b, w := l.channels(c)
			put("r", r)
			put("g", g)
			put("b", b)
			switch {
			case slices.Contains(modes, "rgb") || l.rgb:
			case slices.Contains(modes, "rgbw"):
				put("w", w)
			default:
				put("c", w)
				put("w", w)
			}
		}
		add("color"+l.suffix, inner)
	}
	if v, ok := c.args["color_temp"]; ok {
		add("color_temp"+l.suffix, l.sendTemp(v))
	}
	if v, ok := c.args["white"]; ok {
		add("white"+l.suffix, template.FromNumber(ofScale(v, l.whiteScale)))
	}
	if v, ok := c.args["effect"]; ok {
		add("effect"+l.suffix, template.FromString(v.Str))
	}
	if v, ok := c.args["transition"]; ok {
		add("transition", template.FromNumber(v.Num))
	}
	if v, ok := c.args["flash"]; ok {
		add("flash", template.FromNumber(l.flashes[v.Str]))
	}
	text, _ := msg.AppendJSON(nil, false)
	c.publish(topic, string(text))
	on, _ := msg.Key("state" + l.suffix).Str()
	l.assume(c, on == "ON")
}

// numbers reads "1,2,3".
func numbers(text string, n int) []float64 {
	parts := strings.Split(text, ",")
	if len(parts) < n {
		return nil
	}
	out := make([]float64, n)
	for i := range out {
		f, err := strconv.ParseFloat(strings.TrimSpace(parts[i]), 64)
		if err != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			return nil
		}
		out[i] = f
	}
	return out
}
