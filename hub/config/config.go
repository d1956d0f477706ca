// Package config reads what a hub is told by its file lar.toml, by environment
// variables and by flags.
//
// Every setting stands once, in one table: its key, its comment, its default,
// its flag. The file that is shown as an example, what lar check prints, and
// the names of the environment variables are made from it. A flag counts more
// than an environment variable, this more than the file, and this more than
// the default. What is wrong is said with the line it stands in.
package config

import (
	"log/slog"
	"strings"
	"time"

	"lar.home/devices/history"
	"lar.home/hub/listen"
	"lar.home/mqtt"
)

// A Config is all that a hub can be told.
type Config struct {
	Data           string
	MQTT, HTTP     string // addresses, or Off
	HTTPS          HTTPS
	MDNS           bool
	AllowAnonymous bool
	LogLevel       string
	Sync           string
	Home           Home
	Devices        Devices
	Rights         Rights
	History        History
	MemoryLimit    int // bytes that the program tries to stay under
	DiskPercent    int // of the free disk that queues take at most
	Limits         mqtt.Limits
	Listeners      []listen.Config
}

// What holds where nothing is said: 160 MiB leave a Pi with 512 MB room for all
// else.
const (
	DefaultMemoryLimit = 160 << 20
	DefaultDiskPercent = 25
)

// Off, as an address, says not to listen.
const Off = "off"

// HTTPS says where pages are served by TLS, and with which certificate.
type HTTPS struct {
	Address          string // or Off; empty is Off, too
	Certificate, Key string // files; empty: the hub makes its own
}

// Home says where the home stands, in degrees as text, and which time its
// walls show; empty is what the pages say.
type Home struct{ Latitude, Longitude, Zone string }

// Devices says where devices are listened for.
type Devices struct {
	Prefix      string   // of discovery topics
	Zigbee2MQTT []string // base topics with a slash in them
}

// Rights says who may connect, and what clients may do, beside the people and
// credentials of the home.
type Rights struct {
	PasswordFile    string
	ACLFile         string
	ACL             []string
	SubscribeRights string // "strict" or "filter"
	FailedLogins    int    // a minute, before the next ones wait; 0: none waits
}

// History says how much is kept of what was.
type History struct {
	Raw    time.Duration // for how long, every single value
	Budget int           // bytes, all in all
}

// Level is LogLevel for package slog.
func (c *Config) Level() slog.Level {
	var l slog.Level
	l.UnmarshalText([]byte(c.LogLevel)) // it was checked
	return l
}

// A setting is one key of the file.
type setting struct {
	key     string // "limits.packet_size"; of a listener the last part alone
	flag    string // empty: none
	comment string
	kind    kind
	path    bool // names a file, from the folder of the one it stands in
	reload  bool // is put in force without a new start
	get     func(c *Config) any
	set     func(c *Config, v any)
}

// env is the environment variable of a key.
func env(key string) string {
	return "LAR_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

func define[T any](k kind, key, flag string, field func(c *Config) *T, comment string) setting {
	return setting{key: key, flag: flag, comment: comment, kind: k,
		get: func(c *Config) any { return *field(c) },
		set: func(c *Config, v any) { *field(c) = v.(T) },
	}
}

func (s setting) aPath() setting    { s.path = true; return s }
func (s setting) reloaded() setting { s.reload = true; return s }

// zeroIsOff has a setting of time keep 0 as -1: to the broker, 0 says nothing.
func (s setting) zeroIsOff() setting {
	get, set := s.get, s.set
	s.get = func(c *Config) any { return max(0, get(c).(time.Duration)) }
	s.set = func(c *Config, v any) {
		if v.(time.Duration) == 0 {
			v = time.Duration(-1)
		}
		set(c, v)
	}
	return s
}

func (s setting) of(i int) setting      { s.key = listenerKey(i, s.key); return s }
func (s setting) text(c *Config) string { return s.kind.write(s.get(c)) }

// settings are all but those of listeners, in the order of the file.
var settings = append([]setting{
	define(textKind, "data", "data", func(c *Config) *string { return &c.Data },
		"The data folder.").aPath(),
	define(textKind, "mqtt", "mqtt", func(c *Config) *string { return &c.MQTT },
		"Where clients connect over TCP: a port as in \":1883\", or an address and a\nport. \"off\": nowhere but at the listeners below."),
	define(textKind, "http", "http", func(c *Config) *string { return &c.HTTP },
		"Where pages are served, and MQTT over WebSocket at /mqtt. \"off\": no pages."),
	define(textKind, "https", "https", func(c *Config) *string { return &c.HTTPS.Address },
		"Where pages are served over TLS, and MQTT over secure WebSocket at /mqtt, as in\n\":8443\". \"off\": nowhere."),
	define(textKind, "https_certificate", "", func(c *Config) *string { return &c.HTTPS.Certificate },
		"The certificate of https and those of its authorities, PEM. Empty: Lar makes one\nof its own, which browsers ask about once.").aPath().reloaded(),
	define(textKind, "https_key", "", func(c *Config) *string { return &c.HTTPS.Key },
		"The private key of https_certificate, PEM.").aPath().reloaded(),
	define(choice("always", "interval", "never"), "sync", "sync", func(c *Config) *string { return &c.Sync },
		"When a message counts as kept: \"always\", once the disk has it; \"interval\" or\n\"never\", once the system has it, which tells the disk within 100 ms or when it\nlikes. These lose what was acknowledged last when the power fails."),
	define(sizeKind, "memory_limit", "", func(c *Config) *int { return &c.MemoryLimit },
		"Bytes of memory that Lar tries to stay under, all in all. The limits below are\nmade for 160 MiB. Where the environment variable GOMEMLIMIT is set, that holds.").reloaded(),
	define(boolKind, "mdns", "mdns", func(c *Config) *bool { return &c.MDNS },
		"Make the hub known on the local network."),
	define(boolKind, "allow_anonymous", "allow-anonymous", func(c *Config) *bool { return &c.AllowAnonymous },
		"Let clients of the local network connect without a credential, also when the\nhome has an owner."),
	define(choice("debug", "info", "warn", "error"), "log_level", "log-level", func(c *Config) *string { return &c.LogLevel },
		"What is logged: debug, info, warn or error.").reloaded(),

	define(degreeKind, "home.latitude", "", func(c *Config) *string { return &c.Home.Latitude },
		"Where the home stands, for the sun: degrees, north and east positive. \"\": as\nset on the pages, which cannot change what stands here."),
	define(degreeKind, "home.longitude", "", func(c *Config) *string { return &c.Home.Longitude },
		"Degrees; east is positive."),
	define(textKind, "home.zone", "", func(c *Config) *string { return &c.Home.Zone },
		"The time zone of automations and pages, like \"Europe/Berlin\". \"\": as set on\nthe pages, or else that of this machine."),

	define(textKind, "devices.discovery_prefix", "", func(c *Config) *string { return &c.Devices.Prefix },
		"The first part of the topics by which devices announce themselves in the way of\nHome Assistant, and of the topic on which the hub says that it is here."),
	define(listKind, "devices.zigbee2mqtt", "", func(c *Config) *[]string { return &c.Devices.Zigbee2MQTT },
		`Base topics of Zigbee2MQTT that have a slash, as "house/zigbee2mqtt". Others are
found by themselves, also several.`),

	define(textKind, "rights.password_file", "", func(c *Config) *string { return &c.Rights.PasswordFile },
		"A file of users and passwords, a line each: a name, a colon and a hash as lar\npasswd makes it, which SCRAM-SHA-256 can be done with, or mosquitto_passwd. Once it is named, everybody needs a user\nname. Empty: none.").aPath().reloaded(),
	define(textKind, "rights.acl_file", "", func(c *Config) *string { return &c.Rights.ACLFile },
		"A file of lines like those of acl, which come after these. Empty: none.").aPath().reloaded(),
	define(listKind, "rights.acl", "", func(c *Config) *[]string { return &c.Rights.ACL },
		`What clients may publish and subscribe to. A line is "allow" or "deny"; who: a
user name, "*" for everybody, "-" for who has none; "publish", "subscribe" or
"both"; and a topic filter, in which %u stands for the user name and %c for
the client identifier. The first line that fits counts, and what fits none is
denied. With no line at all, here and in acl_file, everything is allowed but
what the broker tells of itself: $SYS/# wants a line that names it.`).reloaded(),
	define(choice("strict", "filter"), "rights.subscribe_rights", "", func(c *Config) *string { return &c.Rights.SubscribeRights },
		`"strict": a subscription is refused unless all its topics are allowed.
"filter": only if all are denied; what comes of it is checked message by message.`).reloaded(),
	define(countKind, "rights.failed_logins", "", func(c *Config) *int { return &c.Rights.FailedLogins },
		"How often a minute a client may give a wrong password before the next ones wait,\n3 s at most, right or wrong. Clients that came in before do not wait for what\nothers do. 0: nobody waits.").reloaded(),

	define(durationKind, "history.raw", "", func(c *Config) *time.Duration { return &c.History.Raw },
		"For how long every single change of a value is kept. What each hour and each\nday was like is kept for years, as far as the budget goes."),
	define(sizeKind, "history.budget", "", func(c *Config) *int { return &c.History.Budget },
		"Bytes of the whole history. When it has more, the oldest goes first."),
	define(percentKind, "limits.disk_percent", "", func(c *Config) *int { return &c.DiskPercent },
		"Percent of the free disk that what waits for clients takes at most, and retained\npayloads over 64 KiB, each.").reloaded(),
}, limitSettings()...)

// Defaults returns what holds where nothing is said.
func Defaults() *Config {
	return &Config{
		Data: "lar-data", MQTT: ":1883", HTTP: ":8080", HTTPS: HTTPS{Address: Off}, MDNS: true, LogLevel: "info", Sync: "always",
		Devices: Devices{Prefix: "homeassistant", Zigbee2MQTT: []string{}},
		Rights:  Rights{ACL: []string{}, SubscribeRights: "strict", FailedLogins: 3},
		History: History{Raw: history.DefaultRaw, Budget: history.DefaultBudget},
		Limits:  mqtt.DefaultLimits(),

		MemoryLimit: DefaultMemoryLimit, DiskPercent: DefaultDiskPercent,
	}
}
