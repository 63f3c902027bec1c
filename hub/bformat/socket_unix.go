//go:build unix

package bformat

import (
	"io"
	"net"
	"os"
	"syscall"
)

// A socket reads a Reader's stream if that is a bare TCP or UNIX socket. It borrows the
// large buffer only once the kernel has bytes, which an io.Reader cannot know. So one read
// returns a whole burst, yet an idle connection holds no large buffer.
type socket struct {
	r        *Reader
	raw      syscall.RawConn
	readFunc func(fd uintptr) bool
	n        int
	err      error
}

// newSocket returns nil if r's stream is not a bare socket, also if it wraps one.
func newSocket(r *Reader) *socket {
	var c syscall.Conn
	switch src := r.src.(type) {
	case *net.TCPConn:
		c = src
	case *net.UnixConn:
		c = src
	default:
		return nil
	}
	raw, err := c.SyscallConn()
	if err != nil {
		return nil // the first ordinary Read will say why
	}
	s := &socket{r: r, raw: raw}
	s.readFunc = s.readNow
	return s
}

// read reads once. The frame being read fits in a large buffer, but is incomplete.
func (s *socket) read() {
	s.n, s.err = 0, nil
	err := s.raw.Read(s.readFunc)
	switch {
	case err != nil: // closed, or the deadline has passed
		s.r.err = err
	case s.err != nil:
		s.r.err = &net.OpError{Op: "read", Net: "socket", Err: os.NewSyscallError("read", s.err)}
	case s.n == 0:
		s.r.err = io.EOF
	}
}

// readNow reads the bytes that the kernel has. If there are none yet, it reports false and
// moves the beginning of a frame, if any, to the smallest buffer that holds it.
func (s *socket) readNow(fd uintptr) bool {
	r := s.r
	if r.pooled == nil {
		r.borrow()
	} else if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	for {
		n, err := syscall.Read(int(fd), r.buf[r.w:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			if r.w < smallSize {
				r.swap(r.small[:], nil)
			}
			r.noteProgress(r.w)
			return false
		case err != nil:
			s.err = err
			return true
		default:
			s.n = n
			r.drained = n < len(r.buf)-r.w
			r.w += n
			r.total += uint64(n)
			return true
		}
	}
}
