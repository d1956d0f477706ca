package view

import (
	"slices"
	"strconv"
	"strings"

	"lar.home/automations"
)

// A List is a list of conditions or actions within a block: what a branch
// does, what must hold for it. Its blocks are named by the block, the list and
// their place in it: "a2_then_0".
type List struct {
	Name   string // unique in its block
	Path   string // in the part that the block stands for: "if.then"
	Letter string // "c" for conditions, "a" for actions
	Title  string
	Blocks []Block
}

// MaxRows bounds the lines, ways and branches of a block that a form shows.
const MaxRows = 50

// Lists returns the lists that a block of a kind has, without blocks. n is how
// many ways a choice offers, and how many branches go side by side.
func Lists(kind string, n int) (all []List) {
	add := func(name, path, letter, title string) {
		all = append(all, List{Name: name, Path: path, Letter: letter, Title: title})
	}
	switch kind {
	case "all":
		add("of", "all", "c", "All of these hold")
	case "any":
		add("of", "any", "c", "At least one of these holds")
	case "not":
		add("of", "not", "c", "This does not hold")
	case "checks":
		add("when", "check", "c", "All of these hold")
	case "if":
		add("when", "if.when", "c", "If all of these hold")
		add("then", "if.then", "a", "Then")
		add("else", "if.else", "a", "Otherwise")
	case "choose":
		for i := range n {
			at := "choose.options[" + strconv.Itoa(i) + "]"
			title := "If all of these hold"
			if i > 0 {
				title = "Or else if all of these hold"
			}
			add("when"+strconv.Itoa(i), at+".when", "c", title)
			add("then"+strconv.Itoa(i), at+".then", "a", "Then")
		}
		add("else", "choose.else", "a", "Otherwise")
	case "repeat":
		add("while", "repeat.while", "c", "While all of these hold")
		add("until", "repeat.until", "c", "Until all of these hold")
		add("do", "repeat.do", "a", "Do")
	case "parallel":
		for i := range n {
			add("branch"+strconv.Itoa(i), "parallel.branches["+strconv.Itoa(i)+"]", "a", "Branch "+strconv.Itoa(i+1))
		}
	case "confirm":
		add("do", "confirm.do", "a", "Do")
		add("until", "confirm.until", "c", "Until all of these hold")
		add("else", "confirm.else", "a", "If that does not come about")
	case "await":
		add("until", "wait.until", "c", "Until all of these hold")
		add("then", "wait.then", "a", "When it has come about")
		add("else", "wait.else", "a", "If it does not come about in time")
	}
	return all
}

// Key names a list of a block: its blocks are Key_0, Key_1 and so on.
func (b Block) Key(l List) string { return b.Prefix + "_" + l.Name }

// List returns a list of a block by its name, or nil.
func (b *Block) List(name string) *List {
	for i := range b.Lists {
		if b.Lists[i].Name == name {
			return &b.Lists[i]
		}
	}
	return nil
}

// Rows returns how many lines, ways or branches a block has, between two
// bounds.
func (b Block) Rows(least, most int) int {
	n, _ := strconv.Atoi(b.Get("n"))
	return min(max(n, least), most)
}

// shows tells whether a list is asked for as the block stands now.
func (b Block) shows(l List) bool {
	switch {
	case b.Kind == "repeat" && l.Letter == "c":
		return b.Get("how") == l.Name
	case b.Kind == "confirm" || b.Kind == "await":
		return l.Name != "until" || b.Get("by") != "message"
	}
	return true
}

// without tells whether a list needs nothing in it, in words.
func (b Block) without(l List) string {
	switch l.Name {
	case "else":
		if b.Kind == "confirm" {
			return "Then the run fails. Or say what is done then."
		}
		return "Nothing."
	case "then":
		if b.Kind == "await" {
			return "Nothing in particular."
		}
	}
	if l.Letter == "a" {
		return "Nothing yet. Say what is done."
	}
	return "Nothing yet. Say what must hold."
}

// partKinds are the kinds of conditions and of actions that may be put into a list.
func partKinds(letter string) []option {
	titles := actionTitles
	if letter == "c" {
		titles = conditionTitles
	}
	list := make([]option, len(Kinds[letter]))
	for i, kind := range Kinds[letter] {
		list[i] = option{kind, upper(titles[kind])}
	}
	return list
}

// Kinds are the kinds of blocks, by the letter of their list. A block of kind
// text is one that the form has no fields for: it is the YAML of that part.
var Kinds = map[string][]string{
	"t": {"state", "time", "sun", "every", "message", "silent", "rule", "scene", "webhook", "cron", "start", "hand", "text"},
	"c": {"state", "time", "sun", "home", "payload", "rule", "expr", "any", "all", "not", "text"},
	"a": {"command", "many", "wait", "until", "await", "notify", "publish", "if", "choose", "check", "checks", "repeat", "confirm", "parallel",
		"scene", "capture", "rule", "set", "http", "note", "stop", "text"},
}

var repeatWays = []option{{"count", "so many times"}, {"while", "while something holds"}, {"until", "until something holds"}, {"each", "for each of some values"}}

var awaitWays = []option{{"state", "something holds"}, {"message", "a message comes"}}

var stopWays = []option{{"stop", "as done"}, {"fail", "as failed"}}

var goings = []option{{automations.Up, "rising"}, {automations.Down, "setting"}}

// methods lists those of requests; what goes without saying is POST.
func (b Block) methods() []option {
	list := []option{{"", "POST"}}
	for _, m := range automations.Methods {
		if m != "POST" || b.Get("method") == "POST" {
			list = append(list, option{m, m})
		}
	}
	return list
}

// tellable lists the entities that can be told something: first those that are
// chosen, in their order.
func (b Block) tellable() []option {
	var list []option
	for _, id := range b.Fields["entity"] {
		list = append(list, option{id, entityWords(b.House, id)})
	}
	for _, d := range b.House.Devices {
		for _, e := range d.Entities {
			if len(e.Commands) > 0 && !slices.ContainsFunc(list, func(o option) bool { return o.value == e.ID }) {
				list = append(list, option{e.ID, Name(e)})
			}
		}
	}
	return list
}

// rangeWords are the ranges that a form offers, and listWords the lists.
var (
	rangeWords = []option{{">=..<=", "is from … to"}, {">..<", "is between"}}
	listWords  = []option{{"in", "is one of"}, {"not in", "is none of"}}
	partOps    = []option{{"contains", "contains"}, {"numeric", "is a number"}, {"not numeric", "is no number"}, {"missing", "is missing"}, {"not missing", "is there"}}
)

// withChosen adds what is chosen to a list that has it not.
func withChosen(list []option, chosen string) []option {
	if chosen == "" || slices.ContainsFunc(list, func(o option) bool { return o.value == chosen }) {
		return list
	}
	words := chosen
	for _, o := range slices.Concat(rangeWords, listWords, partOps) {
		if o.value == chosen {
			words = o.text
		}
	}
	if op, and, ok := strings.Cut(chosen, ".."); ok && words == chosen {
		words = opWords[automations.Op(op)] + " … and " + opWords[automations.Op(and)]
	}
	return append(list, option{chosen, words})
}

// isRange, isList and isBare tell how many values a comparison has.
func (b Block) isRange() bool { return strings.Contains(b.Get("op"), "..") }
func (b Block) isList() bool  { return b.Get("op") == "in" || b.Get("op") == "not in" }
func (b Block) isBare() bool {
	return strings.HasSuffix(b.Get("op"), "missing") || strings.HasSuffix(b.Get("op"), "numeric")
}

const listHint = "Several, with commas between them."

// choosesFirst tells whether a block has no other choice before those that
// decide what else is asked: each block has one button to draw it anew.
func (b Block) choosesFirst() bool {
	return b.Letter != "t" && slices.Contains([]string{"payload", "sun", "repeat", "confirm", "await"}, b.Kind)
}

// drop tells which way or branch of a block begins with a list, and can be
// taken away.
func (b Block) drop(list int) (i int, label string, ok bool) {
	n, _ := strconv.Atoi(b.Get("n"))
	switch {
	case b.Kind == "choose" && n > 1 && list%2 == 0 && list/2 < n:
		return list / 2, "Remove this way", true
	case b.Kind == "parallel" && n > 2:
		return list, "Remove this branch", true
	}
	return 0, "", false
}

// area is a text within a textarea: the first line end there is not read.
func area(text string) string {
	if strings.HasPrefix(text, "\n") {
		return "\n" + text
	}
	return text
}
