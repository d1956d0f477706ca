package identity

import (
	"net/netip"
	"sync"
	"time"
)

// How many failed sign-ins a minute may hold: for one name from one address,
// from one address, and for one name from anywhere. The last is generous, so
// that a stranger does not lock the owner out by guessing at their name.
const (
	tryWindow      = time.Minute
	triesPerPair   = 5
	triesPerSource = 10
	triesPerName   = 30

	// maxTryKeys bounds the memory; beyond it some window is forgotten.
	maxTryKeys = 4096
)

// tries counts failed sign-ins.
type tries struct {
	mu      sync.Mutex
	windows map[tryKey]tryWindowState
}

type tryKey struct {
	name string
	from netip.Addr
}

type tryWindowState struct {
	count int
	ends  time.Time
}

func newTries() *tries { return &tries{windows: map[tryKey]tryWindowState{}} }

// take counts a try before it is made, so that many at once count as many. It
// refuses one too many.
func (t *tries) take(name string, from netip.Addr) bool {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits(name, from) {
		if w := t.windows[l.key]; now.Before(w.ends) && w.count >= l.most {
			return false
		}
	}
	for _, l := range limits(name, from) {
		w, ok := t.windows[l.key]
		if !ok && len(t.windows) >= maxTryKeys {
			t.forget(now)
		}
		if !now.Before(w.ends) {
			w = tryWindowState{ends: now.Add(tryWindow)}
		}
		w.count++
		t.windows[l.key] = w
	}
	return true
}

// giveBack says that the try just made was none: the password was right.
func (t *tries) giveBack(name string, from netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, l := range limits(name, from) {
		if w, ok := t.windows[l.key]; ok && w.count > 0 {
			w.count--
			t.windows[l.key] = w
		}
	}
}

// forget makes room: windows that are over, or else any one.
func (t *tries) forget(now time.Time) {
	for k, w := range t.windows {
		if !now.Before(w.ends) {
			delete(t.windows, k)
		}
	}
	for k := range t.windows {
		if len(t.windows) < maxTryKeys {
			return
		}
		delete(t.windows, k)
	}
}

type limit struct {
	key  tryKey
	most int
}

// limits names the windows that a try counts in. An IPv6 host has a whole /64
// to come from.
func limits(name string, from netip.Addr) [3]limit {
	from = from.Unmap().WithZone("")
	if from.Is6() {
		if p, err := from.Prefix(64); err == nil {
			from = p.Addr()
		}
	}
	return [3]limit{
		{tryKey{name, from}, triesPerPair},
		{tryKey{"", from}, triesPerSource},
		{tryKey{name, netip.Addr{}}, triesPerName},
	}
}
