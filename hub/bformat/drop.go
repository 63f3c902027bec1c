package bformat

// What a Queue loses, and how it is counted. All but tell need the lock.

// compact drops the oldest droppable frames of b, which is the buffer with a frame of n
// bytes added, but never that one, until a quarter of the limit is free, or as much as
// the firm ones leave. One pass frees that much, so its cost is shared by as many bytes
// that follow.
func (q *Queue) compact(b []byte, n int) (_ []byte, frames, bytes int) {
	firm := q.k.firm
	last := len(b) - n
	excess := len(b) - max(q.limit-q.limit/4, q.firm+n)
	r, w, i := 0, 0, 0
	for bytes < excess && r < last {
		size := sizeOf(b[r:])
		if i < len(firm) && firm[i] == r {
			firm[i] = w
			i++
			w += copy(b[w:], b[r:r+size])
		} else {
			frames++
			bytes += size
		}
		r += size
	}
	w += copy(b[w:], b[r:])
	for ; i < len(firm); i++ {
		firm[i] -= bytes
	}
	q.k.frames -= frames
	q.dropped += uint64(frames)
	return b[:w], frames, bytes
}

// drop leaves the frame of n bytes that is being put out.
func (q *Queue) drop(n int) (frames, bytes int, err error) {
	q.dropped++
	q.tidy()
	return 1, n, nil
}

// fail ends the queue, counts what waits and forgets it. The error returned is the first one's.
func (q *Queue) fail(err error) (frames, bytes int, _ error) {
	if q.err == nil {
		q.err = err
	}
	if q.k != nil {
		frames, bytes = q.k.frames, len(q.k.buf)
		q.k.clear()
	}
	q.crowd(0)
	q.thinned.Broadcast()
	q.dropped += uint64(frames)
	q.tidy()
	q.rouse()
	return frames, bytes, q.err
}

// tidy gives the buffer back if nothing waits in it.
func (q *Queue) tidy() {
	if q.k != nil && q.k.frames == 0 {
		q.giveBack(q.k)
		q.k = nil
	}
}

// tell passes drops on, without the lock.
func (q *Queue) tell(frames, bytes int) {
	if frames > 0 && q.o.Dropped != nil {
		q.o.Dropped(frames, bytes)
	}
}
