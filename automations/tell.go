package automations

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// maxTold is how many entities a run is remembered to have commanded.
const maxTold = 200

// toldLately is how long after a command a change of its entity is taken for
// the answer to it.
const toldLately = 10 * time.Second

// A told says which run has commanded an entity last.
type told struct {
	by *link
	at time.Duration // Run
}

// command tells entities to do something. One that cannot be told does not keep
// the others from it.
func (e *Engine) command(t *mqtt.Turn, w *thread, c *CommandAction, step *Step) error {
	if e.model == nil {
		return errors.New("there are no devices")
	}
	in := e.given(w, t.Now)
	args := make(map[string]devices.Value, len(c.Args))
	for name, v := range c.Args {
		v, err := e.resolve(v, in)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		args[name] = devices.Value(v)
	}
	if late := w.late(t.Now); c.Worth != 0 && late > time.Duration(c.Worth) {
		step.Dropped = "It was to be done " + span(late.Round(time.Second)) + " before, and is worth only " + span(time.Duration(c.Worth)) + "."
		return nil
	}
	list, err := e.targets(c)
	if err != nil {
		return err
	}
	var failed []error
	for _, id := range list {
		dropped, err := e.tell(t, w, id, c.Command, e.taken(c, id, args), c.Worth)
		if err != nil {
			failed = append(failed, err)
		}
		if dropped != "" && step.Dropped != "" {
			dropped = " " + dropped
		}
		step.Dropped = clip(step.Dropped + dropped)
	}
	return errors.Join(failed...)
}

// late tells by how much what a thread does is later than it was to be done.
func (w *thread) late(now mqtt.Now) time.Duration {
	if w.due.IsZero() || !now.Trusted {
		return 0
	}
	return now.Wall.Sub(w.due)
}

// targets lists the entities that a command is for.
func (e *Engine) targets(c *CommandAction) ([]string, error) {
	switch {
	case c.Entity != "":
		return []string{c.Entity}, nil
	case c.Entities != nil:
		return c.Entities, nil
	}
	h, ok := e.house().(*devices.House)
	if !ok {
		return nil, errors.New("there are no devices")
	}
	knows := func(entity *devices.Entity) bool {
		return slices.ContainsFunc(entity.Commands, func(known devices.Command) bool { return known.Name == c.Command })
	}
	var list []string
	if c.Group != "" {
		g := groupOf(h, c.Group)
		if g == nil {
			return nil, fmt.Errorf("there is no group %s", c.Group)
		}
		for _, entity := range h.Members(g) {
			if knows(entity) {
				list = append(list, entity.ID)
			}
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("nothing in the group %s can %s", g.Name, c.Command)
		}
		return list, nil
	}
	for _, d := range h.Devices {
		for _, entity := range d.Entities {
			if entity.Kind == c.Kind && strings.EqualFold(entity.Area, c.Area) && knows(entity) {
				list = append(list, entity.ID)
			}
		}
	}
	slices.Sort(list)
	if len(list) == 0 {
		return nil, fmt.Errorf("there is no %s in %s that can %s", c.Kind, c.Area, c.Command)
	}
	return list, nil
}

// groupOf returns a group by its ID, with or without what all of them begin
// with, or by its name; or nil.
func groupOf(h *devices.House, name string) *devices.Group {
	for _, id := range []string{name, "group." + name} {
		if g := h.Group(id); g != nil {
			return g
		}
	}
	for _, g := range h.Groups() {
		if g.Name == name {
			return g
		}
	}
	return nil
}

// taken are those of the arguments that an entity of a room or a group takes:
// of a brightness, a plug just hears that it is to be on.
func (e *Engine) taken(c *CommandAction, id string, args map[string]devices.Value) map[string]devices.Value {
	if c.Group == "" && c.Area == "" {
		return args
	}
	entity := e.house().Entity(id)
	i := slices.IndexFunc(entity.Commands, func(known devices.Command) bool { return known.Name == c.Command })
	own := map[string]devices.Value{}
	for _, a := range entity.Commands[i].Args {
		if v, ok := args[a.Name]; ok {
			own[a.Name] = v
		}
	}
	return own
}

// tell gives a command to one entity, unless a run of a rule of higher priority
// has commanded it and is under way: then dropped says which. w is nil for a
// person. With a worth it is given again after a restart, see [unconfirmed].
func (e *Engine) tell(t *mqtt.Turn, w *thread, entity, command string, args map[string]devices.Value, worth Duration) (dropped string, err error) {
	if e.model == nil {
		return "", errors.New("there are no devices")
	}
	if w != nil {
		if r := e.prior(w.def.Priority, w.run.ID, entity); r != nil {
			return fmt.Sprintf("%s is left alone: the automation %s has a higher priority.", entity, r.def.Name), nil
		}
	}
	if h := e.house(); h != nil {
		known := h.Entity(entity)
		command = resolved(known, command)
		if w != nil && e.hold(t, w, worth, known, command, args) {
			w.tells(entity)
			return "", nil
		}
	}
	if err := e.model.Command(t, entity, command, args); err != nil {
		return "", err
	}
	if w != nil {
		if worth > 0 {
			e.pledge(t, w, worth, entity, command, args)
		}
		w.tells(entity)
		e.tellLately(t, entity, w.link)
	}
	return "", nil
}

// tells notes that a run has commanded an entity.
func (w *thread) tells(entity string) {
	if !slices.Contains(w.told, entity) && len(w.told) < maxTold {
		w.told = append(w.told, entity)
	}
}

// prior returns the rule of the highest priority above the one given that has
// a run under way, and not the one given, which has commanded an entity; or nil.
func (e *Engine) prior(priority int, run, entity string) *rule {
	var found *rule
	look := func(o *waiting) {
		if o.def.Priority > priority && o.run.ID != run && !o.over && (found == nil || o.def.Priority > found.def.Priority) && slices.Contains(o.told, entity) {
			found = o.rule
		}
	}
	for _, r := range e.order {
		for _, o := range r.waiting {
			look(o)
		}
	}
	for _, o := range e.active {
		look(o)
	}
	return found
}

// maxToldLately bounds the entities that are remembered to have been told
// something in the last seconds.
const maxToldLately = 1000

func (e *Engine) tellLately(t *mqtt.Turn, entity string, by *link) {
	if len(e.told) >= maxToldLately {
		for id, was := range e.told {
			if t.Now.Run-was.at > toldLately {
				delete(e.told, id)
			}
		}
		if len(e.told) >= maxToldLately {
			return
		}
	}
	if e.told == nil {
		e.told = map[string]told{}
	}
	e.told[entity] = told{&link{rule: by.rule, before: by.rules()}, t.Now.Run}
}

// answerTo returns the run that a change of an entity, brought from outside, is
// likely to be the answer to, or nil.
func (e *Engine) answerTo(t *mqtt.Turn, entity string) *link {
	if was, ok := e.told[entity]; ok && t.Now.Run-was.at <= toldLately {
		return was.by
	}
	return nil
}
