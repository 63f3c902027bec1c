package bformat

import "sync"

// MaxStaged is how many bytes of frames a Stage buffers before it passes them to its Queue.
const MaxStaged = 4 << 10

// stageSize is the size of a Stage's buffer: MaxStaged, and room for the frame that exceeds it.
const stageSize = MaxStaged + MaxStaged/2

// stagePool holds the buffers of Stages.
var stagePool = sync.Pool{New: func() any { return new([stageSize]byte) }}

// A Stage is a goroutine's own buffer of droppable frames before a Queue. It batches them,
// so that the Queue is locked once for several. Staged frames come after all frames that
// are put into the Queue itself before Flush is called.
//
// An empty Stage holds no buffer. A Stage is for one goroutine at a time.
type Stage struct {
	q      *Queue
	buf    []byte // whole frames
	n      int    // how many
	pooled *[stageSize]byte
}

// NewStage returns a Stage before q.
func NewStage(q *Queue) *Stage { return &Stage{q: q} }

// Begin returns the buffer to which the caller appends the payload of exactly one frame
// before it calls End; or it abandons the frame by not calling it.
func (s *Stage) Begin() []byte {
	if s.pooled == nil {
		s.pooled = stagePool.Get().(*[stageSize]byte)
		s.buf = s.pooled[:0]
	}
	return Begin(s.buf)
}

// End stages the frame begun with Begin. b is what Begin returned with the payload
// appended. A nil error means that the frame is in memory; if the Queue turns out to be
// full or to have ended, the Queue drops and counts it later. An error is that of Flush;
// this frame is then not among the dropped and counted ones.
func (s *Stage) End(b []byte) error {
	start := len(s.buf)
	b = End(b, start)
	if len(b) >= MaxStaged && s.n > 0 {
		err := s.q.enqueueStaged(s.buf, s.n)
		s.buf, s.n = s.pooled[:0], 0
		if err != nil {
			return err
		}
		b = append(s.buf, b[start:]...)
	}
	s.buf = b
	s.n++
	return nil
}

// Flush passes the staged frames to the Queue, which it does not flush. If the Queue has
// ended, Flush drops them and returns the error that the Queue ended with.
func (s *Stage) Flush() error {
	if s.pooled == nil {
		return nil
	}
	err := s.q.enqueueStaged(s.buf, s.n)
	stagePool.Put(s.pooled)
	s.pooled, s.buf, s.n = nil, nil, 0
	return err
}

// enqueueStaged queues the frames in b, all of which are droppable.
func (q *Queue) enqueueStaged(b []byte, frames int) (err error) {
	if frames == 0 {
		return nil
	}
	q.mu.Lock()
	q.reserve(len(b))
	if size := len(q.chunk.buf) + len(b); size <= min(q.limit/2, cap(q.chunk.buf)) && q.err == nil && !q.shut {
		q.chunk.buf = append(q.chunk.buf, b...)
		q.countQueued(frames)
		q.mu.Unlock()
		return nil
	}
	lost, lostBytes := 0, 0
	for len(b) > 0 {
		size := frameSize(b)
		if err == nil {
			q.reserve(size)
			var f, n int
			f, n, err = q.enqueue(append(q.chunk.buf, b[:size]...), true)
			lost, lostBytes = lost+f, lostBytes+n
		}
		if err != nil { // the queue has ended: the rest is dropped
			q.dropped++
			lost, lostBytes = lost+1, lostBytes+size
		}
		b = b[size:]
	}
	q.mu.Unlock()
	q.reportDrops(lost, lostBytes)
	return err
}
