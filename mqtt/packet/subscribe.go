package packet

import (
	"encoding/binary"

	"lar.home/mqtt/topic"
)

// decodeSubscribe reads section 3.8.
func decodeSubscribe(v Version, body []byte) (*Subscribe, error) {
	d := decoder{packet: SUBSCRIBE, buf: body}
	s := &Subscribe{PacketID: d.packetIDOr(MalformedPacket)}
	if v >= V5 {
		props := d.properties(SUBSCRIBE)
		var v property
		for props.next(&d, &v) {
			switch v.id {
			case propSubscriptionID:
				s.SubscriptionID = v.number
			case propUser:
				s.UserProperties = append(s.UserProperties, v.user())
			}
		}
	}
	for len(d.buf) > 0 {
		sub := Subscription{Filter: d.filter()}
		sub.options(&d, v)
		s.Filters = append(s.Filters, sub)
		if len(s.Filters) > MaxFilters {
			d.exceeds("subscriptions", "topic filters", QuotaExceeded)
		}
	}
	if len(s.Filters) == 0 {
		d.fail("topic filters", ProtocolError) // [MQTT-3.8.3-2]
	}
	return s, d.end()
}

// options reads section 3.8.3.1. Before 5.0 they are a bare QoS.
func (s *Subscription) options(d *decoder, v Version) {
	b := d.byte("subscription options")
	s.QoS = QoS(b & 0x03)
	if v < V5 {
		if b > byte(ExactlyOnce) {
			d.fail("requested QoS", MalformedPacket) // 3.1.1 [MQTT-3-8.3-4]
		}
		return
	}
	s.NoLocal = b&0x04 != 0
	s.RetainAsPublished = b&0x08 != 0
	s.RetainHandling = b >> 4 & 0x03
	switch {
	case b&0xc0 != 0:
		d.fail("subscription options", MalformedPacket) // [MQTT-3.8.3-5]
	case s.QoS > ExactlyOnce:
		d.fail("maximum QoS", MalformedPacket)
	case s.RetainHandling > 2:
		d.fail("retain handling", ProtocolError)
	case s.NoLocal:
		if _, _, shared, _ := topic.Share(s.Filter); shared {
			d.fail("no local", ProtocolError) // [MQTT-3.8.3-4]
		}
	}
}

func appendSubscribe(dst []byte, v Version, s *Subscribe) []byte {
	dst, at := begin(append(dst, byte(SUBSCRIBE)<<4|SUBSCRIBE.flags()))
	dst = binary.BigEndian.AppendUint16(dst, s.PacketID)
	if v >= V5 {
		var props int
		dst, props = begin(dst)
		if s.SubscriptionID != 0 {
			dst = appendVarint(append(dst, byte(propSubscriptionID)), s.SubscriptionID)
		}
		dst = finish(appendUsers(dst, s.UserProperties), props)
	}
	for i := range s.Filters {
		f := &s.Filters[i]
		options := byte(f.QoS)
		if v >= V5 {
			options |= f.RetainHandling << 4
			if f.NoLocal {
				options |= 0x04
			}
			if f.RetainAsPublished {
				options |= 0x08
			}
		}
		dst = append(appendText(dst, f.Filter), options)
	}
	return finish(dst, at)
}

// decodeSuback reads section 3.9.
func decodeSuback(v Version, body []byte) (*Suback, error) {
	d := decoder{packet: SUBACK, buf: body}
	s := &Suback{PacketID: d.packetID()}
	if v >= V5 {
		s.ReasonString, s.UserProperties = d.reasonProperties()
	}
	for len(d.buf) > 0 {
		r := d.reason()
		if v < V5 && r > GrantedQoS2 && r != UnspecifiedError {
			d.fail("return code", ProtocolError)
		}
		s.Reasons = append(s.Reasons, r)
	}
	if len(s.Reasons) == 0 {
		d.fail("reason codes", MalformedPacket)
	}
	return s, d.end()
}

func appendSuback(dst []byte, v Version, s *Suback) []byte {
	dst, at := begin(append(dst, byte(SUBACK)<<4))
	dst = binary.BigEndian.AppendUint16(dst, s.PacketID)
	if v >= V5 {
		dst = appendReasonProperties(dst, s.ReasonString, s.UserProperties)
	}
	for _, r := range s.Reasons {
		if v < V5 && r > GrantedQoS2 {
			r = UnspecifiedError // 0x80, 3.1.1 [MQTT-3.9.3-2]
		}
		dst = append(dst, byte(r))
	}
	return finish(dst, at)
}

// decodeUnsubscribe reads section 3.10.
func decodeUnsubscribe(v Version, body []byte) (*Unsubscribe, error) {
	d := decoder{packet: UNSUBSCRIBE, buf: body}
	u := &Unsubscribe{PacketID: d.packetIDOr(MalformedPacket)}
	if v >= V5 {
		_, u.UserProperties = d.reasonProperties()
	}
	for len(d.buf) > 0 {
		u.Filters = append(u.Filters, d.filter())
		if len(u.Filters) > MaxFilters {
			d.exceeds("subscriptions", "topic filters", QuotaExceeded)
		}
	}
	if len(u.Filters) == 0 {
		d.fail("topic filters", ProtocolError) // [MQTT-3.10.3-2]
	}
	return u, d.end()
}

func appendUnsubscribe(dst []byte, v Version, u *Unsubscribe) []byte {
	dst, at := begin(append(dst, byte(UNSUBSCRIBE)<<4|UNSUBSCRIBE.flags()))
	dst = binary.BigEndian.AppendUint16(dst, u.PacketID)
	if v >= V5 {
		dst = appendReasonProperties(dst, "", u.UserProperties)
	}
	for _, f := range u.Filters {
		dst = appendText(dst, f)
	}
	return finish(dst, at)
}

// decodeUnsuback reads section 3.11.
func decodeUnsuback(v Version, body []byte) (*Unsuback, error) {
	d := decoder{packet: UNSUBACK, buf: body}
	u := &Unsuback{PacketID: d.packetID()}
	if v >= V5 {
		u.ReasonString, u.UserProperties = d.reasonProperties()
		for len(d.buf) > 0 {
			u.Reasons = append(u.Reasons, d.reason())
		}
		if len(u.Reasons) == 0 {
			d.fail("reason codes", MalformedPacket)
		}
	}
	return u, d.end()
}

func appendUnsuback(dst []byte, v Version, u *Unsuback) []byte {
	dst, at := begin(append(dst, byte(UNSUBACK)<<4))
	dst = binary.BigEndian.AppendUint16(dst, u.PacketID)
	if v >= V5 {
		dst = appendReasonProperties(dst, u.ReasonString, u.UserProperties)
		for _, r := range u.Reasons {
			dst = append(dst, byte(r))
		}
	}
	return finish(dst, at)
}
