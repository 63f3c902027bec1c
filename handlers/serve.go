package handlers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/tristanable"
	"github.com/besterhub/bester/hub/wire"
)

// A message takes this path through Serve:
//
//  1. readLoop reads a frame and decodes the message; its data stays in the frame.
//  2. With a concurrency of 1, readLoop calls the handler itself. Otherwise it copies
//     the message for the worker of its ordering key (sender and type), and the worker
//     calls the handler.
//  3. The handler's commands are encoded into a reply as the handler gives them.
//  4. Done puts the reply into the outgoing queue. The queue is flushed when there is
//     no more input, or after maxFlushDelay.

// Options are the options of Serve. The zero value works.
type Options struct {
	// Name tells the hub which handler this is. Processes of the same name share the
	// work. If empty, the types serve as the name.
	Name string
	// User and Password are those of the account to serve as. If empty, the hub must
	// authenticate the process by its socket's peer credentials, as it does on its own
	// UNIX socket for its own user.
	User, Password string
	// Token is what an earlier login with this User and Password has given to KeepToken. If
	// the hub still takes it, it need not check the password, which is costly. If empty,
	// or not taken, the password is checked.
	Token string
	// KeepToken is called with the token for the next login, if the hub gives one, before
	// Ready. If nil, it is discarded.
	KeepToken func(token string)
	// Concurrency is how many messages are handled at once. Those of one sender and
	// one type are always handled one after the other. If zero, 1.
	Concurrency int
	// Credits is how many messages the hub may send ahead of their answers, at most
	// 4096. If zero, 64.
	Credits int
	// MaxFrame is the longest frame, in bytes, that the hub may send. If zero, 1 MiB.
	MaxFrame int
	// Grace is the grace period: how long the hub has to close the connection after the
	// context has ended. If zero, 10 s.
	Grace time.Duration
	// Keepalive is how long nothing may come from the hub until it is pinged. If it does not
	// answer within as long again, Serve returns. If zero, 30 s; if negative, the hub is not
	// pinged.
	Keepalive time.Duration
	// Log gets what the operator should know. If nil, nothing is logged.
	Log *slog.Logger
	// Ready is called once the hub has accepted the handler. If nil, nothing is called.
	Ready func()
}

// ErrRefused is wrapped by the error of Serve if the hub did not accept the login. That
// error also wraps the hub's reason (hub.ErrDenied and so on).
var ErrRefused = errors.New("refused by the hub")

// pingTag is the tag of pings to the hub. Its answer, a status, is not looked into.
const pingTag = 1

// loginTimeout is how long the hub may take to answer the hello.
const loginTimeout = 10 * time.Second

// Serve serves the hub at the other end of c with h, as the handler of these types, and
// closes c. It returns nil when ctx has ended or the hub has said goodbye, after the
// messages in flight have been answered. Otherwise it returns why the connection ended;
// that error wraps ErrRefused if the login failed. Detached answers that are not done by
// then are discarded.
//
// Messages and their data are borrowed, as hub.Handler says, and must not be written to.
// A Pass of a message's own data is sent without the data, and the hub passes on the
// sender's bytes unchanged. Serve allocates nothing per message in steady state.
func Serve(ctx context.Context, c net.Conn, h hub.Handler, types []string, o Options) error {
	s := newServer(c, h, o)
	written := make(chan struct{})
	go func() {
		defer close(written)
		s.out.Run()
		c.Close()
	}()
	defer func() {
		c.Close()
		s.out.Fail(net.ErrClosed)
		<-written
		s.in.Release()
		s.flushTimer.Stop()
	}()
	hello := wire.Hello{
		Version: wire.Version, Role: wire.RoleHandler, User: s.o.User, Password: s.o.Password, Token: s.o.Token,
		Name: s.o.Name, Types: types, Credits: s.o.Credits, MaxFrame: s.o.MaxFrame,
	}
	s.out.End(wire.AppendHello(s.out.Begin(), &hello), bformat.Required)
	s.out.Flush()
	if err := s.login(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if s.o.Ready != nil {
		s.o.Ready()
	}

	if s.o.Keepalive > 0 {
		s.keepalive.Start()
		defer s.keepalive.Stop()
	}
	s.startWorkers()
	defer s.stopWorkers()
	stop := context.AfterFunc(ctx, s.sendGoodbye)
	defer stop()
	err := s.readLoop()
	if s.closing.Load() || ctx.Err() != nil {
		return nil
	}
	switch {
	case s.keepalive.Expired():
		err = errors.New("the hub does not answer: its machine or the network no longer responds")
	case errors.Is(err, io.EOF):
		err = errors.New("the hub closed it")
	}
	return fmt.Errorf("handlers: connection: %w", err)
}

// A server is one connection to the hub.
type server struct {
	h        hub.Handler
	o        Options
	conn     net.Conn
	in       *bformat.Reader
	out      *bformat.Queue
	maxFrame int // the longest frame that the hub accepts

	dec     wire.Decoder // readLoop's
	batch   hub.Batch    // readLoop's
	m       hub.Message  // readLoop's
	workers []*worker    // none if the concurrency is 1

	replies      sync.Pool
	flushPending atomic.Bool // a batch or flushTimer will flush out
	flushTimer   *time.Timer // bounds the delay until out is flushed
	closing      atomic.Bool // one side has said goodbye
	panics       lograte.Limiter
	keepalive    tristanable.Keepalive
}

func newServer(c net.Conn, h hub.Handler, o Options) *server {
	o.Concurrency = max(o.Concurrency, 1)
	if o.Credits <= 0 {
		o.Credits = 64
	}
	o.Credits = min(o.Credits, 4096)
	if o.MaxFrame <= 0 {
		o.MaxFrame = bformat.DefaultLimit
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.Keepalive == 0 {
		o.Keepalive = 30 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{h: h, o: o, conn: c, in: bformat.NewReader(c, o.MaxFrame)}
	// The credits bound the queue: the hub has no more messages in flight than that.
	s.out = bformat.NewQueue(c, bformat.QueueOptions{Limit: bformat.MaxPayload / 4})
	s.keepalive.Interval, s.keepalive.SetReadDeadline = o.Keepalive, c.SetReadDeadline
	s.keepalive.Ping = func() {
		s.out.End(wire.AppendPing(s.out.Begin(), pingTag), bformat.Droppable(0))
		s.out.Flush()
	}
	s.replies.New = func() any { return newReply(s) }
	s.flushTimer = time.AfterFunc(time.Hour, s.Flush)
	s.flushTimer.Stop()
	return s
}

// login waits for the hub's hello.
func (s *server) login(ctx context.Context) error {
	s.conn.SetReadDeadline(time.Now().Add(loginTimeout))
	// The hub may have accepted the login and be sending already, so the end of ctx only
	// shortens the wait.
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Now().Add(min(s.o.Grace, loginTimeout))) })
	defer stop()
	for {
		frame, err := s.in.Next()
		if err != nil {
			return fmt.Errorf("handlers: hello: %w: %w", ErrRefused, err)
		}
		tag, kind, body, err := wire.Cut(frame)
		if err == nil && tag != 0 {
			err = fmt.Errorf("first frame under tag %d", tag)
		}
		if err != nil {
			return fmt.Errorf("handlers: hello: not a hub's: %w", err)
		}
		switch kind {
		case wire.KindHello:
			hello, err := wire.ParseHello(body)
			if err != nil {
				return fmt.Errorf("handlers: hello: %w", err)
			}
			if s.maxFrame = hello.MaxFrame; s.maxFrame <= 0 {
				s.maxFrame = bformat.DefaultLimit
			}
			if hello.Token != "" && s.o.KeepToken != nil {
				s.o.KeepToken(hello.Token)
			}
			s.conn.SetReadDeadline(time.Time{})
			return nil
		case wire.KindStatus:
			if err := wire.ParseStatus(body); err != nil {
				return fmt.Errorf("handlers: %w: %w", ErrRefused, err)
			}
		}
	}
}

// sendGoodbye tells the hub that ctx has ended, and ends the connection after the grace
// period.
func (s *server) sendGoodbye() {
	s.keepalive.Stop() // the read deadline is now that of the grace period
	s.closing.Store(true)
	s.out.End(wire.AppendGoodbye(s.out.Begin(), "the handler is stopping"), bformat.Required)
	s.out.Flush()
	s.conn.SetReadDeadline(time.Now().Add(s.o.Grace))
}

// readLoop acts on frames until the connection ends, and returns the reason.
func (s *server) readLoop() error {
	s.in.SetIdle(func() {
		s.batch.Flush()
		s.keepalive.Waiting()
	})
	for {
		frame, err := s.in.Next()
		if err != nil {
			return err
		}
		tag, kind, body, err := wire.Cut(frame)
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindHandle:
			if err := s.dec.Message(body, &s.m); err != nil {
				s.reply(tag, nil).Done(nil, err)
			} else if len(s.workers) > 0 {
				s.dispatch(tag, &s.m)
			} else {
				s.handle(tag, &s.m, &s.batch)
			}
		case wire.KindPing:
			if tag != 0 {
				s.out.End(wire.AppendStatus(s.out.Begin(), tag, nil), bformat.Droppable(0))
				s.out.Flush()
			}
		case wire.KindStatus:
			if err := wire.ParseStatus(body); err != nil && tag == 0 {
				return err
			}
		case wire.KindGoodbye:
			s.closing.Store(true)
		}
	}
}

// handle calls the handler with one message.
func (s *server) handle(tag uint64, m *hub.Message, b *hub.Batch) {
	m.Batch = b
	r := s.reply(tag, m)
	generation := r.generation.Load()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(r, generation, v)
		}
	}()
	s.h.Handle(r.answer.Message(), r.answer)
}

// panicked fails the message whose handler has panicked, unless it was already answered.
func (s *server) panicked(r *reply, generation uint64, v any) {
	s.panics.Log(s.o.Log, slog.LevelError, "handler panicked", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	tag := r.tag
	if !r.generation.CompareAndSwap(generation, generation+1) {
		return
	}
	r.abandoned.Store(true) // never reused: the handler may still hold it
	var e wire.AnswerEncoder
	e.Begin(nil, tag)
	s.send(e.End(fmt.Errorf("panic: %v", v)), nil)
}

// maxFlushDelay is how long an answer may wait in the queue to be written together with
// others. Without this bound a slow handler would delay the answers to earlier messages.
const maxFlushDelay = time.Millisecond

// send queues a payload.
func (s *server) send(payload []byte, b *hub.Batch) {
	s.out.Put(bformat.Required, payload)
	if s.flushPending.CompareAndSwap(false, true) {
		b.Add(s)
		s.flushTimer.Reset(maxFlushDelay)
	}
}

// Flush writes what is queued.
func (s *server) Flush() {
	s.flushPending.Store(false)
	s.out.Flush()
}
