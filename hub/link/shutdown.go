package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// Shutdown ends one handler, as Groups.Shutdown ends all. Its name and types are free
// again when it returns; its processes may dial in anew.
func (g *Group) Shutdown(ctx context.Context) error { return g.shutdown(ctx, nil) }

// Retire is Shutdown for a handler that another replaces: what it has not sent yet, and
// what still comes, goes to heir, in order and behind what was sent.
func (g *Group) Retire(ctx context.Context, heir hub.Handler) error { return g.shutdown(ctx, heir) }

func (g *Group) shutdown(ctx context.Context, heir hub.Handler) error {
	var h hand // without a batch: every command is flushed at once
	g.mu.Lock()
	g.closing = true
	g.heir = heir
	if len(g.processes) == 0 || heir != nil {
		g.failWaiting(g.closed())
		g.settle(&h)
	}
	empty := g.empty
	if empty == nil {
		empty = make(chan struct{})
		if g.jobs == 0 {
			close(empty)
		} else {
			g.empty = empty
		}
	}
	g.mu.Unlock()

	var err error
	select {
	case <-empty:
	case <-ctx.Done():
		err = fmt.Errorf("handler %q: shutdown: %w", g.name, ctx.Err())
	}

	if gone := g.sayGoodbye(&h, err != nil); gone != nil {
		select {
		case <-gone:
		case <-ctx.Done():
			g.hangUp()
			<-gone
		}
	}
	<-empty
	g.timer.Stop()
	g.mu.Lock()
	command := g.command
	g.mu.Unlock()
	if command != nil {
		command.stop()
	}
	g.groups.mu.Lock()
	if g.groups.members[g] != nil {
		g.groups.leave(g)
	}
	g.groups.mu.Unlock()
	return err
}

// sayGoodbye ends the connections, at once or after all that waits to be written has
// been. It returns what is closed when they have gone, nil if there were none.
func (g *Group) sayGoodbye(h *hand, atOnce bool) <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	if atOnce {
		g.failWaiting(g.closed())
		g.settle(h)
	}
	for _, p := range g.processes {
		if atOnce {
			p.end(errors.New(g.goodbye()), false)
			continue
		}
		p.broken = true
		p.out.End(wire.AppendGoodbye(p.out.Begin(), g.goodbye()), false)
		p.out.Shutdown() // writeLoop closes
	}
	if len(g.processes) == 0 {
		return nil
	}
	if g.gone == nil {
		g.gone = make(chan struct{})
	}
	return g.gone
}

func (g *Group) hangUp() {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, p := range g.processes {
		p.end(errors.New(g.goodbye()), false)
	}
}

// closed is what becomes of messages that a closing group does not handle.
func (g *Group) closed() error {
	if g.heir != nil {
		return &moved{g.heir}
	}
	return hub.Reason(hub.ErrClosed, "handler %q is being ended", g.name)
}

// goodbye is what the processes of a closing group are told.
func (g *Group) goodbye() string {
	if g.heir != nil {
		return "the handler's config has changed"
	}
	return "the hub no longer needs this handler"
}
