// Package client speaks to a Bester hub as one of its users does, in the native
// dialect: it sends messages, learns what became of them, and gets what handlers send
// to the user.
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
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// Options say how to connect. The zero value works on a UNIX socket that trusts the
// process's own user, but for User.
type Options struct {
	// User is who logs in. The hub decides whether Password may be empty: it may on a
	// UNIX socket that trusts the peer.
	User     hub.UserName
	Password string
	// Scope is wire.RoleClient or wire.RoleServer. If empty, client.
	Scope string
	// TLS makes it a TLS connection. If nil, a plain one.
	TLS *tls.Config
	// Timeout is how long connecting and logging in may take together, within the
	// context given to Dial. If zero, 10 s.
	Timeout time.Duration
	// Deliver gets each message that the hub has for the user. It is called on the
	// goroutine that reads the connection: while it blocks, nothing is read, and the hub
	// may drop what waits. m and its data are borrowed until it returns. If nil,
	// deliveries are thrown away.
	Deliver func(m *hub.Message)
}

// A Client is a session with a hub. Its methods may be called from many goroutines.
// It ends by Close, or when the connection does: see Done and Err.
type Client struct {
	conn    *tristanable.Conn
	hello   wire.Hello
	deliver func(m *hub.Message)
	decoder wire.Decoder          // of what the reading goroutine reads
	message hub.Message           // what it has read last
	said    atomic.Pointer[error] // what the hub said first about the connection
	closing atomic.Bool           // by Close
}

// The way out: what waits is sent off at the first of these, and refused at the second.
const (
	flushAt = 32 << 10  // bytes
	fullAt  = 256 << 10 // bytes; twice as much would end the connection
)

// errGone is why a connection ended of which the hub said nothing.
var errGone = fmt.Errorf("%w: the hub ended the connection", hub.ErrClosed)

// Hub returns the hub's name.
func (c *Client) Hub() string { return c.hello.Name }

// Receives returns the patterns of what the account may receive; nil if the hub does
// not say. They were so at the login: an administrator may have changed them since.
func (c *Client) Receives() []string { return c.hello.Types }

// Credits returns how many messages the hub takes before it has answered the first
// of them. Those sent on top wait in the connection.
func (c *Client) Credits() int { return c.hello.Credits }

// Post sends m without asking what becomes of it. Its nil reaches as far as memory;
// Flush has it sent, and so has a backlog. Type, To, Time and Data count; the rest is
// the hub's. An error that wraps hub.ErrFull means that the hub does not read as fast:
// try again later.
func (c *Client) Post(m *hub.Message) error {
	out := c.conn.Out()
	b := out.Begin()
	waiting := len(b)
	if waiting > fullAt {
		out.Cancel()
		out.Flush()
		return errBusy
	}
	b, err := wire.AppendMessage(b, 0, wire.KindSend, m)
	if err == nil {
		err = c.fits(len(b) - waiting)
	}
	if err != nil {
		out.Cancel()
		return err
	}
	if err := out.End(b, false); err != nil {
		return c.because(cmp.Or(c.conn.Err(), err))
	}
	if len(b) > flushAt {
		out.Flush()
	}
	return nil
}

// errBusy is what is said of a message for which there is no room on the way out.
var errBusy = fmt.Errorf("%w: the hub does not read as fast", hub.ErrFull)

// fits refuses a payload for which the hub would close the connection.
func (c *Client) fits(n int) error {
	if most := c.hello.Frame; most > 0 && n > most {
		return fmt.Errorf("message of %d bytes: the hub takes at most %d: hub.frame in its config sets the limit", n, most)
	}
	return nil
}

// Flush has what Post and Go were given sent. It does not wait for that.
func (c *Client) Flush() { c.conn.Flush() }

// Send sends m and waits for what became of it: nil when all that its handlers wanted
// was done, else an error that wraps one of package hub's and reads as the hub's reason.
func (c *Client) Send(ctx context.Context, m *hub.Message) error {
	return c.Request(ctx, m, nil)
}

// Request is Send that hands each reply to reply, on the goroutine that reads the
// connection, before it returns. A reply is borrowed like a delivery. If reply is nil,
// they are thrown away, and so is what comes after ctx has ended.
func (c *Client) Request(ctx context.Context, m *hub.Message, reply func(m *hub.Message)) error {
	_, err := c.RequestNoted(ctx, m, reply)
	return err
}

// RequestNoted is Request that also returns the hub's note on a message that has not
// failed: what its sender may not have meant, such as that nobody is there. "" if none.
func (c *Client) RequestNoted(ctx context.Context, m *hub.Message, reply func(m *hub.Message)) (note string, err error) {
	type verdict struct {
		note string
		err  error
	}
	result := make(chan verdict, 1)
	var mu sync.Mutex // held while reply runs, so that none does after Request has returned
	over := false
	if given := reply; given != nil {
		reply = func(m *hub.Message) {
			mu.Lock()
			defer mu.Unlock()
			if !over {
				given(m)
			}
		}
	}
	if err := c.start(m, reply, func(note string, err error) { result <- verdict{note, err} }); err != nil {
		return "", err
	}
	c.Flush()
	select {
	case v := <-result:
		return v.note, v.err
	case <-ctx.Done():
		mu.Lock()
		over = true
		mu.Unlock()
		return "", ctx.Err()
	}
}

// Go sends m and returns; done is told what became of it, once, on the goroutine that
// reads the connection. m is not used after Go has returned. Flush has it sent.
// After an error, done is not called; one that wraps hub.ErrFull means that too much
// waits to be sent or answered already.
func (c *Client) Go(m *hub.Message, reply func(m *hub.Message), done func(err error)) error {
	return c.start(m, reply, func(_ string, err error) { done(err) })
}

func (c *Client) start(m *hub.Message, reply func(m *hub.Message), done func(note string, err error)) error {
	payload, err := wire.AppendMessage(nil, 0, wire.KindSend, m)
	if err == nil {
		err = c.fits(len(payload))
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
			if err = c.verdict(message, err); err != nil {
				done("", err)
				return
			}
			_, body, _ := wire.CutKind(message)
			done(wire.Note(body), nil)
		},
	}
	switch err := c.conn.Go(call); {
	case errors.Is(err, tristanable.ErrBusy):
		return errBusy
	case err != nil:
		return c.because(err)
	}
	if waiting > flushAt {
		c.Flush()
	}
	return nil
}

// verdict reads the status that ends a call.
func (c *Client) verdict(message []byte, err error) error {
	if err != nil {
		return c.because(err)
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

// because returns what the hub said before the connection ended, if it said anything.
func (c *Client) because(err error) error {
	if said := c.said.Load(); said != nil {
		return *said
	}
	if errors.Is(err, io.EOF) || errors.Is(err, tristanable.ErrClosed) {
		return errGone
	}
	return err
}

// Ping waits until the hub has answered.
func (c *Client) Ping(ctx context.Context) error {
	ping := wire.AppendPing(nil, 0)[tristanable.TagSize:]
	answer, err := c.conn.Call(ctx, ping, nil)
	switch {
	case errors.Is(err, tristanable.ErrBusy):
		return errBusy
	case err != nil:
		return c.because(err)
	}
	return c.verdict(answer, nil)
}

// incoming takes what is no answer: deliveries, and what the hub says of the connection.
func (c *Client) incoming(conn *tristanable.Conn, tag uint64, message []byte) {
	kind, body, err := wire.CutKind(message)
	if err != nil {
		conn.Fail(err)
		return
	}
	switch kind {
	case wire.KindDeliver:
		if tag == 0 { // else a reply to what nobody asked
			c.receive(conn, body, c.deliver)
		}
	case wire.KindStatus:
		if tag != 0 {
			return
		}
		if err := wire.ParseStatus(body); err != nil {
			c.say(err)
		}
	case wire.KindGoodbye:
		reason, _ := wire.ParseGoodbye(body)
		c.say(fmt.Errorf("%w: %s", hub.ErrClosed, reason))
	case wire.KindPing:
		if tag != 0 {
			if err := conn.Out().Put(false, wire.AppendStatus(nil, tag, nil)); err != nil {
				conn.Fail(err) // it asks, but does not read: a write under way would go on
			}
		}
	}
}

func (c *Client) say(err error) { c.said.CompareAndSwap(nil, &err) }

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

// Err returns why the connection ended: what the hub said, if it said why; nil while it
// works and after Close.
func (c *Client) Err() error {
	err := c.conn.Err()
	if err == nil || c.closing.Load() {
		return nil
	}
	return c.because(err)
}

// Close says goodbye, waits until what was sent is written and the hub has answered
// it and closed, or until ctx ends, and closes the connection. It returns ctx's error
// if the hub had not closed by then. It must not be called on the goroutine that reads
// the connection: from Deliver, a reply or done.
func (c *Client) Close(ctx context.Context) error {
	c.closing.Store(true)
	c.conn.Out().Put(false, wire.AppendGoodbye(nil, ""))
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
