package session

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/wire"
)

func classicServer(header, payload string) string {
	return fmt.Sprintf(`{"header":{"scope":"server"%s},"payload":{%s}}`, header, payload)
}

func TestClassicServerIsLetInByItsAddress(t *testing.T) {
	h := run(t, Options{})
	got := h.native(t, "ann")
	h.route(t, "t", "ann")
	hand := func(network, address, header, payload string) *peer {
		t.Helper()
		p := h.peer(t, network, address)
		p.text(classicServer(header, payload))
		return p
	}
	// By default no address is allowed. A hub of this kind is told, so that it does not take
	// the close for that of an original.
	const denied = "this hub does not list the sender's address among its peers; its log says what to add"
	hand("tcp", h.tcp, "", `"type":"t","data":1,"id":"far/1"`).want(classicBad("far/1", denied), "end")
	h.log.want(t, "not among the peers", `add \"127.0.0.1\" to peers.classic in bester.toml`, "network.peers in server.conf")
	hand("unix", h.closed, "", `"type":"t","data":1`).want("end") // an original does not read it
	hand("tcp", h.tcp, "", `"type":"t","data":1,"id":"x/y"`).want("end")
	if s := h.Stats(); s.Denied != 3 {
		t.Errorf("counted %d", s.Denied)
	}
	// Trusted peer credentials and listed addresses are allowed.
	hand("unix", h.unix, "", `"type":"t","data":2`).want("end")
	got.want("deliver 0: t  2")
	listed := netip.MustParsePrefix("127.0.0.0/8")
	h.SetLimits(Limits{MayPeer: listed.Contains})
	hand("tcp", h.tcp, "", `"type":"t","data":3`).want("end")
	got.want("deliver 0: t  3")
	hand("unix", h.closed, "", `"type":"t","data":4`).want("end")
	// If every address is allowed, so is the UNIX socket.
	h.SetLimits(Limits{MayPeer: func(netip.Addr) bool { return true }})
	hand("unix", h.closed, "", `"type":"t","data":5,"id":"five"`).want(classicGood("five"), "end")
	got.want("deliver 0: t  5")
	got.lives()
}

// A frame that only a known peer may send is not read: the connection is reset, which no
// server takes for a message that has been handed over.
func TestLongFrameOfAnUnknownServer(t *testing.T) {
	h := run(t, Options{})
	c, err := net.Dial("tcp", h.tcp)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	c.Write(bformat.Append(nil, []byte(classicServer("", `"type":"t","data":"`+strings.Repeat("x", maxLoginFrame)+`","id":"far/1"`))))
	if n, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %d bytes and %v, want a reset", n, err)
	}
	h.log.want(t, "4096")
}

func TestClassicServerHandsInOneMessage(t *testing.T) {
	h := run(t, Options{Limits: Limits{MayPeer: func(netip.Addr) bool { return true }}})
	ann, bob := h.native(t, "ann"), h.native(t, "bob")
	h.route(t, "t", "ann")
	for _, c := range []struct{ header, payload, answer string }{
		{"", `"type":"t","data":1,"id":"a"`, classicGood("a")},
		{"", `"type":"t","data":1`, ""},
		{"", `"type":"nobody's","data":1,"id":"b"`, classicBad("b", `no handler or route serves type "nobody's"`)},
		{"", `"type":"","data":1,"id":"c"`, `"bad"`},
		{"", `"type":"t","id":"d"`, classicBad("d", "frame: payload.data missing")},
		{`,"to":["bob"]`, `"type":"t","data":1,"id":"e"`, classicGood("e")},
		{`,"hops":14`, `"type":"t","data":1,"id":"f"`, classicGood("f")},
		{`,"hops":16`, `"type":"t","data":1,"id":"g"`, `"reason":"type \"t\": more than 16 hops at hub \"test\": do hubs send it in a circle?","code":"hops"`},
		{`,"hops":4294967296`, `"type":"t","data":1,"id":"h"`, `"bad"`},
	} {
		p := h.peer(t, "tcp", h.tcp)
		p.text(classicServer(c.header, c.payload), classicServer("", `"type":"t","data":"never taken"`))
		switch {
		case c.answer == "":
		case c.answer[0] == '{':
			p.want(c.answer)
		default:
			p.wantIn(c.answer)
		}
		p.want("end")
	}
	for range 3 {
		ann.want("deliver 0: t  1")
	}
	ann.lives()
	bob.want("deliver 0: t  1")
	bob.lives()
}

func TestClassicServerThatHasGone(t *testing.T) {
	h := run(t, Options{Limits: Limits{MayPeer: func(netip.Addr) bool { return true }}})
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	ann := h.native(t, "ann")
	p := h.peer(t, "tcp", h.tcp)
	p.text(classicServer("", `"type":"slow","data":1,"id":"a"`))
	p.Close()
	slow.answer(t, func(a *hub.Answer) { a.SendClients(data("2"), hub.Address{User: "ann"}) })
	ann.want("deliver 0: slow  2")
}

func TestNativeServer(t *testing.T) {
	h := run(t, Options{})
	ann := h.native(t, "ann")
	h.route(t, "t", "ann")
	far := h.as(t, &wire.Hello{Role: wire.RoleServer, User: "far"})
	far.send(1, "t", "1")
	far.want("status 1: good")
	ann.want("deliver 0: t @far 1")
	m := hub.Message{Type: "u", From: hub.Address{User: "sam"}, To: []hub.Address{{User: "ann"}}, Hops: 3, ID: hub.ID{Origin: "far", Number: 9}, Data: data("2")}
	frame, err := wire.AppendMessage(nil, 2, wire.KindSend, &m)
	if err != nil {
		t.Fatal(err)
	}
	far.frames(frame)
	far.want("status 2: good")
	ann.want("deliver 0: u sam@far 2")
	m.Hops = 16
	if frame, err = wire.AppendMessage(nil, 3, wire.KindSend, &m); err != nil {
		t.Fatal(err)
	}
	far.frames(frame)
	far.wantIn("status 3:", "more than 16 hops")
	if users := h.router.Directory().Users(); len(users) != 1 {
		t.Errorf("a server is no user: got %q", users)
	}
}

func TestHopsAcrossHubsEnd(t *testing.T) {
	h := run(t, Options{Limits: Limits{MayPeer: func(netip.Addr) bool { return true }}})
	rounds := make(chan int, 100)
	h.serve(t, "round", hub.HandlerFunc(func(m *hub.Message, a *hub.Answer) error {
		rounds <- m.Hops
		a.SendServers(m.Data, hub.Address{Server: "itself"})
		return nil
	}))
	h.router.Directory().SetServers(map[hub.ServerName]hub.Sink{"itself": again{h, t}}, nil)
	n := h.native(t, "ann")
	n.send(1, "round", "1")
	n.want("status 1: good")
	for want := 0; want <= hub.MaxHops; want++ {
		if got := <-rounds; got != want {
			t.Fatalf("got hops %d, want %d", got, want)
		}
	}
	if s := h.router.Stats(); len(rounds) != 0 || s.Refused != 1 {
		t.Errorf("it went on: %+v", s)
	}
}

// again is a server that is this hub itself, over its own socket.
type again struct {
	h *running
	t *testing.T
}

func (s again) Put(m *hub.Message) error {
	frame, err := wire.AppendClassicServer(nil, m)
	if err != nil {
		return err
	}
	p := s.h.peer(s.t, "tcp", s.h.tcp)
	p.frames(frame)
	for p.next() != "end" { // all that comes of it has come
	}
	m.Receipt.Done(m, nil)
	return nil
}

func TestHandlerHandOff(t *testing.T) {
	got := make(chan HandlerConn)
	h := run(t, Options{Handler: func(s HandlerConn) { got <- s; waitForEnd(s) }})
	p := h.peer(t, "unix", h.unix)
	p.frames(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: wire.RoleHandler, Name: "smooth", Types: []string{"a/#"}, Credits: 7}), []byte("and more"))
	s := <-got
	if s.Hello.Name != "smooth" || s.Hello.Credits != 7 || !s.Account.MayServe("a/#") || s.Account.Name() != "smooth" {
		t.Errorf("got %+v", s.Hello)
	}
	p.want("") // waitForEnd has read what came with the hello, and has gone on
	if st := h.Stats(); st.Sessions != 0 || st.Open != 1 {
		t.Errorf("got %+v", st)
	}
	// It outlives the sessions: their messages may still need it.
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := h.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if _, err := p.Write([]byte{0, 0, 0, 0}); err != nil {
		t.Errorf("the handler was cut off: %v", err)
	}
	p.Close()
}

func TestPanicEndsOneSession(t *testing.T) {
	h := run(t, Options{Status: func() []byte { panic("a bug in the hub") }})
	h.account(t, "ann", func(p *account.Permissions) { p.Admin = true })
	const bad = `{"command":{"type":"status"}}`
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	bob := h.native(t, "bob")
	n, c := h.native(t, "ann"), h.classic(t, "ann")
	n.frames(sent(1, "slow", "1"), sent(2, "t", "1", "bob"), sent(3, "builtin", bad), sent(4, "t", "4", "bob"))
	n.want("status 2: good", "end")
	bob.want("deliver 0: t ann 1") // earlier messages are delivered
	c.text(classicMessage("builtin", "1", bad))
	c.want("end")
	slow.answer(t, func(a *hub.Answer) { a.SendClients(data("2"), hub.Address{User: "ann"}, hub.Address{User: "bob"}) })
	bob.want("deliver 0: slow ann 2")
	if s := h.Stats(); s.Panics != 2 || s.Sessions != 1 {
		t.Errorf("got %+v", s)
	}
	if users := h.router.Directory().Users(); len(users) != 1 {
		t.Errorf("users are %q", users)
	}
	h.log.want(t, "please report it", "a bug in the hub", "server_test.go")
	bob.send(5, "t", "3", "bob")
	bob.want("deliver 0: t bob 3", "status 5: good")
}

func TestShutdownAnswersInFlight(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	slow := make(held, 2)
	h.serve(t, "slow", slow)
	n, c, bob := h.native(t, "ann"), h.classic(t, "ann"), h.native(t, "bob")
	n.send(1, "slow", "1")
	first := <-slow
	c.text(classicMessage("slow", "2", "2"))
	second := <-slow
	ended := make(chan error)
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		ended <- h.Shutdown(ctx)
	}()
	const bye = "goodbye: the hub is shutting down"
	n.want(bye)
	bob.want(bye)
	toBob := func(a *hub.Answer, s string) {
		a.Resume(nil)
		a.SendClients(data(s), hub.Address{User: "bob"})
		a.Done(nil)
	}
	toBob(first, "1")
	n.want("status 1: good")
	bob.want("deliver 0: slow ann 1") // a session with nothing in flight stays open for those that have
	select {
	case err := <-ended:
		t.Fatalf("ended before all was answered: %v", err)
	default:
	}
	toBob(second, "2")
	c.want(classicGood("2"), "end")
	bob.want("deliver 0: slow ann 2", "end")
	n.want("end")
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

func TestShutdownDropsUnauthenticated(t *testing.T) {
	h := run(t, Options{Limits: Limits{LoginTimeout: time.Hour}})
	silent := h.peer(t, "tcp", h.tcp)
	half := h.peer(t, "tls", h.tls)
	half.Write([]byte{1, 2})
	for h.Stats().Open < 2 {
		h.native(t, "ann").Close() // until both have been accepted
	}
	if err := h.Shutdown(t.Context()); err != nil {
		t.Error(err)
	}
	silent.want("end")
	half.want("end")
	if s := h.Stats(); s.TooSlow != 0 || s.Malformed != 0 {
		t.Errorf("got %+v", s)
	}
}

func TestShutdownIsBounded(t *testing.T) {
	h := run(t, Options{})
	slow := make(held, 1)
	h.serve(t, "slow", slow)
	n, idle := h.native(t, "ann"), h.native(t, "bob")
	n.send(1, "slow", "1")
	pending := <-slow
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- h.Shutdown(ctx) }()
	n.want("goodbye: the hub is shutting down")
	idle.want("goodbye: the hub is shutting down")
	cancel()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	n.want("end")
	idle.want("end")
	pending.Done(nil) // nobody receives it any more
}

func TestServeAfterShutdown(t *testing.T) {
	h := run(t, Options{})
	if err := h.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	l, err := Listen("tcp4", "127.0.0.1:0", ListenOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Serve(l); err != nil {
		t.Error(err)
	}
	if _, err := l.Accept(); err == nil {
		t.Error("the listener is still open")
	}
}
