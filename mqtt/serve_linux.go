package mqtt

import (
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"
)

// serveRaw serves a client over TCP or a Unix socket by raw, non-blocking calls: an ordinary call
// for each wake-up doubles the price of a message, because it wakes the
// runtime's monitor. It tells whether the connection was one it can serve.
func serveRaw(b *Broker, nc net.Conn, peer Peer) bool {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return false
	}
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return false
	}
	s := &socket{nc: nc, rc: rc, b: b, peer: peer}
	if s.c, err = b.Open(s); err != nil {
		b.turnedAway(nc, err)
		return true
	}
	s.c.peer = peer
	s.tryWrite = s.writeSome
	s.serve()
	b.closeConn(s.c)
	nc.Close()
	return true
}

// A socket is a connection over TCP or a Unix socket as a Sink.
type socket struct {
	nc   net.Conn
	rc   syscall.RawConn
	b    *Broker
	c    *Conn
	peer Peer

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
	var t *Batch
	var n int
	var errno syscall.Errno
	try := func(fd uintptr) bool {
		t = batches.Get().(*Batch)
		for {
			// First read, then wait: the poller tells edges only.
			var r uintptr
			r, _, errno = syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&t.Buf[0])), uintptr(len(t.Buf)))
			if errno != syscall.EINTR {
				n = int(r)
				break
			}
		}
		if errno == syscall.EAGAIN {
			batches.Put(t)
			t = nil
			return false
		}
		return true
	}
	for s.rc.Read(try) == nil {
		err := error(io.EOF)
		if errno == 0 && n > 0 {
			err = s.b.Feed(s.c, t.Buf[:n], t)
		}
		s.b.Flush(t)
		batches.Put(t)
		if err != nil {
			return
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
	p := struct {
		fd              int32
		events, revents int16
	}{fd: int32(fd), events: pollOut}
	var atOnce syscall.Timespec
	n, _, errno := syscall.RawSyscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&atOnce)), 0, 0, 0)
	return errno == 0 && n > 0 // an error of the socket counts: the write will find it
}

func (s *socket) Kill() { s.nc.Close() }

func (s *socket) Remote() string { return s.peer.Remote }
