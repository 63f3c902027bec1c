package link

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/lograte"
	"github.com/besterhub/bester/hub/wire"
)

// GroupsOptions are what Groups need to know.
type GroupsOptions struct {
	// Options apply to handlers that dial in without being named in the config.
	Options
	// Router is where the handlers serve their types. It must not be nil.
	Router *hub.Router
	// Name is the hub's name, for its hello. May be empty.
	Name string
}

// Groups are all native handlers of a hub, by name. Its methods may be called from
// many goroutines.
type Groups struct {
	o   GroupsOptions
	log *lograte.Limiter // for handlers that the config does not name

	mu            sync.Mutex // locked before a group's mu
	byName        map[string]*Group
	registrations map[*Group]*registration
	retired       map[string]*retiredTypes // by the name of a handler that has been retired
	closing       bool

	refused atomic.Uint64 // see Refused
}

// A registration is what Groups know about a group beside the group itself.
type registration struct {
	types     []hub.Pattern // what it serves, sorted
	named     []hub.Pattern // what its processes have named, sorted; the same unless fixed; then of the last one also when it is gone
	user      string        // the account whose process named them
	fixed     bool          // types are from the config, and served also without a process
	retiring  bool          // a handler of the same name follows, and takes over what it serves
	stop      func()        // ends serving types in the router; nil while it serves none
	processes int           // connections that belong to it, or are about to
}

// NewGroups returns Groups without any handler.
func NewGroups(o GroupsOptions) *Groups {
	o.Options = o.Options.withDefaults()
	return &Groups{o: o, byName: make(map[string]*Group), registrations: make(map[*Group]*registration), retired: make(map[string]*retiredTypes), log: newLimiter()}
}

// Config describes a native handler that the config names.
type Config struct {
	// Name is what its processes say in their hellos.
	Name string
	// Types are the patterns it serves from now on, whatever its processes say. If nil, it
	// serves the types that its processes name, while any is connected. If empty, it serves
	// none and is only used by routes.
	Types []hub.Pattern
	// SlotTypes are what the Slot that it is in serves, for the log. If empty, it is in none
	// that serves types.
	SlotTypes []hub.Pattern
	Options
	// Command starts its process. If its Argv is empty, the hub starts none.
	Command Command
}

// Add makes the handler that c describes. Its Handle may be called at once: messages
// wait for a process, no longer than c.Timeout. They fail fast while c.Command cannot be
// started, ends before it connects, or will be restarted too late for them. If a handler
// of that name has dialled in already, it becomes the configured one; if c says its types,
// processes that have named other ones are asked to reconnect. Where c does not, what processes
// of a retired handler of this name have named waits for them, for c.Timeout. Add fails if another handler serves one of its types or a handler of
// this name has been added before.
func (gs *Groups) Add(c Config) (*Group, error) {
	var flush []*process
	defer func() {
		for _, p := range flush {
			p.out.Flush()
		}
	}()
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.byName[c.Name]
	if g != nil && g.configured {
		return nil, fmt.Errorf("handler %q: there are two; give each a name of its own", c.Name)
	}
	if gs.closing {
		return nil, hub.Reason(hub.ErrClosed, "handler %q: the hub is closing", c.Name)
	}
	if c.Log == nil {
		c.Log = gs.o.Log
	}
	isNew := g == nil
	if isNew {
		g = gs.register(c.Name, c.Options)
	}
	reg := gs.registrations[g]
	if c.Types != nil {
		if err := gs.takeOver(g, c.Types); err != nil {
			if isNew {
				gs.unregister(g)
			}
			return nil, err
		}
		reg.fixed = true
	}
	if retired := gs.retired[c.Name]; retired != nil { // c does not say its types
		retired.timer.Reset(c.Options.withDefaults().Timeout)
	}
	g.mu.Lock()
	g.o = c.Options.withDefaults()
	g.configured, g.slotTypes = true, c.SlotTypes
	if c.Types != nil && len(reg.named) > 0 {
		flush = slices.Clone(g.processes)
		for _, p := range flush {
			p.sayGoodbye("the config now says which types the handler serves")
		}
	}
	g.log = newLimiter()
	if len(c.Command.Argv) > 0 {
		g.command = newSupervisor(c.Name, c.Command, g.o.Log)
		g.command.onExit = g.programEnded
		g.command.start()
	}
	g.mu.Unlock()
	return g, nil
}

// Group returns the handler of that name, or nil if none is configured or connected.
func (gs *Groups) Group(name string) *Group {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.byName[name]
}

// errPanic is why a process is removed after a panic in serve.
var errPanic = errors.New("a bug of the hub")

// Attach serves one connection of a handler process until it ends, and returns why it
// ended. The caller has read the hello h from in and checked that the process may serve
// its types, but has not answered. Attach answers the hello, with h.Token, and closes c in any case. A
// process without a name is named after its types.
//
// rights bound what the process's commands may do; nil is everything.
//
// The process is refused, with a status that says why, if another handler serves one of
// its types, or if processes of its name serve other types.
func (gs *Groups) Attach(c net.Conn, in *bformat.Reader, h *wire.Hello, rights hub.Rights) (err error) {
	defer c.Close()
	p, err := gs.admit(c, in, h, rights)
	if err != nil {
		gs.refuse(c, h, err)
		return err
	}
	g := p.g
	o, log := g.options()
	in.SetLimit(o.MaxFrame)
	hello := wire.Hello{Version: wire.Version, Role: wire.RoleHub, Name: gs.o.Name, Token: h.Token, MaxFrame: o.MaxFrame}
	p.out.End(wire.AppendHello(p.out.Begin(), &hello), bformat.Required)
	p.out.Flush()
	attrs := append([]slog.Attr{slog.String("handler", g.name)}, gs.logTypes(g)...)
	log.Log(o.Log, slog.LevelInfo, "handler connected", append(attrs, slog.Int("credits", p.credits()))...)

	g.addProcess(p)
	err = errPanic
	defer func() { // also if serve panics, so that nobody waits for ever
		gs.processEnded(g)
		g.removeProcess(p, err)
		gs.removeIfIdle(g)
	}()
	err = p.serve()
	return err
}

// admit makes a process of the group that the hello h names.
func (gs *Groups) admit(c net.Conn, in *bformat.Reader, h *wire.Hello, rights hub.Rights) (*process, error) {
	types, err := patterns(h.Types)
	if err != nil {
		return nil, err
	}
	name := h.Name
	if name == "" {
		name = strings.Join(h.Types, ",")
	}
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if gs.closing {
		return nil, hub.Reason(hub.ErrClosed, "handler %q: the hub is closing", name)
	}
	g := gs.byName[name]
	if g == nil {
		g = gs.register(name, gs.o.Options)
	}
	reg := gs.registrations[g]
	g.mu.Lock()
	if g.closing {
		err = hub.Reason(hub.ErrClosed, "handler %q: %s", name, g.goodbye())
	}
	g.mu.Unlock()
	switch {
	case err != nil:
	case reg.fixed: // the config says what it serves
	case reg.processes == 0:
		if len(types) == 0 && !g.configured {
			err = noTypesError(name)
		} else if err = gs.checkUserPatterns(g, h.User, len(types)); err == nil {
			err = gs.takeOver(g, types)
		}
	case !slices.Equal(types, reg.types):
		err = otherTypesError(name, reg.types, types)
	}
	if err != nil {
		gs.removeIfIdleLocked(g)
		return nil, err
	}
	reg.named, reg.user = types, h.User
	reg.processes++
	return newProcess(g, c, in, h, rights), nil
}

// MaxUserPatterns is how many patterns the handlers of one account may serve in all, without
// those of the config: nobody can take them all.
const MaxUserPatterns = hub.MaxPatterns / 4

// checkUserPatterns returns why a user may not have g serve n patterns, or nil.
func (gs *Groups) checkUserPatterns(g *Group, user string, n int) error {
	have := 0
	for other, reg := range gs.registrations {
		if other != g && reg.user == user && !reg.fixed {
			have += len(reg.types)
		}
	}
	if have+n <= MaxUserPatterns {
		return nil
	}
	return hub.Reason(hub.ErrFull, "handler %q: %d patterns: account %q serves %d already, and may serve %d in all: "+
		"use patterns with + and #, or name the handler and its types in the config", g.name, n, user, have, MaxUserPatterns)
}

// refuse tells a process why it may not serve, and logs it.
func (gs *Groups) refuse(c net.Conn, h *wire.Hello, err error) {
	gs.refused.Add(1)
	gs.log.Log(gs.o.Log, slog.LevelWarn, "handler refused", slog.String("handler", h.Name), slog.String("reason", err.Error()))
	q := bformat.NewQueue(c, bformat.QueueOptions{Timeout: gs.o.Timeout})
	q.End(wire.AppendStatus(q.Begin(), 0, err), bformat.Required)
	q.Shutdown()
	q.Run()
}

// Refused returns how many handler processes Attach has refused.
func (gs *Groups) Refused() uint64 { return gs.refused.Load() }

// register adds a group without types.
func (gs *Groups) register(name string, o Options) *Group {
	g := newGroup(name, o, gs)
	g.log = gs.log // shared: a process that reconnects must not get a new limit each time
	gs.byName[name] = g
	gs.registrations[g] = new(registration)
	return g
}

// unregister removes a group.
func (gs *Groups) unregister(g *Group) {
	if reg := gs.registrations[g]; reg.retiring && !gs.closing && len(reg.named) > 0 {
		gs.keepTypes(g, reg)
	} else {
		gs.unserve(g)
	}
	delete(gs.registrations, g)
	if gs.byName[g.name] == g {
		delete(gs.byName, g.name)
	}
}

// serve makes the router send g the messages of these types, instead of those it served. After
// an error nothing has changed. Those of replaced are taken from it.
func (gs *Groups) serve(g *Group, types []hub.Pattern, replaced ...hub.Handler) error {
	types = slices.Clone(types)
	slices.Sort(types)
	types = slices.Compact(types)
	reg := gs.registrations[g]
	stop, err := gs.o.Router.ServeAll(types, g, append(replaced, g)...)
	if err != nil {
		return hub.Reason(hub.ErrDenied, "handler %q: %v", g.name, err)
	}
	if reg.stop != nil {
		reg.stop()
	}
	reg.stop, reg.types = stop, types
	return nil
}

func (gs *Groups) unserve(g *Group) {
	reg := gs.registrations[g]
	if reg.stop != nil {
		reg.stop()
	}
	reg.stop, reg.types = nil, nil
}

// processEnded notes that a connection of g has ended.
func (gs *Groups) processEnded(g *Group) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	reg := gs.registrations[g]
	if reg == nil {
		return // it has been shut down meanwhile
	}
	reg.processes--
	if reg.processes == 0 && !reg.fixed && !reg.retiring {
		gs.unserve(g)
		reg.named = nil
	}
}

// removeIfIdle unregisters g if it is not configured and has neither processes nor jobs.
func (gs *Groups) removeIfIdle(g *Group) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	gs.removeIfIdleLocked(g)
}

func (gs *Groups) removeIfIdleLocked(g *Group) {
	reg := gs.registrations[g]
	if reg == nil || reg.processes > 0 {
		return
	}
	g.mu.Lock()
	idle := g.jobs == 0 && !g.configured
	g.mu.Unlock()
	if idle {
		gs.unregister(g)
	}
}

// Stats returns the counters of all handlers, sorted by name.
func (gs *Groups) Stats() []Stats {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	all := make([]Stats, 0, len(gs.registrations))
	for _, g := range slices.SortedFunc(maps.Keys(gs.registrations), func(a, b *Group) int { return strings.Compare(a.name, b.name) }) {
		s := g.Stats()
		for _, p := range gs.registrations[g].types {
			s.Types = append(s.Types, string(p))
		}
		all = append(all, s)
	}
	return all
}

// Shutdown refuses new processes and messages (hub.ErrClosed), waits until all admitted
// messages are answered, sends the processes a goodbye, closes their connections and
// stops the programs that the hub has started. If ctx ends first, the unanswered messages
// fail, and Shutdown returns ctx's error after everything has ended.
func (gs *Groups) Shutdown(ctx context.Context) error {
	gs.mu.Lock()
	gs.closing = true
	for _, retired := range gs.retired {
		retired.end(gs)
	}
	groups := make([]*Group, 0, len(gs.registrations))
	for g := range gs.registrations {
		groups = append(groups, g)
	}
	gs.mu.Unlock()

	errs := make([]error, len(groups))
	var wg sync.WaitGroup
	for i, g := range groups {
		wg.Go(func() { errs[i] = g.Shutdown(ctx) })
	}
	wg.Wait()
	return errors.Join(errs...)
}
