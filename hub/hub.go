// Package hub routes typed messages. A Source produces messages, a Sink takes
// them, a Handler processes them, and the Router routes each message by its type.
//
// A client sends a message of some type. The hub never looks into its data. The
// router picks a route by the type: an exact name comes before a pattern, and a
// more specific pattern before a wider one. It gives the message to the handlers
// of that route, in this process or behind a socket. A handler answers with
// commands: pass the message on, drop it, reply, hand it to users of this hub
// (sendClients), to other servers (sendServers) or to another handler
// (sendHandler), where routing begins again.
//
// What becomes of each message and of each delivery is counted in two sets of counters, which
// add up: see RouterStats.
//
// The package imports only the standard library and no other package of the
// project. Sessions, links and devices all import it.
package hub

import (
	"context"
	"errors"
	"fmt"
)

// The sentinel errors for a message that was refused or failed. A peer gets the
// text of the error that wraps one of these as the reason.
var (
	// ErrNoHandler: neither a handler nor a route serves the message's type.
	ErrNoHandler = errors.New("no handler for this type")
	// ErrHops: the message exceeded the limit of hops between handlers or hubs.
	ErrHops = errors.New("too many hops")
	// ErrFull: a bounded queue is full; the message was not taken. It signals backpressure.
	ErrFull = errors.New("queue is full")
	// ErrMemory: the memory for what waits is used up; the message was not taken.
	ErrMemory = fmt.Errorf("no memory left: %w", ErrFull)
	// ErrTooLong: the message is longer than a receiver takes.
	ErrTooLong = errors.New("too long for the receiver")
	// ErrDenied: the sender is not allowed to do this.
	ErrDenied = errors.New("not allowed")
	// ErrUnknownServer: the name is neither that of a configured server nor a host:port.
	ErrUnknownServer = errors.New("unknown server")
	// ErrHandler: the handler failed, ended, or gave an invalid answer.
	ErrHandler = errors.New("handler failed")
	// ErrTimeout: no answer came in time.
	ErrTimeout = errors.New("no answer in time")
	// ErrClosed: the sink has ended.
	ErrClosed = errors.New("closed")
	// ErrThrottled: logins of an account have failed too often; it was not checked.
	ErrThrottled = errors.New("too many failed logins")
	// ErrEncoding: the data cannot be converted to the receiver's encoding.
	ErrEncoding = errors.New("data cannot be converted")
)

// A Sink takes messages: a session, an actuator, an upstream, the Router.
type Sink interface {
	// Put takes m. It never waits for a peer. It returns nil when the sink has
	// taken responsibility for m: the comment of each implementation says how far
	// that reaches (memory, disk, peer). After an error the caller still owns m,
	// and no receipt follows. After nil, the sink calls m.Receipt, if it is set,
	// exactly once, when the message has been handled or has failed. That may be
	// before Put returns.
	//
	// m and everything it points to are borrowed: they are valid until Put returns.
	// A sink that keeps something copies it into its own memory. Put may be called
	// from many goroutines. After the sink has ended, Put returns an error that
	// wraps ErrClosed.
	Put(m *Message) error
}

// A Source produces messages: a sensor's poller, a bridge, the downlink of an upstream.
type Source interface {
	// Run puts messages into sink until ctx ends, then releases its resources and
	// returns nil. It counts and logs transient failures (a failing sensor, a lost
	// connection, a sink that refuses) and goes on. It returns an error earlier
	// only when it can never produce a message again. Run is called once.
	Run(ctx context.Context, sink Sink) error
}

// A Receipt is notified of the outcome of a message: it is the acknowledgement.
type Receipt interface {
	// Done is called exactly once for each message that was taken, from any
	// goroutine. err is nil if all commands of its handlers succeeded, otherwise
	// the first error. m is the message as it was sent, without its data and
	// recipients, and is valid until Done returns. m.Batch is the batch of the
	// calling goroutine; if it is nil, flush at once. Done must not block.
	Done(m *Message, err error)
}

// A Handler processes messages of its types. The interface is the same in this
// process and behind a socket, so a filter moves across the socket unchanged.
type Handler interface {
	// Handle processes m and answers through a: any number of commands, then
	// exactly one a.Done. It may answer before it returns, or later from another
	// goroutine (see Answer.Resume). m and its data are borrowed until Handle
	// returns. Handle must not block on a peer. It may be called from many
	// goroutines at once, but the messages of one connection come one after the
	// other. From a link, so do those of one sender, order key and type.
	Handle(m *Message, a *Answer)
}

// HandlerFunc is a Handler that answers before it returns. Most filters are
// written this way. The sender gets the returned error as the reason.
type HandlerFunc func(m *Message, a *Answer) error

// Handle calls f and ends the answer with what it returned.
func (f HandlerFunc) Handle(m *Message, a *Answer) { a.Done(f(m, a)) }

// Reason returns an error that says why a message failed, for its sender to read. The
// error wraps kind, but its text is the formatted one alone.
func Reason(kind error, format string, args ...any) error {
	return &reason{kind, fmt.Sprintf(format, args...)}
}

type reason struct {
	kind error
	text string
}

func (r *reason) Error() string { return r.text }
func (r *reason) Unwrap() error { return r.kind }
