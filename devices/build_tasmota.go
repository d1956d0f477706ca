package devices

import (
	"fmt"
	"math"
	"strconv"

	"lar.home/devices/tasmota"
	"lar.home/devices/template"
)

// tasmotaSource marks what a Tasmota says in its own convention.
const tasmotaSource = "tasmota"

// buildTasmota makes the spec of an entity of a Tasmota.
func buildTasmota(e *tasmota.Entity, prefix string, ts *templates) *spec {
	return buildWith(&e.Config, prefix, ts, func(b *builder) {
		b.spec.source = tasmotaSource
		switch {
		case e.Light != nil:
			b.tasmotaLight(e)
		case e.Shutter != nil:
			b.tasmotaShutter(e)
		case e.Fan != nil:
			b.tasmotaFan(e)
		case len(e.PowerKeys) > 0:
			on := b.aspect(Aspect{Name: "on", Type: Bool})
			b.tasmotaPower(e, on)
			b.onOffCommands(on, e.On, e.Off, false)
		case e.Topic.Component == "binary_sensor":
			on := b.aspect(Aspect{Name: "on", Type: Bool})
			b.spec.offDelay = b.seconds("off_delay")
			b.places(e.Sources, textOf(on, onOff(e.On, e.Off)))
		case e.Topic.Component == "event":
			b.tasmotaEvent(e)
		default:
			value := b.aspect(Aspect{Name: "value", Type: Number, Precision: -1, Unit: b.cfg.Name("unit_of_measurement")})
			b.places(e.Sources, textOf(value, number))
		}
	})
}

// A taker takes updates out of what stands at a place in a message.
type taker func(v template.Node, out []update) []update

// places reads each of some places in messages. A message in which there is
// nothing at the place says nothing.
func (b *builder) places(sources []tasmota.Source, take taker) {
	for _, s := range sources {
		if p := topicProblem(s.Topic); p != "" {
			b.problem("topic %q %s", cut(s.Topic, 80), p)
			continue
		}
		b.spec.reads = append(b.spec.reads, read{topic: s.Topic, extract: func(in *input, out []update) []update {
			v := in.json()
			for _, key := range s.Path {
				v = within(v, key)
			}
			if v.Kind() == template.Undefined {
				return out
			}
			return take(v, out)
		}})
	}
}

// within returns what stands under a key of an object or at a place of a list.
// A device with one phase may say the number alone and no list of one.
func within(v template.Node, key string) template.Node {
	if v.Kind() == template.Dict {
		return v.Key(key)
	}
	i, err := strconv.Atoi(key)
	if err != nil || i < 0 {
		return template.Node{}
	}
	if items := v.Items(); i < len(items) {
		return items[i]
	}
	if i == 0 && v.Scalar() {
		return v
	}
	return template.Node{}
}

// textOf takes a scalar as text; null is unknown.
func textOf(aspect int, parse parser) taker {
	return func(v template.Node, out []update) []update {
		if v.Kind() == template.None {
			return append(out, update{aspect: aspect})
		}
		if !v.Scalar() {
			return out
		}
		value, ok := parse(v.Text())
		if !ok {
			return out
		}
		return append(out, update{aspect: aspect, value: value})
	}
}

// tasmotaPower reads whether a relay is on: in objects, under one of its
// names, and from the topics of those names, which have the word alone.
func (b *builder) tasmotaPower(e *tasmota.Entity, on int) {
	parse := onOff(e.On, e.Off)
	b.places(e.Sources, func(v template.Node, out []update) []update {
		return powerOf(v, e.PowerKeys, on, parse, out)
	})
	for _, topic := range e.Plain {
		b.spec.reads = append(b.spec.reads, read{topic: topic, extract: func(in *input, out []update) []update {
			if value, ok := parse(in.text()); ok {
				out = append(out, update{aspect: on, value: value})
			}
			return out
		}})
	}
}

func powerOf(v template.Node, keys []string, on int, parse parser, out []update) []update {
	for _, key := range keys {
		if word := v.Key(key); word.Scalar() {
			if value, ok := parse(word.Text()); ok {
				return append(out, update{aspect: on, value: value})
			}
		}
	}
	return out
}

// tasmotaEvent is a button or a switch that is pressed.
func (b *builder) tasmotaEvent(e *tasmota.Entity) {
	types := b.cfg.Texts("event_types", maxOptions)
	i := b.aspect(Aspect{Name: "event", Type: Enum, Options: types})
	known := make(map[string]bool, len(types))
	for _, t := range types {
		known[t] = true
	}
	b.places(e.Sources, func(v template.Node, out []update) []update {
		if s, ok := v.Str(); ok && known[s] {
			out = append(out, update{aspect: i, value: TextValue(s), event: true})
		}
		return out
	})
}

// tasmotaLight: brightness is percent there, too. A color is told with the
// brightness that the light has, so that this stays.
func (b *builder) tasmotaLight(e *tasmota.Entity) {
	x := e.Light
	l := &light{builder: b, brightness: -1, temp: -1, color: -1, white: -1, effect: -1, mode: -1, scale: 100, whiteScale: 100}
	l.on = b.aspect(Aspect{Name: "on", Type: Bool})
	if x.Dims {
		l.hasBrightness()
	}
	if x.Temperature {
		l.hasTemp()
	}
	if x.Colors {
		l.hasColor()
	}
	if x.White {
		l.hasWhite()
	}
	if x.Effects {
		l.effects = tasmota.Schemes
		l.hasEffect()
	}
	whiteMode := "color_temp"
	if x.White {
		whiteMode = "white"
	}
	if x.Colors && (x.White || x.Temperature) {
		l.mode = b.aspect(Aspect{Name: "color_mode", Type: Enum, Options: []string{"hs", whiteMode}})
	}
	b.tasmotaPower(e, l.on)
	b.places(e.Sources, func(v template.Node, out []update) []update {
		return l.tasmotaState(v, x.Dimmer, whiteMode, out)
	})
	b.tasmotaLightCommands(l, e)
	b.toggle(l.on)
}

// tasmotaState reads what a light says of itself besides that it is on.
func (l *light) tasmotaState(v template.Node, dimmer, whiteMode string, out []update) []update {
	if f, ok := v.Key(dimmer).Number(); ok && l.brightness >= 0 {
		out = append(out, update{aspect: l.brightness, value: percent(f, l.scale)})
	}
	if f, ok := v.Key("CT").Number(); ok && l.temp >= 0 {
		out = append(out, update{aspect: l.temp, value: l.readTemp(f)})
	}
	white, hasWhite := v.Key("White").Number()
	if hasWhite && l.white >= 0 {
		out = append(out, update{aspect: l.white, value: percent(white, l.whiteScale)})
	}
	if hasWhite && l.mode >= 0 {
		mode := "hs"
		if white > 0 {
			mode = whiteMode
		}
		out = append(out, update{aspect: l.mode, value: TextValue(mode)})
	}
	if l.color >= 0 {
		if hsb, ok := v.Key("HSBColor").Str(); ok {
			if f := numbers(hsb, 3); f != nil {
				out = append(out, update{aspect: l.color, value: TextValue(fromHS(f[0], f[1]).String())})
			}
		} else if text, ok := v.Key("Color").Str(); ok {
			if c, ok := tasmotaColor(text); ok {
				out = append(out, update{aspect: l.color, value: TextValue(c.String())})
			}
		}
	}
	if f, ok := v.Key("Scheme").Number(); ok && l.effect >= 0 && f >= 0 && f < float64(len(tasmota.Schemes)) {
		out = append(out, update{aspect: l.effect, value: TextValue(tasmota.Schemes[int(f)])})
	}
	return out
}

// tasmotaColor reads "255,128,0" or, without SetOption17, "FF8000", maybe with
// channels of white behind it. The brightness is in it and is taken out.
func tasmotaColor(text string) (c rgb, ok bool) {
	var r, g, b float64
	if f := numbers(text, 3); f != nil {
		r, g, b = f[0], f[1], f[2]
	} else if len(text) >= 6 {
		n, err := strconv.ParseUint(text[:6], 16, 32)
		if err != nil {
			return c, false
		}
		r, g, b = float64(n>>16), float64(n>>8&0xff), float64(n&0xff)
	} else {
		return c, false
	}
	most := max(r, g, b)
	if most <= 0 {
		return c, false // it is off, or white
	}
	return fromRGB(r*255/most, g*255/most, b*255/most), true
}

func (b *builder) tasmotaLightCommands(l *light, e *tasmota.Entity) {
	x := e.Light
	for _, topic := range []string{x.Power, x.Dim} {
		if topic != "" && commandTopicProblem(b.prefix, topic) != "" {
			b.problem("command topic %q %s", cut(topic, 80), commandTopicProblem(b.prefix, topic))
			return
		}
	}
	var more []Aspect
	if x.Fade != "" {
		more = append(more, tasmotaTransition)
	}
	fade := func(c *call, to float64) {
		v, given := c.args["transition"]
		if !given {
			return
		}
		if v.Num == 0 {
			c.publish(x.Fade, "0")
			return
		}
		c.publish(x.Fade, "1")
		c.publish(x.Rate, strconv.Itoa(l.tasmotaRate(c, v.Num, to, x.FixedRate)))
	}
	off := func(c *call) error {
		fade(c, 0)
		c.publish(x.Power, e.Off)
		return nil
	}
	b.command(Command{Name: "turn_on", Args: l.args(more...)}, func(c *call) error {
		brightness, dims := c.args["brightness"]
		if dims && brightness.Num == 0 {
			return off(c)
		}
		level := 100.0
		if l.brightness >= 0 {
			if now := c.now[l.brightness].Value; now.Known() && now.Num > 0 {
				level = now.Num
			}
		}
		if dims {
			level = ofScale(brightness, l.scale)
		}
		fade(c, level)
		if dims {
			c.publish(x.Dim, plain(level))
		} else {
			c.publish(x.Power, e.On)
		}
		if v, ok := c.args["color"]; ok {
			color, _ := parseRGB(v.Str)
			h, s := color.hs()
			c.publish(x.HSB, plain(math.Round(h))+","+plain(math.Round(s))+","+plain(level))
		}
		if v, ok := c.args["color_temp"]; ok {
			c.publish(x.CT, l.sendTemp(v).Text())
		}
		if v, ok := c.args["white"]; ok {
			c.publish(x.WhiteTopic, plain(ofScale(v, l.whiteScale)))
		}
		if v, ok := c.args["effect"]; ok {
			for i, name := range tasmota.Schemes {
				if name == v.Str {
					c.publish(x.Scheme, strconv.Itoa(i))
				}
			}
		}
		if x.SendPower && dims {
			c.publish(x.Power, e.On)
		}
		return nil
	})
	b.command(Command{Name: "turn_off", Args: more}, off)
}

// tasmotaTransition is as long as its slowest fade over the whole range.
var tasmotaTransition = Aspect{Name: "transition", Type: Number, Min: 0, Max: 20, Unit: "s"}

// tasmotaRate returns the Speed of a fade: in half seconds, from 1 to 40, for
// the whole range unless it is fixed (SetOption117).
func (l *light) tasmotaRate(c *call, seconds, to float64, fixed bool) int {
	rate := 2 * seconds
	if !fixed && l.brightness >= 0 {
		from := 0.0
		if c.now[l.on].Value.Bool && c.now[l.brightness].Value.Known() {
			from = c.now[l.brightness].Value.Num
		}
		if share := math.Abs(to-from) / 100; share > 0 {
			rate /= share
		}
	}
	return int(min(max(math.Round(rate), 1), 40))
}

// plain prints a number as a device reads it.
func plain(f float64) string { return strconv.FormatFloat(f, 'f', -1, 64) }

// tasmotaShutter: 0 is closed and 100 open, whatever it counts.
func (b *builder) tasmotaShutter(e *tasmota.Entity) {
	x := e.Shutter
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"open", "opening", "closed", "closing"}})
	position := b.aspect(positionArg)
	steps := scale{0, 100}
	if x.Inverted {
		steps = scale{100, 0}
	}
	tilts := scale{x.TiltMin, x.TiltMax}
	tilt := -1
	if x.Tilt != "" {
		tilt = b.aspect(tiltArg)
	}
	at := func(f, direction float64, out []update) []update {
		v := steps.percent(f)
		word := "open"
		switch {
		case direction > 0:
			word = "opening"
		case direction < 0:
			word = "closing"
		case v.Num == 0:
			word = "closed"
		}
		return append(out, update{aspect: position, value: v}, update{aspect: state, value: TextValue(word)})
	}
	b.places(e.Sources, func(v template.Node, out []update) []update {
		v = v.Key(x.Key)
		direction, _ := v.Key("Direction").Number()
		if x.Inverted {
			direction = -direction
		}
		if f, ok := v.Key("Position").Number(); ok {
			out = at(f, direction, out)
		}
		if f, ok := v.Key("Tilt").Number(); ok && tilt >= 0 {
			out = append(out, update{aspect: tilt, value: tilts.percent(f)})
		}
		return out
	})
	b.spec.reads = append(b.spec.reads, read{topic: x.Plain, extract: func(in *input, out []update) []update {
		if v, ok := number(in.text()); ok && v.Known() {
			out = append(out, update{aspect: position, value: steps.percent(v.Num)})
		}
		return out
	}})
	tell := func(name, topic string, run func(c *call) string, args ...Aspect) {
		if p := commandTopicProblem(b.prefix, topic); p != "" {
			b.problem("command topic %q %s", cut(topic, 80), p)
			return
		}
		cmd := Command{Name: name, Args: args}
		for _, a := range args {
			cmd.Required = append(cmd.Required, a.Name)
		}
		b.command(cmd, func(c *call) error {
			c.publish(topic, run(c))
			return nil
		})
	}
	fixed := func(text string) func(*call) string { return func(*call) string { return text } }
	tell("open", x.Open, fixed(""))
	tell("close", x.Close, fixed(""))
	tell("stop", x.Stop, fixed(""))
	tell("set_position", x.Position, func(c *call) string { return steps.device(c.args["position"].Num).Text() }, positionArg)
	if tilt < 0 {
		return
	}
	tell("open_tilt", x.Tilt, fixed(tilts.device(100).Text()))
	tell("close_tilt", x.Tilt, fixed(tilts.device(0).Text()))
	tell("set_tilt", x.Tilt, func(c *call) string { return tilts.device(c.args["tilt"].Num).Text() }, tiltArg)
}

// fanSpeeds is how many speeds a fan has.
const fanSpeeds = 3

// tasmotaFan: speeds from 0, which is off, to 3.
func (b *builder) tasmotaFan(e *tasmota.Entity) {
	topic := e.Fan.Speed
	on := b.aspect(Aspect{Name: "on", Type: Bool})
	arg := Aspect{Name: "speed", Type: Number, Min: 0, Max: 100, Step: round(100.0/fanSpeeds, 2), Unit: "%"}
	speed := b.aspect(arg)
	b.places(e.Sources, func(v template.Node, out []update) []update {
		f, ok := v.Key(tasmota.FanKey).Number()
		if !ok || f < 0 || f > fanSpeeds {
			return out
		}
		return append(out, update{aspect: on, value: BoolValue(f > 0)}, update{aspect: speed, value: NumberValue(math.Floor(f * 100 / fanSpeeds))})
	})
	if p := commandTopicProblem(b.prefix, topic); p != "" {
		b.problem("command topic %q %s", cut(topic, 80), p)
		return
	}
	set := func(c *call, percent float64) error {
		c.publish(topic, plain(math.Ceil(percent*fanSpeeds/100)))
		return nil
	}
	b.command(Command{Name: "turn_on"}, func(c *call) error {
		if v := c.now[speed].Value; v.Known() && v.Num > 0 {
			return set(c, v.Num)
		}
		return set(c, 50)
	})
	b.command(Command{Name: "turn_off"}, func(c *call) error { return set(c, 0) })
	b.toggle(on)
	b.command(Command{Name: "set_speed", Args: []Aspect{arg}, Required: []string{"speed"}}, func(c *call) error {
		return set(c, c.args["speed"].Num)
	})
}

// told returns the topics to which the plainest command of an entity speaks.
func (s *spec) told() []string {
	for _, a := range s.commands {
		switch a.Name {
		case "turn_on", "open":
			c := &call{args: map[string]Value{}, now: make([]Reading, len(s.aspects))}
			if a.run(c) != nil {
				return nil
			}
			var topics []string
			for _, msg := range c.out {
				topics = append(topics, msg.Topic)
			}
			return topics
		}
	}
	return nil
}

// likeness says what an entity is, as far as two sources agree on it.
func (s *spec) likeness() string {
	text := string(s.kind)
	if s.kind == Sensor && len(s.aspects) > 0 {
		text = fmt.Sprintf("%s %s %s", s.kind, s.deviceClass, s.aspects[0].Unit)
	}
	return text
}
