package config

import (
	"reflect"
	"strings"
	"time"

	"lar.home/mqtt"
)

// aboutLimits says what each field of mqtt.Limits bounds.
var aboutLimits = map[string]string{
	"PacketSize":         "Bytes of a packet, fixed header included.",
	"ConnectSize":        "Bytes of a CONNECT.",
	"OpenPacketSize":     "Bytes of a packet of a client without a credential that is not on this machine.",
	"ReceiveMaximum":     "QoS 1 and 2 messages a 5.0 client may send before the first is acknowledged.",
	"TopicAliasMaximum":  "Topic aliases a 5.0 client may use.",
	"Window":             "Messages on their way to a client and not acknowledged; a 5.0 client may ask for less.",
	"InboundQoS2":        "QoS 2 messages of a 3.1.1 client that wait for its PUBREL.",
	"QueueMessages":      "Messages that wait for a client.",
	"QueueBytes":         "Bytes that wait for a client.",
	"Subscriptions":      "Subscriptions of a client.",
	"RetainedTopics":     "Topics with a retained message.",
	"RetainedBytes":      "Bytes of all retained messages, but for payloads over 64 KiB.",
	"RetainedLargeBytes": "Bytes of retained payloads over 64 KiB, which lie on the disk; never more than\ndisk_percent of what is free there.",
	"Connections":        "Connections in total.",
	"PerAddress":         "Connections from one address other than this machine.",
	"Unauthenticated":    "Connections that have not said yet who they are.",
	"Handshakes":         "Connections of a listener that are not at MQTT yet: TLS, a PROXY header, HTTP.",
	"KeptSessions":       "Sessions that outlive their connection.",
	"KeptPerIdentity":    "Sessions of one credential that outlive their connection, not counting this machine.",
	"AllQueuesBytes":     "Bytes that wait on the disk for all clients together; never more than\ndisk_percent of what is free there.",
	"MessageBytes":       "Bytes of messages in memory that wait for clients, each counted once. What is\nbeyond waits on the disk, or is dropped where no session is kept.",
	"WindowBytes":        "Bytes of the messages on their way to a client and not acknowledged; one message\nalways may be.",
	"LargeBytes":         "Bytes of packets over 64 KiB on their way in at one time; the next one waits.",
	"ClientIDLength":     "Bytes of a client identifier, 256 at most.",
	"UsernameLength":     "Bytes of a user name, 256 at most.",
	"TopicLength":        "Bytes of a topic name or filter, 4096 at most.",
	"TopicSeparators":    "Slashes of a topic name or filter, 200 at most.",
	"UserProperties":     "User properties of a packet, 64 at most.",
	"UserPropertyBytes":  "Bytes of the user properties of a packet, 8 KiB at most.",
	"TakeOvers":          "How often a minute a client may take its own place, before the next one waits.",
	"TakeOverWait":       "How long that one waits.",
	"ServerKeepAlive":    "The keep alive that every 5.0 client is told to use; 0s: its own.",
	"MaximumQoS":         "The highest QoS that is served: 0, 1 or 2.",
	"NoOldClients":       "Whether clients of MQTT 3.1, from before 3.1.1, are refused.",
	"NoRetained":         "Whether messages may not be retained.",
	"SessionExpiry":      "How long a session with a credential is kept, at most.",
	"OpenSessionExpiry":  "How long a session without a credential is kept, at most.",
	"ConnectTimeout":     "How long a client may take to say who it is.",
	"PacketTimeout":      "How long a packet may take, beside the time for its size at packet_rate.",
	"PacketRate":         "Bytes a second at which a packet may come.",
	"PausePercent":       "How full the queue of a client is, in percent of queue_messages or queue_bytes, when\nwho sends to it has to pause. 100: nobody pauses.",
	"PauseTakes":         "A publisher pauses only while the client it waits for has taken some of its queue within\nthis time: who takes nothing slows nobody.",
	"PauseLongest":       "How long a publisher pauses at most, for other clients or for the disk. A client that\nwas waited for so long in vain is not waited for again for ten times as long.",
	"WriteStall":         "How long a connection may take nothing of what waits for it.",
	"KeepAlive":          "The longest keep alive of a 5.0 client.",
	"SysInterval":        "How often what the broker tells of itself under $SYS/broker is brought up to date,\nwhile somebody has subscribed to it, which wants a line of acl: see rights.acl.\n0s: nothing is told.",
	"WillGrace":          "After a power cut: how long clients have to come back before their will is published.",
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
		case f.Type == reflect.TypeFor[*mqtt.QoS]():
			list = append(list, maximumQoS(f.Name, func(c *Config) **mqtt.QoS {
				return reflect.ValueOf(&c.Limits).Elem().Field(i).Addr().Interface().(**mqtt.QoS)
			}))
			continue
		case f.Type.Kind() == reflect.Int && (strings.HasSuffix(f.Name, "Size") || strings.HasSuffix(f.Name, "Bytes")):
			k = sizeKind
		case f.Type.Kind() == reflect.Int:
			k = countKind
		default:
			continue // the test of this table says so
		}
		about := aboutLimits[f.Name]
		if f.Name == "SysInterval" { // whose zero is a value
			list = append(list, define(durationKind, "limits."+mqtt.LimitName(f.Name), "", func(c *Config) *time.Duration { return &c.Limits.SysInterval }, about).
				reloaded().zeroIsOff())
			continue
		}
		if about == "" {
			about = strings.ReplaceAll(mqtt.LimitName(f.Name), "_", " ") + "."
		}
		list = append(list, setting{
			key: "limits." + mqtt.LimitName(f.Name), kind: k, comment: about, reload: true,
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

// maximumQoS is the setting of a field that is nil for the highest.
func maximumQoS(name string, field func(c *Config) **mqtt.QoS) setting {
	k := countKind
	k.want = "0, 1 or 2"
	check := func(v any, err error) (any, error) {
		if err != nil || v.(int) > int(mqtt.ExactlyOnce) {
			return 0, errValue
		}
		return v, nil
	}
	k.toml = func(v any) (any, error) { return check(countKind.toml(v)) }
	k.text = func(s string) (any, error) { return check(countKind.text(s)) }
	return setting{
		key: "limits." + mqtt.LimitName(name), kind: k, comment: aboutLimits[name], reload: true,
		get: func(c *Config) any {
			if q := *field(c); q != nil {
				return int(*q)
			}
			return int(mqtt.ExactlyOnce)
		},
		set: func(c *Config, v any) {
			*field(c) = nil
			if q := mqtt.QoS(v.(int)); q < mqtt.ExactlyOnce {
				*field(c) = &q
			}
		},
	}
}
