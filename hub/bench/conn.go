package bench

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"lar.home/mqtt/packet"
)

// A Target is a broker that is measured.
type Target struct {
	Addr      string // host and port
	Username  string // without it, no credential is sent
	Password  string
	Version   packet.Version // 0: 3.1.1
	TLS       *tls.Config    // nil: plain TCP
	WebSocket bool           // by path /mqtt
	PID       int            // of the broker; 0: unknown, so nothing is said of CPU and memory
}

func (t Target) version() packet.Version {
	if t.Version == 0 {
		return packet.V311
	}
	return t.Version
}

const (
	// patience bounds a wait for an answer that must come.
	patience = 20 * time.Second
	// maxPacket bounds a packet that is read.
	maxPacket = 1 << 20
	// readRoom is how much a busy connection reads at once, so that one
	// system call serves many packets.
	readRoom = 16 << 10
	// littleRoom is enough for a connection that hears little.
	littleRoom = 512
)

// A conn is one connection to the broker. One goroutine reads; who writes
// holds mu.
type conn struct {
	nc             net.Conn
	v              packet.Version
	receiveMaximum int // of the broker
	present        bool
	in             []byte
	r, w           int // what of in is not read yet

	mu  sync.Mutex // guards out
	out []byte
}

// dial connects as c says and waits for the CONNACK.
func dial(ctx context.Context, t Target, c packet.Connect, room int) (*conn, error) {
	d := net.Dialer{Timeout: patience}
	var nc net.Conn
	var err error
	if t.TLS != nil {
		nc, err = (&tls.Dialer{NetDialer: &d, Config: t.TLS}).DialContext(ctx, "tcp", t.Addr)
	} else {
		nc, err = d.DialContext(ctx, "tcp", t.Addr)
	}
	if err != nil {
		return nil, err
	}
	if t.WebSocket {
		ws, err := upgrade(ctx, nc, t.Addr)
		if err != nil {
			nc.Close()
			return nil, err
		}
		nc = ws
	}
	cn := &conn{nc: nc, v: t.version(), in: make([]byte, room), receiveMaximum: 65535}
	c.Version = cn.v
	c.HasUsername, c.Username = t.Username != "", t.Username
	c.HasPassword, c.Password = t.Password != "", []byte(t.Password)
	if err := cn.handshake(&c); err != nil {
		nc.Close()
		return nil, err
	}
	return cn, nil
}

func (c *conn) handshake(ask *packet.Connect) error {
	p, err := c.ask(ask)
	if err != nil {
		return fmt.Errorf("answer to CONNECT: %w", err)
	}
	ack, ok := p.(*packet.Connack)
	switch {
	case !ok:
		return fmt.Errorf("the answer to CONNECT is %s", p.Type())
	case ack.Reason == 4 || ack.Reason == 5 || ack.Reason == packet.BadUserNameOrPassword || ack.Reason == packet.NotAuthorized:
		return ErrRefused
	case ack.Reason != packet.Success:
		return fmt.Errorf("the broker does not take the connection, reason %#x", byte(ack.Reason))
	}
	c.present = ack.SessionPresent
	if ack.ReceiveMaximum > 0 {
		c.receiveMaximum = int(ack.ReceiveMaximum)
	}
	return nil
}

// ErrRefused is the error of a broker that wants another credential.
var ErrRefused = errors.New("the broker refuses the credential")

// ask sends a packet and returns the next one that comes.
func (c *conn) ask(p packet.Packet) (packet.Packet, error) {
	c.nc.SetDeadline(time.Now().Add(patience))
	defer c.nc.SetDeadline(time.Time{})
	if _, err := c.nc.Write(packet.Append(nil, c.v, p)); err != nil {
		return nil, err
	}
	first, body, err := c.next()
	if err != nil {
		return nil, err
	}
	return packet.Decode(c.v, first, body)
}

// subscribe waits until the subscription is granted with its QoS.
func (c *conn) subscribe(filter string, qos packet.QoS) error {
	p, err := c.ask(&packet.Subscribe{PacketID: 1, Filters: []packet.Subscription{{Filter: filter, QoS: qos}}})
	if err != nil {
		return fmt.Errorf("answer to SUBSCRIBE: %w", err)
	}
	if ack, ok := p.(*packet.Suback); !ok || len(ack.Reasons) != 1 || ack.Reasons[0] != packet.Reason(qos) {
		return fmt.Errorf("QoS %d is not granted for %s", qos, filter)
	}
	return nil
}

// whole tells whether another packet can be had without waiting.
func (c *conn) whole() bool {
	n, ok, err := packet.Size(c.in[c.r:c.w])
	return err != nil || ok && n <= c.w-c.r
}

// next returns the next packet, of which body is only lent.
func (c *conn) next() (first byte, body []byte, err error) {
	for {
		first, body, n, err := packet.Split(c.in[c.r:c.w], maxPacket)
		if err != nil {
			return 0, nil, err
		}
		if n > 0 {
			c.r += n
			return first, body, nil
		}
		if c.r > 0 {
			c.w = copy(c.in, c.in[c.r:c.w])
			c.r = 0
		}
		if c.w == len(c.in) {
			c.in = append(c.in, make([]byte, len(c.in))...)
		}
		n, err = c.nc.Read(c.in[c.w:])
		if n == 0 && err != nil {
			return 0, nil, err
		}
		c.w += n
	}
}

// flush writes what was gathered. The caller holds mu.
func (c *conn) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	_, err := c.nc.Write(c.out)
	c.out = c.out[:0]
	return err
}

// close ends the connection as a client that has no more to say.
func (c *conn) close() {
	c.mu.Lock()
	c.nc.SetWriteDeadline(time.Now().Add(time.Second))
	c.nc.Write(append(c.out, byte(packet.DISCONNECT)<<4, 0))
	c.mu.Unlock()
	c.nc.Close()
}

// refused tells whether an acknowledgement carries a reason of 5.0 that says
// that the message was not taken, section 3.4.2.1.
func refused(body []byte) bool { return len(body) > 2 && body[2] >= 0x80 }

// each calls fn for 0 to n-1, some at a time, and returns the first error.
func each(n, atOnce int, fn func(i int) error) error {
	var (
		wg    sync.WaitGroup
		mu    sync.Mutex
		taken int
		first error
	)
	for range min(n, atOnce) {
		wg.Go(func() {
			for {
				mu.Lock()
				i := taken
				taken++
				stop := first != nil || i >= n
				mu.Unlock()
				if stop {
					return
				}
				if err := fn(i); err != nil {
					mu.Lock()
					if first == nil {
						first = err
					}
					mu.Unlock()
				}
			}
		})
	}
	wg.Wait()
	return first
}
