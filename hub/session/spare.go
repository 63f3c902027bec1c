package session

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// spareDescriptors is how many descriptors a Server holds in reserve.
const spareDescriptors = 8

// A spare is a reserve of open descriptors. When the process has no more, one is closed so
// that a connection can be accepted: a trusted peer gets it, and others are closed at once
// instead of waiting in the backlog.
type spare struct {
	mu     sync.Mutex
	open   func() (io.Closer, error) // opens one
	held   []io.Closer
	closed bool
}

func openNull() (io.Closer, error) { return os.Open(os.DevNull) }

// outOfDescriptors reports whether an error of Accept says that there are none left.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// fill opens descriptors until the reserve is full. It reports whether it is.
func (s *spare) fill() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.held) < spareDescriptors && !s.closed {
		f, err := s.open()
		if err != nil {
			return false
		}
		s.held = append(s.held, f)
	}
	return true
}

// full reports whether nothing is missing.
func (s *spare) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.held) == spareDescriptors
}

// spend closes one descriptor. It reports false if none is left.
func (s *spare) spend() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.held)
	if n == 0 {
		return false
	}
	s.held[n-1].Close()
	s.held = s.held[:n-1]
	return true
}

// close closes the reserve for good.
func (s *spare) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for s.spend() {
	}
}
