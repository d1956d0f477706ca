package history

import (
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// A step is a value that a device says, or its silence, after a time.
type step struct {
	after time.Duration
	value float64 // NaN: it cannot be reached
}

// plan is some days of one series with everything that happens to one.
func plan(seed uint64) []step {
	r := rand.New(rand.NewPCG(seed, 1))
	var list []step
	for at := time.Duration(0); at < 60*time.Hour; {
		s := step{time.Duration(r.IntN(5400))*time.Second + time.Duration(r.IntN(10))*100*time.Millisecond, float64(r.IntN(4000)) / 100}
		switch r.IntN(12) {
		case 0:
			s.value = math.NaN()
		case 1:
			s.after += time.Duration(r.IntN(30)) * time.Hour
		}
		list = append(list, s)
		at += s.after
	}
	return list
}

func (k *kit) play(s step) {
	k.pass(s.after)
	if math.IsNaN(s.value) {
		k.say("online", "offline")
		return
	}
	k.say("online", "online")
	k.say("t", fmt.Sprint(s.value))
}

func (k *kit) furnish() {
	k.sensor("t", `,"unit_of_meas":"x","stat_cla":"total_increasing","avty_t":"online"`)
	k.say("online", "online")
}

// TestRollups: the roll-ups of hours and days are what the points themselves
// add up to.
func TestRollups(t *testing.T) {
	for seed := range uint64(20) {
		k := newKit(t)
		zone, err := time.LoadLocation([]string{"UTC", "Europe/Berlin", "Asia/Kathmandu", "Australia/Lord_Howe"}[seed%4])
		if err != nil {
			t.Fatal(err)
		}
		k.now.Wall = time.Date(2026, 3, 27, 3, 10, 0, 0, time.UTC).AddDate(0, 0, int(seed%10)) // clocks change on the 29th, and on 5 April
		k.options.Location = zone
		k.records, k.order = map[string][]byte{}, nil
		k.start()
		from := k.now.Wall.Truncate(24 * time.Hour).Add(-24 * time.Hour)
		k.furnish()
		for _, s := range plan(seed) {
			k.play(s)
		}
		k.pass(time.Duration(seed) * 7 * time.Minute)
		k.compare(from, k.now.Wall)
		k.pass(50 * time.Hour)
		k.compare(from, k.now.Wall)
	}
}

// compare compares all roll-ups with the points.
func (k *kit) compare(from, to time.Time) {
	k.t.Helper()
	k.pass(time.Second) // so that the last point has stood for a while
	to = to.Add(time.Second)
	var points []Point
	err := k.history.Points("sensor.t", "value", from, to.Add(time.Hour), to, func(p Point) error {
		points = append(points, p)
		return nil
	})
	if err != nil {
		k.t.Fatal(err)
	}
	for _, kind := range []byte{recHours, recDay} {
		known := time.Duration(0)
		increase := 0.0
		for _, s := range k.slots(kind, "sensor.t", "value", from, to.Add(48*time.Hour)) {
			end := s.To
			if end.After(to) {
				end = to
			}
			want := direct(points, s.From.UnixMilli(), end.UnixMilli())
			got := s.Rollup
			if got.Covered != want.Covered || got.Known && (!near(got.Mean, want.Mean) || got.Min != want.Min || got.Max != want.Max || got.Last != want.Last) {
				k.t.Errorf("%c %v to %v is\n%+v, want\n%+v", kind, s.From, s.To, got, want)
			}
			known += got.Covered
			increase += got.Increase
		}
		want := direct(points, from.UnixMilli(), to.UnixMilli())
		if known != want.Covered {
			k.t.Errorf("%c: known for %v, want %v", kind, known, want.Covered)
		}
		if sum := sumOf(points); !near(increase, sum) {
			k.t.Errorf("%c: increase is %v, want %v", kind, increase, sum)
		}
	}
}

// sumOf is the increase of a counter over resets.
func sumOf(points []Point) float64 {
	sum, last, counted := 0.0, 0.0, false
	for _, p := range points {
		if p.Gap {
			continue
		}
		switch {
		case !counted:
		case p.Num < 0.9*last:
			sum += p.Num
		default:
			sum += p.Num - last
		}
		last, counted = p.Num, true
	}
	return sum
}

// direct rolls points up the plain way.
func direct(points []Point, from, to int64) (r Rollup) {
	sum := 0.0
	see := func(v float64) {
		if !r.Known {
			r.Min, r.Max, r.Known = v, v, true
		}
		r.Min, r.Max, r.Last = min(r.Min, v), max(r.Max, v), v
	}
	for i, p := range points {
		end := to
		if i+1 < len(points) {
			end = min(end, points[i+1].At)
		}
		if p.Gap || end < from || p.At >= to || end == from && p.At < from {
			continue
		}
		if held := end - max(p.At, from); held > 0 {
			see(p.Num)
			r.Covered += time.Duration(held) * time.Millisecond
			sum += p.Num * float64(held)
		} else if p.At >= from {
			see(p.Num)
		}
	}
	if r.Covered > 0 {
		r.Mean = sum / float64(r.Covered.Milliseconds())
	}
	return r
}

// TestCut cuts the power after every turn that wrote, and goes on: nothing is
// there twice, and what was there before the last moments is there still.
func TestCut(t *testing.T) {
	steps := plan(3)[:24]
	type moment struct {
		records map[string][]byte
		now     time.Time
		step    int
	}
	var moments []moment
	k := newKit(t)
	at := 0
	k.furnish()
	k.turns = func() {
		moments = append(moments, moment{maps.Clone(k.records), k.now.Wall, at})
	}
	for i, s := range steps {
		at = i
		k.play(s)
	}
	k.turns = nil
	k.pass(time.Minute)
	stride := max(1, len(moments)/250)
	for i := 0; i < len(moments); i += stride {
		m := moments[i]
		c := newKit(t)
		c.records, c.order, c.number = m.records, nil, k.number
		c.now.Wall = m.now
		c.reboot(10 * time.Minute)
		c.furnish()
		for _, s := range steps[m.step+1:] {
			c.play(s)
		}
		c.pass(time.Minute)
		// Whatever is left agrees with itself: no hour or day has more in it
		// than its points.
		c.compare(begin.Add(-12*time.Hour), c.now.Wall)
		// And of what was there longer than Lag before the cut, nothing is lost;
		// the gap begins when the hub was last known to run.
		whole, cut := k.points("sensor.t", "value", begin, m.now.Add(-Lag)), c.points("sensor.t", "value", begin, m.now.Add(-Lag))
		early := k.points("sensor.t", "value", begin, m.now.Add(-aliveEvery-Lag))
		if !strings.HasPrefix(cut, whole) || c.points("sensor.t", "value", begin, m.now.Add(-aliveEvery-Lag)) != early {
			t.Errorf("cut after turn %d at %v: there is\n%q, want\n%q", i, m.now, cut, whole)
		}
		if t.Failed() {
			break
		}
	}
	t.Logf("%d turns, cut after each %d. of them", len(moments), stride)
}

// TestCutWhileSealing cuts the power between the slices in which the blocks of
// many series are written: what was rolled up is not rolled up again.
func TestCutWhileSealing(t *testing.T) {
	const n = 250
	k := newKit(t)
	for i := range n {
		k.sensor(fmt.Sprintf("s%d", i), `,"unit_of_meas":"x","stat_cla":"total_increasing"`)
	}
	for round := range 5 {
		for i := range n {
			k.say(fmt.Sprintf("s%d", i), fmt.Sprint(100+round*(i+1)))
		}
		k.pass(10 * time.Minute)
	}
	k.until(begin.Add(time.Hour - time.Second))
	type moment struct {
		records map[string][]byte
		now     time.Time
	}
	var moments []moment
	k.turns = func() { moments = append(moments, moment{maps.Clone(k.records), k.now.Wall}) }
	k.pass(time.Minute)
	k.turns = nil
	between := 0
	for _, m := range moments {
		c := newKit(t)
		c.records, c.order, c.number, c.now.Wall = m.records, nil, k.number, m.now
		if blocks := c.count(recBlock); blocks > 0 && blocks < n {
			between++
		}
		c.reboot(time.Minute)
		c.pass(2 * time.Hour)
		for i := range n {
			s := c.slots(recHours, fmt.Sprintf("sensor.s%d", i), "value", begin, begin.Add(time.Hour))
			if len(s) != 1 || s[0].Increase != float64(4*(i+1)) || s[0].Covered > time.Hour || s[0].Covered < time.Hour-Lag {
				t.Fatalf("cut at %v: the hour of %d is %+v, want an increase of %d", m.now, i, s, 4*(i+1))
			}
		}
	}
	if between == 0 {
		t.Errorf("none of %d cuts was between two slices", len(moments))
	}
}
