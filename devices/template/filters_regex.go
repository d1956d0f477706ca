package template

import (
	"errors"
	"regexp"
	"strings"
)

// filterFindAll is Python's re.findall: texts, or tuples of groups.
func filterFindAll(e *env, a []Value, named *box) (Value, error) {
	find := param(a, named, 1, "find")
	if a[0].kind != String || find.kind != String {
		return a[0], errArguments
	}
	re, err := e.pattern(find.text, param(a, named, 2, "ignorecase").truth())
	if err != nil {
		return a[0], err
	}
	if err := e.charge(1 + len(a[0].text)/16); err != nil {
		return a[0], err
	}
	var out []Value
	for _, m := range re.FindAllStringSubmatch(a[0].text, maxItems+1) {
		switch len(m) {
		case 1, 2:
			out = append(out, FromString(m[len(m)-1]))
		default:
			groups := make([]Value, len(m)-1)
			for i, g := range m[1:] {
				groups[i] = FromString(g)
			}
			out = append(out, tuple(groups))
		}
	}
	return e.list(out)
}

func filterFindAllIndex(e *env, a []Value, named *box) (Value, error) {
	at, err := intParam(a, named, 2, "index", 0)
	if err != nil {
		return a[0], err
	}
	all, err := filterFindAll(e, a[:min(len(a), 2)], named)
	if err != nil {
		return a[0], err
	}
	i, ok := place(FromInt(int64(at)), len(all.box.items))
	if !ok {
		return a[0], errors.New("no such match")
	}
	return all.box.items[i], nil
}

// backReference is \1 or \g<name> in Python's replacements.
var backReference = regexp.MustCompile(`\\(\d|g<(\w+)>)`)

func filterRegexReplace(e *env, a []Value, named *box) (Value, error) {
	find, to := param(a, named, 1, "find"), param(a, named, 2, "replace")
	if a[0].kind != String {
		return a[0], errArguments
	}
	re, err := e.pattern(find.text, param(a, named, 3, "ignorecase").truth())
	if err != nil {
		return a[0], err
	}
	if err := e.charge(1 + len(a[0].text)/16); err != nil {
		return a[0], err
	}
	with := strings.ReplaceAll(to.text, "$", "$$")
	with = backReference.ReplaceAllStringFunc(with, func(s string) string {
		return "${" + strings.Trim(s, `\g<>`) + "}"
	})
	if n := len(re.FindAllStringIndex(a[0].text, -1)); n*(len(with)+len(a[0].text)) > 16*maxOutput && n > 1 {
		return a[0], errLong
	}
	return e.text(re.ReplaceAllString(a[0].text, with))
}
