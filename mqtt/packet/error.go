package packet

import "strings"

// Error reports a packet that the specification does not allow. A Reason of
// Success says that the connection is closed without a word, as other brokers
// do for the same fault: section 4.13 leaves that to the server, and clients of
// all ages are used to it.
type Error struct {
	Packet string // "PUBLISH", as the specification spells it
	Field  string // "topic name"
	Reason Reason
	Limit  string // of ours that it exceeds, as settings call it: "topic_length"
}

// Error says which field of which packet is wrong, and how.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Packet)
	if e.Field != "" {
		b.WriteString(" " + e.Field)
	}
	if e.Reason == Success {
		return b.String() + ": malformed"
	}
	b.WriteString(": " + e.Reason.String())
	return b.String()
}
