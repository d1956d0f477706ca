package topic

import "strings"

// A Tree holds values by topic filter and key, and finds those whose filter
// matches a topic name. For a broker the key is a session and the value a
// subscription.
//
// Filters are those that [ValidFilter] accepts, without the prefix of a shared
// subscription. Nodes are branching points, not levels, so that memory follows
// the number of filters and their length, however many levels they have, and a
// match looks at no node twice.
type Tree[K comparable, V any] struct {
	root node[K, V]
	size int
}

// A node stands for the filter that its label ends. The label is one level or
// more, joined by "/"; only the root has none.
type node[K comparable, V any] struct {
	label    string
	literals map[string]*node[K, V] // by the first level of their labels
	plus     *node[K, V]            // whose label begins with +
	hash     *node[K, V]            // whose label is #
	entries  entries[K, V]
}

// Len returns the number of values.
func (t *Tree[K, V]) Len() int { return t.size }

// Set stores value for filter and key. It returns what was there before.
func (t *Tree[K, V]) Set(filter string, key K, value V) (old V, replaced bool) {
	old, replaced = t.root.reach(filter).entries.set(key, value)
	if !replaced {
		t.size++
	}
	return old, replaced
}

// Get returns the value for filter and key, if there is one.
func (t *Tree[K, V]) Get(filter string, key K) (value V, ok bool) {
	n := &t.root
	for more := true; more; {
		if n = n.child(filter); n == nil {
			return value, false
		}
		if filter, more, ok = after(filter, n.label); !ok {
			return value, false
		}
	}
	return n.entries.get(key)
}

// Delete removes the value for filter and key. It returns what was there.
func (t *Tree[K, V]) Delete(filter string, key K) (old V, deleted bool) {
	var parent *node[K, V]
	n, rest := &t.root, filter
	for more := true; more; {
		child := n.child(rest)
		if child == nil {
			return old, false
		}
		var ok bool
		if rest, more, ok = after(rest, child.label); !ok {
			return old, false
		}
		parent, n = n, child
	}
	if old, deleted = n.entries.delete(key); !deleted {
		return old, false
	}
	t.size--
	if n.entries.len() == 0 {
		if n.children() == 0 {
			parent.drop(n)
			if parent != &t.root {
				parent.join()
			}
		} else {
			n.join()
		}
	}
	return old, true
}

// Match calls fn for every value whose filter matches name, in no particular
// order. It allocates nothing. fn may not change the tree.
func (t *Tree[K, V]) Match(name string, fn func(key K, value V)) {
	root := &t.root
	if name == "" {
		return
	}
	if name[0] == '$' { // [MQTT-4.7.2-1]
		if n := root.literal(name); n != nil {
			n.match(name, fn)
		}
		return
	}
	root.descend(name, true, fn)
}

// match goes on from a node whose label is yet to be compared with rest.
func (n *node[K, V]) match(rest string, fn func(K, V)) {
	label := n.label
	for {
		level, labelRest, labelMore := strings.Cut(label, "/")
		if level == "#" {
			n.entries.visit(fn)
			return
		}
		name, nameRest, nameMore := strings.Cut(rest, "/")
		if level != "+" && level != name {
			return
		}
		if !labelMore {
			n.descend(nameRest, nameMore, fn)
			return
		}
		if !nameMore {
			if labelRest == "#" { // the parent level matches too
				n.entries.visit(fn)
			}
			return
		}
		label, rest = labelRest, nameRest
	}
}

// descend goes on from a node that has matched so far; rest are the levels
// that remain, if there are more. It recurses at most once a level of the
// filters, of which there are 201.
func (n *node[K, V]) descend(rest string, more bool, fn func(K, V)) {
	if n.hash != nil {
		n.hash.entries.visit(fn)
	}
	if !more {
		n.entries.visit(fn)
		return
	}
	if c := n.literal(rest); c != nil {
		c.match(rest, fn)
	}
	if n.plus != nil {
		n.plus.match(rest, fn)
	}
}

// reach returns the node of a filter below n, and makes it if need be.
func (n *node[K, V]) reach(filter string) *node[K, V] {
	for {
		child := n.child(filter)
		if child == nil {
			child = &node[K, V]{label: filter}
			n.adopt(child)
			return child
		}
		common := commonLevels(child.label, filter)
		if common < len(child.label) {
			middle := &node[K, V]{label: child.label[:common]}
			n.adopt(middle)
			child.label = child.label[common+1:]
			middle.adopt(child)
			child = middle
		}
		if common == len(filter) {
			return child
		}
		n, filter = child, filter[common+1:]
	}
}

// literal returns the child whose first level is that of rest, but for the
// wildcards.
func (n *node[K, V]) literal(rest string) *node[K, V] {
	if n.literals == nil {
		return nil
	}
	level, _, _ := strings.Cut(rest, "/")
	return n.literals[level]
}

// child returns the child whose first level is that of filter.
func (n *node[K, V]) child(filter string) *node[K, V] {
	switch level, _, _ := strings.Cut(filter, "/"); level {
	case "+":
		return n.plus
	case "#":
		return n.hash
	default:
		return n.literals[level]
	}
}

// adopt makes c the child for its first level.
func (n *node[K, V]) adopt(c *node[K, V]) {
	switch level, _, _ := strings.Cut(c.label, "/"); level {
	case "+":
		n.plus = c
	case "#":
		n.hash = c
	default:
		if n.literals == nil {
			n.literals = make(map[string]*node[K, V], 1)
		}
		// The key is replaced with the value, so that no key keeps the text
		// of a filter alive that is gone.
		delete(n.literals, level)
		n.literals[level] = c
	}
}

// drop removes a child.
func (n *node[K, V]) drop(c *node[K, V]) {
	switch level, _, _ := strings.Cut(c.label, "/"); level {
	case "+":
		n.plus = nil
	case "#":
		n.hash = nil
	default:
		delete(n.literals, level)
		if len(n.literals) == 0 {
			n.literals = nil
		}
	}
}

func (n *node[K, V]) children() int {
	count := len(n.literals)
	if n.plus != nil {
		count++
	}
	if n.hash != nil {
		count++
	}
	return count
}

// join takes the place of an only child if n has no values of its own.
func (n *node[K, V]) join() {
	if n.entries.len() != 0 || n.children() != 1 {
		return
	}
	child := n.plus
	if child == nil {
		child = n.hash
	}
	for _, c := range n.literals {
		child = c
	}
	label := n.label + "/" + child.label
	*n = *child
	n.label = label
}

// commonLevels returns the length of the whole levels that two filters with
// the same first level have in common.
func commonLevels(a, b string) int {
	i := 0
	for i < len(a) && i < len(b) && a[i] == b[i] {
		i++
	}
	if (i == len(a) || a[i] == '/') && (i == len(b) || b[i] == '/') {
		return i
	}
	return strings.LastIndexByte(a[:i], '/')
}

// after returns what follows label in filter, if filter begins with the levels
// of label, and whether anything does.
func after(filter, label string) (rest string, more, ok bool) {
	if !strings.HasPrefix(filter, label) {
		return "", false, false
	}
	if len(filter) == len(label) {
		return "", false, true
	}
	if filter[len(label)] != '/' {
		return "", false, false
	}
	return filter[len(label)+1:], true, true
}
