package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/client"
)

// A reconnectingSession is a session with a hub that is opened again whenever it ends.
type reconnectingSession struct {
	*target
	deliver func(m *hub.Message)
	gap     func(missed uint64, reason string) // deliveries were lost
	report  func(text string)                  // tells the operator; nil: nothing is said

	connectedBefore bool      // it has had a session
	disconnectedAt  time.Time // when the last session ended
	lastErr         error     // why there is no session; nil: there is one
}

// The backoff between attempts doubles from minBackoff to maxBackoff. A session that
// lasts for maxBackoff resets it.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 30 * time.Second
)

// run keeps a session open until ctx ends. It then returns why there is no session, or
// nil if there is one or the first attempt was still in flight. It returns an error
// that a retry cannot mend at once.
func (s *reconnectingSession) run(ctx context.Context) error {
	for backoff := minBackoff; ; backoff = min(2*backoff, maxBackoff) {
		lasted, err := s.connectOnce(ctx)
		switch {
		case ctx.Err() != nil:
			return s.lastErr
		case !s.retryable(err):
			return err
		case s.lastErr == nil:
			s.disconnectedAt = time.Now()
			s.reportDisconnected(err)
		}
		s.lastErr = err
		if lasted >= maxBackoff {
			backoff = minBackoff
		}
		// The jitter keeps the clients that a hub has lost from coming back all at once.
		timer := time.NewTimer(backoff/2 + rand.N(backoff))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return s.lastErr
		}
	}
}

// connectOnce logs in and waits until the hub or ctx ends the session. It returns how
// long the session lasted and why it ended.
func (s *reconnectingSession) connectOnce(ctx context.Context) (lasted time.Duration, err error) {
	c, err := s.dial(ctx, client.Options{Deliver: s.deliver, Gap: s.gap})
	if err != nil {
		return 0, err
	}
	defer closeClient(c)
	s.reportConnected(c)
	connectedAt := time.Now()
	select {
	case <-ctx.Done():
		return 0, ctx.Err()
	case <-c.Done():
		return time.Since(connectedAt), &exitError{exitUnreachable, fmt.Errorf("the hub closed the connection: %w", c.Err())}
	}
}

// retryable reports whether another attempt may succeed.
func (s *reconnectingSession) retryable(err error) bool {
	var e *exitError
	switch {
	case errors.Is(err, hub.ErrDenied), !errors.As(err, &e):
		return false
	case errors.Is(err, hub.ErrFull): // the hub is full
		return true
	}
	return e.code == exitUnreachable && (s.connectedBefore || !permanent(err))
}

// reportDisconnected says that there is no session, and why.
func (s *reconnectingSession) reportDisconnected(err error) {
	if s.report == nil {
		return
	}
	text := "Trying again until it is there. Ctrl-C ends it."
	if s.connectedBefore {
		text = "Trying again until it is back; what is sent meanwhile is not kept."
	}
	s.report("bester: " + err.Error() + "\n" + text)
}

// reportConnected says that there is a session, how long there was none, and what the
// account may receive.
func (s *reconnectingSession) reportConnected(c *client.Client) {
	name, _ := s.userName()
	again := ""
	if s.connectedBefore {
		again = fmt.Sprintf(" again, after %v", time.Since(s.disconnectedAt).Round(100*time.Millisecond))
	}
	s.connectedBefore, s.lastErr = true, nil
	if s.report == nil {
		return
	}
	s.report(fmt.Sprintf("Listening as %s at the hub %s%s. Ctrl-C ends it.%s", escapeName(string(name)), escapeName(c.Hub()), again, restrictionText(name, c.Receives())))
}

// restrictionText says what an account may receive, on a line of its own. It is empty
// for an account that may receive everything.
func restrictionText(name hub.UserName, patterns []string) string {
	remedy := "; to change that, on the hub's machine: bester account allow --receive PATTERN " + escapeName(string(name))
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
