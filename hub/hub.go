// Package hub moves typed messages: what gives them is a Source, what takes
// them is a Sink, what acts on them on their way is a Handler, and the Router
// knows by a message's type which way it goes.
//
// A client sends a message of some type. The hub never looks into its data. It
// picks a way by the type (an exact name before a pattern, a more specific
// pattern before a wider one) and gives the message to the handlers on it, in
// this process or behind a socket. A handler answers with commands: pass it on,
// drop it, reply, hand it to users of this hub (sendClients), to other servers
// (sendServers) or into another handler (sendHandler), where the same begins
// again.
//
// The package imports only the standard library and no other room of the
// project: sessions, links, the spool and the devices all point here.
package hub

import (
	"context"
	"errors"
	"fmt"
)

// What may become of a message, for programs to tell apart. The text of the
// error that wraps one of these is the reason a peer is given.
var (
	// ErrNoHandler: neither a handler nor a route serves the message's type.
	ErrNoHandler = errors.New("no handler for this type")
	// ErrHops: handlers or hubs sent the message round more often than the hub allows.
	ErrHops = errors.New("too many hops")
	// ErrFull: a bounded queue on the way has no room; nothing was taken.
	ErrFull = errors.New("queue is full")
	// ErrDenied: the sender may not do this.
	ErrDenied = errors.New("not allowed")
	// ErrUnknownServer: no server of that name is configured, and it is no host:port.
	ErrUnknownServer = errors.New("unknown server")
	// ErrHandler: the handler failed, ended, or gave an answer that cannot be carried out.
	ErrHandler = errors.New("handler failed")
	// ErrTimeout: no answer came in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrClosed: the sink has ended.
	ErrClosed = errors.New("closed")
	// ErrEncoding: the data cannot be expressed in what the receiver reads.
	ErrEncoding = errors.New("data cannot be converted")
)

// A Sink takes messages: a session, an actuator, an upstream, the Router.
type Sink interface {
	// Put takes m. It never waits for a peer. It returns nil when the sink has
	// taken responsibility for m: each implementation's comment says how far
	// that reaches (memory, disk, peer). After an error the caller still owns m,
	// and no receipt follows. After nil, a sink that sees m.Receipt calls it
	// exactly once, perhaps before Put returns, when the promise is kept or
	// broken.
	//
	// m and all that it points to are borrowed: valid until Put returns. A sink
	// that keeps something copies it into memory of its own. Put may be called
	// from many goroutines; after the sink has ended it returns an error that
	// wraps ErrClosed.
	Put(m *Message) error
}

// A Source gives messages: a sensor's poller, a bridge, what an upstream sends down.
type Source interface {
	// Run puts messages into sink until ctx ends, then lets go of all it holds
	// and returns nil. What may pass by itself (a failing sensor, a lost
	// connection, a sink that refuses) it counts, logs and outlives; it returns
	// an error earlier only when it can never give anything again. Run is called
	// once.
	Run(ctx context.Context, sink Sink) error
}

// A Receipt is told what became of a message that was sent.
type Receipt interface {
	// Done is called exactly once for each message that was taken, from any
	// goroutine: with nil when all that its handlers wanted was done, else with
	// the first thing that failed. m is the message as it was sent, without its
	// data and recipients, and is valid until Done returns; m.Batch is the batch of the calling
	// goroutine (or nil: flush at once). Done must not block.
	Done(m *Message, err error)
}

// A Handler acts on messages of its types. In this process or behind a socket,
// it is the same interface, so a filter moves across the socket unchanged.
type Handler interface {
	// Handle acts on m and says through a what is to be done, ending with
	// exactly one a.Done. It may do so before it returns, or later from another
	// goroutine (see Answer.Resume). m and its data are borrowed until Handle
	// returns. Handle must not block on a peer, and may be called from many
	// goroutines at once, but those of one connection come one after the other; from a
	// link, so do those of one sender, lane and type.
	Handle(m *Message, a *Answer)
}

// HandlerFunc is a Handler that answers before it returns: what filters are
// written as. The error it returns, if any, is the reason the sender is given.
type HandlerFunc func(m *Message, a *Answer) error

// Handle calls f and ends the answer with what it returned.
func (f HandlerFunc) Handle(m *Message, a *Answer) { a.Done(f(m, a)) }

// Reason returns an error that reads as its own text, in one line, and wraps kind, which
// is not in the text: why a message failed, for its sender to read.
func Reason(kind error, format string, args ...any) error {
	return &reason{kind, fmt.Sprintf(format, args...)}
}

type reason struct {
	kind error
	text string
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.kind }
