// Package lograte rate-limits log lines that a peer can cause again and again: a [Limiter]
// drops the lines over its rate and logs how many it has suppressed.
package lograte

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Limiter is a rate limiter for log lines. Lines with the same message are of one kind.
// Each kind has the whole rate to itself, and the first line after suppressed ones of its
// kind has their number in the attribute "suppressed". The zero value lets one line of a
// kind a second pass. Its methods may be called from many goroutines.
type Limiter struct {
	// Every is the interval in which Burst lines of a kind may pass. If zero, one second.
	Every time.Duration
	// Burst is how many lines of a kind may pass in an interval. If zero, 1.
	Burst int

	mu    sync.Mutex
	kinds map[string]*kind // by message
}

// A kind is how many lines with one message passed.
type kind struct {
	start      time.Time // of the current interval
	passed     int       // lines that passed in it
	suppressed uint64    // lines suppressed since the last that passed
}

// maxKinds is how many messages a Limiter tells apart. Further ones are of one kind.
const maxKinds = 64

// Log writes a line to log, or counts it as suppressed. If log is nil, it does nothing.
// msg is a constant of the program: what a peer can choose belongs into attrs.
func (l *Limiter) Log(log *slog.Logger, level slog.Level, msg string, attrs ...slog.Attr) {
	if log == nil {
		return
	}
	ok, suppressed := l.allow(msg, time.Now())
	if !ok {
		return
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Uint64("suppressed", suppressed))
	}
	log.LogAttrs(context.Background(), level, msg, attrs...)
}

// allow reports whether a line may pass now, and how many of its kind were suppressed
// before it.
func (l *Limiter) allow(msg string, now time.Time) (ok bool, suppressed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	every, burst := l.Every, l.Burst
	if every == 0 {
		every = time.Second
	}
	if burst == 0 {
		burst = 1
	}
	k := l.kind(msg)
	if k.start.IsZero() || now.Sub(k.start) >= every {
		k.start, k.passed = now, 0
	}
	if k.passed >= burst {
		k.suppressed++
		return false, 0
	}
	k.passed++
	suppressed, k.suppressed = k.suppressed, 0
	return true, suppressed
}

// kind returns the kind of the lines with this message.
func (l *Limiter) kind(msg string) *kind {
	k := l.kinds[msg]
	if k == nil && len(l.kinds) >= maxKinds {
		msg = ""
		k = l.kinds[msg]
	}
	if k == nil {
		if l.kinds == nil {
			l.kinds = make(map[string]*kind)
		}
		k = new(kind)
		l.kinds[msg] = k
	}
	return k
}
