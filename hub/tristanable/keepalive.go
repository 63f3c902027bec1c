package tristanable

import (
	"sync"
	"sync/atomic"
	"time"
)

// A Keepalive ends a connection whose peer no longer responds. When nothing has come for
// Interval, it pings the peer; when nothing has come for another Interval, it wakes the
// reader with an error. It is for the side that must know: it has one timer a connection and
// costs nothing per message.
//
// The fields are set before Start. The functions are called on a goroutine of the timer, or
// on that of the reader.
type Keepalive struct {
	// Interval is the time without anything from the peer after which it is pinged.
	Interval time.Duration
	// Ping sends a ping. Its answer, like everything else that comes, makes the reader read
	// and wait again.
	Ping func()
	// Outstanding reports whether the peer may have a reason not to answer a ping, such as
	// messages before it that it does not take yet. The connection then does not end, and is
	// pinged again. If nil, it never has.
	Outstanding func() bool
	// SetReadDeadline is that of the connection. The reader must not use it.
	SetReadDeadline func(time.Time) error

	waits   atomic.Uint64 // how often the reader has begun to wait for the peer
	pinged  atomic.Bool   // the peer has been pinged since, or the reader was woken
	mu      sync.Mutex
	timer   *time.Timer
	seen    uint64 // waits at the last tick
	expired bool   // the read deadline has been set
	stopped bool
}

// Start starts watching the peer.
func (k *Keepalive) Start() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.seen = k.waits.Load()
	k.timer = time.AfterFunc(k.Interval, k.tick)
}

// Stop ends the watch. It may be called more than once.
func (k *Keepalive) Stop() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stopped = true
	if k.timer != nil {
		k.timer.Stop()
	}
}

// Expired reports whether the Keepalive has ended the connection: the reader's error is then
// that the peer does not answer.
func (k *Keepalive) Expired() bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.expired
}

// Waiting notes that the reader has handled all that had arrived and waits for more.
func (k *Keepalive) Waiting() {
	k.waits.Add(1)
	if k.pinged.Load() {
		k.noteAnswer()
	}
}

// noteAnswer notes that the peer has answered, perhaps while the reader was busy with something
// else: then the deadline that was to wake it is taken back.
func (k *Keepalive) noteAnswer() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.pinged.Store(false)
	if k.expired {
		k.expired = false
		k.SetReadDeadline(time.Time{})
	}
}

// tick is called after each Interval.
func (k *Keepalive) tick() {
	k.mu.Lock()
	if k.stopped {
		k.mu.Unlock()
		return
	}
	k.timer.Reset(k.Interval)
	waits := k.waits.Load()
	quiet := waits == k.seen
	k.seen = waits
	pinged := k.pinged.Load()
	if quiet && pinged && !k.expired && (k.Outstanding == nil || !k.Outstanding()) {
		k.expired = true
		k.SetReadDeadline(time.Unix(1, 0))
		k.mu.Unlock()
		return
	}
	if quiet {
		k.pinged.Store(true)
	}
	k.mu.Unlock()
	if quiet {
		k.Ping()
	}
}
