package spool

import "slices"

// A cursor reads the records in order: first those on the card, then, of class
// Telemetry, those that are only in memory. It belongs to one goroutine.
type cursor struct {
	s    *Spool
	seq  uint64   // the last record returned
	seg  *segment // pinned; nil if none is needed
	gen  int
	f    file
	scan *scanner
	mem  memoryPosition
	buf  []byte
}

// A Record is one record as it was appended.
type Record struct {
	// Seq is its sequence: the first is 1, later ones are higher, none is used twice.
	Seq uint64
	// Time is when it was appended, in milliseconds of the spool's clock, which
	// is close to Unix time where the machine's clock was right when the spool was
	// opened, and never goes back.
	Time uint64
	// Data is what was appended. It is borrowed: valid until the next call.
	Data []byte
	// Gap is what is missing just before this record and will never come: dropped,
	// expired, downsampled or lost. Stats counts each.
	Gap Gap
}

// A Gap is a range of sequences that are missing, both ends included; the zero Gap is
// none.
type Gap struct {
	From, To uint64 // sequences
}

// seek makes the record after seq the next one.
func (c *cursor) seek(seq uint64) {
	c.release()
	c.seq = seq
}

// release unpins the segment and closes the file.
func (c *cursor) release() {
	c.s.mu.Lock()
	c.releaseLocked()
	c.s.mu.Unlock()
}

// releaseLocked is release, called under mu.
func (c *cursor) releaseLocked() {
	if c.seg != nil {
		c.seg.pins--
	}
	if c.f != nil {
		c.f.Close()
	}
	c.seg, c.f, c.scan = nil, nil, nil
}

func (c *cursor) pin(seg *segment) {
	c.releaseLocked()
	seg.pins++
	c.seg, c.gen = seg, seg.gen
}

// next returns the first record after c.seq, borrowed until the next call. If ok is
// false there is none yet. An error means that the card cannot be read now.
func (c *cursor) next() (rec Record, ok bool, err error) {
	for {
		limit, rec, ok := c.locate()
		if limit == 0 {
			return rec, ok, nil
		}
		if c.f == nil {
			f, err := c.s.disk.Open(c.seg.name, false, false)
			if err != nil {
				if c.s.handleUnreadable(c.seg, err) {
					continue
				}
				return Record{}, false, err
			}
			c.f, c.scan = f, newScanner(f, c.seg.head, limit)
		}
		c.scan.limit = limit
		r, h, ok := c.scan.next()
		if h.found {
			c.s.foundHole(c.seg, h.off)
		}
		if ok && r.kind == kindData && r.seq > c.seq {
			c.seq = r.seq
			return Record{Seq: r.seq, Time: r.time, Data: r.data}, true, nil
		}
	}
}

// offset is where the cursor is in the segment.
func (c *cursor) offset() int64 {
	if c.scan == nil {
		return dataStart
	}
	return c.scan.off
}

// locate finds the next record. If it is on the card, it is in c.seg, whose records
// end at limit. If it is in memory, it is returned and limit is 0.
func (c *cursor) locate() (limit int64, rec Record, ok bool) {
	s := c.s
	s.mu.Lock()
	defer s.mu.Unlock()
	c.seq = max(c.seq, s.floor)
	if c.seg != nil && (c.seg.retired || c.seg.gen != c.gen) {
		c.releaseLocked()
	}
	if c.seg == nil {
		s.waitReplaced()
		for _, seg := range s.segs {
			if seg.last > c.seq {
				c.pin(seg)
				break
			}
		}
	}
	for c.seg != nil {
		if off := c.offset(); off < c.seg.end {
			return c.seg.end, rec, false
		}
		c.seq = max(c.seq, c.seg.last) // even if the last ones are lost
		next := s.segmentAfter(c.seg)
		if next == nil {
			break
		}
		if next.replacing {
			s.waitReplaced()
			continue
		}
		c.pin(next)
	}
	if s.opt.Class == Telemetry {
		if m, found := s.mem.after(c.seq, &c.mem); found {
			c.seq = m.seq
			c.buf = append(c.buf[:0], m.data...)
			return 0, Record{Seq: m.seq, Time: m.time, Data: c.buf}, true
		}
	}
	return 0, rec, false
}

// waitReplaced waits until no file is being replaced, which takes a rename and no
// sync. Called under mu, which it releases meanwhile.
func (s *Spool) waitReplaced() {
	for slices.ContainsFunc(s.segs, func(seg *segment) bool { return seg.replacing }) {
		s.replaced.Wait()
	}
}
