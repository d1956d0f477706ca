package devices

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices/homeassistant"
	"lar.home/devices/zigbee2mqtt"
	"lar.home/mqtt"
)

// Bounds of what Zigbee2MQTT may bring.
const (
	// MaxGateways is how many of them the house has at most.
	MaxGateways = 16
	// sliceEntities is how many entities of a list are taken in one turn.
	sliceEntities = 48
	// slicePause is the time between two slices: others have their turns.
	slicePause = time.Millisecond
	// maxRequests is how many requests may wait for their answer.
	maxRequests = 64
	// requestWithin is how long an answer may take.
	requestWithin = 30 * time.Second
	// maxJoin is for how long Zigbee lets devices join at most.
	maxJoin = 254 * time.Second
)

// A Gateway is a Zigbee2MQTT as it describes itself. It is never changed.
type Gateway struct {
	Base    string // the first part of its topics: "zigbee2mqtt"
	Version string
	Online  bool
	// PermitJoin tells whether new devices may join now, until when if known.
	PermitJoin      bool
	PermitJoinEnd   time.Time
	RestartRequired bool
	// Joining are the names of devices that are being asked what they are.
	Joining []string
	// Failed are the names of those that could not be asked.
	Failed []string

	coordinator string
	entries     map[string]bool // keys of devices announced, by the topic of their list
	groups      []*zigbee2mqtt.Group
	exposes     map[string]groupable // by address
}

// A groupable is what a device brings to a group.
type groupable struct {
	hash    [sha256.Size]byte
	exposes []zigbee2mqtt.Expose
}

// A bridgeMessage is a message of a bridge, as Prepare has read it.
type bridgeMessage struct {
	base    string
	subject zigbee2mqtt.Subject
	err     error

	online, known bool
	info          *zigbee2mqtt.BridgeInfo
	response      *zigbee2mqtt.Response
	groups        []*zigbee2mqtt.Group
	devices       []*zigbee2mqtt.Device
	specs         [][]*spec // parallel to devices
	coordinator   string
}

// A job is one device of a list, or what is left of a large one, to be taken in
// its turn.
type job struct {
	base, list, key, address string
	hash                     [sha256.Size]byte
	specs                    []*spec
	inquiry                  *inquiry
	group                    *zigbee2mqtt.Group // described when its turn comes
	remove                   bool
	rest                     *announcement // not all of which has been placed yet
}

// prepareBridge reads a message of a bridge. It is pure.
func (m *Model) prepareBridge(base string, subject zigbee2mqtt.Subject, payload []byte) *bridgeMessage {
	b := &bridgeMessage{base: base, subject: subject}
	switch subject {
	case zigbee2mqtt.State:
		b.online, b.known = zigbee2mqtt.ParseState(payload)
	case zigbee2mqtt.Info:
		if len(payload) > 0 {
			b.info, b.err = zigbee2mqtt.ParseInfo(payload)
		}
	case zigbee2mqtt.Responses:
		b.response, b.err = zigbee2mqtt.ParseResponse(payload)
	case zigbee2mqtt.Groups:
		if len(payload) > 0 {
			b.groups, b.err = zigbee2mqtt.ParseGroups(payload)
		}
	case zigbee2mqtt.Devices:
		if len(payload) > 0 {
			b.devices, b.err = zigbee2mqtt.ParseDevices(payload)
		}
		for _, d := range b.devices {
			if d.Type == "Coordinator" {
				b.coordinator = d.IEEE
			}
		}
		for _, d := range b.devices {
			entities := zigbee2mqtt.Describe(base, b.coordinator, d)
			if d.Type == "Coordinator" {
				entities = zigbee2mqtt.DescribeBridge(base, d.IEEE)
			}
			b.specs = append(b.specs, m.zigbeeSpecs(entities))
		}
	}
	return b
}

func (m *Model) zigbeeSpecs(entities []zigbee2mqtt.Entity) []*spec {
	specs := make([]*spec, len(entities))
	for i := range entities {
		specs[i] = buildZigbee(&entities[i], m.prefix, m.templates)
	}
	return specs
}

// bridge takes a message of a bridge into the model.
func (m *Model) bridge(t *mqtt.Turn, b *bridgeMessage) {
	if b.err != nil {
		m.reporter.report(t, m.log, "message of a Zigbee2MQTT not used", "topic", b.base+"/bridge/"+string(b.subject), "err", b.err)
		return
	}
	if b.subject == zigbee2mqtt.Responses {
		m.answered(t, b.base, b.response)
		return
	}
	old := m.gateways[b.base]
	g := &Gateway{Base: b.base}
	if old != nil {
		*g = *old
	} else if len(m.gateways) >= MaxGateways {
		m.reporter.report(t, m.log, "too many Zigbee2MQTTs, the new one is left out", "base", b.base)
		return
	}
	switch b.subject {
	case zigbee2mqtt.State:
		if !b.known && old == nil {
			return
		}
		g.Online = b.online
	case zigbee2mqtt.Info:
		if b.info == nil && old == nil {
			return
		}
		i := b.info
		if i == nil {
			i = &zigbee2mqtt.BridgeInfo{}
		}
		g.Version, g.PermitJoin, g.PermitJoinEnd, g.RestartRequired = i.Version, i.PermitJoin, i.PermitJoinEnd, i.RestartRequired
	case zigbee2mqtt.Devices:
		m.deviceList(g, b)
	case zigbee2mqtt.Groups:
		g.groups = b.groups
		m.groupList(g)
	}
	m.gateways[b.base] = g
	m.showGateways()
	m.work(t)
}

// showGateways swaps in the list for readers outside the turn.
func (m *Model) showGateways() {
	list := make([]*Gateway, 0, len(m.gateways))
	for _, g := range m.gateways {
		list = append(list, g)
	}
	slices.SortFunc(list, func(a, b *Gateway) int { return cmp.Compare(a.Base, b.Base) })
	m.shownGateways.Store(&list)
}

// Gateways returns the Zigbee2MQTTs that have spoken, by base.
func (m *Model) Gateways() []*Gateway {
	if list := m.shownGateways.Load(); list != nil {
		return *list
	}
	return nil
}

// deviceList plans what a list of devices changes.
func (m *Model) deviceList(g *Gateway, b *bridgeMessage) {
	list := g.Base + "/bridge/devices"
	g.coordinator, g.Joining, g.Failed = b.coordinator, nil, nil
	g.exposes = make(map[string]groupable, len(b.devices))
	var jobs []*job
	for i, d := range b.devices {
		if d.Interviewing || d.InterviewState == "IN_PROGRESS" {
			g.Joining = append(g.Joining, d.Name)
		} else if d.InterviewState == "FAILED" {
			g.Failed = append(g.Failed, d.Name)
		}
		if e := zigbee2mqtt.Groupable(d); len(e) > 0 {
			g.exposes[d.IEEE] = groupable{d.Hash, e}
		}
		if len(b.specs[i]) > 0 {
			sum := sha256.Sum256(append(d.Hash[:], b.coordinator...))
			jobs = append(jobs, &job{base: g.Base, list: list, key: list + " " + d.IEEE, address: d.IEEE, hash: sum, specs: b.specs[i], inquiry: inquiryOf(g.Base, d)})
		}
	}
	m.plan(g, list, jobs)
	m.groupList(g) // they can what their members can
}

// groupList plans what the groups are now.
func (m *Model) groupList(g *Gateway) {
	list := g.Base + "/bridge/groups"
	var jobs []*job
	for _, group := range g.groups {
		h := sha256.New()
		h.Write(group.Hash[:])
		h.Write([]byte(g.coordinator))
		known := false
		for _, member := range group.Members {
			x := g.exposes[strings.ToLower(member.IEEE)]
			known = known || len(x.exposes) > 0
			h.Write(x.hash[:])
		}
		if !known && len(group.Scenes) == 0 {
			continue
		}
		id := strconv.Itoa(group.ID)
		jobs = append(jobs, &job{base: g.Base, list: list, key: list + " " + id, address: id, hash: [32]byte(h.Sum(nil)), group: group})
	}
	m.plan(g, list, jobs)
}

// plan puts in line what is new in a list and what is not in it any more. What
// was in line for the same list is outdated.
func (m *Model) plan(g *Gateway, list string, jobs []*job) {
	m.jobs = slices.DeleteFunc(m.jobs, func(j *job) bool { return j.list == list })
	keys := make(map[string]bool, len(jobs))
	for _, j := range jobs {
		keys[j.key] = true
	}
	prefix := list + " "
	for _, key := range slices.Sorted(maps.Keys(g.entries)) {
		if strings.HasPrefix(key, prefix) && !keys[key] {
			m.jobs = append(m.jobs, &job{base: g.Base, list: list, key: key, remove: true})
		} else if !strings.HasPrefix(key, prefix) {
			keys[key] = true
		}
	}
	for _, j := range jobs {
		if a := m.owned[j.key]; a == nil || a.hash != j.hash {
			m.jobs = append(m.jobs, j)
		}
	}
	g.entries = keys
}

// work takes the next slice of what is in line.
func (m *Model) work(t *mqtt.Turn) {
	for entities := 0; len(m.jobs) > 0 && entities < sliceEntities; {
		j := m.jobs[0]
		m.jobs = m.jobs[1:]
		if j.rest != nil {
			entities += 1 + m.placeRest(t, j)
			continue
		}
		if j.group != nil {
			j.specs = m.groupSpecs(j)
		}
		entities += 1 + min(len(j.specs), sliceEntities)
		if j.base == shellyBase {
			m.inherit(t, j.specs)
		}
		m.announce(t, j.key, &discovery{specs: j.specs, address: j.address, base: j.base, sliced: j.base != shellyBase,
			message: &homeassistant.Message{Hash: j.hash, Remove: j.remove || len(j.specs) == 0}})
		m.inquireLater(t, j.inquiry)
	}
	if len(m.jobs) == 0 {
		m.jobs = nil
	}
}

func (m *Model) groupSpecs(j *job) []*spec {
	g := m.gateways[j.base]
	if g == nil {
		return nil
	}
	var members [][]zigbee2mqtt.Expose
	for _, member := range j.group.Members {
		members = append(members, g.exposes[strings.ToLower(member.IEEE)].exposes)
	}
	return m.zigbeeSpecs(zigbee2mqtt.DescribeGroup(j.base, g.coordinator, j.group, members))
}

// A request waits for its answer.
type request struct {
	order int
	base  string
	until time.Duration
	done  func(t *mqtt.Turn, err error)
}

// errSilent tells that a gateway did not answer.
var errSilent = errors.New("Zigbee2MQTT has not answered")

// request sends a request to a gateway. done, which may be nil, is called in
// the turn in which the answer comes, or in which it is waited for no longer.
func (m *Model) request(t *mqtt.Turn, base, what string, body map[string]any, done func(*mqtt.Turn, error)) error {
	g := m.gateways[base]
	switch {
	case g == nil:
		return fmt.Errorf("there is no Zigbee2MQTT at %q: %w", cut(base, maxName), ErrUnknown)
	case !g.Online:
		return fmt.Errorf("the Zigbee2MQTT at %s is offline", base)
	case len(m.requests) >= maxRequests:
		return errors.New("too many requests wait for their answer")
	}
	m.transactions++
	id := fmt.Sprintf("lar-%d-%d", t.Number, m.transactions)
	body["transaction"] = id
	payload, err := json.Marshal(body)
	if err != nil {
		return err
	}
	m.requests[id] = &request{order: m.transactions, base: base, until: t.Now.Run + requestWithin, done: done}
	t.Publish(&mqtt.Message{Topic: base + "/bridge/request/" + what, Payload: payload})
	m.ask(t)
	return nil
}

// answered hands an answer to who asked.
func (m *Model) answered(t *mqtt.Turn, base string, r *zigbee2mqtt.Response) {
	q := m.requests[r.Transaction]
	if q == nil || q.base != base {
		return
	}
	delete(m.requests, r.Transaction)
	if q.done != nil {
		q.done(t, r.Err())
	}
}

// tire gives up on requests whose time is over.
func (m *Model) tire(t *mqtt.Turn) {
	for _, id := range slices.SortedFunc(maps.Keys(m.requests), m.earlier) {
		q := m.requests[id]
		if t.Now.Run < q.until {
			continue
		}
		delete(m.requests, id)
		if q.done != nil {
			q.done(t, errSilent)
		}
	}
}

// earlier orders requests as they were made.
func (m *Model) earlier(a, b string) int {
	return cmp.Or(cmp.Compare(m.requests[a].until, m.requests[b].until), cmp.Compare(m.requests[a].order, m.requests[b].order))
}

// PermitJoin lets new devices join the Zigbee network of a gateway for a time,
// 254 s at most; 0 ends it. done is told in a later turn how it went; it may
// be nil and obeys the rules of mqtt.Consumer.Accept.
func (m *Model) PermitJoin(t *mqtt.Turn, base string, d time.Duration, done func(*mqtt.Turn, error)) error {
	if d < 0 || d > maxJoin {
		return fmt.Errorf("devices may join for %v at most", maxJoin)
	}
	return m.request(t, base, "permit_join", map[string]any{"time": int(d.Seconds())}, done)
}

// Rename gives a Zigbee device or group another name in its gateway, and so
// its topics another name. Entities keep their IDs. (SetName is what people
// call a device here; it changes nothing at the gateway.)
func (m *Model) Rename(t *mqtt.Turn, deviceID, name string, done func(*mqtt.Turn, error)) error {
	d, what, id, err := m.zigbeeDevice(deviceID)
	if err != nil {
		return err
	}
	name = strings.TrimSpace(name)
	if err := checkName(name); err != nil {
		return err
	}
	if p := topicProblem(name); p != "" || strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || strings.HasPrefix(name, "bridge") {
		return errors.New("a name in Zigbee2MQTT is part of topics: it has no + and #, and does not begin or end with a slash")
	}
	return m.request(t, d.base, what+"/rename", map[string]any{"from": id, "to": name}, done)
}

// Remove takes a Zigbee device out of its network, or ends a group. With force
// the gateway forgets a device that does not answer any more.
func (m *Model) Remove(t *mqtt.Turn, deviceID string, force bool, done func(*mqtt.Turn, error)) error {
	d, what, id, err := m.zigbeeDevice(deviceID)
	if err != nil {
		return err
	}
	body := map[string]any{"id": id}
	if force {
		body["force"] = true
	}
	return m.request(t, d.base, what+"/remove", body, done)
}

// zigbeeDevice finds what a gateway has under a device's ID: its kind there
// and its address or number.
func (m *Model) zigbeeDevice(deviceID string) (d *device, what string, id any, err error) {
	d = m.devices[deviceID]
	if d == nil {
		return nil, "", nil, fmt.Errorf("device %q: %w", cut(deviceID, maxName), ErrUnknown)
	}
	g := m.gateways[d.base]
	if !d.gatewayed() || g == nil || d.address == g.coordinator {
		return nil, "", nil, errors.New("it is not a device of a Zigbee2MQTT")
	}
	if n, err := strconv.Atoi(d.address); err == nil {
		return d, "group", n, nil
	}
	return d, "device", d.address, nil
}
