package session

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/wire"
)

// The open connections and sessions of a Server, from accept to close. All of their state
// is under Server.mu:
//
//  1. admit admits a connection,
//  2. register makes it a session, or handOff hands it to Options.Handler;
//  3. sessionDrained notes that a session will put nothing more into the hub,
//  4. unregister that it has ended, connectionClosed that its connection is closed.

var (
	errShuttingDown = errors.New("the hub is shutting down")
	errRemoved      = errors.New("the account was removed")
	errNoPeer       = errors.New("the account may no longer connect as a server")
	errNoServe      = errors.New("the account may no longer serve these types")
)

// pastDeadline wakes a blocked read at once.
var pastDeadline = time.Unix(1, 0)

// admit admits a connection, or returns why it is refused. out is a connection that has to
// give way to it, or nil.
func (s *Server) admit(c *connection) (out *connection, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.shuttingDown:
		return nil, errShuttingDown
	case len(s.open)-s.evicting < c.limits.connections(c.mayUsePeerCredentials):
	case c.mayUsePeerCredentials:
		return nil, errTooMany
	default:
		if out = s.evictOne(c); out == nil {
			return nil, errTooMany
		}
		s.evicting++
	}
	s.open[c] = nil
	s.serving++
	s.scheduleStallCheck()
	return out, nil
}

// register adds a session; it fails while the server shuts down.
func (s *Server) register(n *session) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shuttingDown {
		return errShuttingDown
	}
	s.open[n.connection] = n
	s.deliveries.open(n)
	s.sessions++
	s.undrained++
	s.stats.logins.Add(1)
	return nil
}

// handOff is register for the connection of a handler process, which from now on belongs
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
	n.loggedOut = true
	s.sessions--
}

func (s *Server) connectionClosed(c *connection) {
	if !s.descriptors.full() {
		s.descriptors.fill()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.open, c)
	if c.evicted {
		s.evicting--
	}
	s.uncount(c)
	if !c.handedOff {
		s.serving--
	}
	s.notifyShutdown()
}

// notifyShutdown closes allDrained and allClosed once their conditions hold.
func (s *Server) notifyShutdown() {
	if s.shuttingDown && s.undrained == 0 {
		closeOnce(s.allDrained)
	}
	if s.shuttingDown && s.serving == 0 {
		closeOnce(s.allClosed)
	}
}

// closeOnce closes c unless it is closed; its callers hold a lock.
func closeOnce(c chan struct{}) {
	select {
	case <-c:
	default:
		close(c)
	}
}

// sessionList returns the sessions, and the connections that were handed off.
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

// Recheck applies the current accounts to the open sessions: changed permissions count
// from the next message on, and a session ends if its account was removed or may no longer
// connect in its role.
func (s *Server) Recheck() {
	for _, n := range s.sessionList() {
		n.recheck()
	}
}

func (s *session) recheck() {
	if s.account.Load() == nil || s.usedPeerCredentials { // a classic server has no account
		return
	}
	s.server.recheckMu.Lock() // an older account must not replace a newer one
	defer s.server.recheckMu.Unlock()
	a := s.server.o.Accounts.Lookup(s.name)
	switch {
	case a == nil:
		s.terminate(errRemoved)
	case s.role == wire.RoleServer && !a.MayPeer():
		s.terminate(errNoPeer)
	case s.role == wire.RoleHandler && s.server.mayHandle(a, s.handler, s.serves) != nil:
		s.terminate(errNoServe)
	default:
		old := s.account.Swap(a)
		if s.onPermissions != nil && !slices.Equal(old.Permissions().Receive, a.Permissions().Receive) {
			s.onPermissions(a)
		}
	}
}

// mayHandle returns why an account may not be the handler of that name and types, or nil.
func (s *Server) mayHandle(a *account.Account, name string, types []string) error {
	for _, p := range types {
		if !a.MayServe(hub.Pattern(p)) {
			return fmt.Errorf("%w: account %q may not serve %q: bester account allow --add --serve '%s' %s", hub.ErrDenied, a.Name(), p, p, a.Name())
		}
	}
	if s.o.AuthorizeHandler == nil {
		return nil
	}
	return s.o.AuthorizeHandler(name, a)
}

// terminateGrace is how long the peer of a terminated session has to read what is queued.
const terminateGrace = 2 * time.Second

// terminate has the session stop reading, answer what is in flight, and close. Only its first
// call does anything.
func (s *session) terminate(why error) {
	if !s.endReason.CompareAndSwap(nil, &why) {
		return
	}
	close(s.ended)
	if why != errShuttingDown && why != errStalled && why != errReclaimed {
		s.log.Info("session ended", "why", why)
		time.AfterFunc(terminateGrace, s.abort)
	}
	if s.role == wire.RoleHandler {
		s.abort() // Options.Handler sees the connection close
		return
	}
	s.conn.SetReadDeadline(pastDeadline)
}

// Drain closes the listeners and has every session stop reading; connections that have not
// logged in are refused. It returns nil when all messages in flight, of sessions and others,
// have been answered, or ctx's error. Until Shutdown, sessions stay open to deliver what is
// answered meanwhile.
func (s *Server) Drain(ctx context.Context) error {
	s.mu.Lock()
	s.shuttingDown = true
	s.cancel()
	s.descriptors.close()
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

// Shutdown drains the server, if that has not been done, and has every session flush its
// queue and close. It returns nil when all have ended, or ctx's error after aborting the
// rest. It does not touch the connections of handler processes, since messages may still
// wait for their answers: the owner that got them from Options.Handler closes them after
// Drain.
func (s *Server) Shutdown(ctx context.Context) error {
	s.Drain(ctx)
	s.mu.Lock()
	closeOnce(s.released)
	s.mu.Unlock()
	defer s.deliveries.logLosses() // who has lost something is not only in the sum at the end
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
