package automations

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"time"

	"lar.home/mqtt"
)

// Records of this package have keys that begin with 'u', the kind of record,
// and the rule's ID after its length. Values are JSON with their format; the
// store below adds its own checksum.
const (
	prefix = 'u'

	recHead      = 'r' // the rule: its version now, on or off, paused, deleted
	recVersion   = 'v' // + version: what the rule said in it
	recMemory    = 'm' // + index of the trigger: whether it holds
	recWaiting   = 'w' // + run ID: a run that waits, all it needs to go on
	recRun       = 'n' // + slot: the trace of a run that ended
	recNotRun    = 'x' // + slot: the trace of a trigger that ran nothing
	recVariables = 'd' // durable variables
	recOrigin    = 'o' // + slot: a QoS 1 message that had a run
	recTopic     = 'c' // + trigger, topic: what was there before
	recLimit     = 'l' // when the rule set itself off
	recScene     = 's' // the ID is the scene's: how entities were
	recCommand   = 'k' // + key: a command that its entity has not confirmed
	recOutgoing  = 'q' // + key: a notification or a request that waits to be sent

	format = 1
)

type headRecord struct {
	Format  int    `json:"v"`
	Version int    `json:"version"`
	Enabled bool   `json:"enabled"`
	Paused  string `json:"paused,omitempty"`
	Deleted *Saved `json:"deleted,omitempty"`
}

type versionRecord struct {
	Format int   `json:"v"`
	Rule   *Rule `json:"rule"`
}

// A deadlineRecord keeps an elapsed deadline across a boot: as a wall time,
// with the trust the clock had, and the whole time, for a clock without it.
type deadlineRecord struct {
	Wall    time.Time `json:"wall"`
	Trusted bool      `json:"trusted"`
	After   Duration  `json:"after"`
}

type memoryRecord struct {
	Format   int             `json:"v"`
	Holds    bool            `json:"holds"`
	Fired    bool            `json:"fired"`
	Value    string          `json:"value,omitempty"`
	Last     *time.Time      `json:"last,omitempty"` // of a trigger of the clock, or of a silence
	Deadline *deadlineRecord `json:"deadline,omitempty"`
}

type waitingRecord struct {
	Format   int               `json:"v"`
	Run      *Run              `json:"run"`
	Step     int               `json:"step,omitempty"` // the action that comes next, in records without At
	Key      string            `json:"key,omitempty"`
	Queued   bool              `json:"queued,omitempty"`
	At       []frame           `json:"at,omitempty"` // of a run without branches, in older records
	Threads  []threadRecord    `json:"threads,omitempty"`
	Before   []string          `json:"before,omitempty"`
	Told     []string          `json:"told,omitempty"`
	Captured map[string]string `json:"captured,omitempty"`
	Vars     map[string]any    `json:"vars,omitempty"`
	Deadline deadlineRecord    `json:"deadline,omitzero"` // with At
	// What the words of a publish action stand for.
	Topic   string `json:"topic,omitempty"`
	Payload []byte `json:"payload,omitempty"`
	Value   []byte `json:"value,omitempty"`
	Entity  string `json:"entity,omitempty"`
	TooBig  bool   `json:"toobig,omitempty"` // Payload was not kept
}

type variablesRecord struct {
	Format int            `json:"v"`
	Values map[string]any `json:"values"`
}

type runRecord struct {
	Format int    `json:"v"`
	Order  uint64 `json:"n"` // of the traces of a rule, as they were written
	Run    *Run   `json:"run"`
}

// An origin is a QoS 1 publish that a rule has run for.
type origin struct {
	mqtt.Origin
	hash uint64 // of topic and payload
}

func (o origin) encode() []byte {
	b := []byte{format}
	b = binary.BigEndian.AppendUint32(b, o.Session)
	b = binary.BigEndian.AppendUint16(b, o.PacketID)
	return binary.BigEndian.AppendUint64(b, o.hash)
}

func decodeOrigin(b []byte) (origin, error) {
	if len(b) != 15 || b[0] != format {
		return origin{}, fmt.Errorf("origin of %d bytes", len(b))
	}
	return origin{
		Origin: mqtt.Origin{Session: binary.BigEndian.Uint32(b[1:]), PacketID: binary.BigEndian.Uint16(b[5:])},
		hash:   binary.BigEndian.Uint64(b[7:]),
	}, nil
}

// maxHashed bounds how much of a payload counts at either end, so that a long
// one costs no more time in a turn.
const maxHashed = 8 << 10

// hashOf is FNV-1a over topic and payload, the same in every process.
func hashOf(topic string, payload []byte) uint64 {
	const prime = 1099511628211
	h := uint64(14695981039346656037)
	for i := range len(topic) {
		h = (h ^ uint64(topic[i])) * prime
	}
	h = (h ^ uint64(len(payload))) * prime
	head, tail := payload, []byte(nil)
	if len(payload) > 2*maxHashed {
		head, tail = payload[:maxHashed], payload[len(payload)-maxHashed:]
	}
	for _, part := range [][]byte{head, tail} {
		for _, b := range part {
			h = (h ^ uint64(b)) * prime
		}
	}
	return h
}

func key(kind byte, id string, more ...byte) []byte {
	k := make([]byte, 0, 3+len(id)+len(more))
	k = append(k, prefix, kind, byte(len(id)))
	k = append(k, id...)
	return append(k, more...)
}

func versionKey(id string, version int) []byte {
	return key(recVersion, id, binary.BigEndian.AppendUint32(nil, uint32(version))...)
}

// splitKey takes a key apart; ok is false for one that is none of ours.
func splitKey(k []byte) (kind byte, id string, rest []byte, ok bool) {
	if len(k) < 3 || k[0] != prefix || len(k) < 3+int(k[2]) {
		return 0, "", nil, false
	}
	id = string(k[3 : 3+int(k[2])])
	return k[1], id, k[3+len(id):], validID(id)
}

// encode returns the JSON of a record.
func encode(record any) []byte {
	b, err := json.Marshal(record)
	if err != nil { // no record holds what JSON cannot
		panic(fmt.Sprintf("automations: encode %T: %v", record, err))
	}
	return b
}

// decodeRecord reads a record and checks its format.
func decodeRecord[R any](b []byte, formatOf func(*R) int) (*R, error) {
	r := new(R)
	if err := json.Unmarshal(b, r); err != nil {
		return nil, err
	}
	if f := formatOf(r); f != format {
		return nil, fmt.Errorf("format %d is not known", f)
	}
	return r, nil
}
