package link

import (
	"bytes"
	"log/slog"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"
)

// Limits of what a program may write to the log. They make at most 90 MB a day.
const (
	maxLine         = 1 << 10  // bytes of a line; the rest of it is left out
	outputBurst     = 32 << 10 // bytes at once
	outputRate      = 1 << 10  // bytes a second after that
	lineOverhead    = 128      // bytes that a line counts beside its text
	summaryInterval = time.Minute
)

// An outputLog logs what a program writes, line by line, at a bounded rate. The line after
// omitted ones has their number, and as long as lines are omitted a summary comes once a
// minute.
type outputLog struct {
	name string
	log  *slog.Logger

	mu       sync.Mutex
	line     []byte        // the line so far
	long     bool          // line is full; the rest of it is left out
	budget   time.Duration // the time that outputRate would take for what may still be logged
	refilled time.Time     // when budget was last brought up to date
	omitted  uint64        // lines omitted since the last that was logged
	total    uint64        // lines omitted since the last summary
	since    time.Time     // when the first of those came
	summary  *time.Timer   // nil while there are none
}

func newOutputLog(name string, log *slog.Logger) *outputLog { return &outputLog{name: name, log: log} }

// Write never fails: the program must not end because its output cannot be logged.
func (l *outputLog) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(b)
	for len(b) > 0 {
		part, rest, end := bytes.Cut(b, []byte("\n"))
		free := maxLine - len(l.line)
		l.long = l.long || len(part) > free
		l.line = append(l.line, part[:min(free, len(part))]...)
		if end {
			l.logLine()
		}
		b = rest
	}
	return n, nil
}

// flush logs an unfinished line, and how many lines were omitted. The program has ended.
func (l *outputLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logLine()
	l.summarize()
}

func (l *outputLog) logLine() {
	line := bytes.TrimRight(l.line, "\r\t ")
	if l.long {
		line = append(cutRune(line), "…"...)
	}
	l.line, l.long = l.line[:0], false
	switch {
	case len(line) == 0:
	case !l.takeBudget(lineOverhead + loggedSize(line)):
		l.omitted++
		l.total++
		if l.summary == nil {
			l.since = time.Now()
			l.summary = time.AfterFunc(summaryInterval, func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				l.summarize()
			})
		}
	default:
		attrs := []any{"handler", l.name, "line", string(line)}
		if l.omitted > 0 {
			attrs = append(attrs, "suppressed", l.omitted)
		}
		l.omitted = 0
		l.log.Info("handler says", attrs...)
	}
}

// summarize logs how many lines were omitted since it last did.
func (l *outputLog) summarize() {
	if l.total == 0 {
		return
	}
	l.summary.Stop()
	l.log.Warn("handler says more than is logged", "handler", l.name, "lines_left_out", l.total, "in", time.Since(l.since).Round(time.Second))
	l.summary, l.omitted, l.total = nil, 0, 0
}

// takeBudget takes bytes from the budget and reports whether it had them.
func (l *outputLog) takeBudget(bytes int) bool {
	const full = outputBurst * time.Second / outputRate
	now := time.Now()
	if l.refilled.IsZero() {
		l.budget = full
	} else {
		l.budget = min(l.budget+now.Sub(l.refilled), full)
	}
	l.refilled = now
	cost := time.Duration(bytes) * time.Second / outputRate
	if cost > l.budget {
		return false
	}
	l.budget -= cost
	return true
}

// loggedSize returns about how long a line is once the log has escaped it.
func loggedSize(line []byte) int {
	n := len(line)
	for _, r := range string(line) {
		if r == utf8.RuneError || !strconv.IsPrint(r) {
			n += len(`\u00ff`)
		}
	}
	return n
}

// cutRune cuts off a rune that is not all there.
func cutRune(line []byte) []byte {
	for i := 1; i < utf8.UTFMax && i <= len(line); i++ {
		if rest := line[len(line)-i:]; utf8.RuneStart(rest[0]) {
			if !utf8.FullRune(rest) {
				return line[:len(line)-i]
			}
			break
		}
	}
	return line
}
