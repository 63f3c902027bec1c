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
	o, _ := g.options()
	notSent := hub.Reason(hub.ErrTimeout, "handler %q: took no message for %v", g.name, o.Timeout)
	notAnswered := hub.Reason(hub.ErrTimeout, "handler %q: no answer for %v", g.name, o.Timeout)
	var batch hub.Batch
	countNotSent, countNotAnswered, idle := g.expireJobs(&batch, o.Timeout, notSent, notAnswered)
	flush(&batch, g.notePanic)
	g.logFailures(notSent, countNotSent)
	g.logFailures(notAnswered, countNotAnswered)
	if idle {
		g.groups.removeIfIdle(g)
	}
}

// expireJobs fails the jobs that have waited for longer than timeout, and returns how many
// were not sent and how many not answered. idle is true if g may not be needed any more.
func (g *Group) expireJobs(b *hub.Batch, timeout time.Duration, notSent, notAnswered error) (countNotSent, countNotAnswered int, idle bool) {
	e := executionStates.Get().(*executionState)
	e.batch = b
	now := clock()
	cutoff := now - timeout

	g.mu.Lock()
	defer g.mu.Unlock()
	g.armed = false
	for j := g.waiting.head; j != nil && j.since <= cutoff; j = g.waiting.head {
		countNotSent++
		g.unqueue(j, notSent)
	}
	for j := g.sent.head; j != nil && j.since <= cutoff; j = g.sent.head {
		countNotAnswered++
		p := j.process
		p.markOverdue(j.tag)
		g.removeInFlight(j)
		j.fail(notAnswered)
		g.markDue(j.stream)
		p.checkOverdue()
	}
	g.stats.Timeouts += uint64(countNotSent + countNotAnswered)
	g.dispatch(b, now)
	g.rearm() // before executeDue releases the lock
	g.executeDue(e)
	e.batch = nil
	executionStates.Put(e)
	return countNotSent, countNotAnswered, len(g.processes) == 0 && g.jobs == 0 && !g.configured
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
