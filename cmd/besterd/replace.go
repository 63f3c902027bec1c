package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/config"
)

// A replacement puts the handlers of a new config in the place of those before. It begins
// when the new routes are in force: new messages already go to the slots of the new
// handlers. Each old one retires for itself, once it has answered what it has.
type replacement struct {
	d        *daemon
	old, new map[string]*handler
	routes   []config.Route           // the old ones
	order    []string                 // the old handlers that are removed, those on the way to others first
	retired  map[string]chan struct{} // closed when the old handler of that name has retired
}

func (d *daemon) replaceHandlers(old *config.Config, handlers map[string]*handler) *replacement {
	r := &replacement{d: d, old: d.handlers, new: handlers, routes: old.Routes, retired: make(map[string]chan struct{})}
	for name, have := range r.old {
		if handlers[name] != have {
			r.retired[name] = make(chan struct{})
		}
	}
	seen := make(map[string]bool)
	var visit func(name string)
	visit = func(name string) {
		if seen[name] || handlers[name] != nil {
			return
		}
		seen[name] = true
		for _, before := range r.before(name) {
			visit(before)
		}
		r.order = append(r.order, name)
	}
	for name := range r.old {
		visit(name)
	}
	return r
}

// start starts the handlers that wait for no other to retire.
func (r *replacement) start() {
	for name, h := range r.new {
		if r.old[name] != h && len(r.blockers(name)) == 0 {
			r.d.startHandler(h)
		}
	}
}

// finish retires the old handlers and starts those that waited for it. When ctx ends, it
// waits for no more answers.
func (r *replacement) finish(ctx context.Context) {
	var wg sync.WaitGroup
	for name := range r.retired {
		wg.Go(func() {
			defer close(r.retired[name])
			r.retire(ctx, name)
		})
	}
	for name, h := range r.new {
		blockers := r.blockers(name)
		if r.old[name] == h || len(blockers) == 0 {
			continue
		}
		wg.Go(func() {
			for _, b := range blockers {
				<-r.retired[b]
			}
			r.d.startHandler(h)
		})
	}
	wg.Wait()
}

// blockers returns the old handlers that must retire before the new one of this name
// starts: that of the same name, and those whose programs listen on the same socket.
func (r *replacement) blockers(name string) []string {
	var all []string
	for old := range r.retired {
		socket := r.old[old].config.Socket
		if old == name || socket != "" && socket == r.new[name].config.Socket {
			all = append(all, old)
		}
	}
	return all
}

// retire ends the old handler of this name, when it has answered what it has. What it has
// not sent goes to its successor, if it has one.
func (r *replacement) retire(ctx context.Context, name string) {
	have, next := r.old[name], r.new[name]
	var successor hub.Handler
	if next != nil {
		successor = next.slot.Vacate(linkOptions(next.handlerSpec, r.d))
	} else {
		r.awaitLast(ctx, name)
		defer have.slot.Close(fmt.Errorf("%w: %q is no longer in the config", hub.ErrNoHandler, name))
	}
	if next == nil || !next.namesTypes() {
		defer r.d.groups.EndRetired(name)
	}
	if have.retire == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, have.config.Timeout)
	defer cancel()
	if err := have.retire(ctx, successor); err != nil {
		r.d.log.Warn("handler ended with messages under way", "handler", name, "err", err)
	}
}

// routeGrace is how long a message takes at most from the look-up of its route to the first
// handler, or from an answer to the next handler.
const routeGrace = 200 * time.Millisecond

// awaitLast waits until no message under way on an old route can still come to a handler
// that is removed: the handlers before it on the route have answered them.
func (r *replacement) awaitLast(ctx context.Context, name string) {
	for _, before := range r.before(name) {
		switch retired := r.retired[before]; {
		case retired == nil:
			r.awaitIdle(ctx, r.old[before])
		case r.new[before] != nil || slices.Index(r.order, before) < slices.Index(r.order, name):
			<-retired
		default: // each comes before the other: only one can wait
		}
	}
	sleep(ctx, routeGrace)
}

// before returns the old handlers that come before this one on a route.
func (r *replacement) before(name string) []string {
	var all []string
	for _, route := range r.routes {
		for _, before := range route.Through[:max(slices.Index(route.Through, name), 0)] {
			if r.old[before] != nil {
				all = append(all, before)
			}
		}
	}
	return all
}

// awaitIdle waits until a handler that stays has answered what it had. That takes at most
// twice its timeout: once until it is sent, once until it is answered.
func (r *replacement) awaitIdle(ctx context.Context, h *handler) {
	ctx, cancel := context.WithTimeout(ctx, 2*h.config.Timeout)
	defer cancel()
	for s := h.stats(); s.Waiting+s.InFlight > 0 && ctx.Err() == nil; s = h.stats() {
		sleep(ctx, 10*time.Millisecond)
	}
}

// sleep waits for so long, or until ctx ends.
func sleep(ctx context.Context, t time.Duration) {
	timer := time.NewTimer(t)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
