package bformat

import (
	"io"
	"sync"
	"sync/atomic"
	"time"
)

// The way of a frame through a Queue:
//
//  1. Begin locks the queue and lends its buffer; the caller encodes into it.
//  2. End decides whether the frame stays, notes its size, and unlocks. (A Stage does
//     both for many frames at once.)
//  3. Flush wakes the goroutine in Run.
//  4. Run takes the whole buffer away under the lock, and
//  5. writes it in one Write without the lock, while the next buffer fills.

// Full says what happens to a droppable frame that finds a Queue full.
type OverflowPolicy int

const (
	// DropOldest drops the oldest droppable frames, until a quarter of the limit is
	// free. Where frames that may not be dropped fill more than half of the limit,
	// the new frame is dropped instead.
	DropOldest OverflowPolicy = iota
	// DropNewest drops the new frame.
	DropNewest
	// Close ends the queue with ErrFull; its owner closes the connection.
	Close
)

// QueueOptions are the options of a Queue. The zero value works.
type QueueOptions struct {
	// Limit is how many bytes of frames may wait, headers included. What is being
	// written does not count; it is never more than waited before. If zero, 256 KiB.
	Limit int

	// Full is what happens to droppable frames over Limit. If zero, DropOldest.
	Full OverflowPolicy

	// Timeout is how long the peer may take for 64 KiB; if it takes longer, the queue
	// ends. It works where the writer has SetWriteDeadline, as every net.Conn has.
	// If zero, 30 s; if negative, any time.
	Timeout time.Duration

	// Budget is where memory comes from for more than 8 KiB that wait, and as much that
	// is being written. With too little left in it the queue is full, as Full says, of
	// what it has memory for already, but for 32 KiB while nothing is being written;
	// frames that may not be dropped get what they need, but the queue is Crowded
	// earlier. If nil, there is always enough.
	Budget *Budget

	// Dropped is told about dropped frames and their bytes, headers included, after
	// the fact. It may be called from several goroutines at once and holds up the
	// one that lost a frame. If nil, drops are only counted.
	Dropped func(frames, bytes int)
}

// maxGuess bounds in bytes what is taken from the pools in advance.
const maxHint = 64 << 10

// A Queue is the bounded way out of a connection. Any number of goroutines put frames
// into it; one goroutine, in Run, writes all that waits in one system call.
//
// A frame put as droppable may be lost when the peer is slow, as QueueOptions.Full
// says, and is counted then. One longer than the limit is always dropped. Other frames are
// queued in order even past the limit; their number must be bounded by what the peer may
// ask for, which Wait sees to. If twice the limit already waits, the longest frame not
// counted, such a frame ends the queue with ErrFull.
//
// An empty queue holds no buffer. A queue ends by Shutdown, Fail or an error of the writer.
type Queue struct {
	w             io.Writer
	deadline      interface{ SetWriteDeadline(time.Time) error } // nil: w has none
	o             QueueOptions
	wake          chan struct{} // holds one token for Run
	pending       atomic.Bool   // frames have come that Run has not seen
	backpressured atomic.Bool   // required is more than a quarter of the limit
	relieved      sync.Cond     // it is no longer; or the queue has ended

	mu            sync.Mutex
	chunk         *chunk // what waits; nil if nothing does
	limit         int    // o.Limit, or less while the Budget has too little left
	busy          bool   // something is being written
	writeCharge   int    // bytes of the Budget that are held by that
	requiredBytes int    // bytes in k that may not be dropped
	batchHint     int    // bytes of the longest of the latest writes: a guess at the next
	frameHint     int    // bytes of the longest of the latest frames: a guess at the next
	enqueued      uint64
	dropped       uint64
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

// Begin locks the queue and returns its buffer, to which the caller appends the payload
// of exactly one frame before it calls End or Cancel. Until then it must do nothing but
// encode: not block, not panic, not touch the queue or what is already in the buffer.
func (q *Queue) Begin() []byte {
	q.mu.Lock()
	q.reserve(q.frameHint)
	return Begin(q.chunk.buf)
}

// reserve sees to it that there is a buffer, with room for n more bytes if the Budget has as much.
func (q *Queue) reserve(n int) {
	if q.chunk == nil {
		q.chunk = q.firstChunk(max(n, q.batchHint))
	}
	if n += len(q.chunk.buf); n > cap(q.chunk.buf) {
		q.grow(n)
	}
}

// End takes the frame begun with Begin, where b is what Begin returned with the payload
// appended, and unlocks the queue. A nil error means that the frame is in memory, in
// order, and will be written unless it is dropped first or the queue ends. It is not written before
// Flush is called, unless a write is under way or the queue half full: so a batch costs one wake-up.
//
// It returns the error that the queue ended with, ErrShutdown after Shutdown, or a
// *LimitError for a payload over MaxPayload, which is not queued.
func (q *Queue) End(b []byte, droppable bool) error {
	frames, bytes, err := q.enqueue(b, droppable)
	q.mu.Unlock()
	q.reportDrops(frames, bytes)
	return err
}

// keep decides whether the frame that was added in b stays. It returns what is dropped.
func (q *Queue) enqueue(b []byte, droppable bool) (frames, bytes int, err error) {
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
		return 0, 0, err
	}

	q.frameHint = min(max(n, q.frameHint-q.frameHint>>6), maxHint)
	switch {
	case droppable && n > q.o.Limit:
		return q.dropNew(n)
	case !droppable && start-q.chunk.longest > 2*q.o.Limit:
		return q.fail(ErrFull)
	}
	if len(b) > cap(q.chunk.buf) || len(b) > q.limit && q.limit < q.o.Limit {
		b = q.growFor(b, droppable)
		q.chunk.buf = q.chunk.buf[:start] // where the frame lies already; it may yet be dropped
	}
	if droppable && len(b) > q.limit {
		if q.limit < q.o.Limit {
			q.o.Budget.starved.Add(1)
		}
		switch {
		case q.o.Full == DropNewest, q.o.Full == DropOldest && (q.requiredBytes > q.limit/2 || q.requiredBytes+n > q.limit):
			return q.dropNew(n)
		case q.o.Full == Close:
			return q.fail(ErrFull)
		}
	}

	b = End(b, start)
	q.chunk.longest = max(q.chunk.longest, n)
	q.countQueued(1)
	if !droppable {
		q.chunk.required = append(q.chunk.required, start)
		q.setRequiredBytes(q.requiredBytes + n)
	}
	if droppable && len(b) > q.limit {
		b, frames, bytes = q.dropOldest(b, n)
	}
	if cap(b) != cap(q.chunk.buf) { // encoding outgrew the buffer: b lies in memory that is not for the pools
		b = append(q.chunk.buf[:0], b...)
	}
	q.chunk.buf = b
	if len(b) > q.limit/2 {
		q.wakeRun() // the end of the batch may be too late
	}
	return frames, bytes, nil
}

// note notes how many frames have been added to what waits.
func (q *Queue) countQueued(frames int) {
	q.chunk.frames += frames
	q.enqueued += uint64(frames)
	if !q.pending.Load() { // cheaper than to store it each time
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
func (q *Queue) Put(droppable bool, parts ...[]byte) error {
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
	return q.End(b, droppable)
}

// Flush has Run write what waits. It does not wait for that.
func (q *Queue) Flush() {
	if q.pending.Load() {
		q.wakeRun()
	}
}

// rouse makes Run look once more.
func (q *Queue) wakeRun() {
	select {
	case q.wake <- struct{}{}:
	default: // Run has not looked since the last call; it will see what is new too
	}
}

// Run writes what waits whenever Flush is called, all of it in one Write, until the queue
// ends. It returns nil after Shutdown, once everything is out, and otherwise the error
// that the queue ended with. Only one goroutine may be in Run.
func (q *Queue) Run() error {
	for {
		k, done, err := q.dequeue()
		if done {
			return err
		}
		if k == nil {
			<-q.wake
			continue
		}
		err = q.write(k.buf)
		q.releaseChunk(k)
		if err != nil {
			q.Fail(err)
		}
	}
}

// piece is how much a peer must take within the timeout.
const progressStep = 64 << 10

// write writes b, with a fresh deadline for each piece.
func (q *Queue) write(b []byte) error {
	for len(b) > 0 {
		n := len(b)
		if q.deadline != nil {
			n = min(n, progressStep)
			if err := q.deadline.SetWriteDeadline(time.Now().Add(q.o.Timeout)); err != nil {
				return err
			}
		}
		if err := writeFull(q.w, b[:n]); err != nil {
			return err
		}
		b = b[n:]
	}
	return nil
}

// take takes away what waits; nil if nothing does. done means that Run is to return err.
func (q *Queue) dequeue() (k *chunk, done bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		return nil, true, q.err
	}
	q.busy, q.writeCharge = false, 0
	if q.chunk == nil {
		return nil, q.shut, nil
	}
	k, q.chunk = q.chunk, nil
	q.busy, q.writeCharge = true, k.charged
	q.pending.Store(false)
	q.setRequiredBytes(0)
	q.batchHint = min(max(len(k.buf), q.batchHint-q.batchHint>>4), maxHint)
	return k, false, nil
}

// Shutdown refuses further frames with ErrShutdown. Run writes what waits, then returns.
func (q *Queue) Shutdown() {
	q.mu.Lock()
	q.shut = true
	q.relieved.Broadcast()
	q.mu.Unlock()
	q.wakeRun()
}

// Fail ends the queue with err, if it has not ended before: what waits is forgotten and
// counted as dropped, and End and Run return err. A Write under way is not
// interrupted by it: the owner closes the connection. A nil err means io.ErrClosedPipe.
func (q *Queue) Fail(err error) {
	if err == nil {
		err = io.ErrClosedPipe
	}
	q.mu.Lock()
	frames, bytes, _ := q.fail(err)
	q.mu.Unlock()
	q.reportDrops(frames, bytes)
}

// Waiting returns how many frames wait and their bytes, headers included. What is being
// written no longer waits.
func (q *Queue) Waiting() (frames, bytes int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.chunk == nil {
		return 0, 0
	}
	return q.chunk.frames, len(q.chunk.buf)
}

// Taken returns how many frames were queued so far; some of them may have been dropped since.
func (q *Queue) Enqueued() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.enqueued
}

// Dropped returns how many frames were dropped or forgotten so far. Frames in a Write that
// failed are not counted: how far they came is not known.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}

// Err returns the error that the queue ended with, nil while it works or after Shutdown.
func (q *Queue) Err() error {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.err
}
