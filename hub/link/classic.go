package link

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/socket"
	"github.com/besterhub/bester/hub/wire"
)

// The way of a message through a Classic:
//
//  1. Handle copies it into a job, at the end of its stream.
//  2. One of at most MaxConnections workers takes the head of a stream. Only one message of
//     a stream is with the handler at a time.
//  3. sendRequest connects and sends the data as one frame.
//  4. readAnswer reads one frame and closes the connection.
//  5. The worker executes the command in the answer.

// ClassicConfig describes a handler of the original kind.
type ClassicConfig struct {
	// Name is for reasons and the log: the original's type, or a name from the config.
	Name string
	// Path is the UNIX socket on which the handler listens.
	Path string
	Options
	// MaxConnections is how many connections to the handler there may be at once, each
	// for one message. If zero, 16.
	MaxConnections int
	// Command is the handler's program. If its Argv is empty, the hub starts none.
	Command Command
	// Needed starts the program on demand: only once nobody listens on Path, and only if
	// its file is executable. That is how the original's handlerBinary is served. If a
	// socket file exists at the start, the program is not started until a message finds
	// that nobody listens. Without Needed the program is started at once.
	Needed bool
}

// A Classic is a handler of the original kind: a UNIX socket to which the hub connects
// once for each message. It is a hub.Handler. Each message in flight costs one connection.
type Classic struct {
	c       ClassicConfig
	addr    *net.UnixAddr
	command *supervisor // nil: somebody else starts it
	log     *lograte.Limiter
	aborted chan struct{} // closed when the exchanges in flight are aborted

	mu        sync.Mutex // guards what follows; never held while a sink or handler is called
	streams   streams
	ready     streamList // streams of which no message is with the handler
	workers   map[*worker]struct{}
	jobs      int // taken and not done
	inFlight  int // of these, with the handler
	bytes     int // of all jobs
	shares    shares
	closing   bool
	successor hub.Handler   // gets what comes, and what waits, once closing; may be nil
	drained   chan struct{} // closed when jobs is 0 and closing; nil until somebody waits
	stats     Stats         // its counters
}

// A worker is the state of one goroutine, reused for each message.
type worker struct {
	batch hub.Batch
	dec   wire.Decoder
	frame []byte   // the one to be sent
	conn  net.Conn // nil while there is none; the Classic's lock guards it
}

var workers = sync.Pool{New: func() any { return new(worker) }}

// NewClassic returns the handler that c describes, and starts its program if that is due.
func NewClassic(c ClassicConfig) *Classic {
	c.Options = c.Options.withDefaults()
	if c.MaxConnections <= 0 {
		c.MaxConnections = DefaultMaxConnections
	}
	h := &Classic{
		c:       c,
		addr:    &net.UnixAddr{Name: c.Path, Net: "unix"},
		log:     newLimiter(),
		aborted: make(chan struct{}),
		workers: make(map[*worker]struct{}),
	}
	if len(c.Command.Argv) > 0 {
		h.command = newSupervisor(c.Name, c.Command, c.Log)
		h.command.prepare = func() { socket.RemoveStale(c.Path) } // where that fails, the program says why it cannot listen
		if !c.Needed || notExist(c.Path) && checkExecutable(c.Command) == nil {
			h.command.start()
		}
	}
	return h
}

// Name returns the name from the config.
func (c *Classic) Name() string { return c.c.Name }

// Handle queues m for the handler and returns at once. A message that it refuses fails with
// an error that wraps hub.ErrFull or hub.ErrClosed.
func (c *Classic) Handle(m *hub.Message, a *hub.Answer) {
	if err := c.take(m, a); err != nil {
		a.Done(err)
	}
}

// take queues m, or returns why it is refused.
func (c *Classic) take(m *hub.Message, a *hub.Answer) error {
	now := clock()
	c.mu.Lock()
	defer c.mu.Unlock()
	sender := m.SenderHash()
	if err := c.admit(m, sender); err != nil {
		c.stats.Refused++
		return err
	}
	j := newJob(m, a, now)
	c.shares.add(j, sender)
	c.jobs++
	c.bytes += j.size
	if s := c.streams.add(j); !s.busy && s.list == nil {
		c.ready.push(s)
	}
	// A worker ends when nothing is ready, so all workers there are now are busy.
	if c.ready.head != nil && len(c.workers) < c.c.MaxConnections {
		w := workers.Get().(*worker)
		c.workers[w] = struct{}{}
		go c.work(w)
	}
	return nil
}

// admit returns why m is refused, nil if it is admitted.
func (c *Classic) admit(m *hub.Message, sender uint32) error {
	switch waiting := c.jobs - c.inFlight; {
	case c.closing && c.successor == nil:
		return hub.Reason(hub.ErrClosed, "handler %q is being ended", c.c.Name)
	case c.shares.full(&c.c.Options, sender, waiting, c.bytes, sizeOf(m)):
		return fullError(c.c.Name, &c.c.Options, waiting)
	}
	return nil
}

// work handles the ready streams until none is left.
func (c *Classic) work(w *worker) {
	c.mu.Lock()
	for c.ready.head != nil {
		s := c.ready.head
		c.ready.remove(s)
		s.busy = true
		j := s.head
		c.inFlight++
		c.shares.send(j)
		successor := c.successor
		c.mu.Unlock()

		failed := c.end(j, w, successor)
		flush(&w.batch, c.notePanic)

		c.mu.Lock()
		c.inFlight--
		c.shares.receive(j)
		if failed {
			c.stats.Failed++
		}
		s.pop()
		s.busy = false
		if s.head != nil {
			c.ready.push(s)
		} else {
			c.streams.remove(s)
		}
		c.shares.remove(j)
		c.jobs--
		c.bytes -= j.size
		j.recycle()
		if c.jobs == 0 && c.drained != nil {
			close(c.drained)
			c.drained = nil
		}
	}
	delete(c.workers, w)
	c.mu.Unlock()
	if cap(w.frame) > maxRecycled {
		w.frame = nil
	}
	workers.Put(w)
}

// end handles j, or hands it over to successor if that is not nil, and reports whether j has
// failed. If something panics, only j fails.
func (c *Classic) end(j *job, w *worker, successor hub.Handler) (failed bool) {
	defer func() {
		if p := recover(); p != nil {
			failed = true
			c.closeConnection(w)
			c.notePanic(p)
			j.failPanicked(c.c.Name)
		}
	}()
	if successor != nil {
		j.handOff(successor, &w.batch)
		return false
	}
	return c.handle(j, w) != nil
}

// handle sends j to the handler and executes its answer. It returns why the message failed.
func (c *Classic) handle(j *job, w *worker) error {
	a := j.answerWriter
	var in *bformat.Reader
	var command hub.Command
	w.frame = bformat.Begin(w.frame[:0])
	frame, err := wire.AppendJSON(w.frame, j.m.Data)
	if err == nil {
		w.frame = bformat.End(frame, 0)
		in, err = c.sendRequest(w, j.since+c.c.Timeout)
	}
	if in != nil {
		defer in.Release() // only now: the command points into it
		if err == nil {
			command, err = c.readAnswer(in, w)
		}
	}
	a.Resume(&w.batch)
	if err == nil {
		a.Do(command)
	}
	j.ended = true
	a.Done(err)
	return err
}

func (c *Classic) count(n *uint64) {
	c.mu.Lock()
	*n++
	c.mu.Unlock()
}

// Stats returns the counters as they are now.
func (c *Classic) Stats() Stats {
	c.mu.Lock()
	s := c.stats
	s.Processes, s.InFlight, s.Waiting = c.inFlight, c.inFlight, c.jobs-c.inFlight
	c.mu.Unlock()
	s.Name = c.c.Name
	if c.command != nil {
		s.Restarts = c.command.restarts()
		s.ExitReason, _ = c.command.down()
	}
	return s
}

// Shutdown refuses new messages (hub.ErrClosed), waits until those it has are answered,
// and stops the program if the hub has started it. If ctx ends first, the unanswered
// messages fail, and Shutdown returns ctx's error after everything has ended.
func (c *Classic) Shutdown(ctx context.Context) error { return c.shutdown(ctx, nil) }

// Retire is Shutdown for a handler that is replaced. Messages that wait, and those that
// still come, go to successor, in order and after those in flight.
func (c *Classic) Retire(ctx context.Context, successor hub.Handler) error {
	return c.shutdown(ctx, successor)
}

func (c *Classic) shutdown(ctx context.Context, successor hub.Handler) error {
	c.mu.Lock()
	c.closing = true
	c.successor = successor
	drained := c.drained
	if drained == nil {
		drained = make(chan struct{})
		if c.jobs == 0 {
			close(drained)
		} else {
			c.drained = drained
		}
	}
	c.mu.Unlock()

	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("handler %q: shutdown: %w", c.c.Name, ctx.Err())
		c.abort()
		<-drained
	}
	if c.command != nil {
		c.command.stop()
	}
	return err
}

// abort fails the messages that are in flight and those that wait.
func (c *Classic) abort() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.aborted:
		return
	default:
	}
	close(c.aborted)
	for w := range c.workers {
		if w.conn != nil {
			w.conn.Close()
		}
	}
}

// logFailure logs what the operator should know about a failed exchange.
func (c *Classic) logFailure(err error) {
	c.log.Log(c.c.Log, slog.LevelWarn, "handler failed", slog.String("handler", c.c.Name), slog.String("reason", err.Error()))
}
