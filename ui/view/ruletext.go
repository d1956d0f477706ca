package view

import (
	"strconv"
	"strings"
	"time"

	"lar.home/automations"
)

// problemWords says what is wrong, and where in the rule.
func problemWords(p automations.TextProblem) string {
	if p.Path == "" {
		return p.Text
	}
	return p.Path + ": " + p.Text
}

// textNotes names what describes the text of an automation.
func textNotes(f RuleForm) string {
	if len(f.Problems) > 0 {
		return "h-text e-text"
	}
	return "h-text"
}

func versionURL(id string, version int) string {
	return ruleURL(id) + "/versions/" + strconv.Itoa(version)
}

func hasMessage(triggers []Block) bool {
	for _, b := range triggers {
		if b.Kind == "message" {
			return true
		}
	}
	return false
}

// partWords says in words what the text of a block means, as far as it can be
// read.
func partWords(b Block) string {
	text := strings.ReplaceAll(b.Get("yaml"), "\r\n", "\n")
	words := ""
	switch b.Letter {
	case "t":
		if t, problems := automations.ReadPart[automations.Trigger](text); len(problems) == 0 {
			words = TriggerWords(b.House, t)
		}
	case "c":
		if c, problems := automations.ReadPart[automations.Condition](text); len(problems) == 0 {
			words = ConditionWords(b.House, c)
		}
	case "a":
		if a, problems := automations.ReadPart[automations.Action](text); len(problems) == 0 {
			words = ActionWords(b.House, a)
		}
	}
	return upper(words)
}

// Stopped says how many runs were stopped.
func Stopped(n int) string {
	if n == 1 {
		return "What it was doing was stopped."
	}
	return plural(n, "run") + " of it were stopped."
}

// Imported says how many automations were taken in.
func Imported(n int) string {
	if n == 1 {
		return "1 automation was imported."
	}
	return plural(n, "automation") + " were imported."
}

// sentWords says what became of a notification or a request.
func sentWords(now time.Time, s automations.Step) string {
	switch {
	case s.Ended.IsZero():
		return "waits to be sent"
	case s.Err != "":
		return "given up " + Clock(now, s.Ended)
	}
	return "sent " + Clock(now, s.Ended)
}
