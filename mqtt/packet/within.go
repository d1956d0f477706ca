package packet

// AppendWithin adds a packet to dst as [Append] does, for a client that has
// said in its CONNECT how large a packet may be (0: no limit) and whether it
// wants to be told about problems (Request Problem Information).
//
// Without the latter, a reason string and user properties stand in CONNACK,
// PUBLISH and DISCONNECT only [MQTT-3.1.2-29]. They are left out of any packet
// that would be too large with them [MQTT-3.2.2-19], [MQTT-3.4.2-2] and so on;
// one that is too large even so is not written [MQTT-3.1.2-24].
func AppendWithin(dst []byte, v Version, p Packet, limit uint32, problems bool) []byte {
	if !problems && p.Type() != CONNACK && p.Type() != DISCONNECT {
		p = terse(p)
	}
	start := len(dst)
	dst = Append(dst, v, p)
	fits := func() bool { return limit == 0 || uint64(len(dst)-start) <= uint64(limit) }
	if !fits() {
		dst = Append(dst[:start], v, terse(p))
	}
	if !fits() {
		dst = dst[:start]
	}
	return dst
}

// terse returns p, or a copy of it, without what a server may leave out.
func terse(p Packet) Packet {
	switch p := p.(type) {
	case *Connack:
		q := *p
		q.ReasonString, q.UserProperties = "", nil
		return &q
	case *Ack:
		q := *p
		q.ReasonString, q.UserProperties = "", nil
		return &q
	case *Suback:
		q := *p
		q.ReasonString, q.UserProperties = "", nil
		return &q
	case *Unsuback:
		q := *p
		q.ReasonString, q.UserProperties = "", nil
		return &q
	case *Disconnect:
		q := *p
		q.ReasonString, q.UserProperties = "", nil
		return &q
	case *Auth:
		q := *p
		q.ReasonString, q.UserProperties = "", nil
		return &q
	}
	return p
}
