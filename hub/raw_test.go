package hub

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"testing"
	"time"

	"lar.home/mqtt"
	"lar.home/mqtt/packet"
)

// startWith runs a hub with a configuration of its own on free ports.
func startWith(t *testing.T, cfg Config) (h *Hub, stop func()) {
	t.Helper()
	log := &logBuffer{}
	cfg.MQTT, cfg.HTTP = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Log = slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	h, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		select {
		case err := <-done:
			if err != nil {
				t.Errorf("stop: %v", err)
			}
		case <-time.After(patience):
			t.Error("the hub does not stop")
		}
		if t.Failed() {
			t.Logf("log of the hub:\n%s", log)
		}
	})
	t.Cleanup(stop)
	return h, stop
}

func login(clientID string) mqtt.Login { return mqtt.Login{ClientID: clientID} }

// A rawClient is a 5.0 client over TCP that reads packet by packet.
type rawClient struct {
	t   *testing.T
	nc  net.Conn
	buf []byte
}

// dialRaw opens a connection and sends CONNECT with a kept session.
func dialRaw(t *testing.T, h *Hub, id, name, password string) *rawClient {
	t.Helper()
	nc, err := net.Dial("tcp", h.mqttLn.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := &rawClient{t: t, nc: nc}
	p := &packet.Connect{Version: packet.V5, ClientID: id, SessionExpiry: 100, RequestProblemInfo: true}
	if name != "" {
		p.HasUsername, p.Username, p.HasPassword, p.Password = true, name, true, []byte(password)
	}
	c.send(p)
	return c
}

// connectRaw connects and is welcome.
func connectRaw(t *testing.T, h *Hub, id, name, password string) *rawClient {
	t.Helper()
	c := dialRaw(t, h, id, name, password)
	if ack, ok := c.next().(*packet.Connack); !ok || ack.Reason != packet.Success {
		t.Fatalf("%s: CONNECT is answered %+v", id, ack)
	}
	return c
}

// tryRaw connects and returns the answer.
func tryRaw(t *testing.T, h *Hub, id, name, password string) packet.Reason {
	t.Helper()
	ack, ok := dialRaw(t, h, id, name, password).next().(*packet.Connack)
	if !ok {
		t.Fatalf("%s: no CONNACK", id)
	}
	return ack.Reason
}

func (c *rawClient) send(packets ...packet.Packet) {
	c.t.Helper()
	for _, p := range packets {
		if _, err := c.nc.Write(packet.Append(nil, packet.V5, p)); err != nil {
			c.t.Fatal(err)
		}
	}
}

// next returns the next packet, nil at the end of the connection.
func (c *rawClient) next() packet.Packet {
	c.t.Helper()
	c.nc.SetReadDeadline(time.Now().Add(patience))
	chunk := make([]byte, 4096)
	for {
		first, body, n, err := packet.Split(c.buf, 0)
		if err != nil {
			c.t.Fatal(err)
		}
		if n > 0 {
			p, err := packet.Decode(packet.V5, first, append([]byte(nil), body...))
			if err != nil {
				c.t.Fatal(err)
			}
			c.buf = c.buf[n:]
			return p
		}
		n, err = c.nc.Read(chunk)
		if n == 0 && err != nil {
			if errors.Is(err, os.ErrDeadlineExceeded) {
				c.t.Fatalf("nothing came: %v", err)
			}
			return nil
		}
		c.buf = append(c.buf, chunk[:n]...)
	}
}

// gone checks that the client was told that it may not be there, and sent away.
func (c *rawClient) gone(what string) {
	c.t.Helper()
	if d, ok := c.next().(*packet.Disconnect); !ok || d.Reason != packet.NotAuthorized {
		c.t.Fatalf("%s: got %+v", what, d)
	}
	if p := c.next(); p != nil {
		c.t.Errorf("%s: got %+v after DISCONNECT", what, p)
	}
}

// stays checks that the connection stands.
func (c *rawClient) stays() {
	c.t.Helper()
	c.send(&packet.Pingreq{})
	if p := c.next(); p == nil || p.Type() != packet.PINGRESP {
		c.t.Errorf("PINGREQ is answered %+v", p)
	}
}
