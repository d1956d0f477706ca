package hub

import (
	"bytes"
	"context"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/eclipse/paho.golang/paho"

	"lar.home/hub/config"
	"lar.home/hub/rights"
	"lar.home/hub/scram"
	"lar.home/hub/scram/scramtest"
	"lar.home/mqtt/packet"
)

// A scramClient answers AUTH for a client of others.
type scramClient struct{ name, password string }

func (s scramClient) Authenticate(a *paho.Auth) *paho.Auth {
	return &paho.Auth{ReasonCode: byte(packet.ContinueAuthentication), Properties: &paho.AuthProperties{
		AuthMethod: scram.Method, AuthData: scramtest.Final(s.name, s.password, a.Properties.AuthData)}}
}

func (scramClient) Authenticated() {}

// scramConnect connects with Eclipse's client for 5.0.
func scramConnect(t *testing.T, addr, id, name, password string) (*paho.Client, *paho.Connack, error) {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	c := paho.NewClient(paho.ClientConfig{Conn: nc, AuthHandler: scramClient{name, password}})
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ack, err := c.Connect(ctx, &paho.Connect{ClientID: id, CleanStart: true, KeepAlive: 30,
		Properties: &paho.ConnectProperties{AuthMethod: scram.Method, AuthData: scramtest.First(name)}})
	return c, ack, err
}

// passwords writes a password file.
func passwords(t *testing.T, file string, lines ...string) string {
	t.Helper()
	if err := os.WriteFile(file, []byte(strings.Join(lines, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

func line(t *testing.T, name, password string) string {
	t.Helper()
	l, err := rights.Line(name, password)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// oldLine is what mosquitto_passwd 2.0 made of "secret".
const oldLine = "imported:$7$101$j8It3zdb/i+pwZxV$wMO9IKoLJ5UtFu8z280TPjZpJzwO9bBvxzSYusj+ySPVhVC1tdSv6MaB180Or7g7i9DhgEk5dD+nDFxzbG1g/Q=="

// TestSCRAM has a client of others sign in by SCRAM-SHA-256, as a credential
// of the home and as a user of a password file, and show again who it is.
func TestSCRAM(t *testing.T) {
	users := passwords(t, filepath.Join(t.TempDir(), "passwords"), line(t, "panel", "horse battery"), oldLine)
	h, _ := startWith(t, Config{Dir: t.TempDir(), Rights: config.Rights{PasswordFile: users, SubscribeRights: "strict"}})
	addr := h.mqttLn.Addr().String()
	password, err := h.people.AddCredential(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{"lamp": password, "panel": "horse battery"} {
		c, ack, err := scramConnect(t, addr, name, name, secret)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if ack.Properties.AuthMethod != scram.Method || !bytes.HasPrefix(ack.Properties.AuthData, []byte("v=")) {
			t.Errorf("%s: CONNACK with method %q, data %q", name, ack.Properties.AuthMethod, ack.Properties.AuthData)
		}
		if s, ok := h.broker.Session(name); !ok || s.Identity != "credential:"+name {
			t.Errorf("%s: the session is of %q", name, s.Identity)
		}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		defer cancel()
		again, err := c.Authenticate(ctx, &paho.Auth{ReasonCode: byte(packet.ReAuthenticate), Properties: &paho.AuthProperties{
			AuthMethod: scram.Method, AuthData: scramtest.First(name)}})
		if err != nil || !again.Success {
			t.Errorf("%s: shown again: %+v, %v", name, again, err)
		}
	}
	if list := h.people.Credentials(); len(list) != 1 || list[0].LastSeen.IsZero() {
		t.Errorf("the lamp was not seen: %+v", list)
	}
	// Who does not exist, who has another password, and who cannot: all alike.
	first := make(map[string]string)
	for name, secret := range map[string]string{"lamp": "wrong", "panel": "wrong", "nobody": "x", "imported": "secret"} {
		_, ack, err := scramConnect(t, addr, "other", name, secret)
		if err == nil || ack == nil || ack.ReasonCode != byte(packet.BadUserNameOrPassword) {
			t.Errorf("%s: %+v, %v", name, ack, err)
		}
		talk := h.enhanced(scram.Method, login("other"))
		answer, _, _, _ := talk.Next(scramtest.First(name))
		again, _, _, _ := h.enhanced(scram.Method, login("other")).Next(scramtest.First(name))
		_, salt, _ := strings.Cut(string(answer), ",")
		if _, same, _ := strings.Cut(string(again), ","); salt != same || len(salt) != len("s=,i=10000")+24 {
			t.Errorf("%s is asked with %q, and then with %q", name, salt, same)
		}
		first[salt] = name
	}
	if len(first) != 4 {
		t.Errorf("names share a salt: %v", first)
	}
	if h.enhanced("SCRAM-SHA-1", login("x")) != nil {
		t.Error("there is a method that is not there")
	}
}

// TestReloadSendsAway holds what becomes of clients whose password changes.
func TestReloadSendsAway(t *testing.T) {
	file := filepath.Join(t.TempDir(), "passwords")
	same := line(t, "same", "one")
	passwords(t, file, same, line(t, "changed", "two"), line(t, "removed", "three"), oldLine)
	cfg := Config{Dir: t.TempDir()}
	h, _ := startWith(t, cfg)
	open := connectRaw(t, h, "open", "", "")
	cfg.Rights = config.Rights{PasswordFile: file, SubscribeRights: "strict"}
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	open.gone("a client without a user name, once one is needed")
	stays := connectRaw(t, h, "same", "same", "one")
	imported := connectRaw(t, h, "imported", "imported", "secret")
	changed := connectRaw(t, h, "changed", "changed", "two")
	removed := connectRaw(t, h, "removed", "removed", "three")
	passwords(t, file, same, line(t, "changed", "other"), oldLine)
	if err := h.Reload(cfg); err != nil {
		t.Fatal(err)
	}
	changed.gone("a client with an old password")
	removed.gone("a client that is none any more")
	stays.stays()
	imported.stays()
	if _, ok := h.broker.Session("changed"); !ok {
		t.Error("a session went with an old password")
	}
	if _, ok := h.broker.Session("removed"); ok {
		t.Error("the session of a user that is none any more is there")
	}
	connectRaw(t, h, "changed", "changed", "other").stays()
	// A credential that is removed.
	password, err := h.people.AddCredential(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	lamp := connectRaw(t, h, "lamp", "lamp", password)
	if err := h.people.RemoveCredential(t.Context(), "lamp"); err != nil {
		t.Fatal(err)
	}
	lamp.gone("a client whose credential was removed")
	// A file that cannot be read changes nothing.
	os.Remove(file)
	if err := h.Reload(cfg); err == nil {
		t.Error("a missing password file is taken")
	}
	stays.stays()
}

// TestFailedLogins has a stranger guess, and a client that came in before not
// wait for it, though both have one address and one name.
func TestFailedLogins(t *testing.T) {
	file := passwords(t, filepath.Join(t.TempDir(), "passwords"), line(t, "lamp", "one"), line(t, "door", "two"))
	h, _ := startWith(t, Config{Dir: t.TempDir(), Rights: config.Rights{PasswordFile: file, SubscribeRights: "strict", FailedLogins: 2}})
	connectRaw(t, h, "lamp", "lamp", "one")
	var mu sync.Mutex // guards all
	var all []time.Duration
	h.guard.mu.Lock()
	h.guard.wait = func(d time.Duration) {
		mu.Lock()
		defer mu.Unlock()
		all = append(all, d)
	}
	h.guard.mu.Unlock()
	taken := func() []time.Duration {
		mu.Lock()
		defer mu.Unlock()
		was := all
		all = nil
		return was
	}
	for range 4 {
		for _, name := range []string{"door", "nobody"} {
			if code := tryRaw(t, h, "thief", name, "guess"); code != packet.BadUserNameOrPassword {
				t.Errorf("%s is answered %v", name, code)
			}
		}
	}
	if waited := taken(); len(waited) != 4 || waited[0] != waited[1] || waited[2] != waited[3] || waited[2] <= waited[0] {
		t.Errorf("waits %v, want two of each name, alike and growing", waited)
	}
	connectRaw(t, h, "lamp", "lamp", "one")
	if len(taken()) > 0 {
		t.Error("the lamp waits")
	}
	code := tryRaw(t, h, "door", "door", "two")
	if waited := taken(); code != packet.Success || len(waited) != 1 {
		t.Errorf("the door is answered %v after %v", code, waited)
	}
}
