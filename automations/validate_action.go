package automations

import (
	"math"
	"slices"
	"strings"

	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/mqtt/topic"
)

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
		if _, err := treeOf(p.Payload); p.JSON && err != nil {
			c.bad(path+".payload", "This is no JSON: %v.", err)
		}
		for _, s := range p.texts() {
			c.template(path+".payload", s)
		}
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
	for _, set := range []bool{a.Entity != "", a.Entities != nil, a.Area != "", a.Group != ""} {
		if set {
			n++
		}
	}
	switch {
	case n == 0:
		c.bad(path+".entity", "Choose an entity.")
		return
	case n > 1:
		c.bad(path, "Give one of entity, entities, area and group.")
		return
	case len(a.Entity) > MaxText || !printable(a.Entity):
		c.bad(path+".entity", "Choose an entity.")
		return
	case len(a.Group) > MaxText || !printable(a.Group):
		c.bad(path+".group", "Name a group.")
	case a.Group != "":
		if h, ok := c.house.(*devices.House); ok && h != nil && groupOf(h, a.Group) == nil {
			c.warn(path+".group", "There is no group %s at present.", a.Group)
		}
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
	for _, kind := range append([]devices.Kind{a.Kind, kindOfID(a.Entity)}, kindsOfIDs(a.Entities)...) {
		c.known(path+".command", kind, a.Command)
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
