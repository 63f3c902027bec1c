package bformat

// Crowded reports whether frames that may not be dropped take more than a quarter of
// the limit: the peer asks faster than it reads the answers.
func (q *Queue) Crowded() bool { return q.crowded.Load() }

// Wait waits while the queue is crowded, and has Run write meanwhile. Whoever reads a
// connection calls it before it reads the next request, the answer to which may not be
// dropped: a peer that does not read is then not read either, and what waits for it
// stays bounded. Wait also returns when the queue ends.
func (q *Queue) Wait() {
	if !q.crowded.Load() {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	for q.crowded.Load() && q.err == nil && !q.shut {
		q.rouse()
		q.thinned.Wait()
	}
}

// crowd notes how many bytes wait that may not be dropped.
func (q *Queue) crowd(firm int) {
	q.firm = firm
	crowded := firm > q.limit/4
	if crowded != q.crowded.Load() {
		q.crowded.Store(crowded)
		if !crowded {
			q.thinned.Broadcast()
		}
	}
}
