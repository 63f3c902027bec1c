// Package lograte rate-limits log lines that a peer can cause again and again: a [Limiter]
// drops the lines over its rate and logs how many it has suppressed.
package lograte

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Limiter is a rate limiter for log lines. The first line after suppressed ones has their
// number in the attribute "suppressed". The zero value lets one line a second pass. Its
// methods may be called from many goroutines.
type Limiter struct {
	// Every is the interval in which Burst lines may pass. If zero, one second.
	Every time.Duration
	// Burst is how many lines may pass in an interval. If zero, 1.
	Burst int

	mu         sync.Mutex
	start      time.Time // of the current interval
	passed     int       // lines that passed in it
	suppressed uint64    // lines suppressed since the last that passed
}

// Log writes a line to log, or counts it as suppressed. If log is nil, it does nothing.
func (l *Limiter) Log(log *slog.Logger, level slog.Level, msg string, attrs ...slog.Attr) {
	if log == nil {
		return
	}
	ok, suppressed := l.allow(time.Now())
	if !ok {
		return
	}
	if suppressed > 0 {
		attrs = append(attrs, slog.Uint64("suppressed", suppressed))
	}
	log.LogAttrs(context.Background(), level, msg, attrs...)
}

// allow reports whether a line may pass now, and how many were suppressed before it.
func (l *Limiter) allow(now time.Time) (ok bool, suppressed uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	every, burst := l.Every, l.Burst
	if every == 0 {
		every = time.Second
	}
	if burst == 0 {
		burst = 1
	}
	if l.start.IsZero() || now.Sub(l.start) >= every {
		l.start, l.passed = now, 0
	}
	if l.passed >= burst {
		l.suppressed++
		return false, 0
	}
	l.passed++
	suppressed, l.suppressed = l.suppressed, 0
	return true, suppressed
}

// Suppressed returns how many lines were suppressed since the last that passed.
func (l *Limiter) Suppressed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suppressed
}
