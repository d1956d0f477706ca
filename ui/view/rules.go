package view

import (
	"cmp"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/devices"
)

// A RuleForm is an automation while somebody edits it.
type RuleForm struct {
	ID         string // empty for a new one
	Base       int    // the version it began from
	From       int    // the version that the form was filled with: what it does not show is as there
	Name       string
	Mode       string
	Max        string
	Triggers   []Block
	Conditions []Block
	Actions    []Block
	Errors     map[string]string // by field; "" for the automation as a whole
	Changed    bool              // what is shown is not saved
	House      *devices.House
	Channels   []string // by which automations notify
	Rules      []Choice // the automations there are
	Scenes     []string // the scenes there are
	Hooks      []string // addresses of the webhooks it waits for

	// Text is shown instead of the blocks, when AsText.
	AsText   bool
	Text     string
	Problems []automations.TextProblem // of the text
	// Fate is what becomes of the runs that wait, Waiting of them.
	Fate    string
	Waiting int
	// Since is what somebody else has changed since the version it began from.
	Since []automations.Line
}

// Error returns what is wrong with a field, or nothing.
func (f RuleForm) Error(name string) string { return f.Errors[name] }

// A Block is one trigger, condition or action of a RuleForm. Its fields are
// named by the prefix that says where it stands: "a2.topic".
type Block struct {
	Prefix   string // "t", "t1", "c0", "a2", "a2_then_0"
	Letter   string // of the list it stands in: "t", "c" or "a"
	Kind     string // one of Kinds
	Fields   url.Values
	Errors   map[string]string // by field or list, without prefix; "" for the block as a whole
	Lists    []List            // what it holds, of a kind that holds others
	House    *devices.House
	Channels []string
	Rules    []Choice
	Scenes   []string
}

// A Choice is an automation that another one may name.
type Choice struct{ ID, Name string }

// Get returns what is in a field.
func (b Block) Get(name string) string { return b.Fields.Get(name) }

// Has tells whether a field has a value among others.
func (b Block) Has(name, value string) bool { return slices.Contains(b.Fields[name], value) }

func (b Block) field(name string) string { return b.Prefix + "." + name }

func (b Block) id(name string) string { return b.Prefix + "-" + name }

func (b Block) err(name string) string { return b.Errors[name] }

// what returns the entity and the aspect or command that a block names.
func (b Block) what() (e *devices.Entity, name string) {
	id, name, _ := strings.Cut(b.Get("what"), "|")
	return b.House.Entity(id), name
}

// aspect returns the aspect that a block compares.
func (b Block) aspect() (devices.Aspect, bool) {
	e, name := b.what()
	if e == nil {
		return devices.Aspect{}, false
	}
	return aspectOf(e, name)
}

func aspectOf(e *devices.Entity, name string) (devices.Aspect, bool) {
	i := slices.IndexFunc(e.Aspects, func(a devices.Aspect) bool { return a.Name == name })
	if i < 0 {
		return devices.Aspect{}, false
	}
	return e.Aspects[i], true
}

// An option is a choice in a select.
type option struct{ value, text string }

// A group holds the options of one device.
type group struct {
	title   string
	options []option
}

// whats lists what a block may name, by device: aspects, or commands.
func (b Block) whats() []group {
	var groups []group
	chosen := b.Get("what")
	found := chosen == ""
	for _, d := range b.House.Devices {
		g := group{title: d.Name}
		for _, e := range d.Entities {
			if b.Kind == "command" {
				for _, c := range e.Commands {
					g.options = append(g.options, option{e.ID + "|" + c.Name, Name(e) + ": " + strings.ToLower(Label(c.Name))})
				}
				continue
			}
			for _, a := range e.Aspects {
				g.options = append(g.options, option{e.ID + "|" + a.Name, aspectIn(e, a.Name)})
			}
		}
		if len(g.options) > 0 {
			groups = append(groups, g)
		}
		found = found || slices.ContainsFunc(g.options, func(o option) bool { return o.value == chosen })
	}
	if !found {
		groups = append(groups, group{"Not here now", []option{{chosen, strings.Replace(chosen, "|", " ", 1)}}})
	}
	return groups
}

// rules lists the automations that a block may name.
func (b Block) rules() []option {
	var list []option
	chosen := b.Get("rule")
	found := chosen == ""
	if found {
		list = append(list, option{"", "Choose…"})
	}
	for _, r := range b.Rules {
		list = append(list, option{r.ID, r.Name})
		found = found || r.ID == chosen
	}
	if !found {
		list = append(list, option{chosen, chosen + " (not here now)"})
	}
	return list
}

// scenes says which scenes there are.
func (b Block) scenes() string {
	if len(b.Scenes) == 0 {
		return "None has been captured yet: the step Remember a scene does that."
	}
	return "There are now: " + strings.Join(b.Scenes, ", ") + "."
}

// wheres lists the rooms, by what is in them, and the groups that can be told
// something.
func (b Block) wheres() []group {
	var rooms, groups group
	rooms.title, groups.title = "Rooms", "Groups"
	for _, d := range b.House.Devices {
		for _, e := range d.Entities {
			if e.Area == "" || len(e.Commands) == 0 {
				continue
			}
			o := option{"area|" + string(e.Kind) + "|" + e.Area, e.Area + ": each " + strings.ReplaceAll(string(e.Kind), "_", " ")}
			if !slices.Contains(rooms.options, o) {
				rooms.options = append(rooms.options, o)
			}
		}
	}
	slices.SortFunc(rooms.options, func(a, b option) int { return strings.Compare(a.text, b.text) })
	for _, g := range b.House.Groups() {
		groups.options = append(groups.options, option{"group|" + g.ID, g.Name})
	}
	several := group{"Devices", []option{{"list|", "several devices, chosen below"}}}
	list := slices.DeleteFunc([]group{rooms, groups, several}, func(g group) bool { return len(g.options) == 0 })
	chosen := b.Get("where")
	if chosen != "" && !slices.ContainsFunc(list, func(g group) bool {
		return slices.ContainsFunc(g.options, func(o option) bool { return o.value == chosen })
	}) {
		list = append(list, group{"Not here now", []option{{chosen, chosen[strings.LastIndex(chosen, "|")+1:]}}})
	}
	return list
}

// members are the entities of the room or the group that a block names.
func (b Block) members() (list []*devices.Entity) {
	of, rest, _ := strings.Cut(b.Get("where"), "|")
	if of == "list" {
		for _, id := range b.Fields["entity"] {
			if e := b.House.Entity(id); e != nil {
				list = append(list, e)
			}
		}
		return list
	}
	if of == "group" {
		if g := b.House.Group(rest); g != nil {
			return b.House.Members(g)
		}
		return nil
	}
	kind, area, _ := strings.Cut(rest, "|")
	for _, d := range b.House.Devices {
		for _, e := range d.Entities {
			if string(e.Kind) == kind && strings.EqualFold(e.Area, area) {
				list = append(list, e)
			}
		}
	}
	return list
}

// Knows returns the first of the members of what a block names that knows a
// command, and the command.
func (b Block) Knows(command string) (*devices.Entity, devices.Command) {
	for _, e := range b.members() {
		if c, ok := Command(e, command); ok {
			return e, c
		}
	}
	return nil, devices.Command{}
}

// orders lists what the members of what a block names can be told; where
// devices are yet to be chosen, what any can.
func (b Block) orders() []option {
	list := []option{{"", "Choose…"}}
	chosen := b.Get("command")
	found := chosen == ""
	members := b.members()
	if len(members) == 0 && b.Get("where") == "list|" {
		for _, d := range b.House.Devices {
			members = append(members, d.Entities...)
		}
	}
	for _, e := range members {
		for _, c := range e.Commands {
			if o := (option{c.Name, Label(c.Name)}); !slices.Contains(list, o) {
				list = append(list, o)
			}
			found = found || c.Name == chosen
		}
	}
	if !found {
		list = append(list, option{chosen, Label(chosen)})
	}
	return list
}

// Name names an entity for people, without saying a word twice: the sensor
// "Motion" of the device "Hall motion" is "Hall motion".
func Name(e *devices.Entity) string {
	if e.Device != nil && e.Label != "" && strings.HasSuffix(strings.ToLower(e.Device.Name), " "+strings.ToLower(e.Label)) {
		return e.Device.Name
	}
	return cmp.Or(e.Name, e.ID)
}

// aspectIn names an aspect; that of an entity with one need not be named.
func aspectIn(e *devices.Entity, aspect string) string {
	if values(e) < 2 {
		return Name(e)
	}
	if aspect == "on" {
		return Name(e) + ": on or off"
	}
	return Name(e) + ": " + strings.ToLower(Label(aspect))
}

// choices lists the values an aspect can have, where they can be listed.
func choices(e *devices.Entity, a devices.Aspect) []option {
	switch {
	case a.Type == devices.Bool:
		return []option{{"on", Word(e, true)}, {"off", Word(e, false)}}
	case len(a.Options) > 0:
		list := make([]option, len(a.Options))
		for i, o := range a.Options {
			list[i] = option{o, o}
		}
		return list
	}
	return nil
}

// tests lists the ways a state can trigger.
func tests(a devices.Aspect, known bool) []option {
	list := []option{{"to", "becomes"}, {"in", "becomes one of"}, {"change", "changes"}}
	if !known || a.Type == devices.Number {
		list = append(list, option{"above", "rises above"}, option{"below", "falls below"}, option{"between", "gets between"})
	}
	return list
}

// ops lists comparisons in words.
func ops(a devices.Aspect, known bool) []option {
	list := []option{{"==", "is"}, {"!=", "is not"}}
	if !known || a.Type == devices.Number {
		list = append(list, option{">", "is above"}, option{"<", "is below"}, option{">=", "is at least"}, option{"<=", "is at most"})
		list = append(list, rangeWords...)
	}
	if !known || a.Type != devices.Bool {
		list = append(list, listWords...)
	}
	return list
}

var opWords = map[automations.Op]string{
	automations.Equal: "is", automations.NotEqual: "is not", automations.Greater: "is above",
	automations.Less: "is below", automations.GreaterEq: "is at least", automations.LessEq: "is at most",
	automations.Contains: "contains",
}

var unitOptions = []option{{"s", "seconds"}, {"m", "minutes"}, {"h", "hours"}}

var weekdayOptions = []option{{"mon", "Mon"}, {"tue", "Tue"}, {"wed", "Wed"}, {"thu", "Thu"}, {"fri", "Fri"}, {"sat", "Sat"}, {"sun", "Sun"}}

var modeOptions = []option{
	{"restart", "stop and begin again"},
	{"single", "finish first, and not begin again"},
	{"parallel", "begin again beside it"},
	{"queued", "begin again when it has ended"},
}

var fateOptions = []option{
	{"finish", "they end as they began"},
	{"move", "they go on in what is saved now"},
	{"cancel", "they are stopped"},
}

var triggerKinds = []option{
	{"state", "A device changes"},
	{"time", "A time of day"},
	{"sun", "The sun rises or sets"},
	{"every", "Again and again"},
	{"message", "A message arrives"},
	{"silent", "Nothing is heard for a time"},
	{"start", "The hub starts"},
	{"hand", "Only somebody who starts it"},
	{"rule", "Another automation has run"},
	{"scene", "A scene is applied"},
	{"webhook", "Something outside calls"},
	{"cron", "A cron schedule"},
	{"text", "Something else, as text"},
}

var urgencies = []option{{"normal", "normal"}, {"low", "low"}, {"high", "high"}}

// channels lists those that a notification may go by.
func (b Block) channels() []option {
	var list []option
	chosen := b.Get("to")
	if len(b.Channels) == 0 || chosen == "" {
		list = append(list, option{"", "Choose…"})
	}
	for _, name := range b.Channels {
		list = append(list, option{name, name})
	}
	if chosen != "" && !slices.Contains(b.Channels, chosen) {
		list = append(list, option{chosen, chosen + " (not here now)"})
	}
	return list
}

var sunEvents = []option{{"sunrise", "sunrise"}, {"sunset", "sunset"}, {"dawn", "first light (dawn)"}, {"dusk", "last light (dusk)"}, {"elevation", "a height"}}

var endings = []option{{"done", "it has done what it should"}, {"failed", "something went wrong in it"}, {"stopped", "it was stopped"}, {"any", "it has ended in whatever way"}}

var homeWays = []option{{automations.Anyone, "somebody is home"}, {automations.Nobody, "nobody is home"}, {automations.Everyone, "everybody is home"}}

var ruleWays = []option{{automations.Running, "is under way"}, {automations.Idle, "is not under way"}, {automations.IsEnabled, "is switched on"}, {automations.IsDisabled, "is switched off"}}

var ruleOrders = []option{{"call", "run it"}, {"ask", "run it if its conditions hold"}, {"enable", "switch it on"}, {"disable", "switch it off"}}

// payloadOps are the comparisons of a message.
func payloadOps() []option {
	return append(ops(devices.Aspect{}, false), partOps...)
}

var sunSides = []option{{"after", "after it"}, {"before", "before it"}}

var sunParts = []option{
	{"day", "the sun is up"}, {"night", "the sun is down"}, {"light", "it is light, twilight too"}, {"dark", "it is dark, after twilight"},
	{"above", "the sun is higher than"}, {"below", "the sun is lower than"},
}

// entities lists those that a block may name as a whole.
func (b Block) entities() []group {
	var groups []group
	chosen := b.Get("entity")
	found := chosen == ""
	for _, d := range b.House.Devices {
		g := group{title: d.Name}
		for _, e := range d.Entities {
			g.options = append(g.options, option{e.ID, Name(e)})
			found = found || e.ID == chosen
		}
		if len(g.options) > 0 {
			groups = append(groups, g)
		}
	}
	if !found {
		groups = append(groups, group{"Not here now", []option{{chosen, chosen}}})
	}
	return groups
}

// Words for rules. They name devices as people do, and fall back to
// identifiers where a device is not here.

func entityWords(h *devices.House, id string) string {
	if e := h.Entity(id); e != nil {
		return Name(e)
	}
	return id
}

func aspectWords(h *devices.House, id, aspect string) string {
	e := h.Entity(id)
	switch {
	case e == nil:
		return id + " " + aspect
	case aspect == "on" || values(e) < 2:
		return Name(e)
	}
	return Name(e) + " " + strings.ToLower(Label(aspect))
}

// valueWords says a value as the page of its entity does.
func valueWords(h *devices.House, id, aspect string, v automations.Value) string {
	e := h.Entity(id)
	if e == nil {
		return v.String()
	}
	a, ok := aspectOf(e, aspect)
	switch {
	case !ok:
		return v.String()
	case v.Type == devices.Bool:
		return strings.ToLower(Word(e, v.Bool))
	}
	if a.Type == devices.Number && a.Precision >= 0 {
		a.Precision = -1 // as it was typed
	}
	return Text(a, devices.Value(v))
}

// Span writes a length of time in words.
func Span(d time.Duration) string {
	var words []string
	for _, u := range []struct {
		size time.Duration
		word string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		if n := d / u.size; n > 0 {
			words = append(words, plural(int(n), u.word))
			d -= n * u.size
		}
	}
	if d > 0 || len(words) == 0 {
		s := strconv.FormatFloat(d.Seconds(), 'f', -1, 64)
		word := " seconds"
		if s == "1" {
			word = " second"
		}
		words = append(words, s+word)
	}
	return strings.Join(words, " ")
}

func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return strconv.Itoa(n) + " " + word
}

func compareWords(c *automations.Compare) string {
	if opWords[c.Op] == "" || c.And != nil {
		return c.String()
	}
	what := "the message"
	if c.Path != "" {
		what = "“" + c.Path + "” in the message"
	}
	return what + " " + opWords[c.Op] + " “" + c.Value.String() + "”"
}

// TriggerWords says when a rule runs.
func TriggerWords(h *devices.House, t automations.Trigger) string {
	switch {
	case t.Message != nil:
		s := "a message arrives on " + t.Message.Filter
		if t.Message.Payload != nil {
			s += " and " + compareWords(t.Message.Payload)
		}
		return s
	case t.State != nil:
		st := t.State
		s := aspectWords(h, st.Entity, st.Aspect)
		limit := func(f float64) string { return valueWords(h, st.Entity, st.Aspect, automations.Number(f)) }
		switch {
		case st.To != nil:
			s += " " + becomes(h.Entity(st.Entity), valueWords(h, st.Entity, st.Aspect, *st.To), *st.To)
		case st.Above != nil && st.Below != nil:
			s += " gets between " + limit(*st.Above) + " and " + limit(*st.Below)
		case st.Above != nil:
			s += " rises above " + limit(*st.Above)
		case st.Below != nil:
			s += " falls below " + limit(*st.Below)
		default:
			s += " changes"
		}
		if len(st.From) > 0 || st.ToAny != nil {
			return t.String()
		}
		if st.For != 0 {
			s += " and stays so for " + Span(time.Duration(st.For))
		}
		return s
	case t.Time != nil:
		var at []string
		for _, c := range t.Time.At {
			at = append(at, c.String())
		}
		return "it is " + strings.Join(at, " or ") + dayWords(t.Time.Days)
	case t.Every != nil && t.Every.Offset == 0:
		return "another " + Span(time.Duration(t.Every.Period)) + " have passed, by the clock"
	case t.Sun != nil && t.Sun.Event != "":
		s := ""
		if d := time.Duration(t.Sun.Offset); d > 0 {
			s = Span(d) + " after "
		} else if d < 0 {
			s = Span(-d) + " before "
		}
		s = "it is " + s + t.Sun.Event
		if t.Sun.NotBefore != nil {
			s += ", not before " + t.Sun.NotBefore.String()
		}
		if t.Sun.NotAfter != nil {
			s += ", not after " + t.Sun.NotAfter.String()
		}
		return s + dayWords(t.Sun.Days)
	case t.Silent != nil:
		return "nothing is heard of " + cmp.Or(t.Silent.Filter, entityWords(h, t.Silent.Entity)) + " for " + Span(time.Duration(t.Silent.For))
	case t.Start != nil && t.Start.After != 0:
		return "the hub has run for " + Span(time.Duration(t.Start.After))
	case t.Hand != nil:
		return "somebody starts it"
	}
	return t.String()
}

// dayWords says on which days of the week, or nothing for all.
func dayWords(list []automations.Weekday) string {
	var days []string
	for _, d := range weekdayOptions {
		if slices.ContainsFunc(list, func(w automations.Weekday) bool { return w.String() == d.value }) {
			days = append(days, d.text)
		}
	}
	if len(days) == 0 {
		return ""
	}
	return " on " + strings.Join(days, ", ")
}

// detects are the classes of binary sensor that detect what they are named
// after.
var detects = map[string]bool{"motion": true, "occupancy": true, "presence": true, "smoke": true, "gas": true, "carbon_monoxide": true,
	"moisture": true, "sound": true, "vibration": true}

// becomes says that an entity takes on a value: "detects motion", "becomes
// open".
func becomes(e *devices.Entity, words string, v automations.Value) string {
	if on := v.String(); e != nil && e.Kind == devices.BinarySensor && detects[e.DeviceClass] && on == "on" {
		return "detects " + strings.ReplaceAll(e.DeviceClass, "_", " ")
	}
	return "becomes " + words
}

// ConditionWords says what must hold for a rule to run.
func ConditionWords(h *devices.House, c automations.Condition) string {
	join := func(list []automations.Condition, word string) string {
		words := make([]string, len(list))
		for i := range list {
			words[i] = ConditionWords(h, list[i])
		}
		return "(" + strings.Join(words, word) + ")"
	}
	switch {
	case c.State != nil:
		s := c.State
		if opWords[s.Op] == "" || s.And != nil {
			return c.String()
		}
		words := aspectWords(h, s.Entity, s.Aspect) + " " + opWords[s.Op] + " " + valueWords(h, s.Entity, s.Aspect, s.Value)
		if s.For != 0 {
			words += " for " + Span(time.Duration(s.For)) + " or longer"
		}
		return words
	case c.Sun != nil && c.Sun.Above == nil && c.Sun.Below == nil && c.Sun.AfterOffset == 0 && c.Sun.BeforeOffset == 0:
		switch {
		case c.Sun.After == automations.Sunrise && c.Sun.Before == automations.Sunset:
			return "the sun is up"
		case c.Sun.After == automations.Sunset && c.Sun.Before == automations.Sunrise:
			return "the sun is down"
		case c.Sun.After == automations.Dawn && c.Sun.Before == automations.Dusk:
			return "it is light"
		case c.Sun.After == automations.Dusk && c.Sun.Before == automations.Dawn:
			return "it is dark"
		}
	case c.Time != nil:
		s := "it is between " + c.Time.From.String() + " and " + c.Time.To.String()
		if c.Time.From == c.Time.To {
			s = "it is"
		}
		if days := dayWords(c.Time.Days); days != "" {
			s += days
		} else if c.Time.From == c.Time.To {
			s += " any time"
		}
		return s
	case c.Payload != nil:
		return compareWords(c.Payload)
	case c.Home != nil && c.Home.Of == nil:
		for _, way := range homeWays {
			if way.value == c.Home.Is {
				return way.text
			}
		}
	case c.All != nil:
		return join(c.All, " and ")
	case c.Any != nil:
		return join(c.Any, " or ")
	case c.Not != nil:
		return "not " + ConditionWords(h, *c.Not)
	}
	return c.String()
}

// ActionWords says what a step of a rule does.
func ActionWords(h *devices.House, a automations.Action) string {
	switch {
	case a.Command != nil && a.Command.Entity != "":
		c := a.Command
		s := Label(c.Command) + " " + entityWords(h, c.Entity)
		var args []string
		for name, v := range c.Args {
			args = append(args, strings.ToLower(Label(name))+" "+valueWords(h, c.Entity, name, v))
		}
		if len(args) > 0 {
			slices.Sort(args)
			s += " (" + strings.Join(args, ", ") + ")"
		}
		return s
	case a.Publish != nil:
		s := "Send “" + a.Publish.Payload + "” to " + a.Publish.Topic
		if a.Publish.Payload == "" {
			s = "Send an empty message to " + a.Publish.Topic
		}
		return s
	case a.Notify != nil:
		return "Notify " + a.Notify.To + ": “" + cmp.Or(a.Notify.Title, a.Notify.Text) + "”"
	case a.Wait != nil:
		if a.Wait.For != 0 {
			return "Wait " + Span(time.Duration(a.Wait.For))
		}
		if len(a.Wait.Until) == 1 {
			return "Wait until " + ConditionWords(h, a.Wait.Until[0]) + ", for " + Span(time.Duration(a.Wait.Within)) + " at the most"
		}
	case len(a.Check) == 1:
		return "Go on only if " + ConditionWords(h, a.Check[0])
	}
	return Label(a.String())
}

// Summary says a rule in a sentence.
func Summary(h *devices.House, r *automations.Rule) string {
	var when []string
	for _, t := range r.Triggers {
		when = append(when, TriggerWords(h, t))
	}
	s := "When " + strings.Join(when, " or ")
	for i, c := range r.Conditions {
		if i == 0 {
			s += ", if "
		} else {
			s += " and "
		}
		s += ConditionWords(h, c)
	}
	var do []string
	for _, a := range r.Actions {
		words := ActionWords(h, a)
		do = append(do, strings.ToLower(words[:1])+words[1:])
	}
	return s + ": " + strings.Join(do, ", then ") + "."
}

// CauseWords says what started a run.
func CauseWords(now time.Time, h *devices.House, c automations.Cause) string {
	value := func(s string) string {
		e := h.Entity(c.Entity)
		if e != nil {
			if a, ok := aspectOf(e, c.Aspect); ok {
				if v, err := automations.ParseValue(s, a.Type); err == nil && s != "unknown" && s != "" {
					return valueWords(h, c.Entity, c.Aspect, v)
				}
			}
		}
		return s
	}
	switch c.Kind {
	case automations.ByMessage:
		if c.Payload == "" {
			return "An empty message on " + c.Topic
		}
		return "The message “" + c.Payload + "” on " + c.Topic
	case automations.ByState:
		s := aspectWords(h, c.Entity, c.Aspect)
		if c.Held != 0 {
			return s + " had been " + value(c.To) + " for " + Span(time.Duration(c.Held))
		}
		if c.From == "" || c.From == "unknown" {
			return s + " became " + value(c.To)
		}
		return s + " went from " + value(c.From) + " to " + value(c.To)
	case automations.ByHand:
		return "Started by " + c.By
	case automations.ByTime:
		return "It was " + Clock(now, c.Planned)
	case automations.BySilence:
		return "Nothing was heard of " + cmp.Or(c.Topic, entityWords(h, c.Entity)) + " for " + Span(time.Duration(c.Held))
	case automations.ByWebhook:
		return "The webhook " + c.Topic + " was called"
	}
	return upper(c.String())
}

// Outcome says what became of a run, and of one that waits until when.
func Outcome(now time.Time, r *automations.Run) string {
	if r.Outcome == automations.Waiting && len(r.Actions) > 0 {
		if step := r.Actions[len(r.Actions)-1]; !step.Planned.IsZero() && step.Ended.IsZero() {
			if at := step.Planned.In(now.Location()); at.Sub(now) < 20*time.Hour {
				return "Waiting until " + at.Format("15:04")
			}
			return "Waiting until " + Clock(now, step.Planned)
		}
	}
	return OutcomeWords(r)
}

// OutcomeWords says what became of a run.
func OutcomeWords(r *automations.Run) string {
	switch r.Outcome {
	case automations.Waiting:
		return "Waiting"
	case automations.Done:
		return "Done"
	case automations.Stopped:
		return "Stopped"
	case automations.Failed:
		return "Failed"
	case automations.NotRun:
		return "Did not run"
	}
	return string(r.Outcome)
}

func outcomeIcon(r *automations.Run) string {
	switch r.Outcome {
	case automations.Waiting:
		return "timer-outline"
	case automations.Done:
		return "check-circle-outline"
	case automations.Failed:
		return "alert-outline"
	case automations.NotRun:
		return "skip-next-outline"
	}
	return "minus-circle-outline"
}

func resultIcon(r automations.Result) string {
	switch r {
	case automations.Holds:
		return "check"
	case automations.HoldsNot:
		return "close"
	}
	return "help-circle-outline"
}

func resultWords(r automations.Result) string {
	switch r {
	case automations.Holds:
		return "True"
	case automations.HoldsNot:
		return "Not true"
	}
	return "Unknown"
}

func seenRemark(s automations.Seen) string {
	if s.Value == "" {
		return resultWords(s.Result)
	}
	return resultWords(s.Result) + ": it was " + s.Value
}

// recentRuns are shown of an automation at first; the others are folded away.
const recentRuns = 3

// Clock writes a time as precisely as it is worth: to the second today, with
// the date on other days.
func Clock(now, at time.Time) string {
	at = at.In(now.Location())
	if now.YearDay() == at.YearDay() && now.Year() == at.Year() {
		return at.Format("15:04:05")
	}
	return at.Format("2 Jan, 15:04:05")
}

// seenWords says a condition of a run in words, where the version it ran is
// still known.
func seenWords(h *devices.House, def *automations.Rule, run *automations.Run, i int) string {
	seen := run.Conditions[i]
	top := 0
	for _, s := range run.Conditions[:i] {
		if s.Depth == 0 {
			top++
		}
	}
	if def == nil || seen.Depth > 0 || top >= len(def.Conditions) {
		return seen.Text
	}
	return upper(ConditionWords(h, def.Conditions[top]))
}

func stepWords(h *devices.House, def *automations.Rule, run *automations.Run, i int) string {
	if def == nil || i >= len(def.Actions) || run.Began != 0 || !plainSteps(def.Actions) {
		return run.Actions[i].Text
	}
	return ActionWords(h, def.Actions[i])
}

// plainSteps tells whether the steps of a run are the actions of its rule, one
// for one.
func plainSteps(list []automations.Action) bool {
	for _, a := range list {
		if a.Publish == nil && a.Command == nil && a.Notify == nil && (a.Wait == nil || len(a.Wait.Until) > 0) {
			return false
		}
	}
	return true
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func ruleURL(id string) string { return "/automations/" + url.PathEscape(id) }

func runURL(r *automations.Run) string { return ruleURL(r.Rule) + "/runs/" + url.PathEscape(r.ID) }

// problemsOf returns what keeps a rule from doing what it says.
func problemsOf(r *automations.Rule) []string {
	var list []string
	if r.Status.Paused != "" {
		list = append(list, r.Status.Paused)
	}
	for _, p := range r.Status.Problems {
		list = append(list, p.Text)
	}
	return slices.Compact(list)
}

var conditionTitles = map[string]string{
	"state": "a device's state", "time": "the time of day", "payload": "what the message says", "sun": "the sun", "text": "something else",
	"home": "who is home", "rule": "another automation", "expr": "a calculation",
	"any": "one of several", "all": "all of several", "not": "something that must not be",
}

var actionTitles = map[string]string{
	"command": "Tell a device", "wait": "Wait", "publish": "Send a message", "notify": "Notify", "text": "Something else",
	"many": "Tell a room, a group or several", "until": "Wait until", "check": "Go on only if", "scene": "Apply a scene", "rule": "Another automation",
	"await": "Wait until, with two ways on", "checks": "Go on only if, several conditions", "if": "If, then, otherwise", "choose": "Choose between several ways",
	"repeat": "Repeat", "confirm": "Do until it is confirmed", "parallel": "Do side by side", "capture": "Remember a scene", "set": "Set variables",
	"http": "Call a web address", "note": "Note", "stop": "End here",
}

// addPlaces are where the page comes to rest after something was added.
var addPlaces = map[string]string{"t": "when", "c": "if", "a": "then"}

// args returns the arguments of the command that a block names: those that
// are asked for at once, and the others.
func (b Block) args() (first, more []devices.Aspect) {
	e, name := b.what()
	c := devices.Command{}
	if b.Kind == "many" {
		_, c = b.Knows(b.Get("command"))
	} else if e != nil {
		c, _ = Command(e, name)
	}
	for _, a := range c.Args {
		if a.Name == "brightness" || slices.Contains(c.Required, a.Name) || b.Get("arg."+a.Name) != "" {
			first = append(first, a)
		} else {
			more = append(more, a)
		}
	}
	return first, more
}

func inUnit(a devices.Aspect) string {
	if a.Unit == "" {
		return ""
	}
	return ", " + a.Unit
}

func argHint(a devices.Aspect) string {
	switch {
	case a.Type == devices.Color:
		return "Like #ffaa00; empty for as it is."
	case a.Type == devices.Number && a.Min < a.Max:
		return Number(a.Min, -1) + " to " + Number(a.Max, -1) + "; empty for as it is."
	}
	return "Empty for as it is."
}

func stepResult(s automations.Step) string {
	switch {
	case s.Err != "":
		return "failed"
	case !s.Planned.IsZero() && s.Ended.IsZero():
		return "waiting"
	}
	return "true"
}

func stepIcon(s automations.Step) string {
	switch stepResult(s) {
	case "failed":
		return "alert-outline"
	case "waiting":
		return "timer-outline"
	}
	return "check"
}
