package automations

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"lar.home/mqtt/topic"
)

// An index finds the rules that something may trigger. As a rule is saved,
// switched or deleted its refs are taken out and those of what it says now put
// in, which takes as long with a thousand rules as with ten. It changes under
// the house's lock alone, and is read outside of it by those that prepare
// messages; the lists it returns are never changed.
type index struct {
	mu       sync.RWMutex
	topics   topic.Tree[*ref, struct{}]
	aspects  map[aspectKey][]*ref
	entities map[string][]*ref // those of all aspects of an entity
	hooks    map[string][]*ref // by the ID of a webhook
	hookIDs  []string
	ends     map[string][]*ref // by the ID of a rule whose runs end
	scenes   map[string][]*ref // by the ID of a scene
	nothing  *prepared         // for a message that triggers nothing
	version  uint64            // counts the changes
	known    atomic.Pointer[knownTopics]
	of       map[*rule][]*ref // what there is of each rule
	// What conditions look at, by entity, and the entities of each rule.
	relied   map[string][]reliance
	reliedOf map[*rule][]string
}

// knownTopics is what was found for topics that came before, until the next
// change: a house says the same over and over. It is read without a lock.
type knownTopics struct {
	sync.Map // of string to *prepared without its parts
	n        atomic.Int32
}

// maxKnownTopics and maxKnownTopic bound how many there are before they are
// gathered anew, and how long.
const (
	maxKnownTopics = 4096
	maxKnownTopic  = 256
)

// learn keeps what was found for a topic.
func (x *index) learn(name string, p *prepared) {
	if len(name) > maxKnownTopic {
		return
	}
	k := x.known.Load()
	if k.n.Add(1) > maxKnownTopics {
		x.known.CompareAndSwap(k, &knownTopics{})
		return
	}
	k.Store(strings.Clone(name), p)
}

type aspectKey struct{ entity, aspect string }

// A ref is one trigger of a rule that is on. It is never changed.
type ref struct {
	rule     *rule
	trigger  int
	order    int          // within the rule
	filter   string       // of messages; empty for none
	paths    []string     // places in the payload that the rule asks for
	captures bool         // levels of the topic
	compare  *Compare     // of the payload, for a trigger
	wait     *MessageWait // that a run may wait for; nil for a trigger
	// def is the version the ref was made for.
	def *Rule
}

// inOrder is the order in which refs see what happens at once: triggers by the
// IDs of their rules, then runs that wait.
func inOrder(a, b *ref) int {
	if (a.wait == nil) != (b.wait == nil) {
		if a.wait == nil {
			return -1
		}
		return 1
	}
	return cmp.Or(strings.Compare(a.rule.id, b.rule.id), a.order-b.order)
}

func newIndex(rules []*rule) *index {
	x := &index{aspects: map[aspectKey][]*ref{}, entities: map[string][]*ref{}, hooks: map[string][]*ref{}, ends: map[string][]*ref{}, scenes: map[string][]*ref{},
		of: map[*rule][]*ref{}, relied: map[string][]reliance{}, reliedOf: map[*rule][]string{}}
	x.nothing = &prepared{}
	x.known.Store(&knownTopics{})
	for _, r := range rules {
		x.set(r)
	}
	return x
}

// set makes the index follow a rule.
func (x *index) set(r *rule) {
	refs := refsOf(r)
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, f := range x.of[r] {
		x.place(f, false)
	}
	delete(x.of, r)
	for _, f := range refs {
		x.place(f, true)
	}
	if len(refs) > 0 {
		x.of[r] = refs
	}
	for _, id := range x.reliedOf[r] {
		list := slices.DeleteFunc(slices.Clone(x.relied[id]), func(o reliance) bool { return o.rule == r })
		if x.relied[id] = list; len(list) == 0 {
			delete(x.relied, id)
		}
	}
	delete(x.reliedOf, r)
	if r.live() {
		for id, list := range reliancesOf(r) {
			x.relied[id] = append(x.relied[id], list...)
			x.reliedOf[r] = append(x.reliedOf[r], id)
		}
	}
	x.version++
	x.nothing = &prepared{version: x.version}
	x.known.Store(&knownTopics{})
}

// place puts a ref in where it belongs, or takes it out.
func (x *index) place(f *ref, in bool) {
	if f.filter != "" {
		if in {
			x.topics.Set(f.filter, f, struct{}{})
		} else {
			x.topics.Delete(f.filter, f)
		}
		return
	}
	switch trigger := &f.def.Triggers[f.trigger]; {
	case trigger.Rule != nil:
		placeAt(x.ends, trigger.Rule.ID, f, in)
	case trigger.Scene != nil:
		placeAt(x.scenes, trigger.Scene.ID, f, in)
	case trigger.Webhook != nil:
		id := trigger.Webhook.ID
		placeAt(x.hooks, id, f, in)
		i, listed := slices.BinarySearch(x.hookIDs, id)
		if is := len(x.hooks[id]) > 0; is && !listed {
			x.hookIDs = slices.Insert(slices.Clone(x.hookIDs), i, id)
		} else if !is && listed {
			x.hookIDs = slices.Delete(slices.Clone(x.hookIDs), i, i+1)
		}
	case trigger.State != nil:
		k := aspectKey{trigger.State.Entity, trigger.State.Aspect}
		placeAt(x.aspects, k, f, in)
		placeAt(x.entities, k.entity, f, in)
	}
}

func placeAt[K comparable](m map[K][]*ref, k K, f *ref, in bool) {
	list := slices.Clone(m[k])
	i, _ := slices.BinarySearchFunc(list, f, inOrder)
	if in {
		m[k] = slices.Insert(list, i, f)
		return
	}
	if m[k] = slices.DeleteFunc(list, func(o *ref) bool { return o == f }); len(m[k]) == 0 {
		delete(m, k)
	}
}

// refsOf lists what can trigger a rule, or wake a run of it; nothing while it
// is off.
func refsOf(r *rule) (refs []*ref) {
	if !r.live() {
		return nil
	}
	for i, trigger := range r.def.Triggers {
		f := &ref{rule: r, trigger: i, order: i, def: r.def}
		switch {
		case trigger.Message != nil:
			f.compare = trigger.Message.asked()
			f.paths = payloadPaths(r.def, f.compare)
			if p := trigger.Message.place(); p != "" && !slices.Contains(f.paths, p) {
				f.paths = append(f.paths, p)
			}
			var captures []captured
			f.filter, captures = plainFilter(trigger.Message.Filter)
			f.captures = len(captures) > 0
		case trigger.Silent != nil && trigger.Silent.Filter != "":
			f.filter = trigger.Silent.Filter
		case trigger.Webhook != nil:
			f.paths = payloadPaths(r.def, nil)
		case trigger.Rule != nil, trigger.Scene != nil, trigger.State != nil:
		default:
			continue // of the clock
		}
		refs = append(refs, f)
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
				refs = append(refs, &ref{rule: r, def: def, order: len(refs), filter: filter, wait: m, paths: m.paths()})
			}
			return false
		})
	}
	return refs
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
func (x *index) wants(name string) bool { return len(x.find(name).refs) > 0 }

// find returns what a message on a topic can trigger.
func (x *index) find(name string) *prepared {
	if p, ok := x.known.Load().Load(name); ok {
		return p.(*prepared)
	}
	x.mu.RLock()
	defer x.mu.RUnlock()
	p := &prepared{version: x.version}
	x.topics.Match(name, func(f *ref, _ struct{}) { p.refs = append(p.refs, f) })
	if len(p.refs) == 0 {
		p = x.nothing
	}
	slices.SortFunc(p.refs, inOrder)
	for _, f := range p.refs {
		if f.wait == nil {
			m := f.def.Triggers[f.trigger].Message
			p.retained = p.retained || m != nil && (m.remembers() || m.retained())
		}
		p.paths = append(p.paths, f.paths...)
	}
	x.learn(name, p)
	return p
}

// listHooks lists the IDs of the webhooks that a rule waits for.
func (x *index) listHooks() []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return x.hookIDs
}

// A prepared message: which triggers its topic concerns, and what stands at
// the places they ask for.
type prepared struct {
	version uint64 // of the index
	refs    []*ref
	paths   []string // of the payload, that refs ask for
	parts   parts
	// retained tells that it concerns one of them also when it was found.
	retained bool
}

// parts are the places of a JSON payload that rules ask for, as text. A place
// that is not there, or null, is missing.
type parts map[string]string

func (x *index) prepare(name string, payload []byte) *prepared {
	p := x.find(name)
	if len(p.paths) == 0 {
		return p
	}
	own := *p
	own.parts = payloadParts(payload, p.paths)
	return &own
}
