package client

import (
	"errors"
	"sync"

	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// errNoAnswer is why a connection ended whose hub does not answer pings.
var errNoAnswer = errors.New("the hub does not answer: its machine or the network no longer responds")

// pings are the pings of a Client's keepalive. A hub reads a session's frames in order, and
// may not read on while many of its messages are in flight. So an unanswered ping says
// something only if no message has been sent since the last answered one.
type pings struct {
	c *Client

	mu       sync.Mutex
	sent     uint64
	answered uint64 // the number of the last answered one
	queued   uint64 // frames in the send queue up to that one, itself included
}

// startKeepalive pings the hub whenever nothing has come for a while.
func (c *Client) startKeepalive() {
	p := &pings{c: c}
	c.keepalive.Ping, c.keepalive.Outstanding = p.send, p.outstanding
	c.keepalive.Start()
}

func (p *pings) send() {
	if p.c.conn.Err() != nil {
		p.c.keepalive.Stop()
		return
	}
	p.mu.Lock()
	number, queued := p.sent+1, p.c.conn.Out().Enqueued()+1
	p.mu.Unlock()
	err := p.c.conn.Go(&tristanable.Call{
		Encode: func(dst []byte) []byte { return append(dst, wire.AppendPing(nil, 0)[tristanable.TagSize:]...) },
		Done: func(_ *tristanable.Call, _ []byte, err error) {
			if err == nil {
				p.mu.Lock()
				defer p.mu.Unlock()
				p.answered, p.queued = number, queued
			}
		},
	})
	if err != nil {
		return // the queue is full: there is more to be answered than a ping
	}
	p.mu.Lock()
	p.sent = number
	p.mu.Unlock()
	p.c.conn.Flush()
}

// outstanding reports whether messages were sent after the last answered ping.
func (p *pings) outstanding() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.c.conn.Out().Enqueued() != p.queued+p.sent-p.answered
}
