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
	if _, err := h.people.FirstRun(t.Context(), "Elm Street", "Jo", "three small words"); err != nil {
		t.Fatal(err)
	}
	password, err := h.people.AddCredential(t.Context(), "lamp")
	if err != nil {
		t.Fatal(err)
	}
	lamp, _, err := as(t, h, "lamp", "lamp", password, nil)
	if err != nil {
		t.Fatal(err)
	}
	const config = `{"name": null, "unique_id": "l1", "command_topic": "hall/set", "state_topic": "hall/state",
		"device": {"identifiers": ["l1"], "name": "Lamp"}}`
	wait(t, lamp.Publish("homeassistant/light/l1/config", 1, true, config))
	device := entity(t, h, "Lamp").Device.ID
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
	// The copy follows while the hub runs: nobody stops one before its card dies.
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
	stop()

	files, err := os.ReadDir(filepath.Join(dir, "db"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no database to damage: %v", err)
	}
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, "db", f.Name()), []byte(strings.Repeat("junk ", 2000)), 0o600); err != nil {
			t.Fatal(err)
		}
	}

	h, stop = start(t, dir)
	if rules := h.rules.Rules(); len(rules) != 1 || rules[0].Name != "Doorbell" || !rules[0].Enabled {
		t.Errorf("rules after the damage: %+v", rules)
	}
	if h.people.Home() != "Elm Street" || !h.people.HasOwner() {
		t.Error("the home or its owner is gone")
	}
	lamp, _, err = as(t, h, "lamp", "lamp", password, nil)
	if err != nil {
		t.Fatalf("the credential is gone: %v", err)
	}
	wait(t, lamp.Publish("homeassistant/light/l1/config", 1, true, config))
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

	// The next start is an ordinary one.
	h, _ = start(t, dir)
	if rules := h.rules.Rules(); len(rules) != 1 || len(h.disk().SetAside) > 0 {
		t.Errorf("the start after: %d rules, %+v", len(rules), h.disk())
	}
	if page := ownersPage(t, h, "/settings"); strings.Contains(page, "damaged") || !strings.Contains(page, "Written since the start") {
		t.Error("the settings do not say what is written, or go on about damage")
	}
}

// ownersPage returns a page as Jo sees it.
func ownersPage(t *testing.T, h *Hub, path string) string {
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
	if resp, err = browser.Get(base + path); err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || resp.Request.URL.Path != path {
		t.Fatalf("%s: %s at %s, %v", path, resp.Status, resp.Request.URL, err)
	}
	return string(body)
}
