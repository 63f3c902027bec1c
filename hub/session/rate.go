package session

import (
	"cmp"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/besterhub/bester/hub/socket"
)

// The rate limits of senders. Whoever sends more than Limits.Rate allows is not read on
// until it has fallen back to the limit: it feels the backpressure of its connection, as
// with credits, and loses nothing. All sessions of one account share its limit.
//
// The message that exceeds a limit is put into the hub first. The session then waits before
// it reads on, and has released the memory of its frame. A new session of an account that is
// still over the limit waits before its first message.
//
// Limits.TotalRate is shared: while all senders together are over it, those wait who send
// more than their share, which is the same for all accounts that send. Where some send less
// than their share, the others may send more.

// A Rate is how much may be sent in a second. The zero value is no limit.
type Rate struct {
	Messages int // 0: any number
	Bytes    int // of messages, as they come; 0: any number
}

// burst is how much may be sent at once: what the rate allows for so long.
const burst = time.Second

// hangUpInterval is how often a session that waits for a rate limit looks whether its peer
// is still there.
const hangUpInterval = time.Second

// An excess is for how long what was sent is over the rate, in messages and in bytes.
type excess struct{ messages, bytes time.Duration }

// longest returns how long the sender must wait.
func (e excess) longest() time.Duration { return max(e.messages, e.bytes, 0) }

// A rateLimiter counts what is sent against a Rate. The zero value is ready.
type rateLimiter struct {
	messages, bytes time.Duration // when all that was sent would have been sent at the rate
}

// add counts messages with n bytes at time now against a rate that is one of so many equal
// shares of r.
func (l *rateLimiter) add(r Rate, shares int, now time.Duration, messages, n int) (e excess) {
	if r.Messages > 0 {
		l.messages = max(l.messages, now) + time.Duration(messages*shares)*time.Second/time.Duration(r.Messages)
		e.messages = l.messages - now - burst
	}
	if r.Bytes > 0 {
		l.bytes = max(l.bytes, now) + time.Duration(float64(n)*float64(shares)/float64(r.Bytes)*float64(time.Second))
		e.bytes = l.bytes - now - burst
	}
	return e
}

// An accountRate counts what one account sends.
type accountRate struct {
	mu     sync.Mutex
	rate   rateLimiter // against Limits.Rate; under mu
	share  rateLimiter // against its share of Limits.TotalRate; under totalRate.mu
	active bool        // it is in totalRate.active; under totalRate.mu
}

// add counts messages with n bytes at time now. It returns how long their sender must wait.
func (a *accountRate) add(r Rate, now time.Duration, messages, n int) time.Duration {
	if r == (Rate{}) {
		return 0
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rate.add(r, 1, now, messages, n).longest()
}

// A totalRate counts what all accounts send against Limits.TotalRate. The zero value is ready.
type totalRate struct {
	mu      sync.Mutex
	all     rateLimiter
	active  []*accountRate // that have sent in the last second or are over their share
	swept   time.Duration  // when active was looked through last
	unnamed accountRate    // of classic servers, which have no accounts
}

// add counts messages with n bytes that an account sends at time now. It returns how long
// the account must wait: not at all if it keeps to its share.
func (t *totalRate) add(r Rate, a *accountRate, now time.Duration, messages, n int) time.Duration {
	if r == (Rate{}) {
		return 0
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.sweep(now)
	if messages > 0 && !a.active {
		a.active = true
		t.active = append(t.active, a)
	}
	all, own := t.all.add(r, 1, now, messages, n), a.share.add(r, max(len(t.active), 1), now, messages, n)
	e := excess{min(all.messages, own.messages), min(all.bytes, own.bytes)}
	// What the account sent over its share, while others left it to them, is not held
	// against it later.
	a.share.messages = min(a.share.messages, now+burst+max(e.messages, 0))
	a.share.bytes = min(a.share.bytes, now+burst+max(e.bytes, 0))
	return e.longest()
}

// sweep removes the accounts that have stopped sending from active, once a second.
func (t *totalRate) sweep(now time.Duration) {
	if now-t.swept < burst {
		return
	}
	t.swept = now
	still := t.active[:0]
	for _, a := range t.active {
		if a.active = max(a.share.messages, a.share.bytes) > now-burst; a.active {
			still = append(still, a)
		}
	}
	clear(t.active[len(still):])
	t.active = still
}

// limitRate counts a message of n bytes against the rates. If it is over them, the session
// waits before it reads on.
func (s *session) limitRate(n int) {
	if s.limits.Rate == (Rate{}) && s.limits.TotalRate == (Rate{}) {
		return
	}
	limit := s.countRate(1, n)
	if limit == "" {
		return
	}
	account, total := s.limits.Rate, s.limits.TotalRate
	s.server.stats.sendsSlowed.Add(1)
	s.warn(&s.server.logLimiters.sendsSlowed, "a sender is slowed down: it sends more than the limit",
		slog.String("user", string(s.name)), slog.String("limit", limit),
		slog.Int("messages", cmp.Or(account.Messages, total.Messages)), slog.Int("bytes", cmp.Or(account.Bytes, total.Bytes)))
}

// countRate counts messages with n bytes against the rates, and sets readAfter. It returns
// which limit they exceed, or "".
func (s *session) countRate(messages, n int) (limit string) {
	if s.limits.Rate == (Rate{}) && s.limits.TotalRate == (Rate{}) {
		return ""
	}
	rates := &s.server.rate.unnamed
	if s.user != nil {
		rates = &s.user.rate
	}
	now := time.Since(s.server.started)
	wait := s.server.rate.add(s.limits.TotalRate, rates, now, messages, n)
	if wait > 0 {
		limit = "session.total_rate"
	}
	if s.user != nil {
		if w := rates.add(s.limits.Rate, now, messages, n); w > wait {
			wait, limit = w, "session.rate"
		}
	}
	if wait > 0 {
		s.readAfter = now + wait
	}
	return limit
}

// errHungUp ends a session that waits for a rate limit and whose peer is gone.
var errHungUp = errors.New("the peer has hung up, and what it sent exceeds its rate")

// waitForRate waits until the rates allow the session to go on, or the session ends. It
// returns errHungUp if the connection breaks meanwhile. What a peer has sent before it closed
// is read to the end, unless that takes longer than Limits.WriteTimeout.
func (s *session) waitForRate() error {
	until := s.readAfter
	s.readAfter = 0
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		now := time.Since(s.server.started)
		left := until - now
		if left <= 0 {
			return nil
		}
		switch state := socket.Peer(s.conn); {
		case state == socket.PeerOpen:
		case state == socket.PeerGone:
			return errHungUp
		case state == socket.PeerClosed && s.in.Buffered() == 0:
			return nil // the next read returns io.EOF
		case s.closedAt == 0:
			s.closedAt = max(now, 1)
		case now-s.closedAt >= s.limits.WriteTimeout:
			return errHungUp
		}
		timer.Reset(min(left, hangUpInterval))
		select {
		case <-timer.C:
		case <-s.ended:
			return nil
		case <-s.writerDone:
			return errHungUp
		}
	}
}
