package session

import (
	"sync/atomic"

	"github.com/besterhub/bester/hub"
)

// underWay counts the messages that the hub has taken from a session and not yet
// answered. The session's reader counts what it takes, and what is answered on its own
// goroutine, without atomics; the others count what they answer. The numbers wrap round.
type underWay struct {
	reader    *hub.Batch // of the reader: what is answered with it is answered by the reader
	taken     uint32
	here      uint32 // answered by the reader
	elsewhere atomic.Uint32
	waits     atomic.Bool // the reader does, for landed
	landed    chan struct{}
}

func (u *underWay) count() int { return int(u.taken - u.here - u.elsewhere.Load()) }

// takeOff counts a message as under way. For the reader.
func (u *underWay) takeOff() { u.taken++ }

// land counts a message as answered by the goroutine of b.
func (u *underWay) land(b *hub.Batch) {
	if b == u.reader {
		u.here++
		return
	}
	u.elsewhere.Add(1)
	if u.waits.Load() {
		select {
		case u.landed <- struct{}{}:
		default:
		}
	}
}

// wait waits until fewer than n are under way. For the reader.
func (u *underWay) wait(n int) {
	if u.count() < n {
		return
	}
	u.waits.Store(true)
	for u.count() >= n {
		<-u.landed
	}
	u.waits.Store(false)
}
