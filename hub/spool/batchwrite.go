package spool

import (
	"cmp"
	"time"
)

// ensureSegment sees to it that a segment is open and that the first record of the
// batch fits in it.
func (w *writer) ensureSegment() error {
	b := &w.batch
	first, at := w.s.firstPending(b)
	if w.file != nil {
		need := w.metadataSize()
		if len(b.chunks) > 0 {
			need += int64(recordSize(len(b.chunks[0].c.at(b.chunks[0].start).data)))
		}
		age := w.s.clock() - w.head.time
		if w.off+need <= w.limit && first-w.head.first < 1<<31 && age < 1<<31 {
			return nil
		}
	}
	return w.rotate(first, at)
}

// firstPending is the sequence and time of the first record that is not written yet,
// whether it goes with this batch or a later one.
func (s *Spool) firstPending(b *batch) (seq, time uint64) {
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

// metadataSize is the size of the positions and the checkpoint of the batch.
func (w *writer) metadataSize() int64 {
	n := 0
	for _, p := range w.batch.positions {
		n += recordSize(8 + len(p.name))
	}
	if w.batch.checkpointBytes > 0 {
		n += recordSize(w.batch.checkpointBytes)
	}
	return int64(n)
}

// rotate begins a segment. It prefers a preallocated file, whose blocks need no
// journal entries, to a new one. The file gets its name in the log only when the
// header and the first batch are synced.
func (w *writer) rotate(first, at uint64) error {
	w.closeFile()
	if err := w.openSegmentFile(); err != nil {
		w.closeFile()
		return err
	}
	w.head = w.newHeader(first, at)
	w.headerPending, w.off = true, dataStart
	return nil
}

// newHeader describes the successor of the newest segment. Its time is that of its
// first record, which may have been in memory for long.
func (w *writer) newHeader(first, at uint64) *header {
	s := w.s
	s.mu.Lock()
	defer s.mu.Unlock()
	h := &header{
		salt: uint32(random()), spool: s.id, first: first, time: at,
		floor: s.floor, reserved: s.saved.reserved,
	}
	if s.opt.Class == Telemetry {
		h.reserved = max(h.reserved, s.next+sequenceBlock)
	}
	if n := len(s.segs); n > 0 {
		p := s.segs[n-1]
		if p.head.first == first { // it is empty: the new one replaces it
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
	l := &s.count.wear
	l.advanceTo(s.clock())
	l.since = cmp.Or(l.since, l.at, 1)
	h.wear = *l
	return h
}

// encodeBatch encodes the batch into the buffer. Positions come first: they are
// small, and a confirmation should not wait for another write. Records follow while
// they fit. The checkpoint comes last, for it may say that the log ends here.
func (w *writer) encodeBatch() {
	b, h := &w.batch, w.head
	b.taken, b.payload, b.last, b.more = recordCount{}, 0, 0, false
	out := w.buf[:0]
	if w.headerPending {
		out = append(out, h.encode()...)
		w.prevCRC = h.crc
		w.off = 0
	}
	now, seq, prev := w.s.clock(), h.first-1, w.prevCRC
	if w.s.newestLast(h) > seq {
		seq = w.s.newestLast(h)
	}
	var data [8 + maxReaderName]byte
	for _, p := range b.positions {
		le.PutUint64(data[:], p.seq)
		n := 8 + copy(data[8:], p.name)
		out, prev = h.appendRecord(out, prev, kindPosition, seq+1, now, data[:n])
	}
	end := w.limit - w.off
	if b.checkpointBytes > 0 {
		end -= int64(recordSize(b.checkpointBytes))
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
			b.taken.add(recordCount{1, uint64(recordSize(len(r.data)))})
			b.payload += uint64(len(r.data))
			b.last, seq = r.seq, r.seq
			off += r.size
		}
	}
	if b.checkpointBytes > 0 {
		if b.checkpointBytes > checkpointSize {
			b.checkpoint.at = now
			b.checkpoint.payload, b.checkpoint.written = w.s.wearWith(b, pages(w.off, w.off+int64(len(out)+recordSize(b.checkpointBytes))))
		}
		b.checkpoint.put(data[:b.checkpointBytes])
		out, prev = h.appendRecord(out, prev, kindCheckpoint, seq+1, now, data[:b.checkpointBytes])
	}
	w.buf, w.prevCRC = out, prev
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

// preallocate sees to the blocks of a batch of n bytes that ends at end, beyond all
// that was written so far. It tells whether zeros are to be written ahead of the
// batch: later batches then share the cost of the journal entries. For a large batch
// it allocates blocks instead, which need no zeros.
func (w *writer) preallocate(n, end int64) (zeros bool) {
	if w.batch.final || n < minAllocBatch {
		return !w.batch.final
	}
	if end > w.allocatedTo {
		to := min(max(end, w.allocatedTo+allocAhead), w.limit)
		if w.file.Allocate(w.allocatedTo, to-w.allocatedTo) != nil {
			return n < minExtendBatch
		}
		w.allocatedTo = to
	}
	return false
}

// writeAndSync writes the buffer and syncs.
func (w *writer) writeAndSync() error {
	s := w.s
	n := int64(len(w.buf))
	end := w.off + n
	began := time.Now()
	to := end
	if end > w.writtenTo {
		to = (end + pageSize - 1) &^ (pageSize - 1)
		if w.preallocate(n, end) {
			to = max(to, min((end+zeroAhead-1)&^(zeroAhead-1), w.limit))
		}
	}
	if _, err := w.file.WriteAt(w.buf, w.off); err != nil {
		return err
	}
	if err := w.writeZeros(end, to); err != nil {
		return err
	}
	w.writtenTo = max(w.writtenTo, to)
	if err := w.file.Sync(); err != nil {
		return err
	}
	syncs := uint64(1)
	if w.headerPending {
		name := segmentName(w.head.first)
		if err := s.disk.Rename(w.name, name); err != nil {
			return err
		}
		w.name = name
		if err := s.disk.Sync(); err != nil {
			return err
		}
		syncs++
	}
	s.mu.Lock()
	s.count.countWrite(pages(w.off, to), syncs, time.Since(began), s.clock())
	s.mu.Unlock()
	w.off = end
	return nil
}

// writeZeros fills from..to with zeros.
func (w *writer) writeZeros(from, to int64) error {
	if w.zeros == nil && from < to {
		w.zeros = make([]byte, 64<<10)
	}
	for from < to {
		n, err := w.file.WriteAt(w.zeros[:min(int64(len(w.zeros)), to-from)], from)
		if err != nil {
			return err
		}
		from += int64(n)
	}
	return nil
}

// pages is how many bytes the card writes for from..to, in whole pages.
func pages(from, to int64) uint64 {
	return uint64((to+pageSize-1)&^(pageSize-1) - from&^(pageSize-1))
}

// publish makes the batch that is on the card visible, and calls back those who wait
// for it.
func (w *writer) publish() {
	s, b := w.s, &w.batch
	s.mu.Lock()
	if w.headerPending {
		w.headerPending = false
		s.addSegment(&segment{name: w.name, head: w.head, end: dataStart, last: w.head.first - 1})
		h := w.head
		s.saved = checkpoint{floor: h.floor, reserved: h.reserved, payload: h.wear.payload, written: h.wear.written, at: h.wear.at}
		for _, p := range w.head.readers {
			s.notePersisted(p)
		}
	}
	seg := s.segs[len(s.segs)-1]
	seg.end = w.off
	seg.size.add(b.taken)
	seg.last = max(seg.last, b.last)
	s.mem.unseal()
	w.lastPending = s.mem.size.n
	w.callbacks = w.callbacks[:0]
	for range b.taken.n {
		w.callbacks = s.mem.pop(w.callbacks, nil)
	}
	if s.opt.Class == Durable {
		s.total.add(b.taken)
		s.count.accepted += b.taken.n
		s.count.accept(b.payload)
	}
	s.count.stored += b.payload
	for _, p := range b.positions {
		s.notePersisted(p)
	}
	if b.checkpointBytes > 0 {
		if b.checkpointBytes == checkpointSize {
			b.checkpoint.payload, b.checkpoint.written, b.checkpoint.at = s.saved.payload, s.saved.written, s.saved.at
		}
		s.saved = b.checkpoint
	} else if b.taken.n > 0 || len(b.positions) > 0 {
		s.saved.closed = false
	}
	s.writing = false
	s.mem.trim(s.floor)
	s.signalSpace()
	s.wakeReaders()
	s.mu.Unlock()
	w.runCallbacks()
}

// runCallbacks tells the appenders that their records were accepted or refused.
func (w *writer) runCallbacks() {
	for i, c := range w.callbacks {
		if c.err != nil {
			c.seq = 0
		}
		c.done(c.seq, c.err)
		w.callbacks[i] = callback{}
	}
	w.callbacks = w.callbacks[:0]
}

// notePersisted notes that a position is on the card. Called under mu.
func (s *Spool) notePersisted(p position) {
	if p.seq == removedPosition {
		if r := s.readers[p.name]; r != nil {
			r.known = false // a new reader of that name; the header before this may already hold it
		}
		for i, name := range s.removedReaders {
			if name == p.name {
				s.removedReaders = append(s.removedReaders[:i], s.removedReaders[i+1:]...)
				break
			}
		}
	} else if r := s.readers[p.name]; r != nil {
		r.saved, r.known = max(r.saved, p.seq), true
	}
}

// addSegment makes seg the newest segment. Called under mu.
func (s *Spool) addSegment(seg *segment) {
	if n := len(s.segs); n > 0 && s.segs[n-1].head.first == seg.head.first {
		s.segs[n-1].retired = true
		s.segs = s.segs[:n-1]
	}
	s.segs = append(s.segs, seg)
}
