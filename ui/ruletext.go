package ui

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lar.home/automations"
	"lar.home/ui/view"
)

// Limits on what comes as text.
const (
	maxRuleBody = 3*automations.MaxRuleBytes + 4<<10 // a form writes a byte as up to three
	maxImport   = 100                                // automations at a time
)

// newText is where a new automation begins as text.
const newText = `name: ""
triggers:
  - hand: {}
actions:
  - note: ""
`

// bodyLimit is how many bytes a request may have.
func bodyLimit(r *http.Request) int64 {
	if strings.HasPrefix(r.URL.Path, "/hook/") {
		return automations.MaxSent
	}
	if strings.HasPrefix(r.URL.Path, "/automations/") || strings.HasPrefix(r.URL.Path, "/api/rules") {
		return maxRuleBody
	}
	return maxBody
}

// aRule reads one automation out of a text.
func aRule(text string) (rule automations.Rule, problems []automations.TextProblem) {
	list := automations.ParseYAML([]byte(text))
	at := func(line int, words string) []automations.TextProblem {
		return []automations.TextProblem{{Line: line, Column: 1, Problem: automations.Problem{Text: words}}}
	}
	switch {
	case len(list) == 0:
		return rule, at(1, "There is no automation in it.")
	case len(list) > 1:
		return rule, at(list[1].Line, "Here begins another automation; several are taken by Import.")
	}
	for _, p := range list[0].Problems {
		if !p.Warning {
			problems = append(problems, p)
		}
	}
	return list[0].Rule, problems
}

// placed puts problems that only the house knows at their places in the text.
func placed(text string, problems []automations.Problem) (list []automations.TextProblem) {
	var rule automations.Rule
	places, _ := automations.Document{Text: []byte(text), Line: 1}.Into(&rule)
	for _, p := range problems {
		if p.Warning {
			continue
		}
		line, column := places.At(p.Path)
		list = append(list, automations.TextProblem{Line: line, Column: column, Problem: p})
	}
	return list
}

// saveText stores an automation from its text. What is wrong with the text is
// returned as problems, anything else as an error.
func (s *Server) saveText(r *http.Request, text string, rule *automations.Rule, base int, fate automations.Fate) (*automations.Rule, []automations.TextProblem, error) {
	given, problems := aRule(text)
	if len(problems) == 0 && rule != nil {
		if given.ID != "" && given.ID != rule.ID {
			problems = placed(text, []automations.Problem{{Path: "id", Text: fmt.Sprintf("The ID of this automation is %s and stays so.", rule.ID)}})
		}
		given.ID = rule.ID
	}
	if len(problems) > 0 {
		return nil, problems, nil
	}
	saved, err := s.save(r, given, base, fate)
	if invalid, ok := errors.AsType[*automations.InvalidError](err); ok {
		return nil, placed(text, invalid.Problems), nil
	}
	if errors.Is(err, automations.ErrIDTaken) {
		return nil, placed(text, []automations.Problem{{Path: "id", Text: upper(err.Error()) + "."}}), nil
	}
	return saved, nil, err
}

// editText takes an automation as text: it saves it, or draws it as blocks.
func (s *Server) editText(w http.ResponseWriter, r *http.Request, rule *automations.Rule) error {
	text := strings.ReplaceAll(r.PostForm.Get("text"), "\r\n", "\n") // browsers send the former for a line's end
	f := view.RuleForm{AsText: true, Text: text, Changed: true, Fate: r.PostForm.Get("runs"), House: s.Model.House()}
	f.Base, _ = strconv.Atoi(r.PostForm.Get("base"))
	if r.PostForm.Get("op") == "form" {
		given, problems := aRule(text)
		if len(problems) > 0 {
			f.Problems = problems
			return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
		}
		base := f.Base
		f = formOf(&given, s.Model.House())
		// What the form does not show must not be lost: the text is saved as
		// it is, or the form as a change of the newest version.
		f.Base, f.From, f.Changed = base, base, true
		if rule == nil || !sameBeside(given, *rule) {
			return s.editor(w, r, http.StatusUnprocessableEntity, view.RuleForm{AsText: true, Text: text, Changed: true, Base: base, House: s.Model.House(),
				Problems: []automations.TextProblem{{Line: 1, Column: 1, Problem: automations.Problem{Text: "Save the text first: it says more than the blocks can show."}}}}, rule)
		}
		return s.editor(w, r, http.StatusOK, f, rule)
	}
	saved, problems, err := s.saveText(r, text, rule, f.Base, automations.Fate(f.Fate))
	if stale, ok := errors.AsType[*automations.StaleError](err); ok {
		s.staleForm(&f, stale)
		f.Problems = []automations.TextProblem{{Line: 1, Column: 1, Problem: automations.Problem{Text: f.Errors[""]}}}
		return s.editor(w, r, http.StatusConflict, f, stale.Current)
	}
	if errors.Is(err, automations.ErrTooMany) {
		problems, err = placed(text, []automations.Problem{{Text: upper(err.Error()) + "."}}), nil
	}
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		f.Problems = problems
		return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
	}
	return s.done(w, r, "/automations/"+url.PathEscape(saved.ID)+"?as=text", "Saved as version "+strconv.Itoa(saved.Version)+".", false)
}

// sameBeside tells whether two rules differ only in what a form shows.
func sameBeside(a, b automations.Rule) bool {
	for _, r := range []*automations.Rule{&a, &b} {
		r.ID, r.Name, r.Mode, r.Max, r.Triggers, r.Conditions, r.Actions = "", "", "", 0, nil, nil, nil
		r.Version, r.Text, r.Saved, r.Enabled = 0, "", automations.Saved{}, true
	}
	return string(a.Encode()) == string(b.Encode())
}

func (s *Server) showVersion(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(r.PathValue("version"))
	v := s.version(rule.ID, n)
	if v == nil {
		return errNoRule
	}
	before, text := s.version(rule.ID, n-1), v.YAML()
	var list []automations.Line
	if before != nil {
		list = automations.Difference(before.YAML(), text)
	}
	f := view.RuleForm{Waiting: rule.Status.Waiting}
	return s.render(w, r, http.StatusOK, view.VersionPage(s.page(r, "Version "+strconv.Itoa(n), "automations"), rule, v, before, list, text, f))
}

// restoreVersion saves an older version again, as a new one.
func (s *Server) restoreVersion(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	n, _ := strconv.Atoi(r.PathValue("version"))
	v := s.version(rule.ID, n)
	if v == nil {
		return errNoRule
	}
	base, _ := strconv.Atoi(r.PostForm.Get("base"))
	given := *v
	given.Text, given.Enabled = v.YAML(), rule.Enabled
	saved, err := s.save(r, given, base, automations.Fate(r.PostForm.Get("runs")))
	back := "/automations/" + url.PathEscape(rule.ID)
	if stale, ok := errors.AsType[*automations.StaleError](err); ok {
		return s.done(w, r, back, stale.Current.Saved.By+" has changed this automation in the meantime. Nothing was changed.", true)
	}
	if _, ok := errors.AsType[*automations.InvalidError](err); ok {
		return s.done(w, r, back+"?version="+strconv.Itoa(n), "That version cannot be used as it is any more: look at it and save it here.", true)
	}
	if err != nil {
		return err
	}
	return s.done(w, r, back, "Version "+strconv.Itoa(n)+" is in use again, as version "+strconv.Itoa(saved.Version)+".", false)
}

func (s *Server) showImport(w http.ResponseWriter, r *http.Request) error {
	return s.render(w, r, http.StatusOK, view.ImportPage(s.page(r, "Import automations", "automations"), "", nil))
}

// importRules takes several automations at a time: none if something is found
// wrong with one of them.
func (s *Server) importRules(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	text := strings.ReplaceAll(r.PostForm.Get("text"), "\r\n", "\n")
	saved, problems, err := s.importText(r, text)
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		var words []string
		for _, p := range problems {
			line := "Line " + strconv.Itoa(p.Line) + ", column " + strconv.Itoa(p.Column) + ": "
			if p.Path != "" {
				line += p.Path + ": "
			}
			words = append(words, line+p.Text)
		}
		return s.render(w, r, http.StatusUnprocessableEntity, view.ImportPage(s.page(r, "Import automations", "automations"), text, words))
	}
	return s.done(w, r, "/automations", view.Imported(len(saved)), false)
}

// importText saves the automations of a text as new ones.
func (s *Server) importText(r *http.Request, text string) (saved []*automations.Rule, problems []automations.TextProblem, err error) {
	list := automations.ParseYAML([]byte(text))
	switch {
	case len(list) == 0:
		return nil, placed("", []automations.Problem{{Text: "There is no automation in it."}}), nil
	case len(list) > maxImport:
		return nil, placed("", []automations.Problem{{Text: fmt.Sprintf("There are %d automations in it; at most %d are taken at a time.", len(list), maxImport)}}), nil
	}
	ids := map[string]bool{}
	refuse := func(line int, path, words string) {
		problems = append(problems, automations.TextProblem{Line: line, Column: 1, Problem: automations.Problem{Path: path, Text: words}})
	}
	for _, given := range list {
		for _, p := range given.Problems {
			if !p.Warning {
				problems = append(problems, p)
			}
		}
		if id := given.Rule.ID; id != "" {
			if ids[id] || s.Rules.Rule(id) != nil {
				refuse(given.Line, "id", upper(automations.ErrIDTaken.Error())+".")
			}
			ids[id] = true
		}
	}
	house := s.Model.House()
	for _, given := range list {
		for _, p := range given.Rule.Validate(house) {
			if !p.Warning && len(given.Problems) == 0 {
				refuse(given.Line, p.Path, p.Text)
			}
		}
	}
	if len(problems) > 0 {
		return nil, problems, nil
	}
	for _, given := range list {
		rule, err := s.save(r, given.Rule, 0, automations.Finish)
		if err == nil {
			saved = append(saved, rule)
			continue
		}
		invalid, ok := errors.AsType[*automations.InvalidError](err)
		if !ok && !errors.Is(err, automations.ErrTooMany) && !errors.Is(err, automations.ErrIDTaken) {
			return saved, nil, err
		}
		problem := automations.Problem{Text: upper(err.Error()) + "."}
		if ok {
			problem = invalid.Problems[0]
		}
		if len(saved) > 0 {
			problem.Text += " " + view.Imported(len(saved)) + " These stand before it."
		}
		refuse(given.Line, problem.Path, problem.Text)
		return saved, problems, nil
	}
	return saved, nil, nil
}
