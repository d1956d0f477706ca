package packet

import (
	"encoding/binary"
)

// The bits of the connect flags, section 3.1.2.3.
const (
	flagReserved   = 0x01
	flagCleanStart = 0x02
	flagWill       = 0x04
	flagWillRetain = 0x20
	flagPassword   = 0x40
	flagUsername   = 0x80
)

// DecodeConnect reads the content of a CONNECT, section 3.1.
//
// With an error it returns how far it came: Version tells in which form a
// CONNACK may be sent, if at all. It is 0 as long as it is not clear that this
// is MQTT (close the connection in silence); 3 or 4 for the versions before
// 5.0, and 5 for 5.0 and for levels unknown to us, together with
// UnsupportedProtocolVersion if the level is not spoken. Appending a [Connack]
// with that Version and the Reason of the error writes what is to be sent,
// which is nothing where no return code of the version fits.
func DecodeConnect(body []byte) (*Connect, error) {
	d := decoder{packet: CONNECT, buf: body}
	c := &Connect{ReceiveMaximum: 65_535, RequestProblemInfo: true}
	c.protocol(&d)
	flags := d.byte("connect flags")
	c.checkFlags(&d, flags)
	c.CleanStart = flags&flagCleanStart != 0
	c.KeepAlive = d.uint16("keep alive")
	if c.Version >= V5 {
		c.properties(&d)
	}
	// The fields of the payload come in this order [MQTT-3.1.3-1].
	c.ClientID = c.readClientID(&d)
	if flags&flagWill != 0 {
		c.Will = decodeWill(&d, c.Version, flags)
	}
	if c.HasUsername = flags&flagUsername != 0; c.HasUsername {
		c.Username = string(quietly(&d, func() []byte { return d.word("user name", MalformedPacket) }))
	}
	if c.HasPassword = flags&flagPassword != 0; c.HasPassword {
		c.Password = clone(quietly(&d, func() []byte { return d.binary("password") }))
	}
	if d.end() == nil {
		c.check(&d)
	}
	return c, d.failed()
}

// readClientID reads section 3.1.3.1. What is no identifier is told a 5.0
// client as such.
func (c *Connect) readClientID(d *decoder) string {
	wrong := MalformedPacket
	if c.Version >= V5 {
		wrong = ClientIDNotValid
	}
	return string(d.word("client identifier", wrong))
}

// quietly has a fault in what read reads end the connection without a word:
// who has not shown who it is need not learn what was wrong with that.
func quietly(d *decoder, read func() []byte) []byte {
	before := d.err
	b := read()
	if before == nil && d.err != nil {
		d.err.Reason = Success
	}
	return b
}

// protocol reads name and level, sections 3.1.2.1 and 3.1.2.2.
func (c *Connect) protocol(d *decoder) {
	name := string(d.binary("protocol name"))
	level := d.byte("protocol version")
	if d.err != nil {
		return
	}
	old := level &^ 0x80 // bridges of the Mosquitto kind set the upper bit
	switch {
	case name == "MQTT" && level == byte(V5):
		c.Version = V5
	case name == "MQTT" && old == byte(V311), name == "MQIsdp" && old == byte(V31):
		c.Version, c.Bridge = Version(old), level != old
	case name == "MQTT" && old == byte(V31), name == "MQIsdp" && old == byte(V311):
		c.Version = V31
		d.fail("protocol version", UnsupportedProtocolVersion)
	case name == "MQTT", name == "MQIsdp":
		c.Version = V5
		d.fail("protocol version", UnsupportedProtocolVersion) // [MQTT-3.1.2-2]
	default:
		d.fail("protocol name", UnsupportedProtocolVersion) // [MQTT-3.1.2-1]
	}
}

// checkFlags checks the connect flags, numbered as in 5.0.
func (c *Connect) checkFlags(d *decoder, flags byte) {
	switch willQoS := QoS(flags >> 3 & 0x03); {
	case flags&flagReserved != 0 && c.Version != V31: // which has no rule about it
		d.fail("connect flags", MalformedPacket) // [MQTT-3.1.2-3]
	case flags&flagWill == 0 && willQoS != 0:
		d.fail("will QoS", MalformedPacket) // [MQTT-3.1.2-11]
	case flags&flagWill == 0 && flags&flagWillRetain != 0:
		d.fail("will retain", MalformedPacket) // [MQTT-3.1.2-13]
	case willQoS > ExactlyOnce:
		d.fail("will QoS", MalformedPacket) // [MQTT-3.1.2-12]
	case c.Version < V5 && flags&flagPassword != 0 && flags&flagUsername == 0:
		d.fail("password flag", MalformedPacket) // 3.1.1 [MQTT-3.1.2-22]
	}
}

// properties reads section 3.1.2.11.
func (c *Connect) properties(d *decoder) {
	props := d.properties(CONNECT)
	var v property
	for props.next(d, &v) {
		switch v.id {
		case propSessionExpiry:
			c.SessionExpiry = v.number
		case propReceiveMaximum:
			c.ReceiveMaximum = uint16(v.number)
		case propMaximumPacketSize:
			c.MaximumPacketSize = v.number
		case propTopicAliasMaximum:
			c.TopicAliasMaximum = uint16(v.number)
		case propRequestResponseInfo:
			c.RequestResponseInfo = v.number == 1
		case propRequestProblemInfo:
			c.RequestProblemInfo = v.number == 1
		case propAuthMethod:
			c.AuthenticationMethod, c.HasAuthenticationMethod = string(v.value), true
		case propAuthData:
			c.AuthenticationData = clone(v.value)
		case propUser:
			c.UserProperties = append(c.UserProperties, v.user())
		}
	}
	if c.AuthenticationData != nil && !c.HasAuthenticationMethod {
		d.fail("authentication data", ProtocolError)
	}
}

// check makes the checks that come after the format, so that a client learns
// of them from a CONNACK.
func (c *Connect) check(d *decoder) {
	switch {
	case len(c.ClientID) > MaxClientID:
		d.exceeds("client_id_length", "client identifier", ClientIDNotValid)
	case c.ClientID == "" && (c.Version == V31 || c.Version < V5 && !c.CleanStart):
		d.fail("client identifier", ClientIDNotValid) // 3.1.1 [MQTT-3.1.3-8]; 3.1 section 3.1: 1 to 23 characters
	case len(c.Username) > MaxUsername:
		d.exceeds("username_length", "user name", BadUserNameOrPassword)
	}
}

// decodeWill reads sections 3.1.3.2 to 3.1.3.4.
func decodeWill(d *decoder, v Version, flags byte) *Will {
	w := &Will{QoS: QoS(flags >> 3 & 0x03), Retain: flags&flagWillRetain != 0}
	if v >= V5 {
		props := d.properties(will)
		f := forwardedBlock{block: props.buf}
		var p property
		for {
			from := len(f.block) - len(props.buf)
			if !props.next(d, &p) {
				break
			}
			switch p.id {
			case propWillDelay:
				w.Delay = p.number
			case propMessageExpiry:
				w.HasExpiry, w.Expiry = true, p.number
			default:
				f.keep(from, len(f.block)-len(props.buf))
			}
		}
		if f.kept != nil {
			w.Properties = clone(f.kept)
		}
	}
	w.Topic = string(d.name("will topic", TopicNameInvalid, TopicNameInvalid))
	w.Payload = clone(d.binary("will payload"))
	return w
}

func appendConnect(dst []byte, c *Connect) []byte {
	dst, at := begin(append(dst, byte(CONNECT)<<4))
	name, level := "MQTT", byte(c.Version)
	if c.Version == V31 {
		name = "MQIsdp"
	}
	if c.Bridge {
		level |= 0x80
	}
	dst = append(appendText(dst, name), level, c.flags())
	dst = binary.BigEndian.AppendUint16(dst, c.KeepAlive)
	if c.Version >= V5 {
		dst = c.appendProperties(dst)
	}
	dst = appendText(dst, c.ClientID)
	if c.Will != nil {
		dst = c.Will.append(dst, c.Version)
	}
	if c.HasUsername {
		dst = appendText(dst, c.Username)
	}
	if c.HasPassword {
		dst = appendBinary(dst, c.Password)
	}
	return finish(dst, at)
}

func (c *Connect) flags() (flags byte) {
	if c.CleanStart {
		flags |= flagCleanStart
	}
	if c.Will != nil {
		flags |= flagWill | byte(c.Will.QoS)<<3
		if c.Will.Retain {
			flags |= flagWillRetain
		}
	}
	if c.HasUsername {
		flags |= flagUsername
	}
	if c.HasPassword {
		flags |= flagPassword
	}
	return flags
}

func (c *Connect) appendProperties(dst []byte) []byte {
	dst, at := begin(dst)
	if c.SessionExpiry != 0 {
		dst = appendUint32(dst, propSessionExpiry, c.SessionExpiry)
	}
	if c.ReceiveMaximum != 0 && c.ReceiveMaximum != 65_535 {
		dst = appendUint16(dst, propReceiveMaximum, c.ReceiveMaximum)
	}
	if c.MaximumPacketSize != 0 {
		dst = appendUint32(dst, propMaximumPacketSize, c.MaximumPacketSize)
	}
	if c.TopicAliasMaximum != 0 {
		dst = appendUint16(dst, propTopicAliasMaximum, c.TopicAliasMaximum)
	}
	if c.RequestResponseInfo {
		dst = appendFlag(dst, propRequestResponseInfo, true)
	}
	if !c.RequestProblemInfo {
		dst = appendFlag(dst, propRequestProblemInfo, false)
	}
	if c.HasAuthenticationMethod {
		dst = appendText(append(dst, byte(propAuthMethod)), c.AuthenticationMethod)
	}
	if c.AuthenticationData != nil {
		dst = appendBinary(append(dst, byte(propAuthData)), c.AuthenticationData)
	}
	return finish(appendUsers(dst, c.UserProperties), at)
}

func (w *Will) append(dst []byte, v Version) []byte {
	if v >= V5 {
		var at int
		dst, at = begin(dst)
		if w.Delay != 0 {
			dst = appendUint32(dst, propWillDelay, w.Delay)
		}
		if w.HasExpiry {
			dst = appendUint32(dst, propMessageExpiry, w.Expiry)
		}
		dst = finish(append(dst, w.Properties...), at)
	}
	return appendBinary(appendText(dst, w.Topic), w.Payload)
}
