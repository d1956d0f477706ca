package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strconv"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/devices/history"
	"lar.home/hub/store"
	"lar.home/mqtt"
)

// A past is a model and its history on a simulated clock, with a real store.
type past struct {
	t       testing.TB
	store   *store.Store
	model   *devices.Model
	history *history.History
	now     mqtt.Now
	number  uint64
	wakes   map[mqtt.Consumer]time.Duration
	lazies  map[string][]byte // since at
	at      time.Duration
	writes  []mqtt.Write
	commits int
}

func newPast(t testing.TB, wall time.Time) *past {
	p := &past{t: t, wakes: map[mqtt.Consumer]time.Duration{}, lazies: map[string][]byte{},
		now: mqtt.Now{Wall: wall, Trusted: true, Run: time.Second}}
	var err error
	if p.store, err = store.Open(store.Options{Dir: t.TempDir(), Space: store.Space{Ballast: -1}}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close(context.Background()) })
	if p.model, err = devices.New(devices.Options{Scan: p.store.Scan}); err != nil {
		t.Fatal(err)
	}
	if p.history, err = history.New(history.Options{Scan: p.store.Scan, House: p.model.House, Location: time.UTC, Raw: 31 * 24 * time.Hour}); err != nil {
		t.Fatal(err)
	}
	p.model.Watch(p.history)
	p.turn(p.history.Wake)
	return p
}

func (p *past) turn(fn func(t *mqtt.Turn)) {
	p.number++
	t := &mqtt.Turn{Number: p.number, Now: p.now}
	fn(t)
	for _, w := range t.Lazies() {
		if len(p.lazies) == 0 {
			p.at = p.now.Run
		}
		p.lazies[string(w.Key)] = w.Value
	}
	p.writes = append(p.writes, t.Writes()...)
	durable, _ := t.Deferred()
	for _, fn := range durable {
		fn()
	}
	for _, c := range []mqtt.Consumer{p.model, p.history} {
		if at, ok := t.NextWake(c); ok {
			p.wakes[c] = at
		}
	}
	// The store has lazy writes wait for 5 s, and commits what is durable at once.
	if len(p.writes) > 0 || len(p.lazies) > 0 && p.now.Run >= p.at+5*time.Second {
		p.commit()
	}
}

// commit brings what waits to the disk, as the store would in this moment.
func (p *past) commit() {
	if p.now.Run >= p.at+5*time.Second {
		for key, value := range p.lazies {
			p.writes = append(p.writes, mqtt.Write{Key: []byte(key), Value: value})
		}
		clear(p.lazies)
	}
	done := make(chan struct{})
	number := p.number
	p.store.Durable(func(n uint64) {
		if n == number {
			close(done)
		}
	})
	p.store.Submit(number, p.writes, true)
	select {
	case <-done:
	case <-time.After(time.Minute):
		p.t.Fatal("no commit in a minute")
	}
	p.writes = nil
	p.commits++
}

func (p *past) say(topic, payload string) {
	m := &mqtt.Message{Topic: topic, Payload: []byte(payload)}
	prepared := p.model.Prepare(topic, m.Payload)
	p.turn(func(t *mqtt.Turn) { p.model.Accept(t, m, prepared) })
}

func (p *past) pass(d time.Duration) {
	end := p.now.Run + d
	for {
		var next mqtt.Consumer
		for _, c := range []mqtt.Consumer{p.model, p.history} {
			if at, ok := p.wakes[c]; ok && at >= 0 && at <= end && (next == nil || at < p.wakes[next]) {
				next = c
			}
		}
		if next == nil {
			break
		}
		p.advance(max(p.wakes[next]-p.now.Run, 0))
		delete(p.wakes, next)
		p.turn(next.Wake)
	}
	p.advance(end - p.now.Run)
}

func (p *past) advance(d time.Duration) {
	p.now.Run += d
	p.now.Wall = p.now.Wall.Add(d)
}

// furnish announces devices of one sensor each.
func (p *past) furnish(n int) {
	for i := range n {
		id := "s" + strconv.Itoa(i)
		config, err := json.Marshal(map[string]any{"uniq_id": id, "obj_id": id, "name": id, "stat_t": id,
			"dev": map[string]any{"ids": []string{id}, "name": id}, "dev_cla": "temperature", "unit_of_meas": "°C"})
		if err != nil {
			p.t.Fatal(err)
		}
		p.say("homeassistant/sensor/"+id+"/config", string(config))
	}
}

// TestHistoryWear holds that 200 devices which change once a minute write less
// than 50 MB a day: history, last values and what is learned of devices, in
// all. The day is simulated, the store is real: each commit that a day would
// have is one, with its sync. What it costs is what the kernel counts as
// written by this process, taken after a first hour in which everything is
// new. LAR_HOURS is for how many hours to measure.
func TestHistoryWear(t *testing.T) {
	hours := 1
	if s := os.Getenv("LAR_HOURS"); s != "" {
		var err error
		if hours, err = strconv.Atoi(s); err != nil {
			t.Fatal(err)
		}
	}
	const devices = 200
	p := newPast(t, time.Date(2026, 3, 2, 10, 0, 0, 0, time.UTC))
	p.furnish(devices)
	hour := func() {
		for minute := range 60 {
			for i := range devices {
				p.say("s"+strconv.Itoa(i), strconv.FormatFloat(20+float64((minute*7+i)%37)/10, 'f', -1, 64))
				p.pass(time.Minute / devices)
			}
		}
	}
	hour()
	before, commits := p.store.Stats(), p.commits
	for range hours {
		hour()
	}
	after := p.store.Stats()
	perDay := func(n uint64) float64 { return float64(n) * 24 / float64(hours) / 1e6 }
	disk, handed := perDay(after.Disk-before.Disk), perDay(after.Bytes-before.Bytes)
	t.Logf("%d devices, a change a minute each: %.1f MB a day on the disk, %.1f MB in %.0f records, %d commits",
		devices, disk, handed, float64((after.Writes-before.Writes)*24)/float64(hours), (p.commits-commits)*24/hours)
	if disk > 50 {
		t.Errorf("%.1f MB are written a day, want less than 50", disk)
	}
	// Where the kernel does not count: a commit is two pages and what it holds.
	if bound := handed + float64((p.commits-commits)*24/hours)*8192/1e6; bound > 50 {
		t.Errorf("%.1f MB a day are handed to the disk, want less than 50", bound)
	}
}

// month is 30 days of a sensor that changes once a minute.
func month(b testing.TB) *past {
	p := newPast(b, time.Date(2026, 3, 2, 0, 0, 0, 0, time.UTC))
	p.furnish(1)
	for i := range 30 * 24 * 60 {
		p.say("s0", strconv.FormatFloat(20+float64((i*7)%37)/10, 'f', -1, 64))
		p.pass(time.Minute)
	}
	return p
}

// BenchmarkHistory is a chart of a month of single points, one a minute, from
// a real store, as wide as a page.
func BenchmarkHistory(b *testing.B) {
	p := month(b)
	from := p.now.Wall.Add(-30 * 24 * time.Hour)
	for _, width := range []int{720, 2000} { // stretches of an hour, and of 20 min
		b.Run(fmt.Sprint(width), func(b *testing.B) {
			for b.Loop() {
				slots, err := p.history.Chart("sensor.s0", "value", from, p.now.Wall, width, p.now.Wall)
				if err != nil || len(slots) != width || !slots[width/2].Known {
					b.Fatalf("%d slots, %v", len(slots), err)
				}
			}
		})
	}
}
