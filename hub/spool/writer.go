package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A writer is the one goroutine that writes: it takes what gathered in memory,
// writes it behind the last record, syncs, tells those who wait, and begins
// again with what gathered meanwhile. It also makes room and puts away segments
// that are done with. Nobody holds Spool.mu while the card works.
type writer struct {
	s *Spool

	file          file // the segment written to; nil if there is none
	name          string
	head          *header
	headerPending bool   // its header was not written yet
	off           int64  // where the next record goes
	writtenTo     int64  // up to here the file has blocks that were written
	allocatedTo   int64  // up to here it has blocks
	limit         int64  // where the segment ends
	prevCRC       uint32 // crc of the record before

	buf       []byte
	batch     batch
	callbacks []callback
	zeros     []byte

	lastPending uint64 // how many had records on their way when the last batch was safe

	linkCheckedAt time.Time // when there looked by name
	budgetWarnAt  uint64    // warnBudget says nothing before that, in ms of the spool's clock

	writeRecords    bool         // what is in memory is to be written, not only positions
	cur             cursor       // at the oldest record, to drop it
	oldest          oldestRecord // not valid if Seq is not above the floor
	expireAt        time.Time
	downsampleAt    time.Time // not thinned out before that
	preallocated    []string
	preallocatedN   int
	pendingRemovals []string // segments that could not be removed
	timer           *time.Timer

	hasReserve bool // the folder has the reserve
	diskFull   bool // the last write found no space
}

const (
	zeroAhead  = 256 << 10 // what is zeroed at once ahead of small writes
	allocAhead = 1 << 20   // the blocks that are taken at once for large ones
	// A write into blocks that were never written costs three pages in the journal,
	// one that must find blocks first five or more. Where the batch is as large as
	// that, zeros cost more.
	minAllocBatch  = 3 * pageSize
	minExtendBatch = 8 * pageSize
	reserveSize    = 4 * pageSize // a header, its copy, and all positions there can be
	retryEvery     = time.Second
	sequenceBlock  = 1 << 16
)

func newWriter(s *Spool) *writer {
	w := &writer{s: s, timer: time.NewTimer(time.Hour)}
	w.cur = cursor{s: s}
	return w
}

func (w *writer) run() {
	s := w.s
	for {
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing {
			w.shutdown()
			return
		}
		w.timer.Reset(w.runOnce())
		select {
		case <-s.wake:
		case <-w.timer.C:
		}
	}
}

// runOnce does what there is to do now and returns how long there is nothing more.
func (w *writer) runOnce() time.Duration {
	s := w.s
	for {
		now := time.Now()
		s.mu.Lock()
		due := w.due(now)
		s.mu.Unlock()
		if due {
			w.flush()
		}
		w.expire(now)
		again := w.retireSegments()
		s.mu.Lock()
		rest := w.idleTime(time.Now())
		again = (again || rest <= 0) && !s.closing
		s.mu.Unlock()
		if !again {
			return rest
		}
	}
}

// due tells whether something must go to the card now. Called under mu.
func (w *writer) due(now time.Time) bool {
	s := w.s
	if s.failing != nil {
		return !now.Before(s.retryAt)
	}
	if len(s.syncs) > 0 || w.mustWrite() {
		return true
	}
	return !s.commitAt.IsZero() && !now.Before(s.commitAt) || s.opt.Class == Telemetry && s.mem.size.n > 0 && w.untilFlush() <= 0
}

// mustWrite: what cannot wait.
func (w *writer) mustWrite() bool {
	s := w.s
	if s.opt.Class == Durable {
		return s.mem.size.n > 0
	}
	return s.mem.size.bytes > uint64(s.opt.Memory/2) || s.reserveLow()
}

// untilFlush is how long the oldest record may still be in memory only.
func (w *writer) untilFlush() time.Duration {
	first, ok := w.s.mem.first()
	if !ok {
		return w.s.opt.FlushEvery
	}
	return w.s.opt.FlushEvery - time.Duration(w.s.clock()-min(first.time, w.s.clock()))*time.Millisecond
}

// idleTime is how long nothing needs to be done. Called under mu.
func (w *writer) idleTime(now time.Time) time.Duration {
	s := w.s
	if w.due(now) {
		return 0
	}
	rest := time.Hour
	if s.failing != nil {
		return s.retryAt.Sub(now)
	}
	if !s.commitAt.IsZero() {
		rest = min(rest, s.commitAt.Sub(now))
	}
	if s.opt.Class == Telemetry && s.mem.size.n > 0 {
		rest = min(rest, w.untilFlush())
	}
	if s.opt.MaxAge > 0 && s.total.n > s.passed.n {
		rest = min(rest, max(w.expireAt.Sub(now), time.Millisecond))
	}
	return rest
}

// reserveLow tells that sequences given out will soon outrun what the card
// knows of. Called under mu.
func (s *Spool) reserveLow() bool {
	return s.opt.Class == Telemetry && s.next+sequenceBlock/2 > s.saved.reserved
}

// flush brings to the card what is to go there now.
func (w *writer) flush() {
	s := w.s
	s.mu.Lock()
	syncs := s.syncs
	s.syncs = nil
	probe := s.failing != nil
	// Positions and reservations are no reason to write telemetry, too, which may
	// never need to be.
	w.writeRecords = s.opt.Class == Durable || len(syncs) > 0 || probe || s.mem.size.bytes > uint64(s.opt.Memory/2) || w.untilFlush() <= 0
	s.commitAt = time.Time{}
	s.mu.Unlock()
	if probe {
		if err := w.reopenFolder(); err != nil {
			w.enterFailure(err, syncs)
			return
		}
		w.abandonSegment()
	}
	for more := true; more; {
		var err error
		if more, err = w.writeBatch(probe, false); err != nil {
			// What the sync that failed was to keep is not trusted to be there: all of
			// it is written again, in a segment of its own.
			s.logWarning("write failed; writing it again elsewhere", err)
			w.abandonSegment()
			if more, err = w.writeBatch(true, false); err != nil {
				w.abandonSegment()
				w.enterFailure(err, syncs)
				return
			}
		}
		probe = false
	}
	for _, done := range syncs {
		done <- nil
	}
	w.leaveFailure()
}

// writeBatch takes one batch to the card, as much as fits in the segment.
func (w *writer) writeBatch(force, final bool) (more bool, err error) {
	s := w.s
	if s.opt.Class == Durable {
		w.awaitGroupCommit()
	}
	w.gatherBatch(final)
	if !force && w.batch.empty() {
		w.releaseBatch()
		return false, nil
	}
	if w.file != nil && !w.segmentLinked() {
		err = &cardError{"write", ErrGone, errors.New("the file is no longer in the folder")}
	} else if err = w.ensureSegment(); err == nil {
		w.encodeBatch()
		err = w.writeAndSync()
	}
	if err != nil {
		w.releaseBatch()
		err = classify("write", err)
		w.diskFull = errors.Is(err, ErrNoSpace)
		return false, err
	}
	w.diskFull = false
	w.publish()
	w.warnBudget()
	return w.batch.more, nil
}

// segmentLinked tells whether what is written to is still a file of the folder; each
// second it looks by the name, too.
func (w *writer) segmentLinked() bool {
	if !w.file.Linked() {
		return false
	}
	if now := time.Now(); now.Sub(w.linkCheckedAt) >= time.Second {
		w.linkCheckedAt = now
		return w.s.disk.Same(w.name, w.file)
	}
	return true
}

// awaitGroupCommit lets those run who were just told of a batch, so that what they append
// next goes with this one: else two halves of the callers would take turns, and
// each wait for two syncs. It gives up soon, for they may not come back.
func (w *writer) awaitGroupCommit() {
	s := w.s
	until := time.Now().Add(time.Millisecond)
	for n, still := uint64(0), 0; still < 64; {
		s.mu.Lock()
		now := s.mem.size.n
		s.mu.Unlock()
		if now >= w.lastPending || time.Now().After(until) {
			return
		}
		if now > n {
			n, still = now, 0
		} else {
			still++
		}
		runtime.Gosched()
	}
}

// random returns a number nobody could have guessed.
func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return le.Uint64(b[:])
}

func (w *writer) nextPreallocatedName() string {
	w.preallocatedN++
	return fmt.Sprintf("%d%s", w.preallocatedN, preallocatedSuffix)
}
