package ui

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/mqtt"
)

func TestHook(t *testing.T) {
	h, b := furnished(t)
	given := automations.ParseYAML([]byte("name: Bell\ntriggers: [{webhook: {id: bell, methods: [POST, PUT]}}]\nactions: [{publish: {topic: home/bell/set, payload: '{{ payload }}'}}]\n"))[0]
	if len(given.Problems) > 0 {
		t.Fatal(given.Problems)
	}
	if err := h.Do(t.Context(), func(t *mqtt.Turn) error { _, err := h.rules.Save(t, given.Rule, "Jo", 0); return err }); err != nil {
		t.Fatal(err)
	}
	b.get("/automations/bell").shows(200, "Set off from outside", h.ts.URL+"/hook/bell?key=key-of-bell")
	for _, tt := range []struct {
		method, path, body string
		headers            []string
		want               int
	}{
		{"POST", "/hook/bell?key=key-of-bell", "ding", nil, 204},
		{"PUT", "/hook/bell", "dong", []string{"Authorization", "Bearer key-of-bell"}, 204},
		{"POST", "/hook/bell?key=key-of-bell", "web", []string{"Authorization", "", "Sec-Fetch-Site", "cross-site"}, 404},
		{"GET", "/hook/bell?key=key-of-bell", "", []string{"Authorization", "Bearer key-of-bell"}, 405},
		{"HEAD", "/hook/bell?key=key-of-bell", "", []string{"Authorization", "Bearer key-of-bell"}, 405},
		{"POST", "/hook/bell?key=wrong", "no", []string{"Authorization", "Basic x"}, 404},
		{"POST", "/hook/none?key=key-of-none", "no", []string{"Authorization", "Bearer key-of-none"}, 404},
		{"POST", "/hook/bell", strings.Repeat("x", automations.MaxSent+1), []string{"Authorization", "Bearer key-of-bell"}, 413},
	} {
		headers := tt.headers
		if headers == nil {
			headers = []string{"Authorization", "Basic x"}
		}
		if tt.body == "web" { // a browser on another site that knows the key may
			headers, tt.want = []string{"Authorization", "Basic x", "Sec-Fetch-Site", "cross-site"}, 204
		}
		if status, answer, _ := h.ask(tt.method, tt.path, tt.body, headers...); status != tt.want {
			t.Errorf("%s %s: %d %s, want %d", tt.method, tt.path, status, answer, tt.want)
		}
	}
	if got := strings.Join(h.gear.heard(), ","); got != "home/bell/set ding,home/bell/set dong,home/bell/set web" {
		t.Errorf("the bell heard %q", got)
	}
	for range 2 * hookBurst {
		status, _, header := h.ask("POST", "/hook/bell", "x", "Authorization", "Bearer guess")
		if status == http.StatusTooManyRequests {
			if header.Get("Retry-After") == "" {
				t.Error("nobody says when to try again")
			}
			return
		}
	}
	t.Error("keys can be guessed without end")
}

func TestBuckets(t *testing.T) {
	b, now := newBuckets(), time.Now()
	n := 0
	for range 100 {
		if b.take("a", now) {
			n++
		}
	}
	if n != hookBurst || !b.take("b", now) || !b.take("a", now.Add(hookRate)) || b.take("a", now.Add(hookRate)) {
		t.Errorf("%d at once", n)
	}
}

// sender is one for tests.
type sender struct {
	mu     sync.Mutex
	state  Outbox
	err    error
	poked  int
	tested []string
}

func (s *sender) State() Outbox { s.mu.Lock(); defer s.mu.Unlock(); return s.state }
func (s *sender) Poke()         { s.mu.Lock(); defer s.mu.Unlock(); s.poked++ }
func (s *sender) Try(_ context.Context, channel, _ string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tested = append(s.tested, channel)
	return s.err
}

func TestChannelPages(t *testing.T) {
	h, b := furnished(t)
	out := &sender{}
	h.ui.Sender = out
	b.get("/settings/channels").shows(200, "Channels", "New channel")
	b.post("/settings/channels", "name", "", "kind", "ntfy").shows(422, "A name has 1 to 48")
	b.post("/settings/channels", "name", "family", "kind", "email").at("/settings/channels").shows(200)
	_ = h.settings.RemoveChannel(t.Context(), "family")
	b.post("/settings/channels", "name", "phone", "kind", "ntfy", "url", "https://ntfy.test/x", "token", "hush", "step", "fields").at("/settings/channels").shows(200, "Automations can notify “phone”.", "https://ntfy.test/x")
	if strings.Contains(b.body, "hush") || out.poked == 0 {
		t.Error("the token is shown, or nothing is tried again")
	}
	b.get("/settings/channels/phone").shows(200, "There is one, which is not shown.")
	if strings.Contains(b.body, "hush") {
		t.Error("the token is shown")
	}
	b.post("/settings/channels/phone", "url", "https://ntfy.test/x", "token", "").at("/settings/channels")
	if got := h.settings.Channels()[0].Token; got != "hush" {
		t.Errorf("left empty, the token is %q", got)
	}
	b.post("/settings/channels/phone", "url", "https://elsewhere.test/x", "token", "").at("/settings/channels")
	if got := h.settings.Channels()[0].Token; got != "" {
		t.Errorf("the token goes elsewhere: %q", got)
	}
	b.post("/settings/channels/phone/try").at("/settings/channels").shows(200, "Sent. Look whether it has arrived.")
	out.err = &SettingError{Text: "the answer is 403"}
	b.post("/settings/channels/phone/try").at("/settings/channels").shows(200, "Not sent: the answer is 403.")
	out.state = Outbox{
		Waiting: []Unsent{{Rule: "a", Run: "1", What: "notify phone hello", Why: "no route", Tries: 2, Made: time.Now(), Next: time.Now()}},
		GivenUp: []GivenUp{{Rule: "a", Run: "2", What: "notify phone bye", Why: "the answer is 403", At: time.Now()}},
	}
	b.get("/settings/channels").shows(200, "Waiting to be sent", "notify phone hello", "Tried 2 times", "Given up", "notify phone bye")
	b.get("/").shows(200, "A notification or request could not be sent.", "the answer is 403")
	b.post("/settings/channels/phone/remove").at("/settings/channels").shows(200, "was removed")
	b.get("/settings/channels/phone").shows(404, "There is no such channel")
}
