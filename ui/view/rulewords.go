package view

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/devices"
)

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
