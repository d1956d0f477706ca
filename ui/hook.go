package ui

import (
	"context"
	"crypto/subtle"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"lar.home/automations"
	"lar.home/mqtt"
)

const (
	hookWithin = 20 * time.Second // for the disk
	hookRate   = time.Second      // a webhook may be called once a second,
	hookBurst  = 60               // and so often at once
	maxBuckets = 4096
)

var errNoHook = &failure{http.StatusNotFound, "There is no such webhook", "The address is not right, or no automation that is on waits for it."}

// hook sets automations off. It answers 204 once what follows is on disk. A
// wrong key and an ID that nothing waits for have the same answer.
func (s *Server) hook(w http.ResponseWriter, r *http.Request) error {
	id, now := r.PathValue("id"), time.Now()
	key := r.URL.Query().Get("key")
	if bearer, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer "); ok {
		key = bearer
	}
	want := s.Settings.HookKey(id)
	if want == "" || len(id) > 48 || subtle.ConstantTimeCompare([]byte(key), []byte(want)) != 1 {
		if !s.guesses.take(from(r).String(), now) {
			return tooMany(w)
		}
		return errNoHook
	}
	if !s.hooks.take(id, now) {
		return tooMany(w)
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), hookWithin)
	defer cancel()
	err = s.House.Do(ctx, func(t *mqtt.Turn) error { return s.Rules.Hook(t, id, r.Method, body) })
	switch {
	case errors.Is(err, automations.ErrNoHook):
		return errNoHook
	case errors.Is(err, automations.ErrMethod):
		return &failure{http.StatusMethodNotAllowed, "This webhook is not called like that", "No automation that is on waits for " + r.Method + "."}
	case err != nil:
		s.Log.Warn("webhook not taken", "hook", id, "err", err)
		return &failure{http.StatusServiceUnavailable, "Nothing can be kept now", "Try again."}
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func tooMany(w http.ResponseWriter) error {
	w.Header().Set("Retry-After", "10")
	return &failure{http.StatusTooManyRequests, "That was too often", "Wait a little."}
}

// hookAddresses are those of the webhooks that a rule waits for, as the browser
// reaches this hub.
func (s *Server) hookAddresses(r *http.Request, rule *automations.Rule) (list []string) {
	scheme := "http"
	if r.TLS != nil {
		scheme = "https"
	}
	for _, t := range rule.Triggers {
		if t.Webhook == nil {
			continue
		}
		if key := s.Settings.HookKey(t.Webhook.ID); key != "" {
			list = append(list, scheme+"://"+r.Host+"/hook/"+url.PathEscape(t.Webhook.ID)+"?key="+key)
		}
	}
	return list
}

// buckets bound how often something is done, by name.
type buckets struct {
	mu   sync.Mutex
	list map[string]*bucket
}

type bucket struct {
	left float64
	at   time.Time
}

func newBuckets() *buckets { return &buckets{list: map[string]*bucket{}} }

// take tells whether it may be done once more now.
func (b *buckets) take(name string, now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.list[name]
	if k == nil {
		if len(b.list) >= maxBuckets {
			for name, k := range b.list { // one that is full again is as good as new
				if now.Sub(k.at) > hookBurst*hookRate {
					delete(b.list, name)
				}
			}
		}
		if len(b.list) >= maxBuckets {
			return false
		}
		k = &bucket{left: hookBurst, at: now}
		b.list[name] = k
	}
	k.left = min(hookBurst, k.left+float64(now.Sub(k.at))/float64(hookRate))
	k.at = now
	if k.left < 1 {
		return false
	}
	k.left--
	return true
}
