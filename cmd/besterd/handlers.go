package main

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/errtext"
	"github.com/besterhub/bester/hub/link"
	"github.com/besterhub/bester/hub/session"
)

// A handler is a handler that the config names, in its slot. The slot stays while the
// handler of its name is replaced: messages that come meanwhile wait in it.
type handler struct {
	handlerSpec
	slot *link.Slot
	// The following are set once it has started, which daemon.mu guards. It does not start
	// when daemon.replacing has ended.
	retire func(ctx context.Context, successor hub.Handler) error
	stats  func() link.Stats
}

// handlerSpec is the part of the config that a handler is made from.
type handlerSpec struct {
	config config.Handler
	frame  config.Bytes
	socket string // where its processes find the hub
}

// makeHandlers makes the handlers of a config. A handler that has not changed is kept.
// The others get a slot, which queues their messages until they start.
func (d *daemon) makeHandlers(c *config.Config) (map[string]*handler, error) {
	all := make(map[string]*handler)
	for _, h := range c.Handlers {
		spec := handlerSpec{h, c.Hub.Frame, peerCredentialsSocket(c)}
		if h.Dialect == config.Native && len(h.Command) > 0 && spec.socket == "" {
			return nil, fmt.Errorf("handler %q: no way for its process into the hub: add a listener with network = \"unix\" and trust = true", h.Name)
		}
		have := d.handlers[h.Name]
		switch {
		case have == nil:
			all[h.Name] = &handler{handlerSpec: spec, slot: link.NewSlot(h.Name, linkOptions(spec, d))}
		case have.retire == nil || !reflect.DeepEqual(spec, have.handlerSpec):
			all[h.Name] = &handler{handlerSpec: spec, slot: have.slot}
		default:
			all[h.Name] = have
		}
	}
	return all, nil
}

// A routing is what the router is to do by a config.
type routing struct {
	routes   []hub.Route
	handlers map[hub.Pattern]hub.Handler
	replaced []hub.Handler // the handlers that may lose patterns
}

// makeRouting makes the routing of a config through these filters and handlers.
func (d *daemon) makeRouting(c *config.Config, filters map[string]*filter, handlers map[string]*handler) (r routing, err error) {
	for _, route := range c.Routes {
		to := hub.Route{Match: route.Match, To: route.To}
		for _, name := range route.Through {
			switch {
			case filters[name] != nil:
				to.Through = append(to.Through, filters[name])
			case handlers[name] != nil:
				to.Through = append(to.Through, handlers[name].slot)
			default:
				return routing{}, fmt.Errorf("route %q: no filter or handler %q", route.Match, name)
			}
		}
		r.routes = append(r.routes, to)
	}
	r.handlers = make(map[hub.Pattern]hub.Handler)
	for _, h := range c.Handlers {
		for _, p := range h.Types {
			if have := r.handlers[p]; have != nil && have != handlers[h.Name].slot {
				return routing{}, fmt.Errorf("handler %q: pattern %q: handler %q serves it already: give it to one of them only",
					h.Name, p, have.(*link.Slot).Name())
			}
			r.handlers[p] = handlers[h.Name].slot
		}
	}
	r.replaced = d.groups.Retired()
	replace := func(name string) {
		if g := d.groups.Group(name); g != nil {
			r.replaced = append(r.replaced, g)
		}
	}
	for name, have := range d.handlers {
		if handlers[name] != have {
			replace(name)
		}
	}
	for name, h := range handlers {
		if d.handlers[name] == nil && h.config.Dialect == config.Native {
			replace(name) // it may have logged in already
		}
	}
	return r, nil
}

// namesTypes reports whether the handler's processes say which types it serves, and not the
// config.
func (s *handlerSpec) namesTypes() bool {
	return s.config.Dialect == config.Native && len(s.config.Types) == 0
}

// serveNamed has the groups serve what the config no longer says and their processes do, from
// the moment at which the routing is put into force. undo is for a config that is refused.
func (d *daemon) serveNamed(r routing, handlers map[string]*handler) (undo func()) {
	var undos []func()
	for name, have := range d.handlers {
		next := handlers[name]
		if next == nil || next == have || !next.namesTypes() {
			continue
		}
		types := slices.DeleteFunc(slices.Clone(have.config.Types), func(p hub.Pattern) bool { return r.handlers[p] != nil })
		undos = append(undos, d.groups.ServeNamed(name, types, have.slot))
	}
	return func() {
		for _, undo := range undos {
			undo()
		}
	}
}

func linkOptions(m handlerSpec, d *daemon) link.Options {
	return link.Options{Timeout: m.config.Timeout, QueueMessages: m.config.Queue, MaxFrame: int(m.frame), Log: d.log}
}

// errEnding is why a handler is not started when the hub is to end.
var errEnding = fmt.Errorf("%w: the hub is ending", hub.ErrClosed)

// startHandler starts a handler and gives it the messages that wait in its slot, unless
// d.replacing has ended.
func (d *daemon) startHandler(have *handler) {
	if d.replacing.Err() != nil {
		have.slot.Close(errEnding)
		return
	}
	h := have.config
	options := linkOptions(have.handlerSpec, d)
	command := link.Command{Argv: h.Command, Socket: have.socket}
	if h.Dialect == config.Native {
		types := h.Types
		if len(types) > 0 {
			types = []hub.Pattern{} // its slot serves them
		}
		g, err := d.groups.Add(link.Config{Name: h.Name, Types: types, SlotTypes: h.Types, Options: options, Command: command})
		if err != nil {
			if d.replacing.Err() == nil { // makeHandlers has checked it: not reached
				d.log.Error("handler could not be started", "handler", h.Name, "err", err)
			}
			have.slot.Close(hub.Reason(hub.ErrHandler, "handler %q could not be started: %s", h.Name, errtext.Of(err)))
			return
		}
		d.install(have, g, g.Retire, g.Stats)
		return
	}
	l := link.NewClassic(link.ClassicConfig{
		Name: h.Name, Path: h.Socket, Options: options, MaxConnections: h.Connections,
		Command: command, Needed: h.Start == config.StartNeeded,
	})
	d.install(have, l, l.Retire, l.Stats)
}

// install puts what has been started for h into its slot. If d.replacing has ended, shutdown
// does not know of it any more, and install ends it.
func (d *daemon) install(h *handler, started hub.Handler, retire func(context.Context, hub.Handler) error, stats func() link.Stats) {
	d.mu.Lock()
	ending := d.replacing.Err() != nil
	if !ending {
		h.retire, h.stats = retire, stats
	}
	d.mu.Unlock()
	if ending {
		retire(d.replacing, nil)
		h.slot.Close(errEnding)
		return
	}
	h.slot.Install(started)
}

// attachHandler links a handler process that has connected. Groups log what comes of it.
func (d *daemon) attachHandler(h session.HandlerConn) {
	d.mu.Lock()
	have := d.handlers[h.Hello.Name]
	d.mu.Unlock()
	if have != nil {
		d.warnOfTypes(have.config, h.Hello.Types)
	}
	d.groups.Attach(h.Conn, h.In, h.Hello, h.Rights)
}

// warnOfTypes logs that a process has named other types than the config, which decides.
func (d *daemon) warnOfTypes(c config.Handler, named []string) {
	if len(c.Types) == 0 || len(named) == 0 {
		return
	}
	types := make([]string, len(c.Types))
	for i, p := range c.Types {
		types[i] = string(p)
	}
	slices.Sort(types)
	types, named = slices.Compact(types), slices.Compact(slices.Sorted(slices.Values(named)))
	if !slices.Equal(types, named) {
		d.handlerTypes.Log(d.log, slog.LevelWarn, "handler process names other types than the config, which decides what it gets",
			slog.String("handler", c.Name), slog.String("config", strings.Join(types, " ")), slog.String("named", strings.Join(named, " ")),
			slog.String("remedy", "name the same in both, or in the config only"))
	}
}

// checkHandlerRight checks that an account may be a handler of the config. Such a handler
// gets the messages of all its types, and of the routes through it.
func (d *daemon) checkHandlerRight(name string, a *account.Account) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	have := d.handlers[name]
	if have == nil {
		return nil // it serves only the types of its hello, which have been checked
	}
	types := slices.Clone(have.config.Types)
	for _, r := range d.config.Routes {
		if slices.Contains(r.Through, name) {
			types = append(types, r.Match)
		}
	}
	for _, p := range types {
		if !a.MayServe(p) {
			return fmt.Errorf("%w: account %q may not be handler %q, which gets %q: bester account allow --add --serve '%s' %s",
				hub.ErrDenied, a.Name(), name, p, p, a.Name())
		}
	}
	return nil
}
