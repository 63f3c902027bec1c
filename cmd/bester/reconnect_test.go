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
func (s *fakeSession) Frame() int         { return s.frame }
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

// attempts runs a session that loses its hub, which is then away for a minute, and returns
// when each attempt was made after that.
func attempts(t *testing.T, cause error, tcp bool) (at []time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first := newFakeSession()
		lost := time.Now().Add(time.Hour)
		s := reconnectingSession{
			connected: func(session, string) {},
			dial: func(context.Context) (session, error) {
				if time.Now().Before(lost) {
					return first, nil
				}
				at = append(at, time.Since(lost))
				return nil, unreachableAs(cause, tcp)
			},
		}
		time.AfterFunc(time.Hour, func() {
			first.end(hub.ErrClosed)
			time.AfterFunc(time.Minute, cancel)
		})
		if err := s.run(ctx, ctx); !errors.Is(err, cause) {
			t.Errorf("got %v, want %v", err, cause)
		}
	})
	return at
}

// A hub that comes back is found soon: on a socket within a quarter of a second, elsewhere
// within 5 s, and clients that lose it do not all come back at once.
func TestBackoffIsBounded(t *testing.T) {
	for _, c := range []struct {
		name  string
		cause error
		tcp   bool
		most  time.Duration
	}{
		{"no socket", fs.ErrNotExist, false, maxLocalBackoff},
		{"nobody at the socket", syscall.ECONNREFUSED, false, maxLocalBackoff},
		{"a socket that takes no more", syscall.EAGAIN, false, maxBackoff},
		{"another machine", syscall.ECONNREFUSED, true, maxBackoff},
	} {
		at := attempts(t, c.cause, c.tcp)
		if len(at) == 0 || at[0] > firstSpread {
			t.Fatalf("%s: attempts at %v, want the first within %v", c.name, at, firstSpread)
		}
		for i, d := range at[1:] {
			if gap := d - at[i]; gap > c.most || gap < minBackoff/2 {
				t.Errorf("%s: attempt %d came %v after the one before, want %v to %v", c.name, i+1, gap, minBackoff/2, c.most)
			}
		}
		// No flood: at the bound, and shortened by half at most.
		if most := int(2*time.Minute/c.most) + 10; len(at) > most {
			t.Errorf("%s: %d attempts in a minute, want at most %d", c.name, len(at), most)
		}
		if again := attempts(t, c.cause, c.tcp); again[0] == at[0] {
			t.Errorf("%s: two clients that lost the hub came back after the same %v", c.name, at[0])
		}
	}
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
		if !strings.Contains(all, syscall.ECONNREFUSED.Error()) || !strings.Contains(all, syscall.EHOSTUNREACH.Error()) {
			t.Errorf("told %q, want both reasons", all)
		}
		if len(told) > 11 {
			t.Errorf("told %d times in ten minutes", len(told))
		}
	})
}
