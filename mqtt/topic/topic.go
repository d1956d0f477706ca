// Package topic holds the grammar of topic names and topic filters, section
// 4.7 and 4.8 of MQTT 5.0, and the two indexes a broker needs: a [Tree] finds
// the filters that match a name, [Names] finds the names that match a filter.
//
// Names and filters are compared byte by byte, without normalisation
// [MQTT-4.7.3-4]: case counts, empty levels count, so do separators at either
// end. The zero values of Tree and Names are empty and ready to use; neither
// may be used by two goroutines at a time.
package topic

import (
	"errors"
	"strings"
	"unicode/utf8"
)

// The bounds on names and filters, a shared subscription's prefix included.
// The standard allows 65,535 bytes and as many levels; a house needs neither.
const (
	MaxLength     = 4096 // bytes
	MaxSeparators = 200  // "/"
)

// What is wrong with a name or a filter.
var (
	ErrEmpty    = errors.New("empty")                                    // [MQTT-4.7.3-1]
	ErrTooLong  = errors.New("more than 4096 bytes or 200 separators")   // own bound
	ErrEncoding = errors.New("not well-formed UTF-8")                    // [MQTT-1.5.4-1]
	ErrControl  = errors.New("has a control character")                  // [MQTT-4.7.3-2] and own choice
	ErrWildcard = errors.New("has a wildcard where none may stand")      // [MQTT-4.7.0-1], [MQTT-4.7.1-1], [MQTT-4.7.1-2]
	ErrShare    = errors.New("is not a well-formed shared subscription") // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
)

// What a byte means to scan. The zero class needs no attention.
const (
	classSeparator = 1 + iota
	classWildcard
	classControl
	classNonASCII
)

var classes = func() (c [256]byte) {
	for b := range c {
		switch {
		case b < 0x20 || b == 0x7f:
			c[b] = classControl
		case b >= 0x80:
			c[b] = classNonASCII
		}
	}
	c['/'] = classSeparator
	c['+'], c['#'] = classWildcard, classWildcard
	return c
}()

// scan checks what names and filters have in common. It refuses all control
// characters, not only U+0000: they serve nobody and would reach logs and
// pages. Section 1.5.4 allows that.
func scan(s []byte) (wildcard bool, err error) {
	if len(s) == 0 {
		return false, ErrEmpty
	}
	if len(s) > MaxLength {
		return false, ErrTooLong
	}
	separators, ascii := 0, true
	for _, b := range s {
		switch classes[b] {
		case classSeparator:
			separators++
		case classWildcard:
			wildcard = true
		case classControl:
			return false, ErrControl
		case classNonASCII:
			ascii = false
		}
	}
	if separators > MaxSeparators {
		return false, ErrTooLong
	}
	if !ascii {
		if !utf8.Valid(s) {
			return false, ErrEncoding
		}
		for i, b := range s { // U+0080 to U+009F are C2 80 to C2 9F
			if b == 0xc2 && s[i+1] < 0xa0 {
				return false, ErrControl
			}
		}
	}
	return wildcard, nil
}

// ValidName tells what keeps name from being a topic name, or nil. It
// allocates nothing.
func ValidName[T ~string | ~[]byte](name T) error {
	wildcard, err := scan([]byte(name))
	if err == nil && wildcard {
		err = ErrWildcard
	}
	return err
}

// ValidFilter tells what keeps filter from being a topic filter, which may be
// that of a shared subscription, or nil.
func ValidFilter(filter string) error {
	wildcard, err := scan([]byte(filter))
	if err != nil {
		return err
	}
	_, rest, _, err := Share(filter)
	if err != nil || !wildcard {
		return err
	}
	for more := true; more; {
		var level string
		level, rest, more = strings.Cut(rest, "/")
		switch {
		case level == "#" && !more, level == "+":
		case strings.ContainsAny(level, "+#"):
			return ErrWildcard
		}
	}
	return nil
}

// Share splits the filter of a shared subscription, "$share/group/rest",
// section 4.8.2. Of any other filter it returns the filter itself as rest, and
// false. A shared filter without a group, with a wildcard in it or without a
// rest is an error; the grammar of rest is left to [ValidFilter].
func Share(filter string) (group, rest string, shared bool, err error) {
	after, shared := strings.CutPrefix(filter, "$share/")
	if !shared {
		return "", filter, false, nil
	}
	group, rest, _ = strings.Cut(after, "/")
	if group == "" || rest == "" || strings.ContainsAny(group, "+#") {
		return "", "", true, ErrShare
	}
	return group, rest, true, nil
}

// Match tells whether a valid filter, without the prefix of a shared
// subscription, matches a topic name.
func Match(filter, name string) bool {
	if hidden(filter, name) {
		return false
	}
	for {
		level, filterRest, filterMore := strings.Cut(filter, "/")
		if level == "#" {
			return true
		}
		nameLevel, nameRest, nameMore := strings.Cut(name, "/")
		if level != "+" && level != nameLevel {
			return false
		}
		if !filterMore || !nameMore {
			// "a/#" matches its parent "a" too, section 4.7.1.2.
			return filterMore == nameMore || !nameMore && filterRest == "#"
		}
		filter, name = filterRest, nameRest
	}
}

// hidden tells whether name is one of those that begin with $ and filter
// begins with a wildcard, which does not match them [MQTT-4.7.2-1].
func hidden(filter, name string) bool {
	return name != "" && name[0] == '$' && filter != "" && (filter[0] == '+' || filter[0] == '#')
}
