package automations

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/expr-lang/expr/vm"
)

// Validate tells what is not right in a rule, with the devices of a house; nil
// leaves these out. Only a rule without problems but warnings can be saved.
func (r *Rule) Validate(h House) []Problem { return r.validate(h, compile) }

// validate is Validate with expressions that may have been compiled before.
func (r *Rule) validate(h House, compile func(text string, condition bool) (*vm.Program, error)) []Problem {
	c := checker{house: h, compile: compile}
	c.rule(r)
	return c.problems
}

type checker struct {
	house      House
	compile    func(text string, condition bool) (*vm.Program, error)
	problems   []Problem
	message    bool // a message can trigger the rule
	conditions int
	actions    int
	triggers   []string // their IDs
}

func (c *checker) bad(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...)})
}

func (c *checker) warn(path, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Text: fmt.Sprintf(format, args...), Warning: true})
}

func (c *checker) rule(r *Rule) {
	if r.ID != "" && !validID(r.ID) {
		c.bad("id", "An ID has 1 to %d small letters, digits and hyphens.", maxID)
	}
	if strings.TrimSpace(r.Name) == "" {
		c.bad("name", "Give the automation a name.")
	} else if utf8.RuneCountInString(r.Name) > MaxName || !printable(r.Name) {
		c.bad("name", "A name has at most %d characters, all of them visible.", MaxName)
	}
	c.text("description", r.Description, MaxText)
	switch r.Mode {
	case "", Restart, Single:
		if r.Max != 0 {
			c.bad("max", "Only the modes parallel and queued have a number of runs.")
		}
	case Parallel:
		if r.Max < 2 || r.Max > MaxParallel {
			c.bad("max", "Between 2 and %d runs can go on side by side.", MaxParallel)
		}
	case Queued:
		if r.Max < 1 || r.Max > MaxQueued {
			c.bad("max", "Between 1 and %d runs can wait in line.", MaxQueued)
		}
	default:
		c.bad("mode", "The mode is restart, single, queued or parallel.")
	}
	if r.Per != "" {
		c.expression("per", r.Per, false)
	}

	if d := r.CatchUp; d != "" && d != Always && d != Never {
		var after Duration
		if err := after.UnmarshalText([]byte(d)); err != nil {
			c.bad("catch_up", "This is a time such as 30m, always or never.")
		} else {
			c.duration("catch_up", after)
		}
	}
	if r.Priority < -MaxPriority || r.Priority > MaxPriority {
		c.bad("priority", "A priority is between %d and %d.", -MaxPriority, MaxPriority)
	}
	if r.Limit != nil {
		c.limit("limit", r.Limit)
	}
	switch n := len(r.Triggers); {
	case n == 0:
		c.bad("triggers", "Say when the automation runs: add a trigger.")
	case n > MaxTriggers:
		c.bad("triggers", "An automation has at most %d triggers.", MaxTriggers)
	}
	for i, t := range r.Triggers[:min(len(r.Triggers), MaxTriggers)] {
		c.trigger(at("triggers", i), t)
	}
	for i := range r.Conditions {
		c.condition(at("conditions", i), &r.Conditions[i], 1)
	}
	if c.conditions > MaxConditions {
		c.bad("conditions", "An automation has at most %d conditions.", MaxConditions)
	}
	switch n := len(r.Actions); {
	case n == 0:
		c.bad("actions", "Say what the automation does: add an action.")
	case n > MaxActions:
		c.bad("actions", "An automation has at most %d actions.", MaxActions)
	}
	for i, a := range r.Actions[:min(len(r.Actions), MaxActions)] {
		c.action(at("actions", i), a, 1)
	}
	if c.actions > MaxActions {
		c.bad("actions", "An automation has at most %d actions.", MaxActions)
	}
	c.variables("variables", r.Variables)
	without := *r
	without.Text = ""
	if len(r.Text) > MaxRuleBytes {
		c.bad("", "The text of the automation is too long: it has %d bytes of at most %d.", len(r.Text), MaxRuleBytes)
	} else if n := len(without.Encode()); n > MaxRuleBytes {
		c.bad("", "The automation is too long: it has %d bytes of at most %d.", n, MaxRuleBytes)
	}
}

func at(list string, i int) string { return list + "[" + strconv.Itoa(i) + "]" }

// kindsOf are the keys of which exactly one stands in a trigger, a condition
// or an action.
var kindsOf = map[string][]string{
	"trigger":   {"message", "state", "silent", "time", "cron", "every", "sun", "start", "rule", "scene", "webhook", "hand"},
	"condition": {"state", "time", "sun", "home", "payload", "trigger", "rule", "expr", "all", "any", "not"},
	"action": {"publish", "command", "wait", "confirm", "if", "choose", "repeat", "parallel", "check", "stop", "fail", "set", "scene", "call",
		"enable", "disable", "notify", "http", "note"},
}

// oneOf reports whether exactly one of the fields is set, and says so if not.
func (c *checker) oneOf(path, what string, set ...bool) bool {
	n := 0
	for _, s := range set {
		if s {
			n++
		}
	}
	words := strings.Join(kindsOf[what], ", ")
	switch {
	case n == 0:
		c.bad(path, "Choose a kind of %s: %s.", what, words)
	case n > 1:
		c.bad(path, "Only one kind of %s can stand here: %s.", what, words)
	}
	return n == 1
}

func (c *checker) duration(path string, d Duration) {
	if time.Duration(d) < MinDuration || time.Duration(d) > MaxDuration {
		c.bad(path, "A time is between %v and %d days.", MinDuration, int(MaxDuration/(24*time.Hour)))
	}
}

// text checks free text: it may hold line ends, not other control characters.
func (c *checker) text(path, s string, limit int) bool {
	switch {
	case len(s) > limit:
		c.bad(path, "This text has at most %d bytes.", limit)
	case !utf8.ValidString(s):
		c.bad(path, "This text is not UTF-8.")
	default:
		return true
	}
	return false
}

func printable(s string) bool {
	return utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return unicode.IsControl(r) })
}
