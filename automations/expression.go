package automations

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/vm"

	"lar.home/devices"
	"lar.home/mqtt"
)

// Bounds of expressions. They have no loops and no effects; what they may
// build is bounded by these and by MaxSent.
const (
	maxExpression = 4096 // bytes
	maxNodes      = 200
	maxPrograms   = 16384    // compiled ones that are kept
	maxSeen       = 64 << 10 // bytes of a payload that an expression sees
)

// A scope is what expressions see: the names of packaging/docs/rules.md,
// section 6.
type scope struct {
	Topic    string                                       `expr:"topic"`
	Payload  string                                       `expr:"payload"`
	Value    any                                          `expr:"value"`
	Data     any                                          `expr:"data"`
	Captured map[string]string                            `expr:"captured"`
	Entity   string                                       `expr:"entity"`
	Aspect   string                                       `expr:"aspect"`
	From     any                                          `expr:"from"`
	To       any                                          `expr:"to"`
	Trigger  triggerScope                                 `expr:"trigger"`
	Planned  any                                          `expr:"planned"`
	Vars     map[string]any                               `expr:"vars"`
	Repeat   repeatScope                                  `expr:"repeat"`
	Now      nowScope                                     `expr:"now"`
	Sun      sunScope                                     `expr:"sun"`
	Level    func(int) string                             `expr:"level"`
	State    func(string, ...string) any                  `expr:"state"`
	Age      func(string, ...string) any                  `expr:"age"`
	Number   func(any) any                                `expr:"number"`
	Text     func(any) string                             `expr:"text"`
	JSON     func(any) (string, error)                    `expr:"json"`
	Replace  func(string, string, string) (string, error) `expr:"replace"`
	Round    func(any, ...int) (any, error)               `expr:"round"`
	Mod      func(any, any) (any, error)                  `expr:"mod"`
}

type triggerScope struct {
	ID   string `expr:"id"`
	Kind string `expr:"kind"`
}

type repeatScope struct {
	Index int `expr:"index"`
	Item  any `expr:"item"`
}

type nowScope struct {
	Hour    int    `expr:"hour"`
	Minute  int    `expr:"minute"`
	Second  int    `expr:"second"`
	Weekday string `expr:"weekday"`
	Day     int    `expr:"day"`
	Month   int    `expr:"month"`
	Year    int    `expr:"year"`
	Date    string `expr:"date"`
	Time    string `expr:"time"`
	Unix    int    `expr:"unix"`
}

type sunScope struct {
	Elevation any `expr:"elevation"`
	Up        any `expr:"up"`
}

// builtins are those of the library that are let in.
var builtins = []string{"floor", "ceil", "abs", "min", "max", "len", "lower", "upper", "trim", "split", "join"}

// forbid refuses what would take more than its length lets expect.
type forbid struct{ err error }

func (f *forbid) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.BinaryNode:
		if n.Operator == "%" { // of any numbers, not of whole ones alone
			ast.Patch(node, &ast.CallNode{Callee: &ast.IdentifierNode{Value: "mod"}, Arguments: []ast.Node{n.Left, n.Right}})
		}
		if n.Operator == "matches" || n.Operator == ".." {
			f.err = fmt.Errorf("the operator %q cannot be used", n.Operator)
		}
	case *ast.PredicateNode, *ast.VariableDeclaratorNode, *ast.SequenceNode:
		f.err = errors.New("only calculations can stand here")
	}
}

// compile checks an expression; condition asks for one that is true or false.
func compile(text string, condition bool) (*vm.Program, error) {
	if len(text) > maxExpression {
		return nil, fmt.Errorf("it has more than %d bytes", maxExpression)
	}
	rules := &forbid{}
	options := []expr.Option{expr.Env(scope{}), expr.DisableAllBuiltins(), expr.MaxNodes(maxNodes), expr.Patch(rules)}
	for _, name := range builtins {
		options = append(options, expr.EnableBuiltin(name))
	}
	p, err := expr.Compile(text, options...)
	if err == nil {
		err = rules.err
	}
	// Not by expr.AsBool, which makes false of what is not there.
	if of := worthOf(p); err == nil && condition && of != reflect.Bool && of != reflect.Interface {
		err = fmt.Errorf("it is neither true nor false, but a %s", kindWord(of))
	}
	if err != nil {
		return nil, sayPlainly(err, true)
	}
	return p, nil
}

// worthOf returns what kind of value a program makes, as far as it is known
// before it is run.
func worthOf(p *vm.Program) reflect.Kind {
	if p == nil || p.Node() == nil || p.Node().Type() == nil {
		return reflect.Interface
	}
	return p.Node().Type().Kind()
}

// kindWord is what people call a kind of value.
func kindWord(k reflect.Kind) string {
	switch k {
	case reflect.String:
		return "text"
	case reflect.Slice, reflect.Array:
		return "list"
	case reflect.Map, reflect.Struct:
		return "map"
	case reflect.Func:
		return "function"
	}
	return "number"
}

// program returns a compiled expression, from those that are kept if it can.
func (e *Engine) program(text string, condition bool) (*vm.Program, error) {
	k := text
	if condition {
		k = "?" + text
	}
	e.programsMu.RLock()
	p := e.programs[k]
	e.programsMu.RUnlock()
	if p != nil {
		return p, nil
	}
	p, err := compile(text, condition)
	if err != nil {
		return nil, err
	}
	e.programsMu.Lock()
	defer e.programsMu.Unlock()
	if e.programs == nil || len(e.programs) >= maxPrograms {
		e.programs = map[string]*vm.Program{}
	}
	e.programs[k] = p
	return p, nil
}

// Compile makes the expressions of a rule that is to be saved ready, outside the
// house's lock, so that the save takes no time for it within. What is wrong in
// them the save says.
func (e *Engine) Compile(r *Rule) { e.precompile(r) }

// precompile makes the expressions of a version ready, so that no message has
// to wait for it.
func (e *Engine) precompile(def *Rule) {
	text := func(s string) {
		list, _ := pieces(s)
		for _, p := range list {
			if p.expr {
				e.program(p.text, false)
			}
		}
	}
	if def.Per != "" {
		e.program(def.Per, false)
	}
	walkConditions(def.allConditions(), func(c *Condition) {
		if c.Expr != "" {
			e.program(c.Expr, true)
		}
	})
	anyAction(def.Actions, func(a *Action) bool {
		for _, s := range a.templates() {
			if strings.Contains(s, "{{") {
				text(s)
			}
		}
		return false
	})
}

// evaluate returns what an expression is worth.
func (e *Engine) evaluate(text string, condition bool, in *given) (any, error) {
	p, err := e.program(text, condition)
	if err != nil {
		return nil, err
	}
	if len(in.payload) > maxSeen {
		return nil, fmt.Errorf("a payload of more than %d bytes cannot be calculated with", maxSeen)
	}
	v, err := e.machine.Run(p, in.scope(text))
	if err != nil {
		return nil, sayPlainly(err, false)
	}
	return v, nil
}

// given is what a run, or a trigger that is judged, knows.
type given struct {
	engine   *Engine
	now      mqtt.Now
	cause    *Cause
	topic    string
	payload  string
	value    string
	entity   string
	captured map[string]string
	vars     map[string]any // of the run
	durable  map[string]any // of the rule
	tooBig   bool           // the payload was not kept
	index    int
	item     any
}

// scope lays out what an expression sees; what costs is left out if it does
// not speak of it.
func (g *given) scope(text string) scope {
	s := scope{
		Topic: g.topic, Payload: g.payload, Captured: g.captured, Entity: g.entity,
		Repeat: repeatScope{g.index, g.item},
		Level: func(n int) string {
			levels := strings.Split(g.topic, "/")
			if n < 0 || n >= len(levels) {
				return ""
			}
			return levels[n]
		},
		State:  func(id string, aspect ...string) any { v, _ := g.reading(id, aspect); return v },
		Age:    func(id string, aspect ...string) any { _, age := g.reading(id, aspect); return age },
		Number: numberOf, Text: textOf, JSON: jsonText, Replace: replaceText, Round: roundTo, Mod: remainder,
	}
	if strings.Contains(text, "vars") {
		s.Vars = make(map[string]any, len(g.durable)+len(g.vars))
		maps.Copy(s.Vars, g.durable)
		maps.Copy(s.Vars, g.vars)
	}
	if c := g.cause; c != nil {
		s.Aspect, s.Trigger = c.Aspect, triggerScope{c.Trigger, cmp.Or(c.Of, string(c.Kind))}
		if c.Kind == ByState {
			s.From, s.To = plainAny(c.From), plainAny(c.To)
		}
		if !c.Planned.IsZero() {
			s.Planned = int(c.Planned.Unix())
		}
	}
	if s.Value = any(g.value); g.value != "" {
		if f, ok := parseNumber(g.value); ok {
			s.Value = f
		} else if g.cause != nil && g.cause.Kind == ByState && (g.value == "on" || g.value == "off") {
			s.Value = g.value == "on"
		}
	}
	if strings.Contains(text, "data") {
		json.Unmarshal([]byte(g.payload), &s.Data)
	}
	if strings.Contains(text, "now") {
		l := g.now.Wall.In(g.engine.location)
		s.Now = nowScope{l.Hour(), l.Minute(), l.Second(), Weekday(l.Weekday()).String(), l.Day(), int(l.Month()), l.Year(),
			l.Format(time.DateOnly), l.Format("15:04"), int(l.Unix())}
	}
	if strings.Contains(text, "sun") && g.engine.home.Known {
		h := g.engine.home.elevation(g.now.Wall)
		s.Sun = sunScope{h, h > horizon}
	}
	return s
}

func plainAny(s string) any {
	if v := plainValue(s); v.known() {
		return anyOf(v)
	}
	return s
}

// reading returns what state and age are worth; nil for what is not known.
func (g *given) reading(id string, aspect []string) (value, age any) {
	h := g.engine.house()
	if h == nil {
		return nil, nil
	}
	entity := h.Entity(id)
	if entity == nil {
		return nil, nil
	}
	name := defaultAspect(id)
	if len(aspect) > 0 {
		name = aspect[0]
	}
	v, available := reading(entity, name)
	if !v.known() || !available {
		return nil, nil
	}
	s := scene{now: g.now}
	if d, ok := s.age(entity, name); ok {
		age = d.Seconds()
	}
	if v.Type == devices.Text && strings.HasPrefix(id, string(devices.Sensor)+".") { // one that names no unit
		if f, ok := parseNumber(v.Str); ok {
			return f, age
		}
	}
	return anyOf(v), age
}

func anyOf(v Value) any {
	switch v.Type {
	case devices.Bool:
		return v.Bool
	case devices.Number:
		return v.Num
	case devices.Text:
		return v.Str
	}
	return nil
}

func numberOf(v any) any {
	switch v := v.(type) {
	case int:
		return float64(v)
	case float64:
		return v
	case string:
		if f, ok := parseNumber(v); ok {
			return f
		}
	}
	return nil
}

// textOf writes what an expression is worth, as templates do.
func textOf(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "on"
		}
		return "off"
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(tidy(v), 'f', -1, 64)
	}
	s, _ := jsonText(v)
	return s
}

// tidy takes away what calculating with fractions of two adds at the sixteenth
// digit: 0.1 + 0.2 is 0.3.
func tidy(f float64) float64 {
	if f == math.Trunc(f) {
		return f
	}
	if short, err := strconv.ParseFloat(strconv.FormatFloat(f, 'g', 15, 64), 64); err == nil {
		return short
	}
	return f
}

func jsonText(v any) (string, error) {
	v, err := finite(v)
	if err != nil {
		return "", err
	}
	return plainJSON(v)
}

// finite returns what an expression is worth as JSON has it, tidied.
func finite(v any) (any, error) {
	f, ok := v.(float64)
	if ok && (math.IsNaN(f) || math.IsInf(f, 0)) {
		return nil, errors.New("it is no finite number")
	}
	if ok {
		return tidy(f), nil
	}
	return v, nil
}

func replaceText(s, old, by string) (string, error) {
	if n := strings.Count(s, old); len(s)+n*len(by) > MaxSent {
		return "", fmt.Errorf("the text would have more than %d bytes", MaxSent)
	}
	return strings.ReplaceAll(s, old, by), nil
}

func roundTo(v any, digits ...int) (any, error) {
	f, ok := numberOf(v).(float64)
	if !ok {
		return nil, errors.New("round takes a number")
	}
	scale := 1.0
	if len(digits) > 0 {
		scale = math.Pow(10, float64(min(max(digits[0], -12), 12)))
	}
	return math.Round(f*scale) / scale, nil
}

// remainder is what the operator % is worth.
func remainder(a, b any) (any, error) {
	x, ok1 := a.(float64)
	y, ok2 := b.(float64)
	if i, is := a.(int); is {
		x, ok1 = float64(i), true
	}
	if i, is := b.(int); is {
		y, ok2 = float64(i), true
	}
	if !ok1 || !ok2 {
		return nil, errors.New("% takes numbers")
	}
	if y == 0 {
		return nil, errors.New("there is no rest of a division by 0")
	}
	return math.Mod(x, y), nil
}

// valueOf makes a value of what an expression is worth.
func valueOf(v any) (Value, error) {
	switch v := v.(type) {
	case bool:
		return Value(devices.BoolValue(v)), nil
	case int:
		return Number(float64(v)), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return Value{}, errors.New("it is no finite number")
		}
		return Number(tidy(v)), nil
	case string:
		return Text(v), nil
	case nil:
		return Value{}, errors.New("there is no value")
	}
	return Text(textOf(v)), nil
}

// A piece of a template is text, or an expression.
type piece struct {
	text string
	expr bool
}

// pieces takes a template apart. An expression ends at the first }} that is in
// no quotes and closes no map of its own.
func pieces(s string) ([]piece, error) {
	var list []piece
	for {
		before, rest, ok := strings.Cut(s, "{{")
		if before != "" {
			list = append(list, piece{text: before})
		}
		if !ok {
			return list, nil
		}
		end, quote, open := -1, byte(0), 0
		for i := 0; i < len(rest); i++ {
			switch c := rest[i]; {
			case quote != 0 && c == '\\':
				i++
			case quote != 0:
				if c == quote {
					quote = 0
				}
			case c == '"' || c == '\'' || c == '`':
				quote = c
			case c == '{':
				open++
			case c == '}' && open > 0:
				open--
			case c == '}' && strings.HasPrefix(rest[i:], "}}"):
				end = i
			}
			if end >= 0 {
				break
			}
		}
		if end < 0 {
			return nil, errors.New("{{ is not closed by }}")
		}
		list = append(list, piece{strings.TrimSpace(rest[:end]), true})
		s = rest[end+2:]
	}
}

// ownWords are the words that stand for themselves, letter for letter.
var ownWords = []string{"topic", "payload", "value", "entity"}

// fill replaces the expressions in a template.
func (e *Engine) fill(s string, in *given) (string, error) {
	if !strings.Contains(s, "{{") {
		return s, nil
	}
	list, err := pieces(s)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range list {
		text := p.text
		if p.expr {
			if text, err = e.fillOne(p.text, in); err != nil {
				return "", fmt.Errorf("{{ %s }}: %w", clip(p.text), err)
			}
		}
		if b.Len()+len(text) > MaxSent {
			return "", fmt.Errorf("the text has more than %d bytes", MaxSent)
		}
		b.WriteString(text)
	}
	return b.String(), nil
}

func (e *Engine) fillOne(text string, in *given) (string, error) {
	switch text {
	case "topic":
		return in.topic, nil
	case "payload":
		return in.payload, nil
	case "value":
		return in.value, nil
	case "entity":
		return in.entity, nil
	}
	v, err := e.evaluate(text, false, in)
	if err == nil {
		v, err = finite(v)
	}
	return textOf(v), err
}

// wholeExpression returns the expression that a template consists of.
func wholeExpression(s string) (string, bool) {
	if !strings.Contains(s, "{{") {
		return "", false
	}
	list, err := pieces(s)
	if err != nil || len(list) != 1 || !list[0].expr {
		return "", false
	}
	return list[0].text, true
}

// listOf returns what an expression is worth as a list.
func listOf(v any) ([]any, bool) {
	if list, ok := v.([]any); ok {
		return list, true
	}
	of := reflect.ValueOf(v)
	if !of.IsValid() || of.Kind() != reflect.Slice {
		return nil, false
	}
	list := make([]any, of.Len())
	for i := range list {
		list[i] = of.Index(i).Interface()
	}
	return list, true
}

// resolve returns a value of a rule, or what it is worth if it is a template.
func (e *Engine) resolve(v Value, in *given) (Value, error) {
	if v.Type != devices.Text || !strings.Contains(v.Str, "{{") {
		return v, nil
	}
	if text, ok := wholeExpression(v.Str); ok {
		x, err := e.evaluate(text, false, in)
		if err != nil {
			return Value{}, err
		}
		return valueOf(x)
	}
	s, err := e.fill(v.Str, in)
	return Text(s), err
}

// resolveAny is resolve for a variable, which can be a list or a map too. Those
// are kept as JSON has them, so that they are the same after a restart.
func (e *Engine) resolveAny(v Value, in *given) (any, error) {
	if text, ok := wholeExpression(v.Str); ok && v.Type == devices.Text {
		x, err := e.evaluate(text, false, in)
		if err != nil {
			return nil, err
		}
		if worth := reflect.ValueOf(x).Kind(); worth == reflect.Slice || worth == reflect.Map {
			b, err := jsonText(x)
			if err != nil {
				return nil, err
			}
			if len(b) > MaxText {
				return nil, fmt.Errorf("a variable has at most %d bytes", MaxText)
			}
			var kept any
			err = json.Unmarshal([]byte(b), &kept)
			return kept, err
		}
		if v, err = valueOf(x); err != nil {
			return nil, err
		}
	} else {
		var err error
		if v, err = e.resolve(v, in); err != nil {
			return nil, err
		}
	}
	if len(v.Str) > MaxText {
		return nil, fmt.Errorf("a variable has at most %d bytes", MaxText)
	}
	return anyOf(v), nil
}

// template checks the expressions in a text of a rule.
func (c *checker) template(path, s string) {
	if !strings.Contains(s, "{{") {
		return
	}
	list, err := pieces(s)
	if err != nil {
		c.bad(path, "%s.", err)
		return
	}
	for _, p := range list {
		if p.expr && !slices.Contains(ownWords, p.text) {
			c.expression(path, p.text, false)
		}
	}
}

func (c *checker) expression(path, text string, condition bool) {
	if _, err := c.compile(text, condition); err != nil {
		c.bad(path, "The expression cannot be calculated: %s.", strings.TrimSuffix(err.Error(), "."))
	}
}
