package main

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"syscall"
	"time"
)

// The limits of the backoff between attempts to reach a hub. A hub that comes back is found
// within a second on its socket, where an attempt costs next to nothing, and within
// maxBackoff elsewhere, where ten thousand boards may wait for it.
const (
	minBackoff      = 50 * time.Millisecond
	maxLocalBackoff = 250 * time.Millisecond
	maxBackoff      = 5 * time.Second
	firstSpread     = time.Second // clients that lose a hub on another machine come back spread over this time
)

// A backoff says how long to wait before each attempt.
type backoff struct {
	next time.Duration // zero: begin again
}

// delay returns how long to wait after err, before the next attempt. It doubles, up to a
// limit, and is shortened by up to a half by chance, so that the clients that a hub has lost
// do not come back all at once. lost says that err ended a session.
func (b *backoff) delay(err error, lost bool) time.Duration {
	most := maxBackoff
	if isLocal(err) {
		most = maxLocalBackoff
	}
	if lost && b.next == 0 {
		b.next = minBackoff
		return rand.N(firstSpread)
	}
	wait := min(max(b.next, minBackoff), most)
	b.next = min(2*wait, maxBackoff)
	return wait - rand.N(wait/2)
}

// reset begins again with the shortest delay.
func (b *backoff) reset() { b.next = 0 }

// isLocal reports whether err says that nobody serves a UNIX socket.
func isLocal(err error) bool {
	var unreachable *unreachableError
	return errors.As(err, &unreachable) && !unreachable.tcp &&
		(errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED))
}
