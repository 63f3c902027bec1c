package link

import (
	"sync"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
)

// A Slot is the place of one handler, which may be replaced while messages come for
// it. It is a hub.Handler. Its other methods come one after the other:
//
//  1. Vacate: the handler that has the seat is to go. Its HandOver is given the successor that
//     Vacate returns: there waits what it leaves, and what still comes.
//  2. Take: the next handler gets what waits, and then the seat.
type Slot struct {
	name    string
	handler atomic.Pointer[hub.Handler] // nil: nobody has had it yet, or it is closed

	mu         sync.Mutex // guards what follows; never held while a handler is called
	o          Options
	vacant     bool // handler, if any, leaves what it gets to the successor
	head, tail *job // what waits, in the order in which it came
	jobs       int
	bytes      int
	closed     error
}

// NewSlot returns a vacant Slot. Of o, Waiting and Bytes count: they bound what waits
// while it is vacant, and what comes on top is refused with hub.ErrFull.
func NewSlot(name string, o Options) *Slot {
	return &Slot{name: name, o: o.withDefaults(), vacant: true}
}

// Handle gives m to the handler that has the seat.
func (s *Slot) Handle(m *hub.Message, a *hub.Answer) {
	if h := s.handler.Load(); h != nil {
		(*h).Handle(m, a)
		return
	}
	(*successor)(s).Handle(m, a)
}

// An successor is a Slot as the handler that its next handler will be.
type successor Slot

// Handle keeps m until the seat is taken.
func (s *successor) Handle(m *hub.Message, a *hub.Answer) {
	s.mu.Lock()
	err := s.closed
	if err == nil && !s.vacant {
		h := *s.handler.Load()
		s.mu.Unlock()
		h.Handle(m, a)
		return
	}
	if err == nil && (s.jobs >= s.o.Waiting || s.bytes+sizeOf(m) > s.o.Bytes && s.jobs > 0) {
		err = fullError(s.name, &s.o, s.jobs)
	}
	if err != nil {
		s.mu.Unlock()
		a.Done(err)
		return
	}
	j := newJob(m, a, clock())
	if s.tail == nil {
		s.head = j
	} else {
		s.tail.next = j
	}
	s.tail = j
	s.jobs++
	s.bytes += j.size
	s.mu.Unlock()
}

// Vacate returns the successor of the handler that has the seat, which is to retire. What
// comes meanwhile waits behind what that one has, bounded as NewSlot says.
func (s *Slot) Vacate(o Options) hub.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o = o.withDefaults()
	s.vacant = true
	return (*successor)(s)
}

// Take gives h all that has waited, in order, and then the seat.
func (s *Slot) Install(h hub.Handler) {
	var batch hub.Batch
	s.mu.Lock()
	for j := s.pop(); j != nil; j = s.pop() {
		s.mu.Unlock()
		j.handOver(h, &batch)
		j.recycle()
		s.mu.Lock()
	}
	s.handler.Store(&h)
	s.vacant, s.closed = false, nil
	s.mu.Unlock()
	batch.Flush()
}

// Close takes the seat away until the next Take: what waits, and whatever comes until
// then, fails with err.
func (s *Slot) Close(err error) {
	s.mu.Lock()
	s.closed = err
	s.handler.Store(nil)
	for j := s.pop(); j != nil; j = s.pop() {
		s.mu.Unlock()
		j.answer.Resume(nil)
		j.answer.Done(err)
		j.recycle()
		s.mu.Lock()
	}
	s.mu.Unlock()
}

// pop removes the first of what waits; nil if nothing does.
func (s *Slot) pop() *job {
	j := s.head
	if j == nil {
		return nil
	}
	if s.head = j.next; s.head == nil {
		s.tail = nil
	}
	j.next = nil
	s.jobs--
	s.bytes -= j.size
	return j
}

// handOver gives a message that was taken and not handled to another handler.
func (j *job) handOver(to hub.Handler, b *hub.Batch) {
	j.answer.Resume(b)
	j.m.Batch = b
	to.Handle(&j.m, j.answer)
}

// moved is the error of a job that its handler leaves to another.
type handedOverError struct{ to hub.Handler }

func (m *handedOverError) Error() string { return "left to another handler" }
