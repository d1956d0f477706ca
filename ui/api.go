package ui

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lar.home/automations"
	"lar.home/mqtt"
)

// The API of rules, see packaging/docs/api.md. A rule is its YAML text, its
// version the ETag: whoever changes one says by If-Match which version the
// change is based on.

// apiRule is a rule in a list.
type apiRule struct {
	ID       string    `json:"id"`
	Name     string    `json:"name"`
	Enabled  bool      `json:"enabled"`
	Version  int       `json:"version"`
	By       string    `json:"by"`
	At       string    `json:"at"`
	Paused   string    `json:"paused,omitempty"`
	Waiting  int       `json:"waiting,omitempty"`
	Problems []problem `json:"problems,omitempty"`
}

// problem is what is wrong with a rule, at its place in the text.
type problem struct {
	Line    int    `json:"line,omitempty"`
	Column  int    `json:"column,omitempty"`
	Path    string `json:"path"`
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"`
}

// apiError is the answer to what is refused.
type apiError struct {
	Error    string    `json:"error"`
	Problems []problem `json:"problems,omitempty"`
	// Of a save that is based on another version than the newest.
	Version    int    `json:"version,omitempty"`
	By         string `json:"by,omitempty"`
	Difference string `json:"difference,omitempty"`
}

func (s *Server) apiRoutes(handle func(pattern string, needs right, h handler)) {
	handle("GET /api/rules", see, s.apiList)
	handle("POST /api/rules", edit, s.apiImport)
	handle("GET /api/rules/{id}", see, s.apiRule)
	handle("PUT /api/rules/{id}", edit, s.apiPut)
	handle("DELETE /api/rules/{id}", edit, s.apiDelete)
	handle("GET /api/rules/{id}/versions", see, s.apiVersions)
	handle("GET /api/rules/{id}/runs", see, s.apiRuns)
	handle("POST /api/rules/{id}/run", edit, s.apiRun)
	handle("POST /api/rules/{id}/enabled", edit, s.apiEnabled)
}

// API returns a handler of the API alone, for callers who have shown in
// another way that they may do everything; name is who they are.
func (s *Server) API(name string) http.Handler {
	mux := http.NewServeMux()
	s.apiRoutes(func(pattern string, _ right, h handler) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(r))
			v := visitor{Person: Person{Name: name, Role: Owner}}
			r = r.WithContext(context.WithValue(r.Context(), personKey{}, v))
			if err := h(w, r); err != nil {
				s.fail(w, r, err)
			}
		})
	})
	return mux
}

// isAPI tells whether a request is answered with JSON whatever it accepts.
func isAPI(r *http.Request) bool {
	return strings.HasPrefix(r.URL.Path, "/api/") || strings.HasPrefix(r.URL.Path, "/hook/")
}

func listed(r *automations.Rule) apiRule {
	a := apiRule{
		ID: r.ID, Name: r.Name, Enabled: r.Enabled, Version: r.Version, By: r.Saved.By, At: r.Saved.At.UTC().Format("2006-01-02T15:04:05Z"),
		Paused: r.Status.Paused, Waiting: r.Status.Waiting,
	}
	for _, p := range r.Status.Problems {
		a.Problems = append(a.Problems, problem{Path: p.Path, Text: p.Text, Warning: p.Warning})
	}
	return a
}

func (s *Server) apiList(w http.ResponseWriter, _ *http.Request) error {
	list := []apiRule{}
	for _, r := range s.Rules.Rules() {
		list = append(list, listed(r))
	}
	s.answer(w, http.StatusOK, list)
	return nil
}

func (s *Server) apiRule(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	if text := r.URL.Query().Get("version"); text != "" {
		n, _ := strconv.Atoi(text)
		if rule = s.version(rule.ID, n); rule == nil {
			return errNoRule
		}
	}
	w.Header().Set("ETag", etag(rule))
	if wants := r.Header.Get("If-None-Match"); wants == etag(rule) {
		w.WriteHeader(http.StatusNotModified)
		return nil
	}
	w.Header().Set("Content-Type", "application/yaml; charset=utf-8")
	io.WriteString(w, rule.YAML())
	return nil
}

func etag(r *automations.Rule) string { return `"` + strconv.Itoa(r.Version) + `"` }

// apiPut saves a rule. With If-Match it changes the one of this ID, without it
// makes a new one.
func (s *Server) apiPut(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	id, fate := r.PathValue("id"), r.URL.Query().Get("runs")
	if fate != "" && fate != string(automations.Finish) && fate != string(automations.Move) && fate != string(automations.Cancel) {
		return s.refuse(w, http.StatusBadRequest, apiError{Error: "runs is finish, move or cancel"})
	}
	rule := s.Rules.Rule(id)
	if rule != nil && rule.Status.Deleted != nil {
		return s.refuse(w, http.StatusConflict, apiError{Error: "it was deleted; restore it first"})
	}
	match := r.Header.Get("If-Match")
	base := 0
	switch {
	case rule == nil && match != "":
		return s.refuse(w, http.StatusPreconditionFailed, apiError{Error: "there is no such automation"})
	case rule != nil && match == "":
		return s.refuse(w, http.StatusPreconditionRequired, apiError{Error: "say by If-Match which version the change is based on", Version: rule.Version})
	case match == "*":
		base = rule.Version
	case rule != nil:
		if base, err = strconv.Atoi(strings.Trim(match, `"`)); err != nil || base < 1 {
			return s.refuse(w, http.StatusBadRequest, apiError{Error: "If-Match is a version as the ETag says it"})
		}
	}
	text := string(body)
	var saved *automations.Rule
	var problems []automations.TextProblem
	if rule == nil {
		given, wrong := aRule(text)
		if given.ID == "" {
			given.ID = id
		}
		if problems = wrong; len(problems) == 0 && given.ID != id {
			problems = placed(text, []automations.Problem{{Path: "id", Text: "The ID in the text is another than that of the address."}})
		}
		if len(problems) == 0 {
			saved, err = s.save(r, given, 0, automations.Finish)
			if invalid, ok := errors.AsType[*automations.InvalidError](err); ok {
				problems, err = placed(text, invalid.Problems), nil
			}
		}
	} else {
		saved, problems, err = s.saveText(r, text, rule, base, automations.Fate(fate))
	}
	if stale, ok := errors.AsType[*automations.StaleError](err); ok {
		var difference strings.Builder
		for _, l := range s.since(stale.Current, base) {
			difference.WriteByte(l.Op)
			difference.WriteString(l.Text + "\n")
		}
		w.Header().Set("ETag", etag(stale.Current))
		return s.refuse(w, http.StatusPreconditionFailed, apiError{Error: stale.Error(), Version: stale.Current.Version, By: stale.Current.Saved.By, Difference: difference.String()})
	}
	switch {
	case errors.Is(err, automations.ErrIDTaken), errors.Is(err, automations.ErrDeleted), errors.Is(err, automations.ErrTooMany):
		return s.refuse(w, http.StatusConflict, apiError{Error: err.Error()})
	case err != nil:
		return err
	case len(problems) > 0:
		return s.refuse(w, http.StatusUnprocessableEntity, apiError{Error: "the automation cannot be saved", Problems: problemsAt(problems)})
	}
	w.Header().Set("ETag", etag(saved))
	status := http.StatusOK
	if rule == nil {
		status = http.StatusCreated
		w.Header().Set("Location", "/api/rules/"+url.PathEscape(saved.ID))
	}
	s.answer(w, status, listed(saved))
	return nil
}

func problemsAt(list []automations.TextProblem) []problem {
	var all []problem
	for _, p := range list {
		all = append(all, problem{p.Line, p.Column, p.Path, p.Text, p.Warning})
	}
	return all
}

func (s *Server) refuse(w http.ResponseWriter, status int, e apiError) error {
	s.answer(w, status, e)
	return nil
}

// apiImport saves the rules of a text as new ones.
func (s *Server) apiImport(w http.ResponseWriter, r *http.Request) error {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	saved, problems, err := s.importText(r, string(body))
	if err != nil {
		return err
	}
	if len(problems) > 0 {
		return s.refuse(w, http.StatusUnprocessableEntity, apiError{Error: "the automations cannot be saved", Problems: problemsAt(problems)})
	}
	list := []apiRule{}
	for _, rule := range saved {
		list = append(list, listed(rule))
	}
	s.answer(w, http.StatusCreated, list)
	return nil
}

func (s *Server) apiDelete(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	if match := r.Header.Get("If-Match"); match != "" && match != "*" && match != etag(rule) {
		return s.refuse(w, http.StatusPreconditionFailed, apiError{Error: "it is at another version", Version: rule.Version})
	}
	if err := s.House.Do(r.Context(), func(t *mqtt.Turn) error { return s.Rules.Delete(t, rule.ID, who(r).Name) }); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *Server) apiVersions(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	type version struct {
		Version int    `json:"version"`
		By      string `json:"by"`
		At      string `json:"at"`
	}
	list := []version{}
	for _, v := range s.Rules.Versions(rule.ID) {
		l := listed(v)
		list = append(list, version{l.Version, l.By, l.At})
	}
	s.answer(w, http.StatusOK, list)
	return nil
}

func (s *Server) apiRuns(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	runs := s.Rules.Runs(rule.ID)
	if runs == nil {
		runs = []*automations.Run{}
	}
	s.answer(w, http.StatusOK, runs)
	return nil
}

func (s *Server) apiRun(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	var run *automations.Run
	err = s.House.Do(r.Context(), func(t *mqtt.Turn) (err error) {
		run, err = s.Rules.RunNow(t, rule.ID, who(r).Name)
		return err
	})
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, run)
	return nil
}

// apiEnabled switches a rule: the body is {"enabled": true} or false.
func (s *Server) apiEnabled(w http.ResponseWriter, r *http.Request) error {
	rule, err := s.rule(r)
	if err != nil {
		return err
	}
	var body struct{ Enabled *bool }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil || body.Enabled == nil {
		return s.refuse(w, http.StatusBadRequest, apiError{Error: `the body is {"enabled": true} or {"enabled": false}`})
	}
	err = s.House.Do(r.Context(), func(t *mqtt.Turn) error { return s.Rules.SetEnabled(t, rule.ID, *body.Enabled, who(r).Name) })
	if err != nil {
		return err
	}
	s.answer(w, http.StatusOK, listed(s.Rules.Rule(rule.ID)))
	return nil
}
