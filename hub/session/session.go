// Package session serves those who connect to the hub: clients, and servers that
// hand messages in, over TCP, TLS and UNIX sockets, in both dialects.
//
// A connection's first frame tells its dialect and who is there. From then until
// its close it is one session of one account, with one scope, client or server.
// A client's messages go to the hub.Router; what the hub has for the user comes
// back the same way. A handler process that connects is handed on (Options.Handler).
//
// Every session has one goroutine that reads and one that writes. What waits to be
// written is bounded in bytes; what happens when a peer does not read is the
// operator's choice (Limits.Full), and every drop is counted. A session has at most
// Limits.Credits messages under way in the hub; it is not read on past that, so a
// sender faster than its handlers waits, and nobody else does.
package session

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
)

// A session is a connection that somebody has logged in on. Its life, top to bottom:
//
//  1. connection.serve reads the first frame, within the time to log in, and tells
//     the dialect; native.serve or classic.serve finds the account.
//  2. run makes it known to the directory; from now on messages may come for it.
//  3. writeLoop writes what is queued; the readLoop of the dialect reads frames and
//     puts messages into the router.
//  4. At the end of the input, or when the hub shuts down, drain waits until what
//     is under way has been answered, and at a shutdown until that is so for every
//     session; the queue is written out; close.
type session struct {
	connection
	batch   hub.Batch
	name    hub.UserName
	leave   func() // the directory
	account atomic.Pointer[account.Account]
	scope   string

	written  chan struct{} // closed when writeLoop has ended
	dirty    atomic.Bool   // in somebody's batch
	underWay atomic.Int64  // messages taken and not yet answered
	landed   chan struct{} // wakes the reader that waits for them
	credits  int64
	ending   atomic.Bool // no more messages are read

	sent, received atomic.Uint64
}

var (
	errLogin  = errors.New("not logged in")
	errEnding = errors.New("the hub is shutting down")
	errClose  = errors.New("the peer asked for it")
)

// run is the session's life from the login on: loop reads until the input ends.
func (s *session) run(self receiver, loop func() error) {
	s.in.SetLimit(s.limits.Frame)
	s.conn.SetReadDeadline(time.Time{})
	if !s.server.enter(s) { // shutting down
		s.out.Shutdown()
		<-s.written
		return
	}
	if self != nil {
		s.leave = s.server.o.Router.Directory().Join(s.name, self)
	}
	s.log.Debug("session begins")

	err := loop()

	s.batch.Flush()
	if ended(err) {
		s.drain()
	}
	s.server.drained.Done()
	if s.ending.Load() {
		s.server.drained.Wait() // others may still have something for this user
	}
	if s.leave != nil {
		s.leave()
	}
	s.server.left(s)
	if ended(err) || said(err) {
		s.out.Shutdown()
	} else {
		s.out.Fail(err) // the connection is broken: nothing more can be written
	}
	<-s.written
	s.log.Debug("session ends", "sent", s.sent.Load(), "received", s.received.Load(), "dropped", s.out.Dropped(), "why", why(err))
}

// A receiver is what the directory knows a session as.
type receiver interface {
	hub.Sink
	hub.Flusher
}

// startWriter starts the goroutine that writes; from here on frames may be queued.
func (s *session) startWriter() {
	s.written = make(chan struct{})
	go s.writeLoop()
}

func (s *session) writeLoop() {
	defer close(s.written)
	if err := s.out.Run(); err != nil {
		if errors.Is(err, bformat.ErrFull) {
			s.log.Warn("session closed: it does not read what it is sent", "queue", s.limits.Queue)
			s.server.stats.slow.Add(1)
		}
		s.conn.Close() // wakes the reader
	}
}

// Flush starts writing what the session's queue holds.
func (s *session) Flush() {
	s.dirty.Store(false)
	s.out.Flush()
}

// touch has the batch flush the session once.
func (s *session) touch(b *hub.Batch) {
	if b == nil {
		s.out.Flush()
		return
	}
	if !s.dirty.Load() && s.dirty.CompareAndSwap(false, true) {
		b.Add(s)
	}
}

// MayReach reports whether the account may have messages handed to that address.
func (s *session) MayReach(a hub.Address) bool {
	return s.account.Load().MayReach(a)
}

// takeOff counts a message as under way. It waits while the session has as many as
// its credits under way already.
func (s *session) takeOff() {
	if s.underWay.Load() >= s.credits {
		s.batch.Flush()
		for s.underWay.Load() >= s.credits {
			<-s.landed
		}
	}
	s.underWay.Add(1)
}

// land counts a message as answered.
func (s *session) land() {
	if n := s.underWay.Add(-1); n == 0 || n == s.credits-1 {
		select {
		case s.landed <- struct{}{}:
		default:
		}
	}
}

// drain waits until all messages under way have been answered. Handlers answer or
// time out, so it ends.
func (s *session) drain() {
	for s.underWay.Load() > 0 {
		<-s.landed
	}
}

// end has the session read no more, answer what is under way, and close.
func (s *session) end() {
	s.ending.Store(true)
	s.conn.SetReadDeadline(time.Unix(1, 0))
}

// login asks the accounts. On success the session is that user's.
func (s *session) login(user, password string) error {
	ctx, cancel := context.WithTimeout(context.Background(), s.limits.Login)
	defer cancel()
	a, err := s.server.login(ctx, user, password)
	if err != nil {
		s.server.stats.denied.Add(1)
		s.warn(&s.server.often.login, "login refused", slog.String("user", user), slog.Any("err", err))
		return err
	}
	s.as(a, user)
	return nil
}

func (s *session) as(a *account.Account, user string) {
	s.account.Store(a)
	s.name = hub.UserName(user)
	s.log = s.log.With("user", user)
}

// ended reports whether the input ended the way it should.
func ended(err error) bool {
	return err == nil || errors.Is(err, io.EOF) || errors.Is(err, errEnding) || errors.Is(err, errClose)
}

// said reports whether the peer is told why its session ends.
func said(err error) bool {
	var told *toldError
	return errors.As(err, &told)
}

// A toldError ends a session whose peer has been told why.
type toldError struct{ err error }

func (e *toldError) Error() string { return e.err.Error() }
func (e *toldError) Unwrap() error { return e.err }

func why(err error) string {
	if ended(err) {
		return "closed"
	}
	return err.Error()
}
