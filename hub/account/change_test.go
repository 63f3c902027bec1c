package account

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
)

func TestPasswordChangesAreLimited(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("ann", "0", DefaultPermissions()))
	must(t, s.Add("bob", "0", DefaultPermissions()))
	synctest.Test(t, func(t *testing.T) {
		now := 0
		change := func() error {
			err := s.ChangePassword(t.Context(), "ann", fmt.Sprint(now), fmt.Sprint(now+1))
			if err == nil {
				now++
			}
			return err
		}
		for i := range changeBurst {
			if err := change(); err != nil {
				t.Fatalf("change %d: %v", i, err)
			}
		}
		hashes := s.Stats().Hashes
		for range 100 {
			if err := change(); !errors.Is(err, ErrTooOften) || !strings.HasSuffix(err.Error(), "try again in 1m0s") {
				t.Fatalf("got %v", err)
			}
		}
		if st := s.Stats(); st.Limited != 100 || st.Hashes != hashes+1 { // the old password, once
			t.Errorf("got %+v, want 100 limited and %d hashes", st, hashes+1)
		}
		must(t, s.ChangePassword(t.Context(), "bob", "0", "1")) // another account
		must(t, s.SetPassword("ann", "9"))                      // the operator
		now = 9
		time.Sleep(changeInterval)
		if err := change(); err != nil {
			t.Errorf("after a minute: %v", err)
		}
		if err := change(); !errors.Is(err, ErrTooOften) {
			t.Errorf("a second one after a minute: got %v", err)
		}
		time.Sleep(time.Hour)
		for i := range changeBurst {
			if err := change(); err != nil {
				t.Fatalf("after an hour, change %d: %v", i, err)
			}
		}
		if err := change(); !errors.Is(err, ErrTooOften) {
			t.Errorf("after another burst: got %v", err)
		}
	})
}

// Accounts that were removed do not stay in memory for ever.
func TestChangeLimitIsBounded(t *testing.T) {
	var c changes
	now := time.Now()
	for i := range 3 * MaxAccounts {
		c.limit(hub.UserName(fmt.Sprint("user", i)), now.Add(time.Duration(i)*time.Second))
	}
	if len(c.full) > MaxAccounts {
		t.Errorf("%d accounts are remembered", len(c.full))
	}
}

// Changes that come while the file is being written are written together: the file is
// replaced twice for a hundred of them.
func TestChangesAreWrittenInGroups(t *testing.T) {
	s := newStore(t)
	for i := range 100 {
		must(t, s.Add(hub.UserName(fmt.Sprint("user", i)), "p", DefaultPermissions()))
	}
	before, err := os.Stat(s.Path())
	must(t, err)
	s.mu.Lock() // as while the file is being written
	var all sync.WaitGroup
	errs := make([]error, 102)
	for i := range errs {
		all.Go(func() {
			errs[i] = s.Allow(hub.UserName(fmt.Sprint("user", i)), func(p *Permissions) { p.Admin = true })
		})
	}
	for waiting := 0; waiting < len(errs); {
		s.changes.mu.Lock()
		waiting = len(s.changes.waiting)
		s.changes.mu.Unlock()
		time.Sleep(time.Millisecond)
	}
	writes := 0
	s.changes.mu.Lock()
	s.changes.waiting = append(s.changes.waiting, &change{edit: func(*document) error { writes++; return nil }})
	s.changes.mu.Unlock()
	s.mu.Unlock()
	all.Wait()
	for i, err := range errs {
		if i < 100 && err != nil || i >= 100 && !errors.Is(err, ErrUnknown) {
			t.Errorf("user%d: %v", i, err)
		}
	}
	after, err := os.Stat(s.Path())
	must(t, err)
	if writes != 1 || os.SameFile(before, after) {
		t.Errorf("%d writes", writes)
	}
	if s = reopened(t, s.Path()); !s.Lookup("user99").IsAdmin() || !s.Lookup("user0").IsAdmin() {
		t.Error("not all changes are in the file")
	}
}

// One change that is too much for the file does not fail the others of its group.
func TestOneChangeOfAGroupIsTooLarge(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("ann", "p", DefaultPermissions()))
	fill := &change{edit: func(d *document) error {
		for i := range MaxAccounts {
			d.add(&entry{name: hub.UserName(fmt.Sprint("user", i)), hash: d.entries[0].hash})
		}
		return nil
	}}
	good := &change{edit: func(d *document) error { d.find("ann").permissions.Admin = true; return nil }}
	s.mu.Lock()
	s.write([]*change{fill, good})
	s.mu.Unlock()
	var tooLarge *tooLargeError
	if !errors.As(fill.err, &tooLarge) || good.err != nil || !fill.done || !good.done {
		t.Errorf("got %v and %v", fill.err, good.err)
	}
	if s = reopened(t, s.Path()); len(s.List()) != 1 || !s.Lookup("ann").IsAdmin() {
		t.Errorf("got %d accounts", len(s.List()))
	}
}
