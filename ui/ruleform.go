package ui

import (
	"cmp"
	"encoding/json"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

// kinds are the kinds of blocks, by the letter of their list.
var kinds = map[string][]string{
	"t": {"state", "message"},
	"c": {"state", "time", "payload", "kept"},
	"a": {"command", "publish", "wait"},
}

// formOf fills a form with a rule.
func formOf(r *automations.Rule, h *devices.House) view.RuleForm {
	f := view.RuleForm{ID: r.ID, Base: r.Version, Name: r.Name, Mode: cmp.Or(string(r.Mode), "restart"), House: h}
	f.Trigger = view.Block{Kind: "state", Fields: url.Values{}}
	if !r.FormEditable() {
		f.Text = r.YAML()
		return f
	}
	if len(r.Triggers) > 0 {
		f.Trigger = triggerForm(r.Triggers[0])
	}
	for _, c := range r.Conditions {
		f.Conditions = append(f.Conditions, conditionForm(c, h))
	}
	for _, a := range r.Actions {
		f.Actions = append(f.Actions, actionForm(a))
	}
	number(&f)
	return f
}

// number says of each block where it stands.
func number(f *view.RuleForm) {
	f.Trigger.Prefix, f.Trigger.House = "t", f.House
	for letter, list := range map[string][]view.Block{"c": f.Conditions, "a": f.Actions} {
		for i := range list {
			list[i].Prefix, list[i].House = letter+strconv.Itoa(i), f.House
		}
	}
}

func set(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			v.Set(pairs[i], pairs[i+1])
		}
	}
	return v
}

func triggerForm(t automations.Trigger) view.Block {
	if m := t.Message; m != nil {
		v := set("filter", m.Filter)
		if m.Payload != nil {
			v.Set("path", m.Payload.Path)
			v.Set("op", string(m.Payload.Op))
			v.Set("value", m.Payload.Value.String())
		}
		return view.Block{Kind: "message", Fields: v}
	}
	s := t.State
	if s == nil {
		return view.Block{Kind: "state", Fields: url.Values{}}
	}
	v := set("what", s.Entity+"|"+s.Aspect)
	switch {
	case s.To != nil:
		v.Set("test", "to")
		v.Set("value", s.To.String())
	case s.Above != nil && s.Below != nil:
		v.Set("test", "between")
		v.Set("value", automations.Number(*s.Above).String())
		v.Set("below", automations.Number(*s.Below).String())
	case s.Above != nil:
		v.Set("test", "above")
		v.Set("value", automations.Number(*s.Above).String())
	case s.Below != nil:
		v.Set("test", "below")
		v.Set("value", automations.Number(*s.Below).String())
	default:
		v.Set("test", "change")
	}
	setSpan(v, "for", time.Duration(s.For))
	return view.Block{Kind: "state", Fields: v}
}

func conditionForm(c automations.Condition, h *devices.House) view.Block {
	switch {
	case c.State != nil:
		return view.Block{Kind: "state", Fields: set("what", c.State.Entity+"|"+c.State.Aspect, "op", string(c.State.Op), "value", c.State.Value.String())}
	case c.Time != nil:
		v := set("from", c.Time.From.String(), "to", c.Time.To.String())
		for _, d := range c.Time.Days {
			v.Add("day", d.String())
		}
		return view.Block{Kind: "time", Fields: v}
	case c.Payload != nil:
		return view.Block{Kind: "payload", Fields: set("path", c.Payload.Path, "op", string(c.Payload.Op), "value", c.Payload.Value.String())}
	}
	text, _ := json.Marshal(c) // it was read from JSON
	return view.Block{Kind: "kept", Fields: set("json", string(text), "words", view.ConditionWords(h, c))}
}

func actionForm(a automations.Action) view.Block {
	switch {
	case a.Publish != nil:
		v := set("topic", a.Publish.Topic, "payload", a.Publish.Payload, "qos", strconv.Itoa(int(a.Publish.QoS)))
		if a.Publish.Retain {
			v.Set("retain", "on")
		}
		return view.Block{Kind: "publish", Fields: v}
	case a.Wait != nil:
		v := url.Values{}
		setSpan(v, "for", time.Duration(a.Wait.For))
		return view.Block{Kind: "wait", Fields: v}
	}
	v := url.Values{}
	if c := a.Command; c != nil {
		v.Set("what", c.Entity+"|"+c.Command)
		for name, value := range c.Args {
			v.Set("arg."+name, value.String())
		}
	}
	return view.Block{Kind: "command", Fields: v}
}

// setSpan writes a length of time as a number and the largest unit that suits.
func setSpan(v url.Values, name string, d time.Duration) {
	unit, size := "s", time.Second
	switch {
	case d == 0:
		unit, size = "m", time.Minute
	case d%time.Hour == 0:
		unit, size = "h", time.Hour
	case d%time.Minute == 0:
		unit, size = "m", time.Minute
	}
	v.Set(name+"unit", unit)
	if d != 0 {
		v.Set(name, strconv.FormatFloat(float64(d)/float64(size), 'f', -1, 64))
	}
}

// readForm takes what somebody sent apart into blocks. It takes anything; what
// is wrong with it is found when a rule is made of it.
func readForm(posted url.Values, h *devices.House) view.RuleForm {
	f := view.RuleForm{Name: clean(posted.Get("name")), Mode: posted.Get("mode"), House: h, Changed: true}
	f.Base, _ = strconv.Atoi(posted.Get("base"))
	blocks := map[string]*view.Block{}
	for key, values := range posted {
		prefix, name, ok := strings.Cut(key, ".")
		if !ok || len(prefix) > 4 {
			continue
		}
		b := blocks[prefix]
		if b == nil {
			b = &view.Block{Fields: url.Values{}, Errors: map[string]string{}}
			blocks[prefix] = b
		}
		b.Fields[name] = values
	}
	take := func(letter string, limit int) []view.Block {
		var list []view.Block
		for i := range limit {
			b := blocks[letter+strconv.Itoa(i)]
			if b == nil || !slices.Contains(kinds[letter], b.Get("kind")) {
				continue
			}
			b.Kind = b.Get("kind")
			list = append(list, *b)
		}
		return list
	}
	f.Conditions, f.Actions = take("c", automations.MaxConditions+1), take("a", automations.MaxActions+1)
	f.Trigger = view.Block{Kind: "state", Fields: url.Values{}}
	if b := blocks["t"]; b != nil {
		f.Trigger = *b
		f.Trigger.Kind = b.Get("kind")
		if !slices.Contains(kinds["t"], f.Trigger.Kind) {
			f.Trigger.Kind = "state"
		}
	}
	for i := range f.Conditions {
		if b := &f.Conditions[i]; b.Kind == "kept" {
			var c automations.Condition
			if json.Unmarshal([]byte(b.Get("json")), &c) == nil {
				b.Fields.Set("words", view.ConditionWords(h, c))
			}
		}
	}
	number(&f)
	return f
}

// arrange carries out what a button of the form asks for: "add a wait",
// "remove c1", "up a2". Anything else only draws the form anew.
func arrange(f *view.RuleForm, op string) {
	verb, rest, _ := strings.Cut(op, " ")
	if verb == "add" {
		letter, kind, _ := strings.Cut(rest, " ")
		if !slices.Contains(kinds[letter], kind) || kind == "kept" {
			return
		}
		b := view.Block{Kind: kind, Fields: url.Values{}}
		switch {
		case letter == "c" && len(f.Conditions) < automations.MaxConditions:
			f.Conditions = append(f.Conditions, b)
		case letter == "a" && len(f.Actions) < automations.MaxActions:
			f.Actions = append(f.Actions, b)
		}
		number(f)
		return
	}
	if len(rest) < 2 {
		return
	}
	list := &f.Actions
	if rest[0] == 'c' {
		list = &f.Conditions
	}
	i, err := strconv.Atoi(rest[1:])
	if err != nil || i < 0 || i >= len(*list) {
		return
	}
	l := *list
	switch {
	case verb == "remove":
		*list = slices.Delete(l, i, i+1)
	case verb == "up" && i > 0:
		l[i-1], l[i] = l[i], l[i-1]
	case verb == "down" && i+1 < len(l):
		l[i], l[i+1] = l[i+1], l[i]
	}
	number(f)
}

// A reader makes a rule of a form and notes what is wrong at its field.
type reader struct {
	f     *view.RuleForm
	house *devices.House
}

// ruleOf makes a rule of a form. Whatever cannot be read is noted at its
// field; the rule is then not to be saved.
func ruleOf(f *view.RuleForm) (r automations.Rule, ok bool) {
	f.Errors = map[string]string{}
	rd := reader{f, f.House}
	r = automations.Rule{ID: f.ID, Name: f.Name, Mode: automations.Mode(cmp.Or(f.Mode, "restart"))}
	if r.Mode == automations.Parallel {
		r.Max = automations.MaxParallel
	}
	ok = true
	f.Trigger.Errors = map[string]string{}
	r.Triggers = []automations.Trigger{rd.trigger(&f.Trigger)}
	ok = ok && len(f.Trigger.Errors) == 0
	for i := range f.Conditions {
		b := &f.Conditions[i]
		b.Errors = map[string]string{}
		r.Conditions = append(r.Conditions, rd.condition(b))
		ok = ok && len(b.Errors) == 0
	}
	for i := range f.Actions {
		b := &f.Actions[i]
		b.Errors = map[string]string{}
		r.Actions = append(r.Actions, rd.action(b))
		ok = ok && len(b.Errors) == 0
	}
	if !ok {
		f.Errors["form"] = "blocks"
	}
	return r, ok
}

// what splits the choice of an entity with one of its aspects or commands.
func (rd reader) what(b *view.Block) (entity, name string) {
	entity, name, ok := strings.Cut(b.Get("what"), "|")
	if !ok {
		b.Errors["what"] = "Choose a device."
	}
	return entity, name
}

// value reads a value of an aspect.
func (rd reader) value(b *view.Block, field, entity, aspect string) automations.Value {
	text := strings.TrimSpace(b.Get(field))
	if text == "" {
		b.Errors[field] = "Say which value."
		return automations.Value{}
	}
	return rd.parse(b, field, text, aspectType(rd.house.Entity(entity), aspect))
}

func (rd reader) parse(b *view.Block, field, text string, t devices.Type) automations.Value {
	if t == "" {
		switch text {
		case "on":
			return automations.On()
		case "off":
			return automations.Off()
		}
		return automations.GuessValue(text)
	}
	if t == devices.Number {
		text = strings.Replace(text, ",", ".", 1)
	}
	v, err := automations.ParseValue(text, t)
	if err != nil {
		b.Errors[field] = upper(err.Error()) + "."
	}
	return v
}

// aspectType returns the type of an aspect; empty when it is not known here.
func aspectType(e *devices.Entity, aspect string) devices.Type {
	if e != nil {
		for _, a := range e.Aspects {
			if a.Name == aspect {
				return a.Type
			}
		}
	}
	return ""
}

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

func (rd reader) limit(b *view.Block, field, entity, aspect string) *float64 {
	v := rd.value(b, field, entity, aspect)
	if v.Type != devices.Number {
		if b.Errors[field] == "" {
			b.Errors[field] = "That is not a number."
		}
		return nil
	}
	return &v.Num
}

func (rd reader) span(b *view.Block, field string) automations.Duration {
	text := strings.Replace(strings.TrimSpace(b.Get(field)), ",", ".", 1)
	if text == "" {
		return 0
	}
	n, err := strconv.ParseFloat(text, 64)
	unit := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour}[b.Get(field+"unit")]
	if err != nil || n != n || n < 0 || unit == 0 || n*float64(unit) > float64(automations.MaxDuration) {
		b.Errors[field] = "That is not a length of time between now and a year."
		return 0
	}
	return automations.Duration(n * float64(unit))
}

func (rd reader) compare(b *view.Block) *automations.Compare {
	return &automations.Compare{
		Path:  strings.TrimSpace(b.Get("path")),
		Op:    automations.Op(cmp.Or(b.Get("op"), "==")),
		Value: automations.GuessValue(b.Get("value")),
	}
}

func (rd reader) trigger(b *view.Block) automations.Trigger {
	if b.Kind == "message" {
		m := &automations.MessageTrigger{Filter: strings.TrimSpace(b.Get("filter"))}
		if b.Get("value") != "" {
			m.Payload = rd.compare(b)
		} else if strings.TrimSpace(b.Get("path")) != "" {
			b.Errors["value"] = "Say which value."
		}
		return automations.Trigger{Message: m}
	}
	s := &automations.StateTrigger{}
	s.Entity, s.Aspect = rd.what(b)
	if s.Entity == "" {
		return automations.Trigger{State: s}
	}
	switch b.Get("test") {
	case "change":
		return automations.Trigger{State: s}
	case "above":
		s.Above = rd.limit(b, "value", s.Entity, s.Aspect)
	case "below":
		s.Below = rd.limit(b, "value", s.Entity, s.Aspect)
	case "between":
		s.Above = rd.limit(b, "value", s.Entity, s.Aspect)
		s.Below = rd.limit(b, "below", s.Entity, s.Aspect)
	default:
		v := rd.value(b, "value", s.Entity, s.Aspect)
		s.To = &v
	}
	s.For = rd.span(b, "for")
	return automations.Trigger{State: s}
}

func (rd reader) condition(b *view.Block) automations.Condition {
	switch b.Kind {
	case "time":
		c := &automations.TimeCondition{}
		for field, at := range map[string]*automations.TimeOfDay{"from": &c.From, "to": &c.To} {
			if err := at.UnmarshalText([]byte(b.Get(field))); err != nil {
				b.Errors[field] = "Say a time of day, like 22:30."
			}
		}
		for _, text := range b.Fields["day"] {
			var d automations.Weekday
			if d.UnmarshalText([]byte(text)) == nil && !slices.Contains(c.Days, d) {
				c.Days = append(c.Days, d)
			}
		}
		return automations.Condition{Time: c}
	case "payload":
		return automations.Condition{Payload: rd.compare(b)}
	case "kept":
		var c automations.Condition
		d := json.NewDecoder(strings.NewReader(b.Get("json")))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			b.Errors[""] = "This condition cannot be read. Remove it."
		}
		return c
	}
	s := &automations.StateCondition{Op: automations.Op(cmp.Or(b.Get("op"), "=="))}
	s.Entity, s.Aspect = rd.what(b)
	if s.Entity != "" {
		s.Value = rd.value(b, "value", s.Entity, s.Aspect)
	}
	return automations.Condition{State: s}
}

func (rd reader) action(b *view.Block) automations.Action {
	switch b.Kind {
	case "publish":
		qos, _ := strconv.Atoi(b.Get("qos"))
		return automations.Action{Publish: &automations.PublishAction{
			Topic:   strings.TrimSpace(b.Get("topic")),
			Payload: strings.ReplaceAll(b.Get("payload"), "\r\n", "\n"), // browsers send the former for a line's end
			QoS:     mqtt.QoS(min(max(qos, 0), 2)),
			Retain:  b.Get("retain") != "",
		}}
	case "wait":
		w := &automations.WaitAction{For: rd.span(b, "for")}
		if w.For == 0 && b.Errors["for"] == "" {
			b.Errors["for"] = "Say how long."
		}
		return automations.Action{Wait: w}
	}
	c := &automations.CommandAction{}
	c.Entity, c.Command = rd.what(b)
	e := rd.house.Entity(c.Entity)
	var known devices.Command
	if e != nil {
		known, _ = view.Command(e, c.Command)
	}
	for key := range b.Fields {
		name, ok := strings.CutPrefix(key, "arg.")
		text := strings.TrimSpace(b.Get(key))
		if !ok || text == "" {
			continue
		}
		i := slices.IndexFunc(known.Args, func(a devices.Aspect) bool { return a.Name == name })
		if e != nil && i < 0 {
			continue // left from another command that was chosen before
		}
		var t devices.Type
		if i >= 0 {
			t = known.Args[i].Type
		}
		if c.Args == nil {
			c.Args = map[string]automations.Value{}
		}
		c.Args[name] = rd.parse(b, key, text, t)
	}
	return automations.Action{Command: c}
}

// place puts what is wrong with a rule at the field of the form it is about.
func place(f *view.RuleForm, problems []automations.Problem) {
	for _, p := range problems {
		if p.Warning {
			continue
		}
		b, rest := blockAt(f, p.Path)
		if b == nil {
			switch p.Path {
			case "name", "triggers", "conditions", "actions":
				note(f.Errors, p.Path, p.Text)
			case "mode", "max":
				note(f.Errors, "mode", p.Text)
			default:
				note(f.Errors, "", p.Text)
			}
			continue
		}
		if b.Errors == nil {
			b.Errors = map[string]string{}
		}
		note(b.Errors, fieldAt(b, rest), p.Text)
		note(f.Errors, "form", "blocks")
	}
}

func note(errors map[string]string, field, text string) {
	if errors[field] == "" {
		errors[field] = text
	}
}

// blockAt returns the block that a path such as "actions[1].publish.topic"
// leads to, and the rest of the path.
func blockAt(f *view.RuleForm, path string) (b *view.Block, rest string) {
	list, after, ok := strings.Cut(path, "[")
	index, rest, closed := strings.Cut(after, "]")
	i, err := strconv.Atoi(index)
	if !ok || !closed || err != nil || i < 0 {
		return nil, path
	}
	switch {
	case list == "triggers" && i == 0:
		b = &f.Trigger
	case list == "conditions" && i < len(f.Conditions):
		b = &f.Conditions[i]
	case list == "actions" && i < len(f.Actions):
		b = &f.Actions[i]
	}
	return b, strings.TrimPrefix(rest, ".")
}

// fieldAt names the field of a block that the rest of a path is about.
func fieldAt(b *view.Block, rest string) string {
	if b.Kind == "kept" {
		return ""
	}
	names := strings.Split(rest, ".")
	switch last := names[len(names)-1]; last {
	case "entity", "aspect", "command":
		if last == "command" && len(names) == 1 {
			return ""
		}
		return "what"
	case "to", "above":
		if b.Kind == "time" {
			return last
		}
		return "value"
	case "below":
		if b.Get("test") == "between" {
			return "below"
		}
		return "value"
	case "filter", "topic", "payload", "qos", "for", "from", "op", "value", "path":
		if last == "payload" && b.Kind != "publish" {
			return "value"
		}
		return last
	default:
		if len(names) >= 2 && names[len(names)-2] == "args" {
			return "arg." + last
		}
	}
	return ""
}
