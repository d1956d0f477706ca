package devices

import (
	"fmt"
	"strings"

	"lar.home/devices/template"
	"lar.home/devices/zigbee2mqtt"
)

// zigbeeSource marks what a Zigbee2MQTT says in its own convention.
const zigbeeSource = "zigbee2mqtt"

// buildZigbee makes the spec of an entity of a Zigbee device.
func buildZigbee(e *zigbee2mqtt.Entity, prefix string, ts *templates) *spec {
	return buildWith(&e.Config, prefix, ts, func(b *builder) {
		b.spec.source = zigbeeSource
		b.suffix = e.Suffix
		if e.Topic.Component == "update" {
			b.zigbeeUpdate()
			return
		}
		if e.Expose == nil {
			builders[e.Topic.Component](b)
			if r := e.Options.Key("range").Items(); len(r) == 3 && len(b.spec.aspects) > 0 {
				a := &b.spec.aspects[0]
				a.Min, _ = r[0].Number()
				a.Max, _ = r[1].Number()
				a.Step, _ = r[2].Number()
			}
			return
		}
		switch e.Expose.Type {
		case "enum":
			b.zigbeeAction(e.Expose)
		case "text":
			b.zigbeeText(e.Expose)
		default:
			b.zigbeeObject(e.Expose)
		}
	})
}

// zigbeeRead reads a property of the state. A state without it says nothing.
func (b *builder) zigbeeRead(e *zigbee2mqtt.Expose, parse func(v template.Node, out []update) []update) bool {
	if !e.Published() {
		return false
	}
	property := e.Property
	return b.read("state_topic", func(in *input, out []update) []update {
		v := in.json().Key(property)
		if v.Kind() == template.Undefined {
			return out
		}
		return parse(v, out)
	})
}

// zigbeeUpdate is the device's own program: an object of the state, which has a
// percentage while a new one is being brought over.
func (b *builder) zigbeeUpdate() {
	u := b.update()
	b.read("state_topic", func(in *input, out []update) []update {
		js := in.json().Key("update")
		if js.Kind() != template.Dict {
			return out
		}
		out = u.versions(js, out)
		state, _ := js.Key("state").Str()
		out = append(out, update{aspect: u.progress, value: BoolValue(state == "updating")})
		percentage := update{aspect: u.percentage}
		if f, ok := js.Key("progress").Number(); ok {
			percentage.value = NumberValue(f)
		}
		return append(out, percentage)
	})
	b.install()
}

// zigbeeAction: each state that has an action is a press.
func (b *builder) zigbeeAction(e *zigbee2mqtt.Expose) {
	a := Aspect{Name: "event", Type: Enum}
	for _, v := range e.Values {
		if len(a.Options) < maxOptions {
			a.Options = append(a.Options, cut(fmt.Sprint(v), maxName))
		}
	}
	i := b.aspect(a)
	b.zigbeeRead(e, func(v template.Node, out []update) []update {
		if s, ok := v.Str(); ok && s != "" {
			out = append(out, update{aspect: i, value: TextValue(cut(s, maxName)), event: true})
		}
		return out
	})
}

// zigbeeText is a text that can be set.
func (b *builder) zigbeeText(e *zigbee2mqtt.Expose) {
	a := Aspect{Name: "value", Type: Text, Secret: secretName(e.Name)}
	if e.MaxLength != nil && *e.MaxLength > 0 {
		a.Max = *e.MaxLength
		if e.MinLength != nil {
			a.Min = *e.MinLength
		}
	}
	i := b.aspect(a)
	reports := b.zigbeeRead(e, func(v template.Node, out []update) []update {
		if v.Kind() == template.None {
			return append(out, update{aspect: i})
		}
		return append(out, update{aspect: i, value: TextValue(cut(v.Text(), maxText))})
	})
	b.spec.assumed = !reports
	topic := b.commandTopic("command_topic")
	if topic == "" {
		return
	}
	property := e.Property
	b.command(Command{Name: "set", Args: []Aspect{a}, Required: []string{"value"}}, func(c *call) error {
		c.publishJSON(topic, property, template.FromString(c.args["value"].Str))
		if !reports && !a.Secret {
			c.set(i, c.args["value"])
		}
		return nil
	})
}

// secretName tells whether a property is a code or password by its name.
func secretName(name string) bool {
	return strings.Contains(name, "password") || strings.Contains(name, "pin_code")
}

// publishJSON sends an object with one key.
func (c *call) publishJSON(topic, key string, v template.Value) {
	msg, _ := template.Decode("{}")
	text, err := msg.With(key, v).AppendJSON(nil, false)
	if err == nil {
		c.publish(topic, string(text))
	}
}

// zigbeeObject is an object or a list. Its value is the JSON; the fields of an
// object are aspects of their own, too. "set" takes the JSON whole, "update"
// some of the fields.
func (b *builder) zigbeeObject(e *zigbee2mqtt.Expose) {
	secret := secretName(e.Name)
	for _, f := range e.Features {
		secret = secret || secretName(f.Name)
	}
	a := Aspect{Name: "value", Type: Text, Secret: secret}
	whole := b.aspect(a)
	type field struct {
		key    string
		aspect int // -1: it is not reported
		arg    Aspect
		on     template.Value
		off    template.Value
		number bool // an enum of numbers
		told   bool // it can be set
	}
	var fields []field
	for i := range e.Features {
		f := &e.Features[i]
		x := field{key: f.Property, aspect: -1, arg: zigbeeAspect(f), told: f.Access == 0 || f.Settable()}
		if f.Property == "" || b.hasAspect(x.arg.Name) {
			continue
		}
		x.on, x.off = constant(f.ValueOn, "ON"), constant(f.ValueOff, "OFF")
		if len(f.Values) > 0 {
			_, x.number = f.Values[0].(float64)
		}
		if e.Published() && (f.Published() || f.Access == 0) {
			x.aspect = b.aspect(x.arg)
		}
		fields = append(fields, x)
	}
	reports := b.zigbeeRead(e, func(v template.Node, out []update) []update {
		if v.Kind() == template.None {
			return append(out, update{aspect: whole})
		}
		text, err := v.AppendJSON(nil, false)
		if err != nil {
			return out
		}
		out = append(out, update{aspect: whole, value: TextValue(cut(string(text), maxText))})
		for _, f := range fields {
			item := v.Key(f.key)
			if f.aspect < 0 || item.Kind() == template.Undefined {
				continue
			}
			out = append(out, update{aspect: f.aspect, value: fieldValue(f.arg.Type, item, f.on)})
		}
		return out
	})
	b.spec.assumed = !reports && b.cfg.Has("command_topic")
	topic := b.commandTopic("command_topic")
	property := e.Property
	if topic == "" {
		return
	}
	isList := e.Type == "list"
	b.command(Command{Name: "set", Args: []Aspect{a}, Required: []string{"value"}}, func(c *call) error {
		v, err := template.Decode(c.args["value"].Str)
		if err != nil {
			return fmt.Errorf("value: it is JSON: %w", err)
		}
		if isList && v.Kind() != template.List {
			return fmt.Errorf("value: it is a list, as [1,2]")
		}
		c.publishJSON(topic, property, v)
		if !reports && !secret {
			c.set(whole, c.args["value"])
		}
		return nil
	})
	cmd := Command{Name: "update"}
	for _, f := range fields {
		if f.told {
			cmd.Args = append(cmd.Args, f.arg)
		}
	}
	if len(cmd.Args) == 0 {
		return
	}
	b.command(cmd, func(c *call) error {
		msg, _ := template.Decode("{}")
		for _, f := range fields {
			v, given := c.args[f.arg.Name]
			if !given {
				continue
			}
			switch {
			case f.arg.Type == Bool && v.Bool:
				msg = msg.With(f.key, f.on)
			case f.arg.Type == Bool:
				msg = msg.With(f.key, f.off)
			case f.arg.Type == Text && f.arg.Unit == jsonUnit || f.number:
				inner, err := template.Decode(v.Str)
				if err != nil {
					return fmt.Errorf("%s: it is JSON: %w", f.arg.Name, err)
				}
				msg = msg.With(f.key, inner)
			default:
				msg = msg.With(f.key, toTemplate(v))
			}
		}
		if msg.Len() == 0 {
			return fmt.Errorf("it wants at least one of its arguments")
		}
		c.publishJSON(topic, property, msg)
		return nil
	})
}

// jsonUnit marks a text that is JSON within an object.
const jsonUnit = "JSON"

func (b *builder) hasAspect(name string) bool {
	for _, a := range b.spec.aspects {
		if a.Name == name {
			return true
		}
	}
	return false
}

// zigbeeAspect is a field of an object.
func zigbeeAspect(f *zigbee2mqtt.Expose) Aspect {
	a := Aspect{Name: f.Property, Type: Text, Unit: f.Unit, Precision: -1, Secret: secretName(f.Name)}
	if a.Name == "value" {
		a.Name = "value_field"
	}
	switch f.Type {
	case "numeric":
		a.Type = Number
		if f.Min != nil && f.Max != nil {
			a.Min, a.Max = *f.Min, *f.Max
		}
		if f.Step != nil {
			a.Step = *f.Step
		}
	case "binary":
		a.Type = Bool
	case "enum":
		a.Type = Enum
		for _, v := range f.Values {
			if len(a.Options) < maxOptions {
				a.Options = append(a.Options, cut(fmt.Sprint(v), maxName))
			}
		}
	case "text":
	default:
		a.Unit = jsonUnit
	}
	return a
}

// constant makes a template value of what an expose calls on or off.
func constant(v any, usual string) template.Value {
	switch v := v.(type) {
	case bool:
		return template.FromBool(v)
	case float64:
		return template.FromNumber(v)
	case string:
		return template.FromString(v)
	}
	return template.FromString(usual)
}

// fieldValue reads a field of an object.
func fieldValue(t Type, v template.Node, on template.Value) Value {
	switch {
	case v.Kind() == template.None:
		return Value{}
	case t == Number:
		if f, ok := v.Number(); ok {
			return NumberValue(f)
		}
		return Value{}
	case t == Bool:
		return BoolValue(v.Text() == on.Text())
	case v.Scalar():
		return TextValue(cut(v.Text(), maxText))
	}
	text, err := v.AppendJSON(nil, false)
	if err != nil {
		return Value{}
	}
	return TextValue(cut(string(text), maxText))
}
