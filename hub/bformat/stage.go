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
	lost   int    // see Lost
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
// full, the Queue drops and counts it later. An error is that of Flush; this frame is then
// not among those that Lost counts. c is a droppable class.
func (s *Stage) End(b []byte, c Class) error {
	start := len(s.buf)
	b = End(b, start)
	if len(b) >= MaxStaged && s.n > 0 {
		lost, err := s.q.enqueueStaged(s.buf, s.pooled.classes[:s.n])
		s.buf, s.n = s.pooled.frames[:0], 0
		if err != nil {
			s.lost += lost
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
// ended, Flush drops them and returns the error that the Queue ended with; see Lost.
func (s *Stage) Flush() error {
	if s.pooled == nil {
		return nil
	}
	lost, err := s.q.enqueueStaged(s.buf, s.pooled.classes[:s.n])
	s.lost += lost
	stagePool.Put(s.pooled)
	s.pooled, s.buf, s.n = nil, nil, 0
	return err
}

// Lost returns how many staged frames were lost, since the last call, because the Queue had
// ended. They are not counted in QueueStats.
func (s *Stage) Lost() int {
	n := s.lost
	s.lost = 0
	return n
}

// enqueueStaged queues the frames in b, all of which are droppable, with their classes. If
// the queue has ended, or ends, it returns how many it has not counted.
func (q *Queue) enqueueStaged(b []byte, classes []Class) (uncounted int, err error) {
	if len(classes) == 0 {
		return 0, nil
	}
	q.mu.Lock()
	q.reserve(len(b))
	if size := len(q.chunk.buf) + len(b); size <= min(q.limit/2, cap(q.chunk.buf)) && q.err == nil && !q.shut {
		q.chunk.buf = append(q.chunk.buf, b...)
		q.chunk.classes = append(q.chunk.classes, classes...)
		q.countQueued(len(classes), len(classes))
		q.mu.Unlock()
		return 0, nil
	}
	var lost Losses
	for _, c := range classes {
		size := frameSize(b)
		if err == nil {
			q.reserve(size)
			err = q.enqueue(append(q.chunk.buf, b[:size]...), c, &lost)
		}
		if dropped, ok := err.(*DropError); ok {
			q.accepted++
			q.countLost(dropped.Reason, 1, &lost)
			err = nil
		}
		if err != nil {
			uncounted++
		}
		b = b[size:]
	}
	q.mu.Unlock()
	q.reportLosses(&lost)
	return uncounted, err
}
