package session

import (
	"errors"
	"strings"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/wire"
)

// loginNative logs in with the password "p", in the native dialect.
func (h *running) loginNative(t *testing.T, user hub.UserName) (*client.Client, error) {
	t.Helper()
	c, err := client.Dial(t.Context(), "unix", h.closed, client.Options{User: user, Password: "p"})
	if err == nil {
		t.Cleanup(func() { c.Close(t.Context()) })
	}
	return c, err
}

// One account has no more than its share of sessions, in all dialects and roles, and is told
// why. Others, administrators and peers with trusted credentials still get in.
func TestSessionsOfOneAccount(t *testing.T) {
	h := run(t, Options{
		Limits:  Limits{MaxConnections: 100, MaxPerAccount: 3},
		Handler: func(hs HandlerConn) { hs.In.Next(); hs.Conn.Close() },
	})
	h.account(t, "greedy", func(p *account.Permissions) { p.Serve = []hub.Pattern{"#"} })
	h.account(t, "bob", nil)
	h.account(t, "root", func(p *account.Permissions) { p.Admin = true })

	first := h.classic(t, "greedy")
	if _, err := h.loginNative(t, "greedy"); err != nil {
		t.Fatal(err)
	}
	handler := h.peer(t, "unix", h.closed)
	handler.hello(&wire.Hello{Role: wire.RoleHandler, User: "greedy", Password: "p", Name: "x", Types: []string{"t"}})
	until(t, "three are open", func() bool { return h.Stats().Open == 3 })
	until(t, "the handler is in", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.counted == 3 })

	_, err := h.loginNative(t, "greedy")
	if !errors.Is(err, hub.ErrFull) || !strings.Contains(err.Error(), `account "greedy" has 3 sessions`) || !strings.Contains(err.Error(), "session.per_account") {
		t.Errorf("native: got %v", err)
	}
	p := h.peer(t, "unix", h.closed)
	p.text(classicLogin("greedy", "p"))
	p.wantIn(`"bad"`, "session.per_account")
	p.want("end")
	p = h.peer(t, "unix", h.closed)
	p.hello(&wire.Hello{Role: wire.RoleHandler, User: "greedy", Password: "p", Name: "y", Types: []string{"u"}})
	p.wantIn("session.per_account")
	p.want("end")
	if s := h.Stats(); s.OfAccount != 3 || s.TooMany != 0 {
		t.Errorf("counted %+v", s)
	}
	h.log.want(t, "session refused", "user=greedy")

	for range 5 {
		if _, err := h.loginNative(t, "root"); err != nil {
			t.Errorf("administrator: %v", err)
		}
		h.native(t, "greedy").lives() // with trusted credentials
	}
	if _, err := h.loginNative(t, "bob"); err != nil {
		t.Error(err)
	}

	// A place is free again when its connection has ended, also a handler's.
	first.Close()
	handler.Close()
	until(t, "two have gone", func() bool { h.mu.Lock(); defer h.mu.Unlock(); return h.perAccount["greedy"] == 1 })
	for range 2 {
		h.classic(t, "greedy")
	}
	if _, err := h.loginNative(t, "greedy"); !errors.Is(err, hub.ErrFull) {
		t.Errorf("got %v", err)
	}
}

// When all sessions are taken, there is still room for an administrator and peers with trusted credentials,
// and the others are told why they are refused.
func TestRoomForAdministrators(t *testing.T) {
	h := run(t, Options{Limits: Limits{MaxConnections: 32, MaxPerAccount: 32}})
	h.account(t, "ann", nil)
	h.account(t, "root", func(p *account.Permissions) { p.Admin = true })
	for range 30 {
		h.classic(t, "ann")
	}
	if _, err := h.loginNative(t, "ann"); !errors.Is(err, hub.ErrFull) || !strings.Contains(err.Error(), "session.connections") {
		t.Errorf("got %v", err)
	}
	if _, err := h.loginNative(t, "root"); err != nil {
		t.Errorf("administrator: %v", err)
	}
	for range 15 {
		h.native(t, "own").lives()
	}
	if s := h.Stats(); s.TooMany != 1 {
		t.Errorf("counted %+v", s)
	}
	// Even peers with trusted credentials do not get any number of connections.
	for range 2 {
		h.native(t, "own").lives()
	}
	h.peer(t, "unix", h.unix).want("end")
}
