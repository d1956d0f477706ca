package devices

import (
	"maps"
	"slices"
	"strings"

	"lar.home/mqtt/topic"
)

// Some descriptions read a topic filter and not one topic: gateways for
// Bluetooth announce "+/+/BTtoMQTT/<address>", as any of several may hear the
// device. What such a reader takes is evaluated as for any other.

const (
	// MaxFilters is how many topic filters with wildcards the house reads.
	MaxFilters = 500
	// maxFiltered is of how many topics, found by a filter, what they brought
	// last is kept.
	maxFiltered = 4096
)

// isFilter tells whether what is read from is a filter and no single topic.
func isFilter(s string) bool { return strings.ContainsAny(s, "+#") }

// filterProblem says why a topic or filter cannot be read from; "" if it can.
func filterProblem(s string) string {
	switch {
	case !isFilter(s):
		return topicProblem(s)
	case len(s) > 65535:
		return "is longer than 65535 bytes"
	case strings.Trim(s, "+/#") == "":
		return "would read every topic"
	case topic.ValidFilter(s) != nil:
		return "is not a topic filter"
	}
	return ""
}

// A wild has the routes of filters. It is immutable.
type wild struct {
	routes map[string]*route // by filter
	tree   topic.Tree[struct{}, *route]
}

// edit returns a copy with other routes; those that are nil are left out.
func (w *wild) edit(routes map[string]*route) *wild {
	out := &wild{routes: map[string]*route{}}
	if w != nil {
		maps.Copy(out.routes, w.routes)
	}
	for filter, r := range routes {
		if r == nil {
			delete(out.routes, filter)
		} else {
			out.routes[filter] = r
		}
	}
	if len(out.routes) == 0 {
		return nil
	}
	for _, filter := range slices.Sorted(maps.Keys(out.routes)) {
		out.tree.Set(filter, struct{}{}, out.routes[filter])
	}
	return out
}

// wants tells whether anything is read from a topic.
func (w *wiring) wants(name string) bool {
	if w.routes.get(name) != nil {
		return true
	}
	found := false
	if w.wild != nil {
		w.wild.tree.Match(name, func(struct{}, *route) { found = true })
	}
	return found
}

// declared returns the route of a topic or filter as it is declared.
func (w *wiring) declared(s string) *route {
	if !isFilter(s) {
		return w.routes.get(s)
	}
	if w.wild == nil {
		return nil
	}
	return w.wild.routes[s]
}

// at returns all that is read from a topic, also by filters; filtered tells
// whether there are any. A route of a topic that no filter matches is always
// the same one within a wiring.
func (w *wiring) at(name string) (r *route, filtered bool) {
	r = w.routes.get(name)
	if w.wild == nil {
		return r, false
	}
	var merged *route
	w.wild.tree.Match(name, func(_ struct{}, f *route) {
		if merged == nil {
			merged = &route{}
			if r != nil {
				merged.reads, merged.avail, merged.tombs = slices.Clone(r.reads), r.avail, r.tombs
			}
		}
		for _, b := range f.reads {
			if len(merged.reads) < MaxReads {
				merged.reads = append(merged.reads, b)
			}
		}
	})
	if merged == nil {
		return r, false
	}
	return merged, true
}

// rewild swaps filters, and forgets what topics brought that only a filter
// read that is gone.
func (m *Model) rewild(w *wiring, routes map[string]*route) *wild {
	next := w.wild.edit(routes)
	gone := false
	for _, r := range routes {
		gone = gone || r == nil
	}
	if !gone {
		return next
	}
	after := &wiring{routes: w.routes, wild: next}
	for name := range m.filtered {
		if !after.wants(name) {
			delete(m.filtered, name)
			delete(m.last, name)
		}
	}
	return next
}
