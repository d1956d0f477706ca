package template

import (
	"errors"
	"strconv"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Bounds of what is decoded.
const (
	// MaxDepth is how deep lists and objects may be nested, in JSON and in
	// what a template makes.
	MaxDepth = 32
	// MaxNodes is how many values one JSON text may have.
	MaxNodes = 400_000
)

var (
	errJSON  = errors.New("not JSON")
	errDepth = errors.New("JSON is nested deeper than 32")
	errNodes = errors.New("JSON has more than 400000 values")
)

// Decode reads one JSON text (RFC 8259). Unlike encoding/json it keeps the
// order of keys and tells integers from floats, because both show in what a
// template prints. Of a key that comes twice the last value counts.
func Decode(text string) (Value, error) {
	d := decoder{s: text}
	v := d.value(0)
	d.space()
	if d.err == nil && d.i != len(d.s) {
		d.err = errJSON
	}
	if d.err != nil {
		return Value{}, d.err
	}
	return v, nil
}

type decoder struct {
	s     string
	i     int
	nodes int
	err   error
}

func (d *decoder) space() {
	for d.i < len(d.s) {
		switch d.s[d.i] {
		case ' ', '\t', '\r', '\n':
			d.i++
		default:
			return
		}
	}
}

func (d *decoder) fail(err error) Value {
	if d.err == nil {
		d.err = err
	}
	d.i = len(d.s)
	return Value{}
}

func (d *decoder) value(depth int) Value {
	d.space()
	if d.nodes++; d.nodes > MaxNodes {
		return d.fail(errNodes)
	}
	if d.i >= len(d.s) {
		return d.fail(errJSON)
	}
	switch c := d.s[d.i]; c {
	case '{', '[':
		if depth == MaxDepth {
			return d.fail(errDepth)
		}
		d.i++
		if c == '{' {
			return d.object(depth + 1)
		}
		return d.array(depth + 1)
	case '"':
		return FromString(d.string())
	case 't':
		return d.word("true", FromBool(true))
	case 'f':
		return d.word("false", FromBool(false))
	case 'n':
		return d.word("null", none())
	}
	return d.number()
}

func (d *decoder) word(w string, v Value) Value {
	if len(d.s)-d.i < len(w) || d.s[d.i:d.i+len(w)] != w {
		return d.fail(errJSON)
	}
	d.i += len(w)
	return v
}

// next takes one of two bytes after space and tells whether it was the first.
func (d *decoder) next(more, end byte) bool {
	d.space()
	if d.i < len(d.s) {
		switch d.s[d.i] {
		case more:
			d.i++
			return true
		case end:
			d.i++
			return false
		}
	}
	d.fail(errJSON)
	return false
}

func (d *decoder) peek(c byte) bool {
	d.space()
	if d.i < len(d.s) && d.s[d.i] == c {
		d.i++
		return true
	}
	return false
}

func (d *decoder) object(depth int) Value {
	b := &box{}
	if d.peek('}') {
		return dict(b)
	}
	for {
		d.space()
		if d.i >= len(d.s) || d.s[d.i] != '"' {
			return d.fail(errJSON)
		}
		key := d.string()
		if !d.peek(':') {
			return d.fail(errJSON)
		}
		value := d.value(depth)
		if d.err != nil {
			return Value{}
		}
		b.set(FromString(key), value)
		if !d.next(',', '}') {
			return dict(b)
		}
	}
}

func (d *decoder) array(depth int) Value {
	if d.peek(']') {
		return list(nil)
	}
	var items []Value
	for {
		items = append(items, d.value(depth))
		if !d.next(',', ']') {
			return list(items)
		}
	}
}

// string reads a string; the text is a part of the input unless it has escapes
// or is not UTF-8.
func (d *decoder) string() string {
	d.i++
	start := d.i
	plain := true
	for d.i < len(d.s) {
		switch c := d.s[d.i]; {
		case c == '"':
			s := d.s[start:d.i]
			d.i++
			if plain {
				return s
			}
			return d.unescape(s)
		case c == '\\':
			plain = false
			d.i += 2
		case c < 0x20:
			d.fail(errJSON)
			return ""
		case c >= utf8.RuneSelf:
			r, n := utf8.DecodeRuneInString(d.s[d.i:])
			if r == utf8.RuneError && n == 1 {
				plain = false
			}
			d.i += n
		default:
			d.i++
		}
	}
	d.fail(errJSON)
	return ""
}

func (d *decoder) unescape(s string) string {
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			out = utf8.AppendRune(out, r)
			i += n
			continue
		}
		if c != '\\' {
			out = append(out, c)
			i++
			continue
		}
		i += 2
		if i > len(s) {
			d.fail(errJSON)
			return ""
		}
		switch s[i-1] {
		case '"', '\\', '/':
			out = append(out, s[i-1])
		case 'b':
			out = append(out, '\b')
		case 'f':
			out = append(out, '\f')
		case 'n':
			out = append(out, '\n')
		case 'r':
			out = append(out, '\r')
		case 't':
			out = append(out, '\t')
		case 'u':
			r, ok := hex4(s[i:])
			if !ok {
				d.fail(errJSON)
				return ""
			}
			i += 4
			if utf16.IsSurrogate(r) {
				low := rune(utf8.RuneError)
				if len(s) >= i+6 && s[i] == '\\' && s[i+1] == 'u' {
					low, _ = hex4(s[i+2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					i += 6
				}
			}
			out = utf8.AppendRune(out, r)
		default:
			d.fail(errJSON)
			return ""
		}
	}
	return string(out)
}

func hex4(s string) (rune, bool) {
	if len(s) < 4 {
		return 0, false
	}
	n, err := strconv.ParseUint(s[:4], 16, 16)
	return rune(n), err == nil && s[0] != '+'
}

func (d *decoder) number() Value {
	start := d.i
	digits := func() bool {
		from := d.i
		for d.i < len(d.s) && d.s[d.i] >= '0' && d.s[d.i] <= '9' {
			d.i++
		}
		return d.i > from
	}
	if d.i < len(d.s) && d.s[d.i] == '-' {
		d.i++
	}
	first := d.i
	if !digits() || d.s[first] == '0' && d.i > first+1 {
		return d.fail(errJSON)
	}
	whole := true
	if d.i < len(d.s) && d.s[d.i] == '.' {
		whole = false
		d.i++
		if !digits() {
			return d.fail(errJSON)
		}
	}
	if d.i < len(d.s) && (d.s[d.i] == 'e' || d.s[d.i] == 'E') {
		whole = false
		d.i++
		if d.i < len(d.s) && (d.s[d.i] == '+' || d.s[d.i] == '-') {
			d.i++
		}
		if !digits() {
			return d.fail(errJSON)
		}
	}
	return numberOf(d.s[start:d.i], whole)
}

// numberOf makes a number of its text. An integer too large for 64 bits keeps
// its digits, so that it prints as it came.
func numberOf(text string, whole bool) Value {
	if whole {
		if i, err := strconv.ParseInt(text, 10, 64); err == nil {
			return FromInt(i)
		}
	}
	f, _ := strconv.ParseFloat(text, 64) // out of range: infinite, as in Python
	v := FromFloat(f)
	if whole && len(text) <= 4300 || !whole && printsAsItIs(text) { // Python prints no longer ones either
		v.text = text
	}
	return v
}

// printsAsItIs tells whether a number with a point is written as Python prints
// it. It may have 15 digits: so many survive being a float.
func printsAsItIs(text string) bool {
	digits := strings.TrimPrefix(text, "-")
	if len(digits) > 16 || strings.HasPrefix(digits, "0.000") || strings.ContainsAny(digits, "eE") {
		return false
	}
	_, fraction, _ := strings.Cut(digits, ".")
	return fraction == "0" || !strings.HasSuffix(fraction, "0")
}
