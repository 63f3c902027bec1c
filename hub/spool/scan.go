package spool

import (
	"errors"
	"io"
)

// readPages fills b from f at off. A page that cannot be read becomes zeros: it is
// damage like any other, and the pages around it are still needed. It tells whether
// all could be read.
func readPages(f file, b []byte, off int64) bool {
	n, err := f.ReadAt(b, off)
	if n == len(b) {
		return true
	}
	clear(b[n:])
	if err == nil || errors.Is(err, io.EOF) {
		return false
	}
	for n < len(b) {
		part := b[n:min(len(b), n+pageSize-int((off+int64(n))%pageSize))]
		if _, err := f.ReadAt(part, off+int64(n)); err != nil {
			clear(part)
		}
		n += len(part)
	}
	return false
}

// A view is the part of a file that was read last.
type view struct {
	f   file
	buf []byte
	off int64
	max int // how much is read at once, unless a record is larger
}

const (
	viewMin = 4 << 10 // doubles up to viewMax while reading goes on
	viewMax = 64 << 10
)

// at returns n bytes at off, borrowed until the next call. Nothing at or after limit
// is read; off+n must not exceed limit.
func (v *view) at(off int64, n int, limit int64) []byte {
	if off < v.off || off+int64(n) > v.off+int64(len(v.buf)) {
		v.max = min(max(2*v.max, viewMin), viewMax)
		want := int(min(int64(max(n, v.max)), limit-off))
		if cap(v.buf) < want {
			v.buf = make([]byte, want)
		}
		v.buf, v.off = v.buf[:want], off
		readPages(v.f, v.buf, off)
	}
	at := int(off - v.off)
	return v.buf[at : at+n : at+n]
}

// A hole is a stretch of a segment without a readable record.
type hole struct {
	off, next int64  // next is where the next readable record begins, or the end
	from, to  uint64 // the sequences that may be missing; to < from if none is
	more      bool   // a readable record follows
	found     bool   // there is a hole at all
}

// A scanner reads a segment record by record and resynchronizes after damage.
type scanner struct {
	win   view
	head  *header
	off   int64
	limit int64
	prev  uint32 // crc of the record before
	seq   uint64 // highest sequence so far
	work  int64  // bytes that the search for a record after damage may still check
}

// newScanner begins after the header.
func newScanner(f file, h *header, limit int64) *scanner {
	return &scanner{win: view{f: f}, head: h, off: dataStart, limit: limit, prev: h.crc, seq: h.first - 1, work: 16 * max(limit, 1<<20)}
}

// recordAt returns the record at off if it is intact and later than the one before.
func (c *scanner) recordAt(off int64) (r rawRecord, ok bool) {
	if c.limit-off < recordHead {
		return r, false
	}
	n := sizeOf(c.win.at(off, recordHead, c.limit))
	if n == 0 || int64(n) > c.limit-off {
		return r, false
	}
	c.work -= int64(n)
	r, ok = c.head.parseRecord(c.win.at(off, n, c.limit))
	return r, ok && r.seq > c.seq
}

// next returns the next record, borrowed until the next call, and the hole before it
// if there is one. At the end of the segment ok is false, and h is what was
// unreadable up to the limit. In a segment that was not closed, the log ends there.
func (c *scanner) next() (r rawRecord, h hole, ok bool) {
	start := c.off
	r, ok = c.recordAt(start)
	if ok && r.prev == c.prev {
		c.accept(r)
		return r, hole{}, true
	}
	c.work = max(c.work, viewMax)
	for !ok && c.off < c.limit && c.work > 0 {
		c.off = c.skipZeros(c.off + 4)
		r, ok = c.recordAt(c.off)
	}
	h = hole{off: start, next: c.off, from: c.seq + 1, to: c.seq, more: ok, found: ok || start < c.limit}
	if !ok {
		c.off, h.next = c.limit, c.limit
		return rawRecord{}, h, false
	}
	h.to = r.seq - 1
	c.accept(r)
	return r, h, true
}

func (c *scanner) accept(r rawRecord) {
	c.off += int64(r.size)
	c.prev, c.seq = r.crc, r.seq
	if r.kind != kindData {
		c.seq-- // its sequence is the lowest that may follow
	}
}

// skipZeros returns the next offset, in steps of four, where a record could begin:
// the byte of the kind is plausible.
func (c *scanner) skipZeros(off int64) int64 {
	for c.limit-off >= recordHead {
		b := c.win.at(off, recordHead, c.limit)
		if k := b[7]; k >= kindData && k <= kindCheckpoint {
			return off
		}
		off += 4
	}
	return c.limit
}

// A scanResult is what a scan of a whole segment found.
type scanResult struct {
	size  recordCount
	last  uint64 // highest sequence
	time  uint64 // latest
	end   int64  // behind the last readable record
	holes []hole
	state *state // nil if not asked for
}

// scanSegment reads a whole segment. If ended is false, its end is not known, and
// what follows the last readable record is not a hole.
func scanSegment(f file, h *header, limit int64, ended bool, st *state) scanResult {
	v := scanResult{last: h.first - 1, end: dataStart, state: st}
	c := newScanner(f, h, limit)
	for {
		r, gap, ok := c.next()
		if gap.found && (gap.more || ended) {
			v.holes = append(v.holes, gap)
		}
		if !ok {
			return v
		}
		if r.kind == kindData {
			v.size.add(recordCount{1, uint64(r.size)})
			v.last = r.seq
		}
		v.end, v.time = c.off, max(v.time, r.time)
		if st != nil {
			st.apply(r)
		}
	}
}
