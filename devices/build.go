package devices

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf16"
	"unicode/utf8"

	"lar.home/devices/homeassistant"
	"lar.home/devices/template"
	"lar.home/mqtt"
)

// Bounds of one description.
const (
	maxOptions  = 500 // of an enum
	maxName     = 255 // bytes of a name
	maxProblem  = 500 // bytes
	maxCached   = 8192
	maxDuration = 366 * 24 * time.Hour
)

// A builder makes a spec of a description. What it does not understand it
// notes as the entity's problem and leaves out; it never gives up the rest.
type builder struct {
	cfg       *homeassistant.Config
	prefix    string
	templates *templates
	spec      *spec
	qos       mqtt.QoS
	retain    bool
	assumed   bool   // optimistic: true
	suffix    string // of a light's keys, when it is one of several in a device
}

// builders has what each component of the convention means.
var builders = map[string]func(*builder){
	"alarm_control_panel": buildAlarm,
	"binary_sensor":       buildBinarySensor,
	"button":              buildButton,
	"camera":              buildCamera,
	"climate":             buildClimate,
	"cover":               buildCover,
	"date":                buildDate,
	"datetime":            buildDateTime,
	"device_automation":   buildTrigger,
	"device_tracker":      buildTracker,
	"event":               buildEvent,
	"fan":                 buildFan,
	"humidifier":          buildHumidifier,
	"image":               buildImage,
	"infrared":            buildInfrared,
	"lawn_mower":          buildLawnMower,
	"light":               buildLight,
	"lock":                buildLock,
	"notify":              buildNotify,
	"remote":              buildRemote,
	"number":              buildNumber,
	"scene":               buildScene,
	"select":              buildSelect,
	"sensor":              buildSensor,
	"siren":               buildSiren,
	"switch":              buildSwitch,
	"tag":                 buildTag,
	"text":                buildText,
	"time":                buildTime,
	"update":              buildUpdate,
	"vacuum":              buildVacuum,
	"valve":               buildValve,
	"water_heater":        buildWaterHeater,
}

// kindOf returns the kind of a component.
func kindOf(component string) Kind {
	switch {
	case component == "device_automation":
		return Trigger
	case builders[component] != nil:
		return Kind(component)
	}
	if s := slugify(component); s != "" {
		return Kind(cut(s, 40))
	}
	return "unknown"
}

// build makes the spec of one description. It is pure.
func build(cfg *homeassistant.Config, prefix string, ts *templates) *spec {
	return buildWith(cfg, prefix, ts, func(b *builder) {
		if make := builders[cfg.Topic.Component]; make != nil {
			make(b)
		} else {
			b.problem("component %q is not supported", cut(cfg.Topic.Component, 80))
		}
	})
}

// buildWith makes the spec of a description whose component is understood by
// make.
func buildWith(cfg *homeassistant.Config, prefix string, ts *templates, make func(*builder)) *spec {
	s := &spec{
		key:         cfg.Topic.Key(),
		kind:        kindOf(cfg.Topic.Component),
		source:      "homeassistant",
		device:      cfg.Device,
		name:        cfg.Name("name"),
		icon:        cfg.Name("icon"),
		deviceClass: cfg.Name("device_class"),
		stateClass:  cfg.Name("state_class"),
		enabled:     cfg.Flag("enabled_by_default", true),
	}
	b := &builder{cfg: cfg, prefix: prefix, templates: ts, spec: s}
	s.identity = string(s.kind) + "/" + s.key
	if uid := cfg.Name("unique_id"); uid != "" {
		s.identity = string(s.kind) + "=" + uid
	}
	switch c := Category(cfg.Text("entity_category", "")); c {
	case Config, Diagnostic:
		s.category = c
	}
	if name, ok := strings.CutPrefix(s.icon, "hass:"); ok { // as they were once named
		s.icon = "mdi:" + name
	} else if !strings.HasPrefix(s.icon, "mdi:") {
		s.icon = ""
	}
	s.suggest = cfg.Name("default_entity_id")
	if _, object, ok := strings.Cut(s.suggest, "."); ok {
		s.suggest = object
	} else if s.suggest == "" {
		s.suggest = cfg.Name("object_id")
	}
	if cfg.Options.Key("name").Kind() == template.Undefined {
		s.name = usualName(s.kind, s.deviceClass)
	}
	switch q := cfg.Number("qos", 0); q {
	case 1:
		b.qos = mqtt.AtLeastOnce
	case 2:
		b.qos = mqtt.ExactlyOnce
	}
	b.retain = cfg.Flag("retain", false)
	b.assumed = cfg.Flag("optimistic", false)
	if cfg.Err != nil {
		b.problem("%v", cfg.Err)
		return s
	}
	// What is kept for long must not hold the whole message.
	defer func() { b.cfg = nil }()
	s.avail = b.availability()
	make(b)
	if len(s.aspects)+len(s.commands) > 0 {
		b.attributes()
	}
	s.forced = cfg.Flag("force_update", false)
	if len(s.aspects) == 0 && len(s.commands) == 0 && s.problem == "" {
		b.problem("its description has no topic that can be used")
	}
	return s
}

// usualName names an entity whose description has no name: by its class, else
// by its kind.
func usualName(k Kind, class string) string {
	if class == "" {
		class = string(k)
	}
	return sentence(class)
}

// sentence makes "Button short press" of "button_short_press".
func sentence(s string) string {
	s = strings.ReplaceAll(s, "_", " ")
	_, n := utf8.DecodeRuneInString(s)
	return strings.ToUpper(s[:n]) + s[n:]
}

func (b *builder) problem(format string, args ...any) {
	p := fmt.Sprintf(format, args...)
	if b.spec.problem != "" {
		p = b.spec.problem + "; " + p
	}
	b.spec.problem = cut(p, maxProblem)
}

// cut shortens a text to at most n bytes.
func cut(s string, n int) string {
	if len(s) > n {
		s = strings.ToValidUTF8(s[:n], "")
	}
	return s
}

// topic returns the topic that a key names, to read from; "" if there is none.
func (b *builder) topic(key string) string {
	if !b.cfg.Has(key) {
		return ""
	}
	t := b.cfg.Text(key, "")
	if p := filterProblem(t); p != "" {
		b.problem("%s %q %s", key, cut(t, 80), p)
		return ""
	}
	return t
}

// commandTopic returns the topic that a key names, to publish to.
func (b *builder) commandTopic(key string) string {
	if !b.cfg.Has(key) {
		return ""
	}
	t := b.cfg.Text(key, "")
	if p := commandTopicProblem(b.prefix, t); p != "" {
		b.problem("%s %q %s", key, cut(t, 80), p)
		return ""
	}
	return t
}

// template compiles the template that a key names; nil if there is none. With
// ok false it is not supported, and what depends on it is left out.
func (b *builder) template(key string) (t *template.Template, ok bool) {
	if key == "" || !b.cfg.Has(key) {
		return nil, true
	}
	t, err := b.templates.compile(b.cfg.Text(key, ""))
	if err != nil {
		b.problem("%s: %v", key, err)
		return nil, false
	}
	return t, true
}

// seconds reads a duration.
func (b *builder) seconds(key string) time.Duration {
	n := b.cfg.Number(key, 0)
	if n <= 0 {
		return 0
	}
	return min(time.Duration(min(n, maxDuration.Seconds())*float64(time.Second)), maxDuration)
}

// aspect adds an aspect and returns its place.
func (b *builder) aspect(a Aspect) int {
	b.spec.aspects = append(b.spec.aspects, a)
	return len(b.spec.aspects) - 1
}

// read adds a way to read from the topic that a key names; it tells whether
// there is such a topic.
func (b *builder) read(topicKey string, extract func(in *input, out []update) []update) bool {
	t := b.topic(topicKey)
	if t == "" {
		return false
	}
	if decode := decoders[strings.ToLower(b.cfg.Text("encoding", ""))]; decode != nil {
		plain := extract
		extract = func(in *input, out []update) []update { return plain(&input{payload: decode(in.payload)}, out) }
	}
	b.spec.reads = append(b.spec.reads, read{topic: t, extract: extract})
	return true
}

// decoders make UTF-8 of what is in another encoding. UTF-8 is the usual one,
// and what is raw is taken as it comes.
var decoders = map[string]func([]byte) []byte{
	"latin-1": fromLatin1, "latin1": fromLatin1, "iso-8859-1": fromLatin1, "iso8859-1": fromLatin1, "cp1252": fromLatin1, "windows-1252": fromLatin1,
	"utf-16": fromUTF16, "utf16": fromUTF16, "utf-16-le": fromUTF16, "utf-16le": fromUTF16,
}

func fromLatin1(payload []byte) []byte {
	out := make([]byte, 0, len(payload)+8)
	for _, c := range payload {
		out = utf8.AppendRune(out, rune(c))
	}
	return out
}

func fromUTF16(payload []byte) []byte {
	var units []uint16
	for i := 0; i+1 < len(payload); i += 2 {
		units = append(units, uint16(payload[i])|uint16(payload[i+1])<<8)
	}
	if len(units) > 0 && units[0] == 0xfeff {
		units = units[1:]
	}
	return []byte(string(utf16.Decode(units)))
}

// attributes reads what a description has beside its values: an object of any
// shape, kept as its JSON.
func (b *builder) attributes() {
	if !b.cfg.Has("json_attributes_topic") {
		return
	}
	t, ok := b.template("json_attributes_template")
	if !ok {
		return
	}
	i := b.aspect(Aspect{Name: "attributes", Type: Text, Unit: jsonUnit, Detail: true})
	b.read("json_attributes_topic", func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok {
			return out
		}
		js, err := template.Decode(text)
		if err != nil || js.Kind() != template.Dict {
			return out
		}
		object, err := js.AppendJSON(nil, false)
		if err != nil || len(object) > maxAttributes {
			return out
		}
		return append(out, update{aspect: i, value: TextValue(string(object))})
	})
}

// maxAttributes is the longest object of attributes that is kept, in bytes.
const maxAttributes = 8 << 10

// A parser makes a value of a text. With ok false the text says nothing.
type parser func(text string) (v Value, ok bool)

// payloadNone resets a value to unknown, whatever its type.
const payloadNone = "None"

// value reads one aspect by topic and template. It tells whether the aspect
// reports; if not, it is shown as last commanded.
func (b *builder) value(aspect int, topicKey, templateKey string, parse parser) bool {
	t, ok := b.template(templateKey)
	if !ok {
		return b.topic(topicKey) != ""
	}
	return b.read(topicKey, func(in *input, out []update) []update {
		text, ok := in.render(t)
		if !ok {
			return out
		}
		v, ok := parse(text)
		if text == payloadNone && !(ok && v.Type == Bool) { // it may be a device's word for off
			v, ok = Value{}, true
		}
		if !ok {
			return out
		}
		return append(out, update{aspect: aspect, value: v})
	})
}

// command adds a command.
func (b *builder) command(cmd Command, run func(c *call) error) {
	b.spec.commands = append(b.spec.commands, action{Command: cmd, run: func(c *call) error {
		c.qos, c.retain = b.qos, b.retain
		return run(c)
	}})
}

// An encoder makes the payload of a command.
type encoder func(value template.Value, named map[string]template.Value) (string, error)

// encoder returns what the template of a key makes of a value, or the value as
// it prints.
func (b *builder) encoder(templateKey string) (encoder, bool) {
	t, ok := b.template(templateKey)
	if !ok {
		return nil, false
	}
	if t == nil {
		return func(v template.Value, _ map[string]template.Value) (string, error) { return v.Text(), nil }, true
	}
	return func(v template.Value, named map[string]template.Value) (string, error) {
		s, err := t.Render(&template.Input{Value: v, Named: named})
		if err != nil {
			return "", fmt.Errorf("%s: %w", templateKey, err)
		}
		return s, nil
	}, true
}

// onOff reads a text as one of two, others being ignored.
func onOff(on, off string) parser {
	return func(text string) (Value, bool) {
		switch text {
		case on:
			return BoolValue(true), true
		case off:
			return BoolValue(false), true
		}
		return Value{}, false
	}
}

// number reads a text as a number; what is none is unknown, and no text says
// nothing.
func number(text string) (Value, bool) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Value{}, false
	}
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsNaN(f) || math.IsInf(f, 0) || strings.IndexByte(text, '_') >= 0 || strings.IndexByte(text, 'x') >= 0 || strings.IndexByte(text, 'X') >= 0 {
		return Value{}, true // "1_000" and "0x1F" are Go's, not a device's
	}
	return NumberValue(f), true
}

// anyText takes each text that is not empty.
func anyText(text string) (Value, bool) {
	return TextValue(cut(text, maxText)), text != ""
}

// maxText is the longest text an aspect keeps.
const maxText = 64 << 10

// arg makes an argument of a command.
func toTemplate(v Value) template.Value {
	switch v.Type {
	case Bool:
		return template.FromBool(v.Bool)
	case Number:
		return template.FromNumber(v.Num)
	}
	return template.FromString(v.Str)
}

// A templates compiles each text once: devices of a kind share theirs.
type templates struct {
	clock func() time.Time // in the home's zone
	mu    sync.Mutex
	cache map[string]compiled
}

type compiled struct {
	t   *template.Template
	err error
}

func (ts *templates) compile(text string) (*template.Template, error) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	if c, ok := ts.cache[text]; ok {
		return c.t, c.err
	}
	t, err := template.CompileWith(ts.clock, text)
	if ts.cache == nil || len(ts.cache) >= maxCached {
		ts.cache = make(map[string]compiled)
	}
	ts.cache[text] = compiled{t, err}
	return t, err
}
