package session

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
)

// Login throttling: who guesses passwords must not do so at any rate, and nobody else pays
// for it. Each account and address together have a leaky bucket: a failed login adds one,
// and one leaks out each minute/Limits.LoginFailures. While the bucket holds Limits.LoginFailures,
// logins to that account from that address are refused unchecked, but for one whose
// password has been checked before and is remembered. In a bucket that is not empty, logins
// in flight count as failures. So one device with a wrong password holds off no other
// account behind its address, and no other address of its account.

const (
	maxThrottled    = 4096 // buckets in a loginThrottle; the one that is empty soonest is evicted
	maxLoginsAtOnce = 256  // in flight, of one account and address
)

// A throttleKey is an account, by a hash of its name, and the address of who logs in.
type throttleKey struct {
	account uint64
	address netip.Prefix
}

// A loginThrottle has the buckets of accounts and addresses that have logins in flight or
// recent failures.
type loginThrottle struct {
	mu      sync.Mutex
	buckets map[throttleKey]*bucket
}

// A bucket is that of one account and address. It is under loginThrottle.mu.
type bucket struct {
	until     time.Time          // when it is empty again
	inFlight  int                // logins that are being checked or wait for that
	throttled bool               // and that has been logged
	wait      context.Context    // of the logins that wait to be checked
	cancel    context.CancelFunc // of wait
}

// failures returns how many failures are in the bucket at time now. One leaks out each interval.
func (b *bucket) failures(now time.Time, interval time.Duration) int {
	if left := b.until.Sub(now); left > 0 {
		return int((left + interval - 1) / interval)
	}
	return 0
}

// begin begins a login, of which the bucket holds limit failures and leaks one each
// interval. It returns nil if the login must not be checked now: for an error that wraps
// hub.ErrThrottled, or because too many are in flight. wait is canceled when the logins
// that wait to be checked must give up.
func (t *loginThrottle) begin(key throttleKey, now time.Time, interval time.Duration, limit int) (b *bucket, wait context.Context, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b = t.buckets[key]
	if b == nil {
		if len(t.buckets) >= maxThrottled {
			t.evict(now)
		}
		b = new(bucket)
		if t.buckets == nil {
			t.buckets = make(map[throttleKey]*bucket)
		}
		t.buckets[key] = b
	}
	failures := b.failures(now, interval)
	switch {
	case failures > 0 && failures+b.inFlight >= limit:
		return nil, nil, throttled(b.until.Sub(now) - time.Duration(max(limit-1, 0))*interval)
	case b.inFlight >= maxLoginsAtOnce:
		return nil, nil, hub.Reason(hub.ErrFull, "too many logins of this account from this address at once: try again")
	}
	b.inFlight++
	if b.wait == nil || b.wait.Err() != nil {
		b.wait, b.cancel = context.WithCancel(context.Background())
	}
	return b, b.wait, nil
}

// throttled says for how long logins are refused.
func throttled(left time.Duration) error {
	return hub.Reason(hub.ErrThrottled, "too many failed logins of this account from this address: try again in %v", max(left, time.Second).Round(time.Second))
}

// end ends a login. A successful one empties the bucket, a denied one adds to it. It
// reports whether throttling begins with this login.
func (t *loginThrottle) end(key throttleKey, b *bucket, err error, now time.Time, interval time.Duration, limit int) (begins bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	b.inFlight--
	switch {
	case err == nil:
		b.until, b.throttled = time.Time{}, false
	case errors.Is(err, account.ErrDenied):
		if b.until.Before(now) {
			b.until, b.throttled = now, false
		}
		b.until = b.until.Add(interval)
		if b.failures(now, interval) >= limit {
			begins, b.throttled = !b.throttled, true
			b.cancel()
		}
	}
	if b.inFlight == 0 {
		b.cancel()
		if !b.until.After(now) && t.buckets[key] == b {
			delete(t.buckets, key)
		}
	}
	return begins
}

// evict makes room for one bucket.
func (t *loginThrottle) evict(now time.Time) {
	var soonest throttleKey
	for key, b := range t.buckets {
		if b.inFlight > 0 {
			continue
		}
		if !b.until.After(now) {
			delete(t.buckets, key)
		} else if first, ok := t.buckets[soonest]; !ok || b.until.Before(first.until) {
			soonest = key
		}
	}
	if len(t.buckets) >= maxThrottled {
		delete(t.buckets, soonest)
	}
}

// peerPrefix returns whom connections from an address count for. For IPv6 that is the /64
// network, since one site has more addresses than could be counted. It is zero, which is not
// valid, for a UNIX socket, whose peers have no address.
func peerPrefix(a net.Addr) netip.Prefix {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, _ := ip.Prefix(bits) // zero if there is no IP address
	return p
}

var accountSeed = maphash.MakeSeed()

// throttleLogin calls check, which checks the password of the account, with the login
// timeout. If logins of the account from the connection's address are throttled, it
// returns an error that wraps hub.ErrThrottled instead. cached, if not nil, looks whether
// the password is remembered as right, which costs little and is never throttled.
func (c *connection) throttleLogin(user string, cached func() bool, check func(context.Context) error) error {
	s, limit := c.server, c.limits.LoginFailures
	ctx, cancel := context.WithTimeout(s.ctx, c.limits.LoginTimeout)
	defer cancel()
	if !c.address.IsValid() {
		return check(ctx)
	}
	key := throttleKey{maphash.String(accountSeed, user), c.address}
	interval := time.Minute / time.Duration(limit)
	b, wait, err := s.throttle.begin(key, time.Now(), interval, limit)
	if err != nil {
		if cached != nil && cached() {
			return nil
		}
		s.stats.loginsThrottled.Add(1)
		return err
	}
	stop := context.AfterFunc(wait, cancel)
	err = check(ctx)
	stop()
	if err != nil && !errors.Is(err, account.ErrDenied) && wait.Err() != nil {
		s.stats.loginsThrottled.Add(1)
		err = throttled(interval)
	}
	if s.throttle.end(key, b, err, time.Now(), interval, limit) {
		s.warnFor(&s.logLimiters.loginsThrottled, user+c.address.String(), "logins held off: too many have failed", slog.String("user", triedName(user)), slog.String("address", c.address.String()),
			slog.Int("failures", limit), slog.String("remedy", "see which client there has a wrong password; session.failures says how many failures a minute may have"))
	}
	return err
}
