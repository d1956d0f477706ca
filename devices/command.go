package devices

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"lar.home/mqtt"
)

// ErrUnknown tells that there is no device or entity with an ID.
var ErrUnknown = errors.New("not in this house")

// Command tells an entity to do something. What the command and its arguments
// may be is in Entity.Commands; an error names what is allowed. What is to be
// sent is published in this turn. An entity that reports nothing shows at once
// what it was told.
func (m *Model) Command(t *mqtt.Turn, entityID, command string, args map[string]Value) error {
	n := m.nodes[entityID]
	if n == nil {
		return fmt.Errorf("entity %q: %w", cut(entityID, maxName), ErrUnknown)
	}
	i := slices.IndexFunc(n.spec.commands, func(a action) bool { return a.Name == command })
	if i < 0 {
		var names []string
		for _, a := range n.spec.commands {
			names = append(names, a.Name)
		}
		if len(names) == 0 {
			return fmt.Errorf("%s cannot be told anything", n.id)
		}
		return fmt.Errorf("%s has no command %q; it has %s", n.id, cut(command, maxName), strings.Join(names, ", "))
	}
	a := &n.spec.commands[i]
	checked, err := a.check(args)
	if err != nil {
		return fmt.Errorf("%s %s: %w", n.id, command, err)
	}
	c := &call{args: checked, now: n.live.Load().Readings}
	if err := a.run(c); err != nil {
		return fmt.Errorf("%s %s: %w", n.id, command, err)
	}
	for _, w := range m.watchers {
		if l, ok := w.(Listener); ok && n.public != nil {
			l.Commanded(t, n.public, command, checked)
		}
	}
	for _, msg := range c.out {
		t.Publish(msg)
	}
	if len(c.sets) > 0 {
		m.set(t, n, c.sets, false)
		m.finish(t)
	}
	return nil
}

// check returns the arguments in their types; a text that reads as a number
// or as on and off is taken for one, as forms send texts.
func (a *action) check(args map[string]Value) (map[string]Value, error) {
	out := make(map[string]Value, len(args))
	for _, name := range slices.Sorted(maps.Keys(args)) {
		i := slices.IndexFunc(a.Args, func(x Aspect) bool { return x.Name == name })
		if i < 0 {
			var names []string
			for _, x := range a.Args {
				names = append(names, x.Name)
			}
			if len(names) == 0 {
				return nil, fmt.Errorf("%q is not an argument; it takes none", cut(name, maxName))
			}
			return nil, fmt.Errorf("%q is not an argument; it takes %s", cut(name, maxName), strings.Join(names, ", "))
		}
		v, err := a.Args[i].check(args[name])
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out[name] = v
	}
	for _, name := range a.Required {
		if _, ok := out[name]; !ok {
			return nil, fmt.Errorf("%s is missing", name)
		}
	}
	return out, nil
}

// check returns a value as the aspect's type has it, or says what is allowed.
func (a Aspect) check(v Value) (Value, error) {
	text := v.Str
	if v.Type == Number {
		text = strconv.FormatFloat(v.Num, 'f', -1, 64)
	}
	switch a.Type {
	case Bool:
		if v.Type == Bool {
			return v, nil
		}
		switch strings.ToLower(text) {
		case "on", "true", "1":
			return BoolValue(true), nil
		case "off", "false", "0":
			return BoolValue(false), nil
		}
		return v, errors.New("it is on or off")
	case Number:
		if v.Type != Number {
			n, ok := number(v.Str)
			if !ok || !n.Known() || v.Type != Text {
				return v, errors.New("it is a number")
			}
			v = n
		}
		if v.Num != v.Num || a.Bounded() && (v.Num < a.Min || v.Num > a.Max) {
			unit := a.Unit
			if unit != "" {
				unit = " " + unit
			}
			return v, fmt.Errorf("it is from %v to %v%s", a.Min, a.Max, unit)
		}
		return v, nil
	case Enum:
		if v.Type == Bool || !slices.Contains(a.Options, text) && len(a.Options) > 0 {
			return v, fmt.Errorf("it is one of %s", cut(strings.Join(a.Options, ", "), 500))
		}
		return TextValue(text), nil
	case Color:
		if _, ok := parseRGB(strings.ToLower(text)); !ok {
			return v, errors.New("a color is written #rrggbb")
		}
		return TextValue(strings.ToLower(text)), nil
	case Time:
		if t, _ := instant(text); !t.Known() {
			return v, errors.New("a time is written as 2006-01-02T15:04:05Z")
		}
		return TextValue(text), nil
	}
	if v.Type == Bool || !utf8.ValidString(text) {
		return v, errors.New("it is a text")
	}
	if n := float64(utf8.RuneCountInString(text)); a.Bounded() && (n < a.Min || n > a.Max) {
		return v, fmt.Errorf("it has from %v to %v characters", a.Min, a.Max)
	}
	return TextValue(text), nil
}

// Topics returns the topics from which an entity's state and its availability
// are read, each once, in the order of its description.
func (m *Model) Topics(entityID string) (state, availability []string) {
	n := m.nodes[entityID]
	if n == nil {
		return nil, nil
	}
	add := func(list []string, topic string) []string {
		if slices.Contains(list, topic) {
			return list
		}
		return append(list, topic)
	}
	for i := range n.spec.reads {
		state = add(state, n.spec.reads[i].topic)
	}
	if n.spec.avail != nil {
		for i := range n.spec.avail.sources {
			availability = add(availability, n.spec.avail.sources[i].topic)
		}
	}
	return state, availability
}
