package automations

import (
	"cmp"
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"time"
)

// stored is what was found of one rule in the store.
type stored struct {
	head     *headRecord
	versions []*Rule
	memory   map[int]*memoryRecord
	waiting  []*waitingRecord
	runs     []*runRecord
	notRuns  []*runRecord
	origins  map[int]origin
	vars     map[string]any
	out      []*Outgoing
	topics   map[uint64][]*topicRecord // by trigger
	limit    []time.Time
	commands []*unconfirmed
}

// load reads everything from the store.
func (e *Engine) load() error {
	found := map[string]*stored{}
	e.scenes = map[string]*SceneKept{}
	err := e.scan([]byte{prefix}, nil, func(k, v []byte) bool {
		kind, id, rest, ok := splitKey(k)
		if !ok {
			e.log.Error("automation record with a bad key left out", "err", fmt.Sprintf("%q", k))
			return true
		}
		if kind == recScene {
			if r, err := decodeRecord(v, func(r *sceneRecord) int { return r.Format }); err == nil && r.Scene != nil && r.Scene.ID == id {
				e.scenes[id] = r.Scene
			} else {
				e.log.Error("scene left out", "scene", id, "err", err)
			}
			return true
		}
		s := found[id]
		if s == nil {
			s = &stored{memory: map[int]*memoryRecord{}, origins: map[int]origin{}}
			found[id] = s
		}
		if err := s.read(kind, rest, v); err != nil {
			e.log.Error("automation record left out", "rule", id, "err", fmt.Sprintf("record %c: %v", kind, err))
		}
		return true
	})
	if err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(found)) {
		s := found[id]
		e.out = append(e.out, s.out...)
		e.restoreCommands(id, s.commands)
		if s.head == nil && len(s.out)+len(s.commands) > 0 && len(s.versions) == 0 {
			continue // of a rule that is gone
		}
		if err := e.adopt(id, s); err != nil {
			e.damaged[id] = true
			e.log.Error("automation left out", "rule", id, "err", err)
		}
	}
	slices.SortStableFunc(e.out, func(a, b *Outgoing) int { return a.Made.Compare(b.Made) })
	e.showOutgoing()
	e.showScenes()
	slices.SortFunc(e.unplaced, func(a, b *deadline) int { return a.wall.Compare(b.wall) })
	return nil
}

// read takes in one record.
func (s *stored) read(kind byte, rest, v []byte) (err error) {
	switch kind {
	case recHead:
		s.head, err = decodeRecord(v, func(r *headRecord) int { return r.Format })
	case recVersion:
		var r *versionRecord
		r, err = decodeRecord(v, func(r *versionRecord) int { return r.Format })
		if err == nil && (r.Rule == nil || len(rest) != 4 || r.Rule.Version != int(binary.BigEndian.Uint32(rest))) {
			err = fmt.Errorf("version does not fit its key")
		}
		if err == nil {
			s.versions = append(s.versions, r.Rule)
		}
	case recMemory:
		var r *memoryRecord
		r, err = decodeRecord(v, func(r *memoryRecord) int { return r.Format })
		if err == nil && len(rest) == 1 {
			s.memory[int(rest[0])] = r
		}
	case recWaiting:
		var r *waitingRecord
		r, err = decodeRecord(v, func(r *waitingRecord) int { return r.Format })
		if err == nil && r.Run == nil {
			err = fmt.Errorf("no run")
		}
		if err == nil {
			s.waiting = append(s.waiting, r)
		}
	case recRun, recNotRun:
		var r *runRecord
		r, err = decodeRecord(v, func(r *runRecord) int { return r.Format })
		if err == nil && r.Run == nil {
			err = fmt.Errorf("no run")
		}
		if err == nil && kind == recRun {
			s.runs = append(s.runs, r)
		} else if err == nil {
			s.notRuns = append(s.notRuns, r)
		}
	case recVariables:
		var r *variablesRecord
		r, err = decodeRecord(v, func(r *variablesRecord) int { return r.Format })
		if err == nil {
			s.vars = r.Values
		}
	case recOrigin:
		var o origin
		o, err = decodeOrigin(v)
		if err == nil && len(rest) == 1 && rest[0] < maxOrigins {
			s.origins[int(rest[0])] = o
		}
	case recTopic:
		var r *topicRecord
		r, err = decodeRecord(v, func(r *topicRecord) int { return r.Format })
		if err == nil && len(rest) == 16 {
			if s.topics == nil {
				s.topics = map[uint64][]*topicRecord{}
			}
			of := binary.BigEndian.Uint64(rest)
			s.topics[of] = append(s.topics[of], r)
		}
	case recLimit:
		var r *limitRecord
		r, err = decodeRecord(v, func(r *limitRecord) int { return r.Format })
		if err == nil {
			s.limit = r.Times
		}
	case recCommand:
		var r *unconfirmedRecord
		r, err = decodeRecord(v, func(r *unconfirmedRecord) int { return r.Format })
		if err == nil && (r.Command == nil || len(r.Command.Wanted) == 0 && !r.Command.Held) {
			err = fmt.Errorf("no command")
		}
		if err == nil {
			r.Command.key = string(rest)
			s.commands = append(s.commands, r.Command)
		}
	case recOutgoing:
		var r *outgoingRecord
		r, err = decodeRecord(v, func(r *outgoingRecord) int { return r.Format })
		if err == nil && (r.Out == nil || r.Out.Key != string(rest) || r.Out.Notify == nil && r.Out.HTTP == nil) {
			err = fmt.Errorf("nothing to be sent")
		}
		if err == nil {
			s.out = append(s.out, r.Out)
		}
	default:
		err = fmt.Errorf("unknown kind")
	}
	return err
}

// adopt makes a rule of what was found of it.
func (e *Engine) adopt(id string, s *stored) error {
	if s.head == nil {
		return fmt.Errorf("its head is missing")
	}
	slices.SortFunc(s.versions, func(a, b *Rule) int { return cmp.Compare(a.Version, b.Version) })
	r := &rule{id: id, versions: s.versions, enabled: s.head.Enabled, paused: s.head.Paused, deleted: s.head.Deleted}
	r.def = r.version(s.head.Version)
	if r.def == nil {
		return fmt.Errorf("its version %d is missing", s.head.Version)
	}
	if problems := r.def.Validate(nil); invalid(problems) {
		return &InvalidError{problems} // written by a later Lar, perhaps
	}
	r.vars = s.vars
	r.declare(r.def)
	e.precompile(r.def)
	r.memory, r.plans = make([]memory, len(r.def.Triggers)), e.plansOf(r.def)
	if r.live() {
		r.selvesBefore = s.limit
		for i := range r.memory {
			if len(s.topics) > 0 {
				r.memory[i].restoreTopics(s.topics[hashOfTrigger(&r.def.Triggers[i])])
			}
		}
		for i := range r.memory {
			if m := s.memory[i]; m != nil {
				r.memory[i] = memory{known: true, holds: m.Holds, fired: m.Fired, value: m.Value, topics: r.memory[i].topics}
				if m.Last != nil {
					r.memory[i].last = *m.Last
				}
				if m.Deadline != nil {
					r.memory[i].deadline = e.restored(*m.Deadline, &deadline{rule: r, trigger: i})
				}
			}
		}
	}
	r.runs, r.runOrder, r.seq = traces(s.runs, r.seq)
	for _, record := range s.runs {
		r.slots[record.Order%MaxRuns] = record.Run.Seq
	}
	var skipped []*Run
	skipped, r.notRunOrder, r.seq = traces(s.notRuns, r.seq)
	r.skips.restore(skipped)

	slices.SortFunc(s.waiting, func(a, b *waitingRecord) int { return cmp.Compare(a.Run.Seq, b.Run.Seq) })
	for _, record := range s.waiting {
		def := r.version(record.Run.Version)
		if def == nil || invalid(def.Validate(nil)) {
			e.log.Error("waiting run left out", "rule", id, "err", "its version is missing or cannot be used")
			continue
		}
		w := &waiting{
			run: record.Run, rule: r, def: def, before: record.Before, told: record.Told, kept: true, captured: record.Captured, vars: record.Vars,
			key: record.Key, queued: record.Queued,
			topic: record.Topic, payload: record.Payload, value: record.Value, entity: record.Entity, tooBig: record.TooBig,
		}
		if err := e.restoreThreads(w, record); err != nil {
			e.log.Error("waiting run left out", "rule", id, "err", err)
			continue
		}
		r.waiting = append(r.waiting, w)
		r.seq = max(r.seq, w.run.Seq)
		r.runs = insert(r.runs, w.run, MaxRuns)
	}
	for slot, o := range s.origins {
		if n := slot + 1 - len(r.origins); n > 0 {
			r.origins = append(r.origins, make([]origin, n)...)
		}
		r.origins[slot] = o
	}
	e.add(r)
	return nil
}

// restored returns a deadline as it was written; it is placed at the first
// Wake.
func (e *Engine) restored(record deadlineRecord, d *deadline) *deadline {
	d.wall, d.trusted, d.at = record.Wall, record.Trusted, -1
	d.after = min(max(time.Duration(record.After), 0), MaxDuration)
	e.unplaced = append(e.unplaced, d)
	return d
}

// traces orders what was found of a rule's traces, and returns the number of
// the next record.
func traces(records []*runRecord, seq uint64) (runs []*Run, next, highest uint64) {
	for _, record := range records {
		runs = append(runs, record.Run)
		next = max(next, record.Order+1)
		seq = max(seq, record.Run.Seq)
	}
	slices.SortFunc(runs, newestFirst)
	return runs, next, seq
}
