package devices

import (
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"lar.home/devices/homeassistant"
	"lar.home/devices/template"
	"lar.home/mqtt"
)

// A spec is one entity as its description has it: what it is, what is read
// from which topic, and what its commands send. It knows nothing of other
// entities and is never changed, so it is made outside the turn.
type spec struct {
	key      string // of the discovery message or component
	identity string // what stays the same when the message moves or changes
	kind     Kind
	source   string
	device   *homeassistant.Device // nil: a device of its own
	suggest  string                // the entity ID it would like, without its kind
	name     string                // within the device; empty: the device's
	category Category

	deviceClass, stateClass, icon string
	enabled, assumed              bool

	aspects  []Aspect
	commands []action
	reads    []read
	derive   func(values []Value) // sets aspects that follow from others; may be nil
	avail    *availSpec

	offDelay    time.Duration // a binary sensor turns off by itself
	expireAfter time.Duration // values are unknown when nothing came for so long
	forced      bool          // a value that is said again counts (force_update)

	problem string
}

// A read takes values out of the messages of one topic. extract appends to out,
// which has the updates of other reads already.
type read struct {
	topic   string
	extract func(in *input, out []update) []update
}

// An update is a new value of an aspect.
type update struct {
	aspect int
	value  Value
	event  bool // the message is the point: it counts even if the value is the same
	// counter is, if not 0, the aspect that counts such events: one that was
	// counted before is said again and no event.
	counter int
	by      uint16 // which read of the topic's it comes from
}

// An input is a message as reads see it. JSON is read once for all of them.
// What they take of it is texts and numbers, as the rest is only lent.
type input struct {
	payload []byte
	decoded bool
	named   bool
	vars    template.Input
	doc     template.Document
	out     []update // of all reads of a topic, before their number is known
}

// inputs are used again, so that a message needs little new memory.
var inputs = sync.Pool{New: func() any { return &input{} }}

func newInput(payload []byte) *input {
	in := inputs.Get().(*input)
	in.payload = payload
	return in
}

// done lets go of the message.
func (in *input) done() {
	in.payload, in.decoded, in.named, in.vars = nil, false, false, template.Input{}
	in.doc.Reset()
	if clear(in.out); cap(in.out) > MaxReads {
		in.out = nil
	}
	in.out = in.out[:0]
	inputs.Put(in)
}

func (in *input) text() string {
	if !in.named {
		in.named = true
		in.vars.Value = template.FromString(string(in.payload))
	}
	s, _ := in.vars.Value.Str()
	return s
}

// json returns the payload as JSON; Undefined if it is none.
func (in *input) json() template.Node {
	if !in.decoded {
		in.decoded = true
		in.doc.Read(in.text())
		in.vars.JSON = in.doc.Root()
	}
	return in.vars.JSON
}

// render evaluates a template, nil being the payload itself. With ok false
// the message says nothing of this value.
func (in *input) render(t *template.Template) (text string, ok bool) {
	text = in.text()
	if t == nil {
		return text, utf8.ValidString(text)
	}
	if t.NeedsJSON() {
		in.json()
	}
	text, err := t.Render(&in.vars)
	return text, err == nil && utf8.ValidString(text)
}

// An action is a command with what it sends.
type action struct {
	Command
	run func(c *call) error
}

// A call is one use of a command.
type call struct {
	args   map[string]Value
	now    []Reading
	qos    mqtt.QoS
	retain bool

	out  []*mqtt.Message
	sets []update // of aspects that report nothing themselves
}

// publish sends a payload to a topic as the description declares.
func (c *call) publish(topic, payload string) {
	c.out = append(c.out, &mqtt.Message{Topic: topic, Payload: []byte(payload), QoS: c.qos, Retain: c.retain})
}

func (c *call) set(aspect int, v Value) {
	c.sets = append(c.sets, update{aspect: aspect, value: v})
}

// topicProblem says why a topic cannot be used; "" if it can.
func topicProblem(topic string) string {
	switch {
	case topic == "":
		return "is empty"
	case len(topic) > 65535:
		return "is longer than 65535 bytes"
	case !utf8.ValidString(topic) || strings.ContainsRune(topic, 0):
		return "is not a text"
	case strings.ContainsAny(topic, "+#"):
		return "has a wildcard"
	}
	return ""
}

// commandTopicProblem says why a topic may not be published to by a command:
// it is not for a device to have the hub write the broker's own topics or
// announce other devices.
func commandTopicProblem(prefix, topic string) string {
	if p := topicProblem(topic); p != "" {
		return p
	}
	switch {
	case strings.HasPrefix(topic, "$"):
		return "is the broker's own"
	case homeassistant.IsTopic(prefix, topic):
		return "would announce a device"
	}
	return ""
}

// An availSpec says from which messages it is known whether an entity can be
// reached. Entities with the same one share what is known.
type availSpec struct {
	key     string // equal for equal declarations
	mode    string // all, any, latest; unless: as long as no source says no
	sources []availSource
}

type availSource struct {
	topic    string
	template *template.Template
	yes, no  string
}

// Availability of a source.
const (
	availSilent = iota // nothing heard, or another text
	availYes
	availNo
)

func (s *availSource) extract(in *input) int {
	text, ok := in.render(s.template)
	switch {
	case !ok:
		return availSilent
	case text == s.yes:
		return availYes
	case text == s.no:
		return availNo
	}
	return availSilent
}

// maxAvailability is how many topics one entity's availability may have.
const maxAvailability = 16

// availability reads the availability of a description, in each of its forms.
func (b *builder) availability() *availSpec {
	c := b.cfg
	a := &availSpec{mode: c.Text("availability_mode", "latest")}
	add := func(topic, tpl, yes, no string) {
		if topicProblem(topic) != "" || len(a.sources) == maxAvailability {
			b.problem("availability topic %q cannot be used", cut(topic, 80))
			return
		}
		s := availSource{topic: topic, yes: yes, no: no}
		if tpl != "" {
			t, err := b.templates.compile(tpl)
			if err != nil {
				b.problem("availability template: %v", err)
				return
			}
			s.template = t
		}
		a.sources = append(a.sources, s)
		a.key += fmt.Sprintf("%q %q %q %q ", topic, tpl, yes, no)
	}
	if list := c.Options.Key("availability").Items(); len(list) > 0 {
		for _, item := range list {
			entry := homeassistant.Config{Options: item}
			add(entry.Text("topic", ""), entry.Text("value_template", ""),
				entry.Text("payload_available", "online"), entry.Text("payload_not_available", "offline"))
		}
	} else if c.Has("availability_topic") {
		add(c.Text("availability_topic", ""), c.Text("availability_template", ""),
			c.Text("payload_available", "online"), c.Text("payload_not_available", "offline"))
	}
	if len(a.sources) == 0 {
		return nil
	}
	a.key += a.mode
	return a
}
