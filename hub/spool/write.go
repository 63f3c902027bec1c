package spool

import (
	"cmp"
	"time"
)

// room makes sure of a segment that the first record of the batch fits in.
func (k *keeper) room() error {
	b := &k.batch
	first, at := k.s.firstOf(b)
	if k.f != nil {
		need := k.extra()
		if len(b.chunks) > 0 {
			need += int64(recordSize(len(b.chunks[0].c.at(b.chunks[0].start).data)))
		}
		age := k.s.clock() - k.head.time
		if k.off+need <= k.limit && first-k.head.first < 1<<31 && age < 1<<31 {
			return nil
		}
	}
	return k.rotate(first, at)
}

// firstOf is the sequence and time of the first record that is still to be
// written, whether with this batch or a later one.
func (s *Spool) firstOf(b *batch) (seq, time uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, ok := s.mem.first()
	if len(b.chunks) > 0 {
		r, ok = b.chunks[0].c.at(b.chunks[0].start), true
	}
	if ok {
		return r.seq, r.time
	}
	return s.next, s.clock()
}

// extra is what positions and the mark of the batch take.
func (k *keeper) extra() int64 {
	n := 0
	for _, p := range k.batch.positions {
		n += recordSize(8 + len(p.name))
	}
	if k.batch.marked > 0 {
		n += recordSize(k.batch.marked)
	}
	return int64(n)
}

// rotate begins a segment: in a file that was used before, if there is one, whose
// blocks need no journal any more, else in a new one. The file gets its name in
// the log only when the header and the first batch in it are safe.
func (k *keeper) rotate(first, at uint64) error {
	k.closeFile()
	if err := k.begin(); err != nil {
		k.closeFile()
		return err
	}
	k.head = k.newHeader(first, at)
	k.fresh, k.off = true, dataStart
	return nil
}

// newHeader describes the segment that comes after the newest one. Its time is
// that of its first record, which may have been in memory for long.
func (k *keeper) newHeader(first, at uint64) *header {
	s := k.s
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &header{
		salt: uint32(random()), spool: s.id, first: first, time: at,
		floor: s.floor, reserved: s.saved.reserved,
	}
	if s.opt.Class == Telemetry {
		h.reserved = max(h.reserved, s.next+reserveStep)
	}
	if n := len(s.segs); n > 0 {
		p := s.segs[n-1]
		if p.head.first == first { // nothing in it: the new one takes its place
			h.prev, h.prevEnd, h.prevLast, h.before = p.head.prev, p.head.prevEnd, p.head.prevLast, p.head.before
		} else {
			h.prev, h.prevEnd, h.prevLast, h.before = p.head.first, uint64(p.end), p.last, p.head.before
			h.before.add(p.size)
			if p.last < p.head.first { // it holds no records
				h.prevLast = p.head.prevLast
			}
		}
	}
	for _, r := range s.list {
		h.readers = append(h.readers, position{r.name, r.committed})
	}
	l := &s.count.ledger
	l.turn(s.clock())
	l.since = cmp.Or(l.since, l.at, 1)
	h.ledger = *l
	return h
}

// encode writes the batch into the buffer: positions first, for they are small
// and what is confirmed should not wait for another write, then records while
// they fit, then the mark, which may say that nothing comes after.
func (k *keeper) encode() {
	b, h := &k.batch, k.head
	b.taken, b.payload, b.last, b.more = tally{}, 0, 0, false
	out := k.buf[:0]
	if k.fresh {
		out = append(out, h.encode()...)
		k.prev = h.crc
		k.off = 0
	}
	now, seq, prev := k.s.clock(), h.first-1, k.prev
	if k.s.newestLast(h) > seq {
		seq = k.s.newestLast(h)
	}
	var data [8 + maxReaderName]byte
	for _, p := range b.positions {
		le.PutUint64(data[:], p.seq)
		n := 8 + copy(data[8:], p.name)
		out, prev = h.appendRecord(out, prev, kindPosition, seq+1, now, data[:n])
	}
	end := k.limit - k.off
	if b.marked > 0 {
		end -= int64(recordSize(b.marked))
	}
fill:
	for _, sp := range b.chunks {
		for off := sp.start; off < sp.end; {
			r := sp.c.at(off)
			if int64(len(out)+recordSize(len(r.data))) > end || r.seq-h.first >= 1<<32 {
				b.more = true
				break fill
			}
			out, prev = h.appendRecord(out, prev, kindData, r.seq, r.time, r.data)
			b.taken.add(tally{1, uint64(recordSize(len(r.data)))})
			b.payload += uint64(len(r.data))
			b.last, seq = r.seq, r.seq
			off += r.size
		}
	}
	if b.marked > 0 {
		if b.marked > markSize {
			b.mark.at = now
			b.mark.payload, b.mark.written = k.s.wearWith(b, pages(k.off, k.off+int64(len(out)+recordSize(b.marked))))
		}
		b.mark.put(data[:b.marked])
		out, prev = h.appendRecord(out, prev, kindMark, seq+1, now, data[:b.marked])
	}
	k.buf, k.prev = out, prev
}

// newestLast is the highest sequence in the segment with that header.
func (s *Spool) newestLast(h *header) uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n := len(s.segs); n > 0 && s.segs[n-1].head == h {
		return s.segs[n-1].last
	}
	return 0
}

// lookAhead sees to the blocks of a batch of n bytes that ends at end, beyond all that
// were written so far. It tells whether zeros are to be written ahead of it: the
// journal's entries are then shared by all batches that go there. For a large batch
// it takes blocks instead, which do without zeros.
func (k *keeper) lookAhead(n, end int64) (zeros bool) {
	if k.batch.final || n < allocWorth {
		return !k.batch.final
	}
	if end > k.space {
		to := min(max(end, k.space+allocAhead), k.limit)
		if k.f.Allocate(k.space, to-k.space) != nil {
			return n < extendWorth
		}
		k.space = to
	}
	return false
}

// put writes the buffer and syncs.
func (k *keeper) put() error {
	s := k.s
	n := int64(len(k.buf))
	end := k.off + n
	began := time.Now()
	to := end
	if end > k.alloc {
		to = (end + pageSize - 1) &^ (pageSize - 1)
		if k.lookAhead(n, end) {
			to = max(to, min((end+zeroAhead-1)&^(zeroAhead-1), k.limit))
		}
	}
	if _, err := k.f.WriteAt(k.buf, k.off); err != nil {
		return err
	}
	if err := k.zero(end, to); err != nil {
		return err
	}
	k.alloc = max(k.alloc, to)
	if err := k.f.Sync(); err != nil {
		return err
	}
	syncs := uint64(1)
	if k.fresh {
		name := segmentName(k.head.first)
		if err := s.disk.Rename(k.name, name); err != nil {
			return err
		}
		k.name = name
		if err := s.disk.Sync(); err != nil {
			return err
		}
		syncs++
	}
	s.mu.Lock()
	s.count.card(pages(k.off, to), syncs, time.Since(began), s.clock())
	s.mu.Unlock()
	k.off = end
	return nil
}

// zero writes zeros.
func (k *keeper) zero(from, to int64) error {
	if k.zeros == nil && from < to {
		k.zeros = make([]byte, 64<<10)
	}
	for from < to {
		n, err := k.f.WriteAt(k.zeros[:min(int64(len(k.zeros)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// pages is what the card writes for bytes from..to, in whole pages.
func pages(from, to int64) uint64 {
	return uint64((to+pageSize-1)&^(pageSize-1) - from&^(pageSize-1))
}

// publish makes known what is on the card now, and tells those who wait.
func (k *keeper) publish() {
	s, b := k.s, &k.batch
	s.mu.Lock()
	if k.fresh {
		k.fresh = false
		s.enter(&segment{name: k.name, head: k.head, end: dataStart, last: k.head.first - 1})
		h := k.head
		s.saved = mark{floor: h.floor, reserved: h.reserved, payload: h.ledger.payload, written: h.ledger.written, at: h.ledger.at}
		for _, p := range k.head.readers {
			s.savedPosition(p)
		}
	}
	seg := s.segs[len(s.segs)-1]
	seg.end = k.off
	seg.size.add(b.taken)
	seg.last = max(seg.last, b.last)
	s.mem.unseal()
	k.callers = s.mem.size.n
	k.calls = k.calls[:0]
	for range b.taken.n {
		k.calls = s.mem.pop(k.calls, nil)
	}
	if s.opt.Class == Durable {
		s.total.add(b.taken)
		s.count.accepted += b.taken.n
		s.count.accept(b.payload)
	}
	s.count.stored += b.payload
	for _, p := range b.positions {
		s.savedPosition(p)
	}
	if b.marked > 0 {
		if b.marked == markSize {
			b.mark.payload, b.mark.written, b.mark.at = s.saved.payload, s.saved.written, s.saved.at
		}
		s.saved = b.mark
	} else if b.taken.n > 0 || len(b.positions) > 0 {
		s.saved.closed = false
	}
	s.writing = false
	s.mem.trim(s.floor)
	s.makeRoom()
	s.tell()
	s.mu.Unlock()
	k.callBack()
}

// callBack tells those whose records were taken or refused.
func (k *keeper) callBack() {
	for i, c := range k.calls {
		if c.err != nil {
			c.seq = 0
		}
		c.done(c.seq, c.err)
		k.calls[i] = call{}
	}
	k.calls = k.calls[:0]
}

// savedPosition notes that the card knows a position. Called under mu.
func (s *Spool) savedPosition(p position) {
	if p.seq == forgotten {
		if r := s.readers[p.name]; r != nil {
			r.known = false // come again meanwhile, perhaps in the header before this
		}
		for i, name := range s.leaving {
			if name == p.name {
				s.leaving = append(s.leaving[:i], s.leaving[i+1:]...)
				break
			}
		}
	} else if r := s.readers[p.name]; r != nil {
		r.saved, r.known = max(r.saved, p.seq), true
	}
}

// enter makes seg the newest segment. Called under mu.
func (s *Spool) enter(seg *segment) {
	if n := len(s.segs); n > 0 && s.segs[n-1].head.first == seg.head.first {
		s.segs[n-1].gone = true
		s.segs = s.segs[:n-1]
	}
	s.segs = append(s.segs, seg)
}
