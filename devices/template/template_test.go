package template

import (
	"bufio"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// A reference is a template, what it was given, and what Python's Jinja 3.1.6
// with Home Assistant's filters makes of it. ok false: it raises.
type reference struct {
	Template, Payload, Want string
	OK                      bool
	Named                   map[string]any
}

func references(t testing.TB) []reference {
	usual, err := os.ReadFile("testdata/payload.json")
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open("testdata/cases.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var out []reference
	for s := bufio.NewScanner(f); s.Scan(); {
		var r reference
		if err := json.Unmarshal(s.Bytes(), &r); err != nil {
			t.Fatal(err)
		}
		if r.Payload == "P" {
			r.Payload = strings.TrimSpace(string(usual))
		}
		out = append(out, r)
	}
	return out
}

func (r reference) render() (string, error) {
	t, err := Compile(r.Template)
	if err != nil {
		return "", err
	}
	return t.Render(r.input())
}

func (r reference) input() *Input {
	in := &Input{Value: FromString(r.Payload), Named: map[string]Value{}}
	in.JSON = read(r.Payload)
	for k, v := range r.Named {
		if f, ok := v.(float64); ok {
			in.Named[k] = FromNumber(f)
		}
	}
	return in
}

// TestReferences compares with Python.
func TestReferences(t *testing.T) {
	for _, r := range references(t) {
		got, err := r.render()
		switch {
		case r.OK && err != nil:
			t.Errorf("%s\non %.60s: %v, want %q", r.Template, r.Payload, err, r.Want)
		case !r.OK && err == nil:
			t.Errorf("%s\non %.60s: %q, want an error", r.Template, r.Payload, got)
		case r.OK && got != r.Want:
			t.Errorf("%s\non %.60s:\n got %q\nwant %q", r.Template, r.Payload, got, r.Want)
		}
	}
}

// TestPlainPath holds the fast way to the general one.
func TestPlainPath(t *testing.T) {
	for _, r := range references(t) {
		fast, err := Compile(r.Template)
		if err != nil || fast.kind != plain && fast.kind != whole {
			continue
		}
		slow, err := compile(r.Template)
		if err != nil {
			t.Errorf("%s: %v", r.Template, err)
			continue
		}
		a, errA := fast.Render(r.input())
		b, errB := slow.Render(r.input())
		if a != b || (errA == nil) != (errB == nil) {
			t.Errorf("%s: %q %v fast, %q %v slow", r.Template, a, errA, b, errB)
		}
	}
}

// TestPlainPathMemory: the usual path makes nothing that is thrown away.
func TestPlainPathMemory(t *testing.T) {
	tpl, err := Compile(`{{ value_json["a"] }}`)
	if err != nil {
		t.Fatal(err)
	}
	for _, payload := range []string{`{"a":"ON"}`, `{"a":87.5}`, `{"a":true}`, `{"a":42}`, `{"a":4200}`, `{"b":1}`} {
		in := &Input{JSON: read(payload)}
		if n := testing.AllocsPerRun(100, func() { _, _ = tpl.Render(in) }); n != 0 {
			t.Errorf("%s takes %v allocations", payload, n)
		}
	}
}

// TestUnsupported: what is refused is named.
func TestUnsupported(t *testing.T) {
	for text, part := range map[string]string{
		"{{ states('light.x') }}":                                                  "states()",
		"{{ relative_time(value) }}":                                               "relative_time()",
		"{{ value|frobnicate }}":                                                   "|frobnicate",
		"{% macro x() %}":                                                          "endmacro",
		"{% macro x() %}{{ x() }}{% endmacro %}":                                   "x()",
		"{% macro x(a) %}{% endmacro %}{{ x(1, 2) }}":                              "1 arguments",
		"{% macro x(a) %}{% endmacro %}{{ x(b=2) }}":                               `"b"`,
		"{% for i in value %}{% macro x() %}{% break %}{% endmacro %}{% endfor %}": "outside a loop",
		"{% include 'x' %}":                                                        "include",
		"{% filter nope %}{% endfilter %}":                                         "|nope",
		"{{ value.__class__() }}":                                                  "__class__",
		"{{ value is strange }}":                                                   "strange",
		"{{ value":                                                                 "does not end",
		"{% if value %}":                                                           "endif",
		"{% endif %}":                                                              "did not begin",
		"{{ 1 + }}":                                                                "end of the tag",
		"{{ (1 }}":                                                                 "unexpected",
		"{{ 'x }}":                                                                 "does not end",
		"{% for x in y %}{{ x }}":                                                  "endfor",
		"{% break %}":                                                              "outside a loop",
		"{{ " + strings.Repeat("(", 100) + "1" + strings.Repeat(")", 100) + " }}": "nested",
		"{{ 1 }}" + strings.Repeat(" ", MaxSource):                                "longer",
	} {
		if _, err := Compile(text); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%.60s: %v, want %q in it", text, err, part)
		}
	}
}

// macros defines each name but the first as a macro that calls the one before
// it many times.
func macros(names ...string) string {
	var b strings.Builder
	for i, n := range names[1:] {
		b.WriteString("{% macro " + n + "() %}" + strings.Repeat("{{ "+names[i]+"() }}", 20) + "{% endmacro %}")
	}
	return b.String()
}

// TestBounds: what a hostile template may use up is bounded.
func TestBounds(t *testing.T) {
	big := strings.Repeat("x", 60<<10)
	for _, text := range []string{
		"{% for i in range(1000) %}{% for j in range(1000) %}{{ j }}{% endfor %}{% endfor %}",
		"{{ range(1000000) }}",
		"{{ 'x' * 1000000000 }}",
		"{{ [1] * 1000000000 }}",
		"{% set ns = namespace(a='x') %}{% for i in range(100) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
		"{% set ns = namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a = ns.a + ns.a %}{% endfor %}",
		"{% set ns = namespace(a=[1]) %}{% for i in range(100) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a }}",
		"{% set ns = namespace(a=[1], b=[1]) %}{% for i in range(30) %}{% set ns.a = [ns.a, ns.a] %}{% set ns.b = [ns.b, ns.b] %}{% endfor %}{{ ns.a == ns.b }}",
		"{% set ns = namespace(a=[1]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|to_json }}",
		"{% for i in range(4000) %}{{ value|lower|length }}{% endfor %}",
		"{% for i in range(4000) %}{{ 'y' in value }}{% endfor %}",
		"{% for i in range(4000) %}{{ value|regex_findall('x*y') }}{% endfor %}",
		"{{ '%100000d'|format(1) }}",
		"{{ 9223372036854775807 + 1 }}",
		"{{ value|replace('x', 'xxxxxxxx') }}",
		"{{ 10 ** 400 }}",
		"{% for i in range(9) %}{{ value }}{% endfor %}",
		"{% macro a() %}{{ 1 }}{% endmacro %}" + macros("a", "b", "c", "d", "e", "f") + "{{ f() }}",
		"{% macro a(x) %}{{ x }}{{ x }}{% endmacro %}{{ a(a(a(a(value)))) }}",
		"{% set ns = namespace(a=[[1]]) %}{% for i in range(40) %}{% set ns.a = [ns.a, ns.a] %}{% endfor %}{{ ns.a|flatten|length }}",
		"{{ [1]|batch(1000000, 0)|list }}",
		"{{ 'x'.center(1000000) }}",
		"{% for i in range(100) %}{{ ([value] * 100)|unique|list|length }}{% endfor %}",
		"{% for i in range(100) %}{{ ([value] * 100)|union([value])|length }}{% endfor %}",
		"{% set d = dict([(value, 1)]) %}{% for i in range(1000) %}{{ dict(d)|length }}{{ combine(d, d)|length }}{% endfor %}",
	} {
		tpl, err := Compile(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := tpl.Render(&Input{Value: FromString(big)}); err == nil {
			t.Errorf("%s gave %d bytes, want an error", text, len(got))
		}
	}
}

func TestDecode(t *testing.T) {
	for text, want := range map[string]string{
		` {"b":1, "a":[true,null,-1.50,1E2]} `: `{"b":1,"a":[true,null,-1.5,100.0]}`,
		`{"a":1,"b":2,"a":3}`:                  `{"a":3,"b":2}`,
		`"\u00e9\ud83d\ude00\n\/"`:             `"é😀\n/"`,
		`12345678901234567890`:                 `12345678901234567890`,
		`"\ud800"`:                             "\"\ufffd\"",
		`[]`:                                   `[]`, `{}`: `{}`, `0`: `0`, `-0`: `0`,
	} {
		v, err := Decode(text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		got, err := v.AppendJSON(nil, false)
		if err != nil || string(got) != want {
			t.Errorf("%s: %s %v, want %s", text, got, err, want)
		}
	}
	for _, text := range []string{"", " ", "{", "[1,]", `{"a"}`, `{"a":}`, "01", "1.", ".5", "+1", "nul", "NaN", `"\x"`, `"` + "\n" + `"`, "1 2", `{a:1}`, "'a'", `"\u12"`, strings.Repeat("[", 40) + strings.Repeat("]", 40)} {
		if v, err := Decode(text); err == nil {
			t.Errorf("%s: %s, want an error", text, v.Text())
		}
	}
}

// read returns a payload as templates get it.
func read(text string) Node {
	d := &Document{}
	d.Read(text)
	return d.Root()
}

// FuzzDecode holds the decoder to encoding/json: both take the same texts and
// find the same values in the same order. Who looks around in the document
// sees what is in the values, also when it has read another text before.
func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,2.5,"x\u00e9",null,true]}`, `[[],{}]`, `"\ud83d\ude00"`, `1e400`, `{"a":1,"b":2,"a":3}`, `[-0,-0.0,1.50,12345678901234567890,-9223372036854775808]`,
		`{"\u0061":1,"a":{"x":2},"":[],"ÿ":0}`, wide(indexFrom - 1), wide(indexFrom), wide(3 * indexFrom), `"\ud800\u0041\"`} {
		f.Add(s)
	}
	used := &Document{}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Decode(s)
		valid := json.Valid([]byte(s))
		if err == nil && !valid {
			t.Fatalf("%q decoded, but is no JSON", s)
		}
		if err == errJSON && valid {
			t.Fatalf("%q is JSON", s)
		}
		if errRead := used.Read(s); errRead != err {
			t.Fatalf("%q is decoded with %v and read with %v", s, err, errRead)
		}
		if err != nil {
			if used.Root().Kind() != Undefined {
				t.Fatalf("%q is not read, but there is something", s)
			}
			return
		}
		d := json.NewDecoder(strings.NewReader(s))
		d.UseNumber()
		var plain any
		if err := d.Decode(&plain); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if !isPlain(v, plain) {
			t.Fatalf("%.300q decodes as %.300s, want %.300v", s, v.Text(), plain)
		}
		if !isNode(used.Root(), v) {
			t.Fatalf("%.300q reads as %.300s, want %.300s", s, used.Root().Text(), v.Text())
		}
		d = json.NewDecoder(strings.NewReader(s))
		if keys := firstKeys(d); !slices.Equal(keys, allKeys(v, nil)) && !repeats(s) {
			t.Fatalf("%q has keys %q, want %q", s, allKeys(v, nil), keys)
		}
		text, err := v.AppendJSON(nil, true)
		if err != nil || strings.Contains(string(text), "inf") {
			return // numbers beyond JSON
		}
		again, err := Decode(string(text))
		if err != nil {
			t.Fatalf("%q became %q: %v", s, text, err)
		}
		if second, _ := again.AppendJSON(nil, true); string(second) != string(text) {
			t.Fatalf("%q became %q and then %q", s, text, second)
		}
	})
}

// wide makes an object of n keys, one of which comes twice.
func wide(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `,"k%d":%d`, i, i)
	}
	return `{"k1":"first"` + b.String() + "}"
}

// isPlain tells whether a value is what encoding/json has found.
func isPlain(v Value, plain any) bool {
	switch x := plain.(type) {
	case nil:
		return v.Kind() == None
	case bool:
		got, ok := v.Bool()
		return ok && got == x
	case string:
		got, ok := v.Str()
		return ok && got == x
	case json.Number:
		got, ok := v.Number()
		want, _ := strconv.ParseFloat(string(x), 64)
		whole := !strings.ContainsAny(string(x), ".eE")
		i, err := strconv.ParseInt(string(x), 10, 64)
		if whole && err == nil {
			return v.Kind() == Int && int64(v.bits) == i && v.Text() == strconv.FormatInt(i, 10)
		}
		// What was kept of its text prints as if it had been counted with.
		same := whole || v.Text() == FromFloat(want).Text()
		return ok && v.Kind() == Float && got == want && same
	case []any:
		items := v.Items()
		return v.Kind() == List && len(items) == len(x) && !slices.ContainsFunc(x, func(e any) bool {
			at := items[0]
			items = items[1:]
			return !isPlain(at, e)
		})
	case map[string]any:
		if v.Kind() != Dict || v.Len() != len(x) {
			return false
		}
		for k, e := range x {
			if !isPlain(v.Key(k), e) {
				return false
			}
		}
		return true
	}
	return false
}

// isNode tells whether a node shows what is in a value.
func isNode(n Node, v Value) bool {
	text, isText := n.Str()
	wantText, wantIsText := v.Str()
	number, isNumber := n.Number()
	wantNumber, wantIsNumber := v.Number()
	on, isBool := n.Bool()
	wantOn, wantIsBool := v.Bool()
	if n.Kind() != v.Kind() || n.Len() != v.Len() || n.Scalar() != v.Scalar() || n.Text() != v.Text() || n.Value().Text() != v.Text() ||
		text != wantText || isText != wantIsText || number != wantNumber || isNumber != wantIsNumber || isBool != wantIsBool || isBool && on != wantOn ||
		len(n.Items()) != len(v.Items()) || n.Key("no such key").Kind() != v.Key("no such key").Kind() {
		return false
	}
	for i, item := range n.Items() {
		if !isNode(item, v.Items()[i]) {
			return false
		}
	}
	same := true
	v.Pairs(func(k string, e Value) { same = same && isNode(n.Key(k), e) })
	return same
}

// firstKeys returns all keys in their order, and allKeys those of a value.
func firstKeys(d *json.Decoder) (keys []string) {
	var within func()
	within = func() {
		t, _ := d.Token()
		switch t {
		case json.Delim('{'):
			for d.More() {
				k, _ := d.Token()
				keys = append(keys, k.(string))
				within()
			}
			_, _ = d.Token()
		case json.Delim('['):
			for d.More() {
				within()
			}
			_, _ = d.Token()
		}
	}
	d.UseNumber()
	within()
	return keys
}

func allKeys(v Value, keys []string) []string {
	for _, item := range v.Items() {
		keys = allKeys(item, keys)
	}
	v.Pairs(func(k string, e Value) { keys = allKeys(e, append(keys, k)) })
	return keys
}

// repeats tells whether an object somewhere has a key twice.
func repeats(s string) bool {
	v, _ := Decode(s)
	return len(firstKeys(json.NewDecoder(strings.NewReader(s)))) != len(allKeys(v, nil))
}

// FuzzRender: no template on no payload panics, runs long or gives more than
// the bound.
func FuzzRender(f *testing.F) {
	for _, r := range references(f) {
		f.Add(r.Template, r.Payload)
	}
	f.Fuzz(func(t *testing.T, text, payload string) {
		tpl, err := Compile(text)
		if err != nil {
			return
		}
		in := &Input{Value: FromString(payload), Named: map[string]Value{"position": FromInt(5)}}
		in.JSON = read(payload)
		got, err := tpl.Render(in)
		if err == nil && len(got) > maxOutput+len(payload) {
			t.Fatalf("%d bytes", len(got))
		}
		if err == nil && utf8.ValidString(text) && utf8.ValidString(payload) && !utf8.ValidString(got) {
			t.Fatalf("%q on %q is no text: %q", text, payload, got)
		}
	})
}

func BenchmarkPlainPath(b *testing.B) {
	tpl, err := Compile(`{{ value_json["battery"] }}`)
	if err != nil {
		b.Fatal(err)
	}
	in := &Input{JSON: read(`{"linkquality":96,"battery":87.5,"state":"ON"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}

// TestNumbersPrint: a number that is printed as it came is what it is printed
// as when it has been counted with.
func TestNumbersPrint(t *testing.T) {
	for _, text := range []string{"87.5", "21.50", "0.5", "-0.5", "-0.0", "0.0", "0.10", "5.0", "5.00", "0.001", "0.0001", "0.00012", "0.00001",
		"1e3", "1.5E3", "1.5e-7", "123456789012345.6", "12345678901234.5", "1234567890123456.7", "0.30000000000000004", "0.1234567890123456", "99999999999999.9", "3.14159265358979", "2.675"} {
		v, err := Decode(text)
		if err != nil {
			t.Fatal(text, err)
		}
		if got, want := v.Text(), FromFloat(v.float()).Text(); got != want {
			t.Errorf("%s prints as %s, want %s", text, got, want)
		}
	}
	for i := range 20000 {
		text := strconv.FormatFloat(float64(i*i*7919)/math.Pow10(i%17), 'f', i%17, 64)
		if v, err := Decode(text); err != nil || v.kind == Float && v.Text() != FromFloat(v.float()).Text() {
			t.Fatalf("%s prints as %s %v", text, v.Text(), err)
		}
	}
}

func BenchmarkCondition(b *testing.B) {
	tpl, err := Compile(`{% if value_json.state == 'ON' and value_json.power|float > 5 %}busy{% else %}idle{% endif %}`)
	if err != nil {
		b.Fatal(err)
	}
	in := &Input{JSON: read(`{"power":"41.5","state":"ON"}`)}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tpl.Render(in); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecode(b *testing.B) {
	const text = `{"battery":87,"linkquality":96,"state":"ON","brightness":254,"color":{"x":0.3,"y":0.4},"update":{"state":"idle","installed_version":1,"latest_version":2}}`
	b.ReportAllocs()
	for b.Loop() {
		if _, err := Decode(text); err != nil {
			b.Fatal(err)
		}
	}
}

// TestOf: what is made of Go's values is what their JSON decodes as.
func TestOf(t *testing.T) {
	for _, v := range []any{nil, true, 7, -3.0, 1.5, 1e21, 1e16, math.Copysign(0, -1), "é", "\xff\xfe", []string{"a", "b"}, []any{1, nil, []any{}},
		map[string]any{"b": 1, "a": map[string]any{"x": []string(nil)}, "\xff": 2}, map[string]int{"k": 1}, struct{ A, B int }{1, 2}} {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		want, err := Decode(string(text))
		if err != nil {
			t.Fatal(err)
		}
		got, err := Of(v)
		if err != nil || got.Text() != want.Text() || got.Kind() != want.Kind() {
			t.Errorf("Of(%v) is %s, %v; want %s", v, got.Text(), err, want.Text())
		}
	}
	if v, err := Of(map[string]any{"a": math.NaN()}); err == nil {
		t.Errorf("NaN is %s", v.Text())
	}
}
