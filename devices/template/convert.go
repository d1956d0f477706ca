package template

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
)

// toFloat is Python's float().
func toFloat(v Value) (float64, bool) {
	switch v.kind {
	case Bool, Int, Float:
		return v.float(), true
	case String:
		s := strings.TrimSpace(v.text)
		if strings.ContainsAny(s, "xXpP_") { // forms that Go reads and Python does not
			return 0, false
		}
		f, err := strconv.ParseFloat(s, 64)
		if err != nil && !math.IsInf(f, 0) {
			return 0, false
		}
		return f, true
	}
	return 0, false
}

// toInt is Python's int(), after float() if that fails, as the filter does.
func toInt(v Value, base int) (Value, bool) {
	switch v.kind {
	case Bool, Int:
		return FromInt(int64(v.bits)), true
	case String:
		s := strings.TrimSpace(v.text)
		if base == 16 || base == 2 || base == 8 {
			s = strings.ToLower(s)
			s = strings.TrimPrefix(s, map[int]string{16: "0x", 2: "0b", 8: "0o"}[base])
		}
		if i, err := strconv.ParseInt(s, base, 64); err == nil {
			return FromInt(i), true
		}
	}
	f, ok := toFloat(v)
	if !ok || math.IsNaN(f) || math.Abs(f) >= 1<<63 {
		return Value{}, false
	}
	return FromInt(int64(f)), true
}

// roundTo is Python's round(): exact halves go to the even neighbour.
func roundTo(f float64, digits int) float64 {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return f
	}
	if digits < 0 {
		p := math.Pow10(-digits)
		return math.RoundToEven(f/p) * p
	}
	r, err := strconv.ParseFloat(strconv.FormatFloat(f, 'f', min(digits, 40), 64), 64)
	if err != nil {
		return f
	}
	return r
}

// filterFloat, filterInt and filterRound fail on what is no number unless a
// default is given.
func filterFloat(e *env, a []Value, named *box) (Value, error) {
	if a[0].kind == Undefined {
		return a[0], errUndefined
	}
	if f, ok := toFloat(a[0]); ok {
		return FromFloat(f), nil
	}
	return orDefault(a, named, 1, "float")
}

func filterInt(e *env, a []Value, named *box) (Value, error) {
	if a[0].kind == Undefined {
		return a[0], errUndefined
	}
	base, err := intParam(a, named, 2, "base", 10)
	if err != nil || base < 2 || base > 36 {
		return a[0], errArguments
	}
	if v, ok := toInt(a[0], base); ok {
		return v, nil
	}
	return orDefault(a, named, 1, "int")
}

func orDefault(a []Value, named *box, at int, what string) (Value, error) {
	if at < len(a) || named.find("default") >= 0 {
		return param(a, named, at, "default"), nil
	}
	return a[0], fmt.Errorf("%s has no default and got %q", what, a[0].Text())
}

func filterRound(e *env, a []Value, named *box) (Value, error) {
	if a[0].kind == Undefined {
		return a[0], errUndefined
	}
	digits, err := intParam(a, named, 1, "precision", 0)
	if err != nil || digits > 300 || digits < -300 {
		return a[0], errArguments
	}
	f, ok := toFloat(a[0])
	if !ok {
		return orDefault(a, named, 3, "round")
	}
	p := math.Pow10(digits)
	switch param(a, named, 2, "method").text {
	case "ceil":
		f = math.Ceil(f*p) / p
	case "floor":
		f = math.Floor(f*p) / p
	case "half":
		f = math.RoundToEven(f*2) / 2
	default:
		f = roundTo(f, digits)
	}
	if digits == 0 {
		if math.IsNaN(f) || math.Abs(f) >= 1<<63 {
			return a[0], errOverflow
		}
		return FromInt(int64(f)), nil
	}
	return FromFloat(f), nil
}

// filterBool reads the words that Home Assistant takes for true and false.
func filterBool(e *env, a []Value, named *box) (Value, error) {
	switch {
	case isNumber(a[0]):
		return FromBool(a[0].truth()), nil
	case a[0].kind == String:
		switch strings.ToLower(strings.TrimSpace(a[0].text)) {
		case "1", "true", "yes", "on", "enable":
			return FromBool(true), nil
		case "0", "false", "no", "off", "disable":
			return FromBool(false), nil
		}
	}
	return orDefault(a, named, 1, "bool")
}

// A spec is a conversion of a format: %-8.2f or {:>8.2f}.
type formatSpec struct {
	minus, plus, space, zero, alt, comma bool
	fill                                 rune
	align                                byte // < > ^ =
	width, precision                     int  // precision -1: none
	verb                                 byte
}

var errFormat = errors.New("wrong format")

// maxWidth bounds width and precision of a format.
const maxWidth = 500

// number formats a number by a spec.
func (s formatSpec) number(v Value) (string, error) {
	text := ""
	switch s.verb {
	case 'd', 'i', 'u', 'x', 'X', 'o', 'b', 'c':
		n, ok := v, v.kind == Int || v.kind == Bool
		if v.kind == Float {
			n, ok = toInt(v, 10)
		}
		if !ok {
			return "", fmt.Errorf("%w: %s is no whole number", errFormat, kindName(v))
		}
		i := int64(n.bits)
		base := map[byte]int{'x': 16, 'X': 16, 'o': 8, 'b': 2}[s.verb]
		if base == 0 {
			base = 10
		}
		if s.verb == 'c' {
			return string(rune(i)), nil
		}
		text = strconv.FormatInt(i, base)
		if s.precision > len(text) {
			text = strings.Repeat("0", s.precision-len(text)) + text
		}
		if s.alt && base != 10 {
			text = "0" + string(s.verb|0x20) + text
		}
	case 'f', 'F', 'e', 'E', 'g', 'G', '%':
		f, ok := v.float(), isNumber(v)
		if !ok {
			return "", fmt.Errorf("%w: %s is no number", errFormat, kindName(v))
		}
		p := s.precision
		if p < 0 {
			p = 6
		}
		verb := s.verb
		if verb == '%' {
			f, verb = f*100, 'f'
		}
		if verb == 'F' {
			verb = 'f'
		}
		if verb|0x20 == 'g' && p == 0 {
			p = 1
		}
		text = strconv.FormatFloat(f, verb, p, 64)
		if verb|0x20 == 'g' && strings.Contains(text, ".") && !s.alt {
			mantissa, exp, has := strings.Cut(text, "e")
			mantissa = strings.TrimRight(strings.TrimRight(mantissa, "0"), ".")
			if text = mantissa; has {
				text += "e" + exp
			}
		}
		if math.IsNaN(f) || math.IsInf(f, 0) {
			text = string(appendFloat(nil, f))
		}
		if s.verb == '%' {
			text += "%"
		}
	}
	if s.verb == 'X' {
		text = strings.ToUpper(text)
	}
	if s.comma {
		text = thousands(text)
	}
	sign := ""
	switch {
	case strings.HasPrefix(text, "-"):
		sign, text = "-", text[1:]
	case s.plus:
		sign = "+"
	case s.space:
		sign = " "
	}
	if pad := s.width - len(sign) - len(text); s.zero && pad > 0 && !s.minus {
		text = strings.Repeat("0", pad) + text
	}
	return sign + text, nil
}

func thousands(s string) string {
	whole, frac, has := strings.Cut(s, ".")
	start := 0
	if strings.HasPrefix(whole, "-") {
		start = 1
	}
	for i := len(whole) - 3; i > start; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if has {
		whole += "." + frac
	}
	return whole
}

// pad fills a text to the width.
func (s formatSpec) pad(text string, align byte) string {
	n := s.width - len([]rune(text))
	if n <= 0 {
		return text
	}
	if s.align != 0 {
		align = s.align
	}
	fill := func(n int) string { return strings.Repeat(string(s.fill), n) }
	switch align {
	case '<':
		return text + fill(n)
	case '^':
		return fill(n/2) + text + fill(n-n/2)
	}
	return fill(n) + text
}

// digits reads a number of a format.
func digits(s string, i int) (n, next int, err error) {
	for ; i < len(s) && s[i] >= '0' && s[i] <= '9'; i++ {
		if n = n*10 + int(s[i]-'0'); n > maxWidth {
			return 0, 0, errFormat
		}
	}
	return n, i, nil
}

// percentFormat is Python's format % args.
func percentFormat(e *env, format string, args []Value) (string, error) {
	var b strings.Builder
	used := 0
	for i := 0; i < len(format); i++ {
		if format[i] != '%' {
			b.WriteByte(format[i])
			continue
		}
		i++
		if i < len(format) && format[i] == '%' {
			b.WriteByte('%')
			continue
		}
		s := formatSpec{fill: ' ', precision: -1}
		if i < len(format) && format[i] == '(' {
			return "", errors.New("%(name) is not supported")
		}
		for ; i < len(format) && strings.IndexByte("-+ 0#", format[i]) >= 0; i++ {
			switch format[i] {
			case '-':
				s.minus, s.align = true, '<'
			case '+':
				s.plus = true
			case ' ':
				s.space = true
			case '0':
				s.zero = true
			case '#':
				s.alt = true
			}
		}
		var err error
		if s.width, i, err = digits(format, i); err != nil {
			return "", err
		}
		if i < len(format) && format[i] == '.' {
			if s.precision, i, err = digits(format, i+1); err != nil {
				return "", err
			}
		}
		if i >= len(format) || used >= len(args) {
			return "", errFormat
		}
		s.verb = format[i]
		v := args[used]
		used++
		text := ""
		switch s.verb {
		case 's', 'r', 'a':
			if s.verb == 's' {
				text, err = e.str(v)
			} else {
				p := printer{limit: maxOutput}
				p.repr(v, 0)
				text, err = string(p.buf), p.err
			}
			if r := []rune(text); s.precision >= 0 && len(r) > s.precision {
				text = string(r[:s.precision])
			}
		case 'd', 'i', 'u', 'x', 'X', 'o', 'c', 'f', 'F', 'e', 'E', 'g', 'G':
			text, err = s.number(v)
		default:
			err = errFormat
		}
		if err != nil {
			return "", err
		}
		b.WriteString(s.pad(text, '>'))
		if b.Len() > maxOutput {
			return "", errLong
		}
	}
	if used < len(args) {
		return "", fmt.Errorf("%w: too many values", errFormat)
	}
	return b.String(), e.charge(1 + b.Len()/64)
}

// braceFormat is Python's format.format(args): {} {0} {name} with a spec.
func braceFormat(e *env, format string, args []Value, named *box) (string, error) {
	var b strings.Builder
	auto := 0
	for i := 0; i < len(format); i++ {
		c := format[i]
		if c != '{' && c != '}' {
			b.WriteByte(c)
			continue
		}
		if i+1 < len(format) && format[i+1] == c {
			b.WriteByte(c)
			i++
			continue
		}
		end := strings.IndexByte(format[i:], '}')
		if c == '}' || end < 0 {
			return "", errFormat
		}
		field, spec, _ := strings.Cut(format[i+1:i+end], ":")
		i += end
		var v Value
		if n, err := strconv.Atoi(field); err == nil || field == "" {
			if field == "" {
				n = auto
				auto++
			}
			if n < 0 || n >= len(args) {
				return "", errFormat
			}
			v = args[n]
		} else if at := named.find(field); at >= 0 {
			v = named.items[at]
		} else {
			return "", errFormat
		}
		text, err := formatValue(e, v, spec)
		if err != nil {
			return "", err
		}
		b.WriteString(text)
		if b.Len() > maxOutput {
			return "", errLong
		}
	}
	return b.String(), e.charge(1 + b.Len()/64)
}

// formatValue is Python's format(v, spec).
func formatValue(e *env, v Value, spec string) (string, error) {
	s := formatSpec{fill: ' ', precision: -1}
	r := []rune(spec)
	i := 0
	isAlign := func(i int) bool { return i < len(r) && strings.ContainsRune("<>^=", r[i]) }
	if isAlign(1) {
		s.fill, s.align, i = r[0], byte(r[1]), 2
	} else if isAlign(0) {
		s.align, i = byte(r[0]), 1
	}
	spec = string(r[i:])
	i = 0
	for ; i < len(spec) && strings.IndexByte("+- #", spec[i]) >= 0; i++ {
		s.plus = s.plus || spec[i] == '+'
		s.space = s.space || spec[i] == ' '
		s.alt = s.alt || spec[i] == '#'
	}
	if i < len(spec) && spec[i] == '0' && s.align == 0 {
		s.zero = true
	}
	var err error
	if s.width, i, err = digits(spec, i); err != nil {
		return "", err
	}
	if i < len(spec) && spec[i] == ',' {
		s.comma = true
		i++
	}
	if i < len(spec) && spec[i] == '.' {
		if s.precision, i, err = digits(spec, i+1); err != nil {
			return "", err
		}
	}
	if i < len(spec) {
		s.verb = spec[i]
		i++
	}
	if i != len(spec) || strings.IndexByte("\x00sdxXobcfFeEgG%", s.verb) < 0 {
		return "", errFormat
	}
	if v.kind != Int && v.kind != Float || s.verb == 's' {
		if s.verb != 0 && s.verb != 's' {
			return "", errFormat
		}
		text, err := e.str(v)
		if r := []rune(text); s.precision >= 0 && len(r) > s.precision {
			text = string(r[:s.precision])
		}
		return s.pad(text, '<'), err
	}
	if s.verb == 0 {
		if s.verb = 'd'; v.kind == Float {
			s.verb = 'g'
			if s.precision < 0 {
				return s.pad(floatText(v), '>'), nil
			}
		}
	}
	if s.verb == 'd' && v.kind == Float {
		return "", errFormat
	}
	text, err := s.number(v)
	return s.pad(text, '>'), err
}
