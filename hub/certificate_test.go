package hub

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"

	"lar.home/hub/config"
)

// trusting returns what trusts the certificate that a hub has made.
func trusting(t *testing.T, dir string) *tls.Config {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "https.pem"))
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		t.Fatal("no certificate in https.pem")
	}
	return &tls.Config{RootCAs: pool}
}

// TestHTTPS serves pages and MQTT over TLS with a certificate of the hub's own
// making, which stays over a restart, and with one from files, which is read
// again.
func TestHTTPS(t *testing.T) {
	dir := t.TempDir()
	cfg := Config{Dir: dir, HTTPS: config.HTTPS{Address: "127.0.0.1:0"}}
	h, stop := startWith(t, cfg)
	at := h.httpsLn.Addr().String()
	trust := trusting(t, dir)
	if info, err := os.Stat(filepath.Join(dir, "https.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key of the house can be read by others: %v, %v", info.Mode(), err)
	}
	page := func(at string, trust *tls.Config) *http.Response {
		t.Helper()
		c := &http.Client{Transport: &http.Transport{TLSClientConfig: trust.Clone(), ForceAttemptHTTP2: true}, Timeout: patience}
		defer c.CloseIdleConnections()
		resp, err := c.Get("https://" + at + "/")
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		return resp
	}
	resp := page(at, trust)
	if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
		t.Errorf("got %s by %s, want 200 by HTTP/2", resp.Status, resp.Proto)
	}
	first := resp.TLS.PeerCertificates[0]
	if err := first.VerifyHostname("lar.local"); err != nil {
		t.Error(err)
	}
	heard := hears(t, client(t, h, "sub"), "hall/#")
	c := mqttclient.NewClient(mqttclient.NewClientOptions().AddBroker("wss://" + at + "/mqtt").
		SetTLSConfig(trusting(t, dir)).SetClientID("web").SetAutoReconnect(false))
	wait(t, c.Connect())
	wait(t, c.Publish("hall/state", 1, false, "on"))
	expect(t, heard, "hall/state on")
	c.Disconnect(0)
	stop()

	h, _ = startWith(t, cfg)
	if again := page(h.httpsLn.Addr().String(), trust).TLS.PeerCertificates[0]; !again.Equal(first) {
		t.Error("the certificate is another after a restart")
	}

	// From files, and read again; what cannot be read changes nothing.
	files := t.TempDir()
	other := &Hub{cfg: Config{Dir: files}, log: slog.New(slog.DiscardHandler)}
	if _, err := other.ownCertificate(time.Now()); err != nil {
		t.Fatal(err)
	}
	pem := filepath.Join(files, "https.pem")
	next := cfg
	next.HTTPS.Certificate, next.HTTPS.Key = pem, pem
	if err := Check(next); err != nil {
		t.Error(err)
	}
	if err := h.Reload(next); err != nil {
		t.Error(err)
	}
	trust = trusting(t, files)
	second := page(h.httpsLn.Addr().String(), trust).TLS.PeerCertificates[0]
	if second.Equal(first) {
		t.Error("the certificate from files is not used")
	}
	if err := os.WriteFile(pem, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	if h.Reload(next) == nil || Check(next) == nil {
		t.Error("a damaged certificate is taken")
	}
	page(h.httpsLn.Addr().String(), trust)
}

// TestOwnCertificate makes a certificate anew when its time comes, when it is
// damaged and when the machine has a name that it does not hold for.
func TestOwnCertificate(t *testing.T) {
	h := &Hub{cfg: Config{Dir: t.TempDir()}, log: slog.New(slog.DiscardHandler)}
	now := time.Now()
	made := func(at time.Time) string {
		t.Helper()
		c, err := h.ownCertificate(at)
		if err != nil {
			t.Fatal(err)
		}
		return fmt.Sprint(c.Leaf.SerialNumber)
	}
	first := made(now)
	if made(now.Add(certificateFor-certificateAhead-time.Hour)) != first {
		t.Error("it is made anew before its time")
	}
	second := made(now.Add(certificateFor - certificateAhead + time.Hour))
	if second == first {
		t.Error("it is not made anew")
	}
	if err := os.WriteFile(filepath.Join(h.cfg.Dir, "https.pem"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if made(now) == second {
		t.Error("a damaged one is used")
	}
}
