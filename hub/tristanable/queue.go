package tristanable

import (
	"context"
	"encoding/binary"
	"sync"

	"github.com/besterhub/bester/hub/bformat"
)

// maxIdleCap is the capacity, in bytes, that an empty queue may keep.
const maxIdleCap = 4 << 10

// A Queue holds the messages of one tag, or of all unregistered tags, until they are
// dequeued. It is bounded in messages and bytes; Options says what happens when it is
// full. It ends with its connection or by Unregister.
type Queue struct {
	tag    uint64
	limit  int // bytes, including headers and tags
	count  int // messages
	full   bformat.OverflowPolicy
	ready  chan struct{} // holds one token while there may be something to take
	closed chan struct{}

	mu      sync.Mutex
	buf     []byte // frames; those before off have been dequeued
	off     int
	n       int // messages in buf[off:]
	dropped uint64
	err     error
}

func newQueue(tag uint64, o *Options) *Queue {
	return &Queue{
		tag: tag, limit: o.QueueLimit, count: o.QueueCount, full: o.QueueFull,
		ready: make(chan struct{}, 1), closed: make(chan struct{}),
	}
}

// Dequeue waits for a message, appends it to dst[:0], and returns it with its tag.
// Messages come in the order in which they arrived. It returns ctx's error when ctx ends.
// After the connection ended it returns the messages that are left, then the connection's error.
// Several goroutines may dequeue at once; each message goes to one.
func (q *Queue) Dequeue(ctx context.Context, dst []byte) (tag uint64, message []byte, err error) {
	for {
		tag, message, ok, err := q.pop(dst[:0])
		if ok || err != nil {
			return tag, message, err
		}
		select {
		case <-q.ready:
		case <-q.closed:
		case <-ctx.Done():
			return 0, nil, ctx.Err()
		}
	}
}

// pop removes the oldest message, if there is one, and appends it to dst.
func (q *Queue) pop(dst []byte) (tag uint64, message []byte, ok bool, err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.n == 0 {
		return 0, nil, false, q.err
	}
	tag, message, _ = Cut(q.popFrame())
	message = append(dst, message...)
	if q.n > 0 {
		q.signal() // for another goroutine in Dequeue
	}
	return tag, message, true, nil
}

// popFrame removes and returns the oldest payload, which is valid until the lock is released.
func (q *Queue) popFrame() []byte {
	b := q.buf[q.off:]
	n := int(binary.LittleEndian.Uint32(b))
	q.off += bformat.HeaderSize + n
	q.n--
	if q.n == 0 {
		q.off = 0
		if q.buf = q.buf[:0]; cap(q.buf) > maxIdleCap {
			q.buf = nil
		}
	}
	return b[bformat.HeaderSize : bformat.HeaderSize+n]
}

func (q *Queue) signal() {
	select {
	case q.ready <- struct{}{}:
	default:
	}
}

// put adds a frame's payload, including its tag. It returns an error if the connection must
// end.
func (q *Queue) put(payload []byte) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err != nil {
		q.dropped++
		return nil
	}
	size := bformat.HeaderSize + len(payload)
	for q.n >= q.count || len(q.buf)-q.off+size > q.limit {
		if q.full == bformat.Close {
			return bformat.ErrFull
		}
		q.dropped++
		if q.full == bformat.DropNewest || size > q.limit {
			return nil
		}
		q.popFrame()
	}
	if q.off > 0 && len(q.buf)+size > cap(q.buf) && q.off >= len(q.buf)/2 {
		q.buf = q.buf[:copy(q.buf, q.buf[q.off:])]
		q.off = 0
	}
	q.buf = bformat.Append(q.buf, payload)
	q.n++
	q.signal()
	return nil
}

// close ends the queue with err, once.
func (q *Queue) close(err error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.err == nil {
		q.err = err
		close(q.closed)
	}
}

// Len returns how many messages wait.
func (q *Queue) Len() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.n
}

// Dropped returns how many messages were lost because the queue was full.
func (q *Queue) Dropped() uint64 {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.dropped
}
