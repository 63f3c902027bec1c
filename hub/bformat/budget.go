package bformat

import "sync/atomic"

// A Budget is a memory limit that many Readers and Queues share. It covers frames that are
// read and do not get on, long frames, and frames that wait in queues, beyond a small exempt
// amount for each (see Reader and Queue). So the memory that peers can make a program hold is
// bounded, however many peers there are.
//
// No holder gets more than what is then left for all others: as the budget runs out,
// large holders are refused before small ones.
//
// A nil *Budget has no limit. Its methods may be called from many goroutines.
type Budget struct {
	limit, used      atomic.Int64
	refused, starved atomic.Uint64
	reclaimer        atomic.Pointer[func(r *Reader, n int) bool]
}

// NewBudget returns a Budget of limit bytes. Zero or less means that nothing may be acquired.
func NewBudget(limit int) *Budget {
	b := new(Budget)
	b.SetLimit(limit)
	return b
}

// SetLimit sets the limit in bytes. Memory that is over it already stays until it is released.
func (b *Budget) SetLimit(n int) { b.limit.Store(int64(n)) }

// Limit returns the limit in bytes.
func (b *Budget) Limit() int { return int(b.limit.Load()) }

// Used returns how many bytes are acquired now. Required frames may take it over the limit.
func (b *Budget) Used() int { return int(b.used.Load()) }

// Refused returns how many acquisitions failed because too little was left.
func (b *Budget) Refused() uint64 { return b.refused.Load() }

// Starved returns how often a Queue dropped frames or ended only because the Budget had
// too little left.
func (b *Budget) Starved() uint64 { return b.starved.Load() }

// SetReclaim has Readers that are refused memory call f, on their own goroutines, for n bytes
// more. f makes others, or r itself, end their frames. It reports whether others will release
// at least n bytes soon; r then gets its memory at once, past the limit for as long. f must
// not block on a Reader.
func (b *Budget) SetReclaim(f func(r *Reader, n int) bool) { b.reclaimer.Store(&f) }

func (b *Budget) reclaim(r *Reader, n int) bool {
	f := b.reclaimer.Load()
	return f != nil && (*f)(r, n)
}

// low reports whether the Budget runs out: more than half is acquired.
func (b *Budget) low() bool { return b != nil && b.used.Load() > b.limit.Load()/2 }

// tryAcquire acquires n bytes for a holder that has some already. It reports false if too
// little is left.
func (b *Budget) tryAcquire(n, holds int) bool {
	if b == nil {
		return true
	}
	for {
		used := b.used.Load()
		if int64(holds)+int64(n) > b.limit.Load()-used-int64(n) {
			b.refused.Add(1)
			return false
		}
		if b.used.CompareAndSwap(used, used+int64(n)) {
			return true
		}
	}
}

// acquire acquires n bytes that are needed even past the limit.
func (b *Budget) acquire(n int) {
	if b != nil {
		b.used.Add(int64(n))
	}
}

// release returns n bytes.
func (b *Budget) release(n int) { b.acquire(-n) }
