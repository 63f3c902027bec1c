package bformat

// Growing and releasing the memory of a Queue. All methods but releaseChunk need the lock.

// firstChunk returns the chunk that an empty queue begins with: one for n bytes, which is
// a hint, or a small one if the Budget has too little left.
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

// grow moves the waiting frames to a chunk of at least n bytes, if the Budget has enough left.
func (q *Queue) grow(n int) {
	if g := q.largerChunk(n); g != nil {
		g.buf = append(g.buf, q.chunk.buf...)
		q.replaceChunk(g)
	}
}

// growFor grows the chunk to hold b, which is the waiting frames with a new one added, and
// returns b as it lies in the new chunk. If the Budget has too little left, the limit is
// lowered to what there is memory for, and b may stay where it is; but a required frame
// gets the memory that it needs.
func (q *Queue) growFor(b []byte, droppable bool) []byte {
	g := q.largerChunk(max(len(b), cap(q.chunk.buf)+1))
	if g == nil {
		q.wakeRun() // the frames that Run takes wait no longer
		if droppable || len(b) <= cap(q.chunk.buf) {
			return b
		}
		// The queue is now backpressured, which bounds what follows.
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

// largerChunk returns an empty chunk of at least n bytes, which is more than the queue's
// chunk has. It takes over the charge of that chunk. It returns nil if the Budget has too
// little left.
func (q *Queue) largerChunk(n int) *chunk {
	if n > sizeClasses[len(sizeClasses)-1].size {
		n = max(n, 2*cap(q.chunk.buf)) // doubling: each byte is copied a constant number of times on average
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

// replaceChunk makes g, which holds the same frames, the queue's chunk.
func (q *Queue) replaceChunk(g *chunk) {
	g.frames, g.deliveries, g.longest = q.chunk.frames, q.chunk.deliveries, q.chunk.longest
	g.classes, q.chunk.classes = q.chunk.classes, g.classes
	q.releaseChunk(q.chunk)
	q.chunk = g
}

// lowerLimit lowers the limit to three quarters of size bytes. The last quarter stays free,
// so that most frames that are then dropped are encoded without further memory.
func (q *Queue) lowerLimit(size int) { q.limit = min(q.o.Limit, size-size/4) }

// releaseChunk returns a chunk to its pool and its charge to the Budget.
func (q *Queue) releaseChunk(k *chunk) {
	if k.charged > 0 {
		q.o.Budget.release(k.charged)
		k.charged = 0
	}
	putChunk(k)
}
