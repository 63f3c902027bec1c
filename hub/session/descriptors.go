package session

import (
	"errors"
	"io"
	"os"
	"sync"
	"syscall"
)

// reservedDescriptors is how many descriptors a Server holds in reserve.
const reservedDescriptors = 8

// A descriptorReserve holds open descriptors. When the process has no more, one is closed so
// that a connection can be accepted: a peer with trusted
// credentials gets it, and others are closed at once instead of waiting in the backlog.
type descriptorReserve struct {
	mu       sync.Mutex
	open     func() (io.Closer, error) // opens one
	reserved []io.Closer
	closed   bool
}

func openNull() (io.Closer, error) { return os.Open(os.DevNull) }

// outOfDescriptors reports whether an error of Accept says that there are none left.
func outOfDescriptors(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE)
}

// fill opens descriptors until the reserve is full. It reports whether it is.
func (s *descriptorReserve) fill() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for len(s.reserved) < reservedDescriptors && !s.closed {
		f, err := s.open()
		if err != nil {
			return false
		}
		s.reserved = append(s.reserved, f)
	}
	return true
}

// full reports whether nothing is missing.
func (s *descriptorReserve) full() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.reserved) == reservedDescriptors
}

// release closes one descriptor. It reports false if none is left.
func (s *descriptorReserve) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.reserved)
	if n == 0 {
		return false
	}
	s.reserved[n-1].Close()
	s.reserved = s.reserved[:n-1]
	return true
}

// close closes the reserve for good.
func (s *descriptorReserve) close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	for s.release() {
	}
}
