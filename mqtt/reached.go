package mqtt

import (
	"reflect"
	"strings"
	"sync/atomic"
	"unicode"
)

// A client that runs into a limit is told so in the protocol's own words,
// where it has some. The operator is told in the log, a line a second for each
// limit at most, and by a counter of each: see LimitsReached.

// A limitHit is how often a limit was run into.
type limitHit struct {
	count  atomic.Uint64
	logged rateLimit
}

// limitNames are the fields of Limits as settings call them, in their order.
var limitNames = func() (names []string) {
	for _, f := range reflect.VisibleFields(reflect.TypeFor[Limits]()) {
		names = append(names, LimitName(f.Name))
	}
	return names
}()

func newLimitHits() map[string]*limitHit {
	hits := make(map[string]*limitHit, len(limitNames))
	for _, name := range limitNames {
		hits[name] = &limitHit{}
	}
	return hits
}

// LimitName writes the name of a field of Limits as settings do: PacketSize is
// packet_size.
func LimitName(field string) string {
	field = strings.NewReplacer("QoS", "Qos", "ID", "Id").Replace(field)
	var b strings.Builder
	for i, r := range field {
		if unicode.IsUpper(r) {
			if i > 0 {
				b.WriteByte('_')
			}
			r = unicode.ToLower(r)
		}
		b.WriteRune(r)
	}
	return b.String()
}

// reached notes that somebody has run into a limit. why may be nil. Any lock
// may be held.
func (b *Broker) reached(limit, who string, why error) {
	hit := b.limitHits[limit]
	n := hit.count.Add(1)
	if !hit.logged.allow(b.clock().Run) {
		return
	}
	args := []any{"limit", limit, "client", who, "times", n}
	if why != nil {
		args = append(args, "err", why)
	}
	b.log.Warn("limit reached", args...)
}

// who names a client for the log: by its identifier, once it is known.
func (c *Conn) who() string {
	if c.clientID != "" {
		return c.clientID
	}
	return c.remote
}

// A limitError is why a connection is not taken up.
type limitError struct{ limit, text string }

func (e *limitError) Error() string { return e.text }

// LimitsReached tells how often each limit was run into since the broker
// started, by the name of its setting: "packet_size". Limits that nobody has
// run into, or that clients are told to keep and do, are 0.
func (b *Broker) LimitsReached() map[string]uint64 {
	all := make(map[string]uint64, len(limitNames))
	for _, name := range limitNames {
		all[name] = b.limitHits[name].count.Load()
	}
	return all
}
