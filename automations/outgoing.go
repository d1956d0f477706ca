package automations

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"lar.home/mqtt"
)

// Limits of what leaves the house by another way than a message.
const (
	MaxOutgoing    = 500              // notifications and requests that wait to be sent
	MaxHeaders     = 20               // of a request
	MaxHTTPTimeout = time.Minute      // for an answer
	UsualTimeout   = 20 * time.Second // of a request that says nothing
)

// A NotifyAction tells people something, over a channel made on the pages.
type NotifyAction struct {
	To      string `json:"to"` // the name of the channel
	Title   string `json:"title,omitempty"`
	Text    string `json:"text"` // this and the title are templates
	Urgency string `json:"urgency,omitempty"`
}

// Urgencies of a notification; empty is Normal.
const (
	Low    = "low"
	Normal = "normal"
	High   = "high"
)

// An HTTPAction sends a request. Its answer is not awaited.
type HTTPAction struct {
	URL     string            `json:"url"` // a template, as are the headers' values and the body
	Method  string            `json:"method,omitempty"`
	Headers map[string]string `json:"headers,omitempty"`
	Body    string            `json:"body,omitempty"`
	Timeout Duration          `json:"timeout,omitzero"`
}

// Methods are those of requests and webhooks.
var Methods = []string{"GET", "POST", "PUT", "PATCH", "DELETE"}

// A WebhookTrigger comes true when the hub is asked for /hook/ID with one of
// the methods; none named is POST. The body is the payload.
type WebhookTrigger struct {
	ID      string   `json:"id"`
	Methods []string `json:"methods,omitempty"`
}

// An Outgoing is a notification or a request of a run. It is on disk with the
// turn that decided it and stays there until [Engine.Delivered], so that it is
// sent at least once. It is never changed.
type Outgoing struct {
	// Key names it: the same at each try and after each restart, and never
	// used for another. Whoever receives it can tell a repetition by it.
	Key  string    `json:"key"`
	Rule string    `json:"rule"`
	Run  string    `json:"run"`
	Made time.Time `json:"made"`
	// Unsure tells that the clock was not to be trusted then.
	Unsure bool `json:"unsure,omitempty"`
	// One of these is set, without templates.
	Notify *NotifyAction `json:"notify,omitempty"`
	HTTP   *HTTPAction   `json:"http,omitempty"`
}

// String says what is sent, as a trace does.
func (o *Outgoing) String() string {
	if o.Notify != nil {
		return "notify " + clip(o.Notify.To) + " " + clip(o.Notify.Text)
	}
	return o.HTTP.Method + " " + clip(o.HTTP.URL)
}

type outgoingRecord struct {
	Format int       `json:"v"`
	Out    *Outgoing `json:"out"`
}

// notify and request make what leaves of an action.
func (e *Engine) notify(a *NotifyAction, in *given) (*Outgoing, error) {
	n := &NotifyAction{To: a.To, Urgency: a.Urgency}
	var err error
	if n.Title, err = e.fill(a.Title, in); err != nil {
		return nil, err
	}
	if n.Text, err = e.fill(a.Text, in); err != nil {
		return nil, err
	}
	if n.Urgency == "" {
		n.Urgency = Normal
	}
	if e.channel != nil && !e.channel(n.To) {
		return nil, fmt.Errorf("there is no channel %q", clip(n.To))
	}
	return &Outgoing{Notify: n}, nil
}

func (e *Engine) request(a *HTTPAction, in *given) (*Outgoing, error) {
	r := &HTTPAction{Method: a.Method, Timeout: a.Timeout}
	var err error
	if r.URL, err = e.fill(a.URL, in); err != nil {
		return nil, err
	}
	if why := badURL(r.URL); why != "" {
		return nil, errors.New(why)
	}
	if r.Body, err = e.fill(a.Body, in); err != nil {
		return nil, err
	}
	for name, text := range a.Headers {
		if text, err = e.fill(text, in); err != nil {
			return nil, err
		}
		if strings.ContainsAny(text, "\r\n\x00") {
			return nil, fmt.Errorf("the header %s has a line end", name)
		}
		if r.Headers == nil {
			r.Headers = map[string]string{}
		}
		r.Headers[name] = text
	}
	if r.Method == "" {
		r.Method = "POST"
	}
	if r.Timeout == 0 {
		r.Timeout = Duration(UsualTimeout)
	}
	return &Outgoing{HTTP: r}, nil
}

// leaves carries out an action that sends something out of the house.
func (e *Engine) leaves(t *mqtt.Turn, w *thread, a *Action, step *Step) error {
	if err := e.ready(); err != nil {
		return err
	}
	var o *Outgoing
	var err error
	if a.Notify != nil {
		o, err = e.notify(a.Notify, e.given(w, t.Now))
	} else {
		o, err = e.request(a.HTTP, e.given(w, t.Now))
	}
	if err != nil {
		return err
	}
	return e.sendOut(t, w.waiting, o, step)
}

// badURL says why a request cannot be sent to a URL, or nothing.
func badURL(text string) string {
	u, err := url.Parse(text)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || len(text) > MaxText {
		return "a URL begins with http:// or https:// and a host"
	}
	return ""
}

// sendOut makes something leave once the turn is on disk.
func (e *Engine) sendOut(t *mqtt.Turn, w *waiting, o *Outgoing, step *Step) error {
	if len(e.out) >= MaxOutgoing {
		return fmt.Errorf("%d notifications and requests wait to be sent; more are not possible", MaxOutgoing)
	}
	o.Key = "lar-" + strconv.FormatUint(t.Number, 36) + "-" + strconv.Itoa(e.now.outgoing)
	e.now.outgoing++
	o.Rule, o.Run, o.Made, o.Unsure = w.rule.id, w.run.ID, t.Now.Wall.Round(0), !t.Now.Trusted
	record := encode(&outgoingRecord{Format: format, Out: o})
	if len(record) > MaxSent {
		return fmt.Errorf("a notification or a request has at most %d bytes", MaxSent)
	}
	e.write(t, key(recOutgoing, w.rule.id, []byte(o.Key)...), record)
	w.durable = true
	e.out = append(e.out, o)
	e.showOutgoing()
	step.Text, step.Out = o.String(), o.Key
	e.dispatch(t, o)
	return nil
}

// dispatch hands something over as the turn is on disk.
func (e *Engine) dispatch(t *mqtt.Turn, o *Outgoing) {
	if e.send != nil {
		t.Durable(func() { e.send(o) })
	}
}

// Outgoing returns what waits to be sent, the oldest first.
func (e *Engine) Outgoing() []*Outgoing {
	if list := e.outgoing.Load(); list != nil {
		return *list
	}
	return nil
}

func (e *Engine) showOutgoing() {
	list := slices.Clone(e.out)
	e.outgoing.Store(&list)
	e.revision.Add(1)
}

// Delivered says that something was sent, or with an error that it is given
// up: it is forgotten, and the trace of its run says what became of it. A key
// that is not known is nothing new.
func (e *Engine) Delivered(t *mqtt.Turn, key_ string, failed error) {
	e.enter(t)
	defer e.leave(t)
	i := slices.IndexFunc(e.out, func(o *Outgoing) bool { return o.Key == key_ })
	if i < 0 {
		return
	}
	o := e.out[i]
	e.out = slices.Delete(e.out, i, i+1)
	t.Write(key(recOutgoing, o.Rule, []byte(o.Key)...), nil)
	e.showOutgoing()
	if failed != nil {
		e.log.Warn("notification or request given up", "rule", o.Rule, "err", failed)
	}
	if r := e.rules[o.Rule]; r != nil {
		e.traceDelivery(t, r, o, failed)
	}
}

// traceDelivery notes in the trace of a run what became of what it sent.
func (e *Engine) traceDelivery(t *mqtt.Turn, r *rule, o *Outgoing, failed error) {
	e.amendRun(t, r, o.Run, func(run *Run) *Run {
		i := slices.IndexFunc(run.Actions, func(s Step) bool { return s.Out == o.Key })
		if i < 0 {
			return nil
		}
		changed := *run
		changed.Actions = slices.Clone(run.Actions)
		changed.Actions[i].Ended = t.Now.Wall.Round(0)
		if failed != nil {
			changed.Actions[i].Err = clip(failed.Error())
		}
		return &changed
	})
}

// amendRun changes the trace of a run that waits or has ended; note returns
// what it is now, or nil for what it was.
func (e *Engine) amendRun(t *mqtt.Turn, r *rule, id string, note func(run *Run) *Run) {
	for _, w := range r.waiting {
		if w.run.ID == id {
			if run := note(w.run); run != nil {
				w.run = run
				e.keepWaiting(t, w)
				e.showRun(r, run)
			}
			return
		}
	}
	i := slices.IndexFunc(r.runs, func(run *Run) bool { return run.ID == id })
	if i < 0 {
		return
	}
	was := r.runs[i]
	run := note(was)
	if run == nil {
		return
	}
	if j := slices.Index(r.newRuns, was); j >= 0 {
		r.newRuns[j] = run
	} else if slot := slices.Index(r.slots[:], run.Seq); slot >= 0 {
		order := r.runOrder - 1 - (r.runOrder-1-uint64(slot))%MaxRuns
		t.Lazy(key(recRun, r.id, byte(slot)), encode(&runRecord{Format: format, Order: order, Run: run}))
	}
	e.showRun(r, run)
}

// Errors of webhooks.
var (
	ErrNoHook = errors.New("no automation that is on waits for this webhook")
	ErrMethod = errors.New("no automation that is on waits for this method")
)

// Hooks lists the IDs of the webhooks that automations which are on wait for.
func (e *Engine) Hooks() []string { return e.index.Load().listHooks() }

// Hook triggers the rules that wait for a webhook.
func (e *Engine) Hook(t *mqtt.Turn, id, method string, body []byte) error {
	e.enter(t)
	defer e.leave(t)
	if err := e.ready(); err != nil {
		return err
	}
	if len(body) > MaxSent {
		return fmt.Errorf("a body has at most %d bytes", MaxSent)
	}
	refs := e.index.Load().hooks[id]
	if len(refs) == 0 {
		return ErrNoHook
	}
	err := ErrMethod
	for _, f := range refs {
		if !f.rule.live() || f.rule.def != f.def {
			continue
		}
		methods := f.def.Triggers[f.trigger].Webhook.Methods
		if len(methods) == 0 && method != "POST" || len(methods) > 0 && !slices.Contains(methods, method) {
			continue
		}
		err = nil
		s := scene{payload: body, parts: payloadParts(body, f.paths), message: true}
		e.trigger(t, f.rule, &event{scene: s, cause: e.causeOf(f.rule, f.trigger, Cause{Kind: ByWebhook, Topic: id}), index: f.trigger, durable: true, valueIsPayload: true})
	}
	return err
}

func (c *checker) webhook(path string, w *WebhookTrigger) {
	c.message = true
	if !validID(w.ID) {
		c.bad(path+".id", "An ID has 1 to %d small letters, digits and hyphens.", maxID)
	}
	if len(w.Methods) > len(Methods) {
		c.bad(path+".methods", "A method is named twice.")
	}
	for i, m := range w.Methods {
		if !slices.Contains(Methods, m) {
			c.bad(at(path+".methods", i), "A method is one of %s.", strings.Join(Methods, ", "))
		}
	}
}

func (c *checker) notify(path string, n *NotifyAction) {
	if n.To == "" || len(n.To) > MaxName || !printable(n.To) {
		c.bad(path+".to", "Name a channel made on the pages.")
	}
	if n.Text == "" {
		c.bad(path+".text", "Say what the notification tells.")
	}
	for _, l := range []struct{ key, text string }{{"title", n.Title}, {"text", n.Text}} {
		c.text(path+"."+l.key, l.text, MaxText)
		c.template(path+"."+l.key, l.text)
	}
	if n.Urgency != "" && n.Urgency != Low && n.Urgency != Normal && n.Urgency != High {
		c.bad(path+".urgency", "The urgency is low, normal or high.")
	}
}

func (c *checker) http(path string, h *HTTPAction) {
	c.text(path+".url", h.URL, MaxText)
	if badURL(sampleTopic(h.URL)) != "" && !strings.HasPrefix(strings.TrimSpace(h.URL), "{{") {
		c.bad(path+".url", "A URL begins with http:// or https:// and a host.")
	}
	c.template(path+".url", h.URL)
	if h.Method != "" && !slices.Contains(Methods, h.Method) {
		c.bad(path+".method", "A method is one of %s.", strings.Join(Methods, ", "))
	}
	if len(h.Headers) > MaxHeaders {
		c.bad(path+".headers", "A request has at most %d headers.", MaxHeaders)
	}
	for name, text := range h.Headers {
		if name == "" || len(name) > MaxName || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") != "" {
			c.bad(path+".headers."+name, "A header has a name of letters, digits, - and _.")
		}
		if c.text(path+".headers."+name, text, MaxText) && strings.ContainsAny(text, "\r\n\x00") {
			c.bad(path+".headers."+name, "A header has no line ends.")
		}
		c.template(path+".headers."+name, text)
	}
	c.text(path+".body", h.Body, MaxPayload)
	c.template(path+".body", h.Body)
	if h.Timeout != 0 && (time.Duration(h.Timeout) < MinDuration || time.Duration(h.Timeout) > MaxHTTPTimeout) {
		c.bad(path+".timeout", "A request waits at most 1m for its answer.")
	}
}
