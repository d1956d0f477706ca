package packet

import "encoding/binary"

// AppendAck adds a PUBACK, PUBREC, PUBREL or PUBCOMP without properties to
// dst. It allocates nothing beyond the growth of dst.
func AppendAck(dst []byte, v Version, kind Type, packetID uint16, r Reason) []byte {
	if v < V5 || r == Success {
		return append(dst, byte(kind)<<4|kind.flags(), 2, byte(packetID>>8), byte(packetID))
	}
	return append(dst, byte(kind)<<4|kind.flags(), 3, byte(packetID>>8), byte(packetID), byte(r))
}

func appendAck(dst []byte, v Version, a *Ack) []byte {
	if v < V5 || a.ReasonString == "" && len(a.UserProperties) == 0 {
		return AppendAck(dst, v, a.Kind, a.PacketID, a.Reason)
	}
	dst, at := begin(append(dst, byte(a.Kind)<<4|a.Kind.flags()))
	dst = binary.BigEndian.AppendUint16(dst, a.PacketID)
	dst = append(dst, byte(a.Reason))
	dst = appendReasonProperties(dst, a.ReasonString, a.UserProperties)
	return finish(dst, at)
}

// decodeAck reads sections 3.4 to 3.7. Reason code and properties may be left
// out together, or the properties alone.
func decodeAck(v Version, kind Type, body []byte) (*Ack, error) {
	d := decoder{packet: kind, buf: body}
	a := &Ack{Kind: kind, PacketID: d.packetID()}
	if v >= V5 && len(d.buf) > 0 {
		a.Reason = d.reason()
		if len(d.buf) > 0 {
			a.ReasonString, a.UserProperties = d.reasonProperties()
		}
	}
	return a, d.end()
}

// reasonProperties reads a property block that has only a reason string and
// user properties.
func (d *decoder) reasonProperties() (reason string, users []UserProperty) {
	props := d.properties(d.packet)
	var v property
	for props.next(d, &v) {
		switch v.id {
		case propReasonString:
			reason = string(v.value)
		case propUser:
			users = append(users, v.user())
		}
	}
	return reason, users
}

// appendDisconnect writes section 3.14. A client of an older version says
// nothing but that it goes; a server of one has no such packet.
func appendDisconnect(dst []byte, v Version, p *Disconnect) []byte {
	if v < V5 {
		if p.Reason != Success {
			return dst
		}
		return append(dst, byte(DISCONNECT)<<4, 0)
	}
	bare := p.SessionExpiry == nil && p.ReasonString == "" && len(p.UserProperties) == 0 && p.ServerReference == ""
	switch {
	case bare && p.Reason == Success:
		return append(dst, byte(DISCONNECT)<<4, 0)
	case bare:
		return append(dst, byte(DISCONNECT)<<4, 1, byte(p.Reason))
	}
	dst, at := begin(append(dst, byte(DISCONNECT)<<4))
	dst = append(dst, byte(p.Reason))
	dst, props := begin(dst)
	if p.SessionExpiry != nil {
		dst = appendUint32(dst, propSessionExpiry, *p.SessionExpiry)
	}
	dst = appendString(dst, propReasonString, p.ReasonString)
	dst = appendString(dst, propServerReference, p.ServerReference)
	dst = finish(appendUsers(dst, p.UserProperties), props)
	return finish(dst, at)
}

func decodeDisconnect(v Version, body []byte) (*Disconnect, error) {
	d := decoder{packet: DISCONNECT, buf: body}
	p := &Disconnect{}
	if v >= V5 && len(d.buf) > 0 {
		if p.Reason = Reason(d.byte("reason code")); !p.Reason.in(DISCONNECT) {
			d.fail("reason code", Success)
		}
	}
	if v >= V5 && len(d.buf) > 0 {
		props := d.properties(DISCONNECT)
		var v property
		for props.next(&d, &v) {
			switch v.id {
			case propSessionExpiry:
				p.SessionExpiry = new(v.number)
			case propReasonString:
				p.ReasonString = string(v.value)
			case propServerReference:
				p.ServerReference = string(v.value)
			case propUser:
				p.UserProperties = append(p.UserProperties, v.user())
			}
		}
	}
	return p, d.end()
}

// appendAuth writes section 3.15.
func appendAuth(dst []byte, v Version, p *Auth) []byte {
	if v < V5 {
		return dst
	}
	if p.Reason == Success && !p.HasMethod && p.Data == nil && p.ReasonString == "" && len(p.UserProperties) == 0 {
		return append(dst, byte(AUTH)<<4, 0)
	}
	dst, at := begin(append(dst, byte(AUTH)<<4))
	dst = append(dst, byte(p.Reason))
	dst, props := begin(dst)
	if p.HasMethod {
		dst = appendText(append(dst, byte(propAuthMethod)), p.Method)
	}
	if p.Data != nil {
		dst = appendBinary(append(dst, byte(propAuthData)), p.Data)
	}
	dst = appendString(dst, propReasonString, p.ReasonString)
	dst = finish(appendUsers(dst, p.UserProperties), props)
	return finish(dst, at)
}

func decodeAuth(v Version, body []byte) (*Auth, error) {
	d := decoder{packet: AUTH, buf: body}
	p := &Auth{}
	if v < V5 {
		d.fail("type", MalformedPacket) // reserved before 5.0
		return p, d.failed()
	}
	if len(d.buf) > 0 {
		p.Reason = d.reason()
		props := d.properties(AUTH)
		var v property
		for props.next(&d, &v) {
			switch v.id {
			case propAuthMethod:
				p.Method, p.HasMethod = string(v.value), true
			case propAuthData:
				p.Data = clone(v.value)
			case propReasonString:
				p.ReasonString = string(v.value)
			case propUser:
				p.UserProperties = append(p.UserProperties, v.user())
			}
		}
	}
	return p, d.end()
}

// clone copies b; the copy is never nil.
func clone(b []byte) []byte { return append(make([]byte, 0, len(b)), b...) }
