package spool

import "fmt"

// end writes what is left, marks the log as ended and lets go of everything.
func (k *keeper) end() {
	s := k.s
	k.timer.Stop()
	err := k.writeLast()
	if err != nil {
		k.abandon()
		k.failed(err, nil)
		s.final = fmt.Errorf("spool: close: %w", err)
	} else {
		k.putAway()
	}
	if k.f != nil && k.alloc > k.off {
		k.f.Truncate(k.off) // gives back the zeros; if not, nothing is lost
	}
	k.closeFile()
	s.mu.Lock()
	s.closed = true
	next, logged := s.next, len(s.segs) > 0 && s.saved.closed
	syncs, readers := s.syncs, s.list
	s.syncs = nil
	s.mu.Unlock()
	if err == nil && logged {
		if err := writeID(s.disk, s.id, next); err != nil {
			s.report("the id cannot be written", err)
		}
	}
	for _, done := range syncs {
		done <- s.final
	}
	k.cur.close()
	for _, r := range readers {
		r.reading.Lock() // Next has been woken and returns
		r.cur.close()
		r.reading.Unlock()
	}
	if s.lock != nil {
		s.lock.Close()
	}
	s.logWear()
	close(s.done)
}

// writeLast writes all that is left, elsewhere if the card fails once.
func (k *keeper) writeLast() error {
	s := k.s
	k.makeRoomFor()
	for retried := false; ; {
		more, err := k.write(retried, true)
		switch {
		case err != nil && retried:
			return err
		case err != nil:
			s.report("write failed; writing it again elsewhere", err)
			k.abandon()
			retried = true
		case !more && len(k.batch.chunks)+len(k.batch.positions) == 0:
			return nil
		default:
			retried = false
		}
	}
}
