package listen

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"io"
	"net"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lar.home/mqtt"
)

// TestDirect writes to clients that do not read. No write waits; what was
// written comes whole and in order once they read, and that is told; without
// bound nothing is kept, and the end is told too.
func TestDirect(t *testing.T) {
	ca := newIssuer(t, "house")
	_, certFile, keyFile := ca.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	trust := func() *tls.Config { return &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"} }
	overWeb := func(scheme string) func(t *testing.T, l *Listener) io.Reader {
		return func(t *testing.T, l *Listener) io.Reader {
			d := websocket.Dialer{HandshakeTimeout: patience, Subprotocols: []string{"mqtt"}, TLSClientConfig: trust()}
			ws, _, err := d.Dial(scheme+"://"+l.Addr().String()+"/mqtt", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { ws.Close() })
			ws.SetReadDeadline(time.Now().Add(2 * patience))
			return websocket.JoinMessages(ws, "")
		}
	}
	tests := []struct {
		name string
		cfg  Config
		dial func(t *testing.T, l *Listener) io.Reader
	}{
		{"TLS", Config{Type: TLS, Certificate: certFile, Key: keyFile}, func(t *testing.T, l *Listener) io.Reader {
			nc := tls.Client(dial(t, l, ""), trust())
			if err := nc.Handshake(); err != nil {
				t.Fatal(err)
			}
			nc.SetDeadline(time.Now().Add(2 * patience))
			return nc
		}},
		{"WebSocket", Config{Type: WebSocket}, overWeb("ws")},
		{"secure WebSocket", Config{Type: SecureWebSocket, Certificate: certFile, Key: keyFile}, overWeb("wss")},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			l, came := open(t, tt.cfg)
			r := tt.dial(t, l)
			nc := next(t, came).nc
			nc.SetReadDeadline(time.Time{})
			unsent := nc.(mqtt.Direct).Direct()
			if unsent == nil {
				t.Fatal("it cannot be written to directly")
			}
			n := 0
			packet := func() []byte { // as the broker's, so that it stands in a frame of its own
				p := append([]byte{0x30, 0x8e, 0x4e}, bytes.Repeat([]byte{byte(n)}, 9998)...)
				binary.BigEndian.PutUint32(p[3:], uint32(n))
				n++
				return p
			}
			gone := make(chan struct{}, 1)
			tell := func() { gone <- struct{}{} }
			write := func() error {
				begun := time.Now()
				_, err := nc.Write(packet())
				if took := time.Since(begun); took > patience/2 {
					t.Fatalf("a write took %v", took)
				}
				return err
			}
			for !unsent(tell) {
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			for range 20 { // and what does not stop for that
				if err := write(); err != nil {
					t.Fatal(err)
				}
			}
			sent := n
			p := make([]byte, 10_001)
			for n = 0; n < sent; {
				want := packet()
				if _, err := io.ReadFull(r, p); err != nil || !bytes.Equal(p, want) {
					t.Fatalf("packet %d of %d: %v, % x…, want % x…", n-1, sent, err, p[:8], want[:8])
				}
			}
			select {
			case <-gone:
			case <-time.After(patience):
				t.Fatal("that all has gone out is not told")
			}
			if unsent(nil) {
				t.Error("something is unsent, and all has come")
			}

			for most := 10_000; write() == nil; most-- {
				if most == 0 {
					t.Fatal("everything is kept for a client that takes nothing")
				}
			}
			if !unsent(tell) {
				t.Error("nothing is unsent, and the client takes nothing")
			}
			nc.Close()
			select {
			case <-gone:
			case <-time.After(patience):
				t.Error("the end is not told")
			}
		})
	}
}
