package template

import (
	"errors"
	"fmt"
	"strconv"
)

// Arguments of a call: by place, then by name.
type arguments struct {
	placed []expr
	names  []string
	named  []expr
}

// arguments reads up to the closing bracket.
func (c *compiler) arguments() (*arguments, error) {
	a := &arguments{}
	for !c.op(")") {
		if t := c.peek(); t.kind == tokName && c.tokens[c.i+1] == (token{tokOp, "="}) {
			c.next()
			c.next()
			a.names = append(a.names, t.text)
			x, err := c.expression()
			if err != nil {
				return nil, err
			}
			a.named = append(a.named, x)
		} else {
			if len(a.names) > 0 {
				return nil, errors.New("an argument without a name after one with")
			}
			x, err := c.expression()
			if err != nil {
				return nil, err
			}
			a.placed = append(a.placed, x)
		}
		if !c.op(",") {
			return a, c.expect(")")
		}
	}
	return a, nil
}

// A function gets its arguments by place and by name.
type function func(e *env, args []Value, named *box) (Value, error)

// eval evaluates the arguments, after first if there is one.
func (a *arguments) eval(e *env, first ...Value) ([]Value, *box, error) {
	args := make([]Value, len(first), len(first)+len(a.placed))
	copy(args, first)
	work := 1
	for _, v := range first {
		work += len(v.text) / 64
	}
	for _, x := range a.placed {
		v, err := x(e)
		if err != nil {
			return nil, nil, err
		}
		args = append(args, v)
		work += len(v.text) / 64
	}
	named := &box{}
	for i, x := range a.named {
		v, err := x(e)
		if err != nil {
			return nil, nil, err
		}
		named.set(FromString(a.names[i]), v)
	}
	return args, named, e.charge(work)
}

func (a *arguments) call(fn function) expr {
	return func(e *env) (Value, error) {
		args, named, err := a.eval(e)
		if err != nil {
			return Value{}, err
		}
		return fn(e, args, named)
	}
}

// filter calls fn with the value of x as its first argument.
func (a *arguments) filter(x expr, fn function) expr {
	return func(e *env) (Value, error) {
		v, err := x(e)
		if err != nil {
			return v, err
		}
		args, named, err := a.eval(e, v)
		if err != nil {
			return Value{}, err
		}
		return fn(e, args, named)
	}
}

func (a *arguments) method(x expr, name string, fn function) expr {
	return a.filter(x, func(e *env, args []Value, named *box) (Value, error) {
		if args[0].kind == Undefined {
			return Value{}, errUndefined
		}
		v, err := fn(e, args, named)
		if err != nil {
			return v, fmt.Errorf(".%s(): %w", name, err)
		}
		return v, nil
	})
}

// filters is x|name(args) and x is name.
func (c *compiler) filters(x expr) (expr, error) {
	for {
		switch {
		case c.op("|"):
			var err error
			if x, err = c.filter(x); err != nil {
				return nil, err
			}
		case c.name("is"):
			var err error
			if x, err = c.test(x); err != nil {
				return nil, err
			}
		default:
			return x, nil
		}
	}
}

// filter is name(args) of x|name(args).
func (c *compiler) filter(x expr) (expr, error) {
	name, fn, args, err := c.filterName()
	if err != nil {
		return nil, err
	}
	return args.filter(x, func(e *env, args []Value, named *box) (Value, error) {
		v, err := fn(e, args, named)
		if err != nil {
			return v, fmt.Errorf("|%s: %w", name, err)
		}
		return v, nil
	}), nil
}

// filtered is filters whose first has no bar before it.
func (c *compiler) filtered(x expr) (expr, error) {
	x, err := c.filter(x)
	if err != nil {
		return nil, err
	}
	return c.filters(x)
}

func (c *compiler) filterName() (name string, fn function, args *arguments, err error) {
	t := c.next()
	fn = filters[t.text]
	if t.kind != tokName || fn == nil {
		return "", nil, nil, fmt.Errorf("filter |%s is not supported", t.text)
	}
	args = &arguments{}
	if c.op("(") {
		args, err = c.arguments()
	}
	return t.text, fn, args, err
}

func (c *compiler) test(x expr) (expr, error) {
	negate := c.name("not")
	t := c.next()
	fn := tests[t.text]
	if fn == nil {
		return nil, fmt.Errorf("test %q is not supported", t.text)
	}
	args := &arguments{}
	var err error
	if c.op("(") {
		args, err = c.arguments()
	} else if next := c.peek(); next.kind == tokString || next.kind == tokInt || next.kind == tokFloat ||
		next.kind == tokOp && (next.text == "[" || next.text == "{") ||
		next.kind == tokName && next.text != "else" && next.text != "or" && next.text != "and" && next.text != "if" && next.text != "is" && next.text != "in" && next.text != "not" {
		var arg expr
		if arg, err = c.primary(); err == nil {
			arg, err = c.postfix(arg)
		}
		args.placed = []expr{arg}
	}
	if err != nil {
		return nil, err
	}
	return args.filter(x, func(e *env, a []Value, named *box) (Value, error) {
		ok, err := fn(e, append(a, named.items...)) // by place: they have few
		return FromBool(ok != negate), err
	}), nil
}

// param returns an argument by place or name, else Undefined.
func param(args []Value, named *box, at int, name string) Value {
	if at < len(args) {
		return args[at]
	}
	if i := named.find(name); i >= 0 {
		return named.items[i]
	}
	return Value{}
}

// intParam is param for whole numbers.
func intParam(args []Value, named *box, at int, name string, def int) (int, error) {
	v := param(args, named, at, name)
	switch v.kind {
	case Undefined:
		return def, nil
	case Int, Bool:
		n := int64(v.bits)
		if n < -1<<31 || n >= 1<<31 {
			return 0, errArguments
		}
		return int(n), nil
	}
	return 0, fmt.Errorf("%s is no whole number: %s", name, strconv.Quote(v.Text()))
}

var errArguments = errors.New("wrong arguments")
