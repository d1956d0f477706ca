// Package rehearsal plays rules on a simulated clock and says whether the
// house did what a test expects. The format of tests is described in
// packaging/docs/rule-tests.md. The engine and the model of devices are the
// hub's own; what stands for the broker, the disk and the clock is in house.
// The same test always has the same outcome.
package rehearsal

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones, also where the machine has none

	"go.yaml.in/yaml/v4"

	"lar.home/automations"
)

// A Result is the outcome of one test.
type Result struct {
	Test   string
	Line   int
	Errors []automations.TextProblem
	Left   []Sent
	Outs   []Out
	Runs   []Ended
}

// Run plays every test of a file. read opens the files of rules that tests
// name, relative to name.
func Run(name string, data []byte, read func(name string) ([]byte, error)) []Result {
	var results []Result
	for _, d := range automations.Documents(data) {
		p := &player{dir: filepath.Dir(name), open: read, now: map[string]string{}}
		p.places, p.result.Errors = d.Into(&p.test)
		p.result.Test, p.result.Line = cmp.Or(p.test.Test, "a test"), d.Line
		if len(p.result.Errors) == 0 {
			p.play()
		}
		if p.house != nil {
			p.result.Left, p.result.Outs, p.result.Runs = p.house.left, p.house.outs, p.house.runs
		}
		results = append(results, p.result)
	}
	if len(results) == 0 {
		results = []Result{{Test: "a test", Line: 1, Errors: []automations.TextProblem{{Line: 1, Column: 1, Problem: automations.Problem{Text: "There is no test in this file."}}}}}
	}
	return results
}

// A player plays one test.
type player struct {
	dir    string
	open   func(name string) ([]byte, error)
	test   test
	places automations.Places
	result Result

	location *time.Location
	clock    time.Time // of the start
	end      time.Time
	house    *house
	now      map[string]string // what probes saw, by path

	furnished func(*house) // called as the test begins; nil for none
}

func (p *player) bad(path, format string, args ...any) {
	line, column := p.places.At(path)
	p.result.Errors = append(p.result.Errors, automations.TextProblem{Line: line, Column: column,
		Problem: automations.Problem{Path: path, Text: fmt.Sprintf(format, args...)}})
}

// an event is a step, or a look at the house.
type event struct {
	at   time.Time
	path string
	do   func(path string)
	look bool
}

func (p *player) play() {
	events := p.prepare()
	if len(p.result.Errors) > 0 || !p.furnish() {
		return
	}
	for _, e := range events {
		p.house.until(e.at)
		if p.house.failed != nil {
			break
		}
		e.do(e.path)
	}
	p.house.until(p.end)
	if p.house.failed != nil {
		p.bad("", "%v.", p.house.failed)
		return
	}
	for i := range p.test.Then {
		p.judge(fmt.Sprintf("then[%d]", i), &p.test.Then[i])
	}
}

// prepare reads all times, and checks what can be checked before.
func (p *player) prepare() []event {
	t := &p.test
	if t.Test == "" || len(t.Test) > 200 {
		p.bad("test", "A test has a name of 1 to 200 characters.")
	}
	var err error
	if p.location, err = time.LoadLocation(cmp.Or(t.Given.Home.Zone, "UTC")); err != nil || strings.EqualFold(t.Given.Home.Zone, "local") {
		p.bad("given.home.zone", "There is no zone %q.", t.Given.Home.Zone)
		return nil
	}
	if p.clock, err = p.wall(cmp.Or(t.Given.Clock, "2026-03-02 12:00:00")); err != nil {
		p.bad("given.clock", "%v.", err)
		return nil
	}
	if len(t.Given.Rules) == 0 {
		p.bad("given.rules", "Say which rules are played.")
	}
	if len(t.Then) == 0 {
		p.bad("then", "Say what is expected.")
	}
	last := p.clock
	when := func(path, text string) time.Time {
		at, err := p.time(text)
		switch {
		case err != nil:
			p.bad(path, "%v.", err)
		case at.Before(p.clock):
			p.bad(path, "This is before the start, %s.", p.show(p.clock))
		case at.After(last):
			last = at
		}
		return at
	}
	var events []event
	for i := range t.When {
		path := fmt.Sprintf("when[%d]", i)
		do := p.step(path, &t.When[i])
		if t.When[i].At == "" {
			p.bad(path, "Say when: a step has a key at.")
			continue
		}
		events = append(events, event{at: when(path+".at", t.When[i].At), path: path, do: do})
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	for i := range t.Then {
		e, path := &t.Then[i], fmt.Sprintf("then[%d]", i)
		tolerance := time.Second
		if e.Tolerance != nil {
			tolerance = time.Duration(*e.Tolerance)
		}
		switch {
		case tolerance < 0:
			p.bad(path+".tolerance", "tolerance is how far from at, 0s or more.")
		case e.At != "" && (e.After != "" || e.Before != ""):
			p.bad(path+".at", "Either at, or after and before.")
		case e.At != "":
			at := when(path+".at", e.At)
			e.from, e.to, e.middle = at.Add(-tolerance), at.Add(tolerance), at
			last = later(last, e.to)
		default:
			e.from = p.clock
			if e.After != "" {
				e.from = when(path+".after", e.After)
			}
			if e.Before != "" {
				if e.to = when(path+".before", e.Before); e.to.Before(e.from) {
					p.bad(path+".before", "This is before after.")
				}
			}
		}
		p.expectation(path, e)
	}
	p.end = last.Add(time.Hour)
	if t.Until != "" {
		p.end = when("until", t.Until)
	}
	if p.end.Sub(p.clock) > 400*24*time.Hour {
		p.bad("until", "A test plays at most 400 days.")
	}
	for i := range t.Then {
		e, path := &t.Then[i], fmt.Sprintf("then[%d]", i)
		if e.to.IsZero() || e.to.After(p.end) {
			e.to = p.end
		}
		if look := p.look(e); look != nil {
			at := e.to
			if e.State != nil && e.At != "" {
				at = e.middle
			}
			events = append(events, event{at: at, path: path, do: look, look: true})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	return events
}

// payload writes what stands for a payload as it is sent.
func (p *player) payload(path string, n *yaml.Node) string {
	text, problems := automations.PayloadText(n)
	for _, problem := range problems {
		p.bad(path, "%s", problem.Text)
	}
	return text
}

// String returns a message as a report shows it.
func (s Sent) String() string {
	text := s.Topic
	if s.Payload != "" {
		text += " " + s.Payload
	}
	if s.QoS > 0 {
		text += fmt.Sprintf(" (QoS %d)", s.QoS)
	}
	if s.Retain {
		text += " (retained)"
	}
	return text
}
