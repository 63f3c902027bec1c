package session

import (
	"net/netip"
	"testing"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/wire"
)

// A peer account speaks for itself and for the hubs that the config lists for it. Another's
// name is replaced, and nothing is lost.
func TestClaimsOfAPeer(t *testing.T) {
	h := run(t, Options{Limits: Limits{MayUseOrigin: func(account, name string) bool { return account == "far" && name == "farther" }}})
	h.account(t, "far", func(p *account.Permissions) { p.Peer = true })
	got := make(chan hub.Message, 1)
	h.serve(t, "t", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		got <- *m
		a.Drop()
		return nil
	}))
	far := h.as(t, &wire.Hello{Role: wire.RoleServer, User: "far", Password: "p"})
	own := h.router.Name()
	for i, c := range []struct {
		from, wantFrom hub.Address
		id, wantID     hub.ID // a want of {own, 0} is any number
		hops, wantHops int
		denied         bool
	}{
		{hub.Address{}, hub.Address{Server: "far"}, hub.ID{}, hub.ID{Origin: own}, 0, 1, false},
		{hub.Address{User: "sam"}, hub.Address{User: "sam", Server: "far"}, hub.ID{Origin: "far", Number: 7}, hub.ID{Origin: "far", Number: 7}, 0, 1, false},
		{hub.Address{User: "sam"}, hub.Address{User: "sam", Server: "far"}, hub.ID{Number: 8}, hub.ID{Origin: "far", Number: 8}, 0, 1, false},
		{hub.Address{User: "sam", Server: "farther"}, hub.Address{User: "sam", Server: "farther"}, hub.ID{Origin: "farther", Number: 7}, hub.ID{Origin: "farther", Number: 7}, 0, 2, false},
		{hub.Address{User: "sam", Server: "farther"}, hub.Address{User: "sam", Server: "farther"}, hub.ID{Origin: "farther", Number: 7}, hub.ID{Origin: "farther", Number: 7}, 5, 6, false},
		{hub.Address{User: "boss", Server: "office"}, hub.Address{User: "boss", Server: "far"}, hub.ID{Origin: "far", Number: 1}, hub.ID{Origin: "far", Number: 1}, 0, 1, true},
		{hub.Address{User: "boss", Server: hub.ServerName(own)}, hub.Address{User: "boss", Server: "far"}, hub.ID{}, hub.ID{Origin: own}, 0, 1, true},
		{hub.Address{User: "sam"}, hub.Address{User: "sam", Server: "far"}, hub.ID{Origin: "office", Number: 7}, hub.ID{Origin: own}, 3, 4, true},
		{hub.Address{User: "sam"}, hub.Address{User: "sam", Server: "far"}, hub.ID{Origin: own, Number: 7}, hub.ID{Origin: own}, 0, 1, true},
	} {
		before := h.Stats().OriginsDenied
		frame, err := wire.AppendMessage(nil, uint64(i+1), wire.KindSend, &hub.Message{Type: "t", From: c.from, ID: c.id, Hops: c.hops, Data: data("1")})
		if err != nil {
			t.Fatal(err)
		}
		far.frames(frame)
		m := <-got
		far.wantIn("good")
		if m.From != c.wantFrom || m.Hops != c.wantHops || m.ID.Origin != c.wantID.Origin || c.wantID.Number != 0 && m.ID.Number != c.wantID.Number {
			t.Errorf("%d: got from %v, id %v, %d hops, want %v, %v, %d", i, m.From, m.ID, m.Hops, c.wantFrom, c.wantID, c.wantHops)
		}
		if c.id.Origin == own && m.ID == c.id {
			t.Errorf("%d: the peer forged the ID %v", i, m.ID)
		}
		if got := h.Stats().OriginsDenied - before; (got == 1) != c.denied {
			t.Errorf("%d: counted %d", i, got)
		}
	}
	h.log.want(t, "may not speak for", `peers.origins = { \"far\" = [\"office\"] }`)
}

// A server at a TLS port is told so, in the classic dialect, which it understands.
func TestClassicServerAtATLSPort(t *testing.T) {
	h := run(t, Options{Limits: Limits{MayPeer: func(netip.Addr) bool { return true }}})
	p := h.peer(t, "tcp", h.tls)
	p.text(classicServer("", `"type":"t","data":1,"id":"x"`))
	p.wantIn(`"status":"bad"`, "this port speaks TLS")
	p.want("end")
	h.log.want(t, "without TLS at a TLS port")
}

// The commands of a handler that logs in are bounded by its account, as it is at the time;
// one that the operating system authenticates is the operator's own.
func TestRightsOfHandlers(t *testing.T) {
	got := make(chan HandlerConn, 1)
	h := run(t, Options{Handler: func(s HandlerConn) { got <- s; waitForEnd(s) }})
	h.account(t, "bot", func(p *account.Permissions) {
		p.Serve, p.Send, p.Reach = []hub.Pattern{"t"}, []hub.Pattern{"t"}, []hub.Address{{User: "ann"}}
	})
	own := h.peer(t, "unix", h.unix)
	own.hello(&wire.Hello{Role: wire.RoleHandler, Name: "own", Types: []string{"u"}})
	if s := <-got; s.Rights != nil {
		t.Errorf("the operator's own handler has the rights %v", s.Rights)
	}
	bot := h.peer(t, "unix", h.closed)
	bot.hello(&wire.Hello{Role: wire.RoleHandler, Name: "bot", Types: []string{"t"}, User: "bot", Password: "p"})
	r := (<-got).Rights
	if r == nil || !r.MayReach(hub.Address{User: "ann"}) || r.MayReach(hub.Address{User: "bob"}) || !r.MaySend("t") || r.MaySend("u") {
		t.Fatalf("got rights %v", r)
	}
	if err := h.accounts.Allow("bot", func(p *account.Permissions) { p.Reach = append(p.Reach, hub.Address{User: "bob"}) }); err != nil {
		t.Fatal(err)
	}
	h.Recheck()
	if !r.MayReach(hub.Address{User: "bob"}) {
		t.Error("a changed account does not count")
	}
	bot.Close()
	own.Close()
}
