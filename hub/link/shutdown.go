package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Shutdown ends one handler, as Groups.Shutdown ends all. Its name and types are free
// again when it returns; its processes may dial in anew.
func (g *Group) Shutdown(ctx context.Context) error { return g.shutdown(ctx, nil) }

// Retire is Shutdown for a handler that is replaced. Messages that are not sent yet, and
// those that still come, go to successor, in order and after those that were sent. What its
// processes have named goes there, too, until a process of this name names it anew, or the
// Timeout has passed.
func (g *Group) Retire(ctx context.Context, successor hub.Handler) error {
	g.groups.setRetiring(g, successor != nil)
	return g.shutdown(ctx, successor)
}

func (g *Group) shutdown(ctx context.Context, successor hub.Handler) error {
	var e executionState // without a batch: every command is flushed at once
	drained := g.close(successor, &e)
	var err error
	select {
	case <-drained:
	case <-ctx.Done():
		err = fmt.Errorf("handler %q: shutdown: %w", g.name, ctx.Err())
	}

	if disconnected := g.disconnect(&e, err != nil); disconnected != nil {
		select {
		case <-disconnected:
		case <-ctx.Done():
			g.forceDisconnect()
			<-disconnected
		}
	}
	<-drained
	g.timer.Stop()
	g.mu.Lock()
	command := g.command
	g.mu.Unlock()
	if command != nil {
		command.stop()
	}
	g.groups.mu.Lock()
	if g.groups.registrations[g] != nil {
		g.groups.unregister(g)
	}
	g.groups.mu.Unlock()
	return err
}

// close closes the group, and returns a channel that is closed when it has no jobs left.
func (g *Group) close(successor hub.Handler, e *executionState) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closing = true
	g.successor = successor
	if len(g.processes) == 0 || successor != nil {
		g.failWaiting(g.closedError())
		g.executeDue(e)
	}
	drained := g.drained
	if drained == nil {
		drained = make(chan struct{})
		if g.jobs == 0 {
			close(drained)
		} else {
			g.drained = drained
		}
	}
	return drained
}

// disconnect closes the connections, immediately or after a goodbye and all that waits has
// been written. It returns a channel that is closed when all processes are disconnected,
// nil if there are none.
func (g *Group) disconnect(e *executionState, immediately bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if immediately {
		g.failWaiting(g.closedError())
		g.executeDue(e)
	}
	for _, p := range g.processes {
		if immediately {
			p.close(errors.New(g.goodbye()), false)
			continue
		}
		p.broken = true
		p.out.End(wire.AppendGoodbye(p.out.Begin(), g.goodbye()), bformat.Required)
		p.out.Shutdown() // writeLoop closes
	}
	if len(g.processes) == 0 {
		return nil
	}
	if g.disconnected == nil {
		g.disconnected = make(chan struct{})
	}
	return g.disconnected
}

// forceDisconnect closes the connections immediately.
func (g *Group) forceDisconnect() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.processes {
		p.close(errors.New(g.goodbye()), false)
	}
}

// closedError is the error of messages that a closing group does not handle.
func (g *Group) closedError() error {
	if g.successor != nil {
		return &handedOffError{g.successor}
	}
	return hub.Reason(hub.ErrClosed, "handler %q is being ended", g.name)
}

// goodbye is what the processes of a closing group are told.
func (g *Group) goodbye() string {
	if g.successor != nil {
		return "the handler's config has changed"
	}
	return "the hub no longer needs this handler"
}
