package session

import (
	"sync/atomic"

	"github.com/besterhub/bester/hub"
)

// underWay counts the messages that the hub has taken from a session and not yet
// answered. The session's reader counts what it takes, and what is answered on its own
// goroutine, without atomics; the others count what they answer. The numbers wrap round.
type inFlight struct {
	reader       *hub.Batch // of the reader: what is answered with it is answered by the reader
	taken        uint32
	doneByReader uint32 // answered by the reader
	doneByOthers atomic.Uint32
	waiting      atomic.Bool // the reader does, for landed
	doneSignal   chan struct{}
}

func (u *inFlight) count() int { return int(u.taken - u.doneByReader - u.doneByOthers.Load()) }

// takeOff counts a message as under way. For the reader.
func (u *inFlight) add() { u.taken++ }

// land counts a message as answered by the goroutine of b.
func (u *inFlight) done(b *hub.Batch) {
	if b == u.reader {
		u.doneByReader++
		return
	}
	u.doneByOthers.Add(1)
	if u.waiting.Load() {
		select {
		case u.doneSignal <- struct{}{}:
		default:
		}
	}
}

// wait waits until fewer than n are under way. For the reader.
func (u *inFlight) wait(n int) {
	if u.count() < n {
		return
	}
	u.waiting.Store(true)
	for u.count() >= n {
		<-u.doneSignal
	}
	u.waiting.Store(false)
}
