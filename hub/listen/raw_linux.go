package listen

import (
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
	return r
}

// A rawConn parks in Go's poller like any other, and keeps its deadlines.
type rawConn struct {
	net.Conn
	rc      syscall.RawConn
	in, out rawCall
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
	n, err := c.in.do(p, c.rc.Read, "read")
	if n == 0 && err == nil {
		err = io.EOF
	}
	return n, err
}

func (c *rawConn) Write(p []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	return c.out.do(p, c.rc.Write, "write")
}

func (r *rawCall) do(p []byte, call func(func(uintptr) bool) error, name string) (int, error) {
	r.p, r.n, r.errno = p, 0, 0
	err := call(r.try)
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
