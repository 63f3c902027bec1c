package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// terminalScreen is what a terminal shows after these bytes: lines without spaces at their
// end. A carriage return goes to the begin of the line, whose characters stay until others
// are written over them.
func terminalScreen(written string) (lines []string) {
	var line []rune
	at := 0
	for _, r := range written {
		switch r {
		case '\r':
			at = 0
		case '\n':
			lines = append(lines, strings.TrimRight(string(line), " "))
			line, at = nil, 0
		default:
			if at < len(line) {
				line[at] = r
			} else {
				line = append(line, r)
			}
			at++
		}
	}
	if text := strings.TrimRight(string(line), " "); text != "" {
		lines = append(lines, text)
	}
	return lines
}

func text(s string) func() string { return func() string { return s } }

// What is written stands above the line of progress, and nothing of an old line stays.
func TestProgressLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var b bytes.Buffer
		p := newProgressLine(&b, time.Second, time.Second)
		p.show(text("never"))
		p.end("nor this")
		if b.Len() > 0 {
			t.Errorf("shown without a terminal: %q", &b)
		}
		p.terminal = true
		step := func(do func(), want ...string) {
			t.Helper()
			time.Sleep(time.Second)
			if do(); !slices.Equal(terminalScreen(b.String()), want) {
				t.Errorf("got %q, want %q", terminalScreen(b.String()), want)
			}
		}
		step(func() { p.show(text("10 sent, 1 failed")) }, "10 sent, 1 failed")
		p.show(text("too soon"))
		step(func() { fmt.Fprintln(p, "bester: note") }, "bester: note", "10 sent, 1 failed")
		step(func() { fmt.Fprint(p, "two\nlines\n") }, "bester: note", "two", "lines", "10 sent, 1 failed")
		step(func() { p.show(text("9")) }, "bester: note", "two", "lines", "9")
		step(func() { fmt.Fprint(p, "Continue? ") }, "bester: note", "two", "lines", "Continue?")
		step(func() { fmt.Fprintln(p, "yes") }, "bester: note", "two", "lines", "Continue? yes")
		step(func() { p.show(text("12 sent")); p.end("") }, "bester: note", "two", "lines", "Continue? yes")
		step(func() { p.show(text("13 sent, 2 failed")); p.end("13 sent") }, "bester: note", "two", "lines", "Continue? yes", "13 sent")
	})
}

// Many goroutines write; each line is whole.
func TestProgressLineOfManyWriters(t *testing.T) {
	var b bytes.Buffer
	p := newProgressLine(&b, 0, 0)
	p.terminal = true
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for range 50 {
				fmt.Fprintln(p, "a message")
				p.show(text("progress"))
			}
		})
	}
	wg.Wait()
	p.end("")
	lines := terminalScreen(b.String())
	if len(lines) != 200 || slices.ContainsFunc(lines, func(l string) bool { return l != "a message" }) {
		t.Errorf("got %q", lines)
	}
}

// On a real terminal, messages and the progress of --lines are lines of their own.
func TestLinesOnATerminal(t *testing.T) {
	open, _ := realHub(t)
	keyboard, tty := pty(t)
	s := newScreen(keyboard)
	t.Setenv("BESTER_TIMEOUT", "2m")
	code := run(t.Context(), []string{"send", "--lines", "--hub", open, "fail"}, strings.NewReader("1\nnonsense\n2\n"), tty, tty)
	fmt.Fprint(tty, "END")
	if code != exitFailed {
		t.Errorf("exit code %d", code)
	}
	for _, line := range terminalScreen(s.wait("END")) {
		if !strings.HasPrefix(line, "bester: ") && !strings.HasSuffix(line, " failed") && !strings.HasPrefix(line, "1 line skipped") && line != "END" {
			t.Errorf("a line of two things: %q", line)
		}
		if strings.HasSuffix(line, " failed") && strings.Count(line, "sent") > 1 {
			t.Errorf("two progress lines in one: %q", line)
		}
	}
}
