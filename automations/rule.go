package automations

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A Rule is an automation: when one of its triggers comes true and all its
// conditions hold, its actions are carried out in order.
type Rule struct {
	ID          string  `json:"id,omitempty"` // own and stable: "night-light"; given at the first save
	Name        string  `json:"name"`
	Description string  `json:"description,omitempty"`
	Enabled     bool    `json:"enabled"`
	Mode        Mode    `json:"mode,omitempty"`
	Max         int     `json:"max,omitempty"`      // runs at a time, of mode Parallel; those in line, of Queued
	Per         string  `json:"per,omitempty"`      // an expression: the mode counts for each key by itself
	Priority    int     `json:"priority,omitempty"` // -MaxPriority to MaxPriority
	Limit       *Limit  `json:"limit,omitempty"`    // nil is 60 runs within a minute
	CatchUp     CatchUp `json:"catch_up,omitempty"`
	// Variables are durable, with the values they begin with.
	Variables  map[string]Value `json:"variables,omitempty"`
	Triggers   []Trigger        `json:"triggers"`
	Conditions []Condition      `json:"conditions,omitempty"`
	Actions    []Action         `json:"actions"`
	Version    int              `json:"version,omitempty"` // 1 at the first save, one more at each
	// Text is the YAML that a person last wrote, comments included; empty for
	// a rule made by form. The other fields count: see [Rule.YAML].
	Text  string `json:"text,omitempty"`
	Saved Saved  `json:"saved,omitzero"`

	// Status is how the rule fares. It is filled in by the engine for
	// readers and is no part of a version.
	Status Status `json:"-"`
}

// Saved tells who made a version, and when.
type Saved struct {
	By string    `json:"by"`
	At time.Time `json:"at"`
}

// Status is how a rule fares.
type Status struct {
	Problems []Problem // with the house as it is now
	Paused   string    // why the engine paused the rule, a sentence; empty when it did not
	Deleted  *Saved    // nil unless the rule was deleted; it can be restored
	Waiting  int       // runs that wait now
	Last     *Run      // the newest run that ran; nil if there is none
}

// A Mode says what happens when a rule is triggered while a run of it waits.
// A run begins only when the conditions hold, so a trigger whose conditions do
// not hold never ends an earlier run.
type Mode string

// Modes. The empty mode is Restart.
const (
	Restart  Mode = "restart"  // the waiting run is stopped, a new one begins
	Single   Mode = "single"   // the trigger is not acted on
	Parallel Mode = "parallel" // a new run begins beside it, up to Rule.Max
	Queued   Mode = "queued"   // a new run begins when those before it have ended, up to Rule.Max in line
)

// CatchUp says how late what came due while the hub was off, or its clock not
// to be trusted, may be done: a duration, "always" or "never". Empty is an hour
// for times and always for waits.
type CatchUp string

// CatchUps that are no duration.
const (
	Always CatchUp = "always"
	Never  CatchUp = "never"
)

// limit returns how late something may be; the second value is the limit where
// nothing is said.
func (c CatchUp) limit(unsaid time.Duration) time.Duration {
	var d Duration
	switch {
	case c == "":
		return unsaid
	case c == Always:
		return 1<<63 - 1
	case c == Never:
		return lateness
	case d.UnmarshalText([]byte(c)) != nil:
		return unsaid
	}
	return max(time.Duration(d), lateness)
}

// lateness is what is in time: a turn may come a moment after it was due.
const lateness = 2 * time.Second

// A Trigger is what starts a rule. Beside ID exactly one of its fields is set.
type Trigger struct {
	ID      string          `json:"id,omitempty"` // for the condition on triggers
	Message *MessageTrigger `json:"message,omitempty"`
	State   *StateTrigger   `json:"state,omitempty"`
	Silent  *SilentTrigger  `json:"silent,omitempty"`
	Time    *TimeTrigger    `json:"time,omitempty"`
	Cron    *CronTrigger    `json:"cron,omitempty"`
	Every   *EveryTrigger   `json:"every,omitempty"`
	Sun     *SunTrigger     `json:"sun,omitempty"`
	Start   *StartTrigger   `json:"start,omitempty"`
	Rule    *RuleTrigger    `json:"rule,omitempty"`
	Scene   *SceneTrigger   `json:"scene,omitempty"`
	Webhook *WebhookTrigger `json:"webhook,omitempty"`
	Hand    *HandTrigger    `json:"hand,omitempty"`
}

// A SilentTrigger comes true once when nothing live has been heard for a time
// of an entity, or on any topic that a filter matches, and again only after
// something was heard. While the hub is off it hears nothing: the time begins
// anew at its start, and when the clock is set.
type SilentTrigger struct {
	Entity string   `json:"entity,omitempty"`
	Filter string   `json:"filter,omitempty"`
	For    Duration `json:"for"`
}

// A TimeTrigger comes true at times of the day, by the clock on the wall.
type TimeTrigger struct {
	At      []TimeOfDay `json:"at"`
	Days    []Weekday   `json:"days,omitempty"`
	Skipped string      `json:"skipped,omitempty"` // After or SkipIt
	Doubled string      `json:"doubled,omitempty"` // First, Second or Both
}

// A CronTrigger comes true as five fields say: minute, hour, day, month,
// weekday. One whose hour begins with * comes each time the wall shows it.
type CronTrigger struct {
	At      string `json:"at"`
	Skipped string `json:"skipped,omitempty"`
	Doubled string `json:"doubled,omitempty"`
}

// What becomes of a time in an hour that does not exist, and of one in an hour
// that comes twice. Empty is After and First.
const (
	After  = "after" // at the first instant after that hour
	SkipIt = "skip"  // not on that day
	First  = "first"
	Second = "second"
	Both   = "both"
)

// An EveryTrigger comes true in even steps from local midnight. A period up to
// an hour counts each time the wall shows it: a day of 23 hours has 92 quarters.
type EveryTrigger struct {
	Period Duration `json:"period"`
	Offset Duration `json:"offset,omitzero"`
}

// A SunTrigger comes true with an event of the sun, or as it goes through an
// elevation. On a day without it nothing happens.
type SunTrigger struct {
	Event     string     `json:"event,omitempty"`     // Sunrise, Sunset, Dawn or Dusk, or
	Elevation *float64   `json:"elevation,omitempty"` // degrees
	Going     string     `json:"going,omitempty"`     // Up or Down, with Elevation
	Offset    Duration   `json:"offset,omitzero"`
	NotBefore *TimeOfDay `json:"not_before,omitempty"`
	NotAfter  *TimeOfDay `json:"not_after,omitempty"`
	Days      []Weekday  `json:"days,omitempty"`
}

// Events of the sun, and the ways it goes.
const (
	Sunrise = "sunrise"
	Sunset  = "sunset"
	Dawn    = "dawn"
	Dusk    = "dusk"
	Up      = "up"
	Down    = "down"
)

// A StartTrigger comes true once at each start of the hub.
type StartTrigger struct {
	After Duration `json:"after,omitzero"`
}

// A HandTrigger never comes true: only people start the rule.
type HandTrigger struct{}

// A MessageTrigger comes true when a message is published on a topic that the
// filter matches. A QoS 1 message that comes a second time is no news.
type MessageTrigger struct {
	Filter string `json:"filter"` // a topic filter, not of a shared subscription
	// Payload, when set, must hold of the message's payload, of the part at
	// its own path, or at that of the trigger.
	Payload *Compare `json:"payload,omitempty"`
	Path    string   `json:"path,omitempty"` // of the part that the value is
	On      string   `json:"on,omitempty"`   // Received, as when empty, or Changed
	// Retained says whether a message counts that the hub has found at its
	// start, or as the rule is saved; nil is yes for Changed, no otherwise.
	Retained *bool `json:"retained,omitempty"`
	// Settle is how long after a publisher has connected it does not count
	// what it repeats.
	Settle Duration `json:"settle,omitzero"`
}

// A StateTrigger comes true when an aspect of an entity
//   - becomes a value (To),
//   - gets above or below a threshold, or between two (Above, Below),
//   - takes another value (none of these is set),
//
// and, with For, when it has then stayed so for that long. It remembers
// whether it holds, so that it comes true once for each time it begins to
// hold, restarts included. While the entity is unavailable or its value
// unknown the memory stays, but a time counted for For begins anew.
type StateTrigger struct {
	Entity string  `json:"entity"`
	Aspect string  `json:"aspect"`
	To     *Value  `json:"to,omitempty"`
	ToAny  []Value `json:"to_any,omitempty"` // in YAML a list at "to"
	// From, when set, is what the value must have been just before: one of these.
	From  []Value  `json:"from,omitempty"`
	Above *float64 `json:"above,omitempty"` // the value is greater than this
	Below *float64 `json:"below,omitempty"` // the value is less than this
	// Hysteresis is how far the value must go back over a threshold before it
	// can cross it again.
	Hysteresis float64  `json:"hysteresis,omitempty"`
	For        Duration `json:"for,omitzero"`
}

// Change tells whether any change of the value triggers.
func (s *StateTrigger) Change() bool {
	return s.To == nil && s.ToAny == nil && s.Above == nil && s.Below == nil
}

// A Condition holds, does not hold, or is unknown, which counts as not
// holding but stays unknown under Not. Exactly one of its fields is set.
type Condition struct {
	State   *StateCondition `json:"state,omitempty"`
	Time    *TimeCondition  `json:"time,omitempty"`
	Payload *Compare        `json:"payload,omitempty"` // of the message that triggered
	Trigger []string        `json:"trigger,omitempty"` // one of these began the run
	Sun     *SunCondition   `json:"sun,omitempty"`
	Expr    string          `json:"expr,omitempty"` // an expression that is true
	Home    *HomeCondition  `json:"home,omitempty"`
	Rule    *RuleCondition  `json:"rule,omitempty"`
	All     []Condition     `json:"all,omitempty"`
	Any     []Condition     `json:"any,omitempty"`
	Not     *Condition      `json:"not,omitempty"`
}

// A StateCondition compares an aspect of an entity. It is unknown while the
// entity is unavailable or the value has never been heard.
type StateCondition struct {
	Entity string   `json:"entity"`
	Aspect string   `json:"aspect"`
	Op     Op       `json:"op"`
	Value  Value    `json:"value,omitzero"`
	Values []Value  `json:"values,omitempty"` // of OneOf and NoneOf
	And    *Bound   `json:"and,omitempty"`    // must hold as well
	For    Duration `json:"for,omitzero"`     // at least so long has it had this value
}

// A TimeCondition holds from From until just before To, on some days of the
// week, by the clock on the wall. With From after To the window goes over
// midnight and Days name those on which it begins: from 22:00 to 06:00 on
// Friday holds on Saturday at 05:59. With both at 00:00 it holds the whole
// day. No Days are all days. It is unknown until the hub's clock is set. An
// hour that does not exist on a day is left out, one that comes twice counts
// twice.
type TimeCondition struct {
	From TimeOfDay `json:"from,omitzero"`
	To   TimeOfDay `json:"to,omitzero"`
	Days []Weekday `json:"days,omitempty"`
}

// A SunCondition holds while the sun stands above and below degrees, or
// between two of its events: After sunset, Before sunrise goes over midnight.
type SunCondition struct {
	Above        *float64 `json:"above,omitempty"`
	Below        *float64 `json:"below,omitempty"`
	After        string   `json:"after,omitempty"`
	Before       string   `json:"before,omitempty"`
	AfterOffset  Duration `json:"after_offset,omitzero"`
	BeforeOffset Duration `json:"before_offset,omitzero"`
}

// A Compare compares a payload, or a part of it, with a value.
//
// Path, when set, names a place in a JSON payload: names and positions joined
// by dots, as in "action", "update.state" or "sensors.0.value". A payload that
// is no JSON, is longer than MaxJSON or has no such place is unknown.
//
// With a number, what is compared is read as a number; with on or off, the
// words on, true, yes and 1, or off, false, no and 0, count in any case; with
// a text, the whole text is compared as it is. What cannot be read so is
// unknown.
type Compare struct {
	Path   string  `json:"path,omitempty"`
	Op     Op      `json:"op"`
	Value  Value   `json:"value,omitzero"`
	Values []Value `json:"values,omitempty"` // of OneOf and NoneOf
	And    *Bound  `json:"and,omitempty"`    // must hold as well
}

// A Bound is the other end of a range.
type Bound struct {
	Op    Op    `json:"op"`
	Value Value `json:"value"`
}

// An Op is a comparison.
type Op string

// Comparisons. Text and on/off know only Equal and NotEqual.
const (
	Equal     Op = "=="
	NotEqual  Op = "!="
	Less      Op = "<"
	LessEq    Op = "<="
	Greater   Op = ">"
	GreaterEq Op = ">="

	OneOf    Op = "in"       // Equal to one of Values
	NoneOf   Op = "not in"   // to none of them
	Contains Op = "contains" // a text has Value as a part
	Missing  Op = "missing"  // there is nothing; with off, there is something
	Numeric  Op = "numeric"  // it reads as a number; with off, it is there and does not
)

// Ops are the comparisons with one value, in the order a form shows them.
var Ops = []Op{Equal, NotEqual, Less, LessEq, Greater, GreaterEq}

// An Action is one step. Exactly one of its fields is set.
type Action struct {
	Publish  *PublishAction   `json:"publish,omitempty"`
	Command  *CommandAction   `json:"command,omitempty"`
	Wait     *WaitAction      `json:"wait,omitempty"`
	Confirm  *ConfirmAction   `json:"confirm,omitempty"`
	If       *IfAction        `json:"if,omitempty"`
	Choose   *ChooseAction    `json:"choose,omitempty"`
	Repeat   *RepeatAction    `json:"repeat,omitempty"`
	Parallel *ParallelAction  `json:"parallel,omitempty"`
	Check    []Condition      `json:"check,omitempty"` // the run goes on only if they hold
	Stop     *StopAction      `json:"stop,omitempty"`  // the run is done
	Fail     *StopAction      `json:"fail,omitempty"`  // the run has failed
	Set      map[string]Value `json:"set,omitempty"`   // variables; texts may be templates
	Note     string           `json:"note,omitempty"`  // a template, for the trace
	Call     *CallAction      `json:"call,omitempty"`
	Enable   *RuleAction      `json:"enable,omitempty"`
	Disable  *RuleAction      `json:"disable,omitempty"`
	Scene    *SceneAction     `json:"scene,omitempty"`
	Notify   *NotifyAction    `json:"notify,omitempty"`
	HTTP     *HTTPAction      `json:"http,omitempty"`
	OnError  string           `json:"on_error,omitempty"` // "continue", or "fail" as when empty
}

// An IfAction takes one of two ways.
type IfAction struct {
	When []Condition `json:"when"`
	Then []Action    `json:"then"`
	Else []Action    `json:"else,omitempty"`
}

// A ChooseAction takes the first way whose conditions hold.
type ChooseAction struct {
	Options []Option `json:"options"`
	Else    []Action `json:"else,omitempty"`
}

// An Option is one way of a ChooseAction.
type Option struct {
	When []Condition `json:"when"`
	Then []Action    `json:"then"`
}

// A RepeatAction does actions several times: Count times, while conditions
// hold, until they hold, or for each value.
type RepeatAction struct {
	Count Value       `json:"count,omitzero"`  // a number, or a template that is worth one
	While []Condition `json:"while,omitempty"` // asked before each round
	Until []Condition `json:"until,omitempty"` // asked after each round
	Each  []Value     `json:"each,omitempty"`  // or one template that is worth a list
	Do    []Action    `json:"do"`
	Max   int         `json:"max,omitempty"` // rounds; 0 is MaxRounds for While and Until, and none for others
}

// maxCount is how often anything is repeated at most.
const maxCount = 1000

// A ParallelAction does lists of actions side by side, and goes on when all
// have ended. One that fails ends by itself; then, as the others have ended,
// the run fails.
type ParallelAction struct {
	Branches [][]Action `json:"branches"`
}

// A ConfirmAction does actions until conditions hold within a time: once, and
// Retries times more. Then it does Else, or the run fails.
type ConfirmAction struct {
	Do      []Action     `json:"do"`
	Until   []Condition  `json:"until,omitempty"`
	Message *MessageWait `json:"message,omitempty"` // in the place of Until
	Within  Duration     `json:"within"`
	Retries int          `json:"retries,omitempty"`
	Else    []Action     `json:"else,omitempty"`
}

// A CallAction starts a run of another rule, in the same turn.
type CallAction struct {
	Rule       string `json:"rule"`
	Conditions bool   `json:"conditions,omitempty"` // are asked
}

// A RuleAction switches another rule.
type RuleAction struct {
	Rule string `json:"rule"`
}

// A StopAction ends a run, and says why.
type StopAction struct {
	Why string `json:"why,omitempty"` // a template
}

// A PublishAction publishes a message. Topic and Payload are templates. With
// JSON the payload is a JSON value whose texts are templates: what they are
// replaced by is quoted as JSON asks for.
type PublishAction struct {
	Topic   string   `json:"topic"`
	Payload string   `json:"payload,omitempty"`
	JSON    bool     `json:"json,omitempty"` // in YAML a map or a list
	QoS     mqtt.QoS `json:"qos,omitempty"`
	Retain  bool     `json:"retain,omitempty"`
	Expiry  Duration `json:"expiry,omitzero"` // of the message, in MQTT 5.0; 0 never
}

// A CommandAction tells entities to do something: one, several, those of a kind
// in a room that know the command, or the members of a group that do.
type CommandAction struct {
	Entity   string           `json:"entity,omitempty"`
	Entities []string         `json:"entities,omitempty"`
	Area     string           `json:"area,omitempty"`
	Kind     devices.Kind     `json:"kind,omitempty"` // with Area
	Group    string           `json:"group,omitempty"`
	Command  string           `json:"command"`
	Args     map[string]Value `json:"args,omitempty"`
	// Worth is how late the command may be given; later it is dropped.
	Worth Duration `json:"worth,omitzero"`
}

// A WaitAction lets time pass before the next action. It survives restarts;
// one that ended while the hub was off ends at its start.
//
// With Until it ends as soon as the conditions hold, and Then is done; Within a
// time they did not, Else is.
type WaitAction struct {
	For     Duration     `json:"for,omitzero"`
	Until   []Condition  `json:"until,omitempty"`
	Message *MessageWait `json:"message,omitempty"` // in the place of Until
	Within  Duration     `json:"within,omitzero"`
	Then    []Action     `json:"then,omitempty"`
	Else    []Action     `json:"else,omitempty"`
}

// Decode reads a rule from JSON. It is strict: unknown fields, and anything
// after the rule, are errors. Whether the rule makes sense is for
// [Rule.Validate] to say.
func Decode(data []byte) (Rule, error) {
	if len(data) > 2*MaxRuleBytes { // with its text
		return Rule{}, fmt.Errorf("a rule has at most %d bytes", 2*MaxRuleBytes)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	var r Rule
	if err := d.Decode(&r); err != nil {
		return Rule{}, fmt.Errorf("decode rule: %w", err)
	}
	if _, err := d.Token(); err != io.EOF {
		return Rule{}, fmt.Errorf("decode rule: there is more after the rule")
	}
	return r, nil
}

// Encode returns the JSON of a rule.
func (r *Rule) Encode() []byte {
	b, err := json.Marshal(r)
	if err != nil { // only for what no decoder yields: see Value
		return nil
	}
	return b
}
