package packet

import "strings"

// Error reports a packet that the specification does not allow.
type Error struct {
	Packet string // "PUBLISH", as the specification spells it
	Field  string // "topic name"
	Reason Reason
}

// Error says which field of which packet is wrong, and how.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Packet)
	if e.Field != "" {
		b.WriteString(" " + e.Field)
	}
	b.WriteString(": " + e.Reason.String())
	return b.String()
}
