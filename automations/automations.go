// Package automations turns what happens in the house into decisions.
//
// A [Rule] says when to act (a trigger), whether to act (conditions) and what
// to do (actions). The [Engine] holds all rules: it is a mqtt.Consumer and a
// devices.Watcher, and decides inside the turn it is given, without a
// goroutine, a clock or randomness of its own. Each time a trigger comes true
// there is a [Run], whose trace says what was seen and what was done.
//
// Rules, each of their versions, runs that wait and the memory of triggers are
// written in the turn that changes them, so that a power cut at any instant
// leaves the house after some whole turn: a run that waits goes on with the
// deadline it had. Pages read immutable values outside the turn: what Rules,
// Rule, Versions, Runs and Run return is never changed.
package automations

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// Limits. What goes beyond them is a [Problem] at save, or is traced as not
// run with a sentence that says why.
const (
	MaxRules      = 2000      // deleted ones included
	MaxVersions   = 100       // kept of a rule; older ones are dropped
	MaxTriggers   = 20        // of a rule
	MaxConditions = 50        // of a rule, nested ones included
	MaxDepth      = 5         // of nested conditions
	MaxActions    = 200       // of a rule, nested ones included
	MaxNested     = 8         // of nested actions
	MaxPriority   = 100       // of a rule, and the least is its negative
	MaxRounds     = 100       // of a repeat that says nothing else
	MaxVariables  = 50        // of a rule
	MaxArgs       = 20        // of a command
	MaxName       = 100       // characters of a rule's name
	MaxText       = 4096      // bytes of a topic, a path or a value in a rule
	MaxPayload    = 16 << 10  // bytes of a payload in a rule, and of one kept with a run that waits
	MaxSent       = 256 << 10 // bytes of a payload after substitution
	MaxJSON       = 256 << 10 // bytes of a payload that is searched by path
	MaxRuleBytes  = 128 << 10 // of a rule's JSON
	MaxParallel   = 10        // runs of a rule at a time
	MaxQueued     = 100       // runs of a rule in line
	MaxKey        = 256       // bytes of what a rule counts per
	MaxWaiting    = 2000      // runs of all rules that wait at a time
	MaxRunsInTurn = 16        // of a rule; beyond it the rule is paused
	MaxHops       = 8         // messages of a turn that lead to one another
	MaxRuns       = 50        // traces of runs kept of a rule
	MaxNotRuns    = 10        // traces of a rule that was triggered but did not run
	KeepDeleted   = 30 * 24 * time.Hour
	MinDuration   = time.Millisecond
	MaxDuration   = 366 * 24 * time.Hour
)

// A Model is what rules see of the devices and tell them.
type Model interface {
	House() *devices.House
	// Command tells an entity to do something, within the turn.
	Command(t *mqtt.Turn, entityID, command string, args map[string]devices.Value) error
	// Keep makes an entity's values durable with the turn.
	Keep(t *mqtt.Turn, entityID string)
}

// A House is what rules are checked against: *devices.House is one.
type House interface {
	// Entity returns the entity with an ID, or nil.
	Entity(id string) *devices.Entity
}

// A Problem is something in a rule that is not right.
type Problem struct {
	Path string // the field: "actions[1].publish.topic"; empty for the rule as a whole
	Text string // a sentence for people
	// Warning tells that the rule can be saved all the same: a device may
	// come, or come back, later.
	Warning bool
}

func invalid(problems []Problem) bool {
	return slices.ContainsFunc(problems, func(p Problem) bool { return !p.Warning })
}

// Errors of changes. The others are [*InvalidError] and [*StaleError].
var (
	ErrNotFound = errors.New("there is no such automation")
	ErrDeleted  = errors.New("this automation was deleted; restore it first")
	ErrTooMany  = fmt.Errorf("there are %d automations, more are not possible", MaxRules)
	ErrIDTaken  = errors.New("there is an automation with this ID already")
)

// An InvalidError says what is wrong with a rule that was to be saved.
type InvalidError struct{ Problems []Problem }

func (e *InvalidError) Error() string {
	for _, p := range e.Problems {
		if !p.Warning {
			return "the automation cannot be saved: " + p.Path + ": " + p.Text
		}
	}
	return "the automation cannot be saved"
}

// A StaleError says that a rule was changed by somebody else since the version
// a change is based on.
type StaleError struct{ Current *Rule }

func (e *StaleError) Error() string {
	return fmt.Sprintf("the automation was changed in the meantime: it is at version %d, saved by %s", e.Current.Version, e.Current.Saved.By)
}
