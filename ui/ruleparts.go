package ui

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/ui/view"
)

// Blocks hold others: what a branch does, what must hold for it. This file has
// how they are named, found and moved, and the blocks that are made of them.

// mostBlocks is how many blocks a list may have, by its letter.
var mostBlocks = map[string]int{"t": automations.MaxTriggers, "c": automations.MaxConditions, "a": automations.MaxActions}

// maxPrefix bounds the name of a block, and with it how deep they can stand in
// one another; it is enough for whatever makes a valid automation.
const maxPrefix = 200

// rowBounds are how many ways, branches or lines a block of a kind can have.
var rowBounds = map[string][2]int{
	"choose": {1, 20}, "parallel": {2, automations.MaxParallel},
	"set": {1, automations.MaxVariables}, "http": {1, automations.MaxHeaders},
}

func rows(b *view.Block) int {
	bounds := rowBounds[b.Kind]
	return b.Rows(bounds[0], bounds[1])
}

// newBlock returns a block with nothing in it, and room for n lines at least.
func newBlock(kind string, n int) view.Block {
	b := view.Block{Kind: kind, Fields: url.Values{}}
	if rowBounds[kind][0] > 0 {
		b.Fields.Set("n", strconv.Itoa(max(n, rowBounds[kind][0])))
	}
	b.Lists = view.Lists(kind, rows(&b))
	return b
}

// number says of each block where it stands.
func number(f *view.RuleForm) {
	for letter, list := range map[string][]view.Block{"t": f.Triggers, "c": f.Conditions, "a": f.Actions} {
		numberList(f, list, letter, letter)
	}
}

func numberList(f *view.RuleForm, list []view.Block, key, letter string) {
	for i := range list {
		b := &list[i]
		b.Prefix, b.Letter = blockName(key, i), letter
		b.House, b.Channels, b.Rules, b.Scenes = f.House, f.Channels, f.Rules, f.Scenes
		for _, l := range b.Lists {
			numberList(f, l.Blocks, b.Key(l), l.Letter)
		}
	}
}

// blockName names a block of a list: the first trigger is plainly t.
func blockName(key string, i int) string {
	switch {
	case key == "t" && i == 0:
		return key
	case len(key) == 1:
		return key + strconv.Itoa(i)
	}
	return key + "_" + strconv.Itoa(i)
}

// placeOf takes the name of a block apart.
func placeOf(name string) (key string, i int, ok bool) {
	if name == "t" {
		return name, 0, true
	}
	at := strings.LastIndexByte(name, '_')
	if key = name[:min(1, len(name))]; at >= 0 {
		key = name[:at]
	}
	i, err := strconv.Atoi(name[max(at+1, min(1, len(name))):])
	return key, i, err == nil && i >= 0 && blockName(key, i) == name
}

// A gathering holds the blocks that somebody sent, by name, and which there
// are of each list.
type gathering struct {
	blocks map[string]*view.Block
	lists  map[string][]int
}

func sortOut(posted url.Values) gathering {
	g := gathering{map[string]*view.Block{}, map[string][]int{}}
	for field, values := range posted {
		prefix, name, ok := strings.Cut(field, ".")
		if !ok || len(prefix) > maxPrefix {
			continue
		}
		key, i, ok := placeOf(prefix)
		if !ok {
			continue
		}
		b := g.blocks[prefix]
		if b == nil {
			b = &view.Block{Fields: url.Values{}, Errors: map[string]string{}}
			g.blocks[prefix] = b
			g.lists[key] = append(g.lists[key], i)
		}
		b.Fields[name] = values
	}
	return g
}

// take returns the blocks of a list, with all that they hold.
func (g gathering) take(key, letter string) (list []view.Block) {
	slices.Sort(g.lists[key])
	for _, i := range g.lists[key] {
		name := blockName(key, i)
		b := *g.blocks[name]
		if b.Kind = b.Get("kind"); !slices.Contains(view.Kinds[letter], b.Kind) {
			continue
		}
		b.Lists = view.Lists(b.Kind, rows(&b))
		for j := range b.Lists {
			l := &b.Lists[j]
			l.Blocks = g.take(name+"_"+l.Name, l.Letter)
		}
		list = append(list, b)
	}
	return list
}

// listAt returns the list that a key names: "a", or "a2_then" within a block.
func listAt(f *view.RuleForm, key string) (list *[]view.Block, letter string) {
	switch key {
	case "t":
		return &f.Triggers, key
	case "c":
		return &f.Conditions, key
	case "a":
		return &f.Actions, key
	}
	at := strings.LastIndexByte(key, '_')
	if at < 0 || len(key) > maxPrefix-8 {
		return nil, ""
	}
	within, i := blockIn(f, key[:at])
	if within == nil {
		return nil, ""
	}
	if l := (*within)[i].List(key[at+1:]); l != nil {
		return &l.Blocks, l.Letter
	}
	return nil, ""
}

// blockIn returns the list that holds a block, and its place there; nil when
// there is no such block.
func blockIn(f *view.RuleForm, name string) (*[]view.Block, int) {
	key, i, ok := placeOf(name)
	if !ok || key == name && name != "t" {
		return nil, 0
	}
	list, _ := listAt(f, key)
	if list == nil || i >= len(*list) {
		return nil, 0
	}
	return list, i
}

// resize gives a block a way, branch or line more, or takes one of the former
// away.
func resize(b *view.Block, drop int) {
	bounds, n := rowBounds[b.Kind], rows(b)
	names := map[string][]string{"choose": {"when", "then"}, "parallel": {"branch"}}[b.Kind]
	more := n + 1
	if drop >= 0 {
		more = n - 1
	}
	if more < bounds[0] || more > bounds[1] || drop >= n || drop >= 0 && names == nil {
		return
	}
	b.Fields.Set("n", strconv.Itoa(more))
	was := *b
	b.Lists = view.Lists(b.Kind, more)
	move := func(from, to string) {
		if from, to := was.List(from), b.List(to); from != nil && to != nil {
			to.Blocks = from.Blocks
		}
	}
	to := 0
	for i := range n {
		if i == drop {
			continue
		}
		for _, name := range names {
			move(name+strconv.Itoa(i), name+strconv.Itoa(to))
		}
		to++
	}
	move("else", "else")
}

// faulty tells whether something is wrong with a block, or within it.
func faulty(b *view.Block) bool {
	return len(b.Errors) > 0 || slices.ContainsFunc(b.Lists, func(l view.List) bool { return slices.ContainsFunc(l.Blocks, isFaulty) })
}

func isFaulty(b view.Block) bool { return faulty(&b) }

// survives tells whether a browser gives back what stands in fields: it takes
// line ends out of those of one line, and makes others its own.
func survives(fields url.Values) bool {
	for name, values := range fields {
		wrong := "\r\n"
		if name == "payload" || name == "yaml" || name == "note" || name == "body" {
			wrong = "\r"
		}
		if slices.ContainsFunc(values, func(s string) bool { return strings.ContainsAny(s, wrong) }) {
			return false
		}
	}
	return true
}

func (rd reader) conditionBlocks(list []automations.Condition) (blocks []view.Block) {
	for _, c := range list {
		blocks = append(blocks, whole(rd.conditionForm(c), c, rd.condition))
	}
	return blocks
}

func (rd reader) actionBlocks(list []automations.Action) (blocks []view.Block) {
	for _, a := range list {
		blocks = append(blocks, whole(rd.actionForm(a), a, rd.action))
	}
	return blocks
}

func (rd reader) conditions(blocks []view.Block) (list []automations.Condition) {
	for i := range blocks {
		blocks[i].Errors = map[string]string{}
		list = append(list, rd.condition(&blocks[i]))
	}
	return list
}

func (rd reader) actions(blocks []view.Block) (list []automations.Action) {
	for i := range blocks {
		blocks[i].Errors = map[string]string{}
		list = append(list, rd.action(&blocks[i]))
	}
	return list
}

// when and do read the lists of a block.
func (rd reader) when(b *view.Block, name string) []automations.Condition {
	if l := b.List(name); l != nil {
		return rd.conditions(l.Blocks)
	}
	return nil
}

func (rd reader) do(b *view.Block, name string) []automations.Action {
	if l := b.List(name); l != nil {
		return rd.actions(l.Blocks)
	}
	return nil
}

// group reads the conditions of a group; one without any is empty, not absent.
func (rd reader) group(b *view.Block) []automations.Condition {
	if list := rd.when(b, "of"); list != nil {
		return list
	}
	return []automations.Condition{}
}

// stepForm fills the blocks of actions that hold others, and of those that are
// but a few lines.
func (rd reader) stepForm(a automations.Action) (b view.Block) {
	when := func(name string, list []automations.Condition) { b.List(name).Blocks = rd.conditionBlocks(list) }
	do := func(name string, list []automations.Action) { b.List(name).Blocks = rd.actionBlocks(list) }
	switch {
	case a.Check != nil:
		b = newBlock("checks", 0)
		when("when", a.Check)
	case a.If != nil:
		b = newBlock("if", 0)
		when("when", a.If.When)
		do("then", a.If.Then)
		do("else", a.If.Else)
	case a.Choose != nil && len(a.Choose.Options) <= rowBounds["choose"][1]:
		b = newBlock("choose", len(a.Choose.Options))
		for i, o := range a.Choose.Options {
			when("when"+strconv.Itoa(i), o.When)
			do("then"+strconv.Itoa(i), o.Then)
		}
		do("else", a.Choose.Else)
	case a.Repeat != nil:
		b = rd.repeatForm(a.Repeat)
	case a.Parallel != nil && len(a.Parallel.Branches) <= rowBounds["parallel"][1]:
		b = newBlock("parallel", len(a.Parallel.Branches))
		for i, list := range a.Parallel.Branches {
			do("branch"+strconv.Itoa(i), list)
		}
	case a.Confirm != nil:
		b = newBlock("confirm", 0)
		do("do", a.Confirm.Do)
		when("until", a.Confirm.Until)
		do("else", a.Confirm.Else)
		setMessage(b.Fields, a.Confirm.Message)
		setSpan(b.Fields, "within", time.Duration(a.Confirm.Within))
		if a.Confirm.Retries != 0 {
			b.Fields.Set("retries", strconv.Itoa(a.Confirm.Retries))
		}
	case a.Set != nil:
		b = newBlock("set", len(a.Set))
		for i, name := range slices.Sorted(maps.Keys(a.Set)) {
			b.Fields.Set("k"+strconv.Itoa(i), name)
			b.Fields.Set("v"+strconv.Itoa(i), word(a.Set[name]))
		}
	case a.HTTP != nil:
		b = newBlock("http", len(a.HTTP.Headers))
		maps.Copy(b.Fields, set("url", a.HTTP.URL, "method", a.HTTP.Method, "body", a.HTTP.Body))
		for i, name := range slices.Sorted(maps.Keys(a.HTTP.Headers)) {
			b.Fields.Set("k"+strconv.Itoa(i), name)
			b.Fields.Set("v"+strconv.Itoa(i), a.HTTP.Headers[name])
		}
		setSpan(b.Fields, "timeout", time.Duration(a.HTTP.Timeout))
		if a.HTTP.Timeout == 0 {
			b.Fields.Set("timeoutunit", "s")
		}
	case a.Note != "":
		b = view.Block{Kind: "note", Fields: set("note", a.Note)}
	case a.Stop != nil:
		b = view.Block{Kind: "stop", Fields: set("as", "stop", "why", a.Stop.Why)}
	case a.Fail != nil:
		b = view.Block{Kind: "stop", Fields: set("as", "fail", "why", a.Fail.Why)}
	}
	return b
}

func (rd reader) awaitForm(w *automations.WaitAction) view.Block {
	b := newBlock("await", 0)
	b.List("until").Blocks = rd.conditionBlocks(w.Until)
	b.List("then").Blocks = rd.actionBlocks(w.Then)
	b.List("else").Blocks = rd.actionBlocks(w.Else)
	setMessage(b.Fields, w.Message)
	setSpan(b.Fields, "within", time.Duration(w.Within))
	return b
}

func (rd reader) repeatForm(r *automations.RepeatAction) view.Block {
	b := newBlock("repeat", 0)
	b.List("do").Blocks = rd.actionBlocks(r.Do)
	switch {
	case r.While != nil:
		b.Fields.Set("how", "while")
		b.List("while").Blocks = rd.conditionBlocks(r.While)
	case r.Until != nil:
		b.Fields.Set("how", "until")
		b.List("until").Blocks = rd.conditionBlocks(r.Until)
	case r.Each != nil:
		b.Fields.Set("how", "each")
		b.Fields.Set("each", wordList(r.Each))
	default:
		b.Fields.Set("how", "count")
		b.Fields.Set("count", word(r.Count))
	}
	if r.Max != 0 {
		b.Fields.Set("max", strconv.Itoa(r.Max))
	}
	return b
}

// setMessage fills in what message is waited for.
func setMessage(v url.Values, m *automations.MessageWait) {
	if m == nil {
		return
	}
	v.Set("by", "message")
	v.Set("filter", m.Filter)
	if p := m.Payload; p != nil {
		v.Set("path", p.Path)
		setComparison(v, p.Op, p.Value, p.Values, p.And)
	}
}

// step reads what stepForm fills.
func (rd reader) step(b *view.Block) (a automations.Action) {
	switch b.Kind {
	case "checks":
		a.Check = rd.when(b, "when")
		if a.Check == nil {
			b.Errors["when"] = "Give a condition."
		}
	case "if":
		a.If = &automations.IfAction{When: rd.when(b, "when"), Then: rd.do(b, "then"), Else: rd.do(b, "else")}
	case "choose":
		a.Choose = &automations.ChooseAction{Else: rd.do(b, "else")}
		for i := range rows(b) {
			n := strconv.Itoa(i)
			a.Choose.Options = append(a.Choose.Options, automations.Option{When: rd.when(b, "when"+n), Then: rd.do(b, "then"+n)})
		}
	case "repeat":
		a.Repeat = rd.repeat(b)
	case "parallel":
		a.Parallel = &automations.ParallelAction{}
		for i := range rows(b) {
			a.Parallel.Branches = append(a.Parallel.Branches, rd.do(b, "branch"+strconv.Itoa(i)))
		}
	case "confirm":
		c := &automations.ConfirmAction{Do: rd.do(b, "do"), Else: rd.do(b, "else")}
		c.Until, c.Message, c.Within = rd.awaited(b)
		c.Retries = rd.integer(b, "retries", "Say how often, from 0 to 20.")
		a.Confirm = c
	case "await":
		w := &automations.WaitAction{Then: rd.do(b, "then"), Else: rd.do(b, "else")}
		w.Until, w.Message, w.Within = rd.awaited(b)
		a.Wait = w
	case "set":
		a.Set = map[string]automations.Value{}
		rd.eachRow(b, func(name, text string) bool {
			_, twice := a.Set[name]
			a.Set[name] = readWord(text)
			return !twice
		})
		if len(a.Set) == 0 {
			note(b.Errors, "k0", "Give a variable a name.")
		}
	case "http":
		h := &automations.HTTPAction{URL: rd.chosen(b, "url", "Say which address, like https://example.org/hook."), Method: b.Get("method"),
			Body: strings.ReplaceAll(b.Get("body"), "\r\n", "\n"), Timeout: rd.span(b, "timeout")}
		rd.eachRow(b, func(name, text string) bool {
			if h.Headers == nil {
				h.Headers = map[string]string{}
			}
			_, twice := h.Headers[name]
			h.Headers[name] = text
			return !twice
		})
		a.HTTP = h
	case "note":
		if a.Note = strings.ReplaceAll(b.Get("note"), "\r\n", "\n"); strings.TrimSpace(a.Note) == "" {
			b.Errors["note"] = "Say what is to be noted."
		}
	case "stop":
		s := &automations.StopAction{Why: b.Get("why")}
		if b.Get("as") == "fail" {
			a.Fail = s
		} else {
			a.Stop = s
		}
	}
	return a
}

func (rd reader) repeat(b *view.Block) *automations.RepeatAction {
	r := &automations.RepeatAction{Do: rd.do(b, "do"), Max: rd.integer(b, "max", "Say how often at the most, from 1 to 1000.")}
	conditions := func(name string) []automations.Condition {
		list := rd.when(b, name)
		if list == nil {
			b.Errors[name] = "Give a condition."
		}
		return list
	}
	switch b.Get("how") {
	case "while":
		r.While = conditions("while")
	case "until":
		r.Until = conditions("until")
	case "each":
		if r.Each = rd.words(b, "each", ""); r.Each == nil {
			b.Errors["each"] = "Say for which values."
		}
	default:
		r.Count = readWord(rd.chosen(b, "count", "Say how many times."))
	}
	return r
}

// awaited reads what is waited for, and for how long at the most.
func (rd reader) awaited(b *view.Block) (until []automations.Condition, m *automations.MessageWait, within automations.Duration) {
	if within = rd.span(b, "within"); within == 0 && b.Errors["within"] == "" {
		b.Errors["within"] = "Say how long at the most."
	}
	if b.Get("by") != "message" {
		return rd.when(b, "until"), nil, within
	}
	m = &automations.MessageWait{Filter: strings.TrimSpace(b.Get("filter"))}
	if b.Get("value") != "" || valueless(b.Get("op")) {
		m.Payload = rd.compare(b)
	} else if strings.TrimSpace(b.Get("path")) != "" {
		b.Errors["value"] = "Say which value."
	}
	return nil, m, within
}

// eachRow reads the lines of a block that have a name and a text.
func (rd reader) eachRow(b *view.Block, take func(name, text string) bool) {
	for i := range rows(b) {
		n := strconv.Itoa(i)
		name, text := strings.TrimSpace(b.Get("k"+n)), strings.TrimSpace(b.Get("v"+n))
		switch {
		case name == "" && text == "":
		case name == "":
			b.Errors["k"+n] = "Give it a name."
		case !take(name, text):
			b.Errors["k"+n] = "This stands here twice."
		}
	}
}

// rowAt names the field of the line that the rest of a path is about.
func rowAt(b *view.Block, rest string) (string, bool) {
	at := map[string]string{"set": "set", "http": "http.headers"}[b.Kind]
	name, ok := strings.CutPrefix(rest, at)
	if at == "" || !ok {
		return "", false
	}
	for i := range rows(b) {
		if field := "k" + strconv.Itoa(i); "."+strings.TrimSpace(b.Get(field)) == name {
			return field, true
		}
	}
	return "k0", true
}

// integer reads a number that may be left out.
func (rd reader) integer(b *view.Block, field, wrong string) int {
	text := strings.TrimSpace(b.Get(field))
	n, err := strconv.Atoi(text)
	if text != "" && err != nil {
		b.Errors[field] = wrong
	}
	return n
}

// degrees reads how high the sun stands.
func (rd reader) degrees(b *view.Block) *float64 {
	v := automations.GuessValue(strings.Replace(b.Get("deg"), ",", ".", 1))
	if v.Type != devices.Number {
		b.Errors["deg"] = "Say how high, in degrees from -90 to 90."
	}
	return &v.Num
}

// setComparison fills in how something is compared: with one value, with a
// list (in), as a range (">=..<="), or with none (missing).
func setComparison(v url.Values, op automations.Op, value automations.Value, list []automations.Value, and *automations.Bound) {
	v.Set("op", string(op))
	switch {
	case op == automations.OneOf || op == automations.NoneOf:
		v.Set("value", wordList(list))
	case valueless(string(op)):
		if value == automations.Off() {
			v.Set("op", "not "+string(op))
		}
	case and != nil:
		v.Set("op", string(op)+".."+string(and.Op))
		v.Set("value2", and.Value.String())
		fallthrough
	default:
		v.Set("value", value.String())
	}
}

// valueless tells whether a comparison has no value.
func valueless(op string) bool {
	op = strings.TrimPrefix(op, "not ")
	return op == string(automations.Missing) || op == string(automations.Numeric)
}

// comparison reads what setComparison fills in; one reads a value.
func (rd reader) comparison(b *view.Block, t devices.Type, one func(field string) automations.Value) (op automations.Op, v automations.Value, list []automations.Value, and *automations.Bound) {
	text := cmp.Or(b.Get("op"), string(automations.Equal))
	from, to, ranged := strings.Cut(text, "..")
	switch op = automations.Op(text); {
	case op == automations.OneOf || op == automations.NoneOf:
		if list = rd.words(b, "value", t); list == nil {
			b.Errors["value"] = "Say which values."
		}
	case valueless(text):
		v = automations.On()
		if name, not := strings.CutPrefix(text, "not "); not {
			op, v = automations.Op(name), automations.Off()
		}
	case ranged:
		op, v, and = automations.Op(from), one("value"), &automations.Bound{Op: automations.Op(to), Value: one("value2")}
	default:
		v = one("value")
	}
	return op, v, list, and
}

// compare reads how a payload is compared.
func (rd reader) compare(b *view.Block) *automations.Compare {
	c := &automations.Compare{Path: strings.TrimSpace(b.Get("path"))}
	c.Op, c.Value, c.Values, c.And = rd.comparison(b, "", func(field string) automations.Value {
		if b.Get("op") == string(automations.Contains) {
			return automations.Text(b.Get(field))
		}
		return automations.GuessValue(b.Get(field))
	})
	return c
}

// Values where no type is known are written as in the language of rules: on and
// off, numbers, and texts, in quotes where they would be read as another.

func plain(s string) automations.Value {
	switch s {
	case "on":
		return automations.On()
	case "off":
		return automations.Off()
	}
	return automations.GuessValue(s)
}

func word(v automations.Value) string {
	s := v.String()
	if v.Type == devices.Text && (plain(s) != v || strings.TrimSpace(s) != s || strings.HasPrefix(s, `"`)) {
		return `"` + s + `"`
	}
	return s
}

func readWord(s string) automations.Value {
	if s = strings.TrimSpace(s); len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return automations.Text(s[1 : len(s)-1])
	}
	return plain(s)
}

// wordList writes values with commas between them.
func wordList(list []automations.Value) string {
	words := make([]string, len(list))
	for i, v := range list {
		if words[i] = word(v); v.Type == devices.Text && (words[i] == "" || strings.Contains(words[i], ",") && words[i][0] != '"') && !oneTemplate(words[i]) {
			words[i] = `"` + v.Str + `"`
		}
	}
	return strings.Join(words, ", ")
}

// oneTemplate tells whether a text is one {{ … }}: its commas are its own.
func oneTemplate(s string) bool {
	return strings.HasPrefix(s, "{{") && strings.HasSuffix(s, "}}") && strings.Count(s, "{{") == 1
}

// words reads what wordList writes; t is what the values are, if that is known.
func (rd reader) words(b *view.Block, field string, t devices.Type) (list []automations.Value) {
	for rest := strings.TrimSpace(b.Get(field)); rest != ""; {
		var text string
		if end := strings.Index(rest[1:], `"`); rest[0] == '"' && end >= 0 {
			text, rest = rest[1:1+end], strings.TrimSpace(rest[end+2:])
			list = append(list, automations.Text(text))
			after, ok := strings.CutPrefix(rest, ",")
			if rest != "" && !ok {
				b.Errors[field] = "Put commas between the values."
				return list
			}
			rest = strings.TrimSpace(after)
			continue
		}
		if text = rest; oneTemplate(rest) {
			rest = ""
		} else {
			text, rest, _ = strings.Cut(rest, ",")
		}
		if text, rest = strings.TrimSpace(text), strings.TrimSpace(rest); text != "" {
			list = append(list, rd.parse(b, field, text, t))
		}
	}
	return list
}

// wordsOf reads values of an aspect.
func (rd reader) wordsOf(b *view.Block, field, entity, aspect string) []automations.Value {
	return rd.words(b, field, aspectType(rd.house.Entity(entity), aspect))
}
