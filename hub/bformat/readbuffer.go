package bformat

import "sync"

// The memory of a Reader. A buffer that a read fills and empties at once is borrowed from a
// pool and not charged to the Budget. Memory that stays held is charged: the buffer of a
// frame that has begun and does not get on, a long frame's own buffer, and what the caller
// holds while it does not call Next (Hold).

const (
	smallSize = 512      // buffer of an idle connection; never charged
	largeSize = 56 << 10 // buffer of a busy connection; the total per connection stays under 64 KiB
)

// A pooledBuffer is a buffer of one of readBuffers.
type pooledBuffer struct{ b []byte }

// readBuffers are the sizes of pooled buffers, and their pools. A frame that does not get on
// is moved to the smallest one that holds it.
var readBuffers = [...]struct {
	size int
	pool *sync.Pool
}{
	{4 << 10, new(sync.Pool)},
	{16 << 10, new(sync.Pool)},
	{largeSize, new(sync.Pool)},
}

// readBufferSize returns the size of the smallest buffer with room for more than n bytes, which
// are fewer than largeSize.
func readBufferSize(n int) int {
	if n < smallSize {
		return smallSize
	}
	for _, c := range readBuffers {
		if n < c.size {
			return c.size
		}
	}
	return largeSize
}

// usePooled switches to a pooled buffer of that size, or to the small one.
func (r *Reader) usePooled(size int) {
	for _, c := range readBuffers {
		if c.size == size {
			p, ok := c.pool.Get().(*pooledBuffer)
			if !ok {
				p = &pooledBuffer{make([]byte, size)}
			}
			r.setBuffer(p.b, p)
			return
		}
	}
	r.setBuffer(r.small[:], nil)
}

// setBuffer moves the unread bytes to buf and releases the buffer that they were in. A charge for
// more than buf is given back.
func (r *Reader) setBuffer(buf []byte, pooled *pooledBuffer) {
	r.w = copy(buf, r.buf[r.r:r.w])
	r.r = 0
	if r.pooled != nil {
		for _, c := range readBuffers {
			if c.size == len(r.pooled.b) {
				c.pool.Put(r.pooled)
			}
		}
	}
	r.buf, r.pooled = buf, pooled
	if held := r.chargeable(); held < r.charge {
		r.setCharge(held)
	}
}

// chargeable returns how many bytes are charged to the Budget if the buffer stays held.
func (r *Reader) chargeable() int {
	if len(r.buf) == smallSize {
		return 0
	}
	return len(r.buf)
}

// setCharge makes the Reader hold n bytes of the Budget. It reports false, and leaves the
// charge as it is, if the Budget has too little left and nobody gives way.
func (r *Reader) setCharge(n int) bool {
	switch more := n - r.charge; {
	case r.budget == nil || more == 0:
		return true
	case more < 0:
		r.budget.release(-more)
	case !r.budget.tryAcquire(more, r.charge):
		if !r.budget.reclaim(r, more) {
			return false
		}
		r.budget.acquire(more)
	}
	r.charge = n
	r.held.Store(int64(n))
	return true
}

// Shrink moves what has been read ahead to the smallest buffer that holds it, and charges that
// to the Budget. The caller calls it, after a Next without error, when it is about to block for
// a while and no longer needs the payload that Next returned, which becomes invalid. Shrink
// reports false if the Budget has too little left for what has been read ahead; the caller
// then closes the connection, or calls Hold. Shrink must be called on the goroutine that calls
// Next.
func (r *Reader) Shrink() bool {
	if size := readBufferSize(r.w - r.r); size < len(r.buf) { // less than largeSize is unread
		r.usePooled(size)
	} else if r.r > 0 {
		r.w = copy(r.buf, r.buf[r.r:r.w])
		r.r = 0
	}
	return r.setCharge(r.chargeable())
}

// Hold charges the buffer to the Budget, even past its limit. The caller calls it when it is
// about to block and so keeps the Reader, with what it has read ahead, from being read. The
// charge ends when Next waits for the peer again. Hold must be called on the goroutine that
// calls Next.
func (r *Reader) Hold() {
	if more := r.chargeable() - r.charge; more > 0 && r.budget != nil {
		r.budget.acquire(more)
		r.charge += more
		r.held.Store(int64(r.charge))
	}
}

// Buffered returns how many bytes have been read ahead: frames that Next has not returned, and
// the beginning of one. It must be called on the goroutine that calls Next.
func (r *Reader) Buffered() int { return r.w - r.r }

// Held returns how many bytes of the Budget the Reader holds. It may be called from any
// goroutine.
func (r *Reader) Held() int { return int(r.held.Load()) }

// Activity returns a number that changes whenever bytes of an incomplete frame arrive, however
// few. It may be called from any goroutine.
func (r *Reader) Activity() uint64 { return r.activity.Load() }

// readSize returns the size of the buffer to read into when the stream has bytes. It is large,
// but while the Budget runs out it is what the frame of need bytes at hand takes.
func (r *Reader) readSize(need int) int {
	if r.budget.low() {
		return min(max(readBufferSize(need-1), readBuffers[0].size), largeSize)
	}
	return largeSize
}
