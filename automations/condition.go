package automations

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A scene is what conditions are judged by: a moment, the house, the message.
type scene struct {
	now      mqtt.Now
	location *time.Location
	house    House
	payload  []byte
	parts    parts
	message  bool // there is a payload
	home     Place
	trigger  string // the ID of the trigger
	engine   *Engine
}

// A knowing says what expressions know. It is asked when there is one.
type knowing func() *given

// judge tells whether all conditions hold, and appends what it saw. It stops
// at the first that does not.
func (s *scene) judge(conditions []Condition, list []seen, known knowing) (Result, []seen) {
	return s.all(conditions, list, 0, known)
}

func (s *scene) all(conditions []Condition, seen []seen, depth int, known knowing) (Result, []seen) {
	result := Holds
	for i := range conditions {
		var r Result
		r, seen = s.one(&conditions[i], seen, depth, known)
		if r == HoldsNot {
			return HoldsNot, seen
		}
		if r == Unknown {
			result = Unknown
		}
	}
	return result, seen
}

func (s *scene) any(conditions []Condition, seen []seen, depth int, known knowing) (Result, []seen) {
	result := HoldsNot
	for i := range conditions {
		var r Result
		r, seen = s.one(&conditions[i], seen, depth, known)
		if r == Holds {
			return Holds, seen
		}
		if r == Unknown {
			result = Unknown
		}
	}
	return result, seen
}

func (s *scene) one(c *Condition, list []seen, depth int, known knowing) (Result, []seen) {
	here := len(list)
	list = append(list, seen{condition: c, depth: depth})
	var result Result
	var value saw
	switch {
	case c.State != nil:
		result, value = s.state(c.State)
	case c.Time != nil:
		result, value = s.time(c.Time)
	case c.Payload != nil:
		result, value = s.compare(c.Payload)
	case c.Trigger != nil:
		result, value = resultOf(s.trigger != "" && slices.Contains(c.Trigger, s.trigger)), said(s.trigger)
	case c.Sun != nil:
		result, value = s.sun(c.Sun)
	case c.Expr != "":
		result, value = s.expression(c.Expr, known)
	case c.Home != nil:
		result, value = s.whoIsHome(c.Home)
	case c.Rule != nil:
		result, value = s.ruleIs(c.Rule)
	case c.All != nil:
		result, list = s.all(c.All, list, depth+1, known)
	case c.Any != nil:
		result, list = s.any(c.Any, list, depth+1, known)
	case c.Not != nil:
		result, list = s.one(c.Not, list, depth+1, known)
		switch result {
		case Holds:
			result = HoldsNot
		case HoldsNot:
			result = Holds
		}
	default:
		result = Unknown
	}
	list[here].saw, list[here].result = value, result
	return result, list
}

func (s *scene) state(c *StateCondition) (Result, saw) {
	if s.house == nil {
		return Unknown, said("unknown")
	}
	e := s.house.Entity(c.Entity)
	if e == nil {
		if c.Op == Missing {
			return resultOf(c.Value.Bool), said("no such entity")
		}
		return Unknown, said("no such entity")
	}
	value, available := reading(e, c.Aspect)
	switch {
	case c.Op == Missing:
		return resultOf((!value.known() || !available) == c.Value.Bool), sawOf(sawValue, value)
	case !value.known():
		return Unknown, sawOf(sawValue, value)
	case !available:
		return Unknown, sawOf(sawUnavailable, value)
	}
	result := compareAll(value, c.Op, c.Value, c.Values, c.And)
	if result == Holds && c.For != 0 {
		age, known := s.age(e, c.Aspect)
		switch {
		case !known:
			return Unknown, sawOf(sawSinceWhen, value)
		case age < time.Duration(c.For):
			since := sawOf(sawSince, value)
			since.since = age
			return HoldsNot, since
		}
	}
	return result, sawOf(sawValue, value)
}

// age tells since when an aspect has had its value.
func (s *scene) age(e *devices.Entity, aspect string) (time.Duration, bool) {
	state := e.State()
	for i := range e.Aspects {
		if e.Aspects[i].Name == aspect && i < len(state.Readings) {
			r := &state.Readings[i]
			if r.Placed { // by the time elapsed, whatever the clock was set to
				return s.now.Run - r.Since, true
			}
			return max(s.now.Wall.Sub(r.Changed), 0), !r.Changed.IsZero() && s.now.Trusted
		}
	}
	return 0, false
}

func resultOf(holds bool) Result {
	if holds {
		return Holds
	}
	return HoldsNot
}

// compareAll compares a value, or a text, in every way of [Op].
func compareAll(value Value, op Op, with Value, list []Value, and *Bound) Result {
	compare := func(op Op, with Value) Result { return compareValues(value, op, with) }
	if value.Type == devices.Text {
		compare = func(op Op, with Value) Result { return compareText(value.Str, op, with) }
	}
	result := compareWith(value, op, with, list, compare)
	if result != HoldsNot && and != nil {
		if other := compare(and.Op, and.Value); result == Holds || other == HoldsNot {
			result = other
		}
	}
	return result
}

func compareWith(value Value, op Op, with Value, list []Value, compare func(Op, Value) Result) Result {
	switch op {
	case OneOf, NoneOf:
		result := HoldsNot
		for _, v := range list {
			if r := compare(Equal, v); r == Holds {
				return resultOf(op == OneOf)
			} else if r == Unknown {
				result = Unknown
			}
		}
		if result == Unknown {
			return Unknown
		}
		return resultOf(op == NoneOf)
	case Contains:
		return resultOf(strings.Contains(value.String(), with.Str))
	case Missing:
		return resultOf(!with.Bool)
	case Numeric:
		_, ok := parseNumber(value.String())
		return resultOf(ok == with.Bool)
	}
	return compare(op, with)
}

// reading returns the value of an aspect and whether its entity is available.
func reading(e *devices.Entity, aspect string) (Value, bool) {
	state := e.State()
	for i := range e.Aspects {
		if e.Aspects[i].Name == aspect && i < len(state.Readings) {
			return Value(state.Readings[i].Value), state.Available
		}
	}
	return Value{}, state.Available
}

// time looks at the clock on the wall, see [TimeCondition].
func (s *scene) time(w *TimeCondition) (Result, saw) {
	if !s.now.Trusted {
		return Unknown, said("the clock is not set")
	}
	local := s.now.Wall.In(s.location)
	clock := Clock(local.Hour(), local.Minute())
	day := Weekday(local.Weekday())
	value := saw{how: sawClock, since: time.Duration(int(day)*24*60+int(clock)) * time.Minute}
	if w.From != w.To {
		inside := w.From <= clock && clock < w.To
		if w.From > w.To {
			inside = clock >= w.From || clock < w.To
			if clock < w.To { // the window began yesterday
				day = (day + 6) % 7
			}
		}
		if !inside {
			return HoldsNot, value
		}
	}
	if len(w.Days) == 0 {
		return Holds, value
	}
	for _, d := range w.Days {
		if d == day {
			return Holds, value
		}
	}
	return HoldsNot, value
}

func (s *scene) expression(text string, known knowing) (Result, saw) {
	if s.engine == nil || known == nil {
		return Unknown, said("nothing is known")
	}
	v, err := s.engine.evaluate(text, true, known())
	if holds, ok := v.(bool); ok && err == nil {
		return resultOf(holds), sawOf(sawValue, Value(devices.BoolValue(holds)))
	} else if err != nil {
		return Unknown, said(err.Error())
	}
	return Unknown, said("unknown")
}

// sun looks where the sun stands, see [SunCondition].
func (s *scene) sun(c *SunCondition) (Result, saw) {
	if !s.now.Trusted {
		return Unknown, said("the clock is not set")
	}
	if !s.home.Known {
		return Unknown, said("nobody knows where the home is")
	}
	height := s.home.elevation(s.now.Wall)
	value := saw{how: sawSun, value: Number(height)}
	if c.Above != nil && height <= *c.Above || c.Below != nil && height >= *c.Below {
		return HoldsNot, value
	}
	if c.After == "" && c.Before == "" {
		return Holds, value
	}
	day := dayOf(s.now.Wall, s.location)
	from, to := time.Time{}, time.Time{}
	if c.After != "" {
		from = s.home.eventOn(day, c.After, s.location).Add(time.Duration(c.AfterOffset))
	}
	if c.Before != "" {
		to = s.home.eventOn(day, c.Before, s.location).Add(time.Duration(c.BeforeOffset))
	}
	after, before := !s.now.Wall.Before(from), c.Before == "" || s.now.Wall.Before(to)
	if c.After != "" && c.Before != "" && from.After(to) { // over midnight
		return resultOf(after || before), value
	}
	return resultOf(after && before), value
}

func (s *scene) compare(c *Compare) (Result, saw) {
	if !s.message {
		return Unknown, said("no message")
	}
	if c.Path == "" {
		return compareAll(Text(string(s.payload)), c.Op, c.Value, c.Values, c.And), saw{how: sawPayload}
	}
	text, ok := s.parts[c.Path]
	if !ok {
		if c.Op == Missing {
			return resultOf(c.Value.Bool), said("missing")
		} else if c.Op == Numeric {
			return HoldsNot, said("missing")
		}
		return Unknown, said("missing")
	}
	return compareAll(Text(text), c.Op, c.Value, c.Values, c.And), said(text)
}

// compareText reads text as the kind of value it is compared with.
func compareText(text string, op Op, with Value) Result {
	switch with.Type {
	case devices.Bool:
		b, ok := parseBool(text)
		if !ok {
			return Unknown
		}
		return compareValues(Value(devices.BoolValue(b)), op, with)
	case devices.Number:
		f, ok := parseNumber(text)
		if !ok {
			return Unknown
		}
		return compareValues(Number(f), op, with)
	default:
		return compareValues(Text(text), op, with)
	}
}

// compareValues compares two values of one kind; of others nothing is known. A
// text that is compared with a number is read as one: a sensor that names no
// unit has a text for a value.
func compareValues(a Value, op Op, b Value) Result {
	if a.Type == devices.Text && b.Type == devices.Number {
		return compareText(a.Str, op, b)
	}
	if a.Type != b.Type {
		return Unknown
	}
	var holds bool
	switch op {
	case Equal:
		holds = a == b
	case NotEqual:
		holds = a != b
	default:
		if a.Type != devices.Number {
			return Unknown
		}
		switch order := cmp.Compare(a.Num, b.Num); op {
		case Less:
			holds = order < 0
		case LessEq:
			holds = order <= 0
		case Greater:
			holds = order > 0
		case GreaterEq:
			holds = order >= 0
		default:
			return Unknown
		}
	}
	if holds {
		return Holds
	}
	return HoldsNot
}

// cameFrom tells whether a value was one that a state trigger asks for.
func (s *StateTrigger) cameFrom(old Value) bool {
	return len(s.From) == 0 || old.known() && compareAll(old, OneOf, Value{}, s.From, nil) == Holds
}

// holds tells whether a value is what a state trigger waits for.
func (s *StateTrigger) holds(value Value, available bool) Result {
	if !available || !value.known() {
		return Unknown
	}
	if s.To != nil {
		return compareValues(value, Equal, *s.To)
	}
	if s.ToAny != nil {
		return compareAll(value, OneOf, Value{}, s.ToAny, nil)
	}
	result := Holds
	if s.Above != nil {
		result = compareValues(value, Greater, Number(*s.Above))
	}
	if s.Below != nil && result == Holds {
		result = compareValues(value, Less, Number(*s.Below))
	}
	return result
}
