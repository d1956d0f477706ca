package hub

import (
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
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"lar.home/hub/config"
)

// A certificate that the hub makes holds for as long as browsers take one, and
// is made anew some time before its end, at a start or a reload.
const (
	certificateFor   = 825 * 24 * time.Hour
	certificateAhead = 60 * 24 * time.Hour
)

// loadWebCertificate reads the certificate that pages are served with, or
// makes one.
func (h *Hub) loadWebCertificate(cfg config.HTTPS) error {
	load := func() (*tls.Certificate, error) { return h.ownCertificate(time.Now()) }
	if cfg.Certificate != "" || cfg.Key != "" {
		load = func() (*tls.Certificate, error) { return readWebCertificate(cfg) }
	}
	cert, err := load()
	if err != nil {
		return err
	}
	if time.Now().After(cert.Leaf.NotAfter) {
		h.log.Warn("certificate has expired", "file", cfg.Certificate, "at", cert.Leaf.NotAfter)
	}
	h.webCert.Store(cert)
	return nil
}

func readWebCertificate(cfg config.HTTPS) (*tls.Certificate, error) {
	cert, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("https_certificate %s with https_key %s: %w", cfg.Certificate, cfg.Key, err)
	}
	return &cert, nil
}

// ownCertificate returns the certificate of the hub's own making, from the
// data folder. It signs itself, with a key that leaves the machine never, and
// is made anew when its time comes or the machine has got another name.
// Addresses change too often for that: the one that is kept goes on.
func (h *Hub) ownCertificate(now time.Time) (*tls.Certificate, error) {
	file := filepath.Join(h.cfg.Dir, "https.pem")
	names := h.ownNames()
	if data, err := os.ReadFile(file); err == nil {
		cert, err := tls.X509KeyPair(data, data)
		if err == nil && now.Add(certificateAhead).Before(cert.Leaf.NotAfter) && contains(cert.Leaf.DNSNames, names) {
			return &cert, nil
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: names[0], Organization: []string{"Lar"}},
		NotBefore:             now.Add(-24 * time.Hour), // for clocks that are late
		NotAfter:              now.Add(certificateFor),
		DNSNames:              names,
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
	}
	for _, a := range lanAddrs() {
		c.IPAddresses = append(c.IPAddresses, a.AsSlice())
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, key.Public(), key)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	data := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	data = append(data, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})...)
	if err := writeWhole(file, data); err != nil {
		return nil, fmt.Errorf("the certificate of https cannot be kept: %w", err)
	}
	h.log.Info("certificate made", "file", file, "names", strings.Join(names, " "))
	cert, err := tls.X509KeyPair(data, data)
	return &cert, err
}

// ownNames are those by which browsers call this machine.
func (h *Hub) ownNames() []string {
	names := []string{"lar.local", "localhost"}
	if host, err := os.Hostname(); err == nil && host != "" && len(host) <= 64 && !strings.ContainsAny(host, " *:/") {
		names = append(names, host)
		if !strings.Contains(host, ".") {
			names = append(names, host+".local")
		}
	}
	slices.Sort(names)
	names = slices.Compact(names)
	// The name that people are told stands first.
	i := slices.Index(names, "lar.local")
	names[0], names[i] = names[i], names[0]
	return names
}

func contains(all, some []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// writeWhole writes a file that only this user reads, so that after a power
// cut it is the new one or the old one.
func writeWhole(file string, data []byte) error {
	tmp := file + ".new"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		os.Remove(tmp)
		return err
	}
	return os.Rename(tmp, file)
}
