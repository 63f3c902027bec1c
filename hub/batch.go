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
	Own bool

	touched []Flusher
	staged  []Stager

	// What the router keeps at hand for the goroutine, so that messages on their way
	// share as little memory as can be with those of other goroutines.
	router    *Router
	spare     []*Answer
	latest    lookup
	number    uint64 // of the last message given an ID, while it is below numbers
	numbers   uint64
	taken     uint64 // not yet in the router's counters, like the next two
	delivered uint64
	ended     uint64 // of the messages taken
}

// Add remembers f until the next Flush. A flusher adds itself once for what it
// gathers between two of its flushes. Add on a nil Batch flushes f at once.
func (b *Batch) Add(f Flusher) {
	if b == nil {
		f.Flush()
		return
	}
	b.touched = append(b.touched, f)
}

// Stage reports whether s, which b will flush, may keep aside what it is given with b. If
// so, s is told to Unstage, once for this call, before anybody else goes on with a message
// that the goroutine of b has begun; or it is flushed first.
func (b *Batch) Stage(s Stager) bool {
	if b == nil || !b.Own {
		return false
	}
	b.staged = append(b.staged, s)
	return true
}

func (b *Batch) unstage() {
	if b == nil {
		return
	}
	for i, s := range b.staged {
		s.Unstage(b)
		b.staged[i] = nil
	}
	b.staged = b.staged[:0]
}

// Flush flushes everything added since the last Flush.
func (b *Batch) Flush() {
	for _, a := range b.spare {
		a.m.Data, a.out.Data = Data{}, Data{} // what they point to may be large
	}
	for i := 0; i < len(b.touched); i++ { // a flush may add
		f := b.touched[i]
		b.touched[i] = nil
		f.Flush()
	}
	b.touched = b.touched[:0]
	clear(b.staged)
	b.staged = b.staged[:0]
	if b.taken+b.delivered+b.ended > 0 {
		b.router.count(nil, b.taken, b.delivered, b.ended)
		b.taken, b.delivered, b.ended = 0, 0, 0
	}
}

// A lookup is a type and the way that a table has for it.
type lookup struct {
	table *table
	typ   Type
	way   *way
}

// way looks a type up, or finds it to be the one that the goroutine of b asked for last.
func (r *Router) way(typ Type, b *Batch) *way {
	t := r.table.Load()
	if b == nil {
		return t.way(typ)
	}
	if b.latest.table != t || b.latest.typ != typ {
		b.latest = lookup{t, typ, t.way(typ)}
	}
	return b.latest.way
}

// answer takes an Answer from those that the goroutine of b has at hand, or from the pool.
func (r *Router) answer(b *Batch) *Answer {
	if b != nil && len(b.spare) > 0 {
		last := len(b.spare) - 1
		a := b.spare[last]
		b.spare = b.spare[:last]
		return a
	}
	return r.answers.Get().(*Answer)
}

// maxSpare is how many answers a batch keeps: one for each handler of a long route.
const maxSpare = 8

func (a *Answer) recycle(b *Batch) {
	a.root, a.way, a.step = nil, nil, 0
	if b != nil && len(b.spare) < maxSpare {
		b.spare = append(b.spare, a)
		return
	}
	a.m.Data, a.out.Data = Data{}, Data{}
	a.router.answers.Put(a)
}

// perBatch is how many numbers for IDs a batch takes at once.
const perBatch = 256

// id makes the ID of a message that has none.
func (r *Router) id(b *Batch) ID {
	if b == nil {
		return ID{r.name, r.number.Add(1)}
	}
	if b.number == b.numbers {
		b.numbers = r.number.Add(perBatch)
		b.number = b.numbers - perBatch
	}
	b.number++
	return ID{r.name, b.number}
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
