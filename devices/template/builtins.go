package template

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
)

// functions are the names that can be called.
var functions = map[string]function{
	"namespace": func(e *env, a []Value, named *box) (Value, error) {
		b := &box{}
		for _, v := range a {
			if v.kind != Dict {
				return Value{}, errArguments
			}
			for i, k := range v.box.keys {
				b.set(k, v.box.items[i])
			}
		}
		for i, k := range named.keys {
			b.set(k, named.items[i])
		}
		return Value{kind: namespace, box: b}, nil
	},
	"dict":  makeDict,
	"range": makeRange,
	"zip":   makeZip,
	"float": needs(1, filterFloat), "int": needs(1, filterInt), "bool": needs(1, filterBool),
	"min": func(e *env, a []Value, named *box) (Value, error) { return extreme(e, a, -1) },
	"max": func(e *env, a []Value, named *box) (Value, error) { return extreme(e, a, 1) },
	"is_number": needs(1, func(e *env, a []Value, named *box) (Value, error) {
		_, ok := toFloat(a[0])
		return FromBool(ok), nil
	}),
	"iif": needs(1, filterIif),
}

// needs refuses a call with too few arguments.
func needs(n int, fn function) function {
	return func(e *env, a []Value, named *box) (Value, error) {
		if len(a) < n {
			return Value{}, errArguments
		}
		return fn(e, a, named)
	}
}

// makeDict is dict(pairs, a=1).
func makeDict(e *env, a []Value, named *box) (Value, error) {
	b := &box{}
	for _, v := range a {
		if v.kind == Dict {
			for i, k := range v.box.keys {
				if err := e.charge(1 + len(k.text)/64); err != nil {
					return v, err
				}
				b.set(k, v.box.items[i])
			}
			continue
		}
		pairs, err := iterate(e, v)
		if err != nil {
			return v, err
		}
		for _, p := range pairs {
			kv := p.Items()
			if len(kv) != 2 {
				return v, errors.New("a dict is made of pairs")
			}
			if _, ok := hashKey(kv[0]); !ok {
				return v, errKey
			}
			b.set(kv[0], kv[1])
		}
	}
	for i, k := range named.keys {
		b.set(k, named.items[i])
	}
	if len(b.keys) > maxItems {
		return Value{}, errTooMany
	}
	return dict(b), e.charge(1 + len(b.keys)/8)
}

func makeRange(e *env, a []Value, _ *box) (Value, error) {
	bounds := [3]int{0, 0, 1}
	if len(a) == 0 || len(a) > 3 {
		return Value{}, errArguments
	}
	for i := range a {
		n, err := intParam(a, &box{}, i, "range", 0)
		if err != nil {
			return Value{}, err
		}
		bounds[i] = n
	}
	if len(a) == 1 {
		bounds[0], bounds[1] = 0, bounds[0]
	}
	if bounds[2] == 0 {
		return Value{}, errArguments
	}
	var items []Value
	for i := bounds[0]; bounds[2] > 0 && i < bounds[1] || bounds[2] < 0 && i > bounds[1]; i += bounds[2] {
		if len(items) >= maxItems {
			return Value{}, errTooMany
		}
		items = append(items, FromInt(int64(i)))
	}
	return e.list(items)
}

func makeZip(e *env, a []Value, _ *box) (Value, error) {
	if len(a) == 0 {
		return list(nil), nil
	}
	columns := make([][]Value, len(a))
	n := maxItems
	for i, v := range a {
		items, err := iterate(e, v)
		if err != nil {
			return v, err
		}
		columns[i] = items
		n = min(n, len(items))
	}
	if err := e.charge(n * len(a) / 8); err != nil {
		return Value{}, err
	}
	rows := make([]Value, n)
	for i := range rows {
		row := make([]Value, len(a))
		for j := range columns {
			row[j] = columns[j][i]
		}
		rows[i] = tuple(row)
	}
	return e.list(rows)
}

func extreme(e *env, a []Value, sign int) (Value, error) {
	if len(a) == 1 {
		items, err := iterate(e, a[0])
		if err != nil {
			return a[0], err
		}
		a = items
	}
	if len(a) == 0 {
		return Value{}, nil
	}
	best := a[0]
	for _, v := range a[1:] {
		if err := e.charge(1); err != nil {
			return v, err
		}
		n, _, err := compare(e, v, best, 0)
		if err != nil {
			return v, err
		}
		if n*sign > 0 {
			best = v
		}
	}
	return best, nil
}

// methods are the methods of texts, dicts, lists and numbers. The first
// argument is the value itself.
var methods = map[string]function{
	"get": func(e *env, a []Value, named *box) (Value, error) {
		if a[0].kind != Dict || len(a) < 2 {
			return Value{}, errArguments
		}
		if i := a[0].box.findValue(a[1]); i >= 0 {
			return a[0].box.items[i], nil
		}
		if len(a) > 2 {
			return a[2], nil
		}
		return none(), nil
	},
	"keys": func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind != Dict {
			return Value{}, errArguments
		}
		return e.list(a[0].box.keys)
	},
	"values": func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind != Dict {
			return Value{}, errArguments
		}
		return e.list(a[0].box.items)
	},
	"items": func(e *env, a []Value, _ *box) (Value, error) { return dictItems(e, a[0]) },
	"count": func(e *env, a []Value, _ *box) (Value, error) {
		if len(a) != 2 {
			return Value{}, errArguments
		}
		if a[0].kind == String && a[1].kind == String {
			return FromInt(int64(strings.Count(a[0].text, a[1].text))), nil
		}
		n := 0
		for _, v := range a[0].Items() {
			ok, err := equal(e, v, a[1], 1)
			if err != nil {
				return v, err
			}
			if ok {
				n++
			}
		}
		return FromInt(int64(n)), nil
	},
	"index": func(e *env, a []Value, _ *box) (Value, error) {
		if len(a) != 2 {
			return Value{}, errArguments
		}
		items, err := iterate(e, a[0])
		if err != nil {
			return a[0], err
		}
		for i, v := range items {
			ok, err := equal(e, v, a[1], 1)
			if err != nil {
				return v, err
			}
			if ok {
				return FromInt(int64(i)), nil
			}
		}
		return Value{}, errors.New("not in the list")
	},
	"is_integer": func(e *env, a []Value, _ *box) (Value, error) {
		return FromBool(isNumber(a[0]) && a[0].float() == float64(int64(a[0].float()))), nil
	},
	"lower":      onText(0, func(s string, _ []string) any { return strings.ToLower(s) }),
	"upper":      onText(0, func(s string, _ []string) any { return strings.ToUpper(s) }),
	"title":      onText(0, func(s string, _ []string) any { return title(s) }),
	"capitalize": onText(0, func(s string, _ []string) any { return capitalize(s) }),
	"strip":      onText(0, func(s string, a []string) any { return strip(s, a, true, true) }),
	"lstrip":     onText(0, func(s string, a []string) any { return strip(s, a, true, false) }),
	"rstrip":     onText(0, func(s string, a []string) any { return strip(s, a, false, true) }),
	"startswith": hasPart(strings.HasPrefix),
	"endswith":   hasPart(strings.HasSuffix),
	"find": onText(1, func(s string, a []string) any {
		return len([]rune(s[:max(strings.Index(s, a[0]), 0)])) - b2i(!strings.Contains(s, a[0]))
	}),
	"removeprefix": onText(1, func(s string, a []string) any { return strings.TrimPrefix(s, a[0]) }),
	"removesuffix": onText(1, func(s string, a []string) any { return strings.TrimSuffix(s, a[0]) }),
	"isdigit":      onText(0, func(s string, _ []string) any { return s != "" && strings.Trim(s, "0123456789") == "" }),
	"isnumeric":    onText(0, func(s string, _ []string) any { return s != "" && strings.Trim(s, "0123456789") == "" }),
	"split":        splitMethod,
	"replace": func(e *env, a []Value, named *box) (Value, error) {
		if len(a) < 3 || a[0].kind != String || a[1].kind != String || a[2].kind != String {
			return Value{}, errArguments
		}
		return filterReplace(e, a, named)
	},
	"join": func(e *env, a []Value, named *box) (Value, error) {
		if len(a) != 2 || a[0].kind != String {
			return Value{}, errArguments
		}
		return filterJoin(e, []Value{a[1], a[0]}, &box{})
	},
	"format": func(e *env, a []Value, named *box) (Value, error) {
		if a[0].kind != String {
			return Value{}, errArguments
		}
		s, err := braceFormat(e, a[0].text, a[1:], named)
		if err != nil {
			return Value{}, err
		}
		return e.text(s)
	},
	"zfill": func(e *env, a []Value, named *box) (Value, error) {
		n, err := intParam(a, named, 1, "width", 0)
		if err != nil || a[0].kind != String || n > maxWidth {
			return Value{}, errArguments
		}
		s, sign := a[0].text, ""
		if strings.HasPrefix(s, "-") || strings.HasPrefix(s, "+") {
			sign, s = s[:1], s[1:]
		}
		return e.text(sign + strings.Repeat("0", max(n-len(sign)-len(s), 0)) + s)
	},
}

func b2i(b bool) int {
	if b {
		return 1
	}
	return 0
}

// onText makes a method of texts with text arguments, at least n of them.
func onText(n int, fn func(s string, args []string) any) function {
	return func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind != String || len(a)-1 < n {
			return Value{}, errArguments
		}
		var args []string
		for _, v := range a[1:] {
			if v.kind == None {
				continue
			}
			if v.kind != String {
				return Value{}, errArguments
			}
			args = append(args, v.text)
		}
		if len(args) < n {
			return Value{}, errArguments
		}
		switch r := fn(a[0].text, args).(type) {
		case string:
			return e.text(r)
		case bool:
			return FromBool(r), nil
		case int:
			return FromInt(int64(r)), nil
		}
		return Value{}, errArguments
	}
}

// hasPart is a method that looks for one text, or one of several in a tuple.
func hasPart(has func(s, part string) bool) function {
	return func(e *env, a []Value, _ *box) (Value, error) {
		if len(a) != 2 || a[0].kind != String {
			return Value{}, errArguments
		}
		parts := []Value{a[1]}
		if a[1].kind == Tuple {
			parts = a[1].box.items
		}
		found := false
		for _, p := range parts {
			if p.kind != String {
				return Value{}, errArguments
			}
			found = found || has(a[0].text, p.text)
		}
		return FromBool(found), e.charge(len(parts))
	}
}

func dictItems(e *env, v Value) (Value, error) {
	if v.kind == Undefined {
		return list(nil), nil
	}
	if v.kind != Dict {
		return v, errArguments
	}
	pairs := make([]Value, len(v.box.keys))
	for i, k := range v.box.keys {
		pairs[i] = tuple([]Value{k, v.box.items[i]})
	}
	if err := e.charge(len(pairs) / 4); err != nil {
		return v, err
	}
	return e.list(pairs)
}

func splitMethod(e *env, a []Value, named *box) (Value, error) {
	sep := param(a, named, 1, "sep")
	most, err := intParam(a, named, 2, "maxsplit", -1)
	if err != nil || a[0].kind != String {
		return Value{}, errArguments
	}
	s := a[0].text
	if len(s) > maxOutput {
		return Value{}, errLong
	}
	var parts []string
	switch {
	case sep.kind == Undefined || sep.kind == None:
		for s = strings.TrimSpace(s); s != ""; {
			if i := strings.IndexAny(s, " \t\r\n\v\f"); i >= 0 && (most < 0 || len(parts) < most) {
				parts = append(parts, s[:i])
				s = strings.TrimLeft(s[i:], " \t\r\n\v\f")
				continue
			}
			parts = append(parts, s)
			break
		}
	case sep.kind != String || sep.text == "":
		return Value{}, errArguments
	case most >= 0:
		parts = strings.SplitN(s, sep.text, most+1)
	default:
		parts = strings.Split(s, sep.text)
	}
	items := make([]Value, len(parts))
	for i, p := range parts {
		items[i] = FromString(p)
	}
	return e.list(items)
}

// title is the method: each run of letters begins with a capital.
func title(s string) string {
	var b strings.Builder
	inside := false
	for _, r := range strings.ToLower(s) {
		letter := unicode.ToUpper(r) != unicode.ToLower(r)
		if letter && !inside {
			r = unicode.ToUpper(r)
		}
		inside = letter
		b.WriteRune(r)
	}
	return b.String()
}

// titleWords is the filter: a word begins after a space, a dash or a bracket.
func titleWords(s string) string {
	var b strings.Builder
	begin := true
	for _, r := range s {
		c := strings.ToLower(string(r))
		if begin {
			c = strings.ToUpper(c)
		}
		b.WriteString(c)
		begin = strings.ContainsRune("-({[< \t\r\n\v\f", r)
	}
	return b.String()
}

func capitalize(s string) string {
	for i := range s {
		if i > 0 {
			return strings.ToUpper(s[:i]) + strings.ToLower(s[i:])
		}
	}
	return strings.ToUpper(s)
}

func strip(s string, chars []string, left, right bool) string {
	set := " \t\r\n\v\f"
	if len(chars) > 0 {
		set = chars[0]
	}
	if left {
		s = strings.TrimLeft(s, set)
	}
	if right {
		s = strings.TrimRight(s, set)
	}
	return s
}

// A test answers x is name(args).
type test func(e *env, a []Value) (bool, error)

func ofKind(kinds ...Kind) test {
	return func(_ *env, a []Value) (bool, error) {
		for _, k := range kinds {
			if a[0].kind == k {
				return true, nil
			}
		}
		return false, nil
	}
}

func comparing(op string) test {
	return func(e *env, a []Value) (bool, error) {
		if len(a) != 2 {
			return false, errArguments
		}
		return compareOp(e, op, a[0], a[1])
	}
}

// tests are the words after is.
var tests = map[string]test{
	"defined":   func(_ *env, a []Value) (bool, error) { return a[0].kind != Undefined, nil },
	"undefined": ofKind(Undefined),
	"none":      ofKind(None),
	"boolean":   ofKind(Bool),
	"string":    ofKind(String),
	"integer":   ofKind(Int),
	"float":     ofKind(Float),
	"number":    ofKind(Int, Float, Bool),
	"mapping":   ofKind(Dict),
	"list":      ofKind(List),
	"sequence":  ofKind(List, Tuple, String, Dict, Undefined),
	"iterable":  ofKind(List, Tuple, String, Dict, Undefined),
	"true":      func(_ *env, a []Value) (bool, error) { return a[0].kind == Bool && a[0].bits != 0, nil },
	"false":     func(_ *env, a []Value) (bool, error) { return a[0].kind == Bool && a[0].bits == 0, nil },
	"eq":        comparing("=="), "equalto": comparing("=="), "==": comparing("=="),
	"ne": comparing("!="), "!=": comparing("!="),
	"lt": comparing("<"), "lessthan": comparing("<"), "<": comparing("<"),
	"le": comparing("<="), "<=": comparing("<="),
	"gt": comparing(">"), "greaterthan": comparing(">"), ">": comparing(">"),
	"ge": comparing(">="), ">=": comparing(">="),
	"in": comparing("in"), "sameas": comparing("=="),
	"contains": func(e *env, a []Value) (bool, error) {
		if len(a) != 2 {
			return false, errArguments
		}
		return contains(e, a[0], a[1])
	},
	"odd":         modulo(2, 1),
	"even":        modulo(2, 0),
	"divisibleby": func(e *env, a []Value) (bool, error) { return divisible(e, a) },
	"lower": func(_ *env, a []Value) (bool, error) {
		return a[0].kind == String && a[0].text != "" && strings.ToLower(a[0].text) == a[0].text, nil
	},
	"upper": func(_ *env, a []Value) (bool, error) {
		return a[0].kind == String && a[0].text != "" && strings.ToUpper(a[0].text) == a[0].text, nil
	},
	"match":     func(e *env, a []Value) (bool, error) { return matches(e, a, true) },
	"search":    func(e *env, a []Value) (bool, error) { return matches(e, a, false) },
	"is_number": func(e *env, a []Value) (bool, error) { _, ok := toFloat(a[0]); return ok, nil },
}

func modulo(n, rest int64) test {
	return func(_ *env, a []Value) (bool, error) {
		if a[0].kind != Int && a[0].kind != Bool {
			return false, fmt.Errorf("%s is no whole number", kindName(a[0]))
		}
		return (int64(a[0].bits)%n+n)%n == rest, nil
	}
}

func divisible(e *env, a []Value) (bool, error) {
	if len(a) != 2 {
		return false, errArguments
	}
	m, err := arithmetic(e, "%", a[0], a[1])
	return err == nil && !m.truth(), err
}

func matches(e *env, a []Value, start bool) (bool, error) {
	if len(a) < 2 || a[1].kind != String {
		return false, errArguments
	}
	re, err := e.pattern(a[1].text, len(a) > 2 && a[2].truth())
	if err != nil {
		return false, err
	}
	text, err := e.str(a[0])
	if err != nil {
		return false, err
	}
	loc := re.FindStringIndex(text)
	return loc != nil && (!start || loc[0] == 0), e.charge(1 + len(text)/64)
}
