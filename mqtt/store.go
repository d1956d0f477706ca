package mqtt

// A Write sets a key, or deletes it when Value is nil. It is an alias of a
// plain struct, so that packages share it without importing each other.
type Write = struct{ Key, Value []byte }

// A Store keeps what must survive a power cut.
type Store interface {
	// Scan visits committed records under prefix, in key order, starting at
	// from (at the first if nil), until fn says stop. key and value are only
	// lent. A damaged record is left out and reported by the store itself.
	Scan(prefix, from []byte, fn func(key, value []byte) bool) error
	// Submit queues the writes of one turn and never blocks; the store keeps
	// the slices. Turns become durable whole and in the order of their
	// numbers. With soon false they ask for no sync of their own and ride
	// along, at most a second later.
	Submit(number uint64, turn []Write, soon bool)
	// Ready says why no new durable work can be taken now (disk full or
	// stuck), or nil. It is asked before a turn is decided, and is cheap.
	Ready() error
	// Durable names who is told, once a commit and outside every lock, the
	// number of the last turn on disk.
	Durable(fn func(number uint64))
	// Lazy merges writes that may be some seconds old after a crash. A Submit
	// of a key cancels an older Lazy of it; a Lazy write never joins a commit
	// before the turn that gave it. The store keeps the slices.
	Lazy(w []Write)
}
