package automations

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
)

// texts are the templates of a payload.
func (p *PublishAction) texts() (list []string) {
	if !p.JSON {
		return []string{p.Payload}
	}
	tree, err := treeOf(p.Payload)
	if err != nil {
		return nil
	}
	walkTexts(tree, func(s string) { list = append(list, s) })
	return list
}

func treeOf(text string) (tree any, err error) {
	d := json.NewDecoder(bytes.NewReader([]byte(text)))
	d.UseNumber()
	if err = d.Decode(&tree); err == nil && d.More() {
		err = fmt.Errorf("there is more behind it")
	}
	return tree, err
}

// walkTexts visits the texts of a JSON value, keys left out, in their order.
func walkTexts(tree any, fn func(string)) {
	switch v := tree.(type) {
	case string:
		fn(v)
	case []any:
		for _, item := range v {
			walkTexts(item, fn)
		}
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			walkTexts(v[key], fn)
		}
	}
}

// payload writes what is published.
func (e *Engine) payload(p *PublishAction, in *given) (string, error) {
	if !p.JSON {
		return e.fill(p.Payload, in)
	}
	tree, err := treeOf(p.Payload)
	if err != nil {
		return "", err
	}
	if tree, err = e.fillTree(tree, in); err != nil {
		return "", err
	}
	return plainJSON(tree)
}

func (e *Engine) fillTree(tree any, in *given) (_ any, err error) {
	switch v := tree.(type) {
	case string:
		if text, ok := wholeExpression(v); ok {
			x, err := e.evaluate(text, false, in)
			if err != nil {
				return nil, fmt.Errorf("{{ %s }}: %w", clip(text), err)
			}
			return finite(x)
		}
		return e.fill(v, in)
	case []any:
		for i := range v {
			if v[i], err = e.fillTree(v[i], in); err != nil {
				return nil, err
			}
		}
	case map[string]any:
		for key := range v {
			if v[key], err = e.fillTree(v[key], in); err != nil {
				return nil, err
			}
		}
	}
	return tree, nil
}

// plainJSON writes JSON without the escapes that only web pages need.
func plainJSON(v any) (string, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return string(bytes.TrimSuffix(b.Bytes(), []byte("\n"))), err
}
