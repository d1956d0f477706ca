package hub

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/mqtt"
)

// TestDamagedData plays an SD card that has turned everything in the database
// into junk: the hub starts, what people have made by hand is there again, and
// the owner is told.
func TestDamagedData(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	device, password := moveIn(t, h, dir)
	stop()

	spoil(t, dir)

	h, stop = start(t, dir)
	if rules := h.rules.Rules(); len(rules) != 1 || rules[0].Name != "Doorbell" || !rules[0].Enabled {
		t.Errorf("rules after the damage: %+v", rules)
	}
	if h.people.Home() != "Elm Street" || !h.people.HasOwner() {
		t.Error("the home or its owner is gone")
	}
	lamp, _, err := as(t, h, "lamp", "lamp", password, nil)
	if err != nil {
		t.Fatalf("the credential is gone: %v", err)
	}
	wait(t, lamp.Publish("homeassistant/light/l1/config", 1, true, lampConfig))
	if e := entity(t, h, "Reading lamp"); e.Device.ID != device {
		t.Errorf("the lamp came back as device %q, want %q", e.Device.ID, device)
	}
	pages := h.disk()
	if len(pages.SetAside) != 1 || pages.Restored == 0 || pages.Lost == 0 {
		t.Errorf("what is said of the disk: %+v", pages)
	}
	for path, want := range map[string]string{"/": "The stored data was damaged", "/settings": pages.SetAside[0]} {
		if page := ownersPage(t, h, path); !strings.Contains(page, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}
	stop()

	// The next start is an ordinary one, but the notice stays until the owner
	// has seen it.
	h, stop = start(t, dir)
	if rules := h.rules.Rules(); len(rules) != 1 {
		t.Errorf("the start after: %d rules", len(rules))
	}
	if again := h.disk(); len(again.SetAside) != 1 || again.Restored != pages.Restored || again.Lost != pages.Lost {
		t.Errorf("what is said of the disk at the start after: %+v, want %+v", again, pages)
	}
	if page := ownersPage(t, h, "/"); !strings.Contains(page, "The stored data was damaged") || !strings.Contains(page, "I have seen this") {
		t.Error("the page does not say at the start after that data was damaged")
	}
	asOwner(t, h, func(browser *http.Client, base string) {
		resp, err := browser.PostForm(base+"/settings/damage", nil)
		if err != nil || resp.StatusCode != http.StatusOK {
			t.Fatalf("the form of the notice is answered %v, %v", resp, err)
		}
		resp.Body.Close()
	})
	for range 2 {
		if page := ownersPage(t, h, "/settings"); strings.Contains(page, "was damaged") || !strings.Contains(page, "Written since the start") {
			t.Error("the settings do not say what is written, or go on about damage that was seen")
		}
		stop()
		h, stop = start(t, dir)
	}
	if files, err := os.ReadDir(pages.SetAside[0]); err != nil || len(files) < 2 {
		t.Errorf("what was set aside is gone: %v", err)
	}
}

const lampConfig = `{"name": null, "unique_id": "l1", "command_topic": "hall/set", "state_topic": "hall/state",
	"device": {"identifiers": ["l1"], "name": "Lamp"}}`

// moveIn gives a home an owner, a lamp with a credential and a name of its own,
// and a rule, and waits until the copy beside the store has them: nobody stops
// a hub before its card dies.
func moveIn(t *testing.T, h *Hub, dir string) (device, password string) {
	t.Helper()
	if _, err := h.people.FirstRun(t.Context(), "Elm Street", "Jo", "three small words"); err != nil {
		t.Fatal(err)
	}
	var err error
	password, err = h.people.AddCredential(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	lamp, _, err := as(t, h, "lamp", "lamp", password, nil)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, lamp.Publish("homeassistant/light/l1/config", 1, true, lampConfig))
	device = entity(t, h, "Lamp").Device.ID
	err = h.Do(t.Context(), func(turn *mqtt.Turn) error {
		if err := h.model.SetName(turn, device, "Reading lamp"); err != nil {
			return err
		}
		_, err := h.rules.Save(turn, automations.Rule{
			Name: "Doorbell", Enabled: true,
			Triggers: []automations.Trigger{{Message: &automations.MessageTrigger{Filter: "bell/+"}}},
			Actions:  []automations.Action{{Publish: &automations.PublishAction{Topic: "hall/set", Payload: "ON", QoS: mqtt.AtLeastOnce}}},
		}, "Jo", 0)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for begun := time.Now(); ; {
		copied, err := os.ReadFile(keepsakeFileOf(dir))
		if err == nil && strings.Contains(string(copied), "Doorbell") && strings.Contains(string(copied), "Reading lamp") {
			break
		}
		if time.Since(begun) > patience {
			t.Fatalf("the copy beside the store does not follow: %v\n%s", err, copied)
		}
		<-time.After(50 * time.Millisecond)
	}
	return device, password
}

// spoil turns everything in the database into junk.
func spoil(t *testing.T, dir string) {
	t.Helper()
	files, err := os.ReadDir(filepath.Join(dir, "db"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database to damage: %v", err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, "db", f.Name()), []byte(strings.Repeat("junk ", 2000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// ownersPage returns a page as Jo sees it.
func ownersPage(t *testing.T, h *Hub, path string) (page string) {
	t.Helper()
	asOwner(t, h, func(browser *http.Client, base string) {
		resp, err := browser.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		if err != nil || resp.StatusCode != http.StatusOK || resp.Request.URL.Path != path {
			t.Fatalf("%s: %s at %s, %v", path, resp.Status, resp.Request.URL, err)
		}
		page = string(body)
	})
	return page
}

// asOwner signs Jo in.
func asOwner(t *testing.T, h *Hub, fn func(browser *http.Client, base string)) {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{Jar: jar}
	base := "http://" + h.httpLn.Addr().String()
	form := url.Values{"name": {"Jo"}, "password": {"three small words"}}
	req, err := http.NewRequest(http.MethodPost, base+"/login", strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Origin", base)
	resp, err := browser.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	fn(browser, base)
}
