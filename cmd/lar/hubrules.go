package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"text/tabwriter"

	"lar.home/automations"
	"lar.home/hub/control"
)

// hubRules are the words of lar rules that need the hub to run.
var hubRules = []string{"list", "get", "put"}

// apiAnswer is what the hub says of a rule, or why it refuses one.
type apiAnswer struct {
	ID         string        `json:"id"`
	Name       string        `json:"name"`
	Enabled    bool          `json:"enabled"`
	Version    int           `json:"version"`
	By         string        `json:"by"`
	Paused     string        `json:"paused"`
	Error      string        `json:"error"`
	Problems   []problemLine `json:"problems"`
	Difference string        `json:"difference"`
}

// rulesOfHub asks the hub that runs on the data folder.
func rulesOfHub(f flags, words []string, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	verb, args := words[1], words[2:]
	switch {
	case verb == "list" && len(args) > 0, verb == "get" && len(args) != 1, verb == "put" && len(args) == 0:
		return usageError{fmt.Errorf("lar rules %s is not called like that: see lar --help", verb)}
	case f.runs != "" && verb != "put":
		return usageError{errors.New("--runs belongs to lar rules put: see lar --help")}
	}
	hub, err := control.Dial(ctx, f.hub.Dir)
	if err != nil {
		return fmt.Errorf("lar rules %s asks the hub that runs on %s: %w", verb, f.hub.Dir, err)
	}
	switch verb {
	case "list":
		status, body, _, err := hub.API(ctx, http.MethodGet, "/api/rules", nil, nil)
		if err != nil {
			return err
		}
		return listRules(status, body, f.json, stdout)
	case "get":
		status, body, _, err := hub.API(ctx, http.MethodGet, ruleAddress(args[0]), nil, nil)
		if err == nil && status != http.StatusOK {
			err = refused(status, body)
		}
		if err != nil {
			return err
		}
		_, err = stdout.Write(body)
		return err
	}
	failed := false
	for _, name := range args {
		data, err := readFile(name)
		if err != nil {
			return usageError{err}
		}
		wrong, err := putRules(ctx, hub, name, data, f.runs, stdout)
		if err != nil {
			return err
		}
		failed = failed || wrong
	}
	if failed {
		return errFailed
	}
	return nil
}

func ruleAddress(id string) string { return "/api/rules/" + url.PathEscape(id) }

func refused(status int, body []byte) error {
	var a apiAnswer
	if json.Unmarshal(body, &a) != nil || a.Error == "" {
		return fmt.Errorf("the hub answers %d", status)
	}
	return errors.New(strings.ToLower(a.Error[:1]) + a.Error[1:])
}

func listRules(status int, body []byte, asJSON bool, w io.Writer) error {
	var list []apiAnswer
	if status != http.StatusOK {
		return refused(status, body)
	}
	if asJSON {
		_, err := w.Write(body)
		return err
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return fmt.Errorf("the hub's answer cannot be read: %w", err)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "ID\tSTATE\tVERSION\tBY\tNAME")
	for _, r := range list {
		state := "off"
		if r.Enabled {
			state = "on"
		}
		if r.Paused != "" {
			state = "paused"
		}
		fmt.Fprintf(t, "%s\t%s\t%d\t%s\t%s\n", r.ID, state, r.Version, r.By, r.Name)
	}
	return t.Flush()
}

// putRules saves the rules of a file, each by itself. wrong tells that one of
// them was refused; the output says why.
func putRules(ctx context.Context, hub *control.Client, file string, data []byte, fate string, w io.Writer) (wrong bool, err error) {
	documents := automations.Documents(data)
	if len(documents) == 0 {
		fmt.Fprintf(w, "%s:1:1: There is no rule in this file.\n", file)
		return true, nil
	}
	for _, d := range documents {
		var rule automations.Rule
		d.Into(&rule) // what is wrong is said by the hub
		id := cmp.Or(rule.ID, automations.IDOf(rule.Name))
		status, body, header, err := hub.API(ctx, http.MethodGet, ruleAddress(id), nil, nil)
		if err != nil {
			return wrong, err
		}
		match, query := http.Header{}, ""
		if status == http.StatusOK {
			match.Set("If-Match", header.Get("ETag"))
			if fate != "" {
				query = "?runs=" + url.QueryEscape(fate)
			}
			if string(body) == string(d.Text) {
				fmt.Fprintf(w, "%s is as it was\n", id)
				continue
			}
		}
		status, body, _, err = hub.API(ctx, http.MethodPut, ruleAddress(id)+query, match, d.Text)
		if err != nil {
			return wrong, err
		}
		var a apiAnswer
		if json.Unmarshal(body, &a) != nil {
			return wrong, fmt.Errorf("the hub's answer cannot be read")
		}
		if status == http.StatusOK || status == http.StatusCreated {
			fmt.Fprintf(w, "%s is saved as version %d\n", a.ID, a.Version)
			continue
		}
		wrong = true
		if len(a.Problems) == 0 {
			fmt.Fprintf(w, "%s:%d:1: %s: %s.\n%s", file, d.Line, id, a.Error, a.Difference)
		}
		for _, p := range a.Problems {
			at := automations.TextProblem{Line: p.Line + d.Line - 1, Column: p.Column, Problem: automations.Problem{Path: p.Path, Text: p.Text, Warning: p.Warning}}
			fmt.Fprintf(w, "%s:%s\n", file, at)
		}
	}
	return wrong, nil
}
