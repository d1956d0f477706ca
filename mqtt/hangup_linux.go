package mqtt

import (
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

// hangups tells the readers of sockets that the other end has gone. They look
// for data only: one who leaves with its last bytes, or breaks off, may have
// come before these were read, and has no edge of its own then. Watching for
// this alone costs a message nothing.
//
// The zero value is ready. It has a descriptor and a goroutine from the first
// socket on, until close.
type hangups struct {
	mu      sync.Mutex // guards the rest
	epoll   *os.File
	fd      int
	broken  bool      // or closed
	sockets []*socket // by descriptor
}

// add watches s, and tells whether it can.
func (h *hangups) add(s *socket) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.epoll == nil && !h.broken {
		h.broken = !h.open()
	}
	if h.broken {
		return false
	}
	event := syscall.EpollEvent{Events: syscall.EPOLLRDHUP | edgeTriggered, Fd: s.fd} // errors are told always
	if syscall.EpollCtl(h.fd, syscall.EPOLL_CTL_ADD, int(s.fd), &event) != nil {
		return false
	}
	for int(s.fd) >= len(h.sockets) {
		h.sockets = append(h.sockets, nil)
	}
	h.sockets[s.fd] = s
	return true
}

// edgeTriggered is EPOLLET, which package syscall has with the wrong sign.
const edgeTriggered = 1 << 31

// remove is for who closes s next, by which the system forgets it.
func (h *hangups) remove(s *socket) {
	h.mu.Lock()
	h.sockets[s.fd] = nil
	h.mu.Unlock()
}

// open makes the descriptor and begins to follow it. h.mu is held.
func (h *hangups) open() bool {
	fd, err := syscall.EpollCreate1(syscall.EPOLL_CLOEXEC)
	if err != nil {
		return false
	}
	syscall.SetNonblock(fd, true) // so that Go's poller takes it
	h.fd, h.epoll = fd, os.NewFile(uintptr(fd), "epoll")
	rc, err := h.epoll.SyscallConn()
	if err != nil || h.epoll.SetReadDeadline(time.Time{}) != nil {
		h.epoll.Close()
		return false
	}
	go rc.Read(h.follow)
	return true
}

// follow wakes the readers of the sockets that the system names, and waits for
// more.
func (h *hangups) follow(fd uintptr) bool {
	var events [64]syscall.EpollEvent
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, fd, uintptr(unsafe.Pointer(&events[0])), uintptr(len(events)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
			continue
		case errno != 0 || n == 0:
			return false
		}
		h.mu.Lock()
		for _, e := range events[:n] {
			// Should it be another's by now, that one looks once in vain.
			if s := h.sockets[e.Fd]; s != nil {
				s.nc.SetReadDeadline(longAgo)
			}
		}
		h.mu.Unlock()
	}
}

var longAgo = time.Unix(1, 0)

// close ends the goroutine; connections that come after it do without.
func (h *hangups) close() {
	h.mu.Lock()
	h.broken = true
	epoll := h.epoll
	h.mu.Unlock()
	if epoll != nil {
		epoll.Close() // waits for the goroutine, which may wait for the lock
	}
}
