package link

import (
	"slices"
	"time"

	"github.com/besterhub/bester/hub"
)

// retiredTypes are the types that the processes of a retired group have named. They have been
// asked to reconnect. Until one does, and its group takes the types over, the retired group
// stands in for it: it hands what comes to its successor, where it waits.
type retiredTypes struct {
	g     *Group
	stop  func()      // ends serving them
	timer *time.Timer // calls end
}

// setRetiring notes whether a group that is retired has a successor.
func (gs *Groups) setRetiring(g *Group, yes bool) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if reg := gs.registrations[g]; reg != nil {
		reg.retiring = yes
	}
}

// keepTypes keeps the types of a retired group for the next one of its name.
func (gs *Groups) keepTypes(g *Group, reg *registration) {
	if reg.fixed && gs.serve(g, reg.named) != nil { // some are another's by now
		if gs.serve(g, common(reg.types, reg.named)) != nil {
			gs.unserve(g)
			return
		}
	}
	if before := gs.retired[g.name]; before != nil {
		before.end(gs)
	}
	o, _ := g.options()
	retired := &retiredTypes{g: g, stop: reg.stop}
	retired.timer = time.AfterFunc(o.Timeout, func() {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		retired.end(gs)
	})
	gs.retired[g.name] = retired
}

// ServeNamed has the handler of this name serve those of types that its processes have named.
// It is for types that the config gave it, and is about to leave out: now gets them until
// then, and no message misses both. They are kept while the handler retires and, for its
// Timeout, until a process names them anew. undo is for a config that was refused. Where the
// handler cannot serve the types, nothing changes.
func (gs *Groups) ServeNamed(name string, types []hub.Pattern, now hub.Handler) (undo func()) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	g := gs.byName[name]
	if g == nil || !gs.registrations[g].fixed {
		return func() {}
	}
	reg := gs.registrations[g]
	old := reg.types
	if gs.serve(g, slices.Concat(old, common(types, reg.named)), append(gs.retiredGroups(), now)...) != nil {
		return func() {}
	}
	return func() {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		if gs.registrations[g] == reg {
			gs.serve(g, old)
		}
	}
}

// common returns what is in both.
func common(a, b []hub.Pattern) (both []hub.Pattern) {
	for _, p := range a {
		if slices.Contains(b, p) {
			both = append(both, p)
		}
	}
	return both
}

// Retired returns the handlers that stand in for processes that have been asked to reconnect.
// A config may give what they serve to others.
func (gs *Groups) Retired() []hub.Handler {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	return gs.retiredGroups()
}

func (gs *Groups) retiredGroups() (all []hub.Handler) {
	for _, retired := range gs.retired {
		all = append(all, retired.g)
	}
	return all
}

// EndRetired has the retired handler of this name, if there is one, serve nothing more: no
// handler follows that serves what its processes name.
func (gs *Groups) EndRetired(name string) {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if retired := gs.retired[name]; retired != nil {
		retired.end(gs)
	}
}

// end ends the serving by the retired group. The caller holds the lock.
func (r *retiredTypes) end(gs *Groups) {
	r.timer.Stop()
	r.stop()
	if gs.retired[r.g.name] == r {
		delete(gs.retired, r.g.name)
	}
}

// takeOver is serve for a group that takes from a retired one of its name what that has kept.
func (gs *Groups) takeOver(g *Group, types []hub.Pattern) error {
	retired := gs.retired[g.name]
	if retired == nil {
		return gs.serve(g, types)
	}
	if err := gs.serve(g, types, retired.g); err != nil {
		return err
	}
	retired.end(gs)
	return nil
}
