package devices

import (
	"encoding/json"
	"math"
	"slices"
	"strconv"

	"lar.home/devices/shelly"
	"lar.home/devices/tasmota"
	"lar.home/devices/template"
)

// shellySource marks what a Shelly says in its own convention.
const shellySource = "shelly"

// buildShelly makes the spec of an entity of a Shelly.
func buildShelly(e *shelly.Entity, prefix string, ts *templates) *spec {
	return buildWith(&e.Config, prefix, ts, func(b *builder) {
		b.spec.source = shellySource
		if e.Topic1 != "" {
			b.oldShelly(e)
			return
		}
		switch e.Role {
		case shelly.SwitchRole:
			on := b.aspect(Aspect{Name: "on", Type: Bool})
			b.shellyStatus(e, flagAt(on, "output"))
			b.shellyOnOff(e, on, "Switch.Set", "on")
		case shelly.LightRole:
			b.shellyLight(e)
		case shelly.CoverRole:
			b.shellyCover(e)
		case shelly.ClimateRole:
			b.shellyClimate(e)
		case shelly.EventRole:
			b.shellyEvent(e)
		case shelly.VirtualRole:
			b.shellyVirtual(e)
		case shelly.ButtonRole:
			b.shellyCall(e, Command{Name: "press"}, func(*call) (string, map[string]any) { return "Shelly.Reboot", nil })
		case shelly.UpdateRole:
			b.shellyUpdate(e)
		case shelly.RefusalRole:
			b.shellyRefusal(e)
		default:
			b.shellyField(e)
		}
	})
}

// shellyStatus reads the object of a component's status, of which a
// notification has only what has changed.
func (b *builder) shellyStatus(e *shelly.Entity, take taker) {
	sources := make([]tasmota.Source, len(e.Status))
	for i, s := range e.Status {
		sources[i] = tasmota.Source(s)
	}
	b.places(sources, take)
	if e.Component.ID < 200 {
		return
	}
	key := e.Component.Key() // one that people made: it is in a list
	b.places([]tasmota.Source{{Topic: shelly.Source(e.Prefix) + "/rpc", Path: []string{"result", "components"}}}, func(v template.Node, out []update) []update {
		for _, item := range v.Items() {
			if name, _ := item.Key("key").Str(); name == key {
				out = take(item.Key("status"), out)
			}
		}
		return out
	})
}

// numberAt, flagAt and textAt take a field of an object; null is unknown.

func numberAt(aspect int, scale float64, path ...string) taker {
	return func(v template.Node, out []update) []update {
		for _, key := range path {
			v = v.Key(key)
		}
		if f, ok := v.Number(); ok && v.Kind() != template.String {
			if scale != 0 {
				f = round(f*scale, 6)
			}
			return append(out, update{aspect: aspect, value: NumberValue(f)})
		}
		return unknownAt(aspect, v, out)
	}
}

func flagAt(aspect int, path ...string) taker {
	return func(v template.Node, out []update) []update {
		for _, key := range path {
			v = v.Key(key)
		}
		if on, ok := v.Bool(); ok {
			return append(out, update{aspect: aspect, value: BoolValue(on)})
		}
		return unknownAt(aspect, v, out)
	}
}

func textAt(aspect int, path ...string) taker {
	return func(v template.Node, out []update) []update {
		for _, key := range path {
			v = v.Key(key)
		}
		if s, ok := v.Str(); ok {
			return append(out, update{aspect: aspect, value: TextValue(cut(s, maxText))})
		}
		return unknownAt(aspect, v, out)
	}
}

func unknownAt(aspect int, v template.Node, out []update) []update {
	if v.Kind() == template.None {
		out = append(out, update{aspect: aspect})
	}
	return out
}

// all is several takers, one after the other.
func all(takers ...taker) taker {
	return func(v template.Node, out []update) []update {
		for _, take := range takers {
			out = take(v, out)
		}
		return out
	}
}

// shellyCall adds a command that is a remote call.
func (b *builder) shellyCall(e *shelly.Entity, cmd Command, what func(c *call) (method string, params map[string]any)) {
	topic := e.Prefix + "/rpc"
	if p := commandTopicProblem(b.prefix, topic); p != "" {
		b.problem("command topic %q %s", cut(topic, 80), p)
		return
	}
	if len(cmd.Args) == 1 && cmd.Required == nil {
		cmd.Required = []string{cmd.Args[0].Name}
	}
	b.command(cmd, func(c *call) error {
		method, params := what(c)
		c.publish(topic, shelly.Call(e.Prefix, shelly.Command, method, params))
		return nil
	})
}

// shellyOnOff adds turn_on, turn_off and toggle.
func (b *builder) shellyOnOff(e *shelly.Entity, on int, method, key string) {
	set := func(name string, value bool) {
		b.shellyCall(e, Command{Name: name}, func(*call) (string, map[string]any) {
			return method, map[string]any{"id": e.Component.ID, key: value}
		})
	}
	set("turn_on", true)
	set("turn_off", false)
	b.toggle(on)
}

// shellyField is a number, a flag or a text of a status.
func (b *builder) shellyField(e *shelly.Entity) {
	switch {
	case e.Topic.Component == "binary_sensor":
		on := b.aspect(Aspect{Name: "on", Type: Bool})
		b.shellyStatus(e, all(flagAt(on, e.Field...), func(v template.Node, out []update) []update {
			for _, key := range e.Field {
				v = v.Key(key)
			}
			if f, ok := v.Number(); ok && v.Kind() != template.Bool && v.Kind() != template.String {
				out = append(out, update{aspect: on, value: BoolValue(f != 0)})
			}
			return out
		}))
	case b.spec.deviceClass == "enum":
		b.shellyStatus(e, textAt(b.aspect(Aspect{Name: "value", Type: Text, Precision: -1}), e.Field...))
	default:
		i := b.aspect(Aspect{Name: "value", Type: Number, Precision: -1, Unit: b.cfg.Name("unit_of_measurement")})
		b.shellyStatus(e, numberAt(i, e.Scale, e.Field...))
	}
}

// shellyLight is a light of any of the five kinds.
func (b *builder) shellyLight(e *shelly.Entity) {
	c := e.Component
	l := &light{builder: b, brightness: -1, temp: -1, color: -1, white: -1, effect: -1, mode: -1, scale: 100, whiteScale: 255, kelvin: true}
	l.on = b.aspect(Aspect{Name: "on", Type: Bool})
	if c.Has("brightness") {
		l.hasBrightness()
	}
	if c.Has("ct") {
		l.hasTemp()
	}
	if c.Has("rgb") {
		l.hasColor()
	}
	if c.Has("white") {
		l.hasWhite()
	}
	if c.Has("mode") && l.color >= 0 && l.temp >= 0 {
		l.mode = b.aspect(Aspect{Name: "color_mode", Type: Enum, Options: []string{"rgb", "cct"}})
	}
	b.shellyStatus(e, func(v template.Node, out []update) []update {
		out = flagAt(l.on, "output")(v, out)
		if f, ok := v.Key("brightness").Number(); ok && l.brightness >= 0 {
			out = append(out, update{aspect: l.brightness, value: percent(f, 100)})
		}
		if f, ok := v.Key("ct").Number(); ok && l.temp >= 0 {
			out = append(out, update{aspect: l.temp, value: l.readTemp(f)})
		}
		if f, ok := v.Key("white").Number(); ok && l.white >= 0 {
			out = append(out, update{aspect: l.white, value: percent(f, l.whiteScale)})
		}
		if c, ok := colorOf(v.Key("rgb").Items()); ok && l.color >= 0 {
			out = append(out, update{aspect: l.color, value: TextValue(c.String())})
		}
		if mode, ok := v.Key("mode").Str(); ok && l.mode >= 0 && (mode == "rgb" || mode == "cct") {
			out = append(out, update{aspect: l.mode, value: TextValue(mode)})
		}
		return out
	})
	method := map[string]string{"light": "Light", "cct": "CCT", "rgb": "RGB", "rgbw": "RGBW", "rgbcct": "RGBCCT"}[c.Kind] + ".Set"
	set := func(cl *call, on bool) (string, map[string]any) {
		params := map[string]any{"id": c.ID, "on": on}
		if v, ok := cl.args["brightness"]; ok && on {
			if v.Num == 0 { // brightness 0 is off
				params["on"] = false
				return method, params
			}
			params["brightness"] = math.Round(v.Num)
		}
		if v, ok := cl.args["color_temp"]; ok {
			params["ct"] = math.Round(v.Num)
			if l.mode >= 0 {
				params["mode"] = "cct"
			}
		}
		if v, ok := cl.args["color"]; ok {
			color, _ := parseRGB(v.Str)
			params["rgb"] = []int{int(color.r), int(color.g), int(color.b)}
			if l.mode >= 0 {
				params["mode"] = "rgb"
			}
		}
		if v, ok := cl.args["white"]; ok {
			params["white"] = ofScale(v, l.whiteScale)
		}
		if v, ok := cl.args["transition"]; ok {
			params["transition_duration"] = v.Num
		}
		return method, params
	}
	b.shellyTell(e, Command{Name: "turn_on", Args: l.args(shellyTransition)}, func(cl *call) (string, map[string]any) { return set(cl, true) })
	b.shellyTell(e, Command{Name: "turn_off", Args: []Aspect{shellyTransition}}, func(cl *call) (string, map[string]any) { return set(cl, false) })
	b.toggle(l.on)
}

var shellyTransition = Aspect{Name: "transition", Type: Number, Min: 0, Max: 10800, Unit: "s"}

// shellyTell is shellyCall for a command whose arguments are optional.
func (b *builder) shellyTell(e *shelly.Entity, cmd Command, what func(c *call) (string, map[string]any)) {
	before := len(b.spec.commands)
	b.shellyCall(e, cmd, what)
	if len(b.spec.commands) > before {
		b.spec.commands[before].Required = nil
	}
}

// colorOf reads [red, green, blue].
func colorOf(items []template.Node) (c rgb, ok bool) {
	if len(items) != 3 {
		return c, false
	}
	var f [3]float64
	for i := range f {
		if f[i], ok = items[i].Number(); !ok {
			return c, false
		}
	}
	most := max(f[0], f[1], f[2])
	if most <= 0 {
		return c, false // black is no color
	}
	return fromRGB(f[0]*255/most, f[1]*255/most, f[2]*255/most), true
}

// shellyCover: 0 is closed and 100 open there, too.
func (b *builder) shellyCover(e *shelly.Entity) {
	states := []string{"open", "opening", "closed", "closing", "stopped"}
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: states})
	position, tilt := -1, -1
	if e.Component.Placed {
		position = b.aspect(positionArg)
	}
	if e.Component.Type == "slat" {
		tilt = b.aspect(tiltArg)
	}
	b.shellyStatus(e, func(v template.Node, out []update) []update {
		if s, ok := v.Key("state").Str(); ok && slices.Contains(states, s) {
			out = append(out, update{aspect: state, value: TextValue(s)})
		}
		if position >= 0 {
			out = numberAt(position, 0, "current_pos")(v, out)
		}
		if tilt >= 0 {
			out = numberAt(tilt, 0, "slat_pos")(v, out)
		}
		return out
	})
	id := e.Component.ID
	for _, x := range [][2]string{{"open", "Cover.Open"}, {"close", "Cover.Close"}, {"stop", "Cover.Stop"}} {
		b.shellyCall(e, Command{Name: x[0]}, func(*call) (string, map[string]any) { return x[1], map[string]any{"id": id} })
	}
	move := func(name string, arg Aspect, key string) {
		b.shellyCall(e, Command{Name: name, Args: []Aspect{arg}}, func(c *call) (string, map[string]any) {
			return "Cover.GoToPosition", map[string]any{"id": id, key: math.Round(c.args[arg.Name].Num)}
		})
	}
	if position >= 0 {
		move("set_position", positionArg, "pos")
	}
	if tilt >= 0 {
		move("set_tilt", tiltArg, "slat_pos")
	}
}

// shellyClimate is the thermostat of a wall display, or a valve that a gateway
// reaches.
func (b *builder) shellyClimate(e *shelly.Entity) {
	c := e.Component
	arg := Aspect{Name: "target", Type: Number, Unit: "°C", Min: 5, Max: 35, Step: 0.5, Precision: -1}
	if c.Kind == "blutrv" {
		arg.Min, arg.Max, arg.Step = 4, 30, 0.1
	}
	mode, action, word, busy := -1, -1, "heat", "heating"
	if c.Type == "cooling" {
		word, busy = "cool", "cooling"
	}
	if c.Has("enable") {
		mode = b.aspect(Aspect{Name: "mode", Type: Enum, Options: []string{"off", word}})
	}
	if c.Has("output") {
		action = b.aspect(Aspect{Name: "action", Type: Enum, Options: []string{"idle", busy}})
	}
	current := b.aspect(Aspect{Name: "current_temp", Type: Number, Unit: "°C", Precision: -1})
	target := b.aspect(arg)
	b.shellyStatus(e, func(v template.Node, out []update) []update {
		either := func(aspect int, key, on, off string) {
			if flag, ok := v.Key(key).Bool(); ok && aspect >= 0 {
				text := off
				if flag {
					text = on
				}
				out = append(out, update{aspect: aspect, value: TextValue(text)})
			}
		}
		either(mode, "enable", word, "off")
		either(action, "output", busy, "idle")
		return all(numberAt(current, 0, "current_C"), numberAt(target, 0, "target_C"))(v, out)
	})
	set := func(key string, value any) (string, map[string]any) {
		if c.Kind == "blutrv" {
			return "BluTrv.Call", map[string]any{"id": c.ID, "method": "TRV.SetTarget", "params": map[string]any{"id": 0, key: value}}
		}
		return "Thermostat.SetConfig", map[string]any{"id": c.ID, "config": map[string]any{key: value}}
	}
	if mode >= 0 {
		b.shellyCall(e, Command{Name: "set_mode", Args: []Aspect{b.spec.aspects[mode]}}, func(c *call) (string, map[string]any) {
			return set("enable", c.args["mode"].Str != "off")
		})
	}
	b.shellyCall(e, Command{Name: "set_target", Args: []Aspect{arg}}, func(c *call) (string, map[string]any) {
		return set("target_C", c.args["target"].Num)
	})
	if mode >= 0 {
		b.shellyCall(e, Command{Name: "turn_on"}, func(*call) (string, map[string]any) { return set("enable", true) })
		b.shellyCall(e, Command{Name: "turn_off"}, func(*call) (string, map[string]any) { return set("enable", false) })
	}
}

// shellyEvent is a button that is pressed.
func (b *builder) shellyEvent(e *shelly.Entity) {
	types := b.cfg.Texts("event_types", maxOptions)
	i := b.aspect(Aspect{Name: "event", Type: Enum, Options: types})
	key := e.Component.Key()
	b.places([]tasmota.Source{{Topic: e.Events, Path: []string{"params", "events"}}}, func(v template.Node, out []update) []update {
		for _, item := range v.Items() {
			component, _ := item.Key("component").Str()
			event, _ := item.Key("event").Str()
			if component == key && slices.Contains(types, event) && len(out) < maxEvents {
				out = append(out, update{aspect: i, value: TextValue(event), event: true})
			}
		}
		return out
	})
}

// maxEvents is how many events one message may tell.
const maxEvents = 64

// shellyVirtual is a value that people made, or a button.
func (b *builder) shellyVirtual(e *shelly.Entity) {
	c := e.Component
	a := Aspect{Name: "value", Precision: -1, Unit: b.cfg.Name("unit_of_measurement")}
	if c.Min != nil && c.Max != nil {
		a.Min, a.Max = *c.Min, *c.Max
	}
	if c.Step != nil {
		a.Step = *c.Step
	}
	set := func(method, name string) {
		b.shellyCall(e, Command{Name: name, Args: []Aspect{a}}, func(cl *call) (string, map[string]any) {
			v := cl.args["value"]
			if a.Type == Number {
				return method, map[string]any{"id": c.ID, "value": v.Num}
			}
			return method, map[string]any{"id": c.ID, "value": v.Str}
		})
	}
	switch c.Kind {
	case "boolean":
		on := b.aspect(Aspect{Name: "on", Type: Bool})
		b.shellyStatus(e, flagAt(on, "value"))
		b.shellyOnOff(e, on, "Boolean.Set", "value")
	case "number":
		a.Type = Number
		b.shellyStatus(e, numberAt(b.aspect(a), 0, "value"))
		set("Number.Set", "set")
	case "text":
		a.Type, a.Min, a.Max = Text, 0, 0
		b.shellyStatus(e, textAt(b.aspect(a), "value"))
		set("Text.Set", "set")
	case "enum":
		a.Type, a.Options = Enum, c.Options
		b.shellyStatus(e, textAt(b.aspect(a), "value"))
		set("Enum.Set", "select")
	default:
		b.shellyCall(e, Command{Name: "press"}, func(*call) (string, map[string]any) {
			return "Button.Trigger", map[string]any{"id": c.ID, "event": "single_push"}
		})
	}
}

// shellyUpdate: the version that is there is that of the description.
func (b *builder) shellyUpdate(e *shelly.Entity) {
	installed := b.aspect(Aspect{Name: "installed", Type: Text})
	latest := b.aspect(Aspect{Name: "latest", Type: Text})
	version := e.Device.SWVersion
	b.shellyStatus(e, func(v template.Node, out []update) []update {
		if v.Kind() != template.Dict {
			return out
		}
		out = append(out, update{aspect: installed, value: TextValue(version)})
		if v = v.Key("available_updates"); v.Kind() != template.Dict {
			return out
		}
		is := version
		if s, ok := v.Key("stable").Key("version").Str(); ok && s != "" {
			is = cut(s, maxName)
		}
		return append(out, update{aspect: latest, value: TextValue(is)})
	})
	b.shellyCall(e, Command{Name: "install"}, func(*call) (string, map[string]any) {
		return "Shelly.Update", map[string]any{"stage": "stable"}
	})
}

// shellyRefusal shows what a device had against the last command that it
// refused.
func (b *builder) shellyRefusal(e *shelly.Entity) {
	i := b.aspect(Aspect{Name: "value", Type: Text, Precision: -1})
	b.places([]tasmota.Source{{Topic: shelly.Source(e.Prefix) + "/rpc"}}, func(v template.Node, out []update) []update {
		if id, _ := v.Key("id").Number(); id != float64(shelly.Command) || v.Key("error").Kind() != template.Dict {
			return out
		}
		return append(out, update{aspect: i, value: TextValue(shelly.Refusal(v.Key("error").Value()))})
	})
}

// oldShelly is an entity of a device of the first generation: each value has a
// topic of its own.
func (b *builder) oldShelly(e *shelly.Entity) {
	if p := commandTopicProblem(b.prefix, e.Topic1); p != "" {
		b.problem("topic %q %s", cut(e.Topic1, 80), p)
		return
	}
	plainRead := func(topic string, aspect int, parse parser) {
		b.spec.reads = append(b.spec.reads, read{topic: topic, extract: func(in *input, out []update) []update {
			if v, ok := parse(in.text()); ok {
				out = append(out, update{aspect: aspect, value: v})
			}
			return out
		}})
	}
	send := func(name, topic, payload string) {
		b.command(Command{Name: name}, func(c *call) error {
			c.publish(topic, payload)
			return nil
		})
	}
	if len(e.Field) > 0 {
		b.oldShellyField(e)
		return
	}
	switch e.Topic.Component {
	case "switch":
		on := b.aspect(Aspect{Name: "on", Type: Bool})
		plainRead(e.Topic1, on, func(text string) (Value, bool) {
			if text == "overpower" { // it has turned itself off
				text = "off"
			}
			return onOff("on", "off")(text)
		})
		send("turn_on", e.Topic1+"/command", "on")
		send("turn_off", e.Topic1+"/command", "off")
		b.toggle(on)
	case "binary_sensor":
		plainRead(e.Topic1, b.aspect(Aspect{Name: "on", Type: Bool}), onOff(b.cfg.Text("payload_on", ""), b.cfg.Text("payload_off", "")))
	case "event":
		b.oldShellyEvent(e)
	case "light":
		b.oldShellyLight(e)
	case "cover":
		b.oldShellyCover(e, plainRead, send)
	case "climate":
		b.oldShellyClimate(e)
	default:
		a := Aspect{Name: "value", Type: Number, Precision: -1, Unit: b.cfg.Name("unit_of_measurement")}
		if b.spec.deviceClass == "enum" {
			a.Type = Text
			plainRead(e.Topic1, b.aspect(a), anyText)
			return
		}
		plainRead(e.Topic1, b.aspect(a), func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() && e.Scale != 0 {
				v.Num = round(v.Num*e.Scale, 6)
			}
			return v, ok
		})
	}
}

// oldShellyField is a field of the one object that a device sends.
func (b *builder) oldShellyField(e *shelly.Entity) {
	take := flagAt
	a := Aspect{Name: "on", Type: Bool}
	if e.Topic.Component == "sensor" {
		a = Aspect{Name: "value", Type: Number, Precision: -1, Unit: b.cfg.Name("unit_of_measurement")}
		take = func(aspect int, path ...string) taker { return numberAt(aspect, 0, path...) }
	}
	b.places([]tasmota.Source{{Topic: e.Topic1}}, take(b.aspect(a), e.Field...))
}

// oldShellyEvent: what was pressed last is said again and again; its count
// tells whether it is another one.
func (b *builder) oldShellyEvent(e *shelly.Entity) {
	i := b.aspect(Aspect{Name: "event", Type: Enum, Options: b.cfg.Texts("event_types", maxOptions)})
	counter := b.aspect(Aspect{Name: "count", Type: Number, Detail: true})
	b.places([]tasmota.Source{{Topic: e.Topic1}}, func(v template.Node, out []update) []update {
		n, ok := v.Key("event_cnt").Number()
		if !ok {
			return out
		}
		out = append(out, update{aspect: counter, value: NumberValue(n)})
		word, _ := v.Key("event").Str()
		if name := shelly.Clicks[word]; name != "" {
			out = append(out, update{aspect: i, value: TextValue(name), event: true, counter: counter})
		}
		return out
	})
}

// effects of lights of the first generation, by number: those of strips and
// those of bulbs.
var oldEffects = map[bool][]string{
	false: {"Off", "Meteor shower", "Gradual change", "Flash"},
	true:  {"Off", "Meteor shower", "Gradual change", "Breath", "Flash", "On/off gradual", "Red/green change"},
}

// oldShellyLight is a lamp, a bulb or a strip. One of color has its brightness
// as "gain".
func (b *builder) oldShellyLight(e *shelly.Entity) {
	can := func(feature string) bool { return slices.Contains(e.Features, feature) }
	l := &light{builder: b, brightness: -1, temp: -1, color: -1, white: -1, effect: -1, mode: -1, scale: 100, whiteScale: 255, kelvin: true}
	l.on = b.aspect(Aspect{Name: "on", Type: Bool})
	if can("brightness") || can("gain") {
		l.hasBrightness()
	}
	if can("temp") {
		l.hasTemp()
	}
	if can("red") {
		l.hasColor()
	}
	if can("white") && can("red") && !can("temp") {
		l.hasWhite()
	}
	if can("effect") && can("red") {
		l.effects = oldEffects[can("temp")]
		l.hasEffect()
	}
	if can("red") && can("temp") {
		l.mode = b.aspect(Aspect{Name: "color_mode", Type: Enum, Options: []string{"color", "white"}})
	}
	level := func(mode string) string {
		if can("gain") && (mode == "color" || !can("brightness")) {
			return "gain"
		}
		return "brightness"
	}
	b.places([]tasmota.Source{{Topic: e.Topic1}}, func(v template.Node, out []update) []update {
		out = flagAt(l.on, "ison")(v, out)
		mode, _ := v.Key("mode").Str()
		if l.mode >= 0 && (mode == "color" || mode == "white") {
			out = append(out, update{aspect: l.mode, value: TextValue(mode)})
		}
		if f, ok := v.Key(level(mode)).Number(); ok && l.brightness >= 0 {
			out = append(out, update{aspect: l.brightness, value: percent(f, 100)})
		}
		if f, ok := v.Key("temp").Number(); ok && l.temp >= 0 {
			out = append(out, update{aspect: l.temp, value: l.readTemp(f)})
		}
		if c, ok := colorOf([]template.Node{v.Key("red"), v.Key("green"), v.Key("blue")}); ok && l.color >= 0 {
			out = append(out, update{aspect: l.color, value: TextValue(c.String())})
		}
		if f, ok := v.Key("white").Number(); ok && l.white >= 0 {
			out = append(out, update{aspect: l.white, value: percent(f, l.whiteScale)})
		}
		if f, ok := v.Key("effect").Number(); ok && l.effect >= 0 && f >= 0 && int(f) < len(l.effects) {
			out = append(out, update{aspect: l.effect, value: TextValue(l.effects[int(f)])})
		}
		return out
	})
	topic := e.Topic1[:len(e.Topic1)-len("status")] + "set"
	set := func(c *call, turn string) error {
		msg := map[string]any{"turn": turn}
		mode := ""
		if l.mode >= 0 {
			mode = c.now[l.mode].Value.Str
		}
		if v, ok := c.args["color"]; ok {
			color, _ := parseRGB(v.Str)
			msg["red"], msg["green"], msg["blue"] = color.r, color.g, color.b
			mode = "color"
		}
		if v, ok := c.args["color_temp"]; ok {
			msg["temp"] = math.Round(v.Num)
			mode = "white"
		}
		if l.mode >= 0 && len(msg) > 1 {
			msg["mode"] = mode
		}
		if v, ok := c.args["brightness"]; ok {
			if v.Num == 0 { // brightness 0 is off
				msg = map[string]any{"turn": "off"}
			} else {
				msg[level(mode)] = math.Round(v.Num)
			}
		}
		if v, ok := c.args["white"]; ok {
			msg["white"] = ofScale(v, l.whiteScale)
		}
		if v, ok := c.args["effect"]; ok {
			msg["effect"] = slices.Index(l.effects, v.Str)
		}
		if v, ok := c.args["transition"]; ok {
			msg["transition"] = math.Round(v.Num * 1000)
		}
		text, err := json.Marshal(msg)
		if err != nil {
			return err
		}
		c.publish(topic, string(text))
		return nil
	}
	transition := Aspect{Name: "transition", Type: Number, Min: 0, Max: 5, Unit: "s"}
	b.command(Command{Name: "turn_on", Args: l.args(transition)}, func(c *call) error { return set(c, "on") })
	b.command(Command{Name: "turn_off", Args: []Aspect{transition}}, func(c *call) error { return set(c, "off") })
	b.toggle(l.on)
}

// oldShellyCover says which way it moves; where it stands says whether it is
// open, if it knows that.
func (b *builder) oldShellyCover(e *shelly.Entity, read func(string, int, parser), send func(name, topic, payload string)) {
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"open", "opening", "closed", "closing", "stopped"}})
	moves := b.aspect(Aspect{Name: "moves", Type: Enum, Options: []string{"open", "close", "stop"}, Detail: true})
	read(e.Topic1, moves, func(text string) (Value, bool) {
		return TextValue(text), text == "open" || text == "close" || text == "stop"
	})
	position := -1
	if len(e.Features) > 0 {
		position = b.aspect(positionArg)
		read(e.Topic1+"/pos", position, func(text string) (Value, bool) {
			v, ok := number(text)
			if v.Known() && (v.Num < 0 || v.Num > 100) { // it is not calibrated
				v = Value{}
			}
			return v, ok
		})
	}
	b.spec.derive = func(v []Value) {
		switch {
		case v[moves].Str == "open":
			v[state] = TextValue("opening")
		case v[moves].Str == "close":
			v[state] = TextValue("closing")
		case position >= 0 && v[position].Known() && v[position].Num == 0:
			v[state] = TextValue("closed")
		case position >= 0 && v[position].Known():
			v[state] = TextValue("open")
		case v[moves].Known():
			v[state] = TextValue("stopped")
		}
	}
	for _, name := range []string{"open", "close", "stop"} {
		send(name, e.Topic1+"/command", name)
	}
	if position < 0 {
		return
	}
	b.command(Command{Name: "set_position", Args: []Aspect{positionArg}, Required: []string{"position"}}, func(c *call) error {
		c.publish(e.Topic1+"/command/pos", strconv.Itoa(int(math.Round(c.args["position"].Num))))
		return nil
	})
}

// oldShellyClimate is a valve at a radiator.
func (b *builder) oldShellyClimate(e *shelly.Entity) {
	current := b.aspect(Aspect{Name: "current_temp", Type: Number, Unit: "°C", Precision: -1})
	arg := Aspect{Name: "target", Type: Number, Unit: "°C", Min: 4, Max: 31, Step: 0.5, Precision: -1}
	target := b.aspect(arg)
	b.places([]tasmota.Source{{Topic: e.Topic1, Path: []string{"thermostats", "0"}}},
		all(numberAt(current, 0, "tmp", "value"), numberAt(target, 0, "target_t", "value")))
	b.command(Command{Name: "set_target", Args: []Aspect{arg}, Required: []string{"target"}}, func(c *call) error {
		c.publish(e.Prefix+"/thermostat/0/command/target_t", plain(c.args["target"].Num))
		return nil
	})
}
