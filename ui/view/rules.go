package view

import (
	"cmp"
	"net/url"
	"slices"
	"strings"

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

func ruleURL(id string) string { return "/automations/" + url.PathEscape(id) }

func runURL(r *automations.Run) string { return ruleURL(r.Rule) + "/runs/" + url.PathEscape(r.ID) }

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
