package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

var (
	errNoRule = &failure{http.StatusNotFound, "There is no such automation", "It may have been deleted."}
	errNoRun  = &failure{http.StatusNotFound, "There is nothing known of that run", "What automations did is kept for a while only."}
)

func (s *Server) showRules(w http.ResponseWriter, r *http.Request) error {
	p := s.page(r, "Automations", "automations")
	s.follow(&p, "automations")
	return s.render(w, r, http.StatusOK, view.AutomationsPage(p, s.Rules.Rules(), s.Rules.Deleted(), s.Model.House()))
}

// rule returns the automation that a request is about.
func (s *Server) rule(r *http.Request) (*automations.Rule, error) {
	rule := s.Rules.Rule(r.PathValue("id"))
	if rule == nil || rule.Status.Deleted != nil {
		return nil, errNoRule
	}
	return rule, nil
}

func (s *Server) showNewRule(w http.ResponseWriter, r *http.Request) error {
	f := formOf(&automations.Rule{Mode: automations.Restart}, s.Model.House())
	if r.URL.Query().Get("as") == "text" {
		f.AsText, f.Text = true, newText
	}
	return s.editor(w, r, http.StatusOK, f, nil)
}

func (s *Server) showRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	shown := rule
	if n, err := strconv.Atoi(r.URL.Query().Get("version")); err == nil && n != rule.Version {
		if shown = s.version(rule.ID, n); shown == nil {
			return errNoRule
		}
	}
	f := formOf(shown, s.Model.House())
	f.Base, f.Changed = rule.Version, shown != rule
	if r.URL.Query().Get("as") == "text" {
		f.AsText, f.Text = true, shown.YAML()
	}
	return s.editor(w, r, http.StatusOK, f, rule)
}

// version returns a version of a rule, or nil.
func (s *Server) version(id string, n int) *automations.Rule {
	for _, v := range s.Rules.Versions(id) {
		if v.Version == n {
			return v
		}
	}
	return nil
}

func (s *Server) editor(w http.ResponseWriter, r *http.Request, status int, f view.RuleForm, rule *automations.Rule) error {
	p := s.page(r, "New automation", "automations")
	var versions []*automations.Rule
	var runs []*automations.Run
	for _, c := range s.Settings.Channels() {
		f.Channels = append(f.Channels, c.Name)
	}
	for _, other := range s.Rules.Rules() {
		f.Rules = append(f.Rules, view.Choice{ID: other.ID, Name: other.Name})
	}
	for _, scene := range s.Rules.Scenes() {
		f.Scenes = append(f.Scenes, scene.ID)
	}
	number(&f)
	if rule != nil {
		f.ID, f.Waiting = rule.ID, rule.Status.Waiting
		if who(r).may(edit) {
			f.Hooks = s.hookAddresses(r, rule)
		}
		s.follow(&p, "automation:"+rule.ID)
		p.Title = rule.Name
		versions, runs = s.Rules.Versions(rule.ID), s.Rules.Runs(rule.ID)
	}
	return s.render(w, r, status, view.AutomationPage(p, f, rule, versions, runs))
}

// editRule takes the form of an automation: it saves it, or draws it anew with
// a block more, less or elsewhere.
func (s *Server) editRule(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	var rule *automations.Rule
	if id := r.PathValue("id"); id != "" {
		var err error
		if rule, err = s.rule(r); err != nil {
			return err
		}
	}
	if r.PostForm.Get("as") == "text" {
		return s.editText(w, r, rule)
	}
	f := readForm(r.PostForm, s.Model.House())
	base := rule
	if rule != nil {
		f.ID = rule.ID
		if f.From != 0 && f.From != rule.Version {
			if base = s.version(rule.ID, f.From); base == nil {
				base = rule
			}
		}
	}
	op := r.PostForm.Get("op")
	if op == "text" { // as far as the form can be read
		given, _ := ruleOf(&f, base)
		f.Errors, f.AsText, f.Text = nil, true, given.YAML()
		return s.editor(w, r, http.StatusOK, f, rule)
	}
	if op != "save" {
		if rest, ok := strings.CutPrefix(op, "add "); ok && !strings.Contains(rest, " ") { // what is added was chosen beside the button
			op += " " + r.PostForm.Get("new "+rest)
		}
		arrange(&f, op)
		return s.editor(w, r, http.StatusOK, f, rule)
	}
	given, ok := ruleOf(&f, base)
	given.Enabled = true
	if rule != nil {
		given.ID, given.Enabled = rule.ID, rule.Enabled
	}
	if !ok {
		// The rest is looked at as well, so that everything is said at once.
		place(&f, given.Validate(s.Model.House()))
		return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
	}
	saved, err := s.save(r, given, f.Base, automations.Fate(f.Fate))
	if invalid, ok := errors.AsType[*automations.InvalidError](err); ok {
		place(&f, invalid.Problems)
		return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
	}
	if stale, ok := errors.AsType[*automations.StaleError](err); ok {
		s.staleForm(&f, stale)
		return s.editor(w, r, http.StatusConflict, f, stale.Current)
	}
	if errors.Is(err, automations.ErrTooMany) {
		f.Errors[""] = upper(err.Error()) + "."
		return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
	}
	if err != nil {
		return err
	}
	return s.done(w, r, "/automations/"+url.PathEscape(saved.ID), "Saved as version "+strconv.Itoa(saved.Version)+".", false)
}

// save stores an automation for the person who asks.
func (s *Server) save(r *http.Request, given automations.Rule, base int, fate automations.Fate) (saved *automations.Rule, err error) {
	if fate != automations.Move && fate != automations.Cancel {
		fate = automations.Finish
	}
	s.Rules.Compile(&given)
	err = s.House.Do(r.Context(), func(t *mqtt.Turn) (err error) {
		saved, err = s.Rules.SaveAnd(t, given, who(r).Name, base, fate)
		return err
	})
	return saved, err
}

// staleForm says in a form what somebody else has changed since it was begun.
func (s *Server) staleForm(f *view.RuleForm, stale *automations.StaleError) {
	if f.Errors == nil {
		f.Errors = map[string]string{}
	}
	f.Errors[""] = stale.Current.Saved.By + " has changed this automation in the meantime. Saving again replaces their version with yours. Theirs stays under Versions."
	f.Since = s.since(stale.Current, f.Base)
	f.Base = stale.Current.Version
}

// since says what has changed from a version of a rule to the one it has now.
func (s *Server) since(now *automations.Rule, base int) []automations.Line {
	old := s.version(now.ID, base)
	if old == nil {
		return nil
	}
	return automations.Difference(old.YAML(), now.YAML())
}

// change carries out a change of an automation that exists.
func (s *Server) change(r *http.Request, fn func(t *mqtt.Turn, id, by string) error) (*automations.Rule, error) {
	if err := r.ParseForm(); err != nil {
		return nil, readError(err)
	}
	rule := s.Rules.Rule(r.PathValue("id"))
	if rule == nil {
		return nil, errNoRule
	}
	err := s.House.Do(r.Context(), func(t *mqtt.Turn) error { return fn(t, rule.ID, who(r).Name) })
	if errors.Is(err, automations.ErrNotFound) || errors.Is(err, automations.ErrDeleted) {
		return nil, errNoRule
	}
	return rule, err
}

func (s *Server) enableRule(w http.ResponseWriter, r *http.Request) error {
	on, stopped := false, 0
	rule, err := s.change(r, func(t *mqtt.Turn, id, by string) error {
		on = r.PostForm.Get("enabled") == "true"
		if is := s.Rules.Rule(id); is != nil && !on {
			stopped = is.Status.Waiting
		}
		return s.Rules.SetEnabled(t, id, on, by)
	})
	if err != nil {
		return err
	}
	text := rule.Name + " is off."
	if stopped > 0 {
		text += " " + view.Stopped(stopped)
	}
	if on {
		text = rule.Name + " is on."
	}
	return s.done(w, r, here(r, "/automations"), text, false)
}

func (s *Server) deleteRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.change(r, s.Rules.Delete)
	if err != nil {
		return err
	}
	s.notice(who(r).token, view.Notice{Text: rule.Name + " was deleted.", Undo: "/automations/" + url.PathEscape(rule.ID) + "/restore"})
	http.Redirect(w, r, "/automations", http.StatusSeeOther)
	return nil
}

func (s *Server) restoreRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.change(r, s.Rules.Restore)
	if err != nil {
		return err
	}
	return s.done(w, r, "/automations/"+url.PathEscape(rule.ID), rule.Name+" is back.", false)
}

func (s *Server) runRule(w http.ResponseWriter, r *http.Request) error {
	var run *automations.Run
	rule, err := s.change(r, func(t *mqtt.Turn, id, by string) (err error) {
		run, err = s.Rules.RunNow(t, id, by)
		return err
	})
	if err != nil {
		return err
	}
	to := "/automations/" + url.PathEscape(rule.ID)
	if run != nil {
		to += "/runs/" + url.PathEscape(run.ID)
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (s *Server) showRun(w http.ResponseWriter, r *http.Request) error {
	p := s.page(r, "What happened", "automations")
	id, name := r.PathValue("id"), r.PathValue("run")
	run := s.Rules.Run(id, name)
	if run == nil {
		return errNoRun
	}
	if run.Outcome == automations.Waiting {
		s.follow(&p, "automation:"+id+":"+name)
	}
	return s.render(w, r, http.StatusOK, view.RunPage(p, run, s.version(id, run.Version), s.Model.House()))
}

// paused tells the owner of automations that were taken out of service.
func paused(rules []*automations.Rule) (list []view.Trouble) {
	for _, r := range rules {
		if r.Status.Paused != "" && len(list) < 5 {
			list = append(list, view.Trouble{Title: "The automation " + r.Name + " is paused.", Text: r.Status.Paused + " It runs again once somebody switches it on; its page says more."})
		}
	}
	return list
}
