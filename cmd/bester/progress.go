package main

import (
	"io"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
)

// A progressLine is standard error. On a terminal its last line shows the progress of long
// work, and what is written stands above that: nothing else may write to the terminal
// meanwhile. On other outputs no progress is shown. Several goroutines may use it.
type progressLine struct {
	out      io.Writer
	terminal bool
	every    time.Duration // the shortest time between two changes of the line

	mu    sync.Mutex
	next  time.Time // when the line may change again
	shown string    // the line; empty: none
}

// newProgressLine returns a progressLine that shows nothing before first has passed.
func newProgressLine(out io.Writer, first, every time.Duration) *progressLine {
	return &progressLine{out: out, terminal: isTerminal(out), every: every, next: time.Now().Add(first)}
}

// Write writes b above the line.
func (p *progressLine) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.shown == "" {
		return p.out.Write(b)
	}
	text := p.erasure() + string(b)
	if strings.HasSuffix(text, "\n") {
		text += p.shown
	} else { // the line would follow it
		p.shown = ""
	}
	if _, err := io.WriteString(p.out, text); err != nil {
		return 0, err
	}
	return len(b), nil
}

// Fd returns the descriptor of standard error, or an invalid one, for isTerminal.
func (p *progressLine) Fd() uintptr {
	if f, ok := p.out.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// show changes the line to what text returns, unless it has changed just now.
func (p *progressLine) show(text func() string) {
	if !p.terminal {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if now.Before(p.next) {
		return
	}
	p.next = now.Add(p.every)
	erasure := p.erasure()
	p.shown = text()
	io.WriteString(p.out, erasure+p.shown)
}

// end removes the line. If last is not empty, that stays in its place.
func (p *progressLine) end(last string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	text := p.erasure()
	if p.shown = ""; last != "" && p.terminal {
		text += last + "\n"
	}
	if text != "" {
		io.WriteString(p.out, text)
	}
}

// erasure is what removes the line from the terminal.
func (p *progressLine) erasure() string {
	if p.shown == "" {
		return ""
	}
	return "\r" + strings.Repeat(" ", utf8.RuneCountInString(p.shown)) + "\r"
}
