package session

import (
	"sync/atomic"

	"github.com/besterhub/bester/hub"
)

// inFlight counts the messages of a session that the hub has taken and not yet answered.
// The session's reader counts, without atomics, the messages that it takes and those that
// are answered on its own goroutine; other goroutines count what they answer. The counters
// may overflow.
type inFlight struct {
	reader       *hub.Batch // identifies the reader's goroutine
	taken        uint32
	doneByReader uint32
	doneByOthers atomic.Uint32
	waiting      atomic.Bool // the reader waits for doneSignal
	doneSignal   chan struct{}
}

func (f *inFlight) count() int { return int(f.taken - f.doneByReader - f.doneByOthers.Load()) }

// add counts a message as in flight. Only the reader calls it.
func (f *inFlight) add() { f.taken++ }

// done counts a message as answered by the goroutine of b.
func (f *inFlight) done(b *hub.Batch) {
	if b == f.reader {
		f.doneByReader++
		return
	}
	f.doneByOthers.Add(1)
	if f.waiting.Load() {
		select {
		case f.doneSignal <- struct{}{}:
		default:
		}
	}
}

// wait blocks until fewer than n messages are in flight. Only the reader calls it.
func (f *inFlight) wait(n int) {
	if f.count() < n {
		return
	}
	f.waiting.Store(true)
	for f.count() >= n {
		<-f.doneSignal
	}
	f.waiting.Store(false)
}
