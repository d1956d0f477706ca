package automations

import "time"

// A Run is what came of one trigger of a rule, and why: its trace. A Run that
// has been handed out is never changed; one that goes on is replaced.
type Run struct {
	ID      string `json:"id"` // unique, from the number of the turn it began in
	Rule    string `json:"rule"`
	Name    string `json:"name"`    // of the rule then
	Version int    `json:"version"` // of the rule that this run follows to its end
	// Began is the version it began with, of a run that was moved to another.
	Began   int       `json:"began,omitempty"`
	Started time.Time `json:"started"`
	Ended   time.Time `json:"ended,omitzero"`
	// Unsure tells that the clock was not to be trusted when the run started.
	Unsure  bool    `json:"unsure,omitempty"`
	Outcome Outcome `json:"outcome"`
	// Why is a sentence for people on a run that was stopped, has failed or
	// did not run.
	Why string `json:"why,omitempty"`

	Trigger    Cause  `json:"trigger"`
	Conditions []Seen `json:"conditions,omitempty"`
	Actions    []Step `json:"actions,omitempty"`

	// Seq numbers the runs of a rule in their order.
	Seq uint64 `json:"seq"`
}

// An Outcome is what became of a run.
type Outcome string

// Outcomes.
const (
	Waiting Outcome = "waiting" // it goes on at the Planned time of its last step
	Done    Outcome = "done"
	Stopped Outcome = "stopped" // by a new trigger, a person or a change of the rule
	Failed  Outcome = "failed"  // an action could not be carried out; those before it were
	NotRun  Outcome = "not run" // a condition did not hold, or a limit was met
)

// A Cause is what triggered a run.
type Cause struct {
	Kind CauseKind `json:"kind"`
	// Of a message: its topic and the head of its payload.
	Topic   string `json:"topic,omitempty"`
	Payload string `json:"payload,omitempty"`
	// Of a state: which entity's aspect went from what to what.
	Entity string `json:"entity,omitempty"`
	Aspect string `json:"aspect,omitempty"`
	From   string `json:"from,omitempty"`
	To     string `json:"to,omitempty"`
	// Held is how long the state had held, when the trigger asked for it.
	Held Duration `json:"held,omitzero"`
	// Of the clock: when it was planned for.
	Planned time.Time `json:"planned,omitzero"`
	// Trigger is the ID of the trigger, if it has one.
	Trigger string `json:"trigger,omitempty"`
	// Of a start by hand: who.
	By string `json:"by,omitempty"`
	// Of a rule: how its run has ended; empty when it called this one.
	Ended Outcome `json:"ended,omitempty"`
	// Of is the kind of trigger, as rules name it, where Kind says less.
	Of string `json:"of,omitempty"`
	// Value is what {{value}} stands for, its head.
	Value string `json:"value,omitempty"`
}

// hasPayload tells whether what triggered brought a payload.
func (c *Cause) hasPayload() bool { return c.Kind == ByMessage || c.Kind == ByWebhook }

// A CauseKind tells apart what can trigger a run.
type CauseKind string

// Kinds of causes.
const (
	ByMessage CauseKind = "message"
	ByState   CauseKind = "state"
	ByHand    CauseKind = "hand"
	ByTime    CauseKind = "time"
	BySilence CauseKind = "silence"
	ByStart   CauseKind = "start"
	ByRule    CauseKind = "rule"
	ByWebhook CauseKind = "webhook"
	ByScene   CauseKind = "scene"
)

// A Seen is one condition as it was found. Those within All, Any and Not
// follow it, one Depth deeper; what needed no look any more is left out.
type Seen struct {
	Text   string `json:"text"`  // "light.hall_lamp on == on"
	Value  string `json:"value"` // what was there: "off", "unknown"
	Result Result `json:"result"`
	Depth  int    `json:"depth,omitempty"`
}

// A Result is what a condition amounts to.
type Result string

// Results.
const (
	Holds    Result = "true"
	HoldsNot Result = "false"
	Unknown  Result = "unknown"
)

// A Step is one action as it was carried out.
type Step struct {
	Text string    `json:"text"` // "publish home/hall/lamp/set on"
	At   time.Time `json:"at"`   // when it was begun
	// Of a wait: when it was to end, and when it did; zero while it lasts.
	Planned time.Time `json:"planned,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	Err     string    `json:"err,omitempty"`
	// Dropped says why a command was not given though nothing went wrong.
	Dropped string `json:"dropped,omitempty"`
	// Given is when a command was given that followed from a start, and was held
	// until devices were back.
	Given time.Time `json:"given,omitzero"`
	// Again is when a command was given once more, after a restart.
	Again time.Time `json:"again,omitzero"`
	// Out is the key of a notification or a request; Ended is when it was
	// delivered, or given up.
	Out string `json:"out,omitempty"`
}
