// Package devices turns messages into a model of the house.
//
// A [Model] is a mqtt.Consumer: it reads discovery messages and states as they
// pass, keeps what each device says of itself, and tells its [Watcher]s, in
// the same turn, what has changed. Readers outside the turn (pages) take the
// immutable [House] and each entity's immutable [State].
package devices

import (
	"sync/atomic"
	"time"

	"lar.home/mqtt"
)

// A House is everything known of the devices at the end of some turn. It is
// never changed; a new one is swapped in when a device appears, changes its
// description or goes. States are newer than the House they are reached by.
type House struct {
	Devices []*Device // by name, then ID

	layout   *layout
	devices  shards[*Device]
	entities shards[*Entity]
}

// Device returns the device with an ID, or nil.
func (h *House) Device(id string) *Device { return h.devices.get(id) }

// Entity returns the entity with an ID, or nil.
func (h *House) Entity(id string) *Entity { return h.entities.get(id) }

// A Device is a piece of hardware (or a program that acts as one).
type Device struct {
	ID           string // own and stable; not for people's eyes
	Name         string
	Manufacturer string
	Model        string
	SWVersion    string
	HWVersion    string
	Serial       string
	Area         string    // suggested by the device or set by a person
	ConfigURL    string    // http or https
	Via          string    // ID of the device it hangs on, or empty
	Source       string    // the convention it speaks: "homeassistant", "zigbee2mqtt", "tasmota", "homie", "shelly"
	Entities     []*Entity // by ID
	Personal     Personal  // what a person set; Name and Area have it already

	health                      *health
	battery, batteryLow, signal fact
	sortKey                     string
}

// A Kind says what an entity is; the field's words, as Home Assistant has them.
type Kind string

// Kinds.
const (
	Switch       Kind = "switch"
	Light        Kind = "light"
	Sensor       Kind = "sensor"
	BinarySensor Kind = "binary_sensor"

	Alarm        Kind = "alarm_control_panel"
	Button       Kind = "button"
	Camera       Kind = "camera"
	Climate      Kind = "climate"
	Cover        Kind = "cover"
	Date         Kind = "date"
	DateTime     Kind = "datetime"
	Event        Kind = "event"
	Fan          Kind = "fan"
	Humidifier   Kind = "humidifier"
	Image        Kind = "image"
	Infrared     Kind = "infrared"
	LawnMower    Kind = "lawn_mower"
	Lock         Kind = "lock"
	Notify       Kind = "notify"
	NumberEntity Kind = "number"
	Remote       Kind = "remote"
	Scene        Kind = "scene"
	Select       Kind = "select"
	Siren        Kind = "siren"
	Tag          Kind = "tag"
	TextEntity   Kind = "text"
	TimeEntity   Kind = "time"
	Tracker      Kind = "device_tracker"
	Trigger      Kind = "trigger" // device_automation
	Update       Kind = "update"
	Vacuum       Kind = "vacuum"
	Valve        Kind = "valve"
	WaterHeater  Kind = "water_heater"
)

// A Category tells how prominent an entity is.
type Category string

// Categories. Primary ones are shown, the others folded away.
const (
	Primary    Category = ""
	Config     Category = "config"
	Diagnostic Category = "diagnostic"
)

// An Entity is one thing a device measures or does.
type Entity struct {
	ID          string // "light.hall_lamp": kind, dot, slug; stable over re-discovery
	Device      *Device
	Kind        Kind
	Name        string // whole, for people: "Hall lamp power"
	Label       string // within its device: "Power"; the device's name when it has none
	Category    Category
	DeviceClass string
	StateClass  string
	Icon        string // "mdi:lightbulb" or empty
	Enabled     bool   // enabled_by_default
	Assumed     bool   // reports no state: shown as last commanded
	Aspects     []Aspect
	Commands    []Command
	Area        string   // the device's, or where a person put this part of it
	Personal    Personal // what a person set; Name, Label, Icon and Area have it already
	// Problem says, for diagnostics, what of its description is not
	// supported; empty when all is well.
	Problem string

	live *atomic.Pointer[State]
}

// State returns the last known state; never nil.
func (e *Entity) State() *State { return e.live.Load() }

// A Type is the type of an aspect's value or a command's argument.
type Type string

// Types.
const (
	Bool   Type = "bool"
	Number Type = "number"
	Enum   Type = "enum"
	Text   Type = "text"
	Color  Type = "color" // Text "#rrggbb"
	Time   Type = "time"  // Text, RFC 3339
)

// An Aspect is one value of an entity: "on", "brightness", "value".
type Aspect struct {
	Name      string
	Type      Type
	Min, Max  float64 // of a Number, or of a Text's length, if Bounded
	Step      float64
	Unit      string
	Options   []string // of an Enum; of a Text argument, what a list of several has
	Precision int      // digits to show after the point; -1 as they come
	Secret    bool     // a code or password: not to be shown, logged or kept
	Detail    bool     // JSON or a time beside the values: not for a first look
}

// Bounded tells whether a Number, or the length of a Text, has bounds. A range
// of one number is one; that of 0 to 0 is none.
func (a *Aspect) Bounded() bool { return a.Min < a.Max || a.Min == a.Max && a.Min != 0 }

// A Command is something an entity can be told: "turn_on" {"brightness": 60}.
type Command struct {
	Name     string
	Args     []Aspect // all optional unless Required names them
	Required []string
}

// A Value is what an aspect is worth: unknown, on/off, a number or a text.
// Values compare with ==.
type Value struct {
	Type Type // "" unknown; Bool, Number or Text otherwise
	Bool bool
	Num  float64
	Str  string
}

// Constructors.
func BoolValue(b bool) Value      { return Value{Type: Bool, Bool: b} }
func NumberValue(f float64) Value { return Value{Type: Number, Num: f} }
func TextValue(s string) Value    { return Value{Type: Text, Str: s} }

// Known tells whether there is a value at all.
func (v Value) Known() bool { return v.Type != "" }

// A State is what is known of an entity at the end of some turn. It is never
// changed, only replaced.
type State struct {
	Available bool
	Readings  []Reading // parallel to the Aspects of the Entity it was asked of
}

// A Reading is the value of an aspect and where it comes from.
type Reading struct {
	Value    Value
	At       time.Time // when the message came that set it; zero if unknown
	Changed  time.Time // since when it has this value
	Restored bool      // from before the hub's last start, or retained
	// Heard and Since are the same instants by Now.Run, which nobody sets, if they
	// were in this boot: Heard if the reading is not restored, Since if Placed.
	Heard, Since time.Duration
	Placed       bool
}

// A Change is told to Watchers inside the turn in which it happened.
type Change struct {
	Entity    *Entity
	Aspect    string // "" when only the availability has changed
	Old, New  Value
	Available bool
	// News is false for what was known before: a retained message, a value
	// restored at start, a repetition right after our birth message.
	News bool
	// Event tells that the message itself is the point, not the value: a
	// button was pressed, once more perhaps, so Old and New may be equal.
	Event bool
	// Message is the message that brought it, to tell a repetition; nil when
	// a deadline, a form or a command did. It is lent.
	Message *mqtt.Message
}

// A Watcher is told what has changed, in the same turn, whether a message,
// a deadline or a form was the cause. It obeys the rules of
// mqtt.Consumer.Accept: no blocking, no I/O, quick. With structure true the
// House itself is another (devices came, changed or went). The slice is lent.
type Watcher interface {
	Changed(t *mqtt.Turn, changes []Change, structure bool)
}

// A Listener is a Watcher that is told, in the same turn, of every command that
// an entity is given, just before it takes effect. It only notes it.
type Listener interface {
	Commanded(t *mqtt.Turn, e *Entity, command string, args map[string]Value)
}

// A Forgetter is a Watcher that keeps something of entities. It is told, in
// the same turn, when one is forgotten for good: a person had its device
// forgotten and the time for taking that back is over, or it has been gone for
// long.
type Forgetter interface {
	Forget(t *mqtt.Turn, entityID string)
}
