// Package rehearsal plays rules on a simulated clock and says whether the
// house did what a test expects. The format of tests is described in
// packaging/docs/rule-tests.md. The engine and the model of devices are the
// hub's own; what stands for the broker, the disk and the clock is in house.
// The same test always has the same outcome.
package rehearsal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"
	_ "time/tzdata" // zones, also where the machine has none

	"go.yaml.in/yaml/v4"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/mqtt/topic"
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

// test is a document of a file of tests.
type test struct {
	Test  string   `json:"test"`
	Given given    `json:"given"`
	When  []step   `json:"when"`
	Then  []expect `json:"then"`
	Until string   `json:"until"`
}

type given struct {
	Clock    string      `json:"clock"`
	Trusted  *bool       `json:"trusted"`
	Home     home        `json:"home"`
	Rules    []yaml.Node `json:"rules"`
	Devices  []device    `json:"devices"`
	Retained []message   `json:"retained"`
	States   []message   `json:"states"`
}

type home struct {
	Zone      string   `json:"zone"`
	Latitude  *float64 `json:"latitude"`
	Longitude *float64 `json:"longitude"`
}

type device struct {
	Kind   string     `json:"kind"`
	Name   string     `json:"name"`
	Config *yaml.Node `json:"config"`
	Online *bool      `json:"online"`
}

type message struct {
	Topic   string    `json:"topic"`
	Payload yaml.Node `json:"payload"`
}

type step struct {
	At          string     `json:"at"`
	Publish     *string    `json:"publish"`
	Payload     yaml.Node  `json:"payload"`
	QoS         int        `json:"qos"`
	Retain      bool       `json:"retain"`
	Client      string     `json:"client"`
	Dup         bool       `json:"dup"`
	Kill        *cut       `json:"kill"`
	Stop        *struct{}  `json:"stop"`
	Start       *struct{}  `json:"start"`
	Clock       *string    `json:"clock"`
	Trusted     *bool      `json:"trusted"`
	Disk        *string    `json:"disk"`
	Save        *yaml.Node `json:"save"`
	Enable      *string    `json:"enable"`
	Disable     *string    `json:"disable"`
	Delete      *string    `json:"delete"`
	Restore     *string    `json:"restore"`
	Run         *string    `json:"run"`
	Hook        *string    `json:"hook"`
	Method      string     `json:"method"`
	Outside     *string    `json:"outside"`
	Connect     *string    `json:"connect"`
	ExpectError string     `json:"expect_error"`
}

type cut struct {
	Lose string `json:"lose"`
}

type expect struct {
	Expect  *string              `json:"expect"`
	Forbid  *string              `json:"forbid"`
	Notify  *string              `json:"notify"`
	HTTP    *string              `json:"http"`
	Ran     *string              `json:"ran"`
	State   *string              `json:"state"`
	Paused  *string              `json:"paused"`
	Order   []ordered            `json:"order"`
	Nothing *bool                `json:"nothing_else"`
	Payload yaml.Node            `json:"payload"`
	QoS     *int                 `json:"qos"`
	Retain  *bool                `json:"retain"`
	Count   *int                 `json:"count"`
	AtLeast *int                 `json:"at_least"`
	AtMost  *int                 `json:"at_most"`
	Outcome string               `json:"outcome"`
	Aspect  string               `json:"aspect"`
	Title   *string              `json:"title"`
	Urgency string               `json:"urgency"`
	Method  string               `json:"method"`
	Is      *automations.Compare `json:"compare"`

	At        string               `json:"at"`
	Tolerance automations.Duration `json:"tolerance"`
	After     string               `json:"after"`
	Before    string               `json:"before"`

	from, to time.Time
}

type ordered struct {
	Expect  string    `json:"expect"`
	Payload yaml.Node `json:"payload"`
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
		if e.Tolerance == 0 {
			e.Tolerance = automations.Duration(time.Second)
		}
		switch {
		case e.At != "" && (e.After != "" || e.Before != ""):
			p.bad(path+".at", "Either at, or after and before.")
		case e.At != "":
			at := when(path+".at", e.At)
			e.from, e.to = at.Add(-time.Duration(e.Tolerance)), at.Add(time.Duration(e.Tolerance))
			last = later(last, e.to)
		default:
			e.from = p.clock
			if e.After != "" {
				e.from = when(path+".after", e.After)
			}
			if e.Before != "" {
				e.to = when(path+".before", e.Before)
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
				at = e.to.Add(-time.Duration(e.Tolerance))
			}
			events = append(events, event{at: at, path: path, do: look, look: true})
		}
	}
	slices.SortStableFunc(events, func(a, b event) int { return a.at.Compare(b.at) })
	return events
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// time reads a time of a test, see rule-tests.md, section 1.1.
func (p *player) time(text string) (time.Time, error) {
	if rest, ok := strings.CutPrefix(text, "+"); ok {
		var d automations.Duration
		if err := d.UnmarshalText([]byte(rest)); err != nil {
			return time.Time{}, err
		}
		return p.clock.Add(time.Duration(d)), nil
	}
	clock, days, plus := strings.Cut(text, "+")
	if plus && strings.HasSuffix(days, "d") || len(text) <= 12 && strings.Contains(text, ":") {
		var n int
		if plus {
			if _, err := fmt.Sscanf(days, "%dd", &n); err != nil || n < 0 || n > 400 {
				return time.Time{}, fmt.Errorf("%.40q is not a time such as 22:30+1d", text)
			}
		}
		for _, layout := range []string{"15:04:05.999999999", "15:04"} {
			if at, err := time.Parse(layout, clock); err == nil {
				day := p.clock.In(p.location)
				found, err := p.date(day.Year(), day.Month(), day.Day()+n, at, false)
				if err == nil && !plus && found.Before(p.clock) {
					found, err = p.date(day.Year(), day.Month(), day.Day()+1, at, false)
				}
				return found, err
			}
		}
	}
	return p.wall(text)
}

// wall reads a full date, or an instant.
func (p *player) wall(text string) (time.Time, error) {
	if at, err := time.Parse(time.RFC3339Nano, text); err == nil {
		return at, nil
	}
	text, second := strings.CutSuffix(text, " second")
	for _, layout := range []string{"2006-01-02 15:04:05.999999999", "2006-01-02 15:04", "2006-01-02T15:04:05"} {
		if at, err := time.Parse(layout, text); err == nil {
			return p.date(at.Year(), at.Month(), at.Day(), at, second)
		}
	}
	return time.Time{}, fmt.Errorf("%.40q is not a time such as 22:30, 2026-03-02 22:30:00 or +90s", text)
}

// date finds the instant of a wall time.
func (p *player) date(year int, month time.Month, day int, clock time.Time, second bool) (time.Time, error) {
	at := time.Date(year, month, day, clock.Hour(), clock.Minute(), clock.Second(), clock.Nanosecond(), p.location)
	if at.Hour() != clock.Hour() || at.Minute() != clock.Minute() {
		return at, fmt.Errorf("the clock does not show %s on this day", clock.Format("15:04"))
	}
	for _, shift := range []time.Duration{-2 * time.Hour, -time.Hour, -30 * time.Minute, 30 * time.Minute, time.Hour, 2 * time.Hour} {
		if o := at.Add(shift); o.Format("02 15:04:05") == at.Format("02 15:04:05") && o.Before(at) != second {
			return o, nil
		}
	}
	return at, nil
}

func (p *player) show(at time.Time) string {
	return at.In(p.location).Format("2006-01-02 15:04:05")
}

// payload writes what stands for a payload as it is sent.
func (p *player) payload(path string, n *yaml.Node) string {
	text, problems := automations.PayloadText(n)
	for _, problem := range problems {
		p.bad(path, "%s", problem.Text)
	}
	return text
}

// step checks a step and returns what it does.
func (p *player) step(path string, s *step) func(path string) {
	var kinds []string
	for _, k := range []struct {
		name string
		set  bool
	}{{"publish", s.Publish != nil}, {"kill", s.Kill != nil}, {"stop", s.Stop != nil}, {"start", s.Start != nil}, {"clock", s.Clock != nil},
		{"trusted", s.Trusted != nil}, {"disk", s.Disk != nil}, {"save", s.Save != nil}, {"enable", s.Enable != nil}, {"disable", s.Disable != nil},
		{"delete", s.Delete != nil}, {"restore", s.Restore != nil}, {"run", s.Run != nil}, {"hook", s.Hook != nil}, {"outside", s.Outside != nil}, {"connect", s.Connect != nil}} {
		if k.set {
			kinds = append(kinds, k.name)
		}
	}
	if len(kinds) != 1 {
		p.bad(path, "A step does exactly one thing; this one has %d.", len(kinds))
		return nil
	}
	if s.Publish == nil && s.Hook == nil && !s.Payload.IsZero() || s.Publish == nil && (s.QoS != 0 || s.Retain || s.Client != "" || s.Dup) {
		p.bad(path, "payload, qos, retain, client and dup belong to publish.")
	}
	if s.Hook == nil && s.Method != "" {
		p.bad(path+".method", "method belongs to hook.")
	}
	switch kinds[0] {
	case "hook":
		body := []byte(p.payload(path+".payload", &s.Payload))
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.Hook(t, *s.Hook, cmp.Or(s.Method, "POST"), body) })
		})
	case "connect":
		return p.running(func(string) { p.house.connect(*s.Connect) })
	case "outside":
		if *s.Outside != "down" && *s.Outside != "ok" {
			p.bad(path+".outside", "What is outside is down or ok.")
		}
		return func(string) { p.house.outside(*s.Outside == "ok") }
	case "publish":
		if err := topic.ValidName(*s.Publish); err != nil {
			p.bad(path+".publish", "This is no topic: it %v.", err)
		}
		if s.QoS < 0 || s.QoS > 2 {
			p.bad(path+".qos", "QoS is 0, 1 or 2.")
		}
		m := mqtt.Message{Topic: *s.Publish, Payload: []byte(p.payload(path+".payload", &s.Payload)), QoS: mqtt.QoS(s.QoS), Retain: s.Retain}
		client := cmp.Or(s.Client, "client")
		return func(path string) {
			if !s.Dup {
				p.house.publish(client, m)
			} else if err := p.house.repeat(client); err != nil {
				p.bad(path, "%v.", err)
			}
		}
	case "kill":
		if lose := s.Kill.Lose; lose != "" && lose != "lazy" && lose != "nothing" && lose != "turn" {
			p.bad(path+".kill.lose", "What is lost is lazy, nothing or turn.")
		}
		return p.running(func(string) { p.house.kill(s.Kill.Lose) })
	case "stop":
		return p.running(func(string) { p.house.stop() })
	case "start":
		return func(path string) {
			if !p.house.off {
				p.bad(path, "The hub runs already.")
			} else if err := p.house.start(); err != nil {
				p.bad(path, "The hub does not start: %v.", err)
			}
		}
	case "clock", "trusted":
		return func(path string) {
			if s.Trusted != nil {
				p.house.trusted = *s.Trusted
			} else if !p.setClock(path+".clock", *s.Clock) {
				return
			}
			if !p.house.off {
				p.house.turn(p.house.wakeAll)
				p.house.settle()
			}
		}
	case "disk":
		if *s.Disk != "full" && *s.Disk != "ok" {
			p.bad(path+".disk", "The disk is full or ok.")
		}
		return func(string) {
			if p.house.full = nil; *s.Disk == "full" {
				p.house.full = errors.New("the disk is full")
			}
		}
	case "save":
		rules := p.rules(path+".save", s.Save)
		return p.changing(s, func() error { return p.save(rules) })
	case "enable", "disable":
		id := s.Enable
		if id == nil {
			id = s.Disable
		}
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.SetEnabled(t, *id, s.Enable != nil, "test") })
		})
	case "delete":
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.Delete(t, *s.Delete, "test") })
		})
	case "restore":
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { return p.house.engine.Restore(t, *s.Restore, "test") })
		})
	default:
		return p.changing(s, func() error {
			return p.house.do(func(t *mqtt.Turn) error { _, err := p.house.engine.RunNow(t, *s.Run, "test"); return err })
		})
	}
}

// running does something that only a hub can do which runs.
func (p *player) running(do func(path string)) func(path string) {
	return func(path string) {
		if p.house.off {
			p.bad(path, "The hub is off.")
			return
		}
		do(path)
	}
}

// changing does what a person does on a page.
func (p *player) changing(s *step, do func() error) func(path string) {
	return p.running(func(path string) {
		err := do()
		switch {
		case err != nil && s.ExpectError == "":
			p.bad(path, "%s.", strings.TrimSuffix(err.Error(), "."))
		case err == nil && s.ExpectError != "":
			p.bad(path, "This was to fail with %q.", s.ExpectError)
		case err != nil && !strings.Contains(err.Error(), s.ExpectError):
			p.bad(path, "This was to fail with %q, and says: %v", s.ExpectError, err)
		}
	})
}

func (p *player) setClock(path, text string) bool {
	var d automations.Duration
	if d.UnmarshalText([]byte(strings.TrimPrefix(text, "+"))) == nil {
		p.house.step = time.Duration(d)
		return true
	}
	at, err := p.time(text)
	if err != nil {
		p.bad(path, "%v.", err)
		return false
	}
	p.house.step = at.Sub(p.house.wall)
	return true
}

// rules reads rules that are written out, or those of a file.
func (p *player) rules(path string, n *yaml.Node) []automations.Rule {
	if n.Kind != yaml.ScalarNode {
		r := automations.Rule{Enabled: true}
		places, problems := automations.ReadNode(n, &r)
		if len(problems) == 0 {
			for _, problem := range r.Validate(nil) {
				line, column := places.At(problem.Path)
				problems = append(problems, automations.TextProblem{Line: line, Column: column, Problem: problem})
			}
		}
		start, _ := p.places.At("")
		offset := start - p.rootLine()
		for _, problem := range problems {
			if !problem.Warning {
				problem.Line += offset
				problem.Path = path + "." + problem.Path
				p.result.Errors = append(p.result.Errors, problem)
			}
		}
		return []automations.Rule{r}
	}
	name := n.Value
	data, err := p.open(filepath.Join(p.dir, name))
	if err != nil {
		p.bad(path, "The file of rules cannot be opened: %v.", err)
		return nil
	}
	var rules []automations.Rule
	texts := automations.ParseYAML(data)
	if len(texts) == 0 {
		p.bad(path, "There is no rule in %s.", name)
	}
	for _, text := range texts {
		for _, problem := range text.Problems {
			if !problem.Warning {
				p.bad(path, "%s:%s", name, problem)
			}
		}
		rules = append(rules, text.Rule)
	}
	return rules
}

// rootLine is the line of the test's first key within its document.
func (p *player) rootLine() int {
	line, _ := p.places.At("")
	return line - (p.result.Line - 1)
}

func (p *player) save(rules []automations.Rule) error {
	for _, r := range rules {
		err := p.house.do(func(t *mqtt.Turn) error {
			basedOn := 0
			if old := p.house.engine.Rule(r.ID); old != nil && r.ID != "" {
				basedOn = old.Version
			}
			_, err := p.house.engine.Save(t, r, "test", basedOn)
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// furnish brings the house to where the test begins.
func (p *player) furnish() bool {
	g := &p.test.Given
	place := automations.Place{}
	if g.Home.Latitude != nil && g.Home.Longitude != nil {
		place = automations.Place{Known: true, Latitude: *g.Home.Latitude, Longitude: *g.Home.Longitude}
	}
	p.house = newHouse(place, p.location, p.clock, g.Trusted == nil || *g.Trusted)
	var rules [][]automations.Rule
	for i := range g.Rules {
		rules = append(rules, p.rules(fmt.Sprintf("given.rules[%d]", i), &g.Rules[i]))
	}
	for i := range g.Retained {
		m := &g.Retained[i]
		path := fmt.Sprintf("given.retained[%d]", i)
		p.house.keep(&mqtt.Message{Topic: m.Topic, Payload: []byte(p.payload(path, &m.Payload)), Retain: true})
	}
	for i := range g.Devices {
		p.announce(fmt.Sprintf("given.devices[%d]", i), &g.Devices[i])
	}
	if len(p.result.Errors) > 0 {
		return false
	}
	if err := p.house.start(); err != nil {
		p.bad("", "The hub does not start: %v.", err)
		return false
	}
	for i := range g.States {
		m := &g.States[i]
		p.house.come(mqtt.Message{Topic: m.Topic, Payload: []byte(p.payload(fmt.Sprintf("given.states[%d]", i), &m.Payload)), ClientID: "before"})
	}
	p.house.recording = true
	for i, list := range rules {
		if err := p.save(list); err != nil {
			p.bad(fmt.Sprintf("given.rules[%d]", i), "%s.", strings.TrimSuffix(err.Error(), "."))
			return false
		}
	}
	if p.furnished != nil {
		p.furnished(p.house)
	}
	return len(p.result.Errors) == 0
}

// announce makes the retained discovery message of a device.
func (p *player) announce(path string, d *device) {
	if d.Name == "" || strings.Trim(d.Name, "abcdefghijklmnopqrstuvwxyz0123456789_") != "" || len(d.Name) > 60 {
		p.bad(path+".name", "A device has a name of a-z, 0-9 and _.")
		return
	}
	config := map[string]any{
		"name": strings.ReplaceAll(d.Name, "_", " "), "unique_id": d.Name, "object_id": d.Name,
	}
	base := "dev/" + d.Name
	if d.Kind != "button" && d.Kind != "scene" && d.Kind != "notify" {
		config["state_topic"] = base + "/state"
	}
	switch devices.Kind(d.Kind) {
	case devices.Sensor, devices.BinarySensor, devices.Tracker:
	case devices.Event:
		config["event_types"] = []string{"press", "double", "hold"}
	default:
		config["command_topic"] = base + "/set"
	}
	if d.Online != nil {
		config["availability_topic"] = base + "/available"
		payload := "offline"
		if *d.Online {
			payload = "online"
		}
		p.house.keep(&mqtt.Message{Topic: base + "/available", Payload: []byte(payload), Retain: true})
	}
	if d.Config != nil {
		text := p.payload(path+".config", d.Config)
		if json.Unmarshal([]byte(text), &config) != nil {
			p.bad(path+".config", "Keys of the discovery message are needed here.")
			return
		}
	}
	b, err := json.Marshal(config)
	if err != nil {
		p.bad(path+".config", "%v.", err)
		return
	}
	p.house.keep(&mqtt.Message{Topic: "homeassistant/" + d.Kind + "/" + d.Name + "/config", Payload: b, Retain: true})
}

// same tells whether a payload is as an expectation asks for.
func (p *player) same(n *yaml.Node, payload string) bool {
	if n.IsZero() {
		return true
	}
	if n.Kind == yaml.MappingNode && len(n.Content) == 2 && n.Content[0].Value == "compare" {
		var c automations.Compare
		if _, problems := automations.ReadNode(n.Content[1], &c); len(problems) > 0 {
			return false
		}
		return c.Holds([]byte(payload))
	}
	want := p.payload("", n)
	if n.Kind == yaml.ScalarNode {
		return payload == want
	}
	var a, b any
	if json.Unmarshal([]byte(payload), &a) != nil || json.Unmarshal([]byte(want), &b) != nil {
		return false
	}
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return bytes.Equal(x, y)
}

// expectation checks one before the play.
func (p *player) expectation(path string, e *expect) {
	n := 0
	for _, set := range []bool{e.Expect != nil, e.Forbid != nil, e.Notify != nil, e.HTTP != nil, e.Ran != nil, e.State != nil, e.Paused != nil, e.Order != nil, e.Nothing != nil} {
		if set {
			n++
		}
	}
	if n != 1 {
		p.bad(path, "An expectation has exactly one of expect, forbid, notify, http, ran, state, paused, order and nothing_else.")
	}
	for _, f := range []*string{e.Expect, e.Forbid} {
		if f != nil && topic.ValidFilter(*f) != nil {
			p.bad(path, "%q is not a topic filter.", *f)
		}
	}
	if e.State != nil && e.Is == nil {
		p.bad(path, "Say how the state is, as in compare: {is: on}.")
	}
	if e.Ran != nil && !slices.Contains([]string{"", "done", "failed", "stopped", "not run", "waiting"}, e.Outcome) {
		p.bad(path+".outcome", "An outcome is done, failed, stopped, not run or waiting.")
	}
	if c := &e.Payload; c.Kind == yaml.MappingNode && len(c.Content) == 2 && c.Content[0].Value == "compare" {
		var with automations.Compare
		_, problems := automations.ReadNode(c.Content[1], &with)
		for _, problem := range problems {
			p.bad(path+".payload", "%s", problem.Text)
		}
	}
}

// look returns what looks at the house while it is played.
func (p *player) look(e *expect) func(path string) {
	switch {
	case e.State != nil:
		return func(path string) { p.now[path] = p.lookAtState(e) }
	case e.Paused != nil:
		return func(path string) {
			if r := p.house.engine.Rule(*e.Paused); r == nil {
				p.now[path] = "there is no such rule"
			} else if r.Status.Paused == "" {
				p.now[path] = "it is not paused"
			}
		}
	case e.Ran != nil && e.Outcome == "waiting":
		return func(path string) {
			n := 0
			if r := p.house.engine.Rule(*e.Ran); r != nil {
				n = r.Status.Waiting
			}
			p.now[path] = fmt.Sprint(n)
		}
	}
	return nil
}

func (p *player) lookAtState(e *expect) string {
	entity := p.house.model.House().Entity(*e.State)
	if entity == nil {
		return "there is no such entity"
	}
	aspect := cmp.Or(e.Aspect, automations.DefaultAspect(*e.State))
	for i, a := range entity.Aspects {
		if a.Name == aspect {
			v := automations.Value(entity.State().Readings[i].Value)
			if e.Is.HoldsOf(v) {
				return ""
			}
			return "it is " + v.String()
		}
	}
	return "it has no aspect " + aspect
}

func (e *expect) counts() (least, most int, words string) {
	least, most = 1, 1
	if e.Count != nil {
		least, most = *e.Count, *e.Count
	}
	words = fmt.Sprint(least)
	if e.AtLeast != nil || e.AtMost != nil {
		least, most, words = 0, maxTurns, ""
		if e.AtLeast != nil {
			least, words = *e.AtLeast, fmt.Sprintf("at least %d", *e.AtLeast)
		}
		if e.AtMost != nil {
			if words != "" {
				words += " and "
			}
			most, words = *e.AtMost, words+fmt.Sprintf("at most %d", *e.AtMost)
		}
	}
	return least, most, words
}

// matches tells whether a message is one that an expectation speaks of.
func (p *player) matches(e *expect, filter string, s *Sent) bool {
	return matchTopic(filter, s.Topic) && p.same(&e.Payload, s.Payload) &&
		(e.QoS == nil || int(s.QoS) == *e.QoS) && (e.Retain == nil || s.Retain == *e.Retain)
}

// went tells whether a notification or a request is one that an expectation
// speaks of.
func (p *player) went(e *expect, o Out) bool {
	switch {
	case e.Notify != nil && o.Notify != nil:
		return *e.Notify == o.Notify.To && p.same(&e.Payload, o.Notify.Text) && (e.Title == nil || *e.Title == o.Notify.Title) &&
			(e.Urgency == "" || e.Urgency == o.Notify.Urgency)
	case e.HTTP != nil && o.HTTP != nil:
		return *e.HTTP == o.HTTP.URL && p.same(&e.Payload, o.HTTP.Body) && (e.Method == "" || e.Method == o.HTTP.Method)
	}
	return false
}

func (e *expect) window(at time.Time) bool { return !at.Before(e.from) && !at.After(e.to) }

func (p *player) judge(path string, e *expect) {
	between := "between " + p.show(e.from) + " and " + p.show(e.to)
	switch {
	case e.Expect != nil:
		n := 0
		for i := range p.house.left {
			if s := &p.house.left[i]; e.window(s.At) && p.matches(e, *e.Expect, s) {
				n++
			}
		}
		if least, most, words := e.counts(); n < least || n > most {
			p.bad(path, "expect %s: %d left %s, want %s", *e.Expect, n, between, words)
		}
	case e.Notify != nil, e.HTTP != nil:
		n := 0
		for _, o := range p.house.outs {
			if e.window(o.At) && p.went(e, o) {
				n++
			}
		}
		if least, most, words := e.counts(); n < least || n > most {
			p.bad(path, "%d left %s, want %s", n, between, words)
		}
	case e.Forbid != nil:
		for i := range p.house.left {
			if s := &p.house.left[i]; e.window(s.At) && p.matches(e, *e.Forbid, s) {
				p.bad(path, "forbid %s: it left at %s", *e.Forbid, p.show(s.At))
				return
			}
		}
	case e.Ran != nil && e.Outcome == "waiting":
		least, most, words := e.counts()
		n := 0
		fmt.Sscan(p.now[path], &n)
		if n < least || n > most {
			p.bad(path, "ran %s: %d runs wait at %s, want %s", *e.Ran, n, p.show(e.to), words)
		}
	case e.Ran != nil:
		outcome, n := cmp.Or(e.Outcome, "done"), 0
		for _, r := range p.house.runs {
			if r.Rule == *e.Ran && string(r.Outcome) == outcome && e.window(r.At) {
				n++
			}
		}
		if least, most, words := e.counts(); n < least || n > most {
			p.bad(path, "ran %s: %d runs were %s %s, want %s", *e.Ran, n, outcome, between, words)
		}
	case e.State != nil:
		if p.now[path] != "" {
			p.bad(path, "state %s: %s", *e.State, p.now[path])
		}
	case e.Paused != nil:
		if p.now[path] != "" {
			p.bad(path, "paused %s: %s", *e.Paused, p.now[path])
		}
	case e.Order != nil:
		next := 0
		for i := range p.house.left {
			s := &p.house.left[i]
			if next < len(e.Order) && e.window(s.At) && matchTopic(e.Order[next].Expect, s.Topic) && p.same(&e.Order[next].Payload, s.Payload) {
				next++
			}
		}
		if next < len(e.Order) {
			p.bad(path, "order: %s (number %d) did not leave after those before it", e.Order[next].Expect, next+1)
		}
	case e.Nothing != nil && *e.Nothing:
		for i := range p.house.left {
			if s := &p.house.left[i]; !p.foreseen(s) {
				p.bad(path, "nothing else: at %s there left %s %s", p.show(s.At), s.Topic, s.Payload)
				return
			}
		}
	}
}

func (p *player) foreseen(s *Sent) bool {
	for i := range p.test.Then {
		e := &p.test.Then[i]
		if e.Expect != nil && p.matches(e, *e.Expect, s) {
			return true
		}
		for j := range e.Order {
			if matchTopic(e.Order[j].Expect, s.Topic) && p.same(&e.Order[j].Payload, s.Payload) {
				return true
			}
		}
	}
	return false
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

// matchTopic tells whether a filter matches a topic name, section 4.7 of MQTT.
func matchTopic(filter, name string) bool {
	if strings.HasPrefix(name, "$") != strings.HasPrefix(filter, "$") {
		return false
	}
	levels := strings.Split(name, "/")
	for i, f := range strings.Split(filter, "/") {
		if f == "#" {
			return true
		}
		if i >= len(levels) || f != "+" && f != levels[i] {
			return false
		}
	}
	return strings.Count(filter, "/") == strings.Count(name, "/")
}
