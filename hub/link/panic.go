package link

import (
	"log/slog"
	"runtime/debug"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/lograte"
)

// A bug of the hub, in what a message goes to after its handler, fails that message alone.
// What executes answers recovers from a panic, counts it in Stats.Panics, and goes on.

// failPanicked fails j, on whose answer the hub has panicked, unless j is out of hand already.
func (j *job) failPanicked(name string) {
	defer func() { _ = recover() }() // the sender's receipt may have the bug
	if !j.ended {
		j.ended = true
		j.answerWriter.Done(hub.Reason(hub.ErrHandler, "handler %q: the hub has a bug where the answer goes: its log says more", name))
	}
}

// logPanic logs a panic with its stack. It is called while that is there.
func logPanic(log *slog.Logger, l *lograte.Limiter, name string, p any) {
	l.Log(log, slog.LevelError, "a bug of the hub failed a message; please report it", slog.String("handler", name),
		slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
}

// notePanic counts and logs a panic. The caller does not hold the lock.
func (g *Group) notePanic(p any) {
	g.mu.Lock()
	g.stats.Panics++
	o, limiter := g.o, g.log
	g.mu.Unlock()
	logPanic(o.Log, limiter, g.name, p)
}

// flush flushes all of b. notePanic is told of a flusher that panics.
func flush(b *hub.Batch, notePanic func(any)) {
	for !tryFlush(b, notePanic) { // without the one that has panicked
	}
}

func tryFlush(b *hub.Batch, notePanic func(any)) (ok bool) {
	defer func() {
		if p := recover(); p != nil {
			notePanic(p)
		}
	}()
	b.Flush()
	return true
}

// notePanic counts and logs a panic. The caller does not hold the lock.
func (c *Classic) notePanic(p any) {
	c.count(&c.stats.Panics)
	logPanic(c.c.Log, c.log, c.c.Name, p)
}
