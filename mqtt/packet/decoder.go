package packet

import (
	"bytes"
	"encoding/binary"
	"errors"
	"strings"
	"unicode/utf8"

	"lar.home/mqtt/topic"
)

// A decoder reads the fields of one packet from the front. It keeps its first
// failure, so that a reader of fields looks at it once, at the end.
type decoder struct {
	packet Type
	buf    []byte
	err    *Error

	users     int // user properties seen so far, and their bytes
	userBytes int
}

// fail keeps the first failure and lets all further reading fail.
func (d *decoder) fail(field string, reason Reason) {
	if d.err == nil {
		d.err = &Error{Packet: d.packet.String(), Field: field, Reason: reason}
	}
	d.buf = nil
}

// exceeds is fail for a packet that goes beyond a limit of ours, if one is
// named.
func (d *decoder) exceeds(limit, field string, reason Reason) {
	first := d.err == nil
	d.fail(field, reason)
	if first {
		d.err.Limit = limit
	}
}

// topicLimit names the limit that a topic name or filter of n bytes goes
// beyond.
func topicLimit(n int) string {
	if n > topic.MaxLength {
		return "topic_length"
	}
	return "topic_separators"
}

// failed returns the first failure as an error.
func (d *decoder) failed() error {
	if d.err == nil {
		return nil
	}
	return d.err
}

// end returns the first failure, which may be that bytes are left over.
func (d *decoder) end() error {
	if len(d.buf) > 0 {
		d.fail("length", MalformedPacket)
	}
	return d.failed()
}

// take reads n bytes.
func (d *decoder) take(n int, field string) []byte {
	if n > len(d.buf) {
		d.fail(field, MalformedPacket)
		return nil
	}
	b := d.buf[:n:n]
	d.buf = d.buf[n:]
	return b
}

func (d *decoder) byte(field string) byte {
	if len(d.buf) < 1 {
		d.fail(field, MalformedPacket)
		return 0
	}
	b := d.buf[0]
	d.buf = d.buf[1:]
	return b
}

func (d *decoder) uint16(field string) uint16 {
	if len(d.buf) < 2 {
		d.fail(field, MalformedPacket)
		return 0
	}
	v := binary.BigEndian.Uint16(d.buf)
	d.buf = d.buf[2:]
	return v
}

func (d *decoder) uint32(field string) uint32 {
	if len(d.buf) < 4 {
		d.fail(field, MalformedPacket)
		return 0
	}
	v := binary.BigEndian.Uint32(d.buf)
	d.buf = d.buf[4:]
	return v
}

func (d *decoder) varint(field string) uint32 {
	value, digits, valid := varint(d.buf)
	if !valid || digits == 0 {
		d.fail(field, MalformedPacket)
		return 0
	}
	d.buf = d.buf[digits:]
	return value
}

// binary reads bytes after their length, section 1.5.6.
func (d *decoder) binary(field string) []byte {
	return d.take(int(d.uint16(field)), field)
}

// text reads a string, section 1.5.4: well-formed UTF-8 without U+0000. Other
// control characters may stand in it.
func (d *decoder) text(field string) []byte {
	b := d.binary(field)
	if !utf8.Valid(b) || bytes.IndexByte(b, 0) >= 0 {
		d.fail(field, MalformedPacket) // [MQTT-1.5.4-1], [MQTT-1.5.4-2]
	}
	return b
}

// word is text without control characters, which section 1.5.4 allows to
// refuse: it names somebody, in logs and pages too. wrong says how one that is
// there is refused.
func (d *decoder) word(field string, wrong Reason) []byte {
	b := d.binary(field)
	if d.err != nil {
		return nil
	}
	if !utf8.Valid(b) {
		d.fail(field, wrong)
	}
	for i, c := range b {
		if c < 0x20 || c == 0x7f || c == 0xc2 && i+1 < len(b) && b[i+1] < 0xa0 {
			d.fail(field, wrong)
			break
		}
	}
	return b
}

// name reads a topic name; wildcard and empty say how those are refused.
func (d *decoder) name(field string, wildcard, empty Reason) []byte {
	b := d.binary(field)
	if d.err == nil {
		d.checkName(b, field, wildcard, empty)
	}
	return b
}

func (d *decoder) checkName(b []byte, field string, wildcard, empty Reason) {
	switch err := topic.ValidName(b); {
	case err == nil:
	case errors.Is(err, topic.ErrWildcard):
		d.fail(field, wildcard)
	case errors.Is(err, topic.ErrEmpty):
		d.fail(field, empty)
	case errors.Is(err, topic.ErrTooLong):
		d.exceeds(topicLimit(len(b)), field, MalformedPacket)
	default:
		d.fail(field, MalformedPacket)
	}
}

// filter reads a topic filter, perhaps that of a shared subscription.
func (d *decoder) filter() string {
	b := d.binary("topic filter")
	if d.err != nil {
		return ""
	}
	if len(b) > topic.MaxLength {
		d.exceeds("topic_length", "topic filter", MalformedPacket)
		return ""
	}
	s := string(b)
	switch err := topic.ValidFilter(s); {
	case err == nil:
	case errors.Is(err, topic.ErrShare) && !strings.Contains(s[:max(0, len(s)-1)], "#"):
		d.fail("topic filter", ProtocolError) // [MQTT-4.8.2-1], [MQTT-4.8.2-2]
	case errors.Is(err, topic.ErrTooLong):
		d.exceeds(topicLimit(len(s)), "topic filter", MalformedPacket)
	default:
		d.fail("topic filter", MalformedPacket)
	}
	return s
}

// packetID reads a packet identifier, which is never 0 [MQTT-2.2.1-3].
func (d *decoder) packetID() uint16 { return d.packetIDOr(ProtocolError) }

// packetIDOr is packetID; zero says how 0 is refused.
func (d *decoder) packetIDOr(zero Reason) uint16 {
	id := d.uint16("packet identifier")
	if id == 0 {
		d.fail("packet identifier", zero)
	}
	return id
}

// reason reads a reason code that the packet may carry, section 2.4.
func (d *decoder) reason() Reason {
	r := Reason(d.byte("reason code"))
	if d.err == nil && !r.in(d.packet) {
		d.fail("reason code", ProtocolError)
	}
	return r
}
