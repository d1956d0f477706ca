package automations

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"lar.home/devices"
)

// String says in words when a trigger comes true.
func (t Trigger) String() string {
	switch {
	case t.Message != nil:
		s := "message on " + t.Message.Filter
		if p := t.Message.asked(); p != nil {
			s += " with " + p.String()
		}
		if t.Message.On == Changed {
			s += ", changed"
		}
		return s
	case t.State != nil:
		s := t.State.Entity + " " + t.State.Aspect + " "
		switch {
		case t.State.To != nil:
			s += "becomes " + t.State.To.String()
		case t.State.ToAny != nil:
			s += "becomes one of" + strings.TrimPrefix(comparisonText(OneOf, Value{}, t.State.ToAny, nil), string(OneOf))
		case t.State.Change():
			s += "changes"
		default:
			s += "gets " + thresholds(t.State)
		}
		if len(t.State.From) > 0 {
			s += ", from" + strings.TrimPrefix(comparisonText(OneOf, Value{}, t.State.From, nil), string(OneOf))
		}
		if t.State.For != 0 {
			s += " for " + span(time.Duration(t.State.For))
		}
		return s
	case t.Silent != nil:
		return "nothing heard of " + t.Silent.Entity + t.Silent.Filter + " for " + span(time.Duration(t.Silent.For))
	case t.Time != nil:
		s := "at"
		for i, c := range t.Time.At {
			if i > 0 {
				s += ","
			}
			s += " " + c.String()
		}
		return s + onDays(t.Time.Days)
	case t.Cron != nil:
		return "at " + t.Cron.At + " (cron)"
	case t.Every != nil:
		s := "every " + span(time.Duration(t.Every.Period))
		if t.Every.Offset != 0 {
			s += ", " + span(time.Duration(t.Every.Offset)) + " later"
		}
		return s
	case t.Sun != nil:
		s := t.Sun.Event
		if t.Sun.Elevation != nil {
			s = "the sun goes " + t.Sun.Going + " through " + Number(*t.Sun.Elevation).String() + "°"
		}
		if t.Sun.Offset != 0 {
			s += " " + span(time.Duration(t.Sun.Offset))
		}
		return s + onDays(t.Sun.Days)
	case t.Start != nil:
		return "the hub starts"
	case t.Rule != nil:
		s := "a run of " + t.Rule.ID + " ends"
		for i, o := range t.Rule.Outcome {
			if i > 0 {
				s += " or"
			}
			s += " " + string(o)
		}
		return s
	case t.Scene != nil:
		return "scene " + t.Scene.ID + " is applied"
	case t.Webhook != nil:
		return "webhook " + t.Webhook.ID
	case t.Hand != nil:
		return "started by hand"
	}
	return "nothing"
}

// String says which message is waited for.
func (m *MessageWait) String() string {
	s := "a message on " + m.Filter
	if m.Payload != nil {
		s += " with " + m.Payload.String()
	}
	return s
}

// kind is the key that the trigger stands under.
func (t *Trigger) kind() string {
	switch {
	case t.Message != nil:
		return "message"
	case t.State != nil:
		return "state"
	case t.Silent != nil:
		return "silent"
	case t.Time != nil:
		return "time"
	case t.Cron != nil:
		return "cron"
	case t.Every != nil:
		return "every"
	case t.Sun != nil:
		return "sun"
	case t.Start != nil:
		return "start"
	case t.Rule != nil:
		return "rule"
	case t.Scene != nil:
		return "scene"
	case t.Webhook != nil:
		return "webhook"
	}
	return "hand"
}

func onDays(days []Weekday) string {
	s := ""
	for i, d := range days {
		if i == 0 {
			s = " on"
		} else {
			s += ","
		}
		s += " " + d.String()
	}
	return s
}

// String returns the comparison as it is shown: "action == single".
func (c *Compare) String() string {
	what := "payload"
	if c.Path != "" {
		what = c.Path
	}
	return what + " " + comparisonText(c.Op, c.Value, c.Values, c.And)
}

// comparisonText returns "== single", "in a, b", "> 10 and < 20".
func comparisonText(op Op, v Value, list []Value, and *Bound) string {
	s := string(op) + " " + v.String()
	if len(list) > 0 {
		s = string(op)
		for i, v := range list {
			if i > 0 {
				s += ","
			}
			s += " " + v.String()
		}
	}
	if (op == Missing || op == Numeric) && v.Type == devices.Bool {
		if s = "is " + string(op); !v.Bool {
			s = "is not " + string(op)
		}
	}
	if and != nil {
		s += " and " + string(and.Op) + " " + and.Value.String()
	}
	return s
}

// String says in words what a condition asks for.
func (c *Condition) String() string {
	switch {
	case c.State != nil:
		s := c.State.Entity + " " + c.State.Aspect + " " + comparisonText(c.State.Op, c.State.Value, c.State.Values, c.State.And)
		if c.State.For != 0 {
			s += " for " + span(time.Duration(c.State.For))
		}
		return s
	case c.Time != nil:
		return c.Time.String()
	case c.Payload != nil:
		return c.Payload.String()
	case c.Trigger != nil:
		return "triggered by " + strings.Join(c.Trigger, " or ")
	case c.Sun != nil:
		return c.Sun.String()
	case c.Expr != "":
		return clip(c.Expr)
	case c.Home != nil:
		s := c.Home.Is + " is home"
		if len(c.Home.Of) > 0 {
			s += " of " + strings.Join(c.Home.Of, ", ")
		}
		return s
	case c.Rule != nil:
		return "automation " + c.Rule.ID + " is " + c.Rule.Is
	case c.All != nil:
		return "all of " + strconv.Itoa(len(c.All))
	case c.Any != nil:
		return "any of " + strconv.Itoa(len(c.Any))
	case c.Not != nil:
		return "not"
	}
	return "nothing"
}

// String returns "22:00 to 06:00 on fri, sat".
func (w *TimeCondition) String() string {
	var s string
	if w.From != w.To {
		s = w.From.String() + " to " + w.To.String()
	}
	for i, d := range w.Days {
		switch {
		case i > 0:
			s += ", "
		case s != "":
			s += " on "
		default:
			s += "on "
		}
		s += d.String()
	}
	return s
}

// String returns "the sun is below -3".
func (s *SunCondition) String() string {
	var parts []string
	for _, l := range []struct {
		word string
		at   *float64
	}{{"above", s.Above}, {"below", s.Below}} {
		if l.at != nil {
			parts = append(parts, l.word+" "+Number(*l.at).String()+"°")
		}
	}
	for _, l := range []struct {
		word, event string
		offset      Duration
	}{{"after", s.After, s.AfterOffset}, {"before", s.Before, s.BeforeOffset}} {
		if l.event != "" {
			part := l.word + " " + l.event
			if l.offset != 0 {
				part += " " + span(time.Duration(l.offset))
			}
			parts = append(parts, part)
		}
	}
	return "the sun is " + strings.Join(parts, " and ")
}

// String says in words what an action does.
func (a Action) String() string {
	switch {
	case a.Publish != nil:
		return a.Publish.text(a.Publish.Topic, a.Publish.Payload)
	case a.Command != nil:
		var b strings.Builder
		b.WriteString(a.Command.Command + " " + a.Command.Entity + strings.Join(a.Command.Entities, ", "))
		if a.Command.Group != "" {
			b.WriteString("the group " + a.Command.Group)
		}
		if a.Command.Area != "" {
			b.WriteString("each " + string(a.Command.Kind) + " in " + a.Command.Area)
		}
		for _, name := range sortedKeys(a.Command.Args) {
			b.WriteString(" " + name + "=" + clip(a.Command.Args[name].String()))
		}
		return b.String()
	case a.Wait != nil && a.Wait.Message != nil:
		return "wait for " + a.Wait.Message.String() + " within " + span(time.Duration(a.Wait.Within))
	case a.Confirm != nil && a.Confirm.Message != nil:
		return "confirm " + a.Confirm.Message.String() + " within " + span(time.Duration(a.Confirm.Within))
	case a.Parallel != nil:
		return strconv.Itoa(len(a.Parallel.Branches)) + " side by side"
	case a.Wait != nil && len(a.Wait.Until) > 0:
		return "wait until " + conditionsText(a.Wait.Until) + " within " + span(time.Duration(a.Wait.Within))
	case a.Wait != nil:
		return "wait " + span(time.Duration(a.Wait.For))
	case a.Confirm != nil:
		return "confirm " + conditionsText(a.Confirm.Until) + " within " + span(time.Duration(a.Confirm.Within))
	case a.If != nil:
		return "if " + conditionsText(a.If.When)
	case a.Choose != nil:
		return "choose one of " + strconv.Itoa(len(a.Choose.Options))
	case a.Repeat != nil:
		return "repeat"
	case a.Check != nil:
		return "check " + conditionsText(a.Check)
	case a.Stop != nil:
		return "stop"
	case a.Fail != nil:
		return "fail"
	case a.Set != nil:
		var parts []string
		for _, name := range sortedKeys(a.Set) {
			parts = append(parts, name+" = "+clip(a.Set[name].String()))
		}
		return "set " + strings.Join(parts, ", ")
	case a.Call != nil:
		return "call " + a.Call.Rule
	case a.Enable != nil:
		return "enable " + a.Enable.Rule
	case a.Disable != nil:
		return "disable " + a.Disable.Rule
	case a.Note != "":
		return "note " + clip(a.Note)
	case a.Scene != nil && a.Scene.Apply != "":
		return "apply scene " + a.Scene.Apply
	case a.Scene != nil:
		return "capture scene " + a.Scene.Capture
	case a.Notify != nil:
		return "notify " + a.Notify.To + " " + clip(a.Notify.Text)
	case a.HTTP != nil:
		return cmp.Or(a.HTTP.Method, "POST") + " " + clip(a.HTTP.URL)
	}
	return "nothing"
}

func conditionsText(list []Condition) string {
	var parts []string
	for i := range list {
		parts = append(parts, list[i].String())
	}
	return clip(strings.Join(parts, " and "))
}

// text says what is published, with a topic and a payload as they are sent.
func (p *PublishAction) text(topic, payload string) string {
	s := "publish " + clip(topic)
	if payload != "" {
		s += " " + clip(payload)
	}
	if p.QoS > 0 {
		s += " (QoS " + strconv.Itoa(int(p.QoS))
		if p.Retain {
			s += ", retained"
		}
		return s + ")"
	}
	if p.Retain {
		s += " (retained)"
	}
	return s
}

// span writes a time span for people: "2m", "1h30m", not "2m0s".
func span(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// maxShown bounds a text that a trace shows, in bytes.
const maxShown = 256

// clip returns the head of a text that may be of any length and content.
func clip(s string) string {
	if len(s) > maxShown {
		end := maxShown
		for end > maxShown-utf8.UTFMax && !utf8.RuneStart(s[end]) {
			end--
		}
		s = s[:end] + "…"
	}
	return strings.ToValidUTF8(s, "\uFFFD")
}

func sortedKeys(m map[string]Value) []string { return slices.Sorted(maps.Keys(m)) }

// An ID is made of the first name of a rule and stays when the name changes.
const maxID = 48

func validID(id string) bool {
	return id != "" && len(id) <= maxID && strings.Trim(id, "abcdefghijklmnopqrstuvwxyz0123456789-") == ""
}

var latin = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "ß", "ss", "à", "a", "á", "a", "â", "a", "å", "a",
	"ç", "c", "è", "e", "é", "e", "ê", "e", "ë", "e", "í", "i", "î", "i", "ï", "i", "ñ", "n", "ó", "o", "ô", "o",
	"ø", "o", "ú", "u", "û", "u", "æ", "ae", "œ", "oe")

// slug makes an ID of a name: "Night light" becomes "night-light".
func slug(name string) string {
	var b strings.Builder
	for _, r := range latin.Replace(strings.ToLower(name)) {
		switch {
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
		if b.Len() >= maxID-6 { // leaves room for a number
			break
		}
	}
	if s := strings.Trim(b.String(), "-"); s != "" {
		return s
	}
	return "automation"
}

// String says in words what triggered a run.
func (c *Cause) String() string {
	switch c.Kind {
	case ByMessage:
		if c.Payload == "" {
			return "message on " + clip(c.Topic)
		}
		return "message on " + clip(c.Topic) + ": " + clip(c.Payload)
	case ByState:
		if c.Held != 0 {
			return c.Entity + " " + c.Aspect + " has been " + c.To + " for " + span(time.Duration(c.Held))
		}
		return c.Entity + " " + c.Aspect + " went from " + c.From + " to " + c.To
	case ByHand:
		return "started by " + c.By
	case ByTime:
		return "planned for " + c.Planned.Format(time.DateTime)
	case BySilence:
		return "nothing heard of " + c.Entity + clip(c.Topic) + " for " + span(time.Duration(c.Held))
	case ByScene:
		return "scene " + c.Topic + " was applied"
	case ByRule:
		if c.Ended != "" {
			return "a run of " + c.By + " ended: " + string(c.Ended)
		}
		return "called by " + c.By
	case ByWebhook:
		return "webhook " + c.Topic
	case ByStart:
		return "the hub started"
	}
	return string(c.Kind)
}

// templates are the texts of an action that may hold expressions.
func (a *Action) templates() (list []string) {
	add := func(s ...string) { list = append(list, s...) }
	switch {
	case a.Publish != nil:
		add(a.Publish.Topic)
		add(a.Publish.texts()...)
	case a.Command != nil:
		for _, v := range a.Command.Args {
			add(v.Str)
		}
	case a.Set != nil:
		for _, v := range a.Set {
			add(v.Str)
		}
	case a.Note != "":
		add(a.Note)
	case a.Repeat != nil:
		add(a.Repeat.Count.Str)
		if len(a.Repeat.Each) == 1 {
			add(a.Repeat.Each[0].Str)
		}
	case a.Stop != nil:
		add(a.Stop.Why)
	case a.Fail != nil:
		add(a.Fail.Why)
	case a.Notify != nil:
		add(a.Notify.Title, a.Notify.Text)
	case a.HTTP != nil:
		add(a.HTTP.URL, a.HTTP.Body)
		for _, s := range a.HTTP.Headers {
			add(s)
		}
	}
	return list
}

// mentionsPayload tells whether an action needs what the trigger brought.
func (a *Action) mentionsPayload() bool {
	for _, s := range a.templates() {
		if strings.Contains(s, "{{") && (strings.Contains(s, "payload") || strings.Contains(s, "value") || strings.Contains(s, "data")) {
			return true
		}
	}
	return false
}

// mentionsPayload tells whether anything from an action on may need what the
// trigger brought.
func (r *Rule) mentionsPayload(from int) bool {
	return anyAction(r.Actions[min(from, len(r.Actions)):], func(a *Action) bool {
		return a.mentionsPayload() || len(a.conditions()) > 0
	})
}

// thresholds says what a value with thresholds is: "above 25".
func thresholds(s *StateTrigger) string {
	var limits []string
	if s.Above != nil {
		limits = append(limits, "above "+Number(*s.Above).String())
	}
	if s.Below != nil {
		limits = append(limits, "below "+Number(*s.Below).String())
	}
	return strings.Join(limits, " and ")
}
