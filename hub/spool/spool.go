package spool

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Spool is a queue on disk. Its methods may be called from many goroutines.
type Spool struct {
	opt  Options
	disk disk
	lock lock // only the writer replaces it

	device uint64 // the file system that the folder was on when it was opened

	opened   time.Time
	openedMS uint64 // the spool's clock then

	waiters sync.Pool

	wake chan struct{} // wakes the writer
	done chan struct{} // closed when the writer has ended

	damageMu sync.Mutex // held, before mu, by recordDamage

	mu             sync.Mutex
	id             uint64
	segs           []*segment // oldest first; the last is the one written to, if any is
	mem            memory
	next           uint64      // the next sequence
	floor          uint64      // the low-water mark: records up to it are done with
	passed         recordCount // the part of total up to floor
	total          recordCount // of the records accepted; see below
	readers        map[string]*Reader
	list           []*Reader     // the same readers, as a list
	epoch          int           // changes when records above the floor vanish
	removedReaders []string      // names of removed readers that the card still knows
	spaceFreed     chan struct{} // closed, and made anew, when space may be free
	spaceWanted    bool          // someone waits for spaceFreed
	replaced       *sync.Cond
	writing        bool
	closing        bool
	closed         bool
	closeErr       error
	failing        error
	retryAt        time.Time
	commitAt       time.Time // when positions must be written; zero if they need not be
	syncs          []chan error
	saved          checkpoint // the state that is on the card
	count          counters
}

// The invariants of the tallies, whenever mu is not held:
//
//   - total counts the records in the segments that Open found, and those accepted
//     since. A Durable record counts when it is in a segment, a Telemetry record when
//     it is in memory. A record that is done with stays in total, also when its segment
//     is retired.
//   - passed is the part of total up to floor, and Reader.passed the part up to the
//     reader's position. No position is below floor. So total less passed is queued,
//     and total less Reader.passed is queued for that reader.
//   - segment.size is the part of total that is in the segment.
//   - A record that is downsampled, found damaged or dropped from memory is taken out of
//     total, of the size of its segment, and of the passed of each reader beyond it.
//     Damage up to floor changes the segment's size only. A record that expires or is
//     dropped to free space stays in total: floor and passed move beyond it.

// A segment is one file of the log.
type segment struct {
	name      string
	head      *header
	end       int64          // where the synced records end
	size      recordCount    // the records in it
	last      uint64         // highest sequence in it; first-1 if none
	holes     map[int64]bool // offsets of the holes found; true is damage, for which the file is quarantined in the end
	retired   bool           // no longer part of the log
	gen       int            // changes when the file is replaced
	pins      int            // cursors that are in it
	replacing bool           // its file is being replaced; Spool.replaced is signalled at the end
}

// Open opens the spool in the folder dir, and creates the folder if there is none
// (not its parents). It quarantines, counts and reports damaged files; damage is no
// reason to fail. It reads the headers of all segments and the newest segment, no
// more. It fails with ErrLocked if another process has the spool open, and also if
// the options are invalid or the folder cannot be created or read.
func Open(dir string, o Options) (*Spool, error) {
	if err := o.applyDefaults(); err != nil {
		return nil, fmt.Errorf("spool: options: %w", err)
	}
	s := &Spool{
		opt: o, disk: o.disk,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
		readers: map[string]*Reader{}, spaceFreed: make(chan struct{}),
	}
	s.replaced = sync.NewCond(&s.mu)
	s.waiters.New = newWaiter
	if s.disk == nil {
		s.disk = folder(dir)
	}
	var err error
	if s.lock, err = s.disk.Lock(); err != nil {
		return nil, fmt.Errorf("spool: %q: %w", dir, err)
	}
	w := newWriter(s)
	if s.device, err = s.disk.Device(); err == nil {
		err = s.load(w)
	}
	if err != nil {
		s.lock.Close()
		return nil, fmt.Errorf("spool: %q: %w", dir, err)
	}
	if o.Class == Telemetry {
		w.runOnce() // reserves sequences, which are given out before they are written
	}
	go w.run()
	return s, nil
}

// clock is the spool's clock in milliseconds.
func (s *Spool) clock() uint64 {
	return s.openedMS + uint64(max(0, time.Since(s.opened).Milliseconds()))
}

func (s *Spool) wakeWriter() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// A waiter is a caller that waits in Append.
type waiter struct {
	result chan result
	done   func(uint64, error)
}

type result struct {
	seq uint64
	err error
}

func newWaiter() any {
	w := &waiter{result: make(chan result, 1)}
	w.done = func(seq uint64, err error) { w.result <- result{seq, err} }
	return w
}

// Append appends a copy of data and returns its sequence when it is as safe as the
// spool's class promises. It waits while memory is full and, under the policy Wait,
// for space. Errors: ErrFull, ErrTooLarge, ErrClosed; where the card fails,
// ErrNoSpace, ErrReadOnly, ErrGone or ErrIO. After each of these nothing was taken.
// When ctx ends first, its error is returned; the record may then have been taken or
// not.
func (s *Spool) Append(ctx context.Context, data []byte) (seq uint64, err error) {
	w := s.waiters.Get().(*waiter)
	for {
		spaceFreed, err := s.enqueue(data, w.done, true)
		if err != nil {
			s.waiters.Put(w)
			return 0, err
		}
		if spaceFreed == nil {
			break
		}
		select {
		case <-spaceFreed:
		case <-ctx.Done():
			s.waiters.Put(w)
			return 0, ctx.Err()
		}
	}
	select {
	case r := <-w.result:
		s.waiters.Put(w)
		return r.seq, r.err
	case <-ctx.Done():
		return 0, ctx.Err() // the writer still calls w.done
	}
}

// AppendAsync appends a copy of data and never waits. If it returns nil, done is
// called once: with the sequence when the record is as safe as the class promises, or
// with one of Append's errors when the record was not taken after all. The call may
// come before AppendAsync returns, otherwise it comes from the writer's goroutine, so
// done must not block. After an error nothing was taken and done is not called.
// AppendAsync returns ErrFull where Append would wait. data is borrowed until
// AppendAsync returns.
func (s *Spool) AppendAsync(data []byte, done func(seq uint64, err error)) error {
	if done == nil {
		done = func(uint64, error) {}
	}
	_, err := s.enqueue(data, done, false)
	return err
}

// enqueue puts a record into memory. If there is no space and the caller can wait, it
// returns a channel that is closed when the caller may try again.
func (s *Spool) enqueue(data []byte, done func(uint64, error), wait bool) (<-chan struct{}, error) {
	s.mu.Lock()
	if spaceFreed, err := s.admit(uint64(recordSize(len(data))), len(data), wait); spaceFreed != nil || err != nil {
		s.mu.Unlock()
		return spaceFreed, err
	}
	seq := s.next
	s.next++
	first := s.mem.size.n == 0
	if s.opt.Class == Durable {
		s.mem.add(seq, s.clock(), data, done)
		s.mu.Unlock()
		s.wakeWriter()
		return nil, nil
	}
	s.mem.add(seq, s.clock(), data, nil)
	t := recordCount{1, uint64(recordSize(len(data)))}
	s.total.add(t)
	s.count.accepted++
	s.count.accept(uint64(len(data)))
	s.wakeReaders()
	nudge := first || s.mem.size.bytes > uint64(s.opt.Memory/2) || s.overBounds(recordCount{}) || s.reserveLow()
	s.mu.Unlock()
	if nudge {
		s.wakeWriter()
	}
	done(seq, nil)
	return nil, nil
}

// admit decides on the admission of a record: it returns nothing, a channel to wait
// for, or an error. Called under mu.
func (s *Spool) admit(size uint64, length int, wait bool) (<-chan struct{}, error) {
	full := func() (<-chan struct{}, error) {
		if wait {
			s.spaceWanted = true
			return s.spaceFreed, nil
		}
		s.count.refused.Full++
		return nil, fmt.Errorf("spool: append: %w", ErrFull)
	}
	pending := recordCount{1, size}
	if s.opt.Class == Durable {
		pending.add(s.mem.size)
	}
	switch {
	case s.closing:
		return nil, fmt.Errorf("spool: append: %w", ErrClosed)
	case length > s.opt.MaxRecord:
		s.count.refused.TooLarge++
		return nil, fmt.Errorf("spool: append: %d bytes, at most %d: %w", length, s.opt.MaxRecord, ErrTooLarge)
	case s.failing != nil && s.opt.Class == Durable && !s.opt.BufferOnFailure:
		s.count.refused.Failed++
		return nil, s.failing
	case s.opt.Overflow == Wait && s.overBounds(pending):
		return full()
	case s.opt.Overflow == DropNewest && s.overBounds(pending):
		wait = false
		return full()
	}
	for s.mem.size.bytes+size > uint64(s.opt.Memory) {
		if s.failing == nil || s.opt.Class == Durable || s.writing || s.opt.Overflow == Wait || s.opt.Overflow == DropNewest {
			return full()
		}
		s.dropFromMemory()
	}
	return nil, nil
}

// overBounds tells whether the bounds are exceeded with more records added.
func (s *Spool) overBounds(more recordCount) bool {
	return s.total.bytes-s.passed.bytes+more.bytes > s.opt.MaxBytes ||
		s.opt.MaxRecords > 0 && s.total.n-s.passed.n+more.n > s.opt.MaxRecords
}

// dropFromMemory drops the oldest telemetry in memory while the card fails. Records
// on the card stay, and so do the readers' positions.
func (s *Spool) dropFromMemory() {
	s.mem.trim(s.floor)
	r, ok := s.mem.first()
	if !ok {
		return
	}
	t := recordCount{1, uint64(recordSize(len(r.data)))}
	s.mem.pop(nil, nil)
	s.epoch++
	s.total.sub(t)
	s.count.dropped.Memory++
	for _, r0 := range s.list {
		r0.discountLost(r.seq, r.seq, t)
	}
}

// wakeReaders wakes the readers that wait. Called under mu.
func (s *Spool) wakeReaders() {
	for _, r := range s.list {
		if r.waiting {
			r.waiting = false
			select {
			case r.wake <- struct{}{}:
			default:
			}
		}
	}
}

// signalSpace wakes the appenders that wait for space. Called under mu.
func (s *Spool) signalSpace() {
	if !s.spaceWanted {
		return
	}
	s.spaceWanted = false
	close(s.spaceFreed)
	s.spaceFreed = make(chan struct{})
}

// Sync returns when all that was accepted and confirmed before is on the card, or
// with the card's error.
func (s *Spool) Sync(ctx context.Context) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return fmt.Errorf("spool: sync: %w", ErrClosed)
	}
	done := make(chan error, 1)
	s.syncs = append(s.syncs, done)
	s.mu.Unlock()
	s.wakeWriter()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close writes what is in memory and the readers' positions to the card, marks the
// log as closed, and unlocks the folder. Call it at SIGTERM. It returns the card's
// error if not all could be written. When ctx ends first, because a sync hangs, its
// error is returned and closing goes on. Blocked calls return ErrClosed.
func (s *Spool) Close(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	s.signalSpace()
	s.wakeReaders()
	s.mu.Unlock()
	s.wakeWriter()
	select {
	case <-s.done:
		return s.closeErr
	case <-ctx.Done():
		return errors.Join(fmt.Errorf("spool: close: %w", ctx.Err()))
	}
}
