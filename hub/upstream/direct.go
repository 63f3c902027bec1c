// Package upstream hands messages to other Bester servers.
//
// Direct speaks the classic dialect as the original's servers do among themselves: one
// connection for each message, and nothing is stored. It gets the messages of the command
// sendServers and those to addresses of the form user@server.
package upstream

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// Options are the options of a Direct. The zero value works.
type Options struct {
	// Addresses are the named servers, as host:port.
	Addresses map[hub.ServerName]string
	// Timeout is how long connecting and sending may take together. If zero, 10 s.
	Timeout time.Duration
	// AnswerTimeout is how long a server may take to answer and close after it was sent a
	// message. Then the next message goes to it. If zero, 2 s.
	AnswerTimeout time.Duration
	// Queue is how many messages may wait for one server. If zero, 256.
	Queue int
	// Bytes is how much data may wait for one server. If zero, 4 MiB.
	Bytes int
	// Unnamed are the servers without a name that may be sent to.
	Unnamed Unnamed
	// Log gets a line when the state of a named server changes, and rate-limited ones for
	// what fails. If nil, nothing is logged.
	Log *slog.Logger
	// Servers is how many servers may have messages waiting. Beyond that a message for a
	// further server without a name is refused. If zero, 64.
	Servers int
}

// A Direct is the hub.Sink of all servers: the named ones and any host:port that
// Options.Unnamed allows.
//
// Messages for one server that have as many hops are sent one after the other, each over a
// connection of its own. Servers do not wait for each other. When too much waits for a
// server, Put refuses with hub.ErrFull. When a server cannot be reached, all messages in
// the queue fail.
type Direct struct {
	o           Options
	sent        atomic.Uint64
	unconfirmed atomic.Uint64
	failed      atomic.Uint64
	named       map[hub.ServerName]*serverStatus // immutable
	often       *lograte.Limiter                 // of servers without a name
	ctx         context.Context
	stop        context.CancelFunc

	mu      sync.Mutex
	servers map[string]*destination // by host:port; only those in use
	closed  bool
	senders sync.WaitGroup
}

// NewDirect returns a Direct. Shutdown ends it.
func NewDirect(o Options) *Direct {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.AnswerTimeout = cmp.Or(o.AnswerTimeout, 2*time.Second)
	o.Queue = cmp.Or(o.Queue, 256)
	o.Bytes = cmp.Or(o.Bytes, 4<<20)
	o.Servers = cmp.Or(o.Servers, 64)
	d := &Direct{o: o, named: make(map[hub.ServerName]*serverStatus), often: newLimiter(), servers: make(map[string]*destination)}
	for name, address := range o.Addresses {
		d.named[name] = &serverStatus{often: newLimiter(), ServerStats: ServerStats{Name: name, Address: address, State: Untried}}
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

// newLimiter bounds the lines on a server: an outage may last, and a server may come and go.
func newLimiter() *lograte.Limiter { return &lograte.Limiter{Every: time.Minute, Burst: 4} }

// Put queues m, in memory alone, for the server in m.To, which holds exactly one address.
// The receipt is told when the server has confirmed the message, or why it has not. A
// server that takes the message and closes, or does not answer within
// Options.AnswerTimeout, may be one of the original's, which never confirm: then the
// receipt gets no error, but hub.NoteUnconfirmed. Any other answer than a status is an
// error.
func (d *Direct) Put(m *hub.Message) error {
	if len(m.To) != 1 || m.To[0].Server == "" {
		return fmt.Errorf("%w: upstream: want one server, got %v", hub.ErrUnknownServer, m.To)
	}
	to := m.To[0]
	address, ok := d.o.Addresses[to.Server]
	if !ok {
		address = string(to.Server)
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%w %q: want a name from the config, or host:port", hub.ErrUnknownServer, to.Server)
	}
	j := job{status: d.named[to.Server], receipt: m.Receipt, message: *m}
	if j.status == nil && !d.o.Unnamed.allowsName(address) {
		return hub.Reason(hub.ErrDenied, "server %s has no name in the hub's config, and hub.dial does not list it: add [servers.NAME], or list it", address)
	}
	out := *m
	out.To = nil
	if to.User != "" {
		out.To = []hub.Address{{User: to.User}}
	}
	frame := bformat.Begin(nil)
	frame, err := wire.AppendClassicServer(frame, &out)
	if err != nil {
		return err
	}
	j.frame = bformat.End(frame, 0)
	j.message.To, j.message.Data, j.message.Batch = nil, hub.Data{}, nil
	return d.add(address, j)
}

// Shutdown refuses new messages and waits until the queued ones are sent. When ctx ends, the
// rest fail.
func (d *Direct) Shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.senders.Wait()
		close(done)
	}()
	defer d.stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		idle := len(d.servers) == 0
		d.mu.Unlock()
		d.stop()
		<-done
		if idle {
			return nil
		}
		return ctx.Err()
	}
}

// Stats counts messages since the start.
type Stats struct {
	Sent        uint64 `json:"sent"`        // servers have confirmed them
	Unconfirmed uint64 `json:"unconfirmed"` // handed over to servers that did not answer
	Failed      uint64 `json:"failed"`      // a server could not be reached, or refused
	Waiting     int    `json:"waiting"`     // now
}

// Stats returns the counters as they are now.
func (d *Direct) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{Sent: d.sent.Load(), Unconfirmed: d.unconfirmed.Load(), Failed: d.failed.Load()}
	for _, v := range d.servers {
		s.Waiting += v.waiting
	}
	return s
}
