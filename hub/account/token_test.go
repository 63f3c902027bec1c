package account

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/besterhub/bester/hub"
)

// tokenOf logs in by password and returns the token.
func tokenOf(t *testing.T, s *Store, name hub.UserName, password string) string {
	t.Helper()
	_, token, err := s.LoginFrom(t.Context(), LoginRequest{Name: name, Password: password})
	must(t, err)
	if token == "" || len(token) > MaxToken {
		t.Fatalf("got token %q", token)
	}
	return token
}

// tryToken logs in with a token and a wrong password, which is asked for where the token is not taken.
func tryToken(t *testing.T, s *Store, name hub.UserName, token string, good bool) {
	t.Helper()
	before := s.Stats()
	a, next, err := s.LoginFrom(t.Context(), LoginRequest{Name: name, Password: "wrong", Token: token})
	now := s.Stats()
	if good {
		if err != nil || a.Name() != name || next != "" || now.Hashes != before.Hashes || now.Resumed != before.Resumed+1 {
			t.Errorf("%s with a good token: got %v, %q, %v and %+v", name, a, next, err, now)
		}
	} else if err != ErrDenied || now.Hashes != before.Hashes+1 || now.Resumed != before.Resumed {
		t.Errorf("%s with token %.40q: got %v, %v and %+v, want the password to be checked", name, token, a, err, now)
	}
}

// reopened returns a Store as the next process of a hub has it.
func reopened(t *testing.T, path string) *Store {
	t.Helper()
	s, err := Open(path, Options{Cost: 4})
	must(t, err)
	must(t, s.KeepTokens())
	return s
}

func TestTokensOutlastARestart(t *testing.T) {
	s := newStore(t)
	must(t, s.KeepTokens())
	tokens := make(map[hub.UserName]string)
	for i := range 200 {
		name := hub.UserName(fmt.Sprint("board", i))
		must(t, s.Add(name, "secret", DefaultPermissions()))
		tokens[name] = tokenOf(t, s, name, "secret")
	}
	s = reopened(t, s.Path())
	for name, token := range tokens {
		tryToken(t, s, name, token, true)
	}
	if st := s.Stats(); st.Hashes != 0 || st.Resumed != 200 || st.Good != 200 {
		t.Errorf("got %+v, want 200 logins by token and no hash", st)
	}

	// Without the file's key, they end with the process.
	must(t, os.Remove(s.Path()+".resume"))
	tryToken(t, reopened(t, s.Path()), "board1", tokens["board1"], false)
}

func TestTokenEndsWithThePassword(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("ann", "secret", DefaultPermissions()))
	must(t, s.Add("ben", "secret", DefaultPermissions()))
	token := tokenOf(t, s, "ann", "secret")
	if again := tokenOf(t, s, "ann", "secret"); again == "" { // cached: the password was checked all the same
		t.Error("no token for a cached login")
	}
	must(t, s.Allow("ann", func(p *Permissions) { p.Admin = true }))
	must(t, s.Reload())
	tryToken(t, s, "ann", token, true)
	tryToken(t, s, "ben", token, false)
	tryToken(t, s, "nobody", token, false)
	must(t, s.SetPassword("ann", "secret"))
	tryToken(t, s, "ann", token, false)

	token = tokenOf(t, s, "ann", "secret")
	must(t, s.Remove("ann"))
	tryToken(t, s, "ann", token, false)
	must(t, s.Add("ann", "secret", DefaultPermissions()))
	tryToken(t, s, "ann", token, false)
}

func TestTokenThatIsTamperedWith(t *testing.T) {
	s := newStore(t)
	must(t, s.Add("ann", "secret", DefaultPermissions()))
	token := tokenOf(t, s, "ann", "secret")
	for i := range len(token) {
		other := byte('A')
		if token[i] == other {
			other = 'B'
		}
		bad := token[:i] + string(other) + token[i+1:]
		if r, expired := s.checkToken("ann", bad); r != nil || expired {
			t.Errorf("taken with another byte at %d", i)
		}
	}
	for _, bad := range []string{"", "x", token[:len(token)-1], token + "A", token + "=", token + "\n", strings.Repeat("A", MaxToken), strings.Repeat("A", MaxToken+1)} {
		tryToken(t, s, "ann", bad, false)
	}
	// The password still counts.
	if _, next, err := s.LoginFrom(t.Context(), LoginRequest{Name: "ann", Password: "secret", Token: token + "A"}); err != nil || next == "" {
		t.Errorf("got %q, %v, want to be let in by password", next, err)
	}
}

func TestTokenExpires(t *testing.T) {
	path := filepath.Join(t.TempDir(), "accounts")
	synctest.Test(t, func(t *testing.T) {
		s := createStore(t, path, Options{})
		must(t, s.Add("ann", "secret", DefaultPermissions()))
		token := tokenOf(t, s, "ann", "secret")
		time.Sleep(tokenTTL - time.Second)
		tryToken(t, s, "ann", token, true)
		time.Sleep(time.Second)
		tryToken(t, s, "ann", token, false)
	})
}

// Who has an expired token is known: its password is checked before those of strangers.
func TestExpiredTokenGoesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench(t, Options{}, "ann", "ben")
		r := b.table.Load().records["ann"]
		old := token{expires: time.Now().Add(-time.Hour), name: "ann"}
		old.mac = b.tokenMAC(r, old.expires)
		for i := range 3 {
			b.login("ben", "wrong", address(i), nil)
		}
		b.logins.Go(func() {
			_, next, err := b.LoginFrom(t.Context(), LoginRequest{Name: "ann", Password: "right", Token: old.String(), From: address(9)})
			if err != nil || next == "" {
				t.Errorf("got %q, %v, want a new token", next, err)
			}
		})
		synctest.Wait()
		if got := b.turns(2); got[1] != "right" {
			t.Errorf("got turns %q", got)
		}
		b.finish()
	})
}

func TestTokenKeyFile(t *testing.T) {
	s := newStore(t)
	path := s.Path() + ".resume"
	must(t, os.WriteFile(path+".new", []byte("left by a crash"), 0o644))
	read := func() string {
		t.Helper()
		st, err := os.Lstat(path)
		must(t, err)
		if st.Mode() != 0o600 || st.Size() != 32 {
			t.Errorf("mode %v, %d bytes, want 0600 and 32", st.Mode(), st.Size())
		}
		b, err := os.ReadFile(path)
		must(t, err)
		return string(b)
	}
	must(t, s.KeepTokens())
	first := read()
	must(t, s.KeepTokens())
	if read() != first {
		t.Error("a good key was replaced")
	}
	elsewhere := filepath.Join(t.TempDir(), "key")
	must(t, os.WriteFile(elsewhere, []byte(first), 0o600))
	for what, spoil := range map[string]func() error{
		"open to others": func() error { return os.Chmod(path, 0o644) },
		"short":          func() error { return os.Truncate(path, 31) },
		"long":           func() error { return os.Truncate(path, 33) },
		"a link":         func() error { os.Remove(path); return os.Symlink(elsewhere, path) },
	} {
		must(t, spoil())
		must(t, reopened(t, s.Path()).KeepTokens())
		if now := read(); now == first || now[:31] == first[:31] {
			t.Errorf("%s: still used", what)
		} else {
			first = now
			must(t, os.WriteFile(elsewhere, []byte(first), 0o600))
		}
	}
}

// Where the key cannot be kept, tokens are good for as long as the process.
func TestTokenKeyThatCannotBeKept(t *testing.T) {
	s := newStore(t)
	must(t, os.Mkdir(s.Path()+".resume", 0o700))
	must(t, os.WriteFile(s.Path()+".resume/x", nil, 0o600))
	if err := s.KeepTokens(); err == nil || !strings.Contains(err.Error(), s.Path()+".resume") {
		t.Errorf("got %v, want an error that names the file", err)
	}
	must(t, s.Add("ann", "secret", DefaultPermissions()))
	tryToken(t, s, "ann", tokenOf(t, s, "ann", "secret"), true)
	if left, _ := filepath.Glob(s.Path() + ".resume.new"); left != nil {
		t.Errorf("left behind: %v", left)
	}
}

func FuzzToken(f *testing.F) {
	t := token{expires: time.Unix(1<<40, 0), name: "ann"}
	f.Add(t.String())
	f.Add("")
	f.Add("AQ==")
	f.Add(strings.Repeat("A", MaxToken))
	s := newStore(f)
	must(f, s.Add("ann", "secret", DefaultPermissions()))
	f.Fuzz(func(t *testing.T, text string) {
		if r, _ := s.checkToken("ann", text); r != nil {
			t.Errorf("%q is taken", text)
		}
		tok, err := parseToken(text)
		if err != nil {
			return
		}
		if again := tok.String(); again != text {
			t.Errorf("%q encodes to %q", text, again)
		}
	})
}
