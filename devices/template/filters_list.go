package template

import (
	"errors"
	"slices"
	"strconv"
	"strings"
)

// attribute is v.a.b or v[0], as filters name it.
func attribute(v, attr Value) (Value, error) {
	if attr.kind != String {
		if v.kind == Undefined {
			return v, errUndefined
		}
		return subscript(v, attr), nil
	}
	for part := range strings.SplitSeq(attr.text, ".") {
		if v.kind == Undefined {
			return v, errUndefined
		}
		key := FromString(part)
		if n, err := strconv.Atoi(part); err == nil {
			key = FromInt(int64(n))
		}
		v = subscript(v, key)
	}
	return v, nil
}

func filterSort(e *env, a []Value, named *box) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	items = slices.Clone(items)
	reverse := param(a, named, 1, "reverse").truth()
	exact := param(a, named, 2, "case_sensitive").truth()
	attr := param(a, named, 3, "attribute")
	key := func(v Value) Value {
		if attr.kind != Undefined {
			if v, err = attribute(v, attr); err != nil {
				return Value{}
			}
		}
		if v.kind == String && !exact {
			return FromString(strings.ToLower(v.text))
		}
		return v
	}
	slices.SortStableFunc(items, func(x, y Value) int {
		if err != nil {
			return 0
		}
		kx, ky := key(x), key(y)
		if err != nil {
			return 0
		}
		if err = e.charge(1 + (len(kx.text)+len(ky.text))/64); err != nil {
			return 0
		}
		var n int
		if n, _, err = compare(e, kx, ky, 0); reverse {
			n = -n
		}
		return n
	})
	if err != nil {
		return a[0], err
	}
	return e.list(items)
}

func filterUnique(e *env, a []Value, _ *box) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	seen := map[string]bool{}
	var out []Value
	for _, v := range items {
		if err := e.charge(1 + len(v.text)/64); err != nil {
			return a[0], err
		}
		folded := v
		if v.kind == String {
			folded.text = strings.ToLower(v.text)
		}
		h, ok := hashKey(folded)
		if !ok {
			return a[0], errKey
		}
		if !seen[h] {
			seen[h] = true
			out = append(out, v)
		}
	}
	return e.list(out)
}

func filterSum(e *env, a []Value, named *box) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	sum := param(a, named, 2, "start")
	if sum.kind == Undefined {
		sum = FromInt(0)
	}
	attr := param(a, named, 1, "attribute")
	for _, v := range items {
		if attr.kind != Undefined && attr.kind != None {
			if v, err = attribute(v, attr); err != nil {
				return a[0], err
			}
		}
		if sum, err = arithmetic(e, "+", sum, v); err != nil {
			return a[0], err
		}
		if err := e.charge(1); err != nil {
			return a[0], err
		}
	}
	return sum, nil
}

// filterMap is |map(attribute='x') or |map('filter', args).
func filterMap(e *env, a []Value, named *box) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	if err := e.charge(len(items)); err != nil {
		return a[0], err
	}
	attr := param(nil, named, 0, "attribute")
	var fn function
	if attr.kind == Undefined {
		if len(a) < 2 || a[1].kind != String || e.filters[a[1].text] == nil {
			return a[0], errors.New("no such filter")
		}
		fn = e.filters[a[1].text]
	}
	out := make([]Value, len(items))
	for i, v := range items {
		if err := e.charge(1 + len(v.text)/64); err != nil {
			return a[0], err
		}
		if fn != nil {
			args := append([]Value{v}, a[2:]...)
			v, err = fn(e, args, named)
		} else if v, err = attribute(v, attr); err == nil && v.kind == Undefined {
			v = param(nil, named, 0, "default")
		}
		if err != nil {
			return a[0], err
		}
		out[i] = v
	}
	return e.list(out)
}

// choose keeps the elements, or those with an attribute, of which a test says
// what is wanted.
func choose(e *env, a []Value, byAttribute, want bool) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	rest := a[1:]
	var attr Value
	if byAttribute {
		if len(rest) == 0 {
			return a[0], errArguments
		}
		attr, rest = rest[0], rest[1:]
	}
	check := func(_ *env, a []Value) (bool, error) { return a[0].truth(), nil }
	if len(rest) > 0 {
		fn := tests[rest[0].text]
		if rest[0].kind != String || fn == nil {
			return a[0], errors.New("no such test")
		}
		check, rest = fn, rest[1:]
	}
	var out []Value
	for _, item := range items {
		if err := e.charge(1 + len(item.text)/64); err != nil {
			return a[0], err
		}
		v := item
		if byAttribute {
			if v, err = attribute(item, attr); err != nil {
				return a[0], err
			}
		}
		ok, err := check(e, append([]Value{v}, rest...))
		if err != nil {
			return a[0], err
		}
		if ok == want {
			out = append(out, item)
		}
	}
	return e.list(out)
}
