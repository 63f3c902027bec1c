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
	maxLine           = 1 << 10 // bytes of a line that are logged; the rest of it is left out
	maxLinesPerSecond = 20      // lines that are logged; the others are counted
)

// lines logs what a program writes, line by line.
type outputLog struct {
	name string
	log  *slog.Logger
	rate lograte.Limiter

	mu   sync.Mutex
	line []byte // begun
	long bool   // line is full; what follows of it is left out
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
		room := maxLine - len(l.line)
		l.long = l.long || len(part) > room
		l.line = append(l.line, part[:min(room, len(part))]...)
		if end {
			l.put()
		}
		b = rest
	}
	return n, nil
}

// flush logs a line that was begun and not ended.
func (l *outputLog) flush() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.put()
}

func (l *outputLog) put() {
	text := strings.ToValidUTF8(strings.TrimRight(string(l.line), "\r\t "), "\uFFFD")
	if l.long {
		text += "…"
	}
	l.line, l.long = l.line[:0], false
	if text != "" {
		l.rate.Log(l.log, slog.LevelInfo, "handler says", slog.String("handler", l.name), slog.String("line", text))
	}
}
