package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// TestRulesOfHub saves, lists and reads rules of a hub that runs, and finds
// them in place after it was killed.
func TestRulesOfHub(t *testing.T) {
	dir, files := t.TempDir(), t.TempDir()
	write := func(name, text string) string {
		name = filepath.Join(files, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	rules := func(code int, says string, args ...string) {
		t.Helper()
		got, out, errs := call(t, "", append([]string{"rules", "--data", dir}, args...)...)
		if got != code || !strings.Contains(out+errs, says) {
			t.Errorf("lar rules %s ends with %d and says\n%s%swant %d and %q", strings.Join(args, " "), got, out, errs, code, says)
		}
	}
	const bell = "name: Bell # of the door\ntriggers: [{message: {filter: door}}]\nactions: [{publish: {topic: bell}}]\n"
	good := write("good.yaml", bell+"---\nid: lamp\nname: Hall lamp\ntriggers: [{hand: {}}]\nactions: [{wait: {for: 1h}}, {note: a}]\n")
	rules(1, "no hub is running there", "list")
	h := start(t, dir)
	rules(0, "bell is saved as version 1\nlamp is saved as version 1\n", "put", good)
	rules(0, "bell is as it was\nlamp is as it was\n", "put", good)
	rules(1, "bad.yaml:2:1: triger: There is no key", "put", write("bad.yaml", "name: Bell\ntriger: []\n"))
	rules(0, "lamp is saved as version 2", "put", "--runs", "cancel", write("more.yaml", "id: lamp\nname: Lamp\ntriggers: [{hand: {}}]\nactions: [{note: b}]\n"))
	rules(1, "finish, move or cancel", "put", "--runs", "stop", write("again.yaml", "id: lamp\nname: Lamp\ntriggers: [{hand: {}}]\nactions: [{note: c}]\n"))
	rules(0, bell, "get", "bell")
	rules(1, "no such automation", "get", "none")
	rules(2, "not called like that", "get")
	h.stop(syscall.SIGKILL)
	start(t, dir)
	rules(0, "bell  on     1        the command lar  Bell\nlamp  on     2        the command lar  Lamp\n", "list")
}

// TestOutboxKill kills the hub as it sends: what a rule asks to be sent comes
// at least once, and each time with the same key.
func TestOutboxKill(t *testing.T) {
	var mu sync.Mutex
	keys := map[string][]string{} // path → keys that came
	hold := make(chan struct{})
	end := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		mu.Lock()
		keys[r.URL.Path] = append(keys[r.URL.Path], r.Header.Get("Idempotency-Key"))
		first := len(keys[r.URL.Path]) == 1
		mu.Unlock()
		if first && r.URL.Path != "/free" { // the hub never hears that it came
			select {
			case <-hold:
			case <-r.Context().Done():
			}
		}
	}))
	defer end.Close()
	defer close(hold)
	dir := t.TempDir()
	text := ""
	for n := range 3 {
		text += fmt.Sprintf("id: r%d\nname: R %d\ntriggers: [{start: {}}]\nactions: [{http: {url: '%s/%d', body: x}}]\n---\n", n, n, strings.Replace(end.URL, "127.0.0.1", []string{"127.0.0.1", "localhost", "127.0.0.2"}[n], 1), n)
	}
	file := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	h := start(t, dir)
	if code, out, errs := call(t, "", "rules", "put", file, "--data", dir); code != 0 {
		t.Fatalf("%s%s", out, errs)
	}
	h.stop(syscall.SIGTERM)
	h = start(t, dir) // each rule sends at the start
	came := func(path string) []string {
		mu.Lock()
		defer mu.Unlock()
		return slices.Clone(keys[path])
	}
	deadline := time.Now().Add(patience)
	await := func(what string, ok func() bool) {
		t.Helper()
		for !ok() {
			if time.Now().After(deadline) {
				t.Fatalf("not in time: %s; %v %v", what, came("/0"), came("/1"))
			}
			<-time.After(5 * time.Millisecond)
		}
	}
	await("the first requests", func() bool { return len(came("/0")) > 0 && len(came("/1")) > 0 })
	h.stop(syscall.SIGKILL)
	first := map[string]string{"/0": came("/0")[0], "/1": came("/1")[0]}
	start(t, dir)
	for path, key := range first {
		await("the repetition at "+path, func() bool { return slices.Index(came(path)[1:], key) >= 0 })
		if !strings.HasPrefix(key, "lar-") {
			t.Errorf("%s came with the key %q", path, key)
		}
	}
	if first["/0"] == first["/1"] {
		t.Errorf("two requests have the same key %q", first["/0"])
	}
}
