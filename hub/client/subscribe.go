package client

import (
	"context"
	"errors"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// Subscribe has the hub deliver, to Options.Deliver, each message whose type p matches and
// that no recipient is named for, beside what is sent to the user, until Unsubscribe or the
// end of the session. Deliveries may begin before it returns. An error that wraps
// hub.ErrDenied means that the account may not receive all these types; the subscription
// also ends by itself when it may no longer (see Options.PermissionsChanged). An error that
// wraps hub.ErrFull means that there are too many. Subscribing again does nothing.
func (c *Client) Subscribe(ctx context.Context, p hub.Pattern) error {
	return c.command(ctx, wire.AppendSubscribe(nil, 0, wire.Subscription{Pattern: p}))
}

// SubscribeWithLast is Subscribe that is delivered first, with Retained set, the last message
// of each of these types, as far as the hub has kept it. One that comes meanwhile may be
// delivered twice.
func (c *Client) SubscribeWithLast(ctx context.Context, p hub.Pattern) error {
	return c.command(ctx, wire.AppendSubscribe(nil, 0, wire.Subscription{Pattern: p, Last: true}))
}

// Unsubscribe ends a subscription. Messages that are on their way are still delivered. It
// is no error if there is none.
func (c *Client) Unsubscribe(ctx context.Context, p hub.Pattern) error {
	return c.command(ctx, wire.AppendUnsubscribe(nil, 0, p))
}

// command sends a payload, whose tag is not set yet, and waits for its status.
func (c *Client) command(ctx context.Context, payload []byte) error {
	answer, err := c.conn.Call(ctx, payload[tristanable.TagSize:], nil)
	switch {
	case errors.Is(err, tristanable.ErrBusy):
		return errQueueFull
	case err != nil && ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return c.connError(err)
	}
	return c.statusError(answer, nil)
}
