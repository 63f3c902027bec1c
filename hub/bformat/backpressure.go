package bformat

// Backpressured reports whether required frames take more than a quarter of the limit:
// the peer sends requests faster than it reads the answers.
func (q *Queue) Backpressured() bool { return q.backpressured.Load() }

// Wait blocks while the queue is backpressured, and has Run write meanwhile. The reader of
// a connection calls it before it reads the next request, whose answer is a required
// frame: a peer that does not read is then not read from either, so the queue stays
// bounded. Wait also returns when the queue ends.
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

// setRequiredBytes records how many bytes of required frames wait, and wakes Wait when the
// backpressure ends.
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
