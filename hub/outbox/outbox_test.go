package outbox

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/http/httptest"
	"net/mail"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"lar.home/automations"
	"lar.home/ui"
)

const patience = 20 * time.Second

// An end is where things are sent: a real server on this machine.
type end struct {
	*httptest.Server
	mu      sync.Mutex
	got     []string // "METHOD path key: body"
	headers []http.Header
	answers []int // to the next requests; then 200
	to      string
}

func newEnd(t *testing.T, secure bool) *end {
	e := &end{}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.got = append(e.got, fmt.Sprintf("%s %s %s: %s", r.Method, r.URL, r.Header.Get(KeyHeader), body))
		e.headers = append(e.headers, r.Header)
		if len(e.answers) > 0 {
			code := e.answers[0]
			e.answers = e.answers[1:]
			if code >= 300 && code < 400 {
				w.Header().Set("Location", e.to)
			}
			w.WriteHeader(code)
		}
	})
	if secure {
		e.Server = httptest.NewTLSServer(h)
	} else {
		e.Server = httptest.NewServer(h)
	}
	t.Cleanup(e.Close)
	return e
}

func (e *end) requests() []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.got)
}

// A rig is a Box that runs, and what it told of.
type rig struct {
	*Box
	t        *testing.T
	channels map[string]ui.Channel
	told     chan string
	mu       sync.Mutex
	refuse   int // times that telling fails
}

func newRig(t *testing.T, roots *x509.CertPool, channels ...ui.Channel) *rig {
	r := &rig{t: t, channels: map[string]ui.Channel{}, told: make(chan string, 100)}
	for _, c := range channels {
		r.channels[c.Name] = c
	}
	r.Box = New(Config{
		Channel: func(name string) (ui.Channel, bool) { c, ok := r.channels[name]; return c, ok },
		Delivered: func(_ context.Context, key string, failed error) error {
			r.mu.Lock()
			defer r.mu.Unlock()
			if r.refuse > 0 {
				r.refuse--
				return errors.New("the disk is full")
			}
			r.told <- fmt.Sprint(key, " ", failed)
			return nil
		},
		Roots: roots,
	})
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() { defer close(ended); r.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	return r
}

func (r *rig) expect(want string) {
	r.t.Helper()
	select {
	case got := <-r.told:
		if !strings.HasPrefix(got, want) {
			r.t.Fatalf("told %q, want %q", got, want)
		}
	case <-time.After(patience):
		r.t.Fatalf("told nothing, want %q; waiting: %+v", want, r.State().Waiting)
	}
}

// until waits for something that another goroutine brings about.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); {
		if time.Now().After(end) {
			t.Fatal("not in time: " + what)
		}
		<-time.After(time.Millisecond)
	}
}

func notify(key, to, title, text, urgency string) *automations.Outgoing {
	return &automations.Outgoing{Key: key, Rule: "r", Run: "1", Made: time.Now(), Notify: &automations.NotifyAction{To: to, Title: title, Text: text, Urgency: urgency}}
}

func TestNotify(t *testing.T) {
	e := newEnd(t, true)
	roots := x509.NewCertPool()
	roots.AddCert(e.Certificate())
	r := newRig(t, roots,
		ui.Channel{Name: "phone", Kind: ui.Ntfy, URL: e.URL + "/our-topic", Token: "tk_1"},
		ui.Channel{Name: "program", Kind: ui.Webhook, URL: e.URL + "/in?x=1"})
	r.Send(notify("k1", "phone", "Tür", "Zeile 1\nline 2", "high"))
	r.expect("k1 <nil>")
	r.Send(notify("k1", "phone", "Tür", "again", "high")) // handed over twice at a start: sent, as nothing waits any more
	r.expect("k1 <nil>")
	r.Send(notify("k2", "program", "", "hello", ""))
	r.expect("k2 <nil>")
	got := e.requests()
	if want := "POST /our-topic k1: Zeile 1\nline 2"; got[0] != want {
		t.Errorf("ntfy got %q, want %q", got[0], want)
	}
	h := e.headers[0]
	title, err := new(mime.WordDecoder).DecodeHeader(h.Get("Title"))
	if err != nil || title != "Tür" || h.Get("Priority") != "5" || h.Get("Authorization") != "Bearer tk_1" {
		t.Errorf("ntfy got the headers %v", h)
	}
	if want := `POST /in?x=1 k2: {"text":"hello","urgency":"normal","key":"k2","at":"`; !strings.HasPrefix(got[2], want) {
		t.Errorf("the webhook got %q, want %q", got[2], want)
	}
	// A certificate that nobody vouches for is no good.
	strict := newRig(t, nil, ui.Channel{Name: "phone", Kind: ui.Ntfy, URL: e.URL + "/our-topic"})
	if err := strict.Try(t.Context(), "phone", "x"); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("with a certificate of nobody: %v", err)
	}
}

func TestMail(t *testing.T) {
	e := newEnd(t, true) // for its certificate
	roots := x509.NewCertPool()
	roots.AddCert(e.Certificate())
	trust := &tls.Config{Certificates: e.TLS.Certificates}
	for _, tt := range []struct {
		security ui.Security
		ways     string
	}{{ui.StartTLS, "PLAIN LOGIN"}, {ui.TLS, "LOGIN"}, {ui.NoTLS, ""}} {
		t.Run(string(tt.security)+" "+tt.ways, func(t *testing.T) {
			s := newMailServer(t, trust, tt.security, func(s *mailServer) {
				s.auth = tt.ways
				s.refuses["gone@test.home"] = "550 nobody of that name"
				s.fail = []string{"451 try later"}
				if tt.security == ui.NoTLS {
					s.password = ""
				}
			})
			c := ui.Channel{Name: "family", Kind: ui.Email, Server: s.ln.Addr().String(), Security: tt.security, User: "jo", Password: "secret words", From: "Lar <lar@test.home>", To: "Jo <jo@test.home>, gone@test.home"}
			if tt.security == ui.NoTLS {
				c.Password = ""
			}
			r := newRig(t, roots, c)
			r.Send(notify("k1", "family", "", "Wäsche ist fertig\r\n.\r\nX-Evil: 1", ""))
			until(t, "the first try", func() bool { w := r.State().Waiting; return len(w) == 1 && w[0].Tries == 1 })
			if w := r.State().Waiting[0]; !strings.Contains(w.Why, "try later") {
				t.Errorf("it waits because %q", w.Why)
			}
			r.Poke()
			r.expect("k1 <nil>")
			got := s.taken()
			if len(got) != 1 || !strings.HasPrefix(got[0], "to: jo@test.home\n") {
				t.Fatalf("the server took %q", got)
			}
			m, err := mail.ReadMessage(strings.NewReader(strings.SplitN(got[0], "\n", 2)[1]))
			if err != nil {
				t.Fatal(err)
			}
			subject, _ := new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject"))
			body, _ := io.ReadAll(m.Body)
			if strings.TrimSpace(subject) != "Wäsche ist fertig" || m.Header.Get("Message-ID") != "<k1@test.home>" || m.Header.Get("X-Evil") != "" || !strings.Contains(string(body), "W=C3=A4sche ist fertig") {
				t.Errorf("the mail is %v\n%s", m.Header, body)
			}
			c.To = "gone@test.home"
			r.channels["gone"] = c
			r.Send(notify("k2", "gone", "", "x", ""))
			r.expect("k2 gone@test.home: 550")
			if tt.security != ui.NoTLS {
				c.Password = "wrong"
				r.channels["wrong"] = c
				r.Send(notify("k3", "wrong", "", "x", ""))
				r.expect("k3 535")
			}
		})
	}
	// A server that offers no protection is told nothing.
	s := newMailServer(t, trust, ui.NoTLS, nil)
	r := newRig(t, roots, ui.Channel{Name: "family", Kind: ui.Email, Server: s.ln.Addr().String(), Security: ui.StartTLS, User: "jo", Password: "secret words", From: "a@b.c", To: "a@b.c"})
	if err := r.Try(t.Context(), "family", "x"); err == nil || !strings.Contains(err.Error(), "STARTTLS") {
		t.Errorf("without STARTTLS: %v", err)
	}
}

// TestRequest: what is asked for arrives, is tried again with the same key, and
// is given up where that is no use.
func TestRequest(t *testing.T) {
	elsewhere, e := newEnd(t, false), newEnd(t, false)
	e.to = elsewhere.URL
	r := newRig(t, nil)
	out := func(key string, h automations.HTTPAction) *automations.Outgoing {
		if !strings.HasPrefix(h.URL, "http") {
			h.URL = e.URL + h.URL
		}
		return &automations.Outgoing{Key: key, Rule: "r", Run: "1", Made: time.Now(), HTTP: &h}
	}
	e.answers = []int{503, 429}
	r.Send(out("k1", automations.HTTPAction{URL: "/a?b=c", Method: "PUT", Body: `{"on":true}`, Headers: map[string]string{"X-A": "1", "idempotency-key": "mine"}}))
	for tries := 1; tries <= 2; tries++ {
		until(t, "a try", func() bool {
			w := r.State().Waiting
			return len(w) == 1 && w[0].Tries == tries && w[0].Next.After(time.Now())
		})
		r.Poke()
	}
	r.expect("k1 <nil>")
	want := `PUT /a?b=c k1: {"on":true}`
	if got := e.requests(); !slices.Equal(got, []string{want, want, want}) || e.headers[0].Get("X-A") != "1" || e.headers[0].Get("Content-Type") != "application/json" {
		t.Errorf("it got %q, %v", got, e.headers)
	}
	for i, tt := range []struct {
		answer int
		to     automations.HTTPAction
		says   string
	}{
		{400, automations.HTTPAction{URL: "/"}, "the answer is 400"},
		{302, automations.HTTPAction{URL: "/"}, "the answer leads elsewhere (302"},
		{0, automations.HTTPAction{URL: "http://169.254.169.254/latest"}, "nothing is sent to this address"},
		{0, automations.HTTPAction{URL: "http://[::ffff:169.254.169.254]/latest"}, "nothing is sent to this address"},
	} {
		if tt.answer != 0 {
			e.mu.Lock()
			e.answers = []int{tt.answer}
			e.mu.Unlock()
		}
		key := fmt.Sprint("g", i)
		r.Send(out(key, tt.to))
		select {
		case got := <-r.told:
			if !strings.Contains(got, key) || !strings.Contains(got, tt.says) {
				t.Errorf("told %q, want %q", got, tt.says)
			}
		case <-time.After(patience):
			t.Fatalf("%s is not given up", tt.says)
		}
	}
	if len(elsewhere.requests()) != 0 {
		t.Error("a redirect was followed")
	}
	if st := r.State(); len(st.GivenUp) != 4 || len(st.Waiting) != 0 {
		t.Errorf("given up: %+v", st)
	}
	// One that is too old is tried once more, and then given up.
	e.mu.Lock()
	e.answers = []int{500}
	e.mu.Unlock()
	old := out("old", automations.HTTPAction{URL: "/old"})
	old.Made = time.Now().Add(-requestFor - time.Minute)
	r.Send(old)
	r.expect("old the answer is 500")
	// What was sent is not sent again because the disk is full.
	r.mu.Lock()
	r.refuse = 2
	r.mu.Unlock()
	before := len(e.requests())
	r.Send(out("k9", automations.HTTPAction{URL: "/once"}))
	until(t, "the turn that is refused", func() bool { r.mu.Lock(); defer r.mu.Unlock(); return r.refuse == 1 })
	until(t, "the second", func() bool { r.Poke(); r.mu.Lock(); defer r.mu.Unlock(); return r.refuse == 0 })
	until(t, "the third", func() bool { r.Poke(); return len(r.told) > 0 })
	r.expect("k9 <nil>")
	if got := e.requests()[before:]; len(got) != 1 {
		t.Errorf("sent %q, want once", got)
	}
}

// TestSlow holds that a server which says nothing ends with the time it has,
// and one that says too much is not listened to for ever.
func TestSlow(t *testing.T) {
	hang := make(chan struct{})
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			<-hang
			return
		}
		for range 1000 {
			if _, err := w.Write(make([]byte, 64<<10)); err != nil {
				return
			}
		}
	}))
	defer ts.Close()
	defer close(hang)
	r := newRig(t, nil)
	r.Send(&automations.Outgoing{Key: "slow", Made: time.Now(), HTTP: &automations.HTTPAction{URL: ts.URL + "/slow", Method: "GET", Timeout: automations.Duration(50 * time.Millisecond)}})
	until(t, "the timeout", func() bool { w := r.State().Waiting; return len(w) == 1 && w[0].Tries == 1 })
	if why := r.State().Waiting[0].Why; why != "there was no answer in time" {
		t.Errorf("it waits because %q", why)
	}
	r.Send(&automations.Outgoing{Key: "long", Made: time.Now(), HTTP: &automations.HTTPAction{URL: "http://localhost" + ts.URL[strings.LastIndex(ts.URL, ":"):] + "/long", Method: "GET", Timeout: automations.Duration(10 * time.Second)}})
	r.expect("long <nil>")
}

// TestNext looks at who is tried when, without a clock.
func TestNext(t *testing.T) {
	b := New(Config{})
	now := time.Now()
	for n := range 12 {
		b.Send(notify(fmt.Sprint("a", n), "a", "", "x", ""))
	}
	b.Send(notify("b0", "b", "", "x", ""))
	take := func() string {
		i, _ := b.next(now)
		if i == nil {
			return ""
		}
		return i.out.Key
	}
	done := func(key string) {
		for _, i := range b.items {
			if i.out.Key == key {
				i.busy, b.targets[i.target].busy = false, false
				i.settled = true
			}
		}
		b.items = slices.DeleteFunc(b.items, func(i *item) bool { return i.out.Key == key })
	}
	// One at a time to a target, the oldest first, and others beside it.
	for _, want := range []string{"a0", "b0", ""} {
		if got := take(); got != want {
			t.Errorf("next is %q, want %q", got, want)
		}
	}
	for n := range 9 {
		done(fmt.Sprint("a", n))
		if got, want := take(), fmt.Sprint("a", n+1); got != want {
			t.Errorf("next is %q, want %q", got, want)
		}
	}
	done("a9")
	if i, wait := b.next(now); i != nil || wait <= 0 || wait > every {
		t.Errorf("after %d at once comes %v in %v", burst, i, wait)
	}
	now = now.Add(every)
	if got := take(); got != "a10" {
		t.Errorf("next is %q, want a10", got)
	}
}

func TestBackOff(t *testing.T) {
	for tries, want := range map[int]time.Duration{1: 5 * time.Second, 2: 10 * time.Second, 5: 80 * time.Second, 9: 15 * time.Minute, 1000: 15 * time.Minute} {
		if got := backOff(tries, errors.New("x")); got < want*9/10 || got > want*11/10 {
			t.Errorf("after %d tries it waits %v, want about %v", tries, got, want)
		}
	}
	if got := backOff(1, &laterError{errors.New("x"), time.Minute}); got != time.Minute {
		t.Errorf("asked for a minute it waits %v", got)
	}
	if got := backOff(1, &laterError{errors.New("x"), 100 * time.Hour}); got != maxWaitSaid {
		t.Errorf("asked for 100 hours it waits %v", got)
	}
}
