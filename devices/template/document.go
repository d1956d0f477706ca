package template

import (
	"math"
	"strconv"
)

// A Document is a JSON text in which one can look around without making values
// of all that is in it. Read may be called again and again: it needs little
// new memory. The zero Document has nothing in it.
type Document struct {
	text  string
	parts []part
	// places has where the keys of a large object are, by their texts.
	places map[uint32]map[string]uint32
	value  Value // of all; Undefined: not made yet
}

// A part is a value, or the key of one, of which it comes first: an object is
// followed by key, value, key, value. It has no pointers, so that there is
// nothing in a document for the collector of garbage to look at.
type part struct {
	kind       Kind
	escaped    bool // a String is not what stands in the text
	whole      bool // a number has neither point nor exponent
	again      bool // the key came before, where the value is found
	start, end uint32
	next       uint32 // what comes after it, all of its own left out
	value      uint32 // of a key: where its value is; else how many it has
}

// maxParts is how many parts a Document has memory for when it is Reset.
const maxParts = 4096

// Read takes a text in. After an error the document has nothing in it.
func (d *Document) Read(text string) error {
	d.Reset()
	if uint64(len(text)) > math.MaxUint32 {
		return errJSON
	}
	r := reader{d: d, s: text}
	d.text = text
	r.value(0)
	r.space()
	if r.err == nil && r.i != len(r.s) {
		r.err = errJSON
	}
	if r.err != nil {
		d.Reset()
	}
	return r.err
}

// Reset lets go of the text.
func (d *Document) Reset() {
	d.text, d.value, d.places = "", Value{}, nil
	if d.parts = d.parts[:0]; cap(d.parts) > maxParts {
		d.parts = nil
	}
}

// Root returns the value that the text is; Undefined if nothing was read.
func (d *Document) Root() Node {
	if len(d.parts) == 0 {
		return Node{}
	}
	return Node{d, 0}
}

// A Node is a value in a Document. It is good until that reads another text;
// the texts and Values it returns may be kept. The zero Node is Undefined.
type Node struct {
	d *Document
	i uint32
}

func (n Node) part() *part { return &n.d.parts[n.i] }

// Kind tells what n is.
func (n Node) Kind() Kind {
	if n.d == nil {
		return Undefined
	}
	return n.part().kind
}

// Scalar tells whether n is one value: neither missing, null, list nor dict.
func (n Node) Scalar() bool { return Value{kind: n.Kind()}.Scalar() }

// Len returns the number of elements of a List or Dict, else 0.
func (n Node) Len() int {
	if k := n.Kind(); k == List || k == Dict {
		return int(n.part().value)
	}
	return 0
}

// Key returns the value of a key of a Dict, else Undefined.
func (n Node) Key(key string) Node {
	if n.Kind() != Dict {
		return Node{}
	}
	if places := n.d.places[n.i]; places != nil {
		if at, ok := places[key]; ok {
			return Node{n.d, n.d.parts[at].value}
		}
		return Node{}
	}
	if at := n.d.find(n.i+1, n.part().next, key); at != 0 {
		return Node{n.d, n.d.parts[at].value}
	}
	return Node{}
}

// find returns which of the keys from one part to another is it; 0 if none.
func (d *Document) find(from, to uint32, key string) uint32 {
	for at := from; at < to; at = d.parts[at].next {
		p := &d.parts[at]
		if p.escaped {
			if d.string(p) == key {
				return at
			}
		} else if int(p.end-p.start) == len(key) && d.text[p.start:p.end] == key {
			return at
		}
	}
	return 0
}

// Items returns the elements of a List, else nil.
func (n Node) Items() []Node {
	if n.Kind() != List || n.Len() == 0 {
		return nil
	}
	items := make([]Node, 0, n.Len())
	for at, end := n.i+1, n.part().next; at < end; at = n.d.parts[at].next {
		items = append(items, Node{n.d, at})
	}
	return items
}

// Str returns the text of a String, and whether it is one.
func (n Node) Str() (string, bool) {
	if n.Kind() != String {
		return "", false
	}
	return n.d.string(n.part()), true
}

// Bool returns the value of a Bool, and whether it is one.
func (n Node) Bool() (value, ok bool) {
	if n.Kind() != Bool {
		return false, false
	}
	return n.d.text[n.part().start] == 't', true
}

// Number returns the value of an Int or Float, and whether it is one.
func (n Node) Number() (float64, bool) {
	switch n.Kind() {
	case Int:
		i, _ := strconv.ParseInt(n.source(), 10, 64)
		return float64(i), true
	case Float:
		f, _ := strconv.ParseFloat(n.source(), 64)
		return f, true
	}
	return 0, false
}

// source returns what stands in the text.
func (n Node) source() string {
	p := n.part()
	return n.d.text[p.start:p.end]
}

// Text returns n as Python's str() prints it, as that of its Value does.
func (n Node) Text() string {
	switch n.Kind() {
	case Undefined:
		return ""
	case String:
		return n.d.string(n.part())
	case Int:
		if text := n.source(); text != "-0" {
			return text
		}
	case Float:
		if text := n.source(); !n.part().whole && printsAsItIs(text) {
			return text
		}
	}
	return n.Value().Text()
}

// whole is Value, made once if n is all of the document.
func (n Node) whole() Value {
	if n.d == nil || n.i != 0 {
		return n.Value()
	}
	if n.d.value.kind == Undefined {
		n.d.value = n.Value()
	}
	return n.d.value
}

// Value returns the value with all that is in it.
func (n Node) Value() Value {
	if n.d == nil {
		return Value{}
	}
	d, p := n.d, n.part()
	switch p.kind {
	case String:
		return FromString(d.string(p))
	case Int, Float:
		return numberIn(d.text[p.start:p.end], p.whole)
	case Bool:
		return FromBool(d.text[p.start] == 't')
	case None:
		return none()
	case List:
		if p.value == 0 {
			return list(nil)
		}
		items := make([]Value, 0, p.value)
		for at := n.i + 1; at < p.next; at = d.parts[at].next {
			items = append(items, Node{d, at}.Value())
		}
		return list(items)
	}
	b := &box{}
	if p.value > 0 {
		block := make([]Value, 2*p.value)
		b.keys, b.items = block[:0:p.value], block[p.value:p.value]
	}
	if p.value >= indexFrom {
		b.index = make(map[string]int, p.value)
	}
	for at := n.i + 1; at < p.next; at = d.parts[at].next {
		k := &d.parts[at]
		if k.again {
			continue
		}
		key := d.string(k)
		if b.index != nil {
			b.index["s"+key] = len(b.keys)
		}
		b.keys, b.items = append(b.keys, FromString(key)), append(b.items, Node{d, k.value}.Value())
	}
	return dict(b)
}

// numberIn makes a number of its text.
func numberIn(text string, whole bool) Value {
	v := numberOf(text, whole)
	if v.kind == Int && text != "-0" { // which prints as 0
		v.text = text
	}
	return v
}

// AppendJSON writes n as that of its Value does.
func (n Node) AppendJSON(dst []byte, sorted bool) ([]byte, error) {
	return n.Value().AppendJSON(dst, sorted)
}

// string returns what a String says.
func (d *Document) string(p *part) string {
	s := d.text[p.start:p.end]
	if p.escaped {
		return plainText(s)
	}
	return s
}
