package ui

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

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
