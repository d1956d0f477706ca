package automations

import (
	"cmp"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/expr-lang/expr/vm"

	"lar.home/mqtt"
)

// A view is the list of rules as readers see it; shown is one of them. Both
// are never changed, only replaced, at the end of what changes them.
type view struct {
	list []named // by name, then ID
	byID []*rule // readers use id, shown and skips only
}

// A named rule is one under the name it is listed by, in small letters.
type named struct {
	name string
	rule *rule
}

type shown struct {
	def      *Rule // with Enabled and the Status but for Problems and Last
	versions []*Rule
	runs     []*Run
	checked  *checkedRule
}

// A checkedRule keeps what is not right in a rule, as long as it and the house
// are the same: lists are looked at far more often than either changes.
type checkedRule struct {
	compile func(text string, condition bool) (*vm.Program, error)
	last    atomic.Pointer[verdict]
}

type verdict struct {
	house    House
	problems []Problem
}

func (c *checkedRule) problems(def *Rule, h House) []Problem {
	if v := c.last.Load(); v != nil && v.house == h {
		return v.problems
	}
	v := &verdict{h, def.validate(h, c.compile)}
	c.last.Store(v)
	return v.problems
}

// Rules returns the automations that are not deleted, by name, then ID.
func (e *Engine) Rules() []*Rule { return e.list(false) }

// Deleted returns the deleted ones, which can be restored, by name, then ID.
func (e *Engine) Deleted() []*Rule { return e.list(true) }

func (e *Engine) list(deleted bool) []*Rule {
	h := e.house()
	var rules []*Rule
	for _, n := range e.view.Load().list {
		if s := n.rule.shown.Load(); (s.def.Status.Deleted != nil) == deleted {
			rules = append(rules, s.rule(h))
		}
	}
	return rules
}

// Rule returns the automation with an ID, also a deleted one, or nil.
func (e *Engine) Rule(id string) *Rule {
	if s := e.shownOf(id); s != nil {
		return s.rule(e.house())
	}
	return nil
}

// Versions returns what was saved of a rule, the newest first.
func (e *Engine) Versions(id string) []*Rule {
	if s := e.shownOf(id); s != nil {
		return s.versions
	}
	return nil
}

// Runs returns the traces kept of a rule, the newest first: runs that wait,
// the last MaxRuns that ended and MaxNotRuns that did not run.
func (e *Engine) Runs(id string) []*Run {
	r := e.listed(id)
	if r == nil {
		return nil
	}
	all := slices.Concat(r.shown.Load().runs, r.skips.runs(r))
	slices.SortStableFunc(all, newestFirst)
	return all
}

// Run returns one trace, or nil.
func (e *Engine) Run(id, runID string) *Run {
	for _, run := range e.Runs(id) {
		if run.ID == runID {
			return run
		}
	}
	return nil
}

// Revision changes with everything that readers can see but for problems,
// which follow the house: who asks often can see that nothing has happened.
func (e *Engine) Revision() uint64 { return e.revision.Load() }

// listed returns a rule as far as readers may look at it, or nil.
func (e *Engine) listed(id string) *rule {
	list := e.view.Load().byID
	if i, ok := slices.BinarySearchFunc(list, id, byID); ok {
		return list[i]
	}
	return nil
}

func (e *Engine) shownOf(id string) *shown {
	if r := e.listed(id); r != nil {
		return r.shown.Load()
	}
	return nil
}

// rule returns the Rule a reader gets.
func (s *shown) rule(h House) *Rule {
	r := *s.def
	r.Status.Problems = s.checked.problems(s.def, h)
	for _, run := range s.runs {
		if run.Outcome == Waiting {
			r.Status.Waiting++
		}
	}
	if len(s.runs) > 0 {
		r.Status.Last = s.runs[0]
	}
	return &r
}

// show lets readers see a rule as it is now.
func (e *Engine) show(r *rule) {
	def := *r.def
	def.Enabled = r.enabled
	def.Status = Status{Paused: r.paused, Deleted: r.deleted}
	versions := slices.Clone(r.versions)
	slices.Reverse(versions)
	r.shown.Store(&shown{def: &def, versions: versions, runs: r.runs, checked: &checkedRule{compile: e.program}})
	e.revision.Add(1)
}

// showAll lets readers see which rules there are.
func (e *Engine) showAll() {
	v := &view{list: make([]named, 0, len(e.order)), byID: slices.Clone(e.order)}
	for _, r := range e.order {
		v.list = append(v.list, named{strings.ToLower(r.def.Name), r})
	}
	slices.SortFunc(v.list, byName)
	e.view.Store(v)
	e.revision.Add(1)
}

// showNamed is showAll after one rule came or got another name.
func (e *Engine) showNamed(r *rule) {
	was := e.view.Load()
	list, ids := make([]named, 0, len(was.list)+1), was.byID
	is := named{strings.ToLower(r.def.Name), r}
	for _, n := range was.list {
		if n.rule != r {
			list = append(list, n)
		}
	}
	i, _ := slices.BinarySearchFunc(list, is, byName)
	if list = slices.Insert(list, i, is); len(list) > len(was.list) {
		ids = slices.Clone(e.order)
	}
	e.view.Store(&view{list: list, byID: ids})
	e.revision.Add(1)
}

func byName(a, b named) int {
	return cmp.Or(strings.Compare(a.name, b.name), strings.Compare(a.rule.id, b.rule.id))
}

// showRun lets readers see a run as it is now.
func (e *Engine) showRun(r *rule, run *Run) {
	r.runs = insert(r.runs, run, MaxRuns)
	s := *r.shown.Load()
	s.runs = r.runs
	r.shown.Store(&s)
	e.revision.Add(1)
}

// insert returns runs with one more, or with it in the place of what was shown
// of it before, at most limit besides those that wait.
func insert(runs []*Run, run *Run, limit int) []*Run {
	if i := slices.IndexFunc(runs, func(r *Run) bool { return r.Seq == run.Seq }); i >= 0 {
		runs = slices.Clone(runs)
		runs[i] = run
		return runs
	}
	i, _ := slices.BinarySearchFunc(runs, run, newestFirst)
	next := make([]*Run, 0, len(runs)+1)
	next = append(append(append(next, runs[:i]...), run), runs[i:]...)
	ended := len(next)
	for _, r := range next {
		if r.Outcome == Waiting {
			ended--
		}
	}
	for i := len(next) - 1; i >= 0 && ended > limit; i-- {
		if next[i].Outcome != Waiting {
			next = slices.Delete(next, i, i+1)
			ended--
		}
	}
	return next
}

func newestFirst(a, b *Run) int { return cmp.Compare(b.Seq, a.Seq) }

// rewire makes the index follow a rule.
func (e *Engine) rewire(t *mqtt.Turn, r *rule) {
	e.index.Load().set(r)
	t.Rewire()
}
