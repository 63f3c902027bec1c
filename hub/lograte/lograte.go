// Package lograte keeps a log readable when a peer makes the same line come up
// again and again: a [Limiter] lets one through now and then and says how many
// it left out.
package lograte

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Limiter lets log lines through at a bounded rate. The line that comes after
// some were left out carries their count as "suppressed". The zero value lets one
// line a second through. Its methods may be called from many goroutines.
type Limiter struct {
	// Every is the time in which Burst lines may pass. If zero, one second.
	Every time.Duration
	// Burst is how many lines may pass in that time. If zero, 1.
	Burst int

	mu         sync.Mutex
	since      time.Time // when the running interval began
	passed     int       // lines let through in it
	suppressed uint64    // lines left out since one was let through
}

// Log writes a line to log, or counts it as left out. A nil log gets nothing.
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

// allow reports whether a line may pass now, and how many did not before it.
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
	if l.since.IsZero() || now.Sub(l.since) >= every {
		l.since, l.passed = now, 0
	}
	if l.passed >= burst {
		l.suppressed++
		return false, 0
	}
	l.passed++
	suppressed, l.suppressed = l.suppressed, 0
	return true, suppressed
}

// Suppressed returns how many lines were left out since the last that passed.
func (l *Limiter) Suppressed() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.suppressed
}
