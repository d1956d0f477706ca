package template

import (
	"slices"
	"strings"
	"unicode"
)

// flatten takes lists out of a list, levels deep; all of them unless given.
func flatten(e *env, a []Value, named *box) (Value, error) {
	levels, err := intParam(a, named, 1, "levels", maxNesting)
	if err != nil || a[0].kind != List && a[0].kind != Tuple {
		return a[0], errArguments
	}
	var out []Value
	var add func(items []Value, levels int) error
	add = func(items []Value, levels int) error {
		for _, v := range items {
			if err := e.charge(1); err != nil {
				return err
			}
			if (v.kind == List || v.kind == Tuple) && levels >= 0 {
				if err := add(v.box.items, levels-1); err != nil {
					return err
				}
				continue
			}
			if out = append(out, v); len(out) > maxItems {
				return errTooMany
			}
		}
		return nil
	}
	if err := add(a[0].box.items, levels-1); err != nil {
		return a[0], err
	}
	return e.list(out)
}

// sets is an operation on two lists as sets; what is kept stands as it stood.
func sets(keep func(inLeft, inRight bool) bool) function {
	return func(e *env, a []Value, _ *box) (Value, error) {
		if len(a) != 2 {
			return Value{}, errArguments
		}
		var sides [2][]Value
		var has [2]map[string]bool
		for i := range sides {
			items, err := iterate(e, a[i])
			if err != nil {
				return a[i], err
			}
			sides[i], has[i] = items, map[string]bool{}
			for _, v := range items {
				if err := e.charge(1 + len(v.text)/64); err != nil {
					return v, err
				}
				h, ok := hashKey(v)
				if !ok {
					return v, errKey
				}
				has[i][h] = true
			}
		}
		var out []Value
		seen := map[string]bool{}
		for _, v := range append(slices.Clone(sides[0]), sides[1]...) {
			h, _ := hashKey(v)
			if !seen[h] && keep(has[0][h], has[1][h]) {
				out = append(out, v)
			}
			seen[h] = true
		}
		return e.list(out)
	}
}

// batch cuts a list into lists of n, the last filled up if a filling is given.
func batch(e *env, a []Value, named *box) (Value, error) {
	n, err := intParam(a, named, 1, "linecount", 0)
	if err != nil || n < 1 {
		return a[0], errArguments
	}
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	if err := e.charge(len(items)); err != nil {
		return a[0], err
	}
	fill := param(a, named, 2, "fill_with")
	var out []Value
	for part := range slices.Chunk(items, n) {
		part = slices.Clone(part)
		if fill.kind != Undefined && fill.kind != None {
			if n > maxItems {
				return a[0], errTooMany
			}
			if err := e.charge(n - len(part)); err != nil {
				return a[0], err
			}
			for len(part) < n {
				part = append(part, fill)
			}
		}
		out = append(out, list(part))
	}
	return e.list(out)
}

// groupBy gathers elements by an attribute: pairs of it and a list, in order.
func groupBy(e *env, a []Value, named *box) (Value, error) {
	attr := param(a, named, 1, "attribute")
	args := &box{}
	args.set(FromString("attribute"), attr)
	sorted, err := filterSort(e, a[:1], args)
	if err != nil {
		return a[0], err
	}
	var out, group []Value
	var key Value
	for _, v := range sorted.box.items {
		k, err := attribute(v, attr)
		if err != nil {
			return a[0], err
		}
		if err := e.charge(1); err != nil {
			return a[0], err
		}
		same := false
		if group != nil {
			if same, err = equal(e, k, key, 1); err != nil {
				return a[0], err
			}
		}
		if group != nil && !same {
			out = append(out, tuple([]Value{key, list(group)}))
			group = nil
		}
		key, group = k, append(group, v)
	}
	if group != nil {
		out = append(out, tuple([]Value{key, list(group)}))
	}
	return e.list(out)
}

// combine merges dicts, later ones over earlier.
func combine(e *env, a []Value, _ *box) (Value, error) {
	b := &box{}
	for _, v := range a {
		if v.kind != Dict {
			return v, errArguments
		}
		for i, k := range v.box.keys {
			if err := e.charge(1 + len(k.text)/64); err != nil {
				return v, err
			}
			b.set(k, v.box.items[i])
		}
	}
	if len(b.keys) > maxItems {
		return Value{}, errTooMany
	}
	return dict(b), nil
}

// typeNames are Python's, by kind.
var typeNames = map[Kind]string{Undefined: "LoggingUndefined", None: "NoneType", Bool: "bool", Int: "int", Float: "float", String: "str",
	List: "list", Tuple: "tuple", Dict: "dict", namespace: "Namespace", moment: "datetime", span: "timedelta"}

// padded is a method that fills a text up to a width.
func padded(place func(s string, missing int, fill string) string) function {
	return func(e *env, a []Value, named *box) (Value, error) {
		n, err := intParam(a, named, 1, "width", 0)
		fill := param(a, named, 2, "fillchar")
		if fill.kind == Undefined {
			fill = FromString(" ")
		}
		if err != nil || a[0].kind != String || n > maxWidth || fill.kind != String || len([]rune(fill.text)) != 1 {
			return a[0], errArguments
		}
		return e.text(place(a[0].text, max(n-len([]rune(a[0].text)), 0), fill.text))
	}
}

// cutAt is a method that cuts a text in three at the first or the last place
// of another.
func cutAt(last bool) function {
	return func(e *env, a []Value, _ *box) (Value, error) {
		if len(a) != 2 || a[0].kind != String || a[1].kind != String || a[1].text == "" {
			return a[0], errArguments
		}
		s, sep := a[0].text, a[1].text
		i := strings.Index(s, sep)
		if last {
			i = strings.LastIndex(s, sep)
		}
		parts := []string{s, "", ""}
		switch {
		case i >= 0:
			parts = []string{s[:i], sep, s[i+len(sep):]}
		case last:
			parts = []string{"", "", s}
		}
		return tuple([]Value{FromString(parts[0]), FromString(parts[1]), FromString(parts[2])}), nil
	}
}

// splitRight is str.rsplit with a separator.
func splitRight(e *env, a []Value, named *box) (Value, error) {
	most, err := intParam(a, named, 2, "maxsplit", -1)
	sep := param(a, named, 1, "sep")
	if err != nil || most < 0 || sep.kind != String || sep.text == "" || a[0].kind != String {
		return splitMethod(e, a[:min(len(a), 2)], named)
	}
	s := a[0].text
	var parts []Value
	for len(parts) < most && len(parts) < maxItems {
		i := strings.LastIndex(s, sep.text)
		if i < 0 {
			break
		}
		parts = append(parts, FromString(s[i+len(sep.text):]))
		s = s[:i]
	}
	parts = append(parts, FromString(s))
	slices.Reverse(parts)
	return e.list(parts)
}

// every tells of a text whether it has letters and all are of a kind.
func every(fn func(r rune) bool) function {
	return onText(0, func(s string, _ []string) any {
		return s != "" && strings.IndexFunc(s, func(r rune) bool { return !fn(r) }) < 0
	})
}

func swapCase(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsUpper(r) {
			return unicode.ToLower(r)
		}
		return unicode.ToUpper(r)
	}, s)
}

func splitLines(s string) []string {
	s = strings.NewReplacer("\r\n", "\n", "\r", "\n").Replace(s)
	if s = strings.TrimSuffix(s, "\n"); s == "" {
		return nil
	}
	return strings.Split(s, "\n")
}

func init() {
	in := func(l, r bool) bool { return l && r }
	for name, fn := range map[string]function{
		"flatten": needs(1, flatten), "combine": needs(1, combine),
		"union": sets(func(l, r bool) bool { return true }), "intersect": sets(in),
		"difference":           sets(func(l, r bool) bool { return l && !r }),
		"symmetric_difference": sets(func(l, r bool) bool { return l != r }),
		"typeof": needs(1, func(e *env, a []Value, _ *box) (Value, error) {
			return FromString(typeNames[a[0].kind]), nil
		}),
	} {
		functions[name], filters[name] = fn, fn
	}
	filters["batch"], filters["groupby"] = batch, groupBy
	filters["wordcount"] = func(e *env, a []Value, _ *box) (Value, error) {
		s, err := e.str(a[0])
		words := strings.FieldsFunc(s, func(r rune) bool { return r != '_' && !unicode.IsLetter(r) && !unicode.IsDigit(r) })
		return FromInt(int64(len(words))), err
	}
	methods["rsplit"], methods["partition"], methods["rpartition"] = splitRight, cutAt(false), cutAt(true)
	methods["swapcase"] = onText(0, func(s string, _ []string) any { return swapCase(s) })
	methods["casefold"] = methods["lower"]
	methods["ljust"] = padded(func(s string, n int, fill string) string { return s + strings.Repeat(fill, n) })
	methods["rjust"] = padded(func(s string, n int, fill string) string { return strings.Repeat(fill, n) + s })
	methods["center"] = padded(func(s string, n int, fill string) string {
		left := n / 2
		if n%2 == 1 && (len([]rune(s))+n)%2 == 1 { // as Python shares out an odd number
			left++
		}
		return strings.Repeat(fill, left) + s + strings.Repeat(fill, n-left)
	})
	methods["isalpha"] = every(unicode.IsLetter)
	methods["isalnum"] = every(func(r rune) bool { return unicode.IsLetter(r) || unicode.IsDigit(r) })
	methods["isspace"] = every(unicode.IsSpace)
	methods["isdecimal"] = methods["isdigit"]
	methods["islower"] = onText(0, func(s string, _ []string) any { return s == strings.ToLower(s) && s != strings.ToUpper(s) })
	methods["isupper"] = onText(0, func(s string, _ []string) any { return s == strings.ToUpper(s) && s != strings.ToLower(s) })
	methods["splitlines"] = func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind != String {
			return a[0], errArguments
		}
		var out []Value
		for _, l := range splitLines(a[0].text) {
			if out = append(out, FromString(l)); len(out) > maxItems {
				return a[0], errTooMany
			}
		}
		return e.list(out)
	}
	methods["copy"] = func(e *env, a []Value, _ *box) (Value, error) {
		switch a[0].kind {
		case Dict:
			return combine(e, a[:1], nil)
		case List:
			return e.list(slices.Clone(a[0].box.items))
		}
		return a[0], errArguments
	}
	methods["cycle"] = func(_ *env, a []Value, _ *box) (Value, error) { // of the variable loop
		if i := a[0].Key("index0"); i.kind == Int && len(a) > 1 {
			return a[1+int(i.bits)%(len(a)-1)], nil
		}
		return a[0], errArguments
	}
}
