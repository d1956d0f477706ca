package listen

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"unsafe"
)

// raw returns a connection that reads and writes by raw, non-blocking calls, for
// what runs on top of it: TLS, HTTP. An ordinary call for each wake-up wakes the
// runtime's monitor, which then costs as much as the message.
func raw(nc net.Conn) net.Conn {
	switch nc.(type) {
	case *net.TCPConn, *net.UnixConn:
	default:
		return nc
	}
	rc, err := nc.(syscall.Conn).SyscallConn()
	if err != nil {
		return nc
	}
	r := &rawConn{Conn: nc, rc: rc}
	r.in.try, r.out.try = r.readSome, r.writeSome
	r.once = func(fd uintptr) bool { r.writeSome(fd); return true }
	return r
}

// A rawConn parks in Go's poller like any other, and keeps its deadlines.
//
// Once it is direct, Write waits for nobody: what the system does not take is
// kept, and goes out when there is room. Whoever writes then looks at Unsent
// first, and lets be while there is something.
type rawConn struct {
	net.Conn
	rc      syscall.RawConn
	in, out rawCall

	once func(fd uintptr) bool // out.try that never waits

	// Guarded by out.mu.
	direct  bool
	sending bool // what is unsent goes out when there is room
	unsent  []byte
	gone    func() // to be called when it has
	failed  error  // of that
}

// mostUnsent bounds what is kept beyond what the broker writes at a time: the
// answers to pings, say, of somebody who takes none.
const mostUnsent = 1 << 20

var errUnsent = errors.New("the other end takes nothing of what it asks for")

// unsentOf makes the connection that nc is laid upon direct, and returns its
// Unsent; nil if it is not one of these.
func unsentOf(nc net.Conn) func(gone func()) bool {
	switch c := nc.(type) {
	case *rawConn:
		c.out.mu.Lock()
		c.direct = true
		c.out.mu.Unlock()
		return c.Unsent
	case *webConn:
		return unsentOf(c.Conn)
	case secureConn:
		return unsentOf(c.NetConn())
	case *tls.Conn:
		return unsentOf(c.NetConn())
	}
	return nil
}

// Unsent tells whether something of what was written has not gone out yet. If
// so gone, unless it is nil, is called once it has, or cannot any more.
func (c *rawConn) Unsent(gone func()) bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.sending && gone != nil {
		c.gone = gone
	}
	return c.sending
}

// writeDirect writes what the system takes, and keeps the rest. out.mu is held.
func (c *rawConn) writeDirect(p []byte) (int, error) {
	switch {
	case c.failed != nil:
		return 0, c.failed
	case c.sending && len(c.unsent)+len(p) > mostUnsent:
		return 0, errUnsent
	case c.sending:
		c.unsent = append(c.unsent, p...)
		return len(p), nil
	}
	n, err := c.out.do(p, c.once, c.rc.Write, "write")
	if err == nil && n < len(p) {
		c.unsent = append(c.unsent, p[n:]...)
		c.sending = true
		go c.sendRest()
		n = len(p)
	}
	return n, err
}

// sendRest waits for room until what is unsent has gone out.
func (c *rawConn) sendRest() {
	for {
		err := c.rc.Write(c.sendSome)
		c.out.mu.Lock()
		if err == nil && c.out.errno != 0 {
			err = c.out.errno
		}
		if err == nil && len(c.unsent) > 0 { // came meanwhile
			c.out.mu.Unlock()
			continue
		}
		gone := c.gone
		c.failed, c.sending, c.unsent, c.gone = err, false, nil, nil
		c.out.mu.Unlock()
		if gone != nil {
			gone()
		}
		return
	}
}

func (c *rawConn) sendSome(fd uintptr) bool {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	c.out.p, c.out.n, c.out.errno = c.unsent, 0, 0
	whole := c.writeSome(fd)
	c.unsent = c.unsent[c.out.n:]
	c.out.p = nil
	return whole
}

// A rawCall is a read or a write under way.
type rawCall struct {
	mu    sync.Mutex // held by whoever reads, or writes
	try   func(fd uintptr) bool
	p     []byte
	n     int
	errno syscall.Errno
}

func (c *rawConn) Read(p []byte) (int, error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.in.do(p, c.in.try, c.rc.Read, "read")
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c *rawConn) Write(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.direct {
		return c.writeDirect(p)
	}
	return c.out.do(p, c.out.try, c.rc.Write, "write")
}

func (r *rawCall) do(p []byte, try func(uintptr) bool, call func(func(uintptr) bool) error, name string) (int, error) {
	r.p, r.n, r.errno = p, 0, 0
	err := call(try)
	r.p = nil
	if err == nil && r.errno != 0 {
		err = &net.OpError{Op: name, Net: "tcp", Err: os.NewSyscallError(name, r.errno)}
	}
	return r.n, err
}

// readSome reads once, or tells that there is nothing yet. The poller tells
// edges only: first read, then wait.
func (c *rawConn) readSome(fd uintptr) bool {
	for {
		n, _, errno := syscall.RawSyscall(syscall.SYS_READ, fd, uintptr(unsafe.Pointer(&c.in.p[0])), uintptr(len(c.in.p)))
		switch errno {
		case 0:
			c.in.n = int(n)
			return true
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.in.errno = errno
			return true
		}
	}
}

// writeSome writes until all is out, or tells that there is no room.
func (c *rawConn) writeSome(fd uintptr) bool {
	for c.out.n < len(c.out.p) {
		n, _, errno := syscall.RawSyscall(syscall.SYS_WRITE, fd, uintptr(unsafe.Pointer(&c.out.p[c.out.n])), uintptr(len(c.out.p)-c.out.n))
		switch errno {
		case 0:
			c.out.n += int(n)
		case syscall.EINTR:
		case syscall.EAGAIN:
			return false
		default:
			c.out.errno = errno
			return true
		}
	}
	return true
}
