package automations

import (
	"cmp"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// MaxUnconfirmed bounds the commands that are kept to be sent again; beyond it
// a further one is sent once, as if it had no worth.
const MaxUnconfirmed = 1000

// An unconfirmed is a command with a worth, given by a run that is on disk, of
// which its entity has not said yet that it took it. It names the state that
// is wanted, so that giving it twice does what giving it once does: after a
// restart it is given again, for nobody knows whether it left.
type unconfirmed struct {
	Run      string                   `json:"run"`
	Step     int                      `json:"step,omitempty"` // of its trace, from 1; 0 beyond what a trace keeps
	Entity   string                   `json:"entity"`
	Command  string                   `json:"command"`
	Args     map[string]devices.Value `json:"args,omitempty"`
	Wanted   map[string]Value         `json:"wanted"` // by aspect
	Made     time.Time                `json:"made"`   // or when it was to be done
	Worth    Duration                 `json:"worth"`
	Trusted  bool                     `json:"trusted"` // the clock was, as it was made
	Priority int                      `json:"priority,omitempty"`
	Before   []string                 `json:"before,omitempty"` // the rules that led to it

	// Held tells that it was never given: it followed from a start, and waits
	// until devices are back.
	Held bool `json:"held,omitempty"`

	rule  string
	key   string   // of its record, after the rule's ID
	of    *waiting // the run, until it is kept
	again bool     // it is to be given as devices are back: from before this start, or held
	here  bool     // it was held since this start
}

type unconfirmedRecord struct {
	Format  int          `json:"v"`
	Command *unconfirmed `json:"command"`
}

// wantedBy returns the state that a command makes of an entity, by aspect; nil
// for one that names none (stop, press), or that carries a code, which is not
// kept.
func wantedBy(entity *devices.Entity, command string, args map[string]devices.Value) map[string]Value {
	aspect := func(name string) *devices.Aspect {
		if i := slices.IndexFunc(entity.Aspects, func(a devices.Aspect) bool { return a.Name == name }); i >= 0 {
			return &entity.Aspects[i]
		}
		return nil
	}
	i := slices.IndexFunc(entity.Commands, func(c devices.Command) bool { return c.Name == command })
	if i < 0 {
		return nil
	}
	known := &entity.Commands[i]
	if !storable(args) {
		return nil
	}
	for _, a := range known.Args {
		if _, given := args[a.Name]; given && (a.Secret || a.Name == "flash") {
			return nil
		}
	}
	wanted := map[string]Value{}
	named := func() bool { // what it is told is what is wanted
		for name, v := range args {
			if aspect(name) != nil {
				wanted[name] = Value(v)
			}
		}
		return len(wanted) > 0
	}
	state, isState := map[string]string{
		"open": "open", "close": "closed", "lock": "locked", "unlock": "unlocked", "disarm": "disarmed",
		"arm_home": "armed_home", "arm_away": "armed_away", "arm_night": "armed_night",
		"arm_vacation": "armed_vacation", "arm_custom_bypass": "armed_custom_bypass",
	}[command]
	if entity.Kind == devices.Lock && command == "open" { // the latch, not the state it shows
		return nil
	}
	switch {
	case command == "turn_on" || command == "turn_off":
		on := command == "turn_on"
		switch {
		case aspect("on") != nil:
			if on {
				named()
			}
			if dark, ok := numberOf(anyOf(wanted["brightness"])).(float64); ok && dark == 0 {
				on = false // brightness 0 is off
			}
			if !on {
				clear(wanted)
			}
			wanted["on"] = Value(devices.BoolValue(on))
		case command == "turn_off" && aspect("mode") != nil:
			wanted["mode"] = Text("off")
		}
	case isState && aspect("state") != nil:
		wanted["state"] = Text(state)
	case (command == "open_tilt" || command == "close_tilt") && aspect("tilt") != nil:
		wanted["tilt"] = Number(0)
		if command == "open_tilt" {
			wanted["tilt"] = Number(100)
		}
	case strings.HasPrefix(command, "set") || command == "select":
		for _, name := range known.Required {
			if aspect(name) == nil {
				return nil
			}
		}
		named()
	}
	if len(wanted) == 0 {
		return nil
	}
	return wanted
}

// storable tells whether a record can hold arguments.
func storable(args map[string]devices.Value) bool {
	for _, v := range args {
		if math.IsNaN(v.Num) || math.IsInf(v.Num, 0) {
			return false
		}
	}
	return true
}

// onTheWay are the states of an entity that has begun to do what it was told.
var onTheWay = map[string]string{
	"open": "opening", "closed": "closing", "locked": "locking", "unlocked": "unlocking", "disarmed": "disarming",
	"armed_home": "arming", "armed_away": "arming", "armed_night": "arming", "armed_vacation": "arming", "armed_custom_bypass": "arming",
}

// is tells whether an aspect is as it was wanted. Devices round as they like:
// what differs by less than they count in is the same.
func is(a *devices.Aspect, v devices.Value, wanted Value) bool {
	switch v.Type {
	case devices.Number:
		f, ok := numberOf(anyOf(wanted)).(float64)
		slack := a.Step / 2
		if a.Name == "color_temp" { // counted in mired
			slack = f / 50
		}
		return ok && math.Abs(v.Num-f) <= slack+1e-9
	case devices.Bool:
		on, ok := parseBool(wanted.String())
		return ok && on == v.Bool
	case devices.Text:
		text := wanted.String()
		return strings.EqualFold(v.Str, text) || a.Name == "state" && v.Str == onTheWay[text] && v.Str != ""
	}
	return false
}

// confirmedBy tells whether an entity has said that it is as a command wants
// it: since it was given, for one from before a start. One that only shows what
// it was told says nothing.
func (c *unconfirmed) confirmedBy(entity *devices.Entity) bool {
	if entity == nil || entity.Assumed {
		return false
	}
	readings := entity.State().Readings
	said := 0
	for i := range entity.Aspects {
		wanted, ok := c.Wanted[entity.Aspects[i].Name]
		if !ok || i >= len(readings) {
			continue
		}
		r := readings[i]
		if !is(&entity.Aspects[i], r.Value, wanted) || r.Restored && r.At.Before(c.Made) {
			return false
		}
		said++
	}
	return said == len(c.Wanted)
}

// hold keeps a command of a run that follows from a start until devices are
// back: now there may be nobody to hear it. It returns false for one that is to
// be given at once.
func (e *Engine) hold(t *mqtt.Turn, w *thread, worth Duration, entity *devices.Entity, command string, args map[string]devices.Value) bool {
	if !e.starting || t.Now.Run >= e.settleTime || !w.durable || entity == nil || !storable(args) {
		return false
	}
	i := slices.IndexFunc(entity.Commands, func(c devices.Command) bool { return c.Name == command })
	if i < 0 || slices.ContainsFunc(entity.Commands[i].Args, func(a devices.Aspect) bool { _, given := args[a.Name]; return a.Secret && given }) {
		return false // it cannot be told that, or a code would have to be kept
	}
	e.Commanded(t, entity, command, args)
	c := e.commandOf(t, w, worth, entity, command, args)
	c.Held, c.again, c.here = true, true, true
	if !e.keepCommand(t, w, c) {
		return false
	}
	e.placeAgain(t)
	return true
}

// pledge notes a command of a run that is to be given again after a restart,
// if the run reaches the disk.
func (e *Engine) pledge(t *mqtt.Turn, w *thread, worth Duration, id, command string, args map[string]devices.Value) {
	h := e.house()
	if h == nil {
		return
	}
	entity := h.Entity(id)
	if entity == nil {
		return
	}
	if c := e.commandOf(t, w, worth, entity, command, args); c.Wanted != nil && !c.confirmedBy(entity) {
		e.keepCommand(t, w, c)
	}
}

// commandOf describes a command of a run.
func (e *Engine) commandOf(t *mqtt.Turn, w *thread, worth Duration, entity *devices.Entity, command string, args map[string]devices.Value) *unconfirmed {
	c := &unconfirmed{
		Run: w.run.ID, Entity: entity.ID, Command: command, Args: args, Wanted: wantedBy(entity, command, args),
		Made: t.Now.Wall.Round(0), Worth: worth, Trusted: t.Now.Trusted, Priority: w.def.Priority, Before: w.link.rules(),
		rule: w.rule.id, of: w.waiting,
	}
	if t.Now.Trusted && !w.due.IsZero() && w.due.Before(c.Made) {
		c.Made = w.due // its worth counts from when it was to be done
	}
	return c
}

// keepCommand takes a command in that is to reach the disk with its run, if
// there is room.
func (e *Engine) keepCommand(t *mqtt.Turn, w *thread, c *unconfirmed) bool {
	if len(e.unconfirmed) >= MaxUnconfirmed {
		for _, old := range slices.Clone(e.unconfirmed) {
			if _, over := old.over(t.Now); over {
				e.settled(t, old)
			}
		}
		if len(e.unconfirmed) >= MaxUnconfirmed {
			return false
		}
	}
	if n := len(w.run.Actions); n < maxTraced {
		c.Step = n + 1
	}
	c.key = strconv.FormatUint(t.Number, 36) + "-" + strconv.Itoa(e.now.pledged)
	e.now.pledged++
	e.unconfirmed = append(e.unconfirmed, c)
	return true
}

// keepPledges writes the commands of a run that is on disk with this turn, or
// forgets those of one that never is.
func (e *Engine) keepPledges(t *mqtt.Turn, w *waiting, durable bool) {
	if len(e.unconfirmed) == 0 {
		return
	}
	e.unconfirmed = slices.DeleteFunc(e.unconfirmed, func(c *unconfirmed) bool {
		if c.of != w {
			return false
		}
		if durable {
			c.of = nil
			e.writeCommand(t, c)
		}
		return !durable
	})
}

func (e *Engine) writeCommand(t *mqtt.Turn, c *unconfirmed) {
	e.write(t, key(recCommand, c.rule, []byte(c.key)...), encode(&unconfirmedRecord{Format: format, Command: c}))
}

// settled forgets a command: it was confirmed, or another took its place.
func (e *Engine) settled(t *mqtt.Turn, c *unconfirmed) {
	if i := slices.Index(e.unconfirmed, c); i >= 0 {
		e.unconfirmed = slices.Delete(e.unconfirmed, i, i+1)
	}
	if c.of != nil {
		return // it has no record
	}
	k := key(recCommand, c.rule, []byte(c.key)...)
	if e.ready() != nil {
		t.Lazy(k, nil)
		return
	}
	t.Write(k, nil)
}

// settleIf forgets the commands that are so.
func (e *Engine) settleIf(t *mqtt.Turn, so func(c *unconfirmed) bool) {
	if len(e.unconfirmed) == 0 {
		return
	}
	for _, c := range slices.Clone(e.unconfirmed) {
		if so(c) {
			e.settled(t, c)
		}
	}
}

// reported looks whether an entity confirms what it was told. What it says
// of the past confirms nothing that it was not told yet.
func (e *Engine) reported(t *mqtt.Turn, entity *devices.Entity, news bool) {
	e.settleIf(t, func(c *unconfirmed) bool { return c.Entity == entity.ID && (news || !c.Held) && c.confirmedBy(entity) })
}

// confirmed says that what a run was to confirm has come true: what it told
// entities for that has arrived.
func (e *Engine) confirmed(t *mqtt.Turn, w *thread, do []Action) {
	if len(e.unconfirmed) == 0 {
		return
	}
	var told []string
	anyAction(do, func(a *Action) bool {
		if a.Command != nil {
			list, _ := e.targets(a.Command)
			told = append(told, list...)
		}
		return false
	})
	e.settleIf(t, func(c *unconfirmed) bool {
		return c.Run == w.run.ID && c.rule == w.rule.id && slices.Contains(told, c.Entity)
	})
}

// Commanded implements devices.Listener: what an entity is told anew takes the
// place of what it was told before about the same, whoever says it.
func (e *Engine) Commanded(t *mqtt.Turn, entity *devices.Entity, command string, args map[string]devices.Value) {
	if len(e.unconfirmed) == 0 {
		return
	}
	command = resolved(entity, command)
	wanted := wantedBy(entity, command, args)
	off := wanted["on"] == Off() || wanted["mode"] == Text("off")
	e.settleIf(t, func(c *unconfirmed) bool {
		if c.Entity != entity.ID || c == e.now.repeated {
			return false
		}
		if wanted == nil || off {
			return true
		}
		for aspect := range c.Wanted {
			if _, ok := wanted[aspect]; ok {
				return true
			}
		}
		// A cover is told where to be by a word or by a number.
		_, state := wanted["state"]
		_, position := wanted["position"]
		_, wasState := c.Wanted["state"]
		_, wasPosition := c.Wanted["position"]
		return state && wasPosition || position && wasState
	})
}

// resolved is what a toggle means at this moment, as the model takes it; any
// other command is itself.
func resolved(entity *devices.Entity, command string) string {
	if command != "toggle" || entity == nil {
		return command
	}
	becomes := "turn_on"
	if v, _ := reading(entity, "on"); v == On() {
		becomes = "turn_off"
	}
	for _, c := range entity.Commands {
		if c.Name == becomes {
			return becomes
		}
	}
	return command
}

// over tells how old a command is, and whether it is too old to be given.
func (c *unconfirmed) over(now mqtt.Now) (age time.Duration, over bool) {
	age = now.Wall.Sub(c.Made)
	return age, c.Worth > 0 && now.Trusted && c.Trusted && age > time.Duration(c.Worth)
}

// placeAgain finds the time at which what was not confirmed before the start
// is given again: as devices have had time to come back, and before its worth
// is over.
func (e *Engine) placeAgain(t *mqtt.Turn) {
	e.againAt, e.againLater = -1, false
	for _, c := range e.unconfirmed {
		if !c.again {
			continue
		}
		at := e.settleTime
		if c.Worth > 0 && c.Trusted && t.Now.Trusted {
			at = min(at, t.Now.Run+max(time.Duration(c.Worth)-t.Now.Wall.Sub(c.Made), 0))
		}
		if e.againAt < 0 || at < e.againAt {
			e.againAt = at
		}
	}
}

// giveAgain gives the commands from before the start that are due once more,
// and those that were held. Those with a worth stay on disk until they are confirmed: there may be another start.
func (e *Engine) giveAgain(t *mqtt.Turn) {
	e.againAt = -1
	given := 0
	h := e.house()
	if h == nil {
		return
	}
	for _, c := range slices.Clone(e.unconfirmed) {
		switch {
		case !c.again || !slices.Contains(e.unconfirmed, c): // another has taken its place
		case c.Worth > 0 && c.Trusted && !t.Now.Trusted: // its age is known as the clock is
			e.againLater = true
		case given == maxDueInTurn || e.now.bytes > maxBytesInTurn:
			e.againAt = t.Now.Run
			return
		default:
			given++
			e.giveOne(t, c, h.Entity(c.Entity))
		}
	}
}

// giveOne gives a command again, or says why not.
func (e *Engine) giveOne(t *mqtt.Turn, c *unconfirmed, entity *devices.Entity) {
	c.again = false
	r := e.rules[c.rule]
	if r == nil || !r.live() || !c.Held && c.confirmedBy(entity) {
		e.settled(t, c)
		return
	}
	again := " again after the restart"
	if c.Held {
		again = ""
	}
	drop := func(why string) {
		e.settled(t, c)
		e.amend(t, r, c.Run, c.Step-1, func(s *Step) { s.Dropped = clip(strings.TrimSpace(s.Dropped + " " + why)) })
	}
	age, over := c.over(t.Now)
	if c.Worth > 0 && !c.here && (!c.Trusted || age < 0) {
		drop(c.Entity + " was not told" + again + ": how old that is cannot be told.")
		return
	}
	if over {
		drop(c.Entity + " was not told" + again + ": that was to be done " + span(age.Round(time.Second)) + " before, and is worth only " + span(time.Duration(c.Worth)) + ".")
		return
	}
	if other := e.prior(c.Priority, c.Run, c.Entity); other != nil {
		drop(fmt.Sprintf("%s is left alone: the automation %s has a higher priority.", c.Entity, other.def.Name))
		return
	}
	by := &link{rule: r, before: c.Before}
	before := len(t.Published())
	e.now.acting, e.now.repeated = by, c
	err := e.model.Command(t, c.Entity, c.Command, maps.Clone(c.Args))
	e.now.acting, e.now.repeated = nil, nil
	for _, m := range t.Published()[before:] {
		e.makes(m, by)
	}
	if err != nil {
		drop(c.Entity + " could not be told" + again + ": " + err.Error() + ".")
		return
	}
	e.tellLately(t, c.Entity, by)
	now := t.Now.Wall.Round(0)
	if !c.Held {
		e.amend(t, r, c.Run, c.Step-1, func(s *Step) { s.Again = now })
		return
	}
	e.amend(t, r, c.Run, c.Step-1, func(s *Step) { s.Given = now })
	if c.Held = false; c.Worth == 0 || c.Wanted == nil {
		e.settled(t, c)
	} else if slices.Contains(e.unconfirmed, c) { // it did not say at once that it took it
		e.writeCommand(t, c)
	}
}

// amend changes a step of the trace of a run, under way or ended.
func (e *Engine) amend(t *mqtt.Turn, r *rule, run string, step int, change func(s *Step)) {
	e.amendRun(t, r, run, func(was *Run) *Run {
		if step < 0 || step >= len(was.Actions) {
			return nil
		}
		changed := *was
		changed.Actions = slices.Clone(was.Actions)
		change(&changed.Actions[step])
		return &changed
	})
}

// restoreCommands takes in what was found of a rule's commands.
func (e *Engine) restoreCommands(id string, list []*unconfirmed) {
	for _, c := range list {
		c.rule, c.again = id, true
		e.unconfirmed = append(e.unconfirmed, c)
	}
	slices.SortFunc(e.unconfirmed, func(a, b *unconfirmed) int {
		return cmp.Or(a.Made.Compare(b.Made), strings.Compare(a.key, b.key))
	})
}
