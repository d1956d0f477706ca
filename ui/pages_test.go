package ui

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestPagesSay(t *testing.T) {
	h, b := furnished(t)
	b.get("/").shows(200, "Bathroom", "Hall lamp", "On · 62 %", "Not reachable", "21.4 °C", "61 %", "Wet", "Closed", "Elsewhere", "1284.63 kWh")
	b.get("/devices").shows(200, "Acme One", "Speakers Off", "Television On")
	b.get("/devices?q=hall+acme").shows(200, "Hall lamp", "2 of 9 devices")
	b.get("/devices?q=cellar").shows(200, "Nothing matches “cellar”")
	lamp := "/devices/" + h.model.House().Entity("light.hall_lamp").Device.ID
	b.get(lamp).shows(200, "Brightness", "62 %", "Colour temperature", "3125 K", "Effect", "Power", "4.1 W", "Name, room and notes")
	b.get("/devices/nothing").shows(404, "There is no such device")
}

func TestRename(t *testing.T) {
	h, b := furnished(t)
	lamp := "/devices/" + h.model.House().Entity("light.hall_lamp").Device.ID
	b.post(lamp, "name", strings.Repeat("x", 65), "room", "Hall").shows(422, "too long")
	b.post(lamp, "name", "Night  lamp", "room", "Bedroom").at(lamp).shows(200, "Saved.", "Night lamp", "Bedroom")
	b.get("/").shows(200, "Night lamp", "Bedroom")
	b.post(lamp, "name", "", "room", "").at(lamp).shows(200, "Saved.", "Hall lamp")
}

func TestCommands(t *testing.T) {
	tests := []struct {
		name   string
		entity string
		fields []string
		status int
		want   string // what the device hears, or what the answer says
	}{
		{"switch on", "switch.kettle", []string{"command", "turn_on"}, 200, "home/kettle/set ON"},
		{"switch toggle", "switch.kettle", []string{"command", "toggle"}, 200, "home/kettle/set ON"},
		{"brightness", "light.hall_lamp", []string{"command", "turn_on", "brightness", "40"}, 200, `home/hall_lamp/set {"state":"ON","brightness":102}`},
		{"too bright", "light.hall_lamp", []string{"command", "turn_on", "brightness", "400"}, 422, "brightness is not between 0 and 100"},
		{"no number", "light.hall_lamp", []string{"command", "turn_on", "brightness", "NaN"}, 422, "brightness is not a number"},
		{"no colour", "light.hall_lamp", []string{"command", "turn_on", "color", "red"}, 422, "colour is not a colour"},
		{"no effect", "light.hall_lamp", []string{"command", "turn_on", "effect", "fire"}, 422, `effect cannot be "fire"`},
		{"no command", "switch.kettle", []string{"command", "boil"}, 422, "Kettle cannot do that"},
		{"nothing there", "switch.oven", []string{"command", "turn_on"}, 404, "There is no such device"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			h, b := furnished(t)
			b.get("/devices")
			b.post("/do/"+tt.entity, tt.fields...)
			if tt.status != 200 {
				b.shows(tt.status, tt.want)
				return
			}
			b.at("/devices")
			if got := strings.Join(h.gear.heard(), "\n"); got != tt.want {
				t.Errorf("the device heard %q, want %q", got, tt.want)
			}
		})
	}
}

// TestEveryPage walks all links from Home: each page must be there, keep to
// the policy, and hold together without script.
func TestEveryPage(t *testing.T) {
	h, b := furnished(t)
	h.automate()
	seen := map[string]bool{}
	queue := []string{"/", "/login", "/settings", "/automations/new"}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		if seen[path] {
			continue
		}
		seen[path] = true
		b.get(path)
		if b.last.StatusCode != 200 {
			t.Errorf("%s: %s", path, b.last.Status)
		}
		if strings.HasPrefix(b.last.Header.Get("Content-Type"), "text/html") {
			checkPage(t, path, b.doc)
		}
		checkHeaders(t, path, b.last)
		for n := range b.doc.Descendants() {
			for _, name := range []string{"href", "src"} {
				to := attr(n, name)
				if to == "" || n.Data == "use" {
					continue
				}
				u, err := b.last.Request.URL.Parse(to)
				if err != nil {
					t.Errorf("%s links to %q: %v", path, to, err)
				} else if u.Host == b.last.Request.URL.Host {
					queue = append(queue, u.RequestURI())
				} else {
					t.Errorf("%s leads to %s, outside the hub", path, to)
				}
			}
		}
	}
	if len(seen) < 20 {
		t.Errorf("only %d pages found: %v", len(seen), seen)
	}
}

func checkHeaders(t *testing.T, path string, res *http.Response) {
	t.Helper()
	const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
	for name, want := range map[string]string{
		"Content-Security-Policy": policy, "X-Content-Type-Options": "nosniff",
		"X-Frame-Options": "DENY", "Referrer-Policy": "same-origin",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %s is %q, want %q", path, name, got, want)
		}
	}
	for _, c := range res.Cookies() {
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode {
			t.Errorf("%s: cookie %v", path, c)
		}
	}
}

// checkPage holds a page against the rules that all pages follow.
func checkPage(t *testing.T, path string, doc *html.Node) {
	t.Helper()
	ids := map[string]bool{}
	labelled := map[string]bool{}
	headings, mains := 0, 0
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if id := attr(n, "id"); id != "" {
			if ids[id] {
				t.Errorf("%s: id %q is there twice", path, id)
			}
			ids[id] = true
		}
		for _, a := range n.Attr {
			if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
				t.Errorf("%s: <%s> has an attribute %s", path, n.Data, a.Key)
			}
		}
		switch n.Data {
		case "h1":
			headings++
		case "main":
			mains++
		case "label":
			labelled[attr(n, "for")] = true
		case "style":
			t.Errorf("%s: has a style element", path)
		case "script":
			if attr(n, "src") == "" || n.FirstChild != nil {
				t.Errorf("%s: has a script within", path)
			}
		}
	}
	if headings != 1 || mains != 1 {
		t.Errorf("%s: %d h1 and %d main, want one of each", path, headings, mains)
	}
	for n := range doc.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		for id := range strings.FieldsSeq(attr(n, "aria-describedby") + " " + attr(n, "aria-labelledby") + " " + attr(n, "for") + " " + attr(n, "list")) {
			if !ids[id] {
				t.Errorf("%s: <%s> refers to %q, which is not there", path, n.Data, id)
			}
		}
		switch n.Data {
		case "input", "select", "textarea":
			inLabel := false
			for p := range n.Ancestors() {
				inLabel = inLabel || p.Data == "label"
			}
			if attr(n, "type") != "hidden" && !labelled[attr(n, "id")] && !inLabel && attr(n, "aria-label") == "" {
				t.Errorf("%s: field %q has no label", path, attr(n, "name"))
			}
			if attr(n, "name") == "" && attr(n, "data-show") == "" {
				t.Errorf("%s: field %q has no name", path, attr(n, "id"))
			}
		case "form":
			if attr(n, "method") != "post" && attr(n, "role") != "search" {
				t.Errorf("%s: form %q is sent by %q", path, attr(n, "action"), attr(n, "method"))
			}
			button := false
			for c := range n.Descendants() {
				button = button || c.Data == "button"
			}
			if !button {
				t.Errorf("%s: form %q cannot be sent without script", path, attr(n, "action"))
			}
		}
	}
}

// TestHostileNames holds that what devices say of themselves stays text.
func TestHostileNames(t *testing.T) {
	h, b := emptyHome(t)
	const evil = `"><script>alert(1)</script><img src=x onerror=alert(1)>`
	h.announce("sensor", "evil", evil, evil, evil, map[string]any{
		"unit_of_measurement": evil, "device_class": evil, "icon": "mdi:" + evil,
		"device": map[string]any{"identifiers": []string{evil}, "name": evil, "suggested_area": evil, "configuration_url": "javascript:alert(1)", "model": evil},
	})
	h.publish("home/evil/state", evil)
	if len(h.model.House().Devices) != 1 {
		t.Fatalf("devices: %v", h.model.House().Devices)
	}
	d := h.model.House().Devices[0]
	for _, path := range []string{"/", "/devices", "/devices/" + url.PathEscape(d.ID), "/automations/new"} {
		b.get(path)
		if b.last.StatusCode != 200 {
			t.Errorf("%s: %s", path, b.last.Status)
		}
		for n := range b.doc.Descendants() {
			if n.Data == "script" && attr(n, "src") == "" || attr(n, "onerror") != "" || strings.HasPrefix(attr(n, "href"), "javascript:") {
				var out bytes.Buffer
				html.Render(&out, n)
				t.Errorf("%s has %s", path, out.String())
			}
		}
	}
}

func TestTooMuchAtOnce(t *testing.T) {
	s, _, b := signedIn(t, bare{}, nil)
	_ = b
	r := httptest.NewRequest("POST", "/login", strings.NewReader("name="+strings.Repeat("x", maxBody)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	if w.Code != http.StatusRequestEntityTooLarge {
		t.Errorf("a form of more than %d bytes: %d, want 413", maxBody, w.Code)
	}
}

func TestLargeHome(t *testing.T) {
	h, b := emptyHome(t)
	const n = 500
	for i := range n {
		h.announce("switch", fmt.Sprintf("s%d", i), "", fmt.Sprintf("Switch %d", i), []string{"Attic", "Cellar"}[i%2], map[string]any{"command_topic": "x/set"})
	}
	b.get("/").shows(200, "and 150 more")
	if tiles := strings.Count(b.body, "<article"); tiles != maxRows {
		t.Errorf("Home has %d tiles, want %d", tiles, maxRows)
	}
	b.get("/devices").shows(200, "200 of 500 devices")
	b.get("/devices?q=attic+499")
	b.shows(200, "Nothing matches")
	b.get("/devices?q=cellar+499").shows(200, "Switch 499")
}

// TestHomeBytes holds Home to what a phone on a bad network loads quickly.
func TestHomeBytes(t *testing.T) {
	h, b := emptyHome(t)
	for i := range 60 {
		h.announce("light", fmt.Sprintf("s%d", i), "", fmt.Sprintf("Lamp %d", i), fmt.Sprintf("Room %d", i%8), map[string]any{"command_topic": "x/set", "schema": "json", "brightness": true})
	}
	req, err := http.NewRequest("GET", b.base+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept-Encoding", "gzip")
	b.take(b.client.Do(req))
	if got := len(b.body); b.last.Header.Get("Content-Encoding") != "gzip" || got > 12<<10 {
		t.Errorf("Home with 60 tiles is %d bytes (%s), at most %d", got, b.last.Header.Get("Content-Encoding"), 12<<10)
	}
}
