package devices

import (
	"crypto/sha256"
	"errors"
	"slices"
	"strings"
	"time"

	"lar.home/devices/homeassistant"
	"lar.home/devices/homie"
	"lar.home/mqtt"
)

// homieBase stands for the gateway of a Homie device, which is its own.
const homieBase = "homie"

// A Homie device says what it is in many retained messages, in any order, and
// at last that it is ready. What it has said is gathered until it is, and for
// a moment longer: after a start of ours the order is that of the broker.
const (
	// homieSettle is for how long a device must be quiet, and homieWithin for
	// how long it is waited for at most.
	homieSettle = 100 * time.Millisecond
	homieWithin = 2 * time.Second
	// maxHomie is how much all Homie devices may have said of themselves, in
	// bytes, and maxHomieClient how much of it by one client; an entity counts
	// as homieSpecSize.
	maxHomie       = 64 << 20
	maxHomieClient = maxHomie / 2
	maxHomieDevice = 2 << 20
	homieSpecSize  = 2 << 10
)

// A homieHouse is what Homie devices have said of themselves.
type homieHouse struct {
	devices map[string]*homieDevice // by base
	dirty   []*homieDevice          // to be described anew
	first   time.Duration           // when the first of these came
	due     time.Duration
	size    int
	clients map[string]int // of size, by client
	count   map[string]int // of devices, by client
}

// A homieDevice is what a device has said of itself.
type homieDevice struct {
	base, client string
	size         int
	state        string
	attributes   map[string]string // versions 3 and 4
	device       *homie.Device     // version 5
	specs        []*spec
	making       *homieMaking // of specs; nil: not begun
	live, dirty  bool
}

// A homieMaking makes specs of what a device of version 3 or 4 has said, some
// at a time: it may have said much, and said it bit by bit.
type homieMaking struct {
	device    *homie.Device
	hash      [sha256.Size]byte
	described bool
	entities  []homie.Entity // of which there is no spec yet
	specs     []*spec
}

// A homieMessage is a message of a device, as Prepare has read it.
type homieMessage struct {
	topic  homie.Topic
	device *homie.Device
	specs  []*spec
	err    error
}

// prepareHomie reads a message of a Homie device. It is pure.
func (m *Model) prepareHomie(topic homie.Topic, payload []byte) *homieMessage {
	p := &homieMessage{topic: topic}
	switch {
	case len(payload) == 0:
	case topic.Attribute == homie.DescriptionAttribute:
		if p.device, p.err = homie.Parse(topic.Base, payload); p.err == nil {
			p.specs = m.homieSpecs(homie.Describe(p.device))
		}
	case len(payload) > homie.MaxAttribute:
		p.err = errors.New("an attribute is longer than 16 KiB")
	}
	return p
}

func (m *Model) homieSpecs(entities []homie.Entity) []*spec {
	specs := make([]*spec, len(entities))
	for i := range entities {
		specs[i] = buildHomie(&entities[i], m.prefix, m.templates)
	}
	return specs
}

// homieMoment tells whether a topic has what its readers, who may come later,
// want to know: they are described by other topics.
func homieMoment(topic homie.Topic) bool {
	return topic.Attribute == homie.StateAttribute || strings.HasPrefix(topic.Attribute, "$stats/")
}

// homie takes a message of a Homie device into the model.
func (m *Model) homie(t *mqtt.Turn, msg *mqtt.Message, p *homieMessage) {
	if p.err != nil {
		m.reporter.report(t, m.log, "discovery message not used", "topic", cut(msg.Topic, 200), "err", p.err)
		return
	}
	h := &m.homies
	x := h.devices[p.topic.Base]
	if x == nil {
		if len(msg.Payload) == 0 {
			return
		}
		if len(h.devices) >= MaxDevices || msg.ClientID != "" && h.count[msg.ClientID] >= m.share {
			m.reporter.report(t, m.log, "too many devices, the new one is left out", "topic", cut(msg.Topic, 200), "limit", MaxDevices)
			return
		}
		x = &homieDevice{base: strings.Clone(p.topic.Base), client: msg.ClientID, attributes: map[string]string{}}
	}
	text := string(msg.Payload)
	changed := true
	switch attribute := p.topic.Attribute; {
	case attribute == homie.StateAttribute:
		changed = x.state != text
		x.state = cut(text, 40)
		if !msg.Retained && (text == "init" || text == "ready" || text == "alert") {
			x.live, changed = true, true
		}
	case attribute == homie.DescriptionAttribute:
		if !m.chargeHomie(t, x, len(p.specs)*homieSpecSize) {
			return
		}
		x.device, x.specs = p.device, p.specs
	default:
		if strings.HasPrefix(attribute, "$stats/") && text != "" {
			text = "told"
		}
		old, had := x.attributes[attribute]
		if changed = old != text || had != (len(msg.Payload) > 0); !changed {
			return
		}
		size := x.size + len(text) - len(old)
		switch {
		case !had:
			size += len(attribute) + 64
		case text == "":
			size -= len(attribute) + 64
		}
		if !m.chargeHomie(t, x, size) {
			return
		}
		if text == "" {
			delete(x.attributes, attribute)
		} else {
			x.attributes[strings.Clone(attribute)] = text
		}
	}
	if h.devices[x.base] == nil {
		h.devices[x.base] = x
		h.count[x.client]++
	}
	switch {
	case x.state == "" || p.topic.Five && x.device == nil || !p.topic.Five && x.attributes["$homie"] == "":
		m.removeHomie(t, x)
	case changed && x.state != "init":
		m.dirtyHomie(t, x)
	}
}

// chargeHomie notes how much a device has said of itself; it tells whether
// there is room for that.
func (m *Model) chargeHomie(t *mqtt.Turn, x *homieDevice, size int) bool {
	h := &m.homies
	more := size - x.size
	if more > 0 && (size > maxHomieDevice || h.size+more > maxHomie || x.client != "" && h.clients[x.client]+more > maxHomieClient) {
		m.reporter.report(t, m.log, "devices say too much of themselves, this one is left out", "topic", cut(x.base, 200))
		return false
	}
	h.size += more
	if h.clients[x.client] += more; h.clients[x.client] == 0 {
		delete(h.clients, x.client)
	}
	x.size = size
	return true
}

// removeHomie takes a device out of the house, and forgets it once it has
// nothing to say any more.
func (m *Model) removeHomie(t *mqtt.Turn, x *homieDevice) {
	h := &m.homies
	if m.owned[homie.State(x.base)] != nil {
		m.announce(t, homie.State(x.base), &discovery{message: &homeassistant.Message{Remove: true}})
		m.dirtyHomie(t, h.devices[strings.Replace(x.base, "/5/", "/", 1)]) // an older version of it may be there
	}
	if x.state != "" || x.device != nil || len(x.attributes) > 0 {
		return
	}
	m.chargeHomie(t, x, 0)
	delete(h.devices, x.base)
	if h.count[x.client]--; h.count[x.client] == 0 {
		delete(h.count, x.client)
	}
	for _, name := range homie.Moments(x.base) {
		if m.wiring.Load().declared(name) == nil {
			delete(m.last, name)
		}
	}
}

// dirtyHomie has a device described anew, soon; nil is none.
func (m *Model) dirtyHomie(t *mqtt.Turn, x *homieDevice) {
	h := &m.homies
	if x == nil {
		return
	}
	if x.making = nil; !x.dirty {
		x.dirty = true
		h.dirty = append(h.dirty, x)
	}
	if len(h.dirty) == 1 {
		h.first = t.Now.Run
	}
	h.due = min(t.Now.Run+homieSettle, h.first+homieWithin)
}

// describeHomies describes the next devices of which all has been said.
func (m *Model) describeHomies(t *mqtt.Turn) {
	h := &m.homies
	if len(h.dirty) == 0 || t.Now.Run < h.due {
		return
	}
	for work := 0; len(h.dirty) > 0 && work < sliceEntities; {
		x := h.dirty[0]
		some, whole := m.describeHomie(t, x)
		if work += 1 + some; whole {
			h.dirty = h.dirty[1:]
			x.dirty, x.making = false, nil
		}
	}
	if len(h.dirty) == 0 {
		h.dirty = nil
		return
	}
	h.first, h.due = t.Now.Run, t.Now.Run+slicePause
}

// readPerEntity is how many properties can be read in the time that it takes
// to make and place one entity.
const readPerEntity = 8

// describeHomie goes on describing a device. It tells how much work it was, in
// entities, and whether it is done.
func (m *Model) describeHomie(t *mqtt.Turn, x *homieDevice) (work int, done bool) {
	if m.homies.devices[x.base] != x || x.state == "" || x.state == "init" {
		return 0, true
	}
	if x.device != nil {
		m.dirtyHomie(t, m.homies.devices[strings.Replace(x.base, "/5/", "/", 1)])
		return m.announceHomie(t, x, x.device.Hash()), true
	}
	k := x.making
	switch {
	case k == nil:
		five := strings.Replace(x.base, "/", "/5/", 1)
		if m.owned[homie.State(five)] != nil { // what is left of an older version
			m.announce(t, homie.State(x.base), &discovery{message: &homeassistant.Message{Remove: true}})
			return 0, true
		}
		d, err := homie.Assemble(x.base, x.attributes)
		if err != nil {
			if !errors.Is(err, homie.ErrIncomplete) {
				m.reporter.report(t, m.log, "discovery message not used", "topic", cut(x.base, 200), "err", err)
			}
			return len(x.attributes) / readPerEntity / 4, true
		}
		k = &homieMaking{device: d, hash: d.Hash()}
		if old := m.owned[homie.State(x.base)]; old != nil && old.hash == k.hash {
			return m.announceHomie(t, x, k.hash), true
		}
		x.making = k
		return len(x.attributes) / readPerEntity / 4, false
	case !k.described:
		k.entities, k.described = homie.Describe(k.device), true
		return len(k.entities) / readPerEntity, false
	case len(k.entities) > 0:
		some := k.entities[:min(sliceEntities, len(k.entities))]
		k.entities = k.entities[len(some):]
		k.specs = append(k.specs, m.homieSpecs(some)...)
		return len(some) / 2, false
	}
	x.specs = k.specs
	return m.announceHomie(t, x, k.hash), true
}

// announceHomie has a device's entities placed. It tells how many are now.
func (m *Model) announceHomie(t *mqtt.Turn, x *homieDevice, hash [sha256.Size]byte) int {
	m.inherit(t, x.specs)
	m.announce(t, homie.State(x.base), &discovery{
		message: &homeassistant.Message{Hash: hash}, specs: x.specs, base: homieBase, address: x.base, live: x.live, client: x.client, sliced: true,
	})
	x.live = false
	return min(len(x.specs), sliceEntities)
}

// homieRetained returns the retained messages by which a device has described
// itself, besides its state.
func (m *Model) homieRetained(d *device) []string {
	x := m.homies.devices[d.address]
	if d.base != homieBase || x == nil {
		return nil
	}
	var topics []string
	if x.device != nil {
		topics = append(topics, x.base+"/"+homie.DescriptionAttribute)
	}
	for attribute := range x.attributes {
		topics = append(topics, x.base+"/"+attribute)
	}
	slices.Sort(topics)
	return topics
}
