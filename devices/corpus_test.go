package devices

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// corpusDir is a folder with discovery-*.jsonl.gz and, if there are,
// zigbee2mqtt-state-*.jsonl.gz: our own small set unless LAR_CORPUS names one.
func corpusDir() string {
	if dir := os.Getenv("LAR_CORPUS"); dir != "" {
		return dir
	}
	return "testdata/corpus"
}

func readLines(t testing.TB, pattern string, fn func(line []byte)) {
	files, err := filepath.Glob(filepath.Join(corpusDir(), pattern))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			t.Fatal(err)
		}
		z, err := gzip.NewReader(f)
		if err != nil {
			t.Fatal(name, err)
		}
		s := bufio.NewScanner(z)
		s.Buffer(nil, 16<<20)
		for s.Scan() {
			fn(s.Bytes())
		}
		if err := s.Err(); err != nil {
			t.Fatal(name, err)
		}
		f.Close()
	}
}

// A corpusMessage is one line of discovery-*.jsonl.gz.
type corpusMessage struct {
	Source, Topic string
	Payload       json.RawMessage
}

func readCorpus(t testing.TB) []corpusMessage {
	var all []corpusMessage
	readLines(t, "discovery-*.jsonl.gz", func(line []byte) {
		var m corpusMessage
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(m.Topic, "homeassistant/") {
			all = append(all, m)
		}
	})
	if len(all) == 0 {
		t.Fatal("no discovery messages in ", corpusDir())
	}
	return all
}

// feed hands a message to the model, without a broker around it.
func (b *bench) feed(topic, payload string) {
	msg := &mqtt.Message{Topic: topic, Payload: []byte(payload), Retain: true}
	prepared := b.model.Prepare(msg.Topic, msg.Payload)
	b.number++
	turn := &mqtt.Turn{Number: b.number, Now: b.now}
	b.model.Accept(turn, msg, prepared)
}

// TestCorpus replays what real programs announce: every message gives an
// entity, states arrive where they should, commands go where the description
// says, the same again changes nothing, and clearing all leaves nothing.
func TestCorpus(t *testing.T) {
	all := readCorpus(t)
	states := map[string]map[string]any{}
	readLines(t, "zigbee2mqtt-state-*.jsonl.gz", func(line []byte) {
		var m struct {
			Topic   string
			Payload map[string]any
		}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		states[m.Topic] = m.Payload
	})
	b := newBench(t)
	b.quiet = true
	start := time.Now()
	unusable := 0
	for _, m := range all {
		b.feed(m.Topic, string(m.Payload))
		a := b.model.owned[m.Topic]
		if a == nil || len(a.nodes) == 0 {
			t.Errorf("%s %s: no entity of %.300s", m.Source, m.Topic, m.Payload)
			continue
		}
		for _, n := range a.nodes {
			if len(n.spec.aspects)+len(n.spec.commands) == 0 {
				if unusable++; unusable < 20 {
					t.Logf("%s %s: %s", m.Source, m.Topic, n.spec.problem)
				}
			} else if n.spec.problem != "" {
				t.Logf("%s %s: %s", m.Source, m.Topic, n.spec.problem)
			}
		}
	}
	took := time.Since(start)
	if unusable*100 > len(all) {
		t.Errorf("%d of %d messages gave an entity without aspects and commands, want 1 %% at most", unusable, len(all))
	}
	messages := len(all)
	entities, devices := len(b.model.nodes), len(b.model.devices)

	last := map[string]string{} // several variants may share a topic
	for _, m := range all {
		last[m.Topic] = string(m.Payload)
	}
	all = slices.DeleteFunc(all, func(m corpusMessage) bool { return last[m.Topic] != string(m.Payload) })
	values, expected := feedStates(t, b, all, states)
	commands, tried := tryCommands(t, b, all)

	before := b.model.House()
	for topic, payload := range last {
		b.feed(topic, payload)
	}
	if b.model.House() != before {
		t.Error("feeding the same set again changed the house")
	}
	for topic := range last {
		b.feed(topic, "")
	}
	if h := b.model.House(); len(h.Devices) != 0 || h.entities.len() != 0 || len(b.model.nodes)+len(b.model.slots)+len(b.model.groups) != 0 || b.model.wiring.Load().routes.len() != 0 {
		t.Errorf("clearing all left %d devices, %d entities, %d routes", len(h.Devices), len(b.model.nodes), b.model.wiring.Load().routes.len())
	}
	fmt.Printf("corpus: messages=%d entities=%d devices=%d values=%d/%d commands=%d/%d in %v\n",
		messages, entities, devices, values, expected, commands, tried, took.Round(time.Millisecond))
}

// feedStates sends each device's state and compares the simple aspects with a
// reading of our own: the value under the key that a plain template names.
func feedStates(t *testing.T, b *bench, all []corpusMessage, states map[string]map[string]any) (right, expected int) {
	for topic, state := range states {
		payload, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		b.feed(topic, string(payload))
	}
	for _, m := range all {
		var c struct {
			StateTopic  string `json:"state_topic"`
			Template    string `json:"value_template"`
			On          any    `json:"payload_on"`
			StateOn     any    `json:"state_on"`
			DeviceClass string `json:"device_class"`
		}
		if json.Unmarshal(m.Payload, &c) != nil {
			continue
		}
		key, ok := strings.CutPrefix(c.Template, `{{ value_json["`)
		key, ok2 := strings.CutSuffix(key, `"] }}`)
		fed, has := states[c.StateTopic][key]
		a := b.model.owned[m.Topic]
		if !ok || !ok2 || !has || fed == nil || a == nil || c.DeviceClass == "timestamp" || c.DeviceClass == "date" {
			continue
		}
		n := a.nodes[0]
		var want Value
		switch f := fed.(type) {
		case float64:
			want = NumberValue(f)
		case string:
			want = TextValue(f)
		case bool:
			want = TextValue(map[bool]string{true: "True", false: "False"}[f])
		default:
			continue
		}
		switch n.spec.kind {
		case Sensor, NumberEntity, Select, TextEntity:
			if aspect := n.spec.aspects[0]; aspect.Type != Number && want.Type == Number {
				want = TextValue(strconv.FormatFloat(want.Num, 'f', -1, 64))
			}
		case Switch, BinarySensor:
			on := c.On
			if c.StateOn != nil {
				on = c.StateOn
			}
			want = BoolValue(fmt.Sprint(on) == fmt.Sprint(fed))
		default:
			continue
		}
		expected++
		if got := n.live.Load().Readings[0].Value; got == want {
			right++
		} else {
			t.Errorf("%s: %s is %s, was fed %v", m.Topic, key, show(got), fed)
		}
	}
	if right*1000 < expected*999 {
		t.Errorf("%d of %d values are what was fed", right, expected)
	}
	return right, expected
}

// tryCommands uses every command once: it must publish to topics that the
// description names.
func tryCommands(t *testing.T, b *bench, all []corpusMessage) (right, tried int) {
	for _, m := range all {
		a := b.model.owned[m.Topic]
		if a == nil {
			continue
		}
		for _, n := range a.nodes {
			for _, cmd := range n.spec.commands {
				tried++
				args := map[string]Value{}
				for _, arg := range cmd.Args {
					if slices.Contains(cmd.Required, arg.Name) {
						args[arg.Name] = sample(arg)
					}
				}
				turn := &mqtt.Turn{Number: 1, Now: b.now}
				err := b.model.Command(turn, n.id, cmd.Name, args)
				ok := err == nil && len(turn.Published()) > 0
				for _, out := range turn.Published() {
					if topic, _ := json.Marshal(out.Topic); !strings.Contains(string(m.Payload), string(topic)) {
						ok = false
					}
				}
				if ok {
					right++
				} else if len(all) == tried || tried-right < 20 {
					t.Logf("%s %s: %v %v", m.Topic, cmd.Name, err, turn.Published())
				}
			}
		}
	}
	if right*1000 < tried*999 {
		t.Errorf("%d of %d commands went where they should", right, tried)
	}
	return right, tried
}

// sample is a value that an argument allows.
func sample(a Aspect) Value {
	switch a.Type {
	case Bool:
		return BoolValue(true)
	case Number:
		return NumberValue(a.Min)
	case Enum:
		if len(a.Options) > 0 {
			return TextValue(a.Options[len(a.Options)-1])
		}
	case Color:
		return TextValue("#336699")
	case Time:
		return TextValue("2026-01-02T03:04:05Z")
	}
	return TextValue(strings.Repeat("1", max(int(min(a.Min, 100)), 1)))
}

// BenchmarkAnnounce is a house of the corpus announced at once.
func BenchmarkAnnounce(b *testing.B) {
	all := readCorpus(b)
	for b.Loop() {
		h := newBench(b)
		h.quiet = true
		for _, m := range all {
			h.feed(m.Topic, string(m.Payload))
		}
	}
	b.ReportMetric(float64(len(all)), "messages/op")
}
