package session

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// Options are what a Server is made with. Router is required.
type Options struct {
	Router *hub.Router
	// Hub is this hub's name, told to native peers.
	Hub string
	// Accounts is asked at each login. If nil, only trusted UNIX peers get in.
	Accounts Accounts
	// Handler serves a connection whose hello says that a handler process is on it,
	// and closes it; it returns when that has ended. If nil, handlers are refused.
	Handler func(Handshake)
	// MayBe checks that an account may be the handler of that name; the error, if any,
	// is what the process is told. If nil, every account that may serve the types in
	// its hello may have any name.
	MayBe func(name string, a *account.Account) error
	// Status answers the builtin command status with one JSON value. If nil, the
	// command is refused.
	Status func() []byte
	// Log takes one line for each event. If nil, nothing is logged.
	Log *slog.Logger
	// Limits are those of sessions that begin before the first SetLimits.
	Limits Limits
}

// Accounts are who may log in. account.Store is one.
type Accounts interface {
	Login(ctx context.Context, name hub.UserName, password string) (*account.Account, error)
	Lookup(name hub.UserName) *account.Account // nil if there is none
	ChangePassword(ctx context.Context, name hub.UserName, old, new string) error
}

// Handshake is a native connection of a handler process, of which the hello has
// been read and its right to serve has been checked.
type Handshake struct {
	Conn    net.Conn
	In      *bformat.Reader // has read the hello, and perhaps more
	Hello   *wire.Hello
	Account *account.Account // may serve all types in Hello
}

// Limits bound what a peer can make the hub spend. The zero value is the defaults.
type Limits struct {
	Login       time.Duration // a connection has this long to log in; if zero, 10 s
	Connections int           // open at once, logged in or not; if zero, 1024
	Frame       int           // bytes of a frame after the login (4 KiB before); if zero, 1 MiB
	Queue       int           // bytes that may wait to be written to one session; if zero, 256 KiB
	Full        bformat.Full  // what happens when they would be more; if zero, drop the oldest
	Write       time.Duration // a peer that takes nothing for so long is closed; if zero, 30 s
	Credits     int           // messages of one native session under way at once; if zero, 256
	// Peer says which addresses classic servers may connect from; if nil, none.
	Peer func(netip.Addr) bool
}

// loginFrame is the largest frame taken from a peer that has not logged in.
const loginFrame = 4 << 10

func (l Limits) filled() *Limits {
	fill(&l.Login, 10*time.Second)
	fill(&l.Connections, 1024)
	fill(&l.Frame, bformat.DefaultLimit)
	fill(&l.Queue, 256<<10)
	fill(&l.Write, 30*time.Second)
	fill(&l.Credits, 256)
	return &l
}

func fill[T comparable](p *T, value T) {
	var zero T
	if *p == zero {
		*p = value
	}
}

// A Server serves sessions on any number of listeners.
type Server struct {
	o      Options
	limits atomic.Pointer[Limits]
	stats  stats
	often  often

	mu        sync.Mutex
	listeners map[*Listener]bool
	sessions  map[*session]bool
	ending    bool
	conns     atomic.Int64
	serving   sync.WaitGroup // connections
	drained   sync.WaitGroup // sessions that may still put messages into the hub
}

// NewServer returns a Server without listeners.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		o:         o,
		listeners: make(map[*Listener]bool),
		sessions:  make(map[*session]bool),
	}
	s.limits.Store(o.Limits.filled())
	return s
}

// SetLimits sets the limits of the sessions that begin from now on.
func (s *Server) SetLimits(l Limits) { s.limits.Store(l.filled()) }

// Serve accepts connections until l is closed, and serves each on a goroutine of
// its own. It returns nil when l was closed on purpose.
func (s *Server) Serve(l *Listener) error {
	s.mu.Lock()
	if s.ending {
		s.mu.Unlock()
		l.Close()
		return nil
	}
	s.listeners[l] = true
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		delete(s.listeners, l)
		s.mu.Unlock()
	}()
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil { // out of descriptors, most likely: what is open goes on
			s.warn(&s.often.accept, "cannot accept connections", slog.String("listener", l.String()), slog.Any("err", err))
			time.Sleep(100 * time.Millisecond)
			continue
		}
		limits := s.limits.Load()
		if s.conns.Add(1) > int64(limits.Connections) {
			s.conns.Add(-1)
			s.stats.tooMany.Add(1)
			s.warn(&s.often.tooMany, "connection closed: too many; session.connections sets the limit", slog.Int("limit", limits.Connections), slog.String("peer", conn.RemoteAddr().String()))
			conn.Close()
			continue
		}
		s.stats.accepted.Add(1)
		s.serving.Add(1)
		go func() {
			defer s.conns.Add(-1)
			c := s.connection(l, conn, limits)
			c.done = sync.OnceFunc(s.serving.Done)
			defer c.done()
			c.serve()
		}()
	}
}

func (s *Server) connection(l *Listener, conn net.Conn, limits *Limits) *connection {
	keepAlive(conn)
	return &connection{
		server:  s,
		conn:    conn,
		trusted: l.trusted(conn),
		in:      bformat.NewReader(conn, loginFrame),
		out: bformat.NewQueue(conn, bformat.QueueOptions{
			Limit: limits.Queue, Full: limits.Full, Timeout: limits.Write,
			Dropped: func(frames, _ int) { s.stats.dropped.Add(uint64(frames)) },
		}),
		log:    s.o.Log.With("peer", conn.RemoteAddr().String()),
		limits: limits,
		since:  time.Now(),
	}
}

// often keeps what strangers can cause from filling the log: each kind of line
// comes at most once a second.
type often struct {
	accept, tooMany, closed, login, hello, malformed, peer lograte.Limiter
}

func (s *Server) warn(l *lograte.Limiter, text string, attrs ...slog.Attr) {
	l.Log(s.o.Log, slog.LevelWarn, text, attrs...)
}

// keepAlive finds out within about a minute that a peer has gone without a word.
func keepAlive(conn net.Conn) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		t.SetKeepAliveConfig(net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3})
	}
}

// enter makes a session known; false while the server shuts down.
func (s *Server) enter(n *session) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ending {
		return false
	}
	s.sessions[n] = true
	s.drained.Add(1)
	s.stats.logins.Add(1)
	return true
}

func (s *Server) left(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, n)
}

// login asks the accounts.
func (s *Server) login(ctx context.Context, user, password string) (*account.Account, error) {
	if s.o.Accounts == nil {
		return nil, account.ErrDenied
	}
	return s.o.Accounts.Login(ctx, hub.UserName(user), password)
}

// Listeners lists what Serve is accepting on.
func (s *Server) Listeners() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*Listener
	for l := range s.listeners {
		all = append(all, l)
	}
	return all
}

// Recheck puts the accounts as they are now into force for the sessions that are
// open: changed permissions count from the next message on, and a session whose
// account has gone is ended.
func (s *Server) Recheck() {
	if s.o.Accounts == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.sessions {
		if n.trusted {
			continue
		}
		if a := s.o.Accounts.Lookup(n.name); a != nil {
			n.account.Store(a)
		} else {
			n.log.Info("session ended: its account was removed")
			n.end()
		}
	}
}

// Shutdown closes the listeners and has every session answer what it has taken,
// write out what waits and close. It returns nil when all have, or ctx's error:
// then the rest have been cut off.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.ending = true
	for l := range s.listeners {
		l.Close()
	}
	for n := range s.sessions {
		n.end()
	}
	s.mu.Unlock()
	done := make(chan struct{})
	go func() {
		s.serving.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for n := range s.sessions {
		n.conn.Close()
	}
	return ctx.Err()
}

type stats struct {
	accepted, logins, denied, tooMany, tooLong, tooSlow, malformed, slow, dropped, panics atomic.Uint64
}

// Stats counts what came over the listeners since the start.
type Stats struct {
	Sessions  int    `json:"sessions"`            // logged in now
	Open      int    `json:"connections"`         // connections now
	Accepted  uint64 `json:"accepted"`            // connections
	Logins    uint64 `json:"logins"`              // sessions begun
	Denied    uint64 `json:"denied"`              // logins refused
	TooMany   uint64 `json:"too_many"`            // connections over Limits.Connections
	TooLong   uint64 `json:"frames_too_long"`     // connections closed for a frame over the limit
	TooSlow   uint64 `json:"logins_too_slow"`     // connections closed for not logging in in time
	Malformed uint64 `json:"malformed"`           // connections closed for what they sent
	Slow      uint64 `json:"slow_readers_closed"` // sessions closed for not reading
	Dropped   uint64 `json:"dropped"`             // deliveries dropped because a session's queue was full
	Panics    uint64 `json:"panics"`              // sessions ended by a bug in the hub
}

// Stats returns the counters as they are now.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	sessions := len(s.sessions)
	s.mu.Unlock()
	c := &s.stats
	return Stats{
		Sessions: sessions, Open: int(s.conns.Load()),
		Accepted: c.accepted.Load(), Logins: c.logins.Load(), Denied: c.denied.Load(),
		TooMany: c.tooMany.Load(), TooLong: c.tooLong.Load(), TooSlow: c.tooSlow.Load(),
		Malformed: c.malformed.Load(), Slow: c.slow.Load(), Dropped: c.dropped.Load(), Panics: c.panics.Load(),
	}
}
