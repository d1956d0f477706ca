package automations

import (
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v4"

	"lar.home/devices"
)

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
	publishType  = reflect.TypeFor[PublishAction]()
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
		if !ok || v.Type() == publishType && key.Value == "json" {
			d.unknown(key, p, known.names, compares)
			return
		}
		if _, ok := v.Addr().Interface().(*PublishAction); ok && key.Value == "payload" && c.Kind != yaml.ScalarNode {
			if text, ok := d.json(c, p); ok {
				v.Field(i).SetString(text)
				v.Field(known.index["json"]).SetBool(true)
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
	text, err := plainJSON(v)
	if err != nil {
		d.bad(n, path, "This cannot be written as JSON.")
	}
	return text, err == nil
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

// namesElsewhere are keys of other hubs and what they are called here.
var namesElsewhere = map[string]string{
	"alias": "name", "service": "command", "action": "command", "entity_id": "entity", "data": "args", "delay": "wait", "wait_template": "wait", "wait_for_trigger": "wait",
	"and": "all", "or": "any", "numeric_state": "state", "template": "expr", "value_template": "expr", "sequence": "then", "default": "else",
	"if": "when", "mqtt": "message", "time_pattern": "every", "conditions": "when", "timeout": "within", "for_each": "each",
}

// unknown says of a key that it is not known.
func (d *textDecoder) unknown(key *yaml.Node, path string, names []string, compares bool) {
	if compares {
		names = append(slices.Clone(names), comparisons...)
	}
	best := nearest(key.Value, names)
	if elsewhere := namesElsewhere[key.Value]; slices.Contains(names, elsewhere) {
		best = elsewhere
	}
	if best != "" {
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
	if bareTemplate(n) {
		d.bad(n, path, "%s", quoteBraces[1:])
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
	if bareTemplate(n) {
		d.bad(n, path, "%s", quoteBraces[1:])
		return "", false
	}
	if n.Kind != yaml.ScalarNode || plainScalar(n) && isNull(n.Value) {
		d.bad(n, path, "A text is needed here.")
		return "", false
	}
	return n.Value, true
}

// value reads a scalar as on or off, a number or a text.
func (d *textDecoder) value(n *yaml.Node, path string) (Value, bool) {
	if bareTemplate(n) {
		d.bad(n, path, "%s", quoteBraces[1:])
		return Value{}, false
	}
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
		if t != publishType || name != "json" {
			k.names = append(k.names, name)
		}
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
