package link

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/besterhub/bester/hub/lograte"
)

const (
	maxLine           = 1 << 10 // logged bytes of a line; the rest is left out
	maxLinesPerSecond = 20      // logged lines; the others are counted
)

// An outputLog logs what a program writes, line by line.
type outputLog struct {
	name string
	log  *slog.Logger
	rate lograte.Limiter

	mu   sync.Mutex
	line []byte // the line so far
	long bool   // line is full; the rest of it is left out
}

func newOutputLog(name string, log *slog.Logger) *outputLog {
	return &outputLog{name: name, log: log, rate: lograte.Limiter{Every: time.Second, Burst: maxLinesPerSecond}}
}

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

// flush logs an unfinished line.
func (l *outputLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.logLine()
}

func (l *outputLog) logLine() {
	text := strings.ToValidUTF8(strings.TrimRight(string(l.line), "\r\t "), "\uFFFD")
	if l.long {
		text += "…"
	}
	l.line, l.long = l.line[:0], false
	if text != "" {
		l.rate.Log(l.log, slog.LevelInfo, "handler says", slog.String("handler", l.name), slog.String("line", text))
	}
}
