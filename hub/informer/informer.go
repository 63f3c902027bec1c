// Package informer answers the queries of classic handlers about the hub, on a UNIX
// socket of its own: who is connected, and what the hub is.
//
// A request is one JSON frame, {"command":{"type":T,"data":D}}, and so is its answer. A
// connection may carry many. See hub/wire for the commands.
package informer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// Options configure a Server. Directory is required.
type Options struct {
	// Directory knows who is connected.
	Directory *hub.Directory
	// Listeners returns what the hub listens on, as "tcp4://127.0.0.1:2223".
	Listeners func() []string
	// Admin returns the operator's information about this hub: one JSON value, or nil.
	Admin func() []byte
	// IdleTimeout is how long a connection may be idle before it is closed. If zero, 5 min.
	IdleTimeout time.Duration
	// MaxConnections is how many may be open. If zero, 64.
	MaxConnections int
	// Log takes one line for each event. If nil, nothing is logged.
	Log *slog.Logger
}

// maxRequest is the longest request in bytes.
const maxRequest = 4 << 10

// A Server answers queries on any number of listeners.
type Server struct {
	o          Options
	logLimiter lograte.Limiter
	mu         sync.Mutex
	closers    map[io.Closer]bool // listeners and connections
	conns      int
	closed     bool
	wg         sync.WaitGroup
}

// NewServer returns a Server without listeners.
func NewServer(o Options) *Server {
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	if o.MaxConnections == 0 {
		o.MaxConnections = 64
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o, closers: make(map[io.Closer]bool)}
}

// Serve answers on l until l is closed, or Shutdown closes it, then returns nil.
func (s *Server) Serve(l net.Listener) error {
	if !s.register(l, 0) {
		l.Close()
		return nil
	}
	defer s.unregister(l, 0)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			s.logLimiter.Log(s.o.Log, slog.LevelWarn, "informer: cannot accept", slog.Any("err", err))
			time.Sleep(100 * time.Millisecond) // out of descriptors, most likely
			continue
		}
		if !s.register(conn, 1) {
			conn.Close()
			s.logLimiter.Log(s.o.Log, slog.LevelWarn, "informer: connection closed: too many", slog.Int("limit", s.o.MaxConnections))
			continue
		}
		go func() {
			defer s.unregister(conn, 1)
			if err := s.serve(conn); err != nil {
				s.logLimiter.Log(s.o.Log, slog.LevelWarn, "informer: connection closed", slog.Any("err", err))
			}
		}()
	}
}

// register adds what Shutdown has to close; n is 1 for a connection, 0 for a listener. It
// returns false if the server is closed or has too many connections.
func (s *Server) register(c io.Closer, n int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.conns+n > s.o.MaxConnections {
		return false
	}
	s.conns += n
	s.closers[c] = true
	s.wg.Add(1)
	return true
}

func (s *Server) unregister(c io.Closer, n int) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns -= n
	delete(s.closers, c)
	s.wg.Done()
}

// serve answers one connection's requests until it closes.
func (s *Server) serve(conn net.Conn) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a bug in the hub; please report it: %v\n%s", p, debug.Stack())
		}
	}()
	in := bformat.NewReader(conn, maxRequest)
	defer in.Release()
	var out []byte
	for {
		conn.SetDeadline(time.Now().Add(s.o.IdleTimeout))
		frame, err := in.Next()
		if err == io.EOF || errors.Is(err, net.ErrClosed) || errors.Is(err, os.ErrDeadlineExceeded) {
			return nil
		}
		if err != nil {
			return err
		}
		var closes bool
		out, closes = s.answer(bformat.Begin(out[:0]), frame)
		if _, err := conn.Write(bformat.End(out, 0)); err != nil {
			return err
		}
		if closes {
			return nil
		}
	}
}

// answer appends the answer to one request. closes reports whether it is the last one.
func (s *Server) answer(dst, frame []byte) (out []byte, closes bool) {
	q, err := wire.ParseInformerRequest(frame)
	if err != nil {
		return wire.AppendInformerError(dst), errors.Is(err, wire.ErrMalformed)
	}
	switch q.Command {
	case "listClients":
		return wire.AppendInformerUsers(dst, s.o.Directory.Users()), false
	case "isClient":
		if !q.Named {
			return wire.AppendInformerNone(dst, false), false
		}
		return wire.AppendInformerBool(dst, len(s.o.Directory.Sessions(q.Name)) > 0), false
	case "serverInfo":
		return wire.AppendInformerServer(dst, s.info()), false
	case "quit":
		return wire.AppendInformerNone(dst, true), true
	}
	return wire.AppendInformerNone(dst, false), false
}

func (s *Server) info() *wire.ServerInfo {
	i := &wire.ServerInfo{Clients: len(s.o.Directory.Users())}
	if s.o.Admin != nil {
		i.Admin = s.o.Admin()
	}
	if s.o.Listeners != nil {
		i.Listeners = s.o.Listeners()
	}
	return i
}

// Shutdown closes the listeners and connections and waits for their goroutines, or
// until ctx ends.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closed = true
	for c := range s.closers {
		c.Close()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	select {
	case <-done: // nothing was left to wait for
		return nil
	default:
		return ctx.Err()
	}
}
