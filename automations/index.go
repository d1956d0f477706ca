package automations

import (
	"bytes"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"lar.home/mqtt/topic"
)

// An index finds the rules that something may trigger. It is never changed: a
// new one takes its place when a rule is saved, switched or deleted, so that
// it may be read outside the lock.
type index struct {
	topics   topic.Tree[*ref, struct{}]
	aspects  map[aspectKey][]*ref
	entities map[string][]*ref // those of all aspects of an entity
	hooks    map[string][]*ref // by the ID of a webhook
	hookIDs  []string
	ends     map[string][]*ref // by the ID of a rule whose runs end
	scenes   map[string][]*ref // by the ID of a scene
	nothing  *prepared         // for a message that triggers nothing
}

type aspectKey struct{ entity, aspect string }

// A ref is one trigger of a rule that is on.
type ref struct {
	rule     *rule
	trigger  int
	order    int          // of the triggers of all rules, so that what happens at once has an order
	paths    []string     // places in the payload that the rule asks for
	captures bool         // levels of the topic
	compare  *Compare     // of the payload, for a trigger
	wait     *MessageWait // that a run may wait for; nil for a trigger
	// def is the version the ref was made for.
	def *Rule
}

func newIndex(rules []*rule) *index {
	x := &index{aspects: map[aspectKey][]*ref{}, entities: map[string][]*ref{}, hooks: map[string][]*ref{}, ends: map[string][]*ref{}, scenes: map[string][]*ref{}}
	x.nothing = &prepared{index: x}
	order := 0
	for _, r := range rules {
		if !r.live() {
			continue
		}
		for i, trigger := range r.def.Triggers {
			f := &ref{rule: r, trigger: i, order: order, def: r.def}
			order++
			switch {
			case trigger.Message != nil:
				f.compare = trigger.Message.asked()
				f.paths = payloadPaths(r.def, f.compare)
				if p := trigger.Message.place(); p != "" && !slices.Contains(f.paths, p) {
					f.paths = append(f.paths, p)
				}
				filter, captures := plainFilter(trigger.Message.Filter)
				f.captures = len(captures) > 0
				x.topics.Set(filter, f, struct{}{})
			case trigger.Silent != nil && trigger.Silent.Filter != "":
				x.topics.Set(trigger.Silent.Filter, f, struct{}{})
			case trigger.Rule != nil:
				x.ends[trigger.Rule.ID] = append(x.ends[trigger.Rule.ID], f)
			case trigger.Scene != nil:
				x.scenes[trigger.Scene.ID] = append(x.scenes[trigger.Scene.ID], f)
			case trigger.Webhook != nil:
				f.paths = payloadPaths(r.def, nil)
				x.hooks[trigger.Webhook.ID] = append(x.hooks[trigger.Webhook.ID], f)
			case trigger.State != nil:
				k := aspectKey{trigger.State.Entity, trigger.State.Aspect}
				x.aspects[k] = append(x.aspects[k], f)
				x.entities[k.entity] = append(x.entities[k.entity], f)
			}
		}
	}
	for _, r := range rules {
		if !r.live() {
			continue
		}
		defs := []*Rule{r.def}
		for _, w := range r.waiting {
			if !slices.Contains(defs, w.def) {
				defs = append(defs, w.def)
			}
		}
		for _, def := range defs {
			anyAction(def.Actions, func(a *Action) bool {
				if m := a.awaits(); m != nil {
					filter, _ := plainFilter(m.Filter)
					x.topics.Set(filter, &ref{rule: r, def: def, order: order, wait: m, paths: m.paths()}, struct{}{})
					order++
				}
				return false
			})
		}
	}
	x.hookIDs = slices.Sorted(maps.Keys(x.hooks))
	return x
}

// payloadPaths lists the places that a rule asks for in a message's payload.
func payloadPaths(def *Rule, of *Compare) []string {
	var paths []string
	add := func(c *Compare) {
		if c != nil && c.Path != "" && !slices.Contains(paths, c.Path) {
			paths = append(paths, c.Path)
		}
	}
	add(of)
	var walk func(list []Condition)
	walk = func(list []Condition) {
		for i := range list {
			c := &list[i]
			add(c.Payload)
			walk(c.All)
			walk(c.Any)
			if c.Not != nil {
				walk([]Condition{*c.Not})
			}
		}
	}
	walk(def.Conditions)
	return paths
}

// wants tells whether a message on a topic can trigger anything.
func (x *index) wants(name string) bool {
	if x.topics.Len() == 0 {
		return false
	}
	found := false
	x.topics.Match(name, func(*ref, struct{}) { found = true })
	return found
}

// A prepared message: which triggers its topic concerns, and what stands at
// the places they ask for.
type prepared struct {
	index *index
	refs  []*ref
	parts parts
	// retained tells that it concerns one of them also when it was found.
	retained bool
}

// parts are the places of a JSON payload that rules ask for, as text. A place
// that is not there, or null, is missing.
type parts map[string]string

func (x *index) prepare(name string, payload []byte) *prepared {
	if !x.wants(name) {
		return x.nothing
	}
	p := &prepared{index: x}
	x.topics.Match(name, func(f *ref, _ struct{}) { p.refs = append(p.refs, f) })
	if len(p.refs) > 1 {
		slices.SortFunc(p.refs, func(a, b *ref) int { return a.order - b.order })
	}
	var paths []string
	for _, f := range p.refs {
		if f.wait == nil {
			m := f.def.Triggers[f.trigger].Message
			p.retained = p.retained || m != nil && (m.remembers() || m.retained())
		}
		paths = append(paths, f.paths...)
	}
	p.parts = payloadParts(payload, paths)
	return p
}

// payloadParts looks up places in a payload, if it is JSON.
func payloadParts(payload []byte, paths []string) parts {
	if len(paths) == 0 || len(payload) > MaxJSON {
		return nil
	}
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber() // numbers stay as they were written
	var root any
	if d.Decode(&root) != nil || d.More() {
		return nil
	}
	found := parts{}
	for _, path := range paths {
		if text, ok := lookUp(root, path); ok {
			found[path] = text
		}
	}
	return found
}

func lookUp(at any, path string) (text string, ok bool) {
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		switch v := at.(type) {
		case map[string]any:
			if at, ok = v[name]; !ok {
				return "", false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) {
				return "", false
			}
			at = v[i]
		default:
			return "", false
		}
	}
	switch v := at.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case bool:
		return strconv.FormatBool(v), true
	default:
		b, err := json.Marshal(v)
		return string(b), err == nil
	}
}
