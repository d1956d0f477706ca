package hub

import (
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// TestForgottenDevice holds that the session and the credential of a device
// that is forgotten end, that the credential stays if another client uses it,
// and that the model learns who speaks for a device.
func TestForgottenDevice(t *testing.T) {
	h, _ := start(t, t.TempDir())
	if _, err := h.people.FirstRun(t.Context(), "Elm Street", "Jo", "correct horse"); err != nil {
		t.Fatal(err)
	}
	password, err := h.people.AddCredential(t.Context(), "plug")
	if err != nil {
		t.Fatal(err)
	}
	lost := make(chan string, 10)
	device, _, err := as(t, h, "plug-1", "plug", password, lost)
	if err != nil {
		t.Fatal(err)
	}
	other, _, err := as(t, h, "plug-2", "plug", password, lost)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, device.Publish("homeassistant/switch/p/config", 1, true, `{"name":"Plug","uniq_id":"p","cmd_t":"p/set","stat_t":"p"}`))
	forgotten := func() {
		t.Helper()
		done := make(chan struct{})
		err := h.Do(t.Context(), func(turn *mqtt.Turn) error {
			f := devices.Forgotten{Device: "x", Client: "plug-1", Identity: h.logins.of("plug-1")}
			if f.Identity == "" {
				t.Error("nobody knows as whom the client came")
			}
			h.forgotten(turn, f, func(*mqtt.Turn) { close(done) })
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-done:
		case <-time.After(patience):
			t.Fatal("it is not done")
		}
	}
	forgotten()
	if _, has := h.broker.Session("plug-1"); has {
		t.Error("the session is still there")
	}
	if n := len(h.people.Credentials()); n != 1 {
		t.Errorf("%d credentials, want that which another client uses", n)
	}
	other.Disconnect(0)
	h.broker.Forget("plug-2")
	forgotten()
	if n := len(h.people.Credentials()); n != 0 {
		t.Errorf("%d credentials, want none", n)
	}
	forgotten() // once more does no harm
}
