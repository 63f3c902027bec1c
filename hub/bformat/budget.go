package bformat

import "sync/atomic"

// A Budget is memory that many Readers and Queues share: what a long frame takes
// while it is read, and what waits in a queue, beyond the little that each has anyway
// (see Reader and Queue). So what peers can make a program hold stays bounded, however
// many they are.
//
// Nobody gets more than what is then left for all others: as the budget runs out, those
// who hold much are refused before those who hold little.
//
// A nil *Budget has no limit. Its methods may be called from many goroutines.
type Budget struct {
	limit, used      atomic.Int64
	refused, starved atomic.Uint64
}

// NewBudget returns a Budget of so many bytes. Zero or less is nothing.
func NewBudget(limit int) *Budget {
	b := new(Budget)
	b.SetLimit(limit)
	return b
}

// SetLimit sets the limit in bytes. What is over it already stays until it is given back.
func (b *Budget) SetLimit(n int) { b.limit.Store(int64(n)) }

// Limit returns the limit in bytes.
func (b *Budget) Limit() int { return int(b.limit.Load()) }

// Used returns how many bytes are taken now. It may be over the limit by what must not be lost.
func (b *Budget) Used() int { return int(b.used.Load()) }

// Refused returns how often there was too little left.
func (b *Budget) Refused() uint64 { return b.refused.Load() }

// Starved returns how often a Queue has dropped frames, or has ended, that would have had
// room for more but for the Budget.
func (b *Budget) Starved() uint64 { return b.starved.Load() }

// take takes n bytes for somebody who holds some already, or reports that too little is left.
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

// force takes n bytes for what must not be lost, whatever is left.
func (b *Budget) acquire(n int) {
	if b != nil {
		b.used.Add(int64(n))
	}
}

// give gives n bytes back.
func (b *Budget) release(n int) { b.acquire(-n) }
