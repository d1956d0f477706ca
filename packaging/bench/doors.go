package main

import (
	"context"
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
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"time"

	"lar.home/hub/bench"
)

// crowd is how many clients come back at once, each with its credential.
const crowd = 200

// A kit is what brokers are given for rows that need more than one plain
// listener: a certificate, and credentials.
type kit struct {
	certificate, key string // files
	client           *tls.Config
	logins           []bench.Login // of Mosquitto's clients
	passwords        string        // file of these
	larDir           string        // data folder of a hub that knows larLogins
	larLogins        []bench.Login
}

// newKit makes a certificate for loopback, as an installation has one.
func newKit(dir string) (*kit, error) {
	k := &kit{certificate: filepath.Join(dir, "bench.crt"), key: filepath.Join(dir, "bench.key"),
		passwords: filepath.Join(dir, "passwords"), larDir: filepath.Join(dir, "lar-logins")}
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bench"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, about, about, &private.PublicKey, private)
	if err != nil {
		return nil, err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return nil, err
	}
	if err := writePEM(k.certificate, "CERTIFICATE", der); err != nil {
		return nil, err
	}
	if err := writePEM(k.key, "PRIVATE KEY", secret); err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool.AddCert(cert)
	k.client = &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"}
	return k, nil
}

// forMosquitto makes credentials and their file.
func (k *kit) forMosquitto() error {
	if k.logins != nil {
		return nil
	}
	tool, err := exec.LookPath("mosquitto_passwd")
	if err != nil {
		return err
	}
	var file strings.Builder
	var logins []bench.Login
	for i := range crowd {
		l := bench.Login{Username: fmt.Sprintf("client%d", i), Password: rand.Text()}
		logins = append(logins, l)
		fmt.Fprintf(&file, "%s:%s\n", l.Username, l.Password)
	}
	if err := os.WriteFile(k.passwords, []byte(file.String()), 0o600); err != nil {
		return err
	}
	if out, err := exec.Command(tool, "-U", k.passwords).CombinedOutput(); err != nil {
		return fmt.Errorf("mosquitto_passwd: %w: %s", err, out)
	}
	k.logins = logins
	return nil
}

// forLar makes a data folder with credentials, to be copied.
func (k *kit) forLar(ctx context.Context, lar *broker) error {
	if k.larLogins != nil {
		return nil
	}
	if err := os.MkdirAll(k.larDir, 0o700); err != nil {
		return err
	}
	h, err := bench.StartHub(lar.binary, k.larDir, lar.more...)
	if err != nil {
		return err
	}
	defer func() {
		h.Kill()
		os.Remove(filepath.Join(k.larDir, "control.sock")) // a socket is not copied
	}()
	var logins []bench.Login
	for i := range crowd {
		name := fmt.Sprintf("client%d", i)
		out, err := exec.CommandContext(ctx, lar.binary, "mqtt", "add", name, "--data", k.larDir).Output()
		if err != nil {
			return fmt.Errorf("make a credential: %w", err)
		}
		_, said, _ := strings.Cut(string(out), "Password")
		f := strings.Fields(said)
		if len(f) == 0 {
			return fmt.Errorf("make a credential: %q", out)
		}
		logins = append(logins, bench.Login{Username: name, Password: f[0]})
	}
	k.larLogins = logins
	return nil
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}

// me is who runs the program: Mosquitto is to go on as the same, so that it can
// read what is made for it.
func me() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "root"
}
