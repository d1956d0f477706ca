package rehearsal

import (
	"time"

	"go.yaml.in/yaml/v4"

	"lar.home/automations"
)

// test is a document of a file of tests.
type test struct {
	Test  string   `json:"test"`
	Given given    `json:"given"`
	When  []step   `json:"when"`
	Then  []expect `json:"then"`
	Until string   `json:"until"`
}

type given struct {
	Clock    string      `json:"clock"`
	Trusted  *bool       `json:"trusted"`
	Home     home        `json:"home"`
	Rules    []yaml.Node `json:"rules"`
	Devices  []device    `json:"devices"`
	Groups   []group     `json:"groups"`
	Retained []message   `json:"retained"`
	States   []message   `json:"states"`

	DevicesBack automations.Duration `json:"devices_back"`
}

type home struct {
	Zone      string   `json:"zone"`
	Latitude  *float64 `json:"latitude"`
	Longitude *float64 `json:"longitude"`
}

type group struct {
	Name    string   `json:"name"`
	Members []string `json:"members"`
}

type device struct {
	Kind   string     `json:"kind"`
	Name   string     `json:"name"`
	Config *yaml.Node `json:"config"`
	Online *bool      `json:"online"`
}

type message struct {
	Topic   string    `json:"topic"`
	Payload yaml.Node `json:"payload"`
}

type step struct {
	At          string     `json:"at"`
	Publish     *string    `json:"publish"`
	Payload     yaml.Node  `json:"payload"`
	QoS         int        `json:"qos"`
	Retain      bool       `json:"retain"`
	Client      string     `json:"client"`
	Dup         bool       `json:"dup"`
	Kill        *cut       `json:"kill"`
	Stop        *struct{}  `json:"stop"`
	Start       *struct{}  `json:"start"`
	Clock       *string    `json:"clock"`
	Trusted     *bool      `json:"trusted"`
	Disk        *string    `json:"disk"`
	Save        *yaml.Node `json:"save"`
	Runs        string     `json:"runs"`
	Enable      *string    `json:"enable"`
	Disable     *string    `json:"disable"`
	Delete      *string    `json:"delete"`
	Restore     *string    `json:"restore"`
	Run         *string    `json:"run"`
	Hook        *string    `json:"hook"`
	Method      string     `json:"method"`
	Outside     *string    `json:"outside"`
	Connect     *string    `json:"connect"`
	ExpectError *string    `json:"expect_error"`
}

type cut struct {
	Lose string `json:"lose"`
}

type expect struct {
	Expect  *string              `json:"expect"`
	Forbid  *string              `json:"forbid"`
	Notify  *string              `json:"notify"`
	HTTP    *string              `json:"http"`
	Ran     *string              `json:"ran"`
	State   *string              `json:"state"`
	Paused  *string              `json:"paused"`
	Order   []ordered            `json:"order"`
	Nothing *bool                `json:"nothing_else"`
	Payload yaml.Node            `json:"payload"`
	QoS     *int                 `json:"qos"`
	Retain  *bool                `json:"retain"`
	Count   *int                 `json:"count"`
	AtLeast *int                 `json:"at_least"`
	AtMost  *int                 `json:"at_most"`
	Outcome string               `json:"outcome"`
	Aspect  string               `json:"aspect"`
	Title   *string              `json:"title"`
	Urgency string               `json:"urgency"`
	Method  string               `json:"method"`
	Is      *automations.Compare `json:"compare"`

	At        string                `json:"at"`
	Tolerance *automations.Duration `json:"tolerance"`
	After     string                `json:"after"`
	Before    string                `json:"before"`

	from, to, middle time.Time
}

type ordered struct {
	Expect  string    `json:"expect"`
	Payload yaml.Node `json:"payload"`
}
