package hub

import (
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"maps"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// MaxHops is the default limit of hops of one message.
const MaxHops = 16

// MaxDispatches limits how often one message and the messages derived from it may be
// sent to handlers with sendHandler. MaxHops bounds the length of a loop, MaxDispatches
// its fan-out.
const MaxDispatches = 1000

// RouterOptions configure a Router. The zero value works.
type RouterOptions struct {
	// Name is this hub's name: the origin of the messages that it gives an ID.
	Name string
	// Directory maps users and servers to sinks. If nil, a new, empty one is used.
	Directory *Directory
	// MaxHops is how often handlers may forward one message with sendHandler before it
	// is refused. If zero, the constant MaxHops.
	MaxHops int
	// OnHops is told of each message that was refused for too many hops, by this hub or by
	// a server it was sent to: the message without its data, and the pattern of the route
	// that its type has here, "" if none. It may be called from any goroutine. If nil,
	// nobody is told.
	OnHops func(m *Message, route Pattern, err error)
	// Log gets the stack of a handler in this process that panics. If nil, nothing is logged.
	Log *slog.Logger
}

// A Router is the Sink that takes every message of the hub. It routes a message by
// its type:
//
//  1. Put looks up the type's pipeline: that of a route, or of a single handler.
//  2. The message goes through the handlers of the pipeline, one after the other.
//     Each answers with commands (Answer). A handler that passes the message on
//     lets the route decide where it goes next.
//  3. After the last handler the message is delivered to the route's receivers or,
//     if there is no route, to the recipients that the sender named.
//  4. When all commands of the handlers are done, the sender's Receipt is notified.
//
// A message of a type that nobody serves goes to the recipients that its sender
// named. If there are none, it goes to the subscribers of the type, and if there are none
// either, it is refused with ErrNoHandler.
type Router struct {
	directory *Directory
	maxHops   int
	log       *slog.Logger
	name      string
	onHops    func(m *Message, route Pattern, err error)
	lastID    atomic.Uint64 // of the last message given an ID
	answers   sync.Pool
	stats     routerStats

	panicLogged atomic.Int64 // when a handler's panic was logged last, in seconds since 1970

	mu            sync.Mutex // guards the inputs of the table
	routes        []Route
	configured    map[Pattern]Handler       // of Configure
	handlers      map[Pattern]Handler       // of ServeAll
	registrations map[Pattern]*registration // the calls that they are from
	lookups       atomic.Pointer[lookups]
	subscriptions subscriptions
	lastValues    lastValues
}

// NewRouter returns a Router without routes and handlers.
func NewRouter(o RouterOptions) *Router {
	r := &Router{name: o.Name, onHops: o.OnHops, log: o.Log, directory: o.Directory, maxHops: o.MaxHops, handlers: make(map[Pattern]Handler), registrations: make(map[Pattern]*registration)}
	r.lastID.Store(rand.Uint64() >> 2) // a new start repeats none of the numbers before it
	if r.directory == nil {
		r.directory = new(Directory)
	}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.maxHops == 0 {
		r.maxHops = MaxHops
	}
	r.answers.New = func() any { return &Answer{router: r} }
	r.replaceTable()
	return r
}

// Directory returns the router's directory of users and servers.
func (r *Router) Directory() *Directory { return r.directory }

// Name returns this hub's name.
func (r *Router) Name() string { return r.name }

// Put routes m. If it returns nil, the handlers and receivers have the message, in
// memory, and the receipt tells the outcome. An error wraps ErrNoHandler or ErrHops. A
// message without an ID gets one. In steady state Put allocates nothing.
func (r *Router) Put(m *Message) error {
	pl := r.lookup(m.Type, m.Batch)
	if pl == nil && len(m.To) == 0 {
		r.stats.refused.Add(1)
		return Reason(ErrNoHandler, "no handler or route serves type %q", m.Type)
	}
	return r.route(m, pl)
}

// Deliver delivers m to the recipients it names and bypasses all handlers. It is for
// messages of another server to users here. Recipients without a live session are no
// error, as with the command sendClients.
func (r *Router) Deliver(m *Message) error {
	for _, to := range m.To {
		if to.Server != "" {
			r.stats.refused.Add(1)
			return Reason(ErrDenied, "recipient %q is not a user here: this hub is no relay", to)
		}
	}
	return r.route(m, nil)
}

func (r *Router) route(m *Message, pl *pipeline) error {
	if m.Hops > r.maxHops {
		r.stats.refused.Add(1)
		at := ""
		if r.name != "" {
			at = fmt.Sprintf(" at hub %q", r.name)
		}
		err := Reason(ErrHops, "type %q: more than %d hops%s: do hubs send it in a circle?", m.Type, r.maxHops, at)
		r.reportHops(m, err)
		return err
	}
	r.count(m.Batch, countTaken)
	a := r.newAnswer(m.Batch)
	a.root, a.pipeline, a.done, a.shared, a.localNotes = a, pl, false, false, 0
	if a.dispatches.Load() != 0 { // left over from an earlier message
		a.dispatches.Store(0)
	}
	if a.notes.Load() != 0 {
		a.notes.Store(0)
	}
	a.m = *m
	if a.m.ID == (ID{}) {
		a.m.ID = r.newID(m.Batch)
	}
	a.advance()
	return nil
}

// reportHops tells OnHops of a message, if err says that it had too many hops.
func (r *Router) reportHops(m *Message, err error) {
	if r.onHops == nil || !errors.Is(err, ErrHops) {
		return
	}
	out := *m
	out.Data, out.To, out.Receipt, out.Batch = Data{}, nil, nil, nil
	var route Pattern
	if pl := r.lookup(m.Type, nil); pl != nil {
		route = pl.match
	}
	r.onHops(&out, route, err)
}

// Serves reports whether a handler or route takes messages of type t.
func (r *Router) Serves(t Type) bool { return r.lookups.Load().table.lookup(t) != nil }

// SetRoutes is Configure without handlers.
func (r *Router) SetRoutes(routes []Route) error { return r.Configure(routes, nil) }

// Configure replaces at once what the operator configures: the routes, and the handlers of
// patterns that have no route. Each message goes either by the old ones or by the new ones.
// It is an error if two routes have the same pattern, or if a handler of ServeAll serves a
// pattern of handlers and is not among replaced, which are pointers. Then all stays as it
// was. A replaced handler gets no messages of such a pattern until the next Configure. The
// caller must not change handlers afterwards.
func (r *Router) Configure(routes []Route, handlers map[Pattern]Handler, replaced ...Handler) error {
	seen := make(map[Pattern]bool, len(routes))
	for _, route := range routes {
		if seen[route.Match] {
			return fmt.Errorf("route %q: there are two; put them into one", route.Match)
		}
		seen[route.Match] = true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range handlers {
		if h := r.handlers[p]; h != nil && !slices.Contains(replaced, h) {
			return servedError(p, h)
		}
	}
	if more := countNew(maps.Keys(handlers), r.handlers); len(r.handlers)+more > MaxPatterns {
		return tooManyPatterns(more, len(r.handlers))
	}
	r.routes, r.configured = routes, handlers
	r.replaceTable()
	return nil
}

// replaceTable puts a table of the current routes and handlers in place of the old one. The
// caller holds mu, or is the only user of r.
func (r *Router) replaceTable() {
	old := r.lookups.Swap(newLookups(newRoutingTable(r.routes, r.directory, r.handlers, r.configured)))
	if old != nil {
		r.directory.unpin(old.table.users)
	}
}

// MaxPatterns is how many patterns handlers may serve in all.
const MaxPatterns = 4096

// Serve registers h as the handler of the types that p matches, until stop is called.
// A route with the same pattern takes precedence. It is an error if another handler
// serves the pattern already.
func (r *Router) Serve(p Pattern, h Handler) (stop func(), err error) {
	return r.ServeAll([]Pattern{p}, h)
}

// ServeAll is Serve for several patterns: all of them, or, with an error, none. A pattern that
// one of replaced serves, which are pointers, is taken from it: no message misses both. If
// it is from Configure, it is taken when another Configure leaves it out.
func (r *Router) ServeAll(patterns []Pattern, h Handler, replaced ...Handler) (stop func(), err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, p := range patterns {
		for _, have := range []Handler{r.handlers[p], r.configured[p]} {
			if have != nil && !slices.Contains(replaced, have) {
				return nil, servedError(p, have)
			}
		}
	}
	have := len(r.handlers) + countNew(maps.Keys(r.configured), r.handlers)
	if more := countNew(slices.Values(patterns), r.handlers, r.configured); have+more > MaxPatterns {
		return nil, tooManyPatterns(more, have)
	}
	patterns = slices.Clone(patterns)
	by := new(registration)
	for _, p := range patterns {
		r.handlers[p], r.registrations[p] = h, by
	}
	r.replaceTable()
	return sync.OnceFunc(func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, p := range patterns {
			if r.registrations[p] == by { // it was not taken from h
				delete(r.handlers, p)
				delete(r.registrations, p)
			}
		}
		r.replaceTable()
	}), nil
}

// A registration tells one call of ServeAll from others.
type registration struct{ _ byte }

// servedError is why nobody else may serve what a handler serves.
func servedError(p Pattern, by Handler) error {
	name := "another handler"
	if h, named := by.(interface{ Name() string }); named {
		name = fmt.Sprintf("handler %q", h.Name())
	}
	return fmt.Errorf("pattern %q: %s serves it already: give it to one of them only", p, name)
}

// countNew returns how many patterns are in none of the maps.
func countNew(patterns iter.Seq[Pattern], in ...map[Pattern]Handler) (n int) {
	for p := range patterns {
		if !slices.ContainsFunc(in, func(m map[Pattern]Handler) bool { return m[p] != nil }) {
			n++
		}
	}
	return n
}

func tooManyPatterns(more, have int) error {
	return fmt.Errorf("%d patterns: handlers serve %d already, and may serve %d in all", more, have, MaxPatterns)
}

// reportPanic counts a panic, and logs it with its stack. It is called while that is there.
func (r *Router) reportPanic(what string, t Type, p any) {
	panics := r.stats.panics.Add(1)
	// Any sender may cause it: after the first ones, one a second is logged.
	if now := time.Now().Unix(); r.panicLogged.Swap(now) != now || panics <= 16 {
		r.log.Error(what, "type", string(t), "panics", panics, "panic", p, "stack", string(debug.Stack()))
	}
}
