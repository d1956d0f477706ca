package hub

import (
	"net/netip"
	"sync"
	"time"
)

// A guard slows down who guesses passwords (SEC-24). Failed logins are counted
// for a minute: of a name from an address, from an address, and of a name. Who
// has too many waits before the next is looked at, right or wrong, on its own
// connection; nobody else waits for it. An address from which a name has come
// in before is counted for itself alone: what strangers do does not slow it
// down.
type guard struct {
	free func() int // failed logins without a wait; 0: nobody ever waits
	now  func() time.Time

	mu       sync.Mutex // guards the rest
	wait     func(time.Duration)
	failures map[attempt]failures
	swept    time.Time // when those that are over were last forgotten
	friends  map[attempt]struct{}
	waiting  map[netip.Addr]int
	all      int // that wait
}

// An attempt is a name and an address; either may be empty, and stands for all.
type attempt struct {
	name string
	from netip.Addr
}

type failures struct {
	count int
	ends  time.Time
}

// Bounds of the guard's memory, and of what waits.
const (
	failureWindow  = time.Minute
	maxFailureKeys = 4096
	maxFriends     = 16_384
	longestWait    = 3 * time.Second
	waitStep       = 250 * time.Millisecond
	maxWaiting     = 32
	maxWaitingFrom = 4

	// Several clients may stand behind one address, and several addresses try
	// one name: so many times more are free there.
	freeFrom = 10
	freeName = 6
)

func newGuard(free func() int) *guard {
	return &guard{
		free:     free,
		now:      time.Now,
		wait:     time.Sleep,
		failures: make(map[attempt]failures),
		friends:  make(map[attempt]struct{}),
		waiting:  make(map[netip.Addr]int),
	}
}

// host is what counts of an address: a host of IPv6 has a whole /64.
func host(from netip.Addr) netip.Addr {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			return p.Addr()
		}
	}
	return from
}

// enter is called before a login is looked at, and waits if it has to. It says
// no to one more where enough wait already.
func (g *guard) enter(name string, from netip.Addr) bool {
	from = host(from)
	g.mu.Lock()
	d := g.delay(name, from)
	if d == 0 {
		g.mu.Unlock()
		return true
	}
	if g.all >= maxWaiting || g.waiting[from] >= maxWaitingFrom {
		g.mu.Unlock()
		return false
	}
	g.all++
	g.waiting[from]++
	wait := g.wait
	g.mu.Unlock()
	wait(d)
	g.mu.Lock()
	g.all--
	if g.waiting[from]--; g.waiting[from] == 0 {
		delete(g.waiting, from)
	}
	g.mu.Unlock()
	return true
}

// delay is how long a login has to wait. g.mu is held.
func (g *guard) delay(name string, from netip.Addr) time.Duration {
	free, now := g.free(), g.now()
	if free <= 0 {
		return 0
	}
	_, friend := g.friends[attempt{name, from}]
	over := 0
	for _, l := range counted(name, from) {
		if f, ok := g.failures[l.attempt]; ok && now.Before(f.ends) && (!friend || l.times == 1) {
			over = max(over, f.count-free*l.times+1)
		}
	}
	return min(time.Duration(over)*waitStep, longestWait)
}

// left says how a login that entered has ended.
func (g *guard) left(name string, from netip.Addr, right bool) {
	from = host(from)
	now := g.now()
	g.mu.Lock()
	defer g.mu.Unlock()
	if right {
		if _, there := g.friends[attempt{name, from}]; !there && len(g.friends) >= maxFriends {
			for a := range g.friends {
				delete(g.friends, a)
				break
			}
		}
		g.friends[attempt{name, from}] = struct{}{}
		delete(g.failures, attempt{name, from})
		return
	}
	for _, l := range counted(name, from) {
		f, ok := g.failures[l.attempt]
		if !ok && len(g.failures) >= maxFailureKeys {
			g.makeRoom(now)
		}
		if !now.Before(f.ends) {
			f = failures{ends: now.Add(failureWindow)}
		}
		f.count++
		g.failures[l.attempt] = f
	}
}

// makeRoom forgets what is over, once a second, or else any one.
func (g *guard) makeRoom(now time.Time) {
	if now.Sub(g.swept) >= time.Second {
		g.swept = now
		for a, f := range g.failures {
			if !now.Before(f.ends) {
				delete(g.failures, a)
			}
		}
	}
	for a := range g.failures {
		if len(g.failures) < maxFailureKeys {
			return
		}
		delete(g.failures, a)
	}
}

// counted names the windows that a login counts in, and how many times as many
// failures are free there.
func counted(name string, from netip.Addr) [3]struct {
	attempt
	times int
} {
	return [3]struct {
		attempt
		times int
	}{
		{attempt{name, from}, 1},
		{attempt{"", from}, freeFrom},
		{attempt{name, netip.Addr{}}, freeName},
	}
}
