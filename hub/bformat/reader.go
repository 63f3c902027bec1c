package bformat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

const (
	smallSize = 512      // what an idle connection may hold
	largeSize = 56 << 10 // what a busy one reads into; with all else it stays under 64 KiB
	maxEmpty  = 100      // reads in a row that may bring neither bytes nor an error
)

// large lends the buffers that busy Readers share.
var largePool = sync.Pool{New: func() any { return new([largeSize]byte) }}

// A Reader takes frames from a stream. It reads ahead as far as the stream has bytes,
// so one system call brings many frames, and nothing else may read from the stream.
//
// Its memory follows the traffic. A quiet stream has a buffer of 512 bytes. A read that
// fills it moves on to 56 KiB from a shared pool, and a read that finds the stream
// drained gives those back. A TCP or UNIX socket is always read into 56 KiB, which are
// borrowed only while it has bytes. A frame over 56 KiB grows a buffer of its own, which
// doubles only as the bytes really arrive and is dropped after the frame; it counts in
// the Budget, if there is one.
//
// A Reader is for one goroutine, but for Part.
type Reader struct {
	src      io.Reader
	buf      []byte           // small, lent or a long frame's own
	r, w     int              // buf[r:w] has been read but not returned
	limit    int              // of a payload
	err      error            // final, but only once buf holds no whole frame
	pooled   *[largeSize]byte // what buf is, if it came from the pool
	drained  bool             // the last read brought less than it could have
	inFrame  bool             // part is not 0
	sock     *socket          // how src is read if it is a bare socket
	budget   *Budget          // for long frames; nil: no limit
	idle     func()           // see SetIdle
	total    uint64           // bytes read
	progress atomic.Uint64    // see Part
	small    [smallSize]byte
}

// NewReader returns a Reader of the frames on r. Payloads over limit bytes are refused;
// a limit of zero or less means DefaultLimit, and one over MaxPayload means MaxPayload.
func NewReader(r io.Reader, limit int) *Reader {
	rd := &Reader{src: r}
	rd.buf = rd.small[:]
	rd.sock = newSocket(rd)
	rd.SetLimit(limit)
	return rd
}

// SetLimit sets the longest payload in bytes, as in NewReader, for the frames that Next
// has not returned yet.
func (r *Reader) SetLimit(n int) {
	if n <= 0 {
		n = DefaultLimit
	}
	r.limit = min(n, MaxPayload)
}

// SetBudget has frames over 56 KiB take what they need from b, from the next one on. It is
// called before the first call of Next. A frame that b has too little left for is refused.
func (r *Reader) SetBudget(b *Budget) { r.budget = b }

// SetIdle has Next call f each time before it reads from the stream, which may wait: all
// whole frames that had come have been returned. So f is where what they have brought is
// sent off. It must not use the Reader.
func (r *Reader) SetIdle(f func()) { r.idle = f }

// Part returns zero where Next does not wait, or waits for a frame to begin, and else a
// number that tells which frame has begun and how many times 64 KiB of it have come. Who
// sees the same one for a long time sees a peer that has stopped inside a frame. It may
// be called from any goroutine.
func (r *Reader) Progress() uint64 { return r.progress.Load() }

// Next returns the payload of the next frame. It is borrowed: it stays valid until the
// next call of Next or Release. Where the stream has no whole frame yet, Next waits.
//
// It returns io.EOF if the stream ended between frames, io.ErrUnexpectedEOF if it ended
// inside one, a *LimitError for a frame over the limit, an error that wraps ErrMemory for
// one that the Budget has too little left for, and otherwise the stream's own error.
// Frames that had arrived whole before an error are returned first. An error is final, a
// passed read deadline too: it is returned ever after.
func (r *Reader) Next() ([]byte, error) {
	if b := r.buf[r.r:r.w]; len(b) >= HeaderSize {
		// bformat: the length is little-endian and excludes itself. It is compared as
		// uint64, since it may not fit in an int of 32 bits.
		n := uint64(binary.LittleEndian.Uint32(b))
		if n <= uint64(r.limit) && n <= uint64(len(b)-HeaderSize) {
			end := HeaderSize + int(n)
			r.r += end
			return b[HeaderSize:end:end], nil
		}
	}
	return r.nextSlow()
}

// next is Next where reading or refusing is needed.
func (r *Reader) nextSlow() ([]byte, error) {
	for {
		need, have := HeaderSize, r.w-r.r
		if have >= HeaderSize {
			n := binary.LittleEndian.Uint32(r.buf[r.r:])
			if uint64(n) > uint64(r.limit) {
				return nil, r.fail(&LimitError{Length: n, Limit: r.limit})
			}
			need += int(n)
			if have >= need {
				r.noteProgress(0)
				return r.Next()
			}
		}
		if r.err != nil {
			if r.err == io.EOF && have > 0 {
				return nil, r.fail(io.ErrUnexpectedEOF)
			}
			return nil, r.fail(r.err)
		}
		if r.idle != nil {
			r.noteProgress(0) // what it waits for is not the peer
			r.idle()
		}
		if r.sock != nil && need <= largeSize {
			r.sock.read()
			continue
		}
		if !r.makeSpace(need) {
			return nil, r.fail(noMemory(need - HeaderSize))
		}
		r.noteProgress(have)
		r.read()
	}
}

func noMemory(n int) error { return fmt.Errorf("%w: %d bytes", ErrMemory, n) }

// begun notes that Next may wait while so many bytes of a frame have come, or that it does not.
func (r *Reader) noteProgress(have int) {
	switch {
	case have > 0: // no two states have the same number: a frame is longer than its parts
		r.inFrame = true
		r.progress.Store(r.total - uint64(have) + uint64(have)&^(progressStep-1) + 1)
	case r.inFrame:
		r.inFrame = false
		r.progress.Store(0)
	}
}

// fit makes room for at least one more byte in the buffer that suits the traffic. need is the
// size of the frame being read, as far as known; less than that is in the buffer. It reports
// false if the Budget has too little left.
func (r *Reader) makeSpace(need int) bool {
	rest := r.buf[r.r:r.w] // less than one frame
	own := r.pooled == nil && len(r.buf) != smallSize
	switch {
	case len(r.buf) != smallSize && len(rest) < smallSize && (r.drained || own):
		r.swap(r.small[:], nil)
	case len(rest) < len(r.buf):
		if r.r > 0 {
			r.w = copy(r.buf, rest)
			r.r = 0
		}
	case len(r.buf) < largeSize:
		r.borrow()
	default:
		// Never longer than the frame: so nothing follows it in this buffer.
		n := int(min(2*uint64(len(r.buf)), uint64(need)))
		if held := r.charged(); !r.budget.tryAcquire(n-held, held) {
			return false
		}
		r.swap(make([]byte, n), nil)
	}
	return true
}

// held returns how many bytes of the budget the buffer takes: only those of long frames do.
func (r *Reader) charged() int {
	if len(r.buf) <= largeSize {
		return 0
	}
	return len(r.buf)
}

// borrow moves on to a large buffer.
func (r *Reader) borrow() {
	b := largePool.Get().(*[largeSize]byte)
	r.swap(b[:], b)
}

// swap moves the unread bytes to buf and gives the buffer they were in back.
func (r *Reader) swap(buf []byte, pooled *[largeSize]byte) {
	r.w = copy(buf, r.buf[r.r:r.w])
	r.r = 0
	if r.pooled != nil {
		largePool.Put(r.pooled)
	} else if held := r.charged(); held > len(buf) { // the long frame's buffer is gone
		r.budget.release(held)
	}
	r.buf, r.pooled = buf, pooled
}

// read reads once, unless the stream brings nothing. There is room for it.
func (r *Reader) read() {
	for range maxEmpty {
		free := r.buf[r.w:]
		n, err := r.src.Read(free)
		if uint(n) > uint(len(free)) {
			n, err = 0, errors.New("bformat: read: the stream reported an impossible count")
		}
		r.w += n
		r.total += uint64(n)
		r.drained = n < len(free)
		r.err = err
		if n > 0 || err != nil {
			return
		}
	}
	r.err = io.ErrNoProgress
}

// fail makes err final and forgets what was read.
func (r *Reader) fail(err error) error {
	r.err = err
	r.r, r.w = 0, 0
	r.noteProgress(0)
	r.swap(r.small[:], nil)
	return err
}

// Release gives the buffers back; what Next returned last is no longer valid. Afterwards
// Next returns the error it had, or ErrReleased. Call it where Next is called.
func (r *Reader) Release() {
	if r.err == nil || r.w > r.r {
		r.err = ErrReleased
	}
	r.fail(r.err)
}
