package template

import (
	"errors"
	"fmt"
)

// A macro is a part of a template with a name and parameters. It may call
// those that come before it, so it never calls itself.
type macro struct {
	names    []string
	slots    []int
	defaults []expr // nil where a parameter has none
	copies   []inherit
	body     []node
}

// scope compiles fn with names of its own: what it sets is not seen outside,
// and what is set outside is seen until it sets it itself. given are the slots
// of names that begin with a value.
func (c *compiler) scope(names []string, fn func() error) (given []int, copies []inherit, err error) {
	outer := c.scopes
	c.scopes = append(c.scopes[:len(c.scopes):len(c.scopes)], map[string]int{})
	top := len(c.scopes) - 1
	given = make([]int, len(names))
	for i, n := range names {
		if _, twice := c.scopes[top][n]; twice {
			return nil, nil, fmt.Errorf("%q is there twice", n)
		}
		given[i] = c.newSlot(top, n)
	}
	err = fn()
	scope := c.scopes[top]
	c.scopes = outer
	if err != nil {
		return nil, nil, err
	}
	for name, s := range scope {
		if !containsInt(given, s) {
			copies = append(copies, inherit{s, c.slot(name)})
		}
	}
	return given, copies, nil
}

// ending reads the body of a tag and its end.
func (c *compiler) ending(end string) ([]node, error) {
	body, err := c.body(end)
	if err != nil {
		return nil, err
	}
	c.next()
	c.next()
	return body, c.expectKind(tokBlockEnd)
}

// capture runs nodes and returns what they write.
func (e *env) capture(nodes []node) (string, error) {
	out := e.out
	e.out = nil
	_, err := runAll(e, nodes)
	text := string(e.out)
	e.out = out
	return text, err
}

// macroStatement is {% macro name(a, b=1) %}…{% endmacro %}.
func (c *compiler) macroStatement() (node, error) {
	name := c.next()
	if name.kind != tokName || !c.op("(") {
		return nil, errors.New("a macro has a name and parameters")
	}
	m := &macro{}
	for !c.op(")") {
		p := c.next()
		if p.kind != tokName {
			return nil, fmt.Errorf("%s cannot be a parameter", p)
		}
		var def expr
		if c.op("=") {
			var err error
			if def, err = c.expression(); err != nil {
				return nil, err
			}
		}
		m.names, m.defaults = append(m.names, p.text), append(m.defaults, def)
		if !c.op(",") {
			if err := c.expect(")"); err != nil {
				return nil, err
			}
			break
		}
	}
	if err := c.expectKind(tokBlockEnd); err != nil {
		return nil, err
	}
	// It sees the template's own names, not those of a loop around it.
	around, loops := c.scopes, c.loops
	c.scopes, c.loops = c.scopes[:1:1], 0
	var err error
	m.slots, m.copies, err = c.scope(m.names, func() (err error) {
		m.body, err = c.ending("endmacro")
		return err
	})
	c.scopes, c.loops = around, loops
	if err != nil {
		return nil, err
	}
	if c.macros == nil {
		c.macros = map[string]*macro{}
	}
	c.macros[name.text] = m
	return func(*env) (jump, error) { return onward, nil }, nil
}

// call is what a template has where it calls the macro.
func (m *macro) call(a *arguments) (expr, error) {
	if len(a.placed) > len(m.names) {
		return nil, fmt.Errorf("a macro takes %d arguments and not %d", len(m.names), len(a.placed))
	}
	given := make([]expr, len(m.names))
	copy(given, m.defaults)
	copy(given, a.placed)
	for i, name := range a.names {
		found := false
		for j, n := range m.names {
			if n == name {
				given[j], found = a.named[i], true
			}
		}
		if !found {
			return nil, fmt.Errorf("a macro has no parameter %q", name)
		}
	}
	return func(e *env) (Value, error) {
		values := make([]Value, len(given))
		for i, x := range given {
			if x == nil {
				continue
			}
			v, err := x(e)
			if err != nil {
				return v, err
			}
			values[i] = v
		}
		for _, cp := range m.copies {
			e.slots[cp.inner] = e.slots[cp.outer]
		}
		for i, s := range m.slots {
			e.slots[s] = values[i]
		}
		text, err := e.capture(m.body)
		if err != nil {
			return Value{}, err
		}
		return e.text(text)
	}, nil
}

// withStatement is {% with a = 1 %}…{% endwith %}.
func (c *compiler) withStatement() (node, error) {
	var names []string
	var values []expr
	for c.peek().kind != tokBlockEnd {
		t := c.next()
		if t.kind != tokName {
			return nil, fmt.Errorf("%s cannot be set", t)
		}
		if err := c.expect("="); err != nil {
			return nil, err
		}
		x, err := c.expression()
		if err != nil {
			return nil, err
		}
		names, values = append(names, t.text), append(values, x)
		if !c.op(",") {
			break
		}
	}
	if err := c.expectKind(tokBlockEnd); err != nil {
		return nil, err
	}
	var body []node
	slots, copies, err := c.scope(names, func() (err error) {
		body, err = c.ending("endwith")
		return err
	})
	return func(e *env) (jump, error) {
		given := make([]Value, len(values))
		for i, x := range values {
			v, err := x(e)
			if err != nil {
				return onward, err
			}
			given[i] = v
		}
		for _, cp := range copies {
			e.slots[cp.inner] = e.slots[cp.outer]
		}
		for i, s := range slots {
			e.slots[s] = given[i]
		}
		return runAll(e, body)
	}, err
}

// filterStatement is {% filter upper|trim %}…{% endfilter %}.
func (c *compiler) filterStatement() (node, error) {
	s := c.newSlot(0, "") // no name in a template is empty
	x, err := c.filtered(func(e *env) (Value, error) { return e.slots[s], nil })
	if err == nil {
		err = c.expectKind(tokBlockEnd)
	}
	if err != nil {
		return nil, err
	}
	body, err := c.ending("endfilter")
	return func(e *env) (jump, error) {
		text, err := e.capture(body)
		if err != nil {
			return onward, err
		}
		e.slots[s] = FromString(text)
		v, err := x(e)
		if err != nil {
			return onward, err
		}
		return onward, e.writeValue(v)
	}, err
}
