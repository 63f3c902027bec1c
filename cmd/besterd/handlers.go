package main

import (
	"context"
	"errors"
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
	config config.Handler
	hub.Handler
	end   func(ctx context.Context) error
	stats func() link.Stats
}

// setHandlers starts the handlers that the config names and are not there yet, and
// ends those it no longer names. Messages on their way to an ended one still get
// their answers. After an error some are started and some not.
func (d *daemon) setHandlers(c *config.Config, socket string) error {
	for name, have := range d.handlers {
		same := func(h config.Handler) bool { return reflect.DeepEqual(h, have.config) }
		if slices.ContainsFunc(c.Handlers, same) {
			continue
		}
		delete(d.handlers, name)
		ctx, cancel := context.WithTimeout(context.Background(), have.config.Timeout)
		if err := have.end(ctx); err != nil {
			d.log.Warn("handler ended with messages under way", "handler", name, "err", err)
		}
		cancel()
	}
	for _, h := range c.Handlers {
		if d.handlers[h.Name] != nil {
			continue
		}
		made, err := d.startHandler(h, c, socket)
		if err != nil {
			return err
		}
		d.handlers[h.Name] = made
	}
	return nil
}

func (d *daemon) startHandler(h config.Handler, c *config.Config, socket string) (*handler, error) {
	options := link.Options{Timeout: h.Timeout, Waiting: h.Queue, Frame: int(c.Hub.Frame), Log: d.log}
	command := link.Command{Argv: h.Command, Socket: socket}
	if h.Dialect == config.Native {
		if len(h.Command) > 0 && socket == "" {
			return nil, fmt.Errorf("handler %q: no way for its process into the hub: add a listener with network = \"unix\" and trust = true", h.Name)
		}
		g, err := d.groups.Add(link.Config{Name: h.Name, Types: h.Types, Options: options, Command: command})
		if err != nil {
			return nil, err
		}
		return &handler{config: h, Handler: g, end: g.Shutdown, stats: g.Stats}, nil
	}
	l := link.NewClassic(link.ClassicConfig{
		Name: h.Name, Path: h.Socket, Options: options, Connections: h.Connections,
		Command: command, Needed: h.Start == config.StartNeeded,
	})
	made := &handler{config: h, Handler: l, stats: l.Stats}
	var served []func()
	stop := sync.OnceFunc(func() {
		for _, stop := range served {
			stop()
		}
	})
	made.end = func(ctx context.Context) error {
		stop()
		return l.Shutdown(ctx)
	}
	for _, p := range h.Types {
		stop, err := d.router.Serve(p, l)
		if err != nil {
			made.end(context.Background())
			return nil, fmt.Errorf("handler %q: %w", h.Name, err)
		}
		served = append(served, stop)
	}
	return made, nil
}

// endHandlers ends all handlers, those that have dialled in unnamed too.
func (d *daemon) endHandlers(ctx context.Context) error {
	var errs []error
	var all sync.WaitGroup
	var mu sync.Mutex
	d.mu.Lock()
	handlers := d.handlers
	d.handlers = make(map[string]*handler)
	d.mu.Unlock()
	for _, h := range handlers {
		all.Go(func() {
			err := h.end(ctx)
			mu.Lock()
			defer mu.Unlock()
			errs = append(errs, err)
		})
	}
	all.Wait()
	return errors.Join(append(errs, d.groups.Shutdown(ctx))...)
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
