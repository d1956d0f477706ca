package hub

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"
	"time"
)

// A guardTest drives a guard by a clock of its own.
type guardTest struct {
	*guard
	at     time.Time
	waited time.Duration
}

func newGuardTest(free int) *guardTest {
	g := &guardTest{guard: newGuard(func() int { return free }), at: time.Unix(1000, 0)}
	g.now = func() time.Time { return g.at }
	g.guard.wait = func(d time.Duration) { g.waited += d; g.at = g.at.Add(d) }
	return g
}

// login tries to come in and returns how long it had to wait.
func (g *guardTest) login(name, from string, right bool) time.Duration {
	g.waited = 0
	g.enter(name, netip.MustParseAddr(from))
	g.left(name, netip.MustParseAddr(from), right)
	return g.waited
}

func TestGuard(t *testing.T) {
	const thief, lamp = "192.168.1.66", "192.168.1.20"
	g := newGuardTest(3)
	g.login("lamp", lamp, true)
	g.login("door", "192.168.1.21", true)
	last := time.Duration(0)
	for i := range 14 {
		d := g.login("lamp", thief, false)
		if i < 3 && d != 0 || i >= 3 && d <= last && d < longestWait || d > longestWait {
			t.Errorf("try %d waits %v, the one before %v", i+1, d, last)
		}
		last = d
	}
	if last < 2*time.Second {
		t.Errorf("the last waits %v", last)
	}
	// Who came in before does not wait for a stranger, not even for one who has
	// its name.
	if d := g.login("lamp", lamp, true); d != 0 {
		t.Errorf("the lamp waits %v for a thief", d)
	}
	if d := g.login("door", lamp, true); d != 0 {
		t.Errorf("the door at a new address waits %v", d)
	}
	// A name that is tried from many addresses, and an address that tries many.
	g = newGuardTest(3)
	for i := range 18 {
		if d := g.login("lamp", fmt.Sprintf("10.0.0.%d", i+1), false); d != 0 {
			t.Errorf("from address %d it waits %v", i+1, d)
		}
	}
	if d := g.login("lamp", "10.0.1.1", false); d == 0 {
		t.Error("a name is tried from ever more addresses without a wait")
	}
	g = newGuardTest(3)
	for i := range 30 {
		g.login(fmt.Sprint("name", i), thief, false)
	}
	if d := g.login("another", thief, false); d == 0 {
		t.Error("an address tries ever more names without a wait")
	}
	g.at = g.at.Add(failureWindow)
	if d := g.login("another", thief, false); d != 0 {
		t.Errorf("a minute later it waits %v", d)
	}
	// Addresses of one network card.
	g = newGuardTest(3)
	for i := range 4 {
		last = g.login("lamp", fmt.Sprintf("fd00::%d", i+1), false)
	}
	if last == 0 {
		t.Error("a host of IPv6 has a new address for each try")
	}
	g = newGuardTest(0)
	for range 100 {
		if d := g.login("lamp", thief, false); d != 0 {
			t.Fatal("it waits though nobody is to")
		}
	}
}

// TestGuardIsBounded fills the guard's tables, and lets more wait than may.
func TestGuardIsBounded(t *testing.T) {
	g := newGuardTest(3)
	for i := range 2 * maxFriends {
		from := netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
		g.left("x", from, i%2 == 0)
	}
	if len(g.failures) > maxFailureKeys || len(g.friends) > maxFriends {
		t.Errorf("%d failures and %d friends are kept", len(g.failures), len(g.friends))
	}

	g = newGuardTest(1)
	for i := range 20 {
		g.left("lamp", netip.AddrFrom4([4]byte{10, 0, 0, byte(i)}), false)
	}
	var waiting sync.WaitGroup
	release := make(chan struct{})
	entered := make(chan struct{}, 100)
	g.guard.wait = func(time.Duration) { entered <- struct{}{}; <-release }
	one := netip.MustParseAddr("10.0.0.1")
	for range maxWaitingFrom {
		waiting.Go(func() { g.enter("lamp", one) })
		<-entered
	}
	if g.enter("lamp", one) {
		t.Error("one more from an address waits")
	}
	for i := range maxWaiting - maxWaitingFrom {
		waiting.Go(func() { g.enter("lamp", netip.AddrFrom4([4]byte{10, 0, 1, byte(i)})) })
		<-entered
	}
	if g.enter("lamp", netip.MustParseAddr("10.0.2.1")) {
		t.Error("one more waits")
	}
	if !g.enter("door", netip.MustParseAddr("10.0.2.1")) {
		t.Error("who has failed at nothing is turned away")
	}
	close(release)
	waiting.Wait()
	if g.all != 0 || len(g.waiting) != 0 {
		t.Errorf("%d still wait, from %v", g.all, g.waiting)
	}
}
