package listen

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/websocket"
)

// What is said in closing, section 7.4.1 of RFC 6455, may take this long.
const closeWithin = time.Second

// protocols are the names that MQTT has among WebSocket's: the one of the
// standard [MQTT-6.0.0-3], and the one of older libraries.
var protocols = []string{"mqtt", "mqttv3.1"}

// Handler takes MQTT over WebSocket, section 6. origins are those of pages
// that may connect beside pages of the same host; "*" lets all. maxPacket
// bounds a frame and a message. serve has the connection until it returns.
func Handler(origins []string, maxPacket func() int, serve func(nc net.Conn, r *http.Request)) http.Handler {
	upgrader := websocket.Upgrader{
		HandshakeTimeout: handshakeWithin,
		ReadBufferSize:   4 << 10,
		WriteBufferSize:  4 << 10,
		WriteBufferPool:  &sync.Pool{},
		Subprotocols:     protocols,
		CheckOrigin:      func(r *http.Request) bool { return allowed(r, origins) },
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if websocket.IsWebSocketUpgrade(r) && !slices.ContainsFunc(websocket.Subprotocols(r), func(p string) bool {
			return slices.Contains(protocols, p)
		}) {
			http.Error(w, "the sub-protocol mqtt is wanted", http.StatusBadRequest)
			return
		}
		ws, err := upgrader.Upgrade(w, r, nil)
		if err != nil {
			return // the client was told
		}
		ws.SetReadLimit(int64(maxPacket()))
		s := &webSocket{ws: ws}
		ws.SetCloseHandler(func(code int, _ string) error {
			s.say(code)
			return nil
		})
		serve(s, r)
	})
}

// allowed tells whether the page that asks may connect. Programs other than
// browsers name no origin.
func allowed(r *http.Request, origins []string) bool {
	origin := r.Header.Get("Origin")
	if origin == "" || slices.Contains(origins, "*") || slices.Contains(origins, origin) {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host != "" && u.Host == r.Host
}

// A webSocket is the stream of bytes that binary frames carry: packets need
// not keep to frames, [MQTT-6.0.0-2].
type webSocket struct {
	ws      *websocket.Conn
	message io.Reader   // the one being read
	cut     packetCut   // of what is written
	closing atomic.Bool // a close frame is sent: nothing follows it
	once    sync.Once
	err     error // of Close
}

var errText = errors.New("a text frame came, MQTT is binary") // [MQTT-6.0.0-1]

func (s *webSocket) Read(p []byte) (int, error) {
	for {
		if s.message == nil {
			kind, message, err := s.ws.NextReader()
			if err != nil {
				return 0, ended(err)
			}
			if kind != websocket.BinaryMessage {
				s.say(websocket.CloseUnsupportedData)
				return 0, errText
			}
			s.message = message
		}
		n, err := s.message.Read(p)
		if err == io.EOF {
			s.message = nil
			err = nil
		}
		if n > 0 || err != nil {
			return n, ended(err)
		}
	}
}

// ended makes the end of a stream of a close frame.
func ended(err error) error {
	if websocket.IsCloseError(err, websocket.CloseNormalClosure, websocket.CloseGoingAway, websocket.CloseNoStatusReceived) {
		return io.EOF
	}
	return err
}

// Write sends each packet in a frame of its own: a client need not, but some
// that are about (Paho's in C) find only the first of several.
//
// The frames go out together, in one call of the transport, which is also what
// keeps those apart that answer a ping or a close meanwhile.
func (s *webSocket) Write(p []byte) (int, error) {
	b := frameBuffers.Get().(*[]byte)
	defer frameBuffers.Put(b)
	*b = (*b)[:0]
	for sent := 0; sent < len(p); {
		n := min(s.cut.next(p[sent:]), len(p)-sent)
		packet := p[sent : sent+n]
		sent += n
		large := n > largeFrame
		if !large {
			*b = append(appendFrameHead(*b, n), packet...)
		}
		if len(*b) > 0 && (large || sent == len(p) || len(*b) > largeFrame) {
			if s.closing.Load() {
				return 0, net.ErrClosed
			}
			if _, err := s.ws.NetConn().Write(*b); err != nil {
				return 0, err
			}
			*b = (*b)[:0]
		}
		if large { // not copied
			if err := s.ws.WriteMessage(websocket.BinaryMessage, packet); err != nil {
				return 0, err
			}
		}
	}
	return len(p), nil
}

// largeFrame is the length above which a packet is not gathered with others.
const largeFrame = 16 << 10

var frameBuffers = sync.Pool{New: func() any { return new([]byte) }}

// appendFrameHead begins a binary message of one frame from a server, section
// 5.2 of RFC 6455.
func appendFrameHead(b []byte, n int) []byte {
	const final = 0x80
	b = append(b, final|websocket.BinaryMessage)
	switch {
	case n < 126:
		return append(b, byte(n))
	case n < 1<<16:
		return binary.BigEndian.AppendUint16(append(b, 126), uint16(n))
	}
	return binary.BigEndian.AppendUint64(append(b, 127), uint64(n))
}

// A packetCut finds the ends of MQTT packets in a stream, section 2.1.
type packetCut struct {
	left int // bytes of the packet that has begun, once its length is known
	head int // bytes of its fixed header that have passed before that
	size int // of what follows the header, as far as it is read
}

// next returns how many bytes of p belong to the packet that has begun, or to
// the next; of p, which is not empty, or more.
func (c *packetCut) next(p []byte) int {
	if c.left == 0 {
		for i, b := range p {
			if c.head++; c.head == 1 {
				continue // type and flags
			}
			c.size |= int(b&0x7f) << (7 * (c.head - 2))
			if b < 0x80 || c.head == 5 {
				n := i + 1 + c.size
				*c = packetCut{left: max(0, n-len(p))}
				return n
			}
		}
		return len(p)
	}
	n := c.left
	c.left = max(0, n-len(p))
	return n
}

func (s *webSocket) say(code int) {
	s.closing.Store(true)
	s.ws.WriteControl(websocket.CloseMessage, websocket.FormatCloseMessage(code, ""), time.Now().Add(closeWithin))
}

func (s *webSocket) Close() error {
	s.once.Do(func() {
		s.say(websocket.CloseNormalClosure)
		s.err = s.ws.Close()
	})
	return s.err
}

// Direct says how to write without waiting.
func (s *webSocket) Direct() func(gone func()) bool { return unsentOf(s.ws.NetConn()) }

func (s *webSocket) LocalAddr() net.Addr  { return s.ws.LocalAddr() }
func (s *webSocket) RemoteAddr() net.Addr { return s.ws.RemoteAddr() }

func (s *webSocket) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

func (s *webSocket) SetReadDeadline(t time.Time) error { return s.ws.NetConn().SetReadDeadline(t) }

// SetWriteDeadline closes the connection at t, since the library sets the
// deadline of its transport anew with each frame. It is called when the
// connection is to end.
func (s *webSocket) SetWriteDeadline(t time.Time) error {
	if !t.IsZero() {
		time.AfterFunc(time.Until(t), func() { s.ws.NetConn().Close() })
	}
	return nil
}
