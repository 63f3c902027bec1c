package link

import (
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
)

// A job is one message that a handler process owes an answer.
type job struct {
	answerWriter *hub.Answer // where its answer goes
	m            hub.Message // as it was handled; its data is the job's own
	data         []byte
	size         int    // what it counts against Options.QueueBytes
	share        *share // its sender's, nil if it is in no queue

	stream *stream
	next   *job // in the stream

	process *process // where it was sent
	tag     uint16

	since                  time.Duration // by clock: when it came or, once it is sent, when it was sent
	expiry                 *expiryQueue  // the queue it is in; nil if none
	prevExpiry, nextExpiry *job          // in that queue

	done   bool       // answered or failed; executed once it is at the head of its stream
	err    error      // what it failed with
	ended  bool       // its answer is done, or another handler's
	rights hub.Rights // of the process that has answered
	answer []byte     // an answer that came out of order; the job's own memory
}

var jobs = sync.Pool{New: func() any { return new(job) }}

const (
	// jobOverhead is about what a message costs beside its data, in bytes.
	jobOverhead = 512
	// maxRecycled is the longest buffer, in bytes, that is kept for reuse.
	maxRecycled = 64 << 10
)

func sizeOf(m *hub.Message) int { return jobOverhead + len(m.Data.Bytes) + 64*len(m.To) }

// newJob copies m and detaches its answer.
func newJob(m *hub.Message, a *hub.Answer, now time.Duration) *job {
	j := jobs.Get().(*job)
	j.size = sizeOf(m)
	j.m = *m // m may be a's own: copy it before Detach gives up what is borrowed
	j.data = append(j.data[:0], m.Data.Bytes...)
	a.Detach()
	j.m.To = a.Message().To
	j.m.Data.Bytes = j.data
	j.m.Batch, j.m.Receipt, j.m.Reach = nil, nil, nil
	j.answerWriter = a
	j.since = now
	return j
}

// recycle returns j, which must be on no list, to the pool.
func (j *job) recycle() {
	data, answer := j.data[:0], j.answer[:0]
	if cap(data) > maxRecycled {
		data = nil
	}
	if cap(answer) > maxRecycled {
		answer = nil
	}
	*j = job{data: data, answer: answer}
	jobs.Put(j)
}

// fail marks j as done with err, unless it is done already.
func (j *job) fail(err error) {
	if !j.done {
		j.done, j.err = true, err
	}
}

var epoch = time.Now()

// clock returns the monotonic time, which costs half of what time.Now does.
func clock() time.Duration { return time.Since(epoch) }

// An expiryQueue holds jobs in the order of their since. All of them have the same
// timeout, so the head always expires first.
type expiryQueue struct {
	head, tail *job
}

func (l *expiryQueue) push(j *job) {
	j.expiry, j.prevExpiry, j.nextExpiry = l, l.tail, nil
	if l.tail == nil {
		l.head = j
	} else {
		l.tail.nextExpiry = j
	}
	l.tail = j
}

// removeFromExpiry removes j from its expiry queue, if it is in one.
func (j *job) removeFromExpiry() {
	l := j.expiry
	if l == nil {
		return
	}
	if j.prevExpiry == nil {
		l.head = j.nextExpiry
	} else {
		j.prevExpiry.nextExpiry = j.nextExpiry
	}
	if j.nextExpiry == nil {
		l.tail = j.prevExpiry
	} else {
		j.nextExpiry.prevExpiry = j.prevExpiry
	}
	j.expiry, j.prevExpiry, j.nextExpiry = nil, nil, nil
}
