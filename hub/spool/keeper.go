package spool

import (
	"crypto/rand"
	"errors"
	"fmt"
	"runtime"
	"time"
)

// A keeper is the one goroutine that writes: it takes what gathered in memory,
// writes it behind the last record, syncs, tells those who wait, and begins
// again with what gathered meanwhile. It also makes room and puts away segments
// that are done with. Nobody holds Spool.mu while the card works.
type keeper struct {
	s *Spool

	f     file // the segment written to; nil if there is none
	name  string
	head  *header
	fresh bool   // its header was not written yet
	off   int64  // where the next record goes
	alloc int64  // up to here the file has blocks that were written
	space int64  // up to here it has blocks
	limit int64  // where the segment ends
	prev  uint32 // crc of the record before

	buf   []byte
	batch batch
	calls []call
	zeros []byte

	callers uint64 // how many had records on their way when the last batch was safe

	lookedAt time.Time // when there looked by name
	warnAt   uint64    // warnBudget says nothing before that, in ms of the spool's clock

	all    bool   // what is in memory is to be written, not only positions
	cur    cursor // at the oldest record, to drop it
	oldest peeked // not valid if Seq is not above the floor
	ageAt  time.Time
	thinAt time.Time // not thinned out before that
	spares []string
	spareN int
	left   []string // segments that could not be removed
	timer  *time.Timer

	reserved bool // the folder has the reserve
	full     bool // the last write found no space
}

const (
	zeroAhead  = 256 << 10 // what is zeroed at once ahead of small writes
	allocAhead = 1 << 20   // the blocks that are taken at once for large ones
	// A write into blocks that were never written costs three pages in the journal,
	// one that must find blocks first five or more. Where the batch is as large as
	// that, zeros cost more.
	allocWorth  = 3 * pageSize
	extendWorth = 8 * pageSize
	reserveSize = 4 * pageSize // a header, its copy, and all positions there can be
	retryEvery  = time.Second
	reserveStep = 1 << 16
)

func newKeeper(s *Spool) *keeper {
	k := &keeper{s: s, timer: time.NewTimer(time.Hour)}
	k.cur = cursor{s: s}
	return k
}

func (k *keeper) run() {
	s := k.s
	for {
		s.mu.Lock()
		closing := s.closing
		s.mu.Unlock()
		if closing {
			k.end()
			return
		}
		k.timer.Reset(k.turn())
		select {
		case <-s.wake:
		case <-k.timer.C:
		}
	}
}

// turn does what there is to do now and returns how long there is nothing more.
func (k *keeper) turn() time.Duration {
	s := k.s
	for {
		now := time.Now()
		s.mu.Lock()
		due := k.due(now)
		s.mu.Unlock()
		if due {
			k.flush()
		}
		k.trim(now)
		again := k.putAway()
		s.mu.Lock()
		rest := k.rest(time.Now())
		again = (again || rest <= 0) && !s.closing
		s.mu.Unlock()
		if !again {
			return rest
		}
	}
}

// due tells whether something must go to the card now. Called under mu.
func (k *keeper) due(now time.Time) bool {
	s := k.s
	if s.failing != nil {
		return !now.Before(s.retryAt)
	}
	if len(s.syncs) > 0 || k.mustWrite() {
		return true
	}
	return !s.commitAt.IsZero() && !now.Before(s.commitAt) || s.opt.Class == Telemetry && s.mem.size.n > 0 && k.flushIn() <= 0
}

// mustWrite: what cannot wait.
func (k *keeper) mustWrite() bool {
	s := k.s
	if s.opt.Class == Durable {
		return s.mem.size.n > 0
	}
	return s.mem.size.bytes > uint64(s.opt.Memory/2) || s.reserveLow()
}

// flushIn is how long the oldest record may still be in memory only.
func (k *keeper) flushIn() time.Duration {
	first, ok := k.s.mem.first()
	if !ok {
		return k.s.opt.FlushEvery
	}
	return k.s.opt.FlushEvery - time.Duration(k.s.clock()-min(first.time, k.s.clock()))*time.Millisecond
}

// rest is how long nothing needs to be done. Called under mu.
func (k *keeper) rest(now time.Time) time.Duration {
	s := k.s
	if k.due(now) {
		return 0
	}
	rest := time.Hour
	if s.failing != nil {
		return s.retryAt.Sub(now)
	}
	if !s.commitAt.IsZero() {
		rest = min(rest, s.commitAt.Sub(now))
	}
	if s.opt.Class == Telemetry && s.mem.size.n > 0 {
		rest = min(rest, k.flushIn())
	}
	if s.opt.MaxAge > 0 && s.total.n > s.passed.n {
		rest = min(rest, max(k.ageAt.Sub(now), time.Millisecond))
	}
	return rest
}

// reserveLow tells that sequences given out will soon outrun what the card
// knows of. Called under mu.
func (s *Spool) reserveLow() bool {
	return s.opt.Class == Telemetry && s.next+reserveStep/2 > s.saved.reserved
}

// flush brings to the card what is to go there now.
func (k *keeper) flush() {
	s := k.s
	s.mu.Lock()
	syncs := s.syncs
	s.syncs = nil
	probe := s.failing != nil
	// Positions and reservations are no reason to write telemetry, too, which may
	// never need to be.
	k.all = s.opt.Class == Durable || len(syncs) > 0 || probe || s.mem.size.bytes > uint64(s.opt.Memory/2) || k.flushIn() <= 0
	s.commitAt = time.Time{}
	s.mu.Unlock()
	if probe {
		if err := k.reach(); err != nil {
			k.failed(err, syncs)
			return
		}
		k.abandon()
	}
	for more := true; more; {
		var err error
		if more, err = k.write(probe, false); err != nil {
			// What the sync that failed was to keep is not trusted to be there: all of
			// it is written again, in a segment of its own.
			s.report("write failed; writing it again elsewhere", err)
			k.abandon()
			if more, err = k.write(true, false); err != nil {
				k.abandon()
				k.failed(err, syncs)
				return
			}
		}
		probe = false
	}
	for _, done := range syncs {
		done <- nil
	}
	k.recovered()
}

// write takes one batch to the card, as much as fits in the segment.
func (k *keeper) write(force, final bool) (more bool, err error) {
	s := k.s
	if s.opt.Class == Durable {
		k.letIn()
	}
	k.gather(final)
	if !force && k.batch.empty() {
		k.release()
		return false, nil
	}
	if k.f != nil && !k.there() {
		err = &cardError{"write", ErrGone, errors.New("the file is no longer in the folder")}
	} else if err = k.room(); err == nil {
		k.encode()
		err = k.put()
	}
	if err != nil {
		k.release()
		err = classify("write", err)
		k.full = errors.Is(err, ErrNoSpace)
		return false, err
	}
	k.full = false
	k.publish()
	k.warnBudget()
	return k.batch.more, nil
}

// there tells whether what is written to is still a file of the folder; each
// second it looks by the name, too.
func (k *keeper) there() bool {
	if !k.f.Linked() {
		return false
	}
	if now := time.Now(); now.Sub(k.lookedAt) >= time.Second {
		k.lookedAt = now
		return k.s.disk.Same(k.name, k.f)
	}
	return true
}

// letIn lets those run who were just told of a batch, so that what they append
// next goes with this one: else two halves of the callers would take turns, and
// each wait for two syncs. It gives up soon, for they may not come back.
func (k *keeper) letIn() {
	s := k.s
	until := time.Now().Add(time.Millisecond)
	for n, still := uint64(0), 0; still < 64; {
		s.mu.Lock()
		now := s.mem.size.n
		s.mu.Unlock()
		if now >= k.callers || time.Now().After(until) {
			return
		}
		if now > n {
			n, still = now, 0
		} else {
			still++
		}
		runtime.Gosched()
	}
}

// random returns a number nobody could have guessed.
func random() uint64 {
	var b [8]byte
	rand.Read(b[:]) // never fails
	return le.Uint64(b[:])
}

func (k *keeper) nextSpare() string {
	k.spareN++
	return fmt.Sprintf("%d%s", k.spareN, spareSuffix)
}
