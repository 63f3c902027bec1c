package link

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// A process is one connected handler process of a group. The group's lock guards its
// fields, except those marked as the reading goroutine's.
type process struct {
	g         *Group
	conn      net.Conn
	in        *bformat.Reader // the reading goroutine's
	out       *bformat.Queue
	execution executionState // the reading goroutine's
	rights    hub.Rights     // nil: all
	b         hub.Batch      // the reading goroutine's
	maxFrame  int            // the longest frame it takes, in bytes

	inFlight  []*job   // by tag; inFlight[0] is not used
	tags      []uint16 // a ring of the free tags: free and reuseDistance more
	next      int      // index of the next free tag
	free      int      // credits left
	overdue   int      // number of tags whose answer is overdue
	ready     streamList
	alternate bool  // toggled by Group.dispatch, so that it takes from ready and the group's ready in turn
	answered  bool  // it has answered a message
	broken    bool  // takes nothing more
	draining  bool  // has said goodbye
	closeErr  error // why the hub closes the connection, if it does
	atFault   bool  // closeErr is the fault of the process

	inBatch atomic.Bool // on a batch that somebody will flush
}

// reuseDistance is how many other tags are used, at least, before a tag is used again. So a
// duplicate answer seldom finds another job under its tag, and is noticed.
const reuseDistance = 256

// overdueJob takes the place of a job that has timed out, until its late answer comes.
var overdueJob = new(job)

func newProcess(g *Group, c net.Conn, in *bformat.Reader, h *wire.Hello, rights hub.Rights) *process {
	credits := h.Credits
	if credits <= 0 {
		credits = DefaultCredits
	}
	credits = min(credits, MaxCredits)
	p := &process{g: g, conn: c, in: in, rights: rights, maxFrame: h.MaxFrame}
	if p.maxFrame <= 0 {
		p.maxFrame = bformat.DefaultLimit
	}
	p.tags, p.free = make([]uint16, credits+reuseDistance), credits
	p.inFlight = make([]*job, len(p.tags)+1)
	for i := range p.tags {
		p.tags[i] = uint16(i + 1)
	}
	// The group's limit in bytes bounds the messages, so the queue never overflows while
	// the process reads slowly. Twice that limit, because JSON can grow when it is encoded.
	p.out = bformat.NewQueue(c, bformat.QueueOptions{Limit: 2*g.o.QueueBytes + credits*jobOverhead})
	p.execution.batch = &p.b
	return p
}

// available reports whether p can be sent another message.
func (p *process) available() bool { return p.free > 0 && !p.broken && !p.draining }

// overdueRank returns 1 if p has overdue answers, else 0.
func (p *process) overdueRank() int { return min(p.overdue, 1) }

// credits returns how many unanswered messages p takes.
func (p *process) credits() int { return len(p.tags) - reuseDistance }

// enqueue encodes j into p's send queue under a free tag. An error is why j fails. If
// p.broken is set afterwards, j was not queued and has not failed.
func (p *process) enqueue(j *job, b *hub.Batch) error {
	tag := p.tags[p.next]
	buf := p.out.Begin()
	start := len(buf)
	buf, err := wire.AppendMessage(buf, uint64(tag), wire.KindHandle, &j.m)
	if err == nil && uint64(len(buf)-start) > uint64(p.maxFrame) {
		err = hub.Reason(hub.ErrHandler, "handler %q takes frames of at most %d bytes, this message has %d",
			p.g.name, p.maxFrame, len(buf)-start)
	}
	if err != nil {
		p.out.Cancel()
		return err
	}
	if err := p.out.End(buf, bformat.Required); err != nil {
		p.broken = true // the reading goroutine will see why
		return nil
	}
	p.next = (p.next + 1) % len(p.tags)
	p.free--
	p.inFlight[tag] = j
	j.process, j.tag = p, tag
	if p.inBatch.CompareAndSwap(false, true) {
		b.Add(p)
	}
	return nil
}

// Flush sends what enqueue has queued.
func (p *process) Flush() {
	p.inBatch.Store(false)
	p.out.Flush()
}

// releaseTag makes tag free. It is reused last.
func (p *process) releaseTag(tag uint16) {
	p.inFlight[tag] = nil
	p.tags[(p.next+p.free+reuseDistance)%len(p.tags)] = tag
	p.free++
}

// markOverdue notes that the job under tag has timed out. Its credit comes back with the
// late answer, if that ever comes.
func (p *process) markOverdue(tag uint16) {
	p.inFlight[tag] = overdueJob
	p.overdue++
}

// checkOverdue closes p if all its credits are overdue, or if p is draining and has only
// overdue answers left.
func (p *process) checkOverdue() {
	switch {
	case p.broken:
	case p.overdue == p.credits():
		p.close(fmt.Errorf("%d messages, all its credits, are not answered after %v", p.overdue, p.g.o.Timeout), true)
	case p.draining:
		p.closeIfDrained()
	}
}

// close closes the connection for the reason given. atFault says whether the process is to blame.
func (p *process) close(reason error, atFault bool) {
	if p.closeErr == nil {
		p.closeErr, p.atFault = reason, atFault
	}
	p.broken = true
	p.conn.Close() // the reading goroutine does the rest
}

// sayGoodbye asks the process to reconnect: it gets no more messages, and the connection ends
// when those in flight are answered. The caller flushes p.out without the lock.
func (p *process) sayGoodbye(reason string) {
	if p.broken || p.draining {
		return
	}
	p.draining = true
	p.out.End(wire.AppendGoodbye(p.out.Begin(), reason), bformat.Required)
	p.closeIfDrained()
}

// closeIfDrained closes a draining process that has no message in flight.
func (p *process) closeIfDrained() {
	if p.draining && p.free+p.overdue == p.credits() {
		p.broken = true
		p.out.Shutdown() // writeLoop closes
	}
}

// serve runs the connection until it ends.
func (p *process) serve() error {
	written := make(chan struct{})
	go func() {
		defer close(written)
		p.writeLoop()
	}()
	defer func() { // also if readLoop panics
		p.conn.Close()
		p.out.Fail(net.ErrClosed)
		<-written
		p.in.Release()
	}()
	return p.readLoop()
}

func (p *process) writeLoop() {
	p.out.Run()
	p.conn.Close()
}

// flushBatch flushes the messages that p's answers have sent.
func (p *process) flushBatch() { flush(&p.b, p.g.notePanic) }

// errProtocol is wrapped by the errors of a process that breaks the protocol.
var errProtocol = errors.New("breach of protocol")

// readLoop handles frames until the connection ends, and returns why it ended.
func (p *process) readLoop() error {
	p.in.SetIdle(p.flushBatch)
	for {
		frame, err := p.in.Next()
		if err != nil {
			p.flushBatch()
			var limit *bformat.LimitError
			if errors.As(err, &limit) {
				err = fmt.Errorf("%w: %w", errProtocol, err)
			}
			return err
		}
		if err := p.handleFrame(frame); err != nil {
			p.flushBatch()
			return fmt.Errorf("%w: %w", errProtocol, err)
		}
	}
}

// handleFrame handles one frame.
func (p *process) handleFrame(frame []byte) error {
	tag, kind, body, err := wire.Cut(frame)
	if err != nil {
		return err
	}
	switch kind {
	case wire.KindAnswer:
		p.answer(tag, body)
	case wire.KindPing:
		if tag != 0 {
			p.sendStatus(tag, nil)
		}
	case wire.KindSend:
		if tag != 0 {
			p.sendStatus(tag, hub.Reason(hub.ErrDenied, "a handler's connection carries answers alone: log in as a client to send"))
		}
	case wire.KindGoodbye:
		p.g.mu.Lock()
		p.draining = true
		p.closeIfDrained()
		p.g.mu.Unlock()
	case wire.KindHello:
		return errors.New("a second hello")
	}
	return nil
}

// sendStatus sends a status as a droppable frame: a process that does not read could ask
// for any number of them.
func (p *process) sendStatus(tag uint64, reason error) {
	p.out.End(wire.AppendStatus(p.out.Begin(), tag, reason), bformat.Droppable(0))
	if p.inBatch.CompareAndSwap(false, true) {
		p.b.Add(p)
	}
}

// answer handles the answer under tag. One that belongs to no message, because it is a
// duplicate or has a tag that was never given, is dropped and counted: the messages in
// flight do not suffer for it.
func (p *process) answer(tag uint64, body []byte) {
	g := p.g
	answer, bad := p.execution.dec.Answer(body)
	if bad != nil {
		bad = hub.Reason(hub.ErrHandler, "handler %q: %v", g.name, bad)
	}
	switch {
	case !p.finish(tag, body, answer, bad):
		g.logLine(slog.LevelWarn, "handler answer dropped", fmt.Sprintf("no message in flight has its tag, %d", tag))
	case bad != nil:
		g.logFailures(bad, 1)
	}
}

// finish marks the job under tag as done and executes its answer if the job is at the head
// of its stream. It reports whether there is such a job.
func (p *process) finish(tag uint64, body []byte, answer *wire.Answer, bad error) bool {
	g := p.g
	g.mu.Lock()
	defer g.mu.Unlock()
	if tag == 0 || tag >= uint64(len(p.inFlight)) || p.inFlight[tag] == nil {
		g.stats.Unmatched++
		return false
	}
	if !p.answered {
		p.answered = true
		if g.command != nil {
			g.command.noteAnswer()
		}
	}
	j := p.inFlight[tag]
	p.releaseTag(uint16(tag))
	if j == overdueJob {
		p.overdue--
		g.stats.Late++
		g.dispatch(&p.b, 0)
		g.executeDue(&p.execution)
		p.closeIfDrained()
		return true
	}
	g.removeInFlight(j)
	j.rights = p.rights
	if bad != nil {
		g.stats.Malformed++
		j.fail(bad)
	} else {
		g.stats.Answered++
	}
	g.dispatch(&p.b, 0)
	switch s := j.stream; {
	case bad != nil:
		g.markDue(s)
	case s.head == j && !s.busy:
		j.done = true
		p.execution.job, p.execution.answer = j, answer
		g.execute(s, &p.execution) // j comes first and takes the answer
	default:
		g.bufferAnswer(j, body)
		g.markDue(s)
	}
	g.executeDue(&p.execution)
	p.closeIfDrained()
	return true
}

// bufferAnswer copies an answer that has come out of order.
func (g *Group) bufferAnswer(j *job, body []byte) {
	if g.bytes+len(body) > 2*g.o.QueueBytes {
		j.fail(hub.Reason(hub.ErrFull, "handler %q: its answer came out of turn, and answers that wait fill %d bytes already",
			g.name, 2*g.o.QueueBytes))
		return
	}
	j.done = true
	j.answer = append(j.answer[:0], body...)
	j.size += len(body)
	g.bytes += len(body)
	j.share.bytes += len(body)
}
