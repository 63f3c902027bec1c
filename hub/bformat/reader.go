package bformat

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// maxEmpty is how many consecutive reads may return neither bytes nor an error.
const maxEmpty = 100

// A Reader reads frames from a stream. It reads ahead as far as the stream has bytes, so
// one system call may return many frames, and nothing else may read from the stream.
//
// Its memory follows the traffic. An idle stream has a buffer of 512 bytes. When a read
// fills it, the Reader borrows 56 KiB from a shared pool, and returns them when a read
// finds the stream drained. A TCP or UNIX socket is always read into 56 KiB, which are
// borrowed only while it has bytes. A frame that has begun and does not get on waits in the
// smallest buffer that holds it, of 4, 16 or 56 KiB. A frame over 56 KiB gets a buffer of its
// own, which doubles only as the bytes really arrive and is dropped after the frame. What
// stays held beyond 512 bytes is charged to the Budget, if there is one.
//
// A Reader is for one goroutine, except Progress.
type Reader struct {
	src      io.Reader
	buf      []byte        // small, pooled, or a long frame's own
	r, w     int           // buf[r:w] has been read but not returned
	limit    int           // of a payload
	err      error         // final, but only once buf holds no whole frame
	pooled   *pooledBuffer // what buf is, if it came from a pool
	charge   int           // bytes of the budget that the Reader holds
	drained  bool          // the last read brought less than it could have
	inFrame  bool          // progress is not 0
	sock     *socket       // how src is read if it is a bare socket
	budget   *Budget       // see SetBudget; nil: no limit
	idle     func()        // see SetIdle
	total    uint64        // bytes read
	progress atomic.Uint64 // see Progress
	activity atomic.Uint64 // see Activity
	held     atomic.Int64  // charge, for Held
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

// SetBudget charges the memory of frames that do not get on, and of those over 56 KiB, to b.
// It must be called before the first call of Next. A frame is refused if b has too little left
// for it. While b runs out, the Reader reads ahead less.
func (r *Reader) SetBudget(b *Budget) { r.budget = b }

// SetIdle has Next call f each time before it reads from the stream, which may block. By
// then Next has returned all complete frames that had arrived, so f is the place to flush
// what came of them. It must not use the Reader.
func (r *Reader) SetIdle(f func()) { r.idle = f }

// Progress returns a number that identifies the incomplete frame that Next waits for and
// how many times 64 KiB of it have arrived. It returns zero if Next does not wait, or waits
// for a frame to begin. A caller that sees the same value for long knows that the peer has
// stalled inside a frame. Progress may be called from any goroutine.
func (r *Reader) Progress() uint64 { return r.progress.Load() }

// Next returns the payload of the next frame. It is borrowed: it stays valid until the
// next call of Next or Release. Next blocks until the stream has a complete frame.
//
// It returns io.EOF if the stream ended between frames, io.ErrUnexpectedEOF if it ended
// inside one, a *LimitError for a frame over the limit, an error that wraps ErrMemory if
// the Budget has too little left for a frame, and otherwise the stream's own error.
// Complete frames that arrived before an error are returned first. Every error is final,
// also an exceeded read deadline: all later calls return it.
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

// nextSlow is the slow path of Next, which reads from the stream or returns an error.
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
			r.noteProgress(0) // idle may block, but not on the peer
			r.idle()
		}
		if r.sock != nil && need <= largeSize {
			r.sock.read(need)
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

// noteProgress records that Next may block with have bytes of a frame in the buffer; zero
// means that it does not wait inside a frame.
func (r *Reader) noteProgress(have int) {
	switch {
	case have > 0: // the position in the stream makes the number unique
		r.inFrame = true
		r.activity.Store(r.total)
		r.progress.Store(r.total - uint64(have) + uint64(have)&^(progressStep-1) + 1)
	case r.inFrame:
		r.inFrame = false
		r.progress.Store(0)
	}
}

// makeSpace makes room for at least one more byte, in a buffer of the size that suits the
// traffic, and charges it, since the read that follows may block. need is the size of the
// frame being read, as far as known; the buffer has fewer bytes than that. It reports false
// if the Budget has too little left.
func (r *Reader) makeSpace(need int) bool {
	rest := r.w - r.r // less than one frame
	own := r.pooled == nil && len(r.buf) != smallSize
	switch {
	case rest < largeSize && (r.drained || own && rest < smallSize):
		return r.Shrink()
	case rest < len(r.buf):
		if r.r > 0 {
			r.w = copy(r.buf, r.buf[r.r:r.w])
			r.r = 0
		}
	case len(r.buf) < largeSize:
		r.usePooled(r.readSize(need))
	default:
		// The buffer is never longer than the frame, so nothing follows the frame in it.
		n := int(min(2*uint64(len(r.buf)), uint64(need)))
		if !r.setCharge(n) {
			return false
		}
		r.setBuffer(make([]byte, n), nil)
		return true
	}
	return r.setCharge(r.chargeable()) || rest < largeSize && r.Shrink()
}

// read reads until the stream returns bytes or an error. The buffer has room.
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

// fail makes err final and discards the buffered bytes.
func (r *Reader) fail(err error) error {
	r.err = err
	r.r, r.w = 0, 0
	r.noteProgress(0)
	r.setBuffer(r.small[:], nil) // gives back its charge, too
	return err
}

// Release releases the buffers; the payload that Next returned last is no longer valid.
// Afterwards Next returns its previous error, or ErrReleased. Release must be called on
// the goroutine that calls Next.
func (r *Reader) Release() {
	if r.err == nil || r.w > r.r {
		r.err = ErrReleased
	}
	r.fail(r.err)
}
