package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// An output is standard output that remembers its first write error. The code that
// prints help ignores write errors, but a command whose output is lost has failed.
type output struct {
	io.Writer

	mu  sync.Mutex
	err error
}

// Write writes to the Writer and remembers its first error.
func (o *output) Write(b []byte) (int, error) {
	n, err := o.Writer.Write(b)
	if err != nil {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.err == nil {
			o.err = err
		}
	}
	return n, err
}

// Fd returns the descriptor of the Writer, or an invalid one, for isTerminal.
func (o *output) Fd() uintptr {
	if f, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// failure returns the first write error, or nil. A broken pipe is no failure.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("standard output: %w", o.err)
}

// waitUnread waits until the reader of a pipe or socket has gone, so that nobody can read
// what would be written to it. It does not return where that cannot be known.
func waitUnread(fd uintptr) {
	fds := []unix.PollFd{{Fd: int32(fd)}} // errors are reported without being asked for
	for {
		switch n, err := unix.Poll(fds, -1); {
		case err == unix.EINTR:
		case err != nil, fds[0].Revents&unix.POLLNVAL != 0:
			select {}
		case n > 0:
			return
		}
	}
}
