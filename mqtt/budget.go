package mqtt

import (
	"sync"
	"time"

	"lar.home/mqtt/packet"
)

// largePacket is the size above which a packet on its way in counts in the
// budget of large ones.
const largePacket = 64 << 10

// A budget bounds how many bytes of large packets are in memory on their way
// in. Whoever finds no room waits, first come, first served.
type budget struct {
	mu      sync.Mutex // guards the rest
	used    int
	waiting []*waiter
	holders map[*Conn]struct{} // that have begun a packet with the bytes they took
}

type waiter struct {
	bytes int
	room  chan struct{} // closed once there is
}

// fits tells whether there is room; a single packet always has.
func (g *budget) fits(bytes, limit int) bool { return g.used == 0 || g.used+bytes <= limit }

// take takes bytes, or returns who is to wait for them.
func (g *budget) take(bytes, limit int) *waiter {
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.waiting) == 0 && g.fits(bytes, limit) {
		g.used += bytes
		return nil
	}
	w := &waiter{bytes, make(chan struct{})}
	g.waiting = append(g.waiting, w)
	return w
}

// give gives bytes back, to whoever waits.
func (g *budget) give(bytes, limit int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= bytes
	g.serve(limit)
}

func (g *budget) serve(limit int) {
	for len(g.waiting) > 0 && g.fits(g.waiting[0].bytes, limit) {
		w := g.waiting[0]
		g.waiting = g.waiting[1:]
		g.used += w.bytes
		close(w.room)
	}
}

// leave says that w waits no longer. It tells whether w had got its room.
func (g *budget) leave(w *waiter, limit int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for i := range g.waiting {
		if g.waiting[i] == w {
			g.waiting = append(g.waiting[:i:i], g.waiting[i+1:]...)
			g.serve(limit) // those behind may be smaller
			return false
		}
	}
	return true
}

// largeBusy is the error of a client whose large packet found no room in time.
var largeBusy = &packet.Error{Packet: "packet", Field: "size", Reason: packet.QuotaExceeded, Limit: "large_bytes"}

// reserve waits, on the reader's own goroutine, until a large packet has room.
func (b *Broker) reserve(c *Conn, size int, t *Batch) error {
	if size <= largePacket || c.reserved > 0 {
		return nil
	}
	w := b.large.take(size, b.limits().LargeBytes)
	if w != nil {
		b.Flush(t)
		c.waits.Store(true)
		timeout := time.NewTimer(b.limits().PacketTimeout)
		defer timeout.Stop()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		got, waits := true, true
		for waits {
			select {
			case <-w.room:
				waits = false
			case <-tick.C:
				b.hurry()
			case <-timeout.C:
				got, waits = b.large.leave(w, b.limits().LargeBytes), false
			case <-b.stopping:
				got, waits = b.large.leave(w, b.limits().LargeBytes), false
			}
		}
		c.seen.set(b.clock().Run)
		c.waits.Store(false)
		if !got {
			return largeBusy
		}
	}
	c.reserved = size
	c.largeSince.set(b.clock().Run)
	b.large.mu.Lock()
	if b.large.holders == nil {
		b.large.holders = make(map[*Conn]struct{})
	}
	b.large.holders[c] = struct{}{}
	b.large.mu.Unlock()
	return nil
}

// While others wait, a large packet has to come at this pace, in bytes a
// second, once it has had some time.
const (
	largePace  = 64 << 10
	largeGrace = 6 * time.Second
)

// hurry drops the slowest of those whose large packets trickle in while others
// wait for the room they hold.
func (b *Broker) hurry() {
	now := b.clock().Run
	var slowest *Conn
	pace := float64(largePace)
	b.large.mu.Lock()
	for c := range b.large.holders {
		took := now - c.largeSince.get()
		if took < largeGrace || c.waits.Load() {
			continue
		}
		if p := float64(c.largeCame.Load()) / took.Seconds(); p < pace {
			slowest, pace = c, p
		}
	}
	b.large.mu.Unlock()
	if slowest == nil {
		return
	}
	b.turnNow(func(t *Turn) {
		if !slowest.ended && !b.closed {
			b.drop(t, slowest, largeBusy)
		}
	})
}

// unreserve gives back what a large packet had taken.
func (b *Broker) unreserve(c *Conn) {
	if c.reserved > 0 {
		b.large.mu.Lock()
		delete(b.large.holders, c)
		b.large.mu.Unlock()
		c.largeCame.Store(0)
		b.large.give(c.reserved, b.limits().LargeBytes)
		c.reserved = 0
	}
}

// A client may have as many publishes unacknowledged as Receive Maximum says.
// The next is not read before acknowledgements have left: devices that count
// badly are slowed and not sent away.
func (b *Broker) awaitAcks(c *Conn, t *Batch) {
	most := b.limits().InboundQoS2
	if c.version >= packet.V5 {
		most = b.limits().ReceiveMaximum
	}
	c.mu.Lock()
	if c.acks.len() <= most || c.dead || c.closing {
		c.mu.Unlock()
		return
	}
	room := make(chan struct{})
	c.ackRoom, c.ackRoomAt = room, most
	c.mu.Unlock()
	if c.version >= packet.V5 {
		b.reached("receive_maximum", c.who(), nil)
	}
	b.Flush(t)
	c.waits.Store(true)
	timeout := time.NewTimer(b.limits().PauseLongest) // slowed, not stopped: the disk may hang for long
	defer timeout.Stop()
	select {
	case <-room:
	case <-timeout.C:
	case <-b.stopping:
	}
	c.seen.set(b.clock().Run)
	c.waits.Store(false)
}

// ackLeft wakes a reader that waits for acknowledgements to leave. c.mu is
// held.
func (c *Conn) ackLeft() {
	if c.ackRoom != nil && (c.acks.len() <= c.ackRoomAt || c.dead || c.closing) {
		close(c.ackRoom)
		c.ackRoom = nil
	}
}
