package packet

// Split finds the packet at the head of buf. It returns its first byte, its
// content and how many bytes it takes in all. While it is incomplete, n is 0
// and err is nil.
//
// A packet of more than limit bytes in all (0 means [MaxSize]), a reserved
// type, wrong flags and a remaining length that is too long or not in its
// shortest form are refused as soon as the fixed header shows them. Nothing is
// allocated; body points into buf.
func Split(buf []byte, limit int) (first byte, body []byte, n int, err error) {
	total, ok, err := Size(buf)
	if err != nil || !ok {
		return 0, nil, 0, err
	}
	if limit > 0 && total > limit {
		return 0, nil, 0, &Error{Packet: Type(buf[0] >> 4).String(), Field: "remaining length", Reason: PacketTooLarge}
	}
	if len(buf) < total {
		return 0, nil, 0, nil
	}
	_, digits, _ := varint(buf[1:])
	return buf[0], buf[1+digits : total : total], total, nil
}

// Size returns how many bytes the packet at the head of buf takes in all, the
// fixed header included, if buf already tells. A reader needs it to make room
// for an incomplete packet, as its bytes arrive.
func Size(buf []byte) (total int, ok bool, err error) {
	if len(buf) == 0 {
		return 0, false, nil
	}
	switch Type(buf[0] >> 4) {
	case CONNECT: // whose flags mean nothing in 3.1, see CheckConnect
	case CONNACK: // no client may send one, whatever its flags
	default:
		if err := checkFirst(V31, buf[0]); err != nil { // which allows most
			return 0, false, err
		}
	}
	value, digits, valid := varint(buf[1:])
	if !valid {
		return 0, false, &Error{Packet: Type(buf[0] >> 4).String(), Field: "remaining length", Reason: Success}
	}
	if digits == 0 {
		return 0, false, nil
	}
	return 1 + digits + int(value), true, nil
}

// checkFirst checks type and flags, section 2.1 [MQTT-2.1.3-1]. The flags of
// PUBLISH have a meaning each and are left to its decoder. In 3.1, DUP also
// stands in whatever else is acknowledged and comes again.
func checkFirst(v Version, first byte) error {
	t := Type(first >> 4)
	if v == V31 && t.flags() != 0 {
		first &^= 0x08
	}
	switch {
	case t == 0:
		return &Error{Packet: t.String(), Field: "type", Reason: MalformedPacket}
	case t != PUBLISH && first&0x0f != t.flags():
		return &Error{Packet: t.String(), Field: "flags", Reason: MalformedPacket}
	}
	return nil
}

// CheckConnect checks the flags in the first byte of a CONNECT, which has turned
// out to be one of version v: 3.1 gives them no meaning.
func CheckConnect(first byte, v Version) error {
	if v == V31 || first&0x0f == 0 {
		return nil
	}
	return &Error{Packet: CONNECT.String(), Field: "flags", Reason: Success}
}

// flags returns the fixed lower half of the first byte, table 2-2.
func (t Type) flags() byte {
	switch t {
	case PUBREL, SUBSCRIBE, UNSUBSCRIBE:
		return 0x02
	}
	return 0
}

// varint reads a variable byte integer, section 1.5.5. With too few bytes to
// tell, digits is 0; a fifth byte or a longer form than needed is not valid
// [MQTT-1.5.5-1].
func varint(buf []byte) (value uint32, digits int, valid bool) {
	for i, b := range buf {
		value |= uint32(b&0x7f) << (7 * i)
		if b < 0x80 {
			return value, i + 1, i == 0 || b != 0
		}
		if i == 3 {
			return 0, 0, false
		}
	}
	return 0, 0, true
}

// appendVarint adds a variable byte integer in its shortest form.
func appendVarint(dst []byte, value uint32) []byte {
	for value >= 0x80 {
		dst = append(dst, byte(value)|0x80)
		value >>= 7
	}
	return append(dst, byte(value))
}

// varintLen returns how many bytes appendVarint adds.
func varintLen(value int) int {
	switch {
	case value < 1<<7:
		return 1
	case value < 1<<14:
		return 2
	case value < 1<<21:
		return 3
	}
	return 4
}
