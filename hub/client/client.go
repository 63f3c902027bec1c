// Package client speaks to a Bester hub as one of its users does, in the native
// dialect: it sends messages, learns what became of them, and gets what handlers send
// to the user.
package client

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
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
	decoder wire.Decoder // of what the reading goroutine reads
	message hub.Message  // what it has read last
	said    chan error   // what the hub said about the connection, at most one
}

// Dial connects to a hub and logs in. network is "unix", "tcp", "tcp4" or "tcp6". An
// error that wraps hub.ErrDenied means that the hub does not let the user in.
func Dial(ctx context.Context, network, address string, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, err := dial(ctx, network, address, o.TLS)
	if err != nil {
		return nil, err
	}
	c, err := login(ctx, conn, o)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("hub at %s: %w", address, err)
	}
	return c, nil
}

func dial(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	if config != nil {
		d := tls.Dialer{Config: config}
		return d.DialContext(ctx, network, address)
	}
	var d net.Dialer
	return d.DialContext(ctx, network, address)
}

// login says hello and waits for the hub's.
func login(ctx context.Context, conn net.Conn, o Options) (*Client, error) {
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	unblock := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	role := o.Scope
	if role == "" {
		role = wire.RoleClient
	}
	hello := wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: role, User: string(o.User), Password: o.Password})
	if _, err := conn.Write(bformat.Append(nil, hello)); err != nil {
		return nil, err
	}
	in := bformat.NewReader(conn, 0)
	payload, err := in.Next()
	if err != nil {
		return nil, fmt.Errorf("no answer to the hello: %w", err)
	}
	c := &Client{deliver: o.Deliver, said: make(chan error, 1)}
	if err := c.welcome(payload); err != nil {
		return nil, err
	}
	if !unblock() {
		return nil, ctx.Err()
	}
	conn.SetDeadline(time.Time{})
	c.conn = tristanable.NewConn(conn, tristanable.Options{Reader: in, Incoming: c.incoming})
	return c, nil
}

// welcome reads the hub's answer to the hello.
func (c *Client) welcome(payload []byte) error {
	_, rest, err := tristanable.Cut(payload)
	if err != nil {
		return err
	}
	kind, body, err := wire.CutKind(rest)
	if err != nil {
		return err
	}
	switch kind {
	case wire.KindStatus:
		if err := wire.ParseStatus(body); err != nil {
			return err
		}
	case wire.KindHello:
		h, err := wire.ParseHello(body)
		if err != nil {
			return err
		}
		c.hello = *h
		return nil
	}
	return fmt.Errorf("%w: the hub answered the hello with kind %d", wire.ErrMalformed, kind)
}

// Hub returns the hub's name.
func (c *Client) Hub() string { return c.hello.Name }

// Credits returns how many messages the hub takes before it has answered the first
// of them. Those sent on top wait in the connection.
func (c *Client) Credits() int { return c.hello.Credits }

// Post sends m without asking what becomes of it. Its nil reaches as far as memory;
// Flush has it sent. Type, To, Time and Data count; the rest is the hub's.
func (c *Client) Post(m *hub.Message) error {
	out := c.conn.Out()
	b, err := wire.AppendMessage(out.Begin(), 0, wire.KindSend, m)
	if err != nil {
		out.Cancel()
		return err
	}
	return out.End(b, false)
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
// they are thrown away.
func (c *Client) Request(ctx context.Context, m *hub.Message, reply func(m *hub.Message)) error {
	result := make(chan error, 1)
	if err := c.Go(m, reply, func(err error) { result <- err }); err != nil {
		return err
	}
	c.Flush()
	select {
	case err := <-result:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Go sends m and returns; done is told what became of it, once, on the goroutine that
// reads the connection. m is not used after Go has returned. Flush has it sent.
// After an error, done is not called.
func (c *Client) Go(m *hub.Message, reply func(m *hub.Message), done func(err error)) error {
	payload, err := wire.AppendMessage(nil, 0, wire.KindSend, m)
	if err != nil {
		return err
	}
	call := &tristanable.Call{
		Encode: func(dst []byte) []byte { return append(dst, payload[tristanable.TagSize:]...) },
		Part: func(_ *tristanable.Call, message []byte) bool {
			kind, body, err := wire.CutKind(message)
			if err != nil || kind != wire.KindDeliver {
				return false
			}
			c.receive(c.conn, body, reply)
			return true
		},
		Done: func(_ *tristanable.Call, message []byte, err error) { done(c.verdict(message, err)) },
	}
	return c.conn.Go(call)
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
	select {
	case said := <-c.said:
		c.said <- said
		return said
	default:
		return err
	}
}

// Ping waits until the hub has answered.
func (c *Client) Ping(ctx context.Context) error {
	ping := wire.AppendPing(nil, 0)[tristanable.TagSize:]
	answer, err := c.conn.Call(ctx, ping, nil)
	if err != nil {
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
		c.receive(conn, body, c.deliver)
	case wire.KindStatus:
		if err := wire.ParseStatus(body); tag == 0 && err != nil {
			c.say(err)
		}
	case wire.KindGoodbye:
		reason, _ := wire.ParseGoodbye(body)
		c.say(fmt.Errorf("%w: %s", hub.ErrClosed, reason))
	case wire.KindPing:
		if tag != 0 {
			conn.Out().Put(false, wire.AppendStatus(nil, tag, nil))
		}
	}
}

func (c *Client) say(err error) {
	select {
	case c.said <- err:
	default:
	}
}

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
	if err == nil || errors.Is(err, tristanable.ErrClosed) {
		return nil
	}
	return c.because(err)
}

// Close says goodbye, waits until what was sent is written and the hub has answered
// it and closed, or until ctx ends, and closes the connection.
func (c *Client) Close(ctx context.Context) error {
	c.conn.Out().Put(false, wire.AppendGoodbye(nil, ""))
	c.Flush()
	select {
	case <-c.conn.Done():
	case <-ctx.Done():
	}
	c.conn.Close()
	<-c.conn.Done()
	return ctx.Err()
}
