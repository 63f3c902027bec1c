// Package session serves the peers that connect to the hub: clients, and servers that
// hand in messages, over TCP, TLS and UNIX sockets, in both dialects.
//
// A connection's first frame tells its dialect and authenticates the peer. From then until
// its close the connection is one session of one account, with one fixed role: client,
// server or handler. A client's messages go to the hub.Router, and messages for the user
// come back over the same connection. The connection of a handler process is handed off
// (Options.Handler).
//
// The hub runs on Linux alone, which this package needs for the credentials of UNIX sockets
// and to see peers hang up (hub/socket). The kit for handlers and hub/client also build for
// other systems.
//
// Every session has one reader goroutine and one writer goroutine. Its send queue is
// bounded in bytes; the operator chooses what happens when a peer does not read
// (Limits.Overflow). A full queue drops the messages of the senders with most in it. Every loss is
// counted by user and reason, logged, and told to a native receiver. A session has at most Limits.Credits messages
// in flight in the hub and is not read beyond that, so only a sender that is faster than
// its handlers waits; so does one that sends more than Limits.Rate. The memory that long frames and queues of all sessions take together
// is bounded by Limits.Memory. A peer that stalls inside a frame is closed, and an address
// with too many failed logins is throttled.
package session

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"strings"
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
//  2. run joins the directory; from now on messages may come for the session.
//  3. writeLoop writes what is queued; the readLoop of the dialect reads frames and
//     puts messages into the router.
//  4. At the end of the input, or when the hub shuts down, drain waits until all messages
//     in flight have been answered, at a shutdown those of every session. The queue is
//     flushed and the connection closed.
type session struct {
	*connection
	batch               hub.Batch
	name                hub.UserName
	account             atomic.Pointer[account.Account] // nil: a classic server
	usedPeerCredentials bool                            // authenticated by UNIX peer credentials, not by an account
	sendOnly            bool                            // takes no deliveries but replies
	role                string                          // wire.RoleClient, RoleServer or RoleHandler, for good
	serves              []string                        // patterns of a handler
	handler             string                          // its name

	owner        atomic.Pointer[hub.Batch] // the batch that will flush the session; only its goroutine may use stage
	stage        *bformat.Stage
	staged       bool // the owner must unstage
	inFlight     inFlight
	credits      int
	endReason    atomic.Pointer[error] // why reading has stopped; nil while it goes on
	ended        chan struct{}         // closed when endReason is set
	clearMessage func()                // drops what the message read last points to; nil: nothing

	onPermissions func(*account.Account) // called when the account may receive other types than before; nil: nothing is to be done
	subscriptions subscriptions

	// Only the reader uses these:
	received  uint64        // messages
	now       time.Time     // see batchTime
	readAfter time.Duration // a rate limit has the session wait until then, from Server.started on; 0: none
	closedAt  time.Duration // when it saw, while it waited for that, that its peer had closed; 0: it has not
}

var (
	errLogin = errors.New("not logged in in time")
	errClose = errors.New("the peer asked for it")
)

func (s *session) init(c *connection) {
	s.connection, s.stage = c, bformat.NewStage(c.out)
	s.batch.AllowStaging = true
	s.ended = make(chan struct{})
	s.inFlight.reader, s.inFlight.doneSignal = &s.batch, make(chan struct{}, 1)
}

// run runs the session from the login on; loop reads until the input ends. Frames queued
// before, such as the answer to the login, are sent first.
func (s *session) run(self receiver, loop func() error) {
	s.in.SetLimit(s.limits.MaxFrame)
	s.conn.SetReadDeadline(time.Time{})
	if err := s.server.register(s); err != nil {
		s.startWriter()
		s.flushAndLinger()
		return
	}
	err := s.runRegistered(self, loop)
	if inputEnded(err) || isReported(err) {
		s.flushAndLinger()
	} else {
		s.out.Fail(err) // the connection is broken: nothing more can be written
		s.abort()
	}
	sent := s.out.Stats()
	s.log.Debug("session ends", "delivered", sent.Delivered, "received", s.received, "lost", sent.Lost.Total(), "why", closeReason(err))
}

// runRegistered is the part of run during which the session is registered. It cleans up
// also if loop panics, so that a shutdown does not wait for the session.
func (s *session) runRegistered(self receiver, loop func() error) error {
	defer s.server.unregister(s)
	if self != nil {
		defer s.server.o.Router.Directory().Join(s.name, self)()
		defer s.endSubscriptions(allPatterns)
	}
	s.log.Debug("session begins")
	s.startWriter() // not before Join: a client that reads that the login is good can be reached
	drained := sync.OnceFunc(s.server.sessionDrained)
	defer drained()
	defer s.batch.Flush()

	s.recheck()       // the account may have changed since the login
	s.countRate(0, 0) // its other sessions may have exceeded its rate
	err := loop()
	s.batch.Flush()
	if inputEnded(err) || isReported(err) {
		s.drain()
	}
	drained()
	if err == errShuttingDown {
		<-s.server.released // other sessions' answers may still go to this user
	}
	return err
}

// A receiver is a session as the directory sees it.
type receiver interface {
	hub.Sink
	hub.Flusher
}

// beginFrame begins a frame in the queue itself, after all frames that the goroutine of b
// has put or staged before.
func (s *session) beginFrame(b *hub.Batch) []byte {
	if s.ownedBy(b) && s.staged {
		s.flushStage()
	}
	return s.out.Begin()
}

// endFrame ends the frame begun with beginFrame. It returns an error if the frame is dropped
// at once, or the queue has ended.
func (s *session) endFrame(frame []byte, c bformat.Class, b *hub.Batch) error {
	err := s.queueError(s.out.End(frame, c))
	if err != hub.ErrClosed {
		s.scheduleFlush(b)
	}
	return err
}

// queueError converts an error of the queue to the error of Put.
func (s *session) queueError(err error) error {
	if err == nil {
		return nil
	}
	if dropped, ok := err.(*bformat.DropError); ok {
		if dropped.Reason == bformat.LossMemory {
			return errNoMemory
		}
		return errQueueFull
	}
	if errors.Is(err, bformat.ErrFull) {
		s.abort() // a write in flight would hold the session for Limits.WriteTimeout
	}
	return hub.ErrClosed
}

// nextFrame returns the next frame. While the queue is backpressured, since the peer does
// not read its answers, or a rate limit is exceeded, nextFrame waits first.
func (s *session) nextFrame() ([]byte, error) {
	if s.out.Backpressured() {
		s.endBurst()
	}
	if s.readAfter != 0 {
		s.releaseMessage()
		if !s.in.Shrink() {
			s.in.Hold()
		}
		s.beforeBlocking()
		if err := s.waitForRate(); err != nil {
			return nil, err
		}
	}
	return s.in.Next()
}

// beforeBlocking prepares for the session to wait for something other than its input. What
// came of the frames read so far is flushed, and the memory that stays held is charged.
func (s *session) beforeBlocking() {
	s.in.Hold()
	s.batch.Flush()
}

func (s *session) releaseMessage() {
	if s.clearMessage != nil {
		s.clearMessage()
	}
}

// shrinkInput has the reader hold no more memory than it needs, before a login that may
// have to wait. The first frame is no longer valid afterwards.
func (s *session) shrinkInput() error {
	if s.in.Shrink() {
		return nil
	}
	s.noMemory(bformat.ErrMemory)
	return fmt.Errorf("%w: %v", hub.ErrFull, bformat.ErrMemory)
}

// endBurst flushes what came of the frames read so far, and waits while the queue is
// backpressured. It is called when the input has run dry or the peer does not read its
// answers.
func (s *session) endBurst() {
	s.releaseMessage()
	s.batch.Flush()
	if s.server.oneCore.Load() {
		runtime.Gosched() // lets the writer run before more is read; no other core would run it
	}
	if s.out.Backpressured() {
		s.in.Hold()
		s.out.Wait()
	}
	s.now = time.Time{}
}

// batchTime returns the time at which the current batch of frames was read.
func (s *session) batchTime() time.Time {
	if s.now.IsZero() {
		s.now = time.Now()
	}
	return s.now
}

// MayReach reports whether the account's messages may be handed to that address.
func (s *session) MayReach(a hub.Address) bool {
	return s.account.Load().MayReach(a)
}

// MaySend reports whether the account may send messages of type t.
func (s *session) MaySend(t hub.Type) bool { return s.account.Load().MaySend(t) }

// checkSend returns nil if the account may send messages of type t. Refusals are counted and
// logged, since a sender that requests no status does not see them.
func (s *session) checkSend(t hub.Type) error {
	if s.account.Load().MaySend(t) {
		return nil
	}
	s.server.stats.sendsDenied.Add(1)
	s.warn(&s.server.logLimiters.sendsDenied, "message refused: its account may not send the type",
		slog.String("user", string(s.name)), slog.String("type", string(t)), slog.String("remedy", "bester account allow --add --send"))
	return fmt.Errorf("%w: %q may not send type %q", hub.ErrDenied, s.name, t)
}

// acquireCredit counts a message as in flight. It blocks while the session has used up its
// credits.
func (s *session) acquireCredit() {
	if s.inFlight.count() >= s.credits {
		s.beforeBlocking()
		s.inFlight.wait(s.credits)
	}
	s.inFlight.add()
}

// releaseCredit counts a message as answered by the goroutine of b.
func (s *session) releaseCredit(b *hub.Batch) { s.inFlight.done(b) }

// drain waits until all messages in flight have been answered. It ends, since handlers
// answer or time out. Nothing more is read.
func (s *session) drain() {
	s.in.Release()
	s.inFlight.wait(1)
}

// login checks a name with its token or password. On success the session is that user's,
// and next is the token for its next login, if there is one. Otherwise the error is what
// the peer may know: hub.ErrDenied, or hub.ErrThrottled or hub.ErrFull if it may succeed
// later.
func (s *session) login(user, password, token string) (next string, err error) {
	var a *account.Account
	err = account.ErrDenied
	if accounts := s.server.o.Accounts; accounts != nil {
		r := account.LoginRequest{Name: hub.UserName(user), Password: password, Token: token, From: s.address}
		cached := func() bool {
			a = accounts.Cached(r)
			return a != nil
		}
		err = s.throttleLogin(user, cached, func(ctx context.Context) (err error) {
			a, next, err = accounts.LoginFrom(ctx, r)
			return err
		})
	}
	if err != nil {
		s.server.stats.denied.Add(1)
		s.warnFor(&s.server.logLimiters.login, user+s.host(), "login refused", slog.String("user", triedName(user)), slog.Any("err", err))
		switch {
		case errors.Is(err, hub.ErrThrottled), errors.Is(err, hub.ErrFull):
			return "", err
		case !errors.Is(err, account.ErrDenied):
			return "", hub.Reason(hub.ErrFull, "too many logins at once: try again")
		}
		return "", hub.ErrDenied
	}
	s.setAccount(a, user)
	return next, nil
}

// triedName returns a name that somebody has given, which may be anything, for the log: one
// that is longer than a name may be is cut off. The log's handler escapes it.
func triedName(name string) string {
	if len(name) <= account.MaxName {
		return name
	}
	return strings.ToValidUTF8(name[:account.MaxName], "") + "…"
}

func (s *session) setAccount(a *account.Account, user string) {
	s.account.Store(a)
	s.name = hub.UserName(user)
	s.log = s.log.With("user", user)
}

// warnMalformed logs that the session is closed for what it sent.
func (s *session) warnMalformed(err error) {
	if isTooLong(err) {
		s.warn(&s.server.logLimiters.malformed, "session closed: it sent a longer frame than hub.frame allows", slog.String("user", string(s.name)), slog.Any("err", err))
		return
	}
	s.warn(&s.server.logLimiters.malformed, "session closed: it sent what is no message", slog.String("user", string(s.name)), slog.Any("err", err))
}

// inputEnded reports whether only the input ended: the connection can still be written to,
// so messages in flight are answered. A peer that has ended inside a frame may still read.
func inputEnded(err error) bool {
	switch err {
	case nil, io.EOF, io.ErrUnexpectedEOF, errClose, errShuttingDown, errRemoved, errNoPeer, errStalled, errReclaimed, errKicked, errHungUp:
		return true
	}
	return false
}

// isReported reports whether the peer has been told why its session ends.
func isReported(err error) bool {
	_, told := err.(*reportedError)
	return told
}

// A reportedError ends a session whose peer has been told why.
type reportedError struct{ err error }

func (e *reportedError) Error() string { return e.err.Error() }
func (e *reportedError) Unwrap() error { return e.err }

func closeReason(err error) string {
	if err == nil || err == io.EOF {
		return "closed"
	}
	return err.Error()
}
