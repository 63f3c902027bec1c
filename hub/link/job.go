package link

import (
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
)

// A job is one message that a handler process owes an answer.
type job struct {
	answer *hub.Answer
	m      hub.Message // as it was handled; its data is the job's own
	data   []byte
	size   int // what it counts against Options.Bytes

	stream *stream
	next   *job // in the stream

	process *process // where it was sent
	tag     uint16

	since                  time.Duration // on clock: when it came; once it is sent, when that was
	expiry                 *expiryQueue  // the one it is on; nil if none
	prevExpiry, nextExpiry *job          // in it

	done  bool   // answered or failed, and to be carried out when its turn comes
	err   error  // what it failed with
	reply []byte // an answer that came out of turn; the job's own memory
}

var jobs = sync.Pool{New: func() any { return new(job) }}

const (
	// jobOverhead is about what a message costs beside its data, in bytes.
	jobOverhead = 512
	// maxRecycled is how long a job's buffers may be to be used again, in bytes.
	maxRecycled = 64 << 10
)

func sizeOf(m *hub.Message) int { return jobOverhead + len(m.Data.Bytes) + 64*len(m.To) }

// newJob copies m and detaches its answer.
func newJob(m *hub.Message, a *hub.Answer, now time.Duration) *job {
	j := jobs.Get().(*job)
	j.size = sizeOf(m)
	j.m = *m // m may be a's own: copied before Detach lets go of what is borrowed
	j.data = append(j.data[:0], m.Data.Bytes...)
	a.Detach()
	j.m.To = a.Message().To
	j.m.Data.Bytes = j.data
	j.m.Batch, j.m.Receipt, j.m.Reach = nil, nil, nil
	j.answer = a
	j.since = now
	return j
}

// recycle gives back j, which is on no list.
func (j *job) recycle() {
	data, reply := j.data[:0], j.reply[:0]
	if cap(data) > maxRecycled {
		data = nil
	}
	if cap(reply) > maxRecycled {
		reply = nil
	}
	*j = job{data: data, reply: reply}
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

// A expiryQueue is jobs in the order of their since. All on it may take equally long,
// so the first is always the first whose time is over.
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

// leave takes j off the expiryQueue it is on.
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
