package listen

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gorilla/websocket"

	"lar.home/mqtt"
)

const (
	patience  = 10 * time.Second
	maxPacket = 1 << 10
)

// come is a connection that a listener has brought.
type come struct {
	nc   net.Conn
	peer mqtt.Peer
}

// open opens a listener and returns what comes by it. Each connection is
// served until the test ends.
func open(t *testing.T, cfg Config) (*Listener, <-chan come) {
	t.Helper()
	return openWith(t, cfg, Options{MaxPacket: func() int { return maxPacket }, Log: slog.New(slog.DiscardHandler)})
}

// openWith is open with options of the test's own.
func openWith(t *testing.T, cfg Config, opts Options) (*Listener, <-chan come) {
	t.Helper()
	if cfg.ClientCertificates == "" {
		cfg.ClientCertificates = "none"
	}
	if cfg.Address == "" {
		cfg.Address = "127.0.0.1:0"
	}
	if key, err := cfg.Check(); err != nil {
		t.Fatalf("%s: %v", key, err)
	}
	l, err := Open(cfg, opts)
	if err != nil {
		t.Fatal(err)
	}
	came := make(chan come, 10)
	done := make(chan struct{})
	stopped := make(chan error, 1)
	go func() {
		stopped <- l.Serve(func(nc net.Conn, peer mqtt.Peer) {
			came <- come{nc, peer}
			<-done
			nc.Close()
		})
	}()
	t.Cleanup(func() {
		close(done)
		l.Close()
		select {
		case err := <-stopped:
			if err != nil {
				t.Errorf("Serve: %v", err)
			}
		case <-time.After(patience):
			t.Error("Serve does not end")
		}
	})
	return l, came
}

func next(t *testing.T, came <-chan come) come {
	t.Helper()
	select {
	case c := <-came:
		c.nc.SetReadDeadline(time.Now().Add(patience))
		return c
	case <-time.After(patience):
		t.Fatal("no connection comes through")
		panic("unreachable")
	}
}

func dial(t *testing.T, l *Listener, first string) net.Conn {
	t.Helper()
	nc, err := net.Dial(l.Addr().Network(), l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	nc.SetDeadline(time.Now().Add(patience))
	// Who is refused may find the connection closed already: what it reads tells.
	io.WriteString(nc, first)
	return nc
}

func expectBytes(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
		t.Errorf("read %q, %v, want %q", got, err, want)
	}
}

func expectClosed(t *testing.T, nc net.Conn, what string) {
	t.Helper()
	if n, err := nc.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%s: not closed: %d bytes, %v", what, n, err)
	}
}

func TestUnixAndLimit(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lar.sock")
	dead, err := net.Listen("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close() // as a kill leaves it
	l, came := open(t, Config{Type: Unix, Address: file, Connections: 2})
	dial(t, l, "a")
	c := next(t, came)
	expectBytes(t, c.nc, "a")
	if !c.peer.Local {
		t.Error("who comes by a Unix socket is not known to be local")
	}
	dial(t, l, "b")
	next(t, came)
	expectClosed(t, dial(t, l, ""), "one more than the limit")
}

// TestSlot asks for slots while there is none.
func TestSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &Listener{slots: make(chan struct{}, 1), stopping: make(chan struct{})}
		ask := func(want bool, after time.Duration) {
			t.Helper()
			begun := time.Now()
			if got := l.slot(); got != want || time.Since(begun) != after {
				t.Errorf("a slot: %v after %v, want %v after %v", got, time.Since(begun), want, after)
			}
		}
		ask(true, 0)
		time.AfterFunc(20*time.Millisecond, func() { <-l.slots })
		ask(true, 20*time.Millisecond)
		ask(false, slotWait)
		ask(false, 0)
		time.Sleep(slotRest)
		ask(false, slotWait)
		<-l.slots
		ask(true, 0)
	})
}

func TestProxy(t *testing.T) {
	l, came := open(t, Config{Type: TCP, Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	v2 := func(command, family byte, body string) string {
		return proxySignature + string([]byte{command, family, byte(len(body) >> 8), byte(len(body))}) + body
	}
	four := "\xc0\x00\x02\x01\x7f\x00\x00\x01\x10\x00\x07\x5b"
	six := "\x20\x01\x0d\xb8" + strings.Repeat("\x00", 11) + "\x01" + strings.Repeat("\x00", 16) + "\x10\x00\x07\x5b"
	for _, tt := range []struct{ header, want string }{
		{"PROXY TCP4 192.0.2.1 127.0.0.1 4096 1883\r\n", "192.0.2.1:4096"},
		{"PROXY TCP6 2001:db8::1 ::1 4096 1883\r\n", "[2001:db8::1]:4096"},
		{"PROXY UNKNOWN\r\n", ""},
		{"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\n", ""},
		{v2(0x21, 0x11, four), "192.0.2.1:4096"},
		{v2(0x21, 0x11, four+"\x04\x00\x01x"), "192.0.2.1:4096"}, // an extension
		{v2(0x21, 0x21, six), "[2001:db8::1]:4096"},
		{v2(0x20, 0x00, ""), ""},
		{v2(0x20, 0x11, four), ""}, // LOCAL keeps the address of the socket
		{v2(0x21, 0x00, "xyz"), ""},
		{v2(0x21, 0x11, four+strings.Repeat("x", maxProxyBody-12)), "192.0.2.1:4096"},
	} {
		dial(t, l, tt.header+"behind")
		c := next(t, came)
		if c.peer.Remote != tt.want {
			t.Errorf("%q: client at %q, want %q", tt.header, c.peer.Remote, tt.want)
		}
		expectBytes(t, c.nc, "behind")
	}
	for _, bad := range []string{
		"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c\x00\x00", // no header
		"PROXY TCP4 192.0.2.1 127.0.0.1 4096\r\n", "PROXY TCP4 2001:db8::1 ::1 1 2\r\n", "PROXY TCP4 x y 1 2\r\n",
		"PROXY TCP4 192.0.2.1 127.0.0.1 99999 1883\r\n", "PROXY " + strings.Repeat("x", maxProxyLine),
		v2(0x22, 0x11, four), v2(0x31, 0x11, four), v2(0x21, 0x12, four), v2(0x21, 0x11, four[:11]),
		proxySignature + "\x21\x11\x10\x01",
	} {
		expectClosed(t, dial(t, l, bad), bad)
	}

	l, _ = open(t, Config{Type: TCP, Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}})
	expectClosed(t, dial(t, l, "PROXY TCP4 192.0.2.1 127.0.0.1 4096 1883\r\n"), "who is no proxy")
}

// FuzzProxy holds that a header is read without what is behind it.
func FuzzProxy(f *testing.F) {
	f.Add([]byte("PROXY TCP4 192.0.2.1 127.0.0.1 4096 1883\r\nrest"))
	f.Add([]byte(proxySignature + "\x20\x00\x00\x00rest"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r := bytes.NewReader(b)
		client, err := readProxyHeader(r)
		if err != nil && client.IsValid() {
			t.Error("an address of a bad header")
		}
		used := len(b) - r.Len()
		if used > 16+maxProxyBody {
			t.Errorf("%d bytes are read", used)
		}
		if err == nil {
			if _, err := readProxyHeader(bytes.NewReader(b[:used])); err != nil {
				t.Errorf("what was read is no header: %v", err)
			}
		}
	})
}

// An issuer makes certificates.
type issuer struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	next int64
}

func newIssuer(t *testing.T, name string) *issuer {
	t.Helper()
	i := &issuer{t: t, dir: t.TempDir(), next: 1}
	i.cert, i.key = i.make(&x509.Certificate{Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign}, nil, nil)
	i.write("ca.pem", "CERTIFICATE", i.cert.Raw)
	return i
}

func (i *issuer) make(c, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	i.next++
	c.SerialNumber = big.NewInt(i.next)
	c.NotBefore, c.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		i.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return made, key
}

func (i *issuer) write(name, kind string, der []byte) string {
	i.t.Helper()
	file := filepath.Join(i.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		i.t.Fatal(err)
	}
	return file
}

// issue makes a certificate and returns it with its files.
func (i *issuer) issue(c *x509.Certificate) (cert tls.Certificate, certFile, keyFile string) {
	i.t.Helper()
	c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	made, key := i.make(c, i.cert, i.key)
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		i.t.Fatal(err)
	}
	n := made.SerialNumber.String()
	certFile, keyFile = i.write(n+".pem", "CERTIFICATE", made.Raw), i.write(n+".key", "EC PRIVATE KEY", der)
	cert, err = tls.LoadX509KeyPair(certFile, keyFile)
	if err != nil {
		i.t.Fatal(err)
	}
	return cert, certFile, keyFile
}

// revoke writes a list with the given certificates.
func (i *issuer) revoke(certs ...tls.Certificate) string {
	i.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, c := range certs {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: c.Leaf.SerialNumber, RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, i.cert, i.key)
	if err != nil {
		i.t.Fatal(err)
	}
	return i.write("crl.pem", "X509 CRL", der)
}

func (i *issuer) pool() *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(i.cert)
	return p
}

func TestTLS(t *testing.T) {
	ca := newIssuer(t, "house")
	other := newIssuer(t, "house") // the same name, another key
	_, certFile, keyFile := ca.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	lamp, _, _ := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "lamp"}})
	lost, _, _ := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "lost"}})
	nameless, _, _ := ca.issue(&x509.Certificate{DNSNames: []string{"x"}})
	stranger, _, _ := other.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "lamp"}})
	cfg := Config{Type: TLS, Certificate: certFile, Key: keyFile, ClientCertificates: "optional",
		ClientCA: filepath.Join(ca.dir, "ca.pem"), UsernameFrom: "cn", Revoked: ca.revoke(lost)}
	l, came := open(t, cfg)
	// try connects and tells whether the other side took it.
	try := func(c *tls.Config) (*tls.Conn, bool) {
		t.Helper()
		c.RootCAs, c.ServerName = ca.pool(), "127.0.0.1"
		nc := tls.Client(dial(t, l, ""), c)
		if nc.Handshake() != nil {
			return nil, false
		}
		nc.Write([]byte("hello"))
		nc.SetReadDeadline(time.Now().Add(patience))
		select {
		case got := <-came:
			expectBytes(t, got.nc, "hello")
			came := got.peer.Username
			if want := ""; len(c.Certificates) > 0 {
				if want = c.Certificates[0].Leaf.Subject.CommonName; came != want {
					t.Errorf("user name %q, want %q", came, want)
				}
			}
			return nc, true
		case <-closed(nc):
			return nil, false
		}
	}
	for _, tt := range []struct {
		what string
		c    *tls.Config
		want bool
	}{
		{"no certificate", &tls.Config{}, true},
		{"a certificate", &tls.Config{Certificates: []tls.Certificate{lamp}}, true},
		{"a revoked one", &tls.Config{Certificates: []tls.Certificate{lost}}, false},
		{"one without a common name", &tls.Config{Certificates: []tls.Certificate{nameless}}, false},
		{"ALPN mqtt", &tls.Config{NextProtos: []string{"mqtt"}}, true},
		{"ALPN http", &tls.Config{NextProtos: []string{"http/1.1"}}, false},
		{"TLS 1.1", &tls.Config{MinVersion: tls.VersionTLS11, MaxVersion: tls.VersionTLS11}, false},
		{"TLS 1.2", &tls.Config{MaxVersion: tls.VersionTLS12}, true},
	} {
		nc, ok := try(tt.c)
		if ok != tt.want {
			t.Errorf("%s: taken %v, want %v", tt.what, ok, tt.want)
		}
		if ok && len(tt.c.NextProtos) > 0 && nc.ConnectionState().NegotiatedProtocol != "mqtt" {
			t.Error("ALPN was not answered")
		}
	}
	if _, ok := try(&tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &stranger, nil }}); ok {
		t.Error("a certificate of another authority with the same name is taken")
	}

	// What is revoked later is refused later, also to who resumes.
	sessions := tls.NewLRUClientSessionCache(4)
	before, ok := try(&tls.Config{Certificates: []tls.Certificate{lamp}, ClientSessionCache: sessions})
	if !ok {
		t.Fatal("refused")
	}
	cfg.Revoked = ca.revoke(lost, lamp)
	if err := l.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	if _, ok := try(&tls.Config{Certificates: []tls.Certificate{lamp}, ClientSessionCache: sessions}); ok {
		t.Error("a certificate that was revoked meanwhile is taken")
	}
	if _, err := before.Write([]byte("x")); err != nil {
		t.Error("who is connected was sent away")
	}
	bad := cfg
	bad.Key = certFile
	if l.Reload(bad) == nil {
		t.Error("a certificate without its key is taken")
	}
	cfg.Revoked = other.revoke()
	if l.Reload(cfg) == nil {
		t.Error("a list of another authority is taken")
	}
	if _, ok := try(&tls.Config{}); !ok {
		t.Error("after a reload that failed nobody is taken")
	}
}

// TestRevokedMeanwhile holds that what a listener says of a client follows the
// list of revoked certificates, and the authorities, also while it is
// connected.
func TestRevokedMeanwhile(t *testing.T) {
	ca := newIssuer(t, "house")
	other := newIssuer(t, "other")
	_, certFile, keyFile := ca.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	lamp, _, _ := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "lamp"}})
	door, _, _ := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "door"}})
	cfg := Config{Type: TLS, Certificate: certFile, Key: keyFile, ClientCertificates: "optional",
		ClientCA: filepath.Join(ca.dir, "ca.pem"), Revoked: ca.revoke()}
	l, came := open(t, cfg)
	peer := func(certs ...tls.Certificate) mqtt.Peer {
		t.Helper()
		nc := tls.Client(dial(t, l, ""), &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1", Certificates: certs})
		if err := nc.Handshake(); err != nil {
			t.Fatal(err)
		}
		return next(t, came).peer
	}
	lost, stays, none := peer(lamp), peer(door), peer()
	if none.Revoked != nil {
		t.Error("who shows no certificate has one that can be revoked")
	}
	check := func(what string, wantLost, wantStays bool) {
		t.Helper()
		if lost.Revoked() != wantLost || stays.Revoked() != wantStays {
			t.Errorf("%s: revoked %t and %t, want %t and %t", what, lost.Revoked(), stays.Revoked(), wantLost, wantStays)
		}
	}
	check("at first", false, false)
	cfg.Revoked = ca.revoke(lamp)
	check("a list that was not read yet", false, false)
	if err := l.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	check("one revoked", true, false)
	cfg.ClientCA, cfg.Revoked = filepath.Join(other.dir, "ca.pem"), ""
	if err := l.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	check("another authority", true, true)
}

// TestSlowBeforeMQTT has clients of every kind begin with what comes before
// MQTT, and stop half-way: they are sent away once their time is over.
func TestSlowBeforeMQTT(t *testing.T) {
	ca := newIssuer(t, "house")
	_, certFile, keyFile := ca.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	for _, tt := range []struct {
		cfg    Config
		begins string
	}{
		{Config{Type: TLS, Certificate: certFile, Key: keyFile}, "\x16\x03\x01\x02"},
		{Config{Type: SecureWebSocket, Certificate: certFile, Key: keyFile}, "\x16\x03\x01\x02"},
		{Config{Type: WebSocket}, "GET /mqtt HTTP/1.1\r\nHost:"},
		{Config{Type: TCP, Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, "PROXY TCP4 "},
	} {
		for _, begins := range []string{"", tt.begins} {
			opts := Options{MaxPacket: func() int { return maxPacket }, Log: slog.New(slog.DiscardHandler), Within: func() time.Duration { return 50 * time.Millisecond }}
			l, _ := openWith(t, tt.cfg, opts)
			expectClosed(t, dial(t, l, begins), fmt.Sprintf("%s after %q", tt.cfg.Type, begins))
		}
	}
	// Who is quick enough is not sent away later.
	l, came := openWith(t, Config{Type: TLS, Certificate: certFile, Key: keyFile},
		Options{MaxPacket: func() int { return maxPacket }, Log: slog.New(slog.DiscardHandler), Within: func() time.Duration { return patience }})
	nc := tls.Client(dial(t, l, ""), &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"})
	if err := nc.Handshake(); err != nil {
		t.Fatal(err)
	}
	nc.Write([]byte("hello"))
	expectBytes(t, next(t, came).nc, "hello")
}

// TestHandshakes has as many clients as may be stop before MQTT: one more is
// sent away, and let in once one of them has gone. Who has come through does
// not count.
func TestHandshakes(t *testing.T) {
	ca := newIssuer(t, "house")
	_, certFile, keyFile := ca.issue(&x509.Certificate{IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}})
	upgrade := "GET /mqtt HTTP/1.1\r\nHost: house\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n" +
		"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
	for _, tt := range []struct {
		cfg     Config
		through func(nc net.Conn) // to MQTT
	}{
		{Config{Type: TLS, Certificate: certFile, Key: keyFile}, func(nc net.Conn) {
			if err := tls.Client(nc, &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"}).Handshake(); err != nil {
				t.Error(err)
			}
		}},
		{Config{Type: WebSocket}, func(nc net.Conn) { io.WriteString(nc, upgrade) }},
		{Config{Type: SecureWebSocket, Certificate: certFile, Key: keyFile}, func(nc net.Conn) {
			io.WriteString(tls.Client(nc, &tls.Config{RootCAs: ca.pool(), ServerName: "127.0.0.1"}), upgrade)
		}},
		{Config{Type: TCP, Proxy: true, ProxyFrom: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}, func(nc net.Conn) {
			nc.Write(append([]byte("\r\n\r\n\x00\r\nQUIT\n"), 0x20, 0, 0, 0)) // for itself
		}},
	} {
		l, came := openWith(t, tt.cfg, Options{MaxPacket: func() int { return maxPacket }, Log: slog.New(slog.DiscardHandler),
			Within: func() time.Duration { return patience }, Handshakes: func() int { return 2 }})
		through := func() {
			tt.through(dial(t, l, ""))
			next(t, came)
		}
		through()
		through()
		first, second := dial(t, l, ""), dial(t, l, "")
		defer second.Close()
		expectClosed(t, dial(t, l, ""), fmt.Sprintf("%s: one more than may be before MQTT", tt.cfg.Type))
		first.Close()
		for end := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
			l.mu.Lock()
			n := len(l.early)
			l.mu.Unlock()
			if n == 1 {
				break
			}
			if time.Now().After(end) {
				t.Fatalf("%s: %d are before MQTT, want 1", tt.cfg.Type, n)
			}
		}
		through()
	}
}

// closed is closed when the other end hangs up.
func closed(nc net.Conn) <-chan struct{} {
	ch := make(chan struct{})
	go func() {
		defer close(ch)
		io.Copy(io.Discard, nc)
	}()
	return ch
}

func TestWebSocket(t *testing.T) {
	l, came := open(t, Config{Type: WebSocket, Origins: []string{"https://panel.example"}})
	url := "ws://" + l.Addr().String() + "/mqtt"
	dialWS := func(protocol, origin string) (*websocket.Conn, *http.Response, error) {
		h := http.Header{}
		if origin != "" {
			h.Set("Origin", origin)
		}
		d := websocket.Dialer{HandshakeTimeout: patience}
		if protocol != "" {
			d.Subprotocols = strings.Split(protocol, ",")
		}
		ws, resp, err := d.Dial(url, h)
		if err == nil {
			t.Cleanup(func() { ws.Close() })
			ws.SetReadDeadline(time.Now().Add(patience))
		}
		return ws, resp, err
	}
	for _, tt := range []struct {
		protocol, origin string
		status           int
		chosen           string
	}{
		{"mqtt", "", 101, "mqtt"},
		{"mqttv3.1", "", 101, "mqttv3.1"},
		{"chat,mqtt", "", 101, "mqtt"},
		{"", "", 400, ""},
		{"chat", "", 400, ""},
		{"mqtt", "https://panel.example", 101, "mqtt"},
		{"mqtt", "http://" + l.Addr().String(), 101, "mqtt"},
		{"mqtt", "https://evil.example", 403, ""},
		{"mqtt", "null", 403, ""},
	} {
		ws, resp, err := dialWS(tt.protocol, tt.origin)
		if resp == nil || resp.StatusCode != tt.status {
			t.Errorf("protocol %q, origin %q: %v, %v, want %d", tt.protocol, tt.origin, resp, err, tt.status)
			continue
		}
		if tt.status == 101 {
			next(t, came)
			if ws.Subprotocol() != tt.chosen || resp.Header.Get("Sec-WebSocket-Extensions") != "" {
				t.Errorf("protocol %q: chosen %q, extensions %q", tt.protocol, ws.Subprotocol(), resp.Header.Get("Sec-WebSocket-Extensions"))
			}
		}
	}

	// Frames are a stream: several packets in one, a packet across some.
	ws, _, err := dialWS("mqtt", "")
	if err != nil {
		t.Fatal(err)
	}
	c := next(t, came)
	for _, frame := range []string{"one two ", "th", "", "ree"} {
		ws.WriteMessage(websocket.BinaryMessage, []byte(frame))
	}
	w, _ := ws.NextWriter(websocket.BinaryMessage) // fragments
	io.WriteString(w, strings.Repeat("x", 600))
	ws.WriteControl(websocket.PingMessage, []byte("p"), time.Now().Add(patience))
	io.WriteString(w, strings.Repeat("x", 400))
	w.Close()
	expectBytes(t, c.nc, "one two three"+strings.Repeat("x", 1000))
	c.nc.Write([]byte("answer"))
	if kind, got, err := ws.ReadMessage(); kind != websocket.BinaryMessage || string(got) != "answer" {
		t.Errorf("read %d %q %v", kind, got, err)
	}
	go io.Copy(io.Discard, c.nc)
	ws.WriteMessage(websocket.BinaryMessage, make([]byte, maxPacket))
	ws.WriteMessage(websocket.BinaryMessage, make([]byte, maxPacket+1))
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseMessageTooBig) {
		t.Errorf("a message beyond the limit: %v", err)
	}

	ws, _, err = dialWS("mqtt", "")
	if err != nil {
		t.Fatal(err)
	}
	c = next(t, came)
	ws.WriteMessage(websocket.TextMessage, []byte("hello"))
	if _, err := c.nc.Read(make([]byte, 10)); !errors.Is(err, errText) {
		t.Errorf("a text frame: %v", err)
	}
	if _, _, err := ws.ReadMessage(); !websocket.IsCloseError(err, websocket.CloseUnsupportedData) {
		t.Errorf("a text frame is answered %v", err)
	}

	// A plain request is no harm.
	resp, err := http.Get("http://" + l.Addr().String() + "/mqtt")
	if err != nil || resp.StatusCode != http.StatusBadRequest {
		t.Errorf("GET: %v %v", resp, err)
	}
	resp.Body.Close()
}

func TestCheck(t *testing.T) {
	for _, tt := range []struct {
		cfg Config
		key string
	}{
		{Config{Type: TCP, Address: ":1", ClientCertificates: "none"}, ""},
		{Config{Type: TCP, Address: "1883", ClientCertificates: "none"}, "address"},
		{Config{Type: TLS, Address: ":1", ClientCertificates: "none", Certificate: "c"}, "key"},
		{Config{Type: TCP, Address: ":1", ClientCertificates: "none", Certificate: "c"}, "type"},
		{Config{Type: TLS, Address: ":1", ClientCertificates: "required", Certificate: "c", Key: "k"}, "client_ca"},
		{Config{Type: TLS, Address: ":1", ClientCertificates: "none", Certificate: "c", Key: "k", UsernameFrom: "cn"}, "client_certificates"},
		{Config{Type: Unix, Address: "/run/x", ClientCertificates: "none", Proxy: true}, ""},
	} {
		if key, err := tt.cfg.Check(); key != tt.key || (err == nil) != (key == "") {
			t.Errorf("%+v: %q, %v, want %q", tt.cfg, key, err, tt.key)
		}
	}
}
