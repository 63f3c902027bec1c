package bformat

// How a Queue comes by memory. All of it needs the lock, giveBack alone does not.

// first returns the chunk that an empty queue begins with: for n bytes, as is guessed, or,
// where the Budget has too little left, a small one.
func (q *Queue) firstChunk(n int) *chunk {
	q.limit = q.o.Limit
	if size := chunkSize(n); size > exemptSize {
		if !q.o.Budget.tryAcquire(size, q.writeCharge) {
			q.lowerLimit(exemptSize)
			return getChunk(exemptSize)
		}
		k := getChunk(n)
		k.charged = size
		return k
	}
	return getChunk(n)
}

// grow moves what waits to a chunk with room for n bytes, if the Budget has as much.
func (q *Queue) grow(n int) {
	if g := q.largerChunk(n); g != nil {
		g.buf = append(g.buf, q.chunk.buf...)
		q.replaceChunk(g)
	}
}

// widen finds room for b, which is what waits with a frame added, and returns it there.
// Where the Budget has too little left, the limit shrinks to what there is memory for,
// and b may stay where it is; but a frame that must not be lost gets what it needs.
func (q *Queue) growFor(b []byte, droppable bool) []byte {
	g := q.largerChunk(max(len(b), cap(q.chunk.buf)+1))
	if g == nil {
		q.wakeRun() // what it writes waits no more
		if droppable || len(b) <= cap(q.chunk.buf) {
			return b
		}
		// As little as will do; that the queue is crowded now bounds what follows.
		size := max(len(b), 2*cap(q.chunk.buf))
		g = &chunk{buf: make([]byte, 0, size), charged: size}
		q.o.Budget.acquire(size - q.chunk.charged)
		q.chunk.charged = 0
	}
	g.buf = append(g.buf, b...)
	b = g.buf
	q.replaceChunk(g)
	return b
}

// larger returns an empty chunk with room for n bytes, more than the queue's chunk has. It
// takes over what that holds of the Budget. It is nil if too little is left.
func (q *Queue) largerChunk(n int) *chunk {
	if n > classes[len(classes)-1].size {
		n = max(n, 2*cap(q.chunk.buf)) // so that a long backlog is copied a constant number of times
	}
	held := chunkSize(n)
	if held <= exemptSize {
		return getChunk(n)
	}
	switch {
	case q.o.Budget.tryAcquire(held-q.chunk.charged, q.chunk.charged+q.writeCharge):
		q.limit = q.o.Limit
	case n <= guaranteedSize && !q.busy:
		n, held = guaranteedSize, guaranteedSize
		q.o.Budget.acquire(held - q.chunk.charged)
		q.lowerLimit(guaranteedSize)
	default:
		q.lowerLimit(cap(q.chunk.buf))
		return nil
	}
	g := getChunk(n)
	g.charged, q.chunk.charged = held, 0
	return g
}

// replace makes g, which holds the same frames, the queue's chunk.
func (q *Queue) replaceChunk(g *chunk) {
	g.frames, g.longest = q.chunk.frames, q.chunk.longest
	g.required, q.chunk.required = q.chunk.required, g.required
	q.releaseChunk(q.chunk)
	q.chunk = g
}

// short lowers the limit to what fits into size bytes. A quarter of them stays free, so
// that most frames that are dropped are encoded without further memory.
func (q *Queue) lowerLimit(size int) { q.limit = min(q.o.Limit, size-size/4) }

// giveBack gives a chunk back, and what it holds of the Budget.
func (q *Queue) releaseChunk(k *chunk) {
	if k.charged > 0 {
		q.o.Budget.release(k.charged)
		k.charged = 0
	}
	putChunk(k)
}
