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
var errHeldOff = errors.New("too many failed logins from this address, try again in a minute")

const (
	maxAddresses = 1024 // that tries remembers; the one to be forgotten soonest makes room
	maxChecks    = 64   // logins of one address at once: a quarter of what account lets wait
)

// tries are the addresses that have logins under way, or have failed lately.
type tries struct {
	mu sync.Mutex
	of map[netip.Prefix]*try
}

// A try is what is known of an address. It is under tries.mu.
type try struct {
	until  time.Time // its failures are all forgotten then
	checks int       // logins under way
	held   bool      // and that has been logged
	wait   context.Context
	cancel context.CancelFunc // of those who wait to be checked
}

// failures returns how many failures count at that time, where one is forgotten in each span.
func (t *try) failures(now time.Time, span time.Duration) int {
	if left := t.until.Sub(now); left > 0 {
		return int((left + span - 1) / span)
	}
	return 0
}

// enter begins a login from an address, of which each failure counts for a span, most of
// them at once. The wait ends when those who wait to be checked are to go. It returns nil
// if the address is held off.
func (t *tries) enter(from netip.Prefix, now time.Time, span time.Duration, most int) (a *try, wait context.Context) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a = t.of[from]
	if a == nil {
		if len(t.of) >= maxAddresses {
			t.forget(now)
		}
		a = new(try)
		if t.of == nil {
			t.of = make(map[netip.Prefix]*try)
		}
		t.of[from] = a
	}
	failures := a.failures(now, span)
	if a.checks >= maxChecks || failures > 0 && failures+a.checks >= most {
		return nil, nil
	}
	a.checks++
	if a.wait == nil || a.wait.Err() != nil {
		a.wait, a.cancel = context.WithCancel(context.Background())
	}
	return a, a.wait
}

// leave ends a login: a good one clears the address, a bad one counts against it. It
// reports whether the address is held off from now on.
func (t *tries) leave(from netip.Prefix, a *try, err error, now time.Time, span time.Duration, most int) (begins bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	a.checks--
	switch {
	case err == nil:
		a.until, a.held = time.Time{}, false
	case errors.Is(err, account.ErrDenied):
		if a.until.Before(now) {
			a.until, a.held = now, false
		}
		a.until = a.until.Add(span)
		if a.failures(now, span) >= most {
			begins, a.held = !a.held, true
			a.cancel()
		}
	}
	if a.checks == 0 {
		a.cancel()
		if !a.until.After(now) && t.of[from] == a {
			delete(t.of, from)
		}
	}
	return begins
}

// forget makes room for one address.
func (t *tries) forget(now time.Time) {
	var soonest netip.Prefix
	for from, a := range t.of {
		if a.checks > 0 {
			continue
		}
		if !a.until.After(now) {
			delete(t.of, from)
		} else if first, ok := t.of[soonest]; !ok || a.until.Before(first.until) {
			soonest = from
		}
	}
	if len(t.of) >= maxAddresses {
		delete(t.of, soonest)
	}
}

// origin is what logins from an address count for: of IPv6 the network of a site, which
// has more addresses than could be counted; of a UNIX socket nothing.
func origin(a net.Addr) (netip.Prefix, bool) {
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
func (c *connection) attempt(check func(context.Context) error) error {
	s, most := c.server, c.limits.Failures
	ctx, cancel := context.WithTimeout(s.ctx, c.limits.Login)
	defer cancel()
	from, ok := origin(c.conn.RemoteAddr())
	if !ok {
		return check(ctx)
	}
	span := time.Minute / time.Duration(most)
	a, wait := s.tries.enter(from, time.Now(), span, most)
	if a == nil {
		s.stats.heldOff.Add(1)
		return errHeldOff
	}
	stop := context.AfterFunc(wait, cancel)
	err := check(ctx)
	stop()
	if err != nil && !errors.Is(err, account.ErrDenied) && wait.Err() != nil {
		s.stats.heldOff.Add(1)
		err = errHeldOff
	}
	if s.tries.leave(from, a, err, time.Now(), span, most) {
		s.warn(&s.often.heldOff, "address held off: it has failed to log in too often", slog.String("address", from.String()),
			slog.Int("failures", most), slog.String("remedy", "see which client there has a wrong name or password; session.failures says how many failures a minute may have"))
	}
	return err
}
