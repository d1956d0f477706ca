package automations

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"

	"lar.home/devices"
)

// Limits of the text of rules, see packaging/docs/rules.md.
const (
	MaxFile     = 4 << 20 // bytes of a file of rules
	maxNesting  = 32      // of lists and maps in a document
	maxProblems = 100     // said of one document
)

// A TextProblem is a [Problem] at its place in a text, counted from 1.
type TextProblem struct {
	Line, Column int
	Problem
}

// String returns "LINE:COLUMN: PATH: TEXT", as commands write it.
func (p TextProblem) String() string {
	s := strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column) + ": "
	if p.Path != "" {
		s += p.Path + ": "
	}
	if p.Warning {
		s += "warning: "
	}
	return s + p.Text
}

// A RuleText is a rule as it was read from YAML.
type RuleText struct {
	Rule     Rule // with its Text
	Line     int  // where its document begins
	Problems []TextProblem
}

// ParseYAML reads rules, one a document, and says what is wrong in each, by
// itself and without a house. Only rules without problems but warnings are
// whole.
func ParseYAML(data []byte) []RuleText {
	var rules []RuleText
	for _, d := range Documents(data) {
		r := RuleText{Line: d.Line, Rule: Rule{Enabled: true}}
		places, problems := d.Into(&r.Rule)
		r.Problems = problems
		if len(problems) == 0 {
			r.Rule.Text = string(d.Text)
			for _, p := range r.Rule.Validate(nil) {
				r.Problems = append(r.Problems, places.at(p))
			}
		}
		rules = append(rules, r)
	}
	return rules
}

// YAML returns the rule as text. It is the text a person wrote, as far as it
// says the same, with their comments: what was changed in another way since is
// changed in it.
func (r *Rule) YAML() string {
	var written *yaml.Node
	if r.Text != "" {
		said := Rule{Enabled: true}
		d := &Document{Text: []byte(r.Text), Line: 1}
		root, problem := d.node()
		if problem == nil {
			if _, problems := d.Into(&said); len(problems) == 0 {
				if said.sameAs(r) {
					return r.Text
				}
			}
			written = root
		}
	}
	said := *r
	said.Version, said.Saved, said.Text = 0, Saved{}, ""
	node := encodeNode(reflect.ValueOf(said))
	if said.Enabled {
		dropKey(node, "enabled")
	}
	if written != nil {
		node = mergeNode(written, node)
	}
	b, err := yaml.Dump(node, yaml.WithIndent(2), yaml.WithLineWidth(-1))
	if err != nil {
		return string(r.Encode()) // JSON is YAML
	}
	return string(b)
}

// sameAs tells whether two rules say the same, whoever saved them.
func (r Rule) sameAs(o *Rule) bool {
	b := *o
	r.Version, r.Saved, r.Text, r.Status = 0, Saved{}, "", Status{}
	b.Version, b.Saved, b.Text, b.Status = 0, Saved{}, "", Status{}
	if r.ID == "" || b.ID == "" { // a text need not name its ID
		r.ID, b.ID = "", ""
	}
	return string(r.Encode()) == string(b.Encode())
}

// A Document is one of the documents of a YAML text.
type Document struct {
	Text []byte
	Line int // where it begins, from 1
}

// Documents splits a text at its lines "---". Parts without content are left
// out.
func Documents(data []byte) []Document {
	var all []Document
	begin, line, first := 0, 1, 1
	add := func(end int) {
		text := data[begin:end]
		for l := range strings.Lines(string(text)) {
			if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
				all = append(all, Document{Text: text, Line: first})
				break
			}
		}
	}
	for at := 0; at < len(data); {
		end := at
		for end < len(data) && data[end] != '\n' {
			end++
		}
		text := strings.TrimRight(string(data[at:end]), " \t\r")
		line++
		next := min(end+1, len(data))
		if text == "---" || strings.HasPrefix(text, "--- #") {
			add(at)
			begin, first = next, line
		}
		at = next
	}
	add(len(data))
	return all
}

// Places says where in a text the parts of what was read from it stand.
type Places map[string]place

type place struct{ line, column int }

// at puts a problem at its place, or at that of the part around it.
func (m Places) at(p Problem) TextProblem {
	path := p.Path
	for {
		if at, ok := m[path]; ok {
			return TextProblem{at.line, at.column, p}
		}
		if i := strings.LastIndexAny(path, ".["); i >= 0 {
			path = path[:i]
		} else if path != "" {
			path = ""
		} else {
			return TextProblem{1, 1, p}
		}
	}
}

// At returns the line and column of a path.
func (m Places) At(path string) (line, column int) {
	p := m.at(Problem{Path: path})
	return p.Line, p.Column
}

// Into reads a document into a struct, as its json tags say, strictly: a key
// that is not known or stands twice is a problem, as are anchors, aliases and
// tags.
func (d Document) Into(v any) (Places, []TextProblem) {
	dec := &textDecoder{places: Places{}, line: d.Line - 1}
	root, problem := d.node()
	if problem != nil {
		return nil, []TextProblem{*problem}
	}
	dec.places[""] = place{root.Line + dec.line, root.Column}
	if dec.plain(root, 0) {
		dec.read(reflect.ValueOf(v).Elem(), root, "")
	}
	return dec.places, dec.problems
}

// ReadNode reads a part of a document, as [Document.Into] reads the whole. Its
// lines count from the beginning of the document.
func ReadNode(n *yaml.Node, v any) (Places, []TextProblem) {
	d := &textDecoder{places: Places{"": place{n.Line, n.Column}}}
	d.read(reflect.ValueOf(v).Elem(), n, "")
	return d.places, d.problems
}

// PayloadText writes a node as a payload: a scalar as it stands there, a map or
// a list as JSON, nothing as nothing.
func PayloadText(n *yaml.Node) (string, []TextProblem) {
	switch n.Kind {
	case 0:
		return "", nil
	case yaml.ScalarNode:
		if plainScalar(n) && isNull(n.Value) {
			return "", nil
		}
		return n.Value, nil
	}
	d := &textDecoder{places: Places{}}
	text, _ := d.json(n, "")
	return text, d.problems
}

var yamlLine = regexp.MustCompile(`(?s)^(?:yaml: )?(?:go-yaml )?(?:load error: |parser: |scanner: )*(?:line (\d+)(?:, column (\d+)|:(\d+))?: ?)?(.*)$`)

func (d Document) node() (root *yaml.Node, problem *TextProblem) {
	wrong := func(line, column int, format string, args ...any) *TextProblem {
		return &TextProblem{line + d.Line - 1, max(column, 1), Problem{Text: fmt.Sprintf(format, args...)}}
	}
	if len(d.Text) > MaxText*32 {
		return nil, wrong(1, 1, "A document has at most %d bytes.", MaxText*32)
	}
	if !utf8.Valid(d.Text) {
		return nil, wrong(1, 1, "The text is not UTF-8.")
	}
	defer func() { // a panic of the parser on outside input is an error of the input
		if p := recover(); p != nil {
			root, problem = nil, wrong(1, 1, "The text cannot be read as YAML.")
		}
	}()
	var doc yaml.Node
	if err := yaml.Unmarshal(d.Text, &doc); err != nil {
		line, column, text := 1, 1, strings.TrimSpace(err.Error())
		if m := yamlLine.FindStringSubmatch(text); m != nil {
			text = m[4]
			if n, err := strconv.Atoi(m[1]); err == nil {
				line = n
			}
			if n, err := strconv.Atoi(m[2] + m[3]); err == nil {
				column = n
			}
		}
		return nil, wrong(line, column, "This is not YAML: %s.", strings.TrimSuffix(text, "."))
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, wrong(1, 1, "There is nothing in it.")
	}
	return doc.Content[0], nil
}

// A textDecoder reads nodes into Go values by reflection, and notes where each
// stands.
type textDecoder struct {
	places   Places
	problems []TextProblem
	line     int // of the text before the document
}

func (d *textDecoder) bad(n *yaml.Node, path, format string, args ...any) {
	if len(d.problems) < maxProblems {
		d.problems = append(d.problems, TextProblem{n.Line + d.line, n.Column, Problem{Path: path, Text: fmt.Sprintf(format, args...)}})
	}
}

// plain refuses what makes a text say other things than it shows.
func (d *textDecoder) plain(n *yaml.Node, depth int) bool {
	switch {
	case depth > maxNesting:
		d.bad(n, "", "Lists and maps can be nested %d deep.", maxNesting)
	case n.Kind == yaml.AliasNode:
		d.bad(n, "", "Aliases (*name) cannot be used here.")
	case n.Anchor != "":
		d.bad(n, "", "Anchors (&name) cannot be used here.")
	case n.Style&yaml.TaggedStyle != 0:
		d.bad(n, "", "Tags (!name) cannot be used here.")
	default:
		for _, c := range n.Content {
			if !d.plain(c, depth+1) {
				return false
			}
		}
		return true
	}
	return false
}

var (
	valueType    = reflect.TypeFor[Value]()
	durationType = reflect.TypeFor[Duration]()
	clockType    = reflect.TypeFor[TimeOfDay]()
	weekdayType  = reflect.TypeFor[Weekday]()
	waitType     = reflect.TypeFor[WaitAction]()
	confirmType  = reflect.TypeFor[ConfirmAction]()
	nodeType     = reflect.TypeFor[yaml.Node]()
)

var (
	yamlDuration = regexp.MustCompile(`^-?(\d{1,9}d)?(\d{1,9}h)?(\d{1,9}m)?(\d{1,9}s)?(\d{1,9}ms)?$`)
	yamlClock    = regexp.MustCompile(`^\d{2}:\d{2}$`)
)

// A YAMLReader reads itself from a node in a way of its own.
type yamlReader interface {
	readYAML(d *textDecoder, n *yaml.Node, path string)
}

// read reads a node into a value.
func (d *textDecoder) read(v reflect.Value, n *yaml.Node, path string) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		d.read(v.Elem(), n, path)
		return
	}
	if r, ok := v.Addr().Interface().(yamlReader); ok {
		r.readYAML(d, n, path)
		return
	}
	switch v.Type() {
	case nodeType:
		v.Set(reflect.ValueOf(*n))
		return
	case valueType:
		if value, ok := d.value(n, path); ok {
			v.Set(reflect.ValueOf(value))
		}
		return
	case durationType, clockType, weekdayType:
		if text, ok := d.text(n, path); ok {
			if v.Type() == durationType && !yamlDuration.MatchString(text) || v.Type() == clockType && !yamlClock.MatchString(text) {
				d.bad(n, path, "%s", map[reflect.Type]string{
					durationType: fmt.Sprintf("%q is no duration: write 500ms, 90s, 2m, 1h30m or 7d, the largest unit first.", clip(text)),
					clockType:    fmt.Sprintf("%q is no time of day: write it as \"22:30\".", clip(text)),
				}[v.Type()])
				return
			}
			if err := v.Addr().Interface().(interface{ UnmarshalText([]byte) error }).UnmarshalText([]byte(text)); err != nil {
				d.bad(n, path, "%s.", upperFirst(err.Error()))
			}
		}
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		d.fields(v, n, path)
	case reflect.Slice:
		if e := v.Type().Elem(); n.Kind == yaml.ScalarNode && (e == clockType || e == weekdayType || e == valueType || e.Kind() == reflect.String) {
			v.Set(reflect.MakeSlice(v.Type(), 1, 1)) // one may stand by itself
			d.read(v.Index(0), n, path)
			return
		}
		if n.Kind != yaml.SequenceNode {
			d.bad(n, path, "A list is needed here.")
			return
		}
		v.Set(reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content)))
		for i, c := range n.Content {
			p := at(path, i)
			d.places[p] = place{c.Line + d.line, c.Column}
			d.read(v.Index(i), c, p)
		}
	case reflect.Map:
		m := reflect.MakeMap(v.Type())
		d.pairs(n, path, func(key, c *yaml.Node, p string) {
			e := reflect.New(v.Type().Elem()).Elem()
			d.read(e, c, p)
			m.SetMapIndex(reflect.ValueOf(key.Value).Convert(v.Type().Key()), e)
		})
		v.Set(m)
	case reflect.String:
		if text, ok := d.text(n, path); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		switch {
		case n.Kind == yaml.ScalarNode && plainScalar(n) && (n.Value == "true" || n.Value == "on"):
			v.SetBool(true)
		case n.Kind == yaml.ScalarNode && plainScalar(n) && (n.Value == "false" || n.Value == "off"):
			v.SetBool(false)
		default:
			d.bad(n, path, "Say true or false.")
		}
	case reflect.Int, reflect.Int64, reflect.Uint8:
		i, err := strconv.ParseInt(n.Value, 10, 32)
		if n.Kind != yaml.ScalarNode || !plainScalar(n) || err != nil || v.Kind() == reflect.Uint8 && (i < 0 || i > 255) {
			d.bad(n, path, "A whole number is needed here.")
			return
		}
		if v.Kind() == reflect.Uint8 {
			v.SetUint(uint64(i))
		} else {
			v.SetInt(i)
		}
	case reflect.Float64:
		f, ok := parseNumber(n.Value)
		if n.Kind != yaml.ScalarNode || !plainScalar(n) || !ok {
			d.bad(n, path, "A number is needed here.")
			return
		}
		v.SetFloat(f)
	default:
		d.bad(n, path, "This cannot be read.")
	}
}

// fields reads a map into a struct.
func (d *textDecoder) fields(v reflect.Value, n *yaml.Node, path string) {
	c, compares := v.Addr().Interface().(comparing)
	var ops []*yaml.Node
	if compares && n.Kind == yaml.ScalarNode {
		if value, ok := d.value(n, path); ok {
			c.set(Equal, value)
		}
		return
	}
	known := keysOf(v.Type())
	d.pairs(n, path, func(key, c *yaml.Node, p string) {
		if compares && slices.Contains(comparisons, key.Value) {
			ops = append(ops, key, c)
			return
		}
		i, ok := known.index[key.Value]
		if !ok {
			d.unknown(key, p, v.Type(), known.names, compares)
			return
		}
		if _, ok := v.Addr().Interface().(*PublishAction); ok && key.Value == "payload" && c.Kind != yaml.ScalarNode {
			if text, ok := d.json(c, p); ok {
				v.Field(i).SetString(text)
			}
			return
		}
		if key.Value == "until" && c.Kind == yaml.MappingNode && len(c.Content) == 2 && c.Content[0].Value == "message" && (v.Type() == waitType || v.Type() == confirmType) {
			d.read(v.Field(known.index["message"]), c.Content[1], path+".message") // until: {message: …} says the same
			return
		}
		if s, ok := v.Addr().Interface().(*StateTrigger); ok && key.Value == "to" && c.Kind == yaml.SequenceNode {
			d.read(reflect.ValueOf(&s.ToAny).Elem(), c, p)
			return
		}
		d.read(v.Field(i), c, p)
	})
	if len(ops) > 0 {
		d.comparison(c, ops, path)
	}
	if c, ok := v.Addr().Interface().(interface{ complete() }); ok {
		c.complete()
	}
}

// json reads a map or a list as the JSON it stands for.
func (d *textDecoder) json(n *yaml.Node, path string) (string, bool) {
	v, ok := d.tree(n, path)
	if !ok {
		return "", false
	}
	b, err := json.Marshal(v)
	if err != nil {
		d.bad(n, path, "This cannot be written as JSON.")
	}
	return string(b), err == nil
}

func (d *textDecoder) tree(n *yaml.Node, path string) (any, bool) {
	switch n.Kind {
	case yaml.MappingNode:
		m := map[string]any{}
		whole := true
		d.pairs(n, path, func(key, c *yaml.Node, p string) {
			v, ok := d.tree(c, p)
			whole, m[key.Value] = whole && ok, v
		})
		return m, whole
	case yaml.SequenceNode:
		list := make([]any, len(n.Content))
		for i, c := range n.Content {
			v, ok := d.tree(c, at(path, i))
			if !ok {
				return nil, false
			}
			list[i] = v
		}
		return list, true
	}
	if plainScalar(n) {
		if isNull(n.Value) {
			return nil, true
		}
		if v := plainValue(n.Value); v.Type == devices.Number && json.Valid([]byte(n.Value)) {
			return json.Number(n.Value), true
		} else if v.known() {
			return v, true
		}
	}
	return n.Value, true
}

// unknown says of a key that it is not known, or not run yet.
func (d *textDecoder) unknown(key *yaml.Node, path string, in reflect.Type, names []string, compares bool) {
	if slices.Contains(planned[in], key.Value) {
		d.bad(key, path, "This version of Lar does not run %q yet.", key.Value)
		return
	}
	if compares {
		names = append(slices.Clone(names), comparisons...)
	}
	if best := nearest(key.Value, names); best != "" {
		d.bad(key, path, "There is no key %q here; is it %q?", clip(key.Value), best)
	} else {
		slices.Sort(names)
		d.bad(key, path, "There is no key %q here; there are %s.", clip(key.Value), strings.Join(names, ", "))
	}
}

// pairs visits the keys of a map.
func (d *textDecoder) pairs(n *yaml.Node, path string, fn func(key, value *yaml.Node, path string)) {
	if n.Kind != yaml.MappingNode {
		d.bad(n, path, "Keys with values are needed here, as in name: value.")
		return
	}
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		p := key.Value
		if path != "" {
			p = path + "." + key.Value
		}
		if key.Kind != yaml.ScalarNode {
			d.bad(key, path, "A key is a word.")
			continue
		}
		if seen[key.Value] {
			d.bad(key, p, "The key %q stands here twice.", clip(key.Value))
			continue
		}
		seen[key.Value] = true
		d.places[p] = place{key.Line + d.line, key.Column}
		fn(key, value, p)
	}
}

// text reads a scalar as it is written, whatever else it could mean.
func (d *textDecoder) text(n *yaml.Node, path string) (string, bool) {
	if n.Kind != yaml.ScalarNode || plainScalar(n) && isNull(n.Value) {
		d.bad(n, path, "A text is needed here.")
		return "", false
	}
	return n.Value, true
}

// value reads a scalar as on or off, a number or a text.
func (d *textDecoder) value(n *yaml.Node, path string) (Value, bool) {
	if n.Kind != yaml.ScalarNode {
		d.bad(n, path, "Give a value: on or off, a number or a text.")
		return Value{}, false
	}
	if !plainScalar(n) {
		return Text(n.Value), true
	}
	v := plainValue(n.Value)
	if !v.known() {
		d.bad(n, path, "Give a value: on or off, a number or a text.")
	}
	return v, v.known()
}

// plainScalar tells whether a scalar stands without quotes.
func plainScalar(n *yaml.Node) bool {
	return n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle|yaml.LiteralStyle|yaml.FoldedStyle) == 0
}

func isNull(s string) bool { return s == "" || s == "~" || s == "null" || s == "Null" || s == "NULL" }

var (
	yamlNumber  = regexp.MustCompile(`^[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?$`)
	yamlNothing = regexp.MustCompile(`^[-+]?\.(inf|Inf|INF|nan|NaN|NAN)$`)
)

// plainValue says what a scalar without quotes is worth; unknown for none.
func plainValue(s string) Value {
	switch {
	case s == "on" || s == "true":
		return On()
	case s == "off" || s == "false":
		return Off()
	case isNull(s) || yamlNothing.MatchString(s):
		return Value{}
	case yamlNumber.MatchString(s):
		if f, ok := parseNumber(s); ok {
			return Number(f)
		}
		return Value{}
	}
	return Text(s)
}

// comparing is what has a comparison among its fields.
type comparing interface {
	set(op Op, v Value)
	add(op Op, v Value) // to one that is there, as the other end of a range
	among(op Op, list []Value)
}

// comparisons are the keys of a comparison in YAML, beside op and value.
var comparisons = []string{"is", "is_not", "above", "below", "at_least", "at_most", "contains", "missing", "numeric"}

var opOf = map[string]Op{"is": Equal, "is_not": NotEqual, "above": Greater, "below": Less, "at_least": GreaterEq, "at_most": LessEq,
	"contains": Contains, "missing": Missing, "numeric": Numeric}

// comparison reads the keys that make a comparison.
func (d *textDecoder) comparison(c comparing, ops []*yaml.Node, path string) {
	prefix := ""
	if path != "" {
		prefix = path + "."
	}
	for i := 0; i < len(ops); i += 2 {
		key, n := ops[i], ops[i+1]
		p, op := prefix+key.Value, opOf[key.Value]
		if n.Kind == yaml.SequenceNode && (op == Equal || op == NotEqual) {
			var list []Value
			for j, item := range n.Content {
				if v, ok := d.value(item, at(p, j)); ok {
					list = append(list, v)
				}
			}
			if len(ops) > 2 {
				d.bad(key, p, "Only one comparison can stand here.")
			}
			if op == Equal {
				c.among(OneOf, list)
			} else {
				c.among(NoneOf, list)
			}
			continue
		}
		v, ok := d.value(n, p)
		if !ok {
			continue
		}
		if op == Contains {
			v = Text(n.Value)
		}
		switch {
		case i == 0:
			c.set(op, v)
		case i == 2 && isRange(opOf[ops[0].Value], op):
			c.add(op, v)
		default:
			d.bad(key, p, "Only one comparison can stand here, or a range such as above and below.")
		}
	}
}

func isRange(a, b Op) bool {
	low := func(o Op) bool { return o == Greater || o == GreaterEq }
	high := func(o Op) bool { return o == Less || o == LessEq }
	return low(a) && high(b) || high(a) && low(b)
}

// keys are those of a struct in YAML and JSON.
type keys struct {
	index map[string]int
	names []string
}

func keysOf(t reflect.Type) keys {
	k := keys{index: map[string]int{}}
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		if name == "" || name == "-" || name == "to_any" || t == reflect.TypeFor[Rule]() && slices.Contains([]string{"version", "saved", "text"}, name) {
			continue
		}
		k.index[name] = i
		k.names = append(k.names, name)
	}
	return k
}

// nearest returns the name that a misspelt one may stand for, or nothing.
func nearest(word string, names []string) string {
	best, least := "", 3
	if len(word) > 40 {
		return ""
	}
	for _, name := range names {
		if n := distance(strings.ToLower(word), name); n < least || n == least && best == "" && n < len(name)/2 {
			best, least = name, n
		}
	}
	return best
}

// distance is how many letters must be changed to make one word of another.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		last := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := last
			if a[i] != b[j] {
				cost++
			}
			last = row[j+1]
			row[j+1] = min(cost, row[j]+1, last+1)
		}
	}
	return row[len(b)]
}

func upperFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

// encodeNode returns a value as a node, with the keys of its json tags.
func encodeNode(v reflect.Value) *yaml.Node {
	switch x := v.Interface().(type) {
	case Value:
		return valueNode(x)
	case Duration:
		return textNode(durationText(time.Duration(x)))
	case interface{ MarshalText() ([]byte, error) }:
		b, _ := x.MarshalText()
		return textNode(string(b))
	}
	switch v.Kind() {
	case reflect.Pointer:
		return encodeNode(v.Elem())
	case reflect.Struct:
		return structNode(v)
	case reflect.Slice:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		scalars := true
		for i := range v.Len() {
			e := encodeNode(v.Index(i))
			scalars = scalars && e.Kind == yaml.ScalarNode
			n.Content = append(n.Content, e)
		}
		if scalars {
			n.Style = yaml.FlowStyle
		}
		return n
	case reflect.Map:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		names := v.MapKeys()
		slices.SortFunc(names, func(a, b reflect.Value) int { return strings.Compare(a.String(), b.String()) })
		for _, name := range names {
			n.Content = append(n.Content, textNode(name.String()), encodeNode(v.MapIndex(name)))
		}
		return n
	case reflect.String:
		return textNode(v.String())
	case reflect.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool())}
	case reflect.Float64:
		return valueNode(Number(v.Float()))
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!int", Value: fmt.Sprint(v.Interface())}
}

// durationText writes a duration as rules have it: 1h30m, 1d, 500ms.
func durationText(d time.Duration) string {
	var b strings.Builder
	if d < 0 {
		b.WriteByte('-')
		d = -d
	}
	for _, unit := range []struct {
		name string
		size time.Duration
	}{{"d", 24 * time.Hour}, {"h", time.Hour}, {"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond}} {
		if n := d / unit.size; n > 0 {
			fmt.Fprintf(&b, "%d%s", n, unit.name)
			d -= n * unit.size
		}
	}
	if b.Len() == 0 || b.String() == "-" {
		return "0s"
	}
	return b.String()
}

func structNode(v reflect.Value) *yaml.Node {
	n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
	var terms []term
	if v.CanAddr() || v.Type() == reflect.TypeFor[Compare]() || v.Type() == reflect.TypeFor[StateCondition]() {
		p := reflect.New(v.Type())
		p.Elem().Set(v)
		if c, ok := p.Interface().(interface{ terms() []term }); ok {
			terms = c.terms()
		}
	}
	t := v.Type()
	for i := range t.NumField() {
		name, options, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		f := v.Field(i)
		switch {
		case name == "" || name == "-":
			continue
		case strings.Contains(options, "omit") && f.IsZero():
			continue
		case strings.Contains(options, "omitempty") && (f.Kind() == reflect.Slice || f.Kind() == reflect.Map) && f.Len() == 0:
			continue
		case terms != nil && slices.Contains([]string{"op", "value", "values", "and"}, name):
			continue
		case (f.Kind() == reflect.Slice || f.Kind() == reflect.Pointer) && f.IsNil():
			continue
		}
		if t == reflect.TypeFor[Rule]() && (name == "version" || name == "saved" || name == "text") {
			continue
		}
		if name == "to_any" {
			name = "to"
		}
		n.Content = append(n.Content, textNode(name), encodeNode(f))
	}
	for _, term := range terms {
		n.Content = append(n.Content, textNode(term.key), encodeNode(reflect.ValueOf(term.value)))
	}
	return n
}

// textNode writes a text so that it is read as one.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s}
	if v := plainValue(s); v.Type != devices.Text || strings.ContainsAny(s, "\n\r\t:#{}") || strings.TrimSpace(s) != s {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

func valueNode(v Value) *yaml.Node {
	switch v.Type {
	case devices.Bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v.Bool)}
	case devices.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: v.String()}
	case devices.Text:
		return textNode(v.Str)
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
}

func dropKey(n *yaml.Node, key string) {
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			n.Content = slices.Delete(n.Content, i, i+2)
			return
		}
	}
}

// mergeNode returns what is wanted, with what was written where it is the
// same: its comments, its order of keys and its style.
func mergeNode(written, wanted *yaml.Node) *yaml.Node {
	if written.Kind != wanted.Kind {
		if wanted.Kind == yaml.ScalarNode { // the payload of a publish action, perhaps
			if text, ok := (&textDecoder{places: Places{}}).json(written, ""); ok && text == wanted.Value {
				return written
			}
		}
		keepComments(written, wanted)
		return wanted
	}
	switch wanted.Kind {
	case yaml.MappingNode:
		return mergeMap(written, wanted)
	case yaml.SequenceNode:
		return mergeList(written, wanted)
	}
	if sameScalar(written, wanted) {
		return written
	}
	keepComments(written, wanted)
	return wanted
}

func mergeMap(written, wanted *yaml.Node) *yaml.Node {
	merged := *written
	merged.Content = nil
	left := slices.Clone(wanted.Content)
	take := func(key string) *yaml.Node {
		for i := 0; i+1 < len(left); i += 2 {
			if left[i].Value == key {
				v := left[i+1]
				left = slices.Delete(left, i, i+2)
				return v
			}
		}
		return nil
	}
	for i := 0; i+1 < len(written.Content); i += 2 {
		key, value := written.Content[i], written.Content[i+1]
		if v := take(key.Value); v != nil {
			merged.Content = append(merged.Content, key, mergeNode(value, v))
		}
	}
	merged.Content = append(merged.Content, left...)
	return &merged
}

// mergeList pairs the items that are the same, in their order, and those
// between them one by one.
func mergeList(written, wanted *yaml.Node) *yaml.Node {
	merged := *written
	merged.Content = nil
	from := 0
	for i, item := range wanted.Content {
		same := -1
		for j := from; j < len(written.Content); j++ {
			if sameNode(written.Content[j], item) {
				same = j
				break
			}
		}
		if same >= 0 {
			merged.Content = append(merged.Content, written.Content[same])
			from = same + 1
			continue
		}
		later := false // what stands here now may be wanted further down
		if from < len(written.Content) {
			for _, other := range wanted.Content[i+1:] {
				later = later || sameNode(written.Content[from], other)
			}
		}
		if from < len(written.Content) && !later {
			merged.Content = append(merged.Content, mergeNode(written.Content[from], item))
			from++
		} else {
			merged.Content = append(merged.Content, item)
		}
	}
	return &merged
}

func sameNode(a, b *yaml.Node) bool {
	if a.Kind != b.Kind || len(a.Content) != len(b.Content) {
		return false
	}
	if a.Kind == yaml.ScalarNode {
		return sameScalar(a, b)
	}
	if a.Kind == yaml.MappingNode {
		for i := 0; i+1 < len(a.Content); i += 2 {
			found := false
			for j := 0; j+1 < len(b.Content); j += 2 {
				if a.Content[i].Value == b.Content[j].Value {
					found = sameNode(a.Content[i+1], b.Content[j+1])
				}
			}
			if !found {
				return false
			}
		}
		return true
	}
	return slices.EqualFunc(a.Content, b.Content, sameNode)
}

// sameScalar compares what two scalars are worth; one that is read as a text
// anyway may be written as anything.
func sameScalar(a, b *yaml.Node) bool {
	value := func(n *yaml.Node) Value {
		if n.Tag == "!!str" && !plainScalar(n) || n.Line == 0 && n.Tag == "!!str" {
			return Text(n.Value)
		}
		return plainValue(n.Value)
	}
	return value(a) == value(b)
}

func keepComments(from, to *yaml.Node) {
	to.HeadComment, to.LineComment, to.FootComment = from.HeadComment, from.LineComment, from.FootComment
}
