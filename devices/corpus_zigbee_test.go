package devices

import (
	"encoding/json"
	"maps"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

// A corpusExpose is an expose as the corpus has it, read apart from the code
// that is tested.
type corpusExpose struct {
	Type, Name, Property, Endpoint string
	Access                         int
	ValueOn                        any      `json:"value_on"`
	ValueOff                       any      `json:"value_off"`
	Min                            *float64 `json:"value_min"`
	Max                            *float64 `json:"value_max"`
	Values                         []any
	Features                       []corpusExpose
}

// A corpusDevice is one line of zigbee2mqtt-exposes-*.jsonl.gz.
type corpusDevice struct {
	IEEE       string `json:"ieee_address"`
	Name       string `json:"friendly_name"`
	Definition struct {
		Exposes []corpusExpose
		OTA     bool `json:"supports_ota"`
	}

	base  string
	raw   json.RawMessage
	state map[string]any
}

func readZigbee(t testing.TB) []*corpusDevice {
	var all []*corpusDevice
	readLines(t, "zigbee2mqtt-exposes-*.jsonl.gz", func(line []byte) {
		var m struct {
			Topic   string
			Payload json.RawMessage
		}
		d := &corpusDevice{}
		if json.Unmarshal(line, &m) != nil || json.Unmarshal(m.Payload, d) != nil {
			t.Fatalf("%.200s", line)
		}
		d.base, d.raw = strings.TrimSuffix(m.Topic, "/bridge/devices"), slices.Clone(m.Payload)
		all = append(all, d)
	})
	if len(all) == 0 {
		t.Fatal("no descriptions of Zigbee devices in ", corpusDir())
	}
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
	for _, d := range all {
		d.state = states[d.base+"/"+d.Name]
	}
	return all
}

// deviceLists makes the lists that gateways publish.
func deviceLists(all []*corpusDevice) map[string]string {
	byBase := map[string][]string{}
	for _, d := range all {
		byBase[d.base] = append(byBase[d.base], string(d.raw))
	}
	lists := map[string]string{}
	for base, entries := range byBase {
		lists[base+"/bridge/devices"] = "[" + strings.Join(entries, ",") + "]"
	}
	return lists
}

// settle takes the rest of a list, slice by slice.
func (b *bench) settle() {
	for len(b.model.jobs) > 0 {
		b.number++
		b.now.Run += time.Millisecond
		b.model.Wake(&mqtt.Turn{Number: b.number, Now: b.now})
	}
}

// zigbeeCorpus announces real devices in their gateway's own list: each
// property that they publish is read, each that can be set is set, with a
// value that is declared. It returns how many entities there were.
func zigbeeCorpus(t *testing.T, s *score, all []*corpusDevice) (entities int) {
	b := newBench(t)
	b.quiet = true
	lists := deviceLists(all)
	for topic, payload := range lists {
		b.feed(topic, payload)
	}
	b.settle()
	if n := len(b.model.House().Devices); n != len(all) {
		t.Errorf("%d devices of %d", n, len(all))
	}
	for _, d := range all {
		if d.state != nil {
			payload, _ := json.Marshal(d.state)
			b.feed(d.base+"/"+d.Name, string(payload))
		}
	}
	for _, d := range all {
		s.device(t, b, d)
	}
	for _, n := range b.model.nodes {
		if n.spec.problem != "" {
			t.Errorf("%s: %s", n.id, n.spec.problem)
		}
	}
	entities = len(b.model.nodes)

	before := b.model.House()
	for topic, payload := range lists {
		b.feed(topic, payload)
		b.settle()
	}
	if b.model.House() != before {
		t.Error("feeding the same lists again changed the house")
	}
	for topic := range lists {
		b.feed(topic, "")
		b.settle()
	}
	b.empty()
	return entities
}

// empty checks that nothing is left of the house.
func (b *bench) empty() {
	b.t.Helper()
	h, m := b.model.House(), b.model
	if len(h.Devices)+h.entities.len()+len(m.nodes)+len(m.slots)+len(m.groups)+len(m.owned)+len(m.shadows) != 0 || m.wiring.Load().routes.len() != 0 {
		b.t.Errorf("clearing all left %d devices, %d entities, %d slots, %d groups, %d announcements, %d kept aside, %d routes", len(h.Devices), len(m.nodes), len(m.slots), len(m.groups), len(m.owned), len(m.shadows), m.wiring.Load().routes.len())
	}
}

// A score counts what is as it should be.
type score struct {
	right, values  int
	sent, commands int
	said           int
}

func (s *score) check(t *testing.T) {
	t.Helper()
	if s.right*1000 < s.values*999 {
		t.Errorf("%d of %d values are what was fed", s.right, s.values)
	}
	if s.sent*1000 < s.commands*999 {
		t.Errorf("%d of %d commands are as declared", s.sent, s.commands)
	}
}

func (s *score) complain(t *testing.T, format string, args ...any) {
	t.Helper()
	if s.said++; s.said <= 30 {
		t.Logf(format, args...)
	}
}

// entity finds the entity with a unique ID.
func (d *corpusDevice) entity(b *bench, kind Kind, object string) *node {
	return b.model.nodes[b.model.memory.entityID(string(kind)+"="+d.IEEE+"_"+object+"_"+d.base)]
}

// device compares one device with its description.
func (s *score) device(t *testing.T, b *bench, d *corpusDevice) {
	same := func(property string, n *node, aspect string, want Value) {
		s.values++
		if n == nil {
			s.complain(t, "%s: no entity for %s", d.IEEE, property)
			return
		}
		i := slices.IndexFunc(n.spec.aspects, func(a Aspect) bool { return a.Name == aspect })
		if i < 0 || n.live.Load().Readings[i].Value != want {
			s.complain(t, "%s %s: %s of %s was fed %v, want %s, is %+v", d.IEEE, property, aspect, n.id, d.state[property], show(want), n.live.Load().Readings)
			return
		}
		s.right++
	}
	settable := map[string][]corpusExpose{} // a property may be exposed twice
	generic := func(e corpusExpose) {
		if e.Access&2 != 0 || e.Type == "composite" && slices.ContainsFunc(e.Features, func(f corpusExpose) bool { return f.Access&2 != 0 }) {
			settable[e.Property] = append(settable[e.Property], e)
		}
		fed, has := d.state[e.Property]
		if !has || e.Access&1 == 0 {
			return
		}
		set := e.Access&2 != 0
		kinds := map[string][2]Kind{"numeric": {Sensor, NumberEntity}, "enum": {Sensor, Select}, "text": {Sensor, TextEntity},
			"composite": {Sensor, TextEntity}, "list": {Sensor, TextEntity}, "binary": {BinarySensor, Switch}}[e.Type]
		kind, aspect, object, want := kinds[0], "value", e.Property, plainValue(fed)
		if set || len(settable[e.Property]) > 0 && e.Type == "composite" {
			kind = kinds[1]
		}
		switch {
		case e.Name == "action" && e.Type == "enum":
			kind, aspect = Event, "event"
		case e.Type == "binary":
			aspect, want = "on", BoolValue(reflect.DeepEqual(fed, e.ValueOn))
			if set {
				object = "switch_" + object
			}
		case e.Type == "enum" || e.Type == "text":
			want = TextValue(want.Str)
			if f, ok := fed.(float64); ok {
				want = TextValue(strconv.FormatFloat(f, 'f', -1, 64))
			}
		case e.Type == "composite" || e.Type == "list":
			n := d.entity(b, kind, object)
			if n == nil {
				same(e.Property, nil, "", want)
				return
			}
			var got any
			s.values++
			if json.Unmarshal([]byte(n.live.Load().Readings[0].Value.Str), &got) == nil && reflect.DeepEqual(got, fed) {
				s.right++
			} else {
				s.complain(t, "%s: %s was fed %v, is %v", d.IEEE, e.Property, fed, got)
			}
			return
		}
		same(e.Property, d.entity(b, kind, object), aspect, want)
	}
	for _, e := range d.Definition.Exposes {
		if len(e.Features) == 0 || e.Type == "composite" {
			generic(e)
			continue
		}
		object := e.Type
		if e.Endpoint != "" {
			object += "_" + e.Endpoint
		}
		if first := e.Features[0]; e.Type == "switch" && !strings.HasPrefix(first.Property, "state") {
			object = first.Property
		}
		n := d.entity(b, Kind(e.Type), object)
		for _, f := range e.Features {
			if f.Access&2 != 0 {
				settable[f.Property] = append(settable[f.Property], f)
			}
			aspect, want, known := featureValue(e, f, d.state)
			if !known {
				if aspect == "" && f.Property != "" {
					generic(f)
				}
				continue
			}
			same(f.Property, n, aspect, want)
		}
	}
	s.tell(t, b, d, settable)
}

// plainValue is the value that a JSON value should become.
func plainValue(v any) Value {
	switch v := v.(type) {
	case float64:
		return NumberValue(v)
	case string:
		return TextValue(v)
	case bool:
		return TextValue(map[bool]string{true: "True", false: "False"}[v])
	}
	return Value{}
}

// featureValue says which aspect of a light, a climate and so on a feature is,
// "" if it is an entity of its own, and what it should be worth; known is
// false if the state does not have it.
func featureValue(e, f corpusExpose, state map[string]any) (aspect string, want Value, known bool) {
	fed, has := state[f.Property]
	number, _ := fed.(float64)
	known = has && f.Access&1 != 0
	switch e.Type + " " + f.Name {
	case "light state", "switch state", "fan state":
		return "on", BoolValue(reflect.DeepEqual(fed, f.ValueOn)), known
	case "light brightness":
		top := 254.0
		if f.Max != nil {
			top = *f.Max
		}
		p := math.Round(number / top * 100)
		if number > 0 {
			p = max(p, 1)
		}
		return "brightness", NumberValue(min(p, 100)), known
	case "light color_temp":
		return "color_temp", NumberValue(math.Round(1e6 / number)), known
	case "light color_xy", "light color_hs":
		return "color", Value{}, false
	case "lock state":
		return "state", TextValue(map[any]string{"LOCK": "locked", "UNLOCK": "unlocked"}[fed]), known
	case "cover state":
		return "state", TextValue(map[any]string{"OPEN": "open", "CLOSE": "closed", "STOP": "stopped"}[fed]), known
	case "cover position", "cover tilt":
		return f.Name, NumberValue(number), known
	case "fan mode":
		return "preset", plainValue(fed), known
	case "fan speed":
		return "speed", Value{}, false
	case "climate system_mode":
		return "mode", plainValue(fed), known
	case "climate preset", "climate fan_mode", "climate swing_mode":
		return f.Name, plainValue(fed), known
	case "climate local_temperature":
		return "current_temp", NumberValue(number), known
	case "climate running_state":
		word, _ := fed.(string)
		if w := map[string]string{"heat": "heating", "cool": "cooling", "fan_only": "fan"}[word]; w != "" {
			word = w
		}
		return "action", TextValue(word), known
	case "climate occupied_heating_setpoint", "climate current_heating_setpoint", "climate occupied_cooling_setpoint":
		heat, cool := "", ""
		for _, x := range e.Features {
			switch {
			case x.Name == "occupied_cooling_setpoint":
				cool = x.Name
			case heat == "" && (x.Name == "occupied_heating_setpoint" || x.Name == "current_heating_setpoint"):
				heat = x.Name
			}
		}
		aspect := "target"
		switch {
		case f.Name != heat && f.Name != cool:
			return "", Value{}, false // a climate has one; the other is a number
		case heat != "" && f.Name == cool:
			aspect = "target_high"
		case cool != "":
			aspect = "target_low"
		}
		return aspect, NumberValue(number), known
	}
	return "", Value{}, false
}

// tell uses each command of a device, with all its arguments: it must go to
// the device's topic and set properties to values that are declared. Each
// property that can be set must have been.
func (s *score) tell(t *testing.T, b *bench, d *corpusDevice, settable map[string][]corpusExpose) {
	missing := maps.Clone(settable)
	dev := b.model.devices[b.model.memory.deviceID("zigbee2mqtt_"+d.IEEE)]
	if dev == nil {
		s.commands += len(missing)
		s.complain(t, "%s: no device", d.IEEE)
		return
	}
	for _, n := range dev.nodes {
		for _, cmd := range n.spec.commands {
			s.commands++
			args := map[string]Value{}
			for _, arg := range cmd.Args {
				args[arg.Name] = sampleZigbee(arg)
			}
			if n.spec.kind == TextEntity && n.spec.aspects[0].Max == 0 && cmd.Name == "set" {
				args["value"] = TextValue("[1]")
			}
			turn := &mqtt.Turn{Number: 1, Now: b.now}
			err := b.model.Command(turn, n.id, cmd.Name, args)
			ok := err == nil && len(turn.Published()) == 1
			for _, out := range turn.Published() {
				var body map[string]any
				err = json.Unmarshal(out.Payload, &body)
				switch {
				case n.spec.kind == Update:
					ok = ok && out.Topic == d.base+"/bridge/request/device/ota_update/update" && body["id"] == d.IEEE
				case out.Topic != d.base+"/"+d.Name+"/set" || len(body) == 0:
					ok = false
				default:
					for key, v := range body {
						e, has := settable[key]
						if !has && key != "transition" && key != "flash" && key != "scene_recall" || has && !slices.ContainsFunc(e, func(e corpusExpose) bool { return e.allows(v) }) {
							ok = false
						}
						delete(missing, key)
					}
				}
			}
			if ok {
				s.sent++
			} else {
				s.complain(t, "%s %s %v: %v %v", n.id, cmd.Name, args, err, turn.Published())
			}
		}
	}
	for property := range missing {
		s.commands++
		s.complain(t, "%s: nothing sets %s", d.IEEE, property)
	}
}

// allows tells whether an expose declares a value.
func (e corpusExpose) allows(v any) bool {
	switch e.Type {
	case "numeric":
		f, ok := v.(float64)
		return ok && (e.Min == nil || f >= *e.Min-0.5) && (e.Max == nil || f <= *e.Max+0.5)
	case "enum":
		return slices.Contains(e.Values, v)
	case "binary":
		return reflect.DeepEqual(v, e.ValueOn) || reflect.DeepEqual(v, e.ValueOff)
	}
	return true
}

func sampleZigbee(a Aspect) Value {
	if a.Unit == jsonUnit {
		return TextValue(`[1]`)
	}
	switch {
	case a.Type == Number && !a.Bounded():
		return NumberValue(1)
	case a.Name == "brightness" || a.Name == "speed": // 0 is off
		return NumberValue(a.Max)
	}
	return sample(a)
}

// BenchmarkZigbeeList is a gateway with up to 1,000 devices: all of it, and
// how long the slices take that are decided under the lock.
func BenchmarkZigbeeList(b *testing.B) {
	all := readZigbee(b)
	all = all[:min(len(all), 1000)]
	var slicesTook []time.Duration
	entities := 0
	for b.Loop() {
		h := newBench(b)
		h.quiet = true
		for topic, payload := range deviceLists(all) {
			msg := &mqtt.Message{Topic: topic, Payload: []byte(payload), Retain: true}
			prepared := h.model.Prepare(topic, msg.Payload)
			slice := func(fn func(t *mqtt.Turn)) {
				h.number++
				start := time.Now()
				fn(&mqtt.Turn{Number: h.number, Now: h.now})
				slicesTook = append(slicesTook, time.Since(start))
			}
			slice(func(t *mqtt.Turn) { h.model.Accept(t, msg, prepared) })
			for len(h.model.jobs) > 0 {
				slice(h.model.Wake)
			}
		}
		entities = len(h.model.nodes)
	}
	b.ReportMetric(float64(entities), "entities/op")
	slices.Sort(slicesTook)
	b.ReportMetric(float64(slicesTook[len(slicesTook)/2].Microseconds())/1000, "ms/slice")
	b.ReportMetric(float64(slicesTook[len(slicesTook)*99/100].Microseconds())/1000, "ms/slice-p99")
}
