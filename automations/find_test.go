package automations

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
	"testing"
)

// FuzzFind holds that what is read past is understood as if all of it had been
// decoded.
func FuzzFind(f *testing.F) {
	for _, payload := range []string{
		`{"a":{"b":[10,{"c":"x"}]}}`, ` { "a" : [ 1 , "2,]" , { } ] , "a" : [ -1.50e3 , true ] } `, `{"\u0061":"\"\\","b":"ü","":{"":null}}`,
		`[[],[[]],{"a":1}]`, `"a"`, `12`, `{}`, `[]`, `{"a":1} {"a":2}`, `{"a"`, "{\"a\":\"\xff\"}", `{"a":{"x":1},"a":{"y":2}}`, `{"ü":1,"a b":{"0":false}}`,
	} {
		for _, path := range []string{"a", "a.b.1.c", "a.0", "a.1", "b", ".", "1.0", "2.a", "a.x", "ü", "a b.0", "a.-1", "a.+1"} {
			f.Add([]byte(payload), path)
		}
	}
	f.Fuzz(func(t *testing.T, payload []byte, path string) {
		got, gotOK := payloadParts(payload, []string{path})[path]
		want, wantOK := decoded(payload, path)
		if got != want || gotOK != wantOK {
			t.Errorf("%q of %q is %q, %v; decoded it is %q, %v", path, payload, got, gotOK, want, wantOK)
		}
	})
}

// decoded is the plain way to find a place.
func decoded(payload []byte, path string) (text string, ok bool) {
	d := json.NewDecoder(bytes.NewReader(payload))
	d.UseNumber()
	var at any
	if !json.Valid(payload) || d.Decode(&at) != nil {
		return "", false
	}
	for more := true; more; {
		var name string
		name, path, more = strings.Cut(path, ".")
		switch v := at.(type) {
		case map[string]any:
			if at, ok = v[name]; !ok {
				return "", false
			}
		case []any:
			i, err := strconv.Atoi(name)
			if err != nil || i < 0 || i >= len(v) {
				return "", false
			}
			at = v[i]
		default:
			return "", false
		}
	}
	switch v := at.(type) {
	case nil:
		return "", false
	case string:
		return v, true
	}
	b, err := json.Marshal(at)
	return string(b), err == nil
}
