package main

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"syscall"
	"time"

	"github.com/besterhub/bester/cmd/internal/setup"
	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/errtext"
)

// accounts is the current accounts file. It is read again when it has changed, so that
// a change by "bester account" applies at once.
type accounts struct {
	log     *slog.Logger
	changed func() // called without the lock, after the accounts have changed

	reading chan struct{} // holds one value while the file is being read
	mu      sync.Mutex    // not held while it is
	accountsFile
}

func newAccounts(log *slog.Logger, changed func()) *accounts {
	return &accounts{log: log, changed: changed, reading: make(chan struct{}, 1)}
}

// An accountsFile is an accounts file as it was read.
type accountsFile struct {
	path    string
	info    os.FileInfo    // of the file that was read last; nil: there was none
	store   *account.Store // nil: as long as there was none
	problem string         // why the file cannot be taken; "": it was
	tried   time.Time      // when it was read last, with a problem
}

// accountsWait is how long a login waits for the file to be read by another. It then goes by
// the accounts that there are: the file may be on a file system that hangs.
const accountsWait = time.Second

// accountsRetry is how long a file that could not be taken is not read again if it stays
// as it is.
const accountsRetry = 5 * time.Second

// openAccounts reads an accounts file. A missing file holds no accounts.
func openAccounts(path string) (accountsFile, error) {
	info, _ := os.Stat(path)
	store, err := account.Open(path, account.Options{})
	if errors.Is(err, fs.ErrNotExist) {
		return accountsFile{path: path}, nil
	}
	return accountsFile{path: path, info: info, store: store}, err
}

// replace puts another accounts file into force. Sessions are checked against it at the
// next Recheck.
func (a *accounts) replace(f accountsFile) {
	a.keepTokens(f.store)
	a.mu.Lock()
	defer a.mu.Unlock()
	if f.store == nil && a.store != nil {
		a.log.Error("there is no accounts file: all accounts are gone", "file", f.path, "before", a.path,
			"remedy", `name the right file as accounts.file, or add accounts with "bester account add"`)
	}
	a.accountsFile = f
	a.warnIfEmptied(f)
}

// warnIfEmptied logs that nobody has an account, where the file does not say that this is
// meant.
func (a *accounts) warnIfEmptied(f accountsFile) {
	if f.store != nil && f.store.Emptied() {
		a.log.Warn("there are no accounts in the accounts file: nobody can log in with a password", "file", f.path, "remedy", setup.AccountsRemedy)
	}
}

// refresh reads the file again if it has changed. If it cannot be taken, since it is gone,
// empty, damaged or open to others, the accounts stay as they were, and the log says so
// once for each problem.
func (a *accounts) refresh() {
	select {
	case a.reading <- struct{}{}:
		defer func() { <-a.reading }()
	case <-time.After(accountsWait):
		return
	}
	a.mu.Lock()
	was := a.accountsFile
	a.mu.Unlock()
	info, _ := os.Stat(was.path) // reading it says better what is wrong
	if was.isCurrent(info) {
		return
	}
	now := accountsFile{path: was.path, info: info, store: was.store, tried: time.Now()}
	var err error
	if now.store != nil {
		err = now.store.Reload()
	} else if now.store, err = account.Open(now.path, account.Options{}); err == nil {
		a.keepTokens(now.store)
	}
	if err != nil {
		now.problem = errtext.Of(err)
	}
	a.mu.Lock()
	replaced := a.path != was.path || a.store != was.store
	if !replaced {
		a.accountsFile = now
	}
	a.mu.Unlock()
	switch {
	case replaced:
	case err == nil:
		a.log.Info("accounts read", "file", now.path)
		a.warnIfEmptied(now)
		a.changed()
	case now.problem != was.problem:
		a.log.Error("accounts file not taken; the accounts stay as they were", "file", now.path, "err", err)
	}
}

// isCurrent reports whether the file is as it was read last. A problem may go without a
// change of the file, so that is tried again now and then.
func (f *accountsFile) isCurrent(info fs.FileInfo) bool {
	if f.problem != "" && time.Since(f.tried) >= accountsRetry {
		return false
	}
	return sameFile(info, f.info)
}

// keepTokens makes login tokens outlast the hub. Where that fails, the hub works without.
func (a *accounts) keepTokens(s *account.Store) {
	if s == nil {
		return
	}
	if err := s.KeepTokens(); err != nil {
		a.log.Warn("clients that come back after a restart need a password check each", "err", err,
			"remedy", "let the hub's user write to the folder of "+s.Path())
	}
}

// sameFile reports whether a and b are one file, whose content and access have not changed.
// Nil is no file.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	owner := func(i fs.FileInfo) uint32 { return i.Sys().(*syscall.Stat_t).Uid }
	return os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size() && a.Mode() == b.Mode() && owner(a) == owner(b)
}

func (a *accounts) current() *account.Store {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.store
}

// LoginFrom is account.Store.LoginFrom on the file as it is now.
func (a *accounts) LoginFrom(ctx context.Context, r account.LoginRequest) (*account.Account, string, error) {
	a.refresh()
	s := a.current()
	if s == nil {
		return nil, "", account.ErrDenied
	}
	return s.LoginFrom(ctx, r)
}

// Cached is account.Store.Cached on the file as it is now.
func (a *accounts) Cached(r account.LoginRequest) *account.Account {
	a.refresh()
	if s := a.current(); s != nil {
		return s.Cached(r)
	}
	return nil
}

// Lookup is account.Store.Lookup.
func (a *accounts) Lookup(name hub.UserName) *account.Account {
	if s := a.current(); s != nil {
		return s.Lookup(name)
	}
	return nil
}

// ChangePassword is account.Store.ChangePassword.
func (a *accounts) ChangePassword(ctx context.Context, name hub.UserName, old, new string) error {
	s := a.current()
	if s == nil {
		return account.ErrDenied
	}
	return s.ChangePassword(ctx, name, old, new)
}
