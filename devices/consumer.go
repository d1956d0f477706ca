package devices

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"lar.home/devices/homeassistant"
	"lar.home/devices/homie"
	"lar.home/devices/shelly"
	"lar.home/devices/tasmota"
	"lar.home/devices/zigbee2mqtt"
	"lar.home/mqtt"
)

// Bounds of the model. What goes beyond them is left out and said in the log.
const (
	// MaxDevices is how many devices the house has at most.
	MaxDevices = 5000
	// MaxClientDevices is how many of them one client may announce, so that
	// another finds room.
	MaxClientDevices = 2500
	// MaxEntities is how many entities one device has at most.
	MaxEntities = 1000
	// MaxEntitiesTotal is how many entities the house has at most.
	MaxEntitiesTotal = 100_000
	// MaxReads is how many entities may read one topic.
	MaxReads = 2000
	// maxKept is the longest payload of which the model keeps a copy, to know
	// a repetition and to serve an entity that appears later.
	maxKept = 64 << 10
)

// birthGrace is how long after our birth message a repetition is no news:
// devices answer it by saying everything again.
const birthGrace = 2 * time.Minute

// Options is what a Model needs.
type Options struct {
	// Scan reads what the model kept, as mqtt.Store does; nil if nothing.
	Scan func(prefix, from []byte, fn func(key, value []byte) bool) error
	// Prefix is the first part of discovery topics; "homeassistant" if empty.
	Prefix string
	// Zigbee2MQTT has base topics of Zigbee2MQTTs. Those of one level are
	// found by themselves; it is for those with a slash.
	Zigbee2MQTT []string
	// Watchers are told of changes, in this order.
	Watchers []Watcher
	// Clock tells the wall time in the home's zone to templates that ask for
	// it; time.Now if nil. It is called from any goroutine.
	Clock func() time.Time
	// Identity tells as whom a client came; nil if nobody knows.
	Identity func(clientID string) string
	// Forgotten is told, in a turn, of a device that was forgotten when what is
	// left of it is swept, and calls done in a turn once it has ended what it
	// keeps itself. It is told again if that takes long, and after a restart.
	// nil: nobody keeps anything.
	Forgotten func(t *mqtt.Turn, f Forgotten, done func(t *mqtt.Turn))
	// Log is told what cannot be used, at a bounded rate; nil for nobody.
	Log *slog.Logger
}

// Check says what of the options cannot be used.
func (o Options) Check() error {
	if p := topicProblem(o.Prefix); p != "" && o.Prefix != "" {
		return fmt.Errorf("the discovery prefix %q %s", cut(o.Prefix, 80), p)
	}
	if len(o.Zigbee2MQTT) > MaxGateways {
		return fmt.Errorf("the house has at most %d Zigbee2MQTTs, not %d", MaxGateways, len(o.Zigbee2MQTT))
	}
	for _, base := range o.Zigbee2MQTT {
		p := topicProblem(base)
		if p == "" && (strings.HasPrefix(base, "/") || strings.HasSuffix(base, "/") || strings.HasPrefix(base, "$")) {
			p = "begins or ends with a slash, or begins with $"
		}
		if p != "" {
			return fmt.Errorf("the base topic %q of Zigbee2MQTT %s", cut(base, 80), p)
		}
	}
	return nil
}

// A Model is the house as its devices describe it. It is a mqtt.Consumer: all
// but House, Wants and Prepare is called under the house's lock.
type Model struct {
	prefix    string
	bases     []string
	watchers  []Watcher
	log       *slog.Logger
	scan      func(prefix, from []byte, fn func(key, value []byte) bool) error
	identity  func(clientID string) string
	forgotten func(t *mqtt.Turn, f Forgotten, done func(t *mqtt.Turn))
	templates *templates

	// Read from anywhere:
	house         atomic.Pointer[House]
	wiring        atomic.Pointer[wiring]
	shownGateways atomic.Pointer[[]*Gateway]

	share int // MaxClientDevices; less in a test

	decided // under the lock
}

// decided is what the model has in memory of what it decides on, under the lock:
// all of it follows from the store and from what the broker has retained.
type decided struct {
	nodes    map[string]*node         // entities by ID
	slots    map[string]*node         // entities by discovery key
	owned    map[string]*announcement // by discovery topic
	devices  map[string]*device       // by ID
	spoken   map[string]int           // how many of them a client speaks for
	groups   map[string]*availability // by declaration
	last     map[string]*lastPayload  // by topic
	filtered map[string]bool          // topics of last that a filter has found
	retired  []string                 // topics that nobody reads any more, oldest first
	memory   memory
	agenda   agenda
	unplaced map[string]*node // by ID, whose expire_after waits for a clock that can be trusted
	asked    time.Duration    // the deadline last asked for; negative for none
	birth    time.Duration    // Run time of our birth message
	births   int              // how many there were
	speaker  string           // client whose announcement is being taken in; "" if unknown
	stale    []string         // devices to be described again, some at a time
	dirty    unkept           // readings changed since they were last kept
	often    unkept           // and were kept only a while ago
	reporter reporter

	tasmotas map[string]*tasmotaDevice // by address in capitals
	wills    map[string]string         // their addresses by topic of the last will
	homies   homieHouse
	shellies shellyHouse

	gateways     map[string]*Gateway // by base
	jobs         []*job              // of device lists, to be taken in slices
	inquiries    []*inquiry          // devices to be asked for their state
	inquireAt    time.Duration
	requests     map[string]*request // by transaction
	transactions int
	shadows      map[string][]string // topics whose announcements are kept aside, by device
	tombs        map[string]*tomb    // of forgotten devices, by ID
	open         []*tomb             // those that are not swept yet

	layout *layout // that the next House has

	c       changeSet // of the turn being decided
	telling bool      // watchers are being told of changes
}

// A wiring says who reads which topic. It is immutable; Prepare works on it.
type wiring struct {
	routes shards[*route]
	wild   *wild // nil if no filter is read
}

// A route is all that is read from one topic.
type route struct {
	reads []bound
	avail []availBound
	tombs []*tomb // of forgotten devices that speak here
}

// A bound is a read of an entity.
type bound struct {
	node *node
	read *read
}

type availBound struct {
	group  *availability
	source int
}

// A lastPayload is what a topic brought last.
type lastPayload struct {
	payload []byte
	retain  bool // it is retained
	long    bool // longer than maxKept: only the message itself was used
	births  int  // of ours when it came
}

// An announcement is a discovery message in force.
type announcement struct {
	hash  [32]byte
	nodes []*node
	// shadow is what it announces of a device that has a native source, or was
	// forgotten: it waits. owner is the ID of that device.
	shadow []*spec
	owner  string

	base, address string // of a Zigbee device or a Tasmota

	rest   []*spec // that are still to be placed, in further slices
	before []*node // what it announced before, until all is placed
	client string  // that says it now; "" if unknown
}

// New returns a model of an empty house that remembers what Options.Scan has:
// names that people gave, identities and last values.
func New(o Options) (*Model, error) {
	m := &Model{
		prefix:    o.Prefix,
		bases:     o.Zigbee2MQTT,
		watchers:  o.Watchers,
		log:       o.Log,
		identity:  o.Identity,
		forgotten: o.Forgotten,
		templates: &templates{clock: o.Clock},
		share:     MaxClientDevices,
	}
	if o.Clock == nil {
		m.templates.clock = time.Now
	}
	if m.prefix == "" {
		m.prefix = "homeassistant"
	}
	if err := o.Check(); err != nil {
		return nil, err
	}
	if m.log == nil {
		m.log = slog.New(slog.DiscardHandler)
	}
	m.scan = o.Scan
	if err := m.begin(); err != nil {
		return nil, err
	}
	return m, nil
}

// begin begins with an empty house and what is remembered of it.
func (m *Model) begin() error {
	m.decided = decided{
		nodes:    map[string]*node{},
		unplaced: map[string]*node{},
		slots:    map[string]*node{},
		owned:    map[string]*announcement{},
		devices:  map[string]*device{},
		spoken:   map[string]int{},
		groups:   map[string]*availability{},
		last:     map[string]*lastPayload{},
		filtered: map[string]bool{},
		tasmotas: map[string]*tasmotaDevice{},
		wills:    map[string]string{},
		homies:   homieHouse{devices: map[string]*homieDevice{}, clients: map[string]int{}, count: map[string]int{}},
		shellies: shellyHouse{devices: map[string]*shellyDevice{}, clients: map[string]int{}},
		gateways: map[string]*Gateway{},
		requests: map[string]*request{},
		shadows:  map[string][]string{},
		asked:    -1,
	}
	m.memory.init()
	if m.scan != nil {
		if err := m.memory.load(m.scan); err != nil {
			return fmt.Errorf("read what is known of devices: %w", err)
		}
	}
	m.memory.forgot = m.forgot
	m.tombs = m.memory.tombs
	for _, id := range slices.Sorted(maps.Keys(m.tombs)) {
		if tb := m.tombs[id]; !tb.Buried {
			m.open = append(m.open, tb)
		}
	}
	m.restoreShellies()
	m.arrange()
	m.c.layout = false
	m.house.Store(&House{layout: m.layout})
	m.wiring.Store(&wiring{})
	m.shownGateways.Store(nil)
	return nil
}

// Watch adds a watcher. It is called before the hub starts.
func (m *Model) Watch(w Watcher) { m.watchers = append(m.watchers, w) }

// forgot tells those that keep something of an entity.
func (m *Model) forgot(t *mqtt.Turn, entityID string) {
	for _, w := range m.watchers {
		if f, ok := w.(Forgetter); ok {
			f.Forget(t, entityID)
		}
	}
}

// House returns the devices as of the last turn that changed one.
func (m *Model) House() *House { return m.house.Load() }

// Wants tells whether a topic announces devices or is read by an entity.
func (m *Model) Wants(topic string) bool {
	if _, _, _, ok := zigbee2mqtt.ParseTopic(topic, m.bases); ok {
		return true
	}
	if _, _, ok := tasmota.ParseTopic(topic); ok {
		return true
	}
	if _, ok := homie.ParseTopic(topic); ok {
		return true
	}
	if _, ok := shelly.ParseTopic(topic); ok {
		return true
	}
	return m.wiring.Load().wants(topic) || homeassistant.IsTopic(m.prefix, topic)
}

// prepared is what Prepare hands to Accept.
type prepared struct {
	wiring   *wiring
	filtered bool // by a filter
	route    *route
	updates  []update // of all reads, one after the other
	avail    []int

	found   *discovery
	bridge  *bridgeMessage
	tasmota *tasmotaMessage
	homie   *homieMessage
	shelly  *shellyMessage
	status  bool // it is the answer to a question of ours
}

// A discovery is a discovery message with the specs of its entities.
type discovery struct {
	message *homeassistant.Message
	specs   []*spec
	err     error

	base, address string // of a Zigbee device or a Tasmota
	live          bool   // the device itself speaks, now
	client        string // that said it
	sliced        bool   // a large device may be placed bit by bit
}

// Prepare decodes a message, evaluates the templates of all entities that
// read it, and builds those that a discovery message describes.
func (m *Model) Prepare(topic string, payload []byte) any {
	p := &prepared{}
	if mac, part, ok := tasmota.ParseTopic(topic); ok {
		p.tasmota = prepareTasmota(mac, part, payload)
	} else if homeassistant.IsTopic(m.prefix, topic) {
		p.found = m.discover(topic, payload)
	} else if base, subject, _, ok := zigbee2mqtt.ParseTopic(topic, m.bases); ok {
		p.bridge = m.prepareBridge(base, subject, payload)
	} else if where, ok := homie.ParseTopic(topic); ok {
		p.homie = m.prepareHomie(where, payload)
	} else if where, ok := shelly.ParseTopic(topic); ok {
		p.shelly = prepareShelly(where, payload)
	}
	p.wiring = m.wiring.Load()
	r, filtered := p.wiring.at(topic)
	if p.filtered = filtered; r != nil {
		p.evaluate(r, payload)
	}
	return p
}

func (p *prepared) evaluate(r *route, payload []byte) {
	p.route, p.avail = r, p.avail[:0]
	in := newInput(payload)
	defer in.done()
	for i := range r.reads {
		n := len(in.out)
		in.out = r.reads[i].read.extract(in, in.out)
		for ; n < len(in.out); n++ {
			in.out[n].by = uint16(i)
		}
	}
	p.updates = append(p.updates[:0], in.out...)
	for _, a := range r.avail {
		p.avail = append(p.avail, a.group.spec.sources[a.source].extract(in))
	}
}

func (m *Model) discover(topic string, payload []byte) *discovery {
	t, ok := homeassistant.ParseTopic(m.prefix, topic)
	if !ok {
		return &discovery{err: errors.New("not a discovery topic: it has a component, perhaps a node, and an object")}
	}
	d := &discovery{}
	d.message, d.err = homeassistant.Parse(t, payload)
	if d.err == nil {
		for i := range d.message.Configs {
			if c := &d.message.Configs[i]; !c.Remove {
				d.specs = append(d.specs, build(c, m.prefix, m.templates))
			}
		}
	}
	return d
}

// Accept takes a message into the model.
func (m *Model) Accept(t *mqtt.Turn, msg *mqtt.Message, prep any) {
	p, _ := prep.(*prepared)
	if p == nil {
		p, _ = m.Prepare(msg.Topic, msg.Payload).(*prepared)
	}
	if p.found != nil {
		p.found.live, p.found.client = !msg.Retained, msg.ClientID
		m.announce(t, msg.Topic, p.found)
	}
	if p.tasmota != nil {
		m.tasmota(t, msg, p.tasmota)
	}
	if p.homie != nil {
		m.homie(t, msg, p.homie)
		if homieMoment(p.homie.topic) {
			defer m.keep(msg)
		}
	}
	if p.shelly != nil {
		f := p.shelly.frame
		p.status = p.shelly.topic.Subject == shelly.Answers && f != nil && f.ID != shelly.Command
		m.shelly(t, msg, p.shelly)
		if m.shellies.known(p.shelly.topic) {
			defer m.keep(msg)
		}
	}
	if p.bridge != nil {
		m.bridge(t, p.bridge)
		if b := p.bridge; m.gateways[b.base] != nil && (b.subject == zigbee2mqtt.State || b.subject == zigbee2mqtt.Info) {
			// Its readers may come later, with the list of devices.
			defer m.keep(msg)
		}
	}
	if w := m.wiring.Load(); w != p.wiring {
		r, filtered := w.at(msg.Topic)
		p.wiring, p.filtered = w, filtered
		if r == nil {
			p.route = nil
		} else if r != p.route {
			p.evaluate(r, msg.Payload)
		}
	}
	if p.route != nil {
		if p.filtered && len(m.filtered) < maxFiltered {
			m.filtered[msg.Topic] = true
		}
		m.read(t, msg, p)
		m.arrived(t, msg)
	}
	m.finish(t)
}

// read applies what a message says of states and availability.
func (m *Model) read(t *mqtt.Turn, msg *mqtt.Message, p *prepared) {
	if last := m.last[msg.Topic]; last != nil && m.answers(t, last.births) && !last.long && bytes.Equal(last.payload, msg.Payload) {
		m.c.old = true
	}
	if msg.Retained || p.status && m.births > 0 && t.Now.Run < m.birth+birthGrace {
		m.c.old = true
	}
	m.keep(msg)
	m.c.message = msg
	updates := p.updates
	for i, b := range p.route.reads {
		n := 0
		for n < len(updates) && updates[n].by == uint16(i) {
			n++
		}
		m.apply(t, b.node, updates[:n], msg.Retained)
		updates = updates[n:]
		if !msg.Retained {
			b.node.device.health.heard(t)
			if b.node.device.client == "" && msg.ClientID != "" {
				m.spokenBy(t, b.node.device, msg.ClientID)
			}
		}
	}
	for i, a := range p.route.avail {
		if p.avail[i] != availSilent {
			m.heard(a.group, a.source, p.avail[i] == availYes)
		}
	}
	m.c.old, m.c.message = false, nil
	if !msg.Retained && len(msg.Payload) > 0 { // a device does not speak by saying nothing: that is a sweep
		for _, tomb := range p.route.tombs {
			m.revive(t, tomb)
		}
	}
}

// keep notes what a topic has brought.
func (m *Model) keep(msg *mqtt.Message) {
	last := m.last[msg.Topic]
	if last == nil {
		if !m.filtered[msg.Topic] && m.wiring.Load().declared(msg.Topic) == nil {
			where, said := homie.ParseTopic(msg.Topic)
			of, told := shelly.ParseTopic(msg.Topic)
			if _, _, _, ok := zigbee2mqtt.ParseTopic(msg.Topic, m.bases); !ok && (!said || m.homies.devices[where.Base] == nil) && (!told || !m.shellies.known(of)) {
				return // one more that a filter found
			}
		}
		last = &lastPayload{}
		m.last[msg.Topic] = last
	}
	last.births = m.births
	last.retain = msg.Retain || msg.Retained
	last.long = len(msg.Payload) > maxKept
	last.payload = append(last.payload[:0], msg.Payload[:min(len(msg.Payload), maxKept)]...)
}

// answers tells whether a topic that was silent since the given number of our
// birth messages may now be repeating itself in answer to the last one. Only
// the first message can: who presses a button twice means it.
func (m *Model) answers(t *mqtt.Turn, births int) bool {
	return m.births > births && t.Now.Run < m.birth+birthGrace
}

// Wake does what is due.
func (m *Model) Wake(t *mqtt.Turn) {
	m.asked = -2 // nothing stands any more
	m.followClock(t)
	for {
		n, ok := m.agenda.due(t.Now.Run)
		if !ok {
			break
		}
		m.expire(t, n)
	}
	for _, u := range []*unkept{&m.dirty, &m.often} {
		if u.due(t.Now.Run) {
			m.flush(t, u, flushBatch)
		}
	}
	m.work(t)
	m.describeHomies(t)
	m.tendShellies(t)
	m.inquire(t)
	m.tire(t)
	m.bury(t)
	for range min(len(m.stale), staleBatch) {
		if d := m.devices[m.stale[0]]; d != nil {
			m.c.touch(d)
		}
		m.stale = m.stale[1:]
	}
	m.sweep(t)
	m.finish(t)
}

// staleBatch is how many devices are described again in one turn when the one
// that they hang on appears.
const staleBatch = 20

// Birth says that the hub is here, so that devices announce themselves and
// say their states. What they repeat in answer is no news.
func (m *Model) Birth(t *mqtt.Turn) {
	m.births++
	m.birth = t.Now.Run
	t.Publish(&mqtt.Message{Topic: m.prefix + "/status", Payload: []byte("online")})
	for _, what := range []string{"announce", "update"} {
		t.Publish(&mqtt.Message{Topic: shelly.OldCommand, Payload: []byte(what)})
	}
	m.ask(t)
}

// maxRounds is how often watchers may, by commands to entities that report
// nothing, cause further changes within one turn.
const maxRounds = 64

// finish ends the model's part of a turn: readers get the new house, watchers
// the changes, and the next deadline is asked for. A watcher may give commands
// while it is told; what they change is told next.
func (m *Model) finish(t *mqtt.Turn) {
	for round := 0; !m.telling && round < maxRounds; round++ {
		structure := m.publish()
		changes := m.c.take()
		if len(changes) == 0 && !structure {
			break
		}
		if m.tell(t, changes, structure); round == maxRounds-1 {
			m.c.take() // a loop: what it would go on with is not told
		}
	}
	m.ask(t)
}

// tell tells the watchers. A command that one of them gives meanwhile may
// change more: that is told to all of them next, by finish.
func (m *Model) tell(t *mqtt.Turn, changes []Change, structure bool) {
	m.telling = true
	defer func() { m.telling = false }()
	for _, w := range m.watchers {
		changed(t, w, changes, structure)
	}
}

// A rebuilder is a watcher that the model is rebuilt together with: after a panic
// of it neither can be told more.
type rebuilder interface {
	Rebuild(t *mqtt.Turn) error
}

// changed tells one watcher. One that panics keeps neither the model nor the
// others from theirs.
func changed(t *mqtt.Turn, w Watcher, changes []Change, structure bool) {
	if t.Whole() != nil {
		if _, both := w.(rebuilder); both {
			return // it panicked earlier in this turn
		}
	}
	mark := t.Mark()
	defer func() {
		if r := recover(); r != nil {
			var about *mqtt.Message
			if len(changes) > 0 {
				about = changes[0].Message
			}
			if _, both := w.(rebuilder); both {
				t.Broken(r, about, mark)
			} else {
				t.Panicked(r, about)
			}
		}
	}()
	w.Changed(t, changes, structure)
}

// ask asks to be woken for the next deadline.
func (m *Model) ask(t *mqtt.Turn) {
	next := time.Duration(-1)
	if at, ok := m.agenda.next(); ok {
		next = at
	}
	if len(m.stale) > 0 || len(m.jobs) > 0 {
		next = t.Now.Run + slicePause
	}
	if len(m.homies.dirty) > 0 && (next < 0 || m.homies.due < next) {
		next = m.homies.due
	}
	if at, ok := m.shellies.wake(); ok && (next < 0 || at < next) {
		next = at
	}
	if len(m.inquiries) > 0 && (next < 0 || m.inquireAt < next) {
		next = m.inquireAt
	}
	for _, tomb := range m.open {
		if next < 0 || tomb.at < next {
			next = tomb.at
		}
	}
	for _, q := range m.requests {
		if next < 0 || q.until < next {
			next = q.until
		}
	}
	for _, u := range []*unkept{&m.dirty, &m.often} {
		if u.at > 0 && (next < 0 || u.at < next) {
			next = u.at
		}
	}
	if next != m.asked {
		m.asked = next
		t.WakeAt(m, next)
	}
}
