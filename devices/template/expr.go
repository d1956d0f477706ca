package template

import (
	"errors"
	"fmt"
)

// tupleExpression is an expression, or several with commas between.
func (c *compiler) tupleExpression() (expr, error) {
	x, err := c.expression()
	if err != nil || c.peek() != (token{tokOp, ","}) {
		return x, err
	}
	items := []expr{x}
	for c.op(",") {
		if k := c.peek().kind; k == tokBlockEnd || k == tokVarEnd {
			break
		}
		x, err := c.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
	}
	return sequence(items, tuple), nil
}

// expression is a full one: a if c else b.
func (c *compiler) expression() (expr, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	x, err := c.or()
	for err == nil && c.name("if") {
		var test, otherwise expr
		if test, err = c.or(); err != nil {
			break
		}
		if c.name("else") {
			if otherwise, err = c.expression(); err != nil {
				break
			}
		}
		then := x
		x = func(e *env) (Value, error) {
			v, err := test(e)
			switch {
			case err != nil:
				return v, err
			case v.truth():
				return then(e)
			case otherwise == nil:
				return Value{}, nil
			}
			return otherwise(e)
		}
	}
	return x, err
}

// withoutCondition is what may stand after in: the if belongs to the loop.
func (c *compiler) withoutCondition() (expr, error) { return c.or() }

func (c *compiler) or() (expr, error) {
	x, err := c.and()
	for err == nil && c.name("or") {
		var right expr
		if right, err = c.and(); err != nil {
			break
		}
		left := x
		x = func(e *env) (Value, error) {
			if v, err := left(e); err != nil || v.truth() {
				return v, err
			}
			return right(e)
		}
	}
	return x, err
}

func (c *compiler) and() (expr, error) {
	x, err := c.not()
	for err == nil && c.name("and") {
		var right expr
		if right, err = c.not(); err != nil {
			break
		}
		left := x
		x = func(e *env) (Value, error) {
			if v, err := left(e); err != nil || !v.truth() {
				return v, err
			}
			return right(e)
		}
	}
	return x, err
}

func (c *compiler) not() (expr, error) {
	if !c.name("not") {
		return c.comparison()
	}
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	x, err := c.not()
	return func(e *env) (Value, error) {
		v, err := x(e)
		return FromBool(!v.truth()), err
	}, err
}

// comparison is a chain: a < b <= c.
func (c *compiler) comparison() (expr, error) {
	x, err := c.sum()
	if err != nil {
		return nil, err
	}
	type link struct {
		op    string
		right expr
	}
	var links []link
	for {
		op := ""
		switch t := c.peek(); {
		case t.kind == tokOp && (t.text == "==" || t.text == "!=" || t.text == "<" || t.text == "<=" || t.text == ">" || t.text == ">="):
			op = t.text
			c.next()
		case t == token{tokName, "in"}:
			op = "in"
			c.next()
		case t == token{tokName, "not"} && c.tokens[c.i+1] == token{tokName, "in"}:
			op = "not in"
			c.next()
			c.next()
		}
		if op == "" {
			break
		}
		right, err := c.sum()
		if err != nil {
			return nil, err
		}
		links = append(links, link{op, right})
	}
	if len(links) == 0 {
		return x, nil
	}
	return func(e *env) (Value, error) {
		left, err := x(e)
		if err != nil {
			return left, err
		}
		for _, l := range links {
			right, err := l.right(e)
			if err != nil {
				return right, err
			}
			ok, err := compareOp(e, l.op, left, right)
			if err != nil || !ok {
				return FromBool(false), err
			}
			left = right
		}
		return FromBool(true), nil
	}, nil
}

// binary compiles a chain of operators of one rank.
func (c *compiler) binary(operand func() (expr, error), ops ...string) (expr, error) {
	x, err := operand()
	for err == nil {
		op := ""
		for _, o := range ops {
			if c.op(o) {
				op = o
				break
			}
		}
		if op == "" {
			return x, nil
		}
		var right expr
		if right, err = operand(); err != nil {
			break
		}
		left := x
		x = func(e *env) (Value, error) {
			l, err := left(e)
			if err != nil {
				return l, err
			}
			r, err := right(e)
			if err != nil {
				return r, err
			}
			return arithmetic(e, op, l, r)
		}
	}
	return nil, err
}

func (c *compiler) sum() (expr, error)     { return c.binary(c.concat, "+", "-") }
func (c *compiler) concat() (expr, error)  { return c.binary(c.product, "~") }
func (c *compiler) product() (expr, error) { return c.binary(c.power, "*", "//", "/", "%") }
func (c *compiler) power() (expr, error) {
	return c.binary(func() (expr, error) { return c.unary(true) }, "**")
}

func (c *compiler) unary(filters bool) (expr, error) {
	if err := c.enter(); err != nil {
		return nil, err
	}
	defer c.leave()
	var x expr
	var err error
	switch {
	case c.op("-"):
		if x, err = c.unary(false); err != nil {
			return nil, err
		}
		inner := x
		x = func(e *env) (Value, error) {
			v, err := inner(e)
			if err != nil {
				return v, err
			}
			return arithmetic(e, "-", FromInt(0), v)
		}
	case c.op("+"):
		if x, err = c.unary(false); err != nil {
			return nil, err
		}
	default:
		if x, err = c.primary(); err != nil {
			return nil, err
		}
	}
	if x, err = c.postfix(x); err != nil || !filters {
		return x, err
	}
	return c.filters(x)
}

func constant(v Value) expr { return func(*env) (Value, error) { return v, nil } }

func (c *compiler) primary() (expr, error) {
	t := c.next()
	switch t.kind {
	case tokString:
		for c.peek().kind == tokString { // "a" "b" is one text
			t.text += c.next().text
		}
		return constant(FromString(t.text)), nil
	case tokInt:
		return constant(numberOf(t.text, true)), nil
	case tokFloat:
		return constant(numberOf(t.text, false)), nil
	case tokName:
		return c.variable(t.text)
	case tokOp:
		switch t.text {
		case "(":
			return c.parenthesis()
		case "[":
			items, err := c.list("]")
			return sequence(items, list), err
		case "{":
			return c.dict()
		}
	}
	return nil, fmt.Errorf("unexpected %s", t)
}

func (c *compiler) variable(name string) (expr, error) {
	switch name {
	case "true", "True":
		return constant(FromBool(true)), nil
	case "false", "False":
		return constant(FromBool(false)), nil
	case "none", "None":
		return constant(none()), nil
	}
	if !c.known(name) {
		if f, ok := constants[name]; ok && c.peek() != (token{tokOp, "("}) {
			return constant(FromFloat(f)), nil
		}
		if name == "dict" && c.op(".") {
			return c.fromKeys()
		}
		if c.peek() == (token{tokOp, "("}) {
			fn, m := functions[name], c.macros[name]
			if fn == nil && m == nil {
				return nil, fmt.Errorf("function %s() is not supported", name)
			}
			c.next()
			args, err := c.arguments()
			if m != nil && err == nil {
				return m.call(args)
			}
			return args.call(fn), err
		}
	}
	s := c.slot(name)
	return func(e *env) (Value, error) { return e.slots[s], nil }, nil
}

// fromKeys is dict.from_keys(pairs).
func (c *compiler) fromKeys() (expr, error) {
	if !c.name("from_keys") || !c.op("(") {
		return nil, errors.New("of dict only dict.from_keys() is supported")
	}
	args, err := c.arguments()
	return args.call(func(e *env, a []Value, named *box) (Value, error) {
		if len(a) != 1 {
			return Value{}, errArguments
		}
		return makeDict(e, a[:1], &box{})
	}), err
}

// list reads expressions up to a closing bracket.
func (c *compiler) list(end string) ([]expr, error) {
	var items []expr
	for !c.op(end) {
		x, err := c.expression()
		if err != nil {
			return nil, err
		}
		items = append(items, x)
		if !c.op(",") {
			return items, c.expect(end)
		}
	}
	return items, nil
}

func (c *compiler) parenthesis() (expr, error) {
	if c.op(")") {
		return sequence(nil, tuple), nil
	}
	x, err := c.expression()
	if err != nil {
		return nil, err
	}
	if !c.op(",") {
		return x, c.expect(")")
	}
	rest, err := c.list(")")
	return sequence(append([]expr{x}, rest...), tuple), err
}

// sequence evaluates expressions into a list or tuple.
func sequence(items []expr, make_ func([]Value) Value) expr {
	return func(e *env) (Value, error) {
		values := make([]Value, len(items))
		for i, x := range items {
			v, err := x(e)
			if err != nil {
				return v, err
			}
			values[i] = v
		}
		return make_(values), e.charge(1 + len(items)/8)
	}
}

func (c *compiler) dict() (expr, error) {
	var keys, values []expr
	for !c.op("}") {
		k, err := c.expression()
		if err != nil {
			return nil, err
		}
		if err := c.expect(":"); err != nil {
			return nil, err
		}
		v, err := c.expression()
		if err != nil {
			return nil, err
		}
		keys, values = append(keys, k), append(values, v)
		if !c.op(",") {
			if err := c.expect("}"); err != nil {
				return nil, err
			}
			break
		}
	}
	return func(e *env) (Value, error) {
		b := &box{keys: make([]Value, 0, len(keys)), items: make([]Value, 0, len(keys))}
		for i := range keys {
			k, err := keys[i](e)
			if err != nil {
				return k, err
			}
			v, err := values[i](e)
			if err != nil {
				return v, err
			}
			if _, ok := hashKey(k); !ok {
				return v, errKey
			}
			b.set(k, v)
		}
		return dict(b), e.charge(1 + len(keys)/8)
	}, nil
}

var errKey = errors.New("a list or dict cannot be a key")

// postfix is .name, [key], [from:to], and calls of methods.
func (c *compiler) postfix(x expr) (expr, error) {
	for {
		switch {
		case c.op("."):
			t := c.next()
			if t.kind == tokInt {
				x = index(x, constant(numberOf(t.text, true)), false)
				continue
			}
			if t.kind != tokName {
				return nil, fmt.Errorf("unexpected %s after a dot", t)
			}
			if c.op("(") {
				m := methods[t.text]
				if m == nil {
					return nil, fmt.Errorf("method .%s() is not supported", t.text)
				}
				args, err := c.arguments()
				if err != nil {
					return nil, err
				}
				x = args.method(x, t.text, m)
				continue
			}
			x = index(x, constant(FromString(t.text)), true)
		case c.op("["):
			var err error
			if x, err = c.subscript(x); err != nil {
				return nil, err
			}
		case c.peek() == token{tokOp, "("}:
			return nil, errors.New("only functions and methods can be called")
		default:
			return x, nil
		}
	}
}

// index is x[key] or x.key.
func index(x, key expr, attribute bool) expr {
	return func(e *env) (Value, error) {
		v, err := x(e)
		if err != nil {
			return v, err
		}
		k, err := key(e)
		if err != nil {
			return k, err
		}
		if v.kind == Undefined {
			return v, errUndefined
		}
		if attribute && v.kind == String {
			return Value{}, nil
		}
		work := 1 + len(v.text)/64
		if k.kind == Tuple {
			work += 100
		}
		return subscript(v, k), e.charge(work)
	}
}

func (c *compiler) subscript(x expr) (expr, error) {
	var bounds [3]expr
	n, colons := 0, 0
	for !c.op("]") {
		if c.op(":") {
			if colons++; colons > 2 {
				return nil, errors.New("a slice has at most three parts")
			}
			n++
			continue
		}
		if bounds[n] != nil {
			return nil, fmt.Errorf("unexpected %s in brackets", c.peek())
		}
		b, err := c.expression()
		if err != nil {
			return nil, err
		}
		bounds[n] = b
	}
	if colons == 0 {
		if bounds[0] == nil {
			return nil, errors.New("empty brackets")
		}
		return index(x, bounds[0], false), nil
	}
	return func(e *env) (Value, error) {
		v, err := x(e)
		if err != nil {
			return v, err
		}
		var at [3]Value
		for i, b := range bounds {
			if b != nil {
				if at[i], err = b(e); err != nil {
					return Value{}, err
				}
			}
		}
		return slice(e, v, at)
	}, nil
}
