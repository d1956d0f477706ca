package history

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"lar.home/mqtt"
)

func (k *kit) prune() {
	k.t.Helper()
	err := k.history.Prune(context.Background(), func(_ context.Context, fn func(*mqtt.Turn) error) error { return k.do(fn) })
	if err != nil {
		k.t.Fatal(err)
	}
}

// count tells how many records of a kind there are.
func (k *kit) count(kind byte) int {
	n := 0
	for key := range k.records {
		if strings.HasPrefix(key, string([]byte{'h', kind})) {
			n++
		}
	}
	return n
}

// TestForget: forgetting a device drops its history, once it cannot be taken
// back any more.
func TestForget(t *testing.T) {
	k := newKit(t)
	device := `,"dev":{"ids":["x"],"name":"X"}`
	k.sensor("t", thermometer+device)
	k.sensor("other", thermometer)
	for range 30 {
		k.say("t", fmt.Sprint(20+k.number%7))
		k.say("other", fmt.Sprint(20+k.number%5))
		k.pass(time.Hour)
	}
	d := k.model.House().Entity("sensor.t").Device.ID
	blocks := k.count(recBlock)
	k.turn(func(t *mqtt.Turn) {
		if err := k.model.Forget(t, d); err != nil {
			k.t.Fatal(err)
		}
	})
	k.pass(10 * time.Second)
	k.turn(func(t *mqtt.Turn) {
		if err := k.model.Undo(t, d); err != nil {
			k.t.Fatal(err)
		}
	})
	k.pass(time.Minute)
	k.prune()
	if _, ok := k.history.Series("sensor.t", "value"); !ok || k.count(recBlock) < blocks {
		t.Fatal("history of a device that was taken back is gone")
	}
	k.turn(func(t *mqtt.Turn) {
		if err := k.model.Forget(t, d); err != nil {
			k.t.Fatal(err)
		}
	})
	k.pass(time.Minute)
	if _, ok := k.history.Series("sensor.t", "value"); ok {
		t.Error("a forgotten device has a history")
	}
	k.reboot(time.Minute) // before anything was swept
	if _, ok := k.history.Series("sensor.t", "value"); ok {
		t.Error("a forgotten device has a history after a start")
	}
	k.pass(time.Minute)
	k.prune()
	if got := k.count(recBlock); got > blocks/2+1 {
		t.Errorf("%d of %d blocks are left after one of two was forgotten", got, blocks)
	}
	if n := k.count(recSeries); n != 1 || k.count(recRunning) != 1 {
		t.Errorf("%d series are left, want 1", n)
	}
	if got := k.points("sensor.other", "value", begin, begin.Add(2*time.Hour)); !strings.HasPrefix(got, "10:00:00 2") {
		t.Errorf("the other's history is %q", got)
	}
}

// TestPrune: single points go after their time, roll-ups stay, and when the
// budget is exceeded the oldest goes.
func TestPrune(t *testing.T) {
	k := newKit(t)
	k.options.Raw = 3 * 24 * time.Hour
	k.start()
	k.sensor("t", thermometer)
	for i := range 30 * 24 {
		k.say("t", fmt.Sprint(15+i%7))
		k.pass(20 * time.Minute)
		k.say("t", fmt.Sprint(25+i%5))
		k.pass(40 * time.Minute)
	}
	before, err := k.history.Chart("sensor.t", "value", begin, k.now.Wall, 30, k.now.Wall)
	if err != nil {
		t.Fatal(err)
	}
	k.prune()
	if n := k.count(recBlock); n < 3*24 || n > 3*24+2 {
		t.Errorf("%d blocks are left, want those of 3 days", n)
	}
	after, err := k.history.Chart("sensor.t", "value", begin, k.now.Wall, 30, k.now.Wall)
	if err != nil {
		t.Fatal(err)
	}
	for i := range before {
		if b, a := before[i], after[i]; b.Min != a.Min || b.Max != a.Max || !near(b.Mean, a.Mean) || b.Covered != a.Covered {
			t.Errorf("slot %d was %+v and is %+v", i, b, a)
		}
	}
	all := 0
	for key, value := range k.records {
		if key[0] == 'h' && (key[1] == recBlock || key[1] == recHours || key[1] == recDay) {
			all += len(key) + len(value) + recordOverhead
		}
	}
	k.history.budget = int64(all / 2)
	k.prune()
	left := 0
	for key, value := range k.records {
		if key[0] == 'h' && (key[1] == recBlock || key[1] == recHours || key[1] == recDay) {
			left += len(key) + len(value) + recordOverhead
		}
	}
	if left > all/2 || left < all/4 {
		t.Errorf("%d bytes are left of %d, the budget is %d", left, all, all/2)
	}
	days, err := k.history.Days("sensor.t", "value", begin, k.now.Wall, k.now.Wall)
	if err != nil {
		t.Fatal(err)
	}
	if n := len(days); n == 0 || n > 29 || days[0].From.Before(begin.AddDate(0, 0, 2)) {
		t.Errorf("%d days are left, from %v", n, days[0].From)
	}
	if days[len(days)-1].To.Before(k.now.Wall) {
		t.Errorf("the last day is %v", days[len(days)-1].From)
	}
}

// TestChatter: who chatters keeps the shape of what it said, and takes nothing
// from others.
func TestChatter(t *testing.T) {
	k := newKit(t)
	device := `,"dev":{"ids":["x"],"name":"X"},"unit_of_meas":"x"`
	for i := range 8 {
		k.sensor(fmt.Sprintf("c%d", i), device)
	}
	k.sensor("quiet", `,"unit_of_meas":"x"`)
	for i := range 3000 { // 50 minutes
		for c := range 8 {
			k.say(fmt.Sprintf("c%d", c), fmt.Sprint((i*7919+c)%1000))
		}
		if i == 1234 {
			k.say("c0", "-77")
			k.say("c0", "5000")
		}
		if i%60 == 0 {
			k.say("quiet", fmt.Sprint(i))
		}
		k.pass(time.Second)
	}
	k.pass(2 * time.Minute)
	last, points := "", map[string]int{}
	for _, name := range []string{"c0", "c7", "quiet"} {
		err := k.history.Points("sensor."+name, "value", begin, k.now.Wall, k.now.Wall, func(p Point) error {
			points[name]++
			last = fmt.Sprint(p.Num)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprint((2999*7919 + int(name[1]-'0')) % 1000)
		if name != "quiet" && last != want {
			t.Errorf("the last point of %s is %s, want %s", name, last, want)
		}
		if points[name] > maxPoints+1 {
			t.Errorf("%s has %d points in an hour, want %d at most", name, points[name], maxPoints)
		}
	}
	if points["quiet"] != 50 {
		t.Errorf("the other has %d points, want 50: %v", points["quiet"], points)
	}
	sizes := 0
	for key, value := range k.records {
		if strings.HasPrefix(key, "hj") {
			sizes += len(value)
		}
	}
	if most := maxDevicePoints * 20; sizes > most {
		t.Errorf("the journal has %d bytes, want %d at most", sizes, most)
	}
	k.pass(2 * time.Hour)
	hours := k.slots(recHours, "sensor.c0", "value", begin, begin.Add(time.Hour))
	if len(hours) != 1 || hours[0].Max < 990 {
		t.Errorf("hours are %+v", hours)
	}
}

// TestBounds: what is too many has no history and does no harm.
func TestBounds(t *testing.T) {
	k := newKit(t)
	for i := range MaxDeviceSeries + 10 {
		name := fmt.Sprintf("s%d", i)
		k.sensor(name, `,"dev":{"ids":["x"],"name":"X"},"unit_of_meas":"x"`)
		k.say(name, "1")
	}
	k.sensor("other", thermometer)
	k.say("other", "1")
	if n := len(k.history.list); n != MaxDeviceSeries+1 {
		t.Errorf("there are %d series, want %d", n, MaxDeviceSeries+1)
	}
	if got := k.points("sensor.other", "value", begin, k.now.Wall.Add(time.Hour)); got != "10:00:00 1" {
		t.Errorf("another device has %q", got)
	}
	k.sensor("word", `,"dev_cla":"enum","options":["a"]`)
	k.say("word", strings.Repeat("é", 5000))
	if got := k.points("sensor.word", "value", begin, k.now.Wall.Add(time.Hour)); len(got) > maxText+20 {
		t.Errorf("a word of 10 kB is kept as %d bytes", len(got))
	}
}

// TestLow: with little space left nothing is kept, and there is a gap.
func TestLow(t *testing.T) {
	k := newKit(t)
	low := false
	k.options.Low = func() bool { return low }
	k.start()
	k.sensor("t", thermometer)
	k.say("t", "1")
	k.pass(20 * time.Minute)
	low = true
	k.pass(10 * time.Minute)
	k.say("t", "2")
	size := k.bytes
	for i := range 50 {
		k.say("t", fmt.Sprint(i))
		k.pass(10 * time.Second)
	}
	if more := k.bytes - size; more > 100 {
		t.Errorf("%d bytes were written with little space left", more)
	}
	low = false
	k.pass(10 * time.Minute)
	got := k.points("sensor.t", "value", begin, k.now.Wall)
	if !strings.HasPrefix(got, "10:00:00 1, 10:2") || !strings.HasSuffix(got, " 49") || strings.Count(got, ",") != 2 {
		t.Errorf("points are %q, want a gap in between", got)
	}
}
