package template

import (
	"errors"
	"regexp"
	"strings"
	"sync"
)

var (
	errSteps   = errors.New("more than 10000 steps")
	errTooMany = errors.New("more than 4096 elements")
)

// An env is one evaluation.
type env struct {
	slots   []Value
	out     []byte
	steps   int
	written int // by inner bodies too
	t       *Template
	filters map[string]function // for |map('name')
}

func (t *Template) run(in *Input) (string, error) {
	e := env{slots: make([]Value, t.size), t: t, filters: filters}
	for _, s := range t.slots {
		e.slots[s.place] = in.lookup(s.name)
	}
	if _, err := runAll(&e, t.body); err != nil {
		return "", err
	}
	return strings.TrimSpace(string(e.out)), nil
}

// charge counts work against the bound.
func (e *env) charge(n int) error {
	if e.steps += n; e.steps > maxSteps {
		return errSteps
	}
	return nil
}

// text charges for a text that was made, and bounds it.
func (e *env) text(s string) (Value, error) {
	if len(s) > maxOutput {
		return Value{}, errLong
	}
	return FromString(s), e.charge(1 + len(s)/64)
}

// list charges for a list that was made, and bounds it.
func (e *env) list(items []Value) (Value, error) {
	if len(items) > maxItems {
		return Value{}, errTooMany
	}
	return list(items), e.charge(1 + len(items)/8)
}

func (e *env) write(s string) error {
	if e.written += len(s); e.written > maxOutput {
		return errLong
	}
	e.out = append(e.out, s...)
	return nil
}

func (e *env) writeValue(v Value) error {
	if v.kind == String {
		return e.write(v.text)
	}
	s, err := e.str(v)
	if err != nil {
		return err
	}
	return e.write(s)
}

// str is Python's str() within the bounds.
func (e *env) str(v Value) (string, error) {
	if v.box == nil {
		return v.Text(), nil
	}
	p := printer{limit: maxOutput}
	p.repr(v, 0)
	if p.err != nil {
		return "", p.err
	}
	return string(p.buf), e.charge(1 + len(p.buf)/64)
}

// maxPatterns is how many patterns a template keeps compiled.
const maxPatterns = 64

type patternCache struct {
	mu sync.Mutex
	m  map[string]*regexp.Regexp
}

func (e *env) pattern(text string, fold bool) (*regexp.Regexp, error) {
	if len(text) > 1024 {
		return nil, errors.New("a pattern is longer than 1024 bytes")
	}
	if err := e.charge(1 + len(text)/16); err != nil {
		return nil, err
	}
	text = strings.ReplaceAll(text, `\Z`, `\z`)
	if fold {
		text = "(?i)" + text
	}
	c := &e.t.patterns
	c.mu.Lock()
	defer c.mu.Unlock()
	if re := c.m[text]; re != nil {
		return re, nil
	}
	re, err := regexp.Compile(text)
	if err != nil {
		return nil, err
	}
	if len(c.m) < maxPatterns {
		if c.m == nil {
			c.m = map[string]*regexp.Regexp{}
		}
		c.m[text] = re
	}
	return re, nil
}
