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

// maxOfflineUsers is how many users without a session are counted one by one. The counters of
// those who left before are added up.
const maxOfflineUsers = 256

var (
	errQueueFull      = fmt.Errorf("%w: the receiver does not read fast enough", hub.ErrFull)
	errNoMemory       = fmt.Errorf("%w for what waits in the sessions' queues: session.memory sets the limit", hub.ErrMemory)
	errTooManyReplies = fmt.Errorf("%w: too many replies wait to be read", hub.ErrFull)
)

// deliveryCounters are the counters of all users. The zero value is ready.
type deliveryCounters struct {
	log *slog.Logger

	mu             sync.Mutex
	users          map[hub.UserName]*userCounters
	offline        []*userCounters   // those without a session, the longest offline first
	evicted        hub.DeliveryStats // of users no longer in users
	evictedRefused hub.Losses

	unlogged  []*userCounters // whose losses are to be logged
	lastLog   time.Time
	scheduled bool // logLosses will be called
}

// userCounters are those of one user.
type userCounters struct {
	name hub.UserName

	refused          [hub.NumLosses]atomic.Uint64 // deliveries that a session has not taken
	newLosses        [hub.NumLosses]atomic.Uint64 // losses that are not logged yet
	rate             accountRate
	subscriptionRate accountRate
	logQueued        atomic.Bool // it is in deliveryCounters.unlogged

	// Under deliveryCounters.mu:
	sessions []*session
	ended    hub.DeliveryStats // of sessions that have ended
	evicted  bool              // its counters are in deliveryCounters.evicted
	since    time.Time         // of the oldest in newLosses
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
func (l *deliveryCounters) open(n *session) {
	if n.role != wire.RoleClient && n.name == "" { // a classic server
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u := l.users[n.name]
	if u == nil {
		u = &userCounters{name: n.name}
		if l.users == nil {
			l.users = make(map[hub.UserName]*userCounters)
		}
		l.users[n.name] = u
	}
	if i := slices.Index(l.offline, u); i >= 0 {
		l.offline = slices.Delete(l.offline, i, i+1)
	}
	u.sessions = append(u.sessions, n)
	n.user = u
}

// close adds the counters of a session that has ended, and whose queue has ended, to those
// of its user.
func (l *deliveryCounters) close(c *connection) {
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
	l.offline = append(l.offline, u)
	if len(l.offline) > maxOfflineUsers {
		oldest := l.offline[0]
		l.offline = slices.Delete(l.offline, 0, 1)
		delete(l.users, oldest.name)
		oldest.evicted = true
		l.evicted.Add(oldest.ended)
		l.evictedRefused.Add(oldest.refusedLosses())
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
func (l *deliveryCounters) lostLate(u *userCounters, n uint64) {
	if u == nil {
		return
	}
	late := hub.DeliveryStats{Accepted: n, Losses: hub.Losses{hub.LossDisconnected: n}}
	l.mu.Lock()
	if u.evicted {
		l.evicted.Add(late)
	} else {
		u.ended.Add(late)
	}
	l.mu.Unlock()
	l.noteLosses(u, late.Losses)
}

// statsLocked returns the counters of a user. Under deliveryCounters.mu.
func (u *userCounters) statsLocked() UserStats {
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

func (u *userCounters) refusedLosses() (l hub.Losses) {
	for i := range u.refused {
		l[i] = u.refused[i].Load()
	}
	return l
}

// Users returns the counters of all users that have a session, and of those who left last,
// by name. If more have left, an entry without a name comes first and counts for them.
func (s *Server) Users() []UserStats {
	l := &s.deliveries
	l.mu.Lock()
	defer l.mu.Unlock()
	var all []UserStats
	evicted := UserStats{DeliveryStats: l.evicted}
	evicted.Losses.Add(l.evictedRefused)
	if evicted.Lost = evicted.Losses.Total(); evicted.Lost+evicted.Delivered > 0 {
		all = append(all, evicted)
	}
	for _, name := range slices.Sorted(maps.Keys(l.users)) {
		all = append(all, l.users[name].statsLocked())
	}
	return all
}

// Deliveries counts the deliveries that sessions have taken.
func (s *Server) Deliveries() hub.DeliveryStats {
	l := &s.deliveries
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.evicted
	for _, u := range l.users {
		d.Add(u.ended)
		for _, n := range u.sessions {
			d.Add(queueStats(n.out))
		}
	}
	return d
}
