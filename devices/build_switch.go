package devices

// buildSwitch: payload_on and payload_off are sent; the state is compared with
// state_on and state_off, which are the same unless given.
func buildSwitch(b *builder) {
	on, off := b.cfg.Text("payload_on", "ON"), b.cfg.Text("payload_off", "OFF")
	i := b.aspect(Aspect{Name: "on", Type: Bool})
	reports := b.value(i, "state_topic", "value_template",
		onOff(b.cfg.Text("state_on", on), b.cfg.Text("state_off", off)))
	b.spec.assumed = b.assumed || !reports
	b.onOffCommands(i, on, off, b.spec.assumed)
}

// onOffCommands adds turn_on, turn_off and toggle with fixed payloads.
func (b *builder) onOffCommands(aspect int, on, off string, assumed bool) {
	topic := b.commandTopic("command_topic")
	encode, ok := b.encoder("command_template")
	if topic == "" || !ok {
		b.missing("command_topic", topic)
		return
	}
	send := func(value bool) func(c *call) error {
		payload := off
		if value {
			payload = on
		}
		return func(c *call) error {
			text, err := encode(toTemplate(TextValue(payload)), nil)
			if err != nil {
				return err
			}
			c.publish(topic, text)
			if assumed {
				c.set(aspect, BoolValue(value))
			}
			return nil
		}
	}
	b.command(Command{Name: "turn_on"}, send(true))
	b.command(Command{Name: "turn_off"}, send(false))
	b.toggle(aspect)
}

// toggle adds a command that becomes turn_on or turn_off at the moment it is
// decided; what is not known to be on is turned on.
func (b *builder) toggle(aspect int) {
	var on, off func(c *call) error
	for _, a := range b.spec.commands {
		switch a.Name {
		case "turn_on":
			on = a.run
		case "turn_off":
			off = a.run
		}
	}
	if on == nil || off == nil {
		return
	}
	b.command(Command{Name: "toggle"}, func(c *call) error {
		if v := c.now[aspect].Value; v.Type == Bool && v.Bool {
			return off(c)
		}
		return on(c)
	})
}

// missing notes a topic without which the entity cannot be operated.
func (b *builder) missing(key, topic string) {
	if topic == "" && !b.cfg.Has(key) {
		b.problem("its description has no %s", key)
	}
}

// buildBinarySensor: other texts than the two leave the state as it is.
func buildBinarySensor(b *builder) {
	i := b.aspect(Aspect{Name: "on", Type: Bool})
	if !b.value(i, "state_topic", "value_template",
		onOff(b.cfg.Text("payload_on", "ON"), b.cfg.Text("payload_off", "OFF"))) {
		b.missing("state_topic", "")
		b.spec.aspects = nil
		return
	}
	b.spec.offDelay = b.seconds("off_delay")
	b.spec.expireAfter = b.seconds("expire_after")
}
