package rehearsal

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"lar.home/automations"
	"lar.home/mqtt/topic"
)

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
	if n == 1 {
		e.belongs(path, p)
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

// belongs checks that the keys beside an expectation are those of its kind.
func (e *expect) belongs(path string, p *player) {
	message, counted := e.Expect != nil || e.Forbid != nil, e.Expect != nil || e.Notify != nil || e.HTTP != nil || e.Ran != nil
	for _, key := range []struct {
		name     string
		set, fit bool
	}{
		{"payload", !e.Payload.IsZero(), message || e.Notify != nil || e.HTTP != nil},
		{"qos", e.QoS != nil, message}, {"retain", e.Retain != nil, message},
		{"count", e.Count != nil, counted || e.Forbid != nil && e.Count != nil && *e.Count == 0}, {"at_least", e.AtLeast != nil, counted}, {"at_most", e.AtMost != nil, counted},
		{"outcome", e.Outcome != "", e.Ran != nil},
		{"aspect", e.Aspect != "", e.State != nil}, {"compare", e.Is != nil, e.State != nil},
		{"title", e.Title != nil, e.Notify != nil}, {"urgency", e.Urgency != "", e.Notify != nil},
		{"method", e.Method != "", e.HTTP != nil},
	} {
		if key.set && !key.fit {
			p.bad(path+"."+key.name, "The key %s does not belong to this expectation.", key.name)
		}
	}
	if e.Count != nil && (e.AtLeast != nil || e.AtMost != nil) {
		p.bad(path+".count", "Either count, or at_least and at_most.")
	}
	for _, n := range []*int{e.Count, e.AtLeast, e.AtMost} {
		if n != nil && *n < 0 {
			p.bad(path, "A count is 0 or more.")
		}
	}
	if e.QoS != nil && (*e.QoS < 0 || *e.QoS > 2) {
		p.bad(path+".qos", "QoS is 0, 1 or 2.")
	}
	if e.Nothing != nil && !*e.Nothing {
		p.bad(path+".nothing_else", "This is true, or is left out.")
	}
	for i := range e.Order {
		if topic.ValidFilter(e.Order[i].Expect) != nil {
			p.bad(fmt.Sprintf("%s.order[%d].expect", path, i), "%q is not a topic filter.", e.Order[i].Expect)
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
	case e.Nothing != nil:
		for i := range p.house.left {
			if s := &p.house.left[i]; e.window(s.At) && !p.foreseen(s) {
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
