package mqtt

import (
	"context"
	"errors"
	"net"
	"sync"
	"time"
)

// listeners are those that Serve accepts from.
type listeners struct {
	mu  sync.Mutex // guards all
	all map[net.Listener]struct{}
}

// Serve accepts clients from ln until the broker is shut down or ln fails.
func (b *Broker) Serve(ln net.Listener) error {
	b.listeners.mu.Lock()
	if b.listeners.all == nil {
		b.listeners.all = make(map[net.Listener]struct{})
	}
	b.listeners.all[ln] = struct{}{}
	b.listeners.mu.Unlock()
	const shortest, longest = 5 * time.Millisecond, time.Second
	wait := shortest
	for {
		nc, err := ln.Accept()
		if err != nil {
			if errors.Is(err, net.ErrClosed) {
				return nil
			}
			// Out of descriptors, most likely: clients go, and so it goes on.
			b.log.Warn("connection not accepted", "err", err)
			select {
			case <-b.stopping:
				return nil
			case <-time.After(wait):
			}
			wait = min(2*wait, longest)
			continue
		}
		wait = shortest
		go b.ServeConn(nc)
	}
}

// ServeConn serves one client until its connection ends.
func (b *Broker) ServeConn(nc net.Conn) { b.ServePeer(nc, Peer{}) }

// ServePeer serves one client, of whom a listener knows something, until its
// connection ends.
func (b *Broker) ServePeer(nc net.Conn, peer Peer) {
	if !serveRaw(b, nc, &peer) {
		b.serveStream(nc, peer)
	}
}

// of completes what is known of the other end of nc.
func (p *Peer) of(nc net.Conn) {
	if p.Remote == "" {
		p.Remote = nc.RemoteAddr().String()
	}
}

// serveStream serves one client over a transport of any kind.
func (b *Broker) serveStream(nc net.Conn, peer Peer) {
	peer.of(nc)
	s := &stream{nc: nc, b: b, peer: peer}
	s.wake.L = &s.mu
	if d, ok := nc.(Direct); ok {
		s.unsent = d.Direct()
	}
	c, err := b.Open(s) // from here on it may be killed
	if err != nil {
		b.turnedAway(nc, err)
		return
	}
	c.peer = peer
	s.c = c
	if s.unsent == nil {
		go s.write()
	}
	for {
		t := batches.Get().(*Batch)
		n, err := nc.Read(t.Buf)
		if n > 0 {
			if wrong := b.Feed(c, t.Buf[:n], t); wrong != nil {
				err = wrong
			}
		}
		b.Flush(t)
		batches.Put(t)
		if err != nil {
			break
		}
	}
	b.closeConn(c)
	s.Kill()
}

// turnedAway closes a connection that Open has refused.
func (b *Broker) turnedAway(nc net.Conn, err error) {
	if full, ok := errors.AsType[*limitError](err); ok {
		b.reached(full.limit, nc.RemoteAddr().String(), err)
	} else if b.refusals.allow(b.clock().Run) {
		b.log.Warn("connection refused", "remote", nc.RemoteAddr().String(), "err", err)
	}
	nc.Close()
}

// closeConn ends a connection whose transport is gone.
func (b *Broker) closeConn(c *Conn) {
	t := batches.Get().(*Batch)
	b.Close(c, t)
	b.Flush(t)
	batches.Put(t)
}

// A Direct is a transport that can be written to by who must not wait, which
// spares a goroutine and its wake-up for each message.
type Direct interface {
	// Direct asks that Write keep from now on what it cannot send at once,
	// and returns what tells whether there is such: gone is called, from any
	// goroutine, once it has gone out or cannot any more. It returns nil if
	// the transport cannot do that.
	Direct() (unsent func(gone func()) bool)
}

// A stream is any net.Conn as a Sink: a pipe, TLS. Its Write never blocks. If
// that of the transport does, a goroutine of its own hands on what it took.
type stream struct {
	nc     net.Conn
	b      *Broker
	c      *Conn
	peer   Peer
	unsent func(gone func()) bool // of a Direct

	mu     sync.Mutex // guards the rest
	wake   sync.Cond
	buf    []byte // being written, or to be
	ended  bool   // Kill was called: write what is there, then close
	wanted bool   // WantWrite was called
}

// streamChunk is what a stream takes at a time: what waits for a client that
// is slow stands in its connection, where it is not copied.
const streamChunk = 64 << 10

// Write takes some, unless the last it took is still being written.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return 0, net.ErrClosed
	}
	if s.unsent != nil {
		s.mu.Unlock()
		return s.writeDirect(p)
	}
	defer s.mu.Unlock()
	if len(s.buf) > 0 {
		return 0, nil
	}
	p = p[:min(len(p), streamChunk)]
	s.buf = append(s.buf, p...)
	s.wake.Signal()
	return len(p), nil
}

// writeDirect writes until some of it does not go out at once.
func (s *stream) writeDirect(p []byte) (n int, err error) {
	for n < len(p) && err == nil && !s.unsent(nil) {
		var some int
		some, err = s.nc.Write(p[n:min(len(p), n+streamChunk)])
		n += some
	}
	return n, err
}

func (s *stream) WantWrite() {
	if s.unsent != nil {
		if !s.unsent(s.emptied) {
			go s.emptied()
		}
		return
	}
	s.mu.Lock()
	s.wanted = true
	s.wake.Signal()
	s.mu.Unlock()
}

func (s *stream) Kill() {
	s.nc.SetWriteDeadline(time.Now().Add(lastWords)) // for what is being written
	s.mu.Lock()
	before := s.ended
	s.ended = true
	s.wake.Signal()
	s.mu.Unlock()
	if s.unsent != nil && !before && !s.unsent(s.emptied) {
		go s.nc.Close() // which has something to say, and may wait for who writes
	}
}

// emptied is called when what was written has gone out.
func (s *stream) emptied() {
	s.mu.Lock()
	ended := s.ended
	s.mu.Unlock()
	if ended {
		s.nc.Close()
		return
	}
	s.writable()
}

// writable says that there is room again.
func (s *stream) writable() {
	t := batches.Get().(*Batch)
	s.b.Writable(s.c, t)
	s.b.Flush(t)
	batches.Put(t)
}

func (s *stream) Remote() string { return s.peer.Remote }

// lastWords is how long what was written before Kill may take to go out.
const lastWords = time.Second

// write hands on what Write took.
func (s *stream) write() {
	for {
		s.mu.Lock()
		for len(s.buf) == 0 && !s.ended && !s.wanted {
			s.wake.Wait()
		}
		buf, ended, wanted := s.buf, s.ended, s.wanted
		if len(buf) == 0 {
			s.wanted = false
		}
		s.mu.Unlock()
		switch {
		case len(buf) > 0:
			if ended {
				s.nc.SetWriteDeadline(time.Now().Add(lastWords))
			}
			_, err := s.nc.Write(buf)
			s.mu.Lock()
			s.buf = nil
			s.ended = s.ended || err != nil
			s.mu.Unlock()
		case ended:
			s.nc.Close()
			return
		case wanted:
			s.writable()
		}
	}
}

// Shutdown stops listening, says goodbye to the clients, decides what their
// leaving means and waits until all of it is on disk, or until ctx ends.
func (b *Broker) Shutdown(ctx context.Context) error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	batch := &Batch{}
	t := b.begin(batch)
	for c := range b.conns {
		if c.sess != nil {
			b.goodbye(t, c)
		}
		c.end(batch)
		b.split(t)
	}
	b.finish(t)
	number := b.submitted
	b.mu.Unlock()
	b.Flush(batch)
	b.listeners.mu.Lock()
	for ln := range b.listeners.all {
		ln.Close()
	}
	b.listeners.mu.Unlock()

	done := make(chan struct{})
	b.onDurable(number, func() { close(done) })
	var err error
	select {
	case <-done:
	case <-ctx.Done():
		err = ctx.Err()
	}
	b.mu.Lock()
	for c := range b.conns {
		c.sink.Kill() // who has not taken the last words by now
	}
	b.mu.Unlock()
	close(b.stopping)
	<-b.timeEnded
	b.jobs.close()
	b.hangups.close()
	return err
}
