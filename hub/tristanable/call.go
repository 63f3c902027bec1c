package tristanable

import (
	"context"
	"sync"

	"github.com/besterhub/bester/hub/bformat"
)

// A Call is one request and the callbacks for its outcome. The caller owns it and may reuse
// it, on any Conn, once Done has been called or Go has failed.
type Call struct {
	// Encode appends the request to dst and returns the extended slice. It must not read or
	// change dst otherwise. Go calls it once, with the send queue locked, so it must not
	// block, panic or use the Conn.
	Encode func(dst []byte) []byte

	// Partial, if not nil, is called on the reading goroutine for each message under the
	// call's tag. If it returns true, the message is a part of the reply, and more follow
	// under the same tag; else Done gets the message. message is borrowed until Partial
	// returns.
	Partial func(call *Call, message []byte) bool

	// Done is called once for every Go that returns nil, perhaps before Go returns. It runs
	// on the reading goroutine, so it must not block, and must not use Conn.Call. reply is
	// borrowed until Done returns; err is nil, or what ended the connection. Done may
	// reuse call for Go.
	Done func(call *Call, reply []byte, err error)
}

// Go queues a request and returns; call.Done gets the reply. Up to 65535 requests may be in
// flight, and their replies may come in any order. The request is sent at the next Flush or
// when the reader has handled all that arrived.
//
// It returns ErrBusy if 65535 requests are in flight or more bytes wait than Options.Out.Limit,
// a *bformat.LimitError for a request over bformat.MaxPayload, or the error that
// the connection ended with. Then Done is not called.
func (c *Conn) Go(call *Call) error {
	_, err := c.start(call)
	return err
}

// start is Go, but returns the tag.
func (c *Conn) start(call *Call) (uint16, error) {
	c.mu.Lock()
	if c.err != nil {
		defer c.mu.Unlock()
		return 0, c.err
	}
	// Register before sending: the reply may be here before End returns.
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
		err = c.out.End(call.Encode(Append(b, uint64(tag))), bformat.Required)
	}
	if err != nil && c.cancel(call, tag) {
		if e := c.Err(); e != nil {
			err = e
		}
		return 0, err
	}
	return tag, nil // also if the connection ended meanwhile and Done got the error
}

// cancel unregisters a call that was not sent. It reports false if Done has the call.
func (c *Conn) cancel(call *Call, tag uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tags.get(uint64(tag)) != call {
		return false
	}
	c.tags.release(tag)
	return true
}

// abandon keeps a call's tag in use until its late reply comes. It reports false if Done has
// the call.
func (c *Conn) abandon(call *Call, tag uint16) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.tags.get(uint64(tag)) != call {
		return false
	}
	c.tags.slots[tag].call = abandoned
	return true
}

// A waiter is the Call behind a Conn.Call that waits.
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
// It must not be called from Done, Partial, Incoming or Idle, which run on the goroutine
// that reads the reply.
//
// When ctx ends, Call returns ctx's error. The tag is not reused until the late reply comes,
// which is discarded and counted by Late. Other errors are those of Go, and the one that
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
