package devices

import (
	"hash/maphash"
	"maps"
)

// A shards is an immutable map from text that is cheap to change: an edit
// copies only the parts it touches. Readers of an older one are not disturbed.
// The zero shards is empty.
type shards[V any] struct {
	parts *[shardCount]map[string]V
	size  int
}

const shardCount = 256

var shardSeed = maphash.MakeSeed()

func (s shards[V]) get(key string) (v V) {
	if s.parts == nil {
		return v
	}
	return s.parts[maphash.String(shardSeed, key)%shardCount][key]
}

func (s shards[V]) len() int { return s.size }

// edit begins a change. Nothing of it shows in s.
func (s shards[V]) edit() *shardEdit[V] {
	e := &shardEdit[V]{size: s.size}
	if s.parts != nil {
		e.parts = *s.parts
	}
	return e
}

// A shardEdit is a change in progress.
type shardEdit[V any] struct {
	parts [shardCount]map[string]V
	owned [shardCount]bool // copied for this edit
	size  int
}

func (e *shardEdit[V]) part(key string) map[string]V {
	i := maphash.String(shardSeed, key) % shardCount
	if !e.owned[i] {
		e.owned[i] = true
		if e.parts[i] = maps.Clone(e.parts[i]); e.parts[i] == nil {
			e.parts[i] = map[string]V{}
		}
	}
	return e.parts[i]
}

func (e *shardEdit[V]) get(key string) V {
	return e.parts[maphash.String(shardSeed, key)%shardCount][key]
}

func (e *shardEdit[V]) set(key string, v V) {
	p := e.part(key)
	if _, ok := p[key]; !ok {
		e.size++
	}
	p[key] = v
}

func (e *shardEdit[V]) delete(key string) {
	p := e.part(key)
	if _, ok := p[key]; ok {
		e.size--
		delete(p, key)
	}
}

// done ends the edit, which must not be used any more.
func (e *shardEdit[V]) done() shards[V] { return shards[V]{parts: &e.parts, size: e.size} }
