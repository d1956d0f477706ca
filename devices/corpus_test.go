package devices

import (
	"bufio"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"lar.home/mqtt"
)

// corpusDir is a folder with discovery-*.jsonl.gz, zigbee2mqtt-exposes-*.jsonl.gz
// and zigbee2mqtt-state-*.jsonl.gz: our own small set unless LAR_CORPUS names one.
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
// says, the same again changes nothing, and clearing all leaves nothing. The
// lists of Zigbee2MQTT itself and what Tasmotas say of themselves are tried in
// the same way.
func TestCorpus(t *testing.T) {
	s := &score{}
	messages, entities := discoveryCorpus(t, s)
	zigbee := readZigbee(t)
	for list := range slices.Chunk(zigbee, 1000) {
		entities += zigbeeCorpus(t, s, list)
	}
	messages += len(zigbee)
	more, others := tasmotaCorpus(t, s)
	messages, entities = messages+more, entities+others
	s.check(t)
	fmt.Printf("corpus: messages=%d entities=%d values=%d/%d commands=%d/%d\n",
		messages, entities, s.right, s.values, s.sent, s.commands)
}

func discoveryCorpus(t *testing.T, s *score) (messages, entities int) {
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
	if unusable*100 > len(all) {
		t.Errorf("%d of %d messages gave an entity without aspects and commands, want 1 %% at most", unusable, len(all))
	}
	messages, entities = len(all), len(b.model.nodes)

	last := map[string]string{} // several variants may share a topic
	for _, m := range all {
		last[m.Topic] = string(m.Payload)
	}
	all = slices.DeleteFunc(all, func(m corpusMessage) bool { return last[m.Topic] != string(m.Payload) })
	feedStates(t, s, b, all, states)
	tryCommands(t, s, b, all)

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
	b.empty()
	return messages, entities
}

// A claim says under which key of the description stands the template of an
// aspect.
var claims = map[Kind]map[string]string{
	Sensor:       {"value_template": "value"},
	NumberEntity: {"value_template": "value"},
	Select:       {"value_template": "value"},
	TextEntity:   {"value_template": "value"},
	Switch:       {"value_template": "on"},
	BinarySensor: {"value_template": "on"},
	Cover:        {"position_template": "position", "tilt_status_template": "tilt"},
	Climate: {"mode_state_template": "mode", "temperature_state_template": "target", "current_temperature_template": "current_temp",
		"preset_mode_value_template": "preset", "fan_mode_state_template": "fan_mode", "current_humidity_template": "current_humidity",
		"temperature_low_state_template": "target_low", "temperature_high_state_template": "target_high", "swing_mode_state_template": "swing_mode"},
}

// plainKey returns the key that a template of the simplest form names.
func plainKey(template any) (key string, ok bool) {
	s, _ := template.(string)
	key, ok = strings.CutPrefix(s, `{{ value_json["`)
	key, ok2 := strings.CutSuffix(key, `"] }}`)
	return key, ok && ok2
}

// feedStates sends each device's state and compares the aspects with a reading
// of our own: the value under the key that a plain template names.
func feedStates(t *testing.T, s *score, b *bench, all []corpusMessage, states map[string]map[string]any) {
	for topic, state := range states {
		payload, err := json.Marshal(state)
		if err != nil {
			t.Fatal(err)
		}
		b.feed(topic, string(payload))
	}
	compare := func(n *node, aspect string, want Value, fed any) {
		i := slices.IndexFunc(n.spec.aspects, func(a Aspect) bool { return a.Name == aspect })
		if i >= 0 && n.spec.aspects[i].Type != Number && want.Type == Number {
			want = TextValue(strconv.FormatFloat(want.Num, 'f', -1, 64))
		}
		s.values++
		if i >= 0 && n.live.Load().Readings[i].Value == want {
			s.right++
		} else {
			s.complain(t, "%s: %s was fed %v, want %s, is %+v", n.id, aspect, fed, show(want), n.live.Load().Readings)
		}
	}
	for _, m := range all {
		var c map[string]any
		if json.Unmarshal(m.Payload, &c) != nil {
			t.Fatal(m.Topic)
		}
		topic, _ := c["state_topic"].(string)
		if topic == "" {
			topic, _ = c["current_temperature_topic"].(string)
		}
		state, a := states[topic], b.model.owned[m.Topic]
		if state == nil || a == nil || len(a.nodes) != 1 || c["device_class"] == "timestamp" || c["device_class"] == "date" {
			continue
		}
		n := a.nodes[0]
		if n.spec.kind == Light && c["schema"] == "json" {
			feedLight(n, c, state, compare)
			continue
		}
		for template, aspect := range claims[n.spec.kind] {
			key, plain := plainKey(c[template])
			fed, has := state[key]
			if !plain || !has {
				continue
			}
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
			if aspect == "on" {
				on := c["payload_on"]
				if c["state_on"] != nil {
					on = c["state_on"]
				}
				want = BoolValue(fmt.Sprint(on) == fmt.Sprint(fed))
			}
			compare(n, aspect, want, fed)
		}
	}
}

// feedLight compares a light with the state of its device.
func feedLight(n *node, c, state map[string]any, compare func(n *node, aspect string, want Value, fed any)) {
	if s, ok := state["state"].(string); ok {
		compare(n, "on", BoolValue(s == "ON"), s)
	}
	if v, ok := state["brightness"].(float64); ok && c["brightness"] == true {
		scale, _ := c["brightness_scale"].(float64)
		want := math.Round(v / scale * 100)
		if v > 0 {
			want = max(want, 1)
		}
		compare(n, "brightness", NumberValue(want), v)
	}
	modes := fmt.Sprint(c["supported_color_modes"])
	if v, ok := state["color_temp"].(float64); ok && strings.Contains(modes, "color_temp") {
		compare(n, "color_temp", NumberValue(math.Round(1e6/v)), v)
	}
	if v, ok := state["color_mode"].(string); ok && strings.Contains(modes, " ") {
		compare(n, "color_mode", TextValue(v), v)
	}
}

// A told says what a command sends: the payload under a key of the description
// or the usual one, or the argument of a name as it is.
type told struct{ key, usual, arg string }

var tells = map[string]told{
	"switch turn_on": {key: "payload_on", usual: "ON"}, "switch turn_off": {key: "payload_off", usual: "OFF"},
	"fan turn_on": {key: "payload_on", usual: "ON"}, "fan turn_off": {key: "payload_off", usual: "OFF"},
	"button press": {key: "payload_press", usual: "PRESS"}, "scene activate": {key: "payload_on", usual: "ON"},
	"lock lock": {key: "payload_lock", usual: "LOCK"}, "lock unlock": {key: "payload_unlock", usual: "UNLOCK"},
	"cover open": {key: "payload_open", usual: "OPEN"}, "cover close": {key: "payload_close", usual: "CLOSE"},
	"cover stop": {key: "payload_stop", usual: "STOP"}, "update install": {key: "payload_install"},
	"number set": {arg: "value"}, "select select": {arg: "value"}, "text set": {arg: "value"},
}

// wanted is the payload that a command of a description should send; ok is
// false where a template makes it.
func wanted(c map[string]any, n *node, command string, args map[string]Value) (payload string, ok bool) {
	t, ok := tells[string(n.spec.kind)+" "+command]
	if !ok || c["command_template"] != nil || c["cmd_tpl"] != nil {
		return "", false
	}
	if t.arg != "" {
		return toTemplate(args[t.arg]).Text(), true
	}
	for _, key := range []string{t.key, strings.Replace(t.key, "payload_", "pl_", 1)} {
		switch v := c[key].(type) {
		case nil:
		case bool:
			return map[bool]string{true: "True", false: "False"}[v], true
		default:
			return fmt.Sprint(v), true
		}
	}
	return t.usual, true
}

// tryCommands uses every command once: it must publish to topics that the
// description names, and what it names.
func tryCommands(t *testing.T, s *score, b *bench, all []corpusMessage) {
	for _, m := range all {
		a := b.model.owned[m.Topic]
		if a == nil {
			continue
		}
		var c map[string]any
		if json.Unmarshal(m.Payload, &c) != nil {
			t.Fatal(m.Topic)
		}
		for _, n := range a.nodes {
			for _, cmd := range n.spec.commands {
				s.commands++
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
				if want, known := wanted(c, n, cmd.Name, args); known && len(a.nodes) == 1 && ok {
					ok = string(turn.Published()[0].Payload) == want
				}
				if ok {
					s.sent++
				} else {
					s.complain(t, "%s %s: %v %v", m.Topic, cmd.Name, err, turn.Published())
				}
			}
		}
	}
}

// sample is a value that an argument allows.
func sample(a Aspect) Value {
	switch a.Type {
	case Bool:
		return BoolValue(true)
	case Number:
		return NumberValue(a.Min)
	case Enum, Text:
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
