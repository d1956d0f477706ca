package hub

import (
	"bytes"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	mqttclient "github.com/eclipse/paho.mqtt.golang"
)

// Of the home whose files are damaged one by one: retained messages in tables,
// one of them too large for these, and some that are in the log only.
const (
	inTables = 40
	inLog    = 20
	large    = 100 << 10
)

// killedHome makes a data folder as the kill of a hub leaves it.
func killedHome(t *testing.T) (dir, password string) {
	t.Helper()
	dir = t.TempDir()
	h, stop := start(t, dir)
	_, password = moveIn(t, h, dir)
	c, _, err := as(t, h, "lamp", "lamp", password, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range inTables {
		wait(t, c.Publish(fmt.Sprintf("kept/table/%d", i), 1, true, keptPayload(i)))
	}
	wait(t, c.Publish("kept/large", 1, true, bytes.Repeat([]byte("large "), large/6)))
	stop()
	h, _ = start(t, dir)
	if c, _, err = as(t, h, "lamp", "lamp", password, nil); err != nil {
		t.Fatal(err)
	}
	for i := range inLog {
		wait(t, c.Publish(fmt.Sprintf("kept/log/%d", i), 1, true, keptPayload(i)))
	}
	killed := t.TempDir()
	copyHome(t, dir, killed)
	return killed, password
}

func keptPayload(i int) string { return strings.Repeat(fmt.Sprint(i, " "), 100) }

// copyHome copies what a home needs to go on: its database, the copies beside
// it, and the lock, which tells that it was in use.
func copyHome(t *testing.T, from, to string) {
	t.Helper()
	for _, name := range []string{"db", "house.json", "identity.json", "lock"} {
		err := filepath.WalkDir(filepath.Join(from, name), func(path string, e fs.DirEntry, err error) error {
			rel, _ := filepath.Rel(from, path)
			if err != nil || e.IsDir() {
				return os.MkdirAll(filepath.Join(to, rel), 0o700)
			}
			data, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			// Sparse, as they are.
			out := filepath.Join(to, rel)
			if err := os.WriteFile(out, bytes.TrimRight(data, "\x00"), 0o600); err != nil {
				return err
			}
			return os.Truncate(out, int64(len(data)))
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDamagedFiles damages one file of the database at a time, in every way
// that is known of cards and power cuts: the hub starts, what people have made
// is there, nothing that is shown is wrong, and if anything is missing the
// owner is told and what is damaged lies aside. With LAR_DAMAGE=all every file
// is damaged in every way.
func TestDamagedFiles(t *testing.T) {
	source, password := killedHome(t)
	ways := []struct {
		name   string
		damage func(b []byte) []byte // nil: the file is gone
	}{
		{"gone", func([]byte) []byte { return nil }},
		{"emptied", func([]byte) []byte { return []byte{} }},
		{"cut", func(b []byte) []byte { return b[:2*used(b)/3] }},
		{"flipped", func(b []byte) []byte {
			n := used(b)
			for i := n / 2; i < min(n, n/2+40); i++ {
				b[i] ^= 0x55
			}
			return b
		}},
		{"one-bit", func(b []byte) []byte { b[used(b)/3] ^= 4; return b }},
		{"head", func(b []byte) []byte { copy(b, "junk where it begins"); return b }},
		{"blank", func(b []byte) []byte { clear(b); return b }},
		{"tail", func(b []byte) []byte { return append(b, "junk at the end of it"...) }},
	}
	usual := map[string]string{
		"*.mem": "gone emptied cut blank", "*.vlog": "gone cut one-bit", "*.sst": "gone flipped emptied", "MANIFEST": "gone cut tail",
	}
	for glob, names := range usual {
		paths, _ := filepath.Glob(filepath.Join(source, "db", glob))
		if len(paths) == 0 {
			t.Errorf("there is no file %s", glob)
		}
		slices.Sort(paths)
		for i, path := range paths {
			for _, way := range ways {
				if all := os.Getenv("LAR_DAMAGE") == "all"; !all && (i > 0 || !slices.Contains(strings.Fields(names), way.name)) {
					continue
				}
				t.Run(filepath.Base(path)+" "+way.name, func(t *testing.T) {
					t.Parallel()
					dir := t.TempDir()
					copyHome(t, source, dir)
					damagedFile(t, dir, filepath.Join(dir, "db", filepath.Base(path)), password, way.damage)
				})
			}
		}
	}
}

// used returns how much of a file has been written.
func used(b []byte) int { return len(bytes.TrimRight(b, "\x00")) }

func damagedFile(t *testing.T, dir, path, password string, damage func([]byte) []byte) {
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if data = damage(data); data == nil {
		err = os.Remove(path)
	} else {
		err = os.WriteFile(path, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	h, stop := start(t, dir)
	if rules := h.rules.Rules(); len(rules) != 1 || rules[0].Name != "Doorbell" || !rules[0].Enabled {
		t.Errorf("rules %+v", rules)
	}
	if h.people.Home() != "Elm Street" || !h.people.HasOwner() {
		t.Error("the home or its owner is gone")
	}
	c, _, err := as(t, h, "visitor", "lamp", password, nil)
	if err != nil {
		t.Fatalf("the credential is gone: %v", err)
	}
	kept := retainedUnder(t, c, "kept/#", "end/of/kept")
	missing := 0
	check := func(topic, want string) {
		if got, ok := kept[topic]; !ok {
			missing++
		} else if got != want {
			t.Errorf("%s has a wrong payload of %d bytes", topic, len(got))
		}
	}
	for i := range inTables {
		check(fmt.Sprintf("kept/table/%d", i), keptPayload(i))
	}
	for i := range inLog {
		check(fmt.Sprintf("kept/log/%d", i), keptPayload(i))
	}
	check("kept/large", strings.Repeat("large ", large/6))
	wait(t, c.Publish("homeassistant/light/l1/config", 1, true, lampConfig))
	entity(t, h, "Reading lamp")

	disk := h.disk()
	t.Logf("%d of %d are missing; set aside %v, lost %d", missing, inTables+inLog+1, disk.SetAside, disk.Lost)
	if missing > 0 {
		if len(disk.SetAside) == 0 || disk.Lost == 0 {
			t.Errorf("%d messages are missing and nobody says so: %+v", missing, disk)
		}
		if page := ownersPage(t, h, "/"); !strings.Contains(page, "The stored data was damaged") {
			t.Error("the page does not say that data was damaged")
		}
		for _, folder := range disk.SetAside {
			if files, err := os.ReadDir(folder); err != nil || len(files) == 0 {
				t.Errorf("nothing was set aside in %s: %v", folder, err)
			}
		}
	}
	if missing == 0 {
		return
	}
	stop()
	h, _ = start(t, dir) // an ordinary start: no damage is found again
	if again := h.disk(); len(again.SetAside) != len(disk.SetAside) {
		t.Errorf("the start after sets aside %v, that before %v", again.SetAside, disk.SetAside)
	}
}

// retainedUnder returns the retained messages that match a filter.
func retainedUnder(t *testing.T, c mqttclient.Client, filter, end string) map[string]string {
	t.Helper()
	came := make(chan mqttclient.Message, 1000)
	take := func(_ mqttclient.Client, m mqttclient.Message) { came <- m }
	wait(t, c.Subscribe(filter, 0, take))
	// Those of a later subscription come after them.
	wait(t, c.Publish(end, 1, true, "end"))
	wait(t, c.Subscribe(end, 0, take))
	kept := map[string]string{}
	for {
		select {
		case m := <-came:
			if m.Topic() == end {
				return kept
			}
			kept[m.Topic()] = string(m.Payload())
		case <-time.After(patience):
			t.Fatalf("only %d retained messages came", len(kept))
		}
	}
}
