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

// The way of a message through Serve:
//
//  1. readLoop reads a frame and decodes the message; its data stays in the frame.
//  2. With a concurrency of 1 the handler is called right there. Else the message is
//     copied for the lane of its sender and type, whose goroutine calls the handler.
//  3. What the handler wants done is encoded into a reply as it says it.
//  4. Done puts the reply on the way out, which is flushed when the input has run dry.

// Options are the options of Serve. The zero value works.
type Options struct {
	// Name says to the hub which handler this is: processes of one name share the
	// work. If empty, the types are its name.
	Name string
	// User and Password are those of the account to serve as. If empty, the socket must
	// vouch for the process, as a hub's own UNIX socket does for its own user.
	User, Password string
	// Concurrency is how many messages are handled at once. Those of one sender and
	// one type are always handled one after the other. If zero, 1.
	Concurrency int
	// Credits is how many messages the hub may send ahead of their answers, at most
	// 4096. If zero, 64.
	Credits int
	// Frame is the longest frame, in bytes, that the hub may send. If zero, 1 MiB.
	Frame int
	// Grace is how long, after the context has ended, the hub has time to let go. If zero, 10 s.
	Grace time.Duration
	// Log gets what the operator should know. If nil, nothing is logged.
	Log *slog.Logger
	// Ready is called once the hub has taken the handler in. If nil, nothing is called.
	Ready func()
}

// ErrRefused is wrapped by the error of a Serve that the hub did not let in; the error
// also wraps the hub's reason (hub.ErrDenied and so on).
var ErrRefused = errors.New("refused by the hub")

// loginTime is how long the hub may take to answer the hello.
const loginTime = 10 * time.Second

// Serve serves the hub at the other end of c with h, as the handler of these types, and
// closes c. It returns nil when ctx has ended or the hub has said goodbye, after what it
// was given has been answered; else why the connection ended, an error that wraps
// ErrRefused if it never began. Answers that are detached and not done by then go nowhere.
//
// Messages and their data are borrowed, as hub.Handler says, and not to be written to: Pass
// of a message's own data is sent as a word that it may go on as it is, so that the
// sender's bytes are kept. Nothing is allocated per message in steady state.
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
		s.late.Stop()
	}()
	hello := wire.Hello{
		Version: wire.Version, Role: wire.RoleHandler, User: s.o.User, Password: s.o.Password,
		Name: s.o.Name, Types: types, Credits: s.o.Credits, Frame: s.o.Frame,
	}
	s.out.End(wire.AppendHello(s.out.Begin(), &hello), false)
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

	s.startLanes()
	defer s.stopLanes()
	stop := context.AfterFunc(ctx, s.goodbye)
	defer stop()
	err := s.readLoop()
	if s.bye.Load() || ctx.Err() != nil {
		return nil
	}
	if errors.Is(err, io.EOF) {
		err = errors.New("the hub closed it")
	}
	return fmt.Errorf("handlers: connection: %w", err)
}

// A server is one connection to the hub.
type server struct {
	h    hub.Handler
	o    Options
	conn net.Conn
	in   *bformat.Reader
	out  *bformat.Queue
	most int // the longest frame that the hub takes

	dec   wire.Decoder // readLoop's
	batch hub.Batch    // readLoop's
	m     hub.Message  // readLoop's
	lanes []*lane      // none if the concurrency is 1

	replies sync.Pool
	touched atomic.Bool // on the batch of somebody who will flush it
	late    *time.Timer // flushes it where that takes long
	bye     atomic.Bool // one side has said goodbye
	panics  lograte.Limiter
}

func newServer(c net.Conn, h hub.Handler, o Options) *server {
	o.Concurrency = max(o.Concurrency, 1)
	if o.Credits <= 0 {
		o.Credits = 64
	}
	o.Credits = min(o.Credits, 4096)
	if o.Frame <= 0 {
		o.Frame = bformat.DefaultLimit
	}
	if o.Grace <= 0 {
		o.Grace = 10 * time.Second
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &server{h: h, o: o, conn: c, in: bformat.NewReader(c, o.Frame)}
	// The hub asks for no more answers at a time than it has credits; that is the bound.
	s.out = bformat.NewQueue(c, bformat.QueueOptions{Limit: bformat.MaxPayload / 4})
	s.replies.New = func() any { return newReply(s) }
	s.late = time.AfterFunc(time.Hour, s.Flush)
	s.late.Stop()
	return s
}

// login waits for the hub's hello.
func (s *server) login(ctx context.Context) error {
	s.conn.SetReadDeadline(time.Now().Add(loginTime))
	// The hub may have let it in and be sending already: ctx only shortens the wait.
	stop := context.AfterFunc(ctx, func() { s.conn.SetReadDeadline(time.Now().Add(min(s.o.Grace, loginTime))) })
	defer stop()
	for {
		frame, err := s.in.Next()
		if err != nil {
			return fmt.Errorf("handlers: hello: %w: %w", ErrRefused, err)
		}
		tag, kind, body, err := cut(frame)
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
			if s.most = hello.Frame; s.most <= 0 {
				s.most = bformat.DefaultLimit
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

// goodbye tells the hub that ctx has ended, and sees to it that the connection does too.
func (s *server) goodbye() {
	s.bye.Store(true)
	s.out.End(wire.AppendGoodbye(s.out.Begin(), "the handler is stopping"), false)
	s.out.Flush()
	s.conn.SetReadDeadline(time.Now().Add(s.o.Grace))
}

// cut takes a frame's payload apart.
func cut(frame []byte) (tag uint64, kind wire.Kind, body []byte, err error) {
	tag, rest, err := tristanable.Cut(frame)
	if err != nil {
		return 0, 0, nil, err
	}
	kind, body, err = wire.CutKind(rest)
	return tag, kind, body, err
}

// readLoop acts on frames until the connection ends, and says why it did.
func (s *server) readLoop() error {
	s.in.SetIdle(s.batch.Flush)
	for {
		frame, err := s.in.Next()
		if err != nil {
			return err
		}
		tag, kind, body, err := cut(frame)
		if err != nil {
			return err
		}
		switch kind {
		case wire.KindHandle:
			if err := s.dec.Message(body, &s.m); err != nil {
				s.reply(tag, nil).Done(nil, err)
			} else if len(s.lanes) > 0 {
				s.dispatch(tag, &s.m)
			} else {
				s.handle(tag, &s.m, &s.batch)
			}
		case wire.KindPing:
			if tag != 0 {
				s.out.End(wire.AppendStatus(s.out.Begin(), tag, nil), true)
				s.out.Flush()
			}
		case wire.KindStatus:
			if err := wire.ParseStatus(body); err != nil && tag == 0 {
				return err
			}
		case wire.KindGoodbye:
			s.bye.Store(true)
		}
	}
}

// handle calls the handler with one message.
func (s *server) handle(tag uint64, m *hub.Message, b *hub.Batch) {
	m.Batch = b
	r := s.reply(tag, m)
	life := r.life.Load()
	defer func() {
		if v := recover(); v != nil {
			s.panicked(r, life, v)
		}
	}()
	s.h.Handle(r.answer.Message(), r.answer)
}

// panicked fails the message whose handler has panicked, unless it had been answered.
func (s *server) panicked(r *reply, life uint64, v any) {
	s.panics.Log(s.o.Log, slog.LevelError, "handler panicked", slog.Any("panic", v), slog.String("stack", string(debug.Stack())))
	tag := r.tag
	if !r.life.CompareAndSwap(life, life+1) {
		return
	}
	r.dead.Store(true) // nobody gets it again: the handler may still hold on to it
	var e wire.AnswerEncoder
	e.Begin(nil, tag)
	s.send(e.End(fmt.Errorf("panic: %v", v)), nil)
}

// maxDelay is how long an answer may wait for others to go out with it: a handler that
// takes its time with one message must not hold back the answers to others.
const maxDelay = time.Millisecond

// send puts a payload on the way out.
func (s *server) send(payload []byte, b *hub.Batch) {
	s.out.Put(false, payload)
	if s.touched.CompareAndSwap(false, true) {
		b.Add(s)
		s.late.Reset(maxDelay)
	}
}

// Flush sends what has been gathered.
func (s *server) Flush() {
	s.touched.Store(false)
	s.out.Flush()
}
