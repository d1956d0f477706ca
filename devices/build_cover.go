package devices

import (
	"math"

	"lar.home/devices/template"
)

// A scale converts between percent and what a device counts, which may run
// backwards.
type scale struct{ closed, open float64 }

func (s scale) percent(f float64) Value {
	if s.open == s.closed {
		return Value{}
	}
	return NumberValue(math.Round(min(max((f-s.closed)/(s.open-s.closed), 0), 1) * 100))
}

func (s scale) device(p float64) template.Value {
	return template.FromNumber(math.Round(s.closed + p/100*(s.open-s.closed)))
}

// parse reads a number as percent.
func (s scale) parse(text string) (Value, bool) {
	v, ok := number(text)
	if v.Known() {
		v = s.percent(v.Num)
	}
	return v, ok
}

var (
	positionArg = Aspect{Name: "position", Type: Number, Min: 0, Max: 100, Step: 1, Unit: "%"}
	tiltArg     = Aspect{Name: "tilt", Type: Number, Min: 0, Max: 100, Step: 1, Unit: "%"}
)

// words reads the texts that a device has for states.
func words(texts map[string]string) parser {
	return func(text string) (Value, bool) {
		s, ok := texts[text]
		return TextValue(s), ok
	}
}

// buildCover: 0 is closed and 100 open, whatever the device counts. A payload
// of null means that the cover cannot do it.
func buildCover(b *builder) {
	c := b.cfg
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"open", "opening", "closed", "closing", "stopped"}})
	hasState := b.value(state, "state_topic", "value_template", words(map[string]string{
		c.Text("state_open", "open"): "open", c.Text("state_opening", "opening"): "opening",
		c.Text("state_closed", "closed"): "closed", c.Text("state_closing", "closing"): "closing",
		c.Text("state_stopped", "stopped"): "stopped",
	}))
	position := -1
	steps := scale{c.Number("position_closed", 0), c.Number("position_open", 100)}
	hasPosition := false
	if c.Has("position_topic") || c.Has("set_position_topic") {
		position = b.aspect(positionArg)
		hasPosition = b.value(position, "position_topic", "position_template", func(text string) (Value, bool) {
			// A template may make an object with both positions.
			if js, err := template.Decode(text); err == nil && js.Kind() == template.Dict {
				text = js.Key("position").Text()
			}
			return steps.parse(text)
		})
	}
	if !hasState && hasPosition {
		b.spec.derive = stateOfPosition(state, position)
	}
	assumed := b.assumed || !hasState && !hasPosition
	b.spec.assumed = assumed
	tell := func(name, key, usual, becomes string) {
		if c.Null(key) {
			return
		}
		var sets []update
		if assumed && becomes != "" {
			sets = append(sets, update{aspect: state, value: TextValue(becomes)})
		}
		b.send(name, "command_topic", "", c.Text(key, usual), sets...)
	}
	if c.Has("command_topic") {
		tell("open", "payload_open", "OPEN", "open")
		tell("close", "payload_close", "CLOSE", "closed")
		tell("stop", "payload_stop", "STOP", "")
	}
	b.setScaled("set_position", positionArg, position, steps, "set_position_topic", "set_position_template", b.assumed || !hasPosition)
	b.tilt()
}

// stateOfPosition says open or closed by the position alone.
func stateOfPosition(state, position int) func([]Value) {
	return func(v []Value) {
		switch p := v[position]; {
		case !p.Known():
			v[state] = Value{}
		case p.Num == 0:
			v[state] = TextValue("closed")
		default:
			v[state] = TextValue("open")
		}
	}
}

// setScaled adds a command with a percentage, sent as the device counts.
func (b *builder) setScaled(name string, arg Aspect, aspect int, s scale, topicKey, templateKey string, assumed bool) {
	topic := b.commandTopic(topicKey)
	encode, ok := b.encoder(templateKey)
	if topic == "" || !ok {
		return
	}
	b.command(Command{Name: name, Args: []Aspect{arg}, Required: []string{arg.Name}}, func(c *call) error {
		v := c.args[arg.Name]
		text, err := encode(s.device(v.Num), map[string]template.Value{
			arg.Name: template.FromNumber(v.Num), "tilt_position": template.FromNumber(v.Num),
			"tilt_min": template.FromNumber(s.closed), "tilt_max": template.FromNumber(s.open),
			"position_open": template.FromNumber(s.open), "position_closed": template.FromNumber(s.closed),
		})
		if err != nil {
			return err
		}
		c.publish(topic, text)
		if assumed && aspect >= 0 {
			c.set(aspect, v)
		}
		return nil
	})
}

func (b *builder) tilt() {
	c := b.cfg
	if !c.Has("tilt_command_topic") && !c.Has("tilt_status_topic") {
		return
	}
	s := scale{c.Number("tilt_min", 0), c.Number("tilt_max", 100)}
	i := b.aspect(tiltArg)
	reports := b.value(i, "tilt_status_topic", "tilt_status_template", s.parse)
	assumed := c.Flag("tilt_optimistic", false) || !reports
	fixed := func(name, key string, usual float64) {
		topic := b.commandTopic("tilt_command_topic")
		encode, ok := b.encoder("tilt_command_template")
		if topic == "" || !ok {
			return
		}
		f := c.Number(key, usual)
		b.command(Command{Name: name}, func(c *call) error {
			text, err := encode(template.FromNumber(f), map[string]template.Value{"tilt_position": template.FromNumber(f)})
			if err != nil {
				return err
			}
			c.publish(topic, text)
			if assumed {
				c.set(i, s.percent(f))
			}
			return nil
		})
	}
	fixed("open_tilt", "tilt_opened_value", 100)
	fixed("close_tilt", "tilt_closed_value", 0)
	if c.Has("payload_stop_tilt") {
		b.send("stop_tilt", "tilt_command_topic", "", c.Text("payload_stop_tilt", ""))
	}
	b.setScaled("set_tilt", tiltArg, i, s, "tilt_command_topic", "tilt_command_template", assumed)
}

// buildValve: as a cover, but one that reports its position is told numbers
// and not words.
func buildValve(b *builder) {
	c := b.cfg
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"open", "opening", "closed", "closing"}})
	texts := words(map[string]string{
		c.Text("state_open", "open"): "open", c.Text("state_opening", "opening"): "opening",
		c.Text("state_closed", "closed"): "closed", c.Text("state_closing", "closing"): "closing",
	})
	byPosition := c.Flag("reports_position", false)
	position := -1
	if byPosition {
		position = b.aspect(positionArg)
	}
	steps := scale{c.Number("position_closed", 0), c.Number("position_open", 100)}
	t, ok := b.template("value_template")
	reports := ok && b.read("state_topic", func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok {
			return out
		}
		word := text
		if js, err := template.Decode(text); err == nil && js.Kind() == template.Dict {
			word, text = js.Key("state").Text(), js.Key("position").Text()
		}
		if v, ok := texts(word); ok {
			out = append(out, update{aspect: state, value: v})
			word = ""
		}
		if v, ok := steps.parse(text); byPosition && ok && v.Known() {
			out = append(out, update{aspect: position, value: v})
			if word != "" { // no word of its own: by the position
				s := "open"
				if v.Num == 0 {
					s = "closed"
				}
				out = append(out, update{aspect: state, value: TextValue(s)})
			}
		}
		return out
	})
	b.spec.assumed = b.assumed || !reports
	if byPosition {
		b.setFixed("open", position, 100, steps, b.spec.assumed)
		b.setFixed("close", position, 0, steps, b.spec.assumed)
		if c.Has("payload_stop") {
			b.send("stop", "command_topic", "", c.Text("payload_stop", ""))
		}
		b.setScaled("set_position", positionArg, position, steps, "command_topic", "command_template", b.spec.assumed)
		return
	}
	tell := func(name, key, usual, becomes string) {
		if c.Null(key) || usual == "" && !c.Has(key) {
			return
		}
		var sets []update
		if b.spec.assumed && becomes != "" {
			sets = append(sets, update{aspect: state, value: TextValue(becomes)})
		}
		b.send(name, "command_topic", "command_template", c.Text(key, usual), sets...)
	}
	tell("open", "payload_open", "OPEN", "open")
	tell("close", "payload_close", "CLOSE", "closed")
	tell("stop", "payload_stop", "", "")
}

// setFixed is setScaled with a fixed percentage.
func (b *builder) setFixed(name string, aspect int, percent float64, s scale, assumed bool) {
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		return
	}
	b.command(Command{Name: name}, func(c *call) error {
		text, err := encode(s.device(percent), nil)
		if err != nil {
			return err
		}
		c.publish(topic, text)
		if assumed {
			c.set(aspect, NumberValue(percent))
		}
		return nil
	})
}
