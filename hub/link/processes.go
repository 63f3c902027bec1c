package link

import (
	"errors"
	"io"
	"log/slog"
	"net"

	"github.com/besterhub/bester/hub"
)

// addProcess adds p to the group and sends it what waits.
func (g *Group) addProcess(p *process) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.processes = append(g.processes, p)
	if g.command != nil {
		g.command.noteReachable()
	}
	if g.closing { // shutdown began after p was admitted
		p.close(errors.New(g.goodbye()), false)
	}
	g.dispatch(&p.b, 0)
	g.executeDue(&p.execution)
}

// removeProcess removes p, whose connection has ended with err. Its messages in flight
// fail; those that waited for it go to another process, or wait for one.
func (g *Group) removeProcess(p *process, err error) {
	atFault, err := g.detach(p, err)
	p.flushBatch()
	if atFault {
		g.logLine(slog.LevelWarn, "handler closed", err.Error())
	} else {
		g.logLine(slog.LevelInfo, "handler disconnected", closeReason(err))
	}
}

// detach removes p and returns why, and whether p is to blame.
func (g *Group) detach(p *process, err error) (atFault bool, why error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.broken = true
	for i, q := range g.processes {
		if q == p {
			g.processes = append(g.processes[:i], g.processes[i+1:]...)
			break
		}
	}
	for tag, j := range p.inFlight {
		if j == nil || j == overdueJob {
			continue
		}
		p.inFlight[tag] = nil
		g.removeInFlight(j) // another process may take its stream once none of it is in flight here
		j.fail(hub.Reason(hub.ErrHandler, "handler %q ended before it answered", g.name))
		g.markDue(j.stream)
	}
	if p.closeErr != nil {
		err = p.closeErr
	}
	atFault = p.atFault || errors.Is(err, errProtocol)
	if atFault {
		g.stats.Malformed++
	}
	if g.closing && len(g.processes) == 0 {
		g.failWaiting(g.closedError())
		if g.disconnected != nil {
			close(g.disconnected)
			g.disconnected = nil
		}
	}
	if len(g.processes) == 0 {
		if err := g.down(); err != nil {
			g.failWaiting(err)
		}
	}
	g.dispatch(&p.b, 0)
	g.executeDue(&p.execution)
	return atFault, err
}

// down returns why messages must not wait for a process to connect, nil if they may.
func (g *Group) down() error {
	if g.command == nil {
		return nil
	}
	if why, yes := g.command.failFast(g.o.Timeout); yes {
		return hub.Reason(hub.ErrHandler, "handler %q is not running: %s", g.name, why)
	}
	return nil
}

// programEnded fails what waits for a program that does not come up again.
func (g *Group) programEnded() {
	var e executionState // without a batch: every command is flushed at once
	g.mu.Lock()
	defer g.mu.Unlock()
	if len(g.processes) > 0 || g.closing {
		return
	}
	if err := g.down(); err != nil {
		g.failWaiting(err)
		g.executeDue(&e)
	}
}

// failWaiting fails all that has not been sent.
func (g *Group) failWaiting(err error) {
	for j := g.waiting.head; j != nil; j = g.waiting.head {
		g.unqueue(j, err)
	}
}

// closeReason says in an operator's words how a connection ended.
func closeReason(err error) string {
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, net.ErrClosed):
		return "connection closed"
	case errors.Is(err, io.ErrUnexpectedEOF):
		return "connection closed inside a frame"
	}
	return err.Error()
}
