package mqtt

// A ring is a double-ended queue that allocates only to grow. The zero ring is
// empty.
type ring[T any] struct {
	buf  []T // its length is a power of two
	head int
	n    int
}

func (r *ring[T]) len() int { return r.n }

// at returns the i-th element from the front, to be changed in place.
func (r *ring[T]) at(i int) *T { return &r.buf[(r.head+i)&(len(r.buf)-1)] }

func (r *ring[T]) push(v T) { *r.add() = v }

// add adds a zero element at the end, to be filled in.
func (r *ring[T]) add() *T {
	if r.n == len(r.buf) {
		r.grow()
	}
	r.n++
	return r.at(r.n - 1)
}

func (r *ring[T]) grow() {
	bigger := make([]T, max(1, 2*len(r.buf)))
	for i := range r.n {
		bigger[i] = *r.at(i)
	}
	r.buf, r.head = bigger, 0
}

// pop takes the front element out.
func (r *ring[T]) pop() T {
	p := r.at(0)
	v := *p
	var zero T
	*p = zero
	r.head = (r.head + 1) & (len(r.buf) - 1)
	if r.n--; r.n == 0 && len(r.buf) > 64 {
		r.buf, r.head = nil, 0 // a burst is over
	}
	return v
}

// clear empties the ring and gives its memory back.
func (r *ring[T]) clear() { *r = ring[T]{} }
