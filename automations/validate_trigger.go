package automations

import (
	"slices"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt/topic"
)

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
