package devices

import (
	"fmt"
	"net/http"
	"slices"
	"strings"

	"lar.home/devices/template"
)

// buildUpdate: the state is JSON, or the installed version alone with the
// latest on a topic of its own.
func buildUpdate(b *builder) {
	u := b.update()
	t, ok := b.template("value_template")
	reports := ok && b.read("state_topic", func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok || text == "" {
			return out
		}
		var doc template.Document
		doc.Read(text)
		js := doc.Root()
		if js.Kind() != template.Dict {
			if text == payloadNone {
				return append(out, update{aspect: u.installed})
			}
			return append(out, update{aspect: u.installed, value: TextValue(cut(text, maxName))})
		}
		out = u.versions(js, out)
		switch v := js.Key("in_progress"); v.Kind() {
		case template.Bool:
			on, _ := v.Bool()
			out = append(out, update{aspect: u.progress, value: BoolValue(on)})
		case template.Int, template.Float: // older ones send the percentage here
			f, _ := v.Number()
			out = append(out, update{aspect: u.progress, value: BoolValue(f > 0)}, update{aspect: u.percentage, value: NumberValue(f)})
		}
		switch v := js.Key("update_percentage"); v.Kind() {
		case template.None:
			out = append(out, update{aspect: u.percentage})
		case template.Int, template.Float:
			f, _ := v.Number()
			out = append(out, update{aspect: u.percentage, value: NumberValue(f)})
		}
		return out
	})
	if b.cfg.Has("latest_version_topic") {
		b.value(u.latest, "latest_version_topic", "latest_version_template", anyText)
	} else if !reports {
		b.missing("state_topic", "")
	}
	b.install()
}

// An updateAspects has the places of an update's aspects.
type updateAspects struct{ installed, latest, progress, percentage, title, notes int }

func (b *builder) update() updateAspects {
	return updateAspects{
		installed:  b.aspect(Aspect{Name: "installed", Type: Text}),
		latest:     b.aspect(Aspect{Name: "latest", Type: Text}),
		progress:   b.aspect(Aspect{Name: "in_progress", Type: Bool}),
		percentage: b.aspect(Aspect{Name: "percentage", Type: Number, Min: 0, Max: 100, Unit: "%"}),
		title:      b.aspect(Aspect{Name: "title", Type: Text}),
		notes:      b.aspect(Aspect{Name: "release_url", Type: Text}),
	}
}

// versions reads the texts of an object that describes an update.
func (u *updateAspects) versions(js template.Node, out []update) []update {
	for _, f := range []struct {
		key    string
		aspect int
	}{{"installed_version", u.installed}, {"latest_version", u.latest}, {"title", u.title}, {"release_url", u.notes}} {
		if v := js.Key(f.key); v.Scalar() && v.Text() != "" {
			out = append(out, update{aspect: f.aspect, value: TextValue(cut(v.Text(), 2048))})
		}
	}
	return out
}

// install adds the command of an update.
func (b *builder) install() {
	if b.cfg.Has("payload_install") {
		b.send("install", "command_topic", "", b.cfg.Text("payload_install", ""))
	}
}

// buildVacuum: the state is JSON; commands are words on one topic.
func buildVacuum(b *builder) {
	c := b.cfg
	state := b.aspect(Aspect{Name: "state", Type: Enum, Options: []string{"cleaning", "docked", "paused", "idle", "returning", "error"}})
	battery := b.aspect(Aspect{Name: "battery", Type: Number, Min: 0, Max: 100, Unit: "%"})
	speeds := c.Texts("fan_speed_list", maxOptions)
	speed := b.aspect(Aspect{Name: "fan_speed", Type: Enum, Options: speeds})
	t, ok := b.template("value_template")
	if ok {
		b.read("state_topic", func(in *input, out []update) []update {
			text, ok := in.render(t)
			if !ok {
				return out
			}
			js, err := template.Decode(text)
			if err != nil {
				return out
			}
			if v := js.Key("state"); v.Kind() == template.None {
				out = append(out, update{aspect: state})
			} else if s, ok := v.Str(); ok && s != "" {
				out = append(out, update{aspect: state, value: TextValue(cut(s, maxName))})
			}
			if f, ok := js.Key("battery_level").Number(); ok {
				out = append(out, update{aspect: battery, value: NumberValue(f)})
			}
			if v := js.Key("fan_speed"); v.Scalar() {
				out = append(out, update{aspect: speed, value: TextValue(cut(v.Text(), maxName))})
			}
			return out
		})
	}
	features := c.Texts("supported_features", 30)
	if features == nil {
		features = []string{"start", "stop", "return_home", "clean_spot"}
	}
	for _, x := range [][4]string{
		{"start", "start", "payload_start", "start"}, {"pause", "pause", "payload_pause", "pause"},
		{"stop", "stop", "payload_stop", "stop"}, {"return", "return_home", "payload_return_to_base", "return_to_base"},
		{"locate", "locate", "payload_locate", "locate"}, {"clean_spot", "clean_spot", "payload_clean_spot", "clean_spot"},
	} {
		if slices.Contains(features, x[1]) {
			b.send(x[0], "command_topic", "", c.Text(x[2], x[3]))
		}
	}
	if topic := b.commandTopic("set_fan_speed_topic"); topic != "" {
		arg := Aspect{Name: "fan_speed", Type: Enum, Options: speeds}
		b.command(Command{Name: "set_fan_speed", Args: []Aspect{arg}, Required: []string{"fan_speed"}}, func(c *call) error {
			c.publish(topic, c.args["fan_speed"].Str)
			return nil
		})
	}
	b.segments()
	if topic := b.commandTopic("send_command_topic"); topic != "" {
		arg := Aspect{Name: "command", Type: Text}
		b.command(Command{Name: "send", Args: []Aspect{arg}, Required: []string{"command"}}, func(c *call) error {
			c.publish(topic, c.args["command"].Str)
			return nil
		})
	}
}

// segments adds the command to clean some rooms. Each is announced as its
// number and its name, "16.Kitchen"; the robot is told a list of numbers.
func (b *builder) segments() {
	topic := b.commandTopic("clean_segments_command_topic")
	encode, ok := b.encoder("clean_segments_command_template")
	templated := b.cfg.Has("clean_segments_command_template")
	if topic == "" || !ok {
		return
	}
	numbers := map[string]string{}
	var names []string
	for _, s := range b.cfg.Texts("segments", maxOptions) {
		number, name, named := strings.Cut(s, ".")
		if !named || name == "" {
			name = number
		}
		name = cut(strings.TrimSpace(name), maxName)
		if _, twice := numbers[name]; !twice && name != "" {
			names = append(names, name)
		}
		numbers[name] = number
	}
	arg := Aspect{Name: "segments", Type: Text, Options: names}
	b.command(Command{Name: "clean_segments", Args: []Aspect{arg}, Required: []string{"segments"}}, func(c *call) error {
		var list []template.Value
		for name := range strings.SplitSeq(c.args["segments"].Str, ",") {
			number, ok := numbers[strings.TrimSpace(name)]
			if !ok {
				return fmt.Errorf("segments: it has one or several of %s", cut(strings.Join(names, ", "), 500))
			}
			list = append(list, template.FromString(number))
		}
		value := template.FromList(list)
		text, err := encode(value, nil)
		if err == nil && !templated {
			var js []byte
			js, err = value.AppendJSON(nil, false)
			text = string(js)
		}
		if err == nil {
			c.publish(topic, text)
		}
		return err
	})
}

func buildLawnMower(b *builder) {
	b.property(property{aspect: Aspect{Name: "state", Type: Enum, Options: []string{"mowing", "paused", "docked", "returning", "error"}},
		state: "activity_state_topic", read: "activity_value_template"})
	b.send("start", "start_mowing_command_topic", "start_mowing_command_template", "start_mowing")
	b.send("pause", "pause_command_topic", "pause_command_template", "pause")
	b.send("dock", "dock_command_topic", "dock_command_template", "dock")
}

// buildTracker: at home, away or in a zone; coordinates come as attributes.
func buildTracker(b *builder) {
	c := b.cfg
	i := b.aspect(Aspect{Name: "state", Type: Text})
	texts := map[string]string{c.Text("payload_home", "home"): "home", c.Text("payload_not_home", "not_home"): "not_home"}
	reset := c.Text("payload_reset", payloadNone)
	b.value(i, "state_topic", "value_template", func(text string) (Value, bool) {
		if text == reset {
			return Value{}, true
		}
		if s, ok := texts[text]; ok {
			text = s
		}
		return anyText(text)
	})
	if !c.Has("json_attributes_topic") {
		b.missing("state_topic", "")
		return
	}
	numbers := map[string]int{}
	names := []string{"latitude", "longitude", "gps_accuracy", "battery_level"}
	for _, name := range names {
		numbers[name] = b.aspect(Aspect{Name: name, Type: Number, Precision: -1})
	}
	t, ok := b.template("json_attributes_template")
	if !ok {
		return
	}
	b.read("json_attributes_topic", func(in *input, out []update) []update {
		text, ok := in.render(t)
		js, err := template.Decode(text)
		if !ok || err != nil {
			return out
		}
		for _, name := range names {
			if f, ok := js.Key(name).Number(); ok {
				out = append(out, update{aspect: numbers[name], value: NumberValue(f)})
			}
		}
		return out
	})
}

// buildCamera: pictures are not kept in the model; it says what came.
func buildCamera(b *builder) {
	b.picture("topic")
	b.missing("topic", "")
}

// buildImage: a picture, or the address of one.
func buildImage(b *builder) {
	if b.cfg.Has("url_topic") {
		i := b.aspect(Aspect{Name: "url", Type: Text})
		b.value(i, "url_topic", "url_template", anyText)
		return
	}
	b.picture("image_topic")
	b.missing("image_topic", "")
}

// picture reads kind and size of a picture.
func (b *builder) picture(topicKey string) {
	i := b.aspect(Aspect{Name: "picture", Type: Text})
	encoded := b.cfg.Text("image_encoding", "") == "b64"
	kind := b.cfg.Text("content_type", "")
	b.read(topicKey, func(in *input, out []update) []update {
		what, size := kind, len(in.payload)
		if encoded {
			size = size / 4 * 3
		}
		if what == "" && encoded {
			what = "image"
		} else if what == "" {
			what = http.DetectContentType(in.payload[:min(size, 512)])
		}
		return append(out, update{aspect: i, value: TextValue(fmt.Sprintf("%s, %d bytes", cut(what, 80), size))})
	})
}
