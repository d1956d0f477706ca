package rehearsal

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/automations"
)

const lamp = `
test: lamp
given:
  rules:
    - name: Lamp
      triggers: [{message: {filter: button}}]
      actions:
        - publish: {topic: lamp, payload: on}
        - wait: {for: 10m}
        - publish: {topic: lamp, payload: off, qos: 1}
`

func TestRun(t *testing.T) {
	tests := []struct {
		text string // after lamp
		want string // part of an error; empty if the test passes
	}{
		{"when: [{at: 12:01, publish: button}]\nthen: [{at: 12:01, expect: lamp, payload: on}, {at: '12:11', expect: '#', payload: off, qos: 1, tolerance: 1ms}, {nothing_else: true}]", ""},
		{"when: [{at: 12:01, publish: button}]\nthen: [{expect: lamp}]", "12:8: then[0]: expect lamp: 2 left"},
		{"when: [{at: 12:01, publish: button}]\nthen: [{expect: lamp, payload: {compare: {is: [off, dim]}}}, {ran: lamp}]", ""},
		{"when: [{at: 12:01, publish: button}]\nthen: [{expect: lamp, payload: on}, {nothing_else: true}]", "then[1]: nothing else: at 2026-03-02 12:11:00 there left lamp off"},
		{"when: [{at: 12:01, publish: button}]\nthen: [{forbid: lamp, after: '12:01:01', before: '12:10:59'}, {order: [{expect: lamp, payload: on}, {expect: lamp, payload: off}]}]", ""},
		{"when: [{at: 12:01, publish: button}]\nthen: [{order: [{expect: lamp, payload: off}, {expect: lamp, payload: on}]}]", "order: lamp (number 2)"},
		{"when: [{at: 12:01, publish: button}, {at: '12:02', kill: {}}, {at: '+1h', start: {}}]\nthen: [{at: +1h, expect: lamp, payload: off}, {ran: lamp, at: +1h}]", ""},
		{"when: [{at: 12:01, publish: button}, {at: '12:02', kill: {lose: turn}}, {at: '+1h', start: {}}]\nthen: [{forbid: lamp}]", ""},
		{"when: [{at: 12:01, publish: button, qos: 1}, {at: '12:01', kill: {lose: turn}}, {at: '+1h', start: {}}]\nthen: [{at: +1h, expect: lamp, payload: on}, {expect: lamp, count: 2}]", ""},
		{"when: [{at: 12:01, publish: button, qos: 1}, {at: '12:02', kill: {}}, {at: '12:03', publish: button, dup: true}, {at: '12:04', start: {}}]\nthen: [{expect: lamp, count: 2}]", ""},
		{"when: [{at: 12:01, disable: lamp}, {at: 12:02, publish: button}, {at: 12:03, run: none, expect_error: no such}]\nthen: [{expect: lamp, count: 0}]", ""},
		{"when: [{at: 12:01, publish: button}]\nthen: [{ran: lamp, outcome: waiting, before: '12:05'}]", ""},
		{"when: [{at: 11:00, publish: button}]\nthen: [{at: '11:00+1d', expect: lamp, payload: on}]", ""},
		{"when: [{at: 2026-03-02 11:00, publish: button}]\nthen: [{expect: lamp}]", "before the start"},
		{"when: [{at: noon, publish: button}]\nthen: [{expect: lamp}]", "is not a time"},
		{"when: [{at: 12:01, publish: button, kill: {}}]\nthen: [{expect: lamp}]", "exactly one thing"},
		{"when: [{at: 12:01, publsh: button}]\nthen: [{expect: lamp}]", `is it "publish"?`},
		{"when: [{at: 12:01, start: {}}]\nthen: [{expect: lamp}]", "runs already"},
		{"then: [{expect: lamp, forbid: lamp}]", "exactly one of"},
		{"when: []", "Say what is expected"},
		{"when: [{at: '12:01:00.25', publish: button}]\nthen: [{at: '12:01:00.25', tolerance: 0s, expect: lamp, payload: on}, {at: '12:01:00', tolerance: 249ms, expect: lamp, count: 0}]", ""},
		{"when: [{at: '12:01:00.25', publish: button}]\nthen: [{at: '12:01', tolerance: 0s, expect: lamp}]", "0 left between 2026-03-02 12:01:00 and 2026-03-02 12:01:00, want 1"},
		{"when: [{at: '12:01:00.25', publish: button}]\nthen: [{forbid: lamp}]", "it left at 2026-03-02 12:01:00.25"},
		{"when: [{at: 12:01, publish: button}]\nthen: [{expect: lamp, payload: on}, {nothing_else: true, before: '12:05'}]", ""},
		{"then: [{ran: lamp, payload: on}]", "11:20: then[0].payload: The key payload does not belong"},
		{"then: [{expect: lamp, outcome: failed}]", "The key outcome does not belong"},
		{"then: [{notify: phone, qos: 1}]", "The key qos does not belong"},
		{"then: [{forbid: lamp, count: 2}]", "The key count does not belong"},
		{"then: [{expect: lamp, count: 1, at_most: 2}]", "Either count"},
		{"then: [{expect: lamp, count: -1}]", "A count is 0 or more"},
		{"then: [{expect: lamp, after: '12:05', before: '12:04'}]", "This is before after"},
		{"then: [{nothing_else: false}]", "or is left out"},
		{"then: [{order: [{expect: a/#/b}]}]", "not a topic filter"},
		{"when: [{at: 12:01, publish: button, expect_error: no}]\nthen: [{forbid: lamp}]", "expect_error belongs to"},
		{"when: [{at: 12:01, run: lamp, runs: move}]\nthen: [{forbid: lamp}]", "runs belongs to save"},
		{"when: [{at: 12:01, run: lamp, expect_error: ''}]\nthen: [{forbid: lamp}]", "This was to fail"},
		{"when: [{at: 12:01, publish: button, qos: 1}, {at: 12:02, publish: button, dup: true, payload: x}]\nthen: [{forbid: lamp}]", "is as it was"},
		{"when: [{at: 12:01, publish: button}, {at: 12:02, delete: lamp}]\nthen: [{ran: lamp, outcome: stopped, at: 12:02}]", ""},
	}
	for _, tt := range tests {
		r := Run("x", []byte(lamp+tt.text), os.ReadFile)[0]
		var said []string
		for _, p := range r.Errors {
			said = append(said, p.String())
		}
		got := strings.Join(said, "\n")
		if tt.want == "" && got != "" || !strings.Contains(got, tt.want) {
			t.Errorf("%s\nsays %q, want %q; left %v, ran %v", tt.text, got, tt.want, r.Left, r.Runs)
		}
	}
}

func TestTimes(t *testing.T) {
	paris, err := time.LoadLocation("Europe/Paris")
	if err != nil {
		t.Fatal(err)
	}
	p := &player{location: paris, clock: time.Date(2026, 10, 24, 21, 0, 0, 0, paris)}
	tests := []struct{ text, want string }{
		{"22:30", "2026-10-24T20:30:00Z"},
		{"02:30", "2026-10-25T00:30:00Z"},
		{"20:00", "2026-10-25T19:00:00Z"},
		{"22:30:15.5+1d", "2026-10-25T21:30:15.5Z"},
		{"+90s", "2026-10-24T19:01:30Z"},
		{"2026-10-25 02:30:00", "2026-10-25T00:30:00Z"},
		{"2026-10-25 02:30:00 second", "2026-10-25T01:30:00Z"},
		{"2026-10-25T02:30:00+01:00", "2026-10-25T01:30:00Z"},
		{"2027-03-28 02:30:00", ""},
		{"25:00", ""},
		{"soon", ""},
	}
	for _, tt := range tests {
		at, err := p.time(tt.text)
		if got := at.UTC().Format(time.RFC3339Nano); err == nil && got != tt.want || err != nil && tt.want != "" {
			t.Errorf("time(%q) = %s, %v, want %s", tt.text, got, err, tt.want)
		}
	}
}

// TestExamples plays the tests of the rules that Lar comes with, and those in
// testdata for every part of the language, twice: the
// same test has the same outcome.
func TestExamples(t *testing.T) {
	dir := filepath.Join("..", "..", "packaging", "examples", "rules")
	names, err := filepath.Glob(filepath.Join(dir, "*.test.yaml"))
	own, _ := filepath.Glob("testdata/*.test.yaml")
	names = append(names, own...)
	if err != nil || len(names) == 0 {
		t.Fatal("no examples", err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".test.yaml"), func(t *testing.T) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			again := Run(name, data, os.ReadFile)
			for i, r := range Run(name, data, os.ReadFile) {
				for _, p := range r.Errors {
					t.Errorf("%s:%s\nleft %v\nruns %v", filepath.Base(name), p, r.Left, r.Runs)
				}
				if fmt.Sprint(r.Left, r.Runs) != fmt.Sprint(again[i].Left, again[i].Runs) {
					t.Errorf("%s plays differently a second time", r.Test)
				}
			}
		})
	}
	rules, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range rules {
		if strings.HasSuffix(name, ".test.yaml") {
			continue
		}
		if !slices.Contains(names, strings.TrimSuffix(name, ".yaml")+".test.yaml") {
			t.Errorf("%s has no test", filepath.Base(name))
		}
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range automations.ParseYAML(data) {
			for _, p := range r.Problems {
				t.Errorf("%s:%s", name, p)
			}
		}
	}
}

// TestRoundTrip writes every rule of the tests as text, of itself and as a
// change of another text of it, and reads it back: it says the same.
func TestRoundTrip(t *testing.T) {
	own, err := filepath.Glob("testdata/*.test.yaml")
	if err != nil || len(own) == 0 {
		t.Fatal("no tests", err)
	}
	rules := 0
	for _, name := range own {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range automations.Documents(data) {
			p := &player{}
			p.places, _ = d.Into(&p.test)
			for i := range p.test.Given.Rules {
				r := automations.Rule{Enabled: true}
				if _, problems := automations.ReadNode(&p.test.Given.Rules[i], &r); len(problems) > 0 {
					continue // the name of a file
				}
				rules++
				plain := r.YAML()
				changed := r
				changed.Text, changed.Description = plain, "of a form"
				for _, text := range []string{plain, changed.YAML()} {
					back := automations.ParseYAML([]byte(text))
					if len(back) != 1 || len(back[0].Problems) > 0 {
						t.Errorf("%s: %s is written as\n%s\nwhich says %v", name, r.Name, text, back)
						continue
					}
					got := back[0].Rule
					got.Text, got.Description = "", ""
					if string(got.Encode()) != string(r.Encode()) {
						t.Errorf("%s: %s is written as\n%s\nwhich is read as %s, want %s", name, r.Name, text, got.Encode(), r.Encode())
					}
				}
			}
		}
	}
	if rules < 50 {
		t.Errorf("%d rules were read", rules)
	}
}

// TestSweep plays each test once more for each of its turns (of a long one for
// some 40 of them, unless LAR_SOAK is set), with a power cut after it: on disk
// with all that was lazy, on disk without what was lazy in the last seconds, or
// just before. With devices that publish with QoS 1, what rules send must be
// the same as without: none lost, none at another time, and none doubled but
// for the commands with a worth of which the traces say that they were given
// again.
func TestSweep(t *testing.T) {
	const most = 250 // turns of a test that is swept
	names, err := filepath.Glob(filepath.Join("..", "..", "packaging", "examples", "rules", "*.test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	own, _ := filepath.Glob("testdata/*.test.yaml")
	swept := 0
	for _, name := range append(names, own...) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range automations.Documents(data) {
			play := func(cutAt int, lose string) *player {
				p := &player{dir: filepath.Dir(name), open: os.ReadFile, now: map[string]string{}}
				p.places, p.result.Errors = d.Into(&p.test)
				for i := range p.test.When {
					if s := &p.test.When[i]; s.Publish != nil && !s.Dup {
						s.QoS, s.Retain = 1, true // a value that is not retained may lag by seconds
					}
				}
				p.furnished = func(h *house) { h.cutAt, h.cutLose, h.eager = h.turns+cutAt, lose, lose != "lazy" }
				if cutAt == 0 {
					p.furnished = func(h *house) { h.turns, h.eager = 0, true }
				}
				p.play()
				return p
			}
			whole := play(0, "")
			if whole.house == nil || whole.house.turns > most || !whole.sweepable() {
				continue
			}
			swept++
			each := max(1, whole.house.turns/40)
			if os.Getenv("LAR_SOAK") != "" {
				each = 1
			}
			for cut := 1 + swept%each; cut <= whole.house.turns; cut += each {
				for _, lose := range []string{"nothing", "turn", "lazy"} {
					p := play(cut, lose)
					got, want := texts(p.house), texts(whole.house)
					if gaveAgain(p.house) {
						got, want = onceEach(p.house), onceEach(whole.house)
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: %s: with a cut at turn %d that loses %s, there left more\n%s\nand less\n%s", name, p.test.Test, cut, lose, beyond(got, want), beyond(want, got))
					}
				}
			}
		}
	}
	if swept < 15 {
		t.Errorf("%d tests were swept", swept)
	}
}

// TestSweepHeld plays the tests of commands that are held at a start with a
// power cut after each of their turns, on disk or just before: each command
// must leave as often as without, whenever that is.
func TestSweepHeld(t *testing.T) {
	data, err := os.ReadFile("testdata/held.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	cuts := 0
	for _, d := range automations.Documents(data) {
		play := func(cutAt int, lose string) *player {
			p := &player{open: os.ReadFile, now: map[string]string{}}
			p.places, p.result.Errors = d.Into(&p.test)
			for i := range p.test.When {
				if s := &p.test.When[i]; s.Publish != nil && !s.Dup {
					s.QoS, s.Retain = 1, true
				}
			}
			p.furnished = func(h *house) { h.turns, h.cutAt, h.cutLose, h.eager = 0, cutAt, lose, true }
			p.play()
			return p
		}
		whole := play(0, "")
		started := slices.ContainsFunc(whole.house.engine.Rules(), func(r *automations.Rule) bool { return r.Triggers[0].Start != nil })
		if started {
			continue // one more start is one more trigger
		}
		said := func(p *player) (list []string) {
			for _, s := range p.house.left {
				list = append(list, s.Topic+" "+s.Payload)
			}
			slices.Sort(list)
			return list
		}
		for cut := 1; cut <= whole.house.turns; cut++ {
			for _, lose := range []string{"nothing", "turn"} {
				cuts++
				if got, want := said(play(cut, lose)), said(whole); !slices.Equal(got, want) {
					t.Errorf("%s: with a cut at turn %d that loses %s, there left %q, want %q", whole.test.Test, cut, lose, got, want)
				}
			}
		}
	}
	if cuts < 50 {
		t.Errorf("the power was cut %d times", cuts)
	}
}

// TestDuplicates plays each test once more with every message brought a second
// time at once, as by a client that has seen no acknowledgement, and once with
// the hub starting anew in between: what rules send must be the same.
func TestDuplicates(t *testing.T) {
	names, err := filepath.Glob(filepath.Join("..", "..", "packaging", "examples", "rules", "*.test.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	own, _ := filepath.Glob("testdata/*.test.yaml")
	for _, name := range append(names, own...) {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range automations.Documents(data) {
			play := func(twice, restart bool) *player {
				p := &player{dir: filepath.Dir(name), open: os.ReadFile, now: map[string]string{}}
				p.places, p.result.Errors = d.Into(&p.test)
				var when []step
				for _, s := range p.test.When {
					if s.Publish == nil {
						when = append(when, s)
						continue
					}
					if s.Dup {
						continue
					}
					s.QoS, s.Retain = 1, true
					when = append(when, s)
					if twice {
						if restart {
							when = append(when, step{At: s.At, Kill: &cut{}}, step{At: s.At, Start: &struct{}{}})
						}
						when = append(when, step{At: s.At, Publish: s.Publish, Client: s.Client, Dup: true})
					}
				}
				p.test.When = when
				p.furnished = func(h *house) { h.eager = true }
				p.play()
				return p
			}
			whole := play(false, false)
			if slices.ContainsFunc(whole.test.When, func(s step) bool { return s.Kill != nil && s.Kill.Lose == "turn" }) {
				continue // it would be another turn
			}
			if whole.house == nil || len(whole.result.Errors) > 0 && whole.house.failed != nil {
				continue
			}
			want := fmt.Sprint(texts(whole.house))
			for _, restart := range []bool{false, true} {
				if restart && (!whole.sweepable() || whole.turnsOff()) {
					continue
				}
				p := play(true, restart)
				if p.house.failed != nil {
					continue // it became too long
				}
				if got := fmt.Sprint(texts(p.house)); got != want {
					t.Errorf("%s: %s: with every message twice (restart %v) there left\n%s\nwant\n%s\n%v", name, p.test.Test, restart, got, want, p.result.Errors)
				}
			}
		}
	}
}

// turnsOff tells whether the hub is off at times: it cannot be stopped then.
func (p *player) turnsOff() bool {
	return slices.ContainsFunc(p.test.When, func(s step) bool { return s.Kill != nil || s.Stop != nil })
}

// sweepable tells whether a test means the same with one more start.
func (p *player) sweepable() bool {
	if p.test.Given.DevicesBack != 0 {
		return false // one more start is one more wait for them
	}
	for _, s := range p.test.When {
		if s.Clock != nil || s.Trusted != nil || s.Disk != nil || s.Kill != nil && s.Kill.Lose == "turn" {
			return false
		}
	}
	for _, r := range p.house.engine.Rules() {
		for _, t := range r.Triggers {
			if m := t.Message; m != nil && (m.Settle != 0 || m.On != automations.Changed && m.Retained != nil && *m.Retained) {
				return false
			}
			if t.Start != nil || t.Silent != nil {
				return false
			}
		}
	}
	return p.test.Given.Trusted == nil
}

func texts(h *house) (list []string) {
	for _, o := range h.outs {
		list = append(list, o.At.UTC().Format(time.DateTime)+" "+o.String()+"\n")
	}
	for _, s := range h.left {
		list = append(list, s.At.UTC().Format(time.DateTime)+" "+s.String()+"\n")
	}
	slices.Sort(list) // of what leaves at one instant the order is free
	return list
}

// beyond is what a list has and another has not.
func beyond(list, other []string) (more []string) {
	other = slices.Clone(other)
	for _, s := range list {
		if i := slices.Index(other, s); i >= 0 {
			other = slices.Delete(other, i, i+1)
		} else {
			more = append(more, s)
		}
	}
	return more
}

// gaveAgain tells whether a trace says that a command was given again after a
// restart.
func gaveAgain(h *house) bool {
	for _, r := range h.engine.Rules() {
		for _, run := range h.engine.Runs(r.ID) {
			if slices.ContainsFunc(run.Actions, func(a automations.Step) bool { return !a.Again.IsZero() }) {
				return true
			}
		}
	}
	return false
}

// onceEach is texts but for the commands that say what the last one to their
// entity said.
func onceEach(h *house) []string {
	once := house{outs: h.outs}
	last := map[string]string{}
	for _, s := range h.left {
		if !strings.HasSuffix(s.Topic, "/set") || last[s.Topic] != s.Payload {
			once.left = append(once.left, s)
		}
		last[s.Topic] = s.Payload
	}
	return texts(&once)
}
