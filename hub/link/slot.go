package link

import (
	"sync"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/lograte"
)

// A Slot is a hub.Handler in front of another handler, which can be replaced while
// messages arrive. The caller replaces it in two steps, one after the other:
//
//  1. Vacate returns a successor, which the caller gives to the Retire of the old
//     handler. The successor queues the messages that the old handler has not sent and
//     those that still arrive.
//  2. Install gives the queued messages to the new handler, and then all further ones.
type Slot struct {
	name    string
	handler atomic.Pointer[hub.Handler] // nil before the first Install and after Close
	log     *lograte.Limiter

	mu         sync.Mutex // guards what follows; never held while a handler is called
	o          Options
	vacant     bool // messages are queued; handler, if any, hands over to the successor
	head, tail *job // queued messages, in the order in which they came
	jobs       int
	bytes      int
	shares     shares
	closed     error // from Close; nil while open
}

// NewSlot returns a vacant Slot. QueueMessages and QueueBytes of o bound the messages that queue while
// it is vacant; more are refused with hub.ErrFull. Log gets the bugs that it meets.
func NewSlot(name string, o Options) *Slot {
	return &Slot{name: name, o: o.withDefaults(), vacant: true, log: newLimiter()}
}

// Name returns the name of the handler, whichever is installed.
func (s *Slot) Name() string { return s.name }

// Handle gives m to the installed handler, or queues it while the slot is vacant.
func (s *Slot) Handle(m *hub.Message, a *hub.Answer) {
	if h := s.handler.Load(); h != nil {
		(*h).Handle(m, a)
		return
	}
	(*successor)(s).Handle(m, a)
}

// A successor is a Slot that stands in for the handler to be installed next.
type successor Slot

// Handle queues m until the next Install.
func (s *successor) Handle(m *hub.Message, a *hub.Answer) {
	s.mu.Lock()
	err := s.closed
	if err == nil && !s.vacant {
		h := *s.handler.Load()
		s.mu.Unlock()
		h.Handle(m, a)
		return
	}
	sender := m.SenderHash()
	if err == nil && s.shares.full(&s.o, sender, s.jobs, s.bytes, sizeOf(m)) {
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
	s.shares.add(j, sender)
	s.jobs++
	s.bytes += j.size
	s.mu.Unlock()
}

// Vacate returns the successor for the Retire of the installed handler. Messages that
// come meanwhile queue behind those of that handler, bounded as by NewSlot.
func (s *Slot) Vacate(o Options) hub.Handler {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.o = o.withDefaults()
	s.vacant = true
	return (*successor)(s)
}

// Install gives h the queued messages, in order, and then makes it the slot's handler.
func (s *Slot) Install(h hub.Handler) {
	var batch hub.Batch
	s.mu.Lock()
	for j := s.pop(); j != nil; j = s.pop() {
		s.unlocked(j, func() { j.handOff(h, &batch) })
	}
	s.handler.Store(&h)
	s.vacant, s.closed = false, nil
	s.mu.Unlock()
	flush(&batch, s.notePanic)
}

// unlocked calls end, which ends j or hands it over, without the lock.
func (s *Slot) unlocked(j *job, end func()) {
	s.mu.Unlock()
	defer s.mu.Lock()
	defer j.recycle()
	defer func() {
		if p := recover(); p != nil {
			s.notePanic(p)
			j.failPanicked(s.name)
		}
	}()
	end()
}

// notePanic logs a panic. The caller does not hold the lock.
func (s *Slot) notePanic(p any) {
	s.mu.Lock()
	log := s.o.Log
	s.mu.Unlock()
	logPanic(log, s.log, s.name, p)
}

// Close closes the slot until the next Install. The queued messages, and all that come
// until then, fail with err.
func (s *Slot) Close(err error) {
	s.mu.Lock()
	s.closed = err
	s.handler.Store(nil)
	for j := s.pop(); j != nil; j = s.pop() {
		s.unlocked(j, func() {
			j.answerWriter.Resume(nil)
			j.ended = true
			j.answerWriter.Done(err)
		})
	}
	s.mu.Unlock()
}

// pop removes and returns the first queued message, nil if there is none.
func (s *Slot) pop() *job {
	j := s.head
	if j == nil {
		return nil
	}
	if s.head = j.next; s.head == nil {
		s.tail = nil
	}
	j.next = nil
	s.shares.remove(j)
	s.jobs--
	s.bytes -= j.size
	return j
}

// handOff gives a message that was queued and not handled to another handler.
func (j *job) handOff(to hub.Handler, b *hub.Batch) {
	j.answerWriter.Resume(b)
	j.m.Batch = b
	j.ended = true
	to.Handle(&j.m, j.answerWriter)
}

// handedOffError is the error of a job that is handed over to a successor.
type handedOffError struct{ to hub.Handler }

func (m *handedOffError) Error() string { return "left to another handler" }
