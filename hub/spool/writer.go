package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A writer is the one goroutine that writes to the card. It takes the records that
// gathered in memory, writes them behind the last record, syncs, calls the appenders
// back, and begins again with what gathered meanwhile (group commit). It also
// enforces the bounds and retires segments that are done with. Nobody holds Spool.mu
// while the card works.
type writer struct {
	s *Spool

	file          file // the segment written to; nil if there is none
	name          string
	head          *header
	headerPending bool   // the header is not written yet
	off           int64  // where the next record goes
	writtenTo     int64  // blocks before this were written
	allocatedTo   int64  // blocks before this are allocated
	limit         int64  // where the segment ends
	prevCRC       uint32 // crc of the record before

	buf       []byte
	batch     batch
	callbacks []callback
	zeros     []byte

	lastPending uint64 // records that were in flight when the last batch was safe

	linkCheckedAt time.Time // when segmentLinked last checked the name
	budgetWarnAt  uint64    // warnBudget is silent until then, in ms of the spool's clock

	writeRecords    bool         // write records too, not only positions
	cur             cursor       // at the oldest record, which is dropped next
	oldest          oldestRecord // not valid if Seq is not above the floor
	expireAt        time.Time
	downsampleAt    time.Time // no downsampling before that
	preallocated    []string
	preallocatedN   int
	pendingRemovals []string // segments that could not be removed
	timer           *time.Timer

	hasReserve bool // the folder has the reserve
	diskFull   bool // the last write failed with ErrNoSpace
}

const (
	zeroAhead  = 256 << 10 // zeros written at once ahead of small writes
	allocAhead = 1 << 20   // bytes allocated at once for large writes
	// A write into allocated blocks that were never written costs three pages in the
	// journal. A write that must allocate blocks first costs five or more. Zeros are
	// dearer than that for a batch of this size.
	minAllocBatch  = 3 * pageSize
	minExtendBatch = 8 * pageSize
	reserveSize    = 4 * pageSize // a header, its copy, and the largest possible set of positions
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

// runOnce does all that is due now and returns how long nothing more is due.
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

// due tells whether something must be written now. Called under mu.
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

// mustWrite tells whether there are records that cannot wait.
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

// idleTime is how long nothing is due. Called under mu.
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

// reserveLow tells whether the sequences in use come close to the end of the block
// that is reserved on the card. Called under mu.
func (s *Spool) reserveLow() bool {
	return s.opt.Class == Telemetry && s.next+sequenceBlock/2 > s.saved.reserved
}

// flush writes all that is due, in one batch or more.
func (w *writer) flush() {
	s := w.s
	s.mu.Lock()
	syncs := s.syncs
	s.syncs = nil
	probe := s.failing != nil
	// Positions and reservations alone do not cause telemetry to be written: it may
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
			// After a failed sync the state of its writes is unknown. The whole batch is
			// written again, in a new segment.
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

// writeBatch writes one batch to the card, as much as fits in the segment.
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
		err = &diskError{"write", ErrGone, errors.New("the file is no longer in the folder")}
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

// segmentLinked tells whether the open segment is still a file of the folder. Once a
// second it checks the name, too.
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

// awaitGroupCommit yields to the callers of the last batch, so that what they append
// next joins this one. Otherwise two halves of the callers take turns, and each waits
// for two syncs. It gives up after a millisecond, for callers may not come back.
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

// random returns an unpredictable number.
func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return le.Uint64(b[:])
}

func (w *writer) nextPreallocatedName() string {
	w.preallocatedN++
	return fmt.Sprintf("%d%s", w.preallocatedN, preallocatedSuffix)
}
