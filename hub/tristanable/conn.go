package tristanable

import (
	"io"
	"sync"
	"sync/atomic"

	"github.com/besterhub/bester/hub/bformat"
)

// The way of a request and its reply:
//
//  1. start registers the call under a free tag and encodes it into the send queue.
//  2. Flush wakes writeLoop, which writes all that waits at once.
//  3. readLoop reads all that has arrived at once.
//  4. For each frame dispatch finds the call by its tag, and Done gets the reply.
//  5. When all that arrived is handled, readLoop calls Idle and flushes.

// Options are the options of a Conn. The zero value works.
type Options struct {
	// Reader is the reader of a connection that has been read from already, so that frames
	// in its buffer are not lost. The Conn releases it. If nil, a new one with Limit.
	Reader *bformat.Reader

	// Limit is the longest payload in bytes, tag included, that the peer may send; a
	// longer one ends the connection. Not used with Reader. If zero, bformat.DefaultLimit.
	Limit int

	// Out are the options of the send queue. Requests and the messages of Send are never
	// dropped: over Out.Limit Go and Call return ErrBusy, and if twice as much waits, Send
	// ends the connection with bformat.ErrFull. So a side that answers must agree with the
	// peer how many requests may be in flight, and choose a Limit that holds as many
	// answers. The zero value works.
	Out bformat.QueueOptions

	// QueueLimit is how many bytes may wait in each Queue, including 12 bytes of header for
	// each message. If zero, 256 KiB.
	QueueLimit int

	// QueueCount is how many messages may wait in each Queue. If zero, 1024.
	QueueCount int

	// QueueFull is what happens when a Queue is full: the oldest message is dropped, the
	// newest is dropped, or the connection ends with bformat.ErrFull. Drops are counted.
	// If zero, bformat.DropOldest.
	QueueFull bformat.OverflowPolicy

	// Incoming gets the messages under tags that are not registered. It runs on the reading
	// goroutine: while it blocks, nothing is read, and the peer gets backpressure. message
	// is borrowed until it returns. If nil, they go to the queue that Default returns.
	Incoming func(c *Conn, tag uint64, message []byte)

	// Idle is called on the reading goroutine when it has handled all that arrived and is
	// about to wait for more. It is the place to flush what the batch has written
	// elsewhere. The Conn flushes itself afterwards. If nil, nothing is called.
	Idle func(c *Conn)
}

// A Conn is one end of a stream of tagged messages. Its methods may be called from any
// goroutine. It ends when the peer ends the stream, when reading or writing fails, when the
// peer breaks the protocol, or by Close, Fail or Shutdown. Then every call in flight and
// every queue gets the error, once.
type Conn struct {
	rw           io.ReadWriteCloser
	r            *bformat.Reader
	out          *bformat.Queue
	o            Options
	defaultQueue *Queue // nil with Options.Incoming
	late         atomic.Uint64
	close        func() error // closes rw, once
	written      chan struct{}
	done         chan struct{}

	mu     sync.Mutex
	tags   tags
	queues map[uint64]*Queue
	err    error // why it ended
}

// NewConn returns a Conn over rw, which it closes in the end, and starts to read and write.
// The Close of rw must unblock its Read and Write, as that of every net.Conn does.
func NewConn(rw io.ReadWriteCloser, o Options) *Conn {
	if o.Out.Limit <= 0 {
		o.Out.Limit = 256 << 10
	}
	if o.QueueLimit <= 0 {
		o.QueueLimit = 256 << 10
	}
	if o.QueueCount <= 0 {
		o.QueueCount = 1024
	}
	if o.Reader == nil {
		o.Reader = bformat.NewReader(rw, o.Limit)
	}
	c := &Conn{
		rw: rw, r: o.Reader, out: bformat.NewQueue(rw, o.Out), o: o,
		close:   sync.OnceValue(rw.Close),
		written: make(chan struct{}), done: make(chan struct{}),
	}
	if o.Incoming == nil {
		c.defaultQueue = newQueue(0, &c.o)
	}
	go c.writeLoop()
	go c.readLoop()
	return c
}

// writeLoop writes what waits until the send queue ends, and closes the connection.
func (c *Conn) writeLoop() {
	defer close(c.written)
	err := c.out.Run()
	if err == nil {
		err = ErrClosed
	}
	c.setErr(err)
	c.close()
}

// readLoop dispatches what arrives until the connection ends, and then notifies all calls
// and queues.
func (c *Conn) readLoop() {
	defer close(c.done)
	err := c.readAll()
	c.setErr(err)
	if err == io.EOF {
		c.out.Shutdown() // the peer may have half-closed: send it the answers that wait
	} else {
		c.out.Fail(err)
		c.close()
	}
	c.notifyAll()
	c.r.Release()
	<-c.written
}

func (c *Conn) readAll() error {
	c.r.SetIdle(func() {
		if c.o.Idle != nil {
			c.o.Idle(c)
		}
		c.out.Flush()
	})
	for {
		payload, err := c.r.Next()
		if err != nil {
			return err
		}
		if err := c.dispatch(payload); err != nil {
			return err
		}
	}
}

// dispatch hands a frame's message to the call or queue of its tag.
func (c *Conn) dispatch(payload []byte) error {
	tag, message, err := Cut(payload)
	if err != nil {
		return err
	}
	c.mu.Lock()
	if c.err != nil { // ended by this side: nothing more is dispatched
		defer c.mu.Unlock()
		return c.err
	}
	call := c.tags.get(tag)
	if call != nil && call.Partial != nil {
		c.mu.Unlock()
		more := call.Partial(call, message)
		c.mu.Lock()
		if more {
			c.mu.Unlock()
			return nil
		}
	}
	if call != nil {
		c.tags.release(uint16(tag))
	}
	q := c.defaultQueue
	if len(c.queues) > 0 && c.queues[tag] != nil {
		q = c.queues[tag]
	}
	c.mu.Unlock()

	switch {
	case call == abandoned:
		c.late.Add(1)
	case call != nil:
		call.Done(call, message, nil)
	case q != nil:
		return q.put(payload)
	default:
		c.o.Incoming(c, tag, message)
	}
	return nil
}

// setErr records why the connection ended. The first error wins. From then on no call is
// registered.
func (c *Conn) setErr(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

// notifyAll gives every call in flight and every queue the error. The connection must have
// ended.
func (c *Conn) notifyAll() {
	c.mu.Lock()
	err, slots, queues := c.err, c.tags.slots, c.queues
	c.tags, c.queues = tags{}, nil
	c.mu.Unlock()
	for _, s := range slots {
		if s.call != nil && s.call != abandoned {
			s.call.Done(s.call, nil, err)
		}
	}
	for _, q := range queues {
		q.close(err)
	}
	if c.defaultQueue != nil {
		c.defaultQueue.close(err)
	}
}

// Send queues one message under a tag: that of the peer's request, to answer it, or 0, to
// push. The message's bytes are the parts one after the other; they are copied. The message
// is sent at the next Flush or when the reader has handled all that arrived. A nil error
// only means that it waits in memory. See Out for encoding in place and droppable frames.
func (c *Conn) Send(tag uint64, parts ...[]byte) error {
	b := Append(c.out.Begin(), tag)
	for _, p := range parts {
		b = append(b, p...)
	}
	return c.out.End(b, bformat.Required)
}

// Out returns the send queue, to encode answers and pushes in place. Each frame must begin
// with Append. Only the Conn may call its Run, Shutdown and Fail.
func (c *Conn) Out() *bformat.Queue { return c.out }

// Register returns a queue of the messages that come under tag and are not replies. No
// request will have this tag. It returns ErrTagInUse if the tag has a queue or a request in
// flight, or the error that the connection ended with.
func (c *Conn) Register(tag uint64) (*Queue, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil {
		return nil, c.err
	}
	if c.queues[tag] != nil || c.tags.get(tag) != nil {
		return nil, ErrTagInUse
	}
	if c.queues == nil {
		c.queues = make(map[uint64]*Queue)
	}
	q := newQueue(tag, &c.o)
	c.queues[tag] = q
	return q, nil
}

// Unregister ends q with ErrUnregistered; what waits in it can still be dequeued. Further
// messages of its tag are treated as unregistered. It does nothing if q is not registered
// here.
func (c *Conn) Unregister(q *Queue) {
	c.mu.Lock()
	mine := c.queues[q.tag] == q
	if mine {
		delete(c.queues, q.tag)
		c.tags.unreserve(q.tag)
	}
	c.mu.Unlock()
	if mine {
		q.close(ErrUnregistered)
	}
}

// Default returns the queue of messages under unregistered tags, among them replies to no
// request in flight. It is nil if Options.Incoming gets those.
func (c *Conn) Default() *Queue { return c.defaultQueue }

// Flush makes the writer send what waits, and does not wait for that.
func (c *Conn) Flush() { c.out.Flush() }

// Shutdown sends what waits, then closes the connection. It does not wait for that: wait for
// the channel that Done returns.
func (c *Conn) Shutdown() { c.out.Shutdown() }

// Close ends the connection at once with ErrClosed; what waits to be sent is lost. It returns
// the error of closing the stream. It does not wait until the last Call.Done has been
// called: for that wait for the channel that Done returns.
func (c *Conn) Close() error { return c.Fail(ErrClosed) }

// Fail is Close with err as the reason that calls and queues get.
func (c *Conn) Fail(err error) error {
	c.setErr(err)
	c.out.Fail(err)
	return c.close()
}

// Err returns why the connection ended, io.EOF if the peer ended it between two frames, and
// nil while it works.
func (c *Conn) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Done returns a channel that is closed when the connection and both its goroutines have
// ended and all calls and queues have got the error.
func (c *Conn) Done() <-chan struct{} { return c.done }

// Late returns how many replies came after their Call had been cancelled.
func (c *Conn) Late() uint64 { return c.late.Load() }
