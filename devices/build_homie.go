package devices

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices/homie"
)

// homieSource marks what a device says by the Homie convention.
const homieSource = "homie"

// buildHomie makes the spec of an entity of a Homie device.
func buildHomie(e *homie.Entity, prefix string, ts *templates) *spec {
	return buildWith(&e.Config, prefix, ts, func(b *builder) {
		b.spec.source = homieSource
		switch e.Topic.Component {
		case "light":
			b.homieLight(e)
		case "fan":
			b.homieFan(e)
		case "cover":
			b.homieCover(e)
		case "event":
			b.homieEvent(e)
		case "button":
			b.homieButton(e)
		default:
			b.homieValue(e)
		}
	})
}

// homieRead reads the topic of a property. Without payload the property is
// gone, and unknown.
func (b *builder) homieRead(topic string, take func(text string, out []update) []update, gone ...int) {
	if p := topicProblem(topic); p != "" {
		b.problem("topic %q %s", cut(topic, 80), p)
		return
	}
	b.spec.reads = append(b.spec.reads, read{topic: topic, extract: func(in *input, out []update) []update {
		if len(in.payload) == 0 {
			for _, aspect := range gone {
				out = append(out, update{aspect: aspect})
			}
			return out
		}
		return take(in.text(), out)
	}})
}

// homieParsed reads one aspect of a property.
func (b *builder) homieParsed(topic string, aspect int, parse parser) {
	b.homieRead(topic, func(text string, out []update) []update {
		if v, ok := parse(text); ok {
			out = append(out, update{aspect: aspect, value: v})
		}
		return out
	}, aspect)
}

// homieSet returns the topic on which a property is told; "" if it cannot be.
func (b *builder) homieSet(p *homie.Part) string {
	if p == nil || p.Set == "" {
		return ""
	}
	if problem := commandTopicProblem(b.prefix, p.Set); problem != "" {
		b.problem("command topic %q %s", cut(p.Set, 80), problem)
		return ""
	}
	return p.Set
}

// homieType is how values of a property are read and sent.
type homieType struct {
	aspect Aspect
	parse  parser
	encode func(v Value) (string, error)
}

func homieTypeOf(p *homie.Property, five bool, unit string) homieType {
	t := homieType{
		aspect: Aspect{Name: "value", Type: Text, Precision: -1, Unit: unit},
		parse:  anyText,
		encode: func(v Value) (string, error) { return v.Str, nil },
	}
	switch p.Datatype {
	case homie.Boolean:
		t.aspect.Type = Bool
		t.parse = onOff("true", "false")
		t.encode = func(v Value) (string, error) { return strconv.FormatBool(v.Bool), nil }
	case homie.Integer, homie.Float:
		t.aspect.Type = Number
		homieBounds(&t.aspect, p)
		t.parse = number
		t.encode = func(v Value) (string, error) {
			switch { // with both, the aspect has bounds
			case p.Min != nil && v.Num < *p.Min:
				return "", fmt.Errorf("it is %v at least", *p.Min)
			case p.Max != nil && v.Num > *p.Max:
				return "", fmt.Errorf("it is %v at most", *p.Max)
			}
			return homieNumber(p, v.Num), nil
		}
	case homie.Duration:
		t.aspect.Type = Number
		t.parse = homieDuration
		t.encode = func(v Value) (string, error) {
			if v.Num < 0 {
				return "", fmt.Errorf("it is not negative")
			}
			return "PT" + plain(v.Num) + "S", nil
		}
	case homie.Enum:
		t.aspect.Type, t.aspect.Options = Enum, p.Options
		t.parse = func(text string) (Value, bool) { return TextValue(text), slices.Contains(p.Options, text) }
	case homie.Color:
		t.aspect.Type = Color
		t.parse = func(text string) (Value, bool) {
			c, _, ok := homieColor(p, text, five)
			return TextValue(c.String()), ok
		}
		t.encode = func(v Value) (string, error) {
			c, _ := parseRGB(v.Str)
			return homieColorText(p, c, 100, five), nil
		}
	case homie.DateTime:
		t.aspect.Type, t.parse = Time, instant
	case homie.JSON:
		t.aspect.Unit = jsonUnit
		t.parse = func(text string) (Value, bool) {
			return TextValue(text), len(text) <= maxText && json.Valid([]byte(text))
		}
		t.encode = func(v Value) (string, error) {
			if !json.Valid([]byte(v.Str)) {
				return "", fmt.Errorf("it is not JSON")
			}
			return v.Str, nil
		}
	default:
		t.parse = func(text string) (Value, bool) {
			if text == homie.Empty {
				text = ""
			}
			return TextValue(cut(text, maxText)), true
		}
		t.encode = func(v Value) (string, error) {
			if v.Str == "" && five {
				return homie.Empty, nil
			}
			return v.Str, nil
		}
	}
	return t
}

// homieBounds gives an aspect the bounds of a number, if it has both.
func homieBounds(a *Aspect, p *homie.Property) {
	if p.Min != nil && p.Max != nil {
		a.Min, a.Max = *p.Min, *p.Max
	}
	if p.Step != nil {
		a.Step = *p.Step
	} else if p.Datatype == homie.Integer {
		a.Step = 1
	}
}

// homieNumber prints a number as a property takes it: on its steps, which are
// counted from its least value or its greatest.
func homieNumber(p *homie.Property, f float64) string {
	if p.Step != nil {
		from := 0.0
		switch {
		case p.Min != nil:
			from = *p.Min
		case p.Max != nil:
			from = *p.Max
		}
		f = round(from+math.Round((f-from)/(*p.Step))*(*p.Step), 9)
	}
	if p.Max != nil {
		f = min(f, *p.Max)
	}
	if p.Min != nil {
		f = max(f, *p.Min)
	}
	if p.Datatype == homie.Integer {
		f = math.Round(f)
	}
	return plain(f)
}

// homieDuration reads "PT1H2M3.5S" as seconds.
func homieDuration(text string) (Value, bool) {
	rest, ok := strings.CutPrefix(strings.TrimSpace(text), "PT")
	if !ok || rest == "" {
		return Value{}, false
	}
	d, err := time.ParseDuration(strings.ToLower(rest))
	if err != nil || strings.ContainsAny(rest, "nuµ-+") || strings.Contains(rest, "MS") {
		return Value{}, false
	}
	return NumberValue(d.Seconds()), true
}

// homieColor reads a color, and how bright it is in percent.
func homieColor(p *homie.Property, text string, five bool) (c rgb, brightness float64, ok bool) {
	form := "rgb"
	if five {
		form, text, ok = strings.Cut(text, ",")
		if !ok {
			return c, 0, false
		}
	} else if len(p.Colors) > 0 {
		form = p.Colors[0]
	}
	switch form {
	case "rgb":
		f := numbers(text, 3)
		if f == nil {
			return c, 0, false
		}
		most := max(f[0], f[1], f[2])
		if most <= 0 {
			return rgb{255, 255, 255}, 0, true
		}
		return fromRGB(f[0]*255/most, f[1]*255/most, f[2]*255/most), min(most/255*100, 100), true
	case "hsv":
		f := numbers(text, 3)
		if f == nil {
			return c, 0, false
		}
		return fromHS(f[0], f[1]), min(max(f[2], 0), 100), true
	case "xyz":
		f := numbers(text, 2)
		if f == nil {
			return c, 0, false
		}
		return fromXY(f[0], f[1]), 100, true
	}
	return c, 0, false
}

// homieColorText writes a color in the form that the property likes best. A
// form that has no brightness leaves it out.
func homieColorText(p *homie.Property, c rgb, brightness float64, five bool) string {
	form := "rgb"
	if len(p.Colors) > 0 {
		form = p.Colors[0]
	}
	text := ""
	switch form {
	case "hsv":
		h, s := c.hs()
		text = plain(math.Round(h)) + "," + plain(math.Round(s)) + "," + plain(math.Round(brightness))
	case "xyz":
		x, y := c.xy()
		text = plain(x) + "," + plain(y)
	default:
		of := func(v uint8) string { return plain(math.Round(float64(v) * brightness / 100)) }
		text = of(c.r) + "," + of(c.g) + "," + of(c.b)
	}
	if five {
		return form + "," + text
	}
	return text
}

// homieValue is an entity of one property: a switch, a number, a sensor …
func (b *builder) homieValue(e *homie.Entity) {
	p := e.Parts[homie.Value]
	t := homieTypeOf(&p.Property, e.Five, b.cfg.Name("unit_of_measurement"))
	component := e.Topic.Component
	if component == "switch" || component == "binary_sensor" {
		t.aspect.Name = "on"
	}
	i := b.aspect(t.aspect)
	if p.Topic != "" {
		b.homieParsed(p.Topic, i, t.parse)
	}
	b.spec.assumed = p.Topic == ""
	if p.Target != "" {
		target := t.aspect
		target.Name, target.Detail = "target", true
		b.homieParsed(p.Target, b.aspect(target), t.parse)
	}
	topic := b.homieSet(p)
	if topic == "" {
		return
	}
	send := func(c *call, v Value) error {
		text, err := t.encode(v)
		if err != nil {
			return fmt.Errorf("%s: %w", t.aspect.Name, err)
		}
		c.publish(topic, text)
		if b.spec.assumed {
			c.set(i, v)
		}
		return nil
	}
	if component == "switch" {
		b.command(Command{Name: "turn_on"}, func(c *call) error { return send(c, BoolValue(true)) })
		b.command(Command{Name: "turn_off"}, func(c *call) error { return send(c, BoolValue(false)) })
		b.toggle(i)
		return
	}
	name := "set"
	if component == "select" {
		name = "select"
	}
	arg := t.aspect
	if homie.String == p.Datatype { // its length has no bounds
		arg.Unit = ""
	}
	b.command(Command{Name: name, Args: []Aspect{arg}, Required: []string{arg.Name}}, func(c *call) error { return send(c, c.args[arg.Name]) })
}

// homieButton does what a property has but one word for.
func (b *builder) homieButton(e *homie.Entity) {
	p := e.Parts[homie.Value]
	payload := "true"
	if p.Datatype == homie.Enum {
		payload = p.Options[0]
	}
	if topic := b.homieSet(p); topic != "" {
		b.command(Command{Name: "press"}, func(c *call) error {
			c.publish(topic, payload)
			return nil
		})
	}
}

// homieEvent: each message of a property that is not retained is one.
func (b *builder) homieEvent(e *homie.Entity) {
	p := e.Parts[homie.Value]
	a := Aspect{Name: "event", Type: Text, Precision: -1}
	parse := anyText
	if options := b.cfg.Texts("event_types", maxOptions); len(options) > 0 {
		a.Type, a.Options = Enum, options
		parse = func(text string) (Value, bool) { return TextValue(text), slices.Contains(options, text) }
	}
	i := b.aspect(a)
	b.homieRead(p.Topic, func(text string, out []update) []update {
		if v, ok := parse(text); ok {
			out = append(out, update{aspect: i, value: v, event: true})
		}
		return out
	})
}

// homieScale is the range of a property that is shown in percent.
func homieScale(p *homie.Property) scale {
	if p.Min != nil && p.Max != nil {
		return scale{*p.Min, *p.Max}
	}
	return scale{0, 100}
}

// ofPercent returns what a property is told for a percentage. What is not
// zero stays so.
func ofPercent(p *homie.Property, percent float64) string {
	s := homieScale(p)
	f := s.closed + percent/100*(s.open-s.closed)
	if p.Datatype == homie.Integer || p.Step == nil && s.open-s.closed >= 10 {
		if f = math.Round(f); percent > 0 && f == s.closed {
			f++
		}
	}
	text := homieNumber(p, f)
	if percent > 0 && p.Step != nil && text == plain(s.closed) {
		return homieNumber(p, s.closed+*p.Step)
	}
	return text
}

// homiePercent reads a number as a percentage. What is not zero stays so.
func homiePercent(p *homie.Property) parser {
	s := homieScale(p)
	return func(text string) (Value, bool) {
		v, ok := number(text)
		if v.Known() {
			v = percent(v.Num-s.closed, s.open-s.closed)
		}
		return v, ok
	}
}

// homieLight is a light of up to four properties. One without a property for
// its power is on when its brightness is not zero; one without brightness has
// that in its color, unless that has none.
func (b *builder) homieLight(e *homie.Entity) {
	power, dim, tone, temp := e.Parts[homie.Power], e.Parts[homie.Brightness], e.Parts[homie.Tone], e.Parts[homie.Temperature]
	l := &light{builder: b, brightness: -1, temp: -1, color: -1, white: -1, effect: -1, mode: -1, scale: 100}
	l.on = b.aspect(Aspect{Name: "on", Type: Bool})
	inColor := dim == nil && tone != nil && tone.Colors[0] != "xyz"
	if dim != nil || inColor {
		l.hasBrightness()
	}
	if temp != nil {
		l.kelvin = b.cfg.Flag("color_temp_kelvin", false)
		l.hasTemp()
	}
	if tone != nil {
		l.hasColor()
	}
	byBrightness := func(v Value, out []update) []update {
		if power == nil && v.Known() {
			out = append(out, update{aspect: l.on, value: BoolValue(v.Num > 0)})
		}
		if power == nil && v.Known() && v.Num == 0 {
			return out // how bright it is when it is on stays
		}
		return append(out, update{aspect: l.brightness, value: v})
	}
	if power != nil {
		b.homieParsed(power.Topic, l.on, onOff("true", "false"))
	}
	if dim != nil {
		parse := homiePercent(&dim.Property)
		b.homieRead(dim.Topic, func(text string, out []update) []update {
			v, ok := parse(text)
			if !ok {
				return out
			}
			return byBrightness(v, out)
		}, l.brightness)
	}
	if temp != nil {
		b.homieParsed(temp.Topic, l.temp, func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() {
				v = l.readTemp(v.Num)
			}
			return v, ok
		})
	}
	if tone != nil {
		b.homieRead(tone.Topic, func(text string, out []update) []update {
			c, brightness, ok := homieColor(&tone.Property, text, e.Five)
			if !ok {
				return out
			}
			if brightness > 0 {
				out = append(out, update{aspect: l.color, value: TextValue(c.String())})
			}
			if inColor {
				out = byBrightness(percent(brightness, 100), out)
			}
			return out
		}, l.color)
	}
	for _, p := range []*homie.Part{power, dim, tone, temp} {
		if p != nil && b.homieSet(p) == "" {
			return
		}
	}
	off := func(c *call) error {
		switch {
		case power != nil:
			c.publish(power.Set, "false")
		case dim != nil:
			c.publish(dim.Set, homieNumber(&dim.Property, homieScale(&dim.Property).closed))
		default:
			color, _ := parseRGB(c.now[l.color].Value.Str)
			c.publish(tone.Set, homieColorText(&tone.Property, color, 0, e.Five))
		}
		return nil
	}
	b.command(Command{Name: "turn_on", Args: l.args()}, func(c *call) error {
		brightness, dims := c.args["brightness"]
		if dims && brightness.Num == 0 {
			return off(c)
		}
		if !dims && l.brightness >= 0 {
			brightness = NumberValue(100)
			if now := c.now[l.brightness].Value; now.Known() && now.Num > 0 {
				brightness = now
			}
		}
		color, colors := c.args["color"]
		if power != nil {
			c.publish(power.Set, "true")
		}
		if dim != nil && (dims || power == nil) {
			c.publish(dim.Set, ofPercent(&dim.Property, brightness.Num))
		}
		if colors || inColor && (dims || power == nil) {
			if !colors {
				if color = c.now[l.color].Value; !color.Known() {
					color = TextValue("#ffffff")
				}
			}
			rgb, _ := parseRGB(color.Str)
			level := 100.0
			if inColor {
				level = brightness.Num
			}
			c.publish(tone.Set, homieColorText(&tone.Property, rgb, level, e.Five))
		}
		if v, ok := c.args["color_temp"]; ok {
			f, _ := l.sendTemp(v).Number()
			c.publish(temp.Set, homieNumber(&temp.Property, f))
		}
		return nil
	})
	b.command(Command{Name: "turn_off"}, off)
	b.toggle(l.on)
}

// homieFan is a fan of power and speed.
func (b *builder) homieFan(e *homie.Entity) {
	power, speed := e.Parts[homie.Power], e.Parts[homie.Speed]
	on := b.aspect(Aspect{Name: "on", Type: Bool})
	arg := Aspect{Name: "speed", Type: Number, Min: 0, Max: 100, Step: 1, Unit: "%"}
	s := homieScale(&speed.Property)
	if speed.Step != nil {
		arg.Step = round(*speed.Step/(s.open-s.closed)*100, 2)
	}
	i := b.aspect(arg)
	b.homieParsed(power.Topic, on, onOff("true", "false"))
	b.homieParsed(speed.Topic, i, homiePercent(&speed.Property))
	if b.homieSet(power) == "" || b.homieSet(speed) == "" {
		return
	}
	b.command(Command{Name: "turn_on"}, func(c *call) error { c.publish(power.Set, "true"); return nil })
	b.command(Command{Name: "turn_off"}, func(c *call) error { c.publish(power.Set, "false"); return nil })
	b.toggle(on)
	b.command(Command{Name: "set_speed", Args: []Aspect{arg}, Required: []string{"speed"}}, func(c *call) error {
		v := c.args["speed"]
		if v.Num == 0 {
			c.publish(power.Set, "false")
			return nil
		}
		c.publish(speed.Set, ofPercent(&speed.Property, v.Num))
		if on := c.now[on].Value; on.Type != Bool || !on.Bool {
			c.publish(power.Set, "true")
		}
		return nil
	})
}

// homieCover is a cover that is told by words, and maybe a position. Where it
// is on the way to says whether it opens or closes.
func (b *builder) homieCover(e *homie.Entity) {
	move, place := e.Parts[homie.Move], e.Parts[homie.Position]
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"open", "opening", "closed", "closing", "stopped"}})
	position := -1
	if place != nil {
		position = b.aspect(positionArg)
		b.homieParsed(place.Topic, position, homiePercent(&place.Property))
	}
	words := map[string]string{"open": "open", "close": "closed", "stop": "stopped", "opening": "opening", "closing": "closing"}
	switch {
	case place == nil:
		b.homieParsed(move.Topic, state, func(text string) (Value, bool) {
			s, ok := words[homie.Movement(text)]
			return TextValue(s), ok
		})
	case place.Target != "":
		target := b.aspect(Aspect{Name: "target", Type: Number, Min: 0, Max: 100, Unit: "%", Detail: true})
		b.homieParsed(place.Target, target, homiePercent(&place.Property))
		still := stateOfPosition(state, position)
		b.spec.derive = func(v []Value) {
			still(v)
			if from, to := v[position], v[target]; from.Known() && to.Known() && from.Num != to.Num {
				v[state] = TextValue("closing")
				if to.Num > from.Num {
					v[state] = TextValue("opening")
				}
			}
		}
	default:
		b.spec.derive = stateOfPosition(state, position)
	}
	if topic := b.homieSet(move); topic != "" {
		for _, name := range []string{"open", "close", "stop"} {
			i := slices.IndexFunc(move.Options, func(o string) bool { return homie.Movement(o) == name })
			if i >= 0 {
				b.command(Command{Name: name}, func(c *call) error {
					c.publish(topic, move.Options[i])
					return nil
				})
			}
		}
	}
	if topic := b.homieSet(place); topic != "" {
		b.command(Command{Name: "set_position", Args: []Aspect{positionArg}, Required: []string{"position"}}, func(c *call) error {
			s := homieScale(&place.Property)
			c.publish(topic, homieNumber(&place.Property, s.closed+c.args["position"].Num/100*(s.open-s.closed)))
			return nil
		})
	}
}
