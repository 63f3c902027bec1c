// Package quiet writes to the operator's log what a peer could cause a thousand
// times a second: each message once in a while, with the number left out since.
package quiet

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Log passes lines on to a slog.Logger, each message text at most once in an
// interval. Lines left out are counted, and the next line with the same text has
// their number as "repeated". Texts must be constants of the program: one entry of
// memory is kept for each.
//
// Its methods may be called from many goroutines.
type Log struct {
	log   *slog.Logger
	every time.Duration

	mu   sync.Mutex
	seen map[string]*entry
}

type entry struct {
	last time.Time
	left int
}

// New returns a Log onto log that lets each text through once in every.
func New(log *slog.Logger, every time.Duration) *Log {
	return &Log{log: log, every: every, seen: make(map[string]*entry)}
}

// Info logs at level info. args are as for slog.Logger.Info.
func (l *Log) Info(text string, args ...any) { l.write(slog.LevelInfo, text, args) }

// Warn logs at level warn.
func (l *Log) Warn(text string, args ...any) { l.write(slog.LevelWarn, text, args) }

// Error logs at level error.
func (l *Log) Error(text string, args ...any) { l.write(slog.LevelError, text, args) }

func (l *Log) write(level slog.Level, text string, args []any) {
	left, due := l.due(text, time.Now())
	if !due {
		return
	}
	if left > 0 {
		args = append(args[:len(args):len(args)], "repeated", left)
	}
	l.log.Log(context.Background(), level, text, args...)
}

// due reports whether text may be logged now, and how often it has been left out.
func (l *Log) due(text string, now time.Time) (left int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	e := l.seen[text]
	if e == nil {
		e = &entry{}
		l.seen[text] = e
	} else if now.Sub(e.last) < l.every {
		e.left++
		return 0, false
	}
	left, e.left, e.last = e.left, 0, now
	return left, true
}
