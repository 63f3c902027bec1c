package session

import "github.com/besterhub/bester/hub"

// Flush starts writing what is staged and queued. The owner calls it.
func (s *session) Flush() {
	s.unstage()
	s.owner.Store(nil)
	s.out.Flush()
}

// Unstage puts what b has staged into the queue.
func (s *session) Unstage(b *hub.Batch) {
	if s.ownedBy(b) {
		s.unstage()
	}
}

func (s *session) unstage() {
	s.staged = false
	s.flushStage()
}

// flushStage passes what is staged to the queue. Only the owner's goroutine calls it.
func (s *session) flushStage() {
	s.stageError(s.stage.Flush())
}

// stageError is queueError for an error of the stage.
func (s *session) stageError(err error) error {
	if err == nil {
		return nil
	}
	if n := s.stage.Lost(); n > 0 {
		s.server.deliveries.lostLate(s.user, uint64(n))
	}
	return s.queueError(err)
}

// scheduleFlush has b flush the session, unless another batch will.
func (s *session) scheduleFlush(b *hub.Batch) {
	if b == nil {
		s.out.Flush()
		return
	}
	if s.owner.Load() == nil && s.owner.CompareAndSwap(nil, b) {
		b.Add(s)
	}
}

// ownedBy reports whether b will flush the session: then only its goroutine uses the stage.
func (s *session) ownedBy(b *hub.Batch) bool { return b != nil && s.owner.Load() == b }

// shouldStage reports whether deliveries of b are staged, so that a burst of them locks the
// queue once for many.
func (s *session) shouldStage(b *hub.Batch) bool {
	if s.ownedBy(b) && !s.staged {
		s.staged = b.Stage(s)
	}
	return s.ownedBy(b) && s.staged
}
