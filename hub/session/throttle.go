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

// An address that fails to log in again and again must not keep those busy who check
// the passwords of others: after Limits.Failures within a minute it is held off, and
// gets one try whenever a failure has been forgotten, one each minute/Failures.

// errHeldOff: nothing was checked.
var errThrottled = errors.New("too many failed logins from this address, try again in a minute")

const (
	maxAddresses        = 1024 // that tries remembers; the one to be forgotten soonest makes room
	maxLoginsPerAddress = 64   // logins of one address at once: a quarter of what account lets wait
)

// tries are the addresses that have logins under way, or have failed lately.
type loginThrottle struct {
	mu        sync.Mutex
	addresses map[netip.Prefix]*addressState
}

// A try is what is known of an address. It is under tries.mu.
type addressState struct {
	until     time.Time // its failures are all forgotten then
	inFlight  int       // logins under way
	throttled bool      // and that has been logged
	wait      context.Context
	cancel    context.CancelFunc // of those who wait to be checked
}

// failures returns how many failures count at that time, where one is forgotten in each interval.
func (t *addressState) failures(now time.Time, interval time.Duration) int {
	if left := t.until.Sub(now); left > 0 {
		return int((left + interval - 1) / interval)
	}
	return 0
}

// enter begins a login from an address, of which each failure counts for a interval, limit of
// them at once. The wait ends when those who wait to be checked are to go. It returns nil
// if the address is held off.
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

// leave ends a login: a good one clears the address, a bad one counts against it. It
// reports whether the address is held off from now on.
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

// forget makes room for one address.
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

// origin is what logins from an address count for: of IPv6 the network of a site, which
// has more addresses than could be counted; of a UNIX socket nothing.
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

// attempt has check look at a password, for as long as a login may take, unless the
// connection's address is held off.
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
