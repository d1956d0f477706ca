package packet

// Decode reads the content of a packet of any type, whoever may send it. first
// and body are what [Split] returned. The result holds copies, except for a
// [Publish]; where a packet comes from a client, [DecodeFromClient] and
// [DecodePublish] also check that a client may send it.
//
// An error is an [*Error]. With a CONNECT that is in error comes what was read
// of it, see [DecodeConnect]; with any other packet nothing.
func Decode(v Version, first byte, body []byte) (Packet, error) {
	if err := checkFirst(v, first); err != nil {
		return nil, err
	}
	switch t := Type(first >> 4); t {
	case CONNECT:
		c, err := DecodeConnect(body)
		return c, err
	case CONNACK:
		return whole(decodeConnack(v, body))
	case PUBLISH:
		p := &Publish{}
		return whole(p, DecodeDelivery(v, first, body, p))
	case SUBSCRIBE:
		return whole(decodeSubscribe(v, body))
	case SUBACK:
		return whole(decodeSuback(v, body))
	case UNSUBSCRIBE:
		return whole(decodeUnsubscribe(v, body))
	case UNSUBACK:
		return whole(decodeUnsuback(v, body))
	case PINGREQ:
		return whole(&Pingreq{}, empty(t, body, Success))
	case PINGRESP:
		return whole(&Pingresp{}, empty(t, body, MalformedPacket))
	case DISCONNECT:
		return whole(decodeDisconnect(v, body))
	case AUTH:
		return whole(decodeAuth(v, body))
	default: // the four acknowledgements
		return whole(decodeAck(v, t, body))
	}
}

// whole returns a packet without an error, or an error without a packet.
func whole[P Packet](p P, err error) (Packet, error) {
	if err != nil {
		return nil, err
	}
	return p, nil
}

// empty checks a packet that has no content; some says how one that has is
// refused.
func empty(t Type, body []byte, some Reason) error {
	if len(body) > 0 {
		return &Error{Packet: t.String(), Field: "length", Reason: some}
	}
	return nil
}

// DecodeFromClient is Decode for a packet that came from a client. It refuses
// what only a server may send, as a protocol error: CONNACK, SUBACK, UNSUBACK
// and PINGRESP, Subscription Identifiers in PUBLISH [MQTT-3.3.4-6], and the
// reason codes of DISCONNECT and AUTH that are a server's.
func DecodeFromClient(v Version, first byte, body []byte) (Packet, error) {
	switch t := Type(first >> 4); t {
	case CONNACK, SUBACK, UNSUBACK, PINGRESP:
		if t == PINGRESP && len(body) > 0 {
			return nil, empty(t, body, Success) // as a PINGREQ with content
		}
		return nil, &Error{Packet: t.String(), Field: "type", Reason: ProtocolError}
	}
	p, err := Decode(v, first, body)
	if err != nil {
		return p, err
	}
	switch p := p.(type) {
	case *Publish:
		if len(p.SubscriptionIDs) > 0 {
			return nil, &Error{Packet: "PUBLISH", Field: "subscription identifier", Reason: ProtocolError}
		}
	case *Disconnect:
		if !clientDisconnects(p.Reason) {
			return nil, &Error{Packet: "DISCONNECT", Field: "reason code", Reason: Success} // it goes anyway
		}
	case *Auth:
		if p.Reason == Success { // [MQTT-3.15.2-1], [MQTT-4.12.0-3]
			return nil, &Error{Packet: "AUTH", Field: "reason code", Reason: ProtocolError}
		}
	}
	return p, nil
}

// clientDisconnects tells whether a client may send a DISCONNECT with the
// code, table 3-10.
func clientDisconnects(r Reason) bool {
	switch r {
	case Success, DisconnectWithWill, UnspecifiedError, MalformedPacket, ProtocolError, ImplementationSpecificError,
		BadAuthenticationMethod, TopicNameInvalid, ReceiveMaximumExceeded, TopicAliasInvalid, PacketTooLarge,
		MessageRateTooHigh, QuotaExceeded, AdministrativeAction, PayloadFormatInvalid:
		return true
	}
	return false
}
