package packet

import (
	"encoding/binary"
	"unicode/utf8"
)

// Append adds a packet to dst as version v writes it. Of what an older version
// cannot say, nothing is written: no property, no reason code, no AUTH, no
// DISCONNECT with a reason other than Success (a server closes the connection
// instead), and no CONNACK with a reason that table 3.1 of 3.1.1 has no return
// code for; codes of SUBACK are mapped to that version's.
//
// A CONNECT is written as its own Version says. A string of more than 65,535
// bytes is cut, for the format cannot express it; that a packet as a whole is
// not larger than [MaxSize] is left to the caller.
func Append(dst []byte, v Version, p Packet) []byte {
	switch p := p.(type) {
	case *Connect:
		return appendConnect(dst, p)
	case *Connack:
		return appendConnack(dst, v, p)
	case *Publish:
		return AppendPublish(dst, v, p)
	case *Ack:
		return appendAck(dst, v, p)
	case *Subscribe:
		return appendSubscribe(dst, v, p)
	case *Suback:
		return appendSuback(dst, v, p)
	case *Unsubscribe:
		return appendUnsubscribe(dst, v, p)
	case *Unsuback:
		return appendUnsuback(dst, v, p)
	case *Pingreq:
		return append(dst, byte(PINGREQ)<<4, 0)
	case *Pingresp:
		return append(dst, byte(PINGRESP)<<4, 0)
	case *Disconnect:
		return appendDisconnect(dst, v, p)
	case *Auth:
		return appendAuth(dst, v, p)
	}
	return dst
}

// maxString is the longest string or binary data, section 1.5.4.
const maxString = 65_535

func appendBinary(dst, b []byte) []byte {
	b = b[:min(len(b), maxString)]
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(b))), b...)
}

func appendText(dst []byte, s string) []byte {
	if len(s) > maxString {
		n := maxString
		for n > maxString-utf8.UTFMax && !utf8.RuneStart(s[n]) {
			n--
		}
		s = s[:n]
	}
	return append(binary.BigEndian.AppendUint16(dst, uint16(len(s))), s...)
}

// begin starts something whose length is not yet known: it leaves one byte for
// it. finish writes the length there, and moves what follows if it needs more.
func begin(dst []byte) (buf []byte, at int) { return append(dst, 0), len(dst) + 1 }

func finish(dst []byte, at int) []byte {
	n := len(dst) - at
	extra := varintLen(n) - 1
	for range extra {
		dst = append(dst, 0)
	}
	copy(dst[at+extra:], dst[at:at+n])
	appendVarint(dst[at-1:at-1], uint32(n))
	return dst
}

func appendByte(dst []byte, id propertyID, b byte) []byte { return append(dst, byte(id), b) }

func appendFlag(dst []byte, id propertyID, set bool) []byte {
	if set {
		return appendByte(dst, id, 1)
	}
	return appendByte(dst, id, 0)
}

func appendUint16(dst []byte, id propertyID, n uint16) []byte {
	return binary.BigEndian.AppendUint16(append(dst, byte(id)), n)
}

func appendUint32(dst []byte, id propertyID, n uint32) []byte {
	return binary.BigEndian.AppendUint32(append(dst, byte(id)), n)
}

// appendString adds a property unless it is empty.
func appendString(dst []byte, id propertyID, s string) []byte {
	if s == "" {
		return dst
	}
	return appendText(append(dst, byte(id)), s)
}

func appendUsers(dst []byte, users []UserProperty) []byte {
	for _, u := range users {
		dst = appendText(appendText(append(dst, byte(propUser)), u.Key), u.Value)
	}
	return dst
}

// appendReasonProperties adds a property block of a reason and user properties.
func appendReasonProperties(dst []byte, reason string, users []UserProperty) []byte {
	dst, at := begin(dst)
	dst = appendString(dst, propReasonString, reason)
	return finish(appendUsers(dst, users), at)
}
