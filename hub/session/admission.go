package session

import (
	"fmt"
	"log/slog"
	"net/netip"

	"github.com/besterhub/bester/hub"
)

// How many connections and sessions there may be. One account must not take all places, and
// however many others have taken, there is one for an administrator, who can find out why,
// and for the hub's own processes.
//
// Pre-authentication: connections that have not logged in share the places that sessions
// leave, by address. When all are taken, the oldest of the address that has most of them
// gives way to a new one, a silent one first. So nobody who opens connections and says
// nothing keeps others out.

// connections returns how many connections may be open for a further one to be admitted. The
// hub's own processes are admitted past the limit, by a quarter of it, but at least 16.
func (l *Limits) connections(byPeerCredentials bool) int {
	if byPeerCredentials {
		return l.MaxConnections + max(l.MaxConnections/4, 16)
	}
	return l.MaxConnections
}

// sessions returns how many sessions there may be, without those of administrators and
// peers with trusted credentials. The other places are for peers that have not logged in yet.
func (l *Limits) sessions() int { return l.MaxConnections - l.MaxConnections/16 }

// countSession counts a session that has logged in, until its connection closes. It returns what the peer is told if there are too many.
func (s *Server) countSession(n *session) error {
	if n.mayUsePeerCredentials || n.account.Load().IsAdmin() {
		return nil
	}
	err := s.tryCount(n.connection, n.name)
	if err != nil {
		n.warn(&s.logLimiters.tooMany, "session refused", slog.String("user", string(n.name)), slog.Any("err", err))
	}
	return err
}

// tryCount counts a session of an account, if there may be one more.
func (s *Server) tryCount(c *connection, user hub.UserName) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch have := s.perAccount[user]; {
	case have >= c.limits.MaxPerAccount:
		s.stats.ofAccount.Add(1)
		return fmt.Errorf("%w: account %q has %d sessions, as many as one may have: end some, use further accounts, or raise session.per_account",
			hub.ErrFull, user, have)
	case s.counted >= c.limits.sessions():
		s.stats.tooMany.Add(1)
		return fmt.Errorf("%w: %d sessions are open, as many as there may be: try again later, or raise session.connections", hub.ErrFull, s.counted)
	}
	c.counted, c.countedFor = true, user
	s.counted++
	s.perAccount[user]++
	return nil
}

// uncount ends what countSession has begun. It is called under Server.mu.
func (s *Server) uncount(c *connection) {
	if !c.counted {
		return
	}
	s.counted--
	if s.perAccount[c.countedFor]--; s.perAccount[c.countedFor] <= 0 {
		delete(s.perAccount, c.countedFor)
	}
	c.counted = false
}

// evictOne chooses a connection that has not logged in to be closed for c; nil if c itself
// must be. It is called under Server.mu.
func (s *Server) evictOne(c *connection) *connection {
	waiting := make(map[netip.Prefix]int)
	for o, n := range s.open {
		if o.preAuthenticated(n) {
			waiting[o.address]++
		}
	}
	var victim *connection
	for o, n := range s.open {
		if o.preAuthenticated(n) && (victim == nil || o.evictedBefore(victim, waiting)) {
			victim = o
		}
	}
	switch {
	case victim == nil:
		return nil
	case victim.address == c.address && victim.firstFrameRead.Load(): // it is about to log in
		return nil
	case victim.address != c.address && waiting[victim.address] <= waiting[c.address]: // c's address has more
		return nil
	}
	victim.evicted = true
	return victim
}

// preAuthenticated reports whether o has not logged in, where n is its session.
func (o *connection) preAuthenticated(n *session) bool {
	return n == nil && !o.counted && !o.mayUsePeerCredentials && !o.evicted && !o.loggedOut
}

// evictedBefore reports whether o gives way before p: silent ones first, then those of the
// address that has most, then the oldest.
func (o *connection) evictedBefore(p *connection, waiting map[netip.Prefix]int) bool {
	if a, b := o.firstFrameRead.Load(), p.firstFrameRead.Load(); a != b {
		return b
	}
	if a, b := waiting[o.address], waiting[p.address]; a != b {
		return a > b
	}
	return o.accepted.Before(p.accepted)
}

// wasEvicted reports whether the connection was closed for another.
func (c *connection) wasEvicted() bool {
	c.server.mu.Lock()
	defer c.server.mu.Unlock()
	return c.evicted
}
