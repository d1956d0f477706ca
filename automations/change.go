package automations

import (
	"reflect"
	"slices"
	"strconv"
	"time"

	"lar.home/mqtt"
)

// Save stores a rule as a new version and puts it in service. A rule whose
// version basedOn is 0 is a new one; its ID is made of its name unless it
// brings one. For any other, basedOn is the version the change was made on: a
// [*StaleError] says that it is not the newest any more. Runs that wait follow
// the version they began with to their end. A state trigger that is the same
// as before keeps its memory.
func (e *Engine) Save(t *mqtt.Turn, given Rule, by string, basedOn int) (*Rule, error) {
	return e.SaveAnd(t, given, by, basedOn, Finish)
}

// SaveAnd is Save, and does with the runs that wait as fate says.
func (e *Engine) SaveAnd(t *mqtt.Turn, given Rule, by string, basedOn int, fate Fate) (*Rule, error) {
	e.enter(t)
	defer e.leave(t)
	if err := e.ready(); err != nil {
		return nil, err
	}
	r, err := e.forSave(&given, basedOn)
	if err != nil {
		return nil, err
	}
	h := e.house()
	problems := given.validate(h, e.program)
	if invalid(problems) {
		return nil, &InvalidError{Problems: problems}
	}
	if path := given.followsSun(); path != "" && !e.home.Known {
		return nil, &InvalidError{Problems: []Problem{{Path: path, Text: "Nothing can follow the sun yet: Lar does not know where the home is."}}}
	}
	// What is kept is ours alone: whoever called may change theirs.
	def, err := Decode(given.Encode())
	if err != nil {
		return nil, &InvalidError{Problems: []Problem{{Text: err.Error()}}}
	}
	if r == nil {
		if len(e.rules) >= MaxRules {
			return nil, ErrTooMany
		}
		if def.ID == "" {
			def.ID = e.freeID(def.Name)
		}
		r = &rule{id: def.ID}
	}
	old := r.def
	if def.Text == "" && old != nil {
		def.Text = old.Text // a form leaves comments alone: see Rule.YAML
	}
	def.ID, def.Version, def.Saved = r.id, basedOn+1, Saved{By: clip(by), At: t.Now.Wall.Round(0)}
	wasLive := old != nil && r.live()
	r.enabled, r.paused = def.Enabled, ""
	r.versions = append(slices.Clone(r.versions), &def)
	t.Write(versionKey(r.id, def.Version), encode(&versionRecord{Format: format, Rule: &def}))
	e.dropVersions(t, r)
	r.declare(&def)
	e.precompile(&def)
	e.setTriggers(t, r, &def, wasLive)
	if !r.enabled {
		e.stopAll(t, r, "The automation was switched off by "+clip(by)+".")
	}
	e.settle(t, r, &def, fate)
	e.keepHead(t, r)
	e.show(r)
	r.shown.Load().checked.last.Store(&verdict{h, problems})
	if old == nil {
		e.add(r)
	}
	if old == nil || old.Name != def.Name {
		e.showNamed(r)
	}
	e.rewire(t, r)
	return r.shown.Load().rule(e.house()), nil
}

// forSave finds the rule a save is for; nil for a new one.
func (e *Engine) forSave(given *Rule, basedOn int) (*rule, error) {
	if basedOn == 0 {
		if given.ID != "" && (e.rules[given.ID] != nil || e.damaged[given.ID]) {
			return nil, ErrIDTaken
		}
		return nil, nil
	}
	r := e.rules[given.ID]
	switch {
	case r == nil:
		return nil, ErrNotFound
	case r.deleted != nil:
		return nil, ErrDeleted
	case r.def.Version != basedOn:
		return nil, &StaleError{Current: r.shown.Load().rule(e.house())}
	}
	return r, nil
}

// setTriggers puts a version in service. A trigger that stays keeps its memory.
func (e *Engine) setTriggers(t *mqtt.Turn, r *rule, def *Rule, wasLive bool) {
	old, before := r.def, r.memory
	memories := make([]memory, len(def.Triggers))
	from := make([]int, len(def.Triggers))
	taken := make([]bool, len(before))
	for i := range def.Triggers {
		from[i] = -1
		for j := range before {
			if wasLive && r.live() && !taken[j] && reflect.DeepEqual(old.Triggers[j], def.Triggers[i]) {
				from[i], taken[j], memories[i] = j, true, before[j]
				break
			}
		}
	}
	for j := range before {
		if !taken[j] {
			e.cancel(before[j].deadline)
			forgetTopics(t, r, old, j, before[j].topics)
		}
		if before[j].known && (j >= len(from) || from[j] != j) {
			t.Write(key(recMemory, r.id, byte(j)), nil)
		}
	}
	r.def, r.memory, r.plans = def, memories, e.plansOf(def)
	for i := range def.Triggers {
		switch {
		case from[i] >= 0:
			if d := memories[i].deadline; d != nil {
				d.trigger = i
			}
			if from[i] != i && memories[i].known {
				e.keepMemory(t, r, i)
			}
		case r.live():
			e.baseline(t, r, i)
		}
	}
}

// dropVersions bounds how many versions are kept, except those that runs
// which wait still follow.
func (e *Engine) dropVersions(t *mqtt.Turn, r *rule) {
	for i := 0; len(r.versions) > MaxVersions && i < len(r.versions)-1; {
		v := r.versions[i]
		if slices.ContainsFunc(r.waiting, func(w *waiting) bool { return w.def == v }) {
			i++
			continue
		}
		t.Write(versionKey(r.id, v.Version), nil)
		r.versions = slices.Delete(r.versions, i, i+1)
	}
}

// SetEnabled switches a rule on or off. Off stops its runs that wait; on ends
// a pause, and only what happens from then on triggers.
func (e *Engine) SetEnabled(t *mqtt.Turn, id string, on bool, by string) error {
	e.enter(t)
	defer e.leave(t)
	r, err := e.find(id)
	if err != nil {
		return err
	}
	wasLive := r.live()
	r.enabled = on
	if on {
		r.paused = ""
	} else {
		e.stopAll(t, r, "The automation was switched off by "+clip(by)+".")
	}
	e.changeLive(t, r, wasLive)
	return nil
}

// Delete takes a rule out of service and stops its runs that wait. It can be
// restored for KeepDeleted.
func (e *Engine) Delete(t *mqtt.Turn, id, by string) error {
	e.enter(t)
	defer e.leave(t)
	r, err := e.find(id)
	if err != nil {
		return err
	}
	wasLive := r.live()
	e.stopAll(t, r, "The automation was deleted by "+clip(by)+".")
	r.deleted = &Saved{By: clip(by), At: t.Now.Wall.Round(0)}
	e.changeLive(t, r, wasLive)
	e.purge(t)
	return nil
}

// Restore brings a deleted rule back, on or off as it was.
func (e *Engine) Restore(t *mqtt.Turn, id, by string) error {
	e.enter(t)
	defer e.leave(t)
	if err := e.ready(); err != nil {
		return err
	}
	r := e.rules[id]
	if r == nil {
		return ErrNotFound
	}
	if r.deleted != nil {
		r.deleted = nil
		e.changeLive(t, r, false)
		e.log.Info("automation restored", "rule", id, "by", by)
	}
	return nil
}

// RunNow starts a rule by hand, also one that is off. Its conditions are not
// asked; its mode counts as for any other trigger.
func (e *Engine) RunNow(t *mqtt.Turn, id, by string) (*Run, error) {
	e.enter(t)
	defer e.leave(t)
	r, err := e.find(id)
	if err != nil {
		return nil, err
	}
	run := e.trigger(t, r, &event{cause: Cause{Kind: ByHand, By: clip(by)}, durable: true, unconditional: true})
	if run == nil {
		run = r.skips.last(r)
	}
	return run, nil
}

// find returns the rule that is to be changed or run.
func (e *Engine) find(id string) (*rule, error) {
	if err := e.ready(); err != nil {
		return nil, err
	}
	r := e.rules[id]
	switch {
	case r == nil:
		return nil, ErrNotFound
	case r.deleted != nil:
		return nil, ErrDeleted
	}
	return r, nil
}

// changeLive follows a rule that may have come into or out of service.
func (e *Engine) changeLive(t *mqtt.Turn, r *rule, was bool) {
	switch is := r.live(); {
	case is && !was:
		for i := range r.memory {
			e.baseline(t, r, i)
		}
	case was && !is:
		e.forget(t, r)
	}
	e.keepHead(t, r)
	e.show(r)
	e.rewire(t, r)
}

func (e *Engine) stopAll(t *mqtt.Turn, r *rule, why string) {
	for len(r.waiting) > 0 {
		e.stop(t, r.waiting[0], why)
	}
}

func (e *Engine) keepHead(t *mqtt.Turn, r *rule) {
	t.Write(key(recHead, r.id), encode(&headRecord{
		Format:  format,
		Version: r.def.Version,
		Enabled: r.enabled,
		Paused:  r.paused,
		Deleted: r.deleted,
	}))
}

// freeID makes an ID of a name that no rule has.
func (e *Engine) freeID(name string) string {
	base := slug(name)
	id := base
	for n := 2; e.rules[id] != nil || e.damaged[id]; n++ {
		id = base + "-" + strconv.Itoa(n)
	}
	return id
}

// purgeEvery is how often rules deleted long ago are looked for, at most.
const purgeEvery = time.Hour

// purge drops what was deleted long ago, a rule a turn. It needs a clock that
// can be trusted.
func (e *Engine) purge(t *mqtt.Turn) {
	if !t.Now.Trusted || t.Now.Run < e.purgeAt {
		return
	}
	e.purgeAt = t.Now.Run + purgeEvery
	var oldest *rule
	for _, r := range e.rules {
		if r.deleted != nil && t.Now.Wall.Sub(r.deleted.At) > KeepDeleted &&
			(oldest == nil || r.deleted.At.Before(oldest.deleted.At) || r.deleted.At.Equal(oldest.deleted.At) && r.id < oldest.id) {
			oldest = r
		}
	}
	if oldest == nil {
		return
	}
	id := oldest.id
	t.Write(key(recHead, id), nil)
	for _, v := range oldest.versions {
		t.Write(versionKey(id, v.Version), nil)
	}
	for slot := range MaxRuns {
		t.Write(key(recRun, id, byte(slot)), nil)
	}
	for slot := range MaxNotRuns {
		t.Write(key(recNotRun, id, byte(slot)), nil)
	}
	t.Write(key(recVariables, id), nil)
	t.Write(key(recLimit, id), nil)
	for slot := range oldest.origins {
		t.Write(key(recOrigin, id, byte(slot)), nil)
	}
	e.dropTraces(oldest)
	e.remove(oldest)
	e.showAll()
	e.purgeAt, e.now.again = t.Now.Run, true // there may be another
}
