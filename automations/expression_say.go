package automations

import (
	"errors"
	"regexp"
	"strings"
)

// The library that calculates speaks to programmers. These are its sentences
// and what people are told instead; $1 is a part of the sentence, and types in
// it are called by their words.
var sentences = []struct {
	of  *regexp.Regexp
	say string
}{
	{regexp.MustCompile(`^unknown name (\w+)$`), `there is no word $1; a text stands in quotes`},
	{regexp.MustCompile(`^automations\.(\w+)Scope is not callable$`), `$1 is no function: write $1.hour, for example`},
	{regexp.MustCompile(`^type automations\.(\w+)Scope has no field (\w+)$`), `$1 has no part $2`},
	{regexp.MustCompile(`^unexpected token EOF$`), `something is missing at its end`},
	{regexp.MustCompile(`^unexpected token Operator\("="\)$`), `= does not compare; write ==`},
	{regexp.MustCompile(`^unexpected token \w+\("(.*)"\)$`), `$1 cannot stand there`},
	{regexp.MustCompile(`^literal not terminated$`), `a text in it is not closed by its quote`},
	{regexp.MustCompile(`<nil>`), `a part of it is not there`},
	{regexp.MustCompile(`is nil, not `), `a part of it is not there`},
	{regexp.MustCompile(`^invalid operation: int\(string\)$`), `a text has no parts`},
	{regexp.MustCompile(`^invalid operation: (\S+) \(mismatched types (\S+) and (\S+)\)$`), `$1 does not go with a $2 and a $3`},
	{regexp.MustCompile(`^invalid operation: (\S+) (\S+) (\S+)$`), `$2 does not go with a $1 and a $3`},
	{regexp.MustCompile(`^interface conversion: interface \{\} is (\S+), not (\S+)$`), `there is a $1 where a $2 is needed`},
	{regexp.MustCompile(`^cannot use (\S+) as argument \(type (\S+)\) to call (\w+)\s*$`), `$3 takes a $2, not a $1`},
	{regexp.MustCompile(`^invalid argument for (\w+) \(type (\S+)\)$`), `$1 does not take a $2`},
	{regexp.MustCompile(`^non-bool expression \(type (\S+)\) used as condition$`), `what stands before ? is a $1, and neither true nor false`},
	{regexp.MustCompile(`^index out of range: (-?\d+) `), `there is no place $1 in the list`},
}

var (
	placeInExpression = regexp.MustCompile(`\s*\(\d+:(\d+)\)$`)
	kindNames         = strings.NewReplacer("map[string]interface {}", "map", "map[string]string", "map", "[]interface {}", "list", "[]string", "list",
		"string", "text", "int", "number", "float64", "number", "bool", "value that is true or false")
)

// sayPlainly says of an error of the library what it means for those who write
// rules; where tells at which character it was found.
func sayPlainly(err error, where bool) error {
	text, _, _ := strings.Cut(err.Error(), "\n")
	at := placeInExpression.FindStringSubmatch(text)
	text = placeInExpression.ReplaceAllString(text, "")
	for _, s := range sentences {
		m := s.of.FindStringSubmatch(text)
		if m == nil {
			continue
		}
		text = s.say
		for i := len(m) - 1; i > 0; i-- {
			text = strings.ReplaceAll(text, "$"+string(rune('0'+i)), kindNames.Replace(m[i]))
		}
		break
	}
	if where && at != nil && at[1] != "1" {
		text += ", at character " + at[1]
	}
	return errors.New(text)
}
