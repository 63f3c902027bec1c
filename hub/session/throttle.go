package session

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/besterhub/bester/hub/account"
)

// Login throttling: an address with many failed logins must not use up the password checks
// of others. Each address has a leaky bucket: a failed login adds one, and one leaks out each
// minute/Limits.Failures. While the bucket holds Limits.Failures, logins from the address
// are refused unchecked. In a bucket that is not empty, logins in flight count as failures.

// errThrottled means that the password was not checked.
var errThrottled = errors.New("too many failed logins from this address, try again in a minute")

const (
	maxAddresses        = 1024 // in a loginThrottle; the one whose bucket is empty soonest is evicted
	maxLoginsPerAddress = 64   // in flight: a quarter of what account lets wait
)

// A loginThrottle knows the addresses that have logins in flight or recent failures.
type loginThrottle struct {
	mu        sync.Mutex
	addresses map[netip.Prefix]*addressState
}

// An addressState is the state of one address. It is under loginThrottle.mu.
type addressState struct {
	until     time.Time          // when the bucket is empty again
	inFlight  int                // logins that are being checked or wait for that
	throttled bool               // and that has been logged
	wait      context.Context    // of the logins that wait to be checked
	cancel    context.CancelFunc // of wait
}

// failures returns how many failures are in the bucket at time now. One leaks out each interval.
func (a *addressState) failures(now time.Time, interval time.Duration) int {
	if left := a.until.Sub(now); left > 0 {
		return int((left + interval - 1) / interval)
	}
	return 0
}

// begin begins a login from an address, whose bucket holds limit failures and leaks one
// each interval. It returns nil if the address is throttled. wait is canceled when the
// logins of the address that wait to be checked must give up.
func (t *loginThrottle) begin(from netip.Prefix, now time.Time, interval time.Duration, limit int) (a *addressState, wait context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a = t.addresses[from]
	if a == nil {
		if len(t.addresses) >= maxAddresses {
			t.evict(now)
		}
		a = new(addressState)
		if t.addresses == nil {
			t.addresses = make(map[netip.Prefix]*addressState)
		}
		t.addresses[from] = a
	}
	failures := a.failures(now, interval)
	if a.inFlight >= maxLoginsPerAddress || failures > 0 && failures+a.inFlight >= limit {
		return nil, nil
	}
	a.inFlight++
	if a.wait == nil || a.wait.Err() != nil {
		a.wait, a.cancel = context.WithCancel(context.Background())
	}
	return a, a.wait
}

// end ends a login. A successful one empties the bucket, a denied one adds to it. It
// reports whether throttling of the address begins with this login.
func (t *loginThrottle) end(from netip.Prefix, a *addressState, err error, now time.Time, interval time.Duration, limit int) (begins bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.inFlight--
	switch {
	case err == nil:
		a.until, a.throttled = time.Time{}, false
	case errors.Is(err, account.ErrDenied):
		if a.until.Before(now) {
			a.until, a.throttled = now, false
		}
		a.until = a.until.Add(interval)
		if a.failures(now, interval) >= limit {
			begins, a.throttled = !a.throttled, true
			a.cancel()
		}
	}
	if a.inFlight == 0 {
		a.cancel()
		if !a.until.After(now) && t.addresses[from] == a {
			delete(t.addresses, from)
		}
	}
	return begins
}

// evict makes room for one address.
func (t *loginThrottle) evict(now time.Time) {
	var soonest netip.Prefix
	for from, a := range t.addresses {
		if a.inFlight > 0 {
			continue
		}
		if !a.until.After(now) {
			delete(t.addresses, from)
		} else if first, ok := t.addresses[soonest]; !ok || a.until.Before(first.until) {
			soonest = from
		}
	}
	if len(t.addresses) >= maxAddresses {
		delete(t.addresses, soonest)
	}
}

// throttleKey returns the prefix that logins from an address count for. For IPv6 that is
// the /64 network, since one site has more addresses than could be counted. Logins over a
// UNIX socket are not throttled.
func throttleKey(a net.Addr) (netip.Prefix, bool) {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Prefix{}, false
	}
	ip := tcp.AddrPort().Addr().Unmap().WithZone("")
	bits := 32
	if ip.Is6() {
		bits = 64
	}
	p, err := ip.Prefix(bits)
	return p, err == nil && p.IsValid()
}

// throttleLogin calls check, which checks a password, with the login timeout. If the
// connection's address is throttled, it returns errThrottled instead.
func (c *connection) throttleLogin(check func(context.Context) error) error {
	s, limit := c.server, c.limits.Failures
	ctx, cancel := context.WithTimeout(s.ctx, c.limits.Login)
	defer cancel()
	from, ok := throttleKey(c.conn.RemoteAddr())
	if !ok {
		return check(ctx)
	}
	interval := time.Minute / time.Duration(limit)
	a, wait := s.throttle.begin(from, time.Now(), interval, limit)
	if a == nil {
		s.stats.throttled.Add(1)
		return errThrottled
	}
	stop := context.AfterFunc(wait, cancel)
	err := check(ctx)
	stop()
	if err != nil && !errors.Is(err, account.ErrDenied) && wait.Err() != nil {
		s.stats.throttled.Add(1)
		err = errThrottled
	}
	if s.throttle.end(from, a, err, time.Now(), interval, limit) {
		s.warn(&s.logLimiters.throttled, "address held off: it has failed to log in too often", slog.String("address", from.String()),
			slog.Int("failures", limit), slog.String("remedy", "see which client there has a wrong name or password; session.failures says how many failures a minute may have"))
	}
	return err
}
