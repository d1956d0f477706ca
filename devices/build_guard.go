package devices

import (
	"errors"
	"regexp"
	"slices"

	"lar.home/devices/template"
)

// codeArg is passed on to the device and never kept.
var codeArg = Aspect{Name: "code", Type: Text, Secret: true, Min: 0, Max: 64}

// buildLock: states and payloads are upper-case words unless given.
func buildLock(b *builder) {
	c := b.cfg
	i := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"locked", "locking", "unlocked", "unlocking", "jammed"}})
	reset := c.Text("payload_reset", payloadNone)
	known := words(map[string]string{
		c.Text("state_jammed", "JAMMED"):   "jammed",
		c.Text("state_locking", "LOCKING"): "locking", c.Text("state_unlocking", "UNLOCKING"): "unlocking",
		c.Text("state_locked", "LOCKED"): "locked", c.Text("state_unlocked", "UNLOCKED"): "unlocked",
	})
	reports := b.value(i, "state_topic", "value_template", func(text string) (Value, bool) {
		if text == reset {
			return Value{}, true
		}
		return known(text)
	})
	b.spec.assumed = b.assumed || !reports
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		b.missing("command_topic", topic)
		return
	}
	// What Go's patterns have not (looking ahead) is left to the device.
	var written *regexp.Regexp
	if p := c.Text("code_format", ""); p != "" && len(p) <= maxPattern {
		written, _ = regexp.Compile("^(?:" + p + ")")
	}
	tell := func(name, payload, becomes string) {
		cmd := Command{Name: name}
		if c.Has("code_format") || c.Has("command_template") {
			cmd.Args = []Aspect{codeArg}
		}
		if c.Has("code_format") {
			cmd.Required = []string{"code"}
		}
		b.command(cmd, func(c *call) error {
			code, given := c.args["code"]
			if given && written != nil && !written.MatchString(code.Str) {
				return errors.New("the code is not written as this lock wants it")
			}
			text, err := encode(template.FromString(payload), map[string]template.Value{"code": template.FromString(code.Str)})
			if err != nil {
				return err
			}
			c.publish(topic, text)
			if b.spec.assumed {
				c.set(i, TextValue(becomes))
			}
			return nil
		})
	}
	tell("lock", c.Text("payload_lock", "LOCK"), "locked")
	tell("unlock", c.Text("payload_unlock", "UNLOCK"), "unlocked")
	if c.Has("payload_open") {
		tell("open", c.Text("payload_open", ""), "unlocked")
	}
}

// buildAlarm: the code is compared here, or passed on if the description says
// REMOTE_CODE; it is never kept.
func buildAlarm(b *builder) {
	c := b.cfg
	i := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"disarmed", "armed_home", "armed_away", "armed_night",
		"armed_vacation", "armed_custom_bypass", "arming", "pending", "triggered", "disarming"}})
	if !b.value(i, "state_topic", "value_template", anyText) {
		b.missing("state_topic", "")
	}
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		b.missing("command_topic", topic)
		return
	}
	code := c.Text("code", "")
	remote := code == "REMOTE_CODE" || code == "REMOTE_CODE_TEXT"
	features := c.Texts("supported_features", 20)
	tell := func(name, feature, key, usual, required string) {
		if feature != "" && features != nil && !slices.Contains(features, feature) {
			return
		}
		cmd := Command{Name: name}
		needs := code != "" && c.Flag(required, true)
		if code != "" {
			cmd.Args = []Aspect{codeArg}
		}
		if needs {
			cmd.Required = []string{"code"}
		}
		payload := c.Text(key, usual)
		b.command(cmd, func(c *call) error {
			given := c.args["code"].Str
			if needs && !remote && given != code {
				return errors.New("the code is wrong")
			}
			text, err := encode(template.FromString(payload), map[string]template.Value{
				"action": template.FromString(payload), "code": template.FromString(given)})
			if err == nil {
				c.publish(topic, text)
			}
			return err
		})
	}
	tell("disarm", "", "payload_disarm", "DISARM", "code_disarm_required")
	tell("arm_home", "arm_home", "payload_arm_home", "ARM_HOME", "code_arm_required")
	tell("arm_away", "arm_away", "payload_arm_away", "ARM_AWAY", "code_arm_required")
	tell("arm_night", "arm_night", "payload_arm_night", "ARM_NIGHT", "code_arm_required")
	tell("arm_vacation", "arm_vacation", "payload_arm_vacation", "ARM_VACATION", "code_arm_required")
	tell("arm_custom_bypass", "arm_custom_bypass", "payload_arm_custom_bypass", "ARM_CUSTOM_BYPASS", "code_arm_required")
	tell("trigger", "trigger", "payload_trigger", "TRIGGER", "code_trigger_required")
}

// buildSiren: without a template the command is JSON with state, tone and so
// on; the state may be JSON too.
func buildSiren(b *builder) {
	c := b.cfg
	on, off := c.Text("payload_on", "ON"), c.Text("payload_off", "OFF")
	i := b.aspect(Aspect{Name: "on", Type: Bool})
	known := onOff(c.Text("state_on", on), c.Text("state_off", off))
	reports := b.value(i, "state_topic", "state_value_template", func(text string) (Value, bool) {
		if js, err := template.Decode(text); err == nil && js.Kind() == template.Dict {
			text = js.Key("state").Text()
		}
		return known(text)
	})
	assumed := b.assumed || !reports
	b.spec.assumed = assumed
	topic := b.commandTopic("command_topic")
	encode, ok1 := b.encoder("command_template")
	offKey := "command_off_template"
	if !c.Has(offKey) {
		offKey = "command_template"
	}
	encodeOff, ok2 := b.encoder(offKey)
	if topic == "" || !ok1 || !ok2 {
		b.missing("command_topic", topic)
		return
	}
	var args []Aspect
	if tones := c.Texts("available_tones", maxOptions); len(tones) > 0 {
		args = append(args, Aspect{Name: "tone", Type: Enum, Options: tones})
	}
	if c.Flag("support_volume_set", true) {
		args = append(args, Aspect{Name: "volume_level", Type: Number, Min: 0, Max: 1, Step: 0.01})
	}
	if c.Flag("support_duration", true) {
		args = append(args, Aspect{Name: "duration", Type: Number, Min: 0, Max: 86400, Step: 1, Unit: "s"})
	}
	tell := func(name, payload string, args []Aspect, encode encoder, templated, value bool) {
		b.command(Command{Name: name, Args: args}, func(c *call) error {
			named := map[string]template.Value{"state": template.FromString(payload)}
			msg, _ := template.Decode("{}")
			msg = msg.With("state", template.FromString(payload))
			for _, a := range args {
				if v, ok := c.args[a.Name]; ok {
					named[a.Name] = toTemplate(v)
					msg = msg.With(a.Name, toTemplate(v))
				}
			}
			text, err := encode(template.FromString(payload), named)
			if err != nil {
				return err
			}
			if !templated {
				js, _ := msg.AppendJSON(nil, false)
				text = string(js)
			}
			c.publish(topic, text)
			if assumed {
				c.set(i, BoolValue(value))
			}
			return nil
		})
	}
	tell("turn_on", on, args, encode, c.Has("command_template"), true)
	tell("turn_off", off, nil, encodeOff, c.Has(offKey), false)
	b.toggle(i)
}
