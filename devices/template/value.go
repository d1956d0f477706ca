package template

import (
	"bytes"
	"math"
	"strconv"
	"strings"
)

// A Kind says what a Value is. The kinds are those of Python and Jinja, whose
// rules of printing and comparing are part of the discovery convention.
type Kind uint8

// Kinds.
const (
	Undefined Kind = iota // a missing key: prints as nothing, is false
	None
	Bool
	Int
	Float
	String
	List
	Tuple
	Dict
	namespace // made by namespace(), the one thing {% set x.y %} may change
	moment    // a point in time
	span      // a length of time
)

// A Value is a JSON value, or what an expression came to. The zero Value is
// Undefined. Values are not changed once made.
type Value struct {
	kind Kind
	bits uint64 // Bool, Int, Float
	text string // String; an Int or Float as it came, if that is how it prints
	box  *box   // List, Tuple, Dict, namespace
}

// A box holds the elements of a list, or keys and values of a dict in the
// order in which they were given.
type box struct {
	items []Value
	keys  []Value
	index map[string]int // by hashKey, once there are many keys
}

// indexFrom is the number of keys from which on a dict is looked up by a map.
const indexFrom = 32

func none() Value               { return Value{kind: None} }
func list(items []Value) Value  { return Value{kind: List, box: &box{items: items}} }
func tuple(items []Value) Value { return Value{kind: Tuple, box: &box{items: items}} }
func dict(b *box) Value         { return Value{kind: Dict, box: b} }

// FromInt makes an Int.
func FromInt(i int64) Value { return Value{kind: Int, bits: uint64(i)} }

// FromFloat makes a Float, which prints with a point: 3.0.
func FromFloat(f float64) Value { return Value{kind: Float, bits: math.Float64bits(f)} }

// FromString makes a String.
func FromString(s string) Value { return Value{kind: String, text: s} }

// FromBool makes a Bool.
func FromBool(b bool) Value {
	if b {
		return Value{kind: Bool, bits: 1}
	}
	return Value{kind: Bool}
}

// FromNumber makes an Int of a whole number, as the convention passes them to
// command templates.
func FromNumber(f float64) Value {
	if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
		return FromInt(int64(f))
	}
	return FromFloat(f)
}

// Kind tells what v is.
func (v Value) Kind() Kind { return v.kind }

// Str returns the text of a String, and whether it is one.
func (v Value) Str() (string, bool) {
	if v.kind != String {
		return "", false
	}
	return v.text, true
}

// Bool returns the value of a Bool, and whether it is one.
func (v Value) Bool() (value, ok bool) { return v.bits != 0, v.kind == Bool }

// Number returns the value of an Int or Float, and whether it is one.
func (v Value) Number() (float64, bool) {
	switch v.kind {
	case Int:
		return float64(int64(v.bits)), true
	case Float:
		return math.Float64frombits(v.bits), true
	}
	return 0, false
}

// Items returns the elements of a List or Tuple, else nil. They are lent.
func (v Value) Items() []Value {
	if v.kind == List || v.kind == Tuple {
		return v.box.items
	}
	return nil
}

// Len returns the number of elements of a List, Tuple or Dict, else 0.
func (v Value) Len() int {
	if v.box == nil {
		return 0
	}
	return len(v.box.items)
}

// Key returns the value of a text key of a Dict, else Undefined.
func (v Value) Key(key string) Value {
	if v.kind != Dict && v.kind != namespace {
		return Value{}
	}
	if i := v.box.find(key); i >= 0 {
		return v.box.items[i]
	}
	return Value{}
}

// Pairs calls fn with each text key of a Dict and its value, in order.
func (v Value) Pairs(fn func(key string, value Value)) {
	if v.kind != Dict {
		return
	}
	for i, k := range v.box.keys {
		if k.kind == String {
			fn(k.text, v.box.items[i])
		}
	}
}

// With returns a Dict like v in which a text key has another value.
func (v Value) With(key string, value Value) Value {
	found := false
	out := v.Rewrite(func(k string, old Value) (string, Value) {
		if k == key {
			found = true
			return k, value
		}
		return k, old
	})
	if !found {
		out.box.set(FromString(key), value)
	}
	return out
}

// Rewrite returns a Dict with the pairs that fn makes of those of v; fn leaves
// one out by returning an empty key.
func (v Value) Rewrite(fn func(key string, value Value) (string, Value)) Value {
	b := &box{}
	v.Pairs(func(k string, old Value) {
		if k, value := fn(k, old); k != "" {
			b.set(FromString(k), value)
		}
	})
	return dict(b)
}

// find returns the place of a text key, or -1.
func (b *box) find(key string) int {
	if b.index != nil {
		if i, ok := b.index["s"+key]; ok {
			return i
		}
		return -1
	}
	for i := range b.keys {
		if b.keys[i].kind == String && b.keys[i].text == key {
			return i
		}
	}
	return -1
}

// findValue returns the place of any key, or -1. 1, 1.0 and true are one key.
func (b *box) findValue(key Value) int {
	if key.kind == String {
		return b.find(key.text)
	}
	h, ok := hashKey(key)
	if !ok {
		return -1
	}
	if b.index != nil {
		if i, ok := b.index[h]; ok {
			return i
		}
		return -1
	}
	for i := range b.keys {
		if other, _ := hashKey(b.keys[i]); other == h {
			return i
		}
	}
	return -1
}

// set adds a key or changes its value; the place of a key is that of its first
// appearance.
func (b *box) set(key, value Value) {
	if i := b.findValue(key); i >= 0 {
		b.items[i] = value
		return
	}
	b.keys = append(b.keys, key)
	b.items = append(b.items, value)
	switch {
	case b.index != nil:
		h, _ := hashKey(key)
		b.index[h] = len(b.keys) - 1
	case len(b.keys) >= indexFrom:
		b.index = make(map[string]int, 2*indexFrom)
		for i, k := range b.keys {
			h, _ := hashKey(k)
			b.index[h] = i
		}
	}
}

// hashKey returns a text that is the same for keys that Python holds equal,
// and whether the value can be a key.
func hashKey(v Value) (string, bool) {
	switch v.kind {
	case Undefined:
		return "u", true
	case None:
		return "0", true
	case Bool, Int:
		return "n" + strconv.FormatInt(int64(v.bits), 10), true
	case Float:
		f := math.Float64frombits(v.bits)
		if f == math.Trunc(f) && math.Abs(f) < 1<<53 {
			return "n" + strconv.FormatInt(int64(f), 10), true
		}
		return "f" + strconv.FormatFloat(f, 'g', -1, 64), true
	case String:
		return "s" + v.text, true
	case Tuple:
		var s strings.Builder
		s.WriteByte('t')
		for _, item := range v.box.items {
			h, ok := hashKey(item)
			if !ok || s.Len() > maxOutput {
				return "", false
			}
			s.WriteString(strconv.Itoa(len(h)))
			s.WriteByte(':')
			s.WriteString(h)
		}
		return s.String(), true
	}
	return "", false
}

// truth is Python's bool().
func (v Value) truth() bool {
	switch v.kind {
	case Bool, Int:
		return v.bits != 0
	case Float:
		return math.Float64frombits(v.bits) != 0
	case String:
		return v.text != ""
	case List, Tuple, Dict:
		return len(v.box.items) > 0
	case namespace, moment:
		return true
	case span:
		return v.bits != 0
	}
	return false
}

// Scalar tells whether v is one value: neither missing, null, list nor dict.
func (v Value) Scalar() bool { return v.kind >= Bool && v.kind <= String }

// Text returns v as Python's str() prints it: True, None, 21.5, ['a', 1]. It
// is what a template with only this value in it would give.
func (v Value) Text() string {
	switch v.kind {
	case Undefined:
		return ""
	case String:
		return v.text
	case Bool:
		if v.bits != 0 {
			return "True"
		}
		return "False"
	case None:
		return "None"
	case Int:
		if v.text != "" {
			return v.text
		}
		return strconv.FormatInt(int64(v.bits), 10)
	case Float:
		return floatText(v)
	case moment:
		return isoTime(v, " ")
	case span:
		return spanText(v)
	}
	p := printer{limit: maxOutput}
	p.repr(v, 0)
	return string(p.buf)
}

// floatText prints a float as Python's repr() does.
func floatText(v Value) string {
	if v.text != "" {
		return v.text
	}
	var buf [32]byte
	return string(appendFloat(buf[:0], math.Float64frombits(v.bits)))
}

func appendFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64) // two digits of exponent, as in Python
	}
	n := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if bytes.IndexByte(dst[n:], '.') < 0 {
		dst = append(dst, ".0"...)
	}
	return dst
}

// FromList makes a List; it keeps the slice.
func FromList(items []Value) Value { return list(items) }
