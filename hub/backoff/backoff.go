// Package backoff says when a client tries again to connect to its hub.
package backoff

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"time"
)

// The limits of the waits.
const (
	shortest = 50 * time.Millisecond
	// Max is the longest wait.
	Max = 5 * time.Second
	// maxAbsent is the longest wait for a hub whose machine says that nobody listens:
	// an attempt costs next to nothing there, and the hub is probably about to start.
	maxAbsent = 500 * time.Millisecond
	// lostSpread is how far apart the clients come back that have lost one hub.
	lostSpread = time.Second
)

// A Backoff says how long to wait before each attempt to connect to a hub. A hub that
// starts again is found within a second of its listening; one whose machine does not answer
// is tried again after 5 s at most. The zero value is ready to use, by one goroutine.
type Backoff struct {
	next time.Duration // zero: begin again
}

// Delay returns how long to wait before the next attempt. err is why the last one failed or,
// with lost, why the session ended. The wait doubles up to a limit, and is shortened by up
// to a half at random; after a lost session it is a random part of a second, so that the
// clients that a hub has lost do not come back all at once.
func (b *Backoff) Delay(err error, lost bool) time.Duration {
	if lost && b.next == 0 {
		b.next = shortest
		return rand.N(lostSpread)
	}
	most := Max
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		most = maxAbsent
	}
	wait := min(max(b.next, shortest), most)
	b.next = min(2*wait, Max)
	return wait - rand.N(wait/2)
}

// Reset begins again with the shortest wait, as after a session that has lasted.
func (b *Backoff) Reset() { b.next = 0 }
