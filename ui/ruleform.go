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

func upper(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
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
