package spool

import "sort"

// A window holds the records that a reader has handed out and not committed, in
// order.
type window struct {
	ring      []entry // of a size that is a power of two
	head      uint    // of the oldest
	n         int
	delivered int // how many entries were handed out since the last rewind
}

type entry struct {
	seq       uint64
	size      uint32 // on the card; 0 if the record is lost and no longer counts
	confirmed bool
}

func (e entry) tally() recordCount {
	if e.size == 0 {
		return recordCount{}
	}
	return recordCount{1, uint64(e.size)}
}

func (w *window) at(i int) *entry { return &w.ring[(w.head+uint(i))&uint(len(w.ring)-1)] }

// canDeliver tells whether another record may be handed out, with at most limit in
// flight.
func (w *window) canDeliver(limit int) bool { return w.delivered < w.n || w.n < limit }

// find returns the first entry with a sequence of seq or more.
func (w *window) find(seq uint64) int {
	return sort.Search(w.n, func(i int) bool { return w.at(i).seq >= seq })
}

// deliver notes that seq is handed out. confirmed tells that it was confirmed before
// a rewind, and need not be handed out again.
func (w *window) deliver(seq uint64, size uint32) (confirmed bool) {
	for w.delivered < w.n {
		e := w.at(w.delivered)
		if e.seq > seq {
			break // cannot happen: it was not handed out before
		}
		w.delivered++
		if e.seq == seq {
			return e.confirmed
		}
		e.confirmed = true // handed out before, and dropped since
	}
	if w.n == len(w.ring) {
		grown := make([]entry, max(16, 2*len(w.ring)))
		for i := range w.n {
			grown[i] = *w.at(i)
		}
		w.ring, w.head = grown, 0
	}
	*w.at(w.n) = entry{seq: seq, size: size}
	w.n++
	w.delivered++
	return false
}

func (w *window) confirm(seq uint64) bool {
	i := w.find(seq)
	if i == w.n || w.at(i).seq != seq {
		return false
	}
	w.at(i).confirmed = true
	return true
}

// popConfirmed removes the oldest entry if it is confirmed.
func (w *window) popConfirmed() (entry, bool) {
	if w.n == 0 || !w.at(0).confirmed {
		return entry{}, false
	}
	return w.pop(), true
}

func (w *window) pop() entry {
	e := *w.at(0)
	w.head++
	w.n--
	w.delivered = max(0, w.delivered-1)
	return e
}

// dropTo removes the entries up to floor.
func (w *window) dropTo(floor uint64) {
	for w.n > 0 && w.at(0).seq <= floor {
		w.pop()
	}
}

func (w *window) rewind() { w.delivered = 0 }

// markLost makes the lost records from..to no longer count.
func (w *window) markLost(from, to uint64) {
	for i := w.find(from); i < w.n && w.at(i).seq <= to; i++ {
		w.at(i).size = 0
	}
}

// last is the highest sequence handed out; 0 if none is in the window.
func (w *window) last() uint64 {
	if w.n == 0 {
		return 0
	}
	return w.at(w.n - 1).seq
}
