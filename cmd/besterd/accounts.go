package main

import (
	"context"
	"io/fs"
	"log/slog"
	"os"
	"sync"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
)

// accounts is the current accounts file. It is read again when it has changed, so that
// a change by "bester account" applies at once.
type accounts struct {
	log     *slog.Logger
	changed func() // called without the lock, after the accounts have changed

	mu sync.Mutex
	accountsFile
}

// An accountsFile is an accounts file as it was read.
type accountsFile struct {
	path     string
	lastInfo os.FileInfo    // nil: there was none
	store    *account.Store // nil: as long as there was none
}

// openAccounts reads an accounts file. A missing file holds no accounts.
func openAccounts(path string) (accountsFile, error) {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return accountsFile{path: path}, nil
	}
	if err != nil {
		return accountsFile{}, err
	}
	store, err := account.Open(path, account.Options{})
	return accountsFile{path, info, store}, err
}

// replace puts another accounts file into force. Sessions are checked against it at the
// next Recheck.
func (a *accounts) replace(f accountsFile) {
	a.keepTokens(f.store)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.accountsFile = f
}

// refresh reads the file again if it has changed. If it cannot be read, the accounts
// stay as they were, and the log says so once for each change of the file.
func (a *accounts) refresh() {
	a.mu.Lock()
	info, err := os.Stat(a.path)
	if err != nil || sameFile(info, a.lastInfo) {
		a.mu.Unlock()
		return
	}
	a.lastInfo = info
	if a.store == nil {
		if a.store, err = account.Open(a.path, account.Options{}); err == nil {
			a.keepTokens(a.store)
		}
	} else {
		err = a.store.Reload()
	}
	a.mu.Unlock()
	if err != nil {
		a.log.Error("accounts file not taken; the accounts stay as they were", "file", a.path, "err", err)
		return
	}
	a.log.Info("accounts read", "file", a.path)
	a.changed()
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

func sameFile(a, b fs.FileInfo) bool {
	return b != nil && os.SameFile(a, b) && a.ModTime().Equal(b.ModTime()) && a.Size() == b.Size()
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
