package session

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/wire"
)

// SessionStats says who is connected, and what became of the deliveries to that session.
type SessionStats struct {
	User          hub.UserName  `json:"user"`          // "" for a server of the original's dialect
	Role          string        `json:"role"`          // wire.RoleClient, RoleServer or RoleHandler
	From          string        `json:"from"`          // the peer's address, or "unix"
	Since         time.Time     `json:"since"`         // when it connected
	SendOnly      bool          `json:"send_only"`     // it takes no deliveries
	Subscriptions []hub.Pattern `json:"subscriptions"` // in the order in which it subscribed
	hub.DeliveryStats
	Lost uint64 `json:"lost"` // the sum of Losses
}

// Sessions returns the sessions that are open, those of handler processes too, in the order
// in which they connected.
func (s *Server) Sessions() []SessionStats {
	sessions := s.sessionList()
	slices.SortFunc(sessions, func(a, b *session) int { return a.accepted.Compare(b.accepted) })
	all := make([]SessionStats, 0, len(sessions))
	for _, n := range sessions {
		v := SessionStats{User: n.name, Role: n.role, From: "unix", Since: n.accepted, SendOnly: n.sendOnly, Subscriptions: n.subscriptions.list()}
		if n.address.IsValid() {
			v.From = n.conn.RemoteAddr().String()
		}
		if n.role != wire.RoleHandler {
			v.DeliveryStats = queueStats(n.out)
		}
		v.Lost = v.Losses.Total()
		all = append(all, v)
	}
	return all
}

var errKicked = errors.New("an administrator has ended the session")

// kick ends all sessions of a user but s itself, and returns how many there were, as JSON.
func (s *session) kick(user hub.UserName) (reply []byte, err error) {
	if !s.account.Load().IsAdmin() {
		return nil, s.notAdmin()
	}
	n := 0
	for _, other := range s.server.sessionList() {
		if other.name == user && other != s {
			n++
			other.terminate(errKicked)
		}
	}
	s.log.Info("sessions ended by an administrator", "kicked", string(user), "sessions", n)
	return fmt.Appendf(nil, `{"sessions":%d}`, n), nil
}

func (s *session) notAdmin() error {
	return fmt.Errorf("%w: account %q is no administrator: bester account allow --admin %s", hub.ErrDenied, s.name, s.name)
}
