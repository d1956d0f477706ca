package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/a-h/templ"

	"lar.home/devices"
	"lar.home/ui/view"
)

// Timing of live updates.
const (
	gather         = 100 * time.Millisecond // updates of this long leave together
	beat           = 15 * time.Second       // a sign of life on a quiet stream
	stuck          = 10 * time.Second       // a reader that takes nothing for so long is let go
	look           = time.Second            // how often what tells nobody of its changes is looked at
	commandTimeout = 5 * time.Second        // a device that takes longer has not answered
	maxAwaited     = 256                    // commands whose effect is waited for
	maxResults     = 64                     // results that are kept for a moment
)

// live brings pages that are open up to date. It is told of changes under the
// house's lock and only notes what they are about; its one goroutine then
// reads the newest values and hands them to the streams.
//
// A stream holds the latest value of each entity that its page shows and has
// not been sent yet, so it needs no more room than the page, and a reader who
// is slow only ever gets newer values.
type live struct {
	s    *Server
	run  string // names this run of the server in the numbers of updates
	wake chan struct{}
	done chan struct{}

	mu        sync.Mutex
	closed    bool
	dirty     map[string]bool // entities that have changed
	structure bool            // the house is another
	urgent    bool            // somebody waits for what is dirty
	hurried   map[string]time.Time
	n         uint64            // of the last update
	changedAt map[string]uint64 // the update an entity was in last
	builtAt   uint64            // the update the structure was in last
	streams   map[*stream]bool
	awaited   map[string]*awaited // by sign-in and entity
	results   []result            // the newest last, at most maxResults
}

// A result is what became of a command. It is kept for a moment: the stream
// of the page that gave the command may not be there yet.
type result struct {
	token string
	at    time.Time
	data  []byte
}

// awaited is a command whose effect somebody waits for.
type awaited struct {
	token, cmd, entity string
	want               map[string]devices.Value // by aspect
	until              time.Time
}

func newLive(s *Server) *live {
	l := &live{
		s:         s,
		run:       newID(),
		wake:      make(chan struct{}, 1),
		done:      make(chan struct{}),
		dirty:     map[string]bool{},
		hurried:   map[string]time.Time{},
		changedAt: map[string]uint64{},
		streams:   map[*stream]bool{},
		awaited:   map[string]*awaited{},
	}
	go l.pump()
	return l
}

func (l *live) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.closed = true
		close(l.done)
	}
}

// changed notes what has changed. It is called under the house's lock.
func (l *live) changed(changes []devices.Change, structure bool) {
	if len(changes) == 0 && !structure {
		return
	}
	l.mu.Lock()
	for _, c := range changes {
		l.dirty[c.Entity.ID] = true
		if _, ok := l.hurried[c.Entity.ID]; ok {
			l.urgent = true
		}
	}
	l.structure = l.structure || structure
	l.mu.Unlock()
	l.nudge()
}

func (l *live) nudge() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// mark returns the number of the last update, for a page that is about to be
// drawn.
func (l *live) mark() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.number(l.n)
}

func (l *live) number(n uint64) string { return l.run + "-" + strconv.FormatUint(n, 10) }

// after reads the number of an update; known is false when it is not of this
// run.
func (l *live) after(number string) (n uint64, known bool) {
	run, text, _ := strings.Cut(number, "-")
	n, err := strconv.ParseUint(text, 10, 64)
	return n, run == l.run && err == nil
}

// hurry makes the next changes of an entity leave at once: somebody has just
// given it a command.
func (l *live) hurry(entity string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.hurried) >= maxAwaited {
		clear(l.hurried)
	}
	l.hurried[entity] = time.Now().Add(commandTimeout)
}

// await tells the pages of a sign-in what becomes of a command.
func (l *live) await(a *awaited) {
	l.mu.Lock()
	if len(l.awaited) >= maxAwaited {
		clear(l.awaited)
	}
	l.awaited[a.token+" "+a.entity] = a
	l.urgent = true
	l.mu.Unlock()
	l.nudge()
}

// pump hands changes to the streams until the server is closed.
func (l *live) pump() {
	timer := time.NewTimer(look)
	var last time.Time
	for {
		select {
		case <-l.done:
			return
		case <-l.wake:
		case <-timer.C:
		}
		now := time.Now()
		l.mu.Lock()
		urgent := l.urgent
		l.mu.Unlock()
		if rest := last.Add(gather).Sub(now); rest > 0 && !urgent {
			timer.Reset(rest)
			continue
		}
		last = now
		if l.flush(now) {
			timer.Reset(look)
		} else {
			timer.Reset(time.Hour) // nobody is here; a change or a new stream wakes
		}
	}
}

// flush hands what has changed to the streams that show it. It tells whether
// somebody is there, for whom to look again before something changes.
func (l *live) flush(now time.Time) bool {
	l.mu.Lock()
	dirty, structure := l.dirty, l.structure
	l.dirty, l.structure = map[string]bool{}, false
	if len(dirty) > 0 || structure {
		l.n++
		for id := range dirty {
			l.changedAt[id] = l.n
		}
		if structure {
			l.builtAt = l.n
		}
	}
	l.urgent = false
	maps.DeleteFunc(l.hurried, func(_ string, until time.Time) bool { return now.After(until) })
	n := l.n
	streams := slices.Collect(maps.Keys(l.streams))
	waiting := slices.Collect(maps.Values(l.awaited))
	l.mu.Unlock()

	h := l.s.Model.House()
	if structure {
		l.forget(h)
	}
	for id := range dirty {
		e := h.Entity(id)
		if e == nil {
			continue
		}
		var leaves []byte
		for _, st := range streams {
			if !st.shows(h, e) {
				continue
			}
			if leaves == nil {
				leaves = encodeLeaves(e)
			}
			st.put(n, id, leaves, true)
		}
	}
	drawn := map[string][]byte{}
	for _, st := range streams {
		again := now.Sub(st.looked) >= look
		if again {
			st.looked = now
		}
		for _, scope := range st.scopes {
			if polled(scope) && again || structure && !polled(scope) {
				l.draw(st, scope, n, drawn)
			}
		}
	}
	for _, a := range waiting {
		l.settle(a, h, now)
	}
	for _, st := range streams {
		st.nudge()
	}
	return len(streams)+len(waiting) > 0
}

// forget drops what was noted of entities that are gone.
func (l *live) forget(h *devices.House) {
	l.mu.Lock()
	defer l.mu.Unlock()
	maps.DeleteFunc(l.changedAt, func(id string, _ uint64) bool { return h.Entity(id) == nil })
}

// settle tells what became of a command once its effect is there, or once it
// has been waited for long enough.
func (l *live) settle(a *awaited, h *devices.House, now time.Time) {
	e := h.Entity(a.entity)
	reached := e != nil && a.reached(e)
	if !reached && e != nil && now.Before(a.until) {
		return
	}
	said := map[string]any{"cmd": a.cmd, "ok": reached}
	if !reached {
		said["why"] = "timeout"
	}
	data, _ := json.Marshal(said) // plain values
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.awaited[a.token+" "+a.entity] == a {
		delete(l.awaited, a.token+" "+a.entity)
	}
	l.results = append(l.results, result{a.token, now, data})
	l.results = l.results[max(0, len(l.results)-maxResults):]
	for st := range l.streams {
		if st.token == a.token {
			st.result(data)
		}
	}
}

func (a *awaited) reached(e *devices.Entity) bool {
	st := e.State()
	for i, aspect := range e.Aspects {
		want, ok := a.want[aspect.Name]
		if !ok || i >= len(st.Readings) {
			continue
		}
		have := st.Readings[i].Value
		near := max(aspect.Step, (aspect.Max-aspect.Min)/50) // devices round
		if want.Type == devices.Number && have.Type == devices.Number && math.Abs(want.Num-have.Num) <= near {
			continue
		}
		if have != want && want.Type != devices.Text { // colours come back in other words
			return false
		}
	}
	return true
}

// wanted returns the values that a command is to bring about.
func wanted(command string, args map[string]devices.Value) map[string]devices.Value {
	want := maps.Clone(args)
	switch command {
	case "turn_on":
		want["on"] = devices.BoolValue(true)
	case "turn_off":
		want = map[string]devices.Value{"on": devices.BoolValue(false)}
	}
	return want
}

// signedOut ends the streams of a sign-in.
func (l *live) signedOut(token string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for st := range l.streams {
		if st.token == token {
			st.end()
		}
	}
}

// encode writes JSON for a stream, which is no HTML: nothing is escaped for it.
func encode(v any) []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil { // of what is given here all can be encoded
		return nil
	}
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

func encodeLeaves(e *devices.Entity) []byte {
	return encode(append([]any{e.ID}, view.Leaves(e, e.State())...))
}

// draw hands a stream the part of a page that changes as a whole.
func (l *live) draw(st *stream, scope string, n uint64, drawn map[string][]byte) {
	key := fmt.Sprint(scope, " ", st.manage, st.edit)
	data, ok := drawn[key]
	if !ok {
		id, c := l.s.fragment(st, scope)
		if c == nil {
			return
		}
		var b bytes.Buffer
		if err := c.Render(context.Background(), &b); err != nil {
			l.s.Log.Error("update not drawn", "scope", scope, "err", err)
			return
		}
		data = encode(map[string]string{"scope": scope, "id": id, "html": b.String()})
		drawn[key] = data
	}
	if polled(scope) {
		if bytes.Equal(st.drew[scope], data) {
			return
		}
		st.drew[scope] = data
	}
	st.replace(n, scope, data)
}

// fragment returns the part of a page that changes as a whole, and its id.
func (s *Server) fragment(st *stream, scope string) (id string, c templ.Component) {
	h := s.Model.House()
	hint := view.Hint{Addresses: s.addresses("mqtt"), Manage: st.manage}
	kind, name, _ := strings.Cut(scope, ":")
	switch kind {
	case "home":
		return "home", view.HomeBody(view.Home(h, maxRows), hint)
	case "devices":
		list, total := find(h, "")
		return "devices", view.DeviceList(list, "", total, hint)
	case "room":
		room, _ := url.QueryUnescape(name)
		return "home", view.HomeBody(view.InRoom(h, room, maxRows), view.Hint{})
	case "device":
		if d := h.Device(name); d != nil {
			return "device", view.DeviceBody(d)
		}
		return "device", view.DeviceGone()
	case "automations":
		return "automations", view.AutomationList(s.Rules.Rules(), h, time.Now(), st.edit)
	case "automation":
		id, run, trace := strings.Cut(name, ":")
		if trace {
			if run := s.Rules.Run(id, run); run != nil {
				return "run", view.RunTrace(run, s.version(id, run.Version), h, time.Now())
			}
			return "", nil
		}
		if r := s.Rules.Rule(id); r != nil {
			return "runs", view.RunList(r, s.Rules.Runs(id), h, time.Now())
		}
	}
	return "", nil
}

// A stream is what one open page, or all those of a browser, have yet to be
// sent.
type stream struct {
	token  string
	scopes []string // what the pages show that share the stream
	manage bool
	edit   bool
	wake   chan struct{}

	looked time.Time         // of the pump
	drew   map[string][]byte // of the pump, by scope

	mu      sync.Mutex
	ended   bool
	n       uint64
	leaves  map[string][]byte // by entity
	parts   map[string][]byte // what changes as a whole, by scope
	results [][]byte          // of commands, at most maxAwaited
}

// shows tells whether a page of a stream shows an entity.
func (st *stream) shows(h *devices.House, e *devices.Entity) bool {
	return slices.ContainsFunc(st.scopes, func(scope string) bool {
		kind, id, _ := strings.Cut(scope, ":")
		switch kind {
		case "home", "devices", "found":
			return view.Shown(e)
		case "device":
			return e.Device.ID == id
		case "room":
			room, _ := url.QueryUnescape(id)
			return e.Device.Area == room && view.Shown(e)
		case "group":
			g := h.Group(id)
			return g != nil && slices.Contains(g.Members, e.ID)
		}
		return false
	})
}

// polled tells whether what a scope stands for has to be looked at for
// changes.
func polled(scope string) bool { return strings.HasPrefix(scope, "automation") }

func (st *stream) nudge() {
	select {
	case st.wake <- struct{}{}:
	default:
	}
}

// put sets the latest value of an entity; an older one only where there is
// none.
func (st *stream) put(n uint64, id string, leaves []byte, newest bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if _, have := st.leaves[id]; leaves != nil && (newest || !have) {
		st.leaves[id] = leaves
	}
	st.n = max(st.n, n)
}

func (st *stream) replace(n uint64, scope string, part []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	st.parts[scope], st.n = part, max(st.n, n)
}

func (st *stream) result(data []byte) {
	st.mu.Lock()
	defer st.mu.Unlock()
	if len(st.results) < maxAwaited {
		st.results = append(st.results, data)
	}
	st.nudge()
}

func (st *stream) end() {
	st.mu.Lock()
	st.ended = true
	st.mu.Unlock()
	st.nudge()
}

// take writes what is to be sent into b as server-sent events, and tells
// whether the stream has come to its end.
func (st *stream) take(l *live, b *bytes.Buffer) (ended bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	id := l.number(st.n)
	for _, part := range st.parts {
		fmt.Fprintf(b, "event: f\nid: %s\ndata: %s\n\n", id, part)
	}
	clear(st.parts)
	if len(st.leaves) > 0 {
		fmt.Fprintf(b, "event: s\nid: %s\ndata: {\"n\":%d,\"e\":[", id, st.n)
		first := true
		for _, leaves := range st.leaves {
			if !first {
				b.WriteByte(',')
			}
			b.Write(leaves)
			first = false
		}
		b.WriteString("]}\n\n")
		clear(st.leaves)
	}
	for _, r := range st.results {
		fmt.Fprintf(b, "event: r\ndata: %s\n\n", r)
	}
	st.results = nil
	if st.ended {
		b.WriteString("event: x\ndata: {}\n\n")
	}
	return st.ended
}

// open adds a stream and gives it what its page has missed since an update.
func (l *live) open(st *stream, since string) error {
	l.mu.Lock()
	own := 0
	for other := range l.streams {
		if other.token == st.token {
			own++
		}
	}
	if l.closed || len(l.streams) >= maxStreams || own >= maxOwn {
		l.mu.Unlock()
		return &failure{http.StatusServiceUnavailable, "Too many pages are open", "Close some of them."}
	}
	l.streams[st] = true
	n, known := l.after(since)
	var missed []string
	if known {
		for id, at := range l.changedAt {
			if at > n {
				missed = append(missed, id)
			}
		}
	}
	for _, r := range l.results {
		if r.token == st.token && time.Since(r.at) < 2*commandTimeout {
			st.result(r.data)
		}
	}
	now, built := l.n, !known || l.builtAt > n
	l.mu.Unlock()

	h := l.s.Model.House()
	if known {
		for _, id := range missed {
			if e := h.Entity(id); e != nil && st.shows(h, e) {
				st.put(now, id, encodeLeaves(e), false)
			}
		}
	} else {
		for _, d := range h.Devices {
			for _, e := range d.Entities {
				if st.shows(h, e) {
					st.put(now, e.ID, encodeLeaves(e), false)
				}
			}
		}
	}
	for _, scope := range st.scopes {
		if built && !polled(scope) {
			l.draw(st, scope, now, map[string][]byte{})
		}
	}
	st.put(now, "", nil, false)
	st.nudge()
	l.nudge()
	return nil
}

func (l *live) leave(st *stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.streams, st)
}

// serveLive is the stream of updates of one page, as server-sent events:
//
//	v  the build of the hub, once
//	s  entities with pairs of binding and value
//	f  a part of the page, drawn anew
//	r  what became of a command
//	p  a sign of life
//	x  the sign-in is over
func (s *Server) serveLive(w http.ResponseWriter, r *http.Request) error {
	v := who(r)
	st := &stream{
		token:  v.token,
		scopes: strings.Split(r.FormValue("scope"), ","),
		manage: v.may(administer),
		edit:   v.may(edit),
		wake:   make(chan struct{}, 1),
		drew:   map[string][]byte{},
		leaves: map[string][]byte{},
		parts:  map[string][]byte{},
	}
	since := r.Header.Get("Last-Event-ID")
	if since == "" {
		since = r.FormValue("since")
	}
	if len(st.scopes) > maxScopes {
		return errForm
	}
	if err := s.live.open(st, since); err != nil {
		return err
	}
	defer s.live.leave(st)

	out := http.NewResponseController(w)
	out.SetReadDeadline(time.Time{}) // the stream outlives the reading of its request
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")

	var b bytes.Buffer
	build, _ := json.Marshal(map[string]string{"build": s.Version}) // a string
	fmt.Fprintf(&b, "retry: 2000\nevent: v\ndata: %s\n\n", build)
	tick := time.NewTicker(beat)
	defer tick.Stop()
	for {
		ended := st.take(s.live, &b)
		if b.Len() > 0 {
			out.SetWriteDeadline(time.Now().Add(stuck))
			if _, err := w.Write(b.Bytes()); err != nil {
				return nil // the reader has left, or takes nothing
			}
			if err := out.Flush(); err != nil {
				return nil
			}
			out.SetWriteDeadline(time.Time{}) // one that has passed would end an HTTP/2 stream
		}
		if ended {
			return nil
		}
		if b.Cap() > 64<<10 {
			b = bytes.Buffer{}
		}
		b.Reset()
		select {
		case <-st.wake:
		case <-tick.C:
			if p, ok := s.People.Who(v.token); !ok || p.Role != v.Role {
				st.end()
			}
			b.WriteString("event: p\ndata: {}\n\n")
		case <-s.live.done:
			return nil
		case <-r.Context().Done():
			return nil
		}
	}
}
