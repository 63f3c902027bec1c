package bformat

// Crowded reports whether frames that may not be dropped take more than a quarter of
// the limit: the peer asks faster than it reads the answers.
func (q *Queue) Backpressured() bool { return q.backpressured.Load() }

// Wait waits while the queue is crowded, and has Run write meanwhile. Whoever reads a
// connection calls it before it reads the next request, the answer to which may not be
// dropped: a peer that does not read is then not read either, and what waits for it
// stays bounded. Wait also returns when the queue ends.
func (q *Queue) Wait() {
	if !q.backpressured.Load() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.backpressured.Load() && q.err == nil && !q.shut {
		q.wakeRun()
		q.relieved.Wait()
	}
}

// crowd notes how many bytes wait that may not be dropped.
func (q *Queue) setRequiredBytes(required int) {
	q.requiredBytes = required
	over := required > q.limit/4
	if over != q.backpressured.Load() {
		q.backpressured.Store(over)
		if !over {
			q.relieved.Broadcast()
		}
	}
}
