package link

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// A process is one connected handler process of a group. The group's lock guards
// what is not said to be the reading goroutine's.
type process struct {
	g    *Group
	conn net.Conn
	in   *bformat.Reader // the reading goroutine's
	out  *bformat.Queue
	h    hand      // the reading goroutine's
	b    hub.Batch // the reading goroutine's
	most int       // the longest frame it takes, in bytes

	slots    []*job   // what is in flight, by tag; slots[0] is not used
	tags     []uint16 // a ring of the tags that are free, each with a credit to it
	next     int      // where in it the next one is
	free     int      // how many there are
	late     int      // tags whose answer is owed past its time
	ready    streamList
	turn     bool  // whose turn it is to be sent, see Group.pump
	broken   bool  // takes nothing more
	leaving  bool  // has said goodbye
	why      error // why the hub ends it, if it does
	unwanted bool  // why is the process's fault

	touched atomic.Bool // on the batch of somebody who will flush it
}

// overdue stands in the slot of a tag whose answer is owed past its time.
var overdue = new(job)

func newProcess(g *Group, c net.Conn, in *bformat.Reader, h *wire.Hello) *process {
	credits := h.Credits
	if credits <= 0 {
		credits = DefaultCredits
	}
	credits = min(credits, MaxCredits)
	p := &process{g: g, conn: c, in: in, most: h.Frame}
	if p.most <= 0 {
		p.most = bformat.DefaultLimit
	}
	p.slots = make([]*job, credits+1)
	p.tags, p.free = make([]uint16, credits), credits
	for i := range p.tags {
		p.tags[i] = uint16(i + 1)
	}
	// Messages are bounded by the group's bytes, so that the queue never ends for
	// want of room while the process reads late: JSON can grow a little on its way.
	p.out = bformat.NewQueue(c, bformat.QueueOptions{Limit: 2*g.o.Bytes + credits*jobOverhead})
	p.h.batch = &p.b
	return p
}

// room reports whether p can be sent another message.
func (p *process) room() bool { return p.free > 0 && !p.broken && !p.leaving }

// owes returns 1 if p owes an answer past its time, else 0.
func (p *process) owes() int { return min(p.late, 1) }

// credits returns how many unanswered messages p takes.
func (p *process) credits() int { return len(p.slots) - 1 }

// put encodes j for p under a tag of its own. If it cannot, j has failed; if p.broken is
// set afterwards, nothing happened.
func (p *process) put(j *job, b *hub.Batch) error {
	tag := p.tags[p.next]
	buf := p.out.Begin()
	start := len(buf)
	buf, err := wire.AppendMessage(buf, uint64(tag), wire.KindHandle, &j.m)
	if err == nil && uint64(len(buf)-start) > uint64(p.most) {
		err = hub.Reason(hub.ErrHandler, "handler %q takes frames of at most %d bytes, this message has %d",
			p.g.name, p.most, len(buf)-start)
	}
	if err != nil {
		p.out.Cancel()
		return err
	}
	if err := p.out.End(buf, false); err != nil {
		p.broken = true // the reading goroutine will see why
		return nil
	}
	p.next = (p.next + 1) % len(p.tags)
	p.free--
	p.slots[tag] = j
	j.at, j.tag = p, tag
	if p.touched.CompareAndSwap(false, true) {
		b.Add(p)
	}
	return nil
}

// Flush sends what put has gathered.
func (p *process) Flush() {
	p.touched.Store(false)
	p.out.Flush()
}

// giveBack makes tag free, the last to be used again: so an answer that comes twice is
// likely to be found out.
func (p *process) giveBack(tag uint16) {
	p.slots[tag] = nil
	p.tags[(p.next+p.free)%len(p.tags)] = tag
	p.free++
}

// forget notes that the answer under tag is owed past its time: the credit comes back
// with it, if it ever comes.
func (p *process) forget(tag uint16) {
	p.slots[tag] = overdue
	p.late++
}

// checkDebt closes p if it owes answers for all its credits past their time, or
// if that is all that keeps it from leaving.
func (p *process) checkDebt() {
	switch {
	case p.broken:
	case p.late == p.credits():
		p.end(fmt.Errorf("%d messages, all its credits, are not answered after %v", p.late, p.g.o.Timeout), true)
	case p.leaving:
		p.checkLeft()
	}
}

// end closes the connection, for the reason given. fault says whether the process is to blame.
func (p *process) end(why error, fault bool) {
	if p.why == nil {
		p.why, p.unwanted = why, fault
	}
	p.broken = true
	p.conn.Close() // the reading goroutine does the rest
}

// checkLeft closes a leaving process that has answered what it had.
func (p *process) checkLeft() {
	if p.leaving && p.free+p.late == p.credits() {
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
	defer func() { // also where readLoop panics
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

// errGarbage is wrapped by what a process did that no handler may do.
var errGarbage = errors.New("breach of protocol")

// readLoop takes frames until the connection ends, and says why it did.
func (p *process) readLoop() error {
	p.in.SetIdle(p.b.Flush)
	for {
		frame, err := p.in.Next()
		if err != nil {
			p.b.Flush()
			var limit *bformat.LimitError
			if errors.As(err, &limit) {
				err = fmt.Errorf("%w: %w", errGarbage, err)
			}
			return err
		}
		if err := p.take(frame); err != nil {
			p.b.Flush()
			return fmt.Errorf("%w: %w", errGarbage, err)
		}
	}
}

// take acts on one frame.
func (p *process) take(frame []byte) error {
	tag, rest, err := tristanable.Cut(frame)
	if err != nil {
		return err
	}
	kind, body, err := wire.CutKind(rest)
	if err != nil {
		return err
	}
	switch kind {
	case wire.KindAnswer:
		return p.answer(tag, body)
	case wire.KindPing:
		if tag != 0 {
			p.status(tag, nil)
		}
	case wire.KindSend:
		if tag != 0 {
			p.status(tag, hub.Reason(hub.ErrDenied, "a handler's connection carries answers alone: log in as a client to send"))
		}
	case wire.KindGoodbye:
		p.g.mu.Lock()
		p.leaving = true
		p.checkLeft()
		p.g.mu.Unlock()
	case wire.KindHello:
		return errors.New("a second hello")
	}
	return nil
}

// status sends a status. It may be lost if the process does not read: it asks for as many as it likes.
func (p *process) status(tag uint64, reason error) {
	p.out.End(wire.AppendStatus(p.out.Begin(), tag, reason), true)
	if p.touched.CompareAndSwap(false, true) {
		p.b.Add(p)
	}
}

// answer marks the job under tag as done and carries it out if its turn has come.
func (p *process) answer(tag uint64, body []byte) error {
	g := p.g
	reply, bad := p.h.dec.Answer(body)

	g.mu.Lock()
	defer g.mu.Unlock()
	if tag == 0 || tag >= uint64(len(p.slots)) || p.slots[tag] == nil {
		return fmt.Errorf("an answer under tag %d, which no message has", tag)
	}
	j := p.slots[tag]
	p.giveBack(uint16(tag))
	if j == overdue {
		p.late--
		g.stats.Late++
		g.pump(&p.b, 0)
		g.settle(&p.h)
		p.checkLeft()
		return nil
	}
	g.landed(j)
	if bad != nil {
		g.stats.Garbage++
		err := hub.Reason(hub.ErrHandler, "handler %q: %v", g.name, bad)
		g.complain(err)
		j.fail(err)
	} else {
		g.stats.Answered++
	}
	g.pump(&p.b, 0)
	switch s := j.stream; {
	case bad != nil:
		g.makeDue(s)
	case s.head == j && !s.busy:
		j.done = true
		p.h.job, p.h.reply = j, reply
		g.carry(s, &p.h) // j comes first and takes the reply
	default:
		g.keep(j, body)
		g.makeDue(s)
	}
	g.settle(&p.h)
	p.checkLeft()
	return nil
}

// keep copies an answer that has come out of turn.
func (g *Group) keep(j *job, body []byte) {
	if g.bytes+len(body) > 2*g.o.Bytes {
		j.fail(hub.Reason(hub.ErrFull, "handler %q: its answer came out of turn, and answers that wait fill %d bytes already",
			g.name, 2*g.o.Bytes))
		return
	}
	j.done = true
	j.reply = append(j.reply[:0], body...)
	j.size += len(body)
	g.bytes += len(body)
}
