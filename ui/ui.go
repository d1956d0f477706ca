// Package ui draws the pages of the house and takes what people do there.
//
// It reads immutable values of devices and automations, never under the
// house's lock, and carries out changes as turns, so an answer to a change is
// durable before it is shown.
package ui

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"lar.home/mqtt"
)

// A House runs changes: the broker does.
type House interface {
	// Do runs fn as one turn and returns when what it wrote is on disk.
	Do(ctx context.Context, fn func(t *mqtt.Turn) error) error
}

// A Role tells what a person may do.
type Role string

// Roles.
const (
	Owner Role = "owner"
	Adult Role = "adult"
	Child Role = "child"
	Guest Role = "guest"
)

// A Person has an account.
type Person struct {
	ID   string
	Name string
	Role Role
}

// A Credential lets a device connect to the broker. Its password is shown
// once, when it is made, and never kept.
type Credential struct {
	Name     string // the MQTT user name
	Created  time.Time
	LastSeen time.Time // last successful CONNECT since start; zero: none
}

// Errors that pages explain to people.
var (
	ErrOwnerExists   = errors.New("this home already has an owner")
	ErrWrongPassword = errors.New("the name or the password is wrong")
	ErrTooManyTries  = errors.New("too many tries; wait a minute")
	ErrNameTaken     = errors.New("that name is taken")
	ErrBadName       = errors.New("names have 1 to 64 letters, digits, spaces or .-_")
	ErrShortPassword = errors.New("a password has at least 8 characters")
	ErrNoCredential  = errors.New("there is no credential of that name")
)

// People is who may see and do what: the hub keeps it.
type People interface {
	// Home returns the home's name; empty until the first run.
	Home() string
	// HasOwner tells whether the first run is over.
	HasOwner() bool
	// FirstRun names the home, makes its owner and signs them in. It returns
	// ErrOwnerExists when somebody was faster.
	FirstRun(ctx context.Context, home, name, password string) (token string, err error)
	// SignIn returns a token for the cookie: at least 128 random bits.
	SignIn(ctx context.Context, name, password string, from netip.Addr) (token string, err error)
	SignOut(ctx context.Context, token string) error
	// Who returns the person a token was given to. It is cheap.
	Who(token string) (Person, bool)
	Credentials() []Credential
	// AddCredential makes a password of at least 128 random bits.
	AddCredential(ctx context.Context, name string) (password string, err error)
	// RemoveCredential also ends the connections and sessions of its clients.
	RemoveCredential(ctx context.Context, name string) error
	// Open tells whether clients without a credential may connect now, and in
	// one sentence why; pages show it as a warning.
	Open() (open bool, why string)
}

// An Address is where a client reaches the broker or the pages, for people to
// type: "192.168.1.20:1883".
type Address struct {
	Kind string // "mqtt" or "web"
	Text string
}

// A Disk is what the hub knows of its data folder, for the owner.
type Disk struct {
	SetAside      []string // folders of damaged data that were set aside and not seen yet
	Rescued, Lost int      // records that could be read of it; places that could not
	Restored      int      // records that came back from the copies beside the store
	Messages      []string // files of messages that were set aside and not seen yet
	Resting       string   // why devices and automations decide on nothing now, or empty
	Damaged       uint64   // records found damaged since, and left out
	Unwritable    bool     // nothing can be written, as Refusing says
	Low           bool     // little space is left
	Refusing      string   // why nothing new can be kept now, or empty
	Free          uint64   // bytes

	Written uint64 // bytes sent to the disk since the start; 0 if the system does not say
	Turns   uint64 // changes kept since then
	Since   time.Time
}

// A Place is where the home stands.
type Place struct {
	Known               bool
	Latitude, Longitude float64 // degrees; north and east are positive
	Zone                string  // of the IANA, "Europe/Berlin"; empty: that of the machine
	// The configuration file says the position, or the zone: pages cannot
	// change it.
	FixedPosition, FixedZone bool
}

// A ChannelKind is how a channel reaches people.
type ChannelKind string

// Kinds of channels.
const (
	Ntfy    ChannelKind = "ntfy"
	Webhook ChannelKind = "webhook"
	Email   ChannelKind = "email"
)

// A Security is how a connection to a mail server is protected.
type Security string

// Securities.
const (
	TLS      Security = "tls"      // from its first byte, usually on port 465
	StartTLS Security = "starttls" // usually on port 587
	NoTLS    Security = "none"     // only where no password is given
)

// A Channel is a way by which automations notify. Its secrets stay here: a
// rule only says its name.
type Channel struct {
	Name     string      `json:"-"`
	Kind     ChannelKind `json:"kind"`
	URL      string      `json:"url,omitempty"`   // of Ntfy with the topic, of Webhook
	Token    string      `json:"token,omitempty"` // sent as "Authorization: Bearer"
	Server   string      `json:"server,omitempty"`
	Security Security    `json:"security,omitempty"`
	User     string      `json:"user,omitempty"`
	Password string      `json:"password,omitempty"`
	From     string      `json:"from,omitempty"`
	To       string      `json:"to,omitempty"`
}

// A SettingError says what is wrong with a setting, as a sentence.
type SettingError struct {
	Field string // empty: the setting as a whole
	Text  string
}

func (e *SettingError) Error() string {
	if e.Field == "" {
		return e.Text
	}
	return e.Field + ": " + e.Text
}

// Settings is what the owner sets of the home: the hub keeps it. Errors that a
// person caused are [*SettingError].
type Settings interface {
	Place() Place
	// CheckPlace says what is wrong with a place, as SetPlace would.
	CheckPlace(p Place) error
	SetPlace(ctx context.Context, p Place) error
	// Location is the home's time zone.
	Location() *time.Location
	// Channels returns the channels by name, secrets included.
	Channels() []Channel
	SetChannel(ctx context.Context, c Channel) error
	RemoveChannel(ctx context.Context, name string) error
	// HookKey returns the key of a webhook, at least 128 bits; empty while
	// there is none.
	HookKey(id string) string
}

// An Unsent is a notification or a request that waits to be sent.
type Unsent struct {
	Rule, Run string // the IDs of those that sent it
	What      string
	Why       string // the last try failed; empty before the first
	Made      time.Time
	Tries     int
	Next      time.Time // when it is tried again
}

// A GivenUp is one that could not be sent.
type GivenUp struct {
	Rule, Run, What, Why string
	At                   time.Time
}

// An Outbox is what waits, the oldest first, and what was given up since the
// hub started, the newest first.
type Outbox struct {
	Waiting []Unsent
	GivenUp []GivenUp
}

// A Sender sends what automations have to say outside the house.
type Sender interface {
	State() Outbox
	// Try sends a notification over a channel at once.
	Try(ctx context.Context, channel, text string) error
	// Poke tries what waits again: a channel was changed.
	Poke()
}
