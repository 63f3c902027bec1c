package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/backoff"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/errtext"
)

// A session is what the tool uses of a client.Client.
type session interface {
	Hub() string
	Receives() []string
	Credits() int
	MaxFrame() int
	GoWithNote(m *hub.Message, reply func(m *hub.Message), done func(note string, err error)) error
	Flush()
	Done() <-chan struct{}
	Err() error
	Close(ctx context.Context) error
}

var _ session = (*client.Client)(nil)

// A reconnectingSession is a session with a hub that is opened again whenever it ends.
type reconnectingSession struct {
	dial      func(ctx context.Context) (session, error)
	connected func(c session, again string) // called with each session, before it is waited for
	meanwhile string                        // what becomes of messages without a session: told when it waits for one
	report    func(text string)             // tells the operator; nil: nothing is said

	connectedBefore bool      // it has had a session
	disconnectedAt  time.Time // when the last session ended
	lastErr         error     // why there is no session; nil: there is one
	waitingTold     bool      // it was told that it tries again, since there is no session
	toldReason      string    // the last reason told
	toldAt          time.Time // when
}

// reasonInterval is how long a changed reason is not told after another.
const reasonInterval = time.Minute

// run keeps a session open until ctx ends. It then returns nil if there is a session, or
// else why there is none. It returns an error that a retry cannot mend at once.
//
// The first attempt is not cut short by the end of ctx, but only by that of command, so
// that its own reason is the one that is told, however short the time of ctx is.
func (s *reconnectingSession) run(ctx, command context.Context) error {
	var b backoff.Backoff
	for attempt := command; ; attempt = ctx {
		lasted, err := s.connectOnce(ctx, attempt)
		lost := lasted > 0
		switch {
		case err == nil:
			return nil
		case errors.Is(err, context.Canceled) && attempt.Err() != nil:
			return s.lastErr
		case !s.retryable(err), ctx.Err() != nil:
			return err
		case lost:
			s.disconnectedAt = time.Now()
		}
		s.lastErr = err
		s.reportFailure(err, lost)
		if lasted >= backoff.Max {
			b.Reset()
		}
		timer := time.NewTimer(b.Delay(err, lost))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s.lastErr
		}
	}
}

// listenCloseTimeout is how long a hub may take to end a session in which nothing is
// waited for.
const listenCloseTimeout = 500 * time.Millisecond

// connectOnce logs in within attempt, and waits until the hub or ctx ends the session. It
// returns how long the session lasted, zero if there was none, and why it ended: nil if
// ctx has.
func (s *reconnectingSession) connectOnce(ctx, attempt context.Context) (lasted time.Duration, err error) {
	c, err := s.dial(attempt)
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), listenCloseTimeout)
		defer cancel()
		closeClient(ctx, c)
	}()
	again := ""
	if s.connectedBefore {
		again = fmt.Sprintf(" again, after %v", time.Since(s.disconnectedAt).Round(100*time.Millisecond))
	}
	s.connectedBefore, s.lastErr, s.waitingTold = true, nil, false
	s.connected(c, again)
	connectedAt := time.Now()
	select {
	case <-ctx.Done():
		return 0, nil
	case <-c.Done():
		return max(time.Since(connectedAt), 1), endedError(c.Err())
	}
}

// endedError is the error of a session that the hub has ended, by its own reason.
func endedError(reason error) error {
	code := exitUnreachable
	if errors.Is(reason, hub.ErrDenied) {
		code = exitDenied
	}
	return &exitError{code, closedError(reason, "")}
}

// retryable reports whether another attempt may succeed.
func (s *reconnectingSession) retryable(err error) bool {
	var e *exitError
	switch {
	case errors.Is(err, hub.ErrDenied), !errors.As(err, &e):
		return false
	case errors.Is(err, hub.ErrFull), errors.Is(err, hub.ErrThrottled): // the hub lets nobody in now
		return true
	}
	return e.code == exitUnreachable && (s.connectedBefore || !permanent(err))
}

// reportFailure tells why there is no session: at its end, when the first attempt to have
// another has failed, and later if the reason changes.
func (s *reconnectingSession) reportFailure(err error, lost bool) {
	text := errtext.Of(err)
	switch {
	case s.report == nil:
		return
	case lost:
		s.report("bester: " + text)
	case !s.waitingTold:
		s.waitingTold = true
		more := "Trying again until it is there. Ctrl-C ends it."
		if s.connectedBefore {
			more = "Trying again until it is back; " + s.meanwhile + "."
		}
		s.report("bester: " + text + "\n" + more)
	case text != s.toldReason && time.Since(s.toldAt) >= reasonInterval:
		s.report("bester: " + text + "\nStill trying.")
	default:
		return
	}
	s.toldReason, s.toldAt = text, time.Now()
}

// restrictionText says what an account may receive, on a line of its own. It is empty
// for an account that may receive everything.
func restrictionText(name hub.UserName, patterns []string) string {
	remedy := "; to change that, on the hub's machine: bester account allow --add --receive PATTERN " + escapeName(string(name))
	switch {
	case patterns == nil: // the hub does not say
		return ""
	case len(patterns) == 0:
		return "\nNothing will come: this account may not receive anything" + remedy
	}
	for _, p := range patterns {
		if p == "#" {
			return ""
		}
	}
	return "\nThis account may receive only " + escapeName(strings.Join(patterns, " ")) + remedy
}
