package config

import (
	"reflect"
	"strings"
	"time"
	"unicode"

	"lar.home/mqtt"
)

// aboutLimits says what each field of mqtt.Limits bounds.
var aboutLimits = map[string]string{
	"PacketSize":        "Bytes of a packet, fixed header included.",
	"ConnectSize":       "Bytes of a CONNECT.",
	"OpenPacketSize":    "Bytes of a packet of a client without a credential that is not on this machine.",
	"ReceiveMaximum":    "QoS 1 and 2 messages a 5.0 client may send before the first is acknowledged.",
	"TopicAliasMaximum": "Topic aliases a 5.0 client may use.",
	"Window":            "Messages on their way to a client and not acknowledged; a 5.0 client may ask for less.",
	"InboundQoS2":       "QoS 2 messages of a 3.1.1 client that wait for its PUBREL.",
	"QueueMessages":     "Messages that wait for a client.",
	"QueueBytes":        "Bytes that wait for a client.",
	"Subscriptions":     "Subscriptions of a client.",
	"RetainedTopics":    "Topics with a retained message.",
	"RetainedBytes":     "Bytes of all retained messages.",
	"Connections":       "Connections in total.",
	"PerAddress":        "Connections from one address other than this machine.",
	"Unauthenticated":   "Connections that have not said yet who they are.",
	"KeptSessions":      "Sessions that outlive their connection.",
	"SessionExpiry":     "How long a session with a credential is kept, at most.",
	"OpenSessionExpiry": "How long a session without a credential is kept, at most.",
	"ConnectTimeout":    "How long a client may take to say who it is.",
	"PacketTimeout":     "How long a packet may take, and 1 s for each 10 kB.",
	"WriteStall":        "How long a connection may take nothing of what waits for it.",
	"KeepAlive":         "The longest keep alive of a 5.0 client.",
	"WillGrace":         "After a power cut: how long clients have to come back before their will is published.",
}

// limitSettings makes a setting of each field of mqtt.Limits, so that none is
// forgotten. 0 stands for the default.
func limitSettings() (list []setting) {
	t := reflect.TypeFor[mqtt.Limits]()
	for i := range t.NumField() {
		f := t.Field(i)
		var k kind
		switch {
		case f.Type == reflect.TypeFor[time.Duration]():
			k = durationKind
		case f.Type == reflect.TypeFor[bool]():
			k = boolKind
		case f.Type.Kind() == reflect.Int && (strings.HasSuffix(f.Name, "Size") || strings.HasSuffix(f.Name, "Bytes")):
			k = sizeKind
		case f.Type.Kind() == reflect.Int:
			k = countKind
		default:
			continue // the test of this table says so
		}
		about := aboutLimits[f.Name]
		if about == "" {
			about = strings.ReplaceAll(snake(f.Name), "_", " ") + "."
		}
		list = append(list, setting{
			key: "limits." + snake(f.Name), kind: k, comment: about, reload: true,
			get: func(c *Config) any { return reflect.ValueOf(c.Limits).Field(i).Interface() },
			set: func(c *Config, v any) {
				if value := reflect.ValueOf(v); !value.IsZero() || f.Type.Kind() == reflect.Bool {
					reflect.ValueOf(&c.Limits).Elem().Field(i).Set(value)
				}
			},
		})
	}
	return list
}

// snake writes a Go name as a key: PacketSize is packet_size.
func snake(name string) string {
	name = strings.ReplaceAll(name, "QoS", "Qos")
	var b strings.Builder
	for i, r := range name {
		if unicode.IsUpper(r) {
			if i > 0 {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}
