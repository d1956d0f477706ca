package mqtt

import (
	"container/heap"
	"runtime"
	"sync/atomic"
	"time"
)

// A deadline is something the broker decides when its time has come.
type deadline struct {
	at    time.Duration // Run time
	fn    func(t *Turn)
	seq   uint64 // of those due at one time, the first armed comes first
	index int    // in the heap; -1: not there
}

type deadlines []*deadline

func (h deadlines) Len() int { return len(h) }
func (h deadlines) Less(i, j int) bool {
	return h[i].at < h[j].at || h[i].at == h[j].at && h[i].seq < h[j].seq
}
func (h deadlines) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}
func (h *deadlines) Push(x any) {
	d := x.(*deadline)
	d.index = len(*h)
	*h = append(*h, d)
}
func (h *deadlines) Pop() any {
	old := *h
	d := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	d.index = -1
	return d
}

// slot rounds the broker's own deadlines up, so that those of many clients
// share a wake-up.
const slot = time.Second

// at arms a deadline of the broker's own, in slots of a second. The house's
// lock is held.
func (b *Broker) at(at time.Duration, fn func(t *Turn)) *deadline {
	return b.exactly((at+slot-1)/slot*slot, fn)
}

// exactly arms a deadline to the millisecond.
func (b *Broker) exactly(at time.Duration, fn func(t *Turn)) *deadline {
	b.armed++
	d := &deadline{at: at, fn: fn, seq: b.armed}
	heap.Push(&b.deadlines, d)
	if d.index == 0 {
		b.poke()
	}
	return d
}

// cancel takes a deadline back; nil is nothing.
func (b *Broker) cancel(d *deadline) {
	if d != nil && d.index >= 0 {
		heap.Remove(&b.deadlines, d.index)
	}
}

// poke wakes the keeper of the deadlines.
func (b *Broker) poke() {
	select {
	case b.poked <- struct{}{}:
	default:
	}
}

// clockCheck is how often the wall clock is compared with the time that has
// passed, and a step found that nothing else brought to light.
const clockCheck = 30 * time.Second

// attend has a connection watched whose state has come to have a deadline: a
// packet that is not whole, a socket that takes nothing.
func (b *Broker) attend(c *Conn) {
	if c.attended.Swap(true) {
		return
	}
	b.attendMu.Lock()
	b.unattended = append(b.unattended, c)
	b.attendMu.Unlock()
	b.poke()
}

// watchUnattended watches the connections that attend has named.
func (b *Broker) watchUnattended() {
	b.attendMu.Lock()
	named := b.unattended
	b.unattended = nil
	b.attendMu.Unlock()
	for _, c := range named {
		if !c.ended {
			b.watch(c)
		}
	}
}

// keepTime decides what is due, until the broker stops. It sleeps until the
// earliest deadline.
func (b *Broker) keepTime() {
	defer close(b.timeEnded)
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-b.stopping:
			return
		case <-b.poked:
		case <-timer.C:
		}
		wait := clockCheck
		batch := batches.Get().(*Batch)
		b.mu.Lock()
		b.noticeClock(batch)
		b.averageLoad(b.clock().Run)
		if b.sys.tick == nil && b.toldTo() { // the setting has changed
			b.turnHere(batch, b.tellFrom)
		}
		b.watchUnattended()
		since := b.clock().Run
		for len(b.deadlines) > 0 {
			if wait = min(clockCheck, b.deadlines[0].at-b.clock().Run); wait > 0 {
				break
			}
			d := heap.Pop(&b.deadlines).(*deadline)
			b.turnHere(batch, d.fn)
			if b.clock().Run-since >= lockTime { // thousands may be due at once
				b.mu.Unlock()
				b.Flush(batch)
				runtime.Gosched()
				b.mu.Lock()
				since = b.clock().Run
			}
		}
		b.mu.Unlock()
		b.Flush(batch)
		batches.Put(batch)
		timer.Reset(max(wait, 0))
	}
}

// noticeClock tells the consumers when the wall clock was set or has come to
// be trusted.
func (b *Broker) noticeClock(batch *Batch) {
	now := b.clock()
	step := now.Wall.Sub(b.lastNow.Wall) - (now.Run - b.lastNow.Run)
	trust := now.Trusted != b.lastNow.Trusted
	b.lastNow = now
	if step.Abs() < 2*time.Second && !trust {
		return
	}
	b.log.Info("clock changed", "by", step.Round(time.Millisecond), "trusted", now.Trusted)
	t := b.begin(batch)
	for _, c := range b.consumers {
		b.wake(t, c)
	}
	b.finish(t)
}

// wake calls a consumer's Wake; a panic loses this wake only.
func (b *Broker) wake(t *Turn, c Consumer) {
	if b.broken.is {
		return // it asks again as it is rebuilt
	}
	mark := t.Mark()
	defer func() {
		if r := recover(); r != nil {
			t.Broken(r, nil, mark)
		}
	}()
	t.consumed = true
	c.Wake(t)
}

// A clockMark is a Run time that one goroutine sets and others read.
type clockMark struct{ at atomic.Int64 }

func (m *clockMark) set(run time.Duration) { m.at.Store(int64(run)) }
func (m *clockMark) get() time.Duration    { return time.Duration(m.at.Load()) }

// watch looks after a connection: CONNECT in time, keep alive, and a socket
// that takes nothing. The house's lock is held.
func (b *Broker) watch(c *Conn) {
	b.cancel(c.check)
	now := b.clock().Run
	next := now + time.Hour
	if !c.connected {
		next = c.seen.get() + b.limits().ConnectTimeout
	} else if c.keepAlive > 0 {
		next = c.seen.get() + c.keepAlive*3/2 // [MQTT-3.1.2-22]
	}
	if due := c.packetDue.get(); due != 0 && c.connected {
		next = min(next, due)
	}
	c.mu.Lock()
	if c.stalled != 0 {
		next = min(next, c.stalled+b.limits().WriteStall)
	} else if c.unflushed > 0 || c.keepAlive == 0 || c.keepAlive > time.Minute {
		next = min(next, now+time.Minute)
	}
	c.mu.Unlock()
	c.check = b.at(max(next, now+1), func(t *Turn) { b.inspect(t, c) })
}

// inspect ends a connection that is overdue, or watches it further.
func (b *Broker) inspect(t *Turn, c *Conn) {
	c.check = nil
	if c.ended {
		return
	}
	c.attended.Store(false) // whatever begins from now on is told again
	c.mu.Lock()
	stalled := c.stalled != 0 && t.Now.Run >= c.stalled+b.limits().WriteStall
	c.mu.Unlock()
	quiet := t.Now.Run - c.seen.get()
	due := c.packetDue.get()
	if c.waits.Load() {
		quiet, due = 0, 0
		c.seen.set(t.Now.Run)
	}
	switch {
	case stalled:
		b.reached("write_stall", c.who(), nil)
		c.sink.Kill()
	case !c.connected && quiet >= b.limits().ConnectTimeout:
		b.reached("connect_timeout", c.remote, nil)
		c.sink.Kill()
	case c.connected && c.keepAlive > 0 && quiet >= c.keepAlive*3/2:
		b.drop(t, c, keepAliveTimeout)
	case c.connected && due != 0 && t.Now.Run >= due:
		b.drop(t, c, packetTimeout)
	default:
		b.watch(c)
	}
}
