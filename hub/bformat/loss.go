package bformat

import "fmt"

// Dropping frames, and counting what became of the deliveries. All methods in lower case
// but reportLosses and countUnwritten need the lock.

// A Class says what a Queue may do with a frame and how it counts it.
type Class uint16

const (
	// Required frames are never dropped while the queue lasts. They are not counted.
	Required Class = iota
	// RequiredDelivery is the class of a delivery that is Required, but counted.
	RequiredDelivery
	firstDroppable
)

// Droppable returns the class of a delivery that may be dropped. When the queue is full,
// the senders with most in it lose first; sender, a hash, tells them apart, as well as 16
// bits can.
func Droppable(sender uint32) Class {
	return max(Class(sender), firstDroppable)
}

func (c Class) droppable() bool { return c >= firstDroppable }

// deliveries returns how many deliveries a frame of the class is.
func (c Class) deliveries() int {
	if c == Required {
		return 0
	}
	return 1
}

// A Loss is a reason why a Queue lost a delivery. Those from OwnerLoss on, below NumLosses, are
// for the owner of the Queue to define: hub.Loss has them all.
type Loss uint8

const (
	LossFull   Loss = iota // the queue was full
	LossMemory             // the queue was full because the Budget had too little left
	LossEnded              // the queue ended, or a write failed, before it was written whole
	OwnerLoss              // the first that the owner defines
	NumLosses  = 10        // how many there are, with those of the owner
)

// Losses counts lost deliveries by reason.
type Losses [NumLosses]uint64

// Total returns the sum of all reasons.
func (l *Losses) Total() (n uint64) {
	for _, v := range l {
		n += v
	}
	return n
}

// QueueStats counts the deliveries of a Queue. At any time
//
//	Accepted = Delivered + Lost.Total() + Queued
type QueueStats struct {
	Accepted  uint64 // put into the queue, or flushed into it by a Stage
	Delivered uint64 // written, whole, to the writer
	Queued    uint64 // waiting, or in a write in flight
	Lost      Losses // by reason
}

// Stats returns the counters as they are now.
func (q *Queue) Stats() QueueStats {
	q.mu.Lock()
	defer q.mu.Unlock()
	s := QueueStats{Accepted: q.accepted, Delivered: q.delivered}
	if q.losses != nil {
		s.Lost = q.losses.lost
	}
	s.Queued = q.writing
	if q.chunk != nil {
		s.Queued += uint64(q.chunk.deliveries)
	}
	return s
}

// A DropError says that a droppable frame was dropped at once.
type DropError struct {
	Reason Loss // LossFull or LossMemory
}

var dropErrors = [...]*DropError{LossFull: {LossFull}, LossMemory: {LossMemory}}

// Error returns the reason in words.
func (e *DropError) Error() string {
	if e.Reason == LossMemory {
		return "bformat: queue: no memory left for the frame"
	}
	return "bformat: queue: no room for the frame"
}

// Miss notes that the peer misses a delivery that was never put into the queue, so that
// TellGaps tells it. It is not counted in QueueStats.
func (q *Queue) Miss(why Loss) {
	if q.appendGap == nil {
		return
	}
	q.mu.Lock()
	if q.err == nil && !q.shut {
		q.miss(why, 1, q.waitingBytes())
	}
	q.mu.Unlock()
}

func (q *Queue) waitingBytes() int {
	if q.chunk == nil {
		return 0
	}
	return len(q.chunk.buf)
}

// miss notes that the peer misses n deliveries, the first of them before the frame at an
// offset in the chunk.
func (q *Queue) miss(why Loss, n uint64, at int) {
	l := q.lossState()
	if l.missed == (Losses{}) {
		l.gapAt = at
	}
	l.gapAt = min(l.gapAt, at)
	l.missed[why] += n
	if !q.pending.Load() {
		q.pending.Store(true) // the peer is told, also if nothing else comes
	}
}

// dropOldest makes room in b, which is the chunk with a new frame of n bytes at its end
// that is not yet counted. It drops the oldest droppable frames of the senders with most
// bytes in b, until a quarter of the queue's limit is free below limit, or as much as the
// required frames leave; it never drops the new frame. Because one pass frees that much,
// its cost is amortized over the bytes that follow.
func (q *Queue) dropOldest(b []byte, n, limit int, why Loss, lost *Losses) []byte {
	excess := len(b) - max(limit-q.limit/4, q.requiredBytes+n)
	k := q.chunk
	quota := newQuotas(b[:len(b)-n], k.classes, excess)
	defer quota.release()
	r, w, kept, longest, dropped, freed, first := 0, 0, 0, 0, 0, 0, -1
	for _, c := range k.classes {
		size := frameSize(b[r:])
		if freed < excess && c.droppable() && quota.take(c, size) {
			freed += size
			dropped++
			if first < 0 {
				first = w
			}
		} else {
			if w != r {
				copy(b[w:], b[r:r+size])
			}
			w += size
			longest = max(longest, size)
			k.classes[kept] = c
			kept++
		}
		r += size
	}
	w += copy(b[w:], b[r:])
	if dropped > 0 {
		k.classes, k.frames, k.deliveries, k.longest = k.classes[:kept], k.frames-dropped, k.deliveries-dropped, longest
		q.countLost(why, uint64(dropped), lost)
		q.miss(why, uint64(dropped), first)
	}
	return b[:w]
}

// A lossState is the part of a Queue that only those need that have lost something.
type lossState struct {
	lost   Losses // see QueueStats
	missed Losses // that the peer has not been told of
	gapAt  int    // offset in chunk of the first of them
}

func (q *Queue) lossState() *lossState {
	if q.losses == nil {
		q.losses = new(lossState)
	}
	return q.losses
}

// countLost counts deliveries that were lost, also in lost.
func (q *Queue) countLost(why Loss, n uint64, lost *Losses) {
	if n > 0 {
		q.lossState().lost[why] += n
		lost[why] += n
	}
}

// dropNew drops the new frame. The peer misses it, as long as a write may tell it.
func (q *Queue) dropNew(why Loss) error {
	q.miss(why, 1, len(q.chunk.buf))
	q.releaseIfEmpty()
	return dropErrors[why]
}

// fail ends the queue with err, and counts all waiting deliveries as lost. It returns the
// error that the queue ended with first.
func (q *Queue) fail(err error, lost *Losses) error {
	if q.err == nil {
		q.err = err
	}
	if q.chunk != nil {
		q.countLost(LossEnded, uint64(q.chunk.deliveries), lost)
		q.chunk.clear()
	}
	q.setRequiredBytes(0)
	q.relieved.Broadcast()
	q.releaseIfEmpty()
	q.wakeRun()
	return q.err
}

// countUnwritten counts as lost the deliveries of k that were not written whole, where the
// write ended after n bytes. It is called without the lock.
func (q *Queue) countUnwritten(k *chunk, n int) {
	r, unwritten := 0, uint64(0)
	for _, c := range k.classes {
		r += frameSize(k.buf[r:])
		if r > n {
			unwritten += uint64(c.deliveries())
		}
	}
	var lost Losses
	q.mu.Lock()
	q.writing -= unwritten
	q.countLost(LossEnded, unwritten, &lost)
	q.mu.Unlock()
	q.reportLosses(&lost)
}

// releaseIfEmpty releases the chunk if no frame waits in it.
func (q *Queue) releaseIfEmpty() {
	if q.chunk != nil && q.chunk.frames == 0 {
		q.releaseChunk(q.chunk)
		q.chunk = nil
	}
}

// reportLosses calls QueueOptions.OnLoss. It is called without the lock.
func (q *Queue) reportLosses(lost *Losses) {
	if q.o.OnLoss != nil && *lost != (Losses{}) {
		q.o.OnLoss(*lost)
	}
}

// String returns the reason in words.
func (l Loss) String() string {
	switch l {
	case LossFull:
		return "queue full"
	case LossMemory:
		return "out of memory"
	case LossEnded:
		return "queue ended"
	}
	return fmt.Sprintf("reason %d", l)
}
