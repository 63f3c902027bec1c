package session

import (
	"cmp"
	"log/slog"
	"sync"
	"time"
)

// The rate limits of senders. Whoever sends more than Limits.Rate allows is not read on
// until it has fallen back to the limit: it feels the backpressure of its connection, as
// with credits, and loses nothing. All sessions of one account share its limit.

// A Rate is how much may be sent in a second. The zero value is no limit.
type Rate struct {
	Messages int // 0: any number
	Bytes    int // of messages, as they come; 0: any number
}

// burst is how much may be sent at once: what the rate allows for so long.
const burst = time.Second

// A rateLimiter counts what is sent against a Rate. The zero value is ready.
type rateLimiter struct {
	mu              sync.Mutex
	messages, bytes time.Duration // when all that was sent would have been sent at the rate
}

// reserve counts a message of n bytes at time now. It returns how long its sender must wait.
func (l *rateLimiter) reserve(r Rate, now time.Duration, n int) time.Duration {
	if r == (Rate{}) {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	var wait time.Duration
	if r.Messages > 0 {
		l.messages = max(l.messages, now) + time.Second/time.Duration(r.Messages)
		wait = l.messages - now - burst
	}
	if r.Bytes > 0 {
		l.bytes = max(l.bytes, now) + time.Duration(float64(n)/float64(r.Bytes)*float64(time.Second))
		wait = max(wait, l.bytes-now-burst)
	}
	return max(wait, 0)
}

// limitRate counts a message of n bytes against the rates, and waits where they say so, or
// until the session ends.
func (s *session) limitRate(n int) {
	account, total := s.limits.Rate, s.limits.TotalRate
	if account == (Rate{}) && total == (Rate{}) {
		return
	}
	now := time.Since(s.server.started)
	wait, limit := s.server.rate.reserve(total, now, n), "session.total_rate"
	if s.user != nil {
		if w := s.user.rate.reserve(account, now, n); w > wait {
			wait, limit = w, "session.rate"
		}
	}
	if wait <= 0 {
		return
	}
	s.server.stats.slowed.Add(1)
	s.warn(&s.server.logLimiters.slowed, "a sender is slowed down: it sends more than the limit",
		slog.String("user", string(s.name)), slog.String("limit", limit),
		slog.Int("messages", cmp.Or(account.Messages, total.Messages)), slog.Int("bytes", cmp.Or(account.Bytes, total.Bytes)))
	s.batch.Flush()
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ended:
	case <-s.writerDone:
	}
}
