// Package upstream hands messages to other Bester servers.
//
// ClassicForwarder speaks the classic dialect as the original's servers do among themselves: one
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

// Options are the options of a ClassicForwarder. The zero value works.
type Options struct {
	// Addresses are the named servers, as host:port. SetServers replaces them.
	Addresses map[hub.ServerName]string
	// Timeout is how long connecting and sending may take together. If zero, 10 s.
	Timeout time.Duration
	// AnswerTimeout is how long a server may take to answer and close after it was sent a
	// message. Then the next message goes to it. If zero, 2 s.
	AnswerTimeout time.Duration
	// QueueMessages is how many messages may wait for one server. If zero, 256.
	QueueMessages int
	// QueueBytes is how many bytes of data may wait for one server. If zero, 4 MiB.
	QueueBytes int
	// Unnamed are the servers without a name that may be sent to. SetServers replaces them.
	Unnamed Unnamed
	// Log gets a line when the state of a named server changes, and rate-limited ones for
	// what fails. If nil, nothing is logged.
	Log *slog.Logger
	// MaxServers is how many servers may have messages waiting. Beyond that a message for a
	// further server without a name is refused. If zero, 64.
	MaxServers int
}

// A ClassicForwarder is the hub.Sink of all servers: the named ones and any host:port that
// Options.Unnamed allows. It has no spool: what waits is in memory only.
//
// Messages for one server that have as many hops are sent one after the other, each over a
// connection of its own. Servers do not wait for each other. When too much waits for a
// server, Put refuses with hub.ErrFull. When a server cannot be reached, all messages in
// the queue fail.
type ClassicForwarder struct {
	o           Options
	confirmed   atomic.Uint64
	unconfirmed atomic.Uint64
	failed      atomic.Uint64
	panics      atomic.Uint64
	known       atomic.Pointer[knownServers]
	logLimiter  *lograte.Limiter // of servers without a name
	ctx         context.Context
	stop        context.CancelFunc

	mu      sync.Mutex
	servers map[string]*destination // by host:port; only those in use
	closed  bool
	senders sync.WaitGroup
}

// knownServers are the servers of a config. They are immutable, but for the statuses.
type knownServers struct {
	addresses map[hub.ServerName]string
	named     map[hub.ServerName]*serverStatus
	unnamed   Unnamed
}

// NewClassicForwarder returns a ClassicForwarder. Shutdown ends it.
func NewClassicForwarder(o Options) *ClassicForwarder {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.AnswerTimeout = cmp.Or(o.AnswerTimeout, 2*time.Second)
	o.QueueMessages = cmp.Or(o.QueueMessages, 256)
	o.QueueBytes = cmp.Or(o.QueueBytes, 4<<20)
	o.MaxServers = cmp.Or(o.MaxServers, 64)
	f := &ClassicForwarder{o: o, logLimiter: newLimiter(), servers: make(map[string]*destination)}
	f.ctx, f.stop = context.WithCancel(context.Background())
	f.SetServers(o.Addresses, o.Unnamed)
	return f
}

// newLimiter bounds the lines on a server: an outage may last, and a server may come and go.
func newLimiter() *lograte.Limiter { return &lograte.Limiter{Every: time.Minute, Burst: 4} }

// SetServers replaces Options.Addresses and Options.Unnamed. What waits is still sent, in
// order and before what comes after it, to the address and by the rules that it was taken
// for. A server that keeps its name keeps its counters. One whose address changes is
// Untried until there is a message for the new address. The caller leaves the arguments
// unchanged from then on.
func (f *ClassicForwarder) SetServers(addresses map[hub.ServerName]string, unnamed Unnamed) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := &knownServers{addresses, make(map[hub.ServerName]*serverStatus), unnamed}
	old := f.known.Load()
	for name, address := range addresses {
		var status *serverStatus
		if old != nil {
			status = old.named[name]
		}
		if status == nil {
			status = &serverStatus{logLimiter: newLimiter(), ServerStats: ServerStats{Name: name}}
		}
		status.setAddress(address)
		known.named[name] = status
	}
	f.known.Store(known)
}

// Put queues m, in memory alone, for the server in m.To, which holds exactly one address.
// The receipt is told when the server has confirmed the message, or why it has not.
//
// A server that takes the message and closes without a status may be one of the original's,
// which never confirm: then the receipt gets no error, but hub.NoteUnconfirmed. If the
// server has confirmed a message before, that is an error, since its hub is probably being
// stopped. A server that has not answered within Options.AnswerTimeout may still do what
// it was sent: the receipt gets hub.NoteUnconfirmed in any case. Any other answer than a
// status is an error.
//
// A message that Put refuses counts as failed, and is logged at a bounded rate.
func (f *ClassicForwarder) Put(m *hub.Message) error {
	known := f.known.Load()
	address, err := f.queue(known, m)
	if err != nil {
		f.refused(known, m, address, err)
	}
	return err
}

// queue queues a message, and returns the address that it is for, as far as it is known.
func (f *ClassicForwarder) queue(known *knownServers, m *hub.Message) (address string, err error) {
	if len(m.To) != 1 || m.To[0].Server == "" {
		return "", fmt.Errorf("%w: upstream: want one server, got %v", hub.ErrUnknownServer, m.To)
	}
	to := m.To[0]
	address, ok := known.addresses[to.Server]
	if !ok {
		address = string(to.Server)
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return address, fmt.Errorf("%w %q: want a name from the config, or host:port", hub.ErrUnknownServer, to.Server)
	}
	j := job{known: known, status: known.named[to.Server], receipt: m.Receipt, message: *m}
	if j.status == nil && !known.unnamed.allowsName(address) {
		return address, hub.Reason(hub.ErrDenied, "server %s has no name in the hub's config, and hub.dial does not list it: add [servers.NAME], or list it", address)
	}
	out := *m
	out.To = nil
	if to.User != "" {
		out.To = []hub.Address{{User: to.User}}
	}
	frame := bformat.Begin(nil)
	frame, err = wire.AppendClassicServer(frame, &out)
	if err != nil {
		return address, fmt.Errorf("server %s: %w", j.status.label(address), err)
	}
	j.frame = bformat.End(frame, 0)
	j.message.To, j.message.Data, j.message.Batch = nil, hub.Data{}, nil
	return address, f.add(address, j)
}

// Shutdown refuses new messages and waits until the queued ones are sent. When ctx ends, the
// rest fail.
func (f *ClassicForwarder) Shutdown(ctx context.Context) error {
	f.mu.Lock()
	f.closed = true
	f.mu.Unlock()
	done := make(chan struct{})
	go func() {
		f.senders.Wait()
		close(done)
	}()
	defer f.stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		f.mu.Lock()
		idle := len(f.servers) == 0
		f.mu.Unlock()
		f.stop()
		<-done
		if idle {
			return nil
		}
		return ctx.Err()
	}
}

// Stats counts messages since the start.
type Stats struct {
	Confirmed   uint64 `json:"sent"`        // by servers
	Unconfirmed uint64 `json:"unconfirmed"` // handed over to servers that did not answer
	Failed      uint64 `json:"failed"`      // a server could not be reached, or refused, or too much waited for it
	Waiting     int    `json:"waiting"`     // now
	Panics      uint64 `json:"panics"`      // panics of the hub at a message, each of which ended that message alone
}

// Stats returns the counters as they are now.
func (f *ClassicForwarder) Stats() Stats {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := Stats{Confirmed: f.confirmed.Load(), Unconfirmed: f.unconfirmed.Load(), Failed: f.failed.Load(), Panics: f.panics.Load()}
	for _, v := range f.servers {
		s.Waiting += v.waiting
	}
	return s
}
