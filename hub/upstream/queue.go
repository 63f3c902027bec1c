package upstream

import (
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"strings"

	"github.com/besterhub/bester/hub"
)

// A destination is a server that messages wait for, by its address.
//
// Its messages have a queue for each number of hops. A message on its way through another
// hub may come back here and have to go to the same server again, before that server can
// say what became of it. It has more hops then, and so does not wait behind itself: a
// message only ever waits for others that have come as far. The limit of hops, not time,
// ends a circle of hubs.
type destination struct {
	address string
	queues  map[int]*queue // by hops; only those in use
	waiting int            // messages in all queues
	bytes   int
}

// A queue holds messages that wait for a server. Its goroutine ends when it is empty.
type queue struct {
	to   *destination
	hops int
	jobs []job
}

type job struct {
	known   *knownServers // when it was taken
	status  *serverStatus // nil: the server has no name
	frame   []byte
	receipt hub.Receipt
	message hub.Message // for the receipt
}

func (f *ClassicForwarder) add(address string, j job) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.closed {
		return fmt.Errorf("server %s: %w", j.status.label(address), hub.ErrClosed)
	}
	s := f.servers[address]
	if s == nil {
		if j.status == nil && len(f.servers) >= f.o.MaxServers {
			return fmt.Errorf("server %s: %w: messages wait for %d servers already", address, hub.ErrFull, len(f.servers))
		}
		s = &destination{address: address, queues: make(map[int]*queue)}
	}
	if s.waiting >= f.o.QueueMessages || s.bytes+len(j.frame) > f.o.QueueBytes {
		return fmt.Errorf("server %s: %w: %d messages of %d bytes wait for it", j.status.label(address), hub.ErrFull, s.waiting, s.bytes)
	}
	f.servers[address] = s
	q := s.queues[j.message.Hops]
	if q == nil {
		q = &queue{to: s, hops: j.message.Hops}
		s.queues[q.hops] = q
		f.senders.Add(1)
		go f.serve(q)
	}
	j.status.queued()
	q.jobs = append(q.jobs, j)
	s.waiting++
	s.bytes += len(j.frame)
	return nil
}

// serve sends the messages of a queue until it is empty.
func (f *ClassicForwarder) serve(q *queue) {
	defer f.senders.Done()
	for {
		j, ok := f.next(q)
		if !ok {
			return
		}
		reached, err := true, errBug
		f.protect(&j, func() { reached, err = f.send(q.to, &j) })
		var rest []job
		if !reached {
			rest = f.takeAll(q)
		}
		f.done(q.to, &j, err)
		for i := range rest { // each would wait as long for the same error
			f.done(q.to, &rest[i], err)
		}
	}
}

// errBug is the outcome of a message at which the hub panicked.
var errBug = hub.Reason(hub.ErrHandler, "the hub has a bug in what speaks to servers: its log says more")

// protect calls act for a message. A panic of act ends nothing else.
func (f *ClassicForwarder) protect(j *job, act func()) {
	defer func() {
		if p := recover(); p != nil {
			f.panics.Add(1)
			f.logLimiter.Log(f.o.Log, slog.LevelError, "the hub has a bug: it panicked at a message for a server",
				slog.String("type", string(j.message.Type)), slog.Any("panic", p), slog.String("stack", string(debug.Stack())))
		}
	}()
	act()
}

// next removes and returns the oldest message. If there is none, it removes the queue.
func (f *ClassicForwarder) next(q *queue) (job, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	s := q.to
	if len(q.jobs) == 0 {
		delete(s.queues, q.hops)
		if len(s.queues) == 0 {
			delete(f.servers, s.address)
		}
		return job{}, false
	}
	j := q.jobs[0]
	q.jobs[0] = job{}
	q.jobs = q.jobs[1:]
	s.waiting--
	s.bytes -= len(j.frame)
	return j, true
}

// takeAll removes and returns all messages of a queue.
func (f *ClassicForwarder) takeAll(q *queue) []job {
	f.mu.Lock()
	defer f.mu.Unlock()
	all := q.jobs
	q.jobs = nil
	q.to.waiting -= len(all)
	for i := range all {
		q.to.bytes -= len(all[i].frame)
	}
	return all
}

// done counts a message, logs what the operator should know, and tells the receipt.
func (f *ClassicForwarder) done(s *destination, j *job, err error) {
	state := Fails
	switch {
	case err == nil:
		state = Works
		f.confirmed.Add(1)
	case err == errNoAnswer, err == errSilent && !j.status.confirms(s.address):
		state = Unconfirmed
		f.unconfirmed.Add(1)
		j.message.Notes |= hub.NoteUnconfirmed
	default:
		f.failed.Add(1)
		err = withServer(j.status.label(s.address), explain(err))
	}
	changed := j.status.done(s.address, state, err)
	f.protect(j, func() { f.log(s, j, state, changed, err) })
	switch {
	case state == Unconfirmed:
		err = nil
	case state == Fails && j.status == nil && !j.known.unnamed.All:
		// What is at an address that somebody thought up is not theirs to learn.
		err = hub.Reason(hub.ErrHandler, "server %s: the message could not be handed over; the hub's log says why", s.address)
	}
	if j.receipt != nil {
		f.protect(j, func() { j.receipt.Done(&j.message, err) })
	}
}

// refused counts and logs a message that Put has not taken.
func (f *ClassicForwarder) refused(known *knownServers, m *hub.Message, address string, err error) {
	f.failed.Add(1)
	limiter := f.logLimiter
	attrs := []slog.Attr{slog.String("server", address), slog.String("type", string(m.Type)), slog.Any("err", err)}
	if len(m.To) == 1 {
		if status := known.named[m.To[0].Server]; status != nil {
			status.refused(address, err)
			limiter = status.logLimiter
			attrs[0] = slog.String("server", string(status.Name))
		}
	}
	limiter.Log(f.o.Log, slog.LevelWarn, "message for a server refused", attrs...)
}

// withServer says which server an error is of. The refusal of a message that went round several
// hubs keeps the name of the server that refused it.
func withServer(label string, err error) error {
	if errors.Is(err, hub.ErrHops) {
		if text := strings.TrimPrefix(err.Error(), "refused: "); strings.HasPrefix(text, "server ") {
			return hub.Reason(hub.ErrHops, "%s", text)
		}
	}
	return fmt.Errorf("server %s: %w", label, err)
}
