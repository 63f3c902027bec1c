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
	hub.Handler
	end   func(ctx context.Context) error
	stats func() link.Stats
}

// made is all of the config that a handler is made of.
type made struct {
	config config.Handler
	frame  config.Bytes
	socket string // where its processes find the hub
}

// setHandlers starts the handlers that the config names and are not there yet, and
// ends those it no longer names, or names otherwise. Messages on their way to an ended
// one still get their answers, until ctx ends. After an error some are started and some not.
func (d *daemon) setHandlers(ctx context.Context, c *config.Config) error {
	wanted := make(map[string]made)
	for _, h := range c.Handlers {
		wanted[h.Name] = made{h, c.Hub.Frame, socket(c)}
	}
	handlers := make(map[string]*handler)
	var ends sync.WaitGroup
	for name, have := range d.handlers {
		if want, ok := wanted[name]; ok && reflect.DeepEqual(want, have.made) {
			handlers[name] = have
			continue
		}
		ends.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, have.config.Timeout)
			defer cancel()
			if err := have.end(ctx); err != nil {
				d.log.Warn("handler ended with messages under way", "handler", name, "err", err)
			}
		})
	}
	ends.Wait() // a name and its types are free when the handler has gone
	defer func() {
		d.mu.Lock()
		d.handlers = handlers
		d.mu.Unlock()
	}()
	for _, h := range c.Handlers {
		if handlers[h.Name] != nil {
			continue
		}
		started, err := d.startHandler(wanted[h.Name])
		if err != nil {
			return err
		}
		handlers[h.Name] = started
	}
	return nil
}

func (d *daemon) startHandler(m made) (*handler, error) {
	h := m.config
	options := link.Options{Timeout: h.Timeout, Waiting: h.Queue, Frame: int(m.frame), Log: d.log}
	command := link.Command{Argv: h.Command, Socket: m.socket}
	if h.Dialect == config.Native {
		if len(h.Command) > 0 && m.socket == "" {
			return nil, fmt.Errorf("handler %q: no way for its process into the hub: add a listener with network = \"unix\" and trust = true", h.Name)
		}
		g, err := d.groups.Add(link.Config{Name: h.Name, Types: h.Types, Options: options, Command: command})
		if err != nil {
			return nil, err
		}
		return &handler{made: m, Handler: g, end: g.Shutdown, stats: g.Stats}, nil
	}
	l := link.NewClassic(link.ClassicConfig{
		Name: h.Name, Path: h.Socket, Options: options, Connections: h.Connections,
		Command: command, Needed: h.Start == config.StartNeeded,
	})
	stop, err := d.router.ServeAll(h.Types, l)
	if err != nil {
		l.Shutdown(context.Background())
		return nil, fmt.Errorf("handler %q: %w", h.Name, err)
	}
	end := func(ctx context.Context) error {
		stop()
		return l.Shutdown(ctx)
	}
	return &handler{made: m, Handler: l, end: end, stats: l.Stats}, nil
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
				route.Through = append(route.Through, d.handlers[name])
			default:
				return fmt.Errorf("route %q: no filter or handler %q", r.Match, name)
			}
		}
		routes = append(routes, route)
	}
	return d.router.SetRoutes(routes)
}
