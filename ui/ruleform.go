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

// formOf fills a form with a rule.
func formOf(r *automations.Rule, h *devices.House) view.RuleForm {
	f := view.RuleForm{ID: r.ID, Base: r.Version, From: r.Version, Name: r.Name, Mode: cmp.Or(string(r.Mode), "restart"), House: h}
	if r.Max > 0 {
		f.Max = strconv.Itoa(r.Max)
	}
	rd := reader{house: h}
	for _, t := range r.Triggers {
		f.Triggers = append(f.Triggers, whole(triggerForm(t), t, rd.trigger))
	}
	if len(f.Triggers) == 0 {
		f.Triggers = []view.Block{{Kind: "state", Fields: url.Values{}}}
	}
	f.Conditions, f.Actions = rd.conditionBlocks(r.Conditions), rd.actionBlocks(r.Actions)
	number(&f)
	return f
}

// whole returns a block if the same part comes back of it, and otherwise one
// that holds the part as text: nothing is lost on its way through the form.
func whole[P automations.Trigger | automations.Condition | automations.Action](b view.Block, part P, read func(*view.Block) P) view.Block {
	b.Errors = map[string]string{}
	if b.Kind != "" && survives(b.Fields) {
		again, err := json.Marshal(read(&b))
		want, wrong := json.Marshal(part)
		if err == nil && wrong == nil && !faulty(&b) && string(again) == string(want) {
			b.Errors = nil
			return b
		}
	}
	return view.Block{Kind: "text", Fields: set("yaml", automations.PartYAML(part))}
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

// triggerForm, conditionForm and actionForm fill a block as well as there are
// fields for it: see whole.
func triggerForm(t automations.Trigger) (b view.Block) {
	switch {
	case t.Message != nil:
		b = view.Block{Kind: "message", Fields: set("filter", t.Message.Filter)}
		if p := t.Message.Payload; p != nil {
			b.Fields.Set("path", p.Path)
			setComparison(b.Fields, p.Op, p.Value, p.Values, p.And)
		}
		if t.Message.On == automations.Changed {
			b.Fields.Set("changed", "on")
		}
	case t.State != nil:
		b = stateTriggerForm(t.State)
	case t.Time != nil:
		var at []string
		for _, c := range t.Time.At {
			at = append(at, c.String())
		}
		b = view.Block{Kind: "time", Fields: set("at", strings.Join(at, ", "))}
		setDays(b.Fields, t.Time.Days)
	case t.Cron != nil:
		b = view.Block{Kind: "cron", Fields: set("at", t.Cron.At)}
	case t.Every != nil:
		b = view.Block{Kind: "every", Fields: url.Values{}}
		setSpan(b.Fields, "period", time.Duration(t.Every.Period))
	case t.Sun != nil:
		b = view.Block{Kind: "sun", Fields: set("event", t.Sun.Event, "side", "after")}
		if t.Sun.Elevation != nil {
			b.Fields = set("event", "elevation", "deg", automations.Number(*t.Sun.Elevation).String(), "going", t.Sun.Going, "side", "after")
		}
		offset := time.Duration(t.Sun.Offset)
		if offset < 0 {
			b.Fields.Set("side", "before")
		}
		setSpan(b.Fields, "offset", offset.Abs())
		for field, at := range map[string]*automations.TimeOfDay{"notbefore": t.Sun.NotBefore, "notafter": t.Sun.NotAfter} {
			if at != nil {
				b.Fields.Set(field, at.String())
			}
		}
		setDays(b.Fields, t.Sun.Days)
	case t.Silent != nil:
		b = view.Block{Kind: "silent", Fields: set("entity", t.Silent.Entity, "filter", t.Silent.Filter)}
		setSpan(b.Fields, "for", time.Duration(t.Silent.For))
	case t.Rule != nil:
		b = view.Block{Kind: "rule", Fields: set("rule", t.Rule.ID)}
		for ended, outcomes := range endings {
			if slices.Equal(outcomes, t.Rule.Outcome) {
				b.Fields.Set("ended", ended)
			}
		}
	case t.Scene != nil:
		b = view.Block{Kind: "scene", Fields: set("scene", t.Scene.ID)}
	case t.Webhook != nil:
		b = view.Block{Kind: "webhook", Fields: set("hook", t.Webhook.ID)}
	case t.Start != nil:
		b = view.Block{Kind: "start", Fields: url.Values{}}
		setSpan(b.Fields, "after", time.Duration(t.Start.After))
	case t.Hand != nil:
		b = view.Block{Kind: "hand", Fields: url.Values{}}
	default:
		return b
	}
	if t.ID != "" {
		b.Fields.Set("id", t.ID)
	}
	return b
}

func stateTriggerForm(s *automations.StateTrigger) view.Block {
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
	case s.ToAny != nil:
		v.Set("test", "in")
		v.Set("value", wordList(s.ToAny))
	default:
		v.Set("test", "change")
	}
	if s.From != nil {
		v.Set("from", wordList(s.From))
	}
	if s.Hysteresis != 0 {
		v.Set("hysteresis", automations.Number(s.Hysteresis).String())
	}
	setSpan(v, "for", time.Duration(s.For))
	return view.Block{Kind: "state", Fields: v}
}

// endings are the ways in which a run of another automation can have ended, by
// what stands for them.
var endings = map[string][]automations.Outcome{
	"done":    nil,
	"failed":  {automations.Failed},
	"stopped": {automations.Stopped},
	"any":     {automations.Done, automations.Failed, automations.Stopped},
}

func setDays(v url.Values, days []automations.Weekday) {
	for _, d := range days {
		v.Add("day", d.String())
	}
}

// sides are the parts of the day that a form knows, by what stands for them.
var sides = map[string]automations.SunCondition{
	"day":   {After: automations.Sunrise, Before: automations.Sunset},
	"night": {After: automations.Sunset, Before: automations.Sunrise},
	"light": {After: automations.Dawn, Before: automations.Dusk},
	"dark":  {After: automations.Dusk, Before: automations.Dawn},
}

func (rd reader) conditionForm(c automations.Condition) (b view.Block) {
	switch {
	case c.State != nil:
		b = view.Block{Kind: "state", Fields: stateFields(c.State)}
	case c.Time != nil:
		b = view.Block{Kind: "time", Fields: set("from", c.Time.From.String(), "to", c.Time.To.String())}
		setDays(b.Fields, c.Time.Days)
	case c.Payload != nil:
		b = view.Block{Kind: "payload", Fields: set("path", c.Payload.Path)}
		setComparison(b.Fields, c.Payload.Op, c.Payload.Value, c.Payload.Values, c.Payload.And)
	case c.Sun != nil:
		for side, sun := range sides {
			if *c.Sun == sun {
				b = view.Block{Kind: "sun", Fields: set("side", side)}
			}
		}
		for side, degrees := range map[string]*float64{"above": c.Sun.Above, "below": c.Sun.Below} {
			if degrees != nil {
				b = view.Block{Kind: "sun", Fields: set("side", side, "deg", automations.Number(*degrees).String())}
			}
		}
	case c.Home != nil:
		b = view.Block{Kind: "home", Fields: set("is", c.Home.Is)}
	case c.Rule != nil:
		b = view.Block{Kind: "rule", Fields: set("rule", c.Rule.ID, "is", c.Rule.Is)}
	case c.Expr != "":
		b = view.Block{Kind: "expr", Fields: set("expr", c.Expr)}
	case c.All != nil:
		b = newBlock("all", 0)
		b.List("of").Blocks = rd.conditionBlocks(c.All)
	case c.Any != nil:
		b = newBlock("any", 0)
		b.List("of").Blocks = rd.conditionBlocks(c.Any)
	case c.Not != nil:
		b = newBlock("not", 0)
		b.List("of").Blocks = rd.conditionBlocks([]automations.Condition{*c.Not})
	}
	return b
}

func stateFields(s *automations.StateCondition) url.Values {
	v := set("what", s.Entity+"|"+s.Aspect)
	setComparison(v, s.Op, s.Value, s.Values, s.And)
	setSpan(v, "for", time.Duration(s.For))
	return v
}

// onlyState returns the condition on a state that a list consists of, or nil.
func onlyState(list []automations.Condition) *automations.StateCondition {
	if len(list) != 1 {
		return nil
	}
	return list[0].State
}

func (rd reader) actionForm(a automations.Action) (b view.Block) {
	switch {
	case a.Publish != nil:
		b = view.Block{Kind: "publish", Fields: set("topic", a.Publish.Topic, "payload", a.Publish.Payload, "qos", strconv.Itoa(int(a.Publish.QoS)))}
		if a.Publish.Retain {
			b.Fields.Set("retain", "on")
		}
		setSpan(b.Fields, "expiry", time.Duration(a.Publish.Expiry))
	case a.Wait != nil && onlyState(a.Wait.Until) != nil && a.Wait.Then == nil && a.Wait.Else == nil:
		b = view.Block{Kind: "until", Fields: stateFields(onlyState(a.Wait.Until))}
		setSpan(b.Fields, "within", time.Duration(a.Wait.Within))
	case onlyState(a.Check) != nil:
		b = view.Block{Kind: "check", Fields: stateFields(onlyState(a.Check))}
	case a.Scene != nil && a.Scene.Capture != "":
		b = view.Block{Kind: "capture", Fields: set("scene", a.Scene.Capture)}
		b.Fields["entity"] = a.Scene.Entities
	case a.Scene != nil:
		b = view.Block{Kind: "scene", Fields: set("scene", a.Scene.Apply)}
	case a.Call != nil:
		b = view.Block{Kind: "rule", Fields: set("do", "call", "rule", a.Call.Rule)}
		if a.Call.Conditions {
			b.Fields.Set("do", "ask")
		}
	case a.Enable != nil:
		b = view.Block{Kind: "rule", Fields: set("do", "enable", "rule", a.Enable.Rule)}
	case a.Disable != nil:
		b = view.Block{Kind: "rule", Fields: set("do", "disable", "rule", a.Disable.Rule)}
	case a.Wait != nil && a.Wait.For == 0:
		b = rd.awaitForm(a.Wait)
	case a.Wait != nil:
		b = view.Block{Kind: "wait", Fields: url.Values{}}
		setSpan(b.Fields, "for", time.Duration(a.Wait.For))
	case a.Notify != nil:
		b = view.Block{Kind: "notify", Fields: set("to", a.Notify.To, "title", a.Notify.Title, "text", a.Notify.Text, "urgency", cmp.Or(a.Notify.Urgency, automations.Normal))}
		if a.Notify.Urgency == automations.Normal {
			b.Fields.Set("said", "on") // it need not be
		}
	case a.Command != nil:
		b = view.Block{Kind: "command", Fields: set("what", a.Command.Entity+"|"+a.Command.Command)}
		if c := a.Command; c.Group != "" {
			b = view.Block{Kind: "many", Fields: set("where", "group|"+c.Group, "command", c.Command)}
		} else if c.Entities != nil {
			b = view.Block{Kind: "many", Fields: set("where", "list|", "command", c.Command)}
			b.Fields["entity"] = c.Entities
		} else if c.Area != "" {
			b = view.Block{Kind: "many", Fields: set("where", "area|"+string(c.Kind)+"|"+c.Area, "command", c.Command)}
		}
		setSpan(b.Fields, "worth", time.Duration(a.Command.Worth))
		for name, value := range a.Command.Args {
			b.Fields.Set("arg."+name, value.String())
		}
	default:
		b = rd.stepForm(a)
	}
	return b
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
	f := view.RuleForm{Name: clean(posted.Get("name")), Mode: posted.Get("mode"), Max: strings.TrimSpace(posted.Get("max")), Fate: posted.Get("runs"), House: h, Changed: true}
	f.Base, _ = strconv.Atoi(posted.Get("base"))
	f.From, _ = strconv.Atoi(posted.Get("from"))
	p := sortOut(posted)
	f.Triggers, f.Conditions, f.Actions = p.take("t", "t"), p.take("c", "c"), p.take("a", "a")
	if len(f.Triggers) == 0 {
		f.Triggers = []view.Block{{Kind: "state", Fields: url.Values{}}}
	}
	number(&f)
	return f
}

// arrange carries out what a button of the form asks for: "add a wait",
// "remove c1", "up a2_then_0", "more a3", "less a3 1". Anything else only draws
// the form anew.
func arrange(f *view.RuleForm, op string) {
	defer number(f)
	verb, rest, _ := strings.Cut(op, " ")
	key, more, _ := strings.Cut(rest, " ")
	if verb == "add" {
		if list, letter := listAt(f, key); list != nil && slices.Contains(view.Kinds[letter], more) && len(*list) < mostBlocks[letter] {
			*list = append(*list, newBlock(more, 0))
		}
		return
	}
	list, i := blockIn(f, key)
	if list == nil {
		return
	}
	l := *list
	switch {
	case verb == "remove" && (key[0] != 't' || len(l) > 1):
		*list = slices.Delete(l, i, i+1)
	case verb == "up" && i > 0:
		l[i-1], l[i] = l[i], l[i-1]
	case verb == "down" && i+1 < len(l):
		l[i], l[i+1] = l[i+1], l[i]
	case verb == "more":
		resize(&l[i], -1)
	case verb == "less":
		if which, err := strconv.Atoi(more); err == nil && which >= 0 {
			resize(&l[i], which)
		}
	}
}

// A reader makes a rule of a form and notes what is wrong at its field.
type reader struct{ house *devices.House }

// ruleOf makes a rule of a form; what the form does not show is as in base.
// Whatever cannot be read is noted at its field; the rule is then not to be
// saved.
func ruleOf(f *view.RuleForm, base *automations.Rule) (r automations.Rule, ok bool) {
	f.Errors = map[string]string{}
	rd := reader{f.House}
	if base != nil {
		r = *base
	}
	r.ID, r.Name, r.Mode = f.ID, f.Name, automations.Mode(cmp.Or(f.Mode, "restart"))
	if base != nil && base.Mode == "" && r.Mode == automations.Restart {
		r.Mode = "" // it goes without saying
	}
	r.Max, r.Triggers, r.Conditions, r.Actions = 0, nil, nil, nil
	ok = true
	if r.Mode == automations.Parallel || r.Mode == automations.Queued {
		n, err := strconv.Atoi(cmp.Or(f.Max, strconv.Itoa(automations.MaxParallel)))
		if err != nil {
			f.Errors["max"], ok = "Give a number.", false
		}
		r.Max = n
	}
	for i := range f.Triggers {
		b := &f.Triggers[i]
		b.Errors = map[string]string{}
		r.Triggers = append(r.Triggers, rd.trigger(b))
		ok = ok && len(b.Errors) == 0
	}
	r.Conditions, r.Actions = rd.conditions(f.Conditions), rd.actions(f.Actions)
	ok = ok && !slices.ContainsFunc(f.Conditions, isFaulty) && !slices.ContainsFunc(f.Actions, isFaulty)
	if !ok && len(f.Errors) == 0 {
		f.Errors["form"] = "blocks"
	}
	return r, ok
}

// textPart reads a block that holds the text of its part.
func textPart[P automations.Trigger | automations.Condition | automations.Action](b *view.Block) P {
	part, problems := automations.ReadPart[P](strings.ReplaceAll(b.Get("yaml"), "\r\n", "\n"))
	for _, p := range problems {
		if !p.Warning {
			note(b.Errors, "yaml", "Line "+strconv.Itoa(p.Line)+", column "+strconv.Itoa(p.Column)+": "+p.Text)
		}
	}
	return part
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

// chosen returns what is chosen in a field that must not be left empty.
func (rd reader) chosen(b *view.Block, field, wrong string) string {
	text := strings.TrimSpace(b.Get(field))
	if text == "" {
		b.Errors[field] = wrong
	}
	return text
}

func (rd reader) trigger(b *view.Block) (t automations.Trigger) {
	switch b.Kind {
	case "text":
		return textPart[automations.Trigger](b)
	case "message":
		m := &automations.MessageTrigger{Filter: strings.TrimSpace(b.Get("filter"))}
		if b.Get("value") != "" || valueless(b.Get("op")) {
			m.Payload = rd.compare(b)
		} else if strings.TrimSpace(b.Get("path")) != "" {
			b.Errors["value"] = "Say which value."
		}
		if b.Get("changed") != "" {
			m.On = automations.Changed
		}
		t.Message = m
	case "time":
		t.Time = &automations.TimeTrigger{Days: rd.days(b)}
		for text := range strings.FieldsFuncSeq(b.Get("at"), func(r rune) bool { return r == ',' || r == ' ' || r == ';' }) {
			var at automations.TimeOfDay
			if len(text) == 4 {
				text = "0" + text // 7:00
			}
			if at.UnmarshalText([]byte(text)) != nil {
				b.Errors["at"] = "Say times of day, like 7:00 or 7:00, 19:30."
			}
			t.Time.At = append(t.Time.At, at)
		}
		if len(t.Time.At) == 0 {
			b.Errors["at"] = "Say at what time, like 7:00."
		}
	case "cron":
		t.Cron = &automations.CronTrigger{At: strings.TrimSpace(b.Get("at"))}
	case "every":
		t.Every = &automations.EveryTrigger{Period: rd.span(b, "period")}
		if t.Every.Period == 0 && b.Errors["period"] == "" {
			b.Errors["period"] = "Say how often."
		}
	case "sun":
		t.Sun = rd.sun(b)
	case "silent":
		t.Silent = &automations.SilentTrigger{Entity: b.Get("entity"), For: rd.span(b, "for")}
		if t.Silent.Entity == "" {
			t.Silent.Filter = strings.TrimSpace(b.Get("filter"))
		}
		if t.Silent.Entity == "" && t.Silent.Filter == "" {
			b.Errors["entity"] = "Choose a device, or give a topic."
		}
		if t.Silent.For == 0 && b.Errors["for"] == "" {
			b.Errors["for"] = "Say how long."
		}
	case "rule":
		t.Rule = &automations.RuleTrigger{ID: rd.chosen(b, "rule", "Choose an automation."), Outcome: endings[b.Get("ended")]}
	case "scene":
		t.Scene = &automations.SceneTrigger{ID: rd.chosen(b, "scene", "Say which scene.")}
	case "webhook":
		t.Webhook = &automations.WebhookTrigger{ID: rd.chosen(b, "hook", "Give it a name, like doorbell.")}
	case "start":
		t.Start = &automations.StartTrigger{After: rd.span(b, "after")}
	case "hand":
		t.Hand = &automations.HandTrigger{}
	default:
		t.State = rd.stateTrigger(b)
	}
	t.ID = b.Get("id")
	return t
}

func (rd reader) sun(b *view.Block) *automations.SunTrigger {
	s := &automations.SunTrigger{Event: cmp.Or(b.Get("event"), automations.Sunset), Offset: rd.span(b, "offset"), Days: rd.days(b)}
	if s.Event == "elevation" {
		s.Event, s.Elevation, s.Going = "", rd.degrees(b), cmp.Or(b.Get("going"), automations.Up)
	}
	if b.Get("side") == "before" {
		s.Offset = -s.Offset
	}
	for field, at := range map[string]**automations.TimeOfDay{"notbefore": &s.NotBefore, "notafter": &s.NotAfter} {
		if text := b.Get(field); text != "" {
			*at = new(automations.TimeOfDay)
			if (*at).UnmarshalText([]byte(text)) != nil {
				b.Errors[field] = "Say a time of day, like 22:30."
			}
		}
	}
	return s
}

func (rd reader) stateTrigger(b *view.Block) *automations.StateTrigger {
	s := &automations.StateTrigger{}
	s.Entity, s.Aspect = rd.what(b)
	if s.Entity == "" {
		return s
	}
	if text := strings.TrimSpace(b.Get("from")); text != "" {
		s.From = rd.wordsOf(b, "from", s.Entity, s.Aspect)
	}
	switch b.Get("test") {
	case "change":
		return s
	case "in":
		if s.ToAny = rd.wordsOf(b, "value", s.Entity, s.Aspect); s.ToAny == nil {
			b.Errors["value"] = "Say which values."
		}
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
	if s.To == nil && s.ToAny == nil && strings.TrimSpace(b.Get("hysteresis")) != "" {
		if h := rd.limit(b, "hysteresis", s.Entity, s.Aspect); h != nil {
			s.Hysteresis = *h
		}
	}
	s.For = rd.span(b, "for")
	return s
}

// days reads the days of the week that are ticked.
func (rd reader) days(b *view.Block) (days []automations.Weekday) {
	for _, text := range b.Fields["day"] {
		var d automations.Weekday
		if d.UnmarshalText([]byte(text)) == nil && !slices.Contains(days, d) {
			days = append(days, d)
		}
	}
	return days
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
		c.Days = rd.days(b)
		return automations.Condition{Time: c}
	case "payload":
		return automations.Condition{Payload: rd.compare(b)}
	case "sun":
		sun, ok := sides[b.Get("side")]
		switch b.Get("side") {
		case "above":
			return automations.Condition{Sun: &automations.SunCondition{Above: rd.degrees(b)}}
		case "below":
			return automations.Condition{Sun: &automations.SunCondition{Below: rd.degrees(b)}}
		}
		if !ok {
			b.Errors["side"] = "Choose a part of the day."
		}
		return automations.Condition{Sun: &sun}
	case "home":
		return automations.Condition{Home: &automations.HomeCondition{Is: cmp.Or(b.Get("is"), automations.Anyone)}}
	case "rule":
		return automations.Condition{Rule: &automations.RuleCondition{ID: rd.chosen(b, "rule", "Choose an automation."), Is: cmp.Or(b.Get("is"), automations.Running)}}
	case "expr":
		return automations.Condition{Expr: rd.chosen(b, "expr", "Say what is to be calculated.")}
	case "all":
		return automations.Condition{All: rd.group(b)}
	case "any":
		return automations.Condition{Any: rd.group(b)}
	case "not":
		of := rd.group(b)
		if len(of) != 1 {
			b.Errors["of"] = "Give one condition. Several go into a group of conditions here."
			of = make([]automations.Condition, 1)
		}
		return automations.Condition{Not: &of[0]}
	case "text":
		return textPart[automations.Condition](b)
	}
	return rd.state(b)
}

// state reads a condition on the state of a device.
func (rd reader) state(b *view.Block) automations.Condition {
	s := &automations.StateCondition{Op: automations.Equal}
	s.Entity, s.Aspect = rd.what(b)
	if s.Entity != "" {
		t := aspectType(rd.house.Entity(s.Entity), s.Aspect)
		s.Op, s.Value, s.Values, s.And = rd.comparison(b, t, func(field string) automations.Value { return rd.value(b, field, s.Entity, s.Aspect) })
	}
	s.For = rd.span(b, "for")
	return automations.Condition{State: s}
}

func (rd reader) action(b *view.Block) automations.Action {
	switch b.Kind {
	case "text":
		return textPart[automations.Action](b)
	case "publish":
		qos, _ := strconv.Atoi(b.Get("qos"))
		return automations.Action{Publish: &automations.PublishAction{
			Topic:   strings.TrimSpace(b.Get("topic")),
			Payload: strings.ReplaceAll(b.Get("payload"), "\r\n", "\n"), // browsers send the former for a line's end
			QoS:     mqtt.QoS(min(max(qos, 0), 2)),
			Retain:  b.Get("retain") != "",
			Expiry:  rd.span(b, "expiry"),
		}}
	case "notify":
		n := &automations.NotifyAction{To: b.Get("to"), Title: b.Get("title"), Text: strings.ReplaceAll(b.Get("text"), "\r\n", "\n"), Urgency: b.Get("urgency")}
		if n.Urgency == automations.Normal && b.Get("said") == "" {
			n.Urgency = ""
		}
		return automations.Action{Notify: n}
	case "wait":
		w := &automations.WaitAction{For: rd.span(b, "for")}
		if w.For == 0 && b.Errors["for"] == "" {
			b.Errors["for"] = "Say how long."
		}
		return automations.Action{Wait: w}
	case "until":
		w := &automations.WaitAction{Until: []automations.Condition{rd.state(b)}, Within: rd.span(b, "within")}
		if w.Within == 0 && b.Errors["within"] == "" {
			b.Errors["within"] = "Say how long at the most."
		}
		return automations.Action{Wait: w}
	case "check":
		return automations.Action{Check: []automations.Condition{rd.state(b)}}
	case "capture":
		s := &automations.SceneAction{Capture: rd.chosen(b, "scene", "Give the scene a name."), Entities: b.Fields["entity"]}
		if len(s.Entities) == 0 {
			b.Errors["entity"] = "Choose what is remembered."
		}
		return automations.Action{Scene: s}
	case "scene":
		return automations.Action{Scene: &automations.SceneAction{Apply: rd.chosen(b, "scene", "Say which scene.")}}
	case "rule":
		id := rd.chosen(b, "rule", "Choose an automation.")
		switch b.Get("do") {
		case "enable":
			return automations.Action{Enable: &automations.RuleAction{Rule: id}}
		case "disable":
			return automations.Action{Disable: &automations.RuleAction{Rule: id}}
		}
		return automations.Action{Call: &automations.CallAction{Rule: id, Conditions: b.Get("do") == "ask"}}
	case "command", "many":
		return rd.command(b)
	}
	return rd.step(b)
}

func (rd reader) command(b *view.Block) automations.Action {
	c := &automations.CommandAction{Worth: rd.span(b, "worth")}
	var known devices.Command
	var e *devices.Entity
	if b.Kind == "many" {
		where := rd.chosen(b, "where", "Choose a room, a group or devices.")
		c.Command = rd.chosen(b, "command", "Choose what it is told.")
		if of, rest, _ := strings.Cut(where, "|"); of == "group" {
			c.Group = rest
		} else if of == "list" {
			if c.Entities = b.Fields["entity"]; len(c.Entities) == 0 {
				b.Errors["entity"] = "Choose the devices."
			}
		} else {
			kind, area, _ := strings.Cut(rest, "|")
			c.Kind, c.Area = devices.Kind(kind), area
		}
		b.House = rd.house
		e, known = b.Knows(c.Command)
	} else if c.Entity, c.Command = rd.what(b); c.Entity != "" {
		if e = rd.house.Entity(c.Entity); e != nil {
			known, _ = view.Command(e, c.Command)
		}
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
				note(f.Errors, p.Path, p.Text)
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

// blockAt returns the innermost block that a path such as
// "actions[1].if.then[0].publish.topic" leads to, and the rest of the path.
func blockAt(f *view.RuleForm, path string) (b *view.Block, rest string) {
	for name, list := range map[string][]view.Block{"triggers": f.Triggers, "conditions": f.Conditions, "actions": f.Actions} {
		if after, ok := strings.CutPrefix(path, name); ok {
			if b, rest = itemAt(list, after); b != nil {
				return b, rest
			}
		}
	}
	return nil, path
}

// itemAt is blockAt for the part of a path behind the name of a list.
func itemAt(list []view.Block, path string) (b *view.Block, rest string) {
	index, rest, ok := strings.Cut(strings.TrimPrefix(path, "["), "]")
	i, err := strconv.Atoi(index)
	if !strings.HasPrefix(path, "[") || !ok || err != nil || i < 0 || i >= len(list) {
		return nil, path
	}
	b, rest = &list[i], strings.TrimPrefix(rest, ".")
	for _, l := range b.Lists {
		after, ok := strings.CutPrefix(rest, l.Path)
		if ok && b.Kind == "not" && strings.HasPrefix(after, ".") {
			after = "[0]" + after // it has but one
		}
		if inner, innerRest := itemAt(l.Blocks, after); ok && inner != nil {
			return inner, innerRest
		}
	}
	return b, rest
}

// fieldAt names the field of a block that the rest of a path is about.
func fieldAt(b *view.Block, rest string) string {
	if b.Kind == "text" {
		return "yaml"
	}
	for _, l := range b.Lists {
		if rest == l.Path {
			return l.Name
		}
	}
	if field, ok := rowAt(b, rest); ok {
		return field
	}
	names := strings.Split(rest, ".")
	last, _, _ := strings.Cut(names[len(names)-1], "[")
	switch last {
	case "entity", "aspect", "command":
		if b.Kind == "silent" {
			return "entity"
		}
		if last == "command" && len(names) == 1 {
			return ""
		}
		if b.Kind == "many" {
			return "command"
		}
		return "what"
	case "group", "area", "kind":
		return "where"
	case "id":
		switch b.Kind {
		case "webhook":
			return "hook"
		case "rule", "scene":
			return b.Kind
		}
		return ""
	case "apply", "capture":
		return "scene"
	case "entities":
		return "entity"
	case "values", "to_any":
		return "value"
	case "and":
		return "value2"
	case "elevation":
		return "deg"
	case "repeat":
		return "how"
	case "stop", "fail":
		return "why"
	case "call", "enable", "disable":
		return "rule"
	case "to", "above":
		if b.Kind == "time" || b.Kind == "notify" {
			return last
		}
		if b.Kind == "sun" {
			return "deg"
		}
		return "value"
	case "below":
		if b.Kind == "sun" {
			return "deg"
		}
		if b.Get("test") == "between" {
			return "below"
		}
		return "value"
	case "not_before", "not_after":
		return strings.ReplaceAll(last, "_", "")
	case "filter", "topic", "payload", "qos", "for", "from", "op", "value", "path", "at", "period", "offset", "event", "after", "hysteresis", "title", "text", "urgency",
		"within", "worth", "expiry", "rule", "is", "expr", "going", "count", "each", "max", "retries", "why", "url", "method", "body", "timeout", "note":
		if last == "payload" && b.Kind != "publish" {
			return "value"
		}
		if last == "value" && len(names) > 1 && names[len(names)-2] == "and" {
			return "value2"
		}
		return last
	default:
		if len(names) >= 2 && names[len(names)-2] == "args" {
			return "arg." + last
		}
	}
	return ""
}
