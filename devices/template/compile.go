package template

import (
	"errors"
	"fmt"
	"strings"
)

// A node writes a part of the result. An expr is evaluated to a value.
type (
	node func(e *env) (jump, error)
	expr func(e *env) (Value, error)
)

// A jump tells how a node ended.
type jump uint8

const (
	onward jump = iota
	jumpContinue
	jumpBreak
)

// maxNesting is how deep tags and brackets may be nested in a template.
const maxNesting = 64

// A compiler turns tokens into closures in one pass.
type compiler struct {
	tokens []token
	i      int
	depth  int
	loops  int
	scopes []map[string]int
	macros map[string]*macro
	t      *Template
}

// compile reads a template of the full form.
func compile(text string) (*Template, error) {
	tokens, err := lex(text)
	if err != nil {
		return nil, err
	}
	c := &compiler{tokens: tokens, scopes: []map[string]int{{}}, t: &Template{kind: full}}
	c.t.body, err = c.body()
	if err == nil && c.peek().kind != tokEnd {
		err = errors.New("a block ends that did not begin")
	}
	if err != nil {
		return nil, err
	}
	return c.t, nil
}

func (c *compiler) peek() token { return c.tokens[c.i] }

func (c *compiler) next() token {
	t := c.tokens[c.i]
	if t.kind != tokEnd {
		c.i++
	}
	return t
}

// op takes an operator if it is next.
func (c *compiler) op(text string) bool {
	if t := c.peek(); t.kind == tokOp && t.text == text {
		c.i++
		return true
	}
	return false
}

// name takes a word if it is next.
func (c *compiler) name(text string) bool {
	if t := c.peek(); t.kind == tokName && t.text == text {
		c.i++
		return true
	}
	return false
}

func (c *compiler) expect(op string) error {
	if !c.op(op) {
		return fmt.Errorf("%q is missing before %s", op, c.peek())
	}
	return nil
}

func (c *compiler) expectKind(k tokenKind) error {
	if t := c.next(); t.kind != k {
		return fmt.Errorf("unexpected %s at the end of a tag", t)
	}
	return nil
}

func (t token) String() string {
	switch t.kind {
	case tokEnd:
		return "the end"
	case tokVarEnd, tokBlockEnd:
		return "the end of the tag"
	}
	return fmt.Sprintf("%q", t.text)
}

// enter bounds recursion; leave is its counterpart.
func (c *compiler) enter() error {
	if c.depth++; c.depth > maxNesting {
		return fmt.Errorf("nested deeper than %d", maxNesting)
	}
	return nil
}

func (c *compiler) leave() { c.depth-- }

// Slots. A name that is read and was never set is an input.

func (c *compiler) slot(name string) int {
	for i := len(c.scopes) - 1; i >= 0; i-- {
		if s, ok := c.scopes[i][name]; ok {
			return s
		}
	}
	s := c.newSlot(0, name)
	c.t.slots = append(c.t.slots, slot{name, s})
	if name == "value_json" {
		c.t.json = true
	}
	return s
}

func (c *compiler) newSlot(scope int, name string) int {
	s := c.t.size
	c.t.size++
	c.scopes[scope][name] = s
	return s
}

// known tells whether a name is set in the template or is an input, so that
// it hides a function.
func (c *compiler) known(name string) bool {
	for _, scope := range c.scopes {
		if _, ok := scope[name]; ok {
			return true
		}
	}
	return false
}

// An inherit copies a variable into a loop's own place as each turn begins.
type inherit struct{ inner, outer int }

// assign returns the slot to set a name in the present scope.
func (c *compiler) assign(name string) int {
	top := len(c.scopes) - 1
	if s, ok := c.scopes[top][name]; ok {
		return s
	}
	if top == 0 {
		return c.slot(name) // may have come as an input
	}
	return c.newSlot(top, name)
}

// body compiles up to the end or to a tag of one of the given names, whose
// opening and name it leaves.
func (c *compiler) body(until ...string) ([]node, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	var nodes []node
	for {
		switch t := c.peek(); t.kind {
		case tokEnd:
			if len(until) > 0 {
				return nil, fmt.Errorf("{%% %s %%} is missing", until[len(until)-1])
			}
			return nodes, nil
		case tokText:
			c.next()
			text := t.text
			nodes = append(nodes, func(e *env) (jump, error) { return onward, e.write(text) })
		case tokVarBegin:
			c.next()
			x, err := c.tupleExpression()
			if err == nil {
				err = c.expectKind(tokVarEnd)
			}
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, func(e *env) (jump, error) {
				v, err := x(e)
				if err != nil {
					return onward, err
				}
				return onward, e.writeValue(v)
			})
		case tokBlock:
			word := c.tokens[c.i+1]
			for _, u := range until {
				if word.kind == tokName && word.text == u {
					return nodes, nil
				}
			}
			if len(until) == 0 && strings.HasPrefix(word.text, "end") {
				return nodes, nil
			}
			c.next()
			n, err := c.statement()
			if err != nil {
				return nil, err
			}
			nodes = append(nodes, n)
		default:
			return nil, fmt.Errorf("unexpected %s", t)
		}
	}
}

func runAll(e *env, nodes []node) (jump, error) {
	for _, n := range nodes {
		if err := e.charge(1); err != nil {
			return onward, err
		}
		if j, err := n(e); err != nil || j != onward {
			return j, err
		}
	}
	return onward, nil
}

func (c *compiler) statement() (node, error) {
	t := c.next()
	switch t.text {
	case "if":
		return c.ifStatement()
	case "for":
		return c.forStatement()
	case "set":
		return c.setStatement()
	case "macro":
		return c.macroStatement()
	case "with":
		return c.withStatement()
	case "filter":
		return c.filterStatement()
	case "do":
		x, err := c.expression()
		if err != nil {
			return nil, err
		}
		return func(e *env) (jump, error) { _, err := x(e); return onward, err }, c.expectKind(tokBlockEnd)
	case "break", "continue":
		if c.loops == 0 {
			return nil, fmt.Errorf("%s outside a loop", t.text)
		}
		j := jumpBreak
		if t.text == "continue" {
			j = jumpContinue
		}
		return func(*env) (jump, error) { return j, nil }, c.expectKind(tokBlockEnd)
	}
	return nil, fmt.Errorf("{%% %s %%} is not supported", t.text)
}

func (c *compiler) ifStatement() (node, error) {
	type branch struct {
		test expr
		body []node
	}
	var branches []branch
	for {
		test, err := c.expression()
		if err != nil {
			return nil, err
		}
		if err := c.expectKind(tokBlockEnd); err != nil {
			return nil, err
		}
		body, err := c.body("elif", "else", "endif")
		if err != nil {
			return nil, err
		}
		branches = append(branches, branch{test, body})
		c.next()
		switch c.next().text {
		case "elif":
			continue
		case "else":
			if err := c.expectKind(tokBlockEnd); err != nil {
				return nil, err
			}
			if body, err = c.body("endif"); err != nil {
				return nil, err
			}
			c.next()
			c.next()
			branches = append(branches, branch{nil, body})
		}
		break
	}
	return func(e *env) (jump, error) {
		for _, b := range branches {
			if b.test != nil {
				v, err := b.test(e)
				if err != nil {
					return onward, err
				}
				if !v.truth() {
					continue
				}
			}
			return runAll(e, b.body)
		}
		return onward, nil
	}, c.expectKind(tokBlockEnd)
}

// targets reads "a" or "a, b" or "(a, b)" on the left of in and =.
func (c *compiler) targets() ([]string, error) {
	bracket := c.op("(")
	var names []string
	for {
		t := c.next()
		if t.kind != tokName {
			return nil, fmt.Errorf("%s cannot be set", t)
		}
		names = append(names, t.text)
		if !c.op(",") {
			break
		}
	}
	if bracket {
		return names, c.expect(")")
	}
	return names, nil
}

func (c *compiler) forStatement() (node, error) {
	names, err := c.targets()
	if err != nil {
		return nil, err
	}
	if !c.name("in") {
		return nil, errors.New("for without in")
	}
	over, err := c.withoutCondition()
	if err != nil {
		return nil, err
	}
	outer := c.scopes
	c.scopes = append(c.scopes[:len(c.scopes):len(c.scopes)], map[string]int{})
	top := len(c.scopes) - 1
	slots := make([]int, len(names))
	for i, n := range names {
		slots[i] = c.newSlot(top, n)
	}
	params := len(c.scopes[top])
	loopSlot := c.newSlot(top, "loop")
	var test expr
	if c.name("if") {
		if test, err = c.expression(); err != nil {
			return nil, err
		}
	}
	if c.name("recursive") {
		return nil, errors.New("recursive loops are not supported")
	}
	if err := c.expectKind(tokBlockEnd); err != nil {
		return nil, err
	}
	c.loops++
	body, err := c.body("else", "endfor")
	c.loops--
	if err != nil {
		return nil, err
	}
	scope := c.scopes[top]
	c.scopes = outer
	var copies []inherit
	if len(scope) > params+1 {
		for name, s := range scope {
			if s != loopSlot && !containsInt(slots, s) {
				copies = append(copies, inherit{s, c.slot(name)})
			}
		}
	}
	var otherwise []node
	c.next()
	if c.next().text == "else" {
		if err := c.expectKind(tokBlockEnd); err != nil {
			return nil, err
		}
		if otherwise, err = c.body("endfor"); err != nil {
			return nil, err
		}
		c.next()
		c.next()
	}
	return func(e *env) (jump, error) {
		v, err := over(e)
		if err != nil {
			return onward, err
		}
		items, err := iterate(e, v)
		if err != nil {
			return onward, err
		}
		set := func(item Value) error {
			if err := e.charge(1); err != nil {
				return err
			}
			for _, cp := range copies {
				e.slots[cp.inner] = e.slots[cp.outer]
			}
			return unpack(e, slots, item)
		}
		if test != nil {
			var kept []Value
			for _, item := range items {
				if err := set(item); err != nil {
					return onward, err
				}
				ok, err := test(e)
				if err != nil {
					return onward, err
				}
				if ok.truth() {
					kept = append(kept, item)
				}
			}
			items = kept
		}
		if len(items) == 0 {
			return runAll(e, otherwise)
		}
		for i, item := range items {
			if err := set(item); err != nil {
				return onward, err
			}
			e.slots[loopSlot] = loopValue(i, items)
			j, err := runAll(e, body)
			if err != nil {
				return onward, err
			}
			if j == jumpBreak {
				break
			}
		}
		return onward, nil
	}, c.expectKind(tokBlockEnd)
}

func containsInt(list []int, n int) bool {
	for _, x := range list {
		if x == n {
			return true
		}
	}
	return false
}

// unpack sets one name, or several to the parts of a value.
func unpack(e *env, slots []int, v Value) error {
	if len(slots) == 1 {
		e.slots[slots[0]] = v
		return nil
	}
	parts, err := iterate(e, v)
	if err != nil {
		return err
	}
	if len(parts) != len(slots) {
		return fmt.Errorf("%d values for %d names", len(parts), len(slots))
	}
	for i, s := range slots {
		e.slots[s] = parts[i]
	}
	return nil
}

// loopValue is the variable loop of a for.
func loopValue(i int, items []Value) Value {
	n := len(items)
	b := &box{
		keys: []Value{FromString("index"), FromString("index0"), FromString("first"), FromString("last"),
			FromString("length"), FromString("revindex"), FromString("revindex0")},
		items: []Value{FromInt(int64(i + 1)), FromInt(int64(i)), FromBool(i == 0), FromBool(i == n-1),
			FromInt(int64(n)), FromInt(int64(n - i)), FromInt(int64(n - i - 1))},
	}
	if i > 0 {
		b.set(FromString("previtem"), items[i-1])
	}
	if i < n-1 {
		b.set(FromString("nextitem"), items[i+1])
	}
	return Value{kind: Dict, box: b}
}

func (c *compiler) setStatement() (node, error) {
	names, err := c.targets()
	if err != nil {
		return nil, err
	}
	if len(names) == 1 && c.op(".") {
		return c.setAttribute(names[0])
	}
	if next := c.peek(); len(names) == 1 && (next.kind == tokBlockEnd || next == token{tokOp, "|"}) {
		text := c.newSlot(0, "") // no name in a template is empty
		x, err := c.filters(func(e *env) (Value, error) { return e.slots[text], nil })
		if err == nil {
			err = c.expectKind(tokBlockEnd)
		}
		if err != nil {
			return nil, err
		}
		body, err := c.ending("endset")
		s := c.assign(names[0])
		return func(e *env) (jump, error) {
			captured, err := e.capture(body)
			if err != nil {
				return onward, err
			}
			e.slots[text] = FromString(captured)
			e.slots[s], err = x(e)
			return onward, err
		}, err
	}
	if err := c.expect("="); err != nil {
		return nil, err
	}
	x, err := c.tupleExpression()
	if err != nil {
		return nil, err
	}
	slots := make([]int, len(names))
	for i, n := range names {
		slots[i] = c.assign(n)
	}
	return func(e *env) (jump, error) {
		v, err := x(e)
		if err != nil {
			return onward, err
		}
		return onward, unpack(e, slots, v)
	}, c.expectKind(tokBlockEnd)
}

// setAttribute is {% set ns.x = … %}: only namespaces can be changed.
func (c *compiler) setAttribute(name string) (node, error) {
	attr := c.next()
	if attr.kind != tokName {
		return nil, fmt.Errorf("%s cannot be set", attr)
	}
	if err := c.expect("="); err != nil {
		return nil, err
	}
	x, err := c.tupleExpression()
	if err != nil {
		return nil, err
	}
	s := c.slot(name)
	key := FromString(attr.text)
	return func(e *env) (jump, error) {
		v, err := x(e)
		if err != nil {
			return onward, err
		}
		if e.slots[s].kind != namespace {
			return onward, errors.New("only a namespace can be changed")
		}
		if len(e.slots[s].box.keys) >= maxItems {
			return onward, errTooMany
		}
		e.slots[s].box.set(key, v)
		return onward, nil
	}, c.expectKind(tokBlockEnd)
}
