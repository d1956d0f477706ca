package hub

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"lar.home/devices"
	"lar.home/mqtt"
)

// A fragile watcher panics at some entity; told counts what it was told.
type fragile struct {
	at   string
	told chan string
}

func (f *fragile) Changed(_ *mqtt.Turn, changes []devices.Change, _ bool) {
	for _, c := range changes {
		if c.Entity == nil || c.Aspect != "on" || !c.News {
			continue
		}
		if c.Entity.Name == f.at {
			panic("fragile")
		}
		f.told <- c.Entity.Name
	}
}

// TestPanicIsSetAside has a part of the house panic at each message of a lamp:
// its publisher and the other parts notice nothing, the message is kept in the
// data folder, a few of them at the most, and the owner is told until he has
// seen it.
func TestPanicIsSetAside(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	_, password := moveIn(t, h, dir)
	lamp, _, err := as(t, h, "lamp", "lamp", password, nil)
	if err != nil {
		t.Fatal(err)
	}
	wait(t, lamp.Publish("homeassistant/light/l1/config", 1, true, lampConfig))
	name := entity(t, h, "Reading lamp").Name
	after := &fragile{told: make(chan string, 100)}
	err = h.Do(t.Context(), func(*mqtt.Turn) error {
		h.model.Watch(&fragile{at: name})
		h.model.Watch(after)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for i := range maxAside + 3 {
		payload := []string{"ON", "OFF"}[i%2]
		wait(t, lamp.Publish("hall/state", 1, false, payload)) // it is acknowledged
		if got := <-after.told; got != name {
			t.Fatalf("the watcher after it was told of %q, want %q", got, name)
		}
	}
	files := unseenMessages(dir)
	for end := time.Now().Add(patience); len(files) < maxAside && time.Now().Before(end); files = unseenMessages(dir) {
		time.Sleep(5 * time.Millisecond)
	}
	if len(files) != maxAside {
		t.Fatalf("%d messages are set aside, want %d", len(files), maxAside)
	}
	data, err := os.ReadFile(files[0])
	var kept asideMessage
	if err != nil || json.Unmarshal(data, &kept) != nil || kept.Topic != "hall/state" || kept.Why != "fragile" || kept.Client != "lamp" || !strings.HasPrefix(string(kept.Payload), "O") {
		t.Errorf("set aside is %+v, %v", kept, err)
	}
	if page := ownersPage(t, h, "/"); !strings.Contains(page, "Something went wrong inside Lar") || !strings.Contains(page, filepath.Base(files[0])) {
		t.Error("the owner is not told")
	}
	if err := h.damageSeen(); err != nil {
		t.Fatal(err)
	}
	if page := ownersPage(t, h, "/"); strings.Contains(page, "Something went wrong inside Lar") {
		t.Error("the notice does not go")
	}
	if there, _ := filepath.Glob(filepath.Join(dir, asideFolder, "*")); len(there) != maxAside {
		t.Errorf("%d files are kept, want %d", len(there), maxAside)
	}
	stop()
}
