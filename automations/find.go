package automations

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// payloadParts looks up places in a payload, if it is JSON.
func payloadParts(payload []byte, paths []string) parts {
	if len(paths) == 0 || len(payload) > MaxJSON || !json.Valid(payload) {
		return nil
	}
	found := parts{}
	for _, path := range paths {
		if value := find(payload, path); value != nil {
			if text, ok := textAt(value); ok {
				found[path] = text
			}
		}
	}
	return found
}

// find returns the value at a place in valid JSON, nil if it has none. It
// reads past what it is not asked for, and makes nothing of it.
func find(b []byte, path string) []byte {
	b = b[space(b, 0):]
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		switch b[0] {
		case '{':
			b = member(b, name)
		case '[':
			b = element(b, name)
		default:
			return nil
		}
		if b == nil {
			return nil
		}
	}
	return b[:skip(b, 0)]
}

// member returns an object from the value of a name on. Of several of one name
// the last counts.
func member(b []byte, name string) (value []byte) {
	for i := space(b, 1); b[i] != '}'; {
		end := skip(b, i)
		is := isText(b[i:end], name)
		i = space(b, space(b, end)+1) // after the colon
		if is {
			value = b[i:]
		}
		if i = space(b, skip(b, i)); b[i] == ',' {
			i = space(b, i+1)
		}
	}
	return value
}

// element returns an array from the value at a position on.
func element(b []byte, position string) []byte {
	n, err := strconv.Atoi(position)
	if err != nil || n < 0 {
		return nil
	}
	for i := space(b, 1); b[i] != ']'; n-- {
		if n == 0 {
			return b[i:]
		}
		if i = space(b, skip(b, i)); b[i] == ',' {
			i = space(b, i+1)
		}
	}
	return nil
}

// space returns where the white space from i on ends.
func space(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\n' || b[i] == '\t' || b[i] == '\r') {
		i++
	}
	return i
}

// skip returns where the value that begins at i ends.
func skip(b []byte, i int) int {
	depth := 0
	for ; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // of what it stands in
				return i
			}
			depth--
		case ',', ' ', '\n', '\t', '\r':
			if depth == 0 {
				return i
			}
			continue
		default: // a number or a word goes on, and so does what is within
			continue
		}
		if depth == 0 {
			return i + 1
		}
	}
	return i
}

// isText tells whether a JSON string says a name.
func isText(quoted []byte, name string) bool {
	if raw, ok := plainString(quoted); ok {
		return string(raw) == name
	}
	var s string
	return json.Unmarshal(quoted, &s) == nil && s == name
}

// plainString returns what stands in a JSON string, if it means itself.
func plainString(quoted []byte) (raw []byte, ok bool) {
	raw = quoted[1 : len(quoted)-1]
	for _, c := range raw {
		if c == '\\' || c >= 0x80 {
			return nil, false
		}
	}
	return raw, true
}

// textAt is what a value says as text; null says nothing.
func textAt(value []byte) (string, bool) {
	switch value[0] {
	case 'n':
		return "", false
	case '"':
		if raw, ok := plainString(value); ok {
			return string(raw), true
		}
		var s string
		err := json.Unmarshal(value, &s)
		return s, err == nil
	case '{', '[':
		d := json.NewDecoder(bytes.NewReader(value))
		d.UseNumber() // numbers stay as they were written
		var v any
		if d.Decode(&v) != nil {
			return "", false
		}
		b, err := json.Marshal(v)
		return string(b), err == nil
	}
	return string(value), true
}
