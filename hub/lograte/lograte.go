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
// kind has their number in the attribute "suppressed".
//
// What goes on and on is summed up at growing intervals: the interval of a kind doubles
// while lines are suppressed in it, or once there were ten intervals with lines, up to an
// hour, so that a peer that fails all night costs some twenty lines. It is Every again after
// ten minutes, or twice the interval, without a line.
//
// The zero value begins with one line of a kind a second. Its methods may be called from
// many goroutines.
type Limiter struct {
	// Every is the interval in which Burst lines of a kind may pass at first. If zero, one
	// second.
	Every time.Duration
	// Burst is how many lines of a kind may pass in an interval. If zero, 1.
	Burst int

	mu    sync.Mutex
	kinds map[string]*kind // by message
}

// A kind is how many lines with one message passed.
type kind struct {
	start      time.Time // of the current interval
	last       time.Time // when a line came last
	every      time.Duration
	intervals  int    // with lines, since it was quiet
	passed     int    // lines that passed in it
	busy       bool   // lines were suppressed in it
	suppressed uint64 // lines suppressed since the last that passed
}

const (
	// maxKinds is how many kinds a Limiter tells apart. Further ones are of one kind.
	maxKinds = 64
	// minQuiet is how long nothing has come of a kind before it begins anew, or gives way to
	// another: so that many subjects together, such as the addresses of a botnet, cannot
	// cause many lines.
	minQuiet = 10 * time.Minute
	// freeIntervals are the intervals with lines before repetition alone extends them.
	freeIntervals = 10
	// maxEvery is the longest interval that repetition alone extends to.
	maxEvery = time.Hour
)

// Log writes a line to log, or counts it as suppressed. If log is nil, it does nothing.
// msg is a constant of the program: what a peer can choose belongs into attrs.
func (l *Limiter) Log(log *slog.Logger, level slog.Level, msg string, attrs ...slog.Attr) {
	l.LogFor(log, level, "", msg, attrs...)
}

// LogFor is Log for lines that differ by whom they are about: those with another subject
// are of another kind. The subject may be chosen by a peer.
func (l *Limiter) LogFor(log *slog.Logger, level slog.Level, subject, msg string, attrs ...slog.Attr) {
	if log == nil {
		return
	}
	ok, suppressed := l.allow(subject+msg, time.Now())
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
	k := l.kind(msg, now)
	if now.Sub(k.start) >= max(k.every, every) {
		switch k.intervals++; {
		case k.quiet(now):
			k.every, k.intervals = every, 1
		case k.busy || k.intervals > freeIntervals:
			k.every = max(every, min(2*k.every, maxEvery))
		}
		k.start, k.passed, k.busy = now, 0, false
	}
	k.last = now
	if k.passed >= burst {
		k.suppressed++
		k.busy = true
		return false, 0
	}
	k.passed++
	suppressed, k.suppressed = k.suppressed, 0
	return true, suppressed
}

// quiet reports whether nothing has come of the kind for a while.
func (k *kind) quiet(now time.Time) bool { return now.Sub(k.last) >= max(2*k.every, minQuiet) }

// kind returns the kind of the lines with this message. Where there are too many, one that
// has been quiet gives way, or else the message is of one kind with all others.
func (l *Limiter) kind(msg string, now time.Time) *kind {
	k := l.kinds[msg]
	if k == nil && len(l.kinds) >= maxKinds && !l.evict(now) {
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

// evict removes a kind of which nothing has come for a while. The lines of it that were
// suppressed count with those of all other kinds.
func (l *Limiter) evict(now time.Time) bool {
	for msg, k := range l.kinds {
		if msg == "" || !k.quiet(now) {
			continue
		}
		delete(l.kinds, msg)
		if k.suppressed > 0 {
			if l.kinds[""] == nil {
				l.kinds[""] = new(kind)
			}
			l.kinds[""].suppressed += k.suppressed
		}
		return true
	}
	return false
}
