package mqtt

import (
	"sync"
	"time"
)

// A pace holds down the share of the time that goes to what costs the asker
// next to nothing: one small packet asks for all retained messages, and so does
// the next. Who subscribes once notices nothing of it.
type pace struct {
	mu    sync.Mutex
	spent time.Duration // lately
	owed  time.Duration // of rest
	at    time.Duration // of the last
}

const (
	paceFree   = 50 * time.Millisecond  // a quarter of the time that passes is added, up to this
	paceTimes  = 2                      // as long as the work
	paceMoment = 500 * time.Microsecond // of work; the rest for less is saved up
)

// rest is how long who was busy between two instants is to do nothing: at first
// not at all, then twice as long as the work took.
func (p *pace) rest(begun, ended time.Duration) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	took := ended - begun
	p.spent = min(max(p.spent-max(begun-p.at, 0)/4, 0)+took, 2*paceFree)
	p.at = max(p.at, ended)
	if p.spent < paceFree {
		return 0
	}
	if p.owed += took; p.owed < paceMoment {
		return 0
	}
	rest := paceTimes * p.owed
	p.owed = 0
	return rest
}
