package main

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// maxCorpusLine bounds one line of a corpus.
const maxCorpusLine = 16 << 20

// A dumped is one entity as lar devices dump prints it.
type dumped struct {
	File        string          `json:"file"`
	Line        int             `json:"line"`
	Source      string          `json:"source,omitempty"`
	Topic       string          `json:"topic"`
	Address     string          `json:"ieee_address,omitempty"`
	ID          string          `json:"id"`
	Kind        devices.Kind    `json:"kind"`
	Name        string          `json:"name"`  // whole: "Hall lamp power"
	Label       string          `json:"label"` // within its device: "Power"
	Device      string          `json:"device"`
	Area        string          `json:"area,omitempty"`
	Category    string          `json:"category,omitempty"`
	DeviceClass string          `json:"device_class,omitempty"`
	StateClass  string          `json:"state_class,omitempty"`
	Icon        string          `json:"icon,omitempty"`
	Enabled     bool            `json:"enabled"`
	Assumed     bool            `json:"assumed,omitempty"`
	Problem     string          `json:"problem,omitempty"`
	Reads       []string        `json:"reads,omitempty"`        // topics of its state
	ReachableBy []string        `json:"availability,omitempty"` // topics of its availability
	Aspects     []dumpedAspect  `json:"aspects"`
	Commands    []dumpedCommand `json:"commands"`
}

type dumpedAspect struct {
	Name    string       `json:"name"`
	Type    devices.Type `json:"type"`
	Min     *float64     `json:"min,omitempty"`
	Max     *float64     `json:"max,omitempty"`
	Step    float64      `json:"step,omitempty"`
	Unit    string       `json:"unit,omitempty"`
	Options []string     `json:"options,omitempty"`
	Secret  bool         `json:"secret,omitempty"`
	// Value is what it is worth once the states in the folder are fed; left
	// out while it is unknown.
	Value any `json:"value,omitempty"`
}

type dumpedCommand struct {
	Name     string         `json:"name"`
	Args     []dumpedAspect `json:"args,omitempty"`
	Required []string       `json:"required,omitempty"`
	Samples  []dumpedSample `json:"samples"`
}

// A dumpedSample is one use of a command: with what it needs, or with one
// argument more.
type dumpedSample struct {
	Args  map[string]any `json:"args,omitempty"`
	Sends []dumpedSend   `json:"sends,omitempty"`
	Error string         `json:"error,omitempty"`
}

type dumpedSend struct {
	Topic   string `json:"topic"`
	Payload string `json:"payload"`
	QoS     int    `json:"qos,omitempty"`
	Retain  bool   `json:"retain,omitempty"`
}

// dumpDevices prints what is understood of each announcement in a folder, one
// entity a line. Each announcement is taken by itself: a corpus may have
// several versions of one. States of its device that are in the folder, too,
// are fed to it.
func dumpDevices(dir string, w io.Writer) error {
	if dir == "" {
		return errors.New("lar devices dump wants --corpus DIR: see lar --help")
	}
	states, err := dumpStates(dir)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	found := false
	for _, kind := range []string{"discovery", "zigbee2mqtt-exposes"} {
		files, err := filepath.Glob(filepath.Join(dir, kind+"-*.jsonl.gz"))
		if err != nil {
			return fmt.Errorf("look into %s: %w", dir, err)
		}
		for _, name := range files {
			found = true
			if err := dumpFile(name, kind != "discovery", states, out); err != nil {
				return fmt.Errorf("read %s: %w", name, err)
			}
		}
	}
	if !found {
		return fmt.Errorf("there is no discovery-*.jsonl.gz and no zigbee2mqtt-exposes-*.jsonl.gz in %s", dir)
	}
	return out.Flush()
}

// A corpusLine is one line of a corpus.
type corpusLine struct {
	Source, Topic string
	Payload       json.RawMessage
}

// eachLine reads a file of a corpus.
func eachLine(name string, fn func(n int, m *corpusLine) error) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return err
	}
	lines := bufio.NewScanner(z)
	lines.Buffer(nil, maxCorpusLine)
	for n := 1; lines.Scan(); n++ {
		var m corpusLine
		err := json.Unmarshal(lines.Bytes(), &m)
		if err == nil {
			err = fn(n, &m)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	return lines.Err()
}

// dumpStates reads the states in a folder, by topic.
func dumpStates(dir string) (map[string]json.RawMessage, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*-state-*.jsonl.gz"))
	if err != nil {
		return nil, fmt.Errorf("look into %s: %w", dir, err)
	}
	states := map[string]json.RawMessage{}
	for _, name := range files {
		err := eachLine(name, func(_ int, m *corpusLine) error {
			states[m.Topic] = m.Payload
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("read %s: %w", name, err)
		}
	}
	return states, nil
}

func dumpFile(name string, list bool, states map[string]json.RawMessage, out *bufio.Writer) error {
	encoder := json.NewEncoder(out)
	encoder.SetEscapeHTML(false)
	return eachLine(name, func(n int, m *corpusLine) error {
		about := dumped{File: filepath.Base(name), Line: n, Source: m.Source, Topic: m.Topic}
		payload := []byte(m.Payload)
		if list { // an entry of the list that a gateway publishes
			var entry struct {
				Address string `json:"ieee_address"`
			}
			if err := json.Unmarshal(payload, &entry); err == nil {
				about.Address = entry.Address
			}
			payload = append(append([]byte{'['}, payload...), ']')
		}
		entities, err := understand(about, payload, states)
		if err != nil {
			return err
		}
		for i := range entities {
			if err := encoder.Encode(&entities[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// understand announces a payload to a house of its own and tells what is in it.
func understand(about dumped, payload []byte, states map[string]json.RawMessage) ([]dumped, error) {
	model, err := devices.New(devices.Options{})
	if err != nil {
		return nil, err
	}
	turns := uint64(0)
	turn := func() *mqtt.Turn {
		turns++
		return &mqtt.Turn{Number: turns, Now: mqtt.Now{Wall: time.Unix(1_700_000_000, 0), Run: time.Duration(turns) * time.Second}}
	}
	msg := &mqtt.Message{Topic: about.Topic, Payload: payload}
	if !model.Wants(msg.Topic) {
		return nil, nil
	}
	t := turn()
	model.Accept(t, msg, model.Prepare(msg.Topic, msg.Payload))
	for at, more := t.NextWake(model); more && at >= 0 && turns < 1000; at, more = t.NextWake(model) {
		t = turn() // a long list is taken in slices
		model.Wake(t)
	}
	fed := map[string]bool{}
	for _, d := range model.House().Devices {
		for _, e := range d.Entities {
			reads, _ := model.Topics(e.ID)
			for _, topic := range reads {
				state, known := states[topic]
				if known && !fed[topic] {
					fed[topic] = true
					m := &mqtt.Message{Topic: topic, Payload: state}
					model.Accept(turn(), m, model.Prepare(topic, state))
				}
			}
		}
	}
	var all []dumped
	for _, d := range model.House().Devices {
		for _, e := range d.Entities {
			x := about
			x.ID, x.Kind, x.Name, x.Label, x.Device, x.Area = e.ID, e.Kind, e.Name, e.Label, d.Name, e.Area
			x.Reads, x.ReachableBy = model.Topics(e.ID)
			x.Category, x.DeviceClass, x.StateClass, x.Icon = string(e.Category), e.DeviceClass, e.StateClass, e.Icon
			x.Enabled, x.Assumed, x.Problem = e.Enabled, e.Assumed, e.Problem
			x.Aspects, x.Commands = dumpAspects(e.Aspects), []dumpedCommand{}
			for i, r := range e.State().Readings {
				if !e.Aspects[i].Secret && r.Value.Known() {
					x.Aspects[i].Value = plain(r.Value)
				}
			}
			for _, c := range e.Commands {
				x.Commands = append(x.Commands, dumpedCommand{Name: c.Name, Args: dumpAspects(c.Args), Required: c.Required,
					Samples: samples(model, turn, e, c)})
			}
			all = append(all, x)
		}
	}
	return all, nil
}

func dumpAspects(aspects []devices.Aspect) []dumpedAspect {
	out := make([]dumpedAspect, len(aspects))
	for i, a := range aspects {
		out[i] = dumpedAspect{Name: a.Name, Type: a.Type, Step: a.Step, Unit: a.Unit, Options: a.Options, Secret: a.Secret}
		if a.Bounded() {
			out[i].Min, out[i].Max = &a.Min, &a.Max
		}
	}
	return out
}

// plain is a value as JSON has it.
func plain(v devices.Value) any {
	switch v.Type {
	case devices.Bool:
		return v.Bool
	case devices.Number:
		return v.Num
	}
	return v.Str
}

// samples uses a command with what it needs, then with each other argument.
func samples(model *devices.Model, turn func() *mqtt.Turn, e *devices.Entity, c devices.Command) []dumpedSample {
	needed := map[string]devices.Value{}
	var others []devices.Aspect
	for _, a := range c.Args {
		required := false
		for _, name := range c.Required {
			required = required || name == a.Name
		}
		if required {
			needed[a.Name] = sampleOf(a)
		} else {
			others = append(others, a)
		}
	}
	use := func(extra ...devices.Aspect) dumpedSample {
		args, s := map[string]devices.Value{}, dumpedSample{Args: map[string]any{}}
		for name, v := range needed {
			args[name] = v
		}
		for _, a := range extra {
			args[a.Name] = sampleOf(a)
		}
		var err error
		var t *mqtt.Turn
		// What wants JSON or a time of day says so.
		for _, text := range []string{"", "{}", "[]", "12:34:56"} {
			for name, v := range args {
				if text != "" && v.Type == devices.Text {
					args[name] = devices.TextValue(text)
				}
			}
			t = turn()
			if err = model.Command(t, e.ID, c.Name, args); err == nil || !slices.ContainsFunc([]string{"JSON", "a list", "a time of day"}, func(s string) bool { return strings.Contains(err.Error(), s) }) {
				break
			}
		}
		if err != nil {
			s.Error = err.Error()
		}
		for name, v := range args {
			s.Args[name] = plain(v)
		}
		for _, m := range t.Published() {
			s.Sends = append(s.Sends, dumpedSend{Topic: m.Topic, Payload: string(m.Payload), QoS: int(m.QoS), Retain: m.Retain})
		}
		return s
	}
	first := use()
	if len(others) > 0 && first.Error != "" { // it wants one of them
		first = use(others[0])
		others = others[1:]
	}
	list := []dumpedSample{first}
	for _, a := range others {
		list = append(list, use(a))
	}
	return list
}

// sampleOf is a value that an argument allows.
func sampleOf(a devices.Aspect) devices.Value {
	switch a.Type {
	case devices.Bool:
		return devices.BoolValue(true)
	case devices.Number:
		if a.Bounded() {
			return devices.NumberValue(a.Max)
		}
		return devices.NumberValue(1)
	case devices.Enum, devices.Text:
		if len(a.Options) > 0 {
			return devices.TextValue(a.Options[0])
		}
	case devices.Color:
		return devices.TextValue("#ff8000")
	case devices.Time:
		return devices.TextValue("2026-01-02T03:04:05Z")
	}
	return devices.TextValue(strings.Repeat("1", max(int(min(a.Min, 100)), 1)))
}
