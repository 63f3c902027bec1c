package session

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/besterhub/bester/hub"
	"github.com/besterhub/bester/hub/account"
	"github.com/besterhub/bester/hub/bformat"
	"github.com/besterhub/bester/hub/client"
	"github.com/besterhub/bester/hub/wire"
)

func TestPasswordIsAsked(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	for _, c := range []struct {
		user     hub.UserName
		password string
		good     bool
	}{{"ann", "p", true}, {"ann", "wrong", false}, {"bob", "p", false}, {"ann", "", false}, {"", "", false}} {
		n, err := client.Dial(t.Context(), "tcp", h.tcp, client.Options{User: c.user, Password: c.password})
		if (err == nil) != c.good || !c.good && !errors.Is(err, hub.ErrDenied) {
			t.Errorf("%q with %q: got %v", c.user, c.password, err)
		}
		if n != nil {
			n.Close(t.Context())
		}
	}
	if s := h.Stats(); s.Logins != 1 || s.Denied != 4 {
		t.Errorf("got %+v", s)
	}
	h.log.want(t, "login refused", "peer=127.0.0.1")
}

func TestClassicPasswordIsAsked(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	refused := func(p *peer) {
		t.Helper()
		p.wantIn(`"bad"`, `"auth_special"`)
		p.want("end")
	}
	for _, c := range []struct{ user, password string }{{"ann", "wrong"}, {"bob", "p"}, {"Ann", "p"}, {"ann", ""}, {"", "p"}} {
		p := h.peer(t, "tcp", h.tcp)
		p.text(classicLogin(c.user, c.password), classicMessage("dummy", "never answered", "1"))
		refused(p)
	}
	p := h.peer(t, "unix", h.unix) // where native peers need no password, classic ones do
	p.text(classicLogin("ann", ""))
	refused(p)
	h.classic(t, "ann")
}

func TestEveryNetworkInBothDialects(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	addresses := map[string]string{"tcp": h.tcp, "tls": h.tls, "unix": h.closed}
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		addresses["tcp6"] = h.listen(t, "tcp6", "[::1]:0", ListenOptions{})
	}
	for network, address := range addresses {
		t.Run(network, func(t *testing.T) {
			p := h.peer(t, network, address)
			p.hello(&wire.Hello{Role: wire.RoleClient, User: "ann", Password: "p"})
			p.wantIn("hello", "Role:hub", "Name:test", "Credits:256", "Frame:1048576")
			c := h.peer(t, network, address)
			c.text(classicLogin("ann", "p"))
			c.want(classicIn)
			p.send(1, "chat", `"hi"`, "ann")
			p.want(`deliver 0: chat ann "hi"`, "status 1: good")
			c.want(received("chat", `"hi"`))
			p.halfClose()
			p.want("end")
			c.halfClose()
			c.want("end")
		})
	}
}

func TestOldTLSIsRefused(t *testing.T) {
	h := run(t, Options{})
	c, err := tls.Dial("tcp", h.tls, &tls.Config{InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12})
	if err == nil {
		c.Close()
		t.Fatal("TLS 1.2 was taken")
	}
	h.log.want(t, "connection closed", "tls")
}

func TestLoginTimeout(t *testing.T) {
	h := run(t, Options{Limits: Limits{LoginTimeout: 3 * time.Second}})
	in := h.native(t, "ann")
	late := map[string]*peer{"nothing": h.peer(t, "tcp", h.tcp), "half a frame": h.peer(t, "tcp", h.tcp)}
	late["half a frame"].Write([]byte{200, 0, 0, 0, '{'})
	raw, err := net.Dial("tcp", h.tls) // not even a handshake
	if err != nil {
		t.Fatal(err)
	}
	defer raw.Close()
	for name, p := range late {
		if got := p.next(); got != "end" {
			t.Errorf("%s: got %s", name, got)
		}
	}
	if n, err := raw.Read(make([]byte, 1)); err == nil {
		t.Errorf("got %d bytes", n)
	}
	if s := h.Stats(); s.TooSlow != 3 {
		t.Errorf("counted %d", s.TooSlow)
	}
	h.log.want(t, "not logged in in time")
	in.lives() // it came before them all: the time counts only until the login
}

func TestFramesAreShortBeforeTheLogin(t *testing.T) {
	h := run(t, Options{Limits: Limits{MaxFrame: 100_000}})
	h.account(t, "ann", nil)
	for _, hello := range [][]byte{
		[]byte(strings.Repeat(" ", maxLoginFrame+1)),
		append(wire.AppendHello(nil, &wire.Hello{Version: 1, Role: "client", User: "ann", Password: "p"}), make([]byte, maxLoginFrame)...),
	} {
		p := h.peer(t, "tcp", h.tcp)
		p.frames(hello)
		p.want("end")
	}
	if s := h.Stats(); s.TooLong != 2 || s.Logins != 0 {
		t.Errorf("got %+v", s)
	}
	h.log.want(t, "4096")

	long := `"` + strings.Repeat("x", 90_000) + `"`
	c := h.classic(t, "ann")
	c.text(classicMessage("dummy", "1", long))
	c.wantIn("dummy")
	c.text(classicMessage("dummy", "2", strings.Repeat(long[1:], 2)))
	c.wantIn(`"bad"`, `limit of 100000`, `"id":""`)
	c.want("end")
	n := h.native(t, "ann")
	n.send(1, "dummy", long)
	n.want("status 1: good")
	n.frames(make([]byte, 100_001))
	n.wantIn("status 0:", "limit of 100000")
	n.want("end")
	if s := h.Stats(); s.TooLong != 4 {
		t.Errorf("counted %d", s.TooLong)
	}
}

func TestTooManyConnections(t *testing.T) {
	h := run(t, Options{Limits: Limits{MaxConnections: 3, MaxPerAccount: 3}})
	h.account(t, "ann", nil)
	in := []*peer{h.classic(t, "ann"), h.classic(t, "ann")}
	silent := h.peer(t, "tcp", h.tcp) // whoever has not logged in counts, too
	until(t, "all are open", func() bool { return h.Stats().Open == 3 })
	last := h.peer(t, "tcp", h.tcp)
	silent.want("end") // gives way
	if s := h.Stats(); s.LoginsEvicted != 1 || s.TooMany != 0 {
		t.Errorf("got %+v", s)
	}
	h.log.want(t, "it has not logged in, and another needs its place", "limit=3")
	h.native(t, "ann").lives() // peers with trusted credentials are admitted past the limit
	last.text(classicLogin("ann", "p"))
	last.want(classicIn)
	for range 3 { // sessions give way to nobody
		h.peer(t, "tcp", h.tcp).want("end")
	}
	if s := h.Stats(); s.TooMany != 3 {
		t.Errorf("got %+v", s)
	}
	h.log.want(t, "too many", "limit=3")
	for _, p := range in {
		p.text(classicMessage("dummy", "1", "1"))
		p.wantIn("dummy")
	}
	in[0].Close()
	last.Close()
	for {
		p := h.peer(t, "tcp", h.tcp)
		p.text(classicLogin("ann", "p"))
		if p.next() == classicIn {
			return // there is room again, as soon as the hub has noticed
		}
		p.Close()
	}
}

// peerFrom is a connection that comes from that address of this machine.
func (h *running) peerFrom(t *testing.T, address string) *peer {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	c, err := d.Dial("tcp", h.tcp)
	if err != nil {
		t.Fatal("another address of this machine to come from:", err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(patience))
	return &peer{Conn: c, t: t, in: bformat.NewReader(c, 0)}
}

// One address that opens connections and says nothing keeps nobody out, from wherever they
// come.
func TestSilentConnectionsGiveWay(t *testing.T) {
	h := run(t, Options{Limits: Limits{MaxConnections: 32, MaxPerAccount: 32, LoginTimeout: time.Hour}})
	h.account(t, "ann", nil)
	var slow []*peer // from other addresses, one each: they do not give way to the flood
	for i := range 3 {
		slow = append(slow, h.peerFrom(t, fmt.Sprintf("127.0.0.%d", 10+i)))
	}
	until(t, "these are open", func() bool { return h.Stats().Open == 3 })
	for range 200 {
		h.peerFrom(t, "127.0.0.2")
	}
	for i := range 5 {
		p := h.peerFrom(t, fmt.Sprintf("127.0.0.%d", 3+i))
		p.text(classicLogin("ann", "p"))
		p.want(classicIn)
	}
	same := h.peerFrom(t, "127.0.0.2") // also who shares the address gets in
	same.text(classicLogin("ann", "p"))
	same.want(classicIn)
	for _, p := range slow {
		p.text(classicLogin("ann", "p"))
		p.want(classicIn)
	}
	until(t, "those that gave way are gone", func() bool { return h.Stats().Open <= 32 })
	if s := h.Stats(); s.LoginsEvicted < 160 || s.Sessions != 9 {
		t.Errorf("got %+v", s)
	}
}

func TestPeerCredentials(t *testing.T) {
	h := run(t, Options{})
	// A trusting socket lets this process in under any name, with all permissions.
	h.native(t, "anybody").lives()
	h.as(t, &wire.Hello{Role: wire.RoleServer, User: "far"}).lives()
	// Another socket requires a password.
	p := h.peer(t, "unix", h.closed)
	p.hello(&wire.Hello{Role: wire.RoleClient, User: "anybody"})
	p.want("status 0: not allowed", "end")
	// A trusting socket checks a password if the peer sends one.
	p = h.peer(t, "unix", h.unix)
	p.hello(&wire.Hello{Role: wire.RoleClient, User: "anybody", Password: "x"})
	p.want("status 0: not allowed", "end")
}

// Who gives a name that cannot be one is told why, and the log has the name, escaped, and
// cut off where it is long.
func TestImpossibleName(t *testing.T) {
	long := strings.Repeat("ä", account.MaxName-28) // in bytes it is twice as long
	for _, c := range []struct{ name, why, logged string }{
		{"", "a name cannot be empty", `user=""`},
		{"a@b", "a name has no @, which stands between user and server in an address", "user=a@b "},
		{"a\"\u202eb", `a name has none of / + # * , : " \`, `user="a\"\u202eb"`},
		{"a b", "a name has no spaces", `user="a b"`},
		{long, "name of 200 bytes: at most 128 are allowed", "user=" + long[:account.MaxName] + "… "},
	} {
		t.Run(c.why, func(t *testing.T) {
			h := run(t, Options{})
			p := h.peer(t, "unix", h.unix)
			p.hello(&wire.Hello{Role: wire.RoleClient, User: c.name})
			p.want("status 0: not allowed: "+c.why, "end")
			h.log.want(t, "hello refused", c.logged, "err=")
			// Where it is checked with a password, it is a name like any wrong one.
			p = h.peer(t, "tcp", h.tcp)
			p.hello(&wire.Hello{Role: wire.RoleClient, User: c.name, Password: "x"})
			p.want("status 0: not allowed", "end")
			h.log.want(t, "login refused", c.logged, "err=")
		})
	}
}

func TestHelloRefused(t *testing.T) {
	h := run(t, Options{})
	h.account(t, "ann", nil)
	for _, c := range []struct {
		hello wire.Hello
		why   string
	}{
		{wire.Hello{Version: 2, Role: "client"}, "version 2"},
		{wire.Hello{Role: "boss"}, `unknown role "boss"`},
		{wire.Hello{Role: "server"}, "bester account allow --peer ann"},
		{wire.Hello{Role: "handler", Types: []string{"a/b"}}, "takes no handlers"},
	} {
		p := h.peer(t, "tcp", h.tcp)
		c.hello.User, c.hello.Password = "ann", "p"
		p.hello(&c.hello)
		p.wantIn("status 0:", c.why)
		p.want("end")
	}
	if s := h.Stats(); s.Denied != 4 || s.Logins != 0 {
		t.Errorf("got %+v", s)
	}
	h.log.want(t, "hello refused", "version 2", "listener=127.0.0.1")
}

func TestMalformedFirstFrame(t *testing.T) {
	h := run(t, Options{})
	for i, first := range []string{
		"\x00", "\x00\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00\x02\x80",
		"\x00\x00\x00\x00\x00\x00\x00\x00\x01\xc1", "\x00\x01\x00\x00\x00\x00\x00\x00\x01\x80",
	} {
		p := h.peer(t, "tcp", h.tcp)
		p.text(first)
		p.wantIn("status 0:")
		p.want("end")
		if s := h.Stats(); s.Malformed != uint64(i+1) {
			t.Errorf("%q: counted %d", first, s.Malformed)
		}
	}
	before := h.Stats().Malformed
	for i, first := range []string{"", "[]", "{", "GET / HTTP/1.1", `{"header":{}}`, `{"header":{"scope":"boss"}}`, `{"header":{"scope":"client"}}`} {
		p := h.peer(t, "tcp", h.tcp)
		p.text(first)
		p.wantIn(`"bad"`, `"reason"`, `"id":""`)
		p.want("end")
		if s := h.Stats(); s.Malformed != before+uint64(i+1) {
			t.Errorf("%q: counted %d", first, s.Malformed)
		}
	}
	h.log.want(t, "connection closed", "listener=127.0.0.1")
}

// The log names the protocol of a peer that speaks another one.
func TestOtherProtocolsAreNamed(t *testing.T) {
	for name, c := range map[string]struct {
		speak func(h *running)
		want  string
	}{
		"TLS at a plain port": {func(h *running) {
			if _, err := tls.Dial("tcp", h.tcp, &tls.Config{InsecureSkipVerify: true}); err == nil {
				t.Error("a plain port spoke TLS")
			}
		}, "a TLS client at a plain port"},
		"plain at a TLS port": {func(h *running) { h.peer(t, "tcp", h.tls).text("{}") }, "a client without TLS at a TLS port"},
		"HTTP":                {func(h *running) { h.peer(t, "tcp", h.tcp).Write([]byte("GET / HTTP/1.1\r\n\r\n")) }, "an HTTP client"},
		"SSH":                 {func(h *running) { h.peer(t, "tcp", h.tcp).Write([]byte("SSH-2.0-x\r\n")) }, "an SSH client"},
	} {
		t.Run(name, func(t *testing.T) {
			h := run(t, Options{})
			c.speak(h)
			h.log.want(t, "connection closed", c.want)
		})
	}
}

func TestPeersFrameLimitIsKept(t *testing.T) {
	h := run(t, Options{})
	p := h.as(t, &wire.Hello{Role: wire.RoleClient, User: "small", MaxFrame: 200})
	sam := h.native(t, "sam")
	sam.send(1, "t", fmt.Sprintf("%q", strings.Repeat("x", 300)), "small")
	sam.wantIn("status 1:", `the 200 that "small" takes`)
	sam.send(2, "t", `"short"`, "small")
	sam.want("status 2: good")
	p.want(`deliver 0: t sam "short"`)
}
