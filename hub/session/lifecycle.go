package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/wire"
)

// What a Server has open, from accept to close. All of it is under Server.mu:
//
//  1. admit takes a connection in,
//  2. enter makes it a session, or handOn gives it to whoever links handlers;
//  3. drained says that a session will put nothing more into the hub,
//  4. exit that it has ended, left that its connection is closed.

var (
	errShuttingDown = errors.New("the hub is shutting down")
	errRemoved      = errors.New("the account was removed")
	errNoPeer       = errors.New("the account may no longer connect as a server")
	errNoServe      = errors.New("the account may no longer serve these types")
)

// past is a deadline that has passed.
var pastDeadline = time.Unix(1, 0)

// admit takes a connection in, or says why not.
func (s *Server) admit(c *connection) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.shuttingDown:
		return errShuttingDown
	case len(s.open) >= c.limits.Connections && !c.trusted:
		// The hub's own processes get in past a crowd of strangers.
		return errTooMany
	}
	s.open[c] = nil
	s.serving++
	s.scheduleStallCheck()
	return nil
}

// enter makes a session known; it fails while the server shuts down.
func (s *Server) register(n *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shuttingDown {
		return errShuttingDown
	}
	s.open[n.connection] = n
	s.sessions++
	s.undrained++
	s.stats.logins.Add(1)
	return nil
}

// handOn is enter for the connection of a handler process, which from now on belongs
// to Options.Handler: Shutdown neither ends it nor waits for it.
func (s *Server) handOff(n *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shuttingDown {
		return errShuttingDown
	}
	s.open[n.connection] = n
	n.handedOff = true
	s.serving--
	return nil
}

func (s *Server) sessionDrained() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.undrained--
	s.notifyShutdown()
}

func (s *Server) unregister(n *session) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open[n.connection] = nil
	s.sessions--
}

func (s *Server) connectionClosed(c *connection) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if !c.handedOff {
		s.serving--
	}
	s.notifyShutdown()
}

// settle tells those who wait for it that the server is as far.
func (s *Server) notifyShutdown() {
	if s.shuttingDown && s.undrained == 0 {
		closeOnce(s.allDrained)
	}
	if s.shuttingDown && s.serving == 0 {
		closeOnce(s.allClosed)
	}
}

// shut closes c, once; its callers hold a lock.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// known lists the sessions, and the connections that were handed on.
func (s *Server) sessionList() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []*session
	for _, n := range s.open {
		if n != nil {
			all = append(all, n)
		}
	}
	return all
}

// Recheck puts the accounts as they are now into force for the sessions that are
// open: changed permissions count from the next message on, and a session is ended
// whose account has gone or may no longer connect as it did.
func (s *Server) Recheck() {
	for _, n := range s.sessionList() {
		n.recheck()
	}
}

func (s *session) recheck() {
	if s.account.Load() == nil || s.peerCred { // a classic server has no account
		return
	}
	s.server.checking.Lock() // so that no older account replaces a newer one
	defer s.server.checking.Unlock()
	a := s.server.o.Accounts.Lookup(s.name)
	switch {
	case a == nil:
		s.terminate(errRemoved)
	case s.role == wire.RoleServer && !a.MayPeer():
		s.terminate(errNoPeer)
	case s.role == wire.RoleHandler && s.server.mayHandle(a, s.handler, s.serves) != nil:
		s.terminate(errNoServe)
	default:
		s.account.Store(a)
	}
}

// mayHandle says why an account may not be the handler of that name and types.
func (s *Server) mayHandle(a *account.Account, name string, types []string) error {
	for _, p := range types {
		if !a.MayServe(hub.Pattern(p)) {
			return fmt.Errorf("%w: account %q may not serve %q: bester account allow --serve '%s' %s", hub.ErrDenied, a.Name(), p, p, a.Name())
		}
	}
	if s.o.AuthorizeHandler == nil {
		return nil
	}
	return s.o.AuthorizeHandler(name, a)
}

// parting is how long somebody who may not stay has to read what waits.
const terminateGrace = 2 * time.Second

// end has the session read no more, answer what is under way, and close.
func (s *session) terminate(why error) {
	s.endReason.CompareAndSwap(nil, &why)
	if why != errShuttingDown && why != errStalled {
		s.log.Info("session ended", "why", why)
		time.AfterFunc(terminateGrace, s.abort)
	}
	if s.role == wire.RoleHandler {
		s.abort() // whoever links it loses the connection
		return
	}
	s.conn.SetReadDeadline(pastDeadline)
}

// Drain closes the listeners and has every session read no more; whoever has not
// logged in is not let in any more. It returns nil when all that was taken, by sessions
// and others, has been answered, or ctx's error. Sessions stay for what is answered
// meanwhile, until Shutdown.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.shuttingDown = true
	s.cancel()
	for l := range s.listeners {
		l.Close()
	}
	for c, n := range s.open {
		switch {
		case n == nil:
			c.conn.SetReadDeadline(pastDeadline)
		case !c.handedOff:
			n.terminate(errShuttingDown)
		}
	}
	s.notifyShutdown()
	s.mu.Unlock()
	select {
	case <-s.allDrained:
		return s.o.Router.Drain(ctx)
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Shutdown drains the server, if that has not been done, and has every session write
// out what waits and close. It returns nil when all have ended, or ctx's error: then
// the rest have been cut off. Connections of handler processes are not touched, since
// messages may still wait for what these answer: whoever got them from
// Options.Handler ends them after Drain.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain(ctx)
	s.mu.Lock()
	closeOnce(s.released)
	s.mu.Unlock()
	select {
	case <-s.allClosed:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.open {
		if !c.handedOff {
			c.abort()
		}
	}
	return ctx.Err()
}
