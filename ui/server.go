package ui

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"

	"lar.home/automations"
	"lar.home/devices"
	"lar.home/mqtt"
	"lar.home/ui/assets"
	"lar.home/ui/view"
)

// Limits on what comes from a browser.
const (
	maxBody    = 64 << 10 // bytes of a form
	maxHeader  = 16 << 10 // bytes of a request's header
	maxStreams = 256      // live streams in all
	maxOwn     = 32       // live streams of one sign-in
	maxScopes  = 64       // pages that share a live stream
	maxNotices = 256      // notices that wait for their page
	maxRows    = 200      // rows of a list on one page
)

// A Model is the house as pages see and operate it: *devices.Model is one.
type Model interface {
	House() *devices.House
	// Command tells an entity to do something, within the turn.
	Command(t *mqtt.Turn, entityID, command string, args map[string]devices.Value) error
	Household
}

// Rules are the automations of the house: *automations.Engine is one.
type Rules interface {
	Rules() []*automations.Rule
	Rule(id string) *automations.Rule
	Versions(id string) []*automations.Rule
	Runs(id string) []*automations.Run
	Run(id, run string) *automations.Run
	Deleted() []*automations.Rule
	Scenes() []*automations.SceneKept
	Compile(r *automations.Rule)
	Save(t *mqtt.Turn, r automations.Rule, by string, basedOn int) (*automations.Rule, error)
	SaveAnd(t *mqtt.Turn, r automations.Rule, by string, basedOn int, fate automations.Fate) (*automations.Rule, error)
	SetEnabled(t *mqtt.Turn, id string, on bool, by string) error
	Delete(t *mqtt.Turn, id, by string) error
	Restore(t *mqtt.Turn, id, by string) error
	RunNow(t *mqtt.Turn, id, by string) (*automations.Run, error)
	Hook(t *mqtt.Turn, id, method string, body []byte) error
}

// Config is what a [Server] is made of. House, People, Model, Rules and Settings must be set.
type Config struct {
	House     House
	People    People
	Model     Model
	Rules     Rules
	Settings  Settings
	Sender    Sender           // nil: nothing is sent
	History   History          // nil for none
	Log       *slog.Logger     // nil for none
	Version   string           // of the hub, shown in the settings
	Addresses func() []Address // where the hub is reached now; nil for none
	Disk      func() Disk      // how the data folder is; nil for unknown
	Seen      func() error     // notes that what was set aside was seen; nil if Disk is
}

// A Server serves the pages. It is a devices.Watcher, so that pages which are
// open stay up to date.
type Server struct {
	Config
	handler http.Handler
	live    *live
	exports chan struct{} // a place for each download under way

	hooks   *buckets // what webhooks are called
	guesses *buckets // wrong keys, by address

	mu      sync.Mutex
	notices map[string]view.Notice // by sign-in; guarded by mu
}

// New returns a server of pages. Close ends it.
func New(c Config) (*Server, error) {
	if c.House == nil || c.People == nil || c.Model == nil || c.Rules == nil || c.Settings == nil {
		return nil, errors.New("ui: house, people, model, rules and settings are needed")
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.Addresses == nil {
		c.Addresses = func() []Address { return nil }
	}
	s := &Server{Config: c, notices: map[string]view.Notice{}, exports: make(chan struct{}, maxExports), hooks: newBuckets(), guesses: newBuckets()}
	s.live = newLive(s)
	s.handler = s.routes()
	return s, nil
}

// Close ends all live streams, and lets no new ones begin.
func (s *Server) Close() { s.live.close() }

// Changed tells pages that are open what has changed; see devices.Watcher.
func (s *Server) Changed(_ *mqtt.Turn, changes []devices.Change, structure bool) {
	s.live.changed(changes, structure)
}

// HTTPServer returns an http.Server with the limits that suit these pages. Its
// handler is s; a hub that also serves other things replaces it.
func (s *Server) HTTPServer() *http.Server {
	return &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       30 * time.Second,
		WriteTimeout:      30 * time.Second, // live streams set their own
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
}

// A right is what a route asks of the person who uses it.
type right int

const (
	public     right = iota // nobody needs to be signed in
	see                     // look at pages
	operate                 // give commands
	edit                    // change rules, names and rooms
	administer              // change people and credentials
)

func (p Person) may(r right) bool {
	switch p.Role {
	case Owner:
		return r <= administer
	case Adult:
		return r <= edit
	case Child, Guest:
		return r <= operate
	}
	return r == public
}

// routes lists what there is, and the right that each needs.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	handle := func(pattern string, needs right, h handler) { mux.Handle(pattern, s.adapt(needs, h)) }

	handle("GET /setup", public, s.showSetup)
	handle("POST /setup", public, s.setup)
	handle("GET /login", public, s.showLogin)
	handle("POST /login", public, s.login)
	handle("POST /logout", see, s.logout)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET "+assets.Prefix, assets.Handler)

	handle("GET /{$}", see, s.showHome)
	handle("GET /devices", see, s.showDevices)
	handle("GET /devices/{id}", see, s.showDevice)
	handle("POST /devices/{id}", edit, s.editDevice)
	handle("POST /devices/{id}/forget", edit, s.forgetDevice)
	handle("POST /devices/{id}/undo", edit, s.undoForget)
	handle("POST /devices/{id}/rename", edit, s.renameZigbee)
	handle("POST /devices/{id}/leave", edit, s.leaveZigbee)
	handle("GET /history/{entity}/{aspect}", see, s.exportHistory)
	handle("POST /do/{entity}", operate, s.do)
	handle("GET /rooms", see, s.showRooms)
	handle("POST /rooms", edit, s.addRoom)
	handle("GET /rooms/{name}", see, s.showRoom)
	handle("POST /rooms/{name}", edit, s.editRoom)
	handle("POST /rooms/{name}/remove", edit, s.removeRoom)
	handle("GET /groups/new", edit, s.showNewGroup)
	handle("POST /groups/new", edit, s.addGroup)
	handle("GET /groups/{id}", see, s.showGroup)
	handle("POST /groups/{id}", edit, s.editGroup)
	handle("POST /groups/{id}/do", operate, s.doGroup)
	handle("POST /groups/{id}/remove", edit, s.removeGroup)
	handle("GET /zigbee", see, s.showZigbee)
	handle("POST /zigbee/join", edit, s.joinZigbee)
	handle("GET /live", see, s.serveLive)

	handle("GET /automations", see, s.showRules)
	handle("GET /automations/new", edit, s.showNewRule)
	handle("POST /automations/new", edit, s.editRule)
	handle("GET /automations/import", edit, s.showImport)
	handle("POST /automations/import", edit, s.importRules)
	handle("GET /automations/{id}", see, s.showRule)
	handle("GET /automations/{id}/versions/{version}", see, s.showVersion)
	handle("POST /automations/{id}/versions/{version}", edit, s.restoreVersion)
	handle("POST /automations/{id}", edit, s.editRule)
	handle("POST /automations/{id}/enabled", edit, s.enableRule)
	handle("POST /automations/{id}/delete", edit, s.deleteRule)
	handle("POST /automations/{id}/restore", edit, s.restoreRule)
	handle("POST /automations/{id}/run", edit, s.runRule)
	handle("GET /automations/{id}/runs/{run}", see, s.showRun)

	s.apiRoutes(handle)
	handle("/hook/{id}", public, s.hook)

	handle("GET /settings", see, s.showSettings)
	handle("GET /settings/place", administer, s.showPlace)
	handle("POST /settings/place", administer, s.editPlace)
	handle("GET /settings/channels", administer, s.showChannels)
	handle("POST /settings/channels", administer, s.addChannel)
	handle("GET /settings/channels/{name}", administer, s.showChannel)
	handle("POST /settings/channels/{name}", administer, s.editChannel)
	handle("POST /settings/channels/{name}/remove", administer, s.removeChannel)
	handle("POST /settings/channels/{name}/try", administer, s.tryChannel)
	handle("POST /settings/credentials", administer, s.addCredential)
	handle("POST /settings/damage", administer, s.damageSeen)
	handle("POST /settings/credentials/remove", administer, s.removeCredential)

	handle("/", see, func(http.ResponseWriter, *http.Request) error { return errNoPage })

	guard := http.NewCrossOriginProtection()
	guard.AddInsecureBypassPattern("/hook/{id}") // who calls it shows a key of its own, not a sign-in
	guard.SetDenyHandler(s.adapt(public, func(http.ResponseWriter, *http.Request) error {
		return &failure{http.StatusForbidden, "That came from another site", "Nothing was changed. Open this page yourself and try again."}
	}))
	return guard.Handler(mux)
}

// ServeHTTP answers a request.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "+
		"font-src 'self'; connect-src 'self'; manifest-src 'self'; worker-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=()")
	h.Set("Cache-Control", "private, no-cache")
	r.Body = http.MaxBytesReader(w, r.Body, bodyLimit(r))
	s.handler.ServeHTTP(w, r)
}

// A handler answers a request, or says why not.
type handler func(w http.ResponseWriter, r *http.Request) error

// A failure is an error in words for people.
type failure struct {
	status int
	what   string // a title: what happened
	then   string // whether anything was changed, and what to try
}

func (f *failure) Error() string { return f.what }

var (
	errNoPage   = &failure{http.StatusNotFound, "There is no such page", "It may have been here before, or the address has a slip in it."}
	errNoDevice = &failure{http.StatusNotFound, "There is no such device", "It may have been removed."}
	errNoRight  = &failure{http.StatusForbidden, "That is not for you to change", "Nothing was changed. The owner of this home can do it, or give you the right."}
	errForm     = &failure{http.StatusBadRequest, "That form could not be read", "Nothing was changed. Go back and try again."}
)

type personKey struct{}

// A visitor is who makes a request.
type visitor struct {
	Person
	token string
}

func who(r *http.Request) visitor {
	v, _ := r.Context().Value(personKey{}).(visitor)
	return v
}

// adapt makes a handler out of one that returns its error, for people who have
// the right that it needs.
func (s *Server) adapt(needs right, h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := s.visitor(r)
		r = r.WithContext(context.WithValue(r.Context(), personKey{}, v))
		if needs > public && v.ID == "" {
			s.askIn(w, r)
			return
		}
		err := error(errNoRight)
		if v.may(needs) {
			err = h(w, r)
		}
		if err != nil {
			s.fail(w, r, err)
		}
	})
}

// askIn sends somebody unknown to where they can say who they are.
func (s *Server) askIn(w http.ResponseWriter, r *http.Request) {
	to := "/login"
	switch {
	case !s.People.HasOwner():
		to = "/setup"
	case r.Method == http.MethodGet && r.URL.Path != "/" && r.URL.Path != "/live":
		to += "?next=" + url.QueryEscape(r.URL.RequestURI())
	}
	if wantsJSON(r) || r.URL.Path == "/live" {
		w.Header().Set("Location", to)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	http.Redirect(w, r, to, http.StatusSeeOther)
}

// fail tells the person and the log what went wrong, with an identifier that
// both hold.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	if r.Context().Err() != nil {
		return // nobody is there to read it
	}
	f, known := errors.AsType[*failure](err)
	if !known {
		f = &failure{http.StatusInternalServerError, "Something went wrong", "It is not certain that anything was changed. Look first, then try again."}
	}
	if _, ok := errors.AsType[*http.MaxBytesError](err); ok {
		f = &failure{http.StatusRequestEntityTooLarge, "That is too much at once", "Nothing was changed. Send less."}
	}
	id := ""
	if f.status != http.StatusNotFound {
		id = newID()
		level := slog.LevelInfo
		if f.status >= 500 {
			level = slog.LevelError
		}
		s.Log.Log(r.Context(), level, "request failed", "id", id, "method", r.Method, "path", r.URL.Path, "status", f.status, "err", err)
	}
	if wantsJSON(r) {
		s.answer(w, f.status, map[string]any{"ok": false, "why": f.what, "error": f.what, "id": id})
		return
	}
	p := s.page(r, f.what, "")
	if err := s.render(w, r, f.status, view.ErrorPage(p, f.what, f.then, id)); err != nil {
		s.Log.Error("page not drawn", "id", id, "err", err)
	}
}

func newID() string {
	var b [5]byte
	rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

func wantsJSON(r *http.Request) bool {
	return isAPI(r) || strings.HasPrefix(r.Header.Get("Accept"), "application/json")
}

func (s *Server) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v)
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

var packers = sync.Pool{New: func() any {
	z, _ := gzip.NewWriterLevel(nil, 5) // the level exists
	return z
}}

// render draws a page to its end before any of it is sent.
func (s *Server) render(w http.ResponseWriter, r *http.Request, status int, c templ.Component) error {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := c.Render(r.Context(), b); err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Vary", "Accept-Encoding")
	// What holds a secret is not compressed together with what others typed.
	if b.Len() < 1024 || h.Get("Cache-Control") == "no-store" || !assets.AcceptsGzip(r) {
		w.WriteHeader(status)
		w.Write(b.Bytes()) // a browser that has left is no error of ours
		return nil
	}
	h.Set("Content-Encoding", "gzip")
	w.WriteHeader(status)
	z := packers.Get().(*gzip.Writer)
	defer packers.Put(z)
	z.Reset(w)
	z.Write(b.Bytes())
	z.Close()
	return nil
}

// page returns what the frame of a page needs to know.
func (s *Server) page(r *http.Request, title, place string) view.Page {
	v := who(r)
	p := view.Page{
		Title:  title,
		Place:  place,
		Home:   s.People.Home(),
		Person: v.Name,
		Edit:   v.may(edit),
		Manage: v.may(administer),
		Build:  s.Version,
		Now:    time.Now().In(s.Settings.Location()),
	}
	if v.ID != "" {
		p.Notice = s.takeNotice(v.token)
		if open, why := s.People.Open(); open {
			p.Warning = why
		}
		if p.Manage && s.Disk != nil {
			p.Troubles = troubles(s.Disk())
		}
		if p.Manage {
			p.Troubles = append(p.Troubles, paused(s.Rules.Rules())...)
		}
		if p.Manage && s.Sender != nil {
			p.Troubles = append(p.Troubles, unsent(s.Sender.State(), p.Now)...)
		}
	}
	return p
}

// follow makes a page one that stays up to date. It is called before the page
// reads anything of what it shows.
func (s *Server) follow(p *view.Page, scope string) {
	p.Scope, p.Since = scope, s.live.mark()
}

// done sends the browser back to a page after a form, with a notice.
func (s *Server) done(w http.ResponseWriter, r *http.Request, to, text string, bad bool) error {
	s.notice(who(r).token, view.Notice{Text: text, Bad: bad})
	http.Redirect(w, r, to, http.StatusSeeOther)
	return nil
}

func (s *Server) notice(token string, n view.Notice) {
	if n.Text == "" || token == "" {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.notices) >= maxNotices {
		clear(s.notices)
	}
	s.notices[token] = n
}

func (s *Server) takeNotice(token string) view.Notice {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := s.notices[token]
	delete(s.notices, token)
	return n
}

// here returns the path of the page that a form was sent from, or other.
func here(r *http.Request, other string) string {
	from, err := url.Parse(r.Referer())
	if err != nil || from.Host != r.Host {
		return other
	}
	return local(from.RequestURI(), other)
}

// local returns to if it is a path of this server, or other.
func local(to, other string) string {
	if !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || strings.ContainsAny(to, "\\\r\n\t") {
		return other
	}
	return to
}

// from returns the address that a request comes from.
func from(r *http.Request) netip.Addr {
	a, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return a.Addr().Unmap()
}

// addresses returns where the hub is reached, by kind.
func (s *Server) addresses(kind string) []string {
	var list []string
	for _, a := range s.Addresses() {
		if a.Kind == kind {
			list = append(list, a.Text)
		}
	}
	return list
}
