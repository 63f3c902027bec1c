package spool

import "fmt"

// shutdown writes what is left, marks the log as closed and releases everything.
func (w *writer) shutdown() {
	s := w.s
	w.timer.Stop()
	err := w.writeRemaining()
	if err != nil {
		w.abandonSegment()
		w.enterFailure(err, nil)
		s.closeErr = fmt.Errorf("spool: close: %w", err)
	} else {
		w.retireSegments()
	}
	if w.file != nil && w.writtenTo > w.off {
		w.file.Truncate(w.off) // frees the zeros; a failure does no harm
	}
	w.closeFile()
	s.mu.Lock()
	s.closed = true
	next, logged := s.next, len(s.segs) > 0 && s.saved.closed
	syncs, readers := s.syncs, s.list
	s.syncs = nil
	s.mu.Unlock()
	if err == nil && logged {
		if err := writeID(s.disk, s.id, next); err != nil {
			s.logWarning("the id cannot be written", err)
		}
	}
	for _, done := range syncs {
		done <- s.closeErr
	}
	w.cur.release()
	for _, r := range readers {
		r.nextMu.Lock() // Next has been woken and returns
		r.cur.release()
		r.nextMu.Unlock()
	}
	if s.lock != nil {
		s.lock.Close()
	}
	s.logWear()
	close(s.done)
}

// writeRemaining writes all that is left. If the card fails once, it retries in a new
// segment.
func (w *writer) writeRemaining() error {
	s := w.s
	w.enforceBounds()
	for retried := false; ; {
		more, err := w.writeBatch(retried, true)
		switch {
		case err != nil && retried:
			return err
		case err != nil:
			s.logWarning("write failed; writing it again elsewhere", err)
			w.abandonSegment()
			retried = true
		case !more && len(w.batch.chunks)+len(w.batch.positions) == 0:
			return nil
		default:
			retried = false
		}
	}
}
