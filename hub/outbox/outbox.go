// Package outbox sends what automations have to say outside the house:
// notifications over the channels of the home, and HTTP requests.
//
// The engine keeps what is to be sent on disk and hands it to [Box.Send] once
// it is there; a [Box] tries until it was taken or is given up, and tells so in
// a turn, which forgets it. A power cut at any instant means at most that
// something is sent a second time, with the same key: at least once, as
// design tables promise. Nothing here blocks the house: a bounded number of
// workers talks to the outside, one at a time to each target.
package outbox

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net/url"
	"slices"
	"sync"
	"time"

	"lar.home/automations"
	"lar.home/ui"
)

// How it is tried.
const (
	Workers     = 4
	notifyFor   = 24 * time.Hour   // a notification is tried for so long
	requestFor  = time.Hour        // a request, which may do something, for less
	firstRetry  = 5 * time.Second  // and twice as long each time, up to
	longRetry   = 15 * time.Minute // this
	maxWaitSaid = time.Hour        // of what a server asks for by Retry-After
	burst       = 10               // a target gets so many at once,
	every       = 2 * time.Second  // and then one each so often
	within      = time.Minute      // bounds one try
	toldWithin  = 30 * time.Second // and the turn that says what became of it
	keepGivenUp = 50
	maxTargets  = 1000 // whose rate is remembered
)

// A permanentError is one that a further try would meet again.
type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

func permanent(err error) error { return &permanentError{err} }

// A laterError says when to try again.
type laterError struct {
	err   error
	after time.Duration
}

func (e *laterError) Error() string { return e.err.Error() }
func (e *laterError) Unwrap() error { return e.err }

// Config is what a Box needs.
type Config struct {
	// Channel returns a channel of the home by its name.
	Channel func(name string) (ui.Channel, bool)
	// Delivered tells the engine what became of something, in a turn, and
	// returns when that is on disk.
	Delivered func(ctx context.Context, key string, failed error) error
	// Roots are whom certificates must come from; nil: those the system trusts.
	Roots *x509.CertPool
	Log   *slog.Logger
}

// A Box sends.
type Box struct {
	cfg     Config
	web     *web
	changed chan struct{} // of capacity 1: there may be something to do

	mu      sync.Mutex
	items   []*item            // that wait, the oldest first
	targets map[string]*target // by what is talked to
	givenUp []ui.GivenUp       // the newest first
}

// An item is something to be sent.
type item struct {
	out     *automations.Outgoing
	target  string
	seen    time.Time // when it was handed over
	next    time.Time // not before
	tries   int
	why     string // of the last failure
	busy    bool
	settled bool  // it was sent, or given up; only the turn that says so is missing
	failed  error // nil: it was sent
}

// A target is a channel, or the host of a request.
type target struct {
	busy   bool
	tokens float64
	at     time.Time // when tokens was right
}

// New returns a Box. It sends while Run runs; what is handed over before waits.
func New(cfg Config) *Box {
	if cfg.Log == nil {
		cfg.Log = slog.New(slog.DiscardHandler)
	}
	return &Box{cfg: cfg, web: newWeb(cfg.Roots), changed: make(chan struct{}, 1), targets: map[string]*target{}}
}

// Send takes something to be sent. It does not block.
func (b *Box) Send(o *automations.Outgoing) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if slices.ContainsFunc(b.items, func(i *item) bool { return i.out.Key == o.Key }) {
		return
	}
	b.items = append(b.items, &item{out: o, target: targetOf(o), seen: time.Now()})
	b.wake()
}

// Poke tries everything at once that waits for another try: a channel was
// changed.
func (b *Box) Poke() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.items {
		i.next = time.Time{}
	}
	b.wake()
}

func (b *Box) wake() {
	select {
	case b.changed <- struct{}{}:
	default:
	}
}

func targetOf(o *automations.Outgoing) string {
	if o.Notify != nil {
		return "notify " + o.Notify.To
	}
	if u, err := url.Parse(o.HTTP.URL); err == nil {
		return "http " + u.Host
	}
	return "http"
}

// Run sends until ctx ends. What is under way then is tried again after the
// next start.
func (b *Box) Run(ctx context.Context) {
	defer b.web.close()
	var workers sync.WaitGroup
	defer workers.Wait()
	work := make(chan *item)
	defer close(work)
	for range Workers {
		workers.Go(func() {
			for i := range work {
				b.try(ctx, i)
			}
		})
	}
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		i, wait := b.next(time.Now())
		if i != nil {
			select {
			case work <- i:
				continue
			case <-ctx.Done():
				return
			}
		}
		timer.Reset(wait)
		select {
		case <-ctx.Done():
			return
		case <-b.changed:
		case <-timer.C:
		}
	}
}

// next returns what is to be tried now and takes it, or how long there is
// nothing to do.
func (b *Box) next(now time.Time) (*item, time.Duration) {
	b.mu.Lock()
	defer b.mu.Unlock()
	wait := time.Hour
	held := map[string]bool{} // a target whose oldest waits: nobody overtakes
	for _, i := range b.items {
		if i.busy || held[i.target] {
			held[i.target] = true
			continue
		}
		t := b.targets[i.target]
		if t == nil {
			b.forgetTargets(now)
			t = &target{tokens: burst, at: now}
			b.targets[i.target] = t
		}
		if t.busy {
			continue
		}
		due := i.next
		if !i.settled {
			t.tokens = min(burst, t.tokens+float64(now.Sub(t.at))/float64(every))
			t.at = now
			if t.tokens < 1 {
				free := now.Add(time.Duration((1 - t.tokens) * float64(every)))
				if free.After(due) {
					due = free
				}
				held[i.target] = true
			}
		}
		if due.After(now) {
			wait = min(wait, due.Sub(now))
			continue
		}
		if !i.settled {
			t.tokens--
		}
		i.busy, t.busy = true, true
		return i, 0
	}
	return nil, wait
}

// forgetTargets bounds how many are remembered: one that has all its tokens
// again is as good as new.
func (b *Box) forgetTargets(now time.Time) {
	if len(b.targets) < maxTargets {
		return
	}
	for name, t := range b.targets {
		if !t.busy && now.Sub(t.at) > burst*every {
			delete(b.targets, name)
		}
	}
}

// try sends something once, and says what became of it.
func (b *Box) try(ctx context.Context, i *item) {
	if !i.settled {
		tryCtx, cancel := context.WithTimeout(ctx, within)
		err := b.send(tryCtx, i.out)
		cancel()
		if ctx.Err() != nil {
			return // the hub stops: it is tried again after the next start
		}
		b.judge(i, err)
	}
	if i.settled {
		tellCtx, cancel := context.WithTimeout(ctx, toldWithin)
		err := b.cfg.Delivered(tellCtx, i.out.Key, i.failed)
		cancel()
		b.mu.Lock()
		if err == nil {
			b.items = slices.DeleteFunc(b.items, func(o *item) bool { return o == i })
		} else { // the disk takes nothing now; it is not sent again meanwhile
			i.next = time.Now().Add(firstRetry)
		}
		b.mu.Unlock()
	}
	b.mu.Lock()
	i.busy = false
	if t := b.targets[i.target]; t != nil {
		t.busy = false
	}
	b.wake()
	b.mu.Unlock()
}

// judge decides what becomes of something after a try.
func (b *Box) judge(i *item, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i.tries++
	if err == nil {
		i.settled = true
		b.cfg.Log.Debug("sent", "to", i.target, "key", i.out.Key)
		return
	}
	i.why = err.Error()
	limit, since := notifyFor, i.out.Made
	if i.out.HTTP != nil {
		limit = requestFor
	}
	if i.out.Unsure {
		since = i.seen
	}
	now := time.Now()
	_, hopeless := errors.AsType[*permanentError](err)
	if hopeless || now.Sub(since) > limit {
		i.settled, i.failed = true, err
		b.givenUp = slices.Insert(b.givenUp, 0, ui.GivenUp{Rule: i.out.Rule, Run: i.out.Run, What: i.out.String(), Why: i.why, At: now})
		b.givenUp = b.givenUp[:min(len(b.givenUp), keepGivenUp)]
		b.cfg.Log.Warn("not sent, given up", "rule", i.out.Rule, "to", i.target, "err", err)
		return
	}
	i.next = now.Add(backOff(i.tries, err))
	b.cfg.Log.Info("not sent, to be tried again", "rule", i.out.Rule, "to", i.target, "err", err)
}

// backOff is how long to wait after a number of tries that failed.
func backOff(tries int, err error) time.Duration {
	wait := longRetry
	if tries < 10 {
		wait = min(firstRetry<<(tries-1), longRetry)
	}
	wait = time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64())) // not all hubs at the same instant
	if said, ok := errors.AsType[*laterError](err); ok {
		wait = max(wait, min(said.after, maxWaitSaid))
	}
	return wait
}

// send talks to the outside, once.
func (b *Box) send(ctx context.Context, o *automations.Outgoing) error {
	if o.HTTP != nil {
		return b.web.request(ctx, o.HTTP, o.Key)
	}
	c, ok := b.cfg.Channel(o.Notify.To)
	if !ok {
		return permanent(errors.New("there is no such channel any more"))
	}
	return b.notify(ctx, c, note{
		title: o.Notify.Title, text: o.Notify.Text, urgency: cmp.Or(o.Notify.Urgency, automations.Normal), key: o.Key, at: o.Made,
	})
}

// A note is what a channel is to tell.
type note struct {
	title, text, urgency, key string
	at                        time.Time
}

func (b *Box) notify(ctx context.Context, c ui.Channel, n note) error {
	switch c.Kind {
	case ui.Ntfy:
		return b.web.ntfy(ctx, c, n)
	case ui.Webhook:
		return b.web.webhook(ctx, c, n)
	case ui.Email:
		return mailTo(ctx, c, n, b.cfg.Roots)
	}
	return permanent(errors.New("nothing is known of this kind of channel"))
}

// Try sends a notification over a channel, once, and returns what came of it:
// somebody wants to know whether the channel is right.
func (b *Box) Try(ctx context.Context, channel, text string) error {
	c, ok := b.cfg.Channel(channel)
	if !ok {
		return errors.New("there is no such channel")
	}
	ctx, cancel := context.WithTimeout(ctx, tryWithin)
	defer cancel()
	now := time.Now()
	return b.notify(ctx, c, note{title: "Lar", text: text, urgency: automations.Normal, key: "lar-try-" + now.UTC().Format("20060102T150405.000000000"), at: now})
}

// tryWithin keeps an answer to a page within the server's limits.
const tryWithin = 20 * time.Second

// State says what waits, the oldest first, and what was given up since the
// start, the newest first.
func (b *Box) State() ui.Outbox {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := ui.Outbox{GivenUp: slices.Clone(b.givenUp)}
	for _, i := range b.items {
		if !i.settled {
			s.Waiting = append(s.Waiting, ui.Unsent{Rule: i.out.Rule, Run: i.out.Run, What: i.out.String(), Why: i.why, Made: i.out.Made, Tries: i.tries, Next: i.next})
		}
	}
	return s
}
