package automations

import (
	"time"

	"lar.home/mqtt"
)

// SetPlace says anew where the home stands and which time its walls show. What
// follows the clock or the sun is planned anew; an instant that has come true
// before does not do so again.
func (e *Engine) SetPlace(t *mqtt.Turn, home Place, location *time.Location) {
	e.enter(t)
	defer e.leave(t)
	if location == nil {
		location = time.Local
	}
	e.home, e.location = home, location
	for _, r := range e.order {
		r.plans = e.plansOf(r.def)
		if !r.live() || !e.followed {
			continue // the first Wake plans them
		}
		for i := range r.def.Triggers {
			switch trigger := &r.def.Triggers[i]; {
			case r.plans[i] != nil:
				r.memory[i].since = t.Now.Run
				e.planNext(t, r, i)
			case trigger.Sun != nil: // the position is not known any more
				e.cancel(r.memory[i].deadline)
				r.memory[i].deadline = nil
			}
		}
	}
	e.now.again = true
}
