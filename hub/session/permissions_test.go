package session

import (
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

func (h *running) enter(t *testing.T, name string) *peer {
	t.Helper()
	return h.as(t, &wire.Hello{Role: wire.RoleClient, User: name, Password: "p"})
}

func TestMayNotSend(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", func(p *account.Permissions) { p.Send = []hub.Pattern{"mine/#"} })
	bob := h.native(t, "bob")
	n := h.enter(t, "ann")
	n.send(1, "other", "1", "bob")
	n.want(`status 1: not allowed: "ann" may not send type "other"`)
	n.send(2, "mine/x", "2", "bob")
	n.want("status 2: good")
	c := h.classic(t, "ann")
	c.text(classicMessage("other", "1", "1"))
	c.want(classicBad("1", `not allowed: "ann" may not send type "other"`))
	bob.want("deliver 0: mine/x ann 2")
	bob.lives()
	n.send(0, "other", "3", "bob") // under tag 0 only the operator sees the refusal
	n.lives()
	h.log.want(t, "may not send the type", "user=ann", "type=other", "account allow --add --send")
	if got := h.Stats().SendsDenied; got != 3 {
		t.Errorf("%d messages counted, want 3", got)
	}
}

func TestMayNotReceive(t *testing.T) {
	h := run(t, Options{})
	for _, name := range []hub.UserName{"ann", "bob"} {
		h.account(t, name, func(p *account.Permissions) { p.Receive = []hub.Pattern{"ok"} })
	}
	n, c := h.enter(t, "ann"), h.classic(t, "bob")
	sam := h.native(t, "sam")
	sam.send(1, "secret", "1", "ann", "bob")
	sam.send(2, "ok", "2", "ann", "bob")
	sam.want("status 1: good", "status 2: good") // the sender is not told who may receive it
	n.want("deliver 0: ok sam 2")
	c.want(received("ok", "2"))
	if s := h.router.Stats(); s.Lost != 2 || s.Delivered != 2 {
		t.Errorf("got %+v", s)
	}
}

func TestReplyNeedsNoRightToReceive(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", func(p *account.Permissions) { p.Receive = nil })
	h.serve(t, "ask", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error { a.Reply(data("42")); return nil }))
	n, c := h.enter(t, "ann"), h.classic(t, "ann")
	n.send(7, "ask", "null")
	n.want("deliver 7: ask ann 42", "status 7: good")
	c.text(classicMessage("ask", "q", "null"))
	c.want(received("ask", "42"), classicGood("q"))
}

func TestMayNotReach(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", func(p *account.Permissions) { p.Reach = []hub.Address{{User: "bob"}} })
	h.serve(t, "to/both", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		a.SendClients(m.Data, hub.Address{User: "eve"}, hub.Address{User: "bob"})
		return nil
	}))
	bob, eve := h.native(t, "bob"), h.native(t, "eve")
	n, c := h.enter(t, "ann"), h.classic(t, "ann")
	const why = `"ann" may not reach "eve"`
	n.send(1, "t", "1", "eve", "bob")
	n.want("status 1: " + why)
	n.send(2, "to/both", "2")
	n.want("status 2: " + why)
	c.text(classicMessage("to/both", "3", "3"))
	c.want(classicBad("3", why))
	bob.want("deliver 0: t ann 1", "deliver 0: to/both ann 2", "deliver 0: to/both ann 3")
	eve.lives()
	if s := h.router.Stats(); s.Lost != 3 {
		t.Errorf("counted %d", s.Lost)
	}
}

func TestMayNotServe(t *testing.T) {
	h := run(t, Options{
		Handler: func(s HandlerConn) { s.Conn.Close() },
		AuthorizeHandler: func(name string, a *account.Account) error {
			if name == "taken" {
				return hub.ErrDenied
			}
			return nil
		},
	})
	h.account(t, "ann", func(p *account.Permissions) { p.Serve = []hub.Pattern{"mine/#"} })
	for _, c := range []struct{ name, types, want string }{
		{"a", "other", `status 0: not allowed: account "ann" may not serve "other": bester account allow --add --serve 'other' ann`},
		{"a", "#", `status 0: not allowed: account "ann" may not serve "#": bester account allow --add --serve '#' ann`},
		{"taken", "mine/x", "status 0: not allowed"},
		{"a", "mine/x", "end"}, // let in: the handler above closes
	} {
		p := h.peer(t, "tcp", h.tcp)
		p.hello(&wire.Hello{Role: wire.RoleHandler, Name: c.name, Types: []string{c.types}, User: "ann", Password: "p"})
		p.want(c.want)
	}
}

func TestChangedAccountCountsFromTheNextMessage(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	n, c := h.enter(t, "ann"), h.classic(t, "ann")
	n.send(1, "t", "1", "ann")
	n.want("deliver 0: t ann 1", "status 1: good")
	c.want(received("t", "1"))
	if err := h.accounts.Allow("ann", func(p *account.Permissions) { p.Send = []hub.Pattern{"u"} }); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	n.send(2, "t", "2", "ann")
	n.wantIn("status 2: not allowed")
	c.text(classicMessage("t", "3", "3"))
	c.wantIn(`"bad"`, "may not send")
	if err := h.accounts.Allow("ann", func(p *account.Permissions) { p.Receive = nil }); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	n.wantIn("hello ", "Types:[]")
	n.send(4, "u", "4", "ann")
	n.want("status 4: good")
	n.lives()
}

func TestRemovedAccountEndsSession(t *testing.T) {
	h := run(t, Options{Handler: waitForEnd})
	h.account(t, "ann", func(p *account.Permissions) { p.Serve, p.Peer = []hub.Pattern{"#"}, true })
	n, c := h.enter(t, "ann"), h.classic(t, "ann")
	server := h.as(t, &wire.Hello{Role: wire.RoleServer, User: "ann", Password: "p"})
	handler := h.peer(t, "unix", h.closed)
	handler.hello(&wire.Hello{Role: wire.RoleHandler, Name: "x", User: "ann", Password: "p"})
	handler.want("")            // linked
	other := h.native(t, "ann") // authenticated by peer credentials, with the same name
	got := make(held, 1)
	h.serve(t, "slow", got)
	n.send(1, "slow", "1")
	pending := <-got
	if err := h.accounts.Remove("ann"); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	n.want("goodbye: the account was removed")
	pending.Done(nil) // the message in flight is still answered
	n.want("status 1: good", "end")
	c.want("end")
	server.want("goodbye: the account was removed", "end")
	handler.want("end")
	h.log.want(t, "session ended", "the account was removed", "user=ann")
	other.send(2, "t", "2", "ann")
	other.want("deliver 0: t ann 2", "status 2: good")
	if s := h.router.Stats(); s.Delivered != 1 {
		t.Errorf("delivered %d", s.Delivered)
	}
}

// waitForEnd is an Options.Handler that does nothing until its connection ends.
func waitForEnd(s HandlerConn) {
	s.Conn.Write([]byte{0, 0, 0, 0})
	for {
		if _, err := s.In.Next(); err != nil {
			return
		}
	}
}

func TestLostPermissionEndsConnection(t *testing.T) {
	h := run(t, Options{Handler: waitForEnd})
	h.account(t, "ann", func(p *account.Permissions) { p.Serve, p.Peer = []hub.Pattern{"a/#", "b"}, true })
	server := h.as(t, &wire.Hello{Role: wire.RoleServer, User: "ann", Password: "p"})
	var handlers [2]*peer
	for i, serves := range []string{"a/b", "b"} {
		handlers[i] = h.peer(t, "unix", h.closed)
		handlers[i].hello(&wire.Hello{Role: wire.RoleHandler, Name: serves, Types: []string{serves}, User: "ann", Password: "p"})
		handlers[i].want("") // linked
	}
	if err := h.accounts.Allow("ann", func(p *account.Permissions) { p.Serve, p.Peer = []hub.Pattern{"b"}, false }); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	server.want("goodbye: the account may no longer connect as a server", "end")
	handlers[0].want("end")
	handlers[1].Close()
}

// A session whose account was removed ends also if its peer does not read.
func TestRemovedAccountThatDoesNotReadEndsSession(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	n := h.as(t, &wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p"})
	n.SetDeadline(time.Time{})
	var pings []byte
	for range 2000 {
		pings = bformat.Append(pings, wire.AppendPing(nil, 9))
	}
	done := make(chan bool)
	go func() {
		defer close(done)
		for {
			if _, err := n.Write(pings); err != nil {
				return
			}
		}
	}()
	s := h.sessionList()[0]
	until(t, "the hub waits for ann to read", s.out.Backpressured)
	if err := h.accounts.Remove("ann"); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	until(t, "ann is out", func() bool { return h.Stats().Sessions == 0 })
	<-done
}

// A session whose account was removed is told of once in the log, however often the accounts
// are checked until it has ended.
func TestEndOfASessionIsLoggedOnce(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	p := h.as(t, &wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p"})
	p.send(1, "slow", "1")
	a := <-slow // keeps the session from ending
	if err := h.accounts.Remove("ann"); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		h.Recheck()
	}
	ended := 0
	for len(h.log) > 0 {
		if line := <-h.log; strings.Contains(line, "session ended") {
			ended++
		}
	}
	if ended != 1 {
		t.Errorf("logged %d times, want once", ended)
	}
	a.Resume(nil)
	a.Done(nil)
	for p.next() != "end" {
	}
}

// A client is told when what its account may receive has changed, and only then.
func TestChangedPermissionToReceiveIsTold(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	n, c := h.enter(t, "ann"), h.classic(t, "ann")
	sendOnly := h.as(t, &wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p", SendOnly: true})
	sam := h.native(t, "sam")
	change := func(edit func(p *account.Permissions)) {
		t.Helper()
		if err := h.accounts.Allow("ann", edit); err != nil {
			t.Fatal(err)
		}
		h.Recheck()
	}
	change(func(p *account.Permissions) { p.Send = []hub.Pattern{"u"} })
	n.lives()
	change(func(p *account.Permissions) { p.Receive = []hub.Pattern{"ok/#"} })
	n.wantIn("hello ", "Types:[ok/#]")
	sam.send(1, "other", "1", "ann")
	sam.send(2, "ok/x", "2", "ann")
	sam.want("status 1: good", "status 2: good")
	n.want("deliver 0: ok/x sam 2")
	c.want(received("ok/x", "2"))
	change(func(p *account.Permissions) { p.Receive = nil })
	n.wantIn("hello ", "Types:[]")
	n.lives()
	sendOnly.lives()
	h.Recheck()
	n.lives()
}
