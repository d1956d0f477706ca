package hub

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"lar.home/hub/listen"
	"lar.home/mqtt/packet"
)

// An authority makes certificates, and lists of those that are revoked.
type authority struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, dir: t.TempDir()}
	a.cert, a.key = a.sign(1, &x509.Certificate{Subject: pkix.Name{CommonName: "house"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign})
	a.file("ca.pem", "CERTIFICATE", a.cert.Raw)
	return a
}

func (a *authority) sign(serial int64, c *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber, c.NotBefore, c.NotAfter = big.NewInt(serial), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	parent, by := a.cert, a.key
	if parent == nil {
		parent, by = c, key
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), by)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, key
}

func (a *authority) file(name, kind string, der []byte) string {
	a.t.Helper()
	file := filepath.Join(a.dir, name)
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600); err != nil {
		a.t.Fatal(err)
	}
	return file
}

// issue makes a certificate and returns its files.
func (a *authority) issue(serial int64, name string) (certFile, keyFile string) {
	a.t.Helper()
	made, key := a.sign(serial, &x509.Certificate{Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}})
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.file(name+".pem", "CERTIFICATE", made.Raw), a.file(name+".key", "EC PRIVATE KEY", der)
}

func (a *authority) revoke(serials ...int64) string {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, n := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(n), RevocationTime: time.Now()})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return a.file("revoked.pem", "X509 CRL", der)
}

// TestReloadRevoked revokes the certificate of a client that is connected: when
// the list is read again it is sent away, keeps its session, and nobody else
// notices.
func TestReloadRevoked(t *testing.T) {
	ca := newAuthority(t)
	hubCert, hubKey := ca.issue(2, "hub")
	l := listen.Config{Type: listen.TLS, Address: "127.0.0.1:0", Certificate: hubCert, Key: hubKey,
		ClientCertificates: "required", ClientCA: filepath.Join(ca.dir, "ca.pem"), Revoked: ca.revoke(), UsernameFrom: "cn"}
	cfg := Config{Dir: t.TempDir(), Listeners: []listen.Config{l}}
	h, _ := startWith(t, cfg)
	connect := func(serial int64, name string) *rawClient {
		t.Helper()
		cert, err := tls.LoadX509KeyPair(ca.issue(serial, name))
		if err != nil {
			t.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AddCert(ca.cert)
		nc, err := tls.Dial("tcp", h.listeners[0].Addr().String(), &tls.Config{RootCAs: roots, Certificates: []tls.Certificate{cert}})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { nc.Close() })
		c := &rawClient{t: t, nc: nc}
		c.send(&packet.Connect{Version: packet.V5, ClientID: name, SessionExpiry: 100, RequestProblemInfo: true})
		if ack, ok := c.next().(*packet.Connack); !ok || ack.Reason != packet.Success {
			t.Fatalf("%s: CONNECT is answered %+v", name, ack)
		}
		return c
	}
	lamp, door := connect(3, "lamp"), connect(4, "door")
	plain := connectRaw(t, h, "plain", "", "")
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	lamp.stays()
	ca.revoke(3)
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	lamp.gone("a client whose certificate was revoked")
	if s, ok := h.broker.Session("lamp"); !ok || s.Connected {
		t.Errorf("its session: %+v, %t", s, ok)
	}
	door.stays()
	plain.stays()
	connect(5, "lamp").stays() // with another certificate
}
