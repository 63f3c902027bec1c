package account

import (
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/besterhub/bester/hub"
)

// Options are the options of a Store. The zero value works.
type Options struct {
	// Cost is the bcrypt cost of new passwords, 4 to 16; each step doubles the time
	// of a login. If zero, 10: under 0.1 s on a PC, and several times that on a small board.
	Cost int
	// CacheTTL is how long a successful login is cached, so that the same login needs
	// no bcrypt hash. If negative, logins are not cached. If zero, 1 hour.
	CacheTTL time.Duration
	// Parallel is the number of hash slots: how many passwords are hashed at once. If
	// zero, GOMAXPROCS.
	Parallel int
	// Waiting is how many logins may wait for a hash slot, three quarters of them from one
	// address. If more come, the newest of the account or address that has most of them
	// gets ErrBusy. If zero, 256.
	Waiting int
}

// Store holds the accounts of one file in memory and checks passwords against
// them. Reload, and each change made through the Store, replaces all accounts at
// once; Lookup takes no lock. Its methods may be called from many
// goroutines. A Store has nothing open between calls and needs no Close.
type Store struct {
	path string
	opts Options
	keys keys

	table    atomic.Pointer[table]
	tokenKey atomic.Pointer[tokenKey]
	mu       sync.Mutex // held while the file is read or changed
	changes  changes
	queue    *hashQueue
	known    *knownAddresses
	compare  func(hash, password []byte) error // bcrypt.CompareHashAndPassword
	stats    counters
}

// A table is an immutable snapshot of all accounts. Only the cached logins in its records
// change.
type table struct {
	records map[hub.UserName]*record
	sorted  []*record // by name
	emptied bool      // see Store.Emptied
}

type record struct {
	account *Account
	hash    []byte
	cost    int
	cached  atomic.Pointer[cachedLogin] // the last successful login, or nil
}

// Open reads the accounts file at path.
func Open(path string, opts Options) (*Store, error) {
	switch {
	case opts.Cost == 0:
		opts.Cost = bcrypt.DefaultCost
	case opts.Cost < bcrypt.MinCost || opts.Cost > maxCost:
		return nil, fmt.Errorf("account: cost %d: want %d to %d", opts.Cost, bcrypt.MinCost, maxCost)
	}
	if opts.CacheTTL == 0 {
		opts.CacheTTL = time.Hour
	}
	if opts.Parallel <= 0 {
		opts.Parallel = runtime.GOMAXPROCS(0)
	}
	if opts.Waiting <= 0 {
		opts.Waiting = 256
	}
	s := &Store{
		path: path, opts: opts,
		queue: newHashQueue(opts.Parallel, opts.Waiting), known: newKnownAddresses(),
		compare: bcrypt.CompareHashAndPassword,
	}
	s.table.Store(new(table))
	s.tokenKey.Store(newTokenKey())
	rand.Read(s.keys.cache[:])
	rand.Read(s.keys.dummy[:])
	if err := s.Reload(); err != nil {
		return nil, err
	}
	return s, nil
}

// Create is like Open, but first creates the file (mode 0600) and its folder (0700) if
// they do not exist. A new file has no accounts, and says so.
func Create(path string, opts Options) (*Store, error) {
	if err := create(path); err != nil {
		return nil, err
	}
	return Open(path, opts)
}

// Path returns the path the Store was opened with.
func (s *Store) Path() string { return s.path }

// Reload reads the file again. After an error (a *SyntaxError if the file is invalid) the
// accounts stay as they were. A file without accounts, where there were some, is an error
// unless it says that there are none, as it does after the last one was removed.
func (s *Store) Reload() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, err := open(s.path)
	if err != nil {
		return err
	}
	defer f.Close()
	doc, err := read(f, s.path)
	if err != nil {
		return err
	}
	if len(s.table.Load().sorted) > 0 && doc.isCutOff() {
		return &SyntaxError{Path: s.path, Line: 1, Column: 1, Problem: "the file has lost all its accounts: put it back, or if there should be none, write this line into it: " + noAccounts}
	}
	s.setTable(doc)
	return nil
}

// setTable makes doc the Store's accounts. A login stays cached if the account's password
// hash is unchanged.
func (s *Store) setTable(doc *document) {
	old := s.table.Load()
	t := &table{records: make(map[hub.UserName]*record, len(doc.entries)), emptied: doc.isCutOff()}
	for _, e := range doc.entries {
		r := &record{account: newAccount(e.name, e.permissions), hash: []byte(e.hash)}
		r.cost, _ = bcrypt.Cost(r.hash) // parse has checked it
		if previous := old.records[e.name]; previous != nil && bytes.Equal(previous.hash, r.hash) {
			r.cached.Store(previous.cached.Load())
		}
		t.records[e.name] = r
		t.sorted = append(t.sorted, r)
	}
	slices.SortFunc(t.sorted, func(a, b *record) int {
		return strings.Compare(string(a.account.name), string(b.account.name))
	})
	s.table.Store(t)
}

// Lookup returns the current account of that name, or nil. Sessions call it after a Reload
// to apply changed permissions.
func (s *Store) Lookup(name hub.UserName) *Account {
	if r := s.table.Load().records[name]; r != nil {
		return r.account
	}
	return nil
}

// List returns all accounts, sorted by name.
func (s *Store) List() []*Account {
	t := s.table.Load()
	list := make([]*Account, len(t.sorted))
	for i, r := range t.sorted {
		list[i] = r.account
	}
	return list
}

// Emptied reports whether there are no accounts and the file does not say that there should
// be none: something may have emptied it or cut it off. In a Store that had accounts, Reload
// refuses such a file.
func (s *Store) Emptied() bool { return s.table.Load().emptied }

// Add adds an account to the file and the Store. The error wraps ErrExists if there is one
// of that name.
func (s *Store) Add(name hub.UserName, password string, permissions Permissions) error {
	if err := CheckName(string(name)); err != nil {
		return err
	}
	if err := permissions.check(); err != nil {
		return err
	}
	hash, err := s.hash(context.Background(), name, password)
	if err != nil {
		return err
	}
	return s.change(func(d *document) error {
		if d.find(name) != nil {
			return fmt.Errorf("account: add %q: %w", name, ErrExists)
		}
		d.add(&entry{name: name, hash: hash, permissions: permissions.clone()})
		return nil
	})
}

// Remove removes an account from the file and the Store. It does not end the account's
// sessions. The error wraps ErrUnknown if there is none of that name.
func (s *Store) Remove(name hub.UserName) error {
	return s.change(func(d *document) error {
		if d.find(name) == nil {
			return fmt.Errorf("account: remove %q: %w", name, ErrUnknown)
		}
		d.remove(name)
		return nil
	})
}

// Allow changes the permissions of an account. edit gets the current ones and changes
// them; it is called while the file is locked, so that no concurrent change is lost.
// The error wraps ErrUnknown if there is no account of that name.
func (s *Store) Allow(name hub.UserName, edit func(*Permissions)) error {
	return s.change(func(d *document) error {
		e := d.find(name)
		if e == nil {
			return fmt.Errorf("account: allow %q: %w", name, ErrUnknown)
		}
		permissions := e.permissions.clone()
		edit(&permissions)
		if err := permissions.check(); err != nil {
			return err
		}
		e.permissions = permissions.clone()
		return nil
	})
}

// SetPassword gives an account a new password, of 1 to MaxPassword bytes. The
// error wraps ErrUnknown if there is no account of that name.
func (s *Store) SetPassword(name hub.UserName, password string) error {
	hash, err := s.hash(context.Background(), name, password)
	if err != nil {
		return err
	}
	return s.setHash(name, nil, hash)
}

// ChangePassword is like SetPassword, but requires the old password, and an account may do
// so five times, and then once a minute. The error is ErrDenied if the old password is
// wrong, wraps ErrTooOften, or is as from Login if ctx ends or too many logins wait.
func (s *Store) ChangePassword(ctx context.Context, name hub.UserName, old, password string) error {
	if err := checkPassword(password); err != nil {
		return err // before the costly part
	}
	r, _, err := s.login(ctx, LoginRequest{Name: name, Password: old})
	if err != nil {
		return err
	}
	if wait := s.changes.limit(name, time.Now()); wait > 0 {
		s.stats.limited.Add(1)
		return fmt.Errorf("%w: try again in %v", ErrTooOften, wait.Round(time.Second))
	}
	hash, err := s.hash(ctx, name, password)
	if err != nil {
		return err
	}
	return s.setHash(name, r.hash, hash)
}

// setHash replaces the password hash of an account if it still equals oldHash, or if
// oldHash is nil.
func (s *Store) setHash(name hub.UserName, oldHash []byte, hash string) error {
	return s.change(func(d *document) error {
		e := d.find(name)
		switch {
		case e != nil && (oldHash == nil || e.hash == string(oldHash)):
			e.hash = hash
			return nil
		case oldHash != nil: // the password was changed meanwhile, or the account removed
			return ErrDenied
		}
		return fmt.Errorf("account: password of %q: %w", name, ErrUnknown)
	})
}
