package ui

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// An event is one server-sent event.
type event struct{ name, id, data string }

// A listener is an open page that follows /live.
type listener struct {
	t      *testing.T
	events chan event
	cancel context.CancelFunc
	heard  map[string]bool // entities
}

// until waits until an entity's binding has a value, and returns all of its
// bindings then.
func (l *listener) until(entity, binding string, want any) map[string]any {
	l.t.Helper()
	for {
		e := l.next("s")
		for _, pairs := range entities(l.t, e) {
			l.heard[pairs[0].(string)] = true
		}
		if got := leaves(l.t, e, entity); got != nil && got[binding] == want {
			return got
		}
	}
}

func listen(t *testing.T, b *browser, scope, since string) *listener {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, "GET", b.base+"/live?scope="+scope+"&since="+since, nil)
	if err != nil {
		t.Fatal(err)
	}
	client := *b.client
	client.Timeout = 0
	res, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("live: %s, %s", res.Status, res.Header.Get("Content-Type"))
	}
	l := &listener{t, make(chan event, 1000), cancel, map[string]bool{}}
	go func() {
		defer close(l.events)
		var e event
		lines := bufio.NewScanner(res.Body)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "event":
				e.name = value
			case "id":
				e.id = value
			case "data":
				e.data = value
			case "":
				l.events <- e
				e = event{}
			}
		}
	}()
	return l
}

// next returns the next event of a name, leaving out others, in time.
func (l *listener) next(name string) event {
	l.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case e, ok := <-l.events:
			if !ok {
				l.t.Fatalf("the stream ended, waiting for %q", name)
			}
			if e.name == name {
				return e
			}
		case <-timeout:
			l.t.Fatalf("no event %q within %v", name, patience)
		}
	}
}

// ended waits for the end of the stream.
func (l *listener) ended() {
	l.t.Helper()
	timeout := time.After(patience)
	for {
		select {
		case _, ok := <-l.events:
			if !ok {
				return
			}
		case <-timeout:
			l.t.Fatal("the stream goes on")
		}
	}
}

func entities(t *testing.T, e event) [][]any {
	t.Helper()
	var s struct {
		N int
		E [][]any
	}
	if err := json.Unmarshal([]byte(e.data), &s); err != nil {
		t.Fatalf("%v in %q", err, e.data)
	}
	return s.E
}

// leaves returns what an event s says of an entity.
func leaves(t *testing.T, e event, entity string) map[string]any {
	t.Helper()
	for _, pairs := range entities(t, e) {
		if pairs[0] == entity {
			m := map[string]any{}
			for i := 1; i+1 < len(pairs); i += 2 {
				m[pairs[i].(string)] = pairs[i+1]
			}
			return m
		}
	}
	return nil
}

func TestLiveStates(t *testing.T) {
	h, b := furnished(t)
	since := h.ui.live.mark()
	home, device, other := listen(t, b, "home", since), listen(t, b, "device:"+h.model.House().Entity("light.hall_lamp").Device.ID, since), listen(t, b, "settings", since)
	for _, l := range []*listener{home, device, other} {
		if got := l.next("v").data; got != `{"build":"test"}` {
			t.Errorf("first comes %s", got)
		}
	}
	h.publish("home/kettle/state", "ON")
	got := home.until("switch.kettle", "on", 1.0)
	if got["on"] != 1.0 || got["say"] != "On" || got["state"] != "on" || got["ok"] != 1.0 {
		t.Errorf("the kettle is %v", got)
	}
	h.publish("home/hall_lamp/state", `{"state":"ON","brightness":255}`)
	if got := device.until("light.hall_lamp", "brightness", 100.0); got["brightness.say"] != "100\u00a0%" || got["say"] != "On · 100\u00a0%" {
		t.Errorf("the lamp is %v", got)
	}
	home.until("light.hall_lamp", "brightness", 100.0)
	h.publish("home/reading/online", "online")
	if got := home.until("light.reading_lamp", "ok", 1.0); got["say"] != "No value yet" {
		t.Errorf("the reading lamp is %v", got)
	}
	if device.heard["switch.kettle"] {
		t.Error("the lamp's page hears of the kettle")
	}
	if len(other.events) != 0 {
		t.Errorf("a page at rest hears %v", <-other.events)
	}
}

// TestLiveCatchesUp holds that a page which reconnects hears what it missed,
// and one from before a restart hears everything.
func TestLiveCatchesUp(t *testing.T) {
	h, b := furnished(t)
	l := listen(t, b, "home", h.ui.live.mark())
	h.publish("home/kettle/state", "ON")
	l.until("switch.kettle", "on", 1.0)
	last := h.ui.live.mark()
	l.cancel()
	l.ended()

	h.publish("home/window/state", "ON")
	again := listen(t, b, "home", last).next("s")
	if got := leaves(t, again, "binary_sensor.kitchen_window_window"); got["say"] != "Open" {
		t.Errorf("missed: %v", got)
	}
	if leaves(t, again, "switch.kettle") != nil {
		t.Error("what the page knew already came again")
	}
	for _, since := range []string{"", "0123456789-4", "nonsense"} {
		l := listen(t, b, "home", since)
		if l.next("f").data == "" || leaves(t, l.next("s"), "switch.kettle")["on"] != 1.0 {
			t.Errorf("since %q: not everything came", since)
		}
	}
}

func TestLiveStructure(t *testing.T) {
	h, b := emptyHome(t)
	since := h.ui.live.mark()
	home, list := listen(t, b, "home", since), listen(t, b, "devices", since)
	h.announce("switch", "kettle", "", "Kettle", "Kitchen", map[string]any{"command_topic": "home/kettle/set"})
	for id, l := range map[string]*listener{"home": home, "devices": list} {
		var part struct{ ID, HTML string }
		if err := json.Unmarshal([]byte(l.next("f").data), &part); err != nil {
			t.Fatal(err)
		}
		if part.ID != id || !strings.Contains(part.HTML, `id="`+id+`"`) || !strings.Contains(part.HTML, "Kettle") {
			t.Errorf("%s: part %s: %s", id, part.ID, part.HTML)
		}
	}
	device := listen(t, b, "device:"+h.model.House().Devices[0].ID, h.ui.live.mark())
	h.publish("homeassistant/switch/kettle/config", "")
	if got := device.next("f").data; !strings.Contains(got, "This device is gone") {
		t.Errorf("the page of a device that went shows %s", got)
	}
	if got := home.next("f").data; !strings.Contains(got, "No devices yet") {
		t.Errorf("Home shows %s", got)
	}
}

func TestLiveResults(t *testing.T) {
	h, b := furnished(t)
	l := listen(t, b, "home", h.ui.live.mark())
	b.post("/do/switch.kettle", "command", "turn_on", "cmd", "c1")
	if got := l.next("r").data; got != `{"cmd":"c1","ok":true}` {
		t.Errorf("the kettle answered: %s", got)
	}
	b.post("/do/light.hall_lamp", "command", "turn_on", "brightness", "33", "cmd", "c2")
	if got := l.next("r").data; got != `{"cmd":"c2","ok":true}` {
		t.Errorf("the lamp, which rounds, answered: %s", got)
	}
	late := listen(t, b, "home", h.ui.live.mark())
	if got := late.next("r").data + late.next("r").data; got != `{"cmd":"c1","ok":true}{"cmd":"c2","ok":true}` {
		t.Errorf("a stream that came late hears %s", got)
	}
	h.gear.deafen("home/kettle", true)
	begun := time.Now()
	b.post("/do/switch.kettle", "command", "turn_off", "cmd", "c3")
	for {
		e, ok := <-l.events
		if !ok {
			t.Fatal("the stream ended")
		}
		if e.name != "r" {
			continue
		}
		if e.data != `{"cmd":"c3","ok":false,"why":"timeout"}` {
			t.Errorf("a deaf kettle answered: %s", e.data)
		}
		if took := time.Since(begun); took < commandTimeout || took > commandTimeout+patience {
			t.Errorf("given up after %v, want %v", took, commandTimeout)
		}
		return
	}
}

// TestLiveEnds holds that streams end with the sign-in, and with the server.
func TestLiveEnds(t *testing.T) {
	h, b := furnished(t)
	l := listen(t, b, "home", h.ui.live.mark())
	l.next("v")
	b.post("/logout")
	l.next("x")
	l.ended()

	b.post("/login", "name", "Jo", "password", "three good words")
	l = listen(t, b, "home", h.ui.live.mark())
	l.next("v")
	h.ui.Close()
	l.ended()
	h.ui.Close() // a second time does no harm
}

func TestLiveIsBounded(t *testing.T) {
	_, b := furnished(t)
	for range maxOwn {
		listen(t, b, "home", "").next("v")
	}
	b.get("/live?scope=home").shows(503)
}

// TestStalledReader holds that a page which reads nothing neither keeps the
// house waiting nor others from hearing the newest, and takes no more room
// than its page.
func TestStalledReader(t *testing.T) {
	h, b := furnished(t)
	conn, err := net.Dial("tcp", strings.TrimPrefix(h.ts.URL, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.(*net.TCPConn).SetReadBuffer(4096)
	fmt.Fprintf(conn, "GET /live?scope=home HTTP/1.1\r\nHost: x\r\nCookie: lar=token-of-Jo\r\n\r\n")
	others := []*listener{listen(t, b, "home", h.ui.live.mark()), listen(t, b, "devices", h.ui.live.mark())}

	begun := time.Now()
	const n = 20000
	for i := range n {
		h.publish("home/bath_temp/state", fmt.Sprintf("%d.5", i))
	}
	if took := time.Since(begun); took > 2*patience {
		t.Errorf("%d messages took %v beside a reader that is stuck", n, took)
	}
	want := fmt.Sprintf("%d.5", n-1)
	for _, l := range others {
		for {
			if got := leaves(t, l.next("s"), "sensor.bath_sensor_temperature"); strings.HasPrefix(fmt.Sprint(got["say"]), want) {
				break
			}
		}
	}
	h.ui.live.mu.Lock()
	defer h.ui.live.mu.Unlock()
	for st := range h.ui.live.streams {
		st.mu.Lock()
		if len(st.leaves) > 20 || len(st.results) > 0 {
			t.Errorf("a stream holds %d entities and %d results", len(st.leaves), len(st.results))
		}
		st.mu.Unlock()
	}
}
