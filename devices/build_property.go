package devices

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"

	"lar.home/devices/template"
)

// A property is one aspect with a topic to read it from and a command to set
// it, as many components have several of. Either may be missing.
type property struct {
	aspect       Aspect
	state, read  string // keys of topic and template
	parse        parser // nil: by the aspect's type
	command      string // name of the command; its argument has the aspect's name
	topic, write string // keys of topic and template
	encode       func(v Value) template.Value
}

// property adds an aspect, its reading and its command, and returns its place;
// -1 if the description has neither topic.
func (b *builder) property(p property) int {
	if !b.cfg.Has(p.state) && !b.cfg.Has(p.topic) {
		return -1
	}
	i := b.aspect(p.aspect)
	if p.parse == nil {
		p.parse = anyText
		switch p.aspect.Type {
		case Number:
			p.parse = number
		case Bool:
			p.parse = onOff("ON", "OFF")
		}
	}
	reports := b.value(i, p.state, p.read, p.parse)
	if p.command == "" {
		return i
	}
	topic := b.commandTopic(p.topic)
	encode, ok := b.encoder(p.write)
	if topic == "" || !ok {
		return i
	}
	if p.encode == nil {
		p.encode = toTemplate
	}
	assumed := b.assumed || !reports
	b.command(Command{Name: p.command, Args: []Aspect{p.aspect}, Required: []string{p.aspect.Name}}, func(c *call) error {
		v := c.args[p.aspect.Name]
		text, err := encode(p.encode(v), nil)
		if err != nil {
			return err
		}
		c.publish(topic, text)
		if assumed {
			c.set(i, v)
		}
		return nil
	})
	return i
}

// single is a component that is one property on the usual topics.
func (b *builder) single(command string, a Aspect, parse parser) {
	i := b.property(property{aspect: a, parse: parse, command: command,
		state: "state_topic", read: "value_template", topic: "command_topic", write: "command_template"})
	b.missing("command_topic", b.cfg.Text("command_topic", ""))
	b.spec.assumed = i >= 0 && (b.assumed || !b.cfg.Has("state_topic"))
}

// send adds a command with a fixed payload.
func (b *builder) send(name, topicKey, templateKey, payload string, sets ...update) bool {
	topic := b.commandTopic(topicKey)
	encode, ok := b.encoder(templateKey)
	if topic == "" || !ok {
		return false
	}
	b.command(Command{Name: name}, func(c *call) error {
		text, err := encode(template.FromString(payload), nil)
		if err != nil {
			return err
		}
		c.publish(topic, text)
		c.sets = append(c.sets, sets...)
		return nil
	})
	return true
}

// buildNumber: min, max and step may be texts.
func buildNumber(b *builder) {
	c := b.cfg
	a := Aspect{Name: "value", Type: Number, Precision: -1, Unit: c.Name("unit_of_measurement"),
		Min: c.Number("min", 1), Max: c.Number("max", 100), Step: c.Number("step", 1)}
	reset := c.Text("payload_reset", payloadNone)
	b.single("set", a, func(text string) (Value, bool) {
		if text == reset {
			return Value{}, true
		}
		return number(text)
	})
}

func buildSelect(b *builder) {
	b.single("select", Aspect{Name: "value", Type: Enum, Options: b.cfg.Texts("options", maxOptions)}, anyText)
}

// buildText: a text may be empty, and its length is bounded by min and max.
func buildText(b *builder) {
	a := Aspect{Name: "value", Type: Text, Min: b.cfg.Number("min", 0), Max: b.cfg.Number("max", 255),
		Secret: b.cfg.Text("mode", "text") == "password"}
	b.single("set", a, func(text string) (Value, bool) { return TextValue(cut(text, maxText)), true })
	pattern := b.cfg.Text("pattern", "")
	if pattern == "" || len(pattern) > maxPattern {
		return
	}
	// What Go's patterns have not (looking ahead) is left to the device.
	re, err := regexp.Compile("^(?:" + pattern + ")$")
	if err != nil {
		return
	}
	for i := range b.spec.commands {
		set := b.spec.commands[i].run
		b.spec.commands[i].run = func(c *call) error {
			if !re.MatchString(c.args["value"].Str) {
				return fmt.Errorf("value: it is written as %s", pattern)
			}
			return set(c)
		}
	}
}

// maxPattern is the longest pattern of a text, in bytes.
const maxPattern = 1024

func buildDate(b *builder) {
	b.single("set", Aspect{Name: "value", Type: Time}, day)
	b.written(func(text string) (string, error) {
		v, _ := day(text)
		return v.Str, nil
	})
}

func buildDateTime(b *builder) { b.single("set", Aspect{Name: "value", Type: Time}, instant) }

// buildTime: a time of day is kept as it comes.
func buildTime(b *builder) {
	b.single("set", Aspect{Name: "value", Type: Text}, anyText)
	b.written(func(text string) (string, error) {
		for _, layout := range []string{time.TimeOnly, "15:04"} {
			if t, err := time.Parse(layout, text); err == nil {
				return t.Format(time.TimeOnly), nil
			}
		}
		return "", errors.New("value: a time of day is written as 15:04:05")
	})
}

// written has a text that is set sent in the way the convention writes it.
func (b *builder) written(as func(text string) (string, error)) {
	for i := range b.spec.commands {
		set := b.spec.commands[i].run
		b.spec.commands[i].run = func(c *call) error {
			text, err := as(c.args["value"].Str)
			if err != nil {
				return err
			}
			c.args["value"] = TextValue(text)
			return set(c)
		}
	}
}

func buildButton(b *builder) {
	if !b.send("press", "command_topic", "command_template", b.cfg.Text("payload_press", "PRESS")) {
		b.missing("command_topic", "")
	}
}

func buildScene(b *builder) {
	if !b.send("activate", "command_topic", "command_template", b.cfg.Text("payload_on", "ON")) {
		b.missing("command_topic", "")
	}
}

// buildNotify sends a text.
func buildNotify(b *builder) {
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		b.missing("command_topic", topic)
		return
	}
	arg := Aspect{Name: "message", Type: Text}
	b.command(Command{Name: "send", Args: []Aspect{arg}, Required: []string{"message"}}, func(c *call) error {
		text, err := encode(toTemplate(c.args["message"]), nil)
		if err == nil {
			c.publish(topic, text)
		}
		return err
	})
}

// buildRemote sends codes, and may be switched on and off.
func buildRemote(b *builder) {
	on, off := b.cfg.Text("payload_on", "ON"), b.cfg.Text("payload_off", "OFF")
	if b.cfg.Has("state_topic") || b.cfg.Has("payload_on") {
		buildSwitch(b)
	}
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		b.missing("command_topic", topic)
		return
	}
	arg := Aspect{Name: "code", Type: Text}
	codes := map[string]string{on: on, off: off}
	b.cfg.Options.Key("commands").Pairs(func(name string, v template.Value) {
		if code := v.Key("command"); code.Scalar() && len(arg.Options) < maxOptions {
			arg.Type, arg.Options = Enum, append(arg.Options, cut(name, maxName))
			codes[name] = strings.Clone(code.Text())
		}
	})
	b.command(Command{Name: "send", Args: []Aspect{arg}, Required: []string{"code"}}, func(c *call) error {
		code := c.args["code"].Str
		if arg.Type == Enum {
			code = codes[code]
		}
		text, err := encode(template.FromString(code), nil)
		if err == nil {
			c.publish(topic, text)
		}
		return err
	})
}

// buildInfrared: a receiver tells each code as an event, an emitter sends one.
func buildInfrared(b *builder) {
	code := Aspect{Name: "code", Type: Text}
	if b.cfg.Has("state_topic") {
		b.event(code, "state_topic", "value_template", func(text string) (Value, bool) {
			v, ok := anyText(text)
			return v, ok && text != "null"
		})
	}
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		return
	}
	b.command(Command{Name: "send", Args: []Aspect{code}, Required: []string{"code"}}, func(c *call) error {
		text, err := encode(toTemplate(c.args["code"]), nil)
		if err == nil {
			c.publish(topic, text)
		}
		return err
	})
}

// event adds an aspect each message of which counts, also when it repeats.
func (b *builder) event(a Aspect, topicKey, templateKey string, parse parser) {
	i := b.aspect(a)
	t, ok := b.template(templateKey)
	if !ok {
		return
	}
	b.read(topicKey, func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok || text == payloadNone {
			return out
		}
		v, ok := parse(text)
		if !ok {
			return out
		}
		return append(out, update{aspect: i, value: v, event: true})
	})
}

// buildEvent: JSON with event_type, which is one of event_types.
func buildEvent(b *builder) {
	types := b.cfg.Texts("event_types", maxOptions)
	i := b.aspect(Aspect{Name: "event", Type: Enum, Options: types})
	more := b.aspect(Aspect{Name: "attributes", Type: Text, Unit: jsonUnit, Detail: true})
	t, ok := b.template("value_template")
	if !ok {
		return
	}
	b.read("state_topic", func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok || text == payloadNone {
			return out
		}
		js, err := template.Decode(text)
		if err != nil {
			return out
		}
		v, ok := anyText(js.Key("event_type").Text())
		if !ok {
			return out
		}
		if js.Len() > 1 { // first, so that who acts on the event finds it
			rest, err := js.Rewrite(func(k string, v template.Value) (string, template.Value) {
				if k == "event_type" {
					k = ""
				}
				return k, v
			}).AppendJSON(nil, false)
			if err == nil && len(rest) <= maxAttributes {
				out = append(out, update{aspect: more, value: TextValue(string(rest))})
			}
		}
		return append(out, update{aspect: i, value: v, event: true})
	})
	b.missing("state_topic", "")
}

// buildTrigger is a device automation: a message on a topic, with a payload if
// one is given.
func buildTrigger(b *builder) {
	c := b.cfg
	kind, sub := c.Name("type"), c.Name("subtype")
	if b.spec.name == "" || !c.Has("name") {
		name := kind
		if sub != "" && sub != kind {
			name += " " + sub
		}
		b.spec.name = sentence(name)
	}
	want, any := c.Text("payload", ""), !c.Has("payload")
	value := sub
	if value == "" {
		value = kind
	}
	b.event(Aspect{Name: "event", Type: Enum, Options: []string{value}}, "topic", "value_template", func(text string) (Value, bool) {
		return TextValue(value), any || text == want
	})
	b.missing("topic", "")
}

// buildTag tells each scanned tag.
func buildTag(b *builder) {
	if !b.cfg.Has("name") {
		b.spec.name = "Tag"
	}
	b.event(Aspect{Name: "tag", Type: Text}, "topic", "value_template", anyText)
	b.missing("topic", "")
}
