package session

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

// subscriptionCost is about how much memory a subscription takes, in bytes.
func subscriptionCost(p hub.Pattern) int {
	const each, ofLevel = 256, 512
	return each + len(p) + ofLevel*(1+strings.Count(string(p), "/"))
}

// subscriptions returns how many bytes the subscriptions of all sessions together may take,
// and those of one account: an eighth, so that it does not take all that the hub has.
func (l *Limits) subscriptions() (all, ofAccount int) { return l.Memory / 4, l.Memory / 32 }

// subscriptionRate is how often one account may change its subscriptions, since each change
// costs the hub a little for all senders. Who does it more often is read more slowly.
var subscriptionRate = Rate{Messages: 1000}

// subscriptions are those of one session.
type subscriptions struct {
	sink     hub.Sink   // gets what they match; nil: the session cannot subscribe
	mu       sync.Mutex // a change of the account ends some, while the reader adds others
	patterns []hub.Pattern
}

// list returns the patterns in the order in which the session subscribed.
func (s *subscriptions) list() []hub.Pattern {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]hub.Pattern{}, s.patterns...)
}

// subscribe acts on a subscribe frame.
func (n *native) subscribe(tag uint64, body []byte) {
	n.limitSubscriptionRate()
	s, err := wire.ParseSubscription(body)
	if err == nil {
		err = n.addSubscription(s.Pattern)
	}
	if err == nil && s.Last {
		n.server.o.Router.PutLastValues(s.Pattern, (*lastValueSink)(n), &n.batch)
	}
	if err != nil {
		n.server.stats.subscriptionsRefused.Add(1)
	}
	if tag != 0 {
		n.status(tag, err, &n.batch)
	}
}

// A lastValueSink is a session that asks for last values. Only its reader uses it.
type lastValueSink native

// Put waits until the queue has room, so that none is lost however many there are.
func (s *lastValueSink) Put(m *hub.Message) error {
	n := (*native)(s)
	if n.out.Backpressured() {
		n.endBurst()
	}
	return n.refused(n.put(m, bformat.RequiredDelivery))
}

func (n *native) addSubscription(p hub.Pattern) error {
	if n.subscriptions.sink == nil {
		return hub.Reason(hub.ErrDenied, "a session that takes no deliveries cannot subscribe")
	}
	n.subscriptions.mu.Lock()
	defer n.subscriptions.mu.Unlock()
	// Under the lock: whoever takes the permission away has stored the account before it looks here.
	if a := n.account.Load(); !a.MayReceiveAll(p) {
		return hub.Reason(hub.ErrDenied, "%q may not receive %q: bester account allow --add --receive '%s' %s", n.name, p, p, n.name)
	}
	switch have := len(n.subscriptions.patterns); {
	case slices.Contains(n.subscriptions.patterns, p):
		return nil
	case have >= n.limits.MaxSubscriptions:
		return hub.Reason(hub.ErrFull, "this session has %d subscriptions, as many as one may have: session.subscriptions", have)
	}
	if err := n.server.countSubscription(n.name, p); err != nil {
		return err
	}
	n.server.o.Router.Subscribe(p, n.name, n.subscriptions.sink)
	n.subscriptions.patterns = append(n.subscriptions.patterns, p)
	return nil
}

// unsubscribe acts on an unsubscribe frame.
func (n *native) unsubscribe(tag uint64, body []byte) {
	n.limitSubscriptionRate()
	s, err := wire.ParseSubscription(body)
	if err == nil {
		n.endSubscriptions(func(p hub.Pattern) bool { return p == s.Pattern })
	}
	if tag != 0 {
		n.status(tag, err, &n.batch)
	}
}

// endSubscriptions ends those that end says.
func (s *session) endSubscriptions(end func(p hub.Pattern) bool) {
	s.subscriptions.mu.Lock()
	defer s.subscriptions.mu.Unlock()
	s.subscriptions.patterns = slices.DeleteFunc(s.subscriptions.patterns, func(p hub.Pattern) bool {
		if !end(p) {
			return false
		}
		s.server.o.Router.Unsubscribe(p, s.subscriptions.sink)
		s.server.uncountSubscription(s.name, p)
		return true
	})
}

func allPatterns(hub.Pattern) bool { return true }

// permissionsChanged ends the subscriptions to what the account may no longer receive, and
// tells the peer what it may receive now.
func (n *native) permissionsChanged(a *account.Account) {
	n.endSubscriptions(func(p hub.Pattern) bool { return !a.MayReceiveAll(p) })
	n.putHello("")
	n.out.Flush()
}

// countSubscription counts one more subscription, if an account may have it.
func (s *Server) countSubscription(user hub.UserName, p hub.Pattern) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all, ofAccount := s.limits.Load().subscriptions()
	cost, have := subscriptionCost(p), s.subscriptionsOf[user]
	switch {
	case have.bytes+cost > ofAccount:
		return hub.Reason(hub.ErrFull, "the sessions of %q have %d subscriptions, which take as much memory as those of one account may: session.memory", user, have.number)
	case s.subscriptions.bytes+cost > all:
		return hub.Reason(hub.ErrFull, "there are %d subscriptions, which take as much memory as they may: session.memory", s.subscriptions.number)
	}
	s.addSubscriptions(user, 1, cost)
	return nil
}

func (s *Server) uncountSubscription(user hub.UserName, p hub.Pattern) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.addSubscriptions(user, -1, -subscriptionCost(p))
}

func (s *Server) addSubscriptions(user hub.UserName, number, bytes int) {
	s.subscriptions.add(number, bytes)
	of := s.subscriptionsOf[user]
	if of.add(number, bytes); of.number == 0 {
		delete(s.subscriptionsOf, user)
	} else {
		s.subscriptionsOf[user] = of
	}
}

// A subscriptionCount is how many subscriptions there are, and how many bytes they take.
type subscriptionCount struct{ number, bytes int }

func (c *subscriptionCount) add(number, bytes int) {
	c.number += number
	c.bytes += bytes
}

// limitSubscriptionRate has the session wait before it reads on, if its account changes
// subscriptions too often.
func (n *native) limitSubscriptionRate() {
	if n.user == nil {
		return
	}
	now := time.Since(n.server.started)
	if wait := n.user.subscriptionRate.add(subscriptionRate, now, 1, 0); wait > 0 {
		n.readAfter = max(n.readAfter, now+wait)
	}
}
