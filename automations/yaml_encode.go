package automations

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v4"

	"lar.home/devices"
)

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
		if p, ok := v.Interface().(PublishAction); ok && p.JSON {
			if name == "json" {
				continue
			}
			if tree, err := treeOf(p.Payload); name == "payload" && err == nil {
				n.Content = append(n.Content, textNode(name), treeNode(tree))
				continue
			}
		}
		switch {
		case name == "to_any":
			name = "to"
		case name == "message" && (t == reflect.TypeFor[WaitAction]() || t == reflect.TypeFor[ConfirmAction]()):
			n.Content = append(n.Content, textNode("until"), &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{textNode(name), encodeNode(f)}})
			continue
		}
		n.Content = append(n.Content, textNode(name), encodeNode(f))
	}
	for _, term := range terms {
		n.Content = append(n.Content, textNode(term.key), encodeNode(reflect.ValueOf(term.value)))
	}
	return n
}

// treeNode writes a JSON value.
func treeNode(tree any) *yaml.Node {
	switch v := tree.(type) {
	case map[string]any:
		n := &yaml.Node{Kind: yaml.MappingNode, Tag: "!!map"}
		for _, key := range slices.Sorted(maps.Keys(v)) {
			n.Content = append(n.Content, textNode(key), treeNode(v[key]))
		}
		return n
	case []any:
		n := &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq"}
		for _, item := range v {
			n.Content = append(n.Content, treeNode(item))
		}
		return n
	case string:
		return textNode(v)
	case json.Number:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!float", Value: v.String()}
	case bool:
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!bool", Value: strconv.FormatBool(v)}
	}
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!null", Value: "null"}
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
// same: its comments, its order of keys and its style. said is what was written
// says when all of it is said, or nil: what is wanted and goes without saying is
// not said now either.
func mergeNode(written, said, wanted *yaml.Node) *yaml.Node {
	if said != nil && sameNode(said, wanted) {
		return written
	}
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
		return mergeMap(written, said, wanted)
	case yaml.SequenceNode:
		return mergeList(written, said, wanted)
	}
	if sameScalar(written, wanted) {
		return written
	}
	keepComments(written, wanted)
	return wanted
}

// valueAt returns what a map has at a key, or nil.
func valueAt(n *yaml.Node, key string) *yaml.Node {
	if n == nil || n.Kind != yaml.MappingNode {
		return nil
	}
	for i := 0; i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1]
		}
	}
	return nil
}

func mergeMap(written, said, wanted *yaml.Node) *yaml.Node {
	merged := *written
	merged.Content = nil
	for i := 0; i+1 < len(written.Content); i += 2 {
		key, value := written.Content[i], written.Content[i+1]
		if v := valueAt(wanted, key.Value); v != nil {
			merged.Content = append(merged.Content, key, mergeNode(value, valueAt(said, key.Value), v))
		}
	}
	for i := 0; i+1 < len(wanted.Content); i += 2 {
		key, v := wanted.Content[i], wanted.Content[i+1]
		unsaid := valueAt(said, key.Value)
		if valueAt(written, key.Value) == nil && (unsaid == nil || !sameNode(unsaid, v)) {
			merged.Content = append(merged.Content, key, v)
		}
	}
	return &merged
}

// mergeList pairs the items that are the same, in their order, and those
// between them one by one.
func mergeList(written, said, wanted *yaml.Node) *yaml.Node {
	merged := *written
	merged.Content = nil
	saidAt := func(j int) *yaml.Node {
		if said == nil || said.Kind != yaml.SequenceNode || len(said.Content) != len(written.Content) {
			return nil
		}
		return said.Content[j]
	}
	same := func(j int, item *yaml.Node) bool {
		return sameNode(written.Content[j], item) || saidAt(j) != nil && sameNode(saidAt(j), item)
	}
	from := 0
	for i, item := range wanted.Content {
		at := -1
		for j := from; j < len(written.Content) && at < 0; j++ {
			if same(j, item) {
				at = j
			}
		}
		if at >= 0 {
			merged.Content = append(merged.Content, written.Content[at])
			from = at + 1
			continue
		}
		later := false // what stands here now may be wanted further down
		if from < len(written.Content) {
			for _, other := range wanted.Content[i+1:] {
				later = later || same(from, other)
			}
		}
		if from < len(written.Content) && !later {
			merged.Content = append(merged.Content, mergeNode(written.Content[from], saidAt(from), item))
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
