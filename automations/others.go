package automations

import (
	"slices"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A RuleTrigger comes true when a run of another rule has ended in one of some
// ways; none named is Done.
type RuleTrigger struct {
	ID      string    `json:"id"`
	Outcome []Outcome `json:"outcome,omitempty"`
}

// A RuleCondition asks how a rule is: Running, Idle, IsEnabled or IsDisabled.
type RuleCondition struct {
	ID string `json:"id"`
	Is string `json:"is"`
}

// What a rule can be.
const (
	Running    = "running" // a run of it is under way
	Idle       = "idle"
	IsEnabled  = "enabled"
	IsDisabled = "disabled" // or paused, or deleted
)

// A HomeCondition asks who is home: Anyone, Nobody or Everyone of some device
// trackers, or of all.
type HomeCondition struct {
	Is string   `json:"is"`
	Of []string `json:"of,omitempty"`
}

// Who can be home.
const (
	Anyone   = "anyone"
	Nobody   = "nobody"
	Everyone = "everyone"
)

// A Limit is how often a rule may set itself off, directly or through others.
type Limit struct {
	Runs   int      `json:"runs"`
	Within Duration `json:"within"`
}

// usualLimit is that of a rule that says nothing.
var usualLimit = Limit{60, Duration(time.Minute)}

// A laterEvent triggers a rule at the end of what is being done.
type laterEvent struct {
	ref   *ref
	cause Cause
	by    *link
}

// maxLater bounds what is to be triggered at the end of a turn.
const maxLater = 1000

func (e *Engine) later(f *ref, c Cause, by *link) {
	if len(e.now.later) < maxLater {
		e.now.later = append(e.now.later, laterEvent{ref: f, cause: c, by: by})
	}
}

// doLater triggers a rule by what another one did.
func (e *Engine) doLater(t *mqtt.Turn, l *laterEvent) {
	r := l.ref.rule
	if !r.live() || r.def != l.ref.def {
		return
	}
	e.trigger(t, r, &event{cause: e.causeOf(r, l.ref.trigger, l.cause), index: l.ref.trigger, durable: true, by: l.by, hop: t.Hop()})
}

// runEnded tells the rules that wait for it that a run has ended.
func (e *Engine) runEnded(w *waiting) {
	for _, f := range e.index.Load().ends[w.rule.id] {
		outcomes := f.def.Triggers[f.trigger].Rule.Outcome
		if len(outcomes) == 0 && w.run.Outcome != Done || len(outcomes) > 0 && !slices.Contains(outcomes, w.run.Outcome) {
			continue
		}
		by := w.link
		if by == nil || !slices.Contains(e.active, w) { // stopped from outside
			by = &link{rule: w.rule, before: w.before}
		}
		e.later(f, Cause{Kind: ByRule, By: w.rule.id, Ended: w.run.Outcome}, by)
	}
}

// underWay tells whether a run of a rule is.
func (e *Engine) underWay(r *rule) bool {
	return slices.ContainsFunc(r.waiting, func(w *waiting) bool { return !w.queued }) ||
		slices.ContainsFunc(e.active, func(w *waiting) bool { return w.rule == r && !w.over })
}

// ruleIs judges a condition on a rule.
func (s *scene) ruleIs(c *RuleCondition) (Result, saw) {
	if s.engine == nil {
		return Unknown, said("nothing is known")
	}
	r := s.engine.rules[c.ID]
	if r == nil {
		return Unknown, said("no such automation")
	}
	switch on, running := r.live(), s.engine.underWay(r); c.Is {
	case Running, Idle:
		value := Idle
		if running {
			value = Running
		}
		return resultOf(value == c.Is), said(value)
	default:
		value := IsDisabled
		if on {
			value = IsEnabled
		}
		return resultOf(value == c.Is), said(value)
	}
}

// home judges who is home.
func (s *scene) whoIsHome(c *HomeCondition) (Result, saw) {
	of := c.Of
	if of == nil {
		of = s.trackers()
	}
	if len(of) == 0 || s.house == nil {
		return Unknown, said("there is no device tracker")
	}
	var here, away, unknown []string
	for _, id := range of {
		value, available := Value{}, false
		entity := s.house.Entity(id)
		if entity != nil {
			value, available = reading(entity, "state")
		}
		switch {
		case !available || !value.known():
			unknown = append(unknown, id)
		case value == Text("home"):
			here = append(here, id)
		default:
			away = append(away, id)
		}
	}
	value := "nobody"
	if len(here) > 0 {
		value = strings.Join(here, ", ")
	}
	if len(unknown) > 0 {
		value += ", unknown " + strings.Join(unknown, ", ")
	}
	shown := said(value)
	switch {
	case c.Is == Everyone && len(away) > 0, c.Is == Nobody && len(here) > 0:
		return HoldsNot, shown
	case c.Is == Anyone && len(here) > 0:
		return Holds, shown
	case len(unknown) > 0:
		return Unknown, shown
	}
	return resultOf(c.Is != Anyone), shown
}

// trackers lists the entities that tell where somebody is: looked for once in a
// house, and not at each message.
func (s *scene) trackers() []string {
	if s.engine == nil {
		return trackersOf(s.house)
	}
	if known := &s.engine.trackers; known.house != s.house {
		known.house, known.list = s.house, trackersOf(s.house)
	}
	return s.engine.trackers.list
}

// trackersOf lists the entities that tell where somebody is.
func trackersOf(h House) (list []string) {
	house, ok := h.(*devices.House)
	if !ok || house == nil {
		return nil
	}
	for _, d := range house.Devices {
		for _, entity := range d.Entities {
			if entity.Kind == devices.Tracker {
				list = append(list, entity.ID)
			}
		}
	}
	slices.Sort(list)
	return list
}

type limitRecord struct {
	Format int         `json:"v"`
	Times  []time.Time `json:"times"`
}

// overLimit counts that a rule has set itself off, and tells whether it was
// once too often.
func (e *Engine) overLimit(t *mqtt.Turn, r *rule, by *link) bool {
	limit := usualLimit
	if r.def.Limit != nil {
		limit = *r.def.Limit
	}
	now := t.Now.Run
	r.selves = slices.DeleteFunc(r.selves, func(at time.Duration) bool { return now-at >= time.Duration(limit.Within) })
	if len(r.selves) >= limit.Runs {
		return true
	}
	r.selves = append(r.selves, now)
	record := &limitRecord{Format: format}
	for _, at := range r.selves {
		record.Times = append(record.Times, t.Now.Wall.Add(at-now).Round(0))
	}
	k, v := key(recLimit, r.id), encode(record)
	if by.earlier() && e.ready() == nil { // over several turns, by runs that are on disk
		e.write(t, k, v)
	} else {
		t.Lazy(k, v)
	}
	return false
}

// placeLimits gives what was counted before the start its time in this boot.
func (e *Engine) placeLimits(t *mqtt.Turn) {
	for _, r := range e.order {
		for _, at := range r.selvesBefore {
			if ago := t.Now.Wall.Sub(at); ago >= 0 {
				r.selves = append(r.selves, t.Now.Run-ago)
			} else {
				r.selves = append(r.selves, t.Now.Run)
			}
		}
		r.selvesBefore = nil
	}
}

func (c *checker) home(path string, h *HomeCondition) {
	if h.Is != Anyone && h.Is != Nobody && h.Is != Everyone {
		c.bad(path+".is", "This is anyone, nobody or everyone.")
	}
	if h.Of != nil && len(h.Of) == 0 || len(h.Of) > MaxSceneEntities {
		c.bad(path+".of", "Give 1 to %d device trackers.", MaxSceneEntities)
	}
	for i, id := range h.Of {
		if !strings.HasPrefix(id, string(devices.Tracker)+".") || len(id) > MaxText || !printable(id) {
			c.bad(at(path+".of", i), "A device tracker is needed here, such as device_tracker.anna.")
		} else if c.house != nil && c.house.Entity(id) == nil {
			c.warn(at(path+".of", i), "There is no %s at present.", id)
		}
	}
}

func (c *checker) ruleIs(path string, r *RuleCondition) {
	if !validID(r.ID) {
		c.bad(path+".id", "Name an automation by its ID.")
	}
	if !slices.Contains([]string{Running, Idle, IsEnabled, IsDisabled}, r.Is) {
		c.bad(path+".is", "This is running, idle, enabled or disabled.")
	}
}

func (c *checker) limit(path string, l *Limit) {
	if l.Runs < 1 || l.Runs > 1000 {
		c.bad(path+".runs", "Between 1 and 1000 runs can be allowed.")
	}
	if w := time.Duration(l.Within); w < time.Second || w > 24*time.Hour {
		c.bad(path+".within", "A limit counts within 1s to 1d.")
	}
}

// sceneID checks the name of a scene.
func (c *checker) sceneID(path, id string) {
	if !validID(id) {
		c.bad(path, "A scene has an ID of 1 to %d small letters, digits and hyphens.", maxID)
	}
}

func (c *checker) scene(path string, s *SceneAction) {
	switch {
	case (s.Capture == "") == (s.Apply == ""):
		c.bad(path, "Choose either capture or apply.")
	case s.Apply != "":
		c.sceneID(path+".apply", s.Apply)
		if s.Entities != nil {
			c.bad(path+".entities", "A scene knows its entities when it is applied.")
		}
	default:
		c.sceneID(path+".capture", s.Capture)
		c.entities(path+".entities", s.Entities)
	}
}

// entities checks a list of them.
func (c *checker) entities(path string, list []string) {
	if len(list) == 0 || len(list) > MaxSceneEntities {
		c.bad(path, "Give 1 to %d entities.", MaxSceneEntities)
		return
	}
	for i, id := range list {
		switch {
		case id == "" || len(id) > MaxText || !printable(id):
			c.bad(at(path, i), "Choose an entity.")
		case slices.Contains(list[:i], id):
			c.bad(at(path, i), "An entity is named twice.")
		case c.house != nil && c.house.Entity(id) == nil:
			c.warn(at(path, i), "There is no %s at present.", id)
		}
	}
}
