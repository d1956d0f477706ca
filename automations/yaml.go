package automations

import (
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v4"
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
	said, written := Rule{Enabled: true}, (*yaml.Node)(nil)
	if r.Text != "" {
		d := &Document{Text: []byte(r.Text), Line: 1}
		root, problem := d.node()
		if problem == nil {
			if _, problems := d.Into(&said); len(problems) > 0 {
				said = Rule{}
			} else if said.sameAs(r) {
				return r.Text
			}
			written = root
		}
	}
	wanted := r.node()
	if written == nil {
		return r.dump(wanted, true)
	}
	if !hasKey(written, "id") {
		dropKey(wanted, "id") // it was given to the rule, and need not be said
	}
	// What goes without saying stays unsaid, if it still does.
	text := r.dump(mergeNode(written, said.node(), wanted), !indentsLists(written))
	back := Rule{Enabled: true}
	if _, problems := (Document{Text: []byte(text), Line: 1}).Into(&back); len(problems) > 0 || !back.sameAs(r) {
		text = r.dump(mergeNode(written, nil, wanted), !indentsLists(written))
	}
	return text
}

// node returns what a rule says, without who saved it.
func (r Rule) node() *yaml.Node {
	r.Version, r.Saved, r.Text = 0, Saved{}, ""
	node := encodeNode(reflect.ValueOf(r))
	if r.Enabled {
		dropKey(node, "enabled")
	}
	return node
}

func (r *Rule) dump(node *yaml.Node, compact bool) string {
	b, err := yaml.Dump(node, yaml.WithIndent(2), yaml.WithLineWidth(-1), yaml.WithCompactSeqIndent(compact))
	if err != nil {
		return string(r.Encode()) // JSON is YAML
	}
	return string(b)
}

func hasKey(n *yaml.Node, key string) bool {
	for i := 0; i+1 < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if n.Content[i].Value == key {
			return true
		}
	}
	return false
}

// indentsLists tells whether the items of lists stand further in than the keys
// they belong to: a text goes on as it was written.
func indentsLists(n *yaml.Node) bool {
	for i := 1; i < len(n.Content) && n.Kind == yaml.MappingNode; i += 2 {
		if v := n.Content[i]; v.Kind == yaml.SequenceNode && v.Style&yaml.FlowStyle == 0 && len(v.Content) > 0 {
			return v.Column > n.Content[i-1].Column
		}
	}
	return false
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

// yamlHint says what is mostly behind an error of the parser; n is the line, or
// one beside it.
func yamlHint(text string, document []byte, n int) string {
	lines := strings.Split(string(document), "\n")
	near := lines[min(max(n-2, 0), len(lines)):min(n, len(lines))]
	for _, line := range near {
		if strings.HasPrefix(strings.TrimLeft(line, " "), "\t") {
			return " A tab stands here: YAML is indented by spaces."
		}
	}
	for _, line := range near {
		if strings.Contains(line, ": {{") || strings.Contains(line, "- {{") {
			return quoteBraces
		}
	}
	switch {
	case strings.Contains(text, "mapping values are not allowed"):
		return " A text with a colon stands in quotes, and the keys of one map begin in the same column."
	case strings.Contains(text, "did not find expected"):
		return " The keys of one map, and the dashes of one list, begin in the same column, and every bracket is closed."
	}
	return ""
}

// quoteBraces is said of a template that YAML takes for a map.
const quoteBraces = ` A text with {{ … }} stands in quotes: "{{ value }}".`

// bareTemplate tells whether a node is {{ … }} without quotes: a map whose key
// is a map.
func bareTemplate(n *yaml.Node) bool {
	return n.Kind == yaml.MappingNode && len(n.Content) > 0 && n.Content[0].Kind == yaml.MappingNode
}

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
		return nil, wrong(line, column, "This is not YAML: %s.%s", strings.TrimSuffix(text, "."), yamlHint(text, d.Text, line))
	}
	if doc.Kind != yaml.DocumentNode || len(doc.Content) != 1 {
		return nil, wrong(1, 1, "There is nothing in it.")
	}
	return doc.Content[0], nil
}
