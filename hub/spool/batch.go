package spool

// A batch is what one write puts on the card.
type batch struct {
	chunks          []span
	positions       []position
	checkpoint      checkpoint
	checkpointBytes int  // size of the checkpoint's data; 0 if none is written
	final           bool // the checkpoint closes the log

	taken   recordCount // records in buf
	payload uint64
	last    uint64 // their highest sequence
	more    bool   // memory holds records that did not fit
}

type span struct {
	c     *chunk
	start int
	end   int
}

// gatherBatch collects what is to be written. The records stay in memory until
// publish.
func (w *writer) gatherBatch(final bool) {
	s, b := w.s, &w.batch
	w.enforceBounds()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mem.trim(s.floor)
	if s.writing = w.writeRecords || final; s.writing {
		s.mem.seal()
	}
	b.chunks, b.positions, b.final = b.chunks[:0], b.positions[:0], final
	if s.writing {
		for _, c := range s.mem.chunks {
			b.chunks = append(b.chunks, span{c, c.start, len(c.buf)})
		}
	}
	for _, name := range s.removedReaders { // before a new reader of the same name
		b.positions = append(b.positions, position{name, removedPosition})
	}
	for _, r := range s.list {
		if !r.known || r.committed > r.saved && (len(b.chunks) > 0 || s.onCard(r.saved, r.committed)) {
			b.positions = append(b.positions, position{r.name, r.committed})
		}
	}
	b.checkpoint = s.saved
	cp := &b.checkpoint
	if s.floor > s.saved.floor && (len(s.list) == 0 || s.floor > w.lowestSaved()) && s.onCard(s.saved.floor, s.floor) {
		cp.floor = s.floor
	}
	// The closing checkpoint is written alone: it proves that all before it was synced.
	if cp.closed = final && len(s.segs) > 0 && len(b.chunks)+len(b.positions) == 0; cp.closed {
		cp.reserved = s.next
	} else if s.reserveLow() {
		cp.reserved = s.next + sequenceBlock
	}
	if s.opt.Class == Durable {
		cp.reserved = max(s.saved.reserved, s.next-s.mem.size.n)
	}
	b.checkpointBytes = 0
	if cp.floor != s.saved.floor || cp.closed && !s.saved.closed || s.opt.Class == Telemetry && cp.reserved != s.saved.reserved {
		b.checkpointBytes = checkpointSize
	}
	if cp.closed && b.checkpointBytes > 0 || s.wearDue() && !b.empty() {
		b.checkpointBytes = checkpointSize + checkpointWearSize
	}
}

// lowestSaved is the lowest position that is on the card.
func (w *writer) lowestSaved() uint64 {
	low := uint64(removedPosition)
	for _, r := range w.s.list {
		low = min(low, r.saved)
	}
	return low
}

// onCard tells whether the card holds records in from+1..to.
func (s *Spool) onCard(from, to uint64) bool {
	for _, seg := range s.segs {
		if seg.last > from && seg.head.first <= to {
			return true
		}
	}
	return false
}

func (b *batch) empty() bool { return len(b.chunks)+len(b.positions)+b.checkpointBytes == 0 }

// releaseBatch ends a batch that was not written.
func (w *writer) releaseBatch() {
	w.s.mu.Lock()
	w.s.writing = false
	w.s.mem.unseal()
	w.s.mu.Unlock()
}
