package devices

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"lar.home/devices/homeassistant"
	"lar.home/devices/shelly"
	"lar.home/devices/template"
	"lar.home/mqtt"
)

// shellyBase stands for the gateway of a Shelly, which is its own.
const shellyBase = "shelly"

// A Shelly of the second or a later generation is known by the topics on which
// it speaks, and asked what it is: one thing after the other, again a few times
// if it does not answer. Much else has a topic that ends in "/online" and
// answers nothing; it is then left alone. What it is was kept, as it may sleep
// when we start. One of the first generation announces itself when it comes and
// when all are told to; what it has shows in its topics.
const (
	// askShellyEvery is the time between two devices that are asked.
	askShellyEvery = 100 * time.Millisecond
	// maxShellyPages is how many pages of components are asked for.
	maxShellyPages = 20
	// oldShellySettle is how long new topics of a device are waited for.
	oldShellySettle = 300 * time.Millisecond
)

// askShellyAgain is how long an answer is waited for, each time it is asked.
var askShellyAgain = []time.Duration{10 * time.Second, time.Minute, 10 * time.Minute}

// A shellyHouse is what is known of Shellys.
type shellyHouse struct {
	devices map[string]*shellyDevice // by prefix
	clients map[string]int           // how many of them, by client
	quiet   []*shellyDevice          // that have not said what they are, oldest first
	agenda  []*shellyDevice          // with something to do at a time
	next    time.Duration            // the earliest of these times
	last    time.Duration            // when one was asked last
}

// A shellyDevice is what is known of one of them.
type shellyDevice struct {
	prefix, client string
	due            time.Duration // when it has something to do; 0: never
	asked          time.Duration // when it was asked what it is
	live           bool          // it has come, itself, since it was described last

	// Of the second and later generations:
	query        shelly.Query // that waits for an answer; 0: none
	tries, pages int
	info         template.Value
	config       template.Value
	status       template.Value
	components   []template.Value
	answers      []template.Value // that have states
	device       *shelly.Device

	old *shelly.Old // of the first generation; without an ID: not announced yet
}

// A shellyMessage is a message of a Shelly, as Prepare has read it.
type shellyMessage struct {
	topic shelly.Topic
	frame *shelly.Frame
	old   *shelly.Old
	part  string
	err   error
}

// prepareShelly reads a message of a Shelly. It is pure.
func prepareShelly(topic shelly.Topic, payload []byte) *shellyMessage {
	p := &shellyMessage{topic: topic}
	switch {
	case len(payload) == 0:
	case topic.Subject == shelly.Events, topic.Subject == shelly.Answers:
		p.frame, p.err = shelly.ParseFrame(payload)
	case topic.Subject == shelly.Announce:
		if p.old, p.err = shelly.ParseAnnounce(payload); p.old != nil {
			p.topic.Prefix = p.old.Prefix
		}
	case topic.Subject == shelly.Part:
		p.part = shelly.Learn(topic.Part, payload)
	}
	return p
}

// shelly takes a message of a Shelly into the model.
func (m *Model) shelly(t *mqtt.Turn, msg *mqtt.Message, p *shellyMessage) {
	if p.err != nil {
		if !errors.Is(p.err, shelly.ErrLater) {
			m.reporter.report(t, m.log, "message of a Shelly not used", "topic", cut(msg.Topic, 200), "err", p.err)
		}
		return
	}
	x := m.shellies.devices[p.topic.Prefix]
	switch p.topic.Subject {
	case shelly.Online:
		switch string(msg.Payload) {
		case "":
			if x != nil {
				m.removeShelly(t, x)
			}
		case "true":
			if x == nil {
				x = m.newShelly(t, msg, p.topic.Prefix)
			}
			if x == nil {
				return
			}
			x.live = x.live || !msg.Retained
			switch {
			case x.old != nil && x.old.ID != "":
				m.shellyLater(t, x, oldShellySettle)
			case x.query == 0 && (x.tries < len(askShellyAgain) || x.device != nil):
				wait := askShellyEvery
				if x.asked != 0 {
					wait = max(wait, x.asked+askShellyAgain[0]-t.Now.Run)
				}
				if strings.HasPrefix(x.prefix, "shellies/") && x.device == nil {
					wait = 5 * time.Second // it may be of the first generation, and is about to say so
				}
				x.tries = 0
				m.shellyLater(t, x, wait)
			}
		}
	case shelly.Events:
		if p.frame == nil || msg.Retained || m.tombs[m.memory.deviceID("mac:"+shelly.MAC(p.frame.Source))] != nil && (x == nil || !x.live) {
			return
		}
		if x == nil {
			x = m.newShelly(t, msg, p.topic.Prefix)
		}
		if x != nil && x.device == nil && x.query == 0 && x.due == 0 {
			x.tries, x.old = 0, nil
			m.shellyLater(t, x, askShellyEvery)
		}
	case shelly.Answers:
		if x != nil && p.frame != nil {
			m.shellyAnswered(t, x, p.frame)
		}
	case shelly.Announce:
		if p.old == nil {
			return
		}
		if x == nil {
			x = m.newShelly(t, msg, p.topic.Prefix)
		}
		if x == nil || x.device != nil {
			return
		}
		if x.old != nil {
			p.old.Parts = x.old.Parts
		}
		x.old, x.query = p.old, 0
		m.shellies.spoke(x)
		m.shellyLater(t, x, oldShellySettle)
	case shelly.Part:
		if p.part == "" {
			return
		}
		if x == nil {
			x = m.newShelly(t, msg, p.topic.Prefix)
		}
		if x == nil || x.device != nil {
			return
		}
		old := &shelly.Old{}
		if x.old != nil {
			*old = *x.old // the one that is announced stays as it is
		}
		if old.Add(p.part) {
			if x.old = old; old.ID != "" {
				m.shellyLater(t, x, oldShellySettle)
			}
		}
	}
}

// newShelly notes a device; nil if there is no room. Those that have not said
// what they are make room for others.
func (m *Model) newShelly(t *mqtt.Turn, msg *mqtt.Message, prefix string) *shellyDevice {
	h := &m.shellies
	if h.full(msg.ClientID, m.share) {
		share := len(h.devices) < MaxDevices // it is that of the client
		i := slices.IndexFunc(h.quiet, func(x *shellyDevice) bool { return x.mute() && (!share || x.client == msg.ClientID) })
		if i >= 0 {
			m.dropShelly(h.quiet[i])
		}
	}
	if h.full(msg.ClientID, m.share) {
		m.reporter.report(t, m.log, "too many devices, the new one is left out", "topic", cut(msg.Topic, 200), "limit", MaxDevices)
		return nil
	}
	x := &shellyDevice{prefix: strings.Clone(prefix), client: msg.ClientID}
	h.devices[x.prefix] = x
	h.quiet = append(h.quiet, x)
	h.clients[x.client]++
	return x
}

// full tells whether there is no room for one more device of a client.
func (h *shellyHouse) full(client string, share int) bool {
	return len(h.devices) >= MaxDevices || client != "" && h.clients[client] >= share
}

// mute tells whether a device has not said what it is, and is waited for no
// longer.
func (x *shellyDevice) mute() bool { return x.due == 0 && x.query == 0 && x.unknown() }

func (x *shellyDevice) unknown() bool {
	return x.device == nil && (x.old == nil || x.old.ID == "")
}

// spoke notes that a device has said what it is.
func (h *shellyHouse) spoke(x *shellyDevice) {
	if i := slices.Index(h.quiet, x); i >= 0 {
		h.quiet = slices.Delete(h.quiet, i, i+1)
	}
}

// dropShelly forgets what is known of a device.
func (m *Model) dropShelly(x *shellyDevice) {
	h := &m.shellies
	delete(h.devices, x.prefix)
	h.done(x)
	h.spoke(x)
	if h.clients[x.client]--; h.clients[x.client] <= 0 {
		delete(h.clients, x.client)
	}
	w := m.wiring.Load()
	names := []string{shelly.OnlineTopic(x.prefix)}
	if x.old != nil {
		for _, learned := range x.old.Parts {
			part, _, _ := strings.Cut(learned, " ")
			names = append(names, x.prefix+"/"+part)
		}
	}
	for _, name := range names {
		if w.declared(name) == nil {
			delete(m.last, name)
		}
	}
}

// removeShelly takes a device out of the house.
func (m *Model) removeShelly(t *mqtt.Turn, x *shellyDevice) {
	m.unlineShelly(x)
	m.announce(t, shelly.OnlineTopic(x.prefix), &discovery{message: &homeassistant.Message{Remove: true}})
	if x.device != nil || x.old != nil {
		t.Write(recordKey('s', x.prefix), nil)
	}
	m.dropShelly(x)
}

// shellyLater has a device dealt with after a while; what is due earlier stays.
func (m *Model) shellyLater(t *mqtt.Turn, x *shellyDevice, wait time.Duration) {
	h, at := &m.shellies, t.Now.Run+wait
	if x.due == 0 {
		h.agenda = append(h.agenda, x)
	} else if x.due <= at {
		return
	}
	x.due = at
	if len(h.agenda) == 1 || at < h.next {
		h.next = at
	}
}

// done takes a device off the agenda.
func (h *shellyHouse) done(x *shellyDevice) {
	if x.due == 0 {
		return
	}
	x.due, h.next = 0, 0
	h.agenda = slices.DeleteFunc(h.agenda, func(other *shellyDevice) bool { return other == x })
	for i, other := range h.agenda {
		if i == 0 || other.due < h.next {
			h.next = other.due
		}
	}
}

// wake returns when the next device is to be dealt with.
func (h *shellyHouse) wake() (at time.Duration, ok bool) {
	if h.last == 0 {
		return h.next, len(h.agenda) > 0
	}
	return max(h.next, h.last+askShellyEvery), len(h.agenda) > 0
}

// tendShellies does what is due: one device is asked, or described, at a time.
func (m *Model) tendShellies(t *mqtt.Turn) {
	h := &m.shellies
	if at, ok := h.wake(); !ok || t.Now.Run < at {
		return
	}
	var x *shellyDevice
	for _, other := range h.agenda {
		if other.due <= t.Now.Run && (x == nil || other.due < x.due) {
			x = other
		}
	}
	if x == nil {
		return
	}
	h.last = t.Now.Run
	h.done(x)
	switch {
	case x.old != nil && x.old.ID != "":
		m.describeOldShelly(t, x)
	case x.query != 0 && x.tries >= len(askShellyAgain):
		x.query = 0 // it does not answer
		m.shellyQuiet(x)
	case x.query != 0:
		m.askShelly(t, x, x.query)
	default:
		m.askShelly(t, x, shelly.AskInfo)
	}
}

// shellyQuiet forgets what a device has answered, once that is used.
func (m *Model) shellyQuiet(x *shellyDevice) {
	x.info, x.config, x.status, x.components, x.answers = template.Value{}, template.Value{}, template.Value{}, nil, nil
	x.pages = 0
}

func (m *Model) askShelly(t *mqtt.Turn, x *shellyDevice, q shelly.Query) {
	topic, payload := shelly.Request(x.prefix, q, len(x.components))
	if commandTopicProblem(m.prefix, topic) != "" {
		return
	}
	if x.query != q {
		x.query, x.tries = q, 0
	}
	if q == shelly.AskInfo {
		x.asked = t.Now.Run
	}
	t.Publish(&mqtt.Message{Topic: topic, Payload: []byte(payload)})
	m.shellyLater(t, x, askShellyAgain[min(x.tries, len(askShellyAgain)-1)])
	x.tries++
}

// shellyAnswered takes an answer, and asks the next thing.
func (m *Model) shellyAnswered(t *mqtt.Turn, x *shellyDevice, f *shelly.Frame) {
	if f.ID == shelly.Command && f.Error != "" {
		m.reporter.report(t, m.log, "a Shelly refused a command", "topic", cut(x.prefix, 200), "err", f.Error)
	}
	if f.ID != x.query || x.query == 0 {
		return
	}
	m.shellies.done(x)
	if f.Error != "" && f.ID != shelly.AskComponents {
		m.reporter.report(t, m.log, "a Shelly does not say what it is", "topic", cut(x.prefix, 200), "err", f.Error)
		m.shellyLater(t, x, askShellyAgain[min(x.tries, len(askShellyAgain)-1)])
		return
	}
	next := x.query + 1
	switch f.ID {
	case shelly.AskInfo:
		x.info = f.Result
	case shelly.AskConfig:
		x.config = f.Result
	case shelly.AskStatus:
		x.status = f.Result
		x.answers = append(x.answers, f.Whole)
	case shelly.AskComponents:
		list := f.Result.Key("components").Items()
		x.components = append(x.components, list...)
		x.answers = append(x.answers, f.Whole)
		total, _ := f.Result.Key("total").Number()
		if x.pages++; len(list) > 0 && float64(len(x.components)) < total && x.pages < maxShellyPages && len(x.components) < shelly.MaxComponents {
			x.query = 0
			next = shelly.AskComponents
		}
	}
	if next <= shelly.AskComponents {
		m.askShelly(t, x, next)
		return
	}
	x.query, x.tries = 0, 0
	d, err := shelly.Build(x.prefix, x.info, x.config, x.status, x.components)
	answers := x.answers
	m.shellyQuiet(x)
	if err != nil {
		m.reporter.report(t, m.log, "a Shelly does not say what it is", "topic", cut(x.prefix, 200), "err", err)
		return
	}
	hash := d.Hash()
	if x.device == nil || x.device.Hash() != hash {
		write(t, 's', x.prefix, keptShelly{Device: d})
		x.device = d
		m.shellies.spoke(x)
	}
	old := m.owned[shelly.OnlineTopic(x.prefix)]
	m.announceShelly(t, x, hash, m.shellySpecs(shelly.Describe(d)))
	if old == nil || old.hash != hash {
		m.tellShelly(t, x, answers)
	}
}

// tellShelly gives the entities of a device what it has answered before they
// were there.
func (m *Model) tellShelly(t *mqtt.Turn, x *shellyDevice, answers []template.Value) {
	r := m.wiring.Load().declared(shelly.Source(x.prefix) + "/rpc")
	if r == nil {
		return
	}
	was := m.c.old
	m.c.old = true
	for _, answer := range answers {
		text, err := answer.AppendJSON(nil, false)
		if err != nil {
			continue
		}
		in := newInput(text)
		for _, b := range r.reads {
			m.apply(t, b.node, b.read.extract(in, nil), false)
		}
		in.done()
	}
	m.c.old = was
}

// describeOldShelly describes a device of the first generation by what it has
// said until now.
func (m *Model) describeOldShelly(t *mqtt.Turn, x *shellyDevice) {
	hash := x.old.Hash()
	if old := m.owned[shelly.OnlineTopic(x.prefix)]; old == nil || old.hash != hash {
		write(t, 's', x.prefix, keptShelly{Old: x.old})
	} else if !x.live {
		return
	}
	m.announceShelly(t, x, hash, m.shellySpecs(shelly.DescribeOld(x.old)))
}

// announceShelly announces what a device is, under the topic that says whether
// it is there: that is cleared when it is forgotten.
func (m *Model) announceShelly(t *mqtt.Turn, x *shellyDevice, hash [sha256.Size]byte, specs []*spec) {
	m.unlineShelly(x)
	m.inherit(t, specs)
	m.announce(t, shelly.OnlineTopic(x.prefix), &discovery{
		message: &homeassistant.Message{Hash: hash}, specs: specs, base: shellyBase, address: x.prefix, live: x.live, client: x.client,
	})
	x.live = false
}

// unlineShelly takes what was known of a device before the start out of line.
func (m *Model) unlineShelly(x *shellyDevice) {
	key := shelly.OnlineTopic(x.prefix)
	m.jobs = slices.DeleteFunc(m.jobs, func(j *job) bool { return j.key == key })
}

func (m *Model) shellySpecs(entities []shelly.Entity) []*spec {
	specs := make([]*spec, len(entities))
	for i := range entities {
		specs[i] = buildShelly(&entities[i], m.prefix, m.templates)
	}
	return specs
}

// A keptShelly is the record of a device.
type keptShelly struct {
	Device *shelly.Device `json:"device,omitempty"`
	Old    *shelly.Old    `json:"old,omitempty"`
}

// restoreShellies puts in line what was known of Shellys before the start.
func (m *Model) restoreShellies() {
	for _, prefix := range slices.Sorted(maps.Keys(m.memory.shellies)) {
		k := m.memory.shellies[prefix]
		x := &shellyDevice{prefix: prefix, device: k.Device, old: k.Old}
		j := &job{base: shellyBase, list: shellyBase, key: shelly.OnlineTopic(prefix), address: prefix}
		if k.Device != nil {
			j.hash, j.specs = k.Device.Hash(), m.shellySpecs(shelly.Describe(k.Device))
		} else {
			j.hash, j.specs = k.Old.Hash(), m.shellySpecs(shelly.DescribeOld(k.Old))
		}
		m.shellies.devices[prefix] = x
		m.jobs = append(m.jobs, j)
	}
	m.memory.shellies = nil
}

// parseKeptShelly reads a record; false if it is of no use.
func parseKeptShelly(prefix string, value []byte) (k keptShelly, ok bool) {
	if json.Unmarshal(value, &k) != nil || (k.Device == nil) == (k.Old == nil) {
		return k, false
	}
	if k.Device != nil {
		return k, k.Device.Prefix == prefix
	}
	return k, k.Old.Prefix == prefix
}

// known tells whether a topic is one that a Shelly, whose entities may come
// later, has said something on.
func (h *shellyHouse) known(topic shelly.Topic) bool {
	return (topic.Subject == shelly.Online || topic.Subject == shelly.Part) && h.devices[topic.Prefix] != nil
}
