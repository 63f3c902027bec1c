package bformat

// What a Queue loses, and how it is counted. All but tell need the lock.

// compact drops the oldest droppable frames of b, which is the buffer with a frame of n
// bytes added, but never that one, until a quarter of the limit is free, or as much as
// the required ones leave. One pass frees that much, so its cost is shared by as many bytes
// that follow.
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

// drop leaves the frame of n bytes that is being put out.
func (q *Queue) dropNew(n int) (frames, bytes int, err error) {
	q.dropped++
	q.releaseIfEmpty()
	return 1, n, nil
}

// fail ends the queue, counts what waits and forgets it. The error returned is the first one's.
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

// tidy gives the buffer back if nothing waits in it.
func (q *Queue) releaseIfEmpty() {
	if q.chunk != nil && q.chunk.frames == 0 {
		q.releaseChunk(q.chunk)
		q.chunk = nil
	}
}

// tell passes drops on, without the lock.
func (q *Queue) reportDrops(frames, bytes int) {
	if frames > 0 && q.o.Dropped != nil {
		q.o.Dropped(frames, bytes)
	}
}
