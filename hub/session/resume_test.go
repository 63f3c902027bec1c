package session

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/wire"
)

// restartingAccounts are those of a hub that starts anew now and then.
type restartingAccounts struct{ atomic.Pointer[account.Store] }

func (a *restartingAccounts) LoginFrom(ctx context.Context, r account.LoginRequest) (*account.Account, string, error) {
	return a.Load().LoginFrom(ctx, r)
}
func (a *restartingAccounts) Cached(r account.LoginRequest) *account.Account {
	return a.Load().Cached(r)
}
func (a *restartingAccounts) Lookup(name hub.UserName) *account.Account { return a.Load().Lookup(name) }
func (a *restartingAccounts) ChangePassword(ctx context.Context, name hub.UserName, old, new string) error {
	return a.Load().ChangePassword(ctx, name, old, new)
}

func TestClientsComeBackByToken(t *testing.T) {
	h := run(t, Options{})
	a := new(restartingAccounts)
	restart := func() *account.Store {
		s, err := account.Open(h.accounts.Path(), account.Options{Cost: 4})
		if err == nil {
			err = s.KeepTokens()
		}
		if err != nil {
			t.Fatal(err)
		}
		a.Store(s)
		return s
	}
	const n = 200
	for i := range n {
		h.account(t, hub.UserName(fmt.Sprint("board", i)), nil)
	}
	s := restart()
	h.Server.o.Accounts = a
	var resumption client.Resumption
	dial := func(user hub.UserName, password string) error {
		c, err := client.Dial(t.Context(), "tcp", h.tcp, client.Options{User: user, Password: password, Resumption: &resumption, Timeout: patience})
		if err == nil {
			err = c.Close(t.Context())
		}
		return err
	}
	all := func() {
		t.Helper()
		for i := range n {
			if err := dial(hub.UserName(fmt.Sprint("board", i)), "p"); err != nil {
				t.Fatal(err)
			}
		}
	}
	all()
	if st := s.Stats(); st.Hashes != n {
		t.Errorf("got %+v, want %d hashes", st, n)
	}
	for range 2 { // a token is good more than once
		s = restart()
		all()
		if st := s.Stats(); st.Hashes != 0 || st.Resumed != n {
			t.Errorf("got %+v, want %d resumed without a hash", st, n)
		}
	}
	if err := dial("board1", "wrong"); err == nil { // the token is that of another password
		t.Error("let in with a wrong password")
	}
	if err := s.SetPassword("board1", "new"); err != nil {
		t.Fatal(err)
	}
	if dial("board1", "p") == nil {
		t.Error("let in by the token of a password that has changed")
	}
	if err := dial("board1", "new"); err != nil {
		t.Error(err)
	}
}

// A handler process gets a token, too; one that the operating system authenticates does not.
func TestHandlerGetsAToken(t *testing.T) {
	hellos := make(chan *wire.Hello, 1)
	h := run(t, Options{Handler: func(hs HandlerConn) {
		hellos <- hs.Hello
		hs.Conn.Close()
	}})
	h.account(t, "ann", func(p *account.Permissions) { p.Serve = []hub.Pattern{"#"} })
	hello := &wire.Hello{Role: wire.RoleHandler, User: "ann", Password: "p", Name: "smooth", Types: []string{"a"}}
	h.peer(t, "tcp", h.tcp).hello(hello)
	token := (<-hellos).Token
	if token == "" {
		t.Fatal("no token after a login by password")
	}
	hello.Password, hello.Token = "wrong", token
	h.peer(t, "tcp", h.tcp).hello(hello)
	if again := (<-hellos).Token; again != "" {
		t.Errorf("got token %q after a login by token", again)
	}
	h.peer(t, "unix", h.unix).hello(&wire.Hello{Role: wire.RoleHandler, Token: "x", Name: "smooth", Types: []string{"a"}})
	if got := (<-hellos).Token; got != "" {
		t.Errorf("got token %q without a login", got)
	}
}
