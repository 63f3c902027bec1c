// Package hubtest has test doubles for the hub's interfaces: a [Recorder] is a Sink and
// a Receipt, [Answers] tests a handler without a hub, a [ManualHandler] is a Handler that
// the test controls, and [TestHandler] is the conformance suite that every Handler must
// pass.
//
// Nothing here sleeps: each wait is for an event, and fails the test if the event has
// not come within [WaitTimeout].
package hubtest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
)

// WaitTimeout is how long the methods that wait do so before they fail the test. It only
// bounds a test that fails.
const WaitTimeout = time.Minute

// clone copies m and what it borrows.
func clone(m *hub.Message) hub.Message {
	c := *m
	c.To = slices.Clone(m.To)
	c.Data.Bytes = slices.Clone(m.Data.Bytes)
	c.Batch = nil
	return c
}

// A recording holds what was recorded so far and wakes those who wait for more.
type recording[T any] struct {
	mu    sync.Mutex
	notes []T
	more  chan struct{} // closed at the next note; nil if nobody waits
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

// wait returns the notes once there are n, and fails the test on timeout.
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
