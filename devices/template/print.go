package template

import (
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

var errLong = errors.New("more than 64 KiB of text")

// A printer writes values as Python or as JSON. It stops at the bounds: what
// a template builds can share parts and so be huge when written out.
type printer struct {
	buf   []byte
	limit int // of len(buf)
	err   error
}

func (p *printer) full(depth int) bool {
	if p.err == nil && (len(p.buf) > p.limit || depth > MaxDepth) {
		p.err = errLong
	}
	return p.err != nil
}

// repr writes v as Python's repr().
func (p *printer) repr(v Value, depth int) {
	if p.full(depth) {
		return
	}
	switch v.kind {
	case String:
		p.quote(v.text)
	case List, Tuple:
		open, end := byte('['), byte(']')
		if v.kind == Tuple {
			open, end = '(', ')'
		}
		p.buf = append(p.buf, open)
		for i, item := range v.box.items {
			if i > 0 {
				p.buf = append(p.buf, ", "...)
			}
			p.repr(item, depth+1)
		}
		if v.kind == Tuple && len(v.box.items) == 1 {
			p.buf = append(p.buf, ',')
		}
		p.buf = append(p.buf, end)
	case Dict:
		p.buf = append(p.buf, '{')
		for i, key := range v.box.keys {
			if i > 0 {
				p.buf = append(p.buf, ", "...)
			}
			p.repr(key, depth+1)
			p.buf = append(p.buf, ": "...)
			p.repr(v.box.items[i], depth+1)
		}
		p.buf = append(p.buf, '}')
	case namespace:
		p.buf = append(p.buf, "<Namespace>"...)
	case Undefined:
		p.buf = append(p.buf, "Undefined"...)
	default:
		p.buf = append(p.buf, v.Text()...)
	}
}

// quote writes a text as Python's repr() does.
func (p *printer) quote(s string) {
	q := byte('\'')
	if strings.ContainsRune(s, '\'') && !strings.ContainsRune(s, '"') {
		q = '"'
	}
	p.buf = append(p.buf, q)
	for _, r := range s {
		switch {
		case r == rune(q) || r == '\\':
			p.buf = append(p.buf, '\\', byte(r))
		case r == '\n':
			p.buf = append(p.buf, `\n`...)
		case r == '\r':
			p.buf = append(p.buf, `\r`...)
		case r == '\t':
			p.buf = append(p.buf, `\t`...)
		case r < 0x20 || r == 0x7f:
			p.buf = append(p.buf, `\x`...)
			p.buf = append(p.buf, hexDigits[r>>4], hexDigits[r&15])
		case r > 0x7f && !unicode.IsPrint(r):
			p.buf = append(p.buf, strings.ToLower(strings.Trim(strconv.QuoteRuneToASCII(r), "'"))...)
		default:
			p.buf = utf8.AppendRune(p.buf, r)
		}
	}
	p.buf = append(p.buf, q)
}

const hexDigits = "0123456789abcdef"

// A jsonStyle says how JSON is written: to_json is compact and leaves letters
// as they are; tojson sorts keys, puts spaces, and escapes for HTML.
type jsonStyle struct {
	comma, colon string
	sorted, html bool
	ascii        bool
}

var (
	compactJSON = jsonStyle{comma: ",", colon: ":"}
	jinjaJSON   = jsonStyle{comma: ", ", colon: ": ", sorted: true, html: true, ascii: true}
)

// AppendJSON writes a decoded value as compact JSON, canonical if sortKeys is
// set: equal values then give equal bytes.
func (v Value) AppendJSON(dst []byte, sortKeys bool) ([]byte, error) {
	style := compactJSON
	style.sorted = sortKeys
	p := printer{buf: dst, limit: math.MaxInt}
	p.json(v, style, 0)
	return p.buf, p.err
}

func (p *printer) json(v Value, style jsonStyle, depth int) {
	if p.full(depth) {
		return
	}
	switch v.kind {
	case None:
		p.buf = append(p.buf, "null"...)
	case Bool:
		p.buf = strconv.AppendBool(p.buf, v.bits != 0)
	case Int:
		p.buf = strconv.AppendInt(p.buf, int64(v.bits), 10)
	case Float:
		p.buf = append(p.buf, floatText(v)...)
	case String:
		p.jsonString(v.text, style)
	case List, Tuple:
		p.buf = append(p.buf, '[')
		for i, item := range v.box.items {
			if i > 0 {
				p.buf = append(p.buf, style.comma...)
			}
			p.json(item, style, depth+1)
		}
		p.buf = append(p.buf, ']')
	case Dict:
		p.buf = append(p.buf, '{')
		for n, i := range v.box.order(style.sorted) {
			if n > 0 {
				p.buf = append(p.buf, style.comma...)
			}
			key := v.box.keys[i]
			switch key.kind {
			case String:
				p.jsonString(key.text, style)
			case None:
				p.buf = append(p.buf, `"null"`...)
			case Bool:
				p.jsonString(strconv.FormatBool(key.bits != 0), style)
			default:
				p.jsonString(key.Text(), style)
			}
			p.buf = append(p.buf, style.colon...)
			p.json(v.box.items[i], style, depth+1)
		}
		p.buf = append(p.buf, '}')
	default:
		if p.err == nil {
			p.err = errors.New("no JSON for an undefined value")
		}
	}
}

// order returns the places of a dict's pairs, by key if sorted.
func (b *box) order(sorted bool) []int {
	places := make([]int, len(b.keys))
	for i := range places {
		places[i] = i
	}
	if sorted {
		slices.SortStableFunc(places, func(x, y int) int {
			return strings.Compare(b.keys[x].Text(), b.keys[y].Text())
		})
	}
	return places
}

func (p *printer) jsonString(s string, style jsonStyle) {
	p.buf = append(p.buf, '"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			p.buf = append(p.buf, '\\', byte(r))
		case r == '\n':
			p.buf = append(p.buf, `\n`...)
		case r == '\r':
			p.buf = append(p.buf, `\r`...)
		case r == '\t':
			p.buf = append(p.buf, `\t`...)
		case r == '\b':
			p.buf = append(p.buf, `\b`...)
		case r == '\f':
			p.buf = append(p.buf, `\f`...)
		case r < 0x20, style.html && strings.ContainsRune(`<>&'`, r), style.ascii && r >= 0x7f && r < 0x10000:
			p.unicode(r)
		case style.ascii && r >= 0x10000:
			r -= 0x10000
			p.unicode(0xd800 + r>>10)
			p.unicode(0xdc00 + r&0x3ff)
		default:
			p.buf = utf8.AppendRune(p.buf, r)
		}
	}
	p.buf = append(p.buf, '"')
}

func (p *printer) unicode(r rune) {
	p.buf = append(p.buf, '\\', 'u', hexDigits[r>>12&15], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}
