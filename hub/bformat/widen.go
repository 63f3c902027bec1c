package bformat

// How a Queue comes by memory. All of it needs the lock, giveBack alone does not.

// first returns the chunk that an empty queue begins with: for n bytes, as is guessed, or,
// where the Budget has too little left, a small one.
func (q *Queue) first(n int) *chunk {
	q.limit = q.o.Limit
	if size := chunkSize(n); size > share {
		if !q.o.Budget.take(size, q.writing) {
			q.short(share)
			return getChunk(share)
		}
		k := getChunk(n)
		k.held = size
		return k
	}
	return getChunk(n)
}

// grow moves what waits to a chunk with room for n bytes, if the Budget has as much.
func (q *Queue) grow(n int) {
	if g := q.larger(n); g != nil {
		g.buf = append(g.buf, q.k.buf...)
		q.replace(g)
	}
}

// widen finds room for b, which is what waits with a frame added, and returns it there.
// Where the Budget has too little left, the limit shrinks to what there is memory for,
// and b may stay where it is; but a frame that must not be lost gets what it needs.
func (q *Queue) widen(b []byte, droppable bool) []byte {
	g := q.larger(max(len(b), cap(q.k.buf)+1))
	if g == nil {
		q.rouse() // what it writes waits no more
		if droppable || len(b) <= cap(q.k.buf) {
			return b
		}
		// As little as will do; that the queue is crowded now bounds what follows.
		size := max(len(b), 2*cap(q.k.buf))
		g = &chunk{buf: make([]byte, 0, size), held: size}
		q.o.Budget.force(size - q.k.held)
		q.k.held = 0
	}
	g.buf = append(g.buf, b...)
	b = g.buf
	q.replace(g)
	return b
}

// larger returns an empty chunk with room for n bytes, more than the queue's chunk has. It
// takes over what that holds of the Budget. It is nil if too little is left.
func (q *Queue) larger(n int) *chunk {
	if n > classes[len(classes)-1].size {
		n = max(n, 2*cap(q.k.buf)) // so that a long backlog is copied a constant number of times
	}
	held := chunkSize(n)
	if held <= share {
		return getChunk(n)
	}
	switch {
	case q.o.Budget.take(held-q.k.held, q.k.held+q.writing):
		q.limit = q.o.Limit
	case n <= ready && !q.busy:
		n, held = ready, ready
		q.o.Budget.force(held - q.k.held)
		q.short(ready)
	default:
		q.short(cap(q.k.buf))
		return nil
	}
	g := getChunk(n)
	g.held, q.k.held = held, 0
	return g
}

// replace makes g, which holds the same frames, the queue's chunk.
func (q *Queue) replace(g *chunk) {
	g.frames, g.longest = q.k.frames, q.k.longest
	g.firm, q.k.firm = q.k.firm, g.firm
	q.giveBack(q.k)
	q.k = g
}

// short lowers the limit to what fits into size bytes. A quarter of them stays free, so
// that most frames that are dropped are encoded without further memory.
func (q *Queue) short(size int) { q.limit = min(q.o.Limit, size-size/4) }

// giveBack gives a chunk back, and what it holds of the Budget.
func (q *Queue) giveBack(k *chunk) {
	if k.held > 0 {
		q.o.Budget.give(k.held)
		k.held = 0
	}
	putChunk(k)
}
