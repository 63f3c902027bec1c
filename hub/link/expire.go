package link

import (
	"log/slog"
	"time"

	"github.com/besterhub/bester/hub"
)

// arm has expire run after d, if it is not to run already.
func (g *Group) arm(d time.Duration) {
	if !g.armed {
		g.armed = true
		g.timer.Reset(max(d, time.Millisecond))
	}
}

// expire fails the jobs whose time is over. It runs on the timer's goroutine.
func (g *Group) expire() {
	h := hands.Get().(*hand)
	var batch hub.Batch
	h.batch = &batch
	now := clock()

	g.mu.Lock()
	g.armed = false
	over := now - g.o.Timeout
	for j := g.waiting.head; j != nil && j.since <= over; j = g.waiting.head {
		g.stats.Timeouts++
		err := hub.Reason(hub.ErrTimeout, "handler %q: took no message for %v", g.name, g.o.Timeout)
		g.complain(err)
		g.unqueue(j, err)
	}
	for j := g.sent.head; j != nil && j.since <= over; j = g.sent.head {
		g.stats.Timeouts++
		p := j.at
		p.forget(j.tag)
		g.landed(j)
		err := hub.Reason(hub.ErrTimeout, "handler %q: no answer for %v", g.name, g.o.Timeout)
		g.complain(err)
		j.fail(err)
		g.makeDue(j.stream)
		p.checkDebt()
	}
	g.pump(&batch, now)
	g.rearm() // before the lock is let go of
	g.settle(h)
	forgotten := len(g.processes) == 0 && g.jobs == 0 && !g.standing
	g.mu.Unlock()

	batch.Flush()
	h.batch = nil
	hands.Put(h)
	if forgotten {
		g.groups.forget(g)
	}
}

// complain logs why a message has failed.
func (g *Group) complain(err error) {
	g.log.Log(g.o.Log, slog.LevelWarn, "handler failed", slog.String("handler", g.name), slog.String("reason", err.Error()))
}

// rearm arms the timer for what is to expire next.
func (g *Group) rearm() {
	next := g.waiting.head
	if j := g.sent.head; next == nil || j != nil && j.since < next.since {
		next = j
	}
	if next != nil {
		g.arm(next.since + g.o.Timeout - clock())
	}
}

// unqueue fails j, which waits and is the oldest that does.
func (g *Group) unqueue(j *job, err error) {
	s := j.stream
	j.leave()
	s.unsent = j.next // the oldest of all is also the oldest of its stream
	g.place(s)
	j.fail(err)
	g.makeDue(s)
}
