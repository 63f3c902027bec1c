package session

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// Options are the options of a Server. Router is required.
type Options struct {
	// Router gets the messages of the sessions; its Directory gets the sessions.
	Router *hub.Router
	// Hub is this hub's name, told to native peers.
	Hub string
	// Accounts is asked at each login. If nil, only UNIX peers with trusted
	// credentials get in: see ListenOptions.
	Accounts Accounts
	// Handler serves and closes the connection of a handler process, as its hello
	// identifies it; it returns when the connection has ended. Shutdown does not wait
	// for it. If nil, handlers are refused.
	Handler func(HandlerConn)
	// AuthorizeHandler checks that an account may be the handler of that name; the
	// process is told the error, if any. If nil, every account that may serve the types
	// in its hello may use any name.
	AuthorizeHandler func(name string, a *account.Account) error
	// Status answers the builtin command status with one JSON value. If nil, the
	// command is refused.
	Status func() []byte
	// Log takes one line for each event. If nil, nothing is logged.
	Log *slog.Logger
	// Limits apply to the connections that are accepted before the first SetLimits.
	Limits Limits
}

// Accounts are who may log in. account.Store is one.
type Accounts interface {
	// LoginFrom checks a login, which may wait for its turn to be hashed. It returns the
	// account and the token for the next login, "" if there is none. The error is
	// account.ErrDenied, or another one if the login may succeed later.
	LoginFrom(ctx context.Context, r account.LoginRequest) (a *account.Account, token string, err error)
	// Cached returns the account if the token is good or the password was checked lately and
	// found right, or nil.
	Cached(r account.LoginRequest) *account.Account
	// Lookup returns the account as it is now, or nil if there is none.
	Lookup(name hub.UserName) *account.Account
	// ChangePassword sets a new password. The error is account.ErrDenied if old is wrong.
	ChangePassword(ctx context.Context, name hub.UserName, old, new string) error
}

// HandlerConn is a native connection of a handler process whose hello has been read and
// whose permission to serve has been checked.
type HandlerConn struct {
	Conn    net.Conn         // which Options.Handler closes
	In      *bformat.Reader  // has read the hello, and perhaps more
	Hello   *wire.Hello      // its Token is the one to answer it with
	Account *account.Account // may serve all types in Hello
	// Rights are those of the account as it is when they are asked for; nil if the
	// operating system authenticates the process (peer credentials), which may do everything then.
	Rights hub.Rights
}

// Limits bound the resources that a peer can use. The zero value is the defaults. A
// connection keeps the limits that were in force when it was accepted.
type Limits struct {
	LoginTimeout     time.Duration          // a connection has this long to log in; if zero, 10 s
	MaxConnections   int                    // open at once, logged in or not, and a quarter more for peers with trusted credentials; a sixteenth is kept for logins of administrators; if zero, 1024
	MaxPerAccount    int                    // sessions of one account, but for administrators and peers with trusted credentials; if zero, a quarter of MaxConnections, but at least 4
	MaxFrame         int                    // bytes of a frame after the login (4 KiB before); if zero, 1 MiB
	QueueBytes       int                    // bytes that may wait to be written to one session; if zero, 256 KiB
	Overflow         bformat.OverflowPolicy // what happens when they would be more; if zero, drop the oldest
	WriteTimeout     time.Duration          // a peer that reads nothing, or stalls in a frame, for so long is closed; if zero, 30 s
	Credits          int                    // messages of one native session in flight; if zero, 256
	MaxSubscriptions int                    // of one session; if zero, 256
	LoginFailures    int                    // failed logins of one account from one address in a minute until they are throttled; if zero, 10
	Rate             Rate                   // of what one account may send, in all its sessions; over it, it is read more slowly
	TotalRate        Rate                   // of what all sessions together may send
	// Memory is how many bytes all connections together may hold for frames that are being
	// read, if they are over 56 KiB or have stopped after more than 512 bytes, and for each
	// session's waiting frames, and frames being written, over 8 KiB each. No connection gets
	// more than what is then left for all others. If too little is left, frames that have
	// stopped give way, or a frame is refused, and its connection is closed; and a queue counts
	// as full, but always holds 32 KiB while nothing is being written. A change applies to all
	// connections at once. Memory should be several times MaxFrame. If zero, 32 MiB.
	Memory int
	// SocketBuffer is how many bytes the system may keep that were written to a connection on a
	// UNIX socket and are not read; it takes twice as much memory for them. If zero, what the
	// system has by default, mostly 208 KiB. It counts for new connections.
	SocketBuffer int
	// MayPeer says which addresses classic servers may connect from; if nil, none.
	MayPeer func(netip.Addr) bool
	// MayUseOrigin says which hubs and servers, beside itself, a peer account may say that a
	// message comes from; if nil, none. It counts at once for all connections.
	MayUseOrigin func(account, name string) bool
}

// Cost and CostTLS are the memory in bytes that a connection takes, apart from Memory: its
// goroutines, structures, the small buffers that are exempt from Memory, and for TLS the
// buffers and keys of crypto/tls. MaxConnections of them should fit into what there is.
const (
	Cost    = 40 << 10
	CostTLS = 72 << 10
)

// maxLoginFrame is the largest frame accepted from a peer that has not logged in.
const maxLoginFrame = 4 << 10

// WithDefaults returns l with its defaults in place of zeros.
func (l Limits) WithDefaults() Limits {
	l.LoginTimeout = cmp.Or(l.LoginTimeout, 10*time.Second)
	l.MaxConnections = cmp.Or(l.MaxConnections, 1024)
	l.MaxPerAccount = cmp.Or(l.MaxPerAccount, max(l.MaxConnections/4, 4))
	l.MaxFrame = cmp.Or(l.MaxFrame, bformat.DefaultLimit)
	l.QueueBytes = cmp.Or(l.QueueBytes, 256<<10)
	l.WriteTimeout = cmp.Or(l.WriteTimeout, 30*time.Second)
	l.Credits = cmp.Or(l.Credits, 256)
	l.MaxSubscriptions = cmp.Or(l.MaxSubscriptions, 256)
	l.LoginFailures = cmp.Or(l.LoginFailures, 10)
	l.Memory = cmp.Or(l.Memory, 32<<20)
	return l
}

// A Server serves sessions on any number of listeners.
type Server struct {
	o           Options
	limits      atomic.Pointer[Limits]
	stats       stats
	orderKeys   atomic.Uint64 // last order key given to a classic connection
	logLimiters logLimiters
	started     time.Time
	memory      *bformat.Budget
	throttle    loginThrottle
	deliveries  deliveryCounters
	rate        totalRate
	descriptors descriptorReserve
	oneCore     atomic.Bool     // see sampleCores
	ctx         context.Context // ends when Shutdown begins
	cancel      context.CancelFunc

	recheckMu           sync.Mutex // held while a session is checked against the accounts
	mu                  sync.Mutex
	listeners           map[*Listener]bool
	open                map[*connection]*session // nil: not logged in
	evicting            int                      // of those, evicted ones that are not closed yet
	sessions            int                      // of those, without the handed off
	counted             int                      // sessions, without those of administrators and peers with trusted credentials
	perAccount          map[hub.UserName]int     // of those counted
	subscriptions       subscriptionCount
	subscriptionsOf     map[hub.UserName]subscriptionCount // by account
	serving             int                                // connections that Shutdown waits for
	undrained           int                                // sessions that may still put messages into the hub
	shuttingDown        bool
	stallCheckScheduled bool          // a timer will call checkStalled
	reclaimFailed       time.Duration // when findVictims found too little last, from started on; 0: it did not
	allDrained          chan struct{} // closed at a shutdown, when undrained is 0
	released            chan struct{} // closed by Shutdown: sessions need not stay open for others' messages
	allClosed           chan struct{} // closed when serving is 0
}

// NewServer returns a Server without listeners.
func NewServer(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{
		o:          o,
		started:    time.Now(),
		listeners:  make(map[*Listener]bool),
		open:       make(map[*connection]*session),
		perAccount: make(map[hub.UserName]int),

		subscriptionsOf: make(map[hub.UserName]subscriptionCount),

		allDrained: make(chan struct{}),
		released:   make(chan struct{}),
		allClosed:  make(chan struct{}),
	}
	s.deliveries.log = o.Log
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.descriptors.open = openNull
	s.memory = bformat.NewBudget(0)
	s.memory.SetReclaim(s.reclaim)
	s.setLimits(o.Limits)
	return s
}

// SetLimits sets the limits of the connections accepted from now on; Memory applies to all.
func (s *Server) SetLimits(l Limits) {
	s.setLimits(l)
	s.descriptors.fill()
}

func (s *Server) setLimits(l Limits) {
	f := l.WithDefaults()
	s.limits.Store(&f)
	s.memory.SetLimit(f.Memory)
}

// Serve accepts connections until l is closed, and serves each on a goroutine of
// its own. It returns nil when l was closed on purpose.
func (s *Server) Serve(l *Listener) error {
	if !s.addListener(l) {
		l.Close()
		return nil
	}
	defer s.removeListener(l)
	s.descriptors.fill()
	released := false // a descriptor of the reserve is, or was, for the next connection
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if outOfDescriptors(err) && !released && s.descriptors.release() {
			released = true
			continue
		}
		if err != nil { // open connections go on
			released = false
			s.warn(&s.logLimiters.accept, "cannot accept connections", slog.String("listener", l.String()), slog.Any("err", err))
			select {
			case <-time.After(100 * time.Millisecond):
			case <-s.ctx.Done():
			}
			continue
		}
		c := s.newConnection(l, conn)
		if released {
			released = false
			if !s.descriptors.fill() && !c.mayUsePeerCredentials {
				s.stats.noDescriptors.Add(1)
				c.warn(&s.logLimiters.accept, "connection closed: no descriptors are left but for the hub's own user",
					slog.String("remedy", "raise the limit (LimitNOFILE=, ulimit -n), or lower session.connections"))
				c.abort()
				s.descriptors.fill()
				continue
			}
		}
		victim, err := s.admit(c)
		if victim != nil {
			s.stats.loginsEvicted.Add(1)
			victim.warnFor(&s.logLimiters.tooMany, victim.address.String(), "connection closed: it has not logged in, and another needs its place",
				slog.Int("limit", c.limits.MaxConnections))
			victim.abort()
		}
		switch {
		case err == errTooMany:
			s.stats.tooMany.Add(1)
			c.warn(&s.logLimiters.tooMany, "connection closed: too many; session.connections sets the limit", slog.Int("limit", c.limits.MaxConnections))
			c.abort()
		case err != nil:
			c.abort()
		default:
			s.stats.accepted.Add(1)
			go c.serve()
		}
	}
}

// addListener adds a listener; it reports false while the server shuts down.
func (s *Server) addListener(l *Listener) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.shuttingDown {
		s.listeners[l] = true
	}
	return !s.shuttingDown
}

func (s *Server) removeListener(l *Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, l)
}

var errTooMany = errors.New("too many connections")

// logLimiters limit the rate of log lines that any peer can cause: each kind is logged at
// most once a second.
type logLimiters struct {
	accept, tooMany, closed, login, hello, malformed, peer, slowReaders, password, memory, stalled, loginsThrottled, sendsDenied, origins, sendsSlowed, panics lograte.Limiter
}

func (s *Server) warn(l *lograte.Limiter, text string, attrs ...slog.Attr) {
	l.Log(s.o.Log, slog.LevelWarn, text, attrs...)
}

// warnFor is warn for lines that are limited for each subject by itself.
func (s *Server) warnFor(l *lograte.Limiter, subject, text string, attrs ...slog.Attr) {
	l.LogFor(s.o.Log, slog.LevelWarn, subject, text, attrs...)
}

// Listeners returns the listeners that Serve accepts on, in no order.
func (s *Server) Listeners() []*Listener {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Collect(maps.Keys(s.listeners))
}
