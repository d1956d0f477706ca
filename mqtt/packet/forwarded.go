package packet

import "iter"

// Forwarded are the properties of a message that a server hands on unaltered,
// section 3.3.2.3. A [Publish] and a [Will] hold them encoded.
type Forwarded struct {
	PayloadFormat   *byte // 1 says that the payload is UTF-8
	ContentType     string
	ResponseTopic   string
	CorrelationData []byte         // nil when absent
	UserProperties  []UserProperty // in their order [MQTT-3.3.2-18]
}

// ParseForwarded reads an encoded block, such as Properties of a [Publish],
// into copies.
func ParseForwarded(block []byte) (Forwarded, error) {
	var f Forwarded
	d := decoder{packet: PUBLISH}
	props := properties{decoder: decoder{packet: PUBLISH, buf: block}, in: PUBLISH}
	var v property
	for props.next(&d, &v) {
		switch v.id {
		case propPayloadFormat:
			f.PayloadFormat = new(byte(v.number))
		case propContentType:
			f.ContentType = string(v.value)
		case propResponseTopic:
			f.ResponseTopic = string(v.value)
		case propCorrelationData:
			f.CorrelationData = clone(v.value)
		case propUser:
			f.UserProperties = append(f.UserProperties, v.user())
		default:
			d.fail(propertyTable[v.id].name, ProtocolError)
		}
	}
	return f, d.failed()
}

// Append adds the encoded block to dst, without its length.
func (f *Forwarded) Append(dst []byte) []byte {
	if f.PayloadFormat != nil {
		dst = appendByte(dst, propPayloadFormat, *f.PayloadFormat)
	}
	dst = appendString(dst, propContentType, f.ContentType)
	dst = appendString(dst, propResponseTopic, f.ResponseTopic)
	if f.CorrelationData != nil {
		dst = appendBinary(append(dst, byte(propCorrelationData)), f.CorrelationData)
	}
	return appendUsers(dst, f.UserProperties)
}

// UserPropertiesOf goes through the user properties of an encoded block as
// [ParseForwarded] reads it, in their order, without copying the block. It ends
// at what is not well-formed.
func UserPropertiesOf(block []byte) iter.Seq2[string, string] {
	return func(yield func(key, value string) bool) {
		d := decoder{packet: PUBLISH}
		props := properties{decoder: decoder{packet: PUBLISH, buf: block}, in: PUBLISH}
		var v property
		for props.next(&d, &v) {
			if v.id == propUser && !yield(string(v.key), string(v.value)) {
				return
			}
		}
	}
}
