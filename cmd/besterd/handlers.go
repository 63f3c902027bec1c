package main

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/config"
	"github.com/besterhub/bester/hub/link"
	"github.com/besterhub/bester/hub/session"
)

// A handler is a handler that the config names, in its slot.
type handler struct {
	handlerSpec
	slot   *slot
	retire func(ctx context.Context, successor hub.Handler) error // nil: its slot is empty
	stats  func() link.Stats
}

// A slot stays while the handler of its name is replaced. Messages that come meanwhile
// wait in it.
type slot struct {
	*link.Slot
	serving map[hub.Pattern]func() // stops serving the pattern
}

// handlerSpec is the part of the config that a handler is made from.
type handlerSpec struct {
	config config.Handler
	frame  config.Bytes
	socket string // where its processes find the hub
}

// setHandlers starts the handlers that are new in the config, and retires those that are
// no longer in it or have changed. Messages in flight at a retired handler are still
// answered, until ctx ends. Messages for a handler that is replaced wait for its
// successor. After an error, some handlers are started and some are not.
func (d *daemon) setHandlers(ctx context.Context, c *config.Config) error {
	wanted := make(map[string]handlerSpec)
	for _, h := range c.Handlers {
		wanted[h.Name] = handlerSpec{h, c.Hub.Frame, trustedSocket(c)}
	}
	handlers := make(map[string]*handler)
	var wg sync.WaitGroup
	for name, have := range d.handlers {
		want, kept := wanted[name]
		if kept && have.retire != nil && reflect.DeepEqual(want, have.handlerSpec) {
			handlers[name] = have
			continue
		}
		var successor hub.Handler
		if kept {
			successor = have.slot.Vacate(linkOptions(want, d))
			handlers[name] = &handler{slot: have.slot}
		} else {
			have.slot.close(fmt.Errorf("%w: %q is no longer in the config", hub.ErrNoHandler, name))
		}
		if have.retire == nil {
			continue
		}
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, have.config.Timeout)
			defer cancel()
			if err := have.retire(ctx, successor); err != nil {
				d.log.Warn("handler ended with messages under way", "handler", name, "err", err)
			}
		})
	}
	wg.Wait() // a name is free when its handler has retired
	defer func() {
		d.mu.Lock()
		d.handlers = handlers
		d.mu.Unlock()
	}()
	for _, h := range c.Handlers {
		have := handlers[h.Name]
		if have != nil && have.retire != nil {
			continue
		}
		if have == nil {
			have = &handler{slot: &slot{link.NewSlot(h.Name, linkOptions(wanted[h.Name], d)), make(map[hub.Pattern]func())}}
			handlers[h.Name] = have
		}
		if err := d.startHandler(have, wanted[h.Name]); err != nil {
			return err
		}
	}
	for _, h := range c.Handlers {
		handlers[h.Name].slot.unserveExcept(h.Types)
	}
	for _, h := range c.Handlers {
		if err := handlers[h.Name].slot.serve(d.router, h.Types); err != nil {
			return fmt.Errorf("handler %q: %w", h.Name, err)
		}
	}
	return nil
}

// unserveExcept stops serving all but these types.
func (s *slot) unserveExcept(types []hub.Pattern) {
	for p, stop := range s.serving {
		if !slices.Contains(types, p) {
			stop()
			delete(s.serving, p)
		}
	}
}

// serve starts serving those of these types that it does not serve yet.
func (s *slot) serve(r *hub.Router, types []hub.Pattern) error {
	for _, p := range types {
		if s.serving[p] != nil {
			continue
		}
		stop, err := r.Serve(p, s)
		if err != nil {
			return err
		}
		s.serving[p] = stop
	}
	return nil
}

func (s *slot) close(err error) {
	s.unserveExcept(nil)
	s.Close(err)
}

// closeEmptySlots fails the messages that wait for handlers that could not be restored.
func (d *daemon) closeEmptySlots(err error) {
	for name, h := range d.handlers {
		if h.retire == nil {
			h.slot.Close(fmt.Errorf("%w: handler %q could not be started: %w", hub.ErrHandler, name, err))
		}
	}
}

func linkOptions(m handlerSpec, d *daemon) link.Options {
	return link.Options{Timeout: m.config.Timeout, Waiting: m.config.Queue, Frame: int(m.frame), Log: d.log}
}

// startHandler makes the handler that m describes and puts it into its slot.
func (d *daemon) startHandler(have *handler, m handlerSpec) error {
	h := m.config
	options := linkOptions(m, d)
	command := link.Command{Argv: h.Command, Socket: m.socket}
	if h.Dialect == config.Native {
		if len(h.Command) > 0 && m.socket == "" {
			return fmt.Errorf("handler %q: no way for its process into the hub: add a listener with network = \"unix\" and trust = true", h.Name)
		}
		types := h.Types
		if len(types) > 0 {
			types = []hub.Pattern{} // its slot serves them
		}
		g, err := d.groups.Add(link.Config{Name: h.Name, Types: types, Options: options, Command: command})
		if err != nil {
			return err
		}
		have.handlerSpec, have.retire, have.stats = m, g.Retire, g.Stats
		have.slot.Install(g)
		return nil
	}
	l := link.NewClassic(link.ClassicConfig{
		Name: h.Name, Path: h.Socket, Options: options, Connections: h.Connections,
		Command: command, Needed: h.Start == config.StartNeeded,
	})
	have.handlerSpec, have.retire, have.stats = m, l.Retire, l.Stats
	have.slot.Install(l)
	return nil
}

// attachHandler links a handler process that has connected. Groups log what comes of it.
func (d *daemon) attachHandler(h session.Handshake) { d.groups.Attach(h.Conn, h.In, h.Hello, h.Rights) }

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
			return fmt.Errorf("%w: account %q may not be handler %q, which gets %q: bester account allow --serve '%s' %s",
				hub.ErrDenied, a.Name(), name, p, p, a.Name())
		}
	}
	return nil
}

// setRoutes puts the routes into force, through the filters given and the handlers.
func (d *daemon) setRoutes(c *config.Config, filters map[string]*filter) error {
	var routes []hub.Route
	for _, r := range c.Routes {
		route := hub.Route{Match: r.Match, To: r.To}
		for _, name := range r.Through {
			switch {
			case filters[name] != nil:
				route.Through = append(route.Through, filters[name])
			case d.handlers[name] != nil:
				route.Through = append(route.Through, d.handlers[name].slot)
			default:
				return fmt.Errorf("route %q: no filter or handler %q", r.Match, name)
			}
		}
		routes = append(routes, route)
	}
	return d.router.SetRoutes(routes)
}
