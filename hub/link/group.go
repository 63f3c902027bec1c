package link

import (
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// The way of a message through a Group:
//
//  1. Handle copies it into a job, at the end of its stream.
//  2. pump gives it to a process with a free credit: the one that has others of its
//     stream in flight, or, if none has, the one with the most credits free. Else it waits.
//  3. The process answers; its reading goroutine marks the job done (process.answer).
//  4. carry takes what is done from the head of the stream and hands the answer to the
//     router, without the lock.
//
// expire fails jobs whose time is over; they go through 4 like any other.

// A Group is a native handler: all processes that serve one name. It is a
// hub.Handler from the start, also while no process is connected.
type Group struct {
	name     string
	o        Options
	groups   *Groups
	command  *supervisor // nil: somebody else starts its processes
	log      *lograte.Limiter
	standing bool // named in the config: messages may wait for a process

	mu        sync.Mutex // guards what follows; never held while a sink or handler is called
	streams   streams
	processes []*process
	ready     streamList // streams with something to send and nothing in flight
	waiting   timeline   // jobs not sent
	sent      timeline   // jobs in flight
	due       *stream    // streams whose head may be done, through nextDue
	jobs      int        // taken and not done
	inFlight  int
	bytes     int         // of all jobs
	timer     *time.Timer // runs expire; armed while there is anything to expire
	armed     bool
	closing   bool
	heir      hub.Handler   // gets what comes, and what is not sent, once closing; may be nil
	empty     chan struct{} // closed when jobs is 0 and closing; nil until somebody waits
	gone      chan struct{} // closed when processes is empty and closing; nil until somebody waits
	stats     Stats         // its counters
}

// A hand is what a goroutine needs to carry out answers.
type hand struct {
	batch *hub.Batch
	dec   wire.Decoder
	job   *job         // the one that answer belongs to
	reply *wire.Answer // its answer, while it can still be read from the frame
}

var hands = sync.Pool{New: func() any { return new(hand) }}

func newGroup(name string, o Options, gs *Groups) *Group {
	g := &Group{name: name, o: o.withDefaults(), groups: gs, log: &lograte.Limiter{Burst: 5}}
	g.timer = time.AfterFunc(time.Hour, g.expire)
	g.timer.Stop()
	return g
}

// Name returns the name that the config, or the processes' hellos, gave the handler.
func (g *Group) Name() string { return g.name }

func (g *Group) options() (Options, *lograte.Limiter) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.o, g.log
}

// Handle queues m for a process and returns at once. What it cannot take fails with
// an error that wraps hub.ErrFull, hub.ErrClosed, or, where no process is
// connected and none is to come, hub.ErrHandler. It allocates nothing in steady state.
func (g *Group) Handle(m *hub.Message, a *hub.Answer) {
	b, now := m.Batch, clock()
	g.mu.Lock()
	if err := g.admit(m); err != nil {
		g.stats.Refused++
		g.mu.Unlock()
		a.Done(err)
		return
	}
	j := newJob(m, a, now)
	g.jobs++
	g.bytes += j.size
	s := g.streams.add(j)
	if g.heir == nil {
		g.waiting.push(j)
		g.arm(g.o.Timeout)
		g.place(s)
		g.pump(b, now)
	} else {
		s.unsent = nil
		j.fail(g.closed())
		g.makeDue(s)
	}
	if g.due != nil {
		h := hands.Get().(*hand)
		h.batch = b
		g.settle(h)
		h.batch = nil
		hands.Put(h)
	}
	g.mu.Unlock()
}

// admit says why m cannot be taken.
func (g *Group) admit(m *hub.Message) error {
	switch waiting := g.jobs - g.inFlight; {
	case g.closing && g.heir == nil:
		return g.closed()
	case len(g.processes) == 0 && !g.standing:
		return hub.Reason(hub.ErrHandler, "handler %q is not connected", g.name)
	case waiting >= g.o.Waiting || g.bytes+sizeOf(m) > g.o.Bytes && g.jobs > 0:
		return full(g.name, &g.o, waiting)
	case len(g.processes) == 0 && g.heir == nil:
		return g.down()
	}
	return nil
}

// place puts s on the list where a process with a free credit looks for it, or on none.
func (g *Group) place(s *stream) {
	var where *streamList
	if s.unsent != nil {
		where = &g.ready
		if s.at != nil {
			where = &s.at.ready
		}
	}
	if s.in == where {
		return
	}
	if s.in != nil {
		s.in.remove(s)
	}
	if where != nil {
		where.push(s)
	}
}

// pump sends what can be sent. Afterwards nothing waits that some process has a credit
// for. now is what clock says, or 0 if it has not been asked.
func (g *Group) pump(b *hub.Batch, now time.Duration) {
	for _, p := range g.processes {
		for p.ready.head != nil && p.room() {
			// Streams that have nothing in flight get every second turn, so that
			// busy ones cannot starve them.
			s := p.ready.head
			if p.turn = !p.turn; p.turn && g.ready.head != nil {
				s = g.ready.head
			}
			g.send(s, p, b, now)
		}
	}
	for g.ready.head != nil {
		p := g.freest()
		if p == nil {
			return
		}
		g.send(g.ready.head, p, b, now)
	}
}

// freest returns the process with the most credits free, preferring those that owe
// no answer past its time; nil if none has any.
func (g *Group) freest() *process {
	var best *process
	for _, p := range g.processes {
		if !p.room() {
			continue
		}
		if best == nil || p.owes() < best.owes() || p.owes() == best.owes() && p.free > best.free {
			best = p
		}
	}
	return best
}

// send sends the first unsent job of s to p, which has room.
func (g *Group) send(s *stream, p *process, b *hub.Batch, now time.Duration) {
	j := s.unsent
	err := p.put(j, b)
	if p.broken {
		return // nothing was sent; the job goes on waiting
	}
	j.leave()
	s.unsent = j.next
	if err != nil {
		j.fail(err)
		g.makeDue(s)
	} else {
		g.stats.Sent++
		g.inFlight++
		s.sent++
		s.at = p
		if now == 0 {
			now = clock()
		}
		j.since = now
		g.sent.push(j)
	}
	if s.in != nil { // to the end, for the others' sake
		s.in.remove(s)
	}
	g.place(s)
}

// landed notes that j is no longer in flight.
func (g *Group) landed(j *job) {
	j.leave()
	j.at = nil
	g.inFlight--
	s := j.stream
	if s.sent--; s.sent == 0 {
		s.at = nil
		g.place(s)
	}
}

// makeDue has settle look at s.
func (g *Group) makeDue(s *stream) {
	if !s.due {
		s.due, s.nextDue, g.due = true, g.due, s
	}
}

// settle carries out what is due. It is called with the lock, and lets go of it meanwhile.
func (g *Group) settle(h *hand) {
	for g.due != nil {
		s := g.due
		s.due, g.due, s.nextDue = false, s.nextDue, nil
		g.carry(s, h)
	}
}

// carry carries out the answers at the head of s, unless another goroutine is at it:
// that one will see what has been done meanwhile. It is called with the lock, and lets
// go of it meanwhile; s may be gone when it returns.
func (g *Group) carry(s *stream, h *hand) {
	if s.busy {
		return
	}
	s.busy = true
	defer func() { // also where a sink panics
		s.busy = false
		if s.head == nil && !s.due {
			g.streams.remove(s)
		}
	}()
	for s.head != nil && s.head.done {
		g.carryHead(s, h)
	}
}

// carryHead hands the answer at the head of s to the router, without the lock.
func (g *Group) carryHead(s *stream, h *hand) {
	j, failed := s.head, true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		if failed {
			g.stats.Failed++
		}
		g.release(s.pop())
	}()
	failed = j.finish(g.name, h)
}

// release forgets j, which has been carried out.
func (g *Group) release(j *job) {
	g.jobs--
	g.bytes -= j.size
	j.recycle()
	if g.jobs == 0 && g.empty != nil {
		close(g.empty)
		g.empty = nil
	}
}

// finish hands the answer of j to the router and reports whether j has failed. The
// data that a pass leaves out is that of the message as it was handled.
func (j *job) finish(name string, h *hand) bool {
	a, err := j.answer, j.err
	if m, yes := err.(*moved); yes {
		j.handOver(m.to, h.batch)
		return false
	}
	a.Resume(h.batch)
	if err == nil {
		var reply *wire.Answer
		if h.job == j {
			reply, h.job, h.reply = h.reply, nil, nil // j's memory may be another job's soon
		} else {
			reply, err = h.dec.Answer(j.reply) // was parsed when it came
		}
		if err == nil {
			if len(reply.Commands) == 0 && reply.Reason == "" {
				a.Drop()
			}
			for i := range reply.Commands {
				c := reply.Commands[i]
				if c.Verb == hub.Pass && c.Data.Bytes == nil {
					c.Data = j.m.Data
				}
				a.Do(c)
			}
			if reply.Reason != "" {
				err = hub.Reason(hub.ErrHandler, "handler %q: %s", name, reply.Reason)
			}
		}
	}
	a.Done(err)
	return err != nil
}

// Stats returns the counters as they are now.
func (g *Group) Stats() Stats {
	g.mu.Lock()
	s := g.stats
	s.Processes = len(g.processes)
	s.Waiting = g.jobs - g.inFlight
	s.InFlight = g.inFlight
	if g.command != nil {
		s.Restarts = g.command.restarts()
		s.Down, _ = g.command.down()
	}
	g.mu.Unlock()
	s.Name, s.Native = g.name, true
	return s
}
