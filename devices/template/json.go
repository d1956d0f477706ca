package template

import (
	"encoding/json"
	"errors"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync"
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
	d := documents.Get().(*Document)
	defer documents.Put(d)
	defer d.Reset()
	if err := d.Read(text); err != nil {
		return Value{}, err
	}
	return d.Root().Value(), nil
}

// Of makes a Value of what encoding/json makes JSON of, as if it had been
// written and read again. Maps have the order of their keys.
func Of(v any) (Value, error) {
	switch x := v.(type) {
	case nil:
		return none(), nil
	case bool:
		return FromBool(x), nil
	case int:
		return FromInt(int64(x)), nil
	case float64:
		if x == math.Trunc(x) && math.Abs(x) < 1<<53 {
			return FromInt(int64(x)), nil
		}
	case string:
		if utf8.ValidString(x) {
			return FromString(x), nil
		}
	case []string:
		return listOf(x)
	case []any:
		return listOf(x)
	case map[string]any:
		if x == nil {
			return none(), nil
		}
		b := &box{keys: make([]Value, 0, len(x)), items: make([]Value, 0, len(x))}
		for _, key := range slices.Sorted(maps.Keys(x)) {
			k, err := Of(key)
			if err != nil {
				return Value{}, err
			}
			item, err := Of(x[key])
			if err != nil {
				return Value{}, err
			}
			b.set(k, item)
		}
		return dict(b), nil
	}
	text, err := json.Marshal(v)
	if err != nil {
		return Value{}, err
	}
	return Decode(string(text))
}

func listOf[T any](from []T) (Value, error) {
	if from == nil {
		return none(), nil
	}
	items := make([]Value, len(from))
	for i, x := range from {
		v, err := Of(x)
		if err != nil {
			return Value{}, err
		}
		items[i] = v
	}
	return list(items), nil
}

// documents are those of Decode.
var documents = sync.Pool{New: func() any { return &Document{} }}

// A reader finds the parts of a text.
type reader struct {
	d      *Document
	s      string
	i      int
	values int
	err    error
}

func (r *reader) space() {
	for r.i < len(r.s) {
		switch r.s[r.i] {
		case ' ', '\t', '\r', '\n':
			r.i++
		default:
			return
		}
	}
}

func (r *reader) fail(err error) {
	if r.err == nil {
		r.err = err
	}
	r.i = len(r.s)
}

// add adds a part that has nothing in it, and returns its place.
func (r *reader) add(p part) uint32 {
	at := uint32(len(r.d.parts))
	p.next = at + 1
	r.d.parts = append(r.d.parts, p)
	return at
}

func (r *reader) value(depth int) {
	r.space()
	if r.values++; r.values > MaxNodes {
		r.fail(errNodes)
		return
	}
	if r.i >= len(r.s) {
		r.fail(errJSON)
		return
	}
	switch c := r.s[r.i]; c {
	case '{', '[':
		if depth == MaxDepth {
			r.fail(errDepth)
			return
		}
		r.i++
		if c == '{' {
			r.object(depth + 1)
		} else {
			r.array(depth + 1)
		}
	case '"':
		r.string()
	case 't':
		r.word("true", Bool)
	case 'f':
		r.word("false", Bool)
	case 'n':
		r.word("null", None)
	default:
		r.number()
	}
}

func (r *reader) word(w string, kind Kind) {
	if !strings.HasPrefix(r.s[r.i:], w) {
		r.fail(errJSON)
		return
	}
	r.add(part{kind: kind, start: uint32(r.i)})
	r.i += len(w)
}

// next takes one of two bytes after space and tells whether it was the first.
func (r *reader) next(more, end byte) bool {
	r.space()
	if r.i < len(r.s) {
		switch r.s[r.i] {
		case more:
			r.i++
			return true
		case end:
			r.i++
			return false
		}
	}
	r.fail(errJSON)
	return false
}

func (r *reader) peek(c byte) bool {
	r.space()
	if r.i < len(r.s) && r.s[r.i] == c {
		r.i++
		return true
	}
	return false
}

func (r *reader) object(depth int) {
	d := r.d
	at := r.add(part{kind: Dict})
	n := uint32(0)
	if !r.peek('}') {
		var seen uint64              // a bit for each key: most are new at a look
		var places map[string]uint32 // once there are many
		for {
			r.space()
			if r.i >= len(r.s) || r.s[r.i] != '"' {
				r.fail(errJSON)
				return
			}
			key := uint32(len(d.parts))
			r.string()
			if !r.peek(':') {
				r.fail(errJSON)
				return
			}
			value := uint32(len(d.parts))
			r.value(depth)
			if r.err != nil {
				return
			}
			k := &d.parts[key]
			k.value, k.next = value, uint32(len(d.parts))
			text := d.string(k)
			bit := keyBit(text)
			first := uint32(0)
			if places != nil {
				first = places[text]
			} else if seen&bit != 0 {
				first = d.find(at+1, key, text)
			}
			if seen |= bit; first != 0 {
				k.again, d.parts[first].value = true, value
			} else {
				n++
				if places != nil {
					places[text] = key
				} else if n == indexFrom {
					places = d.index(at, key)
				}
			}
			if !r.next(',', '}') {
				break
			}
		}
	}
	d.parts[at].value, d.parts[at].next = n, uint32(len(d.parts))
}

// index notes where the keys of an object are, up to one of them.
func (d *Document) index(object, last uint32) map[string]uint32 {
	places := make(map[string]uint32, 2*indexFrom)
	for at := object + 1; at <= last; at = d.parts[at].next {
		if k := &d.parts[at]; !k.again {
			places[d.string(k)] = at
		}
	}
	if d.places == nil {
		d.places = map[uint32]map[string]uint32{}
	}
	d.places[object] = places
	return places
}

// keyBit is one of 64 bits by a key's length and some of its letters.
func keyBit(key string) uint64 {
	n := len(key)
	if n == 0 {
		return 1
	}
	return 1 << ((uint(key[0])*7 + uint(key[n-1])*13 + uint(key[n/2])*5 + uint(n)) % 64)
}

func (r *reader) array(depth int) {
	at := r.add(part{kind: List})
	n := uint32(0)
	if !r.peek(']') {
		for {
			r.value(depth)
			if r.err != nil {
				return
			}
			n++
			if !r.next(',', ']') {
				break
			}
		}
	}
	r.d.parts[at].value, r.d.parts[at].next = n, uint32(len(r.d.parts))
}

// string finds the end of a string. It is a part of the text as it stands
// unless it has escapes or is not UTF-8.
func (r *reader) string() {
	r.i++
	start := r.i
	escaped := false
	for r.i < len(r.s) {
		switch c := r.s[r.i]; {
		case c == '"':
			r.add(part{kind: String, escaped: escaped, start: uint32(start), end: uint32(r.i)})
			r.i++
			return
		case c == '\\':
			escaped = true
			n := escape(r.s[r.i:])
			if n == 0 {
				r.fail(errJSON)
				return
			}
			r.i += n
		case c < 0x20:
			r.fail(errJSON)
			return
		case c >= utf8.RuneSelf:
			u, n := utf8.DecodeRuneInString(r.s[r.i:])
			if u == utf8.RuneError && n == 1 {
				escaped = true
			}
			r.i += n
		default:
			r.i++
		}
	}
	r.fail(errJSON)
}

// escape returns how long the escape is that a text begins with; 0 if it is
// none.
func escape(s string) int {
	if len(s) < 2 {
		return 0
	}
	switch s[1] {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return 2
	case 'u':
		if _, ok := hex4(s[2:]); ok {
			return 6
		}
	}
	return 0
}

// plainText returns what the inside of a string says, whose escapes are known
// to be right.
func plainText(s string) string {
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
		switch c = s[i-1]; c {
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
			r, _ := hex4(s[i:])
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
			out = append(out, c)
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

// digits takes digits and tells whether there were any.
func (r *reader) digits() bool {
	from := r.i
	for r.i < len(r.s) && r.s[r.i] >= '0' && r.s[r.i] <= '9' {
		r.i++
	}
	return r.i > from
}

func (r *reader) number() {
	start := r.i
	if r.i < len(r.s) && r.s[r.i] == '-' {
		r.i++
	}
	first := r.i
	if !r.digits() || r.s[first] == '0' && r.i > first+1 {
		r.fail(errJSON)
		return
	}
	whole := true
	if r.i < len(r.s) && r.s[r.i] == '.' {
		whole = false
		r.i++
		if !r.digits() {
			r.fail(errJSON)
			return
		}
	}
	if r.i < len(r.s) && (r.s[r.i] == 'e' || r.s[r.i] == 'E') {
		whole = false
		r.i++
		if r.i < len(r.s) && (r.s[r.i] == '+' || r.s[r.i] == '-') {
			r.i++
		}
		if !r.digits() {
			r.fail(errJSON)
			return
		}
	}
	kind := Float
	if whole && r.fits(start) {
		kind = Int
	}
	r.add(part{kind: kind, whole: whole, start: uint32(start), end: uint32(r.i)})
}

// fits tells whether an integer is one of 64 bits.
func (r *reader) fits(start int) bool {
	if r.i-start < 19 {
		return true
	}
	_, err := strconv.ParseInt(r.s[start:r.i], 10, 64)
	return err == nil
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
	point := strings.IndexByte(digits, '.')
	if point < 0 || len(digits) > 16 || strings.HasPrefix(digits, "0.000") || strings.IndexByte(digits, 'e') >= 0 || strings.IndexByte(digits, 'E') >= 0 {
		return false
	}
	fraction := digits[point+1:]
	return fraction == "0" || !strings.HasSuffix(fraction, "0")
}
