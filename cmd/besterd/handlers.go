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

// A handler is one that the config names.
type handler struct {
	made
	seat  *seat
	end   func(ctx context.Context, heir hub.Handler) error // nil: its seat is vacant
	stats func() link.Stats
}

// A seat stays while the handler of its name is replaced: what comes meanwhile waits.
type seat struct {
	*link.Slot
	serves map[hub.Pattern]func() // what ends serving them
}

// made is all of the config that a handler is made of.
type made struct {
	config config.Handler
	frame  config.Bytes
	socket string // where its processes find the hub
}

// setHandlers starts the handlers that the config names and are not there yet, and
// ends those it no longer names, or names otherwise. Messages on their way to an ended
// one still get their answers, until ctx ends; what comes for one that is replaced waits
// for the new one. After an error some are started and some not.
func (d *daemon) setHandlers(ctx context.Context, c *config.Config) error {
	wanted := make(map[string]made)
	for _, h := range c.Handlers {
		wanted[h.Name] = made{h, c.Hub.Frame, socket(c)}
	}
	handlers := make(map[string]*handler)
	var ends sync.WaitGroup
	for name, have := range d.handlers {
		want, stays := wanted[name]
		if stays && have.end != nil && reflect.DeepEqual(want, have.made) {
			handlers[name] = have
			continue
		}
		var heir hub.Handler
		if stays {
			heir = have.seat.Vacate(linkOptions(want, d))
			handlers[name] = &handler{seat: have.seat}
		} else {
			have.seat.close(fmt.Errorf("%w: %q is no longer in the config", hub.ErrNoHandler, name))
		}
		if have.end == nil {
			continue
		}
		ends.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, have.config.Timeout)
			defer cancel()
			if err := have.end(ctx, heir); err != nil {
				d.log.Warn("handler ended with messages under way", "handler", name, "err", err)
			}
		})
	}
	ends.Wait() // a name is free when the handler has gone
	defer func() {
		d.mu.Lock()
		d.handlers = handlers
		d.mu.Unlock()
	}()
	for _, h := range c.Handlers {
		have := handlers[h.Name]
		if have != nil && have.end != nil {
			continue
		}
		if have == nil {
			have = &handler{seat: &seat{link.NewSlot(h.Name, linkOptions(wanted[h.Name], d)), make(map[hub.Pattern]func())}}
			handlers[h.Name] = have
		}
		if err := d.startHandler(have, wanted[h.Name]); err != nil {
			return err
		}
	}
	for _, h := range c.Handlers {
		handlers[h.Name].seat.leave(h.Types)
	}
	for _, h := range c.Handlers {
		if err := handlers[h.Name].seat.serve(d.router, h.Types); err != nil {
			return fmt.Errorf("handler %q: %w", h.Name, err)
		}
	}
	return nil
}

// leave ends serving all but these types.
func (s *seat) leave(types []hub.Pattern) {
	for p, stop := range s.serves {
		if !slices.Contains(types, p) {
			stop()
			delete(s.serves, p)
		}
	}
}

// serve serves those of these types that it does not serve yet.
func (s *seat) serve(r *hub.Router, types []hub.Pattern) error {
	for _, p := range types {
		if s.serves[p] != nil {
			continue
		}
		stop, err := r.Serve(p, s)
		if err != nil {
			return err
		}
		s.serves[p] = stop
	}
	return nil
}

func (s *seat) close(err error) {
	s.leave(nil)
	s.Close(err)
}

// closeVacant fails what waits for handlers that could not be put back.
func (d *daemon) closeVacant(err error) {
	for name, h := range d.handlers {
		if h.end == nil {
			h.seat.Close(fmt.Errorf("%w: handler %q could not be started: %w", hub.ErrHandler, name, err))
		}
	}
}

func linkOptions(m made, d *daemon) link.Options {
	return link.Options{Timeout: m.config.Timeout, Waiting: m.config.Queue, Frame: int(m.frame), Log: d.log}
}

// startHandler makes the handler that m describes and gives it its seat.
func (d *daemon) startHandler(have *handler, m made) error {
	h := m.config
	options := linkOptions(m, d)
	command := link.Command{Argv: h.Command, Socket: m.socket}
	if h.Dialect == config.Native {
		if len(h.Command) > 0 && m.socket == "" {
			return fmt.Errorf("handler %q: no way for its process into the hub: add a listener with network = \"unix\" and trust = true", h.Name)
		}
		types := h.Types
		if len(types) > 0 {
			types = []hub.Pattern{} // its seat serves them
		}
		g, err := d.groups.Add(link.Config{Name: h.Name, Types: types, Options: options, Command: command})
		if err != nil {
			return err
		}
		have.made, have.end, have.stats = m, g.Retire, g.Stats
		have.seat.Install(g)
		return nil
	}
	l := link.NewClassic(link.ClassicConfig{
		Name: h.Name, Path: h.Socket, Options: options, Connections: h.Connections,
		Command: command, Needed: h.Start == config.StartNeeded,
	})
	have.made, have.end, have.stats = m, l.Retire, l.Stats
	have.seat.Install(l)
	return nil
}

// attach links a handler process that has connected. Groups log what comes of it.
func (d *daemon) attach(h session.Handshake) { d.groups.Attach(h.Conn, h.In, h.Hello) }

// mayBe checks the right to be a handler of the config: whoever is gets the messages
// of all its types, and of the routes through it.
func (d *daemon) mayBe(name string, a *account.Account) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	have := d.handlers[name]
	if have == nil {
		return nil // only what its hello says, and that has been checked
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
				route.Through = append(route.Through, d.handlers[name].seat)
			default:
				return fmt.Errorf("route %q: no filter or handler %q", r.Match, name)
			}
		}
		routes = append(routes, route)
	}
	return d.router.SetRoutes(routes)
}
