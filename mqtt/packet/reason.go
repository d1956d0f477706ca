package packet

import "strconv"

// A Reason is a reason code of 5.0, section 2.4.
type Reason byte

// The reason codes, table 2-6.
const (
	Success                     Reason = 0x00
	GrantedQoS1                 Reason = 0x01
	GrantedQoS2                 Reason = 0x02
	DisconnectWithWill          Reason = 0x04
	NoMatchingSubscribers       Reason = 0x10
	NoSubscriptionExisted       Reason = 0x11
	ContinueAuthentication      Reason = 0x18
	ReAuthenticate              Reason = 0x19
	UnspecifiedError            Reason = 0x80
	MalformedPacket             Reason = 0x81
	ProtocolError               Reason = 0x82
	ImplementationSpecificError Reason = 0x83
	UnsupportedProtocolVersion  Reason = 0x84
	ClientIDNotValid            Reason = 0x85
	BadUserNameOrPassword       Reason = 0x86
	NotAuthorized               Reason = 0x87
	ServerUnavailable           Reason = 0x88
	ServerBusy                  Reason = 0x89
	Banned                      Reason = 0x8A
	ServerShuttingDown          Reason = 0x8B
	BadAuthenticationMethod     Reason = 0x8C
	KeepAliveTimeout            Reason = 0x8D
	SessionTakenOver            Reason = 0x8E
	TopicFilterInvalid          Reason = 0x8F
	TopicNameInvalid            Reason = 0x90
	PacketIDInUse               Reason = 0x91
	PacketIDNotFound            Reason = 0x92
	ReceiveMaximumExceeded      Reason = 0x93
	TopicAliasInvalid           Reason = 0x94
	PacketTooLarge              Reason = 0x95
	MessageRateTooHigh          Reason = 0x96
	QuotaExceeded               Reason = 0x97
	AdministrativeAction        Reason = 0x98
	PayloadFormatInvalid        Reason = 0x99
	RetainNotSupported          Reason = 0x9A
	QoSNotSupported             Reason = 0x9B
	UseAnotherServer            Reason = 0x9C
	ServerMoved                 Reason = 0x9D
	SharedNotSupported          Reason = 0x9E
	ConnectionRateExceeded      Reason = 0x9F
	MaximumConnectTime          Reason = 0xA0
	SubscriptionIDsNotSupported Reason = 0xA1
	WildcardsNotSupported       Reason = 0xA2
)

// reasonTable is table 2-6: how a code is called and which packets carry it.
var reasonTable = map[Reason]struct {
	name string
	in   uint16
}{
	Success:                     {"success", places(CONNACK, PUBACK, PUBREC, PUBREL, PUBCOMP, SUBACK, UNSUBACK, AUTH, DISCONNECT)},
	GrantedQoS1:                 {"granted QoS 1", places(SUBACK)},
	GrantedQoS2:                 {"granted QoS 2", places(SUBACK)},
	DisconnectWithWill:          {"disconnect with will", places(DISCONNECT)},
	NoMatchingSubscribers:       {"no matching subscribers", places(PUBACK, PUBREC)},
	NoSubscriptionExisted:       {"no subscription existed", places(UNSUBACK)},
	ContinueAuthentication:      {"continue authentication", places(AUTH)},
	ReAuthenticate:              {"re-authenticate", places(AUTH)},
	UnspecifiedError:            {"unspecified error", places(CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT)},
	MalformedPacket:             {"malformed packet", places(CONNACK, DISCONNECT)},
	ProtocolError:               {"protocol error", places(CONNACK, DISCONNECT)},
	ImplementationSpecificError: {"implementation specific error", places(CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT)},
	UnsupportedProtocolVersion:  {"unsupported protocol version", places(CONNACK)},
	ClientIDNotValid:            {"client identifier not valid", places(CONNACK)},
	BadUserNameOrPassword:       {"bad user name or password", places(CONNACK)},
	NotAuthorized:               {"not authorized", places(CONNACK, PUBACK, PUBREC, SUBACK, UNSUBACK, DISCONNECT)},
	ServerUnavailable:           {"server unavailable", places(CONNACK)},
	ServerBusy:                  {"server busy", places(CONNACK, DISCONNECT)},
	Banned:                      {"banned", places(CONNACK)},
	ServerShuttingDown:          {"server shutting down", places(DISCONNECT)},
	BadAuthenticationMethod:     {"bad authentication method", places(CONNACK, DISCONNECT)},
	KeepAliveTimeout:            {"keep alive timeout", places(DISCONNECT)},
	SessionTakenOver:            {"session taken over", places(DISCONNECT)},
	TopicFilterInvalid:          {"topic filter invalid", places(SUBACK, UNSUBACK, DISCONNECT)},
	TopicNameInvalid:            {"topic name invalid", places(CONNACK, PUBACK, PUBREC, DISCONNECT)},
	PacketIDInUse:               {"packet identifier in use", places(PUBACK, PUBREC, SUBACK, UNSUBACK)},
	PacketIDNotFound:            {"packet identifier not found", places(PUBREL, PUBCOMP)},
	ReceiveMaximumExceeded:      {"receive maximum exceeded", places(DISCONNECT)},
	TopicAliasInvalid:           {"topic alias invalid", places(DISCONNECT)},
	PacketTooLarge:              {"packet too large", places(CONNACK, DISCONNECT)},
	MessageRateTooHigh:          {"message rate too high", places(DISCONNECT)},
	QuotaExceeded:               {"quota exceeded", places(CONNACK, PUBACK, PUBREC, SUBACK, DISCONNECT)},
	AdministrativeAction:        {"administrative action", places(DISCONNECT)},
	PayloadFormatInvalid:        {"payload format invalid", places(CONNACK, PUBACK, PUBREC, DISCONNECT)},
	RetainNotSupported:          {"retain not supported", places(CONNACK, DISCONNECT)},
	QoSNotSupported:             {"QoS not supported", places(CONNACK, DISCONNECT)},
	UseAnotherServer:            {"use another server", places(CONNACK, DISCONNECT)},
	ServerMoved:                 {"server moved", places(CONNACK, DISCONNECT)},
	SharedNotSupported:          {"shared subscriptions not supported", places(SUBACK, DISCONNECT)},
	ConnectionRateExceeded:      {"connection rate exceeded", places(CONNACK, DISCONNECT)},
	MaximumConnectTime:          {"maximum connect time", places(DISCONNECT)},
	SubscriptionIDsNotSupported: {"subscription identifiers not supported", places(SUBACK, DISCONNECT)},
	WildcardsNotSupported:       {"wildcard subscriptions not supported", places(SUBACK, DISCONNECT)},
}

// String returns the name of the code in lower case.
func (r Reason) String() string {
	if row, ok := reasonTable[r]; ok {
		return row.name
	}
	return "reason 0x" + strconv.FormatUint(uint64(r), 16)
}

// in tells whether packets of type t may carry the code.
func (r Reason) in(t Type) bool { return reasonTable[r].in&(1<<t) != 0 }

// returnCode is the code of table 4.1 of 3.1.1, section 3.2.2.3 there, that
// stands for r in a CONNACK. Where none fits, the connection is closed without
// one [MQTT-3.2.2-6].
func (r Reason) returnCode() (code byte, ok bool) {
	switch r {
	case Success, 1, 2, 3, 4, 5: // the latter as Decode leaves them
		return byte(r), true
	case UnsupportedProtocolVersion:
		return 1, true
	case ClientIDNotValid:
		return 2, true
	case ServerUnavailable, ServerBusy, QuotaExceeded, ConnectionRateExceeded, UseAnotherServer, ServerMoved:
		return 3, true
	case BadUserNameOrPassword:
		return 4, true
	case NotAuthorized, Banned:
		return 5, true
	}
	return 0, false
}
