package account

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
)

// count returns how many bcrypt hashes do costs, by the Store's own count.
func count(s *Store, do func()) uint64 {
	before := s.Stats().Hashes
	do()
	return s.Stats().Hashes - before
}

func tryLogin(t *testing.T, s *Store, name hub.UserName, password string, want error, hashes uint64) {
	t.Helper()
	var a *Account
	var err error
	n := count(s, func() { a, err = s.Login(t.Context(), name, password) })
	if err != want || (err == nil) != (a != nil) || a != nil && a.Name() != name {
		t.Errorf("Login(%q, %.20q) = %v, %v, want error %v", name, password, a, err, want)
	}
	if n != hashes {
		t.Errorf("Login(%q, %.20q) cost %d hashes, want %d", name, password, n, hashes)
	}
}

func TestLogin(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("alice", "secret", DefaultPermissions()))
	must(t, s.Add("bob", "secret", DefaultPermissions()))

	// A wrong user costs what a wrong password costs, each time.
	for range 2 {
		tryLogin(t, s, "alice", "Secret", ErrDenied, 1)
		tryLogin(t, s, "nobody", "secret", ErrDenied, 1)
		tryLogin(t, s, "Alice", "secret", ErrDenied, 1)
		tryLogin(t, s, "", "secret", ErrDenied, 1)
	}
	tryLogin(t, s, "alice", "secret", nil, 1)
	tryLogin(t, s, "alice", "secret", nil, 0)
	tryLogin(t, s, "alice", "wrong", ErrDenied, 1) // does not match the cached login
	tryLogin(t, s, "alice", "secret", nil, 0)      // which stays cached
	tryLogin(t, s, "bob", "secret", nil, 1)        // the same password is another login

	// No account can have these.
	tryLogin(t, s, "alice", "", ErrDenied, 0)
	tryLogin(t, s, "alice", strings.Repeat("x", MaxPassword+1), ErrDenied, 0)

	want := Stats{Good: 4, CacheHits: 2, Denied: 11, Hashes: 11 + 2}
	if got := s.Stats(); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

func TestCachedLoginIsInvalidated(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("alice", "secret", DefaultPermissions()))
	tryLogin(t, s, "alice", "secret", nil, 1)

	must(t, s.Add("bob", "x", DefaultPermissions()))
	must(t, s.Allow("alice", func(p *Permissions) { p.Admin = true }))
	must(t, s.Reload())
	tryLogin(t, s, "alice", "secret", nil, 0) // other changes keep it cached

	must(t, s.SetPassword("alice", "secret")) // a new hash, though of the same password
	tryLogin(t, s, "alice", "secret", nil, 1)
	must(t, s.SetPassword("alice", "new"))
	tryLogin(t, s, "alice", "secret", ErrDenied, 1)
	tryLogin(t, s, "alice", "new", nil, 1)

	must(t, s.Remove("alice"))
	tryLogin(t, s, "alice", "new", ErrDenied, 1)
	must(t, s.Add("alice", "new", DefaultPermissions()))
	tryLogin(t, s, "alice", "new", nil, 1)
}

func TestCachedLoginExpires(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	synctest.Test(t, func(t *testing.T) {
		s := createStore(t, path, Options{CacheTTL: time.Minute})
		must(t, s.Add("alice", "secret", DefaultPermissions()))
		tryLogin(t, s, "alice", "secret", nil, 1)
		time.Sleep(time.Minute - time.Nanosecond)
		tryLogin(t, s, "alice", "secret", nil, 0) // a hit does not extend the TTL
		time.Sleep(time.Nanosecond)
		tryLogin(t, s, "alice", "secret", nil, 1)

		never, err := Open(path, Options{CacheTTL: -1})
		must(t, err)
		tryLogin(t, never, "alice", "secret", nil, 1)
		tryLogin(t, never, "alice", "secret", nil, 1)

		usual, err := Open(path, Options{})
		must(t, err)
		tryLogin(t, usual, "alice", "secret", nil, 1)
		time.Sleep(time.Hour - time.Nanosecond)
		tryLogin(t, usual, "alice", "secret", nil, 0)
		time.Sleep(time.Nanosecond)
		tryLogin(t, usual, "alice", "secret", nil, 1)
	})
}

// Many concurrent connections with the same login cost only as many hashes as run in parallel.
func TestSameLoginAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := createStore(t, filepath.Join(t.TempDir(), "accounts"), Options{Parallel: 1})
		must(t, s.Add("alice", "secret", DefaultPermissions()))
		must(t, s.acquireHashSlot(t.Context(), hashRequest{})) // somebody else's hash runs
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := s.Login(t.Context(), "alice", "secret"); err != nil {
					t.Error(err)
				}
			})
		}
		synctest.Wait()
		n := count(s, func() {
			s.queue.release()
			wg.Wait()
		})
		if n != 1 {
			t.Errorf("%d hashes, want 1", n)
		}
		if got := s.Stats(); got.Good != 50 || got.CacheHits != 49 {
			t.Errorf("got %+v, want 50 good, 49 remembered", got)
		}
	})
}

func TestLoginsWaitForHashSlot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := createStore(t, filepath.Join(t.TempDir(), "accounts"), Options{Parallel: 2, Waiting: 3})
		must(t, s.Add("alice", "secret", DefaultPermissions()))
		for range 2 { // as many as may run do
			must(t, s.acquireHashSlot(t.Context(), hashRequest{}))
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		errs := make(chan error, 3)
		login := func(i int) error {
			_, _, err := s.LoginFrom(ctx, LoginRequest{Name: hub.UserName(fmt.Sprint("u", i)), Password: "x", From: address(i)})
			return err
		}
		for i := range 3 {
			go func() { errs <- login(i) }()
		}
		synctest.Wait()
		if err := login(3); err != ErrBusy { // nor may more than 3 wait
			t.Errorf("got %v, want %v", err, ErrBusy)
		}
		for range 3 {
			if err := <-errs; !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("got %v, want the context's error", err)
			}
		}
		if got, want := s.Stats(), (Stats{Busy: 1, Canceled: 3, Hashes: 1}); got != want {
			t.Errorf("got %+v, want %+v", got, want)
		}
		s.queue.release()
		tryLogin(t, s, "alice", "secret", nil, 1) // one of two places is free
		s.queue.release()
		checkEmpty(t, s)
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, err := s.Login(ctx, "alice", "wrong"); !errors.Is(err, context.Canceled) {
			t.Errorf("got %v, want the context's error", err)
		}
	})
}

func TestChangedWhileALoginWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "accounts")
		s := createStore(t, path, Options{Parallel: 1})
		operator := createStore(t, path, Options{})
		must(t, operator.Add("alice", "old", DefaultPermissions()))
		must(t, operator.Add("bob", "old", DefaultPermissions()))
		must(t, s.Reload())
		must(t, s.acquireHashSlot(t.Context(), hashRequest{}))
		errs := make(chan error, 3)
		for i, user := range []hub.UserName{"alice", "bob"} {
			go func() {
				_, err := s.Login(t.Context(), user, []string{"new", "old"}[i])
				if want := []error{nil, ErrDenied}[i]; err != want {
					errs <- fmt.Errorf("%s: got %v, want %v", user, err, want)
					return
				}
				errs <- nil
			}()
		}
		synctest.Wait()
		must(t, operator.SetPassword("alice", "new"))
		must(t, operator.Remove("bob"))
		must(t, s.Reload())
		s.queue.release()
		for range 2 {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
	})
}

func TestChangedWhileAHashRuns(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("alice", "secret", DefaultPermissions()))
	record := s.table.Load().records["alice"]
	must(t, s.Allow("alice", func(p *Permissions) { p.Admin = true }))
	if now := s.current(record); now == nil || !now.account.IsAdmin() {
		t.Errorf("got %v, want the account as it is now", now)
	}
	must(t, s.SetPassword("alice", "secret"))
	if s.current(record) != nil {
		t.Error("a login with the old hash is let in")
	}
	record = s.table.Load().records["alice"]
	must(t, s.Remove("alice"))
	if s.current(record) != nil {
		t.Error("a login of an account that is gone is let in")
	}
}

func TestLongPasswords(t *testing.T) {
	s := newStore(t)
	long := strings.Repeat("x", 73)
	must(t, s.Add("a", long, DefaultPermissions()))
	must(t, s.Add("b", long[:72], DefaultPermissions()))
	must(t, s.Add("c", strings.Repeat("é", MaxPassword/2), DefaultPermissions()))
	tryLogin(t, s, "a", long[:72]+"y", ErrDenied, 1) // all bytes count
	tryLogin(t, s, "a", long[:72], ErrDenied, 1)
	tryLogin(t, s, "b", long, ErrDenied, 1)
	tryLogin(t, s, "a", long, nil, 1)
	tryLogin(t, s, "b", long[:72], nil, 1)
	tryLogin(t, s, "c", strings.Repeat("é", MaxPassword/2), nil, 1)

	// The package comment documents this for other programs.
	const want = "cbB3hXA+MR5Y7CCyWjA1f2zxwpDxgUksS0KbuYTeYco="
	if got := string(prehash(long)); got != want || string(prehash(long[:72])) != long[:72] {
		t.Errorf("fit(%q) = %q, want %q", long, got, want)
	}
	for _, bad := range []string{"", strings.Repeat("x", MaxPassword+1)} {
		if s.Add("d", bad, DefaultPermissions()) == nil || s.SetPassword("a", bad) == nil || s.ChangePassword(t.Context(), "a", long, bad) == nil {
			t.Errorf("a password of %d bytes was taken", len(bad))
		}
	}
}

// For an unknown name, bcrypt must run in full, at a cost that accounts have.
func TestDummyHash(t *testing.T) {
	s := newStore(t)
	must(t, os.WriteFile(s.Path(), []byte(strings.ReplaceAll("account a\npassword HASH\n", "HASH", strings.Replace(hashOfX, "$04$", "$05$", 1))), 0o600))
	check := func(name hub.UserName, cost int) {
		t.Helper()
		hash := s.dummyHash(s.table.Load(), name)
		if err := checkHash(string(hash)); err != nil {
			t.Errorf("%s: %v", hash, err)
		}
		if err := bcrypt.CompareHashAndPassword(hash, []byte("x")); err != bcrypt.ErrMismatchedHashAndPassword {
			t.Errorf("%s: got %v, want bcrypt to have run", hash, err)
		}
		if got, _ := bcrypt.Cost(hash); got != cost {
			t.Errorf("%s: cost %d, want %d", hash, got, cost)
		}
		if again := s.dummyHash(s.table.Load(), name); !bytes.Equal(hash, again) {
			t.Errorf("first %s, then %s", hash, again)
		}
	}
	check("nobody", bcrypt.MinCost) // no accounts: that of new ones
	must(t, s.Reload())
	for i := range 20 {
		check(hub.UserName(fmt.Sprint("n", i)), 5)
	}
}

func TestRaces(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	s := createStore(t, path, Options{})
	must(t, s.Add("alice", "secret", DefaultPermissions()))
	var wg sync.WaitGroup
	for i := range 4 {
		wg.Go(func() {
			for j := range 20 {
				if a, err := s.Login(t.Context(), "alice", "secret"); err != nil || !a.MaySend("x") {
					t.Errorf("Login: %v", err)
				}
				s.Login(t.Context(), "alice", fmt.Sprint(j))
				s.Lookup("bob")
				s.List()
				s.Stats()
			}
		})
		wg.Go(func() {
			name := hub.UserName(fmt.Sprint("bob", i))
			for range 5 {
				if err := errors.Join(s.Add(name, "x", DefaultPermissions()), s.Reload(), s.Remove(name)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
}

func BenchmarkLogin(b *testing.B) {
	path := filepath.Join(b.TempDir(), "accounts")
	s, err := Create(path, Options{}) // at the usual cost
	must(b, err)
	must(b, s.Add("alice", "secret", DefaultPermissions()))
	b.Run("remembered", func(b *testing.B) {
		if _, err := s.Login(b.Context(), "alice", "secret"); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := s.Login(b.Context(), "alice", "secret"); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("denied", func(b *testing.B) {
		for b.Loop() {
			if _, err := s.Login(b.Context(), "alice", "wrong"); err != ErrDenied {
				b.Fatal(err)
			}
		}
	})
}
