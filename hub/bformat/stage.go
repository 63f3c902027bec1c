package bformat

import "sync"

// MaxStaged is how many bytes of frames a Stage gathers before it gives them to its Queue.
const MaxStaged = 4 << 10

// stageSize leaves room for the frame that makes it as much.
const stageSize = MaxStaged + MaxStaged/2

// stages lends the buffers of Stages.
var stages = sync.Pool{New: func() any { return new([stageSize]byte) }}

// A Stage is a goroutine's own way into a Queue for droppable frames, of which it has many:
// they are gathered, and the Queue is locked once for several. What is staged comes behind
// all that is put into the Queue itself before Flush is called.
//
// An empty Stage holds no buffer. A Stage is for one goroutine at a time.
type Stage struct {
	q    *Queue
	buf  []byte // whole frames
	n    int    // how many
	lent *[stageSize]byte
}

// NewStage returns a Stage before q.
func NewStage(q *Queue) *Stage { return &Stage{q: q} }

// Begin returns the buffer to which the caller appends the payload of exactly one frame
// before it calls End; or it abandons the frame by not calling it.
func (s *Stage) Begin() []byte {
	if s.lent == nil {
		s.lent = stages.Get().(*[stageSize]byte)
		s.buf = s.lent[:0]
	}
	return Begin(s.buf)
}

// End takes the frame begun with Begin, where b is what Begin returned with the payload
// appended. A nil error means that the frame is in memory; it is dropped later, and
// counted by the Queue, where the Queue is full or has ended. An error is that of Flush,
// and this frame is not among those that are dropped and counted.
func (s *Stage) End(b []byte) error {
	start := len(s.buf)
	b = End(b, start)
	if len(b) >= MaxStaged && s.n > 0 {
		err := s.q.putAll(s.buf, s.n)
		s.buf, s.n = s.lent[:0], 0
		if err != nil {
			return err
		}
		b = append(s.buf, b[start:]...)
	}
	s.buf = b
	s.n++
	return nil
}

// Flush gives what is staged to the Queue, which it does not flush. It returns the error
// that the Queue ended with, if it has; what was staged is dropped then.
func (s *Stage) Flush() error {
	if s.lent == nil {
		return nil
	}
	err := s.q.putAll(s.buf, s.n)
	stages.Put(s.lent)
	s.lent, s.buf, s.n = nil, nil, 0
	return err
}

// putAll queues the frames that b holds, each of which may be dropped.
func (q *Queue) putAll(b []byte, frames int) (err error) {
	if frames == 0 {
		return nil
	}
	q.mu.Lock()
	q.reserve(len(b))
	if size := len(q.k.buf) + len(b); size <= min(q.limit/2, cap(q.k.buf)) && q.err == nil && !q.shut {
		q.k.buf = append(q.k.buf, b...)
		q.note(frames)
		q.mu.Unlock()
		return nil
	}
	lost, lostBytes := 0, 0
	for len(b) > 0 {
		size := sizeOf(b)
		if err == nil {
			q.reserve(size)
			var f, n int
			f, n, err = q.keep(append(q.k.buf, b[:size]...), true)
			lost, lostBytes = lost+f, lostBytes+n
		}
		if err != nil { // the queue has ended, and so have all that come after
			q.dropped++
			lost, lostBytes = lost+1, lostBytes+size
		}
		b = b[size:]
	}
	q.mu.Unlock()
	q.tell(lost, lostBytes)
	return err
}
