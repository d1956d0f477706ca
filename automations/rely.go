package automations

import (
	"regexp"
	"slices"

	"lar.home/devices"
	"lar.home/mqtt"
)

// The model keeps last values lazily, up to some minutes late. After a power
// cut a run that waits must not find that something has come because a value is
// an older one, nor a condition hold that did not before. What live rules
// look at is therefore kept with the turn in which it changes:
// numbers when a comparison flips, never per sample.

// A reliance is that of a condition on an entity's value.
type reliance struct {
	rule    *rule
	aspect  string
	compare *Compare // nil for any other than a number
}

// anyTracker stands for the entity of a condition on who is home that names none.
const anyTracker = "device_tracker"

// reliancesOf lists what a rule looks at: conditions, what a state came from,
// and what a toggle is resolved by.
func reliancesOf(r *rule) map[string][]reliance {
	found := reliances(r, r.def.allConditions())
	for i := range r.def.Triggers {
		if s := r.def.Triggers[i].State; s != nil && s.From != nil {
			found[s.Entity] = append(found[s.Entity], reliance{rule: r})
		}
	}
	anyAction(r.def.Actions, func(a *Action) bool {
		if c := a.Command; c != nil && c.Command == "toggle" {
			for _, id := range append([]string{c.Entity}, c.Entities...) {
				found[id] = append(found[id], reliance{rule: r})
			}
		}
		return false
	})
	return found
}

// reliances lists what conditions look at, by entity.
func reliances(r *rule, conditions []Condition) map[string][]reliance {
	found := map[string][]reliance{}
	walkConditions(conditions, func(c *Condition) {
		switch {
		case c.State != nil:
			s := c.State
			found[s.Entity] = append(found[s.Entity], reliance{r, s.Aspect, &Compare{Op: s.Op, Value: s.Value, Values: s.Values, And: s.And}})
		case c.Expr != "":
			for _, id := range namedIn(c.Expr) {
				found[id] = append(found[id], reliance{rule: r})
			}
		case c.Home != nil && c.Home.Of != nil:
			for _, id := range c.Home.Of {
				found[id] = append(found[id], reliance{rule: r})
			}
		case c.Home != nil:
			found[anyTracker] = append(found[anyTracker], reliance{rule: r})
		}
	})
	return found
}

// on tells whether a change is one that matters.
func (r *reliance) on(c *devices.Change) bool {
	number := c.New.Type == devices.Number
	if c.New.Type == devices.Text {
		_, number = parseNumber(c.New.Str)
	}
	if !number {
		return true
	}
	return r.compare != nil && r.aspect == c.Aspect && r.compare.HoldsOf(Value(c.Old)) != r.compare.HoldsOf(Value(c.New))
}

// relyOn keeps the values that conditions look at.
func (e *Engine) relyOn(t *mqtt.Turn, conditions []Condition) {
	if e.model == nil || len(conditions) == 0 || e.ready() != nil {
		return
	}
	for _, id := range e.looksAt(conditions) {
		e.model.Keep(t, id)
	}
}

// relied keeps a value that has changed, if a condition relies on it.
func (e *Engine) relied(t *mqtt.Turn, c *devices.Change) {
	if e.model == nil || !c.News || e.ready() != nil {
		return
	}
	on := func(list []reliance) bool {
		return slices.ContainsFunc(list, func(r reliance) bool { return r.on(c) })
	}
	keep := on(e.index.Load().relied[c.Entity.ID]) || c.Entity.Kind == devices.Tracker && on(e.index.Load().relied[anyTracker])
	for i := 0; i < len(e.awaiting) && !keep; i++ {
		if w := e.awaiting[i]; w.def != w.rule.def { // an older version, which the index does not know
			until, _ := w.awaited()
			found := reliances(w.rule, until)
			keep = on(found[c.Entity.ID]) || c.Entity.Kind == devices.Tracker && on(found[anyTracker])
		}
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
