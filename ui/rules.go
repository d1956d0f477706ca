package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"

	"lar.home/automations"
	"lar.home/mqtt"
	"lar.home/ui/view"
)

var (
	errNoRule   = &failure{http.StatusNotFound, "There is no such automation", "It may have been deleted."}
	errTextOnly = &failure{http.StatusConflict, "This automation is written as text", "It says more than a form can show, and saving the form would take that away."}
	errNoRun    = &failure{http.StatusNotFound, "There is nothing known of that run", "What automations did is kept for a while only."}
)

func (s *Server) showRules(w http.ResponseWriter, r *http.Request) error {
	p := s.page(r, "Automations", "automations")
	s.follow(&p, "automations")
	return s.render(w, r, http.StatusOK, view.AutomationsPage(p, s.Rules.Rules(), s.Model.House()))
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
	return s.editor(w, r, http.StatusOK, f, nil)
}

func (s *Server) showRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	f := formOf(rule, s.Model.House())
	if n, err := strconv.Atoi(r.URL.Query().Get("version")); err == nil && n != rule.Version {
		old := s.version(rule.ID, n)
		if old == nil {
			return errNoRule
		}
		f = formOf(old, s.Model.House())
		f.Base, f.Changed = rule.Version, true
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
	if rule != nil {
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
	if rule != nil && !rule.FormEditable() {
		return errTextOnly
	}
	f := readForm(r.PostForm, s.Model.House())
	if op := r.PostForm.Get("op"); op != "save" {
		arrange(&f, op)
		return s.editor(w, r, http.StatusOK, f, rule)
	}
	given, ok := ruleOf(&f)
	given.Enabled = true
	if rule != nil {
		given.ID, given.Enabled, given.Description = rule.ID, rule.Enabled, rule.Description
		if given.Mode == automations.Parallel && rule.Mode == automations.Parallel {
			given.Max = rule.Max
		}
	}
	if !ok {
		// The rest is looked at as well, so that everything is said at once.
		place(&f, given.Validate(s.Model.House()))
		return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
	}
	var saved *automations.Rule
	err := s.House.Do(r.Context(), func(t *mqtt.Turn) (err error) {
		saved, err = s.Rules.Save(t, given, who(r).Name, f.Base)
		return err
	})
	if invalid, ok := errors.AsType[*automations.InvalidError](err); ok {
		place(&f, invalid.Problems)
		return s.editor(w, r, http.StatusUnprocessableEntity, f, rule)
	}
	if stale, ok := errors.AsType[*automations.StaleError](err); ok {
		f.Errors[""] = stale.Current.Saved.By + " has changed this automation in the meantime. Look at it in another tab; saving again replaces their version with yours. Theirs stays under Versions."
		f.Base = stale.Current.Version
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
	on := false
	rule, err := s.change(r, func(t *mqtt.Turn, id, by string) error {
		on = r.PostForm.Get("enabled") == "true"
		return s.Rules.SetEnabled(t, id, on, by)
	})
	if err != nil {
		return err
	}
	text := rule.Name + " is off."
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
