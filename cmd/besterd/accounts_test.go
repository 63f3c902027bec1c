package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub/account"
)

// addAnn makes the accounts file at path, with the account ann, whose password is secret.
func addAnn(t *testing.T, path string) {
	t.Helper()
	s, err := account.Create(path, account.Options{Cost: 4})
	if err == nil {
		err = s.Add("ann", "secret", account.DefaultPermissions())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// An accounts file that vanishes, is opened to others or is damaged while the hub runs is an
// error in the log, once; the accounts stay, and count again as the file says when it is well.
func TestAccountsFileThatCannotBeTaken(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	addAnn(t, path)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		damage func() error
		want   string
	}{
		{"removed", func() error { return os.Remove(path) }, "no such file"},
		{"a dangling link", func() error { os.Remove(path); return os.Symlink("elsewhere", path) }, "a link to elsewhere, which is not there"},
		{"readable by others", func() error { return os.Chmod(path, 0o644) }, "group or others have access"},
		{"writable by the group", func() error { return os.Chmod(path, 0o620) }, "group or others have access"},
		{"emptied", func() error { return os.WriteFile(path, nil, 0o600) }, "has lost all its accounts"},
		{"cut off in its header", func() error { return os.WriteFile(path, good[:20], 0o600) }, "has lost all its accounts"},
		{"cut off", func() error { return os.WriteFile(path, good[:bytes.Index(good, []byte("$2a$"))+30], 0o600) }, "accounts:"},
		{"zeros", func() error { return os.WriteFile(path, make([]byte, len(good)), 0o600) }, "accounts:1:1"},
		{"a folder", func() error { os.Remove(path); return os.Mkdir(path, 0o700) }, "not a regular file"},
	} {
		t.Run(c.name, func(t *testing.T) {
			write := func() {
				os.RemoveAll(path)
				if err := os.WriteFile(path, good, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write()
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				changes := 0
				f, err := openAccounts(path)
				if err != nil {
					t.Fatal(err)
				}
				a := newAccounts(slog.New(slog.NewTextHandler(&log, nil)), func() { changes++ })
				a.replace(f)
				if err := c.damage(); err != nil {
					t.Fatal(err)
				}
				for range 10 {
					a.refresh()
					time.Sleep(accountsRetry)
				}
				text := log.String()
				if strings.Count(text, "level=ERROR") != 1 || !strings.Contains(text, "the accounts stay as they were") || !strings.Contains(text, c.want) {
					t.Errorf("log:\n%s\nwant %q in one line", text, c.want)
				}
				if a.Lookup("ann") == nil || changes != 0 {
					t.Error("the account is gone")
				}
				log.Reset()
				write()
				a.refresh()
				a.refresh()
				if text := log.String(); strings.Count(text, "\n") != 1 || !strings.Contains(text, "accounts read") || changes != 1 {
					t.Errorf("log when all is well again:\n%s", text)
				}
			})
		})
	}
}

// Until there is an accounts file, its absence is no problem.
func TestNoAccountsFileYet(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	var log bytes.Buffer
	changes := 0
	f, err := openAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	a := newAccounts(slog.New(slog.NewTextHandler(&log, nil)), func() { changes++ })
	a.replace(f)
	a.refresh()
	if log.Len() > 0 {
		t.Errorf("log:\n%s", log.String())
	}
	addAnn(t, path)
	a.refresh()
	if a.Lookup("ann") == nil || changes != 1 {
		t.Errorf("the account is not there; log:\n%s", log.String())
	}
	// A config that names another file, which is not there, is said.
	a.replace(accountsFile{path: path + ".typo"})
	if text := log.String(); !strings.Contains(text, "level=ERROR") || !strings.Contains(text, "all accounts are gone") {
		t.Errorf("log:\n%s", text)
	}
}

// A hub that starts with an accounts file that may have been emptied says so; with one that
// is to have no accounts, it does not.
func TestEmptiedAccountsFile(t *testing.T) {
	for text, warned := range map[string]bool{
		"":                    true,
		"\n":                  true,
		"# a comment alone\n": true,
		"# end: 0 accounts\n": false,
	} {
		path := filepath.Join(t.TempDir(), "accounts")
		start := func() (*accounts, *bytes.Buffer) {
			f, err := openAccounts(path)
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			a := newAccounts(slog.New(slog.NewTextHandler(&log, nil)), func() {})
			a.replace(f)
			return a, &log
		}
		later, laterLog := start() // when there is no file yet
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		later.refresh()
		_, log := start()
		for when, got := range map[string]string{"at the start": log.String(), "later": laterLog.String()} {
			if strings.Contains(got, "level=WARN") != warned || warned && (!strings.Contains(got, path) || !strings.Contains(got, "bester account add")) {
				t.Errorf("%q, %s: want a warning: %v; log:\n%s", text, when, warned, got)
			}
		}
	}
}

// While the accounts file is on a file system that hangs, logins and the status go by the
// accounts that there are.
func TestAccountsFileHangs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	addAnn(t, path)
	f, err := openAccounts(path)
	if err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		a := newAccounts(slog.New(slog.DiscardHandler), func() {})
		a.replace(f)
		a.reading <- struct{}{} // as while the file is being read, for ever
		if a.Lookup("ann") == nil || a.current() == nil {
			t.Error("the account is gone")
		}
		began := time.Now()
		if _, _, err := a.LoginFrom(t.Context(), account.LoginRequest{Name: "ann", Password: "secret"}); err != nil {
			t.Errorf("a login: %v", err)
		}
		if waited := time.Since(began); waited != accountsWait {
			t.Errorf("a login waited %v", waited)
		}
	})
}
