package session

import (
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// What becomes of the deliveries to each user. A session's queue counts those that it takes;
// when the session ends, its counters are added to those of its user. Nothing is counted
// twice, and nothing here is done for a delivery that reaches its receiver.

// maxAbsentUsers is how many users without a session the ledger keeps apart. The counters of
// those who left before are added up.
const maxAbsentUsers = 256

var (
	errQueueFull      = fmt.Errorf("%w: the receiver does not read fast enough", hub.ErrFull)
	errNoMemory       = fmt.Errorf("%w for what waits in the sessions' queues: session.memory sets the limit", hub.ErrMemory)
	errTooManyReplies = fmt.Errorf("%w: too many replies wait to be read", hub.ErrFull)
)

// A ledger holds the counters of all users. The zero value is ready.
type ledger struct {
	log *slog.Logger

	mu          sync.Mutex
	users       map[hub.UserName]*userLedger
	absent      []*userLedger     // those without a session, the longest absent first
	gone        hub.DeliveryStats // of users no longer in users
	goneRefused hub.Losses

	unlogged  []*userLedger // whose losses are to be logged
	lastLog   time.Time
	scheduled bool // logLosses will be called
}

// A userLedger holds the counters of one user.
type userLedger struct {
	name hub.UserName

	refused   [hub.NumLosses]atomic.Uint64 // deliveries that a session has not taken
	newLosses [hub.NumLosses]atomic.Uint64 // losses that are not logged yet
	rate      accountRate
	logQueued atomic.Bool // the ledger knows of news

	// Under ledger.mu:
	sessions  []*session
	ended     hub.DeliveryStats // of sessions that have ended
	forgotten bool              // its counters are in ledger.gone
	since     time.Time         // of news
}

// UserStats counts the deliveries to one user since the start.
type UserStats struct {
	User     hub.UserName `json:"user"`      // "" for all users who left long ago together
	Sessions int          `json:"sessions"`  // of clients, open now
	SendOnly int          `json:"send_only"` // of these, those that take no deliveries
	hub.DeliveryStats
	Lost uint64 `json:"lost"` // the sum of Losses, which counts also what a session has not taken
}

// open adds a session to the counters of its user.
func (l *ledger) open(n *session) {
	if n.role != wire.RoleClient && n.name == "" { // a classic server
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[n.name]
	if u == nil {
		u = &userLedger{name: n.name}
		if l.users == nil {
			l.users = make(map[hub.UserName]*userLedger)
		}
		l.users[n.name] = u
	}
	if i := slices.Index(l.absent, u); i >= 0 {
		l.absent = slices.Delete(l.absent, i, i+1)
	}
	u.sessions = append(u.sessions, n)
	n.user = u
}

// close adds the counters of a session that has ended, and whose queue has ended, to those
// of its user.
func (l *ledger) close(c *connection) {
	u := c.user
	if u == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.IndexFunc(u.sessions, func(n *session) bool { return n.connection == c })
	u.sessions = slices.Delete(u.sessions, i, i+1)
	u.ended.Add(queueStats(c.out))
	if len(u.sessions) > 0 {
		return
	}
	l.absent = append(l.absent, u)
	if len(l.absent) > maxAbsentUsers {
		oldest := l.absent[0]
		l.absent = slices.Delete(l.absent, 0, 1)
		delete(l.users, oldest.name)
		oldest.forgotten = true
		l.gone.Add(oldest.ended)
		l.goneRefused.Add(oldest.refusedLosses())
	}
}

// queueStats returns the counters of a queue. The reasons of bformat come first among the
// hub's, in the same order.
func queueStats(q *bformat.Queue) hub.DeliveryStats {
	s := q.Stats()
	return hub.DeliveryStats{Accepted: s.Accepted, Delivered: s.Delivered, Queued: s.Queued, Losses: hub.Losses(s.Lost)}
}

var _ = [1]int{}[hub.LossFull-hub.Loss(bformat.LossFull)+hub.LossMemory-hub.Loss(bformat.LossMemory)+
	hub.LossDisconnected-hub.Loss(bformat.LossEnded)+hub.LossTooLong-hub.Loss(bformat.OwnerLoss)+hub.NumLosses-bformat.NumLosses]

// lostLate counts n staged deliveries to a user whose session had ended before they reached
// its queue.
func (l *ledger) lostLate(u *userLedger, n uint64) {
	if u == nil {
		return
	}
	late := hub.DeliveryStats{Accepted: n, Losses: hub.Losses{hub.LossDisconnected: n}}
	l.mu.Lock()
	if u.forgotten {
		l.gone.Add(late)
	} else {
		u.ended.Add(late)
	}
	l.mu.Unlock()
	l.note(u, late.Losses)
}

// statsLocked returns the counters of a user. Under ledger.mu.
func (u *userLedger) statsLocked() UserStats {
	s := UserStats{User: u.name, DeliveryStats: u.ended}
	for _, n := range u.sessions {
		if n.role == wire.RoleClient {
			s.Sessions++
		}
		s.DeliveryStats.Add(queueStats(n.out))
		if n.sendOnly {
			s.SendOnly++
		}
	}
	s.Losses.Add(u.refusedLosses())
	s.Lost = s.Losses.Total()
	return s
}

func (u *userLedger) refusedLosses() (l hub.Losses) {
	for i := range u.refused {
		l[i] = u.refused[i].Load()
	}
	return l
}

// Users returns the counters of all users that have a session, and of those who left last,
// by name. If more have left, an entry without a name comes first and counts for them.
func (s *Server) Users() []UserStats {
	l := &s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []UserStats
	gone := UserStats{DeliveryStats: l.gone}
	gone.Losses.Add(l.goneRefused)
	if gone.Lost = gone.Losses.Total(); gone.Lost+gone.Delivered > 0 {
		all = append(all, gone)
	}
	for _, name := range slices.Sorted(maps.Keys(l.users)) {
		all = append(all, l.users[name].statsLocked())
	}
	return all
}

// Deliveries counts the deliveries that sessions have taken.
func (s *Server) Deliveries() hub.DeliveryStats {
	l := &s.ledger
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.gone
	for _, u := range l.users {
		d.Add(u.ended)
		for _, n := range u.sessions {
			d.Add(queueStats(n.out))
		}
	}
	return d
}
