package bformat

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// The way of a frame through a Queue:
//
//  1. Begin locks the queue and returns its buffer; the caller encodes into it.
//  2. End decides whether the frame stays, notes its size, and unlocks. (A Stage does
//     both for many frames at once.)
//  3. Flush wakes the goroutine in Run.
//  4. Run dequeues the whole buffer under the lock, and
//  5. writes it in one Write without the lock, while the next buffer fills.
//
// The deliveries among the frames are counted, and each ends in one counter: see QueueStats.

// An OverflowPolicy says what happens to a droppable frame when a Queue is full.
type OverflowPolicy int

const (
	// DropOldest drops the oldest droppable frames of the senders that hold most of the
	// queue, until a quarter of the limit is free: no sender loses a frame while another
	// one holds more. If required frames fill more than half of the limit, it drops the
	// new frame instead.
	DropOldest OverflowPolicy = iota
	// DropNewest drops the new frame.
	DropNewest
	// Close ends the queue with ErrFull; its owner closes the connection.
	Close
)

// QueueOptions are the options of a Queue. The zero value works.
type QueueOptions struct {
	// Limit is how many bytes of frames may wait, headers included. One droppable frame
	// longer than that may wait besides. Frames that are being written do not count; they
	// are never more than waited before. If zero, 256 KiB.
	Limit int

	// Overflow is what happens to droppable frames over Limit. If zero, DropOldest.
	Overflow OverflowPolicy

	// Timeout is how long the peer may take for 64 KiB; if it takes longer, the queue
	// ends. It needs a writer with SetWriteDeadline, which every net.Conn has.
	// If zero, 30 s; if negative, there is no timeout.
	Timeout time.Duration

	// Budget is charged for waiting frames over 8 KiB, and likewise for frames that are
	// being written. If it has too little left, the queue counts as full (see Overflow) once
	// its present memory is used up; it always gets 32 KiB while nothing is being written.
	// Required frames get the memory that they need, but the queue is Backpressured
	// earlier. If nil, there is no limit.
	Budget *Budget

	// OnLoss is called after deliveries were lost, with their number by reason. It may be
	// called from several goroutines at once and blocks the one whose frame was dropped.
	// If nil, losses are only counted.
	OnLoss func(Losses)
}

// maxHint bounds the preallocation, in bytes.
const maxHint = 64 << 10

// A Queue is the bounded send queue of a connection. Any number of goroutines put frames
// into it; one goroutine, in Run, writes all waiting frames in one system call.
//
// A droppable frame may be dropped and counted when the peer is slow, as QueueOptions.Overflow
// says. One that is longer than the limit is queued beside shorter ones, if no other such
// frame waits and the Budget has the memory. Required frames are
// queued in order even past the limit; their number must be bounded by what the peer may
// request, which Wait ensures. If twice the limit already waits, the longest frame not
// counted, a further required frame ends the queue with ErrFull.
//
// An empty queue holds no buffer. A queue ends by Shutdown, Fail or an error of the writer.
type Queue struct {
	w             io.Writer
	deadline      interface{ SetWriteDeadline(time.Time) error } // nil: w has none
	o             QueueOptions
	wake          chan struct{} // holds one token for Run
	pending       atomic.Bool   // frames were queued that Run has not seen
	backpressured atomic.Bool   // requiredBytes is more than a quarter of the limit
	relieved      sync.Cond     // backpressured became false, or the queue has ended

	mu            sync.Mutex
	chunk         *chunk // the waiting frames; nil if there are none
	limit         int    // o.Limit, or less while the Budget has too little left
	busy          bool   // a write is in flight
	writeCharge   int    // bytes of the Budget that it holds
	requiredBytes int    // bytes of required frames in chunk
	batchHint     int    // decaying maximum of the bytes in a write, for preallocation
	frameHint     int    // decaying maximum of the bytes in a frame, for preallocation
	enqueued      uint64 // frames
	accepted      uint64 // deliveries
	delivered     uint64
	writing       uint64     // deliveries of the write in flight
	losses        *lossState // nil: none
	appendGap     func(dst []byte, missed Losses) []byte
	shut          bool
	err           error // why it ended
}

// NewQueue returns a Queue onto w. Nothing is written before Run is called. A write
// deadline on w belongs to the queue from then on.
func NewQueue(w io.Writer, o QueueOptions) *Queue {
	if o.Limit <= 0 {
		o.Limit = 256 << 10
	}
	o.Limit = min(o.Limit, MaxPayload/4)
	if o.Timeout == 0 {
		o.Timeout = 30 * time.Second
	}
	q := &Queue{w: w, o: o, wake: make(chan struct{}, 1), limit: o.Limit}
	q.relieved.L = &q.mu
	if o.Timeout > 0 {
		q.deadline, _ = w.(interface{ SetWriteDeadline(time.Time) error })
	}
	return q
}

// TellGaps has Run tell the peer of the deliveries that it misses. appendGap appends the
// payload of a frame that tells how many were lost since the last such frame, and why. That
// frame comes where the first of them would have been, at most one with each Write. It is
// called by Run, with the queue locked. TellGaps must be called before Run.
func (q *Queue) TellGaps(appendGap func(dst []byte, missed Losses) []byte) { q.appendGap = appendGap }

// Begin locks the queue and returns its buffer, to which the caller appends the payload
// of exactly one frame before it calls End or Cancel. Until then it must do nothing but
// encode: not block, not panic, not touch the queue or what is already in the buffer.
func (q *Queue) Begin() []byte {
	q.mu.Lock()
	q.reserve(q.frameHint)
	return Begin(q.chunk.buf)
}

// reserve ensures that there is a chunk, with room for n more bytes if the Budget has enough left.
func (q *Queue) reserve(n int) {
	if q.chunk == nil {
		q.chunk = q.firstChunk(max(n, q.batchHint))
	}
	if n += len(q.chunk.buf); n > cap(q.chunk.buf) {
		q.grow(n)
	}
}

// End queues the frame begun with Begin and unlocks the queue. b is what Begin returned
// with the payload appended. A nil error means that the frame is in memory, in order, and
// will be written unless it is dropped first or the queue ends. It is not written before
// Flush is called, unless a write is in flight or the queue is half full, so a batch costs
// one wake-up.
//
// It returns the error that the queue ended with, ErrShutdown after Shutdown, a
// *LimitError for a payload over MaxPayload, or a *DropError for a frame that is dropped
// at once. Such a frame is not queued, nor counted in QueueStats.
func (q *Queue) End(b []byte, c Class) error {
	var lost Losses
	err := q.enqueue(b, c, &lost)
	q.mu.Unlock()
	q.reportLosses(&lost)
	return err
}

// enqueue decides whether the new frame at the end of b is queued or dropped, and makes
// room for it. It adds to lost the deliveries that were dropped for it.
func (q *Queue) enqueue(b []byte, c Class, lost *Losses) (err error) {
	droppable := c.droppable()
	start := len(q.chunk.buf)
	n := len(b) - start // the frame with its header
	switch {
	case q.err != nil:
		err = q.err
	case q.shut:
		err = ErrShutdown
	case n-HeaderSize > MaxPayload:
		err = &LimitError{Length: uint32(n - HeaderSize), Limit: MaxPayload}
	}
	if err != nil {
		q.releaseIfEmpty()
		return err
	}

	q.frameHint = min(max(n, q.frameHint-q.frameHint>>6), maxHint)
	if !droppable && start-q.chunk.longest > 2*q.o.Limit {
		return q.fail(ErrFull, lost)
	}
	if len(b) > cap(q.chunk.buf) || len(b) > q.limit && q.limit < q.o.Limit {
		b = q.growFor(b, droppable)
		q.chunk.buf = q.chunk.buf[:start] // without the new frame, which may yet be dropped
	}
	limit := q.limitWith(b, n)
	overflow := droppable && len(b) > limit
	if overflow {
		why := LossFull
		if q.limit < q.o.Limit || len(b) > cap(q.chunk.buf) {
			q.o.Budget.starved.Add(1)
			why = LossMemory
		}
		switch {
		case q.o.Overflow == DropNewest, q.o.Overflow == DropOldest && (q.requiredBytes > q.limit/2 || q.requiredBytes+n > limit):
			return q.dropNew(why)
		case q.o.Overflow == Close:
			return q.fail(ErrFull, lost)
		}
		b = q.dropOldest(b, n, limit, why, lost)
		start = len(b) - n
	}

	b = End(b, start)
	q.chunk.longest = max(q.chunk.longest, n)
	q.chunk.classes = append(q.chunk.classes, c)
	q.countQueued(1, c.deliveries())
	if !droppable {
		q.setRequiredBytes(q.requiredBytes + n)
	}
	if cap(b) != cap(q.chunk.buf) { // append reallocated b, so it lies outside the pooled chunk
		b = append(q.chunk.buf[:0], b...)
	}
	q.chunk.buf = b
	if len(b) > q.limit/2 {
		q.wakeRun() // waiting for Flush may be too late
	}
	return nil
}

// limitWith returns how many bytes may wait, where b is the chunk with a new frame of n
// bytes: the limit, and beside it one longer frame for which the memory has been found.
func (q *Queue) limitWith(b []byte, n int) int {
	longest := max(n, q.chunk.longest)
	if longest <= q.o.Limit || len(b) > cap(q.chunk.buf) {
		return q.limit
	}
	return q.limit + longest
}

// countQueued counts frames that were added to the chunk, and the deliveries among them.
func (q *Queue) countQueued(frames, deliveries int) {
	q.enqueued += uint64(frames)
	q.chunk.frames += frames
	q.chunk.deliveries += deliveries
	q.accepted += uint64(deliveries)
	if !q.pending.Load() { // cheaper than storing it each time
		q.pending.Store(true)
	}
}

// Cancel abandons the frame begun with Begin and unlocks the queue.
func (q *Queue) Cancel() {
	q.releaseIfEmpty()
	q.mu.Unlock()
}

// Put queues one frame, whose payload is the parts one after the other; they are copied.
// It returns what End returns.
func (q *Queue) Put(c Class, parts ...[]byte) error {
	n, err := payloadSize(parts)
	if err != nil {
		return err
	}
	q.mu.Lock()
	q.reserve(max(HeaderSize+n, q.frameHint))
	b := Begin(q.chunk.buf)
	for _, p := range parts {
		b = append(b, p...)
	}
	return q.End(b, c)
}

// Flush has Run write the waiting frames. It does not block.
func (q *Queue) Flush() {
	if q.pending.Load() {
		q.wakeRun()
	}
}

// wakeRun makes Run check the queue once more.
func (q *Queue) wakeRun() {
	select {
	case q.wake <- struct{}{}:
	default: // Run has not checked since the last call, so it will see the new frames too
	}
}

// Shutdown refuses further frames with ErrShutdown. Run writes the waiting frames, then returns.
func (q *Queue) Shutdown() {
	q.mu.Lock()
	q.shut = true
	q.relieved.Broadcast()
	q.mu.Unlock()
	q.wakeRun()
}

// Fail ends the queue with err, if it has not ended before: it drops and counts the waiting
// frames, and End and Run return err. Fail does not interrupt a Write in flight; for that,
// the owner closes the connection. A nil err means io.ErrClosedPipe.
func (q *Queue) Fail(err error) {
	if err == nil {
		err = io.ErrClosedPipe
	}
	var lost Losses
	q.mu.Lock()
	q.fail(err, &lost)
	q.mu.Unlock()
	q.reportLosses(&lost)
}

// Waiting returns how many frames wait and their bytes, headers included. Frames that are
// being written no longer wait.
func (q *Queue) Waiting() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.chunk == nil {
		return 0, 0
	}
	return q.chunk.frames, len(q.chunk.buf)
}

// Enqueued returns how many frames were queued so far; some of them may have been dropped since.
func (q *Queue) Enqueued() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.enqueued
}

// Err returns the error that the queue ended with, nil while it works or after Shutdown.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}
