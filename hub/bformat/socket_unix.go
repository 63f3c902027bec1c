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
	need     int // size of the frame being read, as far as known
	n        int
	err      error
	noMemory bool // the Budget has too little left for the frame
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

// read reads once. The frame being read, of need bytes as far as known, fits in a large
// buffer, but is incomplete.
func (s *socket) read(need int) {
	s.n, s.err, s.need, s.noMemory = 0, nil, need, false
	err := s.raw.Read(s.readFunc)
	switch {
	case s.noMemory:
		s.r.err = noMemory(need - HeaderSize)
	case err != nil: // closed, or the deadline has passed
		s.r.err = err
	case s.err != nil:
		s.r.err = &net.OpError{Op: "read", Net: "socket", Err: os.NewSyscallError("read", s.err)}
	case s.n == 0:
		s.r.err = io.EOF
	}
}

// readNow reads the bytes that the kernel has. If there are none yet, it reports false and
// moves the beginning of a frame, if any, to the smallest buffer that holds it, and charges
// that to the Budget.
func (s *socket) readNow(fd uintptr) bool {
	r := s.r
	if size := r.readSize(s.need); r.pooled == nil || len(r.buf) < size {
		r.usePooled(size)
	} else if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	for {
		n, err := syscall.Read(int(fd), r.buf[r.w:])
		switch {
		case err == syscall.EINTR:
		case err == syscall.EAGAIN:
			s.noMemory = !r.Shrink()
			r.noteProgress(r.w)
			return s.noMemory
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
