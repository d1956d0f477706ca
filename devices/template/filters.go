package template

import (
	"encoding/base64"
	"errors"
	"fmt"
	"html"
	"math"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// filters are the words after |. The first argument is the value itself.
var filters = map[string]function{
	"default": filterDefault, "d": filterDefault,
	"float": filterFloat, "int": filterInt, "round": filterRound, "bool": filterBool,
	"lower":      textFilter(strings.ToLower),
	"upper":      textFilter(strings.ToUpper),
	"title":      textFilter(titleWords),
	"capitalize": textFilter(capitalize),
	"string":     textFilter(func(s string) string { return s }),
	"safe":       textFilter(func(s string) string { return s }),
	"escape":     textFilter(html.EscapeString), "e": textFilter(html.EscapeString),
	"urlencode":     textFilter(func(s string) string { return strings.NewReplacer("+", "%20", "%2F", "/").Replace(url.QueryEscape(s)) }),
	"slugify":       textFilter(slug),
	"base64_encode": textFilter(func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }),
	"base64_decode": filterBase64,
	"trim":          filterTrim,
	"replace":       filterReplace,
	"truncate":      filterTruncate,
	"format":        filterFormat,
	"split":         splitMethod,
	"to_json":       func(e *env, a []Value, named *box) (Value, error) { return toJSON(e, a[0], toJSONStyle(a, named)) },
	"tojson":        func(e *env, a []Value, _ *box) (Value, error) { return toJSON(e, a[0], jinjaJSON) },
	"from_json":     filterFromJSON,
	"length":        filterLength, "count": filterLength,
	"abs":                 filterAbs,
	"first":               func(e *env, a []Value, _ *box) (Value, error) { return end(e, a[0], false) },
	"last":                func(e *env, a []Value, _ *box) (Value, error) { return end(e, a[0], true) },
	"list":                filterList,
	"items":               func(e *env, a []Value, _ *box) (Value, error) { return dictItems(e, a[0]) },
	"dictsort":            filterDictSort,
	"join":                filterJoin,
	"reverse":             filterReverse,
	"sort":                filterSort,
	"unique":              filterUnique,
	"sum":                 filterSum,
	"min":                 func(e *env, a []Value, _ *box) (Value, error) { return extreme(e, a[:1], -1) },
	"max":                 func(e *env, a []Value, _ *box) (Value, error) { return extreme(e, a[:1], 1) },
	"map":                 filterMap,
	"select":              func(e *env, a []Value, _ *box) (Value, error) { return choose(e, a, false, true) },
	"reject":              func(e *env, a []Value, _ *box) (Value, error) { return choose(e, a, false, false) },
	"selectattr":          func(e *env, a []Value, _ *box) (Value, error) { return choose(e, a, true, true) },
	"rejectattr":          func(e *env, a []Value, _ *box) (Value, error) { return choose(e, a, true, false) },
	"regex_findall":       filterFindAll,
	"regex_findall_index": filterFindAllIndex,
	"regex_replace":       filterRegexReplace,
	"regex_match":         regexFilter(true),
	"regex_search":        regexFilter(false),
	"is_defined": func(e *env, a []Value, _ *box) (Value, error) {
		if a[0].kind == Undefined {
			return a[0], errUndefined
		}
		return a[0], nil
	},
	"is_number": functions["is_number"],
	"iif":       filterIif,
	"contains": func(e *env, a []Value, _ *box) (Value, error) {
		ok, err := tests["contains"](e, a)
		return FromBool(ok), err
	},
	"add":         numeric("+"),
	"multiply":    numeric("*"),
	"bitwise_and": bitwise(func(a, b int64) int64 { return a & b }),
	"bitwise_or":  bitwise(func(a, b int64) int64 { return a | b }),
	"bitwise_xor": bitwise(func(a, b int64) int64 { return a ^ b }),
	"ord": func(e *env, a []Value, _ *box) (Value, error) {
		if r := []rune(a[0].text); a[0].kind == String && len(r) == 1 {
			return FromInt(int64(r[0])), nil
		}
		return a[0], errArguments
	},
}

func textFilter(fn func(string) string) function {
	return func(e *env, a []Value, _ *box) (Value, error) {
		s, err := e.str(a[0])
		if err != nil {
			return a[0], err
		}
		return e.text(fn(s))
	}
}

// notSlug is what stands between the words of a slug.
var notSlug = regexp.MustCompile(`[^a-z0-9]+`)

func slug(s string) string {
	s = bareLetters.Replace(strings.ToLower(s))
	return strings.Trim(notSlug.ReplaceAllString(s, "_"), "_")
}

// bareLetters takes the marks off letters of Europe's languages.
var bareLetters = strings.NewReplacer("à", "a", "á", "a", "â", "a", "ã", "a", "ä", "a", "å", "a", "ā", "a", "ă", "a", "ą", "a",
	"ç", "c", "ć", "c", "č", "c", "ď", "d", "è", "e", "é", "e", "ê", "e", "ë", "e", "ē", "e", "ė", "e", "ę", "e", "ě", "e",
	"ğ", "g", "ģ", "g", "ì", "i", "í", "i", "î", "i", "ï", "i", "ī", "i", "į", "i", "ķ", "k", "ĺ", "l", "ľ", "l", "ļ", "l", "ł", "l",
	"ñ", "n", "ń", "n", "ň", "n", "ņ", "n", "ò", "o", "ó", "o", "ô", "o", "õ", "o", "ö", "o", "ø", "o", "ō", "o", "ő", "o",
	"ŕ", "r", "ř", "r", "ś", "s", "š", "s", "ş", "s", "ș", "s", "ß", "ss", "ť", "t", "ţ", "t", "ț", "t",
	"ù", "u", "ú", "u", "û", "u", "ü", "u", "ū", "u", "ů", "u", "ű", "u", "ų", "u", "ý", "y", "ÿ", "y", "ź", "z", "ż", "z", "ž", "z", "æ", "ae", "œ", "oe")

func filterBase64(e *env, a []Value, _ *box) (Value, error) {
	b, err := base64.StdEncoding.DecodeString(a[0].text)
	if err != nil || a[0].kind != String {
		return a[0], errArguments
	}
	return e.text(strings.ToValidUTF8(string(b), "\ufffd"))
}

func filterDefault(e *env, a []Value, named *box) (Value, error) {
	def := param(a, named, 1, "default_value")
	if def.kind == Undefined && len(a) < 2 {
		def = FromString("")
	}
	if a[0].kind == Undefined || param(a, named, 2, "boolean").truth() && !a[0].truth() {
		return def, nil
	}
	return a[0], nil
}

func filterTrim(e *env, a []Value, named *box) (Value, error) {
	s, err := e.str(a[0])
	if err != nil {
		return a[0], err
	}
	var chars []string
	if c := param(a, named, 1, "chars"); c.kind == String {
		chars = []string{c.text}
	}
	return e.text(strip(s, chars, true, true))
}

func filterReplace(e *env, a []Value, named *box) (Value, error) {
	s, err := e.str(a[0])
	if err != nil {
		return a[0], err
	}
	from, err1 := e.str(param(a, named, 1, "old"))
	to, err2 := e.str(param(a, named, 2, "new"))
	n, err3 := intParam(a, named, 3, "count", -1)
	if err := errors.Join(err1, err2, err3); err != nil {
		return a[0], err
	}
	if len(s)+(strings.Count(s, from)+1)*len(to) > 4*maxOutput {
		return a[0], errLong
	}
	return e.text(strings.Replace(s, from, to, n))
}

func filterTruncate(e *env, a []Value, named *box) (Value, error) {
	s, err := e.str(a[0])
	if err != nil {
		return a[0], err
	}
	length, err1 := intParam(a, named, 1, "length", 255)
	leeway, err2 := intParam(a, named, 4, "leeway", 5)
	tail := "..."
	if v := param(a, named, 3, "end"); v.kind == String {
		tail = v.text
	}
	t, r := []rune(tail), []rune(s)
	if err := errors.Join(err1, err2); err != nil || length < len(t) || leeway < 0 {
		return a[0], errArguments
	}
	if len(r) <= length+leeway {
		return e.text(s)
	}
	s = string(r[:length-len(t)])
	if !param(a, named, 2, "killwords").truth() {
		if i := strings.LastIndexByte(s, ' '); i >= 0 {
			s = s[:i]
		}
	}
	return e.text(s + tail)
}

func filterFormat(e *env, a []Value, named *box) (Value, error) {
	s, err := e.str(a[0])
	if err != nil {
		return a[0], err
	}
	if s, err = percentFormat(e, s, a[1:]); err != nil {
		return a[0], err
	}
	return e.text(s)
}

func toJSONStyle(a []Value, named *box) jsonStyle {
	style := compactJSON
	style.ascii = param(a, named, 1, "ensure_ascii").truth()
	style.sorted = param(a, named, 3, "sort_keys").truth()
	if style.ascii { // Python's own encoder is used then
		style.comma, style.colon = ", ", ": "
	}
	return style
}

func toJSON(e *env, v Value, style jsonStyle) (Value, error) {
	p := printer{limit: maxOutput}
	p.json(v, style, 0)
	if p.err != nil {
		return v, p.err
	}
	return e.text(string(p.buf))
}

func filterFromJSON(e *env, a []Value, named *box) (Value, error) {
	if a[0].kind != String {
		return orDefault(a, named, 1, "from_json")
	}
	if len(a[0].text) > maxOutput {
		return a[0], errLong
	}
	v, err := Decode(a[0].text)
	if err != nil {
		return orDefault(a, named, 1, "from_json")
	}
	return v, e.charge(1 + len(a[0].text)/16)
}

func filterLength(e *env, a []Value, _ *box) (Value, error) {
	switch a[0].kind {
	case Undefined:
		return FromInt(0), nil
	case String:
		return FromInt(int64(len([]rune(a[0].text)))), nil
	case List, Tuple, Dict:
		return FromInt(int64(len(a[0].box.items))), nil
	}
	return a[0], fmt.Errorf("%s has no length", kindName(a[0]))
}

func filterAbs(e *env, a []Value, _ *box) (Value, error) {
	switch a[0].kind {
	case Int, Bool:
		if n := int64(a[0].bits); n < 0 {
			return integers("-", 0, n)
		}
		return FromInt(int64(a[0].bits)), nil
	case Float:
		return FromFloat(math.Abs(a[0].float())), nil
	}
	return a[0], errArguments
}

func end(e *env, v Value, last bool) (Value, error) {
	items, err := iterate(e, v)
	if err != nil || len(items) == 0 {
		return Value{}, err
	}
	if last {
		return items[len(items)-1], nil
	}
	return items[0], nil
}

func filterList(e *env, a []Value, _ *box) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	return e.list(slices.Clone(items))
}

// filterDictSort sorts the pairs of a dict by key or by value, upper and lower
// case alike unless told.
func filterDictSort(e *env, a []Value, named *box) (Value, error) {
	pairs, err := dictItems(e, a[0])
	if err != nil || a[0].kind != Dict {
		return a[0], errArguments
	}
	by := FromInt(0)
	if param(a, named, 2, "by").text == "value" {
		by = FromInt(1)
	}
	args := &box{}
	args.set(FromString("attribute"), by)
	args.set(FromString("case_sensitive"), param(a, named, 1, "case_sensitive"))
	args.set(FromString("reverse"), param(a, named, 3, "reverse"))
	return filterSort(e, []Value{pairs}, args)
}

func filterJoin(e *env, a []Value, named *box) (Value, error) {
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	sep, err := e.str(param(a, named, 1, "d"))
	if err != nil {
		return a[0], err
	}
	attr := param(a, named, 2, "attribute")
	var b strings.Builder
	for i, v := range items {
		if i > 0 {
			b.WriteString(sep)
		}
		if attr.kind != Undefined {
			if v, err = attribute(v, attr); err != nil {
				return a[0], err
			}
		}
		s, err := e.str(v)
		if err != nil {
			return a[0], err
		}
		if b.WriteString(s); b.Len() > maxOutput {
			return a[0], errLong
		}
	}
	if err := e.charge(len(items) / 8); err != nil {
		return a[0], err
	}
	return e.text(b.String())
}

func filterReverse(e *env, a []Value, _ *box) (Value, error) {
	if a[0].kind == String {
		r := []rune(a[0].text)
		slices.Reverse(r)
		return e.text(string(r))
	}
	items, err := iterate(e, a[0])
	if err != nil {
		return a[0], err
	}
	items = slices.Clone(items)
	slices.Reverse(items)
	return e.list(items)
}

func filterIif(e *env, a []Value, named *box) (Value, error) {
	yes, no, null := FromBool(true), FromBool(false), Value{}
	if v := param(a, named, 1, "if_true"); v.kind != Undefined {
		yes = v
	}
	if v := param(a, named, 2, "if_false"); v.kind != Undefined {
		no = v
	}
	if null = param(a, named, 3, "if_none"); a[0].kind == None && null.kind != Undefined {
		return null, nil
	}
	if a[0].truth() {
		return yes, nil
	}
	return no, nil
}

func numeric(op string) function {
	return func(e *env, a []Value, named *box) (Value, error) {
		if len(a) < 2 {
			return a[0], errArguments
		}
		f, ok := toFloat(a[0])
		if !ok {
			return orDefault(a, named, 2, "arithmetic")
		}
		return arithmetic(e, op, FromFloat(f), a[1])
	}
}

func regexFilter(start bool) function {
	return func(e *env, a []Value, named *box) (Value, error) {
		ok, err := matches(e, []Value{a[0], param(a, named, 1, "find"), param(a, named, 2, "ignorecase")}, start)
		return FromBool(ok), err
	}
}

func bitwise(fn func(a, b int64) int64) function {
	return func(_ *env, a []Value, _ *box) (Value, error) {
		whole := func(v Value) bool { return v.kind == Int || v.kind == Bool }
		if len(a) < 2 || !whole(a[0]) || !whole(a[1]) {
			return a[0], errArguments
		}
		return FromInt(fn(int64(a[0].bits), int64(a[1].bits))), nil
	}
}
