// Package hubtest stands in for the hub's neighbours in tests: a [Recorder] where
// a sink or a receipt is wanted, [Answers] where a handler is tried without a hub,
// [Script] and [Held] where a handler is wanted that does as it is told, and
// [TestHandler], the suite that every Handler must pass.
//
// Nothing here sleeps: what waits, waits for the event, and fails the test when
// it has not come after [Patience].
package hubtest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// Patience is how long the Wait methods wait before they fail the test. It only
// bounds a test that has gone wrong.
const WaitTimeout = 30 * time.Second

// clone copies m and all that it borrows.
func clone(m *hub.Message) hub.Message {
	c := *m
	c.To = slices.Clone(m.To)
	c.Data.Bytes = slices.Clone(m.Data.Bytes)
	c.Batch = nil
	return c
}

// A log is what was noted so far, and whom to wake when there is more.
type recording[T any] struct {
	mu    sync.Mutex
	notes []T
	more  chan struct{} // closed and replaced at each note
}

func (l *recording[T]) add(n T) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.notes = append(l.notes, n)
	if l.more != nil {
		close(l.more)
		l.more = nil
	}
}

// wait returns the notes once there are n, and fails the test if they do not come.
func (l *recording[T]) wait(tb testing.TB, what string, n int) []T {
	tb.Helper()
	deadline := time.NewTimer(WaitTimeout)
	defer deadline.Stop()
	for {
		l.mu.Lock()
		notes := slices.Clone(l.notes)
		if len(notes) >= n {
			l.mu.Unlock()
			return notes
		}
		if l.more == nil {
			l.more = make(chan struct{})
		}
		more := l.more
		l.mu.Unlock()
		select {
		case <-more:
		case <-deadline.C:
			tb.Fatalf("got %d %s, want %d", len(notes), what, n)
		}
	}
}
