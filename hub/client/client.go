// Package client connects to a Bester hub as one of its users, in the native dialect.
// It sends messages, receives their status, and receives what handlers send to the user.
package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// Options say how to connect. Only User is required on a UNIX socket that trusts the
// process's own user.
type Options struct {
	// User is the account that logs in. Password may be empty on a UNIX socket that
	// trusts the peer.
	User     hub.UserName
	Password string // of the account, in plain text
	// Resumption keeps what the hub gives for the next login, so that this needs no costly
	// check of the password. Share one among all dials of a process. If nil, each login is
	// by password.
	Resumption *Resumption
	// Role is wire.RoleClient or wire.RoleServer. If empty, wire.RoleClient.
	Role string
	// TLS makes it a TLS connection. If nil, a plain one.
	TLS *tls.Config
	// Timeout is how long connecting and logging in may take together, within the
	// context given to Dial. If zero, 10 s.
	Timeout time.Duration
	// Keepalive is how long nothing may come from the hub until it is pinged. If it does not
	// answer within as long again, the connection ends, unless messages were sent meanwhile
	// (the hub may not read them yet; the kernel watches the connection then). If zero, 30 s;
	// if negative, the hub is not pinged.
	Keepalive time.Duration
	// MaxFrame is how many bytes a frame from the hub may have. If zero, 64 MiB, which is the
	// most that a hub can be set to take: memory is taken as a frame arrives.
	MaxFrame int
	// Deliver gets each message that the hub delivers to the user. It is called on the
	// goroutine that reads the connection: while it blocks, nothing is read, and the hub
	// may drop messages that are queued. m and its data are borrowed until it returns.
	// If nil, deliveries are discarded.
	Deliver func(m *hub.Message)
	// SendOnly tells the hub that the client takes no deliveries, only replies: then it is
	// none of the user's receivers, and nothing that is sent to the user is counted as
	// delivered to it.
	SendOnly bool
	// Gap is called when the hub has lost deliveries to the client, with their number and
	// the reason, one line for people. It is called like Deliver, in order with it: where
	// the first of them would have come. If nil, gaps are ignored.
	Gap func(missed uint64, reason string)
	// PermissionsChanged is called when an administrator has changed what the account may
	// receive; Client.Receives returns it. It is called like Deliver. If nil, it is not told.
	PermissionsChanged func(c *Client)
}

// A Client is a session with a hub. Its methods may be called from many goroutines.
// It ends with Close or with the connection: see Done and Err.
type Client struct {
	conn        *tristanable.Conn
	hello       wire.Hello // the hub's first
	receives    atomic.Pointer[[]string]
	deliver     func(m *hub.Message)
	gap         func(missed uint64, reason string)
	changed     func(c *Client)       // see Options.PermissionsChanged
	decoder     wire.Decoder          // used by the reading goroutine alone
	message     hub.Message           // the last one read
	closeReason atomic.Pointer[error] // the first reason that the hub gave
	closing     atomic.Bool           // set by Close
	keepalive   tristanable.Keepalive
}

// maxFrame is the largest hub.frame that a hub's config can have, in bytes.
const maxFrame = 64 << 20

// The limits of the outgoing queue: it is flushed at the first one, and new messages are
// refused at the second.
const (
	flushThreshold = 32 << 10  // bytes
	maxQueued      = 256 << 10 // bytes; twice as much would end the connection
)

// ErrDisconnected is wrapped by the error of a message that has no status since the
// connection ended: it may have been handled or not. The error's text and the other errors
// that it wraps are the reason why the connection ended.
var ErrDisconnected = errors.New("disconnected")

// A disconnectedError adds ErrDisconnected to the reason why a connection ended.
type disconnectedError struct{ error }

func (e disconnectedError) Is(target error) bool { return target == ErrDisconnected }
func (e disconnectedError) Unwrap() error        { return e.error }

// ErrNoReason is the error of a connection that the hub ended without a reason. It wraps
// hub.ErrClosed.
var ErrNoReason = fmt.Errorf("%w: the hub ended the connection", hub.ErrClosed)

// Hub returns the hub's name.
func (c *Client) Hub() string { return c.hello.Name }

// Receives returns the patterns of what the account may receive; nil if the hub does
// not say. An administrator may change them: see Options.PermissionsChanged. The slice must
// not be changed.
func (c *Client) Receives() []string { return *c.receives.Load() }

// MaxFrame returns how many bytes a message to the hub may have, with its type and the like;
// 0 if the hub does not say.
func (c *Client) MaxFrame() int { return c.hello.MaxFrame }

// Credits returns how many messages without an answer the hub takes at a time. Further
// messages wait in the connection.
func (c *Client) Credits() int { return c.hello.Credits }

// Post sends m without asking for a status. It returns nil when m is queued in memory;
// Flush sends the queue, and so does a long queue by itself. Only Type, To, Time and Data
// are used; the hub sets the rest. An error that wraps hub.ErrFull is backpressure: the
// hub does not read fast enough; try again later.
func (c *Client) Post(m *hub.Message) error {
	out := c.conn.Out()
	b := out.Begin()
	waiting := len(b)
	if waiting > maxQueued {
		out.Cancel()
		out.Flush()
		return errQueueFull
	}
	b, err := wire.AppendMessage(b, 0, wire.KindSend, m)
	if err == nil {
		err = c.checkFrameSize(len(b) - waiting)
	}
	if err != nil {
		out.Cancel()
		return err
	}
	if err := out.End(b, bformat.Required); err != nil {
		return c.connError(cmp.Or(c.conn.Err(), err))
	}
	if len(b) > flushThreshold {
		out.Flush()
	}
	return nil
}

// errQueueFull is the backpressure error: the outgoing queue is full.
var errQueueFull = fmt.Errorf("%w: the hub does not read fast enough", hub.ErrFull)

// checkFrameSize refuses a payload that the hub would close the connection for.
func (c *Client) checkFrameSize(n int) error {
	if most := c.hello.MaxFrame; most > 0 && n > most {
		return fmt.Errorf("message of %d bytes: the hub takes at most %d: hub.frame in its config sets the limit", n, most)
	}
	return nil
}

// Flush starts sending what Post and Go have queued. It does not wait for the end.
func (c *Client) Flush() { c.conn.Flush() }

// Send sends m and waits for its status. It returns nil if all commands of the handlers
// succeeded, otherwise an error that wraps one of package hub's and has the hub's reason
// as its text. An error that wraps ErrDisconnected leaves open whether it was handled.
func (c *Client) Send(ctx context.Context, m *hub.Message) error {
	return c.Request(ctx, m, nil)
}

// Request is like Send and also passes each reply to reply, on the goroutine that reads
// the connection, before it returns. A reply is borrowed like a delivery. Replies are
// discarded if reply is nil or ctx has ended.
func (c *Client) Request(ctx context.Context, m *hub.Message, reply func(m *hub.Message)) error {
	_, err := c.RequestWithNote(ctx, m, reply)
	return err
}

// RequestWithNote is like Request and also returns the hub's note on a message that has
// not failed, such as that a recipient is absent; "" if there is none.
func (c *Client) RequestWithNote(ctx context.Context, m *hub.Message, reply func(m *hub.Message)) (note string, err error) {
	type outcome struct {
		note string
		err  error
	}
	result := make(chan outcome, 1)
	var mu sync.Mutex // held while reply runs, so that reply does not run after the return
	returned := false
	if given := reply; given != nil {
		reply = func(m *hub.Message) {
			mu.Lock()
			defer mu.Unlock()
			if !returned {
				given(m)
			}
		}
	}
	if err := c.start(m, reply, func(note string, err error) { result <- outcome{note, err} }); err != nil {
		return "", err
	}
	c.Flush()
	select {
	case v := <-result:
		return v.note, v.err
	case <-ctx.Done():
		mu.Lock()
		returned = true
		mu.Unlock()
		return "", ctx.Err()
	}
}

// Go queues m and returns; Flush sends it. done is called once with the outcome, on the
// goroutine that reads the connection. m is not used after Go has returned. If Go returns
// an error, done is not called. An error that wraps hub.ErrFull is backpressure: too many
// messages are queued or in flight.
func (c *Client) Go(m *hub.Message, reply func(m *hub.Message), done func(err error)) error {
	return c.start(m, reply, func(_ string, err error) { done(err) })
}

// GoWithNote is like Go and also gives done the hub's note, as RequestWithNote returns it.
func (c *Client) GoWithNote(m *hub.Message, reply func(m *hub.Message), done func(note string, err error)) error {
	return c.start(m, reply, done)
}

func (c *Client) start(m *hub.Message, reply func(m *hub.Message), done func(note string, err error)) error {
	payload, err := wire.AppendMessage(nil, 0, wire.KindSend, m)
	if err == nil {
		err = c.checkFrameSize(len(payload))
	}
	if err != nil {
		return err
	}
	waiting := 0
	call := &tristanable.Call{
		Encode: func(dst []byte) []byte {
			waiting = len(dst) + len(payload)
			return append(dst, payload[tristanable.TagSize:]...)
		},
		Partial: func(_ *tristanable.Call, message []byte) bool {
			kind, body, err := wire.CutKind(message)
			if err != nil || kind != wire.KindDeliver {
				return false
			}
			c.receive(c.conn, body, reply)
			return true
		},
		Done: func(_ *tristanable.Call, message []byte, err error) {
			if err = c.statusError(message, err); err != nil {
				done("", err)
				return
			}
			_, body, _ := wire.CutKind(message)
			done(wire.Note(body), nil)
		},
	}
	switch err := c.conn.Go(call); {
	case errors.Is(err, tristanable.ErrBusy):
		return errQueueFull
	case err != nil:
		return disconnectedError{c.connError(err)}
	}
	if waiting > flushThreshold {
		c.Flush()
	}
	return nil
}

// statusError returns the error of the status that ends a call; nil if it is good.
func (c *Client) statusError(message []byte, err error) error {
	if err != nil {
		return disconnectedError{c.connError(err)}
	}
	kind, body, err := wire.CutKind(message)
	if err == nil && kind != wire.KindStatus {
		err = fmt.Errorf("%w: want a status, got kind %d", wire.ErrMalformed, kind)
	}
	if err != nil {
		return err
	}
	return wire.ParseStatus(body)
}

// connError returns the reason that the hub gave before the connection ended, or else err.
func (c *Client) connError(err error) error {
	if reason := c.closeReason.Load(); reason != nil {
		return *reason
	}
	if c.keepalive.Expired() {
		return fmt.Errorf("%w: %w", hub.ErrClosed, errNoAnswer)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, tristanable.ErrClosed) {
		return ErrNoReason
	}
	return err
}

// Ping waits until the hub has answered.
func (c *Client) Ping(ctx context.Context) error { return c.command(ctx, wire.AppendPing(nil, 0)) }

// incoming takes the frames that are no answers: deliveries, and the status and goodbye of
// the connection.
func (c *Client) incoming(conn *tristanable.Conn, tag uint64, message []byte) {
	kind, body, err := wire.CutKind(message)
	if err != nil {
		conn.Fail(err)
		return
	}
	switch kind {
	case wire.KindDeliver:
		if tag == 0 { // otherwise a reply without a request
			c.receive(conn, body, c.deliver)
		}
	case wire.KindHello:
		h, err := wire.ParseHello(body)
		if err != nil {
			conn.Fail(err)
			return
		}
		c.receives.Store(&h.Types)
		if c.changed != nil {
			c.changed(c)
		}
	case wire.KindGap:
		missed, reason, err := wire.ParseGap(body)
		if err != nil {
			conn.Fail(err)
		} else if c.gap != nil {
			c.gap(missed, reason)
		}
	case wire.KindStatus:
		if tag != 0 {
			return
		}
		if err := wire.ParseStatus(body); err != nil {
			c.setCloseReason(err)
		}
	case wire.KindGoodbye:
		reason, _ := wire.ParseGoodbye(body)
		c.setCloseReason(fmt.Errorf("%w: %s", hub.ErrClosed, reason))
	case wire.KindPing:
		if tag != 0 {
			if err := conn.Out().Put(bformat.Required, wire.AppendStatus(nil, tag, nil)); err != nil {
				conn.Fail(err) // the hub sends pings but does not read: the write in flight would never end
			}
		}
	}
}

func (c *Client) setCloseReason(err error) { c.closeReason.CompareAndSwap(nil, &err) }

func (c *Client) receive(conn *tristanable.Conn, body []byte, to func(m *hub.Message)) {
	if to == nil {
		return
	}
	if err := c.decoder.Message(body, &c.message); err != nil {
		conn.Fail(err)
		return
	}
	to(&c.message)
}

// Done returns a channel that is closed when the connection has ended.
func (c *Client) Done() <-chan struct{} { return c.conn.Done() }

// Err returns why the connection ended: the hub's reason, if it gave one. It returns nil
// while the connection works and after Close.
func (c *Client) Err() error {
	err := c.conn.Err()
	if err == nil || c.closing.Load() {
		return nil
	}
	return c.connError(err)
}

// Close sends a goodbye and waits until everything is written and answered and the hub
// has closed the connection, or until ctx ends. Then it closes the connection. It returns
// ctx's error if the hub had not closed by then. It must not be called on the goroutine
// that reads the connection: from Deliver, reply or done.
func (c *Client) Close(ctx context.Context) error {
	c.closing.Store(true)
	c.keepalive.Stop()
	c.conn.Out().Put(bformat.Required, wire.AppendGoodbye(nil, ""))
	c.Flush()
	var err error
	select {
	case <-c.conn.Done():
	case <-ctx.Done():
		err = ctx.Err()
	}
	c.conn.Close()
	<-c.conn.Done()
	return err
}
