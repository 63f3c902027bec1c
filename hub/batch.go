package hub

import (
	"context"
	"time"
)

// A Flusher is a Sink or Handler that gathers what it is given and sends it off
// together, when Flush is called. See Batch.
type Flusher interface {
	// Flush starts sending what has been gathered. It does not wait for it.
	Flush()
}

// A Stager is a Flusher that keeps aside what it is given by one goroutine, so that it need
// not lock for each message what it shares with others. See Batch.Stage.
type Stager interface {
	Flusher
	// Unstage brings what b gave it to where the next comes behind it, whoever gives it. It
	// does nothing if it has been flushed since.
	Unstage(b *Batch)
}

// A Batch remembers which flushers the messages of one reading goroutine have
// touched, so that what one read of a socket brought goes out in one write per
// receiver. It belongs to one goroutine and the messages of one Router; the goroutine
// calls Flush whenever its input runs dry and before it waits for anything. The
// zero value is ready.
type Batch struct {
	// Own says that the goroutine gives the router messages of its own reading, and nothing
	// that others wait behind: only then may flushers keep aside what they are given.
	AllowStaging bool

	flushers []Flusher
	stagers  []Stager

	// What the router keeps at hand for the goroutine, so that messages on their way
	// share as little memory as can be with those of other goroutines.
	router      *Router
	freeAnswers []*Answer
	lastLookup  cachedLookup
	lastID      uint64 // of the last message given an ID, while it is below numbers
	idBlockEnd  uint64
	taken       uint64 // not yet in the router's counters, like the next two
	delivered   uint64
	ended       uint64 // of the messages taken
}

// Add remembers f until the next Flush. A flusher adds itself once for what it
// gathers between two of its flushes. Add on a nil Batch flushes f at once.
func (b *Batch) Add(f Flusher) {
	if b == nil {
		f.Flush()
		return
	}
	b.flushers = append(b.flushers, f)
}

// Stage reports whether s, which b will flush, may keep aside what it is given with b. If
// so, s is told to Unstage, once for this call, before anybody else goes on with a message
// that the goroutine of b has begun; or it is flushed first.
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

// Flush flushes everything added since the last Flush.
func (b *Batch) Flush() {
	for _, a := range b.freeAnswers {
		a.m.Data, a.out.Data = Data{}, Data{} // what they point to may be large
	}
	for i := 0; i < len(b.flushers); i++ { // a flush may add
		f := b.flushers[i]
		b.flushers[i] = nil
		f.Flush()
	}
	b.flushers = b.flushers[:0]
	clear(b.stagers)
	b.stagers = b.stagers[:0]
	if b.taken+b.delivered+b.ended > 0 {
		b.router.count(nil, b.taken, b.delivered, b.ended)
		b.taken, b.delivered, b.ended = 0, 0, 0
	}
}

// A lookup is a type and the way that a table has for it.
type cachedLookup struct {
	table    *routingTable
	typ      Type
	pipeline *pipeline
}

// way looks a type up, or finds it to be the one that the goroutine of b asked for last.
func (r *Router) lookup(typ Type, b *Batch) *pipeline {
	t := r.table.Load()
	if b == nil {
		return t.lookup(typ)
	}
	if b.lastLookup.table != t || b.lastLookup.typ != typ {
		b.lastLookup = cachedLookup{t, typ, t.lookup(typ)}
	}
	return b.lastLookup.pipeline
}

// answer takes an Answer from those that the goroutine of b has at hand, or from the pool.
func (r *Router) newAnswer(b *Batch) *Answer {
	if b != nil && len(b.freeAnswers) > 0 {
		last := len(b.freeAnswers) - 1
		a := b.freeAnswers[last]
		b.freeAnswers = b.freeAnswers[:last]
		return a
	}
	return r.answers.Get().(*Answer)
}

// maxSpare is how many answers a batch keeps: one for each handler of a long route.
const maxFreeAnswers = 8

func (a *Answer) recycle(b *Batch) {
	a.root, a.pipeline, a.step = nil, nil, 0
	if b != nil && len(b.freeAnswers) < maxFreeAnswers {
		b.freeAnswers = append(b.freeAnswers, a)
		return
	}
	a.m.Data, a.out.Data = Data{}, Data{}
	a.router.answers.Put(a)
}

// perBatch is how many numbers for IDs a batch takes at once.
const idBlockSize = 256

// id makes the ID of a message that has none.
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

// count counts messages taken, deliveries made and messages ended.
func (r *Router) count(b *Batch, taken, delivered, ended uint64) {
	if b == nil {
		r.stats.taken.Add(taken)
		r.stats.delivered.Add(delivered)
		r.stats.ended.Add(ended)
		return
	}
	b.router = r
	b.taken += taken
	b.delivered += delivered
	b.ended += ended
}

// Drain waits until every message that was taken has ended, its handlers have
// answered and its servers confirmed, and returns nil; or ctx's error. It is for a hub
// that takes no more.
func (r *Router) Drain(ctx context.Context) error {
	// Batches hand in their counts when their input runs dry, so what is asked here is
	// right in the end, and this is only done at the end.
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for r.stats.ended.Load() != r.stats.taken.Load() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
