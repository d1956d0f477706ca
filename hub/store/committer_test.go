package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"lar.home/mqtt"
)

// A fakeDisk is a backend in memory: it takes as long as it is told to, or
// for ever, and may fail.
type fakeDisk struct {
	mu     sync.Mutex
	takes  time.Duration
	fail   error
	hang   chan struct{}           // if not nil, answers come after it is closed
	groups []group                 // applied, in order
	failed []group                 // refused, in order
	state  map[string]string       // after groups
	after  func(map[string]string) // called after each group
}

func (d *fakeDisk) Apply(g group, done func(error)) {
	d.mu.Lock()
	hang, takes := d.hang, d.takes
	d.mu.Unlock()
	if hang != nil {
		<-hang
	}
	time.Sleep(takes)
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail != nil {
		d.failed = append(d.failed, g)
		done(d.fail)
		return
	}
	d.groups = append(d.groups, g)
	if d.state == nil {
		d.state = map[string]string{}
	}
	for _, w := range g.writes {
		if w.Value == nil {
			delete(d.state, string(w.Key))
		} else {
			d.state[string(w.Key)] = string(w.Value)
		}
	}
	if d.after != nil {
		d.after(d.state)
	}
	done(nil)
}

// now changes how the disk behaves.
func (d *fakeDisk) now(change func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change()
}

// done returns the groups applied so far and what the disk shows.
func (d *fakeDisk) done() ([]group, map[string]string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Clone(d.groups), maps.Clone(d.state)
}

// pass lets time pass and what is due happen.
func pass(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// shows returns the value of a key on disk.
func (d *fakeDisk) shows(key string) string {
	_, state := d.done()
	return state[key]
}

// text shows what was applied.
func (d *fakeDisk) text() string {
	groups, _ := d.done()
	return text(groups)
}

// text shows groups as "1: a=1 b=2; 2: c".
func text(groups []group) string {
	var b strings.Builder
	for i, g := range groups {
		if i > 0 {
			b.WriteString("; ")
		}
		fmt.Fprintf(&b, "%d:", g.number)
		for _, w := range g.writes {
			fmt.Fprintf(&b, " %s", w.Key)
			if w.Value != nil {
				fmt.Fprintf(&b, "=%s", w.Value)
			}
		}
	}
	return b.String()
}

// bubble runs a test on a committer over a fake disk.
func bubble(t *testing.T, fn func(t *testing.T, c *committer, d *fakeDisk)) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{takes: 10 * time.Millisecond}
		c := newCommitter(d, slog.New(slog.DiscardHandler))
		fn(t, c, d)
		c.close(t.Context())
	})
}

func (c *committer) give(number uint64, soon bool, writes ...mqtt.Write) {
	c.submit(turn{number: number, writes: writes, soon: soon})
}

func TestGroupsGatherDuringACommit(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		start := time.Now()
		var told []string
		c.durableFn = func(n uint64) { told = append(told, fmt.Sprint(n, " at ", time.Since(start))) }
		c.give(1, true, set("a", "1"))
		synctest.Wait() // the first commit is under way
		c.give(2, true, set("b", "2"))
		c.give(4, false, set("a", "4"))
		c.give(5, true, del("b"))
		pass(time.Second)
		if got, want := d.text(), "1: a=1; 2: b=2 a=4 b"; got != want {
			t.Errorf("groups %q, want %q", got, want)
		}
		if want := []string{"1 at 10ms", "5 at 20ms"}; !slices.Equal(told, want) {
			t.Errorf("told %q, want %q", told, want)
		}
	})
}

// TestToldMeanwhile: who waits for a group is told while the next is committed,
// and in order.
func TestToldMeanwhile(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		began := time.Now()
		var told []string
		c.durableFn = func(n uint64) { told = append(told, fmt.Sprint(n, " ", time.Since(began))) }
		c.give(1, true, set("a", "1"))
		pass(time.Millisecond)
		c.give(2, true, set("b", "1"))
		pass(12 * time.Millisecond) // the second is being committed
		c.give(3, true, set("c", "1"))
		pass(30 * time.Millisecond)
		if got, want := strings.Join(told, ", "), "1 10ms, 2 20ms, 3 30ms"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
		told = nil
		began = time.Now()
		tell := c.durableFn
		c.durableFn = func(n uint64) { // somebody is slow to be told
			time.Sleep(25 * time.Millisecond)
			tell(n)
		}
		c.give(4, true, set("d", "1"))
		pass(time.Millisecond)
		c.give(5, true, set("e", "1"))
		pass(12 * time.Millisecond)
		c.give(6, true, set("f", "1"))
		pass(18 * time.Millisecond)
		if got, want := d.text(), "1: a=1; 2: b=1; 3: c=1; 4: d=1; 5: e=1; 6: f=1"; got != want {
			t.Errorf("committed %q, want %q", got, want)
		}
		pass(time.Second)
		if got, want := strings.Join(told, ", "), "4 35ms, 5 60ms, 6 85ms"; got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestRideAlong(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		c.give(1, false, set("a", "1"))
		pass(500 * time.Millisecond)
		c.give(2, false, set("b", "2"))
		pass(499 * time.Millisecond)
		if d.text() != "" {
			t.Errorf("groups %q after 999 ms, want none", d.text())
		}
		pass(20 * time.Millisecond)
		c.give(3, false, set("c", "3"))
		pass(100 * time.Millisecond)
		c.give(4, true, set("d", "4"))
		pass(20 * time.Millisecond)
		if got, want := d.text(), "1: a=1 b=2; 2: c=3 d=4"; got != want {
			t.Errorf("groups %q, want %q", got, want)
		}
	})
}

func TestGroupLimits(t *testing.T) {
	writes := func(n, size int) []mqtt.Write {
		return slices.Repeat([]mqtt.Write{set("k", strings.Repeat("x", size))}, n)
	}
	tests := []struct {
		name  string
		turns [][]mqtt.Write
		want  []int // writes of each group after the first
	}{
		{"writes", [][]mqtt.Write{writes(2000, 1), writes(1999, 1), writes(1, 1), writes(1, 1)}, []int{4000, 1}},
		{"bytes", [][]mqtt.Write{writes(100, 2500), writes(100, 2500), writes(10, 2500)}, []int{200, 10}},
		{"big values", [][]mqtt.Write{writes(3, 4<<20), writes(2, 4<<20), writes(1, 1)}, []int{3, 3}},
		{"a turn over the limit goes alone", [][]mqtt.Write{writes(1, 1), writes(9000, 1), writes(1, 1)}, []int{1, 9000, 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
				c.give(1, true, set("first", ""))
				synctest.Wait()
				for i, turn := range tt.turns {
					c.give(uint64(i+2), true, turn...)
				}
				pass(time.Second)
				var got []int
				for _, g := range d.groups[1:] {
					got = append(got, len(g.writes))
				}
				if !slices.Equal(got, tt.want) {
					t.Errorf("groups of %v writes, want %v", got, tt.want)
				}
			})
		})
	}
}

func TestAFullGroupDoesNotWait(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		for i := range 60 {
			c.give(uint64(i+1), false, set(fmt.Sprint(i), strings.Repeat("x", 10_000)))
		}
		pass(20 * time.Millisecond)
		if len(d.groups) != 1 || len(d.groups[0].writes) < 50 {
			t.Errorf("%d groups after 20 ms, want a full one", len(d.groups))
		}
	})
}

func TestLazy(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		c.giveLazy([]mqtt.Write{set("a", "1"), set("b", "1"), set("c", "1")})
		pass(time.Second)
		c.giveLazy([]mqtt.Write{set("a", "2"), del("c")})
		c.give(1, true, set("b", "of a turn"))
		pass(3900 * time.Millisecond)
		if got, want := d.text(), "1: b=of a turn"; got != want {
			t.Errorf("groups %q before the lazies are due, want %q", got, want)
		}
		pass(200 * time.Millisecond)
		if want := map[string]string{"a": "2", "b": "of a turn"}; !maps.Equal(d.state, want) {
			t.Errorf("disk shows %v, want %v", d.state, want)
		}
		if len(d.groups) != 2 || len(d.groups[1].writes) != 2 {
			t.Errorf("groups %q, want one of two lazies", d.text())
		}
		pass(time.Minute)
		if len(d.groups) != 2 || c.lazy.bytes != 0 {
			t.Errorf("%d groups and %d bytes of lazies a minute later", len(d.groups), c.lazy.bytes)
		}
	})
}

// TestSettle has all that was given committed at once, lazy writes and turns that
// would ride along too, and says when the disk does not take it in time. What
// comes later waits as ever.
func TestSettle(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		for round := range 2 {
			begun, n := time.Now(), fmt.Sprint(round)
			c.giveLazy([]mqtt.Write{set("lazy", n)})
			c.give(uint64(10*round+1), false, set("turn", n))
			if !c.settle(time.Second) || time.Since(begun) > 100*time.Millisecond {
				t.Errorf("not settled after %v", time.Since(begun))
			}
			if want := map[string]string{"lazy": n, "turn": n}; !maps.Equal(d.state, want) {
				t.Errorf("disk shows %v, want %v", d.state, want)
			}
		}
		c.giveLazy([]mqtt.Write{set("lazy", "later")})
		pass(4 * time.Second)
		if d.shows("lazy") != "1" {
			t.Error("a lazy write that came after it did not wait")
		}
		pass(10 * time.Second)

		d.mu.Lock()
		d.hang = make(chan struct{})
		d.mu.Unlock()
		c.giveLazy([]mqtt.Write{set("lazy", "last")})
		for range 2 { // before and while it is at the disk
			if begun := time.Now(); c.settle(time.Second) || time.Since(begun) < time.Second {
				t.Errorf("settled after %v by a disk that hangs", time.Since(begun))
			}
		}
		close(d.hang)
		if !c.settle(time.Second) || d.shows("lazy") != "last" {
			t.Error("not settled once the disk answers")
		}
	})
}

// TestLinger has a group wait for those who waited for the one before, where they
// have more to say at once, and not where turns come whatever lands.
func TestLinger(t *testing.T) {
	const window, turns = 40, 4000
	for _, tt := range []struct {
		name       string
		turnaround time.Duration // from landing to the next turn
		least      int           // groups
		most       int
	}{
		{"at once", time.Millisecond, turns / window, turns/window + 20},
		{"too late for it", 6 * time.Millisecond, turns/window + 20, 2 * turns / window},
	} {
		bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
			number, landed := uint64(0), uint64(0)
			next := make(chan struct{}, turns)
			c.mu.Lock()
			c.durableFn = func(n uint64) {
				for ; landed < n; landed++ {
					time.AfterFunc(tt.turnaround, func() { next <- struct{}{} })
				}
			}
			c.mu.Unlock()
			for range window {
				next <- struct{}{}
			}
			for number < turns {
				<-next
				number++
				c.give(number, true, set("k", fmt.Sprint(number)))
			}
			pass(time.Second)
			groups, _ := d.done()
			if n := len(groups); n < tt.least || n > tt.most {
				t.Errorf("%s: %d groups, want %d to %d", tt.name, n, tt.least, tt.most)
			}
		})
	}
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		d.takes = 4 * time.Millisecond
		for number := uint64(1); number <= turns; number++ {
			c.give(number, true, set("k", fmt.Sprint(number)))
			time.Sleep(400 * time.Microsecond) // 10 while the disk works
		}
		pass(time.Second)
		groups, _ := d.done()
		if least := turns / 10 * 95 / 100; len(groups) < least {
			t.Errorf("%d groups of turns that come at a pace, want %d: they were made to wait", len(groups), least)
		}
	})
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		for number := uint64(1); number <= window; number++ {
			c.give(number, true, set("k", "of many"))
		}
		pass(25 * time.Millisecond) // the first alone, then all others
		c.give(window+1, true, set("k", "of one"))
		pass(16 * time.Millisecond)
		if d.shows("k") != "of one" {
			t.Error("one that comes alone after many waits for longer than a group lingers")
		}
		pass(time.Second)
		for range 2 * lingerRest { // so that it waits again
			number := c.submitted
			for i := range uint64(window) {
				c.give(number+1+i, true, set("k", "of many"))
			}
			pass(25 * time.Millisecond)
		}
		c.give(c.submitted+1, false, set("k", "of nobody"))
		pass(6 * time.Millisecond) // nobody waited for is there
		c.give(c.submitted+1, true, set("k", "of one"))
		pass(11 * time.Millisecond)
		if d.shows("k") != "of one" {
			t.Error("one that comes after none came that a group had waited for is not committed at once")
		}
	})
}

// TestSoonIsSoon gives turns of all kinds at random moments. Whoever waits for one
// waits for the commit that is under way, for as long again as a group lingers,
// and for its own.
func TestSoonIsSoon(t *testing.T) {
	for seed := range uint64(50) {
		bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
			var mu sync.Mutex // guards the rest
			random := rand.New(rand.NewPCG(seed, 0))
			d.takes = time.Duration(1+random.IntN(8)) * time.Millisecond
			longest := 2*d.takes + min(d.takes, lingerLongest)
			given := map[uint64]time.Time{} // those that are soon
			number, landed := uint64(0), uint64(0)
			give := func(n int, soon bool) {
				mu.Lock()
				defer mu.Unlock()
				for range n {
					number++
					if soon {
						given[number] = time.Now()
					}
					c.give(number, soon, set("k", fmt.Sprint(number)))
				}
			}
			c.mu.Lock()
			c.durableFn = func(n uint64) {
				mu.Lock()
				defer mu.Unlock()
				for landed < n {
					landed++
					at, soon := given[landed]
					if took := time.Since(at); soon && took > longest {
						t.Errorf("seed %d: turn %d took %v with a disk that takes %v", seed, landed, took, d.takes)
					}
					if soon && random.IntN(10) > 0 { // who waited has more to say
						time.AfterFunc(time.Duration(random.IntN(3000))*time.Microsecond, func() { give(1, true) })
					}
				}
			}
			c.mu.Unlock()
			for range 500 {
				mu.Lock()
				what, n, pause := random.IntN(8), random.IntN(40), random.IntN(3)*random.IntN(15)
				mu.Unlock()
				switch {
				case what == 0:
					give(n, true)
				case what < 3:
					give(1, true)
				case what < 6:
					give(1, false)
				default:
					c.giveLazy([]mqtt.Write{set("lazy", fmt.Sprint(n))})
				}
				time.Sleep(time.Duration(pause) * time.Millisecond)
			}
			pass(5 * time.Second)
			mu.Lock()
			defer mu.Unlock()
			if landed != number {
				t.Errorf("seed %d: %d of %d turns landed", seed, landed, number)
			}
		})
	}
}

// TestLazyNeverBeforeItsTurn fills the line, so that lazies fall due while the
// turn that gave them still waits.
func TestLazyNeverBeforeItsTurn(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		d.now(func() { d.takes = 4 * time.Second })
		d.after = func(state map[string]string) {
			if state["lazy"] != "" && state["lazy"] > state["turn"] {
				t.Errorf("the lazy write of turn %s is on disk before it, after turn %s", state["lazy"], state["turn"])
			}
		}
		for n := uint64(1); n < 30; n++ {
			c.give(n, true, set("turn", fmt.Sprintf("%02d", n)), set(fmt.Sprint(n), strings.Repeat("x", 400_000)))
			c.giveLazy([]mqtt.Write{set("lazy", fmt.Sprintf("%02d", n))})
			pass(2 * time.Second)
		}
		pass(5 * time.Minute)
		if d.shows("lazy") != "29" {
			t.Errorf("in the end the lazy write of turn %s is on disk, want 29", d.shows("lazy"))
		}
	})
}

// TestLazyUnderLoad keeps every group full: lazies must get through.
func TestLazyUnderLoad(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		d.now(func() { d.takes = 100 * time.Millisecond })
		c.giveLazy([]mqtt.Write{set("lazy", "1")})
		start := time.Now()
		for n := uint64(1); d.shows("lazy") == "" && time.Since(start) < time.Minute; n++ {
			c.give(n, true, slices.Repeat([]mqtt.Write{set("k", "v")}, 1000)...)
			pass(20 * time.Millisecond) // and a group of 4,000 takes 100 ms
		}
		if took := time.Since(start); took > 12*time.Second {
			t.Errorf("a lazy write took %v under load", took)
		}
	})
}

func TestLazyBound(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		d.now(func() { d.hang = make(chan struct{}) })
		big := strings.Repeat("x", 10_000)
		for i := range 2000 {
			c.giveLazy([]mqtt.Write{set(fmt.Sprint(i), big)})
		}
		synctest.Wait()
		c.mu.Lock()
		bytes, lost := c.lazy.bytes, c.lazy.lost
		c.mu.Unlock()
		if bytes > lazyBound+20_000 || lost == 0 {
			t.Errorf("%d bytes of lazies are kept, %d lost", bytes, lost)
		}
		close(d.hang)
	})
}

func TestFailedCommit(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		start := time.Now()
		var told []uint64
		c.durableFn = func(n uint64) { told = append(told, n) }
		d.now(func() { d.fail = errors.New("disk full") })
		c.give(1, true, set("a", "1"))
		pass(time.Millisecond)
		c.give(2, true, set("b", "2"))
		pass(4 * time.Second)
		if err := c.ready(); err != nil {
			t.Errorf("not ready after 4 s: %v", err)
		}
		pass(2 * time.Second)
		if c.ready() == nil {
			t.Error("ready although a turn has waited for 6 s")
		}
		if n := len(d.failed); n < 5 || n > 10 {
			t.Errorf("tried %d times in %v", n, time.Since(start))
		}
		for _, g := range d.failed {
			if got, want := text([]group{g}), "1: a=1"; got != want {
				t.Fatalf("tried %q, want %q", got, want)
			}
		}
		if len(told) > 0 {
			t.Errorf("told %v while commits fail", told)
		}
		if c.stats.LastError != d.fail {
			t.Errorf("last error %v, want %v", c.stats.LastError, d.fail)
		}
		d.now(func() { d.fail = nil })
		pass(3 * time.Second)
		if got, want := d.text(), "1: a=1; 2: b=2"; got != want {
			t.Errorf("groups %q, want %q", got, want)
		}
		if want := []uint64{1, 2}; !slices.Equal(told, want) {
			t.Errorf("told %v, want %v", told, want)
		}
		if err := c.ready(); err != nil {
			t.Errorf("not ready after recovery: %v", err)
		}
	})
}

// TestHangingDisk: inside a bubble, a call that blocked would be a deadlock.
func TestHangingDisk(t *testing.T) {
	bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
		hang := make(chan struct{})
		d.now(func() { d.hang = hang })
		var told uint64
		c.durableFn = func(n uint64) { told = n }
		value := strings.Repeat("x", 100_000)
		number := uint64(0)
		for c.ready() == nil {
			number++
			for i := range 4 {
				c.give(number*4+uint64(i), true, set(fmt.Sprint(number, i), value[:60_000]))
			}
			c.giveLazy([]mqtt.Write{set("lazy", fmt.Sprint(number))})
		}
		if waiting := c.waiting.Load(); waiting < waitingBytes || waiting > waitingBytes+waitingBytes/8 {
			t.Errorf("not ready with %d bytes waiting", waiting)
		}
		pass(30 * time.Second)
		close(hang)
		pass(time.Second)
		if err := c.ready(); err != nil {
			t.Errorf("not ready after the disk came back: %v", err)
		}
		if want := number*4 + 3; told != want {
			t.Errorf("told %d, want %d", told, want)
		}
	})
}

func TestClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDisk{takes: 10 * time.Millisecond}
		c := newCommitter(d, slog.New(slog.DiscardHandler))
		var told uint64
		c.durableFn = func(n uint64) { told = n }
		for n := range uint64(100) {
			c.give(n+1, false, set(fmt.Sprint(n+1), strings.Repeat("x", 50_000)))
		}
		c.giveLazy([]mqtt.Write{set("lazy", "1")})
		if err := c.close(t.Context()); err != nil {
			t.Errorf("close: %v", err)
		}
		if len(d.state) != 101 || told != 100 {
			t.Errorf("%d records on disk and told %d after close, want 101 and 100", len(d.state), told)
		}
		c.give(101, true, set("late", "1"))
		c.giveLazy([]mqtt.Write{set("late", "1")})
		pass(time.Minute)
		if len(d.state) != 101 {
			t.Error("something was written after close")
		}
	})
}

func TestCloseGivesUp(t *testing.T) {
	tests := []struct {
		name string
		disk func(hang chan struct{}) *fakeDisk
	}{
		{"hangs", func(hang chan struct{}) *fakeDisk { return &fakeDisk{hang: hang} }},
		{"fails", func(chan struct{}) *fakeDisk { return &fakeDisk{fail: errors.New("full")} }},
	}
	for _, tt := range tests {
		synctest.Test(t, func(t *testing.T) {
			hang := make(chan struct{})
			c := newCommitter(tt.disk(hang), slog.New(slog.DiscardHandler))
			c.give(1, true, set("a", "1"))
			ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
			defer cancel()
			start := time.Now()
			if err := c.close(ctx); !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("%s: close: %v, want a deadline", tt.name, err)
			}
			if took := time.Since(start); took != 4*time.Second {
				t.Errorf("%s: close took %v", tt.name, took)
			}
			close(hang)
			synctest.Wait()
		})
	}
}

// TestWholeTurns gives random turns and lazies and checks that the disk always
// shows the records after some whole turn, in their order, and the last lazy
// writes in the end.
func TestWholeTurns(t *testing.T) {
	for seed := range uint64(20) {
		bubble(t, func(t *testing.T, c *committer, d *fakeDisk) {
			random := rand.New(rand.NewPCG(seed, 0))
			states := []map[string]string{{}} // of the keys of turns, after each turn
			at := 0                           // what the disk shows
			d.after = func(state map[string]string) {
				shown := maps.Clone(state)
				maps.DeleteFunc(shown, func(k, _ string) bool { return k[0] == 'l' })
				for ; at < len(states); at++ {
					if maps.Equal(shown, states[at]) {
						return
					}
				}
				t.Fatalf("seed %d: the disk shows no whole turn: %v", seed, shown)
			}
			lazies := map[string]string{}
			for n := range uint64(400) {
				state := maps.Clone(states[len(states)-1])
				var writes []mqtt.Write
				writes = append(writes, set("number", fmt.Sprint(n+1)))
				state["number"] = fmt.Sprint(n + 1)
				for range random.IntN(5) {
					key := fmt.Sprint("k", random.IntN(8))
					if random.IntN(3) == 0 {
						writes = append(writes, del(key))
						delete(state, key)
					} else {
						writes = append(writes, set(key, fmt.Sprint(n)))
						state[key] = fmt.Sprint(n)
					}
				}
				if random.IntN(4) == 0 { // a turn may write what is else lazy
					key := fmt.Sprint("l", random.IntN(8))
					writes = append(writes, set(key, fmt.Sprint("turn ", n)))
					lazies[key] = fmt.Sprint("turn ", n)
				}
				states = append(states, state)
				c.give(n+1, random.IntN(3) > 0, writes...)
				for range random.IntN(3) {
					key := fmt.Sprint("l", random.IntN(8))
					c.giveLazy([]mqtt.Write{set(key, fmt.Sprint(n))})
					lazies[key] = fmt.Sprint(n)
				}
				d.now(func() { d.takes = time.Duration(random.IntN(30)) * time.Millisecond })
				pass(time.Duration(random.IntN(40)) * time.Millisecond)
			}
			pass(10 * time.Second)
			want := maps.Clone(states[len(states)-1])
			maps.Copy(want, lazies)
			if !maps.Equal(d.state, want) {
				t.Errorf("seed %d: in the end the disk shows %v, want %v", seed, d.state, want)
			}
		})
	}
}
