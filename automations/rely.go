package automations

import (
	"regexp"

	"lar.home/devices"
	"lar.home/mqtt"
)

// The model keeps last values lazily, up to some minutes late. A run that waits
// for something must not find, after a power cut, that it has come because a
// value is an older one: what it relies on is kept with the turn in which the
// wait begins and in those in which it changes. So is what a condition with a
// time looks at, whose age counts.

// relyOn keeps the values that conditions look at.
func (e *Engine) relyOn(t *mqtt.Turn, conditions []Condition) {
	if e.model == nil || len(conditions) == 0 || e.ready() != nil {
		return
	}
	for _, id := range e.looksAt(conditions) {
		e.model.Keep(t, id)
	}
}

// relied keeps a value that has changed, if a run that waits or a condition
// with a time relies on it: numbers when a comparison flips, never per sample.
func (e *Engine) relied(t *mqtt.Turn, c *devices.Change) {
	if e.model == nil || !c.News || e.ready() != nil {
		return
	}
	keep := e.index.lasting[c.Entity.ID] > 0 && c.New.Type != devices.Number
	for i := 0; i < len(e.awaiting) && !keep; i++ {
		until, _ := e.awaiting[i].awaited()
		walkConditions(until, func(one *Condition) {
			switch s := one.State; {
			case keep:
			case s != nil && s.Entity == c.Entity.ID && s.Aspect == c.Aspect:
				compare := &Compare{Op: s.Op, Value: s.Value, Values: s.Values, And: s.And}
				keep = c.New.Type != devices.Number || compare.HoldsOf(Value(c.Old)) != compare.HoldsOf(Value(c.New))
			case one.Home != nil:
				keep = c.Entity.Kind == devices.Tracker
			case one.Expr != "" && c.New.Type != devices.Number:
				for _, id := range namedIn(one.Expr) {
					keep = keep || id == c.Entity.ID
				}
			}
		})
	}
	if keep {
		e.model.Keep(t, c.Entity.ID)
	}
}

// looksAt lists the entities that conditions look at.
func (e *Engine) looksAt(conditions []Condition) (ids []string) {
	walkConditions(conditions, func(c *Condition) {
		switch {
		case c.State != nil:
			ids = append(ids, c.State.Entity)
		case c.Expr != "":
			ids = append(ids, namedIn(c.Expr)...)
		case c.Home != nil && c.Home.Of != nil:
			ids = append(ids, c.Home.Of...)
		case c.Home != nil:
			ids = append(ids, trackersOf(e.house())...)
		}
	})
	return ids
}

var entityInExpression = regexp.MustCompile(`(?:state|age)\(\s*["']([a-z_]+\.[^"']+)["']`)

// namedIn lists the entities that an expression asks for by name.
func namedIn(expression string) (ids []string) {
	for _, m := range entityInExpression.FindAllStringSubmatch(expression, -1) {
		ids = append(ids, m[1])
	}
	return ids
}

// lastingIn lists the entities that conditions with a time look at.
func lastingIn(def *Rule) (ids []string) {
	walkConditions(def.allConditions(), func(c *Condition) {
		if c.State != nil && c.State.For > 0 {
			ids = append(ids, c.State.Entity)
		}
	})
	return ids
}
