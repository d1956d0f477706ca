package listen

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxPEM bounds the files that certificates and revocation lists are in.
const maxPEM = 16 << 20

// credentials are what a secure listener shows and asks for. They are never
// changed, only replaced: a new configuration has ticket keys of its own, so
// that no connection is resumed on the word of an older one.
type credentials struct {
	config       *tls.Config
	trusted      map[authority]bool            // of client_ca
	revoked      map[authority]map[string]bool // by serial number
	usernameFrom string
}

// An authority is known by its key: its name alone could be another's.
type authority [sha256.Size]byte

func authorityOf(c *x509.Certificate) authority { return sha256.Sum256(c.RawSubjectPublicKeyInfo) }

func loadCredentials(cfg Config, log *slog.Logger) (*credentials, error) {
	cert, err := tls.LoadX509KeyPair(cfg.Certificate, cfg.Key)
	if err != nil {
		return nil, fmt.Errorf("certificate %s with key %s: %w", cfg.Certificate, cfg.Key, err)
	}
	if cert.Leaf != nil && time.Now().After(cert.Leaf.NotAfter) {
		log.Warn("certificate has expired", "file", cfg.Certificate, "at", cert.Leaf.NotAfter)
	}
	c := &credentials{usernameFrom: cfg.UsernameFrom}
	c.config = &tls.Config{
		Certificates: []tls.Certificate{cert},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"mqtt"},
	}
	if cfg.web() {
		c.config.NextProtos = []string{"http/1.1"}
	}
	if cfg.ClientCertificates == "none" || cfg.ClientCertificates == "" {
		return c, nil
	}
	c.config.ClientAuth = tls.VerifyClientCertIfGiven
	if cfg.ClientCertificates == "required" {
		c.config.ClientAuth = tls.RequireAndVerifyClientCert
	}
	authorities, err := readCertificates(cfg.ClientCA)
	if err != nil {
		return nil, err
	}
	c.config.ClientCAs = x509.NewCertPool()
	c.trusted = make(map[authority]bool)
	for _, a := range authorities {
		c.config.ClientCAs.AddCert(a)
		c.trusted[authorityOf(a)] = true
	}
	if cfg.Revoked != "" {
		if c.revoked, err = readRevoked(cfg.Revoked, authorities, log); err != nil {
			return nil, err
		}
	}
	// It is asked for connections that are resumed, too.
	c.config.VerifyConnection = c.verify
	return c, nil
}

// CheckFiles reads the certificates of a listener, to say what is wrong.
func CheckFiles(cfg Config) error {
	if !cfg.secure() {
		return nil
	}
	_, err := loadCredentials(cfg, slog.New(slog.DiscardHandler))
	return err
}

func readBounded(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxPEM+1))
	if err == nil && len(data) > maxPEM {
		err = fmt.Errorf("%s has more than %d bytes", file, maxPEM)
	}
	return data, err
}

func readCertificates(file string) (list []*x509.Certificate, err error) {
	data, err := readBounded(file)
	if err != nil {
		return nil, err
	}
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type != "CERTIFICATE" {
			continue
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		list = append(list, c)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return list, nil
}

// readRevoked reads revocation lists, section 5 of RFC 5280. Each has to be
// signed by one of the authorities. One whose time is over goes on counting,
// since what was revoked stays so; the log says it.
func readRevoked(file string, authorities []*x509.Certificate, log *slog.Logger) (map[authority]map[string]bool, error) {
	data, err := readBounded(file)
	if err != nil {
		return nil, err
	}
	var ders [][]byte
	for block, rest := pem.Decode(data); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "X509 CRL" {
			ders = append(ders, block.Bytes)
		}
	}
	if len(ders) == 0 {
		ders = [][]byte{data}
	}
	revoked := make(map[authority]map[string]bool)
	for _, der := range ders {
		list, err := x509.ParseRevocationList(der)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		signed := false
		for _, a := range authorities {
			if !bytes.Equal(a.RawSubject, list.RawIssuer) || list.CheckSignatureFrom(a) != nil {
				continue
			}
			signed = true
			serials := revoked[authorityOf(a)]
			if serials == nil {
				serials = make(map[string]bool)
				revoked[authorityOf(a)] = serials
			}
			for _, e := range list.RevokedCertificateEntries {
				serials[e.SerialNumber.String()] = true
			}
		}
		if !signed {
			return nil, fmt.Errorf("%s: the list of %s is not signed by an authority of client_ca", file, list.Issuer)
		}
		if !list.NextUpdate.IsZero() && time.Now().After(list.NextUpdate) {
			log.Warn("list of revoked certificates is out of date", "file", file, "since", list.NextUpdate)
		}
	}
	return revoked, nil
}

// verify refuses a client whose certificate, or that of an authority between,
// was revoked, or whose authority is none any more: those of a connection may
// have been others when it was made.
func (c *credentials) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
chains:
	for _, chain := range state.VerifiedChains {
		if !c.trusted[authorityOf(chain[len(chain)-1])] {
			continue
		}
		for i := range len(chain) - 1 {
			if c.revoked[authorityOf(chain[i+1])][chain[i].SerialNumber.String()] {
				continue chains
			}
		}
		return nil
	}
	return errors.New("the client's certificate was revoked")
}

// username returns what a verified certificate says its client is called.
func (c *credentials) username(state tls.ConnectionState) (string, error) {
	if c.usernameFrom == "" || len(state.PeerCertificates) == 0 {
		return "", nil
	}
	cert := state.PeerCertificates[0]
	name := cert.Subject.CommonName
	if c.usernameFrom == "san" {
		name = ""
		switch {
		case len(cert.DNSNames) > 0:
			name = cert.DNSNames[0]
		case len(cert.EmailAddresses) > 0:
			name = cert.EmailAddresses[0]
		case len(cert.URIs) > 0:
			name = cert.URIs[0].String()
		}
	}
	if name == "" || len(name) > 256 || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return "", errors.New("the client's certificate has no name that can be a user name")
	}
	return name, nil
}
