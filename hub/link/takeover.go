package link

import (
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
	if reg.fixed { // they were the config's
		gs.unserve(g)
		if gs.serve(g, reg.named) != nil {
			return // they are another's by now
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
