package assets

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Budgets, in bytes on the wire.
var budgets = map[string]int{"app.css": 12 << 10, "live.js": 8 << 10, "icons.svg": 18 << 10, "lar.svg": 1 << 10}

func TestBudgets(t *testing.T) {
	for name, budget := range budgets {
		if n := Size(name); n > budget {
			t.Errorf("%s takes %d bytes, at most %d", name, n, budget)
		}
	}
	if len(budgets) != len(byName) {
		t.Errorf("%d assets, %d budgets", len(byName), len(budgets))
	}
}

func TestHandler(t *testing.T) {
	hashed := regexp.MustCompile(`^/assets/[a-z]+\.[0-9a-f]{10}\.(css|js|svg)$`)
	for name := range byName {
		want, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		url := URL(name)
		if !hashed.MatchString(url) {
			t.Errorf("%s is served as %s", name, url)
		}
		for _, encoding := range []string{"", "gzip", "br, gzip;q=0"} {
			r := httptest.NewRequest("GET", url, nil)
			r.Header.Set("Accept-Encoding", encoding)
			w := httptest.NewRecorder()
			Handler(w, r)
			var body io.Reader = w.Body
			if got := w.Header().Get("Content-Encoding"); got != "" {
				if got != "gzip" || encoding != "gzip" {
					t.Fatalf("%s asked for as %q comes as %q", name, encoding, got)
				}
				if body, err = gzip.NewReader(w.Body); err != nil {
					t.Fatal(err)
				}
			}
			if got, _ := io.ReadAll(body); !bytes.Equal(got, want) {
				t.Errorf("%s as %q: other bytes", name, encoding)
			}
			if got := w.Header().Get("Cache-Control"); !strings.Contains(got, "immutable") {
				t.Errorf("%s: Cache-Control %q", name, got)
			}
			r.Header.Set("If-None-Match", w.Header().Get("ETag"))
			again := httptest.NewRecorder()
			Handler(again, r)
			if again.Code != 304 || again.Body.Len() != 0 {
				t.Errorf("%s known to the browser: %d with %d bytes", name, again.Code, again.Body.Len())
			}
		}
	}
	for _, path := range []string{"/assets/", "/assets/app.css", "/assets/app.0000000000.css", "/assets/../assets.go"} {
		w := httptest.NewRecorder()
		Handler(w, httptest.NewRequest("GET", path, nil))
		if w.Code != 404 {
			t.Errorf("%s: %d, want 404", path, w.Code)
		}
	}
}

// TestAlone holds that nothing is fetched from elsewhere.
func TestAlone(t *testing.T) {
	for name, a := range byName {
		text := strings.ReplaceAll(string(a.plain), "http://www.w3.org/2000/svg", "")
		if strings.Contains(text, "http:") || strings.Contains(text, "https:") || strings.Contains(text, "@import") {
			t.Errorf("%s refers to another place", name)
		}
	}
}

func TestIcons(t *testing.T) {
	for name := range icons {
		if !bytes.Contains(byName["icons.svg"].plain, []byte(`id="`+name+`"`)) {
			t.Errorf("icons.txt names %s, which icons.svg has not", name)
		}
	}
	if _, ok := Icon("no-such-icon"); ok {
		t.Error("there is an icon no-such-icon")
	}
}
