//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// pty opens a pseudo-terminal: keyboard is the user's end, tty the program's.
func pty(t *testing.T) (keyboard, tty *os.File) {
	t.Helper()
	keyboard, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { keyboard.Close() })
	n, err := unix.IoctlGetInt(int(keyboard.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(keyboard.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprint("/dev/pts/", n), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	t.Cleanup(func() { tty.Close() })
	return keyboard, tty
}

// A screen keeps all that a terminal shows.
type screen struct {
	mu    sync.Mutex
	more  sync.Cond
	shown strings.Builder
	ended bool
}

func newScreen(keyboard *os.File) *screen {
	s := &screen{}
	s.more.L = &s.mu
	go func() {
		b := make([]byte, 1024)
		for {
			n, err := keyboard.Read(b)
			s.mu.Lock()
			s.shown.Write(b[:n])
			s.ended = err != nil
			s.mu.Unlock()
			s.more.Broadcast()
			if err != nil {
				return
			}
		}
	}()
	return s
}

// wait waits until text is shown, or END after the command, or the terminal is
// closed, and returns all that is shown.
func (s *screen) wait(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for !strings.Contains(s.shown.String(), text) && !strings.Contains(s.shown.String(), "END") && !s.ended {
		s.more.Wait()
	}
	return s.shown.String()
}

// runOnTerminal runs the command at a terminal, types each answer when its question is shown,
// and returns what the terminal showed.
func runOnTerminal(t *testing.T, args []string, answers ...string) (shown string, err error) {
	t.Helper()
	keyboard, tty := pty(t)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s := newScreen(keyboard)
	done := make(chan error, 1)
	go func() {
		_, err := runAccount(tty, tty, args...)
		after, stateErr := term.GetState(int(tty.Fd()))
		if stateErr != nil || *after != *before {
			t.Errorf("the terminal was left changed: %v, before %v (error %v)", after, before, stateErr)
		}
		io.WriteString(tty, "END")
		done <- err
	}()
	for i, answer := range answers {
		s.wait([]string{"Password for alice: ", "Again: "}[i])
		if _, err := io.WriteString(keyboard, answer); err != nil {
			t.Fatal(err)
		}
	}
	return s.wait("END"), <-done
}

func TestAccountPasswordIsNotShown(t *testing.T) {
	path := accounts(t)
	shown, err := runOnTerminal(t, []string{"add", "alice", "--cost=4"}, "tr0ubador\r", "tr0ubador\r")
	if err != nil {
		t.Fatal(err)
	}
	if !mayLogin(t, path, "alice", "tr0ubador") {
		t.Error("the password is not the one that was typed")
	}
	// This is all of the output: it has no letter of the password, nor a star for one.
	if want := "Password for alice: \r\nAgain: \r\nEND"; shown != want {
		t.Errorf("the terminal showed %q, want %q", shown, want)
	}

	if _, err := runOnTerminal(t, []string{"passwd", "alice", "--cost=4"}, "corre\x7fect\r", "corrct\x1b[D\x1b[De\r"); err != nil {
		t.Errorf("with corrections: %v", err)
	}
	if mayLogin(t, path, "alice", "tr0ubador") {
		t.Error("the password was not changed")
	}
}

func TestAccountPasswordAborted(t *testing.T) {
	path := accounts(t)
	tests := []struct {
		answers []string
		want    string
	}{
		{[]string{"one\r", "two\r"}, "differ"},
		{[]string{"\x03"}, "given up"},
		{[]string{"one\r", "on\x03"}, "given up"},
		{[]string{"\x04"}, "given up"},
		{[]string{"\r", "\r"}, "empty"},
	}
	for _, test := range tests {
		if _, err := runOnTerminal(t, []string{"add", "alice"}, test.answers...); err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: got %v, want %q", test.answers, err, test.want)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a file was made: %v", err)
	}
}

func TestAccountPasswordInterrupted(t *testing.T) {
	keyboard, tty := pty(t)
	before, err := term.GetState(int(tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	s := newScreen(keyboard)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		_, err := askPassword(ctx, tty, tty, "alice")
		done <- err
	}()
	s.wait("Password for alice: ")
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if after, err := term.GetState(int(tty.Fd())); err != nil || *after != *before {
		t.Errorf("the terminal was left changed: %v, before %v (error %v)", after, before, err)
	}
	io.WriteString(keyboard, "\n") // lets the reader go
}
