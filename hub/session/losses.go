package session

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// Lost deliveries are told three times: to the receiver in a gap, to the operator in the
// log, as sums for each user, and in Server.Users.

// countLost notes deliveries that the session's queue has lost; the queue has counted them.
func (c *connection) countLost(lost bformat.Losses) {
	if c.user != nil {
		c.server.deliveries.noteLosses(c.user, hub.Losses(lost))
	}
}

// refused counts a delivery that the session has not taken, if err says so, and returns err.
func (s *session) refused(err error) error {
	if err == nil || s.user == nil {
		return err
	}
	why := hub.LossOf(err)
	s.user.refused[why].Add(1)
	var lost hub.Losses
	lost[why] = 1
	s.server.deliveries.noteLosses(s.user, lost)
	return err
}

// miss has the peer told that it misses a delivery that cannot be sent to it.
func (s *session) miss(err error, b *hub.Batch) {
	s.out.Miss(bformat.Loss(hub.LossOf(err)))
	s.scheduleFlush(b)
}

// appendGap appends the payload of the frame that tells a peer what it misses.
func appendGap(dst []byte, missed bformat.Losses) []byte {
	l := hub.Losses(missed)
	return wire.AppendGap(dst, l.Total(), lossText(l))
}

// lossText lists the reasons with their numbers, the most frequent first; if there is only
// one reason, without its number.
func lossText(l hub.Losses) string {
	if why := mostFrequent(l); l[why] == l.Total() {
		return why.String()
	}
	var parts []string
	for l.Total() > 0 {
		why := mostFrequent(l)
		parts = append(parts, fmt.Sprintf("%s: %d", why, l[why]))
		l[why] = 0
	}
	return strings.Join(parts, ", ")
}

// Losses are logged for each user as sums: the first within logSoon, those that follow
// every logEvery while there are any, and for logUsers users at most, those with most.
const (
	logSoon  = time.Second
	logEvery = 10 * time.Second
	logUsers = 10
)

// noteLosses adds losses to those that will be logged for a user.
func (l *deliveryCounters) noteLosses(u *userCounters, lost hub.Losses) {
	for i, n := range lost {
		if n > 0 {
			u.newLosses[i].Add(n)
		}
	}
	if u.logQueued.Load() || !u.logQueued.CompareAndSwap(false, true) {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	u.since = time.Now()
	l.unlogged = append(l.unlogged, u)
	if !l.scheduled {
		l.scheduled = true
		time.AfterFunc(max(logSoon, time.Until(l.lastLog.Add(logEvery))), l.logLosses)
	}
}

// logLosses logs the losses that are not logged yet.
func (l *deliveryCounters) logLosses() {
	type line struct {
		user  hub.UserName
		since time.Time
		lost  hub.Losses
	}
	l.mu.Lock()
	now := time.Now()
	l.scheduled, l.lastLog = false, now
	lines := make([]*line, 0, len(l.unlogged))
	for _, u := range l.unlogged {
		v := &line{user: u.name, since: u.since}
		u.logQueued.Store(false) // what comes from here on is logged next time, if it is not seen below
		for i := range u.newLosses {
			v.lost[i] = u.newLosses[i].Swap(0)
		}
		if v.lost.Total() > 0 {
			lines = append(lines, v)
		}
	}
	l.unlogged = nil
	l.mu.Unlock()

	slices.SortFunc(lines, func(a, b *line) int {
		return cmp.Or(cmp.Compare(b.lost.Total(), a.lost.Total()), cmp.Compare(a.user, b.user))
	})
	var others hub.Losses
	for i, v := range lines {
		if i >= logUsers {
			others.Add(v.lost)
			continue
		}
		level := slog.LevelWarn
		if v.lost.Total() == v.lost[hub.LossDisconnected] {
			level = slog.LevelInfo // whoever leaves does not want them
		}
		l.log.LogAttrs(context.Background(), level, "deliveries lost", slog.String("user", string(v.user)),
			slog.Uint64("count", v.lost.Total()), slog.Duration("in", now.Sub(v.since).Round(100*time.Millisecond)),
			slog.String("why", lossText(v.lost)), slog.String("remedy", remedyFor(v.lost)))
	}
	if n := others.Total(); n > 0 {
		l.log.LogAttrs(context.Background(), slog.LevelWarn, "deliveries lost for other users", slog.Int("users", len(lines)-logUsers),
			slog.Uint64("count", n), slog.String("why", lossText(others)), slog.String("remedy", "bester status lists them"))
	}
}

// mostFrequent returns the reason that counts most.
func mostFrequent(l hub.Losses) hub.Loss {
	most := 0
	for i, n := range l {
		if n > l[most] {
			most = i
		}
	}
	return hub.Loss(most)
}

// remedyFor says what an operator can do about the most frequent reason.
func remedyFor(l hub.Losses) string {
	switch mostFrequent(l) {
	case hub.LossMemory:
		return remedyMemory
	case hub.LossDisconnected:
		return "nothing is kept for users who are away; a server in the config keeps messages"
	case hub.LossTooLong:
		return "send less in one message; the receiver sets the limit"
	case hub.LossEncoding:
		return "send data that JSON can hold; the sender's status says what it cannot"
	case hub.LossDenied:
		return "bester account allow --add --receive, or change the route"
	}
	return "see why it reads so slowly, or raise session.queue"
}
