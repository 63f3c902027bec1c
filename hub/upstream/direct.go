// Package upstream hands messages to other Bester servers.
//
// Direct speaks the classic dialect as the original's servers do among themselves: one
// connection for each message, and nothing is stored. It gets the messages of the command
// sendServers and those to addresses of the form user@server.
package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Options are the options of a Direct. The zero value works.
type Options struct {
	// Addresses are the named servers, as host:port.
	Addresses map[hub.ServerName]string
	// Timeout is how long connecting and sending may take together. If zero, 10 s.
	Timeout time.Duration
	// AnswerTimeout is how long a server may take to answer and close after it was sent a
	// message. Then the next message goes to it. If zero, 2 s.
	AnswerTimeout time.Duration
	// Queue is how many messages may wait for one server. If zero, 256.
	Queue int
	// Bytes is how much data may wait for one server. If zero, 4 MiB.
	Bytes int
	// Servers is how many servers may have messages waiting. Beyond that a message for a
	// further server without a name is refused. If zero, 64.
	Servers int
}

// A Direct is the hub.Sink of all servers: the named ones and any host:port.
//
// Messages for one server are sent one after the other, each over a connection of its own.
// Servers do not wait for each other. When a server's queue is full, Put refuses with
// hub.ErrFull. When a server cannot be reached, all messages in its queue fail.
type Direct struct {
	o      Options
	sent   atomic.Uint64
	failed atomic.Uint64
	named  map[hub.ServerName]*serverStatus // immutable
	ctx    context.Context
	stop   context.CancelFunc

	mu      sync.Mutex
	queues  map[string]*queue // by host:port; only those in use
	closed  bool
	senders sync.WaitGroup
}

// A queue holds the messages that wait for one server. Its goroutine ends when it is empty.
type queue struct {
	address string
	jobs    []job
	bytes   int
}

type job struct {
	server  *serverStatus // nil: it has no name
	frame   []byte
	receipt hub.Receipt
	message hub.Message // for the receipt
}

// NewDirect returns a Direct. Shutdown ends it.
func NewDirect(o Options) *Direct {
	o.Timeout = cmp.Or(o.Timeout, 10*time.Second)
	o.AnswerTimeout = cmp.Or(o.AnswerTimeout, 2*time.Second)
	o.Queue = cmp.Or(o.Queue, 256)
	o.Bytes = cmp.Or(o.Bytes, 4<<20)
	o.Servers = cmp.Or(o.Servers, 64)
	d := &Direct{o: o, named: make(map[hub.ServerName]*serverStatus), queues: make(map[string]*queue)}
	for name, address := range o.Addresses {
		d.named[name] = &serverStatus{ServerStats: ServerStats{Name: name, Address: address, State: Untried}}
	}
	d.ctx, d.stop = context.WithCancel(context.Background())
	return d
}

// Put queues m, in memory alone, for the server in m.To, which holds exactly one address.
// The receipt is told when the server has the message: it was sent completely, and within
// Options.AnswerTimeout the server neither said that it failed nor reset the connection. A
// server that closes without an answer counts as one that has the message, because the
// original's servers never answer. A hub of ours closes so if its config does not list us.
func (d *Direct) Put(m *hub.Message) error {
	if len(m.To) != 1 || m.To[0].Server == "" {
		return fmt.Errorf("%w: upstream: want one server, got %v", hub.ErrUnknownServer, m.To)
	}
	to := m.To[0]
	address, ok := d.o.Addresses[to.Server]
	if !ok {
		address = string(to.Server)
	}
	if _, port, err := net.SplitHostPort(address); err != nil || port == "" {
		return fmt.Errorf("%w %q: want a name from the config, or host:port", hub.ErrUnknownServer, to.Server)
	}
	j := job{server: d.named[to.Server], receipt: m.Receipt, message: *m}
	out := *m
	out.To = nil
	if to.User != "" {
		out.To = []hub.Address{{User: to.User}}
	}
	frame := bformat.Begin(nil)
	frame, err := wire.AppendClassicServer(frame, &out)
	if err != nil {
		return err
	}
	j.frame = bformat.End(frame, 0)
	j.message.To, j.message.Data, j.message.Batch = nil, hub.Data{}, nil
	return d.add(address, j)
}

func (d *Direct) add(address string, j job) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closed {
		return fmt.Errorf("server %s: %w", j.server.label(address), hub.ErrClosed)
	}
	q := d.queues[address]
	if q == nil {
		if j.server == nil && len(d.queues) >= d.o.Servers {
			return fmt.Errorf("server %s: %w: messages wait for %d servers already", address, hub.ErrFull, len(d.queues))
		}
		q = &queue{address: address}
		d.queues[address] = q
		d.senders.Add(1)
		go d.serve(q)
	}
	if len(q.jobs) >= d.o.Queue || q.bytes+len(j.frame) > d.o.Bytes {
		return fmt.Errorf("server %s: %w: %d messages wait for it", j.server.label(address), hub.ErrFull, len(q.jobs))
	}
	j.server.queued()
	q.jobs = append(q.jobs, j)
	q.bytes += len(j.frame)
	return nil
}

// serve sends the messages of a queue until it is empty.
func (d *Direct) serve(q *queue) {
	defer d.senders.Done()
	for {
		j, ok := d.next(q)
		if !ok {
			return
		}
		reached, err := d.send(q.address, j.frame)
		var rest []job
		if !reached {
			rest = d.takeAll(q)
		}
		d.done(q, &j, err)
		for i := range rest { // each would wait as long for the same error
			d.done(q, &rest[i], err)
		}
	}
}

// next removes and returns the oldest message. If there is none, it removes the queue.
func (d *Direct) next(q *queue) (job, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(q.jobs) == 0 {
		delete(d.queues, q.address)
		return job{}, false
	}
	j := q.jobs[0]
	q.jobs[0] = job{}
	q.jobs = q.jobs[1:]
	q.bytes -= len(j.frame)
	return j, true
}

// takeAll removes and returns all messages of a queue.
func (d *Direct) takeAll(q *queue) []job {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := q.jobs
	q.jobs, q.bytes = nil, 0
	return all
}

// done counts a message and tells its receipt.
func (d *Direct) done(q *queue, j *job, err error) {
	if err != nil {
		d.failed.Add(1)
		err = fmt.Errorf("server %s: %w", j.server.label(q.address), explain(err))
	} else {
		d.sent.Add(1)
	}
	j.server.done(err)
	if j.receipt != nil {
		j.receipt.Done(&j.message, err)
	}
}

// send connects, sends one frame and waits for the server to close. It also reports
// whether the server could be reached.
func (d *Direct) send(address string, frame []byte) (reached bool, err error) {
	ctx, cancel := context.WithTimeout(d.ctx, d.o.Timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return false, err
	}
	defer conn.Close()
	unblock := context.AfterFunc(d.ctx, func() { conn.Close() })
	defer unblock()
	deadline, _ := ctx.Deadline()
	conn.SetDeadline(deadline)
	_, writeErr := conn.Write(frame)
	if half, ok := conn.(interface{ CloseWrite() error }); ok && writeErr == nil {
		half.CloseWrite() // if it fails, reading returns why
	}
	conn.SetReadDeadline(time.Now().Add(d.o.AnswerTimeout))
	in := bformat.NewReader(conn, maxAnswer)
	defer in.Release()
	if err := readStatus(in); err != nil { // counts first: a server may refuse before it has read everything
		return true, err
	}
	return true, writeErr
}

// maxAnswer is the longest answer, in bytes, that is read from a server.
const maxAnswer = 64 << 10

// readStatus reads the server's status of the message. The original sends none, so a close
// without an answer, and no answer in time, are success. A hub of ours sends a status if the
// message failed. A server that resets the connection has not read the message.
func readStatus(r *bformat.Reader) error {
	frame, err := r.Next()
	if errors.Is(err, syscall.ECONNRESET) {
		return err
	}
	if err != nil {
		return nil // closed, or no answer in time
	}
	good, reason, err := wire.ParseClassicStatus(frame)
	if err == nil && !good {
		return errors.New("refused: " + reason)
	}
	for err == nil { // wait until it closes: then it is ready for the next message
		_, err = r.Next()
	}
	return nil
}

// Shutdown refuses new messages and waits until the queued ones are sent. When ctx ends, the
// rest fail.
func (d *Direct) Shutdown(ctx context.Context) error {
	d.mu.Lock()
	d.closed = true
	d.mu.Unlock()
	done := make(chan struct{})
	go func() {
		d.senders.Wait()
		close(done)
	}()
	defer d.stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		d.mu.Lock()
		idle := len(d.queues) == 0
		d.mu.Unlock()
		d.stop()
		<-done
		if idle {
			return nil
		}
		return ctx.Err()
	}
}

// Stats counts messages since the start.
type Stats struct {
	Sent    uint64 `json:"sent"`    // servers have them
	Failed  uint64 `json:"failed"`  // a server could not be reached, or refused
	Waiting int    `json:"waiting"` // now
}

// Stats returns the counters as they are now.
func (d *Direct) Stats() Stats {
	d.mu.Lock()
	defer d.mu.Unlock()
	s := Stats{Sent: d.sent.Load(), Failed: d.failed.Load()}
	for _, q := range d.queues {
		s.Waiting += len(q.jobs)
	}
	return s
}
