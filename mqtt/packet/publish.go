package packet

import "encoding/binary"

// DecodePublish reads the content of a PUBLISH of a client into p, section
// 3.3; flags is the first byte of the packet or its lower half. Everything p
// held before is replaced, its slices point into body, and nothing is
// allocated, unless a Topic Alias or a Message Expiry Interval stands amid the
// properties that are forwarded: these are then copied.
//
// An empty topic name is left to the caller if there is a Topic Alias.
func DecodePublish(v Version, flags byte, body []byte, p *Publish) error {
	return decodePublish(v, flags, body, p, true)
}

// DecodeDelivery reads the content of a PUBLISH of a server, which unlike a
// client may send Subscription Identifiers. The room of p.SubscriptionIDs is
// used again.
func DecodeDelivery(v Version, flags byte, body []byte, p *Publish) error {
	return decodePublish(v, flags, body, p, false)
}

func decodePublish(v Version, flags byte, body []byte, p *Publish, fromClient bool) error {
	d := decoder{packet: PUBLISH, buf: body}
	*p = Publish{
		Dup:             flags&0x08 != 0,
		QoS:             QoS(flags >> 1 & 0x03),
		Retain:          flags&0x01 != 0,
		SubscriptionIDs: p.SubscriptionIDs[:0],
	}
	if p.QoS > ExactlyOnce {
		d.fail("QoS", MalformedPacket) // [MQTT-3.3.1-4]
	}
	if p.Dup && p.QoS == AtMostOnce {
		if v >= V311 {
			d.fail("DUP", MalformedPacket) // [MQTT-3.3.1-2]
		}
		p.Dup = false // 3.1 has no rule about it
	}
	p.Topic = d.binary("topic name")
	if len(p.Topic) > 0 {
		d.checkName(p.Topic, "topic name", TopicNameInvalid, ProtocolError) // [MQTT-3.3.2-1], [MQTT-3.3.2-2]
	}
	if p.QoS > AtMostOnce {
		p.PacketID = d.packetID()
	}
	if v >= V5 {
		p.properties(&d, fromClient)
	}
	if len(p.Topic) == 0 && p.Alias == 0 {
		d.fail("topic name", ProtocolError) // [MQTT-4.7.3-1]
	}
	p.Payload = d.take(len(d.buf), "payload")
	return d.failed()
}

// properties reads the property block, section 3.3.2.3.
func (p *Publish) properties(d *decoder, fromClient bool) {
	if len(d.buf) > 0 && d.buf[0] == 0 { // none, by far the most common
		d.buf = d.buf[1:]
		return
	}
	props := d.properties(PUBLISH)
	f := forwardedBlock{block: props.buf}
	var v property
	for {
		from := len(f.block) - len(props.buf)
		if !props.next(d, &v) {
			break
		}
		switch v.id {
		case propTopicAlias:
			p.Alias = uint16(v.number)
		case propMessageExpiry:
			p.HasExpiry, p.Expiry = true, v.number
		case propSubscriptionID:
			if fromClient {
				d.fail("subscription identifier", ProtocolError) // [MQTT-3.3.4-6]
				return
			}
			p.SubscriptionIDs = append(p.SubscriptionIDs, v.number)
		default:
			f.keep(from, len(f.block)-len(props.buf))
		}
	}
	p.Properties = f.kept
}

// AppendPublish adds a PUBLISH to dst. It allocates nothing beyond the growth
// of dst.
func AppendPublish(dst []byte, v Version, p *Publish) []byte {
	return append(AppendPublishHead(dst, v, p), p.Payload...)
}

// AppendPublishHead adds what stands before the payload of a PUBLISH, so that
// a large payload need not be copied for each client that gets it.
func AppendPublishHead(dst []byte, v Version, p *Publish) []byte {
	remaining, props := publishLen(v, p)
	dst = append(dst, byte(PUBLISH)<<4|p.flags())
	dst = appendVarint(dst, uint32(remaining))
	dst = appendBinary(dst, p.Topic)
	if p.QoS > AtMostOnce {
		dst = binary.BigEndian.AppendUint16(dst, p.PacketID)
	}
	if v >= V5 {
		// No order is asked for; this one is what tests that compare bytes expect.
		dst = append(appendVarint(dst, uint32(props)), p.Properties...)
		if p.HasExpiry {
			dst = appendUint32(dst, propMessageExpiry, p.Expiry)
		}
		if p.Alias != 0 {
			dst = appendUint16(dst, propTopicAlias, p.Alias)
		}
		for _, id := range p.SubscriptionIDs {
			dst = appendVarint(append(dst, byte(propSubscriptionID)), id)
		}
	}
	return dst
}

// PublishSize returns how many bytes AppendPublish adds, to be held against a
// client's Maximum Packet Size.
func PublishSize(v Version, p *Publish) int {
	remaining, _ := publishLen(v, p)
	return 1 + varintLen(remaining) + remaining
}

// publishLen returns the length of the content and of the properties in it.
func publishLen(v Version, p *Publish) (remaining, props int) {
	remaining = 2 + min(len(p.Topic), maxString) + len(p.Payload)
	if p.QoS > AtMostOnce {
		remaining += 2
	}
	if v < V5 {
		return remaining, 0
	}
	if p.Alias != 0 {
		props += 3
	}
	if p.HasExpiry {
		props += 5
	}
	for _, id := range p.SubscriptionIDs {
		props += 1 + varintLen(int(id))
	}
	props += len(p.Properties)
	return remaining + varintLen(props) + props, props
}

func (p *Publish) flags() byte {
	flags := byte(p.QoS) << 1
	if p.Retain {
		flags |= 0x01
	}
	if p.Dup && p.QoS > AtMostOnce { // [MQTT-3.3.1-2]
		flags |= 0x08
	}
	return flags
}

// Readdress changes packet identifier and DUP of an encoded PUBLISH of QoS 1
// or 2 in place, so that one encoding serves all subscribers of a layout.
func Readdress(encoded []byte, packetID uint16, dup bool) {
	_, digits, _ := varint(encoded[1:])
	at := 1 + digits
	at += 2 + int(binary.BigEndian.Uint16(encoded[at:]))
	binary.BigEndian.PutUint16(encoded[at:], packetID)
	encoded[0] &^= 0x08
	if dup {
		encoded[0] |= 0x08
	}
}
