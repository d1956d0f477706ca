package template

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"strings"
)

func isNumber(v Value) bool { return v.kind == Int || v.kind == Float || v.kind == Bool }

// float is the value of a number or bool.
func (v Value) float() float64 {
	if v.kind == Float {
		return math.Float64frombits(v.bits)
	}
	return float64(int64(v.bits))
}

// kindName is for errors.
func kindName(v Value) string {
	return [...]string{"an undefined value", "None", "a bool", "a number", "a number", "a text", "a list", "a tuple", "a dict", "a namespace", "a time", "a length of time"}[v.kind]
}

func mismatch(op string, l, r Value) error {
	if l.kind == Undefined || r.kind == Undefined {
		return errUndefined
	}
	return fmt.Errorf("%s does not work on %s and %s", op, kindName(l), kindName(r))
}

var (
	errZero     = errors.New("division by zero")
	errOverflow = errors.New("a number is too large")
)

// arithmetic is a binary operator as Python has it.
func arithmetic(e *env, op string, l, r Value) (Value, error) {
	if err := e.charge(1); err != nil {
		return l, err
	}
	if op == "~" {
		a, err := e.str(l)
		if err != nil {
			return l, err
		}
		b, err := e.str(r)
		if err != nil {
			return r, err
		}
		return e.text(a + b)
	}
	switch {
	case l.kind >= moment || r.kind >= moment:
		return timeArithmetic(op, l, r)
	case isNumber(l) && isNumber(r):
		if l.kind != Float && r.kind != Float {
			return integers(op, int64(l.bits), int64(r.bits))
		}
		return floats(op, l.float(), r.float())
	case op == "+" && l.kind == String && r.kind == String:
		return e.text(l.text + r.text)
	case op == "+" && l.kind == r.kind && (l.kind == List || l.kind == Tuple):
		v, err := e.list(slices.Concat(l.box.items, r.box.items))
		v.kind = l.kind
		return v, err
	case op == "*" && (r.kind == String || r.kind == List):
		l, r = r, l
		fallthrough
	case op == "*" && (l.kind == String || l.kind == List || l.kind == Tuple):
		if r.kind != Int && r.kind != Bool {
			break
		}
		n := max(int64(r.bits), 0)
		if l.kind == String {
			if hi, lo := bits.Mul64(uint64(n), uint64(len(l.text))); hi != 0 || lo > maxOutput {
				return l, errLong
			}
			return e.text(strings.Repeat(l.text, int(n)))
		}
		if hi, lo := bits.Mul64(uint64(n), uint64(len(l.box.items))); hi != 0 || lo > maxItems {
			return l, errTooMany
		}
		v, err := e.list(slices.Repeat(l.box.items, int(n)))
		v.kind = l.kind
		return v, err
	case op == "%" && l.kind == String:
		args := []Value{r}
		if r.kind == Tuple {
			args = r.box.items
		}
		s, err := percentFormat(e, l.text, args)
		if err != nil {
			return l, err
		}
		return e.text(s)
	}
	return Value{}, mismatch(op, l, r)
}

func integers(op string, a, b int64) (Value, error) {
	switch op {
	case "+":
		if s := a + b; (s > a) == (b > 0) {
			return FromInt(s), nil
		}
	case "-":
		if s := a - b; (s < a) == (b > 0) {
			return FromInt(s), nil
		}
	case "*":
		if a == 0 || b == 0 {
			return FromInt(0), nil
		}
		if p := a * b; p/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64) {
			return FromInt(p), nil
		}
	case "/":
		if b == 0 {
			return Value{}, errZero
		}
		return FromFloat(float64(a) / float64(b)), nil
	case "//", "%":
		if b == 0 {
			return Value{}, errZero
		}
		if b == -1 && a == math.MinInt64 {
			return Value{}, errOverflow
		}
		q, m := a/b, a%b
		if m != 0 && (m < 0) != (b < 0) {
			q, m = q-1, m+b
		}
		if op == "%" {
			return FromInt(m), nil
		}
		return FromInt(q), nil
	case "**":
		if b < 0 {
			return floats(op, float64(a), float64(b))
		}
		if f := math.Pow(float64(a), float64(b)); math.Abs(f) < 1<<53 {
			return FromInt(int64(f)), nil
		}
	}
	return Value{}, errOverflow
}

func floats(op string, a, b float64) (Value, error) {
	switch op {
	case "+":
		return FromFloat(a + b), nil
	case "-":
		return FromFloat(a - b), nil
	case "*":
		return FromFloat(a * b), nil
	case "**":
		if a == 0 && b < 0 {
			return Value{}, errZero
		}
		f := math.Pow(a, b)
		if math.IsNaN(f) || math.IsInf(f, 0) {
			return Value{}, errOverflow
		}
		return FromFloat(f), nil
	}
	if b == 0 {
		return Value{}, errZero
	}
	switch op {
	case "/":
		return FromFloat(a / b), nil
	case "//":
		return FromFloat(math.Floor(a / b)), nil
	}
	m := math.Mod(a, b)
	if m != 0 && (m < 0) != (b < 0) {
		m += b
	}
	return FromFloat(m), nil
}

func compareOp(e *env, op string, l, r Value) (bool, error) {
	if err := e.charge(1 + min(len(l.text), len(r.text))/64); err != nil {
		return false, err
	}
	switch op {
	case "==":
		return equal(e, l, r, 0)
	case "!=":
		ok, err := equal(e, l, r, 0)
		return !ok, err
	case "in":
		return contains(e, r, l)
	case "not in":
		ok, err := contains(e, r, l)
		return !ok, err
	}
	n, ordered, err := compare(e, l, r, 0)
	if err != nil || !ordered {
		return false, err
	}
	switch op {
	case "<":
		return n < 0, nil
	case "<=":
		return n <= 0, nil
	case ">":
		return n > 0, nil
	}
	return n >= 0, nil
}

// equal is Python's ==.
func equal(e *env, l, r Value, depth int) (bool, error) {
	if err := e.charge(depth); err != nil {
		return false, err
	}
	if depth > MaxDepth {
		return false, errDepth
	}
	switch {
	case isNumber(l) && isNumber(r):
		if l.kind != Float && r.kind != Float {
			return l.bits == r.bits, nil
		}
		return l.float() == r.float(), nil
	case l.kind != r.kind:
		return false, nil
	case l.kind == String:
		return l.text == r.text, nil
	case l.kind == Undefined, l.kind == None:
		return true, nil
	case l.kind == namespace:
		return l.box == r.box, nil
	case l.kind >= moment:
		return l.bits == r.bits && (l.text == "") == (r.text == ""), nil
	case len(l.box.items) != len(r.box.items):
		return false, nil
	case l.kind == Dict:
		for i, k := range l.box.keys {
			j := r.box.findValue(k)
			if j < 0 {
				return false, nil
			}
			if ok, err := equal(e, l.box.items[i], r.box.items[j], depth+1); err != nil || !ok {
				return false, err
			}
		}
		return true, nil
	}
	for i := range l.box.items {
		if ok, err := equal(e, l.box.items[i], r.box.items[i], depth+1); err != nil || !ok {
			return false, err
		}
	}
	return true, nil
}

// compare is Python's order; ordered is false for a NaN.
func compare(e *env, l, r Value, depth int) (n int, ordered bool, err error) {
	if err := e.charge(depth); err != nil {
		return 0, false, err
	}
	switch {
	case depth > MaxDepth:
		return 0, false, errDepth
	case isNumber(l) && isNumber(r):
		if l.kind != Float && r.kind != Float {
			a, b := int64(l.bits), int64(r.bits)
			switch {
			case a < b:
				return -1, true, nil
			case a > b:
				return 1, true, nil
			}
			return 0, true, nil
		}
		a, b := l.float(), r.float()
		switch {
		case a < b:
			return -1, true, nil
		case a > b:
			return 1, true, nil
		}
		return 0, a == b, nil
	case l.kind == String && r.kind == String:
		return strings.Compare(l.text, r.text), true, nil
	case l.kind >= moment && l.kind == r.kind:
		if (l.text == "") != (r.text == "") {
			return 0, false, mismatch("comparing", l, r)
		}
		return cmp.Compare(int64(l.bits), int64(r.bits)), true, nil
	case l.kind == r.kind && (l.kind == List || l.kind == Tuple):
		for i := range min(len(l.box.items), len(r.box.items)) {
			if n, ordered, err := compare(e, l.box.items[i], r.box.items[i], depth+1); err != nil || n != 0 || !ordered {
				return n, ordered, err
			}
		}
		return len(l.box.items) - len(r.box.items), true, nil
	}
	return 0, false, mismatch("comparing", l, r)
}

// contains is Python's in.
func contains(e *env, in, v Value) (bool, error) {
	switch in.kind {
	case Undefined:
		return false, nil
	case String:
		if v.kind != String {
			return false, mismatch("in", v, in)
		}
		return strings.Contains(in.text, v.text), e.charge(len(in.text) / 64)
	case List, Tuple:
		for _, item := range in.box.items {
			if err := e.charge(1); err != nil {
				return false, err
			}
			if ok, err := equal(e, item, v, 0); err != nil || ok {
				return ok, err
			}
		}
		return false, nil
	case Dict:
		return in.box.findValue(v) >= 0, nil
	}
	return false, mismatch("in", v, in)
}

// iterate returns what a loop goes over.
func iterate(e *env, v Value) ([]Value, error) {
	switch v.kind {
	case Undefined:
		return nil, nil
	case List, Tuple:
		return v.box.items, nil
	case Dict:
		return v.box.keys, nil
	case String:
		if len(v.text) > maxItems {
			return nil, errTooMany
		}
		var items []Value
		for _, r := range v.text {
			items = append(items, FromString(string(r)))
		}
		return items, e.charge(1 + len(items)/8)
	}
	return nil, fmt.Errorf("%s has no elements", kindName(v))
}

// slice is v[from:to:step].
func slice(e *env, v Value, at [3]Value) (Value, error) {
	items, err := iterate(e, v)
	if err != nil || v.kind == Undefined || v.kind == Dict {
		return Value{}, errors.Join(err, errNoSlice)
	}
	n := len(items)
	bound := func(i, def, low, high int) (int, error) {
		switch at[i].kind {
		case Undefined, None:
			return def, nil
		case Int, Bool:
		default:
			return 0, errArguments
		}
		k := int64(at[i].bits)
		if k < 0 {
			k += int64(n)
		}
		return int(min(max(k, int64(low)), int64(high))), nil
	}
	step := 1
	if at[2].kind == Int {
		if step = int(int64(at[2].bits)); step == 0 || step > 1<<20 || step < -1<<20 {
			return Value{}, errArguments
		}
	}
	var out []Value
	if step > 0 {
		from, err1 := bound(0, 0, 0, n)
		to, err2 := bound(1, n, 0, n)
		if err := errors.Join(err1, err2); err != nil {
			return Value{}, err
		}
		for i := from; i < to; i += step {
			out = append(out, items[i])
		}
	} else {
		from, err1 := bound(0, n-1, -1, n-1)
		to, err2 := bound(1, -1, -1, n-1)
		if err := errors.Join(err1, err2); err != nil {
			return Value{}, err
		}
		for i := from; i > to; i += step {
			out = append(out, items[i])
		}
	}
	if v.kind == String {
		var b strings.Builder
		for _, item := range out {
			b.WriteString(item.text)
		}
		return e.text(b.String())
	}
	r, err := e.list(out)
	r.kind = v.kind
	return r, err
}

var errNoSlice = errors.New("only texts and lists can be sliced")
