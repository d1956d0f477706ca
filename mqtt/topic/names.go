package topic

import "slices"

// Names holds values by topic name, in byte order of the names, and finds
// those whose name matches a filter. For a broker the values are retained
// messages; 200,000 of them are no burden.
//
// It is a sorted list in blocks: two binary searches find a name, and names
// that follow each other lie side by side.
type Names[V any] struct {
	blocks [][]named[V] // none empty, each in order and after the one before
	size   int
}

type named[V any] struct {
	name  string
	value V
}

// blockSize is the length at which a block is cut in two.
const blockSize = 256

// A place in Names.
type place struct{ block, at int }

// Len returns the number of names.
func (n *Names[V]) Len() int { return n.size }

// Get returns the value of name, if there is one.
func (n *Names[V]) Get(name string) (value V, ok bool) {
	if p, found := n.find(name); found {
		return n.blocks[p.block][p.at].value, true
	}
	return value, false
}

// Set stores the value of a topic name. It returns what was there before.
func (n *Names[V]) Set(name string, value V) (old V, replaced bool) {
	p, found := n.find(name)
	if found {
		e := &n.blocks[p.block][p.at]
		old, e.value = e.value, value
		return old, true
	}
	n.size++
	if len(n.blocks) == 0 {
		n.blocks = [][]named[V]{{{name, value}}}
		return old, false
	}
	if p.block == len(n.blocks) { // after the last name
		p.block--
		p.at = len(n.blocks[p.block])
	}
	b := slices.Insert(n.blocks[p.block], p.at, named[V]{name, value})
	n.blocks[p.block] = b
	if len(b) >= blockSize {
		half := len(b) / 2
		if p.block == len(n.blocks)-1 && p.at == len(b)-1 {
			half = len(b) - 1 // names that come in order fill their blocks
		}
		right := append(make([]named[V], 0, blockSize), b[half:]...)
		clear(b[half:])
		n.blocks[p.block] = b[:half]
		n.blocks = slices.Insert(n.blocks, p.block+1, right)
	}
	return old, false
}

// Delete removes a name. It returns what was there.
func (n *Names[V]) Delete(name string) (old V, deleted bool) {
	p, found := n.find(name)
	if !found {
		return old, false
	}
	n.size--
	b := n.blocks[p.block]
	old = b[p.at].value
	b = slices.Delete(b, p.at, p.at+1)
	n.blocks[p.block] = b
	// A block that has become small joins a neighbour, so that many deletions
	// leave no trail of slack.
	switch {
	case len(b) == 0:
		n.blocks = slices.Delete(n.blocks, p.block, p.block+1)
	case len(b) < blockSize/4 && !n.join(p.block-1):
		n.join(p.block)
	}
	return old, true
}

// join makes one of a block and the next, if both are there and small.
func (n *Names[V]) join(block int) bool {
	if block < 0 || block+1 >= len(n.blocks) || len(n.blocks[block])+len(n.blocks[block+1]) > blockSize/2 {
		return false
	}
	n.blocks[block] = append(n.blocks[block], n.blocks[block+1]...)
	n.blocks = slices.Delete(n.blocks, block+1, block+2)
	return true
}

// Match calls fn for the values whose name matches a valid filter and comes
// after the given name, in order of the names, until fn says stop. after is
// empty for the first call.
//
// It looks at no more than the given number of names, so that a caller can do
// long work in slices (10,000 names take 1 to 2 ms): while done is false, the
// next call goes on after next. Names may come and go between calls; fn itself
// may not change them.
func (n *Names[V]) Match(filter, after string, steps int, fn func(name string, value V) bool) (next string, done bool) {
	w := walk{filter: filter}
	w.start()
	next = after
	p, found := n.find(after)
	if found {
		p = n.following(p)
	}
	if string(w.seek) > after {
		p = n.forward(p, w.seek)
	}
	for ; p.block < len(n.blocks); steps-- {
		if steps <= 0 {
			return next, false
		}
		e := &n.blocks[p.block][p.at]
		next = e.name
		switch w.step(e.name) {
		case matched:
			p = n.following(p)
			if !fn(e.name, e.value) {
				return next, p.block == len(n.blocks)
			}
		case goOn:
			p = n.following(p)
		case goTo:
			p = n.forward(p, w.seek)
		case exhausted:
			return next, true
		}
	}
	return next, true
}

// Visit calls fn for every value whose name comes after the given one, also
// those that begin with $, in order of the names, until fn says stop.
func (n *Names[V]) Visit(after string, fn func(name string, value V) bool) {
	p, found := n.find(after)
	if found {
		p = n.following(p)
	}
	for ; p.block < len(n.blocks); p = n.following(p) {
		if e := &n.blocks[p.block][p.at]; !fn(e.name, e.value) {
			return
		}
	}
}

// find returns the place of name, or of the first name after it.
func (n *Names[V]) find(name string) (p place, found bool) {
	p = n.search(0, []byte(name))
	return p, p.block < len(n.blocks) && n.blocks[p.block][p.at].name == name
}

// forward returns the first place from p on whose name is not before target.
func (n *Names[V]) forward(p place, target []byte) place {
	for range 4 { // most often it is near
		if p.block == len(n.blocks) || n.blocks[p.block][p.at].name >= string(target) {
			return p
		}
		p = n.following(p)
	}
	return n.search(p.block, target)
}

// search returns the first place from a block on whose name is not before
// target.
func (n *Names[V]) search(from int, target []byte) place {
	i, j := from, len(n.blocks)
	for i < j {
		m := (i + j) / 2
		if b := n.blocks[m]; b[len(b)-1].name < string(target) {
			i = m + 1
		} else {
			j = m
		}
	}
	if i == len(n.blocks) {
		return place{i, 0}
	}
	b := n.blocks[i]
	lo, hi := 0, len(b)
	for lo < hi {
		if m := (lo + hi) / 2; b[m].name < string(target) {
			lo = m + 1
		} else {
			hi = m
		}
	}
	return place{i, lo}
}

// following returns the place after p.
func (n *Names[V]) following(p place) place {
	if p.at++; p.at == len(n.blocks[p.block]) {
		return place{p.block + 1, 0}
	}
	return p
}
