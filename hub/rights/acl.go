// Package rights holds who may connect and what clients may do, as files of the
// configuration say it: a password file and a list of allow and deny lines.
//
// Both are immutable once read. Whatever cannot be read or understood is an
// error and gives nobody anything: rights fail closed.
package rights

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"lar.home/mqtt"
	"lar.home/mqtt/topic"
)

// Bounds of the files.
const (
	maxFile  = 4 << 20 // bytes
	maxLine  = 16 << 10
	maxLines = 10_000
)

// An ACL is a list of lines, of which the first that fits counts.
type ACL struct {
	rules  []rule
	filter bool // subscribe_rights = "filter"
}

type rule struct {
	allow              bool
	everybody          bool
	user               string // empty: those without a user name
	publish, subscribe bool
	levels             []string
}

// ParseACL reads lines, then those of a file if one is named. Its errors say
// which line is wrong. With no line at all it returns nil: everything is
// allowed.
func ParseACL(lines []string, file, subscribeRights string) (*ACL, error) {
	a := &ACL{filter: subscribeRights == "filter"}
	for i, line := range lines {
		if err := a.add(line); err != nil {
			return nil, fmt.Errorf("line %d of acl: %w", i+1, err)
		}
	}
	if file != "" {
		list, err := readLines(file)
		if err != nil {
			return nil, err
		}
		for _, l := range list {
			if err := a.add(l.text); err != nil {
				return nil, fmt.Errorf("%s:%d: %w", file, l.number, err)
			}
		}
		if len(a.rules) == 0 {
			return nil, fmt.Errorf("%s: there is no line in it; to allow everything, say: allow * both #", file)
		}
	}
	if len(a.rules) == 0 {
		return nil, nil
	}
	if len(a.rules) > maxLines {
		return nil, fmt.Errorf("%d lines of rights, more than %d", len(a.rules), maxLines)
	}
	return a, nil
}

func (a *ACL) add(line string) error {
	verb, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
	var r rule
	switch verb {
	case "allow":
		r.allow = true
	case "deny":
	default:
		return fmt.Errorf("%q: it begins with allow or deny", line)
	}
	rest = strings.TrimSpace(rest)
	who := ""
	if quoted, ok := strings.CutPrefix(rest, `"`); ok {
		var closed bool
		if who, rest, closed = strings.Cut(quoted, `"`); !closed || who == "" {
			return fmt.Errorf("%q: a user name in quotes wants two of them", line)
		}
		r.user = who
	} else {
		who, rest, _ = strings.Cut(rest, " ")
		switch who {
		case "":
			return fmt.Errorf("%q: say who: a user name, * or -", line)
		case "*":
			r.everybody = true
		case "-":
		default:
			r.user = who
		}
	}
	what, filter, _ := strings.Cut(strings.TrimSpace(rest), " ")
	switch what {
	case "publish":
		r.publish = true
	case "subscribe":
		r.subscribe = true
	case "both":
		r.publish, r.subscribe = true, true
	default:
		return fmt.Errorf("%q: say publish, subscribe or both, not %q", line, what)
	}
	filter = strings.TrimSpace(filter)
	if err := topic.ValidFilter(filter); err != nil {
		return fmt.Errorf("%q: topic filter %q: %w", line, filter, err)
	}
	r.levels = strings.Split(filter, "/")
	a.rules = append(a.rules, r)
	return nil
}

// Allows tells whether a client may do what it asks for. It allocates nothing.
// What the broker tells of itself is nobody's without a line that names it,
// whatever else is allowed (SEC-18).
func (a *ACL) Allows(user, clientID string, access mqtt.Access, name string) bool {
	sys := name == "$SYS" || strings.HasPrefix(name, "$SYS/")
	if a == nil {
		return !sys
	}
	loose := a.filter && !sys
	for i := range a.rules {
		r := &a.rules[i]
		if !r.everybody && r.user != user || access == mqtt.MayPublish && !r.publish || access != mqtt.MayPublish && !r.subscribe {
			continue
		}
		if access != mqtt.MaySubscribe {
			if r.relate(user, clientID, name) == covers {
				return r.allow
			}
			continue
		}
		switch how := r.relate(user, clientID, name); {
		case how == covers:
			return r.allow
		case how == overlaps && !r.allow && !loose:
			return false // some of its topics are denied
		}
	}
	// In the loose way a filter is refused only where it is denied as a whole.
	return access == mqtt.MaySubscribe && loose
}

// A relation is that of a line's topics to those of a filter.
type relation int

const (
	apart relation = iota
	overlaps
	covers // every topic of the filter is one of the line's
)

// relate compares a line with a topic filter; a topic name is one without
// wildcards. %u and %c stand for themselves as they are, whatever they hold:
// a name with a wildcard is no level that anything matches.
func (r *rule) relate(user, clientID, filter string) relation {
	how := covers
	rest, more := filter, true
	for i, level := range r.levels {
		if level == "#" {
			if i == 0 && strings.HasPrefix(filter, "$") {
				return apart // [MQTT-4.7.2-1]
			}
			return how
		}
		if !more {
			return apart
		}
		var theirs string
		theirs, rest, more = strings.Cut(rest, "/")
		if theirs == "#" {
			return overlaps // for some depth
		}
		if level == "+" {
			if i == 0 && strings.HasPrefix(theirs, "$") {
				return apart
			}
			continue
		}
		if theirs == "+" {
			how = overlaps
			continue
		}
		if !same(level, theirs, user, clientID) {
			return apart
		}
	}
	switch {
	case !more:
		return how
	case rest == "#":
		return overlaps // a/# also matches a
	}
	return apart
}

// same compares a level of a line, in which %u and %c stand for names, with
// one of a topic.
func same(level, theirs, user, clientID string) bool {
	for {
		i := strings.IndexByte(level, '%')
		if i < 0 || i+1 >= len(level) {
			return level == theirs
		}
		if len(theirs) < i || theirs[:i] != level[:i] {
			return false
		}
		name := ""
		switch level[i+1] {
		case 'u':
			name = user
		case 'c':
			name = clientID
		default:
			if len(theirs) <= i || theirs[i] != '%' {
				return false
			}
			level, theirs = level[i+1:], theirs[i+1:]
			continue
		}
		// Who has no name has no topics of that name, and one that holds more
		// than a level is nobody's.
		if name == "" || strings.ContainsAny(name, "/+#") || !strings.HasPrefix(theirs[i:], name) {
			return false
		}
		level, theirs = level[i+2:], theirs[i+len(name):]
	}
}

type numbered struct {
	number int
	text   string
}

// readLines reads a file without its empty lines and those that begin with #.
func readLines(file string) (list []numbered, err error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	if len(data) > maxFile {
		return nil, fmt.Errorf("%s has more than %d bytes", file, maxFile)
	}
	s := bufio.NewScanner(bytes.NewReader(data))
	s.Buffer(nil, maxLine)
	for n := 1; s.Scan(); n++ {
		text := strings.TrimSpace(s.Text())
		if text != "" && !strings.HasPrefix(text, "#") {
			list = append(list, numbered{n, text})
		}
	}
	if s.Err() != nil {
		return nil, fmt.Errorf("%s: a line has more than %d bytes", file, maxLine)
	}
	return list, nil
}

var errHash = errors.New("the hash is none that lar passwd or mosquitto_passwd makes")
