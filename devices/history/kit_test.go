package history

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A kit is a house of a model and its history on a simulated clock, with a
// store that is a map.
type kit struct {
	t       testing.TB
	model   *devices.Model
	history *History
	options Options

	now     mqtt.Now
	number  uint64
	records map[string][]byte
	order   []string // keys in order, or nil
	wake    map[mqtt.Consumer]time.Duration
	bytes   int       // written
	pending []pending // lazy writes that are not on disk yet
	turns   func()    // called after each
}

var begin = time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC) // a Monday

func newKit(t testing.TB) *kit {
	k := &kit{t: t, records: map[string][]byte{}, now: mqtt.Now{Wall: begin, Trusted: true, Run: time.Second}, number: 1}
	k.options = Options{Location: time.UTC}
	k.start()
	return k
}

// start makes model and history from the records.
func (k *kit) start() {
	m, err := devices.New(devices.Options{Scan: k.scan})
	if err != nil {
		k.t.Fatal(err)
	}
	k.options.Scan, k.options.House = k.scan, m.House
	h, err := New(k.options)
	if err != nil {
		k.t.Fatal(err)
	}
	m.Watch(h)
	k.model, k.history, k.wake = m, h, map[mqtt.Consumer]time.Duration{}
	k.turn(h.Wake)
}

// reboot is a cut and a start after some time: what was not written is lost.
func (k *kit) reboot(off time.Duration) {
	k.now.Wall = k.now.Wall.Add(off)
	k.now.Run = time.Second
	k.number += 1000
	k.pending = nil
	k.start()
}

// stop is a clean stop.
func (k *kit) stop() {
	k.turn(k.model.Flush)
	k.turn(k.history.Flush)
	for _, p := range k.pending {
		k.write(p.key, p.value)
	}
	k.pending = nil
}

func (k *kit) scan(prefix, from []byte, fn func(key, value []byte) bool) error {
	if k.order == nil {
		k.order = slices.Sorted(maps.Keys(k.records))
	}
	start := max(string(prefix), string(from))
	i, _ := slices.BinarySearch(k.order, start)
	for _, key := range k.order[i:] {
		if !strings.HasPrefix(key, string(prefix)) || !fn([]byte(key), k.records[key]) {
			break
		}
	}
	return nil
}

func (k *kit) turn(fn func(t *mqtt.Turn)) {
	k.number++
	t := &mqtt.Turn{Number: k.number, Now: k.now}
	fn(t)
	if t.Rewired() {
		k.wake[k.model] = -1
	}
	for _, w := range t.Writes() {
		k.pending = slices.DeleteFunc(k.pending, func(p pending) bool { return p.key == string(w.Key) })
		k.write(string(w.Key), w.Value)
	}
	for _, w := range t.Lazies() {
		k.pending = append(k.pending, pending{k.now.Run, string(w.Key), w.Value})
	}
	for len(k.pending) > 0 && k.pending[0].at+lazyPeriod <= k.now.Run {
		k.write(k.pending[0].key, k.pending[0].value)
		k.pending = k.pending[1:]
	}
	durable, _ := t.Deferred()
	for _, fn := range durable {
		fn()
	}
	for _, c := range []mqtt.Consumer{k.model, k.history} {
		if at, ok := t.NextWake(c); ok {
			k.wake[c] = at
		}
	}
	if k.turns != nil {
		k.turns()
	}
}

// lazyPeriod is how long the store keeps lazy writes waiting.
const lazyPeriod = 5 * time.Second

type pending struct {
	at    time.Duration
	key   string
	value []byte
}

func (k *kit) write(key string, value []byte) {
	k.order = nil
	if value == nil {
		delete(k.records, key)
	} else {
		k.records[key] = value
	}
	if key[0] == 'h' {
		k.bytes += len(key) + len(value)
	}
}

// do is a Do.
func (k *kit) do(fn func(t *mqtt.Turn) error) error {
	var err error
	k.turn(func(t *mqtt.Turn) { err = fn(t) })
	return err
}

// say is a message of a device.
func (k *kit) say(topic, payload string, retained ...bool) {
	m := &mqtt.Message{Topic: topic, Payload: []byte(payload), Retained: len(retained) > 0}
	prepared := k.model.Prepare(topic, m.Payload)
	k.turn(func(t *mqtt.Turn) { k.model.Accept(t, m, prepared) })
}

// pass lets time pass; what is due happens.
func (k *kit) pass(d time.Duration) {
	end := k.now.Run + d
	for {
		var next mqtt.Consumer
		for _, c := range []mqtt.Consumer{k.model, k.history} {
			if at, ok := k.wake[c]; ok && at >= 0 && at <= end && (next == nil || at < k.wake[next]) {
				next = c
			}
		}
		if next == nil {
			break
		}
		k.advance(max(k.wake[next]-k.now.Run, 0))
		delete(k.wake, next)
		k.turn(next.Wake)
	}
	k.advance(end - k.now.Run)
}

func (k *kit) advance(d time.Duration) {
	k.now.Run += d
	k.now.Wall = k.now.Wall.Add(d)
}

// until lets time pass up to a time of day.
func (k *kit) until(at time.Time) { k.pass(at.Sub(k.now.Wall)) }

// sensor announces a sensor on the topic of its name.
func (k *kit) sensor(name, more string) {
	k.announce("sensor", name, more)
}

func (k *kit) announce(component, name, more string) {
	k.say("homeassistant/"+component+"/"+name+"/config",
		fmt.Sprintf(`{"uniq_id":%q,"obj_id":%q,"name":%q,"stat_t":%q%s}`, name, name, name, name, more))
}

const thermometer = `,"dev_cla":"temperature","unit_of_meas":"°C"`

func (k *kit) slots(kind byte, entity, aspect string, from, to time.Time) []Slot {
	k.t.Helper()
	list, err := k.history.slots(kind, entity, aspect, from, to, k.now.Wall)
	if err != nil {
		k.t.Fatal(err)
	}
	return list
}

// points prints the points of a range: "10:00 21.5".
func (k *kit) points(entity, aspect string, from, to time.Time) string {
	k.t.Helper()
	info, ok := k.history.Series(entity, aspect)
	if !ok {
		return "no series"
	}
	var list []string
	err := k.history.Points(entity, aspect, from, to, k.now.Wall, func(p Point) error {
		text := info.text(p)
		if p.Gap {
			text = "-"
		}
		list = append(list, time.UnixMilli(p.At).In(k.history.location).Format("15:04:05")+" "+text)
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	return strings.Join(list, ", ")
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-9*max(1, math.Abs(a), math.Abs(b)) }
