package hub

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/websocket"

	"lar.home/hub/config"
	"lar.home/hub/listen"
	"lar.home/mqtt/packet"
)

// What the standard and the security rows say of a whole hub: its transports,
// its users and its rights. The names of the subtests are the keys of
// mqtt/testdata/statements.tsv.

// shows runs a test of statements.
func shows(t *testing.T, keys string, test func(t *testing.T)) {
	t.Helper()
	t.Run(strings.ReplaceAll(keys, " ", ","), test)
}

func connectPacket(v packet.Version, id string) *packet.Connect {
	return &packet.Connect{Version: v, ClientID: id, CleanStart: true, RequestProblemInfo: true}
}

// A frames is the client's end of MQTT over WebSocket.
type frames struct {
	t  *testing.T
	ws *websocket.Conn
	v  packet.Version
	in []byte
}

func (f *frames) send(kind int, b []byte) {
	f.t.Helper()
	if err := f.ws.WriteMessage(kind, b); err != nil {
		f.t.Fatal(err)
	}
}

// next returns the next packet; all of them come in binary frames.
func (f *frames) next() (packet.Packet, error) {
	f.t.Helper()
	for {
		first, body, n, err := packet.Split(f.in, 0)
		if err != nil {
			f.t.Fatal(err)
		}
		if n > 0 {
			p, err := packet.Decode(f.v, first, bytes.Clone(body))
			if err != nil {
				f.t.Fatal(err)
			}
			f.in = f.in[n:]
			return p, nil
		}
		f.ws.SetReadDeadline(time.Now().Add(patience))
		kind, b, err := f.ws.ReadMessage()
		if err != nil {
			return nil, err
		}
		if kind != websocket.BinaryMessage {
			f.t.Errorf("a frame of type %d came", kind)
		}
		f.in = append(f.in, b...)
	}
}

func (f *frames) expect(want packet.Type) {
	f.t.Helper()
	if p, err := f.next(); err != nil || p.Type() != want {
		f.t.Fatalf("got %+v, %v, want %v", p, err, want)
	}
}

// TestWebSocketStatements speaks MQTT over WebSocket, section 6, at a listener
// and beside the pages.
func TestWebSocketStatements(t *testing.T) {
	cfg := Config{Dir: t.TempDir(), Listeners: []listen.Config{{Type: listen.WebSocket, Address: "127.0.0.1:0", ClientCertificates: "none", Origins: []string{"https://panel.example"}}}}
	cfg.Limits.PacketSize = 100_000
	h, _ := startWith(t, cfg)
	for place, addr := range map[string]string{"listener": h.listeners[0].Addr().String(), "pages": h.httpLn.Addr().String()} {
		dial := func(t *testing.T, origin string, protocols ...string) (*websocket.Conn, *http.Response, error) {
			head := http.Header{}
			if origin != "" {
				head.Set("Origin", origin)
			}
			ws, resp, err := (&websocket.Dialer{HandshakeTimeout: patience, Subprotocols: protocols}).Dial("ws://"+addr+"/mqtt", head)
			if err == nil {
				t.Cleanup(func() { ws.Close() })
			}
			return ws, resp, err
		}
		for _, v := range []packet.Version{packet.V311, packet.V5} {
			open := func(t *testing.T) *frames {
				t.Helper()
				ws, _, err := dial(t, "", "mqtt")
				if err != nil {
					t.Fatal(err)
				}
				return &frames{t: t, ws: ws, v: v}
			}
			keys := func(five, before string) string {
				if v == packet.V5 {
					return five
				}
				return before
			}
			connect := packet.Append(nil, v, connectPacket(v, fmt.Sprint(place, v)))
			ping := packet.Append(nil, v, &packet.Pingreq{})
			t.Run(fmt.Sprint(place, " ", v), func(t *testing.T) {
				shows(t, keys("V5_6_0_0_1", "V311_6_0_0_1"), func(t *testing.T) {
					f := open(t)
					f.send(websocket.BinaryMessage, connect)
					f.expect(packet.CONNACK)
					f.send(websocket.TextMessage, ping)
					if p, err := f.next(); !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
						t.Errorf("a text frame is answered %+v, %v", p, err)
					}
				})
				shows(t, keys("V5_6_0_0_2", "V311_6_0_0_2"), func(t *testing.T) {
					f := open(t)
					for i := range connect { // a frame for each byte
						f.send(websocket.BinaryMessage, connect[i:i+1])
					}
					f.expect(packet.CONNACK)
					f.send(websocket.BinaryMessage, bytes.Repeat(ping, 3)) // and several packets in one
					for range 3 {
						f.expect(packet.PINGRESP)
					}
					f.send(websocket.BinaryMessage, append(bytes.Clone(ping), ping[0])) // one and a half
					f.expect(packet.PINGRESP)
					f.send(websocket.BinaryMessage, ping[1:])
					f.expect(packet.PINGRESP)
					w, _ := f.ws.NextWriter(websocket.BinaryMessage) // fragments
					w.Write(ping[:1])
					f.ws.WriteControl(websocket.PingMessage, nil, time.Now().Add(patience))
					w.Write(ping[1:])
					w.Close()
					f.expect(packet.PINGRESP)
				})
				shows(t, keys("V5_6_0_0_3 V5_6_0_0_4", "V311_6_0_0_3 V311_6_0_0_4"), func(t *testing.T) {
					for _, tt := range []struct{ offered, chosen string }{{"mqtt", "mqtt"}, {"mqttv3.1", "mqttv3.1"}, {"chat,mqtt", "mqtt"}, {"", ""}, {"chat", ""}} {
						var protocols []string
						if tt.offered != "" {
							protocols = strings.Split(tt.offered, ",")
						}
						ws, resp, err := dial(t, "", protocols...)
						switch {
						case tt.chosen == "" && (resp == nil || resp.StatusCode != http.StatusBadRequest):
							t.Errorf("%q is answered %v, %v", tt.offered, resp, err)
						case tt.chosen != "" && (err != nil || ws.Subprotocol() != tt.chosen):
							t.Errorf("%q: %v", tt.offered, err)
						case tt.chosen != "":
							f := &frames{t: t, ws: ws, v: v}
							f.send(websocket.BinaryMessage, connect)
							f.expect(packet.CONNACK)
						}
					}
				})
				shows(t, "SEC_21", func(t *testing.T) {
					for origin, want := range map[string]int{"https://evil.example": 403, "null": 403, "http://" + addr: 101} {
						if _, resp, err := dial(t, origin, "mqtt"); resp == nil || resp.StatusCode != want {
							t.Errorf("origin %s: %v, %v", origin, resp, err)
						}
					}
					f := open(t)
					f.send(websocket.BinaryMessage, connect)
					f.expect(packet.CONNACK)
					f.ws.WriteMessage(websocket.BinaryMessage, bytes.Repeat(ping, 50_001))
					for {
						if _, err := f.next(); err != nil {
							if !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
								t.Errorf("a message beyond the limit: %v", err)
							}
							break
						}
					}
					f = open(t) // the same in fragments
					f.send(websocket.BinaryMessage, connect)
					f.expect(packet.CONNACK)
					w, _ := f.ws.NextWriter(websocket.BinaryMessage)
					head := packet.Append(nil, v, &packet.Publish{Topic: []byte("t"), Payload: make([]byte, 100_000-10)})
					w.Write(head)
					w.Write(make([]byte, 10_000))
					w.Close()
					for {
						if _, err := f.next(); err != nil {
							break
						}
					}
					// A handshake is bounded as well.
					nc, err := net.Dial("tcp", addr)
					if err != nil {
						t.Fatal(err)
					}
					defer nc.Close()
					nc.SetDeadline(time.Now().Add(patience))
					fmt.Fprintf(nc, "GET /mqtt HTTP/1.1\r\nHost: x\r\n")
					for range 20_000 {
						if _, err := fmt.Fprintf(nc, "X-Filler: %s\r\n", strings.Repeat("x", 1000)); err != nil {
							return
						}
					}
					t.Error("20 MB of header lines are taken")
				})
			})
		}
	}
}

// TestRightsStatements asks for what users may and may not do.
func TestRightsStatements(t *testing.T) {
	users := passwords(t, filepath.Join(t.TempDir(), "passwords"), line(t, "panel", "p"), line(t, "lamp", "l"), line(t, "ops", "o"))
	acl := []string{"deny panel subscribe home/secret/#", "allow panel both home/#", "allow lamp publish home/lamp/%c", "allow ops subscribe $SYS/#"}
	for _, way := range []string{"strict", "filter"} {
		cfg := Config{Dir: t.TempDir(), Rights: config.Rights{PasswordFile: users, ACL: acl, SubscribeRights: way}}
		h, _ := startWith(t, cfg)
		subscribe := func(t *testing.T, c *rawClient, filters ...string) []packet.Reason {
			t.Helper()
			p := &packet.Subscribe{PacketID: 1}
			for _, f := range filters {
				p.Filters = append(p.Filters, packet.Subscription{Filter: f})
			}
			c.send(p)
			for {
				switch p := c.next().(type) {
				case *packet.Suback:
					return p.Reasons
				case nil:
					t.Fatal("no SUBACK")
				}
			}
		}
		t.Run(way, func(t *testing.T) {
			shows(t, "SEC_07 X5_SUB_3", func(t *testing.T) {
				c := connectRaw(t, h, "panel", "panel", "p")
				got := subscribe(t, c, "home/hall/#", "#", "home/#", "home/secret/#", "home/secret/x", "other", "$share/g/home/#", "home/+/x", "home/hall/+")
				want := []packet.Reason{0, packet.NotAuthorized, packet.NotAuthorized, packet.NotAuthorized, packet.NotAuthorized, packet.NotAuthorized, packet.NotAuthorized, packet.NotAuthorized, 0}
				if way == "filter" { // refused where a line denies all of it
					want = []packet.Reason{0, 0, 0, packet.NotAuthorized, packet.NotAuthorized, 0, 0, 0, 0}
				}
				if fmt.Sprint(got) != fmt.Sprint(want) {
					t.Errorf("answered %v, want %v", got, want)
				}
				// Whatever was granted, what is denied does not come.
				c.send(&packet.Publish{QoS: 1, PacketID: 5, Topic: []byte("home/secret/x"), Payload: []byte("no")},
					&packet.Publish{QoS: 1, PacketID: 6, Topic: []byte("home/hall/x"), Payload: []byte("yes")})
				for came := false; !came; {
					if p, ok := c.next().(*packet.Publish); ok {
						if came = true; string(p.Payload) != "yes" {
							t.Errorf("%s came", p.Topic)
						}
					}
				}
			})
			shows(t, "X5_PUB_4 SEC_04", func(t *testing.T) {
				for id, want := range map[string]packet.Reason{"hall": packet.NoMatchingSubscribers, "+": packet.NotAuthorized, "#": packet.NotAuthorized, "hall/x": packet.NotAuthorized} {
					c := connectRaw(t, h, id, "lamp", "l")
					topic := "home/lamp/hall"
					if id == "hall/x" {
						topic = "home/lamp/hall/x"
					}
					c.send(&packet.Publish{QoS: 1, PacketID: 1, Topic: []byte(topic)})
					if a, ok := c.next().(*packet.Ack); !ok || a.Reason != want && (want == packet.NotAuthorized || a.Reason != packet.Success) {
						t.Errorf("client %q: PUBLISH is answered %+v, want %v", id, a, want)
					}
				}
			})
			shows(t, "SEC_18", func(t *testing.T) {
				if got := subscribe(t, connectRaw(t, h, "panel2", "panel", "p"), "$SYS/#", "$SYS/broker/uptime", "$share/g/$SYS/#"); fmt.Sprint(got) != fmt.Sprint([]packet.Reason{packet.NotAuthorized, packet.NotAuthorized, packet.NotAuthorized}) {
					t.Errorf("$SYS is answered %v", got)
				}
				c := connectRaw(t, h, "ops", "ops", "o")
				if got := subscribe(t, c, "$SYS/#"); got[0] != 0 {
					t.Errorf("who may is answered %v", got)
				}
				if p, ok := c.next().(*packet.Publish); !ok || !strings.HasPrefix(string(p.Topic), "$SYS/broker/") {
					t.Errorf("got %+v", p)
				}
			})
			shows(t, "SEC_06", func(t *testing.T) {
				c := connectRaw(t, h, "panel3", "panel", "p")
				subscribe(t, c, "home/hall/+")
				next := cfg
				next.Rights.ACL = append([]string{"deny panel subscribe home/hall/door"}, acl...)
				if err := h.Reload(next); err != nil {
					t.Fatal(err)
				}
				c.send(&packet.Publish{QoS: 1, PacketID: 5, Topic: []byte("home/hall/door"), Payload: []byte("no")},
					&packet.Publish{QoS: 1, PacketID: 6, Topic: []byte("home/hall/bell"), Payload: []byte("yes")})
				for came := false; !came; {
					if p, ok := c.next().(*packet.Publish); ok {
						if came = true; string(p.Topic) != "home/hall/bell" {
							t.Errorf("%s came", p.Topic)
						}
					}
				}
				if err := h.Reload(cfg); err != nil {
					t.Fatal(err)
				}
			})
			shows(t, "SEC_20 SEC_24", func(t *testing.T) {
				for _, tt := range []struct{ name, password string }{{"panel", ""}, {"panel", "P"}, {"nobody", "p"}} {
					if got := tryRaw(t, h, "x", tt.name, tt.password); got != packet.BadUserNameOrPassword {
						t.Errorf("%+v is answered %v", tt, got)
					}
				}
				nc, err := net.Dial("tcp", h.mqttLn.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer nc.Close()
				p := connectPacket(packet.V5, "x")
				p.HasUsername, p.Username = true, "panel" // no password at all
				c := &rawClient{t: t, nc: nc}
				c.send(p)
				if a, ok := c.next().(*packet.Connack); !ok || a.Reason != packet.BadUserNameOrPassword {
					t.Errorf("a user name without a password is answered %+v", a)
				}
			})
		})
	}
}

// TestProxyStatements has clients come by a proxy.
func TestProxyStatements(t *testing.T) {
	listeners := []listen.Config{
		{Type: listen.TCP, Address: "127.0.0.1:0", ClientCertificates: "none", Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}},
		{Type: listen.TCP, Address: "127.0.0.1:0", ClientCertificates: "none", Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
	}
	h, _ := startWith(t, Config{Dir: t.TempDir(), Listeners: listeners})
	come := func(t *testing.T, listener int, header string) *rawClient {
		t.Helper()
		nc, err := net.Dial("tcp", h.listeners[listener].Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		c := &rawClient{t: t, nc: nc}
		nc.Write(append([]byte(header), packet.Append(nil, packet.V5, connectPacket(packet.V5, "c"))...))
		return c
	}
	shows(t, "SEC_22", func(t *testing.T) {
		c := come(t, 0, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\xa8\x01\x07\x7f\x00\x00\x01\x10\x00\x07\x5b")
		if a, ok := c.next().(*packet.Connack); !ok || a.Reason != packet.Success {
			t.Fatalf("got %+v", a)
		}
		if s, _ := h.broker.Session("c"); s.Remote != "192.168.1.7:4096" {
			t.Errorf("the client is at %q", s.Remote)
		}
		for what, c := range map[string]*rawClient{
			"no header":           come(t, 0, ""),
			"who is no proxy":     come(t, 1, "PROXY TCP4 192.168.1.7 127.0.0.1 4096 1883\r\n"),
			"a header too long":   come(t, 0, "\r\n\r\n\x00\r\nQUIT\n\x21\x11\xff\xff"+strings.Repeat("x", 0xffff)),
			"an address that may": come(t, 0, "PROXY TCP4 203.0.113.5 127.0.0.1 4096 1883\r\n"), // not connect while the house stands open
		} {
			if p := c.next(); p != nil {
				if a, ok := p.(*packet.Connack); !ok || a.Reason < 0x80 {
					t.Errorf("%s: got %+v", what, p)
				}
			}
		}
	})
}

// TestCertificateStatements has clients show certificates.
func TestCertificateStatements(t *testing.T) {
	dir := t.TempDir()
	write := func(name, kind string, der []byte) string {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	caKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ca := &x509.Certificate{Subject: pkix.Name{CommonName: "house"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, SerialNumber: big.NewInt(1)}
	make := func(serial int64, c *x509.Certificate) (cert tls.Certificate, certFile, keyFile string) {
		t.Helper()
		key := caKey
		if c != ca {
			if key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
				t.Fatal(err)
			}
			c.SerialNumber, c.ExtKeyUsage = big.NewInt(serial), []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
		}
		c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, c, ca, key.Public(), caKey)
		if err != nil {
			t.Fatal(err)
		}
		keyDER, err := x509.MarshalECPrivateKey(key)
		if err != nil {
			t.Fatal(err)
		}
		certFile = write(fmt.Sprint(serial, ".pem"), "CERTIFICATE", der)
		keyFile = write(fmt.Sprint(serial, ".key"), "EC PRIVATE KEY", keyDER)
		if cert, err = tls.LoadX509KeyPair(certFile, keyFile); err != nil {
			t.Fatal(err)
		}
		return cert, certFile, keyFile
	}
	_, caFile, _ := make(1, ca)
	_, certFile, keyFile := make(2, &x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	lamp, _, _ := make(3, &x509.Certificate{Subject: pkix.Name{CommonName: "lamp"}})
	door, _, _ := make(4, &x509.Certificate{Subject: pkix.Name{CommonName: "door"}})
	bad, _, _ := make(5, &x509.Certificate{Subject: pkix.Name{CommonName: "la\x00mp"}})
	h, _ := startWith(t, Config{Dir: t.TempDir(), Listeners: []listen.Config{{Type: listen.TLS, Address: "127.0.0.1:0",
		Certificate: certFile, Key: keyFile, ClientCertificates: "required", ClientCA: caFile, UsernameFrom: "cn"}}})
	come := func(t *testing.T, cert tls.Certificate, version uint16) packet.Packet {
		t.Helper()
		c := &tls.Config{InsecureSkipVerify: true, MaxVersion: version, MinVersion: tls.VersionTLS10, Certificates: []tls.Certificate{cert}}
		nc, err := tls.Dial("tcp", h.listeners[0].Addr().String(), c)
		if err != nil {
			return nil
		}
		t.Cleanup(func() { nc.Close() })
		p := connectPacket(packet.V5, "c")
		p.CleanStart, p.SessionExpiry = false, 1000
		nc.Write(packet.Append(nil, packet.V5, p))
		nc.SetReadDeadline(time.Now().Add(patience))
		b := []byte{}
		chunk := [512]byte{}
		for {
			if first, body, n, _ := packet.Split(b, 0); n > 0 {
				p, err := packet.Decode(packet.V5, first, body)
				if err != nil {
					t.Fatal(err)
				}
				return p
			}
			n, err := nc.Read(chunk[:])
			if b = append(b, chunk[:n]...); err != nil {
				return nil
			}
		}
	}
	shows(t, "SEC_23 SEC_05", func(t *testing.T) {
		if a, ok := come(t, lamp, tls.VersionTLS12).(*packet.Connack); !ok || a.Reason != packet.Success {
			t.Fatalf("the lamp is answered %+v", a)
		}
		if s, _ := h.broker.Session("c"); s.Identity != "credential:lamp" {
			t.Errorf("the session is of %q", s.Identity)
		}
		if a, ok := come(t, door, tls.VersionTLS13).(*packet.Connack); !ok || a.Reason != packet.ClientIDNotValid {
			t.Errorf("another certificate, for the lamp's session: %+v", a)
		}
		if a, ok := come(t, lamp, tls.VersionTLS13).(*packet.Connack); !ok || !a.SessionPresent {
			t.Errorf("the lamp, back: %+v", a)
		}
		if p := come(t, lamp, tls.VersionTLS11); p != nil {
			t.Errorf("TLS 1.1: %+v", p)
		}
		if p := come(t, bad, tls.VersionTLS13); p != nil {
			t.Errorf("a name with U+0000: %+v", p)
		}
		if p := come(t, tls.Certificate{}, tls.VersionTLS13); p != nil {
			t.Errorf("no certificate: %+v", p)
		}
	})
}
