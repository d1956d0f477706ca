package packet

// A propertyID names a property, table 2-4.
type propertyID byte

const (
	propPayloadFormat         propertyID = 0x01
	propMessageExpiry         propertyID = 0x02
	propContentType           propertyID = 0x03
	propResponseTopic         propertyID = 0x08
	propCorrelationData       propertyID = 0x09
	propSubscriptionID        propertyID = 0x0B
	propSessionExpiry         propertyID = 0x11
	propAssignedClientID      propertyID = 0x12
	propServerKeepAlive       propertyID = 0x13
	propAuthMethod            propertyID = 0x15
	propAuthData              propertyID = 0x16
	propRequestProblemInfo    propertyID = 0x17
	propWillDelay             propertyID = 0x18
	propRequestResponseInfo   propertyID = 0x19
	propResponseInformation   propertyID = 0x1A
	propServerReference       propertyID = 0x1C
	propReasonString          propertyID = 0x1F
	propReceiveMaximum        propertyID = 0x21
	propTopicAliasMaximum     propertyID = 0x22
	propTopicAlias            propertyID = 0x23
	propMaximumQoS            propertyID = 0x24
	propRetainAvailable       propertyID = 0x25
	propUser                  propertyID = 0x26
	propMaximumPacketSize     propertyID = 0x27
	propWildcardAvailable     propertyID = 0x28
	propSubscriptionIDAllowed propertyID = 0x29
	propSharedAvailable       propertyID = 0x2A
)

// A propertyType says how the value of a property is encoded.
type propertyType byte

const (
	typeNone propertyType = iota
	typeFlag              // a byte, 0 or 1
	typeUint16
	typeUint32
	typeVarint
	typeText
	typeBinary
	typePair
)

// will stands for the will properties of a CONNECT where a packet type is
// expected; no packet has type 0.
const will Type = 0

func places(types ...Type) (set uint16) {
	for _, t := range types {
		set |= 1 << t
	}
	return set
}

// propertyTable is table 2-4: how a property is encoded, in which packets it
// may stand, and how its name is spelled.
var propertyTable = [...]struct {
	typ  propertyType
	in   uint16
	name string
}{
	propPayloadFormat:         {typeFlag, places(PUBLISH, will), "payload format indicator"},
	propMessageExpiry:         {typeUint32, places(PUBLISH, will), "message expiry interval"},
	propContentType:           {typeText, places(PUBLISH, will), "content type"},
	propResponseTopic:         {typeText, places(PUBLISH, will), "response topic"},
	propCorrelationData:       {typeBinary, places(PUBLISH, will), "correlation data"},
	propSubscriptionID:        {typeVarint, places(PUBLISH, SUBSCRIBE), "subscription identifier"},
	propSessionExpiry:         {typeUint32, places(CONNECT, CONNACK, DISCONNECT), "session expiry interval"},
	propAssignedClientID:      {typeText, places(CONNACK), "assigned client identifier"},
	propServerKeepAlive:       {typeUint16, places(CONNACK), "server keep alive"},
	propAuthMethod:            {typeText, places(CONNECT, CONNACK, AUTH), "authentication method"},
	propAuthData:              {typeBinary, places(CONNECT, CONNACK, AUTH), "authentication data"},
	propRequestProblemInfo:    {typeFlag, places(CONNECT), "request problem information"},
	propWillDelay:             {typeUint32, places(will), "will delay interval"},
	propRequestResponseInfo:   {typeFlag, places(CONNECT), "request response information"},
	propResponseInformation:   {typeText, places(CONNACK), "response information"},
	propServerReference:       {typeText, places(CONNACK, DISCONNECT), "server reference"},
	propReasonString:          {typeText, places(CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, DISCONNECT, AUTH), "reason string"},
	propReceiveMaximum:        {typeUint16, places(CONNECT, CONNACK), "receive maximum"},
	propTopicAliasMaximum:     {typeUint16, places(CONNECT, CONNACK), "topic alias maximum"},
	propTopicAlias:            {typeUint16, places(PUBLISH), "topic alias"},
	propMaximumQoS:            {typeFlag, places(CONNACK), "maximum QoS"},
	propRetainAvailable:       {typeFlag, places(CONNACK), "retain available"},
	propUser:                  {typePair, ^(places(PINGREQ, PINGRESP)), "user property"},
	propMaximumPacketSize:     {typeUint32, places(CONNECT, CONNACK), "maximum packet size"},
	propWildcardAvailable:     {typeFlag, places(CONNACK), "wildcard subscription available"},
	propSubscriptionIDAllowed: {typeFlag, places(CONNACK), "subscription identifiers available"},
	propSharedAvailable:       {typeFlag, places(CONNACK), "shared subscription available"},
}

// A property is one of a property block, decoded.
type property struct {
	id     propertyID
	number uint32 // of flags and numbers
	key    []byte // of a user property
	value  []byte // of texts, binary data and user properties
}

// properties walks the property block of a packet, section 2.2.2.
type properties struct {
	decoder
	in    Type   // the packet, or will
	seen  uint64 // a bit for each propertyID
	stray bool   // one of them may not stand there
}

// properties begins the block that comes next.
func (d *decoder) properties(in Type) properties {
	block := d.take(int(d.varint("property length")), "property length")
	return properties{decoder: decoder{packet: d.packet, buf: block, users: d.users, userBytes: d.userBytes}, in: in}
}

// next reads a property into v, checked as far as it can be by itself. It
// reports false at the end of the block and on a failure, and hands on to d,
// where the block began, what it has come to know.
func (p *properties) next(d *decoder, v *property) bool {
	for len(p.buf) > 0 {
		if here := p.read(v); here && p.err == nil {
			return true
		}
	}
	if p.stray {
		p.fail("property identifier", MalformedPacket)
	}
	if p.err != nil {
		d.exceeds(p.err.Limit, p.err.Field, p.err.Reason)
	}
	d.users, d.userBytes = p.users, p.userBytes
	return false
}

// read reads a property and tells whether it may stand here. One that may not
// fails the block at its end: should it stand there twice or lack its value,
// that is what is said of it, as by the other brokers.
func (p *properties) read(v *property) (here bool) {
	id := p.varint("property identifier")
	if p.err != nil {
		return false
	}
	if id >= uint32(len(propertyTable)) || propertyTable[id].typ == typeNone {
		p.fail("property identifier", MalformedPacket)
		return false
	}
	row := &propertyTable[id]
	here = row.in&(1<<p.in) != 0
	p.stray = p.stray || !here
	*v = property{id: propertyID(id)}
	// Only user properties and, from a server, the identifiers of overlapping
	// subscriptions may stand there more than once.
	repeats := v.id == propUser || v.id == propSubscriptionID && p.in == PUBLISH
	if bit := uint64(1) << id; p.seen&bit != 0 && !repeats {
		p.fail(row.name, ProtocolError)
		return here
	} else {
		p.seen |= bit
	}
	switch row.typ {
	case typeFlag:
		if v.number = uint32(p.byte(row.name)); v.number > 1 {
			p.fail(row.name, ProtocolError)
		}
	case typeUint16:
		v.number = uint32(p.uint16(row.name))
	case typeUint32:
		v.number = p.uint32(row.name)
	case typeVarint:
		v.number = p.varint(row.name)
	case typeText:
		v.value = p.text(row.name)
	case typeBinary:
		v.value = p.binary(row.name)
	case typePair:
		v.key = p.text(row.name) // [MQTT-1.5.7-1]
		v.value = p.text(row.name)
		p.users++
		p.userBytes += len(v.key) + len(v.value)
		if p.users > MaxUserProperties {
			p.exceeds("user_properties", row.name, QuotaExceeded)
		} else if p.userBytes > MaxUserPropertyBytes {
			p.exceeds("user_property_bytes", row.name, QuotaExceeded)
		}
	}
	if v.number == 0 && p.err == nil {
		switch v.id {
		case propReceiveMaximum, propMaximumPacketSize, propSubscriptionID:
			p.fail(row.name, ProtocolError)
		case propTopicAlias:
			p.fail(row.name, TopicAliasInvalid) // [MQTT-3.3.2-8]
		}
	}
	if v.id == propResponseTopic && p.err == nil {
		p.checkName(v.value, row.name, ProtocolError, ProtocolError) // [MQTT-3.3.2-14]
	}
	return here
}

// user returns a copy of a user property.
func (v *property) user() UserProperty {
	return UserProperty{Key: string(v.key), Value: string(v.value)}
}

// A forwardedBlock gathers the forwarded properties out of the block they
// stand in. It copies only if others stand between them.
type forwardedBlock struct {
	block      []byte // all properties
	kept       []byte
	start, end int // of kept in block, while it is not a copy
	copied     bool
}

// keep adds what stands in the block between two offsets.
func (f *forwardedBlock) keep(from, to int) {
	switch {
	case f.kept == nil:
		f.start = from
		f.kept = f.block[from:to:to]
	case f.end == from && !f.copied:
		f.kept = f.block[f.start:to:to]
	default:
		f.kept = append(f.kept, f.block[from:to]...) // a copy, as cap is len
		f.copied = true
	}
	f.end = to
}
