package mqtt

import (
	"strings"
	"time"

	"lar.home/mqtt/packet"
	"lar.home/mqtt/topic"
)

// Limits bound what clients may ask of the broker. A zero field means its
// default, named in brackets.
type Limits struct {
	PacketSize         int           // bytes of a packet, fixed header included [8 MiB]
	ConnectSize        int           // bytes of a CONNECT [128 KiB]
	OpenPacketSize     int           // bytes of a packet of a client without a credential, loopback free [256 KiB]
	ReceiveMaximum     int           // announced to 5.0 clients [20]
	TopicAliasMaximum  int           // announced to 5.0 clients [10]
	Window             int           // messages in flight towards a client [100]
	InboundQoS2        int           // open inbound QoS 2 identifiers of a 3.1.1 client [1024]
	QueueMessages      int           // waiting messages of a session [1000]
	QueueBytes         int           // waiting bytes of a session, and of a socket's buffer [8 MiB]
	Subscriptions      int           // of a client [10,000]
	RetainedTopics     int           // [200,000]
	RetainedBytes      int           // of retained messages and their topics, but for large payloads [64 MiB]
	RetainedLargeBytes int           // of retained payloads over 64 KiB, which lie on disk [512 MiB]
	Connections        int           // [10,000]
	PerAddress         int           // connections from one address, loopback free [1024]
	Unauthenticated    int           // connections that have not sent a CONNECT yet [64]
	Handshakes         int           // connections of a listener that have not come to MQTT yet: TLS, a PROXY header, HTTP [256]
	KeptSessions       int           // [10,000]
	KeptPerIdentity    int           // kept sessions of one credential, loopback free [100]
	AllQueuesBytes     int           // waiting bytes of all sessions together [512 MiB]
	MessageBytes       int           // of messages in memory that wait for clients, each counted once [32 MiB]
	WindowBytes        int           // of the messages in flight towards a client; one message always may be [2 MiB]
	LargeBytes         int           // bytes of packets over 64 KiB on their way in at one time; the next waits [24 MiB]
	ClientIDLength     int           // bytes of a client identifier, 256 at most [256]
	UsernameLength     int           // bytes of a user name, 256 at most [256]
	TopicLength        int           // bytes of a topic name or filter, 4096 at most [4096]
	TopicSeparators    int           // slashes of a topic name or filter, 200 at most [200]
	UserProperties     int           // of a packet, a will's included, 64 at most [64]
	UserPropertyBytes  int           // of their names and values, 8 KiB at most [8 KiB]
	TakeOvers          int           // of one session a minute, before the next waits [30]
	TakeOverWait       time.Duration // how long it waits [5 s]
	SessionExpiry      time.Duration // of a client with a credential [1 year]
	OpenSessionExpiry  time.Duration // of a client without one [7 days]
	ConnectTimeout     time.Duration // for CONNECT to come [10 s]
	PacketTimeout      time.Duration // for a packet to be whole once it has begun, beside its size at PacketRate [10 s]
	PacketRate         int           // bytes a second at which a packet may come [10,000]
	WriteStall         time.Duration // for a socket to take something [15 s]
	PausePercent       int           // of QueueMessages or QueueBytes in a session, beyond which who feeds it pauses; 100: nobody does [50]
	PauseTakes         time.Duration // and its client has taken something within this time [100 ms]
	PauseLongest       time.Duration // of a publisher, for other clients or the disk [1 s]
	KeepAlive          time.Duration // longest; 5.0 clients are told [3600 s]
	ServerKeepAlive    time.Duration // that every 5.0 client is told to use; 0: its own, if not longer than KeepAlive
	MaximumQoS         *QoS          // that is served; nil: 2
	NoOldClients       bool          // clients of 3.1 ("MQIsdp") are not served
	NoRetained         bool          // no message may be retained
	SysInterval        time.Duration // between two values under $SYS/broker; negative: nothing is told there [10 s]
	WillGrace          time.Duration // after a kill, for clients to come back before their will goes out [60 s]
}

func or[T comparable](v *T, def T) {
	var zero T
	if *v == zero {
		*v = def
	}
}

// withDefaults returns l with its zero fields filled in.
func (l Limits) withDefaults() Limits {
	or(&l.PacketSize, 8<<20)
	or(&l.ConnectSize, 128<<10)
	or(&l.OpenPacketSize, 256<<10)
	or(&l.ReceiveMaximum, 20)
	or(&l.TopicAliasMaximum, 10)
	or(&l.Window, 100)
	or(&l.InboundQoS2, 1024)
	or(&l.QueueMessages, 1000)
	or(&l.QueueBytes, 8<<20)
	or(&l.Subscriptions, 10_000)
	or(&l.RetainedTopics, 200_000)
	or(&l.RetainedBytes, 64<<20)
	or(&l.RetainedLargeBytes, 512<<20)
	or(&l.Connections, 10_000)
	or(&l.PerAddress, 1024)
	or(&l.Unauthenticated, 64)
	or(&l.Handshakes, 256)
	or(&l.KeptSessions, 10_000)
	or(&l.KeptPerIdentity, 100)
	or(&l.AllQueuesBytes, 512<<20)
	or(&l.MessageBytes, 32<<20)
	or(&l.WindowBytes, 2<<20)
	or(&l.LargeBytes, 24<<20)
	or(&l.ClientIDLength, packet.MaxClientID)
	or(&l.UsernameLength, packet.MaxUsername)
	or(&l.TopicLength, topic.MaxLength)
	or(&l.TopicSeparators, topic.MaxSeparators)
	or(&l.UserProperties, packet.MaxUserProperties)
	or(&l.UserPropertyBytes, packet.MaxUserPropertyBytes)
	or(&l.TakeOvers, 30)
	or(&l.TakeOverWait, 5*time.Second)
	or(&l.SessionExpiry, 365*24*time.Hour)
	or(&l.OpenSessionExpiry, 7*24*time.Hour)
	or(&l.ConnectTimeout, 10*time.Second)
	or(&l.PacketTimeout, 10*time.Second)
	or(&l.PacketRate, 10_000)
	or(&l.WriteStall, 15*time.Second)
	or(&l.PausePercent, 50)
	or(&l.PauseTakes, 100*time.Millisecond)
	or(&l.PauseLongest, time.Second)
	or(&l.KeepAlive, time.Hour)
	or(&l.SysInterval, 10*time.Second)
	or(&l.WillGrace, time.Minute)
	return l
}

// DefaultLimits returns what a zero Limits stands for.
func DefaultLimits() Limits { return Limits{}.withDefaults() }

// SetLimits puts other limits in force. What was granted to a connection when
// it was made (its window, the size of its packets) stays as it is.
func (b *Broker) SetLimits(l Limits) {
	l = l.withDefaults()
	b.limitsNow.Store(&l)
}

// Limits returns the limits in force.
func (b *Broker) Limits() Limits { return *b.limits() }

// limits returns the limits in force.
func (b *Broker) limits() *Limits { return b.limitsNow.Load() }

// qos returns the highest QoS that is served.
func (l *Limits) qos() QoS {
	if l.MaximumQoS == nil {
		return ExactlyOnce
	}
	return *l.MaximumQoS
}

// exceededBy names the limit that a topic name or filter goes beyond, or "".
func (l *Limits) exceededBy(topic string) string {
	switch {
	case len(topic) > l.TopicLength:
		return "topic_length"
	case len(topic) > l.TopicSeparators && strings.Count(topic, "/") > l.TopicSeparators:
		return "topic_separators"
	}
	return ""
}

// crowding tells whether n, of most that there may be, is so much that who adds
// to it is to pause.
func (l *Limits) crowding(n, most int) bool { return int64(n)*100 > int64(most)*int64(l.PausePercent) }

// timeFor is how long a packet of some size may be on its way.
func (l *Limits) timeFor(size int) time.Duration {
	return l.PacketTimeout + time.Duration(size)*time.Second/time.Duration(l.PacketRate)
}

// exceededByUsers names the limit that the user properties of a packet go
// beyond, or "", where it is lower than that which its decoder keeps: those of
// a list, and those among encoded properties.
func (l *Limits) exceededByUsers(list []packet.UserProperty, encoded []byte) string {
	if l.UserProperties >= packet.MaxUserProperties && l.UserPropertyBytes >= packet.MaxUserPropertyBytes {
		return ""
	}
	count, bytes := 0, 0
	for _, u := range list {
		count++
		bytes += len(u.Key) + len(u.Value)
	}
	for key, value := range packet.UserPropertiesOf(encoded) {
		count++
		bytes += len(key) + len(value)
	}
	switch {
	case count > l.UserProperties:
		return "user_properties"
	case bytes > l.UserPropertyBytes:
		return "user_property_bytes"
	}
	return ""
}

// checkUsers is exceededByUsers for what a client sends but CONNECT and PUBLISH.
func (l *Limits) checkUsers(p packet.Packet) error {
	var list []packet.UserProperty
	switch p := p.(type) {
	case *packet.Subscribe:
		list = p.UserProperties
	case *packet.Unsubscribe:
		list = p.UserProperties
	case *packet.Ack:
		list = p.UserProperties
	case *packet.Disconnect:
		list = p.UserProperties
	case *packet.Auth:
		list = p.UserProperties
	}
	if limit := l.exceededByUsers(list, nil); limit != "" {
		return &packet.Error{Packet: p.Type().String(), Field: "user property", Reason: packet.QuotaExceeded, Limit: limit}
	}
	return nil
}
