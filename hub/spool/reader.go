package spool

import (
	"context"
	"fmt"
	"slices"
	"sync"
)

// A Reader reads the records in order and confirms them. Its position is kept in the
// log under its name: everything up to the position was confirmed, in whatever order.
// The position never goes back. Next is for one goroutine at a time; the other
// methods may be called from any.
type Reader struct {
	s    *Spool
	name string
	wake chan struct{}

	nextMu sync.Mutex // held by Next
	cur    cursor
	last   uint64 // the last record handed out or skipped

	// Under Spool.mu:
	waiting     bool
	committed   uint64      // the position
	saved       uint64      // the position on the card
	known       bool        // the reader is on the card
	passed      recordCount // of records up to the position
	window      window
	rewinds     int // calls of Rewind
	seenRewinds int // rewinds as of the last Next
	removed     bool
}

// Reader returns the reader of that name; callers that ask for the same name share
// one. A reader that the log does not know begins with the oldest record there is,
// and from then on records are kept until it, too, has confirmed them. A name is 1 to
// 40 bytes; there are at most 64 readers.
func (s *Spool) Reader(name string) (*Reader, error) {
	if len(name) < 1 || len(name) > maxReaderName {
		return nil, fmt.Errorf("spool: reader %q: the name must be 1 to %d bytes", name, maxReaderName)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return nil, fmt.Errorf("spool: reader %q: %w", name, ErrClosed)
	}
	if r := s.readers[name]; r != nil {
		return r, nil
	}
	if len(s.readers) == maxReaders {
		return nil, fmt.Errorf("spool: reader %q: there are %d already: remove one with RemoveReader", name, maxReaders)
	}
	r := s.addReader(name, s.floor, s.passed)
	s.scheduleCommit()
	return r, nil
}

func (s *Spool) addReader(name string, at uint64, passed recordCount) *Reader {
	r := &Reader{s: s, name: name, wake: make(chan struct{}, 1), committed: at, saved: at, last: at, passed: passed}
	r.cur = cursor{s: s, seq: at}
	s.readers[name] = r
	s.list = append(s.list, r)
	return r
}

// RemoveReader removes a reader for good: its position is discarded, and no record is kept
// for it any more. Its Next returns ErrClosed.
func (s *Spool) RemoveReader(name string) {
	s.mu.Lock()
	r := s.readers[name]
	if r == nil || s.closing {
		s.mu.Unlock()
		return
	}
	r.removed, r.waiting = true, true
	delete(s.readers, name)
	s.removedReaders = append(s.removedReaders, name)
	s.wakeReaders()
	s.list = slices.DeleteFunc(s.list, func(o *Reader) bool { return o == r })
	s.advanceFloor()
	s.scheduleCommit()
	s.mu.Unlock()
	r.nextMu.Lock() // Next has been woken and returns
	r.cur.release() // or else its segment would stay pinned
	r.nextMu.Unlock()
}

// Next returns the next record, and waits until there is one. A durable record is
// handed out only when it is on the card. Data is borrowed until the next call of
// Next. Next also waits while Options.InFlight records are handed out and not
// confirmed. It returns ctx's error when ctx ends and ErrClosed after Close.
func (r *Reader) Next(ctx context.Context) (Record, error) {
	r.nextMu.Lock()
	defer r.nextMu.Unlock()
	for {
		open, err := r.ready()
		if err != nil {
			return Record{}, err
		}
		if open {
			rec, ok, _ := r.cur.next() // an error means that the card fails; Next waits until it is back
			if ok {
				if r.deliver(&rec) {
					return rec, nil
				}
				continue
			}
		}
		if !r.prepareWait() {
			continue
		}
		select {
		case <-r.wake:
		case <-ctx.Done():
			return Record{}, ctx.Err()
		case <-r.s.done:
		}
	}
}

// ready tells whether the window is open. It carries out a rewind first if one was
// asked for.
func (r *Reader) ready() (bool, error) {
	s := r.s
	s.mu.Lock()
	if s.closing || r.removed {
		r.cur.releaseLocked()
		s.mu.Unlock()
		return false, fmt.Errorf("spool: reader %q: %w", r.name, ErrClosed)
	}
	if r.seenRewinds != r.rewinds {
		r.seenRewinds = r.rewinds
		r.cur.releaseLocked()
		r.cur.seq, r.last = r.committed, r.committed
	}
	open := r.window.canDeliver(s.opt.InFlight)
	s.mu.Unlock()
	return open, nil
}

// prepareWait registers the reader as waiting. It returns false if there is already
// something to read.
func (r *Reader) prepareWait() bool {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	if r.s.closing || r.seenRewinds != r.rewinds || r.removed {
		return false
	}
	if r.window.canDeliver(r.s.opt.InFlight) && r.s.failing == nil && r.s.hasRecordAfter(r.cur.seq) {
		return false
	}
	r.waiting = true
	select {
	case <-r.wake: // an old wake-up
	default:
	}
	return true
}

// hasRecordAfter tells whether a reader may have a record after seq.
func (s *Spool) hasRecordAfter(seq uint64) bool {
	if n := len(s.segs); n > 0 && s.segs[n-1].last > max(seq, s.floor) {
		return true
	}
	return s.opt.Class == Telemetry && s.mem.size.n > 0 && s.mem.newest > max(seq, s.floor)
}

// deliver adds a record to the window. It returns false if the record must not be
// handed out after all.
func (r *Reader) deliver(rec *Record) bool {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.seenRewinds != r.rewinds || rec.Seq <= s.floor || rec.Seq <= r.committed {
		return false
	}
	last := max(r.last, r.committed)
	r.last = rec.Seq
	confirmed := r.window.deliver(rec.Seq, uint32(recordSize(len(rec.Data))))
	r.commitConfirmed() // passes entries that were lost since they were handed out
	if rec.Seq > last+1 {
		rec.Gap = Gap{last + 1, rec.Seq - 1}
	}
	return !confirmed
}

// Confirm says that a record need not be handed out again. Records may be confirmed
// in any order; the position moves up to the first record that is not confirmed.
// Nothing is written for it at once: the position is on the card with the next write,
// after Options.CommitEvery, at Sync or at Close. Until then a power cut makes the
// record come again. It is no error to confirm a record twice, or one that was
// dropped meanwhile. ErrNotHandedOut is returned for a record that never came from
// Next.
func (r *Reader) Confirm(seq uint64) error {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.removed || s.closed {
		return fmt.Errorf("spool: reader %q: confirm: %w", r.name, ErrClosed)
	}
	if seq <= r.committed {
		return nil
	}
	if !r.window.confirm(seq) {
		return fmt.Errorf("spool: reader %q: confirm %d: %w", r.name, seq, ErrNotHandedOut)
	}
	r.commitConfirmed()
	return nil
}

// commitConfirmed moves the position over the confirmed entries at the front of the
// window.
func (r *Reader) commitConfirmed() {
	s := r.s
	was := r.committed
	for {
		e, ok := r.window.popConfirmed()
		if !ok {
			break
		}
		r.committed = max(r.committed, e.seq)
		r.passed.add(e.tally())
	}
	if r.waiting {
		r.waiting = false
		select {
		case r.wake <- struct{}{}:
		default:
		}
	}
	if r.committed > was {
		s.advanceFloor()
		s.scheduleCommit()
	}
}

// Rewind makes Next begin again with the first record that is not confirmed, as after
// a lost connection. Confirmed records beyond that are not handed out again.
func (r *Reader) Rewind() {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	r.rewinds++
	r.window.rewind()
	r.waiting = true
	r.s.wakeReaders()
}

// Position is the sequence up to which all records are confirmed; 0 if none is.
func (r *Reader) Position() uint64 {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	return r.committed
}

// skipToFloor moves the position to the spool's floor: the records up to there are
// dropped.
func (r *Reader) skipToFloor() {
	s := r.s
	if r.committed >= s.floor {
		return
	}
	r.window.dropTo(s.floor)
	r.committed, r.passed = s.floor, s.passed
	r.commitConfirmed()
}

// discountLost takes the lost records from..to out of the tallies. The reader may be
// past some of them.
func (r *Reader) discountLost(from, to uint64, t recordCount) {
	if after := min(t.n, to-min(to, r.committed)); after == 0 {
		r.passed.sub(t)
	} else {
		r.passed.sub(recordCount{t.n - after, t.bytes / t.n * (t.n - after)})
	}
	r.window.markLost(from, to)
}
