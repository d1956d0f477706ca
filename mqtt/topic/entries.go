package topic

import "slices"

// entries are the values at one node: a slice, which most often holds one, and
// an index from the size on where a search would be slow. A filter such as
// "#" may be that of every client in the house.
type entries[K comparable, V any] struct {
	list  []entry[K, V]
	index map[K]int // position in list; nil up to indexFrom entries
}

type entry[K comparable, V any] struct {
	key   K
	value V
}

const indexFrom = 16

func (e *entries[K, V]) len() int { return len(e.list) }

func (e *entries[K, V]) visit(fn func(K, V)) {
	for i := range e.list {
		fn(e.list[i].key, e.list[i].value)
	}
}

// find returns the position of key, or -1.
func (e *entries[K, V]) find(key K) int {
	if e.index != nil {
		if i, ok := e.index[key]; ok {
			return i
		}
		return -1
	}
	for i := range e.list {
		if e.list[i].key == key {
			return i
		}
	}
	return -1
}

func (e *entries[K, V]) get(key K) (value V, ok bool) {
	if i := e.find(key); i >= 0 {
		return e.list[i].value, true
	}
	return value, false
}

func (e *entries[K, V]) set(key K, value V) (old V, replaced bool) {
	if i := e.find(key); i >= 0 {
		old, e.list[i].value = e.list[i].value, value
		return old, true
	}
	if e.list == nil {
		e.list = make([]entry[K, V], 0, 1) // exactly one is by far the most common
	}
	e.list = append(e.list, entry[K, V]{key, value})
	switch {
	case e.index != nil:
		e.index[key] = len(e.list) - 1
	case len(e.list) > indexFrom:
		e.index = make(map[K]int, 2*indexFrom)
		for i := range e.list {
			e.index[e.list[i].key] = i
		}
	}
	return old, false
}

// delete removes key; the last entry takes its place.
func (e *entries[K, V]) delete(key K) (old V, deleted bool) {
	i := e.find(key)
	if i < 0 {
		return old, false
	}
	old = e.list[i].value
	last := len(e.list) - 1
	e.list[i] = e.list[last]
	e.list[last] = entry[K, V]{}
	e.list = e.list[:last]
	switch {
	case last == 0:
		*e = entries[K, V]{}
	case last <= indexFrom/2:
		e.index = nil
		if cap(e.list) > 2*indexFrom {
			e.list = slices.Clone(e.list)
		}
	case e.index != nil:
		delete(e.index, key)
		if i < last {
			e.index[e.list[i].key] = i
		}
	}
	return old, true
}
