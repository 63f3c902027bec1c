package link

import (
	"cmp"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// The way of a message through a Group:
//
//  1. Handle copies it into a job, at the end of its stream.
//  2. dispatch sends it to a process with a free credit: the one that has other jobs of
//     the stream in flight, or, if none has, the one with the most free credits.
//     Without a free credit the job waits.
//  3. The process answers; its reading goroutine marks the job done (process.answer).
//  4. execute takes done jobs from the head of the stream and hands their answers to the
//     router, without the lock.
//
// expire fails jobs that have timed out; they go through step 4 like any other.

// A Group is a native handler: all processes that serve one name. It is a
// hub.Handler from the start, also while no process is connected.
type Group struct {
	name       string
	o          Options
	groups     *Groups
	command    *supervisor // nil: somebody else starts its processes
	log        *lograte.Limiter
	configured bool          // named in the config: messages may wait for a process
	slotTypes  []hub.Pattern // see Config; Groups.mu guards it

	mu           sync.Mutex // guards what follows; never held while a sink or handler is called
	streams      streams
	processes    []*process
	ready        streamList  // streams with something to send and nothing in flight
	waiting      expiryQueue // jobs not sent, the oldest first
	sent         expiryQueue // jobs in flight, the oldest first
	due          *stream     // streams whose head may be done, through nextDue
	jobs         int         // taken and not done
	inFlight     int
	bytes        int         // of all jobs
	shares       shares      // of the jobs
	timer        *time.Timer // runs expire; armed while there is anything to expire
	armed        bool
	closing      bool
	successor    hub.Handler   // gets what comes, and what is not sent, once closing; may be nil
	drained      chan struct{} // closed when jobs is 0 and closing; nil until somebody waits
	disconnected chan struct{} // closed when processes is empty and closing; nil until somebody waits
	stats        Stats         // its counters
}

// An executionState is what a goroutine needs to execute answers.
type executionState struct {
	batch  *hub.Batch
	dec    wire.Decoder
	job    *job         // the one that answer belongs to
	answer *wire.Answer // its answer, which points into the frame that was just read
}

var executionStates = sync.Pool{New: func() any { return new(executionState) }}

func newGroup(name string, o Options, gs *Groups) *Group {
	g := &Group{name: name, o: o.withDefaults(), groups: gs, log: newLimiter()}
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

// Handle queues m for a process and returns at once. A message that it refuses fails
// with an error that wraps hub.ErrFull, hub.ErrClosed, or, if no process is connected
// and none is expected, hub.ErrHandler. It allocates nothing in steady state.
func (g *Group) Handle(m *hub.Message, a *hub.Answer) {
	if err := g.take(m, a); err != nil {
		a.Done(err)
	}
}

// take queues m, or returns why it is refused.
func (g *Group) take(m *hub.Message, a *hub.Answer) error {
	b, now := m.Batch, clock()
	g.mu.Lock()
	defer g.mu.Unlock()
	sender := m.SenderHash()
	if err := g.admit(m, sender); err != nil {
		g.stats.Refused++
		return err
	}
	j := newJob(m, a, now)
	g.shares.add(j, sender)
	g.jobs++
	g.bytes += j.size
	s := g.streams.add(j)
	if g.successor == nil {
		g.waiting.push(j)
		g.arm(g.o.Timeout)
		g.schedule(s)
		g.dispatch(b, now)
	} else {
		s.unsent = nil
		j.fail(g.closedError())
		g.markDue(s)
	}
	if g.due != nil {
		e := executionStates.Get().(*executionState)
		e.batch = b
		g.executeDue(e)
		e.batch = nil
		executionStates.Put(e)
	}
	return nil
}

// admit returns why m is refused, nil if it is admitted.
func (g *Group) admit(m *hub.Message, sender uint32) error {
	switch waiting := g.jobs - g.inFlight; {
	case g.closing && g.successor == nil:
		return g.closedError()
	case len(g.processes) == 0 && !g.configured:
		return hub.Reason(hub.ErrHandler, "handler %q is not connected", g.name)
	case g.shares.full(&g.o, sender, waiting, g.bytes, sizeOf(m)):
		return fullError(g.name, &g.o, waiting)
	case len(g.processes) == 0 && g.successor == nil:
		return g.down()
	}
	return nil
}

// schedule puts s on the ready list of the process that must send it, or on the group's
// if any process may. If s has nothing to send, schedule takes it off its list.
func (g *Group) schedule(s *stream) {
	var list *streamList
	if s.unsent != nil {
		list = &g.ready
		if s.process != nil {
			list = &s.process.ready
		}
	}
	if s.list == list {
		return
	}
	if s.list != nil {
		s.list.remove(s)
	}
	if list != nil {
		list.push(s)
	}
}

// dispatch sends jobs until none is left that some process has a credit for. now is the
// time of clock, or 0 if the caller has not read it.
func (g *Group) dispatch(b *hub.Batch, now time.Duration) {
	for _, p := range g.processes {
		for p.ready.head != nil && p.available() {
			// Streams that have nothing in flight get every second turn, so that
			// busy ones cannot starve them.
			s := p.ready.head
			if p.alternate = !p.alternate; p.alternate && g.ready.head != nil {
				s = g.ready.head
			}
			g.send(s, p, b, now)
		}
	}
	for g.ready.head != nil {
		p := g.leastLoaded()
		if p == nil {
			return
		}
		g.send(g.ready.head, p, b, now)
	}
}

// leastLoaded returns the process with the most free credits, preferring processes without
// overdue answers. It returns nil if no process has a free credit.
func (g *Group) leastLoaded() *process {
	var best *process
	for _, p := range g.processes {
		if !p.available() {
			continue
		}
		if best == nil || p.overdueRank() < best.overdueRank() || p.overdueRank() == best.overdueRank() && p.free > best.free {
			best = p
		}
	}
	return best
}

// send sends the first unsent job of s to p, which must be available.
func (g *Group) send(s *stream, p *process, b *hub.Batch, now time.Duration) {
	j := s.unsent
	err := p.enqueue(j, b)
	if p.broken {
		return // nothing was sent; the job still waits
	}
	j.removeFromExpiry()
	s.unsent = j.next
	if err != nil {
		j.fail(err)
		g.markDue(s)
	} else {
		g.stats.Sent++
		g.inFlight++
		g.shares.send(j)
		s.inFlight++
		s.process = p
		if now == 0 {
			now = clock()
		}
		j.since = now
		g.sent.push(j)
	}
	if s.list != nil { // to the end: round-robin among streams
		s.list.remove(s)
	}
	g.schedule(s)
}

// removeInFlight notes that j is no longer in flight.
func (g *Group) removeInFlight(j *job) {
	j.removeFromExpiry()
	j.process = nil
	g.inFlight--
	g.shares.receive(j)
	s := j.stream
	if s.inFlight--; s.inFlight == 0 {
		s.process = nil
		g.schedule(s)
	}
}

// markDue puts s on the due list, for executeDue.
func (g *Group) markDue(s *stream) {
	if !s.due {
		s.due, s.nextDue, g.due = true, g.due, s
	}
}

// executeDue executes the answers of the due streams. The caller holds the lock;
// executeDue releases it while it executes.
func (g *Group) executeDue(e *executionState) {
	for g.due != nil {
		s := g.due
		s.due, g.due, s.nextDue = false, s.nextDue, nil
		g.execute(s, e)
	}
}

// execute executes the answers at the head of s. If another goroutine does so already,
// execute returns: that goroutine will also see the jobs done meanwhile. The caller holds
// the lock; execute releases it while it executes. s may be gone when it returns.
func (g *Group) execute(s *stream, e *executionState) {
	if s.busy {
		return
	}
	s.busy = true
	defer func() { // also if there is a bug
		s.busy = false
		if s.head == nil && !s.due {
			g.streams.remove(s)
		}
	}()
	for s.head != nil && s.head.done {
		g.executeHead(s, e)
	}
}

// executeHead hands the answer at the head of s to the router, without the lock.
func (g *Group) executeHead(s *stream, e *executionState) {
	j, failed := s.head, true
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		if failed {
			g.stats.Failed++
		}
		g.release(s.pop())
	}()
	failed = j.finish(g, e)
}

// release recycles j, whose answer has been executed.
func (g *Group) release(j *job) {
	g.shares.remove(j)
	g.jobs--
	g.bytes -= j.size
	j.recycle()
	if g.jobs == 0 && g.drained != nil {
		close(g.drained)
		g.drained = nil
	}
}

// finish hands the answer of j to the router and reports whether j has failed. A pass
// without data passes on the data of the message as it was handled. If something panics,
// only j fails.
func (j *job) finish(g *Group, e *executionState) (failed bool) {
	defer func() {
		if p := recover(); p != nil {
			failed = true
			g.notePanic(p)
			j.failPanicked(g.name)
		}
	}()
	a, err := j.answerWriter, j.err
	if m, yes := err.(*handedOffError); yes {
		j.handOff(m.to, e.batch)
		return false
	}
	a.Resume(e.batch)
	if err == nil {
		var answer *wire.Answer
		if e.job == j {
			answer, e.job, e.answer = e.answer, nil, nil // j's memory may be another job's soon
		} else {
			answer, err = e.dec.Answer(j.answer) // was parsed when it came
		}
		if err == nil {
			if len(answer.Commands) == 0 && answer.Reason == "" {
				a.Drop()
			}
			for i := range answer.Commands {
				c := answer.Commands[i]
				if c.Verb == hub.Pass && c.Data.Bytes == nil {
					c.Data = j.m.Data
				}
				if denied := permit(j.rights, g.name, &c); denied != nil {
					g.logFailures(denied, 1)
					err = cmp.Or(err, denied)
					continue
				}
				a.Do(c)
			}
			if answer.Reason != "" {
				err = hub.Reason(hub.ErrHandler, "handler %q: %s", g.name, answer.Reason)
			}
		}
	}
	j.ended = true
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
		s.ExitReason, _ = g.command.down()
	}
	g.mu.Unlock()
	s.Name, s.Native = g.name, true
	return s
}
