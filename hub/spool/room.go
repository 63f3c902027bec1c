package spool

import (
	"slices"
	"time"
)

// advance moves the floor to where all readers are. Called under mu.
func (s *Spool) advance() {
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
	s.settleFloor()
}

// settleFloor does what follows from a higher floor. Called under mu.
func (s *Spool) settleFloor() {
	if s.total.n == s.passed.n {
		s.passed = s.total
	}
	if !s.writing {
		s.mem.trim(s.floor)
	}
	s.makeRoom()
	if len(s.segs) > 1 && s.segs[0].last <= s.floor {
		s.nudge()
	}
}

// commitSoon sees to it that positions are written in time. Called under mu.
func (s *Spool) commitSoon() {
	if s.commitAt.IsZero() {
		s.commitAt = time.Now().Add(s.opt.CommitEvery)
		s.nudge()
	}
}

// following is the segment after seg. Called under mu.
func (s *Spool) following(seg *segment) *segment {
	if i := slices.Index(s.segs, seg); i >= 0 && i+1 < len(s.segs) {
		return s.segs[i+1]
	}
	return nil
}

// trim lets go of what is too old or too much.
func (k *keeper) trim(now time.Time) {
	s := k.s
	k.makeRoomFor()
	if s.opt.MaxAge == 0 || now.Before(k.ageAt) {
		return
	}
	for {
		r, ok := k.peek()
		if !ok || s.clock() < r.Time+uint64(s.opt.MaxAge.Milliseconds()) {
			break
		}
		k.leave(r, &s.count.expired)
	}
	k.ageAt = now.Add(min(max(s.opt.MaxAge/16, time.Millisecond), time.Minute))
}

// makeRoomFor makes room for what is in memory, if the policy is to drop for it.
func (k *keeper) makeRoomFor() {
	s := k.s
	if s.opt.Full != DropOldest && s.opt.Full != ThinOut {
		return
	}
	for {
		s.mu.Lock()
		var pending tally
		if s.opt.Class == Durable {
			pending = s.mem.size
		}
		over := s.over(pending)
		s.mu.Unlock()
		if !over {
			return
		}
		if s.opt.Full == ThinOut && k.thin() {
			continue
		}
		r, ok := k.peek()
		if !ok {
			return
		}
		k.leave(r, &s.count.dropped.Oldest)
	}
}

// A peeked is the oldest record, as far as one needs to know to let it go.
type peeked struct {
	Seq, Time uint64
	size      uint64
	epoch     int
}

// peek looks at the oldest record.
func (k *keeper) peek() (peeked, bool) {
	s := k.s
	s.mu.Lock()
	floor, epoch := s.floor, s.epoch
	s.mu.Unlock()
	if k.oldest.Seq > floor && k.oldest.epoch == epoch {
		return k.oldest, true
	}
	if k.oldest.epoch != epoch {
		k.cur.seek(floor)
	}
	r, ok, _ := k.cur.next()
	k.oldest = peeked{r.Seq, r.Time, uint64(recordSize(len(r.Data))), epoch}
	return k.oldest, ok
}

// leave lets the oldest record go, for all readers, and counts it.
func (k *keeper) leave(r peeked, reason *uint64) {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.Seq <= s.floor || r.epoch != s.epoch {
		return
	}
	*reason++
	s.floor = r.Seq
	s.passed.add(tally{1, r.size})
	s.settleFloor()
	for _, r := range s.list {
		r.catchUp()
	}
	s.commitSoon()
}

// putAway takes segments that all readers are past out of the log. Their blocks
// are used again: they need neither zeros nor journal entries any more. A
// segment goes only when the card knows that everything in it may. It tells
// whether positions must be written for that.
func (k *keeper) putAway() (again bool) {
	s := k.s
	k.left = slices.DeleteFunc(k.left, func(name string) bool { return k.held() == nil && k.remove(name) })
	for {
		s.mu.Lock()
		if len(s.segs) < 2 || s.segs[0].last > s.floor {
			s.mu.Unlock()
			return false
		}
		s.mu.Unlock()
		if k.held() != nil {
			return false // it stays until the folder is back
		}
		s.mu.Lock()
		seg := s.segs[0]
		if low := max(s.saved.floor, k.savedFloor()); low < seg.last && seg.last >= seg.head.first {
			again = s.failing == nil && !s.closing
			if again {
				s.commitAt = time.Now()
			}
			s.mu.Unlock()
			return again
		}
		if seg.pins > 0 && s.segs[1].last > s.floor && seg != k.cur.seg {
			s.mu.Unlock() // its reader will soon go on to the next
			return false
		}
		if seg == k.cur.seg {
			k.cur.letGo()
		}
		seg.gone = true
		s.segs = slices.Delete(s.segs, 0, 1)
		pinned := seg.pins > 0
		hurt := seg.hurt()
		s.mu.Unlock()
		k.recycle(seg, pinned, hurt)
	}
}

// savedFloor is where all readers are at least, as far as the card knows: that of
// one that came or was forgotten it may not know yet. Called under mu.
func (k *keeper) savedFloor() uint64 {
	s := k.s
	if len(s.list) == 0 || len(s.leaving) > 0 || slices.ContainsFunc(s.list, func(r *Reader) bool { return !r.known }) {
		return 0
	}
	return k.savedLow()
}
