package automations

import (
	"math"
	"slices"
	"strings"
	"time"

	"lar.home/devices"
)

func (c *checker) condition(path string, d *Condition, depth int) {
	c.conditions++
	if c.conditions > MaxConditions {
		return
	}
	if depth > MaxDepth {
		c.bad(path, "Conditions can be nested %d deep.", MaxDepth)
		return
	}
	if !c.oneOf(path, "condition", d.State != nil, d.Time != nil, d.Payload != nil, d.Trigger != nil, d.Sun != nil, d.Expr != "", d.Home != nil, d.Rule != nil, d.All != nil, d.Any != nil, d.Not != nil) {
		return
	}
	switch {
	case d.State != nil:
		s := d.State
		path += ".state"
		a := c.aspect(path, s.Entity, s.Aspect)
		c.comparison(path, a, s.Op, s.Value, s.Values, s.And)
		if s.For != 0 {
			c.duration(path+".for", s.For)
		}
	case d.Time != nil:
		c.window(path+".time", d.Time)
	case d.Payload != nil:
		if !c.message {
			c.bad(path+".payload", "Only a trigger that is a message has a payload.")
		}
		c.compare(path+".payload", d.Payload)
	case d.Trigger != nil:
		if len(d.Trigger) == 0 {
			c.bad(path+".trigger", "Name the triggers.")
		}
		for i, id := range d.Trigger {
			if !slices.Contains(c.triggers, id) {
				c.bad(at(path+".trigger", i), "No trigger of this automation has the ID %q.", clip(id))
			}
		}
	case d.Expr != "":
		c.expression(path+".expr", d.Expr, true)
	case d.Sun != nil:
		c.sun(path+".sun", d.Sun)
	case d.Home != nil:
		c.home(path+".home", d.Home)
	case d.Rule != nil:
		c.ruleIs(path+".rule", d.Rule)
	case d.Not != nil:
		c.condition(path+".not", d.Not, depth+1)
	default:
		list, name := d.All, path+".all"
		if d.Any != nil {
			list, name = d.Any, path+".any"
		}
		if len(list) == 0 {
			c.bad(name, "There is no condition in this group.")
		}
		for i := range list {
			c.condition(at(name, i), &list[i], depth+1)
		}
	}
}

func (c *checker) window(path string, w *TimeCondition) {
	for _, l := range []struct {
		name string
		at   TimeOfDay
	}{{"from", w.From}, {"to", w.To}} {
		if l.at < 0 || l.at >= 24*60 {
			c.bad(path+"."+l.name, "A time of day is between 00:00 and 23:59.")
		}
	}
	if w.From == w.To && w.From != 0 {
		c.bad(path+".to", "The window ends when it begins: choose another time.")
	}
	c.days(path, w.Days)
}

func (c *checker) sun(path string, s *SunCondition) {
	if s.Above == nil && s.Below == nil && s.After == "" && s.Before == "" {
		c.bad(path, "Say where the sun is: above, below, after or before.")
	}
	for _, l := range []struct {
		name string
		at   *float64
	}{{"above", s.Above}, {"below", s.Below}} {
		if l.at != nil && !(*l.at >= -90 && *l.at <= 90) {
			c.bad(path+"."+l.name, "An elevation is between -90 and 90 degrees.")
		}
	}
	for _, l := range []struct {
		name, event string
		offset      Duration
	}{{"after", s.After, s.AfterOffset}, {"before", s.Before, s.BeforeOffset}} {
		if l.event != "" && !slices.Contains([]string{Sunrise, Sunset, Dawn, Dusk}, l.event) {
			c.bad(path+"."+l.name, "This is one of sunrise, sunset, dawn, dusk.")
		}
		if l.offset != 0 && (l.event == "" || time.Duration(l.offset).Abs() > 12*time.Hour) {
			c.bad(path+"."+l.name+"_offset", "An offset belongs to an event, and is at most 12 hours.")
		}
	}
}

func (c *checker) days(path string, days []Weekday) {
	seen := 0
	for i, d := range days[:min(len(days), 7)] {
		if d < 0 || d > 6 {
			c.bad(at(path+".days", i), "This is not a day of the week.")
		} else if seen&(1<<d) != 0 {
			c.bad(at(path+".days", i), "A day is named twice.")
		} else {
			seen |= 1 << d
		}
	}
	if len(days) > 7 {
		c.bad(path+".days", "A week has seven days.")
	}
}

func (c *checker) compare(path string, p *Compare) {
	c.path(path+".path", p.Path)
	c.comparison(path, nil, p.Op, p.Value, p.Values, p.And)
}

// path checks a place in a payload.
func (c *checker) path(path, p string) {
	c.text(path, p, MaxText)
	if p != "" && slices.Contains(strings.Split(p, "."), "") {
		c.bad(path, "Names in a path are joined by single dots, as in update.state.")
	}
}

// comparison checks one, with the aspect that is compared if it is known.
func (c *checker) comparison(path string, a *devices.Aspect, op Op, v Value, list []Value, and *Bound) {
	if op == OneOf || op == NoneOf {
		if len(list) == 0 || len(list) > MaxArgs {
			c.bad(path+".values", "Give 1 to %d values.", MaxArgs)
			return
		}
		for i, v := range list {
			if c.value(at(path+".values", i), v) {
				c.fits(at(path+".values", i), a, op, v)
			}
		}
	} else if len(list) > 0 {
		c.bad(path+".values", "Only one value can stand here.")
	}
	switch op {
	case OneOf, NoneOf:
		if v.known() {
			c.bad(path+".value", "Only a list of values can stand here.")
		}
	case Contains:
		if v.Type != devices.Text || v.Str == "" {
			c.bad(path+".value", "Give the text that is to be found.")
		} else {
			c.value(path+".value", v)
		}
	case Missing, Numeric:
		if v.Type != devices.Bool {
			c.bad(path+".value", "Say true or false.")
		}
	default:
		if c.op(path, op, v) {
			c.fits(path+".value", a, op, v)
		}
	}
	if and != nil {
		switch {
		case !isRange(op, and.Op):
			c.bad(path+".and", "A range has a lower and an upper end.")
		case c.op(path+".and", and.Op, and.Value):
			c.fits(path+".and.value", a, and.Op, and.Value)
		}
	}
}

// op checks a comparison and its value.
func (c *checker) op(path string, op Op, v Value) bool {
	if !slices.Contains(Ops, op) {
		c.bad(path+".op", "A comparison is one of == != < <= > >=.")
		return false
	}
	if !c.value(path+".value", v) {
		return false
	}
	if v.Type != devices.Number && op != Equal && op != NotEqual {
		c.bad(path+".op", "Only numbers are greater or less than others.")
		return false
	}
	return true
}

func (c *checker) value(path string, v Value) bool {
	switch {
	case v.Type == devices.Bool:
	case v.Type == devices.Number && !math.IsInf(v.Num, 0) && !math.IsNaN(v.Num):
	case v.Type == devices.Text:
		return c.text(path, v.Str, MaxText)
	default:
		c.bad(path, "Give a value: on or off, a number or a text.")
		return false
	}
	return true
}

// all checks conditions that stand within actions.
func (c *checker) all(path string, list []Condition, needed bool) {
	if needed && len(list) == 0 {
		c.bad(path, "Give a condition.")
	}
	for i := range list {
		c.condition(at(path, i), &list[i], 1)
	}
}
