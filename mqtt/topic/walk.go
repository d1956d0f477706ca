package topic

import "strings"

// A walk goes through sorted names in search of those that match a filter, and
// tells how far it may jump over those that do not.
type walk struct {
	filter string
	seek   []byte // where to go on, after goTo
}

type verdict byte

const (
	matched   verdict = iota
	goOn              // the next name may match
	goTo              // no name before seek matches
	exhausted         // no later name matches
)

// start sets seek to the first name that can match.
func (w *walk) start() {
	literal := w.filter
	if i := strings.IndexAny(literal, "+#"); i >= 0 {
		literal = strings.TrimSuffix(literal[:i], "/") // "a/#" begins with "a"
	}
	w.seek = append(w.seek[:0], literal...)
}

// step compares a name with the filter. Names under a prefix "q/" lie between
// "q/" and "q0", since 0 is the character after the separator; between "q" and
// "q/" lie others, such as "q-1/x".
func (w *walk) step(name string) verdict {
	if hidden(w.filter, name) {
		w.seek = append(w.seek[:0], '$'+1)
		return goTo
	}
	filter, at, more := w.filter, 0, true
	for {
		level, filterRest, filterMore := strings.Cut(filter, "/")
		if level == "#" {
			return matched
		}
		if !more {
			return goOn // name has fewer levels
		}
		rest := name[at:]
		nameLevel, _, nameMore := strings.Cut(rest, "/")
		if level != "+" && level != nameLevel {
			switch {
			case rest < level:
				w.seek = append(append(w.seek[:0], name[:at]...), level...)
				return goTo
			case filterMore && strings.HasPrefix(rest, level) && rest[len(level)] < '/':
				w.seek = append(append(append(w.seek[:0], name[:at]...), level...), '/')
				return goTo
			default:
				return w.leave(name, at)
			}
		}
		at += len(nameLevel) + 1
		if !filterMore {
			if nameMore {
				return w.leave(name, at)
			}
			return matched
		}
		filter, more = filterRest, nameMore
	}
}

// leave jumps over all that begins with name[:at], which ends in a separator.
func (w *walk) leave(name string, at int) verdict {
	if at == 0 {
		return exhausted
	}
	w.seek = append(append(w.seek[:0], name[:at-1]...), '/'+1)
	return goTo
}
