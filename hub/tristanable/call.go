package tristanable

import (
	"context"
	"sync"
)

// A Call is one request and what becomes of it. It belongs to the caller, who may use it
// again, on any Conn, once Done has been called or Go has failed.
type Call struct {
	// Encode appends the request to dst, which must not be read or changed otherwise,
	// and returns the extended slice. Go calls it once, with the way out locked: it
	// must not block, panic or use the Conn.
	Encode func(dst []byte) []byte

	// Partial, if not nil, is called on the goroutine that reads for each message under the
	// call's tag, before Done: where it returns true, the message is a part of the
	// reply, and more follow under the same tag. message is borrowed until it returns.
	Partial func(call *Call, message []byte) bool

	// Done is called once for every Go that returned nil, perhaps before it returned, on
	// the goroutine that reads the connection: it must not block, and must not Call.
	// reply is borrowed until Done returns; err is nil, or what ended the connection.
	// Done may use call again for Go.
	Done func(call *Call, reply []byte, err error)
}

// Go sends a request and returns; Done will be told of the reply. Any number may be in
// flight up to 65535, and their replies may come in any order. The request lies in memory when
// Go returns, and goes out at the next Flush or when the reader has handled all that arrived.
//
// It returns ErrBusy if 65535 requests are in flight or more bytes wait than Options.Out.Limit,
// a *bformat.LimitError for a request over bformat.MaxPayload, or the error that
// the connection ended with. Then Done is not called.
func (c *Conn) Go(call *Call) error {
	_, err := c.start(call)
	return err
}

// start is Go that returns the tag.
func (c *Conn) start(call *Call) (uint16, error) {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	// Registered before sent: the reply may be here before End returns.
	tag := c.tags.take(call, c.queues)
	c.mu.Unlock()
	if tag == 0 {
		c.out.Flush()
		return 0, ErrBusy
	}
	err := ErrBusy
	if b := c.out.Begin(); len(b) > c.o.Out.Limit {
		c.out.Cancel()
		c.out.Flush()
	} else {
		err = c.out.End(call.Encode(Append(b, uint64(tag))), false)
	}
	if err != nil && c.cancel(call, tag) {
		if e := c.Err(); e != nil {
			err = e
		}
		return 0, err
	}
	return tag, nil // also if the connection ended meanwhile and Done was told
}

// cancel takes back a call that was not sent. It reports false if Done has the call.
func (c *Conn) cancel(call *Call, tag uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tags.get(uint64(tag)) != call {
		return false
	}
	c.tags.release(tag)
	return true
}

// abandon leaves a call's tag waiting for its late reply. It reports false if Done has the call.
func (c *Conn) abandon(call *Call, tag uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tags.get(uint64(tag)) != call {
		return false
	}
	c.tags.slots[tag].call = abandoned
	return true
}

// A waiter is the Call behind Conn.Call.
type waiter struct {
	call           Call
	request, reply []byte
	err            error
	done           chan struct{} // gets one token from Done
}

var waiters = sync.Pool{New: func() any {
	w := &waiter{done: make(chan struct{}, 1)}
	w.call.Encode = func(dst []byte) []byte { return append(dst, w.request...) }
	w.call.Done = func(_ *Call, reply []byte, err error) {
		w.reply, w.err = append(w.reply, reply...), err
		w.done <- struct{}{}
	}
	return w
}}

// Call sends request and waits for its reply, which it appends to reply[:0] and returns.
// It must not be called from Done, Incoming or Idle, which run on the goroutine that would
// bring the reply.
//
// When ctx ends it returns ctx's error; the tag is not used again until the late reply
// came, which is discarded and counted by Late. Other errors are those of Go, and the one that
// ended the connection.
func (c *Conn) Call(ctx context.Context, request, reply []byte) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	w := waiters.Get().(*waiter)
	defer func() {
		w.request, w.reply, w.err = nil, nil, nil
		waiters.Put(w)
	}()
	w.request, w.reply = request, reply[:0]
	tag, err := c.start(&w.call)
	if err != nil {
		return nil, err
	}
	c.out.Flush()
	select {
	case <-w.done:
	case <-ctx.Done():
		if c.abandon(&w.call, tag) {
			return nil, ctx.Err()
		}
		<-w.done
	}
	if w.err != nil {
		return nil, w.err
	}
	return w.reply, nil
}
