package link

import (
	"log/slog"
	"time"

	"github.com/besterhub/bester/hub"
)

// arm makes expire run after d, unless it is armed already.
func (g *Group) arm(d time.Duration) {
	if !g.armed {
		g.armed = true
		g.timer.Reset(max(d, time.Millisecond))
	}
}

// expire fails the jobs that have timed out. It runs on the timer's goroutine.
func (g *Group) expire() {
	e := executors.Get().(*executor)
	var batch hub.Batch
	e.batch = &batch
	now := clock()

	g.mu.Lock()
	g.armed = false
	over := now - g.o.Timeout
	notSent := hub.Reason(hub.ErrTimeout, "handler %q: took no message for %v", g.name, g.o.Timeout)
	notAnswered := hub.Reason(hub.ErrTimeout, "handler %q: no answer for %v", g.name, g.o.Timeout)
	var countNotSent, countNotAnswered int
	for j := g.waiting.head; j != nil && j.since <= over; j = g.waiting.head {
		countNotSent++
		g.unqueue(j, notSent)
	}
	for j := g.sent.head; j != nil && j.since <= over; j = g.sent.head {
		countNotAnswered++
		p := j.process
		p.markOverdue(j.tag)
		g.removeInFlight(j)
		j.fail(notAnswered)
		g.markDue(j.stream)
		p.checkOverdue()
	}
	g.stats.Timeouts += uint64(countNotSent + countNotAnswered)
	g.dispatch(&batch, now)
	g.rearm() // before executeDue releases the lock
	g.executeDue(e)
	idle := len(g.processes) == 0 && g.jobs == 0 && !g.configured
	g.mu.Unlock()

	batch.Flush()
	e.batch = nil
	executors.Put(e)
	g.logFailures(notSent, countNotSent)
	g.logFailures(notAnswered, countNotAnswered)
	if idle {
		g.groups.removeIfIdle(g)
	}
}

// logFailures logs why so many messages have failed. The caller does not hold the lock.
func (g *Group) logFailures(err error, messages int) {
	for range messages { // the limiter counts them
		g.logLine(slog.LevelWarn, "handler failed", err.Error())
	}
}

// logLine logs a line about the handler, at a bounded rate. The caller does not hold the lock.
func (g *Group) logLine(level slog.Level, msg, reason string) {
	o, limiter := g.options()
	limiter.Log(o.Log, level, msg, slog.String("handler", g.name), slog.String("reason", reason))
}

// rearm arms the timer for the job that expires next.
func (g *Group) rearm() {
	next := g.waiting.head
	if j := g.sent.head; next == nil || j != nil && j.since < next.since {
		next = j
	}
	if next != nil {
		g.arm(next.since + g.o.Timeout - clock())
	}
}

// unqueue fails j, which is the oldest waiting job.
func (g *Group) unqueue(j *job, err error) {
	s := j.stream
	j.removeFromExpiry()
	s.unsent = j.next // the oldest of all is also the oldest of its stream
	g.schedule(s)
	j.fail(err)
	g.markDue(s)
}
