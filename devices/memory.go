package devices

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"lar.home/mqtt"
)

// maxRemembered is how many entities, here or gone, are remembered; beyond it
// what goes is forgotten at once.
const maxRemembered = 2 * MaxEntitiesTotal

// keepGone is how long the identity and the person's settings of what is gone
// are kept: gateways rename by removing and adding.
const keepGone = 30 * 24 * time.Hour

// A memory is what the model keeps over a restart, apart from what devices say
// again by themselves. Its records are JSON under 'd' and a letter:
//
//	i  identity of an entity → its ID
//	d  device ID → its identifiers
//	p  device or entity ID → what a person set
//	v  entity ID → last values (written lazily)
//	h  device ID → when it spoke (written lazily)
//	t  device ID → that it was forgotten
//	g  group ID → its name and members
//	a  name of a room → its floor and icon
//	s  topic prefix of a Shelly → what it is, as it does not say that itself
//	m  identity of an entity → the one that it goes by, from another source
type memory struct {
	ids     map[string]*identity // by identity
	owners  map[string]string    // entity ID → identity
	known   map[string]string    // device identifier → device ID
	devices map[string]*deviceRecord
	persons map[string]*Personal
	values  map[string][]byte // of entities that have not appeared yet
	healths map[string][]byte // of devices that have not appeared yet
	tombs   map[string]*tomb
	groups  map[string]*Group // by ID
	areas   map[string]*Area  // by name
	aliases map[string]string // identities that entities go by, by their own
	waiting map[string][]string

	shellies map[string]keptShelly // by topic prefix, until they are restored

	sweepAt time.Duration
	forgot  func(t *mqtt.Turn, entityID string) // an entity is forgotten for good; may be nil
}

// An identity is the record of an entity ID.
type identity struct {
	ID   string `json:"id"`
	Gone int64  `json:"gone,omitempty"` // unix milliseconds; 0: it is here
}

type deviceRecord struct {
	Identifiers []string `json:"ids"`
	Client      string   `json:"client,omitempty"` // that speaks for it
	Identity    string   `json:"who,omitempty"`    // as whom that came
	Gone        int64    `json:"gone,omitempty"`
}

func (m *memory) init() {
	m.ids = map[string]*identity{}
	m.owners = map[string]string{}
	m.known = map[string]string{}
	m.devices = map[string]*deviceRecord{}
	m.persons = map[string]*Personal{}
	m.values = map[string][]byte{}
	m.healths = map[string][]byte{}
	m.tombs = map[string]*tomb{}
	m.groups = map[string]*Group{}
	m.areas = map[string]*Area{}
	m.aliases = map[string]string{}
	m.waiting = map[string][]string{}
	m.shellies = map[string]keptShelly{}
}

// recordKey is 'd', a letter and the length-prefixed name.
func recordKey(letter byte, name string) []byte {
	key := binary.BigEndian.AppendUint16([]byte{'d', letter}, uint16(len(name)))
	return append(key, name...)
}

// load reads all records. One that cannot be read is left out: what it held
// is found again or set again.
func (m *memory) load(scan func(prefix, from []byte, fn func(key, value []byte) bool) error) error {
	return scan([]byte{'d'}, nil, func(key, value []byte) bool {
		if len(key) < 4 || int(binary.BigEndian.Uint16(key[2:])) != len(key)-4 {
			return true
		}
		name := string(key[4:])
		switch key[1] {
		case 'i':
			r := &identity{}
			if json.Unmarshal(value, r) == nil && r.ID != "" && m.owners[r.ID] == "" {
				m.ids[name], m.owners[r.ID] = r, name
			}
		case 'd':
			r := &deviceRecord{}
			if json.Unmarshal(value, r) == nil {
				m.devices[name] = r
				for _, ident := range r.Identifiers {
					m.known[ident] = name
				}
			}
		case 'p':
			r := &Personal{}
			if json.Unmarshal(value, r) == nil {
				m.persons[name] = r
			}
		case 'v':
			m.values[name] = slices.Clone(value)
		case 't':
			tb := &tomb{id: name, at: UndoWithin}
			if json.Unmarshal(value, tb) == nil {
				m.tombs[name] = tb
			}
		case 'g':
			g := &Group{}
			if json.Unmarshal(value, g) == nil && len(m.groups) < MaxGroups {
				g.ID = name
				m.groups[name] = g
			}
		case 'a':
			a := &Area{}
			if json.Unmarshal(value, a) == nil && len(m.areas) < MaxAreas {
				a.Name = name
				m.areas[name] = a
			}
		case 'm':
			var as string
			if json.Unmarshal(value, &as) == nil && as != "" {
				m.aliases[name] = as
			}
		case 's':
			if k, ok := parseKeptShelly(name, value); ok && len(m.shellies) < MaxDevices {
				m.shellies[name] = k
			}
		case 'h':
			m.healths[name] = slices.Clone(value)
		}
		return true
	})
}

// write makes a record durable with the turn.
func write(t *mqtt.Turn, letter byte, name string, record any) {
	value, err := json.Marshal(record)
	if err != nil {
		return // plain structs of texts and numbers: it cannot happen
	}
	t.Write(recordKey(letter, name), value)
}

// entityID returns the ID that an identity has, or "".
func (m *memory) entityID(ident string) string {
	if r := m.ids[ident]; r != nil {
		return r.ID
	}
	return ""
}

// assign gives an entity its ID: the one it had, or a new one from what its
// description suggests.
func (m *memory) assign(t *mqtt.Turn, s *spec, device string, taken func(id string) bool) string {
	if r := m.ids[s.identity]; r != nil {
		if r.Gone != 0 {
			r.Gone = 0
			write(t, 'i', s.identity, r)
		}
		return r.ID
	}
	base := string(s.kind) + "." + slugOf(s, device)
	id := base
	for i := 2; taken(id) || m.owners[id] != ""; i++ {
		id = base + "_" + strconv.Itoa(i)
	}
	m.ids[s.identity], m.owners[id] = &identity{ID: id}, s.identity
	write(t, 'i', s.identity, m.ids[s.identity])
	return id
}

// alias has an entity go by another identity from now on.
func (m *memory) alias(t *mqtt.Turn, ident, as string) {
	m.aliases[ident] = as
	write(t, 'm', ident, as)
}

// gone notes that an entity is not there any more.
func (m *memory) gone(t *mqtt.Turn, n *node) {
	r := m.ids[n.spec.identity]
	if r == nil {
		return
	}
	if len(m.ids) > maxRemembered {
		m.forget(t, n.spec.identity, r)
		return
	}
	r.Gone = t.Now.Wall.UnixMilli()
	write(t, 'i', n.spec.identity, r)
	if slices.ContainsFunc(n.live.Load().Readings, func(r Reading) bool { return r.Value.Known() }) {
		m.values[n.id] = encodeValues(t.Now, n)
	}
}

// deviceID returns the ID of the device with an identifier, or "".
func (m *memory) deviceID(ident string) string { return m.known[ident] }

// deviceID makes the ID of a device from its first identifier.
func deviceID(ident string) string {
	sum := sha256.Sum256([]byte(ident))
	return hex.EncodeToString(sum[:8])
}

// maxIdentifiers is how many identifiers of a device are remembered.
const maxIdentifiers = 64

// identify remembers the identifiers of a device.
func (m *memory) identify(t *mqtt.Turn, id string, identifiers []string) {
	r := m.devices[id]
	if r == nil {
		r = &deviceRecord{}
		m.devices[id] = r
	}
	n, gone := len(r.Identifiers), r.Gone
	r.Gone = 0
	for _, ident := range identifiers {
		if m.known[ident] == "" && len(r.Identifiers) < maxIdentifiers {
			m.known[ident] = id
			r.Identifiers = append(r.Identifiers, ident)
		}
	}
	if len(r.Identifiers) != n || gone != 0 {
		write(t, 'd', id, r)
	}
}

// wait remembers that a device hangs on one that is not known yet.
func (m *memory) wait(ident, device string) {
	if list := m.waiting[ident]; !slices.Contains(list, device) && len(m.waiting) < MaxDevices {
		m.waiting[ident] = append(list, device)
	}
}

func (m *memory) takeWaiting(ident string) []string {
	list := m.waiting[ident]
	delete(m.waiting, ident)
	return list
}
