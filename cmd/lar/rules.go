package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"lar.home/automations"
	"lar.home/automations/rehearsal"
)

// errFailed is that of a check or a test whose report has said what failed.
var errFailed = errors.New("failed")

// A usageError is a command that was not written as it should be, or names a
// file that cannot be opened: exit code 2 of lar rules.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// maxShown is how many messages and runs are shown of a test that failed.
const maxShown = 50

// rules carries out lar rules, which needs no hub.
func rules(words []string, asJSON bool, stdout io.Writer) error {
	if len(words) < 3 || words[1] != "check" && words[1] != "test" {
		return usageError{errors.New("lar rules wants check, test or put and files, get and an ID, or list: see lar --help")}
	}
	files := map[string][]byte{}
	for _, name := range words[2:] {
		data, err := readFile(name)
		if err != nil {
			return usageError{err}
		}
		files[name] = data
	}
	if words[1] == "check" {
		return checkRules(words[2:], files, asJSON, stdout)
	}
	return testRules(words[2:], files, asJSON, stdout)
}

// readFile reads a file of rules or tests.
func readFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, automations.MaxFile+1))
	if err == nil && len(data) > automations.MaxFile {
		err = fmt.Errorf("%s: a file has at most %d bytes", name, automations.MaxFile)
	}
	return data, err
}

// A problemLine is a problem as --json writes it.
type problemLine struct {
	File    string `json:"file,omitempty"`
	Line    int    `json:"line"`
	Column  int    `json:"column"`
	Path    string `json:"path"`
	Text    string `json:"text"`
	Warning bool   `json:"warning,omitempty"`
}

func checkRules(names []string, files map[string][]byte, asJSON bool, w io.Writer) error {
	count, wrong := 0, 0
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	report := func(name string, p automations.TextProblem) {
		if !p.Warning {
			wrong++
		}
		if asJSON {
			out.Encode(problemLine{name, p.Line, p.Column, p.Path, p.Text, p.Warning})
		} else {
			fmt.Fprintf(w, "%s:%s\n", name, p)
		}
	}
	for _, name := range names {
		list := automations.ParseYAML(files[name])
		if len(list) == 0 {
			report(name, automations.TextProblem{Line: 1, Column: 1, Problem: automations.Problem{Text: "There is no rule in this file."}})
		}
		count += len(list)
		for _, r := range list {
			for _, p := range r.Problems {
				report(name, p)
			}
		}
	}
	if !asJSON {
		fmt.Fprintf(w, "%s, %s\n", plural(count, "rule"), plural(wrong, "error"))
	}
	if wrong > 0 {
		return errFailed
	}
	return nil
}

func testRules(names []string, files map[string][]byte, asJSON bool, w io.Writer) error {
	count, failed := 0, 0
	out := json.NewEncoder(w)
	out.SetEscapeHTML(false)
	for _, name := range names {
		for _, r := range rehearsal.Run(name, files[name], readFile) {
			count++
			if len(r.Errors) > 0 {
				failed++
			}
			if asJSON {
				out.Encode(jsonOf(name, r))
			} else {
				printResult(w, name, r)
			}
		}
	}
	if !asJSON {
		fmt.Fprintf(w, "%s, %d failed\n", plural(count, "test"), failed)
	}
	if failed > 0 {
		return errFailed
	}
	return nil
}

// printResult writes a line for a test, and what was seen of one that failed.
func printResult(w io.Writer, name string, r rehearsal.Result) {
	word := "ok  "
	if len(r.Errors) > 0 {
		word = "FAIL"
	}
	fmt.Fprintf(w, "%s  %s:%d: %s\n", word, name, r.Line, r.Test)
	if len(r.Errors) == 0 {
		return
	}
	for _, p := range r.Errors {
		fmt.Fprintf(w, "      %s:%s\n", name, p)
	}
	label := "left: "
	for i, s := range r.Left {
		if i == maxShown {
			fmt.Fprintf(w, "            and %d more\n", len(r.Left)-i)
			break
		}
		fmt.Fprintf(w, "      %s%s  %s\n", label, s.At.Format(time.DateTime), oneLine(s.String()))
		label = "      "
	}
	label = "runs: "
	for i, run := range r.Runs {
		if i == maxShown {
			fmt.Fprintf(w, "            and %d more\n", len(r.Runs)-i)
			break
		}
		fmt.Fprintf(w, "      %s%s  %s  %s: %s\n", label, run.At.Format(time.DateTime), run.Rule, run.Outcome, oneLine(run.Text))
		label = "      "
	}
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", `\n`) }

type resultLine struct {
	File   string        `json:"file"`
	Line   int           `json:"line"`
	Test   string        `json:"test"`
	OK     bool          `json:"ok"`
	Errors []problemLine `json:"errors"`
	Left   []leftLine    `json:"left"`
	Runs   []runLine     `json:"runs"`
}

type leftLine struct {
	At      time.Time `json:"at"`
	Topic   string    `json:"topic"`
	Payload string    `json:"payload"`
	QoS     int       `json:"qos"`
	Retain  bool      `json:"retain"`
}

type runLine struct {
	At      time.Time `json:"at"`
	Rule    string    `json:"rule"`
	Outcome string    `json:"outcome"`
	Text    string    `json:"text"`
}

func jsonOf(name string, r rehearsal.Result) resultLine {
	l := resultLine{File: name, Line: r.Line, Test: r.Test, OK: len(r.Errors) == 0, Errors: []problemLine{}, Left: []leftLine{}, Runs: []runLine{}}
	for _, p := range r.Errors {
		l.Errors = append(l.Errors, problemLine{"", p.Line, p.Column, p.Path, p.Text, p.Warning})
	}
	for _, s := range r.Left {
		l.Left = append(l.Left, leftLine{s.At, s.Topic, s.Payload, int(s.QoS), s.Retain})
	}
	for _, run := range r.Runs {
		l.Runs = append(l.Runs, runLine{run.At, run.Rule, string(run.Outcome), run.Text})
	}
	return l
}

func plural(n int, word string) string {
	if n != 1 {
		word += "s"
	}
	return fmt.Sprintf("%d %s", n, word)
}
