// Package packet turns MQTT 3.1, 3.1.1 and 5.0 control packets into bytes and back.
//
// It holds no state and starts no goroutines: [Split] finds one packet at the
// head of a buffer, [Decode] reads its content, [Append] adds one to a buffer,
// and none of them knows what a session is. A packet that breaks the
// specification is reported as an [*Error] whose Reason is the code that a 5.0
// client is told before it is disconnected.
package packet

// A Version is the protocol level in CONNECT, section 3.1.2.2.
type Version byte

// The protocol levels that are spoken.
const (
	V31  Version = 3 // "MQIsdp"
	V311 Version = 4
	V5   Version = 5
)

// A Type is the upper half of the first byte of a packet, section 2.1.2.
type Type byte

// The control packet types.
const (
	CONNECT     Type = 1
	CONNACK     Type = 2
	PUBLISH     Type = 3
	PUBACK      Type = 4
	PUBREC      Type = 5
	PUBREL      Type = 6
	PUBCOMP     Type = 7
	SUBSCRIBE   Type = 8
	SUBACK      Type = 9
	UNSUBSCRIBE Type = 10
	UNSUBACK    Type = 11
	PINGREQ     Type = 12
	PINGRESP    Type = 13
	DISCONNECT  Type = 14
	AUTH        Type = 15
)

var typeNames = [...]string{"packet", "CONNECT", "CONNACK", "PUBLISH", "PUBACK", "PUBREC", "PUBREL", "PUBCOMP",
	"SUBSCRIBE", "SUBACK", "UNSUBSCRIBE", "UNSUBACK", "PINGREQ", "PINGRESP", "DISCONNECT", "AUTH"}

// String returns the name as the specification spells it.
func (t Type) String() string { return typeNames[t&0x0f] }

// A QoS is a delivery guarantee, section 4.3.
type QoS byte

// The three guarantees.
const (
	AtMostOnce  QoS = 0
	AtLeastOnce QoS = 1
	ExactlyOnce QoS = 2
)

// A Packet is a pointer to one of the packet types of this package.
type Packet interface {
	// Type tells which control packet this is.
	Type() Type
}

// A UserProperty is a name and value pair without a meaning to the protocol.
type UserProperty struct{ Key, Value string }

// Connect asks for a session, section 3.1.
type Connect struct {
	Version    Version
	Bridge     bool // level 0x83 or 0x84: a bridge of the Mosquitto kind
	CleanStart bool // called Clean Session before 5.0
	KeepAlive  uint16
	ClientID   string
	Will       *Will

	HasUsername bool
	HasPassword bool
	Username    string
	Password    []byte

	// 5.0 only. Decode fills in what the standard says of an absent one.
	SessionExpiry           uint32 // seconds; 0xFFFFFFFF never
	ReceiveMaximum          uint16 // 65,535 when absent
	MaximumPacketSize       uint32 // 0 when absent: no limit
	TopicAliasMaximum       uint16
	RequestResponseInfo     bool
	RequestProblemInfo      bool // true when absent
	AuthenticationMethod    string
	HasAuthenticationMethod bool
	AuthenticationData      []byte
	UserProperties          []UserProperty
}

// A Will is published for a client that went away, section 3.1.2.5.
type Will struct {
	Topic      string
	Payload    []byte
	QoS        QoS
	Retain     bool
	Delay      uint32 // seconds
	Expiry     uint32 // seconds, if HasExpiry
	HasExpiry  bool
	Properties []byte // as in Publish
}

// Connack answers a CONNECT, section 3.2. Decode and Append use the codes of
// 5.0; Append writes the return code of table 4.1 for older versions, and
// Decode leaves an old return code (0 to 5) as it is.
type Connack struct {
	SessionPresent bool
	Reason         Reason

	// 5.0 only; nil, zero and empty are left out.
	SessionExpiry           *uint32
	ReceiveMaximum          uint16
	MaximumQoS              *QoS
	RetainAvailable         *bool
	MaximumPacketSize       uint32
	AssignedClientID        string
	TopicAliasMaximum       uint16
	ReasonString            string
	UserProperties          []UserProperty
	WildcardAvailable       *bool
	SubscriptionIDAvailable *bool
	SharedAvailable         *bool
	ServerKeepAlive         *uint16
	ResponseInformation     string
	ServerReference         string
	AuthenticationMethod    string
	AuthenticationData      []byte
}

// Publish carries a message, section 3.3. Decoded, its slices point into the
// buffer that was decoded.
type Publish struct {
	Dup      bool
	QoS      QoS
	Retain   bool
	Topic    []byte
	PacketID uint16

	// 5.0 only.
	Alias           uint16 // Topic Alias, 0 when absent
	HasExpiry       bool
	Expiry          uint32   // Message Expiry Interval, seconds
	SubscriptionIDs []uint32 // only from a server
	// Properties are those that a server forwards unaltered, encoded, in
	// their order: Payload Format Indicator, Content Type, Response Topic,
	// Correlation Data and User Properties.
	Properties []byte

	Payload []byte
}

// Ack is PUBACK, PUBREC, PUBREL or PUBCOMP, sections 3.4 to 3.7.
type Ack struct {
	Kind           Type
	PacketID       uint16
	Reason         Reason
	ReasonString   string
	UserProperties []UserProperty
}

// A Subscription is a topic filter and its options, section 3.8.3.
type Subscription struct {
	Filter            string
	QoS               QoS
	NoLocal           bool
	RetainAsPublished bool
	RetainHandling    byte // 0 send, 1 send if new, 2 do not send
}

// Subscribe asks for messages, section 3.8.
type Subscribe struct {
	PacketID       uint16
	SubscriptionID uint32 // 0 when absent
	Filters        []Subscription
	UserProperties []UserProperty
}

// Suback answers a SUBSCRIBE, section 3.9, with one code for each filter.
type Suback struct {
	PacketID       uint16
	Reasons        []Reason
	ReasonString   string
	UserProperties []UserProperty
}

// Unsubscribe takes filters back, section 3.10.
type Unsubscribe struct {
	PacketID       uint16
	Filters        []string
	UserProperties []UserProperty
}

// Unsuback answers an UNSUBSCRIBE, section 3.11. Reasons are sent to 5.0 only.
type Unsuback struct {
	PacketID       uint16
	Reasons        []Reason
	ReasonString   string
	UserProperties []UserProperty
}

// Pingreq asks for a sign of life, section 3.12.
type Pingreq struct{}

// Pingresp gives it, section 3.13.
type Pingresp struct{}

// Disconnect ends a connection, section 3.14.
type Disconnect struct {
	Reason          Reason
	SessionExpiry   *uint32 // from a client only
	ReasonString    string
	UserProperties  []UserProperty
	ServerReference string
}

// Auth is a step of enhanced authentication, section 3.15, 5.0 only.
type Auth struct {
	Reason         Reason
	Method         string
	HasMethod      bool
	Data           []byte
	ReasonString   string
	UserProperties []UserProperty
}

// Type implements Packet, as do those below.
func (*Connect) Type() Type     { return CONNECT }
func (*Connack) Type() Type     { return CONNACK }
func (*Publish) Type() Type     { return PUBLISH }
func (a *Ack) Type() Type       { return a.Kind }
func (*Subscribe) Type() Type   { return SUBSCRIBE }
func (*Suback) Type() Type      { return SUBACK }
func (*Unsubscribe) Type() Type { return UNSUBSCRIBE }
func (*Unsuback) Type() Type    { return UNSUBACK }
func (*Pingreq) Type() Type     { return PINGREQ }
func (*Pingresp) Type() Type    { return PINGRESP }
func (*Disconnect) Type() Type  { return DISCONNECT }
func (*Auth) Type() Type        { return AUTH }
