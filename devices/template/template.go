// Package template evaluates the templates of discovery messages: the part of
// Jinja that devices use, with Python's way of printing values.
//
// [Compile] a text once and [Template.Render] it for each message. A template
// comes from whoever may publish to the discovery prefix, so it has no way to
// anything but its input, and is bounded in steps, depth and output. One that
// needs more than the subset has is refused by Compile, with an error that
// names what is missing.
package template

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Bounds of a template and of one evaluation.
const (
	// MaxSource is the longest template, in bytes.
	MaxSource = 16 << 10
	// maxOutput is the longest text and the longest result, in bytes.
	maxOutput = 64 << 10
	// maxSteps is how much an evaluation may do: loop iterations, calls, and
	// elements and texts that it makes.
	maxSteps = 10_000
	// maxItems is the longest list an evaluation may make.
	maxItems = 4_096
)

// A Template is a compiled text. It may be used by several goroutines at once.
type Template struct {
	path []string // of a plain path: keys under value_json
	kind form
	text string // of a static template

	body  []node
	slots []slot // inputs by name
	size  int    // number of slots
	json  bool
	clock func() time.Time

	patterns patternCache
}

// A form says how much machinery a template needs.
type form uint8

const (
	static form = iota // no tags at all
	plain              // {{ value_json.a["b"] }}: most by far
	whole              // {{ value }}
	full               // anything else
)

// A slot is the place of a named input.
type slot struct {
	name  string
	place int
}

// An Input is what a template is evaluated on.
type Input struct {
	Value Value            // the name value: the payload as text, or a command's argument
	JSON  Node             // the name value_json: Undefined when the payload is no JSON
	Named map[string]Value // others, for commands
}

func (in *Input) lookup(name string) Value {
	switch name {
	case "value":
		return in.Value
	case "value_json":
		return in.JSON.whole()
	}
	return in.Named[name]
}

// NeedsJSON tells whether Input.JSON matters.
func (t *Template) NeedsJSON() bool { return t.json }

var errUndefined = errors.New("undefined value")

// CompileWith is Compile for templates that may ask for the time. clock tells
// it, in the home's zone; it is called from any goroutine.
func CompileWith(clock func() time.Time, text string) (*Template, error) {
	t, err := Compile(text)
	if err == nil {
		t.clock = clock
	}
	return t, err
}

// Compile reads a template. One that asks for the time fails when it is
// rendered.
func Compile(text string) (*Template, error) {
	if len(text) > MaxSource {
		return nil, fmt.Errorf("template is longer than %d bytes", MaxSource)
	}
	if !strings.Contains(text, "{{") && !strings.Contains(text, "{%") && !strings.Contains(text, "{#") {
		return &Template{kind: static, text: strings.TrimSpace(text)}, nil
	}
	if path, isJSON, ok := plainPath(text); ok {
		if !isJSON {
			return &Template{kind: whole}, nil
		}
		return &Template{kind: plain, path: path, json: true}, nil
	}
	return compile(text)
}

// Render evaluates the template. White space around the result is taken off,
// as block templates leave much of it.
func (t *Template) Render(in *Input) (string, error) {
	switch t.kind {
	case static:
		return t.text, nil
	case whole:
		return strings.TrimSpace(in.Value.Text()), nil
	case plain:
		n := in.JSON
		for _, key := range t.path {
			if n.Kind() == Undefined {
				return "", errUndefined
			}
			n = n.Key(key)
		}
		return strings.TrimSpace(n.Text()), nil
	}
	return t.run(in)
}

// subscript is v[key] where a missing key is Undefined and not an error.
func subscript(v, key Value) Value {
	switch v.kind {
	case Dict:
		if i := v.box.findValue(key); i >= 0 {
			return v.box.items[i]
		}
	case List, Tuple:
		if i, ok := place(key, len(v.box.items)); ok {
			return v.box.items[i]
		}
	case String:
		if key.kind == Int || key.kind == Bool {
			runes := []rune(v.text)
			if i, ok := place(key, len(runes)); ok {
				return FromString(string(runes[i]))
			}
		}
	case namespace:
		if key.kind == String {
			return v.Key(key.text)
		}
	case moment, span:
		if key.kind == String {
			field, _ := timeField(v, key.text)
			return field
		}
	}
	return Value{}
}

// place turns an index, from the end if negative, into a place.
func place(key Value, n int) (int, bool) {
	if key.kind != Int && key.kind != Bool {
		return 0, false
	}
	i := int64(key.bits)
	if i < 0 {
		i += int64(n)
	}
	return int(i), i >= 0 && i < int64(n)
}

// plainPath recognises a template that is one path under value_json, or value
// itself, and nothing around it.
func plainPath(text string) (path []string, isJSON, ok bool) {
	s := strings.TrimSpace(text)
	if !strings.HasPrefix(s, "{{") || !strings.HasSuffix(s, "}}") || len(s) < 5 {
		return nil, false, false
	}
	s = strings.TrimSpace(strings.Trim(s[2:len(s)-2], "-"))
	if s == "value" {
		return nil, false, true
	}
	s, ok = strings.CutPrefix(s, "value_json")
	if !ok {
		return nil, false, false
	}
	for s != "" {
		switch s[0] {
		case '.':
			n := 1
			for n < len(s) && isNameByte(s[n]) {
				n++
			}
			if n == 1 || s[1] <= '9' || dictMethods[s[1:n]] {
				return nil, false, false
			}
			path = append(path, s[1:n])
			s = s[n:]
		case '[':
			end := strings.IndexByte(s, ']')
			if end < 3 {
				return nil, false, false
			}
			q := s[1]
			if q != '\'' && q != '"' || s[end-1] != q {
				return nil, false, false
			}
			key := s[2 : end-1]
			if strings.ContainsAny(key, "\\'\"") {
				return nil, false, false
			}
			path = append(path, key)
			s = s[end+1:]
		default:
			return nil, false, false
		}
	}
	return path, true, true
}

// dictMethods are names that mean something else than a key after a dot.
var dictMethods = map[string]bool{"get": true, "keys": true, "values": true, "items": true, "copy": true, "pop": true, "update": true, "clear": true, "setdefault": true, "popitem": true}

func isNameByte(c byte) bool {
	return c == '_' || c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
}
