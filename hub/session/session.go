// Package session serves those who connect to the hub: clients, and servers that
// hand messages in, over TCP, TLS and UNIX sockets, in both dialects.
//
// A connection's first frame tells its dialect and who is there. From then until
// its close it is one session of one account, with one role, for good: client, server,
// or handler, which is handed on.
// A client's messages go to the hub.Router; what the hub has for the user comes
// back the same way. A handler process that connects is handed on (Options.Handler).
//
// Every session has one goroutine that reads and one that writes. What waits to be
// written is bounded in bytes; what happens when a peer does not read is the
// operator's choice (Limits.Full), and every drop is counted. A session has at most
// Limits.Credits messages under way in the hub; it is not read on past that, so a
// sender faster than its handlers waits, and nobody else does. What long frames and
// queues take together, over all sessions, is bounded by Limits.Memory; who stops inside
// a frame is closed, and an address that fails to log in again and again is held off.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
)

// A session is a connection that somebody has logged in on. Its life, top to bottom:
//
//  1. connection.serve reads the first frame, within the time to log in, and tells
//     the dialect; native.begin or classic.begin finds the account.
//  2. run makes it known to the directory; from now on messages may come for it.
//  3. writeLoop writes what is queued; the readLoop of the dialect reads frames and
//     puts messages into the router.
//  4. At the end of the input, or when the hub shuts down, drain waits until what
//     is under way has been answered, and at a shutdown until that is so for every
//     session; the queue is written out; close.
type session struct {
	*connection
	batch    hub.Batch
	name     hub.UserName
	account  atomic.Pointer[account.Account] // nil: a classic server
	peerCred bool                            // the operating system says who it is, not an account
	role     string                          // wire.RoleClient, RoleServer or RoleHandler, for good
	serves   []string                        // patterns of a handler
	handler  string                          // its name

	owner     atomic.Pointer[hub.Batch] // who will flush the session; its goroutine alone may use stage
	stage     *bformat.Stage
	staged    bool     // the gatherer is to unstage it
	inFlight  inFlight // messages taken and not yet answered
	credits   int
	endReason atomic.Pointer[error] // why no more messages are read; nil: they are
	received  uint64                // messages, for who reads
	now       time.Time             // see clock
}

var (
	errLogin = errors.New("not logged in in time")
	errClose = errors.New("the peer asked for it")
)

func (s *session) init(c *connection) {
	s.connection, s.stage = c, bformat.NewStage(c.out)
	s.batch.Own = true
	s.inFlight.reader, s.inFlight.doneSignal = &s.batch, make(chan struct{}, 1)
}

// run is the session's life from the login on: loop reads until the input ends. What
// has been queued before, the answer to the login, goes out first.
func (s *session) run(self receiver, loop func() error) {
	s.in.SetLimit(s.limits.Frame)
	s.conn.SetReadDeadline(time.Time{})
	if err := s.server.register(s); err != nil {
		s.startWriter()
		s.flushAndLinger()
		return
	}
	s.log.Debug("session begins")
	err := s.runRegistered(self, loop)
	if inputEnded(err) || isReported(err) {
		s.flushAndLinger()
	} else {
		s.out.Fail(err) // the connection is broken: nothing more can be written
		s.abort()
	}
	s.log.Debug("session ends", "sent", s.out.Enqueued(), "received", s.received, "dropped", s.out.Dropped(), "why", closeReason(err))
}

// live is run while the session is known. Should loop panic, nobody is kept waiting.
func (s *session) runRegistered(self receiver, loop func() error) error {
	defer s.server.unregister(s)
	if self != nil {
		defer s.server.o.Router.Directory().Join(s.name, self)()
	}
	s.startWriter() // who reads that the login is good can be reached
	drained := sync.OnceFunc(s.server.sessionDrained)
	defer drained()
	defer s.batch.Flush()

	s.recheck() // the account may have changed since the login
	err := loop()
	s.batch.Flush()
	if inputEnded(err) || isReported(err) {
		s.drain()
	}
	drained()
	if err == errShuttingDown {
		<-s.server.released // others may still have something for this user
	}
	return err
}

// A receiver is what the directory knows a session as.
type receiver interface {
	hub.Sink
	hub.Flusher
}

// Flush starts writing what is staged and queued. The gatherer calls it.
func (s *session) Flush() {
	s.unstage()
	s.owner.Store(nil)
	s.out.Flush()
}

// Unstage puts what b has staged into the queue.
func (s *session) Unstage(b *hub.Batch) {
	if s.ownedBy(b) {
		s.unstage()
	}
}

func (s *session) unstage() {
	s.staged = false
	s.queueError(s.stage.Flush())
}

// touch has the batch flush the session, if no other will.
func (s *session) scheduleFlush(b *hub.Batch) {
	if b == nil {
		s.out.Flush()
		return
	}
	if s.owner.Load() == nil && s.owner.CompareAndSwap(nil, b) {
		b.Add(s)
	}
}

// gathers reports whether b will flush the session: then its goroutine alone uses the stage.
func (s *session) ownedBy(b *hub.Batch) bool { return b != nil && s.owner.Load() == b }

// stages reports whether what comes with b is staged, so that what a burst brings for the
// session locks the queue once for many.
func (s *session) shouldStage(b *hub.Batch) bool {
	if s.ownedBy(b) && !s.staged {
		s.staged = b.Stage(s)
	}
	return s.ownedBy(b) && s.staged
}

// start begins a frame in the queue itself, behind all that the goroutine of b has put before.
func (s *session) beginFrame(b *hub.Batch) []byte {
	if s.ownedBy(b) && s.staged {
		s.queueError(s.stage.Flush())
	}
	return s.out.Begin()
}

// put ends the frame begun with start. It returns nil also where the frame is
// dropped, as Limits.Full says, which is counted.
func (s *session) endFrame(frame []byte, droppable bool, b *hub.Batch) error {
	if err := s.queueError(s.out.End(frame, droppable)); err != nil {
		return err
	}
	s.scheduleFlush(b)
	return nil
}

// queued is what an error of the queue means to who has put something into it.
func (s *session) queueError(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, bformat.ErrFull) {
		s.abort() // a write under way would hold the session for Limits.Write
	}
	return hub.ErrClosed
}

// oneCore is looked at once, at the start: GOMAXPROCS is not changed after that.
var oneCore = runtime.GOMAXPROCS(0) == 1

// next returns the next frame. From a peer that does not take its answers it takes none.
func (s *session) nextFrame() ([]byte, error) {
	if s.out.Backpressured() {
		s.endBurst()
	}
	return s.in.Next()
}

// pause sends off what the frames read so far have brought: the input has run dry, or the
// peer has to take its answers first.
func (s *session) endBurst() {
	s.batch.Flush()
	if oneCore {
		runtime.Gosched() // so that what was flushed is written before more comes: nobody else would
	}
	s.out.Wait()
	s.now = time.Time{}
}

// clock is the time at which the batch being read came.
func (s *session) batchTime() time.Time {
	if s.now.IsZero() {
		s.now = time.Now()
	}
	return s.now
}

// MayReach reports whether the account may have messages handed to that address.
func (s *session) MayReach(a hub.Address) bool {
	return s.account.Load().MayReach(a)
}

// maySend is nil if the account may send messages of type t. Refusals are counted, for who
// asks for no status hears nothing of them.
func (s *session) maySend(t hub.Type) error {
	if s.account.Load().MaySend(t) {
		return nil
	}
	s.server.stats.forbidden.Add(1)
	s.warn(&s.server.logLimiters.forbidden, "message refused: its account may not send the type",
		slog.String("user", string(s.name)), slog.String("type", string(t)), slog.String("remedy", "bester account allow --send"))
	return fmt.Errorf("%w: %q may not send type %q", hub.ErrDenied, s.name, t)
}

// takeOff counts a message as under way. It waits while the session has as many as
// its credits under way already.
func (s *session) acquireCredit() {
	if s.inFlight.count() >= s.credits {
		s.batch.Flush()
		s.inFlight.wait(s.credits)
	}
	s.inFlight.add()
}

// land counts a message as answered by the goroutine of b.
func (s *session) releaseCredit(b *hub.Batch) { s.inFlight.done(b) }

// drain waits until all messages under way have been answered. Handlers answer or
// time out, so it ends.
func (s *session) drain() { s.inFlight.wait(1) }

// login asks the accounts. On success the session is that user's; else the error is
// what the peer may know: hub.ErrDenied, or hub.ErrFull where it may well be let in later.
func (s *session) login(user, password string) error {
	var a *account.Account
	err := account.ErrDenied
	if accounts := s.server.o.Accounts; accounts != nil {
		err = s.throttleLogin(func(ctx context.Context) (err error) {
			a, err = accounts.Login(ctx, hub.UserName(user), password)
			return err
		})
	}
	if err != nil {
		s.server.stats.denied.Add(1)
		s.warn(&s.server.logLimiters.login, "login refused", slog.String("user", user), slog.Any("err", err))
		switch {
		case err == errThrottled:
			return fmt.Errorf("%w: %v", hub.ErrFull, err)
		case !errors.Is(err, account.ErrDenied):
			return fmt.Errorf("%w: too many logins at once, try again", hub.ErrFull)
		}
		return hub.ErrDenied
	}
	s.setAccount(a, user)
	return nil
}

func (s *session) setAccount(a *account.Account, user string) {
	s.account.Store(a)
	s.name = hub.UserName(user)
	s.log = s.log.With("user", user)
}

// ended reports whether the input ended, while the connection may still be written to:
// what was taken is then answered. A peer that has ended inside a frame may read on.
func inputEnded(err error) bool {
	switch err {
	case nil, io.EOF, io.ErrUnexpectedEOF, errClose, errShuttingDown, errRemoved, errNoPeer, errStalled:
		return true
	}
	return false
}

// said reports whether the peer is told why its session ends.
func isReported(err error) bool {
	_, told := err.(*reportedError)
	return told
}

// A toldError ends a session whose peer has been told why.
type reportedError struct{ err error }

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

func closeReason(err error) string {
	if err == nil || err == io.EOF {
		return "closed"
	}
	return err.Error()
}
