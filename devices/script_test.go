package devices

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

var rewrite = flag.Bool("update", false, "rewrite the golden scripts")

// A bench drives a model by bare turns, with a broker's memory of retained
// messages and a store that is a map.
type bench struct {
	t        testing.TB
	model    *Model
	now      mqtt.Now
	number   uint64
	retained map[string]string
	records  map[string][]byte
	wake     time.Duration
	out      strings.Builder
	quiet    bool
	client   string // that publishes
	tell     bool   // Options.Forgotten is set
	told     []Forgotten
	later    []func(*mqtt.Turn) // what is to be done in a turn of its own
	depth    int
	atTurn   func() // called after each turn

	forgotten string // ID of the device last forgotten
}

func newBench(t testing.TB) *bench {
	b := &bench{t: t, retained: map[string]string{}, records: map[string][]byte{}, wake: -1}
	b.now = mqtt.Now{Wall: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC), Trusted: true, Run: time.Second}
	b.start()
	return b
}

// start makes a model from the records and brings it the retained messages.
func (b *bench) start() {
	o := Options{Scan: b.scan, Watchers: []Watcher{b}, Identity: func(client string) string { return "credential:" + client }}
	if b.tell {
		o.Forgotten = func(t *mqtt.Turn, f Forgotten, done func(*mqtt.Turn)) {
			b.told = append(b.told, f)
			b.later = append(b.later, done)
		}
	}
	m, err := New(o)
	if err != nil {
		b.t.Fatal(err)
	}
	b.model, b.wake = m, -1
	for _, topic := range slices.Sorted(maps.Keys(b.retained)) {
		if m.Wants(topic) {
			b.accept(&mqtt.Message{Topic: topic, Payload: []byte(b.retained[topic]), Retain: true, Retained: true})
		}
	}
}

func (b *bench) scan(prefix, from []byte, fn func(k, v []byte) bool) error {
	for _, k := range slices.Sorted(maps.Keys(b.records)) {
		if strings.HasPrefix(k, string(prefix)) && !fn([]byte(k), b.records[k]) {
			return nil
		}
	}
	return nil
}

// turn runs fn as a turn and what follows from it.
func (b *bench) turn(fn func(t *mqtt.Turn)) {
	b.number++
	b.depth++
	t := &mqtt.Turn{Number: b.number, Now: b.now}
	before := map[string]bool{}
	for topic := range b.retained {
		before[topic] = b.model.Wants(topic)
	}
	fn(t)
	for rounds := 0; t.Rewired() && rounds < 8; rounds++ {
		for _, topic := range slices.Sorted(maps.Keys(b.retained)) {
			if b.model.Wants(topic) && !before[topic] {
				before[topic] = true
				b.model.Accept(t, &mqtt.Message{Topic: topic, Payload: []byte(b.retained[topic]), Retained: true}, nil)
			}
		}
	}
	for _, w := range append(t.Writes(), t.Lazies()...) {
		if w.Value == nil {
			delete(b.records, string(w.Key))
		} else {
			b.records[string(w.Key)] = w.Value
		}
	}
	if at, ok := t.NextWake(b.model); ok {
		b.wake = at
	}
	defer func() {
		client := b.client
		b.client = ""
		for _, msg := range t.Published() { // they come back as any message
			b.publish(msg.Topic, string(msg.Payload), msg.Retain)
		}
		b.client = client
		if b.depth--; b.depth > 0 {
			return // the messages of a turn are part of it
		}
		if b.atTurn != nil {
			b.atTurn()
		}
		later := b.later
		b.later = nil
		for _, done := range later {
			b.turn(done)
		}
	}()
	for _, msg := range t.Published() {
		b.printf("publish %s %s%s%s", msg.Topic, msg.Payload, map[mqtt.QoS]string{1: " qos=1", 2: " qos=2"}[msg.QoS], map[bool]string{true: " retain"}[msg.Retain])
	}
}

func (b *bench) accept(msg *mqtt.Message) {
	prepared := b.model.Prepare(msg.Topic, msg.Payload)
	b.turn(func(t *mqtt.Turn) { b.model.Accept(t, msg, prepared) })
}

func (b *bench) publish(topic, payload string, retain bool) {
	if retain {
		b.retained[topic] = payload
		if payload == "" {
			delete(b.retained, topic)
		}
	}
	if b.model.Wants(topic) {
		b.accept(&mqtt.Message{Topic: topic, Payload: []byte(payload), Retain: retain, ClientID: b.client})
	}
}

// pass lets time go by, waking the model when it asked for it.
func (b *bench) pass(d time.Duration) {
	end := b.now.Run + d
	for b.wake >= 0 && b.wake <= end {
		step := b.wake - b.now.Run
		b.now.Run, b.now.Wall = b.wake, b.now.Wall.Add(step)
		b.wake = -1
		b.turn(b.model.Wake)
	}
	b.now.Run, b.now.Wall = end, b.now.Wall.Add(end-b.now.Run)
}

func (b *bench) Changed(t *mqtt.Turn, changes []Change, structure bool) {
	for _, c := range changes {
		if c.Entity == nil {
			b.t.Errorf("change of %q without an entity", c.Aspect)
			continue
		}
		if b.quiet {
			continue // and make no texts, so that a benchmark is of the model
		}
		old := ""
		if !c.News {
			old = " (known before)"
		}
		if c.Aspect == "" {
			b.printf("%s available %v%s", c.Entity.ID, c.Available, old)
		} else if c.Event {
			b.printf("%s event %s %s%s", c.Entity.ID, c.Aspect, show(c.New), old)
		} else {
			b.printf("%s %s %s → %s%s", c.Entity.ID, c.Aspect, show(c.Old), show(c.New), old)
		}
	}
	if structure {
		b.printf("house: %d devices, %d entities", len(b.model.House().Devices), b.model.House().entities.len())
	}
}

func (b *bench) printf(format string, args ...any) {
	if !b.quiet {
		fmt.Fprintf(&b.out, "\t"+format+"\n", args...)
	}
}

func show(v Value) string {
	switch v.Type {
	case Bool:
		return map[bool]string{true: "on", false: "off"}[v.Bool]
	case Number:
		return strconv.FormatFloat(v.Num, 'f', -1, 64)
	case Text:
		return strconv.Quote(v.Str)
	}
	return "unknown"
}

// show prints the house.
func (b *bench) show() {
	for _, d := range b.model.House().Devices {
		b.printf("%s [%s %s] area=%q via=%v", d.Name, d.Manufacturer, d.Model, d.Area, d.Via != "")
		for _, e := range d.Entities {
			if e.Device != d || b.model.House().Entity(e.ID) != e {
				b.t.Errorf("%s is not where it should be", e.ID)
			}
			line := fmt.Sprintf("  %s %q %q", e.ID, e.Name, e.Label)
			if e.Category != Primary {
				line += " " + string(e.Category)
			}
			if p := e.Personal; p != (Personal{}) {
				line += fmt.Sprintf(" personal=%+v area=%q icon=%q", p, e.Area, e.Icon)
			}
			if !e.Enabled {
				line += " disabled"
			}
			if e.Assumed {
				line += " assumed"
			}
			s := e.State()
			if !s.Available {
				line += " unavailable"
			}
			for i, a := range e.Aspects {
				line += fmt.Sprintf(" %s=%s%s", a.Name, show(s.Readings[i].Value), a.Unit)
				if s.Readings[i].Restored {
					line += "(restored)"
				}
			}
			for _, c := range e.Commands {
				line += " +" + c.Name
			}
			if e.Problem != "" {
				line += " PROBLEM " + e.Problem
			}
			b.printf("%s", line)
		}
	}
}

// device returns the ID of the device with a name.
func (b *bench) device(name string) string {
	for _, d := range b.model.House().Devices {
		if strings.ReplaceAll(d.Name, " ", "_") == name {
			return d.ID
		}
	}
	return ""
}

// run carries out one line of a script.
func (b *bench) run(line string) {
	word, rest, _ := strings.Cut(line, " ")
	topic, payload, _ := strings.Cut(rest, " ")
	switch word {
	case "retain":
		b.publish(topic, payload, true)
	case "pub":
		b.publish(topic, payload, false)
	case "pass":
		d, err := time.ParseDuration(rest)
		if err != nil {
			b.t.Fatal(err)
		}
		b.pass(d)
	case "cmd":
		f := strings.Fields(rest)
		args := map[string]Value{}
		for _, a := range f[2:] {
			k, v, _ := strings.Cut(a, "=")
			args[k] = TextValue(v)
			if n, err := strconv.ParseFloat(v, 64); err == nil {
				args[k] = NumberValue(n)
			}
		}
		b.turn(func(t *mqtt.Turn) {
			if err := b.model.Command(t, f[0], f[1], args); err != nil {
				b.printf("error: %v", err)
			}
		})
	case "name", "area":
		for _, d := range b.model.House().Devices {
			if d.Name == topic {
				set := b.model.SetName
				if word == "area" {
					set = b.model.SetArea
				}
				b.turn(func(t *mqtt.Turn) {
					if err := set(t, d.ID, payload); err != nil {
						b.printf("error: %v", err)
					}
				})
			}
		}
	case "forget":
		for _, d := range b.model.House().Devices {
			if d.Name == rest {
				b.forgotten = d.ID
				b.turn(func(t *mqtt.Turn) {
					if err := b.model.Forget(t, d.ID); err != nil {
						b.printf("error: %v", err)
					}
				})
			}
		}
	case "join", "rename", "remove":
		done := func(t *mqtt.Turn, err error) { b.printf("%s: %v", word, err) }
		b.turn(func(t *mqtt.Turn) {
			var err error
			switch word {
			case "join":
				d, _ := time.ParseDuration(payload)
				err = b.model.PermitJoin(t, topic, d, done)
			case "rename":
				err = b.model.Rename(t, b.device(topic), payload, done)
			case "remove":
				err = b.model.Remove(t, b.device(topic), payload == "force", done)
			}
			if err != nil {
				b.printf("error: %v", err)
			}
		})
	case "gateways":
		for _, g := range b.model.Gateways() {
			b.printf("%s version=%q online=%v join=%v joining=%q", g.Base, g.Version, g.Online, g.PermitJoin, g.Joining)
		}
	case "undo":
		b.turn(func(t *mqtt.Turn) {
			if err := b.model.Undo(t, b.forgotten); err != nil {
				b.printf("error: %v", strings.ReplaceAll(err.Error(), b.forgotten, "…"))
			}
		})
	case "entity": // ID and what a person sets, as JSON
		var p Personal
		if err := json.Unmarshal([]byte(payload), &p); err != nil {
			b.t.Fatal(err)
		}
		b.turn(func(t *mqtt.Turn) {
			if err := b.model.SetEntity(t, topic, p); err != nil {
				b.printf("error: %v", err)
			}
		})
	case "birth":
		b.turn(b.model.Birth)
	case "restart":
		b.turn(b.model.Flush)
		b.now.Run = time.Second
		b.start()
	case "show":
		b.show()
	default:
		b.t.Fatalf("unknown line %q", line)
	}
}

// TestScripts plays testdata/script: input is flush left, what the model
// answered is indented below. -update writes it anew.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/script/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatal("no scripts", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			for line := range strings.Lines(string(want)) {
				if strings.HasPrefix(line, "\t") {
					continue
				}
				b.out.WriteString(line)
				if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
					b.run(line)
				}
			}
			got := []byte(b.out.String())
			if bytes.Equal(got, want) {
				return
			}
			if *rewrite {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			t.Errorf("%s differs (go test -update shows how):\n%s", file, got)
		})
	}
}
