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
var largeBusy = &packet.Error{Packet: "packet", Field: "size", Reason: packet.QuotaExceeded}

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
		got := true
		select {
		case <-w.room:
		case <-timeout.C:
			got = b.large.leave(w, b.limits().LargeBytes)
		case <-b.stopping:
			got = b.large.leave(w, b.limits().LargeBytes)
		}
		c.seen.set(b.clock().Run)
		c.waits.Store(false)
		if !got {
			return largeBusy
		}
	}
	c.reserved = size
	return nil
}

// unreserve gives back what a large packet had taken.
func (b *Broker) unreserve(c *Conn) {
	if c.reserved > 0 {
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
	b.Flush(t)
	c.waits.Store(true)
	timeout := time.NewTimer(longestPause) // slowed, not stopped: the disk may hang for long
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
