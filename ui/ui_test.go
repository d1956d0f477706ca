package ui

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"

	"lar.home/mqtt"
)

// people is a small directory in memory.
type people struct {
	mu          sync.Mutex
	home        string
	name        string
	password    string
	tokens      map[string]Person
	credentials []Credential
	open        bool
}

func (p *people) Home() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.home
}

func (p *people) HasOwner() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.name != ""
}

func (p *people) FirstRun(_ context.Context, home, name, password string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.name != "":
		return "", ErrOwnerExists
	case len(password) < 8:
		return "", ErrShortPassword
	}
	p.home, p.name, p.password = home, name, password
	p.tokens = map[string]Person{"token-of-" + name: {ID: "p1", Name: name, Role: Owner}}
	return "token-of-" + name, nil
}

func (p *people) SignIn(_ context.Context, name, password string, from netip.Addr) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !from.IsValid() {
		return "", errors.New("no address")
	}
	if name != p.name || password != p.password {
		return "", ErrWrongPassword
	}
	p.tokens["again"] = Person{ID: "p1", Name: name, Role: Owner}
	return "again", nil
}

func (p *people) SignOut(_ context.Context, token string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.tokens, token)
	return nil
}

func (p *people) Who(token string) (Person, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	person, ok := p.tokens[token]
	return person, ok
}

func (p *people) Credentials() []Credential {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Credential(nil), p.credentials...)
}

func (p *people) AddCredential(_ context.Context, name string) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if name == "" || strings.ContainsAny(name, "<>/") {
		return "", ErrBadName
	}
	for _, c := range p.credentials {
		if c.Name == name {
			return "", ErrNameTaken
		}
	}
	p.credentials = append(p.credentials, Credential{Name: name, Created: time.Now()})
	return "correct-horse-battery-staple", nil
}

func (p *people) RemoveCredential(_ context.Context, name string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	for i, c := range p.credentials {
		if c.Name == name {
			p.credentials = append(p.credentials[:i], p.credentials[i+1:]...)
		}
	}
	return nil
}

func (p *people) Open() (bool, string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.open, "Lar was started with --allow-anonymous."
}

// house runs turns one at a time.
type house struct {
	mu sync.Mutex
	n  uint64
}

func (h *house) Do(_ context.Context, fn func(t *mqtt.Turn) error) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.n++
	return fn(&mqtt.Turn{Number: h.n, Now: mqtt.Now{Wall: time.Now(), Trusted: true}})
}

// A browser goes about without script, as a person would.
type browser struct {
	t      *testing.T
	client *http.Client
	base   string
	last   *http.Response
	body   string
	doc    *html.Node
}

func newBrowser(t *testing.T, s *httptest.Server) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{t: t, client: &http.Client{Jar: jar, Timeout: 10 * time.Second}, base: s.URL}
}

func (b *browser) take(res *http.Response, err error) *browser {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.last, b.body = res, string(body)
	if b.doc, err = html.Parse(strings.NewReader(b.body)); err != nil {
		b.t.Fatal(err)
	}
	return b
}

func (b *browser) get(path string) *browser {
	b.t.Helper()
	return b.take(b.client.Get(b.base + path))
}

func (b *browser) post(path string, fields ...string) *browser {
	b.t.Helper()
	form := url.Values{}
	for i := 0; i+1 < len(fields); i += 2 {
		form.Add(fields[i], fields[i+1])
	}
	req, err := http.NewRequest("POST", b.base+path, strings.NewReader(form.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if b.last != nil {
		req.Header.Set("Referer", b.last.Request.URL.String())
	}
	return b.take(b.client.Do(req))
}

// shows fails the test unless the page has the status and all the words.
func (b *browser) shows(status int, words ...string) *browser {
	b.t.Helper()
	if b.last.StatusCode != status {
		b.t.Errorf("%s %s: status %d, want %d", b.last.Request.Method, b.last.Request.URL.Path, b.last.StatusCode, status)
	}
	text := pageText(b.doc)
	for _, w := range words {
		if !strings.Contains(text, w) {
			b.t.Errorf("%s does not show %q; it shows %q", b.last.Request.URL.Path, w, text)
		}
	}
	return b
}

// pageText returns what a page says, labels for screen readers included.
func pageText(n *html.Node) string {
	var words []string
	for n := range n.Descendants() {
		switch {
		case n.Type == html.TextNode && n.Parent.Data != "script" && n.Parent.Data != "noscript":
			words = append(words, strings.Fields(n.Data)...)
		case n.Type == html.ElementNode:
			if label := attr(n, "aria-label"); label != "" {
				words = append(words, label)
			}
		}
	}
	return strings.Join(words, " ")
}

func attr(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (b *browser) at(path string) *browser {
	b.t.Helper()
	if got := b.last.Request.URL.RequestURI(); got != path {
		b.t.Errorf("at %s, want %s", got, path)
	}
	return b
}

// home is a server with an owner, and a browser of theirs.
func serve(t *testing.T, c Config) (*Server, *httptest.Server) {
	t.Helper()
	if c.Settings == nil {
		c.Settings = &settings{}
	}
	s, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	ts := httptest.NewServer(s)
	t.Cleanup(func() {
		s.Close()
		ts.Close()
	})
	return s, ts
}
