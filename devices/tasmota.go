package devices

import (
	"crypto/sha256"
	"slices"
	"strings"

	"lar.home/devices/homeassistant"
	"lar.home/devices/tasmota"
	"lar.home/mqtt"
)

// tasmotaBase stands for the gateway of a device that is its own.
const tasmotaBase = "tasmota/discovery"

// A Tasmota says on one topic what it is and on another what it measures, in
// either order. What it measures can only be read by its topics, so it waits
// for what it is.

// maxLoose is how many of what measures something may wait for what it is.
const maxLoose = 256

// A tasmotaDevice is what a Tasmota has said of itself.
type tasmotaDevice struct {
	config  *tasmota.Config // nil: not yet
	sensors *tasmota.Sensors
}

// A tasmotaMessage is a message of a Tasmota, as Prepare has read it. One with
// neither part takes it back.
type tasmotaMessage struct {
	mac     string
	part    tasmota.Part
	config  *tasmota.Config
	sensors *tasmota.Sensors
	err     error
}

func prepareTasmota(mac string, part tasmota.Part, payload []byte) *tasmotaMessage {
	p := &tasmotaMessage{mac: mac, part: part}
	switch {
	case len(payload) == 0:
	case part == tasmota.ConfigPart:
		p.config, p.err = tasmota.ParseConfig(mac, payload)
	default:
		p.sensors, p.err = tasmota.ParseSensors(payload)
	}
	return p
}

// tasmota takes a message of a Tasmota into the model.
func (m *Model) tasmota(t *mqtt.Turn, msg *mqtt.Message, p *tasmotaMessage) {
	if p.err != nil {
		m.reporter.report(t, m.log, "discovery message not used", "topic", msg.Topic, "err", p.err)
		return
	}
	key := strings.ToUpper(p.mac)
	x := m.tasmotas[key]
	if x == nil {
		if p.config == nil && p.sensors == nil || len(m.tasmotas) >= MaxDevices || p.sensors != nil && m.loose() >= maxLoose {
			return
		}
		x = &tasmotaDevice{}
		m.tasmotas[key] = x
	}
	if p.part == tasmota.ConfigPart {
		m.unwill(x, key)
		x.config = p.config
	} else {
		x.sensors = p.sensors
	}
	if x.config == nil && x.sensors == nil {
		delete(m.tasmotas, key)
	}
	d := discovery{live: !msg.Retained, client: msg.ClientID}
	if p.part == tasmota.ConfigPart {
		m.announceTasmota(t, msg.Topic, d, x)
	}
	m.announceSensors(t, tasmota.Topic(p.mac, tasmota.SensorsPart), d, x)
	if x.config != nil {
		m.wills[x.config.Will()] = key
		if p.part == tasmota.ConfigPart {
			m.pollTasmota(t, key)
		}
	}
}

// loose counts what waits for its first part.
func (m *Model) loose() int {
	n := 0
	for _, x := range m.tasmotas {
		if x.config == nil {
			n++
		}
	}
	return n
}

// unwill forgets the topic of a device's last will.
func (m *Model) unwill(x *tasmotaDevice, key string) {
	if x.config != nil && m.wills[x.config.Will()] == key {
		delete(m.wills, x.config.Will())
	}
}

// announceTasmota announces what a device is, or that it is gone.
func (m *Model) announceTasmota(t *mqtt.Turn, topic string, d discovery, x *tasmotaDevice) {
	d.message = &homeassistant.Message{Remove: x.config == nil}
	if x.config != nil {
		d.message.Hash = x.config.Hash
		d.base, d.address = tasmotaBase, x.config.MAC
		d.specs = m.tasmotaSpecs(tasmota.Describe(x.config))
		m.inherit(t, d.specs)
	}
	m.announce(t, topic, &d)
}

// announceSensors announces what a device measures. It is a part of the device
// that the other message has brought, and goes with it.
func (m *Model) announceSensors(t *mqtt.Turn, topic string, d discovery, x *tasmotaDevice) {
	d.message = &homeassistant.Message{Remove: x.config == nil || x.sensors == nil}
	if !d.message.Remove {
		h := sha256.New()
		h.Write(x.config.Hash[:])
		h.Write(x.sensors.Hash[:])
		d.message.Hash = [sha256.Size]byte(h.Sum(nil))
		if old := m.owned[topic]; old != nil && old.hash == d.message.Hash {
			return
		}
		d.specs = m.tasmotaSpecs(tasmota.DescribeSensors(x.config, x.sensors))
		m.inherit(t, d.specs)
	}
	m.announce(t, topic, &d)
}

func (m *Model) tasmotaSpecs(entities []tasmota.Entity) []*spec {
	specs := make([]*spec, len(entities))
	for i := range entities {
		specs[i] = buildTasmota(&entities[i], m.prefix, m.templates)
	}
	return specs
}

// pollTasmota puts a device in line to be asked for all that it has to say.
func (m *Model) pollTasmota(t *mqtt.Turn, key string) {
	x := m.tasmotas[key]
	if x == nil || x.config == nil || x.config.Sleeps {
		return
	}
	q := &inquiry{base: tasmotaBase, ident: tasmota.Identifiers(x.config.MAC)[0]}
	if slices.ContainsFunc(m.inquiries, func(other *inquiry) bool { return other.ident == q.ident }) {
		return
	}
	for _, p := range x.config.Polls() {
		if commandTopicProblem(m.prefix, p.Topic) != "" {
			return
		}
		q.messages = append(q.messages, mqtt.Message{Topic: p.Topic, Payload: []byte(p.Payload)})
	}
	m.inquireLater(t, q)
}

// arrived asks a device that says by its last will's topic that it is here.
func (m *Model) arrived(t *mqtt.Turn, msg *mqtt.Message) {
	key, ok := m.wills[msg.Topic]
	if !ok || msg.Retained {
		return
	}
	if x := m.tasmotas[key]; x != nil && x.config != nil && string(msg.Payload) == x.config.Online {
		m.pollTasmota(t, key)
	}
}

// inherit gives entities that their own source announces the identity that
// they have from discovery, where that has not the unique IDs that a Tasmota
// gives: those that are told on the same topic, else the only ones of a kind
// on both sides. It holds from then on.
func (m *Model) inherit(t *mqtt.Turn, specs []*spec) {
	if len(specs) == 0 {
		return
	}
	var open []*spec
	for _, s := range specs {
		if as := m.memory.aliases[s.identity]; as != "" {
			s.identity = as
		} else if m.memory.ids[s.identity] == nil {
			open = append(open, s)
		}
	}
	heirs := m.adopted(specs)
	if len(open) == 0 || len(heirs) == 0 {
		return
	}
	give := func(s, from *spec) {
		m.memory.alias(t, s.identity, from.identity)
		s.identity = from.identity
		heirs = slices.DeleteFunc(heirs, func(x *spec) bool { return x == from })
	}
	open = slices.DeleteFunc(open, func(s *spec) bool {
		told := s.told()
		alike := func(x *spec) bool {
			return x.kind == s.kind && slices.ContainsFunc(x.told(), func(topic string) bool { return toldAlike(topic, told) })
		}
		i := slices.IndexFunc(heirs, alike)
		if i < 0 || slices.ContainsFunc(heirs[i+1:], alike) || slices.ContainsFunc(specs, func(x *spec) bool { return x != s && alike(x) }) {
			return false // a Shelly has one topic for all that it is told: it does not tell them apart
		}
		give(s, heirs[i])
		return true
	})
	count := map[string]int{}
	for _, s := range open {
		count[s.likeness()]++
	}
	for _, x := range heirs {
		count["from "+x.likeness()]++
	}
	for _, s := range open {
		like := s.likeness()
		if count[like] != 1 || count["from "+like] != 1 {
			continue
		}
		if i := slices.IndexFunc(heirs, func(x *spec) bool { return x.likeness() == like }); i >= 0 {
			give(s, heirs[i])
		}
	}
}

// toldAlike tells whether a topic is one of some, as a Tasmota reads them:
// POWER and POWER1 are the same, in any case.
func toldAlike(topic string, topics []string) bool {
	plain := func(s string) string {
		s = strings.ToLower(s)
		if rest, ok := strings.CutSuffix(s, "power1"); ok {
			return rest + "power"
		}
		return s
	}
	return slices.ContainsFunc(topics, func(s string) bool { return plain(s) == plain(topic) })
}

// adopted returns what discovery says, or has said, of the device to which
// specs belong, unless one of them has its identity.
func (m *Model) adopted(specs []*spec) []*spec {
	id := ""
	for _, ident := range specs[0].identifiers() {
		if known := m.memory.deviceID(ident); known != "" && id == "" {
			id = known
		}
	}
	var out []*spec
	add := func(s *spec) {
		if !native(s.source) && m.memory.ids[s.identity] != nil &&
			!slices.ContainsFunc(specs, func(x *spec) bool { return x.identity == s.identity }) {
			out = append(out, s)
		}
	}
	if d := m.devices[id]; d != nil {
		for _, n := range d.nodes {
			add(n.spec)
		}
	}
	for _, topic := range m.shadows[id] {
		if a := m.owned[topic]; a != nil {
			for _, s := range a.shadow {
				add(s)
			}
		}
	}
	return out
}
