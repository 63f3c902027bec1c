package main

import (
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"
)

// An output is standard output that remembers what first went wrong with it: what
// writes help and the like does not look, and a command whose output is lost has failed.
type output struct {
	io.Writer

	mu  sync.Mutex
	err error
}

// Write is the Writer's.
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

// Fd is the Writer's, or none: for isTerminal.
func (o *output) Fd() uintptr {
	if f, ok := o.Writer.(interface{ Fd() uintptr }); ok {
		return f.Fd()
	}
	return ^uintptr(0)
}

// failure is why some of the output is lost, or nil. That nobody reads any more is no
// failure.
func (o *output) failure() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.err == nil || errors.Is(o.err, syscall.EPIPE) {
		return nil
	}
	return fmt.Errorf("standard output: %w", o.err)
}
