package spool

// A batch is what one write takes to the card.
type batch struct {
	chunks    []span
	positions []position
	mark      mark
	marked    int  // the bytes of the mark's data; 0 if none is to be written
	final     bool // the mark ends the log

	taken   tally // records in buf
	payload uint64
	last    uint64 // their highest sequence
	more    bool   // memory holds more than fitted
}

type span struct {
	c     *chunk
	start int
	end   int
}

// gather takes stock of what is to be written; memory keeps it until publish.
func (k *keeper) gather(final bool) {
	s, b := k.s, &k.batch
	k.makeRoomFor()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mem.trim(s.floor)
	if s.writing = k.all || final; s.writing {
		s.mem.seal()
	}
	b.chunks, b.positions, b.final = b.chunks[:0], b.positions[:0], final
	if s.writing {
		for _, c := range s.mem.chunks {
			b.chunks = append(b.chunks, span{c, c.start, len(c.buf)})
		}
	}
	for _, name := range s.leaving { // before the reader that may have the name now
		b.positions = append(b.positions, position{name, forgotten})
	}
	for _, r := range s.list {
		if !r.known || r.committed > r.saved && (len(b.chunks) > 0 || s.onCard(r.saved, r.committed)) {
			b.positions = append(b.positions, position{r.name, r.committed})
		}
	}
	b.mark = s.saved
	mark := &b.mark
	if s.floor > s.saved.floor && (len(s.list) == 0 || s.floor > k.savedLow()) && s.onCard(s.saved.floor, s.floor) {
		mark.floor = s.floor
	}
	// The mark that ends the log is written alone, so that it proves that all
	// before it was synced.
	if mark.closed = final && len(s.segs) > 0 && len(b.chunks)+len(b.positions) == 0; mark.closed {
		mark.reserved = s.next
	} else if s.reserveLow() {
		mark.reserved = s.next + reserveStep
	}
	if s.opt.Class == Durable {
		mark.reserved = max(s.saved.reserved, s.next-s.mem.size.n)
	}
	b.marked = 0
	if mark.floor != s.saved.floor || mark.closed && !s.saved.closed || s.opt.Class == Telemetry && mark.reserved != s.saved.reserved {
		b.marked = markSize
	}
	if mark.closed && b.marked > 0 || s.wearDue() && !b.empty() {
		b.marked = markSize + markWear
	}
}

// savedLow is the lowest position that the card knows.
func (k *keeper) savedLow() uint64 {
	low := uint64(forgotten)
	for _, r := range k.s.list {
		low = min(low, r.saved)
	}
	return low
}

// onCard tells whether the card holds records after from, up to to.
func (s *Spool) onCard(from, to uint64) bool {
	for _, seg := range s.segs {
		if seg.last > from && seg.head.first <= to {
			return true
		}
	}
	return false
}

func (b *batch) empty() bool { return len(b.chunks)+len(b.positions)+b.marked == 0 }

// release ends a batch that was not written.
func (k *keeper) release() {
	k.s.mu.Lock()
	k.s.writing = false
	k.s.mem.unseal()
	k.s.mu.Unlock()
}
