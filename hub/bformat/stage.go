package bformat

import "sync"

// MaxStaged is how many bytes of frames a Stage buffers before it passes them to its Queue.
const MaxStaged = 4 << 10

// stageSize is the size of a Stage's buffer: MaxStaged, and room for the frame that exceeds it.
const stageSize = MaxStaged + MaxStaged/2

// A stageBuffer is the memory of a Stage: its frames, and the class of each.
type stageBuffer struct {
	frames  [stageSize]byte
	classes [MaxStaged / HeaderSize]Class
}

// stagePool holds the buffers of Stages.
var stagePool = sync.Pool{New: func() any { return new(stageBuffer) }}

// A Stage is a goroutine's own buffer of droppable frames before a Queue. It batches them,
// so that the Queue is locked once for several. Staged frames come after all frames that
// are put into the Queue itself before Flush is called.
//
// An empty Stage holds no buffer. A Stage is for one goroutine at a time.
type Stage struct {
	q      *Queue
	buf    []byte // whole frames
	n      int    // how many
	pooled *stageBuffer
}

// NewStage returns a Stage before q.
func NewStage(q *Queue) *Stage { return &Stage{q: q} }

// Begin returns the buffer to which the caller appends the payload of exactly one frame
// before it calls End; or it abandons the frame by not calling it.
func (s *Stage) Begin() []byte {
	if s.pooled == nil {
		s.pooled = stagePool.Get().(*stageBuffer)
		s.buf = s.pooled.frames[:0]
	}
	return Begin(s.buf)
}

// End stages the frame begun with Begin. b is what Begin returned with the payload
// appended. A nil error means that the frame is in memory; if the Queue turns out to be
// full or to have ended, the Queue drops and counts it later. An error is that of Flush;
// this frame is then not among the dropped and counted ones. c is a droppable class.
func (s *Stage) End(b []byte, c Class) error {
	start := len(s.buf)
	b = End(b, start)
	if len(b) >= MaxStaged && s.n > 0 {
		err := s.q.enqueueStaged(s.buf, s.pooled.classes[:s.n])
		s.buf, s.n = s.pooled.frames[:0], 0
		if err != nil {
			return err
		}
		b = append(s.buf, b[start:]...)
	}
	s.buf = b
	s.pooled.classes[s.n] = c
	s.n++
	return nil
}

// Flush passes the staged frames to the Queue, which it does not flush. If the Queue has
// ended, Flush drops them and returns the error that the Queue ended with.
func (s *Stage) Flush() error {
	if s.pooled == nil {
		return nil
	}
	err := s.q.enqueueStaged(s.buf, s.pooled.classes[:s.n])
	stagePool.Put(s.pooled)
	s.pooled, s.buf, s.n = nil, nil, 0
	return err
}

// enqueueStaged queues the frames in b, all of which are droppable, with their classes.
func (q *Queue) enqueueStaged(b []byte, classes []Class) (err error) {
	if len(classes) == 0 {
		return nil
	}
	q.mu.Lock()
	q.reserve(len(b))
	if size := len(q.chunk.buf) + len(b); size <= min(q.limit/2, cap(q.chunk.buf)) && q.err == nil && !q.shut {
		q.chunk.buf = append(q.chunk.buf, b...)
		q.chunk.classes = append(q.chunk.classes, classes...)
		q.countQueued(len(classes), len(classes))
		q.mu.Unlock()
		return nil
	}
	var lost Losses
	for _, c := range classes {
		size := frameSize(b)
		if err == nil {
			q.reserve(size)
			err = q.enqueue(append(q.chunk.buf, b[:size]...), c, &lost)
		}
		if dropped, ok := err.(*DropError); ok {
			q.countLost(dropped.Why, 1, &lost)
			err = nil
		}
		if err != nil { // the queue has ended: the rest is lost
			q.countLost(LossEnded, 1, &lost)
		}
		b = b[size:]
	}
	q.mu.Unlock()
	q.reportLosses(&lost)
	return err
}

// countLost counts n deliveries that were accepted, and lost before they were queued.
func (q *Queue) countLost(why Loss, n uint64, lost *Losses) {
	q.stats.Accepted += n
	q.stats.Lost[why] += n
	lost[why] += n
}
