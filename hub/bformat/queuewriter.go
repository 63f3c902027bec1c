package bformat

import "time"

// Run writes all waiting frames in one Write whenever Flush is called, until the queue
// ends. It returns nil after Shutdown, once everything is written, and otherwise the error
// that the queue ended with. Only one goroutine may be in Run.
func (q *Queue) Run() error {
	for {
		k, done, err := q.dequeue()
		if done {
			return err
		}
		if k == nil {
			<-q.wake
			continue
		}
		n := 0
		if k.gap == nil {
			n, err = q.write(k.buf)
		} else {
			n, err = q.writeWithGap(k)
		}
		if err != nil {
			q.countUnwritten(k, n)
			q.Fail(err)
		}
		q.releaseChunk(k)
	}
}

// writeWithGap writes a chunk and the gap frame in it. It returns how many bytes of the
// chunk were written.
func (q *Queue) writeWithGap(k *chunk) (n int, err error) {
	if n, err = q.write(k.buf[:k.gapAt]); err != nil {
		return n, err
	}
	if _, err = q.write(k.gap); err != nil {
		return n, err
	}
	rest, err := q.write(k.buf[n:])
	return n + rest, err
}

// progressStep is how many bytes a peer must take or send within the timeout.
const progressStep = 64 << 10

// write writes b, with a fresh deadline for each progressStep. It returns how many bytes
// were written.
func (q *Queue) write(b []byte) (written int, err error) {
	for len(b) > 0 {
		n := len(b)
		if q.deadline != nil {
			n = min(n, progressStep)
			if err := q.deadline.SetWriteDeadline(time.Now().Add(q.o.Timeout)); err != nil {
				return written, err
			}
		}
		n, err := writeFull(q.w, b[:n])
		written += n
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// dequeue removes and returns the waiting frames, or nil if there are none. done means
// that Run must return err.
func (q *Queue) dequeue() (k *chunk, done bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.delivered += q.writing
	q.busy, q.writeCharge, q.writing = false, 0, 0
	if q.err != nil {
		return nil, true, q.err
	}
	gap := q.appendGap != nil && q.losses != nil && q.losses.missed != (Losses{})
	if q.chunk == nil && gap {
		q.chunk, q.losses.gapAt = q.firstChunk(0), 0
	}
	if q.chunk == nil {
		return nil, q.shut, nil
	}
	k, q.chunk = q.chunk, nil
	if gap {
		k.gap, k.gapAt = End(q.appendGap(Begin(nil), q.losses.missed), 0), q.losses.gapAt
		q.losses.missed = Losses{}
	}
	q.busy, q.writeCharge, q.writing = true, k.charged, uint64(k.deliveries)
	q.pending.Store(false)
	q.setRequiredBytes(0)
	q.batchHint = min(max(len(k.buf), q.batchHint-q.batchHint>>4), maxHint)
	return k, false, nil
}
