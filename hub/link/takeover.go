package link

import (
	"time"

	"github.com/besterhub/bester/hub"
)

// leftTypes are the types that the processes of a retired group have named. They have been
// asked to reconnect. Until one does, and its group takes the types over, the retired group
// stands in for it: it hands what comes to its successor, where it waits.
type leftTypes struct {
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

// leave leaves the types of a retired group to the next one of its name.
func (gs *Groups) leave(g *Group, reg *registration) {
	if reg.fixed { // they were the config's
		gs.unserve(g)
		if gs.serve(g, reg.named) != nil {
			return // they are another's by now
		}
	}
	if before := gs.left[g.name]; before != nil {
		before.end(gs)
	}
	o, _ := g.options()
	left := &leftTypes{g: g, stop: reg.stop}
	left.timer = time.AfterFunc(o.Timeout, func() {
		gs.mu.Lock()
		defer gs.mu.Unlock()
		left.end(gs)
	})
	gs.left[g.name] = left
}

// end ends the serving by the retired group. The caller holds the lock.
func (l *leftTypes) end(gs *Groups) {
	l.timer.Stop()
	l.stop()
	if gs.left[l.g.name] == l {
		delete(gs.left, l.g.name)
	}
}

// takeOver is serve for the types that a process of g has named. It takes from a retired
// group of its name what that has left.
func (gs *Groups) takeOver(g *Group, types []hub.Pattern) error {
	left := gs.left[g.name]
	if left == nil {
		return gs.serve(g, types)
	}
	if err := gs.serve(g, types, left.g); err != nil {
		return err
	}
	left.end(gs)
	return nil
}
