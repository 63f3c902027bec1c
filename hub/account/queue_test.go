package account

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
)

// address returns the i-th address of a network.
func address(i int) netip.Prefix {
	return netip.PrefixFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 32)
}

func checkEmpty(t *testing.T, s *Store) {
	t.Helper()
	q := s.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.running != 0 || len(q.waiting)+len(q.classes)+len(q.sources)+len(q.addresses) != 0 {
		t.Errorf("%d run, %d wait and %d, %d, %d shares are left, with nobody there",
			q.running, len(q.waiting), len(q.classes), len(q.sources), len(q.addresses))
	}
}

// A bench is a Store whose hashes take until the test lets them end, one after the other.
// A password that begins with "right" is right.
type bench struct {
	*Store
	t      *testing.T
	logins sync.WaitGroup
	step   chan struct{}
	mu     sync.Mutex
	hashed []string // passwords
	busy   int
}

// newBench must be called in a synctest bubble.
func newBench(t *testing.T, opts Options, accounts ...hub.UserName) *bench {
	t.Helper()
	opts.Parallel = 1
	b := &bench{Store: createStore(t, filepath.Join(t.TempDir(), "accounts"), opts), t: t, step: make(chan struct{})}
	for _, name := range accounts {
		must(t, b.Add(name, "x", DefaultPermissions()))
	}
	b.compare = func(_, password []byte) error {
		<-b.step
		b.mu.Lock()
		defer b.mu.Unlock()
		b.hashed = append(b.hashed, string(password))
		if len(password) < 5 || string(password[:5]) != "right" {
			return bcrypt.ErrMismatchedHashAndPassword
		}
		return nil
	}
	return b
}

// login begins a login and waits until it has its place.
func (b *bench) login(name hub.UserName, password string, from netip.Prefix, done func(error)) {
	b.logins.Go(func() {
		_, _, err := b.LoginFrom(b.t.Context(), LoginRequest{Name: name, Password: password, From: from})
		if err == ErrBusy {
			b.mu.Lock()
			b.busy++
			b.mu.Unlock()
		}
		if done != nil {
			done(err)
		}
	})
	synctest.Wait()
}

// good is a done that wants the login to be good.
func (b *bench) good(err error) {
	if err != nil {
		b.t.Errorf("a right login: %v", err)
	}
}

// turns lets n hashes end and returns which passwords they were of.
func (b *bench) turns(n int) []string {
	before := len(b.hashed)
	for range n {
		b.step <- struct{}{}
		synctest.Wait()
	}
	return b.hashed[before:]
}

// finish lets all hashes end.
func (b *bench) finish() {
	close(b.step)
	b.logins.Wait()
	checkEmpty(b.t, b.Store)
}

func TestRightLoginInAFlood(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, "ann", "ben", "eve")
		for i := range 3000 {
			name := hub.UserName(fmt.Sprint("nobody", i))
			if i%3 == 0 {
				name = "eve"
			}
			b.login(name, "wrong", address(i), nil)
		}
		if n := len(b.queue.waiting); n != 256 {
			t.Fatalf("%d wait, want 256", n)
		}
		shed := b.Stats().Shed
		b.login("ann", "right", address(9000), b.good)
		b.login("ben", "right", address(9001), b.good)
		if got := b.turns(6); !slices.Equal(got[1:5], []string{"wrong", "wrong", "right", "right"}) {
			t.Errorf("got turns %q, want two classes of the flood, then the right logins", got)
		}
		b.finish()
		if s := b.Stats(); s.Good != 2 || s.Shed != shed+2 || s.Busy != 3000-257+2 || int(s.Busy) != b.busy {
			t.Errorf("got %+v and %d busy, want 2 more shed than %d", s, b.busy, shed)
		}
	})
}

func TestManyRightLoginsFromOneAddress(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []hub.UserName
		for i := range 150 {
			names = append(names, hub.UserName(fmt.Sprint("board", i)))
		}
		b := newBench(t, Options{}, names...)
		for i := range 100 {
			b.login("nobody", "wrong", address(i), nil)
		}
		for _, name := range names {
			b.login(name, "right", address(9000), b.good)
		}
		b.finish()
		if s := b.Stats(); s.Good != 150 || s.Busy != 0 {
			t.Errorf("got %+v, want 150 good and none busy", s)
		}
	})
}

func TestOneAddressCannotFillTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{Waiting: 8}, "ann", "ben")
		for i := range 20 {
			b.login(hub.UserName(fmt.Sprint("nobody", i)), "wrong", address(1), nil)
		}
		if n := len(b.queue.waiting); n != 6 {
			t.Errorf("%d wait from one address, want 6", n)
		}
		// Two more places, then the address gives way.
		b.login("ann", "right 1", address(1), nil) // that of the flood, so another of it is shed
		for i, name := range []hub.UserName{"ann", "ben", "ann"} {
			b.login(name, fmt.Sprint("right ", i+2), address(i+2), b.good)
		}
		if n := len(b.queue.waiting); n != 8 {
			t.Errorf("%d wait, want 8", n)
		}
		if got, want := b.turns(5)[1:], []string{"wrong", "right 1", "right 3", "wrong"}; !slices.Equal(got, want) {
			t.Errorf("got turns %q, want %q", got, want)
		}
		b.finish()
	})
}

func TestKnownAddressGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{CacheTTL: -1}, "ann", "ben")
		b.login("ann", "right", address(1), b.good)
		b.login("ben", "right", address(2), b.good)
		b.turns(2)
		for i := range 300 {
			b.login("nobody", "wrong", address(100+i), nil)
		}
		b.login("ben", "elsewhere", address(1), nil) // known, but not to ben
		for i := range 4 {
			b.login("ann", fmt.Sprint("right ", i), address(1), b.good)
		}
		b.login("ben", "right 4", address(2), b.good)
		// The first hash had begun. Accounts take turns, and others get one turn in four.
		want := []string{"wrong", "right 0", "right 4", "right 1", "wrong", "right 2", "right 3", "elsewhere"}
		if got := b.turns(8); !slices.Equal(got, want) {
			t.Errorf("got turns %q, want %q", got, want)
		}
		b.finish()
	})
}

// A login that another one has answered does not wait on.
func TestSameLoginDoesNotWaitForItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, "ann")
		for range 10 {
			b.login("nobody", "wrong", address(1), nil)
			b.login("ann", "right", address(2), b.good)
			b.login("ann", "wrong", address(3), nil)
		}
		b.turns(3)
		if s := b.Stats(); s.Good != 10 || s.CacheHits != 9 {
			t.Errorf("got %+v, want 10 good, 9 of them cached", s)
		}
		b.finish()
	})
}

// Whoever gives up waiting loses no slot.
func TestLoginsThatGiveUp(t *testing.T) {
	s := createStore(t, filepath.Join(t.TempDir(), "accounts"), Options{Parallel: 2, Waiting: 16})
	must(t, s.Add("ann", "x", DefaultPermissions()))
	s.compare = func(_, _ []byte) error { return bcrypt.ErrMismatchedHashAndPassword }
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				go cancel()
				name := []hub.UserName{"ann", "nobody"}[j%2]
				if _, _, err := s.LoginFrom(ctx, LoginRequest{Name: name, Password: "wrong", From: address(i)}); err != ErrDenied && err != ErrBusy && !errors.Is(err, context.Canceled) {
					t.Errorf("got %v", err)
				}
				cancel()
			}
		})
	}
	wg.Wait()
	checkEmpty(t, s)
}

func TestKnownAddressesAreBounded(t *testing.T) {
	k := newKnownAddresses()
	for i := range 3 * maxKnown {
		k.add("ann", address(i))
		k.add("ann", address(i))
	}
	if len(k.pairs) != maxKnown || len(k.order) != maxKnown {
		t.Errorf("%d and %d are remembered, want %d", len(k.pairs), len(k.order), maxKnown)
	}
	for i, want := range map[int]bool{0: false, 2*maxKnown - 1: false, 2 * maxKnown: true, 3*maxKnown - 1: true} {
		if got := k.has("ann", address(i)); got != want {
			t.Errorf("address %d is known: %v, want %v", i, got, want)
		}
	}
	if k.has("ben", address(3*maxKnown-1)) {
		t.Error("known to another account")
	}
}
