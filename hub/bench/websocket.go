package bench

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"net/http"
)

// A webSocket carries a stream in binary messages, RFC 6455. It is a client's
// side, and no more of it than measuring needs: each Write is one message.
type webSocket struct {
	net.Conn
	r    *bufio.Reader
	left int    // bytes of the frame being read
	out  []byte // the frame being written
}

const (
	frameBinary = 2
	frameClose  = 8
	framePing   = 9
	framePong   = 10
)

// upgrade makes a WebSocket of a connection, by path /mqtt.
func upgrade(ctx context.Context, nc net.Conn, host string) (*webSocket, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/mqtt", nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "websocket")
	r.Header.Set("Sec-WebSocket-Version", "13")
	r.Header.Set("Sec-WebSocket-Key", "bGFyIG1lYXN1cmVzIGl0IQ==")
	r.Header.Set("Sec-WebSocket-Protocol", "mqtt")
	if err := r.Write(nc); err != nil {
		return nil, err
	}
	w := &webSocket{Conn: nc, r: bufio.NewReaderSize(nc, readRoom)}
	resp, err := http.ReadResponse(w.r, r)
	if err != nil {
		return nil, fmt.Errorf("answer to the WebSocket's request: %w", err)
	}
	resp.Body.Close()
	if resp.StatusCode != http.StatusSwitchingProtocols {
		return nil, fmt.Errorf("answer to the WebSocket's request: %s", resp.Status)
	}
	return w, nil
}

// Read returns what messages hold, of all that have come, so that a client
// answers many of them at a time.
func (w *webSocket) Read(p []byte) (n int, err error) {
	for n < len(p) && (n == 0 || w.left > 0 && w.r.Buffered() > 0 || w.r.Buffered() >= maxHead) {
		more, err := w.read(p[n:])
		if n += more; err != nil {
			return n, err
		}
	}
	return n, nil
}

// maxHead is the length of the longest head of a frame from a server.
const maxHead = 10

// read returns what is left of a message, or begins the next.
func (w *webSocket) read(p []byte) (int, error) {
	for w.left == 0 {
		kind, err := w.head()
		if err != nil {
			return 0, err
		}
		switch kind {
		case frameClose:
			return 0, io.EOF
		case framePing:
			body := make([]byte, w.left)
			w.left = 0
			if _, err := io.ReadFull(w.r, body); err != nil {
				return 0, err
			}
			if _, err := w.Conn.Write(frame(nil, framePong, body)); err != nil {
				return 0, err
			}
		case framePong:
			if _, err := w.r.Discard(w.left); err != nil {
				return 0, err
			}
			w.left = 0
		}
	}
	n, err := w.r.Read(p[:min(len(p), w.left)])
	w.left -= n
	return n, err
}

// head reads the head of a frame, section 5.2.
func (w *webSocket) head() (kind byte, err error) {
	var h [8]byte
	if _, err := io.ReadFull(w.r, h[:2]); err != nil {
		return 0, err
	}
	kind = h[0] & 0x0f
	switch n := h[1] & 0x7f; n {
	case 126:
		_, err = io.ReadFull(w.r, h[:2])
		w.left = int(binary.BigEndian.Uint16(h[:]))
	case 127:
		_, err = io.ReadFull(w.r, h[:8])
		w.left = int(min(binary.BigEndian.Uint64(h[:]), 1<<40))
	default:
		w.left = int(n)
	}
	return kind, err
}

// Write sends p as one message. One goroutine writes at a time.
func (w *webSocket) Write(p []byte) (int, error) {
	w.out = frame(w.out[:0], frameBinary, p)
	if _, err := w.Conn.Write(w.out); err != nil {
		return 0, err
	}
	return len(p), nil
}

// frame appends a frame that is masked, as a client's have to be, with zeros.
func frame(dst []byte, kind byte, p []byte) []byte {
	dst = append(dst, 0x80|kind)
	switch {
	case len(p) < 126:
		dst = append(dst, 0x80|byte(len(p)))
	case len(p) < 1<<16:
		dst = binary.BigEndian.AppendUint16(append(dst, 0x80|126), uint16(len(p)))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, 0x80|127), uint64(len(p)))
	}
	return append(append(dst, 0, 0, 0, 0), p...)
}
