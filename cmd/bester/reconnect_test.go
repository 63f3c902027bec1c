package main

import (
	"context"
	"errors"
	"io/fs"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
)

// A fakeSession is a session without a hub.
type fakeSession struct {
	credits, frame int
	done           chan struct{}
	err            error
	send           func(m *hub.Message, done func(error)) error
	flushed        int
}

func newFakeSession() *fakeSession { return &fakeSession{credits: 3, done: make(chan struct{})} }

func (s *fakeSession) Hub() string        { return "fake" }
func (s *fakeSession) Receives() []string { return nil }
func (s *fakeSession) Credits() int       { return s.credits }
func (s *fakeSession) MaxFrame() int      { return s.frame }
func (s *fakeSession) Flush()             { s.flushed++ }
func (s *fakeSession) GoWithNote(m *hub.Message, _ func(*hub.Message), done func(string, error)) error {
	return s.send(m, func(err error) { done("", err) })
}
func (s *fakeSession) Done() <-chan struct{}       { return s.done }
func (s *fakeSession) Err() error                  { return s.err }
func (s *fakeSession) Close(context.Context) error { return nil }

func (s *fakeSession) end(err error) {
	s.err = err
	close(s.done)
}

// unreachableAs is the error of an attempt at a socket or, with tcp, at another machine.
func unreachableAs(cause error, tcp bool) error {
	return &exitError{exitUnreachable, &unreachableError{what: cause.Error(), tcp: tcp, cause: cause}}
}

// The first attempt is finished though the time of the command is over: its own reason is
// the one that is told.
func TestFirstAttemptIsFinished(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, want := range []error{nil, unreachableAs(fs.ErrNotExist, false), unreachableAs(context.DeadlineExceeded, true)} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			defer cancel()
			s := reconnectingSession{
				connected: func(session, string) {},
				dial: func(ctx context.Context) (session, error) {
					select {
					case <-ctx.Done():
						return nil, ctx.Err()
					case <-time.After(5 * time.Second):
					}
					if want != nil {
						return nil, want
					}
					return newFakeSession(), nil
				},
			}
			if err := s.run(ctx, t.Context()); err != want {
				t.Errorf("got %v, want %v", err, want)
			}
		}
	})
}

// What a retry does not mend ends it before anything is told of trying again.
func TestPermanentErrorsAreNotRetried(t *testing.T) {
	denied := &exitError{exitDenied, hub.ErrDenied}
	for name, c := range map[string]struct {
		err       error
		connected bool // before
		retried   bool
	}{
		"not allowed":                 {denied, false, false},
		"no longer allowed":           {denied, true, false},
		"no such file":                {fs.ErrNotExist, false, false},
		"no such file any more":       {fs.ErrNotExist, true, false},
		"wrong usage":                 {usageError{errors.New("no port")}, false, false},
		"the socket is closed":        {unreachableAs(fs.ErrPermission, false), false, false},
		"the socket is now closed":    {unreachableAs(fs.ErrPermission, false), true, true},
		"the hub is full":             {&exitError{exitDenied, hub.ErrFull}, false, true},
		"nobody listens":              {unreachableAs(syscall.ECONNREFUSED, true), false, true},
		"it takes no more connection": {unreachableAs(syscall.EAGAIN, false), false, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var told []string
			failures := 0
			s := reconnectingSession{
				connected: func(session, string) {},
				meanwhile: "what comes is lost",
				report:    func(text string) { told = append(told, text) },
			}
			s.dial = func(context.Context) (session, error) {
				if c.connected && !s.connectedBefore {
					first := newFakeSession()
					first.end(hub.ErrClosed)
					return first, nil
				}
				failures++
				return nil, c.err
			}
			err := s.run(ctx, t.Context())
			if !errors.Is(err, errors.Unwrap(c.err)) && err != c.err {
				t.Errorf("%s: got %v, want %v", name, err, c.err)
			}
			all := strings.Join(told, "\n")
			if retried := failures > 1; retried != c.retried || strings.Contains(all, "Trying again") != c.retried {
				t.Errorf("%s: %d attempts; told %q", name, failures, all)
			}
			if n := strings.Count(all, "Trying again"); n > 1 {
				t.Errorf("%s: told %d times that it tries again", name, n)
			}
		})
	}
}

// A reason that changes is told, but not again and again.
func TestChangedReasonIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var told []string
		n := 0
		s := reconnectingSession{report: func(text string) { told = append(told, text) }}
		s.dial = func(context.Context) (session, error) {
			if n++; n%2 == 0 {
				return nil, unreachableAs(syscall.ECONNREFUSED, true)
			}
			return nil, unreachableAs(syscall.EHOSTUNREACH, true)
		}
		s.run(ctx, t.Context())
		all := strings.Join(told, "\n")
		if !strings.Contains(all, "nobody listens there") || !strings.Contains(all, "that machine cannot be reached") {
			t.Errorf("told %q, want both reasons", all)
		}
		if len(told) > 11 {
			t.Errorf("told %d times in ten minutes", len(told))
		}
	})
}
