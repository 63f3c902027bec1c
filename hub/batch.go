package hub

import (
	"context"
	"time"
)

// A Flusher is a Sink or Handler that buffers its messages and sends them together
// when Flush is called. See Batch.
type Flusher interface {
	// Flush starts sending what is buffered. It does not wait for the end.
	Flush()
}

// A Stager is a Flusher that stages the messages of one goroutine in a buffer without a
// lock, so that it does not lock its shared queue for each message. See Batch.Stage.
type Stager interface {
	Flusher
	// Unstage moves what is staged for b to the shared queue, so that messages of other
	// goroutines come after it. It does nothing if there was a flush since.
	Unstage(b *Batch)
}

// A Batch collects the flushers that the messages of one reading goroutine have
// used, so that the messages of one socket read go out in one write per
// receiver. It belongs to one goroutine and one Router. The goroutine calls Flush
// whenever its input runs dry and before it waits for anything. The zero value is
// ready.
type Batch struct {
	// AllowStaging lets stagers stage the messages of this batch. It may be set only if
	// the goroutine routes the messages that it reads itself, and nothing else waits
	// behind them.
	AllowStaging bool

	flushers []Flusher
	stagers  []Stager

	// The router's state for this goroutine: it keeps messages in flight from sharing
	// memory with other goroutines.
	router      *Router
	freeAnswers []*Answer
	lastLookup  cachedLookup
	lastID      uint64 // number of the last ID; at idBlockEnd a new block of numbers is taken
	idBlockEnd  uint64
	counts      [numCounts]uint32 // not yet in the router's counters
	counted     bool              // some of counts are not 0
	lastFrom    Address           // the last sender, and its SenderHash
	lastHash    uint32
}

// Add registers f for the next Flush. A flusher adds itself once between two of its
// flushes. Add on a nil Batch flushes f at once.
func (b *Batch) Add(f Flusher) {
	if b == nil {
		f.Flush()
		return
	}
	b.flushers = append(b.flushers, f)
}

// Stage reports whether s, which is registered with b, may stage the messages of b. If
// so, s gets one Unstage call, unless it is flushed first. The call comes before another
// goroutine continues a message that the goroutine of b has begun.
func (b *Batch) Stage(s Stager) bool {
	if b == nil || !b.AllowStaging {
		return false
	}
	b.stagers = append(b.stagers, s)
	return true
}

func (b *Batch) unstage() {
	if b == nil {
		return
	}
	for i, s := range b.stagers {
		s.Unstage(b)
		b.stagers[i] = nil
	}
	b.stagers = b.stagers[:0]
}

// Flush flushes everything added since the last Flush. If a flusher panics, the others are
// flushed all the same, and Flush panics. A batch that has been flushed keeps nothing alive
// of the messages before and of their senders and routes.
func (b *Batch) Flush() {
	for _, a := range b.freeAnswers {
		a.clear()
	}
	b.lastLookup = cachedLookup{}
	b.callFlushers()
	b.flushers = b.flushers[:0]
	clear(b.stagers)
	b.stagers = b.stagers[:0]
	if b.counted {
		b.counted = false
		for i, n := range b.counts {
			if n > 0 {
				b.router.stats.counts[i].Add(uint64(n))
				b.counts[i] = 0
			}
		}
	}
}

func (b *Batch) callFlushers() {
	ended := false
	defer func() {
		if !ended {
			b.callFlushers()
		}
	}()
	for i := 0; i < len(b.flushers); i++ { // a flush may add
		if f := b.flushers[i]; f != nil { // not flushed before one that panicked
			b.flushers[i] = nil
			f.Flush()
		}
	}
	ended = true
}

// newAnswer takes an Answer from the free list of b, or from the pool.
func (r *Router) newAnswer(b *Batch) *Answer {
	if b != nil && len(b.freeAnswers) > 0 {
		last := len(b.freeAnswers) - 1
		a := b.freeAnswers[last]
		b.freeAnswers = b.freeAnswers[:last]
		return a
	}
	return r.answers.Get().(*Answer)
}

// maxFreeAnswers is the length of a batch's free list: one answer for each handler of a
// long route.
const maxFreeAnswers = 8

func (a *Answer) recycle(b *Batch) {
	a.root, a.pipeline, a.step = nil, nil, 0
	if b != nil && len(b.freeAnswers) < maxFreeAnswers {
		b.freeAnswers = append(b.freeAnswers, a)
		return
	}
	a.clear()
	a.router.answers.Put(a)
}

// clear drops what a free answer would keep alive: data, which may be large, sessions that
// have ended, and their batches.
func (a *Answer) clear() {
	a.m.Data, a.m.To, a.m.Receipt, a.m.Reach, a.m.Batch = Data{}, nil, nil, nil, nil
	a.out.Data, a.out.Batch = Data{}, nil
}

// idBlockSize is how many ID numbers a batch takes at once.
const idBlockSize = 256

// newID returns a new ID.
func (r *Router) newID(b *Batch) ID {
	if b == nil {
		return ID{r.name, r.lastID.Add(1)}
	}
	if b.lastID == b.idBlockEnd {
		b.idBlockEnd = r.lastID.Add(idBlockSize)
		b.lastID = b.idBlockEnd - idBlockSize
	}
	b.lastID++
	return ID{r.name, b.lastID}
}

// count counts one event.
func (r *Router) count(b *Batch, c count) {
	if b == nil {
		r.stats.counts[c].Add(1)
		return
	}
	b.router, b.counted = r, true
	b.counts[c]++
}

// Drain waits until no message is in flight: every handler has answered and every
// server confirmed. It returns nil then, or ctx's error. It is for a hub that takes no
// more messages.
func (r *Router) Drain(ctx context.Context) error {
	// Batches add their counts when their input runs dry, so the counters are right
	// eventually. Polling is good enough, since Drain is called only at shutdown.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.stats.inFlight() != 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
