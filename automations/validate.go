package automations

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/mqtt/topic"
)

// Validate tells what is not right in a rule, with the devices of a house; nil
// leaves these out. Only a rule without problems but warnings can be saved.
func (r *Rule) Validate(h House) []Problem {
	c := checker{house: h}
	c.rule(r)
	return c.problems
}

type checker struct {
	house      House
	problems   []Problem
	message    bool // a message can trigger the rule
	conditions int
	actions    int
	triggers   []string // their IDs
}

func (c *checker) bad(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...), Warning: true})
}

func (c *checker) rule(r *Rule) {
	if r.ID != "" && !validID(r.ID) {
		c.bad("id", "An ID has 1 to %d small letters, digits and hyphens.", maxID)
	}
	if strings.TrimSpace(r.Name) == "" {
		c.bad("name", "Give the automation a name.")
	} else if utf8.RuneCountInString(r.Name) > MaxName || !printable(r.Name) {
		c.bad("name", "A name has at most %d characters, all of them visible.", MaxName)
	}
	c.text("description", r.Description, MaxText)
	switch r.Mode {
	case "", Restart, Single:
		if r.Max != 0 {
			c.bad("max", "Only the modes parallel and queued have a number of runs.")
		}
	case Parallel:
		if r.Max < 2 || r.Max > MaxParallel {
			c.bad("max", "Between 2 and %d runs can go on side by side.", MaxParallel)
		}
	case Queued:
		if r.Max < 1 || r.Max > MaxQueued {
			c.bad("max", "Between 1 and %d runs can wait in line.", MaxQueued)
		}
	default:
		c.bad("mode", "The mode is restart, single, queued or parallel.")
	}
	if r.Per != "" {
		c.expression("per", r.Per, false)
	}

	if d := r.CatchUp; d != "" && d != Always && d != Never {
		var after Duration
		if err := after.UnmarshalText([]byte(d)); err != nil {
			c.bad("catch_up", "This is a time such as 30m, always or never.")
		} else {
			c.duration("catch_up", after)
		}
	}
	if r.Priority < -MaxPriority || r.Priority > MaxPriority {
		c.bad("priority", "A priority is between %d and %d.", -MaxPriority, MaxPriority)
	}
	if r.Limit != nil {
		c.limit("limit", r.Limit)
	}
	switch n := len(r.Triggers); {
	case n == 0:
		c.bad("triggers", "Say when the automation runs: add a trigger.")
	case n > MaxTriggers:
		c.bad("triggers", "An automation has at most %d triggers.", MaxTriggers)
	}
	for i, t := range r.Triggers[:min(len(r.Triggers), MaxTriggers)] {
		c.trigger(at("triggers", i), t)
	}
	for i := range r.Conditions {
		c.condition(at("conditions", i), &r.Conditions[i], 1)
	}
	if c.conditions > MaxConditions {
		c.bad("conditions", "An automation has at most %d conditions.", MaxConditions)
	}
	switch n := len(r.Actions); {
	case n == 0:
		c.bad("actions", "Say what the automation does: add an action.")
	case n > MaxActions:
		c.bad("actions", "An automation has at most %d actions.", MaxActions)
	}
	for i, a := range r.Actions[:min(len(r.Actions), MaxActions)] {
		c.action(at("actions", i), a, 1)
	}
	if c.actions > MaxActions {
		c.bad("actions", "An automation has at most %d actions.", MaxActions)
	}
	c.variables("variables", r.Variables)
	without := *r
	without.Text = ""
	if len(r.Text) > MaxRuleBytes {
		c.bad("", "The text of the automation is too long: it has %d bytes of at most %d.", len(r.Text), MaxRuleBytes)
	} else if n := len(without.Encode()); n > MaxRuleBytes {
		c.bad("", "The automation is too long: it has %d bytes of at most %d.", n, MaxRuleBytes)
	}
}

func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// kindsOf are the keys of which exactly one stands in a trigger, a condition
// or an action.
var kindsOf = map[string][]string{
	"trigger":   {"message", "state", "silent", "time", "cron", "every", "sun", "start", "rule", "scene", "webhook", "hand"},
	"condition": {"state", "time", "sun", "home", "payload", "trigger", "rule", "expr", "all", "any", "not"},
	"action": {"publish", "command", "wait", "confirm", "if", "choose", "repeat", "parallel", "check", "stop", "fail", "set", "scene", "call",
		"enable", "disable", "notify", "http", "note"},
}

// oneOf reports whether exactly one of the fields is set, and says so if not.
func (c *checker) oneOf(path, what string, set ...bool) bool {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	words := strings.Join(kindsOf[what], ", ")
	switch {
	case n == 0:
		c.bad(path, "Choose a kind of %s: %s.", what, words)
	case n > 1:
		c.bad(path, "Only one kind of %s can stand here: %s.", what, words)
	}
	return n == 1
}

func (c *checker) trigger(path string, t Trigger) {
	if t.ID != "" {
		if !validID(t.ID) {
			c.bad(path+".id", "An ID has 1 to %d small letters, digits and hyphens.", maxID)
		}
		if slices.Contains(c.triggers, t.ID) {
			c.bad(path+".id", "Another trigger has this ID.")
		}
		c.triggers = append(c.triggers, t.ID)
	}
	if !c.oneOf(path, "trigger", t.Message != nil, t.State != nil, t.Silent != nil, t.Time != nil, t.Cron != nil, t.Every != nil, t.Sun != nil, t.Start != nil, t.Rule != nil, t.Scene != nil, t.Webhook != nil, t.Hand != nil) {
		return
	}
	switch {
	case t.Webhook != nil:
		c.webhook(path+".webhook", t.Webhook)
		return
	case t.Scene != nil:
		c.sceneID(path+".scene.id", t.Scene.ID)
		return
	case t.Rule != nil:
		if !validID(t.Rule.ID) {
			c.bad(path+".rule.id", "Name an automation by its ID.")
		}
		for i, o := range t.Rule.Outcome {
			if o != Done && o != Failed && o != Stopped || slices.Contains(t.Rule.Outcome[:i], o) {
				c.bad(at(path+".rule.outcome", i), "An outcome is done, failed or stopped, each named once.")
			}
		}
		return
	}
	if t.Message == nil && t.State == nil {
		c.clock(path, t)
		return
	}
	if m := t.Message; m != nil {
		path += ".message"
		c.message = true
		c.filter(path+".filter", m.Filter)
		if m.Payload != nil {
			c.compare(path+".payload", m.Payload)
		}
		c.path(path+".path", m.Path)
		if m.On != "" && m.On != Received && m.On != Changed {
			c.bad(path+".on", "This is received or changed.")
		}
		if m.Settle != 0 {
			c.duration(path+".settle", m.Settle)
		}
		return
	}
	s := t.State
	path += ".state"
	a := c.aspect(path, s.Entity, s.Aspect)
	if s.To != nil {
		if s.Above != nil || s.Below != nil {
			c.bad(path, "Choose either a value or a threshold.")
		}
		c.value(path+".to", *s.To)
		c.fits(path+".to", a, Equal, *s.To)
	}
	if s.ToAny != nil && (s.To != nil || s.Above != nil || s.Below != nil) {
		c.bad(path, "Choose either values or a threshold.")
	}
	for _, l := range []struct {
		name string
		list []Value
		set  bool
	}{{"to", s.ToAny, s.ToAny != nil}, {"from", s.From, s.From != nil}} {
		if l.set && (len(l.list) == 0 || len(l.list) > MaxArgs) {
			c.bad(path+"."+l.name, "Give 1 to %d values.", MaxArgs)
		}
		for i, v := range l.list {
			if c.value(at(path+"."+l.name, i), v) {
				c.fits(at(path+"."+l.name, i), a, Equal, v)
			}
		}
	}
	for _, limit := range []struct {
		name string
		at   *float64
	}{{"above", s.Above}, {"below", s.Below}} {
		if limit.at == nil {
			continue
		}
		c.value(path+"."+limit.name, Number(*limit.at))
		if a != nil && (a.Type == devices.Bool || a.Type == devices.Enum) {
			c.bad(path+"."+limit.name, "%s is not a number: it has no threshold.", s.Aspect)
		}
	}
	if s.Above != nil && s.Below != nil && *s.Above >= *s.Below {
		c.bad(path+".below", "Nothing is above %v and below %v at once.", *s.Above, *s.Below)
	}
	if s.Hysteresis != 0 {
		if s.Above == nil && s.Below == nil {
			c.bad(path+".hysteresis", "Only a threshold has a hysteresis.")
		} else if !(s.Hysteresis > 0) || s.Hysteresis > 1e12 {
			c.bad(path+".hysteresis", "A hysteresis is a number greater than 0.")
		}
	}
	if s.For != 0 {
		c.duration(path+".for", s.For)
		if s.Change() {
			c.bad(path+".for", "A time to stay needs a value or a threshold.")
		}
	}
}

// clock checks triggers that are neither messages nor states.
func (c *checker) clock(path string, t Trigger) {
	choice := func(path, s string, of ...string) {
		if s != "" && !slices.Contains(of, s) {
			c.bad(path, "This is one of %s.", strings.Join(of, ", "))
		}
	}
	switch {
	case t.Silent != nil:
		path += ".silent"
		switch s := t.Silent; {
		case (s.Entity == "") == (s.Filter == ""):
			c.bad(path, "Choose either an entity or a topic filter.")
		case s.Filter != "":
			c.filter(path+".filter", s.Filter)
		case len(s.Entity) > MaxText || !printable(s.Entity):
			c.bad(path+".entity", "Choose an entity.")
		case c.house != nil && c.house.Entity(s.Entity) == nil:
			c.warn(path+".entity", "There is no %s at present.", s.Entity)
		}
		c.duration(path+".for", t.Silent.For)
	case t.Time != nil:
		path += ".time"
		if n := len(t.Time.At); n == 0 || n > 24 {
			c.bad(path+".at", "Give 1 to 24 times of the day.")
			return
		}
		for i, at_ := range t.Time.At {
			if at_ < 0 || at_ >= 24*60 {
				c.bad(at(path+".at", i), "A time of day is between 00:00 and 23:59.")
			}
		}
		c.days(path, t.Time.Days)
		choice(path+".skipped", t.Time.Skipped, After, SkipIt)
		choice(path+".doubled", t.Time.Doubled, First, Second, Both)
	case t.Cron != nil:
		path += ".cron"
		if cron, err := parseCron(t.Cron.At); err != nil {
			c.bad(path+".at", "This is no time for cron: %v.", err)
		} else if cron.star && (t.Cron.Skipped != "" || t.Cron.Doubled != "") {
			c.bad(path, "With any hour it comes each time the clock shows it; leave out skipped and doubled.")
		}
		choice(path+".skipped", t.Cron.Skipped, After, SkipIt)
		choice(path+".doubled", t.Cron.Doubled, First, Second, Both)
	case t.Every != nil:
		path += ".every"
		p, o := time.Duration(t.Every.Period), time.Duration(t.Every.Offset)
		if p < time.Second || p > 24*time.Hour || (24*time.Hour)%p != 0 || p > time.Hour && p%time.Second != 0 {
			c.bad(path+".period", "A period is at least 1s and fits into a day without a rest, as 15m and 2h do.")
		} else if o < 0 || o >= p {
			c.bad(path+".offset", "An offset is less than the period.")
		}
	case t.Sun != nil:
		path += ".sun"
		s := t.Sun
		switch {
		case (s.Event == "") == (s.Elevation == nil):
			c.bad(path, "Choose either an event or an elevation.")
		case s.Elevation != nil && !(*s.Elevation >= -90 && *s.Elevation <= 90):
			c.bad(path+".elevation", "An elevation is between -90 and 90 degrees.")
		case s.Elevation != nil && s.Going != Up && s.Going != Down:
			c.bad(path+".going", "Say whether the sun is going up or down.")
		case s.Event != "" && s.Going != "":
			c.bad(path+".going", "Only an elevation is passed up or down.")
		}
		choice(path+".event", s.Event, Sunrise, Sunset, Dawn, Dusk)
		if time.Duration(s.Offset).Abs() > 12*time.Hour {
			c.bad(path+".offset", "An offset is at most 12 hours.")
		}
		for _, l := range []struct {
			name string
			at   *TimeOfDay
		}{{"not_before", s.NotBefore}, {"not_after", s.NotAfter}} {
			if l.at != nil && (*l.at < 0 || *l.at >= 24*60) {
				c.bad(path+"."+l.name, "A time of day is between 00:00 and 23:59.")
			}
		}
		if s.NotBefore != nil && s.NotAfter != nil && *s.NotBefore > *s.NotAfter {
			c.bad(path+".not_after", "This is before not_before.")
		}
		c.days(path, s.Days)
	case t.Start != nil:
		if t.Start.After != 0 {
			c.duration(path+".start.after", t.Start.After)
		}
	}
}

func (c *checker) condition(path string, d *Condition, depth int) {
	c.conditions++
	if c.conditions > MaxConditions {
		return
	}
	if depth > MaxDepth {
		c.bad(path, "Conditions can be nested %d deep.", MaxDepth)
		return
	}
	if !c.oneOf(path, "condition", d.State != nil, d.Time != nil, d.Payload != nil, d.Trigger != nil, d.Sun != nil, d.Expr != "", d.Home != nil, d.Rule != nil, d.All != nil, d.Any != nil, d.Not != nil) {
		return
	}
	switch {
	case d.State != nil:
		s := d.State
		path += ".state"
		a := c.aspect(path, s.Entity, s.Aspect)
		c.comparison(path, a, s.Op, s.Value, s.Values, s.And)
		if s.For != 0 {
			c.duration(path+".for", s.For)
		}
	case d.Time != nil:
		c.window(path+".time", d.Time)
	case d.Payload != nil:
		if !c.message {
			c.bad(path+".payload", "Only a trigger that is a message has a payload.")
		}
		c.compare(path+".payload", d.Payload)
	case d.Trigger != nil:
		if len(d.Trigger) == 0 {
			c.bad(path+".trigger", "Name the triggers.")
		}
		for i, id := range d.Trigger {
			if !slices.Contains(c.triggers, id) {
				c.bad(at(path+".trigger", i), "No trigger of this automation has the ID %q.", clip(id))
			}
		}
	case d.Expr != "":
		c.expression(path+".expr", d.Expr, true)
	case d.Sun != nil:
		c.sun(path+".sun", d.Sun)
	case d.Home != nil:
		c.home(path+".home", d.Home)
	case d.Rule != nil:
		c.ruleIs(path+".rule", d.Rule)
	case d.Not != nil:
		c.condition(path+".not", d.Not, depth+1)
	default:
		list, name := d.All, path+".all"
		if d.Any != nil {
			list, name = d.Any, path+".any"
		}
		if len(list) == 0 {
			c.bad(name, "There is no condition in this group.")
		}
		for i := range list {
			c.condition(at(name, i), &list[i], depth+1)
		}
	}
}

func (c *checker) window(path string, w *TimeCondition) {
	for _, l := range []struct {
		name string
		at   TimeOfDay
	}{{"from", w.From}, {"to", w.To}} {
		if l.at < 0 || l.at >= 24*60 {
			c.bad(path+"."+l.name, "A time of day is between 00:00 and 23:59.")
		}
	}
	if w.From == w.To && w.From != 0 {
		c.bad(path+".to", "The window ends when it begins: choose another time.")
	}
	c.days(path, w.Days)
}

func (c *checker) sun(path string, s *SunCondition) {
	if s.Above == nil && s.Below == nil && s.After == "" && s.Before == "" {
		c.bad(path, "Say where the sun is: above, below, after or before.")
	}
	for _, l := range []struct {
		name string
		at   *float64
	}{{"above", s.Above}, {"below", s.Below}} {
		if l.at != nil && !(*l.at >= -90 && *l.at <= 90) {
			c.bad(path+"."+l.name, "An elevation is between -90 and 90 degrees.")
		}
	}
	for _, l := range []struct {
		name, event string
		offset      Duration
	}{{"after", s.After, s.AfterOffset}, {"before", s.Before, s.BeforeOffset}} {
		if l.event != "" && !slices.Contains([]string{Sunrise, Sunset, Dawn, Dusk}, l.event) {
			c.bad(path+"."+l.name, "This is one of sunrise, sunset, dawn, dusk.")
		}
		if l.offset != 0 && (l.event == "" || time.Duration(l.offset).Abs() > 12*time.Hour) {
			c.bad(path+"."+l.name+"_offset", "An offset belongs to an event, and is at most 12 hours.")
		}
	}
}

func (c *checker) days(path string, days []Weekday) {
	seen := 0
	for i, d := range days[:min(len(days), 7)] {
		if d < 0 || d > 6 {
			c.bad(at(path+".days", i), "This is not a day of the week.")
		} else if seen&(1<<d) != 0 {
			c.bad(at(path+".days", i), "A day is named twice.")
		} else {
			seen |= 1 << d
		}
	}
	if len(days) > 7 {
		c.bad(path+".days", "A week has seven days.")
	}
}

func (c *checker) compare(path string, p *Compare) {
	c.path(path+".path", p.Path)
	c.comparison(path, nil, p.Op, p.Value, p.Values, p.And)
}

// path checks a place in a payload.
func (c *checker) path(path, p string) {
	c.text(path, p, MaxText)
	if p != "" && slices.Contains(strings.Split(p, "."), "") {
		c.bad(path, "Names in a path are joined by single dots, as in update.state.")
	}
}

// comparison checks one, with the aspect that is compared if it is known.
func (c *checker) comparison(path string, a *devices.Aspect, op Op, v Value, list []Value, and *Bound) {
	if op == OneOf || op == NoneOf {
		if len(list) == 0 || len(list) > MaxArgs {
			c.bad(path+".values", "Give 1 to %d values.", MaxArgs)
			return
		}
		for i, v := range list {
			if c.value(at(path+".values", i), v) {
				c.fits(at(path+".values", i), a, op, v)
			}
		}
	} else if len(list) > 0 {
		c.bad(path+".values", "Only one value can stand here.")
	}
	switch op {
	case OneOf, NoneOf:
		if v.known() {
			c.bad(path+".value", "Only a list of values can stand here.")
		}
	case Contains:
		if v.Type != devices.Text || v.Str == "" {
			c.bad(path+".value", "Give the text that is to be found.")
		} else {
			c.value(path+".value", v)
		}
	case Missing, Numeric:
		if v.Type != devices.Bool {
			c.bad(path+".value", "Say true or false.")
		}
	default:
		if c.op(path, op, v) {
			c.fits(path+".value", a, op, v)
		}
	}
	if and != nil {
		switch {
		case !isRange(op, and.Op):
			c.bad(path+".and", "A range has a lower and an upper end.")
		case c.op(path+".and", and.Op, and.Value):
			c.fits(path+".and.value", a, and.Op, and.Value)
		}
	}
}

// op checks a comparison and its value.
func (c *checker) op(path string, op Op, v Value) bool {
	if !slices.Contains(Ops, op) {
		c.bad(path+".op", "A comparison is one of == != < <= > >=.")
		return false
	}
	if !c.value(path+".value", v) {
		return false
	}
	if v.Type != devices.Number && op != Equal && op != NotEqual {
		c.bad(path+".op", "Only numbers are greater or less than others.")
		return false
	}
	return true
}

func (c *checker) value(path string, v Value) bool {
	switch {
	case v.Type == devices.Bool:
	case v.Type == devices.Number && !math.IsInf(v.Num, 0) && !math.IsNaN(v.Num):
	case v.Type == devices.Text:
		return c.text(path, v.Str, MaxText)
	default:
		c.bad(path, "Give a value: on or off, a number or a text.")
		return false
	}
	return true
}

// aspect finds what a rule speaks of; nil if it is not there (now).
func (c *checker) aspect(path, entity, aspect string) *devices.Aspect {
	if entity == "" || len(entity) > MaxText || !printable(entity) {
		c.bad(path+".entity", "Choose an entity.")
		return nil
	}
	if aspect == "" || len(aspect) > MaxText || !printable(aspect) {
		c.bad(path+".aspect", "Choose what of the entity counts.")
		return nil
	}
	if c.house == nil {
		return nil
	}
	e := c.house.Entity(entity)
	if e == nil {
		c.warn(path+".entity", "There is no %s at present.", entity)
		return nil
	}
	for i := range e.Aspects {
		if e.Aspects[i].Name == aspect {
			return &e.Aspects[i]
		}
	}
	c.warn(path+".aspect", "%s has no %s at present.", e.Name, aspect)
	return nil
}

// fits checks that an aspect, if it is known, can be compared with a value.
func (c *checker) fits(path string, a *devices.Aspect, op Op, v Value) {
	if a == nil || !v.known() {
		return
	}
	switch a.Type {
	case devices.Bool, devices.Number:
		if v.Type != a.Type {
			c.bad(path, "%s is %s.", a.Name, typeWords(a.Type))
		}
	case devices.Enum:
		if v.Type != devices.Text {
			c.bad(path, "%s is a text.", a.Name)
		} else if len(a.Options) > 0 && !slices.Contains(a.Options, v.Str) {
			c.warn(path, "%s is one of %s.", a.Name, list(a.Options))
		}
	case devices.Text: // or a number, of a sensor that names no unit
		if v.Type == devices.Bool {
			c.bad(path, "%s is a text.", a.Name)
		}
	default:
		if v.Type != devices.Text {
			c.bad(path, "%s is a text.", a.Name)
		}
	}
}

// sampleTopic is a topic with something in the place of each expression.
func sampleTopic(s string) string {
	list, err := pieces(s)
	if err != nil {
		return s
	}
	var b strings.Builder
	for _, p := range list {
		if p.expr {
			b.WriteString("x")
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// all checks conditions that stand within actions.
func (c *checker) all(path string, list []Condition, needed bool) {
	if needed && len(list) == 0 {
		c.bad(path, "Give a condition.")
	}
	for i := range list {
		c.condition(at(path, i), &list[i], 1)
	}
}

// flow checks the actions that direct others.
func (c *checker) flow(path string, a *Action) {
	needs := func(path string, list []Action) {
		if len(list) == 0 {
			c.bad(path, "Say what is done: add an action.")
		}
	}
	switch {
	case a.If != nil:
		c.all(path+".if.when", a.If.When, true)
		needs(path+".if.then", a.If.Then)
	case a.Choose != nil:
		if n := len(a.Choose.Options); n == 0 || n > 20 {
			c.bad(path+".choose.options", "Give 1 to 20 options.")
		}
		for i, o := range a.Choose.Options {
			c.all(at(path+".choose.options", i)+".when", o.When, true)
		}
	case a.Repeat != nil:
		r := a.Repeat
		n := 0
		for _, set := range []bool{r.Count.known(), r.While != nil, r.Until != nil, r.Each != nil} {
			if set {
				n++
			}
		}
		if n != 1 {
			c.bad(path+".repeat", "Give exactly one of count, while, until and each.")
		}
		if r.Count.known() {
			if _, template := wholeExpression(r.Count.Str); template {
				c.template(path+".repeat.count", r.Count.Str)
			} else if n := r.Count.Num; r.Count.Type != devices.Number || n != math.Trunc(n) || n < 1 || n > maxCount {
				c.bad(path+".repeat.count", "It can be repeated 1 to %d times.", maxCount)
			}
		}
		if r.Each != nil && len(r.Each) == 0 {
			c.bad(path+".repeat.each", "Give the values.")
		}
		if r.template() != "" {
			c.template(path+".repeat.each", r.Each[0].Str)
		}
		if len(r.Each) > 1000 {
			c.bad(path+".repeat.each", "There can be 1000 values.")
		}
		for i, v := range r.Each {
			c.value(at(path+".repeat.each", i), v)
		}
		if r.Max < 0 || r.Max > maxCount {
			c.bad(path+".repeat.max", "It can be repeated 1 to %d times.", maxCount)
		}
		c.all(path+".repeat.while", r.While, false)
		c.all(path+".repeat.until", r.Until, false)
		needs(path+".repeat.do", r.Do)
	case a.Parallel != nil:
		if n := len(a.Parallel.Branches); n < 2 || n > MaxParallel {
			c.bad(path+".parallel.branches", "Give 2 to %d branches.", MaxParallel)
		}
		for i, list := range a.Parallel.Branches {
			needs(at(path+".parallel.branches", i), list)
		}
	case a.Check != nil:
		c.all(path+".check", a.Check, true)
	case a.Confirm != nil:
		needs(path+".confirm.do", a.Confirm.Do)
		if m := a.Confirm.Message; m != nil {
			c.messageWait(path+".confirm", m, a.Confirm.Until)
		} else {
			c.all(path+".confirm.until", a.Confirm.Until, true)
		}
		c.duration(path+".confirm.within", a.Confirm.Within)
		if a.Confirm.Retries < 0 || a.Confirm.Retries > 20 {
			c.bad(path+".confirm.retries", "It can be tried again 0 to 20 times.")
		}
	case a.Stop != nil:
		c.template(path+".stop.why", a.Stop.Why)
	case a.Fail != nil:
		c.template(path+".fail.why", a.Fail.Why)
	case a.Note != "":
		c.text(path+".note", a.Note, MaxText)
		c.template(path+".note", a.Note)
	case a.Call != nil && !validID(a.Call.Rule):
		c.bad(path+".call.rule", "Name an automation by its ID.")
	case a.Enable != nil && !validID(a.Enable.Rule):
		c.bad(path+".enable.rule", "Name an automation by its ID.")
	case a.Disable != nil && !validID(a.Disable.Rule):
		c.bad(path+".disable.rule", "Name an automation by its ID.")
	case a.Set != nil:
		c.variables(path+".set", a.Set)
		for _, name := range sortedKeys(a.Set) {
			c.template(path+".set."+name, a.Set[name].Str)
		}
	}
}

func (c *checker) variables(path string, vars map[string]Value) {
	if len(vars) > MaxVariables {
		c.bad(path, "There can be %d variables.", MaxVariables)
	}
	for _, name := range sortedKeys(vars) {
		if name == "" || !validCapture(name) || name[0] >= '0' && name[0] <= '9' {
			c.bad(path+"."+name, "A variable has a name of a-z, 0-9 and _.")
		}
		c.value(path+"."+name, vars[name])
	}
}

func (c *checker) action(path string, a Action, depth int) {
	c.actions++
	if c.actions > MaxActions {
		return
	}
	if depth > MaxNested {
		c.bad(path, "Actions can be nested %d deep.", MaxNested)
		return
	}
	if a.OnError != "" && a.OnError != "fail" && a.OnError != "continue" {
		c.bad(path+".on_error", "This is fail or continue.")
	}
	if !c.oneOf(path, "action", a.Publish != nil, a.Command != nil, a.Wait != nil, a.Confirm != nil, a.If != nil, a.Choose != nil,
		a.Repeat != nil, a.Check != nil, a.Stop != nil, a.Fail != nil, a.Set != nil, a.Note != "",
		a.Call != nil, a.Enable != nil, a.Disable != nil, a.Parallel != nil, a.Scene != nil, a.Notify != nil, a.HTTP != nil) {
		return
	}
	c.flow(path, &a)
	lists, keys := a.lists()
	for i, list := range lists {
		for j := range list {
			c.action(at(path+"."+keys[i], j), list[j], depth+1)
		}
	}
	switch {
	case a.Publish != nil:
		p := a.Publish
		path += ".publish"
		// What stands for a substitution may be empty, or hold anything: the
		// topic it makes is checked again before it is used.
		if err := topic.ValidName(sampleTopic(p.Topic)); err != nil || len(p.Topic) > MaxText {
			c.bad(path+".topic", "A topic such as home/hall/lamp/set is needed, without + and #.")
		}
		c.text(path+".payload", p.Payload, MaxPayload)
		c.template(path+".topic", p.Topic)
		c.template(path+".payload", p.Payload)
		if p.QoS > mqtt.ExactlyOnce {
			c.bad(path+".qos", "QoS is 0, 1 or 2.")
		}
		if p.Expiry != 0 {
			c.duration(path+".expiry", p.Expiry)
		}
	case a.Scene != nil:
		c.scene(path+".scene", a.Scene)
	case a.Notify != nil:
		c.notify(path+".notify", a.Notify)
	case a.HTTP != nil:
		c.http(path+".http", a.HTTP)
	case a.Command != nil:
		c.command(path+".command", a.Command)
	case a.Wait != nil && (a.Wait.Until != nil || a.Wait.Message != nil):
		if a.Wait.For != 0 {
			c.bad(path+".wait.for", "Wait either for a time or until something holds.")
		}
		if m := a.Wait.Message; m != nil {
			c.messageWait(path+".wait", m, a.Wait.Until)
		} else {
			c.all(path+".wait.until", a.Wait.Until, true)
		}
		c.duration(path+".wait.within", a.Wait.Within)
	case a.Wait != nil:
		if a.Wait.Within != 0 || a.Wait.Then != nil || a.Wait.Else != nil {
			c.bad(path+".wait", "Only a wait until something holds has within, then and else.")
		}
		c.duration(path+".wait.for", a.Wait.For)
	}
}

// messageWait checks a message that is waited for, in the place of conditions.
func (c *checker) messageWait(path string, m *MessageWait, until []Condition) {
	if until != nil {
		c.bad(path+".until", "Give either conditions or a message.")
	}
	path += ".message"
	c.filter(path+".filter", m.Filter)
	c.path(path+".path", m.Path)
	if m.Payload != nil {
		c.compare(path+".payload", m.Payload)
	}
}

// kinds are those of entities that can be told something.
var kinds = []devices.Kind{devices.Light, devices.Switch, devices.Cover, devices.Fan, devices.Climate, devices.Lock, devices.Valve, devices.Siren,
	devices.Humidifier, devices.WaterHeater, devices.Vacuum, devices.LawnMower, devices.Alarm, devices.NumberEntity, devices.Select,
	devices.TextEntity, devices.Button, devices.Scene, devices.Date, devices.DateTime, devices.TimeEntity, devices.Update, devices.Notify}

func (c *checker) command(path string, a *CommandAction) {
	n := 0
	for _, set := range []bool{a.Entity != "", a.Entities != nil, a.Area != ""} {
		if set {
			n++
		}
	}
	switch {
	case n == 0:
		c.bad(path+".entity", "Choose an entity.")
		return
	case n > 1:
		c.bad(path, "Give one of entity, entities and area.")
		return
	case len(a.Entity) > MaxText || !printable(a.Entity):
		c.bad(path+".entity", "Choose an entity.")
		return
	case a.Entities != nil:
		c.entities(path+".entities", a.Entities)
	case a.Area != "":
		if len(a.Area) > MaxText || !printable(a.Area) {
			c.bad(path+".area", "Name a room.")
		}
		if !slices.Contains(kinds, a.Kind) {
			c.bad(path+".kind", "Say which kind of entity in the room is meant: light, switch, cover and so on.")
		}
	}
	if a.Kind != "" && a.Area == "" {
		c.bad(path+".kind", "A kind belongs to an area.")
	}
	if a.Worth != 0 {
		c.duration(path+".worth", a.Worth)
	}
	if a.Command == "" || len(a.Command) > MaxText || !printable(a.Command) {
		c.bad(path+".command", "Choose what the entity is told to do.")
		return
	}
	if len(a.Args) > MaxArgs {
		c.bad(path+".args", "A command has at most %d arguments.", MaxArgs)
		return
	}
	names := sortedKeys(a.Args)
	for _, name := range names {
		if name == "" || len(name) > MaxText || !printable(name) {
			c.bad(path+".args", "Arguments have names.")
			return
		}
		c.value(path+".args."+name, a.Args[name])
		c.template(path+".args."+name, a.Args[name].Str)
	}
	if c.house == nil || a.Entity == "" {
		return
	}
	e := c.house.Entity(a.Entity)
	if e == nil {
		c.warn(path+".entity", "There is no %s at present.", a.Entity)
		return
	}
	i := slices.IndexFunc(e.Commands, func(d devices.Command) bool { return d.Name == a.Command })
	if i < 0 {
		c.warn(path+".command", "%s cannot %s at present.", e.Name, a.Command)
		return
	}
	known := e.Commands[i]
	for _, name := range names {
		j := slices.IndexFunc(known.Args, func(d devices.Aspect) bool { return d.Name == name })
		if j < 0 {
			c.warn(path+".args."+name, "%s takes no %s at present.", a.Command, name)
			continue
		}
		d, v := known.Args[j], a.Args[name]
		if strings.Contains(v.Str, "{{") {
			continue
		}
		c.fits(path+".args."+name, &d, Equal, v)
		if d.Type == devices.Number && v.Type == devices.Number && d.Min < d.Max && (v.Num < d.Min || v.Num > d.Max) {
			c.warn(path+".args."+name, "%s is between %v and %v.", name, d.Min, d.Max)
		}
	}
	for _, name := range known.Required {
		if _, ok := a.Args[name]; !ok {
			c.bad(path+".args."+name, "%s needs a %s.", a.Command, name)
		}
	}
}

func (c *checker) filter(path, filter string) {
	filter, captures := plainFilter(filter)
	if len(captures) > 20 {
		c.bad(path, "A filter captures at most 20 levels.")
	}
	switch err := topic.ValidFilter(filter); {
	case filter == "":
		c.bad(path, "Give a topic such as home/door, or with + and # for many.")
	case err != nil:
		c.bad(path, "This is not a topic filter: it %v.", err)
	case len(filter) > MaxText:
		c.bad(path, "A topic filter has at most %d bytes.", MaxText)
	case strings.HasPrefix(filter, "$share/"):
		c.bad(path, "An automation cannot share a subscription.")
	}
}

func (c *checker) duration(path string, d Duration) {
	if time.Duration(d) < MinDuration || time.Duration(d) > MaxDuration {
		c.bad(path, "A time is between %v and %d days.", MinDuration, int(MaxDuration/(24*time.Hour)))
	}
}

// text checks free text: it may hold line ends, not other control characters.
func (c *checker) text(path, s string, limit int) bool {
	switch {
	case len(s) > limit:
		c.bad(path, "This text has at most %d bytes.", limit)
	case !utf8.ValidString(s):
		c.bad(path, "This text is not UTF-8.")
	default:
		return true
	}
	return false
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) })
}

func typeWords(t devices.Type) string {
	switch t {
	case devices.Bool:
		return "either on or off"
	case devices.Number:
		return "a number"
	}
	return "a text"
}

func list(options []string) string {
	if len(options) > 8 {
		return strings.Join(options[:8], ", ") + " …"
	}
	return strings.Join(options, ", ")
}
