package automations

import (
	"strings"

	"lar.home/devices"
)

// A term is a comparison as YAML has it: "is: open".
type term struct {
	key   string
	value any
}

func (c *Compare) set(op Op, v Value)               { c.Op, c.Value = op, v }
func (c *Compare) add(op Op, v Value)               { c.And = &Bound{op, v} }
func (c *Compare) among(op Op, list []Value)        { c.Op, c.Values = op, list }
func (c *Compare) terms() []term                    { return termsOf(c.Op, c.Value, c.Values, c.And) }
func (c *StateCondition) set(op Op, v Value)        { c.Op, c.Value = op, v }
func (c *StateCondition) add(op Op, v Value)        { c.And = &Bound{op, v} }
func (c *StateCondition) among(op Op, list []Value) { c.Op, c.Values = op, list }
func (c *StateCondition) terms() []term             { return termsOf(c.Op, c.Value, c.Values, c.And) }

// termsOf returns the keys a comparison is written with.
func termsOf(op Op, v Value, list []Value, and *Bound) []term {
	if op == OneOf || op == NoneOf {
		key := "is"
		if op == NoneOf {
			key = "is_not"
		}
		return []term{{key, list}}
	}
	terms := []term{{keyOf(op), v}}
	if and != nil {
		terms = append(terms, term{keyOf(and.Op), and.Value})
	}
	return terms
}

func keyOf(op Op) string {
	for _, key := range comparisons {
		if opOf[key] == op {
			return key
		}
	}
	return "is"
}

// defaultAspects is which aspect is meant where a rule names none.
var defaultAspects = map[devices.Kind]string{
	devices.Light: "on", devices.Switch: "on", devices.BinarySensor: "on", devices.Fan: "on", devices.Siren: "on", devices.Humidifier: "on",
	devices.Sensor: "value", devices.NumberEntity: "value", devices.Select: "value", devices.TextEntity: "value",
	devices.Date: "value", devices.DateTime: "value", devices.TimeEntity: "value",
	devices.Cover: "state", devices.Valve: "state", devices.Lock: "state", devices.Alarm: "state", devices.Vacuum: "state",
	devices.LawnMower: "state", devices.Tracker: "state",
	devices.Event: "event", devices.Trigger: "event", devices.Tag: "tag",
}

// Holds tells whether a payload compares as asked for.
func (c *Compare) Holds(payload []byte) bool {
	s := scene{payload: payload, message: true}
	if c.Path != "" {
		s.parts = payloadParts(payload, []string{c.Path})
	}
	r, _ := s.compare(c)
	return r == Holds
}

// HoldsOf tells whether a value compares as asked for.
func (c *Compare) HoldsOf(v Value) bool {
	if c.Op == Missing {
		return v.known() != c.Value.Bool
	}
	return v.known() && compareAll(v, c.Op, c.Value, c.Values, c.And) == Holds
}

// DefaultAspect returns the aspect that is meant where none of an entity is
// named; empty if its kind has none.
func DefaultAspect(entity string) string { return defaultAspect(entity) }

// defaultAspect returns the aspect that is meant where a rule names none.
func defaultAspect(entity string) string {
	kind, _, _ := strings.Cut(entity, ".")
	return defaultAspects[devices.Kind(kind)]
}

// complete fills in what a text may leave out.
func (s *StateTrigger) complete() {
	if s.Aspect == "" {
		s.Aspect = defaultAspect(s.Entity)
	}
}

func (c *StateCondition) complete() {
	if c.Aspect == "" {
		c.Aspect = defaultAspect(c.Entity)
	}
}
