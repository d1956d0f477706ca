package mqtt

import (
	"errors"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"lar.home/mqtt/packet"
)

// serveRaw serves a client over TCP or a Unix socket by raw, non-blocking calls: an ordinary call
// for each wake-up doubles the price of a message, because it wakes the
// runtime's monitor. It tells whether the connection was one it can serve.
func serveRaw(b *Broker, nc net.Conn, peer *Peer) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return false
	}
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	s := &socket{nc: nc, rc: rc, b: b}
	if aside(func() { s.open(peer) }); s.c == nil {
		return true
	}
	s.serve()
	b.closeConn(s.c)
	if s.watched {
		b.hangups.remove(s)
	}
	s.linger()
	nc.Close()
	return true
}

// linger takes what a client sends that has not seen yet that the connection
// ended, until it leaves or a moment has passed. Closed at once, a socket answers
// that by breaking off, and a client that finds so when it writes does not read
// why it was sent away. This is for some at a time: it costs a descriptor each.
func (s *socket) linger() {
	const most = 64
	if !s.killed.Load() {
		return
	}
	defer s.b.lingering.Add(-1)
	if s.b.lingering.Add(1) > most {
		return
	}
	s.nc.SetReadDeadline(time.Now().Add(lastWords))
	s.rc.Read(func(fd uintptr) bool {
		for s.readSome(fd) {
			batches.Put(s.t)
			if s.got == 0 {
				return true
			}
		}
		return false
	})
}

// asides are channels by which aside waits.
var asides = sync.Pool{New: func() any { return make(chan struct{}, 1) }}

// aside runs fn on a goroutine of its own and waits for it. What is rare and
// needs a deep stack, as a CONNECT does, then does not make that of the
// connection grow, which lasts as long as the connection and is most of what
// one takes.
func aside(fn func()) {
	done := asides.Get().(chan struct{})
	go func() {
		fn()
		done <- struct{}{}
	}()
	<-done
	asides.Put(done)
}

// open takes the connection up; c stays nil if the broker does not want it.
func (s *socket) open(peer *Peer) {
	peer.of(s.nc)
	s.remote = peer.Remote
	c, err := s.b.Open(s)
	if err != nil {
		s.b.turnedAway(s.nc, err)
		return
	}
	c.peer = *peer
	s.c, s.tryWrite = c, s.writeSome
	s.rc.Control(func(fd uintptr) { s.fd = int32(fd) })
	s.watched = s.b.hangups.add(s)
}

// A socket is a connection over TCP or a Unix socket as a Sink.
type socket struct {
	nc     net.Conn
	rc     syscall.RawConn
	b      *Broker
	c      *Conn
	remote string

	fd      int32
	watched bool        // hangups tells when the other end has gone
	hungUp  bool        // it did: read to the end
	ended   bool        // nothing more is read
	killed  atomic.Bool // nor after this

	t   *Batch // what was read last
	got int    // bytes of it; 0: it was the last

	// What writeSome is to write and what came of it. Conn.flush writes from
	// one goroutine at a time.
	tryWrite func(fd uintptr) bool
	p        []byte
	n        int
	err      error
}

// serve reads until the connection ends. A connection that sleeps holds no
// buffer.
func (s *socket) serve() {
	read := s.readOn
	for {
		err := s.rc.Read(read)
		if s.ended || !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
		s.hungUp = true // whatever hangups saw, reading on will find it
		s.nc.SetReadDeadline(time.Time{})
	}
}

// readOn reads and handles what there is, and says that it wants to wait when
// there is no more. It returns to RawConn.Read for nothing else, since the
// poller tells edges only, and those that came before a call of that are
// forgotten: after one that a read follows. A read that leaves room in the
// buffer has taken all, and another that only finds out so would be a system
// call more for every message. It would also find that the other end has gone,
// for which hangups stands in.
func (s *socket) readOn(fd uintptr) bool {
	for {
		if s.killed.Load() {
			s.ended = true
			return true
		}
		if !s.readSome(fd) {
			s.hungUp = false
			return false
		}
		short := s.got < len(s.t.Buf)
		if rare(s.t.Buf[0]) {
			s.b.lastRare.Store(int64(s.b.clock().Run))
			aside(s.take)
		} else {
			s.take()
		}
		if s.ended {
			return true
		}
		if short && s.watched && !s.hungUp {
			return false
		}
	}
}

// rare tells whether a packet that begins so is one that comes seldom: no
// message, and no answer to one.
func rare(first byte) bool {
	kind := packet.Type(first >> 4)
	return kind < packet.PUBLISH || kind > packet.PUBCOMP
}

// take handles what was read.
func (s *socket) take() {
	t := s.t
	s.t = nil
	if s.got == 0 || s.b.Feed(s.c, t.Buf[:s.got], t) != nil {
		s.ended = true
	}
	s.b.Flush(t)
	batches.Put(t)
}

// readSome reads what is there; it tells whether there was anything, be it the
// end.
func (s *socket) readSome(fd uintptr) bool {
	t := batches.Get().(*Batch)
	for {
		r, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&t.Buf[0])), uintptr(len(t.Buf)))
		switch errno {
		case 0:
			s.t, s.got = t, int(r)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			batches.Put(t)
			return false
		default:
			s.t, s.got = t, 0
			return true
		}
	}
}

func (s *socket) Write(p []byte) (int, error) {
	s.p, s.n, s.err = p, 0, nil
	// RawConn.Write holds the descriptor, so that it cannot be another's.
	err := s.rc.Write(s.tryWrite)
	s.p = nil
	return s.n, errors.Join(err, s.err)
}

// writeSome writes until all is out or the socket is full; it never parks.
func (s *socket) writeSome(fd uintptr) bool {
	for s.n < len(s.p) {
		r, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&s.p[s.n])), uintptr(len(s.p)-s.n))
		switch errno {
		case 0:
			s.n += int(r)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return true
		default:
			s.err = errno
			return true
		}
	}
	return true
}

// WantWrite waits for room on a goroutine of its own: the connection is backed
// up, and nobody else writes until Writable.
func (s *socket) WantWrite() {
	go func() {
		// The room may have come between the short write and here, and the
		// poller tells edges only: look first, then wait.
		err := s.rc.Write(hasRoom)
		if err != nil {
			return
		}
		t := batches.Get().(*Batch)
		s.b.Writable(s.c, t)
		s.b.Flush(t)
		batches.Put(t)
	}()
}

// hasRoom tells whether a socket takes bytes now.
func hasRoom(fd uintptr) bool {
	const pollOut = 4
	return poll(fd, pollOut) // an error of the socket counts: the write will find it
}

// Gone tells whether the other end has left, for who is not reading.
func (s *socket) Gone() (gone bool) {
	const pollReadHangup = 0x2000
	err := s.rc.Control(func(fd uintptr) { gone = poll(fd, pollReadHangup) })
	return gone || err != nil
}

// poll tells whether one of these events, or an error, is there.
func poll(fd uintptr, events int16) bool {
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: events}
	var atOnce syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&atOnce)), 0, 0, 0)
	return errno == 0 && n > 0
}

// Kill has the reader find the end of the connection. It does not close it:
// that would wait for the reader, which may be the one who calls, or wait for a
// lock that the caller holds.
func (s *socket) Kill() {
	s.killed.Store(true)
	s.rc.Control(func(fd uintptr) { syscall.Shutdown(int(fd), syscall.SHUT_WR) })
	s.nc.SetReadDeadline(longAgo) // see linger for what still comes
}

func (s *socket) Remote() string { return s.remote }
