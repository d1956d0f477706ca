package hub

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"
	"golang.org/x/sys/unix"
)

// lockDown makes a data folder one that cannot be written, until unlock.
func lockDown(t *testing.T, dir string) (unlock func()) {
	t.Helper()
	if os.Getuid() == 0 { // whom modes do not stop
		if err := unix.Mount(dir, dir, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
		remount := func(flags uintptr) {
			if err := unix.Mount("", dir, "", unix.MS_REMOUNT|unix.MS_BIND|flags, ""); err != nil {
				t.Fatal(err)
			}
		}
		remount(unix.MS_RDONLY)
		return func() { remount(0) }
	}
	set := func(file, folder fs.FileMode) {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if e.IsDir() {
				return os.Chmod(path, folder)
			}
			return os.Chmod(path, file)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	set(0o400, 0o500)
	unlock = func() { set(0o600, 0o700) }
	t.Cleanup(unlock)
	return unlock
}

// TestDamagedAndReadOnly plays the SD card at its end: junk in the database, and
// nothing can be written any more. What people have made is there all the same;
// when the folder can be written again, it is kept there.
func TestDamagedAndReadOnly(t *testing.T) {
	dir := t.TempDir()
	h, stop := start(t, dir)
	_, password := moveIn(t, h, dir)
	stop()
	spoil(t, dir)
	unlock := lockDown(t, dir)

	h, stop = start(t, dir)
	check := func(when string) {
		t.Helper()
		if rules := h.rules.Rules(); len(rules) != 1 || rules[0].Name != "Doorbell" || !rules[0].Enabled {
			t.Errorf("%s: rules %+v", when, rules)
		}
		if h.people.Home() != "Elm Street" || !h.people.HasOwner() {
			t.Errorf("%s: the home or its owner is gone", when)
		}
		lamp := mqttclient.NewClient(mqttclient.NewClientOptions().AddBroker("tcp://" + h.mqttLn.Addr().String()).
			SetClientID("visitor").SetUsername("lamp").SetPassword(password).SetAutoReconnect(false))
		answer(t, lamp.Connect()) // with the credential, and without a session to be kept
		lamp.Disconnect(0)
	}
	check("read-only")
	page := ownersPage(t, h, "/")
	for _, want := range []string{"Nothing new can be kept now", "Some of the stored data cannot be read", "came back from the copy"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page does not say %q", want)
		}
	}
	if d := h.disk(); !d.Unwritable || d.Lost == 0 || d.Restored == 0 || len(d.SetAside) > 0 {
		t.Errorf("what is said of the disk: %+v", d)
	}

	unlock()
	for begun := time.Now(); h.store.Ready() != nil || !h.settled.Load(); <-time.After(20 * time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("the folder can be written, and yet: %v", h.store.Ready())
		}
	}
	check("writable again")
	if d := h.disk(); d.Unwritable || len(d.SetAside) != 1 || d.Refusing != "" {
		t.Errorf("what is said of the disk once it can be written: %+v", d)
	}
	stop()
	if err := os.Remove(keepsakeFileOf(dir)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(peopleFile(dir)); err != nil {
		t.Fatal(err)
	}
	h, _ = start(t, dir)
	check("from the store alone")
}
