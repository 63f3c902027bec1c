package spool

import (
	"slices"
	"time"
)

// advanceFloor moves the floor, the low-water mark, to the lowest position of all
// readers. Called under mu.
func (s *Spool) advanceFloor() {
	if len(s.list) == 0 {
		return
	}
	low := s.list[0]
	for _, r := range s.list {
		if r.committed < low.committed {
			low = r
		}
	}
	if low.committed <= s.floor {
		return
	}
	s.count.delivered += low.passed.n - min(low.passed.n, s.passed.n)
	s.floor, s.passed = low.committed, low.passed
	s.floorAdvanced()
}

// floorAdvanced does what follows from a higher floor. Called under mu.
func (s *Spool) floorAdvanced() {
	if s.total.n == s.passed.n {
		s.passed = s.total
	}
	if !s.writing {
		s.mem.trim(s.floor)
	}
	s.signalSpace()
	if len(s.segs) > 1 && s.segs[0].last <= s.floor {
		s.wakeWriter()
	}
}

// scheduleCommit sees to it that positions are written within CommitEvery. Called
// under mu.
func (s *Spool) scheduleCommit() {
	if s.commitAt.IsZero() {
		s.commitAt = time.Now().Add(s.opt.CommitEvery)
		s.wakeWriter()
	}
}

// segmentAfter is the successor of seg; nil if there is none. Called under mu.
func (s *Spool) segmentAfter(seg *segment) *segment {
	if i := slices.Index(s.segs, seg); i >= 0 && i+1 < len(s.segs) {
		return s.segs[i+1]
	}
	return nil
}

// expire drops records older than MaxAge, and enforces the other bounds.
func (w *writer) expire(now time.Time) {
	s := w.s
	w.enforceBounds()
	if s.opt.MaxAge == 0 || now.Before(w.expireAt) {
		return
	}
	for {
		r, ok := w.peekOldest()
		if !ok || s.clock() < r.Time+uint64(s.opt.MaxAge.Milliseconds()) {
			break
		}
		w.dropOldest(r, &s.count.expired)
	}
	w.expireAt = now.Add(min(max(s.opt.MaxAge/16, time.Millisecond), time.Minute))
}

// enforceBounds drops or downsamples old records until those in memory fit, if that
// is the policy.
func (w *writer) enforceBounds() {
	s := w.s
	if s.opt.Overflow != DropOldest && s.opt.Overflow != Downsample {
		return
	}
	for {
		s.mu.Lock()
		var pending recordCount
		if s.opt.Class == Durable {
			pending = s.mem.size
		}
		over := s.overBounds(pending)
		s.mu.Unlock()
		if !over {
			return
		}
		if s.opt.Overflow == Downsample && w.downsample() {
			continue
		}
		r, ok := w.peekOldest()
		if !ok {
			return
		}
		w.dropOldest(r, &s.count.dropped.Oldest)
	}
}

// An oldestRecord is what must be known of the oldest record to drop it.
type oldestRecord struct {
	Seq, Time uint64
	size      uint64
	epoch     int
}

// peekOldest returns the oldest record without dropping it.
func (w *writer) peekOldest() (oldestRecord, bool) {
	s := w.s
	s.mu.Lock()
	floor, epoch := s.floor, s.epoch
	s.mu.Unlock()
	if w.oldest.Seq > floor && w.oldest.epoch == epoch {
		return w.oldest, true
	}
	if w.oldest.epoch != epoch {
		w.cur.seek(floor)
	}
	r, ok, _ := w.cur.next()
	w.oldest = oldestRecord{r.Seq, r.Time, uint64(recordSize(len(r.Data))), epoch}
	return w.oldest, ok
}

// dropOldest drops the oldest record, for all readers, and counts it.
func (w *writer) dropOldest(r oldestRecord, reason *uint64) {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Seq <= s.floor || r.epoch != s.epoch {
		return
	}
	*reason++
	s.floor = r.Seq
	s.passed.add(recordCount{1, r.size})
	s.floorAdvanced()
	for _, r := range s.list {
		r.skipToFloor()
	}
	s.scheduleCommit()
}

// retireSegments takes segments that all readers are past out of the log and recycles
// their files: their blocks need neither zeros nor journal entries. A segment is
// retired only when the positions on the card allow it. commitFirst tells that
// positions must be written for that.
func (w *writer) retireSegments() (commitFirst bool) {
	s := w.s
	w.pendingRemovals = slices.DeleteFunc(w.pendingRemovals, func(name string) bool { return w.checkLock() == nil && w.remove(name) })
	for {
		s.mu.Lock()
		if len(s.segs) < 2 || s.segs[0].last > s.floor {
			s.mu.Unlock()
			return false
		}
		s.mu.Unlock()
		if w.checkLock() != nil {
			return false // the segment stays until the folder is back
		}
		s.mu.Lock()
		seg := s.segs[0]
		if low := max(s.saved.floor, w.savedFloor()); low < seg.last && seg.last >= seg.head.first {
			commitFirst = s.failing == nil && !s.closing
			if commitFirst {
				s.commitAt = time.Now()
			}
			s.mu.Unlock()
			return commitFirst
		}
		if seg.pins > 0 && s.segs[1].last > s.floor && seg != w.cur.seg {
			s.mu.Unlock() // its reader will soon go on to the next
			return false
		}
		if seg == w.cur.seg {
			w.cur.releaseLocked()
		}
		seg.retired = true
		s.segs = slices.Delete(s.segs, 0, 1)
		pinned := seg.pins > 0
		damaged := seg.damaged()
		s.mu.Unlock()
		w.recycle(seg, pinned, damaged)
	}
}

// savedFloor is the lowest position of all readers that is on the card. It is 0 while
// a new or removed reader is not known to the card. Called under mu.
func (w *writer) savedFloor() uint64 {
	s := w.s
	if len(s.list) == 0 || len(s.removedReaders) > 0 || slices.ContainsFunc(s.list, func(r *Reader) bool { return !r.known }) {
		return 0
	}
	return w.lowestSaved()
}
