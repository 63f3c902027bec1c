package session

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/wire"
)

func TestThrottle(t *testing.T) {
	const limit, interval = 3, 20 * time.Second
	var all loginThrottle
	now := time.Now()
	from := throttleKey{1, netip.MustParsePrefix("10.0.0.1/32")}
	try := func(err error) (in, begins bool) {
		a, _, _ := all.begin(from, now, interval, limit)
		if a == nil {
			return false, false
		}
		return true, all.end(from, a, err, now, interval, limit)
	}
	for i, c := range []struct {
		later      time.Duration
		err        error
		in, begins bool
	}{
		{0, account.ErrDenied, true, false},
		{0, account.ErrBusy, true, false}, // does not count as a failure
		{0, account.ErrDenied, true, false},
		{0, account.ErrDenied, true, true},
		{0, nil, false, false},
		{interval - 1, nil, false, false},
		{1, account.ErrDenied, true, false}, // one has leaked; throttled again, but not reported again
		{interval / 2, nil, false, false},
		{interval / 2, nil, true, false}, // empties the bucket
		{0, account.ErrDenied, true, false},
		{0, account.ErrDenied, true, false},
		{time.Hour, account.ErrDenied, true, false},
		{0, account.ErrDenied, true, false},
		{0, account.ErrDenied, true, true},
	} {
		now = now.Add(c.later)
		if in, begins := try(c.err); in != c.in || begins != c.begins {
			t.Errorf("login %d: let in %t, throttling begins %t", i, in, begins)
		}
	}
	now = now.Add(time.Hour)
	try(nil)
	if len(all.buckets) != 0 {
		t.Errorf("%d buckets are kept", len(all.buckets))
	}
}

// Logins in flight count as failures once there is one, and logins that wait are canceled
// when the address is throttled.
func TestThrottleInFlight(t *testing.T) {
	const limit, interval = 3, 20 * time.Second
	var all loginThrottle
	now := time.Now()
	from := throttleKey{1, netip.MustParsePrefix("10.0.0.1/32")}
	var pending []*bucket
	var wait context.Context
	for range maxLoginsAtOnce {
		a, w, _ := all.begin(from, now, interval, limit)
		pending, wait = append(pending, a), w
	}
	// Nothing has failed, so one too many is not told that.
	if more, _, err := all.begin(from, now, interval, limit); pending[maxLoginsAtOnce-1] == nil || more != nil || !errors.Is(err, hub.ErrFull) {
		t.Fatalf("want %d at once without a failure", maxLoginsAtOnce)
	}
	for i, a := range pending {
		if held := wait.Err() != nil; held != (i >= limit) {
			t.Fatalf("after %d failures those who wait are sent away: %t", i, held)
		}
		err := account.ErrDenied
		if i >= limit {
			err = context.Canceled
		}
		all.end(from, a, err, now, interval, limit)
	}
	now = now.Add(interval)
	a, wait, _ := all.begin(from, now, interval, limit)
	if more, _, err := all.begin(from, now, interval, limit); a == nil || wait.Err() != nil || more != nil || !errors.Is(err, hub.ErrThrottled) {
		t.Error("want one more try after a while")
	}
}

// Logins of one address fail and succeed concurrently, for the race detector.
func TestConcurrentLogins(t *testing.T) {
	s := NewServer(Options{Limits: Limits{LoginFailures: 1}})
	c := &connection{server: s, address: netip.MustParsePrefix("10.0.0.1/32"), limits: s.limits.Load()}
	var seen atomic.Int64 // buckets
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 300 {
				c.throttleLogin("ann", nil, func(context.Context) error {
					runtime.Gosched()
					if i%2 == 0 {
						return account.ErrDenied
					}
					return nil
				})
				s.throttle.mu.Lock()
				seen.Add(int64(len(s.throttle.buckets)))
				for _, a := range s.throttle.buckets {
					a.until = time.Time{} // a minute passes
				}
				s.throttle.mu.Unlock()
			}
		})
	}
	all.Wait()
	if seen.Load() == 0 {
		t.Error("no failed login was counted")
	}
	s.throttle.mu.Lock()
	defer s.throttle.mu.Unlock()
	for _, a := range s.throttle.buckets {
		if a.inFlight != 0 {
			t.Errorf("%d logins are in flight", a.inFlight)
		}
	}
}

func TestThrottleIsBounded(t *testing.T) {
	var all loginThrottle
	now := time.Now()
	key := func(i int) throttleKey {
		p, _ := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}).Prefix(32)
		return throttleKey{uint64(i % 7), p}
	}
	for i := range 3 * maxThrottled {
		a, _, _ := all.begin(key(i), now, time.Minute, 1)
		if a == nil {
			t.Fatalf("address %d is throttled for the others", i)
		}
		all.end(key(i), a, account.ErrDenied, now, time.Minute, 1)
		now = now.Add(time.Millisecond)
		if len(all.buckets) > maxThrottled {
			t.Fatalf("%d are remembered", len(all.buckets))
		}
	}
	newest, _, _ := all.begin(key(3*maxThrottled-1), now, time.Minute, 1)
	if oldest, _, _ := all.begin(key(0), now, time.Minute, 1); newest != nil || oldest == nil {
		t.Error("the newest was forgotten, or the oldest was not")
	}
}

func TestPeerPrefix(t *testing.T) {
	for _, c := range []struct {
		a    net.Addr
		want string
	}{
		{&net.TCPAddr{IP: net.IPv4(10, 1, 2, 3), Port: 1}, "10.1.2.3/32"},
		{&net.TCPAddr{IP: net.ParseIP("::ffff:10.1.2.3"), Port: 1}, "10.1.2.3/32"},
		{&net.TCPAddr{IP: net.ParseIP("2001:db8:1:2:3:4:5:6")}, "2001:db8:1:2::/64"},
		{&net.TCPAddr{IP: net.ParseIP("fe80::1"), Zone: "eth0"}, "fe80::/64"},
		{&net.UnixAddr{Name: "@"}, ""},
		{&net.TCPAddr{}, ""},
	} {
		if p := peerPrefix(c.a); p.IsValid() != (c.want != "") || p.IsValid() && p.String() != c.want {
			t.Errorf("%v: got %v, want %q", c.a, p, c.want)
		}
	}
}

// Logins of an account from an address with too many failures are not checked any more, but
// for who is known to have the right password; those of other accounts and addresses are.
func TestFailedLoginsAreThrottled(t *testing.T) {
	h := run(t, Options{Limits: Limits{LoginFailures: 3}})
	h.account(t, "ann", nil)
	login := func(password string) error {
		n, err := client.Dial(t.Context(), "tcp", h.tcp, client.Options{User: "ann", Password: password})
		if n != nil {
			n.Close(t.Context())
		}
		return err
	}
	for range 2 {
		if err := login("wrong"); !errors.Is(err, hub.ErrDenied) {
			t.Fatal(err)
		}
	}
	_, token, err := h.accounts.LoginFrom(t.Context(), account.LoginRequest{Name: "ann", Password: "p"})
	if err != nil {
		t.Fatal(err)
	}
	if err := login("p"); err != nil { // empties the bucket
		t.Fatal(err)
	}
	for range 3 {
		if err := login("wrong"); !errors.Is(err, hub.ErrDenied) {
			t.Fatal(err)
		}
	}
	checked := h.accounts.Stats()
	for range 5 {
		if err := login("wrong"); !errors.Is(err, hub.ErrThrottled) {
			t.Fatalf("got %v, want hub.ErrThrottled", err)
		}
	}
	p := h.peer(t, "tcp", h.tcp)
	p.text(classicLogin("ann", "wrong"))
	p.wantIn(`"bad"`, "too many failed logins of this account from this address: try again in", `"auth_special"`)
	p.want("end")
	if s := h.accounts.Stats(); s.Hashes != checked.Hashes {
		t.Errorf("a password was checked: %+v, then %+v", checked, s)
	}
	if s := h.Stats(); s.LoginsThrottled != 6 {
		t.Errorf("got %+v", s)
	}
	h.log.want(t, "logins held off", "user=ann", "127.0.0.1/32", "session.failures")
	if err := login("p"); err != nil {
		t.Errorf("the right password, which was checked before: %v", err)
	}

	resumed := h.peer(t, "tcp", h.tcp)
	resumed.hello(&wire.Hello{Role: wire.RoleClient, User: "ann", Password: "wrong", Token: token})
	resumed.wantIn("hello")

	// A neighbour behind the same address pays for nothing.
	h.account(t, "bob", nil)
	n, err := client.Dial(t.Context(), "tcp", h.tcp, client.Options{User: "bob", Password: "p"})
	if err != nil {
		t.Fatal("another account from there:", err)
	}
	n.Close(t.Context())

	// Logins from a UNIX socket and from another address succeed.
	h.classic(t, "ann")
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	c, err := d.Dial("tcp", h.tcp)
	if err != nil {
		t.Fatal("another address of this machine to come from:", err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	other := &peer{Conn: c, t: t, in: bformat.NewReader(c, 0)}
	other.hello(&wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p"})
	other.wantIn("hello")
}

// slowAccounts deny all logins, one after the other.
type slowAccounts struct {
	turn    chan struct{} // each login takes one
	checked chan error
}

func (a *slowAccounts) LoginFrom(ctx context.Context, _ account.LoginRequest) (*account.Account, string, error) {
	err := account.ErrDenied
	select {
	case <-a.turn:
	case <-ctx.Done():
		err = ctx.Err()
	}
	a.checked <- err
	return nil, "", err
}

func (*slowAccounts) Cached(account.LoginRequest) *account.Account { return nil }

func (*slowAccounts) Lookup(hub.UserName) *account.Account { return nil }

func (*slowAccounts) ChangePassword(context.Context, hub.UserName, string, string) error {
	return account.ErrDenied
}

// Logins that wait for their check are canceled when the address is throttled.
func TestWaitingLoginsAreCanceled(t *testing.T) {
	h := run(t, Options{Limits: Limits{LoginFailures: 2, LoginTimeout: time.Minute}})
	const n = 20
	a := &slowAccounts{make(chan struct{}), make(chan error, n)}
	h.Server.o.Accounts = a
	var all []*peer
	for range n {
		p := h.peer(t, "tcp", h.tcp)
		p.text(classicLogin("ann", "p"))
		all = append(all, p)
	}
	until(t, "all wait", func() bool {
		h.Server.throttle.mu.Lock()
		defer h.Server.throttle.mu.Unlock()
		for _, v := range h.Server.throttle.buckets {
			return v.inFlight == n
		}
		return false
	})
	a.turn <- struct{}{}
	a.turn <- struct{}{}
	denied := 0
	for range n {
		if <-a.checked == account.ErrDenied {
			denied++
		}
	}
	if denied != 2 {
		t.Errorf("%d were checked, want 2", denied)
	}
	for _, p := range all {
		p.wantIn(`"bad"`)
	}
	if s := h.Stats(); s.LoginsThrottled != n-2 {
		t.Errorf("got %+v", s)
	}
}
