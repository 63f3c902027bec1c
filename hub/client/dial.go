package client

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/dial"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// Dial connects to a hub and logs in. network is "unix", "tcp", "tcp4" or "tcp6". An
// error that wraps hub.ErrDenied means that the hub refused the login.
func Dial(ctx context.Context, network, address string, o Options) (*Client, error) {
	if o.Timeout == 0 {
		o.Timeout = 10 * time.Second
	}
	if o.MaxFrame == 0 {
		o.MaxFrame = maxFrame
	}
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	conn, err := open(ctx, network, address, o.TLS)
	if err != nil {
		return nil, err
	}
	c, err := login(ctx, conn, network+" "+address, o)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("hub at %s: %w", address, err)
	}
	return c, nil
}

func open(ctx context.Context, network, address string, config *tls.Config) (net.Conn, error) {
	if network == "unix" && !errors.Is(ctx.Err(), context.Canceled) {
		// It never waits, so that the reason is told even when the time is over.
		ctx = context.WithoutCancel(ctx)
	}
	var d dial.Dialer
	conn, err := d.DialContext(ctx, network, address)
	if err != nil || config == nil {
		return conn, err
	}
	if config.ServerName == "" && !config.InsecureSkipVerify {
		config = config.Clone()
		config.ServerName, _, _ = net.SplitHostPort(address)
	}
	t := tls.Client(conn, config)
	if err := t.HandshakeContext(ctx); err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}

// login sends the hello and waits for the hub's reply.
func login(ctx context.Context, conn net.Conn, address string, o Options) (*Client, error) {
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	unblock := context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })
	defer unblock()
	if o.MaxFrame == 0 {
		o.MaxFrame = 16 << 20
	}
	role := o.Role
	if role == "" {
		role = wire.RoleClient
	}
	hello := wire.AppendHello(nil, &wire.Hello{Version: wire.Version, Role: role, User: string(o.User), Password: o.Password,
		Token: o.Resumption.token(address, o.User, o.Password), MaxFrame: o.MaxFrame, SendOnly: o.SendOnly})
	_, sent := conn.Write(bformat.Append(nil, hello))
	in := bformat.NewReader(conn, o.MaxFrame)
	payload, err := in.Next() // even after a failed write: the hub may have sent a reason before it closed
	if err != nil {
		in.Release()
		if errors.Is(err, os.ErrDeadlineExceeded) {
			<-ctx.Done() // ctx has ended or is about to: the deadline is its own
			return nil, fmt.Errorf("no answer to the hello: %w", ctx.Err())
		}
		return nil, fmt.Errorf("no answer to the hello: %w", cmp.Or(sent, err))
	}
	c := &Client{deliver: o.Deliver, gap: o.Gap, changed: o.PermissionsChanged}
	if err := c.readHelloReply(payload); err != nil {
		in.Release()
		return nil, err
	}
	o.Resumption.keep(address, o.User, o.Password, c.hello.Token)
	if !unblock() {
		in.Release()
		return nil, ctx.Err()
	}
	conn.SetDeadline(time.Time{})
	c.keepalive.Interval = cmp.Or(o.Keepalive, 30*time.Second)
	c.keepalive.SetReadDeadline = conn.SetReadDeadline
	c.conn = tristanable.NewConn(conn, tristanable.Options{
		Reader: in, Incoming: c.incoming, Out: bformat.QueueOptions{Limit: maxQueued},
		Idle: func(*tristanable.Conn) { c.keepalive.Waiting() },
	})
	if c.keepalive.Interval > 0 {
		c.startKeepalive()
	}
	return c, nil
}

// readHelloReply reads the hub's answer to the hello.
func (c *Client) readHelloReply(payload []byte) error {
	_, kind, body, err := wire.Cut(payload)
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
		c.receives.Store(&h.Types)
		return nil
	}
	return fmt.Errorf("%w: the hub answered the hello with kind %d", wire.ErrMalformed, kind)
}
