package ui

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
)

// bare is a model without devices.
type bare struct{ Household }

func (bare) House() *devices.House { return &devices.House{} }
func (bare) Command(*mqtt.Turn, string, string, map[string]devices.Value) error {
	return nil
}

func TestFirstRunAndSignIn(t *testing.T) {
	p := &people{}
	_, ts := serve(t, Config{House: &house{}, People: p, Model: bare{}, Rules: noRules(), Addresses: func() []Address {
		return []Address{{"mqtt", "192.168.1.20:1883"}, {"web", "http://192.168.1.20:8080"}}
	}})
	b := newBrowser(t, ts)

	b.get("/devices").at("/setup").shows(200, "Welcome home")
	b.post("/setup", "home", "", "name", "Jo", "password", "short").shows(422, "Give your home a name.")
	b.post("/setup", "home", "Maple Street", "name", "Jo", "password", "short").shows(422, "Too short")
	if strings.Contains(b.body, "short\"") {
		t.Error("the password was sent back")
	}
	b.post("/setup", "home", " Maple  Street ", "name", "Jo", "password", "three good words").at("/").
		shows(200, "Maple Street", "No devices yet", "192.168.1.20:1883", "Add a credential")
	b.get("/setup").at("/")
	b.post("/setup", "home", "Elm", "name", "Eve", "password", "three good words").shows(409, "already has an owner")

	other := newBrowser(t, ts)
	other.get("/settings").at("/login?next=%2Fsettings").shows(200, "Maple Street")
	other.post("/login", "next", "/settings", "name", "Jo", "password", "wrong").shows(422, "The name or the password is wrong.")
	other.post("/login", "next", "/settings", "name", "Jo", "password", "three good words").at("/settings").shows(200, "Jo", "Owner of this home")
	other.post("/logout").at("/login")
	other.get("/").at("/login")

	evil := newBrowser(t, ts)
	evil.post("/login", "next", "//evil.example/", "name", "Jo", "password", "three good words").at("/")

	b.get("/nowhere").shows(404, "There is no such page", "Automations")
	b.get("/healthz").shows(200, "ok")
}

func TestCredentials(t *testing.T) {
	_, ts, b := signedIn(t, bare{}, nil)
	_ = ts
	b.get("/settings").shows(200, "Credentials for devices")
	b.post("/settings/credentials", "credential", "<b>").shows(422, "A name has 1 to 64")
	b.post("/settings/credentials", "credential", "hall-lamp").shows(200, "192.168.1.20:1883", "hall-lamp", "correct-horse-battery-staple", "not shown again")
	if got := b.last.Header.Get("Cache-Control"); got != "no-store" {
		t.Errorf("a page with a password has Cache-Control %q, want no-store", got)
	}
	b.get("/settings").shows(200, "hall-lamp")
	if strings.Contains(b.body, "correct-horse") {
		t.Error("the password is shown a second time")
	}
	b.post("/settings/credentials", "credential", "hall-lamp").shows(422, "There is a credential of that name")
	b.post("/settings/credentials/remove", "name", "hall-lamp").at("/settings").shows(200, "The credential hall-lamp was removed.")
	b.get("/settings")
	if strings.Contains(b.body, "hall-lamp was removed") {
		t.Error("the notice is shown a second time")
	}
}

// signedIn returns a server with an owner, and their browser.
func signedIn(t *testing.T, m Model, change func(*Config)) (*Server, *httptest.Server, *browser) {
	t.Helper()
	p := &people{}
	c := Config{House: &house{}, People: p, Model: m, Rules: noRules(), Version: "test", Addresses: func() []Address {
		return []Address{{"mqtt", "192.168.1.20:1883"}, {"web", "http://192.168.1.20:8080"}}
	}}
	if change != nil {
		change(&c)
	}
	s, ts := serve(t, c)
	b := newBrowser(t, ts)
	b.post("/setup", "home", "Maple Street", "name", "Jo", "password", "three good words").at("/")
	return s, ts, b
}

func TestFirstRunOnlyFromHome(t *testing.T) {
	tests := []struct {
		from, host string
		want       int
	}{
		{"192.168.1.7:5000", "192.168.1.20:8080", 200},
		{"127.0.0.1:5000", "localhost:8080", 200},
		{"[fe80::1%eth0]:5000", "lar.local:8080", 200},
		{"[::ffff:10.0.0.3]:5000", "lar.local.:8080", 200},
		{"192.168.1.7:5000", "lar", 200},
		{"192.168.1.7:5000", "[fd00::20]:8080", 200},
		{"203.0.113.9:5000", "192.168.1.20:8080", 403},
		{"[2001:db8::1]:5000", "192.168.1.20:8080", 403},
		{"nonsense", "localhost", 403},
		{"192.168.1.7:5000", "evil.example:8080", 403},
	}
	s, _ := serve(t, Config{House: &house{}, People: &people{}, Model: bare{}, Rules: noRules()})
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/setup", nil)
		r.RemoteAddr, r.Host = tt.from, tt.host
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("first run from %s by %s: %d, want %d", tt.from, tt.host, w.Code, tt.want)
		}
	}
}

func TestOtherSitesChangeNothing(t *testing.T) {
	p := &people{home: "Maple Street", name: "Jo", tokens: map[string]Person{"t": {ID: "p1", Name: "Jo", Role: Owner}}}
	s, _ := serve(t, Config{House: &house{}, People: p, Model: bare{}, Rules: noRules()})
	r := httptest.NewRequest("POST", "/settings/credentials", strings.NewReader("credential=eve"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Cookie", "lar=t")
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != 403 || len(p.Credentials()) != 0 {
		t.Errorf("a form from another site: %d, credentials %v", w.Code, p.Credentials())
	}
	if !strings.Contains(w.Body.String(), "another site") {
		t.Errorf("the answer says %q", w.Body)
	}
}

func TestRights(t *testing.T) {
	tests := []struct {
		role   Role
		method string
		path   string
		want   int
	}{
		{Guest, "GET", "/", 200},
		{Guest, "GET", "/settings", 200},
		{Guest, "POST", "/settings/credentials", 403},
		{Child, "POST", "/devices/x", 403},
		{Adult, "POST", "/devices/x", 404},
		{Adult, "POST", "/settings/credentials/remove", 403},
		{Owner, "POST", "/settings/credentials/remove", 303},
		{"", "GET", "/", 403},
	}
	for _, tt := range tests {
		p := &people{home: "Maple Street", name: "Jo", tokens: map[string]Person{"t": {ID: "p1", Name: "Jo", Role: tt.role}}}
		s, _ := serve(t, Config{House: &house{}, People: p, Model: bare{}, Rules: noRules()})
		r := httptest.NewRequest(tt.method, tt.path, nil)
		r.Header.Set("Cookie", "lar=t")
		w := httptest.NewRecorder()
		s.ServeHTTP(w, r)
		if w.Code != tt.want {
			t.Errorf("%s %s by %q: %d, want %d", tt.method, tt.path, tt.role, w.Code, tt.want)
		}
	}
}

// noRules is an engine without automations.
func noRules() Rules {
	e, err := automations.New(automations.Config{})
	if err != nil {
		panic(err)
	}
	return e
}

func TestTroubles(t *testing.T) {
	tests := []struct {
		disk Disk
		want []string // in the one trouble there is
	}{
		{Disk{Free: 1 << 40, Turns: 5, Written: 1}, nil},
		{Disk{Messages: []string{"/data/aside/message-1.json"}}, []string{"went wrong inside Lar", "/data/aside/message-1.json"}},
		{Disk{Resting: "the disk does not answer"}, []string{"automations rest", "the disk does not answer"}},
		{Disk{SetAside: []string{"/data/db.broken-1"}}, []string{"was damaged", "Nothing seems to be missing", "/data/db.broken-1"}},
		{Disk{SetAside: []string{"/data/db.broken-1"}, Lost: 2, Restored: 3}, []string{"could not be read", "came back"}},
		{Disk{Damaged: 12}, []string{"is damaged", "12"}},
		{Disk{Low: true, Free: 100_000_000}, []string{"nearly full", "100 MB"}},
		{Disk{Low: true, Refusing: "disk is almost full"}, []string{"Nothing new can be kept", "disk is almost full"}},
	}
	for _, tt := range tests {
		list := troubles(tt.disk)
		if len(list) != min(1, len(tt.want)) {
			t.Errorf("troubles(%+v) = %+v", tt.disk, list)
			continue
		}
		for _, text := range tt.want {
			if said := list[0].Title + " " + list[0].Text; !strings.Contains(said, text) {
				t.Errorf("troubles(%+v) says %q, not %q", tt.disk, said, text)
			}
		}
	}
}

func TestDiskFacts(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	facts := diskFacts(Disk{Written: 6_000_000, Turns: 1000, Free: 64_000_000_000, Since: now.Add(-2*time.Hour - 123)}, now)
	var said strings.Builder
	for _, f := range facts {
		said.WriteString(f.Name + ": " + f.Text + "\n")
	}
	for _, want := range []string{"start: 6.0 MB in 2 hours\n", "rate: 72 MB", "kept: 6.0 kB", "Free: 64 GB"} {
		if !strings.Contains(said.String(), want) {
			t.Errorf("the facts do not say %q:\n%s", want, said.String())
		}
	}
}
