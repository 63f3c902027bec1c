package bformat

// Dropping frames and counting the drops. All methods but reportDrops need the lock.

// dropOldest drops the oldest droppable frames of b, which is the buffer with a new frame
// of n bytes at its end. It stops when a quarter of the limit is free, or as much as the
// required frames leave, and never drops the new frame. Because one pass frees that much,
// its cost is amortized over the bytes that follow.
func (q *Queue) dropOldest(b []byte, n int) (_ []byte, frames, bytes int) {
	required := q.chunk.required
	last := len(b) - n
	excess := len(b) - max(q.limit-q.limit/4, q.requiredBytes+n)
	r, w, i := 0, 0, 0
	for bytes < excess && r < last {
		size := frameSize(b[r:])
		if i < len(required) && required[i] == r {
			required[i] = w
			i++
			w += copy(b[w:], b[r:r+size])
		} else {
			frames++
			bytes += size
		}
		r += size
	}
	w += copy(b[w:], b[r:])
	for ; i < len(required); i++ {
		required[i] -= bytes
	}
	q.chunk.frames -= frames
	q.dropped += uint64(frames)
	return b[:w], frames, bytes
}

// dropNew drops the new frame, of n bytes.
func (q *Queue) dropNew(n int) (frames, bytes int, err error) {
	q.dropped++
	q.releaseIfEmpty()
	return 1, n, nil
}

// fail ends the queue with err, and drops and counts all waiting frames. It returns the
// error that the queue ended with first.
func (q *Queue) fail(err error) (frames, bytes int, _ error) {
	if q.err == nil {
		q.err = err
	}
	if q.chunk != nil {
		frames, bytes = q.chunk.frames, len(q.chunk.buf)
		q.chunk.clear()
	}
	q.setRequiredBytes(0)
	q.relieved.Broadcast()
	q.dropped += uint64(frames)
	q.releaseIfEmpty()
	q.wakeRun()
	return frames, bytes, q.err
}

// releaseIfEmpty releases the chunk if no frame waits in it.
func (q *Queue) releaseIfEmpty() {
	if q.chunk != nil && q.chunk.frames == 0 {
		q.releaseChunk(q.chunk)
		q.chunk = nil
	}
}

// reportDrops calls QueueOptions.Dropped. It is called without the lock.
func (q *Queue) reportDrops(frames, bytes int) {
	if frames > 0 && q.o.Dropped != nil {
		q.o.Dropped(frames, bytes)
	}
}
