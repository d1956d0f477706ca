package mqtt

import (
	"runtime"
	"sync"
	"syscall"
	"time"
)

// A hog is a goroutine that has more to do at once, and so long.
type hog struct{ busy time.Duration }

// stepBack lets others have the house's lock, which the caller has given up
// after so long and is about to take again at once. Who waits for it is woken by
// that, and would find it taken again for a millisecond. And while all
// processors are busy with such work the runtime does not look which
// connections have something to read, for up to 10 ms: after half a millisecond
// it is made to.
func (h *hog) stepBack(after time.Duration) {
	const long, looked, moment = 500 * time.Microsecond, 10 * time.Millisecond, 20 * time.Microsecond
	if h.busy += after; after >= looked { // not of work alone
		h.busy = 0
	}
	if h.busy < long {
		runtime.Gosched()
		return
	}
	h.busy = 0
	time.Sleep(moment)
}

// jobs runs long work on a bounded number of goroutines.
type jobs struct {
	do func(work func()) // does one, whatever comes of it

	mu      sync.Mutex // guards the rest
	limit   int
	running int
	waiting ring[func()]
	closed  bool
	idle    sync.WaitGroup
}

// close waits for the work that is being done, and drops what waits or comes
// later: the store may be closed then, and the next start does it.
func (j *jobs) close() {
	j.mu.Lock()
	j.closed = true
	j.waiting.clear()
	j.mu.Unlock()
	j.idle.Wait()
}

func (j *jobs) add(fn func()) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.closed {
		return
	}
	j.waiting.push(fn)
	if j.running < j.limit {
		j.running++
		j.idle.Add(1)
		go j.work()
	}
}

func (j *jobs) work() {
	defer j.idle.Done()
	// An ordinary system call tells the scheduler that there is work; raw
	// ones, by which connections are read, do not.
	syscall.Syscall(syscall.SYS_GETPID, 0, 0, 0)
	var h hog
	for begun := time.Now(); ; {
		j.mu.Lock()
		if j.waiting.len() == 0 {
			j.running--
			j.mu.Unlock()
			return
		}
		fn := j.waiting.pop()
		j.mu.Unlock()
		j.do(fn)
		now := time.Now()
		h.stepBack(now.Sub(begun))
		begun = now
	}
}
