package mqtt

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"lar.home/mqtt/packet"
)

// Open takes up a connection. Feed, Flush, Writable and Close follow.
func (b *Broker) Open(sink Sink) (*Conn, error) {
	c := &Conn{b: b, sink: sink, remote: sink.Remote(), limit: b.limits().ConnectSize, version: packet.V311}
	if ap, err := netip.ParseAddrPort(c.remote); err == nil && !ap.Addr().Unmap().IsLoopback() {
		c.from = ap.Addr().Unmap()
	}
	err := b.enlist(c)
	if _, full := errors.AsType[*limitError](err); full {
		err = b.enlistSoon(c)
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// enlist takes c up, if there is room.
func (b *Broker) enlist(c *Conn) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return errors.New("the hub is stopping")
	case len(b.conns) >= b.limits().Connections:
		return &limitError{"connections", fmt.Sprintf("%d connections are open, no more are allowed", len(b.conns))}
	case b.unauthenticated >= b.limits().Unauthenticated && !loopback(c.remote):
		return &limitError{"unauthenticated", fmt.Sprintf("%d connections have not said who they are, no more are allowed", b.unauthenticated)}
	case c.from.IsValid() && b.connsFrom[c.from] >= b.limits().PerAddress:
		return &limitError{"per_address", fmt.Sprintf("%d connections come from %s, no more are allowed", b.connsFrom[c.from], c.from)}
	}
	b.conns[c] = struct{}{}
	if c.from.IsValid() {
		b.connsFrom[c.from]++
	}
	b.unauthenticated++
	b.stats.sockets.Add(1)
	c.seen.set(b.clock().Run)
	b.watch(c)
	return nil
}

// newcomers are connections for which there is no room. They wait a moment:
// somebody may have left of whom it has not been noticed yet. One at a time
// does, and none soon after one that did so in vain: a flood is turned away at
// once.
type newcomers struct {
	left   chan struct{} // of capacity 1: somebody has, or has said who it is
	turn   chan struct{} // of capacity 1: held by the one that waits
	inVain time.Duration // Run time when one last did so in vain, 0: never
}

func newNewcomers() newcomers {
	return newcomers{left: make(chan struct{}, 1), turn: make(chan struct{}, 1)}
}

// room says that there may be room for a newcomer.
func (n *newcomers) room() {
	select {
	case n.left <- struct{}{}:
	default:
	}
}

// How long newcomers wait, and how long none does after one has in vain.
const (
	newcomerWait = 50 * time.Millisecond
	newcomerRest = time.Second
)

// enlistSoon takes c up if there is room within a moment.
func (b *Broker) enlistSoon(c *Conn) error {
	n := &b.newcomers
	timer := time.NewTimer(newcomerWait)
	defer timer.Stop()
	select {
	case n.turn <- struct{}{}:
	case <-timer.C:
		return b.enlist(c)
	case <-b.stopping:
		return b.enlist(c)
	}
	defer func() { <-n.turn }()
	for over := false; ; {
		err := b.enlist(c)
		_, full := errors.AsType[*limitError](err)
		switch {
		case !full || n.inVain > 0 && b.clock().Run-n.inVain < newcomerRest:
			return err
		case over:
			n.inVain = b.clock().Run
			return err
		}
		select {
		case <-n.left:
		case <-timer.C:
			over = true
		case <-b.stopping:
			over = true
		}
	}
}

// Close says that a connection is over.
func (b *Broker) Close(c *Conn, t *Batch) {
	c.mu.Lock()
	c.dead = true
	c.discard()
	c.msgs.clear()
	c.acks.clear()
	c.ackLeft()
	c.mu.Unlock()
	b.unreserve(c)
	b.mu.Lock()
	if _, open := b.conns[c]; open && c.from.IsValid() {
		if b.connsFrom[c.from]--; b.connsFrom[c.from] == 0 {
			delete(b.connsFrom, c.from)
		}
	}
	delete(b.conns, c)
	b.cancel(c.check)
	if !c.ended {
		b.turnHere(t, func(turn *Turn) { b.lost(turn, c) })
		c.ended = true
	}
	b.mu.Unlock()
	b.newcomers.room()
}
